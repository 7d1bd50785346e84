//! What goes before what on the wire.

use duologue::proto::{Config, Lane};
use duologue::testing::{Call, LinkOptions, Pair};
use duologue::wire::{Batch, Decoder, Kind, Offer, Piece, Side};

use super::proto_util::{Frame, client, finish_all, frames, millis, open, open_with, server};

/// A link that takes little at a time, so that frames are decided late.
fn narrow() -> LinkOptions {
    LinkOptions { rate: Some(1_000_000), buffer: 4096, segment: 1400, ..LinkOptions::default() }
}

/// An open pair whose rate is known, so that much may be under way.
fn warmed_up(client: Config, server: Config) -> Pair {
    let mut pair = open_with(client, server, LinkOptions::default());
    let now = pair.now();
    pair.client.offer(now, 1, 8 << 20, true).unwrap();
    finish_all(&mut pair);
    pair.run_for(millis(100));
    assert!(pair.client.machine.statistics().flight_allowance > 100_000);
    pair.tap();
    pair
}

/// Takes `len` bytes from the client, as a transport does that is nearly full.
fn write(pair: &mut Pair, len: usize) -> Vec<u8> {
    let now = pair.now();
    let mut taken = Vec::new();
    pair.client.machine.transmit(now, |next| {
        taken.extend_from_slice(&next[..len.min(next.len())]);
        taken.len()
    });
    taken
}

fn lane(frame: &Frame) -> Option<Lane> {
    match frame.kind {
        Kind::CHAT => Some(Lane::Chat),
        Kind::PART if frame.id == 0 => Some(Lane::Chat),
        Kind::PART => Some(Lane::Control),
        kind if kind.ends_item() => Some(Lane::Control),
        _ => None,
    }
}

fn first_kinds(bytes: &[u8], count: usize) -> Vec<Kind> {
    let at = duologue::time::Time::ZERO;
    frames(&[(at, bytes.to_vec())]).iter().map(|frame| frame.kind).take(count).collect()
}

#[test]
fn both_sides_full_of_messages_and_files_never_wait_for_each_other() {
    for link in [LinkOptions::default(), narrow()] {
        let mut pair = open_with(Config::default(), Config::default(), link);
        let now = pair.now();
        for side in [Side::Client, Side::Server] {
            let end = pair.end(side);
            for number in 0..10 {
                end.offer(now, number, 150_000, number % 2 == 0).unwrap();
            }
            for _ in 0..12 {
                end.tell(now, &[7; 60_000]).unwrap();
                end.say(now, &"x".repeat(3000)).unwrap();
            }
        }
        finish_all(&mut pair);
        pair.drive(100_000, |pair| {
            pair.client.receipts.len() >= 24 && pair.server().receipts.len() >= 24
        })
        .unwrap();
        // A second is 1 MB here, and 2.3 MB had to go each way.
        assert!(pair.now() < now.saturating_add(millis(5000)), "{:?}", pair.now());
    }
}

#[test]
fn chat_overtakes_what_is_planned_but_not_what_has_begun() {
    // How many bytes of the frame before it the transport has taken already.
    for begun in [0, 1, 7, 8, 9, 1000, 16_391, 16_392] {
        for is_bulk in [false, true] {
            let mut pair = warmed_up(Config::default(), Config::default());
            let now = pair.now();
            let before = if is_bulk {
                let id = pair.client.offer(now, 2, 1 << 20, true).unwrap();
                client(&mut pair, Call::Pause(id, true)).unwrap();
                pair.run_for(millis(100));
                client(&mut pair, Call::Pause(id, false)).unwrap();
                // PAUSE and START.
                let first = write(&mut pair, 9 + 16);
                assert_eq!(first_kinds(&first, 9), [Kind::PAUSE, Kind::START]);
                Kind::DATA
            } else {
                pair.client.tell(now, &[7; 60_000]).unwrap();
                Kind::PART
            };
            let mut bytes = write(&mut pair, begun);
            assert_eq!(bytes.len(), begun);
            let now = pair.now();
            pair.client.say(now, "quick").unwrap();
            bytes.extend(write(&mut pair, usize::MAX));
            let kinds = first_kinds(&bytes, 3);
            let expected = if begun == 0 {
                [Kind::CHAT, before, before]
            } else {
                [before, Kind::CHAT, before]
            };
            assert_eq!(kinds, expected, "after {begun} bytes");
        }
    }
}

#[test]
fn chat_overtakes_bulk_on_a_link_that_takes_little() {
    let mut pair = open_with(Config::default(), Config::default(), narrow());
    let now = pair.now();
    for seed in 0..10 {
        pair.client.offer(now, seed, 300_000, true).unwrap();
    }
    pair.run_for(millis(500));
    pair.tap();
    // After 4 KiB that the link has, at most one frame that had begun goes before it.
    for round in 0..50 {
        pair.run_for(millis(13));
        pair.tapped(Side::Client);
        let now = pair.now();
        pair.client.say(now, "quick").unwrap();
        pair.run_for(millis(60));
        let tapped = pair.tapped(Side::Client);
        let bytes: Vec<u8> = tapped.into_iter().flat_map(|(_, bytes)| bytes).collect();
        let text = bytes.windows(5).position(|window| window == b"quick").unwrap();
        // A frame of the measured rate is about 10 ms of it; 1 KiB of control; the header.
        let frame = 10_000 * 3 / 2 + 8;
        assert!(text <= frame + 1024 + 10, "{text} bytes before it in round {round}");
    }
}

#[test]
fn lanes_take_turns_by_fragment_after_a_chat_that_comes_first() {
    let mut pair = warmed_up(Config::default(), Config::default());
    let now = pair.now();
    pair.client.tell(now, &[7; 69_000]).unwrap();
    pair.client.say(now, &"x".repeat(69_000)).unwrap();
    pair.run_for(millis(100));
    let sent = frames(&pair.tapped(Side::Client));
    let lanes: Vec<Lane> = sent.iter().filter_map(lane).collect();
    use Lane::{Chat, Control};
    assert_eq!(lanes[0], Chat, "it was queued into an empty lane");
    assert_eq!(lanes.len(), 10);
    let turns = [Chat, Control, Chat, Control, Chat, Control, Chat, Control, Chat, Control];
    assert_eq!(lanes, turns);
}

#[test]
fn bulk_gets_one_frame_for_each_256_kib_of_messages() {
    let items = 16 << 20;
    let receiver = Config::builder().max_untaken_bytes(items).build().unwrap();
    let sender = Config::builder().queued_bytes(items).build().unwrap();
    let mut pair = warmed_up(sender, receiver);
    let now = pair.now();
    let id = pair.client.offer(now, 2, 4 << 20, true).unwrap();
    client(&mut pair, Call::Pause(id, true)).unwrap();
    pair.run_for(millis(100));
    pair.tap();
    client(&mut pair, Call::Pause(id, false)).unwrap();
    let now = pair.now();
    for _ in 0..60 {
        pair.client.tell(now, &[7; 60_000]).unwrap();
    }
    pair.drive(100_000, |pair| pair.client.receipts.len() > 60).unwrap();
    let sent = frames(&pair.tapped(Side::Client));
    let begun = sent.iter().position(|frame| frame.kind == Kind::DATA).unwrap();
    let last = sent.iter().rposition(|frame| lane(frame).is_some()).unwrap();
    let mut since = 0;
    let mut gaps = Vec::new();
    for frame in &sent[begun..last] {
        if frame.kind == Kind::DATA {
            gaps.push(std::mem::take(&mut since));
        } else if lane(frame).is_some() {
            since += frame.payload.len() + 8;
        }
    }
    let most = (256 << 10) + 16_384 + 8;
    assert!(gaps.len() > 10, "{gaps:?}");
    assert!(gaps.iter().all(|&gap| gap <= most), "{gaps:?}");
    let full = gaps.iter().filter(|&&gap| gap >= 256 << 10).count();
    assert!(full > 8, "{gaps:?}");
    assert!(pair.client.outgoing[&id].queued > 0);
}

#[test]
fn chat_without_end_holds_back_neither_files_nor_their_verdicts() {
    let link = LinkOptions { latency: millis(20), ..narrow() };
    let mut pair = open_with(Config::default(), Config::default(), link);
    let text = "x".repeat(1000);
    let flood = |pair: &mut Pair, rounds| {
        for _ in 0..rounds {
            let now = pair.now();
            for side in [Side::Client, Side::Server] {
                while pair.end(side).say(now, &text).is_ok() {}
            }
            pair.run_for(millis(10));
        }
    };
    flood(&mut pair, 100);
    let now = pair.now();
    let id = pair.client.offer(now, 1, 10_000, true).unwrap();
    // As long as 3 MB take here: a frame of the file for each 256 KiB, and as many of the other lane.
    flood(&mut pair, 300);
    let received = pair.server().incoming.get(&id).map(|file| file.received);
    assert!(received.is_some_and(|len| len == 10_000), "{received:?}");
    assert!(pair.client.outgoing[&id].verdict.is_some());
    assert!(pair.server().chats.len() > 3000, "{}", pair.server().chats.len());
}

#[test]
fn at_most_a_kib_of_control_goes_before_a_line_of_chat() {
    let mut pair = open();
    pair.server_mut().behaviour.releases = false;
    let now = pair.now();
    let mut ids = Vec::new();
    for round in 0..5 {
        for seed in 0..16 {
            ids.push(pair.client.offer(now, round * 16 + seed, 60_000, true).unwrap());
        }
        pair.run_for(millis(500));
    }
    assert_eq!(ids.len(), 80);
    pair.client.behaviour.takes = false;
    pair.tap();
    // The files wait for their verdict: it is credit that is told here.
    for &id in &ids {
        server(&mut pair, Call::Release(id, 60_000)).unwrap();
        server(&mut pair, Call::SetDurable(id, 60_000)).unwrap();
    }
    let now = pair.now();
    pair.server_mut().say(now, "quick").unwrap();
    pair.run_for(millis(100));
    let sent = frames(&pair.tapped(Side::Server));
    let chat = sent.iter().position(|frame| frame.kind == Kind::CHAT).unwrap();
    let before: usize = sent[..chat].iter().map(|frame| frame.payload.len() + 8).sum();
    assert!(before <= 1024 + 32, "{before}");
}

#[test]
fn files_take_turns() {
    let mut pair = warmed_up(Config::default(), Config::default());
    let now = pair.now();
    let ids = [2, 3, 4].map(|seed| pair.client.offer(now, seed, 200_000, true).unwrap().to_wire());
    finish_all(&mut pair);
    let sent = frames(&pair.tapped(Side::Client));
    let order: Vec<u32> = sent.iter().filter(|f| f.kind == Kind::DATA).map(|f| f.id).collect();
    // Once all are under way, none gets a second frame before the others had theirs.
    let begun = order.iter().position(|&id| id == ids[2]).unwrap();
    let end = order.iter().rposition(|&id| id == ids[0]).unwrap().saturating_sub(3);
    for (at, three) in order[begun..end].windows(3).enumerate() {
        let mut three = three.to_vec();
        three.sort_unstable();
        assert_eq!(three, ids, "at {at} of {order:?}");
    }
}

#[test]
fn an_offer_comes_before_the_data_of_a_member_and_accept_before_credit() {
    let mut pair = warmed_up(Config::default(), Config::default());
    let batch = Batch { name: "b".into(), count: 1, bytes: 10, metadata: vec![].into() };
    client(&mut pair, Call::OfferBatch(batch)).unwrap();
    pair.run_for(millis(100));
    pair.tap();
    let now = pair.now();
    let id = *pair.client.outgoing.keys().last().unwrap();
    let batch = duologue::wire::TransferId::new(Side::Client, id.number() + 1).unwrap();
    // Large metadata, so that the offer comes in fragments where these are small.
    let offer = Offer::new("file-7").size(10_000).metadata(vec![1; 4096]).batch(batch);
    let member = pair.client.offer_as(now, offer, 7, 10_000).unwrap();
    pair.run_for(millis(100));
    let sent = frames(&pair.tapped(Side::Client));
    let of = |kind| sent.iter().position(|f| f.kind == kind && f.id == member.to_wire());
    let order = [Kind::OFFER, Kind::START, Kind::DATA].map(|kind| of(kind).unwrap());
    assert!(order.is_sorted(), "{order:?}");
    let answers = frames(&pair.tapped(Side::Server));
    assert!(answers.iter().any(|f| f.kind == Kind::VERDICT && f.id == member.to_wire()));
    // An ordinary file: its credit follows its acceptance.
    let now = pair.now();
    let file = pair.client.offer(now, 8, 10_000, true).unwrap();
    pair.run_for(millis(100));
    let answers = frames(&pair.tapped(Side::Server));
    let of = |kind| answers.iter().position(|f| f.kind == kind && f.id == file.to_wire());
    assert!(of(Kind::ACCEPT).unwrap() < of(Kind::CREDIT).unwrap());
}

#[test]
fn every_frame_that_begins_is_finished() {
    // A transport that takes one byte, seven, or any other number at a time.
    for len in [1, 7, 8, 9, 1000] {
        let mut pair = warmed_up(Config::default(), Config::default());
        let now = pair.now();
        pair.client.tell(now, &[7; 5000]).unwrap();
        pair.client.say(now, "hello").unwrap();
        let mut decoder = Decoder::new();
        let mut stream = Vec::new();
        for round in 0.. {
            let bytes = write(&mut pair, len);
            if bytes.is_empty() {
                break;
            }
            if round % 3 == 0 && round < 300 {
                let now = pair.now();
                pair.client.say(now, &format!("{round}")).unwrap();
            }
            stream.extend_from_slice(&bytes);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (used, piece) = decoder.decode(rest);
                rest = &rest[used..];
                if let Some(Piece::Header(header)) = piece {
                    assert!(header.kind.is_known(), "{header:?}");
                }
            }
        }
        assert!(decoder.is_between_frames());
        // The other end understands all of it.
        let now = pair.now();
        assert!(pair.server_mut().receive(now, &stream));
        assert!(pair.server().messages == [vec![7; 5000]]);
        assert_eq!(pair.server().chats[0], "hello");
    }
}
