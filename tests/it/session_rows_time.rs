//! T8, T9, T10: streams that stall or drip, and timers and clocks that are not right.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{CloseReason, Config, Connection, DetachReason, Error, Receipt as Fate};
use duologue::session::{
    AcceptError, Event, Events, Outcome, Session, TransferError, accept, session,
};
use duologue::testing::duplex;
use duologue::wire::{Chat, CloseCode, Offer};
use futures::StreamExt;
use futures::future::join;

use super::session_shapes::{Drip, Gate, Manner, OddTimer, Shape, Shaped};
use super::session_util::{Peer, Task, World, content, read_all, send_all};

const IDLE: u64 = 60_000_000;

/// Shuts the gate of what the near side reads for so long, and tells whether that was too long.
fn stall(micros: u64) -> Option<u64> {
    World::run(async |world| {
        let (near, far) = duplex(64 << 10);
        let gate = Gate::default();
        let near = Shaped::new(near, Shape::Gate(gate.clone()));
        let (mut near, mut far) = world.connect_over(near, far, Default::default()).await;
        let (mut out, mut incoming) = world.transfer(&mut near, &mut far, Offer::new("x")).await;
        let (mut back, mut back_in) = world.transfer(&mut far, &mut near, Offer::new("y")).await;
        back.send(Bytes::from(content(1000))).await.unwrap();
        out.send(Bytes::from(content(1000))).await.unwrap();
        assert_eq!(back_in.next().await.unwrap().unwrap().data.len(), 1000);
        world.sleep(Duration::from_secs(1)).await;
        // Its last byte comes now.
        drop(far.session.send_chat(&Chat::new("last")).await.unwrap());
        assert_eq!(near.chat().await, "last");
        let begun = world.clock.now();
        gate.shut();
        world.sleep(Duration::from_micros(micros)).await;
        gate.open();
        world.settle().await;
        if !near.session.is_detached() {
            assert_eq!(incoming.next().await.unwrap().unwrap().data.len(), 1000);
            let receipt = near.session.send_chat(&Chat::new("there?")).await.unwrap();
            assert_eq!(far.chat().await, "there?");
            assert_eq!(receipt.await, Fate::Delivered);
            return None;
        }
        assert!(matches!(near.event().await, Event::Detached(DetachReason::Idle)));
        // What came before is still there.
        assert_eq!(incoming.next().await.unwrap().unwrap().data.len(), 1000);
        Some(world.clock.now().saturating_duration_since(begun).as_micros() as u64)
    })
}

#[test]
fn t8_a_stall_ends_it_exactly_at_the_deadline() {
    // At the deadline itself what comes wins.
    for micros in [1, IDLE / 2, IDLE - 1, IDLE] {
        assert_eq!(stall(micros), None, "{micros} µs are not too long");
    }
    assert!(stall(IDLE + 1).is_some());
}

#[test]
fn t8_a_peer_that_stops_for_ever_is_noticed_after_a_minute() {
    World::run(async |world| {
        let (near, far) = duplex(300);
        let gate = Gate::default();
        // The far side reads nothing and so writes nothing: both directions stall.
        let far = Shaped::new(far, Shape::Gate(gate.clone()));
        let (near, far) = world.connect_over(near, far, Default::default()).await;
        world.sleep(Duration::from_secs(1)).await;
        gate.shut();
        let talking = near.session.clone();
        world.detach(async move {
            while talking.send_chat(&Chat::new("x".repeat(100))).await.is_ok() {}
        });
        let begun = world.clock.now();
        let Outcome::Detached(_) = near.driver.await.unwrap() else { panic!() };
        let passed = world.clock.now().saturating_duration_since(begun);
        // And the time for last words, which it does not take either.
        assert!((55..=66).contains(&passed.as_secs()), "{passed:?}");
        drop(far);
    });
}

#[test]
fn t8_a_peer_that_lives_keeps_it_for_days() {
    World::run(async |world| {
        let (near, mut far) = world.connect().await;
        world.sleep(Duration::from_secs(2 * 86_400)).await;
        assert!(near.session.is_open() && !near.session.is_detached());
        drop(near.session.send_chat(&Chat::new("still")).await.unwrap());
        assert_eq!(far.chat().await, "still");
    });
}

#[test]
fn t9_a_handshake_that_drips_ends_at_its_deadline() {
    World::run(async |world| {
        let (near, far) = duplex(10_000);
        let (_session, _events, driver) = world.client(near, Config::default());
        let _driver = world.spawn(driver);
        let far = Drip::new(far, world.timer(), Duration::from_millis(900), 1);
        let accepted = accept(far, Config::default(), world.parameters(), world.timer()).await;
        let error = accepted.err().unwrap();
        assert!(matches!(error, AcceptError::Handshake(Error::HandshakeTimedOut)), "{error:?}");
        let passed = world.clock.now().as_micros();
        assert!((10_000_000..=15_000_000).contains(&passed), "{passed}");
    });
}

#[test]
fn t9_a_frame_that_drips_does_not_keep_it_alive() {
    World::run(async |world| {
        let (near, far) = duplex(64 << 10);
        // The handshake comes at once; then a byte a second less than the idle time.
        let far = Drip::new(far, world.timer(), Duration::from_secs(59), 700);
        let (near, far) = world.connect_over(near, far, Default::default()).await;
        drop(near.session.send_chat(&Chat::new("x".repeat(5000))).await.unwrap());
        world.settle().await;
        let begun = world.clock.now();
        let (mut events, driver) = (far.events, far.driver);
        loop {
            match events.next().await.unwrap() {
                Event::Detached(reason) => break assert_eq!(reason, DetachReason::Idle),
                Event::Chat(_) => panic!("it is not whole"),
                _ => {}
            }
        }
        let passed = world.clock.now().saturating_duration_since(begun);
        assert!(passed <= Duration::from_secs(130), "{passed:?}");
        assert!(matches!(driver.await.unwrap(), Outcome::Detached(_)));
    });
}

/// A conversation of which the client has this timer, and how far its clock has leapt.
async fn with_timer(world: &World, timer: OddTimer) -> (Client, Peer, Rc<Cell<i64>>) {
    let (near, far) = duplex(64 << 10);
    let leap = timer.leap();
    let connection = Connection::client(Config::default(), world.parameters(), world.clock.now());
    let (session, events, driver) = session(near, connection, timer);
    let mut near = Client { session, events, driver: world.spawn(driver) };
    let accepted = accept(far, Config::default(), world.parameters(), world.timer()).await;
    let (session, events, driver) = accepted.unwrap();
    let mut far = Peer { session, events, driver: world.spawn(driver) };
    assert!(matches!(near.events.next().await, Some(Event::Open(_))));
    assert!(matches!(far.event().await, Event::Open(_)));
    (near, far, leap)
}

struct Client {
    session: Session,
    events: Events,
    driver: Task<Outcome<OddTimer>>,
}

/// Ten lines and a file, each of which arrives.
async fn serves(world: &World, near: &Client, far: &mut Peer) {
    for n in 0..10 {
        let line = n.to_string();
        drop(near.session.send_chat(&Chat::new(&*line)).await.unwrap());
        assert_eq!(far.chat().await, line);
        world.sleep(Duration::from_millis(100)).await;
    }
    let file = Bytes::from(content(200_000));
    let mut outgoing = near.session.offer(&Offer::new("x")).await.unwrap();
    let mut incoming = far.offer().await.accept().unwrap();
    let (sent, received) = join(send_all(&mut outgoing, &file, 50_000), async {
        let received = read_all(&mut incoming).await.unwrap();
        incoming.stored("x").unwrap();
        received
    })
    .await;
    assert!(sent.is_ok() && received == file);
}

#[test]
fn t10_a_timer_that_is_early_or_late_ends_nothing_too_soon() {
    for manner in [None, Some(Manner::Early), Some(Manner::Late)] {
        World::run(async |world| {
            let timer = OddTimer::new(world.timer(), manner);
            let (mut near, mut far, _) = with_timer(world, timer).await;
            serves(world, &near, &mut far).await;
            // With its pings, early or late as they are.
            world.sleep(Duration::from_secs(600)).await;
            assert!(!near.session.is_detached(), "{manner:?}");
            serves(world, &near, &mut far).await;
            near.session.close(CloseCode::DONE, "").unwrap();
            while near.events.next().await.is_some() {}
            assert!(matches!(near.driver.await.unwrap(), Outcome::Ended(_)));
        });
    }
}

#[test]
fn t10_an_early_timer_does_not_shorten_the_idle_time() {
    for (manner, at_least, at_most) in
        [(Manner::Early, 60_000_000, 60_000_000), (Manner::Late, 60_000_000, 65_000_000)]
    {
        World::run(async |world| {
            let (near, _silent) = duplex(64 << 10);
            let config = Config::builder().handshake_timeout(Duration::from_secs(60)).build();
            let timer = OddTimer::new(world.timer(), Some(manner));
            let now = world.clock.now();
            let connection = Connection::client(config.unwrap(), world.parameters(), now);
            let (session, _events, driver) = session(near, connection, timer);
            let _driver = world.spawn(driver);
            let reason = session.closed().await;
            assert_eq!(reason, CloseReason::Failed(Error::HandshakeTimedOut));
            let passed = world.clock.now().as_micros();
            assert!((at_least..=at_most).contains(&passed), "{manner:?}: {passed}");
        });
    }
}

#[test]
fn t10_a_timer_that_never_fires_stops_nothing_that_bytes_bring() {
    World::run(async |world| {
        let timer = OddTimer::new(world.timer(), Some(Manner::Never));
        let (near, mut far, _) = with_timer(world, timer).await;
        // Bytes of the peer's drive it; and it sends no ping, which is the peer's to find out.
        serves(world, &near, &mut far).await;
        let receipt = far.session.send_chat(&Chat::new("hello")).await.unwrap();
        drop(receipt);
        world.sleep(Duration::from_secs(1)).await;
        assert!(near.session.is_open());
    });
}

#[test]
fn t10_a_clock_that_leaps_breaks_nothing_but_the_stream() {
    const HOUR: i64 = 3_600_000_000;
    for leap in [-HOUR, -1, 1, HOUR, i64::MAX, i64::MIN] {
        World::run(async |world| {
            world.sleep(Duration::from_secs(7200)).await;
            let timer = OddTimer::new(world.timer(), None);
            let (mut near, mut far, clock) = with_timer(world, timer).await;
            serves(world, &near, &mut far).await;
            clock.set(leap);
            if leap <= 1 {
                serves(world, &near, &mut far).await;
                return;
            }
            // It looks like an hour of silence, or the answer comes first: nothing else.
            let sent = near.session.send_chat(&Chat::new("after")).await;
            drop(sent);
            world.sleep(Duration::from_secs(10)).await;
            if !near.session.is_detached() {
                serves_lines_up_to(&mut far, "after").await;
                return;
            }
            loop {
                match near.events.next().await.unwrap() {
                    Event::Detached(reason) => break assert_eq!(reason, DetachReason::Idle),
                    Event::Closed(reason) => panic!("{reason}"),
                    _ => {}
                }
            }
        });
    }
}

async fn serves_lines_up_to(far: &mut Peer, line: &str) {
    while far.chat().await != line {}
}

#[test]
fn t10_what_is_done_long_after_the_drivers_last_turn_has_its_whole_time() {
    World::run(async |world| {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let config = || {
            let config =
                Config::builder().keep_alive_interval(minutes(50)).idle_timeout(minutes(99));
            config.transfer_timeout(minutes(5)).stall_timeout(minutes(1)).build().unwrap()
        };
        let (near, mut far) = world.connect_with((config(), config())).await;
        // Nothing happens, so neither driver knows that time has passed.
        world.sleep(minutes(49)).await;
        let mut decided = near.session.offer(&Offer::new("decided")).await.unwrap();
        let mut undecided = near.session.offer(&Offer::new("undecided")).await.unwrap();
        let (offered, begun) = (far.offer().await, world.clock.now());
        let _left = far.offer().await;

        world.sleep(minutes(4)).await;
        let mut incoming = offered.accept().unwrap();
        decided.accepted().await.unwrap();
        world.sleep(Duration::from_secs(59)).await;
        decided.send(Bytes::from(content(10))).await.unwrap();
        assert_eq!(incoming.next().await.unwrap().unwrap().data.len(), 10);

        let error = undecided.accepted().await.unwrap_err();
        assert!(matches!(error, TransferError::NotStored(_) | TransferError::Expired), "{error:?}");
        let passed = world.clock.now().saturating_duration_since(begun);
        assert_eq!(passed.as_secs(), 300);
    });
}

#[test]
fn t10_who_is_paused_for_long_has_its_whole_time_after_that() {
    World::run(async |world| {
        let seconds = Duration::from_secs;
        let config = || {
            let config =
                Config::builder().keep_alive_interval(seconds(50)).idle_timeout(seconds(99));
            config.stall_timeout(seconds(5)).build().unwrap()
        };
        let (mut near, mut far) = world.connect_with((config(), config())).await;
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x").size(20)).await;
        incoming.pause(true).unwrap();
        // Longer than a stall may take, and shorter than the driver sleeps.
        world.sleep(seconds(40)).await;
        incoming.pause(false).unwrap();
        world.sleep(Duration::from_millis(4900)).await;
        outgoing.send(Bytes::from(content(10))).await.unwrap();
        assert_eq!(incoming.next().await.unwrap().unwrap().data.len(), 10);
        // Nothing more comes.
        let begun = world.clock.now();
        let error = incoming.next().await.unwrap_err();
        let passed = world.clock.now().saturating_duration_since(begun);
        assert_eq!(
            (passed.as_secs(), format!("{error:?}").contains("Expired")),
            (5, true),
            "{error:?}"
        );
    });
}
