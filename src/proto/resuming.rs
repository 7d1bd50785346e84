use core::fmt;
use core::time::Duration;

use super::error::{ActionError, Error};
use super::event::Event;
use super::link::{Heard, Link, Phase};
use super::transmit::Transmit;
use crate::time::Time;
use crate::wire::{CloseCode, ConversationId, Hello, Kind};

/// A client that wants to resume a conversation, before it has proved that it may.
///
/// It has the inputs and outputs of a [`Connection`](super::Connection), and touches none: while
/// it lasts, the conversation keeps the stream that it has. Once it [is ready](Self::is_ready),
/// [`Connection::resume`](super::Connection::resume) takes it in.
pub struct Resuming {
    link: Link,
    secret: [u8; 32],
    conversation: ConversationId,
    attach: u64,
    timeout: Duration,
    is_accepted: bool,
    error: Option<Error>,
    now: Time,
}

impl fmt::Debug for Resuming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resuming")
            .field("conversation", &self.conversation)
            .field("attach", &self.attach)
            .field("phase", &self.link.phase)
            .field("is_ready", &self.is_ready())
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl Resuming {
    pub(super) fn new(
        link: Link,
        secret: [u8; 32],
        conversation: ConversationId,
        attach: u64,
        timeout: Duration,
        now: Time,
    ) -> Self {
        Self { link, secret, conversation, attach, timeout, is_accepted: false, error: None, now }
    }

    /// The conversation that the client wants to resume.
    pub fn conversation(&self) -> ConversationId {
        self.conversation
    }

    /// The client's attach counter.
    pub fn attach(&self) -> u64 {
        self.attach
    }

    /// BLAKE3 over both sides' HELLO and the channel binding, for authentication to sign.
    pub fn handshake_hash(&self) -> [u8; 32] {
        self.link.hash.unwrap_or_default()
    }

    /// Whether the client has proved the conversation's secret and the application has accepted it.
    pub fn is_ready(&self) -> bool {
        self.is_accepted && self.error.is_none() && self.link.resume().is_some()
    }

    /// Why it failed.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Takes bytes that came: authentication, the proof, or a goodbye. The proof is the last thing
    /// it takes.
    ///
    /// # Errors
    ///
    /// [`Error`], sticky. There may be last words to transmit.
    pub fn handle_input<'a>(
        &mut self,
        now: Time,
        input: &'a [u8],
    ) -> Result<(usize, Option<Event<'a>>), Error> {
        let now = self.advance(now);
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.link.phase != Phase::Authenticating || input.is_empty() {
            return Ok((0, None));
        }
        self.link.last_input = now;
        let (used, heard) = match self.link.read_handshake(input, now) {
            Ok(heard) => heard,
            Err(error) => return Err(self.fail(error)),
        };
        match heard {
            Some(Heard::Authentication(bytes)) => Ok((used, Some(Event::Authentication(bytes)))),
            Some(Heard::Resume) if !self.link.is_proved(&self.secret) => {
                let rule = "the secret is not proved";
                Err(self.fail(Error::violation(CloseCode::PROOF, Kind::RESUME, rule)))
            }
            Some(Heard::Goodbye(goodbye)) => {
                self.link.abort();
                self.error = Some(Error::Closed);
                Ok((used, Some(Event::Goodbye { code: goodbye.code, text: goodbye.text })))
            }
            Some(Heard::Resume | Heard::Hello(_)) | None => Ok((used, None)),
        }
    }

    /// The stream ended.
    pub fn handle_eof(&mut self) {
        if self.error.is_none() {
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

    /// When the handshake has to be over.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.link.handshake_deadline(self.timeout)
    }

    /// The bytes to send next.
    pub fn poll_transmit(&mut self) -> Transmit<'_> {
        Transmit::new(self.link.plan.slices())
    }

    /// The transport took `len` of these bytes.
    pub fn advance_transmit(&mut self, len: usize) {
        self.link.advance_handshake(len);
    }

    /// Sends opaque bytes to the client's application: 0 to 16384, at most three times.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::authenticate`](super::Connection::authenticate).
    pub fn authenticate(&mut self, bytes: &[u8]) -> Result<(), ActionError> {
        self.link.authenticate(bytes)
    }

    /// The application accepts the client: it showed the identity that was accepted at first.
    pub fn accept_peer(&mut self) {
        self.is_accepted = true;
    }

    /// The application does not accept the client: says why, in at most 255 bytes.
    ///
    /// # Errors
    ///
    /// [`ActionError::Invalid`] for a longer text, [`Closed`](ActionError::Closed) after an error.
    pub fn refuse(&mut self, code: CloseCode, text: &str) -> Result<(), ActionError> {
        if self.link.phase == Phase::Closed {
            return Err(ActionError::Closed);
        }
        self.link.send_goodbye(code, text)?;
        self.link.abort();
        self.error = Some(Error::Closed);
        Ok(())
    }

    /// The client's HELLO.
    pub(super) fn hello(&self) -> Option<&Hello> {
        self.link.peer()
    }

    /// Whether the client proves this secret, whatever it proved before.
    pub(super) fn is_proved(&self, secret: &[u8; 32]) -> bool {
        self.link.is_proved(secret)
    }

    pub(super) fn fail(&mut self, error: Error) -> Error {
        self.link.fail(error);
        self.error = Some(error);
        error
    }

    /// As [`Connection`](super::Connection)'s: a clock that goes back stands still.
    fn advance(&mut self, now: Time) -> Time {
        self.now = self.now.max(now);
        self.now
    }

    /// The latest time that it was told.
    pub(super) fn now(&self) -> Time {
        self.now
    }

    pub(super) fn into_link(self) -> Link {
        self.link
    }
}
