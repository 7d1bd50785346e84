use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::collections::VecDeque;
use std::io::{self, IoSlice};

use futures::io::{AsyncRead, AsyncWrite};

use super::{Fault, Script};
use crate::time::{Time, Timer, VirtualClock, VirtualTimer};

/// A stream that does what a [`Script`] says to another one.
///
/// Delays run on a [`VirtualClock`], so they are exact.
///
/// # Examples
///
/// ```
/// use duologue::io::{Cursor, ReadError, TransportError, read_all_with};
/// use duologue::testing::{Fault, Faulty, Script};
/// use duologue::time::VirtualClock;
///
/// let clock = VirtualClock::new();
/// let script = Script::new().reads([Fault::Split(2), Fault::Overrun]);
/// let mut stream = Faulty::new(&b"hello"[..], script, &clock);
///
/// let mut cursor = Cursor::new([0; 5]);
/// let read = read_all_with(&mut stream, &mut cursor, clock.timer());
/// let error = TransportError::Overrun { claimed: 4, offered: 3 };
/// assert_eq!(clock.block_on(read), Ok(Err(ReadError::Transport { filled: 2, error })));
/// ```
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    reads: Direction,
    writes: Direction,
}

#[derive(Debug)]
struct Direction {
    faults: VecDeque<Fault>,
    state: State,
    timer: VirtualTimer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// A delay that ends at this moment.
    Delayed(Time),
    Stalled,
    Cut,
}

/// What is to be done with a call.
enum Verdict {
    Allow(usize),
    Zero,
    Overrun,
    Cut,
}

impl<S> Faulty<S> {
    /// Wraps `stream`; the script's delays run on `clock`.
    pub fn new(stream: S, script: Script, clock: &VirtualClock) -> Self {
        let direction = |faults| Direction { faults, state: State::Running, timer: clock.timer() };
        Self { inner: stream, reads: direction(script.reads), writes: direction(script.writes) }
    }

    /// The stream inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The stream inside, past the script.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the stream back, and forgets the rest of the script.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl Direction {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Verdict>> {
        match self.state {
            State::Running => {}
            State::Delayed(until) if self.timer.now() >= until => {
                self.state = State::Running;
                return Poll::Ready(Ok(Verdict::Allow(usize::MAX)));
            }
            State::Delayed(_) => return self.wait(cx),
            State::Stalled => return Poll::Pending,
            State::Cut => return Poll::Ready(Ok(Verdict::Cut)),
        }
        match self.faults.pop_front().unwrap_or(Fault::Pass) {
            Fault::Pass => Poll::Ready(Ok(Verdict::Allow(usize::MAX))),
            Fault::Split(most) => Poll::Ready(Ok(Verdict::Allow(most.max(1)))),
            Fault::SpuriousWake => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Fault::Delay(delay) => {
                let until = self.timer.now().saturating_add(delay);
                self.state = State::Delayed(until);
                Pin::new(&mut self.timer).reset(until);
                self.wait(cx)
            }
            Fault::Stall => {
                self.state = State::Stalled;
                Poll::Pending
            }
            Fault::Fail(kind) => Poll::Ready(Err(kind.into())),
            Fault::Cut => {
                self.state = State::Cut;
                Poll::Ready(Ok(Verdict::Cut))
            }
            Fault::Overrun => Poll::Ready(Ok(Verdict::Overrun)),
            Fault::Zero => Poll::Ready(Ok(Verdict::Zero)),
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Verdict>> {
        if Pin::new(&mut self.timer).poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Faulty<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match ready!(this.reads.poll(cx))? {
            Verdict::Allow(most) => {
                let len = buf.len().min(most);
                let room = buf.get_mut(..len).unwrap_or_default();
                Pin::new(&mut this.inner).poll_read(cx, room)
            }
            Verdict::Zero | Verdict::Cut => Poll::Ready(Ok(0)),
            Verdict::Overrun => Poll::Ready(Ok(buf.len().saturating_add(1))),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Faulty<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match ready!(this.writes.poll(cx))? {
            Verdict::Allow(most) => {
                // One slice at a time, which is what a stream without vectored writes does.
                let buf = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
                let bytes = buf.get(..most).unwrap_or(buf);
                Pin::new(&mut this.inner).poll_write(cx, bytes)
            }
            Verdict::Zero => Poll::Ready(Ok(0)),
            Verdict::Overrun => {
                let offered = bufs.iter().fold(0_usize, |sum, buf| sum.saturating_add(buf.len()));
                Poll::Ready(Ok(offered.saturating_add(1)))
            }
            Verdict::Cut => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match ready!(this.writes.poll(cx))? {
            Verdict::Cut => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            _ => Pin::new(&mut this.inner).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match ready!(this.writes.poll(cx))? {
            Verdict::Cut => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            _ => Pin::new(&mut this.inner).poll_close(cx),
        }
    }
}
