//! The machine under attack, its application, and what has to hold of it.

use std::collections::{BTreeMap, VecDeque};

use duologue::proto::{
    Acceptance, Acceptor, Conclusion, Config, Connection, Error, Event, ItemId, Resuming,
    StreamParameters,
};
use duologue::time::Time;
use duologue::wire::{
    Batch, Chat, CloseCode, ConversationId, Frame, HEADER_LEN, Limits, Message, Offer, PREFACE,
    Side, Signal, TransferCode, TransferId,
};

use super::super::machine::{Input, Sent, after};
use super::outputs::{bytes_of, collect, told};

/// Payload bytes of a HELLO: seven fields of 3 bytes and 2 + 1 + 32 + 16 + 8 + 1 + 32 of value.
const HELLO: usize = 7 * 3 + 92;
/// Longest GOODBYE of the machine's own making: a code and 255 bytes of text.
const GOODBYE: usize = 2 + 255;
/// What leaves before our application accepts, its own AUTH apart.
const BEFORE_ACCEPTANCE: usize = PREFACE.len() + 2 * HEADER_LEN + HELLO + GOODBYE;
/// What is planned at most: 256 KiB, and one frame of any kind more.
const PLANNED: usize = 256 * 1024 + 65_536 + HEADER_LEN;

#[derive(Debug)]
enum Machine {
    Acceptor(Acceptor),
    Connection,
    /// A stream that wants to resume the conversation, which is kept beside it.
    Resuming(Resuming),
    Gone,
}

#[derive(Debug)]
pub struct Victim {
    side: Side,
    config: Config,
    machine: Machine,
    connection: Option<Connection>,
    now: Time,
    seeds: u8,
    habits: u8,
    sent: Sent,
    limits: Limits,
    secret: Option<[u8; 32]>,
    attaches: u64,
    /// Numbers after the last items begun, as they were sent.
    begun: [u64; 2],
    own_authentication: usize,
    has_accepted: bool,
    has_opened: bool,
    is_closed: bool,
    error: Option<Error>,
    untaken: VecDeque<(ItemId, usize)>,
    unreleased: BTreeMap<TransferId, usize>,
    offered: u32,
}

impl Victim {
    pub fn new(side: Side, config: Config, limits: Limits, habits: u8) -> Self {
        let now = Time::from_micros(1);
        let mut victim = Self {
            side,
            machine: Machine::Gone,
            connection: None,
            now,
            seeds: 0,
            habits,
            sent: Sent::new(limits),
            limits,
            secret: None,
            attaches: 0,
            begun: [0, 0],
            own_authentication: 0,
            has_accepted: false,
            has_opened: false,
            is_closed: false,
            error: None,
            untaken: VecDeque::new(),
            unreleased: BTreeMap::new(),
            offered: 0,
            config,
        };
        let parameters = victim.seed();
        if side == Side::Client {
            let config = victim.config.clone();
            victim.connection = Some(Connection::client(config, parameters, now));
            victim.machine = Machine::Connection;
        } else {
            victim.machine =
                Machine::Acceptor(Acceptor::new(victim.config.clone(), parameters, now));
        }
        victim
    }

    fn seed(&mut self) -> StreamParameters<'static> {
        self.seeds = self.seeds.wrapping_add(1);
        StreamParameters::new([self.seeds; 32])
    }

    pub fn is_open(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_open)
    }

    pub fn conversation(&self) -> Option<ConversationId> {
        self.connection.as_ref().map(Connection::conversation)
    }

    /// What the client said last.
    pub fn attach_counter(&self) -> Option<u64> {
        (self.side == Side::Client).then_some(self.attaches)
    }

    pub fn begun(&self) -> [u64; 2] {
        self.begun
    }

    /// The proof that the peer would give on a stream that resumes.
    pub fn proof_of(&self, side: Side) -> Option<[u8; 32]> {
        let hash = match &self.machine {
            Machine::Resuming(resuming) => Some(resuming.handshake_hash()),
            Machine::Connection if self.attaches > 0 => {
                self.connection.as_ref().and_then(Connection::handshake_hash)
            }
            _ => None,
        };
        let mut hasher = blake3::Hasher::new_keyed(&self.secret?);
        hasher.update(&[side.to_u8()]).update(&hash?);
        Some(*hasher.finalize().as_bytes())
    }

    /// Hands input to whatever reads the stream.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (used, event) = match &mut self.machine {
                Machine::Gone => return,
                // What follows the HELLO is not for the acceptor.
                Machine::Acceptor(acceptor)
                    if acceptor.request().is_some() && acceptor.error().is_none() =>
                {
                    return;
                }
                Machine::Acceptor(acceptor) => match acceptor.handle_input(self.now, bytes) {
                    Ok((used, request)) => {
                        if request.is_some() {
                            bytes = &bytes[used..];
                            self.choose();
                            continue;
                        }
                        (used, None)
                    }
                    Err(error) => {
                        assert_eq!(acceptor.handle_input(self.now, bytes), Err(error));
                        assert_eq!(acceptor.error(), Some(&error));
                        return;
                    }
                },
                Machine::Resuming(resuming) => match resuming.handle_input(self.now, bytes) {
                    Ok((used, event)) => {
                        if resuming.is_ready() {
                            bytes = &bytes[used..];
                            self.resume();
                            continue;
                        }
                        // Its proof came before the application accepted: here it is at once.
                        if used == 0 {
                            return;
                        }
                        (used, event)
                    }
                    Err(error) => {
                        assert_eq!(resuming.handle_input(self.now, bytes), Err(error));
                        return;
                    }
                },
                Machine::Connection => {
                    let connection = self.connection.as_mut().expect("it is there");
                    if self.habits & 0x40 != 0 {
                        // As the driver does: the short ways first.
                        let mut heard = Vec::new();
                        let mut used = connection.handle_acknowledgement(self.now, bytes);
                        if used == 0 {
                            used = connection.handle_chats(self.now, bytes, |item, text| {
                                heard.push(Event::Chat { item, chat: Chat::new(text) });
                            });
                        }
                        if used == 0 {
                            used =
                                connection.handle_bulk(self.now, bytes, |transfer, offset, at| {
                                    let data = bytes[at].into();
                                    heard.push(Event::Data { transfer, offset, data });
                                });
                        }
                        if used > 0 {
                            bytes = &bytes[used..];
                            heard.into_iter().for_each(|event| self.on_event(event));
                            self.poll();
                            continue;
                        }
                    }
                    match connection.handle_input(self.now, bytes) {
                        Ok(taken) => taken,
                        Err(error) => {
                            let again = connection.handle_input(self.now, b"more");
                            assert_eq!(again, Err(error), "an error is sticky");
                            told(&error);
                            self.error.get_or_insert(error);
                            self.poll();
                            return;
                        }
                    }
                }
            };
            assert!(used > 0 && used <= bytes.len(), "input is consumed");
            bytes = &bytes[used..];
            if let Some(event) = event {
                self.on_event(event);
            }
            self.poll();
        }
    }

    /// The acceptor knows what the client wants.
    fn choose(&mut self) {
        let Machine::Acceptor(acceptor) = std::mem::replace(&mut self.machine, Machine::Gone)
        else {
            return;
        };
        let request = acceptor.request().expect("it came");
        match &self.connection {
            Some(connection) if !connection.is_closed() && request.attach > 0 => {
                match acceptor.resume(connection, self.now) {
                    Ok(mut resuming) => {
                        if self.habits & 0xE4 == 0xE4 {
                            assert_eq!(resuming.refuse(CloseCode::REFUSED, "no"), Ok(()));
                        } else {
                            resuming.accept_peer();
                        }
                        assert!(!format!("{resuming:?}").is_empty());
                        self.machine = Machine::Resuming(resuming);
                    }
                    Err(acceptor) => self.machine = Machine::Acceptor(*acceptor),
                }
            }
            Some(_) => self.machine = Machine::Acceptor(acceptor),
            None => {
                self.connection = Some(acceptor.accept(self.now).expect("its HELLO came"));
                self.machine = Machine::Connection;
                self.poll();
            }
        }
    }

    fn resume(&mut self) {
        let Machine::Resuming(resuming) = std::mem::replace(&mut self.machine, Machine::Gone)
        else {
            return;
        };
        let connection = self.connection.as_mut().expect("it is resumed");
        match connection.resume(resuming, self.now) {
            Ok(()) => self.machine = Machine::Connection,
            Err(resuming) => self.machine = Machine::Resuming(*resuming),
        }
        self.poll();
    }

    /// The application wants another stream, or a client comes over one.
    pub fn attach(&mut self) {
        let parameters = self.seed();
        if self.side == Side::Server {
            self.sent = Sent::new(self.limits);
            let config = self.config.clone();
            self.machine = Machine::Acceptor(Acceptor::new(config, parameters, self.now));
        } else if let Some(connection) = &mut self.connection {
            let was_open = connection.is_open();
            let attached = connection.attach(parameters, self.now);
            assert_eq!(attached.is_ok(), was_open);
            if attached.is_ok() {
                self.attaches += 1;
                self.sent = Sent::new(self.limits);
                self.machine = Machine::Connection;
            }
        }
        self.poll();
    }

    fn poll(&mut self) {
        while let Some(event) = self.connection.as_mut().and_then(Connection::poll_event) {
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event<'_>) {
        assert!(!self.is_closed, "{event:?} after the last event");
        let shown = if self.habits & 8 != 0 { format!("{event:?}") } else { String::new() };
        assert!(shown.is_ascii() && shown.len() < 1200, "{shown}");
        let size = match &event {
            Event::Chat { chat, .. } => chat.text.len(),
            Event::Message { message, .. } => message.body.len(),
            _ => 0,
        };
        if let Some(item) = event.item() {
            self.untaken.push_back((item, size));
        }
        match event {
            Event::PeerHello { .. } => {
                if self.habits & 1 != 0 {
                    self.authenticate(usize::from(self.habits));
                }
                if self.habits & 2 == 0 {
                    self.accept_peer();
                }
                return;
            }
            Event::Authentication(_) | Event::Goodbye { .. } | Event::Detached(_) => return,
            Event::Open(_) => {
                assert!(self.has_accepted, "open although nobody accepted");
                self.has_opened = true;
            }
            Event::Closed(_) => {
                self.is_closed = true;
                return;
            }
            Event::Data { transfer, data, .. } => {
                *self.unreleased.entry(transfer).or_default() += data.len();
                if self.habits & 4 != 0 {
                    self.release(usize::MAX);
                }
            }
            Event::Offered { transfer, .. } | Event::BatchOffered { transfer, .. } => {
                self.decide(transfer);
            }
            Event::CancelAsked { transfer, .. } if self.habits & 8 != 0 => {
                self.conclude(transfer, false);
            }
            Event::Finished { transfer, .. } => {
                self.conclude(transfer, true);
            }
            Event::Accepted { transfer, .. } => {
                self.send_data(transfer);
            }
            _ => {}
        }
        assert!(self.has_opened, "an event before it was open");
        if self.habits & 0x10 != 0 {
            self.take(usize::MAX);
        }
    }

    pub fn accept_peer(&mut self) {
        if let Some(connection) = &mut self.connection {
            self.has_accepted |= connection.accept_peer(self.now).is_ok();
        }
    }

    fn authenticate(&mut self, len: usize) {
        if let Some(connection) = &mut self.connection {
            if connection.authenticate(&vec![5; len]).is_ok() {
                self.own_authentication += HEADER_LEN + len;
            }
        }
    }

    fn decide(&mut self, transfer: TransferId) {
        let Some(connection) = &mut self.connection else { return };
        match self.habits >> 5 {
            0 => {}
            1 => {
                let _ = connection.reject(transfer, TransferCode::DECLINED, "no");
            }
            _ => {
                let _ = connection.accept(transfer, Acceptance::default(), self.now);
            }
        }
    }

    fn conclude(&mut self, transfer: TransferId, is_stored: bool) {
        let Some(connection) = &mut self.connection else { return };
        let conclusion = if is_stored {
            Conclusion::Stored { name: "name" }
        } else {
            Conclusion::Failed { code: TransferCode::NO_SPACE, text: "full" }
        };
        let _ = connection.conclude(transfer, &conclusion);
    }

    fn send_data(&mut self, transfer: TransferId) {
        let Some(connection) = &mut self.connection else { return };
        let len = connection.capacity(transfer).min(20_000);
        if let Err(duologue::proto::ActionError::WrongOffset { expected }) =
            connection.send_data(transfer, 0, vec![1; len].into())
        {
            let _ = connection.send_data(transfer, expected, vec![1; len].into());
        }
    }

    fn take(&mut self, most: usize) {
        let Some(connection) = &mut self.connection else { return };
        for _ in 0..most.min(self.untaken.len()) {
            let Some((item, _)) = self.untaken.pop_front() else { break };
            connection.take(self.now, item);
        }
    }

    fn release(&mut self, most: usize) {
        let Some(connection) = &mut self.connection else { return };
        for (transfer, len) in &mut self.unreleased {
            let released = most.min(*len);
            *len -= released;
            connection.release(*transfer, released, self.now);
        }
    }

    /// Takes at most `most` bytes of output.
    pub fn drain(&mut self, most: usize) {
        let mut bytes = Vec::new();
        match &mut self.machine {
            Machine::Acceptor(acceptor) => {
                collect(acceptor.poll_transmit(), most, &mut bytes);
                acceptor.advance_transmit(bytes.len());
            }
            Machine::Resuming(resuming) => {
                collect(resuming.poll_transmit(), most, &mut bytes);
                resuming.advance_transmit(bytes.len());
            }
            Machine::Connection => {
                let connection = self.connection.as_mut().expect("it is there");
                collect(connection.poll_transmit(self.now), most, &mut bytes);
                connection.advance_transmit(bytes.len());
            }
            Machine::Gone => {}
        }
        let (secret, begun) = (&mut self.secret, &mut self.begun);
        let side = self.side;
        self.sent.read(&bytes, |header, frame| {
            if let Frame::Resume(resume) = frame {
                *secret = resume.secret.or(*secret);
                if side == Side::Client && resume.proof.is_none() {
                    *secret = Some([7; 32]);
                }
            }
            if let Some(lane) = header.kind.lane() {
                begun[usize::from(lane)] += 1;
            }
        });
        if !self.has_accepted {
            let most = BEFORE_ACCEPTANCE + self.own_authentication;
            assert!(self.sent.bytes as usize <= most, "{} bytes", self.sent.bytes);
        }
    }

    pub fn wait(&mut self, micros: u64) {
        self.now = after(self.now, micros);
        let now = self.now;
        let is_later = |at: Option<Time>| at.is_none_or(|at| at > now || at == Time::MAX);
        match &mut self.machine {
            Machine::Acceptor(acceptor) => {
                acceptor.handle_timeout(now);
                assert!(is_later(acceptor.poll_timeout()));
            }
            Machine::Resuming(resuming) => {
                resuming.handle_timeout(now);
                assert!(is_later(resuming.poll_timeout()));
            }
            _ => {}
        }
        if let Some(connection) = &mut self.connection {
            connection.handle_timeout(now);
            assert!(is_later(connection.poll_timeout()), "a deadline that was not handled");
            connection.handle_timeout(now);
        }
        self.poll();
    }

    pub fn wait_for_deadline(&mut self) {
        let deadline = self.connection.as_ref().and_then(Connection::poll_timeout);
        let Some(deadline) = deadline else { return };
        self.wait(deadline.as_micros().saturating_sub(self.now.as_micros()));
    }

    /// The stream ends in one way or another.
    pub fn end(&mut self, how: u8) {
        match (&mut self.machine, &mut self.connection) {
            (Machine::Acceptor(acceptor), _) => acceptor.handle_eof(),
            (Machine::Resuming(resuming), _) => resuming.handle_eof(),
            (_, Some(connection)) if how & 1 == 0 => connection.handle_eof(self.now),
            (_, Some(connection)) => connection.handle_disconnect(self.now),
            (_, None) => {}
        }
        self.poll();
    }

    /// Calls that are not needed do nothing.
    pub fn spurious(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        connection.handle_timeout(self.now);
        while connection.poll_event().is_some_and(|event| {
            self.is_closed |= matches!(event, Event::Closed(_));
            self.has_opened |= matches!(event, Event::Open(_));
            true
        }) {}
        let first = bytes_of(connection.poll_transmit(self.now));
        let received = connection.statistics().received;
        assert!(received.total().frames >= received.data.frames);
        assert!(!format!("{connection:?}").is_empty());
        let state = |connection: &Connection| {
            let flags = [connection.is_open(), connection.is_detached(), connection.is_closed()];
            (flags, connection.poll_timeout(), connection.statistics(), connection.memory_usage())
        };
        let before = state(connection);
        connection.handle_timeout(self.now);
        assert_eq!(connection.poll_event(), None);
        assert_eq!(connection.handle_input(self.now, &[]), Ok((0, None)));
        connection.advance_transmit(0);
        assert_eq!(bytes_of(connection.poll_transmit(self.now)), first);
        assert_eq!(connection.poll_event(), None);
        assert_eq!(state(connection), before);
    }

    pub fn check(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let items: usize = self.untaken.iter().map(|(_, size)| size).sum();
        let data: usize = self.unreleased.values().sum();
        let most = self.config.worst_case_memory();
        let held = connection.memory_usage() + items + data;
        assert!(held <= most, "{held} bytes, more than {most}");
        let planned = connection.poll_transmit(self.now).len();
        assert!(planned <= PLANNED, "{planned} bytes at once");
        if let Some(error) = connection.error() {
            assert!(connection.is_closed(), "{error}");
        }
        if connection.is_closed() {
            // It is handed out no more, so nobody waits for it.
            self.untaken.clear();
            self.unreleased.clear();
        }
    }

    /// Something of the application's own.
    pub fn act(&mut self, choice: u8, input: &mut Input<'_>) {
        let now = self.now;
        let number = u32::from(input.byte() & 7) + 1;
        let side = if choice & 0x80 == 0 { self.side } else { self.side.opposite() };
        let transfer = TransferId::new(side, number).expect("it is small");
        let Some(connection) = &mut self.connection else { return };
        match choice & 0x1F {
            20 => {
                // None that has to be cut: what is cut is another target's.
                let _ = connection.send_chat(&Chat::new("x".repeat(number as usize * 50)));
                let body = vec![1; number as usize * 40].into();
                let (message_type, is_reply, correlation) = (1, false, 1);
                let _ =
                    connection.send_message(&Message { message_type, is_reply, correlation, body });
            }
            21 => {
                self.offered += 1;
                let mut offer = Offer::new("mine");
                offer.is_seekable = number & 1 != 0;
                offer.size = (number & 2 != 0).then_some(30_000);
                let _ = connection.offer(&offer, now);
            }
            22 => {
                let batch =
                    Batch { name: "b".into(), count: 3, bytes: 9, metadata: Default::default() };
                let _ = connection.offer_batch(&batch, now);
            }
            23 => self.send_data(transfer),
            24 => {
                let _ = connection.finish(transfer, None);
            }
            25 => {
                let _ = connection.cancel(transfer, TransferCode::CANCELLED, "");
            }
            26 => {
                let _ = connection.pause(transfer, choice & 0x40 != 0);
            }
            27 => self.conclude(transfer, choice & 0x40 != 0),
            28 => match choice & 0x60 {
                0 => drop(connection.restart(transfer)),
                0x20 => drop(connection.confirm_prefix(transfer)),
                0x40 => connection.set_durable(transfer, number.into(), now),
                _ => drop(connection.close(CloseCode::DONE, "", now)),
            },
            29 => self.take(number as usize),
            30 => self.release(input.number() as usize),
            31 if choice & 0xE0 == 0xE0 => {
                let _ = connection.refuse_peer(CloseCode::REFUSED, "no", now);
            }
            _ => {
                let signal = Signal { signal_type: 1, payload: b"s"[..].into() };
                let _ = connection.send_signal(&signal);
                self.accept_peer();
            }
        }
        self.poll();
    }
}
