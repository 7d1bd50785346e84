//! A conversation between two streams.

use alloc::boxed::Box;
use core::time::Duration;

use super::connection::{Connection, StreamParameters, Terms};
use super::error::{ActionError, Error};
use super::event::{CloseReason, DetachReason, Event};
use super::link::Phase;
use super::receive_lane::ReceiveLane;
use super::resuming::Resuming;
use crate::time::Time;
use crate::wire::{CloseCode, ConversationId, Hello, Kind, Side};

/// Attaches in a row that may bring nothing on before each has to wait.
const IDLE_ATTACHES: u32 = 8;
/// How long they have to.
const IDLE_PAUSE: Duration = Duration::from_secs(10);

impl Connection {
    /// The stream broke, or is given up: the conversation is detached.
    ///
    /// What was not acknowledged is kept and sent again on the next stream. A conversation that was
    /// not open yet has failed; one that was closing has ended.
    pub fn handle_disconnect(&mut self, now: Time) {
        let now = self.advance(now);
        match self.phase() {
            Some(Phase::Open) => self.detach(now, DetachReason::Transport),
            _ => self.handle_eof(now),
        }
    }

    pub(super) fn detach(&mut self, now: Time, reason: DetachReason) {
        self.link = None;
        if let Some(closing) = &self.closing {
            let code = closing.code;
            self.conclude_conversation(CloseReason::Local { code, is_answered: false });
            return;
        }
        if !self.is_confirmed {
            // The client may not have the secret, so it could never come back.
            self.error = Some(Box::new(Error::Incomplete));
            self.conclude_conversation(CloseReason::Failed(Error::Incomplete));
            return;
        }
        self.receive.iter_mut().for_each(ReceiveLane::detach);
        self.outgoing.values_mut().for_each(super::outgoing::Outgoing::detach);
        self.incoming.values_mut().for_each(super::incoming::Incoming::detach);
        self.restarts.clear();
        self.ring.clear();
        self.credits.clear();
        self.late_credits.clear();
        self.out_of_budget.clear();
        self.signals.clear();
        self.planned_signals = 0;
        self.credit_due = None;
        self.late_allowance = 0;
        self.late_frames = 0;
        self.late_offers = 0;
        self.detached_since = Some(now);
        self.events.push_back(Event::Detached(reason));
    }

    /// Goes on over another stream, as the client: the first bytes to send are ready at once. A
    /// stream that the conversation still has is given up.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::proto::{Acceptor, Config, Event, Opening, StreamParameters, Transmit};
    /// use duologue::wire::Chat;
    /// # use duologue::proto::Connection;
    /// # use duologue::time::Time;
    /// # mod machines { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/machines.rs")); }
    /// # use machines::{carry, open};
    /// # fn receive(to: &mut Connection, mut input: &[u8], now: Time) -> Vec<Event<'static>> {
    /// #     let mut events = Vec::new();
    /// #     while let Ok((used @ 1.., event)) = to.handle_input(now, input) {
    /// #         input = &input[used..];
    /// #         events.extend(event.map(Event::into_owned));
    /// #         events.extend(std::iter::from_fn(|| to.poll_event()));
    /// #     }
    /// #     events
    /// # }
    /// # let now = Time::ZERO;
    /// let (mut client, mut server) = open(now)?;
    ///
    /// fn bytes(transmit: Transmit<'_>) -> Vec<u8> {
    ///     transmit.into_iter().flatten().copied().collect()
    /// }
    ///
    /// // A line is on its way when the stream breaks. Both notice.
    /// client.send_chat(&Chat::new("Are you still there?"))?;
    /// let lost = bytes(client.poll_transmit(now)).len();
    /// client.advance_transmit(lost);
    /// client.handle_disconnect(now);
    /// server.handle_eof(now);
    /// assert!(client.is_detached() && server.is_detached());
    /// # while client.poll_event().is_some() || server.poll_event().is_some() {}
    ///
    /// // The client has another stream, with a seed of its own.
    /// client.attach(StreamParameters::new([3; 32]), now)?;
    /// let hello = bytes(client.poll_transmit(now));
    /// client.advance_transmit(hello.len());
    ///
    /// // The server finds the conversation among those that it has; another one it would `accept`.
    /// let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([4; 32]), now);
    /// let (_, request) = acceptor.handle_input(now, &hello)?;
    /// assert_eq!(request.map(|request| request.conversation), Some(server.conversation()));
    /// let mut resuming = acceptor.resume(&server, now).map_err(|_| "refused")?;
    /// let hello = bytes(resuming.poll_transmit());
    /// resuming.advance_transmit(hello.len());
    ///
    /// // The client accepts the server again, and proves that it is the one that was here. (`receive`
    /// // hands all of its bytes to a machine, as `carry` does.)
    /// receive(&mut client, &hello, now);
    /// client.accept_peer(now)?;
    /// let proof = bytes(client.poll_transmit(now));
    /// client.advance_transmit(proof.len());
    /// resuming.handle_input(now, &proof)?; // what it does not take is for the connection
    /// resuming.accept_peer();
    /// assert!(resuming.is_ready());
    /// server.resume(resuming, now).map_err(|_| "refused")?;
    ///
    /// assert!(carry(&mut server, &mut client, now).contains(&Event::Open(Opening::Resumed)));
    /// let events = carry(&mut client, &mut server, now);
    /// assert!(events.iter().any(|event| matches!(event, Event::Chat { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ActionError::NotOpen`] if the conversation was never open, and for a server, which is
    /// [resumed](Self::resume); [`Closed`](ActionError::Closed).
    pub fn attach(&mut self, stream: StreamParameters<'_>, now: Time) -> Result<(), ActionError> {
        let now = self.advance(now);
        self.check_open()?;
        if self.side == Side::Server {
            return Err(ActionError::NotOpen);
        }
        if self.phase() == Some(Phase::Open) {
            self.detach(now, DetachReason::Transport);
        }
        self.attach = self.attach.saturating_add(1);
        self.connect(stream, now);
        Ok(())
    }

    /// Goes on over the stream of a client that came back and proved that it is the same one, as
    /// the server. A stream that the conversation still has is superseded.
    ///
    /// # Errors
    ///
    /// The handshake is given back, with the last words for that stream planned and the reason as
    /// its [error](Resuming::error), if it is not [ready](Resuming::is_ready), of another
    /// conversation, no newer than a stream that the conversation had since, or proves another
    /// secret or has other terms, as it was made for another object of the same conversation; if
    /// the conversation is not open, or this is its client; or if the client came back eight times
    /// in a row without bringing anything on, and for the last time within ten seconds. Nothing has
    /// changed then.
    pub fn resume(&mut self, mut resuming: Resuming, now: Time) -> Result<(), Box<Resuming>> {
        let now = self.advance(now.max(resuming.now()));
        if let Err(error) = self.check_resuming(&resuming, now) {
            resuming.fail(error);
            return Err(Box::new(resuming));
        }
        // From here on a violation ends the conversation: the peer is who it claims to be.
        self.is_confirmed = true;
        if self.phase() == Some(Phase::Open) {
            self.detach(now, DetachReason::Superseded);
        }
        self.attach = resuming.attach();
        self.attached_at = now;
        self.link = Some(resuming.into_link());
        let resume = self.resume_frame();
        if let Some(link) = &mut self.link {
            link.is_resume_sent = true;
        }
        // The client's RESUME is judged before ours goes, so that a refusal reaches it in time.
        let opened = self.open_if_ready(now);
        let Some(link) = &mut self.link else { return Ok(()) };
        match opened {
            // As many transfers as HELLO allows fit into it.
            Ok(()) => drop(link.send_resume(&resume)),
            Err(error) => {
                link.fail(error);
                self.error = Some(Box::new(error));
                self.conclude_conversation(CloseReason::Failed(error));
            }
        }
        Ok(())
    }

    /// Why a client may not resume this conversation, by its HELLO.
    pub(super) fn judge_resumption(
        &self,
        conversation: ConversationId,
        attach: u64,
        hello: Option<&Hello>,
    ) -> Option<Error> {
        let violation = |code, rule| Some(Error::violation(code, Kind::HELLO, rule));
        if self.check_open().is_err() || self.side == Side::Client {
            return Some(Error::Closed);
        }
        if conversation != self.conversation {
            return violation(CloseCode::PROTOCOL, "another conversation");
        }
        if attach <= self.attach {
            return violation(CloseCode::STALE, "the attach counter did not rise");
        }
        let has_same_terms =
            self.peer.as_ref().zip(hello).is_some_and(|(first, later)| *first == Terms::of(later));
        if !has_same_terms {
            return violation(CloseCode::PROTOCOL, "other terms than at first");
        }
        None
    }

    /// Whether the stream since the last attach brought anything on, in either direction.
    fn has_moved(&self) -> bool {
        let [chat, control] = self.resumed_at;
        self.has_received
            || self.send.chat.first() > chat
            || self.send.control.first() > control
            || self.outgoing.values().any(|t| t.credit.received > t.resumed_at)
    }

    fn check_resuming(&self, resuming: &Resuming, now: Time) -> Result<(), Error> {
        if !resuming.is_ready() {
            return Err(Error::Closed);
        }
        // It may have been made long ago, or for another object under the same name.
        let (conversation, attach) = (resuming.conversation(), resuming.attach());
        if let Some(error) = self.judge_resumption(conversation, attach, resuming.hello()) {
            return Err(error);
        }
        if !self.secret.is_some_and(|secret| resuming.is_proved(&secret)) {
            let rule = "the secret is not proved";
            return Err(Error::violation(CloseCode::PROOF, Kind::RESUME, rule));
        }
        let violation = |code, rule| Err(Error::violation(code, Kind::HELLO, rule));
        let is_quick = now.saturating_duration_since(self.attached_at) < IDLE_PAUSE;
        if self.idle_attaches >= IDLE_ATTACHES && is_quick && !self.has_moved() {
            return violation(CloseCode::LIMIT, "too many attaches that brought nothing on");
        }
        Ok(())
    }
}
