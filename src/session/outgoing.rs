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
use super::session::{TO_OFFER, poll_offer};
use super::shared::{Key, State};
use super::waiters::{WaitFor, Waiting, wait_for};
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
    /// [`TransferError::NotStored`] when it was rejected, and when it has ended without being stored.
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
            let accept = match state.outbound.get(&key) {
                // The verdict may be here at once, with the decision.
                Some(Outbound { accept: Some(accept), end: Some(end), .. })
                    if end.result(key.transfer).is_ok() =>
                {
                    Some(*accept)
                }
                _ => open(state, key)?.accept,
            };
            if accept.is_none() {
                state.wait(WaitFor::Transfer(key), &mut Waiting::handle(cx));
            }
            Ok(accept)
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
    /// The driver drops the bytes at some time while it holds the conversation's lock: an owner of
    /// [`Bytes::from_owner`] must not use a handle of the same conversation in its `Drop`.
    ///
    /// # Errors
    ///
    /// [`TransferError::Rewind`] for a seekable offer after a break: the chunk was not taken; go on
    /// from that offset. [`NotStored`](TransferError::NotStored) and
    /// [`Abandoned`](TransferError::Abandoned) when it has ended,
    /// [`Refused`](TransferError::Refused) for more bytes than were offered, and when it is stored
    /// already.
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
        let sent = self.poll_send_with(cx, |_| data.clone());
        if matches!(sent, Poll::Ready(Ok(_))) {
            *chunk = None;
        }
        sent.map_ok(drop)
    }

    /// Sends what `chunk` makes, once it may be sent, of the bytes that there is room for; or of one
    /// less than there might be.
    fn poll_send_with(
        &mut self,
        cx: &Context<'_>,
        chunk: impl FnOnce(usize) -> Bytes,
    ) -> Poll<Result<usize, TransferError>> {
        let key = self.key;
        let sent = self.handle.with(|state| {
            let t = open(state, key)?;
            if let Some(offset) = t.rewind.take() {
                return Err(TransferError::Rewind { offset });
            }
            let waiting = &mut Waiting::handle(cx);
            let accept = t.accept;
            let may_send = accept.is_some() && state.may_send(key, waiting);
            let Some(accept) = accept.filter(|_| may_send) else {
                // Whatever becomes of the transfer meanwhile has to be noticed.
                state.wait(WaitFor::Transfer(key), waiting);
                return Ok(None);
            };
            let offset = self.position.max(accept.offset);
            let data = chunk(state.connection.capacity(key.transfer));
            let len = data.len();
            match state.connection.send_data(key.transfer, offset, data) {
                Ok(()) => {
                    if let Some(limit) = state.rate_limit.made() {
                        limit.take(key, len, &mut state.wake);
                    }
                    state.wake_driver_for_data();
                    Ok(Some((offset, len)))
                }
                Err(ActionError::Blocked) => {
                    state.wait(WaitFor::Transfer(key), waiting);
                    Ok(None)
                }
                Err(error) => Err(error.into()),
            }
        });
        match sent {
            Ok(Some((offset, len))) => {
                self.position = offset.saturating_add(len as u64);
                Poll::Ready(Ok(len))
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
    /// [`Abandoned`](TransferError::Abandoned) when the conversation ended before the verdict came, and
    /// [`Unanswered`](TransferError::Unanswered) when it did not come in time;
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
                return Err(TransferError::Abandoned(state.ended()));
            };
            if let Some(end) = &t.end {
                return end.result(key.transfer).map(Some);
            }
            if let Some(offset) = t.rewind.take() {
                return Err(TransferError::Rewind { offset });
            }
            let may_finish = !t.is_finished && t.accept.is_some() && !t.is_cancel_asked;
            state.wait(WaitFor::Transfer(key), &mut Waiting::handle(cx));
            if may_finish {
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
    /// [`TransferError::Refused`] the second time, for a text over 255 bytes or with a NUL, for
    /// [`TransferCode::STORED`], and when it is stored already; how it has ended otherwise.
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
        poll_fn(|cx| self.poll_verdict(cx)).await
    }

    /// [`verdict`](Self::verdict) as a poll.
    ///
    /// # Errors
    ///
    /// Those of [`finish`](Self::finish).
    pub fn poll_verdict(&mut self, cx: &mut Context<'_>) -> Poll<Result<Verdict, TransferError>> {
        let key = self.key;
        self.handle.with(|state| {
            let Some(t) = state.outbound.get_mut(&key) else {
                return Poll::Ready(Err(TransferError::Abandoned(state.ended())));
            };
            if let Some(end) = &t.end {
                return Poll::Ready(end.result(key.transfer));
            }
            state.wait(WaitFor::Transfer(key), &mut Waiting::handle(cx));
            Poll::Pending
        })
    }

    /// Pauses it, or lets it go on.
    ///
    /// # Errors
    ///
    /// [`TransferError::Refused`], as for
    /// [`Connection::pause`](crate::proto::Connection::pause), and when it is stored already; how it has
    /// ended otherwise.
    pub fn pause(&self, is_paused: bool) -> Result<(), TransferError> {
        self.act(|state, key| state.pause(key.transfer, is_paused))
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
        let what = [WaitFor::Transfer(self.key)];
        wait_for(&self.handle, &what, |waiting| self.has_changed(waiting, seen)).await
    }

    /// [`changed`](Self::changed) as a poll.
    pub fn poll_changed(&self, cx: &mut Context<'_>, seen: Progress) -> Poll<Progress> {
        self.has_changed(&mut Waiting::task(cx), seen)
    }

    fn has_changed(&self, waiting: &mut Waiting<'_>, seen: Progress) -> Poll<Progress> {
        let key = self.key;
        self.handle.with(|state| match state.outbound.get(&key) {
            Some(t) if t.meter.progress == seen && t.end.is_none() => {
                state.wait(WaitFor::Transfer(key), waiting);
                Poll::Pending
            }
            Some(t) => Poll::Ready(t.meter.progress),
            None => Poll::Ready(seen),
        })
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
    let ended = state.ended();
    let t = state.outbound.get_mut(&key).ok_or(TransferError::Abandoned(ended))?;
    match &t.end {
        Some(end) => Err(end.error(key.transfer)),
        None => Ok(t),
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let key = self.key;
        self.handle.with(|state| {
            state.forget_turn(key);
            let Some(t) = state.outbound.get_mut(&key) else { return };
            t.has_handle = false;
            // Wakers are never dropped under the lock.
            state.wake.extend(&mut t.waiters);
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
        let sent = this.poll_send_with(cx, |room| match room {
            0 => Bytes::from_static(&[0]),
            _ => Bytes::copy_from_slice(buffer.get(..room).unwrap_or(buffer)),
        });
        sent.map_err(io::Error::other)
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
    /// [`TransferError::NotStored`] when it was rejected, and when it has ended without being stored.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again.
    pub async fn accepted(&mut self) -> Result<(), TransferError> {
        poll_fn(|cx| self.poll_accepted(cx)).await
    }

    /// [`accepted`](Self::accepted) as a poll.
    ///
    /// # Errors
    ///
    /// Those of [`accepted`](Self::accepted).
    pub fn poll_accepted(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransferError>> {
        self.outgoing.poll_accepted(cx).map_ok(drop)
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
        let handle = &self.outgoing.handle;
        wait_for(handle, &TO_OFFER, |waiting| self.offer_member(waiting, &offer)).await
    }

    /// [`offer`](Self::offer) as a poll.
    ///
    /// # Errors
    ///
    /// Those of [`offer`](Self::offer).
    pub fn poll_offer(
        &mut self,
        cx: &mut Context<'_>,
        offer: &Offer<'_>,
    ) -> Poll<Result<Outgoing, TransferError>> {
        self.offer_member(&mut Waiting::task(cx), &offer.clone().batch(self.id()))
    }

    fn offer_member(
        &self,
        waiting: &mut Waiting<'_>,
        offer: &Offer<'_>,
    ) -> Poll<Result<Outgoing, TransferError>> {
        let Outgoing { handle, key, .. } = &self.outgoing;
        // A batch that has ended says how.
        poll_offer(handle, waiting, offer, Some(*key)).map_err(|error| {
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

    /// [`verdict`](Self::verdict) as a poll.
    ///
    /// # Errors
    ///
    /// Those of [`Outgoing::finish`].
    pub fn poll_verdict(&mut self, cx: &mut Context<'_>) -> Poll<Result<Verdict, TransferError>> {
        self.outgoing.poll_verdict(cx)
    }
}
