//! Streams for the tests of `session` that do something at a chosen byte, or let bytes through when
//! they are told to; and timers that are not punctual.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use duologue::time::{Time, Timer, VirtualTimer};
use futures::io::AsyncRead;

use super::support::writes_through;

/// What happens to the bytes that are read.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// Nothing.
    Plain,
    /// No read brings bytes from both sides of this place, and between them it has to be waited.
    SplitAt(u64),
    /// The stream ends after so many.
    EndAt(u64),
    /// The stream ends after so many, and then goes on as if it had not.
    PauseAt(u64),
    /// This bit of this byte is another.
    FlipAt(u64, u8),
    /// They come while the gate is open.
    Gate(Gate),
}

/// Stops what comes in, and lets it go on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    is_shut: Rc<Cell<bool>>,
    waker: Rc<RefCell<Option<Waker>>>,
}

impl Gate {
    pub(crate) fn shut(&self) {
        self.is_shut.set(true);
    }

    pub(crate) fn open(&self) {
        self.is_shut.set(false);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A stream with a shape.
pub(crate) struct Shaped<S> {
    inner: S,
    shape: Shape,
    /// Bytes read so far.
    pub(crate) read: Rc<Cell<u64>>,
    /// Reads after the end was told.
    pub(crate) reads_after_end: Rc<Cell<u64>>,
    has_stopped: bool,
}

impl<S> Shaped<S> {
    pub(crate) fn new(inner: S, shape: Shape) -> Self {
        let (read, reads_after_end) = Default::default();
        Self { inner, shape, read, reads_after_end, has_stopped: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Shaped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = self.read.get();
        let mut most = buffer.len();
        match &self.shape {
            Shape::SplitAt(at) | Shape::EndAt(at) | Shape::PauseAt(at) if read < *at => {
                most = most.min((at - read) as usize);
            }
            Shape::SplitAt(at) if read == *at && !self.has_stopped => {
                self.has_stopped = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Shape::EndAt(_) => {
                if std::mem::replace(&mut self.has_stopped, true) {
                    self.reads_after_end.set(self.reads_after_end.get() + 1);
                }
                return Poll::Ready(Ok(0));
            }
            Shape::PauseAt(_) if self.has_stopped => {
                self.reads_after_end.set(self.reads_after_end.get() + 1);
            }
            Shape::PauseAt(_) => {
                self.has_stopped = true;
                return Poll::Ready(Ok(0));
            }
            Shape::Gate(gate) if gate.is_shut.get() => {
                *gate.waker.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            _ => {}
        }
        let result = Pin::new(&mut self.inner).poll_read(cx, &mut buffer[..most]);
        if let Poll::Ready(Ok(len)) = result {
            if let Shape::FlipAt(at, bit) = self.shape {
                if (read..read + len as u64).contains(&at) {
                    buffer[(at - read) as usize] ^= 1 << bit;
                }
            }
            self.read.set(read + len as u64);
        }
        result
    }
}

writes_through!(Shaped<S>);

/// A stream of which a byte can be read each so often.
pub(crate) struct Drip<S> {
    inner: S,
    timer: VirtualTimer,
    every: Duration,
    /// Bytes that come at once before that.
    at_once: usize,
}

impl<S> Drip<S> {
    pub(crate) fn new(inner: S, timer: VirtualTimer, every: Duration, at_once: usize) -> Self {
        Self { inner, timer, every, at_once }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Drip<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.at_once == 0 {
            if Pin::new(&mut this.timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            let result = Pin::new(&mut this.inner).poll_read(cx, &mut buffer[..1]);
            if result.is_ready() {
                let next = this.timer.now().saturating_add(this.every);
                Pin::new(&mut this.timer).reset(next);
            }
            return result;
        }
        let most = buffer.len().min(this.at_once);
        let result = Pin::new(&mut this.inner).poll_read(cx, &mut buffer[..most]);
        if let Poll::Ready(Ok(len)) = result {
            this.at_once -= len;
            if this.at_once == 0 {
                let next = this.timer.now().saturating_add(this.every);
                Pin::new(&mut this.timer).reset(next);
            }
        }
        result
    }
}

writes_through!(Drip<S>);

/// How a timer fails to be punctual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It fires after half of the time.
    Early,
    /// It fires five seconds late.
    Late,
    /// It never fires.
    Never,
}

/// A timer that is not punctual, and whose clock may leap.
pub(crate) struct OddTimer {
    inner: VirtualTimer,
    manner: Option<Manner>,
    /// Microseconds that the clock is ahead, or behind.
    leap: Rc<Cell<i64>>,
}

impl OddTimer {
    pub(crate) fn new(inner: VirtualTimer, manner: Option<Manner>) -> Self {
        Self { inner, manner, leap: Rc::default() }
    }

    pub(crate) fn leap(&self) -> Rc<Cell<i64>> {
        Rc::clone(&self.leap)
    }
}

impl Timer for OddTimer {
    fn now(&self) -> Time {
        let now = self.inner.now().as_micros();
        Time::from_micros(now.saturating_add_signed(self.leap.get()))
    }

    fn reset(mut self: Pin<&mut Self>, deadline: Time) {
        let (now, asked) = (self.inner.now(), self.now());
        let wait = deadline.saturating_duration_since(asked);
        let wait = match self.manner {
            Some(Manner::Early) => Duration::from_micros((wait.as_micros() as u64).div_ceil(2)),
            Some(Manner::Late) => wait.saturating_add(Duration::from_secs(5)),
            Some(Manner::Never) => Duration::MAX,
            None => wait,
        };
        Pin::new(&mut self.inner).reset(now.saturating_add(wait));
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.inner).poll(cx)
    }
}
