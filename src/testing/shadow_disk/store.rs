use std::boxed::Box;
use std::io::{self, IoSlice};
use std::string::{String, ToString};
use std::time::SystemTime;
use std::vec::Vec;

use super::state::{Number, State, parent};
use super::{Barrier, ShadowDisk};
use crate::fs::store::{Status, StatusKind, Store, StoreFile};

#[derive(Debug)]
struct ShadowFile {
    disk: ShadowDisk,
    node: Number,
    handle: u64,
    is_read_only: bool,
}

impl ShadowFile {
    fn boxed(disk: &ShadowDisk, state: &mut State, node: Number) -> Box<dyn StoreFile> {
        Box::new(Self { disk: disk.clone(), node, handle: state.fresh(), is_read_only: false })
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.is_read_only { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }
}

fn status(state: &State, number: Number) -> io::Result<Status> {
    let node = state.nodes.get(&number).ok_or(io::ErrorKind::NotFound)?;
    let links = state.names.values().filter(|found| **found == number).count() as u64;
    Ok(Status {
        kind: if node.is_folder { StatusKind::Folder } else { StatusKind::File },
        len: node.content.len() as u64,
        modified: SystemTime::UNIX_EPOCH.checked_add(node.modified),
        file: Some((1, number)),
        links,
    })
}

impl Store for ShadowDisk {
    fn create_new(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        let mut state = self.lock();
        state.call()?;
        let node = state.link(path, false)?;
        Ok(ShadowFile::boxed(self, &mut state, node))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        let mut state = self.lock();
        state.call()?;
        let node = state.find_file(path)?;
        Ok(ShadowFile::boxed(self, &mut state, node))
    }

    fn open_to_read(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        let mut state = self.lock();
        state.call()?;
        let node = state.find_file(path)?;
        let handle = state.fresh();
        Ok(Box::new(ShadowFile { disk: self.clone(), node, handle, is_read_only: true }))
    }

    fn rename_no_replace(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        let replaces = state.ignored.contains(&Barrier::NoReplace);
        state.rename(from, to, replaces)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        state.rename(from, to, true)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        state.unlink(path)
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        state.link(path, true).map(drop)
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        if !state.ignored.contains(&Barrier::SyncFolder) {
            state.sync_folder(path);
        }
        Ok(())
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        let mut state = self.lock();
        state.call()?;
        let node = state.find(path)?;
        status(&state, node)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut state = self.lock();
        state.call()?;
        let name = |found: &String| found.rsplit('/').next().unwrap_or_default().to_string();
        Ok(state.names.keys().filter(|found| parent(found) == path).map(name).collect())
    }

    fn free_space(&self) -> io::Result<u64> {
        let mut state = self.lock();
        state.call()?;
        Ok(state.free)
    }

    fn now(&self) -> SystemTime {
        self.lock().time()
    }
}

impl StoreFile for ShadowFile {
    fn write_at(&mut self, offset: u64, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.disk.lock_released();
        state.call()?;
        self.check_writable()?;
        // No more than is written: who writes little at a time offers all the rest each time.
        let bytes = bytes.iter().flat_map(|slice| slice.iter().copied());
        let bytes: Vec<u8> = bytes.take(state.longest_write).collect();
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        state.write(self.node, offset, &bytes);
        Ok(bytes.len())
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.lock();
        state.call()?;
        let node = state.nodes.get(&self.node).ok_or(io::ErrorKind::NotFound)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = node.content.get(offset..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        for (place, byte) in buffer.iter_mut().zip(rest) {
            *place = *byte;
        }
        Ok(read)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.call()?;
        self.check_writable()?;
        state.set_len(self.node, usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?);
        Ok(())
    }

    fn allocate(&mut self, _offset: u64, _len: u64) -> io::Result<()> {
        self.disk.lock().call()
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.lock_released();
        if let Err(error) = state.call() {
            if !state.is_off() {
                state.lose(self.node);
            }
            return Err(error);
        }
        let name = state.name_of(self.node);
        let is_ignored = |barrier: &Barrier| match barrier {
            Barrier::Sync(end) => name.ends_with(end),
            _ => false,
        };
        if !state.ignored.iter().any(is_ignored) {
            state.sync(self.node);
        }
        Ok(())
    }

    fn try_lock(&mut self) -> io::Result<bool> {
        let mut state = self.disk.lock();
        state.call()?;
        let is_ignored = state.ignored.contains(&Barrier::Lock);
        let Some(node) = state.nodes.get_mut(&self.node) else { return Ok(true) };
        let is_free = node.locked_by.is_none_or(|handle| handle == self.handle) || is_ignored;
        if is_free {
            node.locked_by = Some(self.handle);
        }
        Ok(is_free)
    }

    fn status(&self) -> io::Result<Status> {
        let mut state = self.disk.lock();
        state.call()?;
        status(&state, self.node)
    }
}

impl Drop for ShadowFile {
    fn drop(&mut self) {
        let mut state = self.disk.lock();
        if let Some(node) = state.nodes.get_mut(&self.node) {
            node.locked_by = node.locked_by.filter(|handle| *handle != self.handle);
        }
    }
}
