use core::future::{Future, poll_fn};
use core::pin::pin;
use core::time::Duration;
use std::boxed::Box;
use std::sync::Arc;

use futures::future::{AbortRegistration, Abortable};

use super::event::Observer;
use super::handler::Cause;
use super::peers::Peers;
use super::race::within;
use super::{
    Accepted, End, Event, Failure, HandlerError, HandlerErrorKind, Peer, ReplaceStream, Stopping,
    Stream,
};
use crate::time::{AsyncIoTimer, Timer};

/// What all the connections of a server share.
pub(super) struct Serving<R, H> {
    pub(super) handler: H,
    pub(super) replace: R,
    pub(super) replace_limit: Duration,
    pub(super) stopping: Stopping,
}

/// Who is told of what happens to the connections of a server.
pub(super) struct Hooks {
    pub(super) observer: Observer,
    pub(super) on_error: Box<dyn Fn(&HandlerError) + Send + Sync>,
}

/// An admitted connection whose handler has not started.
pub(super) struct Admitted {
    pub(super) stream: Stream,
    pub(super) abort: AbortRegistration,
    pub(super) slot: Slot,
}

/// A place in the table of peers. Dropping it, for whatever reason, reports the end and frees it.
pub(super) struct Slot {
    pub(super) peer: Peer,
    pub(super) peers: Arc<Peers>,
    pub(super) hooks: Arc<Hooks>,
    pub(super) end: End,
}

impl Drop for Slot {
    fn drop(&mut self) {
        /// Frees the place even when the observer panics.
        struct Free<'a>(&'a Slot);
        impl Drop for Free<'_> {
            fn drop(&mut self) {
                self.0.peers.remove(self.0.peer.id);
            }
        }
        let slot = Free(self);
        slot.0.hooks.observer.emit(|| Event::Disconnected {
            id: Some(slot.0.peer.id),
            peer: slot.0.peer.peer.clone(),
            end: slot.0.end.clone(),
        });
    }
}

/// Runs one connection from the replacement of its stream to its end.
pub(super) async fn run<R, H, F, E>(admitted: Admitted, serving: Arc<Serving<R, H>>)
where
    R: ReplaceStream,
    H: Fn(Accepted<R::Stream>) -> F,
    F: Future<Output = Result<(), E>>,
    E: Into<Cause>,
{
    let Admitted { stream, abort, mut slot } = admitted;
    let hooks = Arc::clone(&slot.hooks);
    let outcome = {
        let work = work(stream, slot.peer.clone(), serving, &hooks);
        let mut work = pin!(Abortable::new(work, abort));
        poll_fn(|cx| {
            slot.end = End::Panicked; // unless the call returns
            let poll = work.as_mut().poll(cx);
            slot.end = End::Stopped; // unless it has come to another end
            poll
        })
        .await
    };
    match outcome {
        Err(_aborted) => {}
        Ok(Ok(())) => slot.end = End::Local,
        Ok(Err(kind)) => {
            let (id, peer) = (slot.peer.id, slot.peer.peer.clone());
            slot.end = End::Failed;
            hooks.observer.emit(|| Event::Error {
                id: Some(id),
                peer: Some(peer.clone()),
                failure: match kind {
                    HandlerErrorKind::Handler(_) => Failure::Handler,
                    _ => Failure::Replace,
                },
            });
            (hooks.on_error)(&HandlerError { id, peer, kind });
        }
    }
}

async fn work<R, H, F, E>(
    stream: Stream,
    Peer { id, peer, local }: Peer,
    serving: Arc<Serving<R, H>>,
    hooks: &Hooks,
) -> Result<(), HandlerErrorKind>
where
    R: ReplaceStream,
    H: Fn(Accepted<R::Stream>) -> F,
    F: Future<Output = Result<(), E>>,
    E: Into<Cause>,
{
    let limit = serving.replace_limit;
    let mut timer = AsyncIoTimer::new();
    let deadline = timer.now().saturating_add(limit);
    let stream = within(serving.replace.replace(stream), deadline, &mut timer)
        .await
        .ok_or(HandlerErrorKind::ReplaceTimedOut(limit))?
        .map_err(HandlerErrorKind::Replace)?;

    hooks.observer.emit(|| Event::Accepted { id, peer: peer.clone() });
    hooks.observer.emit(|| Event::HandlerStarted { id, peer: peer.clone() });
    let stopping = serving.stopping.clone();
    let handler = (serving.handler)(Accepted { id, peer: peer.clone(), local, stream, stopping });
    hooks.observer.emit(|| Event::PeerReady { id, peer });
    handler.await.map_err(|error| HandlerErrorKind::Handler(error.into()))
}
