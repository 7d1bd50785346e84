use alloc::boxed::Box;
use core::fmt;

use crate::time::Time;
use crate::wire::{CloseCode, ConversationId, Side};

use super::config::Config;
use super::connection::{Connection, StreamParameters};
use super::error::{ActionError, Error};
use super::event::Event;
use super::link::{Heard, Link, Phase};
use super::plan::Slices;
use super::resuming::Resuming;
use super::transmit::Transmit;

/// The server's end of a new stream, until its application knows what the client wants.
///
/// It reads the client's HELLO. Then the application goes on with [`accept`](Self::accept) for a
/// conversation that it does not have, [`resume`](Self::resume) for one that it has, or
/// [`refuse`](Self::refuse).
///
/// # Examples
///
/// ```
/// use duologue::proto::{Acceptor, Config, Connection, StreamParameters};
/// use duologue::time::Time;
///
/// let now = Time::ZERO;
/// let mut client = Connection::client(Config::default(), StreamParameters::new([1; 32]), now);
/// let hello: Vec<u8> = client.poll_transmit(now).into_iter().flatten().copied().collect();
///
/// let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([2; 32]), now);
/// let (used, request) = acceptor.handle_input(now, &hello)?;
/// assert_eq!(used, hello.len());
/// let request = request.expect("the HELLO is whole");
/// assert_eq!(request.conversation, client.conversation());
/// assert_eq!(request.attach, 0);
/// let server: Connection = acceptor.accept(now)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A server's loop over a blocking stream, with its time-out and last words, for clients that are
/// new and for those that return:
///
/// ```
/// use std::collections::HashMap;
/// use std::io::{self, ErrorKind, Read, Write};
/// use std::net::TcpStream;
/// use std::time::{Duration, Instant};
///
/// use duologue::proto::{Acceptor, Config, Connection, StreamParameters, Transmit};
/// use duologue::time::Time;
/// use duologue::wire::ConversationId;
///
/// fn now(clock: Instant) -> Time {
///     Time::from_micros(clock.elapsed().as_micros() as u64)
/// }
///
/// /// Conversations that are detached. (One that another thread still drives can be resumed, too:
/// /// when its stream broke, the client may notice long before the server. Lock it, and its loop
/// /// will find `Event::Detached`.)
/// type Known = HashMap<ConversationId, Connection>;
///
/// /// A conversation that goes on over this stream, and what was read too far, which is its first
/// /// input.
/// fn admit(
///     stream: &mut TcpStream,
///     known: &mut Known,
///     seed: [u8; 32], // random, from getrandom::fill
///     clock: Instant,
/// ) -> io::Result<(Connection, Vec<u8>)> {
///     stream.set_write_timeout(Some(Duration::from_secs(10)))?;
///     let parameters = StreamParameters::new(seed);
///     let mut acceptor = Acceptor::new(Config::default(), parameters, now(clock));
///     let mut unread = Vec::new();
///
///     // What does the client want?
///     let request = loop {
///         match acceptor.handle_input(now(clock), &unread) {
///             Ok((used, Some(request))) => {
///                 unread.drain(..used);
///                 break request;
///             }
///             Ok((used, None)) => drop(unread.drain(..used)),
///             Err(error) => return last_words(stream, acceptor.poll_transmit(), error),
///         }
///         match read(stream, &mut unread, acceptor.poll_timeout(), clock)? {
///             Came::Bytes => {}
///             Came::End => acceptor.handle_eof(),
///             Came::TimedOut => acceptor.handle_timeout(now(clock)),
///         }
///     };
///
///     // A conversation that is not known is new, also if the client thinks otherwise: it is told.
///     let Some(mut connection) = known.remove(&request.conversation) else {
///         let connection = acceptor.accept(now(clock)).map_err(io::Error::other)?;
///         return Ok((connection, unread));
///     };
///
///     // One that is known stays as it is until the client has proved that it is the same one.
///     let result = resume(stream, acceptor, &mut connection, &mut unread, clock);
///     match result {
///         Ok(()) => Ok((connection, unread)),
///         Err(error) => {
///             known.insert(request.conversation, connection);
///             Err(error)
///         }
///     }
/// }
///
/// fn resume(
///     stream: &mut TcpStream,
///     acceptor: Acceptor,
///     connection: &mut Connection,
///     unread: &mut Vec<u8>,
///     clock: Instant,
/// ) -> io::Result<()> {
///     let mut resuming = match acceptor.resume(connection, now(clock)) {
///         Ok(resuming) => resuming,
///         Err(mut acceptor) => {
///             return last_words(stream, acceptor.poll_transmit(), "it cannot be resumed");
///         }
///     };
///     resuming.accept_peer(); // or after `Event::Authentication`, as at first
///     while !resuming.is_ready() {
///         let len = write(stream, resuming.poll_transmit())?;
///         resuming.advance_transmit(len);
///         match read(stream, unread, resuming.poll_timeout(), clock)? {
///             Came::Bytes => {}
///             Came::End => resuming.handle_eof(),
///             Came::TimedOut => resuming.handle_timeout(now(clock)),
///         }
///         while !resuming.is_ready() {
///             match resuming.handle_input(now(clock), unread) {
///                 Ok((0, _)) => break,
///                 Ok((used, _)) => drop(unread.drain(..used)),
///                 Err(error) => return last_words(stream, resuming.poll_transmit(), error),
///             }
///         }
///     }
///     match connection.resume(resuming, now(clock)) {
///         Ok(()) => Ok(()),
///         Err(mut resuming) => last_words(stream, resuming.poll_transmit(), "it came too late"),
///     }
/// }
///
/// enum Came {
///     Bytes,
///     End,
///     TimedOut,
/// }
///
/// fn read(
///     stream: &mut TcpStream,
///     unread: &mut Vec<u8>,
///     deadline: Option<Time>,
///     clock: Instant,
/// ) -> io::Result<Came> {
///     let wait = deadline.map(|deadline| deadline.saturating_duration_since(now(clock)));
///     stream.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
///     let mut buffer = [0; 4096];
///     match stream.read(&mut buffer) {
///         Ok(0) => Ok(Came::End),
///         Ok(len) => {
///             unread.extend_from_slice(&buffer[..len]);
///             Ok(Came::Bytes)
///         }
///         Err(error) => match error.kind() {
///             ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Came::TimedOut),
///             ErrorKind::Interrupted => Ok(Came::Bytes),
///             _ => Err(error),
///         },
///     }
/// }
///
/// fn write(stream: &mut TcpStream, transmit: Transmit<'_>) -> io::Result<usize> {
///     let len = transmit.len();
///     transmit.into_iter().try_for_each(|slice| stream.write_all(slice))?;
///     Ok(len)
/// }
///
/// /// The client is told why, before the stream is dropped.
/// fn last_words<T>(
///     stream: &mut TcpStream,
///     transmit: Transmit<'_>,
///     error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
/// ) -> io::Result<T> {
///     write(stream, transmit)?;
///     stream.shutdown(std::net::Shutdown::Write)?;
///     Err(io::Error::other(error))
/// }
/// # use duologue::proto::{DetachReason, Event, Opening};
/// # use std::net::TcpListener;
/// # fn pump(
/// #     machine: &mut Connection, stream: &mut TcpStream, clock: Instant, input: &mut Vec<u8>,
/// # ) -> Opening {
/// #     let mut opening = None;
/// #     loop {
/// #         while let Some(event) = machine.poll_event() {
/// #             match event {
/// #                 Event::PeerHello { .. } => machine.accept_peer(now(clock)).unwrap(),
/// #                 Event::Open(how) => opening = Some(how),
/// #                 Event::Detached(DetachReason::Transport) => {}
/// #                 event => panic!("{event:?}"),
/// #             }
/// #         }
/// #         let len = write(stream, machine.poll_transmit(now(clock))).unwrap();
/// #         machine.advance_transmit(len);
/// #         if let Some(opening) = opening {
/// #             return opening;
/// #         }
/// #         if input.is_empty() {
/// #             read(stream, input, None, clock).unwrap();
/// #         }
/// #         let (used, event) = machine.handle_input(now(clock), input).unwrap();
/// #         if let Some(Event::PeerHello { .. }) = event {
/// #             machine.accept_peer(now(clock)).unwrap();
/// #         }
/// #         input.drain(..used);
/// #     }
/// # }
/// #
/// # let clock = Instant::now();
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr()?;
/// # let client = std::thread::spawn(move || {
/// #     let seed = StreamParameters::new([1; 32]);
/// #     let mut machine = Connection::client(Config::default(), seed, now(clock));
/// #     let mut stream = TcpStream::connect(address).unwrap();
/// #     assert_eq!(pump(&mut machine, &mut stream, clock, &mut Vec::new()), Opening::New);
/// #     // Until the server has closed: it has all that was sent.
/// #     stream.shutdown(std::net::Shutdown::Write).unwrap();
/// #     while stream.read(&mut [0; 64]).unwrap() > 0 {}
/// #     machine.handle_disconnect(now(clock));
/// #     machine.attach(StreamParameters::new([3; 32]), now(clock)).unwrap();
/// #     let mut stream = TcpStream::connect(address).unwrap();
/// #     assert_eq!(pump(&mut machine, &mut stream, clock, &mut Vec::new()), Opening::Resumed);
/// #     // A stranger is told that it is one.
/// #     let mut stream = TcpStream::connect(address).unwrap();
/// #     stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
/// #     stream.read_to_end(&mut Vec::new()).map_or(0, |len| len)
/// # });
/// # let mut known = Known::new();
/// # let (mut stream, _) = listener.accept()?;
/// # let (mut server, mut unread) = admit(&mut stream, &mut known, [2; 32], clock)?;
/// # assert_eq!(pump(&mut server, &mut stream, clock, &mut unread), Opening::New);
/// # stream.set_read_timeout(None)?;
/// # stream.read_to_end(&mut unread)?;
/// # while !unread.is_empty() {
/// #     let (used, _) = server.handle_input(now(clock), &unread).map_err(io::Error::other)?;
/// #     unread.drain(..used);
/// # }
/// # while server.poll_event().is_some() {}
/// # drop(stream);
/// # server.handle_eof(now(clock));
/// # assert!(server.is_detached());
/// # while server.poll_event().is_some() {}
/// # known.insert(server.conversation(), server);
/// # let (mut stream, _) = listener.accept()?;
/// # let (mut server, mut unread) = admit(&mut stream, &mut known, [4; 32], clock)?;
/// # assert!(known.is_empty());
/// # assert_eq!(pump(&mut server, &mut stream, clock, &mut unread), Opening::Resumed);
/// # let (mut stranger, _) = listener.accept()?;
/// # let refused = admit(&mut stranger, &mut known, [5; 32], clock).unwrap_err();
/// # assert_eq!(refused.to_string(), "the peer does not speak this protocol");
/// # drop(stranger);
/// # client.join().unwrap();
/// # Ok::<(), io::Error>(())
/// ```
pub struct Acceptor {
    config: Config,
    nonce: [u8; 32],
    secret: [u8; 32],
    link: Link,
    error: Option<Error>,
    now: Time,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The conversation's name, made by the client.
    pub conversation: ConversationId,
    /// 0 for a new conversation, and more than in any earlier attempt to resume one.
    ///
    /// A server that has the conversation refuses 0 with [`CloseCode::STALE`].
    pub attach: u64,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("phase", &self.link.phase)
            .field("request", &self.request())
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Waits for a client's first bytes, at most for the configuration's handshake time-out.
    pub fn new(config: Config, stream: StreamParameters<'_>, now: Time) -> Self {
        Self {
            config,
            nonce: stream.nonce(),
            secret: stream.derive("duologue 1 secret"),
            link: Link::new(Side::Server, stream.channel_binding, now),
            error: None,
            now,
        }
    }

    /// What the client asks for, once its HELLO has come.
    pub fn request(&self) -> Option<Request> {
        let hello = self.link.peer()?;
        Some(Request { conversation: hello.conversation, attach: hello.attach })
    }

    /// Takes bytes that came, up to the end of the HELLO; what comes after it is for what the
    /// acceptor turns into.
    ///
    /// # Errors
    ///
    /// [`Error`], sticky. There may be last words to transmit.
    pub fn handle_input(
        &mut self,
        now: Time,
        input: &[u8],
    ) -> Result<(usize, Option<Request>), Error> {
        let now = self.advance(now);
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.link.phase != Phase::Hello || input.is_empty() {
            return Ok((0, None));
        }
        match self.link.read_handshake(input, now) {
            Ok((used, Some(Heard::Hello(_)))) => Ok((used, self.request())),
            Ok((_, Some(_))) => Err(self.fail(Error::Incomplete)),
            Ok((used, None)) => Ok((used, None)),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// The stream ended before the HELLO.
    pub fn handle_eof(&mut self) {
        if self.link.phase == Phase::Hello {
            self.fail(Error::Incomplete);
        }
    }

    /// Time has passed; a call too early does nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        let now = self.advance(now);
        if self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.fail(Error::HandshakeTimedOut);
        }
    }

    /// When the client has to have decided what it wants.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.link.handshake_deadline(self.config.handshake_timeout.get())
    }

    /// Last words, if it failed or refused.
    pub fn poll_transmit(&mut self) -> Transmit<'_> {
        Transmit::new(if self.link.phase == Phase::Closed {
            self.link.plan.slices()
        } else {
            Slices::none()
        })
    }

    /// The transport took `len` of these bytes.
    pub fn advance_transmit(&mut self, len: usize) {
        self.link.advance_handshake(len);
    }

    /// Why it failed.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Begins a new conversation with the client. If the client wanted to resume one, it learns
    /// that it begins anew.
    ///
    /// # Errors
    ///
    /// [`ActionError::NotOpen`] before the HELLO, or after an error.
    pub fn accept(mut self, now: Time) -> Result<Connection, ActionError> {
        let now = self.advance(now);
        let Some(request) = self.request().filter(|_| self.is_waiting()) else {
            return Err(ActionError::NotOpen);
        };
        let Self { config, nonce, secret, mut link, .. } = self;
        let mut connection = Connection::new(Side::Server, config, request.conversation, now);
        connection.secret = Some(secret);
        // A counter seen once cannot be used again.
        connection.attach = request.attach;
        let hello = connection.hello(nonce, 0);
        link.answer_hello(&hello, now)?;
        let handshake_hash = link.hash.unwrap_or_default();
        connection.link = Some(link);
        connection.events.push_back(Event::PeerHello { handshake_hash, is_resuming: false });
        Ok(connection)
    }

    /// Goes on with a conversation that the server has, which is not touched until the client has
    /// proved that it is the same one.
    ///
    /// # Errors
    ///
    /// The acceptor is given back, with last words planned, before the HELLO or after an error, for
    /// another conversation or one that was never open, for a counter that did not rise, and for
    /// other terms than at first.
    pub fn resume(mut self, connection: &Connection, now: Time) -> Result<Resuming, Box<Self>> {
        let now = self.advance(now);
        let error = match self.request() {
            Some(request) if self.is_waiting() => {
                connection.judge_resumption(request.conversation, request.attach, self.link.peer())
            }
            _ => Some(Error::Closed),
        };
        if let Some(error) = error {
            self.fail(error);
            return Err(Box::new(self));
        }
        let attach = self.request().map_or(0, |request| request.attach);
        let hello = connection.hello(self.nonce, attach);
        let secret = connection.secret.unwrap_or_default();
        if self.link.answer_hello(&hello, now).is_err() {
            return Err(Box::new(self));
        }
        self.link.is_resuming = true;
        let timeout = self.config.handshake_timeout.get();
        Ok(Resuming::new(self.link, secret, connection.conversation, attach, timeout, now))
    }

    /// Refuses the client, with a code and at most 255 bytes of text for its log.
    ///
    /// # Errors
    ///
    /// [`ActionError::Invalid`] for a longer text, [`NotOpen`](ActionError::NotOpen) before the
    /// client's HELLO, as nothing is said before it, [`Closed`](ActionError::Closed) after an
    /// error.
    pub fn refuse(&mut self, code: CloseCode, text: &str) -> Result<(), ActionError> {
        match self.link.phase {
            Phase::Closed => return Err(ActionError::Closed),
            Phase::Hello => return Err(ActionError::NotOpen),
            _ => {}
        }
        self.link.send_goodbye(code, text)?;
        self.link.abort();
        self.error = Some(Error::Closed);
        Ok(())
    }

    /// As [`Connection`]'s: a clock that goes back stands still.
    fn advance(&mut self, now: Time) -> Time {
        self.now = self.now.max(now);
        self.now
    }

    fn is_waiting(&self) -> bool {
        self.link.phase == Phase::Authenticating && self.error.is_none()
    }

    fn fail(&mut self, error: Error) -> Error {
        self.link.fail(error);
        self.error = Some(error);
        error
    }
}
