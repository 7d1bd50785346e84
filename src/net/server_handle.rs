use core::time::Duration;
use std::sync::Arc;
use std::vec::Vec;

use super::peers::Peers;
use super::{Address, Peer, PeerId};

/// The live connections of a [`Server`](super::Server), and how to end them; clones are the same.
///
/// Dropping all of them changes nothing.
///
/// # Examples
///
/// ```
/// use duologue::net::{Accepted, Listener, Server, connect};
///
/// # smol::block_on(async {
/// let server = Server::new(Listener::bind(&"127.0.0.1:0".parse()?).await?);
/// let handle = server.handle();
/// let (sender, ready) = futures::channel::oneshot::channel();
/// let sender = std::sync::Mutex::new(Some(sender));
/// let handler = move |connection: Accepted| {
///     sender.lock().unwrap().take().map(|sender| sender.send(connection.id));
///     async move {
///         let _stream = connection.stream;
///         connection.stopping.await;
///         Ok::<(), std::io::Error>(())
///     }
/// };
/// let server = smol::spawn(server.serve(|task| smol::spawn(task).detach(), handler));
///
/// let client = connect(&handle.local_address().to_string().parse()?).await?;
/// let id = ready.await?;
/// assert_eq!(handle.get(id).map(|peer| peer.peer), Some(client.local().clone()));
/// assert!(handle.disconnect(id));
///
/// handle.stop_now();
/// server.await?;
/// assert!(handle.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ServerHandle {
    peers: Arc<Peers>,
    local: Address,
}

impl ServerHandle {
    pub(super) const fn new(peers: Arc<Peers>, local: Address) -> Self {
        Self { peers, local }
    }

    /// The address that is listened at, with the real port.
    pub const fn local_address(&self) -> &Address {
        &self.local
    }

    /// All live connections, the oldest first.
    pub fn peers(&self) -> Vec<Peer> {
        self.peers.all()
    }

    /// One live connection.
    pub fn get(&self, id: PeerId) -> Option<Peer> {
        self.peers.get(id)
    }

    /// How many connections are live.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether no connection is live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends one connection: its handler gets no further turn and is dropped. False when there is
    /// none of that number any more.
    pub fn disconnect(&self, id: PeerId) -> bool {
        self.peers.abort(id)
    }

    /// Stops the server: it no longer listens, handlers see [`Stopping`](super::Stopping), and
    /// those that have not returned within `limit` are cut off. Clients still in the system's queue
    /// are turned away by it.
    ///
    /// The limit runs from when the server's future notices, which it is woken for. The server's
    /// future then returns. Of several calls the shortest limit counts.
    pub fn stop_gracefully(&self, limit: Duration) {
        self.peers.stop_within(limit);
    }

    /// Stops the server and cuts all handlers off at once.
    pub fn stop_now(&self) {
        self.peers.stop_within(Duration::ZERO);
    }
}
