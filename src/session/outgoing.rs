use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::poll_fn;
use futures::io::AsyncWrite;

use super::error::{TransferError, Verdict};
use super::handle::Handle;
use super::outbound::Outbound;
use super::progress::Progress;
use super::shared::{Key, State, wait};
use crate::proto::ActionError;
use crate::wire::{Accept, Digest, Offer, TransferCode, TransferId};

/// Bytes that the `AsyncWrite` hands on at a time at most.
const CHUNK: usize = 64 << 10;

/// A file that is being offered and sent.
///
/// Wait until it is [accepted](Self::accepted), send its [chunks](Self::send), which are not copied,
/// and [finish](Self::finish): that waits for the receiver's verdict. As an [`AsyncWrite`] it takes
/// slices, with a copy more; closing it finishes without a digest.
///
/// Dropped before the verdict is known it asks the receiver to cancel.
pub struct Outgoing {
    handle: Arc<Handle>,
    key: Key,
    position: u64,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("transfer", &self.key.transfer)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Outgoing {
    pub(super) fn new(handle: Arc<Handle>, key: Key) -> Self {
        Self { handle, key, position: 0 }
    }

    /// Its id, the same on both sides.
    pub fn id(&self) -> TransferId {
        self.key.transfer
    }

    /// The offset of the byte that [`send`](Self::send) takes next.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Waits for the receiver's decision, and tells from where on it wants the file.
    ///
    /// If that is not from 0, it has a part, of which this is the digest. Send from there; meanwhile
    /// compute the digest of the same bytes here, and call [`confirm_prefix`](Self::confirm_prefix)
    /// or [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// [`TransferError::NotStored`] when it was rejected, and when it has ended.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again.
    pub async fn accepted(&mut self) -> Result<Accept, TransferError> {
        poll_fn(|cx| self.poll_accepted(cx)).await
    }

    /// [`accepted`](Self::accepted) as a poll.
    ///
    /// # Errors
    ///
    /// Those of [`accepted`](Self::accepted).
    pub fn poll_accepted(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accept, TransferError>> {
        let key = self.key;
        let accepted = self.handle.with(|state| {
            let t = open(state, key)?;
            if t.accept.is_none() {
                wait(&mut t.waiters, cx);
            }
            Ok(t.accept)
        });
        match accepted {
            Ok(None) => Poll::Pending,
            Ok(Some(accept)) => {
                self.position = self.position.max(accept.offset);
                Poll::Ready(Ok(accept))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Sends the next bytes, as soon as there is room for them: a chunk of any size fits as soon as
    /// there is some. They are kept until the receiver has them, and sent again after a break.
    ///
    /// # Errors
    ///
    /// [`TransferError::Rewind`] for a seekable offer after a break: the chunk was not taken; go on
    /// from that offset. [`NotStored`](TransferError::NotStored) and
    /// [`Abandoned`](TransferError::Abandoned) when it has ended,
    /// [`Refused`](TransferError::Refused) for more bytes than were offered.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has taken nothing.
    pub async fn send(&mut self, chunk: Bytes) -> Result<(), TransferError> {
        let mut chunk = Some(chunk);
        poll_fn(|cx| self.poll_send(cx, &mut chunk)).await
    }

    /// [`send`](Self::send) as a poll: takes the chunk when it is ready.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut Option<Bytes>,
    ) -> Poll<Result<(), TransferError>> {
        let Some(data) = chunk.as_ref() else { return Poll::Ready(Ok(())) };
        let (key, len) = (self.key, data.len());
        let sent = self.handle.with(|state| {
            let may_send = state.rate_limit.may_send(cx);
            let t = open(state, key)?;
            if let Some(offset) = t.rewind.take() {
                return Err(TransferError::Rewind { offset });
            }
            let Some(accept) = t.accept else {
                wait(&mut t.waiters, cx);
                return Ok(None);
            };
            let offset = self.position.max(accept.offset);
            if !may_send {
                // Whatever becomes of the transfer meanwhile has to be noticed, too.
                wait(&mut t.waiters, cx);
                return Ok(None);
            }
            match state.connection.send_data(key.transfer, offset, data.clone()) {
                Ok(()) => {
                    state.rate_limit.take(len);
                    state.wake_driver();
                    Ok(Some(offset))
                }
                Err(ActionError::Blocked) => {
                    let t = open(state, key)?;
                    wait(&mut t.waiters, cx);
                    Ok(None)
                }
                Err(error) => Err(error.into()),
            }
        });
        match sent {
            Ok(Some(offset)) => {
                self.position = offset.saturating_add(len as u64);
                *chunk = None;
                Poll::Ready(Ok(()))
            }
            Ok(None) => Poll::Pending,
            Err(TransferError::Rewind { offset }) => {
                self.position = offset;
                Poll::Ready(Err(TransferError::Rewind { offset }))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// The part that the receiver has is the beginning of this file.
    ///
    /// # Errors
    ///
    /// [`TransferError::Refused`] when no digest is in question.
    pub fn confirm_prefix(&mut self) -> Result<(), TransferError> {
        self.act(|state, key| state.connection.confirm_prefix(key.transfer))
    }

    /// The part that the receiver has is of another file: sends all of it, from 0 on.
    ///
    /// # Errors
    ///
    /// [`TransferError::Refused`] when the receiver has no part, or the file is finished.
    pub fn restart(&mut self) -> Result<(), TransferError> {
        self.act(|state, key| {
            state.connection.restart(key.transfer)?;
            if let Some(accept) = state.outbound.get_mut(&key).and_then(|t| t.accept.as_mut()) {
                accept.offset = 0;
                accept.prefix = None;
            }
            Ok(())
        })?;
        self.position = 0;
        Ok(())
    }

    /// Says that all bytes are sent, and their digest over the whole file, and waits for the
    /// receiver's verdict. Called again it goes on waiting.
    ///
    /// # Errors
    ///
    /// [`TransferError::NotStored`] for any verdict but *stored*;
    /// [`Rewind`](TransferError::Rewind): send from there, then call this again;
    /// [`Abandoned`](TransferError::Abandoned) when the conversation ended before the verdict came;
    /// [`Refused`](TransferError::Refused) when bytes of the offered size are missing, a prefix is
    /// not confirmed, or the digest is of another algorithm than the offer's.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again: the digest of the first call counts.
    pub async fn finish(&mut self, digest: Option<Digest>) -> Result<Verdict, TransferError> {
        poll_fn(|cx| self.poll_finish(cx, digest)).await
    }

    /// [`finish`](Self::finish) as a poll.
    ///
    /// # Errors
    ///
    /// Those of [`finish`](Self::finish).
    pub fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        digest: Option<Digest>,
    ) -> Poll<Result<Verdict, TransferError>> {
        let key = self.key;
        let polled = self.handle.with(|state| {
            let Some(t) = state.outbound.get_mut(&key) else {
                return Err(TransferError::Abandoned(state.ended));
            };
            if let Some(end) = &t.end {
                return end.result().map(Some);
            }
            if let Some(offset) = t.rewind.take() {
                return Err(TransferError::Rewind { offset });
            }
            wait(&mut t.waiters, cx);
            if !t.is_finished && t.accept.is_some() && !t.is_cancel_asked {
                state.connection.finish(key.transfer, digest)?;
                if let Some(t) = state.outbound.get_mut(&key) {
                    t.is_finished = true;
                    t.meter.progress.total = Some(self.position);
                }
                state.wake_driver();
            }
            Ok(None)
        });
        match polled {
            Ok(Some(verdict)) => Poll::Ready(Ok(verdict)),
            Ok(None) => Poll::Pending,
            Err(error) => {
                if let TransferError::Rewind { offset } = error {
                    self.position = offset;
                }
                Poll::Ready(Err(error))
            }
        }
    }

    /// Asks the receiver to end it: nothing more of it is sent. Wait for the verdict with
    /// [`verdict`](Self::verdict), which may be that all was stored before.
    ///
    /// # Errors
    ///
    /// [`TransferError::Refused`] the second time, for a text over 255 bytes or with a NUL, and for
    /// [`TransferCode::STORED`].
    pub fn cancel(&mut self, code: TransferCode, text: &str) -> Result<(), TransferError> {
        self.act(|state, key| {
            state.connection.cancel(key.transfer, code, text)?;
            if let Some(t) = state.outbound.get_mut(&key) {
                t.is_cancel_asked = true;
            }
            Ok(())
        })
    }

    /// Waits for the verdict, without finishing: after a [cancel](Self::cancel), or for a directory.
    ///
    /// # Errors
    ///
    /// Those of [`finish`](Self::finish).
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again.
    pub async fn verdict(&mut self) -> Result<Verdict, TransferError> {
        poll_fn(|cx| {
            self.handle.with(|state| {
                let Some(t) = state.outbound.get_mut(&self.key) else {
                    return Poll::Ready(Err(TransferError::Abandoned(state.ended)));
                };
                if let Some(end) = &t.end {
                    return Poll::Ready(end.result());
                }
                wait(&mut t.waiters, cx);
                Poll::Pending
            })
        })
        .await
    }

    /// Pauses it, or lets it go on.
    ///
    /// # Errors
    ///
    /// [`TransferError::Refused`], as for
    /// [`Connection::pause`](crate::proto::Connection::pause).
    pub fn pause(&self, is_paused: bool) -> Result<(), TransferError> {
        self.act(|state, key| state.connection.pause(key.transfer, is_paused))
    }

    /// Whether the receiver has paused it.
    pub fn is_paused_by_peer(&self) -> bool {
        self.handle.with(|state| state.outbound.get(&self.key).is_some_and(|t| t.is_paused_by_peer))
    }

    /// How far the receiver is.
    pub fn progress(&self) -> Progress {
        self.handle.with(|state| {
            state.outbound.get(&self.key).map(|t| t.meter.progress).unwrap_or_default()
        })
    }

    /// Waits until [`progress`](Self::progress) differs from `seen`, or the transfer has ended.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again.
    pub async fn changed(&self, seen: Progress) -> Progress {
        poll_fn(|cx| {
            self.handle.with(|state| match state.outbound.get_mut(&self.key) {
                Some(t) if t.meter.progress == seen && t.end.is_none() => {
                    wait(&mut t.waiters, cx);
                    Poll::Pending
                }
                Some(t) => Poll::Ready(t.meter.progress),
                None => Poll::Ready(seen),
            })
        })
        .await
    }

    fn act(
        &self,
        act: impl FnOnce(&mut State, Key) -> Result<(), ActionError>,
    ) -> Result<(), TransferError> {
        let key = self.key;
        self.handle.with(|state| {
            open(state, key)?;
            act(state, key)?;
            state.wake_driver();
            Ok(())
        })
    }
}

/// The transfer, if it has not ended.
fn open(state: &mut State, key: Key) -> Result<&mut Outbound, TransferError> {
    let ended = state.ended;
    let t = state.outbound.get_mut(&key).ok_or(TransferError::Abandoned(ended))?;
    match &t.end {
        Some(end) => Err(end.error()),
        None => Ok(t),
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let key = self.key;
        self.handle.with(|state| {
            let Some(t) = state.outbound.get_mut(&key) else { return };
            t.has_handle = false;
            if t.end.is_some() {
                state.outbound.remove(&key);
                return;
            }
            // It may have been asked before.
            let _ = state.connection.cancel(key.transfer, TransferCode::CANCELLED, "");
            state.wake_driver();
        });
    }
}

impl AsyncWrite for Outgoing {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let buffer = buffer.get(..CHUNK).unwrap_or(buffer);
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // Copied only when there is room: a waiting writer is polled again and again.
        let capacity = this.handle.with(|state| {
            let may_send = state.rate_limit.may_send(cx);
            if may_send { state.connection.capacity(this.key.transfer) } else { 0 }
        });
        let len = buffer.len().min(capacity.max(1));
        let mut chunk = Some(Bytes::copy_from_slice(buffer.get(..len).unwrap_or(buffer)));
        match this.poll_send(cx, &mut chunk) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(len)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(io::Error::other(error))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The driver sends what is there by itself.
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_finish(cx, None).map(|finished| match finished {
            Ok(_) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        })
    }
}

/// Many files that are being offered and sent together. Dropped before the verdict is known it asks
/// the receiver to cancel.
#[derive(Debug)]
pub struct OutgoingBatch {
    outgoing: Outgoing,
}

impl OutgoingBatch {
    pub(super) fn new(handle: Arc<Handle>, key: Key) -> Self {
        Self { outgoing: Outgoing::new(handle, key) }
    }

    /// Its id, the same on both sides.
    pub fn id(&self) -> TransferId {
        self.outgoing.id()
    }

    /// Waits for the receiver's decision.
    ///
    /// # Errors
    ///
    /// [`TransferError::NotStored`] when it was rejected, and when it has ended.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again.
    pub async fn accepted(&mut self) -> Result<(), TransferError> {
        self.outgoing.accepted().await.map(drop)
    }

    /// Offers the next member, which is accepted already, as soon as one more transfer is allowed.
    ///
    /// # Errors
    ///
    /// [`TransferError::Refused`] for more members than were announced, those of
    /// [`Session::offer`](super::Session::offer), and how the batch has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has offered nothing.
    pub async fn offer(&mut self, offer: Offer<'_>) -> Result<Outgoing, TransferError> {
        let offer = offer.batch(self.id());
        let Self { outgoing: Outgoing { handle, key, .. } } = self;
        let offered = super::session::offer(handle, &offer, Some(*key)).await;
        // A batch that has ended says how.
        offered.map_err(|error| {
            handle.with(|state| open(state, *key).err()).unwrap_or_else(|| error.into())
        })
    }

    /// Asks the receiver to end it, as [`Outgoing::cancel`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Outgoing::cancel`].
    pub fn cancel(&mut self, code: TransferCode, text: &str) -> Result<(), TransferError> {
        self.outgoing.cancel(code, text)
    }

    /// Waits for the verdict on all of it, once each member has its own.
    ///
    /// # Errors
    ///
    /// Those of [`Outgoing::finish`].
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again.
    pub async fn verdict(&mut self) -> Result<Verdict, TransferError> {
        self.outgoing.verdict().await
    }
}
