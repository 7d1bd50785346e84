use core::pin::Pin;
use core::task::{Context, Poll};
use std::boxed::Box;
use std::future::Future;
use std::sync::OnceLock;

use ::tokio::time::{Instant, Sleep, sleep_until};

use super::{Time, Timer};

/// The [`Timer`] on tokio's clock, which tests can pause.
///
/// Unarmed it needs no runtime. All of them share one epoch, so their moments can be compared.
///
/// # Panics
///
/// Arming it outside a tokio runtime, or in one built without `enable_time`, panics inside tokio:
/// `tokio::time::sleep_until` offers no other answer. Use `AsyncIoTimer` there.
///
/// # Examples
///
/// ```
/// use duologue::io::{Cursor, read_all_with};
/// use duologue::time::TokioTimer;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let mut cursor = Cursor::new([0; 5]);
/// read_all_with(&mut &b"hello"[..], &mut cursor, TokioTimer::new()).await?;
/// assert_eq!(cursor.filled(), b"hello");
/// # Ok::<(), duologue::io::ReadError>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Default)]
pub struct TokioTimer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl TokioTimer {
    /// A timer that is not armed yet.
    pub fn new() -> Self {
        Self::default()
    }
}

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

impl Timer for TokioTimer {
    fn now(&self) -> Time {
        Time::ZERO.saturating_add(Instant::now().saturating_duration_since(epoch()))
    }

    fn reset(mut self: Pin<&mut Self>, deadline: Time) {
        match epoch().checked_add(deadline.saturating_duration_since(Time::ZERO)) {
            Some(at) if deadline != Time::MAX => match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(at),
                None => self.sleep = Some(Box::pin(sleep_until(at))),
            },
            _ => self.sleep = None,
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
