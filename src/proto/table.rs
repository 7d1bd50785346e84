use alloc::collections::{BTreeMap, btree_map};
use core::ops::Deref;

use super::rare::Nothing;
use crate::wire::TransferId;

/// A transfer that is offered first and decided then.
pub(super) trait Offered {
    fn is_undecided(&self) -> bool;

    /// A batch of ours, for whose members a place is needed. Always the same of one transfer.
    fn needs_members(&self) -> bool {
        false
    }
}

/// The transfers of one side that have not ended, how many of them are not decided, and how many
/// are batches of ours: they are counted as they come, are decided, and go, so that no frame has to
/// look at all of them.
#[derive(Debug)]
pub(super) struct Table<T> {
    transfers: BTreeMap<TransferId, T>,
    undecided: usize,
    batches: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { transfers: BTreeMap::new(), undecided: 0, batches: 0 }
    }
}

impl<T: 'static> Nothing for Table<T> {
    const NOTHING: &'static Self = &Self { transfers: BTreeMap::new(), undecided: 0, batches: 0 };
}

impl<T: Offered> Table<T> {
    /// How many are not decided.
    pub(super) fn undecided(&self) -> usize {
        let count = || self.transfers.values().filter(|t| t.is_undecided()).count();
        debug_assert_eq!(self.undecided, count(), "the count is kept where the state changes");
        self.undecided
    }

    /// How many need a place for members.
    pub(super) fn batches(&self) -> usize {
        self.batches
    }

    pub(super) fn insert(&mut self, transfer: TransferId, t: T) {
        self.batches = self.batches.saturating_add(usize::from(t.needs_members()));
        self.undecided = self.undecided.saturating_add(usize::from(t.is_undecided()));
        self.transfers.insert(transfer, t);
    }

    pub(super) fn remove(&mut self, transfer: &TransferId) -> Option<T> {
        let t = self.transfers.remove(transfer)?;
        self.undecided = self.undecided.saturating_sub(usize::from(t.is_undecided()));
        self.batches = self.batches.saturating_sub(usize::from(t.needs_members()));
        Some(t)
    }

    /// One that was not decided is now.
    pub(super) fn on_decided(&mut self) {
        self.undecided = self.undecided.saturating_sub(1);
    }

    pub(super) fn get_mut(&mut self, transfer: &TransferId) -> Option<&mut T> {
        self.transfers.get_mut(transfer)
    }

    pub(super) fn values_mut(&mut self) -> btree_map::ValuesMut<'_, TransferId, T> {
        self.transfers.values_mut()
    }

    /// An empty tree keeps a node, of the size of eleven transfers.
    pub(super) fn shrink_to_fit(&mut self) {
        if self.transfers.is_empty() {
            self.transfers = BTreeMap::new();
        }
    }

    pub(super) fn into_keys(self) -> btree_map::IntoKeys<TransferId, T> {
        self.transfers.into_keys()
    }
}

impl<T> Deref for Table<T> {
    type Target = BTreeMap<TransferId, T>;

    fn deref(&self) -> &Self::Target {
        &self.transfers
    }
}

impl<'a, T> IntoIterator for &'a Table<T> {
    type Item = (&'a TransferId, &'a T);
    type IntoIter = btree_map::Iter<'a, TransferId, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.transfers.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Table<T> {
    type Item = (&'a TransferId, &'a mut T);
    type IntoIter = btree_map::IterMut<'a, TransferId, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.transfers.iter_mut()
    }
}
