//! Time for the rest of the crate: a moment ([`Time`]) and a clock that can wait ([`Timer`]).
//!
//! Nothing in this crate reads a clock of its own accord. Whoever waits is handed a [`Timer`], so
//! the same code runs on async-io's reactor, on tokio's (pausable) clock, and on a virtual clock
//! that a test moves by hand.
//!
//! | timer | feature | runs on |
//! |---|---|---|
//! | `AsyncIoTimer` | `async-io` (by default through `net`) | any executor: async-io brings a thread of its own |
//! | `TokioTimer` | `tokio` | a tokio runtime with its time driver enabled |
//! | `VirtualTimer` | `testing` | a `VirtualClock` that moves only when told |
//!
//! An implementation for another clock is three short methods; see [`Timer`].

mod moment;
pub use moment::Time;

#[cfg(feature = "async-io")]
mod async_io;
#[cfg(feature = "tokio")]
mod tokio;
#[cfg(feature = "testing")]
mod virtual_clock;

#[cfg(feature = "async-io")]
#[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
pub use self::async_io::AsyncIoTimer;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use self::tokio::TokioTimer;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub use self::virtual_clock::{Stuck, VirtualClock, VirtualTimer};

use core::pin::Pin;
use core::task::{Context, Poll};

/// A clock that can also wake a task at a deadline.
///
/// One timer serves one future at a time. It starts unarmed; [`reset`](Timer::reset) arms it,
/// [`poll`](Timer::poll) waits for it. The users in this crate decide by [`now`](Timer::now), never
/// by the readiness of `poll` alone, so a timer that fires early or late delays a decision but
/// never falsifies it.
///
/// # Examples
///
/// A timer on another library's, in this case smol's:
///
/// ```
/// use core::pin::Pin;
/// use core::task::{Context, Poll};
/// use duologue::time::{Time, Timer};
/// use std::time::{Duration, Instant};
///
/// struct SmolTimer {
///     epoch: Instant,
///     inner: smol::Timer,
/// }
///
/// impl Timer for SmolTimer {
///     fn now(&self) -> Time {
///         Time::ZERO.saturating_add(self.epoch.elapsed())
///     }
///
///     fn reset(mut self: Pin<&mut Self>, deadline: Time) {
///         match self.epoch.checked_add(deadline.saturating_duration_since(Time::ZERO)) {
///             Some(at) => self.inner.set_at(at),
///             None => self.inner.clear(),
///         }
///     }
///
///     fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
///         // It keeps the last waker, and loses none on `set_at`.
///         Pin::new(&mut self.inner).poll(cx).map(drop)
///     }
/// }
///
/// use duologue::io::{Cursor, Limits, ReadError, read_all_with};
///
/// let timer = SmolTimer { epoch: Instant::now(), inner: smol::Timer::never() };
/// let (mut near, _silent_peer) = duologue::testing::duplex(64);
/// let mut cursor = Cursor::new([0; 1]);
/// let impatient = Limits::default().idle(Duration::from_millis(5));
/// let read = read_all_with(&mut near, &mut cursor, timer).limits(impatient);
/// assert!(matches!(smol::block_on(read), Err(ReadError::Idle { .. })));
/// ```
pub trait Timer {
    /// The current time on this timer's clock; it never runs backwards.
    fn now(&self) -> Time;

    /// Arms the timer for `deadline` and forgets any earlier one; [`Time::MAX`] means never.
    fn reset(self: Pin<&mut Self>, deadline: Time);

    /// Waits until the deadline has come, and registers the task's waker until then.
    ///
    /// Of several wakers the last one counts. After [`reset`](Timer::reset) it is polled again
    /// before anybody relies on being woken. A timer that was never armed is never ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
}

impl<T: Timer + Unpin + ?Sized> Timer for &mut T {
    fn now(&self) -> Time {
        (**self).now()
    }

    fn reset(mut self: Pin<&mut Self>, deadline: Time) {
        Pin::new(&mut **self).reset(deadline);
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut **self).poll(cx)
    }
}
