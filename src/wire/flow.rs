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

#[cfg(test)]
mod tests {
    use super::super::MAX_INTEGER;
    use super::super::tables::{accepts, cannot_encode, refuses};
    use super::*;

    #[test]
    fn start() {
        accepts! { Start:
            Start { offset: 0 } => "0000000000000000",
            Start { offset: MAX_INTEGER } => "001fffffffffffff",
        }
        refuses! { Start:
            "" => "offset", Truncated;
            "0020000000000000" => "offset", OutOfRange;
            "0000000000000000 00" => "payload", Trailing;
        }
        cannot_encode! { Start { offset: 1 << 53 } => "offset", EncodeReason::OutOfRange; }
    }

    #[test]
    fn credit() {
        let credit = |limit, received, durable| Credit { limit, received, durable };
        accepts! { Credit:
            credit(0, 0, 0) => "0000000000000000 0000000000000000 0000000000000000",
            credit(3, 2, 1) => "0000000000000003 0000000000000002 0000000000000001",
            credit(MAX_INTEGER, MAX_INTEGER, MAX_INTEGER) =>
                "001fffffffffffff 001fffffffffffff 001fffffffffffff",
        }
        refuses! { Credit:
            "" => "limit", Truncated;
            "0000000000000000 0000000000000000" => "durable", Truncated;
            "0000000000000000 0000000000000000 0000000000000000 00" => "payload", Trailing;
            "0000000000000001 0000000000000002 0000000000000000" => "received", OutOfRange;
            "0000000000000002 0000000000000001 0000000000000002" => "durable", OutOfRange;
            "0020000000000000 0000000000000000 0000000000000000" => "limit", OutOfRange;
        }
        cannot_encode! {
            credit(1, 2, 0) => "received", EncodeReason::OutOfRange;
            credit(2, 1, 2) => "durable", EncodeReason::OutOfRange;
            credit(1 << 53, 0, 0) => "limit", EncodeReason::OutOfRange;
        }
    }

    #[test]
    fn pause() {
        accepts! { Pause:
            Pause { is_paused: false } => "00",
            Pause { is_paused: true } => "01",
        }
        refuses! { Pause:
            "" => "paused", Truncated;
            "02" => "paused", OutOfRange;
            "ff" => "paused", OutOfRange;
            "0100" => "payload", Trailing;
        }
    }
}
