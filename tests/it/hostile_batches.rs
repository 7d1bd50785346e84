//! Batches that are not what they say: row H12 of the project's list of hostile inputs.

use duologue::proto::{ActionError, Conclusion, Error, Event};
use duologue::wire::{
    Accept, Batch, CloseCode, Credit, Frame, Kind, Offer, Pause, Ping, Side, TransferCode, Verdict,
};

use crate::hostile_flow::{FAILED, open};
use crate::raw_peer::{ROLES, RawPeer};
use crate::state_transfers::{accept, cancel, data, finish, offer, offer_batch, start, transfer};

/// A batch of two, accepted.
fn batch(peer: &mut RawPeer) -> Offer<'static> {
    offer_batch(peer, 1, 2).unwrap();
    accept(peer, 1);
    Offer { batch: Some(transfer(peer.ours(1))), ..Offer::new("dir/name") }
}

#[test]
fn h12_frames_of_a_file_for_what_is_none_are_refused_also_after_a_cancel() {
    type Send = fn(&mut RawPeer, u32) -> Result<(), Error>;
    let sends: [Send; 5] = [
        |peer, n| start(peer, n, 0),
        |peer, n| data(peer, n, 100),
        |peer, n| finish(peer, n, 0),
        |peer, n| {
            // A directory may be paused, for what it is worth.
            if n == 2 {
                return finish(peer, n, 0);
            }
            peer.send(peer.ours(n), Frame::Pause(Pause { is_paused: true }))
        },
        |peer, n| peer.send(peer.ours(n), Frame::Credit(Credit::default())),
    ];
    for (victim, is_cancelled) in ROLES.into_iter().flat_map(|v| [(v, false), (v, true)]) {
        for (number, send) in [1, 2].into_iter().flat_map(|n| sends.map(|send| (n, send))) {
            let mut peer = RawPeer::open(victim);
            offer_batch(&mut peer, 1, 3).unwrap();
            accept(&mut peer, 1);
            let batch = Some(transfer(peer.ours(1)));
            let folder = Offer { batch, is_directory: true, ..Offer::new("folder") };
            offer(&mut peer, 2, &folder).unwrap();
            if is_cancelled {
                cancel(&mut peer, number).unwrap();
            }
            peer.events.clear();
            let result = send(&mut peer, number);
            peer.assert_refused(result, CloseCode::PROTOCOL);
            assert!(peer.happened().is_empty());
        }
        // And credit for a batch of the victim's.
        let mut peer = RawPeer::open(victim);
        let now = peer.now;
        let batch = Batch { name: "b".into(), count: 1, bytes: 1, metadata: [][..].into() };
        let id = peer.victim().offer_batch(&batch, now).unwrap();
        peer.drain();
        peer.send(id.to_wire(), Frame::Accept(Accept::default())).unwrap();
        if is_cancelled {
            peer.victim().cancel(id, TransferCode::CANCELLED, "").unwrap();
            peer.drain();
        }
        let result = peer.send(id.to_wire(), Frame::Credit(Credit::default()));
        peer.assert_refused(result, CloseCode::PROTOCOL);
    }
}

#[test]
fn batches_that_are_not_what_they_say() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let member = batch(&mut peer);
        for number in 2..=3 {
            offer(&mut peer, number, &member).unwrap();
        }
        let result = offer(&mut peer, 4, &member);
        peer.assert_refused(result, CloseCode::PROTOCOL);
        // A batch that was not accepted, that is a file, or of the other side.
        let mut peer = RawPeer::open(victim);
        offer_batch(&mut peer, 1, 2).unwrap();
        let result = offer(&mut peer, 2, &member);
        peer.assert_refused(result, CloseCode::PROTOCOL);
        let mut peer = RawPeer::open(victim);
        open(&mut peer, 1);
        let result = offer(&mut peer, 2, &member);
        peer.assert_refused(result, CloseCode::PROTOCOL);
        let mut peer = RawPeer::open(victim);
        let foreign = Offer { batch: Some(transfer(peer.theirs(1))), ..member.clone() };
        let result = offer(&mut peer, 1, &foreign);
        peer.assert_refused(result, CloseCode::PROTOCOL);
        // One that nobody offered.
        let mut peer = RawPeer::open(victim);
        let nobodys = Offer { batch: Some(transfer(peer.ours(7))), ..member.clone() };
        let result = offer(&mut peer, 1, &nobodys);
        peer.assert_refused(result, CloseCode::PROTOCOL);
        // One more after its CANCEL.
        let mut peer = RawPeer::open(victim);
        batch(&mut peer);
        cancel(&mut peer, 1).unwrap();
        let result = offer(&mut peer, 2, &member);
        peer.assert_refused(result, CloseCode::PROTOCOL);
    }
}

#[test]
fn a_member_of_a_batch_that_ended_was_on_its_way_and_is_answered() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let member = batch(&mut peer);
        let id = transfer(peer.ours(1));
        peer.victim().conclude(id, &FAILED).unwrap();
        peer.take_all();
        peer.events.clear();
        offer(&mut peer, 2, &member).unwrap();
        assert!(peer.events.is_empty());
        peer.converse();
        let verdicts = peer.frames_of(Kind::VERDICT);
        assert!(matches!(&verdicts[..], [Frame::Verdict(batch), Frame::Verdict(verdict)]
            if verdict.code == batch.code && verdict.total == 0));
        offer(&mut peer, 3, &Offer::new("another")).unwrap();
        assert!(matches!(peer.events.last(), Some(Event::Offered { .. })));
    }
}

#[test]
fn a_batch_is_stored_when_all_its_members_were_offered_and_have_ended() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let member = batch(&mut peer);
        let (id, stored) = (transfer(peer.ours(1)), Conclusion::Stored { name: "batch" });
        let early = Err(ActionError::WrongState(id));
        assert_eq!(peer.victim().conclude(id, &stored), early);
        let folder = Offer { is_directory: true, ..member };
        for number in 2..=3 {
            offer(&mut peer, number, &folder).unwrap();
            assert_eq!(peer.victim().conclude(id, &stored), early);
            let folder = transfer(peer.ours(number));
            peer.victim().conclude(folder, &Conclusion::Stored { name: "folder" }).unwrap();
        }
        peer.victim().conclude(id, &stored).unwrap();
        peer.converse();
        let verdicts = peer.frames_of(Kind::VERDICT);
        assert!(matches!(&verdicts[2], Frame::Verdict(verdict) if verdict.total == 2));
        // A directory had no credit, so nothing of it may be late.
        let result = data(&mut peer, 2, 2000);
        peer.assert_refused(result, CloseCode::CREDIT);
    }
}

/// A batch of two files of the victim's that was accepted, so many members of which were offered and have
/// ended.
fn sent_batch(victim: Side, offered: usize, ended: usize) -> (RawPeer, u32) {
    let mut peer = RawPeer::open(victim);
    let now = peer.now;
    let batch = Batch { name: "batch".into(), count: 2, bytes: 9, metadata: Default::default() };
    let id = peer.victim().offer_batch(&batch, now).unwrap();
    peer.converse();
    peer.send(id.to_wire(), Frame::Accept(Accept::default())).unwrap();
    for number in 0..offered {
        let member = Offer { batch: Some(id), ..Offer::new("member") };
        let member = peer.victim().offer(&member, now).unwrap();
        peer.converse();
        if number < ended {
            let verdict = Verdict { code: TransferCode::DECLINED, total: 0, text: "".into() };
            peer.send(member.to_wire(), Frame::Verdict(verdict)).unwrap();
        }
    }
    (peer, id.to_wire())
}

#[test]
fn a_batch_is_called_stored_when_all_its_members_were_offered_and_have_ended() {
    for victim in ROLES {
        let cases = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (2, 0, 0), (2, 1, 1), (2, 2, 3), (2, 2, 2)];
        for (offered, ended, total) in cases {
            let (mut peer, id) = sent_batch(victim, offered, ended);
            let verdict = Verdict { code: TransferCode::STORED, total, text: "batch".into() };
            let result = peer.send(id, Frame::Verdict(verdict));
            if (offered, ended, total) == (2, 2, 2) {
                result.unwrap();
                assert!(peer.victim().is_open());
            } else {
                peer.assert_refused(result, CloseCode::PROTOCOL);
            }
        }
    }
}

/// That it was stored cannot be said of a file before its FINISH has begun to be sent.
#[test]
fn a_file_is_not_called_stored_before_its_finish_has_left() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let now = peer.now;
        let id = peer.victim().offer(&Offer::new("empty").size(0), now).unwrap();
        peer.converse();
        peer.send(id.to_wire(), Frame::Accept(Accept::default())).unwrap();
        peer.is_reading = false;
        peer.victim().finish(id, None).unwrap();
        let verdict = Verdict { code: TransferCode::STORED, total: 0, text: "empty".into() };
        let result = peer.send(id.to_wire(), Frame::Verdict(verdict));
        assert_eq!(result.unwrap_err().code(), Some(CloseCode::PROTOCOL));
    }
}

/// As many members as can be on their way when a batch ends cost their sender nothing.
#[test]
fn members_that_were_on_their_way_when_their_batch_ended_cost_nothing() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        offer_batch(&mut peer, 1, 1000).unwrap();
        accept(&mut peer, 1);
        let batch = transfer(peer.ours(1));
        let member = Offer { batch: Some(batch), ..Offer::new("dir/name") };
        peer.victim().conclude(batch, &FAILED).unwrap();
        peer.take_all();
        peer.settle();
        // All but three of what may be spent.
        for _ in 0..997 {
            peer.send(0, Frame::Ping(Ping { token: [1; 8] })).unwrap();
        }
        let free = peer.config.limits().transfers;
        for number in 2..2 + free {
            offer(&mut peer, number, &member).unwrap();
        }
    }
}

#[test]
fn a7_members_of_a_batch_that_has_ended_are_a_flood_in_the_end() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        offer_batch(&mut peer, 1, 1000).unwrap();
        accept(&mut peer, 1);
        let batch = transfer(peer.ours(1));
        let member = Offer { batch: Some(batch), ..Offer::new("dir/name") };
        peer.victim().conclude(batch, &FAILED).unwrap();
        // As many as may be on their way, and what may be spent.
        let free = peer.config.limits().transfers.min(1000) + 1000;
        let refused = (2..4000).find_map(|number| {
            peer.take_all();
            peer.settle();
            let result = offer(&mut peer, number, &member);
            result.is_err().then_some((number - 2, result))
        });
        let (taken, result) = refused.expect("it ends");
        // Their bytes give some of it back.
        assert!((free..free + 100).contains(&taken), "{taken} were taken, and {free} are free");
        peer.assert_refused(result, CloseCode::FLOOD);
    }
}

#[test]
fn a_late_member_ends_with_the_code_of_its_own_batch() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let codes = [TransferCode::NO_SPACE, TransferCode::DECLINED, TransferCode::BUSY];
        for (number, code) in (1..).zip(codes) {
            offer_batch(&mut peer, number, 2).unwrap();
            accept(&mut peer, number);
            let batch = transfer(peer.ours(number));
            peer.victim().conclude(batch, &Conclusion::Failed { code, text: "" }).unwrap();
        }
        peer.take_all();
        peer.settle();
        for (number, code) in (1..).zip(codes) {
            let batch = Some(transfer(peer.ours(number)));
            offer(&mut peer, 3 + number, &Offer { batch, ..Offer::new("dir/name") }).unwrap();
            let verdicts = peer.frames_of(Kind::VERDICT);
            let told = verdicts.last().map(|frame| match frame {
                Frame::Verdict(verdict) => verdict.code,
                frame => panic!("{frame:?}"),
            });
            assert_eq!(told, Some(code));
        }
    }
}
