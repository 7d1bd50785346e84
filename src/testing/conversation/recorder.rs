use core::fmt;
use core::ops::Deref;

use super::call::{Call, Done};
use crate::proto::{
    Acceptor, ActionError, Config, Connection, Error, Event, Resuming, StreamParameters,
};
use crate::time::Time;
use crate::wire::{Chat, HEADER_LEN, Header, Kind};

/// A [`Connection`] that writes down all it is told and all it says.
///
/// Everything that can change it goes through the methods here; the getters are the connection's.
#[derive(Debug)]
pub struct Recorder {
    connection: Connection,
    recording: Recording,
    is_recording: bool,
}

/// How a machine began, what it was told, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    config: Config,
    seed: [u8; 32],
    began: Time,
    /// The client's HELLO as it came, if this is a server.
    hello: Option<Vec<u8>>,
    steps: Vec<(Time, Step)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Input { bytes: Vec<u8>, result: Result<(usize, Option<Event<'static>>), Error> },
    Eof,
    Disconnect,
    Timeout,
    Call { call: Call, result: Result<Done, ActionError> },
    Resume { began: Time, seed: [u8; 32], input: Vec<u8>, is_taken: bool },
    Transmit { bytes: Vec<u8>, advanced: usize },
    Event(Option<Event<'static>>),
    NextTimeout(Option<Time>),
}

/// A recording did not play back the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The index of the step, from 0.
    pub step: usize,
    /// What was recorded, and what happened.
    pub what: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} differs: {}", self.step, self.what)
    }
}

impl core::error::Error for Divergence {}

impl Deref for Recorder {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Recorder {
    /// A client, as [`Connection::client`].
    pub fn client(config: Config, seed: [u8; 32], now: Time) -> Self {
        let connection = Connection::client(config.clone(), StreamParameters::new(seed), now);
        Self::new(connection, Recording { config, seed, began: now, hello: None, steps: vec![] })
    }

    /// A server that accepts the client whose preface and HELLO these are.
    ///
    /// # Errors
    ///
    /// Those of the [`Acceptor`].
    pub fn server(config: Config, seed: [u8; 32], hello: &[u8], now: Time) -> Result<Self, Error> {
        let recording =
            Recording { config, seed, began: now, hello: Some(hello.to_vec()), steps: vec![] };
        Ok(Self::new(recording.begin()?, recording))
    }

    fn new(connection: Connection, recording: Recording) -> Self {
        Self { connection, recording, is_recording: false }
    }

    /// Whether it writes down what happens from here on, from its beginning; by default not.
    pub fn set_recording(&mut self, is_recording: bool) {
        self.is_recording = is_recording;
    }

    /// What was written down so far.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    fn note(&mut self, now: Time, step: impl FnOnce() -> Step) {
        if self.is_recording {
            self.recording.steps.push((now, step()));
        }
    }

    /// [`Connection::handle_input`].
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn handle_input<'a>(
        &mut self,
        now: Time,
        input: &'a [u8],
    ) -> Result<(usize, Option<Event<'a>>), Error> {
        let result = self.connection.handle_input(now, input);
        self.note(now, || Step::Input { bytes: input.to_vec(), result: own(result.clone()) });
        result
    }

    /// [`Connection::handle_chats`], with the lines as events. It is recorded as so many calls of
    /// [`handle_input`](Self::handle_input): played back, both have to do the same.
    pub fn handle_chats<'a>(&mut self, now: Time, input: &'a [u8]) -> (usize, Vec<Event<'a>>) {
        let mut events = Vec::new();
        let used = self.connection.handle_chats(now, input, |item, text| {
            events.push(Event::Chat { item, chat: Chat::new(text) });
        });
        let mut rest = input.get(..used).unwrap_or_default();
        for event in &events {
            let Event::Chat { chat, .. } = event else { continue };
            let len = HEADER_LEN.saturating_add(2).saturating_add(chat.text.len());
            let (bytes, next) = rest.split_at_checked(len).unwrap_or_default();
            rest = next;
            self.note(now, || Step::Input {
                bytes: bytes.to_vec(),
                result: own(Ok((len, Some(event.clone())))),
            });
        }
        (used, events)
    }

    /// [`Connection::handle_bulk`], with the pieces as events, recorded in the same way.
    pub fn handle_bulk<'a>(&mut self, now: Time, input: &'a [u8]) -> (usize, Vec<Event<'a>>) {
        let (mut events, mut steps, mut end) = (Vec::new(), Vec::new(), 0);
        let used = self.connection.handle_bulk(now, input, |transfer, offset, place| {
            let bytes = input.get(end..place.end).unwrap_or_default();
            end = place.end;
            let data = input.get(place).unwrap_or_default().into();
            steps.push(bytes);
            events.push(Event::Data { transfer, offset, data });
        });
        for (bytes, event) in steps.into_iter().zip(&events) {
            self.note(now, || Step::Input {
                bytes: bytes.to_vec(),
                result: own(Ok((bytes.len(), Some(event.clone())))),
            });
        }
        (used, events)
    }

    /// [`Connection::handle_acknowledgement`], recorded in the same way.
    pub fn handle_acknowledgement(&mut self, now: Time, input: &[u8]) -> usize {
        let used = self.connection.handle_acknowledgement(now, input);
        if used > 0 {
            let bytes = input.get(..used).unwrap_or_default();
            self.note(now, || Step::Input { bytes: bytes.to_vec(), result: Ok((used, None)) });
        }
        used
    }

    /// [`Connection::handle_eof`].
    pub fn handle_eof(&mut self, now: Time) {
        self.connection.handle_eof(now);
        self.note(now, || Step::Eof);
    }

    /// [`Connection::handle_disconnect`].
    pub fn handle_disconnect(&mut self, now: Time) {
        self.connection.handle_disconnect(now);
        self.note(now, || Step::Disconnect);
    }

    /// [`Connection::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Time) {
        self.connection.handle_timeout(now);
        self.note(now, || Step::Timeout);
    }

    /// An action of the application.
    ///
    /// # Errors
    ///
    /// Those of the action.
    pub fn call(&mut self, now: Time, call: Call) -> Result<Done, ActionError> {
        let result = call.apply(&mut self.connection, now);
        self.note(now, || Step::Call { call, result });
        result
    }

    /// A client came back over another stream: `input` is its preface and HELLO, and all it sent
    /// after our answer, up to its proof.
    ///
    /// Its acceptor began at `began`, with `seed`.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::resume`].
    pub fn resume(
        &mut self,
        now: Time,
        resuming: Resuming,
        began: Time,
        seed: [u8; 32],
        input: &[u8],
    ) -> Result<(), Box<Resuming>> {
        let result = self.connection.resume(resuming, now);
        let is_taken = result.is_ok();
        self.note(now, || Step::Resume { began, seed, input: input.to_vec(), is_taken });
        result
    }

    /// Offers the bytes that are next to `write`, which says how many of them it took.
    pub fn transmit(&mut self, now: Time, write: impl FnOnce(&[u8]) -> usize) -> usize {
        let bytes: Vec<u8> = gather(&mut self.connection, now);
        let advanced = if bytes.is_empty() { 0 } else { write(&bytes) };
        self.connection.advance_transmit(advanced);
        self.note(now, || Step::Transmit { bytes, advanced });
        advanced
    }

    /// [`Connection::poll_event`].
    pub fn poll_event(&mut self, now: Time) -> Option<Event<'static>> {
        let event = self.connection.poll_event();
        self.note(now, || Step::Event(event.clone()));
        event
    }

    /// [`Connection::poll_timeout`].
    pub fn next_timeout(&mut self, now: Time) -> Option<Time> {
        let timeout = self.connection.poll_timeout();
        self.note(now, || Step::NextTimeout(timeout));
        timeout
    }
}

impl Recording {
    /// Steps that were written down.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Bytes that came, in the order in which they came.
    pub fn input(&self) -> Vec<u8> {
        let mut all = self.hello.clone().unwrap_or_default();
        for (_, step) in &self.steps {
            if let Step::Input { bytes, result } = step {
                let used = result.as_ref().map_or(bytes.len(), |(used, _)| *used);
                all.extend_from_slice(bytes.get(..used).unwrap_or_default());
            }
        }
        all
    }

    /// The same with one bit changed of what the machine was told or said at this step; `None` if
    /// there is none to change that matters. It should not play back.
    #[must_use]
    pub fn tampered(&self, step: usize) -> Option<Self> {
        let mut other = self.clone();
        let (_, step) = other.steps.get_mut(step)?;
        let flip = |bytes: &mut Vec<u8>| bytes.last_mut().map(|byte| *byte ^= 1);
        match step {
            // A byte more or less of a frame in part, in an ACK, changes nothing.
            Step::Input { bytes, .. } if ends_with_ack(bytes) => return None,
            Step::Input { bytes, result: Ok((used, _)) } if *used == bytes.len() => flip(bytes)?,
            Step::Transmit { bytes, .. } => flip(bytes)?,
            Step::NextTimeout(Some(at)) => {
                *at = at.saturating_add(core::time::Duration::from_micros(1))
            }
            Step::Event(event @ Some(_)) => *event = None,
            _ => return None,
        }
        Some(other)
    }

    /// The same with another configuration of the machine.
    #[must_use]
    pub fn with_config(&self, config: Config) -> Self {
        Self { config, ..self.clone() }
    }

    fn begin(&self) -> Result<Connection, Error> {
        let stream = StreamParameters::new(self.seed);
        let Some(hello) = &self.hello else {
            return Ok(Connection::client(self.config.clone(), stream, self.began));
        };
        let mut acceptor = Acceptor::new(self.config.clone(), stream, self.began);
        acceptor.handle_input(self.began, hello)?;
        acceptor.accept(self.began).map_err(|_| Error::Incomplete)
    }

    /// Plays it to a new machine, which has to say the same at every step.
    ///
    /// # Errors
    ///
    /// The first [`Divergence`].
    pub fn replay(&self) -> Result<(), Divergence> {
        let differs = |step, what: String| Err(Divergence { step, what });
        let mut connection = match self.begin() {
            Ok(connection) => connection,
            Err(error) => return differs(0, error.to_string()),
        };
        for (index, (now, step)) in self.steps.iter().enumerate() {
            let again = self.play(&mut connection, *now, step);
            if again != *step {
                return differs(index, format!("recorded {step:?}, now {again:?}"));
            }
        }
        Ok(())
    }

    fn play(&self, connection: &mut Connection, now: Time, step: &Step) -> Step {
        match step {
            Step::Input { bytes, .. } => {
                let result = own(connection.handle_input(now, bytes));
                Step::Input { bytes: bytes.clone(), result }
            }
            Step::Eof => {
                connection.handle_eof(now);
                Step::Eof
            }
            Step::Disconnect => {
                connection.handle_disconnect(now);
                Step::Disconnect
            }
            Step::Timeout => {
                connection.handle_timeout(now);
                Step::Timeout
            }
            Step::Call { call, .. } => {
                let result = call.apply(connection, now);
                Step::Call { call: call.clone(), result }
            }
            Step::Resume { began, seed, input, .. } => {
                let is_taken = resuming(&self.config, *seed, connection, input, *began, now)
                    .is_some_and(|resuming| connection.resume(resuming, now).is_ok());
                Step::Resume { began: *began, seed: *seed, input: input.clone(), is_taken }
            }
            Step::Transmit { advanced, .. } => {
                let bytes = gather(connection, now);
                connection.advance_transmit(*advanced);
                Step::Transmit { bytes, advanced: *advanced }
            }
            Step::Event(_) => Step::Event(connection.poll_event()),
            Step::NextTimeout(_) => Step::NextTimeout(connection.poll_timeout()),
        }
    }
}

/// The handshake of a client that came back, played again; its answers have left already.
fn resuming(
    config: &Config,
    seed: [u8; 32],
    connection: &Connection,
    input: &[u8],
    began: Time,
    now: Time,
) -> Option<Resuming> {
    let mut acceptor = Acceptor::new(config.clone(), StreamParameters::new(seed), began);
    let (used, _) = acceptor.handle_input(now, input).ok()?;
    let mut resuming = acceptor.resume(connection, now).ok()?;
    resuming.accept_peer();
    let len = resuming.poll_transmit().len();
    resuming.advance_transmit(len);
    resuming.handle_input(now, input.get(used..)?).ok()?;
    Some(resuming)
}

fn gather(connection: &mut Connection, now: Time) -> Vec<u8> {
    let transmit = connection.poll_transmit(now);
    let mut bytes = Vec::with_capacity(transmit.len());
    transmit.into_iter().for_each(|slice| bytes.extend_from_slice(slice));
    bytes
}

fn own(
    result: Result<(usize, Option<Event<'_>>), Error>,
) -> Result<(usize, Option<Event<'static>>), Error> {
    result.map(|(used, event)| (used, event.map(Event::into_owned)))
}

fn ends_with_ack(bytes: &[u8]) -> bool {
    let header = Header { length: 24, kind: Kind::ACK, id: 0 }.encode();
    let start = bytes.len().checked_sub(24 + HEADER_LEN);
    start.and_then(|start| bytes.get(start..)).is_some_and(|tail| tail.starts_with(&header))
}
