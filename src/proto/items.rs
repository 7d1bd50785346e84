//! Items of the two lanes, and the frames of transfers: what they do to this end.

use alloc::borrow::Cow;

use super::connection::{Connection, usize_from};
use super::error::Error;
use super::event::{Event, ItemId, Lane};
use super::incoming::Incoming;
use super::item::EMPTY_CHAT;
use super::outgoing::{Fault, Outgoing, Shape, State};
use super::receive_file::LATE_FRAMES;
use crate::time::Time;
use crate::wire::{
    Accept, Batch, Cancel, Chat, CloseCode, Credit, Finish, Header, Kind, Message, Offer, Pause,
    Reject, TransferCode, TransferId, Verdict,
};

/// Where a transfer of the peer's stands, seen from here.
enum Known<'a> {
    Open(&'a mut Incoming),
    Ended,
}

impl Connection {
    /// An item is whole: it takes effect, once and in its lane's order.
    pub(super) fn handle_item<'a>(
        &mut self,
        now: Time,
        lane: Lane,
        header: Header,
        payload: &'a [u8],
    ) -> Result<Option<Event<'a>>, Error> {
        let item = ItemId { lane, number: self.receive.get(lane).received() };
        let spent = self.budget.spent();
        let event = self.apply_item(now, item, header, payload)?;
        // A message has a type at least, and is never empty.
        if header.kind == Kind::CHAT && payload.len() <= EMPTY_CHAT {
            self.spend(now, header.kind)?;
        }
        if self.budget.spent() == spent {
            // Its parts have earned theirs.
            self.budget.earn(usize_from(header.length));
        }
        let is_held = event.is_some();
        self.receive.get_mut(lane).finish(payload.len(), is_held);
        self.has_received = true;
        match lane {
            Lane::Chat => self.owe_ack(now),
            Lane::Control => self.owe_for_bulk(now, payload.len(), true),
        }
        Ok(event)
    }

    fn apply_item<'a>(
        &mut self,
        now: Time,
        item: ItemId,
        header: Header,
        payload: &'a [u8],
    ) -> Result<Option<Event<'a>>, Error> {
        let kind = header.kind;
        match kind {
            Kind::CHAT => return Ok(Some(Event::Chat { item, chat: Chat::decode(payload)? })),
            Kind::MESSAGE => {
                return Ok(Some(Event::Message { item, message: Message::decode(payload)? }));
            }
            kind if !kind.is_known() => {
                self.statistics.late_frames = self.statistics.late_frames.saturating_add(1);
                self.spend(now, kind)?;
                return Ok(None);
            }
            _ => {}
        }
        let transfer = self.transfer_of(header)?;
        match kind {
            Kind::OFFER => self.handle_offer(now, item, transfer, Offer::decode(payload)?),
            Kind::BATCH => self.handle_batch(now, item, transfer, Batch::decode(payload)?),
            Kind::ACCEPT => self.handle_accept(now, item, transfer, Accept::decode(payload)?),
            Kind::REJECT => self.handle_reject(item, transfer, Reject::decode(payload)?),
            Kind::PAUSE => self.handle_pause(now, item, transfer, Pause::decode(payload)?),
            Kind::FINISH => self.handle_finish(now, item, transfer, Finish::decode(payload)?),
            Kind::CANCEL => self.handle_cancel(now, item, transfer, Cancel::decode(payload)?),
            _ => self.handle_verdict(item, transfer, Verdict::decode(payload)?),
        }
    }

    /// The id of a new offer is the next one of the peer's.
    fn check_new(&mut self, kind: Kind, transfer: TransferId) -> Result<(), Error> {
        if transfer.side() == self.side || transfer.number() != self.next_incoming {
            return Err(protocol(kind, "not the next transfer of its side"));
        }
        if self.incoming_count() >= usize_from(self.config.limits.transfers) {
            return Err(Error::violation(CloseCode::LIMIT, kind, "too many transfers"));
        }
        Ok(())
    }

    fn check_undecided(&self, kind: Kind) -> Result<(), Error> {
        if self.incoming.undecided() >= usize_from(self.config.limits.undecided) {
            return Err(Error::violation(CloseCode::LIMIT, kind, "too many undecided offers"));
        }
        Ok(())
    }

    fn handle_offer<'a>(
        &mut self,
        now: Time,
        item: ItemId,
        transfer: TransferId,
        offer: Offer<'a>,
    ) -> Result<Option<Event<'a>>, Error> {
        self.check_new(Kind::OFFER, transfer)?;
        let shape = if offer.is_directory { Shape::Directory } else { Shape::File };
        let mut incoming = Incoming::new(shape, Some(&offer), now);
        if let Some(id) = offer.batch {
            if id.side() == self.side || id.number() >= self.next_incoming {
                return Err(protocol(Kind::OFFER, "a batch that was not offered"));
            }
            let gift = u64::from(self.config.limits.member_credit);
            let is_over = !offer.is_directory && self.room() < gift;
            match self.incoming.get_mut(&id) {
                None => {
                    // The batch ended while this was on the way.
                    let left = self.late_offers.checked_sub(1);
                    self.late_offers = left.unwrap_or(0);
                    if left.is_none() {
                        self.spend(now, Kind::OFFER)?;
                    }
                    let code = self.code_of_ended(id);
                    self.refuse_member(transfer, code);
                    return Ok(None);
                }
                Some(b) if b.is_batch() && (!b.is_accepted || b.is_cancel_asked) => {
                    return Err(protocol(Kind::OFFER, "a batch that is not open"));
                }
                Some(Incoming { shape: Shape::Batch { count, offered, open }, .. }) => {
                    if offered >= count {
                        return Err(protocol(Kind::OFFER, "more members than the batch has"));
                    }
                    *offered = offered.saturating_add(1);
                    if is_over {
                        // Its first bytes cannot be kept from coming, but from being kept.
                        self.refuse_member(transfer, TransferCode::BUSY);
                        return Ok(Some(Event::Refused { item, transfer, offer }));
                    }
                    *open = open.saturating_add(1);
                }
                Some(_) => return Err(protocol(Kind::OFFER, "a batch that is none")),
            }
            if offer.is_directory {
                incoming.open(0, 0, now);
            } else {
                let window = self.initial_window(gift);
                incoming.open(0, window, now);
                incoming.sent_credit.limit = gift;
            }
        } else {
            self.check_undecided(Kind::OFFER)?;
        }
        self.next_incoming = self.next_incoming.saturating_add(1);
        self.incoming.insert(transfer, incoming);
        self.queue_credit(transfer, now);
        self.watch(transfer);
        Ok(Some(Event::Offered { item, transfer, offer }))
    }

    /// Ends a member of a batch at once: its first bytes follow without asking.
    fn refuse_member(&mut self, transfer: TransferId, code: TransferCode) {
        self.next_incoming = self.next_incoming.saturating_add(1);
        let gift = u64::from(self.config.limits.member_credit);
        self.late_allowance = self.late_allowance.saturating_add(gift);
        self.forgive_late(LATE_FRAMES);
        self.push_verdict(transfer, code, 0, "");
    }

    fn handle_batch<'a>(
        &mut self,
        now: Time,
        item: ItemId,
        transfer: TransferId,
        batch: Batch<'a>,
    ) -> Result<Option<Event<'a>>, Error> {
        self.check_new(Kind::BATCH, transfer)?;
        self.check_undecided(Kind::BATCH)?;
        self.next_incoming = self.next_incoming.saturating_add(1);
        let shape = Shape::Batch { count: batch.count, offered: 0, open: 0 };
        self.incoming.insert(transfer, Incoming::new(shape, None, now));
        self.watch(transfer);
        Ok(Some(Event::BatchOffered { item, transfer, batch }))
    }

    fn handle_accept<'a>(
        &mut self,
        now: Time,
        item: ItemId,
        transfer: TransferId,
        accept: Accept,
    ) -> Result<Option<Event<'a>>, Error> {
        if self.settle_given_up(Kind::ACCEPT, transfer)? {
            return Ok(None);
        }
        let t = self.own(Kind::ACCEPT, transfer)?;
        let is_news = t.on_accept(&accept, now).map_err(|fault| fail(Kind::ACCEPT, fault))?;
        self.outgoing.on_decided();
        if !is_news {
            return Ok(None);
        }
        self.tell_writable(transfer);
        self.watch(transfer);
        Ok(Some(Event::Accepted { item, transfer, accept }))
    }

    fn handle_reject<'a>(
        &mut self,
        item: ItemId,
        transfer: TransferId,
        reject: Reject<'a>,
    ) -> Result<Option<Event<'a>>, Error> {
        if self.settle_given_up(Kind::REJECT, transfer)? {
            return Ok(None);
        }
        let t = self.own(Kind::REJECT, transfer)?;
        match t.state {
            State::Offered | State::CancelAsked { was_offered: true } if t.batch.is_none() => {}
            _ => return Err(protocol(Kind::REJECT, "not offered")),
        }
        self.end_outgoing(transfer);
        Ok(Some(Event::Rejected { item, transfer, code: reject.code, text: reject.text }))
    }

    fn handle_verdict<'a>(
        &mut self,
        item: ItemId,
        transfer: TransferId,
        verdict: Verdict<'a>,
    ) -> Result<Option<Event<'a>>, Error> {
        if self.settle_given_up(Kind::VERDICT, transfer)? {
            return Ok(None);
        }
        let begun = self.send.control.begun();
        let t = self.own(Kind::VERDICT, transfer)?;
        if t.state == State::Offered {
            return Err(protocol(Kind::VERDICT, "before its ACCEPT"));
        }
        if verdict.code == TransferCode::STORED {
            let is_right = match t.shape {
                Shape::File => {
                    t.total == Some(verdict.total) && t.finish_item.is_some_and(|n| n < begun)
                }
                Shape::Directory => verdict.total == 0,
                Shape::Batch { count, offered, open } => {
                    open == 0 && offered == count && verdict.total <= u64::from(offered)
                }
            };
            if !is_right {
                return Err(protocol(Kind::VERDICT, "stored, but not what was finished"));
            }
        }
        self.end_outgoing(transfer);
        let Verdict { code, total, text } = verdict;
        Ok(Some(Event::Verdict { item, transfer, code, total, text }))
    }

    fn handle_pause<'a>(
        &mut self,
        now: Time,
        item: ItemId,
        transfer: TransferId,
        pause: Pause,
    ) -> Result<Option<Event<'a>>, Error> {
        let is_paused = pause.is_paused;
        let (flag, progressed) = if transfer.side() == self.side {
            if self.is_ended_own(transfer) {
                return self.late(now, Kind::PAUSE);
            }
            let t = self.own(Kind::PAUSE, transfer)?;
            if t.is_batch() {
                return Err(protocol(Kind::PAUSE, "a batch"));
            }
            if matches!(t.state, State::CancelAsked { .. }) {
                return self.late(now, Kind::PAUSE);
            }
            (&mut t.is_paused_by_peer, &mut t.progressed)
        } else {
            match self.peers(Kind::PAUSE, transfer)? {
                Known::Ended => return self.late(now, Kind::PAUSE),
                Known::Open(t) if t.is_cancel_asked => {
                    return Err(protocol(Kind::PAUSE, "after CANCEL"));
                }
                Known::Open(t) if matches!(t.shape, Shape::Batch { .. }) => {
                    return Err(protocol(Kind::PAUSE, "a batch"));
                }
                Known::Open(t) => (&mut t.is_paused_by_peer, &mut t.progressed),
            }
        };
        let is_news = *flag != is_paused;
        if is_news {
            *flag = is_paused;
            *progressed = now;
        }
        // Each may cost a plan: honest ones are earned by the file's own bytes.
        self.spend(now, Kind::PAUSE)?;
        if !is_news {
            return Ok(None);
        }
        self.unplan_data(transfer);
        self.queue_data(transfer);
        self.watch(transfer);
        Ok(Some(Event::Paused { item, transfer, is_paused }))
    }

    fn handle_finish<'a>(
        &mut self,
        now: Time,
        item: ItemId,
        transfer: TransferId,
        finish: Finish,
    ) -> Result<Option<Event<'a>>, Error> {
        match self.peers(Kind::FINISH, transfer)? {
            Known::Ended => self.late(now, Kind::FINISH),
            Known::Open(t) => {
                t.on_finish(finish, now).map_err(|fault| fail(Kind::FINISH, fault))?;
                Ok(Some(Event::Finished { item, transfer, finish }))
            }
        }
    }

    fn handle_cancel<'a>(
        &mut self,
        now: Time,
        item: ItemId,
        transfer: TransferId,
        cancel: Cancel<'a>,
    ) -> Result<Option<Event<'a>>, Error> {
        match self.peers(Kind::CANCEL, transfer)? {
            Known::Ended => return self.late(now, Kind::CANCEL),
            Known::Open(t) if t.is_cancel_asked => {
                return Err(protocol(Kind::CANCEL, "a second one"));
            }
            Known::Open(t) => {
                t.is_cancel_asked = true;
                let unreleased = t.unreleased();
                t.released = t.received;
                self.owe(transfer, unreleased);
            }
        }
        self.feed_starved();
        self.spend(now, Kind::CANCEL)?;
        let Cancel { code, text } = cancel;
        Ok(Some(Event::CancelAsked { item, transfer, code, text }))
    }

    pub(super) fn handle_credit(
        &mut self,
        now: Time,
        transfer: TransferId,
        credit: Credit,
    ) -> Result<(), Error> {
        if self.is_ended_own(transfer) {
            self.late(now, Kind::CREDIT)?;
            return Ok(());
        }
        let t = self.own(Kind::CREDIT, transfer)?;
        // After a break it is told again, also when there is nothing new.
        let is_first = !core::mem::replace(&mut t.has_credit, true);
        if !t.on_credit(credit, now).map_err(|fault| fail(Kind::CREDIT, fault))? {
            return if is_first { Ok(()) } else { self.spend(now, Kind::CREDIT) };
        }
        if t.news.progress {
            self.queue_news(transfer);
        }
        self.tell_writable(transfer);
        self.queue_data(transfer);
        self.watch(transfer);
        Ok(())
    }

    pub(super) fn handle_start<'a>(
        &mut self,
        now: Time,
        transfer: TransferId,
        offset: u64,
    ) -> Result<Option<Event<'a>>, Error> {
        match self.peers(Kind::START, transfer)? {
            Known::Ended => self.late(now, Kind::START),
            Known::Open(t) if t.is_cancel_asked && t.is_file() => self.late(now, Kind::START),
            Known::Open(t) => {
                let is_anew = offset == 0 && (t.expected != 0 || t.started.is_some());
                let void = t.on_start(offset, now).map_err(|f| fail(Kind::START, f))?;
                if is_anew {
                    self.owe(transfer, void);
                    self.fit_window(transfer);
                    self.force_credit(transfer);
                }
                Ok(Some(Event::Started { transfer, offset }))
            }
        }
    }

    /// Judges DATA by its header alone.
    pub(super) fn check_data(&mut self, now: Time, header: Header) -> Result<(), Error> {
        let transfer = self.transfer_of(header)?;
        let len = u64::from(header.length);
        let is_dribble = match self.peers(Kind::DATA, transfer)? {
            Known::Ended => {
                self.statistics.late_frames = self.statistics.late_frames.saturating_add(1);
                let Some(left) = self.late_allowance.checked_sub(len) else {
                    let rule = "more than was on its way when the transfer ended";
                    return Err(Error::violation(CloseCode::CREDIT, Kind::DATA, rule));
                };
                self.late_allowance = left;
                len < 1024 && !self.forgive()
            }
            Known::Open(t) => {
                let is_dribble = t.is_dribble(len);
                t.check_data(len).map_err(|fault| fail(Kind::DATA, fault))?;
                is_dribble
            }
        };
        if is_dribble {
            self.spend(now, Kind::DATA)?;
        } else {
            self.budget.earn(usize_from(header.length));
            self.own_budget.earn_by_receiving(usize_from(header.length));
        }
        Ok(())
    }

    /// Bytes of a DATA frame that was judged.
    pub(super) fn handle_data<'a>(
        &mut self,
        now: Time,
        header: Header,
        data: &'a [u8],
        is_end: bool,
    ) -> Option<Event<'a>> {
        self.owe_for_bulk(now, data.len(), is_end);
        let transfer = TransferId::from_wire(header.id)?;
        let t = self.incoming.get_mut(&transfer)?;
        self.has_received = true;
        let offset = t.on_data(data.len(), now);
        if t.is_cancel_asked {
            return None;
        }
        self.queue_credit(transfer, now);
        Some(Event::Data { transfer, offset, data: Cow::Borrowed(data) })
    }

    /// A transfer of ours that has not ended.
    fn own(&mut self, kind: Kind, transfer: TransferId) -> Result<&mut Outgoing, Error> {
        self.outgoing.get_mut(&transfer).ok_or_else(|| protocol(kind, "no such transfer"))
    }

    fn is_ended_own(&self, transfer: TransferId) -> bool {
        transfer.side() == self.side
            && transfer.number() < self.next_outgoing
            && !self.outgoing.contains_key(&transfer)
    }

    /// A transfer of the peer's, open or ended.
    fn peers(&mut self, kind: Kind, transfer: TransferId) -> Result<Known<'_>, Error> {
        let was_offered = transfer.side() != self.side && transfer.number() < self.next_incoming;
        match self.incoming.get_mut(&transfer) {
            Some(incoming) => Ok(Known::Open(incoming)),
            None if was_offered => Ok(Known::Ended),
            None => Err(protocol(kind, "no such transfer")),
        }
    }

    /// A frame that was on its way when its transfer ended.
    fn late<'a>(&mut self, now: Time, kind: Kind) -> Result<Option<Event<'a>>, Error> {
        self.statistics.late_frames = self.statistics.late_frames.saturating_add(1);
        if !self.forgive() {
            self.spend(now, kind)?;
        }
        Ok(None)
    }

    /// Whether a late frame is one of those that every transfer may cost that we end early.
    fn forgive(&mut self) -> bool {
        let left = self.late_frames.checked_sub(1);
        self.late_frames = left.unwrap_or(0);
        left.is_some()
    }

    /// A transfer of ours is over.
    fn end_outgoing(&mut self, transfer: TransferId) {
        self.unplan_data(transfer);
        let Some(ended) = self.outgoing.remove(&transfer) else { return };
        self.end_member(ended.batch);
    }
}

fn protocol(kind: Kind, rule: &'static str) -> Error {
    Error::violation(CloseCode::PROTOCOL, kind, rule)
}

fn fail(kind: Kind, (code, rule): Fault) -> Error {
    Error::violation(code, kind, rule)
}
