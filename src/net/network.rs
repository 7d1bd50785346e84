use std::net::{IpAddr, Ipv4Addr};

use super::Address;

/// What counts as one origin of connections: an IPv4 address, or the /64 of an IPv6 one, which is
/// what one subscriber has at the least ([RFC 6177](https://www.rfc-editor.org/rfc/rfc6177)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Network {
    V4(Ipv4Addr),
    V6([u16; 4]),
    /// This machine, over a Unix socket.
    Local,
}

impl Network {
    pub(super) fn of(address: &Address) -> Self {
        match address.ip().map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(ip)) => Self::V4(ip),
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, ..] = ip.segments();
                Self::V6([a, b, c, d])
            }
            None => Self::Local,
        }
    }
}
