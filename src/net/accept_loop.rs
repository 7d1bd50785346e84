use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::sync::Arc;

use futures::future::AbortHandle;

use super::connection::{Admitted, Hooks, Slot};
use super::peers::Peers;
use super::{Admission, Candidate, End, Event, Failure, Listener, Peer, Refusal, Served, Stream};
use crate::io::TransportError;
use crate::time::{AsyncIoTimer, Time, Timer};

/// Connections accepted in one poll before other tasks get a turn.
const ACCEPTS_A_POLL: u32 = 32;

/// How long handlers that were cut off have to be dropped by their executor.
const GRACE: Duration = Duration::from_secs(1);

/// Accepts until the server is to stop, then waits for the handlers. Dropping it stops at once.
pub(super) struct AcceptLoop<L> {
    pub(super) listener: Option<Listener>,
    pub(super) peers: Arc<Peers>,
    pub(super) hooks: Arc<Hooks>,
    pub(super) admission: Box<dyn Admission + Send>,
    pub(super) most_connections: usize,
    /// Starts the task of a connection.
    pub(super) launch: L,
    pub(super) served: Served,
    pub(super) stop: Stop,
}

/// How far stopping has come.
pub(super) struct Stop {
    timer: AsyncIoTimer,
    armed: Option<Time>,
    since: Option<Time>,
    /// When the handlers that were left were cut off.
    cut_off: Option<Time>,
    error: Option<TransportError>,
}

impl Stop {
    pub(super) fn new() -> Self {
        let timer = AsyncIoTimer::new();
        Self { timer, armed: None, since: None, cut_off: None, error: None }
    }
}

impl<L: FnMut(Admitted)> AcceptLoop<L> {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Served, TransportError>> {
        for _ in 0..ACCEPTS_A_POLL {
            if let Some(limit) = self.peers.poll_stop(cx.waker()) {
                return self.poll_stopped(limit, cx);
            }
            let Some(listener) = &mut self.listener else { break };
            match ready!(listener.poll_accept(cx)) {
                Ok(stream) => self.decide(stream),
                Err(error) => {
                    // The connections there are have done nothing wrong, and may go on for long:
                    // that nobody listens must be known before they end.
                    self.hooks.observer.emit(|| Event::Error {
                        id: None,
                        peer: None,
                        failure: Failure::Listener(error.clone()),
                    });
                    self.stop.error = Some(error);
                    self.peers.stop_within(Duration::MAX);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn decide(&mut self, stream: Stream) {
        let (peer, local) = (stream.peer().clone(), stream.local().clone());
        let peer = Peer { id: self.peers.next_id(), peer, local };
        self.hooks.observer.emit(|| Event::Incoming {
            id: peer.id,
            peer: peer.peer.clone(),
            local: peer.local.clone(),
        });
        if let Err(reason) = self.admit(&peer) {
            drop(stream);
            self.served.refused = self.served.refused.saturating_add(1);
            let Peer { id, peer, .. } = peer;
            return self.hooks.observer.emit(|| Event::Refused { id, peer, reason });
        }
        self.served.accepted = self.served.accepted.saturating_add(1);
        let (handle, abort) = AbortHandle::new_pair();
        self.peers.add(peer.clone(), handle);
        let (peers, hooks) = (Arc::clone(&self.peers), Arc::clone(&self.hooks));
        let slot = Slot { peer, peers, hooks, end: End::Stopped };
        (self.launch)(Admitted { stream, abort, slot });
    }

    fn admit(&mut self, peer: &Peer) -> Result<(), Refusal> {
        let (live, live_from_network) = self.peers.count(&peer.peer);
        if live >= self.most_connections {
            return Err(Refusal::TooMany { limit: self.most_connections });
        }
        let now = self.stop.timer.now();
        let Peer { peer, local, .. } = peer;
        self.admission.admit(&Candidate { peer, local, live, live_from_network, now })
    }

    fn poll_stopped(
        &mut self,
        limit: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Served, TransportError>> {
        self.listener = None;
        let stop = &mut self.stop;
        loop {
            let now = stop.timer.now();
            let deadline = stop.since.get_or_insert(now).saturating_add(limit);
            let live = self.peers.len();
            if live > 0 && now >= deadline && stop.cut_off.is_none() {
                stop.cut_off = Some(now);
                self.served.cut_off = live;
                self.peers.abort_all();
                continue;
            }
            let last = stop.cut_off.map(|at| at.saturating_add(GRACE));
            if live == 0 || last.is_some_and(|last| now >= last) {
                self.served.left = live;
                return Poll::Ready(stop.error.take().map_or(Ok(self.served), Err));
            }
            let wake_at = last.unwrap_or(deadline);
            if stop.armed != Some(wake_at) {
                Pin::new(&mut stop.timer).reset(wake_at);
                stop.armed = Some(wake_at);
            }
            ready!(Pin::new(&mut stop.timer).poll(cx));
            stop.armed = None; // the clock decides
        }
    }
}

impl<L> Drop for AcceptLoop<L> {
    fn drop(&mut self) {
        self.peers.stop_within(Duration::ZERO);
        self.peers.abort_all();
    }
}
