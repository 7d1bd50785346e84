//! What a program says, beside listening.

use std::future::poll_fn;
use std::time::Duration;

use duologue::proto::Receipt as Fate;
use duologue::session::{Events, Receipt, Session, SessionError};
use duologue::wire::{Batch, Chat, CloseCode, Message, Offer, Signal};
use futures::channel::oneshot;
use futures::future::{BoxFuture, Either, join, select};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use super::sending::{self, Shape};
use super::{Action, World, show};

/// What each side said, and what the other heard.
#[derive(Default)]
pub(super) struct Minutes {
    pub(super) said: [Vec<String>; 2],
    pub(super) heard: [Vec<String>; 2],
    pub(super) told: [Vec<Vec<u8>>; 2],
    pub(super) learnt: [Vec<Vec<u8>>; 2],
    /// A conversation began anew, or may have: what was said before is lost.
    pub(super) is_fresh: bool,
    /// Who no longer listens.
    pub(super) has_left: [bool; 2],
}

impl Minutes {
    pub(super) fn check(&self) {
        for (speaker, listener) in [(0, 1), (1, 0)] {
            if self.is_fresh {
                continue;
            }
            let (said, heard) = (&self.said[speaker], &self.heard[listener]);
            assert!(said.starts_with(heard), "lines came twice, out of order, or were made up");
            let (told, learnt) = (&self.told[speaker], &self.learnt[listener]);
            assert!(told.starts_with(learnt), "messages came twice, out of order, or were made up");
        }
    }
}

/// One side's application.
pub(super) struct Talk {
    pub(super) world: World,
    pub(super) side: usize,
    actions: Vec<Action>,
}

impl Talk {
    pub(super) fn new(world: World, side: usize, actions: Vec<Action>) -> Self {
        Self { world, side, actions }
    }

    /// Does what the plan says, and closes when all of it has ended.
    pub(super) async fn run(mut self, handle: Session, events: Events) {
        let (tell, opened) = oneshot::channel();
        let (leave, left) = oneshot::channel();
        let actions = std::mem::take(&mut self.actions);
        let this = &self;
        let listening = async {
            let listening = Box::pin(this.listen(&handle, events, Some(tell)));
            let leaving = Box::pin(async {
                if left.await.is_err() {
                    std::future::pending::<()>().await;
                }
            });
            if let Either::Right(_) = select(listening, leaving).await {
                let mut minutes = this.world.minutes.lock().unwrap();
                minutes.has_left[this.side] = true;
                // Nobody would see it.
                minutes.is_fresh = true;
            }
        };
        let acting = async {
            let _ = opened.await;
            let is_open = poll_fn(|cx| handle.poll_opened(cx)).await.is_ok();
            assert!(!is_open || handle.peer_limits().is_some());
            let doing = Box::pin(async {
                for receipt in this.act(&handle, actions, leave).await {
                    this.check(receipt, &handle).await;
                }
            });
            drop(select(doing, Box::pin(this.give_up())).await);
            let _ = handle.close(CloseCode::DONE, "");
            poll_fn(|cx| handle.poll_closed(cx)).await;
            handle.closed().await
        };
        join(listening, acting).await;
        if let Err(error) = handle.opened().await {
            show(&error);
        }
    }

    /// What nobody listens to is never taken: who waits for that gives up at some time.
    async fn give_up(&self) {
        while self.world.minutes.lock().unwrap().has_left == [false; 2] {
            self.world.sleep(Duration::from_secs(600)).await;
        }
        self.world.sleep(Duration::from_secs(600)).await;
    }

    async fn check(&self, receipt: Receipt, handle: &Session) {
        let item = receipt.item();
        let before = receipt.fate();
        let fate = receipt.await;
        assert!(before.is_none_or(|before| before == fate));
        let is_lost = closed(handle) || self.world.minutes.lock().unwrap().is_fresh;
        assert!(fate != Fate::NotSent || is_lost, "{item:?}");
    }

    async fn act(
        &self,
        handle: &Session,
        actions: Vec<Action>,
        leave: oneshot::Sender<()>,
    ) -> Vec<Receipt> {
        let mut sending: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let (mut receipts, mut leave) = (Vec::new(), Some(leave));
        for (number, action) in actions.into_iter().enumerate() {
            match action {
                Action::Say { len, how } => {
                    receipts.extend(self.say(handle, number, len, how).await);
                }
                Action::SayMany { count, len, how } => {
                    receipts.extend(self.say_many(handle, number, count, len, how).await);
                }
                Action::Message { len, how } => {
                    receipts.extend(self.message(handle, number, len, how).await);
                }
                Action::Signal(len) => {
                    let payload = vec![number as u8; usize::from(len) * 5].into();
                    let signal = Signal { signal_type: u16::from(len), payload };
                    if let Err(error) = handle.send_signal(&signal) {
                        show(&error);
                    }
                }
                Action::Send(shape) => {
                    sending.push(sending::send(self, handle, number, shape).boxed());
                }
                Action::Batch { members, more, how } => {
                    let batch = self.batch(handle, number, members, more, how);
                    sending.push(batch.boxed());
                }
                Action::Limit(rate) => {
                    let rate = rate.map(|rate| u64::from(rate).max(500));
                    handle.set_rate_limit(rate);
                    assert_eq!(handle.rate_limit(), rate);
                }
                Action::Wait(millis) => {
                    let time = Duration::from_millis(u64::from(millis) * 4);
                    // Those that are sent go on meanwhile.
                    let waited = Box::pin(self.world.sleep(time));
                    let others = Box::pin(async {
                        while sending.next().await.is_some() {}
                        std::future::pending::<()>().await;
                    });
                    drop(select(waited, others).await);
                }
                Action::Look => look(handle),
                Action::Close(code) => {
                    let text = "x".repeat(usize::from(code));
                    let _ = handle.close(CloseCode::new(u16::from(code)), &text);
                }
                Action::Leave => drop(leave.take().map(|leave| leave.send(()))),
                Action::Forget => {
                    sending.clear();
                    receipts.clear();
                }
            }
        }
        while sending.next().await.is_some() {}
        receipts
    }

    async fn say(&self, handle: &Session, number: usize, len: u16, how: u8) -> Option<Receipt> {
        let text = format!("{number} {}", "x".repeat(usize::from(len)));
        let chat = Chat::new(&*text);
        let chat =
            if how & 2 == 0 { chat } else { chat.author("me").time(1).id([number as u8; 16]) };
        self.world.minutes.lock().unwrap().said[self.side].push(text.clone());
        let sent = match how & 1 {
            0 => handle.send_chat(&chat).await,
            _ => poll_fn(|cx| handle.poll_send_chat(cx, &chat)).await,
        };
        self.noted(handle, sent, |minutes, side| drop(minutes.said[side].pop()))
    }

    async fn say_many(
        &self,
        handle: &Session,
        number: usize,
        count: u8,
        len: u8,
        how: u8,
    ) -> Option<Receipt> {
        let texts: Vec<String> =
            (0..count).map(|at| format!("{number}.{at} {}", "y".repeat(len.into()))).collect();
        let chats: Vec<Chat<'_>> = texts.iter().map(|text| Chat::new(&**text)).collect();
        let before = {
            let said = &mut self.world.minutes.lock().unwrap().said[self.side];
            said.extend(texts.iter().cloned());
            said.len() - texts.len()
        };
        let mut left = &chats[..];
        let mut last = None;
        let sent = if how & 1 == 0 {
            handle.send_chats(&mut left).await
        } else {
            loop {
                if left.is_empty() {
                    break Ok(last);
                }
                match poll_fn(|cx| handle.poll_send_chats(cx, &mut left)).await {
                    Ok(receipt) => last = receipt,
                    Err(error) => break Err(error),
                }
            }
        };
        let gone = chats.len() - left.len();
        match sent {
            Ok(receipt) => receipt,
            Err(error) => {
                show(&error);
                self.world.minutes.lock().unwrap().said[self.side].truncate(before + gone);
                None
            }
        }
    }

    async fn message(&self, handle: &Session, number: usize, len: u16, how: u8) -> Option<Receipt> {
        let mut body = vec![how; usize::from(len)];
        body.push(number as u8);
        let message = Message {
            message_type: number as u16,
            is_reply: how & 2 != 0,
            correlation: u64::from(how),
            body: body.clone().into(),
        };
        self.world.minutes.lock().unwrap().told[self.side].push(body);
        let sent = match how & 1 {
            0 => handle.send_message(&message).await,
            _ => poll_fn(|cx| handle.poll_send_message(cx, &message)).await,
        };
        self.noted(handle, sent, |minutes, side| drop(minutes.told[side].pop()))
    }

    fn noted(
        &self,
        handle: &Session,
        sent: Result<Receipt, SessionError>,
        take_back: impl FnOnce(&mut Minutes, usize),
    ) -> Option<Receipt> {
        match sent {
            Ok(receipt) => {
                assert!(!format!("{receipt:?}").is_empty());
                Some(receipt)
            }
            Err(error) => {
                show(&error);
                assert!(!error.can_retry() || handle.is_detached() || !closed(handle));
                take_back(&mut self.world.minutes.lock().unwrap(), self.side);
                None
            }
        }
    }

    /// A batch, its members one after the other or all at once.
    async fn batch(&self, handle: &Session, number: usize, members: Vec<Shape>, more: u8, how: u8) {
        let count = members.len() as u32 + u32::from(more & 1);
        let offer = Batch {
            name: format!("{number}-{how}").into(),
            count,
            bytes: members.iter().map(Shape::total).sum(),
            metadata: (&b"b"[..]).into(),
        };
        let offered = match how & 1 {
            0 => handle.offer_batch(&offer).await,
            _ => poll_fn(|cx| handle.poll_offer_batch(cx, &offer)).await,
        };
        let mut batch = match offered {
            Ok(batch) => batch,
            Err(error) => return show(&error),
        };
        assert!(!format!("{batch:?} {:?}", batch.id()).is_empty());
        let accepted = match how & 2 {
            0 => batch.accepted().await,
            _ => poll_fn(|cx| batch.poll_accepted(cx)).await,
        };
        if let Err(error) = accepted {
            return show(&error);
        }
        let mut sending = FuturesUnordered::new();
        for (at, shape) in members.iter().enumerate() {
            let name = shape.name((number + 1) * 100 + at);
            let mut offer = shape.offer(&name).batch(batch.id());
            if shape.is_directory() {
                offer = Offer::new(name.clone()).batch(batch.id()).directory();
            }
            let offered = match how & 4 {
                0 => batch.offer(offer).await,
                _ => poll_fn(|cx| batch.poll_offer(cx, &offer)).await,
            };
            match offered {
                Ok(outgoing) => {
                    sending.push(sending::run(
                        self,
                        outgoing,
                        (number + 1) * 100 + at,
                        shape.clone(),
                    ));
                }
                Err(error) => show(&error),
            }
            if how & 8 != 0 {
                while sending.next().await.is_some() {}
            }
        }
        if how & 0x30 == 0x30 {
            let _ = batch.cancel(duologue::wire::TransferCode::CANCELLED, "all of it");
        }
        while sending.next().await.is_some() {}
        if how & 0xC0 == 0xC0 || count > members.len() as u32 {
            // Nobody waits for what is still to come.
            return;
        }
        let verdict = match how & 0x40 {
            0 => batch.verdict().await,
            _ => poll_fn(|cx| batch.poll_verdict(cx)).await,
        };
        if let Err(error) = verdict {
            show(&error);
        }
    }
}

pub(super) fn closed(handle: &Session) -> bool {
    handle.closed().now_or_never().is_some()
}

/// What can be asked at any time.
fn look(handle: &Session) {
    let said = format!(
        "{handle:?} {:?} {:?} {:?} {:?}",
        handle.conversation(),
        handle.handshake_hash(),
        handle.statistics(),
        handle.clone().peer_limits(),
    );
    assert!(!said.is_empty());
    assert!(!(handle.is_open() && handle.is_detached() && closed(handle)));
}
