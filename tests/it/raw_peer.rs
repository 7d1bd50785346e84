//! A peer that speaks the wire by hand, and keeps the rules only as far as a test wants it to.

use std::collections::BTreeMap;
use std::time::Duration;

use duologue::proto::{
    Acceptor, CloseReason, Config, Connection, Error, Event, ItemId, Resuming, StreamParameters,
};
use duologue::time::Time;
use duologue::wire::{
    Ack, CloseCode, ConversationId, Decoder, Frame, Goodbye, HEADER_LEN, Header, Hello, Kind,
    Limits, PREFACE, Piece, Resume, Side, TransferId,
};

/// A frame of the victim's, as it left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
}

impl Seen {
    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame::decode(self.header, &self.payload).expect("the victim's frames are well-formed")
    }
}

/// One stream, seen from the raw peer.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// All that we sent, and all that the victim did.
    pub(crate) ours: Vec<u8>,
    pub(crate) theirs: Vec<u8>,
    pub(crate) frames: Vec<Seen>,
    decoder: Decoder,
    cut: usize,
    header: Option<Header>,
    payload: Vec<u8>,
    our_hello: Vec<u8>,
    /// Items of the victim's that ended, in each lane, with the one it began with.
    pub(crate) next: [u64; 2],
    /// Bytes of the victim's that we last said we have.
    pub(crate) acknowledged: u64,
}

/// The raw peer, and the machine it plays against: in turn an acceptor, a resumption, a connection.
#[derive(Debug)]
pub(crate) struct RawPeer {
    /// Which side the raw peer is.
    pub(crate) side: Side,
    pub(crate) config: Config,
    /// What the raw peer's HELLO says.
    pub(crate) limits: Limits,
    pub(crate) now: Time,
    pub(crate) acceptor: Option<Acceptor>,
    pub(crate) resuming: Option<Resuming>,
    pub(crate) connection: Option<Connection>,
    pub(crate) conversation: ConversationId,
    pub(crate) secret: [u8; 32],
    pub(crate) attach: u64,
    pub(crate) stream: Stream,
    pub(crate) events: Vec<Event<'static>>,
    /// Whether the victim's output is read after each input.
    pub(crate) is_reading: bool,
    /// Bytes handed over at a time.
    pub(crate) split: usize,
    /// Bytes of ours that still arrive: what is sent beyond is lost.
    pub(crate) left: usize,
    /// What came behind the proof: a resumption leaves it to the connection.
    pub(crate) unread: Vec<u8>,
    seeds: u8,
}

/// Both roles of a victim.
pub(crate) const ROLES: [Side; 2] = [Side::Client, Side::Server];

impl RawPeer {
    /// Before the first byte, against a victim of the given role.
    pub(crate) fn unopened(victim: Side, config: Config) -> Self {
        let mut peer = Self {
            side: victim.opposite(),
            config,
            limits: Limits::default(),
            now: Time::from_micros(1_000_000),
            acceptor: None,
            resuming: None,
            connection: None,
            conversation: ConversationId::new([7; 16]),
            secret: [9; 32],
            attach: 0,
            stream: Stream::default(),
            events: Vec::new(),
            is_reading: true,
            split: usize::MAX,
            left: usize::MAX,
            unread: Vec::new(),
            seeds: 0,
        };
        let seed = peer.seed();
        let stream = StreamParameters::new(seed);
        match victim {
            Side::Client => {
                let client = Connection::client(peer.config.clone(), stream, peer.now);
                peer.conversation = client.conversation();
                peer.connection = Some(client);
                peer.drain();
            }
            Side::Server => {
                peer.acceptor = Some(Acceptor::new(peer.config.clone(), stream, peer.now));
            }
        }
        peer
    }

    /// A conversation that is open, with what the victim said so far put aside.
    pub(crate) fn open(victim: Side) -> Self {
        Self::open_with(victim, Config::default(), Limits::default())
    }

    pub(crate) fn open_with(victim: Side, config: Config, limits: Limits) -> Self {
        let mut peer = Self::unopened(victim, config);
        peer.limits = limits;
        peer.greet();
        peer.accept_victim();
        peer.victim_accepts();
        assert!(peer.victim().is_open() && !peer.victim().is_detached());
        peer.settle();
        peer
    }

    fn seed(&mut self) -> [u8; 32] {
        self.seeds += 1;
        [self.seeds; 32]
    }

    pub(crate) fn victim(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("there is a connection")
    }

    /// Our HELLO.
    pub(crate) fn hello(&mut self) -> Hello {
        Hello {
            lowest_version: 1,
            highest_version: 1,
            side: self.side,
            nonce: [self.seeds; 32],
            conversation: self.conversation,
            attach: self.attach,
            stream: 0,
            features: 0,
            limits: self.limits,
            unknown_critical: None,
        }
    }

    /// Sends preface and HELLO; a server begins the connection then.
    pub(crate) fn greet(&mut self) {
        let hello = self.hello();
        self.greet_with(&hello).unwrap();
        if self.acceptor.is_some() {
            self.victim_answers();
        }
    }

    pub(crate) fn greet_with(&mut self, hello: &Hello) -> Result<(), Error> {
        let mut bytes = PREFACE.to_vec();
        Frame::Hello(hello.clone()).encode(0, &mut bytes).unwrap();
        self.stream.our_hello = bytes.clone();
        self.send_bytes(&bytes)
    }

    /// The acceptor begins a new conversation.
    pub(crate) fn victim_answers(&mut self) {
        let acceptor = self.acceptor.take().unwrap();
        self.connection = Some(acceptor.accept(self.now).unwrap());
        self.drain();
    }

    /// Our RESUME of a new conversation.
    pub(crate) fn accept_victim(&mut self) {
        let resume = self.first_resume();
        self.send(0, Frame::Resume(resume)).unwrap();
    }

    pub(crate) fn first_resume(&self) -> Resume<'static> {
        let secret = Some(self.secret).filter(|_| self.side == Side::Server);
        Resume { secret, ..Resume::default() }
    }

    pub(crate) fn victim_accepts(&mut self) {
        let now = self.now;
        self.victim().accept_peer(now).unwrap();
        self.drain();
        if let Some(Frame::Resume(resume)) = self.frames_of(Kind::RESUME).last() {
            if let Some(secret) = resume.secret {
                self.secret = secret;
            }
        }
    }

    /// What was said so far is acknowledged and put aside.
    pub(crate) fn settle(&mut self) {
        self.acknowledge().unwrap();
        self.events.clear();
        self.stream.frames.clear();
    }

    /// The handshake hash of the present stream, as PROTOCOL.md defines it.
    pub(crate) fn handshake_hash(&self) -> [u8; 32] {
        let length = usize::from(self.stream.theirs[PREFACE.len() + 2])
            + 256 * usize::from(self.stream.theirs[PREFACE.len() + 1]);
        let theirs = &self.stream.theirs[..PREFACE.len() + HEADER_LEN + length];
        let ours = &self.stream.our_hello[..];
        let (client, server) =
            if self.side == Side::Client { (ours, theirs) } else { (theirs, ours) };
        let mut hasher = blake3::Hasher::new_derive_key("duologue 1 handshake");
        hasher.update(&0_u64.to_be_bytes()).update(client).update(server);
        *hasher.finalize().as_bytes()
    }

    /// The proof of the secret that `side` gives on the present stream.
    pub(crate) fn proof(&self, side: Side) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(&[side.to_u8()]).update(&self.handshake_hash());
        *hasher.finalize().as_bytes()
    }

    /// A RESUME that proves the secret and has nothing.
    pub(crate) fn resume_from(&self, next: [u64; 2]) -> Resume<'static> {
        Resume { next, proof: Some(self.proof(self.side)), ..Resume::default() }
    }

    /// The stream ends; the victim's conversation is detached.
    pub(crate) fn cut(&mut self) {
        let now = self.now;
        self.victim().handle_eof(now);
        self.collect();
    }

    /// Begins another stream up to the HELLO of both, with the next attach counter.
    pub(crate) fn reattach(&mut self) {
        self.attach += 1;
        self.begin_attach();
        self.greet_resuming();
    }

    /// A new stream, on which nothing has been said by us.
    pub(crate) fn begin_attach(&mut self) {
        self.stream = Stream::default();
        let (seed, now) = (self.seed(), self.now);
        let stream = StreamParameters::new(seed);
        if self.side == Side::Server {
            self.victim().attach(stream, now).unwrap();
            self.drain();
        } else {
            self.acceptor = Some(Acceptor::new(self.config.clone(), stream, now));
        }
    }

    pub(crate) fn greet_resuming(&mut self) {
        let hello = self.hello();
        self.greet_with(&hello).unwrap();
        if let Some(acceptor) = self.acceptor.take() {
            let connection = self.connection.as_ref().unwrap();
            self.resuming = Some(acceptor.resume(connection, self.now).unwrap());
            self.drain();
        }
    }

    /// Goes on after [`reattach`](Self::reattach) with this RESUME; the result is the victim's.
    pub(crate) fn resume_with(&mut self, resume: Resume<'static>) -> Result<(), Error> {
        let now = self.now;
        self.stream.next = resume.next;
        if self.side == Side::Server {
            self.victim().accept_peer(now).unwrap();
            self.drain();
            return self.send(0, Frame::Resume(resume));
        }
        self.send(0, Frame::Resume(resume))?;
        self.enter()
    }

    /// The application accepts the resumption, and the connection takes it in.
    pub(crate) fn enter(&mut self) -> Result<(), Error> {
        let now = self.now;
        let mut resuming = self.resuming.take().unwrap();
        resuming.accept_peer();
        self.victim().resume(resuming, now).map_err(|resuming| *resuming.error().unwrap())?;
        self.collect();
        if let Some(error) = self.victim().error() {
            return Err(*error);
        }
        let unread = std::mem::take(&mut self.unread);
        self.send_bytes(&unread)
    }

    /// Another stream, on which both go on; `next` is what we have of the victim's items.
    pub(crate) fn resume(&mut self, next: [u64; 2]) {
        self.reattach();
        let resume = self.resume_from(next);
        self.resume_with(resume).unwrap();
        assert!(!self.victim().is_detached());
    }

    /// Sends a frame that can be encoded.
    pub(crate) fn send(&mut self, id: u32, frame: Frame<'_>) -> Result<(), Error> {
        let mut bytes = Vec::new();
        frame.encode(id, &mut bytes).unwrap();
        self.send_bytes(&bytes)
    }

    /// Sends any header and payload.
    pub(crate) fn send_raw(&mut self, kind: Kind, id: u32, payload: &[u8]) -> Result<(), Error> {
        let length = u32::try_from(payload.len()).unwrap();
        let mut bytes = Header { length, kind, id }.encode().to_vec();
        bytes.extend_from_slice(payload);
        self.send_bytes(&bytes)
    }

    /// Sends any bytes, and reads what the victim says to them.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let bytes = &bytes[..bytes.len().min(self.left)];
        self.left -= bytes.len();
        self.stream.ours.extend_from_slice(bytes);
        let mut result = Ok(());
        'input: for mut rest in bytes.chunks(self.split.min(bytes.len().max(1))) {
            while !rest.is_empty() {
                match self.feed(rest) {
                    Ok(used) => rest = &rest[used..],
                    Err(error) => {
                        result = Err(error);
                        break 'input;
                    }
                }
            }
        }
        self.collect();
        if self.is_reading {
            self.drain();
        }
        result
    }

    fn feed(&mut self, rest: &[u8]) -> Result<usize, Error> {
        if let Some(acceptor) = &mut self.acceptor {
            return Ok(acceptor.handle_input(self.now, rest)?.0.max(1));
        }
        let (used, event) = match (&mut self.resuming, &mut self.connection) {
            (Some(resuming), _) => resuming.handle_input(self.now, rest)?,
            (None, Some(connection)) => connection.handle_input(self.now, rest)?,
            (None, None) => panic!("nobody is there"),
        };
        if used == 0 && self.resuming.is_some() {
            self.unread.extend_from_slice(rest);
            return Ok(rest.len());
        }
        assert!(used > 0 && used <= rest.len());
        self.events.extend(event.map(Event::into_owned));
        self.collect();
        Ok(used)
    }

    /// Polls the victim's events.
    pub(crate) fn collect(&mut self) {
        if let Some(connection) = &mut self.connection {
            self.events.extend(std::iter::from_fn(|| connection.poll_event()));
        }
    }

    /// Reads all that the victim wants to send.
    pub(crate) fn drain(&mut self) {
        while self.read(usize::MAX) > 0 {}
        self.collect();
    }

    /// Reads at most `most` bytes of the victim's; returns how many it were.
    pub(crate) fn read(&mut self, most: usize) -> usize {
        let transmit = match (&mut self.acceptor, &mut self.resuming, &mut self.connection) {
            (Some(acceptor), ..) => acceptor.poll_transmit(),
            (None, Some(resuming), _) => resuming.poll_transmit(),
            (None, None, Some(connection)) => connection.poll_transmit(self.now),
            _ => return 0,
        };
        let mut bytes = Vec::new();
        for slice in transmit {
            bytes.extend_from_slice(&slice[..slice.len().min(most - bytes.len())]);
        }
        match (&mut self.acceptor, &mut self.resuming, &mut self.connection) {
            (Some(acceptor), ..) => acceptor.advance_transmit(bytes.len()),
            (None, Some(resuming), _) => resuming.advance_transmit(bytes.len()),
            (None, None, Some(connection)) => connection.advance_transmit(bytes.len()),
            _ => {}
        }
        self.stream.hear(&bytes);
        bytes.len()
    }

    /// Acknowledges all that the victim sent on this stream.
    pub(crate) fn acknowledge(&mut self) -> Result<(), Error> {
        self.stream.acknowledged = self.stream.theirs.len() as u64;
        let ack = Ack { next: self.stream.next, received: self.stream.acknowledged };
        self.send(0, Frame::Ack(ack))
    }

    /// Reads and acknowledges until the victim has nothing more to say.
    pub(crate) fn converse(&mut self) {
        self.drain();
        while self.left > 0 && self.stream.theirs.len() as u64 > self.stream.acknowledged {
            self.acknowledge().unwrap();
        }
    }

    /// The victim's application takes all that came.
    pub(crate) fn take_all(&mut self) {
        let now = self.now;
        let items: Vec<ItemId> = self.events.iter().filter_map(Event::item).collect();
        for item in items {
            self.victim().take(now, item);
        }
    }

    /// Time passes, with the victim called at each of its deadlines.
    pub(crate) fn wait(&mut self, duration: Duration) {
        let end = self.now.saturating_add(duration);
        for _ in 0..10_000 {
            let deadline = match (&self.acceptor, &self.resuming, &self.connection) {
                (Some(acceptor), ..) => acceptor.poll_timeout(),
                (None, Some(resuming), _) => resuming.poll_timeout(),
                (None, None, Some(connection)) => connection.poll_timeout(),
                _ => None,
            };
            let Some(deadline) = deadline.filter(|&deadline| deadline <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(deadline);
            let now = self.now;
            match (&mut self.acceptor, &mut self.resuming, &mut self.connection) {
                (Some(acceptor), ..) => acceptor.handle_timeout(now),
                (None, Some(resuming), _) => resuming.handle_timeout(now),
                (None, None, Some(connection)) => connection.handle_timeout(now),
                _ => {}
            }
            self.collect();
            if self.is_reading {
                self.drain();
            }
        }
        panic!("a live-lock of deadlines");
    }

    /// The victim's frames of a kind.
    pub(crate) fn frames_of(&self, kind: Kind) -> Vec<Frame<'_>> {
        self.stream.frames.iter().filter(|f| f.header.kind == kind).map(Seen::frame).collect()
    }

    /// How many frames of each kind the victim has sent.
    pub(crate) fn kinds(&self) -> BTreeMap<Kind, usize> {
        let mut kinds = BTreeMap::new();
        for seen in &self.stream.frames {
            *kinds.entry(seen.header.kind).or_default() += 1;
        }
        kinds
    }

    /// The victim's GOODBYE, which nothing follows.
    pub(crate) fn goodbye(&self) -> Option<Goodbye<'_>> {
        let mut goodbyes = self.stream.frames.iter().filter(|f| f.header.kind == Kind::GOODBYE);
        let seen = goodbyes.next()?;
        assert!(goodbyes.next().is_none(), "one goodbye is enough");
        assert_eq!(self.stream.frames.last(), Some(seen), "nothing comes after a goodbye");
        match seen.frame() {
            Frame::Goodbye(goodbye) => Some(goodbye),
            frame => panic!("{frame:?}"),
        }
    }

    /// The last input was refused with this code: no event came of it, the error is sticky, the
    /// peer was told, and the conversation has ended.
    #[track_caller]
    pub(crate) fn assert_refused(&mut self, result: Result<(), Error>, code: CloseCode) {
        let error = result.expect_err("a violation");
        assert_eq!(error.code(), Some(code), "{error}");
        self.drain();
        assert_eq!(self.goodbye().map(|goodbye| goodbye.code), Some(code), "{error}");
        assert!(self.victim().is_closed() && self.victim().is_write_closed());
        assert_eq!(self.victim().error(), Some(&error));
        let closed = Event::Closed(CloseReason::Failed(error));
        assert_eq!(self.events.last(), Some(&closed));
        let before = self.events.len();
        for _ in 0..2 {
            assert_eq!(
                self.send(0, Frame::Ping(duologue::wire::Ping { token: [1; 8] })),
                Err(error)
            );
        }
        assert_eq!(self.victim().poll_timeout(), None);
        assert_eq!(self.events.len(), before);
    }

    /// Events that an application acts on: without those that end things.
    pub(crate) fn happened(&self) -> Vec<&Event<'static>> {
        let is_end = |event: &Event<'_>| {
            matches!(event, Event::Closed(_) | Event::Receipts { .. } | Event::Abandoned { .. })
        };
        self.events.iter().filter(|event| !is_end(event)).collect()
    }

    #[track_caller]
    pub(crate) fn assert_bounded(&mut self) {
        let (used, worst) = (self.victim().memory_usage(), self.config.worst_case_memory());
        assert!(used <= worst, "{used} of {worst} bytes");
    }

    /// The id of the raw peer's transfer with this number.
    pub(crate) fn ours(&self, number: u32) -> u32 {
        TransferId::new(self.side, number).unwrap().to_wire()
    }

    /// The same, of the victim's.
    pub(crate) fn theirs(&self, number: u32) -> u32 {
        TransferId::new(self.side.opposite(), number).unwrap().to_wire()
    }
}

impl Stream {
    fn hear(&mut self, bytes: &[u8]) {
        self.theirs.extend_from_slice(bytes);
        let preface = self.theirs.len().min(PREFACE.len());
        assert_eq!(self.theirs[..preface], PREFACE[..preface]);
        self.cut = self.cut.max(preface);
        let rest = self.theirs[self.cut..].to_vec();
        let mut rest = &rest[..];
        while !rest.is_empty() {
            let (taken, piece) = self.decoder.decode(rest);
            self.cut += taken;
            rest = &rest[taken..];
            match piece {
                Some(Piece::Header(header)) if header.length == 0 => self.finish(header),
                Some(Piece::Header(header)) => self.header = Some(header),
                Some(Piece::Payload { data, last }) => {
                    self.payload.extend_from_slice(data);
                    if last {
                        let header = self.header.take().unwrap();
                        self.finish(header);
                    }
                }
                None => {}
            }
        }
    }

    fn finish(&mut self, header: Header) {
        if let Some(lane) = header.kind.lane() {
            self.next[usize::from(lane)] += 1;
        }
        let payload = std::mem::take(&mut self.payload);
        self.frames.push(Seen { header, payload });
    }
}
