//! Section 4 of PROTOCOL.md, cell by cell: the states of a conversation.

use duologue::proto::{CloseReason, Config, DetachReason, Error, Event, Opening, Receipt};
use duologue::wire::{
    Accept, Ack, Batch, Cancel, Chat, CloseCode, Credit, Finish, Frame, Goodbye, Kind, Message,
    Offer, Pause, Ping, Reject, Resume, Side, Signal, Start, TransferCode, Verdict,
};

use crate::raw_peer::{ROLES, RawPeer};
use crate::state_tables::{Cell, Table};

/// How the stream under test began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Resuming,
}

/// A frame of every kind that is known, with values that could be right somewhere.
pub(crate) fn frame_of(kind: Kind, peer: &RawPeer) -> (u32, Frame<'static>) {
    let code = TransferCode::CANCELLED;
    let frame = match kind {
        Kind::START => Frame::Start(Start { offset: 0 }),
        Kind::DATA => Frame::Data(vec![1; 2000].into()),
        Kind::CREDIT => Frame::Credit(Credit::default()),
        Kind::ACK => Frame::Ack(Ack { next: [0, 0], received: peer.stream.theirs.len() as u64 }),
        Kind::PING => Frame::Ping(Ping { token: [1; 8] }),
        Kind::PONG => Frame::Pong(Ping { token: [1; 8] }),
        Kind::GOODBYE => Frame::Goodbye(Goodbye { code: CloseCode::SHUTDOWN, text: "late".into() }),
        Kind::PART => Frame::Part(vec![0; 1024].into()),
        Kind::SIGNAL => Frame::Signal(Signal { signal_type: 1, payload: [][..].into() }),
        Kind::CHAT => Frame::Chat(Chat::new("hello")),
        Kind::MESSAGE => Frame::Message(Message {
            message_type: 1,
            is_reply: false,
            correlation: 1,
            body: b"body"[..].into(),
        }),
        Kind::OFFER => Frame::Offer(Offer::new("name")),
        Kind::BATCH => Frame::Batch(Batch {
            name: "batch".into(),
            count: 2,
            bytes: 10,
            metadata: [][..].into(),
        }),
        Kind::ACCEPT => Frame::Accept(Accept::default()),
        Kind::REJECT => Frame::Reject(Reject { code, text: "".into() }),
        Kind::PAUSE => Frame::Pause(Pause { is_paused: true }),
        Kind::FINISH => Frame::Finish(Finish::default()),
        Kind::CANCEL => Frame::Cancel(Cancel { code, text: "".into() }),
        Kind::VERDICT => Frame::Verdict(Verdict { code, total: 0, text: "".into() }),
        kind => panic!("{kind} needs more than this"),
    };
    let id = match kind {
        Kind::ACCEPT | Kind::REJECT | Kind::CREDIT | Kind::VERDICT => peer.theirs(1),
        Kind::START | Kind::DATA | Kind::OFFER | Kind::BATCH | Kind::PAUSE => peer.ours(1),
        Kind::FINISH | Kind::CANCEL => peer.ours(1),
        _ => 0,
    };
    (id, frame)
}

/// The kinds that the column "any other" stands for.
fn others() -> impl Iterator<Item = Kind> {
    Kind::KNOWN
        .iter()
        .copied()
        .filter(|kind| !matches!(*kind, Kind::HELLO | Kind::AUTH | Kind::RESUME | Kind::GOODBYE))
}

/// A conversation that was broken, before the first byte of another stream.
fn broken(victim: Side) -> RawPeer {
    let mut peer = RawPeer::open(victim);
    peer.send(0, Frame::Chat(Chat::new("confirms"))).unwrap();
    peer.take_all();
    peer.acknowledge().unwrap();
    peer.cut();
    peer.attach += 1;
    peer.begin_attach();
    peer.events.clear();
    peer
}

/// Brings a victim into the state of a row; `has_accepted` if its RESUME is to be sent already.
fn bring(row: &str, victim: Side, stage: Stage, has_accepted: bool) -> RawPeer {
    let mut peer = match stage {
        Stage::New => RawPeer::unopened(victim, Config::default()),
        Stage::Resuming => broken(victim),
    };
    let is_handshake = match row {
        "expecting HELLO" => return peer,
        "authenticating (RESUME not received)" => true,
        "waiting for our application (RESUME received)" => true,
        "open" | "closing (GOODBYE sent)" | "closing after a violation" => false,
        row => panic!("PROTOCOL.md has a state that this test does not know: {row}"),
    };
    match stage {
        Stage::New => peer.greet(),
        Stage::Resuming => peer.greet_resuming(),
    }
    if !is_handshake {
        match stage {
            Stage::New => {
                peer.accept_victim();
                peer.victim_accepts();
            }
            Stage::Resuming => {
                let resume = peer.resume_from([0, 0]);
                peer.resume_with(resume).unwrap();
                peer.drain();
            }
        }
        peer.settle();
    }
    let now = peer.now;
    match row {
        "authenticating (RESUME not received)" if has_accepted => peer.victim_accepts(),
        "waiting for our application (RESUME received)" => {
            let (_, resume) = resume_of(&peer, stage);
            peer.send(0, Frame::Resume(resume)).unwrap();
        }
        "closing (GOODBYE sent)" => {
            peer.victim().send_chat(&Chat::new("last words")).unwrap();
            peer.drain();
            peer.victim().close(CloseCode::DONE, "", now).unwrap();
            peer.wait(std::time::Duration::from_secs(5));
            assert!(peer.goodbye().is_some());
        }
        "closing after a violation" => {
            peer.send_raw(Kind::DATA, peer.ours(1), &[1]).unwrap_err();
            peer.drain();
            assert!(peer.goodbye().is_some());
        }
        _ => {}
    }
    peer.events.clear();
    peer
}

fn resume_of(peer: &RawPeer, stage: Stage) -> (u32, Resume<'static>) {
    match stage {
        Stage::New => (0, peer.first_resume()),
        Stage::Resuming => (0, peer.resume_from([0, 0])),
    }
}

/// What the failure of a handshake leaves behind.
fn assert_failed(peer: &mut RawPeer, stage: Stage, code: Option<CloseCode>) {
    peer.drain();
    let seen = peer.goodbye().map(|goodbye| goodbye.code);
    assert_eq!(seen, code);
    if stage == Stage::New {
        if let Some(acceptor) = &peer.acceptor {
            assert_eq!(acceptor.error().unwrap().code(), code);
            return;
        }
        assert!(peer.victim().is_closed() && peer.victim().is_write_closed());
        assert!(matches!(peer.events.last(), Some(Event::Closed(CloseReason::Failed(_)))));
        return;
    }
    // It was being resumed, and stays as it was.
    if let Some(acceptor) = &peer.acceptor {
        assert_eq!(acceptor.error().unwrap().code(), code);
    } else if let Some(resuming) = &peer.resuming {
        assert_eq!(resuming.error().unwrap().code(), code);
    } else {
        let is_told = |event: &Event<'_>| matches!(event, Event::Detached(DetachReason::AttachFailed(error)) if error.code() == code);
        assert!(peer.events.iter().any(is_told), "{:?}", peer.events);
    }
    peer.resuming = None;
    peer.acceptor = None;
    assert!(peer.victim().is_open() && peer.victim().is_detached());
    peer.events.clear();
    peer.resume([0, 0]);
    assert!(peer.events.contains(&Event::Open(Opening::Resumed)));
}

/// A frame of the column, or an error if none was sent.
fn send(peer: &mut RawPeer, column: &str, kind: Kind, stage: Stage) -> Result<(), Error> {
    match column {
        "HELLO" => {
            let hello = peer.hello();
            if peer.stream.ours.is_empty() {
                return peer.greet_with(&hello);
            }
            peer.send(0, Frame::Hello(hello))
        }
        _ if peer.stream.ours.is_empty() => {
            // The preface goes before any frame.
            peer.send_bytes(&duologue::wire::PREFACE)?;
            send_later(peer, column, kind, stage)
        }
        _ => send_later(peer, column, kind, stage),
    }
}

fn send_later(peer: &mut RawPeer, column: &str, kind: Kind, stage: Stage) -> Result<(), Error> {
    match column {
        "AUTH" => peer.send(0, Frame::Auth(b"who"[..].into())),
        "RESUME" => {
            let is_known = peer.stream.theirs.len() > 8;
            let resume = if is_known { resume_of(peer, stage).1 } else { peer.first_resume() };
            peer.send(0, Frame::Resume(resume))
        }
        "GOODBYE" | "any other" => {
            let (id, frame) = frame_of(kind, peer);
            peer.send(id, frame)
        }
        column => panic!("PROTOCOL.md has a column that this test does not know: {column}"),
    }
}

/// The proof is the last thing that a resuming server takes: what follows is the connection's.
fn drive_entered(cell: Cell<'_>, peer: &mut RawPeer, early: Result<(), Error>) {
    assert_eq!((&early, peer.resuming.as_ref().unwrap().error()), (&Ok(()), None));
    let result = peer.enter();
    match cell.column {
        "GOODBYE" => {
            result.unwrap();
            assert!(matches!(peer.events.last(), Some(Event::Closed(CloseReason::Peer(_)))));
        }
        // Nobody can see that it was sent too early: it is judged as in an open conversation.
        "any other" => {}
        _ => peer.assert_refused(result, CloseCode::PROTOCOL),
    }
}

fn drive(cell: Cell<'_>, victim: Side, stage: Stage, kind: Kind) {
    let mut peer = bring(cell.row, victim, stage, false);
    if cell.column == "stream ends" {
        return drive_end(cell, &mut peer, stage);
    }
    let is_open = cell.row == "open";
    let said = peer.stream.theirs.len();
    let result = send(&mut peer, cell.column, kind, stage);
    if cell.row.starts_with("waiting") && peer.resuming.is_some() {
        return drive_entered(cell, &mut peer, result);
    }
    match cell.text {
        "`protocol`" if is_open => peer.assert_refused(result, CloseCode::PROTOCOL),
        "`protocol`" => {
            assert_eq!(result.unwrap_err().code(), Some(CloseCode::PROTOCOL));
            assert_failed(&mut peer, stage, Some(CloseCode::PROTOCOL));
        }
        "authenticating" => {
            result.unwrap();
            match (&peer.acceptor, stage) {
                (Some(acceptor), _) => assert!(acceptor.request().is_some()),
                (None, _) => assert!(matches!(peer.events[..], [Event::PeerHello { .. }])),
            }
        }
        "the same; the fourth `limit`" => {
            result.unwrap();
            for _ in 1..3 {
                send(&mut peer, cell.column, kind, stage).unwrap();
            }
            assert_eq!(peer.events.len(), 3);
            let error = send(&mut peer, cell.column, kind, stage).unwrap_err();
            assert_eq!(error.code(), Some(CloseCode::LIMIT));
            assert_failed(&mut peer, stage, Some(CloseCode::LIMIT));
        }
        "waiting, or open if ours was sent" => {
            result.unwrap();
            assert!(!peer.events.iter().any(|event| matches!(event, Event::Open(_))));
            // A resuming server sends its own only after the client's.
            if victim == Side::Client || stage == Stage::New {
                let mut peer = bring(cell.row, victim, stage, true);
                send(&mut peer, cell.column, kind, stage).unwrap();
                assert!(matches!(peer.events[..], [Event::Open(_)]), "{:?}", peer.events);
            } else {
                assert!(!peer.resuming.as_ref().unwrap().is_ready(), "not accepted yet");
            }
        }
        "closed" => drive_closed(cell, &mut peer, stage, result),
        "answered, then closed" => {
            result.unwrap();
            assert_eq!(peer.goodbye().map(|goodbye| goodbye.code), Some(CloseCode::DONE));
            let reason = CloseReason::Peer(CloseCode::SHUTDOWN);
            assert!(matches!(&peer.events[..],
                [Event::Goodbye { .. }, Event::Closed(r)] if *r == reason));
            assert!(peer.victim().is_closed() && peer.victim().is_write_closed());
        }
        "sections 5–8" => {
            if kind == Kind::CHAT {
                result.unwrap();
                assert!(matches!(peer.events[..], [Event::Chat { .. }]));
            }
        }
        "ignored" | "ACK taken, else ignored" => {
            result.unwrap();
            assert!(peer.events.is_empty() && peer.stream.theirs.len() == said);
            if cell.text.starts_with("ACK") {
                peer.acknowledge().unwrap();
                let is_delivered = |event: &Event<'_>| {
                    matches!(event, Event::Receipts { receipt: Receipt::Delivered, .. })
                };
                assert!(peer.events.iter().all(is_delivered) && peer.events.len() == 1);
            }
            // It is still waiting for a goodbye, and said nothing more.
            assert!(!peer.victim().is_closed());
            peer.goodbye().unwrap();
        }
        "– all bytes are thrown away undecoded –" | "" => {
            assert_eq!(result, Err(*peer.victim().error().unwrap()), "the same error again");
            assert!(peer.events.is_empty());
            peer.goodbye().unwrap();
        }
        text => panic!("PROTOCOL.md says what this test does not know: {text}"),
    }
}

fn drive_closed(cell: Cell<'_>, peer: &mut RawPeer, stage: Stage, result: Result<(), Error>) {
    let is_closing = cell.row.starts_with("closing");
    if let Some(acceptor) = &peer.acceptor {
        // It has no events: the stream ended before anything was wanted.
        assert_eq!(result, Err(Error::Incomplete));
        assert_eq!(acceptor.error(), Some(&Error::Incomplete));
        peer.drain();
        assert!(peer.stream.theirs.is_empty(), "a goodbye is not answered here");
        return;
    }
    result.unwrap();
    peer.drain();
    assert!(matches!(peer.events[0], Event::Goodbye { code: CloseCode::SHUTDOWN, .. }));
    if is_closing {
        let reason = CloseReason::Local { code: CloseCode::DONE, is_answered: true };
        assert_eq!(peer.events.last(), Some(&Event::Closed(reason)));
        peer.goodbye().unwrap();
    } else if stage == Stage::New {
        let reason = CloseReason::Peer(CloseCode::SHUTDOWN);
        assert_eq!(peer.events.last(), Some(&Event::Closed(reason)));
        assert_eq!(peer.goodbye(), None);
    } else {
        // Only for now: the conversation can be resumed.
        peer.resuming = None;
        assert!(peer.victim().is_open() && peer.victim().is_detached());
        peer.resume([0, 0]);
    }
}

fn drive_end(cell: Cell<'_>, peer: &mut RawPeer, stage: Stage) {
    let now = peer.now;
    match (&mut peer.acceptor, &mut peer.resuming) {
        (Some(acceptor), _) => acceptor.handle_eof(),
        (None, Some(resuming)) => resuming.handle_eof(),
        (None, None) => peer.victim().handle_eof(now),
    }
    peer.collect();
    match cell.text {
        "failed" => assert_failed(peer, stage, None),
        "detached" => {
            assert_eq!(peer.events, [Event::Detached(DetachReason::StreamEnded)]);
            assert!(peer.victim().is_open() && peer.victim().is_detached());
        }
        "closed" => {
            assert!(peer.victim().is_closed());
            if cell.row == "closing (GOODBYE sent)" {
                let reason = CloseReason::Local { code: CloseCode::DONE, is_answered: false };
                assert_eq!(peer.events.last(), Some(&Event::Closed(reason)));
            } else {
                assert!(peer.events.is_empty(), "that was said before");
            }
        }
        text => panic!("PROTOCOL.md says what this test does not know: {text}"),
    }
}

#[test]
fn every_cell_of_the_table_of_conversations() {
    let table = Table::find(4, r"state \ frame", "any other");
    let (mut cells, mut driven) = (0, 0);
    for cell in table.cells() {
        cells += 1;
        for (victim, stage) in
            ROLES.into_iter().flat_map(|v| [(v, Stage::New), (v, Stage::Resuming)])
        {
            let kinds: Vec<Kind> = match cell.column {
                "any other" if cell.row == "open" => vec![Kind::CHAT],
                "any other" => others().collect(),
                _ => vec![Kind::GOODBYE],
            };
            for kind in kinds {
                println!(
                    "{} | {} | {} ({victim:?}, {stage:?}, {kind})",
                    cell.row, cell.column, cell.text
                );
                drive(cell, victim, stage, kind);
                driven += 1;
            }
        }
    }
    println!("conversation: {cells} cells, driven {driven} times");
    assert_eq!(cells, table.columns.len() * table.row_names().len());
}

#[test]
fn a_kind_that_nobody_knows_is_unsupported_before_the_conversation_is_open() {
    for victim in ROLES {
        for row in ["expecting HELLO", "authenticating (RESUME not received)"] {
            for kind in [0x0C, 0x4A, 0x81, 0xC5, 0xFF] {
                let mut peer = bring(row, victim, Stage::New, false);
                if peer.stream.ours.is_empty() {
                    peer.send_bytes(&duologue::wire::PREFACE).unwrap();
                }
                let error = peer.send_raw(Kind::new(kind), 0, &[]).unwrap_err();
                assert_eq!(error.code(), Some(CloseCode::UNSUPPORTED));
                assert_failed(&mut peer, Stage::New, Some(CloseCode::UNSUPPORTED));
            }
        }
    }
}
