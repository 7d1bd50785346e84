//! One countdown for a whole transfer, which stands still while our own side is at work.

use core::future::poll_fn;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;

use futures::io::{AsyncRead, AsyncWrite};

use crate::io::{
    ChunkSize, Cursor, End, Fill, Limits, Pace, ReadError, Step, TransportError, WriteError,
    read_all_with, write_all_chunked_with,
};
use crate::time::{Time, Timer};

/// Calls after which other tasks get a turn, whatever is ready; 32 buffers of 64 KiB are 2 MiB.
const CALLS_PER_TURN: u32 = 32;

/// Limits of our own side: the chapter's sink and source are files, and not the peer's fault.
const FOREVER: Limits = Limits::UNLIMITED;

/// Reads and writes of one transfer, under one set of limits.
pub(super) struct Paced<'a, T> {
    limits: Limits,
    pace: Pace,
    clock: PeerClock<'a, T>,
    calls: u32,
}

impl<'a, T: Timer> Paced<'a, T> {
    pub(super) fn new(limits: Limits, timer: Pin<&'a mut T>) -> Self {
        let clock = PeerClock { timer, stopped: Duration::ZERO, stopped_at: None };
        Self { limits, pace: Pace::new(limits), clock, calls: 0 }
    }

    /// Fills `cursor` from the peer.
    pub(super) async fn read<R, C>(
        &mut self,
        stream: &mut R,
        cursor: &mut C,
    ) -> Result<usize, ReadError>
    where
        R: AsyncRead + Unpin + ?Sized,
        C: Fill,
    {
        self.breathe().await;
        let pace = self.take_pace();
        let mut read = read_all_with(stream, cursor, &mut self.clock).pace(pace);
        let result = (&mut read).await;
        self.pace = read.into_pace();
        result
    }

    /// Writes `cursor` to the peer.
    pub(super) async fn write<W, B>(
        &mut self,
        stream: &mut W,
        cursor: &mut Cursor<B>,
    ) -> Result<usize, WriteError>
    where
        W: AsyncWrite + Unpin + ?Sized,
        B: AsRef<[u8]>,
    {
        self.breathe().await;
        let pace = self.take_pace();
        let mut write = write_all_chunked_with(stream, cursor, &mut self.clock).pace(pace);
        let result = (&mut write).await;
        self.pace = write.into_pace();
        result
    }

    /// Flushes the stream to the peer.
    pub(super) async fn flush<W>(&mut self, stream: &mut W) -> Result<(), WriteError>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        let Self { pace, clock, .. } = self;
        complete(pace, clock, |cx| Pin::new(&mut *stream).poll_flush(cx)).await
    }

    /// Closes our direction of the stream to the peer.
    pub(super) async fn close<W>(&mut self, stream: &mut W) -> Result<(), WriteError>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        let Self { pace, clock, .. } = self;
        complete(pace, clock, |cx| Pin::new(&mut *stream).poll_close(cx)).await
    }

    /// Fills `cursor` from a source on our side.
    pub(super) async fn read_source<R, C>(
        &mut self,
        source: &mut R,
        cursor: &mut C,
    ) -> Result<usize, ReadError>
    where
        R: AsyncRead + Unpin + ?Sized,
        C: Fill,
    {
        self.clock.stop();
        let result = read_all_with(source, cursor, &mut self.clock).limits(FOREVER).await;
        self.clock.go_on();
        result
    }

    /// Writes `cursor` to a sink on our side.
    pub(super) async fn write_sink<W, B>(
        &mut self,
        sink: &mut W,
        cursor: &mut Cursor<B>,
    ) -> Result<usize, WriteError>
    where
        W: AsyncWrite + Unpin + ?Sized,
        B: AsRef<[u8]>,
    {
        self.clock.stop();
        let write = write_all_chunked_with(sink, cursor, &mut self.clock);
        let result = write.limits(FOREVER).chunk(ChunkSize::MAX).await;
        self.clock.go_on();
        result
    }

    /// Flushes a sink on our side.
    pub(super) async fn flush_sink<W>(&mut self, sink: &mut W) -> Result<(), WriteError>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        self.clock.stop();
        let mut pace = Pace::new(FOREVER);
        let flush = |cx: &mut Context<'_>| Pin::new(&mut *sink).poll_flush(cx);
        let result = complete(&mut pace, &mut self.clock, flush).await;
        self.clock.go_on();
        result
    }

    fn take_pace(&mut self) -> Pace {
        mem::replace(&mut self.pace, Pace::new(self.limits))
    }

    /// Lets other tasks run now and then, even if nothing in here ever has to wait.
    async fn breathe(&mut self) {
        self.calls = self.calls.saturating_add(1);
        if self.calls < CALLS_PER_TURN {
            return;
        }
        self.calls = 0;
        let mut yielded = false;
        poll_fn(|cx| {
            if mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// Waits for a flush or a close within the limits.
async fn complete<T: Timer + Unpin>(
    pace: &mut Pace,
    timer: &mut T,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
) -> Result<(), WriteError> {
    let mut done = false;
    let mut step = |cx: &mut Context<'_>| {
        if done {
            return Poll::Ready(Step::<TransportError>::Complete);
        }
        Poll::Ready(match ready!(poll(cx)) {
            Ok(()) => {
                done = true;
                // A sign of life, so that the idle limit of what follows starts anew.
                Step::Moved(1)
            }
            Err(error) => Step::Failed(error),
        })
    };
    let end = poll_fn(|cx| pace.poll(Pin::new(&mut *timer), cx, &mut step)).await;
    let written = 0;
    end.map_err(|end| match end {
        End::Idle(limit) => WriteError::Stalled { written, limit },
        End::Deadline(limit) => WriteError::Deadline { written, limit },
        End::TooSlow(minimum) => WriteError::TooSlow { written, minimum },
        End::Transport(error) | End::Stop(error) => WriteError::Transport { written, error },
    })
}

/// A clock on which only the time passes that we wait for the peer.
struct PeerClock<'a, T> {
    timer: Pin<&'a mut T>,
    /// How long it has stood still in all.
    stopped: Duration,
    /// Since when it stands still now.
    stopped_at: Option<Time>,
}

impl<T: Timer> PeerClock<'_, T> {
    fn stop(&mut self) {
        self.stopped_at = Some(self.timer.now());
    }

    fn go_on(&mut self) {
        if let Some(since) = self.stopped_at.take() {
            let stood = self.timer.now().saturating_duration_since(since);
            self.stopped = self.stopped.saturating_add(stood);
        }
    }
}

impl<T: Timer> Timer for PeerClock<'_, T> {
    fn now(&self) -> Time {
        let now = self.stopped_at.unwrap_or_else(|| self.timer.now());
        let start = Time::ZERO.saturating_add(self.stopped);
        Time::ZERO.saturating_add(now.saturating_duration_since(start))
    }

    fn reset(mut self: Pin<&mut Self>, deadline: Time) {
        let deadline = deadline.saturating_add(self.stopped);
        self.timer.as_mut().reset(deadline);
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }
}
