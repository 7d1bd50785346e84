//! An application at either side: it talks, sends its files and folders until they are stored, and stores
//! what comes.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use duologue::fs::Inbox;
use duologue::proto::CloseReason;
use duologue::session::{Event, Events, Session, SessionError};
use duologue::wire::{Chat, CloseCode, ConversationId};
use futures::StreamExt;
use futures::future::{Either, select};

use super::disk::Disk;
use super::executor::Owner;
use super::occasion::Streams;
use super::work::Work;
use super::world::World;

/// What a program knows the other one by.
pub(crate) const IDENTITY: Option<&[u8]> = Some(b"the other side");

/// What a program has of a conversation.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) world: Rc<World>,
    owner: Owner,
    pub(crate) side: usize,
    pub(crate) session: Session,
    pub(crate) inbox: Inbox,
    pub(crate) streams: Rc<Streams>,
    /// What its events ended with.
    heard: Rc<Cell<Option<CloseReason>>>,
}

impl Program {
    /// Begins to do what there is to do, in a conversation that has begun; not if its disk fails.
    pub(crate) fn start(
        world: &Rc<World>,
        owner: Owner,
        first_stream: usize,
        session: Session,
        events: Events,
    ) -> bool {
        let Owner::Conversation { side, .. } = owner else { return false };
        let disk = Disk::new(|| world.disk(side), &world.sides[side].failed_calls);
        let inbox = world.profile.programs[side].inbox().open_on(Arc::new(disk));
        let Ok(inbox) = inbox else {
            // Its disk fails: somebody starts it again later.
            world.restart(side);
            return false;
        };
        session.set_rate_limit(world.profile.programs[side].rate_limit);
        let (world, heard) = (Rc::clone(world), Rc::default());
        let streams = Rc::new(Streams::new(first_stream));
        let program = Self { world, owner, side, session, inbox, streams, heard };
        *program.world.sides[side].program.borrow_mut() = Some(program.clone());
        program.spawn(|program| program.listen(events));
        program.spawn(Self::talk);
        program.spawn(Self::send_messages);
        let held_up = usize::from(program.world.sends_held_up.get());
        for index in 0..program.work().files.len() + held_up {
            program.spawn_sending(move |program| program.send_file(index));
        }
        if !program.work().folders.is_empty() {
            program.spawn_sending(Self::send_folders);
        }
        true
    }

    pub(crate) fn work(&self) -> &Work {
        &self.world.profile.work[self.side]
    }

    /// Does something beside the rest, as long as the conversation lasts.
    pub(crate) fn spawn<F: Future<Output = ()> + 'static>(
        &self,
        what: impl FnOnce(Self) -> F + 'static,
    ) {
        let program = self.clone();
        self.world.spawn(self.owner, async move { what(program).await });
    }

    /// Sends data beside the rest.
    pub(crate) fn spawn_sending<F: Future<Output = ()> + 'static>(
        &self,
        what: impl FnOnce(Self) -> F + 'static,
    ) {
        let program = self.clone();
        let sending = async move { what(program).await };
        self.world.executor.spawn_sender(self.owner, sending);
    }

    pub(crate) async fn dawdle(&self) {
        let slowness = self.world.profile.slowness;
        if !slowness.is_zero() && self.world.percent(30) {
            self.world.sleep(self.world.up_to(slowness)).await;
        }
    }

    /// Waits for something, now and then not to the end.
    pub(crate) async fn patiently<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        if !self.world.percent(5) {
            return Some(what.await);
        }
        let time = self.world.up_to(Duration::from_secs(1));
        self.within(time, what).await
    }

    /// Drops something that takes longer.
    pub(crate) async fn within<T>(
        &self,
        time: Duration,
        what: impl Future<Output = T>,
    ) -> Option<T> {
        let sleep = std::pin::pin!(self.world.sleep(time));
        match select(std::pin::pin!(what), sleep).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }

    /// Says goodbye.
    pub(crate) fn close(&self, code: CloseCode) {
        self.spawn(move |program| async move {
            // It may have ended by itself.
            let _ = program.session.close(code, "until then");
        });
    }

    /// The conversation, while it has a stream.
    pub(crate) fn conversation(&self) -> Option<ConversationId> {
        let is_there = self.session.is_open() && !self.session.is_detached();
        is_there.then(|| self.session.conversation())
    }

    /// What its events ended with.
    pub(crate) fn heard_end(&self) -> Option<CloseReason> {
        self.heard.get()
    }

    async fn listen(self, mut events: Events) {
        let mut ended = None;
        while let Some(event) = events.next().await {
            if let Some(reason) = ended {
                let what = format!("side {} heard {event:?} after the end, {reason}", self.side);
                self.world.violation(|| what);
            }
            match event {
                Event::Chat(chat) => self.hear(&chat),
                Event::Message(message) => self.take_message(&message),
                Event::Signal(signal) => self.take_signal(&signal),
                Event::Offer(offer) => self.spawn(|program| program.receive(offer)),
                Event::Batch(offer) => self.spawn(|program| program.receive_folder(offer)),
                Event::Closed(reason) => ended = Some(reason),
                other => {
                    self.world.note(|| format!("side {}: {other:?}", self.side));
                    match other {
                        Event::Open(opening) => self.streams.on_open(opening),
                        Event::Detached(reason) => self.on_detached(reason),
                        _ => {}
                    }
                }
            }
            if self.world.percent(50) {
                for text in &events.ready_chats() {
                    self.hear(&Chat::new(text));
                }
            }
            self.dawdle().await;
        }
        self.check_end(ended).await;
        self.heard.set(ended);
    }

    /// Every handle says the same at the end.
    async fn check_end(&self, ended: Option<CloseReason>) {
        let closed = self.session.closed().await;
        let refused = self.session.send_chat(&Chat::new("is anybody there")).await.err();
        let is_same = ended == Some(closed)
            && refused == Some(SessionError::Ended(closed))
            && self.session.offer(&duologue::wire::Offer::new("x")).await.err() == refused;
        if !is_same {
            let side = self.side;
            self.world.violation(|| format!("side {side}: {ended:?}, {closed:?}, {refused:?}"));
        }
    }
}
