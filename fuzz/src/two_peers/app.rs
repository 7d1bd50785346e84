//! The application of one side: honest, and suspicious of everything it is told.

mod told;

use std::collections::{BTreeMap, VecDeque};

use arbitrary::Arbitrary;
use duologue::proto::{Acceptance, ActionError, CloseReason, Conclusion, Connection, ItemId, Lane};
use duologue::time::Time;
use duologue::wire::{Batch, Chat, Digest, Message, Offer, Side, TransferCode, TransferId};

use super::super::machine::content;
use super::ledger::{Ledger, Spec, text};

/// What an application is like.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Policy {
    pub takes_late: bool,
    pub releases_late: bool,
    pub decides_late: bool,
    pub confirms_late: bool,
    pub concludes_late: bool,
    pub syncs: bool,
    chunk: u16,
    rejects: u8,
    prefixes: u8,
    pub authentications: u8,
}

/// A transfer of ours.
#[derive(Debug)]
pub struct Out {
    spec: Spec,
    /// Of a batch: members to offer.
    members: Option<u32>,
    position: u64,
    is_accepted: bool,
    /// The peer named a prefix; whether its digest is the one of ours.
    prefix: Option<bool>,
    is_blocked: bool,
    is_finished: bool,
    is_cancelled: bool,
    is_paused: bool,
}

/// A transfer of the peer's.
#[derive(Debug)]
pub struct In {
    spec: Spec,
    count: Option<u32>,
    members: u32,
    is_accepted: bool,
    /// The bytes before `received` are right.
    is_sound: bool,
    received: u64,
    total: Option<u64>,
    is_cancel_asked: bool,
    is_paused: bool,
}

/// What was handed out and not taken.
#[derive(Debug)]
pub struct Untaken {
    item: ItemId,
    pub size: usize,
    is_message: bool,
}

#[derive(Debug)]
pub struct App {
    pub side: Side,
    pub policy: Policy,
    pub conversation: usize,
    pub is_open: bool,
    pub closed: Option<CloseReason>,
    pub outgoing: BTreeMap<TransferId, Out>,
    pub incoming: BTreeMap<TransferId, In>,
    pub untaken: [VecDeque<Untaken>; 2],
    /// Bytes handed out and not released, whatever became of their transfer.
    kept: BTreeMap<TransferId, usize>,
    pub resolved: [u64; 2],
    pub expired: u32,
    pub wants_acceptance: bool,
    decisions: u8,
}

const RIGHT: Digest = Digest::Blake3([1; 32]);
const WRONG: Digest = Digest::Blake3([2; 32]);

fn index(lane: Lane) -> usize {
    usize::from(lane == Lane::Control)
}

impl App {
    pub fn new(side: Side, policy: Policy, conversation: usize) -> Self {
        Self {
            side,
            policy,
            conversation,
            is_open: false,
            closed: None,
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            untaken: Default::default(),
            kept: BTreeMap::new(),
            resolved: [0; 2],
            expired: 0,
            wants_acceptance: false,
            decisions: 0,
        }
    }

    /// Nothing is left to happen.
    pub fn is_done(&self, ledger: &mut Ledger) -> bool {
        let (chats, messages) = {
            let own = ledger.of(self.conversation, self.side);
            (own.chats.len(), own.messages.len())
        };
        let peer = ledger.of(self.conversation, self.side.opposite());
        self.outgoing.is_empty()
            && self.incoming.is_empty()
            && self.untaken.iter().all(VecDeque::is_empty)
            && self.resolved[0] == chats as u64
            && peer.chats_taken == chats
            && peer.messages_taken == messages
    }

    pub fn chat(&mut self, machine: &mut Connection, ledger: &mut Ledger, len: usize) {
        let own = ledger.of(self.conversation, self.side);
        let number = own.chats.len();
        match machine.send_chat(&Chat::new(text(number, len))) {
            Ok(item) => {
                assert_eq!(item, ItemId { lane: Lane::Chat, number: number as u64 });
                own.chats.push(len);
            }
            Err(ActionError::Blocked | ActionError::NotOpen | ActionError::Closed) => {}
            Err(ActionError::TooLarge { max }) => assert!(len as u64 + 2 > max),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn message(&mut self, machine: &mut Connection, ledger: &mut Ledger, len: usize) {
        let own = ledger.of(self.conversation, self.side);
        let number = own.messages.len();
        let message = Message {
            message_type: 3,
            is_reply: false,
            correlation: number as u64,
            body: content(number as u32, 0, len).into(),
        };
        match machine.send_message(&message) {
            Ok(item) => own.messages.push((item.number, len)),
            Err(ActionError::Blocked | ActionError::NotOpen | ActionError::Closed) => {}
            Err(ActionError::TooLarge { max }) => assert!(len as u64 + 11 > max),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn offer(&mut self, m: &mut Connection, ledger: &mut Ledger, spec: Spec, now: Time) {
        let own = ledger.of(self.conversation, self.side);
        let mut offer = Offer::new(format!("f{}", spec.seed));
        offer.size = spec.is_size_known.then_some(spec.len);
        offer.is_seekable = spec.is_seekable;
        offer.is_directory = spec.is_directory;
        offer.batch = spec.batch;
        match m.offer(&offer, now) {
            Ok(transfer) => {
                assert_eq!(transfer.side(), self.side);
                assert_eq!(transfer.number() as usize, own.files.len() + own.batches.len() + 1);
                own.files.insert(transfer, spec);
                let mut out = Out::new(spec, None);
                out.is_accepted = spec.batch.is_some();
                self.outgoing.insert(transfer, out);
                if let Some(batch) = spec.batch.and_then(|id| self.outgoing.get_mut(&id)) {
                    batch.members = batch.members.map(|left| left.checked_sub(1).expect("count"));
                }
            }
            Err(
                ActionError::Blocked
                | ActionError::NotOpen
                | ActionError::Closed
                | ActionError::PeerLimit
                | ActionError::WrongState(_)
                | ActionError::UnknownTransfer(_),
            ) => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub fn offer_batch(&mut self, m: &mut Connection, ledger: &mut Ledger, n: u32, now: Time) {
        let own = ledger.of(self.conversation, self.side);
        let batch = Batch { name: "b".into(), count: n, bytes: 0, metadata: Default::default() };
        match m.offer_batch(&batch, now) {
            Ok(transfer) => {
                own.batches.insert(transfer, n);
                self.outgoing.insert(transfer, Out::new(Spec::NONE, Some(n)));
            }
            Err(
                ActionError::Blocked
                | ActionError::NotOpen
                | ActionError::Closed
                | ActionError::PeerLimit
                | ActionError::NoPlaceForMembers,
            ) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// The `pick`-th transfer of ours or of the peer's.
    pub fn nth(&self, ours: bool, pick: usize) -> Option<TransferId> {
        let ids: Vec<_> =
            if ours { self.outgoing.keys().collect() } else { self.incoming.keys().collect() };
        ids.get(pick % ids.len().max(1)).map(|id| **id)
    }

    pub fn nth_batch(&self, pick: usize) -> Option<TransferId> {
        let has_room = |out: &Out| out.members.is_some_and(|left| left > 0);
        let batches: Vec<_> = self.outgoing.iter().filter(|(_, out)| has_room(out)).collect();
        batches.get(pick % batches.len().max(1)).map(|(id, _)| **id)
    }

    pub fn unreleased(&self) -> usize {
        self.kept.values().sum()
    }

    pub fn cancel(&mut self, machine: &mut Connection, pick: usize) {
        let Some(transfer) = self.nth(true, pick) else { return };
        let out = self.outgoing.get_mut(&transfer).expect("it was there");
        match machine.cancel(transfer, TransferCode::CANCELLED, "no") {
            Ok(_) => assert!(!std::mem::replace(&mut out.is_cancelled, true)),
            Err(ActionError::WrongState(_)) => assert!(out.is_cancelled),
            Err(ActionError::Closed) => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub fn pause(&mut self, machine: &mut Connection, ours: bool, pick: usize, is_paused: bool) {
        let Some(transfer) = self.nth(ours, pick) else { return };
        match machine.pause(transfer, is_paused) {
            Ok(()) => {
                if let Some(out) = self.outgoing.get_mut(&transfer) {
                    out.is_paused = is_paused;
                } else if let Some(t) = self.incoming.get_mut(&transfer) {
                    t.is_paused = is_paused;
                }
            }
            Err(ActionError::WrongState(_) | ActionError::Closed | ActionError::Blocked) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Gives up a transfer of the peer's.
    pub fn fail(&mut self, machine: &mut Connection, ledger: &mut Ledger, pick: usize) {
        let Some(transfer) = self.nth(false, pick) else { return };
        self.conclude(machine, ledger, transfer, TransferCode::NO_SPACE);
    }

    fn conclude(
        &mut self,
        m: &mut Connection,
        ledger: &mut Ledger,
        id: TransferId,
        c: TransferCode,
    ) {
        let t = &self.incoming[&id];
        let conclusion = if c == TransferCode::STORED {
            Conclusion::Stored { name: "stored" }
        } else {
            Conclusion::Failed { code: c, text: "" }
        };
        let has_members =
            self.incoming.values().any(|member| member.spec.batch == Some(id) && t.count.is_some());
        match m.conclude(id, &conclusion) {
            Ok(_) => {
                assert!(t.is_accepted || t.is_cancel_asked);
                assert!(!has_members, "members are open");
                let own = ledger.of(self.conversation, self.side);
                assert!(own.verdicts.insert(id, (c, t.received)).is_none());
                self.incoming.remove(&id);
            }
            Err(ActionError::WrongState(_)) => {
                assert!(!t.is_accepted || has_members, "{t:?} can be concluded");
            }
            Err(ActionError::Closed) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Does all that is to be done: at once, or only what is not put off.
    pub fn act(&mut self, machine: &mut Connection, ledger: &mut Ledger, now: Time, is_last: bool) {
        if is_last || !self.policy.takes_late {
            self.take(machine, ledger, now, usize::MAX);
        }
        if is_last || !self.policy.decides_late {
            self.decide(machine, ledger, now);
        }
        if is_last || !self.policy.confirms_late {
            self.confirm(machine);
        }
        if is_last || !self.policy.releases_late {
            self.release(machine, now, usize::MAX);
        }
        if is_last {
            self.unpause(machine);
            self.offer_members(machine, ledger, now);
        }
        self.pump(machine);
        if is_last || !self.policy.concludes_late {
            self.conclude_all(machine, ledger);
        }
    }

    pub fn take(&mut self, m: &mut Connection, ledger: &mut Ledger, now: Time, most: usize) {
        let own = ledger.of(self.conversation, self.side);
        for lane in &mut self.untaken {
            for _ in 0..most.min(lane.len()) {
                let Some(Untaken { item, is_message, .. }) = lane.pop_front() else { break };
                m.take(now, item);
                own.chats_taken += usize::from(item.lane == Lane::Chat);
                own.messages_taken += usize::from(is_message);
            }
        }
    }

    fn decide(&mut self, machine: &mut Connection, ledger: &mut Ledger, now: Time) {
        let undecided: Vec<_> = self
            .incoming
            .iter()
            .filter(|(_, t)| !t.is_accepted && !t.is_cancel_asked)
            .map(|(id, _)| *id)
            .collect();
        for id in undecided {
            self.decisions = self.decisions.wrapping_add(1);
            let t = self.incoming.get_mut(&id).expect("it is there");
            if self.policy.rejects > 200 && self.decisions % 3 == 0 {
                if machine.reject(id, TransferCode::DECLINED, "").is_ok() {
                    self.incoming.remove(&id);
                    let own = ledger.of(self.conversation, self.side);
                    own.rejected.insert(id, TransferCode::DECLINED);
                }
                continue;
            }
            let wants_prefix = self.policy.prefixes & (1 << (self.decisions % 3)) != 0;
            let offset = (t.spec.len / 2).min(u64::from(self.policy.prefixes) * 300);
            let is_right = self.policy.prefixes & (8 << (self.decisions % 4)) != 0;
            let mut acceptance = Acceptance::default();
            if wants_prefix && t.count.is_none() && offset > 0 {
                acceptance.prefix = Some((offset, if is_right { RIGHT } else { WRONG }));
            }
            match machine.accept(id, acceptance, now) {
                Ok(_) => {
                    t.is_accepted = true;
                    if acceptance.prefix.is_some() {
                        t.received = offset;
                        t.is_sound = is_right;
                    }
                }
                Err(ActionError::Closed) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn confirm(&mut self, machine: &mut Connection) {
        for (id, out) in &mut self.outgoing {
            let Some(is_right) = out.prefix.filter(|_| !out.is_cancelled) else { continue };
            let result = if is_right { machine.confirm_prefix(*id) } else { machine.restart(*id) };
            match result {
                Ok(()) => {
                    out.prefix = None;
                    if !is_right {
                        out.position = 0;
                        out.is_blocked = false;
                    }
                }
                // Its verdict is on the way.
                Err(ActionError::WrongState(_)) if !is_right => {}
                Err(ActionError::Closed) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub fn release(&mut self, machine: &mut Connection, now: Time, most: usize) {
        for (id, kept) in &mut self.kept {
            let len = most.min(*kept);
            *kept -= len;
            machine.release(*id, len, now);
            if let Some(t) = self.incoming.get(id).filter(|_| self.policy.syncs) {
                machine.set_durable(*id, t.received, now);
            }
        }
        self.kept.retain(|_, kept| *kept > 0);
    }

    fn unpause(&mut self, machine: &mut Connection) {
        let paused: Vec<_> = self
            .outgoing
            .iter()
            .filter(|(_, t)| t.is_paused)
            .map(|(id, _)| *id)
            .chain(self.incoming.iter().filter(|(_, t)| t.is_paused).map(|(id, _)| *id))
            .collect();
        for id in paused {
            // After a cancel there is nothing to let go on.
            let _ = machine.pause(id, false);
        }
    }

    fn offer_members(&mut self, machine: &mut Connection, ledger: &mut Ledger, now: Time) {
        let batches: Vec<_> = self
            .outgoing
            .iter()
            .filter(|(_, t)| t.is_accepted && !t.is_cancelled && t.members.is_some_and(|n| n > 0))
            .map(|(id, _)| *id)
            .collect();
        for id in batches {
            let spec = Spec { is_directory: true, batch: Some(id), ..Spec::NONE };
            self.offer(machine, ledger, spec, now);
            let has_members = self.outgoing.values().any(|member| member.spec.batch == Some(id));
            if !has_members {
                // The peer takes none beside the batch: it has to be given up.
                let is_asked = machine.cancel(id, TransferCode::CANCELLED, "").is_ok();
                let batch = self.outgoing.get_mut(&id).expect("it is open");
                batch.is_cancelled |= is_asked;
            }
        }
    }

    fn pump(&mut self, machine: &mut Connection) {
        for (id, out) in &mut self.outgoing {
            let is_file = out.members.is_none() && !out.spec.is_directory;
            if !is_file || !out.is_accepted || out.is_cancelled {
                continue;
            }
            while out.position < out.spec.len && !out.is_blocked {
                let left = out.spec.len - out.position;
                let wanted = left.min(u64::from(self.policy.chunk) + 100) as usize;
                let len = match machine.capacity(*id) {
                    0 => wanted,
                    capacity => wanted.min(capacity),
                };
                let data = content(out.spec.seed, out.position, len);
                match machine.send_data(*id, out.position, data.into()) {
                    Ok(()) => out.position += len as u64,
                    Err(ActionError::Blocked) => out.is_blocked = true,
                    // The verdict is on the way.
                    Err(ActionError::WrongState(_) | ActionError::Closed) => break,
                    Err(error) => panic!("{error} at {} of {id}", out.position),
                }
            }
            if out.position == out.spec.len && out.prefix.is_none() && !out.is_finished {
                match machine.finish(*id, Some(RIGHT)) {
                    Ok(_) => out.is_finished = true,
                    Err(ActionError::WrongState(_) | ActionError::Closed) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    fn conclude_all(&mut self, machine: &mut Connection, ledger: &mut Ledger) {
        // Members come after their batch in the order of ids, and have to end before.
        let ids: Vec<_> = self.incoming.keys().rev().copied().collect();
        for id in ids {
            let t = &self.incoming[&id];
            let has_members = self.incoming.values().any(|member| member.spec.batch == Some(id));
            let is_cancelled = t.is_cancel_asked
                || t.spec.batch.is_some_and(|id| {
                    self.incoming.get(&id).is_some_and(|batch| batch.is_cancel_asked)
                });
            let is_whole = match t.count {
                Some(count) => t.members == count && !has_members,
                None => t.spec.is_directory || t.total == Some(t.received),
            };
            if is_whole && t.is_accepted {
                assert!(t.is_sound || t.count.is_some() || t.spec.is_directory, "{t:?}");
                self.conclude(machine, ledger, id, TransferCode::STORED);
            } else if is_cancelled && !has_members {
                self.conclude(machine, ledger, id, TransferCode::CANCELLED);
            }
        }
    }
}

impl Out {
    fn new(spec: Spec, members: Option<u32>) -> Self {
        Self {
            spec,
            members,
            position: 0,
            is_accepted: false,
            prefix: None,
            is_blocked: false,
            is_finished: false,
            is_cancelled: false,
            is_paused: false,
        }
    }
}

impl In {
    fn new(spec: Spec, count: Option<u32>) -> Self {
        Self {
            spec,
            count,
            members: 0,
            is_accepted: spec.batch.is_some(),
            is_sound: true,
            received: 0,
            total: None,
            is_cancel_asked: false,
            is_paused: false,
        }
    }
}
