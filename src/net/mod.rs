//! Connecting and listening over TCP and Unix sockets, on any executor.
//!
//! It has the ideas of two components under modern names, those of *the chapter*: the textbook chapter on
//! socket programming that this crate began with ([`legacy`](crate::legacy) has its wire formats). A
//! client that looks up, connects and is told of each step ([`Connector`]), and a server that listens, accepts and gives
//! each client a handler of its own ([`Listener`], [`Server`]). Nothing else in this crate needs
//! it: a session runs over any stream.
//!
//! | the chapter | here |
//! |---|---|
//! | Host, Address, Service, Port | [`Target`], with the same precedence |
//! | TClientSocket, Open | [`connect`], [`Connector`] |
//! | TServerSocket, Active | [`Listener::any`], [`Listener::bind`], [`ListenOptions`] |
//! | OnLookup … OnDisconnect, OnError | [`Event`], in the order that the chapter states |
//! | OnListen to restrict the address | [`ListenOptions::before_bind`] |
//! | OnGetSocket to replace the socket | [`Server::replace_stream`] |
//! | OnGetThread, OnThreadStart | the `spawn` closure and the handler of [`Server::serve`] |
//! | Connections, by index | [`ServerHandle::peers`], by [`PeerId`] |
//! | Close | [`ServerHandle::stop_gracefully`], [`ServerHandle::stop_now`] |
//! | every request is granted | [`Server::most_connections`], [`Server::admission`] |
//!
//! Sockets are driven by async-io, whose reactor has a thread of its own, so smol, tokio,
//! `futures::executor` and plain threads will all do. No task is spawned here.
//!
//! # Limits and defaults
//!
//! | what | default | range | from |
//! |---|---|---|---|
//! | connecting, in all | 20 s | any | the chapter's limit of silence |
//! | … from one attempt to the next | 250 ms | 10 ms to 2 s | RFC 8305, section 8 |
//! | … addresses tried | 16 | | a host with more has others to fall back on |
//! | connections that wait to be accepted | 1024 | 0 to 65535 | the system may allow fewer |
//! | connections served at once | 1024 | any | |
//! | replacing a stream (a TLS handshake) | 10 s | any | |
//! | keep-alive: idle, interval, probes | 60 s, 15 s, 4 | | a dead peer is noticed in 2 minutes, if nothing is under way to it; see [`Stream`] |
//! | pause when descriptors run out | 50 ms, doubling to 1 s | | |
//! | wait for handlers that were cut off | 1 s | | |
//! | addresses that a [`RateLimit`] remembers | 4096 | | about 200 KiB, by estimate |
//! | length of a host, a service, a Unix path | 253, 64, 103 bytes | | RFC 1035; own; `sun_path` |
//! | size of the services file | 1 MiB | | |
//!
//! # Examples
//!
//! See [`serve`] for a server and a client that talk, and [`Server`] for one that is stopped.

mod accept_loop;
mod address;
mod admission;
mod backoff;
mod connect;
mod connect_error;
mod connection;
mod dialer;
mod event;
mod handler;
mod listen_error;
mod listen_options;
mod listener;
mod network;
mod peers;
mod printable;
mod race;
mod rate_limit;
mod server;
mod server_handle;
mod service;
#[cfg(unix)]
mod socket_file;
mod stream;
mod target;
mod target_error;

pub use address::Address;
pub use admission::{Admission, Candidate, Refusal};
pub use connect::{Connector, connect};
pub use connect_error::{Attempt, ConnectError};
pub use dialer::Dialer;
pub use event::{End, Event, Failure};
pub use handler::{
    Accepted, HandlerError, HandlerErrorKind, KeepStream, ReplaceStream, ReplaceWith, Replacing,
    Stopping,
};
pub use listen_error::ListenError;
pub use listen_options::{BeforeBind, ListenOptions};
pub use listener::Listener;
pub use peers::{Peer, PeerId};
pub use rate_limit::RateLimit;
pub use server::{Served, Server, serve};
pub use server_handle::ServerHandle;
pub use service::{port_in_services, service_port, well_known_port};
pub use stream::Stream;
pub use target::{Endpoint, Host, Port, Target};
pub use target_error::TargetError;
