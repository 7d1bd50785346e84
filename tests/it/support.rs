//! What several test files need.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use duologue::testing::Duplex;
use duologue::time::{Time, Timer, VirtualClock};
use futures::AsyncWriteExt;

/// The moment `n` seconds after a virtual clock's beginning.
pub(crate) fn seconds(n: u64) -> Time {
    Time::from_micros(n * 1_000_000)
}

/// Writes to a stream that has room for all of it.
pub(crate) fn write_now(stream: &mut Duplex, bytes: &[u8]) {
    assert!(stream.writable() >= bytes.len());
    futures::executor::block_on(stream.write_all(bytes)).unwrap();
}

/// Polls once with a waker that does nothing.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls once, and tells whether the future waits.
pub(crate) fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    poll_once(future).is_pending()
}

/// Waits on a virtual clock.
pub(crate) async fn sleep(clock: &VirtualClock, duration: Duration) {
    let mut timer = clock.timer();
    let deadline = timer.now().saturating_add(duration);
    Pin::new(&mut timer).reset(deadline);
    std::future::poll_fn(|cx| Pin::new(&mut timer).poll(cx)).await;
}

/// How much a test does: little, or all of it with `DUOLOGUE_LARGE=1`, as `.ci/run` says.
pub(crate) fn small_or_large<T>(small: T, large: T) -> T {
    static IS_LARGE: OnceLock<bool> = OnceLock::new();
    let is_large = || std::env::var_os("DUOLOGUE_LARGE").is_some_and(|set| set != "0");
    if *IS_LARGE.get_or_init(is_large) { large } else { small }
}

/// Lets the other futures of the task run once.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A stream that nobody may call.
pub(crate) struct Untouchable;

impl io::Read for Untouchable {
    fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
        panic!("read although nothing was missing")
    }
}

impl io::Write for Untouchable {
    fn write(&mut self, _buf: &[u8]) -> io::Result<usize> {
        panic!("written to although nothing was left")
    }

    fn flush(&mut self) -> io::Result<()> {
        panic!("flushed")
    }
}

/// Writes of a stream of a test go to its `inner` one as they are.
macro_rules! writes_through {
    ($name:ident $(<$inner:ident>)?) => {
        impl $(<$inner: ::futures::io::AsyncWrite + Unpin>)? ::futures::io::AsyncWrite
            for $name $(<$inner>)?
        {
            fn poll_write(
                mut self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                buffer: &[u8],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                ::std::pin::Pin::new(&mut self.inner).poll_write(cx, buffer)
            }

            fn poll_flush(
                mut self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                ::std::pin::Pin::new(&mut self.inner).poll_flush(cx)
            }

            fn poll_close(
                mut self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                ::std::pin::Pin::new(&mut self.inner).poll_close(cx)
            }
        }
    };
}

pub(crate) use writes_through;
