//! An application that sends files, until they are stored or that is ruled out.

use std::time::Duration;

use bytes::Bytes;
use duologue::fs::{Collision, Durability};
use duologue::session::{Outgoing, SessionError, TransferError, Verdict};
use duologue::wire::{Digest, Offer, TransferCode};

use super::ledger::{File, Outcome};
use super::meter::Uncounted;
use super::program::Program;
use super::work::FileWork;
use super::world::Mark;

/// What is sent of a file, and how.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
    pub(crate) chunk: usize,
}

impl Program {
    fn file<R>(&self, index: usize, call: impl FnOnce(&mut File) -> R) -> R {
        self.world.ledger(|ledger| call(&mut ledger.sent[self.side].files[index]))
    }

    pub(crate) async fn send_file(self, index: usize) {
        let sent = Uncounted::new(|| {
            self.file(index, |File { content, digest, work, .. }| {
                let content =
                    Content { bytes: content.clone(), digest: *digest, chunk: work.chunk };
                (work.clone(), content)
            })
        });
        let (work, content) = &*sent;
        if self.session.opened().await.is_err() {
            return;
        }
        self.world.sleep(self.world.up_to(work.begins_after)).await;
        while self.file(index, |file| file.outcome.is_none()) {
            let (receiver, since) = (1 - self.side, self.world.mark(1 - self.side));
            let changed = self.change(index, content);
            let content = changed.as_ref().map_or(content, |changed| &**changed);
            let sending = self.try_to_send((index, since), work, content);
            let result = match work.dropped_after.filter(|_| !self.file(index, |f| f.was_dropped)) {
                Some(time) => match self.within(time, sending).await {
                    Some(result) => result,
                    None => {
                        // The other side is asked to forget it.
                        self.file(index, |file| (file.was_dropped, file.durable) = (true, 0));
                        continue;
                    }
                },
                None => sending.await,
            };
            self.world.note(|| format!("side {}: file {index} {result:?}", self.side));
            match result {
                Ok(name) => {
                    let disk = self.world.disk(receiver);
                    let may_be_lost = self.world.mark(receiver).lapses > since.lapses;
                    self.world.ledger(|ledger| {
                        ledger.on_stored(self.side, index, &name, &disk, may_be_lost);
                    });
                    self.world.count(|report| report.files += 1);
                }
                Err(TransferError::Abandoned(Some(_))) => return,
                Err(TransferError::NotStored(verdict)) => {
                    match self.outcome((index, since), work, &verdict) {
                        Some(outcome) => self.file(index, |file| file.outcome = Some(outcome)),
                        None => self.wait_to_try_again().await,
                    }
                }
                Err(_) => self.wait_to_try_again().await,
            }
        }
    }

    /// What is sent in the first attempt, if the file changes in it.
    fn change(&self, index: usize, content: &Content) -> Option<Uncounted<Content>> {
        let len = content.bytes.len();
        let has_changed = self.file(index, File::has_changed);
        if !self.world.profile.changes[self.side] || len == 0 || has_changed {
            return None;
        }
        self.world.count(|report| report.changed += 1);
        let at = self.world.random.borrow_mut().below(len as u64) as usize;
        Some(Uncounted::new(|| {
            let bytes = self.file(index, |file| file.change(at));
            Content { bytes, ..content.clone() }
        }))
    }

    pub(crate) async fn wait_to_try_again(&self) {
        self.world.count(|report| report.failures += 1);
        self.world.sleep(Duration::from_secs(1)).await;
    }

    /// What a verdict makes of a file that is not stored; nothing if it is to be tried again.
    fn outcome(
        &self,
        (index, since): (usize, Mark),
        work: &FileWork,
        verdict: &Verdict,
    ) -> Option<Outcome> {
        use TransferCode as Code;
        let (code, receiver) = (verdict.code(), &self.world.profile.programs[1 - self.side]);
        let is_larger = receiver.max_file.is_some_and(|most| work.len as u64 > most);
        let has_failed = self.world.mark(1 - self.side).failed_calls > since.failed_calls;
        let is_unsynced = receiver.durability == Durability::NoSync
            && self.world.ledger(|ledger| ledger.has_forgotten[1 - self.side]);
        let has_rotted = self.world.mark(1 - self.side).rots > 0;
        let is_right = match code {
            Code::CANCELLED if (0..2).any(|by| work.cancelled_at(by).is_some()) => {
                self.world.count(|report| report.cancelled += 1);
                return Some(Outcome::Cancelled);
            }
            // Its sender gave it up for its slowness, and its receiver decided on it after that.
            Code::CANCELLED => self.world.may_have_stalled(since),
            Code::DECLINED => self.file(index, |file| file.heard(code)),
            Code::NAME_REFUSED => work.refused.is_some(),
            Code::EXISTS => {
                let name = Uncounted::new(|| self.file(index, |file| file.name(index)));
                receiver.collision == Collision::Refuse
                    && self.world.has_on_disk(1 - self.side, &name, since)
            }
            Code::TOO_LARGE => is_larger,
            Code::NO_SPACE => has_failed,
            // A part, or a file that was stored, is not what it was.
            Code::STORAGE_FAILED => has_failed || is_unsynced || has_rotted,
            Code::DIGEST_DIFFERS => self.file(index, |file| file.is_changed),
            Code::STALLED => self.world.may_have_stalled(since),
            // Its receiver was looked at when it said so.
            Code::BUSY => self.file(index, |file| file.heard(code)),
            _ => false,
        };
        if !is_right {
            let side = self.side;
            self.world.violation(|| format!("side {side}: file {index} ended as {verdict:?}"));
        }
        let is_final = matches!(code, Code::NAME_REFUSED | Code::EXISTS | Code::TOO_LARGE);
        is_final.then(|| {
            self.world.count(|report| report.refused += 1);
            Outcome::Refused(code)
        })
    }

    async fn try_to_send(
        &self,
        (index, since): (usize, Mark),
        work: &FileWork,
        content: &Content,
    ) -> Result<String, TransferError> {
        let given_up = self.file(index, |file| file.given_up);
        let name = Uncounted::new(|| self.file(index, |file| file.name(index)));
        // Which one it is, whatever its name.
        let mut offer = Offer::new(&**name).modified(1).metadata(vec![index as u8 + 1]);
        if work.has_size {
            offer = offer.size(content.bytes.len() as u64);
        }
        if work.is_seekable {
            offer = offer.seekable();
        }
        if work.has_digest {
            offer = offer.digest(content.digest);
        }
        let mut outgoing = match self.patiently(self.session.offer(&offer)).await {
            Some(Ok(outgoing)) => outgoing,
            Some(Err(SessionError::Ended(reason))) => {
                return Err(TransferError::Abandoned(Some(reason)));
            }
            Some(Err(SessionError::Refused(error))) => return Err(TransferError::Refused(error)),
            None => return Err(TransferError::Expired),
            Some(Err(_)) => return Err(TransferError::Abandoned(None)),
        };
        let accept = outgoing.accepted().await?;
        let prefix = &content.bytes[..(accept.offset as usize).min(content.bytes.len())];
        match accept.prefix {
            Some(Digest::Blake3(found)) if found == *blake3::hash(prefix).as_bytes() => {
                self.take_up(index, accept.offset);
                outgoing.confirm_prefix()?;
                self.world.count(|report| report.taken_up += 1);
            }
            Some(_) => outgoing.restart()?,
            None => self.take_up(index, 0),
        }
        loop {
            match self.send_rest((index, given_up, since), work, &mut outgoing, content).await {
                Err(TransferError::Rewind { .. }) => {}
                result => return result.map(|verdict| verdict.text().to_owned()),
            }
        }
    }

    /// The receiver has so much of it.
    fn take_up(&self, index: usize, offset: u64) {
        let failed_calls = self.world.mark(1 - self.side).failed_calls;
        self.world.ledger(|ledger| ledger.on_offset(self.side, index, offset, failed_calls));
    }

    /// Sends what is not sent yet, and waits for the verdict.
    async fn send_rest(
        &self,
        (index, given_up, since): (usize, u32, Mark),
        work: &FileWork,
        outgoing: &mut Outgoing,
        content: &Content,
    ) -> Result<Verdict, TransferError> {
        let (bytes, size) = (&content.bytes, content.bytes.len());
        loop {
            let at = outgoing.position() as usize;
            if work.cancelled_at(0).is_some_and(|cancel_at| at >= cancel_at) {
                self.world.note(|| format!("side {} gives file {index} up", self.side));
                // The other side forgets it, even if that is never known here.
                self.file(index, |file| file.durable = 0);
                let _ = outgoing.cancel(TransferCode::CANCELLED, "");
                return outgoing.verdict().await;
            }
            if let Some((_, time)) = work.paused_at(0).filter(|(pause_at, _)| at >= *pause_at) {
                if !self.file(index, |file| std::mem::replace(&mut file.was_paused[0], true)) {
                    self.world.count(|report| report.pauses += 1);
                    // The lane may be full.
                    let _ = outgoing.pause(true);
                    self.world.sleep(time).await;
                    self.unpause(|| outgoing.pause(false)).await;
                }
            }
            if at >= size {
                break;
            }
            let chunk = bytes.slice(at..size.min(at + content.chunk));
            match self.patiently(outgoing.send(chunk)).await {
                Some(sent) => sent?,
                // Nothing was taken of it.
                None => continue,
            }
            self.note_durable((index, given_up, since), outgoing);
            self.dawdle().await;
        }
        outgoing.finish(Some(content.digest)).await
    }

    /// Goes on with what was paused, as soon as the lane has room to say so.
    pub(crate) async fn unpause(&self, unpause: impl Fn() -> Result<(), TransferError>) {
        while let Err(TransferError::Refused(error)) = unpause() {
            if !error.can_retry() {
                return;
            }
            self.world.sleep(Duration::from_millis(100)).await;
        }
    }

    /// What a disk that fails has of it is given up, and so may be what its power took.
    fn note_durable(&self, (index, given_up, since): (usize, u32, Mark), outgoing: &Outgoing) {
        let now = self.world.mark(1 - self.side);
        let befallen = |mark: Mark| (mark.failed_calls, mark.lapses, mark.rots);
        if befallen(now) == befallen(since) {
            let durable = outgoing.progress().durable;
            self.file(index, |file| file.on_durable(durable, given_up, now.failed_calls));
        }
    }
}
