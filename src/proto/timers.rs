//! Deadlines: when the machine wants to be called, and what happens then.

use alloc::vec::Vec;

use super::connection::Connection;
use super::error::Error;
use super::event::{CloseReason, DetachReason, Event};
use super::link::{Link, Phase};
#[cfg(feature = "std")]
use super::outgoing::State;
use super::outgoing::{Outgoing, Shape};
use crate::time::Time;
use crate::wire::{TransferCode, TransferId};

impl Connection {
    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; never earlier than the
    /// last time that was handled.
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.is_closed {
            return None;
        }
        let config = &self.config;
        let mut next = self.closing.as_ref().map_or(Time::MAX, |closing| closing.deadline);
        if let Some(since) = self.detached_since {
            next = next.min(since.saturating_add(config.detached_timeout.get()));
        }
        if let Some(link) = &self.link {
            let mut at = |due: Option<Time>| next = next.min(due.unwrap_or(Time::MAX));
            at(link.handshake_deadline(config.handshake_timeout.get()));
            if link.phase == Phase::Open {
                at(Some(link.last_input.saturating_add(config.idle_timeout.get())));
                at(self.keep_alive_at(link));
                at(link.acknowledgement.deadline());
                at(self.credit_due);
                at(self.allows_more_at(link));
                at(Some(self.transfers_due));
                at(self.is_out_of_budget.then(|| self.own_budget.refill_at()));
            }
        }
        // What came due while there was no stream is due now.
        (next != Time::MAX).then(|| next.max(self.now))
    }

    /// When more that waits for its pace may go, whatever is heard until then.
    fn allows_more_at(&self, link: &Link) -> Option<Time> {
        let waits = link.plan.is_empty() && (!self.ring.is_empty() || self.send.control.is_ready());
        if waits { link.pacer.allows_more_at(self.now) } else { None }
    }

    fn keep_alive_at(&self, link: &Link) -> Option<Time> {
        if link.ping.wanted || link.ping.outstanding.is_some() {
            return None;
        }
        let last = link.ping.last.unwrap_or_default();
        let at = link.last_input.max(last).saturating_add(self.config.keep_alive_interval.get());
        if self.ring.is_empty() || !link.plan.is_empty() || last >= link.pacer.delivered_at() {
            return Some(at);
        }
        Some(link.pacer.silent_at().map_or(at, |silent| at.min(silent)))
    }

    /// Time has passed. Deadlines that have come take effect; a call too early does nothing.
    ///
    /// Input that is there already is to be handled first, so that it counts as in time.
    pub fn handle_timeout(&mut self, now: Time) {
        let now = self.advance(now);
        if self.is_closed {
            return;
        }
        let config = &self.config;
        let detached = config.detached_timeout.get();
        let is_over = |since: Time| since.saturating_add(detached) <= now;
        if self.detached_since.is_some_and(is_over) {
            self.abort_link();
            self.conclude_conversation(CloseReason::DetachedTimedOut);
            return;
        }
        let handshake = config.handshake_timeout.get();
        let Some(link) = &mut self.link else { return };
        if link.handshake_deadline(handshake).is_some_and(|deadline| deadline <= now) {
            self.fail_handshake(Error::HandshakeTimedOut, now);
            return;
        }
        match link.phase {
            Phase::Open => self.handle_open_timeout(now),
            Phase::Closing => {
                if self.closing.as_ref().is_some_and(|closing| closing.deadline <= now) {
                    self.finish_closing(false);
                    self.abort_link();
                }
            }
            Phase::Hello | Phase::Authenticating | Phase::Waiting | Phase::Closed => {}
        }
    }

    fn handle_open_timeout(&mut self, now: Time) {
        let Some(link) = &self.link else { return };
        if link.last_input.saturating_add(self.config.idle_timeout.get()) <= now {
            self.detach(now, DetachReason::Idle);
            return;
        }
        let wants_ping = self.keep_alive_at(link).is_some_and(|at| at <= now);
        if let Some(link) = &mut self.link {
            link.ping.wanted |= wants_ping;
            link.acknowledgement.handle_timeout(now);
        }
        self.tell_credits(now);
        self.go_on_with_budget(now);
        self.end_closing_if_due(now);
        if self.transfers_due <= now {
            if self.closing.is_some() {
                // They end with the conversation.
                self.transfers_due = Time::MAX;
            } else {
                self.expire_transfers(now);
            }
        }
    }

    /// What waited for the budget of frames without progress can go on.
    fn go_on_with_budget(&mut self, now: Time) {
        if !self.is_out_of_budget || !self.own_budget.has_some(now) {
            return;
        }
        self.is_out_of_budget = false;
        for transfer in self.out_of_budget.take().into_iter().flatten() {
            if let Some(t) = self.outgoing.get_mut(&transfer) {
                t.is_out_of_budget = false;
            }
            self.queue_data(transfer);
        }
    }

    /// A transfer's deadline may have come nearer.
    pub(super) fn watch(&mut self, transfer: TransferId) {
        let (stall, whole) = (self.config.stall_timeout.get(), self.config.transfer_timeout.get());
        let deadline = match self.outgoing.get(&transfer) {
            Some(t) => t.deadline(stall, whole),
            None => self.incoming.get(&transfer).and_then(|t| t.deadline(stall, whole)),
        };
        if let Some(deadline) = deadline {
            self.transfers_due = self.transfers_due.min(deadline);
        }
    }

    /// What was done about a transfer without knowing the time counts from now on.
    #[cfg(feature = "std")]
    pub(crate) fn restart_timeouts(&mut self, transfer: TransferId, now: Time) {
        if let Some(t) = self.outgoing.get_mut(&transfer) {
            t.progressed = now;
            if t.state == State::Offered {
                t.opened = now;
            }
        } else if let Some(t) = self.incoming.get_mut(&transfer) {
            t.progressed = now;
        }
        self.watch(transfer);
    }

    pub(super) fn watch_all(&mut self) {
        let (stall, whole) = (self.config.stall_timeout.get(), self.config.transfer_timeout.get());
        let outgoing = self.outgoing.values().filter_map(|t| self.sender_deadline(t));
        let incoming = self.incoming.values().filter_map(|t| t.deadline(stall, whole));
        self.transfers_due = outgoing.chain(incoming).min().unwrap_or(Time::MAX);
    }

    /// A transfer that could go on but for the pace waits for the peer, too, while that reports
    /// nothing of what is under way.
    fn sender_deadline(&self, t: &Outgoing) -> Option<Time> {
        let (stall, whole) = (self.config.stall_timeout.get(), self.config.transfer_timeout.get());
        let deadline = t.deadline(stall, whole)?;
        let stuck = self.link.as_ref().and_then(|link| link.pacer.stuck_since());
        let held = stuck.filter(|_| t.is_ready()).map(|since| since.max(t.progressed));
        Some(held.map_or(deadline, |since| deadline.min(since.saturating_add(stall))))
    }

    /// Data waits for the pace: it is looked at again when the peer has been silent about it for
    /// too long.
    pub(super) fn watch_pace(&mut self) {
        if self.ring.is_empty() {
            return;
        }
        if let Some(since) = self.link.as_ref().and_then(|link| link.pacer.stuck_since()) {
            let due = since.max(self.now).saturating_add(self.config.stall_timeout.get());
            self.transfers_due = self.transfers_due.min(due);
        }
    }

    fn expire_transfers(&mut self, now: Time) {
        let (stall, whole) = (self.config.stall_timeout.get(), self.config.transfer_timeout.get());
        let is_over = |deadline: Option<Time>| deadline.is_some_and(|at| at <= now);
        let ours: Vec<TransferId> = self
            .outgoing
            .iter()
            .filter(|(_, t)| is_over(self.sender_deadline(t)))
            .map(|(&transfer, _)| transfer)
            .collect();
        for transfer in ours {
            if self.waits_for_end(transfer) {
                self.give_up(transfer);
            } else if self.cancel(transfer, TransferCode::STALLED, "no progress in time").is_ok() {
                self.events.push_back(Event::Expired { transfer });
            }
        }
        let mut theirs: Vec<TransferId> = self
            .incoming
            .iter()
            .filter(|(_, t)| is_over(t.deadline(stall, whole)))
            .map(|(&transfer, _)| transfer)
            .collect();
        // Members end before their batch.
        let members: Vec<TransferId> = self
            .incoming
            .iter()
            .filter(|(_, t)| t.batch.is_some_and(|batch| theirs.contains(&batch)))
            .map(|(&transfer, _)| transfer)
            .collect();
        theirs.retain(|transfer| !members.contains(transfer));
        for transfer in members.into_iter().chain(theirs) {
            self.expire_incoming(transfer);
        }
        self.watch_all();
    }

    fn expire_incoming(&mut self, transfer: TransferId) {
        let text = "no progress in time";
        let Some(t) = self.incoming.get(&transfer) else { return };
        if !t.is_accepted && !t.is_cancel_asked {
            let _ = self.reject(transfer, TransferCode::STALLED, text);
        } else {
            let total = match t.shape {
                Shape::Batch { .. } => u64::from(t.stored),
                Shape::File | Shape::Directory => t.received,
            };
            if t.is_batch() {
                self.remember_batch(transfer, TransferCode::STALLED);
            }
            self.end_incoming(transfer, false);
            self.push_verdict(transfer, TransferCode::STALLED, total, text);
        }
        self.events.push_back(Event::Expired { transfer });
    }
}
