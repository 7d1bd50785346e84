//! The rate that progress tells: it falls while nothing comes.

use std::time::Duration;

use bytes::Bytes;
use duologue::proto::Config;
use duologue::session::{Backoff, Conversations, Event, Incoming, Outgoing};
use duologue::wire::Offer;
use futures::StreamExt;

use super::session_network::{Network, listen, reconnecting};
use super::session_util::{Peer, World};

const CHUNK: usize = 10_000;

/// Sends and reads 100 kB a second for so many seconds.
async fn flow(world: &World, outgoing: &mut Outgoing, incoming: &mut Incoming, seconds: usize) {
    for _ in 0..seconds * 10 {
        outgoing.send(Bytes::from(vec![0; CHUNK])).await.unwrap();
        let mut read = 0;
        while read < CHUNK {
            read += incoming.next().await.unwrap().unwrap().data.len();
        }
        world.sleep(Duration::from_millis(100)).await;
    }
}

async fn flowing(world: &World) -> (Peer, Peer, Outgoing, Incoming) {
    let (mut near, mut far) = world.connect().await;
    let offer = Offer::new("x").size(100_000_000);
    let (mut outgoing, mut incoming) = world.transfer(&mut near, &mut far, offer).await;
    flow(world, &mut outgoing, &mut incoming, 4).await;
    for rate in [outgoing.progress().rate, incoming.progress().rate] {
        assert!((80_000..=120_000).contains(&rate), "{rate}");
    }
    (near, far, outgoing, incoming)
}

#[test]
fn the_rate_falls_while_nothing_comes_and_rises_again() {
    World::run(async |world| {
        let (_near, _far, mut outgoing, mut incoming) = flowing(world).await;
        let remaining = outgoing.progress().remaining().unwrap();
        assert!((900..1200).contains(&remaining.as_secs()), "{remaining:?}");
        // Whoever looks at the progress is told of it.
        let watching = async {
            let mut rates = Vec::new();
            let mut seen = outgoing.progress();
            while seen.rate > 0 {
                seen = outgoing.changed(seen).await;
                rates.push(seen.rate);
            }
            (rates, seen)
        };
        let begun = world.clock.now();
        let (rates, seen) = watching.await;
        let passed = world.clock.now().saturating_duration_since(begun);
        assert!((2..=6).contains(&passed.as_secs()), "{passed:?}");
        assert!(rates.windows(2).all(|pair| pair[1] < pair[0]), "{rates:?}");
        assert!(rates.iter().any(|rate| (20_000..60_000).contains(rate)), "{rates:?}");
        assert_eq!((seen.received, seen.remaining()), (400_000, None));
        world.sleep(Duration::from_secs(1)).await;
        assert_eq!(incoming.progress().rate, 0);
        // And then the drivers sleep.
        let next = world.clock.next_deadline().unwrap();
        let quiet = next.saturating_duration_since(world.clock.now());
        assert!(quiet > Duration::from_secs(5), "{quiet:?}");

        flow(world, &mut outgoing, &mut incoming, 4).await;
        for rate in [outgoing.progress().rate, incoming.progress().rate] {
            assert!((80_000..=120_000).contains(&rate), "{rate}");
        }
    });
}

#[test]
fn a_slow_trickle_has_its_rate_over_time() {
    World::run(async |world| {
        let (mut near, mut far) = world.connect().await;
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x")).await;
        let mut rates = Vec::new();
        for _ in 0..40 {
            outgoing.send(Bytes::from(vec![0; 1000])).await.unwrap();
            drop(incoming.next().await);
            world.sleep(Duration::from_millis(1500)).await;
            rates.push(incoming.progress().rate);
        }
        // A thousand bytes each second and a half.
        let late = &rates[10..];
        let mean = late.iter().sum::<u64>() / late.len() as u64;
        assert!((300..1000).contains(&mean), "{rates:?}");
        assert!(late.iter().all(|rate| (200..2000).contains(rate)), "{rates:?}");
    });
}

#[test]
fn without_a_stream_there_is_no_rate() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default());
        let mut arrivals = listen(world, listener, &conversations);
        let backoff = Backoff::new([3; 32]).first(Duration::from_secs(8));
        let (session, events, _driver) = reconnecting(&network, Config::default(), backoff).await;
        let mut far = arrivals.next().await.unwrap().unwrap().unwrap();
        let mut outgoing = session.offer(&Offer::new("x")).await.unwrap();
        let mut incoming = loop {
            if let Some(Event::Offer(offer)) = far.events.next().await {
                break offer.accept().unwrap();
            }
        };
        outgoing.accepted().await.unwrap();
        flow(world, &mut outgoing, &mut incoming, 4).await;
        let seen = outgoing.progress();
        assert!(seen.rate > 80_000);
        network.cut();
        let cut = world.clock.now();
        assert_eq!(outgoing.changed(seen).await, outgoing.progress());
        assert_eq!((outgoing.progress().rate, world.clock.now()), (0, cut));
        world.settle().await;
        assert!(incoming.progress().rate == 0 && incoming.is_detached());
        // The wait for the next stream counts for nothing.
        flow(world, &mut outgoing, &mut incoming, 4).await;
        while outgoing.progress().rate == 0 {
            flow(world, &mut outgoing, &mut incoming, 1).await;
        }
        flow(world, &mut outgoing, &mut incoming, 4).await;
        let rate = outgoing.progress().rate;
        assert!((80_000..120_000).contains(&rate), "{rate}");
        drop(events);
    });
}
