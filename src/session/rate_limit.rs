//! A limit on the rate of file data that this side sends.

use core::task::{Context, Waker};
use core::time::Duration;
use std::vec::Vec;

use super::shared::{WakeList, wait};
use crate::time::Time;

/// Allowance that may be saved up: this much time's worth.
const BURST: Duration = Duration::from_millis(50);

/// A bucket that fills at the limited rate. What is taken may overdraw it, so that a chunk of any
/// size goes as one; the next then waits longer.
#[derive(Default)]
pub(super) struct RateLimit {
    rate: Option<u64>,
    /// Bytes that may go, or are overdrawn, at `filled`.
    level: i64,
    filled: Time,
    waiters: Vec<Waker>,
}

impl RateLimit {
    pub(super) fn get(&self) -> Option<u64> {
        self.rate
    }

    pub(super) fn set(&mut self, rate: Option<u64>, now: Time, wake: &mut WakeList) {
        self.rate = rate.map(|rate| rate.max(1));
        self.level = self.level.min(0);
        self.filled = now;
        wake.extend(&mut self.waiters);
    }

    /// Whether data may go now; remembers who waits if not.
    pub(super) fn may_send(&mut self, cx: &Context<'_>) -> bool {
        let may_send = self.rate.is_none() || self.level >= 0;
        if !may_send {
            wait(&mut self.waiters, cx);
        }
        may_send
    }

    pub(super) fn take(&mut self, len: usize) {
        if self.rate.is_some() {
            self.level = self.level.saturating_sub(i64::try_from(len).unwrap_or(i64::MAX));
        }
    }

    /// Time has passed.
    pub(super) fn fill(&mut self, now: Time, wake: &mut WakeList) {
        let Some(rate) = self.rate else { return };
        let passed = now.saturating_duration_since(self.filled);
        let bytes = (u128::from(rate).saturating_mul(passed.as_micros())) / 1_000_000;
        if bytes == 0 {
            return;
        }
        let whole_time = bytes.saturating_mul(1_000_000).div_ceil(u128::from(rate));
        let whole_time = Duration::from_micros(u64::try_from(whole_time).unwrap_or(u64::MAX));
        let most = i64::try_from(u128::from(rate).saturating_mul(BURST.as_micros()) / 1_000_000);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(bytes).min(most.unwrap_or(i64::MAX));
        // What is left of the time counts the next time.
        self.filled = self.filled.saturating_add(whole_time);
        if self.level >= 0 {
            wake.extend(&mut self.waiters);
        }
    }

    /// When somebody who waits can go on.
    pub(super) fn deadline(&self) -> Option<Time> {
        let rate = self.rate.filter(|_| !self.waiters.is_empty() && self.level < 0)?;
        let missing = u128::from(self.level.unsigned_abs()).saturating_mul(1_000_000);
        let micros = missing.checked_div(u128::from(rate))?;
        let wait = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        Some(self.filled.saturating_add(wait.saturating_add(Duration::from_micros(1))))
    }
}
