//! An application that stores the files that it is sent.

use std::future::poll_fn;
use std::time::Duration;

use duologue::fs::{Published, Receiver};
use duologue::session::{Chunk, Incoming, IncomingOffer, TransferError};
use duologue::wire::TransferCode;

use super::ledger::File;
use super::program::{IDENTITY, Program};

/// What a receiver does to a file on its way.
#[derive(Default)]
pub(crate) struct Whims {
    pub(crate) file: Option<usize>,
    pub(crate) cancel_at: Option<usize>,
    pub(crate) pause: Option<(usize, Duration)>,
    /// It is held up when the world says so.
    pub(crate) is_held_up: bool,
}

impl Whims {
    /// Whether it is the receiver itself that ends a file, and keeps nothing of it.
    fn is_final(&self, code: TransferCode, receiver: &Receiver) -> bool {
        let gives_up = self.cancel_at.is_some_and(|at| receiver.position() as usize >= at);
        code == TransferCode::TOO_LARGE || code == TransferCode::CANCELLED && gives_up
    }
}

/// Somebody receives a file.
struct Receiving {
    program: Program,
    file: usize,
}

impl Receiving {
    fn new(program: &Program, file: usize) -> Self {
        program.its_file(file, |file| file.receivers += 1);
        Self { program: program.clone(), file }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.program.its_file(self.file, |file| file.receivers -= 1);
    }
}

impl Program {
    /// A file of the other side.
    fn its_file<R>(&self, index: usize, call: impl FnOnce(&mut File) -> R) -> R {
        self.world.ledger(|ledger| call(&mut ledger.sent[1 - self.side].files[index]))
    }

    pub(crate) async fn receive(self, offer: IncomingOffer) {
        self.dawdle().await;
        let Some(index) = offer.offer().metadata.first().map(|number| *number as usize - 1) else {
            return self.world.violation(|| "an offer of nobody's".to_owned());
        };
        let is_declined = self.its_file(index, |file| {
            let is_declined = file.declined < file.work.declined;
            file.declined += u32::from(is_declined);
            is_declined
        });
        if is_declined {
            self.its_file(index, |file| file.on_said(TransferCode::DECLINED));
            // A drop declines, too.
            return if self.world.percent(50) {
                let _ = offer.reject(TransferCode::DECLINED, "not now");
            };
        }
        let begun = self.inbox.receive(IDENTITY, offer.offer());
        self.world.note(|| format!("side {} begins its file {index}: {begun:?}", self.side));
        let mut receiver = match begun {
            Ok(receiver) => receiver,
            Err(error) => {
                if error.code() == TransferCode::BUSY {
                    self.on_busy(index);
                }
                let _ = offer.reject(error.code(), "");
                return;
            }
        };
        let _receiving = Receiving::new(&self, index);
        let accepted = match receiver.prefix() {
            Some((offset, digest)) => offer.accept_part(offset, digest),
            None => offer.accept(),
        };
        let Ok(mut incoming) = accepted else { return };
        let is_held_up = index == self.world.profile.work[1 - self.side].files.len();
        let whims = self.its_file(index, |file| Whims {
            file: Some(index),
            cancel_at: file.work.cancelled_at(1),
            pause: file.work.paused_at(1),
            is_held_up,
        });
        let stored = self.store(&mut incoming, &mut receiver, &whims).await;
        self.world
            .note(|| format!("side {} ends its file {index}: {stored:?} {receiver:?}", self.side));
        match stored {
            Ok(()) => match self.publish(&incoming, receiver, Some(index)) {
                Ok(published) => drop(incoming.stored(published.path().as_str())),
                Err(code) => {
                    // Another one has it since it was let go of while there was no stream.
                    if code == TransferCode::BUSY {
                        self.its_file(index, |file| file.on_said(code));
                    }
                    drop(incoming.failed(code, ""));
                }
            },
            Err(code) => {
                if code == TransferCode::BUSY {
                    self.its_file(index, |file| file.on_said(code));
                }
                if whims.is_final(code, &receiver) {
                    self.its_file(index, File::on_given_up);
                }
                if code == TransferCode::CANCELLED {
                    receiver.discard();
                } else {
                    receiver.suspend();
                }
                self.end(incoming, code);
            }
        }
    }

    /// The inbox says that another one receives the same.
    fn on_busy(&self, index: usize) {
        let receivers = self.its_file(index, |file| {
            file.on_said(TransferCode::BUSY);
            file.receivers
        });
        if receivers == 0 {
            let side = self.side;
            self.world.violation(|| format!("side {side}: its file {index} is nobody's, and busy"));
        }
    }

    /// What is dropped ends as cancelled, too.
    pub(crate) fn end(&self, incoming: Incoming, code: TransferCode) {
        if code != TransferCode::CANCELLED || self.world.percent(50) {
            let _ = incoming.failed(code, "");
        }
    }

    pub(crate) async fn store(
        &self,
        incoming: &mut Incoming,
        receiver: &mut Receiver,
        whims: &Whims,
    ) -> Result<(), TransferCode> {
        let failed = |error: duologue::fs::Error| error.code();
        let mut is_attached = true;
        loop {
            self.act_on(incoming, receiver, whims).await?;
            let next = self.next(incoming, receiver, &mut is_attached);
            // What is dropped while it waits has taken nothing.
            let Some(next) = self.patiently(next).await else { continue };
            let chunk = match next {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(()),
                // What only took too long is gone on with another time.
                Err(TransferError::CancelAsked { code: TransferCode::STALLED, .. }) => {
                    return Err(TransferCode::STALLED);
                }
                Err(TransferError::CancelAsked { .. }) => return Err(TransferCode::CANCELLED),
                Err(_) => return Err(TransferCode::BUSY),
            };
            if !is_attached {
                receiver.reattach().map_err(failed)?;
                is_attached = true;
            }
            if chunk.offset == 0 && receiver.position() > 0 {
                receiver.restart().map_err(failed)?;
            }
            receiver.write(&[chunk.data]).map_err(failed)?;
            incoming.set_durable(receiver.durable());
            self.dawdle().await;
        }
    }

    async fn act_on(
        &self,
        incoming: &Incoming,
        receiver: &Receiver,
        whims: &Whims,
    ) -> Result<(), TransferCode> {
        let at = receiver.position() as usize;
        if whims.cancel_at.is_some_and(|cancel_at| at >= cancel_at) {
            return Err(TransferCode::CANCELLED);
        }
        let was_paused = |file: &mut File| std::mem::replace(&mut file.was_paused[1], true);
        if let (Some(index), Some((pause_at, time))) = (whims.file, whims.pause) {
            if at >= pause_at && !self.its_file(index, was_paused) {
                self.world.count(|report| report.pauses += 1);
                let _ = incoming.pause(true);
                self.world.sleep(time).await;
                self.unpause(|| incoming.pause(false)).await;
            }
        }
        if whims.is_held_up && self.world.is_held_up.get() {
            // One side says so, and the other just does not read.
            let says_so = self.side == 0 && incoming.pause(true).is_ok();
            while self.world.is_held_up.get() {
                self.world.sleep(Duration::from_millis(100)).await;
            }
            if says_so {
                self.unpause(|| incoming.pause(false)).await;
            }
        }
        Ok(())
    }

    /// The next chunk; while there is no stream the part may be taken over by who comes back.
    async fn next(
        &self,
        incoming: &mut Incoming,
        receiver: &mut Receiver,
        is_attached: &mut bool,
    ) -> Result<Option<Chunk>, TransferError> {
        poll_fn(|cx| {
            let next = incoming.poll_next(cx);
            if next.is_pending() && *is_attached && incoming.is_detached() {
                *is_attached = receiver.detach().is_err();
            }
            next
        })
        .await
    }

    /// Gives it its name for good.
    pub(crate) fn publish(
        &self,
        incoming: &Incoming,
        receiver: Receiver,
        file: Option<usize>,
    ) -> Result<Published, TransferCode> {
        let finish = incoming.finish().ok_or(TransferCode::STORAGE_FAILED)?;
        let published = receiver.publish(finish.total, finish.digest);
        let settled = published.and_then(|published| {
            // From here on it is the file that stays: that it is known again is not promised of every
            // offer.
            if let Some(index) = file {
                self.its_file(index, |file| (file.is_published, file.durable) = (true, 0));
            }
            self.inbox.settle(std::slice::from_ref(&published)).map(|()| published)
        });
        settled.map_err(|error| error.code())
    }
}
