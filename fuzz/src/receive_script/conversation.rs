//! A future that waits for threads as well as for a clock that jumps.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use duologue::time::VirtualClock;

/// How long threads of files have, each time that nobody is woken, before the clock jumps.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// Before it jumps by less than `far`: what takes them longer is found a moment later.
    pub(super) moment: Duration,
    pub(super) far: Duration,
    /// Before it jumps farther: time-outs are for peers, not for a machine that is busy. So long at
    /// a time, and so often that the disk was not called meanwhile.
    pub(super) long: Duration,
    pub(super) idle: u32,
}

impl Patience {
    pub(super) const SHORT: Self = Self {
        moment: Duration::from_micros(300),
        far: Duration::from_millis(1500),
        long: Duration::from_millis(20),
        idle: 1,
    };
    /// Where nothing fails nobody gives up.
    pub(super) const ENDLESS: Self = Self { long: Duration::from_secs(1), idle: 5, ..Self::SHORT };
}

/// Jumps of the clock that are no progress any more.
const JUMPS: u32 = 1_000_000;

/// Seconds without a call of the disk after which no thread is at work.
const IDLE_SECONDS: u32 = 30;

struct Flag {
    is_woken: AtomicBool,
    thread: std::thread::Thread,
}

impl Flag {
    /// Whether it is woken in time.
    fn waits(&self, most: Duration) -> bool {
        let until = Instant::now() + most;
        while !self.is_woken.load(Ordering::Acquire) {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return false };
            std::thread::park_timeout(left);
        }
        true
    }

    /// Whether it is woken before so many slices of time have passed one after the other in which
    /// the disk was not called. When the machine stood still meanwhile that is one slice.
    fn waits_for_threads(&self, slice: Duration, most: u32, calls: impl Fn() -> u64) -> bool {
        let (mut seen, mut idle) = (calls(), 0);
        while idle < most {
            if self.waits(slice) {
                return true;
            }
            let now = calls();
            idle = if now == seen { idle + 1 } else { 0 };
            seen = now;
        }
        false
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Runs a future to its end. `works` says whether a thread may be at work for it, and `calls` how many
/// calls of the disk such threads have made.
pub(super) fn block_on<F: Future>(
    clock: &VirtualClock,
    works: impl Fn() -> bool,
    calls: impl Fn() -> u64,
    patience: Patience,
    future: F,
) -> F::Output {
    let mut future = pin!(future);
    let thread = std::thread::current();
    let flag = Arc::new(Flag { is_woken: AtomicBool::new(true), thread });
    let waker = Waker::from(Arc::clone(&flag));
    let mut cx = Context::from_waker(&waker);
    let mut jumps = 0;
    loop {
        if flag.is_woken.swap(false, Ordering::AcqRel) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return output;
            }
            continue;
        }
        let next = clock.next_deadline();
        if works() {
            let is_near =
                next.is_some_and(|at| at.saturating_duration_since(clock.now()) < patience.far);
            let is_woken = if is_near {
                flag.waits(patience.moment)
            } else {
                flag.waits_for_threads(patience.long, patience.idle, &calls)
            };
            if is_woken {
                continue;
            }
        }
        jumps += 1;
        assert!(jumps < JUMPS, "nothing but time passes");
        match next {
            Some(at) => clock.advance_to(at),
            // Only a thread can go on with it.
            None => {
                let second = Duration::from_secs(1);
                let is_woken = works() && flag.waits_for_threads(second, IDLE_SECONDS, &calls);
                assert!(is_woken, "nobody is woken");
            }
        }
    }
}
