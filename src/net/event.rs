use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::vec::Vec;

use super::{Address, ConnectError, PeerId, Refusal, Target};
use crate::io::TransportError;

/// What happens to a connection, in the order in which the chapter has it happen.
///
/// | side | order |
/// |---|---|
/// | client | `Lookup`, `Resolved`, `Connecting` (one for each address tried), `Connected`, `Disconnected` |
/// | client that fails | `Lookup`, then as far as it got, `Error` |
/// | listener | the hook before bind (not an event), `Listening` |
/// | accepted connection | `Incoming`, `Accepted`, `HandlerStarted`, `PeerReady`, `Disconnected` |
/// | … not admitted | `Incoming`, `Refused` |
/// | … whose handler or replacement of the stream fails | as far as it got, `Error`, `Disconnected` |
///
/// The chapter's names for them: `Lookup` is OnLookup, `Connecting` OnConnecting, `Connected`
/// OnConnect, `Listening` OnListen, `Incoming` OnGetSocket, `Accepted` OnAccept, `HandlerStarted`
/// OnGetThread and OnThreadStart, `PeerReady` OnClientConnect, `Disconnected` OnDisconnect and
/// OnClientDisconnect, `Error` OnError. The events of one connection are reported one after the
/// other; those of different connections have no order between them.
///
/// Events tell; where a program can step in there is a hook: before bind
/// ([`ListenOptions::before_bind`](super::ListenOptions::before_bind)), and admission, replacement
/// of the stream and errors of handlers on [`Server`](super::Server).
///
/// # Examples
///
/// A callback becomes a stream of events by way of a channel:
///
/// ```
/// use duologue::net::{Connector, Event, Target};
/// use futures::StreamExt;
///
/// # futures::executor::block_on(async {
/// let (sender, events) = futures::channel::mpsc::unbounded();
/// let connector = Connector::new().on_event(move |event: &Event| {
///     let _ = sender.unbounded_send(event.clone());
/// });
/// let target = Target::new().service("no-such-service").address([127, 0, 0, 1]);
/// connector.connect(&target).await.unwrap_err();
/// drop(connector);
///
/// let names: Vec<_> = events.map(|event| event.name()).collect().await;
/// assert_eq!(names, ["lookup", "error"]);
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Client: the lookup begins; the target can no longer change.
    Lookup {
        /// What is looked up.
        target: Target,
    },
    /// Client: the real addresses are known, in the order in which they will be tried.
    Resolved {
        /// The addresses.
        addresses: Vec<Address>,
    },
    /// Client: an attempt to connect begins. Attempts overlap.
    Connecting {
        /// Where to.
        address: Address,
    },
    /// Client: the server took the connection; reading and writing can start.
    Connected {
        /// The server's address.
        peer: Address,
        /// This end's address.
        local: Address,
    },
    /// Listener: connections are being queued.
    Listening {
        /// The address with the real port.
        address: Address,
    },
    /// Accepted connection: it was taken from the queue; nothing has been decided.
    Incoming {
        /// The connection.
        id: PeerId,
        /// The client's address.
        peer: Address,
        /// This end's address.
        local: Address,
    },
    /// Accepted connection: it was not admitted and has been closed.
    Refused {
        /// The connection.
        id: PeerId,
        /// The client's address.
        peer: Address,
        /// Why.
        reason: Refusal,
    },
    /// Accepted connection: its stream, replaced where a hook does that, can be used.
    Accepted {
        /// The connection.
        id: PeerId,
        /// The client's address.
        peer: Address,
    },
    /// Accepted connection: the handler is about to be called.
    HandlerStarted {
        /// The connection.
        id: PeerId,
        /// The client's address.
        peer: Address,
    },
    /// Accepted connection: the handler has returned its future, which is about to run.
    PeerReady {
        /// The connection.
        id: PeerId,
        /// The client's address.
        peer: Address,
    },
    /// Any side: something failed.
    Error {
        /// The accepted connection, if it is about one.
        id: Option<PeerId>,
        /// The address at the other end, if there is one yet.
        peer: Option<Address>,
        /// What failed.
        failure: Failure,
    },
    /// Client and accepted connection: it is over. Reported once.
    Disconnected {
        /// The accepted connection, if it is one.
        id: Option<PeerId>,
        /// The address at the other end.
        peer: Address,
        /// How it ended.
        end: End,
    },
}

/// What an [`Event::Error`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// Accepting a connection, for lack of descriptors, memory or permission; the listener tries
    /// again.
    Accept {
        /// What the system said.
        error: TransportError,
        /// When it tries again.
        again_in: Duration,
    },
    /// Connecting.
    Connect(ConnectError),
    /// The listening socket itself is broken: nobody listens any more, and the server stops once
    /// its handlers have ended.
    Listener(TransportError),
    /// The handler: the cause goes to [`Server::on_error`](super::Server::on_error).
    Handler,
    /// Replacing the stream: the cause goes to [`Server::on_error`](super::Server::on_error).
    Replace,
    /// Reading or writing.
    Transport(TransportError),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// This side: the stream was dropped, or the handler returned.
    Local,
    /// This side: the handler or the replacement of the stream failed.
    Failed,
    /// This side: the handler panicked.
    Panicked,
    /// This side: the server was stopped, or the peer was disconnected by its id.
    Stopped,
    /// The peer ended its stream.
    Peer,
    /// The transport failed.
    Transport(TransportError),
}

impl Event {
    /// The name of the event, in lower case with dashes.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Lookup { .. } => "lookup",
            Self::Resolved { .. } => "resolved",
            Self::Connecting { .. } => "connecting",
            Self::Connected { .. } => "connected",
            Self::Listening { .. } => "listening",
            Self::Incoming { .. } => "incoming",
            Self::Refused { .. } => "refused",
            Self::Accepted { .. } => "accepted",
            Self::HandlerStarted { .. } => "handler-started",
            Self::PeerReady { .. } => "peer-ready",
            Self::Error { .. } => "error",
            Self::Disconnected { .. } => "disconnected",
        }
    }
}

type Callback = dyn Fn(&Event) + Send + Sync;

/// Who is told of events: a callback, or nobody.
#[derive(Clone, Default)]
pub(super) struct Observer(Option<Arc<Callback>>);

impl Observer {
    pub(super) fn new(observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    /// Reports an event, which is made only when somebody listens. Never called under a lock.
    pub(super) fn emit(&self, event: impl FnOnce() -> Event) {
        #[cfg(feature = "tracing")]
        let traced = tracing::enabled!(tracing::Level::DEBUG);
        #[cfg(not(feature = "tracing"))]
        let traced = false;
        if self.0.is_none() && !traced {
            return;
        }
        let event = event();
        #[cfg(feature = "tracing")]
        tracing::debug!(event = event.name(), details = ?event);
        if let Some(observer) = &self.0 {
            observer(&event);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer(..)" } else { "Observer(none)" })
    }
}
