use core::time::Duration;

use crate::time::Time;

/// An ACK waits at most this long for something to travel with.
pub(super) const DELAY: Duration = Duration::from_millis(25);
/// Bulk is acknowledged at once, as the peer measures its rate by it, but no more often than this.
const BULK_INTERVAL: Duration = Duration::from_micros(200);

/// When the next ACK of a stream is owed.
#[derive(Debug, Default)]
pub(super) struct Acknowledgement {
    sent_at: Time,
    due: Option<Time>,
    /// It does not wait any longer.
    is_due: bool,
}

impl Acknowledgement {
    /// One is owed, within the usual delay.
    pub(super) fn owe(&mut self, now: Time) {
        self.by(now.saturating_add(DELAY));
    }

    /// Bulk came.
    pub(super) fn owe_for_bulk(&mut self, now: Time) {
        self.by(self.sent_at.saturating_add(BULK_INTERVAL).max(now));
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
