use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use core::fmt;
use core::ops::Range;
use core::time::Duration;

use bytes::Bytes;

use super::budget::{self, Budget};
use super::config::Config;
use super::debts::Debts;
use super::error::Error;
use super::event::Event;
use super::given_up::GivenUp;
use super::incoming::Incoming;
use super::lanes::{Half, LaneLimits, Lanes};
use super::link::{Link, Phase, VERSION};
use super::offer_limits::RefusedOffers;
use super::outgoing::Outgoing;
use super::rare::Rare;
use super::receive_lane::{Accepts, ReceiveLane};
use super::send_lane::SendLane;
use super::statistics::{Counts, Statistics};
use super::table::Table;
use crate::time::Time;
use crate::wire::{ConversationId, Hello, Limits, Side, TransferCode, TransferId};

/// One conversation with one peer: a state machine without I/O.
///
/// See the [module](super) for how it is driven. Time, input and random seeds come in as arguments;
/// bytes to send and events come out. Any order of calls is legal: an input or output too many does
/// nothing, and an action that cannot be done returns an error and has changed nothing.
///
/// `Debug` shows where it is, and nothing of what was said, nor the secret.
pub struct Connection {
    pub(super) side: Side,
    pub(super) config: Config,
    pub(super) conversation: ConversationId,
    /// The highest counter this conversation was attached with.
    pub(super) attach: u64,
    pub(super) secret: Option<[u8; 32]>,
    /// The peer's terms of the first handshake; later ones have to agree with them.
    pub(super) peer: Option<Terms>,
    /// Both sides accepted once.
    pub(super) is_open: bool,
    /// The peer is known to have the secret, so it can come back.
    pub(super) is_confirmed: bool,
    /// Something of the peer's came since the last attach.
    pub(super) has_received: bool,
    pub(super) link: Option<Link>,
    pub(super) detached_since: Option<Time>,
    /// Attaches in a row that brought nothing on.
    pub(super) idle_attaches: u32,
    /// When the last attach was, and what the peer had of our lanes then.
    pub(super) attached_at: Time,
    pub(super) resumed_at: [u64; 2],
    pub(super) closing: Option<Box<Closing>>,
    pub(super) is_closed: bool,
    pub(super) error: Option<Box<Error>>,

    pub(super) send: Half<SendLane>,
    pub(super) receive: Half<ReceiveLane>,
    pub(super) outgoing: Table<Outgoing>,
    /// Those of ours that were given up, which count at the peer until it answers.
    pub(super) given_up: Rare<Table<GivenUp>>,
    pub(super) incoming: Table<Incoming>,
    /// What the application still has of content that is over.
    pub(super) debts: Rare<Debts>,
    /// Some window is smaller than what is reserved for it, until debts are paid.
    pub(super) is_starved: bool,
    /// The number of the next offer of either side.
    pub(super) next_outgoing: u32,
    pub(super) next_incoming: u32,
    /// The numbers of our REJECT and VERDICT items, but for those that are known to have begun: the
    /// peer cannot know yet that these transfers have ended.
    pub(super) answers: Rare<VecDeque<u64>>,
    /// Late DATA of ended transfers that is still forgiven.
    pub(super) late_allowance: u64,
    /// Late frames that cost nothing.
    pub(super) late_frames: u32,
    /// And OFFERs of members whose batch has ended.
    pub(super) late_offers: u32,
    /// The last batches of the peer's that have ended, and how.
    pub(super) ended_batches: Rare<VecDeque<(TransferId, TransferCode)>>,

    /// Transfers that have to say that they begin at 0 again, before anything that counts on it.
    pub(super) restarts: Rare<VecDeque<TransferId>>,
    /// Transfers with data to send, in turn; with credit to tell; with events to poll.
    pub(super) ring: VecDeque<TransferId>,
    pub(super) credits: VecDeque<TransferId>,
    /// Transfers with credit to tell that is not urgent.
    pub(super) late_credits: Rare<VecDeque<TransferId>>,
    pub(super) news: Rare<VecDeque<TransferId>>,
    pub(super) signals: Rare<VecDeque<(u16, Bytes)>>,
    /// How many of these are planned, and have not begun to leave.
    pub(super) planned_signals: usize,
    pub(super) events: VecDeque<Event<'static>>,
    pub(super) delivered: Lanes<Range<u64>>,
    pub(super) is_blocked: Lanes<bool>,
    pub(super) refused_offers: RefusedOffers,

    pub(super) budget: Budget,
    /// What we may spend of the peer's budget: half of it, as time on the way can bunch frames.
    pub(super) own_budget: Budget,
    /// Something waits until that has some left.
    pub(super) is_out_of_budget: bool,
    /// Transfers whose next frame does.
    pub(super) out_of_budget: Rare<VecDeque<TransferId>>,
    /// CREDIT that is not urgent goes at this time; transfers are looked over at that.
    pub(super) credit_due: Option<Time>,
    pub(super) transfers_due: Time,
    pub(super) now: Time,
    pub(super) statistics: Counts,
}

/// What a peer's HELLO says for as long as there is the conversation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Terms {
    versions: [u8; 2],
    features: u64,
    pub(super) limits: Limits,
}

impl Terms {
    pub(super) fn of(hello: &Hello) -> Self {
        Self {
            versions: [hello.lowest_version, hello.highest_version],
            features: hello.features,
            limits: hello.limits,
        }
    }
}

/// A graceful close under way.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) code: crate::wire::CloseCode,
    pub(super) text: String,
    /// Until then the last items may be acknowledged; later, the peer may answer.
    pub(super) deadline: Time,
    pub(super) is_sent: bool,
}

/// What a new stream needs from outside: randomness, and what it is bound to.
///
/// # Examples
///
/// ```
/// use duologue::proto::StreamParameters;
///
/// let seed = [7; 32]; // of a real program from getrandom::fill
/// let stream = StreamParameters::new(seed).channel_binding(b"TLS exporter of the stream");
/// ```
///
/// `Debug` does not show them.
#[derive(Clone, Copy)]
pub struct StreamParameters<'a> {
    pub(super) seed: [u8; 32],
    pub(super) channel_binding: &'a [u8],
}

impl fmt::Debug for StreamParameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamParameters").finish_non_exhaustive()
    }
}

impl<'a> StreamParameters<'a> {
    /// A stream that is bound to nothing. The seed is 32 random bytes, used for this stream only:
    /// whoever knows it can take over the conversation.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, channel_binding: &[] }
    }

    /// Binds the handshake to the channel below: with different bytes at both ends the handshake
    /// hashes differ. By default there are none.
    #[must_use]
    pub fn channel_binding(mut self, bytes: &'a [u8]) -> Self {
        self.channel_binding = bytes;
        self
    }

    pub(super) fn derive(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.seed)
    }

    /// What makes a handshake unlike any other.
    pub(super) fn nonce(&self) -> [u8; 32] {
        self.derive("duologue 1 nonce")
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("side", &self.side)
            .field("conversation", &self.conversation)
            .field("attach", &self.attach)
            .field("phase", &self.phase())
            .field("is_open", &self.is_open)
            .field("is_closing", &self.closing.is_some())
            .field("is_closed", &self.is_closed)
            .field("outgoing", &self.outgoing.len())
            .field("incoming", &self.incoming.len())
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Begins a conversation as the client. The first bytes to send are ready at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use core::time::Duration;
    /// use duologue::proto::{Config, Connection, StreamParameters};
    /// use duologue::time::Time;
    /// use duologue::wire::PREFACE;
    ///
    /// let seed = [7; 32]; // of a real program from getrandom::fill
    /// let now = Time::ZERO;
    /// let mut client = Connection::client(Config::default(), StreamParameters::new(seed), now);
    /// assert!(client.poll_transmit(now).first().unwrap().starts_with(&PREFACE));
    /// assert!(!client.is_open(), "the server has not answered");
    /// let deadline = now.saturating_add(Duration::from_secs(10)); // by default
    /// assert_eq!(client.poll_timeout(), Some(deadline));
    /// ```
    pub fn client(config: Config, stream: StreamParameters<'_>, now: Time) -> Self {
        let mut id = [0; 16];
        for (place, byte) in id.iter_mut().zip(stream.derive("duologue 1 conversation")) {
            *place = byte;
        }
        let mut connection = Self::new(Side::Client, config, ConversationId::new(id), now);
        connection.connect(stream, now);
        connection
    }

    pub(super) fn new(side: Side, config: Config, conversation: ConversationId, now: Time) -> Self {
        let limits = lane_limits(&config, &Limits::default());
        Self {
            side,
            config,
            conversation,
            attach: 0,
            secret: None,
            peer: None,
            is_open: false,
            is_confirmed: false,
            has_received: false,
            link: None,
            detached_since: None,
            idle_attaches: 0,
            resumed_at: [0, 0],
            attached_at: now,
            closing: None,
            is_closed: false,
            error: None,
            send: Half::new(SendLane::new(limits)),
            receive: Half::new(ReceiveLane::default()),
            outgoing: Table::default(),
            given_up: Rare::new(),
            incoming: Table::default(),
            debts: Rare::new(),
            is_starved: false,
            next_outgoing: 1,
            next_incoming: 1,
            answers: Rare::new(),
            late_allowance: 0,
            late_frames: 0,
            late_offers: 0,
            restarts: Rare::new(),
            ended_batches: Rare::new(),
            ring: VecDeque::new(),
            credits: VecDeque::new(),
            late_credits: Rare::new(),
            news: Rare::new(),
            signals: Rare::new(),
            planned_signals: 0,
            events: VecDeque::new(),
            delivered: Lanes::from_fn(|_| 0..0),
            is_blocked: Lanes::default(),
            refused_offers: RefusedOffers::default(),
            // Their size is known with the peer's limits; nothing is spent before.
            budget: Budget::new(0, now),
            own_budget: Budget::new(0, now),
            is_out_of_budget: false,
            out_of_budget: Rare::new(),
            credit_due: None,
            transfers_due: Time::MAX,
            now,
            statistics: Counts::default(),
        }
    }

    /// Which end of the conversation this is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The limits and time-outs in use.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The name of the conversation, under which the server finds it again.
    pub fn conversation(&self) -> ConversationId {
        self.conversation
    }

    /// Whether both sides have accepted each other and nobody has said goodbye: messages and
    /// offers are taken, though there may be no stream to send them at the moment.
    pub fn is_open(&self) -> bool {
        self.is_open && !self.is_closed && self.closing.is_none()
    }

    /// Whether the conversation is open but has no stream, or one that is not ready yet.
    pub fn is_detached(&self) -> bool {
        self.is_open() && self.phase() != Some(Phase::Open)
    }

    /// Whether the conversation has ended. There may still be last words to transmit.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether nothing more can come of the present stream, if there is one, but last words.
    #[cfg(feature = "std")]
    pub(crate) fn is_stream_over(&self) -> bool {
        self.phase().is_none_or(|phase| phase == Phase::Closed)
    }

    /// Whether nothing more will ever be sent on this stream: its sending half can be closed.
    pub fn is_write_closed(&self) -> bool {
        match &self.link {
            None => true,
            Some(link) => {
                let is_last = matches!(link.phase, Phase::Closing | Phase::Closed);
                is_last && link.plan.is_empty()
            }
        }
    }

    /// The violation or failure that ended the conversation.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_deref()
    }

    /// BLAKE3 over both sides' HELLO and the channel binding, once both are known.
    pub fn handshake_hash(&self) -> Option<[u8; 32]> {
        self.link.as_ref().and_then(|link| link.hash)
    }

    /// What the peer accepts, once its HELLO has come.
    pub fn peer_limits(&self) -> Option<&Limits> {
        self.peer.as_ref().map(|terms| &terms.limits)
    }

    /// The counts so far, and the present state of the stream.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = Statistics::from(self.statistics);
        if let Some(link) = &self.link {
            statistics.round_trip = link.pacer.round_trip();
            statistics.min_round_trip = link.pacer.min_round_trip();
            statistics.delivery_rate = link.pacer.rate();
            statistics.in_flight = link.pacer.in_flight();
            statistics.flight_allowance = link.pacer.allowance(self.now);
        }
        statistics.receive_window = self
            .incoming
            .values()
            .map(|t| t.sent_credit.limit.saturating_sub(t.received))
            .fold(0, u64::saturating_add);
        statistics
    }

    /// The round trip of the present stream, smoothed.
    pub fn round_trip(&self) -> Option<Duration> {
        self.link.as_ref().and_then(|link| link.pacer.round_trip())
    }

    /// A call says what time it is. A clock that goes back stands still here: what was late stays
    /// late, and no deadline moves.
    pub(super) fn advance(&mut self, now: Time) -> Time {
        self.now = self.now.max(now);
        self.now
    }

    pub(super) fn phase(&self) -> Option<Phase> {
        self.link.as_ref().map(|link| link.phase)
    }

    /// Our HELLO for a new stream.
    pub(super) fn hello(&self, nonce: [u8; 32], attach: u64) -> Hello {
        Hello {
            lowest_version: VERSION,
            highest_version: VERSION,
            side: self.side,
            nonce,
            conversation: self.conversation,
            attach,
            stream: 0,
            features: 0,
            limits: self.config.limits,
            unknown_critical: None,
        }
    }

    /// What we accept of a lane.
    pub(super) fn accepts(&self) -> Accepts {
        let limits = &self.config.limits;
        Accepts {
            item: usize_from(limits.item),
            items: usize_from(limits.items),
            bytes: usize_from(limits.item_bytes),
        }
    }

    /// The peer's terms are known.
    pub(super) fn set_peer(&mut self, hello: &Hello) {
        let limits = lane_limits(&self.config, &hello.limits);
        self.send.iter_mut().for_each(|lane| lane.set_limits(limits));
        let size = budget::size(&self.config.limits, &hello.limits);
        self.budget.resize(size);
        self.own_budget.resize(size / 2);
        self.peer = Some(Terms::of(hello));
    }
}

fn lane_limits(config: &Config, peer: &Limits) -> LaneLimits {
    // Nobody can make us keep more for an acknowledgement than we queue.
    LaneLimits {
        // What the peer permits may be more than we want to keep.
        peer_items: peer.items.min(config.queued_items),
        peer_bytes: peer.item_bytes.min(config.queued_bytes),
        peer_item: peer.item,
        queued_items: config.queued_items,
        queued_bytes: config.queued_bytes,
    }
}

pub(super) fn usize_from(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
