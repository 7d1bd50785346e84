//! What waits for the application to poll its events.

use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::VecDeque;
use std::string::String;

use super::chats::{Chats, Run};
use super::shared::WakeList;
use crate::io::TransportError;
use crate::proto::rare::Rare;
use crate::proto::{Event, ItemId, Lane};
use crate::wire::Limits;

/// Signals that wait at most; of more the oldest are dropped, as they may get lost anyway.
const SIGNALS: usize = 16;
/// Breaks, openings and attempts that wait at most; of more the oldest are dropped.
const TURNS: usize = 64;
/// The memory of an event that waits, and of its number, beside its bytes.
const EVENT: usize = 192;
const _: () = assert!(size_of::<(u32, Told)>() + size_of::<u64>() <= EVENT);

/// Memory of what waits beside its bytes, and of text that has room to grow. A queue that grows has
/// twice the slots in each lane, and as many as before for a moment.
pub(super) fn worst_case(limits: &Limits) -> usize {
    let number = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
    number(limits.items).saturating_mul(2 * 3 * EVENT).saturating_add(number(limits.item_bytes))
}

/// Something to tell the application.
pub(super) enum Told {
    /// By the machine.
    Event(Event<'static>),
    /// Plain lines of chat.
    Chats(Run),
    /// By who makes the streams.
    Attempt { number: u32, wait: Duration, failure: Option<TransportError> },
}

/// Events in their order.
///
/// Those with an item are bounded by what the peer may send ahead, the rest is bounded here.
#[derive(Default)]
pub(super) struct Queue {
    /// With how often the conversation had begun anew.
    events: VecDeque<(u32, Told)>,
    generation: u32,
    signals: usize,
    turns: usize,
    waker: Option<Waker>,
    /// Numbers of the control lane that the application was not given yet.
    untaken: Rare<VecDeque<u64>>,
    /// The highest number of the control lane that was dealt with.
    highest: Option<u64>,
    pub(super) is_abandoned: bool,
}

impl Queue {
    /// Adds an event; returns who waits for it.
    pub(super) fn push(&mut self, told: Told) -> Option<Waker> {
        if let Some(item) = told.item() {
            self.note(item);
        }
        if self.is_abandoned {
            return None;
        }
        if told.is_signal() {
            if self.signals >= SIGNALS {
                self.drop_oldest(Told::is_signal);
            }
            self.signals = self.signals.saturating_add(1).min(SIGNALS);
        } else if told.is_turn() {
            if self.turns >= TURNS {
                self.drop_oldest(Told::is_turn);
            }
            self.turns = self.turns.saturating_add(1).min(TURNS);
        }
        self.events.push_back((self.generation, told));
        self.waker.take()
    }

    /// Adds a plain line of chat, which `ahead` bytes of others follow at least.
    #[inline]
    pub(super) fn push_chat(&mut self, number: u64, text: &str, ahead: usize) {
        if self.is_abandoned {
            return;
        }
        if let Some((generation, Told::Chats(run))) = self.events.back_mut() {
            if *generation == self.generation && run.push(number, text, ahead) {
                return;
            }
        }
        self.events.push_back((self.generation, Told::Chats(Run::new(number, text, ahead))));
    }

    /// Who waits for an event.
    pub(super) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// An item of the control lane waits for the application, here or elsewhere.
    pub(super) fn note(&mut self, item: ItemId) {
        if item.lane == Lane::Control {
            self.untaken.push_back(item.number);
        }
    }

    /// An item of the control lane was dealt with; returns up to which all are.
    pub(super) fn settle(&mut self, number: u64) -> Option<u64> {
        if let Some(untaken) = self.untaken.made() {
            if let Some(place) = untaken.iter().position(|&untaken| untaken == number) {
                untaken.remove(place);
            }
        }
        self.highest = self.highest.max(Some(number));
        match self.untaken.front() {
            Some(first) => first.checked_sub(1),
            None => self.highest,
        }
    }

    /// The conversation begins anew, and so do its numbers.
    pub(super) fn restart_numbers(&mut self) {
        self.untaken.clear();
        self.highest = None;
        self.generation = self.generation.saturating_add(1);
    }

    /// Waits for an event. Of a plain line of chat, the most frequent one, it returns how often the
    /// conversation had begun anew, the number, and the text; `None` if another event is next.
    #[inline]
    pub(super) fn poll_line(
        &mut self,
        cx: &Context<'_>,
        wake: &mut WakeList,
    ) -> Poll<Option<(u32, u64, String)>> {
        match self.events.front_mut() {
            Some((generation, Told::Chats(run))) => {
                let (generation, (number, text, is_last)) = (*generation, run.pop());
                if is_last {
                    self.events.pop_front();
                }
                Poll::Ready(Some((generation, number, text)))
            }
            Some(_) => Poll::Ready(None),
            None => {
                if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    wake.forget(self.waker.replace(cx.waker().clone()));
                }
                Poll::Pending
            }
        }
    }

    /// The next event; `None` if it is a plain line. The oldest signal may have been dropped since
    /// [`poll_line`](Self::poll_line) saw it, and a line be next by now.
    pub(super) fn pop(&mut self) -> Option<(u32, Told)> {
        if matches!(self.events.front(), Some((_, Told::Chats(_)))) {
            return None;
        }
        let (generation, told) = self.events.pop_front()?;
        if told.is_signal() {
            self.signals = self.signals.saturating_sub(1);
        } else if told.is_turn() {
            self.turns = self.turns.saturating_sub(1);
        }
        Some((generation, told))
    }

    /// The plain lines of chat that are next, and the number of the last of this conversation.
    pub(super) fn take_chats(&mut self) -> (Chats, Option<u64>) {
        let (mut chats, mut last) = (Chats::default(), None);
        while let Some((_, Told::Chats(_))) = self.events.front() {
            let Some((generation, Told::Chats(run))) = self.events.pop_front() else { break };
            if generation == self.generation {
                last = Some(run.last());
            }
            chats.push(run);
        }
        (chats, last)
    }

    /// Gives back the memory that is kept for more.
    pub(super) fn shrink_to_fit(&mut self) {
        self.events.shrink_to_fit();
        self.untaken.drop_if(VecDeque::is_empty);
    }

    /// Nobody will poll any more; returns who did, and what waits.
    pub(super) fn abandon(&mut self) -> (Option<Waker>, VecDeque<(u32, Told)>) {
        self.is_abandoned = true;
        (self.waker.take(), std::mem::take(&mut self.events))
    }

    fn drop_oldest(&mut self, is_one: impl Fn(&Told) -> bool) {
        if let Some(place) = self.events.iter().position(|(_, told)| is_one(told)) {
            self.events.remove(place);
        }
    }
}

impl Told {
    pub(super) fn item(&self) -> Option<ItemId> {
        match self {
            Self::Event(event) => event.item(),
            Self::Chats(_) | Self::Attempt { .. } => None,
        }
    }

    fn is_signal(&self) -> bool {
        matches!(self, Self::Event(Event::Signal(_)))
    }

    /// Whether it tells of the stream, of which there may be many before anybody looks.
    fn is_turn(&self) -> bool {
        let event = match self {
            Self::Event(event) => event,
            Self::Chats(_) => return false,
            Self::Attempt { .. } => return true,
        };
        matches!(
            event,
            Event::Open(_)
                | Event::Detached(_)
                | Event::PeerHello { .. }
                | Event::Authentication(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Signal;

    #[test]
    fn a_line_stays_though_the_signal_before_it_is_dropped_between_two_looks() {
        let mut queue = Queue::default();
        let signal =
            || Told::Event(Event::Signal(Signal { signal_type: 1, payload: [][..].into() }));
        drop(queue.push(signal()));
        queue.push_chat(1, "hello", 0);
        for _ in 1..SIGNALS {
            drop(queue.push(signal()));
        }
        let cx = Context::from_waker(Waker::noop());
        let mut wake = WakeList::default();
        assert!(matches!(queue.poll_line(&cx, &mut wake), Poll::Ready(None)));
        // What the driver does meanwhile, on another thread.
        drop(queue.push(signal()));
        assert!(queue.pop().is_none());
        let line = queue.poll_line(&cx, &mut wake);
        assert!(matches!(line, Poll::Ready(Some((_, 1, text))) if text == "hello"));
    }
}
