//! Streams for the tests of `session` that count, lie, or take one slice at a time.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};

/// Counts the calls that wrote something.
pub(crate) struct Counting<S> {
    inner: S,
    writes: Rc<Cell<usize>>,
}

impl<S> Counting<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, writes: Rc::default() }
    }

    pub(crate) fn writes(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.writes)
    }

    fn count(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(_)) = written {
            self.writes.set(self.writes.get() + 1);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counting<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buffer);
        self.count(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.count(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// What is wrong with a [`Wrong`] stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Vectored writes take the first slice alone, as the default of the trait does.
    FirstSlice,
    /// A byte at a time, each way.
    SingleBytes,
    /// Every other poll waits for no reason, and wakes at once.
    EveryOtherPoll,
    /// Every other call is interrupted.
    Interrupted,
    /// After so many calls each way it claims to have moved one byte more than it was offered.
    Overrun(usize),
    /// After so many writes it claims to have taken one byte more than it was offered.
    WriteOverrun(usize),
    /// After so many writes it takes nothing.
    WriteZero(usize),
    /// After so many calls each way every call fails.
    Fails(usize, io::ErrorKind),
    /// Nothing but flushing is interrupted, for ever.
    FlushInterrupted,
    /// After so many writes nothing but writing is interrupted, for ever.
    WriteInterrupted(usize),
}

/// A stream with a defect.
pub(crate) struct Wrong<S> {
    inner: S,
    defect: Defect,
    reads: usize,
    writes: usize,
    /// Vectored writes so far.
    pub(crate) vectored: Rc<Cell<usize>>,
    /// Bytes offered in writes of one slice, taken or not.
    pub(crate) offered: Rc<Cell<usize>>,
}

impl<S> Wrong<S> {
    pub(crate) fn new(inner: S, defect: Defect) -> Self {
        Self { inner, defect, reads: 0, writes: 0, vectored: Rc::default(), offered: Rc::default() }
    }

    fn interrupted(&self) -> Poll<io::Result<usize>> {
        assert!(self.writes < 100_000, "it is asked again and again");
        Poll::Ready(Err(io::ErrorKind::Interrupted.into()))
    }

    /// What happens instead of the call that has this number.
    fn instead(&self, cx: &Context<'_>, call: usize) -> Option<Poll<io::Result<usize>>> {
        match self.defect {
            Defect::EveryOtherPoll if call % 2 == 0 => {
                cx.waker().wake_by_ref();
                Some(Poll::Pending)
            }
            Defect::Interrupted if call % 2 == 0 => {
                Some(Poll::Ready(Err(io::ErrorKind::Interrupted.into())))
            }
            Defect::Fails(calls, kind) if call > calls => Some(Poll::Ready(Err(kind.into()))),
            _ => None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wrong<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.reads += 1;
        assert!(self.reads < 1_000_000, "it is asked again and again");
        if let Some(instead) = self.instead(cx, self.reads) {
            return instead;
        }
        let len = if self.defect == Defect::SingleBytes { 1 } else { buffer.len() };
        match self.defect {
            Defect::Overrun(calls) if self.reads > calls => Poll::Ready(Ok(buffer.len() + 1)),
            _ => Pin::new(&mut self.inner).poll_read(cx, &mut buffer[..len]),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wrong<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes += 1;
        self.offered.set(self.offered.get() + buffer.len());
        if let Some(instead) = self.instead(cx, self.writes) {
            return instead;
        }
        let len = if self.defect == Defect::SingleBytes { 1 } else { buffer.len() };
        match self.defect {
            Defect::Overrun(calls) | Defect::WriteOverrun(calls) if self.writes > calls => {
                Poll::Ready(Ok(buffer.len() + 1))
            }
            Defect::WriteZero(calls) if self.writes > calls => Poll::Ready(Ok(0)),
            Defect::WriteInterrupted(calls) if self.writes > calls => self.interrupted(),
            _ => Pin::new(&mut self.inner).poll_write(cx, &buffer[..len]),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.vectored.set(self.vectored.get() + 1);
        if self.defect == Defect::FirstSlice || self.defect == Defect::SingleBytes {
            return self.poll_write(cx, &slices[0]);
        }
        self.writes += 1;
        if let Some(instead) = self.instead(cx, self.writes) {
            return instead;
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        match self.defect {
            Defect::Overrun(calls) | Defect::WriteOverrun(calls) if self.writes > calls => {
                Poll::Ready(Ok(offered + 1))
            }
            Defect::WriteZero(calls) if self.writes > calls => Poll::Ready(Ok(0)),
            Defect::WriteInterrupted(calls) if self.writes > calls => self.interrupted(),
            _ => Pin::new(&mut self.inner).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.defect == Defect::FlushInterrupted {
            return Poll::Ready(Err(io::ErrorKind::Interrupted.into()));
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// A future that counts how often it is polled.
pub(crate) struct Polls<F> {
    inner: F,
    polls: Rc<Cell<usize>>,
}

impl<F> Polls<F> {
    pub(crate) fn new(inner: F) -> (Self, Rc<Cell<usize>>) {
        let polls = Rc::new(Cell::new(0));
        (Self { inner, polls: Rc::clone(&polls) }, polls)
    }
}

impl<F: Future + Unpin> Future for Polls<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.set(self.polls.get() + 1);
        Pin::new(&mut self.inner).poll(cx)
    }
}
