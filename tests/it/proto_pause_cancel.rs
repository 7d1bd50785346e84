//! Pausing a file from either side, and giving it up in every state it can be in.

use duologue::proto::{Acceptance, ActionError, Config, Event};
use duologue::testing::{Call, LinkOptions, Pair};
use duologue::time::Time;
use duologue::wire::{Kind, Side, TransferCode, TransferId};

use super::proto_util::{client, finish_all, frames, millis, open, open_with, pick, server};

const CANCELLED: TransferCode = TransferCode::CANCELLED;
const NO_SPACE: TransferCode = TransferCode::NO_SPACE;

/// A link that is slow enough for a file to take a while, and takes little ahead.
fn slow() -> LinkOptions {
    LinkOptions {
        rate: Some(1_000_000),
        buffer: 4096,
        latency: millis(5),
        ..LinkOptions::default()
    }
}

/// A file of 300 kB from the client that is a third there.
fn underway() -> (Pair, TransferId) {
    let mut pair = open_with(Config::default(), Config::default(), slow());
    let now = pair.now();
    let id = pair.client.offer(now, 1, 300_000, true).unwrap();
    pair.drive(10_000, |pair| {
        pair.server().incoming.get(&id).is_some_and(|t| t.received > 100_000)
    })
    .unwrap();
    (pair, id)
}

/// When frames of a kind began to leave the client since the last look.
fn sent(pair: &mut Pair, kind: Kind) -> Vec<Time> {
    let frames = frames(&pair.tapped(Side::Client));
    frames.iter().filter(|frame| frame.kind == kind).map(|frame| frame.at).collect()
}

#[test]
fn no_data_begins_while_either_side_pauses() {
    for pausers in [&[Side::Client][..], &[Side::Server], &[Side::Client, Side::Server]] {
        let (mut pair, id) = underway();
        let now = pair.now();
        for &side in pausers {
            pair.end(side).machine.call(now, Call::Pause(id, true)).unwrap();
        }
        // The server's wish takes 5 ms and what waits before it.
        pair.run_for(millis(100));
        // A frame that had begun is finished; its rest is no frame here.
        pair.tap();
        let before = pair.server().incoming[&id].received;
        pair.run_for(millis(2000));
        assert_eq!(sent(&mut pair, Kind::DATA), []);
        assert_eq!(pair.server().incoming[&id].received, before);
        for (left, &side) in pausers.iter().enumerate().rev() {
            assert_eq!(pair.server().incoming[&id].received, before);
            let now = pair.now();
            pair.end(side).machine.call(now, Call::Pause(id, false)).unwrap();
            if left > 0 {
                pair.run_for(millis(500));
            }
        }
        finish_all(&mut pair);
    }
}

#[test]
fn our_own_pause_takes_effect_at_once_and_what_is_on_the_way_is_taken() {
    let (mut pair, id) = underway();
    let before = pair.server().incoming[&id].received;
    client(&mut pair, Call::Pause(id, true)).unwrap();
    let now = pair.now();
    sent(&mut pair, Kind::DATA);
    pair.tap();
    pair.run_for(millis(1000));
    // At most the rest of the frame that had begun.
    let late = sent(&mut pair, Kind::DATA).into_iter().filter(|&at| at > now).count();
    assert_eq!(late, 0);
    let after = pair.server().incoming[&id].received;
    assert!(after > before, "{after}");
    assert_eq!(pair.client.machine.statistics().sent.data.bytes, data_bytes(&pair));
    let events = pick(pair.server(), |event| match event {
        Event::Paused { is_paused, .. } => Some(*is_paused),
        _ => None,
    });
    assert_eq!(events, [true]);
    client(&mut pair, Call::Pause(id, false)).unwrap();
    finish_all(&mut pair);
}

fn data_bytes(pair: &Pair) -> u64 {
    pair.server().machine.statistics().received.data.bytes
}

#[test]
fn a_pause_repeated_says_nothing_and_one_that_is_offered_counts_later() {
    let mut pair = open();
    pair.server_mut().behaviour.accepts_offers = false;
    let now = pair.now();
    let id = pair.client.offer(now, 1, 50_000, true).unwrap();
    pair.run_for(millis(50));
    for _ in 0..2000 {
        server(&mut pair, Call::Pause(id, true)).unwrap();
    }
    pair.run_for(millis(50));
    let pauses =
        frames(&pair.tapped(Side::Server)).iter().filter(|f| f.kind == Kind::PAUSE).count();
    assert_eq!(pauses, 1);
    server(&mut pair, Call::Accept(id, Acceptance::default())).unwrap();
    pair.run_for(millis(500));
    assert_eq!(pair.server().incoming[&id].received, 0);
    server(&mut pair, Call::Pause(id, false)).unwrap();
    finish_all(&mut pair);
}

#[test]
fn toggling_a_pause_without_end_is_blocked_in_the_end() {
    let (mut pair, id) = underway();
    pair.cut();
    let before = pair.client.machine.memory_usage();
    let mut is_paused = false;
    while client(&mut pair, Call::Pause(id, !is_paused)).is_ok() {
        is_paused = !is_paused;
    }
    let blocked = client(&mut pair, Call::Pause(id, !is_paused));
    assert_eq!(blocked, Err(ActionError::Blocked));
    client(&mut pair, Call::Pause(id, is_paused)).unwrap();
    let after = pair.client.machine.memory_usage();
    assert!(after < before + 150_000, "{after} after {before}");
    pair.attach().unwrap();
    pair.run_for(millis(100));
    if is_paused {
        client(&mut pair, Call::Pause(id, false)).unwrap();
    }
    finish_all(&mut pair);
}

#[test]
fn toggling_without_end_is_no_flood_of_an_honest_side() {
    for side in [Side::Client, Side::Server] {
        let (mut pair, id) = underway();
        let mut result = Ok(());
        for round in 0..5000 {
            let now = pair.now();
            let call = Call::Pause(id, round % 2 == 0);
            result = pair.end(side).machine.call(now, call).map(drop);
            if result.is_err() {
                break;
            }
            if round % 100 == 98 {
                pair.run_for(millis(2000));
            }
        }
        // What is above the budget waits for it, until the queue is full. The receiver's last word
        // comes so late that the file may have gone meanwhile.
        let is_over = Err(ActionError::UnknownTransfer(id));
        assert!(result == Err(ActionError::Blocked) || (side == Side::Server && result == is_over));
        pair.run_for(millis(100_000));
        assert!(pair.client.machine.is_open() && pair.server().machine.is_open());
    }
}

#[test]
fn a_receiver_may_pause_for_every_32_kib_of_a_file() {
    let link = LinkOptions { rate: Some(10_000_000), latency: millis(1), ..LinkOptions::default() };
    let mut pair = open_with(Config::default(), Config::default(), link);
    let now = pair.now();
    let size = 40_000_000;
    let id = pair.client.offer(now, 1, size, true).unwrap();
    let mut next = 32_768;
    // What is under way when it pauses must not be the end.
    while next + 65_536 < size {
        let most = 100_000;
        pair.drive(most, |pair| {
            pair.server().incoming.get(&id).is_some_and(|t| t.received >= next)
        })
        .unwrap();
        for is_paused in [true, false] {
            server(&mut pair, Call::Pause(id, is_paused)).unwrap();
            pair.run_for(millis(1));
        }
        next += 32_768;
    }
    finish_all(&mut pair);
    // Four seconds for the bytes, and three milliseconds for each of 1200 pauses.
    assert!(pair.now() < now.saturating_add(millis(12_000)), "{:?}", pair.now());
}

fn cancel(id: TransferId) -> Call {
    Call::Cancel(id, CANCELLED, "enough".into())
}

fn verdict(pair: &Pair, id: TransferId) -> Option<(TransferCode, u64)> {
    pair.client.outgoing[&id].verdict.as_ref().map(|(code, total, _)| (*code, *total))
}

/// Both ends are well, and a new file goes through.
#[track_caller]
fn goes_on(pair: &mut Pair) {
    let now = pair.now();
    let id = pair.client.offer(now, 9, 70_000, true).unwrap();
    pair.server_mut().behaviour.accepts_offers = true;
    pair.server_mut().behaviour.concludes = true;
    pair.run_for(millis(2000));
    assert_eq!(pair.client.machine.error(), None);
    assert_eq!(pair.server().machine.error(), None);
    assert_eq!(verdict(pair, id), Some((TransferCode::STORED, 70_000)));
    assert_eq!(pair.client.machine.statistics().in_flight, 0);
}

#[test]
fn an_offer_that_nobody_decided_on_is_cancelled() {
    let mut pair = open();
    pair.server_mut().behaviour.accepts_offers = false;
    let now = pair.now();
    let id = pair.client.offer(now, 1, 1000, true).unwrap();
    pair.run_for(millis(50));
    client(&mut pair, cancel(id)).unwrap();
    assert_eq!(client(&mut pair, cancel(id)), Err(ActionError::WrongState(id)));
    pair.run_for(millis(50));
    let asked = pick(pair.server(), |event| match event {
        Event::CancelAsked { code, text, .. } => Some((*code, text.clone().into_owned())),
        _ => None,
    });
    assert_eq!(asked, [(CANCELLED, "enough".to_owned())]);
    assert_eq!(verdict(&pair, id), Some((CANCELLED, 0)));
    goes_on(&mut pair);
}

#[test]
fn a_cancel_crosses_the_decision() {
    for accepts in [true, false] {
        let mut pair = open();
        pair.server_mut().behaviour.accepts_offers = false;
        let now = pair.now();
        let id = pair.client.offer(now, 1, 1000, true).unwrap();
        pair.run_for(millis(50));
        client(&mut pair, cancel(id)).unwrap();
        let decision = match accepts {
            true => Call::Accept(id, Acceptance::default()),
            false => Call::Reject(id, TransferCode::DECLINED, "no".into()),
        };
        server(&mut pair, decision).unwrap();
        pair.run_for(millis(100));
        let code = if accepts { CANCELLED } else { TransferCode::DECLINED };
        assert_eq!(verdict(&pair, id), Some((code, 0)));
        let accepted = pick(&pair.client, |e| matches!(e, Event::Accepted { .. }).then_some(()));
        assert_eq!(accepted, [], "it is too late to begin");
        goes_on(&mut pair);
    }
}

#[test]
fn a_file_under_way_is_cancelled_at_once() {
    for is_paused in [false, true] {
        let (mut pair, id) = underway();
        if is_paused {
            client(&mut pair, Call::Pause(id, true)).unwrap();
            pair.run_for(millis(50));
        }
        client(&mut pair, cancel(id)).unwrap();
        let pause = client(&mut pair, Call::Pause(id, false));
        assert_eq!(pause, Err(ActionError::WrongState(id)));
        sent(&mut pair, Kind::DATA);
        pair.tap();
        pair.run_for(millis(500));
        let rest = frames(&pair.tapped(Side::Client));
        let of_it = rest.iter().filter(|f| f.id == id.to_wire() && f.kind != Kind::CANCEL).count();
        assert_eq!(of_it, 0, "{rest:?}");
        let (code, total) = verdict(&pair, id).unwrap();
        assert_eq!(code, CANCELLED);
        assert_eq!(total, data_total(&pair), "what was received");
        goes_on(&mut pair);
    }
}

fn data_total(pair: &Pair) -> u64 {
    let data = pair.server().machine.statistics().received.data;
    data.bytes - 8 * data.frames
}

#[test]
fn a_cancel_crosses_the_verdict() {
    // Whatever the moment, one verdict comes, and it may be that all was stored.
    let mut codes = Vec::new();
    for after in 0..80 {
        let mut pair = open_with(Config::default(), Config::default(), slow());
        let now = pair.now();
        let id = pair.client.offer(now, 1, 20_000, true).unwrap();
        pair.run_for(millis(after));
        let result = client(&mut pair, cancel(id));
        assert_eq!(result.is_err(), verdict(&pair, id).is_some());
        pair.run_for(millis(300));
        let (code, _) = verdict(&pair, id).unwrap();
        let concluded = pair.server().incoming[&id].concluded;
        assert_eq!(concluded, Some(code), "after {after} ms");
        codes.push(code);
        goes_on(&mut pair);
        // Whatever the order, all is over: nothing is left at either end.
        let late = pair.server().machine.statistics().late_frames;
        assert!(late <= 1, "{late}");
    }
    let stored = codes.iter().filter(|&&code| code == TransferCode::STORED).count();
    assert!(stored > 5 && stored < 75, "{stored} of 80");
}

#[test]
fn the_receiver_gives_up_and_what_was_on_the_way_is_forgiven() {
    let (mut pair, id) = underway();
    let received = pair.server().incoming[&id].received;
    let early = server(&mut pair, Call::Stored(id, "x".into()));
    assert_eq!(early, Err(ActionError::WrongState(id)));
    server(&mut pair, Call::Failed(id, NO_SPACE, "the disk is full".into())).unwrap();
    pair.run_for(millis(200));
    let told = (NO_SPACE, received, "the disk is full".to_owned());
    assert_eq!(pair.client.outgoing[&id].verdict, Some(told));
    let statistics = pair.server().machine.statistics();
    assert!(statistics.late_frames > 0, "{statistics:?}");
    assert!(data_total(&pair) > received);
    // None of it came to the application.
    assert_eq!(pair.server().incoming[&id].received, received);
    goes_on(&mut pair);
}

#[test]
fn many_files_cancelled_one_after_the_other_are_no_flood() {
    let mut pair = open();
    let mut last = None;
    for number in 0..1500 {
        let now = pair.now();
        let id = pair.client.offer(now, number, 1_000_000, true).unwrap();
        client(&mut pair, cancel(id)).unwrap();
        pair.drive(10_000, |pair| verdict(pair, id).is_some()).unwrap();
        last = Some(id);
    }
    assert!(verdict(&pair, last.unwrap()).is_some());
    assert_eq!(pair.client.machine.error(), None);
    assert_eq!(pair.server().machine.error(), None);
}

#[test]
fn a_cancel_goes_before_all_bulk_that_has_not_left() {
    let link = LinkOptions {
        rate: Some(125_000),
        latency: millis(10),
        segment: 1448,
        ..LinkOptions::default()
    };
    let mut pair = open_with(Config::default(), Config::default(), link);
    let now = pair.now();
    let ids: Vec<_> =
        (0..10).map(|seed| pair.client.offer(now, seed, 10 << 20, true).unwrap()).collect();
    pair.run_for(millis(3000));
    for id in ids {
        let asked = pair.now();
        let cancel = Call::Cancel(id, TransferCode::CANCELLED, String::new());
        client(&mut pair, cancel).unwrap();
        while !pair.server().incoming[&id].is_cancel_asked {
            pair.run_for(millis(1));
        }
        let took = pair.now().saturating_duration_since(asked);
        // A frame of 1 KiB takes 8 ms here. It waits for the pace of one, as all of its lane does;
        // two are under way before it, and the path takes 10 ms.
        assert!(took <= millis(36), "{took:?}");
        pair.run_for(millis(200));
    }
}
