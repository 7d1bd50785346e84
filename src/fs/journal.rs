//! How much of a part is on the disk, in a small file beside it.
//!
//! Two slots of 512 bytes are written in turn, so that a torn one leaves the other. What a record
//! says is a claim only: nobody trusts it before the part's bytes have the digest that it names.

use alloc::vec::Vec;

use super::part_id::PartId;

/// Bytes from one slot to the next: a sector.
pub(super) const SLOT: u64 = 512;
/// Bytes of both slots.
const BOTH: usize = 1024;

const MAGIC: [u8; 8] = *b"duologj1";
/// Bytes that the check is over: magic, generation, id, offset, digest.
const CHECKED: usize = 8 + 8 + 32 + 8 + 32;
/// Bytes of a record, with its check.
const RECORD: usize = CHECKED + 32;

/// One claim of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Counts the records: the newer one counts.
    pub(super) generation: u64,
    /// Bytes of the part that are on the disk: an offset to go on from.
    pub(super) offset: u64,
    /// Their BLAKE3 digest.
    pub(super) digest: [u8; 32],
}

impl Record {
    /// Where it belongs.
    pub(super) fn place(&self) -> u64 {
        self.generation.checked_rem(2).unwrap_or(0).saturating_mul(SLOT)
    }

    pub(super) fn encode(&self, id: &PartId) -> Vec<u8> {
        let mut out = Vec::with_capacity(RECORD);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.digest);
        out.extend_from_slice(&check(&out));
        out
    }

    fn decode(slot: &[u8], id: &PartId, is_checked: bool) -> Option<Self> {
        let (checked, rest) = slot.split_at_checked(CHECKED)?;
        let (found, _) = rest.split_first_chunk::<32>()?;
        if is_checked && *found != check(checked) {
            return None;
        }
        let (magic, rest) = checked.split_first_chunk::<8>()?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (of, rest) = rest.split_first_chunk::<32>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let (digest, _) = rest.split_first_chunk::<32>()?;
        (*magic == MAGIC && of == id.as_bytes()).then_some(Self {
            generation: u64::from_be_bytes(*generation),
            offset: u64::from_be_bytes(*offset),
            digest: *digest,
        })
    }
}

fn check(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// The claim to begin with: the newer of those that are whole and of this part.
///
/// `read` fills a buffer from the file's beginning and says how much there was.
pub(super) fn newest<E>(
    id: &PartId,
    is_checked: bool,
    read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> Result<Option<Record>, E> {
    let mut buffer = [0; BOTH];
    let filled = read(&mut buffer)?;
    let slots = buffer.get(..filled).unwrap_or_default().chunks(BOTH / 2);
    let records = slots.filter_map(|slot| Record::decode(slot, id, is_checked));
    Ok(records.max_by_key(|record| record.generation))
}

#[cfg(test)]
mod tests {
    use core::convert::Infallible;

    use super::*;

    fn id() -> PartId {
        PartId::new(Some(b"peer"), &crate::wire::Offer::new("x"))
    }

    fn parse(bytes: &[u8]) -> Option<Record> {
        let read = |buffer: &mut [u8]| {
            let n = bytes.len().min(buffer.len());
            buffer[..n].copy_from_slice(&bytes[..n]);
            Ok::<_, Infallible>(n)
        };
        newest(&id(), true, read).unwrap()
    }

    fn record(generation: u64) -> Record {
        Record { generation, offset: generation * 1000, digest: [7; 32] }
    }

    fn file(records: &[Record]) -> Vec<u8> {
        let mut bytes = alloc::vec![0; BOTH];
        for record in records {
            let place = record.place() as usize;
            let encoded = record.encode(&id());
            bytes[place..place + encoded.len()].copy_from_slice(&encoded);
        }
        bytes
    }

    #[test]
    fn the_newer_record_counts_and_a_torn_one_leaves_the_other() {
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&file(&[])), None);
        let both = file(&[record(1), record(2)]);
        assert_eq!(parse(&both), Some(record(2)));
        assert_eq!(parse(&both[..SLOT as usize + 10]), Some(record(2)));
        for torn in 0..RECORD {
            let mut bytes = both.clone();
            bytes[torn] ^= 0x40;
            assert_eq!(parse(&bytes), Some(record(1)), "byte {torn}");
        }
    }

    #[test]
    fn a_record_of_another_part_is_none() {
        let offer = crate::wire::Offer::new("x").size(1);
        let other = PartId::new(Some(b"peer"), &offer);
        assert_eq!(parse(&record(2).encode(&other)), None);
    }
}
