//! Timers of the world's clock.

use std::pin::Pin;
use std::task::{Context, Poll};

use duologue::time::{Time, Timer, VirtualClock, VirtualTimer};

use super::meter::uncounted;

/// A timer of which the clock keeps its memory itself.
pub(crate) struct Alarm(VirtualTimer);

impl Alarm {
    pub(crate) fn new(clock: &VirtualClock) -> Self {
        Self(clock.timer())
    }
}

impl Timer for Alarm {
    fn now(&self) -> Time {
        self.0.now()
    }

    fn reset(mut self: Pin<&mut Self>, deadline: Time) {
        uncounted(|| Pin::new(&mut self.0).reset(deadline));
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        uncounted(|| Pin::new(&mut self.0).poll(cx))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // It takes its place with the clock along.
        uncounted(|| Pin::new(&mut self.0).reset(Time::MAX));
    }
}
