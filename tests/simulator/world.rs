//! Everything that a run has, and how its programs begin and end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use duologue::io::TransportError;
use duologue::proto::{CloseReason, Connection, Error, StreamParameters};
use duologue::session::{Accepted, Backoff, Conversations, Session, session, worst_case_memory};
use duologue::testing::{ShadowDisk, SplitMix64};
use duologue::time::{Time, Timer, VirtualClock};
use duologue::wire::{CloseCode, ConversationId};
use futures::future::{Either, select};

use super::cable::{self, Cable, Counts, Stream};
use super::clock::Alarm;
use super::executor::{Executor, Owner};
use super::harm::Fall;
use super::ledger::{Kind, Ledger};
use super::meter::uncounted;
use super::profile::{Profile, Settings};
use super::program::Program;
use super::report::Report;

/// Events that are kept to be printed.
const EVENTS: usize = 50;
/// What the application, its inbox and the tasks of both hold at most.
const APPLICATION: usize = 2 << 20;

/// Everything that a run has.
pub(crate) struct World {
    pub(crate) profile: Profile,
    ledger: RefCell<Ledger>,
    pub(crate) clock: VirtualClock,
    pub(crate) executor: Executor,
    pub(crate) random: RefCell<SplitMix64>,
    pub(crate) sides: [Side; 2],
    pub(crate) cables: RefCell<Vec<Rc<RefCell<Cable>>>>,
    counts: Rc<Counts>,
    /// Conversations that were closed in between.
    pub(crate) goodbyes: RefCell<BTreeSet<ConversationId>>,
    arrivals: RefCell<Arrivals>,
    pub(crate) conversations: RefCell<Option<Conversations<Stream>>>,
    pub(crate) is_down: Cell<bool>,
    pub(crate) is_calm: Cell<bool>,
    /// Files that are to be held up are sent, and are held up.
    pub(crate) sends_held_up: Cell<bool>,
    pub(crate) is_held_up: Cell<bool>,
    /// Nobody starts again once its conversation has ended.
    pub(crate) is_closing: Cell<bool>,
    pub(crate) is_finished: Cell<bool>,
    pub(crate) until: Cell<Time>,
    /// When the server last had all the conversations that it may, and when the last stream was made.
    full_at: Cell<Option<Time>>,
    connected_at: Cell<Time>,
    pub(crate) report: RefCell<Report>,
    /// The last events, if they are of interest.
    pub(crate) events: Option<RefCell<VecDeque<String>>>,
}

/// What had befallen a side at some time, to be compared with what has since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    time: Time,
    pub(crate) failed_calls: u64,
    pub(crate) power_losses: u64,
    pub(crate) lapses: u64,
    pub(crate) rots: u64,
    pub(crate) fallen: u64,
}

#[derive(Default)]
struct Arrivals {
    streams: VecDeque<Stream>,
    listener: Option<Waker>,
    is_open: bool,
}

pub(crate) struct Side {
    pub(crate) disk: RefCell<ShadowDisk>,
    /// Calls of its disk that have failed.
    pub(crate) failed_calls: Arc<AtomicU64>,
    /// How often its power was lost, and of these when that may have taken what was promised.
    pub(crate) power_losses: Cell<u64>,
    pub(crate) lapses: Cell<u64>,
    /// How often its hidden files came back changed.
    pub(crate) rots: Cell<u64>,
    /// It is about to be killed, in the middle of what it does.
    pub(crate) falls: Cell<Option<Fall>>,
    pub(crate) fallen: Cell<u64>,
    pub(crate) life: Cell<u32>,
    conversations: Cell<u32>,
    /// Of one conversation.
    worst_case: usize,
    /// The last one, until it has ended.
    pub(crate) program: RefCell<Option<Program>>,
    /// How the last one has ended.
    pub(crate) ended: Cell<Option<CloseReason>>,
}

impl World {
    pub(crate) fn new(profile: Profile, disk: fn() -> ShadowDisk, with_events: bool) -> Rc<Self> {
        let seed = profile.seed;
        let mut ledger = Ledger::new(&profile);
        let mut side = |side: usize| {
            let disk = disk().sector(profile.sector);
            ledger.prepare(&profile, side, &disk);
            Side {
                disk: RefCell::new(disk),
                failed_calls: Arc::default(),
                power_losses: Cell::new(0),
                lapses: Cell::new(0),
                rots: Cell::new(0),
                falls: Cell::new(None),
                fallen: Cell::new(0),
                life: Cell::new(0),
                conversations: Cell::new(0),
                worst_case: worst_case_memory(&profile.programs[side].config()),
                program: RefCell::default(),
                ended: Cell::new(None),
            }
        };
        let sides = [side(0), side(1)];
        Rc::new(Self {
            ledger: RefCell::new(ledger),
            clock: VirtualClock::new(),
            executor: Executor::new(seed ^ 0x0E),
            random: RefCell::new(SplitMix64::new(seed ^ 0x0A)),
            sides,
            cables: RefCell::default(),
            counts: Rc::new(Counts::new(seed)),
            goodbyes: RefCell::default(),
            arrivals: RefCell::default(),
            conversations: RefCell::default(),
            is_down: Cell::new(false),
            is_calm: Cell::new(false),
            sends_held_up: Cell::new(false),
            is_held_up: Cell::new(false),
            is_closing: Cell::new(false),
            is_finished: Cell::new(false),
            until: Cell::new(Time::MAX),
            full_at: Cell::default(),
            connected_at: Cell::new(Time::ZERO),
            report: RefCell::default(),
            events: with_events.then(RefCell::default),
            profile,
        })
    }

    pub(crate) fn spawn(&self, owner: Owner, future: impl Future<Output = ()> + 'static) {
        self.executor.spawn(owner, future);
    }

    /// Looks at, or notes, what was promised.
    pub(crate) fn ledger<R>(&self, call: impl FnOnce(&mut Ledger) -> R) -> R {
        uncounted(|| call(&mut self.ledger.borrow_mut()))
    }

    pub(crate) fn violation(&self, what: impl FnOnce() -> String) {
        self.ledger(|ledger| ledger.violation(Kind::Other, what()));
    }

    /// Notes what happens, for who looks at a run that failed.
    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        let Some(events) = &self.events else { return };
        uncounted(|| {
            let mut events = events.borrow_mut();
            if events.len() == EVENTS {
                events.pop_front();
            }
            events.push_back(format!("{:>12} us  {}", self.clock.now().as_micros(), what()));
        });
    }

    pub(crate) fn percent(&self, times: u64) -> bool {
        self.random.borrow_mut().percent(times)
    }

    pub(crate) fn up_to(&self, most: Duration) -> Duration {
        Duration::from_micros(self.random.borrow_mut().log_uniform(most.as_micros() as u64))
    }

    pub(crate) fn count(&self, what: impl FnOnce(&mut Report)) {
        what(&mut self.report.borrow_mut());
    }

    pub(crate) fn disk(&self, side: usize) -> ShadowDisk {
        self.sides[side].disk.borrow().clone()
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        let mut timer = Alarm::new(&self.clock);
        Pin::new(&mut timer).reset(self.clock.now().saturating_add(duration));
        poll_fn(|cx| Pin::new(&mut timer).poll(cx)).await;
    }

    /// What a program may hold, with all that its peer may make it hold.
    fn memory_bound(&self, side: usize) -> usize {
        let conversations = match (side, &*self.conversations.borrow()) {
            // One that has ended goes when its application has heard of it.
            (1, Some(conversations)) => conversations.len() + 1,
            _ => 1,
        };
        conversations * self.sides[side].worst_case + APPLICATION
    }

    /// After each poll of a program.
    pub(crate) fn check_memory(&self, side: usize) {
        let peak = self.executor.meter.take_peak(side).max(0) as u64;
        let mut report = self.report.borrow_mut();
        // It is only then that it can be more of its bound than before.
        if peak * 1000 <= report.peak_share * (APPLICATION as u64) && peak <= report.peak_memory {
            return;
        }
        let bound = self.memory_bound(side) as u64;
        report.peak_memory = report.peak_memory.max(peak);
        report.peak_share = report.peak_share.max(peak * 1000 / bound);
        drop(report);
        if peak > bound {
            self.violation(|| format!("side {side} holds {peak} bytes of {bound} that it may"));
        }
    }

    fn parameters(&self) -> StreamParameters<'static> {
        let mut seed = [0; 32];
        for bytes in seed.chunks_mut(8) {
            bytes.copy_from_slice(&self.random.borrow_mut().next_u64().to_le_bytes());
        }
        StreamParameters::new(seed)
    }

    fn owner(&self, side: usize) -> Owner {
        Owner::Program { side, life: self.sides[side].life.get() }
    }

    /// A new conversation of a program: the one before is forgotten.
    fn next_conversation(&self, side: usize) -> Owner {
        let (life, count) = (self.sides[side].life.get(), &self.sides[side].conversations);
        let number = count.get();
        self.forget_program(side);
        self.executor.kill(Owner::Conversation { side, life, number });
        count.set(number + 1);
        Owner::Conversation { side, life, number: number + 1 }
    }

    fn forget_program(&self, side: usize) {
        let program = self.sides[side].program.borrow_mut().take();
        self.executor.discard(side, program);
    }

    /// What was done so far that may end conversations.
    pub(crate) fn harms(&self) -> u64 {
        self.counts.harms.get()
    }

    /// What had been done before a stream was made.
    pub(crate) fn harms_before(&self, stream: usize) -> u64 {
        self.cables.borrow().get(stream).map_or(0, |cable| cable.borrow().born)
    }

    /// Of the streams from one on, how many something was done to.
    pub(crate) fn harmed_streams(&self, from: usize) -> usize {
        let cables = self.cables.borrow();
        cables.iter().skip(from).filter(|cable| cable.borrow().is_harmed).count()
    }

    /// What has befallen a side until now.
    pub(crate) fn mark(&self, side: usize) -> Mark {
        let side = &self.sides[side];
        Mark {
            time: self.clock.now(),
            failed_calls: side.failed_calls.load(Ordering::Relaxed),
            power_losses: side.power_losses.get(),
            lapses: side.lapses.get(),
            rots: side.rots.get(),
            fallen: side.fallen.get(),
        }
    }

    /// Whether something has a name at a side, or may have lost it since.
    pub(crate) fn has_on_disk(&self, side: usize, name: &str, since: Mark) -> bool {
        self.mark(side).power_losses > since.power_losses
            || uncounted(|| self.disk(side).names().iter().any(|n| n == name))
    }

    /// Whether a transfer that began then is old enough to have been given up for its slowness.
    pub(crate) fn may_have_stalled(&self, since: Mark) -> bool {
        let least = |of: &Settings| of.stall.min(of.whole);
        let seconds = self.profile.programs.iter().map(least).min().unwrap_or(0);
        self.clock.now() >= since.time.saturating_add(Duration::from_secs(seconds))
    }

    /// Kills a program, and starts it again after a while.
    pub(crate) fn restart(self: &Rc<Self>, side: usize) {
        self.cables.borrow().iter().for_each(|cable| cable.borrow_mut().harm());
        self.note(|| format!("side {side} is killed"));
        let world = Rc::clone(self);
        self.forget_program(side);
        self.executor.kill(self.owner(side));
        let life = self.sides[side].life.get() + 1;
        self.sides[side].life.set(life);
        if side == 1 {
            let conversations = self.conversations.borrow_mut().take();
            self.executor.discard(1, conversations);
            uncounted(|| *self.arrivals.borrow_mut() = Arrivals::default());
        }
        self.spawn(Owner::World, async move {
            world.sleep(world.up_to(Duration::from_secs(10))).await;
            // It may have been killed again before it began.
            if world.sides[side].life.get() != life {
                return;
            }
            if side == 0 { world.start_client() } else { world.start_server() }
        });
    }

    /// A stream to the server, after a while.
    async fn connect(self: Rc<Self>) -> Result<Stream, TransportError> {
        self.sleep(self.profile.quality.latency).await;
        if self.is_down.get() || !self.arrivals.borrow().is_open {
            let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            return Err(refused.into());
        }
        let left = self.profile.bytes_to_a_cut.filter(|_| !self.is_calm.get());
        let mut random = self.random.borrow_mut();
        let left = left.map(|mean| 1 + random.below(2 * mean));
        let near = uncounted(|| {
            let (quality, number) = (&self.profile.quality, self.cables.borrow().len());
            let (cable, [near, far]) =
                cable::cable(&self.clock, quality, left, &self.counts, (number, random.next_u64()));
            self.cables.borrow_mut().push(cable);
            let mut arrivals = self.arrivals.borrow_mut();
            arrivals.streams.push_back(far);
            arrivals.listener.take().into_iter().for_each(Waker::wake);
            near
        });
        drop(random);
        self.connected_at.set(self.clock.now());
        self.count(|report| report.streams += 1);
        self.note(|| format!("stream {}", self.cables.borrow().len() - 1));
        Ok(near)
    }

    async fn arrival(&self) -> Stream {
        poll_fn(|cx| {
            uncounted(|| {
                let mut arrivals = self.arrivals.borrow_mut();
                arrivals.listener = Some(cx.waker().clone());
                arrivals.streams.pop_front().map_or(Poll::Pending, Poll::Ready)
            })
        })
        .await
    }

    pub(crate) fn start_client(self: &Rc<Self>) {
        let (world, owner) = (Rc::clone(self), self.owner(0));
        self.note(|| "the client starts".to_owned());
        self.executor.spawn_driver(owner, async move {
            let io = loop {
                match Rc::clone(&world).connect().await {
                    Ok(io) => break io,
                    Err(_) => world.sleep(Duration::from_secs(1)).await,
                }
            };
            let (timer, stream) = (Alarm::new(&world.clock), io.number);
            let config = world.profile.programs[0].config();
            let connection = Connection::client(config, world.parameters(), timer.now());
            let (session, events, driver) = session(io, connection, timer);
            let conversation = world.next_conversation(0);
            if !Program::start(&world, conversation, stream, session, events) {
                return;
            }
            let waits = world.random.borrow_mut().next_u64().to_le_bytes()[0];
            let backoff = Backoff::new([waits; 32])
                .first(Duration::from_millis(100))
                .most(Duration::from_secs(5));
            let connecting = Rc::clone(&world);
            let connect = move || Rc::clone(&connecting).connect();
            let ended = driver.reconnecting(connect, backoff).await;
            world.on_end(conversation, 0, ended.reason).await;
            if !world.is_closing.get() {
                world.restart(0);
            }
        });
    }

    pub(crate) fn start_server(self: &Rc<Self>) {
        uncounted(|| self.arrivals.borrow_mut().is_open = true);
        self.note(|| "the server starts".to_owned());
        let (world, owner) = (Rc::clone(self), self.owner(1));
        self.spawn(owner, async move {
            let config = world.profile.programs[1].config();
            let conversations =
                Conversations::new(config).max_conversations(world.profile.conversations);
            *world.conversations.borrow_mut() = Some(conversations.clone());
            loop {
                let stream = world.arrival().await;
                let (serving, all) = (Rc::clone(&world), conversations.clone());
                let serving = async move { serving.serve(all, stream).await };
                world.executor.spawn_driver(owner, serving);
            }
        });
    }

    async fn serve(self: Rc<Self>, all: Conversations<Stream>, stream: Stream) {
        let (timer, number) = (Alarm::new(&self.clock), stream.number);
        if self.is_full() {
            self.cables.borrow()[number].borrow_mut().harm();
        }
        match all.accept(stream, self.parameters(), timer).await {
            Ok(Accepted::New(session, events, driver)) => {
                let mut driver = std::pin::pin!(driver);
                // A stream that was given up long ago may begin one, and is not to take the place of
                // the one that goes on.
                if let Some(ended) = open(&session, driver.as_mut()).await {
                    return self.note(|| format!("ended before it was open: {}", ended.reason));
                }
                let current = self.sides[1].program.borrow().as_ref().map(Program::first_stream);
                if current.is_some_and(|current| current > number) {
                    self.note(|| format!("stream {number} comes too late to be gone on with"));
                    drop((session, events));
                    driver.await;
                    return;
                }
                let conversation = self.next_conversation(1);
                if !Program::start(&self, conversation, number, session, events) {
                    return;
                }
                let ended = driver.await;
                self.on_end(conversation, 1, ended.reason).await;
            }
            Ok(Accepted::Resumed(_)) => {
                self.note(|| "resumed".to_owned());
                self.count(|report| report.resumptions += 1);
            }
            Err(error) => self.note(|| format!("not accepted: {error}")),
        }
    }

    /// Whether the server keeps all the conversations that it may, and sends others away.
    pub(crate) fn is_full(&self) -> bool {
        let most = self.profile.conversations;
        self.conversations.borrow().as_ref().is_some_and(|all| all.len() >= most)
    }

    /// Notes that the server is full, for who hears of it when it is no longer.
    pub(crate) fn note_full(&self) {
        if self.is_full() {
            self.full_at.set(Some(self.clock.now()));
        }
    }

    fn is_last(&self, owner: Owner) -> bool {
        let Owner::Conversation { side, life, number } = owner else { return false };
        let last = &self.sides[side];
        (last.life.get(), last.conversations.get()) == (life, number)
    }

    fn check_end(&self, side: usize, reason: CloseReason) {
        self.note(|| format!("side {side} ends: {reason}"));
        if let CloseReason::Failed(error @ (Error::Violation(_) | Error::NotDuologue)) = reason {
            self.violation(|| format!("side {side} accuses the other: {error}"));
        }
    }

    /// A driver says how its conversation has ended: its application has to hear the same.
    async fn on_end(&self, owner: Owner, side: usize, reason: CloseReason) {
        self.check_end(side, reason);
        let mut heard = None;
        for _ in 0..1200 {
            // The next one may have begun meanwhile.
            let program = self.sides[side].program.borrow().clone();
            let Some(program) = program.filter(|_| self.is_last(owner)) else { return };
            heard = program.heard_end();
            if heard.is_some() {
                break;
            }
            drop(program);
            self.sleep(Duration::from_millis(100)).await;
        }
        if let Some(program) = self.sides[side].program.borrow().as_ref() {
            let is_limit = reason == CloseReason::Peer(CloseCode::LIMIT)
                && (self.is_full() || self.full_at.get() >= Some(self.connected_at.get()));
            if !is_limit && !program.has_occasion(program.since()) {
                self.violation(|| format!("side {side} ended with {reason} for nothing"));
            }
        }
        if heard != Some(reason) {
            self.violation(|| format!("side {side} ended with {reason}, and heard {heard:?}"));
        }
        self.forget_program(side);
        self.sides[side].ended.set(Some(reason));
    }
}

/// Drives a conversation until it is open; how it ended if it never was.
async fn open<D: Future>(session: &Session, mut driver: Pin<&mut D>) -> Option<D::Output> {
    match select(driver.as_mut(), std::pin::pin!(session.opened())).await {
        Either::Left((ended, _)) => return Some(ended),
        Either::Right((Ok(()), _)) => return None,
        Either::Right((Err(_), _)) => {}
    }
    Some(driver.await)
}
