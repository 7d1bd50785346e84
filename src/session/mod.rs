//! A conversation over a real stream, on any executor.
//!
//! [`session`] takes a stream, a [`Connection`](crate::proto::Connection) and a
//! [`Timer`](crate::time::Timer), and returns three things: a [`Session`] to act with, [`Events`] to
//! hear of, and the [`Driver`], a future that does all the I/O. Poll the driver beside the
//! application, or spawn it: nothing is spawned here, and nothing needs a certain runtime.
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
//!         // 32 random bytes, in earnest.
//!         let stream = StreamParameters::new([1; 32]);
//!         let connection = Connection::client(Config::default(), stream, timer.now());
//!         let (session, mut events, driver) = session(near, connection, timer);
//!         let talk = async {
//!             while !session.is_open() {
//!                 events.next().await;
//!             }
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

mod accept;
mod backoff;
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
mod outgoing;
mod progress;
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

pub use accept::{AcceptError, accept};
pub use backoff::Backoff;
pub use conversations::{Accepted, Conversations, HostedDriver};
pub use detached::Detached;
pub use driver::{Driver, Ended, Outcome};
pub use error::{EndedBy, SessionError, TransferError, Verdict};
pub use events::{Event, Events};
pub use inbound::Chunk;
pub use incoming::Incoming;
pub use offer::{BatchOffer, IncomingBatch, IncomingOffer};
pub use outgoing::{Outgoing, OutgoingBatch};
pub use progress::Progress;
pub use receipts::Receipt;
pub use reconnect::{Connect, Reconnecting};
pub use session::{Session, session};

/// Bytes that a peer can make one conversation and its driver hold at most, whatever it sends.
///
/// It is [`Config::worst_case_memory`](crate::proto::Config::worst_case_memory), and what the driver
/// adds: read buffers that file data is a slice of, with all of their memory (at most another
/// receive window), one buffer each to read and to gather writes in, and spare ones.
pub fn worst_case_memory(config: &crate::proto::Config) -> usize {
    config
        .worst_case_memory()
        .saturating_add(config.receive_window())
        .saturating_add(read_buffer::MOST_IDLE)
        .saturating_add(transmit::GATHERED)
}
