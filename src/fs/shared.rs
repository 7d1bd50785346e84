use std::collections::{BTreeMap, HashMap, HashSet};
use std::string::{String, ToString};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use super::ledger::Ledger;
use super::options::{Collision, Durability, Settings};
use super::part_id::{Scope, is_part};
use super::receiver::{Published, Slot};
use super::running_digest::{Differs, RunningDigest};
use super::store::{Status, StatusKind, Store, StoreFile, if_readable};
use super::turn::Names;
use super::{Action, Error};
use crate::wire::Digest;

/// Folders that are remembered until they are synchronised.
const UNSYNCED: usize = 1024;
/// Files that are remembered as not to be trusted; of more, none is.
const SUSPECTS: usize = 1024;

/// Bytes of a stored file that are read between two looks at whether anybody still waits: a disk of 100 MB/s
/// reads them in 40 ms, and next to that a look costs nothing.
const STEP: u64 = 4 << 20;

/// What an inbox and its receivers have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) settings: Settings,
    /// Locked from where a folder is looked for until it is noted, so that it is made once.
    folders: Mutex<()>,
    /// Whether the name of the table of what was stored is on the disk for certain. Locked while it is made,
    /// and while that comes about.
    is_table_named: Mutex<bool>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The parts that somebody receives.
    pub(super) slots: HashMap<String, Arc<Slot>>,
    pub(super) ledger: Ledger,
    /// Folders in which another one was created that may lose its name with the power.
    unsynced: HashMap<String, u64>,
    /// How many folders were created.
    created: u64,
    pub(super) names: Names,
    /// Files that could not be synchronised: the disk may hold something else than what is read.
    suspects: HashSet<String>,
}

impl Shared {
    pub(super) fn new(store: Arc<dyn Store>, settings: Settings) -> Result<Self, Error> {
        let mut state = State::default();
        for name in store.list("").map_err(Error::storage(Action::OpenFolder))? {
            if is_part(&name) {
                let len = store.status(&name).map_or(0, |status| status.len);
                state.ledger.found(&name, Scope::of_name(&name), len);
            }
        }
        Ok(Self {
            store,
            settings,
            folders: Mutex::default(),
            is_table_named: Mutex::default(),
            state: Mutex::new(state),
        })
    }

    /// Only locked for a moment: no call of the store is made meanwhile.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_folders(&self) -> MutexGuard<'_, ()> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_table(&self) -> MutexGuard<'_, bool> {
        self.is_table_named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn charge(&self, part: &str, scope: Scope, bytes: u64) -> Result<(), Error> {
        self.lock().ledger.raise(part, scope, bytes, &self.settings)
    }

    /// Whether a target may be created, or replaced. Publishing looks again, atomically.
    pub(super) fn check_target(&self, path: &str) -> Result<(), Error> {
        let may_replace = self.settings.collision == Collision::Replace;
        match self.store.status_if_there(path).map_err(Error::storage(Action::Inspect))? {
            Some(status) if may_replace && status.kind != StatusKind::Folder => Ok(()),
            Some(_) => Err(Error::Exists),
            None => Ok(()),
        }
    }

    /// Whether a file of this size and digest has the name: its content is read, if as many files as
    /// that may be read, and synchronised, as who wrote it may not have done that. What we may not read is
    /// another one. It is read no further once nobody waits for it, which is [`Error::Busy`].
    pub(super) fn holds(
        &self,
        path: &str,
        (size, digest): (u64, &[u8; 32]),
        reads: &mut u32,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<bool, Error> {
        if *reads == 0 || self.is_suspect(path) {
            return Ok(false);
        }
        let inspect = Error::storage(Action::Inspect);
        let is_whole = |status: &Status| status.kind == StatusKind::File && status.len == size;
        let named = self.store.status_if_there(path).map_err(&inspect)?;
        if !named.is_some_and(|named| is_whole(&named)) {
            return Ok(false);
        }
        let opened = if_readable(self.store.open_to_read(path));
        let Some(mut file) = opened.map_err(&inspect)? else { return Ok(false) };
        if !is_whole(&file.status().map_err(&inspect)?) {
            return Ok(false);
        }
        *reads = reads.saturating_sub(1);
        let mut found = RunningDigest::claimed(1 << 20, (size, *digest));
        while !found.is_at(size) {
            if is_given_up() {
                return Err(Error::Busy);
            }
            match found.catch_up(&mut *file, size, STEP) {
                Ok(()) => {}
                Err(Differs(None)) => return Ok(false),
                Err(Differs(Some(error))) => return Err(inspect(error)),
            }
        }
        if found.digest() != Digest::Blake3(*digest) {
            return Ok(false);
        }
        self.keep(path, &mut *file).map(|()| true)
    }

    /// Makes what somebody else wrote survive, before it is said to be stored.
    fn keep(&self, path: &str, file: &mut dyn StoreFile) -> Result<(), Error> {
        if self.settings.durability == Durability::NoSync {
            return Ok(());
        }
        file.sync().map_err(|error| {
            self.suspect(path);
            Error::storage(Action::Sync)(error)
        })
    }

    /// It could not be synchronised: what is lost may still be read from the cache, and the disk may say
    /// yes when it is asked again.
    pub(super) fn suspect(&self, path: &str) {
        self.lock().suspects.insert(path.to_string());
    }

    pub(super) fn is_suspect(&self, path: &str) -> bool {
        let state = self.lock();
        state.suspects.len() >= SUSPECTS || state.suspects.contains(path)
    }

    /// The name is of a file that we have written.
    pub(super) fn renamed(&self, path: &str) {
        self.lock().suspects.remove(path);
    }

    /// Makes room for a receiver of this part, and returns who had it while detached.
    pub(super) fn enter(&self, part: &str) -> Result<(Arc<Slot>, Option<Arc<Slot>>), Error> {
        let mut state = self.lock();
        if state.slots.get(part).is_some_and(|slot| !*slot.detached()) {
            return Err(Error::Busy);
        }
        let slot = Arc::new(Slot::default());
        let before = state.slots.insert(part.to_string(), Arc::clone(&slot));
        Ok((slot, before))
    }

    pub(super) fn leave(&self, part: &str, slot: &Arc<Slot>) {
        let mut state = self.lock();
        if state.slots.get(part).is_some_and(|found| Arc::ptr_eq(found, slot)) {
            state.slots.remove(part);
        }
    }

    pub(super) fn reattach(&self, part: &str, slot: &Arc<Slot>) -> Result<(), Error> {
        let state = self.lock();
        if !state.slots.get(part).is_some_and(|found| Arc::ptr_eq(found, slot)) {
            return Err(Error::Superseded);
        }
        *slot.detached() = false;
        Ok(())
    }

    /// A folder was created in this one.
    pub(super) fn created_in(&self, parent: String) -> Result<(), Error> {
        if self.settings.durability != Durability::Full {
            return Ok(());
        }
        let too_many = {
            let mut state = self.lock();
            state.created = state.created.saturating_add(1);
            let created = state.created;
            state.unsynced.insert(parent, created);
            let is_full = state.unsynced.len() >= UNSYNCED;
            if is_full { core::mem::take(&mut state.unsynced) } else { HashMap::new() }
        };
        let sync = |folder: &String| self.store.sync_folder(folder);
        too_many.keys().try_for_each(sync).map_err(Error::storage(Action::SyncFolder))
    }

    /// Synchronises the folders of what was published, each once; then nothing needs the journals.
    pub(super) fn settle(&self, published: &[Published]) -> Result<(), Error> {
        if self.settings.durability == Durability::Full {
            self.sync_folders(published)?;
        }
        let journals: Vec<_> = published.iter().filter_map(|p| p.journal.as_deref()).collect();
        for journal in journals {
            // Without its part it means nothing; the janitor will find it.
            let _ = self.store.remove(journal);
        }
        Ok(())
    }

    fn sync_folders(&self, published: &[Published]) -> Result<(), Error> {
        let mut folders = BTreeMap::new();
        {
            let state = self.lock();
            for published in published {
                let mut folder = published.path.parent();
                folders.insert(folder.to_string(), state.unsynced.get(folder).copied());
                while !folder.is_empty() {
                    folder = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
                    if let Some(created) = state.unsynced.get(folder) {
                        folders.insert(folder.to_string(), Some(*created));
                    }
                }
            }
        }
        for folder in folders.keys() {
            self.store.sync_folder(folder).map_err(Error::storage(Action::SyncFolder))?;
        }
        let mut state = self.lock();
        for (folder, created) in &folders {
            // Unless another folder was created there meanwhile.
            if state.unsynced.get(folder) == created.as_ref() {
                state.unsynced.remove(folder);
            }
        }
        Ok(())
    }
}
