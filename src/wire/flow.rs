use alloc::vec::Vec;

use super::reader::Reader;
use super::writer::{put_u64, whole};
use super::{DecodeError, DecodeReason, EncodeError, EncodeReason, Kind};

/// START: the offset of a transfer's next DATA on this stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Start {
    /// The offset.
    pub offset: u64,
}

impl Start {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(Kind::START, payload);
        let offset = reader.u64("offset")?;
        reader.finish("payload")?;
        Ok(Self { offset })
    }

    /// Appends the payload to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_u64(out, "offset", self.offset)
    }
}

/// CREDIT: how far a transfer may go, and how far it got. All three count from its beginning.
///
/// # Examples
///
/// ```
/// use duologue::wire::Credit;
///
/// let credit = Credit { limit: 65_536, received: 16_384, durable: 0 };
/// let mut payload = Vec::new();
/// credit.encode(&mut payload)?;
/// assert_eq!(Credit::decode(&payload), Ok(credit));
/// # Ok::<(), duologue::wire::EncodeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Credit {
    /// The offset up to which the sender may send.
    pub limit: u64,
    /// Bytes that the receiver has, at most the limit.
    pub received: u64,
    /// How many of them survive a loss of power.
    pub durable: u64,
}

impl Credit {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(Kind::CREDIT, payload);
        let credit = Self {
            limit: reader.u64("limit")?,
            received: reader.u64("received")?,
            durable: reader.u64("durable")?,
        };
        reader.finish("payload")?;
        match credit.wrong() {
            Some(field) => Err(reader.error(field, DecodeReason::OutOfRange)),
            None => Ok(credit),
        }
    }

    /// Appends the payload to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if let Some(field) = self.wrong() {
            return Err(EncodeError::new(field, EncodeReason::OutOfRange));
        }
        whole(out, |out| {
            put_u64(out, "limit", self.limit)?;
            put_u64(out, "received", self.received)?;
            put_u64(out, "durable", self.durable)
        })
    }

    const fn wrong(&self) -> Option<&'static str> {
        if self.received > self.limit {
            Some("received")
        } else if self.durable > self.received {
            Some("durable")
        } else {
            None
        }
    }
}

/// PAUSE: one side's flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pause {
    /// Whether the transfer is to rest.
    pub is_paused: bool,
}

impl Pause {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(Kind::PAUSE, payload);
        let is_paused = match reader.u8("paused")? {
            0 => false,
            1 => true,
            _ => return Err(reader.error("paused", DecodeReason::OutOfRange)),
        };
        reader.finish("payload")?;
        Ok(Self { is_paused })
    }

    /// Appends the payload to `out`.
    ///
    /// # Errors
    ///
    /// None: it returns a `Result` as all of them do.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(self.is_paused.into());
        Ok(())
    }
}
