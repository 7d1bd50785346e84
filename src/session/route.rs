//! From the machine's events to the handles that they are for.

use core::ops::Range;
use std::boxed::Box;
use std::collections::VecDeque;
use std::string::String;
use std::sync::Arc;

use bytes::Bytes;

use super::error::EndedBy;
use super::inbound::{self, Inbound, Member};
use super::outbound;
use super::queue::Told;
use super::shared::{Key, State};
use crate::proto::{ActionError, CloseReason, Conclusion, Event, ItemId, Lane, Opening, Receipt};
use crate::time::Time;
use crate::wire::{Offer, TransferCode, TransferId};

impl State {
    /// Routes all that the machine has to tell; whether that may have given it something to say.
    pub(super) fn route_all(&mut self) -> bool {
        let mut may_speak = false;
        while let Some((lane, numbers)) = self.connection.take_delivered() {
            self.on_receipts(lane, numbers, Receipt::Delivered);
        }
        while let Some(event) = self.connection.poll_event() {
            may_speak |= !is_only_told(&event);
            self.route(event);
        }
        may_speak
    }

    /// Gives the machine the plain lines of chat that the input begins with; returns how many bytes
    /// they were, and whether somebody waited for them.
    pub(super) fn take_chats(&mut self, now: Time, input: &[u8]) -> (usize, bool) {
        let queue = &mut self.queue;
        let used = self.connection.handle_chats_ahead(now, input, |item, text, ahead| {
            queue.push_chat(item.number, text, ahead);
        });
        let mut is_awaited = false;
        if used > 0 {
            if let Some(waker) = self.queue.take_waker() {
                self.wake.push(waker);
                is_awaited = true;
            }
        }
        (used, is_awaited)
    }

    /// Gives an event to whom it is for. Data comes another way, see [`Self::on_data`].
    pub(super) fn route(&mut self, event: Event<'_>) {
        match event {
            Event::PeerHello { .. } if !self.asks_for_peer => {
                // Only a peer that is gone again cannot be accepted.
                let _ = self.connection.accept_peer(self.now);
            }
            Event::Receipts { lane, numbers, receipt } => {
                self.on_receipts(lane, numbers, receipt);
            }
            Event::MayOffer => {
                if let Some(waiters) = self.offer_waiters.made() {
                    waiters.rotate();
                }
                self.wake.extend_rare(&mut self.offer_waiters);
            }
            Event::LaneWritable(lane) => {
                let [chat, control] = &mut self.lane_waiters;
                let waiters = if lane == Lane::Chat { chat } else { control };
                waiters.rotate();
                self.wake.extend(waiters);
            }
            Event::Open(opening) => self.on_open(opening),
            Event::Detached(reason) => {
                // Whoever stores a file makes it ready to be gone on with.
                for t in self.inbound.values_mut() {
                    t.meter.stop();
                    self.wake.extend(&mut t.waiters);
                }
                for t in self.outbound.values_mut() {
                    t.meter.stop();
                    self.wake.extend(&mut t.waiters);
                }
                self.tell(Told::Event(Event::Detached(reason)));
            }
            Event::Closed(reason) => self.on_closed(reason),
            Event::Offered { item, transfer, offer } => self.on_offered(item, transfer, offer),
            Event::BatchOffered { item, transfer, .. } if self.queue.is_abandoned => {
                self.decline(item, transfer);
            }
            Event::Refused { item, offer, .. } => {
                let batch = offer.batch.map(|batch| self.key(batch));
                let batch = batch.and_then(|batch| self.inbound.get_mut(&batch));
                if let Some(batch) = batch {
                    batch.members_left = batch.members_left.saturating_sub(1);
                    self.wake.extend(&mut batch.waiters);
                }
                self.take(item.lane, item.number);
            }
            Event::Data { transfer, offset, data } => {
                self.on_data(transfer, [(offset, Bytes::copy_from_slice(&data))]);
            }
            Event::Accepted { .. }
            | Event::Rejected { .. }
            | Event::Verdict { .. }
            | Event::Writable { .. }
            | Event::Rewind { .. }
            | Event::Progress { .. } => self.route_outbound(event),
            Event::Started { .. } | Event::Finished { .. } | Event::CancelAsked { .. } => {
                self.route_inbound(event);
            }
            Event::Paused { item, transfer, is_paused } => {
                let key = self.key(transfer);
                if let Some(t) = self.outbound.get_mut(&key) {
                    t.is_paused_by_peer = is_paused;
                    self.wake.extend(&mut t.waiters);
                } else if let Some(t) = self.inbound.get_mut(&key) {
                    t.is_paused_by_peer = is_paused;
                    self.wake.extend(&mut t.waiters);
                }
                self.take(item.lane, item.number);
            }
            Event::Expired { transfer } => self.on_lost(transfer, true),
            // With the conversation's end, which comes next, it is known why.
            Event::Abandoned { .. } if self.connection.is_closed() => {}
            Event::Abandoned { transfer } => self.on_lost(transfer, false),
            other => self.tell(Told::Event(other.into_owned())),
        }
    }

    fn on_receipts(&mut self, lane: Lane, numbers: Range<u64>, receipt: Receipt) {
        // Receipts are made under our lock, so without one nobody can ask about these numbers any more.
        if Arc::strong_count(&self.receipts) == 1 {
            return;
        }
        let ready = self.receipts.resolve(lane, numbers, receipt);
        ready.into_iter().for_each(|waker| self.wake.push(waker));
    }

    /// Tells the application.
    pub(super) fn tell(&mut self, told: Told) {
        if let Some(waker) = self.queue.push(told) {
            self.wake.push(waker);
        }
    }

    fn on_open(&mut self, opening: Opening) {
        if opening == Opening::Fresh {
            // The numbers begin anew; every earlier receipt is resolved.
            let ready = self.receipts.end();
            ready.into_iter().for_each(|waker| self.wake.push(waker));
            self.receipts = Arc::default();
            self.queue.restart_numbers();
            self.begin_anew();
        }
        self.wake_senders();
        self.wake.extend_rare(&mut self.open_waiters);
        self.tell(Told::Event(Event::Open(opening)));
    }

    /// Whoever waits to send an item, or to offer, is to try again.
    pub(super) fn wake_senders(&mut self) {
        for waiters in &mut self.lane_waiters {
            self.wake.extend(waiters);
        }
        self.wake.extend_rare(&mut self.offer_waiters);
    }

    fn on_closed(&mut self, reason: CloseReason) {
        self.ended = Some(Box::new(reason));
        let ready = self.receipts.end();
        ready.into_iter().for_each(|waker| self.wake.push(waker));
        for t in self.outbound.values_mut() {
            t.end.get_or_insert(outbound::End::Abandoned(Some(reason)));
            self.wake.extend(&mut t.waiters);
        }
        self.outbound.retain(|_, t| t.has_handle);
        for t in self.inbound.values_mut() {
            t.end.get_or_insert(inbound::End::Abandoned(Some(reason)));
            self.wake.extend(&mut t.waiters);
        }
        self.wake_senders();
        self.wake.extend_rare(&mut self.open_waiters);
        self.wake.extend_rare(&mut self.end_waiters);
        self.tell(Told::Event(Event::Closed(reason)));
    }

    fn on_offered(&mut self, item: ItemId, transfer: TransferId, offer: Offer<'_>) {
        let Some(batch) = offer.batch else {
            if self.queue.is_abandoned {
                self.decline(item, transfer);
            } else {
                let offer = offer.into_owned();
                self.tell(Told::Event(Event::Offered { item, transfer, offer }));
            }
            return;
        };
        // Its data may come at once.
        let (batch, key) = (self.key(batch), self.key(transfer));
        match self.inbound.get_mut(&batch).filter(|batch| batch.end.is_none()) {
            Some(batch) => {
                let size = offer.size;
                let offer = offer.into_owned();
                batch.members.push_back(Member { item: item.number, key, offer });
                batch.members_left = batch.members_left.saturating_sub(1);
                self.wake.extend(&mut batch.waiters);
                self.queue.note(item);
                self.inbound.insert(key, Inbound::new(0, size));
            }
            None => {
                self.conclude_cancelled(transfer);
                self.take(item.lane, item.number);
            }
        }
    }

    /// Rejects what nobody will decide on.
    fn decline(&mut self, item: ItemId, transfer: TransferId) {
        let _ = self.connection.reject(transfer, TransferCode::DECLINED, "");
        self.take(item.lane, item.number);
    }

    /// Nobody will poll the events any more. Returns those that wait: offers among them reject
    /// themselves when they are dropped, outside the lock.
    pub(super) fn abandon_events(&mut self) -> VecDeque<(u32, Told)> {
        let (waker, left) = self.queue.abandon();
        self.wake.forget(waker);
        for (generation, told) in &left {
            if let Told::Event(Event::Offered { item, .. } | Event::BatchOffered { item, .. }) =
                told
            {
                if *generation == self.generation {
                    self.take(item.lane, item.number);
                }
            }
        }
        self.wake_driver();
        left
    }

    /// What belongs to the conversation as it was has ended, and its numbers mean something else.
    fn begin_anew(&mut self) {
        self.generation = self.generation.saturating_add(1);
        self.requests.take = [None, None];
        self.requests.durable.clear();
        self.requests.restart.clear();
        self.abandoned_batches.clear();
        for t in self.outbound.values_mut() {
            t.end.get_or_insert(outbound::End::Abandoned(None));
            self.wake.extend(&mut t.waiters);
        }
        self.outbound.retain(|_, t| t.has_handle);
        for t in self.inbound.values_mut() {
            t.end.get_or_insert(inbound::End::Abandoned(None));
            self.wake.extend(&mut t.waiters);
        }
    }

    fn route_outbound(&mut self, event: Event<'_>) {
        let item = event.item();
        let now = self.now;
        let Some(key) = transfer_of(&event).map(|transfer| self.key(transfer)) else { return };
        match event {
            Event::Accepted { accept, .. } => {
                if let Some(t) = self.outbound.get_mut(&key) {
                    t.accept = Some(accept);
                    t.meter.begin(accept.offset, now);
                    self.wake.extend(&mut t.waiters);
                }
            }
            Event::Rejected { transfer, code, text, .. } => {
                self.end_outbound(transfer, code, 0, text.into_owned(), EndedBy::Rejection);
            }
            Event::Verdict { transfer, code, total, text, .. } => {
                self.end_outbound(transfer, code, total, text.into_owned(), EndedBy::Receiver);
            }
            Event::Writable { .. } => {
                if let Some(t) = self.outbound.get_mut(&key) {
                    self.wake.extend(&mut t.waiters);
                }
            }
            Event::Rewind { offset, .. } => {
                if let Some(t) = self.outbound.get_mut(&key) {
                    t.rewind = Some(offset);
                    self.wake.extend(&mut t.waiters);
                }
            }
            Event::Progress { received, durable, .. } => {
                if let Some(t) = self.outbound.get_mut(&key) {
                    t.meter.on_received(received, now);
                    t.meter.progress.durable = durable;
                    self.wake.extend(&mut t.waiters);
                    self.watch_rates();
                }
            }
            _ => {}
        }
        if let Some(item) = item {
            self.take(item.lane, item.number);
        }
    }

    fn end_outbound(
        &mut self,
        transfer: TransferId,
        code: TransferCode,
        total: u64,
        text: String,
        by: EndedBy,
    ) {
        let key = self.key(transfer);
        if let Some(t) = self.outbound.get_mut(&key) {
            t.end_with(code, total, text, by);
            self.wake.extend(&mut t.waiters);
            if !t.has_handle {
                self.outbound.remove(&key);
            }
        }
    }

    fn route_inbound(&mut self, event: Event<'_>) {
        let item = event.item();
        let Some(key) = transfer_of(&event).map(|transfer| self.key(transfer)) else { return };
        match event {
            Event::Started { offset: 0, .. } => {
                if let Some(t) = self.inbound.get_mut(&key).filter(|t| t.received > 0) {
                    // What was not handed out is void.
                    let void = t.waiting();
                    t.chunks.clear();
                    t.received = 0;
                    t.position = 0;
                    t.meter.begin(0, self.now);
                    self.wake.extend(&mut t.waiters);
                    self.release(key, void);
                }
            }
            Event::Finished { finish, .. } => {
                if let Some(t) = self.inbound.get_mut(&key) {
                    t.finish = Some(finish);
                    t.meter.progress.total = Some(finish.total);
                    self.wake.extend(&mut t.waiters);
                }
            }
            Event::CancelAsked { transfer, code, text, .. } => {
                match self.inbound.get_mut(&key) {
                    Some(t) => {
                        t.cancel = Some((code, text.into_owned()));
                        self.wake.extend(&mut t.waiters);
                    }
                    // An offer that nobody has decided on was taken back.
                    None => self.conclude_cancelled(transfer),
                }
            }
            _ => {}
        }
        if let Some(item) = item {
            self.take(item.lane, item.number);
        }
    }

    /// Bytes of a file came: pieces of it, in order, with their offsets.
    pub(super) fn on_data(
        &mut self,
        transfer: TransferId,
        pieces: impl IntoIterator<Item = (u64, Bytes)>,
    ) {
        let key = self.key(transfer);
        let Some(t) = self.inbound.get_mut(&key) else {
            let lens = pieces.into_iter().map(|(_, data)| data.len());
            let len = lens.fold(0, usize::saturating_add);
            self.release(key, len);
            return;
        };
        for (offset, data) in pieces {
            t.received = offset.saturating_add(data.len() as u64);
            t.chunks.push(offset, data);
        }
        t.meter.on_received(t.received, self.now);
        self.wake.extend(&mut t.waiters);
        self.watch_rates();
    }

    /// A transfer ended without its receiver's verdict.
    fn on_lost(&mut self, transfer: TransferId, is_expired: bool) {
        let key = self.key(transfer);
        if let Some(t) = self.outbound.get_mut(&key) {
            if is_expired {
                // It was cancelled for that: the verdict comes.
                return;
            }
            // Or else the conversation has ended, or began anew.
            let is_unanswered = self.connection.is_given_up(transfer);
            t.end.get_or_insert(if is_unanswered {
                outbound::End::Unanswered
            } else {
                outbound::End::Abandoned(None)
            });
            self.wake.extend(&mut t.waiters);
            if !t.has_handle {
                self.outbound.remove(&key);
            }
            // Who waits to offer may wait in vain now.
            self.wake.extend_rare(&mut self.offer_waiters);
        } else if let Some(t) = self.inbound.get_mut(&key) {
            let end =
                if is_expired { inbound::End::Expired } else { inbound::End::Abandoned(None) };
            t.end.get_or_insert(end);
            self.wake.extend(&mut t.waiters);
        }
    }

    /// Its handle is gone without a conclusion.
    pub(super) fn give_up_inbound(&mut self, key: Key) {
        if self.is_current(key) {
            self.conclude_cancelled(key.transfer);
        }
        self.forget_inbound(key);
        self.wake_driver();
    }

    /// It was concluded: what waited for its handle goes.
    pub(super) fn forget_inbound(&mut self, key: Key) {
        let Some(mut t) = self.inbound.remove(&key) else { return };
        self.wake.extend(&mut t.waiters);
        let waiting = t.waiting();
        if waiting > 0 {
            self.release(key, waiting);
        }
        for member in t.members {
            self.take_of(key, member.item);
            self.give_up_inbound(member.key);
        }
        // Batches that were given up end with the last of their members.
        for batch in self.abandoned_batches.take().into_iter().flatten() {
            self.conclude_cancelled(batch);
        }
    }

    /// Ends a transfer of the peer's as cancelled, now or when its last member has ended.
    fn conclude_cancelled(&mut self, transfer: TransferId) {
        let (code, text) = (TransferCode::CANCELLED, "");
        let concluded = self.connection.conclude(transfer, &Conclusion::Failed { code, text });
        if concluded == Err(ActionError::WrongState(transfer)) {
            self.abandoned_batches.push(transfer);
        }
    }
}

/// Whether an event wakes applications, and changes nothing in the machine.
fn is_only_told(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::Writable { .. }
            | Event::Progress { .. }
            | Event::Receipts { .. }
            | Event::LaneWritable(_)
            | Event::MayOffer
    )
}

/// The transfer that an event is for.
fn transfer_of(event: &Event<'_>) -> Option<TransferId> {
    match *event {
        Event::Accepted { transfer, .. }
        | Event::Rejected { transfer, .. }
        | Event::Verdict { transfer, .. }
        | Event::Writable { transfer, .. }
        | Event::Rewind { transfer, .. }
        | Event::Progress { transfer, .. }
        | Event::Started { transfer, .. }
        | Event::Finished { transfer, .. }
        | Event::CancelAsked { transfer, .. } => Some(transfer),
        _ => None,
    }
}
