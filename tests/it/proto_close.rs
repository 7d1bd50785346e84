//! The end of a conversation.

use core::time::Duration;

use duologue::proto::{
    Acceptance, ActionError, CloseReason, Config, DetachReason, Error, Event, Lane, Opening,
    Receipt, StreamParameters,
};
use duologue::time::Time;
use duologue::wire::{Chat, CloseCode, Frame, Offer, Side};

use crate::proto_duo::{Duo, frame, said, seconds, tell};

const DONE: CloseCode = CloseCode::DONE;
const SIDES: [Side; 2] = [Side::Client, Side::Server];

fn open() -> Duo {
    Duo::open(Config::default(), Config::default())
}

fn local(code: CloseCode, is_answered: bool) -> Event<'static> {
    Event::Closed(CloseReason::Local { code, is_answered })
}

fn assert_over(duo: &mut Duo) {
    for side in SIDES {
        let now = duo.now;
        let machine = duo.end(side);
        assert!(machine.is_closed() && !machine.is_open() && !machine.is_detached());
        assert!(machine.is_write_closed());
        assert_eq!(machine.poll_timeout(), None);
        assert_eq!(machine.poll_event(), None, "closed is the last event");
        assert!(said(machine, now).is_empty());
        assert_eq!(machine.send_chat(&Chat::new("late")), Err(ActionError::Closed));
        assert_eq!(machine.close(DONE, "", now), Err(ActionError::Closed));
        assert!(machine.handle_input(now, b"more").is_err());
        machine.handle_eof(now);
        machine.handle_disconnect(now);
        machine.handle_timeout(now.saturating_add(seconds(1_000_000)));
        assert_eq!(machine.poll_event(), None);
    }
}

fn receipts(events: &[Event<'_>], wanted: Lane) -> Vec<(u64, Receipt)> {
    let each = |event: &Event<'_>| match event {
        Event::Receipts { lane, numbers, receipt } if *lane == wanted => {
            numbers.clone().map(|number| (number, *receipt)).collect()
        }
        _ => Vec::new(),
    };
    events.iter().flat_map(each).collect()
}

#[test]
fn a_conversation_that_waits_for_the_goodbye_is_not_detached() {
    let mut duo = open();
    let now = duo.now;
    duo.client.close(DONE, "", now).unwrap();
    assert!(!said(&mut duo.client, now).is_empty(), "the goodbye");
    assert!(duo.client.is_write_closed() && !duo.client.is_closed());
    assert!(!duo.client.is_detached());
}

#[test]
fn a_graceful_close_sends_what_is_queued_first() {
    let code = CloseCode::application(50_000).unwrap();
    for side in SIDES {
        let mut duo = open();
        for number in 0..20 {
            let text = format!("{number} {}", "x".repeat(10_000));
            duo.end(side).send_chat(&Chat::new(text)).unwrap();
        }
        let now = duo.now;
        duo.end(side).close(code, "good night", now).unwrap();
        assert!(!duo.end(side).is_open());
        assert_eq!(duo.end(side).send_chat(&Chat::new("more")), Err(ActionError::Closed));
        duo.run_for(seconds(2));
        let events = duo.events(side).clone();
        let delivered: Vec<_> = (0..20).map(|number| (number, Receipt::Delivered)).collect();
        assert_eq!(receipts(&events, Lane::Chat), delivered);
        assert_eq!(events.last(), Some(&local(code, true)));
        let goodbye = Event::Goodbye { code: DONE, text: "".into() };
        assert!(events.contains(&goodbye), "the answer");
        let other = duo.events(side.opposite());
        let chats = other.iter().filter(|event| matches!(event, Event::Chat { .. })).count();
        assert_eq!(chats, 20);
        let goodbye = Event::Goodbye { code, text: "good night".into() };
        assert_eq!(other[20..], [goodbye, Event::Closed(CloseReason::Peer(code))]);
        assert_over(&mut duo);
    }
}

#[test]
fn the_last_words_are_bounded() {
    let mut duo = open();
    let now = duo.now;
    let long = "é".repeat(128);
    assert!(matches!(duo.client.close(DONE, &long, now), Err(ActionError::Invalid(_))));
    assert!(duo.client.is_open(), "nothing has changed");
    let text = &long[..254];
    duo.client.close(DONE, text, now).unwrap();
    duo.settle();
    let goodbye = Event::Goodbye { code: DONE, text: text.to_owned().into() };
    assert!(duo.server_events.contains(&goodbye));
    assert_over(&mut duo);
}

#[test]
fn both_close_at_once() {
    let mut duo = open();
    let now = duo.now;
    duo.client.close(DONE, "me", now).unwrap();
    duo.server.close(CloseCode::SHUTDOWN, "me too", now).unwrap();
    duo.settle();
    let theirs = Event::Goodbye { code: CloseCode::SHUTDOWN, text: "me too".into() };
    assert_eq!(duo.client_events, [theirs, local(DONE, true)]);
    let theirs = Event::Goodbye { code: DONE, text: "me".into() };
    assert_eq!(duo.server_events, [theirs, local(CloseCode::SHUTDOWN, true)]);
    assert_over(&mut duo);
}

#[test]
fn a_peer_that_never_answers_is_waited_for_in_two_steps() {
    let mut duo = open();
    duo.takes = false;
    duo.client.send_chat(&Chat::new("nobody takes it")).unwrap();
    duo.settle();
    let began = duo.now;
    duo.client.close(DONE, "", began).unwrap();
    duo.is_linked = false;
    // For the acknowledgement, then for the goodbye.
    let (first, second) = (began.saturating_add(seconds(5)), began.saturating_add(seconds(10)));
    duo.run_until(Time::from_micros(first.as_micros() - 1));
    assert!(!duo.client.is_write_closed());
    duo.run_until(first);
    duo.settle();
    assert!(duo.client.is_write_closed() && !duo.client.is_closed());
    assert_eq!(duo.client.poll_timeout(), Some(second));
    duo.run_until(Time::from_micros(second.as_micros() - 1));
    assert!(!duo.client.is_closed());
    duo.run_until(second);
    assert_eq!(receipts(&duo.client_events, Lane::Chat), [(0, Receipt::Unknown)]);
    assert_eq!(duo.client_events.last(), Some(&local(DONE, false)));
}

#[test]
fn what_is_taken_in_time_is_delivered_before_the_goodbye() {
    let mut duo = open();
    duo.takes = false;
    let item = duo.client.send_chat(&Chat::new("in a moment")).unwrap();
    duo.settle();
    duo.client.close(DONE, "", duo.now).unwrap();
    duo.run_for(seconds(4));
    assert!(!duo.server.is_closed());
    duo.server.take(duo.now, item);
    duo.run_for(Duration::from_millis(30));
    assert_eq!(receipts(&duo.client_events, Lane::Chat), [(0, Receipt::Delivered)]);
    assert_eq!(duo.client_events.last(), Some(&local(DONE, true)));
    assert_over(&mut duo);
}

#[test]
fn what_was_taken_before_a_goodbye_came_is_acknowledged_before_the_answer() {
    let mut duo = open();
    duo.takes = false;
    let item = duo.client.send_chat(&Chat::new("just in time")).unwrap();
    duo.settle();
    duo.client.close(DONE, "", duo.now).unwrap();
    duo.now = duo.now.saturating_add(seconds(5));
    duo.client.handle_timeout(duo.now);
    let goodbye = said(&mut duo.client, duo.now);
    assert!(duo.client.is_write_closed());
    duo.server.take(duo.now, item);
    tell(&mut duo.server, duo.now, &goodbye, true).unwrap();
    let answer = said(&mut duo.server, duo.now);
    let events = tell(&mut duo.client, duo.now, &answer, true).unwrap();
    assert_eq!(receipts(&events, Lane::Chat), [(0, Receipt::Delivered)]);
    assert_eq!(events.last(), Some(&local(DONE, true)));
}

#[test]
fn a_peer_that_cuts_instead_of_answering() {
    for is_reset in [false, true] {
        for is_sent in [false, true] {
            let mut duo = open();
            duo.client.send_chat(&Chat::new("hello")).unwrap();
            if is_sent {
                duo.run_for(seconds(1));
            }
            duo.client.close(DONE, "", duo.now).unwrap();
            if is_sent {
                said(&mut duo.client, duo.now);
            }
            if is_reset {
                duo.client.handle_disconnect(duo.now);
            } else {
                duo.client.handle_eof(duo.now);
            }
            duo.client_events.extend(core::iter::from_fn(|| duo.client.poll_event()));
            assert_eq!(duo.client_events.last(), Some(&local(DONE, false)));
            let receipt = if is_sent { Receipt::Delivered } else { Receipt::NotSent };
            assert_eq!(receipts(&duo.client_events, Lane::Chat), [(0, receipt)]);
            assert_eq!(duo.client.poll_timeout(), None);
        }
    }
}

#[test]
fn receipts_say_what_is_known() {
    // One delivered, one taken whose ACK goes with the goodbye, one not taken, one never sent.
    let mut duo = open();
    duo.client.send_chat(&Chat::new("0")).unwrap();
    duo.run_for(seconds(1));
    duo.client.send_chat(&Chat::new("1")).unwrap();
    duo.settle();
    duo.takes = false;
    duo.client.send_chat(&Chat::new("2")).unwrap();
    duo.settle();
    duo.server.close(CloseCode::SHUTDOWN, "", duo.now).unwrap();
    duo.client.send_chat(&Chat::new("3")).unwrap();
    let last = said(&mut duo.server, duo.now);
    duo.client_events.extend(tell(&mut duo.client, duo.now, &last, true).unwrap());
    let expected = [
        (0, Receipt::Delivered),
        (1, Receipt::Delivered),
        (2, Receipt::Unknown),
        (3, Receipt::NotSent),
    ];
    assert_eq!(receipts(&duo.client_events, Lane::Chat), expected);
    duo.settle();
    assert_over(&mut duo);
}

#[test]
fn transfers_are_not_waited_for() {
    for side in SIDES {
        let mut duo = open();
        let offer = Offer::new("large").size(1 << 30);
        let ours = duo.client.offer(&offer, duo.now).unwrap();
        let theirs = duo.server.offer(&offer, duo.now).unwrap();
        duo.settle();
        duo.server.accept(ours, Acceptance::default(), duo.now).unwrap();
        duo.client.accept(theirs, Acceptance::default(), duo.now).unwrap();
        duo.settle();
        duo.client.send_data(ours, 0, vec![1; 200_000].into()).unwrap();
        duo.server.send_data(theirs, 0, vec![1; 200_000].into()).unwrap();
        duo.run_for(Duration::from_millis(1));
        let now = duo.now;
        duo.end(side).close(DONE, "", now).unwrap();
        duo.run_for(seconds(1));
        for end in SIDES {
            for transfer in [ours, theirs] {
                let abandoned = Event::Abandoned { transfer };
                let events = duo.events(end);
                assert_eq!(events.iter().filter(|event| **event == abandoned).count(), 1);
            }
            assert!(matches!(duo.events(end).last(), Some(Event::Closed(_))), "{end:?}");
        }
        assert_over(&mut duo);
    }
}

#[test]
fn closing_in_the_handshake_ends_it_at_once() {
    for side in SIDES {
        let mut duo = Duo::new(Config::default(), Config::default());
        duo.settle();
        let now = duo.now;
        duo.end(side.opposite()).accept_peer(now).unwrap();
        duo.end(side).close(DONE, "never mind", now).unwrap();
        duo.settle();
        assert_eq!(duo.events(side).last(), Some(&local(DONE, false)));
        let closed = Event::Closed(CloseReason::Peer(DONE));
        assert_eq!(duo.events(side.opposite()).last(), Some(&closed));
        assert_over(&mut duo);
    }
}

#[test]
fn closing_while_detached_ends_it_at_once() {
    for is_attaching in [false, true] {
        for side in SIDES {
            let mut duo = open();
            duo.takes = false;
            duo.end(side).send_chat(&Chat::new("left")).unwrap();
            duo.settle();
            duo.cut();
            duo.end(side).send_chat(&Chat::new("never left")).unwrap();
            if is_attaching && side == Side::Client {
                let stream = StreamParameters::new([9; 32]);
                duo.client.attach(stream, duo.now).unwrap();
            }
            let now = duo.now;
            duo.end(side).close(CloseCode::SHUTDOWN, "", now).unwrap();
            duo.settle();
            let events = duo.events(side);
            assert_eq!(events.last(), Some(&local(CloseCode::SHUTDOWN, false)));
            let expected = [(0, Receipt::Unknown), (1, Receipt::NotSent)];
            assert_eq!(receipts(events, Lane::Chat), expected);
            assert_eq!(duo.end(side).poll_timeout(), None);
        }
    }
}

#[test]
fn a_violation_is_answered_by_its_code_and_sticks() {
    for side in SIDES {
        let mut duo = open();
        let now = duo.now;
        let chat = duo.end(side).send_chat(&Chat::new("lost")).unwrap();
        assert_eq!(chat.number, 0);
        let again = frame(0, &Frame::Auth(b"again"[..].into()));
        let error = tell(duo.end(side), now, &again, true).unwrap_err();
        assert_eq!(error.code(), Some(CloseCode::PROTOCOL));
        assert_eq!(duo.end(side).error(), Some(&error));
        for input in [&b"x"[..], &again, b"\0"] {
            assert_eq!(duo.end(side).handle_input(now, input), Err(error));
        }
        assert_eq!(duo.end(side).handle_input(now, b""), Ok((0, None)));
        duo.settle();
        let events = duo.events(side);
        assert_eq!(receipts(events, Lane::Chat), [(0, Receipt::NotSent)]);
        assert_eq!(events.last(), Some(&Event::Closed(CloseReason::Failed(error))));
        let other = duo.events(side.opposite());
        assert!(matches!(other[0], Event::Goodbye { code: CloseCode::PROTOCOL, .. }));
        assert_eq!(other[1], Event::Closed(CloseReason::Peer(CloseCode::PROTOCOL)));
        assert!(duo.client.is_write_closed() && duo.server.is_write_closed());
    }
}

#[test]
fn after_our_goodbye_only_acks_and_the_answer_count() {
    let mut duo = open();
    duo.takes = false;
    duo.client.send_chat(&Chat::new("one")).unwrap();
    duo.settle();
    duo.client.close(DONE, "", duo.now).unwrap();
    duo.run_for(seconds(1));
    duo.is_linked = false;
    duo.run_for(seconds(4));
    duo.settle();
    assert!(duo.client.is_write_closed());
    // Whatever was on the way is nobody's business any more.
    for late in [
        frame(0, &Frame::Chat(Chat::new("too late"))),
        frame(0, &Frame::Auth(b"nonsense"[..].into())),
        frame(7, &Frame::Data(vec![0; 5000].into())),
    ] {
        assert_eq!(tell(&mut duo.client, duo.now, &late, true).unwrap(), []);
    }
    let goodbye = duologue::wire::Goodbye { code: DONE, text: "".into() };
    let events = tell(&mut duo.client, duo.now, &frame(0, &Frame::Goodbye(goodbye)), true);
    assert!(events.unwrap().contains(&local(DONE, true)));
}

/// How a machine comes to be in a state.
type Prepare = fn(&mut Duo);

/// All states of the machine, and what the end of the stream means there.
fn states() -> [(&'static str, Prepare, Event<'static>); 8] {
    let incomplete = || Event::Closed(CloseReason::Failed(Error::Incomplete));
    let detached = || Event::Detached(DetachReason::StreamEnded);
    [
        ("hello", |_| {}, incomplete()),
        ("authenticating", Duo::settle, incomplete()),
        (
            "accepted",
            |duo| {
                duo.settle();
                duo.client.accept_peer(duo.now).unwrap();
            },
            incomplete(),
        ),
        (
            "waiting",
            |duo| {
                duo.settle();
                duo.server.accept_peer(duo.now).unwrap();
                duo.settle();
            },
            incomplete(),
        ),
        ("open", accept_both, detached()),
        (
            "in a frame",
            |duo| {
                accept_both(duo);
                let chat = frame(0, &Frame::Chat(Chat::new("half of it")));
                tell(&mut duo.client, duo.now, &chat[..13], true).unwrap();
            },
            detached(),
        ),
        (
            "closing",
            |duo| {
                accept_both(duo);
                duo.client.close(DONE, "", duo.now).unwrap();
                said(&mut duo.client, duo.now);
            },
            local(DONE, false),
        ),
        (
            "closed",
            |duo| {
                accept_both(duo);
                duo.client.close(DONE, "", duo.now).unwrap();
                duo.settle();
            },
            local(DONE, true),
        ),
    ]
}

#[test]
fn the_end_of_the_stream_in_every_state() {
    for (state, prepare, expected) in states() {
        for is_reset in [false, true] {
            let mut duo = Duo::new(Config::default(), Config::default());
            prepare(&mut duo);
            let now = duo.now;
            if is_reset {
                duo.client.handle_disconnect(now);
            } else {
                duo.client.handle_eof(now);
            }
            let is_open = state == "open" || state == "in a frame";
            let expected = if is_open && is_reset {
                Event::Detached(DetachReason::Transport)
            } else {
                expected.clone()
            };
            duo.client_events.extend(core::iter::from_fn(|| duo.client.poll_event()));
            let ends: Vec<_> = duo
                .client_events
                .iter()
                .filter(|event| matches!(event, Event::Detached(_) | Event::Closed(_)))
                .collect();
            assert_eq!(ends, [&expected], "{state} {is_reset}");
            // Twice is as good as once.
            duo.client.handle_eof(now);
            duo.client.handle_disconnect(now);
            assert_eq!(duo.client.poll_event(), None, "{state}");
            if is_open {
                duo.server.handle_disconnect(now);
                duo.attach();
                assert!(duo.client_events.contains(&Event::Open(Opening::Resumed)));
            }
        }
    }
}

fn accept_both(duo: &mut Duo) {
    duo.settle();
    duo.client.accept_peer(duo.now).unwrap();
    duo.server.accept_peer(duo.now).unwrap();
    duo.settle();
}
