//! How far a transfer is.

use core::time::Duration;

use crate::time::Time;

/// How far a transfer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that the receiver has.
    pub received: u64,
    /// Bytes of these that survive a loss of power there, as far as the receiver says so.
    pub durable: u64,
    /// Bytes in all, if the offer says so or the sender has finished.
    pub total: Option<u64>,
    /// Bytes a second, over about the last two seconds; 0 until it is known.
    pub rate: u64,
}

impl Progress {
    /// How long the rest takes at this rate.
    pub fn remaining(&self) -> Option<Duration> {
        let left = self.total?.saturating_sub(self.received);
        let micros = u128::from(left).saturating_mul(1_000_000).checked_div(self.rate.into())?;
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
    }
}

/// Measures [`Progress`].
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) progress: Progress,
    since: Option<(Time, u64)>,
    rate: Option<u64>,
}

/// A new figure is mixed in this often.
const INTERVAL: Duration = Duration::from_millis(500);

impl Meter {
    pub(super) fn new(total: Option<u64>) -> Self {
        Self { progress: Progress { total, ..Progress::default() }, ..Self::default() }
    }

    /// What came before this offset is not to be counted as speed.
    pub(super) fn begin(&mut self, offset: u64, now: Time) {
        self.progress.received = offset;
        self.since = Some((now, offset));
    }

    pub(super) fn on_received(&mut self, received: u64, now: Time) {
        self.progress.received = received;
        let (since, before) = *self.since.get_or_insert((now, received));
        let passed = now.saturating_duration_since(since);
        if passed < INTERVAL && (self.rate.is_some() || passed.is_zero()) {
            return;
        }
        let bytes = u128::from(received.saturating_sub(before));
        let rate = bytes.saturating_mul(1_000_000).checked_div(passed.as_micros()).unwrap_or(0);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        if passed >= INTERVAL {
            // Each half second counts a quarter.
            let smoothed =
                self.rate.map_or(rate, |old| (old / 4).saturating_mul(3).saturating_add(rate / 4));
            self.rate = Some(smoothed);
            self.since = Some((now, received));
        }
        self.progress.rate = self.rate.unwrap_or(rate);
    }
}
