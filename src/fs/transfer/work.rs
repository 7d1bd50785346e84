//! What is done to a file that is being received, on a thread that may block.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::boxed::Box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::vec::Vec;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::error::ReceiveError;
use crate::fs::batch::Admitted;
use crate::fs::{BatchReceiver, Error, Member, Published, Receiver};
use crate::session::{Chunk, Incoming, Progress, TransferError};
use crate::wire::{Finish, Offer, TransferCode};

/// Bytes that are gathered while others are being written.
const GATHERED: usize = 1 << 20;

/// What came of a file is made durable so often, beside the checkpoints by bytes: a slow file gets
/// durable bytes, too.
const SAVED_AFTER: Duration = Duration::from_secs(1);

/// Where the bytes go.
pub(super) enum Target {
    File(Box<Receiver>),
    /// A member of a batch, which is only begun when there is something to write: a small file so
    /// takes one visit to another thread.
    Member {
        batch: Arc<Mutex<BatchReceiver>>,
        offer: Box<Offer<'static>>,
    },
}

/// What is there after some work.
enum Done {
    Going(Going),
    Published(Published),
    Failed(Error),
}

struct Going {
    target: Target,
    durable: u64,
    /// Of what was there before, some is still to be looked at.
    lags: bool,
}

impl Going {
    fn new(mut receiver: Box<Receiver>) -> Result<Self, Error> {
        let lags = !receiver.catch_up()?;
        Ok(Self { durable: receiver.durable(), target: Target::File(receiver), lags })
    }
}

struct Work {
    target: Target,
    reattaches: bool,
    restarts: bool,
    chunks: Vec<Bytes>,
    saves: bool,
    finish: Option<Finish>,
    is_abandoned: Arc<AtomicBool>,
}

/// Tells the work under way that nobody waits for it any more: the same file may be on its way again,
/// and is not to be stored twice.
struct Abandon(Arc<AtomicBool>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Work {
    fn run(self) -> Done {
        match self.try_run() {
            Ok(done) => done,
            Err(error) => Done::Failed(error),
        }
    }

    fn try_run(self) -> Result<Done, Error> {
        let mut receiver = match self.target {
            Target::File(receiver) => receiver,
            Target::Member { batch, offer } => {
                match receive_member(&batch, &offer, &self.is_abandoned)? {
                    Member::File(receiver) => Box::new(receiver),
                    Member::Folder(published) | Member::Known(published) => {
                        return Ok(Done::Published(published));
                    }
                }
            }
        };
        if self.reattaches {
            receiver.reattach()?;
        }
        if self.restarts {
            receiver.restart()?;
        }
        receiver.write(&self.chunks)?;
        match self.finish {
            None => {
                if self.saves {
                    receiver.checkpoint()?;
                }
                Going::new(receiver).map(Done::Going)
            }
            Some(_) if self.is_abandoned.load(Ordering::Acquire) => {
                receiver.suspend();
                Err(Error::Busy)
            }
            Some(finish) => receiver.publish(finish.total, finish.digest).map(Done::Published),
        }
    }
}

/// Begins a member. Others need not wait while what is there of it is read and synchronised.
fn receive_member(
    batch: &Mutex<BatchReceiver>,
    offer: &Offer<'_>,
    is_abandoned: &AtomicBool,
) -> Result<Member, Error> {
    let lock = || batch.lock().unwrap_or_else(PoisonError::into_inner);
    let is_given_up = || is_abandoned.load(Ordering::Acquire);
    let admitted = {
        let mut batch = lock();
        if is_given_up() {
            return Err(Error::Busy);
        }
        batch.admit(offer)?
    };
    match admitted {
        Admitted::Folder(published) => Ok(Member::Folder(published)),
        Admitted::File(entry) => {
            let is_known = entry.is_known(offer, &is_given_up);
            // What was not looked at to its end need not be begun.
            let is_known = is_known.and_then(|is_known| {
                if is_known || !is_given_up() { Ok(is_known) } else { Err(Error::Busy) }
            });
            let is_known = is_known.inspect_err(|_| lock().retract(&entry))?;
            entry.begin(offer, is_known)
        }
    }
}

/// A file on its way from the conversation to the disk.
pub(super) struct Writing {
    incoming: Incoming,
    target: Option<Target>,
    work: Option<BoxFuture<'static, Done>>,
    abandon: Abandon,
    gathered: Vec<Bytes>,
    gathered_len: usize,
    position: u64,
    restarts: bool,
    durable: u64,
    lags: bool,
    /// Whether it is worth being made durable by time.
    is_saved: bool,
    /// Bytes have come since that was done last, and it is time.
    is_unsaved: bool,
    is_due: bool,
    /// The conversation has no stream: the same offer may take the part over.
    is_detached: bool,
    /// All bytes have come; what the sender said, if it is no directory.
    has_ended: bool,
    is_directory: bool,
    /// It may be there already, which is to be found out before anything comes.
    may_be_known: bool,
}

impl Writing {
    pub(super) fn new(incoming: Incoming, target: Target, position: u64) -> Self {
        // Of a part something is there that was not looked at.
        let lags = position > 0;
        // Less than 1 MiB is not kept.
        let is_worth_it = |size: Option<u64>| size.is_none_or(|size| size >= 1 << 20);
        let is_saved = match &target {
            Target::File(receiver) => is_worth_it(receiver.size()),
            Target::Member { .. } => false,
        };
        let (is_directory, may_be_known) = match &target {
            Target::Member { offer, .. } => (offer.is_directory, offer.digest.is_some()),
            Target::File(_) => (false, false),
        };
        Self {
            incoming,
            target: Some(target),
            work: None,
            abandon: Abandon(Arc::default()),
            gathered: Vec::new(),
            gathered_len: 0,
            position,
            restarts: false,
            durable: 0,
            lags,
            is_saved,
            is_unsaved: false,
            is_due: false,
            is_detached: false,
            has_ended: is_directory,
            is_directory,
            may_be_known,
        }
    }

    pub(super) fn into_incoming(self) -> Incoming {
        self.incoming
    }

    /// Moves bytes until the file has its name, or something fails.
    pub(super) fn poll_publish(
        &mut self,
        cx: &mut Context<'_>,
        mut observe: impl FnMut(Progress),
    ) -> Poll<Result<Published, ReceiveError>> {
        loop {
            let lost = self.gather(cx);
            if lost.is_some() {
                // What is looked at for it need not be.
                self.abandon.0.store(true, Ordering::Release);
            }
            if self.is_unsaved && self.incoming.poll_alarm(cx, SAVED_AFTER).is_ready() {
                (self.is_unsaved, self.is_due) = (false, true);
            }
            if let Some(work) = &mut self.work {
                let Poll::Ready(done) = Pin::new(work).poll_unpin(cx) else {
                    return Poll::Pending;
                };
                self.work = None;
                match done {
                    Done::Going(Going { target, durable, lags }) => {
                        (self.target, self.lags) = (Some(target), lags);
                        if durable != self.durable {
                            self.durable = durable;
                            self.incoming.set_durable(durable);
                        }
                        observe(self.incoming.progress());
                    }
                    Done::Published(published) => return Poll::Ready(Ok(published)),
                    Done::Failed(error) => {
                        let lost = lost.filter(|_| error == Error::Busy).map(Into::into);
                        return Poll::Ready(Err(lost.unwrap_or_else(|| error.into())));
                    }
                }
                continue;
            }
            if !self.gathered.is_empty() || self.has_ended || self.restarts || self.may_be_known {
                self.start_work();
                continue;
            }
            match lost {
                Some(error) => return Poll::Ready(Err(error.into())),
                None if self.start_detaching() => {}
                None if (self.lags || self.is_due) && !self.is_detached => self.start_work(),
                None => return Poll::Pending,
            }
        }
    }

    /// Lets go of the part when the stream has broken: its sender may come back with another
    /// conversation.
    fn start_detaching(&mut self) -> bool {
        if self.is_detached || !self.incoming.is_detached() {
            return false;
        }
        match self.target.take() {
            Some(Target::File(mut receiver)) => {
                self.is_detached = true;
                receiver.let_go();
                let save = move || match receiver.checkpoint() {
                    Ok(()) => {
                        let durable = receiver.durable();
                        Done::Going(Going { target: Target::File(receiver), durable, lags: true })
                    }
                    Err(error) => Done::Failed(error),
                };
                self.work = Some(blocking::unblock(save).boxed());
                true
            }
            other => {
                self.target = other;
                false
            }
        }
    }

    /// Takes what has come, as far as there is room for it; returns why no more comes.
    fn gather(&mut self, cx: &mut Context<'_>) -> Option<TransferError> {
        while !self.has_ended && self.gathered_len < GATHERED {
            match self.incoming.poll_next(cx) {
                Poll::Ready(Ok(Some(Chunk { offset, data }))) => {
                    if offset != self.position {
                        // The sender begins anew.
                        self.gathered.clear();
                        self.gathered_len = 0;
                        self.restarts = true;
                    }
                    self.position = offset.saturating_add(data.len() as u64);
                    self.gathered_len = self.gathered_len.saturating_add(data.len());
                    self.gathered.push(data);
                    self.is_unsaved = self.is_saved && !self.is_due;
                }
                Poll::Ready(Ok(None)) => self.has_ended = true,
                Poll::Ready(Err(error)) => return Some(error),
                Poll::Pending => return None,
            }
        }
        None
    }

    fn start_work(&mut self) {
        let Some(target) = self.target.take() else { return };
        self.may_be_known = false;
        let finish = self.incoming.finish().filter(|_| self.has_ended && !self.is_directory);
        let work = Work {
            target,
            reattaches: core::mem::take(&mut self.is_detached),
            restarts: core::mem::take(&mut self.restarts),
            chunks: core::mem::take(&mut self.gathered),
            saves: core::mem::take(&mut self.is_due),
            finish,
            is_abandoned: Arc::clone(&self.abandon.0),
        };
        self.gathered_len = 0;
        self.work = Some(blocking::unblock(move || work.run()).boxed());
    }

    /// Ends after an error: what its sender gave up is removed, what was lost is kept for another try.
    pub(super) async fn give_up(mut self, error: &ReceiveError) -> Incoming {
        if let Some(Target::File(receiver)) = self.target.take() {
            // A sender that stalled will be back for it.
            let is_given_up = matches!(
                error,
                ReceiveError::Transfer(TransferError::CancelAsked { code, .. })
                    if *code != TransferCode::STALLED
            );
            let end = move || if is_given_up { receiver.discard() } else { receiver.suspend() };
            blocking::unblock(end).await;
        }
        self.incoming
    }
}
