//! What has to hold of the receiver's disk.

use std::cell::{Cell, RefCell};
use std::path::Path;

use duologue::fs::{Collision, Durability, Error, ReceiveError, Sent};
use duologue::testing::ShadowDisk;
use duologue::wire::Digest;

use super::sources::Sources;
use super::{collision, durability};

/// Where files are received.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Shadow(&'a ShadowDisk),
    Folder(&'a Path),
}

impl Place<'_> {
    /// Calls of the disk so far, where they are counted.
    pub(super) fn calls(self) -> u64 {
        match self {
            Self::Shadow(disk) => disk.calls(),
            Self::Folder(_) => 0,
        }
    }

    fn read(self, name: &str) -> Option<Vec<u8>> {
        match self {
            Self::Shadow(disk) => disk.read(name),
            Self::Folder(folder) => std::fs::read(folder.join(name)).ok(),
        }
    }

    fn names(self) -> Vec<String> {
        match self {
            Self::Shadow(disk) => disk.names(),
            Self::Folder(folder) => {
                let entries = std::fs::read_dir(folder).expect("it is ours");
                entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
            }
        }
    }
}

pub(super) struct Judge<'a> {
    sources: &'a Sources,
    settings: [u8; 3],
    /// What was there before.
    allowed: RefCell<Vec<Vec<u8>>>,
    /// Names and contents of what was said to be stored.
    stored: RefCell<Vec<(String, Vec<u8>)>>,
    /// Nothing fails any more.
    pub(super) is_last: Cell<bool>,
    /// Power has failed.
    pub(super) has_lost_power: Cell<bool>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(sources: &'a Sources, settings: [u8; 3]) -> Self {
        let (allowed, stored, is_last, has_lost_power) = Default::default();
        Self { sources, settings, allowed, stored, is_last, has_lost_power }
    }

    pub(super) fn allow(&self, bytes: &[u8]) {
        self.allowed.borrow_mut().push(bytes.to_vec());
    }

    /// The receiver has said so: then it is there.
    pub(super) fn stored(&self, place: Place<'_>, sent: &Sent) {
        let name = sent.verdict.name().expect("it is stored");
        let found = place.read(name);
        if collision(self.settings[0]) == Collision::Replace {
            return;
        }
        let found = found.unwrap_or_else(|| panic!("{name} was stored, and is not there"));
        assert_eq!(sent.digest, Digest::Blake3(*blake3::hash(&found).as_bytes()), "{name}");
        assert_eq!(sent.bytes, found.len() as u64);
        self.stored.borrow_mut().push((name.to_owned(), found));
    }

    /// Looks at all that is there. A disk that has failed has not kept all its promises.
    pub(super) fn look(&self, place: Place<'_>, has_failed: bool) {
        for name in place.names() {
            if name.split('/').any(|part| part.starts_with(".duologue")) {
                continue;
            }
            // A folder has no content.
            let Some(found) = place.read(&name) else { continue };
            let is_known = self.sources.has(&found) || self.allowed.borrow().contains(&found);
            // Without synchronising power may not fail: then any part of it may be lost.
            let is_void =
                durability(self.settings[0]) == Durability::NoSync && self.has_lost_power.get();
            assert!(is_known || is_void, "{name} is neither old nor whole: {} bytes", found.len());
        }
        let mut stored = self.stored.borrow_mut();
        if durability(self.settings[0]) != Durability::Full || has_failed {
            stored.clear();
        }
        for (name, content) in stored.iter() {
            assert_eq!(place.read(name).as_deref(), Some(&**content), "{name} is lost");
        }
    }

    /// What the receiver said of a file that it did not store.
    pub(super) fn failed(&self, name: &str, error: &ReceiveError) {
        let ReceiveError::Storage(error) = error else { return };
        assert!(!std::io::Error::from(error.clone()).to_string().is_empty());
        let is_right = match error {
            Error::Exists => collision(self.settings[0]) != Collision::Number,
            Error::TooLarge { .. } => self.settings[1] & 1 != 0,
            Error::Quota { .. } => self.settings[1] & 6 != 0,
            Error::TooMany { .. } => self.settings[1] & 8 != 0,
            Error::FileName(_) => true,
            // A part of before is not what was sent, or a folder is there in part.
            Error::PartDiffers | Error::KnownInPart => true,
            _ => false,
        };
        assert!(is_right || !self.is_last.get(), "{name} is not stored in the end: {error}");
    }
}
