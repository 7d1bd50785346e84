use core::fmt;
use std::string::String;

/// Why a text or a set of parts is no [`Target`](super::Target); the message says what to write.
///
/// Text of the input is quoted escaped, and at most 64 characters of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetError {
    /// An IPv6 address that needs brackets, or brackets around something else.
    Brackets,
    /// More colons than a host and a port have.
    Colons,
    /// There is no text.
    Empty,
    /// A character that no host name has.
    HostCharacter {
        /// The first one.
        found: char,
    },
    /// A host name of more than 253 bytes.
    HostTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Neither a port nor a service is given.
    NoPort,
    /// Connecting needs a host or an address, and a port that is not 0.
    NoHost,
    /// Something like an IPv4 address that is not four numbers from 0 to 255.
    NotAnAddress {
        /// The text.
        text: String,
    },
    /// A path of a Unix socket that is empty, has a NUL, or is longer than 103 bytes.
    Path {
        /// Its length in bytes.
        length: usize,
    },
    /// Neither a port number nor the name of a service.
    Port {
        /// The text.
        text: String,
    },
    /// A service that neither the built-in table nor the system's services file knows.
    UnknownService {
        /// Its name.
        name: String,
    },
    /// This system has no Unix sockets.
    UnixUnsupported,
    /// A URL or a path.
    Url {
        /// What to write instead, if that can be told.
        instead: Option<String>,
    },
}

impl TargetError {
    /// Whether the same input can succeed later: an unknown service may be registered by then.
    pub const fn can_retry(&self) -> bool {
        matches!(self, Self::UnknownService { .. })
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Brackets => f.write_str(
                "an IPv6 address, and nothing else, goes in brackets: write `[::1]:1001`",
            ),
            Self::Colons => {
                f.write_str("too many colons: write `host:port` or `[v6-address]:port`")
            }
            Self::Empty => f.write_str("the address is empty: write `host:port`"),
            Self::HostCharacter { found } => {
                write!(f, "a host name has no `{}` in it", found.escape_debug())
            }
            Self::HostTooLong { length } => {
                write!(f, "a host name has at most 253 bytes, not {length}")
            }
            Self::NoPort => f.write_str("the port is missing: write `host:port` or `host:service`"),
            Self::NoHost => f.write_str("a host (or address) and a port other than 0 are needed"),
            Self::NotAnAddress { text } => {
                write!(f, "`{text}` is no IPv4 address: it has four numbers from 0 to 255")
            }
            Self::Path { length } => write!(
                f,
                "the path of a Unix socket has 1 to 103 bytes, none of them zero; this one has {length}"
            ),
            Self::Port { text } => {
                write!(f, "`{text}` is neither a port (0 to 65535) nor the name of a service")
            }
            Self::UnknownService { name } => write!(
                f,
                "the service `{name}` is not known here: write the port's number, or register the \
                 name in the system's services file"
            ),
            Self::UnixUnsupported => {
                f.write_str("this system has no Unix sockets: write `host:port`")
            }
            Self::Url { instead: Some(instead) } => {
                write!(f, "this is a URL or a path, not a host and a port: write `{instead}`")
            }
            Self::Url { instead: None } => f.write_str(
                "this is a URL or a path, not a host and a port: write `host:port` or `unix:PATH`",
            ),
        }
    }
}

impl core::error::Error for TargetError {}
