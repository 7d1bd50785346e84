use std::sync::{Arc, Mutex};
use std::time::Duration;

use duologue::net::{Address, Admission, Candidate, Event, RateLimit, Refusal, connect};
use duologue::time::Time;
use futures::{AsyncReadExt, AsyncWriteExt};

use crate::net_util::{ask, echo, recorder, run, server, start, until_closed};

#[test]
fn one_more_than_the_most_is_refused_until_a_place_is_free() {
    run(async {
        let (observer, mut events) = recorder();
        let server = server().await.most_connections(2).on_event(observer);
        let running = start(server, echo);
        let first = connect(&running.target).await.unwrap();
        events.until("peer-ready").await;
        let mut second = connect(&running.target).await.unwrap();
        events.until("peer-ready").await;

        until_closed(&mut connect(&running.target).await.unwrap()).await;
        let seen = events.until("refused").await;
        assert!(matches!(
            seen.last(),
            Some(Event::Refused { reason: Refusal::TooMany { limit: 2 }, .. })
        ));
        // The others have noticed nothing.
        second.write_all(b"x").await.unwrap();
        second.read_exact(&mut [0]).await.unwrap();

        drop(first);
        events.until("disconnected").await;
        while running.handle.len() > 1 {
            smol::future::yield_now().await;
        }
        assert_eq!(ask(&running.target, "third").await, "third");
        let served = running.stop().await;
        assert_eq!((served.accepted, served.refused), (3, 1));
    });
}

#[test]
fn admission_sees_who_asks_and_how_many_there_are() {
    run(async {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let (observer, mut events) = recorder();
        let server = server().await.on_event(observer).admission(move |c: &Candidate<'_>| {
            log.lock().unwrap().push((c.peer.clone(), c.live, c.live_from_network));
            if c.live > 0 { Err(Refusal::Policy("one is enough".into())) } else { Ok(()) }
        });
        let running = start(server, echo);
        let first = connect(&running.target).await.unwrap();
        events.until("peer-ready").await;
        let mut second = connect(&running.target).await.unwrap();
        let (peer, refused) = (first.local().clone(), second.local().clone());
        until_closed(&mut second).await;
        events.until("refused").await;
        running.stop().await;
        assert_eq!(*seen.lock().unwrap(), [(peer, 0, 0), (refused, 1, 1)]);
    });
}

fn ask_rate(rate: &mut RateLimit, peer: &str, live: usize, seconds: u64) -> Result<(), Refusal> {
    let peer = match peer {
        "unix" => Address::Unix(None),
        ip => Address::Tcp((ip.parse::<std::net::IpAddr>().unwrap(), 7).into()),
    };
    let local = Address::Unix(None);
    let now = Time::from_micros(seconds * 1_000_000);
    rate.admit(&Candidate { peer: &peer, local: &local, live, live_from_network: live, now })
}

#[test]
fn the_rate_limit_counts_addresses_and_time() {
    let mut rate = RateLimit::new(3, Duration::from_secs(60)).most_live(2);
    let too_often = |seconds| Err(Refusal::TooOften { again_in: Duration::from_secs(seconds) });
    for (peer, live, at, verdict) in [
        ("192.0.2.1", 0, 100, Ok(())),
        ("192.0.2.1", 0, 100, Ok(())),
        ("192.0.2.1", 0, 100, Ok(())),
        ("192.0.2.1", 0, 100, too_often(20)),
        ("::ffff:192.0.2.1", 0, 100, too_often(20)),
        ("192.0.2.2", 0, 100, Ok(())),
        ("192.0.2.1", 0, 119, too_often(1)),
        ("192.0.2.1", 0, 120, Ok(())),
        ("192.0.2.1", 0, 120, too_often(20)),
        // A /64 counts as one address, the next one does not.
        ("2001:db8::1", 0, 120, Ok(())),
        ("2001:db8::2", 0, 120, Ok(())),
        ("2001:db8::ffff:0:0:3", 0, 120, Ok(())),
        ("2001:db8::4", 0, 120, too_often(20)),
        ("2001:db8:0:1::1", 0, 120, Ok(())),
        // After a pause everything is allowed again.
        ("192.0.2.1", 0, 200, Ok(())),
        ("192.0.2.1", 1, 200, Ok(())),
        ("192.0.2.1", 2, 200, Err(Refusal::TooManyFromNetwork { limit: 2 })),
        ("unix", 9, 200, Ok(())),
    ] {
        assert_eq!(ask_rate(&mut rate, peer, live, at), verdict, "{peer} at {at}");
    }
}

#[test]
fn the_rate_limit_remembers_a_bounded_number_of_addresses() {
    let mut rate = RateLimit::new(1, Duration::from_secs(3600));
    let address = |n: usize| format!("10.0.{}.{}", n / 256, n % 256);
    for n in 0..=RateLimit::MOST_ADDRESSES {
        assert_eq!(ask_rate(&mut rate, &address(n), 0, n as u64 / 100), Ok(()));
    }
    let now = RateLimit::MOST_ADDRESSES as u64 / 100;
    assert!(ask_rate(&mut rate, &address(RateLimit::MOST_ADDRESSES), 0, now).is_err());
    assert!(ask_rate(&mut rate, &address(1), 0, now).is_err());
    assert_eq!(ask_rate(&mut rate, &address(0), 0, now), Ok(()), "the oldest was forgotten");
}
