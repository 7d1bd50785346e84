//! Two bare machines without a link between them: what one says the other hears at the same moment,
//! for tests that are about handshakes, deadlines and ends to the microsecond.

use core::time::Duration;

use duologue::proto::{Acceptor, Config, Connection, Error, Event, Resuming, StreamParameters};
use duologue::time::Time;
use duologue::wire::{Frame, Side};

/// Takes all that a machine has to say now.
pub(crate) fn said(machine: &mut Connection, now: Time) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let before = all.len();
        machine.poll_transmit(now).into_iter().for_each(|slice| all.extend_from_slice(slice));
        if all.len() == before {
            return all;
        }
        machine.advance_transmit(all.len() - before);
    }
}

/// Tells a machine all of it; returns every event, and takes what has to be taken if `takes`.
pub(crate) fn tell(
    machine: &mut Connection,
    now: Time,
    mut input: &[u8],
    takes: bool,
) -> Result<Vec<Event<'static>>, Error> {
    let mut events = Vec::new();
    while !input.is_empty() {
        let (used, event) = machine.handle_input(now, input)?;
        input = &input[used..];
        events.extend(event.map(Event::into_owned));
        events.extend(core::iter::from_fn(|| machine.poll_event()));
    }
    if takes {
        events.iter().filter_map(Event::item).for_each(|item| machine.take(now, item));
    }
    Ok(events)
}

/// Takes input, each time by a short cut first, which adds what it was told of and says how many bytes
/// it took.
pub(crate) fn read_with(
    machine: &mut Connection,
    now: Time,
    mut input: &[u8],
    mut short_cut: impl FnMut(&mut Connection, &[u8], &mut Vec<Event<'static>>) -> usize,
) -> Result<Vec<Event<'static>>, Error> {
    let mut events = Vec::new();
    while !input.is_empty() {
        let used = short_cut(machine, input, &mut events);
        input = &input[used..];
        let (used, event) = machine.handle_input(now, input)?;
        input = &input[used..];
        events.extend(event.map(Event::into_owned));
        events.extend(core::iter::from_fn(|| machine.poll_event()));
    }
    Ok(events)
}

/// The bytes of a frame.
pub(crate) fn frame(id: u32, frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(id, &mut bytes).unwrap();
    bytes
}

pub(crate) fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// A client and a server that are open, and what they told their applications.
#[derive(Debug)]
pub(crate) struct Duo {
    pub(crate) client: Connection,
    pub(crate) server: Connection,
    pub(crate) now: Time,
    pub(crate) client_events: Vec<Event<'static>>,
    pub(crate) server_events: Vec<Event<'static>>,
    /// Whether what has to be taken is taken at once.
    pub(crate) takes: bool,
    /// Whether there is a stream between them; if not, what they say is lost.
    pub(crate) is_linked: bool,
    streams: u8,
    has_ended: [bool; 2],
}

impl Duo {
    /// Both have accepted each other.
    pub(crate) fn open(client: Config, server: Config) -> Self {
        let mut duo = Self::new(client, server);
        duo.settle();
        duo.client.accept_peer(duo.now).unwrap();
        duo.server.accept_peer(duo.now).unwrap();
        duo.settle();
        assert!(duo.client.is_open() && duo.server.is_open());
        duo.client_events.clear();
        duo.server_events.clear();
        duo
    }

    /// The server has read the client's HELLO; nothing is decided.
    pub(crate) fn new(client: Config, server: Config) -> Self {
        let now = Time::from_micros(5_000_000);
        let mut client = Connection::client(client, StreamParameters::new([1; 32]), now);
        let hello = said(&mut client, now);
        let mut acceptor = Acceptor::new(server, StreamParameters::new([2; 32]), now);
        acceptor.handle_input(now, &hello).unwrap();
        Self {
            client,
            server: acceptor.accept(now).unwrap(),
            now,
            client_events: Vec::new(),
            server_events: Vec::new(),
            takes: true,
            is_linked: true,
            streams: 2,
            has_ended: [false; 2],
        }
    }

    pub(crate) fn end(&mut self, side: Side) -> &mut Connection {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    pub(crate) fn events(&mut self, side: Side) -> &mut Vec<Event<'static>> {
        match side {
            Side::Client => &mut self.client_events,
            Side::Server => &mut self.server_events,
        }
    }

    /// Lets them talk until both are silent.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            self.poll();
            let up = said(&mut self.client, self.now);
            let down = said(&mut self.server, self.now);
            if up.is_empty() && down.is_empty() && !self.pass_ends() {
                return;
            }
            if self.is_linked {
                let (now, takes) = (self.now, self.takes);
                if let Ok(events) = tell(&mut self.server, now, &up, takes) {
                    self.server_events.extend(events);
                }
                if let Ok(events) = tell(&mut self.client, now, &down, takes) {
                    self.client_events.extend(events);
                }
            }
        }
        panic!("they never stop talking");
    }

    fn poll(&mut self) {
        self.client_events.extend(core::iter::from_fn(|| self.client.poll_event()));
        self.server_events.extend(core::iter::from_fn(|| self.server.poll_event()));
    }

    /// A half that was closed is noticed by the other side.
    fn pass_ends(&mut self) -> bool {
        let mut any = false;
        for (index, side) in [Side::Client, Side::Server].into_iter().enumerate() {
            if self.is_linked && self.end(side).is_write_closed() && !self.has_ended[index] {
                self.has_ended[index] = true;
                let now = self.now;
                self.end(side.opposite()).handle_eof(now);
                any = true;
            }
        }
        any
    }

    /// Lets time pass, from one deadline to the next.
    pub(crate) fn run_until(&mut self, time: Time) {
        for _ in 0..1_000_000 {
            self.settle();
            let next = [self.client.poll_timeout(), self.server.poll_timeout()];
            let Some(next) = next.into_iter().flatten().min().filter(|&next| next <= time) else {
                self.now = time;
                return;
            };
            // What is overdue when a stream is attached happens at once.
            let next = next.max(self.now);
            self.now = next;
            for side in [Side::Client, Side::Server] {
                let machine = self.end(side);
                if machine.poll_timeout().is_some_and(|deadline| deadline <= next) {
                    machine.handle_timeout(next);
                    let again = machine.poll_timeout();
                    assert!(again.is_none_or(|again| again > next), "{again:?} after {next:?}");
                }
            }
        }
        panic!("time does not pass");
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now.saturating_add(duration));
    }

    /// The stream breaks, and both notice.
    pub(crate) fn cut(&mut self) {
        self.is_linked = false;
        self.client.handle_disconnect(self.now);
        self.server.handle_disconnect(self.now);
        self.poll();
    }

    /// Resumes over a new stream.
    pub(crate) fn attach(&mut self) {
        self.try_attach().unwrap();
    }

    /// Resumes over a new stream, or gives back the handshake that the server refused.
    pub(crate) fn try_attach(&mut self) -> Result<(), Box<Resuming>> {
        self.streams += 2;
        let seed = |number| StreamParameters::new([number; 32]);
        self.client.attach(seed(self.streams - 1), self.now).unwrap();
        let mut acceptor =
            Acceptor::new(self.server.config().clone(), seed(self.streams), self.now);
        let hello = said(&mut self.client, self.now);
        acceptor.handle_input(self.now, &hello).unwrap();
        let mut resuming = acceptor.resume(&self.server, self.now).unwrap();
        resuming.accept_peer();
        let answer: Vec<u8> = resuming.poll_transmit().into_iter().flatten().copied().collect();
        resuming.advance_transmit(answer.len());
        tell(&mut self.client, self.now, &answer, false).unwrap();
        self.client.accept_peer(self.now).unwrap();
        let proof = said(&mut self.client, self.now);
        resuming.handle_input(self.now, &proof).unwrap();
        self.server.resume(resuming, self.now)?;
        self.is_linked = true;
        self.has_ended = [false; 2];
        self.settle();
        Ok(())
    }
}
