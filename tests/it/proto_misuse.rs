//! Actions at the wrong time, and calls too many: an error, and nothing has changed.

use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{Acceptance, ActionError, Config, Event, ItemId, Lane};
use duologue::testing::{Call, Done, LinkOptions, Pair, Pattern};
use duologue::time::Time;
use duologue::wire::{
    Batch, Chat, CloseCode, Digest, Message, Offer, Side, Signal, TransferCode, TransferId,
};

use super::proto_util::{client, finish_all, frames, millis, offer, open, server};

const PREFIX: Digest = Digest::Blake3([1; 32]);

fn id(side: Side, number: u32) -> TransferId {
    TransferId::new(side, number).unwrap()
}

fn message() -> Message<'static> {
    Message { message_type: 1, is_reply: false, correlation: 0, body: b"x"[..].into() }
}

fn batch() -> Batch<'static> {
    Batch { name: "b".into(), count: 1, bytes: 1, metadata: b""[..].into() }
}

/// What has to stay as it is when an action is refused.
fn state(pair: &mut Pair, side: Side) -> String {
    let now = pair.now();
    let machine = &mut pair.end(side).machine;
    let timeout = machine.next_timeout(now);
    format!("{:?} {} {timeout:?}", machine.statistics(), machine.memory_usage())
}

/// Refused with this error, without a trace, at this side.
#[track_caller]
fn refused(pair: &mut Pair, side: Side, call: Call, error: ActionError) {
    let before = state(pair, side);
    let now = pair.now();
    let name = format!("{call:?}");
    assert_eq!(pair.end(side).machine.call(now, call), Err(error), "{name}");
    assert_eq!(pair.end(side).machine.poll_event(now), None, "{name}");
    let mut bytes = 0;
    pair.end(side).machine.transmit(now, |next| {
        bytes = next.len();
        0
    });
    assert_eq!(bytes, 0, "{name} made something to send");
    assert_eq!(state(pair, side), before, "{name}");
}

fn on_transfer(id: TransferId) -> Vec<Call> {
    vec![
        Call::Accept(id, Acceptance::default()),
        Call::Reject(id, TransferCode::DECLINED, String::new()),
        Call::SendData(id, 0, Bytes::from_static(b"x")),
        Call::ConfirmPrefix(id),
        Call::Restart(id),
        Call::Finish(id, None),
        Call::Cancel(id, TransferCode::CANCELLED, String::new()),
        Call::Pause(id, true),
        Call::Stored(id, "x".into()),
        Call::Failed(id, TransferCode::NO_SPACE, String::new()),
    ]
}

fn on_conversation() -> Vec<Call> {
    vec![
        Call::SendChat(Chat::new("x")),
        Call::SendMessage(message()),
        Call::SendSignal(Signal { signal_type: 1, payload: b"x"[..].into() }),
        Call::Offer(Offer::new("x")),
        Call::OfferBatch(batch()),
    ]
}

#[test]
fn nothing_is_said_before_the_conversation_is_open() {
    let mut pair = Pair::new(Config::default(), Config::default(), LinkOptions::default());
    let now = pair.now();
    // The client's HELLO is taken off, so that anything more would be noticed.
    pair.client.machine.transmit(now, <[u8]>::len);
    for call in on_conversation() {
        refused(&mut pair, Side::Client, call, ActionError::NotOpen);
    }
    for call in on_transfer(id(Side::Client, 1)) {
        refused(&mut pair, Side::Client, call, ActionError::NotOpen);
    }
    for call in [Call::AcceptPeer, Call::Authenticate(vec![1]), Call::Attach([5; 32])] {
        refused(&mut pair, Side::Client, call, ActionError::NotOpen);
    }
}

#[test]
fn nothing_is_said_after_it_has_closed() {
    let mut pair = open();
    client(&mut pair, Call::Close(CloseCode::DONE, String::new())).unwrap();
    pair.drive(1000, |pair| pair.client.closed.is_some()).unwrap();
    pair.run_for(millis(100));
    for side in [Side::Client, Side::Server] {
        for call in on_conversation() {
            refused(&mut pair, side, call, ActionError::Closed);
        }
        for call in on_transfer(id(Side::Client, 1)) {
            refused(&mut pair, side, call, ActionError::Closed);
        }
        for call in [
            Call::AcceptPeer,
            Call::Attach([5; 32]),
            Call::Close(CloseCode::DONE, String::new()),
            Call::RefusePeer(CloseCode::REFUSED, String::new()),
        ] {
            refused(&mut pair, side, call, ActionError::Closed);
        }
        let authenticate = Call::Authenticate(vec![1]);
        refused(&mut pair, side, authenticate, ActionError::NotOpen);
    }
}

#[test]
fn transfers_that_are_not_there_are_unknown() {
    let mut pair = open();
    for side in [Side::Client, Side::Server] {
        for transfer in [id(Side::Client, 1), id(Side::Server, 1), id(Side::Client, 2_000_000)] {
            for call in on_transfer(transfer) {
                refused(&mut pair, side, call, ActionError::UnknownTransfer(transfer));
            }
        }
    }
    let member = Call::Offer(Offer::new("x").batch(id(Side::Client, 1)));
    let unknown = ActionError::UnknownTransfer(id(Side::Client, 1));
    refused(&mut pair, Side::Client, member, unknown);
    // What is done to such a transfer without a result does nothing.
    let before = state(&mut pair, Side::Client);
    client(&mut pair, Call::Release(id(Side::Server, 1), 100)).unwrap();
    client(&mut pair, Call::SetDurable(id(Side::Server, 1), 100)).unwrap();
    for lane in [Lane::Chat, Lane::Control] {
        client(&mut pair, Call::Take(ItemId { lane, number: 5 })).unwrap();
    }
    assert_eq!(state(&mut pair, Side::Client), before);
}

/// A transfer of the client, by hand, and neither decided nor concluded by itself.
fn offered() -> (Pair, TransferId) {
    let mut pair = open();
    pair.server_mut().behaviour.accepts_offers = false;
    pair.server_mut().behaviour.concludes = false;
    let id = offer(&mut pair, Offer::new("file-1").size(10));
    pair.run_for(millis(100));
    (pair, id)
}

/// Those that the other side of a transfer does are unknown here.
fn wrong_at(pair: &mut Pair, side: Side, transfer: TransferId, allowed: &[&str]) {
    let is_ours = side == Side::Client;
    for call in on_transfer(transfer) {
        let name = format!("{call:?}");
        let name = name.split('(').next().unwrap();
        let is_senders =
            ["SendData", "ConfirmPrefix", "Restart", "Finish", "Cancel"].contains(&name);
        let error = if name != "Pause" && is_senders != is_ours {
            ActionError::UnknownTransfer(transfer)
        } else if allowed.contains(&name) {
            continue;
        } else {
            ActionError::WrongState(transfer)
        };
        refused(pair, side, call, error);
    }
}

#[test]
fn every_action_in_every_state_of_a_file() {
    let (mut pair, id) = offered();
    wrong_at(&mut pair, Side::Client, id, &["Cancel", "Pause"]);
    wrong_at(&mut pair, Side::Server, id, &["Accept", "Reject", "Pause"]);
    let over = Acceptance { prefix: Some((11, PREFIX)) };
    let too_large = ActionError::TooLarge { max: 10 };
    refused(&mut pair, Side::Server, Call::Accept(id, over), too_large);
    let zero = Call::Accept(id, Acceptance { prefix: Some((0, PREFIX)) });
    assert!(matches!(server(&mut pair, zero), Err(ActionError::Invalid(_))));

    server(&mut pair, Call::Accept(id, Acceptance::default())).unwrap();
    pair.run_for(millis(100));
    wrong_at(&mut pair, Side::Client, id, &["Cancel", "Pause", "SendData"]);
    wrong_at(&mut pair, Side::Server, id, &["Pause", "Failed"]);
    let data = |offset, len| Call::SendData(id, offset, Pattern::new(1).bytes(0, len));
    for offset in [1, 10, u64::MAX] {
        let expected = ActionError::WrongOffset { expected: 0 };
        refused(&mut pair, Side::Client, data(offset, 1), expected);
    }
    refused(&mut pair, Side::Client, data(0, 11), too_large);
    // Nothing at all is nothing at all.
    client(&mut pair, data(0, 0)).unwrap();
    client(&mut pair, data(0, 10)).unwrap();
    pair.run_for(millis(100));
    refused(&mut pair, Side::Client, data(10, 1), too_large);

    client(&mut pair, Call::Finish(id, None)).unwrap();
    pair.run_for(millis(100));
    wrong_at(&mut pair, Side::Client, id, &["Cancel", "Pause", "SendData"]);
    refused(&mut pair, Side::Client, data(10, 1), too_large);
    wrong_at(&mut pair, Side::Server, id, &["Pause", "Stored", "Failed"]);

    client(&mut pair, Call::Cancel(id, TransferCode::CANCELLED, String::new())).unwrap();
    pair.run_for(millis(100));
    wrong_at(&mut pair, Side::Client, id, &[]);
    // What was asked to end can be concluded either way, as all is there.
    wrong_at(&mut pair, Side::Server, id, &["Stored", "Failed"]);
    server(&mut pair, Call::Stored(id, "x".into())).unwrap();
    pair.run_for(millis(100));
    for side in [Side::Client, Side::Server] {
        for call in on_transfer(id) {
            refused(&mut pair, side, call, ActionError::UnknownTransfer(id));
        }
    }
    assert_eq!(pair.client.machine.error(), None);
    assert_eq!(pair.server().machine.error(), None);
}

#[test]
fn values_that_the_format_cannot_carry_are_refused() {
    let (mut pair, id) = offered();
    let long = "x".repeat(256);
    let stored = TransferCode::STORED;
    let calls = [
        (Side::Client, Call::SendChat(Chat::new("x").author(""))),
        (Side::Client, Call::SendChat(Chat::new("x").author(long.clone()))),
        (Side::Client, Call::SendChat(Chat::new("x").time(1 << 53))),
        (Side::Client, Call::SendMessage(Message { correlation: 1 << 53, ..message() })),
        (Side::Client, Call::Offer(Offer::new(""))),
        (Side::Client, Call::Offer(Offer::new(long.clone()))),
        (Side::Client, Call::Offer(Offer::new("a\0b"))),
        (Side::Client, Call::Offer(Offer::new("x").size(1 << 53))),
        (Side::Client, Call::Offer(Offer::new("x").directory())),
        (Side::Client, Call::OfferBatch(Batch { name: "".into(), ..batch() })),
        (Side::Client, Call::Cancel(id, TransferCode::CANCELLED, long.clone())),
        (Side::Client, Call::Cancel(id, stored, String::new())),
        (Side::Client, Call::Close(CloseCode::DONE, long.clone())),
        (Side::Server, Call::Reject(id, TransferCode::DECLINED, long.clone())),
        (Side::Server, Call::Reject(id, stored, String::new())),
    ];
    for (side, call) in calls {
        let before = pair.end(side).machine.statistics();
        let now = pair.now();
        let result = pair.end(side).machine.call(now, call.clone());
        assert!(matches!(result, Err(ActionError::Invalid(_))), "{call:?}: {result:?}");
        pair.run_for(millis(100));
        assert_eq!(pair.end(side).machine.statistics().sent, before.sent, "{call:?}");
    }
    assert!(pair.client.machine.is_open());
    server(&mut pair, Call::Accept(id, Acceptance::default())).unwrap();
    pair.run_for(millis(50));
    // The number of the next offer is the one that no refused offer used.
    assert_eq!(offer(&mut pair, Offer::new("y")).number(), 2);
}

#[test]
fn taking_what_was_not_handed_out_takes_what_was() {
    let mut pair = open();
    pair.server_mut().behaviour.takes = false;
    let now = pair.now();
    for text in ["a", "b"] {
        pair.client.say(now, text).unwrap();
    }
    pair.run_for(millis(100));
    let before = state(&mut pair, Side::Server);
    server(&mut pair, Call::Take(ItemId { lane: Lane::Control, number: u64::MAX })).unwrap();
    assert_eq!(state(&mut pair, Side::Server), before);
    server(&mut pair, Call::Take(ItemId { lane: Lane::Chat, number: u64::MAX })).unwrap();
    pair.run_for(millis(100));
    assert_eq!(pair.client.receipts.len(), 2);
    pair.tap();
    server(&mut pair, Call::Take(ItemId { lane: Lane::Chat, number: 0 })).unwrap();
    pair.run_for(millis(100));
    assert_eq!(frames(&pair.tapped(Side::Server)), []);
    assert_eq!(pair.client.machine.error(), None);
}

#[test]
fn advancing_by_more_than_there_is_is_advancing_by_all() {
    let mut pair = open();
    let now = pair.now();
    pair.client.say(now, "hello").unwrap();
    let mut bytes = Vec::new();
    pair.client.machine.transmit(now, |next| {
        bytes.extend_from_slice(next);
        usize::MAX
    });
    assert!(!bytes.is_empty());
    assert!(pair.server_mut().receive(now, &bytes));
    // With nothing there it does nothing.
    let before = state(&mut pair, Side::Client);
    pair.client.machine.transmit(now, |_| usize::MAX);
    assert_eq!(state(&mut pair, Side::Client), before);
    pair.run_for(millis(100));
    assert_eq!(pair.server().chats, ["hello"]);
    assert_eq!(pair.client.receipts.len(), 1);
}

#[test]
fn output_that_is_looked_at_and_not_taken_stays_the_same() {
    let mut pair = open();
    let now = pair.now();
    pair.client.tell(now, &[5; 40_000]).unwrap();
    pair.client.say(now, "hello").unwrap();
    pair.client.offer(now, 1, 100_000, true).unwrap();
    let look = |pair: &mut Pair| {
        let mut bytes = Vec::new();
        pair.client.machine.transmit(now, |next| {
            bytes.extend_from_slice(next);
            0
        });
        bytes
    };
    let first = look(&mut pair);
    let before = state(&mut pair, Side::Client);
    for _ in 0..1000 {
        assert!(look(&mut pair) == first);
    }
    assert_eq!(state(&mut pair, Side::Client), before);
    finish_all(&mut pair);
    pair.drive(1000, |pair| pair.client.receipts.len() >= 3).unwrap();
}

#[test]
fn calls_too_many_too_early_and_backwards_in_time_do_nothing() {
    let mut pair = open();
    pair.record();
    let start = pair.now();
    let file = pair.client.offer(start, 1, 3_000_000, false).unwrap();
    pair.server_mut().offer(start, 2, 3_000_000, true).unwrap();
    for round in 0..2000 {
        if !pair.step() {
            break;
        }
        let now = pair.now();
        for side in [Side::Client, Side::Server] {
            let end = pair.end(side);
            for time in [now, Time::ZERO, start, now] {
                end.machine.handle_timeout(time);
                end.poll(time);
                let _ = end.machine.next_timeout(time);
                let used = end.machine.handle_input(time, b"").unwrap();
                assert_eq!(used, (0, None));
                end.machine.transmit(time, |_| 0);
            }
        }
        if round == 5 {
            pair.client.say(start, "late").unwrap();
        }
        if pair.client.has_sent_all() && pair.server().has_sent_all() {
            break;
        }
    }
    finish_all(&mut pair);
    assert!(pair.client.outgoing[&file].verdict.is_some());
    assert!(pair.now() < start.saturating_add(Duration::from_secs(10)), "{:?}", pair.now());
    assert_eq!(pair.server().chats, ["late"]);
}

#[test]
fn the_end_of_time_is_only_a_very_late_time() {
    let mut pair = open();
    let now = pair.now();
    pair.client.offer(now, 1, 100_000, true).unwrap();
    pair.run_for(millis(3));
    // Everything is overdue: the peer was silent for ever.
    pair.client.machine.handle_timeout(Time::MAX);
    pair.client.poll(Time::MAX);
    let detached = pair.client.events.iter().any(|event| matches!(event, Event::Detached(_)));
    assert!(detached, "{:?}", pair.client.events);
    for _ in 0..10 {
        pair.client.machine.handle_timeout(Time::MAX);
        pair.client.machine.transmit(Time::MAX, <[u8]>::len);
        pair.client.poll(Time::MAX);
        let _ = pair.client.machine.next_timeout(Time::MAX);
    }
    assert_eq!(pair.client.machine.error(), None);
}

#[test]
fn a_refused_action_can_be_done_again_where_that_helps() {
    for (error, can_retry) in [
        (ActionError::Blocked, true),
        (ActionError::NotOpen, true),
        (ActionError::PeerLimit, true),
        (ActionError::Closed, false),
        (ActionError::Exhausted, false),
        (ActionError::TooLarge { max: 1 }, false),
        (ActionError::WrongOffset { expected: 1 }, false),
        (ActionError::WrongState(id(Side::Client, 1)), false),
        (ActionError::UnknownTransfer(id(Side::Client, 1)), false),
    ] {
        assert_eq!(error.can_retry(), can_retry, "{error}");
    }
    let done = client(&mut open(), Call::SendChat(Chat::new("x")));
    assert_eq!(done, Ok(Done::Item(ItemId { lane: Lane::Chat, number: 0 })));
}
