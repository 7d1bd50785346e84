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

/// What became of a file on whose disk it befell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Befallen {
    /// Calls failed, files were altered, or there was no room.
    has_struck: bool,
    /// The file was not stored, and that was said.
    is_refused: bool,
}

/// What became of all those files.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Strikes {
    pub(crate) runs: u64,
    pub(crate) struck: u64,
    pub(crate) refused: u64,
}

impl Strikes {
    pub(crate) fn add(&mut self, befallen: Befallen) {
        self.runs += 1;
        self.struck += u64::from(befallen.has_struck);
        self.refused += u64::from(befallen.is_refused);
    }

    /// Fails if it did not happen, or did not do what it is said to.
    pub(crate) fn check(&self, expected: Expected) -> Result<(), String> {
        let Self { runs, struck, refused } = *self;
        if runs == 0 || struck < runs {
            return Err(format!("of {runs} it struck {struck}"));
        }
        // A call whose failure harms nothing, and what comes after the file is stored, refuse none.
        let is_as_expected = match expected {
            Expected::Refused => refused > runs / 2,
            Expected::Tolerated => refused == 0,
            _ => true,
        };
        if is_as_expected { Ok(()) } else { Err(format!("of {runs} it refused {refused}")) }
    }
}

/// Receives the first blocks of a file, and in another transfer all of it. Before that one or in the middle
/// of it something happens. Returns what came of it.
fn in_two(
    disk: &ShadowDisk,
    content: &Bytes,
    is_before: bool,
    mut happens: impl FnMut(),
) -> Result<Result<(), Error>, String> {
    let opened = inbox(disk).map_err(|error| error.to_string())?;
    // A part to go on with.
    receive(&opened, content, 3 * BLOCK, || ()).map_err(|error| error.to_string())?;
    if is_before {
        happens();
    }
    Ok(receive(&opened, content, LEN, || {
        if !is_before {
            happens();
        }
    }))
}

/// How many calls a disk makes to which nothing happens, from there on.
fn calls(content: &Bytes, is_before: bool) -> Result<u64, String> {
    let (disk, mut from) = (ShadowDisk::new(), 0);
    let result = in_two(&disk, content, is_before, || from = disk.calls())?;
    result.map_err(|error| format!("nothing happened: {error}"))?;
    Ok(disk.calls() - from)
}

/// Lets it befall a disk: before, or in the middle of a file. Fails with what did not hold.
pub(crate) fn befall(misbehaviour: &'static Misbehaviour, seed: u64) -> Result<Befallen, String> {
    let mut random = SplitMix64::new(seed);
    let content: Bytes = (0..LEN).map(|_| random.next_u64() as u8).collect::<Vec<u8>>().into();
    // What was written is not read again while the receiver has it open; room is asked for first.
    let is_first = misbehaviour.name() == "no-room-from-the-start"
        || misbehaviour.rows().any(|row| ["S4", "S5"].contains(&row));
    let is_before = seed % 2 == 0 || is_first;
    let calls = calls(&content, is_before)?;
    let (disk, mut is_altered) = (ShadowDisk::new(), false);
    let result = in_two(&disk, &content, is_before, || {
        let found = files(&disk);
        assert!(misbehaviour.befall(&disk, NAME, calls, seed), "it is the disk's");
        is_altered = found != files(&disk);
    })?;
    let is_refused = result.is_err();
    let has_struck = is_altered || is_refused || disk.failed_calls() > 0;
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
    wrong(&after, &content, result.is_ok())?;
    Ok(Befallen { has_struck, is_refused })
}

/// All that is on it.
fn files(disk: &ShadowDisk) -> Vec<(String, Option<Vec<u8>>)> {
    disk.names().into_iter().map(|name| (name.clone(), disk.read(&name))).collect()
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
