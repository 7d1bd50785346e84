//! The application: what it asks for is done or refused just as the model says, and what is refused
//! changes nothing.

use duologue::proto::{Acceptance, ActionError, Conclusion, ItemId, Lane, Statistics};
use duologue::time::Time;
use duologue::wire::{Chat, Message, Offer, Signal, TransferCode, TransferId};

use super::super::machine::{Input, content};
use super::World;
use super::model::{Expected, Mine, State, Theirs};

/// What a refused action must not change.
type Snapshot = (Statistics, Vec<usize>, Option<Time>, usize, [bool; 3]);

impl World {
    fn snapshot(&mut self) -> Snapshot {
        let planned = self.machine.poll_transmit(self.now).len();
        let machine = &self.machine;
        let capacities = self.model.mine.keys().map(|id| machine.capacity(*id)).collect();
        let flags = [machine.is_open(), machine.is_detached(), machine.is_closed()];
        (machine.statistics(), capacities, machine.poll_timeout(), planned, flags)
    }

    /// Panics when the action was refused and changed something, or was not done as expected.
    fn tried<T>(
        &mut self,
        may: bool,
        action: impl FnOnce(&mut Self) -> Result<T, ActionError>,
    ) -> Option<T> {
        let before = self.snapshot();
        match action(self) {
            Ok(done) => {
                assert!(may, "it was to be refused");
                Some(done)
            }
            Err(error) => {
                // Queues may be full: when, is the configuration's.
                let is_full = matches!(error, ActionError::Blocked | ActionError::PeerLimit);
                assert!(!may || is_full, "{error}");
                assert_eq!(self.snapshot(), before, "{error} changed something");
                None
            }
        }
    }

    pub fn act(&mut self, choice: u8, input: &mut Input<'_>) {
        let pick = input.pick(8);
        match choice & 0x1F {
            0 => self.act_chat(input.number() as usize % 40_000),
            1 => self.act_message(input.number() as usize % 30_000),
            2 => {
                let signal = Signal { signal_type: 2, payload: vec![1; pick * 100].into() };
                let _ = self.machine.send_signal(&signal);
            }
            3 => self.act_offer(input),
            4 | 5 => self.act_data(pick, input.number() as usize),
            6 => self.act_finish(pick),
            7 => self.act_cancel(pick),
            8 => self.act_pause(pick, input.byte()),
            9 => self.act_decide(pick, input.byte()),
            10 => self.act_conclude(pick, input.flag()),
            11 => self.take(pick + 1),
            12 => self.act_release(pick, input.number()),
            _ => {
                let Some(id) = self.model.theirs_like(pick, |t| t.state == State::Open) else {
                    return;
                };
                self.machine.set_durable(id, input.number(), self.now);
            }
        }
        self.poll();
        self.told(&[]);
    }

    fn act_chat(&mut self, len: usize) {
        let may = len + 2 <= self.limits.item as usize;
        let chat = Chat::new("x".repeat(len));
        let number = self.model.lanes[0].heard + self.model.lanes[0].expected.len() as u64;
        if let Some(item) = self.tried(may, |world| world.machine.send_chat(&chat)) {
            assert_eq!(item, ItemId { lane: Lane::Chat, number });
            self.model.queue(Expected::Chat(len));
        }
    }

    fn act_message(&mut self, len: usize) {
        let may = len + 11 <= self.limits.item as usize;
        let body = vec![2; len].into();
        let message = Message { message_type: 3, is_reply: false, correlation: 77, body };
        if self.tried(may, |world| world.machine.send_message(&message)).is_some() {
            self.model.queue(Expected::Message(77, len));
        }
    }

    fn act_offer(&mut self, input: &mut Input<'_>) {
        let size = input.flag().then(|| input.number().min(200_000));
        let mut offer = Offer::new("mine");
        (offer.size, offer.is_seekable) = (size, input.flag());
        let number = self.model.mine.len() + 1;
        let now = self.now;
        if let Some(id) = self.tried(true, |world| world.machine.offer(&offer, now)) {
            assert_eq!(id, self.transfer(true, number), "ids go up without gaps");
            self.model.mine.insert(id, Mine::new(number as u32, size));
            self.model.queue(Expected::Offer(id));
            let open = self.model.mine.values().filter(|t| t.state != State::Ended).count();
            assert!(open <= self.limits.transfers as usize);
            let undecided = self.model.mine.values().filter(|t| t.is_undecided()).count();
            assert!(undecided <= self.limits.undecided as usize);
        }
    }

    fn any_mine(&self, pick: usize) -> Option<TransferId> {
        self.model.mine_like(pick, |_| true)
    }

    fn act_data(&mut self, pick: usize, len: usize) {
        let Some(id) = self.any_mine(pick) else { return };
        let t = &self.model.mine[&id];
        let room = t.total.or(t.size).map_or(u64::MAX, |size| size - t.pushed);
        let may = t.state == State::Open && len as u64 <= room;
        let (offset, data) = (t.pushed, content(t.seed, t.pushed, len.min(50_000)));
        let len = data.len() as u64;
        let may = may || (t.state == State::Open && len <= room);
        let done = self.tried(may, |world| world.machine.send_data(id, offset, data.into()));
        if done.is_some() {
            self.model.mine.get_mut(&id).expect("it is there").pushed += len;
        }
    }

    fn act_finish(&mut self, pick: usize) {
        let Some(id) = self.any_mine(pick) else { return };
        let t = &self.model.mine[&id];
        let is_whole = t.size.is_none_or(|size| size == t.pushed);
        let may = t.state == State::Open && t.total.is_none() && is_whole;
        if self.tried(may, |world| world.machine.finish(id, None)).is_some() {
            let t = self.model.mine.get_mut(&id).expect("it is there");
            t.total = Some(t.pushed);
            let total = t.pushed;
            self.model.queue(Expected::Finish(id, total));
        }
    }

    fn act_cancel(&mut self, pick: usize) {
        let Some(id) = self.any_mine(pick) else { return };
        let state = self.model.mine[&id].state;
        let may = matches!(state, State::Offered | State::Open);
        let code = TransferCode::CANCELLED;
        if self.tried(may, |world| world.machine.cancel(id, code, "")).is_some() {
            let t = self.model.mine.get_mut(&id).expect("it is there");
            t.state = State::Cancelled { was_offered: state == State::Offered };
            t.is_silent |= self.sent.is_between_frames();
            self.model.queue(Expected::Cancel(id));
        }
    }

    fn act_pause(&mut self, pick: usize, flags: u8) {
        let is_paused = flags & 1 != 0;
        if flags & 2 == 0 {
            let Some(id) = self.any_mine(pick) else { return };
            let may = matches!(self.model.mine[&id].state, State::Offered | State::Open);
            if self.tried(may, |world| world.machine.pause(id, is_paused)).is_some() {
                let t = self.model.mine.get_mut(&id).expect("it is there");
                let is_news = std::mem::replace(&mut t.is_paused, is_paused) != is_paused;
                if is_paused {
                    t.is_silent |= self.sent.is_between_frames();
                } else if !t.is_paused_by_peer {
                    t.is_silent = false;
                }
                if is_news {
                    self.model.queue(Expected::Pause(id, is_paused));
                }
            }
        } else {
            let Some(id) = self.model.theirs_like(pick, |_| true) else { return };
            let t = &self.model.theirs[&id];
            let may = t.state != State::Ended && !t.is_cancel_asked;
            if self.tried(may, |world| world.machine.pause(id, is_paused)).is_some() {
                let t = self.model.theirs.get_mut(&id).expect("it is there");
                if std::mem::replace(&mut t.is_paused, is_paused) != is_paused {
                    self.model.queue(Expected::Pause(id, is_paused));
                }
            }
        }
    }

    fn act_decide(&mut self, pick: usize, flags: u8) {
        let Some(id) = self.model.theirs_like(pick, |_| true) else { return };
        let t = &self.model.theirs[&id];
        let (is_offered, is_cancelled) =
            (t.state == State::Offered && !t.is_accepted, t.is_cancel_asked);
        let now = self.now;
        if flags & 3 == 0 {
            let code = TransferCode::DECLINED;
            if self.tried(is_offered, |world| world.machine.reject(id, code, "")).is_some() {
                self.model.theirs.get_mut(&id).expect("it is there").state = State::Ended;
                self.model.queue(Expected::Reject(id));
            }
        } else {
            let may = is_offered && !is_cancelled;
            let acceptance = Acceptance::default();
            if self.tried(may, |world| world.machine.accept(id, acceptance, now)).is_some() {
                let t = self.model.theirs.get_mut(&id).expect("it is there");
                (t.state, t.is_accepted) = (State::Open, true);
                self.model.queue(Expected::Accept(id));
            }
        }
    }

    fn act_conclude(&mut self, pick: usize, wants_stored: bool) {
        let Some(id) = self.model.theirs_like(pick, |_| true) else { return };
        let t = &self.model.theirs[&id];
        let is_there = t.state != State::Ended;
        let (may, conclusion, code) = if wants_stored {
            let is_whole = t.is_accepted && t.is_complete();
            (is_there && is_whole, Conclusion::Stored { name: "n" }, TransferCode::STORED)
        } else {
            let code = TransferCode::STORAGE_FAILED;
            let is_time = t.is_accepted || t.is_cancel_asked;
            (is_there && is_time, Conclusion::Failed { code, text: "t" }, code)
        };
        let total = t.sent;
        if self.tried(may, |world| world.machine.conclude(id, &conclusion)).is_some() {
            let t = self.model.theirs.get_mut(&id).expect("it is there");
            t.state = State::Ended;
            self.model.queue(Expected::Verdict(id, code, total));
        }
    }

    /// Takes so many items of each lane.
    pub fn take(&mut self, most: usize) {
        for (lane, kind) in self.model.lanes.iter_mut().zip([Lane::Chat, Lane::Control]) {
            for _ in 0..most.min(lane.untaken.len()) {
                let Some((number, _)) = lane.untaken.pop_front() else { break };
                self.machine.take(self.now, ItemId { lane: kind, number });
            }
        }
    }

    fn act_release(&mut self, pick: usize, len: u64) {
        // Also of those that have ended.
        let like = |t: &Theirs| t.sent > t.released;
        let Some(id) = self.model.theirs_like(pick, like) else { return };
        let t = self.model.theirs.get_mut(&id).expect("it is there");
        let len = len.min(t.sent - t.released);
        t.released += len;
        self.machine.release(id, len as usize, self.now);
    }
}
