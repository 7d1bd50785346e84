//! What became of the messages that were sent.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::vec::Vec;

use crate::proto::rare::Rare;
use crate::proto::{ItemId, Lane, Receipt as Fate};
use crate::sync::{Mutex, MutexGuard};

/// What becomes of a message: waits until it is known.
///
/// It ends as *delivered* once the peer's application has taken the message, as *not sent*, or as
/// *unknown* when the conversation ended after it had left and before an answer. It never lies.
/// Within a lane messages are delivered in their order: the receipt of the last of them is one for
/// all.
///
/// Dropping it does nothing.
///
/// # Cancel safety
///
/// It can be polled and dropped at will; [`fate`](Self::fate) tells without waiting.
#[must_use = "the message goes without it, but only the receipt tells whether it arrived"]
pub struct Receipt {
    item: ItemId,
    receipts: Arc<Receipts>,
    is_waiting: bool,
}

/// The fates of all items of a conversation, until it begins anew.
#[derive(Default)]
pub(super) struct Receipts {
    fates: Mutex<Fates>,
}

#[derive(Default)]
struct Fates {
    chat: Fated,
    control: Fated,
}

/// One lane: items below `delivered` are, then come those that are unknown, then those not sent.
#[derive(Default)]
struct Fated {
    delivered: u64,
    unknown: u64,
    has_ended: bool,
    waiting: Rare<BTreeMap<u64, Waker>>,
}

impl Receipt {
    pub(super) fn new(item: ItemId, receipts: &Arc<Receipts>) -> Self {
        Self { item, receipts: Arc::clone(receipts), is_waiting: false }
    }

    /// The message's number in its lane.
    pub fn item(&self) -> ItemId {
        self.item
    }

    /// What became of it, if that is known.
    pub fn fate(&self) -> Option<Fate> {
        self.receipts.lock().lane(self.item.lane).fate(self.item.number)
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("item", &self.item).field("fate", &self.fate()).finish()
    }
}

impl Future for Receipt {
    type Output = Fate;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Fate> {
        let ItemId { lane, number } = self.item;
        let mut fates = self.receipts.lock();
        let fated = fates.lane(lane);
        if let Some(fate) = fated.fate(number) {
            return Poll::Ready(fate);
        }
        let is_known = fated.waiting.get(&number).is_some_and(|waker| waker.will_wake(cx.waker()));
        let replaced =
            if is_known { None } else { fated.waiting.insert(number, cx.waker().clone()) };
        drop(fates);
        // Dropping a waker may run anything.
        drop(replaced);
        self.is_waiting = true;
        Poll::Pending
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if self.is_waiting {
            let ItemId { lane, number } = self.item;
            let mut fates = self.receipts.lock();
            let waiting = fates.lane(lane).waiting.made();
            let forgotten = waiting.and_then(|waiting| waiting.remove(&number));
            drop(fates);
            drop(forgotten);
        }
    }
}

impl Receipts {
    /// Items have met their fate, as have all before them; returns who waits for it.
    pub(super) fn resolve(&self, lane: Lane, numbers: Range<u64>, fate: Fate) -> Vec<Waker> {
        let mut fates = self.lock();
        let fated = fates.lane(lane);
        match fate {
            Fate::Delivered => fated.delivered = fated.delivered.max(numbers.end),
            Fate::Unknown => fated.unknown = fated.unknown.max(numbers.end),
            Fate::NotSent => fated.has_ended = true,
        }
        if fated.waiting.is_empty() {
            return Vec::new();
        }
        let later = fated.waiting.split_off(&numbers.end);
        mem::replace(&mut *fated.waiting, later).into_values().collect()
    }

    /// Nothing more will be known; returns who waits.
    pub(super) fn end(&self) -> Vec<Waker> {
        let mut fates = self.lock();
        let Fates { chat, control } = &mut *fates;
        let waiting = [chat, control].map(|fated| {
            fated.has_ended = true;
            fated.waiting.take()
        });
        waiting.into_iter().flatten().flat_map(BTreeMap::into_values).collect()
    }

    /// Gives back the memory that nobody needs who waits.
    pub(super) fn shrink_to_fit(&self) {
        let mut fates = self.lock();
        let Fates { chat, control } = &mut *fates;
        [chat, control].into_iter().for_each(|fated| fated.waiting.drop_if(BTreeMap::is_empty));
    }

    fn lock(&self) -> MutexGuard<'_, Fates> {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fates {
    fn lane(&mut self, lane: Lane) -> &mut Fated {
        match lane {
            Lane::Chat => &mut self.chat,
            Lane::Control => &mut self.control,
        }
    }
}

impl Fated {
    fn fate(&self, number: u64) -> Option<Fate> {
        if number < self.delivered {
            Some(Fate::Delivered)
        } else if number < self.unknown {
            Some(Fate::Unknown)
        } else {
            self.has_ended.then_some(Fate::NotSent)
        }
    }
}
