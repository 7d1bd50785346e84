//! Output of file data, as far as the path has room for it.

use super::connection::Connection;
use super::plan::Source;
use super::send_lane::SendLane;
use crate::time::Time;
use crate::wire::{Header, Kind};

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
            let Some(link) = &self.link else { break };
            let in_flight = link.pacer.in_flight().saturating_add(link.plan.counted());
            if link.plan.is_full() || in_flight > allowance || !self.plan_bulk_frame(now, limit) {
                break;
            }
        }
        true
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
