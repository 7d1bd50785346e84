use core::fmt;

/// How a size that stands before its data is written.
///
/// # Examples
///
/// ```
/// use duologue::io::{SizeError, SizePrefix};
///
/// assert_eq!(SizePrefix::I32Le.encode(5), Ok([5, 0, 0, 0]));
/// assert_eq!(SizePrefix::U32Be.decode([0, 0, 0, 5], 100), Ok(5));
/// assert_eq!(
///     SizePrefix::U32Be.decode([0xFF; 4], 100),
///     Err(SizeError::OverLimit { size: 0xFFFF_FFFF, limit: 100 }),
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SizePrefix {
    /// Signed 32-bit little-endian: the chapter's, as Delphi writes an `Integer`.
    I32Le,
    /// Unsigned 32-bit big-endian: network order, and what tokio-util's `LengthDelimitedCodec`
    /// speaks by default.
    U32Be,
    /// Unsigned 32-bit little-endian.
    U32Le,
}

impl SizePrefix {
    /// Bytes that a prefix takes on the wire.
    pub const LEN: usize = 4;

    /// The largest size that this prefix can express, in bytes.
    pub const fn max(self) -> u64 {
        match self {
            Self::I32Le => i32::MAX as u64,
            Self::U32Be | Self::U32Le => u32::MAX as u64,
        }
    }

    /// Reads a size and checks it against `limit`, in bytes.
    ///
    /// # Errors
    ///
    /// [`SizeError::Negative`] and [`SizeError::OverLimit`]; nothing has been allocated then.
    pub const fn decode(self, prefix: [u8; Self::LEN], limit: u64) -> Result<u64, SizeError> {
        let size = match self {
            Self::I32Le => i32::from_le_bytes(prefix) as i64,
            Self::U32Be => u32::from_be_bytes(prefix) as i64,
            Self::U32Le => u32::from_le_bytes(prefix) as i64,
        };
        if size < 0 {
            return Err(SizeError::Negative { size });
        }
        let size = size.unsigned_abs();
        if size > limit {
            return Err(SizeError::OverLimit { size, limit });
        }
        Ok(size)
    }

    /// Writes a size.
    ///
    /// # Errors
    ///
    /// [`SizeError::OverLimit`] when the prefix cannot express it; sizes never wrap.
    pub const fn encode(self, size: u64) -> Result<[u8; Self::LEN], SizeError> {
        if size > self.max() {
            return Err(SizeError::OverLimit { size, limit: self.max() });
        }
        // A size up to i32::MAX has the same four bytes signed and unsigned.
        #[expect(clippy::cast_possible_truncation, reason = "compared with the maximum above")]
        let size = size as u32;
        Ok(match self {
            Self::I32Le | Self::U32Le => size.to_le_bytes(),
            Self::U32Be => size.to_be_bytes(),
        })
    }
}

/// A size that was refused before anything was allocated or sent.
///
/// Trying again with the same size cannot help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SizeError {
    /// The peer announced fewer than zero bytes.
    Negative {
        /// The number it sent.
        size: i64,
    },
    /// More than the receiver accepts, or than the format can express.
    OverLimit {
        /// The size in bytes.
        size: u64,
        /// The most that is allowed, in bytes.
        limit: u64,
    },
    /// This machine refused the memory for bytes that had arrived.
    OutOfMemory {
        /// How many bytes were asked for.
        requested: usize,
    },
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Negative { size } => write!(f, "the announced size {size} is negative"),
            Self::OverLimit { size, limit } => {
                write!(f, "a size of {size} bytes is over the limit of {limit} bytes")
            }
            Self::OutOfMemory { requested } => {
                write!(f, "no memory for a buffer of {requested} bytes")
            }
        }
    }
}

impl core::error::Error for SizeError {}
