//! Nothing that one part of a conversation does stops another, and no wake-up is lost or for nothing.

use std::time::Duration;

use bytes::Bytes;
use duologue::io::TransportError;
use duologue::proto::{Config, DetachReason, Receipt as Fate};
use duologue::session::{AcceptError, Event, Incoming, Outcome, Outgoing, accept};
use duologue::testing::duplex;
use duologue::wire::{Chat, CloseCode, Header, Kind, Offer};
use futures::future::{join, join4};

use super::session_streams::{Counting, Defect, Polls, Wrong};
use super::session_util::{Peer, World, content, read_all, send_all};
use super::support::small_or_large;

async fn send_zeros(mut outgoing: Outgoing, mebibytes: usize) {
    let chunk = Bytes::from(vec![0; 1 << 20]);
    for _ in 0..mebibytes {
        outgoing.send(chunk.clone()).await.unwrap();
    }
    outgoing.finish(None).await.unwrap();
}

async fn count(mut incoming: Incoming) -> usize {
    let mut total = 0;
    while let Some(chunk) = incoming.next().await.unwrap() {
        total += chunk.data.len();
    }
    incoming.stored("x").unwrap();
    total
}

async fn both_ways(world: &World, near: &mut Peer, far: &mut Peer, mebibytes: usize) {
    let offer = || Offer::new("x").size((mebibytes << 20) as u64);
    let (there, there_in) = world.transfer(near, far, offer()).await;
    let (back, back_in) = world.transfer(far, near, offer()).await;
    let (_, one, _, other) = join4(
        send_zeros(there, mebibytes),
        count(there_in),
        send_zeros(back, mebibytes),
        count(back_in),
    )
    .await;
    assert_eq!((one, other), (mebibytes << 20, mebibytes << 20));
}

#[test]
fn two_that_push_with_all_their_might_through_a_tiny_pipe_both_get_through() {
    World::run(async |world| {
        let (near, far) = duplex(97);
        let (mut near, mut far) = world.connect_over(near, far, Default::default()).await;
        let mebibytes = small_or_large(2, 64);
        both_ways(world, &mut near, &mut far, mebibytes).await;
    });
}

#[test]
fn sixty_four_mebibytes_each_way() {
    World::run(async |world| {
        let (near, far) = duplex(64 << 10);
        let (mut near, mut far) = world.connect_over(near, far, Default::default()).await;
        both_ways(world, &mut near, &mut far, 64).await;
    });
}

#[test]
fn s8_a_file_that_nobody_reads_holds_up_nothing_else() {
    World::run(async |world| {
        let (mut near, mut far) = world.connect().await;
        let (mut stuck, stuck_in) = world.transfer(&mut near, &mut far, Offer::new("stuck")).await;
        let pushing = world.spawn(async move {
            // More than all windows and buffers together.
            let chunk = Bytes::from(vec![0; 1 << 20]);
            while stuck.send(chunk.clone()).await.is_ok() {}
        });
        world.sleep(Duration::from_secs(1)).await;
        // Credit has stopped: what came is within the window, and no more comes.
        let came = far.session.statistics().received.data.bytes;
        let window = Config::default().receive_window() as u64;
        assert!(came > 0 && came <= window + (16 << 10), "{came} bytes with nobody to read them");
        world.sleep(Duration::from_secs(10)).await;
        assert_eq!(far.session.statistics().received.data.bytes, came);
        let (slow, mut slow_in) = world.transfer(&mut near, &mut far, Offer::new("slow")).await;
        let slow_sink = {
            let world = world.clone();
            world.clone().spawn(async move {
                let mut total = 0;
                while let Some(chunk) = slow_in.next().await.unwrap() {
                    total += chunk.data.len();
                    world.sleep(Duration::from_millis(50)).await;
                }
                slow_in.stored("slow").unwrap();
                total
            })
        };
        let sending = world.spawn(send_zeros(slow, 5));
        let (mut quick, mut quick_in) =
            world.transfer(&mut near, &mut far, Offer::new("quick")).await;
        let file = Bytes::from(content(2 << 20));
        let before = world.clock.now();
        let (sent, received) = join(send_all(&mut quick, &file, 1 << 18), async {
            let received = read_all(&mut quick_in).await.unwrap();
            quick_in.stored("quick").unwrap();
            received
        })
        .await;
        assert!(sent.is_ok() && received == file);
        let receipt = near.session.send_chat(&Chat::new("now?")).await.unwrap();
        assert_eq!(far.chat().await, "now?");
        assert_eq!(receipt.await, Fate::Delivered);
        let passed = world.clock.now().saturating_duration_since(before);
        assert!(passed < Duration::from_secs(1), "{passed:?}");
        assert_eq!(slow_sink.await.unwrap(), 5 << 20);
        sending.await.unwrap();
        drop(stuck_in);
        pushing.await.unwrap();
    });
}

#[test]
fn an_application_that_hears_nothing_holds_up_no_file() {
    World::run(async |world| {
        let (mut near, mut far) = world.connect().await;
        let (outgoing, incoming) = world.transfer(&mut near, &mut far, Offer::new("x")).await;
        let session = near.session.clone();
        let chatting = world.spawn(async move {
            // Nobody takes them.
            while session.send_chat(&Chat::new("hello?")).await.is_ok() {}
        });
        let (_, total) = join(send_zeros(outgoing, 10), count(incoming)).await;
        assert_eq!(total, 10 << 20);
        drop(far);
        near.session.close(CloseCode::DONE, "").unwrap();
        chatting.await.unwrap();
    });
}

/// Chat and a file both ways over a stream with a defect that is none that matters.
fn talk_over(defect: Defect, len: usize) -> usize {
    World::run(async |world| {
        let (near, far) = duplex(10_000);
        let (near, far) = (Wrong::new(near, defect), Wrong::new(far, defect));
        let vectored = near.vectored.clone();
        let (mut near, mut far) = world.connect_over(near, far, Default::default()).await;
        drop(near.session.send_chat(&Chat::new("hello")).await.unwrap());
        assert_eq!(far.chat().await, "hello", "{defect:?}");
        let file = Bytes::from(content(len));
        for _ in 0..2 {
            let (mut outgoing, mut incoming) =
                world.transfer(&mut near, &mut far, Offer::new("x")).await;
            let (sent, received) = join(send_all(&mut outgoing, &file, 20_000), async {
                let received = read_all(&mut incoming).await.unwrap();
                incoming.stored("x").unwrap();
                received
            })
            .await;
            assert!(sent.is_ok() && received == file, "{defect:?}");
            std::mem::swap(&mut near, &mut far);
        }
        near.session.close(CloseCode::DONE, "").unwrap();
        let (near, far) = join(near.into_the_end(), far.into_the_end()).await;
        assert!(matches!((near.2, far.2), (Outcome::Ended(_), Outcome::Ended(_))), "{defect:?}");
        vectored.get()
    })
}

#[test]
fn a_stream_that_takes_the_first_slice_alone_is_noticed_once() {
    assert_eq!(talk_over(Defect::FirstSlice, 1_000_000), 1);
}

#[test]
fn what_a_stream_does_not_take_is_not_copied_for_it_each_time() {
    World::run(async |world| {
        let (near, far) = duplex(10_000);
        let near = Wrong::new(near, Defect::SingleBytes);
        let offered = near.offered.clone();
        let (mut near, mut far) = world.connect_over(near, far, Default::default()).await;
        let (outgoing, incoming) = world.transfer(&mut near, &mut far, Offer::new("x")).await;
        let sending = async {
            let mut outgoing = outgoing;
            outgoing.send(vec![0; 60_000].into()).await.unwrap();
            let _ = outgoing.finish(None).await;
        };
        let (_, total) = join(sending, count(incoming)).await;
        assert_eq!(total, 60_000);
        // Of each byte that was taken; four frames wait at a time.
        let each = offered.get() / 60_000;
        assert!(each < 8 << 10, "{each} bytes were offered for each that was taken");
    });
}

#[test]
fn t1_t2_t3_whatever_a_stream_may_do_everything_gets_through() {
    talk_over(Defect::SingleBytes, 30_000);
    talk_over(Defect::EveryOtherPoll, 300_000);
    talk_over(Defect::Interrupted, 300_000);
}

#[test]
fn t4_h19_a_stream_that_lies_is_broken() {
    for (defect, is_right) in [
        (
            Defect::Overrun(30),
            (|error| matches!(error, TransportError::Overrun { .. })) as fn(&_) -> bool,
        ),
        (Defect::WriteOverrun(30), |error| matches!(error, TransportError::Overrun { .. })),
        (Defect::WriteZero(30), |error| *error == TransportError::WriteZero),
    ] {
        World::run(async |world| {
            let (near, far) = duplex(10_000);
            let near = Wrong::new(near, defect);
            let (mut near, far) = world.connect_over(near, far, Default::default()).await;
            for n in 0..100 {
                drop(near.session.send_chat(&Chat::new(n.to_string())).await.unwrap());
                world.sleep(Duration::from_millis(30)).await;
            }
            let Outcome::Detached(detached) = near.driver.await.unwrap() else { panic!() };
            assert!(is_right(detached.transport_error().unwrap()), "{defect:?}");
            let event = near.events.next().await;
            assert!(matches!(event, Some(Event::Detached(DetachReason::Transport))), "{event:?}");
            assert!(matches!(far.driver.await.unwrap(), Outcome::Detached(_)));
        });
    }
}

#[test]
fn t4_h19_a_stream_that_lies_in_the_handshake_is_refused() {
    for defect in [Defect::Overrun(0), Defect::WriteZero(0), Defect::Interrupted] {
        World::run(async |world| {
            let (near, far) = duplex(10_000);
            let (_session, _events, driver) = world.client(near, Config::default());
            let _driver = world.spawn(driver);
            let far = Wrong::new(far, defect);
            let accepted = accept(far, Config::default(), world.parameters(), world.timer()).await;
            match accepted {
                Ok((.., driver)) => assert!(!matches!(defect, Defect::Overrun(_)), "{driver:?}"),
                Err(error) => assert!(matches!(error, AcceptError::Transport(_)), "{error}"),
            }
        });
    }
}

#[test]
fn t2_a_driver_with_nothing_to_do_sleeps() {
    World::run(async |world| {
        let (near, far) = duplex(64 << 10);
        let (session, mut events, driver) = world.client(near, Config::default());
        let (driver, polls) = Polls::new(driver);
        let _driver = world.spawn(driver);
        let accepted = accept(far, Config::default(), world.parameters(), world.timer()).await;
        let (far_session, mut far_events, far_driver) = accepted.unwrap();
        let _far_driver = world.spawn(far_driver);
        assert!(matches!(events.next().await, Some(Event::Open(_))));
        world.sleep(Duration::from_secs(5)).await;

        // An hour of silence: a ping and its answer every 20 s.
        let before = polls.get();
        world.sleep(Duration::from_secs(3600)).await;
        let polled = polls.get() - before;
        assert!(polled < 180 * 6, "{polled} polls in an hour");
        assert!(polled >= 180, "{polled} polls, but keep-alive has to go on");

        // A line a second: what it takes, and no more.
        assert!(matches!(far_events.next().await, Some(Event::Open(_))));
        let before = polls.get();
        for _ in 0..100 {
            drop(session.send_chat(&Chat::new("x")).await.unwrap());
            assert!(matches!(far_events.next().await, Some(Event::Chat(_))));
            world.sleep(Duration::from_secs(1)).await;
        }
        let polled = polls.get() - before;
        assert!(polled <= 100 * 6, "{polled} polls for 100 lines");

        // A full pipe, a paused transfer and a rate limit do not keep it busy either.
        let mut outgoing = session.offer(&Offer::new("x")).await.unwrap();
        let Some(Event::Offer(offer)) = far_events.next().await else { panic!() };
        let _incoming = offer.accept().unwrap();
        outgoing.accepted().await.unwrap();
        session.set_rate_limit(Some(1000));
        outgoing.send(Bytes::from(vec![0; 100_000])).await.unwrap();
        let (mut waiting, waits) = Polls::new(Box::pin(outgoing.send(Bytes::from_static(b"x"))));
        let before = polls.get();
        let started = world.clock.now();
        (&mut waiting).await.unwrap();
        let passed = world.clock.now().saturating_duration_since(started);
        assert!(passed.as_secs() >= 99 && passed.as_secs() <= 100, "{passed:?}");
        let polled = polls.get() - before;
        assert!(polled < 200, "{polled} polls in 100 s");
        assert!(waits.get() < 5000, "{}", waits.get());
        drop(far_session);
    });
}

use futures::StreamExt;

#[test]
fn reads_that_are_filled_to_the_end_are_answered_together() {
    World::run_at_once(async |world| {
        let (near, far) = duplex(1 << 20);
        let counting = Counting::new(far);
        let writes = counting.writes();
        let (mut near, mut far) = world.connect_over(near, counting, Default::default()).await;
        let offer = Offer::new("x").size(64 << 20);
        let (outgoing, incoming) = world.transfer(&mut near, &mut far, offer).await;
        let before = writes.get();
        let ((), received) = join(send_zeros(outgoing, 64), count(incoming)).await;
        assert_eq!(received, 64 << 20);
        // A read takes 256 KiB at most: these are 256 of them.
        let writes = writes.get() - before;
        println!("64 MiB were answered in {writes} writes");
        assert!(writes <= 160, "{writes}");
    });
}

/// ACKs are found by how they begin, which is looked for between frames only.
#[test]
fn a_file_of_what_looks_like_acks_is_a_file() {
    World::run(async |world| {
        // Each read is as long as this, so that some begin where an ACK of the file does.
        let (near, far) = duplex(40);
        let (mut near, mut far) = world.connect_over(near, far, Default::default()).await;
        let mut ack = Header { length: 24, kind: Kind::ACK, id: 0 }.encode().to_vec();
        ack.extend([0; 24]);
        let file = Bytes::from(ack.repeat(1000));
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x")).await;
        let (sent, received) = join(send_all(&mut outgoing, &file, 8 << 10), async {
            let received = read_all(&mut incoming).await.unwrap();
            incoming.stored("x").unwrap();
            received
        })
        .await;
        assert!(sent.is_ok() && received == file);
    });
}
