//! What the two script targets share: a scripted stream, and a task that drops its futures.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use arbitrary::Arbitrary;
use duologue::io::{Limits, TransportError};
use duologue::testing::{Fault, Script};
use duologue::time::{Time, VirtualClock};

/// What the fuzzer decides beside the transport's behaviour.
#[derive(Arbitrary, Debug)]
pub struct Plan {
    /// What happens to the calls of the stream, one after the other.
    pub faults: Vec<Fault>,
    /// Bytes to move; at most 4 KiB, so that a case stays quick.
    len: u16,
    pub chunk: u16,
    pub idle_millis: u16,
    pub deadline_millis: Option<u16>,
    pub rate: Option<(u16, u16)>,
    /// How many polls each future gets before it is dropped; used up, futures live on.
    pub drops: Vec<u8>,
}

impl Plan {
    pub fn data(&self) -> Vec<u8> {
        (0..usize::from(self.len % 4097)).map(|n| (n % 251) as u8).collect()
    }

    pub fn script(&self) -> Script {
        Script::new().reads(self.faults.iter().cloned()).writes(self.faults.iter().cloned())
    }

    /// How many futures are enough if time alone cannot hold up the stream: one for each that is
    /// dropped, one for each fault that ends a future, and one for each 128 calls without a wait.
    pub fn rounds(&self) -> usize {
        self.drops.len() + self.faults.len() + usize::from(self.len) / 128 + 8
    }

    /// How many of the faults are like this one.
    pub fn count(&self, like: impl Fn(&Fault) -> bool) -> usize {
        self.faults.iter().filter(|fault| like(fault)).count()
    }

    /// Panics when `error` cannot come from a stream with these faults.
    pub fn check_transport(&self, error: &TransportError) {
        match error {
            TransportError::Io { kind, .. } => {
                assert_ne!(*kind, ErrorKind::Interrupted, "interruptions are retried");
                let reset = *kind == ErrorKind::ConnectionReset;
                let like =
                    |fault: &Fault| *fault == Fault::Fail(*kind) || (reset && *fault == Fault::Cut);
                assert!(self.count(like) > 0, "nobody failed with {kind}");
            }
            TransportError::Interrupted => {
                let interruptions = self.count(|f| *f == Fault::Fail(ErrorKind::Interrupted));
                assert!(interruptions >= TransportError::MAX_INTERRUPTIONS as usize);
            }
            TransportError::Overrun { claimed, offered } => {
                assert_eq!(*claimed, offered + 1);
                assert!(self.count(|fault| *fault == Fault::Overrun) > 0);
            }
            TransportError::WriteZero => assert!(self.count(|fault| *fault == Fault::Zero) > 0),
            other => panic!("an error the model does not know: {other}"),
        }
    }

    /// Panics when a future that took this long should have ended before.
    pub fn check_time(&self, took: Duration) {
        if let Some(deadline) = self.deadline_millis {
            assert!(took <= millis(deadline), "took {took:?}");
        }
    }

    /// Panics when a future of a silent stream cannot have ended so after this long.
    pub fn check_idle(&self, limit: Duration, took: Duration) {
        assert_eq!(limit, millis(self.idle_millis));
        assert!(took >= limit, "idle after {took:?}");
    }

    /// As [`check_idle`](Self::check_idle), for the deadline: the clock stops at every timer.
    pub fn check_deadline(&self, limit: Duration, took: Duration) {
        assert_eq!(Some(limit), self.deadline_millis.map(millis));
        assert_eq!(took, limit);
    }

    /// As [`check_idle`](Self::check_idle), for the rate: a window has to be over.
    pub fn check_rate(&self, minimum: u64, took: Duration) {
        let (rate, window) = self.rate.expect("a rate is set");
        assert!(minimum > 0 && minimum == u64::from(rate));
        assert!(took >= millis(window), "too slow after {took:?}");
    }

    /// Whether the stream gets going again after every fault without time passing.
    pub fn always_goes_on(&self) -> bool {
        !self.faults.iter().any(|f| matches!(f, Fault::Stall | Fault::Cut | Fault::Delay(_)))
    }

    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default().idle(millis(self.idle_millis));
        if let Some(deadline) = self.deadline_millis {
            limits = limits.deadline(millis(deadline));
        }
        if let Some((rate, window)) = self.rate {
            limits = limits.minimum_rate(rate.into(), millis(window));
        }
        limits
    }
}

fn millis(n: u16) -> Duration {
    Duration::from_millis(n.into())
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// How one future ended.
pub enum Run<T> {
    Ended(T),
    Dropped,
    /// It waits, nothing will ever wake it, and no timer is armed.
    Stuck,
}

/// Polls `future` at most `polls` times (no limit for `None`), moving the clock when it waits.
///
/// Panics when a timer goes off and the future's waker was not registered with it.
pub fn run<F: Future>(future: F, clock: &VirtualClock, polls: Option<u8>) -> Run<F::Output> {
    let mut future = std::pin::pin!(future);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut polled = 0_u32;
    loop {
        if polls.is_some_and(|polls| polled >= u32::from(polls)) {
            return Run::Dropped;
        }
        polled += 1;
        assert!(polled < 1_000_000, "a live-lock");
        let before = wakes.0.load(Ordering::Relaxed);
        if let Poll::Ready(output) = poll(future.as_mut(), &waker) {
            return Run::Ended(output);
        }
        if wakes.0.load(Ordering::Relaxed) > before {
            continue;
        }
        match clock.next_deadline() {
            Some(at) if at < Time::MAX => {
                clock.advance_to(at);
                assert!(wakes.0.load(Ordering::Relaxed) > before, "a timer that wakes nobody");
            }
            _ => return Run::Stuck,
        }
    }
}

fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}
