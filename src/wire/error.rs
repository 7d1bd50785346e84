use core::error::Error;
use core::fmt;

use super::{CloseCode, Kind};

/// A payload or id that breaks the rules: the peer's fault.
///
/// It names the kind of frame and the field, and holds nothing that the peer sent.
///
/// # Examples
///
/// ```
/// use duologue::wire::{CloseCode, DecodeReason, Pause};
///
/// let error = Pause::decode(&[2]).unwrap_err();
/// assert_eq!((error.field(), error.reason()), ("paused", DecodeReason::OutOfRange));
/// assert_eq!(error.code(), CloseCode::MALFORMED);
/// assert_eq!(error.to_string(), "PAUSE: paused is out of range");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    kind: Kind,
    field: &'static str,
    reason: DecodeReason,
}

/// What is wrong with a field that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeReason {
    /// The payload or the field ends before its value is complete.
    Truncated,
    /// Bytes are left over at its end.
    Trailing,
    /// A number or a length that is not allowed.
    OutOfRange,
    /// Text that is not UTF-8.
    NotUtf8,
    /// Text with a NUL where none may be.
    Nul,
    /// Another encoding of the same value is the right one.
    NotCanonical,
    /// A field that is required is not there.
    Missing,
    /// A field is there that may not be, beside the others or at all.
    Unexpected,
    /// The field does not stand in ascending order, or twice.
    OutOfOrder,
    /// It may be right in a later version, but may not be skipped.
    Unsupported,
}

impl DecodeError {
    pub(super) const fn new(kind: Kind, field: &'static str, reason: DecodeReason) -> Self {
        Self { kind, field, reason }
    }

    /// The kind of frame.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Which of its fields.
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// What is wrong with it.
    pub const fn reason(&self) -> DecodeReason {
        self.reason
    }

    /// The code to say GOODBYE with: [`UNSUPPORTED`](CloseCode::UNSUPPORTED) or
    /// [`MALFORMED`](CloseCode::MALFORMED).
    pub const fn code(&self) -> CloseCode {
        match self.reason {
            DecodeReason::Unsupported => CloseCode::UNSUPPORTED,
            _ => CloseCode::MALFORMED,
        }
    }

    /// Whether trying again can help: never.
    pub const fn can_retry(&self) -> bool {
        false
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.reason {
            DecodeReason::Truncated => "is cut off",
            DecodeReason::Trailing => "is longer than its value",
            DecodeReason::OutOfRange => "is out of range",
            DecodeReason::NotUtf8 => "is not UTF-8",
            DecodeReason::Nul => "has a NUL",
            DecodeReason::NotCanonical => "is not in its canonical form",
            DecodeReason::Missing => "is missing",
            DecodeReason::Unexpected => "may not be there",
            DecodeReason::OutOfOrder => "is out of order",
            DecodeReason::Unsupported => "is not supported",
        };
        write!(f, "{}: {} {words}", self.kind, self.field)
    }
}

impl Error for DecodeError {}

/// A frame that cannot be written as it is: our caller's fault.
///
/// # Examples
///
/// ```
/// use duologue::wire::{EncodeReason, Offer};
///
/// let error = Offer::new("").encode(&mut Vec::new()).unwrap_err();
/// assert_eq!((error.field(), error.reason()), ("name", EncodeReason::TooShort));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError {
    field: &'static str,
    reason: EncodeReason,
}

/// What is wrong with a field that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeReason {
    /// Fewer bytes than it must have.
    TooShort,
    /// More bytes than it may have.
    TooLong {
        /// Most bytes that are allowed.
        max: usize,
    },
    /// A number that is not allowed.
    OutOfRange,
    /// Text with a NUL where none may be.
    Nul,
    /// The others make it necessary.
    Missing,
    /// The others forbid it.
    Unexpected,
    /// It does not stand in ascending order.
    OutOfOrder,
}

impl EncodeError {
    pub(super) const fn new(field: &'static str, reason: EncodeReason) -> Self {
        Self { field, reason }
    }

    /// Which field.
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// What is wrong with it.
    pub const fn reason(&self) -> EncodeReason {
        self.reason
    }

    /// Whether trying again can help: not with the same values.
    pub const fn can_retry(&self) -> bool {
        false
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field;
        match self.reason {
            EncodeReason::TooShort => write!(f, "{field} is too short"),
            EncodeReason::TooLong { max } => write!(f, "{field} is longer than {max} bytes"),
            EncodeReason::OutOfRange => write!(f, "{field} is out of range"),
            EncodeReason::Nul => write!(f, "{field} has a NUL"),
            EncodeReason::Missing => write!(f, "{field} is missing"),
            EncodeReason::Unexpected => write!(f, "{field} may not be there"),
            EncodeReason::OutOfOrder => write!(f, "{field} is out of order"),
        }
    }
}

impl Error for EncodeError {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn every_message() {
        for (reason, message) in [
            (DecodeReason::Truncated, "CHAT: text is cut off"),
            (DecodeReason::Trailing, "CHAT: text is longer than its value"),
            (DecodeReason::OutOfRange, "CHAT: text is out of range"),
            (DecodeReason::NotUtf8, "CHAT: text is not UTF-8"),
            (DecodeReason::Nul, "CHAT: text has a NUL"),
            (DecodeReason::NotCanonical, "CHAT: text is not in its canonical form"),
            (DecodeReason::Missing, "CHAT: text is missing"),
            (DecodeReason::Unexpected, "CHAT: text may not be there"),
            (DecodeReason::OutOfOrder, "CHAT: text is out of order"),
            (DecodeReason::Unsupported, "CHAT: text is not supported"),
        ] {
            let error = DecodeError::new(Kind::CHAT, "text", reason);
            assert_eq!(error.to_string(), message);
            let code = match reason {
                DecodeReason::Unsupported => CloseCode::UNSUPPORTED,
                _ => CloseCode::MALFORMED,
            };
            assert_eq!((error.code(), error.can_retry()), (code, false));
        }
        for (reason, message) in [
            (EncodeReason::TooShort, "name is too short"),
            (EncodeReason::TooLong { max: 255 }, "name is longer than 255 bytes"),
            (EncodeReason::OutOfRange, "name is out of range"),
            (EncodeReason::Nul, "name has a NUL"),
            (EncodeReason::Missing, "name is missing"),
            (EncodeReason::Unexpected, "name may not be there"),
            (EncodeReason::OutOfOrder, "name is out of order"),
        ] {
            let error = EncodeError::new("name", reason);
            assert_eq!(error.to_string(), message);
            assert!(!error.can_retry());
        }
    }
}
