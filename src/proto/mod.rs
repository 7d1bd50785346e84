//! One conversation as a state machine: bytes, time and random seeds go in, bytes and events come out.
//!
//! A [`Connection`] is one end of a conversation of `PROTOCOL.md`: chat, application messages and
//! files both ways at once, acknowledged, and resumed over another stream after a break. It does no
//! I/O, reads no clock, spawns nothing, and needs no `std`. Whoever owns the stream drives it: a
//! blocking loop as below, an executor, a simulator, a fuzzer. Any order of calls is legal, and a
//! call too many does nothing.
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
//! After an input or an action the outputs may have changed: poll them again. An action that cannot
//! be done returns an [`ActionError`] and has changed nothing.
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
//! /// Carries what `from` has to send to `to`, and returns what `to` makes of it.
//! fn carry(from: &mut Connection, to: &mut Connection, now: Time) -> Vec<Event<'static>> {
//!     let bytes: Vec<u8> = from.poll_transmit(now).into_iter().flatten().copied().collect();
//!     from.advance_transmit(bytes.len());
//!     let (mut input, mut events) = (&bytes[..], Vec::new());
//!     while let Ok((used @ 1.., event)) = to.handle_input(now, input) {
//!         input = &input[used..];
//!         events.extend(event.map(Event::into_owned));
//!         events.extend(std::iter::from_fn(|| to.poll_event()));
//!     }
//!     events
//! }
//!
//! let mut now = Time::ZERO;
//! let stream = StreamParameters::new([1; 32]); // 32 random bytes, in earnest
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
//! # The run loop
//!
//! All of it over a `TcpStream`, without a runtime. In words: tell the application what there is to
//! tell; write what there is to write; when there is neither, wait for bytes, at most until the
//! deadline. `examples/sans_io.rs` sends a file with the same loop.
//!
//! ```
//! use std::io::{self, ErrorKind, IoSlice, Read, Write};
//! use std::net::{Shutdown, TcpListener, TcpStream};
//! use std::time::{Duration, Instant};
//!
//! use duologue::proto::{Acceptor, CloseReason, Config, Connection, Event, StreamParameters};
//! use duologue::time::Time;
//! use duologue::wire::{Chat, CloseCode};
//!
//! /// Any clock that does not go back will do, in microseconds.
//! fn now(clock: Instant) -> Time {
//!     Time::from_micros(clock.elapsed().as_micros() as u64)
//! }
//!
//! fn run(
//!     machine: &mut Connection,
//!     stream: &mut TcpStream,
//!     clock: Instant,
//!     mut handle: impl FnMut(&mut Connection, Event<'_>),
//! ) -> io::Result<()> {
//!     let mut buffer = vec![0; 64 * 1024];
//!     stream.set_nodelay(true)?;
//!     loop {
//!         while let Some(event) = machine.poll_event() {
//!             handle(machine, event);
//!         }
//!         let transmit = machine.poll_transmit(now(clock));
//!         let slices: Vec<_> = transmit.into_iter().take(64).map(IoSlice::new).collect();
//!         if !slices.is_empty() {
//!             let written = stream.write_vectored(&slices)?;
//!             machine.advance_transmit(written);
//!             continue;
//!         }
//!         if machine.is_write_closed() {
//!             let _ = stream.shutdown(Shutdown::Write);
//!         }
//!         // After the end there is no deadline, but the peer has to have time to end its half:
//!         // closing the socket at once could destroy the last words on their way.
//!         let deadline = machine.poll_timeout();
//!         let wait = deadline.map(|deadline| deadline.saturating_duration_since(now(clock)));
//!         let wait = wait.unwrap_or(Duration::from_secs(5)).max(Duration::from_millis(1));
//!         stream.set_read_timeout(Some(wait))?;
//!         match stream.read(&mut buffer) {
//!             Ok(0) => break,
//!             Ok(len) => {
//!                 let mut input = &buffer[..len];
//!                 // Why it failed, if it did, is told by an event, too.
//!                 while let Ok((used @ 1.., event)) = machine.handle_input(now(clock), input) {
//!                     input = &input[used..];
//!                     if let Some(event) = event {
//!                         handle(machine, event);
//!                     }
//!                     while let Some(event) = machine.poll_event() {
//!                         handle(machine, event);
//!                     }
//!                 }
//!             }
//!             Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
//!                 if deadline.is_none() {
//!                     break;
//!                 }
//!                 machine.handle_timeout(now(clock));
//!             }
//!             Err(error) if error.kind() == ErrorKind::Interrupted => {}
//!             Err(_) => {
//!                 machine.handle_disconnect(now(clock));
//!                 break;
//!             }
//!         }
//!     }
//!     machine.handle_eof(now(clock));
//!     while let Some(event) = machine.poll_event() {
//!         handle(machine, event);
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
//!     run(&mut machine, &mut stream, clock, |machine, event| match event {
//!         Event::PeerHello { .. } => machine.accept_peer(now(clock)).unwrap(),
//!         Event::Chat { item, chat } => {
//!             heard.push_str(&chat.text);
//!             machine.take(now(clock), item);
//!         }
//!         _ => {}
//!     })?;
//!     Ok::<_, io::Error>(heard)
//! });
//!
//! let mut machine =
//!     Connection::client(Config::default(), StreamParameters::new([1; 32]), now(clock));
//! let mut end = None;
//! run(&mut machine, &mut stream, clock, |machine, event| match event {
//!     Event::PeerHello { .. } => machine.accept_peer(now(clock)).unwrap(),
//!     Event::Open(_) => _ = machine.send_chat(&Chat::new("Guten Tag")).unwrap(),
//!     // Delivered: the other application has taken it.
//!     Event::Receipts { .. } => machine.close(CloseCode::DONE, "", now(clock)).unwrap(),
//!     Event::Closed(reason) => end = Some(reason),
//!     _ => {}
//! })?;
//! assert_eq!(end, Some(CloseReason::Local { code: CloseCode::DONE, is_answered: true }));
//! assert_eq!(server.join().unwrap()?, "Guten Tag");
//! # Ok::<(), io::Error>(())
//! ```
//!
//! Such a loop does not read while it writes. Two of them can dead-lock when both have more to write
//! than the pipe between them holds; a driver that polls both directions cannot, as the machine takes
//! all input at once, whatever waits to be written.
//!
//! # Items are taken, data is released
//!
//! Chat, messages and all that changes the fate of a transfer are *items*, numbered in two *lanes*
//! ([`Lane`]), which do not wait for each other. Their events carry an [`ItemId`] ([`Event::item`]).
//! [Take](Connection::take) an item once the application has dealt with it, in the lane's order; not
//! before, as that is what the sender's [`Receipt`] says. What is not taken counts against
//! [`max_untaken`](ConfigBuilder::max_untaken): an honest peer then waits, and a forgotten `take`
//! shows as a lane that stands still.
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
//! receiver's verdict is the end. FINISH and data travel side by side, so either can come last.
//!
//! ```
//! use bytes::Bytes;
//! use duologue::proto::{Acceptance, Conclusion, Event};
//! use duologue::wire::{Digest, Offer, TransferCode};
//! # use duologue::proto::{Acceptor, Config, Connection, StreamParameters};
//! # use duologue::time::Time;
//! # fn carry(from: &mut Connection, to: &mut Connection, now: Time) -> Vec<Event<'static>> {
//! #     let bytes: Vec<u8> = from.poll_transmit(now).into_iter().flatten().copied().collect();
//! #     from.advance_transmit(bytes.len());
//! #     let (mut input, mut events) = (&bytes[..], Vec::new());
//! #     while let Ok((used @ 1.., event)) = to.handle_input(now, input) {
//! #         input = &input[used..];
//! #         events.extend(event.map(Event::into_owned));
//! #         events.extend(std::iter::from_fn(|| to.poll_event()));
//! #     }
//! #     events
//! # }
//! # let now = Time::ZERO;
//! # let mut client = Connection::client(Config::default(), StreamParameters::new([1; 32]), now);
//! # let hello: Vec<u8> = client.poll_transmit(now).into_iter().flatten().copied().collect();
//! # client.advance_transmit(hello.len());
//! # let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([2; 32]), now);
//! # acceptor.handle_input(now, &hello)?;
//! # let mut server = acceptor.accept(now)?;
//! # server.accept_peer(now)?;
//! # carry(&mut server, &mut client, now);
//! # client.accept_peer(now)?;
//! # carry(&mut client, &mut server, now);
//!
//! let content = b"All of the file";
//! let digest = Digest::Blake3(*blake3::hash(content).as_bytes());
//! let file = client.offer(&Offer::new("notes.txt").size(content.len() as u64), now)?;
//!
//! for event in carry(&mut client, &mut server, now) {
//!     let item = event.item();
//!     if let Event::Offered { transfer, offer, .. } = event {
//!         assert_eq!(offer.name, "notes.txt"); // a proposal: the receiver chooses where it goes
//!         server.accept(transfer, Acceptance::default(), now)?;
//!     }
//!     item.into_iter().for_each(|item| server.take(now, item));
//! }
//! for event in carry(&mut server, &mut client, now) {
//!     let item = event.item();
//!     if let Event::Accepted { transfer, accept, .. } = event {
//!         client.send_data(transfer, accept.offset, Bytes::from_static(content))?;
//!         client.finish(transfer, Some(digest))?;
//!     }
//!     item.into_iter().for_each(|item| client.take(now, item));
//! }
//! let (mut received, mut finish) = (Vec::new(), None);
//! for event in carry(&mut client, &mut server, now) {
//!     let item = event.item();
//!     match event {
//!         Event::Data { transfer, offset, data } => {
//!             assert_eq!(offset, received.len() as u64);
//!             received.extend_from_slice(&data);
//!             server.release(transfer, data.len(), now);
//!         }
//!         Event::Finished { finish: said, .. } => finish = Some(said),
//!         _ => {}
//!     }
//!     item.into_iter().for_each(|item| server.take(now, item));
//! }
//! let finish = finish.unwrap();
//! assert_eq!(finish.total, received.len() as u64);
//! assert_eq!(finish.digest, Some(Digest::Blake3(*blake3::hash(&received).as_bytes())));
//! server.conclude(file, &Conclusion::Stored { name: "notes (2).txt" })?;
//!
//! let verdict = carry(&mut server, &mut client, now).into_iter().find_map(|event| match event {
//!     Event::Verdict { transfer, code, text, .. } => Some((transfer, code, text.into_owned())),
//!     _ => None,
//! });
//! assert_eq!(verdict, Some((file, TransferCode::STORED, "notes (2).txt".into())));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A receiver that has a part already accepts with its length and digest ([`Acceptance::prefix`]).
//! The sender may send from there at once, while it computes the digest of its own prefix; then it
//! calls [`confirm_prefix`](Connection::confirm_prefix) or [`restart`](Connection::restart). Many files
//! at once, a folder say, are a [batch](Connection::offer_batch), whose members need no decision each.
//!
//! # Breaks
//!
//! When a stream breaks, an open conversation is *detached*: it goes on taking messages and offers,
//! and keeps all that was not acknowledged. The client [attaches](Connection::attach) it to another
//! stream. There the server's [`Acceptor`] finds out which conversation is meant, and the client
//! has to prove that it is the one it was ([`Resuming`]), before anything is touched. Then each says
//! what it has, and the rest is sent again: nothing twice, nothing lost.
//!
//! ```
//! use duologue::proto::{Acceptor, Config, Connection, Event, Opening, StreamParameters, Transmit};
//! use duologue::wire::Chat;
//! # use duologue::time::Time;
//! # fn carry(from: &mut Connection, to: &mut Connection, now: Time) -> Vec<Event<'static>> {
//! #     let bytes = bytes(from.poll_transmit(now));
//! #     from.advance_transmit(bytes.len());
//! #     receive(to, &bytes, now)
//! # }
//! # fn receive(to: &mut Connection, mut input: &[u8], now: Time) -> Vec<Event<'static>> {
//! #     let mut events = Vec::new();
//! #     while let Ok((used @ 1.., event)) = to.handle_input(now, input) {
//! #         input = &input[used..];
//! #         events.extend(event.map(Event::into_owned));
//! #         events.extend(std::iter::from_fn(|| to.poll_event()));
//! #     }
//! #     events
//! # }
//! # let now = Time::ZERO;
//! # let mut client = Connection::client(Config::default(), StreamParameters::new([1; 32]), now);
//! # let hello = bytes(client.poll_transmit(now));
//! # client.advance_transmit(hello.len());
//! # let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([2; 32]), now);
//! # acceptor.handle_input(now, &hello)?;
//! # let mut server = acceptor.accept(now)?;
//! # server.accept_peer(now)?;
//! # carry(&mut server, &mut client, now);
//! # client.accept_peer(now)?;
//! # carry(&mut client, &mut server, now);
//! # carry(&mut server, &mut client, now);
//!
//! fn bytes(transmit: Transmit<'_>) -> Vec<u8> {
//!     transmit.into_iter().flatten().copied().collect()
//! }
//!
//! // A line is on its way when the stream breaks. Both notice.
//! client.send_chat(&Chat::new("Are you still there?"))?;
//! let lost = bytes(client.poll_transmit(now)).len();
//! client.advance_transmit(lost);
//! client.handle_disconnect(now);
//! server.handle_eof(now);
//! assert!(client.is_detached() && server.is_detached());
//! # while client.poll_event().is_some() || server.poll_event().is_some() {}
//!
//! // The client has another stream, with a seed of its own.
//! client.attach(StreamParameters::new([3; 32]), now)?;
//! let hello = bytes(client.poll_transmit(now));
//! client.advance_transmit(hello.len());
//!
//! // The server finds the conversation among those that it has; another one it would `accept`.
//! let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([4; 32]), now);
//! let (_, request) = acceptor.handle_input(now, &hello)?;
//! assert_eq!(request.map(|request| request.conversation), Some(server.conversation()));
//! let mut resuming = acceptor.resume(&server, now).map_err(|_| "refused")?;
//! let hello = bytes(resuming.poll_transmit());
//! resuming.advance_transmit(hello.len());
//!
//! // The client accepts the server again, and proves that it is the one that was here.
//! receive(&mut client, &hello, now);
//! client.accept_peer(now)?;
//! let proof = bytes(client.poll_transmit(now));
//! client.advance_transmit(proof.len());
//! resuming.handle_input(now, &proof)?; // what it does not take is for the connection
//! resuming.accept_peer();
//! assert!(resuming.is_ready());
//! server.resume(resuming, now).map_err(|_| "refused")?;
//!
//! assert!(carry(&mut server, &mut client, now).contains(&Event::Open(Opening::Resumed)));
//! let events = carry(&mut client, &mut server, now);
//! assert!(events.iter().any(|event| matches!(event, Event::Chat { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Bytes of a file that the sender still holds are sent again by themselves; where it does not,
//! [`Event::Rewind`] asks a seekable source to go back. A server that has forgotten the conversation
//! `accept`s it as a new one: the client's [`Event::Open`] then says [`Opening::Fresh`], after every
//! receipt was resolved and every transfer [abandoned](Event::Abandoned).
//!
//! # What an event asks for
//!
//! | event | the application |
//! |---|---|
//! | [`PeerHello`](Event::PeerHello), [`Authentication`](Event::Authentication) | exchanges up to three messages ([`authenticate`](Connection::authenticate)), then accepts or refuses the peer, on every stream |
//! | [`Open`](Event::Open) | begins, or goes on |
//! | [`Chat`](Event::Chat), [`Message`](Event::Message) | takes it |
//! | [`Signal`](Event::Signal) | uses it, if it likes |
//! | [`Receipts`](Event::Receipts) | knows what became of its messages |
//! | [`LaneWritable`](Event::LaneWritable), [`Writable`](Event::Writable) | sends what was `Blocked` |
//! | [`MayOffer`](Event::MayOffer) | offers what met a `PeerLimit` |
//! | [`Offered`](Event::Offered), [`BatchOffered`](Event::BatchOffered) | [accepts](Connection::accept) or [rejects](Connection::reject); a batch's member it just receives |
//! | [`Refused`](Event::Refused) | takes it; it should release what it has |
//! | [`Accepted`](Event::Accepted) | sends from the offset on |
//! | [`Rewind`](Event::Rewind) | sends from this offset on, once more |
//! | [`Started`](Event::Started) | writes the data that follows there; at 0 it drops what it had |
//! | [`Data`](Event::Data) | stores and releases it |
//! | [`Finished`](Event::Finished), [`CancelAsked`](Event::CancelAsked) | [concludes](Connection::conclude): when all bytes are stored, or at once |
//! | [`Progress`](Event::Progress), [`Paused`](Event::Paused) | shows it |
//! | [`Rejected`](Event::Rejected), [`Verdict`](Event::Verdict), [`Expired`](Event::Expired), [`Abandoned`](Event::Abandoned) | knows how a transfer ended; one of its own that expired still gets its verdict, or is abandoned |
//! | [`Detached`](Event::Detached) | attaches another stream, or waits for the client to do so |
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
mod given_up;
mod handshake;
mod incoming;
mod items;
mod lanes;
mod link;
mod outgoing;
mod pacer;
mod plan;
mod receive;
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
