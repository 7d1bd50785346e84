//! The part that both routines share: call the stream until it has nothing more, then look at the
//! clock.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use super::TransportError;
use super::limits::{Limits, MinimumRate};
use crate::time::{Time, Timer};

/// Most calls to the stream within one poll; 128 default chunks are 2 MiB.
const CALLS_PER_POLL: u32 = 128;

/// What one call to the stream did.
pub(super) enum Step<E> {
    /// Nothing is missing: the stream was not called.
    Complete,
    /// This many bytes were moved.
    Moved(usize),
    /// The stream reported an error.
    Failed(io::Error),
    /// The stream broke its contract.
    Broken(TransportError),
    /// The operation cannot go on.
    Stop(E),
}

/// Why an operation ended before it was complete.
pub(super) enum End<E> {
    Idle(Duration),
    Deadline(Duration),
    TooSlow(u64),
    Transport(TransportError),
    Stop(E),
}

/// The limits of an operation and where it stands against them.
#[derive(Debug)]
pub(super) struct Pace {
    limits: Limits,
    /// Bytes moved since the clock was last looked at.
    moved: u64,
    /// Set from the first wait on.
    clock: Option<Clock>,
    /// What the timer is set to; it may be earlier than the next limit, never later.
    armed: Option<Time>,
}

#[derive(Debug)]
struct Clock {
    started: Time,
    last_byte: Time,
    window: Window,
}

#[derive(Debug)]
struct Window {
    opened: Time,
    moved: u64,
}

/// The number that a stream reported, once it is known to be possible.
#[inline]
pub(super) fn checked(claimed: usize, offered: usize) -> Result<usize, TransportError> {
    if claimed > offered {
        return Err(TransportError::Overrun { claimed, offered });
    }
    Ok(claimed)
}

impl Pace {
    pub(super) const fn new(limits: Limits) -> Self {
        Self { limits, moved: 0, clock: None, armed: None }
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        *self = Self { armed: self.armed, ..Self::new(limits) };
    }

    /// Takes steps until the operation is complete, the stream waits, or a limit has passed.
    #[inline]
    pub(super) fn poll<T: Timer, E>(
        &mut self,
        mut timer: Pin<&mut T>,
        cx: &mut Context<'_>,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<Step<E>>,
    ) -> Poll<Result<(), End<E>>> {
        let mut interruptions = 0_u32;
        for _ in 0..CALLS_PER_POLL {
            match step(cx) {
                Poll::Pending => return self.poll_clock(timer.as_mut(), cx).map(Err),
                Poll::Ready(Step::Complete) => return Poll::Ready(Ok(())),
                Poll::Ready(Step::Moved(n)) => {
                    self.moved = self.moved.saturating_add(n as u64);
                    interruptions = 0;
                }
                Poll::Ready(Step::Failed(error)) => {
                    if error.kind() != io::ErrorKind::Interrupted {
                        return self.end(End::Transport(error.into()));
                    }
                    interruptions = interruptions.saturating_add(1);
                    if interruptions >= TransportError::MAX_INTERRUPTIONS {
                        return self.end(End::Transport(TransportError::Interrupted));
                    }
                }
                Poll::Ready(Step::Broken(error)) => return self.end(End::Transport(error)),
                Poll::Ready(Step::Stop(error)) => return self.end(End::Stop(error)),
            }
        }
        cx.waker().wake_by_ref();
        self.poll_clock(timer, cx).map(Err)
    }

    /// Forgets the countdown, so that going on starts a new one.
    fn end<E>(&mut self, end: End<E>) -> Poll<Result<(), End<E>>> {
        self.restart();
        Poll::Ready(Err(end))
    }

    fn restart(&mut self) {
        self.moved = 0;
        self.clock = None;
    }

    /// Looks at the clock: which limit has passed, or until when to wait.
    #[cold]
    fn poll_clock<T: Timer, E>(
        &mut self,
        mut timer: Pin<&mut T>,
        cx: &mut Context<'_>,
    ) -> Poll<End<E>> {
        loop {
            let now = timer.now();
            let Some(next) = self.check(now) else {
                let end = self.expired(now);
                self.restart();
                return Poll::Ready(end);
            };
            if next == Time::MAX {
                return Poll::Pending;
            }
            if self.armed.is_none_or(|armed| armed > next) {
                timer.as_mut().reset(next);
                self.armed = Some(next);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // It fired. If it was set to an earlier limit that bytes have moved since, wait for
            // the next one; if it fired before its time, let the executor breathe first.
            let due = self.armed.take().is_none_or(|armed| armed <= timer.now());
            if !due {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Notes what has moved; the next limit to pass, or `None` when one has.
    fn check(&mut self, now: Time) -> Option<Time> {
        let moved = core::mem::take(&mut self.moved);
        let clock = self.clock.get_or_insert(Clock {
            started: now,
            last_byte: now,
            window: Window { opened: now, moved: 0 },
        });
        if moved > 0 {
            clock.last_byte = now;
        }
        clock.window.moved = clock.window.moved.saturating_add(moved);
        if let Some(rate) = self.limits.rate {
            if now >= clock.window.opened.saturating_add(rate.window) && !is_slow(clock, rate, now)
            {
                clock.window = Window { opened: now, moved: 0 };
            }
        }
        let next = self.next_limit()?;
        (now < next || next == Time::MAX).then_some(next)
    }

    fn idle_at(&self) -> Option<Time> {
        Some(self.clock.as_ref()?.last_byte.saturating_add(self.limits.idle))
    }

    fn deadline_at(&self) -> Option<Time> {
        Some(self.clock.as_ref()?.started.saturating_add(self.limits.deadline?))
    }

    fn window_at(&self) -> Option<Time> {
        Some(self.clock.as_ref()?.window.opened.saturating_add(self.limits.rate?.window))
    }

    fn next_limit(&self) -> Option<Time> {
        [self.idle_at(), self.deadline_at(), self.window_at()].into_iter().flatten().min()
    }

    /// Which limit passed first; the earlier one where several have.
    fn expired<E>(&self, now: Time) -> End<E> {
        let first = self.next_limit().unwrap_or(now);
        if let Some(limit) = self.limits.deadline.filter(|_| self.deadline_at() == Some(first)) {
            return End::Deadline(limit);
        }
        if self.idle_at() == Some(first) {
            return End::Idle(self.limits.idle);
        }
        End::TooSlow(self.limits.rate.map_or(0, |rate| rate.bytes_per_second))
    }
}

/// Whether fewer bytes moved since the window opened than the rate asks for.
fn is_slow(clock: &Clock, rate: MinimumRate, now: Time) -> bool {
    let open_for = now.saturating_duration_since(clock.window.opened);
    let asked = open_for.as_micros().saturating_mul(u128::from(rate.bytes_per_second));
    u128::from(clock.window.moved).saturating_mul(1_000_000) < asked
}
