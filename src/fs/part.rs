use std::boxed::Box;
use std::io;
use std::string::String;
use std::sync::Arc;
use std::vec;

use bytes::Bytes;

use super::journal::{self, Record};
use super::options::{Durability, Settings};
use super::part_id::{PartId, journal_name};
use super::store::{StatusKind, Store, StoreFile, read_full_at, write_all_at};
use super::{Action, Error};
use crate::wire::{Digest, TransferCode};

/// Room is reserved on the disk in steps of so many bytes, so that an announced size alone takes no
/// more.
const STEP: u64 = 64 << 20;
/// Bytes that are read at once.
const READ: usize = 1 << 20;
/// Others may create and remove the same name meanwhile; so often it is tried.
const TRIES: usize = 16;

/// A file on its way, under its temporary name.
#[derive(Debug)]
pub(super) struct Part {
    store: Arc<dyn Store>,
    settings: Settings,
    name: String,
    /// What it can be known by, if it is to be found again.
    id: Option<PartId>,
    file: Box<dyn StoreFile>,
    journal: Option<Box<dyn StoreFile>>,
    generation: u64,
    size: Option<u64>,
    position: u64,
    /// The offset that the journal has.
    journaled: u64,
    /// Bytes that survive a loss of power, and will be found.
    durable: u64,
    /// Room was reserved up to here.
    reserved: u64,
    hasher: blake3::Hasher,
    prefix: Option<(u64, Digest)>,
    failed: Option<Error>,
    /// The disk may not hold what it seems to hold.
    is_suspect: bool,
}

impl Part {
    /// Takes up the part of this name, or creates it. Without an id it is never found again.
    pub(super) fn open(
        store: &Arc<dyn Store>,
        settings: &Settings,
        (name, id): (String, Option<PartId>),
        size: Option<u64>,
        may_resume: bool,
    ) -> Result<Self, Error> {
        let (file, is_new) = open_locked(&**store, &name)?;
        let mut part = Self {
            store: Arc::clone(store),
            settings: settings.clone(),
            name,
            id,
            file,
            journal: None,
            generation: 0,
            size,
            position: 0,
            journaled: 0,
            durable: 0,
            reserved: 0,
            hasher: blake3::Hasher::new(),
            prefix: None,
            failed: None,
            is_suspect: false,
        };
        // While it is only looked at, what was kept before is kept in any case.
        let is_resumed = !is_new && may_resume;
        let found = if is_resumed { part.verified()? } else { None };
        if let Err(error) = part.begin(is_new, found) {
            part.suspend();
            return Err(error);
        }
        Ok(part)
    }

    fn begin(&mut self, is_new: bool, found: Option<(u64, blake3::Hasher)>) -> Result<(), Error> {
        match found {
            Some((aligned, hasher)) => {
                // The bytes behind the offset are cut off only after the journal has it.
                (self.position, self.journaled) = (aligned, aligned);
                self.hasher = hasher;
                self.prefix = Some((aligned, Digest::Blake3(*self.hasher.finalize().as_bytes())));
                self.record()?;
                self.file.set_len(aligned).map_err(self.failing(Action::Write))?;
            }
            None => self.clear(is_new)?,
        }
        let left = self.size.unwrap_or(0).saturating_sub(self.position);
        self.check_free(left)?;
        self.reserve(self.position.saturating_add(left.min(1)))
    }

    /// What a journal claims to be there, if it is: hashed up to the last offset to go on from.
    fn verified(&mut self) -> Result<Option<(u64, blake3::Hasher)>, Error> {
        let Some(id) = self.id else { return Ok(None) };
        let name = journal_name(&self.name);
        let mut journal = match self.store.open(&name) {
            Ok(journal) => journal,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // It may be but that too many files are open. What is no journal goes away.
            Err(error) => match self.store.status(&name) {
                Ok(status) if status.kind != StatusKind::File => return Ok(None),
                _ => return Err(Error::storage(Action::Create)(error)),
            },
        };
        let is_checked = self.settings.layers.journal_check;
        let read = |buffer: &mut [u8]| read_full_at(&mut *journal, 0, buffer);
        let Some(record) = journal::newest(&id, is_checked, read).unwrap_or(None) else {
            return Ok(None);
        };
        let remainder = record.offset.checked_rem(self.settings.alignment).unwrap_or(0);
        let aligned = record.offset.saturating_sub(remainder);
        let len = self.file.status().map_err(Error::storage(Action::Inspect))?.len;
        if aligned == 0 || record.offset > len || self.size.is_some_and(|s| record.offset > s) {
            return Ok(None);
        }
        let mut hasher = blake3::Hasher::new();
        // What cannot be read is as good as wrong.
        if self.hash(&mut hasher, 0, aligned).is_err() {
            return Ok(None);
        }
        let mut whole = hasher.clone();
        let is_read = self.hash(&mut whole, aligned, record.offset).is_ok();
        let is_right = *whole.finalize().as_bytes() == record.digest;
        if !is_read || (self.settings.layers.prefix_check && !is_right) {
            return Ok(None);
        }
        self.generation = record.generation;
        self.journal = Some(journal);
        Ok(Some((aligned, hasher)))
    }

    fn hash(&mut self, hasher: &mut blake3::Hasher, from: u64, to: u64) -> io::Result<()> {
        let mut buffer = vec![0; READ];
        let mut at = from;
        while at < to {
            let wanted = usize::try_from(to.saturating_sub(at)).unwrap_or(READ).min(READ);
            let room = buffer.get_mut(..wanted).unwrap_or_default();
            let filled = read_full_at(&mut *self.file, at, room)?;
            if filled == 0 {
                break; // it is shorter than it was: the digest will differ
            }
            hasher.update(room.get(..filled).unwrap_or_default());
            at = at.saturating_add(filled as u64);
        }
        Ok(())
    }

    /// Forgets all that is there.
    fn clear(&mut self, is_new: bool) -> Result<(), Error> {
        self.journal = None;
        if self.id.is_some() {
            // It would be found out: this only saves the work.
            let _ = self.store.remove(&journal_name(&self.name));
        }
        if !is_new {
            self.file.set_len(0).map_err(self.failing(Action::Write))?;
        }
        (self.position, self.journaled, self.durable, self.reserved) = (0, 0, 0, 0);
        self.hasher = blake3::Hasher::new();
        self.prefix = None;
        Ok(())
    }

    /// The sender begins at 0: what is there is void.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        self.check_alive()?;
        let cleared = self.clear(false);
        self.remember(cleared)
    }

    pub(super) fn write(&mut self, chunks: &[Bytes]) -> Result<(), Error> {
        self.check_alive()?;
        let written = self.try_write(chunks);
        self.remember(written)
    }

    fn try_write(&mut self, chunks: &[Bytes]) -> Result<(), Error> {
        let more = chunks.iter().fold(0, |sum: u64, chunk| sum.saturating_add(chunk.len() as u64));
        let end = self.position.saturating_add(more);
        let max = self.settings.max_file_size.min(self.size.unwrap_or(u64::MAX));
        if end > max {
            return Err(Error::TooLarge { max });
        }
        if end > self.reserved {
            self.check_free(0)?;
            self.reserve(end)?;
        }
        let written = write_all_at(&mut *self.file, self.position, chunks);
        written.map_err(self.failing(Action::Write))?;
        for chunk in chunks {
            self.hasher.update(chunk);
        }
        self.position = end;
        if self.position.saturating_sub(self.journaled) >= self.settings.sync_every {
            self.record()?;
        }
        Ok(())
    }

    /// Makes what has come survive, and be found again.
    pub(super) fn checkpoint(&mut self) -> Result<(), Error> {
        self.check_alive()?;
        if self.position == self.journaled {
            return Ok(());
        }
        let recorded = self.record();
        self.remember(recorded)
    }

    /// It cannot go on, for a reason of its receiver's.
    pub(super) fn give_up(&mut self, error: Error) -> Result<(), Error> {
        self.check_alive()?;
        self.remember(Err(error))
    }

    /// The data first, then the claim about it, then the name of what holds the claim; each must be
    /// on the disk before the next begins to be.
    fn record(&mut self) -> Result<(), Error> {
        let Some(id) = self.id else { return Ok(()) };
        let is_synced = self.settings.durability != Durability::NoSync;
        if is_synced {
            self.file.sync().map_err(self.failing(Action::Sync))?;
        }
        let digest = *self.hasher.finalize().as_bytes();
        let generation = self.generation.saturating_add(1);
        let record = Record { generation, offset: self.position, digest };
        let encoded = Bytes::from(record.encode(&id));
        let (mut journal, is_new) = match self.journal.take() {
            Some(journal) => (journal, false),
            None => (self.create_journal()?, true),
        };
        write_all_at(&mut *journal, record.place(), &[encoded])
            .map_err(Error::storage(Action::Write))?;
        if is_synced {
            journal.sync().map_err(self.failing(Action::Sync))?;
        }
        if is_new && self.settings.durability == Durability::Full {
            self.store.sync_folder("").map_err(self.failing(Action::SyncFolder))?;
        }
        self.journal = Some(journal);
        self.generation = generation;
        self.journaled = self.position;
        if is_synced {
            self.durable = self.position;
        }
        Ok(())
    }

    fn create_journal(&self) -> Result<Box<dyn StoreFile>, Error> {
        let name = journal_name(&self.name);
        let created = self.store.create_new(&name).or_else(|error| {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            self.store.remove(&name)?;
            self.store.create_new(&name)
        });
        created.map_err(Error::storage(Action::Create))
    }

    /// Checks that the file is whole, and synchronises it: it may have its name then.
    pub(super) fn seal(
        &mut self,
        total: u64,
        offered: Option<Digest>,
        digest: Option<Digest>,
    ) -> Result<(), Error> {
        self.check_alive()?;
        let sealed = self.try_seal(total, offered, digest);
        self.remember(sealed)
    }

    fn try_seal(
        &mut self,
        total: u64,
        offered: Option<Digest>,
        digest: Option<Digest>,
    ) -> Result<(), Error> {
        let expected = self.size.unwrap_or(total);
        for (expected, received) in [(expected, total), (total, self.position)] {
            if expected != received {
                return Err(Error::SizeDiffers { expected, received });
            }
        }
        if self.settings.layers.digest_check {
            self.check_digest(offered, digest)?;
        }
        let len = self.file.status().map_err(Error::storage(Action::Inspect))?.len;
        if len > total {
            self.file.set_len(total).map_err(self.failing(Action::Write))?;
        } else if len < total {
            let error = Error::storage(Action::Write)(io::ErrorKind::WriteZero.into());
            self.is_suspect = true;
            return Err(error);
        }
        if self.settings.durability != Durability::NoSync && self.settings.layers.final_sync {
            self.file.sync().map_err(self.failing(Action::Sync))?;
        }
        Ok(())
    }

    fn check_digest(&self, offered: Option<Digest>, said: Option<Digest>) -> Result<(), Error> {
        if offered.is_none() && said.is_none() && self.settings.requires_digest {
            return Err(Error::DigestMissing);
        }
        let actual = Digest::Blake3(*self.hasher.finalize().as_bytes());
        for digest in [offered, said].into_iter().flatten() {
            if digest.algorithm() != actual.algorithm() {
                return Err(Error::DigestUnsupported);
            }
            if digest != actual {
                return Err(Error::DigestDiffers);
            }
        }
        Ok(())
    }

    /// Closes it, and keeps it if it may be found again and is worth it: says how many bytes are
    /// kept.
    pub(super) fn suspend(mut self) -> u64 {
        if self.position >= self.settings.alignment && self.failed.is_none() {
            // What was journaled before is kept in any case.
            let _ = self.checkpoint();
        }
        let is_hopeless = self
            .failed
            .as_ref()
            .is_some_and(|error| !error.can_retry() && error.code() != TransferCode::NO_SPACE);
        if is_hopeless || self.is_suspect || self.journaled < self.settings.alignment {
            self.discard();
            return 0;
        }
        // Gives back what was reserved beyond it.
        let _ = self.file.set_len(self.position);
        self.journaled
    }

    /// Removes it.
    pub(super) fn discard(self) {
        // What cannot be removed is left for the janitor.
        if self.id.is_some() {
            let _ = self.store.remove(&journal_name(&self.name));
        }
        let _ = self.store.remove(&self.name);
    }

    fn check_free(&self, needed: u64) -> Result<(), Error> {
        let free = self.store.free_space().map_err(Error::storage(Action::Inspect))?;
        let wanted = needed.saturating_add(self.settings.keep_free);
        if free < wanted { Err(Error::Reserve) } else { Ok(()) }
    }

    /// Reserves room for what comes up to `end`, and a step more.
    fn reserve(&mut self, end: u64) -> Result<(), Error> {
        let next = end.saturating_add(STEP);
        let Some(size) = self.size else {
            self.reserved = next;
            return Ok(());
        };
        let (from, to) = (self.reserved.max(self.position), next.min(size));
        // It is not worth a call for a short file: the first writes will tell.
        if to > from && size >= self.settings.alignment {
            let len = to.saturating_sub(from);
            self.file.allocate(from, len).map_err(Error::storage(Action::Write))?;
        }
        self.reserved = next;
        Ok(())
    }

    fn check_alive(&self) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn remember(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        result.inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// A disk that could not write, but for lack of room, may have lost what it took before.
    fn failing(&mut self, action: Action) -> impl FnOnce(io::Error) -> Error + use<'_> {
        let is_suspect = &mut self.is_suspect;
        move |error| {
            let is_full =
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            *is_suspect = *is_suspect || action != Action::Write || !is_full;
            Error::storage(action)(error)
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    pub(super) fn prefix(&self) -> Option<(u64, Digest)> {
        self.prefix
    }

    pub(super) fn has_journal(&self) -> bool {
        self.journal.is_some()
    }
}

/// The open and locked file of this name, and whether it was created.
fn open_locked(store: &dyn Store, name: &str) -> Result<(Box<dyn StoreFile>, bool), Error> {
    for _ in 0..TRIES {
        match store.create_new(name) {
            Ok(mut file) => {
                if lock(store, name, &mut *file)? == Lock::Ours {
                    return Ok((file, true));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let Some(mut file) = open_existing(store, name)? else { continue };
                match lock(store, name, &mut *file)? {
                    Lock::Ours => return Ok((file, false)),
                    Lock::Taken => return Err(Error::Busy),
                    Lock::Gone => {}
                }
            }
            Err(error) => return Err(Error::storage(Action::Create)(error)),
        }
    }
    Err(Error::Busy)
}

/// Opens what stands under the name of a part; what is no file of ours alone goes away.
fn open_existing(store: &dyn Store, name: &str) -> Result<Option<Box<dyn StoreFile>>, Error> {
    let status = match store.status(name) {
        Ok(status) => status,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::storage(Action::Inspect)(error)),
    };
    // A second name is the final one, given just before a crash: not to be written to.
    if status.kind != StatusKind::File || status.links > 1 {
        store.remove(name).map_err(Error::storage(Action::Create))?;
        return Ok(None);
    }
    match store.open(name) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::storage(Action::Create)(error)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    Ours,
    Taken,
    /// The name is of another file by now.
    Gone,
}

/// Locks a file, and makes sure that it is still the one of this name.
pub(super) fn lock(store: &dyn Store, name: &str, file: &mut dyn StoreFile) -> Result<Lock, Error> {
    if !file.try_lock().map_err(Error::storage(Action::Create))? {
        return Ok(Lock::Taken);
    }
    let opened = file.status().map_err(Error::storage(Action::Inspect))?;
    match store.status(name) {
        Ok(named) if named.file == opened.file && named.links <= 1 => Ok(Lock::Ours),
        Ok(_) => Ok(Lock::Gone),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lock::Gone),
        Err(error) => Err(Error::storage(Action::Inspect)(error)),
    }
}
