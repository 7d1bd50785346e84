use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use super::reader::Reader;
use super::redacted::Bytes;
use super::writer::{put_text, put_u64, whole};
use super::{CloseCode, DecodeError, EncodeError, Kind};

/// ACK: what was taken.
///
/// # Examples
///
/// ```
/// use duologue::wire::Ack;
///
/// let ack = Ack { next: [1, 0], received: 4096 };
/// let mut payload = Vec::new();
/// ack.encode(&mut payload)?;
/// assert_eq!(Ack::decode(&payload), Ok(ack));
/// # Ok::<(), duologue::wire::EncodeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ack {
    /// For each lane, the number after the last item that the application took.
    pub next: [u64; 2],
    /// All bytes taken off this stream.
    pub received: u64,
}

impl Ack {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(Kind::ACK, payload);
        let next = [reader.u64("next")?, reader.u64("next")?];
        let received = reader.u64("received")?;
        reader.finish("payload")?;
        Ok(Self { next, received })
    }

    /// Appends the payload to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        whole(out, |out| {
            out.reserve(24);
            let [chat, control] = self.next;
            put_u64(out, "next", chat)?;
            put_u64(out, "next", control)?;
            put_u64(out, "received", self.received)
        })
    }
}

/// PING, or the PONG that repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ping {
    /// What a PONG repeats.
    pub token: [u8; 8],
}

impl Ping {
    /// Reads the payload of a PING.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        Self::read(Kind::PING, payload)
    }

    /// Reads the payload of a PONG.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode_pong(payload: &[u8]) -> Result<Self, DecodeError> {
        Self::read(Kind::PONG, payload)
    }

    fn read(kind: Kind, payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(kind, payload);
        let token = reader.array("token")?;
        reader.finish("payload")?;
        Ok(Self { token })
    }

    /// Appends the payload to `out`.
    ///
    /// # Errors
    ///
    /// None: it returns a `Result` as all of them do.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&self.token);
        Ok(())
    }
}

/// GOODBYE: the end of what its sender says.
///
/// # Examples
///
/// ```
/// use duologue::wire::{CloseCode, Goodbye};
///
/// let goodbye = Goodbye { code: CloseCode::SHUTDOWN, text: "back at noon".into() };
/// let mut payload = Vec::new();
/// goodbye.encode(&mut payload)?;
/// assert_eq!(payload, b"\0\x01back at noon");
/// assert_eq!(Goodbye::decode(&payload), Ok(goodbye));
/// # Ok::<(), duologue::wire::EncodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Goodbye<'a> {
    /// Why.
    pub code: CloseCode,
    /// For a log, and to be escaped there: at most 255 bytes, without a NUL.
    pub text: Cow<'a, str>,
}

impl<'a> Goodbye<'a> {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(Kind::GOODBYE, payload);
        let code = CloseCode::new(reader.u16("code")?);
        Ok(Self { code, text: reader.text("text", 0, 255)? })
    }

    /// Appends the payload to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        whole(out, |out| {
            out.extend_from_slice(&self.code.to_u16().to_be_bytes());
            put_text(out, "text", &self.text, 0, 255)
        })
    }

    /// The same, without borrowing.
    pub fn into_owned(self) -> Goodbye<'static> {
        Goodbye { code: self.code, text: Cow::Owned(self.text.into_owned()) }
    }
}

impl fmt::Debug for Goodbye<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Goodbye")
            .field("code", &self.code)
            .field("text", &Bytes(self.text.len()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::super::tables::{accepts, cannot_encode, refuses};
    use super::super::{EncodeReason, MAX_INTEGER};
    use super::*;

    const MOST: &str = "001fffffffffffff";

    #[test]
    fn ack() {
        accepts! { Ack:
            Ack::default() => "0000000000000000 0000000000000000 0000000000000000",
            Ack { next: [1, 2], received: 3 } =>
                "0000000000000001 0000000000000002 0000000000000003",
            Ack { next: [MAX_INTEGER; 2], received: MAX_INTEGER } => [MOST; 3].concat(),
        }
        refuses! { Ack:
            "" => "next", Truncated;
            [MOST; 2].concat() => "received", Truncated;
            [MOST; 4].concat() => "payload", Trailing;
            "0020000000000000 0000000000000000 0000000000000000" => "next", OutOfRange;
            "0000000000000000 ffffffffffffffff 0000000000000000" => "next", OutOfRange;
            "0000000000000000 0000000000000000 0020000000000000" => "received", OutOfRange;
        }
        cannot_encode! {
            Ack { next: [0, MAX_INTEGER + 1], received: 0 } => "next", EncodeReason::OutOfRange;
            Ack { next: [0, 0], received: u64::MAX } => "received", EncodeReason::OutOfRange;
        }
    }

    #[test]
    fn ping() {
        accepts! { Ping: Ping { token: *b"\xff234567\0" } => "ff323334353637 00", }
        refuses! { Ping:
            "00000000000000" => "token", Truncated;
            "000000000000000000" => "payload", Trailing;
        }
        assert_eq!(Ping::decode(&[]).unwrap_err().kind(), Kind::PING);
        assert_eq!(Ping::decode_pong(&[]).unwrap_err().kind(), Kind::PONG);
    }

    #[test]
    fn goodbye() {
        let say = |code, text: &'static str| Goodbye { code, text: text.into() };
        let longest = "x".repeat(255);
        accepts! { Goodbye:
            say(CloseCode::DONE, "") => "0000",
            say(CloseCode::TOO_LARGE, "ü") => "0008 c3bc",
            say(CloseCode::new(16), "") => "0010",
            say(CloseCode::new(u16::MAX), "a") => "ffff 61",
            Goodbye { code: CloseCode::DONE, text: longest.as_str().into() } =>
                format!("0000{}", "78".repeat(255)),
        }
        refuses! { Goodbye:
            "" => "code", Truncated;
            "00" => "code", Truncated;
            format!("0000{}", "78".repeat(256)) => "text", OutOfRange;
            "0000 c3" => "text", NotUtf8;
            "0000 eda080" => "text", NotUtf8;
            "0000 c080" => "text", NotUtf8;
            "0000 6100" => "text", Nul;
        }
        cannot_encode! {
            Goodbye { code: CloseCode::DONE, text: "x".repeat(256).into() } =>
                "text", EncodeReason::TooLong { max: 255 };
            say(CloseCode::DONE, "a\0") => "text", EncodeReason::Nul;
        }
        assert_eq!(
            format!("{:?}", say(CloseCode::DONE, "secret")),
            "Goodbye { code: done, text: 6 bytes }"
        );
    }
}
