use core::fmt;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::vec::Vec;

use bytes::Bytes;
use futures::io::{AsyncRead, AsyncWrite};

use super::driver::Driver;
use super::error::SessionError;
use super::events::Events;
use super::handle::Handle;
use super::outbound::Outbound;
use super::outgoing::{Outgoing, OutgoingBatch};
use super::receipts::Receipt;
use super::shared::{Key, Shared, State};
use super::waiters::{WaitFor, Waiting, wait_for};
use crate::proto::offer_limits::Needs;
use crate::proto::{ActionError, CloseReason, Connection, Lane, Statistics};
use crate::time::Timer;
use crate::wire::{
    Batch, Chat, CloseCode, ConversationId, EncodeError, Goodbye, Limits, Message, Offer, Signal,
    TransferId,
};

/// Drives a conversation over a stream: handles for the application, and a future that does the I/O.
///
/// The stream is any futures `AsyncRead + AsyncWrite`, the timer is any [`Timer`]. Nothing is
/// spawned: poll the [`Driver`] on whatever executor there is. The [module](super) has an example.
pub fn session<IO, T>(io: IO, connection: Connection, timer: T) -> (Session, Events, Driver<IO, T>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    start(io, connection, timer, Bytes::new())
}

/// [`session`], with bytes that were read from the stream already.
pub(super) fn start<IO, T: Timer>(
    io: IO,
    connection: Connection,
    timer: T,
    head: Bytes,
) -> (Session, Events, Driver<IO, T>) {
    let shared = Arc::new(Shared::new(connection, timer.now()));
    let driver = Driver::new(io, timer, Arc::clone(&shared), head);
    let handle = Handle::new(shared);
    (Session { handle: Arc::clone(&handle) }, Events::new(handle), driver)
}

/// One conversation, as its application holds it. Clones are handles of the same conversation.
///
/// When the last handle of any kind is dropped ([`Events`], transfers and offers count), the
/// conversation is closed as by [`close`](Self::close) with [`CloseCode::DONE`].
#[derive(Clone)]
pub struct Session {
    handle: Arc<Handle>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.with(|state| f.debug_tuple("Session").field(&state.connection).finish())
    }
}

impl Session {
    /// Sends a line of chat, as soon as the lane has room for it. Lines that are sent one by one
    /// leave together when the driver gets its turn.
    ///
    /// # Errors
    ///
    /// [`SessionError::Refused`] for more than the peer accepts, or before the conversation is open;
    /// [`Ended`](SessionError::Ended).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has sent nothing.
    pub async fn send_chat(&self, chat: &Chat<'_>) -> Result<Receipt, SessionError> {
        wait_for(&self.handle, &[WaitFor::Room(Lane::Chat)], |waiting| {
            self.try_send_chat(waiting, chat)
        })
        .await
    }

    /// [`send_chat`](Self::send_chat) as a poll.
    ///
    /// # Errors
    ///
    /// Those of [`send_chat`](Self::send_chat).
    pub fn poll_send_chat(
        &self,
        cx: &mut Context<'_>,
        chat: &Chat<'_>,
    ) -> Poll<Result<Receipt, SessionError>> {
        self.try_send_chat(&mut Waiting::task(cx), chat)
    }

    fn try_send_chat(
        &self,
        waiting: &mut Waiting<'_>,
        chat: &Chat<'_>,
    ) -> Poll<Result<Receipt, SessionError>> {
        self.handle.with(|state| {
            if let Err(error) = state.check_taking() {
                return Poll::Ready(Err(error));
            }
            let sent = state.connection.send_chat(chat);
            state.sent(waiting, Lane::Chat, sent)
        })
    }

    /// Sends many lines of chat, as many at a time as the lane has room for, under one lock. The
    /// slice is shortened by those that went. The receipt is that of the last, and so one for all;
    /// `None` if there were none.
    ///
    /// # Errors
    ///
    /// Those of [`send_chat`](Self::send_chat), for the first line of what is left of the slice.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has sent what is missing in the slice, and nothing twice.
    pub async fn send_chats(
        &self,
        chats: &mut &[Chat<'_>],
    ) -> Result<Option<Receipt>, SessionError> {
        let mut last = None;
        while !chats.is_empty() {
            let what = &[WaitFor::Room(Lane::Chat)];
            let sent = wait_for(&self.handle, what, |waiting| self.try_send_chats(waiting, chats));
            last = sent.await?;
        }
        Ok(last)
    }

    /// [`send_chats`](Self::send_chats) as a poll that is ready when some have gone: the receipt is
    /// that of the last of these.
    ///
    /// # Errors
    ///
    /// Those of [`send_chat`](Self::send_chat), for the first line of what is left of the slice.
    pub fn poll_send_chats(
        &self,
        cx: &mut Context<'_>,
        chats: &mut &[Chat<'_>],
    ) -> Poll<Result<Option<Receipt>, SessionError>> {
        self.try_send_chats(&mut Waiting::task(cx), chats)
    }

    fn try_send_chats(
        &self,
        waiting: &mut Waiting<'_>,
        chats: &mut &[Chat<'_>],
    ) -> Poll<Result<Option<Receipt>, SessionError>> {
        self.handle.with(|state| {
            if let Err(error) = state.check_taking() {
                return Poll::Ready(Err(error));
            }
            let mut last = None;
            for (sent, chat) in (1..).zip(*chats) {
                match state.connection.send_chat(chat) {
                    Ok(item) => last = Some((item, sent)),
                    Err(_) if last.is_some() => break,
                    Err(error) => {
                        return state.sent(waiting, Lane::Chat, Err(error)).map_ok(|_| None);
                    }
                }
            }
            state.wake_driver();
            Poll::Ready(Ok(last.map(|(item, sent)| {
                *chats = chats.get(sent..).unwrap_or_default();
                Receipt::new(item, &state.receipts)
            })))
        })
    }

    /// Sends an application message, as soon as the lane has room for it.
    ///
    /// # Errors
    ///
    /// Those of [`send_chat`](Self::send_chat).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has sent nothing.
    pub async fn send_message(&self, message: &Message<'_>) -> Result<Receipt, SessionError> {
        wait_for(&self.handle, &[WaitFor::Room(Lane::Control)], |waiting| {
            self.try_send_message(waiting, message)
        })
        .await
    }

    /// [`send_message`](Self::send_message) as a poll.
    ///
    /// # Errors
    ///
    /// Those of [`send_chat`](Self::send_chat).
    pub fn poll_send_message(
        &self,
        cx: &mut Context<'_>,
        message: &Message<'_>,
    ) -> Poll<Result<Receipt, SessionError>> {
        self.try_send_message(&mut Waiting::task(cx), message)
    }

    fn try_send_message(
        &self,
        waiting: &mut Waiting<'_>,
        message: &Message<'_>,
    ) -> Poll<Result<Receipt, SessionError>> {
        self.handle.with(|state| {
            if let Err(error) = state.check_taking() {
                return Poll::Ready(Err(error));
            }
            let sent = state.connection.send_message(message);
            state.sent(waiting, Lane::Control, sent)
        })
    }

    /// Sends a signal, if it can go soon: it may get lost, and never comes twice.
    ///
    /// # Errors
    ///
    /// [`SessionError::Refused`] for more than the peer accepts, or before the conversation is open;
    /// [`Ended`](SessionError::Ended).
    pub fn send_signal(&self, signal: &Signal<'_>) -> Result<(), SessionError> {
        self.handle.with(|state| {
            state.check_taking()?;
            let sent = state.connection.send_signal(signal);
            state.acted(sent)
        })
    }

    /// Offers a file, as soon as the peer allows one more.
    ///
    /// # Errors
    ///
    /// [`SessionError::Refused`] for an offer that cannot be sent, and before the conversation is
    /// open; with [`ActionError::PeerLimit`] when no end that is in sight makes room for it: the peer
    /// allows none at all, or what takes the places was given up
    /// ([`TransferError::Unanswered`](super::TransferError::Unanswered)), and nothing tells when that changes:
    /// let time pass before another try;
    /// [`Ended`](SessionError::Ended).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has offered nothing.
    pub async fn offer(&self, offer: &Offer<'_>) -> Result<Outgoing, SessionError> {
        wait_for(&self.handle, &TO_OFFER, |waiting| poll_offer(&self.handle, waiting, offer, None))
            .await
    }

    /// [`offer`](Self::offer) as a poll.
    ///
    /// # Errors
    ///
    /// Those of [`offer`](Self::offer).
    pub fn poll_offer(
        &self,
        cx: &mut Context<'_>,
        offer: &Offer<'_>,
    ) -> Poll<Result<Outgoing, SessionError>> {
        poll_offer(&self.handle, &mut Waiting::task(cx), offer, None)
    }

    /// Offers many files at once, a folder say, as soon as the peer allows one more transfer.
    ///
    /// # Errors
    ///
    /// Those of [`offer`](Self::offer).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has offered nothing.
    pub async fn offer_batch(&self, batch: &Batch<'_>) -> Result<OutgoingBatch, SessionError> {
        wait_for(&self.handle, &TO_OFFER, |waiting| self.try_offer_batch(waiting, batch)).await
    }

    /// [`offer_batch`](Self::offer_batch) as a poll.
    ///
    /// # Errors
    ///
    /// Those of [`offer`](Self::offer).
    pub fn poll_offer_batch(
        &self,
        cx: &mut Context<'_>,
        batch: &Batch<'_>,
    ) -> Poll<Result<OutgoingBatch, SessionError>> {
        self.try_offer_batch(&mut Waiting::task(cx), batch)
    }

    fn try_offer_batch(
        &self,
        waiting: &mut Waiting<'_>,
        batch: &Batch<'_>,
    ) -> Poll<Result<OutgoingBatch, SessionError>> {
        let needs = Needs::of_batch(batch);
        let offered = poll_transfer(&self.handle, waiting, None, needs, |state| {
            state.connection.offer_batch(batch, state.now)
        });
        offered.map_ok(|key| OutgoingBatch::new(Arc::clone(&self.handle), key))
    }

    /// Accepts the peer, when the driver [asks](Driver::ask_for_peer): whoever said what has this
    /// [`handshake_hash`](super::Event::PeerHello), and nobody who is on another stream by now. Once more
    /// does nothing.
    ///
    /// # Errors
    ///
    /// [`SessionError::Refused`] before the peer's HELLO has come, and when the hash is that of a stream
    /// that is broken: another [`Event::PeerHello`](super::Event::PeerHello) follows;
    /// [`Ended`](SessionError::Ended).
    pub fn accept_peer(&self, handshake_hash: &[u8; 32]) -> Result<(), SessionError> {
        self.handle.with(|state| {
            let accepted = state
                .connection
                .check_handshake(handshake_hash)
                .and_then(|()| state.connection.accept_peer(state.now));
            // A conversation that begins anew has other numbers from now on.
            state.route_all();
            state.acted(accepted)
        })
    }

    /// Does not accept the peer, for a reason of at most 255 bytes that it is told, and ends the
    /// conversation: whoever said what has this [`handshake_hash`](super::Event::PeerHello), and
    /// nobody who is on another stream by now. While there is no stream it ends, too. Who was accepted by a
    /// listener and comes back is not asked about again: [close](Self::close) the conversation instead.
    ///
    /// # Errors
    ///
    /// [`SessionError::Refused`] for a longer text, before the peer's HELLO has come, and when another
    /// stream has come since: another [`Event::PeerHello`](super::Event::PeerHello) follows;
    /// [`Ended`](SessionError::Ended).
    pub fn refuse_peer(
        &self,
        handshake_hash: &[u8; 32],
        code: CloseCode,
        text: &str,
    ) -> Result<(), SessionError> {
        self.handle.with(|state| {
            let is_other = state.connection.has_stream()
                && state.connection.check_handshake(handshake_hash).is_err();
            let refused = if is_other {
                Err(ActionError::NotOpen)
            } else {
                state.connection.refuse_peer(code, text, state.now)
            };
            state.acted(refused)
        })
    }

    /// Sends authentication bytes: at most 16384, at most three times on each stream. They are for
    /// whoever said what has this [`handshake_hash`](super::Event::PeerHello), and are not sent to
    /// somebody who is on another stream by now.
    ///
    /// The driver has to [ask](Driver::ask_for_peer), on this side, too: otherwise the peer is accepted
    /// before this can be called, and whoever waits for the bytes waits until
    /// [`HandshakeTimedOut`](crate::proto::Error::HandshakeTimedOut).
    /// [Who may connect](super#who-may-connect) has the whole.
    ///
    /// # Errors
    ///
    /// [`SessionError::Refused`] outside of the handshake, for more, and when the hash is that of a
    /// stream that is broken: another [`Event::PeerHello`](super::Event::PeerHello) follows;
    /// [`Ended`](SessionError::Ended).
    pub fn authenticate(
        &self,
        handshake_hash: &[u8; 32],
        bytes: &[u8],
    ) -> Result<(), SessionError> {
        self.handle.with(|state| {
            let sent = state
                .connection
                .check_handshake(handshake_hash)
                .and_then(|()| state.connection.authenticate(bytes));
            state.acted(sent)
        })
    }

    /// Closes gracefully: no more is taken, what is queued is still delivered, and the peer is told
    /// this code and text of at most 255 bytes. Transfers are not waited for. Wait for the end with
    /// [`closed`](Self::closed).
    ///
    /// # Errors
    ///
    /// [`SessionError::Refused`] for a longer text or one with a NUL;
    /// [`Ended`](SessionError::Ended).
    pub fn close(&self, code: CloseCode, text: &str) -> Result<(), SessionError> {
        if let Err(error) = check_goodbye(code, text) {
            return Err(SessionError::Refused(ActionError::Invalid(error)));
        }
        self.handle.with(|state| match state.ended() {
            Some(reason) => Err(SessionError::Ended(reason)),
            None => {
                state.close(code, text);
                Ok(())
            }
        })
    }

    /// Waits until the conversation is open for the first time: until the handshake is over, and
    /// messages and offers are taken. It is at once from then on, even while there is no stream.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`] when it has ended, as after a handshake that failed.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again.
    pub async fn opened(&self) -> Result<(), SessionError> {
        wait_for(&self.handle, &[WaitFor::Open], |waiting| self.has_opened(waiting)).await
    }

    /// [`opened`](Self::opened) as a poll.
    ///
    /// # Errors
    ///
    /// Those of [`opened`](Self::opened).
    pub fn poll_opened(&self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.has_opened(&mut Waiting::task(cx))
    }

    fn has_opened(&self, waiting: &mut Waiting<'_>) -> Poll<Result<(), SessionError>> {
        self.handle.with(|state| match state.ended() {
            Some(reason) => Poll::Ready(Err(SessionError::Ended(reason))),
            None if state.connection.is_open() => Poll::Ready(Ok(())),
            None => {
                state.wait(WaitFor::Open, waiting);
                Poll::Pending
            }
        })
    }

    /// Waits until the conversation has ended.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again.
    pub async fn closed(&self) -> CloseReason {
        wait_for(&self.handle, &[WaitFor::End], |waiting| self.has_closed(waiting)).await
    }

    /// [`closed`](Self::closed) as a poll.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.has_closed(&mut Waiting::task(cx))
    }

    fn has_closed(&self, waiting: &mut Waiting<'_>) -> Poll<CloseReason> {
        self.handle.with(|state| match state.ended() {
            Some(reason) => Poll::Ready(reason),
            None => {
                state.wait(WaitFor::End, waiting);
                Poll::Pending
            }
        })
    }

    /// Limits the file data that this side sends to so many bytes a second, at least 1, from now on;
    /// `None`, the default, sets no limit. Messages are not limited, and transfers that wait get
    /// their turn one after the other.
    ///
    /// A chunk goes as one, and the wait comes after it. So keep chunks small beside the limit: one
    /// that is worth more than the peer's [stall time-out](crate::proto::ConfigBuilder::stall_timeout)
    /// makes it give up the transfer before the next.
    pub fn set_rate_limit(&self, bytes_per_second: Option<u64>) {
        self.handle.with(|state| {
            state.rate_limit.set(bytes_per_second, state.now, &mut state.wake);
            if bytes_per_second.is_none() {
                state.rate_limit.clear();
            }
            state.wake_driver();
        });
    }

    /// The limit on the file data that this side sends, in bytes a second.
    pub fn rate_limit(&self) -> Option<u64> {
        self.handle.with(|state| state.rate_limit.get())
    }

    /// The counts so far, and the state of the present stream.
    pub fn statistics(&self) -> Statistics {
        self.handle.with(|state| state.connection.statistics())
    }

    /// The name of the conversation.
    pub fn conversation(&self) -> ConversationId {
        self.handle.with(|state| state.connection.conversation())
    }

    /// What the peer accepts, once its HELLO has come.
    pub fn peer_limits(&self) -> Option<Limits> {
        self.handle.with(|state| state.connection.peer_limits().copied())
    }

    /// BLAKE3 over both sides' HELLO and the channel binding of the present stream.
    pub fn handshake_hash(&self) -> Option<[u8; 32]> {
        self.handle.with(|state| state.connection.handshake_hash())
    }

    /// Whether messages and offers are taken, though there may be no stream at the moment.
    pub fn is_open(&self) -> bool {
        self.handle.with(|state| state.connection.is_open() && state.requests.close.is_none())
    }

    /// Whether the conversation is open but has no stream, or one that is not ready yet.
    pub fn is_detached(&self) -> bool {
        self.handle.with(|state| state.connection.is_detached())
    }
}

impl State {
    /// An item was sent, or has to wait for room in its lane.
    fn sent(
        &mut self,
        waiting: &mut Waiting<'_>,
        lane: Lane,
        sent: Result<crate::proto::ItemId, ActionError>,
    ) -> Poll<Result<Receipt, SessionError>> {
        match sent {
            Ok(item) => {
                self.wake_driver();
                Poll::Ready(Ok(Receipt::new(item, &self.receipts)))
            }
            Err(ActionError::Blocked) => {
                self.wait(WaitFor::Room(lane), waiting);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(self.error(error))),
        }
    }
}

/// What an offer may have to wait for.
pub(super) const TO_OFFER: [WaitFor; 2] = [WaitFor::Room(Lane::Control), WaitFor::Offer];

pub(super) fn poll_offer(
    handle: &Arc<Handle>,
    waiting: &mut Waiting<'_>,
    offer: &Offer<'_>,
    batch: Option<Key>,
) -> Poll<Result<Outgoing, SessionError>> {
    let needs = Needs::of(offer);
    let offered = poll_transfer(handle, waiting, offer.size, needs, |state| match batch {
        Some(batch) if !state.is_current(batch) => {
            Err(ActionError::UnknownTransfer(batch.transfer))
        }
        _ => state.connection.offer(offer, state.now),
    });
    offered.map_ok(|key| Outgoing::new(Arc::clone(handle), key))
}

fn poll_transfer(
    handle: &Handle,
    waiting: &mut Waiting<'_>,
    size: Option<u64>,
    needs: Needs,
    offer: impl FnOnce(&mut State) -> Result<TransferId, ActionError>,
) -> Poll<Result<Key, SessionError>> {
    handle.with(|state| match state.check_taking().map(|()| offer(state)) {
        Err(error) => Poll::Ready(Err(error)),
        Ok(Ok(transfer)) => {
            let key = state.key(transfer);
            state.outbound.insert(key, Outbound::new(size, needs == Needs::Place));
            state.requests.restart.push(transfer);
            state.wake_driver();
            Poll::Ready(Ok(key))
        }
        Ok(Err(ActionError::Blocked)) => {
            state.wait(WaitFor::Room(Lane::Control), waiting);
            Poll::Pending
        }
        Ok(Err(ActionError::PeerLimit)) if state.connection.may_offer_later(needs) => {
            state.wait(WaitFor::Offer, waiting);
            Poll::Pending
        }
        Ok(Err(error)) => Poll::Ready(Err(state.error(error))),
    })
}

fn check_goodbye(code: CloseCode, text: &str) -> Result<(), EncodeError> {
    Goodbye { code, text: text.into() }.encode(&mut Vec::new())
}
