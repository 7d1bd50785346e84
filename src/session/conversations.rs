//! The conversations of a listener, to which clients come back.

use core::fmt;
use core::future::Future;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::vec::Vec;

use futures::channel::oneshot;
use futures::io::{AsyncRead, AsyncWrite};

use super::accept::{AcceptError, Handshake, Resumption};
use super::detached::Detached;
use super::driver::Driver;
use super::events::Events;
use super::outcome::{Ended, Outcome};
use super::session::Session;
use super::shared::{Shared, State, WakeList};
use crate::proto::{Config, Error, StreamParameters};
use crate::sync::{Mutex, MutexGuard};
use crate::time::Timer;
use crate::wire::{CloseCode, ConversationId};

/// The conversations of a listener: each stream that comes begins one, or goes on with the one that
/// its client had before it broke. Clones are the same.
///
/// When there are as many as there may be, a newcomer gets the place of the oldest one that is not
/// open yet, whose client is told [`CloseCode::LIMIT`]; if all are open it is refused with that
/// code. So clients that say HELLO and then nothing keep nobody out. What is open holds its place
/// until it ends, also while its client is away, for the configuration's `detached_timeout` at most.
/// So does, where the application [decides](HostedDriver::ask_for_peer) on the peer, a client that has
/// said more than HELLO and waits for that: for the configuration's `handshake_timeout` at most. So
/// strangers who say anything at all can fill the places of such a listener for that long, unless they
/// are refused at once: let [`RateLimit`](crate::net::RateLimit) bound how many streams an address has.
///
/// Streams on which not even HELLO came hold no place, and each is waited for as long as
/// `handshake_timeout`: how many there are at a time is up to whoever accepts them, as
/// [`Server::most_connections`](crate::net::Server::most_connections) and
/// [`RateLimit::most_live`](crate::net::RateLimit::most_live) are.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use duologue::net::{self, Listener, RateLimit, Server};
/// use duologue::proto::{Config, StreamParameters};
/// use duologue::session::{Accepted, Conversations};
/// use duologue::time::AsyncIoTimer;
/// use futures::StreamExt;
/// use std::time::Duration;
///
/// let conversations = Conversations::new(Config::default()).max_conversations(100);
/// let server = Server::new(Listener::any(5000).await?)
///     .most_connections(200) // those that say nothing among them
///     .admission(RateLimit::new(20, Duration::from_secs(60)).most_live(4));
/// let handler = move |connection: net::Accepted| {
///     let conversations = conversations.clone();
///     async move {
///         let mut seed = [0; 32];
///         getrandom::fill(&mut seed).unwrap();
///         let (parameters, timer) = (StreamParameters::new(seed), AsyncIoTimer::new());
///         match conversations.accept(connection.stream, parameters, timer).await {
///             Ok(Accepted::New(session, mut events, driver)) => {
///                 let application = async { while events.next().await.is_some() {} };
///                 futures::join!(driver, application);
///                 drop(session);
///             }
///             Ok(Accepted::Resumed(_)) => {} // its driver goes on
///             Err(error) => eprintln!("{error}"),
///         }
///         Ok::<(), std::io::Error>(())
///     }
/// };
/// server.serve(|task| smol::spawn(task).detach(), handler).await?;
/// # Ok(())
/// # }
/// ```
pub struct Conversations<IO> {
    inner: Arc<Inner<IO>>,
}

struct Inner<IO> {
    config: Config,
    most: usize,
    table: Mutex<Table<IO>>,
}

struct Table<IO> {
    entries: BTreeMap<ConversationId, Arc<Entry<IO>>>,
    /// Those that had never been open when they were last looked at, by their order.
    unopened: BTreeMap<u64, ConversationId>,
    /// How many have begun.
    begun: u64,
}

/// A conversation and the place where a new stream is handed to its driver.
struct Entry<IO> {
    shared: Arc<Shared>,
    /// Which one it is, of all that have begun.
    order: u64,
    place: Mutex<Place<IO>>,
}

struct Place<IO> {
    offered: Option<Offered<IO>>,
    /// The host's task.
    host: Option<Waker>,
    /// The conversation has ended: nobody takes a stream any more.
    is_over: bool,
}

/// A stream that its client has proved to be for this conversation. Without an answer it was not
/// taken: another one came after it, or the conversation ended.
struct Offered<IO> {
    resumption: Resumption<IO>,
    answer: oneshot::Sender<Result<(), Resumption<IO>>>,
}

type Answer<IO> = oneshot::Receiver<Result<(), Resumption<IO>>>;

/// What became of a stream.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
pub enum Accepted<IO, T: Timer + Unpin> {
    /// It began a conversation.
    New(Session, Events, HostedDriver<IO, T>),
    /// An earlier conversation goes on over it: its own driver has taken it.
    Resumed(ConversationId),
}

impl<IO, T: Timer + Unpin> fmt::Debug for Accepted<IO, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New(session, ..) => f.debug_tuple("New").field(session).finish(),
            Self::Resumed(id) => f.debug_tuple("Resumed").field(id).finish(),
        }
    }
}

impl<IO> Clone for Conversations<IO> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<IO> fmt::Debug for Conversations<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversations").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Conversations at a time, by default.
const MOST: usize = 128;

impl<IO> Conversations<IO> {
    /// No conversations yet, and at most 128 at a time, attached or not.
    pub fn new(config: Config) -> Self {
        Self { inner: Arc::new(Inner { config, most: MOST, table: Mutex::default() }) }
    }

    /// How many conversations there may be at a time, attached or waiting for their client to come
    /// back: by default 128. For one that was just made: what comes of it begins empty, and shares
    /// nothing with clones made before.
    #[must_use]
    pub fn max_conversations(self, most: usize) -> Self {
        let config = self.inner.config.clone();
        Self { inner: Arc::new(Inner { config, most, table: Mutex::default() }) }
    }

    /// As many conversations as fit into so many bytes, at worst; as
    /// [`max_conversations`](Self::max_conversations) otherwise.
    #[must_use]
    pub fn max_memory(self, bytes: usize) -> Self {
        let each = super::worst_case_memory(&self.inner.config).max(1);
        self.max_conversations(bytes.checked_div(each).unwrap_or(0))
    }

    /// How many there are now.
    pub fn len(&self) -> usize {
        self.inner.lock().entries.len()
    }

    /// Whether there are none now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<IO> Inner<IO> {
    fn lock(&self) -> MutexGuard<'_, Table<IO>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<IO> Default for Table<IO> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), unopened: BTreeMap::new(), begun: 0 }
    }
}

impl<IO> Table<IO> {
    fn insert(&mut self, conversation: ConversationId, shared: Arc<Shared>) -> Arc<Entry<IO>> {
        let order = self.begun;
        self.begun = order.saturating_add(1);
        let place = Mutex::new(Place { offered: None, host: None, is_over: false });
        let entry = Arc::new(Entry { shared, order, place });
        self.entries.insert(conversation, Arc::clone(&entry));
        self.unopened.insert(order, conversation);
        entry
    }

    /// Unless another one has its place.
    fn remove(&mut self, conversation: &ConversationId, entry: &Arc<Entry<IO>>) {
        self.unopened.remove(&entry.order);
        if self.entries.get(conversation).is_some_and(|present| Arc::ptr_eq(present, entry)) {
            self.entries.remove(conversation);
        }
    }

    /// Closes the oldest one of those that hold a place for nothing, and takes it out. Whoever has to
    /// know of it is woken by the caller, as that may run anything: not under the table's lock.
    fn turn_one_away(&mut self) -> Option<WakeList> {
        let mut opened = Vec::new();
        let mut found = None;
        for (&order, conversation) in &self.unopened {
            let Some(entry) = self.entries.get(conversation) else { continue };
            match entry.shared.with(State::turn_away) {
                TurnedAway::Opened => opened.push(order),
                TurnedAway::Waits => {}
                TurnedAway::Closed(wake) => {
                    found = Some((*conversation, Arc::clone(entry), wake));
                    break;
                }
            }
        }
        // Each that has been open is looked at once.
        for order in opened {
            self.unopened.remove(&order);
        }
        let (conversation, entry, wake) = found?;
        self.remove(&conversation, &entry);
        Some(wake)
    }
}

/// What became of a conversation that was to make room.
enum TurnedAway {
    /// It is or has been open.
    Opened,
    /// The application has to decide on the peer, which has said what it had to say.
    Waits,
    Closed(WakeList),
}

impl State {
    /// Closes the conversation unless it opened before: looked at and closed in one step.
    fn turn_away(&mut self) -> TurnedAway {
        if self.connection.statistics().streams > 0 {
            return TurnedAway::Opened;
        }
        if self.asks_for_peer && self.connection.has_peer_spoken() {
            return TurnedAway::Waits;
        }
        self.close(CloseCode::LIMIT, "");
        TurnedAway::Closed(mem::take(&mut self.wake))
    }
}

impl<IO> Entry<IO> {
    fn lock(&self) -> MutexGuard<'_, Place<IO>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a stream for the host, unless the conversation has ended.
    fn offer(&self, resumption: Resumption<IO>) -> Result<Answer<IO>, Resumption<IO>> {
        let mut place = self.lock();
        if place.is_over {
            return Err(resumption);
        }
        let (answer, answered) = oneshot::channel();
        let older = place.offered.replace(Offered { resumption, answer });
        let host = place.host.take();
        drop(place);
        drop(older);
        if let Some(host) = host {
            host.wake();
        }
        Ok(answered)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Conversations<IO> {
    /// Finds out what the client of a new stream wants, and goes on with it.
    ///
    /// A client that proves its conversation's secret resumes that, over this stream, even while an
    /// earlier stream is not known to be broken. Any other begins a new one.
    ///
    /// # Errors
    ///
    /// [`AcceptError`], and no conversation was touched. The client was told why, if its stream took
    /// it; but not when it came back to a conversation that ended meanwhile, or with another stream
    /// before this one was taken ([`Error::Closed`]).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the stream, unless its client has proved that an earlier
    /// conversation is its own: then the stream may be with that one's driver already, which goes on
    /// over it.
    pub async fn accept<T: Timer + Unpin>(
        &self,
        io: IO,
        stream: StreamParameters<'_>,
        timer: T,
    ) -> Result<Accepted<IO, T>, AcceptError> {
        let config = self.inner.config.clone();
        let mut handshake = Handshake::new(io, config, stream, timer);
        let request = handshake.request().await?;
        let entry = self.inner.lock().entries.get(&request.conversation).cloned();
        if let Some(entry) = entry {
            let resumed = handshake.resume(&entry.shared).await?;
            self.hand_over(&entry, resumed).await?;
            return Ok(Accepted::Resumed(request.conversation));
        }
        let (session, events, driver, entry) = match self.begin(request.conversation, handshake) {
            Ok(begun) => begun?,
            Err(handshake) => {
                handshake.refuse(CloseCode::LIMIT).await;
                return Err(AcceptError::Full);
            }
        };
        let driver = HostedDriver {
            stage: Stage::Driving(driver),
            entry,
            inner: Arc::clone(&self.inner),
            conversation: request.conversation,
        };
        Ok(Accepted::New(session, events, driver))
    }

    /// Begins a conversation if there may be one more, or one can be turned away for it: who only
    /// says HELLO keeps nobody out.
    #[expect(clippy::type_complexity, reason = "what a conversation consists of")]
    fn begin<T: Timer + Unpin>(
        &self,
        conversation: ConversationId,
        handshake: Handshake<IO, T>,
    ) -> Result<
        Result<(Session, Events, Driver<IO, T>, Arc<Entry<IO>>), AcceptError>,
        Box<Handshake<IO, T>>,
    > {
        let mut table = self.inner.lock();
        if table.entries.contains_key(&conversation) {
            return Err(Box::new(handshake));
        }
        let mut wake = None;
        if table.entries.len() >= self.inner.most {
            wake = table.turn_one_away();
            if wake.is_none() {
                return Err(Box::new(handshake));
            }
        }
        let begun = handshake.accept().map(|(session, events, driver)| {
            let entry = table.insert(conversation, driver.shared());
            (session, events, driver, entry)
        });
        drop(table);
        wake.into_iter().for_each(WakeList::wake);
        Ok(begun)
    }

    /// Hands a stream to the driver of its conversation, and waits until that has it.
    async fn hand_over<T: Timer + Unpin>(
        &self,
        entry: &Entry<IO>,
        resumed: Handshake<IO, T, crate::proto::Resuming>,
    ) -> Result<(), AcceptError> {
        let (resumption, timer) = resumed.into_parts();
        let answered = match entry.offer(resumption) {
            Ok(answered) => answered,
            Err(resumption) => return Self::turn_away(resumption, timer).await,
        };
        match answered.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refused)) => Self::turn_away(refused, timer).await,
            Err(oneshot::Canceled) => Err(Error::Closed.into()),
        }
    }

    /// Tells a client why its stream is not taken.
    async fn turn_away<T: Timer + Unpin>(
        resumption: Resumption<IO>,
        timer: T,
    ) -> Result<(), AcceptError> {
        let error = resumption.resuming.error().copied().unwrap_or(Error::Closed);
        Handshake::from_parts(resumption, timer).say_last_words().await;
        Err(error.into())
    }
}

/// The driver of a listener's conversation, which takes over each stream that its client comes back
/// with. It resolves when the conversation has ended, or its detached time-out is over.
///
/// # Cancel safety
///
/// Dropping it aborts the conversation, as for a [`Driver`].
#[must_use = "nothing moves unless the driver is polled"]
pub struct HostedDriver<IO, T: Timer + Unpin> {
    stage: Stage<IO, T>,
    entry: Arc<Entry<IO>>,
    inner: Arc<Inner<IO>>,
    conversation: ConversationId,
}

enum Stage<IO, T: Timer + Unpin> {
    Driving(Driver<IO, T>),
    Waiting(Detached<T>),
    Done,
}

impl<IO, T: Timer + Unpin> fmt::Debug for HostedDriver<IO, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostedDriver")
            .field("conversation", &self.conversation)
            .finish_non_exhaustive()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer + Unpin> HostedDriver<IO, T> {
    /// Leaves it to the application to decide on the peer, as [`Driver::ask_for_peer`] does, on the
    /// first stream: who comes back has proved to be the same.
    pub fn ask_for_peer(self) -> Self {
        self.entry.shared.with(|state| state.asks_for_peer = true);
        self
    }

    /// Takes the stream that a client came back with.
    fn take_stream(&mut self, cx: &Context<'_>) {
        let mut place = self.entry.lock();
        let replaced = place.host.replace(cx.waker().clone());
        let offered = place.offered.take();
        drop(place);
        drop(replaced);
        let Some(Offered { resumption, answer }) = offered else { return };
        let result = match mem::replace(&mut self.stage, Stage::Done) {
            Stage::Done => Err(resumption),
            Stage::Driving(driver) => match driver.supersede(resumption) {
                Ok(driver) => {
                    self.stage = Stage::Driving(driver);
                    Ok(())
                }
                Err(refused) => {
                    let (driver, resumption) = *refused;
                    self.stage = Stage::Driving(driver);
                    Err(resumption)
                }
            },
            Stage::Waiting(detached) => {
                let Resumption { io, resuming, head } = resumption;
                match detached.resume(io, *resuming, head.clone()) {
                    Ok(driver) => {
                        self.stage = Stage::Driving(driver);
                        Ok(())
                    }
                    Err((detached, io, resuming)) => {
                        self.stage = Stage::Waiting(detached);
                        Err(Resumption { io, resuming, head })
                    }
                }
            }
        };
        // If nobody waits for it any more, the conversation goes on all the same.
        let _ = answer.send(result);
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, T: Timer + Unpin> Future for HostedDriver<IO, T> {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = &mut *self;
        loop {
            this.take_stream(cx);
            let ended = match &mut this.stage {
                Stage::Done => return Poll::Pending,
                Stage::Waiting(detached) => match Pin::new(detached).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(ended) => ended,
                },
                Stage::Driving(driver) => match Pin::new(driver).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Outcome::Ended(ended)) => ended,
                    Poll::Ready(Outcome::Detached(detached)) => {
                        this.stage = Stage::Waiting(detached);
                        continue;
                    }
                },
            };
            this.stage = Stage::Done;
            this.leave();
            return Poll::Ready(ended);
        }
    }
}

impl<IO, T: Timer + Unpin> HostedDriver<IO, T> {
    /// No client can come back any more.
    fn leave(&mut self) {
        self.inner.lock().remove(&self.conversation, &self.entry);
        let mut place = self.entry.lock();
        place.is_over = true;
        let left = place.offered.take();
        drop(place);
        drop(left);
    }
}

impl<IO, T: Timer + Unpin> Drop for HostedDriver<IO, T> {
    fn drop(&mut self) {
        if !matches!(self.stage, Stage::Done) {
            self.leave();
        }
    }
}
