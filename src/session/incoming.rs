use core::fmt;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use futures::future::poll_fn;
use futures::io::AsyncRead;

#[cfg(feature = "fs")]
use super::alarms::Alarm;
use super::error::TransferError;
use super::handle::Handle;
use super::inbound::{Chunk, Inbound};
use super::progress::Progress;
use super::shared::{Key, State};
use super::waiters::{WaitFor, Waiting};
use crate::proto::Conclusion;
use crate::wire::{Finish, Offer, TransferCode, TransferId};

/// Chunks that were taken together are released in so many parts as they are handed out, so that the
/// sender goes on meanwhile.
const SHARES: usize = 4;

/// A file that is being received.
///
/// Read it as [chunks](Self::next), which are not copied, or as an [`AsyncRead`], with a copy more.
/// At its end compare [what the sender said](Self::finish) with what came, and say what became of
/// it: [`stored`](Self::stored) or [`failed`](Self::failed), which the sender waits for.
///
/// Bytes count against the window until they are handed out, or a little longer: those that wait
/// together count in quarters. So a slow reader slows down its own file and nothing else.
///
/// Dropped without a conclusion, it is concluded as *cancelled*.
pub struct Incoming {
    handle: Arc<Handle>,
    key: Key,
    /// Chunks that were taken together, and not handed out yet.
    ready: VecDeque<Chunk>,
    /// Bytes that were handed out and not released, and how many of them are released together.
    handed: usize,
    share: usize,
    /// Of the last chunk what the `AsyncRead` has not copied yet.
    rest: bytes::Bytes,
    /// Where the `AsyncRead` is.
    read: u64,
    is_concluded: bool,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("transfer", &self.key.transfer).finish_non_exhaustive()
    }
}

impl Incoming {
    pub(super) fn new(handle: Arc<Handle>, key: Key) -> Self {
        let read = handle.with(|state| state.inbound.get(&key).map_or(0, |t| t.position));
        Self {
            handle,
            key,
            ready: VecDeque::new(),
            handed: 0,
            share: 0,
            rest: bytes::Bytes::new(),
            read,
            is_concluded: false,
        }
    }

    /// Its id, the same on both sides.
    pub fn id(&self) -> TransferId {
        self.key.transfer
    }

    /// The next bytes; `None` once all have come.
    ///
    /// A chunk begins where the last ended, except that it begins at 0 once if the file was
    /// [accepted in part](super::IncomingOffer::accept_part) and the sender has another one.
    ///
    /// # Errors
    ///
    /// [`TransferError::CancelAsked`] when the sender asks to end it, after the bytes that came
    /// before; [`Abandoned`](TransferError::Abandoned) when the conversation has ended;
    /// [`Expired`](TransferError::Expired).
    ///
    /// # Cancel safety
    ///
    /// No byte is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Chunk>, TransferError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next) as a poll.
    ///
    /// # Errors
    ///
    /// Those of [`next`](Self::next).
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Chunk>, TransferError>> {
        if let Some(chunk) = self.ready.pop_front() {
            self.handed = self.handed.saturating_add(chunk.data.len());
            if self.ready.is_empty() || self.handed >= self.share {
                self.handle.with(|state| state.release(self.key, mem::take(&mut self.handed)));
            }
            return Poll::Ready(Ok(Some(chunk)));
        }
        // All that wait are taken together, and released in quarters as they are handed out.
        let (mut ready, mut handed, mut share) = (mem::take(&mut self.ready), 0, 0);
        let polled = self.poll_with(cx, |state, key| {
            let t = inbound(state, key)?;
            let Some(chunk) = t.chunks.take_all(&mut ready) else {
                return Ok(t.is_read().then_some(None));
            };
            let last = ready.back().unwrap_or(&chunk);
            t.position = last.offset.saturating_add(last.data.len() as u64);
            let waiting = ready.iter().map(|chunk| chunk.data.len()).fold(0, usize::saturating_add);
            handed = chunk.data.len();
            share = handed.saturating_add(waiting) / SHARES;
            if ready.is_empty() || handed >= share {
                state.release(key, mem::take(&mut handed));
            }
            Ok(Some(Some(chunk)))
        });
        (self.ready, self.handed, self.share) = (ready, handed, share);
        polled
    }

    /// What the sender said at the end: bytes in all, and their digest. Known once
    /// [`next`](Self::next) has returned `None`, perhaps earlier.
    pub fn finish(&self) -> Option<Finish> {
        self.handle.with(|state| state.inbound.get(&self.key)?.finish)
    }

    /// Ready when so much time has passed since the first poll; the next one begins anew. It is the
    /// driver that measures it: without one nothing happens.
    #[cfg(feature = "fs")]
    pub(crate) fn poll_alarm(&self, cx: &Context<'_>, after: core::time::Duration) -> Poll<()> {
        let key = self.key;
        self.handle.with(|state| {
            let Some(t) = state.inbound.get_mut(&key) else { return Poll::Pending };
            match t.alarm {
                Alarm::Rang => {
                    t.alarm = Alarm::None;
                    return Poll::Ready(());
                }
                Alarm::Waits => {}
                Alarm::None => {
                    t.alarm = Alarm::Waits;
                    state.alarms.ask(key, after);
                    state.wake_driver();
                }
            }
            state.wait(WaitFor::Transfer(key), &mut Waiting::handle(cx));
            Poll::Pending
        })
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.handle.with(|state| {
            state.inbound.get(&self.key).map(|t| t.meter.progress).unwrap_or_default()
        })
    }

    /// Whether the conversation has no stream at the moment, as
    /// [`Session::is_detached`](super::Session::is_detached) says. [`poll_next`](Self::poll_next) is
    /// woken when that begins.
    pub fn is_detached(&self) -> bool {
        self.handle.with(|state| state.connection.is_detached())
    }

    /// Whether the sender has paused it.
    pub fn is_paused_by_peer(&self) -> bool {
        self.handle.with(|state| state.inbound.get(&self.key).is_some_and(|t| t.is_paused_by_peer))
    }

    /// Asks the sender to pause, or to go on.
    ///
    /// # Errors
    ///
    /// [`TransferError::Refused`], as for
    /// [`Connection::pause`](crate::proto::Connection::pause).
    pub fn pause(&self, is_paused: bool) -> Result<(), TransferError> {
        self.handle.with(|state| {
            if let Some(end) = inbound(state, self.key)?.end {
                return Err(end.into());
            }
            state.pause(self.key.transfer, is_paused)?;
            state.wake_driver();
            Ok(())
        })
    }

    /// Tells the sender that bytes before `offset` survive a loss of power here.
    pub fn set_durable(&self, offset: u64) {
        self.handle.with(|state| {
            if !state.is_current(self.key) {
                return;
            }
            state.requests.durable.insert(self.key.transfer, offset);
            if let Some(t) = state.inbound.get_mut(&self.key) {
                t.meter.progress.durable = t.meter.progress.durable.max(offset);
            }
            state.wake_driver();
        });
    }

    /// All of it is stored under this name, whole: the sender is told.
    ///
    /// # Errors
    ///
    /// [`TransferError::Refused`] when bytes are missing, or the name is longer than 4096 bytes or
    /// has a NUL: it is concluded as *cancelled* then.
    pub fn stored(self, name: &str) -> Result<(), TransferError> {
        self.conclude(&Conclusion::Stored { name })
    }

    /// It was not stored: the sender is told why, with at most 4096 bytes of text.
    ///
    /// # Errors
    ///
    /// [`TransferError::Refused`] for a text that is too long or has a NUL, and for
    /// [`TransferCode::STORED`]: it is concluded as *cancelled* then.
    pub fn failed(self, code: TransferCode, text: &str) -> Result<(), TransferError> {
        self.conclude(&Conclusion::Failed { code, text })
    }

    pub(super) fn conclude(mut self, conclusion: &Conclusion<'_>) -> Result<(), TransferError> {
        self.conclude_with(conclusion)
    }

    fn conclude_with(&mut self, conclusion: &Conclusion<'_>) -> Result<(), TransferError> {
        let key = self.key;
        self.handle.with(|state| {
            if let Some(end) = state.inbound.get(&key).and_then(|t| t.end) {
                return Err(TransferError::from(end));
            }
            state.connection.conclude(key.transfer, conclusion)?;
            state.forget_inbound(key);
            state.wake_driver();
            Ok(())
        })?;
        self.is_concluded = true;
        Ok(())
    }

    pub(super) fn poll_member(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<(Offer<'static>, Self)>, TransferError>> {
        let polled = self.poll_with(cx, |state, key| {
            let t = inbound(state, key)?;
            if let Some(member) = t.members.pop_front() {
                state.take_of(key, member.item);
                return Ok(Some(Some(member)));
            }
            Ok((t.members_left == 0).then_some(None))
        });
        polled.map_ok(|member| {
            member.map(|member| (member.offer, Self::new(Arc::clone(&self.handle), member.key)))
        })
    }

    /// Waits until `find` finds something, the sender cancels, or the transfer is lost.
    fn poll_with<R>(
        &self,
        cx: &Context<'_>,
        find: impl FnOnce(&mut State, Key) -> Result<Option<R>, TransferError>,
    ) -> Poll<Result<R, TransferError>> {
        let key = self.key;
        self.handle.with(|state| match find(state, key) {
            Ok(Some(found)) => Poll::Ready(Ok(found)),
            Err(error) => Poll::Ready(Err(error)),
            Ok(None) => {
                let t = match inbound(state, key) {
                    Ok(t) => t,
                    Err(error) => return Poll::Ready(Err(error)),
                };
                if let Some(end) = t.end {
                    return Poll::Ready(Err(end.into()));
                }
                if let Some((code, text)) = &t.cancel {
                    let (code, text) = (*code, text.clone());
                    return Poll::Ready(Err(TransferError::CancelAsked { code, text }));
                }
                state.wait(WaitFor::Transfer(key), &mut Waiting::handle(cx));
                Poll::Pending
            }
        })
    }
}

fn inbound(state: &mut State, key: Key) -> Result<&mut Inbound, TransferError> {
    let ended = state.ended();
    state.inbound.get_mut(&key).ok_or(TransferError::Abandoned(ended))
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let ready = self.ready.iter().map(|chunk| chunk.data.len());
        let unreleased = ready.fold(self.handed, usize::saturating_add);
        if self.is_concluded && unreleased == 0 {
            return;
        }
        self.handle.with(|state| {
            if !self.is_concluded {
                state.give_up_inbound(self.key);
            }
            if unreleased > 0 {
                state.release(self.key, unreleased);
            }
        });
    }
}

impl AsyncRead for Incoming {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        while this.rest.is_empty() {
            match this.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(None)) => return Poll::Ready(Ok(0)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                Poll::Ready(Ok(Some(chunk))) if chunk.offset == this.read => {
                    this.read = this.read.saturating_add(chunk.data.len() as u64);
                    this.rest = chunk.data;
                }
                Poll::Ready(Ok(Some(_))) => {
                    let error = "the sender began anew, which only chunks can show";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            }
        }
        let len = this.rest.len().min(buffer.len());
        let bytes = this.rest.split_to(len);
        if let Some(room) = buffer.get_mut(..len) {
            room.copy_from_slice(&bytes);
        }
        Poll::Ready(Ok(len))
    }
}
