use core::fmt;

use crate::wire::{CloseCode, DecodeError, EncodeError, Kind, TransferId};

/// Why a conversation, or an attempt to begin or resume one, failed. Sticky: once returned, every
/// further input of the same stream gives the same.
///
/// All of these are the peer's or the stream's doing; what the caller did wrong is an
/// [`ActionError`] and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The first bytes are not the preface: whatever is there does not speak this protocol.
    NotDuologue,
    /// The peer broke a rule of the protocol.
    Violation(Violation),
    /// The stream ended before the conversation was open.
    Incomplete,
    /// The handshake took longer than its deadline: the peer was slow, or one of the two applications
    /// has not accepted its peer.
    HandshakeTimedOut,
    /// Bytes came after the conversation had ended.
    Closed,
}

impl Error {
    /// The code that the peer is told, if it is told anything.
    pub fn code(&self) -> Option<CloseCode> {
        match self {
            Self::Violation(violation) => Some(violation.code),
            Self::HandshakeTimedOut => Some(CloseCode::TIMEOUT),
            Self::NotDuologue | Self::Incomplete | Self::Closed => None,
        }
    }

    /// Whether the same attempt can succeed later.
    ///
    /// A stream that broke or was slow may do better; a peer that broke a rule will again.
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Incomplete | Self::HandshakeTimedOut => true,
            Self::Violation(violation) => violation.code == CloseCode::STALE,
            Self::NotDuologue | Self::Closed => false,
        }
    }

    pub(super) fn violation(code: CloseCode, kind: Kind, rule: &'static str) -> Self {
        Self::Violation(Violation { code, kind, rule })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDuologue => f.write_str("the peer does not speak this protocol"),
            Self::Violation(violation) => violation.fmt(f),
            Self::Incomplete => f.write_str(
                "the peer's stream ended before the conversation was open; another stream may do better",
            ),
            Self::HandshakeTimedOut => f.write_str(
                "the conversation was not open in time; a side may not have accepted its peer",
            ),
            Self::Closed => f.write_str("the conversation has ended"),
        }
    }
}

impl core::error::Error for Error {}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::violation(error.code(), error.kind(), error.field())
    }
}

/// A rule of the protocol that the peer broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    code: CloseCode,
    kind: Kind,
    rule: &'static str,
}

impl Violation {
    /// The code with which the conversation ends.
    pub fn code(&self) -> CloseCode {
        self.code
    }

    /// The frame that broke the rule.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The rule, in words, or the field that is wrong.
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peer broke the protocol with {}: {} ({})", self.kind, self.rule, self.code)
    }
}

impl core::error::Error for Violation {}

/// Why an action of the caller was not done. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActionError {
    /// The queue is full; an event says when there is room again.
    Blocked,
    /// The conversation is not open yet.
    NotOpen,
    /// The conversation is closing or has ended.
    Closed,
    /// There is no such transfer, or it has ended.
    UnknownTransfer(TransferId),
    /// The transfer is not in a state for this.
    WrongState(TransferId),
    /// The data does not begin where the transfer is; this is where it does.
    WrongOffset {
        /// The offset that comes next.
        expected: u64,
    },
    /// The peer accepts none, or no more, of these at a time. For an offer
    /// [`Event::MayOffer`](super::Event::MayOffer) tells when there is room, if there ever is; a fourth
    /// authentication has to wait for another stream.
    PeerLimit,
    /// A batch and one of its members are more transfers at a time than the peer, or our own
    /// configuration, allows.
    NoPlaceForMembers,
    /// It is larger than the peer accepts.
    TooLarge {
        /// Bytes that the peer accepts.
        max: u64,
    },
    /// A value that the format cannot carry.
    Invalid(EncodeError),
    /// All transfer numbers of this conversation have been used.
    Exhausted,
}

impl ActionError {
    /// Whether the same action can succeed later.
    pub fn can_retry(&self) -> bool {
        matches!(self, Self::Blocked | Self::NotOpen | Self::PeerLimit)
    }
}

impl fmt::Display for ActionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked => f.write_str("the queue is full for now"),
            Self::NotOpen => f.write_str("the conversation is not open yet"),
            Self::Closed => f.write_str("the conversation is closed"),
            Self::UnknownTransfer(id) => write!(f, "there is no open transfer {id}"),
            Self::WrongState(id) => write!(f, "transfer {id} is not in a state for this"),
            Self::WrongOffset { expected } => write!(f, "the data has to begin at {expected}"),
            Self::PeerLimit => f.write_str("the peer accepts no more of these for now"),
            Self::NoPlaceForMembers => {
                f.write_str("too few transfers are allowed at a time for a batch with a member")
            }
            Self::TooLarge { max } => write!(f, "the peer accepts at most {max} bytes"),
            Self::Invalid(error) => error.fmt(f),
            Self::Exhausted => f.write_str("all transfer numbers of this conversation are used"),
        }
    }
}

impl core::error::Error for ActionError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Invalid(error) => Some(error),
            _ => None,
        }
    }
}

impl From<EncodeError> for ActionError {
    fn from(error: EncodeError) -> Self {
        Self::Invalid(error)
    }
}
