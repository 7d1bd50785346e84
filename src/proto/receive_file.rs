//! What the application does with the transfers that the peer offers, and their flow control.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::time::Duration;

use super::connection::Connection;
use super::error::ActionError;
use super::event::{Acceptance, Conclusion, ItemId, Lane};
use super::incoming::{CreditNeed, Incoming};
use super::outgoing::Shape;
use crate::time::Time;
use crate::wire::{Accept, Kind, Reject, TransferCode, TransferId, Verdict};

/// CREDIT that is not urgent waits for this long.
const CREDIT_DELAY: Duration = Duration::from_millis(25);
/// A transfer's first window, if the common window has that much left.
const FIRST_WINDOW: u64 = 256 * 1024;
/// Batches of which the code is remembered.
const ENDED_BATCHES: usize = 16;
/// Small frames that may be on their way when we end a file before all of it came: START, the last
/// DATA, FINISH and a CANCEL.
pub(super) const LATE_FRAMES: u32 = 4;
/// The round trip that is assumed until one is measured.
const ROUND_TRIP: Duration = Duration::from_millis(10);

impl Connection {
    /// Accepts an offer: its data will come. The [module](super#files) has an example.
    ///
    /// A receiver that has a part of the file already, of before a restart of its program say, accepts
    /// with its length and digest ([`Acceptance::prefix`]). The sender sends what follows at once,
    /// while it computes the digest of its own first bytes; then it calls
    /// [`confirm_prefix`](Self::confirm_prefix) or [`restart`](Self::restart).
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::proto::{Acceptance, Event};
    /// # use duologue::time::Time;
    /// use duologue::wire::{Digest, Offer};
    /// # mod machines { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/machines.rs")); }
    /// # use machines::{carry, open};
    ///
    /// fn digest(bytes: &[u8]) -> Digest {
    ///     Digest::Blake3(*blake3::hash(bytes).as_bytes())
    /// }
    ///
    /// // The receiver has a part, of before its program was restarted: once it is one of this file, and
    /// // once of what the file was then.
    /// let content = b"0123456789";
    /// for (part, begin) in [("01234", 5), ("abcde", 0)] {
    /// #     let now = Time::ZERO;
    ///     let (mut client, mut server) = open(now)?;
    ///     let (mut part, mut began) = (part.as_bytes().to_vec(), None);
    ///     client.offer(&Offer::new("notes.txt").size(10), now)?;
    ///     while part != content {
    ///         for event in carry(&mut client, &mut server, now) {
    ///             let item = event.item();
    ///             match event {
    ///                 Event::Offered { transfer, .. } => {
    ///                     let prefix = Some((part.len() as u64, digest(&part)));
    ///                     server.accept(transfer, Acceptance { prefix }, now)?;
    ///                 }
    ///                 // At 0, what is there is void.
    ///                 Event::Started { offset, .. } => {
    ///                     part.truncate(offset as usize);
    ///                     began = Some(offset);
    ///                 }
    ///                 Event::Data { transfer, data, .. } => {
    ///                     part.extend_from_slice(&data);
    ///                     server.release(transfer, data.len(), now);
    ///                 }
    ///                 _ => {}
    ///             }
    ///             item.into_iter().for_each(|item| server.take(now, item));
    ///         }
    ///         for event in carry(&mut server, &mut client, now) {
    ///             let item = event.item();
    ///             if let Event::Accepted { transfer, accept, .. } = event {
    ///                 // What follows the part may go at once, while a long one is hashed.
    ///                 let offset = accept.offset as usize;
    ///                 client.send_data(transfer, accept.offset, content[offset..].into())?;
    ///                 if accept.prefix == Some(digest(&content[..offset])) {
    ///                     client.confirm_prefix(transfer)?;
    ///                 } else {
    ///                     client.restart(transfer)?;
    ///                     client.send_data(transfer, 0, content[..].into())?;
    ///                 }
    ///                 client.finish(transfer, Some(digest(content)))?;
    ///             }
    ///             item.into_iter().for_each(|item| client.take(now, item));
    ///         }
    ///     }
    ///     assert_eq!(began, Some(begin));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ActionError::UnknownTransfer`]; [`WrongState`](ActionError::WrongState) when it was
    /// decided already or its sender asked to cancel, or for a prefix of anything but a file;
    /// [`TooLarge`](ActionError::TooLarge) for a prefix beyond the offered size, and
    /// [`Invalid`](ActionError::Invalid) for one of no bytes; [`Closed`](ActionError::Closed).
    pub fn accept(
        &mut self,
        transfer: TransferId,
        acceptance: Acceptance,
        now: Time,
    ) -> Result<ItemId, ActionError> {
        let now = self.advance(now);
        self.check_open()?;
        let window = self.initial_window(0);
        let t = self.undecided(transfer)?;
        if t.is_cancel_asked || (acceptance.prefix.is_some() && !t.is_file()) {
            return Err(ActionError::WrongState(transfer));
        }
        let offset = acceptance.prefix.map_or(0, |(offset, _)| offset);
        if let Some(max) = t.size.filter(|&size| offset > size) {
            return Err(ActionError::TooLarge { max });
        }
        let accept = Accept { offset, prefix: acceptance.prefix.map(|(_, digest)| digest) };
        let mut payload = Vec::new();
        accept.encode(&mut payload)?;
        t.open(offset, window, now);
        self.incoming.on_decided();
        let item = self.push_item(Lane::Control, Kind::ACCEPT, transfer.to_wire(), &payload);
        if let Some(t) = self.incoming.get_mut(&transfer) {
            t.accept_item = Some(item.number);
        }
        // CREDIT follows once ACCEPT has gone.
        self.watch(transfer);
        Ok(item)
    }

    /// Rejects an offer. The transfer has ended.
    ///
    /// # Errors
    ///
    /// [`ActionError::UnknownTransfer`]; [`WrongState`](ActionError::WrongState) when it was
    /// decided already; [`Invalid`](ActionError::Invalid) for a text over 255 bytes or with a NUL, or
    /// for [`STORED`](TransferCode::STORED); [`Closed`](ActionError::Closed).
    pub fn reject(
        &mut self,
        transfer: TransferId,
        code: TransferCode,
        text: &str,
    ) -> Result<ItemId, ActionError> {
        self.check_open()?;
        self.undecided(transfer)?;
        let mut payload = Vec::new();
        Reject { code, text: Cow::Borrowed(text) }.encode(&mut payload)?;
        self.incoming.remove(&transfer);
        Ok(self.push_answer(Kind::REJECT, transfer, &payload))
    }

    /// The application is done with `len` bytes of a transfer's data: as many more may come.
    ///
    /// Every byte of an [`Event::Data`](super::Event::Data) has to be released once, also when its
    /// transfer has ended since, its sender asked to cancel, its content [began
    /// anew](super::Event::Started), or its conversation was begun anew: the bytes are in the
    /// application's memory all the same, and count against
    /// [`receive_window`](super::ConfigBuilder::receive_window) until then. What is never released
    /// makes all windows smaller for as long as the conversation lasts: in the end files get no
    /// credit, and those of batches are refused as [`BUSY`](TransferCode::BUSY).
    ///
    /// What is over is paid first, then the content that is coming. More than was handed out counts
    /// as all of it.
    pub fn release(&mut self, transfer: TransferId, len: usize, now: Time) {
        let now = self.advance(now);
        let round_trip =
            self.link.as_ref().and_then(|link| link.pacer.min_round_trip()).unwrap_or(ROUND_TRIP);
        let quick = round_trip.saturating_mul(2).saturating_add(Duration::from_millis(2));
        let len = len as u64;
        let len = self.debts.made().map_or(len, |debts| debts.pay(transfer, len));
        if let Some(t) = self.incoming.get_mut(&transfer).filter(|_| len > 0) {
            if t.release(len, now, quick) {
                self.grow_window(transfer);
            }
            self.queue_credit(transfer, now);
        }
        self.feed_starved();
    }

    /// Whether a [`release`](Self::release) of so many bytes has to be made now: if not, it can wait
    /// for more input, or for the deadline that there is.
    #[cfg(feature = "std")]
    pub(crate) fn is_release_urgent(&self, transfer: TransferId, len: usize) -> bool {
        let Some(t) = self.incoming.get(&transfer) else { return true };
        let is_due_anyway = t.is_flowing() && (t.is_credit_queued || t.is_credit_late);
        self.debts.total() > 0
            || self.is_starved
            || !is_due_anyway
            || t.is_credit_urgent_after(len as u64)
    }

    /// Bytes before `offset` survive a loss of power: the sender is told. Never goes back; beyond
    /// what came it counts as what came.
    ///
    /// After a [`Started`](super::Event::Started) at 0 that voids what was there it does nothing
    /// until bytes of the new content are [released](Self::release), as the application may not have
    /// seen the event yet. Once it has, it must not report the old content any more.
    pub fn set_durable(&mut self, transfer: TransferId, offset: u64, now: Time) {
        let now = self.advance(now);
        let Some(t) = self.incoming.get_mut(&transfer).filter(|t| !t.is_anew) else { return };
        t.durable = offset.min(t.received).max(t.durable);
        self.queue_credit(transfer, now);
    }

    /// Ends a transfer of the peer's: the verdict, which the sender is told. As *stored* once it is
    /// whole, of which the [module](super#files) has an example; as *failed* at any time. Bytes of it
    /// that were handed out are still to be [released](Self::release).
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::proto::{Acceptance, Conclusion, Event};
    /// # use duologue::time::Time;
    /// use duologue::wire::{Offer, TransferCode};
    /// # mod machines { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/machines.rs")); }
    /// # use machines::{carry, open};
    ///
    /// # let now = Time::ZERO;
    /// let (mut client, mut server) = open(now)?;
    /// # let file = client.offer(&Offer::new("film"), now)?;
    /// # for event in carry(&mut client, &mut server, now) {
    /// #     event.item().into_iter().for_each(|item| server.take(now, item));
    /// # }
    /// # server.accept(file, Acceptance::default(), now)?;
    /// # carry(&mut server, &mut client, now);
    /// // The server has accepted `file`, and the client finds out that it is not the right one.
    /// client.send_data(file, 0, b"Once upon a time"[..].into())?;
    /// client.cancel(file, TransferCode::CANCELLED, "the wrong film")?;
    ///
    /// for event in carry(&mut client, &mut server, now) {
    ///     if let Event::CancelAsked { item, transfer, code, .. } = event {
    ///         // The receiver ends it. (It can do so without being asked, too.)
    ///         server.conclude(transfer, &Conclusion::Failed { code, text: "" })?;
    ///         server.take(now, item);
    ///     }
    /// }
    /// for event in carry(&mut server, &mut client, now) {
    ///     if let Event::Verdict { item, transfer, code, .. } = event {
    ///         assert_eq!((transfer, code), (file, TransferCode::CANCELLED));
    ///         client.take(now, item);
    ///     }
    /// }
    /// # assert!(client.cancel(file, TransferCode::CANCELLED, "").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ActionError::UnknownTransfer`]; [`WrongState`](ActionError::WrongState) before it is
    /// accepted (except that its sender asked to cancel), as *stored* when bytes or members are
    /// missing, or for a batch of which members are open; [`Invalid`](ActionError::Invalid) for a text that
    /// is too long, or *failed* as [`STORED`](TransferCode::STORED).
    pub fn conclude(
        &mut self,
        transfer: TransferId,
        conclusion: &Conclusion<'_>,
    ) -> Result<ItemId, ActionError> {
        self.check_open()?;
        let unknown = ActionError::UnknownTransfer(transfer);
        let t = self.incoming.get(&transfer).ok_or(unknown)?;
        let (code, text) = match *conclusion {
            Conclusion::Stored { name } => (TransferCode::STORED, name),
            Conclusion::Failed { code, text } => (code, text),
        };
        if let Conclusion::Failed { code: TransferCode::STORED, .. } = conclusion {
            // It is no code of a failure: as in a REJECT.
            Reject { code, text: Cow::Borrowed("") }.encode(&mut Vec::new())?;
        }
        let is_stored = code == TransferCode::STORED;
        let has_open_members = matches!(t.shape, Shape::Batch { open: 1.., .. });
        let is_early = !t.is_accepted && !t.is_cancel_asked;
        let is_unfinished = is_stored && (!t.is_complete() || !t.is_accepted);
        if is_early || is_unfinished || has_open_members {
            return Err(ActionError::WrongState(transfer));
        }
        let total = match t.shape {
            Shape::Batch { .. } => u64::from(t.stored),
            Shape::File | Shape::Directory => t.received,
        };
        let verdict = Verdict { code, total, text: Cow::Borrowed(text) };
        verdict.encode(&mut Vec::new())?;
        if matches!(t.shape, Shape::Batch { .. }) {
            self.remember_batch(transfer, code);
        }
        self.end_incoming(transfer, is_stored);
        Ok(self.push_verdict(transfer, code, total, text))
    }

    /// Queues a verdict that was checked.
    pub(super) fn push_verdict(
        &mut self,
        transfer: TransferId,
        code: TransferCode,
        total: u64,
        text: &str,
    ) -> ItemId {
        let mut payload = Vec::new();
        // Our own texts fit, and those of the caller were tried.
        let _ = Verdict { code, total, text: Cow::Borrowed(text) }.encode(&mut payload);
        self.push_answer(Kind::VERDICT, transfer, &payload)
    }

    /// Queues the end of a transfer: it goes on counting until the peer can know.
    fn push_answer(&mut self, kind: Kind, transfer: TransferId, payload: &[u8]) -> ItemId {
        let item = self.push_item(Lane::Control, kind, transfer.to_wire(), payload);
        self.answers.push_back(item.number);
        item
    }

    /// Transfers of the peer's that have not ended as far as the peer can know.
    pub(super) fn incoming_count(&mut self) -> usize {
        let begun = self.send.control.begun();
        while self.answers.front().is_some_and(|&number| number < begun) {
            self.answers.pop_front();
        }
        self.incoming.len().saturating_add(self.answers.len())
    }

    /// Forgets a transfer of the peer's but for what may still be on its way.
    pub(super) fn end_incoming(&mut self, transfer: TransferId, is_stored: bool) {
        let Some(ended) = self.incoming.remove(&transfer) else { return };
        self.owe(transfer, ended.unreleased());
        self.feed_starved();
        let on_the_way = ended.sent_credit.limit.saturating_sub(ended.received);
        self.late_allowance = self.late_allowance.saturating_add(on_the_way);
        if ended.is_flowing() && !ended.is_complete() {
            self.forgive_late(LATE_FRAMES);
        }
        let batch = ended.batch.and_then(|id| self.incoming.get_mut(&id));
        if let Some(Incoming { shape: Shape::Batch { open, .. }, stored, .. }) = batch {
            *open = open.saturating_sub(1);
            *stored = stored.saturating_add(u32::from(is_stored));
        }
    }

    /// The application still has so much of what is over.
    pub(super) fn owe(&mut self, transfer: TransferId, bytes: u64) {
        if bytes > 0 {
            self.debts.add(transfer, bytes);
        }
    }

    /// So many frames may be on their way to what has ended here, which is not their sender's fault.
    pub(super) fn forgive_late(&mut self, frames: u32) {
        // Never more than all that can be on their way at once.
        let most = self.config.limits.transfers.saturating_mul(LATE_FRAMES);
        self.late_frames = self.late_frames.saturating_add(frames).min(most);
    }

    /// Members of a batch that was given up may still be on their way: they end with its code.
    pub(super) fn remember_batch(&mut self, transfer: TransferId, code: TransferCode) {
        if self.ended_batches.len() >= ENDED_BATCHES {
            self.ended_batches.pop_front();
        }
        self.ended_batches.push_back((transfer, code));
        let Some(t) = self.incoming.get(&transfer).filter(|t| !t.is_cancel_asked) else { return };
        if let Shape::Batch { count, offered, .. } = t.shape {
            let left = count.saturating_sub(offered);
            let most = self.config.limits.transfers;
            self.late_offers = self.late_offers.saturating_add(left).min(most);
        }
    }

    pub(super) fn code_of_ended(&self, batch: TransferId) -> TransferCode {
        let found = self.ended_batches.iter().find(|(transfer, _)| *transfer == batch);
        found.map_or(TransferCode::CANCELLED, |&(_, code)| code)
    }

    fn undecided(&mut self, transfer: TransferId) -> Result<&mut Incoming, ActionError> {
        match self.incoming.get_mut(&transfer) {
            None => Err(ActionError::UnknownTransfer(transfer)),
            Some(t) if t.is_accepted => Err(ActionError::WrongState(transfer)),
            Some(t) => Ok(t),
        }
    }

    /// The window of a transfer that begins: what is reserved for it, and more while there is some;
    /// less while there is too little room.
    pub(super) fn initial_window(&mut self, gift: u64) -> u64 {
        let reserved = u64::from(self.config.reserved_window).max(gift);
        let pool = u64::from(self.config.receive_window);
        let wanted = FIRST_WINDOW.min(pool / 4).max(reserved);
        self.fitting(wanted, reserved)
    }

    /// As much of a window as there is room for.
    fn fitting(&mut self, wanted: u64, reserved: u64) -> u64 {
        let free = self.pool_free();
        let window = wanted.min(reserved.saturating_add(free)).min(self.room());
        self.is_starved |= window < u64::from(self.config.reserved_window);
        window
    }

    /// The content of a transfer begins anew, with nothing granted: its window has to find room
    /// beside what the application still has of the old.
    pub(super) fn fit_window(&mut self, transfer: TransferId) {
        let reserved = u64::from(self.config.reserved_window);
        let Some(t) = self.incoming.get_mut(&transfer) else { return };
        let wanted = core::mem::take(&mut t.window);
        let window = self.fitting(wanted, reserved);
        if let Some(t) = self.incoming.get_mut(&transfer) {
            t.window = window;
        }
    }

    /// Bytes of the common window that nobody has: beyond what is reserved for each transfer none
    /// are granted, and none are owed.
    fn pool_free(&self) -> u64 {
        let reserved = u64::from(self.config.reserved_window);
        let granted = self
            .incoming
            .values()
            .filter(|t| t.is_flowing())
            .map(|t| t.charge().saturating_sub(reserved))
            .fold(0, u64::saturating_add);
        let pool = u64::from(self.config.receive_window);
        pool.saturating_sub(granted).saturating_sub(self.debts.total())
    }

    /// Bytes that could be granted in all before the application may have to keep more than
    /// [`Config::worst_case_memory`](super::Config::worst_case_memory) says.
    pub(super) fn room(&self) -> u64 {
        if self.debts.total() == 0 {
            // What is reserved for each is there, as it is not counted among what is common.
            return u64::MAX;
        }
        let config = &self.config;
        let each = u64::from(config.reserved_window.max(config.limits.member_credit));
        let all = u64::from(config.limits.transfers).saturating_mul(each);
        let flowing = self.incoming.values().filter(|t| t.is_flowing());
        let granted = flowing.map(Incoming::charge).fold(0, u64::saturating_add);
        all.saturating_add(u64::from(config.receive_window))
            .saturating_sub(granted)
            .saturating_sub(self.debts.total())
    }

    /// Debts were paid: who has less than what is reserved gets it, as far as there is room now.
    pub(super) fn feed_starved(&mut self) {
        if !self.is_starved {
            return;
        }
        let reserved = u64::from(self.config.reserved_window);
        let mut room = self.room();
        let mut fed = Vec::new();
        self.is_starved = false;
        for (&transfer, t) in &mut self.incoming {
            if !t.is_flowing() || t.window >= reserved {
                continue;
            }
            let growth = reserved.saturating_sub(t.window).min(room);
            room = room.saturating_sub(growth);
            t.window = t.window.saturating_add(growth);
            self.is_starved |= t.window < reserved;
            if growth > 0 {
                fed.push(transfer);
            }
        }
        for transfer in fed {
            self.queue_credit(transfer, self.now);
        }
    }

    /// A whole window was consumed within two round trips: doubles it, as far as the common window
    /// goes. When that is used up, whoever has more than a fair share gives back.
    fn grow_window(&mut self, transfer: TransferId) {
        let pool = u64::from(self.config.receive_window);
        let reserved = u64::from(self.config.reserved_window);
        let free = self.pool_free().min(self.room());
        let flowing = self.incoming.values().filter(|t| t.is_flowing()).count().max(1) as u64;
        let fair = reserved.saturating_add(pool.checked_div(flowing).unwrap_or(0));
        let Some(t) = self.incoming.get_mut(&transfer) else { return };
        let growth = t.window.min(free);
        let is_starved = growth < t.window && t.window < fair;
        t.window = t.window.saturating_add(growth);
        if is_starved {
            for other in self.incoming.values_mut().filter(|other| other.window > fair) {
                // Its limit stays where it is until it has been used up so far.
                other.window = fair;
            }
        }
    }

    /// Tells the sender its new limit: at once if that matters, or soon.
    pub(super) fn queue_credit(&mut self, transfer: TransferId, now: Time) {
        let need = self.incoming.get(&transfer).map(Incoming::credit_need);
        self.note_credit(transfer, need.unwrap_or_default(), now);
    }

    pub(super) fn note_credit(&mut self, transfer: TransferId, need: CreditNeed, now: Time) {
        if need == CreditNeed::Nothing {
            return;
        }
        let Some(t) = self.incoming.get_mut(&transfer) else { return };
        if need == CreditNeed::Now {
            t.is_credit_queued = true;
            self.credits.push_back(transfer);
        } else {
            t.is_credit_late = true;
            self.late_credits.push_back(transfer);
            let due = now.saturating_add(CREDIT_DELAY);
            self.credit_due.get_or_insert(due);
        }
    }

    /// Tells the sender its limit, changed or not.
    pub(super) fn force_credit(&mut self, transfer: TransferId) {
        let Some(t) = self.incoming.get_mut(&transfer) else { return };
        if t.is_flowing() && !t.is_credit_queued {
            t.is_credit_queued = true;
            self.credits.push_back(transfer);
        }
    }

    /// Time has passed: tells all senders what they have not been told.
    pub(super) fn tell_credits(&mut self, now: Time) {
        if self.credit_due.is_none_or(|due| due > now) {
            return;
        }
        self.credit_due = None;
        for transfer in self.late_credits.take().into_iter().flatten() {
            let Some(t) = self.incoming.get_mut(&transfer) else { continue };
            t.is_credit_late = false;
            if t.is_flowing() && !t.is_credit_queued && t.has_credit_news() {
                t.is_credit_queued = true;
                self.credits.push_back(transfer);
            }
        }
    }
}
