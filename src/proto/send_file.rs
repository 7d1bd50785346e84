//! What the application does with the transfers that it offers.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use bytes::Bytes;

use super::connection::Connection;
use super::error::ActionError;
use super::event::{ItemId, Lane};
use super::offer_limits::Needs;
use super::outgoing::{Outgoing, Shape, State, may_finish};
use crate::time::Time;
use crate::wire::{Batch, Cancel, Digest, Finish, Kind, Offer, Pause, TransferCode, TransferId};

impl Connection {
    /// Offers a file, or an entry of a batch that the peer accepted.
    ///
    /// A member of a batch is accepted by implication: its data can be sent at once. The
    /// [module](super#files) has an example.
    ///
    /// # Errors
    ///
    /// [`ActionError::PeerLimit`] when the peer, or our own configuration, allows no more open or
    /// undecided offers for now, until one of them is accepted or ends:
    /// [`Event::MayOffer`](super::Event::MayOffer) tells when, but only after this error;
    /// [`UnknownTransfer`](ActionError::UnknownTransfer) or
    /// [`WrongState`](ActionError::WrongState) for its batch;
    /// [`Exhausted`](ActionError::Exhausted); and those of [`send_chat`](Self::send_chat).
    pub fn offer(&mut self, offer: &Offer<'_>, now: Time) -> Result<TransferId, ActionError> {
        let now = self.advance(now);
        self.check_open()?;
        let mut payload = Vec::new();
        offer.encode(&mut payload)?;
        if let Some(batch) = offer.batch {
            let t = self.outgoing.get(&batch).ok_or(ActionError::UnknownTransfer(batch))?;
            match t.shape {
                Shape::Batch { count, offered, .. } if t.is_open() && offered < count => {}
                _ => return Err(ActionError::WrongState(batch)),
            }
        }
        let transfer = self.next_transfer(Needs::of(offer))?;
        let item = self.push_checked(Lane::Control, Kind::OFFER, transfer.to_wire(), |out| {
            out.extend_from_slice(&payload);
            Ok(())
        })?;
        let shape = if offer.is_directory { Shape::Directory } else { Shape::File };
        let mut outgoing = Outgoing::new(shape, Some(offer), item.number, now);
        if let Some(batch) = offer.batch {
            outgoing.state = State::Open;
            outgoing.credit.limit =
                self.peer.as_ref().map_or(0, |terms| u64::from(terms.limits.member_credit));
            if let Some(Shape::Batch { offered, open, .. }) =
                self.outgoing.get_mut(&batch).map(|batch| &mut batch.shape)
            {
                *offered = offered.saturating_add(1);
                *open = open.saturating_add(1);
            }
        }
        self.insert_outgoing(transfer, outgoing);
        Ok(transfer)
    }

    /// Offers many files at once. When the peer has accepted, its members are
    /// [offered](Self::offer), as many as `count` says: more are refused, and while some are missing
    /// the peer cannot store the batch. With fewer in the end, [cancel](Self::cancel) it.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::proto::{Acceptance, Conclusion, Event};
    /// # use duologue::time::Time;
    /// use duologue::wire::{Batch, Offer, TransferCode};
    /// # mod machines { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/machines.rs")); }
    /// # use machines::{carry, open};
    ///
    /// # let now = Time::ZERO;
    /// let (mut client, mut server) = open(now)?;
    /// let folder = Batch { name: "photos".into(), count: 3, bytes: 9, metadata: [][..].into() };
    /// let batch = client.offer_batch(&folder, now)?;
    ///
    /// // One decision for all of it.
    /// for event in carry(&mut client, &mut server, now) {
    ///     if let Event::BatchOffered { item, transfer, .. } = event {
    ///         server.accept(transfer, Acceptance::default(), now)?;
    ///         server.take(now, item);
    ///     }
    /// }
    /// for event in carry(&mut server, &mut client, now) {
    ///     if let Event::Accepted { item, transfer, .. } = event {
    ///         assert_eq!(transfer, batch);
    ///         client.take(now, item);
    ///     }
    /// }
    ///
    /// // The members need no answer: their data can go at once. A directory has none.
    /// for (name, content) in [("sea/1.jpg", "wave"), ("sea/2.jpg", "shell")] {
    ///     let offer = Offer::new(name).size(content.len() as u64).batch(batch);
    ///     let file = client.offer(&offer, now)?;
    ///     client.send_data(file, 0, content.into())?;
    ///     client.finish(file, None)?;
    /// }
    /// client.offer(&Offer::new("mountains").batch(batch).directory(), now)?;
    ///
    /// let (mut finished, mut members) = (Vec::new(), 0);
    /// for event in carry(&mut client, &mut server, now) {
    ///     let item = event.item();
    ///     match event {
    ///         // It is accepted already. A directory is there as soon as it is made.
    ///         Event::Offered { transfer, offer, .. } => {
    ///             members += 1;
    ///             if offer.is_directory {
    ///                 finished.push(transfer);
    ///             }
    ///         }
    ///         Event::Data { transfer, data, .. } => server.release(transfer, data.len(), now),
    ///         Event::Finished { transfer, .. } => finished.push(transfer),
    ///         _ => {}
    ///     }
    ///     item.into_iter().for_each(|item| server.take(now, item));
    /// }
    ///
    /// // All data came here, too. Each member has its own verdict; that of the batch is the last.
    /// for member in finished {
    ///     server.conclude(member, &Conclusion::Stored { name: "" })?;
    /// }
    /// assert_eq!(members, folder.count);
    /// server.conclude(batch, &Conclusion::Stored { name: "photos (2)" })?;
    ///
    /// let mut verdicts = Vec::new();
    /// for event in carry(&mut server, &mut client, now) {
    ///     if let Event::Verdict { item, transfer, code, total, .. } = event {
    ///         verdicts.push((transfer, code, total));
    ///         client.take(now, item);
    ///     }
    /// }
    /// assert_eq!(verdicts.len(), 4);
    /// assert_eq!(verdicts.last(), Some(&(batch, TransferCode::STORED, 3)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`offer`](Self::offer); [`ActionError::NoPlaceForMembers`] where it and one of its
    /// members would be too many. A place for a member is left beside all batches, which is why one
    /// may have to wait for another's end.
    pub fn offer_batch(&mut self, batch: &Batch<'_>, now: Time) -> Result<TransferId, ActionError> {
        let now = self.advance(now);
        self.check_open()?;
        let mut payload = Vec::new();
        batch.encode(&mut payload)?;
        let transfer = self.next_transfer(Needs::of_batch(batch))?;
        let item = self.push_checked(Lane::Control, Kind::BATCH, transfer.to_wire(), |out| {
            out.extend_from_slice(&payload);
            Ok(())
        })?;
        let shape = Shape::Batch { count: batch.count, offered: 0, open: 0 };
        self.insert_outgoing(transfer, Outgoing::new(shape, None, item.number, now));
        Ok(transfer)
    }

    fn insert_outgoing(&mut self, transfer: TransferId, outgoing: Outgoing) {
        self.next_outgoing = self.next_outgoing.saturating_add(1);
        self.outgoing.insert(transfer, outgoing);
        self.watch(transfer);
    }

    /// Bytes that [`send_data`](Self::send_data) would take of this transfer now.
    pub fn capacity(&self, transfer: TransferId) -> usize {
        let capacity = self
            .outgoing
            .get(&transfer)
            .map_or(0, |t| t.capacity(u64::from(self.config.send_buffer)));
        usize::try_from(capacity).unwrap_or(usize::MAX)
    }

    /// Queues bytes of a file that the peer accepted. They begin at `offset`, which is where the
    /// last ended, or where an event told to go on.
    ///
    /// Chunks of 4 KiB and more leave without being copied, but for an end of less than 1 KiB. A
    /// chunk of any size fits as soon as the [capacity](Self::capacity) is not 0, so that a transfer
    /// keeps at most the configuration's send buffer and two chunks: one that came last, and one of
    /// which the peer has a part, as its memory is only free with its last byte. The [module](super#files) has an
    /// example.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Bytes;
    /// use duologue::proto::{ActionError, Connection};
    /// # use duologue::proto::{Acceptance, Conclusion, Event};
    /// # use duologue::time::Time;
    /// use duologue::wire::{Offer, TransferId};
    /// # mod machines { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/machines.rs")); }
    /// # use machines::{carry, open};
    ///
    /// struct Source {
    ///     content: Bytes,
    ///     is_finished: bool,
    /// }
    ///
    /// impl Source {
    ///     /// Sends from an offset on, as far as there is room.
    ///     fn send(
    ///         &mut self,
    ///         machine: &mut Connection,
    ///         transfer: TransferId,
    ///         from: u64,
    ///     ) -> Result<(), ActionError> {
    ///         let mut offset = from as usize;
    ///         while offset < self.content.len() {
    ///             let end = self.content.len().min(offset + 64 * 1024);
    ///             match machine.send_data(transfer, offset as u64, self.content.slice(offset..end)) {
    ///                 Ok(()) => offset = end,
    ///                 Err(ActionError::Blocked) => return Ok(()), // an event says where to go on
    ///                 Err(error) => return Err(error),
    ///             }
    ///         }
    ///         // After a rewind it has been finished already.
    ///         if !self.is_finished {
    ///             machine.finish(transfer, None)?;
    ///             self.is_finished = true;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let mut now = Time::ZERO;
    /// let (mut client, mut server) = open(now)?;
    /// let mut source = Source { content: vec![7; 1 << 20].into(), is_finished: false };
    /// let file = client.offer(&Offer::new("film").size(1 << 20).seekable(), now)?;
    /// # let (mut received, mut stored, mut has_waited) = (0, false, false);
    /// # while !stored {
    /// #     for event in carry(&mut client, &mut server, now) {
    /// #         event.item().into_iter().for_each(|item| server.take(now, item));
    /// #         match event {
    /// #             Event::Offered { transfer, .. } => _ = server.accept(transfer, Acceptance::default(), now)?,
    /// #             Event::Data { transfer, data, .. } => {
    /// #                 received += data.len();
    /// #                 server.release(transfer, data.len(), now);
    /// #             }
    /// #             _ => {}
    /// #         }
    /// #     }
    /// #     if received == 1 << 20 && server.conclude(file, &Conclusion::Stored { name: "film" }).is_ok() {
    /// #         received += 1;
    /// #     }
    /// #     now = now.saturating_add(core::time::Duration::from_millis(25));
    /// #     server.handle_timeout(now);
    /// // …
    /// for event in carry(&mut server, &mut client, now) {
    ///     let item = event.item();
    ///     match event {
    ///         Event::Accepted { transfer, accept, .. } => {
    ///             source.send(&mut client, transfer, accept.offset)?;
    ///         }
    ///         Event::Writable { transfer, offset } | Event::Rewind { transfer, offset } => {
    /// #             has_waited = true;
    ///             source.send(&mut client, transfer, offset)?;
    ///         }
    /// #         Event::Verdict { .. } => stored = true,
    ///         _ => {}
    ///     }
    ///     item.into_iter().for_each(|item| client.take(now, item));
    /// }
    /// # }
    /// # assert!(has_waited && source.is_finished);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ActionError::Blocked`] while there is no room: [`Event::Writable`](super::Event::Writable)
    /// tells when there is, but only after this error. For data at another offset [`WrongOffset`](ActionError::WrongOffset), as after a break; beyond the
    /// offered size [`TooLarge`](ActionError::TooLarge);
    /// [`UnknownTransfer`](ActionError::UnknownTransfer), and
    /// [`WrongState`](ActionError::WrongState) while it is not accepted or after a cancel;
    /// [`Closed`](ActionError::Closed). Nothing is queued then.
    pub fn send_data(
        &mut self,
        transfer: TransferId,
        offset: u64,
        data: Bytes,
    ) -> Result<(), ActionError> {
        self.check_open()?;
        let send_buffer = u64::from(self.config.send_buffer);
        let t = self.own_open(transfer)?;
        if !t.is_file() || !t.is_open() {
            return Err(ActionError::WrongState(transfer));
        }
        let expected = t.buffer.end();
        if offset != expected {
            return Err(ActionError::WrongOffset { expected });
        }
        let end = offset.saturating_add(data.len() as u64);
        if let Some(max) = t.total.or(t.size).filter(|&size| end > size) {
            return Err(ActionError::TooLarge { max });
        }
        if data.is_empty() {
            return Ok(());
        }
        if t.capacity(send_buffer) == 0 {
            t.is_blocked = true;
            return Err(ActionError::Blocked);
        }
        let was_waiting = t.waits_for_peer();
        t.buffer.push(data);
        let (waits, is_queued) = (t.waits_for_peer(), t.is_in_ring);
        if waits && !was_waiting {
            self.note_waiting(transfer, was_waiting);
        }
        if !is_queued {
            self.queue_data(transfer);
        }
        Ok(())
    }

    /// The digest of the prefix that the peer named is the one of ours: its bytes count.
    /// [`accept`](Self::accept) has an example of both ends.
    ///
    /// # Errors
    ///
    /// [`ActionError::UnknownTransfer`], or [`WrongState`](ActionError::WrongState) when no digest
    /// is in question; [`NotOpen`](ActionError::NotOpen) or [`Closed`](ActionError::Closed).
    pub fn confirm_prefix(&mut self, transfer: TransferId) -> Result<(), ActionError> {
        self.check_open()?;
        let t = self.own_open(transfer)?;
        if !t.is_prefix_open {
            return Err(ActionError::WrongState(transfer));
        }
        t.is_prefix_open = false;
        Ok(())
    }

    /// The digest of the prefix is another one, or the source cannot go there: all bytes are sent,
    /// from offset 0 on. [`accept`](Self::accept) has an example.
    ///
    /// # Errors
    ///
    /// [`ActionError::UnknownTransfer`], or [`WrongState`](ActionError::WrongState) when the peer
    /// named no offset, the data begins at 0 already, or the transfer is finished;
    /// [`NotOpen`](ActionError::NotOpen) or [`Closed`](ActionError::Closed).
    pub fn restart(&mut self, transfer: TransferId) -> Result<(), ActionError> {
        self.check_open()?;
        let t = self.own_open(transfer)?;
        let has_begun_at_0 = t.restarted || t.started == Some(0);
        if t.named == 0 || t.total.is_some() || has_begun_at_0 || !t.is_open() {
            return Err(ActionError::WrongState(transfer));
        }
        self.unplan();
        let t = self.own_open(transfer)?;
        t.restart();
        self.restarts.push_back(transfer);
        Ok(())
    }

    /// Says that all bytes are queued, and their digest over the whole file.
    ///
    /// It is said once: when [`Event::Rewind`](super::Event::Rewind) comes after it, the data is sent
    /// again, and this not.
    ///
    /// # Errors
    ///
    /// [`ActionError::UnknownTransfer`]; [`WrongState`](ActionError::WrongState) before it is
    /// accepted, when bytes of the offered size are missing, while the digest of the prefix is
    /// not [confirmed](Self::confirm_prefix), a second time, or for a digest of another
    /// algorithm than the offer's (BLAKE3 if that has none); [`Closed`](ActionError::Closed).
    pub fn finish(
        &mut self,
        transfer: TransferId,
        digest: Option<Digest>,
    ) -> Result<ItemId, ActionError> {
        self.check_open()?;
        let t = self.own_open(transfer)?;
        let total = t.buffer.end();
        let is_whole = t.size.is_none_or(|size| size == total);
        let is_begun =
            t.is_file() && t.is_open() && t.total.is_none() && may_finish(t.digest, digest);
        if !is_begun || !is_whole || t.is_prefix_open {
            return Err(ActionError::WrongState(transfer));
        }
        let mut payload = Vec::new();
        Finish { total, digest }.encode(&mut payload)?;
        let item = self.push_item(Lane::Control, Kind::FINISH, transfer.to_wire(), &payload);
        let t = self.own_open(transfer)?;
        let was_waiting = t.waits_for_peer();
        t.total = Some(total);
        t.finish_item = Some(item.number);
        self.note_waiting(transfer, was_waiting);
        self.queue_data(transfer);
        Ok(item)
    }

    /// Asks the peer to end a transfer; nothing more of it is sent. Its verdict is the end, and
    /// may be that everything was stored. [`conclude`](Self::conclude) has an example of both ends.
    ///
    /// If the verdict does not come within the [stall time-out](super::ConfigBuilder::stall_timeout),
    /// counted from when the request left, the transfer is [abandoned](super::Event::Abandoned).
    ///
    /// # Errors
    ///
    /// [`ActionError::UnknownTransfer`]; [`WrongState`](ActionError::WrongState) the second time;
    /// [`Invalid`](ActionError::Invalid) for a text over 255 bytes or with a NUL, or for
    /// [`STORED`](TransferCode::STORED); [`Closed`](ActionError::Closed).
    pub fn cancel(
        &mut self,
        transfer: TransferId,
        code: TransferCode,
        text: &str,
    ) -> Result<ItemId, ActionError> {
        self.check_open()?;
        let t = self.own_open(transfer)?;
        if matches!(t.state, State::CancelAsked { .. }) {
            return Err(ActionError::WrongState(transfer));
        }
        let mut payload = Vec::new();
        Cancel { code, text: Cow::Borrowed(text) }.encode(&mut payload)?;
        // Frames of it that have not begun do not leave any more.
        self.unplan();
        let now = self.now;
        let t = self.own_open(transfer)?;
        t.state = State::CancelAsked { was_offered: t.state == State::Offered };
        t.progressed = now;
        t.news = super::outgoing::News { is_queued: t.news.is_queued, ..Default::default() };
        t.begin_at(t.sent);
        self.watch(transfer);
        Ok(self.push_item(Lane::Control, Kind::CANCEL, transfer.to_wire(), &payload))
    }

    /// Pauses a transfer of either side, or lets it go on, as far as this side is concerned.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::proto::Event;
    /// # use duologue::proto::Acceptance;
    /// # use duologue::time::Time;
    /// # use duologue::wire::Offer;
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
    /// // The server has accepted `file`. Either side can pause; here it is the receiver.
    /// server.pause(file, true)?;
    /// for event in carry(&mut server, &mut client, now) {
    ///     if let Event::Paused { item, transfer, is_paused } = event {
    ///         assert_eq!((transfer, is_paused), (file, true));
    ///         client.take(now, item);
    ///     }
    /// }
    ///
    /// // What is queued waits.
    /// client.send_data(file, 0, b"Once upon a time"[..].into())?;
    /// let is_data = |event: &Event<'_>| matches!(event, Event::Data { .. });
    /// assert!(!carry(&mut client, &mut server, now).iter().any(is_data));
    ///
    /// server.pause(file, false)?;
    /// for event in carry(&mut server, &mut client, now) {
    ///     event.item().into_iter().for_each(|item| client.take(now, item));
    /// }
    /// assert!(carry(&mut client, &mut server, now).iter().any(is_data));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ActionError::UnknownTransfer`]; [`WrongState`](ActionError::WrongState) for a batch, or
    /// once a cancel was asked; [`Blocked`](ActionError::Blocked) while the lane's queue is full;
    /// [`NotOpen`](ActionError::NotOpen) or [`Closed`](ActionError::Closed).
    pub fn pause(&mut self, transfer: TransferId, is_paused: bool) -> Result<(), ActionError> {
        self.set_paused(transfer, is_paused).map(|_| ())
    }

    /// [Pauses](Self::pause) it, or lets it go on; says whether that changes anything.
    pub(crate) fn set_paused(
        &mut self,
        transfer: TransferId,
        is_paused: bool,
    ) -> Result<bool, ActionError> {
        self.check_open()?;
        let now = self.now;
        let unknown = ActionError::UnknownTransfer(transfer);
        let (is_wrong, was_paused) =
            match (self.outgoing.get(&transfer), self.incoming.get(&transfer)) {
                (Some(t), _) => {
                    let is_over = matches!(t.state, State::CancelAsked { .. }) || t.is_silent;
                    (is_over || t.is_batch(), t.is_paused)
                }
                (None, Some(t)) => (t.is_cancel_asked || t.is_batch(), t.is_paused),
                (None, None) => return Err(unknown),
            };
        if is_wrong {
            return Err(ActionError::WrongState(transfer));
        }
        if was_paused == is_paused {
            return Ok(false);
        }
        let pause = Pause { is_paused };
        self.push_checked(Lane::Control, Kind::PAUSE, transfer.to_wire(), |out| pause.encode(out))?;
        if let Some(t) = self.outgoing.get_mut(&transfer) {
            (t.is_paused, t.progressed) = (is_paused, now);
        } else if let Some(t) = self.incoming.get_mut(&transfer) {
            (t.is_paused, t.progressed) = (is_paused, now);
        }
        // Data that has not begun does not leave any more.
        self.unplan_data(transfer);
        self.queue_data(transfer);
        self.watch(transfer);
        Ok(true)
    }

    fn own_open(&mut self, transfer: TransferId) -> Result<&mut Outgoing, ActionError> {
        self.outgoing.get_mut(&transfer).ok_or(ActionError::UnknownTransfer(transfer))
    }

    /// If the peer owes a transfer something from here on, its time begins here.
    pub(super) fn note_waiting(&mut self, transfer: TransferId, was_waiting: bool) {
        let now = self.now;
        if let Some(t) = self.outgoing.get_mut(&transfer) {
            if !was_waiting && t.waits_for_peer() {
                t.progressed = now;
            }
        }
        self.watch(transfer);
    }

    /// A frame of a transfer was taken back: its turn comes again before those that followed it.
    pub(super) fn requeue_data(&mut self, transfer: TransferId) {
        let Some(t) = self.outgoing.get_mut(&transfer) else { return };
        if !t.is_in_ring && !t.is_ready() {
            return;
        }
        if t.is_in_ring && self.ring.front() != Some(&transfer) {
            // It went to the back, where few have come since.
            if let Some(place) = self.ring.iter().rposition(|&other| other == transfer) {
                self.ring.remove(place);
                self.ring.push_front(transfer);
            }
        } else if !t.is_in_ring {
            t.is_in_ring = true;
            self.ring.push_front(transfer);
        }
    }

    /// Puts a transfer with data to send into the ring.
    pub(super) fn queue_data(&mut self, transfer: TransferId) {
        if let Some(t) = self.outgoing.get_mut(&transfer) {
            if !t.is_in_ring && t.is_ready() {
                t.is_in_ring = true;
                self.ring.push_back(transfer);
            }
        }
    }
}
