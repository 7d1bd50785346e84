//! Conversations that survive their streams.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{ActionError, CloseReason, Config, DetachReason, Opening, Receipt as Fate};
use duologue::session::{
    Backoff, Conversations, Event, Outcome, Session, SessionError, TransferError, accept,
};
use duologue::testing::{SplitMix64, duplex};
use duologue::wire::{Chat, CloseCode, Message, Offer};
use futures::StreamExt;
use futures::future::join;

use super::session_network::{Network, listen, reconnecting};
use super::session_util::{World, content, read_all, send_all};

#[test]
fn a_client_goes_on_over_another_kind_of_stream() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default());
        let mut arrivals = listen(world, listener, &conversations);
        let (session, mut events, driver) =
            world.client(network.stream().unwrap(), Config::default());
        let driver = world.spawn(driver);
        let mut hosted = arrivals.next().await.unwrap().unwrap().unwrap();
        assert!(matches!(events.next().await, Some(Event::Open(Opening::New))));
        assert!(matches!(hosted.events.next().await, Some(Event::Open(Opening::New))));
        network.cut();
        let Outcome::Detached(detached) = driver.await.unwrap() else { panic!() };
        assert!(detached.transport_error().is_some());
        assert!(session.is_open() && session.is_detached());
        let receipt = session.send_chat(&Chat::new("said meanwhile")).await.unwrap();

        // A boxed stream is another type.
        let boxed: Box<dyn AnyStream> = Box::new(network.stream().unwrap());
        let Ok(driver) = detached.attach(boxed, world.parameters()) else { panic!() };
        let driver = world.spawn(driver);
        assert!(arrivals.next().await.unwrap().unwrap().is_none(), "it was resumed");
        assert!(matches!(events.next().await, Some(Event::Detached(DetachReason::Transport))));
        assert!(matches!(events.next().await, Some(Event::Open(Opening::Resumed))));
        assert!(matches!(hosted.events.next().await, Some(Event::Detached(_))));
        assert!(matches!(hosted.events.next().await, Some(Event::Open(Opening::Resumed))));
        assert!(matches!(hosted.events.next().await, Some(Event::Chat(_))));
        assert_eq!(receipt.await, Fate::Delivered);
        session.close(CloseCode::DONE, "").unwrap();
        while hosted.events.next().await.is_some() {}
        assert!(matches!(driver.await.unwrap(), Outcome::Ended(_)));
        assert_eq!(hosted.driver.await.unwrap().reason, CloseReason::Peer(CloseCode::DONE));
        assert!(conversations.is_empty());
    });
}

trait AnyStream: futures::AsyncRead + futures::AsyncWrite + Unpin {}
impl<S: futures::AsyncRead + futures::AsyncWrite + Unpin> AnyStream for S {}

#[test]
fn the_detached_future_ends_in_time() {
    World::run(async |world| {
        let config = Config::builder().detached_timeout(Duration::from_secs(100)).build().unwrap();
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(config.clone());
        let mut arrivals = listen(world, listener, &conversations);
        for closes in [false, true] {
            let (session, mut events, driver) =
                world.client(network.stream().unwrap(), config.clone());
            let driver = world.spawn(driver);
            let mut hosted = arrivals.next().await.unwrap().unwrap().unwrap();
            assert!(matches!(events.next().await, Some(Event::Open(_))));
            assert!(matches!(hosted.events.next().await, Some(Event::Open(_))));
            network.cut();
            let cut = world.clock.now();
            let Outcome::Detached(detached) = driver.await.unwrap() else { panic!() };
            let detached = world.spawn(detached);
            world.settle().await;
            if closes {
                session.close(CloseCode::DONE, "").unwrap();
            }
            let ended = detached.await.unwrap();
            let passed = world.clock.now().saturating_duration_since(cut);
            if closes {
                let reason = CloseReason::Local { code: CloseCode::DONE, is_answered: false };
                assert_eq!(ended.reason, reason);
                assert!(passed < Duration::from_secs(1));
            } else {
                assert_eq!(ended.reason, CloseReason::DetachedTimedOut);
                assert_eq!(passed.as_secs(), 100);
            }
            assert!(ended.transport.is_some());
            assert_eq!(session.closed().await, ended.reason);
            // The listener's side gives up as well, and forgets it.
            assert_eq!(hosted.driver.await.unwrap().reason, CloseReason::DetachedTimedOut);
            assert!(conversations.is_empty());
            assert!(hosted.session.statistics().streams == 1);
        }
    });
}

#[test]
fn an_attempt_that_takes_no_bytes_is_given_up_in_time() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default());
        let _arrivals = listen(world, listener, &conversations);
        let (_session, mut events, driver) =
            world.client(network.stream().unwrap(), Config::default());
        let driver = world.spawn(driver);
        assert!(matches!(events.next().await, Some(Event::Open(Opening::New))));
        network.cut();
        let Outcome::Detached(mut detached) = driver.await.unwrap() else { panic!() };
        // The peer is silent, or gone, and has not taken so much as our HELLO.
        for is_gone in [false, true] {
            let (stream, peer) = duplex(1);
            let peer = Some(peer).filter(|_| !is_gone);
            let before = world.clock.now();
            let Ok(driver) = detached.attach(stream, world.parameters()) else { panic!() };
            let Outcome::Detached(again) = world.spawn(driver).await.unwrap() else { panic!() };
            let passed = world.clock.now().saturating_duration_since(before);
            // The handshake's time-out, and that for last words.
            let most = Duration::from_secs(if is_gone { 0 } else { 15 });
            assert!(passed <= most, "{passed:?}");
            detached = again;
            drop(peer);
        }
        drop(detached);
    });
}

/// For each cut what was in the pipe, and a frame.
fn assert_little_again(session: &Session, seed: u64) {
    let statistics = session.statistics();
    let (cuts, again) = (statistics.streams - 1, statistics.retransmitted_bytes);
    assert!(
        again <= cuts * (10_000 + 16_392),
        "{again} bytes again after {cuts} cuts, seed {seed}"
    );
}

/// What goes both ways while the network is cut again and again.
async fn talk_over_cuts(world: &World, seed: u64, seekable: bool) {
    let (network, listener) = Network::new(world);
    let conversations = Conversations::new(Config::default());
    let mut arrivals = listen(world, listener, &conversations);
    let backoff = Backoff::new([9; 32]).first(Duration::from_millis(20)).max_attempts(1000);
    let (session, events, driver) = reconnecting(&network, Config::default(), backoff).await;
    let hosted = arrivals.next().await.unwrap().unwrap().unwrap();

    let cutting = {
        let (network, world) = (network.clone(), world.clone());
        world.clone().spawn(async move {
            let mut random = SplitMix64::new(seed);
            for _ in 0..20 {
                world.sleep(Duration::from_micros(random.below(60_000))).await;
                network.cut();
            }
        })
    };
    let file = Bytes::from(content(600_000));
    let sending = async {
        let mut offer = Offer::new("x").size(file.len() as u64);
        if seekable {
            offer = offer.seekable();
        }
        let mut outgoing = session.offer(&offer).await.unwrap();
        let session = session.clone();
        let chatting = async {
            let mut last = None;
            for n in 0..200_u64 {
                let receipt = session.send_chat(&Chat::new(n.to_string())).await.unwrap();
                let body = b""[..].into();
                let message = Message { message_type: 0, is_reply: false, correlation: n, body };
                drop(session.send_message(&message).await.unwrap());
                world.sleep(Duration::from_millis(5)).await;
                last = Some(receipt);
            }
            assert_eq!(last.unwrap().await, Fate::Delivered);
        };
        let (sent, ()) = join(send_all(&mut outgoing, &file, 40_000), chatting).await;
        assert_eq!(sent, Ok("x".into()), "seed {seed}");
    };
    let mut far = hosted.events;
    let receiving = async {
        let (mut chats, mut messages, mut receiver) = (0, 0, None);
        while chats < 200 || messages < 200 || receiver.is_none() {
            match far.next().await.unwrap() {
                Event::Chat(chat) => {
                    assert_eq!(chat.text, chats.to_string(), "seed {seed}");
                    chats += 1;
                }
                Event::Message(message) => {
                    assert_eq!(message.correlation, messages, "seed {seed}");
                    messages += 1;
                }
                Event::Offer(offer) => {
                    let mut incoming = offer.accept().unwrap();
                    receiver = Some(world.spawn(async move {
                        let received = read_all(&mut incoming).await.unwrap();
                        incoming.stored("x").unwrap();
                        received
                    }));
                }
                Event::Open(opening) => assert_ne!(opening, Opening::Fresh),
                Event::Detached(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(receiver.unwrap().await.unwrap() == file, "seed {seed}");
    };
    join(sending, receiving).await;
    cutting.await.unwrap();
    assert!(session.statistics().streams > 5);
    assert_little_again(&session, seed);
    session.close(CloseCode::DONE, "").unwrap();
    drop((session, events));
    driver.await.unwrap();
    while far.next().await.is_some() {}
    assert!(conversations.is_empty());
}

#[test]
fn t5_over_twenty_cuts_messages_come_once_in_order_and_a_file_whole() {
    for seed in 0..4 {
        World::run(async |world| talk_over_cuts(world, seed, false).await);
    }
}

#[test]
fn t5_a_seekable_file_is_rewound_after_a_cut() {
    for seed in 10..14 {
        World::run(async |world| talk_over_cuts(world, seed, true).await);
    }
}

#[test]
fn what_belongs_to_a_forgotten_conversation_has_ended_and_touches_nothing_new() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        // The listener forgets at once.
        let forgetful =
            Config::builder().detached_timeout(Duration::from_millis(1)).build().unwrap();
        let conversations = Conversations::new(forgetful);
        let mut arrivals = listen(world, listener, &conversations);
        let backoff = Backoff::new([9; 32]).first(Duration::from_secs(1));
        let (session, mut events, driver) =
            reconnecting(&network, Config::default(), backoff).await;
        let mut first = arrivals.next().await.unwrap().unwrap().unwrap();
        assert!(matches!(first.events.next().await, Some(Event::Open(_))));

        let mut old_outgoing = session.offer(&Offer::new("old").size(10)).await.unwrap();
        let Some(Event::Offer(offer)) = first.events.next().await else { panic!() };
        let _old = offer.accept().unwrap();
        old_outgoing.accepted().await.unwrap();
        let old_receipt = session.send_chat(&Chat::new("not taken")).await.unwrap();
        // Of the listener's: an offer and lines that wait for the application, and a file.
        let _one = first.session.offer(&Offer::new("one")).await.unwrap();
        let _two = first.session.offer(&Offer::new("two")).await.unwrap();
        world.settle().await;
        let Some(Event::Offer(one)) = events.next().await else { panic!() };
        let mut old_incoming = one.accept().unwrap();
        for n in 0..3 {
            drop(first.session.send_chat(&Chat::new(format!("old {n}"))).await.unwrap());
        }
        world.settle().await;
        network.cut();
        drop(first);
        let mut second = arrivals.next().await.unwrap().unwrap().unwrap();
        assert!(matches!(second.events.next().await, Some(Event::Open(Opening::New))));
        assert_eq!(old_receipt.await, Fate::Unknown);
        world.sleep(Duration::from_secs(1)).await;

        // The new conversation's transfers have the same numbers.
        let mut outgoing = session.offer(&Offer::new("new")).await.unwrap();
        assert_eq!(outgoing.id(), old_outgoing.id());
        let event = second.events.next().await;
        let Some(Event::Offer(offer)) = event else { panic!("{event:?}") };
        let mut far_incoming = offer.accept().unwrap();
        outgoing.accepted().await.unwrap();
        let mut far_outgoing = second.session.offer(&Offer::new("new")).await.unwrap();
        let lines = ["new 0", "new 1", "new 2"];
        let mut receipts = Vec::new();
        for line in lines {
            receipts.push(second.session.send_chat(&Chat::new(line)).await.unwrap());
        }
        world.settle().await;
        let lost = TransferError::Abandoned(None);
        assert_eq!(old_outgoing.send(Bytes::from_static(b"x")).await, Err(lost.clone()));
        assert_eq!(old_incoming.next().await, Err(lost.clone()));
        drop(old_outgoing);
        drop(old_incoming);

        let (mut heard, mut offers) = (Vec::new(), Vec::new());
        while heard.len() < 6 || offers.len() < 2 {
            match events.next().await.unwrap() {
                Event::Chat(chat) => {
                    let delivered = receipts.iter().filter(|receipt| receipt.fate().is_some());
                    let taken = heard.iter().filter(|line: &&String| line.starts_with("new"));
                    assert_eq!(delivered.count(), taken.count(), "{heard:?}");
                    heard.push(chat.text.into_owned());
                    world.sleep(Duration::from_millis(100)).await;
                }
                Event::Offer(offer) => offers.push(offer),
                Event::Detached(_) | Event::Attempt { .. } | Event::Open(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(heard, ["old 0", "old 1", "old 2", "new 0", "new 1", "new 2"]);
        let (new, stale) = (offers.remove(1), offers.remove(0));
        assert_eq!(stale.offer().name, "two");
        assert!(stale.accept().is_err(), "it is of before");
        let mut incoming = new.accept().unwrap();
        far_outgoing.accepted().await.unwrap();
        let file = Bytes::from(content(1000));
        for (outgoing, incoming) in
            [(&mut outgoing, &mut far_incoming), (&mut far_outgoing, &mut incoming)]
        {
            outgoing.send(file.clone()).await.unwrap();
            assert!(incoming.next().await.unwrap().unwrap().data == file);
        }
        drop((session, events, outgoing, incoming));
        driver.await.unwrap();
    });
}

#[test]
fn offers_that_a_new_peer_never_takes_do_not_wait_for_files_of_the_old_one() {
    World::run_at_once(async |world| {
        let (network, mut listener) = Network::new(world);
        let (session, mut events, driver) =
            world.client(network.stream().unwrap(), Config::default());
        let driver = world.spawn(driver);
        let stream = listener.next().await.unwrap();
        let accepted = accept(stream, Config::default(), world.parameters(), world.timer()).await;
        let (_old, _old_events, old_driver) = accepted.unwrap();
        let _old_driver = world.spawn(old_driver);
        assert!(matches!(events.next().await, Some(Event::Open(Opening::New))));
        let outgoing = session.offer(&Offer::new("x")).await.unwrap();
        world.settle().await;
        network.cut();
        let Outcome::Detached(detached) = driver.await.unwrap() else { panic!() };
        let stream = network.stream().unwrap();
        let Ok(driver) = detached.attach(stream, world.parameters()) else { panic!() };
        let _driver = world.spawn(driver);
        let none = Config::builder().max_transfers(0).build().unwrap();
        let stream = listener.next().await.unwrap();
        let accepted = accept(stream, none, world.parameters(), world.timer()).await;
        let (_new, _new_events, new_driver) = accepted.unwrap();
        let _new_driver = world.spawn(new_driver);
        assert!(matches!(events.next().await, Some(Event::Detached(_))));
        assert!(matches!(events.next().await, Some(Event::Open(Opening::Fresh))));
        let offer = Offer::new("y");
        let mut offering = pin!(session.offer(&offer));
        let refused = futures::poll!(offering.as_mut());
        let limit = SessionError::Refused(ActionError::PeerLimit);
        assert!(matches!(&refused, Poll::Ready(Err(error)) if *error == limit), "{refused:?}");
        drop(outgoing);
    });
}

/// What a stream's data was read into is held for as long as the data is, whatever became of the stream.
#[test]
fn what_is_held_of_the_streams_before_counts_for_those_that_come() {
    const STREAMS: u64 = 6;
    const EACH: u64 = 250_000;
    let file = Bytes::from(vec![7; 1 << 20]);
    let counted = allocation_counter::measure(|| {
        World::run(async |world| {
            let (network, listener) = Network::new(world);
            let conversations = Conversations::new(Config::default());
            let mut arrivals = listen(world, listener, &conversations);
            let cut = || network.cut_next_after.set(Some((true, EACH)));
            cut();
            let backoff = Backoff::new([9; 32]).first(Duration::from_millis(20));
            let (session, mut events, _driver) =
                reconnecting(&network, Config::default(), backoff).await;
            let mut hosted = arrivals.next().await.unwrap().unwrap().unwrap();
            // Nobody reads them, and each may come as far as its first window.
            let (mut outgoing, mut unread) = (Vec::new(), Vec::new());
            for _ in 0..12 {
                outgoing.push(session.offer(&Offer::new("x")).await.unwrap());
                let offer = loop {
                    match hosted.events.next().await {
                        Some(Event::Offer(offer)) => break offer,
                        other => assert!(other.is_some()),
                    }
                };
                unread.push(offer.accept().unwrap());
            }
            for mut outgoing in outgoing {
                let file = file.clone();
                world.detach(async move {
                    let _ = send_all(&mut outgoing, &file, 64 << 10).await;
                });
            }
            for _ in 0..STREAMS {
                while !matches!(events.next().await, Some(Event::Detached(_))) {}
                cut();
            }
            let statistics = session.statistics();
            assert!(statistics.sent.data.bytes > (STREAMS - 1) * EACH, "{statistics:?}");
        });
    });
    let (most, data) = (counted.bytes_max, STREAMS * EACH);
    println!("{most} bytes at most for {data} of data");
    // Buffers that are mostly empty are a megabyte; the pipes and both conversations take theirs.
    assert!(most < data + (3 << 20), "{most} bytes at most for {data} of data");
}
