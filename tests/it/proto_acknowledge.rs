//! When an ACK goes: what the peer may be waiting for is acknowledged without waiting for a clock.

use core::time::Duration;

use bytes::Bytes;
use duologue::proto::{Acceptance, Config, Event};
use duologue::wire::{Chat, Kind, Offer};

use super::proto_duo::{Duo, said, tell};
use super::raw_peer::{ROLES, RawPeer};
use super::state_transfers::{accept, data, offer, start};

/// Taken a few at a time, chat is acknowledged together; a quarter of what may be sent ahead at once.
#[test]
fn a_quarter_of_a_lane_is_acknowledged_at_once() {
    let config = Config::builder().max_untaken(512).build().unwrap();
    let mut duo = Duo::open(config.clone(), config);
    for _ in 0..128 {
        duo.client.send_chat(&Chat::new("x")).unwrap();
    }
    let bytes = said(&mut duo.client, duo.now);
    let events = tell(&mut duo.server, duo.now, &bytes, false).unwrap();
    let items: Vec<_> = events.iter().filter_map(Event::item).collect();
    assert_eq!(items.len(), 128);

    duo.server.take(duo.now, items[126]);
    assert!(said(&mut duo.server, duo.now).is_empty(), "it waits for company, or 25 ms");
    duo.server.take(duo.now, items[127]);
    let bytes = said(&mut duo.server, duo.now);
    let events = tell(&mut duo.client, duo.now, &bytes, true).unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::Receipts { .. })), "{events:?}");
}

#[test]
fn a_quarter_of_the_bytes_of_a_lane_is_acknowledged_at_once() {
    let mut duo = Duo::open(Config::default(), Config::default());
    let text = "x".repeat(15 * 1024);
    let mut taken = 0;
    for _ in 0..9 {
        duo.client.send_chat(&Chat::new(&*text)).unwrap();
        let bytes = said(&mut duo.client, duo.now);
        let events = tell(&mut duo.server, duo.now, &bytes, false).unwrap();
        let item = events.iter().find_map(Event::item).unwrap();
        duo.server.take(duo.now, item);
        taken += text.len();
        let is_said = !said(&mut duo.server, duo.now).is_empty();
        assert_eq!(is_said, taken >= 128 * 1024, "{taken} bytes were taken");
    }
    assert!(taken >= 128 * 1024);
}

/// Less waits for 200 µs, which do not pass here.
#[test]
fn much_of_a_file_is_acknowledged_at_once() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        offer(&mut peer, 1, &Offer::new("file")).unwrap();
        accept(&mut peer, 1);
        start(&mut peer, 1, 0).unwrap();
        peer.take_all();
        peer.wait(Duration::from_millis(100));
        data(&mut peer, 1, 16_384).unwrap();
        peer.settle();
        for round in 0..3 {
            data(&mut peer, 1, 16_384).unwrap();
            assert_eq!(peer.kinds().get(&Kind::ACK), None, "round {round}");
            data(&mut peer, 1, 16_384).unwrap();
            assert_eq!(peer.kinds().get(&Kind::ACK), Some(&1), "round {round}");
            peer.stream.frames.clear();
        }
    }
}

/// Once the rate is known, a file goes on while the clock stands still, which only acknowledgements
/// and credit that wait for no timer make possible.
#[test]
fn bulk_does_not_wait_for_a_clock() {
    const CHUNK: usize = 256 << 10;
    const CHUNKS: usize = 16;
    let mut duo = Duo::open(Config::default(), Config::default());
    let mut now = duo.now;
    let size = (CHUNK * CHUNKS) as u64;
    let file = duo.client.offer(&Offer::new("large").size(size), now).unwrap();
    duo.settle();
    duo.server.accept(file, Acceptance::default(), now).unwrap();
    duo.settle();

    let chunk = Bytes::from(vec![7; CHUNK]);
    let (mut queued, mut received) = (0, 0);
    for round in 0..10_000 {
        if round < 20 {
            now = now.saturating_add(Duration::from_micros(200));
            duo.server.handle_timeout(now);
        }
        while queued < size && duo.client.send_data(file, queued, chunk.clone()).is_ok() {
            queued += CHUNK as u64;
        }
        let bytes = said(&mut duo.client, now);
        for event in tell(&mut duo.server, now, &bytes, true).unwrap() {
            if let Event::Data { transfer, data, .. } = event {
                received += data.len() as u64;
                duo.server.release(transfer, data.len(), now);
            }
        }
        let bytes = said(&mut duo.server, now);
        tell(&mut duo.client, now, &bytes, true).unwrap();
        if received == size {
            return;
        }
    }
    panic!("{received} of {size} bytes came, and nothing moves without a timer");
}
