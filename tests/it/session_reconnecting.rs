//! Coming back by itself, with waits that grow.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use duologue::io::TransportError;
use duologue::proto::{CloseReason, Config, Opening, Receipt};
use duologue::session::{Accepted, Backoff, Conversations, Event, accept};
use duologue::testing::duplex;
use duologue::wire::{Chat, CloseCode};
use futures::StreamExt;

use super::session_network::{Network, listen, reconnecting};
use super::session_util::World;

/// The attempts after a cut, while the network is down.
fn attempts(seed: u8, count: usize) -> Vec<(u32, Duration)> {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default());
        let _arrivals = listen(world, listener, &conversations);
        let backoff = Backoff::new([seed; 32])
            .first(Duration::from_secs(1))
            .most(Duration::from_secs(10))
            .max_attempts(u32::try_from(count).unwrap());
        let (session, mut events, driver) =
            reconnecting(&network, Config::default(), backoff).await;
        network.is_down.set(true);
        network.failing_takes.set(Duration::from_secs(7));
        network.cut();
        let Event::Detached(_) = events.next().await.unwrap() else { panic!() };
        let mut attempts = Vec::new();
        let mut failed = world.clock.now();
        while attempts.len() < count {
            let Event::Attempt { number, wait, failure } = events.next().await.unwrap() else {
                panic!()
            };
            assert!(matches!(failure, Some(TransportError::Io { .. })), "{failure:?}");
            assert_eq!(world.clock.now(), failed);
            assert_eq!(network.attempts.get() as usize, attempts.len());
            // The wait begins when the last attempt has failed, however long that took.
            world.sleep(wait - Duration::from_micros(1)).await;
            assert_eq!(network.attempts.get() as usize, attempts.len());
            world.sleep(Duration::from_micros(2)).await;
            assert_eq!(network.attempts.get() as usize, attempts.len() + 1);
            attempts.push((number, wait));
            failed = failed.saturating_add(wait).saturating_add(Duration::from_secs(7));
        }
        let reason = session.closed().await;
        assert_eq!(world.clock.now(), failed, "it gives up after the last");
        let given_up = CloseReason::Local { code: CloseCode::SHUTDOWN, is_answered: false };
        assert_eq!(reason, given_up);
        assert!(matches!(events.next().await, Some(Event::Closed(why)) if why == reason));
        let ended = driver.await.unwrap();
        assert!(ended.reason == reason && ended.transport.is_some());
        attempts
    })
}

#[test]
fn waits_double_up_to_a_limit_less_a_random_part_and_end() {
    let waits = attempts(1, 8);
    for (place, (number, wait)) in waits.iter().enumerate() {
        assert_eq!(*number as usize, place + 1);
        let longest = Duration::from_secs(1 << place.min(4)).min(Duration::from_secs(10));
        assert!(*wait > longest / 2 && *wait <= longest, "{wait:?} of {longest:?}");
    }
    assert_eq!(waits, attempts(1, 8), "the seed decides");
    assert_ne!(waits, attempts(2, 8));
}

#[test]
fn an_open_conversation_begins_to_count_anew() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default());
        let _arrivals = listen(world, listener, &conversations);
        let backoff = Backoff::new([3; 32]).max_attempts(2);
        let (session, mut events, driver) =
            reconnecting(&network, Config::default(), backoff).await;
        for _ in 0..5 {
            network.cut();
            let Event::Detached(_) = events.next().await.unwrap() else { panic!() };
            let Event::Attempt { number: 1, .. } = events.next().await.unwrap() else { panic!() };
            let event = events.next().await.unwrap();
            assert!(matches!(event, Event::Open(Opening::Resumed)), "{event:?}");
        }
        drop((session, events));
        assert_eq!(driver.await.unwrap().transport, None);
    });
}

#[test]
fn streams_that_do_not_last_make_the_waits_grow_until_one_does() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default());
        let mut arrivals = listen(world, listener, &conversations);
        let first = Duration::from_millis(100);
        let most = Duration::from_secs(2);
        let backoff = Backoff::new([3; 32]).first(first).most(most).max_attempts(2);
        let (session, mut events, _driver) =
            reconnecting(&network, Config::default(), backoff).await;
        let mut far = arrivals.next().await.unwrap().unwrap().unwrap();
        world.detach(async move { while far.events.next().await.is_some() {} });
        world.sleep(Duration::from_secs(60)).await;
        for doublings in [0, 1, 2, 3, 4, 5, 6, 0, 1, 2] {
            network.cut();
            let Event::Detached(_) = events.next().await.unwrap() else { panic!() };
            let Event::Attempt { number, wait, .. } = events.next().await.unwrap() else {
                panic!()
            };
            // It was open, so this is the first attempt; but not for long, so it waits longer.
            assert_eq!(number, 1);
            let longest = first.saturating_mul(1 << doublings).min(most);
            assert!(wait > longest / 2 && wait <= longest, "{wait:?} of {longest:?}");
            let event = events.next().await.unwrap();
            assert!(matches!(event, Event::Open(Opening::Resumed)), "{event:?}");
            // Who brings nothing on would be refused at some point.
            let receipt = session.send_chat(&Chat::new("x")).await.unwrap();
            assert_eq!(receipt.await, Receipt::Delivered);
            if doublings == 6 {
                world.sleep(most).await;
            }
        }
    });
}

#[test]
fn a_peer_that_takes_every_stream_and_ends_it_is_given_up() {
    World::run(async |world| {
        let (network, mut listener) = Network::new(world);
        let conversations = Conversations::new(Config::default());
        let (parameters, timer) = (world.parameters(), world.timer());
        let first = conversations.clone();
        world.detach(async move {
            let accepted = first.accept(listener.next().await.unwrap(), parameters, timer).await;
            let Ok(Accepted::New(_session, _events, driver)) = accepted else { panic!() };
            let serving = async {
                while let Some(stream) = listener.next().await {
                    drop(stream);
                }
            };
            futures::join!(driver, serving);
        });
        let backoff = Backoff::new([3; 32]).first(Duration::from_secs(1)).max_attempts(5);
        let (session, mut events, driver) =
            reconnecting(&network, Config::default(), backoff).await;
        network.cut();
        let mut waits = Vec::new();
        while let Some(event) = events.next().await {
            if let Event::Attempt { number, wait, .. } = event {
                waits.push(wait);
                assert_eq!(number as usize, waits.len());
            }
        }
        assert_eq!(waits.len(), 5);
        assert!(waits[4] > Duration::from_secs(8), "{waits:?}");
        let given_up = CloseReason::Local { code: CloseCode::SHUTDOWN, is_answered: false };
        assert_eq!((session.closed().await, driver.await.unwrap().reason), (given_up, given_up));
    });
}

#[test]
fn attempts_without_a_wait_give_way() {
    World::run(async |world| {
        let (near, far) = duplex(10_000);
        let (session, _events, driver) = world.client(near, Config::default());
        let accepted = accept(far, Config::default(), world.parameters(), world.timer());
        let (made, backoff) = (Rc::new(Cell::new(0_u64)), Backoff::new([1; 32]));
        let count = Rc::clone(&made);
        let mut driver = driver.reconnecting(
            move || {
                count.set(count.get() + 1);
                let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
                std::future::ready(Err(TransportError::from(refused)))
            },
            backoff.first(Duration::ZERO).max_attempts(10_000_000),
        );
        let opening = async {
            let (session, events, driver) = accepted.await.unwrap();
            futures::future::select(driver, Box::pin(session.opened())).await;
            drop((session, events));
        };
        futures::future::select(&mut driver, Box::pin(opening)).await;
        session.opened().await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..5 {
            assert!(Pin::new(&mut driver).poll(&mut cx).is_pending());
        }
        assert!((1..1000).contains(&made.get()), "{made:?}");
    });
}

#[test]
fn closing_ends_the_waiting() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default());
        let _arrivals = listen(world, listener, &conversations);
        for takes in [Duration::ZERO, Duration::from_secs(1000)] {
            network.is_down.set(false);
            let backoff = Backoff::new([3; 32]).max_attempts(100);
            let (session, events, driver) =
                reconnecting(&network, Config::default(), backoff).await;
            network.is_down.set(true);
            network.failing_takes.set(takes);
            network.cut();
            world.sleep(Duration::from_secs(5)).await;
            let before = world.clock.now();
            if takes.is_zero() {
                session.close(CloseCode::DONE, "").unwrap();
            } else {
                drop((session, events));
            }
            let ended = driver.await.unwrap();
            assert_eq!(world.clock.now(), before, "at once");
            assert!(matches!(ended.reason, CloseReason::Local { code: CloseCode::DONE, .. }));
        }
    });
}

#[test]
fn a_client_that_is_forgotten_begins_anew_by_itself() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let config = Config::builder().detached_timeout(Duration::from_secs(1)).build().unwrap();
        let conversations = Conversations::new(config);
        let mut arrivals = listen(world, listener, &conversations);
        let backoff = Backoff::new([3; 32]).first(Duration::from_secs(10));
        let (session, mut events, _driver) =
            reconnecting(&network, Config::default(), backoff).await;
        let _first = arrivals.next().await.unwrap().unwrap().unwrap();
        network.cut();
        let _second = arrivals.next().await.unwrap().unwrap().unwrap();
        loop {
            if let Event::Open(opening) = events.next().await.unwrap() {
                break assert_eq!(opening, Opening::Fresh);
            }
        }
        assert!(session.is_open() && conversations.len() == 1);
    });
}
