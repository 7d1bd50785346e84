//! Peers on virtual time, in one task: what the tests of `session` share.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{CloseReason, Config, Connection, Opening, StreamParameters};
use duologue::session::{
    BatchOffer, Driver, Event, Events, Incoming, IncomingOffer, Outcome, Outgoing, Session,
    TransferError, accept, session,
};
use duologue::testing::{Duplex, duplex};
use duologue::time::{VirtualClock, VirtualTimer};
use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use futures::io::{AsyncRead, AsyncWrite};
use futures::stream::{FuturesUnordered, StreamExt};

/// How often everything else is polled while a test waits. Days of keep-alives are fewer.
const MOST_POLLS: u32 = 300_000;

/// A clock, and tasks that run on it beside the test.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) clock: VirtualClock,
    spawned: Rc<RefCell<Vec<LocalBoxFuture<'static, ()>>>>,
    seeds: Rc<Cell<u32>>,
}

/// What a task will return.
pub(crate) type Task<T> = oneshot::Receiver<T>;

impl World {
    /// Runs a test; while everything waits, time passes. It is polled only when it was woken itself, as
    /// its tasks are: who forgets to wake it is found out.
    pub(crate) fn run<T>(test: impl AsyncFnOnce(&Self) -> T) -> T {
        let world = Self::default();
        let mut tasks = FuturesUnordered::new();
        // Polls since it was polled itself.
        let polls = Cell::new(0_u32);
        let mut test = pin!(test(&world));
        let mut main = FuturesUnordered::from_iter([std::future::poll_fn(|cx| {
            polls.set(0);
            test.as_mut().poll(cx)
        })]);
        let whole = std::future::poll_fn(|cx| {
            polls.set(polls.get() + 1);
            assert!(polls.get() < MOST_POLLS, "nobody wakes the test");
            loop {
                if let Poll::Ready(Some(result)) = main.poll_next_unpin(cx) {
                    return Poll::Ready(result);
                }
                world.poll_tasks(&mut tasks, cx);
                if world.spawned.borrow().is_empty() {
                    return Poll::Pending;
                }
            }
        });
        world.clock.block_on(whole).expect("nothing waits for ever")
    }

    /// The same, for a test in which nothing is to wait for a time-out: what ought to come at once
    /// would come in the end without being asked for, too.
    pub(crate) fn run_at_once<T>(test: impl AsyncFnOnce(&Self) -> T) -> T {
        Self::run(async |world| {
            let result = test(world).await;
            let passed = world.clock.now();
            assert!(passed.as_micros() < 5_000_000, "it took until {passed:?}");
            result
        })
    }

    fn poll_tasks(
        &self,
        tasks: &mut FuturesUnordered<LocalBoxFuture<'static, ()>>,
        cx: &mut Context<'_>,
    ) {
        loop {
            tasks.extend(self.spawned.borrow_mut().drain(..));
            if !matches!(tasks.poll_next_unpin(cx), Poll::Ready(Some(()))) {
                return;
            }
        }
    }

    pub(crate) fn spawn<T: 'static>(&self, task: impl Future<Output = T> + 'static) -> Task<T> {
        let (sender, receiver) = oneshot::channel();
        let task = async move {
            let _ = sender.send(task.await);
        };
        self.spawned.borrow_mut().push(Box::pin(task));
        receiver
    }

    /// Spawns a task of which nobody needs the result.
    pub(crate) fn detach(&self, task: impl Future<Output = ()> + 'static) {
        self.spawned.borrow_mut().push(Box::pin(task));
    }

    pub(crate) fn timer(&self) -> VirtualTimer {
        self.clock.timer()
    }

    /// 32 bytes that no other stream of the test has.
    pub(crate) fn seed(&self) -> [u8; 32] {
        self.seeds.set(self.seeds.get() + 1);
        let mut seed = [self.seeds.get() as u8; 32];
        seed[..4].copy_from_slice(&self.seeds.get().to_be_bytes());
        seed
    }

    pub(crate) fn parameters(&self) -> StreamParameters<'static> {
        StreamParameters::new(self.seed())
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        super::support::sleep(&self.clock, duration).await;
    }

    /// Lets everything that can go on at this moment do so.
    pub(crate) async fn settle(&self) {
        self.sleep(Duration::from_micros(1)).await;
    }

    pub(crate) fn client<IO>(
        &self,
        io: IO,
        config: Config,
    ) -> (Session, Events, Driver<IO, VirtualTimer>)
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let timer = self.timer();
        session(io, Connection::client(config, self.parameters(), self.clock.now()), timer)
    }

    /// A client and a server that talk, on these streams.
    pub(crate) async fn connect_over<A, B>(
        &self,
        near: A,
        far: B,
        configs: (Config, Config),
    ) -> (Peer, Peer)
    where
        A: AsyncRead + AsyncWrite + Unpin + 'static,
        B: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (session, events, driver) = self.client(near, configs.0);
        let mut client = Peer { session, events, driver: self.spawn(driver) };
        let accepted = accept(far, configs.1, self.parameters(), self.timer()).await;
        let (session, events, driver) = accepted.unwrap();
        let mut server = Peer { session, events, driver: self.spawn(driver) };
        assert!(matches!(client.event().await, Event::Open(Opening::New)));
        assert!(matches!(server.event().await, Event::Open(Opening::New)));
        (client, server)
    }

    pub(crate) async fn connect_with(&self, configs: (Config, Config)) -> (Peer, Peer) {
        let (near, far) = duplex(64 << 10);
        self.connect_over(near, far, configs).await
    }

    pub(crate) async fn connect(&self) -> (Peer, Peer) {
        self.connect_with(Default::default()).await
    }

    /// A file of the client's that the server has accepted.
    pub(crate) async fn transfer(
        &self,
        near: &mut Peer,
        far: &mut Peer,
        offer: duologue::wire::Offer<'_>,
    ) -> (Outgoing, Incoming) {
        let mut outgoing = near.session.offer(&offer).await.unwrap();
        let incoming = far.offer().await.accept().unwrap();
        outgoing.accepted().await.unwrap();
        (outgoing, incoming)
    }
}

/// A side of a conversation.
pub(crate) struct Peer {
    pub(crate) session: Session,
    pub(crate) events: Events,
    pub(crate) driver: Task<Outcome<VirtualTimer>>,
}

impl Peer {
    pub(crate) async fn event(&mut self) -> Event {
        self.events.next().await.expect("one more event")
    }

    pub(crate) async fn chat(&mut self) -> String {
        match self.event().await {
            Event::Chat(chat) => chat.text.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn offer(&mut self) -> IncomingOffer {
        match self.event().await {
            Event::Offer(offer) => offer,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn batch(&mut self) -> BatchOffer {
        match self.event().await {
            Event::Batch(batch) => batch,
            other => panic!("{other:?}"),
        }
    }

    /// All that there is to hear, up to the end.
    pub(crate) async fn into_the_end(mut self) -> (Vec<Event>, CloseReason, Outcome<VirtualTimer>) {
        let mut events = Vec::new();
        let reason = loop {
            match self.event().await {
                Event::Closed(reason) => break reason,
                event => events.push(event),
            }
        };
        assert!(self.events.next().await.is_none(), "nothing comes after the end");
        (events, reason, self.driver.await.unwrap())
    }
}

/// What a file of this length contains.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Reads all of a file, chunk by chunk.
pub(crate) async fn read_all(incoming: &mut Incoming) -> Result<Vec<u8>, TransferError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = incoming.next().await? {
        bytes.truncate(chunk.offset as usize);
        assert_eq!(chunk.offset, bytes.len() as u64);
        bytes.extend_from_slice(&chunk.data);
    }
    Ok(bytes)
}

/// Sends all of a file that can be sent again from anywhere, and returns the verdict's name.
pub(crate) async fn send_all(
    outgoing: &mut Outgoing,
    file: &Bytes,
    chunk: usize,
) -> Result<String, TransferError> {
    outgoing.accepted().await?;
    loop {
        while outgoing.position() < file.len() as u64 {
            let from = outgoing.position() as usize;
            let to = file.len().min(from + chunk);
            match outgoing.send(file.slice(from..to)).await {
                Ok(()) | Err(TransferError::Rewind { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        match outgoing.finish(None).await {
            Ok(verdict) => return Ok(verdict.name().unwrap_or_default().to_owned()),
            Err(TransferError::Rewind { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}

/// A pair of pipes of this capacity.
pub(crate) fn pipes(capacity: usize) -> (Duplex, Duplex) {
    duplex(capacity)
}
