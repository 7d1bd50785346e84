use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::io::{AsyncRead, AsyncWrite};

/// How far a transfer has come; clones watch the same one, from any thread.
///
/// # Examples
///
/// ```
/// use duologue::legacy::FileReceiver;
///
/// # futures::executor::block_on(async {
/// let mut receiver = FileReceiver::new(1024);
/// let progress = receiver.progress(); // for the task that draws the bar
/// assert_eq!((progress.moved(), progress.size()), (0, None));
///
/// receiver.receive(&mut &b"\x05\0\0\0hello"[..], &mut Vec::new()).await?;
/// assert_eq!((progress.moved(), progress.size()), (5, Some(5)));
/// # Ok::<(), duologue::legacy::FileReceiveError>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Progress {
    shared: Arc<Shared>,
}

/// Sizes of the format fit into 31 bits, which every platform counts atomically; with the header,
/// into 32.
struct Shared {
    size: AtomicU32,
    /// Bytes of header and file that the stream has moved.
    moved: AtomicU32,
    /// Bytes of `moved` that are header.
    header: u32,
}

impl Progress {
    const UNKNOWN: u32 = u32::MAX;

    /// Counts a transfer of which the first `header` bytes are not the file's.
    pub(super) fn new(header: u32) -> Self {
        let (size, moved) = (AtomicU32::new(Self::UNKNOWN), AtomicU32::new(0));
        Self { shared: Arc::new(Shared { size, moved, header }) }
    }

    /// Bytes of the file that the stream has given, or taken, so far.
    pub fn moved(&self) -> u64 {
        let moved = self.shared.moved.load(Ordering::Relaxed);
        moved.saturating_sub(self.shared.header).into()
    }

    /// The size of the file in bytes, once it is known.
    pub fn size(&self) -> Option<u64> {
        let size = self.shared.size.load(Ordering::Relaxed);
        (size != Self::UNKNOWN).then_some(size.into())
    }

    pub(super) fn set_size(&self, size: u64) {
        let size = u32::try_from(size).unwrap_or(Self::UNKNOWN);
        self.shared.size.store(size, Ordering::Relaxed);
    }

    /// As [`moved`](Self::moved), in the type that errors use.
    pub(super) fn count(&self) -> usize {
        usize::try_from(self.moved()).unwrap_or(usize::MAX)
    }

    fn add(&self, n: usize) {
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        self.shared.moved.fetch_add(n, Ordering::Relaxed);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("moved", &self.moved())
            .field("size", &self.size())
            .finish()
    }
}

/// A stream whose bytes are counted as they pass, for a bar that moves while a future waits.
pub(super) struct Counted<'a, S: ?Sized> {
    pub(super) stream: &'a mut S,
    pub(super) progress: &'a Progress,
}

impl<S: ?Sized> Counted<'_, S> {
    /// Counts what was moved, unless the stream claims more than it was offered.
    fn count(&self, claimed: usize, offered: usize) -> usize {
        if claimed <= offered {
            self.progress.add(claimed);
        }
        claimed
    }
}

impl<S: AsyncRead + Unpin + ?Sized> AsyncRead for Counted<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut *self.stream).poll_read(cx, buf))?;
        Poll::Ready(Ok(self.count(n, buf.len())))
    }
}

impl<S: AsyncWrite + Unpin + ?Sized> AsyncWrite for Counted<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut *self.stream).poll_write(cx, buf))?;
        Poll::Ready(Ok(self.count(n, buf.len())))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_close(cx)
    }
}
