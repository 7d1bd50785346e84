use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use futures::stream::{FusedStream, Stream};

use super::chats::Chats;
use super::handle::Handle;
use super::offer::{BatchOffer, IncomingOffer};
use super::queue::Told;
use super::shared::{Key, State};
use crate::io::TransportError;
use crate::proto::{self, CloseReason, DetachReason, ItemId, Lane, Opening};
use crate::wire::{Chat, CloseCode, Message, Signal};

/// Something that the application should know.
///
/// Transfers tell the rest through their own handles. `Debug` shows lengths instead of what the peer
/// wrote.
#[non_exhaustive]
pub enum Event {
    /// The peer's HELLO came, and the driver was told to
    /// [ask](super::Driver::ask_for_peer): decide with
    /// [`accept_peer`](super::Session::accept_peer) or
    /// [`refuse_peer`](super::Session::refuse_peer), after any authentication.
    PeerHello {
        /// BLAKE3 over both sides' HELLO and the channel binding, for authentication to sign.
        handshake_hash: [u8; 32],
        /// Whether the conversation is to be resumed.
        is_resuming: bool,
    },
    /// The peer sent authentication bytes.
    Authentication(Vec<u8>),
    /// Both sides have accepted: the conversation is open.
    Open(Opening),
    /// The peer says something. Its receipt there says *delivered* from now on.
    Chat(Chat<'static>),
    /// An application message, likewise.
    Message(Message<'static>),
    /// A signal, which may get lost.
    Signal(Signal<'static>),
    /// The peer offers a file: accept or reject it; dropped it is rejected.
    Offer(IncomingOffer),
    /// The peer offers many files at once.
    Batch(BatchOffer),
    /// The stream broke. The conversation can go on over another one.
    Detached(DetachReason),
    /// Another stream will be made after this wait, see
    /// [`Driver::reconnecting`](super::Driver::reconnecting).
    Attempt {
        /// Its number, from 1, since the conversation was last open.
        number: u32,
        /// How long it waits.
        wait: Duration,
        /// What the last stream, or the last attempt, failed with, if it is known.
        failure: Option<TransportError>,
    },
    /// The peer says goodbye.
    Goodbye {
        /// Why.
        code: CloseCode,
        /// Why, in the peer's words: escape them before showing them.
        text: String,
    },
    /// The conversation has ended. It is the last event.
    Closed(CloseReason),
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |len: usize| format!("{len} bytes");
        match self {
            Self::PeerHello { is_resuming, .. } => {
                f.debug_struct("PeerHello").field("is_resuming", is_resuming).finish()
            }
            Self::Authentication(token) => write!(f, "Authentication({})", bytes(token.len())),
            Self::Open(opening) => f.debug_tuple("Open").field(opening).finish(),
            Self::Chat(chat) => chat.fmt(f),
            Self::Message(message) => message.fmt(f),
            Self::Signal(signal) => signal.fmt(f),
            Self::Offer(offer) => offer.fmt(f),
            Self::Batch(batch) => batch.fmt(f),
            Self::Detached(reason) => f.debug_tuple("Detached").field(reason).finish(),
            Self::Attempt { number, wait, failure } => f
                .debug_struct("Attempt")
                .field("number", number)
                .field("wait", wait)
                .field("failure", failure)
                .finish(),
            Self::Goodbye { code, text } => {
                write!(f, "Goodbye {{ code: {code}, text: {} }}", bytes(text.len()))
            }
            Self::Closed(reason) => f.debug_tuple("Closed").field(reason).finish(),
        }
    }
}

/// The events of a conversation, in their order: a [`Stream`] that ends after [`Event::Closed`].
///
/// An event that is polled is taken: the peer's receipt then says *delivered*. What is not polled
/// is bounded: the peer waits.
///
/// Dropped, messages that come later are never taken, so the peer is never told that they were
/// delivered; offers are rejected.
///
/// # Cancel safety
///
/// [`next`](futures::StreamExt::next) can be dropped at any time: no event is lost.
pub struct Events {
    handle: Arc<Handle>,
    has_ended: bool,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("has_ended", &self.has_ended).finish_non_exhaustive()
    }
}

impl Events {
    pub(super) fn new(handle: Arc<Handle>) -> Self {
        Self { handle, has_ended: false }
    }

    /// Takes the lines of chat that are next, as many as there are, under one lock and without an
    /// allocation for each: none unless a line without attributes is next. It does not wait; the first
    /// line comes from [`next`](futures::StreamExt::next).
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::session::{Event, Events};
    /// use futures::StreamExt;
    ///
    /// async fn count(mut events: Events) -> usize {
    ///     let mut lines = 0;
    ///     while let Some(event) = events.next().await {
    ///         if let Event::Chat(_) = event {
    ///             lines += 1 + events.ready_chats().len();
    ///         }
    ///     }
    ///     lines
    /// }
    /// # drop(count);
    /// ```
    pub fn ready_chats(&mut self) -> Chats {
        self.handle.with(|state| {
            let (chats, last) = state.queue.take_chats();
            if let Some(last) = last {
                state.take(Lane::Chat, last);
                state.wake_driver();
            }
            chats
        })
    }

    /// Takes the plain line of chat that is next; `None` if it is another event.
    fn poll_line(&self, cx: &Context<'_>) -> Poll<Option<String>> {
        self.handle.with(|state| {
            let polled = state.queue.poll_line(cx, &mut state.wake);
            polled.map(|line| {
                let (generation, number, text) = line?;
                state.has_taken(generation, ItemId { lane: Lane::Chat, number });
                Some(text)
            })
        })
    }

    /// Takes the event that is next.
    fn next_told(&self) -> Option<(u32, Told)> {
        self.handle.with(|state| {
            let (generation, told) = state.queue.pop()?;
            if let Some(item) = told.item() {
                state.has_taken(generation, item);
            }
            Some((generation, told))
        })
    }

    /// The event as the application sees it.
    fn convert(&self, generation: u32, told: Told) -> Option<Event> {
        use proto::Event as Machine;
        let event = match told {
            Told::Attempt { number, wait, failure } => {
                return Some(Event::Attempt { number, wait, failure });
            }
            Told::Event(event) => event,
            // The queue gives them line by line.
            Told::Chats(_) => return None,
        };
        Some(match event {
            Machine::PeerHello { handshake_hash, is_resuming } => {
                Event::PeerHello { handshake_hash, is_resuming }
            }
            Machine::Authentication(bytes) => Event::Authentication(bytes.into_owned()),
            Machine::Open(opening) => Event::Open(opening),
            Machine::Chat { chat, .. } => Event::Chat(chat),
            Machine::Message { message, .. } => Event::Message(message),
            Machine::Signal(signal) => Event::Signal(signal),
            Machine::Offered { transfer, offer, .. } => {
                let key = Key { generation, transfer };
                Event::Offer(IncomingOffer::new(Arc::clone(&self.handle), key, offer))
            }
            Machine::BatchOffered { transfer, batch, .. } => {
                let key = Key { generation, transfer };
                Event::Batch(BatchOffer::new(Arc::clone(&self.handle), key, batch))
            }
            Machine::Detached(reason) => Event::Detached(reason),
            Machine::Goodbye { code, text } => Event::Goodbye { code, text: text.into_owned() },
            Machine::Closed(reason) => Event::Closed(reason),
            // The rest is for the handles of transfers.
            _ => return None,
        })
    }
}

impl State {
    /// The application has an item: of before it began anew there is nothing to acknowledge any more.
    fn has_taken(&mut self, generation: u32, item: ItemId) {
        if generation == self.generation {
            self.take(item.lane, item.number);
            self.wake_driver();
        }
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if self.has_ended {
                return Poll::Ready(None);
            }
            // Events are large. So a line comes by itself, and any other by a second look.
            match self.poll_line(cx) {
                Poll::Ready(Some(text)) => return Poll::Ready(Some(Event::Chat(Chat::new(text)))),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
            let Some((generation, told)) = self.next_told() else { continue };
            if let Some(event) = self.convert(generation, told) {
                self.has_ended = matches!(event, Event::Closed(_));
                return Poll::Ready(Some(event));
            }
        }
    }
}

impl FusedStream for Events {
    fn is_terminated(&self) -> bool {
        self.has_ended
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Offers that wait reject themselves when they are dropped, outside the lock.
        let left = self.handle.with(State::abandon_events);
        left.into_iter().for_each(|(generation, told)| drop(self.convert(generation, told)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_peer_sent_is_printed() {
        let text = "hunter2".to_owned();
        for event in [
            Event::Authentication(text.clone().into_bytes()),
            Event::Goodbye { code: CloseCode::DONE, text: text.clone() },
            Event::Chat(Chat::new(text.clone())),
        ] {
            let shown = format!("{event:?}");
            assert!(shown.contains("7 bytes"), "{shown}");
            assert!(!shown.contains(&text) && !shown.contains("104, 117"), "{shown}");
        }
    }
}
