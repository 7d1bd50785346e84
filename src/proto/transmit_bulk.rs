//! Output of file data, as far as the path has room for it.

use super::budget::earned_by_receiving;
use super::connection::Connection;
use super::plan::{Left, Source};
use super::send_buffer::MIN_FRAME;
use super::send_lane::SendLane;
use crate::time::Time;
use crate::wire::{HEADER_LEN, Header, Kind};

/// Frames that leave together.
#[derive(Default)]
struct Run {
    /// Bytes that have left.
    used: usize,
    frames: usize,
    /// All their bytes, and those of their payloads.
    bytes: u64,
    payload: usize,
    /// What they earn for our budget, and for the peer's.
    earned: usize,
    by_peer: usize,
}

impl Run {
    fn add(&mut self, left: &Left) {
        let payload = left.payload.saturating_mul(left.frames);
        let by_peer = earned_by_receiving(left.payload).saturating_mul(left.frames);
        let bytes = left.len.saturating_mul(left.frames) as u64;
        self.used = self.used.saturating_add(left.bytes);
        self.frames = self.frames.saturating_add(left.frames);
        self.bytes = self.bytes.saturating_add(bytes);
        self.payload = self.payload.saturating_add(payload);
        self.earned = self.earned.saturating_add(if left.is_costly { 0 } else { payload });
        self.by_peer = self.by_peer.saturating_add(by_peer);
    }
}

impl Connection {
    /// Plans bulk: one frame, or while no item waits as many as may go.
    pub(super) fn plan_bulk(&mut self, now: Time) -> bool {
        if self.ring.is_empty() {
            return false;
        }
        let limit = self.fragment_len();
        if !self.schedule().forces_bulk() && !self.may_send(limit) {
            return false;
        }
        if !self.plan_bulk_frame(now, limit) {
            return false;
        }
        let allowance = self.link.as_ref().map_or(0, |link| link.pacer.allowance(now));
        while !self.ring.is_empty() && !self.send.iter().any(SendLane::has_unframed) {
            self.plan_bulk_run(allowance, limit);
            let Some(link) = &self.link else { break };
            let in_flight = link.pacer.in_flight().saturating_add(link.plan.counted());
            if link.plan.is_full() || in_flight > allowance || !self.plan_bulk_frame(now, limit) {
                break;
            }
        }
        true
    }

    /// Plans frames of the one transfer that has data, as many as may go, and of these those that need
    /// no second look: of the full size, and each in one chunk.
    fn plan_bulk_run(&mut self, allowance: u64, limit: usize) {
        if self.ring.len() != 1 {
            return;
        }
        let Some(&transfer) = self.ring.front() else { return };
        let Some(link) = &mut self.link else { return };
        let Some(t) = self.outgoing.get_mut(&transfer) else { return };
        let may_go = t.is_ready() && t.item < self.send.control.framed() && !t.needs_start();
        if !may_go || limit < MIN_FRAME {
            return;
        }
        let frame = limit.saturating_add(HEADER_LEN);
        loop {
            let in_flight = link.pacer.in_flight().saturating_add(link.plan.counted());
            let Some(pace) = allowance.checked_sub(in_flight) else { return };
            let paced = pace.checked_div(frame as u64).unwrap_or(0).saturating_add(1);
            let most = paced.min(t.may_cut().checked_div(limit as u64).unwrap_or(0));
            let most = usize::try_from(most).unwrap_or(usize::MAX).min(link.plan.room(frame));
            let run = t.buffer.cut_run(limit, most);
            let count = run.len().checked_div(limit).unwrap_or(0);
            if count == 0 {
                return;
            }
            t.planned = t.planned.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
            link.plan.stage_run(transfer, run, limit);
        }
    }

    /// Counts the frames of one transfer that leave with `len` bytes, or begin to, if these are next;
    /// returns how many of the bytes are theirs.
    pub(super) fn advance_bulk(&mut self, len: usize) -> usize {
        let Some(link) = &mut self.link else { return 0 };
        let Some(transfer) = link.plan.next_data() else { return 0 };
        let Some(t) = self.outgoing.get_mut(&transfer) else { return 0 };
        let mut run = Run::default();
        while run.used < len {
            let rest = len.saturating_sub(run.used);
            let Some(left) = link.plan.leave_data(transfer, rest) else { break };
            let mut end = link.sent;
            for _ in 0..left.frames {
                end = end.saturating_add(left.len as u64);
                link.pacer.on_sent(self.now, end, left.len as u64);
            }
            link.sent = link.sent.saturating_add(left.bytes as u64);
            run.add(&left);
        }
        t.planned = t.planned.saturating_sub(u32::try_from(run.frames).unwrap_or(u32::MAX));
        t.on_data_sent(run.payload, self.now);
        self.statistics.sent.data.add_frames(run.frames as u64, run.bytes);
        self.budget.earn(run.by_peer);
        self.own_budget.earn(run.earned);
        self.watch(transfer);
        self.tell_writable(transfer);
        run.used
    }

    fn plan_bulk_frame(&mut self, now: Time, limit: usize) -> bool {
        let framed = self.send.control.framed();
        let has_budget = self.own_budget.has_some(now);
        for _ in 0..self.ring.len() {
            let Some(transfer) = self.ring.pop_front() else { break };
            let Some(t) = self.outgoing.get_mut(&transfer) else { continue };
            let Some(len) = t.frame_len(limit, has_budget, framed) else {
                t.is_in_ring = false;
                if t.is_ready() {
                    self.is_out_of_budget = true;
                    if !core::mem::replace(&mut t.is_out_of_budget, true) {
                        self.out_of_budget.push_back(transfer);
                    }
                }
                self.watch(transfer);
                continue;
            };
            if t.item >= framed {
                // Its OFFER has to go first, and puts it here again.
                t.is_in_ring = false;
                continue;
            }
            if t.needs_start() {
                // Its first DATA comes next.
                self.ring.push_front(transfer);
                return self.stage_start(transfer);
            }
            let Some(link) = &mut self.link else { return false };
            let id = transfer.to_wire();
            let is_small = t.is_costly(len, framed);
            let payload = t.cut(len);
            t.planned = t.planned.saturating_add(1);
            if t.waits_for_peer() {
                // From here on, whenever the last credit came.
                t.progressed = now;
            }
            let payload_len = payload.len();
            let length = u32::try_from(payload_len).unwrap_or(u32::MAX);
            let is_costly = is_small && self.own_budget.spend(now);
            let source = Source::Data { transfer, payload: payload_len, is_costly };
            link.send_payload(Header { length, kind: Kind::DATA, id }, payload, source);
            self.ring.push_back(transfer);
            return true;
        }
        false
    }
}
