//! A limit on the rate of file data that this side sends.

use core::task::Waker;
use core::time::Duration;
use std::collections::VecDeque;

use super::shared::{Key, State, WakeList};
use super::waiters::Waiting;
use crate::proto::rare::Nothing;
use crate::time::Time;

/// Allowance that may be saved up: this much time's worth.
const BURST: Duration = Duration::from_millis(50);
/// A transfer whose turn it is, and that does not send for this long, is passed over.
const TURN: Duration = Duration::from_millis(1);

/// A bucket that fills at the limited rate. What is taken may overdraw it, so that a chunk of any
/// size goes as one; the next then waits longer. Transfers that wait get it in turn.
#[derive(Default)]
pub(super) struct RateLimit {
    rate: Option<u64>,
    /// Bytes that may go, or are overdrawn, at `filled`.
    level: i64,
    filled: Time,
    /// Transfers that wait, in the order in which they came.
    waiting: VecDeque<(Key, Waker)>,
    /// When the turn of the first ends.
    turn: Option<Time>,
}

impl Nothing for RateLimit {
    const NOTHING: &'static Self =
        &Self { rate: None, level: 0, filled: Time::ZERO, waiting: VecDeque::new(), turn: None };
}

impl State {
    /// Whether a transfer may send data now. If not, it waits for its turn.
    pub(super) fn may_send(&mut self, key: Key, waiting: &Waiting<'_>) -> bool {
        let Some(limit) = self.rate_limit.made().filter(|limit| limit.rate.is_some()) else {
            return true;
        };
        let is_next = limit.waiting.front().is_none_or(|(first, _)| *first == key);
        if limit.level >= 0 && is_next {
            return true;
        }
        match limit.waiting.iter_mut().find(|(other, _)| *other == key) {
            Some((_, waker)) if waker.will_wake(waiting.waker()) => {}
            Some((_, waker)) => {
                let replaced = core::mem::replace(waker, waiting.waker().clone());
                self.wake.forget(Some(replaced));
            }
            None => {
                limit.waiting.push_back((key, waiting.waker().clone()));
                // Only the driver knows when it is time.
                self.wake_driver();
            }
        }
        false
    }

    /// A transfer that might wait to send does not any more.
    pub(super) fn forget_turn(&mut self, key: Key) {
        let Some(limit) = self.rate_limit.made() else { return };
        if let Some(place) = limit.waiting.iter().position(|(other, _)| *other == key) {
            let forgotten = limit.waiting.remove(place).map(|(_, waker)| waker);
            if place == 0 {
                limit.turn = None;
            }
            self.wake.forget(forgotten);
            self.wake_driver();
        }
    }
}

impl RateLimit {
    pub(super) fn get(&self) -> Option<u64> {
        self.rate
    }

    pub(super) fn set(&mut self, rate: Option<u64>, now: Time, wake: &mut WakeList) {
        // What was overdrawn is gone with the last limit, and stands under another one.
        self.level = if rate.is_some() { self.level.min(0) } else { 0 };
        self.rate = rate.map(|rate| rate.max(1));
        self.filled = now;
        self.turn = None;
        self.waiting.drain(..).for_each(|(_, waker)| wake.push(waker));
    }

    /// A transfer has sent so much.
    pub(super) fn take(&mut self, key: Key, len: usize, wake: &mut WakeList) {
        if self.rate.is_none() {
            return;
        }
        self.level = self.level.saturating_sub(i64::try_from(len).unwrap_or(i64::MAX));
        if self.waiting.front().is_some_and(|(first, _)| *first == key) {
            wake.forget(self.waiting.pop_front().map(|(_, waker)| waker));
            self.turn = None;
            // A driver that cannot write sleeps on.
            if let Some((_, next)) = self.waiting.front().filter(|_| self.level >= 0) {
                wake.push(next.clone());
            }
        }
    }

    /// Time has passed.
    pub(super) fn fill(&mut self, now: Time, wake: &mut WakeList) {
        let Some(rate) = self.rate else { return };
        let passed = now.saturating_duration_since(self.filled);
        let bytes = (u128::from(rate).saturating_mul(passed.as_micros())) / 1_000_000;
        if bytes > 0 {
            let whole_time = bytes.saturating_mul(1_000_000).div_ceil(u128::from(rate));
            let whole_time = Duration::from_micros(u64::try_from(whole_time).unwrap_or(u64::MAX));
            let most = u128::from(rate).saturating_mul(BURST.as_micros()) / 1_000_000;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.level = self.level.saturating_add(bytes).min(most);
            // What is left of the time counts the next time.
            self.filled = self.filled.saturating_add(whole_time);
        }
        if self.level >= 0 {
            self.give_turn(now, wake);
        }
    }

    /// Lets the first of those that wait send, and passes over one that has not.
    fn give_turn(&mut self, now: Time, wake: &mut WakeList) {
        match self.turn {
            Some(end) if end > now => return,
            Some(_) => wake.forget(self.waiting.pop_front().map(|(_, waker)| waker)),
            None => {}
        }
        self.turn = self.waiting.front().map(|(_, waker)| {
            wake.push(waker.clone());
            now.saturating_add(TURN)
        });
    }

    /// When somebody who waits can go on.
    pub(super) fn deadline(&self) -> Option<Time> {
        let rate = self.rate.filter(|_| !self.waiting.is_empty())?;
        if self.level >= 0 {
            return Some(self.turn.unwrap_or(self.filled));
        }
        let missing = u128::from(self.level.unsigned_abs()).saturating_mul(1_000_000);
        let micros = missing.div_ceil(u128::from(rate));
        let wait = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        Some(self.filled.saturating_add(wait))
    }
}
