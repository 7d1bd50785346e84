use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, IoSlice};

use futures::io::{AsyncRead, AsyncWrite};
use pin_project_lite::pin_project;
use tokio::io::ReadBuf;

pin_project! {
    /// Turns a tokio stream into a `futures` stream, vectored writes included.
    ///
    /// `tokio_util::compat` works as well but forwards no vectored write.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::io::{Cursor, ReadAllExt, TokioIo};
    /// use duologue::time::TokioTimer;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let (near, mut far) = tokio::io::duplex(64);
    /// let mut near = TokioIo::new(near);
    /// tokio::io::AsyncWriteExt::write_all(&mut far, b"hello").await?;
    ///
    /// let mut cursor = Cursor::new([0; 5]);
    /// near.read_all_with(&mut cursor, TokioTimer::new()).await?;
    /// assert_eq!(cursor.filled(), b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    #[derive(Clone, Debug)]
    pub struct TokioIo<S> {
        #[pin]
        inner: S,
    }
}

impl<S> TokioIo<S> {
    /// Wraps `stream`.
    pub const fn new(stream: S) -> Self {
        Self { inner: stream }
    }

    /// The stream inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The stream inside, to change its options.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the stream back; the adapter holds no byte of its own.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: tokio::io::AsyncRead> AsyncRead for TokioIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(self.project().inner.poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl<S: tokio::io::AsyncWrite> AsyncWrite for TokioIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(cx)
    }
}
