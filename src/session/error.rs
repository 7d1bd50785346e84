use core::fmt;
use std::string::String;

use crate::proto::{ActionError, CloseReason};
use crate::wire::TransferCode;

/// Why a handle could not do what it was asked to. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// The conversation does not allow it now.
    Refused(ActionError),
    /// The conversation has ended, for this reason. Every handle is told the same.
    Ended(CloseReason),
}

impl SessionError {
    /// Whether the same call can succeed later.
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Refused(error) => error.can_retry(),
            Self::Ended(_) => false,
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Ended(reason) => write!(f, "the conversation has ended: {reason}"),
        }
    }
}

impl core::error::Error for SessionError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Refused(error) => Some(error),
            Self::Ended(_) => None,
        }
    }
}

/// Why a transfer did not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransferError {
    /// The receiver wants the bytes from this offset on once more, after a break: send them, and
    /// call [`finish`](super::Outgoing::finish) again. Only for an offer that is seekable.
    Rewind {
        /// Where to go back to.
        offset: u64,
    },
    /// It has ended with another verdict than *stored*.
    NotStored(Verdict),
    /// The sender asked to end it: say how it ends with [`stored`](super::Incoming::stored) or
    /// [`failed`](super::Incoming::failed), or drop it.
    CancelAsked {
        /// Why.
        code: TransferCode,
        /// Why, in the sender's words: escape them before showing them.
        text: String,
    },
    /// It took too long, or made no progress for too long, and was given up.
    Expired,
    /// The conversation ended, or began anew: what became of the transfer at the peer is unknown.
    Abandoned(Option<CloseReason>),
    /// The receiver did not say in time how it ended, while the conversation went on: what became of
    /// it there is unknown.
    Unanswered,
    /// The call does not fit the state that the transfer is in. Nothing has changed.
    Refused(ActionError),
}

impl TransferError {
    /// Whether the same transfer, or the same file offered again, can succeed later.
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Rewind { .. } | Self::Expired | Self::Abandoned(_) | Self::Unanswered => true,
            Self::NotStored(verdict) => verdict.can_retry(),
            Self::CancelAsked { .. } => false,
            Self::Refused(error) => error.can_retry(),
        }
    }
}

impl From<ActionError> for TransferError {
    fn from(error: ActionError) -> Self {
        Self::Refused(error)
    }
}

impl From<SessionError> for TransferError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Refused(error) => Self::Refused(error),
            SessionError::Ended(reason) => Self::Abandoned(Some(reason)),
        }
    }
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rewind { offset } => write!(f, "the receiver wants it from byte {offset} on"),
            Self::NotStored(verdict) => verdict.fmt(f),
            Self::CancelAsked { code, .. } => write!(f, "the sender gave it up ({code})"),
            Self::Expired => f.write_str("the transfer made no progress for too long"),
            Self::Abandoned(Some(reason)) => write!(
                f,
                "the conversation ended before it was known what became of the transfer: {reason}"
            ),
            Self::Abandoned(None) => {
                f.write_str("the conversation began anew before the transfer had ended")
            }
            Self::Unanswered => {
                f.write_str("the receiver did not say in time what became of the transfer")
            }
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for TransferError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Refused(error) => Some(error),
            _ => None,
        }
    }
}

/// How a transfer ended, as its receiver decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub(super) code: TransferCode,
    pub(super) total: u64,
    pub(super) text: String,
    pub(super) ended_by: EndedBy,
}

/// Who brought a transfer to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndedBy {
    /// The receiver did not accept the offer.
    Rejection,
    /// The receiver, with its verdict.
    Receiver,
    /// The sender asked to cancel it, and the receiver has not stored it.
    Sender,
}

impl Verdict {
    /// What became of it.
    pub fn code(&self) -> TransferCode {
        self.code
    }

    /// Whether all of it is with the receiver, whole.
    pub fn is_stored(&self) -> bool {
        self.code == TransferCode::STORED
    }

    /// Bytes that the receiver has stored or received; of a batch, files that it has stored.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The name under which the receiver has stored it, perhaps [before](TransferCode::KNOWN), in the peer's words: escape them before
    /// showing them.
    pub fn name(&self) -> Option<&str> {
        (self.is_stored() || self.code == TransferCode::KNOWN).then_some(&self.text)
    }

    /// Why it was not stored, in the peer's words, or the name if it was: escape them before showing
    /// them.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Who ended it.
    pub fn ended_by(&self) -> EndedBy {
        self.ended_by
    }

    /// Whether the same file can be stored if it is offered once more.
    pub fn can_retry(&self) -> bool {
        self.code.can_retry()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_stored() {
            write!(f, "stored, {} bytes", self.total)
        } else {
            write!(f, "not stored ({})", self.code)
        }
    }
}
