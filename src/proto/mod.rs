//! One conversation as a state machine: bytes, time and random seeds go in, bytes and events come out.
//!
//! A [`Connection`] is one end of a conversation of `PROTOCOL.md`: chat, application messages and
//! files both ways at once, acknowledged, and resumed over another stream after a break. It does no
//! I/O, reads no clock, spawns nothing, and needs no `std`. Whoever owns the stream drives it: a
//! blocking loop as below, an executor, a simulator, a fuzzer.
//!
//! A program that uses it needs three more crates, or their like: `bytes` for the chunks of a file
//! ([`send_data`]), `blake3` for its digest, and `getrandom` for the 32 random bytes of each stream
//! ([`StreamParameters`]).
//!
//! # The four groups of methods
//!
//! | group | methods | what they are for |
//! |---|---|---|
//! | inputs | [`handle_input`], [`handle_eof`], [`handle_timeout`], [`handle_disconnect`]; [`attach`], [`resume`] | what happened outside: bytes came, the stream ended, time passed, it broke; there is another one |
//! | outputs | [`poll_transmit`] with [`advance_transmit`], [`poll_event`], [`poll_timeout`] | what to do next: bytes to write, something to tell, when to call at the latest |
//! | actions | [`accept_peer`], [`send_chat`], [`send_message`], [`offer`], [`accept`], [`send_data`], [`take`], [`release`], [`conclude`], [`close`], … | what the application wants |
//! | getters | [`is_open`], [`is_closed`], [`is_write_closed`], [`capacity`], [`statistics`], … | how it stands |
//!
//! After an input or an action the outputs may have changed: poll them again. Any order of calls is
//! legal. A deadline handled too early and an end of stream told twice do nothing; outputs polled once
//! more are the same, or nothing; input after the end gives the error again; bytes advanced, or an item
//! taken, beyond what was handed out count as all that was. An action that cannot be done, a second
//! [`close`] say, returns an [`ActionError`] and has changed nothing.
//!
//! # A conversation
//!
//! Two machines in one program, with vectors for streams:
//!
//! ```
//! use duologue::proto::{Acceptor, Config, Connection, Event, Lane, Receipt, StreamParameters};
//! use duologue::time::Time;
//! use duologue::wire::Chat;
//!
//! /// Carries all that `from` has to send to `to`, and returns what `to` makes of it.
//! fn carry(from: &mut Connection, to: &mut Connection, now: Time) -> Vec<Event<'static>> {
//!     let mut events: Vec<_> = std::iter::from_fn(|| to.poll_event()).collect();
//!     loop {
//!         let bytes: Vec<u8> = from.poll_transmit(now).into_iter().flatten().copied().collect();
//!         from.advance_transmit(bytes.len());
//!         if bytes.is_empty() {
//!             return events;
//!         }
//!         let mut input = &bytes[..];
//!         while let Ok((used @ 1.., event)) = to.handle_input(now, input) {
//!             input = &input[used..];
//!             events.extend(event.map(Event::into_owned));
//!             events.extend(std::iter::from_fn(|| to.poll_event()));
//!         }
//!     }
//! }
//!
//! let mut now = Time::ZERO;
//! let stream = StreamParameters::new([1; 32]); // 32 random bytes: a real program uses getrandom::fill
//! let mut client = Connection::client(Config::default(), stream, now);
//! let hello: Vec<u8> = client.poll_transmit(now).into_iter().flatten().copied().collect();
//! client.advance_transmit(hello.len());
//!
//! // A server first looks what the client wants: here it is a new conversation.
//! let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([2; 32]), now);
//! acceptor.handle_input(now, &hello)?;
//! let mut server = acceptor.accept(now)?;
//!
//! // Each application accepts the other, after any authentication. Then the conversation is open.
//! assert!(matches!(server.poll_event(), Some(Event::PeerHello { .. })));
//! server.accept_peer(now)?;
//! assert!(matches!(carry(&mut server, &mut client, now)[..], [Event::PeerHello { .. }]));
//! client.accept_peer(now)?;
//! carry(&mut client, &mut server, now);
//! assert!(client.is_open() && server.is_open());
//!
//! client.send_chat(&Chat::new("Is anybody there?"))?;
//! for event in carry(&mut client, &mut server, now) {
//!     if let Event::Chat { item, chat } = event {
//!         assert_eq!(chat.text, "Is anybody there?");
//!         server.take(now, item); // dealt with: it may be acknowledged
//!     }
//! }
//!
//! // An acknowledgement waits a little for something to travel with.
//! now = server.poll_timeout().unwrap();
//! server.handle_timeout(now);
//! let receipt = Event::Receipts { lane: Lane::Chat, numbers: 0..1, receipt: Receipt::Delivered };
//! assert!(carry(&mut server, &mut client, now).contains(&receipt));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The other examples begin with two machines that are open, which `open(now)` makes just so.
//!
//! # The run loop
//!
//! All of it over a `TcpStream`, without a runtime. In words: tell the application what there is to
//! tell; write what there is to write; when there is neither, wait for bytes, at most until the
//! deadline. It returns when the stream is of no more use: after the end of the conversation, or when
//! that is detached ([`Event::Detached`]) and there are no last words to write. `examples/sans_io.rs`
//! sends a file with the same loop.
//!
//! ```
//! use std::io::{self, ErrorKind, IoSlice, Read, Write};
//! use std::net::{Shutdown, TcpListener, TcpStream};
//! use std::time::{Duration, Instant};
//!
//! use duologue::proto::{Acceptor, CloseReason, Config, Connection, Event};
//! use duologue::proto::{Receipt, StreamParameters};
//! use duologue::time::Time;
//! use duologue::wire::{Chat, CloseCode};
//!
//! /// Any clock that does not go back will do, in microseconds.
//! fn now(clock: Instant) -> Time {
//!     Time::from_micros(clock.elapsed().as_micros() as u64)
//! }
//!
//! type Handler<'a> = &'a mut dyn FnMut(&mut Connection, Event<'_>);
//!
//! /// Every item is taken, here as soon as the handler returns.
//! fn tell(machine: &mut Connection, event: Event<'_>, clock: Instant, handle: Handler<'_>) {
//!     let item = event.item();
//!     handle(machine, event);
//!     if let Some(item) = item {
//!         machine.take(now(clock), item);
//!     }
//! }
//!
//! /// Of input that was read already, `unread` is what an acceptor has left.
//! fn run(
//!     machine: &mut Connection,
//!     stream: &mut TcpStream,
//!     unread: &[u8],
//!     clock: Instant,
//!     handle: Handler<'_>,
//! ) -> io::Result<()> {
//!     let mut buffer = vec![0; 64 * 1024];
//!     let mut len = unread.len();
//!     buffer[..len].copy_from_slice(unread);
//!     stream.set_nodelay(true)?;
//!     stream.set_write_timeout(Some(Duration::from_secs(20)))?;
//!     loop {
//!         while let Some(event) = machine.poll_event() {
//!             tell(machine, event, clock, handle);
//!         }
//!         // Why input failed, if it did, is told by an event, too; the rest is thrown away.
//!         let mut input = &buffer[..std::mem::take(&mut len)];
//!         while let Ok((used @ 1.., event)) = machine.handle_input(now(clock), input) {
//!             input = &input[used..];
//!             if let Some(event) = event {
//!                 tell(machine, event, clock, handle);
//!             }
//!             while let Some(event) = machine.poll_event() {
//!                 tell(machine, event, clock, handle);
//!             }
//!         }
//!         let transmit = machine.poll_transmit(now(clock));
//!         let slices: Vec<_> = transmit.into_iter().map(IoSlice::new).collect();
//!         if !slices.is_empty() {
//!             match stream.write_vectored(&slices) {
//!                 Ok(written @ 1..) => machine.advance_transmit(written),
//!                 Err(error) if error.kind() == ErrorKind::Interrupted => {}
//!                 // Broken, or nothing was taken for 20 s.
//!                 Ok(_) | Err(_) => break machine.handle_disconnect(now(clock)),
//!             }
//!             continue;
//!         }
//!         if machine.is_write_closed() {
//!             let _ = stream.shutdown(Shutdown::Write);
//!             if machine.is_detached() {
//!                 break; // it goes on over another stream
//!             }
//!         }
//!         // After the end there is no deadline, but the peer has to have time to end its half:
//!         // closing the socket at once could destroy the last words on their way.
//!         let deadline = machine.poll_timeout();
//!         let wait = deadline.map(|deadline| deadline.saturating_duration_since(now(clock)));
//!         let wait = wait.unwrap_or(Duration::from_secs(5)).max(Duration::from_millis(1));
//!         stream.set_read_timeout(Some(wait))?;
//!         match stream.read(&mut buffer) {
//!             Ok(0) => break machine.handle_eof(now(clock)),
//!             Ok(read) => len = read,
//!             Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
//!                 if deadline.is_none() {
//!                     break;
//!                 }
//!                 machine.handle_timeout(now(clock));
//!             }
//!             Err(error) if error.kind() == ErrorKind::Interrupted => {}
//!             Err(_) => break machine.handle_disconnect(now(clock)),
//!         }
//!     }
//!     while let Some(event) = machine.poll_event() {
//!         tell(machine, event, clock, handle);
//!     }
//!     Ok(())
//! }
//!
//! let clock = Instant::now();
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let mut stream = TcpStream::connect(listener.local_addr()?)?;
//!
//! let server = std::thread::spawn(move || {
//!     let (mut stream, _) = listener.accept()?;
//!     let mut acceptor =
//!         Acceptor::new(Config::default(), StreamParameters::new([2; 32]), now(clock));
//!     let mut byte = [0]; // one at a time: what follows the HELLO is for the machine
//!     while acceptor.request().is_none() {
//!         stream.read_exact(&mut byte)?;
//!         acceptor.handle_input(now(clock), &byte).map_err(io::Error::other)?;
//!     }
//!     let mut machine = acceptor.accept(now(clock)).map_err(io::Error::other)?;
//!     let mut heard = String::new();
//!     run(&mut machine, &mut stream, &[], clock, &mut |machine, event| match event {
//!         Event::PeerHello { .. } => _ = machine.accept_peer(now(clock)),
//!         Event::Chat { chat, .. } => heard.push_str(&chat.text),
//!         _ => {}
//!     })?;
//!     Ok::<_, io::Error>(heard)
//! });
//!
//! let mut machine =
//!     Connection::client(Config::default(), StreamParameters::new([1; 32]), now(clock));
//! let mut end = None;
//! run(&mut machine, &mut stream, &[], clock, &mut |machine, event| match event {
//!     // What fails here fails as the conversation has ended meanwhile: an event tells.
//!     Event::PeerHello { .. } => _ = machine.accept_peer(now(clock)),
//!     Event::Open(_) => _ = machine.send_chat(&Chat::new("Guten Tag")),
//!     // The other application has taken it.
//!     Event::Receipts { receipt: Receipt::Delivered, .. } => {
//!         let _ = machine.close(CloseCode::DONE, "", now(clock));
//!     }
//!     Event::Closed(reason) => end = Some(reason),
//!     _ => {}
//! })?;
//! assert_eq!(end, Some(CloseReason::Local { code: CloseCode::DONE, is_answered: true }));
//! assert_eq!(server.join().unwrap()?, "Guten Tag");
//! # Ok::<(), io::Error>(())
//! ```
//!
//! This server waits for a HELLO for ever, and has no conversations that could be resumed; the example
//! of [`Acceptor`] does better, and fits to `run`. Whatever else has something to say, a keyboard say,
//! has to wait until the read returns: give it a shorter time-out while there is a deadline, or use an
//! executor.
//!
//! While such a loop is in a write it neither reads nor keeps deadlines: those that come meanwhile are
//! handled once it returns, so the time-out of a write adds to that of silence. Two of them can
//! dead-lock, until that time-out, when both have more to write than the pipe between them holds; a
//! driver that polls both directions cannot, as the machine takes all input at once, whatever waits to
//! be written.
//!
//! # Items are taken, data is released
//!
//! Chat, messages and all that changes the fate of a transfer are *items*, numbered in two *lanes*
//! ([`Lane`]), which do not wait for each other. Their events carry an [`ItemId`] ([`Event::item`]).
//! [Take](Connection::take) an item once the application has dealt with it, in the lane's order; not
//! before, as that is what the sender's [`Receipt`] says.
//!
//! Every one has to be taken, also those that ask for nothing, as [`Event::Verdict`] does. What is
//! not taken counts against [`max_untaken`](ConfigBuilder::max_untaken): an honest peer then waits,
//! and a forgotten `take` shows as a lane that stands still. The peer's [`close`] waits for its items,
//! too, so a single one that is forgotten, the last verdict say, costs it the whole
//! [`close_timeout`](ConfigBuilder::close_timeout).
//!
//! File data is *released*: [`release`](Connection::release) says that so many bytes of an
//! [`Event::Data`] are dealt with, and gives the sender credit for as many more. A slow disk so slows
//! down its own file, and nothing else. Release every byte once, also of a file that has ended since:
//! it counts as held until then, and others get less.
//!
//! On the sending side a lane that is full returns [`ActionError::Blocked`], and a full transfer does;
//! [`Event::LaneWritable`] and [`Event::Writable`] follow once there is room. They come only after a
//! `Blocked`: push until you get one. [`Event::MayOffer`] follows a [`PeerLimit`](ActionError::PeerLimit)
//! in the same way.
//!
//! # Files
//!
//! The sender offers, the receiver decides, data flows within the receiver's credit, and the
//! receiver's verdict is the end. FINISH and data travel side by side, so either can come last. The
//! [`TransferId`](crate::wire::TransferId) that [`offer`] returned is the same at both ends.
//!
//! ```
//! use bytes::Bytes;
//! use duologue::proto::{Acceptance, ActionError, Conclusion, Connection, Event};
//! use duologue::time::Time;
//! use duologue::wire::{Digest, Finish, Offer, TransferCode, TransferId};
//! # mod machines { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/machines.rs")); }
//! # use machines::{carry, open};
//!
//! /// What the receiver has of the one file of this example.
//! #[derive(Default)]
//! struct Part {
//!     bytes: Vec<u8>,
//!     finish: Option<Finish>,
//! }
//!
//! impl Part {
//!     fn handle(
//!         &mut self,
//!         machine: &mut Connection,
//!         event: Event<'_>,
//!         now: Time,
//!     ) -> Result<(), ActionError> {
//!         let item = event.item();
//!         match event {
//!             // The name is a proposal: the receiver chooses where it goes.
//!             Event::Offered { transfer, .. } => {
//!                 machine.accept(transfer, Acceptance::default(), now)?;
//!             }
//!             Event::Data { transfer, offset, data } => {
//!                 assert_eq!(offset, self.bytes.len() as u64);
//!                 self.bytes.extend_from_slice(&data);
//!                 machine.release(transfer, data.len(), now);
//!                 self.conclude_if_whole(machine, transfer)?;
//!             }
//!             Event::Finished { transfer, finish, .. } => {
//!                 self.finish = Some(finish);
//!                 self.conclude_if_whole(machine, transfer)?;
//!             }
//!             Event::CancelAsked { transfer, code, .. } => {
//!                 machine.conclude(transfer, &Conclusion::Failed { code, text: "" })?;
//!             }
//!             _ => {}
//!         }
//!         item.into_iter().for_each(|item| machine.take(now, item));
//!         Ok(())
//!     }
//!
//!     /// Either event can be the last one, so both come here.
//!     fn conclude_if_whole(
//!         &self,
//!         machine: &mut Connection,
//!         transfer: TransferId,
//!     ) -> Result<(), ActionError> {
//!         let len = self.bytes.len() as u64;
//!         let Some(finish) = self.finish.filter(|finish| finish.total == len) else {
//!             return Ok(());
//!         };
//!         let digest = Digest::Blake3(*blake3::hash(&self.bytes).as_bytes());
//!         let conclusion = match finish.digest == Some(digest) {
//!             true => Conclusion::Stored { name: "notes (2).txt" },
//!             false => Conclusion::Failed { code: TransferCode::DIGEST_DIFFERS, text: "" },
//!         };
//!         machine.conclude(transfer, &conclusion).map(drop)
//!     }
//! }
//!
//! let now = Time::ZERO;
//! let (mut client, mut server) = open(now)?;
//! let mut part = Part::default();
//! let content = b"All of the file";
//! let file = client.offer(&Offer::new("notes.txt").size(content.len() as u64), now)?;
//! let mut verdict = None;
//! while verdict.is_none() {
//!     for event in carry(&mut client, &mut server, now) {
//!         part.handle(&mut server, event, now)?;
//!     }
//!     for event in carry(&mut server, &mut client, now) {
//!         let item = event.item();
//!         match event {
//!             Event::Accepted { transfer, accept, .. } => {
//!                 client.send_data(transfer, accept.offset, Bytes::from_static(content))?;
//!                 let digest = Digest::Blake3(*blake3::hash(content).as_bytes());
//!                 client.finish(transfer, Some(digest))?;
//!             }
//!             Event::Verdict { transfer, code, text, .. } => verdict = Some((transfer, code, text)),
//!             Event::Rejected { code, .. } => panic!("it is not wanted: {code}"),
//!             _ => {}
//!         }
//!         item.into_iter().for_each(|item| client.take(now, item));
//!     }
//! }
//! assert_eq!(verdict, Some((file, TransferCode::STORED, "notes (2).txt".into())));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | more | where |
//! |---|---|
//! | a file that is larger than the [`send_buffer`](ConfigBuilder::send_buffer) | [`send_data`] |
//! | the receiver has a part already, of before a restart of its program say | [`accept`], with [`confirm_prefix`](Connection::confirm_prefix) and [`restart`](Connection::restart) |
//! | many files at once, a folder say | [`offer_batch`](Connection::offer_batch) |
//! | to pause one | [`pause`](Connection::pause) |
//! | to give one up, from either side | [`conclude`], with [`cancel`](Connection::cancel) |
//!
//! # Breaks
//!
//! When a stream breaks, an open conversation is *detached*: it goes on taking messages and offers,
//! and keeps all that was not acknowledged. The client [attaches](Connection::attach) it to another
//! stream. There the server's [`Acceptor`] finds out which conversation is meant, and the client
//! has to prove that it is the one it was ([`Resuming`]), before anything is touched. Then each says
//! what it has, and the rest is sent again: nothing twice, nothing lost. [`attach`] has an example with
//! two machines in one program, and [`Acceptor`] the server's part over sockets.
//!
//! Bytes of a file that the sender still holds are sent again by themselves; where it does not,
//! [`Event::Rewind`] asks a source that was offered as [seekable](crate::wire::Offer::seekable) to go
//! back. A server that has forgotten the conversation `accept`s it as a new one: the client's
//! [`Event::Open`] then says [`Opening::Fresh`], after every receipt was resolved and every transfer
//! [abandoned](Event::Abandoned).
//!
//! # What an event asks for
//!
//! Beside what the table says, those with an [item](Event::item) are to be taken.
//!
//! | event | the application |
//! |---|---|
//! | [`PeerHello`](Event::PeerHello), [`Authentication`](Event::Authentication) | exchanges up to three messages ([`authenticate`](Connection::authenticate)), then accepts or refuses the peer, on every stream |
//! | [`Open`](Event::Open) | begins, or goes on |
//! | [`Chat`](Event::Chat), [`Message`](Event::Message) | shows or stores it |
//! | [`Signal`](Event::Signal) | uses it, if it likes |
//! | [`Receipts`](Event::Receipts) | [knows](Receipt) what became of its messages |
//! | [`LaneWritable`](Event::LaneWritable), [`Writable`](Event::Writable) | sends what was `Blocked` |
//! | [`MayOffer`](Event::MayOffer) | offers what met a `PeerLimit` |
//! | [`Offered`](Event::Offered), [`BatchOffered`](Event::BatchOffered) | [accepts](Connection::accept) or [rejects](Connection::reject); a batch's member it just receives |
//! | [`Refused`](Event::Refused) | takes it; it should release what it has |
//! | [`Accepted`](Event::Accepted) | sends from the offset on |
//! | [`Rewind`](Event::Rewind) | sends from this offset on, once more; what was finished stays so, and is not finished again |
//! | [`Started`](Event::Started) | writes the data that follows there; at 0 it drops what it had |
//! | [`Data`](Event::Data) | stores and releases it |
//! | [`Finished`](Event::Finished), [`CancelAsked`](Event::CancelAsked) | [concludes](Connection::conclude): when all bytes are stored, or at once |
//! | [`Progress`](Event::Progress), [`Paused`](Event::Paused) | shows it |
//! | [`Rejected`](Event::Rejected), [`Verdict`](Event::Verdict), [`Expired`](Event::Expired), [`Abandoned`](Event::Abandoned) | knows how a transfer ended; one of its own that expired still gets its verdict, or is abandoned |
//! | [`Detached`](Event::Detached) | leaves the stream's loop; attaches another stream, or waits for the client to do so |
//! | [`Goodbye`](Event::Goodbye), [`Closed`](Event::Closed) | is done; the last words are still to be written |
//!
//! # Errors
//!
//! What the caller did wrong is an [`ActionError`], and has changed nothing. What the peer or the stream
//! did wrong is an [`Error`]. After one, write what there is to write (a GOODBYE that names the reason),
//! end the sending half, and throw away what still comes. During the handshake of a stream that resumes,
//! it ends that stream only: the client's conversation is detached as before
//! ([`DetachReason::AttachFailed`]), the server's is not touched. Anywhere else it ends the
//! conversation ([`CloseReason::Failed`]).
//!
//! # Time
//!
//! [`Time`](crate::time::Time) is microseconds of any clock that does not go back; should one, a call
//! counts as one at the latest time that was told. Call
//! [`handle_timeout`](Connection::handle_timeout) when [`poll_timeout`](Connection::poll_timeout) has
//! come; handle input that is there already first, so that it counts as in time. A call too late does
//! no harm but its lateness: an acknowledgement that goes late slows the peer down.
//!
//! # Memory and cost
//!
//! [`Config::worst_case_memory`] bounds what a peer can make one conversation hold, whatever it sends;
//! nothing is allocated on the word of a length field. [`Connection::memory_usage`] is what it holds
//! now.
//!
//! Work is linear in the bytes received, however they are split. File data is not copied on its way in,
//! nor are messages that come in one piece: events borrow from the input. On their way out chunks of
//! 4 KiB and more are not copied, but for an end of less than 1 KiB. What is written is decided as late
//! as it can be: [`poll_transmit`](Connection::poll_transmit) gives the most urgent frames, and takes
//! back those that have not begun when something more urgent comes. Hand the transport what it takes,
//! and keep no queue of your own below: chat would wait in it.
//!
//! # What it does not do
//!
//! It neither encrypts nor authenticates: bind it to a secure channel
//! ([`channel_binding`](StreamParameters::channel_binding)), and use the authentication messages. It
//! computes no digest of a file and chooses no names: that is the application's, as are files
//! themselves, and finding the conversation that a client wants to resume.
//!
//! [`handle_input`]: Connection::handle_input
//! [`handle_eof`]: Connection::handle_eof
//! [`handle_timeout`]: Connection::handle_timeout
//! [`handle_disconnect`]: Connection::handle_disconnect
//! [`attach`]: Connection::attach
//! [`resume`]: Connection::resume
//! [`poll_transmit`]: Connection::poll_transmit
//! [`advance_transmit`]: Connection::advance_transmit
//! [`poll_event`]: Connection::poll_event
//! [`poll_timeout`]: Connection::poll_timeout
//! [`accept_peer`]: Connection::accept_peer
//! [`send_chat`]: Connection::send_chat
//! [`send_message`]: Connection::send_message
//! [`offer`]: Connection::offer
//! [`accept`]: Connection::accept
//! [`send_data`]: Connection::send_data
//! [`take`]: Connection::take
//! [`release`]: Connection::release
//! [`conclude`]: Connection::conclude
//! [`close`]: Connection::close
//! [`is_open`]: Connection::is_open
//! [`is_closed`]: Connection::is_closed
//! [`is_write_closed`]: Connection::is_write_closed
//! [`capacity`]: Connection::capacity
//! [`statistics`]: Connection::statistics

mod acceptor;
mod acknowledgement;
mod actions;
mod budget;
mod close;
mod config;
mod connection;
mod debts;
mod detach;
mod error;
mod event;
mod event_debug;
mod gathered;
mod given_up;
mod handshake;
mod incoming;
mod item;
mod items;
mod lanes;
mod link;
mod memory;
pub(crate) mod offer_limits;
mod outgoing;
mod pacer;
mod plan;
pub(crate) mod rare;
mod receive;
mod receive_bulk;
mod receive_chats;
mod receive_file;
mod receive_lane;
mod resuming;
mod schedule;
mod send_buffer;
mod send_file;
mod send_lane;
mod statistics;
mod table;
mod timers;
mod transmit;
mod transmit_bulk;

pub use acceptor::{Acceptor, Request};
pub use config::{Config, ConfigBuilder, ConfigError};
pub use connection::{Connection, StreamParameters};
pub use error::{ActionError, Error, Violation};
pub use event::{
    Acceptance, CloseReason, Conclusion, DetachReason, Event, ItemId, Lane, Opening, Receipt,
};
pub use resuming::Resuming;
pub use statistics::{Count, Statistics, Traffic};
pub use transmit::{Iter, Transmit};
