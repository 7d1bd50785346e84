use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::boxed::Box;
use std::sync::Arc;

use bytes::Bytes;
use futures::io::{AsyncRead, AsyncWrite};

use super::accept::Resumption;
use super::detached::Detached;
use super::outcome::{Ended, Outcome};
use super::pump::{Pump, WORK};
use super::read_buffer::ReadBuffer;
use super::shared::{Shared, State};
use crate::time::{Time, Timer};

/// Turns that one poll takes at most, for transports that move a few bytes at a time.
const TURNS: usize = 64;

/// Moves the bytes of a conversation: the one place that does I/O.
///
/// Spawn it, or poll it beside the application; nothing moves otherwise. It resolves to
/// [`Outcome::Ended`] once the conversation has ended and its last words are written, or to
/// [`Outcome::Detached`] when the stream broke and the conversation can go on over another one.
///
/// One poll does a bounded amount of work. Reads never wait for writes, nor for the application:
/// all that comes in is bounded by what the peer may send ahead.
///
/// # Cancel safety
///
/// Dropping it aborts the conversation: every handle is told that it has ended, and the peer finds
/// its stream broken.
#[must_use = "nothing moves unless the driver is polled"]
pub struct Driver<IO, T> {
    shared: Arc<Shared>,
    pump: Pump<IO>,
    timer: Option<T>,
    armed: Option<Time>,
}

impl<IO, T> fmt::Debug for Driver<IO, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("is_read_ended", &self.pump.is_read_ended)
            .field("is_write_closed", &self.pump.is_write_closed)
            .finish_non_exhaustive()
    }
}

impl<IO, T> Driver<IO, T> {
    pub(super) fn new(io: IO, timer: T, shared: Arc<Shared>, head: Bytes) -> Self {
        let reader = shared.with(|state| {
            state.is_write_blocked = false;
            let window = state.connection.config().receive_window();
            ReadBuffer::new(window, state.read_pool.clone())
        });
        Self { shared, pump: Pump::new(io, reader, head), timer: Some(timer), armed: None }
    }

    /// Leaves it to the application to decide on the peer: [`Event::PeerHello`] and
    /// [`Event::Authentication`] wait for [`accept_peer`] or [`refuse_peer`], on every stream. By
    /// default every peer is accepted, which is right where the stream has authenticated it already,
    /// or nobody is refused.
    ///
    /// Without it the peer is accepted at once, and [`authenticate`] comes too late: a side that proves
    /// itself has to ask as well, see [Who may connect](super#who-may-connect). Where
    /// [`PeerHello`](super::Event::PeerHello) says `is_resuming`, accept at once: a server's
    /// [`HostedDriver`](super::HostedDriver) is not asked again, and says nothing.
    ///
    /// [`authenticate`]: super::Session::authenticate
    /// [`Event::PeerHello`]: super::Event::PeerHello
    /// [`Event::Authentication`]: super::Event::Authentication
    /// [`accept_peer`]: super::Session::accept_peer
    /// [`refuse_peer`]: super::Session::refuse_peer
    pub fn ask_for_peer(self) -> Self {
        self.shared.with(|state| state.asks_for_peer = true);
        self
    }
}

impl<IO, T: Timer + Unpin> Driver<IO, T> {
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Goes on over the stream that the client came back with, before this one was known to be
    /// broken.
    pub(super) fn supersede(
        mut self,
        resumption: Resumption<IO>,
    ) -> Result<Self, Box<(Self, Resumption<IO>)>> {
        let Some(timer) = &self.timer else { return Err(Box::new((self, resumption))) };
        let now = timer.now();
        let Resumption { io, resuming, head } = resumption;
        let resumed = self.shared.with(|state| {
            state.now = now;
            state.connection.resume(*resuming, now)
        });
        match (resumed, self.timer.take()) {
            (Ok(()), Some(timer)) => Ok(Self::new(io, timer, Arc::clone(&self.shared), head)),
            (Ok(()), None) => Ok(self),
            (Err(resuming), timer) => {
                self.timer = timer;
                Err(Box::new((self, Resumption { io, resuming, head })))
            }
        }
    }
}

impl<IO, T> Drop for Driver<IO, T> {
    fn drop(&mut self) {
        // Without its timer it has resolved.
        if self.timer.is_some() {
            self.shared.with(State::abort);
        }
    }
}

impl<IO, T> Future for Driver<IO, T>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    type Output = Outcome<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        let this = &mut *self;
        let mut work: usize = 0;
        // All is done but what has not come.
        let mut is_settled = false;
        for _ in 0..TURNS {
            let Some(timer) = &this.timer else { return Poll::Pending };
            if let Some(turn) = this.pump.turn(cx, &this.shared, timer, is_settled) {
                if turn.is_over {
                    if let Some(outcome) = this.outcome() {
                        return Poll::Ready(outcome);
                    }
                }
                if turn.gives_way {
                    return Poll::Pending;
                }
                work = work.saturating_add(turn.moved);
                is_settled = !turn.has_more;
                if turn.has_read && work < WORK {
                    continue;
                }
            }
            if work >= WORK {
                break;
            }
            if is_settled && this.poll_timer(cx) {
                return Poll::Pending;
            }
            is_settled = false;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<IO, T> Driver<IO, T>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    /// Arms the timer if it has to fire earlier than it would; whether there is anything to wait for.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(timer) = &mut self.timer else { return true };
        let (now, deadline) = (self.pump.now, self.pump.deadline);
        if deadline == Time::MAX {
            return true;
        }
        if deadline <= now {
            return false;
        }
        if self.armed.is_none_or(|armed| deadline < armed) {
            Pin::new(&mut *timer).reset(deadline);
            self.armed = Some(deadline);
        }
        if Pin::new(&mut *timer).poll(cx).is_pending() {
            return true;
        }
        if self.armed.take().is_some_and(|armed| armed > timer.now()) {
            // It fired before its time: others may have a turn first.
            cx.waker().wake_by_ref();
            return true;
        }
        false
    }

    /// Lets go of the conversation.
    fn outcome(&mut self) -> Option<Outcome<T>> {
        let timer = self.timer.take()?;
        let transport = self.pump.take_error();
        let reason = self.shared.with(|state| {
            state.has_driver = false;
            state.is_write_blocked = false;
            let driver = state.driver.take();
            state.wake.forget(driver);
            // It may have been closed since the last turn, while there seemed to be a driver.
            if state.requests.close.is_some() {
                state.apply_requests(state.now);
            }
            state.route_all();
            state.shrink_to_fit();
            state.ended()
        });
        Some(match reason {
            Some(reason) => Outcome::Ended(Ended { reason, transport }),
            None => Outcome::Detached(Detached::new(Arc::clone(&self.shared), timer, transport)),
        })
    }
}
