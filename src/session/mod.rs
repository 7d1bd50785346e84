//! A conversation over a real stream, on any executor.
//!
//! [`session`] takes a stream, a [`Connection`](crate::proto::Connection) and a
//! [`Timer`](crate::time::Timer), and returns three things: a [`Session`] to act with, [`Events`] to
//! hear of, and the [`Driver`], a future that does all the I/O. Poll the driver beside the
//! application, or spawn it: nothing is spawned here, and nothing needs a certain runtime.
//!
//! # The parts
//!
//! - [`session`] begins a conversation as the client, [`accept`] as the server; a listener whose
//!   clients may come back has [`Conversations`].
//! - [`Driver`] reads and writes. It ends with an [`Outcome`]: the conversation has
//!   [ended](Outcome::Ended), or only its stream has, and the conversation is
//!   [`Detached`]. [`HostedDriver`] and [`Reconnecting`] are drivers that find the next stream by
//!   themselves, on the server's and on the client's side.
//! - [`Session`] sends chat, messages, signals and offers. A [`Receipt`] tells what became of a
//!   message.
//! - [`Events`] tells what the peer says and offers. Keep polling them while transfers are under way:
//!   what is not taken is not acknowledged, and at some point the peer waits. So what takes long, to
//!   receive a file above all, belongs beside the loop of events, not into it: into a task, or a
//!   `FuturesUnordered` that is polled together with them, as in the first example of the README.
//! - [`Outgoing`] and [`Incoming`] move one file, [`OutgoingBatch`] and [`IncomingBatch`] many.
//!
//! # What dropping does
//!
//! Every future here may be dropped at any poll; progress is in the handles. Of these
//!
//! | dropped | what happens |
//! |---|---|
//! | [`Session`], and any other handle, [`Events`] among them | nothing; with the last one the conversation is closed as [`DONE`](crate::wire::CloseCode::DONE) |
//! | [`Events`] | offers are rejected from now on, messages never taken |
//! | [`IncomingOffer`], [`BatchOffer`] | it is rejected as [`DECLINED`](crate::wire::TransferCode::DECLINED) |
//! | [`Incoming`], [`IncomingBatch`] | it is concluded as [`CANCELLED`](crate::wire::TransferCode::CANCELLED) |
//! | [`Outgoing`], [`OutgoingBatch`] | the receiver is asked to cancel it |
//! | [`Receipt`] | nothing |
//! | [`Driver`], [`HostedDriver`], [`Reconnecting`], [`Detached`] | the conversation is aborted: every handle learns the same [reason](crate::proto::CloseReason) |
//!
//! # Who may connect
//!
//! Every peer is accepted, unless the driver was told to [ask](Driver::ask_for_peer). Then
//! [`Event::PeerHello`] brings the hash of the handshake, the sides may say up to three times each
//! who they are ([`Session::authenticate`], [`Event::Authentication`]), and the conversation opens when both
//! have called [`Session::accept_peer`]. **A side that is to prove itself has to ask, too**, a client no
//! less than a server: without asking it accepts its peer at once, and cannot authenticate after that. A server
//! that waits for its proof then waits in vain: nothing is said until `handshake_timeout`, by default 10 s,
//! is over, and the conversation ends as
//! [`HandshakeTimedOut`](crate::proto::Error::HandshakeTimedOut).
//!
//! A client is asked again on every stream: with `is_resuming` the conversation goes on, both prove by
//! themselves that they have its secret, and there is nothing to do but to accept. A [`HostedDriver`] is
//! asked on the first stream only, so a client must not wait for a server's authentication on a stream that
//! resumes. `examples/shared_secret.rs` has both sides, and a refusal.
//!
//! # Breaks
//!
//! When a stream breaks, the handles stay as they are: what is sent is queued, receipts and transfers
//! wait. Over the next stream everything goes on where it was, once and in order. An offer that is
//! [seekable](crate::wire::Offer::seekable) is asked to go back, with [`TransferError::Rewind`];
//! of any other what the peer may not have is kept and sent again. A client attaches the next stream
//! with [`Detached::attach`], or leaves that to [`Driver::reconnecting`]; a server has
//! [`Conversations`], or [`Detached::resume`]. A server that has forgotten its client begins anew:
//! [`Opening::Fresh`](crate::proto::Opening::Fresh) then ends every receipt and transfer of before.
//!
//! # Memory
//!
//! [`worst_case_memory`] bounds what a peer can make a conversation hold. An idle one has no buffers:
//! they follow the load, and are given back within two keep-alive intervals; what queues keep for the
//! next frames is given back after 250 ms without a byte, and less than 3 KiB are left. File data is handed out
//! in slices of the buffer that it was read into; an application that keeps many of them for long
//! gets copies once these buffers exceed a receive window. Memory of chunks that it was handed is
//! its own affair.
//!
//! # Examples
//!
//! Two peers in one task, over an in-memory pipe; a `TcpStream` does as well:
//!
//! ```
//! use duologue::proto::{Acceptor, Config, Connection, Receipt, StreamParameters};
//! use duologue::session::{Event, session};
//! use duologue::testing::duplex;
//! use duologue::time::{AsyncIoTimer, Timer};
//! use duologue::wire::{Chat, CloseCode};
//! use futures::StreamExt;
//!
//! futures::executor::block_on(async {
//!     let (near, far) = duplex(64 << 10);
//!
//!     let client = async {
//!         let timer = AsyncIoTimer::new();
//!         // 32 random bytes: a real program uses getrandom::fill.
//!         let stream = StreamParameters::new([1; 32]);
//!         let connection = Connection::client(Config::default(), stream, timer.now());
//!         let (session, _events, driver) = session(near, connection, timer);
//!         let talk = async {
//!             session.opened().await.unwrap();
//!             let receipt = session.send_chat(&Chat::new("Is anybody there?")).await.unwrap();
//!             assert_eq!(receipt.await, Receipt::Delivered);
//!             session.close(CloseCode::DONE, "").unwrap();
//!         };
//!         futures::join!(driver, talk)
//!     };
//!
//!     let server = async {
//!         let parameters = StreamParameters::new([2; 32]);
//!         let accepted =
//!             duologue::session::accept(far, Config::default(), parameters, AsyncIoTimer::new());
//!         let (_session, mut events, driver) = accepted.await.unwrap();
//!         let listen = async {
//!             let mut heard = Vec::new();
//!             while let Some(event) = events.next().await {
//!                 if let Event::Chat(chat) = event {
//!                     heard.push(chat.text.into_owned());
//!                 }
//!             }
//!             heard
//!         };
//!         futures::join!(driver, listen).1
//!     };
//!
//!     let (_, heard) = futures::join!(client, server);
//!     assert_eq!(heard, ["Is anybody there?"]);
//! });
//! ```
//!
//! A file, from one side to the other. The machine moves bytes; that what came has the right digest
//! is for the receiver to say:
//!
//! ```
//! use bytes::Bytes;
//! use duologue::session::{Incoming, IncomingOffer, Session, TransferError};
//! use duologue::wire::{Digest, Offer, TransferCode};
//!
//! async fn send(session: &Session, file: Bytes) -> Result<(), Box<dyn std::error::Error>> {
//!     let offer = Offer::new("notes.txt").size(file.len() as u64);
//!     let mut outgoing = session.offer(&offer).await?;
//!     outgoing.accepted().await?;
//!     for chunk in file.chunks(64 << 10) {
//!         outgoing.send(file.slice_ref(chunk)).await?;
//!     }
//!     let digest = Digest::Blake3(*blake3::hash(&file).as_bytes());
//!     let verdict = outgoing.finish(Some(digest)).await?;
//!     assert_eq!(verdict.name(), Some("notes.txt"));
//!     Ok(())
//! }
//!
//! async fn receive(offer: IncomingOffer) -> Result<Vec<u8>, TransferError> {
//!     let mut incoming: Incoming = offer.accept()?;
//!     let (mut file, mut hasher) = (Vec::new(), blake3::Hasher::new());
//!     while let Some(chunk) = incoming.next().await? {
//!         hasher.update(&chunk.data);
//!         file.extend_from_slice(&chunk.data);
//!     }
//!     let digest = Digest::Blake3(*hasher.finalize().as_bytes());
//!     match incoming.finish().and_then(|finish| finish.digest) {
//!         Some(said) if said != digest => incoming.failed(TransferCode::DIGEST_DIFFERS, "")?,
//!         _ => incoming.stored("notes.txt")?,
//!     }
//!     Ok(file)
//! }
//! # use duologue::proto::{Config, Connection, StreamParameters};
//! # use duologue::session::{Event, accept, session};
//! # use duologue::time::{AsyncIoTimer, Timer};
//! # use futures::StreamExt;
//! # futures::executor::block_on(async {
//! # let (near, far) = duologue::testing::duplex(64 << 10);
//! # let timer = AsyncIoTimer::new();
//! # let stream = |n| StreamParameters::new([n; 32]);
//! # let connection = Connection::client(Config::default(), stream(1), timer.now());
//! # let (near, _events, driver) = session(near, connection, timer);
//! # let file = Bytes::from(vec![7; 200_000]);
//! # let client = async {
//! #     near.opened().await.unwrap();
//! #     send(&near, file.clone()).await.unwrap();
//! #     near.close(duologue::wire::CloseCode::DONE, "").unwrap();
//! # };
//! # let server = async {
//! #     let accepted = accept(far, Config::default(), stream(2), AsyncIoTimer::new());
//! #     let (_session, mut events, driver) = accepted.await.unwrap();
//! #     let application = async {
//! #         let mut received = Vec::new();
//! #         while let Some(event) = events.next().await {
//! #             if let Event::Offer(offer) = event { received = receive(offer).await.unwrap(); }
//! #         }
//! #         received
//! #     };
//! #     futures::join!(driver, application).1
//! # };
//! # let (_, (), received) = futures::join!(driver, client, server);
//! # assert!(received == file);
//! # });
//! ```

mod accept;
mod alarms;
mod backoff;
mod chats;
mod chunks;
mod conversations;
mod detached;
mod driver;
mod error;
mod events;
mod handle;
mod inbound;
mod incoming;
mod offer;
mod outbound;
mod outcome;
mod outgoing;
mod progress;
mod pump;
mod queue;
mod rate_limit;
mod read_buffer;
mod receipts;
mod reconnect;
mod route;
#[expect(clippy::module_inception, reason = "the handle that the module is named after")]
mod session;
mod shared;
mod transmit;
mod waiters;

pub use accept::{AcceptError, accept};
pub use backoff::Backoff;
pub use chats::{Chats, Iter as ChatsIter};
pub use conversations::{Accepted, Conversations, HostedDriver};
pub use detached::Detached;
pub use driver::Driver;
pub use error::{EndedBy, SessionError, TransferError, Verdict};
pub use events::{Event, Events};
pub use inbound::Chunk;
pub use incoming::Incoming;
pub use offer::{BatchOffer, IncomingBatch, IncomingOffer};
pub use outcome::{Ended, Outcome};
pub use outgoing::{Outgoing, OutgoingBatch};
pub use progress::Progress;
pub use receipts::Receipt;
pub use reconnect::{Connect, Reconnecting};
pub use session::{Session, session};

/// Bytes that a peer can make one conversation and its driver hold at most, whatever it sends.
///
/// It is [`Config::worst_case_memory`](crate::proto::Config::worst_case_memory), and what the driver
/// adds: read buffers that file data is a slice of, with all of their memory (at most another
/// receive window), one buffer each to read and to gather writes in, spare ones, and the events
/// that wait for the application.
///
/// # Examples
///
/// ```
/// use duologue::proto::Config;
/// use duologue::session::worst_case_memory;
///
/// let config = Config::default();
/// assert_eq!(worst_case_memory(&config) - config.worst_case_memory(), 8_454_144);
/// ```
pub fn worst_case_memory(config: &crate::proto::Config) -> usize {
    config
        .worst_case_memory()
        .saturating_add(config.receive_window())
        .saturating_add(read_buffer::MOST_IDLE)
        .saturating_add(transmit::GATHERED)
        .saturating_add(queue::worst_case(config.limits()))
}
