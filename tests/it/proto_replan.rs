//! What was planned and taken back again leaves no trace in the order of what goes.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{Config, Lane};
use duologue::wire::{
    Accept, Ack, Chat, Credit, Frame, Kind, Limits, Message, Offer, Pause, TransferId,
};

use crate::raw_peer::{ROLES, RawPeer, Seen};

/// A victim that has files and messages to send, to a peer that acknowledges a few writes later.
struct Busy {
    peer: RawPeer,
    files: Vec<(TransferId, u64)>,
    has_messages: bool,
    said: VecDeque<Ack>,
}

impl Busy {
    fn new(victim: duologue::wire::Side, files: usize, has_messages: bool) -> Self {
        let limits = Limits { items: 65_536, item_bytes: 1 << 31, ..Limits::default() };
        let mut peer = RawPeer::open_with(victim, Config::default(), limits);
        let mut ids = Vec::new();
        for _ in 0..files {
            let now = peer.now;
            let id = peer.victim().offer(&Offer::new("file").seekable(), now).unwrap();
            peer.converse();
            peer.send(id.to_wire(), Frame::Accept(Accept::default())).unwrap();
            let credit = Credit { limit: 1 << 40, received: 0, durable: 0 };
            peer.send(id.to_wire(), Frame::Credit(credit)).unwrap();
            ids.push((id, 0));
        }
        peer.converse();
        peer.stream.frames.clear();
        peer.is_reading = false;
        Self { peer, files: ids, has_messages, said: VecDeque::new() }
    }

    /// Queues whatever there is room for.
    fn fill(&mut self) {
        let body: Bytes = vec![7; 32_000].into();
        for (id, offset) in &mut self.files {
            while self.peer.victim().send_data(*id, *offset, body.clone()).is_ok() {
                *offset += body.len() as u64;
            }
        }
        let body = vec![7; 60_000].into();
        let message = Message { message_type: 1, is_reply: false, correlation: 0, body };
        while self.has_messages && self.peer.victim().send_message(&message).is_ok() {}
    }

    /// The transport takes `most` bytes, after the plan was made and thrown away so often.
    fn step(&mut self, replans: usize, most: usize) {
        self.fill();
        for _ in 0..replans {
            let now = self.peer.now;
            let _ = self.peer.victim().poll_transmit(now).len();
            let _ = self.peer.victim().send_chat(&Chat::new("x"));
        }
        self.peer.read(most);
        let received = self.peer.stream.theirs.len() as u64;
        self.said.push_back(Ack { next: self.peer.stream.next, received });
        self.peer.now = self.peer.now.saturating_add(Duration::from_millis(1));
        if self.said.len() > 3 {
            let ack = self.said.pop_front().unwrap();
            self.peer.send(0, Frame::Ack(ack)).unwrap();
        }
        self.peer.collect();
        self.peer.events.clear();
    }
}

fn lane(seen: &Seen) -> Option<Lane> {
    match seen.header.kind {
        Kind::CHAT => Some(Lane::Chat),
        Kind::PART if seen.header.id == 0 => Some(Lane::Chat),
        Kind::PART => Some(Lane::Control),
        kind if kind.ends_item() => Some(Lane::Control),
        _ => None,
    }
}

#[test]
fn bulk_has_its_share_however_often_the_plan_is_taken_back() {
    for victim in ROLES {
        for replans in [0, 1, 2, 5, 20] {
            let mut busy = Busy::new(victim, 1, true);
            for _ in 0..800 {
                busy.step(replans, 16_500);
            }
            let (mut gaps, mut since) = (Vec::new(), 0);
            for seen in &busy.peer.stream.frames {
                if seen.header.kind == Kind::DATA {
                    gaps.push(std::mem::take(&mut since));
                } else if lane(seen).is_some() {
                    since += seen.payload.len() + 8;
                }
            }
            assert!(gaps.len() >= 10, "bulk starves after {replans}: {gaps:?}");
            // What goes before the first message is not held against anybody.
            for &gap in gaps.iter().skip_while(|&&gap| gap == 0) {
                assert!(gap >= 256 << 10, "more than its share after {replans}: {gaps:?}");
                assert!(gap <= (256 << 10) + 2 * 16_392, "less after {replans}: {gaps:?}");
            }
        }
    }
}

#[test]
fn files_take_turns_however_often_the_plan_is_taken_back() {
    for victim in ROLES {
        for replans in 0..6 {
            let mut busy = Busy::new(victim, 3, false);
            for _ in 0..1200 {
                busy.step(replans, 16_500);
            }
            let frames = busy.peer.stream.frames.iter();
            let data = frames.filter(|seen| seen.header.kind == Kind::DATA);
            let order: Vec<u32> = data.map(|seen| seen.header.id).collect();
            assert!(order.len() > 100);
            for three in order[6..].windows(3) {
                let mut three = three.to_vec();
                three.sort_unstable();
                three.dedup();
                assert_eq!(three.len(), 3, "after {replans}: {order:?}");
            }
        }
    }
}

#[test]
fn control_is_bounded_before_items_however_often_the_plan_is_taken_back() {
    for victim in ROLES {
        let mut busy = Busy::new(victim, 1, true);
        for _ in 0..50 {
            busy.step(0, 16_500);
        }
        // Pauses that change something make it plan anew.
        let id = busy.files[0].0.to_wire();
        busy.peer.stream.frames.clear();
        for round in 0..100 {
            busy.peer.send(id, Frame::Pause(Pause { is_paused: round % 2 == 0 })).unwrap();
            busy.step(1, 16_500);
        }
        let (mut run, mut most) = (0, 0);
        for seen in &busy.peer.stream.frames {
            run = if lane(seen).is_some() { 0 } else { run + seen.payload.len() + 8 };
            if seen.header.kind == Kind::DATA {
                run = 0;
            }
            most = most.max(run);
        }
        assert!(most <= 1024 + 32, "{most}");
    }
}
