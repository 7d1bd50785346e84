use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::future::Future;

use futures::io::AsyncRead;
use pin_project_lite::pin_project;

use super::cursor::Fill;
use super::pace::{End, Pace, Step, checked};
use super::{Limits, ReadError, SizeError};
use crate::time::Timer;

/// Fills `cursor` from `reader`, waiting by the default timer; the chapter's `ReadStream`.
///
/// Returns the number of bytes in the cursor. An empty cursor is complete at once, without a
/// call to the reader. No byte behind those that complete the cursor is taken from the reader.
///
/// # Errors
///
/// [`ReadError`], which tells a stream that ended from one that is silent, late, slow or broken,
/// and says how many bytes have arrived.
///
/// # Cancel safety
///
/// Cancel safe. Bytes are in the cursor as soon as the reader has given them, so the future may be
/// dropped after any poll, and another one goes on after them with a new countdown. After an error
/// the same future may be polled again, too.
///
/// # Examples
///
/// ```
/// use duologue::io::{Cursor, ReadError, read_all};
///
/// # futures::executor::block_on(async {
/// let mut stream = &b"hello"[..];
/// let mut cursor = Cursor::new([0; 8]);
///
/// let error = read_all(&mut stream, &mut cursor).await.unwrap_err();
/// assert_eq!(error, ReadError::EndOfStream { filled: 5 });
/// assert_eq!(cursor.filled(), b"hello");
///
/// let mut rest = &b", world"[..];
/// assert_eq!(read_all(&mut rest, &mut cursor).await, Ok(8));
/// assert_eq!(cursor.filled(), b"hello, w");
/// assert_eq!(rest, b"orld");
/// # });
/// ```
#[cfg(feature = "async-io")]
#[doc(alias = "read_exact")]
#[doc(alias = "ReadStream")]
pub fn read_all<'a, R, C>(
    reader: &'a mut R,
    cursor: &'a mut C,
) -> ReadAll<'a, R, C, crate::time::AsyncIoTimer>
where
    R: AsyncRead + Unpin + ?Sized,
    C: Fill + ?Sized,
{
    read_all_with(reader, cursor, crate::time::AsyncIoTimer::new())
}

/// As `read_all`, waiting by `timer`.
///
/// # Errors
///
/// As `read_all`: [`ReadError`].
///
/// # Cancel safety
///
/// As `read_all`: cancel safe.
///
/// # Examples
///
/// ```
/// use duologue::io::{Cursor, read_all_with};
/// use duologue::time::VirtualClock;
///
/// let clock = VirtualClock::new();
/// let (mut stream, mut cursor) = (&b"hello"[..], Cursor::new([0; 5]));
/// let read = read_all_with(&mut stream, &mut cursor, clock.timer());
/// assert_eq!(clock.block_on(read), Ok(Ok(5)));
/// ```
pub fn read_all_with<'a, R, C, T>(
    reader: &'a mut R,
    cursor: &'a mut C,
    timer: T,
) -> ReadAll<'a, R, C, T>
where
    R: AsyncRead + Unpin + ?Sized,
    C: Fill + ?Sized,
    T: Timer,
{
    ReadAll { reader, cursor, pace: Pace::new(Limits::default()), timer }
}

pin_project! {
    /// The future of `read_all` and [`read_all_with`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct ReadAll<'a, R: ?Sized, C: ?Sized, T> {
        reader: &'a mut R,
        cursor: &'a mut C,
        pace: Pace,
        #[pin]
        timer: T,
    }
}

impl<R: ?Sized, C: ?Sized, T> ReadAll<'_, R, C, T> {
    /// Waits by `limits` instead of [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.pace.set_limits(limits);
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

impl<R, C, T> Future for ReadAll<'_, R, C, T>
where
    R: AsyncRead + Unpin + ?Sized,
    C: Fill + ?Sized,
    T: Timer,
{
    type Output = Result<usize, ReadError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (reader, cursor) = (this.reader, this.cursor);
        let end = ready!(this.pace.poll(this.timer, cx, |cx| poll_step(
            &mut **reader,
            &mut **cursor,
            cx
        )));
        let filled = cursor.filled();
        Poll::Ready(match end {
            Ok(()) => Ok(filled),
            Err(End::Stop(Stop::EndOfStream)) => Err(ReadError::EndOfStream { filled }),
            Err(End::Stop(Stop::Size(error))) => Err(ReadError::Size { filled, error }),
            Err(End::Idle(limit)) => Err(ReadError::Idle { filled, limit }),
            Err(End::Deadline(limit)) => Err(ReadError::Deadline { filled, limit }),
            Err(End::TooSlow(minimum)) => Err(ReadError::TooSlow { filled, minimum }),
            Err(End::Transport(error)) => Err(ReadError::Transport { filled, error }),
        })
    }
}

enum Stop {
    EndOfStream,
    Size(SizeError),
}

#[inline]
fn poll_step<R, C>(reader: &mut R, cursor: &mut C, cx: &mut Context<'_>) -> Poll<Step<Stop>>
where
    R: AsyncRead + Unpin + ?Sized,
    C: Fill + ?Sized,
{
    let unfilled = match cursor.unfilled() {
        Ok([]) => return Poll::Ready(Step::Complete),
        Ok(unfilled) => unfilled,
        Err(error) => return Poll::Ready(Step::Stop(Stop::Size(error))),
    };
    let offered = unfilled.len();
    Poll::Ready(match ready!(Pin::new(reader).poll_read(cx, unfilled)) {
        Ok(0) => Step::Stop(Stop::EndOfStream),
        Ok(claimed) => match checked(claimed, offered) {
            Ok(n) => {
                cursor.advance(n);
                Step::Moved(n)
            }
            Err(error) => Step::Broken(error),
        },
        Err(error) => Step::Failed(error),
    })
}
