//! A file is received, and something befalls its disk.

use std::sync::Arc;

use bytes::Bytes;
use duologue::fs::{Error, Inbox, InboxOptions};
use duologue::testing::hostile::{Expected, Misbehaviour};
use duologue::testing::{ShadowDisk, SplitMix64};
use duologue::wire::{Digest, Offer};

const NAME: &str = "file";
const BLOCK: usize = 1024;
const LEN: usize = 8 * BLOCK + 300;

fn inbox(disk: &ShadowDisk) -> Result<Inbox, Error> {
    InboxOptions::new().alignment(BLOCK as u64).keep_free(0).open_on(Arc::new(disk.clone()))
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::Blake3(*blake3::hash(bytes).as_bytes())
}

/// Receives from where it is to go on up to an offset, and ends it if that is the end.
fn receive(inbox: &Inbox, content: &Bytes, end: usize, then: impl FnOnce()) -> Result<(), Error> {
    let offer = Offer::new(NAME).size(LEN as u64).modified(1).seekable();
    let mut receiver = inbox.receive(Some(b"peer"), &offer)?;
    let prefix = receiver.prefix();
    if prefix.is_some_and(|(at, found)| found != digest(&content[..at as usize])) {
        receiver.restart()?;
    }
    let mut then = Some(then);
    while (receiver.position() as usize) < end {
        let at = receiver.position() as usize;
        receiver.write(&[content.slice(at..end.min(at + 300))])?;
        if at > end / 2 {
            if let Some(then) = then.take() {
                then();
            }
        }
    }
    if end == LEN {
        receiver.finish(LEN as u64, Some(digest(content)))?;
    } else {
        receiver.suspend();
    }
    Ok(())
}

/// Lets it befall a disk: before, or in the middle of a file. Fails with what did not hold.
pub(crate) fn befall(misbehaviour: &'static Misbehaviour, seed: u64) -> Result<(), String> {
    let mut random = SplitMix64::new(seed);
    let content: Bytes = (0..LEN).map(|_| random.next_u64() as u8).collect::<Vec<u8>>().into();
    let disk = ShadowDisk::new();
    let opened = inbox(&disk).map_err(|error| error.to_string())?;
    // A part to go on with.
    receive(&opened, &content, 3 * BLOCK, || ()).map_err(|error| error.to_string())?;
    let strikes = || assert!(misbehaviour.befall(&disk, NAME, seed), "it is the disk's");
    // What was written is not read again while the receiver has it open.
    let is_before = seed % 2 == 0 || misbehaviour.name().starts_with("spoilt");
    if is_before {
        strikes();
    }
    let result = receive(&opened, &content, LEN, || {
        if !is_before {
            strikes();
        }
    });
    wrong(&disk, &content, result.is_ok())?;
    // It is well again, or the machine is started again, and the file is sent once more.
    let after = match misbehaviour.expected() {
        Expected::Broken => disk.crash(|_| random.percent(50)),
        _ => disk.kill(),
    };
    after.set_free_space(u64::MAX);
    after.heal();
    wrong(&after, &content, result.is_ok())?;
    let opened = inbox(&after).map_err(|error| error.to_string())?;
    let mut tries = 0;
    loop {
        tries += 1;
        match receive(&opened, &content, LEN, || ()) {
            Ok(()) => break,
            // What was rotten has been found, and thrown away.
            Err(Error::PartDiffers | Error::DigestDiffers) if tries < 3 => {}
            Err(Error::Exists) if after.read(NAME).is_some() => break,
            Err(error) => return Err(format!("afterwards: {error}")),
        }
    }
    wrong(&after, &content, result.is_ok())
}

/// Under a final name there is what was sent, or what somebody else put there; what was stored is.
fn wrong(disk: &ShadowDisk, content: &[u8], is_stored: bool) -> Result<(), String> {
    let mut whole = 0;
    for name in disk.names().iter().filter(|name| !name.starts_with('.')) {
        let found = disk.read(name).unwrap_or_default();
        if found == content {
            whole += 1;
        } else if name != NAME || found != b"somebody else's" {
            return Err(format!("{name} is wrong"));
        }
    }
    if is_stored && whole == 0 { Err("what was stored is gone".to_owned()) } else { Ok(()) }
}
