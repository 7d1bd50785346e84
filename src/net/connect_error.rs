use core::fmt;
use core::time::Duration;
use std::io::ErrorKind;
use std::string::String;
use std::vec::Vec;

use super::{Address, TargetError};
use crate::io::TransportError;

/// Why connecting failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// Our caller: the target is malformed.
    Target(TargetError),
    /// The network: the host could not be looked up.
    Lookup {
        /// The host, escaped.
        host: String,
        /// What the system said. Its resolver's own codes are not among what it can keep.
        error: TransportError,
    },
    /// The network: the host exists but has no address.
    NoAddress {
        /// The host, escaped.
        host: String,
    },
    /// The peer: every address was tried, and all failed.
    Failed {
        /// Each address and what came of it, in the order in which they were tried.
        attempts: Vec<Attempt>,
    },
    /// The peer: the limit passed before an address had answered.
    TimedOut {
        /// The limit.
        limit: Duration,
        /// The addresses tried until then; empty when the lookup took all the time.
        attempts: Vec<Attempt>,
    },
}

/// One address that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The address.
    pub address: Address,
    /// What it failed with; none when it had not answered yet.
    pub error: Option<TransportError>,
}

impl From<ConnectError> for TransportError {
    /// What the last of the addresses failed with, or the nearest kind.
    fn from(error: ConnectError) -> Self {
        let kind = match &error {
            ConnectError::Lookup { error, .. } => return error.clone(),
            ConnectError::Target(_) => ErrorKind::InvalidInput,
            ConnectError::NoAddress { .. } => ErrorKind::NotFound,
            ConnectError::TimedOut { .. } => ErrorKind::TimedOut,
            ConnectError::Failed { attempts } => {
                match attempts.iter().rev().find_map(|attempt| attempt.error.clone()) {
                    Some(error) => return error,
                    None => ErrorKind::NotConnected,
                }
            }
        };
        Self::Io { kind, code: None }
    }
}

impl ConnectError {
    /// The addresses that were tried.
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Self::Failed { attempts } | Self::TimedOut { attempts, .. } => attempts,
            _ => &[],
        }
    }

    /// Whether the same target can answer later, as it can when it was refused or did not answer.
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Target(error) => error.can_retry(),
            Self::Lookup { .. } | Self::NoAddress { .. } | Self::TimedOut { .. } => true,
            Self::Failed { attempts } => attempts.iter().any(|attempt| match &attempt.error {
                Some(error) => !matches!(
                    error.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::InvalidInput | ErrorKind::Unsupported
                ),
                None => true,
            }),
        }
    }
}

impl From<TargetError> for ConnectError {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(error) => write!(f, "{error}"),
            // The system's own error is kept, but std gives it no words.
            Self::Lookup { host, .. } => write!(f, "the host `{host}` could not be looked up"),
            Self::NoAddress { host } => write!(f, "the host `{host}` has no address"),
            Self::Failed { attempts } => {
                f.write_str("could not connect")?;
                list(f, attempts)
            }
            Self::TimedOut { limit, attempts } => {
                write!(f, "could not connect within {limit:?}")?;
                list(f, attempts)
            }
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, attempts: &[Attempt]) -> fmt::Result {
    for (index, Attempt { address, error }) in attempts.iter().enumerate() {
        f.write_str(if index == 0 { ": " } else { "; " })?;
        match error {
            Some(error) => write!(f, "{address}: {error}")?,
            None => write!(f, "{address}: no answer yet")?,
        }
    }
    Ok(())
}

impl core::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Target(error) => Some(error),
            Self::Lookup { error, .. } => Some(error),
            _ => None,
        }
    }
}
