//! What the application does: messages, and taking what came.

use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use super::connection::{Connection, usize_from};
use super::error::ActionError;
use super::event::{Event, ItemId, Lane};
use crate::time::Time;
use crate::wire::{Chat, EncodeError, Kind, Message, Signal, TransferId, max_length};

/// Signals that wait at most; of more the oldest are dropped.
const SIGNALS: usize = 16;

impl Connection {
    /// Queues a line of chat. Its receipt will name the number.
    ///
    /// # Errors
    ///
    /// [`ActionError::Blocked`] while the lane's queue is full, [`TooLarge`](ActionError::TooLarge)
    /// for more than the peer accepts, [`Invalid`](ActionError::Invalid), and
    /// [`NotOpen`](ActionError::NotOpen) or [`Closed`](ActionError::Closed). Nothing is queued then.
    #[inline]
    pub fn send_chat(&mut self, chat: &Chat<'_>) -> Result<ItemId, ActionError> {
        self.push_message(Lane::Chat, Kind::CHAT, |out| chat.encode(out))
    }

    /// Queues an application message, as [`send_chat`](Self::send_chat) does a line of chat.
    ///
    /// # Errors
    ///
    /// Those of [`send_chat`](Self::send_chat).
    pub fn send_message(&mut self, message: &Message<'_>) -> Result<ItemId, ActionError> {
        self.push_message(Lane::Control, Kind::MESSAGE, |out| message.encode(out))
    }

    #[inline]
    fn push_message(
        &mut self,
        lane: Lane,
        kind: Kind,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<ItemId, ActionError> {
        self.check_open()?;
        self.push_checked(lane, kind, 0, encode)
    }

    /// Queues an item if there is room for it, and if it can ever be sent.
    #[inline]
    pub(super) fn push_checked(
        &mut self,
        lane: Lane,
        kind: Kind,
        id: u32,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<ItemId, ActionError> {
        match self.send.get_mut(lane).write(kind, id, encode) {
            Ok(item) => {
                self.unplan_less_urgent(lane);
                Ok(ItemId { lane, number: self.send.get_mut(lane).keep(item) })
            }
            Err(error) => {
                *self.is_blocked.get_mut(lane) |= error == ActionError::Blocked;
                Err(error)
            }
        }
    }

    /// Queues an item that must go, whatever waits before it.
    pub(super) fn push_item(&mut self, lane: Lane, kind: Kind, id: u32, payload: &[u8]) -> ItemId {
        self.unplan_less_urgent(lane);
        ItemId { lane, number: self.send.get_mut(lane).push(kind, id, payload) }
    }

    #[inline]
    fn unplan_less_urgent(&mut self, lane: Lane) {
        if self.link.as_ref().is_some_and(|link| link.plan.has_less_urgent(lane)) {
            self.unplan();
        }
    }

    /// Sends a signal, if it can go soon: it is not numbered, may be dropped, and never comes
    /// twice. Of more than 16 that wait the oldest are dropped; without a stream all are.
    ///
    /// # Errors
    ///
    /// [`ActionError::Invalid`] for a payload over 1024 bytes, [`TooLarge`](ActionError::TooLarge)
    /// for more than the peer accepts, [`NotOpen`](ActionError::NotOpen) or
    /// [`Closed`](ActionError::Closed).
    pub fn send_signal(&mut self, signal: &Signal<'_>) -> Result<(), ActionError> {
        self.check_open()?;
        let mut payload = Vec::new();
        signal.encode(&mut payload)?;
        let max = self.peer_limits().map_or(0, |limits| max_length(Kind::SIGNAL, limits));
        if payload.len() > usize_from(max) {
            return Err(ActionError::TooLarge { max: u64::from(max.saturating_sub(2)) });
        }
        if !self.is_detached() {
            self.unplan();
            while self.signals.len() >= SIGNALS {
                self.signals.pop_front();
            }
            let payload = Bytes::copy_from_slice(&signal.payload);
            self.signals.push_back((signal.signal_type, payload));
        }
        Ok(())
    }

    /// The application has taken an item and all before it in its lane: they are acknowledged,
    /// and the peer may send as many more. A number that was not handed out takes what was.
    ///
    /// Every item is to be taken, the last ones before a [`close`](Self::close) too: the peer's
    /// closing waits for that.
    pub fn take(&mut self, now: Time, item: ItemId) {
        let now = self.advance(now);
        let Some(lane) = self.receive.made(item.lane) else { return };
        let taken = lane.take(item.number);
        let accepts = self.accepts();
        if let Some(link) = self.link.as_mut().filter(|_| taken.items > 0) {
            link.acknowledgement.owe_for_taken(now, taken, accepts);
        }
    }

    pub(super) fn check_open(&self) -> Result<(), ActionError> {
        if self.is_closed || self.closing.is_some() {
            Err(ActionError::Closed)
        } else if !self.is_open {
            Err(ActionError::NotOpen)
        } else {
            Ok(())
        }
    }

    /// The peer has taken items of ours.
    pub(super) fn on_delivered(&mut self, lane: Lane, numbers: Range<u64>) {
        let delivered = self.delivered.get_mut(lane);
        if delivered.is_empty() {
            *delivered = numbers;
        } else {
            delivered.end = numbers.end;
        }
        if *self.is_blocked.get(lane) && self.send.get(lane).has_room(0) {
            *self.is_blocked.get_mut(lane) = false;
            self.events.push_back(Event::LaneWritable(lane));
        }
    }

    /// Items of ours that the peer has taken, and of which the application was not told: those of one
    /// lane.
    #[inline]
    pub(crate) fn take_delivered(&mut self) -> Option<(Lane, Range<u64>)> {
        let lane = if !self.delivered.chat.is_empty() {
            Lane::Chat
        } else if !self.delivered.control.is_empty() {
            Lane::Control
        } else {
            return None;
        };
        Some((lane, core::mem::replace(self.delivered.get_mut(lane), 0..0)))
    }

    /// Whether there are items to [take](Self::take_delivered).
    pub(super) fn has_delivered(&self) -> bool {
        !self.delivered.chat.is_empty() || !self.delivered.control.is_empty()
    }

    /// A transfer of ours has events to poll.
    pub(super) fn queue_news(&mut self, transfer: TransferId) {
        if let Some(t) = self.outgoing.get_mut(&transfer) {
            if !t.news.is_queued {
                t.news.is_queued = true;
                self.news.push_back(transfer);
            }
        }
    }

    /// Tells the application that there is room, if it was waiting for some.
    pub(super) fn tell_writable(&mut self, transfer: TransferId) {
        let send_buffer = u64::from(self.config.send_buffer);
        let Some(t) = self.outgoing.get_mut(&transfer) else { return };
        let capacity = t.capacity(send_buffer);
        // Room for little is not worth a call while more is on its way.
        let is_worth_it = capacity >= send_buffer / 4 || t.buffer.unsent() == 0;
        if t.is_blocked && capacity > 0 && is_worth_it {
            t.is_blocked = false;
            t.news.writable = true;
            self.queue_news(transfer);
        }
    }

    pub(super) fn poll_news(&mut self) -> Option<Event<'static>> {
        while let Some(&transfer) = self.news.front() {
            if let Some(t) = self.outgoing.get_mut(&transfer) {
                if let Some(offset) = t.news.rewind.take() {
                    return Some(Event::Rewind { transfer, offset });
                }
                if core::mem::take(&mut t.news.progress) {
                    let (received, durable) = (t.credit.received, t.credit.durable);
                    return Some(Event::Progress { transfer, received, durable });
                }
                if core::mem::take(&mut t.news.writable) {
                    return Some(Event::Writable { transfer, offset: t.buffer.end() });
                }
                t.news.is_queued = false;
            }
            self.news.pop_front();
        }
        None
    }
}
