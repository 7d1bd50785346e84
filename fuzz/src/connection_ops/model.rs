//! The reference: plain data about what was said, and what may be said next.

use std::collections::{BTreeMap, VecDeque};

use duologue::wire::{Kind, TransferCode, TransferId};

/// An item that the application queued, as the peer should hear it.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    Chat(usize),
    Message(u64, usize),
    Offer(TransferId),
    Accept(TransferId),
    Reject(TransferId),
    Pause(TransferId, bool),
    Finish(TransferId, u64),
    Cancel(TransferId),
    Verdict(TransferId, TransferCode, u64),
}

/// Both directions of one lane.
#[derive(Debug, Default)]
pub struct Lane {
    /// What the machine has to say, in this order; what it said, and what of it was acknowledged.
    pub expected: VecDeque<Expected>,
    pub heard: u64,
    pub acknowledged: u64,
    pub unacknowledged: VecDeque<usize>,
    /// Bytes of the stream with which each of these had come whole.
    pub ends: VecDeque<u64>,
    /// What the peer said, what of it was not taken, and what the machine acknowledged.
    pub said: u64,
    pub untaken: VecDeque<(u64, usize)>,
    pub machine_acknowledged: u64,
}

impl Lane {
    /// The number after the last item taken.
    pub fn taken(&self) -> u64 {
        self.untaken.front().map_or(self.said, |first| first.0)
    }

    pub fn untaken_bytes(&self) -> usize {
        self.untaken.iter().map(|item| item.1).sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    Offered,
    Open,
    /// Its sender asked to cancel it; whether before an answer.
    Cancelled {
        was_offered: bool,
    },
    Ended,
}

/// A transfer that the machine offers.
#[derive(Debug)]
pub struct Mine {
    pub seed: u32,
    pub size: Option<u64>,
    pub state: State,
    /// The peer has heard the offer.
    pub is_heard: bool,
    pub pushed: u64,
    pub total: Option<u64>,
    pub is_finish_heard: bool,
    pub limit: u64,
    pub received: u64,
    pub durable: u64,
    pub is_started: bool,
    pub heard: u64,
    pub is_paused: bool,
    pub is_paused_by_peer: bool,
    /// No DATA may come any more, as none was under way when it was paused or cancelled.
    pub is_silent: bool,
}

/// A transfer that the peer offers.
#[derive(Debug)]
pub struct Theirs {
    pub size: Option<u64>,
    pub state: State,
    pub is_accepted: bool,
    /// The peer has heard the ACCEPT, and the end.
    pub is_accept_heard: bool,
    pub is_end_heard: bool,
    pub is_cancel_asked: bool,
    pub limit: u64,
    pub durable: u64,
    pub told: u64,
    pub sent: u64,
    /// What the application was given and gave back.
    pub released: u64,
    pub is_started: bool,
    pub total: Option<u64>,
    pub is_paused: bool,
    pub is_paused_by_peer: bool,
}

#[derive(Debug, Default)]
pub struct Model {
    /// Chat and control.
    pub lanes: [Lane; 2],
    pub mine: BTreeMap<TransferId, Mine>,
    pub theirs: BTreeMap<TransferId, Theirs>,
    /// Bytes that the peer said it had received.
    pub reported: u64,
}

impl Mine {
    pub fn new(seed: u32, size: Option<u64>) -> Self {
        Self {
            seed,
            size,
            state: State::Offered,
            is_heard: false,
            pushed: 0,
            total: None,
            is_finish_heard: false,
            limit: 0,
            received: 0,
            durable: 0,
            is_started: false,
            heard: 0,
            is_paused: false,
            is_paused_by_peer: false,
            is_silent: false,
        }
    }

    pub fn is_undecided(&self) -> bool {
        matches!(self.state, State::Offered | State::Cancelled { was_offered: true })
    }
}

impl Theirs {
    pub fn new(size: Option<u64>) -> Self {
        Self {
            size,
            state: State::Offered,
            is_accepted: false,
            is_accept_heard: false,
            is_end_heard: false,
            is_cancel_asked: false,
            limit: 0,
            durable: 0,
            told: 0,
            sent: 0,
            released: 0,
            is_started: false,
            total: None,
            is_paused: false,
            is_paused_by_peer: false,
        }
    }

    /// How many bytes of DATA may follow.
    pub fn room(&self) -> u64 {
        let end = self.total.or(self.size).unwrap_or(u64::MAX);
        self.limit.min(end).saturating_sub(self.sent)
    }

    pub fn is_complete(&self) -> bool {
        self.total == Some(self.sent)
    }
}

impl Model {
    /// The `pick`-th of those that `wanted` likes.
    pub fn mine_like(&self, pick: usize, wanted: impl Fn(&Mine) -> bool) -> Option<TransferId> {
        let like: Vec<_> = self.mine.iter().filter(|(_, t)| wanted(t)).map(|(id, _)| *id).collect();
        like.get(pick % like.len().max(1)).copied()
    }

    pub fn theirs_like(&self, pick: usize, wanted: impl Fn(&Theirs) -> bool) -> Option<TransferId> {
        let like: Vec<_> =
            self.theirs.iter().filter(|(_, t)| wanted(t)).map(|(id, _)| *id).collect();
        like.get(pick % like.len().max(1)).copied()
    }

    /// Transfers that the peer may not take for ended.
    pub fn theirs_count(&self) -> usize {
        self.theirs.values().filter(|t| !t.is_end_heard).count()
    }

    pub fn theirs_undecided(&self) -> usize {
        let is_undecided = |t: &&Theirs| t.state != State::Ended && !t.is_accepted;
        self.theirs.values().filter(is_undecided).count()
    }

    pub fn queue(&mut self, expected: Expected) {
        let lane = usize::from(!matches!(expected, Expected::Chat(_)));
        self.lanes[lane].expected.push_back(expected);
    }

    /// Bytes that the peer may send at once to transfers that are open, beyond what was released.
    pub fn granted(&self) -> u64 {
        let flowing = |t: &&Theirs| t.state == State::Open && !t.is_cancel_asked;
        self.theirs.values().filter(flowing).map(|t| t.limit.saturating_sub(t.released)).sum()
    }

    pub fn flowing(&self) -> u64 {
        let flowing = |t: &&Theirs| t.state == State::Open && !t.is_cancel_asked;
        self.theirs.values().filter(flowing).count() as u64
    }
}

/// The lane of an item.
pub fn lane_of(kind: Kind) -> usize {
    kind.lane().expect("it is of an item").into()
}
