use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;
use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::vec::Vec;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};

use crate::time::{Time, Timer};

/// A race that nobody won.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost<E> {
    /// What came of each attempt that was started, in the order of starting; none when it had not
    /// answered yet.
    pub(super) outcomes: Vec<Option<E>>,
    /// Whether it ended because of the deadline.
    pub(super) timed_out: bool,
}

/// Starts an attempt for each candidate in turn and returns the first that succeeds.
///
/// The next attempt starts `stagger` after the last one, or as soon as one fails
/// ([RFC 8305, section 5](https://www.rfc-editor.org/rfc/rfc8305#section-5)). The losers are
/// dropped. An attempt that has succeeded wins over the deadline.
pub(super) async fn race<C, F, O, E, T>(
    candidates: impl IntoIterator<Item = C>,
    mut start: impl FnMut(C) -> F,
    stagger: Duration,
    deadline: Time,
    timer: &mut T,
) -> Result<O, Lost<E>>
where
    F: Future<Output = Result<O, E>>,
    T: Timer + Unpin,
{
    let mut candidates = candidates.into_iter().peekable();
    let mut running = FuturesUnordered::new();
    let mut outcomes = Vec::new();
    let mut next_start = timer.now();
    let mut armed = None;
    let outcome = poll_fn(|cx| {
        loop {
            match running.poll_next_unpin(cx) {
                Poll::Ready(Some((_, Ok(winner)))) => return Poll::Ready(Ok(winner)),
                Poll::Ready(Some((index, Err(error)))) => {
                    if let Some(outcome) = outcomes.get_mut(index) {
                        *outcome = Some(error);
                    }
                    next_start = Time::ZERO;
                    continue;
                }
                Poll::Ready(None) => next_start = Time::ZERO,
                Poll::Pending => {}
            }
            let now = timer.now();
            if now >= deadline {
                return Poll::Ready(Err(true));
            }
            if now >= next_start {
                if let Some(candidate) = candidates.next() {
                    let index = outcomes.len();
                    outcomes.push(None);
                    running.push(start(candidate).map(move |outcome| (index, outcome)));
                    next_start = now.saturating_add(stagger);
                    continue;
                }
                if running.is_empty() {
                    return Poll::Ready(Err(false));
                }
            }
            let wake_at = match candidates.peek() {
                Some(_) => next_start.min(deadline),
                None => deadline,
            };
            if armed != Some(wake_at) {
                Pin::new(&mut *timer).reset(wake_at);
                armed = Some(wake_at);
            }
            if Pin::new(&mut *timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            armed = None; // the clock decides: a timer that went off early is armed again
        }
    })
    .await;
    outcome.map_err(|timed_out| Lost { outcomes, timed_out })
}

/// At most `most` different addresses, the two families alternating, otherwise in the resolver's order.
///
/// The resolver has sorted them by RFC 6724, so its first one also says which family begins
/// ([RFC 8305, section 4](https://www.rfc-editor.org/rfc/rfc8305#section-4)).
pub(super) fn interleave(resolved: Vec<SocketAddr>, most: usize) -> Vec<SocketAddr> {
    let Some(first) = resolved.first().copied() else { return resolved };
    let mut seen = HashSet::new();
    let (mut ours, mut others): (VecDeque<_>, VecDeque<_>) = resolved
        .into_iter()
        .filter(|address| seen.insert(*address))
        .partition(|address| address.is_ipv4() == first.is_ipv4());
    let mut sorted = Vec::new();
    while sorted.len() < most {
        let Some(next) = ours.pop_front().or_else(|| others.pop_front()) else { break };
        sorted.push(next);
        core::mem::swap(&mut ours, &mut others);
    }
    sorted
}

/// The output of `future` if it comes before `deadline`; what is there wins over the clock.
pub(super) async fn within<F: Future, T: Timer + Unpin>(
    future: F,
    deadline: Time,
    timer: &mut T,
) -> Option<F::Output> {
    let mut future = core::pin::pin!(future);
    let mut armed = false;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        loop {
            if timer.now() >= deadline {
                return Poll::Ready(None);
            }
            if !armed {
                Pin::new(&mut *timer).reset(deadline);
                armed = true;
            }
            if Pin::new(&mut *timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            armed = false;
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::time::VirtualClock;

    /// An attempt: answers after so many milliseconds, with success or not.
    type Attempt = (u64, bool);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Races `attempts` with a stagger of 250 ms and a limit of 20 s; returns who won or lost, when
    /// each was started, and when it was over (in milliseconds).
    fn run(attempts: &[Attempt]) -> (Result<usize, Lost<usize>>, Vec<u64>, u64) {
        let clock = VirtualClock::new();
        let started = Arc::new(Mutex::new(Vec::new()));
        let start = |index: usize| {
            started.lock().unwrap().push(clock.now().as_micros() / 1000);
            let (delay, succeeds) = attempts[index];
            let (mut timer, at) = (clock.timer(), clock.now().saturating_add(ms(delay)));
            async move {
                let _ = within(core::future::pending::<()>(), at, &mut timer).await;
                if succeeds { Ok(index) } else { Err(index) }
            }
        };
        let mut timer = clock.timer();
        let deadline = clock.now().saturating_add(Duration::from_secs(20));
        let race = race(0..attempts.len(), start, ms(250), deadline, &mut timer);
        let outcome = clock.block_on(race).unwrap();
        let started = started.lock().unwrap().clone();
        (outcome, started, clock.now().as_micros() / 1000)
    }

    #[test]
    fn attempts_are_staggered_and_the_first_answer_wins() {
        const NEVER: u64 = 1_000_000;
        let lost = |outcomes, timed_out| Err(Lost { outcomes, timed_out });
        for (attempts, outcome, started, end) in [
            (&[][..], lost(vec![], false), vec![], 0),
            (&[(100, true)], Ok(0), vec![0], 100),
            (&[(249, true), (0, true)], Ok(0), vec![0], 249),
            // The second starts at 250 ms and is quicker than the first.
            (&[(400, true), (100, true)], Ok(1), vec![0, 250], 350),
            (&[(NEVER, true), (NEVER, true), (7, true)], Ok(2), vec![0, 250, 500], 507),
            // A failure starts the next at once, and the stagger counts from there.
            (&[(10, false), (NEVER, true), (5, true)], Ok(2), vec![0, 10, 260], 265),
            (&[(0, false), (0, false), (0, true)], Ok(2), vec![0, 0, 0], 0),
            (&[(300, false), (400, true), (9, true)], Ok(2), vec![0, 250, 300], 309),
            (&[(10, false), (20, false)], lost(vec![Some(0), Some(1)], false), vec![0, 10], 30),
            (&[(NEVER, true), (1, false)], lost(vec![None, Some(1)], true), vec![0, 250], 20_000),
            (&[(20_000, true)], Ok(0), vec![0], 20_000),
        ] {
            assert_eq!(run(attempts), (outcome, started, end), "{attempts:?}");
        }
    }

    #[test]
    fn a_race_arms_its_timer_only_when_the_moment_changes() {
        let clock = VirtualClock::new();
        let mut timer = clock.timer();
        let start = |_| core::future::pending::<Result<(), ()>>();
        let deadline = Time::from_micros(1_000_000);
        let outcome = clock.block_on(race(0..3, start, ms(250), deadline, &mut timer)).unwrap();
        assert_eq!(outcome, Err(Lost { outcomes: vec![None; 3], timed_out: true }));
        assert_eq!(clock.resets(), 3);
    }

    #[test]
    fn families_take_turns_in_the_resolvers_order() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let [a, b, c] = ["[::1]:1", "[::2]:1", "[::3]:1"].map(address);
        let [x, y] = ["192.0.2.1:1", "192.0.2.2:1"].map(address);
        for (resolved, most, sorted) in [
            (vec![], 16, vec![]),
            (vec![a, b, c, x, y], 16, vec![a, x, b, y, c]),
            (vec![x, a, b, c], 16, vec![x, a, b, c]),
            (vec![x, x, a, x, y], 16, vec![x, a, y]),
            (vec![a, b, c, x, y], 3, vec![a, x, b]),
            (vec![a, b, c], 16, vec![a, b, c]),
        ] {
            assert_eq!(interleave(resolved.clone(), most), sorted, "{resolved:?}");
        }
    }

    #[test]
    fn what_is_there_wins_over_the_deadline() {
        let clock = VirtualClock::new();
        let mut timer = clock.timer();
        let ready = within(async { 7 }, Time::ZERO, &mut timer);
        assert_eq!(clock.block_on(ready).unwrap(), Some(7));
        let late = within(core::future::pending::<u8>(), Time::from_micros(5), &mut timer);
        assert_eq!(clock.block_on(late).unwrap(), None);
        assert_eq!(clock.now(), Time::from_micros(5));
    }
}
