//! Hostile sessions: rows H8, H18 and H46 of the project's list of hostile inputs: whole transcripts,
//! cut, out of order, and twice.

use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{
    Acceptance, Acceptor, ActionError, Conclusion, Config, Error, Event, StreamParameters,
};
use duologue::testing::SplitMix64;
use duologue::wire::{
    Accept, Ack, Chat, CloseCode, Credit, Finish, Frame, Header, Kind, Message, Offer, PREFACE,
    Ping, Side, Start, TransferCode, Verdict,
};

use crate::raw_peer::{ROLES, RawPeer};
use crate::state_transfers::{data, offer, start, transfer};

#[test]
fn h18_nothing_that_a_client_says_panics_an_acceptor() {
    let mut random = SplitMix64::new(18);
    for round in 0..4000_u64 {
        let mut peer = RawPeer::unopened(Side::Server, Config::default());
        let mut bytes = PREFACE.to_vec();
        Frame::Hello(peer.hello()).encode(0, &mut bytes).unwrap();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(4) {
                0 => bytes[at] = random.next_u64() as u8,
                1 => bytes[at] ^= 1 << random.below(8),
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.next_u64() as u8),
            }
        }
        peer.split = 1 + random.below(40) as usize;
        let result = peer.send_bytes(&bytes);
        let acceptor = peer.acceptor.as_mut().unwrap();
        match result {
            Err(error) => assert_eq!(acceptor.error(), Some(&error), "round {round}"),
            Ok(()) if acceptor.request().is_some() => {
                assert!(peer.acceptor.take().unwrap().accept(peer.now).is_ok());
            }
            Ok(()) => {
                acceptor.handle_eof();
                assert_eq!(acceptor.error(), Some(&Error::Incomplete));
            }
        }
        peer.drain();
        assert!(peer.stream.theirs.len() < 400);
    }
}

#[test]
fn h18_an_acceptor_used_in_any_order_does_nothing_wrong() {
    let peer = RawPeer::unopened(Side::Server, Config::default());
    let connection = RawPeer::open(Side::Server).connection.unwrap();
    let now = peer.now;
    let new = || Acceptor::new(Config::default(), StreamParameters::new([1; 32]), now);
    assert!(matches!(new().accept(now), Err(ActionError::NotOpen)));
    assert!(new().resume(&connection, now).is_err());
    let mut early = new();
    assert_eq!(early.refuse(CloseCode::REFUSED, ""), Err(ActionError::NotOpen));
    early.handle_eof();
    assert_eq!(early.refuse(CloseCode::REFUSED, ""), Err(ActionError::Closed));
    assert_eq!(early.handle_input(now, &PREFACE), Err(Error::Incomplete));
    early.advance_transmit(usize::MAX);
    assert!(early.poll_transmit().is_empty());
}

/// One honest conversation with everything in it, of which at most `left` bytes arrive.
fn transcript(victim: Side, left: usize) -> RawPeer {
    let mut peer = RawPeer::unopened(victim, Config::default());
    peer.left = left;
    let _ = (|| -> Option<()> {
        let hello = peer.hello();
        peer.greet_with(&hello).ok()?;
        if peer.acceptor.is_some() {
            peer.acceptor.as_ref()?.request()?;
            peer.victim_answers();
        }
        peer.send(0, Frame::Auth(b"who"[..].into())).ok()?;
        peer.accept_victim();
        let now = peer.now;
        peer.victim().accept_peer(now).ok()?;
        peer.drain();
        let large = Message {
            message_type: 7,
            is_reply: false,
            correlation: 1,
            body: vec![1; 1500].into(),
        };
        let mut payload = Vec::new();
        large.encode(&mut payload).ok()?;
        peer.send_raw(Kind::PART, 1, &payload[..1024]).ok()?;
        peer.send(0, Frame::Chat(Chat::new("between"))).ok()?;
        peer.send_raw(Kind::MESSAGE, 0, &payload[1024..]).ok()?;
        offer(&mut peer, 1, &Offer::new("file").size(700)).ok()?;
        let (id, now) = (transfer(peer.ours(1)), peer.now);
        peer.victim().accept(id, Acceptance::default(), now).ok()?;
        peer.converse();
        peer.send(peer.ours(1), Frame::Start(Start { offset: 0 })).ok()?;
        data(&mut peer, 1, 700).ok()?;
        peer.send(peer.ours(1), Frame::Finish(Finish { total: 700, digest: None })).ok()?;
        peer.victim().conclude(id, &Conclusion::Stored { name: "file" }).ok()?;
        let ours = peer.victim().offer(&Offer::new("ours"), now).ok()?;
        peer.converse();
        peer.send(ours.to_wire(), Frame::Accept(Accept::default())).ok()?;
        let credit = Credit { limit: 5000, received: 0, durable: 0 };
        peer.send(ours.to_wire(), Frame::Credit(credit)).ok()?;
        peer.victim().send_data(ours, 0, Bytes::from(vec![9; 3000])).ok()?;
        peer.victim().finish(ours, None).ok()?;
        peer.converse();
        let verdict = Verdict { code: TransferCode::STORED, total: 3000, text: "x".into() };
        peer.send(ours.to_wire(), Frame::Verdict(verdict)).ok()?;
        peer.take_all();
        peer.converse();
        Some(())
    })();
    peer
}

#[test]
fn h08_a_transcript_cut_at_every_byte_and_then_the_end_or_silence() {
    for victim in ROLES {
        let whole = transcript(victim, usize::MAX);
        let verdict = |event: &Event<'_>| matches!(event, Event::Verdict { .. });
        assert!(whole.events.iter().any(verdict), "{:?}", whole.events);
        for cut in 0..whole.stream.ours.len() {
            for is_silent in [false, true] {
                let mut peer = transcript(victim, cut);
                if is_silent {
                    peer.wait(Duration::from_secs(400));
                } else if let Some(acceptor) = &mut peer.acceptor {
                    acceptor.handle_eof();
                } else {
                    peer.cut();
                }
                if let Some(acceptor) = &peer.acceptor {
                    assert!(acceptor.error().is_some() && acceptor.poll_timeout().is_none());
                    continue;
                }
                peer.assert_bounded();
                if is_silent || !peer.victim().is_open() {
                    assert!(peer.victim().is_closed(), "after {cut} bytes");
                    assert!(matches!(peer.events.last(), Some(Event::Closed(_))));
                    assert_eq!(peer.victim().poll_timeout(), None);
                } else {
                    assert!(peer.victim().is_detached());
                }
            }
        }
    }
}

/// What a victim says and does under inputs, times and calls that a seed decides.
fn play(victim: Side, seed: u64) -> (Vec<String>, Vec<u8>) {
    let mut random = SplitMix64::new(seed);
    let mut peer = RawPeer::open(victim);
    let mut log = Vec::new();
    for _ in 0..200 {
        let id = [peer.ours(1), peer.theirs(1), peer.ours(2), 0][random.below(4) as usize];
        let now = peer.now;
        let result = match random.below(14) {
            0 => peer.send(0, Frame::Chat(Chat::new("x".repeat(random.below(2000) as usize)))),
            1 => offer(&mut peer, 1 + random.below(3) as u32, &Offer::new("file")),
            2 => {
                let theirs = transfer(peer.ours(1));
                let _ = peer.victim().accept(theirs, Acceptance::default(), now);
                Ok(())
            }
            3 => start(&mut peer, 1, 0),
            4 => data(&mut peer, 1, 1 + random.below(3000) as usize),
            5 => peer.send(0, Frame::Ping(Ping { token: random.next_u64().to_be_bytes() })),
            6 => {
                peer.wait(Duration::from_micros(random.log_uniform(30_000_000)));
                Ok(())
            }
            7 => peer.acknowledge(),
            8 => {
                let _ = peer.victim().offer(&Offer::new("ours"), now);
                let _ = peer.victim().send_chat(&Chat::new("to the peer"));
                Ok(())
            }
            9 => {
                let ours = transfer(peer.theirs(1));
                let _ = peer.victim().send_data(ours, 0, Bytes::from(vec![1; 9000]));
                Ok(())
            }
            10 => {
                peer.take_all();
                Ok(())
            }
            11 if random.percent(20) => {
                let length = random.below(40) as u32;
                let kind = Kind::KNOWN[random.below(Kind::KNOWN.len() as u64) as usize];
                peer.send_bytes(&Header { length, kind, id }.encode())
            }
            12 => {
                peer.send(0, Frame::Ack(Ack { next: [0, 0], received: peer.stream.acknowledged }))
            }
            _ => {
                peer.read(random.below(3000) as usize);
                Ok(())
            }
        };
        log.push(format!("{result:?} {:?}", peer.victim().poll_timeout()));
        if result.is_err() {
            break;
        }
    }
    peer.drain();
    log.extend(peer.events.iter().map(|event| format!("{event:?}")));
    (log, peer.stream.theirs)
}

#[test]
fn h46_the_same_inputs_times_and_calls_give_the_same_events_and_bytes() {
    for victim in ROLES {
        for seed in 0..200 {
            assert_eq!(play(victim, seed), play(victim, seed), "seed {seed}");
        }
        let (one, other) = (transcript(victim, usize::MAX), transcript(victim, usize::MAX));
        assert_eq!(one.events, other.events);
        assert_eq!(one.stream.theirs, other.stream.theirs);
    }
}
