//! Hostile time: rows H17 and H20 to H24 of the project's list of hostile inputs.

use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{CloseReason, Config, DetachReason, Error, Event};
use duologue::time::Time;
use duologue::wire::{
    Accept, Chat, CloseCode, Credit, Frame, Goodbye, Kind, Limits, MAX_INTEGER, Offer, PREFACE,
    Pause, Ping, Side, TransferCode,
};

use crate::raw_peer::{ROLES, RawPeer};
use crate::state_transfers::{accept, cancel, data, finish, offer, start, transfer};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn h17_the_end_or_a_goodbye_at_every_byte_of_the_handshake() {
    for victim in ROLES {
        let mut whole = RawPeer::unopened(victim, Config::default());
        whole.greet();
        whole.send(0, Frame::Auth(b"me"[..].into())).unwrap();
        whole.accept_victim();
        let bytes = whole.stream.ours;
        for cut in 0..bytes.len() {
            let mut peer = RawPeer::unopened(victim, Config::default());
            let hello = whole_hello(&bytes).min(cut);
            peer.send_bytes(&bytes[..hello]).unwrap();
            if peer.acceptor.as_ref().is_some_and(|acceptor| acceptor.request().is_some()) {
                peer.victim_answers();
            }
            peer.send_bytes(&bytes[hello..cut]).unwrap();
            let now = peer.now;
            match &mut peer.acceptor {
                Some(acceptor) => {
                    acceptor.handle_eof();
                    assert_eq!(acceptor.error(), Some(&Error::Incomplete));
                    assert_eq!(acceptor.poll_timeout(), None);
                }
                None => {
                    peer.victim().handle_eof(now);
                    peer.collect();
                    let failed = Event::Closed(CloseReason::Failed(Error::Incomplete));
                    assert_eq!(peer.events.last(), Some(&failed), "after {cut} bytes");
                    assert_eq!(peer.victim().poll_timeout(), None);
                }
            }
            peer.drain();
            assert_eq!(peer.goodbye(), None);
        }
    }
}

/// Bytes of the preface and HELLO.
fn whole_hello(bytes: &[u8]) -> usize {
    let header = &bytes[PREFACE.len()..];
    PREFACE.len() + 8 + usize::from(header[1]) * 256 + usize::from(header[2])
}

#[test]
fn h20_one_byte_at_a_time_does_not_stretch_the_handshake() {
    for victim in ROLES {
        let mut peer = RawPeer::unopened(victim, Config::default());
        let mut hello = PREFACE.to_vec();
        Frame::Hello(peer.hello()).encode(0, &mut hello).unwrap();
        let mut seconds = 0;
        for byte in hello {
            if peer.send_bytes(&[byte]).is_err() {
                break;
            }
            peer.wait(SECOND);
            seconds += 1;
        }
        assert_eq!(seconds, 10);
        let error = match &peer.acceptor {
            Some(acceptor) => acceptor.error().copied(),
            None => peer.victim().error().copied(),
        };
        assert_eq!(error, Some(Error::HandshakeTimedOut));
    }
}

#[test]
fn h20_one_byte_at_a_time_does_not_keep_a_conversation_alive() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        peer.send(0, Frame::Chat(Chat::new("hello"))).unwrap();
        let mut frame = Vec::new();
        Frame::Chat(Chat::new("x".repeat(5000))).encode(0, &mut frame).unwrap();
        let begun = peer.now;
        for byte in frame {
            if peer.victim().is_detached() {
                break;
            }
            peer.send_bytes(&[byte]).unwrap();
            peer.wait(Duration::from_secs(59));
        }
        assert_eq!(peer.events.last(), Some(&Event::Detached(DetachReason::Idle)));
        assert!(peer.now.saturating_duration_since(begun) < Duration::from_secs(130));
        // A slow stream is another matter: it brings 1 KiB within the time.
        let mut peer = RawPeer::open(victim);
        for _ in 0..50 {
            peer.send_bytes(&slow_piece(&peer)).unwrap();
            peer.wait(Duration::from_secs(50));
            assert!(!peer.victim().is_detached());
        }
    }
}

/// Of one frame after the other, 1 KiB.
fn slow_piece(peer: &RawPeer) -> Vec<u8> {
    let mut frame = Vec::new();
    Frame::Unknown { kind: Kind::new(0x8F), payload: vec![0; 60_000].into() }
        .encode(0, &mut frame)
        .unwrap();
    let begun = peer.stream.ours.len() - slow_begin(peer);
    frame[begun % frame.len()..].iter().copied().take(1024).collect()
}

fn slow_begin(peer: &RawPeer) -> usize {
    // What was said before the first piece, as a fresh conversation says it.
    RawPeer::open(peer.side.opposite()).stream.ours.len()
}

#[test]
fn h21_silence_before_during_and_right_after_the_handshake() {
    for victim in ROLES {
        for stage in 0..5 {
            let mut peer = RawPeer::unopened(victim, Config::default());
            if stage == 1 {
                peer.send_bytes(&PREFACE).unwrap();
            }
            if stage >= 2 {
                peer.greet();
            }
            if stage >= 3 {
                peer.accept_victim();
            }
            if stage >= 4 {
                peer.victim_accepts();
            }
            let said = peer.stream.theirs.len();
            peer.wait(Duration::from_millis(if stage < 4 { 9999 } else { 59_999 }));
            let is_quiet = peer.acceptor.as_ref().is_none_or(|a| a.error().is_none());
            assert!(is_quiet && !peer.connection.as_ref().is_some_and(|c| c.is_closed()));
            peer.wait(Duration::from_millis(1));
            peer.drain();
            match (&peer.acceptor, stage) {
                (Some(acceptor), _) => {
                    assert_eq!(acceptor.error(), Some(&Error::HandshakeTimedOut));
                    // A server says nothing before the client's HELLO.
                    assert_eq!(peer.stream.theirs.len(), said);
                }
                (None, 4) if victim == Side::Server => {
                    // It may not even have heard the secret, so it could never come back.
                    assert!(peer.victim().is_closed());
                }
                (None, 4) => assert!(peer.victim().is_detached()),
                (None, _) => {
                    assert_eq!(peer.victim().error(), Some(&Error::HandshakeTimedOut));
                    let code = peer.goodbye().map(|goodbye| goodbye.code);
                    assert_eq!(code, (stage > 0).then_some(CloseCode::TIMEOUT));
                }
            }
        }
    }
}

#[test]
fn h22_no_number_of_the_peers_reaches_the_clock() {
    // Of the peer's numbers only those in PING, START, CREDIT, OFFER and RESUME are free.
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let before = peer.victim().poll_timeout();
        for token in [0, u64::MAX, 1 << 63] {
            peer.send(0, Frame::Ping(Ping { token: token.to_be_bytes() })).unwrap();
        }
        let modified = Offer::new("file").modified(MAX_INTEGER).size(MAX_INTEGER);
        offer(&mut peer, 1, &modified).unwrap();
        let chat = Chat::new("from the end of time").time(MAX_INTEGER);
        peer.send(0, Frame::Chat(chat)).unwrap();
        peer.wait(SECOND);
        assert!(peer.victim().poll_timeout() <= Some(before.unwrap().saturating_add(SECOND)));
    }
}

#[test]
fn h23_a_clock_that_goes_back_breaks_nothing_and_one_that_leaps_ends_what_is_late() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        peer.wait(Duration::from_secs(15));
        let now = peer.now;
        peer.victim().handle_timeout(now);
        peer.now = Time::ZERO;
        peer.send(0, Frame::Chat(Chat::new("from the past"))).unwrap();
        peer.victim().handle_timeout(Time::ZERO);
        peer.now = now;
        let id = peer.victim().offer(&Offer::new("file"), Time::ZERO).unwrap();
        assert!(peer.victim().poll_timeout().is_some());
        peer.wait(Duration::from_secs(50));
        assert!(!peer.victim().is_detached(), "it heard of the peer 50 s ago");
        // A leap to the end of time.
        peer.now = Time::MAX;
        peer.victim().handle_timeout(Time::MAX);
        peer.collect();
        assert_eq!(peer.events.last(), Some(&Event::Detached(DetachReason::Idle)));
        let _ = id;
    }
}

#[test]
fn h23_what_arrives_at_the_deadline_is_in_time() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        peer.is_reading = false;
        let deadline = peer.now.saturating_add(Duration::from_secs(60));
        peer.now = deadline;
        peer.send(0, Frame::Ping(Ping { token: [1; 8] })).unwrap();
        peer.victim().handle_timeout(deadline);
        peer.collect();
        assert!(!peer.victim().is_detached());
        let mut peer = RawPeer::open(victim);
        peer.now = deadline;
        peer.victim().handle_timeout(deadline);
        assert!(!peer.victim().is_open() || peer.victim().is_detached());
    }
}

#[test]
fn h24_a_ping_is_answered_next_whatever_bulk_is_under_way() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let now = peer.now;
        let id = peer.victim().offer(&Offer::new("file").seekable(), now).unwrap();
        peer.converse();
        peer.send(id.to_wire(), Frame::Accept(Accept::default())).unwrap();
        let credit = Credit { limit: 1 << 30, received: 0, durable: 0 };
        peer.send(id.to_wire(), Frame::Credit(credit)).unwrap();
        let mut sent = 0;
        for round in 0..200_u64 {
            let chunk = Bytes::from(vec![1; 65_536]);
            if peer.victim().send_data(id, sent, chunk).is_ok() {
                sent += 65_536;
            }
            peer.is_reading = false;
            // Part of a frame leaves, then the ping comes.
            peer.read(100);
            peer.stream.frames.clear();
            peer.send(0, Frame::Ping(Ping { token: round.to_be_bytes() })).unwrap();
            let before = peer.stream.theirs.len();
            while peer.frames_of(Kind::PONG).is_empty() {
                assert!(peer.read(64) > 0);
            }
            let waited = peer.stream.theirs.len() - before;
            assert!(waited <= 16_384 + 8 + 1024, "{waited} bytes before the answer");
            peer.is_reading = true;
            peer.acknowledge().unwrap();
        }
        assert!(sent > 1 << 20);
    }
}

#[test]
fn h24_a_peer_that_is_alive_but_sends_nothing_of_its_file_stalls() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        offer(&mut peer, 1, &Offer::new("file").size(100_000)).unwrap();
        accept(&mut peer, 1);
        start(&mut peer, 1, 0).unwrap();
        data(&mut peer, 1, 2000).unwrap();
        for step in 0..12_u8 {
            peer.wait(Duration::from_secs(10));
            peer.send(0, Frame::Ping(Ping { token: [step; 8] })).unwrap();
            peer.converse();
        }
        let expired = Event::Expired { transfer: transfer(peer.ours(1)) };
        assert!(peer.events.contains(&expired));
        let verdicts = peer.frames_of(Kind::VERDICT);
        assert!(matches!(&verdicts[..], [Frame::Verdict(v)]
            if v.code == TransferCode::STALLED && v.total == 2000));
        assert!(peer.victim().is_open() && !peer.victim().is_detached());
    }
}

/// After FINISH the sender owes what is missing, and when nothing is, the application may take its time.
#[test]
fn what_is_missing_after_finish_stalls_and_what_is_whole_does_not() {
    for victim in ROLES {
        for (sent, stalls) in [(1500, true), (2000, false)] {
            let mut peer = RawPeer::open(victim);
            offer(&mut peer, 1, &Offer::new("file")).unwrap();
            accept(&mut peer, 1);
            start(&mut peer, 1, 0).unwrap();
            data(&mut peer, 1, sent).unwrap();
            finish(&mut peer, 1, 2000).unwrap();
            for step in 0..13_u8 {
                peer.wait(Duration::from_secs(10));
                peer.send(0, Frame::Ping(Ping { token: [step; 8] })).unwrap();
                peer.converse();
            }
            let expired = Event::Expired { transfer: transfer(peer.ours(1)) };
            assert_eq!(peer.events.contains(&expired), stalls, "{sent} bytes of 2000");
        }
    }
}

#[test]
fn h24_a_pong_to_a_ping_that_has_not_left_measures_nothing() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let pong = |number: u64| Frame::Pong(Ping { token: number.to_be_bytes() });
        peer.send(0, pong(1)).unwrap();
        peer.is_reading = false;
        peer.now = peer.now.saturating_add(Duration::from_secs(21));
        let now = peer.now;
        peer.victim().handle_timeout(now);
        assert!(peer.victim().poll_transmit(now).len() >= 16, "a PING is planned");
        let before = peer.victim().round_trip();
        peer.now = peer.now.saturating_add(Duration::from_secs(1));
        peer.send(0, pong(2)).unwrap();
        assert_eq!(peer.victim().round_trip(), before);
        // It leaves, and is answered a second later: its time began when it left.
        peer.stream.frames.clear();
        peer.drain();
        let pings = peer.frames_of(Kind::PING);
        assert_eq!(pings, [Frame::Ping(Ping { token: 2_u64.to_be_bytes() })]);
        peer.now = peer.now.saturating_add(Duration::from_secs(8));
        peer.send(0, pong(2)).unwrap();
        let (before, after) = (before.unwrap_or_default(), peer.victim().round_trip().unwrap());
        assert_eq!(after, (before * 7 + Duration::from_secs(8)) / 8);
    }
}

#[test]
fn h24_a_pause_that_changes_nothing_is_no_progress() {
    for victim in ROLES {
        for is_ours in [false, true] {
            let mut peer = RawPeer::open(victim);
            let id = if is_ours {
                let now = peer.now;
                let id = peer.victim().offer(&Offer::new("file"), now).unwrap();
                peer.converse();
                peer.send(id.to_wire(), Frame::Accept(Accept::default())).unwrap();
                peer.victim().send_data(id, 0, Bytes::from_static(b"held back")).unwrap();
                id
            } else {
                offer(&mut peer, 1, &Offer::new("file").size(100_000)).unwrap();
                accept(&mut peer, 1);
                transfer(peer.ours(1))
            };
            for is_early in [true, false] {
                for _ in 0..if is_early { 11 } else { 2 } {
                    peer.wait(Duration::from_secs(10));
                    let pause = Frame::Pause(Pause { is_paused: false });
                    peer.send(id.to_wire(), pause).unwrap();
                    peer.converse();
                }
                let is_expired = peer.events.contains(&Event::Expired { transfer: id });
                assert_eq!(is_expired, !is_early, "ours: {is_ours}");
            }
        }
    }
}

#[test]
fn h24_who_is_not_waited_for_does_not_stall() {
    for victim in ROLES {
        // The receiver's application takes its time, and then gives credit again.
        let mut peer = RawPeer::open(victim);
        offer(&mut peer, 1, &Offer::new("file")).unwrap();
        accept(&mut peer, 1);
        start(&mut peer, 1, 0).unwrap();
        let mut received = 0;
        while data(&mut peer, 1, 16_384).is_ok() && received < 15 * 16_384 {
            received += 16_384;
        }
        received += 16_384;
        keep_alive(&mut peer, 20);
        let (id, now) = (transfer(peer.ours(1)), peer.now);
        peer.victim().release(id, received, now);
        keep_alive(&mut peer, 11);
        assert!(!peer.events.contains(&Event::Expired { transfer: id }));
        keep_alive(&mut peer, 2);
        assert!(peer.events.contains(&Event::Expired { transfer: id }));
        // The sender's source takes its time, and then all is sent, or finished.
        for is_finish in [false, true] {
            let mut peer = RawPeer::open(victim);
            let now = peer.now;
            let id = peer.victim().offer(&Offer::new("file"), now).unwrap();
            peer.converse();
            peer.send(id.to_wire(), Frame::Accept(Accept::default())).unwrap();
            keep_alive(&mut peer, 20);
            if is_finish {
                peer.victim().finish(id, None).unwrap();
            } else {
                peer.victim().send_data(id, 0, Bytes::from_static(b"late")).unwrap();
            }
            keep_alive(&mut peer, 11);
            assert!(!peer.events.contains(&Event::Expired { transfer: id }));
            keep_alive(&mut peer, 2);
            assert!(peer.events.contains(&Event::Expired { transfer: id }));
        }
    }
}

/// So many times ten seconds pass, with signs of life.
fn keep_alive(peer: &mut RawPeer, tens: u8) {
    for step in 0..tens {
        peer.wait(Duration::from_secs(10));
        peer.send(0, Frame::Ping(Ping { token: [step; 8] })).unwrap();
        peer.converse();
    }
}

#[test]
fn a_transfer_whose_time_is_over_while_closing_makes_no_busy_loop() {
    for victim in ROLES {
        let config = Config::builder()
            .transfer_timeout(SECOND)
            .stall_timeout(SECOND)
            .close_timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        let mut peer = RawPeer::open_with(victim, config, Limits::default());
        offer(&mut peer, 1, &Offer::new("theirs")).unwrap();
        accept(&mut peer, 1);
        offer(&mut peer, 2, &Offer::new("undecided")).unwrap();
        cancel(&mut peer, 2).unwrap();
        let now = peer.now;
        peer.victim().offer(&Offer::new("ours"), now).unwrap();
        peer.drain();
        peer.victim().send_chat(&Chat::new("never acknowledged")).unwrap();
        let now = peer.now;
        peer.victim().close(CloseCode::DONE, "", now).unwrap();
        peer.events.clear();
        peer.wait(Duration::from_millis(4999));
        assert!(peer.events.len() < 10, "{:?}", peer.events);
        assert_eq!(peer.goodbye(), None);
        peer.wait(Duration::from_millis(1));
        assert_eq!(peer.goodbye().map(|goodbye| goodbye.code), Some(CloseCode::DONE));
        let code = CloseCode::DONE;
        peer.send(0, Frame::Goodbye(Goodbye { code, text: "".into() })).unwrap();
        let closed = Event::Closed(CloseReason::Local { code, is_answered: true });
        assert_eq!(peer.events.last(), Some(&closed));
    }
}

/// A PONG that repeats another token than the PING that waits is none that was asked for.
#[test]
fn a_pong_with_another_token_measures_nothing() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        // The first PING, which goes when the conversation is open.
        let ping = Ping { token: 1_u64.to_be_bytes() };
        let before = peer.victim().round_trip();
        peer.wait(Duration::from_millis(100));
        peer.send(0, Frame::Pong(Ping { token: 3_u64.to_be_bytes() })).unwrap();
        assert_eq!(peer.victim().round_trip(), before);
        peer.wait(Duration::from_millis(100));
        peer.send(0, Frame::Pong(ping)).unwrap();
        let after = peer.victim().round_trip();
        assert!(after.unwrap_or_default() > before.unwrap_or_default(), "{before:?}, {after:?}");
    }
}
