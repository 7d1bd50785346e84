use alloc::vec::Vec;

use super::reader::Reader;
use super::{DecodeError, DecodeReason, EncodeError, EncodeReason, Kind};

/// What the sender of a HELLO accepts from its peer.
///
/// # Examples
///
/// ```
/// use duologue::wire::Limits;
///
/// let limits = Limits { transfers: 0, ..Limits::default() };
/// assert_eq!(limits.frame, 65_536);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a frame's payload: 1024 to 65536, the default.
    pub frame: u32,
    /// Bytes of the payload of DATA, of PART, and of what ends an item: 1024 to 16384, the default.
    pub fragment: u32,
    /// Bytes of an item: 16384 to 16777216; by default 69632.
    pub item: u32,
    /// Items not acknowledged, in each lane: 1 to 65536; by default 2048.
    pub items: u32,
    /// Their bytes, in each lane: [`item`](Self::item) to 2³¹; by default 524288.
    pub item_bytes: u32,
    /// Transfers offered by the peer and not ended: 0 to 4096; by default 80.
    pub transfers: u32,
    /// Of these, offers and batches not decided: 0 to 4096; by default 16.
    pub undecided: u32,
    /// Credit of a batch's member at its start, in bytes: 0 to 2³¹; by default 16384.
    pub member_credit: u32,
}

/// The least and the greatest value of each limit, in the order of the wire.
const RANGES: [(&str, u32, u32); 8] = [
    ("limit of a frame", 1024, 65_536),
    ("limit of a fragment", 1024, 16_384),
    ("limit of an item", 16_384, 1 << 24),
    ("limit of items", 1, 65_536),
    ("limit of items' bytes", 16_384, 1 << 31),
    ("limit of transfers", 0, 4096),
    ("limit of undecided transfers", 0, 4096),
    ("credit of a member", 0, 1 << 31),
];

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame: 65_536,
            fragment: 16_384,
            item: 69_632,
            items: 2048,
            item_bytes: 524_288,
            transfers: 80,
            undecided: 16,
            member_credit: 16_384,
        }
    }
}

impl Limits {
    /// The name of the first limit that is out of its range, if one is.
    fn wrong(&self) -> Option<&'static str> {
        let wrong = self
            .values()
            .into_iter()
            .zip(RANGES)
            .find(|(value, (_, least, most))| value < least || value > most)
            .map(|(_, (name, ..))| name);
        wrong.or_else(|| (self.item_bytes < self.item).then_some("limit of items' bytes"))
    }

    const fn values(&self) -> [u32; 8] {
        [
            self.frame,
            self.fragment,
            self.item,
            self.items,
            self.item_bytes,
            self.transfers,
            self.undecided,
            self.member_credit,
        ]
    }

    pub(super) fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, DecodeError> {
        let limits = Self {
            frame: reader.u32(field)?,
            fragment: reader.u32(field)?,
            item: reader.u32(field)?,
            items: reader.u32(field)?,
            item_bytes: reader.u32(field)?,
            transfers: reader.u32(field)?,
            undecided: reader.u32(field)?,
            member_credit: reader.u32(field)?,
        };
        // A longer list is another one: its numbers say nothing.
        reader.finish(field)?;
        match limits.wrong() {
            Some(field) => Err(reader.error(field, DecodeReason::OutOfRange)),
            None => Ok(limits),
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if let Some(field) = self.wrong() {
            return Err(EncodeError::new(field, EncodeReason::OutOfRange));
        }
        out.extend(self.values().into_iter().flat_map(u32::to_be_bytes));
        Ok(())
    }
}

/// Most bytes that a frame of this kind may have as payload, under the limits of its receiver.
///
/// More is `too_large`, whatever the payload would be: it is judged on the header alone. HELLO,
/// AUTH and RESUME are held to limits of their own.
///
/// # Examples
///
/// ```
/// use duologue::wire::{Kind, Limits, max_length};
///
/// let limits = Limits { fragment: 4096, ..Limits::default() };
/// assert_eq!(max_length(Kind::CHAT, &limits), 4096);
/// assert_eq!(max_length(Kind::START, &limits), 8);
/// ```
pub fn max_length(kind: Kind, limits: &Limits) -> u32 {
    let own = match kind {
        Kind::HELLO => return 1024,
        Kind::AUTH => return 16_384,
        Kind::RESUME => return 65_536,
        Kind::START | Kind::PING | Kind::PONG => 8,
        Kind::CREDIT | Kind::ACK => 24,
        Kind::GOODBYE | Kind::REJECT | Kind::CANCEL => 2 + 255,
        Kind::SIGNAL => 2 + 1024,
        Kind::ACCEPT | Kind::FINISH => 8 + 1 + 32,
        Kind::PAUSE => 1,
        Kind::VERDICT => 2 + 8 + 4096,
        _ => u32::MAX,
    };
    let cut = kind.ends_item() || matches!(kind, Kind::DATA | Kind::PART);
    let allowed = if cut { limits.frame.min(limits.fragment) } else { limits.frame };
    own.min(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(limits: Limits) -> Result<Limits, &'static str> {
        let mut out = Vec::new();
        limits.put(&mut out).map_err(|error| error.field())?;
        assert_eq!(out.len(), 32);
        let mut reader = Reader::new(Kind::HELLO, &out);
        Ok(Limits::read(&mut reader, "limits").unwrap())
    }

    #[test]
    fn ranges() {
        let limits = Limits::default();
        assert_eq!(round_trip(limits), Ok(limits));
        for (index, (name, least, most)) in RANGES.into_iter().enumerate() {
            let with = |value: u32| {
                let mut values = limits.values();
                values[index] = value;
                // What is not below the limit of an item.
                if index == 2 {
                    values[4] = 1 << 31;
                }
                if index == 4 && value == least {
                    values[2] = least;
                }
                let bytes: Vec<u8> = values.into_iter().flat_map(u32::to_be_bytes).collect();
                Limits::read(&mut Reader::new(Kind::HELLO, &bytes), "limits")
            };
            for value in [least, most] {
                let limits = with(value).unwrap();
                assert_eq!(round_trip(limits), Ok(limits), "{name}");
            }
            for value in [least.checked_sub(1), most.checked_add(1)].into_iter().flatten() {
                let error = with(value).unwrap_err();
                assert_eq!((error.field(), error.reason()), (name, DecodeReason::OutOfRange));
            }
        }
        let less = Limits { item_bytes: limits.item - 1, ..limits };
        assert_eq!(round_trip(less), Err("limit of items' bytes"));
        let same = Limits { item_bytes: limits.item, ..limits };
        assert_eq!(round_trip(same), Ok(same));
    }

    #[test]
    fn lengths() {
        let least = Limits { frame: 1024, fragment: 1024, ..Limits::default() };
        for (kind, most, few) in [
            (Kind::HELLO, 1024, 1024),
            (Kind::AUTH, 16_384, 16_384),
            (Kind::RESUME, 65_536, 65_536),
            (Kind::DATA, 16_384, 1024),
            (Kind::PART, 16_384, 1024),
            (Kind::CHAT, 16_384, 1024),
            (Kind::VERDICT, 4106, 1024),
            (Kind::SIGNAL, 1026, 1024),
            (Kind::GOODBYE, 257, 257),
            (Kind::new(0x80), 65_536, 1024),
            (Kind::new(0xC0), 16_384, 1024),
        ] {
            assert_eq!(max_length(kind, &Limits::default()), most, "{kind}");
            assert_eq!(max_length(kind, &least), few, "{kind}");
        }
        let narrow = Limits { frame: 2048, ..Limits::default() };
        assert_eq!(max_length(Kind::DATA, &narrow), 2048);
    }
}
