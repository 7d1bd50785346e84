use core::time::Duration;

use super::receive_lane::{Accepts, Taken};
use crate::time::Time;

/// An ACK waits at most this long for something to travel with.
pub(super) const DELAY: Duration = Duration::from_millis(25);
/// Bulk is acknowledged at once, as the peer measures its rate by it, but for this many bytes no more
/// often than that. More bytes wait for no clock: timers are late when a machine is busy.
const BULK_BYTES: usize = 32 * 1024;
const BULK_INTERVAL: Duration = Duration::from_micros(200);
/// A part of a frame waits for its end, but no longer than this: the peer can send nothing for it, as
/// it counts whole frames.
const PART_DELAY: Duration = Duration::from_millis(4);

/// An ACK does not wait when it tells of this part of the items that the peer may send ahead.
const SHARE: usize = 4;

/// When the next ACK of a stream is owed.
#[derive(Debug, Default)]
pub(super) struct Acknowledgement {
    sent_at: Time,
    /// Bytes of bulk, and items taken with their bytes, that the last ACK did not tell of.
    bulk: usize,
    taken: Taken,
    due: Option<Time>,
    /// It does not wait any longer.
    is_due: bool,
}

impl Acknowledgement {
    /// One is owed, within the usual delay.
    pub(super) fn owe(&mut self, now: Time) {
        self.by(now.saturating_add(DELAY));
    }

    /// Items were taken: the peer waits for it once it has sent as many as it may.
    pub(super) fn owe_for_taken(&mut self, now: Time, taken: Taken, accepts: Accepts) {
        self.taken.items = self.taken.items.saturating_add(taken.items);
        self.taken.bytes = self.taken.bytes.saturating_add(taken.bytes);
        let is_much = self.taken.items >= accepts.items.div_ceil(SHARE)
            || self.taken.bytes >= accepts.bytes / SHARE;
        self.by(if is_much { now } else { now.saturating_add(DELAY) });
    }

    /// Bulk came, up to the end of its frame or not.
    pub(super) fn owe_for_bulk(&mut self, now: Time, len: usize, is_end: bool) {
        self.bulk = self.bulk.saturating_add(len);
        let is_much = self.bulk >= BULK_BYTES;
        let earliest = match (is_much, is_end) {
            (true, _) => now,
            (false, true) => self.sent_at.saturating_add(BULK_INTERVAL),
            (false, false) => now.saturating_add(PART_DELAY),
        };
        self.by(earliest.max(now));
    }

    fn by(&mut self, due: Time) {
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.is_due = true;
        }
    }

    /// It has to go now, or it is owed and something else goes that it can travel with.
    pub(super) fn may_go(&self, has_company: bool) -> bool {
        self.is_due || (has_company && self.due.is_some())
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.due
    }

    /// An ACK is planned.
    pub(super) fn on_planned(&mut self, now: Time) {
        self.sent_at = now;
        self.bulk = 0;
        self.taken = Taken::default();
        self.due = None;
        self.is_due = false;
    }

    /// If one is owed, it is due now.
    pub(super) fn hurry(&mut self) {
        self.is_due |= self.due.is_some();
    }

    /// The last ACK was taken back: it is owed at once.
    pub(super) fn on_taken_back(&mut self) {
        self.is_due = true;
    }
}
