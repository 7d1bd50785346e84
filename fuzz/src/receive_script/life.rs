//! A conversation of the two programs.

use std::cell::Cell;
use std::time::Duration;

use duologue::fs::{
    BatchEvent, Inbox, SendError, TreeEvent, TreeOptions, receive, receive_batch, send, send_tree,
};
use duologue::io::TransportError;
use duologue::proto::{Config, Connection, StreamParameters};
use duologue::session::{
    Accepted, Backoff, BatchOffer, Conversations, Event, Events, IncomingOffer, Progress, Session,
    TransferError, session,
};
use duologue::testing::{Duplex, Faulty, duplex};
use duologue::time::{Timer, VirtualClock};
use duologue::wire::CloseCode;
use futures::channel::mpsc;
use futures::future::{Either, LocalBoxFuture, join, select};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use super::conversation::{Patience, block_on};
use super::judge::{Judge, Place};
use super::sources::Sources;
use super::{Errand, Life, program, show};

type Stream = Faulty<Duplex>;
type Tasks<'a> = FuturesUnordered<LocalBoxFuture<'a, ()>>;

struct Program<'a> {
    clock: VirtualClock,
    life: &'a Life,
    inbox: &'a Inbox,
    place: Place<'a>,
    sources: &'a Sources,
    judge: &'a Judge<'a>,
    /// Files on their way, at either end.
    works: Cell<usize>,
}

pub(super) fn run(
    capacity: u16,
    life: &Life,
    (inbox, place): (&Inbox, Place<'_>),
    sources: &Sources,
    judge: &Judge<'_>,
) {
    let clock = VirtualClock::new();
    let works = Cell::new(0);
    let program = Program { clock: clock.clone(), life, inbox, place, sources, judge, works };
    let capacity = usize::from(capacity % 8192) + 64;
    let (sender, streams) = mpsc::unbounded();
    let made = Cell::new(0);
    let make = || {
        let (near, far) = duplex(capacity);
        let script = || {
            let script = life.scripts.get(made.get()).filter(|_| made.get() < 4);
            made.set(made.get() + 1);
            script.cloned().unwrap_or_default()
        };
        let (near_script, far_script) = (script(), script());
        let _ = sender.unbounded_send(Faulty::new(far, far_script, &clock));
        Faulty::new(near, near_script, &clock)
    };
    let client = async {
        let timer = clock.timer();
        let parameters = StreamParameters::new([1; 32]);
        let connection = Connection::client(Config::default(), parameters, timer.now());
        let (handle, events, driver) = session(make(), connection, timer);
        let connector = || {
            let stream = make();
            async move { Ok::<_, TransportError>(stream) }
        };
        let driver = driver.reconnecting(connector, Backoff::new([2; 32]).max_attempts(8));
        join(driver, program.send_all(handle, events)).await;
        sender.close_channel();
    };
    let server = program.serve(streams);
    let patience = if judge.is_last.get() { Patience::ENDLESS } else { Patience::SHORT };
    let (works, calls) = (|| program.works.get() > 0, || place.calls());
    block_on(&clock, works, calls, patience, join(client, server));
}

impl Program<'_> {
    async fn sleep(&self, time: Duration) {
        program::sleep(&self.clock, time).await;
    }

    /// A future of files, for so long if it is to be dropped in the middle.
    async fn work<T>(&self, future: impl Future<Output = T>, millis: Option<u8>) -> Option<T> {
        let _working = Working::new(&self.works);
        let Some(millis) = millis else { return Some(future.await) };
        let sleeping = Box::pin(self.sleep(Duration::from_millis(u64::from(millis) * 4)));
        match select(Box::pin(future), sleeping).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }

    async fn send_all(&self, handle: Session, mut events: Events) {
        let listening = async { while events.next().await.is_some() {} };
        let sending = async {
            if handle.opened().await.is_ok() {
                if self.life.habits & 0x80 != 0 {
                    handle.set_rate_limit(Some(500_000));
                }
                self.do_errands(&handle).await;
            }
            let _ = handle.close(CloseCode::DONE, "");
        };
        join(listening, sending).await;
    }

    async fn do_errands(&self, handle: &Session) {
        let mut tasks: Tasks<'_> = FuturesUnordered::new();
        for errand in &self.life.errands {
            match *errand {
                Errand::File { which, how } => {
                    tasks.push(self.send_file(handle, which, how).boxed_local());
                    if how & 1 != 0 {
                        while tasks.next().await.is_some() {}
                    }
                }
                Errand::Tree { how } => {
                    tasks.push(self.send_folder(handle, how).boxed_local());
                    if how & 1 != 0 {
                        while tasks.next().await.is_some() {}
                    }
                }
                Errand::Grow { which } if which & 0x40 != 0 => {
                    // Nobody would notice.
                    while tasks.next().await.is_some() {}
                    self.sources.change(which);
                }
                Errand::Grow { which } => self.sources.grow(which),
                Errand::Wait(time) => {
                    let time = Duration::from_millis(u64::from(time));
                    let others = async {
                        while tasks.next().await.is_some() {}
                        std::future::pending::<()>().await;
                    };
                    drop(select(Box::pin(self.sleep(time)), Box::pin(others)).await);
                }
            }
        }
        while tasks.next().await.is_some() {}
    }

    async fn send_file(&self, handle: &Session, which: u8, how: u8) {
        let path = self.sources.file(which);
        let millis = (how & 6 == 6).then_some(how);
        let sending = send(handle, &path, |progress| {
            assert!(progress.durable <= progress.received || progress.total.is_none());
        });
        match self.work(sending, millis).await {
            None => {}
            Some(Ok(sent)) => self.judge.stored(self.place, &sent),
            Some(Err(error)) => {
                show(&error);
                let _ = error.can_retry();
                let is_told = matches!(error, SendError::Transfer(TransferError::NotStored(_)));
                assert!(!self.judge.is_last.get() || is_told, "in the end: {error}");
            }
        }
    }

    async fn send_folder(&self, handle: &Session, how: u8) {
        let options = TreeOptions::new().special_names(how & 8 != 0);
        let options = if how & 0x10 == 0 { options } else { options.max_entries(3) };
        let path = match how & 0x20 {
            0 => self.sources.path("tree"),
            _ => self.sources.path("tree/in/.."),
        };
        let millis = (how & 6 == 6).then_some(how);
        let observe = |event| match event {
            TreeEvent::Stored { sent, .. } => self.judge.stored(self.place, &sent),
            TreeEvent::Failed { error, .. } => show(&error),
            TreeEvent::LeftOut { reason, .. } => assert!(!reason.to_string().is_empty()),
            _ => {}
        };
        match self.work(send_tree(handle, path, options, observe), millis).await {
            Some(Err(error)) => show(&error),
            Some(Ok(sent)) => assert!(!format!("{sent:?}").is_empty()),
            None => {}
        }
    }

    async fn serve(&self, streams: mpsc::UnboundedReceiver<Stream>) {
        let conversations = Conversations::new(Config::default());
        let serve_one = |stream, seed| self.serve_one(conversations.clone(), stream, seed);
        program::serve(streams, serve_one).await;
    }

    async fn serve_one(&self, conversations: Conversations<Stream>, stream: Stream, seed: u8) {
        let parameters = StreamParameters::new([seed; 32]);
        let accepted = conversations.accept(stream, parameters, self.clock.timer()).await;
        let Ok(Accepted::New(handle, mut events, driver)) = accepted else { return };
        let storing = program::listen(&mut events, |_, event, tasks| match event {
            Event::Offer(offer) => tasks.push(self.store(&handle, offer).boxed_local()),
            Event::Batch(batch) => tasks.push(self.store_batch(batch).boxed_local()),
            _ => {}
        });
        join(driver, storing).await;
    }

    fn identity(&self) -> Option<&'static [u8]> {
        match self.life.habits >> 1 & 3 {
            1 => None,
            2 => Some(b"another"),
            _ => Some(b"peer"),
        }
    }

    async fn store(&self, handle: &Session, offer: IncomingOffer) {
        if self.life.habits & 8 != 0 {
            if let Err(error) = self.inbox.check(offer.offer()) {
                show(&error);
                drop(offer.reject(error.code(), &error.to_string()));
                return;
            }
        }
        let ends = self.life.habits & 0x10 != 0;
        let observe = |progress: Progress| {
            if ends && progress.received > 2000 {
                let _ = handle.close(CloseCode::SHUTDOWN, "");
            }
        };
        let name = offer.offer().name.to_string();
        let millis = (self.life.habits & 0x20 != 0).then_some(self.life.end);
        let receiving = receive(offer, self.inbox, self.identity(), observe);
        match self.work(receiving, millis).await {
            Some(Ok(received)) => assert!(!format!("{received:?}").is_empty()),
            Some(Err(error)) => {
                show(&error);
                let _ = error.can_retry();
                self.judge.failed(&name, &error);
            }
            None => {}
        }
    }

    async fn store_batch(&self, batch: BatchOffer) {
        let observe = |event| {
            if let BatchEvent::Failed { name, error } = event {
                show(&error);
                self.judge.failed(&name, &error);
            }
        };
        let name = batch.batch().name.to_string();
        let millis = (self.life.habits & 0x40 != 0).then_some(self.life.end);
        let receiving = receive_batch(batch, self.inbox, self.identity(), observe);
        match self.work(receiving, millis).await {
            Some(Ok(received)) => assert!(!format!("{received:?}").is_empty()),
            Some(Err(error)) => {
                show(&error);
                self.judge.failed(&name, &error);
            }
            None => {}
        }
    }
}

/// Counts while it lives.
struct Working<'a>(&'a Cell<usize>);

impl<'a> Working<'a> {
    fn new(works: &'a Cell<usize>) -> Self {
        works.set(works.get() + 1);
        Self(works)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
