use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use bytes::Bytes;

use super::acknowledgement::Acknowledgement;
use super::error::{ActionError, Error};
use super::pacer::Pacer;
use super::plan::{Plan, Source};
use crate::time::Time;
use crate::wire::{
    CloseCode, Decoder, EncodeError, Goodbye, Header, Hello, Kind, Limits, PREFACE, Piece, Resume,
    Side, max_length,
};

/// Where one stream is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The peer's preface and HELLO are awaited.
    Hello,
    /// Both HELLO are known; RESUME of the peer has not come.
    Authenticating,
    /// RESUME of the peer has come; our application has not decided.
    Waiting,
    /// Both RESUME are sent and received.
    Open,
    /// Our GOODBYE is sent or planned; the peer's is awaited.
    Closing,
    /// Nothing more is read.
    Closed,
}

/// One stream of a conversation: what is lost when it breaks.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) side: Side,
    pub(super) phase: Phase,
    /// What the stream failed with.
    pub(super) error: Option<Box<Error>>,
    /// Bytes of the peer's preface seen.
    preface: usize,
    pub(super) decoder: Decoder,
    /// The frame whose payload is coming, and that payload as far as it has to be put together.
    pub(super) header: Option<Header>,
    pub(super) assembly: Vec<u8>,
    /// Bytes taken off the stream, and handed to the transport.
    pub(super) received: u64,
    pub(super) sent: u64,
    /// Bytes of ours that the peer reported as received.
    pub(super) reported: u64,
    pub(super) plan: Plan,
    /// Lines of chat of a run that is leaving, which have not begun, and where in the stream they do.
    pub(super) leaving_chats: Option<(Range<u64>, u64)>,
    pub(super) pacer: Pacer,
    pub(super) acknowledgement: Acknowledgement,
    /// Until the stream is open.
    handshake: Option<Box<Handshake>>,
    /// BLAKE3 over both sides' HELLO and the channel binding.
    pub(super) hash: Option<[u8; 32]>,
    has_sent_preface: bool,
    pub(super) is_resume_sent: bool,
    /// The server has the conversation.
    pub(super) is_resuming: bool,
    pub(super) started: Time,
    /// When the peer was last known to be alive, and the bytes received then.
    pub(super) last_input: Time,
    noted: u64,
    pub(super) ping: PingState,
}

/// What the handshake has brought so far.
#[derive(Debug, Default)]
struct Handshake {
    binding: Vec<u8>,
    /// Our preface and HELLO as sent, until the hash is made.
    ours: Vec<u8>,
    peer: Option<Hello>,
    hello_sent: Option<Time>,
    authentications_sent: u8,
    authentications_received: u8,
    resume: Option<Resume<'static>>,
}

/// Pings and what they are waiting for.
#[derive(Debug, Default)]
pub(super) struct PingState {
    /// Our ping that is planned or under way: its token, and when it began to leave.
    pub(super) outstanding: Option<(u64, Option<Time>)>,
    pub(super) wanted: bool,
    pub(super) count: u64,
    pub(super) last: Option<Time>,
    /// The token to answer.
    pub(super) answer: Option<[u8; 8]>,
}

/// A frame of the handshake.
#[derive(Debug)]
pub(super) enum Heard<'a> {
    Hello(Hello),
    Authentication(Cow<'a, [u8]>),
    Resume,
    Goodbye(Goodbye<'a>),
}

/// So many bytes are a sign of life, and so is a frame; less is not, or a byte a minute would do.
const SIGN_OF_LIFE: u64 = 1024;
/// At most three AUTH from each side.
const AUTHENTICATIONS: u8 = 3;

impl Link {
    pub(super) fn new(side: Side, binding: &[u8], now: Time) -> Self {
        Self {
            side,
            phase: Phase::Hello,
            error: None,
            preface: 0,
            decoder: Decoder::new(),
            header: None,
            assembly: Vec::new(),
            received: 0,
            sent: 0,
            reported: 0,
            plan: Plan::default(),
            leaving_chats: None,
            pacer: Pacer::new(now),
            acknowledgement: Acknowledgement::default(),
            handshake: Some(Box::new(Handshake {
                binding: binding.to_vec(),
                ..Handshake::default()
            })),
            hash: None,
            has_sent_preface: false,
            is_resume_sent: false,
            is_resuming: false,
            started: now,
            last_input: now,
            noted: 0,
            ping: PingState::default(),
        }
    }

    /// A frame of the peer's has begun.
    pub(super) fn note_frame(&mut self, now: Time) {
        self.last_input = now;
        self.noted = self.received;
    }

    /// Bytes of the peer's were taken.
    pub(super) fn note_bytes(&mut self, now: Time) {
        if self.received.saturating_sub(self.noted) >= SIGN_OF_LIFE {
            self.note_frame(now);
        }
    }

    /// Plans our preface and HELLO.
    pub(super) fn send_hello(&mut self, hello: &Hello, now: Time) -> Result<(), EncodeError> {
        self.send_preface();
        let mut ours = PREFACE.to_vec();
        let mut payload = Vec::new();
        hello.encode(&mut payload)?;
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        ours.extend_from_slice(&Header { length, kind: Kind::HELLO, id: 0 }.encode());
        ours.extend_from_slice(&payload);
        self.plan.stage(Kind::HELLO, 0, Source::Handshake, |out| {
            out.extend_from_slice(&payload);
            Ok(())
        })?;
        let handshake = self.handshake();
        handshake.ours = ours;
        handshake.hello_sent = Some(now);
        Ok(())
    }

    fn send_preface(&mut self) {
        if !self.has_sent_preface {
            self.has_sent_preface = true;
            self.plan.stage_raw(&PREFACE, Source::Handshake);
        }
    }

    /// Plans opaque bytes for the peer's application.
    pub(super) fn authenticate(&mut self, bytes: &[u8]) -> Result<(), ActionError> {
        let is_time = matches!(self.phase, Phase::Authenticating | Phase::Waiting)
            && self.hash.is_some()
            && !self.is_resume_sent;
        if !is_time {
            return Err(ActionError::NotOpen);
        }
        let max = max_length(Kind::AUTH, &Limits::default());
        if bytes.len() as u64 > u64::from(max) {
            return Err(ActionError::TooLarge { max: u64::from(max) });
        }
        let sent = self.handshake().authentications_sent;
        if sent >= AUTHENTICATIONS {
            return Err(ActionError::PeerLimit);
        }
        self.plan.stage(Kind::AUTH, 0, Source::Handshake, |out| {
            out.extend_from_slice(bytes);
            Ok(())
        })?;
        self.handshake().authentications_sent = sent.saturating_add(1);
        Ok(())
    }

    pub(super) fn send_resume(&mut self, resume: &Resume<'_>) -> Result<(), EncodeError> {
        self.plan.stage(Kind::RESUME, 0, Source::Handshake, |out| resume.encode(out))?;
        self.is_resume_sent = true;
        Ok(())
    }

    fn handshake(&mut self) -> &mut Handshake {
        self.handshake.get_or_insert_default()
    }

    /// The peer's HELLO, until the stream is open.
    pub(super) fn peer(&self) -> Option<&Hello> {
        self.handshake.as_ref().and_then(|handshake| handshake.peer.as_ref())
    }

    /// The peer's RESUME, until the stream is open.
    pub(super) fn resume(&self) -> Option<&Resume<'static>> {
        self.handshake.as_ref().and_then(|handshake| handshake.resume.as_ref())
    }

    /// Whether the peer's authentication or RESUME has come, until the stream is open.
    #[cfg(feature = "std")]
    pub(super) fn has_peer_spoken(&self) -> bool {
        self.handshake.as_ref().is_some_and(|handshake| {
            handshake.authentications_received > 0 || handshake.resume.is_some()
        })
    }

    /// The peer's HELLO and RESUME, if both have come: with them goes the rest of the handshake.
    pub(super) fn end_handshake(&mut self) -> Option<(Option<Hello>, Resume<'static>)> {
        let handshake = self.handshake.take_if(|handshake| handshake.resume.is_some())?;
        Some((handshake.peer, handshake.resume?))
    }

    /// Plans our last frame; nothing is planned after it.
    pub(super) fn send_goodbye(&mut self, code: CloseCode, text: &str) -> Result<(), EncodeError> {
        self.send_preface();
        let goodbye = Goodbye { code, text: Cow::Borrowed(text) };
        self.plan.stage(Kind::GOODBYE, 0, Source::Goodbye, |out| goodbye.encode(out))
    }

    /// Takes the rest of the peer's preface from the input.
    pub(super) fn read_preface(&mut self, input: &[u8]) -> Result<usize, Error> {
        let expected = PREFACE.get(self.preface..).unwrap_or_default();
        let mut used: usize = 0;
        for (byte, expected) in input.iter().zip(expected) {
            if byte != expected {
                return Err(Error::NotDuologue);
            }
            used = used.saturating_add(1);
        }
        self.preface = self.preface.saturating_add(used);
        self.received = self.received.saturating_add(used as u64);
        Ok(used)
    }

    /// Takes input of the handshake until one frame is whole.
    pub(super) fn read_handshake<'a>(
        &mut self,
        input: &'a [u8],
        now: Time,
    ) -> Result<(usize, Option<Heard<'a>>), Error> {
        let mut used = self.read_preface(input)?;
        while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
            let (taken, piece) = self.decoder.decode(rest);
            used = used.saturating_add(taken);
            self.received = self.received.saturating_add(taken as u64);
            let heard = match piece {
                None => None,
                Some(Piece::Header(header)) => {
                    self.judge(header)?;
                    self.header = Some(header);
                    if header.length == 0 { Some(self.hear(header, &[], now)?) } else { None }
                }
                Some(Piece::Payload { data, last }) => self.hear_piece(data, last, now)?,
            };
            if heard.is_some() {
                return Ok((used, heard));
            }
        }
        Ok((used, None))
    }

    /// Judges a header before its payload comes.
    fn judge(&mut self, header: Header) -> Result<(), Error> {
        let kind = header.kind;
        if header.length > max_length(kind, &Limits::default()) {
            return Err(Error::violation(CloseCode::TOO_LARGE, kind, "over its limit"));
        }
        if !matches!(kind, Kind::HELLO | Kind::AUTH | Kind::RESUME | Kind::GOODBYE) {
            if !kind.is_known() {
                return Err(Error::violation(CloseCode::UNSUPPORTED, kind, "unknown kind"));
            }
            return Err(Error::violation(CloseCode::PROTOCOL, kind, "before the handshake's end"));
        }
        let fits = match self.phase {
            Phase::Hello => matches!(kind, Kind::HELLO | Kind::GOODBYE),
            Phase::Authenticating => kind != Kind::HELLO,
            _ => kind == Kind::GOODBYE,
        };
        if !fits {
            return Err(Error::violation(CloseCode::PROTOCOL, kind, "not now"));
        }
        if kind == Kind::AUTH && self.handshake().authentications_received >= AUTHENTICATIONS {
            return Err(Error::violation(CloseCode::LIMIT, kind, "at most three"));
        }
        header.check_id()?;
        Ok(())
    }

    fn hear_piece<'a>(
        &mut self,
        data: &'a [u8],
        last: bool,
        now: Time,
    ) -> Result<Option<Heard<'a>>, Error> {
        let Some(header) = self.header else { return Ok(None) };
        if last && self.assembly.is_empty() {
            return self.hear(header, data, now).map(Some);
        }
        self.assembly.extend_from_slice(data);
        if !last {
            return Ok(None);
        }
        let whole = core::mem::take(&mut self.assembly);
        let heard = self.hear(header, &whole, now)?;
        Ok(Some(match heard {
            Heard::Hello(hello) => Heard::Hello(hello),
            Heard::Authentication(bytes) => Heard::Authentication(Cow::Owned(bytes.into_owned())),
            Heard::Resume => Heard::Resume,
            Heard::Goodbye(goodbye) => Heard::Goodbye(goodbye.into_owned()),
        }))
    }

    fn hear<'a>(
        &mut self,
        header: Header,
        payload: &'a [u8],
        now: Time,
    ) -> Result<Heard<'a>, Error> {
        self.header = None;
        Ok(match header.kind {
            Kind::HELLO => {
                let hello = Hello::decode(payload)?;
                check_hello(&hello, self.side)?;
                self.on_hello(&hello, header, payload, now);
                Heard::Hello(hello)
            }
            Kind::AUTH => {
                let received = &mut self.handshake().authentications_received;
                *received = received.saturating_add(1);
                Heard::Authentication(Cow::Borrowed(payload))
            }
            Kind::RESUME => {
                self.handshake().resume = Some(Resume::decode(payload)?.into_owned());
                self.phase = Phase::Waiting;
                Heard::Resume
            }
            _ => Heard::Goodbye(Goodbye::decode(payload)?),
        })
    }

    fn on_hello(&mut self, hello: &Hello, header: Header, payload: &[u8], now: Time) {
        let mut theirs = PREFACE.to_vec();
        theirs.extend_from_slice(&header.encode());
        theirs.extend_from_slice(payload);
        self.phase = Phase::Authenticating;
        let handshake = self.handshake();
        handshake.peer = Some(hello.clone());
        let (ours, hello_sent) = (core::mem::take(&mut handshake.ours), handshake.hello_sent);
        if self.side == Side::Client {
            if let Some(sent) = hello_sent {
                self.pacer.add_round_trip(now, now.saturating_duration_since(sent));
            }
            self.make_hash(&ours, &theirs);
        } else {
            // Ours follows once the application has chosen the conversation.
            self.assembly = theirs;
        }
    }

    /// The server's answer is chosen: plans it, and makes the hash.
    pub(super) fn answer_hello(&mut self, hello: &Hello, now: Time) -> Result<(), EncodeError> {
        let theirs = core::mem::take(&mut self.assembly);
        self.send_hello(hello, now)?;
        let ours = core::mem::take(&mut self.handshake().ours);
        self.make_hash(&theirs, &ours);
        Ok(())
    }

    fn make_hash(&mut self, client: &[u8], server: &[u8]) {
        let binding = core::mem::take(&mut self.handshake().binding);
        let mut hasher = blake3::Hasher::new_derive_key("duologue 1 handshake");
        hasher.update(&(binding.len() as u64).to_be_bytes());
        hasher.update(&binding).update(client).update(server);
        self.hash = Some(*hasher.finalize().as_bytes());
    }

    /// The proof of the secret that `side` gives on this stream.
    pub(super) fn proof(&self, secret: &[u8; 32], side: Side) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(secret);
        hasher.update(&[side.to_u8()]);
        hasher.update(&self.hash.unwrap_or_default());
        *hasher.finalize().as_bytes()
    }

    /// Whether the peer's RESUME proves the secret.
    pub(super) fn is_proved(&self, secret: &[u8; 32]) -> bool {
        let given = self.resume().and_then(|resume| resume.proof);
        given.is_some_and(|given| self.is_proof(secret, &given))
    }

    /// Compares in constant time.
    pub(super) fn is_proof(&self, secret: &[u8; 32], given: &[u8; 32]) -> bool {
        let expected = blake3::Hash::from(self.proof(secret, self.side.opposite()));
        blake3::Hash::from(*given) == expected
    }

    /// No application data can be on the stream yet.
    pub(super) fn is_in_handshake(&self) -> bool {
        matches!(self.phase, Phase::Hello | Phase::Authenticating | Phase::Waiting)
    }

    /// Bytes of the handshake have left.
    pub(super) fn advance_handshake(&mut self, len: usize) {
        let mut left = len;
        while left > 0 {
            let (taken, _) = self.plan.leave(left);
            if taken == 0 {
                return;
            }
            self.sent = self.sent.saturating_add(taken as u64);
            left = left.saturating_sub(taken);
        }
    }

    /// Ends the stream for a violation: what has not begun to leave is dropped for the last words.
    pub(super) fn fail(&mut self, error: Error) {
        while self.plan.take_back().is_some() {}
        // A server says nothing before the client's HELLO, but why it refuses that.
        let is_early = self.side == Side::Server && self.phase == Phase::Hello;
        let may_speak = match error {
            Error::Violation(_) => self.preface == PREFACE.len(),
            _ => self.preface == PREFACE.len() && !is_early,
        };
        self.abort();
        self.error = Some(Box::new(error));
        if let (Some(code), true) = (error.code(), may_speak) {
            let text = match error {
                Error::Violation(violation) => violation.rule(),
                _ => "",
            };
            // The texts are ours and short.
            let _ = self.send_goodbye(code, text);
        }
    }

    /// Reads nothing more.
    pub(super) fn abort(&mut self) {
        self.phase = Phase::Closed;
        self.assembly = Vec::new();
        self.header = None;
    }

    /// When the handshake has to be over.
    pub(super) fn handshake_deadline(&self, timeout: Duration) -> Option<Time> {
        matches!(self.phase, Phase::Hello | Phase::Authenticating | Phase::Waiting)
            .then(|| self.started.saturating_add(timeout))
    }

    /// Plans a frame whose payload lies elsewhere.
    pub(super) fn send_payload(&mut self, header: Header, payload: Bytes, source: Source) {
        self.plan.stage_payload(header, payload, source);
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.assembly.shrink_to_fit();
        self.plan.shrink_to_fit();
        self.pacer.shrink_to_fit();
    }

    pub(super) fn memory_usage(&self) -> usize {
        let handshake = if self.handshake.is_some() { size_of::<Handshake>() } else { 0 };
        self.assembly
            .capacity()
            .saturating_add(handshake)
            .saturating_add(self.plan.memory_usage())
            .saturating_add(self.pacer.memory_usage())
    }
}

/// Judges a HELLO by itself: version first, as everything else may mean something else there.
fn check_hello(hello: &Hello, ours: Side) -> Result<(), Error> {
    let violation = |code, rule| Err(Error::violation(code, Kind::HELLO, rule));
    if hello.lowest_version > VERSION || hello.highest_version < VERSION {
        return violation(CloseCode::VERSION, "no common version");
    }
    if hello.side == ours {
        return violation(CloseCode::ROLE, "both have the same role");
    }
    if hello.unknown_critical.is_some() {
        return violation(CloseCode::UNSUPPORTED, "unknown critical field");
    }
    if hello.stream != 0 {
        return violation(CloseCode::UNSUPPORTED, "another stream than 0");
    }
    Ok(())
}

/// The only version so far.
pub(super) const VERSION: u8 = 1;
