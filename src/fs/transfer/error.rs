use core::fmt;

use crate::fs::{Error, SourceError};
use crate::proto::ActionError;
use crate::session::{SessionError, TransferError};
use crate::wire::TransferCode;

/// Why a file was not received. Its sender was told; the conversation and its other transfers go on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveError {
    /// It could not be stored.
    Storage(Error),
    /// The transfer did not come to its end. What came of the file is kept for the next try, if the
    /// inbox keeps parts, unless its sender gave it up.
    Transfer(TransferError),
}

impl ReceiveError {
    /// What its sender is told.
    pub(super) fn code(&self) -> TransferCode {
        match self {
            Self::Storage(error) => error.code(),
            Self::Transfer(TransferError::CancelAsked { code, .. })
                if *code != TransferCode::STORED =>
            {
                *code
            }
            // The sender has been told so already.
            Self::Transfer(TransferError::Expired) => TransferCode::STALLED,
            Self::Transfer(_) => TransferCode::CANCELLED,
        }
    }

    /// Whether it can be stored if it is offered once more.
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Storage(error) => error.can_retry(),
            Self::Transfer(error) => error.can_retry(),
        }
    }
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(error) => error.fmt(f),
            Self::Transfer(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ReceiveError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Storage(error) => Some(error),
            Self::Transfer(error) => Some(error),
        }
    }
}

impl From<Error> for ReceiveError {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

impl From<TransferError> for ReceiveError {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

/// Why a file is not known to be stored by the receiver. The conversation and its other transfers go
/// on, unless it says that the conversation has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// It could not be read, or changed; the receiver was told.
    Source(SourceError),
    /// It could not be offered.
    Session(SessionError),
    /// The receiver has not stored it, or nobody knows.
    Transfer(TransferError),
}

impl SendError {
    /// Whether it can be stored if it is sent once more.
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Source(error) => error.can_retry(),
            Self::Session(error) => error.can_retry(),
            Self::Transfer(error) => error.can_retry(),
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => error.fmt(f),
            Self::Session(error) => error.fmt(f),
            Self::Transfer(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SendError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Source(error) => Some(error),
            Self::Session(error) => Some(error),
            Self::Transfer(error) => Some(error),
        }
    }
}

impl From<SourceError> for SendError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<SessionError> for SendError {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<TransferError> for SendError {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

impl From<ActionError> for SendError {
    fn from(error: ActionError) -> Self {
        Self::Transfer(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stalled_may_be_offered_once_more() {
        let stalled = ReceiveError::Transfer(TransferError::Expired);
        assert_eq!(stalled.code(), TransferCode::STALLED);
        assert!(stalled.can_retry() && stalled.code().can_retry());
    }
}
