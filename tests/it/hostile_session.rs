//! Hostile sessions: row H41 of the project's list of hostile inputs, and A12 and A17 of its list of
//! attacks.

use bytes::Bytes;
use duologue::proto::{
    Acceptance, Acceptor, ActionError, CloseReason, Conclusion, DetachReason, Event, Opening,
    StreamParameters,
};
use duologue::wire::{
    Accept, Chat, CloseCode, ConversationId, Credit, Digest, Frame, Goodbye, Held, Hello, Kind,
    Limits, Offer, PREFACE, Resume, Side, TransferCode, TransferId, Verdict,
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
        type Proof = fn(&RawPeer) -> Option<[u8; 32]>;
        let wrong: [Proof; 3] = [
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
fn h41_a_handshake_made_for_another_object_of_the_conversation_does_no_harm() {
    let mut older = RawPeer::open(Side::Server);
    // The same conversation, begun anew: it has another secret.
    let mut newer = RawPeer::unopened(Side::Server, older.config.clone());
    let stream = StreamParameters::new([77; 32]);
    newer.acceptor = Some(Acceptor::new(newer.config.clone(), stream, newer.now));
    newer.greet();
    newer.accept_victim();
    newer.victim_accepts();
    newer.send(0, Frame::Chat(Chat::new("first"))).unwrap();
    newer.settle();
    assert_eq!(older.victim().conversation(), newer.victim().conversation());
    older.cut();
    older.reattach();
    let resume = older.resume_from([0, 0]);
    older.send(0, Frame::Resume(resume)).unwrap();
    let mut resuming = older.resuming.take().unwrap();
    resuming.accept_peer();
    assert!(resuming.is_ready());
    let now = newer.now;
    let refused = newer.victim().resume(resuming, now).unwrap_err();
    assert_eq!(refused.error().and_then(|error| error.code()), Some(CloseCode::PROOF));
    newer.drain();
    assert!(newer.victim().is_open() && !newer.victim().is_detached());
    assert!(newer.events.is_empty(), "{:?}", newer.events);
    newer.send(0, Frame::Chat(Chat::new("second"))).unwrap();
    assert!(matches!(newer.events.last(), Some(Event::Chat { .. })));
    // Nor for one that is not open yet.
    older.reattach();
    let resume = older.resume_from([0, 0]);
    older.send(0, Frame::Resume(resume)).unwrap();
    let mut resuming = older.resuming.take().unwrap();
    resuming.accept_peer();
    let mut unopened = RawPeer::unopened(Side::Server, older.config.clone());
    unopened.greet();
    assert!(unopened.victim().resume(resuming, now).is_err());
    unopened.accept_victim();
    unopened.victim_accepts();
    assert!(unopened.victim().is_open());
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
