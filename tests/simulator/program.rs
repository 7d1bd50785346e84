//! An application at either side: it talks, sends its files until they are stored, and stores what
//! comes.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use duologue::fs::{Inbox, InboxOptions, Receiver};
use duologue::session::{
    Chunk, Event, Events, Incoming, IncomingOffer, Outgoing, Session, SessionError, TransferError,
};
use duologue::wire::{Chat, Digest, Offer, TransferCode};
use futures::StreamExt;

use super::World;
use super::executor::Owner;
use super::ledger::file_name;
use super::profile::BLOCK;

/// What a program has of a conversation.
#[derive(Clone)]
pub(crate) struct Program {
    world: Rc<World>,
    owner: Owner,
    side: usize,
    session: Session,
    inbox: Inbox,
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::Blake3(*blake3::hash(bytes).as_bytes())
}

impl Program {
    /// Begins to do what there is to do, in a conversation that has begun.
    pub(crate) fn start(
        world: &Rc<World>,
        owner: Owner,
        side: usize,
        session: Session,
        events: Events,
    ) {
        let disk = world.disk(side);
        let options = InboxOptions::new().alignment(BLOCK).keep_free(0);
        let Ok(inbox) = options.open_on(std::sync::Arc::new(disk)) else {
            // Its disk fails: somebody starts it again later.
            return world.restart(side);
        };
        let program = Self { world: Rc::clone(world), owner, side, session, inbox };
        let listening = program.clone();
        world.spawn(owner, async move { listening.listen(events).await });
        let talking = program.clone();
        world.spawn(owner, async move { talking.talk().await });
        for index in 0..world.profile.sides[side].files.len() {
            let sending = program.clone();
            world.spawn(owner, async move { sending.send_file(index).await });
        }
    }

    async fn dawdle(&self) {
        let slowness = self.world.profile.slowness;
        if !slowness.is_zero() && self.world.percent(30) {
            self.world.sleep(self.world.up_to(slowness)).await;
        }
    }

    async fn listen(self, mut events: Events) {
        while let Some(event) = events.next().await {
            match event {
                Event::Chat(chat) => self.hear(&chat.text),
                Event::Offer(offer) => {
                    let receiving = self.clone();
                    self.world.spawn(self.owner, async move { receiving.receive(offer).await });
                }
                _ => {}
            }
            if self.world.percent(50) {
                for text in &events.ready_chats() {
                    self.hear(text);
                }
            }
            self.dawdle().await;
        }
    }

    fn hear(&self, text: &str) {
        self.world.ledger.borrow_mut().on_line(1 - self.side, text);
    }

    async fn talk(self) {
        if self.session.opened().await.is_err() {
            return;
        }
        let work = &self.world.profile.sides[self.side];
        loop {
            let number = self.world.ledger.borrow().sent[self.side].lines;
            let Some(len) = work.lines.get(number) else { return };
            self.world.sleep(self.world.up_to(work.pause)).await;
            let text = format!("{number} {}", "é".repeat(len / 2));
            let receipt = match self.session.send_chat(&Chat::new(text)).await {
                Ok(receipt) => receipt,
                // The next conversation goes on with it.
                Err(SessionError::Ended(_)) => return,
                Err(error) => {
                    let what = format!("a line was refused: {error}");
                    return self.world.ledger.borrow_mut().violation(what);
                }
            };
            {
                let sent = &mut self.world.ledger.borrow_mut().sent[self.side];
                sent.lines += 1;
                sent.open_receipts += 1;
            }
            let (world, side) = (Rc::clone(&self.world), self.side);
            let waiting = Waiting { world, side, number: Some(number) };
            self.world.spawn(self.owner, async move {
                let receipt = receipt.await;
                waiting.end(receipt);
            });
        }
    }

    async fn send_file(self, index: usize) {
        let work = &self.world.profile.sides[self.side].files[index];
        self.world.sleep(self.world.up_to(work.begins_after)).await;
        while !self.world.ledger.borrow().sent[self.side].files[index].is_settled {
            match self.try_to_send(index).await {
                Ok(name) => {
                    let disk = self.world.disk(1 - self.side);
                    self.world.ledger.borrow_mut().on_stored(self.side, index, &name, &disk);
                    self.world.count(|report| report.files += 1);
                }
                Err(TransferError::NotStored(verdict))
                    if verdict.code() == TransferCode::CANCELLED && work.cancel_at.is_some() =>
                {
                    self.settle(index);
                }
                Err(TransferError::Abandoned(Some(_))) => return,
                Err(_) => {
                    self.world.count(|report| report.failures += 1);
                    self.world.sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    fn settle(&self, index: usize) {
        self.world.ledger.borrow_mut().sent[self.side].files[index].is_settled = true;
    }

    async fn try_to_send(&self, index: usize) -> Result<String, TransferError> {
        let work = &self.world.profile.sides[self.side].files[index];
        let content = self.world.ledger.borrow().sent[self.side].files[index].content.clone();
        let name = file_name(index);
        let mut offer = Offer::new(&*name).modified(1);
        if work.has_size {
            offer = offer.size(content.len() as u64);
        }
        if work.is_seekable {
            offer = offer.seekable();
        }
        let mut outgoing = match self.session.offer(&offer).await {
            Ok(outgoing) => outgoing,
            Err(SessionError::Ended(reason)) => return Err(TransferError::Abandoned(Some(reason))),
            Err(_) => return Err(TransferError::Abandoned(None)),
        };
        let accept = outgoing.accepted().await?;
        let prefix = &content[..(accept.offset as usize).min(content.len())];
        match accept.prefix {
            Some(found) if found == digest(prefix) => {
                self.world.ledger.borrow_mut().on_offset(self.side, index, accept.offset);
                outgoing.confirm_prefix()?;
                self.world.count(|report| report.taken_up += 1);
            }
            Some(_) => outgoing.restart()?,
            None => self.world.ledger.borrow_mut().on_offset(self.side, index, 0),
        }
        loop {
            match self.send_rest(index, &mut outgoing, &content).await {
                Err(TransferError::Rewind { .. }) => {}
                result => return result,
            }
        }
    }

    /// Sends what is not sent yet, and waits for the verdict.
    async fn send_rest(
        &self,
        index: usize,
        outgoing: &mut Outgoing,
        content: &bytes::Bytes,
    ) -> Result<String, TransferError> {
        let work = &self.world.profile.sides[self.side].files[index];
        loop {
            let at = outgoing.position() as usize;
            if work.cancel_at.is_some_and(|cancel_at| at >= cancel_at) {
                let _ = outgoing.cancel(TransferCode::CANCELLED, "");
                return outgoing.verdict().await.map(|verdict| verdict.text().to_owned());
            }
            if at >= content.len() {
                break;
            }
            let chunk = content.slice(at..content.len().min(at + work.chunk));
            outgoing.send(chunk).await?;
            self.note_durable(index, outgoing);
            self.dawdle().await;
        }
        let verdict = outgoing.finish(Some(digest(content))).await?;
        Ok(verdict.text().to_owned())
    }

    fn note_durable(&self, index: usize, outgoing: &Outgoing) {
        if self.world.has_failing_disk(1 - self.side) {
            return;
        }
        let file = &mut self.world.ledger.borrow_mut().sent[self.side].files[index];
        file.durable = file.durable.max(outgoing.progress().durable);
    }

    async fn receive(self, offer: IncomingOffer) {
        self.dawdle().await;
        let begun = self.inbox.receive(Some(b"the other side"), offer.offer());
        let mut receiver = match begun {
            Ok(receiver) => receiver,
            Err(error) => {
                let _ = offer.reject(error.code(), "");
                return;
            }
        };
        let accepted = match receiver.prefix() {
            Some((offset, digest)) => offer.accept_part(offset, digest),
            None => offer.accept(),
        };
        let Ok(mut incoming) = accepted else { return };
        match self.store(&mut incoming, &mut receiver).await {
            Ok(()) => self.publish(incoming, receiver),
            Err(code) => {
                if code == TransferCode::CANCELLED {
                    receiver.discard();
                } else {
                    receiver.suspend();
                }
                let _ = incoming.failed(code, "");
            }
        }
    }

    async fn store(
        &self,
        incoming: &mut Incoming,
        receiver: &mut Receiver,
    ) -> Result<(), TransferCode> {
        let failed = |error: duologue::fs::Error| error.code();
        let mut is_attached = true;
        loop {
            let next = self.next(incoming, receiver, &mut is_attached).await;
            let chunk = match next {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(()),
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

    fn publish(&self, incoming: Incoming, receiver: Receiver) {
        let Some(finish) = incoming.finish() else { return };
        let published = receiver.publish(finish.total, finish.digest);
        let settled = published.and_then(|published| {
            self.inbox.settle(std::slice::from_ref(&published)).map(|()| published)
        });
        let _ = match settled {
            Ok(published) => incoming.stored(published.path().as_str()),
            Err(error) => incoming.failed(error.code(), ""),
        };
    }
}

/// A receipt that is waited for: a program that is killed waits no more.
struct Waiting {
    world: Rc<World>,
    side: usize,
    number: Option<usize>,
}

impl Waiting {
    fn end(mut self, receipt: duologue::proto::Receipt) {
        if let Some(number) = self.number.take() {
            self.world.ledger.borrow_mut().on_receipt(self.side, number, receipt);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.number.is_some() {
            self.world.ledger.borrow_mut().sent[self.side].open_receipts -= 1;
        }
    }
}
