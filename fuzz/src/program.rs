//! What every program of the targets does, whatever else it does: it serves streams, hears events, waits,
//! and shows errors.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use duologue::session::{Event, Events};
use duologue::time::{Timer, VirtualClock};
use futures::StreamExt;
use futures::channel::mpsc;
use futures::stream::{FusedStream, FuturesUnordered};

/// Serves every stream that comes, beside each other, each with a number of its own.
pub(crate) async fn serve<S, F: Future<Output = ()>>(
    mut streams: mpsc::UnboundedReceiver<S>,
    mut serve_one: impl FnMut(S, u8) -> F,
) {
    let mut running = FuturesUnordered::new();
    let mut number = 10_u8;
    poll_fn(|cx| {
        loop {
            let mut moved = false;
            while let Poll::Ready(Some(stream)) = streams.poll_next_unpin(cx) {
                number = number.wrapping_add(1);
                moved = true;
                running.push(serve_one(stream, number));
            }
            while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {
                moved = true;
            }
            if !moved {
                let has_ended = streams.is_terminated() && running.is_empty();
                return if has_ended { Poll::Ready(()) } else { Poll::Pending };
            }
        }
    })
    .await;
}

/// Hears all events, and does beside that what they begin, until both have ended.
pub(crate) async fn listen<F: Future<Output = ()>>(
    events: &mut Events,
    mut hear: impl FnMut(&mut Events, Event, &mut FuturesUnordered<F>),
) {
    let mut tasks = FuturesUnordered::new();
    poll_fn(|cx| {
        loop {
            while let Poll::Ready(Some(())) = tasks.poll_next_unpin(cx) {}
            match events.poll_next_unpin(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) if tasks.is_empty() => return Poll::Ready(()),
                Poll::Ready(None) => return Poll::Pending,
                Poll::Ready(Some(event)) => hear(events, event, &mut tasks),
            }
        }
    })
    .await;
}

pub(crate) async fn sleep(clock: &VirtualClock, time: Duration) {
    let mut timer = clock.timer();
    let until = clock.now().saturating_add(time);
    Pin::new(&mut timer).reset(until);
    poll_fn(|cx| Pin::new(&mut timer).poll(cx)).await;
}

/// What an error says fits on one line, whoever caused it.
pub(crate) fn show(error: &dyn std::error::Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        let shown = error.to_string();
        assert!(!shown.is_empty() && !shown.chars().any(char::is_control), "{shown:?}");
        next = error.source();
    }
}
