//! One table of frames for decoding and encoding, each taken whole, byte by byte, cut in two
//! everywhere, and with the next frame behind it.

use std::collections::BTreeSet;

use duologue::wire::{
    Accept, Ack, Batch, Cancel, Chat, CloseCode, ConversationId, Credit, Decoder, Digest, Finish,
    Frame, Goodbye, Header, Held, Hello, Kind, Limits, Message, Offer, Pause, Piece, Ping, Reject,
    Resume, Side, Signal, Start, TransferCode, TransferId, Verdict, max_length,
};

/// What follows each case where something follows.
const NEXT: [u8; 16] = [0, 0, 8, 0x08, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// Feeds a fresh decoder; returns the whole frames, and whether it stopped between two.
fn feed<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> (Vec<(Header, Vec<u8>)>, bool) {
    let mut decoder = Decoder::new();
    let (mut frames, mut current) = (Vec::new(), None::<(Header, Vec<u8>)>);
    for mut read in reads {
        while !read.is_empty() {
            let (taken, piece) = decoder.decode(read);
            assert!(taken > 0, "it goes on");
            match piece {
                Some(Piece::Header(header)) => {
                    assert_eq!(current, None, "a header in the middle of a frame");
                    current = Some((header, Vec::new()));
                    if header.length == 0 {
                        frames.extend(current.take());
                    }
                }
                Some(Piece::Payload { data, last }) => {
                    assert_eq!(data.as_ptr_range(), read[..taken].as_ptr_range(), "a slice of it");
                    let (header, payload) = current.as_mut().expect("a header came first");
                    payload.extend_from_slice(data);
                    assert_eq!(last, payload.len() == header.length as usize);
                    if last {
                        frames.extend(current.take());
                    }
                }
                None => assert!(taken == read.len() && taken < 8, "a header in part"),
            }
            read = &read[taken..];
        }
        assert_eq!(decoder.decode(&[]), (0, None));
    }
    (frames, decoder.is_between_frames())
}

type Outcome = Result<(u32, Frame<'static>), (&'static str, CloseCode)>;

/// What a receiver with the default limits makes of it.
fn judge((header, payload): &(Header, Vec<u8>)) -> Outcome {
    if header.length > max_length(header.kind, &Limits::default()) {
        return Err(("length", CloseCode::TOO_LARGE));
    }
    match Frame::decode(*header, payload) {
        Ok(frame) => Ok((header.id, frame.into_owned())),
        Err(error) => {
            assert_eq!(error.kind(), header.kind);
            assert!(!error.can_retry());
            Err((error.field(), error.code()))
        }
    }
}

fn check_decode(name: &str, bytes: &[u8], expected: &Outcome) {
    let with_next = [bytes, &NEXT].concat();
    let next = (Header { length: 8, kind: Kind::PING, id: 0 }, NEXT[8..].to_vec());
    for (stream, frames) in [(bytes, 1), (&with_next, 2)] {
        let check = |(found, between): (Vec<_>, bool), how: &str| {
            assert!(between && found.len() == frames, "{name}, {how}: {found:?}");
            assert_eq!(&judge(&found[0]), expected, "{name}, {how}");
            assert!(found.get(1).is_none_or(|second| *second == next), "{name}, {how}");
        };
        check(feed([stream]), "whole");
        check(feed(stream.chunks(1)), "byte by byte");
        for cut in 0..=stream.len() {
            let (one, other) = stream.split_at(cut);
            check(feed([one, other]), &format!("cut at {cut}"));
        }
    }
    for end in 1..bytes.len() {
        let (found, between) = feed([&bytes[..end]]);
        assert!(found.is_empty() && !between, "{name}, the first {end} bytes");
    }
}

fn check_encode(name: &str, id: u32, frame: &Frame<'_>, bytes: &[u8]) {
    let mut out = b"before".to_vec();
    frame.encode(id, &mut out).unwrap();
    assert_eq!(&out[6..], bytes, "{name}");
    assert!(out.len() - 14 <= max_length(frame.kind(), &Limits::default()) as usize);
    // What a writer cannot take is not written in part.
    let before = out.clone();
    let wrong = if max_id(frame.kind()) == 0 { 1 } else { 0x8000_0000 };
    if frame.kind().is_known() {
        frame.encode(wrong, &mut out).unwrap_err();
        assert_eq!(out, before, "{name}");
    }
}

fn max_id(kind: Kind) -> u32 {
    match kind {
        Kind::HELLO | Kind::AUTH | Kind::RESUME | Kind::ACK | Kind::PING | Kind::PONG => 0,
        Kind::GOODBYE | Kind::CHAT | Kind::MESSAGE | Kind::SIGNAL => 0,
        Kind::PART => 1,
        _ => u32::MAX,
    }
}

fn hello() -> Hello {
    Hello {
        lowest_version: 1,
        highest_version: 1,
        side: Side::Client,
        nonce: [0xA1; 32],
        conversation: ConversationId::new([0xB2; 16]),
        attach: 0,
        stream: 0,
        features: 0,
        limits: Limits::default(),
        unknown_critical: None,
    }
}

const HELLO: &str = "000071 01 00000000 81 0002 0101 82 0001 00
    83 0020 a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1
    84 0010 b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2 85 0008 0000000000000000 86 0001 00
    88 0020 00010000 00004000 00011000 00000800 00080000 00000050 00000010 00004000";

const C3: &str = "c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3";

type Case = (u32, Frame<'static>, String);

const NONE: &str = "0000000000000000";

fn id(side: Side, number: u32) -> TransferId {
    TransferId::new(side, number).unwrap()
}

/// The id, the frame, and its bytes.
fn valid() -> Vec<Case> {
    let mut cases = valid_transfers();
    cases.extend(valid_others());
    cases
}

fn valid_others() -> Vec<Case> {
    let resume = Resume {
        next: [2, 3],
        proof: Some([0xC3; 32]),
        transfers: vec![Held { transfer: id(Side::Client, 4), received: 5 }].into(),
        ..Resume::default()
    };
    let start = Resume { secret: Some([0xC3; 32]), ..Resume::default() };
    let reply = Message { message_type: 1, is_reply: true, correlation: 2, body: b"ok"[..].into() };
    let goodbye = Goodbye { code: CloseCode::SHUTDOWN, text: "away".into() };
    let unknown = |kind, payload: &'static [u8]| Frame::Unknown {
        kind: Kind::new(kind),
        payload: payload.into(),
    };
    vec![
        (0, Frame::Hello(hello()), HELLO.into()),
        (0, Frame::Auth(b""[..].into()), "000000 02 00000000".into()),
        (0, Frame::Auth(b"\0key"[..].into()), "000004 02 00000000 006b6579".into()),
        (0, Frame::Resume(start), format!("000036 03 00000000 81 0010 {NONE}{NONE} 82 0020 {C3}")),
        (
            0,
            Frame::Resume(resume),
            format!(
                "000045 03 00000000 81 0010 0000000000000002 0000000000000003 83 0020 {C3}
                 84 000c 00000004 0000000000000005"
            ),
        ),
        (
            0,
            Frame::Ack(Ack { next: [1, 2], received: 3 }),
            "000018 07 00000000 0000000000000001 0000000000000002 0000000000000003".into(),
        ),
        (
            0,
            Frame::Ping(Ping { token: *b"12345678" }),
            "000008 08 00000000 3132333435363738".into(),
        ),
        (
            0,
            Frame::Pong(Ping { token: *b"12345678" }),
            "000008 09 00000000 3132333435363738".into(),
        ),
        (0, Frame::Goodbye(goodbye), "000006 0a 00000000 0001 61776179".into()),
        (1, Frame::Part(vec![0xC3; 1024].into()), format!("000400 0b 00000001 {}", C3.repeat(32))),
        (
            0,
            Frame::Signal(Signal { signal_type: 1, payload: b""[..].into() }),
            "000002 8c 00000000 0001".into(),
        ),
        (0, Frame::Chat(Chat::new("")), "000002 40 00000000 0000".into()),
        (
            0,
            Frame::Chat(Chat::new("안\0").author("M")),
            "00000a 40 00000000 0004 02 0001 4d ec9588 00".into(),
        ),
        (0, Frame::Message(reply), "00000d 41 00000000 0001 01 0000000000000002 6f6b".into()),
        (3, unknown(0x8D, b"x"), "000001 8d 00000003 78".into()),
        (0, unknown(0xC0, b""), "000000 c0 00000000".into()),
    ]
}

fn valid_transfers() -> Vec<Case> {
    let offer = Offer::new("a").size(0).digest(Digest::Blake3([0xC3; 32]));
    let member = Offer::new("d/e").batch(id(Side::Server, 1)).directory();
    let batch = Batch { name: "b".into(), count: 1, bytes: 2, metadata: b"m"[..].into() };
    let accept = Accept { offset: 1 << 20, prefix: Some(Digest::Sha256([0xC3; 32])) };
    let stored = Verdict { code: TransferCode::STORED, total: 5, text: "a".into() };
    vec![
        (1, Frame::Start(Start { offset: 0 }), format!("000008 04 00000001 {NONE}")),
        (u32::MAX, Frame::Data(b"x"[..].into()), "000001 05 ffffffff 78".into()),
        (
            1,
            Frame::Credit(Credit { limit: 9, received: 8, durable: 7 }),
            "000018 06 00000001 0000000000000009 0000000000000008 0000000000000007".into(),
        ),
        (
            2,
            Frame::Offer(offer),
            format!("000033 42 00000002 81 0001 61 02 0008 {NONE} 08 0021 01 {C3}"),
        ),
        (
            0x8000_0002,
            Frame::Offer(member),
            "000010 42 80000002 81 0003 642f65 89 0004 80000001 8a 0000".into(),
        ),
        (
            0x8000_0001,
            Frame::Batch(batch),
            "00001a 43 80000001 81 0001 62 82 0004 00000001 83 0008 0000000000000002 04 0001 6d"
                .into(),
        ),
        (1, Frame::Accept(Accept::default()), format!("000008 44 00000001 {NONE}")),
        (1, Frame::Accept(accept), format!("000029 44 00000001 0000000000100000 02 {C3}")),
        (
            1,
            Frame::Reject(Reject { code: TransferCode::NO_SPACE, text: "full".into() }),
            "000006 45 00000001 0004 66756c6c".into(),
        ),
        (1, Frame::Pause(Pause { is_paused: true }), "000001 46 00000001 01".into()),
        (1, Frame::Pause(Pause { is_paused: false }), "000001 46 00000001 00".into()),
        (
            1,
            Frame::Finish(Finish { total: 5, digest: None }),
            "000009 47 00000001 0000000000000005 00".into(),
        ),
        (
            1,
            Frame::Cancel(Cancel { code: TransferCode::SOURCE_CHANGED, text: "".into() }),
            "000002 48 00000001 0009".into(),
        ),
        (1, Frame::Verdict(stored), "00000b 49 00000001 0000 0000000000000005 61".into()),
    ]
}

/// The bytes, the field that is wrong, and the code.
fn invalid() -> Vec<(String, &'static str, CloseCode)> {
    const MALFORMED: CloseCode = CloseCode::MALFORMED;
    const UNSUPPORTED: CloseCode = CloseCode::UNSUPPORTED;
    const TOO_LARGE: CloseCode = CloseCode::TOO_LARGE;
    let cases = [
        // The header alone.
        ("000009 04 00000001 000000000000000000", "length", TOO_LARGE),
        ("000002 46 00000001 0100", "length", TOO_LARGE),
        ("000009 08 00000000 313233343536373839", "length", TOO_LARGE),
        ("000001 0c 00000000 00", "kind", UNSUPPORTED),
        ("000000 4a 00000000", "kind", UNSUPPORTED),
        ("000000 00 00000000", "kind", UNSUPPORTED),
        ("000000 02 00000001", "id", MALFORMED),
        ("000001 05 00000000 78", "id", MALFORMED),
        ("000001 05 80000000 78", "id", MALFORMED),
        ("000002 8c 00000001 0001", "id", UNSUPPORTED),
        ("000002 40 00000001 0000", "id", UNSUPPORTED),
        // The payload.
        ("000000 01 00000000", "version", MALFORMED),
        ("000000 03 00000000", "next", MALFORMED),
        ("000007 04 00000001 00000000000000", "offset", MALFORMED),
        ("000008 04 00000001 0020000000000000", "offset", MALFORMED),
        ("000000 05 00000001", "payload", MALFORMED),
        ("000000 06 00000001", "limit", MALFORMED),
        (
            "000017 07 00000000 0000000000000000000000000000000000000000000000",
            "received",
            MALFORMED,
        ),
        ("000007 08 00000000 00000000000000", "token", MALFORMED),
        ("000000 09 00000000", "token", MALFORMED),
        ("000003 0a 00000000 0000 80", "text", MALFORMED),
        ("000004 0b 00000000 00000000", "payload", MALFORMED),
        ("000001 8c 00000000 00", "type", MALFORMED),
        ("000001 40 00000000 00", "length of the attributes", MALFORMED),
        ("000003 40 00000000 0000 ff", "text", MALFORMED),
        ("000005 40 00000000 0003 fe 0000", "unknown field", UNSUPPORTED),
        ("000003 41 00000000 0001 04", "flags", MALFORMED),
        ("000004 42 00000001 01 0001 61", "type of a field", MALFORMED),
        ("000008 42 00000001 81 0001 61 87 0001 01", "content encoding", UNSUPPORTED),
        ("000004 43 00000001 81 0001 62", "count", MALFORMED),
        ("000009 44 00000001 0000000000000000 00", "payload", MALFORMED),
        ("000002 45 00000001 0000", "code", MALFORMED),
        ("000000 46 00000001", "paused", MALFORMED),
        ("000001 46 00000001 02", "paused", MALFORMED),
        ("000009 47 00000001 0000000000000000 09", "digest", UNSUPPORTED),
        ("000002 48 00000001 0000", "code", MALFORMED),
        ("000002 49 00000001 0000", "total", MALFORMED),
    ];
    let mut cases: Vec<_> =
        cases.into_iter().map(|(bytes, field, code)| (bytes.to_owned(), field, code)).collect();
    let more = [
        (format!("000018 06 00000001 {NONE} 0000000000000001 {NONE}"), "received", MALFORMED),
        (format!("00000b 49 00000001 0000 {NONE} 00"), "text", MALFORMED),
        (format!("000403 8c 00000000 {}", "00".repeat(1027)), "length", TOO_LARGE),
        (format!("000401 01 00000000 {}", "00".repeat(1025)), "length", TOO_LARGE),
        (format!("000102 0a 00000000 {}", "00".repeat(258)), "length", TOO_LARGE),
        (HELLO.replace("82 0001 00", "82 0001 02"), "role", MALFORMED),
    ];
    cases.extend(more);
    cases
}

#[test]
fn valid_frames() {
    for (id, frame, text) in valid() {
        let (name, bytes) = (frame.kind().to_string(), hex(&text));
        check_decode(&name, &bytes, &Ok((id, frame.clone())));
        check_encode(&name, id, &frame, &bytes);
    }
}

#[test]
fn invalid_frames() {
    for (text, field, code) in invalid() {
        check_decode(&text, &hex(&text), &Err((field, code)));
    }
}

#[test]
fn every_kind_has_cases() {
    let known: BTreeSet<_> = Kind::KNOWN.iter().copied().collect();
    let good: BTreeSet<_> =
        valid().iter().map(|(_, frame, _)| frame.kind()).filter(|kind| kind.is_known()).collect();
    assert_eq!(good, known);
    let bad = invalid().iter().map(|(text, ..)| Kind::new(hex(text)[3])).collect();
    assert!(known.is_subset(&bad), "{:?}", known.difference(&bad));
}

#[test]
fn the_longest_frames() {
    for (kind, length) in [(0x05, 16_384), (0x0B, 16_384), (0x02, 16_384), (0x8D, 65_536)] {
        let id = u32::from(kind == 0x05);
        let header = Header { length, kind: Kind::new(kind), id };
        let payload = vec![0x5A; length as usize];
        let stream = [&header.encode()[..], &payload, &NEXT].concat();
        for size in [1, 7, 1000, 16_392, stream.len()] {
            let (found, between) = feed(stream.chunks(size));
            assert!(between && found.len() == 2);
            assert_eq!(found[0], (header, payload.clone()));
            let (_, frame) = judge(&found[0]).unwrap();
            let mut out = Vec::new();
            frame.encode(id, &mut out).unwrap();
            assert_eq!(out, stream[..stream.len() - NEXT.len()]);
        }
        let more = Header { length: length + 1, ..header };
        let longer = vec![0x5A; length as usize + 1];
        assert_eq!(judge(&(more, longer)), Err(("length", CloseCode::TOO_LARGE)));
    }
}

#[test]
fn a_decoder_is_small_and_owns_nothing() {
    const { assert!(size_of::<Decoder>() <= 16 && !std::mem::needs_drop::<Decoder>()) };
}

#[test]
fn nothing_that_a_peer_sent_is_printed() {
    for (_, frame, _) in valid() {
        let shown = format!("{frame:?} {frame:#?}");
        for word in ["away", "full", "M\"", "195", "c3c3"] {
            assert!(!shown.contains(word), "{shown}");
        }
    }
}
