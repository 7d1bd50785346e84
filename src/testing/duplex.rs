use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::io::{self, IoSlice};
use std::sync::{Arc, PoisonError};
use std::vec;

use futures::io::{AsyncRead, AsyncWrite};

use crate::sync::{Mutex, MutexGuard};

/// A connected pair of in-memory streams with a buffer of `capacity` bytes each way.
///
/// What one end writes the other reads, in order. A full buffer makes the writer wait (back-pressure),
/// an empty one the reader. Closing an end ends what the peer reads after the bytes on the way; the
/// other direction goes on (half-close). Dropping an end does the same, and the peer's writes then fail
/// with `BrokenPipe`. Nothing is random: an operation that can move a byte moves as many as fit.
///
/// A capacity of zero is taken as one byte.
///
/// # Examples
///
/// ```
/// use duologue::testing::duplex;
/// use futures::{AsyncReadExt, AsyncWriteExt};
///
/// let (mut near, mut far) = duplex(4);
/// futures::executor::block_on(async {
///     let write = async {
///         near.write_all(b"longer than four bytes").await?;
///         near.close().await
///     };
///     let mut text = String::new();
///     let (written, read) = futures::join!(write, far.read_to_string(&mut text));
///     written?;
///     assert_eq!(read?, 22);
///     assert_eq!(text, "longer than four bytes");
///     Ok::<(), std::io::Error>(())
/// })
/// .unwrap();
/// ```
pub fn duplex(capacity: usize) -> (Duplex, Duplex) {
    let there = Arc::new(Mutex::new(Pipe::new(capacity)));
    let back = Arc::new(Mutex::new(Pipe::new(capacity)));
    let near = Duplex { incoming: Arc::clone(&back), outgoing: Arc::clone(&there) };
    (near, Duplex { incoming: there, outgoing: back })
}

/// One end of a pair made by [`duplex`].
pub struct Duplex {
    incoming: Arc<Mutex<Pipe>>,
    outgoing: Arc<Mutex<Pipe>>,
}

impl Duplex {
    /// Bytes that the peer has written and this end has not read yet.
    pub fn readable(&self) -> usize {
        lock(&self.incoming).len
    }

    /// Bytes that this end can write before it has to wait.
    pub fn writable(&self) -> usize {
        lock(&self.outgoing).free()
    }

    /// All the bytes that this end has ever written.
    pub fn bytes_written(&self) -> u64 {
        lock(&self.outgoing).total
    }
}

impl fmt::Debug for Duplex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Duplex")
            .field("readable", &self.readable())
            .field("writable", &self.writable())
            .finish_non_exhaustive()
    }
}

/// One direction: a ring of bytes, and who waits at its ends.
struct Pipe {
    ring: Box<[u8]>,
    start: usize,
    len: usize,
    total: u64,
    /// The writing end was closed or dropped: what is in the ring is all there will ever be.
    ended: bool,
    /// The reading end was dropped: nobody will ever read what is written.
    abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes outside the lock, because a waker may run anything.
fn unlock_and_wake(pipe: MutexGuard<'_, Pipe>, waker: Option<Waker>) {
    drop(pipe);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        Self {
            ring: vec![0; capacity.max(1)].into_boxed_slice(),
            start: 0,
            len: 0,
            total: 0,
            ended: false,
            abandoned: false,
            reader: None,
            writer: None,
        }
    }

    fn free(&self) -> usize {
        self.ring.len().saturating_sub(self.len)
    }

    /// The ring from `offset` bytes behind the start on, as one piece up to where it wraps.
    fn piece(&mut self, offset: usize, len: usize) -> &mut [u8] {
        let capacity = self.ring.len();
        let from = self.start.saturating_add(offset);
        let from = if from >= capacity { from.saturating_sub(capacity) } else { from };
        let to = from.saturating_add(len).min(capacity);
        self.ring.get_mut(from..to).unwrap_or_default()
    }

    fn pop(&mut self, buf: &mut [u8]) -> usize {
        let mut moved = 0_usize;
        while let Some(room) = buf.get_mut(moved..).filter(|room| !room.is_empty()) {
            let len = room.len().min(self.len);
            if len == 0 {
                break;
            }
            let piece = self.piece(0, len);
            let n = piece.len();
            if let Some(room) = room.get_mut(..n) {
                room.copy_from_slice(piece);
            }
            self.len = self.len.saturating_sub(n);
            self.start = self.start.saturating_add(n);
            if self.start >= self.ring.len() {
                self.start = 0;
            }
            moved = moved.saturating_add(n);
        }
        moved
    }

    fn push(&mut self, buf: &[u8]) -> usize {
        let mut moved = 0_usize;
        while let Some(rest) = buf.get(moved..).filter(|rest| !rest.is_empty()) {
            let len = rest.len().min(self.free());
            if len == 0 {
                break;
            }
            let piece = self.piece(self.len, len);
            let n = piece.len();
            if let Some(rest) = rest.get(..n) {
                piece.copy_from_slice(rest);
            }
            self.len = self.len.saturating_add(n);
            moved = moved.saturating_add(n);
        }
        self.total = self.total.saturating_add(moved as u64);
        moved
    }
}

/// Remembers the task that waits, without cloning a waker that is there already.
fn wait(slot: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    if slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        return None;
    }
    slot.replace(cx.waker().clone())
}

impl AsyncRead for Duplex {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut pipe = lock(&self.incoming);
        let n = pipe.pop(buf);
        if n > 0 {
            let writer = pipe.writer.take();
            unlock_and_wake(pipe, writer);
            return Poll::Ready(Ok(n));
        }
        if pipe.ended {
            return Poll::Ready(Ok(0));
        }
        let replaced = wait(&mut pipe.reader, cx);
        drop(pipe);
        drop(replaced);
        Poll::Pending
    }
}

impl AsyncWrite for Duplex {
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
        let mut pipe = lock(&self.outgoing);
        if pipe.ended || pipe.abandoned {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let mut n = 0_usize;
        for buf in bufs {
            let pushed = pipe.push(buf);
            n = n.saturating_add(pushed);
            if pushed < buf.len() {
                break;
            }
        }
        if n > 0 {
            let reader = pipe.reader.take();
            unlock_and_wake(pipe, reader);
            return Poll::Ready(Ok(n));
        }
        let replaced = wait(&mut pipe.writer, cx);
        drop(pipe);
        drop(replaced);
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.outgoing);
        pipe.ended = true;
        let reader = pipe.reader.take();
        unlock_and_wake(pipe, reader);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        let mut outgoing = lock(&self.outgoing);
        outgoing.ended = true;
        let (reader, own) = (outgoing.reader.take(), outgoing.writer.take());
        unlock_and_wake(outgoing, reader);
        drop(own);

        let mut incoming = lock(&self.incoming);
        incoming.abandoned = true;
        let (writer, own) = (incoming.writer.take(), incoming.reader.take());
        unlock_and_wake(incoming, writer);
        drop(own);
    }
}
