//! A journal and a part with anything in them: what is proposed is there and hashed, and what is
//! published is right.

use std::sync::Arc;

use bytes::Bytes;
use duologue::fs::{Error, Inbox, InboxOptions, Receiver, RelativePath};
use duologue::testing::{Pattern, ShadowDisk};
use duologue::wire::{Digest, Offer};

const BLOCK: u64 = 64;
const LEN: usize = 5 * BLOCK as usize + 20;
const SLOT: usize = 512;
/// Bytes of a record before its check.
const CHECKED: usize = 88;

fn digest(bytes: &[u8]) -> Digest {
    Digest::Blake3(*blake3::hash(bytes).as_bytes())
}

fn open(disk: &ShadowDisk) -> Inbox {
    let options = InboxOptions::new().alignment(BLOCK).keep_free(0);
    options.open_on(Arc::new(disk.clone())).unwrap()
}

/// The first byte says how far the first try came, and what follows changes what it left: where (2
/// bytes), what to do, with what.
pub fn run(data: &[u8]) {
    let [far, changes @ ..] = data else { return };
    let disk = ShadowDisk::new();
    let content = Pattern::new(3).bytes(0, LEN);
    let offer = Offer::new("x").size(LEN as u64);
    let mut receiver = open(&disk).receive(Some(b"peer"), &offer).unwrap();
    let far = LEN.min(usize::from(*far) * 2);
    for start in (0..far).step_by(BLOCK as usize) {
        let end = far.min(start + BLOCK as usize);
        receiver.write(&[content.slice(start..end)]).unwrap();
    }
    receiver.suspend();
    change(&disk, changes);
    let honest = changes.is_empty();

    let inbox = open(&disk);
    let part = disk.names().into_iter().find(|name| name.ends_with(".part"));
    let found = part.and_then(|part| disk.read(&part)).unwrap_or_default();
    let mut receiver = inbox.receive(Some(b"peer"), &offer).unwrap();
    let position = receiver.position();
    match receiver.prefix() {
        None => {
            assert_eq!(position, 0);
            assert!(!honest || far < BLOCK as usize);
        }
        Some((offset, proposed)) => {
            assert!(offset > 0 && offset % BLOCK == 0 && offset <= LEN as u64);
            assert_eq!(position, offset);
            assert!(found.len() as u64 >= offset, "no more than there is");
            assert!(!honest || offset == far as u64 / BLOCK * BLOCK);
            // As an honest sender does.
            if proposed != digest(&content[..offset as usize]) {
                receiver.restart().unwrap();
            }
        }
    }
    let path = match finish(receiver, &content) {
        // What was there is not what the journal says: it goes, and the sender begins at 0.
        Err(Error::PartDiffers) => {
            assert!(!honest);
            let receiver = inbox.receive(Some(b"peer"), &offer).unwrap();
            assert_eq!(receiver.position(), 0);
            finish(receiver, &content)
        }
        ended => ended,
    };
    assert_eq!(disk.read(path.unwrap().as_str()).map(Bytes::from), Some(content));
    assert_eq!(disk.names(), [".duologue-stored.table", "x"]);
}

fn finish(mut receiver: Receiver, content: &Bytes) -> Result<RelativePath, Error> {
    receiver.write(&[content.slice(receiver.position() as usize..)])?;
    receiver.finish(LEN as u64, Some(digest(content)))
}

fn change(disk: &ShadowDisk, mut changes: &[u8]) {
    while let [high, low, what, value, rest @ ..] = changes {
        changes = rest;
        let place = usize::from(*high) << 8 | usize::from(*low);
        let end = if what & 1 == 0 { ".journal" } else { ".part" };
        let Some(name) = disk.names().into_iter().find(|name| name.ends_with(end)) else {
            continue;
        };
        let mut bytes = disk.read(&name).unwrap();
        match what >> 1 & 7 {
            0 => bytes.truncate(place),
            1 => bytes.resize(bytes.len().max(place % 4096), *value),
            2 => bytes.clear(),
            3 => bytes.reverse(),
            _ => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = *value;
                }
            }
        }
        if what & 0x80 != 0 && end == ".journal" {
            // One that was forged with care.
            for slot in bytes.chunks_mut(SLOT).filter(|slot| slot.len() >= CHECKED + 32) {
                let (checked, rest) = slot.split_at_mut(CHECKED);
                rest[..32].copy_from_slice(blake3::hash(checked).as_bytes());
            }
        }
        disk.write(&name, &bytes);
    }
}
