use core::time::Duration;
use std::vec::Vec;

use super::misbehaviour::Act;
use super::past::{Claim, Leg, Past};
use super::report::{Outcome, Report};
use super::speaker::{Fields, Next, NotYet, Said, Speaker};
use super::streams::{SECRET, linger};
use super::{Expected, Misbehaviour};
use crate::testing::SplitMix64;
use crate::time::Time;
use crate::wire::{
    Ack, Chat, CloseCode, ConversationId, Frame, Goodbye, Hello, Kind, Limits, PREFACE, Ping,
    Resume, Side,
};

/// A peer that keeps to the protocol but for one [`Misbehaviour`].
///
/// It does no I/O, as [`proto::Connection`](crate::proto::Connection) does none: bytes and times go
/// in, bytes and a deadline come out; [`run`](Self::run) does it over a stream. It begins the
/// conversation, does what it is there for, and sees what comes of it: whether it is sent away, or a
/// PING is still answered. A misbehaviour that is not a peer's makes an honest one.
///
/// What it says is drawn from the seed: the same seed, and the same answers, give the same bytes.
///
/// # Examples
///
/// A machine, and a client from the future:
///
/// ```
/// use duologue::proto::{Acceptor, Config, StreamParameters};
/// use duologue::testing::hostile::{HostilePeer, Misbehaviour, Outcome};
/// use duologue::time::Time;
/// use duologue::wire::{CloseCode, Side};
///
/// let misbehaviour = Misbehaviour::by_name("hello-of-another-version").unwrap();
/// let mut peer = HostilePeer::new(misbehaviour, Side::Client, 1);
/// let mut victim = Acceptor::new(Config::default(), StreamParameters::new([1; 32]), Time::ZERO);
///
/// let said = peer.poll_transmit(Time::ZERO).to_vec();
/// let mut rest = &said[..];
/// while let Ok((taken, _)) = victim.handle_input(Time::ZERO, rest) {
///     rest = &rest[taken..];
/// }
/// peer.advance_transmit(Time::ZERO, said.len());
/// for slice in victim.poll_transmit() {
///     peer.handle_input(Time::ZERO, &slice);
/// }
/// peer.handle_eof(Time::ZERO);
/// assert_eq!(peer.report().outcome, Outcome::Closed(CloseCode::VERSION));
/// assert!(peer.report().check().is_ok());
/// ```
#[derive(Debug)]
pub struct HostilePeer {
    pub(super) misbehaviour: &'static Misbehaviour,
    pub(super) speaker: Speaker,
    pub(super) stage: Stage,
    pub(super) patience: Duration,
    /// When it asks itself again what to say.
    pub(super) again_at: Option<Time>,
    /// It waits for something to be said, until then.
    pub(super) hears_until: Option<Time>,
    /// When the next piece may leave.
    pub(super) piece_at: Option<Time>,
    /// Something is to leave, and is waited for until then.
    pub(super) leaves_until: Option<Time>,
    /// Bytes that have left, over all streams, and those of earlier streams that were heard.
    pub(super) said: u64,
    pub(super) heard_earlier: u64,
    /// The most of any stream.
    pub(super) heard_before_open: u64,
    pub(super) is_ended: bool,
    pub(super) outcome: Option<Outcome>,
    pub(super) is_over: bool,
    /// The conversations that were begun, and which stream of those that it takes this is.
    pub(super) pasts: Vec<Past>,
    pub(super) stream: usize,
    /// The one that this stream is about.
    pub(super) conversation: Option<ConversationId>,
    /// What came of the stream on which something was not true.
    pub(super) verdict: Option<Outcome>,
    /// What it says of the conversation that it goes on with.
    pub(super) claim: Option<Claim>,
    /// What was said over this stream, if that may be said again.
    pub(super) words: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Hello,
    Greeted,
    Resume,
    Opening,
    Acting,
    Asking,
    Asked,
    /// Nothing more will be said.
    Leaving,
}

/// How long it waits for an occasion.
const OCCASION: Duration = Duration::from_secs(10);

impl HostilePeer {
    /// A peer on that side of a conversation, before its first byte.
    pub fn new(misbehaviour: &'static Misbehaviour, side: Side, seed: u64) -> Self {
        Self {
            misbehaviour,
            speaker: Speaker::new(side, seed),
            stage: Stage::Hello,
            patience: Duration::from_secs(600),
            again_at: None,
            hears_until: None,
            piece_at: None,
            leaves_until: None,
            said: 0,
            heard_earlier: 0,
            heard_before_open: 0,
            is_ended: false,
            outcome: None,
            is_over: false,
            pasts: Vec::new(),
            stream: 0,
            conversation: None,
            verdict: None,
            claim: None,
            words: Vec::new(),
        }
    }

    /// Sets how long it waits for the victim to do something, at the end of what it has to say; by
    /// default ten minutes.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What it is there for.
    pub const fn misbehaviour(&self) -> &'static Misbehaviour {
        self.misbehaviour
    }

    /// Hears what the victim says.
    pub fn handle_input(&mut self, now: Time, bytes: &[u8]) {
        self.speaker.heard.hear(bytes);
        if !self.speaker.heard.has_resumed {
            self.heard_before_open = self.heard_before_open.max(self.speaker.heard.bytes);
        }
        if let Some(code) = self.speaker.heard.goodbye {
            self.leave(Outcome::Closed(code), now);
        }
        self.hears_until = None;
        self.mind_manners();
    }

    /// The victim's stream has ended, or failed.
    pub fn handle_eof(&mut self, now: Time) {
        self.leave(Outcome::Dropped, now);
        self.speaker.out.clear();
        self.is_over = true;
    }

    /// What was said cannot be sent any more: from now on it listens.
    pub fn handle_write_error(&mut self, now: Time) {
        self.speaker.out.clear();
        self.speaker.is_deaf = false;
        self.stage = Stage::Leaving;
        self.is_ended = true;
        self.again_at = Some(now.saturating_add(self.patience));
    }

    /// A deadline of [`poll_timeout`](Self::poll_timeout) has come; earlier calls do nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.piece_at.is_some_and(|at| at <= now) {
            self.piece_at = None;
        }
        if self.leaves_until.is_some_and(|until| until <= now) {
            self.leaves_until = None;
            self.outcome.get_or_insert(Outcome::Nothing);
            self.is_over = true;
        }
        if self.hears_until.is_some_and(|until| until <= now) {
            self.hears_until = None;
            // It has been waited for long enough.
            let is_acting = matches!(self.stage, Stage::Greeted | Stage::Acting);
            if is_acting {
                self.have_no_occasion();
            } else {
                self.outcome.get_or_insert(Outcome::Nothing);
                self.is_over = true;
            }
        }
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = None;
            if self.stage == Stage::Leaving {
                self.outcome.get_or_insert(Outcome::Nothing);
                self.is_over = true;
            }
        }
    }

    /// What is to be sent; empty if there is nothing for now.
    pub fn poll_transmit(&mut self, now: Time) -> &[u8] {
        self.advance(now);
        if !self.speaker.out.is_empty() && self.leaves_until.is_none() {
            self.leaves_until = Some(now.saturating_add(self.patience));
        }
        let most = match (self.speaker.piece, self.piece_at) {
            (_, Some(_)) => 0,
            (Some((most, _)), None) => most,
            (None, None) => usize::MAX,
        };
        self.speaker.out.get(..most).unwrap_or(&self.speaker.out)
    }

    /// So many bytes of it have left.
    pub fn advance_transmit(&mut self, now: Time, len: usize) {
        let len = len.min(self.speaker.out.len());
        self.said = self.said.saturating_add(len as u64);
        let words = self.speaker.out.drain(..len);
        if self.misbehaviour.streams() > 1 {
            self.words.extend(words);
        }
        self.leaves_until = None;
        if let Some((_, pace)) = self.speaker.piece.filter(|(_, pace)| !pace.is_zero()) {
            self.piece_at = Some(now.saturating_add(pace));
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        let deadlines = [self.again_at, self.hears_until, self.piece_at, self.leaves_until];
        deadlines.into_iter().flatten().min()
    }

    /// Whether it wants to read; some never do.
    pub const fn is_reading(&self) -> bool {
        !self.speaker.is_deaf
    }

    /// Whether it has said all that it will say, so that its half of the stream is to be closed.
    pub fn is_write_closed(&self) -> bool {
        self.is_ended && self.speaker.out.is_empty()
    }

    /// Whether it knows what came of it.
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// What it has seen so far.
    pub fn report(&self) -> Report {
        let has_no_stream = self.stream > 0 && self.words.is_empty();
        let otherwise = if has_no_stream { Outcome::NoOccasion } else { Outcome::Nothing };
        Report {
            misbehaviour: self.misbehaviour,
            outcome: self.outcome.unwrap_or(otherwise),
            said: self.said,
            heard: self.heard_earlier.saturating_add(self.speaker.heard.bytes),
            heard_before_open: self.heard_before_open,
        }
    }

    fn leave(&mut self, outcome: Outcome, now: Time) {
        self.outcome.get_or_insert(outcome);
        if self.stage != Stage::Leaving || !self.is_ended {
            self.stage = Stage::Leaving;
            self.is_ended = true;
            self.speaker.out.clear();
            self.again_at = Some(now.saturating_add(self.patience));
        }
    }

    fn have_no_occasion(&mut self) {
        self.outcome.get_or_insert(Outcome::NoOccasion);
        self.stage = match self.stage {
            Stage::Greeted => Stage::Resume,
            _ => Stage::Asking,
        };
    }

    /// Says what comes next, if everything has left and nothing is waited for.
    fn advance(&mut self, now: Time) {
        // What a stage says is little, and a stage that says nothing is followed by the next one.
        for _ in 0..16 {
            let waits = self.again_at.is_some() || self.hears_until.is_some();
            if !self.speaker.out.is_empty() || waits || self.is_over || !self.say(now) {
                return;
            }
        }
    }

    /// Returns whether there may be more.
    fn say(&mut self, now: Time) -> bool {
        match (self.stage, &self.misbehaviour.act) {
            (Stage::Hello, Act::Instead(act)) => self.ask(*act, now),
            (Stage::Hello, Act::Streams(_)) if matches!(self.leg(), Some(Leg::Again)) => {
                self.say_again()
            }
            (Stage::Hello, _) => self.say_hello(now),
            (Stage::Greeted, Act::Greeted(act)) => self.ask(*act, now),
            (Stage::Greeted, _) => {
                self.stage = Stage::Resume;
                true
            }
            (Stage::Resume, _) if self.claim.is_some() => self.claim(now),
            (Stage::Resume, _) => {
                let secret = (self.speaker.side == Side::Server).then_some(SECRET);
                self.speaker.frame(0, &Frame::Resume(Resume { secret, ..Resume::default() }));
                self.stage = Stage::Opening;
                false
            }
            (Stage::Opening, _) if self.speaker.heard.has_resumed => {
                self.stage = Stage::Acting;
                true
            }
            (Stage::Acting, Act::Open(act)) => self.ask(*act, now),
            // What the stream does happens in the middle of something.
            (Stage::Acting, Act::Transport(_)) => self.ask(chatter, now),
            (Stage::Acting, Act::Streams(_)) => self.ask(linger, now),
            (Stage::Acting, _) => {
                self.stage = Stage::Asking;
                true
            }
            (Stage::Asking, _) => {
                self.speaker.is_deaf = false;
                self.speaker.heard.pong = None;
                self.speaker.frame(0, &Frame::Ping(TEST));
                self.stage = Stage::Asked;
                false
            }
            (Stage::Asked, _) if self.speaker.heard.pong == Some(TEST.token) => {
                self.part(now);
                false
            }
            (Stage::Opening | Stage::Asked, _) => {
                self.hears_until = Some(now.saturating_add(self.patience));
                false
            }
            (Stage::Leaving, _) => false,
        }
    }

    fn say_hello(&mut self, now: Time) -> bool {
        let theirs = self.speaker.heard.hello.as_ref();
        let theirs = match (self.speaker.side, theirs) {
            (Side::Server, None) => {
                self.hears_until = Some(now.saturating_add(self.patience));
                return false;
            }
            (Side::Server, Some(hello)) => Some((hello.conversation, hello.attach)),
            (Side::Client, _) => None,
        };
        let nonce = self.draw();
        let (conversation, attach) = self.subject(theirs);
        if self.is_over {
            return false;
        }
        let hello = Hello {
            lowest_version: 1,
            highest_version: 1,
            side: self.speaker.side,
            nonce,
            conversation,
            attach,
            stream: 0,
            features: 0,
            limits: Limits::default(),
            unknown_critical: None,
        };
        let mut payload = Vec::new();
        let encoded = hello.encode(&mut payload);
        debug_assert!(encoded.is_ok());
        let mut fields = Fields::new(self.speaker.side, &payload);
        if let Act::Hello(alter) = self.misbehaviour.act {
            alter(&mut fields);
        }
        self.speaker.raw_bytes(&PREFACE);
        self.speaker.raw(Kind::HELLO, 0, &fields.into_payload());
        self.stage = Stage::Greeted;
        // What happens there may be about how all of it leaves.
        self.say(now)
    }

    pub(super) fn draw<const N: usize>(&mut self) -> [u8; N] {
        let random: &mut SplitMix64 = &mut self.speaker.random;
        core::array::from_fn(|_| random.next_u64().to_be_bytes()[0])
    }

    /// Lets the misbehaviour say something.
    fn ask(&mut self, act: fn(&mut Speaker) -> Said, now: Time) -> bool {
        match act(&mut self.speaker) {
            Ok(Next::Go) => return !self.speaker.out.is_empty(),
            Ok(Next::Wait(pause)) => self.again_at = Some(now.saturating_add(pause)),
            Ok(Next::End) => {
                self.stage = Stage::Leaving;
                self.is_ended = true;
                self.again_at = Some(now.saturating_add(self.patience));
            }
            Ok(Next::Done) => return self.be_done(now),
            Err(NotYet::Hear) => self.hears_until = Some(now.saturating_add(OCCASION)),
            Err(NotYet::Never) => {
                let is_it = self.misbehaviour.expected == Expected::Refused;
                let code = self.speaker.heard.refused.filter(|_| is_it);
                let outcome = code.map_or(Outcome::NoOccasion, Outcome::Refused);
                self.outcome.get_or_insert(outcome);
                self.have_no_occasion();
                return true;
            }
        }
        false
    }

    fn be_done(&mut self, now: Time) -> bool {
        self.stage = match self.stage {
            Stage::Greeted => Stage::Resume,
            Stage::Acting => Stage::Asking,
            _ => {
                self.again_at = Some(now.saturating_add(self.patience));
                Stage::Leaving
            }
        };
        true
    }

    /// All is well: ends as one should.
    fn part(&mut self, now: Time) {
        if self.has_next_leg() {
            return self.break_off();
        }
        let refused = self.speaker.heard.refused;
        let outcome = refused.map_or(Outcome::Tolerated, Outcome::Refused);
        self.outcome.get_or_insert(outcome);
        let goodbye = Goodbye { code: CloseCode::DONE, text: "".into() };
        self.speaker.frame(0, &Frame::Goodbye(goodbye));
        self.stage = Stage::Leaving;
        self.is_ended = true;
        self.again_at = Some(now.saturating_add(self.patience));
    }

    /// Answers a PING, and acknowledges.
    fn mind_manners(&mut self) {
        let speaker = &mut self.speaker;
        let is_open = matches!(self.stage, Stage::Acting | Stage::Asking | Stage::Asked);
        if !is_open || !speaker.has_manners {
            return;
        }
        if let Some(token) = speaker.heard.ping.take() {
            speaker.frame(0, &Frame::Pong(Ping { token }));
        }
        if core::mem::take(&mut speaker.heard.is_ack_owed) {
            let ack = Ack { next: speaker.heard.next, received: speaker.heard.bytes };
            speaker.frame(0, &Frame::Ack(ack));
        }
    }
}

/// Says some lines, one after the other.
fn chatter(s: &mut Speaker) -> Said {
    if s.step >= LINES {
        return Ok(Next::Done);
    }
    s.step = s.step.saturating_add(1);
    s.frame(0, &Frame::Chat(Chat::new("a line")));
    Ok(Next::Wait(PAUSE))
}

/// Lines of one who has nothing else to do, and the time between them.
const LINES: u64 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// What asks whether the victim still answers.
const TEST: Ping = Ping { token: *b"hostile?" };
