//! What the driver and the handles of a conversation have in common.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::mem;
use std::string::String;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Waker};
use std::vec::Vec;

use super::alarms::{Alarm, Alarms};
use super::error::SessionError;
use super::inbound::Inbound;
use super::outbound::Outbound;
use super::queue::Queue;
use super::rate_limit::RateLimit;
use super::read_buffer::Pool;
use super::receipts::Receipts;
use super::waiters::Waiters;
use crate::proto::rare::{Nothing, Rare};
use crate::proto::{ActionError, CloseReason, Connection, ItemId, Lane};
use crate::sync::Mutex;
use crate::time::Time;
use crate::wire::{CloseCode, TransferId};

/// One conversation behind its lock.
pub(super) struct Shared {
    state: Mutex<State>,
}

/// A transfer, by its id and the conversation that it belongs to: one that begins anew begins its
/// numbers anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) generation: u32,
    pub(super) transfer: TransferId,
}

pub(super) struct State {
    pub(super) connection: Connection,
    /// How often the conversation has begun anew.
    pub(super) generation: u32,
    pub(super) requests: Requests,
    pub(super) queue: Queue,
    pub(super) receipts: Arc<Receipts>,
    pub(super) outbound: BTreeMap<Key, Outbound>,
    pub(super) inbound: BTreeMap<Key, Inbound>,
    /// Batches that were given up while members of them were open.
    pub(super) abandoned_batches: Rare<Vec<TransferId>>,
    pub(super) rate_limit: Rare<RateLimit>,
    /// When the rates of transfers are looked at, though nothing came of them.
    pub(super) rates_due: Option<Time>,
    pub(super) alarms: Rare<Alarms>,
    pub(super) ended: Option<Box<CloseReason>>,
    /// Whether the application decides on the peer itself.
    pub(super) asks_for_peer: bool,
    /// The time of the driver's last turn.
    pub(super) now: Time,
    /// The driver, while it waits.
    pub(super) driver: Option<Waker>,
    /// What was read into over all streams, once slices of it were handed out.
    pub(super) read_pool: Option<Arc<Pool>>,
    pub(super) has_driver: bool,
    /// There is more to write than the transport took, which wakes the driver when it takes more.
    pub(super) is_write_blocked: bool,
    /// Who waits for room in a lane, for one more offer to be allowed, and for both ends.
    pub(super) lane_waiters: [Waiters; 2],
    pub(super) offer_waiters: Rare<Waiters>,
    pub(super) open_waiters: Rare<Waiters>,
    pub(super) end_waiters: Rare<Waiters>,
    pub(super) wake: WakeList,
}

/// What the driver does at its next turn, as it is the driver that knows the time.
#[derive(Default)]
pub(super) struct Requests {
    pub(super) take: [Option<u64>; 2],
    pub(super) release: Vec<(TransferId, usize)>,
    pub(super) durable: Rare<BTreeMap<TransferId, u64>>,
    /// Transfers whose time-outs begin anew: the time of the last turn may be long past.
    pub(super) restart: Rare<Vec<TransferId>>,
    pub(super) close: Option<Box<(CloseCode, String)>>,
}

/// Tasks to be woken once the lock is let go.
#[derive(Default)]
pub(super) struct WakeList {
    /// Enough for nearly every turn, without an allocation; they are filled from the first on, and
    /// before `more`.
    few: [Option<Waker>; 3],
    more: Rare<More>,
}

/// What seldom is in a [`WakeList`].
#[derive(Default)]
struct More {
    wakers: Vec<Waker>,
    /// Those that are forgotten instead: dropping a waker may run anything, too.
    forgotten: Vec<Waker>,
}

impl Nothing for More {
    const NOTHING: &'static Self = &Self { wakers: Vec::new(), forgotten: Vec::new() };
}

impl WakeList {
    #[inline]
    pub(super) fn push(&mut self, waker: Waker) {
        match self.few.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(waker),
            None => self.more.wakers.push(waker),
        }
    }

    pub(super) fn forget(&mut self, waker: Option<Waker>) {
        if waker.is_some() {
            self.more.forgotten.extend(waker);
        }
    }

    pub(super) fn extend(&mut self, waiters: &mut Waiters) {
        waiters.drain().for_each(|waker| self.push(waker));
    }

    pub(super) fn extend_rare(&mut self, waiters: &mut Rare<Waiters>) {
        if let Some(mut waiters) = waiters.take() {
            self.extend(&mut waiters);
        }
    }

    fn is_empty(&mut self) -> bool {
        let [first, ..] = &self.few;
        first.is_none() && self.more.made().is_none()
    }

    pub(super) fn wake(mut self) {
        for waker in self.few {
            let Some(waker) = waker else { return };
            waker.wake();
        }
        if let Some(more) = self.more.take() {
            more.wakers.into_iter().for_each(Waker::wake);
        }
    }
}

impl Shared {
    pub(super) fn new(connection: Connection, now: Time) -> Self {
        let state = State {
            connection,
            generation: 0,
            requests: Requests::default(),
            queue: Queue::default(),
            receipts: Arc::default(),
            outbound: BTreeMap::new(),
            inbound: BTreeMap::new(),
            abandoned_batches: Rare::new(),
            rate_limit: Rare::new(),
            rates_due: None,
            alarms: Rare::new(),
            ended: None,
            asks_for_peer: false,
            now,
            driver: None,
            read_pool: None,
            has_driver: true,
            is_write_blocked: false,
            lane_waiters: Default::default(),
            offer_waiters: Rare::new(),
            open_waiters: Rare::new(),
            end_waiters: Rare::new(),
            wake: WakeList::default(),
        };
        Self { state: Mutex::new(state) }
    }

    /// Does something under the lock, and wakes whoever has to know of it when it is let go: a
    /// waker may run anything.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state);
        if !state.wake.is_empty() {
            let wake = mem::take(&mut state.wake);
            drop(state);
            wake.wake();
        }
        result
    }
}

impl State {
    /// Why the conversation has ended, if it has.
    pub(super) fn ended(&self) -> Option<CloseReason> {
        self.ended.as_deref().copied()
    }

    /// There is something for the driver to do.
    pub(super) fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            self.wake.push(driver);
        }
    }

    /// The driver goes on once those that are woken before it have had their turn.
    pub(super) fn wake_again(&mut self, cx: &Context<'_>) {
        let known = self.driver.take_if(|waker| waker.will_wake(cx.waker()));
        self.wake.push(known.unwrap_or_else(|| cx.waker().clone()));
    }

    /// There is more data to send, which goes after all that waits already.
    pub(super) fn wake_driver_for_data(&mut self) {
        if !self.is_write_blocked {
            self.wake_driver();
        }
    }

    /// An action was done: the driver has something to send. Without one there is only something to tell.
    pub(super) fn acted<T>(&mut self, result: Result<T, ActionError>) -> Result<T, SessionError> {
        match result {
            Ok(value) => {
                if self.has_driver {
                    self.wake_driver();
                } else {
                    self.route_all();
                }
                Ok(value)
            }
            Err(error) => Err(self.error(error)),
        }
    }

    /// Why an action is not done: after the end, the cause of the end.
    pub(super) fn error(&self, error: ActionError) -> SessionError {
        match self.ended() {
            Some(reason) => SessionError::Ended(reason),
            None => SessionError::Refused(error),
        }
    }

    /// The application has taken an item, or the handle that it is for.
    pub(super) fn take(&mut self, lane: Lane, number: u64) {
        let number = match lane {
            Lane::Chat => Some(number),
            Lane::Control => self.queue.settle(number),
        };
        let [chat, control] = &mut self.requests.take;
        let take = if lane == Lane::Chat { chat } else { control };
        *take = (*take).max(number);
    }

    /// Pauses a transfer, or lets it go on: the other end has its whole time from then on.
    pub(super) fn pause(
        &mut self,
        transfer: TransferId,
        is_paused: bool,
    ) -> Result<(), ActionError> {
        if self.connection.set_paused(transfer, is_paused)? {
            self.requests.restart.push(transfer);
        }
        Ok(())
    }

    /// File data was handed to the application, or thrown away: as much more may come. What is of
    /// before the conversation began anew counts in the window all the same, and is paid first.
    pub(super) fn release(&mut self, key: Key, len: usize) {
        let transfer = key.transfer;
        // Of a few transfers, those that are read at a time.
        let mut waiting = self.requests.release.iter_mut().rev();
        let sum = match waiting.find(|(other, _)| *other == transfer) {
            Some((_, sum)) => {
                *sum = sum.saturating_add(len);
                *sum
            }
            _ => {
                self.requests.release.push((transfer, len));
                len
            }
        };
        if self.connection.is_release_urgent(transfer, sum) {
            self.wake_driver();
        }
    }

    /// A transfer of the conversation as it is now.
    pub(super) fn key(&self, transfer: TransferId) -> Key {
        Key { generation: self.generation, transfer }
    }

    /// Whether it is no transfer of before the conversation began anew.
    pub(super) fn is_current(&self, key: Key) -> bool {
        key.generation == self.generation
    }

    /// Whether an offer of before the conversation began anew is acted on.
    pub(super) fn check_key(&self, key: Key) -> Result<(), ActionError> {
        let unknown = ActionError::UnknownTransfer(key.transfer);
        if self.is_current(key) { Ok(()) } else { Err(unknown) }
    }

    /// An item of the control lane that came with a transfer was handed out.
    pub(super) fn take_of(&mut self, key: Key, number: u64) {
        if self.is_current(key) {
            self.take(Lane::Control, number);
            self.wake_driver();
        }
    }

    /// Why nothing more is taken, if so.
    pub(super) fn check_taking(&self) -> Result<(), SessionError> {
        if self.requests.close.is_some() { Err(self.error(ActionError::Closed)) } else { Ok(()) }
    }

    /// Whether anything was taken or given back since the last turn.
    pub(super) fn has_requests(&self) -> bool {
        self.requests.take.iter().any(Option::is_some) || !self.requests.release.is_empty()
    }

    /// Does what was asked for since the last turn.
    pub(super) fn apply_requests(&mut self, now: Time) {
        self.now = now;
        let [chat, control] = &mut self.requests.take;
        if let Some(number) = chat.take() {
            self.connection.take(now, ItemId { lane: Lane::Chat, number });
        }
        if let Some(number) = control.take() {
            self.connection.take(now, ItemId { lane: Lane::Control, number });
        }
        if !self.requests.release.is_empty() {
            for (transfer, len) in self.requests.release.drain(..) {
                self.connection.release(transfer, len, now);
            }
        }
        if let Some(restart) = self.requests.restart.made() {
            for transfer in restart.drain(..) {
                self.connection.restart_timeouts(transfer, now);
            }
        }
        if let Some(durable) = self.requests.durable.take() {
            for (transfer, offset) in durable {
                self.connection.set_durable(transfer, offset, now);
            }
        }
        if let Some((code, text)) = self.requests.close.take().map(|close| *close) {
            // The text was tried; a second close is none.
            let _ = self.connection.close(code, &text, now);
        }
    }

    /// Lets the alarms ring whose time it is.
    pub(super) fn ring(&mut self, now: Time) {
        let Some(alarms) = self.alarms.made() else { return };
        for key in alarms.due(now) {
            // What has ended meanwhile hears nothing.
            if let Some(t) = self.inbound.get_mut(&key) {
                t.alarm = Alarm::Rang;
                self.wake.extend(&mut t.waiters);
            }
        }
    }

    /// Gives back the memory that queues keep for what comes next.
    pub(super) fn shrink_to_fit(&mut self) {
        self.connection.shrink_to_fit();
        self.queue.shrink_to_fit();
        self.receipts.shrink_to_fit();
        // An empty tree keeps a node, of the size of eleven transfers.
        if self.outbound.is_empty() {
            self.outbound = BTreeMap::new();
        }
        if self.inbound.is_empty() {
            self.inbound = BTreeMap::new();
        }
        self.alarms.drop_if(Alarms::is_empty);
        self.requests.release.shrink_to_fit();
        self.requests.restart.drop_if(Vec::is_empty);
        self.lane_waiters.iter_mut().for_each(Waiters::shrink_to_fit);
        for waiters in [&mut self.offer_waiters, &mut self.open_waiters, &mut self.end_waiters] {
            waiters.drop_if(Waiters::is_empty);
        }
    }

    /// Closes as soon as the driver can, or at once without one.
    pub(super) fn close(&mut self, code: CloseCode, text: &str) {
        if self.requests.close.is_none() {
            self.requests.close = Some(Box::new((code, text.into())));
            // Nothing more is taken from now on.
            self.wake_senders();
        }
        if self.has_driver {
            self.wake_driver();
        } else {
            self.apply_requests(self.now);
            self.route_all();
        }
    }

    /// There is no stream any more, and there will not be another one.
    pub(super) fn abort(&mut self) {
        let now = self.now;
        self.has_driver = false;
        self.connection.handle_disconnect(now);
        self.apply_requests(now);
        let _ = self.connection.close(CloseCode::SHUTDOWN, "", now);
        self.route_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Config, StreamParameters};
    use crate::wire::Side;

    #[test]
    fn what_is_released_of_a_transfer_is_one_sum_whichever_others_are_read_between() {
        let stream = StreamParameters::new([1; 32]);
        let connection = Connection::client(Config::default(), stream, Time::default());
        let shared = Shared::new(connection, Time::default());
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = [1, 2, 3].map(|number| TransferId::new(Side::Client, number).unwrap());
        // In turn, and the first once more.
        for (transfer, len) in ids.into_iter().cycle().zip([10, 200, 3000, 1, 20, 300, 5]) {
            let key = Key { generation: 0, transfer };
            state.release(key, len);
        }
        let sums = ids.into_iter().zip([16, 220, 3300]);
        assert_eq!(state.requests.release, sums.collect::<Vec<_>>());
        // Of before the conversation began anew it is paid all the same.
        state.release(Key { generation: 7, transfer: ids[1] }, 2);
        assert_eq!(state.requests.release[1], (ids[1], 222));
    }
}
