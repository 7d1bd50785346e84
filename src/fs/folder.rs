use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, Mode, OFlags};

/// A folder held by descriptor.
#[derive(Debug)]
pub(super) struct Folder {
    descriptor: OwnedFd,
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self { descriptor: fs::open(path, flags, Mode::empty())? })
    }

    /// Creates a file that did not exist, for its owner alone, and follows no link to do so.
    pub(super) fn create_new(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = fs::openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(File::from(descriptor))
    }

    /// Renames within the folder; `AlreadyExists` when the new name is taken.
    pub(super) fn rename_no_replace(&self, from: &str, to: &str) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        match fs::renameat_with(
            &self.descriptor,
            from,
            &self.descriptor,
            to,
            fs::RenameFlags::NOREPLACE,
        ) {
            // A file system that cannot: take the way that every other can.
            Err(
                rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP,
            ) => {}
            renamed => return Ok(renamed?),
        }
        fs::linkat(&self.descriptor, from, &self.descriptor, to, AtFlags::empty())?;
        Ok(fs::unlinkat(&self.descriptor, from, AtFlags::empty())?)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(fs::unlinkat(&self.descriptor, name, AtFlags::empty())?)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(fs::fsync(&self.descriptor)?)
    }
}
