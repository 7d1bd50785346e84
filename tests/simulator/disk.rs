//! A program's view of its disk, whose memory is the disk's.

use std::io::{self, IoSlice};
use std::time::SystemTime;

use duologue::fs::store::{Status, Store, StoreFile};
use duologue::testing::ShadowDisk;

use super::meter::{Uncounted, uncounted};

#[derive(Debug)]
pub(crate) struct Disk(Uncounted<ShadowDisk>);

impl Disk {
    pub(crate) fn new(disk: impl FnOnce() -> ShadowDisk) -> Self {
        Self(Uncounted::new(disk))
    }
}

#[derive(Debug)]
struct File(Option<Box<dyn StoreFile>>);

impl File {
    fn boxed(file: Box<dyn StoreFile>) -> Box<dyn StoreFile> {
        Box::new(Self(Some(file)))
    }

    fn call<R>(&mut self, call: impl FnOnce(&mut dyn StoreFile) -> R) -> R {
        uncounted(|| call(&mut **self.0.as_mut().expect("until it is dropped")))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        uncounted(|| drop(self.0.take()));
    }
}

impl Store for Disk {
    fn create_new(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        uncounted(|| self.0.create_new(path)).map(File::boxed)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        uncounted(|| self.0.open(path)).map(File::boxed)
    }

    fn open_to_read(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        uncounted(|| self.0.open_to_read(path)).map(File::boxed)
    }

    fn rename_no_replace(&self, from: &str, to: &str) -> io::Result<()> {
        uncounted(|| self.0.rename_no_replace(from, to))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        uncounted(|| self.0.rename(from, to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        uncounted(|| self.0.remove(path))
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        uncounted(|| self.0.create_folder(path))
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        uncounted(|| self.0.sync_folder(path))
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        uncounted(|| self.0.status(path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.0.list(path)
    }

    fn free_space(&self) -> io::Result<u64> {
        self.0.free_space()
    }

    fn now(&self) -> SystemTime {
        self.0.now()
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
        uncounted(|| self.0.as_ref().expect("until it is dropped").status())
    }
}
