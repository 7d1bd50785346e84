//! What a conversation holds in memory, and what of it an idle one can give back.

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::connection::{Closing, Connection};
use super::debts::Debts;
use super::error::Error;
use super::given_up;
use super::incoming::Incoming;
use super::link::Link;
use super::outgoing::Outgoing;
use super::rare::Rare;
use super::receive_lane::ReceiveLane;
use super::send_lane::SendLane;
use crate::wire::TransferId;

impl Connection {
    /// Bytes of memory that the conversation holds now. Bytes handed out in events are not among
    /// them.
    pub fn memory_usage(&self) -> usize {
        const TABLE: usize = size_of::<(TransferId, Incoming)>() * 2;
        const SENDER: usize = size_of::<(TransferId, Outgoing)>() * 2;
        let queues = [&self.ring, &self.credits].map(slots);
        let rare_queues = [&self.restarts, &self.late_credits, &self.news, &self.out_of_budget]
            .map(|queue| queue.memory_usage(slots));
        let signals = |signals: &VecDeque<(u16, Bytes)>| {
            let payloads = signals.iter().map(|(_, payload)| payload.len());
            payloads.fold(slots(signals), usize::saturating_add)
        };
        let parts = [
            size_of::<Self>(),
            self.link.as_ref().map_or(0, Link::memory_usage),
            self.incoming.len().saturating_mul(TABLE),
            self.outgoing.len().saturating_mul(SENDER),
            slots(&self.events),
            self.signals.memory_usage(signals),
            self.answers.memory_usage(slots),
            self.ended_batches.memory_usage(slots),
            self.debts.memory_usage(Debts::memory_usage),
            self.given_up.memory_usage(|given_up| given_up.len().saturating_mul(given_up::SLOT)),
            self.closing
                .as_ref()
                .map_or(0, |closing| size_of::<Closing>().saturating_add(closing.text.capacity())),
            self.error.as_ref().map_or(0, |_| size_of::<Error>()),
        ];
        parts
            .into_iter()
            .chain(queues)
            .chain(rare_queues)
            .chain(self.send.iter().map(SendLane::memory_usage))
            .chain(self.receive.iter().map(ReceiveLane::memory_usage))
            .chain(self.outgoing.values().map(|t| t.buffer.memory_usage()))
            .fold(0, usize::saturating_add)
    }

    /// Gives back the memory that queues keep for what comes next, and changes nothing else. It is for
    /// when nothing has come or gone for a while: what comes after it allocates anew.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::proto::{Config, Connection, StreamParameters};
    /// use duologue::time::Time;
    ///
    /// let stream = StreamParameters::new([7; 32]);
    /// let mut client = Connection::client(Config::default(), stream, Time::ZERO);
    /// let hello = client.poll_transmit(Time::ZERO).len();
    /// client.advance_transmit(hello);
    /// let before = client.memory_usage();
    /// client.shrink_to_fit();
    /// assert!(client.memory_usage() < before);
    /// ```
    pub fn shrink_to_fit(&mut self) {
        if let Some(link) = &mut self.link {
            link.shrink_to_fit();
        }
        self.send.iter_mut().for_each(SendLane::shrink_to_fit);
        self.receive.iter_mut().for_each(ReceiveLane::shrink_to_fit);
        self.events.shrink_to_fit();
        self.outgoing.shrink_to_fit();
        self.incoming.shrink_to_fit();
        for queue in [&mut self.ring, &mut self.credits] {
            queue.shrink_to_fit();
        }
        for queue in
            [&mut self.restarts, &mut self.late_credits, &mut self.news, &mut self.out_of_budget]
        {
            shrink(queue);
        }
        shrink(&mut self.answers);
        shrink(&mut self.ended_batches);
        shrink(&mut self.signals);
        self.given_up.drop_if(|given_up| given_up.is_empty());
        self.debts.drop_if(Debts::is_empty);
    }
}

fn slots<T>(queue: &VecDeque<T>) -> usize {
    queue.capacity().saturating_mul(size_of::<T>())
}

fn shrink<T>(queue: &mut Rare<VecDeque<T>>) {
    queue.drop_if(VecDeque::is_empty);
    if let Some(queue) = queue.made() {
        queue.shrink_to_fit();
    }
}
