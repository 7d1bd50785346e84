use core::fmt;
use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::string::String;
use std::time::SystemTime;
use std::vec::Vec;

use super::disk::Disk;
use super::name::{NameError, RelativePath, join};
use super::source::{Source, SourceError};
use super::store::{StatusKind, Store};
use crate::wire::{Batch, Offer, TransferId};

/// A folder that is sent: its files and folders, sorted, each folder before what is in it.
///
/// Links, pipes and devices are left out, and so are names that no receiver would take, and hidden
/// files unless [told so](TreeOptions::special_names).
///
/// # Examples
///
/// ```
/// use duologue::fs::{Tree, TreeOptions};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let photos = folder.path().join("photos");
/// std::fs::create_dir_all(photos.join("2026")).unwrap();
/// std::fs::write(photos.join("2026/one.jpg"), "jpg").unwrap();
///
/// let tree = Tree::walk(&photos, TreeOptions::new())?;
/// let paths: Vec<_> = tree.entries().iter().map(|entry| entry.path().as_str()).collect();
/// assert_eq!(paths, ["2026", "2026/one.jpg"]);
/// let batch = tree.batch("photos");
/// assert_eq!((batch.count, batch.bytes), (2, 3));
/// let source = tree.open(&tree.entries()[1])?;
/// assert_eq!(source.size(), 3);
/// # Ok::<(), duologue::fs::SourceError>(())
/// ```
pub struct Tree {
    disk: Disk,
    entries: Vec<Entry>,
    bytes: u64,
    left_out: Vec<(PathBuf, LeftOut)>,
}

/// A file or a folder of a [`Tree`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    path: RelativePath,
    is_directory: bool,
    size: u64,
    modified: Option<SystemTime>,
}

/// Why something is not part of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftOut {
    /// It is a link, a pipe or a device.
    Kind,
    /// Its name.
    Name(NameError),
    /// It could not be looked at.
    Unreadable(io::ErrorKind),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => f.write_str("it is a link, a pipe or a device"),
            Self::Name(error) => error.fmt(f),
            Self::Unreadable(kind) => write!(f, "it cannot be read: {kind}"),
        }
    }
}

/// How a [`Tree`] is made.
#[derive(Clone, Debug)]
pub struct TreeOptions {
    takes_special_names: bool,
    max_entries: u32,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeOptions {
    /// The defaults, which each method names.
    pub fn new() -> Self {
        Self { takes_special_names: false, max_entries: 65_536 }
    }

    /// Whether hidden files, and [others alike](NameError::Special), are sent: no.
    #[must_use]
    pub fn special_names(mut self, sent: bool) -> Self {
        self.takes_special_names = sent;
        self
    }

    /// Most entries: 65 536.
    #[must_use]
    pub fn max_entries(mut self, entries: u32) -> Self {
        self.max_entries = entries;
        self
    }
}

impl Tree {
    /// Looks what there is in a folder.
    ///
    /// # Errors
    ///
    /// [`SourceError::Storage`] when the folder itself cannot be read, [`SourceError::TooMany`].
    pub fn walk(folder: impl AsRef<Path>, options: TreeOptions) -> Result<Self, SourceError> {
        let disk = Disk::open(folder.as_ref())?;
        let mut tree = Self { disk, entries: Vec::new(), bytes: 0, left_out: Vec::new() };
        // Paths that are still to be looked at, the next one last.
        let mut waiting = Vec::new();
        let names = tree.disk.names("")?;
        tree.enqueue("", names, &mut waiting);
        while let Some(path) = waiting.pop() {
            let seen = tree.entries.len().saturating_add(tree.left_out.len());
            if seen.saturating_add(waiting.len())
                >= usize::try_from(options.max_entries).unwrap_or(usize::MAX)
            {
                return Err(SourceError::TooMany { max: options.max_entries });
            }
            match tree.look(&path, &options, &mut waiting) {
                Ok(()) => {}
                Err(reason) => tree.left_out.push((path.into(), reason)),
            }
        }
        Ok(tree)
    }

    fn look(
        &mut self,
        path: &str,
        options: &TreeOptions,
        waiting: &mut Vec<String>,
    ) -> Result<(), LeftOut> {
        let unreadable = |error: io::Error| LeftOut::Unreadable(error.kind());
        let path = RelativePath::new(path).map_err(LeftOut::Name)?;
        if path.is_special() && !options.takes_special_names {
            return Err(LeftOut::Name(NameError::Special));
        }
        let status = self.disk.status(path.as_str()).map_err(unreadable)?;
        match status.kind {
            StatusKind::Other => return Err(LeftOut::Kind),
            StatusKind::File => self.bytes = self.bytes.saturating_add(status.len),
            StatusKind::Folder => {
                let names = self.disk.names(path.as_str()).map_err(unreadable)?;
                self.enqueue(path.as_str(), names, waiting);
            }
        }
        let is_directory = status.kind == StatusKind::Folder;
        let size = if is_directory { 0 } else { status.len };
        self.entries.push(Entry { path, is_directory, size, modified: status.modified });
        Ok(())
    }

    /// The names in a folder are looked at next, in their order.
    fn enqueue(&mut self, folder: &str, mut names: Vec<OsString>, waiting: &mut Vec<String>) {
        names.sort();
        for name in names.into_iter().rev() {
            match name.into_string() {
                Ok(name) => waiting.push(join(folder, &name)),
                Err(name) => {
                    let path = Path::new(folder).join(name);
                    self.left_out.push((path, LeftOut::Name(NameError::NotUnicode)));
                }
            }
        }
    }

    /// Its entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is left out, by its path in the folder, and why.
    pub fn left_out(&self) -> &[(PathBuf, LeftOut)] {
        &self.left_out
    }

    /// The offer of it all.
    pub fn batch<'a>(&self, name: impl Into<Cow<'a, str>>) -> Batch<'a> {
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        Batch { name: name.into(), count, bytes: self.bytes, metadata: Cow::Borrowed(&[]) }
    }

    /// Opens a file of it. No link is followed.
    ///
    /// # Errors
    ///
    /// [`SourceError::Changed`] when it is not as it was; [`SourceError::NotAFile`],
    /// [`SourceError::Storage`].
    pub fn open(&self, entry: &Entry) -> Result<Source, SourceError> {
        let source = Source::new(self.disk.open_source(entry.path.as_str())?)?;
        if source.size() == entry.size { Ok(source) } else { Err(SourceError::Changed) }
    }
}

impl Entry {
    /// Where it is in the folder.
    pub fn path(&self) -> &RelativePath {
        &self.path
    }

    /// Whether it is a folder.
    pub fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// Bytes of the file; 0 of a folder.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The offer of it as a member of `batch`.
    pub fn offer(&self, batch: TransferId) -> Offer<'_> {
        let mut offer = Offer::new(self.path.as_str()).batch(batch);
        offer.modified = self.modified.and_then(super::source::milliseconds);
        if self.is_directory { offer.directory() } else { offer.size(self.size).seekable() }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("entries", &self.entries.len())
            .field("bytes", &self.bytes)
            .field("left_out", &self.left_out.len())
            .finish_non_exhaustive()
    }
}
