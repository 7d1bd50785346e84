//! The model of one side, and its calls: whether each may succeed is known beforehand.

use std::collections::{BTreeMap, VecDeque};

use duologue::proto::{Acceptance, ActionError, Conclusion, Config, Connection, ItemId, Lane};
use duologue::testing::Pattern;
use duologue::time::Time;
use duologue::wire::{
    Batch, Chat, Credit, Digest, Message, Offer, Side, Signal, TransferCode, TransferId,
};

use super::super::machine::Sizes;

/// What is offered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spec {
    pub len: u64,
    pub size: Option<u64>,
    pub is_seekable: bool,
    pub batch: Option<TransferId>,
    pub is_directory: bool,
}

/// What a side said: the other one has to hear just that.
#[derive(Debug, Default)]
pub struct Truth {
    pub chats: Vec<usize>,
    pub messages: Vec<(u64, usize)>,
    pub files: BTreeMap<TransferId, Spec>,
    pub batches: BTreeMap<TransferId, u32>,
    pub totals: BTreeMap<TransferId, u64>,
    /// How it ended what the peer offered: the code, and the total if that is known.
    pub answers: BTreeMap<TransferId, (TransferCode, Option<u64>)>,
}

/// A transfer of ours.
#[derive(Debug, Default)]
pub struct Out {
    pub spec: Spec,
    /// Of a batch: members to offer.
    pub members: Option<u32>,
    pub position: u64,
    pub reported: u64,
    /// How far it is on the wire, since START.
    pub wire: Option<u64>,
    pub is_accepted: bool,
    pub offset: u64,
    /// The peer named a prefix; whether its digest is the one of ours.
    pub prefix: Option<bool>,
    pub has_restarted: bool,
    pub is_finished: bool,
    pub is_cancelled: bool,
    pub is_paused_by_peer: bool,
}

/// A transfer of the peer's.
#[derive(Debug, Default)]
pub struct In {
    pub spec: Spec,
    pub count: Option<u32>,
    pub members: u32,
    pub stored: u32,
    pub is_accepted: bool,
    pub received: u64,
    pub limit: u64,
    pub has_restarted: bool,
    pub total: Option<u64>,
    pub is_cancel_asked: bool,
    pub is_paused_by_peer: bool,
}

#[derive(Debug)]
pub struct App {
    side: Side,
    sizes: Sizes,
    pub truth: Truth,
    pub chats_seen: usize,
    pub messages_seen: usize,
    pub untaken: [VecDeque<(ItemId, usize)>; 2],
    /// Bytes handed out and not released, whatever became of their transfer.
    pub kept: BTreeMap<TransferId, u64>,
    pub resolved: [u64; 2],
    pub outgoing: BTreeMap<TransferId, Out>,
    pub incoming: BTreeMap<TransferId, In>,
    last_transfer: u32,
}

/// What an application has to know of the other one to judge what it is told.
pub struct Peer<'a> {
    pub truth: &'a mut Truth,
    pub untaken: &'a [VecDeque<(ItemId, usize)>; 2],
    /// How many of our items are whole on the wire, by lane.
    pub sent: [u64; 2],
}

pub const RIGHT: Digest = Digest::Blake3([1; 32]);
const WRONG: Digest = Digest::Blake3([2; 32]);

/// The longest chunk of data.
const CHUNK: u64 = 65_536;

pub fn text(number: usize, len: usize) -> String {
    char::from(b'a' + (number % 26) as u8).to_string().repeat(len)
}

pub fn content(transfer: TransferId) -> Pattern {
    Pattern::new(transfer.to_wire().into())
}

/// Calls, and holds the machine to it that an error has changed nothing.
fn attempt<T>(
    machine: &mut Connection,
    ids: &[TransferId],
    call: impl FnOnce(&mut Connection) -> Result<T, ActionError>,
) -> Result<T, ActionError> {
    let state = |machine: &Connection| {
        let capacities: Vec<_> = ids.iter().map(|id| machine.capacity(*id)).collect();
        (machine.statistics(), capacities, machine.poll_timeout())
    };
    let before = state(machine);
    let result = call(machine);
    if let Err(error) = &result {
        assert_eq!(before, state(machine), "{error}");
    }
    result
}

impl App {
    pub fn new(side: Side, sizes: Sizes) -> Self {
        Self {
            side,
            sizes,
            truth: Truth::default(),
            chats_seen: 0,
            messages_seen: 0,
            untaken: Default::default(),
            kept: BTreeMap::new(),
            resolved: [0; 2],
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            last_transfer: 0,
        }
    }

    /// What a member of a batch may send at once.
    pub fn member_credit(&self) -> u64 {
        self.sizes.config().limits().member_credit.into()
    }

    fn ids(&self) -> Vec<TransferId> {
        self.outgoing.keys().copied().collect()
    }

    /// The `pick`-th transfer of ours or of the peer's.
    pub fn nth(&self, ours: bool, pick: usize) -> Option<TransferId> {
        let ids: Vec<_> = if ours { self.ids() } else { self.incoming.keys().copied().collect() };
        ids.get(pick % ids.len().max(1)).copied()
    }

    /// Bytes that were handed out and neither taken nor released.
    pub fn held(&self) -> usize {
        let items: usize = self.untaken.iter().flatten().map(|(_, size)| size).sum();
        items + self.kept.values().sum::<u64>() as usize
    }

    pub fn is_done(&self, peer: &Truth) -> bool {
        let messages = self.truth.messages.last().map_or(0, |(number, _)| number + 1);
        self.chats_seen == peer.chats.len()
            && self.messages_seen == peer.messages.len()
            && self.resolved[0] == self.truth.chats.len() as u64
            && self.resolved[1] >= messages
    }

    pub fn chat(&mut self, machine: &mut Connection, len: usize) {
        let number = self.truth.chats.len();
        let text = text(number, len);
        let max = machine.peer_limits().expect("it is open").item as usize;
        match attempt(machine, &self.ids(), |m| m.send_chat(&Chat::new(text))) {
            Ok(item) => {
                assert!(len + 2 <= max);
                assert_eq!(item, ItemId { lane: Lane::Chat, number: number as u64 });
                self.truth.chats.push(len);
            }
            Err(ActionError::TooLarge { .. }) => assert!(len + 2 > max),
            Err(ActionError::Blocked) => assert!(self.resolved[0] < number as u64),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn message(&mut self, machine: &mut Connection, len: usize) {
        let correlation = self.truth.messages.len() as u64;
        let body = Pattern::new(correlation).bytes(0, len);
        let message =
            Message { message_type: 3, is_reply: false, correlation, body: body[..].into() };
        let max = machine.peer_limits().expect("it is open").item as usize;
        match attempt(machine, &self.ids(), |m| m.send_message(&message)) {
            Ok(item) => {
                let last = self.truth.messages.last().map_or(0, |(number, _)| number + 1);
                assert!(item.lane == Lane::Control && item.number >= last);
                self.truth.messages.push((item.number, len));
            }
            Err(ActionError::TooLarge { .. }) => assert!(len + 11 > max),
            Err(ActionError::Blocked) => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub fn signal(&self, machine: &mut Connection, len: usize, times: u8) {
        let payload = Pattern::new(0).bytes(0, len);
        let signal = Signal { signal_type: 1, payload: payload[..].into() };
        for _ in 0..=times {
            let result = attempt(machine, &self.ids(), |m| m.send_signal(&signal));
            assert!(result.is_ok() || len > 1022, "{result:?}");
        }
    }

    fn check_room(&mut self, machine: &Connection, transfer: TransferId, is_member: bool) {
        assert_eq!((transfer.side(), transfer.number()), (self.side, self.last_transfer + 1));
        self.last_transfer += 1;
        let limits = machine.peer_limits().expect("it is open");
        assert!(self.outgoing.len() < limits.transfers as usize);
        let is_undecided = |out: &&Out| !out.is_accepted && !out.is_cancelled;
        let undecided = self.outgoing.values().filter(is_undecided).count();
        assert!(is_member || undecided < limits.undecided as usize);
    }

    pub fn offer(&mut self, machine: &mut Connection, spec: Spec, now: Time) {
        let mut offer = Offer::new(format!("f{}", self.last_transfer + 1));
        offer.size = spec.size;
        offer.is_seekable = spec.is_seekable;
        offer.is_directory = spec.is_directory;
        offer.batch = spec.batch;
        let has_batch = spec.batch.is_none_or(|id| {
            let batch = &self.outgoing[&id];
            batch.is_accepted && !batch.is_cancelled && batch.members.is_some_and(|n| n > 0)
        });
        match attempt(machine, &self.ids(), |m| m.offer(&offer, now)) {
            Ok(transfer) => {
                assert!(has_batch);
                self.check_room(machine, transfer, spec.batch.is_some());
                self.truth.files.insert(transfer, spec);
                if let Some(batch) = spec.batch.and_then(|id| self.outgoing.get_mut(&id)) {
                    batch.members = batch.members.map(|left| left - 1);
                }
                let is_accepted = spec.batch.is_some();
                self.outgoing.insert(transfer, Out { spec, is_accepted, ..Out::default() });
            }
            Err(ActionError::WrongState(id)) => assert!(!has_batch && spec.batch == Some(id)),
            Err(ActionError::Blocked | ActionError::PeerLimit) => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub fn offer_batch(&mut self, machine: &mut Connection, count: u32, now: Time) {
        let batch = Batch { name: "b".into(), count, bytes: 0, metadata: Default::default() };
        match attempt(machine, &self.ids(), |m| m.offer_batch(&batch, now)) {
            Ok(transfer) => {
                self.check_room(machine, transfer, false);
                self.truth.batches.insert(transfer, count);
                self.outgoing.insert(transfer, Out { members: Some(count), ..Out::default() });
            }
            Err(ActionError::Blocked | ActionError::PeerLimit | ActionError::NoPlaceForMembers) => {
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends a chunk; a wild one begins elsewhere, or goes beyond the size.
    pub fn send_data(&mut self, m: &mut Connection, pick: usize, len: usize, is_wild: bool) {
        let Some(transfer) = self.nth(true, pick) else { return };
        let (ids, capacity) = (self.ids(), m.capacity(transfer));
        let out = self.outgoing.get_mut(&transfer).expect("it is open");
        let is_open = out.is_accepted && !out.is_cancelled && out.is_file();
        let left = out.spec.len.saturating_sub(out.position);
        let is_beyond = is_wild && (out.spec.size.is_some() || out.is_finished);
        let offset = out.position + u64::from(is_wild && !is_beyond);
        let most = if is_beyond { left + 1 } else { left.min(len as u64) };
        let data = content(transfer).bytes(offset, most as usize);
        let len = data.len() as u64;
        let end = if out.is_finished { out.position } else { out.spec.len };
        let result = attempt(m, &ids, |m| m.send_data(transfer, offset, data));
        let expected = if !is_open {
            Err(ActionError::WrongState(transfer))
        } else if offset != out.position {
            Err(ActionError::WrongOffset { expected: out.position })
        } else if offset + len > end {
            Err(ActionError::TooLarge { max: end })
        } else if len > 0 && capacity == 0 {
            Err(ActionError::Blocked)
        } else {
            out.position += len;
            Ok(())
        };
        assert_eq!(result, expected, "{transfer} {out:?}");
    }

    pub fn send_all(&mut self, machine: &mut Connection, len: usize) {
        for pick in 0..self.outgoing.len() {
            let transfer = self.nth(true, pick).expect("there are as many");
            for _ in 0..64 {
                let out = &self.outgoing[&transfer];
                if out.position >= out.spec.len || machine.capacity(transfer) == 0 {
                    break;
                }
                self.send_data(machine, pick, len, false);
            }
            // It has to say so, to be told when there is room.
            self.send_data(machine, pick, len, false);
        }
    }

    pub fn finish(&mut self, machine: &mut Connection, pick: usize) {
        let Some(transfer) = self.nth(true, pick) else { return };
        let ids = self.ids();
        let out = self.outgoing.get_mut(&transfer).expect("it is open");
        let is_whole = out.spec.size.is_none_or(|size| size == out.position);
        let is_open = out.is_accepted && !out.is_cancelled && out.is_file();
        let may = is_open && is_whole && !out.is_finished && out.prefix.is_none();
        let result = attempt(machine, &ids, |m| m.finish(transfer, Some(RIGHT)));
        assert_eq!(result.is_ok(), may, "{result:?} {out:?}");
        if may {
            out.is_finished = true;
            self.truth.totals.insert(transfer, out.position);
        }
    }

    pub fn cancel(&mut self, machine: &mut Connection, pick: usize) {
        let Some(transfer) = self.nth(true, pick) else { return };
        let ids = self.ids();
        let out = self.outgoing.get_mut(&transfer).expect("it is open");
        let result = attempt(machine, &ids, |m| m.cancel(transfer, TransferCode::CANCELLED, "no"));
        assert_eq!(result.is_ok(), !std::mem::replace(&mut out.is_cancelled, true), "{result:?}");
    }

    pub fn pause(&mut self, machine: &mut Connection, ours: bool, pick: usize, is_paused: bool) {
        let Some(transfer) = self.nth(ours, pick) else { return };
        let may = match self.outgoing.get(&transfer) {
            Some(out) => !out.is_cancelled && out.members.is_none(),
            None => {
                let t = &self.incoming[&transfer];
                !t.is_cancel_asked && t.count.is_none()
            }
        };
        let result = attempt(machine, &self.ids(), |m| m.pause(transfer, is_paused));
        assert!(result.is_ok() == may || result == Err(ActionError::Blocked), "{result:?}");
    }

    /// Says what is true of the prefix that the peer named.
    pub fn confirm(&mut self, machine: &mut Connection, pick: usize) {
        let Some(transfer) = self.nth(true, pick) else { return };
        if self.outgoing[&transfer].prefix == Some(false) {
            return self.restart(machine, pick);
        }
        let ids = self.ids();
        let out = self.outgoing.get_mut(&transfer).expect("it is open");
        let result = attempt(machine, &ids, |m| m.confirm_prefix(transfer));
        assert_eq!(result.is_ok(), out.prefix.take().is_some(), "{result:?}");
    }

    pub fn restart(&mut self, machine: &mut Connection, pick: usize) {
        let Some(transfer) = self.nth(true, pick) else { return };
        let ids = self.ids();
        let out = self.outgoing.get_mut(&transfer).expect("it is open");
        let is_open = out.is_accepted && !out.is_cancelled;
        let may = is_open && out.offset > 0 && !out.is_finished;
        let result = attempt(machine, &ids, |m| m.restart(transfer));
        assert!(result.is_ok() == may || (may && out.has_restarted), "{result:?} {out:?}");
        if result.is_ok() {
            (out.prefix, out.has_restarted) = (None, true);
            (out.position, out.reported) = (0, 0);
        }
    }
}

/// What the receiver of files does.
impl App {
    pub fn take(&mut self, machine: &mut Connection, lane: usize, last: usize, now: Time) {
        let lane_of = if lane == 0 { Lane::Chat } else { Lane::Control };
        let untaken = &mut self.untaken[lane];
        // A number that was not handed out takes what was.
        let item = match untaken.get(last) {
            Some((item, _)) => *item,
            None => ItemId { lane: lane_of, number: u64::MAX },
        };
        untaken.drain(..untaken.len().min(last.saturating_add(1)));
        machine.take(now, item);
    }

    pub fn accept(&mut self, m: &mut Connection, pick: usize, at: u64, flags: u8, now: Time) {
        let Some(transfer) = self.nth(false, pick) else { return };
        let ids = self.ids();
        let t = self.incoming.get_mut(&transfer).expect("it is open");
        let digest = if flags & 2 == 0 { RIGHT } else { WRONG };
        let prefix = (flags & 1 != 0).then_some((at, digest));
        let is_good = prefix.is_none_or(|(offset, _)| {
            t.is_file() && offset > 0 && t.spec.size.is_none_or(|size| offset <= size)
        });
        // What has an unknown size ends nowhere in particular: only an honest prefix is there.
        let is_dishonest = t.spec.size.is_none() && prefix.is_some() && at > t.spec.len;
        if is_dishonest {
            return;
        }
        let may = is_good && !t.is_accepted && !t.is_cancel_asked;
        let result = attempt(m, &ids, |m| m.accept(transfer, Acceptance { prefix }, now));
        assert_eq!(result.is_ok(), may, "{result:?} {t:?}");
        if may {
            t.is_accepted = true;
            t.received = prefix.map_or(0, |(offset, _)| offset);
        }
    }

    pub fn accept_all(&mut self, machine: &mut Connection, now: Time) {
        for pick in 0..self.incoming.len() {
            self.accept(machine, pick, 0, 0, now);
        }
    }

    pub fn reject(&mut self, machine: &mut Connection, pick: usize) {
        let Some(transfer) = self.nth(false, pick) else { return };
        let may = !self.incoming[&transfer].is_accepted;
        let result =
            attempt(machine, &self.ids(), |m| m.reject(transfer, TransferCode::DECLINED, "no"));
        assert_eq!(result.is_ok(), may, "{result:?}");
        if may {
            self.incoming.remove(&transfer);
            self.answer(transfer, TransferCode::DECLINED, None);
        }
    }

    pub fn answer(&mut self, transfer: TransferId, code: TransferCode, total: Option<u64>) {
        assert!(self.truth.answers.insert(transfer, (code, total)).is_none());
    }

    pub fn release(&mut self, machine: &mut Connection, pick: usize, len: usize, now: Time) {
        let ids: Vec<_> = self.kept.keys().chain(self.incoming.keys()).copied().collect();
        let Some(&transfer) = ids.get(pick % ids.len().max(1)) else { return };
        if let Some(kept) = self.kept.get_mut(&transfer) {
            *kept = kept.saturating_sub(len as u64);
        }
        self.kept.retain(|_, kept| *kept > 0);
        machine.release(transfer, len, now);
    }

    pub fn release_all(&mut self, machine: &mut Connection, now: Time) {
        for (transfer, len) in std::mem::take(&mut self.kept) {
            machine.release(transfer, len as usize, now);
        }
    }

    pub fn set_durable(&self, machine: &mut Connection, pick: usize, offset: u64, now: Time) {
        let Some(transfer) = self.nth(false, pick) else { return };
        machine.set_durable(transfer, offset, now);
    }

    pub fn conclude(&mut self, machine: &mut Connection, pick: usize, is_stored: bool) {
        let Some(transfer) = self.nth(false, pick) else { return };
        let t = &self.incoming[&transfer];
        let has_members = self.incoming.values().any(|other| other.spec.batch == Some(transfer));
        let is_complete = match t.count {
            Some(count) => t.members == count,
            None => t.spec.is_directory || t.total == Some(t.received),
        };
        let may =
            !has_members && if is_stored { t.is_accepted && is_complete } else { t.is_decided() };
        let (conclusion, code) = if is_stored {
            (Conclusion::Stored { name: "name" }, TransferCode::STORED)
        } else {
            let code = TransferCode::NO_SPACE;
            (Conclusion::Failed { code, text: "name" }, code)
        };
        let result = attempt(machine, &self.ids(), |m| m.conclude(transfer, &conclusion));
        assert_eq!(result.is_ok(), may, "{result:?} {t:?}");
        if may {
            self.end(transfer, code);
        }
    }

    pub fn conclude_all(&mut self, machine: &mut Connection) {
        for pick in (0..self.incoming.len()).rev() {
            self.conclude(machine, pick, true);
        }
    }

    /// A transfer of the peer's has ended by a verdict.
    pub fn end(&mut self, transfer: TransferId, code: TransferCode) {
        let t = self.incoming.remove(&transfer).expect("it is open");
        let total = match t.count {
            Some(_) => u64::from(t.stored),
            None => t.received,
        };
        // Bytes that came after the cancel count, and nobody saw them.
        self.answer(transfer, code, (!t.is_cancel_asked).then_some(total));
        if code == TransferCode::STORED {
            if let Some(batch) = t.spec.batch.and_then(|id| self.incoming.get_mut(&id)) {
                batch.stored += 1;
            }
        }
    }

    /// How much the peer may have us hold.
    pub fn check_credit(&self, config: &Config) {
        let window = u64::from(self.sizes.receive_window());
        let reserved = self.sizes.reserved_window().max(config.limits().member_credit);
        let reserved = u64::from(reserved);
        let (mut open, mut sum) = (0, 0);
        for t in self.incoming.values().filter(|t| t.is_accepted && t.is_file()) {
            if t.is_cancel_asked {
                continue;
            }
            let ahead = t.limit.saturating_sub(t.received);
            assert!(ahead <= reserved + window, "{ahead} of {t:?}");
            (open, sum) = (open + 1, sum + ahead);
        }
        assert!(sum <= window + reserved * open, "{sum} bytes for {open} transfers");
        let (all, kept) = (u64::from(config.limits().transfers), self.kept.values().sum::<u64>());
        assert!(kept + sum <= window + reserved * all, "{kept} bytes kept, and {sum} may come");
    }

    /// How much we may queue.
    pub fn check_capacity(&self, machine: &Connection) {
        let buffer = u64::from(self.sizes.send_buffer());
        for (transfer, out) in &self.outgoing {
            let capacity = machine.capacity(*transfer) as u64;
            let is_open = out.is_accepted && !out.is_cancelled && out.is_file();
            if !is_open || out.is_finished {
                assert_eq!(capacity, 0, "{out:?}");
                continue;
            }
            let left = out.spec.size.map_or(u64::MAX, |size| size - out.position);
            assert!(capacity <= buffer.min(left));
            let base = match out.spec.is_seekable {
                true => out.wire.unwrap_or(out.offset),
                false => out.reported.max(out.offset),
            };
            if !out.has_restarted {
                let held = out.position - base;
                let room = buffer.saturating_sub(held).min(left);
                // A chunk goes as a whole.
                let least = buffer.saturating_sub(held + CHUNK).min(left);
                assert!(capacity >= least, "{capacity}, {least} to {room}: {out:?}");
                let is_exact = !out.spec.is_seekable;
                assert!(capacity <= room || !is_exact, "{capacity}, {least} to {room}: {out:?}");
            }
        }
    }

    pub fn on_credit_sent(&mut self, transfer: TransferId, credit: Credit) {
        let Some(t) = self.incoming.get_mut(&transfer) else { return };
        if t.has_restarted && credit.received > t.received {
            return; // It was planned before.
        }
        assert!(credit.received <= t.received || t.is_cancel_asked);
        assert!(credit.limit >= t.limit || t.has_restarted, "{credit:?} {t:?}");
        t.limit = credit.limit;
    }
}

impl Out {
    pub fn is_file(&self) -> bool {
        self.members.is_none() && !self.spec.is_directory
    }
}

impl In {
    pub fn is_file(&self) -> bool {
        self.count.is_none() && !self.spec.is_directory
    }

    fn is_decided(&self) -> bool {
        self.is_accepted || self.is_cancel_asked
    }
}
