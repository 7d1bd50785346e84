use super::{DecodeError, DecodeReason, HEADER_LEN, Kind, TransferId};

/// The eight bytes before every payload.
///
/// # Examples
///
/// ```
/// use duologue::wire::{Header, Kind};
///
/// let header = Header { length: 5, kind: Kind::DATA, id: 1 };
/// assert_eq!(header.encode(), [0, 0, 5, 0x05, 0, 0, 0, 1]);
/// assert_eq!(Header::decode(&header.encode()), header);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Bytes of the payload; at most 2²⁴ − 1 fit.
    pub length: u32,
    /// What the payload is.
    pub kind: Kind,
    /// A transfer, a channel or a lane; otherwise 0.
    pub id: u32,
}

impl Header {
    /// Largest length that the three bytes can say.
    pub const MAX_LENGTH: u32 = (1 << 24) - 1;

    /// Reads a header. Every eight bytes are one; whether it is allowed is judged by
    /// [`max_length`](super::max_length) and [`check_id`](Self::check_id).
    #[inline]
    pub const fn decode(bytes: &[u8; HEADER_LEN]) -> Self {
        let [l0, l1, l2, kind, i0, i1, i2, i3] = *bytes;
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind: Kind::new(kind),
            id: u32::from_be_bytes([i0, i1, i2, i3]),
        }
    }

    /// Writes the header. A length over [`MAX_LENGTH`](Self::MAX_LENGTH) becomes that, which no
    /// peer accepts.
    #[inline]
    pub const fn encode(&self) -> [u8; HEADER_LEN] {
        let length = if self.length > Self::MAX_LENGTH { Self::MAX_LENGTH } else { self.length };
        let [_, l0, l1, l2] = length.to_be_bytes();
        let [i0, i1, i2, i3] = self.id.to_be_bytes();
        [l0, l1, l2, self.kind.to_u8(), i0, i1, i2, i3]
    }

    /// Whether the id is one that the kind may have; of an unknown kind it may be any.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] of the field `id`: [`Unsupported`](DecodeReason::Unsupported) for a
    /// channel other than 0, else [`OutOfRange`](DecodeReason::OutOfRange).
    pub const fn check_id(&self) -> Result<(), DecodeError> {
        let id = match self.kind {
            Kind::HELLO
            | Kind::AUTH
            | Kind::RESUME
            | Kind::ACK
            | Kind::PING
            | Kind::PONG
            | Kind::GOODBYE
                if self.id != 0 =>
            {
                DecodeReason::OutOfRange
            }
            Kind::PART if self.id > 1 => DecodeReason::OutOfRange,
            Kind::CHAT | Kind::MESSAGE | Kind::SIGNAL if self.id != 0 => DecodeReason::Unsupported,
            Kind::START
            | Kind::DATA
            | Kind::CREDIT
            | Kind::OFFER
            | Kind::BATCH
            | Kind::ACCEPT
            | Kind::REJECT
            | Kind::PAUSE
            | Kind::FINISH
            | Kind::CANCEL
            | Kind::VERDICT
                if TransferId::from_wire(self.id).is_none() =>
            {
                DecodeReason::OutOfRange
            }
            _ => return Ok(()),
        };
        Err(DecodeError::new(self.kind, "id", id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_back() {
        for bytes in [
            [0; 8],
            [0xFF; 8],
            [0, 0, 1, 0x40, 0, 0, 0, 0],
            [1, 2, 3, 4, 5, 6, 7, 8],
            [0, 1, 0, 0x8C, 0x80, 0, 0, 1],
        ] {
            assert_eq!(Header::decode(&bytes).encode(), bytes);
        }
        let header = Header::decode(&[1, 2, 3, 0x42, 0x80, 6, 7, 8]);
        assert_eq!(header, Header { length: 0x01_02_03, kind: Kind::OFFER, id: 0x8006_0708 });
        let long = Header { length: u32::MAX, ..header };
        assert_eq!(Header::decode(&long.encode()).length, Header::MAX_LENGTH);
    }

    #[test]
    fn ids() {
        let reason =
            |kind, id| Header { length: 0, kind, id }.check_id().err().map(|error| error.reason());
        const WRONG: Option<DecodeReason> = Some(DecodeReason::OutOfRange);
        for kind in Kind::KNOWN.iter().copied() {
            let expected = match kind {
                Kind::HELLO | Kind::AUTH | Kind::RESUME | Kind::ACK | Kind::PING | Kind::PONG => {
                    [None, WRONG, WRONG, WRONG, WRONG]
                }
                Kind::GOODBYE => [None, WRONG, WRONG, WRONG, WRONG],
                Kind::PART => [None, None, WRONG, WRONG, WRONG],
                Kind::CHAT | Kind::MESSAGE | Kind::SIGNAL => {
                    let other = Some(DecodeReason::Unsupported);
                    [None, other, other, other, other]
                }
                _ => [WRONG, None, None, WRONG, None],
            };
            let ids = [0, 1, 2, 0x8000_0000, 0xFFFF_FFFF];
            assert_eq!(ids.map(|id| reason(kind, id)), expected, "{kind}");
        }
        assert_eq!(reason(Kind::new(0x0C), 7), None);
    }
}
