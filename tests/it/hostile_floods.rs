//! Floods: rows H5 to H7 of the project's list of hostile inputs, and A7 and A8 of its list of attacks.

use std::time::Duration;

use duologue::proto::{Config, Error};
use duologue::wire::{
    Accept, Ack, Chat, CloseCode, Credit, Frame, Kind, Limits, Message, Offer, Pause, Ping, Side,
    Signal, TransferCode, Verdict,
};

use crate::hostile_flow::FAILED;
use crate::raw_peer::{ROLES, RawPeer};
use crate::state_transfers::{accept, cancel, data, data_len, offer, start, transfer};

/// Sends a frame until it is refused; says how often it was not.
fn flood(peer: &mut RawPeer, mut send: impl FnMut(&mut RawPeer, u32) -> Result<(), Error>) -> u32 {
    for count in 0..3000 {
        let result = send(peer, count);
        if result.is_err() {
            peer.assert_bounded();
            peer.assert_refused(result, CloseCode::FLOOD);
            return count;
        }
        peer.take_all();
        peer.events.clear();
    }
    panic!("it never ends");
}

#[test]
fn h05_empty_chats_and_fragments() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let empty = Frame::Chat(Chat::new(""));
        assert_eq!(flood(&mut peer, |peer, _| peer.send(0, empty.clone())), 1000);
        for len in [0, 1, 1023] {
            let mut peer = RawPeer::open(victim);
            let result = peer.send_raw(Kind::PART, 0, &vec![0; len]);
            peer.assert_refused(result, CloseCode::MALFORMED);
        }
        // A message is never empty: it has a type, and is taken one by one.
        let mut peer = RawPeer::open(victim);
        for correlation in 0..2000 {
            let body = [][..].into();
            let message = Message { message_type: 1, is_reply: true, correlation, body };
            peer.send(0, Frame::Message(message)).unwrap();
            peer.take_all();
            peer.events.clear();
        }
    }
}

/// Sends one frame of a flood, the n-th.
type Send = fn(&mut RawPeer, u32) -> Result<(), Error>;

/// Floods of every kind of frame that brings nothing on.
fn floods() -> Vec<(&'static str, Send)> {
    vec![
        ("PING", |peer, _| peer.send(0, Frame::Ping(Ping { token: [1; 8] }))),
        ("PONG", |peer, _| peer.send(0, Frame::Pong(Ping { token: [0xEE; 8] }))),
        ("ACK", |peer, _| {
            let (next, received) = (peer.stream.next, peer.stream.acknowledged);
            peer.send(0, Frame::Ack(Ack { next, received }))
        }),
        ("SIGNAL", |peer, n| {
            let payload = vec![1; n as usize % 1024].into();
            peer.send(0, Frame::Signal(Signal { signal_type: 1, payload }))
        }),
        ("skipped", |peer, _| peer.send_raw(Kind::new(0x8F), 0, &[1; 5000])),
        ("skipped item", |peer, _| peer.send_raw(Kind::new(0xCF), 0, &[1; 5000])),
        ("PAUSE", |peer, _| peer.send(peer.ours(1), Frame::Pause(Pause { is_paused: false }))),
        ("PAUSE of a file of ours, changed", |peer, n| {
            peer.send(peer.theirs(1), Frame::Pause(Pause { is_paused: n % 2 == 0 }))
        }),
        ("PAUSE of a file of its own, changed", |peer, n| {
            peer.send(peer.ours(1), Frame::Pause(Pause { is_paused: n % 2 == 0 }))
        }),
        ("tiny DATA", |peer, _| data(peer, 1, 1)),
        ("late START", |peer, _| start(peer, 2, 0)),
        ("late tiny DATA", |peer, _| data(peer, 2, 1)),
        ("late CREDIT", |peer, _| peer.send(peer.theirs(2), Frame::Credit(Credit::default()))),
        ("CREDIT", |peer, _| peer.send(peer.theirs(1), Frame::Credit(Credit::default()))),
        ("START after CANCEL", |peer, _| start(peer, 3, 0)),
    ]
}

/// A conversation with a transfer each way that is open, one each way that has ended, and one that
/// was cancelled by its sender.
fn busy(victim: Side) -> RawPeer {
    let mut peer = RawPeer::open(victim);
    for number in 1..=3 {
        offer(&mut peer, number, &Offer::new("file")).unwrap();
        accept(&mut peer, number);
        start(&mut peer, number, 0).unwrap();
        let now = peer.now;
        let id = peer.victim().offer(&Offer::new("file"), now).unwrap().to_wire();
        peer.drain();
        peer.send(id, Frame::Accept(Accept::default())).unwrap();
    }
    let failed = TransferCode::NO_SPACE;
    let ended = transfer(peer.ours(2));
    let conclusion = duologue::proto::Conclusion::Failed { code: failed, text: "" };
    peer.victim().conclude(ended, &conclusion).unwrap();
    let verdict = Verdict { code: failed, total: 0, text: "".into() };
    peer.send(peer.theirs(2), Frame::Verdict(verdict)).unwrap();
    cancel(&mut peer, 3).unwrap();
    peer.take_all();
    peer.settle();
    peer
}

#[test]
fn h06_floods_of_frames_that_bring_nothing_on_end_and_are_answered_at_most_once_each() {
    for victim in ROLES {
        for (name, send) in floods() {
            let mut peer = busy(victim);
            let bytes = peer.stream.theirs.len();
            let count = flood(&mut peer, send);
            // A few more of those that are late because we ended their transfer.
            assert!((990..=1005).contains(&count), "{name}: {count}");
            let said = peer.stream.theirs.len() - bytes;
            let heard = peer.stream.ours.len();
            assert!(said <= heard + 1000, "{name}: {said} bytes said to {heard}");
        }
    }
}

#[test]
fn h06_h13_a8_a_flood_of_a_peer_that_never_reads_is_answered_from_fixed_slots() {
    for victim in ROLES {
        for (name, send) in floods() {
            let mut peer = busy(victim);
            peer.is_reading = false;
            let before = peer.victim().memory_usage();
            let (mut result, mut count) = (Ok(()), 0);
            while result.is_ok() {
                count += 1;
                assert!(count < 3000, "{name}: it never ends");
                peer.take_all();
                peer.events.clear();
                result = send(&mut peer, 0);
                assert!(peer.victim().memory_usage() < before + 70_000, "{name}");
                // The driver looks, but the transport takes nothing.
                let now = peer.now;
                assert!(peer.victim().poll_transmit(now).len() < 20_000, "{name}");
            }
            peer.assert_refused(result, CloseCode::FLOOD);
        }
    }
}

#[test]
fn h06_who_was_silent_for_long_has_saved_up_nothing() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let ping = Frame::Ping(Ping { token: [1; 8] });
        for _ in 0..300 {
            peer.wait(Duration::from_secs(10));
            peer.send(0, ping.clone()).unwrap();
        }
        let count = flood(&mut peer, |peer, _| peer.send(0, ping.clone()));
        assert!((990..=1000).contains(&count), "{count}");
    }
}

#[test]
fn a7_offers_that_are_rejected_at_once_pile_up_no_answers() {
    for victim in ROLES {
        // A peer that promises to take everything, and reads nothing.
        let limits = Limits { items: 65_536, item_bytes: 1 << 31, ..Limits::default() };
        let mut peer = RawPeer::open_with(victim, Config::default(), limits);
        peer.is_reading = false;
        let (mut result, mut number) = (Ok(()), 0);
        while result.is_ok() && number < 5000 {
            number += 1;
            result = offer(&mut peer, number, &Offer::new("n".repeat(255)).metadata(vec![1; 1024]));
            peer.take_all();
            peer.events.clear();
            let id = transfer(peer.ours(number));
            let _ = peer.victim().reject(id, TransferCode::DECLINED, &"x".repeat(255));
            peer.assert_bounded();
        }
        let error = result.expect_err("answers pile up");
        assert_eq!(error.code(), Some(CloseCode::LIMIT));
        assert!(number <= 100, "{number} answers");
    }
}

#[test]
fn a7_answers_that_are_read_but_never_acknowledged_are_bounded_as_well() {
    for victim in ROLES {
        let limits = Limits { items: 65_536, item_bytes: 1 << 31, ..Limits::default() };
        let config = Config::builder().queued_items(64).queued_bytes(16_384).build().unwrap();
        let mut peer = RawPeer::open_with(victim, config, limits);
        let (mut result, mut number) = (Ok(()), 0);
        while result.is_ok() && number < 5000 {
            number += 1;
            peer.take_all();
            peer.events.clear();
            result = offer(&mut peer, number, &Offer::new("n"));
            let id = transfer(peer.ours(number));
            let _ = peer.victim().reject(id, TransferCode::DECLINED, &"x".repeat(255));
            peer.drain();
            let received = peer.stream.theirs.len() as u64;
            if result.is_ok() {
                peer.send(0, Frame::Ack(Ack { next: [0, 0], received })).unwrap();
            }
        }
        peer.assert_refused(result, CloseCode::LIMIT);
        assert!(number <= 64 + 81, "{number} answers");
    }
}

#[test]
fn a7_an_honest_peer_may_be_rejected_as_often_as_it_likes() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        for round in 0..100 {
            for n in 1..=16 {
                offer(&mut peer, round * 16 + n, &Offer::new("file")).unwrap();
            }
            peer.take_all();
            for n in 1..=16 {
                let id = transfer(peer.ours(round * 16 + n));
                peer.victim().reject(id, TransferCode::DECLINED, "").unwrap();
            }
            peer.drain();
            peer.events.clear();
            if round % 10 == 0 {
                peer.acknowledge().unwrap();
            }
        }
    }
}

#[test]
fn a7_open_and_cancel_in_pairs_is_a_flood() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let (mut result, mut number) = (Ok(()), 0);
        while result.is_ok() && number < 3000 {
            number += 1;
            let id = transfer(peer.ours(number));
            offer(&mut peer, number, &Offer::new("file")).unwrap();
            peer.take_all();
            peer.events.clear();
            result = cancel(&mut peer, number);
            let _ = peer.victim().conclude(id, &FAILED);
            peer.drain();
            if result.is_ok() {
                peer.acknowledge().unwrap();
            }
        }
        peer.assert_refused(result, CloseCode::FLOOD);
        assert!((990..1100).contains(&number), "{number}");
    }
}

#[test]
fn a7_our_own_cancels_are_not_the_peers_flood() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        for _ in 0..500 {
            let now = peer.now;
            let id = peer.victim().offer(&Offer::new("file"), now).unwrap();
            peer.victim().cancel(id, TransferCode::CANCELLED, "").unwrap();
            peer.drain();
            let code = TransferCode::CANCELLED;
            let verdict = Verdict { code, total: 0, text: "".into() };
            peer.send(id.to_wire(), Frame::Verdict(verdict)).unwrap();
            peer.acknowledge().unwrap();
            peer.take_all();
            peer.events.clear();
        }
        let ping = Frame::Ping(Ping { token: [1; 8] });
        assert_eq!(flood(&mut peer, |peer, _| peer.send(0, ping.clone())), 1000);
    }
}

#[test]
fn small_data_keeps_within_the_peers_budget_and_goes_all_the_same() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let now = peer.now;
        let id = peer.victim().offer(&Offer::new("log"), now).unwrap();
        peer.converse();
        peer.send(id.to_wire(), Frame::Accept(Accept::default())).unwrap();
        let credit = Credit { limit: 1 << 20, received: 0, durable: 0 };
        peer.send(id.to_wire(), Frame::Credit(credit)).unwrap();
        for line in 0..600 {
            peer.victim().send_data(id, line * 10, vec![1; 10].into()).unwrap();
            peer.converse();
        }
        let frames = peer.kinds()[&Kind::DATA];
        assert!(frames <= 500, "{frames} small frames at once");
        peer.wait(Duration::from_secs(2));
        let sent: usize = peer.frames_of(Kind::DATA).iter().map(data_len).sum();
        assert_eq!(sent, 6000);
    }
}

#[test]
fn what_a_peer_counts_as_no_progress_is_held_back_before_it_is_a_flood() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        for _ in 0..600 {
            peer.victim().send_chat(&Chat::new("")).unwrap();
        }
        peer.converse();
        // Half of the budget, and one went for the PING that measures the path.
        assert_eq!(peer.kinds()[&Kind::CHAT], 499);
        for _ in 0..12 {
            peer.wait(Duration::from_secs(10));
            peer.send(0, Frame::Ping(Ping { token: [1; 8] })).unwrap();
            peer.converse();
        }
        assert_eq!(peer.kinds()[&Kind::CHAT], 600);
        // Messages without a body are none of these: many answers have none.
        let mut peer = RawPeer::open(victim);
        for correlation in 0..800 {
            let body = [][..].into();
            let message = Message { message_type: 1, is_reply: true, correlation, body };
            peer.victim().send_message(&message).unwrap();
            peer.converse();
        }
        assert_eq!(peer.kinds()[&Kind::MESSAGE], 800);
    }
}

#[test]
fn a8_what_is_under_way_to_a_peer_that_never_reports_it_costs_a_fixed_amount() {
    let limits = Limits { items: 65_536, item_bytes: 1 << 31, ..Limits::default() };
    let config = Config::builder().queued_items(65_536).build().unwrap();
    let mut peer = RawPeer::open_with(Side::Client, config, limits);
    let most = 20_000;
    for _ in 0..most {
        peer.victim().send_chat(&Chat::new("x")).unwrap();
    }
    let queued = peer.victim().memory_usage();
    for _ in 0..most {
        // A moment of its own for each, and no more than one at a time.
        peer.now = peer.now.saturating_add(Duration::from_micros(10));
        peer.read(8 + 3);
    }
    peer.drain();
    assert!(peer.kinds()[&Kind::CHAT] >= most);
    let used = peer.victim().memory_usage();
    assert!(used < queued + (512 << 10), "{used} after {queued}");
}

#[test]
fn a8_each_line_that_leaves_by_itself_costs_a_fixed_amount_until_it_is_reported() {
    let limits = Limits { items: 65_536, item_bytes: 1 << 31, ..Limits::default() };
    let config = Config::builder().queued_items(65_536).build().unwrap();
    let mut peer = RawPeer::open_with(Side::Client, config, limits);
    let mut say = |lines: usize| {
        for _ in 0..lines {
            // Large enough, and apart enough, for a record of its own.
            peer.now = peer.now.saturating_add(Duration::from_micros(10));
            peer.victim().send_chat(&Chat::new("x")).unwrap();
            peer.read(usize::MAX);
        }
        peer.victim().memory_usage()
    };
    let (few, many) = (say(3000), say(3000));
    // An item, its bytes, and nothing more: who knows when each of them left keeps as much again.
    assert!(many < few + 3000 * 64, "{many} bytes after {few}");
}

#[test]
fn a_file_that_waits_for_our_budget_goes_on_when_there_is_some() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let now = peer.now;
        let id = peer.victim().offer(&Offer::new("log"), now).unwrap();
        peer.converse();
        peer.send(id.to_wire(), Frame::Accept(Accept::default())).unwrap();
        let credit = Credit { limit: 1 << 20, received: 0, durable: 0 };
        peer.send(id.to_wire(), Frame::Credit(credit)).unwrap();
        for _ in 0..499 {
            peer.victim().send_chat(&Chat::new("")).unwrap();
        }
        peer.converse();
        assert_eq!(peer.kinds()[&Kind::CHAT], 499);
        peer.victim().send_data(id, 0, vec![1; 10].into()).unwrap();
        peer.converse();
        assert_eq!(peer.kinds().get(&Kind::DATA), None);
        peer.wait(Duration::from_secs(2));
        assert_eq!(peer.kinds()[&Kind::DATA], 1);
    }
}

#[test]
fn what_arrives_of_files_pays_for_small_frames_by_a_sixteenth() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        offer(&mut peer, 1, &Offer::new("file")).unwrap();
        accept(&mut peer, 1);
        start(&mut peer, 1, 0).unwrap();
        for _ in 0..600 {
            peer.victim().send_chat(&Chat::new("")).unwrap();
        }
        peer.converse();
        assert_eq!(peer.kinds()[&Kind::CHAT], 499);
        for _ in 0..4 {
            data(&mut peer, 1, 16_384).unwrap();
        }
        peer.converse();
        assert_eq!(peer.kinds()[&Kind::CHAT], 503);
    }
}
