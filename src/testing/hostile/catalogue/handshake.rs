//! What is wrong before the conversation is open.

use core::time::Duration;

use super::{Expected, Misbehaviour, greeted, hello, instead};
use crate::testing::hostile::speaker::Next;
use crate::wire::{CloseCode, Frame, Goodbye, Kind, PREFACE, Resume, Side};

const MALFORMED: Expected = Expected::Closed(CloseCode::MALFORMED);
const PROTOCOL: Expected = Expected::Closed(CloseCode::PROTOCOL);

/// Beginnings of what is no duologue.
const FOREIGN: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
    b"\x00\x00\x00\x00\x00\x00\x10\x00",
    b"\x89DU\x8F\n\n\x1A\n",
    b"\x89DU\x8F\r\n\x1A\r",
    b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
];

pub(super) static LIST: &[Misbehaviour] = &[
    instead(
        "another-protocol",
        "H3",
        "begins as HTTP, TLS, SSH, PROXY or the chapter's own format do",
        Expected::Dropped,
        |s| {
            let bytes = s.one_of(FOREIGN).unwrap_or_default();
            s.raw_bytes(bytes);
            Ok(Next::Done)
        },
    ),
    instead("noise", "H3 H18", "says a kilobyte of anything", Expected::Dropped, |s| {
        let bytes = s.noise(1024);
        s.raw_bytes(&bytes);
        Ok(Next::Done)
    }),
    instead(
        "noise-behind-the-preface",
        "H1 H18",
        "says the preface, and then a kilobyte of anything",
        Expected::Closed(CloseCode::TOO_LARGE),
        |s| {
            let bytes = s.noise(1024);
            s.raw_bytes(&PREFACE);
            // A length of 4 MiB and more, as three in four are.
            s.raw_bytes(&[0xC0]);
            s.raw_bytes(&bytes);
            Ok(Next::Done)
        },
    ),
    greeted(
        "handshake-byte-by-byte",
        "H3 T1",
        "says everything in pieces of a byte",
        Expected::Tolerated,
        |s| {
            s.piece = Some((1, Duration::ZERO));
            Ok(Next::Done)
        },
    ),
    greeted(
        "hello-in-part",
        "H8 H17 T6",
        "ends in the middle of its HELLO",
        Expected::Dropped,
        |s| {
            let most = s.out.len() as u64;
            let left = usize::try_from(s.random.below(most)).unwrap_or_default();
            s.out.truncate(left);
            Ok(Next::End)
        },
    ),
    greeted(
        "goodbye-in-the-handshake",
        "H17",
        "takes leave before it has begun",
        Expected::Dropped,
        |s| {
            let goodbye = Goodbye { code: CloseCode::SHUTDOWN, text: "".into() };
            s.frame(0, &Frame::Goodbye(goodbye));
            Ok(Next::End)
        },
    ),
    hello("hello-of-no-version", "H9 A2", "speaks versions 0 to 1", MALFORMED, |fields| {
        fields.set(0x81, &[0, 1]);
    }),
    hello("hello-of-versions-backwards", "H9 A2", "speaks versions 2 to 1", MALFORMED, |fields| {
        fields.set(0x81, &[2, 1]);
    }),
    hello(
        "hello-of-another-version",
        "H9 A18",
        "speaks versions 2 to 255 only",
        Expected::Closed(CloseCode::VERSION),
        |fields| fields.set(0x81, &[2, 255]),
    ),
    hello(
        "hello-of-a-newer-program",
        "A18",
        "speaks versions up to 255, all features, and has fields that nobody knows",
        Expected::Tolerated,
        |fields| {
            fields.set(0x81, &[1, 255]);
            fields.set(0x07, &[0, 0, 0, 0, 0, 0, 0, 255]);
            fields.set(0x09, b"later");
        },
    ),
    hello(
        "hello-with-a-critical-field",
        "H9 A2",
        "has a field that nobody knows and may not be skipped",
        Expected::Closed(CloseCode::UNSUPPORTED),
        |fields| fields.set(0x89, b"now"),
    ),
    hello(
        "hello-of-the-same-role",
        "H9",
        "says it is on the victim's side",
        Expected::Closed(CloseCode::ROLE),
        |fields| fields.set(0x82, &[fields.side.opposite().to_u8()]),
    ),
    hello("hello-without-a-nonce", "H9", "leaves a required field out", MALFORMED, |fields| {
        fields.remove(0x83);
    }),
    hello(
        "hello-of-another-stream",
        "H9",
        "is the second stream of a conversation",
        Expected::Closed(CloseCode::UNSUPPORTED),
        |fields| fields.set(0x86, &[1]),
    ),
    hello("hello-of-no-features", "H9", "offers features, and none", MALFORMED, |fields| {
        fields.set(0x07, &[0; 8]);
    }),
    hello("hello-of-no-limits", "H9 H22", "accepts nothing at all", MALFORMED, |fields| {
        fields.set(0x88, &[0; 32]);
    }),
    hello("hello-of-all-limits", "H9 H2", "accepts more than can be said", MALFORMED, |fields| {
        fields.set(0x88, &[0xFF; 32]);
    }),
    hello(
        "hello-of-the-largest-limits",
        "H9 A8",
        "accepts as much as can be said",
        Expected::Tolerated,
        |fields| {
            let limits = [65_536, 16_384, 1 << 24, 65_536, 1 << 31, 4096, 4096, 1_u32 << 31];
            let bytes: Vec<u8> = limits.iter().flat_map(|n| n.to_be_bytes()).collect();
            fields.set(0x88, &bytes);
        },
    ),
    hello(
        "hello-of-the-smallest-limits",
        "H9 H22",
        "accepts as little as can be said: no transfer, and one item at a time",
        Expected::Tolerated,
        |fields| {
            let limits = [1024, 1024, 16_384, 1, 16_384, 0, 0, 0_u32];
            let bytes: Vec<u8> = limits.iter().flat_map(|n| n.to_be_bytes()).collect();
            fields.set(0x88, &bytes);
        },
    ),
    hello("hello-of-all-ones", "H2 H41", "counts its attaches beyond 2^53", MALFORMED, |fields| {
        fields.set(0x85, &[0xFF; 8]);
    }),
    hello(
        "attach-of-an-unknown-conversation",
        "H41",
        "wants to go on with a conversation that it guessed",
        Expected::Tolerated,
        |fields| fields.set(0x85, &[0, 0, 0, 0, 0, 0, 0, 9]),
    )
    .only(Side::Client),
    hello(
        "attach-that-nobody-asked-for",
        "H41",
        "answers a new conversation as one that goes on",
        PROTOCOL,
        |fields| fields.set(0x85, &[0, 0, 0, 0, 0, 0, 0, 9]),
    )
    .only(Side::Server),
    hello(
        "answer-of-another-conversation",
        "H41 A12",
        "answers for a conversation that it was not asked for",
        PROTOCOL,
        |fields| fields.set(0x84, &[0x5A; 16]),
    )
    .only(Side::Server),
    greeted(
        "length-before-open",
        "H1 A1",
        "declares a frame of 16 MiB before it has been accepted",
        Expected::Closed(CloseCode::TOO_LARGE),
        |s| {
            s.header(Kind::AUTH, 0, 0xFF_FFFF);
            Ok(Next::Done)
        },
    ),
    greeted("chat-before-open", "A3", "talks before it has been accepted", PROTOCOL, |s| {
        s.raw(Kind::CHAT, 0, b"\0\0let me in");
        Ok(Next::Done)
    }),
    greeted(
        "offer-before-open",
        "A3 H12",
        "offers a file before it has been accepted",
        PROTOCOL,
        |s| {
            s.raw(Kind::OFFER, s.ours(1), b"\x81\0\x01n");
            Ok(Next::Done)
        },
    ),
    greeted("second-hello", "H9 A3", "says HELLO twice", PROTOCOL, |s| {
        let hello = s.out.get(PREFACE.len()..).unwrap_or_default().to_vec();
        s.raw_bytes(&hello);
        Ok(Next::Done)
    }),
    greeted(
        "authentication-without-end",
        "H18 A3",
        "authenticates a fourth time",
        Expected::Closed(CloseCode::LIMIT),
        |s| s.again(4, |s, _| s.raw(Kind::AUTH, 0, &[1; 16_384])),
    ),
    greeted(
        "skippable-before-open",
        "A3 A18",
        "says what may be skipped before it may",
        Expected::Closed(CloseCode::UNSUPPORTED),
        |s| {
            s.raw(Kind::new(0x8F), 0, b"later");
            Ok(Next::Done)
        },
    ),
    greeted(
        "proof-that-nobody-asked-for",
        "H41",
        "proves a secret in a conversation that is new",
        PROTOCOL,
        |s| {
            let proof = Some([7; 32]);
            s.frame(0, &Frame::Resume(Resume { proof, ..Resume::default() }));
            Ok(Next::Done)
        },
    ),
    greeted(
        "items-that-nobody-sent",
        "A12 H41",
        "has items of a conversation that is new",
        MALFORMED,
        |s| {
            s.raw(Kind::RESUME, 0, &[&[0x81, 0, 16][..], &[1; 16]].concat());
            Ok(Next::Done)
        },
    ),
];
