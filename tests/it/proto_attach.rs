//! Streams that want to resume a conversation and may not: they are refused, and it is unharmed.

use duologue::proto::{
    Acceptor, ActionError, CloseReason, Config, Connection, DetachReason, Error, Event, Opening,
    Request, Resuming, StreamParameters,
};
use duologue::time::Time;
use duologue::wire::{Chat, CloseCode, Frame, Hello, Resume, Side};

use crate::proto_duo::{Duo, frame, said, seconds, tell};

fn open() -> Duo {
    Duo::open(Config::default(), Config::default())
}

fn code(error: Option<&Error>) -> Option<CloseCode> {
    match error {
        Some(Error::Violation(violation)) => Some(violation.code()),
        _ => None,
    }
}

fn acceptor(seed: u8, hello: &[u8], now: Time) -> (Acceptor, Request) {
    let stream = StreamParameters::new([seed; 32]);
    let mut acceptor = Acceptor::new(Config::default(), stream, now);
    let (_, request) = acceptor.handle_input(now, hello).unwrap();
    (acceptor, request.unwrap())
}

/// What a handshake at the server says now.
fn words(resuming: &mut Resuming) -> Vec<u8> {
    let words: Vec<u8> = resuming.poll_transmit().into_iter().flatten().copied().collect();
    resuming.advance_transmit(words.len());
    words
}

/// Says a line on the stream that the conversation has.
fn assert_unharmed(duo: &mut Duo) {
    assert!(!duo.server.is_closed() && !duo.server.is_detached());
    duo.server_events.clear();
    duo.client.send_chat(&Chat::new("unharmed")).unwrap();
    duo.settle();
    assert!(matches!(duo.server_events[..], [Event::Chat { .. }]), "{:?}", duo.server_events);
}

/// A preface and HELLO that somebody made who knows the conversation's name.
fn forged(duo: &Duo, change: impl FnOnce(&mut Hello)) -> Vec<u8> {
    let mut hello = Hello {
        lowest_version: 1,
        highest_version: 1,
        side: Side::Client,
        nonce: [99; 32],
        conversation: duo.client.conversation(),
        attach: 7,
        stream: 0,
        features: 0,
        limits: *duo.client.config().limits(),
        unknown_critical: None,
    };
    change(&mut hello);
    let mut bytes = duologue::wire::PREFACE.to_vec();
    bytes.extend(frame(0, &Frame::Hello(hello)));
    bytes
}

#[test]
fn a_counter_that_does_not_rise_is_stale() {
    for attaches in [0, 1, 3] {
        let mut duo = open();
        for _ in 0..attaches {
            duo.cut();
            duo.attach();
        }
        for attach in 0..=attaches {
            let hello = forged(&duo, |hello| hello.attach = attach);
            let (acceptor, request) = acceptor(50, &hello, duo.now);
            assert_eq!(request.attach, attach);
            let mut refused = acceptor.resume(&duo.server, duo.now).unwrap_err();
            assert_eq!(code(refused.error()), Some(CloseCode::STALE));
            assert!(refused.error().unwrap().can_retry());
            assert!(!refused.poll_transmit().is_empty(), "a goodbye");
            assert_unharmed(&mut duo);
        }
    }
}

#[test]
fn another_conversation_and_other_terms_are_refused() {
    let mut duo = open();
    let other = open_with_seed(77);
    let hello = forged(&duo, |hello| hello.conversation = other.conversation());
    let (acceptor_, _) = acceptor(50, &hello, duo.now);
    let refused = acceptor_.resume(&duo.server, duo.now).unwrap_err();
    assert_eq!(code(refused.error()), Some(CloseCode::PROTOCOL));
    assert_unharmed(&mut duo);
    let changes: [fn(&mut Hello); 3] = [
        |hello| hello.limits.transfers += 1,
        |hello| hello.features = 1,
        |hello| hello.highest_version = 9,
    ];
    for change in changes {
        let hello = forged(&duo, change);
        let (acceptor, _) = acceptor(50, &hello, duo.now);
        let refused = acceptor.resume(&duo.server, duo.now).unwrap_err();
        assert_eq!(code(refused.error()), Some(CloseCode::PROTOCOL));
        assert_unharmed(&mut duo);
    }
}

fn open_with_seed(seed: u8) -> Connection {
    let stream = StreamParameters::new([seed; 32]);
    Connection::client(Config::default(), stream, Time::ZERO)
}

#[test]
fn who_does_not_have_the_secret_is_refused() {
    let mut duo = open();
    let hello = forged(&duo, |_| {});
    for proof in [Some([0; 32]), None] {
        let (acceptor, _) = acceptor(50, &hello, duo.now);
        let mut resuming = acceptor.resume(&duo.server, duo.now).unwrap();
        resuming.accept_peer();
        words(&mut resuming);
        let resume = frame(0, &Frame::Resume(Resume { proof, ..Resume::default() }));
        let error = resuming.handle_input(duo.now, &resume).unwrap_err();
        assert_eq!(code(Some(&error)), Some(CloseCode::PROOF));
        assert!(!resuming.is_ready());
        assert_eq!(resuming.handle_input(duo.now, b"more"), Err(error), "sticky");
        assert!(!words(&mut resuming).is_empty(), "a goodbye");
        let refused = duo.server.resume(resuming, duo.now).unwrap_err();
        assert_eq!(refused.error(), Some(&Error::Closed));
        assert_unharmed(&mut duo);
    }
}

#[test]
fn a_forged_proof_does_not_use_up_the_counter() {
    let mut duo = open();
    let hello = forged(&duo, |hello| hello.attach = 1000);
    let (acceptor, _) = acceptor(50, &hello, duo.now);
    let mut resuming = acceptor.resume(&duo.server, duo.now).unwrap();
    resuming.accept_peer();
    let resume = Resume { proof: Some([3; 32]), ..Resume::default() };
    let resume = frame(0, &Frame::Resume(resume));
    resuming.handle_input(duo.now, &resume).unwrap_err();
    drop(resuming);
    duo.cut();
    duo.attach();
    assert_eq!(duo.client_events.last(), Some(&Event::Open(Opening::Resumed)));
    assert_unharmed(&mut duo);
}

/// What the client said when it resumed, and its conversation.
fn heard() -> (Duo, Vec<u8>, Vec<u8>) {
    let mut duo = open();
    duo.cut();
    let now = duo.now;
    duo.client.attach(StreamParameters::new([60; 32]), now).unwrap();
    let hello = said(&mut duo.client, now);
    let (acceptor, _) = acceptor(61, &hello, now);
    let mut resuming = acceptor.resume(&duo.server, now).unwrap();
    resuming.accept_peer();
    tell(&mut duo.client, now, &words(&mut resuming), true).unwrap();
    duo.client.accept_peer(now).unwrap();
    let proof = said(&mut duo.client, now);
    resuming.handle_input(now, &proof).unwrap();
    duo.server.resume(resuming, now).unwrap();
    duo.is_linked = true;
    duo.settle();
    assert!(!duo.client.is_detached() && !duo.server.is_detached());
    (duo, hello, proof)
}

#[test]
fn what_was_said_once_does_not_resume_again() {
    let (mut duo, hello, proof) = heard();
    let (first, _) = acceptor(70, &hello, duo.now);
    let refused = first.resume(&duo.server, duo.now).unwrap_err();
    assert_eq!(code(refused.error()), Some(CloseCode::STALE));
    assert_unharmed(&mut duo);
    // With a higher counter the HELLO is another one, so the old proof is wrong.
    let (second, _) = acceptor(70, &forged(&duo, |hello| hello.attach = 9), duo.now);
    let mut resuming = second.resume(&duo.server, duo.now).unwrap();
    resuming.accept_peer();
    let error = resuming.handle_input(duo.now, &proof).unwrap_err();
    assert_eq!(code(Some(&error)), Some(CloseCode::PROOF));
    assert_unharmed(&mut duo);
    // The server's own proof, sent back to it, is not one of a client.
    assert_eq!(duo.server.statistics().streams, 2);
}

#[test]
fn the_same_bytes_at_a_server_with_another_nonce_prove_nothing() {
    let mut duo = open();
    duo.cut();
    let now = duo.now;
    duo.client.attach(StreamParameters::new([60; 32]), now).unwrap();
    let hello = said(&mut duo.client, now);
    let (one, _) = acceptor(61, &hello, now);
    let mut one = one.resume(&duo.server, now).unwrap();
    one.accept_peer();
    tell(&mut duo.client, now, &words(&mut one), true).unwrap();
    duo.client.accept_peer(now).unwrap();
    let proof = said(&mut duo.client, now);
    // Somebody on the way opens a stream of their own with what they heard.
    let (two, _) = acceptor(62, &hello, now);
    let mut two = two.resume(&duo.server, now).unwrap();
    two.accept_peer();
    let error = two.handle_input(now, &proof).unwrap_err();
    assert_eq!(code(Some(&error)), Some(CloseCode::PROOF));
    // The right one is not disturbed.
    one.handle_input(now, &proof).unwrap();
    duo.server.resume(one, now).unwrap();
    duo.is_linked = true;
    duo.settle();
    assert_unharmed(&mut duo);
}

#[test]
fn a_server_that_does_not_have_the_secret_is_refused() {
    let mut duo = open();
    duo.cut();
    let now = duo.now;
    duo.client.attach(StreamParameters::new([60; 32]), now).unwrap();
    said(&mut duo.client, now);
    let answer = forged(&duo, |hello| {
        hello.side = Side::Server;
        hello.attach = 1;
        hello.limits = *duo.server.config().limits();
    });
    let events = tell(&mut duo.client, now, &answer, true).unwrap();
    assert!(matches!(events[..], [Event::PeerHello { is_resuming: true, .. }]));
    duo.client.accept_peer(now).unwrap();
    let resume = Resume { proof: Some([3; 32]), ..Resume::default() };
    let error = tell(&mut duo.client, now, &frame(0, &Frame::Resume(resume)), true).unwrap_err();
    assert_eq!(code(Some(&error)), Some(CloseCode::PROOF));
    let failed = Event::Detached(DetachReason::AttachFailed(error));
    assert_eq!(duo.client.poll_event(), Some(failed));
    assert!(duo.client.is_open() && duo.client.is_detached(), "it can try elsewhere");
    duo.attach();
    assert_unharmed(&mut duo);
}

#[test]
fn of_two_attaches_under_way_the_higher_counter_wins() {
    for is_higher_first in [true, false] {
        let mut duo = open();
        duo.cut();
        let now = duo.now;
        // The first attempt is given up by the client, but reaches its end at the server.
        duo.client.attach(StreamParameters::new([60; 32]), now).unwrap();
        let (low, _) = acceptor(61, &said(&mut duo.client, now), now);
        let mut low = low.resume(&duo.server, now).unwrap();
        low.accept_peer();
        tell(&mut duo.client, now, &words(&mut low), true).unwrap();
        duo.client.accept_peer(now).unwrap();
        let low_proof = said(&mut duo.client, now);
        duo.client.attach(StreamParameters::new([62; 32]), now).unwrap();
        let (high, _) = acceptor(63, &said(&mut duo.client, now), now);
        let mut high = high.resume(&duo.server, now).unwrap();
        high.accept_peer();
        tell(&mut duo.client, now, &words(&mut high), true).unwrap();
        duo.client.accept_peer(now).unwrap();
        let high_proof = said(&mut duo.client, now);
        low.handle_input(now, &low_proof).unwrap();
        high.handle_input(now, &high_proof).unwrap();
        assert!(low.is_ready() && high.is_ready());
        if is_higher_first {
            duo.server.resume(high, now).unwrap();
            let mut refused = duo.server.resume(low, now).unwrap_err();
            assert_eq!(code(refused.error()), Some(CloseCode::STALE));
            assert!(!words(&mut refused).is_empty());
        } else {
            duo.server.resume(low, now).unwrap();
            duo.server.resume(high, now).unwrap();
        }
        duo.is_linked = true;
        duo.settle();
        assert_eq!(duo.client_events.last(), Some(&Event::Open(Opening::Resumed)));
        assert_unharmed(&mut duo);
    }
}

#[test]
fn an_attempt_that_ends_in_any_way_leaves_the_stream_alone() {
    let mut duo = open();
    let late = duo.now.saturating_add(seconds(10));
    let endings: [fn(&mut Resuming, Time); 5] = [
        |resuming, _| resuming.handle_eof(),
        |resuming, late| resuming.handle_timeout(late),
        |resuming, _| resuming.refuse(CloseCode::REFUSED, "not you").unwrap(),
        |resuming, late| {
            let goodbye = duologue::wire::Goodbye { code: CloseCode::DONE, text: "".into() };
            let goodbye = frame(0, &Frame::Goodbye(goodbye));
            let (_, event) = resuming.handle_input(late, &goodbye).unwrap();
            assert!(matches!(event, Some(Event::Goodbye { .. })));
        },
        |resuming, late| {
            let chat = frame(0, &Frame::Chat(Chat::new("too early")));
            resuming.handle_input(late, &chat).unwrap_err();
        },
    ];
    for ending in endings {
        let (acceptor, _) = acceptor(50, &forged(&duo, |_| {}), duo.now);
        let mut resuming = acceptor.resume(&duo.server, duo.now).unwrap();
        assert_eq!(resuming.poll_timeout(), Some(late));
        ending(&mut resuming, late);
        assert!(resuming.error().is_some() && !resuming.is_ready());
        assert_eq!(resuming.poll_timeout(), None);
        assert!(duo.server.resume(resuming, duo.now).is_err());
        assert_unharmed(&mut duo);
    }
}

#[test]
fn authentication_is_asked_for_again_on_resuming() {
    let mut duo = open();
    duo.cut();
    let now = duo.now;
    duo.client.attach(StreamParameters::new([60; 32]), now).unwrap();
    let (acceptor, _) = acceptor(61, &said(&mut duo.client, now), now);
    let mut resuming = acceptor.resume(&duo.server, now).unwrap();
    resuming.authenticate(b"who are you?").unwrap();
    let events = tell(&mut duo.client, now, &words(&mut resuming), true).unwrap();
    let hash = resuming.handshake_hash();
    let hello = Event::PeerHello { handshake_hash: hash, is_resuming: true };
    assert_eq!(events, [hello, Event::Authentication(b"who are you?"[..].into())]);
    duo.client.authenticate(b"me").unwrap();
    duo.client.accept_peer(now).unwrap();
    let input = said(&mut duo.client, now);
    let (used, event) = resuming.handle_input(now, &input).unwrap();
    assert_eq!(event, Some(Event::Authentication(b"me"[..].into())));
    resuming.handle_input(now, &input[used..]).unwrap();
    assert!(!resuming.is_ready(), "the proof is right, but nobody has accepted");
    resuming.accept_peer();
    assert!(resuming.is_ready());
    duo.server.resume(resuming, now).unwrap();
    duo.is_linked = true;
    duo.settle();
    assert_unharmed(&mut duo);
}

#[test]
fn what_cannot_be_attached() {
    let mut duo = open();
    let stream = StreamParameters::new([9; 32]);
    assert_eq!(duo.server.attach(stream, duo.now), Err(ActionError::NotOpen));
    let mut new = open_with_seed(5);
    assert_eq!(new.attach(stream, duo.now), Err(ActionError::NotOpen));
    duo.client.close(CloseCode::DONE, "", duo.now).unwrap();
    assert_eq!(duo.client.attach(stream, duo.now), Err(ActionError::Closed));
    duo.settle();
    assert_eq!(duo.client.attach(stream, duo.now), Err(ActionError::Closed));
    // Nor can a conversation that has ended be resumed.
    let (acceptor, _) = acceptor(50, &forged(&duo, |_| {}), duo.now);
    assert!(acceptor.resume(&duo.server, duo.now).is_err());
}

#[test]
fn a_goodbye_to_an_attach_is_for_now_or_for_good() {
    for (code, is_for_now) in [
        (CloseCode::SHUTDOWN, true),
        (CloseCode::LIMIT, true),
        (CloseCode::TIMEOUT, true),
        (CloseCode::INTERNAL, true),
        (CloseCode::STALE, true),
        (CloseCode::PROOF, false),
        (CloseCode::REFUSED, false),
        (CloseCode::DONE, false),
    ] {
        let mut duo = open();
        duo.cut();
        let now = duo.now;
        duo.client.attach(StreamParameters::new([60; 32]), now).unwrap();
        let (mut acceptor, _) = acceptor(61, &said(&mut duo.client, now), now);
        acceptor.refuse(code, "later").unwrap();
        let last: Vec<u8> = acceptor.poll_transmit().into_iter().flatten().copied().collect();
        let events = tell(&mut duo.client, now, &last, true).unwrap();
        let end = if is_for_now {
            Event::Detached(DetachReason::Goodbye(code))
        } else {
            Event::Closed(CloseReason::Peer(code))
        };
        assert_eq!(events, [Event::Goodbye { code, text: "later".into() }, end]);
        assert_eq!(duo.client.is_open(), is_for_now);
        if is_for_now {
            duo.attach();
            assert_unharmed(&mut duo);
        }
    }
}

#[test]
fn who_was_refused_is_neither_accepted_nor_resumed_nor_told_more() {
    let mut duo = open();
    duo.cut();
    let now = duo.now;
    duo.client.attach(StreamParameters::new([3; 32]), now).unwrap();
    let hello = said(&mut duo.client, now);
    let refused = || {
        let (mut acceptor, _) = acceptor(4, &hello, now);
        acceptor.refuse(CloseCode::REFUSED, "").unwrap();
        acceptor
    };
    assert!(refused().resume(&duo.server, now).is_err());
    assert!(matches!(refused().accept(now), Err(ActionError::NotOpen)));
    let (acceptor, _) = acceptor(4, &hello, now);
    let mut resuming = acceptor.resume(&duo.server, now).unwrap();
    resuming.authenticate(b"who is there?").unwrap();
    resuming.refuse(CloseCode::REFUSED, "").unwrap();
    let before = words(&mut resuming);
    assert_eq!(resuming.authenticate(b"still?"), Err(ActionError::NotOpen));
    assert!(!before.is_empty() && words(&mut resuming).is_empty());
}
