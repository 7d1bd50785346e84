use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use crate::time::{Time, Timer};

/// The first wait after a failure.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(1);

/// Waits that double with each failure in a row.
#[derive(Debug)]
pub(super) struct Backoff<T> {
    timer: T,
    next: Duration,
    until: Option<Time>,
}

impl<T: Timer + Unpin> Backoff<T> {
    pub(super) const fn new(timer: T) -> Self {
        Self { timer, next: FIRST, until: None }
    }

    /// Begins a wait and tells how long it is.
    pub(super) fn failed(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(LONGEST);
        let until = self.timer.now().saturating_add(wait);
        self.until = Some(until);
        Pin::new(&mut self.timer).reset(until);
        wait
    }

    /// Forgets the failures.
    pub(super) const fn clear(&mut self) {
        self.next = FIRST;
        self.until = None;
    }

    /// Waits as long as the last failure asks for.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(until) = self.until {
            if self.timer.now() >= until {
                self.until = None;
            } else if Pin::new(&mut self.timer).poll(cx).is_pending() {
                return Poll::Pending;
            } else {
                Pin::new(&mut self.timer).reset(until); // it went off early
            }
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use core::future::poll_fn;

    use super::*;
    use crate::time::VirtualClock;

    #[test]
    fn waits_double_up_to_a_second_and_start_anew_after_a_success() {
        let clock = VirtualClock::new();
        let mut backoff = Backoff::new(clock.timer());
        let mut wait = |clear: bool| {
            if clear {
                backoff.clear();
            }
            let (start, announced) = (clock.now(), backoff.failed());
            clock.block_on(poll_fn(|cx| backoff.poll(cx))).unwrap();
            assert_eq!(clock.now().saturating_duration_since(start), announced);
            announced.as_millis()
        };
        assert_eq!([(); 7].map(|()| wait(false)), [50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(wait(true), 50);
    }
}
