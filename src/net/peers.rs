use core::fmt;
use core::task::Waker;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use futures::channel::oneshot;
use futures::future::AbortHandle;

use super::Address;
use super::network::Network;

/// The number of an accepted connection: never given twice by one server, and rising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u64);

impl PeerId {
    /// The number, from 1.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A live connection in the table of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Its number.
    pub id: PeerId,
    /// The client's address.
    pub peer: Address,
    /// This end's address.
    pub local: Address,
}

/// The live connections of a server, and whether it is to stop. Nothing is woken, dropped or
/// reported under the lock.
#[derive(Debug)]
pub(super) struct Peers {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last_id: u64,
    live: BTreeMap<PeerId, (Peer, AbortHandle)>,
    by_network: BTreeMap<Network, usize>,
    stop_within: Option<Duration>,
    /// Dropped to tell the handlers that the server stops.
    stopping: Option<oneshot::Sender<()>>,
    /// The task of the server.
    server: Option<Waker>,
}

impl Peers {
    pub(super) const fn new(stopping: oneshot::Sender<()>) -> Self {
        Self {
            state: Mutex::new(State {
                last_id: 0,
                live: BTreeMap::new(),
                by_network: BTreeMap::new(),
                stop_within: None,
                stopping: Some(stopping),
                server: None,
            }),
        }
    }

    pub(super) fn next_id(&self) -> PeerId {
        let mut state = self.lock();
        state.last_id = state.last_id.saturating_add(1);
        PeerId(state.last_id)
    }

    /// How many there are, and how many of them from the network of `address`.
    pub(super) fn count(&self, address: &Address) -> (usize, usize) {
        let state = self.lock();
        let from_network = state.by_network.get(&Network::of(address)).copied();
        (state.live.len(), from_network.unwrap_or(0))
    }

    pub(super) fn add(&self, peer: Peer, abort: AbortHandle) {
        let mut state = self.lock();
        let count = state.by_network.entry(Network::of(&peer.peer)).or_insert(0);
        *count = count.saturating_add(1);
        state.live.insert(peer.id, (peer, abort));
    }

    pub(super) fn remove(&self, id: PeerId) {
        let mut state = self.lock();
        let removed = state.live.remove(&id);
        if let Some((peer, _)) = &removed {
            let network = Network::of(&peer.peer);
            if let Some(count) = state.by_network.get_mut(&network) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    state.by_network.remove(&network);
                }
            }
        }
        // Only a server that stops cares.
        let server = state.stop_within.and_then(|_| state.server.take());
        drop(state);
        drop(removed);
        if let Some(server) = server {
            server.wake();
        }
    }

    pub(super) fn all(&self) -> Vec<Peer> {
        self.lock().live.values().map(|(peer, _)| peer.clone()).collect()
    }

    pub(super) fn get(&self, id: PeerId) -> Option<Peer> {
        self.lock().live.get(&id).map(|(peer, _)| peer.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.lock().live.len()
    }

    /// Ends one connection; false when there is none of that number.
    pub(super) fn abort(&self, id: PeerId) -> bool {
        let handle = self.lock().live.get(&id).map(|(_, handle)| handle.clone());
        handle.inspect(AbortHandle::abort).is_some()
    }

    pub(super) fn abort_all(&self) {
        let handles: Vec<_> = self.lock().live.values().map(|(_, abort)| abort.clone()).collect();
        handles.iter().for_each(AbortHandle::abort);
    }

    /// Asks the server to stop; of several limits the shortest counts.
    pub(super) fn stop_within(&self, limit: Duration) {
        let mut state = self.lock();
        state.stop_within = Some(state.stop_within.map_or(limit, |earlier| earlier.min(limit)));
        let (stopping, server) = (state.stopping.take(), state.server.take());
        drop(state);
        drop(stopping);
        if let Some(server) = server {
            server.wake();
        }
    }

    /// Whether and how the server is to stop, for its task, which is woken when that changes or a
    /// connection has ended.
    pub(super) fn poll_stop(&self, waker: &Waker) -> Option<Duration> {
        let mut state = self.lock();
        let replaced = match &state.server {
            Some(server) if server.will_wake(waker) => None,
            _ => state.server.replace(waker.clone()),
        };
        let limit = state.stop_within;
        drop(state);
        drop(replaced);
        limit
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
