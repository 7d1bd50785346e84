use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use super::reader::Reader;
use super::redacted::Bytes;
use super::writer::{put_bytes, put_u64, whole};
use super::{DecodeError, DecodeReason, EncodeError, Kind, MAX_ITEM};

/// Bit 0 of a message's flags.
const REPLY: u8 = 1;

/// Bytes before the body.
const FIXED: usize = 2 + 1 + 8;

/// MESSAGE: bytes whose meaning is the application's.
///
/// # Examples
///
/// ```
/// use duologue::wire::Message;
///
/// let message = Message {
///     message_type: 7,
///     is_reply: true,
///     correlation: 42,
///     body: b"yes"[..].into(),
/// };
/// let mut payload = Vec::new();
/// message.encode(&mut payload)?;
/// assert_eq!(Message::decode(&payload).unwrap(), message);
/// # Ok::<(), duologue::wire::EncodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is, in the application's numbering.
    pub message_type: u16,
    /// Whether it answers the message with the same correlation.
    pub is_reply: bool,
    /// Ties a reply to what it answers.
    pub correlation: u64,
    /// All of it.
    pub body: Cow<'a, [u8]>,
}

impl<'a> Message<'a> {
    /// Reads the payload of a whole item.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(Kind::MESSAGE, payload);
        let message_type = reader.u16("type")?;
        let flags = reader.u8("flags")?;
        if flags & !REPLY != 0 {
            return Err(reader.error("flags", DecodeReason::OutOfRange));
        }
        let correlation = reader.u64("correlation")?;
        let body = reader.bytes("body", 0, usize::MAX)?;
        Ok(Self { message_type, is_reply: flags == REPLY, correlation, body })
    }

    /// Appends the payload of the whole item to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; a payload has at most 16 MiB.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        whole(out, |out| {
            out.extend_from_slice(&self.message_type.to_be_bytes());
            out.push(if self.is_reply { REPLY } else { 0 });
            put_u64(out, "correlation", self.correlation)?;
            put_bytes(out, "body", &self.body, 0, MAX_ITEM - FIXED)
        })
    }

    /// The same, without borrowing.
    pub fn into_owned(self) -> Message<'static> {
        Message {
            message_type: self.message_type,
            is_reply: self.is_reply,
            correlation: self.correlation,
            body: Cow::Owned(self.body.into_owned()),
        }
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("message_type", &self.message_type)
            .field("is_reply", &self.is_reply)
            .field("correlation", &self.correlation)
            .field("body", &Bytes(self.body.len()))
            .finish()
    }
}

/// SIGNAL: a hint that may be lost on the way.
#[derive(Clone, PartialEq, Eq)]
pub struct Signal<'a> {
    /// What it is, in the application's numbering.
    pub signal_type: u16,
    /// At most 1024 bytes.
    pub payload: Cow<'a, [u8]>,
}

impl<'a> Signal<'a> {
    /// Most bytes behind the type.
    pub const MAX_PAYLOAD: usize = 1024;

    /// Reads the payload of the frame.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(Kind::SIGNAL, payload);
        let signal_type = reader.u16("type")?;
        Ok(Self { signal_type, payload: reader.bytes("payload", 0, Self::MAX_PAYLOAD)? })
    }

    /// Appends the payload of the frame to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        whole(out, |out| {
            out.extend_from_slice(&self.signal_type.to_be_bytes());
            put_bytes(out, "payload", &self.payload, 0, Self::MAX_PAYLOAD)
        })
    }

    /// The same, without borrowing.
    pub fn into_owned(self) -> Signal<'static> {
        Signal { signal_type: self.signal_type, payload: Cow::Owned(self.payload.into_owned()) }
    }
}

impl fmt::Debug for Signal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal")
            .field("signal_type", &self.signal_type)
            .field("payload", &Bytes(self.payload.len()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::super::tables::{accepts, cannot_encode, refuses};
    use super::super::{EncodeReason, MAX_INTEGER};
    use super::*;

    fn message(body: &[u8]) -> Message<'_> {
        Message { message_type: 7, is_reply: false, correlation: 1, body: body.into() }
    }

    #[test]
    fn messages() {
        let most = Message {
            message_type: u16::MAX,
            is_reply: true,
            correlation: MAX_INTEGER,
            body: (&[][..]).into(),
        };
        accepts! { Message:
            message(b"ab\0") => "0007 00 0000000000000001 616200",
            most.clone() => "ffff 01 001fffffffffffff",
        }
        refuses! { Message:
            "00" => "type", Truncated;
            "0007" => "flags", Truncated;
            "0007 02 0000000000000001" => "flags", OutOfRange;
            "0007 81 0000000000000001" => "flags", OutOfRange;
            "0007 00 00000000000001" => "correlation", Truncated;
            "0007 00 0020000000000000" => "correlation", OutOfRange;
        }
        let long = vec![0; MAX_ITEM - FIXED + 1];
        cannot_encode! {
            Message { correlation: 1 << 53, ..message(b"") } =>
                "correlation", EncodeReason::OutOfRange;
            message(&long) => "body", EncodeReason::TooLong { max: MAX_ITEM - FIXED };
        }
        assert!(matches!(Message::decode(&[0; 12]).unwrap().body, Cow::Borrowed(&[0])));
        let shown = "Message { message_type: 7, is_reply: false, correlation: 1, body: 2 bytes }";
        assert_eq!(format!("{:?}", message(b"ab").into_owned()), shown);
    }

    #[test]
    fn signals() {
        let signal = |payload: &'static [u8]| Signal { signal_type: 258, payload: payload.into() };
        accepts! { Signal:
            signal(b"") => "0102",
            signal(b"xy") => "0102 7879",
            signal(&[0; 1024]) => format!("0102 {}", "00".repeat(1024)),
        }
        refuses! { Signal:
            "01" => "type", Truncated;
            format!("0102 {}", "00".repeat(1025)) => "payload", OutOfRange;
        }
        cannot_encode! { signal(&[0; 1025]) => "payload", EncodeReason::TooLong { max: 1024 }; }
        assert_eq!(format!("{:?}", signal(b"xy")), "Signal { signal_type: 258, payload: 2 bytes }");
    }
}
