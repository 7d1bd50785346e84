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
/// A timer for a clock that stands still, which is a legal if dull implementation:
///
/// ```
/// use core::pin::Pin;
/// use core::task::{Context, Poll};
/// use duologue::time::{Time, Timer};
///
/// struct Stopped;
///
/// impl Timer for Stopped {
///     fn now(&self) -> Time {
///         Time::ZERO
///     }
///     fn reset(self: Pin<&mut Self>, _deadline: Time) {}
///     fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
///         Poll::Pending
///     }
/// }
/// # let _ = Stopped;
/// ```
pub trait Timer {
    /// The current time on this timer's clock; it never runs backwards.
    fn now(&self) -> Time;

    /// Arms the timer for `deadline` and forgets any earlier one; [`Time::MAX`] means never.
    fn reset(self: Pin<&mut Self>, deadline: Time);

    /// Waits until the deadline has come, and registers the task's waker until then.
    ///
    /// A timer that was never armed is never ready.
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
