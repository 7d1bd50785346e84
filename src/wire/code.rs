use core::fmt;

/// Why a side says GOODBYE.
///
/// The codes from 32768 on are the application's own; of the others, those without a name here may
/// get one in a later version.
///
/// # Examples
///
/// ```
/// use duologue::wire::CloseCode;
///
/// assert_eq!(CloseCode::TOO_LARGE.to_string(), "too_large");
/// let own = CloseCode::application(40_000).unwrap();
/// assert!(own.is_application());
/// assert_eq!(CloseCode::application(7), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

/// Why an offer was declined, or how a transfer ended.
///
/// The codes from 32768 on are the application's own; of the others, those without a name here may
/// get one in a later version.
///
/// # Examples
///
/// ```
/// use duologue::wire::TransferCode;
///
/// assert_eq!(TransferCode::NO_SPACE.to_string(), "no_space");
/// assert_eq!(TransferCode::new(12), TransferCode::BUSY);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferCode(u16);

macro_rules! codes {
    ($code:ident: $($name:ident = $number:literal $word:literal: $meaning:literal,)*) => {
        impl $code {
            $(#[doc = $meaning] pub const $name: Self = Self($number);)*

            /// The smallest of the application's own codes.
            pub const FIRST_APPLICATION: u16 = 32_768;

            /// The code with this number, whether it has a name or not.
            pub const fn new(number: u16) -> Self {
                Self(number)
            }

            /// One of the application's own; `None` below
            /// [`FIRST_APPLICATION`](Self::FIRST_APPLICATION).
            pub const fn application(number: u16) -> Option<Self> {
                if number < Self::FIRST_APPLICATION { None } else { Some(Self(number)) }
            }

            /// Its number.
            pub const fn to_u16(self) -> u16 {
                self.0
            }

            /// Whether it is one of the application's own.
            pub const fn is_application(self) -> bool {
                self.0 >= Self::FIRST_APPLICATION
            }

            /// The name of PROTOCOL.md, if it has one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($word),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $code {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None if self.is_application() => write!(f, "application {}", self.0),
                    None => write!(f, "code {}", self.0),
                }
            }
        }

        impl fmt::Debug for $code {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

codes! {
    CloseCode:
    DONE = 0 "done": "Nothing is wrong.",
    SHUTDOWN = 1 "shutdown": "The program ends; come back later.",
    REFUSED = 2 "refused": "The application does not accept the peer.",
    VERSION = 3 "version": "No common version.",
    ROLE = 4 "role": "Both are clients, or servers.",
    UNSUPPORTED = 5 "unsupported": "An unknown frame, field or stream that may not be skipped.",
    MALFORMED = 6 "malformed": "A value that is not canonical, or no UTF-8.",
    PROTOCOL = 7 "protocol": "A frame where the tables forbid it.",
    TOO_LARGE = 8 "too_large": "Over a limit of size.",
    LIMIT = 9 "limit": "Over a limit of number.",
    CREDIT = 10 "credit": "More data than was allowed.",
    STALE = 11 "stale": "The attach counter did not rise.",
    PROOF = 12 "proof": "The proof of the secret is wrong.",
    TIMEOUT = 13 "timeout": "The peer was too slow.",
    FLOOD = 14 "flood": "Too many frames that made no progress.",
    INTERNAL = 15 "internal": "A defect of the side that sends this code.",
}

codes! {
    TransferCode:
    STORED = 0 "stored": "All of it is with the receiver. In a VERDICT only.",
    DECLINED = 1 "declined": "The receiver does not want it.",
    CANCELLED = 2 "cancelled": "A side gave it up.",
    TOO_LARGE = 3 "too_large": "Larger than the receiver takes, or than was announced.",
    NO_SPACE = 4 "no_space": "The receiver has no room for it.",
    NAME_REFUSED = 5 "name_refused": "The receiver cannot or will not use the name.",
    EXISTS = 6 "exists": "The receiver has something under the name already.",
    DIGEST_DIFFERS = 7 "digest_differs": "The content is not what the digest says.",
    SIZE_DIFFERS = 8 "size_differs": "The content is not as long as was said.",
    SOURCE_CHANGED = 9 "source_changed": "The file changed while it was sent.",
    STORAGE_FAILED = 10 "storage_failed": "The receiver could not store it.",
    STALLED = 11 "stalled": "Nothing came for too long.",
    BUSY = 12 "busy": "Another transfer holds the part that this one wants.",
    KNOWN_IN_PART = 13 "known_in_part": "The receiver has some of the batch: offer it with digests.",
    KNOWN = 14 "known": "The receiver has stored what the offer names by its digest.",
}

#[cfg(feature = "std")]
impl TransferCode {
    /// Whether a file, or a batch, that ended by it can be stored if it is offered once more.
    pub(crate) fn can_retry(self) -> bool {
        matches!(
            self,
            Self::NO_SPACE
                | Self::BUSY
                | Self::DIGEST_DIFFERS
                | Self::STORAGE_FAILED
                | Self::STALLED
                | Self::SOURCE_CHANGED
        )
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn numbers_and_names() {
        for number in 0..=u16::MAX {
            let (close, transfer) = (CloseCode::new(number), TransferCode::new(number));
            assert_eq!((close.to_u16(), transfer.to_u16()), (number, number));
            assert_eq!(
                (close.name().is_some(), transfer.name().is_some()),
                (number < 16, number < 15)
            );
            assert_eq!(CloseCode::application(number).is_some(), number >= 32_768);
            assert_eq!(TransferCode::application(number).is_some(), transfer.is_application());
        }
        assert_eq!(CloseCode::new(16).to_string(), "code 16");
        assert_eq!(TransferCode::new(32_768).to_string(), "application 32768");
    }
}
