use core::fmt;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::vec::Vec;

use bytes::Bytes;
use futures::future::poll_fn;
use futures::io::{AsyncRead, AsyncWrite};

use super::driver::Driver;
use super::error::SessionError;
use super::events::Events;
use super::handle::Handle;
use super::outbound::Outbound;
use super::outgoing::{Outgoing, OutgoingBatch};
use super::receipts::Receipt;
use super::shared::{Key, Shared, State, wait};
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
        poll_fn(|cx| self.poll_send_chat(cx, chat)).await
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
        self.handle.with(|state| {
            if let Err(error) = state.check_taking() {
                return Poll::Ready(Err(error));
            }
            let sent = state.connection.send_chat(chat);
            state.sent(cx, Lane::Chat, sent)
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
        while let Some((receipt, sent)) = poll_fn(|cx| self.poll_send_chats(cx, chats)).await? {
            *chats = chats.get(sent..).unwrap_or_default();
            last = Some(receipt);
        }
        Ok(last)
    }

    fn poll_send_chats(
        &self,
        cx: &mut Context<'_>,
        chats: &[Chat<'_>],
    ) -> Poll<Result<Option<(Receipt, usize)>, SessionError>> {
        self.handle.with(|state| {
            if let Err(error) = state.check_taking() {
                return Poll::Ready(Err(error));
            }
            let mut last = None;
            for (sent, chat) in (1..).zip(chats) {
                match state.connection.send_chat(chat) {
                    Ok(item) => last = Some((item, sent)),
                    Err(_) if last.is_some() => break,
                    Err(error) => {
                        return state.sent(cx, Lane::Chat, Err(error)).map_ok(|_| None);
                    }
                }
            }
            state.wake_driver();
            let receipt = last.map(|(item, sent)| (Receipt::new(item, &state.receipts), sent));
            Poll::Ready(Ok(receipt))
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
        poll_fn(|cx| self.poll_send_message(cx, message)).await
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
        self.handle.with(|state| {
            if let Err(error) = state.check_taking() {
                return Poll::Ready(Err(error));
            }
            let sent = state.connection.send_message(message);
            state.sent(cx, Lane::Control, sent)
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
    /// open; [`Ended`](SessionError::Ended).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has offered nothing.
    pub async fn offer(&self, offer: &Offer<'_>) -> Result<Outgoing, SessionError> {
        self::offer(&self.handle, offer, None).await
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
        let key = poll_fn(|cx| {
            poll_offer(&self.handle, cx, None, false, |state| {
                state.connection.offer_batch(batch, state.now)
            })
        })
        .await?;
        Ok(OutgoingBatch::new(Arc::clone(&self.handle), key))
    }

    /// Accepts the peer, when the driver [asks](Driver::ask_for_peer). Once more does nothing.
    ///
    /// # Errors
    ///
    /// [`SessionError::Refused`] before the peer's HELLO has come; [`Ended`](SessionError::Ended).
    pub fn accept_peer(&self) -> Result<(), SessionError> {
        self.handle.with(|state| {
            let accepted = state.connection.accept_peer(state.now);
            state.acted(accepted)
        })
    }

    /// Does not accept the peer, for a reason of at most 255 bytes that it is told.
    ///
    /// # Errors
    ///
    /// [`SessionError::Refused`] for a longer text; [`Ended`](SessionError::Ended).
    pub fn refuse_peer(&self, code: CloseCode, text: &str) -> Result<(), SessionError> {
        self.handle.with(|state| {
            let refused = state.connection.refuse_peer(code, text, state.now);
            state.acted(refused)
        })
    }

    /// Sends authentication bytes: at most 16384, at most three times on each stream.
    ///
    /// # Errors
    ///
    /// [`SessionError::Refused`] outside of the handshake, or for more;
    /// [`Ended`](SessionError::Ended).
    pub fn authenticate(&self, bytes: &[u8]) -> Result<(), SessionError> {
        self.handle.with(|state| {
            let sent = state.connection.authenticate(bytes);
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
        self.handle.with(|state| match state.ended {
            Some(reason) => Err(SessionError::Ended(reason)),
            None => {
                state.close(code, text);
                Ok(())
            }
        })
    }

    /// Waits until the conversation has ended.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again.
    pub async fn closed(&self) -> CloseReason {
        poll_fn(|cx| {
            self.handle.with(|state| match state.ended {
                Some(reason) => Poll::Ready(reason),
                None => {
                    wait(&mut state.end_waiters, cx);
                    Poll::Pending
                }
            })
        })
        .await
    }

    /// Limits the file data that this side sends to so many bytes a second, from now on; `None`,
    /// the default, sets no limit. Messages are not limited.
    pub fn set_rate_limit(&self, bytes_per_second: Option<u64>) {
        self.handle.with(|state| {
            state.rate_limit.set(bytes_per_second, state.now, &mut state.wake);
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
        cx: &Context<'_>,
        lane: Lane,
        sent: Result<crate::proto::ItemId, ActionError>,
    ) -> Poll<Result<Receipt, SessionError>> {
        match sent {
            Ok(item) => {
                self.wake_driver();
                Poll::Ready(Ok(Receipt::new(item, &self.receipts)))
            }
            Err(ActionError::Blocked) => {
                let [chat, control] = &mut self.lane_waiters;
                wait(if lane == Lane::Chat { chat } else { control }, cx);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(self.error(error))),
        }
    }
}

pub(super) async fn offer(
    handle: &Arc<Handle>,
    offer: &Offer<'_>,
    batch: Option<Key>,
) -> Result<Outgoing, SessionError> {
    let is_member = offer.batch.is_some();
    let key = poll_fn(|cx| {
        poll_offer(handle, cx, offer.size, is_member, |state| match batch {
            Some(batch) if !state.is_current(batch) => {
                Err(ActionError::UnknownTransfer(batch.transfer))
            }
            _ => state.connection.offer(offer, state.now),
        })
    })
    .await?;
    Ok(Outgoing::new(Arc::clone(handle), key))
}

fn poll_offer(
    handle: &Handle,
    cx: &Context<'_>,
    size: Option<u64>,
    is_member: bool,
    offer: impl FnOnce(&mut State) -> Result<TransferId, ActionError>,
) -> Poll<Result<Key, SessionError>> {
    handle.with(|state| match state.check_taking().map(|()| offer(state)) {
        Err(error) => Poll::Ready(Err(error)),
        Ok(Ok(transfer)) => {
            let key = state.key(transfer);
            state.outbound.insert(key, Outbound::new(size, is_member));
            state.wake_driver();
            Poll::Ready(Ok(key))
        }
        Ok(Err(ActionError::Blocked)) => {
            let [_, control] = &mut state.lane_waiters;
            wait(control, cx);
            Poll::Pending
        }
        Ok(Err(ActionError::PeerLimit)) if state.may_offer_later() => {
            wait(&mut state.offer_waiters, cx);
            Poll::Pending
        }
        Ok(Err(error)) => Poll::Ready(Err(state.error(error))),
    })
}

impl State {
    /// Whether a limit on offers is one of the moment, rather than none being allowed at all.
    fn may_offer_later(&self) -> bool {
        !self.outbound.is_empty()
    }
}

fn check_goodbye(code: CloseCode, text: &str) -> Result<(), EncodeError> {
    Goodbye { code, text: text.into() }.encode(&mut Vec::new())
}
