//! Tasks in one thread, and who is polled next is drawn from the seed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use duologue::testing::SplitMix64;
use duologue::time::{Time, VirtualClock};
use futures::future::LocalBoxFuture;

use super::meter::{Meter, uncounted};

/// Polls at one moment that are no progress any more.
const POLLS_AT_ONE_MOMENT: u32 = 500_000;
/// How long a driver sleeps at least, if it is only for its pacer.
const STEP: Duration = Duration::from_millis(1);
/// Of how many moments one is drawn in which all that sleep are looked at.
const MOMENTS: u64 = 16;

/// Whose tasks are killed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// Nobody's that can be killed.
    World,
    /// A program, counted from its first start.
    Program { side: usize, life: u32 },
    /// A conversation of such a program.
    Conversation { side: usize, life: u32, number: u32 },
}

impl Owner {
    /// Whether its tasks are killed with those of the other.
    fn dies_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Conversation { side: a, life: b, .. }, Self::Program { side: c, life: d }) => {
                (a, b) == (c, d)
            }
            _ => self == other,
        }
    }

    fn side(self) -> Option<usize> {
        match self {
            Self::World => None,
            Self::Program { side, .. } | Self::Conversation { side, .. } => Some(side),
        }
    }
}

/// Why a run came to no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// Nothing is left that could wake anybody.
    Deadlock,
    /// Tasks wake each other while time stands still.
    LiveLock,
    /// It took longer than it may.
    OutOfTime,
    /// A task of theirs had something to do, and nothing had woken it.
    Asleep(Owner),
}

pub(crate) struct Executor {
    tasks: RefCell<BTreeMap<u64, Task>>,
    ready: Arc<Mutex<Vec<u64>>>,
    /// Kept to the end, so that nobody's memory is counted when the last waker goes.
    flags: RefCell<Vec<Arc<Flag>>>,
    next: Cell<u64>,
    random: RefCell<SplitMix64>,
    /// When all that sleep are looked at: of a generator of its own, so that the order stays what it was.
    moments: RefCell<SplitMix64>,
    /// Whether all that sleep may be looked at, and whether some are polled that nothing has woken.
    pub(crate) looks_at_sleepers: Cell<bool>,
    pub(crate) polls_sleepers: Cell<bool>,
    /// How often those that sleep were looked at.
    pub(crate) looks: Cell<u64>,
    /// How many drivers were looked at.
    pub(crate) driver_looks: Cell<u64>,
    /// Whose memory is counted at the moment.
    counted: Cell<Option<usize>>,
    pub(crate) meter: Meter,
    pub(crate) polls: Cell<u64>,
    /// Of who was polled and when: the same for the same seed.
    pub(crate) trace: Cell<u64>,
}

struct Task {
    owner: Owner,
    /// Taken out while it is polled.
    future: Option<LocalBoxFuture<'static, ()>>,
    flag: Arc<Flag>,
    waker: Waker,
    laziness: Laziness,
}

/// What a task may put off though it could do it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Laziness {
    Nothing,
    /// What its pacer allows by the time that passes, which is looked at once a [`STEP`].
    ForAStep,
    /// It is woken when there is room for much, and sends less when it is polled before.
    Always,
}

struct Flag {
    task: u64,
    is_ready: AtomicBool,
    ready: Arc<Mutex<Vec<u64>>>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_ready.swap(true, Ordering::Relaxed) {
            uncounted(|| self.ready.lock().unwrap().push(self.task));
        }
    }
}

impl Executor {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            tasks: RefCell::default(),
            ready: Arc::default(),
            flags: RefCell::default(),
            next: Cell::new(0),
            random: RefCell::new(SplitMix64::new(seed)),
            moments: RefCell::new(SplitMix64::new(seed ^ 0x51EE)),
            looks_at_sleepers: Cell::new(false),
            polls_sleepers: Cell::new(true),
            looks: Cell::new(0),
            driver_looks: Cell::new(0),
            counted: Cell::new(None),
            meter: Meter::default(),
            polls: Cell::new(0),
            trace: Cell::new(0xCBF2_9CE4_8422_2325),
        }
    }

    pub(crate) fn spawn(&self, owner: Owner, future: impl Future<Output = ()> + 'static) {
        self.spawn_task(owner, Laziness::Nothing, future);
    }

    pub(crate) fn spawn_driver(&self, owner: Owner, future: impl Future<Output = ()> + 'static) {
        self.spawn_task(owner, Laziness::ForAStep, future);
    }

    /// Who sends data.
    pub(crate) fn spawn_sender(&self, owner: Owner, future: impl Future<Output = ()> + 'static) {
        self.spawn_task(owner, Laziness::Always, future);
    }

    fn spawn_task(
        &self,
        owner: Owner,
        laziness: Laziness,
        future: impl Future<Output = ()> + 'static,
    ) {
        let id = self.next.get();
        self.next.set(id + 1);
        // Its memory is its owner's, whoever spawns it.
        let side = owner.side().filter(|_| self.counted.get().is_none());
        let boxed = || -> LocalBoxFuture<'static, ()> { Box::pin(future) };
        let future = match owner {
            Owner::World => uncounted(boxed),
            _ => self.meter.count(side, boxed),
        };
        uncounted(|| {
            let (is_ready, ready) = (AtomicBool::new(true), Arc::clone(&self.ready));
            let flag = Arc::new(Flag { task: id, is_ready, ready });
            self.flags.borrow_mut().push(Arc::clone(&flag));
            let waker = Waker::from(Arc::clone(&flag));
            let task = Task { owner, future: Some(future), flag, waker, laziness };
            self.tasks.borrow_mut().insert(id, task);
            self.ready.lock().unwrap().push(id);
        });
    }

    /// How many tasks an owner has.
    pub(crate) fn count(&self, is_its: impl Fn(Owner) -> bool) -> usize {
        self.tasks.borrow().values().filter(|task| is_its(task.owner)).count()
    }

    /// Drops all tasks of an owner, wherever they are.
    pub(crate) fn kill(&self, owner: Owner) {
        let mut killed = uncounted(|| {
            let mut tasks = self.tasks.borrow_mut();
            let is_its = |task: &Task| task.owner.dies_with(owner);
            let ids = tasks.iter().filter(|(_, task)| is_its(task)).map(|(id, _)| *id);
            let ids: Vec<u64> = ids.collect();
            ids.into_iter().filter_map(|id| tasks.remove(&id)).collect::<Vec<_>>()
        });
        while let Some(mut task) = killed.pop() {
            let future = task.future.take();
            self.drop_future(task.owner, future);
        }
        uncounted(|| drop(killed));
    }

    fn drop_future(&self, owner: Owner, future: Option<LocalBoxFuture<'static, ()>>) {
        match owner.side() {
            Some(side) => self.discard(side, future),
            None => drop(future),
        }
    }

    /// Drops what a program held.
    pub(crate) fn discard<T>(&self, side: usize, what: T) {
        if self.counted.get().is_some() {
            return drop(what);
        }
        self.counted.set(Some(side));
        self.meter.count(Some(side), || drop(what));
        self.counted.set(None);
    }

    /// Polls whoever is ready, in an order of its own, until all is done. `step` is called after each
    /// poll with the side whose task it was.
    pub(crate) fn run(
        &self,
        clock: &VirtualClock,
        mut step: impl FnMut(Option<usize>) -> bool,
        until: impl Fn() -> Time,
    ) -> Result<(), Stuck> {
        let mut polls_now = 0_u32;
        loop {
            let Some(task) = self.pick() else {
                if let Some(owner) = self.find_sleeper(clock, &mut step) {
                    return Err(Stuck::Asleep(owner));
                }
                match clock.next_deadline() {
                    None => return Err(Stuck::Deadlock),
                    Some(at) if at > until() => return Err(Stuck::OutOfTime),
                    Some(at) => clock.advance_to(at),
                }
                polls_now = 0;
                continue;
            };
            polls_now += 1;
            if polls_now > POLLS_AT_ONE_MOMENT {
                return Err(Stuck::LiveLock);
            }
            let side = self.poll(task, clock.now());
            if step(side) {
                return Ok(());
            }
        }
    }

    /// One of those that were woken; now and then one that was not.
    fn pick(&self) -> Option<u64> {
        let mut random = self.random.borrow_mut();
        let mut ready = self.ready.lock().unwrap();
        if ready.is_empty() {
            return None;
        }
        let place = random.below(ready.len() as u64) as usize;
        let tasks = self.tasks.borrow();
        if random.below(200) == 0 && self.polls_sleepers.get() {
            let place = random.below(tasks.len() as u64) as usize;
            return tasks.keys().nth(place).copied();
        }
        let woken = ready.swap_remove(place);
        if let Some(task) = tasks.get(&woken) {
            task.flag.is_ready.store(false, Ordering::Relaxed);
        }
        Some(woken)
    }

    /// Now and then, while nobody is ready: polls all of them. Whoever ends by it, or wakes another or
    /// itself, should have been woken before.
    fn find_sleeper(
        &self,
        clock: &VirtualClock,
        step: &mut impl FnMut(Option<usize>) -> bool,
    ) -> Option<Owner> {
        if !self.looks_at_sleepers.get() || self.moments.borrow_mut().below(MOMENTS) != 0 {
            return None;
        }
        self.looks.set(self.looks.get() + 1);
        let now = clock.now();
        let is_quiet = clock.next_deadline().is_none_or(|at| at > now.saturating_add(STEP));
        let may_sleep = |task: &Task| match task.laziness {
            Laziness::Nothing => false,
            Laziness::ForAStep => {
                self.driver_looks.set(self.driver_looks.get() + u64::from(is_quiet));
                !is_quiet
            }
            Laziness::Always => true,
        };
        let ids: Vec<u64> = uncounted(|| {
            let tasks = self.tasks.borrow();
            tasks.iter().filter(|(_, task)| !may_sleep(task)).map(|(id, _)| *id).collect()
        });
        let sleeper = ids.iter().find_map(|&id| {
            let owner = self.tasks.borrow().get(&id)?.owner;
            step(self.poll(id, now));
            let has_ended = !self.tasks.borrow().contains_key(&id);
            (has_ended || !self.ready.lock().unwrap().is_empty()).then_some(owner)
        });
        uncounted(|| drop(ids));
        sleeper
    }

    fn poll(&self, id: u64, now: Time) -> Option<usize> {
        let taken = {
            let mut tasks = self.tasks.borrow_mut();
            let task = tasks.get_mut(&id)?;
            task.future.take().map(|future| (future, task.waker.clone(), task.owner))
        };
        let (mut future, waker, owner) = taken?;
        self.polls.set(self.polls.get() + 1);
        let trace = (self.trace.get() ^ id).wrapping_mul(0x0100_0000_01B3);
        self.trace.set((trace ^ now.as_micros()).wrapping_mul(0x0100_0000_01B3));
        let side = owner.side();
        self.counted.set(side);
        let mut cx = Context::from_waker(&waker);
        let is_over = self.meter.count(side, || future.as_mut().poll(&mut cx).is_ready());
        self.counted.set(None);
        let mut tasks = self.tasks.borrow_mut();
        if !is_over {
            if let Some(task) = tasks.get_mut(&id) {
                task.future = Some(future);
                return side;
            }
        }
        let removed = tasks.remove(&id);
        drop(tasks);
        // It may have been killed by what it did itself.
        self.drop_future(owner, Some(future));
        drop(removed);
        side
    }

    /// Drops all that is left.
    pub(crate) fn clear(&self) {
        while let Some((_, mut task)) = { self.tasks.borrow_mut().pop_first() } {
            let future = task.future.take();
            self.drop_future(task.owner, future);
        }
    }
}
