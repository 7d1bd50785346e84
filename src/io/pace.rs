//! The part that both routines share: call the stream until it has nothing more, then look at the
//! clock.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use super::TransportError;
use super::limits::Limits;
use crate::time::{Time, Timer};

/// Most calls to the stream within one poll; 128 default chunks are 2 MiB.
const CALLS_PER_POLL: u32 = 128;

/// What one call to the stream did.
pub(crate) enum Step<E> {
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
pub(crate) enum End<E> {
    Idle(Duration),
    Deadline(Duration),
    TooSlow(u64),
    Transport(TransportError),
    Stop(E),
}

/// The limits of an operation and where it stands against them.
#[derive(Debug)]
pub(crate) struct Pace {
    limits: Limits,
    /// Bytes moved since the clock was last looked at.
    moved: u64,
    /// Set from the first wait on.
    clock: Option<Clock>,
    /// What the timer is set to; it may be earlier than the next limit, never later.
    armed: Option<Time>,
    /// Whether to give way once before the timer is armed; set again by every byte.
    yields: bool,
    /// Taken over from the last future of the same transfer, which may have completed without a
    /// look at the clock.
    taken_over: bool,
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
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { limits, moved: 0, clock: None, armed: None, yields: true, taken_over: false }
    }

    /// Goes on with the next part of the same transfer.
    pub(super) fn take_over(&mut self, earlier: Self) {
        *self = Self { taken_over: true, ..earlier };
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        *self = Self { armed: self.armed, ..Self::new(limits) };
    }

    /// Takes steps until the operation is complete, the stream waits, or a limit has passed.
    #[inline]
    pub(crate) fn poll<T: Timer, E>(
        &mut self,
        timer: Pin<&mut T>,
        cx: &mut Context<'_>,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<Step<E>>,
    ) -> Poll<Result<(), End<E>>> {
        if core::mem::take(&mut self.taken_over) && !self.limits.is_idle_only() {
            let now = timer.now();
            self.note(now);
            if let Some(end) = self.expired(now, self.limits_in_all()) {
                return self.end(end);
            }
        }
        let mut interruptions = 0_u32;
        for _ in 0..CALLS_PER_POLL {
            match step(cx) {
                Poll::Pending => return self.poll_clock(timer, cx).map(Err),
                Poll::Ready(Step::Complete) => return Poll::Ready(Ok(())),
                Poll::Ready(Step::Moved(n)) => {
                    self.moved = self.moved.saturating_add(n as u64);
                    self.yields = true;
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
        // The stream has more, and other tasks have a right to their turn. No timer is needed to
        // come back, but what is limited in all is limited here, too.
        self.give_way(timer.now(), cx).map(Err)
    }

    /// Lets other tasks run, unless a limit has passed; of silence there can be none yet.
    fn give_way<E>(&mut self, now: Time, cx: &mut Context<'_>) -> Poll<End<E>> {
        self.note(now);
        if let Some(end) = self.expired(now, self.limits_in_all()) {
            self.restart();
            return Poll::Ready(end);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Forgets the countdown, so that going on starts a new one.
    fn end<E>(&mut self, end: End<E>) -> Poll<Result<(), End<E>>> {
        self.restart();
        Poll::Ready(Err(end))
    }

    fn restart(&mut self) {
        self.moved = 0;
        self.clock = None;
        self.yields = true;
    }

    /// Looks at the clock: which limit has passed, or until when to wait.
    #[cold]
    fn poll_clock<T: Timer, E>(
        &mut self,
        mut timer: Pin<&mut T>,
        cx: &mut Context<'_>,
    ) -> Poll<End<E>> {
        // Arming is a system call and wakes the clock's thread, so it is worth a yield to see
        // whether the other end is just about to move on. Once armed, the timer stays so.
        if self.armed.is_none() && self.yields {
            self.yields = false;
            // The idle limit begins when that brings nothing; the others count from here.
            if !self.limits.is_idle_only() {
                return self.give_way(timer.now(), cx);
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut now = timer.now();
        loop {
            self.note(now);
            let limits = [self.idle_at(), self.deadline_at(), self.window_at()];
            if let Some(end) = self.expired(now, limits) {
                self.restart();
                return Poll::Ready(end);
            }
            let next = limits.into_iter().flatten().min().unwrap_or(Time::MAX);
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
            now = timer.now();
            if self.armed.take().is_some_and(|armed| armed > now) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Enters what has moved since the clock was last looked at, and opens a new window of the rate
    /// when the last one was good.
    fn note(&mut self, now: Time) {
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
            let ends = clock.window.opened.saturating_add(rate.window);
            if now >= ends && clock.window.moved >= rate.bytes_per_window() {
                clock.window = Window { opened: now, moved: 0 };
            }
        }
    }

    /// The limits that bytes do not move.
    fn limits_in_all(&self) -> [Option<Time>; 3] {
        [None, self.deadline_at(), self.window_at()]
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

    /// Which of the limits for idle, deadline and rate has passed; the earliest where several have.
    fn expired<E>(&self, now: Time, limits: [Option<Time>; 3]) -> Option<End<E>> {
        let first = limits.into_iter().flatten().min()?;
        if now < first || first == Time::MAX {
            return None;
        }
        let [idle, deadline, _] = limits;
        Some(match (self.limits.deadline, self.limits.rate) {
            (Some(limit), _) if deadline == Some(first) => End::Deadline(limit),
            (_, Some(rate)) if idle != Some(first) => End::TooSlow(rate.bytes_per_second),
            _ => End::Idle(self.limits.idle),
        })
    }
}
