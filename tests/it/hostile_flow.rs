//! Hostile flow control and transfers: rows H11 to H16 of the project's list of hostile inputs, and
//! A4 to A10 of its list of attacks; those about offsets in DATA are read as rules about START.

use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{Acceptance, ActionError, Conclusion, Config, Error, Event, Receipt};
use duologue::wire::{
    Accept, Ack, Chat, CloseCode, Credit, Digest, Finish, Frame, Header, Kind, Limits, Message,
    Offer, Start, TransferCode, Verdict,
};

use crate::raw_peer::{ROLES, RawPeer};
use crate::state_transfers::{SIZE, accept, cancel, data, finish, offer, start, transfer};

pub(crate) const FAILED: Conclusion<'static> =
    Conclusion::Failed { code: TransferCode::DECLINED, text: "enough" };

/// The raw peer's transfer of this number, open and started.
pub(crate) fn open(peer: &mut RawPeer, number: u32) {
    offer(peer, number, &Offer::new("file")).unwrap();
    accept(peer, number);
    start(peer, number, 0).unwrap();
}

/// A transfer of the victim's that is accepted, with `queued` bytes to send.
fn send(peer: &mut RawPeer, offer: &Offer<'_>, queued: usize) -> u32 {
    let now = peer.now;
    let id = peer.victim().offer(offer, now).unwrap();
    peer.converse();
    peer.send(id.to_wire(), Frame::Accept(Accept::default())).unwrap();
    if queued > 0 {
        peer.victim().send_data(id, 0, Bytes::from(vec![5; queued])).unwrap();
    }
    id.to_wire()
}

fn credit(limit: u64, received: u64, durable: u64) -> Frame<'static> {
    Frame::Credit(Credit { limit, received, durable })
}

fn credit_of(peer: &RawPeer, id: u32) -> Credit {
    let frames = peer.stream.frames.iter().rev();
    let seen = frames.clone().find(|f| f.header.kind == Kind::CREDIT && f.header.id == id).unwrap();
    match seen.frame() {
        Frame::Credit(credit) => credit,
        frame => panic!("{frame:?}"),
    }
}

#[test]
fn h11_a6_credit_that_goes_back_or_beyond_what_was_sent() {
    for victim in ROLES {
        for (first, second) in [
            (credit(5000, 0, 0), credit(4999, 0, 0)),
            (credit(5000, 2000, 1000), credit(5000, 1999, 1000)),
            (credit(5000, 2000, 1000), credit(5000, 2000, 999)),
            (credit(5000, 0, 0), credit(6000, 5001, 0)),
        ] {
            let mut peer = RawPeer::open(victim);
            let id = send(&mut peer, &Offer::new("file"), 5000);
            peer.send(id, credit(5000, 0, 0)).unwrap();
            peer.converse();
            peer.send(id, first).unwrap();
            let result = peer.send(id, second);
            peer.assert_refused(result, CloseCode::PROTOCOL);
        }
        // What contradicts itself is no credit at all.
        for numbers in [[10, 11, 0_u64], [10, 5, 6]] {
            let mut peer = RawPeer::open(victim);
            let id = send(&mut peer, &Offer::new("file"), 5000);
            let payload: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
            let result = peer.send_raw(Kind::CREDIT, id, &payload);
            peer.assert_refused(result, CloseCode::MALFORMED);
        }
    }
}

#[test]
fn a6_acknowledgements_of_what_was_not_sent_or_that_go_back() {
    for victim in ROLES {
        let wrong: [fn(&mut RawPeer) -> Ack; 4] = [
            |peer| Ack { next: [2, 0], received: peer.stream.theirs.len() as u64 },
            |peer| Ack { next: [1, 1], received: peer.stream.theirs.len() as u64 },
            |peer| Ack { next: [1, 0], received: peer.stream.theirs.len() as u64 + 1 },
            |peer| Ack { next: [1, 0], received: peer.stream.acknowledged - 1 },
        ];
        for wrong in wrong {
            let mut peer = RawPeer::open(victim);
            peer.victim().send_chat(&Chat::new("one")).unwrap();
            peer.drain();
            peer.acknowledge().unwrap();
            let ack = wrong(&mut peer);
            let result = peer.send(0, Frame::Ack(ack));
            peer.assert_refused(result, CloseCode::PROTOCOL);
        }
        let mut peer = RawPeer::open(victim);
        peer.victim().send_chat(&Chat::new("one")).unwrap();
        peer.drain();
        peer.acknowledge().unwrap();
        let received = peer.stream.theirs.len() as u64;
        let result = peer.send(0, Frame::Ack(Ack { next: [0, 0], received }));
        peer.assert_refused(result, CloseCode::PROTOCOL);
    }
}

#[test]
fn a6_no_item_is_acknowledged_before_its_last_byte_is() {
    for victim in ROLES {
        for lane in [0, 1] {
            let mut one = [0, 0];
            one[lane] = 1;
            let said = |read: usize| {
                let mut peer = RawPeer::open(victim);
                peer.is_reading = false;
                if lane == 0 {
                    peer.victim().send_chat(&Chat::new("one")).unwrap();
                } else {
                    let body = b"one"[..].into();
                    let (message_type, is_reply, correlation) = (1, false, 0);
                    let message = Message { message_type, is_reply, correlation, body };
                    peer.victim().send_message(&message).unwrap();
                }
                let before = peer.stream.theirs.len() as u64;
                while read == usize::MAX && peer.read(read) > 0 {}
                peer.read(read);
                (peer, before)
            };
            // All of it has left, but the peer says that it has none of it, or not its last byte.
            for missing in [u64::MAX, 1] {
                let (mut peer, before) = said(usize::MAX);
                let received =
                    (peer.stream.theirs.len() as u64).saturating_sub(missing).max(before);
                let result = peer.send(0, Frame::Ack(Ack { next: one, received }));
                peer.is_reading = true;
                peer.assert_refused(result, CloseCode::PROTOCOL);
            }
            // No more than its first byte has left: it is not delivered, whatever the peer says.
            let (mut peer, before) = said(1);
            assert_eq!(peer.stream.theirs.len() as u64, before + 1);
            let ack = Ack { next: one, received: before + 1 };
            let result = peer.send(0, Frame::Ack(ack));
            assert_eq!(result.unwrap_err().code(), Some(CloseCode::PROTOCOL));
            let told = |event: &Event<'_>| matches!(event, Event::Receipts { receipt, .. } if *receipt == Receipt::Delivered);
            assert!(!peer.events.iter().any(told));
            // What came on an earlier stream is acknowledged by its number alone.
            let (mut peer, _) = said(usize::MAX);
            peer.cut();
            peer.is_reading = true;
            peer.resume(one);
            peer.send(0, Frame::Ack(Ack { next: one, received: 0 })).unwrap();
            assert!(peer.events.iter().any(told));
        }
    }
}

#[test]
fn a6_no_credit_for_ever_stalls_one_transfer_and_no_other() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let starved = send(&mut peer, &Offer::new("starved"), 5000);
        let served = send(&mut peer, &Offer::new("served").size(SIZE), 5000);
        for step in 1..=13_u64 {
            peer.wait(Duration::from_secs(10));
            let received = (step * 300).min(5000);
            let limit = (step * 400).min(5000);
            peer.send(served, credit(limit, received.min((step - 1) * 400), 0)).unwrap();
            peer.victim().send_chat(&Chat::new("still here")).unwrap();
            peer.drain();
            peer.acknowledge().unwrap();
        }
        let expired = Event::Expired { transfer: transfer(starved) };
        assert!(peer.events.contains(&expired));
        assert!(!peer.events.contains(&Event::Expired { transfer: transfer(served) }));
        let cancels = peer.frames_of(Kind::CANCEL);
        assert!(matches!(&cancels[..], [Frame::Cancel(c)] if c.code == TransferCode::STALLED));
    }
}

#[test]
fn h12_a5_the_first_frame_is_larger_than_the_credit() {
    for victim in ROLES {
        let config =
            Config::builder().receive_window(65_536).reserved_window(4096).build().unwrap();
        let mut peer = RawPeer::open_with(victim, config, Limits::default());
        open(&mut peer, 1);
        let limit = credit_of(&peer, peer.ours(1)).limit;
        assert!(limit < 65_536);
        let length = u32::try_from(limit).unwrap() + 1;
        let id = peer.ours(1);
        // Judged by its header, before any of it is there.
        let result = if length <= 16_384 {
            peer.send_bytes(&Header { length, kind: Kind::DATA, id }.encode())
        } else {
            let whole = limit as usize / 16_384;
            for _ in 0..whole {
                data(&mut peer, 1, 16_384).unwrap();
            }
            peer.events.clear();
            let length = length - 16_384 * whole as u32;
            peer.send_bytes(&Header { length: length.max(16_384), kind: Kind::DATA, id }.encode())
        };
        peer.assert_refused(result, CloseCode::CREDIT);
        assert!(peer.happened().is_empty());
    }
}

type Step = fn(&mut RawPeer) -> Result<(), Error>;

/// DATA and START where the page forbids them, and the code.
fn misplaced() -> [(&'static str, Step, CloseCode); 8] {
    [
        ("unknown", |peer| data(peer, 1, 2000), CloseCode::PROTOCOL),
        (
            "not accepted",
            |peer| {
                offer(peer, 1, &Offer::new("file"))?;
                data(peer, 1, 2000)
            },
            CloseCode::PROTOCOL,
        ),
        (
            "before START",
            |peer| {
                offer(peer, 1, &Offer::new("file"))?;
                accept(peer, 1);
                data(peer, 1, 2000)
            },
            CloseCode::PROTOCOL,
        ),
        (
            "beyond the size",
            |peer| {
                offer(peer, 1, &Offer::new("file").size(3000))?;
                accept(peer, 1);
                start(peer, 1, 0)?;
                data(peer, 1, 2000)?;
                peer.events.clear();
                data(peer, 1, 1001)
            },
            CloseCode::CREDIT,
        ),
        (
            "beyond the total",
            |peer| {
                open(peer, 1);
                finish(peer, 1, 1500)?;
                peer.events.clear();
                data(peer, 1, 1501)
            },
            CloseCode::CREDIT,
        ),
        (
            "a START at an offset that nobody named",
            |peer| {
                offer(peer, 1, &Offer::new("file").size(3000))?;
                accept(peer, 1);
                start(peer, 1, 1)
            },
            CloseCode::PROTOCOL,
        ),
        (
            "a second START",
            |peer| {
                open(peer, 1);
                peer.events.clear();
                start(peer, 1, 0)
            },
            CloseCode::PROTOCOL,
        ),
        (
            "START at 0 after FINISH",
            |peer| {
                offer(peer, 1, &Offer::new("file").size(SIZE))?;
                let (id, now) = (transfer(peer.ours(1)), peer.now);
                let prefix = Some((500, Digest::Sha256([1; 32])));
                peer.victim().accept(id, Acceptance { prefix }, now).unwrap();
                start(peer, 1, 500)?;
                finish(peer, 1, SIZE)?;
                peer.events.clear();
                start(peer, 1, 0)
            },
            CloseCode::PROTOCOL,
        ),
    ]
}

#[test]
fn h12_a5_data_where_none_may_be() {
    for victim in ROLES {
        for (name, step, code) in misplaced() {
            println!("{name}");
            let mut peer = RawPeer::open(victim);
            let result = step(&mut peer);
            peer.assert_refused(result, code);
            let offered = |e: &&Event<'_>| matches!(e, Event::Offered { .. });
            assert!(peer.happened().iter().all(offered), "{name}: {:?}", peer.events);
        }
    }
}

#[test]
fn h13_a8_what_is_sent_to_a_peer_that_never_reads_is_bounded() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        peer.is_reading = false;
        let body = vec![1; 10_000].into();
        let message = Message { message_type: 1, is_reply: false, correlation: 0, body };
        let mut blocked = 0;
        for number in 1..=90 {
            if let Ok(id) = peer.victim().offer(&Offer::new("file"), duologue::time::Time::ZERO) {
                let _ = peer.victim().send_data(id, 0, vec![1; 1 << 20].into());
            }
            for _ in 0..30 {
                blocked += usize::from(peer.victim().send_message(&message).is_err());
                blocked +=
                    usize::from(peer.victim().send_chat(&Chat::new("x".repeat(9000))).is_err());
            }
            peer.send(0, Frame::Ping(duologue::wire::Ping { token: [number; 8] })).unwrap();
            let now = peer.now;
            assert!(peer.victim().poll_transmit(now).len() <= 256 * 1024 + 16_392);
            peer.assert_bounded();
        }
        assert!(blocked > 4000);
        // It ends by the clock: what is never read is never acknowledged.
        peer.wait(Duration::from_secs(61));
        assert!(peer.victim().is_detached());
        peer.assert_bounded();
    }
}

#[test]
fn h14_a16_both_saturate_and_chat_goes_on() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        // Ours is never released by the application there; theirs gets no credit from us.
        open(&mut peer, 1);
        let limit = credit_of(&peer, peer.ours(1)).limit as usize;
        for _ in 0..limit / 16_384 {
            data(&mut peer, 1, 16_384).unwrap();
        }
        send(&mut peer, &Offer::new("no credit"), 100_000);
        peer.assert_bounded();
        // Another transfer each way and chat go on.
        open(&mut peer, 2);
        data(&mut peer, 2, 4096).unwrap();
        assert!(matches!(peer.events.last(), Some(Event::Data { .. })));
        let id = send(&mut peer, &Offer::new("credit"), 5000);
        peer.stream.frames.clear();
        peer.send(id, credit(5000, 0, 0)).unwrap();
        peer.converse();
        assert_eq!(peer.kinds().get(&Kind::DATA), Some(&1));
        peer.send(0, Frame::Chat(Chat::new("hello"))).unwrap();
        assert!(matches!(peer.events.last(), Some(Event::Chat { .. })));
        peer.victim().send_chat(&Chat::new("hello")).unwrap();
        peer.drain();
        assert_eq!(peer.kinds().get(&Kind::CHAT), Some(&1));
    }
}

#[test]
fn h15_a9_offers_that_nobody_answers() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let large = Offer::new("n".repeat(255)).metadata(vec![1; 4096]);
        for number in 1..=16 {
            offer(&mut peer, number, &large).unwrap();
        }
        peer.assert_bounded();
        peer.take_all();
        let result = offer(&mut peer, 17, &large);
        peer.assert_refused(result, CloseCode::LIMIT);
        assert_eq!(peer.happened().len(), 16);
        // Cancelled ones count until they are answered.
        let mut peer = RawPeer::open(victim);
        for number in 1..=16 {
            offer(&mut peer, number, &large).unwrap();
            cancel(&mut peer, number).unwrap();
        }
        let result = offer(&mut peer, 17, &large);
        peer.assert_refused(result, CloseCode::LIMIT);
        // And open ones against the limit of all.
        let mut peer = RawPeer::open(victim);
        for number in 1..=80 {
            open(&mut peer, number);
        }
        peer.assert_bounded();
        let result = offer(&mut peer, 81, &large);
        peer.assert_refused(result, CloseCode::LIMIT);
        // A limit of 0 means none.
        let config = Config::builder().max_transfers(0).max_undecided(0).build().unwrap();
        let mut peer = RawPeer::open_with(victim, config, Limits::default());
        let result = offer(&mut peer, 1, &large);
        peer.assert_refused(result, CloseCode::LIMIT);
    }
}

#[test]
fn h15_a4_ids_of_the_other_side_with_gaps_used_again_or_none() {
    for victim in ROLES {
        let peer = RawPeer::open(victim);
        let (last, theirs) = (peer.ours(0x7FFF_FFFF), peer.theirs(1));
        for id in [peer.ours(2), theirs, last] {
            let mut peer = RawPeer::open(victim);
            let result = peer.send(id, Frame::Offer(Offer::new("file")));
            peer.assert_refused(result, CloseCode::PROTOCOL);
        }
        for kind in [Kind::OFFER, Kind::DATA, Kind::CREDIT, Kind::VERDICT] {
            for id in [0, 0x8000_0000] {
                let mut peer = RawPeer::open(victim);
                let result = peer.send_raw(kind, id, b"\x81\0\x01n");
                peer.assert_refused(result, CloseCode::MALFORMED);
            }
        }
        // The id of a transfer that has ended is not offered again.
        let mut peer = RawPeer::open(victim);
        offer(&mut peer, 1, &Offer::new("file")).unwrap();
        let id = transfer(peer.ours(1));
        peer.victim().reject(id, TransferCode::DECLINED, "").unwrap();
        peer.drain();
        let result = offer(&mut peer, 1, &Offer::new("file"));
        peer.assert_refused(result, CloseCode::PROTOCOL);
    }
}

#[test]
fn h16_an_item_has_no_holes_and_is_bounded() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        // Parts of both lanes at once: each is put together by itself.
        peer.send_raw(Kind::PART, 1, &[0; 2000]).unwrap();
        peer.send_raw(Kind::PART, 0, &[0; 2000]).unwrap();
        peer.send_raw(Kind::CHAT, 0, b"end").unwrap();
        assert!(matches!(&peer.events[..], [Event::Chat { chat, .. }] if chat.text.len() == 2001));
        let mut result = Ok(());
        while result.is_ok() {
            result = peer.send_raw(Kind::PART, 1, &[0; 16_384]);
            assert!(peer.victim().memory_usage() < 400_000);
        }
        peer.assert_refused(result, CloseCode::TOO_LARGE);
    }
}

#[test]
fn a10_sizes_that_lie() {
    for victim in ROLES {
        // FINISH with another total than the offered size, or below what came.
        for total in [SIZE - 1, SIZE + 1, 0] {
            let mut peer = RawPeer::open(victim);
            offer(&mut peer, 1, &Offer::new("file").size(SIZE)).unwrap();
            accept(&mut peer, 1);
            let result = finish(&mut peer, 1, total);
            peer.assert_refused(result, CloseCode::PROTOCOL);
        }
        let mut peer = RawPeer::open(victim);
        open(&mut peer, 1);
        data(&mut peer, 1, 2000).unwrap();
        let result = finish(&mut peer, 1, 1999);
        peer.assert_refused(result, CloseCode::PROTOCOL);
        // Nothing is stored before all of it is there.
        let mut peer = RawPeer::open(victim);
        open(&mut peer, 1);
        finish(&mut peer, 1, 2000).unwrap();
        let (id, stored) = (transfer(peer.ours(1)), Conclusion::Stored { name: "file" });
        assert_eq!(peer.victim().conclude(id, &stored), Err(ActionError::WrongState(id)));
        data(&mut peer, 1, 2000).unwrap();
        peer.victim().conclude(id, &stored).unwrap();
        // An empty file is a normal one, without START.
        let mut peer = RawPeer::open(victim);
        offer(&mut peer, 1, &Offer::new("empty").size(0)).unwrap();
        accept(&mut peer, 1);
        finish(&mut peer, 1, 0).unwrap();
        peer.victim().conclude(id, &stored).unwrap();
        peer.converse();
        assert_eq!(peer.kinds().get(&Kind::VERDICT), Some(&1));
        // And as the sender: "stored" of another total.
        let mut peer = RawPeer::open(victim);
        let id = send(&mut peer, &Offer::new("file"), 0);
        peer.victim().finish(transfer(id), None).unwrap();
        peer.drain();
        let wrong = Verdict { code: TransferCode::STORED, total: 1, text: "x".into() };
        let result = peer.send(id, Frame::Verdict(wrong));
        peer.assert_refused(result, CloseCode::PROTOCOL);
    }
}

#[test]
fn a11_a_digest_of_another_algorithm_than_the_offers() {
    for victim in ROLES {
        for (offered, finished, is_right) in [
            (Some(Digest::Blake3([1; 32])), Some(Digest::Sha256([1; 32])), false),
            (None, Some(Digest::Sha256([1; 32])), false),
            (None, Some(Digest::Blake3([1; 32])), true),
            (Some(Digest::Sha256([1; 32])), Some(Digest::Sha256([2; 32])), true),
            (Some(Digest::Sha256([1; 32])), None, true),
        ] {
            let mut peer = RawPeer::open(victim);
            let file = Offer { digest: offered, ..Offer::new("file") };
            offer(&mut peer, 1, &file).unwrap();
            accept(&mut peer, 1);
            let finish = Finish { total: 0, digest: finished };
            let result = peer.send(peer.ours(1), Frame::Finish(finish));
            if is_right {
                result.unwrap();
            } else {
                peer.assert_refused(result, CloseCode::PROTOCOL);
            }
        }
    }
}

#[test]
fn finish_does_not_overtake_the_start_that_makes_it_true() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let now = peer.now;
        let id = peer.victim().offer(&Offer::new("file").seekable(), now).unwrap();
        peer.converse();
        let accept = Accept { offset: 3000, prefix: Some(Digest::Blake3([9; 32])) };
        peer.send(id.to_wire(), Frame::Accept(accept)).unwrap();
        peer.send(id.to_wire(), credit(9000, 3000, 0)).unwrap();
        // The prefix is another one: all is sent anew, and happens to be as long.
        peer.victim().restart(id).unwrap();
        peer.victim().send_data(id, 0, Bytes::from(vec![1; 3000])).unwrap();
        peer.victim().finish(id, None).unwrap();
        peer.converse();
        let order: Vec<Kind> = peer.stream.frames.iter().map(|seen| seen.header.kind).collect();
        let place = |kind| order.iter().position(|k| *k == kind);
        assert!(place(Kind::START) < place(Kind::FINISH), "{order:?}");
        assert_eq!(peer.frames_of(Kind::START), [Frame::Start(Start { offset: 0 })]);
        assert!(place(Kind::FINISH).is_some());
    }
}

#[test]
fn a4_late_frames_of_a_rejected_or_ended_transfer_spend_the_allowance_and_no_more() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        open(&mut peer, 1);
        let limit = credit_of(&peer, peer.ours(1)).limit as usize;
        let id = transfer(peer.ours(1));
        peer.victim().conclude(id, &FAILED).unwrap();
        peer.events.clear();
        // In frames of 1 KiB it costs nothing, however many they are.
        let mut left = limit;
        while left >= 1024 {
            data(&mut peer, 1, 1024).unwrap();
            left -= 1024;
        }
        assert!(peer.events.is_empty());
        let result = data(&mut peer, 1, left + 1);
        peer.assert_refused(result, CloseCode::CREDIT);
    }
}
