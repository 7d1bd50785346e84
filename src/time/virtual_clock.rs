use core::fmt;
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::vec::Vec;

use super::{Time, Timer};

/// Most polls of [`VirtualClock::block_on`] at one moment before it calls the future a live-lock.
///
/// A stream moves at least one byte a poll, so this is also the most bytes that a test can move
/// one at a time without time passing.
const MAX_POLLS_AT_ONE_MOMENT: u32 = 10_000_000;

/// A clock that stands still until it is told to move; clones are the same clock.
///
/// With it a test of twenty seconds of silence takes microseconds and is exact to the microsecond.
///
/// # Examples
///
/// ```
/// use core::time::Duration;
/// use duologue::io::{Cursor, ReadError, read_all_with};
/// use duologue::testing::duplex;
/// use duologue::time::VirtualClock;
///
/// let clock = VirtualClock::new();
/// let (mut near, _silent_peer) = duplex(64);
/// let mut cursor = Cursor::new([0; 5]);
/// let read = read_all_with(&mut near, &mut cursor, clock.timer());
///
/// let error = clock.block_on(read).expect("time passes by itself").unwrap_err();
/// assert!(matches!(error, ReadError::Idle { filled: 0, .. }));
/// assert_eq!(clock.now().as_micros(), 20_000_000);
/// ```
#[derive(Clone, Default)]
pub struct VirtualClock {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    now: Time,
    next_id: u64,
    resets: u64,
    /// Armed timers that a task waits for, in the order in which they will fire.
    waiting: BTreeMap<(Time, u64), Waker>,
}

impl VirtualClock {
    /// A clock at [`Time::ZERO`].
    pub fn new() -> Self {
        Self::default()
    }

    /// A timer on this clock, not armed yet.
    pub fn timer(&self) -> VirtualTimer {
        let mut shared = self.lock();
        let id = shared.next_id;
        shared.next_id = id.saturating_add(1);
        drop(shared);
        VirtualTimer { clock: self.clone(), id, deadline: Time::MAX }
    }

    /// The current moment.
    pub fn now(&self) -> Time {
        self.lock().now
    }

    /// Moves the clock forward by `duration` and wakes what has come due.
    pub fn advance(&self, duration: Duration) {
        self.advance_to(self.now().saturating_add(duration));
    }

    /// Moves the clock to `moment` and wakes what has come due; a moment in the past does nothing.
    pub fn advance_to(&self, moment: Time) {
        let mut shared = self.lock();
        shared.now = shared.now.max(moment);
        let later = match shared.now.as_micros().checked_add(1) {
            Some(next) => shared.waiting.split_off(&(Time::from_micros(next), 0)),
            None => BTreeMap::new(),
        };
        let due: Vec<Waker> =
            core::mem::replace(&mut shared.waiting, later).into_values().collect();
        drop(shared);
        due.into_iter().for_each(Waker::wake);
    }

    /// The earliest deadline that a task waits for.
    pub fn next_deadline(&self) -> Option<Time> {
        self.lock().waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// How often any timer of this clock was armed, to show that arming is lazy.
    pub fn resets(&self) -> u64 {
        self.lock().resets
    }

    /// Runs `future` to its end; whenever it waits, the clock jumps to the next deadline.
    ///
    /// # Errors
    ///
    /// [`Stuck`] when nothing can ever wake the future again: a deadlock, or ten million polls
    /// without time passing, which is a live-lock.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Stuck> {
        let mut future = pin!(future);
        let flag = Arc::new(WakeFlag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut cx = Context::from_waker(&waker);
        let mut polls = 0_u32;
        loop {
            if flag.0.swap(false, Ordering::AcqRel) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    return Ok(output);
                }
                polls = polls.saturating_add(1);
                if polls > MAX_POLLS_AT_ONE_MOMENT {
                    return Err(Stuck::LiveLock { at: self.now() });
                }
            } else {
                let Some(at) = self.next_deadline() else {
                    return Err(Stuck::Deadlock { at: self.now() });
                };
                self.advance_to(at);
                polls = 0;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for VirtualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.lock();
        f.debug_struct("VirtualClock")
            .field("now", &shared.now)
            .field("waiting", &shared.waiting.len())
            .finish_non_exhaustive()
    }
}

struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Why [`VirtualClock::block_on`] gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stuck {
    /// The future waits, and neither a waker nor a timer is left that could go off.
    Deadlock {
        /// The moment on the clock.
        at: Time,
    },
    /// The future keeps waking itself while time stands still.
    LiveLock {
        /// The moment on the clock.
        at: Time,
    },
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock { at } => write!(f, "deadlock at {at:?}: nothing is left to wake"),
            Self::LiveLock { at } => {
                write!(f, "live-lock at {at:?}: {MAX_POLLS_AT_ONE_MOMENT} polls without progress")
            }
        }
    }
}

impl core::error::Error for Stuck {}

/// The [`Timer`] of a [`VirtualClock`], made by [`VirtualClock::timer`].
#[derive(Debug)]
pub struct VirtualTimer {
    clock: VirtualClock,
    id: u64,
    deadline: Time,
}

impl Timer for VirtualTimer {
    fn now(&self) -> Time {
        self.clock.now()
    }

    fn reset(mut self: Pin<&mut Self>, deadline: Time) {
        let mut shared = self.clock.lock();
        let forgotten = shared.waiting.remove(&(self.deadline, self.id));
        shared.resets = shared.resets.saturating_add(1);
        drop(shared);
        drop(forgotten); // a waker may run anything when dropped, so never under the lock
        self.deadline = deadline;
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline == Time::MAX {
            return Poll::Pending;
        }
        let mut shared = self.clock.lock();
        if shared.now >= self.deadline {
            return Poll::Ready(());
        }
        let replaced = shared.waiting.insert((self.deadline, self.id), cx.waker().clone());
        drop(shared);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for VirtualTimer {
    fn drop(&mut self) {
        let forgotten = self.clock.lock().waiting.remove(&(self.deadline, self.id));
        drop(forgotten);
    }
}
