use core::fmt;

use super::{Expected, Misbehaviour};
use crate::wire::{CloseCode, TransferCode};

/// What a [`HostilePeer`](super::HostilePeer) saw of its victim.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What was done.
    pub misbehaviour: &'static Misbehaviour,
    /// What came of it.
    pub outcome: Outcome,
    /// Bytes that the peer sent.
    pub said: u64,
    /// Bytes that it read.
    pub heard: u64,
    /// Those that it read before the victim accepted it; of several streams the most on one.
    pub heard_before_open: u64,
}

/// What came of a misbehaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The victim said GOODBYE with this code.
    Closed(CloseCode),
    /// The stream ended without one.
    Dropped,
    /// A transfer was rejected or given up with this code, and the conversation went on: a PING was
    /// answered.
    Refused(TransferCode),
    /// The conversation went on: a PING was answered.
    Tolerated,
    /// There was no occasion: the victim took no file, or offered none, or there was no other stream.
    NoOccasion,
    /// The conversation did not go on for its own peer, which had the right to, before or after what
    /// was done.
    Lost,
    /// The victim did nothing within the peer's patience, and the stream is still there.
    Nothing,
}

/// It came otherwise than expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unexpected {
    misbehaviour: &'static str,
    expected: Expected,
    outcome: Outcome,
}

impl Report {
    /// Whether it came as expected.
    ///
    /// # Errors
    ///
    /// [`Unexpected`] if not. That there was [no occasion](Outcome::NoOccasion) is an error as well, as
    /// nothing was tried then: an application that takes no files, or offers none, gives none to some
    /// of them.
    pub fn check(&self) -> Result<(), Unexpected> {
        let (expected, outcome) = (self.misbehaviour.expected(), self.outcome);
        let is_right = match (expected, outcome) {
            (Expected::Closed(code), Outcome::Closed(said)) => code == said,
            (Expected::Dropped | Expected::TimedOut, Outcome::Dropped)
            | (Expected::TimedOut, Outcome::Closed(CloseCode::TIMEOUT))
            | (Expected::Broken, Outcome::Dropped | Outcome::Closed(_))
            | (Expected::Refused, Outcome::Refused(_))
            | (Expected::Tolerated, Outcome::Tolerated | Outcome::Refused(_)) => true,
            _ => false,
        };
        if is_right {
            return Ok(());
        }
        Err(Unexpected { misbehaviour: self.misbehaviour.name(), expected, outcome })
    }
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { misbehaviour, expected, outcome } = self;
        write!(f, "{misbehaviour}: expected {expected:?}, but it was {outcome:?}")
    }
}

impl core::error::Error for Unexpected {}
