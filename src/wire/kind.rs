use core::fmt;

/// What a frame is: the fourth byte of its header.
///
/// Any byte can be a kind; [`is_known`](Self::is_known) tells those that have a meaning in this
/// version.
///
/// # Examples
///
/// ```
/// use duologue::wire::Kind;
///
/// assert_eq!(Kind::CHAT.to_string(), "CHAT");
/// assert!(Kind::CHAT.ends_item() && !Kind::CHAT.is_skippable());
/// let unknown = Kind::new(0xC5);
/// assert!(!unknown.is_known() && unknown.is_skippable() && unknown.ends_item());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(u8);

macro_rules! kinds {
    ($($name:ident = $number:literal: $meaning:literal,)*) => {
        impl Kind {
            $(#[doc = $meaning] pub const $name: Self = Self($number);)*

            /// All kinds that have a meaning, by number.
            pub const KNOWN: &'static [Self] = &[$(Self::$name),*];

            const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    HELLO = 0x01: "Opens each direction of a stream.",
    AUTH = 0x02: "What the two applications tell each other before they agree to talk.",
    RESUME = 0x03: "What a side has of the conversation; its acceptance of the peer.",
    START = 0x04: "The offset of the next DATA of a transfer.",
    DATA = 0x05: "Bytes of a file.",
    CREDIT = 0x06: "How far a transfer's sender may go, and how far its receiver got.",
    ACK = 0x07: "How many items were taken, and how many bytes of the stream.",
    PING = 0x08: "Asks for a PONG.",
    PONG = 0x09: "Repeats a PING's bytes.",
    GOODBYE = 0x0A: "The last frame of a direction, with the reason.",
    PART = 0x0B: "A part of an item, but not its end.",
    CHAT = 0x40: "A text.",
    MESSAGE = 0x41: "A message of the application.",
    OFFER = 0x42: "Offers a file, or an entry of a batch.",
    BATCH = 0x43: "Offers a directory.",
    ACCEPT = 0x44: "Accepts an offer.",
    REJECT = 0x45: "Declines an offer.",
    PAUSE = 0x46: "Asks a transfer to pause, or to go on.",
    FINISH = 0x47: "The sender's end of a transfer, with its length and digest.",
    CANCEL = 0x48: "The sender's wish to give a transfer up.",
    VERDICT = 0x49: "The receiver's word on how a transfer ended.",
    SIGNAL = 0x8C: "A hint of the application's that may be lost.",
}

impl Kind {
    /// The kind with this byte.
    pub const fn new(byte: u8) -> Self {
        Self(byte)
    }

    /// Its byte.
    pub const fn to_u8(self) -> u8 {
        self.0
    }

    /// Whether it has a meaning in this version.
    pub const fn is_known(self) -> bool {
        self.name().is_some()
    }

    /// Bit 7: whether a peer that does not know it skips it.
    pub const fn is_skippable(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// Bit 6: whether it ends an item of a numbered sequence, known or not.
    pub const fn ends_item(self) -> bool {
        self.0 & 0x40 != 0
    }

    /// The lane of the item that it ends: 0 for CHAT, 1 for every other; `None` if it ends none.
    pub const fn lane(self) -> Option<u8> {
        match self {
            Self::CHAT => Some(0),
            kind if kind.ends_item() => Some(1),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "kind {:#04x}", self.0),
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn bits_and_names() {
        assert!(Kind::KNOWN.is_sorted());
        assert_eq!(Kind::KNOWN.len(), 22);
        for byte in 0..=u8::MAX {
            let kind = Kind::new(byte);
            assert_eq!(kind.to_u8(), byte);
            assert_eq!(kind.is_known(), Kind::KNOWN.contains(&kind));
            assert_eq!(kind.is_skippable(), byte >= 0x80);
            assert_eq!(kind.ends_item(), matches!(byte, 0x40..=0x7F | 0xC0..));
            assert_eq!(kind.ends_item(), kind.lane().is_some());
        }
        assert_eq!(Kind::CHAT.lane(), Some(0));
        assert_eq!(Kind::VERDICT.lane(), Some(1));
        assert_eq!(Kind::new(0xC0).lane(), Some(1));
        assert_eq!(format!("{:?} {}", Kind::SIGNAL, Kind::new(0x0C)), "SIGNAL kind 0x0c");
    }
}
