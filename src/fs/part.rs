use std::boxed::Box;
use std::io;
use std::string::String;
use std::sync::Arc;

use bytes::Bytes;

use super::journal::{self, Record};
use super::lock::open_locked;
use super::options::{Durability, Settings};
use super::part_id::{PartId, journal_name};
use super::running_digest::{Differs, RunningDigest};
use super::store::{Status, StatusKind, Store, StoreFile, read_full_at, write_all_at};
use super::stored_files::{self, Key, StoredFile};
use super::{Action, Error, RelativePath};
use crate::wire::{Digest, TransferCode};

/// Room is reserved on the disk in steps of so many bytes, so that an announced size alone takes no
/// more.
const STEP: u64 = 64 << 20;
/// Bytes of what was there before that are read, and hashed, beside each write.
const BESIDE: u64 = 4 << 20;

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
    digest: RunningDigest,
    prefix: Option<(u64, Digest)>,
    /// It is no part, but a file that was stored, which is only to be looked at.
    stored: Option<Stored>,
    failed: Option<Error>,
    /// The disk may not hold what it seems to hold.
    is_suspect: bool,
}

/// Where a file is that was stored, and by what that is known.
#[derive(Debug)]
struct Stored {
    path: RelativePath,
    key: Key,
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
        let mut part = Self::new(store, settings, (name, id), size, file);
        // While it is only looked at, what was kept before is kept in any case.
        let found = if !is_new && may_resume { part.claimed()? } else { None };
        if let Err(error) = part.begin(is_new, found) {
            part.suspend();
            return Err(error);
        }
        Ok(part)
    }

    /// A file that was stored as the same offer says: its sender has to show that it means the same
    /// content, and we that it is still there.
    pub(super) fn of_stored(
        store: &Arc<dyn Store>,
        settings: &Settings,
        (name, id): (String, PartId),
        key: Key,
        (file, found): (Box<dyn StoreFile>, StoredFile),
    ) -> Self {
        let size = found.size;
        let mut part = Self::new(store, settings, (name, Some(id)), Some(size), file);
        part.digest = RunningDigest::claimed(settings.alignment, (size, found.digest));
        (part.position, part.journaled) = (size, size);
        part.prefix = (size > 0).then_some((size, Digest::Blake3(found.digest)));
        part.stored = Some(Stored { path: found.path, key });
        part
    }

    fn new(
        store: &Arc<dyn Store>,
        settings: &Settings,
        (name, id): (String, Option<PartId>),
        size: Option<u64>,
        file: Box<dyn StoreFile>,
    ) -> Self {
        Self {
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
            digest: RunningDigest::new(settings.alignment),
            prefix: None,
            stored: None,
            failed: None,
            is_suspect: false,
        }
    }

    fn begin(&mut self, is_new: bool, found: Option<Record>) -> Result<(), Error> {
        match found {
            Some(Record { offset, digest, .. }) => {
                (self.position, self.journaled) = (offset, offset);
                self.digest = RunningDigest::claimed(self.settings.alignment, (offset, digest));
                if !self.settings.layers.prefix_check {
                    self.digest.believe();
                }
                self.prefix = Some((offset, Digest::Blake3(digest)));
                // No record is of the bytes behind it.
                self.file.set_len(offset).map_err(self.failing(Action::Write))?;
            }
            None => self.clear(is_new)?,
        }
        let left = self.size.unwrap_or(0).saturating_sub(self.position);
        self.check_free(left)?;
        self.reserve(self.position.saturating_add(left.min(1)))
    }

    /// What a journal claims to be there. Whether it is, is found out while more comes.
    fn claimed(&mut self) -> Result<Option<Record>, Error> {
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
        let len = self.file.status().map_err(Error::storage(Action::Inspect))?.len;
        let is_aligned = record.offset.checked_rem(self.settings.alignment) == Some(0);
        let is_within = record.offset <= len && self.size.is_none_or(|size| record.offset <= size);
        if record.offset == 0 || !is_aligned || !is_within {
            return Ok(None);
        }
        self.generation = record.generation;
        self.journal = Some(journal);
        Ok(Some(record))
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
        self.digest = RunningDigest::new(self.settings.alignment);
        self.prefix = None;
        Ok(())
    }

    /// The sender begins at 0: what is there is void.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        self.check_alive()?;
        if let Some(stored) = &self.stored {
            // The file stays, under its name: this one is another.
            stored_files::forget(&*self.store, &self.settings, &stored.key);
            let named = (self.name.clone(), self.id);
            let opened = Self::open(&self.store, &self.settings, named, self.size, false);
            let replaced = opened.map(|part| *self = part);
            return self.remember(replaced);
        }
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
            self.digest.update(self.position, chunk);
            self.position = self.position.saturating_add(chunk.len() as u64);
        }
        self.try_catch_up(BESIDE)?;
        let (aligned, _) = self.digest.aligned();
        if aligned.saturating_sub(self.journaled) >= self.settings.sync_every {
            self.record()?;
        }
        Ok(())
    }

    /// Reads and hashes some of what was there before: false if there is more.
    pub(super) fn catch_up(&mut self) -> Result<bool, Error> {
        self.check_alive()?;
        let caught_up = self.try_catch_up(BESIDE);
        self.remember(caught_up)?;
        Ok(self.digest.is_at(self.position))
    }

    fn try_catch_up(&mut self, most: u64) -> Result<(), Error> {
        let was_proved = self.digest.is_proved();
        match self.digest.catch_up(&mut *self.file, self.position, most) {
            Ok(()) if !was_proved && self.digest.is_proved() => self.prove(),
            Ok(()) => Ok(()),
            Err(Differs(unread)) => {
                // A file that could not be read may be the one that was stored all the same.
                if let (Some(stored), None) = (&self.stored, unread) {
                    stored_files::forget(&*self.store, &self.settings, &stored.key);
                }
                self.is_suspect = true;
                Err(Error::PartDiffers)
            }
        }
    }

    /// What was there before is as it should be, and may be called durable once it is.
    fn prove(&mut self) -> Result<(), Error> {
        if self.settings.durability == Durability::NoSync || self.stored.is_some() {
            return Ok(());
        }
        // Who wrote it may not have synchronised.
        self.file.sync().map_err(self.failing(Action::Sync))?;
        if let Some(mut journal) = self.journal.take() {
            journal.sync().map_err(self.failing(Action::Sync))?;
            self.journal = Some(journal);
        }
        if self.settings.durability == Durability::Full {
            self.store.sync_folder("").map_err(self.failing(Action::SyncFolder))?;
        }
        self.durable = self.journaled;
        Ok(())
    }

    /// Makes what has come survive, and be found again.
    pub(super) fn checkpoint(&mut self) -> Result<(), Error> {
        self.check_alive()?;
        let recorded = self.try_catch_up(BESIDE).and_then(|()| self.record());
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
        let (offset, digest) = self.digest.aligned();
        if offset <= self.journaled {
            return Ok(());
        }
        let is_synced = self.settings.durability != Durability::NoSync;
        if is_synced {
            self.file.sync().map_err(self.failing(Action::Sync))?;
        }
        let generation = self.generation.saturating_add(1);
        let record = Record { generation, offset, digest };
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
        self.journaled = offset;
        if is_synced {
            self.durable = offset;
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
        self.try_catch_up(u64::MAX)?;
        if self.settings.layers.digest_check {
            self.check_digest(offered, digest)?;
        }
        if self.stored.is_some() {
            return self.keep_stored();
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

    /// Who wrote it may not have synchronised it.
    fn keep_stored(&mut self) -> Result<(), Error> {
        if self.settings.durability == Durability::NoSync {
            return Ok(());
        }
        let synced = self.file.sync().map_err(Error::storage(Action::Sync));
        if let (Err(_), Some(stored)) = (&synced, &self.stored) {
            // What is lost may still be read: it is not to be known again.
            stored_files::forget(&*self.store, &self.settings, &stored.key);
        }
        synced
    }

    /// What was read of a stored file may have lost its name meanwhile.
    pub(super) fn check_stored(&self, path: &RelativePath) -> Result<(), Error> {
        let opened = self.file.status().map_err(Error::storage(Action::Inspect))?;
        let named = self.store.status(path.as_str());
        let is_same = named.is_ok_and(|named| named.seems_same(&opened));
        let is_whole = Some(opened.len) == self.size;
        if is_same && is_whole { Ok(()) } else { Err(Error::PartDiffers) }
    }

    /// Another file may have been put in the place of the part.
    pub(super) fn check_named(&self) -> Result<(), Error> {
        let opened = self.file.status().map_err(Error::storage(Action::Inspect))?;
        let named = self.store.status_if_there(&self.name);
        let named = named.map_err(Error::storage(Action::Inspect))?;
        // Where that is not known its length has to do: its time may lag while it is open.
        let seems_it = |named: &Status| (named.kind, named.len) == (opened.kind, opened.len);
        let is_it = |named: Status| named.is_same(&opened).unwrap_or_else(|| seems_it(&named));
        let is_same = named.is_some_and(is_it);
        if is_same { Ok(()) } else { Err(Error::PartDiffers) }
    }

    fn check_digest(&self, offered: Option<Digest>, said: Option<Digest>) -> Result<(), Error> {
        if offered.is_none() && said.is_none() && self.settings.requires_digest {
            return Err(Error::DigestMissing);
        }
        let actual = self.digest.digest();
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
        if self.stored.is_some() {
            return 0;
        }
        if self.position >= self.settings.alignment && self.failed.is_none() {
            // What was journaled before is kept in any case.
            let _ = self.record();
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
        if self.stored.is_some() {
            return;
        }
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

    /// Whether a journal may be left of it.
    pub(super) fn has_journal(&self) -> bool {
        self.journal.is_some() || self.stored.is_some()
    }

    /// The digest of all that came, once it is sealed.
    pub(super) fn digest(&self) -> Digest {
        self.digest.digest()
    }

    /// Where it is stored already.
    pub(super) fn stored_path(&self) -> Option<&RelativePath> {
        self.stored.as_ref().map(|stored| &stored.path)
    }

    /// What is to be remembered of it, once it is sealed, under the name that it is about to get.
    pub(super) fn as_stored(&self, path: RelativePath) -> io::Result<StoredFile> {
        let modified = self.file.status()?.modified;
        let Digest::Blake3(digest) = self.digest() else { return Err(io::ErrorKind::Other.into()) };
        Ok(StoredFile { path, size: self.position, modified, digest })
    }
}
