use core::time::Duration;

use crate::time::Time;
use crate::wire::Limits;

/// Frames without progress that a peer may send before it has earned any more, at least.
const LEAST: u32 = 1000;
/// And for each transfer that the limits of both sides allow: whoever gives all of them up is no
/// flood.
const EACH: u32 = 6;

/// The size of the budget of a conversation: the same for both sides.
pub(super) fn size(ours: &Limits, theirs: &Limits) -> u32 {
    ours.transfers.saturating_add(theirs.transfers).saturating_mul(EACH).max(LEAST)
}

/// What a peer may spend on frames that make no progress.
///
/// Each KiB of its payload, each 16 KiB of DATA that goes to it, and each second give one back, up to
/// the size of the budget. So a flood ends the conversation, while no honest use comes near the limit.
#[derive(Debug)]
pub(super) struct Budget {
    size: u32,
    left: u32,
    /// How many were ever spent.
    spent: u64,
    /// Payload bytes that do not make a KiB yet.
    bytes: usize,
    refilled: Time,
}

impl Budget {
    pub(super) fn new(size: u32, now: Time) -> Self {
        Self { size, left: size, spent: 0, bytes: 0, refilled: now }
    }

    /// Has another size from now on; what was spent is spent.
    pub(super) fn resize(&mut self, size: u32) {
        let gone = self.size.saturating_sub(self.left);
        self.size = size;
        self.left = size.saturating_sub(gone);
    }

    /// Spends one, or says that none is left.
    #[must_use]
    pub(super) fn spend(&mut self, now: Time) -> bool {
        self.refill(now);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                self.spent = self.spent.saturating_add(1);
                true
            }
            None => false,
        }
    }

    /// How many were spent so far.
    pub(super) fn spent(&self) -> u64 {
        self.spent
    }

    /// Whether one could be spent.
    pub(super) fn has_some(&mut self, now: Time) -> bool {
        self.refill(now);
        self.left > 0
    }

    /// Gives back one that was spent on what was not sent after all.
    pub(super) fn refund(&mut self) {
        self.left = self.left.saturating_add(1).min(self.size);
    }

    /// When time gives back the next one.
    pub(super) fn refill_at(&self) -> Time {
        self.refilled.saturating_add(Duration::from_secs(1))
    }

    /// Counts payload that made progress.
    pub(super) fn earn(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= 1024 {
            let whole = u32::try_from(self.bytes / 1024).unwrap_or(u32::MAX);
            self.bytes %= 1024;
            self.left = self.left.saturating_add(whole).min(self.size);
        }
    }

    /// Counts DATA that the spender received: its PAUSE, above all, is earned by that.
    pub(super) fn earn_by_receiving(&mut self, bytes: usize) {
        self.earn(earned_by_receiving(bytes));
    }

    fn refill(&mut self, now: Time) {
        let seconds = now.saturating_duration_since(self.refilled).as_secs();
        if seconds > 0 {
            self.refilled = self.refilled.saturating_add(Duration::from_secs(seconds));
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(seconds).min(self.size);
        }
    }
}

/// What a DATA frame with so many bytes gives whoever receives it.
pub(super) fn earned_by_receiving(bytes: usize) -> usize {
    bytes / 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_earned_back_by_bytes_and_by_time() {
        let mut budget = Budget::new(3, Time::ZERO);
        assert!((0..3).all(|_| budget.spend(Time::ZERO)));
        assert!(!budget.spend(Time::ZERO));
        budget.earn(1023);
        assert!(!budget.spend(Time::ZERO));
        budget.earn(1);
        assert!(budget.spend(Time::ZERO));
        assert!(!budget.spend(Time::from_micros(999_999)));
        assert!(budget.spend(Time::from_micros(1_000_000)));
        assert!(!budget.spend(Time::from_micros(1_999_999)));
    }

    #[test]
    fn bytes_beyond_a_whole_kibibyte_count_with_the_next() {
        let mut budget = Budget::new(2, Time::ZERO);
        assert!((0..2).all(|_| budget.spend(Time::ZERO)));
        budget.earn(1500);
        budget.earn(548);
        assert!((0..2).all(|_| budget.spend(Time::ZERO)));
        assert!(!budget.spend(Time::ZERO));
    }

    #[test]
    fn it_never_holds_more_than_its_size() {
        let mut budget = Budget::new(2, Time::ZERO);
        budget.earn(1 << 30);
        assert!(budget.has_some(Time::MAX));
        assert!(budget.spend(Time::MAX) && budget.spend(Time::MAX) && !budget.spend(Time::MAX));
    }
}
