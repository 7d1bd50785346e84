use core::fmt;
use std::io;

use super::FileError;
use crate::io::{ReadError, TransportError, WriteError};

/// Why a [`FileReceiver`](super::FileReceiver) stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileReceiveError {
    /// The peer: what it sent is not a whole file, or not one that is accepted. Final.
    Format(FileError),
    /// The peer or the transport: silent, late, slow or broken. Counts are bytes of the file.
    Stream(ReadError),
    /// Our side: the sink failed. Final, as a sink may lose what it had taken before it failed.
    Sink(TransportError),
}

impl FileReceiveError {
    /// Whether receiving on, with the same streams, can succeed: after a time-out of the peer's it
    /// can.
    pub fn can_retry(&self) -> bool {
        matches!(self, Self::Stream(error) if error.can_retry())
    }

    /// The same error, with the count of a whole file instead of that of one buffer.
    pub(super) fn stream(mut error: ReadError, count: usize) -> Self {
        match &mut error {
            ReadError::EndOfStream { filled }
            | ReadError::Idle { filled, .. }
            | ReadError::Deadline { filled, .. }
            | ReadError::TooSlow { filled, .. }
            | ReadError::Size { filled, .. }
            | ReadError::Transport { filled, .. } => *filled = count,
        }
        Self::Stream(error)
    }

    pub(super) fn sink(error: WriteError) -> Self {
        Self::Sink(transport(error))
    }
}

impl fmt::Display for FileReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(error) => write!(f, "{error}"),
            Self::Stream(error) => write!(f, "{error}"),
            Self::Sink(error) => write!(f, "storing the file failed: {error}"),
        }
    }
}

impl core::error::Error for FileReceiveError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Format(error) => Some(error),
            Self::Stream(error) => Some(error),
            Self::Sink(error) => Some(error),
        }
    }
}

impl From<FileReceiveError> for io::Error {
    fn from(error: FileReceiveError) -> Self {
        let kind = match &error {
            FileReceiveError::Format(error) => kind(error),
            FileReceiveError::Stream(error) => Self::from(error.clone()).kind(),
            FileReceiveError::Sink(error) => error.kind(),
        };
        Self::new(kind, error)
    }
}

/// Why a [`FileSender`](super::FileSender) stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileSendError {
    /// Our side: the source does not have the announced size. Final; the stream has been closed.
    Format(FileError),
    /// Our side: the source failed.
    Source(TransportError),
    /// The peer or the transport: stalled, late, slow or broken. Counts are bytes of the file.
    Stream(WriteError),
}

impl FileSendError {
    /// Whether sending on, with the same streams, can succeed: after a time-out of the peer's it
    /// can.
    pub fn can_retry(&self) -> bool {
        matches!(self, Self::Stream(error) if error.can_retry())
    }
}

impl fmt::Display for FileSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(error) => write!(f, "{error}"),
            Self::Source(error) => write!(f, "reading the file failed: {error}"),
            Self::Stream(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for FileSendError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Format(error) => Some(error),
            Self::Source(error) => Some(error),
            Self::Stream(error) => Some(error),
        }
    }
}

impl From<FileSendError> for io::Error {
    fn from(error: FileSendError) -> Self {
        let kind = match &error {
            FileSendError::Format(error) => kind(error),
            FileSendError::Source(error) => error.kind(),
            FileSendError::Stream(error) => Self::from(error.clone()).kind(),
        };
        Self::new(kind, error)
    }
}

fn kind(error: &FileError) -> io::ErrorKind {
    match error {
        FileError::NothingSent | FileError::Truncated { .. } | FileError::SourceTooShort { .. } => {
            io::ErrorKind::UnexpectedEof
        }
        FileError::Size(_) | FileError::TrailingData | FileError::SourceGrew { .. } => {
            io::ErrorKind::InvalidData
        }
        FileError::TooLarge { .. } => io::ErrorKind::InvalidInput,
    }
}

/// The same error with another count: that of a whole transfer instead of one buffer.
pub(super) fn with_written(mut error: WriteError, count: usize) -> WriteError {
    match &mut error {
        WriteError::Stalled { written, .. }
        | WriteError::Deadline { written, .. }
        | WriteError::TooSlow { written, .. }
        | WriteError::Transport { written, .. } => *written = count,
    }
    error
}

/// What failed below a write without limits, which cannot time out.
fn transport(error: WriteError) -> TransportError {
    match error {
        WriteError::Transport { error, .. } => error,
        _ => TransportError::Io { kind: io::ErrorKind::TimedOut, code: None },
    }
}
