//! Tasks in one thread, and who is polled next is drawn from the seed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use duologue::testing::SplitMix64;
use duologue::time::{Time, VirtualClock};
use futures::future::LocalBoxFuture;

/// Polls at one moment that are no progress any more.
const POLLS_AT_ONE_MOMENT: u32 = 2_000_000;

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
}

pub(crate) struct Executor {
    tasks: RefCell<BTreeMap<u64, Task>>,
    ready: Arc<Mutex<BTreeSet<u64>>>,
    next: Cell<u64>,
    random: RefCell<SplitMix64>,
    pub(crate) polls: Cell<u64>,
    /// Of who was polled and when: the same for the same seed.
    pub(crate) trace: Cell<u64>,
}

struct Task {
    owner: Owner,
    /// Taken out while it is polled.
    future: Option<LocalBoxFuture<'static, ()>>,
    waker: Waker,
}

struct Flag {
    task: u64,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap().insert(self.task);
    }
}

impl Executor {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            tasks: RefCell::default(),
            ready: Arc::default(),
            next: Cell::new(0),
            random: RefCell::new(SplitMix64::new(seed)),
            polls: Cell::new(0),
            trace: Cell::new(0xCBF2_9CE4_8422_2325),
        }
    }

    pub(crate) fn spawn(&self, owner: Owner, future: impl Future<Output = ()> + 'static) {
        let task = self.next.get();
        self.next.set(task + 1);
        let waker = Waker::from(Arc::new(Flag { task, ready: Arc::clone(&self.ready) }));
        let future: LocalBoxFuture<'static, ()> = Box::pin(future);
        self.tasks.borrow_mut().insert(task, Task { owner, future: Some(future), waker });
        self.ready.lock().unwrap().insert(task);
    }

    /// Drops all tasks of an owner, wherever they are.
    pub(crate) fn kill(&self, owner: Owner) {
        let mut killed = Vec::new();
        self.tasks.borrow_mut().retain(|_, task| {
            let dies = task.owner.dies_with(owner);
            if dies {
                killed.push(task.future.take());
            }
            !dies
        });
        drop(killed);
    }

    /// Polls whoever is ready, in an order of its own, until all is done.
    pub(crate) fn run(
        &self,
        clock: &VirtualClock,
        is_done: impl Fn() -> bool,
        until: impl Fn() -> Time,
    ) -> Result<(), Stuck> {
        let mut polls_now = 0_u32;
        while !is_done() {
            let Some(task) = self.pick() else {
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
            self.poll(task, clock.now());
        }
        Ok(())
    }

    /// One of those that were woken; now and then one that was not.
    fn pick(&self) -> Option<u64> {
        let mut random = self.random.borrow_mut();
        let mut ready = self.ready.lock().unwrap();
        let place = random.below(ready.len() as u64) as usize;
        let woken = ready.iter().nth(place).copied()?;
        if random.below(200) == 0 {
            let tasks = self.tasks.borrow();
            let place = random.below(tasks.len() as u64) as usize;
            return tasks.keys().nth(place).copied();
        }
        ready.remove(&woken);
        Some(woken)
    }

    fn poll(&self, id: u64, now: Time) {
        let taken = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(&id) else { return };
            task.future.take().map(|future| (future, task.waker.clone()))
        };
        let Some((mut future, waker)) = taken else { return };
        self.polls.set(self.polls.get() + 1);
        let trace = (self.trace.get() ^ id).wrapping_mul(0x0100_0000_01B3);
        self.trace.set((trace ^ now.as_micros()).wrapping_mul(0x0100_0000_01B3));
        let is_over = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut tasks = self.tasks.borrow_mut();
        if is_over {
            tasks.remove(&id);
        } else if let Some(task) = tasks.get_mut(&id) {
            task.future = Some(future);
            return;
        }
        drop(tasks);
        // It may have been killed by what it did itself.
        drop(future);
    }

    /// Drops all that is left.
    pub(crate) fn clear(&self) {
        while let Some((_, task)) = { self.tasks.borrow_mut().pop_first() } {
            drop(task);
        }
    }
}
