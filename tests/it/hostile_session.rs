//! Hostile sessions: rows H8, H18, H41 and H46 of the project's list of hostile inputs, and A12 and
//! A17 of its list of attacks.

use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{
    Acceptance, Acceptor, ActionError, CloseReason, Conclusion, Config, DetachReason, Error, Event,
    Opening, StreamParameters,
};
use duologue::testing::SplitMix64;
use duologue::wire::{
    Accept, Ack, Chat, CloseCode, ConversationId, Credit, Digest, Finish, Frame, Goodbye, Header,
    Held, Hello, Kind, Limits, Message, Offer, PREFACE, Ping, Resume, Side, Start, TransferCode,
    TransferId, Verdict,
};

use crate::raw_peer::{ROLES, RawPeer};
use crate::state_transfers::{accept, cancel, data, finish, offer, start, transfer};

/// A conversation with a chat each way not taken, a transfer each way that is open and has moved.
fn broken(victim: Side) -> RawPeer {
    let mut peer = RawPeer::open(victim);
    peer.send(0, Frame::Chat(Chat::new("to the victim"))).unwrap();
    peer.victim().send_chat(&Chat::new("to the peer")).unwrap();
    offer(&mut peer, 1, &Offer::new("theirs").size(20_000)).unwrap();
    accept(&mut peer, 1);
    start(&mut peer, 1, 0).unwrap();
    data(&mut peer, 1, 4000).unwrap();
    let now = peer.now;
    let ours = peer.victim().offer(&Offer::new("ours").size(9000).seekable(), now).unwrap();
    peer.converse();
    peer.send(ours.to_wire(), Frame::Accept(Accept::default())).unwrap();
    peer.send(ours.to_wire(), Frame::Credit(Credit { limit: 9000, received: 0, durable: 0 }))
        .unwrap();
    peer.victim().send_data(ours, 0, Bytes::from(vec![4; 5000])).unwrap();
    peer.converse();
    peer.cut();
    peer.events.clear();
    peer
}

/// What an honest peer says after that break.
fn honest(peer: &RawPeer) -> Resume<'static> {
    let transfer = TransferId::from_wire(peer.theirs(1)).unwrap();
    let transfers = vec![Held { transfer, received: 3000 }];
    // One chat; ACCEPT and OFFER.
    Resume { next: [1, 2], transfers: transfers.into(), ..peer.resume_from([0, 0]) }
}

#[test]
fn h41_an_honest_peer_resumes() {
    for victim in ROLES {
        let mut peer = broken(victim);
        peer.reattach();
        let resume = honest(&peer);
        peer.resume_with(resume).unwrap();
        assert!(peer.events.contains(&Event::Open(Opening::Resumed)));
        peer.converse();
        let Some(Frame::Resume(resume)) = peer.frames_of(Kind::RESUME).pop() else { panic!() };
        assert_eq!(resume.next, [1, 2]);
        assert_eq!(resume.transfers[0].received, 4000);
        assert_eq!(resume.proof, Some(peer.proof(victim)));
        // It goes on where each got to.
        start(&mut peer, 1, 4000).unwrap();
        data(&mut peer, 1, 1000).unwrap();
        assert!(matches!(peer.events.last(), Some(Event::Data { offset: 4000, .. })));
        let rewind = Event::Rewind { transfer: transfer(peer.theirs(1)), offset: 3000 };
        assert!(peer.events.contains(&rewind), "{:?}", peer.events);
    }
}

/// A RESUME that is not true, and the code that it is refused with.
type Lie = fn(&RawPeer, &mut Resume<'static>);

#[test]
fn h41_a12_a_resume_that_claims_what_was_never_sent() {
    let lies: [(&str, Lie); 9] = [
        ("a chat too many", |_, resume| resume.next[0] += 1),
        ("a decision too many", |_, resume| resume.next[1] += 1),
        ("acknowledged items not received", |_, resume| resume.next = [0, 0]),
        ("all there could be", |_, resume| resume.next = [(1 << 53) - 1; 2]),
        ("bytes that were not sent", |_, resume| resume.transfers.to_mut()[0].received = 5001),
        ("bytes beyond the size", |_, resume| resume.transfers.to_mut()[0].received = 9001),
        ("a transfer not offered", |peer, resume| {
            resume.transfers.to_mut()[0].transfer = transfer(peer.theirs(2));
        }),
        ("its own transfer", |peer, resume| {
            resume.transfers.to_mut()[0].transfer = transfer(peer.ours(1));
        }),
        ("a transfer and one more", |peer, resume| {
            let transfer = transfer(peer.theirs(7));
            resume.transfers.to_mut().push(Held { transfer, received: 0 });
        }),
    ];
    for victim in ROLES {
        for (name, lie) in lies {
            println!("{name} ({victim:?})");
            let mut peer = broken(victim);
            peer.reattach();
            let mut resume = honest(&peer);
            lie(&peer, &mut resume);
            let result = peer.resume_with(resume);
            assert_eq!(result.unwrap_err().code(), Some(CloseCode::PROTOCOL));
            peer.drain();
            assert_eq!(peer.goodbye().map(|goodbye| goodbye.code), Some(CloseCode::PROTOCOL));
            assert!(!peer.events.iter().any(|event| matches!(event, Event::Open(_))));
            let delivered = |event: &Event<'_>| {
                matches!(
                    event,
                    Event::Receipts { receipt: duologue::proto::Receipt::Delivered, .. }
                )
            };
            assert!(!peer.events.iter().any(delivered));
            if victim == Side::Client {
                // Only that stream has ended: it can try again.
                peer.reattach();
                let resume = honest(&peer);
                peer.resume_with(resume).unwrap();
            } else {
                // The client proved who it is, and broke the rules.
                assert!(peer.victim().is_closed());
            }
        }
    }
}

#[test]
fn h41_a_wrong_proof_touches_nothing() {
    for victim in ROLES {
        let wrong: [fn(&RawPeer) -> Option<[u8; 32]>; 3] = [
            |_| Some([0; 32]),
            // The victim's own proof sent back, and none at all.
            |peer| Some(peer.proof(peer.side.opposite())),
            |_| None,
        ];
        for wrong in wrong {
            let mut peer = broken(victim);
            peer.reattach();
            let proof = wrong(&peer);
            let resume = match proof {
                Some(_) => Resume { proof, ..honest(&peer) },
                None => Resume::default(),
            };
            let error = peer.resume_with(resume).unwrap_err();
            assert_eq!(error.code(), Some(CloseCode::PROOF));
            peer.drain();
            assert_eq!(peer.goodbye().unwrap().code, CloseCode::PROOF);
            peer.resuming = None;
            assert!(peer.victim().is_open() && peer.victim().is_detached());
            // The counter of an attempt without proof is not used up, either.
            peer.begin_attach();
            if victim == Side::Client {
                peer.attach += 1;
            }
            peer.greet_resuming();
            let resume = honest(&peer);
            peer.resume_with(resume).unwrap();
        }
    }
}

#[test]
fn h41_a_wrong_proof_leaves_the_older_stream_attached() {
    let mut peer = RawPeer::open(Side::Server);
    peer.send(0, Frame::Chat(Chat::new("confirms"))).unwrap();
    let older = std::mem::take(&mut peer.stream);
    peer.reattach();
    let stranger = Resume { proof: Some([1; 32]), ..Resume::default() };
    assert_eq!(peer.resume_with(stranger).unwrap_err().code(), Some(CloseCode::PROOF));
    peer.drain();
    peer.resuming = None;
    peer.stream = older;
    peer.events.clear();
    peer.send(0, Frame::Chat(Chat::new("still here"))).unwrap();
    assert!(matches!(&peer.events[..], [Event::Chat { .. }]));
    assert!(!peer.victim().is_detached());
}

/// An acceptor that has read this HELLO.
fn asked(peer: &mut RawPeer, hello: &Hello) -> Acceptor {
    let stream = StreamParameters::new([99; 32]);
    let mut acceptor = Acceptor::new(peer.config.clone(), stream, peer.now);
    let mut bytes = PREFACE.to_vec();
    Frame::Hello(hello.clone()).encode(0, &mut bytes).unwrap();
    let (used, request) = acceptor.handle_input(peer.now, &bytes).unwrap();
    assert_eq!((used, request.is_some()), (bytes.len(), true));
    acceptor
}

fn refused(peer: &mut RawPeer, hello: &Hello) -> Option<CloseCode> {
    let acceptor = asked(peer, hello);
    let now = peer.now;
    let mut acceptor = acceptor.resume(peer.victim(), now).unwrap_err();
    let code = acceptor.error().unwrap().code();
    let words: Vec<u8> = acceptor.poll_transmit().into_iter().flatten().copied().collect();
    if code.is_some() {
        assert_eq!(words[..8], PREFACE);
        assert_eq!(words[11], Kind::GOODBYE.to_u8());
    }
    assert!(words.len() < 100);
    code
}

#[test]
fn h41_stale_counters_other_terms_and_other_conversations() {
    let mut peer = broken(Side::Server);
    peer.attach = 3;
    peer.begin_attach();
    peer.greet_resuming();
    let resume = honest(&peer);
    peer.resume_with(resume).unwrap();
    peer.cut();
    let hello = Hello { attach: 4, ..peer.hello() };
    for attach in [0, 1, 3] {
        let hello = Hello { attach, ..hello.clone() };
        assert_eq!(refused(&mut peer, &hello), Some(CloseCode::STALE));
    }
    let limits = Limits { items: 100, ..Limits::default() };
    for other in [
        Hello { limits, ..hello.clone() },
        Hello { features: 1, ..hello.clone() },
        Hello { highest_version: 2, ..hello.clone() },
        Hello { conversation: ConversationId::new([1; 16]), ..hello.clone() },
    ] {
        assert_eq!(refused(&mut peer, &other), Some(CloseCode::PROTOCOL));
    }
    assert!(asked(&mut peer, &hello).resume(peer.connection.as_ref().unwrap(), peer.now).is_ok());
    // And a client that hears of another conversation, counter or terms.
    for other in 0..3 {
        let mut peer = broken(Side::Client);
        peer.attach += 1;
        peer.begin_attach();
        let hello = peer.hello();
        let hello = match other {
            0 => Hello { conversation: ConversationId::new([1; 16]), ..hello },
            1 => Hello { attach: 9, ..hello },
            _ => Hello { limits, ..hello },
        };
        let error = peer.greet_with(&hello).unwrap_err();
        assert_eq!(error.code(), Some(CloseCode::PROTOCOL));
        assert!(peer.victim().is_open() && peer.victim().is_detached());
    }
}

#[test]
fn h41_a_token_of_one_conversation_is_none_for_another() {
    let mut one = broken(Side::Server);
    let mut other = broken(Side::Server);
    // The same client, who knows the secret of another conversation.
    other.secret[0] ^= 1;
    std::mem::swap(&mut one.secret, &mut other.secret);
    one.reattach();
    let resume = honest(&one);
    assert_eq!(one.resume_with(resume).unwrap_err().code(), Some(CloseCode::PROOF));
    assert!(one.victim().is_open());
}

#[test]
fn h41_a12_an_attach_that_is_played_again_proves_nothing() {
    let mut peer = broken(Side::Server);
    peer.reattach();
    let resume = honest(&peer);
    peer.resume_with(resume).unwrap();
    let recorded = peer.stream.ours.clone();
    peer.converse();
    peer.cut();
    // The very bytes: the counter has not risen.
    let now = peer.now;
    let mut acceptor = Acceptor::new(peer.config.clone(), StreamParameters::new([50; 32]), now);
    let (used, _) = acceptor.handle_input(now, &recorded).unwrap();
    let acceptor = acceptor.resume(peer.victim(), now).unwrap_err();
    assert_eq!(acceptor.error().unwrap().code(), Some(CloseCode::STALE));
    // With another counter the proof is of another handshake.
    peer.reattach();
    let result = peer.send_bytes(&recorded[used..]);
    assert_eq!(result.unwrap_err().code(), Some(CloseCode::PROOF));
    peer.resuming = None;
    assert!(peer.victim().is_open() && peer.victim().is_detached());
}

#[test]
fn h41_a13_of_two_attaches_under_way_the_higher_one_wins() {
    for lower_first in [true, false] {
        let mut peer = broken(Side::Server);
        peer.reattach();
        let resume = honest(&peer);
        peer.send(0, Frame::Resume(resume)).unwrap();
        let mut lower = peer.resuming.take().unwrap();
        lower.accept_peer();
        let now = peer.now;
        if lower_first {
            peer.victim().resume(lower, now).unwrap();
            peer.reattach();
            let resume = honest(&peer);
            peer.resume_with(resume).unwrap();
            let reason = DetachReason::Superseded;
            assert!(peer.events.contains(&Event::Detached(reason)));
        } else {
            peer.reattach();
            let resume = honest(&peer);
            peer.resume_with(resume).unwrap();
            let lower = peer.victim().resume(lower, now).unwrap_err();
            assert_eq!(lower.error().unwrap().code(), Some(CloseCode::STALE));
        }
        // The newer stream is the one that counts.
        peer.send(0, Frame::Chat(Chat::new("over the newer stream"))).unwrap();
        assert!(matches!(peer.events.last(), Some(Event::Chat { .. })));
    }
}

#[test]
fn h41_attaches_that_bring_nothing_on_come_to_an_end() {
    let mut peer = broken(Side::Server);
    let mut attaches = 0;
    while peer.victim().is_open() && attaches < 50 {
        attaches += 1;
        peer.reattach();
        let resume = honest(&peer);
        if let Err(error) = peer.resume_with(resume) {
            assert_eq!(error.code(), Some(CloseCode::LIMIT));
            break;
        }
        peer.cut();
        peer.assert_bounded();
    }
    assert!((9..12).contains(&attaches), "{attaches}");
}

#[test]
fn a12_an_offset_beyond_the_size_and_a_source_that_changed() {
    for victim in ROLES {
        // The receiver names an offset that the file does not have.
        let mut peer = RawPeer::open(victim);
        let now = peer.now;
        let id = peer.victim().offer(&Offer::new("file").size(1000), now).unwrap().to_wire();
        peer.converse();
        let prefix = Some(Digest::Blake3([1; 32]));
        let result = peer.send(id, Frame::Accept(Accept { offset: 1001, prefix }));
        peer.assert_refused(result, CloseCode::PROTOCOL);
        // Nor may our application.
        let mut peer = RawPeer::open(victim);
        offer(&mut peer, 1, &Offer::new("file").size(1000)).unwrap();
        let id = transfer(peer.ours(1));
        let prefix = Some((1001, Digest::Blake3([1; 32])));
        let now = peer.now;
        let result = peer.victim().accept(id, Acceptance { prefix }, now);
        assert_eq!(result, Err(ActionError::TooLarge { max: 1000 }));
        // The sender begins at 0 instead: what is there is void, and the application is told.
        let prefix = Some((400, Digest::Blake3([1; 32])));
        peer.victim().accept(id, Acceptance { prefix }, now).unwrap();
        peer.converse();
        start(&mut peer, 1, 0).unwrap();
        assert_eq!(peer.events.last(), Some(&Event::Started { transfer: id, offset: 0 }));
        let Some(Frame::Credit(credit)) = peer.frames_of(Kind::CREDIT).pop() else { panic!() };
        assert_eq!(credit.received, 0);
        // Not finished before its application said that the prefix is right.
        let mut peer = RawPeer::open(victim);
        let now = peer.now;
        let id = peer.victim().offer(&Offer::new("file").size(1000), now).unwrap();
        peer.converse();
        let prefix = Some(Digest::Blake3([1; 32]));
        peer.send(id.to_wire(), Frame::Accept(Accept { offset: 1000, prefix })).unwrap();
        assert_eq!(peer.victim().finish(id, None), Err(ActionError::WrongState(id)));
        peer.victim().confirm_prefix(id).unwrap();
        peer.victim().finish(id, None).unwrap();
    }
}

#[test]
fn a17_both_close_at_once() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let now = peer.now;
        peer.victim().close(CloseCode::SHUTDOWN, "ours", now).unwrap();
        peer.drain();
        let goodbye = Goodbye { code: CloseCode::DONE, text: "theirs".into() };
        peer.send(0, Frame::Goodbye(goodbye)).unwrap();
        let code = CloseCode::SHUTDOWN;
        let closed = Event::Closed(CloseReason::Local { code, is_answered: true });
        assert_eq!(peer.events.last(), Some(&closed));
        assert_eq!(peer.goodbye().unwrap().code, code);
        // Theirs was on its way before ours has left.
        let mut peer = RawPeer::open(victim);
        peer.is_reading = false;
        peer.victim().send_chat(&Chat::new("not acknowledged")).unwrap();
        let now = peer.now;
        peer.victim().close(CloseCode::SHUTDOWN, "ours", now).unwrap();
        let goodbye = Goodbye { code: CloseCode::DONE, text: "theirs".into() };
        peer.send(0, Frame::Goodbye(goodbye)).unwrap();
        let closed = Event::Closed(CloseReason::Peer(CloseCode::DONE));
        assert_eq!(peer.events.last(), Some(&closed));
        peer.drain();
        assert_eq!(peer.goodbye().unwrap().code, CloseCode::DONE);
    }
}

#[test]
fn a17_a_cancel_that_crosses_a_finish_a_verdict_or_a_reject() {
    for victim in ROLES {
        // Cancel after finish: the receiver may still say that it is stored.
        let mut peer = RawPeer::open(victim);
        let now = peer.now;
        let id = peer.victim().offer(&Offer::new("file").size(0), now).unwrap();
        peer.converse();
        peer.send(id.to_wire(), Frame::Accept(Accept::default())).unwrap();
        peer.victim().finish(id, None).unwrap();
        peer.converse();
        peer.victim().cancel(id, TransferCode::CANCELLED, "").unwrap();
        let stored = Verdict { code: TransferCode::STORED, total: 0, text: "file".into() };
        peer.send(id.to_wire(), Frame::Verdict(stored)).unwrap();
        assert!(matches!(
            peer.events.last(),
            Some(Event::Verdict { code: TransferCode::STORED, .. })
        ));
        // As the receiver: CANCEL arrives when the verdict is on its way, and changes nothing.
        let mut peer = RawPeer::open(victim);
        offer(&mut peer, 1, &Offer::new("file").size(0)).unwrap();
        accept(&mut peer, 1);
        finish(&mut peer, 1, 0).unwrap();
        let id = transfer(peer.ours(1));
        peer.victim().conclude(id, &Conclusion::Stored { name: "file" }).unwrap();
        peer.events.clear();
        cancel(&mut peer, 1).unwrap();
        assert!(peer.happened().is_empty());
        peer.converse();
        assert_eq!(peer.kinds().get(&Kind::VERDICT), Some(&1));
        // CANCEL that crosses REJECT.
        let mut peer = RawPeer::open(victim);
        offer(&mut peer, 1, &Offer::new("file")).unwrap();
        let id = transfer(peer.ours(1));
        peer.victim().reject(id, TransferCode::DECLINED, "").unwrap();
        peer.events.clear();
        cancel(&mut peer, 1).unwrap();
        assert!(peer.happened().is_empty());
        peer.converse();
        assert_eq!(peer.kinds().get(&Kind::VERDICT), None);
    }
}

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
