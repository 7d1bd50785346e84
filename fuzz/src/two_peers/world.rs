//! Two machines, their applications, and the streams between them.

mod report;
mod transmit;

use std::collections::VecDeque;

use duologue::proto::{
    Acceptor, CloseReason, Config, Connection, Error, Resuming, StreamParameters,
};
use duologue::time::Time;
use duologue::wire::{CloseCode, Side};

use self::transmit::{take, transmit_down};
use super::super::machine::after;
use super::app::{App, Policy};
use super::ledger::Ledger;

/// What the server has at its end of a stream.
#[derive(Debug)]
enum End {
    Acceptor(Acceptor),
    Resuming(Resuming),
    /// Its conversation.
    Attached,
    /// Nothing: what comes is thrown away.
    Gone,
}

/// A stream, its two directions, and who holds its ends.
#[derive(Debug)]
struct Stream {
    up: VecDeque<u8>,
    down: VecDeque<u8>,
    /// Nothing more comes in this direction, and the reader will be told.
    is_up_closed: bool,
    is_down_closed: bool,
    /// The client uses it.
    is_client: bool,
    server: End,
    /// What the server of this stream belongs to.
    conversation: Option<usize>,
    /// Of the server's handshake on it.
    handshake_hash: Option<[u8; 32]>,
}

#[derive(Debug)]
pub struct World {
    pub now: Time,
    pub client: Connection,
    pub server: Option<Connection>,
    pub apps: [App; 2],
    pub ledger: Ledger,
    configs: [Config; 2],
    policies: [Policy; 2],
    streams: Vec<Stream>,
    seeds: u8,
    /// Longest poll of input.
    piece: usize,
    pub is_last: bool,
    /// Time-outs may end what is under way.
    pub has_waited: bool,
}

fn index(side: Side) -> usize {
    usize::from(side.to_u8())
}

impl World {
    pub fn new(configs: [Config; 2], policies: [Policy; 2]) -> Self {
        let mut ledger = Ledger::default();
        let conversation = ledger.begin();
        let now = Time::from_micros(1_000_000);
        let client = Connection::client(configs[0].clone(), StreamParameters::new([1; 32]), now);
        let mut world = Self {
            now,
            client,
            server: None,
            apps: [
                App::new(Side::Client, policies[0], conversation),
                App::new(Side::Server, policies[1], conversation),
            ],
            ledger,
            configs,
            policies,
            streams: Vec::new(),
            seeds: 2,
            piece: usize::MAX,
            is_last: false,
            has_waited: false,
        };
        world.open_stream();
        world
    }

    fn seed(&mut self) -> StreamParameters<'static> {
        self.seeds = self.seeds.wrapping_add(1);
        StreamParameters::new([self.seeds; 32])
    }

    fn open_stream(&mut self) {
        let parameters = self.seed();
        let acceptor = Acceptor::new(self.configs[1].clone(), parameters, self.now);
        for stream in &mut self.streams {
            stream.is_client = false;
        }
        self.streams.push(Stream {
            up: VecDeque::new(),
            down: VecDeque::new(),
            is_up_closed: false,
            is_down_closed: false,
            is_client: true,
            server: End::Acceptor(acceptor),
            conversation: None,
            handshake_hash: None,
        });
        if self.streams.len() > 4 {
            self.lose(0);
            self.streams.remove(0);
        }
    }

    pub fn set_piece(&mut self, piece: usize) {
        self.piece = piece.max(1);
    }

    /// Both machine and application of a side.
    pub fn with<T>(
        &mut self,
        side: Side,
        call: impl FnOnce(&mut App, &mut Connection, &mut Ledger, Time) -> T,
    ) -> Option<T> {
        let machine = match side {
            Side::Client => Some(&mut self.client),
            Side::Server => self.server.as_mut(),
        };
        let app = &mut self.apps[index(side)];
        machine
            .filter(|machine| !machine.is_closed())
            .map(|machine| call(app, machine, &mut self.ledger, self.now))
    }

    /// The client comes back over another stream.
    pub fn attach(&mut self) {
        let parameters = self.seed();
        if self.client.attach(parameters, self.now).is_ok() {
            self.open_stream();
        }
        self.poll(Side::Client);
    }

    /// The server's process dies and starts again.
    pub fn restart_server(&mut self) {
        for stream in &mut self.streams {
            stream.server = End::Gone;
            stream.is_down_closed = true;
            stream.up.clear();
        }
        if self.server.take().is_some() {
            // A client that was not open yet has nobody to talk to.
            self.has_waited = true;
        }
    }

    /// The stream breaks for the client only; the server may learn of it.
    pub fn cut_client(&mut self, is_told: bool, by_eof: bool) {
        let now = self.now;
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.is_client) {
            stream.is_client = false;
            stream.is_up_closed = is_told;
            stream.down.clear();
            if by_eof { self.client.handle_eof(now) } else { self.client.handle_disconnect(now) }
        }
        self.poll(Side::Client);
    }

    /// The stream breaks for the server only; the client may learn of it.
    pub fn cut_server(&mut self, is_told: bool, by_eof: bool) {
        let now = self.now;
        for stream in self.streams.iter_mut().rev().take(1) {
            stream.up.clear();
            stream.is_down_closed |= is_told;
            match &mut stream.server {
                End::Acceptor(acceptor) => acceptor.handle_eof(),
                End::Resuming(resuming) => resuming.handle_eof(),
                End::Attached => {
                    let Some(server) = &mut self.server else { continue };
                    if by_eof { server.handle_eof(now) } else { server.handle_disconnect(now) }
                }
                End::Gone => {}
            }
            stream.server = End::Gone;
        }
        self.poll(Side::Server);
    }

    pub fn cut(&mut self, by_eof: bool) {
        self.cut_client(false, by_eof);
        self.cut_server(false, by_eof);
    }

    /// All bytes of a stream are lost, and its ends told.
    fn lose(&mut self, index: usize) {
        let now = self.now;
        let Some(stream) = self.streams.get_mut(index) else { return };
        if let (End::Attached, Some(server)) = (&stream.server, &mut self.server) {
            server.handle_eof(now);
        }
        stream.server = End::Gone;
        self.poll(Side::Server);
    }

    /// Who still holds an end of a broken stream learns of it.
    pub fn tell(&mut self) {
        for stream in &mut self.streams {
            stream.is_down_closed |= matches!(stream.server, End::Gone);
            stream.is_up_closed |= !stream.is_client;
        }
    }

    /// Moves at most `most` bytes from a machine into its stream; returns how many.
    pub fn transmit(&mut self, side: Side, most: usize) -> usize {
        let now = self.now;
        let mut moved = 0;
        match side {
            Side::Client => {
                if let Some(stream) = self.streams.iter_mut().find(|stream| stream.is_client) {
                    let taken = take(self.client.poll_transmit(now), most, &mut stream.up);
                    self.client.advance_transmit(taken);
                    moved += taken;
                    stream.is_up_closed |= self.client.is_write_closed();
                }
            }
            Side::Server => {
                for stream in &mut self.streams {
                    moved += transmit_down(stream, self.server.as_mut(), now, most);
                }
            }
        }
        self.poll(side);
        moved
    }

    /// Hands at most `most` bytes to a machine, from its newest stream or from an older one.
    pub fn deliver(&mut self, side: Side, age: usize, most: usize) -> usize {
        let Some(at) = self.streams.len().checked_sub(1 + age) else { return 0 };
        let mut moved = 0;
        let mut used_up = false;
        while moved < most && !used_up {
            let stream = &mut self.streams[at];
            let pipe = if side == Side::Client { &mut stream.down } else { &mut stream.up };
            // Byte by byte only when there are few.
            let piece = self.piece.max(pipe.len() / 512);
            let len = pipe.len().min(piece).min(most - moved);
            let bytes: Vec<u8> = pipe.drain(..len).collect();
            used_up = bytes.is_empty();
            moved += len;
            match side {
                Side::Client => self.feed_client(at, &bytes),
                Side::Server => self.feed_server(at, &bytes),
            }
        }
        self.deliver_end(side, at);
        moved
    }

    fn deliver_end(&mut self, side: Side, at: usize) {
        let now = self.now;
        let stream = &mut self.streams[at];
        match side {
            Side::Client => {
                if stream.is_client && stream.is_down_closed && stream.down.is_empty() {
                    stream.is_client = false;
                    self.client.handle_eof(now);
                }
            }
            Side::Server => {
                if stream.is_up_closed && stream.up.is_empty() {
                    match &mut stream.server {
                        End::Acceptor(acceptor) => acceptor.handle_eof(),
                        End::Resuming(resuming) => resuming.handle_eof(),
                        End::Attached => {
                            let server = self.server.as_mut().expect("it is attached");
                            server.handle_eof(now);
                        }
                        End::Gone => {}
                    }
                    // Its last words may still leave.
                    if !matches!(stream.server, End::Attached) || self.is_server_gone() {
                        self.streams[at].server = End::Gone;
                        self.streams[at].is_down_closed = true;
                    }
                }
            }
        }
        self.poll(side);
    }

    fn is_server_gone(&self) -> bool {
        self.server.as_ref().is_none_or(|server| server.is_write_closed() || server.is_detached())
    }

    fn feed_client(&mut self, at: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.streams[at].is_client && !self.client.is_closed() {
            match self.client.handle_input(self.now, bytes) {
                Ok((used, event)) => {
                    assert!(used > 0 && used <= bytes.len());
                    bytes = &bytes[used..];
                    if let Some(event) = event {
                        if let duologue::proto::Event::Open(_) = &event {
                            panic!("it is polled");
                        }
                        self.apps[0].on_event(&mut self.ledger, event);
                    }
                }
                // What follows a goodbye that refused an attach, or comes too late.
                Err(Error::Closed | Error::HandshakeTimedOut) => return,
                Err(error) => panic!("the client accuses an honest server: {error}"),
            }
            self.poll_client(at);
        }
    }

    fn poll_client(&mut self, at: usize) {
        while let Some(event) = self.client.poll_event() {
            if let duologue::proto::Event::Open(opening) = &event {
                let conversation = self.streams[at].conversation.expect("the server answered");
                if *opening == duologue::proto::Opening::Fresh {
                    assert_ne!(conversation, self.apps[0].conversation);
                }
                self.apps[0].conversation = conversation;
                let hash = self.client.handshake_hash().expect("it is open");
                assert_eq!(self.streams[at].handshake_hash, Some(hash));
            }
            self.apps[0].on_event(&mut self.ledger, event);
        }
    }

    /// Events that no input caused directly.
    fn poll(&mut self, side: Side) {
        match side {
            Side::Client => self.poll_client(self.streams.len() - 1),
            Side::Server => {
                let Some(server) = &mut self.server else { return };
                while let Some(event) = server.poll_event() {
                    self.apps[1].on_event(&mut self.ledger, event);
                }
            }
        }
    }

    fn feed_server(&mut self, at: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = match &mut self.streams[at].server {
                End::Gone => return,
                End::Acceptor(acceptor) => match acceptor.handle_input(self.now, bytes) {
                    Ok((used, request)) => {
                        if request.is_some() {
                            self.answer(at);
                        }
                        used
                    }
                    Err(Error::Closed | Error::HandshakeTimedOut) => return,
                    Err(error) => panic!("the acceptor accuses an honest client: {error}"),
                },
                End::Resuming(resuming) => match resuming.handle_input(self.now, bytes) {
                    Ok((used, event)) => {
                        assert!(used > 0 || resuming.is_ready() || resuming.error().is_some());
                        if let Some(duologue::proto::Event::Authentication(bytes)) = event {
                            assert!(bytes.iter().all(|byte| *byte == 7));
                        }
                        if resuming.is_ready() {
                            self.resume(at);
                        } else if used == 0 {
                            return;
                        }
                        used
                    }
                    Err(Error::Closed | Error::HandshakeTimedOut) => return,
                    // It was refused when it was ready, and the client says goodbye.
                    Err(error) if error.code() == Some(CloseCode::LIMIT) => return,
                    Err(error) => panic!("a resuming server accuses an honest client: {error}"),
                },
                End::Attached => {
                    let Some(server) = self.server.as_mut().filter(|s| !s.is_closed()) else {
                        return;
                    };
                    match server.handle_input(self.now, bytes) {
                        Ok((used, event)) => {
                            assert!(used > 0 && used <= bytes.len());
                            if let Some(event) = event {
                                self.apps[1].on_event(&mut self.ledger, event);
                            }
                            used
                        }
                        Err(Error::Closed | Error::HandshakeTimedOut) => return,
                        Err(error) => panic!("the server accuses an honest client: {error}"),
                    }
                }
            };
            bytes = &bytes[used..];
            self.poll(Side::Server);
        }
    }

    /// The server knows what the client wants.
    fn answer(&mut self, at: usize) {
        let now = self.now;
        let End::Acceptor(mut acceptor) =
            std::mem::replace(&mut self.streams[at].server, End::Gone)
        else {
            return;
        };
        let request = acceptor.request().expect("it came");
        assert_eq!(request.conversation, self.client.conversation());
        match &self.server {
            Some(server) if server.is_open() => match acceptor.resume(server, now) {
                Ok(mut resuming) => {
                    for _ in 0..self.policies[1].authentications % 4 {
                        resuming.authenticate(&[7; 40]).expect("at most three");
                    }
                    resuming.accept_peer();
                    self.streams[at].conversation = Some(self.apps[1].conversation);
                    self.streams[at].handshake_hash = Some(resuming.handshake_hash());
                    self.streams[at].server = End::Resuming(resuming);
                }
                Err(acceptor) => {
                    check_refusal(acceptor.error());
                    self.streams[at].server = End::Acceptor(*acceptor);
                }
            },
            Some(server) if !server.is_closed() && self.apps[1].is_open => {
                acceptor.refuse(CloseCode::SHUTDOWN, "").expect("it is waiting");
                self.streams[at].server = End::Acceptor(acceptor);
            }
            _ => {
                for stream in &mut self.streams {
                    if matches!(stream.server, End::Attached) {
                        stream.server = End::Gone;
                        stream.is_down_closed = true;
                    }
                }
                if self.streams.len() > 1 || self.server.is_some() {
                    let conversation = self.ledger.begin();
                    self.apps[1] = App::new(Side::Server, self.policies[1], conversation);
                }
                self.streams[at].conversation = Some(self.apps[1].conversation);
                let server = self.server.insert(acceptor.accept(now).expect("it is waiting"));
                self.streams[at].handshake_hash = server.handshake_hash();
                self.streams[at].server = End::Attached;
            }
        }
    }

    /// The client proved that it is the same one.
    fn resume(&mut self, at: usize) {
        let End::Resuming(resuming) = std::mem::replace(&mut self.streams[at].server, End::Gone)
        else {
            return;
        };
        let Some(server) = &mut self.server else { return };
        match server.resume(resuming, self.now) {
            Ok(()) => {
                for stream in &mut self.streams {
                    if matches!(stream.server, End::Attached) {
                        stream.server = End::Gone;
                        stream.is_down_closed = true;
                    }
                }
                self.streams[at].server = End::Attached;
            }
            Err(resuming) => {
                check_refusal(resuming.error());
                self.streams[at].server = End::Resuming(*resuming);
            }
        }
    }

    /// The applications do what they do at once, or everything at the end.
    pub fn act(&mut self) {
        for side in [Side::Client, Side::Server] {
            let is_last = self.is_last;
            self.with(side, |app, machine, _, now| {
                if std::mem::take(&mut app.wants_acceptance) {
                    for _ in 0..app.policy.authentications % 4 {
                        // Its stream may have ended meanwhile.
                        let _ = machine.authenticate(&[7; 100]);
                    }
                    let _ = machine.accept_peer(now);
                }
            });
            self.poll(side);
            self.with(side, |app, machine, ledger, now| app.act(machine, ledger, now, is_last));
            self.poll(side);
        }
    }

    pub fn wait(&mut self, micros: u64) {
        self.now = after(self.now, micros);
        self.handle_timeouts();
    }

    /// Goes to the next deadline; `false` if there is none.
    pub fn wait_for_deadline(&mut self) -> bool {
        let mut deadlines =
            vec![self.client.poll_timeout(), self.server.as_ref().and_then(|s| s.poll_timeout())];
        for stream in &self.streams {
            deadlines.push(match &stream.server {
                End::Acceptor(acceptor) => acceptor.poll_timeout(),
                End::Resuming(resuming) => resuming.poll_timeout(),
                _ => None,
            });
        }
        let Some(next) = deadlines.into_iter().flatten().min() else { return false };
        assert!(next >= self.now, "it was handled");
        self.now = next;
        self.handle_timeouts();
        true
    }

    fn handle_timeouts(&mut self) {
        let now = self.now;
        let is_later = |at: Option<Time>| at.is_none_or(|at| at > now);
        self.client.handle_timeout(now);
        assert!(is_later(self.client.poll_timeout()));
        if let Some(server) = &mut self.server {
            server.handle_timeout(now);
            assert!(is_later(server.poll_timeout()));
        }
        for stream in &mut self.streams {
            match &mut stream.server {
                End::Acceptor(acceptor) => {
                    acceptor.handle_timeout(now);
                    assert!(is_later(acceptor.poll_timeout()));
                }
                End::Resuming(resuming) => {
                    resuming.handle_timeout(now);
                    assert!(is_later(resuming.poll_timeout()));
                }
                _ => {}
            }
        }
        self.poll(Side::Client);
        self.poll(Side::Server);
    }

    /// Everything goes everywhere; whether anything did.
    pub fn exchange(&mut self) -> bool {
        let mut moved = 0;
        for side in [Side::Client, Side::Server] {
            moved += self.transmit(side, usize::MAX);
        }
        for age in (0..self.streams.len()).rev() {
            for side in [Side::Server, Side::Client] {
                moved += self.deliver(side, age, usize::MAX);
            }
        }
        self.act();
        moved > 0
    }

    /// The client has a stream whose other end is there.
    pub fn is_connected(&self) -> bool {
        self.streams.iter().any(|stream| stream.is_client)
    }

    /// What holds at any time.
    pub fn check(&self) {
        for (machine, app) in [Some(&self.client), self.server.as_ref()].into_iter().zip(&self.apps)
        {
            let Some(machine) = machine else { continue };
            let handed_out: usize = app.untaken.iter().flatten().map(|item| item.size).sum();
            let held = machine.memory_usage() + handed_out + app.unreleased();
            let most = machine.config().worst_case_memory();
            assert!(held <= most, "{held} bytes, more than {most}");
            if let Some(error) = machine.error() {
                assert!(
                    matches!(error, Error::Incomplete | Error::HandshakeTimedOut),
                    "an honest peer was accused: {error}"
                );
            }
            if let Some(CloseReason::Peer(code)) = app.closed {
                let honest = [CloseCode::DONE, CloseCode::TIMEOUT, CloseCode::SHUTDOWN];
                assert!(honest.contains(&code), "accused by the peer: {code}");
            }
        }
    }
}

/// Why a server may honestly turn a client away.
fn check_refusal(error: Option<&Error>) {
    match error {
        Some(Error::Closed) => {}
        Some(error) => {
            let is_honest = matches!(error.code(), Some(CloseCode::STALE | CloseCode::LIMIT));
            assert!(is_honest, "{error}");
        }
        None => panic!("failed without an error"),
    }
}
