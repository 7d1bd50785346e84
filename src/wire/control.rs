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
            self.next.iter().try_for_each(|next| put_u64(out, "next", *next))?;
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
