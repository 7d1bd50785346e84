//! An application that sends folders, and stores those that it is sent.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use duologue::fs::{self, BatchReceiver, Collision, Durability};
use duologue::proto::Conclusion;
use duologue::session::{
    BatchOffer, Incoming, IncomingBatch, Outgoing, OutgoingBatch, SessionError, TransferError,
    Verdict,
};
use duologue::wire::{Batch, Offer, TransferCode};
use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};

use super::ledger::{Folder, Member, Outcome};
use super::meter::Uncounted;
use super::program::{IDENTITY, Program};
use super::receive::Whims;
use super::send::Content;
use super::world::Mark;

/// What `fs::send_tree` says of a folder that it can go on with, and of one whose files have digests.
const METADATA: [&[u8]; 2] = [b"duologue folder 1", b"duologue folder 1 digests"];

/// What is to be sent of a member.
#[derive(Clone)]
struct Part {
    path: String,
    is_folder: bool,
    /// Why it has to be refused.
    refusal: Option<TransferCode>,
    content: Content,
}

impl Program {
    fn folder<R>(&self, index: usize, call: impl FnOnce(&mut Folder) -> R) -> R {
        self.world.ledger(|ledger| call(&mut ledger.sent[self.side].folders[index]))
    }

    /// One after the other: several at once may wait for each other's places.
    pub(crate) async fn send_folders(self) {
        if self.session.opened().await.is_err() {
            return;
        }
        for index in 0..self.work().folders.len() {
            let work = self.work().folders[index].clone();
            self.world.sleep(self.world.up_to(work.begins_after)).await;
            while self.folder(index, |folder| folder.outcome.is_none()) {
                let result = self.try_folder(index).await;
                self.world.note(|| format!("side {}: folder {index} {result:?}", self.side));
                match result {
                    Ok(Some(outcome)) => {
                        self.world.count(|report| report.folders += 1);
                        self.folder(index, |folder| folder.outcome = Some(outcome));
                    }
                    Ok(None) => self.wait_to_try_again().await,
                    Err(TransferError::Abandoned(Some(_))) => return,
                    Err(_) => self.wait_to_try_again().await,
                }
            }
        }
    }

    /// Sends a folder: how it ended, if it is not to be tried again.
    async fn try_folder(&self, index: usize) -> Result<Option<Outcome>, TransferError> {
        let receiver = &self.world.profile.programs[1 - self.side];
        let since = self.world.mark(1 - self.side);
        let mark = |folder: &mut Folder| *folder.since.get_or_insert(since);
        let first = self.folder(index, mark);
        let (mut batch, has_digests) = match self.offer_folder(index).await {
            Err(TransferError::NotStored(verdict)) if verdict.code() == TransferCode::EXISTS => {
                if !self.may_be_taken(index, first) {
                    let side = self.side;
                    self.world.violation(|| format!("side {side}: folder {index} {verdict:?}"));
                }
                self.world.count(|report| report.refused += 1);
                return Ok(Some(Outcome::Refused(TransferCode::EXISTS)));
            }
            offered => offered?,
        };
        let most = receiver.max_file;
        let folder = |folder: &mut Folder| {
            let parts = folder.members.iter().map(|member| Part {
                path: member.work.path.clone(),
                is_folder: member.work.len.is_none(),
                refusal: member.refusal(most),
                content: Content {
                    bytes: member.content.clone(),
                    digest: member.digest,
                    chunk: member.work.chunk,
                },
            });
            (parts.collect::<Vec<_>>(), folder.work.clone())
        };
        let sent = Uncounted::new(|| self.folder(index, folder));
        let (parts, work) = &*sent;
        let shared = futures::lock::Mutex::new(&mut batch);
        let mut ended = stream::iter(parts.iter().enumerate())
            .map(|(number, part)| {
                self.send_member(&shared, ([index, number], since), part, has_digests)
            })
            .buffer_unordered(work.at_a_time);
        let (mut count, mut lost, mut is_taken) = (0, None, false);
        while work.cancel_after.is_none_or(|most| count < most) {
            let Some(result) = ended.next().await else { break };
            count += 1;
            match result {
                Err(error @ (TransferError::Abandoned(_) | TransferError::Unanswered)) => {
                    lost = Some(error);
                    break;
                }
                Err(TransferError::NotStored(verdict)) => {
                    is_taken |= verdict.code() == TransferCode::EXISTS;
                }
                _ => {}
            }
        }
        drop(ended);
        drop(shared);
        if let Some(error) = lost {
            return Err(error);
        }
        if work.cancel_after.is_some() {
            let _ = batch.cancel(TransferCode::CANCELLED, "");
        }
        self.conclude(index, batch.verdict().await, work.cancel_after.is_some(), is_taken)
    }

    /// Whether something may have the name of a folder. It is the folder itself, of which the note was lost
    /// with the power, or has rotted, or was not taken by the disk, or never made by a program that was killed just then,
    /// or gave way to another one where there are only four places.
    fn may_be_taken(&self, index: usize, first: Mark) -> bool {
        let side = 1 - self.side;
        let receiver = &self.world.profile.programs[side];
        let now = self.world.mark(side);
        let is_lost = now.lapses > first.lapses || now.rots > first.rots;
        let has_failed = now.failed_calls > first.failed_calls || now.fallen > first.fallen;
        let has_others = self.work().files.len() + self.work().folders.len() > 1;
        let is_full = has_others && !receiver.has_places;
        let name = Uncounted::new(|| format!("d{index}"));
        receiver.collision == Collision::Refuse
            && self.world.has_on_disk(side, &name, first)
            && (is_lost || has_failed || is_full)
    }

    /// What a verdict makes of a folder; nothing if it is to be tried again. It may have been given up,
    /// or something else may have had the name of a member.
    fn conclude(
        &self,
        index: usize,
        verdict: Result<Verdict, TransferError>,
        is_given_up: bool,
        is_taken: bool,
    ) -> Result<Option<Outcome>, TransferError> {
        let most = self.world.profile.programs[1 - self.side].max_file;
        let (has_refused, has_ended) = self.folder(index, |folder| {
            let is_refused = |member: &Member| member.refusal(most).is_some();
            let mut members = folder.members.iter();
            let has_ended = members.all(|member| member.is_stored || is_refused(member));
            (folder.members.iter().any(is_refused), has_ended)
        });
        let verdict = match verdict {
            // Of a member its sender may not have heard.
            Ok(verdict) => {
                if has_refused {
                    let what = format!("side {}: folder {index} is no {verdict:?}", self.side);
                    self.world.violation(|| what);
                }
                return Ok(Some(Outcome::Stored));
            }
            Err(TransferError::NotStored(verdict)) => verdict,
            Err(error) => return Err(error),
        };
        self.world.note(|| format!("side {}: folder {index} {verdict:?}", self.side));
        Ok(match verdict.code() {
            _ if is_given_up => {
                self.world.count(|report| report.cancelled += 1);
                Some(Outcome::Cancelled)
            }
            TransferCode::STORAGE_FAILED if has_refused && has_ended => {
                Some(Outcome::Refused(TransferCode::STORAGE_FAILED))
            }
            // A loss of power left something else under the name.
            _ if is_taken => Some(Outcome::Refused(TransferCode::EXISTS)),
            _ => None,
        })
    }

    /// Offers it, and once more if the receiver has some of it.
    async fn offer_folder(&self, index: usize) -> Result<(OutgoingBatch, bool), TransferError> {
        let (count, bytes) = self.folder(index, |folder| (folder.members.len(), folder.bytes()));
        for (number, metadata) in METADATA.into_iter().enumerate() {
            let name = format!("d{index}");
            let offer =
                Batch { name: name.into(), count: count as u32, bytes, metadata: metadata.into() };
            let mut batch = match self.session.offer_batch(&offer).await {
                Ok(batch) => batch,
                Err(SessionError::Ended(reason)) => {
                    return Err(TransferError::Abandoned(Some(reason)));
                }
                Err(SessionError::Refused(error)) => return Err(TransferError::Refused(error)),
                Err(_) => return Err(TransferError::Abandoned(None)),
            };
            match batch.accepted().await {
                Ok(()) => return Ok((batch, number == 1)),
                Err(TransferError::NotStored(verdict))
                    if verdict.code() == TransferCode::KNOWN_IN_PART && number == 0 => {}
                Err(error) => return Err(error),
            }
        }
        Err(TransferError::Expired)
    }

    async fn send_member(
        &self,
        batch: &futures::lock::Mutex<&mut OutgoingBatch>,
        (number, since): ([usize; 2], Mark),
        part: &Part,
        has_digests: bool,
    ) -> Result<(), TransferError> {
        let mut offer = Offer::new(&*part.path).modified(1);
        if part.is_folder {
            offer = offer.directory();
        } else {
            offer = offer.size(part.content.bytes.len() as u64).seekable();
            offer.digest = has_digests.then_some(part.content.digest);
        }
        let mut outgoing = batch.lock().await.offer(offer).await?;
        let name = match self.send_content(&mut outgoing, part).await {
            Ok(name) => name,
            Err(TransferError::NotStored(verdict)) if verdict.code() == TransferCode::KNOWN => {
                self.world.count(|report| report.taken_up += 1);
                verdict.text().to_owned()
            }
            Err(TransferError::NotStored(verdict)) => {
                self.world.note(|| format!("side {}: member {number:?} {verdict:?}", self.side));
                let is_given_up = self.work().folders[number[0]].cancel_after.is_some();
                if part.refusal != Some(verdict.code())
                    && !self.may_fail(verdict.code(), is_given_up, since)
                {
                    self.world.violation(|| format!("member {number:?}: {verdict:?}"));
                }
                return Err(TransferError::NotStored(verdict));
            }
            Err(error) => return Err(error),
        };
        let disk = self.world.disk(1 - self.side);
        let may_be_lost = self.world.mark(1 - self.side).lapses > since.lapses;
        self.world.ledger(|ledger| {
            ledger.on_member(self.side, number, &name, &disk, may_be_lost);
        });
        self.world.count(|report| report.members += 1);
        Ok(())
    }

    /// Whether any member may fail so: as its disk does, or as it or its batch came to an end.
    fn may_fail(&self, code: TransferCode, is_given_up: bool, since: Mark) -> bool {
        use TransferCode as Code;
        let side = 1 - self.side;
        let receiver = &self.world.profile.programs[side];
        let is_unsynced = receiver.durability == Durability::NoSync
            && self.world.ledger(|ledger| ledger.has_forgotten[side]);
        match code {
            // What the power left of a file, or the file itself, which the disk failed to synchronise.
            Code::EXISTS => {
                let has_failed = self.world.mark(side).failed_calls > 0;
                receiver.collision == Collision::Refuse && (is_unsynced || has_failed)
            }
            Code::STORAGE_FAILED | Code::NO_SPACE => {
                self.world.mark(side).failed_calls > since.failed_calls
            }
            // Or its batch was, for its slowness.
            Code::CANCELLED => is_given_up || self.world.may_have_stalled(since),
            Code::BUSY => false,
            Code::STALLED => self.world.may_have_stalled(since),
            _ => false,
        }
    }

    async fn send_content(
        &self,
        outgoing: &mut Outgoing,
        part: &Part,
    ) -> Result<String, TransferError> {
        let bytes = &part.content.bytes;
        let verdict = loop {
            if part.is_folder {
                break outgoing.verdict().await?;
            }
            let at = outgoing.position() as usize;
            let sent = if at < bytes.len() {
                let chunk = bytes.slice(at..bytes.len().min(at + part.content.chunk));
                outgoing.send(chunk).await.map(|()| None)
            } else {
                outgoing.finish(Some(part.content.digest)).await.map(Some)
            };
            match sent {
                Ok(Some(verdict)) => break verdict,
                Ok(None) => self.dawdle().await,
                Err(TransferError::Rewind { .. }) => {}
                Err(error) => return Err(error),
            }
        };
        Ok(verdict.text().to_owned())
    }

    pub(crate) async fn receive_folder(self, offer: BatchOffer) {
        self.dawdle().await;
        let name = offer.batch().name.clone();
        let index: Option<usize> = name.strip_prefix('d').and_then(|number| number.parse().ok());
        let is_declined = self.world.ledger(|ledger| {
            let folders = &mut ledger.sent[1 - self.side].folders;
            let folder = index.and_then(|index| folders.get_mut(index))?;
            let is_declined = folder.declined < folder.work.declined;
            folder.declined += u32::from(is_declined);
            Some(is_declined)
        });
        match is_declined {
            None => return self.world.violation(|| "a batch of nobody's".to_owned()),
            Some(true) => return,
            Some(false) => {}
        }
        let receiver = match self.inbox.receive_batch(IDENTITY, offer.batch()) {
            Ok(receiver) => receiver,
            Err(error) => {
                let _ = offer.reject(error.code(), "");
                return;
            }
        };
        let Ok(mut batch) = offer.accept() else { return };
        let receiver = Rc::new(RefCell::new(receiver));
        let Ok(failed) = self.store_members(&mut batch, &receiver).await else { return };
        let finished = receiver.borrow().finish();
        let _ = match &finished {
            Ok(path) if failed == 0 => batch.conclude(&Conclusion::Stored { name: path.as_str() }),
            Ok(_) => batch.conclude(&Conclusion::Failed {
                code: TransferCode::STORAGE_FAILED,
                text: "not all of it",
            }),
            Err(error) => batch.conclude(&Conclusion::Failed { code: error.code(), text: "" }),
        };
    }

    /// Stores all that come: how many were not.
    async fn store_members(
        &self,
        batch: &mut IncomingBatch,
        receiver: &Rc<RefCell<BatchReceiver>>,
    ) -> Result<usize, TransferError> {
        let (mut running, mut failed, mut has_all) = (FuturesUnordered::new(), 0, false);
        poll_fn(|cx| {
            while !has_all {
                match batch.poll_next(cx)? {
                    Poll::Ready(Some((offer, incoming))) => {
                        running.push(self.store_member(offer, incoming, Rc::clone(receiver)));
                    }
                    Poll::Ready(None) => has_all = true,
                    Poll::Pending => break,
                }
            }
            while let Poll::Ready(Some(is_stored)) = running.poll_next_unpin(cx) {
                failed += usize::from(!is_stored);
            }
            if has_all && running.is_empty() { Poll::Ready(Ok(failed)) } else { Poll::Pending }
        })
        .await
    }

    /// Stores a member: whether it is.
    async fn store_member(
        &self,
        offer: Offer<'static>,
        mut incoming: Incoming,
        batch: Rc<RefCell<BatchReceiver>>,
    ) -> bool {
        let begun = batch.borrow_mut().receive(&offer);
        let published = match begun {
            Ok(fs::Member::File(mut receiver)) => {
                match self.store(&mut incoming, &mut receiver, &Whims::default()).await {
                    Ok(()) => self.publish(&incoming, receiver, None),
                    Err(code) => Err(code),
                }
            }
            Ok(fs::Member::Folder(published)) => {
                let settled = self.inbox.settle(std::slice::from_ref(&published));
                settled.map(|()| published).map_err(|error| error.code())
            }
            Ok(fs::Member::Known(published)) => {
                let settled = self.inbox.settle(std::slice::from_ref(&published));
                if settled.is_ok() {
                    return incoming.failed(TransferCode::KNOWN, published.path().as_str()).is_ok();
                }
                Err(TransferCode::STORAGE_FAILED)
            }
            Err(error) => Err(error.code()),
        };
        match published {
            Ok(published) => incoming.stored(published.path().as_str()).is_ok(),
            Err(code) => {
                self.end(incoming, code);
                false
            }
        }
    }
}
