use core::fmt;
use core::time::Duration;
use std::io;

use super::SizeError;

/// What went wrong in the stream itself, below the two routines.
///
/// It keeps kind and system code of an I/O error, so that it can be cloned and compared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportError {
    /// The stream reported an error.
    Io {
        /// Its kind.
        kind: io::ErrorKind,
        /// The operating system's code, where there is one.
        code: Option<i32>,
    },
    /// The stream took zero bytes of a write that had some, which it never takes back.
    WriteZero,
    /// The stream claimed to have moved more bytes than it was offered: a defect of the stream.
    Overrun {
        /// What it claimed, in bytes.
        claimed: usize,
        /// What it was offered, in bytes.
        offered: usize,
    },
    /// The stream was interrupted [`MAX_INTERRUPTIONS`](Self::MAX_INTERRUPTIONS) times in a row
    /// without moving a byte.
    Interrupted,
}

impl TransportError {
    /// How many interruptions in a row are retried: 16. Real ones come singly.
    pub const MAX_INTERRUPTIONS: u32 = 16;

    /// The nearest kind of [`std::io::Error`].
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Io { kind, .. } => *kind,
            Self::WriteZero => io::ErrorKind::WriteZero,
            Self::Overrun { .. } => io::ErrorKind::InvalidData,
            Self::Interrupted => io::ErrorKind::Interrupted,
        }
    }
}

impl From<io::Error> for TransportError {
    fn from(error: io::Error) -> Self {
        Self::Io { kind: error.kind(), code: error.raw_os_error() }
    }
}

impl From<TransportError> for io::Error {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Io { code: Some(code), .. } => Self::from_raw_os_error(code),
            TransportError::Io { kind, code: None } => Self::from(kind),
            other => Self::new(other.kind(), other),
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { code: Some(code), .. } => {
                write!(f, "{}", io::Error::from_raw_os_error(*code))
            }
            Self::Io { kind, code: None } => write!(f, "{kind}"),
            Self::WriteZero => f.write_str("the stream takes no more bytes"),
            Self::Overrun { claimed, offered } => {
                write!(f, "the stream claims to have moved {claimed} of {offered} bytes")
            }
            Self::Interrupted => write!(
                f,
                "the stream was interrupted {} times without progress",
                Self::MAX_INTERRUPTIONS
            ),
        }
    }
}

impl core::error::Error for TransportError {}

/// Why [`read_all`](super::read_all) stopped before the cursor was full.
///
/// Every variant says how many bytes the cursor holds; they are whole and in order, and polling or
/// calling again goes on after them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The peer: it ended the stream.
    EndOfStream {
        /// Bytes in the cursor.
        filled: usize,
    },
    /// The peer: not one byte within the idle limit.
    Idle {
        /// Bytes in the cursor.
        filled: usize,
        /// The limit that passed.
        limit: Duration,
    },
    /// The peer: the last byte was still missing when the deadline passed.
    Deadline {
        /// Bytes in the cursor.
        filled: usize,
        /// The limit that passed.
        limit: Duration,
    },
    /// The peer: fewer bytes within a window than the minimum rate asks for.
    TooSlow {
        /// Bytes in the cursor.
        filled: usize,
        /// The rate that was asked for, in bytes a second.
        minimum: u64,
    },
    /// The peer: it announced a size that is refused.
    Size {
        /// Bytes of the body in the cursor.
        filled: usize,
        /// What is wrong with the size.
        error: SizeError,
    },
    /// The transport: it failed, or broke the contract of `AsyncRead`.
    Transport {
        /// Bytes in the cursor.
        filled: usize,
        /// What it reported.
        error: TransportError,
    },
}

impl ReadError {
    /// Bytes that had arrived in the cursor (of a [`SizedCursor`](super::SizedCursor), in its body).
    pub fn filled(&self) -> usize {
        match self {
            Self::EndOfStream { filled }
            | Self::Idle { filled, .. }
            | Self::Deadline { filled, .. }
            | Self::TooSlow { filled, .. }
            | Self::Size { filled, .. }
            | Self::Transport { filled, .. } => *filled,
        }
    }

    /// Whether reading on, with the same stream and cursor, can succeed: after a time-out it can.
    pub fn can_retry(&self) -> bool {
        matches!(self, Self::Idle { .. } | Self::Deadline { .. } | Self::TooSlow { .. })
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndOfStream { filled } => write!(f, "the stream ended after {filled} bytes"),
            Self::Idle { filled, limit } => {
                write!(f, "nothing arrived for {limit:?} after {filled} bytes")
            }
            Self::Deadline { filled, limit } => {
                write!(f, "only {filled} bytes had arrived when the deadline of {limit:?} passed")
            }
            Self::TooSlow { filled, minimum } => {
                write!(f, "fewer than {minimum} bytes a second arrived, {filled} bytes in all")
            }
            Self::Size { error, .. } => write!(f, "{error}"),
            Self::Transport { filled, error } => {
                write!(f, "reading failed after {filled} bytes: {error}")
            }
        }
    }
}

impl core::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Size { error, .. } => Some(error),
            Self::Transport { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::EndOfStream { .. } => io::ErrorKind::UnexpectedEof,
            ReadError::Idle { .. } | ReadError::Deadline { .. } | ReadError::TooSlow { .. } => {
                io::ErrorKind::TimedOut
            }
            ReadError::Size { error: SizeError::OutOfMemory { .. }, .. } => {
                io::ErrorKind::OutOfMemory
            }
            ReadError::Size { .. } => io::ErrorKind::InvalidData,
            ReadError::Transport { error, .. } => error.kind(),
        };
        Self::new(kind, error)
    }
}

/// Why [`write_all_chunked`](super::write_all_chunked) stopped before the cursor was written.
///
/// Every variant says how many bytes the stream has taken; polling or calling again goes on after
/// them, and none is written twice.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// The peer: it took not one byte within the idle limit.
    Stalled {
        /// Bytes written.
        written: usize,
        /// The limit that passed.
        limit: Duration,
    },
    /// The peer: it had not taken the last byte when the deadline passed.
    Deadline {
        /// Bytes written.
        written: usize,
        /// The limit that passed.
        limit: Duration,
    },
    /// The peer: it took fewer bytes within a window than the minimum rate asks for.
    TooSlow {
        /// Bytes written.
        written: usize,
        /// The rate that was asked for, in bytes a second.
        minimum: u64,
    },
    /// The transport: it failed, or broke the contract of `AsyncWrite`.
    Transport {
        /// Bytes written.
        written: usize,
        /// What it reported.
        error: TransportError,
    },
}

impl WriteError {
    /// Bytes of the cursor that the stream has taken.
    pub fn written(&self) -> usize {
        match self {
            Self::Stalled { written, .. }
            | Self::Deadline { written, .. }
            | Self::TooSlow { written, .. }
            | Self::Transport { written, .. } => *written,
        }
    }

    /// Whether writing on, with the same stream and cursor, can succeed: after a time-out it can.
    pub fn can_retry(&self) -> bool {
        !matches!(self, Self::Transport { .. })
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled { written, limit } => {
                write!(f, "the peer took nothing for {limit:?} after {written} bytes")
            }
            Self::Deadline { written, limit } => {
                write!(f, "only {written} bytes were taken when the deadline of {limit:?} passed")
            }
            Self::TooSlow { written, minimum } => {
                write!(f, "fewer than {minimum} bytes a second were taken, {written} bytes in all")
            }
            Self::Transport { written, error } => {
                write!(f, "writing failed after {written} bytes: {error}")
            }
        }
    }
}

impl core::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Transport { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::Transport { error, .. } => error.kind(),
            _ => io::ErrorKind::TimedOut,
        };
        Self::new(kind, error)
    }
}
