//! Which of some offers of one name is the newest that was stored: under [`Replace`] an older one that is
//! still on its way to the disk, given up by its sender perhaps, must not take its place.
//!
//! [`Replace`]: super::Collision::Replace

use std::collections::HashMap;
use std::string::{String, ToString};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::part_id::Scope;
use super::shared::Shared;
use super::{Error, RelativePath};

/// A name, and whose offers of it stand in a row: those of different peers are not newer or older.
type Key = (Scope, String);

/// The names that somebody receives, with the newest offer that was stored.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Key, Weak<Mutex<u64>>>);

/// Where an offer stands among those of the same peer for the same name.
#[derive(Debug)]
pub(super) struct Turn {
    shared: Arc<Shared>,
    key: Key,
    number: u64,
    newest: Arc<Mutex<u64>>,
}

impl Turn {
    /// That of an offer with this number: newer ones have larger ones.
    pub(super) fn new(
        shared: &Arc<Shared>,
        scope: Scope,
        target: &RelativePath,
        number: u64,
    ) -> Self {
        let key = (scope, target.to_string());
        let newest = {
            let mut state = shared.lock();
            let Names(names) = &mut state.names;
            let newest = names.get(&key).and_then(Weak::upgrade).unwrap_or_default();
            names.insert(key.clone(), Arc::downgrade(&newest));
            newest
        };
        Self { shared: Arc::clone(shared), key, number, newest }
    }

    /// Stores the file of the offer, if it does, while no other of the row is stored, and unless a
    /// newer one was.
    pub(super) fn store<T>(
        &self,
        store: impl FnOnce() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
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
        let Names(names) = &mut state.names;
        drop(core::mem::take(&mut self.newest));
        if names.get(&self.key).is_some_and(|newest| newest.strong_count() == 0) {
            names.remove(&self.key);
        }
    }
}
