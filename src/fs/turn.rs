//! Which of some offers of one name is the newest that was stored: under [`Replace`] an older one that is
//! still on its way to the disk, given up by its sender perhaps, must not take its place. They are as old as
//! the moment when they were taken, before another thread does what blocks. Of peers without an identity
//! nothing is known, and whoever is whole last has the name.
//!
//! Names that differ in case only stand in one row. Whether they are one name as well is asked of the disk.
//!
//! [`Replace`]: super::Collision::Replace

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::string::{String, ToString};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::options::Collision;
use super::part_id::Scope;
use super::shared::Shared;
use super::{Action, Error, RelativePath};

/// A name, its case aside, and whose offers of it stand in a row: those of different peers are not newer or
/// older.
type Key = (Scope, String);
type Newest = Arc<Mutex<Stored>>;

/// Spellings of a name that are told from each other, of which a disk makes two files where case counts: more
/// than any person makes of one name. Of more, the one that was stored first is forgotten, and whatever is
/// older than that is refused, however it is spelled.
const SPELLINGS: usize = 64;

/// What was stored of a row.
#[derive(Debug, Default)]
struct Stored {
    /// The number of the newest offer, by how its name is spelled.
    spellings: BTreeMap<String, u64>,
    /// That of the newest whose spelling is forgotten.
    forgotten: u64,
}

impl Stored {
    /// Whether anything in it is newer.
    fn is_newer_than(&self, number: u64) -> bool {
        let mut numbers = self.spellings.values().chain([&self.forgotten]);
        numbers.any(|stored| *stored > number)
    }

    fn insert(&mut self, name: String, number: u64) {
        self.spellings.insert(name, number);
        if self.spellings.len() <= SPELLINGS {
            return;
        }
        let first = self.spellings.iter().min_by_key(|(_, number)| **number);
        if let Some((name, number)) = first.map(|(name, number)| (name.clone(), *number)) {
            self.spellings.remove(&name);
            self.forgotten = self.forgotten.max(number);
        }
    }
}

/// The names that somebody receives.
#[derive(Debug, Default)]
pub(super) struct Names {
    rows: HashMap<Key, Newest>,
    /// How many offers there were.
    offers: u64,
    /// The batches of each peer that are being received: their members, still to come, are as old.
    batches: BTreeSet<(Scope, u64)>,
}

/// A batch that is being received, among the offers.
#[derive(Debug)]
pub(super) struct OpenBatch {
    shared: Arc<Shared>,
    scope: Scope,
    number: u64,
}

/// Where an offer stands among those of the same peer for the same name.
#[derive(Debug)]
pub(super) struct Turn {
    shared: Arc<Shared>,
    key: Key,
    /// How the name is spelled.
    name: String,
    number: u64,
    newest: Newest,
}

impl Names {
    fn next(&mut self) -> u64 {
        self.offers = self.offers.saturating_add(1);
        self.offers
    }

    /// Whether anybody may come who is older than what is stored: a member of a batch, whose name is in a
    /// folder. A row is only locked here when nobody stands in it.
    fn is_needed(&self, (scope, name): &Key, newest: &Newest) -> bool {
        let oldest = || self.batches.range((*scope, 0)..=(*scope, u64::MAX)).next();
        let is_older = |oldest: u64| lock(newest).is_newer_than(oldest);
        Arc::strong_count(newest) > 1
            || (name.contains('/') && oldest().is_some_and(|(_, oldest)| is_older(*oldest)))
    }
}

fn lock(newest: &Newest) -> MutexGuard<'_, Stored> {
    newest.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenBatch {
    pub(super) fn new(shared: &Arc<Shared>, scope: Scope) -> Self {
        let mut state = shared.lock();
        let number = state.names.next();
        state.names.batches.insert((scope, number));
        Self { shared: Arc::clone(shared), scope, number }
    }

    /// That of a member, where a file may replace another.
    pub(super) fn turn(&self, target: &RelativePath) -> Option<Turn> {
        Turn::of(&self.shared, self.scope, target, |_| self.number)
    }
}

impl Drop for OpenBatch {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.names.batches.remove(&(self.scope, self.number));
        let mut rows = core::mem::take(&mut state.names.rows);
        rows.retain(|key, newest| state.names.is_needed(key, newest));
        state.names.rows = rows;
    }
}

impl Turn {
    /// That of a file that is taken now, where it may replace another. It does not block.
    pub(super) fn new(shared: &Arc<Shared>, scope: Scope, target: &RelativePath) -> Option<Self> {
        Self::of(shared, scope, target, Names::next)
    }

    fn of(
        shared: &Arc<Shared>,
        scope: Scope,
        target: &RelativePath,
        number: impl FnOnce(&mut Names) -> u64,
    ) -> Option<Self> {
        if shared.settings.collision != Collision::Replace || scope == Scope::default() {
            return None;
        }
        let key = (scope, target.folded());
        let mut state = shared.lock();
        let number = number(&mut state.names);
        let newest = Arc::clone(state.names.rows.entry(key.clone()).or_default());
        Some(Self { shared: Arc::clone(shared), key, name: target.to_string(), number, newest })
    }

    /// Stores the file of the offer, if it does, while no other of the row is stored, and unless a
    /// newer one was.
    pub(super) fn store<T>(
        &self,
        store: impl FnOnce() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let mut newest = lock(&self.newest);
        if newest.forgotten > self.number {
            return Err(Error::Outdated);
        }
        for (name, number) in &newest.spellings {
            if *number > self.number && self.is_also(name)? {
                return Err(Error::Outdated);
            }
        }
        let stored = store()?;
        if stored.is_some() {
            newest.insert(self.name.clone(), self.number);
        }
        Ok(stored)
    }

    /// Whether another spelling of the name stands for the same file here.
    fn is_also(&self, name: &str) -> Result<bool, Error> {
        if name == self.name {
            return Ok(true);
        }
        let status = |name: &str| self.shared.store.status_if_there(name);
        let found = status(name).and_then(|other| Ok((other, status(&self.name)?)));
        let (other, own) = found.map_err(Error::storage(Action::Inspect))?;
        Ok(other.zip(own).is_some_and(|(other, own)| other.seems_same(&own)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // While the names are locked nobody joins the row, or leaves it.
        let mut state = self.shared.lock();
        drop(core::mem::take(&mut self.newest));
        let names = &mut state.names;
        let row = names.rows.get(&self.key);
        if row.is_some_and(|newest| !names.is_needed(&self.key, newest)) {
            names.rows.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_of_the_same_peer_that_may_still_come_keep_a_row() {
        let [one, other] = [&b"one"[..], b"other"].map(|identity| Scope::new(Some(identity)));
        let mut names = Names::default();
        names.batches.insert((one, 3));
        let stored = |number: u64| {
            let spellings = BTreeMap::from([("name".to_string(), number)]);
            Newest::new(Mutex::new(Stored { spellings, forgotten: 0 }))
        };
        let needs = |scope: Scope, name: &str, number: u64| {
            names.is_needed(&(scope, name.to_string()), &stored(number))
        };
        assert!(needs(one, "folder/file", 4));
        assert!(!needs(one, "folder/file", 2), "stored before the batch came");
        assert!(!needs(one, "file", 4), "no member has such a name");
        assert!(!needs(other, "folder/file", 4));
        let row = stored(4);
        let held = Arc::clone(&row);
        assert!(names.is_needed(&(other, "file".to_string()), &row), "somebody stands in it");
        drop(held);
    }
}
