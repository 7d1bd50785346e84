use std::boxed::Box;
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::string::String;
use std::time::SystemTime;
use std::vec::Vec;

use super::store::{Status, StatusKind, Store, StoreFile};

/// A folder named by its path, where the system has no calls relative to a descriptor.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
}

impl Disk {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.canonicalize()? })
    }

    /// The names in a folder, those that are not Unicode as well.
    pub(super) fn names(&self, path: &str) -> io::Result<Vec<OsString>> {
        fs::read_dir(self.join(path))?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn join(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.path.clone() } else { self.path.join(path) }
    }

    /// Creates a file that did not exist.
    pub(super) fn create_file(&self, path: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(self.join(path))
    }

    /// Opens a regular file for reading.
    pub(super) fn open_source(&self, path: &str) -> io::Result<File> {
        if self.status(path)?.kind != StatusKind::File {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        open_source(&self.join(path))
    }
}

/// Opens a regular file for reading, whatever links lead to it.
pub(super) fn open_source(path: &Path) -> io::Result<File> {
    regular(File::open(path)?)
}

/// What an open file is.
pub(super) fn status_of(file: &File) -> io::Result<Status> {
    Ok(status(&file.metadata()?))
}

pub(super) fn read_at(mut file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    file.seek(SeekFrom::Start(offset))?;
    file.read(buffer)
}

/// Does not lock: std's locks came after the oldest compiler that we support.
pub(super) fn try_lock(_file: &File) -> io::Result<bool> {
    Ok(true)
}

impl Store for Disk {
    fn create_new(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        Ok(Box::new(self.create_file(path)?))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        if self.status(path)?.kind != StatusKind::File {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.join(path))?))
    }

    fn open_to_read(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        // Some systems synchronise only what may be written.
        self.open(path).or_else(|_| Ok(Box::new(self.open_source(path)?)))
    }

    fn rename_no_replace(&self, from: &str, to: &str) -> io::Result<()> {
        // A rename replaces; a second link does not.
        fs::hard_link(self.join(from), self.join(to))?;
        fs::remove_file(self.join(from))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.join(from), self.join(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.join(path))
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        fs::create_dir(self.join(path))
    }

    fn sync_folder(&self, _path: &str) -> io::Result<()> {
        Ok(()) // folders cannot be synchronised here
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        Ok(status(&fs::symlink_metadata(self.join(path))?))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        Ok(self.names(path)?.into_iter().flat_map(OsString::into_string).collect())
    }

    fn free_space(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl StoreFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.seek(SeekFrom::Start(offset))?;
        self.write_vectored(bytes)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        read_at(self, offset, buffer)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn allocate(&mut self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn try_lock(&mut self) -> io::Result<bool> {
        try_lock(self)
    }

    fn status(&self) -> io::Result<Status> {
        status_of(self)
    }
}

fn regular(file: File) -> io::Result<File> {
    if status_of(&file)?.kind == StatusKind::File {
        Ok(file)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

fn status(metadata: &Metadata) -> Status {
    let kind = match metadata.file_type() {
        kind if kind.is_file() => StatusKind::File,
        kind if kind.is_dir() => StatusKind::Folder,
        _ => StatusKind::Other,
    };
    let modified = metadata.modified().ok();
    // std does not tell files from each other here, nor count their names.
    Status { kind, len: metadata.len(), modified, file: None, links: 1 }
}
