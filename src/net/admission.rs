use core::fmt;
use core::time::Duration;
use std::string::String;

use super::Address;
use crate::time::Time;

/// Decides, before a handler starts, whether a connection is wanted.
///
/// The decision is made by the task that accepts, so it must not block: what takes time (a question
/// to somebody, a lookup) belongs in the handler, where it keeps nobody waiting. Every closure
/// `FnMut(&Candidate<'_>) -> Result<(), Refusal>` is an admission policy, and [`RateLimit`] is one
/// ready made.
///
/// [`RateLimit`]: super::RateLimit
///
/// # Examples
///
/// ```
/// use duologue::net::{Admission, Candidate, RateLimit, Refusal};
/// use std::time::Duration;
///
/// // Two policies, one after the other.
/// let mut rate = RateLimit::new(10, Duration::from_secs(60));
/// let policy = move |candidate: &Candidate<'_>| {
///     if !candidate.peer.ip().is_some_and(|ip| ip.is_loopback()) {
///         return Err(Refusal::Policy("only this machine may connect".into()));
///     }
///     rate.admit(candidate)
/// };
/// # fn is_policy(_: impl Admission) {}
/// # is_policy(policy);
/// ```
pub trait Admission {
    /// Decides about one connection.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the connection is closed and [`Event::Refused`](super::Event::Refused) reported.
    fn admit(&mut self, candidate: &Candidate<'_>) -> Result<(), Refusal>;
}

impl<F: FnMut(&Candidate<'_>) -> Result<(), Refusal>> Admission for F {
    fn admit(&mut self, candidate: &Candidate<'_>) -> Result<(), Refusal> {
        self(candidate)
    }
}

/// A connection about which an [`Admission`] policy decides.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The client's address.
    pub peer: &'a Address,
    /// This end's address.
    pub local: &'a Address,
    /// Live connections of the server, without this one.
    pub live: usize,
    /// Those of them from the same IPv4 address or IPv6 /64.
    pub live_from_network: usize,
    /// The time on the clock of [`AsyncIoTimer`](crate::time::AsyncIoTimer).
    pub now: Time,
}

/// Why a connection was not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The server has as many connections as it may.
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The peer's address has as many connections as it may.
    TooManyFromNetwork {
        /// The limit.
        limit: usize,
    },
    /// The peer's address connects too often.
    TooOften {
        /// How long it should wait.
        again_in: Duration,
    },
    /// A policy of the program's own.
    Policy(String),
}

impl Refusal {
    /// Whether the same peer can be admitted later; of a program's own policy nothing is known.
    pub const fn can_retry(&self) -> bool {
        !matches!(self, Self::Policy(_))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { limit } => write!(f, "there are {limit} connections already"),
            Self::TooManyFromNetwork { limit } => {
                write!(f, "there are {limit} connections from this address already")
            }
            Self::TooOften { again_in } => {
                write!(f, "this address connects too often; it may again in {again_in:?}")
            }
            Self::Policy(reason) => write!(f, "{}", reason.escape_debug()),
        }
    }
}

impl core::error::Error for Refusal {}
