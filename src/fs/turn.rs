//! Which of some offers of one name is the newest that was stored: under [`Replace`] an older one that is
//! still on its way to the disk, given up by its sender perhaps, must not take its place.
//!
//! [`Replace`]: super::Collision::Replace

use std::collections::{BTreeSet, HashMap};
use std::string::{String, ToString};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::options::Collision;
use super::part_id::Scope;
use super::shared::Shared;
use super::{Error, RelativePath};

/// A name, and whose offers of it stand in a row: those of different peers are not newer or older.
type Key = (Scope, String);
/// The number of the newest offer that was stored.
type Newest = Arc<Mutex<u64>>;

/// The names that somebody receives.
#[derive(Debug, Default)]
pub(super) struct Names {
    rows: HashMap<Key, Newest>,
    /// How many offers there were.
    offers: u64,
    /// The batches that are being received: their members, still to come, are as old.
    batches: BTreeSet<u64>,
}

/// A batch that is being received, among the offers.
#[derive(Debug)]
pub(super) struct OpenBatch {
    shared: Arc<Shared>,
    number: u64,
}

/// Where an offer stands among those of the same peer for the same name.
#[derive(Debug)]
pub(super) struct Turn {
    shared: Arc<Shared>,
    key: Key,
    number: u64,
    newest: Newest,
}

impl Names {
    fn next(&mut self) -> u64 {
        self.offers = self.offers.saturating_add(1);
        self.offers
    }

    /// Whether anybody may come who is older than what is stored. A row is only locked here when nobody
    /// stands in it.
    fn is_needed(&self, newest: &Newest) -> bool {
        Arc::strong_count(newest) > 1
            || self.batches.first().is_some_and(|oldest| *oldest < *lock(newest))
    }
}

fn lock(newest: &Newest) -> MutexGuard<'_, u64> {
    newest.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenBatch {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let mut state = shared.lock();
        let number = state.names.next();
        state.names.batches.insert(number);
        Self { shared: Arc::clone(shared), number }
    }

    /// That of a member, where a file may replace another.
    pub(super) fn turn(&self, scope: Scope, target: &RelativePath) -> Option<Turn> {
        Turn::of(&self.shared, scope, target, |_| self.number)
    }
}

impl Drop for OpenBatch {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.names.batches.remove(&self.number);
        let mut rows = core::mem::take(&mut state.names.rows);
        rows.retain(|_, newest| state.names.is_needed(newest));
        state.names.rows = rows;
    }
}

impl Turn {
    /// That of a file that is offered now, where it may replace another.
    pub(super) fn new(shared: &Arc<Shared>, scope: Scope, target: &RelativePath) -> Option<Self> {
        Self::of(shared, scope, target, Names::next)
    }

    fn of(
        shared: &Arc<Shared>,
        scope: Scope,
        target: &RelativePath,
        number: impl FnOnce(&mut Names) -> u64,
    ) -> Option<Self> {
        if shared.settings.collision != Collision::Replace {
            return None;
        }
        let key = (scope, target.to_string());
        let mut state = shared.lock();
        let number = number(&mut state.names);
        let newest = Arc::clone(state.names.rows.entry(key.clone()).or_default());
        Some(Self { shared: Arc::clone(shared), key, number, newest })
    }

    /// Stores the file of the offer, if it does, while no other of the row is stored, and unless a
    /// newer one was.
    pub(super) fn store<T>(
        &self,
        store: impl FnOnce() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let mut newest = lock(&self.newest);
        if *newest > self.number {
            return Err(Error::Superseded);
        }
        let stored = store()?;
        if stored.is_some() {
            *newest = self.number;
        }
        Ok(stored)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // While the names are locked nobody joins the row, or leaves it.
        let mut state = self.shared.lock();
        drop(core::mem::take(&mut self.newest));
        let names = &mut state.names;
        if names.rows.get(&self.key).is_some_and(|newest| !names.is_needed(newest)) {
            names.rows.remove(&self.key);
        }
    }
}
