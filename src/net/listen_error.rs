use core::fmt;
use std::io::ErrorKind;
use std::string::String;

use super::{Address, TargetError};
use crate::io::TransportError;

/// Why listening did not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenError {
    /// Our caller: the target is malformed.
    Target(TargetError),
    /// Our caller: the hook before bind refused.
    Hook {
        /// Its error.
        error: TransportError,
    },
    /// The network: the host could not be looked up, or has no address.
    Lookup {
        /// The host, escaped.
        host: String,
        /// What the system said, if there was an error.
        error: Option<TransportError>,
    },
    /// The system: the address could not be bound.
    Bind {
        /// The address.
        address: Address,
        /// What the system said.
        error: TransportError,
    },
}

impl ListenError {
    /// Whether the same target can work later, as one that is in use now, or when the system has
    /// descriptors and memory again.
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Target(error) => error.can_retry(),
            Self::Hook { .. } => false,
            Self::Lookup { .. } => true,
            Self::Bind { error, .. } => {
                matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable)
                    || lacks_means(error)
            }
        }
    }
}

/// Whether the system has no descriptors or memory left. Of descriptors there is no kind: ENFILE and
/// EMFILE are 23 and 24 on every unix.
fn lacks_means(error: &TransportError) -> bool {
    let TransportError::Io { kind, code } = error else { return false };
    *kind == ErrorKind::OutOfMemory || (cfg!(unix) && matches!(code, Some(23 | 24)))
}

impl From<TargetError> for ListenError {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(error) => write!(f, "{error}"),
            Self::Hook { error } => write!(f, "the hook before bind refused: {error}"),
            Self::Lookup { host, error: Some(_) } => {
                write!(f, "the host `{host}` could not be looked up")
            }
            Self::Lookup { host, error: None } => write!(f, "the host `{host}` has no address"),
            Self::Bind { address, error } => write!(f, "cannot listen at {address}: {error}"),
        }
    }
}

impl core::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Target(error) => Some(error),
            Self::Hook { error } | Self::Bind { error, .. } => Some(error),
            Self::Lookup { error, .. } => error.as_ref().map(|error| error as _),
        }
    }
}
