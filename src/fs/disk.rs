use std::boxed::Box;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::string::String;
use std::time::{Duration, SystemTime};
use std::vec::Vec;

use rustix::fs::{
    self, AtFlags, Dir, FallocateFlags, FileType, FlockOperation, Mode, OFlags, Stat,
};
use rustix::io::Errno;

use super::store::{Status, StatusKind, Store, StoreFile};

const NEW: OFlags = OFlags::CREATE.union(OFlags::EXCL);
const PLAIN: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY);

/// A folder held by descriptor.
#[derive(Debug)]
pub(super) struct Disk {
    descriptor: OwnedFd,
}

impl Disk {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let descriptor = fs::open(path, FOLDER | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { descriptor })
    }

    /// The names in a folder, those that are not Unicode as well.
    pub(super) fn names(&self, path: &str) -> io::Result<Vec<OsString>> {
        let folder = open_folder(self.descriptor.as_fd(), path)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.into());
            }
        }
        Ok(names)
    }

    /// Creates a file that did not exist, for its owner alone, and follows no link to do so.
    pub(super) fn create_file(&self, path: &str) -> io::Result<File> {
        let place = Place::find(self, path)?;
        let mode = Mode::RUSR | Mode::WUSR;
        let descriptor = fs::openat(place.folder(), place.name, NEW | PLAIN | OFlags::RDWR, mode)?;
        Ok(File::from(descriptor))
    }

    /// Opens a regular file for reading. It does not wait for the other end of a pipe.
    pub(super) fn open_source(&self, path: &str) -> io::Result<File> {
        let place = Place::find(self, path)?;
        let flags = PLAIN | OFlags::RDONLY | OFlags::NONBLOCK;
        regular(fs::openat(place.folder(), place.name, flags, Mode::empty())?)
    }
}

/// Opens a regular file for reading, whatever links lead to it.
pub(super) fn open_source(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    regular(fs::open(path, flags, Mode::empty())?)
}

/// What an open file is.
pub(super) fn status_of(file: &File) -> io::Result<Status> {
    Ok(status(&fs::fstat(file)?))
}

pub(super) fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

/// Locks a file for this handle alone; false if another has it.
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    match fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        // A file system without locks: create-new keeps one process' files apart.
        Err(Errno::NOSYS | Errno::NOTSUP | Errno::NOLCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

impl Store for Disk {
    fn create_new(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        Ok(Box::new(self.create_file(path)?))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        let place = Place::find(self, path)?;
        let flags = PLAIN | OFlags::RDWR | OFlags::NONBLOCK;
        let descriptor = fs::openat(place.folder(), place.name, flags, Mode::empty())?;
        Ok(Box::new(regular(descriptor)?))
    }

    fn open_to_read(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        Ok(Box::new(self.open_source(path)?))
    }

    fn rename_no_replace(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (Place::find(self, from)?, Place::find(self, to)?);
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        match fs::renameat_with(
            from.folder(),
            from.name,
            to.folder(),
            to.name,
            fs::RenameFlags::NOREPLACE,
        ) {
            // A file system that cannot: take the way that every other can.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            renamed => return Ok(renamed?),
        }
        fs::linkat(from.folder(), from.name, to.folder(), to.name, AtFlags::empty())?;
        Ok(fs::unlinkat(from.folder(), from.name, AtFlags::empty())?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (Place::find(self, from)?, Place::find(self, to)?);
        Ok(fs::renameat(from.folder(), from.name, to.folder(), to.name)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let place = Place::find(self, path)?;
        Ok(fs::unlinkat(place.folder(), place.name, AtFlags::empty())?)
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        let place = Place::find(self, path)?;
        Ok(fs::mkdirat(place.folder(), place.name, Mode::RWXU)?)
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        Ok(fs::fsync(open_folder(self.descriptor.as_fd(), path)?)?)
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        let place = Place::find(self, path)?;
        Ok(status(&fs::statat(place.folder(), place.name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        Ok(self.names(path)?.into_iter().flat_map(OsString::into_string).collect())
    }

    fn free_space(&self) -> io::Result<u64> {
        let found = fs::fstatvfs(&self.descriptor)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl StoreFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(rustix::io::pwritev(self, bytes, offset)?)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        read_at(self, offset, buffer)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn allocate(&mut self, offset: u64, len: u64) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) =
            fs::fallocate(&*self, FallocateFlags::KEEP_SIZE, offset, len)
        {
            return Err(error.into());
        }
        // Other errors mean that it cannot be done here; writing will tell what is wrong.
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

/// A name in a folder that was opened on the way.
struct Place<'a> {
    root: BorrowedFd<'a>,
    opened: Option<OwnedFd>,
    name: &'a str,
}

impl<'a> Place<'a> {
    fn find(disk: &'a Disk, path: &'a str) -> io::Result<Self> {
        let root = disk.descriptor.as_fd();
        let Some((folder, name)) = path.rsplit_once('/') else {
            return Ok(Self { root, opened: None, name: path });
        };
        Ok(Self { root, opened: Some(open_folder(root, folder)?), name })
    }

    fn folder(&self) -> BorrowedFd<'_> {
        self.opened.as_ref().map_or(self.root, AsFd::as_fd)
    }
}

/// Opens a folder beneath another, component by component, so that no link is followed anywhere.
fn open_folder(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let components = if path.is_empty() { "." } else { path }.split('/');
    let mut folder: Option<OwnedFd> = None;
    for component in components {
        let parent = folder.as_ref().map_or(root, AsFd::as_fd);
        folder = Some(fs::openat(parent, component, FOLDER | PLAIN, Mode::empty())?);
    }
    folder.ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn regular(descriptor: OwnedFd) -> io::Result<File> {
    let file = File::from(descriptor);
    match status_of(&file)?.kind {
        StatusKind::File => Ok(file),
        StatusKind::Folder => Err(io::ErrorKind::IsADirectory.into()),
        StatusKind::Other => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[allow(
    clippy::unnecessary_cast,
    clippy::useless_conversion,
    trivial_numeric_casts,
    reason = "the types differ from system to system"
)]
fn status(stat: &Stat) -> Status {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => StatusKind::File,
        FileType::Directory => StatusKind::Folder,
        _ => StatusKind::Other,
    };
    let modified = u64::try_from(stat.st_mtime).ok().and_then(|seconds| {
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds.min(999_999_999)))
    });
    Status {
        kind,
        len: u64::try_from(stat.st_size).unwrap_or(0),
        modified,
        file: Some((stat.st_dev as u64, stat.st_ino as u64)),
        links: stat.st_nlink as u64,
    }
}
