use core::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::printable::Printable;

/// The address of one end of a connection.
///
/// # Examples
///
/// ```
/// use duologue::net::Address;
///
/// let address = Address::from("[::1]:1001".parse::<std::net::SocketAddr>()?);
/// assert_eq!(address.to_string(), "[::1]:1001");
/// assert_eq!(address.port(), Some(1001));
///
/// // A dual-stack listener sees IPv4 peers as IPv6 ones; here they are IPv4 again.
/// let mapped = Address::from("[::ffff:192.0.2.7]:1001".parse::<std::net::SocketAddr>()?);
/// assert_eq!(mapped.to_string(), "192.0.2.7:1001");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// IP address and port.
    Tcp(SocketAddr),
    /// The path of a Unix socket; the connecting end usually has none.
    Unix(Option<PathBuf>),
}

impl Address {
    /// The IP address, if it has one.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// The port, if it has one.
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match (address, address.ip().to_canonical()) {
            (SocketAddr::V6(_), ip @ IpAddr::V4(_)) => {
                Self::Tcp(SocketAddr::new(ip, address.port()))
            }
            _ => Self::Tcp(address),
        }
    }
}

#[cfg(unix)]
impl From<&std::os::unix::net::SocketAddr> for Address {
    fn from(address: &std::os::unix::net::SocketAddr) -> Self {
        Self::Unix(address.as_pathname().map(PathBuf::from))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(Some(path)) => {
                write!(f, "unix:{}", Printable(&path.to_string_lossy()))
            }
            Self::Unix(None) => f.write_str("unix:(unnamed)"),
        }
    }
}
