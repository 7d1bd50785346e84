//! Section 7 of PROTOCOL.md, cell by cell: the states of a transfer at both ends.

use bytes::Bytes;
use duologue::proto::{Acceptance, ActionError, Conclusion, Error, Event};
use duologue::wire::{
    Accept, Batch, Cancel, CloseCode, Credit, Digest, Finish, Frame, Kind, Offer, Pause, Reject,
    Side, Start, TransferCode, TransferId, Verdict,
};

use crate::raw_peer::{ROLES, RawPeer};
use crate::state_tables::{Cell, Table};

pub(crate) const SIZE: u64 = 10_000;
const FAILED: Conclusion<'static> = Conclusion::Failed { code: TransferCode::DECLINED, text: "no" };

pub(crate) fn transfer(id: u32) -> TransferId {
    TransferId::from_wire(id).unwrap()
}

/// The raw peer offers a file, as its transfer of this number.
pub(crate) fn offer(peer: &mut RawPeer, number: u32, offer: &Offer<'_>) -> Result<(), Error> {
    peer.send(peer.ours(number), Frame::Offer(offer.clone()))
}

/// It offers a batch.
pub(crate) fn offer_batch(peer: &mut RawPeer, number: u32, count: u32) -> Result<(), Error> {
    let batch = Batch { name: "batch".into(), count, bytes: 100, metadata: [][..].into() };
    peer.send(peer.ours(number), Frame::Batch(batch))
}

pub(crate) fn accept(peer: &mut RawPeer, number: u32) {
    let (id, now) = (transfer(peer.ours(number)), peer.now);
    peer.victim().accept(id, Acceptance::default(), now).unwrap();
    peer.converse();
}

pub(crate) fn data(peer: &mut RawPeer, number: u32, len: usize) -> Result<(), Error> {
    peer.send(peer.ours(number), Frame::Data(vec![7; len].into()))
}

pub(crate) fn start(peer: &mut RawPeer, number: u32, offset: u64) -> Result<(), Error> {
    peer.send(peer.ours(number), Frame::Start(Start { offset }))
}

pub(crate) fn cancel(peer: &mut RawPeer, number: u32) -> Result<(), Error> {
    let code = TransferCode::CANCELLED;
    peer.send(peer.ours(number), Frame::Cancel(Cancel { code, text: "".into() }))
}

pub(crate) fn finish(peer: &mut RawPeer, number: u32, total: u64) -> Result<(), Error> {
    peer.send(peer.ours(number), Frame::Finish(Finish { total, digest: None }))
}

fn pause(peer: &mut RawPeer, id: u32, is_paused: bool) -> Result<(), Error> {
    peer.send(id, Frame::Pause(Pause { is_paused }))
}

/// A transfer that ended with bytes on their way, and one that was rejected.
const RECEIVER_ROWS: &[(&str, &[&str])] = &[
    ("next id", &["plain"]),
    ("offered", &["plain"]),
    ("open", &["from 0", "from 5000"]),
    ("started", &["from 0", "from 5000"]),
    ("finishing", &["not started", "started"]),
    ("cancel asked", &["offered", "open", "started", "finishing"]),
    ("ended", &["rejected", "failed", "stored"]),
    ("any other id, or the other side's", &["a gap", "the other side's"]),
];

/// Brings the raw peer's transfer 1 into the state of the row; returns its id.
fn receive_in(peer: &mut RawPeer, row: &str, variant: &str) -> u32 {
    let id = peer.ours(1);
    match (row, variant) {
        ("next id", _) => return id,
        ("any other id, or the other side's", "a gap") => return peer.ours(2),
        ("any other id, or the other side's", _) => return peer.theirs(1),
        _ => {}
    }
    offer(peer, 1, &Offer::new("file").size(SIZE)).unwrap();
    let now = peer.now;
    let stages: &[&str] = match (row, variant) {
        ("offered", _) | ("cancel asked", "offered") => &[],
        ("open", "from 5000") => &["accept 5000"],
        ("open", _) | ("cancel asked", "open") => &["accept"],
        ("started", "from 5000") => &["accept 5000", "start 5000"],
        ("started", _) | ("cancel asked", "started") => &["accept", "start"],
        ("finishing", "not started") => &["accept", "finish"],
        ("finishing", _) | ("cancel asked", _) => &["accept", "start", "finish"],
        ("ended", "rejected") => &["reject"],
        ("ended", "failed") => &["accept", "start", "fail"],
        ("ended", _) => &["accept", "start", "finish", "data", "store"],
        (row, _) => panic!("PROTOCOL.md has a state that this test does not know: {row}"),
    };
    for stage in stages {
        match *stage {
            "accept" => accept(peer, 1),
            "accept 5000" => {
                let prefix = Some((5000, Digest::Blake3([1; 32])));
                peer.victim().accept(transfer(id), Acceptance { prefix }, now).unwrap();
            }
            "start" => start(peer, 1, 0).unwrap(),
            "start 5000" => start(peer, 1, 5000).unwrap(),
            "finish" => finish(peer, 1, SIZE).unwrap(),
            "data" => data(peer, 1, SIZE as usize).unwrap(),
            "reject" => {
                peer.victim().reject(transfer(id), TransferCode::DECLINED, "").map(drop).unwrap();
            }
            "fail" => peer.victim().conclude(transfer(id), &FAILED).map(drop).unwrap(),
            _ => {
                let stored = Conclusion::Stored { name: "file" };
                peer.victim().conclude(transfer(id), &stored).map(drop).unwrap();
            }
        }
        peer.drain();
    }
    if row == "cancel asked" {
        cancel(peer, 1).unwrap();
    }
    peer.take_all();
    peer.settle();
    id
}

fn send_to_receiver(peer: &mut RawPeer, id: u32, kind: Kind, offset: u64) -> Result<(), Error> {
    let code = TransferCode::CANCELLED;
    let frame = match kind {
        Kind::OFFER => Frame::Offer(Offer::new("other")),
        Kind::BATCH => Frame::Batch(Batch {
            name: "batch".into(),
            count: 1,
            bytes: 1,
            metadata: [][..].into(),
        }),
        Kind::START => Frame::Start(Start { offset }),
        Kind::DATA => Frame::Data(vec![7; 2000].into()),
        Kind::PAUSE => return pause(peer, id, true),
        Kind::FINISH => Frame::Finish(Finish { total: SIZE, digest: None }),
        _ => Frame::Cancel(Cancel { code, text: "".into() }),
    };
    peer.send(id, frame)
}

#[test]
fn every_cell_of_the_table_of_the_receiver() {
    let table = Table::find(7, "state", "OFFER, BATCH");
    let rows: Vec<&str> = RECEIVER_ROWS.iter().map(|(row, _)| *row).collect();
    assert_eq!(table.row_names(), rows);
    let (mut cells, mut driven) = (0, 0);
    for cell in table.cells() {
        cells += 1;
        let kinds: Vec<Kind> = cell.column.split(", ").map(kind_named).collect();
        let variants = RECEIVER_ROWS.iter().find(|(row, _)| *row == cell.row).unwrap().1;
        for (victim, variant) in ROLES.iter().flat_map(|v| variants.iter().map(move |w| (*v, *w))) {
            for kind in &kinds {
                println!("{cell:?} ({victim:?}, {variant}, {kind})");
                receive(cell, victim, variant, *kind);
                driven += 1;
            }
        }
    }
    println!("receiver: {cells} cells, driven {driven} times");
}

fn kind_named(name: &str) -> Kind {
    let known = Kind::KNOWN.iter().find(|kind| kind.to_string() == name);
    *known
        .unwrap_or_else(|| panic!("PROTOCOL.md has a column that this test does not know: {name}"))
}

/// The cells of a receiver that are about pauses and ends.
fn receive_end(peer: &mut RawPeer, id: u32, text: &str, variant: &str, result: Result<(), Error>) {
    match text {
        "noted" => {
            result.unwrap();
            assert!(matches!(&peer.events[..], [Event::Paused { is_paused: true, .. }]));
            pause(peer, id, false).unwrap();
            assert_eq!(peer.events.len(), 2);
        }
        "finishing" => {
            result.unwrap();
            assert!(matches!(&peer.events[..], [Event::Finished { .. }]));
        }
        "cancel asked" => {
            result.unwrap();
            assert!(matches!(&peer.events[..], [Event::CancelAsked { .. }]));
            // VERDICT 2, though a receiver that has all may say that it is stored.
            let gone = Conclusion::Failed { code: TransferCode::CANCELLED, text: "" };
            peer.victim().conclude(transfer(id), &gone).unwrap();
            peer.drain();
            assert!(matches!(&peer.frames_of(Kind::VERDICT)[..],
                [Frame::Verdict(verdict)] if verdict.code == TransferCode::CANCELLED));
        }
        "ignored" => {
            result.unwrap();
            assert!(peer.events.is_empty(), "{:?}", peer.events);
        }
        "ignored within credit" | "ignored within the allowance" => {
            // Nothing may be on its way of what was never accepted, nor of what is all there.
            if matches!(variant, "offered" | "rejected" | "stored") {
                return peer.assert_refused(result, CloseCode::CREDIT);
            }
            result.unwrap();
            assert!(peer.events.is_empty(), "{:?}", peer.events);
            let beyond = data(peer, 1, 8001);
            peer.assert_refused(beyond, CloseCode::CREDIT);
            assert!(peer.happened().is_empty());
        }
        text => panic!("PROTOCOL.md says what this test does not know: {text}"),
    }
}

fn receive(cell: Cell<'_>, victim: Side, variant: &str, kind: Kind) {
    let peer = &mut RawPeer::open(victim);
    let id = receive_in(peer, cell.row, variant);
    let is_at_5000 = variant == "from 5000";
    let offset = if is_at_5000 && cell.row == "open" { 5000 } else { 0 };
    let result = send_to_receiver(peer, id, kind, offset);
    let offset_of = |event: &Event<'_>| match event {
        Event::Started { offset, .. } => Some(*offset),
        _ => None,
    };
    match (cell.text, kind) {
        ("`protocol`", _) => {
            peer.assert_refused(result, CloseCode::PROTOCOL);
            assert!(peer.happened().is_empty(), "{:?}", peer.events);
        }
        ("offered; in a batch: open", Kind::OFFER) => {
            result.unwrap();
            assert!(matches!(&peer.events[..], [Event::Offered { transfer: t, .. }]
                if *t == transfer(id)));
            accept(peer, 1);
            in_a_batch(&mut RawPeer::open(victim));
        }
        ("offered; in a batch: open", _) => {
            result.unwrap();
            assert!(matches!(&peer.events[..], [Event::BatchOffered { .. }]));
        }
        ("started", _) => {
            result.unwrap();
            assert_eq!(offset_of(&peer.events[0]), Some(offset));
            data(peer, 1, 2000).unwrap();
            assert!(matches!(&peer.events[1], Event::Data { offset: o, .. } if *o == offset));
        }
        ("at 0 once, anew; else `protocol`", _) if !is_at_5000 => {
            peer.assert_refused(result, CloseCode::PROTOCOL);
        }
        ("at 0 once, anew; else `protocol`", _) => {
            result.unwrap();
            assert_eq!(offset_of(&peer.events[0]), Some(0));
            // All three numbers are 0 at both ends, and CREDIT says so at once.
            let Some(Frame::Credit(credit)) = peer.frames_of(Kind::CREDIT).pop() else { panic!() };
            assert_eq!((credit.received, credit.durable), (0, 0));
            data(peer, 1, 1000).unwrap();
            assert!(matches!(&peer.events[1], Event::Data { offset: 0, .. }));
            let again = start(peer, 1, 0);
            peer.assert_refused(again, CloseCode::PROTOCOL);
        }
        ("if not started; else `protocol`", _) => {
            if variant == "started" {
                return peer.assert_refused(result, CloseCode::PROTOCOL);
            }
            result.unwrap();
            assert_eq!(offset_of(&peer.events[0]), Some(0));
        }
        ("taken within credit" | "taken up to total; `protocol` if not started", _) => {
            if variant == "not started" {
                return peer.assert_refused(result, CloseCode::PROTOCOL);
            }
            result.unwrap();
            assert!(matches!(&peer.events[..], [Event::Data { .. }]));
            let beyond = data(peer, 1, 8001);
            peer.assert_refused(beyond, CloseCode::CREDIT);
            assert_eq!(peer.happened().len(), 1);
        }
        (text, _) => receive_end(peer, id, text, variant, result),
    }
}

fn in_a_batch(peer: &mut RawPeer) {
    offer_batch(peer, 1, 2).unwrap();
    accept(peer, 1);
    let member = Offer::new("a/b").size(100);
    let member = Offer { batch: Some(transfer(peer.ours(1))), ..member };
    offer(peer, 2, &member).unwrap();
    // Open: START may come at once, and DATA within the credit that HELLO gives.
    start(peer, 2, 0).unwrap();
    data(peer, 2, 100).unwrap();
    assert!(matches!(peer.events.last(), Some(Event::Data { offset: 0, .. })));
}

const SENDER_ROWS: &[(&str, &[&str])] = &[
    ("offered", &["plain"]),
    ("open", &["plain"]),
    ("finishing", &["plain"]),
    ("cancel asked", &["offered", "accepted", "finishing"]),
    ("ended", &["rejected", "verdict"]),
    ("never offered", &["a gap", "the other side's"]),
];

fn reply(peer: &mut RawPeer, id: u32, kind: Kind, code: TransferCode) -> Result<(), Error> {
    let frame = match kind {
        Kind::ACCEPT => Frame::Accept(Accept::default()),
        Kind::REJECT => Frame::Reject(Reject { code: TransferCode::DECLINED, text: "".into() }),
        Kind::CREDIT => Frame::Credit(Credit { limit: SIZE, received: 0, durable: 0 }),
        Kind::PAUSE => return pause(peer, id, true),
        _ => {
            let total = if code == TransferCode::STORED { SIZE } else { 0 };
            Frame::Verdict(Verdict { code, total, text: "".into() })
        }
    };
    peer.send(id, frame)
}

/// Brings the victim's transfer 1 into the state of the row; returns the id to speak of.
fn send_in(peer: &mut RawPeer, row: &str, variant: &str) -> u32 {
    let (id, now) = (peer.theirs(1), peer.now);
    if row == "never offered" {
        return if variant == "a gap" { id } else { peer.ours(1) };
    }
    peer.victim().offer(&Offer::new("file").size(SIZE), now).unwrap();
    peer.drain();
    let failed = TransferCode::NO_SPACE;
    let stages: &[&str] = match (row, variant) {
        ("offered", _) => &[],
        ("open", _) => &["accept"],
        ("finishing", _) => &["accept", "finish"],
        ("cancel asked", "offered") => &["cancel"],
        ("cancel asked", "accepted") => &["accept", "cancel"],
        ("cancel asked", _) => &["accept", "finish", "cancel"],
        ("ended", "rejected") => &["reject"],
        ("ended", _) => &["accept", "verdict"],
        (row, _) => panic!("PROTOCOL.md has a state that this test does not know: {row}"),
    };
    for stage in stages {
        match *stage {
            "accept" => reply(peer, id, Kind::ACCEPT, failed).unwrap(),
            "reject" => reply(peer, id, Kind::REJECT, failed).unwrap(),
            "verdict" => reply(peer, id, Kind::VERDICT, failed).unwrap(),
            "finish" => {
                let bytes = Bytes::from(vec![3; SIZE as usize]);
                peer.victim().send_data(transfer(id), 0, bytes).unwrap();
                peer.victim().finish(transfer(id), None).unwrap();
            }
            _ => drop(peer.victim().cancel(transfer(id), TransferCode::CANCELLED, "").unwrap()),
        }
        peer.drain();
    }
    peer.take_all();
    peer.settle();
    id
}

#[test]
fn every_cell_of_the_table_of_the_sender() {
    let table = Table::find(7, "state", "ACCEPT");
    let rows: Vec<&str> = SENDER_ROWS.iter().map(|(row, _)| *row).collect();
    assert_eq!(table.row_names(), rows);
    let (mut cells, mut driven) = (0, 0);
    for cell in table.cells() {
        cells += 1;
        let kind = kind_named(cell.column);
        let variants = SENDER_ROWS.iter().find(|(row, _)| *row == cell.row).unwrap().1;
        for (victim, variant) in ROLES.iter().flat_map(|v| variants.iter().map(move |w| (*v, *w))) {
            for code in [TransferCode::NO_SPACE, TransferCode::STORED] {
                println!("{cell:?} ({victim:?}, {variant}, {kind} {code})");
                answer(cell, victim, variant, kind, code);
                driven += 1;
            }
        }
    }
    println!("sender: {cells} cells, driven {driven} times");
}

fn assert_ended(peer: &mut RawPeer, id: u32) {
    let unknown = ActionError::UnknownTransfer(transfer(id));
    assert_eq!(peer.victim().pause(transfer(id), true), Err(unknown));
}

fn answer(cell: Cell<'_>, victim: Side, variant: &str, kind: Kind, code: TransferCode) {
    let peer = &mut RawPeer::open(victim);
    let id = send_in(peer, cell.row, variant);
    if cell.column == "PAUSE" && cell.row == "never offered" && variant == "the other side's" {
        // Either side pauses: the id is the raw peer's own, and not offered.
        assert_eq!(id, peer.ours(1));
    }
    let result = reply(peer, id, kind, code);
    match cell.text {
        "`protocol`" => {
            peer.assert_refused(result, CloseCode::PROTOCOL);
            assert!(peer.happened().is_empty(), "{:?}", peer.events);
        }
        "open" => {
            result.unwrap();
            assert!(matches!(&peer.events[..], [Event::Accepted { .. }]));
            peer.victim().send_data(transfer(id), 0, Bytes::from_static(b"data")).unwrap();
        }
        "ended" if kind == Kind::REJECT => {
            result.unwrap();
            assert!(matches!(&peer.events[..], [Event::Rejected { .. }]));
            assert_ended(peer, id);
        }
        "ended" | "ended; 0 is `protocol`" => {
            let is_wrong = code == TransferCode::STORED
                && (cell.text != "ended" || matches!(variant, "offered" | "accepted"));
            if is_wrong {
                peer.assert_refused(result, CloseCode::PROTOCOL);
                return assert!(peer.happened().is_empty());
            }
            result.unwrap();
            assert!(matches!(&peer.events[..], [Event::Verdict { code: c, .. }] if *c == code));
            assert_ended(peer, id);
        }
        "noted" => {
            result.unwrap();
            assert!(matches!(&peer.events[..], [Event::Paused { is_paused: true, .. }]));
        }
        "raises the limit" => {
            result.unwrap();
            if cell.row == "open" {
                let bytes = Bytes::from(vec![3; SIZE as usize]);
                peer.victim().send_data(transfer(id), 0, bytes).unwrap();
                peer.drain();
            }
            let sent: usize = peer.frames_of(Kind::DATA).iter().map(data_len).sum();
            assert_eq!(sent, SIZE as usize);
        }
        "noted, if offered before" => {
            if variant != "offered" {
                return peer.assert_refused(result, CloseCode::PROTOCOL);
            }
            result.unwrap();
            assert!(peer.events.is_empty(), "{:?}", peer.events);
            let again = reply(peer, id, kind, code);
            peer.assert_refused(again, CloseCode::PROTOCOL);
        }
        "ended, if offered before" => {
            if variant != "offered" {
                return peer.assert_refused(result, CloseCode::PROTOCOL);
            }
            result.unwrap();
            assert!(matches!(&peer.events[..], [Event::Rejected { .. }]));
            assert_ended(peer, id);
        }
        "`protocol` until ACCEPT, then ignored" => {
            if variant == "offered" {
                return peer.assert_refused(result, CloseCode::PROTOCOL);
            }
            result.unwrap();
            assert!(peer.events.is_empty());
            assert!(peer.frames_of(Kind::DATA).is_empty(), "nothing more of it is sent");
        }
        "ignored" => {
            result.unwrap();
            assert!(peer.events.is_empty());
        }
        text => panic!("PROTOCOL.md says what this test does not know: {text}"),
    }
}

pub(crate) fn data_len(frame: &Frame<'_>) -> usize {
    match frame {
        Frame::Data(bytes) => bytes.len(),
        frame => panic!("{frame:?}"),
    }
}
