use core::fmt;
use core::task::{Context, Poll};
use std::sync::Arc;

use futures::future::poll_fn;

use super::error::TransferError;
use super::handle::Handle;
use super::inbound::Inbound;
use super::incoming::Incoming;
use super::shared::Key;
use crate::proto::{Acceptance, Conclusion};
use crate::wire::{Batch, Digest, Offer, TransferCode, TransferId};

/// An offer of the peer's that waits for a decision. Dropped, it is rejected as *declined*.
pub struct IncomingOffer {
    undecided: Undecided,
    offer: Offer<'static>,
}

/// An offer of many files that waits for a decision. Dropped, it is rejected as *declined*.
pub struct BatchOffer {
    undecided: Undecided,
    batch: Batch<'static>,
}

/// A decision that is still to be made.
struct Undecided {
    handle: Arc<Handle>,
    key: Key,
    is_decided: bool,
}

impl Undecided {
    fn accept(
        &mut self,
        acceptance: Acceptance,
        size: Option<u64>,
        members: u32,
    ) -> Result<Incoming, TransferError> {
        let (handle, key) = (&self.handle, self.key);
        let offset = acceptance.prefix.map_or(0, |(offset, _)| offset);
        handle.with(|state| {
            let now = state.now;
            state.check_key(key)?;
            state.connection.accept(key.transfer, acceptance, now)?;
            let mut inbound = Inbound::new(offset, size);
            inbound.meter.begin(offset, now);
            inbound.members_left = members;
            state.inbound.insert(key, inbound);
            state.requests.restart.push(key.transfer);
            state.wake_driver();
            Ok::<(), TransferError>(())
        })?;
        self.is_decided = true;
        Ok(Incoming::new(Arc::clone(handle), key))
    }

    fn reject(&mut self, code: TransferCode, text: &str) -> Result<(), TransferError> {
        let key = self.key;
        self.handle.with(|state| {
            state.check_key(key)?;
            state.connection.reject(key.transfer, code, text)?;
            state.wake_driver();
            Ok::<(), TransferError>(())
        })?;
        self.is_decided = true;
        Ok(())
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        if !self.is_decided {
            // It may have ended by itself.
            let _ = self.reject(TransferCode::DECLINED, "");
        }
    }
}

impl fmt::Debug for IncomingOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingOffer")
            .field("transfer", &self.undecided.key.transfer)
            .field("offer", &self.offer)
            .finish_non_exhaustive()
    }
}

impl IncomingOffer {
    pub(super) fn new(handle: Arc<Handle>, key: Key, offer: Offer<'static>) -> Self {
        Self { undecided: Undecided { handle, key, is_decided: false }, offer }
    }

    /// Its id, the same on both sides.
    pub fn id(&self) -> TransferId {
        self.undecided.key.transfer
    }

    /// What is offered. The name is a proposal in the peer's words: never use it as a path
    /// unchecked.
    pub fn offer(&self) -> &Offer<'static> {
        &self.offer
    }

    /// Accepts the file from its beginning.
    ///
    /// # Errors
    ///
    /// [`TransferError::Refused`] when the sender has taken the offer back, or the conversation has
    /// ended.
    pub fn accept(self) -> Result<Incoming, TransferError> {
        self.accept_from(Acceptance::default())
    }

    /// Accepts the file from `offset` on, which is not 0, as the bytes before it are here already,
    /// with this digest. The sender compares; if its own begins otherwise, a
    /// [chunk](super::Chunk) at offset 0 comes.
    ///
    /// # Errors
    ///
    /// Those of [`accept`](Self::accept), and for an offset of 0 or beyond the offered size.
    pub fn accept_part(self, offset: u64, digest: Digest) -> Result<Incoming, TransferError> {
        self.accept_from(Acceptance { prefix: Some((offset, digest)) })
    }

    fn accept_from(mut self, acceptance: Acceptance) -> Result<Incoming, TransferError> {
        self.undecided.accept(acceptance, self.offer.size, 0)
    }

    /// Rejects it, with a code and at most 255 bytes of text.
    ///
    /// # Errors
    ///
    /// [`TransferError::Refused`] for a text that is too long or has a NUL, for
    /// [`TransferCode::STORED`], or when it has ended already.
    pub fn reject(mut self, code: TransferCode, text: &str) -> Result<(), TransferError> {
        self.undecided.reject(code, text)
    }
}

impl fmt::Debug for BatchOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchOffer")
            .field("transfer", &self.undecided.key.transfer)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}

impl BatchOffer {
    pub(super) fn new(handle: Arc<Handle>, key: Key, batch: Batch<'static>) -> Self {
        Self { undecided: Undecided { handle, key, is_decided: false }, batch }
    }

    /// Its id, the same on both sides.
    pub fn id(&self) -> TransferId {
        self.undecided.key.transfer
    }

    /// What is offered.
    pub fn batch(&self) -> &Batch<'static> {
        &self.batch
    }

    /// Accepts all of its members.
    ///
    /// # Errors
    ///
    /// [`TransferError::Refused`] when the sender has taken it back, or the conversation has ended.
    pub fn accept(mut self) -> Result<IncomingBatch, TransferError> {
        let incoming = self.undecided.accept(Acceptance::default(), None, self.batch.count)?;
        Ok(IncomingBatch { incoming })
    }

    /// Rejects it, as [`IncomingOffer::reject`] does.
    ///
    /// # Errors
    ///
    /// Those of [`IncomingOffer::reject`].
    pub fn reject(mut self, code: TransferCode, text: &str) -> Result<(), TransferError> {
        self.undecided.reject(code, text)
    }
}

/// A batch that is being received. Dropped, it is given up, with the members not handed out.
#[derive(Debug)]
pub struct IncomingBatch {
    incoming: Incoming,
}

impl IncomingBatch {
    /// Its id, the same on both sides.
    pub fn id(&self) -> TransferId {
        self.incoming.id()
    }

    /// The next member, which is accepted already; `None` once all that were announced have come.
    ///
    /// # Errors
    ///
    /// [`TransferError::CancelAsked`] when the sender gives the batch up,
    /// [`Abandoned`](TransferError::Abandoned) and [`Expired`](TransferError::Expired).
    ///
    /// # Cancel safety
    ///
    /// No member is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<(Offer<'static>, Incoming)>, TransferError> {
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
    ) -> Poll<Result<Option<(Offer<'static>, Incoming)>, TransferError>> {
        self.incoming.poll_member(cx)
    }

    /// Ends the batch: all its members have ended.
    ///
    /// # Errors
    ///
    /// [`TransferError::Refused`] while members are open, or for *stored* while some are missing or
    /// were not stored.
    pub fn conclude(self, conclusion: &Conclusion<'_>) -> Result<(), TransferError> {
        self.incoming.conclude(conclusion)
    }
}
