use core::fmt;

use super::detached::Detached;
use crate::io::TransportError;
use crate::proto::CloseReason;
use crate::time::Timer;

/// How a driver's work came to its end.
pub enum Outcome<T: Timer + Unpin> {
    /// The conversation has ended.
    Ended(Ended),
    /// The stream broke. The conversation can go on over another one.
    Detached(Detached<T>),
}

impl<T: Timer + Unpin> fmt::Debug for Outcome<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(ended) => f.debug_tuple("Ended").field(ended).finish(),
            Self::Detached(detached) => f.debug_tuple("Detached").field(detached).finish(),
        }
    }
}

/// How a conversation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Why, as every handle is told.
    pub reason: CloseReason,
    /// What the transport failed with, if it did.
    pub transport: Option<TransportError>,
}
