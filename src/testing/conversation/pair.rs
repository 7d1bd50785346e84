use core::fmt;
use core::time::Duration;

use super::call::Call;
use super::endpoint::Endpoint;
use super::pipe::{LinkOptions, Pipe};
use super::recorder::Recorder;
use crate::proto::{Acceptor, Config, Resuming, StreamParameters};
use crate::time::Time;
use crate::wire::Side;

/// A client and a server, a link between them, and a clock that jumps from one thing that happens
/// to the next.
///
/// # Examples
///
/// ```
/// use duologue::proto::Config;
/// use duologue::testing::{LinkOptions, Pair};
///
/// let mut pair = Pair::new(Config::default(), Config::default(), LinkOptions::default());
/// pair.open()?;
/// let now = pair.now();
/// pair.client.say(now, "Is anybody there?")?;
/// pair.drive(100, |pair| !pair.server().chats.is_empty())?;
/// assert_eq!(pair.server().chats, ["Is anybody there?"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pair {
    /// The client.
    pub client: Endpoint,
    server: Option<Endpoint>,
    /// The link, which can be changed at any time.
    pub link: LinkOptions,
    config: Config,
    now: Time,
    streams: u8,
    up: Direction,
    down: Direction,
    newcomer: Option<Newcomer>,
    is_recording: bool,
    is_cut: bool,
}

#[derive(Debug, Default)]
struct Direction {
    pipe: Pipe,
    is_blocked: bool,
    /// The sender is done, and the receiver knows.
    is_ended: bool,
    /// Bytes that are carried before the link breaks, and those that were.
    limit: Option<u64>,
    carried: u64,
}

/// A client's new stream at the server.
#[derive(Debug)]
struct Newcomer {
    began: Time,
    seed: [u8; 32],
    input: Vec<u8>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Hello(Box<Acceptor>),
    Resuming(Box<Resuming>),
}

/// A [`Pair`] did not come to where it was driven to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotIdle {
    /// Not within this many steps.
    Steps(usize),
    /// Nothing will ever happen any more.
    Stuck,
}

impl fmt::Display for NotIdle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "not done after {steps} steps"),
            Self::Stuck => f.write_str("nothing will ever happen any more"),
        }
    }
}

impl core::error::Error for NotIdle {}

impl Pair {
    /// A client that has just begun to connect.
    pub fn new(client: Config, server: Config, link: LinkOptions) -> Self {
        let now = Time::from_micros(1_000_000);
        let mut pair = Self {
            client: Endpoint::new(Recorder::client(client, [1; 32], now)),
            server: None,
            link,
            config: server,
            now,
            streams: 0,
            up: Direction::default(),
            down: Direction::default(),
            newcomer: None,
            is_recording: false,
            is_cut: false,
        };
        pair.new_stream();
        pair
    }

    /// Writes down what both machines are told, from the beginning on.
    pub fn record(&mut self) {
        self.is_recording = true;
        self.client.machine.set_recording(true);
    }

    /// Listens to what both sides write to the present stream, from here on.
    pub fn tap(&mut self) {
        self.up.pipe.tap = Some(Vec::new());
        self.down.pipe.tap = Some(Vec::new());
    }

    /// What this side wrote since the last call, and when: what its machine gave at a time.
    pub fn tapped(&mut self, from: Side) -> Vec<(Time, Vec<u8>)> {
        let pipe = match from {
            Side::Client => &mut self.up.pipe,
            Side::Server => &mut self.down.pipe,
        };
        pipe.tap.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Whether there is no stream between the two.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether the client's first bytes have come to the server.
    pub fn is_server_there(&self) -> bool {
        self.server.is_some()
    }

    /// The server.
    ///
    /// # Panics
    ///
    /// Before the client's first bytes have come there.
    #[track_caller]
    #[allow(clippy::panic)]
    pub fn server_mut(&mut self) -> &mut Endpoint {
        match &mut self.server {
            Some(server) => server,
            None => panic!("the client has not come yet"),
        }
    }

    /// The server, to look at.
    ///
    /// # Panics
    ///
    /// As [`server_mut`](Self::server_mut).
    #[track_caller]
    #[allow(clippy::panic)]
    pub fn server(&self) -> &Endpoint {
        match &self.server {
            Some(server) => server,
            None => panic!("the client has not come yet"),
        }
    }

    /// One of the two.
    ///
    /// # Panics
    ///
    /// As [`server_mut`](Self::server_mut).
    #[track_caller]
    pub fn end(&mut self, side: Side) -> &mut Endpoint {
        match side {
            Side::Client => &mut self.client,
            Side::Server => self.server_mut(),
        }
    }

    /// Drives until both are open.
    ///
    /// # Errors
    ///
    /// [`NotIdle`].
    pub fn open(&mut self) -> Result<(), NotIdle> {
        self.drive(1000, |pair| {
            pair.client.machine.is_open()
                && !pair.client.machine.is_detached()
                && pair
                    .server
                    .as_ref()
                    .is_some_and(|server| server.machine.is_open() && !server.machine.is_detached())
        })
    }

    /// Takes steps until `is_done`, at most `steps`.
    ///
    /// # Errors
    ///
    /// [`NotIdle`].
    pub fn drive(
        &mut self,
        steps: usize,
        mut is_done: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), NotIdle> {
        for _ in 0..steps {
            if is_done(self) {
                return Ok(());
            }
            if !self.step() {
                return if is_done(self) { Ok(()) } else { Err(NotIdle::Stuck) };
            }
        }
        if is_done(self) { Ok(()) } else { Err(NotIdle::Steps(steps)) }
    }

    /// Takes steps until the time has come.
    pub fn run_until(&mut self, time: Time) {
        while self.next_time().is_some_and(|next| next <= time) {
            self.step();
        }
        self.now = self.now.max(time);
    }

    /// Takes steps for a while.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now.saturating_add(duration));
    }

    /// Transmits, jumps to the next thing that happens, and lets it happen; `false` if nothing
    /// ever will.
    pub fn step(&mut self) -> bool {
        self.transmit();
        let Some(next) = self.next_time() else { return false };
        self.now = self.now.max(next);
        self.deliver(Side::Client);
        self.deliver(Side::Server);
        self.break_if_due();
        self.expire();
        self.transmit();
        true
    }

    fn next_time(&mut self) -> Option<Time> {
        self.transmit();
        let now = self.now;
        let mut times = vec![self.up.pipe.next_arrival(), self.down.pipe.next_arrival()];
        if self.up.is_blocked {
            times.push(self.up.pipe.next_room(now));
        }
        if self.down.is_blocked {
            times.push(self.down.pipe.next_room(now));
        }
        times.push(self.client.machine.next_timeout(now));
        if let Some(server) = &mut self.server {
            times.push(server.machine.next_timeout(now));
        }
        if self.has_news() {
            times.push(Some(now));
        }
        times.into_iter().flatten().min()
    }

    /// An end of stream that was not told yet.
    fn has_news(&self) -> bool {
        let client = self.client.machine.is_write_closed() && !self.up.is_ended;
        let server = self.newcomer.is_none()
            && self.server.as_ref().is_some_and(|server| server.machine.is_write_closed());
        let is_empty = |direction: &Direction| direction.pipe.next_arrival().is_none();
        !self.is_cut
            && ((client && is_empty(&self.up))
                || (server && !self.down.is_ended && is_empty(&self.down)))
    }

    /// Hands what the machines have to say to the link.
    pub fn transmit(&mut self) {
        if self.is_cut {
            return;
        }
        let (now, link) = (self.now, self.link);
        let written = [self.up.pipe.written, self.down.pipe.written];
        transmit(&mut self.client, &mut self.up, now, &link);
        match &mut self.newcomer {
            Some(Newcomer { stage: Stage::Resuming(resuming), .. }) => {
                let bytes: Vec<u8> =
                    resuming.poll_transmit().into_iter().flatten().copied().collect();
                let written = self.down.pipe.write(now, &link, &bytes);
                resuming.advance_transmit(written);
            }
            // It has nothing to say but why it refuses.
            Some(Newcomer { stage: Stage::Hello(acceptor), .. }) => {
                let bytes: Vec<u8> =
                    acceptor.poll_transmit().into_iter().flatten().copied().collect();
                let written = self.down.pipe.write(now, &link, &bytes);
                acceptor.advance_transmit(written);
            }
            None => {
                if let Some(server) = &mut self.server {
                    transmit(server, &mut self.down, now, &link);
                }
            }
        }
        if self.up.pipe.written > written[0] {
            self.down.pipe.acknowledge(now, &link);
        }
        if self.down.pipe.written > written[1] {
            self.up.pipe.acknowledge(now, &link);
        }
    }

    /// Delivers what has arrived at one end.
    fn deliver(&mut self, to: Side) {
        let now = self.now;
        loop {
            let direction = match to {
                Side::Client => &mut self.down,
                Side::Server => &mut self.up,
            };
            let Some(mut bytes) = direction.pipe.read(now, &self.link) else { break };
            if let Some(limit) = direction.limit {
                let left = limit.saturating_sub(direction.carried);
                bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            }
            direction.carried = direction.carried.saturating_add(bytes.len() as u64);
            match to {
                Side::Client => {
                    self.client.receive(now, &bytes);
                }
                Side::Server => self.receive_at_server(&bytes),
            }
        }
        self.deliver_end(to);
    }

    fn deliver_end(&mut self, to: Side) {
        let now = self.now;
        let (direction, sender) = match to {
            // A server that has not taken the stream in has nothing to end.
            Side::Client => {
                (&mut self.down, self.server.as_ref().filter(|_| self.newcomer.is_none()))
            }
            Side::Server => (&mut self.up, Some(&self.client)),
        };
        let is_over = sender.is_some_and(|sender| sender.machine.is_write_closed());
        if self.is_cut || !is_over || direction.is_ended || direction.pipe.next_arrival().is_some()
        {
            return;
        }
        direction.is_ended = true;
        let receiver = match to {
            Side::Client => Some(&mut self.client),
            Side::Server => self.server.as_mut(),
        };
        if let Some(receiver) = receiver {
            receiver.machine.handle_eof(now);
            receiver.poll(now);
        }
    }

    fn receive_at_server(&mut self, bytes: &[u8]) {
        let now = self.now;
        let Some(mut newcomer) = self.newcomer.take() else {
            if let Some(server) = &mut self.server {
                server.receive(now, bytes);
            }
            return;
        };
        let before = newcomer.input.len();
        newcomer.input.extend_from_slice(bytes);
        let mut rest = bytes;
        if let Stage::Hello(acceptor) = &mut newcomer.stage {
            let Ok((used, request)) = acceptor.handle_input(now, rest) else {
                // It has last words to say.
                self.newcomer = Some(newcomer);
                return;
            };
            rest = rest.get(used..).unwrap_or_default();
            if request.is_none() {
                self.newcomer = Some(newcomer);
                return;
            }
            newcomer.input.truncate(before.saturating_add(used));
            match self.route(newcomer) {
                Some(refused @ Newcomer { stage: Stage::Hello(_), .. }) => {
                    self.newcomer = Some(refused);
                    return;
                }
                Some(resuming) => newcomer = resuming,
                None => {
                    if let Some(server) = &mut self.server {
                        server.receive(now, rest);
                    }
                    return;
                }
            }
            newcomer.input.extend_from_slice(rest);
        }
        if let Stage::Resuming(resuming) = &mut newcomer.stage {
            if !rest.is_empty() {
                let _ = resuming.handle_input(now, rest);
            }
        }
        self.take_in(newcomer);
    }

    /// A HELLO is whole: a conversation that is there is resumed, or the client refused; another
    /// one begins.
    fn route(&mut self, newcomer: Newcomer) -> Option<Newcomer> {
        let Newcomer { began, seed, input, stage } = newcomer;
        let Stage::Hello(acceptor) = stage else { return None };
        // An application drops a conversation that has ended.
        let is_known = self.server.as_ref().is_some_and(|server| {
            !server.machine.is_closed()
                && acceptor.request().is_some_and(|request| {
                    request.attach > 0 && request.conversation == server.machine.conversation()
                })
        });
        if let Some(server) = self.server.as_ref().filter(|_| is_known) {
            let stage = match acceptor.resume(&server.machine, self.now) {
                Ok(mut resuming) => {
                    resuming.accept_peer();
                    Stage::Resuming(Box::new(resuming))
                }
                Err(refused) => Stage::Hello(refused),
            };
            return Some(Newcomer { began, seed, input, stage });
        }
        let config = self.config.clone();
        let mut machine = Recorder::server(config, seed, &input, self.now).ok()?;
        machine.set_recording(self.is_recording);
        let mut server = Endpoint::new(machine);
        if let Some(old) = &self.server {
            server.behaviour = old.behaviour;
        }
        server.poll(self.now);
        self.server = Some(server);
        None
    }

    /// The proof has come: the conversation goes on over the new stream.
    fn take_in(&mut self, newcomer: Newcomer) {
        let now = self.now;
        let Newcomer { began, seed, input, stage } = newcomer;
        match stage {
            Stage::Resuming(resuming) if resuming.is_ready() => {
                if let Some(server) = &mut self.server {
                    let taken = server.machine.resume(now, *resuming, began, seed, &input);
                    server.poll(now);
                    if let Err(refused) = taken {
                        // It has last words to say.
                        let stage = Stage::Resuming(refused);
                        self.newcomer = Some(Newcomer { began, seed, input, stage });
                    }
                }
            }
            stage if self.newcomer.is_none() => {
                self.newcomer = Some(Newcomer { began, seed, input, stage });
            }
            Stage::Resuming(_) | Stage::Hello(_) => {}
        }
    }

    fn expire(&mut self) {
        let now = self.now;
        for end in [Some(&mut self.client), self.server.as_mut()].into_iter().flatten() {
            if end.machine.poll_timeout().is_some_and(|deadline| deadline <= now) {
                end.machine.handle_timeout(now);
                end.poll(now);
            }
        }
    }

    /// Breaks the link: what was on the way is lost, and both ends notice at once.
    pub fn cut(&mut self) {
        self.cut_silently();
        let now = self.now;
        for end in [Some(&mut self.client), self.server.as_mut()].into_iter().flatten() {
            end.machine.handle_disconnect(now);
            end.poll(now);
        }
    }

    /// Breaks the link, and nobody notices.
    pub fn cut_silently(&mut self) {
        self.is_cut = true;
        self.up = Direction::default();
        self.down = Direction::default();
        self.newcomer = None;
    }

    /// Breaks the link when `bytes` more have been carried from this side to the other.
    pub fn cut_after(&mut self, from: Side, bytes: u64) {
        let direction = match from {
            Side::Client => &mut self.up,
            Side::Server => &mut self.down,
        };
        direction.limit = Some(direction.carried.saturating_add(bytes));
    }

    fn break_if_due(&mut self) {
        let is_due = |d: &Direction| d.limit.is_some_and(|limit| d.carried >= limit);
        if is_due(&self.up) || is_due(&self.down) {
            self.cut();
        }
    }

    /// The client attaches over a new link.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::attach`](crate::proto::Connection::attach).
    pub fn attach(&mut self) -> Result<(), crate::proto::ActionError> {
        self.new_stream();
        let seed = [self.streams; 32];
        self.client.machine.call(self.now, Call::Attach(seed))?;
        self.client.poll(self.now);
        Ok(())
    }

    /// The server's process ends: it knows nothing any more.
    pub fn forget_server(&mut self) {
        self.server = None;
    }

    /// Bytes carried from this side to the other on this stream.
    pub fn carried(&self, from: Side) -> u64 {
        match from {
            Side::Client => self.up.carried,
            Side::Server => self.down.carried,
        }
    }

    /// Bytes of this side that wait for the link.
    pub fn buffered(&self, from: Side) -> usize {
        match from {
            Side::Client => self.up.pipe.buffered(self.now),
            Side::Server => self.down.pipe.buffered(self.now),
        }
    }

    fn new_stream(&mut self) {
        self.streams = self.streams.wrapping_add(1);
        self.is_cut = false;
        self.up = Direction::default();
        self.down = Direction::default();
        let seed = [self.streams.wrapping_add(128); 32];
        let acceptor = Acceptor::new(self.config.clone(), StreamParameters::new(seed), self.now);
        self.newcomer = Some(Newcomer {
            began: self.now,
            seed,
            input: Vec::new(),
            stage: Stage::Hello(Box::new(acceptor)),
        });
    }
}

fn transmit(end: &mut Endpoint, direction: &mut Direction, now: Time, link: &LinkOptions) {
    loop {
        let mut is_blocked = false;
        let pipe = &mut direction.pipe;
        let sent = end.machine.transmit(now, |bytes| {
            let written = pipe.write(now, link, bytes);
            is_blocked = written < bytes.len();
            written
        });
        end.poll(now);
        direction.is_blocked = is_blocked;
        if sent == 0 || is_blocked {
            return;
        }
    }
}

mod path;
#[cfg(test)]
mod tests;
