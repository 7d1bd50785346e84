//! Coming back by itself, with waits that grow.

use std::time::Duration;

use duologue::io::TransportError;
use duologue::proto::{CloseReason, Config, Opening};
use duologue::session::{Backoff, Conversations, Event};
use duologue::wire::CloseCode;
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
