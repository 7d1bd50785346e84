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
    /// Before it jumps farther: time-outs are for peers, not for a machine that is busy.
    pub(super) long: Duration,
}

impl Patience {
    pub(super) const SHORT: Self = Self {
        moment: Duration::from_micros(300),
        far: Duration::from_millis(1500),
        long: Duration::from_millis(20),
    };
    /// Where nothing fails nobody gives up.
    pub(super) const ENDLESS: Self = Self { long: Duration::from_secs(2), ..Self::SHORT };
}

/// Jumps of the clock that are no progress any more.
const JUMPS: u32 = 1_000_000;

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
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Runs a future to its end. `works` says whether a thread may be at work for it.
pub(super) fn block_on<F: Future>(
    clock: &VirtualClock,
    works: impl Fn() -> bool,
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
            if flag.waits(if is_near { patience.moment } else { patience.long }) {
                continue;
            }
        }
        jumps += 1;
        assert!(jumps < JUMPS, "nothing but time passes");
        match next {
            Some(at) => clock.advance_to(at),
            // Only a thread can go on with it.
            None => assert!(works() && flag.waits(Duration::from_secs(30)), "nobody is woken"),
        }
    }
}
