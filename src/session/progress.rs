//! How far a transfer is.

use core::time::Duration;

use super::shared::State;
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
    /// Bytes a second, over about the last two seconds; 0 until it is known, once nothing has come
    /// for four seconds, and while there is no stream.
    pub rate: u64,
}

impl Progress {
    /// How long the rest takes at this rate; `None` while nothing is known of one of them.
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
    /// Figures in a row that say that nothing came.
    silent: u32,
}

/// A new figure is mixed in this often.
const INTERVAL: Duration = Duration::from_millis(500);
/// After so many of nothing there is no rate.
const SILENT: u32 = 8;

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
        let bytes = received.saturating_sub(before);
        let rate = u128::from(bytes).saturating_mul(1_000_000).checked_div(passed.as_micros());
        let rate = u64::try_from(rate.unwrap_or(0)).unwrap_or(u64::MAX);
        if passed >= INTERVAL {
            self.mix(rate, passed);
            self.since = Some((now, received));
        }
        self.progress.rate = self.rate.unwrap_or(rate);
    }

    /// A figure for this time, of which each half second counts a quarter.
    fn mix(&mut self, rate: u64, passed: Duration) {
        let intervals = passed.as_micros().checked_div(INTERVAL.as_micros()).unwrap_or(1);
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX).min(4 * SILENT);
        self.silent = if rate > 0 { 0 } else { self.silent.saturating_add(intervals) };
        let mixed = (0..intervals).fold(self.rate.unwrap_or(rate), |old, _| {
            (old / 4).saturating_mul(3).saturating_add(rate / 4)
        });
        self.rate = Some(if self.silent >= SILENT { 0 } else { mixed });
    }

    /// Whether its rate falls if nothing comes.
    fn is_moving(&self) -> bool {
        self.progress.rate > 0
    }

    /// There is no stream any more.
    pub(super) fn stop(&mut self) {
        self.since = None;
        self.rate = None;
        self.progress.rate = 0;
    }
}

impl State {
    /// A transfer has a rate, which is looked at again before long.
    pub(super) fn watch_rates(&mut self) {
        if self.rates_due.is_none() {
            self.rates_due = Some(self.now.saturating_add(INTERVAL));
        }
    }

    /// Lets the rates of transfers fall of which nothing has come.
    pub(super) fn let_rates_fall(&mut self, now: Time) {
        if self.rates_due.is_none_or(|due| due > now) {
            return;
        }
        let mut is_any = false;
        let outbound = self.outbound.values_mut().filter(|t| t.end.is_none());
        let inbound = self.inbound.values_mut().filter(|t| t.end.is_none());
        let meters = outbound
            .map(|t| (&mut t.meter, &mut t.waiters))
            .chain(inbound.map(|t| (&mut t.meter, &mut t.waiters)));
        for (meter, waiters) in meters.filter(|(meter, _)| meter.is_moving()) {
            let before = meter.progress.rate;
            meter.on_received(meter.progress.received, now);
            if meter.progress.rate != before {
                self.wake.extend(waiters);
            }
            is_any |= meter.is_moving();
        }
        self.rates_due = is_any.then(|| now.saturating_add(INTERVAL));
    }
}
