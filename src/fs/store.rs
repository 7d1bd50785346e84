//! The calls that receiving needs of a disk.

use core::fmt;
use std::boxed::Box;
use std::io::{self, IoSlice};
use std::string::String;
use std::time::SystemTime;
use std::vec::Vec;

use bytes::Bytes;

/// A folder and what is beneath it.
///
/// Paths are names with `/` between them, relative to the folder; empty is the folder itself. The
/// names were checked by the caller. No call follows a link, or leaves the folder.
pub trait Store: fmt::Debug + Send + Sync {
    /// Creates a file that did not exist, for its owner alone.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, among others.
    fn create_new(&self, path: &str) -> io::Result<Box<dyn StoreFile>>;

    /// Opens a regular file for reading and writing, without waiting for anything.
    ///
    /// # Errors
    ///
    /// `NotFound`, among others; whatever is no regular file is an error, too.
    fn open(&self, path: &str) -> io::Result<Box<dyn StoreFile>>;

    /// Opens a regular file for reading alone: one that nobody may write, or that runs as a program,
    /// as well. It waits for nothing.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    fn open_to_read(&self, path: &str) -> io::Result<Box<dyn StoreFile>>;

    /// Gives a file a new name, which nothing has.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, among others.
    fn rename_no_replace(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file a new name, in place of the file that has it, if any.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes what is no folder.
    ///
    /// # Errors
    ///
    /// `NotFound`, among others.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Creates a folder that did not exist, for its owner alone.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, among others.
    fn create_folder(&self, path: &str) -> io::Result<()>;

    /// Makes the names in a folder survive a loss of power.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn sync_folder(&self, path: &str) -> io::Result<()>;

    /// What has this name: of a link, the link.
    ///
    /// # Errors
    ///
    /// `NotFound`, among others.
    fn status(&self, path: &str) -> io::Result<Status>;

    /// As [`status`](Self::status); nothing if nothing has the name.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn status_if_there(&self, path: &str) -> io::Result<Option<Status>> {
        if_there(self.status(path))
    }

    /// The names in a folder, in any order, without those that are not UTF-8.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// Bytes that may still be written; the largest number where that is not known.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn free_space(&self) -> io::Result<u64>;

    /// The time of day, as that of the files.
    fn now(&self) -> SystemTime;
}

/// An open file. Its lock, if it has one, ends with it.
pub trait StoreFile: fmt::Debug + Send {
    /// Writes some of the bytes, at least one, and says how many.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn write_at(&mut self, offset: u64, bytes: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Reads some bytes; none at the end of the file.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Cuts the file, or fills it up with zeros.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn set_len(&mut self, len: u64) -> io::Result<()>;

    /// Reserves room on the disk, without making the file longer. Where that cannot be done it does
    /// nothing.
    ///
    /// # Errors
    ///
    /// Those of the system, if there is no room.
    fn allocate(&mut self, offset: u64, len: u64) -> io::Result<()>;

    /// Makes the bytes, and the length, survive a loss of power.
    ///
    /// # Errors
    ///
    /// Those of the system. The bytes may be lost then: trying again proves nothing.
    fn sync(&mut self) -> io::Result<()>;

    /// Locks the file for this handle alone; false if another has it.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn try_lock(&mut self) -> io::Result<bool>;

    /// What it is.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn status(&self) -> io::Result<Status>;
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub kind: StatusKind,
    /// Bytes of content.
    pub len: u64,
    /// When that was changed, where it is known.
    pub modified: Option<SystemTime>,
    /// What tells it from every other file there, whatever its name: device and number, where the system
    /// numbers files.
    pub file: Option<(u64, u64)>,
    /// How many names it has.
    pub links: u64,
}

impl Status {
    /// Whether it is of the same file; nothing where that is not known.
    pub fn is_same(&self, other: &Self) -> Option<bool> {
        self.file.zip(other.file).map(|(file, other)| file == other)
    }

    /// The same, and where that is not known whether nothing shows that it is another: neither kind nor
    /// length nor time.
    pub fn seems_same(&self, other: &Self) -> bool {
        let shown = |status: &Self| (status.kind, status.len, status.modified);
        self.is_same(other).unwrap_or_else(|| shown(self) == shown(other))
    }
}

/// What there is in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, a pipe, a device.
    Other,
}

/// That nothing is there is no error of who only looks.
pub(super) fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Nor that it may not be read.
pub(super) fn if_readable<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match if_there(found) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        found => found,
    }
}

/// Slices of one call.
const SLICES: usize = 64;

/// Writes all of the bytes.
pub(super) fn write_all_at(
    file: &mut dyn StoreFile,
    mut offset: u64,
    chunks: &[Bytes],
) -> io::Result<()> {
    for chunks in chunks.chunks(SLICES) {
        let mut slices = [IoSlice::new(&[]); SLICES];
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            *slice = IoSlice::new(chunk);
        }
        let mut rest = slices.get_mut(..chunks.len()).unwrap_or_default();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match file.write_at(offset, rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    let left: usize = rest.iter().map(|slice| slice.len()).sum();
                    let n = n.min(left);
                    IoSlice::advance_slices(&mut rest, n);
                    offset = offset.saturating_add(n as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends, and says how much there is.
pub(super) fn read_full_at(
    file: &mut dyn StoreFile,
    offset: u64,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut filled = 0_usize;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(offset.saturating_add(filled as u64), room) {
            Ok(0) => break,
            Ok(n) => filled = filled.saturating_add(n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
