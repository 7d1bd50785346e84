//! Two whole programs in one thread, on a clock, a network and disks that are made up: all that happens
//! follows from one seed.
//!
//! Each side has a driver, an inbox on a disk that forgets, and an application that talks, sends its
//! files until they are stored, and stores what comes. Streams are slow, break at any byte, fall silent
//! or stall; programs are killed, disks fail and lose power. Then the faults end, and all that was begun
//! has to come to its end.
//!
//! What is held to, at every step: each line is received at most once, in order, and what its receipt
//! says is true; what a sender was told to be stored is there, whole, after any crash, and what it was
//! told to be durable is not asked for again; nothing has a name that was not sent; no honest peer is
//! accused of a violation; nothing waits for ever.

mod cable;
mod executor;
mod ledger;
mod profile;
mod program;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use duologue::io::TransportError;
use duologue::proto::{CloseReason, Connection, Error, StreamParameters};
use duologue::session::{Accepted, Backoff, Conversations, session};
use duologue::testing::{ShadowDisk, SplitMix64};
use duologue::time::{Time, Timer, VirtualClock};
use futures::StreamExt;
use futures::channel::mpsc;

use self::cable::{Cable, Stream};
use self::executor::{Executor, Owner};
use self::ledger::Ledger;
use self::profile::{Fault, Profile};
use self::program::Program;

/// After the last fault everything has to end within this.
const CALM: Duration = Duration::from_secs(3600);

/// What happened in a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) runs: u64,
    pub(crate) polls: u64,
    pub(crate) micros: u64,
    pub(crate) bytes: u64,
    pub(crate) streams: u64,
    pub(crate) cuts: u64,
    pub(crate) silences: u64,
    pub(crate) stalls: u64,
    pub(crate) outages: u64,
    pub(crate) kills: u64,
    pub(crate) power_losses: u64,
    pub(crate) disk_faults: u64,
    pub(crate) resumptions: u64,
    pub(crate) delivered: u64,
    pub(crate) unknown: u64,
    pub(crate) not_sent: u64,
    pub(crate) files: u64,
    pub(crate) taken_up: u64,
    pub(crate) failures: u64,
    /// Of all that was polled, and when.
    pub(crate) trace: u64,
}

/// A run in which something did not hold.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) what: Vec<String>,
    pub(crate) profile: String,
}

/// Runs one seed to its end.
pub(crate) fn simulate(seed: u64) -> Result<Report, Failure> {
    simulate_on(seed, ShadowDisk::new)
}

/// The same on disks that may have a fault of their own.
pub(crate) fn simulate_on(seed: u64, disk: fn() -> ShadowDisk) -> Result<Report, Failure> {
    let profile = Profile::new(seed);
    let printed = format!("{profile:?}");
    let world = World::new(profile, disk);
    world.start();
    let stuck = world.executor.run(
        &world.clock,
        || {
            let ledger = world.ledger.borrow();
            !ledger.violations.is_empty() || (ledger.is_done(&world.profile) && world.is_calm.get())
        },
        || world.until.get(),
    );
    let mut what = match stuck {
        Ok(()) => Vec::new(),
        Err(stuck) => vec![format!("{stuck:?}: {}", world.ledger.borrow().open(&world.profile))],
    };
    world.executor.clear();
    let disks = world.sides.each_ref().map(|side| side.disk.borrow().clone());
    let mut ledger = world.ledger.borrow_mut();
    ledger.check_disks([&disks[0], &disks[1]]);
    what.append(&mut ledger.violations);
    if !what.is_empty() {
        return Err(Failure { seed, what, profile: printed });
    }
    let mut report = world.report.borrow().clone();
    report.runs = 1;
    report.polls = world.executor.polls.get();
    report.trace = world.executor.trace.get();
    report.micros = world.clock.now().as_micros();
    report.bytes = world.cables.borrow().iter().map(|cable| cable.borrow().carried).sum();
    for sent in &ledger.sent {
        report.delivered += sent.delivered;
        report.unknown += sent.unknown;
        report.not_sent += sent.not_sent;
    }
    Ok(report)
}

impl Report {
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.numbers().into_iter().zip(other.clone().numbers()) {
            *sum += *more;
        }
        self.trace ^= other.trace;
    }

    fn numbers(&mut self) -> [&mut u64; 19] {
        [
            &mut self.runs,
            &mut self.polls,
            &mut self.micros,
            &mut self.bytes,
            &mut self.streams,
            &mut self.cuts,
            &mut self.silences,
            &mut self.stalls,
            &mut self.outages,
            &mut self.kills,
            &mut self.power_losses,
            &mut self.disk_faults,
            &mut self.resumptions,
            &mut self.delivered,
            &mut self.unknown,
            &mut self.not_sent,
            &mut self.files,
            &mut self.taken_up,
            &mut self.failures,
        ]
    }
}

/// Everything that a run has.
pub(crate) struct World {
    pub(crate) profile: Profile,
    pub(crate) ledger: RefCell<Ledger>,
    clock: VirtualClock,
    executor: Executor,
    random: RefCell<SplitMix64>,
    sides: [Side; 2],
    cables: RefCell<Vec<Rc<RefCell<Cable>>>>,
    pieces: Rc<Cell<u64>>,
    arrivals: RefCell<Option<mpsc::UnboundedSender<Stream>>>,
    is_down: Cell<bool>,
    is_calm: Cell<bool>,
    until: Cell<Time>,
    report: RefCell<Report>,
}

struct Side {
    disk: RefCell<ShadowDisk>,
    has_failing_disk: Cell<bool>,
    life: Cell<u32>,
    conversations: Cell<u32>,
}

impl World {
    fn new(profile: Profile, disk: fn() -> ShadowDisk) -> Rc<Self> {
        let seed = profile.seed;
        let side = || Side {
            disk: RefCell::new(disk().sector(128)),
            has_failing_disk: Cell::new(false),
            life: Cell::new(0),
            conversations: Cell::new(0),
        };
        Rc::new(Self {
            ledger: RefCell::new(Ledger::new(&profile)),
            clock: VirtualClock::new(),
            executor: Executor::new(seed ^ 0x0E),
            random: RefCell::new(SplitMix64::new(seed ^ 0x0A)),
            sides: [side(), side()],
            cables: RefCell::default(),
            pieces: Rc::default(),
            arrivals: RefCell::default(),
            is_down: Cell::new(false),
            is_calm: Cell::new(false),
            until: Cell::new(Time::MAX),
            report: RefCell::default(),
            profile,
        })
    }

    fn start(self: &Rc<Self>) {
        self.start_server();
        self.start_client();
        let world = Rc::clone(self);
        self.spawn(Owner::World, async move { world.do_harm().await });
    }

    pub(crate) fn spawn(&self, owner: Owner, future: impl Future<Output = ()> + 'static) {
        self.executor.spawn(owner, future);
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

    /// Whether calls of its disk have failed: what is lost then is nobody's promise.
    pub(crate) fn has_failing_disk(&self, side: usize) -> bool {
        self.sides[side].has_failing_disk.get()
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        let mut timer = self.clock.timer();
        Pin::new(&mut timer).reset(self.clock.now().saturating_add(duration));
        std::future::poll_fn(|cx| Pin::new(&mut timer).poll(cx)).await;
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
        self.executor.kill(Owner::Conversation { side, life, number });
        count.set(number + 1);
        Owner::Conversation { side, life, number: number + 1 }
    }

    /// Kills a program, and starts it again after a while.
    pub(crate) fn restart(self: &Rc<Self>, side: usize) {
        let world = Rc::clone(self);
        self.executor.kill(self.owner(side));
        let life = self.sides[side].life.get() + 1;
        self.sides[side].life.set(life);
        if side == 1 {
            *self.arrivals.borrow_mut() = None;
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
        let refused =
            || TransportError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        let arrivals = self.arrivals.borrow().clone().filter(|_| !self.is_down.get());
        let arrivals = arrivals.ok_or_else(refused)?;
        let left = self.profile.bytes_to_a_cut.filter(|_| !self.is_calm.get());
        let mut random = self.random.borrow_mut();
        let left = left.map(|mean| 1 + random.below(2 * mean));
        let (cable, [near, far]) =
            cable::cable(&self.clock, &self.profile.quality, left, &self.pieces, random.next_u64());
        drop(random);
        self.cables.borrow_mut().push(cable);
        arrivals.unbounded_send(far).map_err(|_| refused())?;
        self.count(|report| report.streams += 1);
        Ok(near)
    }

    fn start_client(self: &Rc<Self>) {
        let (world, owner) = (Rc::clone(self), self.owner(0));
        self.spawn(owner, async move {
            let io = loop {
                match Rc::clone(&world).connect().await {
                    Ok(io) => break io,
                    Err(_) => world.sleep(Duration::from_secs(1)).await,
                }
            };
            let timer = world.clock.timer();
            let connection =
                Connection::client(world.profile.config(), world.parameters(), timer.now());
            let (session, events, driver) = session(io, connection, timer);
            Program::start(&world, world.next_conversation(0), 0, session, events);
            let waits = world.random.borrow_mut().next_u64().to_le_bytes()[0];
            let backoff = Backoff::new([waits; 32])
                .first(Duration::from_millis(100))
                .most(Duration::from_secs(5));
            let connecting = Rc::clone(&world);
            let connect = move || Rc::clone(&connecting).connect();
            let ended = driver.reconnecting(connect, backoff).await;
            world.check_end(0, ended.reason);
            world.restart(0);
        });
    }

    fn start_server(self: &Rc<Self>) {
        let (sender, mut arrivals) = mpsc::unbounded();
        *self.arrivals.borrow_mut() = Some(sender);
        let (world, owner) = (Rc::clone(self), self.owner(1));
        let conversations = Conversations::new(world.profile.config());
        self.spawn(owner, async move {
            while let Some(stream) = arrivals.next().await {
                let (world, conversations) = (Rc::clone(&world), conversations.clone());
                let serving = Rc::clone(&world);
                world.spawn(owner, async move {
                    let timer = serving.clock.timer();
                    match conversations.accept(stream, serving.parameters(), timer).await {
                        Ok(Accepted::New(session, events, driver)) => {
                            let owner = serving.next_conversation(1);
                            Program::start(&serving, owner, 1, session, events);
                            let ended = driver.await;
                            serving.check_end(1, ended.reason);
                        }
                        Ok(Accepted::Resumed(_)) => {
                            serving.count(|report| report.resumptions += 1);
                        }
                        Err(_) => {}
                    }
                });
            }
        });
    }

    fn check_end(&self, side: usize, reason: CloseReason) {
        if let CloseReason::Failed(error @ (Error::Violation(_) | Error::NotDuologue)) = reason {
            self.ledger.borrow_mut().violation(format!("side {side} accuses the other: {error}"));
        }
    }

    /// Does one thing after the other to them, and then nothing any more.
    async fn do_harm(self: Rc<Self>) {
        let faults = self.profile.faults.clone();
        for _ in 0..self.profile.count {
            self.sleep(self.up_to(self.profile.pause)).await;
            let place = self.random.borrow_mut().below(faults.len() as u64) as usize;
            self.harm(faults[place]).await;
        }
        self.sleep(self.up_to(self.profile.pause)).await;
        self.is_calm.set(true);
        for side in &self.sides {
            side.disk.borrow().heal();
        }
        for cable in self.cables.borrow().iter() {
            cable.borrow_mut().be_calm();
        }
        self.until.set(self.clock.now().saturating_add(CALM));
    }

    async fn harm(self: &Rc<Self>, fault: Fault) {
        let cable = self.cables.borrow().last().cloned();
        match fault {
            Fault::Cut => {
                self.count(|report| report.cuts += 1);
                cable.iter().for_each(|cable| cable.borrow_mut().cut());
            }
            Fault::Silence => {
                self.count(|report| report.silences += 1);
                cable.iter().for_each(|cable| cable.borrow_mut().silence());
            }
            Fault::Stall => {
                self.count(|report| report.stalls += 1);
                let until = self.clock.now().saturating_add(self.up_to(Duration::from_secs(90)));
                cable.iter().for_each(|cable| cable.borrow_mut().stall(until));
            }
            Fault::Outage => {
                self.count(|report| report.outages += 1);
                self.is_down.set(true);
                cable.iter().for_each(|cable| cable.borrow_mut().cut());
                drop(cable);
                self.sleep(self.up_to(Duration::from_secs(400))).await;
                self.is_down.set(false);
            }
            Fault::Kill(side) => {
                self.count(|report| report.kills += 1);
                let after = self.disk(side).kill();
                self.replace_disk(side, after);
                self.restart(side);
            }
            Fault::PowerLoss(side) => {
                self.count(|report| report.power_losses += 1);
                let disk = self.disk(side);
                let share = self.random.borrow_mut().below(101);
                let after = disk.crash(|_| self.percent(share));
                self.replace_disk(side, after);
                self.restart(side);
            }
            Fault::Disk(side) => {
                self.count(|report| report.disk_faults += 1);
                self.sides[side].has_failing_disk.set(true);
                for sent in &mut self.ledger.borrow_mut().sent[1 - side].files {
                    sent.durable = 0;
                }
                let disk = self.disk(side);
                let (from, count) = {
                    let mut random = self.random.borrow_mut();
                    (disk.calls() + random.below(50), random.log_uniform(100))
                };
                let kind = if self.percent(50) {
                    std::io::ErrorKind::StorageFull
                } else {
                    std::io::ErrorKind::Other
                };
                disk.fail(from, count, kind);
            }
        }
    }

    fn replace_disk(&self, side: usize, disk: ShadowDisk) {
        *self.sides[side].disk.borrow_mut() = disk;
    }
}
