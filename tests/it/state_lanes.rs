//! Section 5 of PROTOCOL.md, cell by cell: the lanes of both ends.

use std::time::Duration;

use duologue::proto::{Config, Event, ItemId, Lane, Opening, Receipt};
use duologue::wire::{Ack, Chat, CloseCode, Frame, Kind, Limits, Message, Resume, Side};

use crate::raw_peer::{ROLES, RawPeer};
use crate::state_tables::{Cell, Table};

const LANES: [Lane; 2] = [Lane::Chat, Lane::Control];

fn id_of(lane: Lane) -> u32 {
    u32::from(lane == Lane::Control)
}

/// The kind of an item of the lane, and a payload of this many bytes.
fn payload_of(lane: Lane, len: usize) -> (Kind, Vec<u8>) {
    let mut out = Vec::new();
    match lane {
        Lane::Chat => Chat::new("x".repeat(len - 2)).encode(&mut out).unwrap(),
        Lane::Control => {
            let body = vec![1; len - 11].into();
            let message = Message { message_type: 1, is_reply: false, correlation: 0, body };
            message.encode(&mut out).unwrap();
        }
    }
    let kind = if lane == Lane::Chat { Kind::CHAT } else { Kind::MESSAGE };
    (kind, out)
}

/// Sizes of the items in the events, as whole payloads.
fn items(peer: &RawPeer) -> Vec<(ItemId, usize)> {
    let size = |event: &Event<'_>| match event {
        Event::Chat { item, chat } => Some((*item, chat.text.len() + 2)),
        Event::Message { item, message } => Some((*item, message.body.len() + 11)),
        _ => None,
    };
    peer.events.iter().filter_map(size).collect()
}

#[test]
fn every_cell_of_the_table_of_a_receiving_lane() {
    let table = Table::find(5, "lane, receiving", "end frame");
    let (mut cells, mut driven) = (0, 0);
    for cell in table.cells() {
        cells += 1;
        for victim in ROLES {
            for lane in LANES {
                receive(cell, victim, lane);
                driven += 1;
            }
        }
    }
    println!("receiving lane: {cells} cells, driven {driven} times");
}

fn receive(cell: Cell<'_>, victim: Side, lane: Lane) {
    println!("{} | {} | {} ({victim:?}, {lane:?})", cell.row, cell.column, cell.text);
    let config = Config::builder().max_item(16_384).max_fragment(8192).build().unwrap();
    let mut peer = RawPeer::open_with(victim, config, Limits::default());
    let (kind, whole) = payload_of(lane, 3000);
    let (first, rest) = whole.split_at(1024);
    let begun = match cell.row {
        "idle" => 0,
        "begun" => {
            peer.send_raw(Kind::PART, id_of(lane), first).unwrap();
            first.len()
        }
        row => panic!("PROTOCOL.md has a state that this test does not know: {row}"),
    };
    assert_eq!(items(&peer), [], "nothing takes effect before its end");
    let item = ItemId { lane, number: 0 };
    match (cell.column, cell.text) {
        ("PART", "begun") => {
            peer.send_raw(Kind::PART, id_of(lane), first).unwrap();
            assert_eq!(items(&peer), []);
            peer.send_raw(kind, 0, rest).unwrap();
            assert_eq!(items(&peer), [(item, 3000)]);
        }
        ("PART", "begun; over the limit `too_large`, at the header") => {
            let (_, whole) = payload_of(lane, 16_384 - 11 + begun);
            for piece in whole[begun..].chunks(8192).take(1) {
                peer.send_raw(Kind::PART, id_of(lane), piece).unwrap();
            }
            assert_eq!(items(&peer), []);
            // 8192 more were too many by 1024, whether it has come or not.
            let header = duologue::wire::Header { length: 8192, kind: Kind::PART, id: id_of(lane) };
            let result = peer.send_bytes(&header.encode());
            peer.assert_refused(result, CloseCode::TOO_LARGE);
            assert_eq!(items(&peer), []);
        }
        ("end frame", "takes effect; idle") => {
            let end = &whole[begun..];
            peer.send_raw(kind, 0, end).unwrap();
            assert_eq!(items(&peer), [(item, 3000)]);
            // Idle: the next item is its own.
            let (kind, small) = payload_of(lane, 20);
            peer.send_raw(kind, 0, &small).unwrap();
            assert_eq!(items(&peer)[1], (ItemId { lane, number: 1 }, 20));
            // An empty frame ends what came in parts, too.
            peer.send_raw(Kind::PART, id_of(lane), &whole[..2048]).unwrap();
            peer.send_raw(kind, 0, &[]).unwrap();
            assert_eq!(items(&peer)[2], (ItemId { lane, number: 2 }, 2048));
        }
        ("break", "idle" | "forgotten; idle") => {
            peer.send(
                0,
                Frame::Ack(Ack { next: [0, 0], received: peer.stream.theirs.len() as u64 }),
            )
            .unwrap();
            peer.cut();
            peer.events.clear();
            peer.resume([0, 0]);
            let Some(Frame::Resume(resume)) = peer.frames_of(Kind::RESUME).pop() else { panic!() };
            assert_eq!(resume.next, [0, 0], "nothing was received whole");
            // It begins with its first byte again.
            peer.send_raw(kind, 0, &whole).unwrap();
            assert_eq!(items(&peer), [(item, 3000)]);
        }
        (column, text) => panic!("PROTOCOL.md says what this test does not know: {column} {text}"),
    }
}

/// A message that goes in several frames.
const LARGE: usize = 40_000;

fn queue(peer: &mut RawPeer, lane: Lane) -> ItemId {
    match lane {
        Lane::Chat => peer.victim().send_chat(&Chat::new("x".repeat(LARGE - 2))).unwrap(),
        Lane::Control => {
            let body = vec![1; LARGE - 11].into();
            let message = Message { message_type: 1, is_reply: false, correlation: 0, body };
            peer.victim().send_message(&message).unwrap()
        }
    }
}

/// Frames of the lane that ended or began an item of ours on this stream.
fn frames(peer: &RawPeer, lane: Lane) -> usize {
    let is_of = |header: &duologue::wire::Header| match header.kind {
        Kind::PART => header.id == id_of(lane),
        kind => kind.lane() == Some(id_of(lane) as u8),
    };
    peer.stream.frames.iter().filter(|seen| is_of(&seen.header)).count()
}

fn receipts(peer: &RawPeer, lane: Lane) -> Vec<Receipt> {
    let receipt = |event: &Event<'_>| match event {
        Event::Receipts { lane: of, receipt, numbers } if *of == lane && *numbers == (0..1) => {
            Some(*receipt)
        }
        Event::Receipts { .. } => panic!("{event:?}"),
        _ => None,
    };
    peer.events.iter().filter_map(receipt).collect()
}

/// Reads the whole item, acknowledging bytes but no item.
fn read_whole(peer: &mut RawPeer) {
    for _ in 0..20 {
        peer.drain();
        let received = peer.stream.theirs.len() as u64;
        peer.send(0, Frame::Ack(Ack { next: [0, 0], received })).unwrap();
    }
}

#[test]
fn every_cell_of_the_table_of_a_sent_item() {
    let table = Table::find(5, "item, sending", "acknowledged");
    let (mut cells, mut driven) = (0, 0);
    for cell in table.cells() {
        cells += 1;
        for victim in ROLES {
            for lane in LANES {
                send(cell, victim, lane);
                driven += 1;
            }
        }
    }
    println!("sent item: {cells} cells, driven {driven} times");
}

/// Brings an item of the victim's into the state of the row.
fn bring(row: &str, victim: Side, lane: Lane) -> RawPeer {
    let mut peer = RawPeer::open(victim);
    peer.is_reading = false;
    queue(&mut peer, lane);
    match row {
        "queued" => {}
        "begun" => {
            while peer.read(1000) == 1000 && frames(&peer, lane) == 0 {}
            // The first frame has left, the second has begun at most.
            assert_eq!(frames(&peer, lane), 1);
        }
        "sent" => {
            read_whole(&mut peer);
            assert_eq!(peer.stream.next[id_of(lane) as usize], 1);
        }
        row => panic!("PROTOCOL.md has a state that this test does not know: {row}"),
    }
    peer
}

fn send(cell: Cell<'_>, victim: Side, lane: Lane) {
    println!("{} | {} | {} ({victim:?}, {lane:?})", cell.row, cell.column, cell.text);
    let mut peer = bring(cell.row, victim, lane);
    let mut one = [0, 0];
    one[id_of(lane) as usize] = 1;
    let received = peer.stream.theirs.len() as u64;
    match (cell.column, cell.text) {
        ("sent", "begun (numbered)" | "sent") => {
            read_whole(&mut peer);
            assert_eq!(peer.stream.next, one);
            peer.acknowledge().unwrap();
            assert_eq!(receipts(&peer, lane), [Receipt::Delivered]);
        }
        ("sent", "–") => {
            let before = frames(&peer, lane);
            read_whole(&mut peer);
            assert_eq!(frames(&peer, lane), before, "it does not go twice");
        }
        ("acknowledged", "–" | "`protocol`") => {
            let result = peer.send(0, Frame::Ack(Ack { next: one, received }));
            peer.is_reading = true;
            result.unwrap_err();
            assert_eq!(peer.victim().error().unwrap().code(), Some(CloseCode::PROTOCOL));
            let last = if cell.row == "queued" { Receipt::NotSent } else { Receipt::Unknown };
            assert_eq!(receipts(&peer, lane), [last]);
        }
        ("acknowledged", "delivered; `protocol` if it ends beyond *received*") => {
            let mut other = bring(cell.row, victim, lane);
            let result = other.send(0, Frame::Ack(Ack { next: one, received: received - 1 }));
            result.unwrap_err();
            assert_eq!(receipts(&other, lane), [Receipt::Unknown]);
            peer.send(0, Frame::Ack(Ack { next: one, received })).unwrap();
            assert_eq!(receipts(&peer, lane), [Receipt::Delivered]);
        }
        ("break", "queued" | "begun again at its number") => {
            peer.cut();
            peer.resume([0, 0]);
            read_whole(&mut peer);
            assert_eq!(peer.stream.next, one, "from its first byte, whole, once");
            peer.acknowledge().unwrap();
            assert_eq!(receipts(&peer, lane), [Receipt::Delivered]);
        }
        ("break", "waits for its ACK if below *next*, else begun again") => {
            for (next, again) in [(one, 0), ([0, 0], 3)] {
                let mut peer = bring(cell.row, victim, lane);
                peer.cut();
                peer.resume(next);
                read_whole(&mut peer);
                assert_eq!(frames(&peer, lane), again);
                assert_eq!(receipts(&peer, lane), []);
                peer.acknowledge().unwrap();
                assert_eq!(receipts(&peer, lane), [Receipt::Delivered]);
            }
        }
        ("fresh, or closed", "not sent" | "unknown") => {
            let receipt = if cell.text == "unknown" { Receipt::Unknown } else { Receipt::NotSent };
            peer.cut();
            if victim == Side::Client {
                fresh(&mut peer);
                assert_eq!(receipts(&peer, lane), [receipt]);
            }
            let mut peer = bring(cell.row, victim, lane);
            peer.cut();
            peer.wait(Duration::from_secs(301));
            assert!(peer.victim().is_closed());
            assert_eq!(receipts(&peer, lane), [receipt]);
        }
        (column, text) => panic!("PROTOCOL.md says what this test does not know: {column} {text}"),
    }
}

/// A client comes back to a server that knows nothing of it.
fn fresh(peer: &mut RawPeer) {
    peer.begin_attach();
    peer.is_reading = true;
    let hello = peer.hello();
    peer.greet_with(&hello).unwrap();
    peer.victim_accepts();
    let Some(Frame::Resume(resume)) = peer.frames_of(Kind::RESUME).pop() else { panic!() };
    assert_eq!(resume, Resume::default(), "a fresh conversation proves nothing");
    peer.accept_victim();
    assert_eq!(peer.events.last(), Some(&Event::Open(Opening::Fresh)));
}
