//! T1, T2, T3, T6, T7, H19, H32, H45: streams that split, hesitate, fail and end, below the drivers.

use std::cell::Cell;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use duologue::io::TransportError;
use duologue::proto::{CloseReason, Config, DetachReason, Receipt as Fate};
use duologue::session::{Event, Outcome, accept};
use duologue::testing::{Fault, Faulty, Script, duplex};
use duologue::wire::{Chat, CloseCode, Message, Offer};
use futures::StreamExt;
use futures::future::join;

use super::session_shapes::{Shape, Shaped};
use super::session_streams::{Defect, Polls, Wrong};
use super::session_util::{Peer, World, content, read_all, send_all};
use super::support::{is_pending, poll_once};

/// A short conversation: what both sides see of it.
async fn converse(world: &World, mut near: Peer, mut far: Peer) -> Vec<String> {
    let mut log = Vec::new();
    for line in ["one", "two"] {
        let receipt = near.session.send_chat(&Chat::new(line)).await.unwrap();
        log.push(far.chat().await);
        assert_eq!(receipt.await, Fate::Delivered);
    }
    let message =
        Message { message_type: 3, is_reply: false, correlation: 4, body: b"5"[..].into() };
    drop(near.session.send_message(&message).await.unwrap());
    log.push(format!("{:?}", far.event().await));
    let file = Bytes::from(content(300));
    let offer = Offer::new("x").size(300);
    let (mut outgoing, mut incoming) = world.transfer(&mut near, &mut far, offer).await;
    let (sent, received) = join(send_all(&mut outgoing, &file, 100), async {
        let received = read_all(&mut incoming).await.unwrap();
        incoming.stored("stored").unwrap();
        received
    })
    .await;
    log.push(format!("{sent:?} {}", received == file));
    drop(far.session.send_chat(&Chat::new("back")).await.unwrap());
    log.push(near.chat().await);
    near.session.close(CloseCode::DONE, "bye").unwrap();
    let (near, far) = join(near.into_the_end(), far.into_the_end()).await;
    log.push(format!("{near:?} {far:?}"));
    log
}

/// The same over streams of these shapes; with the bytes that each side read.
fn converse_over(near_shape: Shape, far_shape: Shape) -> (Vec<String>, [u64; 2]) {
    World::run(async |world| {
        let (near, far) = duplex(10_000);
        let (near, far) = (Shaped::new(near, near_shape), Shaped::new(far, far_shape));
        let read = [Rc::clone(&near.read), Rc::clone(&far.read)];
        let (near, far) = world.connect_over(near, far, Default::default()).await;
        let log = converse(world, near, far).await;
        (log, read.map(|read| read.get()))
    })
}

#[test]
fn t1_every_two_way_split_of_a_conversation_gives_the_same_events() {
    let (expected, read) = converse_over(Shape::Plain, Shape::Plain);
    assert!(expected.len() == 6 && read.iter().all(|&len| len > 300), "{expected:?} {read:?}");
    for at in 1..read[0] {
        let (log, _) = converse_over(Shape::SplitAt(at), Shape::Plain);
        assert_eq!(log, expected, "what the client reads is split at {at}");
    }
    for at in 1..read[1] {
        let (log, _) = converse_over(Shape::Plain, Shape::SplitAt(at));
        assert_eq!(log, expected, "what the server reads is split at {at}");
    }
}

/// Forwards a wake-up to the task only if it is the last waker that was handed out.
struct OneWaker {
    number: u64,
    last: Arc<AtomicU64>,
    wakes: Arc<AtomicU64>,
    task: Waker,
}

impl Wake for OneWaker {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        if self.number == self.last.load(Ordering::Relaxed) {
            self.task.wake_by_ref();
        }
    }
}

/// Polls a future more often than it asks for, and with another waker each time.
struct Restless<F> {
    inner: F,
    spurious: usize,
    last: Arc<AtomicU64>,
    wakes: Arc<AtomicU64>,
    polls: Rc<Cell<usize>>,
}

impl<F> Restless<F> {
    fn new(inner: F, spurious: usize) -> Self {
        let (last, wakes, polls) = Default::default();
        Self { inner, spurious, last, wakes, polls }
    }
}

impl<F: Future + Unpin> Future for Restless<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        for _ in 0..=self.spurious {
            self.polls.set(self.polls.get() + 1);
            let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
            let waker = Waker::from(Arc::new(OneWaker {
                number,
                last: Arc::clone(&self.last),
                wakes: Arc::clone(&self.wakes),
                task: cx.waker().clone(),
            }));
            let poll = Pin::new(&mut self.inner).poll(&mut Context::from_waker(&waker));
            if poll.is_ready() {
                return poll;
            }
        }
        Poll::Pending
    }
}

#[test]
fn t2_waiting_before_each_call_and_another_waker_each_poll_change_nothing() {
    let (expected, _) = converse_over(Shape::Plain, Shape::Plain);
    for (defect, spurious) in [(Defect::EveryOtherPoll, 0), (Defect::FirstSlice, 1000)] {
        World::run(async |world| {
            let (near, far) = duplex(10_000);
            let (near, far) = (Wrong::new(near, defect), Wrong::new(far, defect));
            let (session, events, driver) = world.client(near, Config::default());
            let driver = world.spawn(Restless::new(driver, spurious));
            let mut near = Peer { session, events, driver };
            let (parameters, timer) = (world.parameters(), world.timer());
            let accepted = accept(far, Config::default(), parameters, timer).await;
            let (session, events, driver) = accepted.unwrap();
            let driver = world.spawn(Restless::new(driver, spurious));
            let mut far = Peer { session, events, driver };
            assert!(matches!(near.event().await, Event::Open(_)));
            assert!(matches!(far.event().await, Event::Open(_)));
            assert_eq!(converse(world, near, far).await, expected, "{defect:?} {spurious}");
        });
    }
}

#[test]
fn t2_a_thousand_spurious_polls_wake_nobody_and_write_nothing() {
    World::run(async |world| {
        let (near, far) = duplex(10_000);
        let (session, mut events, driver) = world.client(near, Config::default());
        let driver = Restless::new(driver, 1000);
        let (wakes, polls) = (Arc::clone(&driver.wakes), Rc::clone(&driver.polls));
        let _driver = world.spawn(driver);
        let accepted = accept(far, Config::default(), world.parameters(), world.timer()).await;
        let (_far, _far_events, far_driver) = accepted.unwrap();
        let _far_driver = world.spawn(far_driver);
        assert!(matches!(events.next().await, Some(Event::Open(_))));
        world.sleep(Duration::from_secs(5)).await;
        let before = (wakes.load(Ordering::Relaxed), polls.get(), session.statistics().sent);
        // The keep-alive comes after 20 s; until then only what is spurious happens.
        world.sleep(Duration::from_secs(10)).await;
        let _poke = session.statistics();
        session.set_rate_limit(Some(1)); // wakes the driver
        world.sleep(Duration::from_millis(1)).await;
        let after = (wakes.load(Ordering::Relaxed), polls.get(), session.statistics().sent);
        assert!(after.1 - before.1 >= 1001, "it was polled");
        assert!(after.0 - before.0 <= 2, "{} wakes", after.0 - before.0);
        assert_eq!(after.2, before.2, "nothing was sent");
    });
}

#[test]
fn t3_an_error_that_means_try_again_never_spins() {
    let interrupted = |error: &TransportError| *error == TransportError::Interrupted;
    let would_block = |error: &TransportError| error.kind() == ErrorKind::WouldBlock;
    type IsRight = fn(&TransportError) -> bool;
    let rows: [(Defect, IsRight); 4] = [
        // For ever interrupted, it is broken; that it would block is for adapters to translate.
        (Defect::Fails(30, ErrorKind::Interrupted), interrupted),
        (Defect::Fails(30, ErrorKind::WouldBlock), would_block),
        (Defect::FlushInterrupted, interrupted),
        (Defect::WriteInterrupted(10), interrupted),
    ];
    for (defect, is_right) in rows {
        World::run(async |world| {
            let (near, far) = duplex(10_000);
            let (session, mut events, driver) =
                world.client(Wrong::new(near, defect), Config::default());
            let (driver, polls) = Polls::new(driver);
            let driver = world.spawn(driver);
            let accepted = accept(far, Config::default(), world.parameters(), world.timer()).await;
            let (_far, _far_events, far_driver) = accepted.unwrap();
            let _far_driver = world.spawn(far_driver);
            let talking = async {
                for n in 0..100 {
                    drop(session.send_chat(&Chat::new(n.to_string())).await);
                    world.sleep(Duration::from_millis(30)).await;
                }
            };
            talking.await;
            let failed = match driver.await.unwrap() {
                Outcome::Detached(detached) => detached.transport_error().cloned(),
                Outcome::Ended(ended) => ended.transport,
            };
            assert!(is_right(failed.as_ref().unwrap()), "{defect:?} {failed:?}");
            assert!(polls.get() < 1000, "{} polls with {defect:?}", polls.get());
            while !matches!(events.next().await, Some(Event::Detached(_) | Event::Closed(_))) {}
        });
    }
}

#[test]
fn t3_an_interrupted_flush_is_tried_again_in_the_handshake_as_well() {
    World::run_at_once(async |world| {
        let (near, far) = duplex(10_000);
        // The listener's first call is a flush, before there is anything to write.
        let script = Script::new().writes([Fault::Fail(ErrorKind::Interrupted)]);
        let far = Faulty::new(far, script, &world.clock);
        let (_session, _events, driver) = world.client(near, Config::default());
        let _driver = world.spawn(driver);
        let accepted = accept(far, Config::default(), world.parameters(), world.timer()).await;
        assert!(accepted.is_ok(), "{:?}", accepted.err());
    });
}

#[test]
fn t3_no_call_of_a_stream_matters_that_is_interrupted_once() {
    for call in 0..40 {
        World::run_at_once(async |world| {
            let (near, far) = duplex(10_000);
            let interrupted = || {
                let passed = std::iter::repeat_n(Fault::Pass, call);
                passed.chain([Fault::Fail(ErrorKind::Interrupted)])
            };
            let script = || Script::new().reads(interrupted()).writes(interrupted());
            let near = Faulty::new(near, script(), &world.clock);
            let far = Faulty::new(far, script(), &world.clock);
            let (near, mut far) = world.connect_over(near, far, Default::default()).await;
            for n in 0..3 {
                let receipt = near.session.send_chat(&Chat::new(n.to_string())).await.unwrap();
                assert_eq!(far.chat().await, n.to_string());
                assert_eq!(receipt.await, Fate::Delivered);
            }
            near.session.close(CloseCode::DONE, "").unwrap();
            for peer in [near, far] {
                let (.., outcome) = peer.into_the_end().await;
                let Outcome::Ended(ended) = outcome else { panic!("it broke at {call}") };
                assert_eq!(ended.transport, None, "at call {call}");
            }
        });
    }
}

/// What becomes of the side that reads an end after so many bytes.
struct AtTheEnd {
    was_open: bool,
    ending: &'static str,
    reads_after_end: u64,
}

fn end_of_stream(of_client: bool, at: u64) -> AtTheEnd {
    World::run(async |world| {
        let (near, far) = duplex(10_000);
        let shape = |ends| if ends { Shape::EndAt(at) } else { Shape::Plain };
        let (near, far) =
            (Shaped::new(near, shape(of_client)), Shaped::new(far, shape(!of_client)));
        let after = if of_client { &near.reads_after_end } else { &far.reads_after_end };
        let after = Rc::clone(after);
        let (session, events, driver) = world.client(near, Config::default());
        let client = Peer { session, events, driver: world.spawn(driver) };
        let accepted = accept(far, Config::default(), world.parameters(), world.timer()).await;
        let Ok((session, events, driver)) = accepted else {
            assert!(!of_client, "its HELLO is whole");
            return AtTheEnd { was_open: false, ending: "refused", reads_after_end: after.get() };
        };
        let server = Peer { session, events, driver: world.spawn(driver) };
        let (client, server) = join(live(world, client, true), live(world, server, false)).await;
        let (was_open, ending) = if of_client { client } else { server };
        AtTheEnd { was_open, ending, reads_after_end: after.get() }
    })
}

/// Listens; a client says a line, and closes once it is delivered.
async fn live(world: &World, mut peer: Peer, is_client: bool) -> (bool, &'static str) {
    let (mut was_open, mut ending) = (false, "");
    while let Some(event) = peer.events.next().await {
        match event {
            Event::Open(_) => {
                was_open = true;
                let session = peer.session.clone();
                world.detach(async move {
                    if let (true, Ok(receipt)) =
                        (is_client, session.send_chat(&Chat::new("line")).await)
                    {
                        let _ = receipt.await;
                        let _ = session.close(CloseCode::DONE, "");
                    }
                });
            }
            Event::Detached(reason) => {
                let allowed = [DetachReason::StreamEnded, DetachReason::Transport];
                assert!(allowed.contains(&reason), "{reason:?}");
                ending = "detached";
                break;
            }
            Event::Closed(CloseReason::Failed(_)) => ending = "failed",
            Event::Closed(_) => ending = "closed",
            _ => {}
        }
    }
    match peer.driver.await.unwrap() {
        Outcome::Detached(_) => assert_eq!(ending, "detached"),
        Outcome::Ended(_) => assert!(ending == "failed" || ending == "closed"),
    }
    (was_open, ending)
}

#[test]
fn t6_the_end_at_every_byte_breaks_and_only_behind_a_goodbye_it_closes() {
    for of_client in [false, true] {
        let (mut last, mut closed) = ("", 0);
        for at in 0..2000 {
            let end = end_of_stream(of_client, at);
            let expected: &[&str] = match (end.was_open, last) {
                (false, _) => &["refused", "failed"],
                // Until it hears from the client once more, that may not know of the conversation.
                (true, "refused" | "failed") if !of_client => &["failed", "detached"],
                (true, "closed") => &["closed"],
                (true, _) => &["detached", "closed"],
            };
            assert!(expected.contains(&end.ending), "{} at {at}, {of_client}", end.ending);
            assert_eq!(end.reads_after_end, 0, "at {at}");
            last = end.ending;
            if last == "closed" {
                closed += 1;
            }
            if closed == 20 {
                break;
            }
        }
        assert_eq!(last, "closed");
    }
}

#[test]
fn t6_files_wait_when_the_stream_ends() {
    World::run(async |world| {
        let (near, far) = duplex(10_000);
        let far = Shaped::new(far, Shape::EndAt(2000));
        let (mut near, mut far) = world.connect_over(near, far, Default::default()).await;
        let (mut out, mut incoming) = world.transfer(&mut near, &mut far, Offer::new("x")).await;
        out.send(Bytes::from(content(5000))).await.unwrap();
        let Outcome::Detached(_detached) = far.driver.await.unwrap() else { panic!() };
        let Outcome::Detached(_near) = near.driver.await.unwrap() else { panic!() };
        // Nothing has failed: it goes on if there is another stream.
        assert!(incoming.is_detached());
        while let Poll::Ready(next) = poll_once(&mut Box::pin(incoming.next())) {
            assert!(next.is_ok());
        }
        out.send(Bytes::from_static(b"d")).await.unwrap();
        assert!(is_pending(&mut Box::pin(out.finish(None))));
    });
}

#[test]
fn t7_both_finish_what_they_say_though_the_other_has_ended_its_half() {
    World::run(async |world| {
        let (near, far) = duplex(97);
        let (near, far) = world.connect_over(near, far, Default::default()).await;
        let mut receipts = Vec::new();
        for n in 0..50_u32 {
            let line = Chat::new(format!("{n} {}", "x".repeat(200)));
            receipts.push(near.session.send_chat(&line).await.unwrap());
            receipts.push(far.session.send_chat(&line).await.unwrap());
        }
        near.session.close(CloseCode::DONE, "").unwrap();
        far.session.close(CloseCode::DONE, "").unwrap();
        let ((near, ..), (far, ..)) = join(near.into_the_end(), far.into_the_end()).await;
        for events in [near, far] {
            let lines = events.iter().filter(|event| matches!(event, Event::Chat(_)));
            assert_eq!(lines.count(), 50);
        }
        for receipt in receipts {
            assert_eq!(receipt.await, Fate::Delivered);
        }
    });
}

#[test]
fn h19_a_stream_that_goes_on_after_its_end_is_not_asked_again() {
    World::run(async |world| {
        let (near, far) = duplex(10_000);
        let (plain, shaped) = (near, Shaped::new(far, Shape::PauseAt(600)));
        let after = Rc::clone(&shaped.reads_after_end);
        let (near, far) = world.connect_over(plain, shaped, Default::default()).await;
        for _ in 0..20 {
            drop(near.session.send_chat(&Chat::new("x".repeat(100))).await);
            world.sleep(Duration::from_millis(30)).await;
        }
        let Outcome::Detached(_) = far.driver.await.unwrap() else { panic!() };
        assert_eq!(after.get(), 0);
    });
}

#[test]
fn h32_metadata_is_opaque_and_has_a_limit() {
    World::run(async |world| {
        let (mut near, mut far) = world.connect().await;
        // As deep as it fits, or the same key again and again: nobody here looks into it.
        for metadata in [vec![b'['; 4096], b"k=v;".repeat(1024)] {
            let offer = Offer::new("x").metadata(&metadata[..]);
            let (_outgoing, incoming) = (near.session.offer(&offer).await.unwrap(), far.offer());
            assert_eq!(incoming.await.offer().metadata, metadata);
        }
        let offer = Offer::new("x").metadata(vec![b'['; 4097]);
        assert!(near.session.offer(&offer).await.is_err());
        drop(near.session.send_chat(&Chat::new("goes on")).await.unwrap());
        assert_eq!(far.chat().await, "goes on");
        let _ = &mut near;
    });
}

#[test]
fn h45_what_has_resolved_may_be_polled_again() {
    World::run(async |world| {
        let (near, far) = duplex(10_000);
        let (session, mut events, mut driver) = world.client(near, Config::default());
        let far = world.spawn(async move {
            drop(far);
        });
        far.await.unwrap();
        let outcome = (&mut driver).await;
        assert!(matches!(outcome, Outcome::Ended(_)));
        for _ in 0..3 {
            assert!(is_pending(&mut driver), "there is nothing more");
        }
        drop(driver);
        while events.next().await.is_some() {}
        for _ in 0..3 {
            assert!(events.next().await.is_none());
            session.closed().await;
        }
    });
}
