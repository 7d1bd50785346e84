//! A program's view of its disk, whose memory is the disk's.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use duologue::fs::store::{Status, Store, StoreFile};
use duologue::testing::ShadowDisk;

use super::meter::{Uncounted, uncounted};

#[derive(Debug)]
pub(crate) struct Disk(Uncounted<(ShadowDisk, Failures)>);

impl Disk {
    /// Counts the calls that fail.
    pub(crate) fn new(disk: impl FnOnce() -> ShadowDisk, failed: &Arc<AtomicU64>) -> Self {
        Self(Uncounted::new(|| (disk(), Failures(Arc::clone(failed)))))
    }

    fn call<R>(&self, call: impl FnOnce(&ShadowDisk) -> io::Result<R>) -> io::Result<R> {
        uncounted(|| self.0.1.note(call(&self.0.0)))
    }

    fn file(&self, call: impl FnOnce(&ShadowDisk) -> Opened) -> Opened {
        let file = self.call(call)?;
        let failures = uncounted(|| Failures(Arc::clone(&self.0.1.0)));
        Ok(Box::new(File(Some((file, failures)))))
    }
}

/// How many calls have failed as those of a disk do, and not for what they asked.
#[derive(Debug)]
struct Failures(Arc<AtomicU64>);

impl Failures {
    fn note<R>(&self, result: io::Result<R>) -> io::Result<R> {
        use io::ErrorKind as Kind;
        let kind = result.as_ref().err().map(io::Error::kind);
        if let Some(
            Kind::StorageFull | Kind::PermissionDenied | Kind::ReadOnlyFilesystem | Kind::Other,
        ) = kind
        {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

type Opened = io::Result<Box<dyn StoreFile>>;

#[derive(Debug)]
struct File(Option<(Box<dyn StoreFile>, Failures)>);

impl File {
    fn call<R>(&mut self, call: impl FnOnce(&mut dyn StoreFile) -> io::Result<R>) -> io::Result<R> {
        let (file, failures) = self.0.as_mut().expect("until it is dropped");
        uncounted(|| failures.note(call(&mut **file)))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        uncounted(|| drop(self.0.take()));
    }
}

impl Store for Disk {
    fn create_new(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        self.file(|disk| disk.create_new(path))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        self.file(|disk| disk.open(path))
    }

    fn open_to_read(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        self.file(|disk| disk.open_to_read(path))
    }

    fn rename_no_replace(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(|disk| disk.rename_no_replace(from, to))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(|disk| disk.rename(from, to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.call(|disk| disk.remove(path))
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        self.call(|disk| disk.create_folder(path))
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.call(|disk| disk.sync_folder(path))
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        self.call(|disk| disk.status(path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.0.1.note(self.0.0.list(path))
    }

    fn free_space(&self) -> io::Result<u64> {
        self.0.1.note(self.0.0.free_space())
    }

    fn now(&self) -> SystemTime {
        self.0.0.now()
    }
}

impl StoreFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.call(|file| file.write_at(offset, bytes))
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(|file| file.read_at(offset, buffer))
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.call(|file| file.set_len(len))
    }

    fn allocate(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.call(|file| file.allocate(offset, len))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.call(|file| file.sync())
    }

    fn try_lock(&mut self) -> io::Result<bool> {
        self.call(|file| file.try_lock())
    }

    fn status(&self) -> io::Result<Status> {
        let (file, failures) = self.0.as_ref().expect("until it is dropped");
        uncounted(|| failures.note(file.status()))
    }
}
