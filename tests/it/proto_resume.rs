//! How a conversation is resumed, begun anew, or given up.

use core::time::Duration;

use duologue::proto::{
    Acceptance, ActionError, CloseReason, Config, DetachReason, Error, Event, Lane, Opening,
    Receipt,
};
use duologue::testing::{LinkOptions, Pair};
use duologue::time::Time;
use duologue::wire::{
    Chat, CloseCode, Frame, Held, Kind, Message, Offer, Reject, Resume, Side, TransferCode,
    TransferId,
};

use crate::proto_breaks::{STEPS, assert_all_stored, delivered, drive_to_end, pair, resume};
use crate::proto_duo::{Duo, said, tell};
use crate::raw_peer::{ROLES, RawPeer};
use crate::state_transfers::{accept, offer, offer_batch, transfer};

#[test]
fn the_server_forgot_so_both_begin_anew() {
    let mut pair = pair();
    let now = pair.now();
    pair.client.say(now, "before").unwrap();
    pair.run_for(Duration::from_secs(1));
    pair.server_mut().behaviour.takes = false;
    let now = pair.now();
    pair.client.say(now, "left, but nobody took it").unwrap();
    let file = pair.client.offer(now, 1, 10_000_000, true).unwrap();
    let theirs = pair.server_mut().offer(now, 2, 10_000_000, true).unwrap();
    pair.run_for(Duration::from_secs(1));
    pair.cut();
    let now = pair.now();
    pair.client.say(now, "never left").unwrap();
    pair.forget_server();
    pair.attach().unwrap();
    pair.open().unwrap();
    assert_eq!(pair.client.openings, [Opening::New, Opening::Fresh]);
    assert_eq!(pair.server().openings, [Opening::New]);
    let chats: Vec<_> = pair
        .client
        .receipts
        .iter()
        .filter(|(item, _)| item.lane == Lane::Chat)
        .map(|(item, receipt)| (item.number, *receipt))
        .collect();
    let expected = [(0, Receipt::Delivered), (1, Receipt::Unknown), (2, Receipt::NotSent)];
    assert_eq!(chats, expected);
    assert!(pair.client.outgoing[&file].is_abandoned);
    assert!(pair.client.incoming[&theirs].is_abandoned);
    assert!(pair.server().chats.is_empty(), "nothing is replayed");
    // All numbers begin anew.
    let now = pair.now();
    assert_eq!(pair.client.say(now, "anew").unwrap().number, 0);
    let again = pair.client.offer(now, 1, 10_000, true).unwrap();
    assert_eq!(again, TransferId::new(Side::Client, 1).unwrap());
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server().chats, ["anew"]);
    assert_eq!(pair.client.outgoing[&again].verdict.as_ref().unwrap().0, TransferCode::STORED);
    // And it can be resumed like any other.
    pair.cut();
    resume(&mut pair);
    let now = pair.now();
    pair.client.say(now, "and again").unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server().chats, ["anew", "and again"]);
}

#[test]
fn many_breaks_in_a_row() {
    let mut pair = pair();
    let now = pair.now();
    for seed in 0..3 {
        pair.client.offer(now, seed, 900_000, seed % 2 == 0).unwrap();
        pair.server_mut().offer(now, seed + 10, 900_000, seed % 2 == 1).unwrap();
    }
    let mut breaks = 0;
    while !(pair.client.has_sent_all() && pair.server().has_sent_all()) {
        let now = pair.now();
        pair.client.say(now, &format!("c{breaks}")).unwrap();
        pair.server_mut().say(now, &format!("s{breaks}")).unwrap();
        pair.cut_after(Side::Client, 5000 + 37_000 * (breaks % 5));
        pair.cut_after(Side::Server, 7000 + 31_000 * (breaks % 7));
        let _ = pair.drive(STEPS, |pair| {
            pair.is_cut() || (pair.client.has_sent_all() && pair.server().has_sent_all())
        });
        if pair.is_cut() {
            pair.attach().unwrap();
            breaks += 1;
        }
        assert!(breaks < 1000);
    }
    assert_all_stored(&pair);
    let count = pair.client.receipts.iter().filter(|(item, _)| item.lane == Lane::Chat).count();
    assert!(count as u64 >= breaks);
    let lines = |side| (0..=breaks).map(move |number| format!("{side}{number}"));
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server().chats, lines('c').collect::<Vec<_>>());
    assert_eq!(pair.client.chats, lines('s').collect::<Vec<_>>());
    println!("{breaks} breaks, {} streams", pair.client.machine.statistics().streams);
}

#[test]
fn a_break_anywhere_in_the_handshake_of_a_resumption_does_no_harm() {
    for side in [Side::Client, Side::Server] {
        for bytes in 0..400 {
            let mut pair = pair();
            let now = pair.now();
            pair.client.say(now, "before").unwrap();
            let id = pair.client.offer(now, 1, 60_000, true).unwrap();
            pair.cut_after(Side::Client, 20_000);
            pair.drive(STEPS, |pair| pair.is_cut()).unwrap();
            let now = pair.now();
            pair.client.say(now, "between").unwrap();
            pair.server_mut().say(now, "too").unwrap();
            pair.attach().unwrap();
            pair.cut_after(side, bytes);
            pair.drive(STEPS, |pair| pair.is_cut()).unwrap();
            resume(&mut pair);
            drive_to_end(&mut pair);
            pair.run_for(Duration::from_secs(1));
            assert_eq!(pair.server().chats, ["before", "between"], "{side:?} {bytes}");
            assert_eq!(pair.client.chats, ["too"]);
            assert_eq!(delivered(&pair.client, Lane::Chat), [0, 1]);
            assert!(!pair.server().incoming[&id].is_wrong);
        }
    }
}

#[test]
fn a_break_that_the_server_does_not_notice_is_superseded() {
    let mut pair = pair();
    let now = pair.now();
    let id = pair.client.offer(now, 1, 400_000, false).unwrap();
    pair.client.say(now, "one").unwrap();
    pair.run_for(Duration::from_millis(100));
    pair.cut_silently();
    assert!(!pair.server().machine.is_detached());
    let now = pair.now();
    pair.server_mut().say(now, "to nobody").unwrap();
    pair.attach().unwrap();
    pair.open().unwrap();
    let superseded = Event::Detached(DetachReason::Superseded);
    assert!(pair.server().events.contains(&superseded));
    assert_eq!(pair.server().openings, [Opening::New, Opening::Resumed]);
    drive_to_end(&mut pair);
    assert_eq!(pair.client.chats, ["to nobody"]);
    assert!(!pair.server().incoming[&id].is_wrong);
}

/// The server has the client's RESUME, and nothing of it after that; the client is open.
fn never_heard() -> Duo {
    let mut duo = Duo::new(Config::default(), Config::default());
    let now = duo.now;
    duo.server.accept_peer(now).unwrap();
    let answer = said(&mut duo.server, now);
    tell(&mut duo.client, now, &answer, true).unwrap();
    duo.client.accept_peer(now).unwrap();
    // Preface and HELLO have been read; RESUME without a secret has 27 bytes.
    let proof = said(&mut duo.client, now);
    tell(&mut duo.server, now, &proof[..27], true).unwrap();
    assert!(duo.client.is_open() && duo.server.is_open());
    duo
}

#[test]
fn a_server_does_not_keep_a_conversation_whose_client_never_spoke() {
    let mut duo = never_heard();
    duo.server.handle_disconnect(duo.now);
    let failed = CloseReason::Failed(Error::Incomplete);
    assert_eq!(duo.server.poll_event(), Some(Event::Closed(failed)));
    assert!(duo.server.is_closed() && !duo.server.is_detached());
    assert_eq!(duo.server.poll_timeout(), None);
}

#[test]
fn a_client_that_was_never_heard_but_proves_the_secret_goes_on() {
    // The first stream dies, and the server does not notice before the client is back.
    let mut duo = never_heard();
    duo.server.send_chat(&Chat::new("still here")).unwrap();
    duo.client.handle_disconnect(duo.now);
    duo.attach();
    assert!(duo.client.is_open() && duo.server.is_open());
    assert!(duo.server_events.contains(&Event::Detached(DetachReason::Superseded)));
    assert!(duo.client_events.contains(&Event::Open(Opening::Resumed)));
    let is_chat = |event: &Event<'_>| matches!(event, Event::Chat { .. });
    assert_eq!(duo.client_events.iter().filter(|event| is_chat(event)).count(), 1);
}

#[test]
fn a_detached_conversation_ends_in_time_on_either_side() {
    let config = Config::builder().detached_timeout(Duration::from_secs(77)).build().unwrap();
    let mut pair = Pair::new(config.clone(), config, LinkOptions::default());
    pair.open().unwrap();
    pair.run_for(Duration::from_secs(1));
    pair.server_mut().behaviour.takes = false;
    pair.server_mut().behaviour.concludes = false;
    let now = pair.now();
    pair.client.say(now, "left").unwrap();
    let id = pair.client.offer(now, 1, 100_000, true).unwrap();
    pair.run_for(Duration::from_secs(1));
    pair.cut();
    let now = pair.now();
    pair.client.say(now, "never left").unwrap();
    let end = pair.now().saturating_add(Duration::from_secs(77));
    pair.run_until(Time::from_micros(end.as_micros() - 1));
    assert_eq!((pair.client.closed, pair.server().closed), (None, None));
    pair.run_until(end);
    let over = Some(CloseReason::DetachedTimedOut);
    assert_eq!((pair.client.closed, pair.server().closed), (over, over));
    assert!(pair.client.outgoing[&id].is_abandoned && pair.server().incoming[&id].is_abandoned);
    let chat: Vec<_> = pair
        .client
        .receipts
        .iter()
        .filter(|(item, _)| item.lane == Lane::Chat)
        .map(|(_, receipt)| *receipt)
        .collect();
    assert_eq!(chat, [Receipt::Unknown, Receipt::NotSent]);
    assert_eq!(pair.attach(), Err(ActionError::Closed));
}

#[test]
fn an_attempt_to_resume_does_not_put_off_the_end() {
    let mut pair = pair();
    pair.cut();
    let end = pair.now().saturating_add(Duration::from_secs(300));
    // An attempt each 9 s, all of which end in nothing.
    while pair.now() < end {
        if pair.client.machine.is_open() {
            pair.attach().unwrap();
            pair.cut_silently();
        }
        let next = pair.now().saturating_add(Duration::from_secs(9)).min(end);
        pair.run_until(next);
    }
    assert_eq!(pair.client.closed, Some(CloseReason::DetachedTimedOut));
    assert_eq!(pair.server().closed, Some(CloseReason::DetachedTimedOut));
}

#[test]
fn after_eight_attaches_that_brought_nothing_on_the_next_has_to_wait() {
    let mut duo = Duo::open(Config::default(), Config::default());
    for _ in 0..8 {
        duo.cut();
        duo.attach();
    }
    duo.cut();
    for second in [0, 3, 6] {
        let mut refused = duo.try_attach().unwrap_err();
        let last: Vec<u8> = refused.poll_transmit().into_iter().flatten().copied().collect();
        let events = tell(&mut duo.client, duo.now, &last, true).unwrap();
        let limit = Event::Detached(DetachReason::Goodbye(CloseCode::LIMIT));
        assert_eq!(events.last(), Some(&limit), "after {second} s");
        assert!(duo.client.is_detached() && duo.server.is_detached());
        duo.run_for(Duration::from_secs(3));
    }
    duo.run_for(Duration::from_secs(1));
    duo.attach();
    duo.client.send_chat(&Chat::new("here at last")).unwrap();
    duo.settle();
    assert!(matches!(duo.server_events.last(), Some(Event::Chat { .. })));
    // That was progress, so it may break as often again.
    for _ in 0..8 {
        duo.cut();
        duo.attach();
    }
}

#[test]
fn a_line_of_chat_between_them_makes_attaches_welcome() {
    let mut pair = pair();
    for number in 0..40 {
        if number % 5 == 0 {
            let now = pair.now();
            let side = if number % 10 == 0 { Side::Client } else { Side::Server };
            pair.end(side).say(now, "still here").unwrap();
            pair.run_for(Duration::from_millis(100));
        }
        pair.cut();
        resume(&mut pair);
    }
}

/// What the client has more than before is progress, though nothing of the client's has arrived.
#[test]
fn what_arrived_at_the_client_makes_attaches_welcome() {
    for what in ["lines", "messages", "data"] {
        let mut duo = Duo::open(Config::default(), Config::default());
        let now = duo.now;
        let file = duo.server.offer(&Offer::new("file").size(1 << 20), now).unwrap();
        duo.settle();
        duo.client.accept(file, Acceptance::default(), now).unwrap();
        duo.settle();
        for number in 0..20 {
            match what {
                "lines" => assert!(duo.server.send_chat(&Chat::new("x")).is_ok()),
                "messages" => {
                    let (message_type, is_reply, correlation) = (1, false, number);
                    let body = b"x"[..].into();
                    let message = Message { message_type, is_reply, correlation, body };
                    assert!(duo.server.send_message(&message).is_ok());
                }
                _ => duo.server.send_data(file, number * 1000, vec![7; 1000].into()).unwrap(),
            }
            let bytes = said(&mut duo.server, now);
            tell(&mut duo.client, now, &bytes, true).unwrap();
            duo.cut();
            duo.try_attach().unwrap_or_else(|_| panic!("{what}: attach {number} is refused"));
        }
    }
}

/// A RESUME lists files whose ACCEPT was begun to be sent, and nothing else.
#[test]
fn what_a_resume_lists() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        for number in 1..=3 {
            offer(&mut peer, number, &Offer::new("file")).unwrap();
        }
        offer_batch(&mut peer, 4, 1).unwrap();
        accept(&mut peer, 1);
        accept(&mut peer, 4);
        // The ACCEPT of this one never leaves, nor what the application decides of the second.
        peer.is_reading = false;
        let (late, now) = (transfer(peer.ours(3)), peer.now);
        peer.victim().accept(late, Acceptance::default(), now).unwrap();
        let next = peer.stream.next;
        peer.cut();
        peer.is_reading = true;
        peer.resume(next);
        let Some(Frame::Resume(resume)) = peer.frames_of(Kind::RESUME).pop() else { panic!() };
        let listed: Vec<_> = resume.transfers.iter().map(|held| held.transfer).collect();
        assert_eq!(listed, [transfer(peer.ours(1))]);
    }
}

/// Before an attach is refused the client's acknowledgements count, though they bring nothing themselves.
#[test]
fn what_was_acknowledged_makes_the_ninth_attach_welcome() {
    for what in ["nothing", "lines", "messages", "data"] {
        let mut duo = Duo::open(Config::default(), Config::default());
        let now = duo.now;
        let file = duo.server.offer(&Offer::new("file").size(1 << 20), now).unwrap();
        duo.settle();
        duo.client.accept(file, Acceptance::default(), now).unwrap();
        duo.settle();
        for _ in 0..9 {
            duo.cut();
            duo.attach();
        }
        match what {
            "nothing" => {}
            "lines" => assert!(duo.server.send_chat(&Chat::new("x")).is_ok()),
            "messages" => {
                let (message_type, is_reply, correlation) = (1, false, 2);
                let body = b"x"[..].into();
                let message = Message { message_type, is_reply, correlation, body };
                assert!(duo.server.send_message(&message).is_ok());
            }
            _ => duo.server.send_data(file, 0, vec![7; 1000].into()).unwrap(),
        }
        duo.run_for(Duration::from_millis(50));
        duo.cut();
        assert_eq!(duo.try_attach().is_ok(), what != "nothing", "{what}");
    }
}

/// A RESUME that has what was not sent: refused, in words that say what it was.
#[test]
fn a_resume_that_has_what_was_not_sent_is_refused() {
    let (items, not_offered) = ("items that were not sent", "a transfer that was not offered");
    let ended = "a transfer that has ended, or bytes that were not sent";
    for victim in ROLES {
        for (next, held, rule) in [
            ([1, 0], None, items),
            ([0, 1], None, items),
            ([0, 0], Some((victim, 1, 0)), ended),
            ([0, 0], Some((victim, 3, 0)), not_offered),
            ([0, 0], Some((victim.opposite(), 1, 0)), not_offered),
        ] {
            let mut peer = RawPeer::open(victim);
            let now = peer.now;
            for _ in 0..2 {
                peer.victim().offer(&Offer::new("file"), now).unwrap();
            }
            peer.drain();
            let reject = Reject { code: TransferCode::DECLINED, text: "".into() };
            peer.send(peer.theirs(1), Frame::Reject(reject)).unwrap();
            peer.take_all();
            peer.acknowledge().unwrap();
            let had = peer.stream.next;
            peer.cut();
            peer.reattach();
            let held = held.map(|(side, number, received)| Held {
                transfer: TransferId::new(side, number).unwrap(),
                received,
            });
            let next = [had[0] + next[0], had[1] + next[1]];
            let resume = peer.resume_from(next);
            let transfers: Vec<Held> = held.into_iter().collect();
            let resume = Resume { transfers: transfers.into(), ..resume };
            let error = peer.resume_with(resume).unwrap_err();
            let Error::Violation(violation) = error else { panic!("{error}") };
            assert_eq!((violation.code(), violation.rule()), (CloseCode::PROTOCOL, rule));
        }
    }
}
