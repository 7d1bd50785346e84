use core::fmt;

use super::Side;

/// Names a transfer or a batch: who offered it, and a number that this side counts from 1.
///
/// The number is at most 2³¹ − 1; on the wire bit 31 says who offered. They are ordered as the
/// integers on the wire, the client's first. A transfer has the same id at both ends.
///
/// # Examples
///
/// ```
/// use duologue::wire::{Side, TransferId};
///
/// let id = TransferId::new(Side::Server, 3).unwrap();
/// assert_eq!(id.to_wire(), 0x8000_0003);
/// assert_eq!(id.to_string(), "server#3");
/// assert_eq!(TransferId::new(Side::Server, 0), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(u32);

const SERVER: u32 = 1 << 31;

impl TransferId {
    /// Most transfers that one side can offer in a conversation, and the largest number.
    pub const MAX_NUMBER: u32 = SERVER - 1;

    /// The id of the `number`-th transfer that `side` offers; `None` if that is 0 or over
    /// [`MAX_NUMBER`](Self::MAX_NUMBER).
    pub const fn new(side: Side, number: u32) -> Option<Self> {
        if number == 0 || number > Self::MAX_NUMBER {
            return None;
        }
        Some(match side {
            Side::Client => Self(number),
            Side::Server => Self(number | SERVER),
        })
    }

    /// Who offered it.
    pub const fn side(self) -> Side {
        if self.0 & SERVER == 0 { Side::Client } else { Side::Server }
    }

    /// Its number, from 1 on.
    pub const fn number(self) -> u32 {
        self.0 & Self::MAX_NUMBER
    }

    /// The id that stands in a frame; `None` if its number is 0.
    pub const fn from_wire(id: u32) -> Option<Self> {
        if id & Self::MAX_NUMBER == 0 { None } else { Some(Self(id)) }
    }

    /// How it stands in a frame.
    pub const fn to_wire(self) -> u32 {
        self.0
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side() {
            Side::Client => "client",
            Side::Server => "server",
        };
        write!(f, "{side}#{}", self.number())
    }
}

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_and_back() {
        let last = TransferId::MAX_NUMBER;
        for (side, number, wire) in [
            (Side::Client, 1, 1),
            (Side::Client, last, 0x7FFF_FFFF),
            (Side::Server, 1, 0x8000_0001),
            (Side::Server, last, 0xFFFF_FFFF),
        ] {
            let id = TransferId::new(side, number).unwrap();
            assert_eq!((id.side(), id.number(), id.to_wire()), (side, number, wire));
            assert_eq!(TransferId::from_wire(wire), Some(id));
        }
        for side in [Side::Client, Side::Server] {
            assert_eq!(TransferId::new(side, 0), None);
            assert_eq!(TransferId::new(side, last + 1), None);
        }
        assert_eq!(TransferId::from_wire(0), None);
        assert_eq!(TransferId::from_wire(SERVER), None);
    }
}
