use core::time::Duration;

use bytes::Bytes;

use super::send_buffer::SendBuffer;
use super::table::Offered;
use crate::time::Time;
use crate::wire::{Accept, CloseCode, Credit, Digest, Offer, TransferId};

/// A rule that the peer broke, and the code it breaks it with.
pub(super) type Fault = (CloseCode, &'static str);

/// What a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    File,
    Directory,
    /// How many members it has, and how many of them were offered and have not ended.
    Batch {
        count: u32,
        offered: u32,
        open: u32,
    },
}

/// Where a transfer that we offer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Offered,
    Open,
    /// CANCEL is queued; `was_offered` while ACCEPT or REJECT can still come.
    CancelAsked {
        was_offered: bool,
    },
}

/// A transfer that this side offers: the sender's end.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) shape: Shape,
    pub(super) state: State,
    pub(super) batch: Option<TransferId>,
    pub(super) size: Option<u64>,
    pub(super) is_seekable: bool,
    pub(super) digest: Option<Digest>,
    /// The number of the OFFER in its lane.
    pub(super) item: u64,
    pub(super) buffer: SendBuffer,
    /// The peer's last word on flow control, and whether it had one on this stream.
    pub(super) credit: Credit,
    pub(super) has_credit: bool,
    /// The offset that the peer named last: in RESUME, or else in ACCEPT.
    pub(super) named: u64,
    /// After START at 0: until the peer's CREDIT says so too, nothing may be sent.
    pub(super) awaits_zero: bool,
    /// The START of this stream, and whether it was a second one.
    pub(super) started: Option<u64>,
    pub(super) restarted: bool,
    /// How far it has left, on this stream and at most.
    pub(super) sent: u64,
    highest: u64,
    /// Where the last stream began.
    pub(super) resumed_at: u64,
    /// The application went back to 0, and the peer has not said that it did.
    is_restarting: bool,
    /// Where to begin when ACCEPT comes, as RESUME named it.
    pub(super) resume_at: Option<u64>,
    /// RESUME did not list it: its verdict is on the way.
    pub(super) is_silent: bool,
    /// The peer's digest of the prefix is not confirmed.
    pub(super) is_prefix_open: bool,
    pub(super) total: Option<u64>,
    /// The number of the FINISH in its lane.
    pub(super) finish_item: Option<u64>,
    pub(super) is_paused: bool,
    pub(super) is_paused_by_peer: bool,
    /// The application found no room.
    pub(super) is_blocked: bool,
    pub(super) is_in_ring: bool,
    /// Its next frame waits for the budget of frames without progress.
    pub(super) is_out_of_budget: bool,
    /// Frames of START and DATA that are planned and have not begun.
    pub(super) planned: u32,
    pub(super) news: News,
    pub(super) opened: Time,
    pub(super) progressed: Time,
}

/// Events that wait to be polled.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct News {
    pub(super) is_queued: bool,
    pub(super) rewind: Option<u64>,
    pub(super) writable: bool,
    pub(super) progress: bool,
}

impl Offered for Outgoing {
    /// The peer has neither accepted nor rejected it.
    fn is_undecided(&self) -> bool {
        matches!(self.state, State::Offered | State::CancelAsked { was_offered: true })
    }

    fn needs_members(&self) -> bool {
        self.is_batch()
    }
}

impl Outgoing {
    pub(super) fn new(shape: Shape, offer: Option<&Offer<'_>>, item: u64, now: Time) -> Self {
        Self {
            shape,
            state: State::Offered,
            batch: offer.and_then(|offer| offer.batch),
            size: offer.and_then(|offer| offer.size),
            is_seekable: offer.is_some_and(|offer| offer.is_seekable),
            digest: offer.and_then(|offer| offer.digest),
            item,
            buffer: SendBuffer::default(),
            credit: Credit { limit: 0, received: 0, durable: 0 },
            has_credit: false,
            named: 0,
            awaits_zero: false,
            started: None,
            restarted: false,
            sent: 0,
            highest: 0,
            resumed_at: 0,
            is_restarting: false,
            resume_at: None,
            is_silent: false,
            is_prefix_open: false,
            total: None,
            finish_item: None,
            is_paused: false,
            is_paused_by_peer: false,
            is_blocked: false,
            is_in_ring: false,
            is_out_of_budget: false,
            planned: 0,
            news: News::default(),
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

    /// Not all of its members were offered, without which it does not end.
    #[cfg(feature = "std")]
    pub(super) fn lacks_members(&self) -> bool {
        let is_asked = matches!(self.state, State::CancelAsked { .. });
        matches!(self.shape, Shape::Batch { count, offered, .. } if offered < count)
            && !is_asked
            && !self.is_silent
    }

    /// Accepted, and neither cancelled nor silenced.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open && !self.is_silent
    }

    /// Bytes that the application may queue now.
    pub(super) fn capacity(&self, send_buffer: u64) -> u64 {
        if !self.is_open() || !self.is_file() || self.total.is_some_and(|t| self.buffer.end() >= t)
        {
            return 0;
        }
        let room = send_buffer.saturating_sub(self.buffer.held());
        match self.total.or(self.size) {
            Some(size) => room.min(size.saturating_sub(self.buffer.end())),
            None => room,
        }
    }

    /// Whether DATA could be sent now, the pace apart.
    pub(super) fn is_ready(&self) -> bool {
        // The credit that is there is for what START at 0 makes void.
        let has_credit = self.buffer.next() < self.credit.limit
            || (self.is_restarting && self.started.is_none());
        has_credit
            && self.is_open()
            && !self.is_paused
            && !self.is_paused_by_peer
            && !self.awaits_zero
            && self.buffer.unsent() > 0
    }

    /// Bytes that are there and within the credit.
    pub(super) fn may_cut(&self) -> u64 {
        let credit = self.credit.limit.saturating_sub(self.buffer.next());
        self.buffer.unsent().min(credit)
    }

    /// The length of the next DATA frame; none while a larger one is worth waiting for.
    pub(super) fn frame_len(&self, max: usize, has_budget: bool, framed: u64) -> Option<usize> {
        if !self.is_ready() {
            return None;
        }
        let len = self.may_cut().min(max as u64);
        let len = usize::try_from(len).unwrap_or(max);
        let is_worth_it = !self.is_costly(len, framed) || has_budget;
        is_worth_it.then_some(len)
    }

    /// Whether the peer may count a frame of the next `len` bytes as one without progress. One that
    /// reaches the limit it may not, but it can have raised that meanwhile. One that reaches the total
    /// it does unless it has that: FINISH is below `framed`, and goes before.
    pub(super) fn is_costly(&self, len: usize, framed: u64) -> bool {
        let end = self.buffer.next().saturating_add(len as u64);
        let is_total_told = self.finish_item.is_some_and(|item| item < framed);
        let is_end = self.size == Some(end) || (is_total_told && self.total == Some(end));
        len < super::send_buffer::MIN_FRAME && !is_end
    }

    /// START at 0 has to go, with data to follow or without, and also when a cancel was asked: a
    /// FINISH may be queued before that.
    pub(super) fn wants_restart(&self) -> bool {
        self.is_restarting && self.started.is_none() && !self.is_silent
    }

    /// START has to go before the next DATA.
    pub(super) fn needs_start(&self) -> bool {
        self.started.is_none()
    }

    pub(super) fn cut(&mut self, max: usize) -> Bytes {
        self.buffer.cut(max)
    }

    /// DATA up to `offset` leaves: what need not be kept for a break is dropped.
    pub(super) fn on_data_sent(&mut self, len: usize, now: Time) {
        // Frames leave in the order in which they were cut.
        self.sent = self.sent.saturating_add(len as u64);
        self.progressed = now;
        self.highest = self.highest.max(self.sent);
        if self.is_seekable {
            self.buffer.release(self.sent);
        }
    }

    pub(super) fn on_accept(&mut self, accept: &Accept, now: Time) -> Result<bool, Fault> {
        let was_cancelled = match self.state {
            State::Offered => false,
            State::CancelAsked { was_offered: true } => true,
            _ => return Err((CloseCode::PROTOCOL, "not offered")),
        };
        if accept.offset > self.size.unwrap_or(u64::MAX) {
            return Err((CloseCode::PROTOCOL, "offset beyond the size"));
        }
        if accept.offset > 0 && !self.is_file() {
            return Err((CloseCode::PROTOCOL, "an offset without a file"));
        }
        self.progressed = now;
        let begin = self.resume_at.take().unwrap_or(accept.offset);
        self.named = begin;
        if was_cancelled {
            self.state = State::CancelAsked { was_offered: false };
            return Ok(false);
        }
        self.state = State::Open;
        self.is_prefix_open = accept.offset > 0;
        self.begin_at(begin);
        self.credit = Credit { limit: self.credit.limit, received: begin, durable: 0 };
        Ok(true)
    }

    pub(super) fn begin_at(&mut self, offset: u64) {
        self.buffer = SendBuffer::at(offset);
        self.sent = offset;
    }

    /// Takes a CREDIT; whether it raised anything.
    pub(super) fn on_credit(&mut self, credit: Credit, now: Time) -> Result<bool, Fault> {
        if !self.is_file() {
            return Err((CloseCode::PROTOCOL, "credit without a file"));
        }
        match self.state {
            State::Offered | State::CancelAsked { was_offered: true } => {
                return Err((CloseCode::PROTOCOL, "before its ACCEPT"));
            }
            State::CancelAsked { was_offered: false } => {
                // It was on its way. The peer cannot help that, unless it says nothing new.
                let old = core::mem::replace(&mut self.credit, credit);
                return Ok(credit.limit > old.limit || credit.received > old.received);
            }
            State::Open => {}
        }
        if self.is_restarting || self.awaits_zero {
            // What is told before the START at 0 has arrived concerns what was sent before it.
            if credit.received != 0 || !self.awaits_zero {
                return Ok(false);
            }
            self.on_zero();
        }
        let old = self.credit;
        if credit.limit < old.limit
            || credit.received < old.received
            || credit.durable < old.durable
        {
            return Err((CloseCode::PROTOCOL, "credit went back"));
        }
        // Until START at 0 leaves, the peer speaks of what was sent before.
        let sent = if self.is_restarting { self.highest } else { self.sent };
        if credit.received > sent.max(old.received) {
            return Err((CloseCode::PROTOCOL, "received more than was sent"));
        }
        self.credit = credit;
        let raised = credit != old;
        if raised {
            self.progressed = now;
            if !self.is_seekable {
                self.buffer.release(credit.received);
            }
            let has_moved = credit.received != old.received || credit.durable != old.durable;
            if has_moved && !self.is_restarting {
                self.news.progress = true;
            }
        }
        Ok(raised)
    }

    /// Goes back to the beginning: the digest of the prefix was another one.
    pub(super) fn restart(&mut self) {
        self.is_prefix_open = false;
        self.is_restarting = true;
        if self.started.is_some() {
            self.restarted = true;
        }
        self.started = None;
        self.awaits_zero = false;
        self.total = None;
        self.begin_at(0);
    }

    /// The peer has begun anew.
    fn on_zero(&mut self) {
        self.awaits_zero = false;
        self.is_restarting = false;
        self.credit = Credit { limit: 0, received: 0, durable: 0 };
    }

    /// A START at the next offset is planned; at 0 where another was named the peer has to agree
    /// before data follows.
    pub(super) fn start(&mut self) -> u64 {
        let offset = self.buffer.next();
        self.started = Some(offset);
        self.awaits_zero = offset == 0 && self.named != 0;
        offset
    }

    /// The START was taken back.
    pub(super) fn undo_start(&mut self) {
        self.started = None;
        self.awaits_zero = false;
    }

    /// Whether the peer owes this transfer something.
    pub(super) fn waits_for_peer(&self) -> bool {
        match self.state {
            State::Offered => false,
            State::CancelAsked { .. } => false,
            State::Open if self.is_silent => true,
            State::Open if self.is_paused || self.is_paused_by_peer => false,
            State::Open => match self.shape {
                Shape::Directory => true,
                Shape::Batch { .. } => false,
                Shape::File => {
                    // What is planned and has not left is ours to send.
                    let has_left = self.sent == self.buffer.next();
                    let is_all_sent = self.total == Some(self.sent);
                    has_left && (is_all_sent || (self.buffer.unsent() > 0 && !self.is_ready()))
                }
            },
        }
    }

    /// When it is given up, if nothing happens until then.
    pub(super) fn deadline(&self, stall: Duration, whole: Duration) -> Option<Time> {
        let stalled = self.progressed.saturating_add(stall);
        if matches!(self.state, State::CancelAsked { .. }) {
            return Some(stalled);
        }
        let whole = self.opened.saturating_add(whole);
        Some(if self.waits_for_peer() { whole.min(stalled) } else { whole })
    }

    /// The stream broke: what was in frames may not have arrived.
    pub(super) fn detach(&mut self) {
        self.started = None;
        self.has_credit = false;
        self.restarted = false;
        self.is_in_ring = false;
        self.is_out_of_budget = false;
        self.planned = 0;
    }

    /// Whether the peer can have received just this much.
    pub(super) fn can_resume(&self, received: u64) -> bool {
        if self.is_silent || received > self.most_received() {
            return false;
        }
        if self.is_undecided() {
            return true;
        }
        let least = if self.is_restarting || self.awaits_zero { 0 } else { self.credit.received };
        received >= least
    }

    /// What the peer can have received at most.
    pub(super) fn most_received(&self) -> u64 {
        if self.is_undecided() {
            self.size.unwrap_or(u64::MAX)
        } else {
            self.highest.max(self.named)
        }
    }

    /// Goes on from what the peer has, on a new stream; whether the application has to rewind.
    pub(super) fn resume(&mut self, listed: Option<u64>, control: u64) -> bool {
        if self.is_undecided() {
            self.resume_at = listed;
            return false;
        }
        if self.is_batch() {
            return false;
        }
        let received = match listed {
            Some(received) => received,
            // Its OFFER is sent again.
            None if self.batch.is_some() && self.item >= control => 0,
            None => {
                self.silence();
                return false;
            }
        };
        if self.state != State::Open || !self.is_file() {
            return false;
        }
        if received == 0 && (self.is_restarting || self.awaits_zero) {
            self.on_zero();
        }
        self.named = received;
        self.awaits_zero = false;
        let target = if self.is_restarting { 0 } else { received };
        self.resumed_at = target;
        if self.buffer.holds(target) {
            self.buffer.rewind(target);
            self.sent = target;
            return false;
        }
        self.begin_at(target);
        self.news.rewind = Some(target);
        true
    }

    /// RESUME does not list it: its verdict is on the way, and nothing more of it is sent.
    fn silence(&mut self) {
        self.is_silent = true;
        self.is_restarting = false;
        self.awaits_zero = false;
        self.news = News { is_queued: self.news.is_queued, ..News::default() };
        self.begin_at(self.sent);
    }
}

/// Whether FINISH may carry a digest, by the one in the offer: none, or one of that algorithm.
pub(super) fn may_finish(offered: Option<Digest>, finished: Option<Digest>) -> bool {
    match (offered, finished) {
        (_, None) | (None, Some(Digest::Blake3(_))) => true,
        (Some(offered), Some(finished)) => offered.algorithm() == finished.algorithm(),
        (None, Some(_)) => false,
    }
}
