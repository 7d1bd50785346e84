//! However many transfers a configuration allows, giving them up is no flood.

use duologue::proto::{Config, Event};
use duologue::time::Time;
use duologue::wire::{
    Accept, Credit, Frame, Hello, Kind, Limits, Message, Offer, Ping, Side, TransferCode,
    TransferId, Verdict,
};

use crate::hostile_flow::FAILED;
use crate::raw_peer::{ROLES, RawPeer};
use crate::state_transfers::{accept, cancel, data, finish, offer, offer_batch, start, transfer};

const MOST: u32 = 4096;

/// How many transfers both sides allow, and how often all of them are given up in a row.
const CASES: [(u32, u32); 2] = [(MOST, 1), (200, 30)];

/// Both sides allow so many transfers.
fn most(victim: Side, transfers: u32) -> RawPeer {
    let config = Config::builder()
        .max_transfers(transfers)
        .max_undecided(transfers)
        .outgoing_transfers(transfers)
        .max_untaken(65_536)
        .max_untaken_bytes(16 << 20)
        .queued_items(65_536)
        .queued_bytes(16 << 20)
        .build()
        .unwrap();
    let limits = *config.limits();
    RawPeer::open_with(victim, config, limits)
}

/// What an honest sender may have sent of a small file before it knows that it has ended.
fn send_small(peer: &mut RawPeer, number: u32) {
    start(peer, number, 0).unwrap();
    data(peer, number, 10).unwrap();
    finish(peer, number, 10).unwrap();
    cancel(peer, number).unwrap();
}

fn settle(peer: &mut RawPeer) {
    peer.take_all();
    peer.converse();
    peer.settle();
}

#[test]
fn a_large_batch_that_its_receiver_gives_up_is_no_flood_of_its_sender() {
    for (victim, (transfers, rounds)) in ROLES.into_iter().flat_map(|v| CASES.map(|c| (v, c))) {
        let mut peer = most(victim, transfers);
        let mut number = 0;
        for _ in 0..rounds {
            number += 1;
            let batch = transfer(peer.ours(number));
            offer_batch(&mut peer, number, 1_000_000).unwrap();
            accept(&mut peer, number);
            peer.victim().conclude(batch, &FAILED).unwrap();
            // All of these are on their way.
            let member = Offer { batch: Some(batch), ..Offer::new("dir/name") };
            peer.is_reading = false;
            for _ in 0..transfers - 1 {
                number += 1;
                offer(&mut peer, number, &member).unwrap();
                send_small(&mut peer, number);
                if number % 64 == 0 {
                    peer.drain();
                }
            }
            peer.is_reading = true;
            settle(&mut peer);
        }
    }
}

#[test]
fn many_members_that_their_receiver_cannot_store_are_no_flood_of_their_sender() {
    for (victim, (transfers, rounds)) in ROLES.into_iter().flat_map(|v| CASES.map(|c| (v, c))) {
        let mut peer = most(victim, transfers);
        offer_batch(&mut peer, 1, 1_000_000).unwrap();
        accept(&mut peer, 1);
        let member = Offer { batch: Some(transfer(peer.ours(1))), ..Offer::new("dir/name") };
        let mut number = 1;
        for _ in 0..rounds {
            peer.is_reading = false;
            let first = number + 1;
            for _ in 0..transfers - 1 {
                number += 1;
                offer(&mut peer, number, &member).unwrap();
            }
            for number in first..=number {
                let id = transfer(peer.ours(number));
                peer.victim().conclude(id, &FAILED).unwrap();
            }
            for number in first..=number {
                send_small(&mut peer, number);
            }
            peer.is_reading = true;
            settle(&mut peer);
        }
    }
}

/// Offers as many files as may be, which are cancelled; how many CANCEL leave at once.
fn cancel_all(peer: &mut RawPeer) -> usize {
    let offered: Vec<TransferId> =
        (0..MOST).map(|_| peer.victim().offer(&Offer::new("file"), Time::ZERO).unwrap()).collect();
    peer.converse();
    for id in &offered {
        peer.send(id.to_wire(), Frame::Accept(Accept::default())).unwrap();
        peer.victim().cancel(*id, TransferCode::CANCELLED, "").unwrap();
    }
    peer.converse();
    for id in &offered {
        let verdict = Verdict { code: TransferCode::CANCELLED, total: 0, text: "".into() };
        peer.send(id.to_wire(), Frame::Verdict(verdict)).unwrap();
    }
    let cancels = peer.kinds()[&Kind::CANCEL];
    settle(peer);
    cancels
}

#[test]
fn many_transfers_that_their_sender_gives_up_go_at_once_and_keep_within_half_of_the_budget() {
    for victim in ROLES {
        let mut peer = most(victim, MOST);
        // 6 for each of both limits, and half of that.
        let mut left = 6 * 2 * MOST as usize / 2;
        for _ in 0..2 {
            let cancels = cancel_all(&mut peer);
            assert_eq!(cancels, MOST as usize);
            left -= cancels;
        }
        assert!(left > 0);
        // And the other way: what comes so is no flood.
        let mut peer = most(victim, MOST);
        for number in 1..=MOST {
            offer(&mut peer, number, &Offer::new("file")).unwrap();
        }
        for number in 1..=MOST {
            cancel(&mut peer, number).unwrap();
        }
        assert!(peer.victim().is_open());
        let asked = |event: &&Event<'_>| matches!(event, Event::CancelAsked { .. });
        assert_eq!(peer.events.iter().filter(asked).count(), MOST as usize);
    }
}

#[test]
fn the_budget_is_a_thousand_or_six_for_each_transfer_that_both_allow() {
    for (ours, theirs, size) in [(80, 80, 1000), (0, 0, 1000), (100, 100, 1200), (0, 4096, 24_576)]
    {
        for victim in ROLES {
            let config = Config::builder().max_transfers(ours).build().unwrap();
            let limits = Limits { transfers: theirs, ..Limits::default() };
            let mut peer = RawPeer::open_with(victim, config, limits);
            let mut count = 0;
            while peer.send(0, Frame::Ping(Ping { token: [1; 8] })).is_ok() {
                count += 1;
            }
            assert_eq!(count, size);
        }
    }
}

#[test]
fn a_message_in_parts_earns_as_much_as_it_is_long_and_not_twice() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let ping = Frame::Ping(Ping { token: [1; 8] });
        for _ in 0..900 {
            peer.send(0, ping.clone()).unwrap();
        }
        // 16 KiB in all.
        for _ in 0..15 {
            peer.send_raw(Kind::PART, 0, &[0; 1024]).unwrap();
        }
        peer.send_raw(Kind::CHAT, 0, &[b'x'; 1024]).unwrap();
        let mut count = 0;
        while peer.send(0, ping.clone()).is_ok() {
            count += 1;
        }
        assert_eq!(count, 100 + 16);
    }
}

#[test]
fn the_ends_of_small_files_that_go_before_their_finish_are_paid_for() {
    const FILES: usize = 80;
    for victim in ROLES {
        // It may send one item ahead, and may offer many files.
        let limits = Limits { items: 1, undecided: FILES as u32, ..Limits::default() };
        let mut peer = RawPeer::open_with(victim, Config::default(), limits);
        let now = peer.now;
        let credit = Credit { limit: 100_000, received: 0, durable: 0 };
        let mut early = 0;
        for _ in 0..15 {
            let files: Vec<TransferId> = (0..FILES)
                .map(|_| peer.victim().offer(&Offer::new("file"), now).unwrap())
                .collect();
            peer.converse();
            for file in &files {
                peer.send(file.to_wire(), Frame::Accept(Accept::default())).unwrap();
                peer.send(file.to_wire(), Frame::Credit(credit)).unwrap();
            }
            settle(&mut peer);
            // Until this is acknowledged no FINISH may leave.
            let message =
                Message { message_type: 1, is_reply: false, correlation: 0, body: [][..].into() };
            peer.victim().send_message(&message).unwrap();
            peer.drain();
            for &file in &files {
                peer.victim().send_data(file, 0, b"ten bytes."[..].into()).unwrap();
                peer.victim().finish(file, None).unwrap();
            }
            peer.drain();
            assert_eq!(peer.frames_of(Kind::FINISH).len(), 0);
            early += peer.frames_of(Kind::DATA).len();
            peer.converse();
            // The rest went with it.
            assert_eq!(peer.frames_of(Kind::DATA).len(), FILES);
            assert_eq!(peer.frames_of(Kind::FINISH).len(), FILES);
            for file in &files {
                let verdict = Verdict { code: TransferCode::STORED, total: 10, text: "".into() };
                peer.send(file.to_wire(), Frame::Verdict(verdict)).unwrap();
            }
            settle(&mut peer);
        }
        // Half of the budget, and what OFFER and FINISH earn.
        assert!((500..550).contains(&early), "{early}");
    }
}

#[test]
fn a_conversation_that_begins_anew_has_a_budget_of_its_own() {
    // The server has lost it: it counts from the start, and may spend as much once more.
    let mut peer = RawPeer::open(Side::Client);
    let ping = Frame::Ping(Ping { token: [1; 8] });
    for _ in 0..2 {
        for _ in 0..1000 {
            peer.send(0, ping.clone()).unwrap();
        }
        peer.cut();
        peer.begin_attach();
        let hello = Hello { attach: 0, ..peer.hello() };
        peer.greet_with(&hello).unwrap();
        peer.accept_victim();
        peer.victim_accepts();
        assert!(peer.victim().is_open() && !peer.victim().is_detached());
    }
}

#[test]
fn short_data_that_reaches_the_end_costs_nothing_and_neither_does_a_kibibyte() {
    for victim in ROLES {
        for what in ["the size", "the total of FINISH", "a kibibyte", "a late kibibyte"] {
            let mut peer = RawPeer::open(victim);
            let is_short = what.starts_with("the");
            for number in 1..=6 {
                let file = Offer::new("file");
                let file = if what == "the size" { file.size(10) } else { file };
                offer(&mut peer, number, &file).unwrap();
                accept(&mut peer, number);
                start(&mut peer, number, 0).unwrap();
                if what == "the total of FINISH" {
                    finish(&mut peer, number, 10).unwrap();
                }
            }
            if what == "a late kibibyte" {
                let first = transfer(peer.ours(1));
                peer.victim().conclude(first, &FAILED).unwrap();
            }
            peer.take_all();
            peer.settle();
            // All but three of what may be spent.
            for _ in 0..997 {
                peer.send(0, Frame::Ping(Ping { token: [1; 8] })).unwrap();
            }
            for number in 1..=40 {
                let sent = match is_short {
                    true if number > 6 => break,
                    true => data(&mut peer, number, 10),
                    false => data(&mut peer, 1, 1024),
                };
                sent.unwrap_or_else(|error| panic!("{what}, {number}: {error}"));
            }
        }
    }
}
