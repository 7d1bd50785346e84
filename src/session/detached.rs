use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::sync::Arc;

use bytes::Bytes;

use super::driver::Driver;
use super::error::SessionError;
use super::outcome::Ended;
use super::queue::Told;
use super::shared::{Shared, State};
use super::waiters::{Place, WaitFor, Waiting};
use crate::io::TransportError;
use crate::proto::{CloseReason, Resuming, StreamParameters};
use crate::time::{Time, Timer};
use crate::wire::CloseCode;

/// A conversation without a stream, which can go on over another one.
///
/// The handles work on: messages are queued, and go once there is a stream.
///
/// As a future it waits for the end: for the configuration's detached time-out, or for a handle to
/// close the conversation. Poll it while there is no stream, beside whatever makes the next one.
///
/// # Cancel safety
///
/// Dropping it aborts the conversation.
#[must_use = "dropping it aborts the conversation"]
pub struct Detached<T: Timer + Unpin> {
    shared: Arc<Shared>,
    timer: Option<T>,
    transport: Option<TransportError>,
    armed: Option<Time>,
    place: Option<Place>,
}

impl<T: Timer + Unpin> fmt::Debug for Detached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl<T: Timer + Unpin> Detached<T> {
    pub(super) fn new(shared: Arc<Shared>, timer: T, transport: Option<TransportError>) -> Self {
        Self { shared, timer: Some(timer), transport, armed: None, place: None }
    }

    /// What the transport failed with, if it did.
    pub fn transport_error(&self) -> Option<&TransportError> {
        self.transport.as_ref()
    }

    /// Goes on over another stream, of another kind if need be, as the client. The seed of the
    /// parameters is 32 random bytes that were never used before.
    ///
    /// # Errors
    ///
    /// The conversation is given back, with the stream, if it is a server's, which is
    /// [resumed](Self::resume), or has ended.
    pub fn attach<IO>(
        mut self,
        io: IO,
        stream: StreamParameters<'_>,
    ) -> Result<Driver<IO, T>, (Self, IO, SessionError)> {
        let Some(timer) = self.timer.take() else { return Err(self.refused(io)) };
        let now = timer.now();
        let attached = self.shared.with(|state| {
            state.now = now;
            let attached = state.connection.attach(stream, now);
            let attached = attached.map_err(|error| state.error(error));
            state.has_driver |= attached.is_ok();
            attached
        });
        match attached {
            Ok(()) => Ok(Driver::new(io, timer, Arc::clone(&self.shared), Bytes::new())),
            Err(error) => {
                self.timer = Some(timer);
                Err((self, io, error))
            }
        }
    }

    /// Goes on over the stream of a client that came back, as the server. `head` is what was read
    /// from it and not taken by `resuming`.
    ///
    /// # Errors
    ///
    /// Everything is given back when the client may not resume it, see
    /// [`Connection::resume`](crate::proto::Connection::resume): `resuming` has last words for the
    /// stream then.
    pub fn resume<IO>(
        mut self,
        io: IO,
        resuming: Resuming,
        head: Bytes,
    ) -> Result<Driver<IO, T>, (Self, IO, Box<Resuming>)> {
        let Some(timer) = self.timer.take() else {
            return Err((self, io, Box::new(resuming)));
        };
        let now = timer.now();
        let resumed = self.shared.with(|state| {
            state.now = now;
            let resumed = state.connection.resume(resuming, now);
            state.has_driver |= resumed.is_ok();
            resumed
        });
        match resumed {
            Ok(()) => Ok(Driver::new(io, timer, Arc::clone(&self.shared), head)),
            Err(resuming) => {
                self.timer = Some(timer);
                Err((self, io, resuming))
            }
        }
    }

    fn refused<IO>(self, io: IO) -> (Self, IO, SessionError) {
        let error = self.shared.with(|state| state.error(crate::proto::ActionError::Closed));
        (self, io, error)
    }
}

impl<T: Timer + Unpin> Drop for Detached<T> {
    fn drop(&mut self) {
        if self.timer.is_some() {
            self.shared.with(State::abort);
        }
        if let Some(place) = self.place {
            self.shared.forget_place(&[WaitFor::End], place);
        }
    }
}

impl<T: Timer + Unpin> Future for Detached<T> {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            if let Some(ended) = ready!(self.poll_until(cx, None)) {
                return Poll::Ready(ended);
            }
        }
    }
}

impl<T: Timer + Unpin> Detached<T> {
    /// Waits for the end of the conversation, or until then.
    pub(super) fn poll_until(
        &mut self,
        cx: &mut Context<'_>,
        until: Option<Time>,
    ) -> Poll<Option<Ended>> {
        loop {
            let Some(timer) = &mut self.timer else { return Poll::Pending };
            let now = timer.now();
            let waiting = &mut Waiting::future(cx, &mut self.place);
            let (ended, deadline) = self.shared.with(|state| {
                state.now = now;
                state.connection.handle_timeout(now);
                state.route_all();
                state.wait(WaitFor::End, waiting);
                (state.ended(), state.connection.poll_timeout())
            });
            if let Some(reason) = ended {
                self.timer = None;
                let transport = self.transport.clone();
                return Poll::Ready(Some(Ended { reason, transport }));
            }
            if until.is_some_and(|until| until <= now) {
                return Poll::Ready(None);
            }
            let Some(deadline) = deadline.into_iter().chain(until).min() else {
                return Poll::Pending;
            };
            if self.armed != Some(deadline) {
                Pin::new(&mut *timer).reset(deadline);
                self.armed = Some(deadline);
            }
            if Pin::new(&mut *timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
            if deadline > timer.now() {
                // It fired before its time: others may have a turn first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Gives the conversation up.
    pub(super) fn abort(&mut self) -> Ended {
        self.timer = None;
        self.shared.with(|state| {
            state.abort();
            // An aborted conversation has ended.
            let aborted = CloseReason::Local { code: CloseCode::SHUTDOWN, is_answered: false };
            Ended { reason: state.ended().unwrap_or(aborted), transport: self.transport.clone() }
        })
    }

    /// The current time.
    pub(super) fn now(&self) -> Time {
        self.timer.as_ref().map(Timer::now).unwrap_or_default()
    }

    /// Streams that the conversation was opened on.
    pub(super) fn streams(&self) -> u64 {
        self.shared.with(|state| state.connection.statistics().streams)
    }

    /// Tells the application of an attempt; returns when it is to be made.
    pub(super) fn announce(&mut self, number: u32, wait: Duration) -> Time {
        let now = self.now();
        self.shared.with(|state| {
            state.now = now;
            let failure = self.transport.clone();
            state.tell(Told::Attempt { number, wait, failure });
            state.now.saturating_add(wait)
        })
    }

    pub(super) fn set_transport_error(&mut self, error: TransportError) {
        self.transport = Some(error);
    }
}
