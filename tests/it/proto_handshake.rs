//! From the first byte to an open conversation.

use core::time::Duration;

use duologue::proto::{
    Acceptor, ActionError, CloseReason, Config, Connection, Error, Event, Opening, StreamParameters,
};
use duologue::testing::{LinkOptions, Pair, SplitMix64};
use duologue::time::Time;
use duologue::wire::{Chat, CloseCode, Frame, HEADER_LEN, PREFACE, Resume, Side};

use crate::proto_duo::{Duo, frame, said, tell};
use crate::raw_peer::{ROLES, RawPeer};

const NOW: Time = Time::from_micros(7_000_000);

fn client(seed: u8) -> Connection {
    Connection::client(Config::default(), StreamParameters::new([seed; 32]), NOW)
}

fn duo() -> Duo {
    Duo::new(Config::default(), Config::default())
}

fn violation(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Violation(violation) => Some(violation.code()),
        _ => None,
    }
}

#[test]
fn a_new_conversation_opens_when_both_have_accepted() {
    let mut duo = duo();
    duo.settle();
    let hash = duo.client.handshake_hash().unwrap();
    assert_eq!(duo.server.handshake_hash(), Some(hash));
    let hello = Event::PeerHello { handshake_hash: hash, is_resuming: false };
    assert_eq!(duo.client_events, std::slice::from_ref(&hello));
    assert_eq!(duo.server_events, [hello]);
    for side in [Side::Client, Side::Server] {
        assert!(!duo.end(side).is_open());
        let now = duo.now;
        duo.end(side).accept_peer(now).unwrap();
        duo.settle();
    }
    assert!(duo.client.is_open() && duo.server.is_open());
    for side in [Side::Client, Side::Server] {
        assert_eq!(duo.events(side)[1..], [Event::Open(Opening::New)]);
        assert!(!duo.end(side).is_detached());
        let now = duo.now;
        assert_eq!(duo.end(side).accept_peer(now), Ok(()), "twice does nothing");
    }
    assert_eq!(duo.client.peer_limits(), Some(duo.server.config().limits()));
}

#[test]
fn it_opens_however_its_bytes_arrive() {
    for step in [1, 2, 7, 8, 9, 64] {
        let (mut one, now) = (client(1), NOW);
        let hello = said(&mut one, now);
        let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([2; 32]), now);
        for chunk in hello.chunks(step) {
            assert_eq!(acceptor.handle_input(now, chunk).unwrap().0, chunk.len());
        }
        let mut two = acceptor.accept(now).unwrap();
        two.accept_peer(now).unwrap();
        for chunk in said(&mut two, now).chunks(step) {
            tell(&mut one, now, chunk, true).unwrap();
        }
        one.accept_peer(now).unwrap();
        for chunk in said(&mut one, now).chunks(step) {
            tell(&mut two, now, chunk, true).unwrap();
        }
        assert!(one.is_open() && two.is_open(), "by {step}");
    }
}

#[test]
fn three_authentications_each_way_reach_the_applications() {
    let mut duo = duo();
    assert_eq!(duo.client.authenticate(b"early"), Err(ActionError::NotOpen));
    duo.settle();
    duo.client_events.clear();
    duo.server_events.clear();
    let messages = [Vec::new(), vec![7; 16_384], b"the last".to_vec()];
    for side in [Side::Client, Side::Server] {
        let machine = duo.end(side);
        let too_large = machine.authenticate(&[0; 16_385]);
        assert_eq!(too_large, Err(ActionError::TooLarge { max: 16_384 }));
        for message in &messages {
            machine.authenticate(message).unwrap();
        }
        assert_eq!(machine.authenticate(b""), Err(ActionError::PeerLimit));
    }
    duo.settle();
    let expected: Vec<_> =
        messages.into_iter().map(|bytes| Event::Authentication(bytes.into())).collect();
    assert_eq!(duo.client_events, expected);
    assert_eq!(duo.server_events, expected);
    duo.client.accept_peer(duo.now).unwrap();
    assert_eq!(duo.client.authenticate(b""), Err(ActionError::NotOpen), "after our RESUME");
}

#[test]
fn a_fourth_authentication_is_refused() {
    for side in [Side::Client, Side::Server] {
        let mut duo = duo();
        duo.settle();
        let now = duo.now;
        let auth = frame(0, &Frame::Auth(b"who"[..].into()));
        for _ in 0..3 {
            assert_eq!(tell(duo.end(side), now, &auth, true).unwrap().len(), 1);
        }
        // Its header alone is enough.
        let error = tell(duo.end(side), now, &auth[..HEADER_LEN], true).unwrap_err();
        assert_eq!(violation(&error), Some(CloseCode::LIMIT));
        let again = duo.end(side).handle_input(now, b"x").unwrap_err();
        assert_eq!(again, error, "sticky");
        assert_eq!(duo.end(side).poll_event(), Some(Event::Closed(CloseReason::Failed(error))));
        let last = said(duo.end(side), now);
        let Event::Goodbye { code, .. } =
            tell(duo.end(side.opposite()), now, &last, true).unwrap().remove(0)
        else {
            panic!("no goodbye");
        };
        assert_eq!(code, CloseCode::LIMIT);
    }
}

#[test]
fn nothing_is_done_and_nothing_taken_before_acceptance() {
    for side in [Side::Client, Side::Server] {
        let mut duo = duo();
        duo.settle();
        let now = duo.now;
        // The other side accepts, this one does not.
        duo.end(side.opposite()).accept_peer(now).unwrap();
        duo.settle();
        for end in [Side::Client, Side::Server] {
            let chat = Chat::new("too early");
            assert_eq!(duo.end(end).send_chat(&chat), Err(ActionError::NotOpen));
        }
        let chat = frame(0, &Frame::Chat(Chat::new("too early")));
        let error = tell(duo.end(side), now, &chat, true).unwrap_err();
        assert_eq!(violation(&error), Some(CloseCode::PROTOCOL), "{side:?}");
    }
}

#[test]
fn the_application_refuses_the_peer_with_a_code_and_a_text() {
    let own = CloseCode::application(40_000).unwrap();
    for side in [Side::Client, Side::Server] {
        for code in [CloseCode::REFUSED, own] {
            let mut duo = duo();
            duo.settle();
            let now = duo.now;
            let long = duo.end(side).refuse_peer(code, &"x".repeat(256), now);
            assert!(matches!(long, Err(ActionError::Invalid(_))));
            duo.end(side).refuse_peer(code, "not today", now).unwrap();
            duo.settle();
            let closed = CloseReason::Local { code, is_answered: false };
            assert_eq!(duo.events(side).last(), Some(&Event::Closed(closed)));
            let other = duo.events(side.opposite());
            assert_eq!(
                other[1..],
                [
                    Event::Goodbye { code, text: "not today".into() },
                    Event::Closed(CloseReason::Peer(code))
                ]
            );
            assert!(duo.client.is_closed() && duo.server.is_closed());
            assert!(duo.client.is_write_closed() && duo.server.is_write_closed());
            assert_eq!(duo.client.poll_timeout(), None);
            assert_eq!(duo.server.poll_timeout(), None);
            assert_eq!(duo.end(side).accept_peer(now), Err(ActionError::Closed));
        }
    }
}

#[test]
fn a_server_refuses_before_it_has_said_anything() {
    let mut one = client(1);
    let hello = said(&mut one, NOW);
    let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([2; 32]), NOW);
    acceptor.handle_input(NOW, &hello).unwrap();
    acceptor.refuse(CloseCode::LIMIT, "full").unwrap();
    let last: Vec<u8> = acceptor.poll_transmit().into_iter().flatten().copied().collect();
    let goodbye = Event::Goodbye { code: CloseCode::LIMIT, text: "full".into() };
    let closed = Event::Closed(CloseReason::Peer(CloseCode::LIMIT));
    assert_eq!(tell(&mut one, NOW, &last, true).unwrap(), [goodbye, closed]);
    acceptor.advance_transmit(last.len());
    assert!(acceptor.poll_transmit().is_empty());
    assert!(acceptor.accept(NOW).is_err());
}

#[test]
fn two_of_the_same_role_refuse_each_other() {
    let (mut one, mut two) = (client(1), client(2));
    let (first, second) = (said(&mut one, NOW), said(&mut two, NOW));
    for (machine, hello) in [(&mut one, second), (&mut two, first)] {
        let error = tell(machine, NOW, &hello, true).unwrap_err();
        assert_eq!(violation(&error), Some(CloseCode::ROLE));
        assert!(!said(machine, NOW).is_empty(), "a goodbye");
    }
    // A server's HELLO at an acceptor.
    let mut duo = duo();
    let from_server = said(&mut duo.server, NOW);
    let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([3; 32]), NOW);
    let error = acceptor.handle_input(NOW, &from_server).unwrap_err();
    assert_eq!(violation(&error), Some(CloseCode::ROLE));
}

#[test]
fn hashes_differ_when_the_channels_differ() {
    let hashes = |client_binding: &[u8], server_binding: &[u8]| {
        let stream = StreamParameters::new([1; 32]).channel_binding(client_binding);
        let mut one = Connection::client(Config::default(), stream, NOW);
        let stream = StreamParameters::new([2; 32]).channel_binding(server_binding);
        let mut acceptor = Acceptor::new(Config::default(), stream, NOW);
        acceptor.handle_input(NOW, &said(&mut one, NOW)).unwrap();
        let mut two = acceptor.accept(NOW).unwrap();
        tell(&mut one, NOW, &said(&mut two, NOW), true).unwrap();
        (one.handshake_hash().unwrap(), two.handshake_hash().unwrap())
    };
    let (bare, same) = hashes(b"", b"");
    assert_eq!(bare, same);
    let (bound, same) = hashes(b"exporter", b"exporter");
    assert_eq!(bound, same);
    assert_ne!(bound, bare);
    let pairs = [(&b"one"[..], &b"other"[..]), (b"one", b"two"), (b"", b"one"), (b"one", b"")];
    for (one, other) in pairs {
        let (one, other) = hashes(one, other);
        assert_ne!(one, other);
    }
}

#[test]
fn the_handshake_measures_the_round_trip() {
    let link = LinkOptions { latency: Duration::from_millis(35), ..LinkOptions::default() };
    let mut pair = Pair::new(Config::default(), Config::default(), link);
    pair.drive(100, |pair| pair.client.machine.handshake_hash().is_some()).unwrap();
    assert_eq!(pair.client.machine.round_trip(), Some(Duration::from_millis(70)));
    pair.open().unwrap();
    pair.run_for(Duration::from_millis(200));
    // The server has it from its first ping.
    for machine in [&pair.client.machine, &pair.server().machine] {
        let statistics = machine.statistics();
        assert_eq!(statistics.min_round_trip, Some(Duration::from_millis(70)));
    }
}

/// Preface, HELLO (with its header) and GOODBYE with the longest text.
fn most_before_acceptance() -> usize {
    let hello = said(&mut client(1), NOW).len();
    hello + HEADER_LEN + 2 + 255
}

#[test]
fn a_bounded_number_of_bytes_leaves_before_acceptance() {
    let most = most_before_acceptance();
    println!("before acceptance at most {most} bytes");
    assert!(most <= 8 + 8 + 1024 + 8 + 257);
    let mut random = SplitMix64::new(11);
    let inputs: Vec<Vec<u8>> = (0..300)
        .map(|case| {
            let mut input = if case % 3 == 0 { Vec::new() } else { said(&mut client(9), NOW) };
            if case % 2 == 0 && !input.is_empty() {
                let place = (random.next_u64() as usize) % input.len();
                input[place] ^= 1 << (random.next_u64() % 8);
            }
            for _ in 0..random.next_u64() % 5 {
                input.extend(frame(0, &Frame::Auth(vec![1; 100].into())));
            }
            if case % 7 == 0 {
                input.extend((0..50).map(|_| random.next_u64() as u8));
            }
            input
        })
        .collect();
    for input in &inputs {
        let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([2; 32]), NOW);
        let used = acceptor.handle_input(NOW, input).map_or(0, |(used, _)| used);
        let sent = if acceptor.request().is_some() && acceptor.error().is_none() {
            let mut server = acceptor.accept(NOW).unwrap();
            let before = said(&mut server, NOW).len();
            let _ = tell(&mut server, NOW, &input[used..], true);
            server.handle_timeout(NOW.saturating_add(Duration::from_secs(10)));
            before + said(&mut server, NOW).len()
        } else {
            acceptor.poll_transmit().len()
        };
        assert!(sent <= most, "{sent} bytes after {input:?}");

        let mut one = client(1);
        let before = said(&mut one, NOW).len();
        let _ = tell(&mut one, NOW, input, true);
        assert!(before + said(&mut one, NOW).len() <= most);
    }
}

#[test]
fn a_server_says_nothing_before_the_hello() {
    let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([2; 32]), NOW);
    let hello = said(&mut client(1), NOW);
    for byte in &hello[..hello.len() - 1] {
        acceptor.handle_input(NOW, &[*byte]).unwrap();
        assert!(acceptor.poll_transmit().is_empty());
    }
    assert_eq!(acceptor.request(), None);
    assert!(acceptor.accept(NOW).is_err(), "the HELLO is not whole");
}

#[test]
fn a_wrong_preface_is_refused_at_its_first_wrong_byte_and_not_answered() {
    for wrong in 0..PREFACE.len() {
        let mut preface = PREFACE;
        preface[wrong] ^= 0x20;
        let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([2; 32]), NOW);
        assert_eq!(acceptor.handle_input(NOW, &preface[..wrong]).unwrap(), (wrong, None));
        let error = acceptor.handle_input(NOW, &preface[wrong..=wrong]).unwrap_err();
        assert_eq!(error, Error::NotDuologue);
        assert!(acceptor.poll_transmit().is_empty());
        assert_eq!(acceptor.poll_timeout(), None);
        let mut one = client(1);
        said(&mut one, NOW);
        assert_eq!(tell(&mut one, NOW, &preface, true), Err(Error::NotDuologue));
        assert!(said(&mut one, NOW).is_empty());
    }
}

#[test]
fn what_the_configuration_allows_can_be_said_in_hello() {
    // Untaken messages have to hold one of the largest; a HELLO that said otherwise is malformed.
    for (item, bytes, is_right) in [
        (1 << 20, 1 << 20, true),
        (1 << 20, (1 << 20) - 1, false),
        (16 << 20, 16_384, false),
        (16_384, 16_384, true),
    ] {
        let config = Config::builder().max_item(item).max_untaken_bytes(bytes).build();
        assert_eq!(config.is_ok(), is_right, "{item} {bytes}");
        let Ok(config) = config else { continue };
        let mut one = Connection::client(config, StreamParameters::new([1; 32]), NOW);
        assert!(said(&mut one, NOW).len() > PREFACE.len());
    }
}

#[test]
fn nothing_prints_a_secret_or_what_was_said() {
    let seed = [0xAB; 32];
    let stream = StreamParameters::new(seed).channel_binding(&[0xAB; 8]);
    let mut acceptor = Acceptor::new(Config::default(), stream, NOW);
    acceptor.handle_input(NOW, &said(&mut client(1), NOW)).unwrap();
    let mut duo = duo();
    duo.settle();
    duo.client.accept_peer(NOW).unwrap();
    duo.server.accept_peer(NOW).unwrap();
    duo.settle();
    duo.client.send_chat(&Chat::new("private")).unwrap();
    let _ = duo.client.poll_transmit(duo.now).len();
    let all = format!("{stream:?} {acceptor:?} {:?} {:?}", duo.client, duo.server);
    assert!(!all.contains("private") && !all.contains("171, 171"), "{all}");
    assert!(all.len() < 1200, "{all}");
}

/// The words of a rule reach the application and, for its log, the peer.
#[test]
fn the_rule_that_was_broken_is_told_to_both_sides() {
    for victim in ROLES {
        let mut peer = RawPeer::unopened(victim, Config::default());
        peer.greet();
        peer.victim_accepts();
        // The decoder lets it pass: only who knows that the conversation is new can object.
        let proof = Resume { proof: Some([7; 32]), ..Resume::default() };
        let error = peer.send(0, Frame::Resume(proof)).unwrap_err();
        let Error::Violation(violation) = error else { panic!("{error}") };
        let rule = "resuming what is new";
        assert_eq!((violation.code(), violation.rule()), (CloseCode::PROTOCOL, rule));
        peer.drain();
        assert_eq!(peer.goodbye().unwrap().text, rule);
    }
}
