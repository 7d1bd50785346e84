use alloc::collections::BTreeMap;

use super::rare::Nothing;
use crate::wire::TransferId;

/// What a record counts beside its bytes: more than its slot in the table takes.
const RECORD: u64 = 64;

/// Bytes that the application was handed and has not released, of what is over: of transfers that
/// have ended or were cancelled, and of content that a START at 0 made void.
///
/// They take part in the common window until they are released.
#[derive(Debug, Default)]
pub(super) struct Debts {
    owed: BTreeMap<TransferId, u64>,
    total: u64,
}

impl Nothing for Debts {
    const NOTHING: &'static Self = &Self { owed: BTreeMap::new(), total: 0 };
}

impl Debts {
    /// Adds bytes, of which there are some.
    pub(super) fn add(&mut self, transfer: TransferId, bytes: u64) {
        let owed = self.owed.entry(transfer).or_insert(0);
        let record = if *owed == 0 { RECORD } else { 0 };
        *owed = owed.saturating_add(bytes);
        self.total = self.total.saturating_add(bytes).saturating_add(record);
    }

    /// Pays for what is over of a transfer; returns what of `len` is left for the rest of it.
    pub(super) fn pay(&mut self, transfer: TransferId, len: u64) -> u64 {
        let Some(owed) = self.owed.get_mut(&transfer) else { return len };
        let paid = len.min(*owed);
        *owed = owed.saturating_sub(paid);
        self.total = self.total.saturating_sub(paid);
        if *owed == 0 {
            self.owed.remove(&transfer);
            self.total = self.total.saturating_sub(RECORD);
        }
        len.saturating_sub(paid)
    }

    /// All bytes that are owed, with what the records take.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    pub(super) fn memory_usage(&self) -> usize {
        const SLOT: usize = size_of::<(TransferId, u64)>() * 2;
        self.owed.len().saturating_mul(SLOT)
    }
}
