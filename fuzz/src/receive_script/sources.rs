//! The sender's folder.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use duologue::testing::Pattern;

/// Names and lengths of its files.
const FILES: &[(&str, usize)] =
    &[("a", 0), ("b", 1), ("c", 1024), ("d.txt", 5300), (".e", 40), ("f", 300_000), ("x:y", 9)];

/// Those of the folder that is sent whole.
const MEMBERS: &[(&str, usize)] =
    &[("tree/a", 3), ("tree/.b", 8), ("tree/in/c", 2000), ("tree/in/deep/d", 0), ("tree/con", 5)];

/// Of the longest, now and then.
const LONG: usize = (1 << 20) + 50_000;

pub(super) struct Sources {
    folder: tempfile::TempDir,
    /// What a file was at any time.
    versions: RefCell<Vec<Vec<u8>>>,
}

pub(super) fn content(seed: usize, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let more = Pattern::new(seed as u64).bytes(bytes.len() as u64, len - bytes.len());
        bytes.extend_from_slice(&more);
    }
    bytes
}

impl Sources {
    pub(super) fn new(settings: u8) -> Self {
        let folder = tempfile::tempdir().expect("a folder of our own");
        let sources = Self { folder, versions: RefCell::default() };
        fs::create_dir_all(sources.path("tree/in/deep")).expect("it is ours");
        if settings & 0x20 != 0 {
            fs::create_dir(sources.path("tree/empty")).expect("it is ours");
            #[cfg(unix)]
            {
                use std::os::unix::ffi::OsStrExt;
                std::os::unix::fs::symlink("a", sources.path("tree/link")).expect("it is ours");
                let name = std::ffi::OsStr::from_bytes(b"tree/not \xFF unicode");
                fs::write(sources.folder.path().join(name), "").expect("it is ours");
            }
        }
        for (seed, (name, len)) in FILES.iter().chain(MEMBERS).enumerate() {
            // One that is worth being kept by time.
            let is_long = *name == "f" && settings & 0x40 != 0;
            let bytes = content(seed, if is_long { LONG } else { *len });
            fs::write(sources.path(name), &bytes).expect("it is ours");
            sources.versions.borrow_mut().push(bytes);
        }
        sources
    }

    pub(super) fn count(&self) -> u8 {
        FILES.len() as u8
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn file(&self, which: u8) -> PathBuf {
        self.path(FILES[usize::from(which) % FILES.len()].0)
    }

    /// One more byte at the end of a file, or half of them are gone.
    pub(super) fn grow(&self, which: u8) {
        let path = self.file(which);
        let mut bytes = fs::read(&path).expect("it is ours");
        if which & 0x80 == 0 {
            bytes.push(which);
        } else {
            bytes.truncate(bytes.len() / 2);
        }
        self.versions.borrow_mut().push(bytes.clone());
        fs::write(path, &bytes).expect("it is ours");
    }

    /// Another content, of the same size and time.
    pub(super) fn change(&self, which: u8) {
        let path = self.file(which);
        let modified = fs::metadata(&path).and_then(|found| found.modified()).expect("it is ours");
        let mut bytes = fs::read(&path).expect("it is ours");
        bytes.iter_mut().step_by(500).for_each(|byte| *byte ^= 1);
        self.versions.borrow_mut().push(bytes.clone());
        fs::write(&path, &bytes).expect("it is ours");
        let file = fs::File::options().write(true).open(path).expect("it is ours");
        file.set_modified(modified).expect("it is ours");
    }

    /// Whether a file was like that at any time.
    pub(super) fn has(&self, bytes: &[u8]) -> bool {
        self.versions.borrow().iter().any(|version| version == bytes)
    }
}
