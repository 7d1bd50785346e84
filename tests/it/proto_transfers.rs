//! Files: what arrives, how they begin and end, and what is kept of them.

use duologue::proto::{Acceptance, ActionError, Config, Event};
use duologue::testing::{Call, LinkOptions, Pair, Pattern};
use duologue::wire::{Digest, Finish, Kind, Offer, Side, TransferCode, TransferId};

use super::proto_util::{
    Frame, client, finish_all, frames, millis, offer, open, open_with, pick, server,
};

const PREFIX: Digest = Digest::Blake3([3; 32]);

fn of(frames: &[Frame], kind: Kind) -> Vec<&Frame> {
    frames.iter().filter(|frame| frame.kind == kind).collect()
}

/// Bytes of DATA that this side wrote since the last look.
fn data_sent(pair: &mut Pair, side: Side) -> usize {
    let frames = frames(&pair.tapped(side));
    of(&frames, Kind::DATA).iter().map(|frame| frame.payload.len()).sum()
}

#[test]
fn sizes_around_frames_and_windows_arrive_both_ways_at_once() {
    let mut pair = open();
    let now = pair.now();
    let window = 256 * 1024;
    let sizes = [
        0,
        1,
        2,
        1023,
        1024,
        1025,
        16_383,
        16_384,
        16_385,
        32_768,
        window - 1,
        window,
        window + 1,
        1_000_000,
    ];
    for (seed, size) in sizes.into_iter().enumerate() {
        for side in [Side::Client, Side::Server] {
            let seed = 2 * seed as u64 + u64::from(side == Side::Server);
            // Half of them do not say how long they are, half cannot be rewound.
            let mut offer = Offer::new(format!("file-{seed}"));
            offer.size = (seed % 4 < 2).then_some(size);
            offer.is_seekable = seed % 8 < 4;
            pair.end(side).offer_as(now, offer, seed, size).unwrap();
        }
    }
    finish_all(&mut pair);
    for end in [&pair.client, pair.server()] {
        let stored = end.outgoing.values().filter_map(|t| t.verdict.as_ref());
        assert_eq!(stored.filter(|(code, ..)| *code == TransferCode::STORED).count(), sizes.len());
    }
}

#[test]
fn an_offer_keeps_all_it_says() {
    let mut pair = open();
    pair.server_mut().behaviour.accepts_offers = false;
    let whole = Offer::new("отчёт.pdf")
        .size((1 << 53) - 1)
        .modified(1_700_000_000_123)
        .media_type("application/pdf")
        .metadata(vec![1; 4096])
        .seekable()
        .digest(Digest::Sha256([5; 32]));
    offer(&mut pair, whole.clone());
    offer(&mut pair, Offer::new("x"));
    pair.run_for(millis(100));
    let offers = pick(pair.server(), |event| match event {
        Event::Offered { offer, .. } => Some(offer.clone()),
        _ => None,
    });
    assert_eq!(offers, [whole, Offer::new("x")]);
}

/// The client offers a file of the pattern 1; the server has `prefix` bytes of it.
fn with_prefix(pair: &mut Pair, size: u64, prefix: u64) -> TransferId {
    pair.server_mut().behaviour.accepts_offers = false;
    pair.client.behaviour.confirms_prefixes = false;
    let now = pair.now();
    let id = pair.client.offer(now, 1, size, true).unwrap();
    pair.run_for(millis(50));
    let acceptance = Acceptance { prefix: Some((prefix, PREFIX)) };
    server(pair, Call::Accept(id, acceptance)).unwrap();
    id
}

#[test]
fn a_file_goes_on_behind_the_prefix_that_is_there() {
    let mut pair = open();
    let id = with_prefix(&mut pair, 100_000, 40_000);
    pair.run_for(millis(100));
    let accepted = pick(&pair.client, |event| match event {
        Event::Accepted { accept, .. } => Some((accept.offset, accept.prefix)),
        _ => None,
    });
    assert_eq!(accepted, [(40_000, Some(PREFIX))]);
    // Data flows meanwhile; only the end has to wait.
    assert_eq!(pair.server().incoming[&id].received, 100_000);
    let early = client(&mut pair, Call::Finish(id, None));
    assert_eq!(early, Err(ActionError::WrongState(id)));
    client(&mut pair, Call::ConfirmPrefix(id)).unwrap();
    let now = pair.now();
    pair.client.feed(now, id);
    finish_all(&mut pair);
    let sent = frames(&pair.tapped(Side::Client));
    assert_eq!(of(&sent, Kind::START)[0].payload, 40_000_u64.to_be_bytes());
    assert_eq!(of(&sent, Kind::DATA).iter().map(|f| f.payload.len()).sum::<usize>(), 60_000);
    assert_eq!(pair.client.outgoing[&id].verdict.as_ref().unwrap().1, 100_000);
}

#[test]
fn a_prefix_of_the_whole_file_needs_no_data() {
    let mut pair = open();
    let id = with_prefix(&mut pair, 5000, 5000);
    pair.run_for(millis(50));
    client(&mut pair, Call::ConfirmPrefix(id)).unwrap();
    client(&mut pair, Call::Finish(id, None)).unwrap();
    pair.run_for(millis(50));
    server(&mut pair, Call::Stored(id, "there already".into())).unwrap();
    pair.run_for(millis(50));
    let verdict = (TransferCode::STORED, 5000, "there already".to_owned());
    assert_eq!(pair.client.outgoing[&id].verdict, Some(verdict));
    let over = with_prefix_over(&mut pair);
    assert_eq!(over, Err(ActionError::TooLarge { max: 10 }));
}

fn with_prefix_over(pair: &mut Pair) -> Result<duologue::testing::Done, ActionError> {
    let id = offer(pair, Offer::new("x").size(10));
    pair.run_for(millis(50));
    server(pair, Call::Accept(id, Acceptance { prefix: Some((11, PREFIX)) }))
}

/// Sends the file again from 0, as an application does whose prefix is another one.
fn restart(pair: &mut Pair, id: TransferId) {
    client(pair, Call::Restart(id)).unwrap();
    pair.client.outgoing.get_mut(&id).unwrap().queued = 0;
    let now = pair.now();
    pair.client.feed(now, id);
}

#[test]
fn another_prefix_starts_again_at_0_whenever_that_is_found() {
    let link = LinkOptions { rate: Some(1_000_000), latency: millis(20), ..LinkOptions::default() };
    for after in [0, 1, 15, 20, 25, 30, 41, 45, 50, 60, 80, 100, 200, 300, 500] {
        for size in [200_001, 300_000] {
            let mut pair = open_with(Config::default(), Config::default(), link);
            let id = with_prefix(&mut pair, size, 100_000);
            pair.drive(10_000, |pair| {
                let accepted = |event: &Event<'_>| matches!(event, Event::Accepted { .. });
                pair.client.events.iter().any(accepted)
            })
            .unwrap();
            pair.run_for(millis(after));
            restart(&mut pair, id);
            finish_all(&mut pair);
            let incoming = &pair.server().incoming[&id];
            assert!(incoming.concluded == Some(TransferCode::STORED), "after {after} ms");
            let progress = pair.client.outgoing[&id].received;
            assert!(progress <= size, "{progress}");
        }
    }
}

#[test]
fn a_second_restart_is_refused_and_changes_nothing() {
    for after in [0, 1, 2, 5] {
        let mut pair = open();
        // Too much for the send buffer, so that it is not finished at once.
        let id = with_prefix(&mut pair, 900_000, 40_000);
        pair.drive(10_000, |pair| pair.client.outgoing[&id].is_accepted).unwrap();
        pair.run_for(millis(after));
        restart(&mut pair, id);
        pair.run_for(millis(2));
        assert!(!pair.client.outgoing[&id].is_finished);
        assert_eq!(client(&mut pair, Call::Restart(id)), Err(ActionError::WrongState(id)));
        finish_all(&mut pair);
        let sent = frames(&pair.tapped(Side::Client));
        let starts: Vec<_> = of(&sent, Kind::START).iter().map(|f| f.payload.clone()).collect();
        assert!(starts.len() <= 2, "{starts:?}");
        assert_eq!(starts.last().unwrap(), &[0; 8]);
    }
}

#[test]
fn a_source_that_shrank_to_nothing_starts_again_too() {
    let mut pair = open();
    pair.server_mut().behaviour.accepts_offers = false;
    pair.client.behaviour.confirms_prefixes = false;
    let id = offer(&mut pair, Offer::new("log-1").seekable());
    pair.run_for(millis(50));
    server(&mut pair, Call::Accept(id, Acceptance { prefix: Some((7, PREFIX)) })).unwrap();
    pair.run_for(millis(50));
    client(&mut pair, Call::Restart(id)).unwrap();
    client(&mut pair, Call::Finish(id, None)).unwrap();
    pair.run_for(millis(100));
    assert_eq!(pair.server().incoming[&id].concluded, Some(TransferCode::STORED));
    assert_eq!(pair.server().incoming[&id].received, 0);
    assert_eq!(pair.client.machine.error(), None);
}

#[test]
fn a_rejection_ends_it_with_its_words() {
    let mut pair = open();
    pair.server_mut().behaviour.accepts_offers = false;
    let now = pair.now();
    let id = pair.client.offer(now, 1, 1000, true).unwrap();
    pair.run_for(millis(50));
    let text = "x".repeat(255);
    let reject = |text: String| Call::Reject(id, TransferCode::EXISTS, text);
    assert!(matches!(server(&mut pair, reject("x".repeat(256))), Err(ActionError::Invalid(_))));
    server(&mut pair, reject(text.clone())).unwrap();
    pair.run_for(millis(50));
    assert_eq!(pair.client.outgoing[&id].verdict, Some((TransferCode::EXISTS, 0, text)));
    let unknown = Err(ActionError::UnknownTransfer(id));
    assert_eq!(
        client(&mut pair, Call::Cancel(id, TransferCode::CANCELLED, String::new())),
        unknown
    );
    assert_eq!(server(&mut pair, Call::Accept(id, Acceptance::default())), unknown);
}

#[test]
fn finish_may_come_before_the_last_data() {
    // The pace holds data back; FINISH is a message and overtakes it.
    let link = LinkOptions { rate: Some(100_000), ..LinkOptions::default() };
    let mut pair = open_with(Config::default(), Config::default(), link);
    let now = pair.now();
    let id = pair.client.offer(now, 1, 60_000, true).unwrap();
    finish_all(&mut pair);
    let sent = frames(&pair.tapped(Side::Client));
    let finish = sent.iter().position(|frame| frame.kind == Kind::FINISH).unwrap();
    let last = sent.iter().rposition(|frame| frame.kind == Kind::DATA).unwrap();
    assert!(finish < last, "FINISH at {finish}, the last DATA at {last}");
    assert_eq!(pair.client.outgoing[&id].verdict.as_ref().unwrap().0, TransferCode::STORED);
}

#[test]
fn a_digest_is_of_the_offers_algorithm_or_blake3() {
    let blake3 = Some(Digest::Blake3([1; 32]));
    let sha256 = Some(Digest::Sha256([2; 32]));
    for (offered, right, wrong) in [
        (None, vec![None, blake3], vec![sha256]),
        (blake3, vec![None, blake3], vec![sha256]),
        (sha256, vec![None, sha256], vec![blake3]),
    ] {
        for digest in right {
            let mut pair = open();
            let mut wish = Offer::new("x").size(0);
            wish.digest = offered;
            let id = offer(&mut pair, wish);
            pair.run_for(millis(50));
            for &wrong in &wrong {
                let refused = client(&mut pair, Call::Finish(id, wrong));
                assert_eq!(refused, Err(ActionError::WrongState(id)));
            }
            client(&mut pair, Call::Finish(id, digest)).unwrap();
            pair.run_for(millis(50));
            let finish = Finish { total: 0, digest };
            assert_eq!(pair.server().incoming[&id].finish, Some(finish));
            assert_eq!(pair.server().incoming[&id].concluded, Some(TransferCode::STORED));
        }
    }
}

#[test]
fn progress_says_what_was_received_and_what_is_safe() {
    let mut pair = open();
    pair.server_mut().behaviour.concludes = false;
    let now = pair.now();
    let id = pair.client.offer(now, 1, 100_000, true).unwrap();
    pair.run_for(millis(200));
    let last = |pair: &Pair| {
        pick(&pair.client, |event| match event {
            Event::Progress { received, durable, .. } => Some((*received, *durable)),
            _ => None,
        })
        .pop()
    };
    assert_eq!(last(&pair), Some((100_000, 0)));
    server(&mut pair, Call::SetDurable(id, 60_000)).unwrap();
    pair.run_for(millis(50));
    assert_eq!(last(&pair), Some((100_000, 60_000)));
    // It never goes back, and never beyond what came.
    server(&mut pair, Call::SetDurable(id, 10)).unwrap();
    pair.run_for(millis(50));
    assert_eq!(last(&pair), Some((100_000, 60_000)));
    server(&mut pair, Call::SetDurable(id, u64::MAX)).unwrap();
    pair.run_for(millis(50));
    assert_eq!(last(&pair), Some((100_000, 100_000)));
    let all = pick(&pair.client, |event| match event {
        Event::Progress { received, durable, .. } => Some((*received, *durable)),
        _ => None,
    });
    assert!(all.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1));
}

#[test]
fn progress_is_told_within_25_ms_of_becoming_idle() {
    let mut pair = open();
    let now = pair.now();
    let id = pair.client.offer(now, 1, 50_000, true).unwrap();
    pair.server_mut().behaviour.concludes = false;
    pair.drive(1000, |pair| pair.server().incoming.get(&id).is_some_and(|t| t.received == 50_000))
        .unwrap();
    let whole = pair.now();
    pair.drive(1000, |pair| pair.client.outgoing[&id].received == 50_000).unwrap();
    assert!(pair.now() <= whole.saturating_add(millis(27)), "{:?}, {whole:?}", pair.now());
}

#[test]
fn a_full_buffer_says_when_and_where_it_has_room() {
    let sender = Config::builder().send_buffer(32_768).build().unwrap();
    let mut pair = open_with(sender, Config::default(), LinkOptions::default());
    let id = offer(&mut pair, Offer::new("file-1"));
    assert_eq!(pair.client.machine.capacity(id), 0, "not accepted yet");
    pair.run_for(millis(100));
    let pattern = Pattern::new(1);
    let data = |offset, len| Call::SendData(id, offset, pattern.bytes(offset, len));
    assert_eq!(pair.client.machine.capacity(id), 32_768);
    client(&mut pair, data(0, 30_000)).unwrap();
    assert_eq!(pair.client.machine.capacity(id), 2768);
    // Any number of bytes fits where there is room for one.
    client(&mut pair, data(30_000, 20_000)).unwrap();
    assert_eq!(pair.client.machine.capacity(id), 0);
    assert_eq!(client(&mut pair, data(50_000, 1)), Err(ActionError::Blocked));
    pair.run_for(millis(100));
    let writable = pick(&pair.client, |event| match event {
        Event::Writable { transfer, offset } => Some((*transfer, *offset)),
        _ => None,
    });
    assert_eq!(writable, [(id, 50_000)]);
    client(&mut pair, data(50_000, 1)).unwrap();
    client(&mut pair, Call::Finish(id, None)).unwrap();
    pair.run_for(millis(100));
    assert_eq!(pair.server().incoming[&id].concluded, Some(TransferCode::STORED));
    assert!(!pair.server().incoming[&id].is_wrong);
}

#[test]
fn chunks_of_one_byte_leave_in_frames_that_are_not_tiny() {
    let mut pair = open();
    pair.client.behaviour.chunk = 1;
    let now = pair.now();
    pair.client.offer(now, 1, 50_001, false).unwrap();
    finish_all(&mut pair);
    let sent = frames(&pair.tapped(Side::Client));
    let data = of(&sent, Kind::DATA);
    assert!(data.iter().rev().skip(1).all(|frame| frame.payload.len() >= 1024));
}

#[test]
fn bytes_that_trickle_in_are_no_flood() {
    let mut pair = open();
    let id = offer(&mut pair, Offer::new("file-1"));
    pair.run_for(millis(50));
    let pattern = Pattern::new(1);
    for offset in 0..5000 {
        let now = pair.now();
        // As an application does that is never told to wait.
        client(&mut pair, Call::SendData(id, offset, pattern.bytes(offset, 1))).unwrap();
        pair.transmit();
        pair.run_until(now.saturating_add(core::time::Duration::from_micros(100)));
    }
    client(&mut pair, Call::Finish(id, None)).unwrap();
    pair.drive(10_000, |pair| pair.server().incoming[&id].concluded.is_some()).unwrap();
    assert!(!pair.server().incoming[&id].is_wrong);
}

#[test]
fn an_application_that_waits_for_each_byte_to_arrive_goes_on() {
    let mut pair = open();
    let id = offer(&mut pair, Offer::new("file-1"));
    pair.run_for(millis(50));
    let pattern = Pattern::new(1);
    for offset in 0..700 {
        client(&mut pair, Call::SendData(id, offset, pattern.bytes(offset, 1))).unwrap();
        pair.drive(1000, |pair| pair.server().incoming[&id].received == offset + 1).unwrap();
    }
    assert_eq!(pair.server().machine.error(), None);
}

#[test]
fn what_can_be_read_again_is_not_kept_and_what_cannot_is_kept_until_received() {
    const LEN: usize = 60_000;
    for is_seekable in [true, false] {
        let link = LinkOptions { latency: millis(50), ..LinkOptions::default() };
        let mut pair = open_with(Config::default(), Config::default(), link);
        let mut wish = Offer::new("file-1");
        wish.is_seekable = is_seekable;
        let id = offer(&mut pair, wish);
        pair.run_for(millis(3000));
        let idle = pair.client.machine.memory_usage();
        client(&mut pair, Call::SendData(id, 0, Pattern::new(1).bytes(0, LEN))).unwrap();
        let queued = pair.client.machine.memory_usage();
        assert!(queued >= idle + LEN, "{queued} after {idle}");
        let mut sent = 0;
        pair.drive(10_000, |pair| {
            sent += data_sent(pair, Side::Client);
            sent == LEN
        })
        .unwrap();
        let all_sent = pair.client.machine.memory_usage();
        if is_seekable {
            assert!(all_sent < idle + 8192, "{all_sent} after {idle}");
        } else {
            assert!(all_sent >= idle + LEN, "{all_sent} after {idle}");
        }
        pair.run_for(millis(3000));
        let received = pair.client.machine.memory_usage();
        assert!(received < idle + 8192, "{received} after {idle}");
    }
}

#[test]
fn the_verdict_says_the_name_and_the_total() {
    let mut pair = open();
    pair.server_mut().behaviour.concludes = false;
    let now = pair.now();
    let id = pair.client.offer(now, 1, 1234, true).unwrap();
    pair.run_for(millis(100));
    assert_eq!(pair.client.outgoing[&id].verdict, None);
    let name = "имя (2).bin".repeat(200);
    let long = Call::Stored(id, "x".repeat(4097));
    assert!(matches!(server(&mut pair, long), Err(ActionError::Invalid(_))));
    server(&mut pair, Call::Stored(id, name.clone())).unwrap();
    pair.run_for(millis(100));
    assert_eq!(pair.client.outgoing[&id].verdict, Some((TransferCode::STORED, 1234, name.clone())));
}
