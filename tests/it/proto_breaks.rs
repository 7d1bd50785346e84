//! Breaks: what was under way goes on over the next stream, once and in order.

use core::time::Duration;

use duologue::proto::{ActionError, Config, Event, Lane, Opening, Receipt};
use duologue::testing::{Call, Endpoint, LinkOptions, Pair};
use duologue::wire::{Batch, Offer, Side, TransferCode, TransferId};

pub(crate) const STEPS: usize = 100_000;

pub(crate) fn pair() -> Pair {
    pair_with(LinkOptions { rate: Some(1_000_000), ..LinkOptions::default() })
}

pub(crate) fn pair_with(link: LinkOptions) -> Pair {
    let mut pair = Pair::new(Config::default(), Config::default(), link);
    pair.open().unwrap();
    // Let the first pings and acknowledgements pass.
    pair.run_for(Duration::from_millis(100));
    pair
}

pub(crate) fn resume(pair: &mut Pair) {
    pair.attach().unwrap();
    pair.open().unwrap();
    assert_eq!(pair.client.openings.last(), Some(&Opening::Resumed));
    assert_eq!(pair.server().openings.last(), Some(&Opening::Resumed));
}

pub(crate) fn assert_all_stored(pair: &Pair) {
    for (end, other) in [(&pair.client, pair.server()), (pair.server(), &pair.client)] {
        assert_eq!(end.closed, None);
        for (id, sent) in &end.outgoing {
            let name = format!("stored-{}", id.number());
            assert_eq!(sent.verdict, Some((TransferCode::STORED, sent.size, name)), "{id}");
            let received = &other.incoming[id];
            assert!(!received.is_wrong && received.received == sent.size, "{id} {received:?}");
        }
    }
}

pub(crate) fn drive_to_end(pair: &mut Pair) {
    pair.drive(STEPS, |pair| pair.client.has_sent_all() && pair.server().has_sent_all()).unwrap();
    assert_all_stored(pair);
}

pub(crate) fn delivered(end: &Endpoint, lane: Lane) -> Vec<u64> {
    let of_lane = end.receipts.iter().filter(|(item, _)| item.lane == lane);
    of_lane.filter(|(_, r)| *r == Receipt::Delivered).map(|(item, _)| item.number).collect()
}

/// Messages of all sizes, so that some are cut in the middle of their fragments.
fn message(number: u64) -> Vec<u8> {
    let len = [0, 10, 60_000, 1, 20_000][(number % 5) as usize];
    (0..len).map(|byte| (byte as u8) ^ (number as u8)).collect()
}

fn chat(number: u64) -> String {
    let len = [1, 2000, 40_000][(number % 3) as usize];
    format!("{number} {}", "x".repeat(len))
}

#[test]
fn both_lanes_go_on_from_what_arrived() {
    let mut cuts = 0;
    for side in [Side::Client, Side::Server] {
        for bytes in (0..300_000).step_by(9_973) {
            let mut pair = pair();
            let now = pair.now();
            for number in 0..10 {
                for end in [Side::Client, Side::Server] {
                    pair.end(end).say(now, &chat(number)).unwrap();
                    pair.end(end).tell(now, &message(number)).unwrap();
                }
            }
            pair.cut_after(side, bytes);
            pair.drive(STEPS, |pair| pair.is_cut()).unwrap();
            resume(&mut pair);
            pair.drive(STEPS, |pair| {
                [Side::Client, Side::Server].into_iter().all(|side| {
                    let end = pair.end(side);
                    [Lane::Chat, Lane::Control].into_iter().all(|l| delivered(end, l).len() == 10)
                })
            })
            .unwrap();
            for end in [&pair.client, pair.server()] {
                assert_eq!(end.chats, (0..10).map(chat).collect::<Vec<_>>(), "{side:?} {bytes}");
                assert_eq!(end.messages, (0..10).map(message).collect::<Vec<_>>());
                for lane in [Lane::Chat, Lane::Control] {
                    assert_eq!(delivered(end, lane), (0..10).collect::<Vec<_>>());
                }
            }
            let sent = [&pair.client, pair.server()]
                .map(|end| end.machine.statistics().retransmitted_bytes);
            assert!(sent.iter().all(|&again| again <= 160_000), "{sent:?}");
            cuts += 1;
        }
    }
    println!("{cuts} cuts");
}

#[test]
fn what_was_taken_but_not_acknowledged_is_not_delivered_twice() {
    for lane in [Lane::Chat, Lane::Control] {
        let mut pair = pair();
        let now = pair.now();
        match lane {
            Lane::Chat => pair.client.say(now, "once").unwrap(),
            Lane::Control => pair.client.tell(now, b"once").unwrap(),
        };
        // The ACK waits for company, up to 25 ms; the break comes first.
        let has_come = |end: &Endpoint| end.chats.len() + end.messages.len() == 1;
        pair.drive(STEPS, |pair| has_come(pair.server())).unwrap();
        assert!(pair.client.receipts.is_empty());
        pair.cut();
        pair.run_for(Duration::from_secs(1));
        assert!(pair.client.receipts.is_empty());
        resume(&mut pair);
        pair.run_for(Duration::from_secs(1));
        assert!(has_come(pair.server()));
        assert_eq!(delivered(&pair.client, lane), [0]);
        assert_eq!(pair.client.machine.statistics().retransmitted_bytes, 0);
    }
}

#[test]
fn what_arrived_and_was_not_taken_is_acknowledged_when_it_is_taken() {
    let mut pair = pair();
    pair.server_mut().behaviour.takes = false;
    let now = pair.now();
    pair.client.say(now, "not yet").unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server().chats, ["not yet"]);
    pair.cut();
    // One break with it untaken, one with it taken while there is no stream.
    resume(&mut pair);
    pair.run_for(Duration::from_secs(1));
    assert!(pair.client.receipts.is_empty());
    pair.cut();
    let now = pair.now();
    pair.server_mut().take_all(now);
    resume(&mut pair);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(delivered(&pair.client, Lane::Chat), [0]);
    assert_eq!(pair.server().chats, ["not yet"]);
    assert_eq!(pair.client.machine.statistics().retransmitted_bytes, 0);
}

#[test]
fn what_is_done_while_detached_waits_within_bounds_and_goes_later() {
    let config = Config::builder().queued_items(20).queued_bytes(16_384).build().unwrap();
    let mut pair = Pair::new(config, Config::default(), LinkOptions::default());
    pair.open().unwrap();
    pair.run_for(Duration::from_millis(100));
    pair.cut();
    assert!(pair.client.machine.is_open() && pair.client.machine.is_detached());
    let now = pair.now();
    let id = pair.client.offer(now, 3, 10_000, true).unwrap();
    let mut said = 0;
    while pair.client.say(now, &format!("line {said}")).is_ok() {
        said += 1;
    }
    assert_eq!(said, 20);
    assert_eq!(pair.client.say(now, "one more"), Err(ActionError::Blocked));
    let body = vec![7; 8000];
    pair.client.tell(now, &body).unwrap();
    assert_eq!(pair.client.tell(now, &[7; 9000]), Err(ActionError::Blocked));
    assert!(pair.client.machine.memory_usage() < pair.client.machine.config().worst_case_memory());
    resume(&mut pair);
    drive_to_end(&mut pair);
    pair.drive(STEPS, |pair| delivered(&pair.client, Lane::Chat).len() == 20).unwrap();
    assert_eq!(pair.server().chats.len(), 20);
    assert_eq!(pair.server().messages, [body]);
    assert!(!pair.server().incoming[&id].is_wrong);
    assert!(pair.client.events.contains(&Event::LaneWritable(Lane::Chat)));
    assert!(pair.client.events.contains(&Event::LaneWritable(Lane::Control)));
    let again = pair.client.machine.statistics().retransmitted_bytes;
    assert_eq!(again, 0, "none of it had been sent before");
}

#[test]
fn files_go_on_both_ways_wherever_they_break() {
    let mut cuts = 0;
    for is_seekable in [true, false] {
        for side in [Side::Client, Side::Server] {
            for bytes in (0..420_000).step_by(21_391) {
                let mut pair = pair();
                let now = pair.now();
                pair.client.offer(now, 1, 300_000, is_seekable).unwrap();
                pair.client.offer(now, 2, 100_001, !is_seekable).unwrap();
                pair.server_mut().offer(now, 3, 400_000, is_seekable).unwrap();
                pair.server_mut().offer(now, 4, 0, is_seekable).unwrap();
                pair.cut_after(side, bytes);
                pair.drive(STEPS, |pair| pair.is_cut()).unwrap();
                pair.run_for(Duration::from_secs(3));
                resume(&mut pair);
                drive_to_end(&mut pair);
                let carried = pair.carried(Side::Client) + pair.carried(Side::Server);
                assert!(carried < 900_000, "{carried}");
                cuts += 1;
            }
        }
    }
    println!("{cuts} cuts");
}

#[test]
fn only_what_the_peer_did_not_get_is_sent_again() {
    for is_seekable in [true, false] {
        let mut pair = pair();
        let now = pair.now();
        let id = pair.client.offer(now, 1, 500_000, is_seekable).unwrap();
        pair.cut_after(Side::Client, 250_000);
        pair.drive(STEPS, |pair| pair.is_cut()).unwrap();
        let had = pair.server().incoming[&id].received;
        assert!(had > 240_000);
        resume(&mut pair);
        drive_to_end(&mut pair);
        let rest = pair.carried(Side::Client) - (500_000 - had);
        assert!(rest < 2_000, "{rest} bytes beside the rest of the file");
        let rewinds = rewinds(&pair.client);
        assert!(rewinds.is_empty() || (is_seekable && rewinds == [had]), "{rewinds:?}");
    }
}

fn rewinds(end: &Endpoint) -> Vec<u64> {
    let offset = |event: &Event<'_>| match *event {
        Event::Rewind { offset, .. } => Some(offset),
        _ => None,
    };
    end.events.iter().filter_map(offset).collect()
}

#[test]
fn a_source_that_can_go_back_is_asked_to() {
    // A long path: more is lost on it than is kept here of a seekable file.
    let latency = Duration::from_millis(100);
    for is_seekable in [true, false] {
        let link = LinkOptions { latency, rate: Some(4_000_000), ..LinkOptions::default() };
        let mut pair = pair_with(link);
        let now = pair.now();
        let id = pair.client.offer(now, 1, 6_000_000, is_seekable).unwrap();
        pair.cut_after(Side::Client, 3_000_000);
        pair.drive(STEPS, |pair| pair.is_cut()).unwrap();
        let had = pair.server().incoming[&id].received;
        assert!(rewinds(&pair.client).is_empty());
        resume(&mut pair);
        assert_eq!(rewinds(&pair.client), if is_seekable { vec![had] } else { vec![] });
        drive_to_end(&mut pair);
        assert!(pair.carried(Side::Client) < 6_000_000 - had + 20_000);
    }
}

#[test]
fn a_paused_file_stays_paused_and_goes_on_when_it_may() {
    for pauser in [Side::Client, Side::Server] {
        for is_told_before in [true, false] {
            let mut pair = pair();
            let now = pair.now();
            let id = pair.client.offer(now, 1, 300_000, true).unwrap();
            pair.drive(STEPS, |pair| {
                pair.is_server_there()
                    && pair.server().incoming.get(&id).is_some_and(|t| t.received > 50_000)
            })
            .unwrap();
            let now = pair.now();
            if is_told_before {
                pair.end(pauser).machine.call(now, Call::Pause(id, true)).unwrap();
                pair.run_for(Duration::from_secs(1));
                pair.cut();
            } else {
                pair.cut();
                pair.end(pauser).machine.call(now, Call::Pause(id, true)).unwrap();
            }
            resume(&mut pair);
            pair.run_for(Duration::from_secs(300));
            let received = pair.server().incoming[&id].received;
            pair.run_for(Duration::from_secs(300));
            assert_eq!(pair.server().incoming[&id].received, received, "{pauser:?}");
            assert!(received < 300_000);
            pair.cut();
            let now = pair.now();
            pair.end(pauser).machine.call(now, Call::Pause(id, false)).unwrap();
            resume(&mut pair);
            drive_to_end(&mut pair);
        }
    }
}

#[test]
fn a_file_that_waits_for_its_verdict_gets_it_after_the_break() {
    for is_decided_while_detached in [true, false] {
        let mut pair = pair();
        pair.server_mut().behaviour.concludes = false;
        let now = pair.now();
        let id = pair.client.offer(now, 1, 70_000, true).unwrap();
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.server().incoming[&id].received, 70_000);
        assert!(pair.server().incoming[&id].finish.is_some());
        pair.cut();
        if !is_decided_while_detached {
            resume(&mut pair);
        }
        let now = pair.now();
        pair.server_mut().behaviour.concludes = true;
        pair.server_mut().conclude_if_whole(now, id);
        if is_decided_while_detached {
            resume(&mut pair);
        }
        drive_to_end(&mut pair);
        assert!(pair.carried(Side::Client) < 1000, "nothing of the file comes again");
    }
}

#[test]
fn offers_decisions_cancels_and_verdicts_cross_a_break() {
    let mut pair = pair();
    pair.server_mut().behaviour.accepts_offers = false;
    let now = pair.now();
    let ids: Vec<_> =
        (0..4).map(|seed| pair.client.offer(now, seed, 5000, true).unwrap()).collect();
    pair.run_for(Duration::from_secs(1));
    pair.cut();
    // All of these are said with no stream to say them on.
    let now = pair.now();
    let server = pair.server_mut();
    server.machine.call(now, Call::Accept(ids[0], Default::default())).unwrap();
    server.machine.call(now, Call::Reject(ids[1], TransferCode::EXISTS, "have it".into())).unwrap();
    server.machine.call(now, Call::Accept(ids[2], Default::default())).unwrap();
    let cancel = Call::Cancel(ids[2], TransferCode::CANCELLED, String::new());
    pair.client.machine.call(now, cancel).unwrap();
    let cancel = Call::Cancel(ids[3], TransferCode::CANCELLED, String::new());
    pair.client.machine.call(now, cancel).unwrap();
    resume(&mut pair);
    pair.drive(STEPS, |pair| pair.client.has_sent_all()).unwrap();
    let codes: Vec<_> =
        pair.client.outgoing.values().map(|t| t.verdict.as_ref().unwrap().0).collect();
    let cancelled = TransferCode::CANCELLED;
    assert_eq!(codes, [TransferCode::STORED, TransferCode::EXISTS, cancelled, cancelled]);
    assert!(!pair.server().incoming[&ids[0]].is_wrong);
}

/// A batch of `count` files of 20 KB each, and its members as they are offered.
fn offer_batch(pair: &mut Pair, count: u32) -> TransferId {
    let now = pair.now();
    let bytes = u64::from(count) * 20_000;
    let batch = Batch { name: "many".into(), count, bytes, metadata: Default::default() };
    let done = pair.client.machine.call(now, Call::OfferBatch(batch)).unwrap();
    let duologue::testing::Done::Transfer(id) = done else { panic!("{done:?}") };
    id
}

fn offer_members(pair: &mut Pair, batch: TransferId, count: u64) -> Vec<TransferId> {
    let now = pair.now();
    (0..count)
        .map(|seed| {
            let mut offer = Offer::new(format!("folder/file-{seed}"));
            offer.size = Some(20_000);
            offer.is_seekable = seed % 2 == 0;
            offer.batch = Some(batch);
            pair.client.offer_as(now, offer, seed, 20_000).unwrap()
        })
        .collect()
}

#[test]
fn the_members_of_a_batch_go_on_wherever_they_break() {
    for bytes in (0..200_000).step_by(7_919) {
        let mut pair = pair();
        let batch = offer_batch(&mut pair, 9);
        pair.run_for(Duration::from_secs(1));
        let members = offer_members(&mut pair, batch, 9);
        pair.cut_after(Side::Client, bytes);
        let end = pair.drive(STEPS, |pair| pair.is_cut() || pair.client.has_sent_all());
        assert_eq!(end, Ok(()));
        if pair.is_cut() {
            resume(&mut pair);
        }
        drive_to_end(&mut pair);
        assert_eq!(members.len(), 9);
        let now = pair.now();
        let call = Call::Stored(batch, "folder".into());
        pair.server_mut().machine.call(now, call).unwrap();
        pair.cut();
        resume(&mut pair);
        let is_verdict = |event: &Event<'_>| matches!(event, Event::Verdict { transfer, total: 9, .. } if *transfer == batch);
        pair.drive(STEPS, |pair| pair.client.events.iter().any(is_verdict)).unwrap();
    }
}
