//! Batches: one decision for many files and folders.

use duologue::proto::{Acceptance, ActionError, Config, Event};
use duologue::testing::{Call, Done, Pair};
use duologue::wire::{Batch, Kind, Offer, Side, TransferCode, TransferId};

use super::proto_util::{client, finish_all, frames, millis, offer, open, open_to, pick, server};

fn batch(count: u32, bytes: u64) -> Batch<'static> {
    Batch { name: "photos".into(), count, bytes, metadata: vec![9; 4096].into() }
}

#[track_caller]
fn offer_batch(pair: &mut Pair, count: u32, bytes: u64) -> TransferId {
    match client(pair, Call::OfferBatch(batch(count, bytes))) {
        Ok(Done::Transfer(transfer)) => transfer,
        other => panic!("{other:?}"),
    }
}

fn verdicts(pair: &Pair) -> Vec<(TransferId, TransferCode, u64, String)> {
    pick(&pair.client, |event| match event {
        Event::Verdict { transfer, code, total, text, .. } => {
            Some((*transfer, *code, *total, text.clone().into_owned()))
        }
        _ => None,
    })
}

fn member(pair: &mut Pair, batch: TransferId, seed: u64, size: u64) -> TransferId {
    let now = pair.now();
    let name = format!("holidays/2026/file-{seed}");
    pair.client.offer_as(now, Offer::new(name).size(size).batch(batch), seed, size).unwrap()
}

#[test]
fn one_decision_then_members_stream_without_another() {
    let mut pair = open();
    let id = offer_batch(&mut pair, 5, 500_000);
    pair.run_for(millis(100));
    let offered = pick(pair.server(), |event| match event {
        Event::BatchOffered { batch, .. } => Some(batch.clone()),
        _ => None,
    });
    assert_eq!(offered, [batch(5, 500_000)]);
    let directory = Offer::new("holidays/empty").batch(id).directory();
    let now = pair.now();
    pair.client.offer_as(now, directory, 0, 0).unwrap();
    for (seed, size) in [(1, 0), (2, 100), (3, 16_384), (4, 400_000)] {
        member(&mut pair, id, seed, size);
    }
    pair.tap();
    pair.transmit();
    // No round trip: data of the first follows its offer at once.
    let first = frames(&pair.tapped(Side::Client));
    let position = |kind: Kind| first.iter().position(|frame| frame.kind == kind);
    assert!(position(Kind::OFFER).is_some(), "{first:?}");
    finish_all(&mut pair);
    let over = client(&mut pair, Call::Offer(Offer::new("one more").batch(id)));
    assert_eq!(over, Err(ActionError::WrongState(id)));
    server(&mut pair, Call::Stored(id, "photos (2)".into())).unwrap();
    pair.run_for(millis(100));
    let all = verdicts(&pair);
    assert_eq!(all.len(), 6);
    assert_eq!(all[5], (id, TransferCode::STORED, 5, "photos (2)".into()));
    assert!(all[..5].iter().all(|(_, code, ..)| *code == TransferCode::STORED));
    let gone = client(&mut pair, Call::Offer(Offer::new("late").batch(id)));
    assert_eq!(gone, Err(ActionError::UnknownTransfer(id)));
}

#[test]
fn the_first_credit_of_a_member_needs_no_round_trip_and_is_kept_to() {
    for gift in [0, 1, 5000, 100_000] {
        let mut pair = open_to(Config::builder().member_credit(gift));
        let id = offer_batch(&mut pair, 1, 300_000);
        pair.run_for(millis(200));
        // The peer's credit is on its way, but none of it arrives.
        member(&mut pair, id, 1, 300_000);
        pair.tap();
        pair.link.latency = millis(400);
        pair.run_for(millis(420));
        let sent = frames(&pair.tapped(Side::Client));
        let data =
            sent.iter().filter(|f| f.kind == Kind::DATA).map(|f| f.payload.len()).sum::<usize>();
        assert!(data <= gift as usize, "{data} of {gift}");
        assert_eq!(data > 0, gift > 0, "{data} of {gift}");
        finish_all(&mut pair);
    }
}

#[test]
fn an_empty_batch_is_a_batch() {
    let mut pair = open();
    let id = offer_batch(&mut pair, 0, 0);
    pair.run_for(millis(100));
    let one = client(&mut pair, Call::Offer(Offer::new("one").batch(id)));
    assert_eq!(one, Err(ActionError::WrongState(id)));
    server(&mut pair, Call::Stored(id, "photos".into())).unwrap();
    pair.run_for(millis(100));
    assert_eq!(verdicts(&pair), [(id, TransferCode::STORED, 0, "photos".into())]);
}

#[test]
fn a_batch_is_stored_only_when_every_member_was_offered_and_ended() {
    let mut pair = open();
    let id = offer_batch(&mut pair, 2, 200);
    let early = server(&mut pair, Call::Stored(id, "x".into()));
    assert_eq!(early, Err(ActionError::UnknownTransfer(id)));
    pair.run_for(millis(100));
    let store = |pair: &mut Pair| server(pair, Call::Stored(id, "x".into()));
    let wrong = Err(ActionError::WrongState(id));
    assert_eq!(store(&mut pair), wrong, "none was offered");
    member(&mut pair, id, 1, 100);
    pair.run_for(millis(100));
    // The second may be on its way: its sender would take the verdict for a lie.
    assert_eq!(store(&mut pair), wrong, "one was not offered");
    member(&mut pair, id, 2, 100);
    pair.server_mut().behaviour.concludes = false;
    pair.run_for(millis(100));
    assert_eq!(store(&mut pair), wrong, "one has not ended");
    let second = TransferId::new(Side::Client, 3).unwrap();
    server(&mut pair, Call::Stored(second, "2".into())).unwrap();
    store(&mut pair).unwrap();
    pair.run_for(millis(100));
    assert_eq!(verdicts(&pair).last().unwrap().2, 2);
    assert_eq!(pair.client.machine.error(), None);
}

#[test]
fn a_member_fails_alone() {
    let mut pair = open();
    let id = offer_batch(&mut pair, 3, 300_000);
    pair.run_for(millis(100));
    pair.server_mut().behaviour.concludes = false;
    let members = [1, 2, 3].map(|seed| member(&mut pair, id, seed, 100_000));
    pair.run_for(millis(300));
    let failed = Call::Failed(members[1], TransferCode::NAME_REFUSED, "con".into());
    server(&mut pair, failed).unwrap();
    pair.server_mut().behaviour.concludes = true;
    let now = pair.now();
    for id in [members[0], members[2]] {
        pair.server_mut().conclude_if_whole(now, id);
    }
    server(&mut pair, Call::Stored(id, "photos".into())).unwrap();
    pair.run_for(millis(100));
    let codes: Vec<_> = verdicts(&pair).iter().map(|v| (v.0, v.1, v.2)).collect();
    let stored = TransferCode::STORED;
    assert_eq!(
        codes,
        [
            (members[1], TransferCode::NAME_REFUSED, 100_000),
            (members[0], stored, 100_000),
            (members[2], stored, 100_000),
            (id, stored, 2)
        ]
    );
}

#[test]
fn a_batch_is_cancelled_members_first() {
    let mut pair = open();
    let id = offer_batch(&mut pair, 10, 1_000_000);
    pair.run_for(millis(100));
    pair.server_mut().behaviour.concludes = false;
    let members = [1, 2].map(|seed| member(&mut pair, id, seed, 100_000));
    pair.run_for(millis(200));
    client(&mut pair, Call::Cancel(id, TransferCode::SOURCE_CHANGED, "gone".into())).unwrap();
    // One more is refused here.
    let more = client(&mut pair, Call::Offer(Offer::new("more").batch(id)));
    assert_eq!(more, Err(ActionError::WrongState(id)));
    pair.run_for(millis(100));
    let fail = |id| Call::Failed(id, TransferCode::CANCELLED, String::new());
    assert_eq!(server(&mut pair, fail(id)), Err(ActionError::WrongState(id)), "members are open");
    for id in members {
        server(&mut pair, fail(id)).unwrap();
    }
    server(&mut pair, fail(id)).unwrap();
    pair.run_for(millis(100));
    let order: Vec<_> = verdicts(&pair).iter().map(|v| v.0).collect();
    assert_eq!(order, [members[0], members[1], id]);
    assert_eq!(pair.client.machine.error(), None);
}

#[test]
fn the_receiver_gives_a_batch_up_while_members_are_on_their_way() {
    let mut pair = open();
    let id = offer_batch(&mut pair, 10, 1_000_000);
    pair.run_for(millis(100));
    let members = [1, 2, 3].map(|seed| member(&mut pair, id, seed, 50_000));
    pair.transmit();
    // Nobody has seen a member here.
    server(&mut pair, Call::Failed(id, TransferCode::NO_SPACE, "full".into())).unwrap();
    pair.run_for(millis(500));
    let codes: Vec<_> = verdicts(&pair).iter().map(|v| (v.0, v.1)).collect();
    assert_eq!(codes.len(), 4, "{codes:?}");
    assert_eq!(codes[0], (id, TransferCode::NO_SPACE));
    // Those that were on the way end with the batch's code.
    let ended = members.map(|id| (id, TransferCode::NO_SPACE));
    assert_eq!(codes[1..], ended);
    assert_eq!(pair.client.machine.error(), None);
    assert_eq!(pair.server().machine.error(), None);
}

#[test]
fn a_batch_is_rejected_whole_and_has_no_data() {
    let mut pair = open();
    pair.server_mut().behaviour.accepts_offers = false;
    let id = offer_batch(&mut pair, 3, 3);
    let early = client(&mut pair, Call::Offer(Offer::new("early").batch(id)));
    assert_eq!(early, Err(ActionError::WrongState(id)), "not accepted yet");
    pair.run_for(millis(50));
    let wrong = Err(ActionError::WrongState(id));
    let prefix = Acceptance { prefix: Some((1, duologue::wire::Digest::Blake3([0; 32]))) };
    assert_eq!(server(&mut pair, Call::Accept(id, prefix)), wrong);
    assert_eq!(server(&mut pair, Call::Pause(id, true)), wrong);
    assert_eq!(client(&mut pair, Call::Pause(id, true)), wrong);
    assert_eq!(client(&mut pair, Call::SendData(id, 0, b"x"[..].into())), wrong);
    assert_eq!(client(&mut pair, Call::Finish(id, None)), wrong);
    server(&mut pair, Call::Reject(id, TransferCode::DECLINED, "no".into())).unwrap();
    pair.run_for(millis(50));
    let rejected = pick(&pair.client, |event| match event {
        Event::Rejected { transfer, code, .. } => Some((*transfer, *code)),
        _ => None,
    });
    assert_eq!(rejected, [(id, TransferCode::DECLINED)]);
}

#[test]
fn a_batch_of_more_members_than_may_be_open_at_once_streams_through() {
    let mut pair = open_to(Config::builder().max_transfers(10).max_undecided(1));
    let id = offer_batch(&mut pair, 300, 300 * 2000);
    pair.run_for(millis(100));
    let mut next = 0;
    pair.drive(100_000, |pair| {
        while next < 300 {
            let now = pair.now();
            let offer = Offer::new(format!("file-{next}")).size(2000).batch(id);
            match pair.client.offer_as(now, offer, next, 2000) {
                Ok(_) => next += 1,
                Err(ActionError::PeerLimit) => break,
                Err(error) => panic!("{error}"),
            }
        }
        next == 300 && pair.client.has_sent_all()
    })
    .unwrap();
    server(&mut pair, Call::Stored(id, "all".into())).unwrap();
    pair.run_for(millis(100));
    assert_eq!(verdicts(&pair).last().unwrap().2, 300);
    let undecided = offer(&mut pair, Offer::new("a single one"));
    assert_eq!(undecided.number(), 302);
}
