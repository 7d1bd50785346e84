//! Output: which frame goes next, framed as late as can be.

use alloc::collections::VecDeque;

use super::connection::{Connection, usize_from};
use super::event::{Event, Lane, Receipt};
use super::link::Phase;
use super::pacer;
use super::plan::{Slices, Source};
use super::schedule::Schedule;
use super::send_lane::Payload;
use crate::time::Time;
use crate::wire::{Ack, HEADER_LEN, Kind, Ping, Signal, Start, TransferId};

/// Bytes that are next on the stream, as slices for one vectored write.
///
/// Report what the transport took with [`Connection::advance_transmit`], also when it took less.
#[derive(Debug, Clone)]
pub struct Transmit<'a> {
    slices: Slices<'a>,
}

impl<'a> Transmit<'a> {
    /// Whether there is nothing to send now.
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Bytes in all slices together.
    pub fn len(&self) -> usize {
        self.slices.len()
    }

    /// The first of the slices, for a transport that takes one at a time.
    pub fn first(&self) -> Option<&'a [u8]> {
        self.slices.clone().next()
    }

    pub(super) fn new(slices: Slices<'a>) -> Self {
        Self { slices }
    }

    /// Nothing to send.
    #[cfg(feature = "std")]
    pub(crate) fn none() -> Self {
        Self::new(Slices::none())
    }
}

impl<'a> IntoIterator for Transmit<'a> {
    type Item = &'a [u8];
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        Iter { slices: self.slices }
    }
}

/// The slices of a [`Transmit`], none of them empty.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    slices: Slices<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.slices.next()
    }
}

impl Connection {
    /// The bytes to send next, most urgent first; empty when there are none for now.
    ///
    /// What is not reported as sent is offered again, unless something more urgent has come: only
    /// a frame that has begun to leave is sure to be finished. At most 256 KiB and one frame.
    pub fn poll_transmit(&mut self, now: Time) -> Transmit<'_> {
        let now = self.advance(now);
        self.plan(now);
        Transmit::new(self.link.as_ref().map_or_else(Slices::none, |link| link.plan.slices()))
    }

    /// Whether frames are planned that have not left, or something waits to be planned.
    #[cfg(feature = "std")]
    pub(crate) fn has_anything_to_send(&self) -> bool {
        self.has_planned() || self.has_anything_to_plan()
    }

    /// Whether frames are planned that have not left.
    #[cfg(feature = "std")]
    pub(crate) fn has_planned(&self) -> bool {
        self.link.as_ref().is_some_and(|link| !link.plan.is_empty())
    }

    /// What the last [`poll_transmit`](Self::poll_transmit) gave and has not left, without planning
    /// anew.
    #[cfg(feature = "std")]
    pub(crate) fn planned(&self) -> Transmit<'_> {
        Transmit::new(self.link.as_ref().map_or_else(Slices::none, |link| link.plan.slices()))
    }

    /// The transport took `len` of the bytes of the last [`poll_transmit`](Self::poll_transmit).
    ///
    /// More than there were counts as all of them. After a write that failed report all that was offered,
    /// unless none of it can have left: what the peer may have is not to be told as not sent.
    pub fn advance_transmit(&mut self, len: usize) {
        let mut left = len;
        while left > 0 {
            let bulk = self.advance_bulk(left);
            if bulk > 0 {
                left = left.saturating_sub(bulk);
                continue;
            }
            let Some(link) = &mut self.link else { return };
            let (taken, begun) = link.plan.leave(left);
            if taken == 0 {
                return;
            }
            let start = link.sent;
            link.sent = start.saturating_add(taken as u64);
            left = left.saturating_sub(taken);
            if let Some((source, frame)) = begun {
                let end = start.saturating_add(frame as u64);
                if source.is_counted() {
                    link.pacer.on_sent(self.now, end, frame as u64);
                }
                self.on_begun(source, frame, end);
            }
            self.commit_chats();
        }
    }

    /// Counts the lines of chat that have begun to leave, of those that go together.
    #[inline]
    fn commit_chats(&mut self) {
        let Some(link) = &mut self.link else { return };
        let Some((numbers, start)) = &mut link.leaving_chats else { return };
        let left = self.send.chat.commit_run(numbers.clone(), *start, link.sent);
        numbers.start = numbers.start.saturating_add(left.frames);
        *start = start.saturating_add(left.bytes);
        if numbers.is_empty() {
            link.leaving_chats = None;
        }
        let headers = left.frames.saturating_mul(HEADER_LEN as u64);
        let payload = usize::try_from(left.bytes.saturating_sub(headers)).unwrap_or(usize::MAX);
        self.own_budget.earn(payload);
        self.statistics.sent.chat.add_frames(left.frames, left.bytes);
        let again = &mut self.statistics.retransmitted_bytes;
        *again = again.saturating_add(left.again);
    }

    /// The first byte of a frame leaves, which is up to `end` of the stream: it cannot be taken
    /// back any more.
    fn on_begun(&mut self, source: Source, len: usize, end: u64) {
        if let Source::Item { lane: Lane::Control, number, .. } = source {
            self.begin_to_wait(number);
        }
        let sent = &mut self.statistics.sent;
        if let (true, Some(link)) = (source.is_chat(), &mut self.link) {
            link.pacer.on_chat(self.now);
        }
        match source {
            Source::Item { lane, number, ends, payload, is_costly } => {
                if !is_costly {
                    self.own_budget.earn(payload);
                }
                let count = if lane == Lane::Chat { &mut sent.chat } else { &mut sent.messages };
                count.add(len);
                if self.send.get_mut(lane).commit(number, ends, end) {
                    let bytes = &mut self.statistics.retransmitted_bytes;
                    *bytes = bytes.saturating_add(len as u64);
                }
            }
            Source::Chats { number, count } => {
                if let Some(link) = &mut self.link {
                    let numbers = number..number.saturating_add(count.into());
                    link.leaving_chats = Some((numbers, end.saturating_sub(len as u64)));
                }
            }
            Source::Data { transfer, payload, is_costly } => {
                sent.data.add(len);
                self.budget.earn_by_receiving(payload);
                if !is_costly {
                    self.own_budget.earn(payload);
                }
                let Some(t) = self.outgoing.get_mut(&transfer) else { return };
                t.planned = t.planned.saturating_sub(1);
                t.on_data_sent(payload, self.now);
                self.watch(transfer);
                self.tell_writable(transfer);
            }
            Source::Signal => {
                sent.control.add(len);
                self.signals.pop_front();
                self.planned_signals = self.planned_signals.saturating_sub(1);
            }
            Source::Start { transfer } => {
                sent.control.add(len);
                if let Some(t) = self.outgoing.get_mut(&transfer) {
                    t.planned = t.planned.saturating_sub(1);
                }
            }
            Source::Ping => {
                sent.control.add(len);
                let ping = self.link.as_mut().and_then(|link| link.ping.outstanding.as_mut());
                if let Some((_, began)) = ping {
                    *began = Some(self.now);
                }
            }
            _ => sent.control.add(len),
        }
    }

    /// An item leaves: if its transfer waits for an answer to it, it does so from now on.
    fn begin_to_wait(&mut self, number: u64) {
        let Some((Kind::OFFER | Kind::FINISH | Kind::CANCEL, id)) = self.send.control.item(number)
        else {
            return;
        };
        let Some(transfer) = TransferId::from_wire(id) else { return };
        let Some(t) = self.outgoing.get_mut(&transfer) else { return };
        t.progressed = self.now;
        self.watch(transfer);
    }

    /// Takes back all frames that have not begun, as something has changed what should go first.
    pub(super) fn unplan(&mut self) {
        while let Some((source, len)) = self.link.as_mut().and_then(|link| link.plan.take_back()) {
            self.undo(source, len);
        }
    }

    /// Takes back all items and bulk that have not begun: what control goes before them stays.
    fn unplan_items(&mut self) {
        while let Some(link) = self.link.as_mut().filter(|link| link.plan.has_items_or_bulk()) {
            let Some((source, len)) = link.plan.take_back() else { return };
            self.undo(source, len);
        }
    }

    /// Takes back what is planned of a transfer's data, and what goes after it, if there is any.
    pub(super) fn unplan_data(&mut self, transfer: TransferId) {
        if self.outgoing.get(&transfer).is_some_and(|t| t.planned > 0) {
            self.unplan();
        }
    }

    fn undo(&mut self, source: Source, len: usize) {
        let Some(link) = &mut self.link else { return };
        match source {
            Source::Chats { number, count } => self.send.chat.undo_run(number, count, len),
            Source::Item { lane, number, payload, is_costly, .. } => {
                self.send.get_mut(lane).undo(number, payload);
                if is_costly {
                    self.own_budget.refund();
                }
            }
            Source::Data { transfer, payload, is_costly } => {
                if is_costly {
                    self.own_budget.refund();
                }
                if let Some(t) = self.outgoing.get_mut(&transfer) {
                    t.planned = t.planned.saturating_sub(1);
                    t.buffer.uncut(payload);
                }
                self.requeue_data(transfer);
            }
            Source::Start { transfer } => {
                if let Some(t) = self.outgoing.get_mut(&transfer) {
                    t.planned = t.planned.saturating_sub(1);
                    t.undo_start();
                    if t.wants_restart() {
                        self.restarts.push_back(transfer);
                    }
                }
                self.requeue_data(transfer);
            }
            Source::Acknowledgement => link.acknowledgement.on_taken_back(),
            Source::Credit(transfer) => self.force_credit(transfer),
            Source::Ping => {
                link.ping.outstanding = None;
                link.ping.wanted = true;
                self.own_budget.refund();
            }
            Source::Pong(token) => {
                link.ping.answer.get_or_insert(token);
            }
            Source::Signal => {
                self.planned_signals = self.planned_signals.saturating_sub(1);
                self.own_budget.refund();
            }
            // Decided: not planned again.
            Source::Handshake | Source::Goodbye => {}
        }
    }

    fn plan(&mut self, now: Time) {
        match self.phase() {
            Some(Phase::Open) => {}
            _ => return,
        }
        self.end_closing_if_due(now);
        if let Some(link) = &mut self.link {
            link.acknowledgement.handle_timeout(now);
        }
        // Most calls find nothing: what came, or left, leaves nothing to say.
        if self.has_anything_to_plan() {
            self.plan_frames(now);
        }
        // It is about what leaves.
        if let Some(link) = self.link.as_mut().filter(|link| !link.plan.is_empty()) {
            let may_send = link.pacer.may_send(now, link.plan.counted(), 0);
            link.pacer.set_app_limited(may_send && !link.plan.is_full());
        }
    }

    fn plan_frames(&mut self, now: Time) {
        if self.has_urgent_control() {
            self.unplan_items();
        }
        loop {
            let Some(link) = &self.link else { return };
            let may_go_on = link.phase == Phase::Open && !link.plan.is_full();
            if !may_go_on || !self.has_anything_to_plan() || !self.plan_next(now) {
                break;
            }
        }
        self.watch_pace();
    }

    /// Whether control waits that should not go behind what is planned and has not begun.
    fn has_urgent_control(&mut self) -> bool {
        let Some(link) = self.link.as_ref().filter(|link| link.plan.has_items_or_bulk()) else {
            return false;
        };
        (link.acknowledgement.is_due() && !link.plan.has_acknowledgement())
            || (link.ping.answer.is_some() && !link.plan.has_pong())
            || self.next_credit().is_some()
    }

    /// The transfer whose CREDIT goes next. One whose ACCEPT has not gone is taken from the queue,
    /// as it comes there again when that goes.
    fn next_credit(&mut self) -> Option<TransferId> {
        let framed = self.send.control.framed();
        while let Some(&transfer) = self.credits.front() {
            if let Some(t) = self.incoming.get_mut(&transfer) {
                if t.accept_item.is_none_or(|item| item < framed) {
                    return Some(transfer);
                }
                t.is_credit_queued = false;
            }
            self.credits.pop_front();
        }
        None
    }

    /// Plans the frame that goes next; `false` if there is none for now.
    fn plan_next(&mut self, now: Time) -> bool {
        let may_chat = self.may_plan(Lane::Chat, now);
        let may_message = self.may_plan(Lane::Control, now);
        let item_waits = may_chat || may_message;
        let may_control = |this: &Self| !item_waits || this.schedule().has_room_for_control();
        // An ACK changes nothing for what goes behind it.
        let has_planned = may_control(self) && self.plan_ack(now);
        if has_planned && self.link.as_ref().is_none_or(|link| link.plan.is_full()) {
            return true;
        }
        if (may_control(self) && self.plan_control(now)) || self.plan_restart() {
            return true;
        }
        self.plan_content(now, may_chat, may_message) || has_planned
    }

    /// Plans the frame of an item or of bulk that goes next; `false` if there is none for now.
    fn plan_content(&mut self, now: Time, may_chat: bool, may_message: bool) -> bool {
        let schedule = self.schedule();
        if may_chat && self.send.chat.starts_a_run() {
            return self.plan_item(Lane::Chat, now);
        }
        if schedule.owes_bulk() && self.plan_bulk(now) {
            return true;
        }
        if may_chat && !may_message && self.plan_chats() {
            return true;
        }
        let may_go = |lane| if lane == Lane::Chat { may_chat } else { may_message };
        schedule.turn().into_iter().any(|lane| may_go(lane) && self.plan_item(lane, now))
            || self.plan_bulk(now)
    }

    /// Whether anything waits, whether it may go now or not.
    fn has_anything_to_plan(&self) -> bool {
        let Some(link) = &self.link else { return false };
        let owed = &link.acknowledgement;
        self.send.chat.has_unframed()
            || self.send.control.has_unframed()
            || owed.may_go(!link.plan.is_empty())
            || !self.credits.is_empty()
            || !self.ring.is_empty()
            || link.ping.wanted
            || link.ping.answer.is_some()
            || self.signals.len() > self.planned_signals
            || !self.restarts.is_empty()
    }

    /// Whether a frame of the lane can go now, as far as limits, pace and budget allow.
    fn may_plan(&mut self, lane: Lane, now: Time) -> bool {
        let queue = self.send.get(lane);
        if !queue.is_ready() {
            return false;
        }
        let is_forced = lane == Lane::Chat || self.schedule().forces_control_lane();
        if !is_forced && !self.may_send(queue.next_len(self.fragment_len())) {
            return false;
        }
        if queue.is_costly() && !self.own_budget.has_some(now) {
            self.is_out_of_budget = true;
            return false;
        }
        true
    }

    fn plan_control(&mut self, now: Time) -> bool {
        self.plan_credit() || self.plan_ping(now) || self.plan_signal(now)
    }

    fn plan_ack(&mut self, now: Time) -> bool {
        let next = [self.receive.chat.taken(), self.receive.control.taken()];
        let has_company = self.has_company();
        let Some(link) = &mut self.link else { return false };
        let owed = &mut link.acknowledgement;
        if !owed.may_go(has_company) || link.plan.has_acknowledgement() {
            return false;
        }
        let ack = Ack { next, received: link.received };
        owed.on_planned(now);
        link.plan.stage(Kind::ACK, 0, Source::Acknowledgement, |out| ack.encode(out)).is_ok()
    }

    /// Whether anything else is about to go that an ACK could travel with.
    fn has_company(&self) -> bool {
        let Some(link) = &self.link else { return false };
        !link.plan.is_empty()
            || self.send.chat.is_ready()
            || !self.credits.is_empty()
            || (self.may_send(0) && (self.send.control.is_ready() || !self.ring.is_empty()))
    }

    fn plan_credit(&mut self) -> bool {
        let Some(transfer) = self.next_credit() else { return false };
        self.credits.pop_front();
        let Some(t) = self.incoming.get_mut(&transfer) else { return false };
        t.is_credit_queued = false;
        let credit = t.credit();
        t.grant(credit, self.now);
        self.watch(transfer);
        let Some(link) = &mut self.link else { return false };
        let source = Source::Credit(transfer);
        let id = transfer.to_wire();
        link.plan.stage(Kind::CREDIT, id, source, |out| credit.encode(out)).is_ok()
    }

    fn plan_ping(&mut self, now: Time) -> bool {
        let Some(link) = &mut self.link else { return false };
        if link.plan.has_pong() {
            // The next one goes when this one has begun.
        } else if let Some(token) = link.ping.answer.take() {
            let pong = Ping { token };
            let source = Source::Pong(token);
            return link.plan.stage(Kind::PONG, 0, source, |out| pong.encode(out)).is_ok();
        }
        if !link.ping.wanted || link.ping.outstanding.is_some() {
            return false;
        }
        if !self.own_budget.spend(now) {
            self.is_out_of_budget = true;
            return false;
        }
        link.ping.wanted = false;
        link.ping.count = link.ping.count.wrapping_add(1);
        link.ping.outstanding = Some((link.ping.count, None));
        link.ping.last = Some(now);
        let ping = Ping { token: link.ping.count.to_be_bytes() };
        link.plan.stage(Kind::PING, 0, Source::Ping, |out| ping.encode(out)).is_ok()
    }

    fn plan_signal(&mut self, now: Time) -> bool {
        let Some((signal_type, payload)) = self.signals.get(self.planned_signals) else {
            return false;
        };
        if !self.own_budget.spend(now) {
            self.signals.truncate(self.planned_signals);
            return false;
        }
        let Some(link) = &mut self.link else { return false };
        self.planned_signals = self.planned_signals.saturating_add(1);
        let signal = Signal { signal_type: *signal_type, payload: (&payload[..]).into() };
        link.plan.stage(Kind::SIGNAL, 0, Source::Signal, |out| signal.encode(out)).is_ok()
    }

    /// Plans lines of chat that go together, as large as one frame.
    fn plan_chats(&mut self) -> bool {
        let limit = self.fragment_len().saturating_add(HEADER_LEN);
        let Some(link) = &mut self.link else { return false };
        let Some(run) = self.send.chat.next_run(limit) else { return false };
        let source = Source::Chats { number: run.number, count: run.count };
        link.plan.stage_raw(run.frames, source);
        true
    }

    /// Plans the next frame of a lane that [may go](Self::may_plan).
    fn plan_item(&mut self, lane: Lane, now: Time) -> bool {
        let is_costly = self.send.get(lane).is_costly() && self.own_budget.spend(now);
        let limit = self.fragment_len();
        let Some(link) = &mut self.link else { return false };
        let Some(frame) = self.send.get_mut(lane).next_frame(lane.id(), limit) else {
            return false;
        };
        let header = frame.header;
        let payload = usize_from(header.length);
        let ends = header.kind != Kind::PART;
        let source = Source::Item { lane, number: frame.number, payload, ends, is_costly };
        match frame.payload {
            Payload::Small(payload) => link.plan.stage_copy(header, payload, source),
            Payload::Large(payload) => link.send_payload(header, payload, source),
        }
        // What may not go before it can go now.
        match (header.kind, TransferId::from_wire(header.id)) {
            (Kind::ACCEPT, Some(transfer)) => self.force_credit(transfer),
            (Kind::OFFER | Kind::FINISH, Some(transfer)) => self.queue_data(transfer),
            _ => {}
        }
        true
    }

    /// Plans a START at 0 that takes back what was there: a FINISH must not come before it.
    fn plan_restart(&mut self) -> bool {
        while let Some(transfer) = self.restarts.made().and_then(VecDeque::pop_front) {
            let Some(t) = self.outgoing.get(&transfer) else { continue };
            if t.wants_restart() {
                return self.stage_start(transfer);
            }
        }
        false
    }

    pub(super) fn stage_start(&mut self, transfer: TransferId) -> bool {
        let Some(t) = self.outgoing.get_mut(&transfer) else { return false };
        let Some(link) = &mut self.link else { return false };
        t.planned = t.planned.saturating_add(1);
        let start = Start { offset: t.start() };
        let source = Source::Start { transfer };
        link.plan.stage(Kind::START, transfer.to_wire(), source, |out| start.encode(out)).is_ok()
    }

    /// Plans START or DATA of the transfer whose turn it is.
    /// The last ACK before a goodbye, if one is owed.
    pub(super) fn plan_last_ack(&mut self, now: Time) {
        if let Some(link) = &mut self.link {
            link.acknowledgement.hurry();
        }
        self.plan_ack(now);
    }

    /// What goes last, as far as it is planned.
    pub(super) fn schedule(&self) -> Schedule {
        self.link.as_ref().map(|link| link.plan.schedule()).unwrap_or_default()
    }

    pub(super) fn may_send(&self, len: usize) -> bool {
        let now = self.now;
        self.link.as_ref().is_some_and(|link| link.pacer.may_send(now, link.plan.counted(), len))
    }

    /// Payload of a frame of bulk or items: what the link carries in about 10 ms, and what the
    /// peer takes.
    pub(super) fn fragment_len(&self) -> usize {
        let pace = self.link.as_ref().map_or(pacer::MAX_FRAME, |link| link.pacer.frame_len());
        let peer = self
            .peer
            .as_ref()
            .map_or(1024, |hello| usize_from(hello.limits.fragment.min(hello.limits.frame)));
        pace.min(peer)
    }

    /// The next event that was not caused by input directly, or by more than one thing.
    pub fn poll_event(&mut self) -> Option<Event<'static>> {
        if let Some((lane, numbers)) = self.take_delivered() {
            return Some(Event::Receipts { lane, numbers, receipt: Receipt::Delivered });
        }
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        self.poll_news().or_else(|| self.poll_may_offer())
    }
}
