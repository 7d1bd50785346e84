use core::fmt;

use crate::io::SizeError;

/// Why a file of the chapter's format was refused, coming in or going out.
///
/// None of them goes away by trying again on the same connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileError {
    /// The peer: it announced a size below zero or over the limit.
    Size(SizeError),
    /// The peer: it closed the connection without sending a byte.
    NothingSent,
    /// The peer: it closed the connection before all of the file had arrived.
    Truncated {
        /// Bytes of the file that had arrived; before its size was known, bytes of the size.
        received: u64,
        /// The announced size in bytes, where all four bytes of it had arrived.
        size: Option<u64>,
    },
    /// The peer: it sent more bytes than it had announced.
    TrailingData,
    /// Our side: the file is larger than the format can announce.
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The largest size that can be announced, in bytes.
        limit: u64,
    },
    /// Our side: the source ended before the announced size.
    SourceTooShort {
        /// Bytes that the source had.
        available: u64,
        /// The announced size in bytes.
        size: u64,
    },
    /// Our side: the source has more bytes than were announced.
    SourceGrew {
        /// The announced size in bytes.
        size: u64,
    },
}

impl FileError {
    /// Whether trying again on the same connection can help: it never can.
    ///
    /// On a new connection, a file that was truncated, or whose source had changed, may well
    /// arrive.
    pub const fn can_retry(&self) -> bool {
        false
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(error) => write!(f, "the file is refused: {error}"),
            Self::NothingSent => f.write_str("the peer closed the connection and sent nothing"),
            Self::Truncated { received, size: Some(size) } => {
                write!(f, "the peer sent only {received} of {size} bytes")
            }
            Self::Truncated { received, size: None } => {
                write!(f, "the peer sent only {received} of the 4 bytes of a size")
            }
            Self::TrailingData => f.write_str("the peer sent more bytes than it had announced"),
            Self::TooLarge { size, limit } => {
                write!(f, "a file of {size} bytes is over the {limit} bytes of the format")
            }
            Self::SourceTooShort { available, size } => {
                write!(f, "the source ended after {available} of {size} bytes")
            }
            Self::SourceGrew { size } => write!(f, "the source has more than {size} bytes"),
        }
    }
}

impl core::error::Error for FileError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Size(error) => Some(error),
            _ => None,
        }
    }
}
