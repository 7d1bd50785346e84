use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A folder named by its path, where the system has no calls relative to a descriptor.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.canonicalize()? })
    }

    /// Creates a file that did not exist.
    pub(super) fn create_new(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(self.path.join(name))
    }

    /// Renames within the folder; `AlreadyExists` when the new name is taken.
    pub(super) fn rename_no_replace(&self, from: &str, to: &str) -> io::Result<()> {
        // A rename replaces; a second link does not.
        fs::hard_link(self.path.join(from), self.path.join(to))?;
        fs::remove_file(self.path.join(from))
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(()) // folders cannot be synchronised here
    }
}
