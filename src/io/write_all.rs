use core::convert::Infallible;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::future::Future;

use futures::io::AsyncWrite;
use pin_project_lite::pin_project;

use super::pace::{End, Pace, Step, checked};
use super::{ChunkSize, Cursor, Limits, TransportError, WriteError};
use crate::time::Timer;

/// Writes what is left of `cursor` to `writer`, at most 16384 bytes a call, waiting by the default
/// timer; the chapter's `WriteStream`.
///
/// Returns the number of bytes written, the cursor's position. It does not flush: a writer with a
/// buffer of its own needs that before a reply is awaited.
///
/// # Errors
///
/// [`WriteError`], which tells a peer that stalls, is late or slow from a stream that broke, and
/// says how many bytes it has taken.
///
/// # Cancel safety
///
/// Cancel safe. The cursor moves as soon as the writer has taken bytes, so the future may be
/// dropped after any poll, and another one goes on after them with a new countdown: no byte is
/// left out or written twice. After an error the same future may be polled again, too.
///
/// # Examples
///
/// ```
/// use duologue::io::{ChunkSize, Cursor, write_all_chunked};
///
/// # futures::executor::block_on(async {
/// let mut stream = Vec::new();
/// let mut cursor = Cursor::new(b"hello");
/// let chunk = ChunkSize::new(2)?;
/// assert_eq!(write_all_chunked(&mut stream, &mut cursor).chunk(chunk).await?, 5);
/// assert_eq!(stream, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[cfg(feature = "async-io")]
#[doc(alias = "write_all")]
#[doc(alias = "WriteStream")]
pub fn write_all_chunked<'a, W, B>(
    writer: &'a mut W,
    cursor: &'a mut Cursor<B>,
) -> WriteAllChunked<'a, W, B, crate::time::AsyncIoTimer>
where
    W: AsyncWrite + Unpin + ?Sized,
    B: AsRef<[u8]>,
{
    write_all_chunked_with(writer, cursor, crate::time::AsyncIoTimer::new())
}

/// As `write_all_chunked`, waiting by `timer`.
///
/// # Errors
///
/// As `write_all_chunked`: [`WriteError`].
///
/// # Cancel safety
///
/// As `write_all_chunked`: cancel safe.
///
/// # Examples
///
/// ```
/// use duologue::io::{Cursor, write_all_chunked_with};
/// use duologue::time::VirtualClock;
///
/// let clock = VirtualClock::new();
/// let (mut stream, mut cursor) = (Vec::new(), Cursor::new(b"hello"));
/// let write = write_all_chunked_with(&mut stream, &mut cursor, clock.timer());
/// assert_eq!(clock.block_on(write), Ok(Ok(5)));
/// ```
pub fn write_all_chunked_with<'a, W, B, T>(
    writer: &'a mut W,
    cursor: &'a mut Cursor<B>,
    timer: T,
) -> WriteAllChunked<'a, W, B, T>
where
    W: AsyncWrite + Unpin + ?Sized,
    B: AsRef<[u8]>,
    T: Timer,
{
    let pace = Pace::new(Limits::default());
    WriteAllChunked { writer, cursor, chunk: ChunkSize::default(), pace, timer }
}

pin_project! {
    /// The future of `write_all_chunked` and [`write_all_chunked_with`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct WriteAllChunked<'a, W: ?Sized, B, T> {
        writer: &'a mut W,
        cursor: &'a mut Cursor<B>,
        chunk: ChunkSize,
        pace: Pace,
        #[pin]
        timer: T,
    }
}

impl<W: ?Sized, B, T> WriteAllChunked<'_, W, B, T> {
    /// Waits by `limits` instead of [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.pace.set_limits(limits);
        self
    }

    /// Hands the writer at most `chunk` a call instead of [`ChunkSize::default`].
    pub fn chunk(mut self, chunk: ChunkSize) -> Self {
        self.chunk = chunk;
        self
    }

    /// Takes over the countdowns of an earlier future of the same transfer.
    pub(crate) fn pace(mut self, pace: Pace) -> Self {
        self.pace.take_over(pace);
        self
    }

    /// Gives the countdowns to the next future of the same transfer.
    pub(crate) fn into_pace(self) -> Pace {
        self.pace
    }
}

impl<W, B, T> Future for WriteAllChunked<'_, W, B, T>
where
    W: AsyncWrite + Unpin + ?Sized,
    B: AsRef<[u8]>,
    T: Timer,
{
    type Output = Result<usize, WriteError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (writer, cursor, chunk) = (this.writer, this.cursor, *this.chunk);
        let end = ready!(this.pace.poll(this.timer, cx, |cx| poll_step(
            &mut **writer,
            &mut **cursor,
            chunk,
            cx
        )));
        let written = cursor.position();
        Poll::Ready(match end {
            Ok(()) => Ok(written),
            Err(End::Idle(limit)) => Err(WriteError::Stalled { written, limit }),
            Err(End::Deadline(limit)) => Err(WriteError::Deadline { written, limit }),
            Err(End::TooSlow(minimum)) => Err(WriteError::TooSlow { written, minimum }),
            Err(End::Transport(error)) => Err(WriteError::Transport { written, error }),
            Err(End::Stop(never)) => match never {},
        })
    }
}

#[inline]
fn poll_step<W, B>(
    writer: &mut W,
    cursor: &mut Cursor<B>,
    chunk: ChunkSize,
    cx: &mut Context<'_>,
) -> Poll<Step<Infallible>>
where
    W: AsyncWrite + Unpin + ?Sized,
    B: AsRef<[u8]>,
{
    let unwritten = cursor.unwritten();
    let offered = unwritten.get(..chunk.get()).unwrap_or(unwritten);
    if offered.is_empty() {
        return Poll::Ready(Step::Complete);
    }
    let len = offered.len();
    Poll::Ready(match ready!(Pin::new(writer).poll_write(cx, offered)) {
        Ok(0) => Step::Broken(TransportError::WriteZero),
        Ok(claimed) => match checked(claimed, len) {
            Ok(n) => {
                cursor.advance(n);
                Step::Moved(n)
            }
            Err(error) => Step::Broken(error),
        },
        Err(error) => Step::Failed(error),
    })
}
