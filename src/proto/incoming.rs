use core::time::Duration;

use super::outgoing::{Fault, Shape, may_finish};
use super::table::Offered;
use crate::time::Time;
use crate::wire::{CloseCode, Credit, Digest, Finish, Offer, TransferId};

/// A transfer that the peer offers: the receiver's end.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) shape: Shape,
    pub(super) is_accepted: bool,
    pub(super) batch: Option<TransferId>,
    pub(super) size: Option<u64>,
    pub(super) digest: Option<Digest>,
    /// The number of our ACCEPT in its lane; none for a member of a batch.
    pub(super) accept_item: Option<u64>,
    /// Where START is expected, and the START of this stream.
    pub(super) expected: u64,
    pub(super) started: Option<u64>,
    pub(super) has_restarted: bool,
    pub(super) received: u64,
    /// Bytes that the application is done with, and those that are safe on disk.
    pub(super) released: u64,
    pub(super) durable: u64,
    /// The content began anew, and the application has not released any of the new: what it says
    /// to be durable may be the old.
    pub(super) is_anew: bool,
    /// What the sender may send up to, as the last CREDIT planned says, or the batch's gift.
    pub(super) sent_credit: Credit,
    /// How far ahead of `released` the sender may be.
    pub(super) window: u64,
    window_released: u64,
    window_since: Time,
    pub(super) is_credit_queued: bool,
    pub(super) is_credit_late: bool,
    pub(super) finish: Option<Finish>,
    /// Members stored, of a batch.
    pub(super) stored: u32,
    pub(super) is_cancel_asked: bool,
    pub(super) is_paused: bool,
    pub(super) is_paused_by_peer: bool,
    pub(super) opened: Time,
    pub(super) progressed: Time,
}

/// What there is to tell a sender of its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum CreditNeed {
    #[default]
    Nothing,
    Soon,
    Now,
}

impl Offered for Incoming {
    fn is_undecided(&self) -> bool {
        !self.is_accepted
    }
}

/// The limit is not raised by less, unless to the end.
const LEAST_RAISE: u64 = 1024;
/// Credit is told again when this much has come since the last.
const REPORT: u64 = 128 * 1024;

impl Incoming {
    pub(super) fn new(shape: Shape, offer: Option<&Offer<'_>>, now: Time) -> Self {
        Self {
            shape,
            is_accepted: false,
            batch: offer.and_then(|offer| offer.batch),
            size: offer.and_then(|offer| offer.size),
            digest: offer.and_then(|offer| offer.digest),
            accept_item: None,
            expected: 0,
            started: None,
            has_restarted: false,
            received: 0,
            released: 0,
            durable: 0,
            is_anew: false,
            sent_credit: Credit { limit: 0, received: 0, durable: 0 },
            window: 0,
            window_released: 0,
            window_since: now,
            is_credit_queued: false,
            is_credit_late: false,
            finish: None,
            stored: 0,
            is_cancel_asked: false,
            is_paused: false,
            is_paused_by_peer: false,
            opened: now,
            progressed: now,
        }
    }

    pub(super) fn is_file(&self) -> bool {
        self.shape == Shape::File
    }

    pub(super) fn is_batch(&self) -> bool {
        matches!(self.shape, Shape::Batch { .. })
    }

    /// Takes part in flow control.
    pub(super) fn is_flowing(&self) -> bool {
        self.is_accepted && self.is_file() && !self.is_cancel_asked
    }

    /// Accepted from `offset` on, with a window.
    pub(super) fn open(&mut self, offset: u64, window: u64, now: Time) {
        self.is_accepted = true;
        self.expected = offset;
        self.received = offset;
        self.released = offset;
        self.window = window;
        self.window_released = offset;
        self.window_since = now;
        self.progressed = now;
        self.sent_credit = Credit { limit: 0, received: 0, durable: 0 };
    }

    /// Bytes that the application was handed and has not released.
    pub(super) fn unreleased(&self) -> u64 {
        self.received.saturating_sub(self.released)
    }

    /// Bytes of memory that the window may cost: what is granted already counts even when the
    /// window has shrunk.
    pub(super) fn charge(&self) -> u64 {
        self.window.max(self.sent_credit.limit.saturating_sub(self.released))
    }

    /// What a CREDIT would say now.
    pub(super) fn credit(&self) -> Credit {
        self.credit_after(0)
    }

    /// The same once so many bytes more are released.
    fn credit_after(&self, len: u64) -> Credit {
        let end = self.finish.map(|finish| finish.total).or(self.size).unwrap_or(u64::MAX);
        let released = self.released.saturating_add(len).min(self.received);
        let mut limit = released.saturating_add(self.window).min(end);
        if limit < self.sent_credit.limit.saturating_add(LEAST_RAISE) && limit < end {
            // It would bring frames of a few bytes.
            limit = self.sent_credit.limit;
        }
        Credit {
            limit: limit
                .max(self.sent_credit.limit)
                .max(self.received)
                .min(crate::wire::MAX_INTEGER),
            received: self.received,
            durable: self.durable,
        }
    }

    /// A CREDIT that says this is planned: from here on its sender is waited for.
    pub(super) fn grant(&mut self, credit: Credit, now: Time) {
        let had_none = self.sent_credit.limit <= self.received;
        if had_none && credit.limit > self.received {
            self.progressed = now;
        }
        self.sent_credit = credit;
    }

    /// Whether the sender should be told now rather than soon.
    pub(super) fn is_credit_urgent(&self) -> bool {
        self.is_credit_urgent_after(0)
    }

    pub(super) fn is_credit_urgent_after(&self, len: u64) -> bool {
        let now = self.credit_after(len);
        let raised = now.limit.saturating_sub(self.sent_credit.limit);
        let left = self.sent_credit.limit.saturating_sub(self.received);
        let arrived = now.received.saturating_sub(self.sent_credit.received);
        (raised > 0 && (raised >= self.window / 4 || left == 0))
            || arrived >= REPORT.min((self.window / 2).max(1))
            || self.durable.saturating_sub(self.sent_credit.durable) >= REPORT
    }

    /// What there is to tell the sender that is not queued already.
    pub(super) fn credit_need(&self) -> CreditNeed {
        if !self.is_flowing() || self.is_credit_queued {
            CreditNeed::Nothing
        } else if self.is_credit_urgent() {
            CreditNeed::Now
        } else if !self.is_credit_late && self.has_credit_news() {
            CreditNeed::Soon
        } else {
            CreditNeed::Nothing
        }
    }

    pub(super) fn has_credit_news(&self) -> bool {
        self.credit() != self.sent_credit
    }

    /// Takes a START; returns how many bytes it makes void that the application still has.
    pub(super) fn on_start(&mut self, offset: u64, now: Time) -> Result<u64, Fault> {
        let wrong = |rule| Err((CloseCode::PROTOCOL, rule));
        if !self.is_accepted {
            return wrong("before our ACCEPT");
        }
        if !self.is_file() {
            return wrong("not a file");
        }
        match self.started {
            None if offset == self.expected || offset == 0 => {}
            None => return wrong("at an offset that was not named"),
            Some(first) if first != 0 && offset == 0 && !self.has_restarted => {
                if self.finish.is_some() {
                    return wrong("at 0 after FINISH");
                }
                self.has_restarted = true;
            }
            Some(_) => return wrong("a second one"),
        }
        let mut void = 0;
        if offset == 0 && (self.expected != 0 || self.started.is_some()) {
            void = self.unreleased();
            self.is_anew = true;
            self.expected = 0;
            self.received = 0;
            self.released = 0;
            self.durable = 0;
            self.window_released = 0;
            self.sent_credit = Credit { limit: 0, received: 0, durable: 0 };
        }
        self.started = Some(offset);
        self.progressed = now;
        Ok(void)
    }

    /// Judges a DATA frame by its header; whether its bytes are wanted.
    pub(super) fn check_data(&self, len: u64) -> Result<bool, Fault> {
        if !self.is_file() {
            return Err((CloseCode::PROTOCOL, "not a file"));
        }
        if !self.is_accepted && !self.is_cancel_asked {
            return Err((CloseCode::PROTOCOL, "before our ACCEPT"));
        }
        if self.started.is_none() && !self.is_cancel_asked {
            return Err((CloseCode::PROTOCOL, "before START"));
        }
        let end = self.received.saturating_add(len);
        if end > self.sent_credit.limit {
            return Err((CloseCode::CREDIT, "beyond the limit"));
        }
        if end > self.finish.map(|finish| finish.total).or(self.size).unwrap_or(u64::MAX) {
            return Err((CloseCode::CREDIT, "beyond the end"));
        }
        Ok(!self.is_cancel_asked)
    }

    /// Bytes that may come before the limit or the end is reached, of frames that are not short.
    pub(super) fn may_come(&self) -> u64 {
        if !self.is_flowing() || self.started.is_none() {
            return 0;
        }
        let end = self.finish.map(|finish| finish.total).or(self.size).unwrap_or(u64::MAX);
        self.sent_credit.limit.min(end).saturating_sub(self.received)
    }

    /// Takes bytes that were checked; returns where they belong.
    pub(super) fn on_data(&mut self, len: usize, now: Time) -> u64 {
        let offset = self.received;
        self.received = offset.saturating_add(len as u64);
        self.progressed = now;
        if self.is_cancel_asked {
            // Nobody will release them.
            self.released = self.received;
        }
        offset
    }

    /// Whether a DATA frame of `len` bytes is shorter than it had to be.
    pub(super) fn is_dribble(&self, len: u64) -> bool {
        let end = self.received.saturating_add(len);
        let is_end = self.finish.is_some_and(|finish| finish.total == end)
            || self.size == Some(end)
            || self.sent_credit.limit == end;
        len < 1024 && !is_end
    }

    pub(super) fn on_finish(&mut self, finish: Finish, now: Time) -> Result<(), Fault> {
        let wrong = |rule| Err((CloseCode::PROTOCOL, rule));
        if !self.is_accepted {
            return wrong("before our ACCEPT");
        }
        if !self.is_file() {
            return wrong("not a file");
        }
        if self.is_cancel_asked {
            return wrong("after CANCEL");
        }
        if self.finish.is_some() {
            return wrong("a second one");
        }
        if self.size.is_some_and(|size| size != finish.total) {
            return wrong("another total than the offered size");
        }
        if !may_finish(self.digest, finish.digest) {
            return wrong("a digest of another algorithm");
        }
        // Until START, what was received of before may be void.
        if finish.total < self.received && self.started.is_some() {
            return wrong("a total below what was received");
        }
        self.finish = Some(finish);
        self.progressed = now;
        Ok(())
    }

    /// All bytes are there.
    pub(super) fn is_complete(&self) -> bool {
        match self.shape {
            Shape::File => self.finish.is_some_and(|finish| finish.total == self.received),
            Shape::Directory => true,
            Shape::Batch { count, offered, open } => open == 0 && offered == count,
        }
    }

    /// The application is done with `len` bytes. Says whether a whole window was consumed within
    /// `quick`: then a larger one would be put to use.
    pub(super) fn release(&mut self, len: u64, now: Time, quick: Duration) -> bool {
        self.released = self.released.saturating_add(len).min(self.received);
        self.is_anew &= self.released == 0;
        if self.released.saturating_sub(self.window_released) < self.window {
            return false;
        }
        let took = now.saturating_duration_since(self.window_since);
        self.window_released = self.released;
        self.window_since = now;
        took <= quick
    }

    /// The sender owes something: credit is there, and nobody pauses.
    pub(super) fn deadline(&self, stall: Duration, whole: Duration) -> Option<Time> {
        let whole = self.opened.saturating_add(whole);
        let may_send = self.sent_credit.limit > self.received
            && self.finish.is_none_or(|finish| finish.total > self.received);
        let waits = self.is_flowing()
            && !self.is_paused
            && !self.is_paused_by_peer
            && (may_send || (self.size == Some(self.received) && self.finish.is_none()));
        Some(if waits { whole.min(self.progressed.saturating_add(stall)) } else { whole })
    }

    /// The stream broke.
    pub(super) fn detach(&mut self) {
        self.started = None;
        self.has_restarted = false;
        self.expected = self.received;
        self.is_credit_queued = false;
        self.is_credit_late = false;
    }
}
