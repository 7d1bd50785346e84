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
        let hello = self.link.handshake.peer.as_ref()?;
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
        self.link.handshake_deadline(self.config.handshake_timeout)
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
        let handshake_hash = link.handshake.hash.unwrap_or_default();
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
            Some(request) if self.is_waiting() => connection.judge_resumption(
                request.conversation,
                request.attach,
                self.link.handshake.peer.as_ref(),
            ),
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
        self.link.handshake.is_resuming = true;
        let timeout = self.config.handshake_timeout;
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
