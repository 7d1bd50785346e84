//! Which offers were stored, and where: so that one whose sender never heard of it is known again.
//!
//! One file in the inbox has a slot of a sector for each of 4096 offers, in rows of four. A hash chooses the
//! row, so that what is remembered is bounded and nothing has to be removed; in a row that is full the oldest
//! gives way. A note is written before the file gets its name, and is a hint only: who finds one compares
//! the file with it. Programs that share a folder may write at once, as each slot is written by one call and
//! has a check; if they choose the same one, one of the notes is lost.

use alloc::vec::Vec;
use core::time::Duration;
use std::io;
use std::time::SystemTime;

use bytes::Bytes;

use super::name::RelativePath;
use super::options::{Durability, Settings};
use super::part_id::PartId;
use super::shared::Shared;
use super::store::{StatusKind, Store, StoreFile, if_there, read_full_at, write_all_at};

/// The file.
pub(super) const NAME: &str = ".duologue-stored.table";

/// Bytes of a slot: a sector.
const SLOT: usize = 512;
/// Slots of a row.
const ROW: usize = 4;
const MAGIC: [u8; 8] = *b"duologs1";
/// Bytes before the path: magic, key, time of the note, size, time of the file, digest, length of the path.
const HEAD: usize = 8 + 32 + 8 + 8 + 8 + 32 + 2;
const CHECK: usize = 32;

/// What an offer is known by, together with the name that it is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key([u8; 32]);

/// A file that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredFile {
    pub(super) path: RelativePath,
    pub(super) size: u64,
    /// When the file was changed last.
    pub(super) modified: Option<SystemTime>,
    /// The BLAKE3 digest of its content.
    pub(super) digest: [u8; 32],
}

impl Key {
    pub(super) fn new(id: &PartId, target: &RelativePath) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("duologue 2026 what was stored");
        hasher.update(id.as_bytes()).update(target.as_str().as_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// Where its row begins.
    fn row(&self, slots: u64) -> u64 {
        let first = self.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        let rows = slots.div_ceil(ROW as u64).max(1);
        first.checked_rem(rows).unwrap_or(0).saturating_mul((ROW * SLOT) as u64)
    }
}

/// The slots of a row, and where it begins.
struct Row {
    at: u64,
    slots: [u8; ROW * SLOT],
    filled: usize,
}

impl Row {
    fn empty(key: &Key, settings: &Settings) -> Self {
        Self { at: key.row(settings.notes), slots: [0; ROW * SLOT], filled: 0 }
    }

    fn read(file: &mut dyn StoreFile, key: &Key, settings: &Settings) -> io::Result<Self> {
        let mut row = Self::empty(key, settings);
        row.filled = read_full_at(file, row.at, &mut row.slots)?;
        Ok(row)
    }

    /// What each slot notes, and when it was noted.
    fn notes(&self) -> impl Iterator<Item = Option<(Key, SystemTime, StoredFile)>> {
        let mut filled = self.slots.get(..self.filled).unwrap_or_default().chunks(SLOT);
        (0..ROW).map(move |_| filled.next().and_then(decode))
    }

    /// The place of the slot for an offer: its own, or else one that nothing counts in, or the oldest.
    fn place(&self, key: &Key, store: &dyn Store, settings: &Settings) -> u64 {
        let rank = |note: Option<(Key, SystemTime, StoredFile)>| match note {
            Some((of, ..)) if of == *key => None,
            Some((_, noted, _)) if counts(store, settings, noted) => Some(noted),
            _ => Some(SystemTime::UNIX_EPOCH),
        };
        let oldest = self.notes().map(rank).enumerate().min_by_key(|(_, noted)| *noted);
        let slot = oldest.map_or(0, |(slot, _)| slot);
        self.at.saturating_add(slot.saturating_mul(SLOT) as u64)
    }
}

/// Whether what was noted then is not too old. What comes from the future is of a clock that was wrong.
fn counts(store: &dyn Store, settings: &Settings, noted: SystemTime) -> bool {
    store.now().duration_since(noted).is_ok_and(|passed| passed <= settings.keep_parts_for)
}

/// What is noted of an offer, unless it is older than that.
pub(super) fn find(
    store: &dyn Store,
    settings: &Settings,
    key: &Key,
) -> io::Result<Option<StoredFile>> {
    let Some(mut file) = if_there(store.open_to_read(NAME))? else { return Ok(None) };
    let row = Row::read(&mut *file, key, settings)?;
    let mut notes = row.notes().flatten();
    let own = notes.find(|(of, noted, _)| of == key && counts(store, settings, *noted));
    Ok(own.map(|(.., found)| found))
}

/// Notes that an offer is about to be stored.
pub(super) fn note(shared: &Shared, key: &Key, found: &StoredFile) -> io::Result<()> {
    let (store, settings) = (&*shared.store, &shared.settings);
    let Some(encoded) = encode(key, store.now(), found) else { return Ok(()) };
    // Of two that note at once neither takes the other's slot.
    let mut is_named = shared.lock_table();
    let is_new = match store.status(NAME) {
        Ok(status) if status.kind == StatusKind::File && status.links == 1 => false,
        // Nothing of ours.
        Ok(_) => {
            store.remove(NAME)?;
            true
        }
        Err(_) => true,
    };
    let mut create = || {
        *is_named = false;
        store.create_new(NAME)
    };
    let mut file = match is_new.then(&mut create) {
        Some(Ok(file)) => file,
        _ => store.open(NAME)?,
    };
    // What cannot be read is written anew.
    let row = Row::read(&mut *file, key, settings).unwrap_or_else(|_| Row::empty(key, settings));
    write_all_at(&mut *file, row.place(key, store, settings), &[encoded])?;
    drop(is_named);
    if settings.durability == Durability::Full {
        // Before the file has its name: else it could be there without its note.
        file.sync()?;
        // Who made the table may have failed, or ended, before its name was synchronised.
        let mut is_named = shared.lock_table();
        if !*is_named {
            store.sync_folder("")?;
            *is_named = true;
        }
    }
    Ok(())
}

/// Forgets what is noted of an offer.
pub(super) fn forget(store: &dyn Store, settings: &Settings, key: &Key) {
    let Ok(mut file) = store.open(NAME) else { return };
    // That it is still there harms nobody: the file is compared with it.
    let (at, nothing) = match Row::read(&mut *file, key, settings) {
        Ok(row) if row.notes().flatten().any(|(of, ..)| of == *key) => {
            (row.place(key, store, settings), &[0; SLOT][..])
        }
        Ok(_) => return,
        // It may be in any of them.
        Err(_) => (key.row(settings.notes), &[0; ROW * SLOT][..]),
    };
    let _ = write_all_at(&mut *file, at, &[Bytes::from_static(nothing)]);
}

fn nanoseconds(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

fn time(nanoseconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
}

/// Nothing if it does not fit.
fn encode(key: &Key, now: SystemTime, found: &StoredFile) -> Option<Bytes> {
    let path = found.path.as_str().as_bytes();
    let mut out = Vec::with_capacity(SLOT);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&key.0);
    out.extend_from_slice(&nanoseconds(now)?.to_be_bytes());
    out.extend_from_slice(&found.size.to_be_bytes());
    out.extend_from_slice(&nanoseconds(found.modified?)?.to_be_bytes());
    out.extend_from_slice(&found.digest);
    out.extend_from_slice(&u16::try_from(path.len()).ok()?.to_be_bytes());
    out.extend_from_slice(path);
    out.extend_from_slice(blake3::hash(&out).as_bytes());
    (out.len() <= SLOT).then(|| out.into())
}

fn decode(slot: &[u8]) -> Option<(Key, SystemTime, StoredFile)> {
    let (head, rest) = slot.split_first_chunk::<HEAD>()?;
    let (magic, fields) = head.split_first_chunk::<8>()?;
    let (of, fields) = fields.split_first_chunk::<32>()?;
    if *magic != MAGIC {
        return None;
    }
    let (noted, fields) = fields.split_first_chunk::<8>()?;
    let (size, fields) = fields.split_first_chunk::<8>()?;
    let (modified, fields) = fields.split_first_chunk::<8>()?;
    let (digest, fields) = fields.split_first_chunk::<32>()?;
    let (len, _) = fields.split_first_chunk::<2>()?;
    let path = rest.get(..usize::from(u16::from_be_bytes(*len)))?;
    let checked = HEAD.checked_add(path.len())?;
    let check = slot.get(checked..checked.checked_add(CHECK)?)?;
    if check != blake3::hash(slot.get(..checked)?).as_bytes() {
        return None;
    }
    let path = RelativePath::new(core::str::from_utf8(path).ok()?).ok()?;
    let (size, modified) = (u64::from_be_bytes(*size), time(u64::from_be_bytes(*modified)));
    let found = StoredFile { path, size, modified, digest: *digest };
    Some((Key(*of), time(u64::from_be_bytes(*noted))?, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Offer;

    fn key(name: &str) -> Key {
        let id = PartId::new(Some(b"peer"), &Offer::new(name));
        Key::new(&id, &RelativePath::new(name).unwrap())
    }

    #[test]
    fn a_note_says_what_it_said_to_whom_it_said_it_only_and_whole() {
        let now = SystemTime::UNIX_EPOCH + Duration::new(1_800_000_000, 5);
        for path in ["x", &"é".repeat(127)] {
            let path = RelativePath::new(path).unwrap();
            let file = StoredFile { path, size: 7, modified: Some(now), digest: [3; 32] };
            let mut slot = encode(&key("x"), now, &file).unwrap().to_vec();
            assert_eq!(decode(&slot), Some((key("x"), now, file.clone())));
            for byte in 0..slot.len() {
                assert_eq!(decode(&slot[..byte]), None);
                slot[byte] ^= 0x10;
                assert_eq!(decode(&slot), None, "byte {byte}");
                slot[byte] ^= 0x10;
            }
        }
        let path = RelativePath::new(&["a".repeat(255), "b".repeat(255)].join("/")).unwrap();
        let long = StoredFile { path, size: 7, modified: Some(now), digest: [3; 32] };
        assert_eq!(encode(&key("x"), now, &long), None);
    }
}
