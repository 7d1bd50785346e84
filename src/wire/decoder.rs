use super::{HEADER_LEN, Header};

/// Cuts a stream of bytes into headers and payloads, however the bytes arrive.
///
/// It holds a header in part and the number of payload bytes to come, and nothing else: payloads
/// are handed out as slices of the input. The preface is not for it. It knows no errors: whoever
/// calls judges the header, before any of the payload is there.
///
/// # Examples
///
/// See the [module](super).
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// Bytes of the payload that are still to come.
    remaining: u32,
    /// How many of `partial` are there; fewer than all.
    filled: u8,
    partial: [u8; HEADER_LEN],
}

/// What a [`Decoder`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole header. If its length is 0, the frame ends here.
    Header(Header),
    /// Some of the payload of the frame whose header came last.
    Payload {
        /// A slice of the input, never empty.
        data: &'a [u8],
        /// Whether the frame ends with it.
        last: bool,
    },
}

impl Decoder {
    /// A decoder at the beginning of a frame.
    pub const fn new() -> Self {
        Self { remaining: 0, filled: 0, partial: [0; HEADER_LEN] }
    }

    /// Takes some of `input`; returns how much, and what it was.
    ///
    /// At least one byte is taken unless `input` is empty. `None` means that all of it belongs to a
    /// header which is not complete yet.
    #[inline]
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Piece<'a>>) {
        if self.remaining != 0 {
            return self.payload(input);
        }
        if self.filled == 0 {
            if let Some(bytes) = input.first_chunk() {
                return (HEADER_LEN, Some(self.begin(bytes)));
            }
        }
        self.collect(input)
    }

    /// Whether the stream may end here without cutting a frame.
    #[inline]
    pub const fn is_between_frames(&self) -> bool {
        self.remaining == 0 && self.filled == 0
    }

    /// Whether the next byte belongs to a payload.
    #[inline]
    pub(crate) const fn is_in_payload(&self) -> bool {
        self.remaining != 0
    }

    #[inline]
    fn begin<'a>(&mut self, bytes: &[u8; HEADER_LEN]) -> Piece<'a> {
        let header = Header::decode(bytes);
        self.remaining = header.length;
        Piece::Header(header)
    }

    #[inline]
    fn payload<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Piece<'a>>) {
        let remaining = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        if let Some(data) = input.get(..remaining) {
            self.remaining = 0;
            return (remaining, Some(Piece::Payload { data, last: true }));
        }
        if input.is_empty() {
            return (0, None);
        }
        // Shorter than what is to come, so it fits.
        let length = u32::try_from(input.len()).unwrap_or(u32::MAX);
        self.remaining = self.remaining.saturating_sub(length);
        (input.len(), Some(Piece::Payload { data: input, last: false }))
    }

    #[cold]
    fn collect<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Piece<'a>>) {
        let missing = self.partial.iter_mut().skip(self.filled.into());
        let mut taken = 0_u8;
        for (slot, byte) in missing.zip(input) {
            *slot = *byte;
            taken = taken.saturating_add(1);
        }
        self.filled = self.filled.saturating_add(taken);
        if usize::from(self.filled) < HEADER_LEN {
            return (taken.into(), None);
        }
        self.filled = 0;
        let bytes = self.partial;
        (taken.into(), Some(self.begin(&bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn a_header_in_parts_and_a_payload_in_parts() {
        let header = Header { length: 3, kind: Kind::DATA, id: 1 };
        let bytes = header.encode();
        let mut decoder = Decoder::new();
        assert!(decoder.is_between_frames());
        assert_eq!(decoder.decode(&[]), (0, None));
        assert_eq!(decoder.decode(&bytes[..3]), (3, None));
        assert!(!decoder.is_between_frames());
        assert_eq!(decoder.decode(&[]), (0, None));
        let mut rest = bytes[3..].to_vec();
        rest.extend_from_slice(b"ab");
        assert_eq!(decoder.decode(&rest), (5, Some(Piece::Header(header))));
        assert!(!decoder.is_between_frames());
        let data = &rest[5..];
        assert_eq!(decoder.decode(data), (2, Some(Piece::Payload { data, last: false })));
        assert_eq!(decoder.decode(&[]), (0, None));
        let piece = Piece::Payload { data: b"c", last: true };
        assert_eq!(decoder.decode(b"c rest"), (1, Some(piece)));
        assert!(decoder.is_between_frames());
    }

    #[test]
    fn an_empty_payload_has_no_piece() {
        let header = Header { length: 0, kind: Kind::AUTH, id: 0 };
        let mut decoder = Decoder::new();
        for _ in 0..2 {
            let both = [header.encode(), header.encode()].concat();
            assert_eq!(decoder.decode(&both), (8, Some(Piece::Header(header))));
            assert!(decoder.is_between_frames());
        }
    }
}
