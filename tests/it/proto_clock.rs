//! Time never goes back: a call that brings an earlier one is a call at the latest that was told.

use std::time::Duration;

use duologue::proto::{Acceptance, Conclusion, Config, Event, ItemId, StreamParameters};
use duologue::time::Time;
use duologue::wire::{
    Accept, Chat, CloseCode, Credit, Frame, Kind, Limits, Offer, Ping, Side, TransferId,
};

use crate::raw_peer::{ROLES, RawPeer};
use crate::state_transfers::{data, offer, start, transfer};

/// A victim that is told the right time and then an earlier one, or not, and what it does.
struct Clock {
    peer: RawPeer,
    is_wrong: bool,
    right: Time,
    trace: Vec<String>,
}

impl Clock {
    /// The right time passes; then calls come with this one.
    fn pass(&mut self, duration: Duration) -> Time {
        self.right = self.right.saturating_add(duration);
        let right = self.right;
        self.peer.victim().handle_timeout(right);
        self.peer.now = if self.is_wrong { Time::from_micros(1) } else { right };
        self.peer.now
    }

    fn note(&mut self, step: &str) {
        let deadline = self.peer.victim().poll_timeout();
        let (now, mut bytes) = (self.peer.now, Vec::new());
        for slice in self.peer.victim().poll_transmit(now) {
            bytes.extend_from_slice(slice);
        }
        let after = self.peer.victim().poll_timeout();
        self.peer.drain();
        let left = self.peer.victim().poll_timeout();
        let statistics = self.peer.victim().statistics();
        let events = &self.peer.events;
        self.trace.push(format!(
            "{step}: {deadline:?} {after:?} {left:?} {bytes:?} {events:?} {statistics:?}"
        ));
    }
}

fn own(clock: &mut Clock) -> TransferId {
    let now = clock.pass(Duration::from_secs(1));
    let id = clock.peer.victim().offer(&Offer::new("file"), now).unwrap();
    clock.note("offer");
    clock.peer.send(id.to_wire(), Frame::Accept(Accept::default())).unwrap();
    clock.note("accepted");
    clock.peer.victim().send_data(id, 0, vec![1; 5000].into()).unwrap();
    clock.note("data");
    clock.pass(Duration::from_secs(1));
    let credit = Credit { limit: 1000, received: 0, durable: 0 };
    clock.peer.send(id.to_wire(), Frame::Credit(credit)).unwrap();
    clock.note("credit");
    clock.pass(Duration::from_secs(1));
    clock.peer.acknowledge().unwrap();
    clock.note("acknowledged");
    id
}

fn theirs(clock: &mut Clock) {
    let id = transfer(clock.peer.ours(1));
    clock.pass(Duration::from_secs(1));
    offer(&mut clock.peer, 1, &Offer::new("file").size(100_000)).unwrap();
    clock.note("offered");
    let now = clock.pass(Duration::from_secs(1));
    clock.peer.victim().accept(id, Acceptance::default(), now).unwrap();
    clock.note("accept");
    start(&mut clock.peer, 1, 0).unwrap();
    clock.pass(Duration::from_secs(1));
    data(&mut clock.peer, 1, 10_000).unwrap();
    clock.note("data");
    let now = clock.pass(Duration::from_millis(1));
    clock.peer.victim().release(id, 10_000, now);
    clock.note("release");
    let now = clock.pass(Duration::from_millis(100));
    clock.peer.victim().set_durable(id, 5000, now);
    clock.note("durable");
    let now = clock.pass(Duration::from_millis(1));
    clock.peer.victim().take(now, ItemId { lane: duologue::proto::Lane::Control, number: 0 });
    clock.note("take");
    clock.pass(Duration::from_secs(10));
    clock.peer.send(0, Frame::Ping(Ping { token: [1; 8] })).unwrap();
    clock.note("ping");
    let failed = Conclusion::Failed { code: duologue::wire::TransferCode::NO_SPACE, text: "" };
    clock.peer.victim().conclude(id, &failed).unwrap();
    clock.note("conclude");
}

fn play(victim: Side, is_wrong: bool) -> Vec<String> {
    let config = Config::builder().reserved_window(4096).build().unwrap();
    let peer = RawPeer::open_with(victim, config, Limits::default());
    let right = peer.now;
    let mut clock = Clock { peer, is_wrong, right, trace: Vec::new() };
    own(&mut clock);
    theirs(&mut clock);
    let now = clock.pass(Duration::from_secs(1));
    clock.peer.victim().handle_timeout(now);
    clock.peer.victim().send_chat(&Chat::new("hello")).unwrap();
    clock.note("chat");
    clock.pass(Duration::from_secs(1));
    clock.peer.cut();
    clock.note("cut");
    clock.pass(Duration::from_secs(30));
    if victim == Side::Client {
        clock.peer.reattach();
        let now = clock.pass(Duration::from_secs(2));
        clock.peer.victim().accept_peer(now).unwrap();
        clock.note("attach");
    } else {
        // What is no part of the conversation yet has a time of its own.
        let wrong = std::mem::replace(&mut clock.peer.now, clock.right);
        clock.peer.reattach();
        let resume = clock.peer.resume_from(clock.peer.stream.next);
        clock.peer.send(0, Frame::Resume(resume)).unwrap();
        clock.peer.now = wrong;
        let _ = clock.peer.enter();
        clock.note("resume");
    }
    let now = clock.pass(Duration::from_secs(1));
    clock.peer.victim().handle_disconnect(now);
    clock.note("disconnect");
    if victim == Side::Client {
        let now = clock.pass(Duration::from_secs(1));
        clock.peer.victim().attach(StreamParameters::new([77; 32]), now).unwrap();
        clock.note("attach again");
    }
    let now = clock.pass(Duration::from_secs(1));
    let _ = clock.peer.victim().close(CloseCode::DONE, "", now);
    clock.note("close");
    clock.trace
}

#[test]
fn a_call_with_an_earlier_time_does_what_it_does_now_and_moves_no_deadline() {
    for victim in ROLES {
        let (right, wrong) = (play(victim, false), play(victim, true));
        assert!(right.len() > 15);
        for (right, wrong) in right.iter().zip(&wrong) {
            assert_eq!(wrong, right);
        }
        assert_eq!(wrong.len(), right.len());
    }
}

#[test]
fn closing_at_an_earlier_time_waits_as_long() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        peer.wait(Duration::from_secs(30));
        let now = peer.now;
        peer.victim().handle_timeout(now);
        peer.victim().send_chat(&Chat::new("last")).unwrap();
        peer.victim().close(CloseCode::DONE, "", Time::ZERO).unwrap();
        peer.now = Time::ZERO;
        peer.drain();
        assert!(peer.frames_of(Kind::GOODBYE).is_empty(), "the last words wait for their ACK");
        let deadline = now.saturating_add(Duration::from_secs(5));
        assert_eq!(peer.victim().poll_timeout(), Some(deadline));
        assert!(!peer.events.iter().any(|event| matches!(event, Event::Closed(_))));
    }
}
