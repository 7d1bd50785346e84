//! A listener's conversations, and clients that come back to them.

use std::rc::Rc;
use std::time::Duration;

use duologue::proto::{CloseReason, Config, Connection, Opening, StreamParameters};
use duologue::session::{
    AcceptError, Backoff, Conversations, Event, Outcome, session, worst_case_memory,
};
use duologue::wire::{Chat, CloseCode};
use futures::{FutureExt, StreamExt};

use super::session_network::{Network, listen, reconnecting};
use super::session_util::World;

#[test]
fn a_client_comes_back_while_its_old_stream_still_looks_alive() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default());
        let mut arrivals = listen(world, listener, &conversations);
        let (old, far_old) = duologue::testing::duplex(10_000);
        // The listener's end of the first stream never breaks: nobody drops or cuts it.
        let (session, mut events, driver) =
            world.client(network.stream().unwrap(), Config::default());
        let driver = world.spawn(driver);
        let mut hosted = arrivals.next().await.unwrap().unwrap().unwrap();
        assert!(matches!(events.next().await, Some(Event::Open(_))));
        assert!(matches!(hosted.events.next().await, Some(Event::Open(_))));
        drop((old, far_old));
        network.cut_near();
        let Outcome::Detached(detached) = driver.await.unwrap() else { panic!() };
        world.sleep(Duration::from_secs(1)).await;
        assert!(!hosted.session.is_detached(), "it knows of nothing");
        let Ok(driver) = detached.attach(network.stream().unwrap(), world.parameters()) else {
            panic!()
        };
        let driver = world.spawn(driver);
        assert!(arrivals.next().await.unwrap().unwrap().is_none());
        assert!(matches!(hosted.events.next().await, Some(Event::Detached(_))));
        assert!(matches!(hosted.events.next().await, Some(Event::Open(Opening::Resumed))));
        let receipt = hosted.session.send_chat(&Chat::new("welcome back")).await.unwrap();
        loop {
            if let Event::Chat(chat) = events.next().await.unwrap() {
                break assert_eq!(chat.text, "welcome back");
            }
        }
        assert_eq!(receipt.await, duologue::proto::Receipt::Delivered);
        assert_eq!(conversations.len(), 1);
        drop((session, events));
        driver.await.unwrap();
        while hosted.events.next().await.is_some() {}
    });
}

#[test]
fn one_more_than_there_may_be_is_refused_and_told_so() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default()).max_conversations(2);
        let mut arrivals = listen(world, listener, &conversations);
        let backoff = || Backoff::new([1; 32]);
        let first = reconnecting(&network, Config::default(), backoff()).await;
        let second = reconnecting(&network, Config::default(), backoff()).await;
        let _hosted = [
            arrivals.next().await.unwrap().unwrap().unwrap(),
            arrivals.next().await.unwrap().unwrap().unwrap(),
        ];
        let (session, mut events, driver) =
            world.client(network.stream().unwrap(), Config::default());
        let driver = world.spawn(driver);
        let refused = arrivals.next().await.unwrap();
        let Err(error) = refused else { panic!("it was accepted") };
        assert_eq!(error, AcceptError::Full);
        assert!(error.can_retry());
        let reason = session.closed().await;
        assert_eq!(reason, CloseReason::Peer(CloseCode::LIMIT));
        while events.next().await.is_some() {}
        assert!(matches!(driver.await.unwrap(), Outcome::Ended(ended) if ended.reason == reason));
        // When one ends there is room again.
        drop((first.0, first.1));
        first.2.await.unwrap();
        drop(second);
        assert!(conversations.len() <= 2);
    });
}

#[test]
fn memory_says_how_many_there_may_be() {
    let config = Config::default();
    let each = worst_case_memory(&config);
    assert!(each > config.worst_case_memory());
    assert!(each < config.worst_case_memory() + config.receive_window() + (5 << 20));
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default()).max_memory(2 * each - 1);
        let mut arrivals = listen(world, listener, &conversations);
        let _first = reconnecting(&network, Config::default(), Backoff::new([1; 32])).await;
        let _hosted = arrivals.next().await.unwrap().unwrap().unwrap();
        let (_session, _events, driver) =
            world.client(network.stream().unwrap(), Config::default());
        let _driver = world.spawn(driver);
        assert!(matches!(arrivals.next().await.unwrap(), Err(AcceptError::Full)));
    });
}

#[test]
fn a_stranger_with_the_name_of_a_conversation_is_refused_and_it_goes_on() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default());
        let mut arrivals = listen(world, listener, &conversations);
        // A conversation's name follows from the seed of its first stream; a stranger that has
        // overheard it could claim it so.
        let seed = world.seed();
        let client = |stream| {
            let connection = Connection::client(
                Config::default(),
                StreamParameters::new(seed),
                world.clock.now(),
            );
            session(stream, connection, world.timer())
        };
        let (mine, mut events, driver) = client(network.stream().unwrap());
        let _driver = world.spawn(driver);
        let mut hosted = arrivals.next().await.unwrap().unwrap().unwrap();
        assert!(matches!(events.next().await, Some(Event::Open(_))));
        assert!(matches!(hosted.events.next().await, Some(Event::Open(_))));

        let (theirs, mut their_events, driver) = client(network.stream().unwrap());
        assert_eq!(theirs.conversation(), mine.conversation());
        let their_driver = world.spawn(driver);
        let refused = arrivals.next().await.unwrap();
        let Err(AcceptError::Handshake(error)) = refused else { panic!("it was accepted") };
        assert!(error.code().is_some(), "{error}");
        while their_events.next().await.is_some() {}
        assert!(matches!(theirs.closed().await, CloseReason::Peer(_)));
        assert!(matches!(their_driver.await.unwrap(), Outcome::Ended(_)));

        drop(mine.send_chat(&Chat::new("untouched")).await.unwrap());
        assert!(matches!(hosted.events.next().await, Some(Event::Chat(_))));
        assert_eq!(conversations.len(), 1);
    });
}

#[test]
fn an_attach_that_is_played_again_is_refused_and_it_goes_on() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default());
        let mut arrivals = listen(world, listener, &conversations);
        let backoff = Backoff::new([1; 32]).first(Duration::from_millis(10));
        let (session, mut events, _driver) =
            reconnecting(&network, Config::default(), backoff).await;
        let mut hosted = arrivals.next().await.unwrap().unwrap().unwrap();
        network.record();
        network.cut();
        assert!(arrivals.next().await.unwrap().unwrap().is_none());
        world.settle().await;
        let recorded = network.recorded();
        assert!(recorded.len() > 100, "a HELLO and a RESUME");

        let mut stream = network.stream().unwrap();
        futures::AsyncWriteExt::write_all(&mut stream, &recorded).await.unwrap();
        assert!(matches!(arrivals.next().await.unwrap(), Err(AcceptError::Handshake(_))));
        let mut answer = Vec::new();
        futures::AsyncReadExt::read_to_end(&mut stream, &mut answer).await.unwrap();
        assert!(!answer.is_empty(), "it is told why");
        drop(session.send_chat(&Chat::new("untouched")).await.unwrap());
        while !matches!(hosted.events.next().await, Some(Event::Chat(_))) {}
        while !matches!(events.next().await, Some(Event::Open(Opening::Resumed))) {}
        drop(Rc::new(network));
    });
}

#[test]
fn two_streams_of_one_client_in_a_row_leave_nobody_waiting() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default());
        let mut arrivals = listen(world, listener, &conversations);
        let (_session, mut events, driver) =
            world.client(network.stream().unwrap(), Config::default());
        let driver = world.spawn(driver);
        let hosted = arrivals.next().await.unwrap().unwrap().unwrap();
        assert!(matches!(events.next().await, Some(Event::Open(_))));
        let mut driver = driver;
        let mut results = 0;
        for _ in 0..3 {
            network.cut_near();
            let Outcome::Detached(detached) = driver.await.unwrap() else { panic!() };
            let Ok(next) = detached.attach(network.stream().unwrap(), world.parameters()) else {
                panic!()
            };
            // At most its HELLO has left when it breaks again.
            driver = world.spawn(next);
            world.settle().await;
            results += 1;
        }
        for _ in 0..results {
            drop(arrivals.next().await.unwrap());
        }
        drop(hosted);
    });
}

#[test]
fn h40_silence_and_noise_do_not_become_conversations() {
    World::run(async |world| {
        let config = Config::builder().handshake_timeout(Duration::from_secs(7)).build().unwrap();
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(config);
        let mut arrivals = listen(world, listener, &conversations);

        let silent = network.stream().unwrap();
        let error = arrivals.next().await.unwrap().err().unwrap();
        assert!(matches!(error, AcceptError::Handshake(_)) && error.can_retry(), "{error}");
        assert_eq!(world.clock.now().as_micros(), 7_000_000);
        drop(silent);

        let mut noise = network.stream().unwrap();
        futures::AsyncWriteExt::write_all(&mut noise, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let error = arrivals.next().await.unwrap().err().unwrap();
        assert!(!error.can_retry(), "{error}");

        drop(network.stream().unwrap());
        let error = arrivals.next().await.unwrap().err().unwrap();
        assert!(error.can_retry(), "{error}");
        let text = error.to_string();
        assert!(text.contains("peer's stream ended") && text.contains("another"), "{text}");
        assert!(conversations.is_empty());
    });
}

#[test]
fn h40_those_that_never_open_make_room_for_a_newcomer_the_oldest_first() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default()).max_conversations(2);
        let mut arrivals = listen(world, listener, &conversations);
        let mut silent = Vec::new();
        let mut hosted = Vec::new();
        for _ in 0..2 {
            // It says HELLO, and nothing more until it is polled again.
            let (session, events, mut driver) =
                world.client(network.stream().unwrap(), Config::default());
            assert!((&mut driver).now_or_never().is_none());
            hosted.push(arrivals.next().await.unwrap().unwrap().unwrap());
            silent.push((session, events, driver));
        }
        assert_eq!(conversations.len(), 2);

        let mut open = Vec::new();
        for ((session, events, driver), turned_away) in silent.into_iter().zip(hosted) {
            let backoff = Backoff::new([1; 32]);
            let client = reconnecting(&network, Config::default(), backoff).await;
            open.push((client, arrivals.next().await.unwrap().unwrap().unwrap()));
            let reason = turned_away.session.closed().await;
            assert_eq!(reason, CloseReason::Local { code: CloseCode::LIMIT, is_answered: false });
            let driver = world.spawn(driver);
            assert_eq!(session.closed().await, CloseReason::Peer(CloseCode::LIMIT));
            drop((events, driver));
            // The end of one that was turned away takes nobody's place.
            turned_away.driver.await.unwrap();
            assert!(conversations.len() <= 2);
        }

        // Those that are open stay.
        let (session, _events, driver) = world.client(network.stream().unwrap(), Config::default());
        let _driver = world.spawn(driver);
        assert!(matches!(arrivals.next().await.unwrap(), Err(AcceptError::Full)));
        assert_eq!(session.closed().await, CloseReason::Peer(CloseCode::LIMIT));
        assert_eq!(conversations.len(), 2);
    });
}
