use core::pin::Pin;
use core::task::{Context, Poll};
use std::future::Future;
use std::sync::OnceLock;
use std::time::Instant;

use super::{Time, Timer};

/// The [`Timer`] on async-io's reactor, for any executor, and the default of this crate.
///
/// Unarmed it costs nothing. The first one armed in a process starts async-io's helper thread.
/// All of them share one epoch, so their moments can be compared with each other. It ignores
/// tokio's paused test clock; use `TokioTimer` there.
///
/// # Examples
///
/// ```
/// use duologue::io::{Cursor, read_all_with};
/// use duologue::time::AsyncIoTimer;
///
/// # futures::executor::block_on(async {
/// let mut cursor = Cursor::new([0; 5]);
/// read_all_with(&mut &b"hello"[..], &mut cursor, AsyncIoTimer::new()).await?;
/// assert_eq!(cursor.filled(), b"hello");
/// # Ok::<(), duologue::io::ReadError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct AsyncIoTimer {
    inner: async_io::Timer,
}

impl AsyncIoTimer {
    /// A timer that is not armed yet.
    pub fn new() -> Self {
        Self { inner: async_io::Timer::never() }
    }
}

impl Default for AsyncIoTimer {
    fn default() -> Self {
        Self::new()
    }
}

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

impl Timer for AsyncIoTimer {
    fn now(&self) -> Time {
        Time::ZERO.saturating_add(Instant::now().saturating_duration_since(epoch()))
    }

    fn reset(mut self: Pin<&mut Self>, deadline: Time) {
        match epoch().checked_add(deadline.saturating_duration_since(Time::ZERO)) {
            Some(at) if deadline != Time::MAX => self.inner.set_at(at),
            _ => self.inner.clear(),
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.inner).poll(cx).map(drop)
    }
}
