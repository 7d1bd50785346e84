//! Tasks that wait for the same thing.

use core::num::NonZeroUsize;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::vec::Vec;

use super::shared::{Key, Shared, State};
use crate::proto::Lane;
use crate::proto::rare::Nothing;

/// Tasks that wait for the same thing, in the order in which they came.
#[derive(Default)]
pub(super) struct Waiters {
    list: Vec<(Option<Place>, Waker)>,
}

/// What can be waited for.
#[derive(Debug, Clone, Copy)]
pub(super) enum WaitFor {
    /// Room in a lane.
    Room(Lane),
    /// One more offer to be allowed.
    Offer,
    /// The conversation to be open.
    Open,
    /// The conversation to end.
    End,
    /// Something to happen to a transfer.
    Transfer(Key),
}

/// One place in the lists, for whatever waits for one thing at a time: the waker of its last poll is
/// the one that counts. Who has none is told apart by its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(NonZeroUsize);

/// The one handle of a transfer has a place in the lists of that.
const HANDLE: Place = Place(NonZeroUsize::MIN);

impl Place {
    /// One that nobody else has.
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self(HANDLE.0.saturating_add(NEXT.fetch_add(1, Ordering::Relaxed).saturating_add(1)))
    }
}

/// A poll that may have to wait.
pub(super) struct Waiting<'a> {
    waker: &'a Waker,
    who: Who<'a>,
}

enum Who<'a> {
    Task,
    Handle,
    Future(&'a mut Option<Place>),
}

impl<'a> Waiting<'a> {
    /// Of a task, by a method that many can call at once.
    pub(super) fn task(cx: &'a Context<'_>) -> Self {
        Self { waker: cx.waker(), who: Who::Task }
    }

    /// By a method that has the one handle of a transfer for itself.
    pub(super) fn handle(cx: &'a Context<'_>) -> Self {
        Self { waker: cx.waker(), who: Who::Handle }
    }

    /// By something that forgets its place when it is dropped. It gets one when it waits.
    pub(super) fn future(cx: &'a Context<'_>, place: &'a mut Option<Place>) -> Self {
        Self { waker: cx.waker(), who: Who::Future(place) }
    }

    pub(super) fn waker(&self) -> &Waker {
        self.waker
    }

    fn place(&mut self) -> Option<Place> {
        match &mut self.who {
            Who::Task => None,
            Who::Handle => Some(HANDLE),
            Who::Future(place) => Some(*place.get_or_insert_with(Place::new)),
        }
    }
}

impl Nothing for Waiters {
    const NOTHING: &'static Self = &Self { list: Vec::new() };
}

impl Waiters {
    /// Remembers who waits, once; returns the waker that does not count any more.
    pub(super) fn wait(&mut self, waiting: &mut Waiting<'_>) -> Option<Waker> {
        let place = waiting.place();
        let mut same = self.list.iter_mut().filter(|(other, _)| *other == place);
        let known = match place {
            Some(_) => same.next(),
            None => same.find(|(_, waker)| waker.will_wake(waiting.waker)),
        };
        match known {
            Some((_, waker)) if waker.will_wake(waiting.waker) => None,
            Some((_, waker)) => Some(core::mem::replace(waker, waiting.waker.clone())),
            None => {
                self.list.push((place, waiting.waker.clone()));
                None
            }
        }
    }

    /// Gives up a place; returns the waker that waited there.
    fn forget(&mut self, place: Place) -> Option<Waker> {
        let found = self.list.iter().position(|(other, _)| *other == Some(place))?;
        Some(self.list.remove(found).1)
    }

    /// All of them, to be woken.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Waker> + '_ {
        self.list.drain(..).map(|(_, waker)| waker)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Gives back the memory that is kept for more.
    pub(super) fn shrink_to_fit(&mut self) {
        self.list.shrink_to_fit();
    }

    /// Lets the second be the first. Where one of those that are woken gets it all and waits again,
    /// each is the first in turn.
    pub(super) fn rotate(&mut self) {
        if let Some(middle) = self.list.len().checked_sub(1) {
            self.list.rotate_left(middle.min(1));
        }
    }
}

impl State {
    /// Remembers who waits for what.
    pub(super) fn wait(&mut self, what: WaitFor, waiting: &mut Waiting<'_>) {
        let replaced = self.waiters(what).and_then(|waiters| waiters.wait(waiting));
        self.wake.forget(replaced);
    }

    fn waiters(&mut self, what: WaitFor) -> Option<&mut Waiters> {
        let [chat, control] = &mut self.lane_waiters;
        match what {
            WaitFor::Room(Lane::Chat) => Some(chat),
            WaitFor::Room(Lane::Control) => Some(control),
            WaitFor::Offer => Some(&mut self.offer_waiters),
            WaitFor::Open => Some(&mut self.open_waiters),
            WaitFor::End => Some(&mut self.end_waiters),
            WaitFor::Transfer(key) => match self.outbound.get_mut(&key) {
                Some(t) => Some(&mut t.waiters),
                None => self.inbound.get_mut(&key).map(|t| &mut t.waiters),
            },
        }
    }

    fn forget_place(&mut self, what: WaitFor, place: Place) {
        let forgotten = self.waiters(what).and_then(|waiters| waiters.forget(place));
        self.wake.forget(forgotten);
    }
}

/// Waits with a place in the lists that is given up when the future is dropped: one that is made
/// again and again, to be given up each time, leaves nothing behind.
pub(super) fn wait_for<'a, R, P: FnMut(&mut Waiting<'_>) -> Poll<R>>(
    shared: &'a Shared,
    what: &'a [WaitFor],
    poll: P,
) -> Wait<'a, P> {
    Wait { guard: Guard { shared, what, place: None }, poll }
}

/// The future of [`wait_for`]: by hand, as an `async fn` keeps what it was called with twice.
pub(super) struct Wait<'a, P> {
    guard: Guard<'a>,
    poll: P,
}

impl<P> Unpin for Wait<'_, P> {}

impl<R, P: FnMut(&mut Waiting<'_>) -> Poll<R>> Future for Wait<'_, P> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let this = &mut *self;
        let polled = (this.poll)(&mut Waiting::future(cx, &mut this.guard.place));
        if polled.is_ready() {
            // Whatever woke it has emptied the list, or will.
            this.guard.place = None;
        }
        polled
    }
}

struct Guard<'a> {
    shared: &'a Shared,
    what: &'a [WaitFor],
    place: Option<Place>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.forget_place(self.what, place);
        }
    }
}

impl Shared {
    /// Whoever had this place waits no more.
    pub(super) fn forget_place(&self, what: &[WaitFor], place: Place) {
        self.with(|state| what.iter().for_each(|&what| state.forget_place(what, place)));
    }
}
