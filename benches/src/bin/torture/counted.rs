//! A stream that counts its calls.

use std::cell::Cell;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};

/// Calls so far; those that flush and close are writes, as they are to a `Script`.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) reads: Cell<usize>,
    pub(crate) writes: Cell<usize>,
}

pub(crate) struct Counted<IO> {
    inner: IO,
    calls: Rc<Calls>,
}

impl<IO> Counted<IO> {
    pub(crate) fn new(inner: IO, calls: Rc<Calls>) -> Self {
        Self { inner, calls }
    }
}

impl<IO: Unpin> Counted<IO> {
    fn write(self: Pin<&mut Self>) -> Pin<&mut IO> {
        let this = self.get_mut();
        this.calls.writes.set(this.calls.writes.get() + 1);
        Pin::new(&mut this.inner)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Counted<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<Result<usize>> {
        let this = self.get_mut();
        this.calls.reads.set(this.calls.reads.get() + 1);
        Pin::new(&mut this.inner).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Counted<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        self.write().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.write().poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.write().poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.write().poll_close(cx)
    }
}
