//! From the first byte of a stream to an open conversation, new or resumed.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::budget::Budget;
use super::connection::{Connection, StreamParameters, Terms};
use super::error::{ActionError, Error};
use super::event::{CloseReason, DetachReason, Event, Lane, Opening};
use super::link::{Heard, Link, Phase};
use crate::time::Time;
use crate::wire::{CloseCode, Held, Hello, Kind, Resume, Side};

impl Connection {
    /// Begins a stream as the client.
    pub(super) fn connect(&mut self, stream: StreamParameters<'_>, now: Time) {
        let mut link = Link::new(self.side, stream.channel_binding, now);
        let hello = self.hello(stream.nonce(), self.attach);
        // The configuration was checked, so its limits can be encoded.
        let _ = link.send_hello(&hello, now);
        self.link = Some(link);
    }

    pub(super) fn receive_handshake<'a>(
        &mut self,
        now: Time,
        input: &'a [u8],
    ) -> Result<(usize, Option<Event<'a>>), Error> {
        let Some(link) = &mut self.link else { return Err(Error::Closed) };
        let (used, heard) = link.read_handshake(input, now)?;
        let event = match heard {
            None => None,
            Some(Heard::Hello(hello)) => Some(self.handle_hello(&hello)?),
            Some(Heard::Authentication(bytes)) => Some(Event::Authentication(bytes)),
            Some(Heard::Resume) => {
                self.open_if_ready(now)?;
                None
            }
            Some(Heard::Goodbye(goodbye)) => {
                let code = goodbye.code;
                self.handle_early_goodbye(now, code);
                Some(Event::Goodbye { code, text: goodbye.text })
            }
        };
        Ok((used, event))
    }

    /// The server's HELLO: does it know the conversation?
    fn handle_hello<'a>(&mut self, hello: &Hello) -> Result<Event<'a>, Error> {
        let violation = |rule| Err(Error::violation(CloseCode::PROTOCOL, Kind::HELLO, rule));
        if hello.conversation != self.conversation {
            return violation("another conversation");
        }
        if hello.attach != 0 && hello.attach != self.attach {
            return violation("another attach counter");
        }
        let is_resuming = self.is_open && hello.attach != 0;
        if is_resuming && self.peer.as_ref().is_some_and(|first| *first != Terms::of(hello)) {
            return violation("other terms than at first");
        }
        let Some(link) = &mut self.link else { return Err(Error::Closed) };
        link.is_resuming = is_resuming;
        let handshake_hash = link.hash.unwrap_or_default();
        Ok(Event::PeerHello { handshake_hash, is_resuming })
    }

    /// Sends opaque bytes to the peer's application, for it to decide by: 0 to 16384, at most
    /// three times, between the peer's HELLO and [`accept_peer`](Self::accept_peer).
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::proto::{ActionError, Connection, Event};
    /// use duologue::time::Time;
    /// use duologue::wire::{CloseCode, Side};
    /// # mod machines { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/machines.rs")); }
    /// # use machines::{carry, meet};
    ///
    /// /// Both have the same key, and show it for this handshake; each side another way, so that none
    /// /// can send back what it got.
    /// fn proof(key: &[u8; 32], handshake_hash: &[u8; 32], side: Side) -> blake3::Hash {
    ///     let mut hasher = blake3::Hasher::new_keyed(key);
    ///     hasher.update(handshake_hash).update(if side == Side::Client { b"C" } else { b"S" });
    ///     hasher.finalize()
    /// }
    ///
    /// fn handle(
    ///     machine: &mut Connection,
    ///     event: Event<'_>,
    ///     key: &[u8; 32],
    ///     now: Time,
    /// ) -> Result<(), ActionError> {
    ///     let side = machine.side();
    ///     match event {
    ///         Event::PeerHello { handshake_hash, .. } => {
    ///             machine.authenticate(proof(key, &handshake_hash, side).as_bytes())
    ///         }
    ///         Event::Authentication(bytes) => {
    ///             let hash = machine.handshake_hash().unwrap_or_default();
    ///             // Hashes are compared in constant time.
    ///             let is_right = blake3::Hash::from_slice(&bytes)
    ///                 .is_ok_and(|theirs| theirs == proof(key, &hash, side.opposite()));
    ///             match is_right {
    ///                 true => machine.accept_peer(now),
    ///                 false => machine.refuse_peer(CloseCode::REFUSED, "another key", now),
    ///             }
    ///         }
    ///         _ => Ok(()),
    ///     }
    /// }
    ///
    /// let now = Time::ZERO;
    /// for (keys, is_right) in [([[7; 32], [7; 32]], true), ([[7; 32], [8; 32]], false)] {
    ///     let (mut client, mut server) = meet(now)?; // neither has accepted the other
    ///     for _ in 0..3 {
    ///         // Nothing fails but what comes after the other has refused.
    ///         for event in carry(&mut server, &mut client, now) {
    ///             let _ = handle(&mut client, event, &keys[0], now);
    ///         }
    ///         for event in carry(&mut client, &mut server, now) {
    ///             let _ = handle(&mut server, event, &keys[1], now);
    ///         }
    ///     }
    ///     assert_eq!((client.is_open(), server.is_open()), (is_right, is_right));
    ///     assert_eq!((client.is_closed(), server.is_closed()), (!is_right, !is_right));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ActionError::NotOpen`] outside that time, [`TooLarge`](ActionError::TooLarge), and
    /// [`PeerLimit`](ActionError::PeerLimit) for a fourth one.
    pub fn authenticate(&mut self, bytes: &[u8]) -> Result<(), ActionError> {
        let Some(link) = &mut self.link else { return Err(ActionError::NotOpen) };
        link.authenticate(bytes)
    }

    /// The application accepts the peer. With the peer's own acceptance the conversation is open.
    ///
    /// # Errors
    ///
    /// [`ActionError::NotOpen`] before the peer's HELLO, or without a stream;
    /// [`Closed`](ActionError::Closed). Accepting twice does nothing.
    pub fn accept_peer(&mut self, now: Time) -> Result<(), ActionError> {
        let now = self.advance(now);
        if self.is_closed {
            return Err(ActionError::Closed);
        }
        let Some(link) = &self.link else { return Err(ActionError::NotOpen) };
        match link.phase {
            Phase::Authenticating | Phase::Waiting => {}
            Phase::Open => return Ok(()),
            Phase::Hello | Phase::Closing | Phase::Closed => return Err(ActionError::NotOpen),
        }
        if !link.is_resume_sent {
            let resume = self.resume_frame();
            if let Some(link) = &mut self.link {
                link.send_resume(&resume)?;
            }
        }
        if let Err(error) = self.open_if_ready(now) {
            self.on_error(error, now);
        }
        Ok(())
    }

    /// Whether there is a stream that has not failed, whatever its handshake is at.
    #[cfg(feature = "std")]
    pub(crate) fn has_stream(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.phase != Phase::Closed)
    }

    /// Whether the peer of a handshake that goes on has said more than HELLO.
    #[cfg(feature = "std")]
    pub(crate) fn has_peer_spoken(&self) -> bool {
        self.link.as_ref().is_some_and(|link| {
            matches!(link.phase, Phase::Authenticating | Phase::Waiting) && link.has_peer_spoken()
        })
    }

    /// Whether what was decided on this handshake is about the peer of the present stream.
    #[cfg(feature = "std")]
    pub(crate) fn check_handshake(&self, handshake_hash: &[u8; 32]) -> Result<(), ActionError> {
        match self.handshake_hash() {
            Some(present) if present == *handshake_hash => Ok(()),
            _ => Err(ActionError::NotOpen),
        }
    }

    /// The application does not accept the peer: says why, in at most 255 bytes, and ends.
    ///
    /// # Errors
    ///
    /// Those of [`close`](Self::close).
    pub fn refuse_peer(
        &mut self,
        code: CloseCode,
        text: &str,
        now: Time,
    ) -> Result<(), ActionError> {
        self.close(code, text, now)
    }

    /// What this side says it has.
    pub(super) fn resume_frame(&self) -> Resume<'static> {
        let nothing =
            Resume { next: [0, 0], secret: None, proof: None, transfers: Cow::Borrowed(&[]) };
        let Some(link) = &self.link else { return nothing };
        if !link.is_resuming {
            let secret = self.secret.filter(|_| self.side == Side::Server);
            return Resume { secret, ..nothing };
        }
        let begun = self.send.control.begun();
        let transfers: Vec<Held> = self
            .incoming
            .iter()
            .filter(|(_, t)| t.is_accepted && !t.is_batch())
            .filter(|(_, t)| t.accept_item.is_none_or(|item| item < begun))
            .map(|(&transfer, t)| Held { transfer, received: t.received })
            .collect();
        Resume {
            next: [self.receive.chat.received(), self.receive.control.received()],
            secret: None,
            proof: self.secret.map(|secret| link.proof(&secret, self.side)),
            transfers: Cow::Owned(transfers),
        }
    }

    /// Opens the conversation once both sides have said what they have.
    pub(super) fn open_if_ready(&mut self, now: Time) -> Result<(), Error> {
        let Some(link) = &mut self.link else { return Ok(()) };
        if link.phase != Phase::Waiting || !link.is_resume_sent {
            return Ok(());
        }
        let Some((peer, resume)) = link.end_handshake() else { return Ok(()) };
        let violation = |code, rule| Err(Error::violation(code, Kind::RESUME, rule));
        if link.is_resuming {
            let is_proved = resume.proof.is_some_and(|given| {
                self.secret.is_some_and(|secret| link.is_proof(&secret, &given))
            });
            if !is_proved {
                return violation(CloseCode::PROOF, "the secret is not proved");
            }
            if resume.secret.is_some() {
                return violation(CloseCode::MALFORMED, "a secret while resuming");
            }
            self.resume_from(&resume, now)?;
            self.open_link(Opening::Resumed, now);
            return Ok(());
        }
        let is_new = resume.next == [0, 0] && resume.transfers.is_empty();
        if resume.proof.is_some() || !is_new {
            return violation(CloseCode::PROTOCOL, "resuming what is new");
        }
        if resume.secret.is_some() != (self.side == Side::Client) {
            return violation(CloseCode::MALFORMED, "the secret comes from the server");
        }
        let opening = if self.is_open { Opening::Fresh } else { Opening::New };
        self.forget();
        self.secret = self.secret.filter(|_| self.side == Side::Server).or(resume.secret);
        // What was spent was spent on what is forgotten: a server that lost it counts from the start.
        (self.budget, self.own_budget) = (Budget::new(0, now), Budget::new(0, now));
        if let Some(peer) = peer {
            self.set_peer(&peer);
        }
        self.open_link(opening, now);
        Ok(())
    }

    fn open_link(&mut self, opening: Opening, now: Time) {
        let Some(link) = &mut self.link else { return };
        link.phase = Phase::Open;
        // A small frame before any bulk measures the path while it is empty.
        link.ping.wanted = true;
        link.acknowledgement.owe(now);
        self.is_open = true;
        self.is_confirmed |= opening == Opening::Resumed || self.side == Side::Client;
        self.detached_since = None;
        self.statistics.streams = self.statistics.streams.saturating_add(1);
        let flowing: Vec<_> = self.incoming.keys().copied().collect();
        for transfer in flowing {
            self.force_credit(transfer);
        }
        // All of them are told now, also what waited since before the stream.
        self.credit_due = None;
        for transfer in self.late_credits.take().into_iter().flatten() {
            if let Some(t) = self.incoming.get_mut(&transfer) {
                t.is_credit_late = false;
            }
        }
        let ready: Vec<_> = self.outgoing.keys().copied().collect();
        for transfer in ready {
            if self.outgoing.get(&transfer).is_some_and(super::outgoing::Outgoing::wants_restart) {
                self.restarts.push_back(transfer);
            }
            self.queue_data(transfer);
            self.tell_writable(transfer);
        }
        self.watch_all();
        self.events.push_back(Event::Open(opening));
    }

    /// Goes back to what the peer has, after its whole RESUME was found right.
    fn resume_from(&mut self, resume: &Resume<'_>, now: Time) -> Result<(), Error> {
        let violation = |rule| Err(Error::violation(CloseCode::PROTOCOL, Kind::RESUME, rule));
        let [chat, control] = resume.next;
        if !self.send.chat.can_resume(chat) || !self.send.control.can_resume(control) {
            return violation("items that were not sent");
        }
        for held in resume.transfers.iter() {
            let is_ours =
                held.transfer.side() == self.side && held.transfer.number() < self.next_outgoing;
            match self.outgoing.get(&held.transfer) {
                Some(t) if t.can_resume(held.received) => {}
                None if self.can_resume_given_up(held) => {}
                _ if !is_ours => return violation("a transfer that was not offered"),
                _ => return violation("a transfer that has ended, or bytes that were not sent"),
            }
        }
        let [chat_before, control_before] = self.resumed_at;
        let has_moved = chat > chat_before
            || control > control_before
            || resume.transfers.iter().any(|held| {
                self.outgoing.get(&held.transfer).is_some_and(|t| held.received > t.resumed_at)
            })
            || self.has_received;
        self.idle_attaches = if has_moved { 0 } else { self.idle_attaches.saturating_add(1) };
        self.has_received = false;
        self.resumed_at = resume.next;
        self.send.chat.resume(chat);
        if let Some(lane) = self.send.made(Lane::Control) {
            lane.resume(control);
        }
        let mut rewound = Vec::new();
        for (&transfer, t) in &mut self.outgoing {
            let listed = resume
                .transfers
                .binary_search_by_key(&transfer, |held| held.transfer)
                .ok()
                .and_then(|index| resume.transfers.get(index));
            t.progressed = now;
            if t.resume(listed.map(|held| held.received), control) {
                rewound.push(transfer);
            }
        }
        for transfer in rewound {
            self.queue_news(transfer);
        }
        for t in self.incoming.values_mut() {
            t.progressed = now;
        }
        Ok(())
    }

    /// The stream failed or ended before the conversation was open on it.
    pub(super) fn fail_handshake(&mut self, error: Error, now: Time) {
        if let Some(link) = &mut self.link {
            link.fail(error);
        }
        if self.is_open {
            self.detached_since.get_or_insert(now);
            self.events.push_back(Event::Detached(DetachReason::AttachFailed(error)));
        } else {
            self.error = Some(Box::new(error));
            self.conclude_conversation(CloseReason::Failed(error));
        }
    }

    fn handle_early_goodbye(&mut self, now: Time, code: CloseCode) {
        let is_for_now = matches!(
            code,
            CloseCode::SHUTDOWN
                | CloseCode::LIMIT
                | CloseCode::TIMEOUT
                | CloseCode::INTERNAL
                | CloseCode::STALE
        );
        self.abort_link();
        if self.is_open && is_for_now {
            self.detached_since.get_or_insert(now);
            self.events.push_back(Event::Detached(DetachReason::Goodbye(code)));
        } else {
            self.conclude_conversation(CloseReason::Peer(code));
        }
    }

    /// A violation, or another failure of the input.
    pub(super) fn on_error(&mut self, error: Error, now: Time) -> Error {
        let is_handshake = self.link.as_ref().is_some_and(Link::is_in_handshake);
        if is_handshake {
            self.fail_handshake(error, now);
        } else if error != Error::Closed {
            match &mut self.link {
                // Our last words are said: nothing may follow them.
                Some(link) if link.phase == Phase::Closing => link.abort(),
                Some(link) => link.fail(error),
                None => {}
            }
            self.error = Some(Box::new(error));
            self.conclude_conversation(CloseReason::Failed(error));
        }
        error
    }
}
