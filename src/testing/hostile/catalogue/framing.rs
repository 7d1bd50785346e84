//! Frames that are wrong in themselves.

use core::time::Duration;

use super::{Expected, Misbehaviour, open};
use crate::testing::hostile::speaker::Next;
use crate::wire::{
    Ack, Chat, CloseCode, Credit, Frame, Goodbye, Kind, MAX_INTEGER, Message, Offer, max_length,
};

const MALFORMED: Expected = Expected::Closed(CloseCode::MALFORMED);
const PROTOCOL: Expected = Expected::Closed(CloseCode::PROTOCOL);
const TOO_LARGE: Expected = Expected::Closed(CloseCode::TOO_LARGE);
const UNSUPPORTED: Expected = Expected::Closed(CloseCode::UNSUPPORTED);

/// No UTF-8: a wrong byte, overlong forms, a lone surrogate, beyond the last character, half of one.
const NO_TEXT: &[&[u8]] = &[
    b"\xFF",
    b"ab\xC0\x80",
    b"\xE0\x80\xAF",
    b"\xED\xA0\x80",
    b"\xF4\x90\x80\x80",
    b"half \xE2\x82",
    b"\x80",
];

pub(super) static LIST: &[Misbehaviour] = &[
    open("length-of-16-mib", "H1 A1", "declares a frame of 16 MiB", TOO_LARGE, |s| {
        s.header(Kind::CHAT, 0, 0xFF_FFFF);
        Ok(Next::Done)
    }),
    open(
        "length-one-too-long",
        "H1 A1",
        "declares a frame of any kind one byte too long",
        TOO_LARGE,
        |s| {
            let index = s.random.below(Kind::KNOWN.len() as u64);
            let kind = usize::try_from(index).ok().and_then(|index| Kind::KNOWN.get(index));
            let kind = kind.copied().unwrap_or(Kind::CHAT);
            let length = max_length(kind, &s.heard.limits()).saturating_add(1);
            s.header(kind, 0, length);
            Ok(Next::Done)
        },
    ),
    open(
        "credit-beyond-numbers",
        "H2 H11 A6",
        "gives credit beyond the largest number",
        MALFORMED,
        |s| {
            let mut payload = [0; 24];
            payload[..8].copy_from_slice(&MAX_INTEGER.saturating_add(1).to_be_bytes());
            s.raw(Kind::CREDIT, s.theirs(1), &payload);
            Ok(Next::Done)
        },
    ),
    open(
        "credit-that-contradicts-itself",
        "H2 A6",
        "has more on its disk than it has received",
        MALFORMED,
        |s| {
            let payload: Vec<u8> = [10, 5, 6_u64].iter().flat_map(|n| n.to_be_bytes()).collect();
            s.raw(Kind::CREDIT, s.theirs(1), &payload);
            Ok(Next::Done)
        },
    ),
    open(
        "acknowledgement-of-everything",
        "H2 A6",
        "acknowledges the largest numbers there are",
        PROTOCOL,
        |s| {
            let ack = Ack { next: [MAX_INTEGER; 2], received: 0 };
            s.frame(0, &Frame::Ack(ack));
            Ok(Next::Done)
        },
    ),
    open("empty-parts", "H5", "sends a part of nothing", MALFORMED, |s| {
        s.raw(Kind::PART, 0, &[]);
        Ok(Next::Done)
    }),
    open("small-parts", "H5 H6", "sends an item in parts of a few bytes", MALFORMED, |s| {
        s.raw(Kind::PART, 0, &[1; 1023]);
        Ok(Next::Done)
    }),
    open("a-part-of-no-lane", "A2 H16", "sends a part of lane 2", MALFORMED, |s| {
        s.raw(Kind::PART, 2, &[1; 2000]);
        Ok(Next::Done)
    }),
    open(
        "violation-after-violation",
        "H7",
        "sends a thousand frames that are each a violation",
        MALFORMED,
        |s| s.again(1000, |s, _| s.raw(Kind::PAUSE, s.ours(1), &[2])),
    ),
    open("frame-in-part", "H8 T6", "ends in the middle of a frame", Expected::Dropped, |s| {
        s.header(Kind::CHAT, 0, 1000);
        let len = usize::try_from(s.random.below(1000)).unwrap_or_default();
        let bytes = s.noise(len);
        s.raw_bytes(&bytes);
        Ok(Next::End)
    }),
    open(
        "end-without-goodbye",
        "T6 H8",
        "ends between two frames, without a word",
        Expected::Dropped,
        |_| Ok(Next::End),
    ),
    open("unknown-kind", "A2 H9", "sends what nobody knows and may not skip", UNSUPPORTED, |s| {
        s.raw(Kind::new(0x4E), 0, b"of a later version");
        Ok(Next::Done)
    }),
    open(
        "skippable-kinds",
        "A18 A2",
        "sends what nobody knows and may be skipped",
        Expected::Tolerated,
        |s| {
            s.raw(Kind::new(0x8D), 0xFFFF_FFFF, &[1; 60_000]);
            s.raw(Kind::new(0xC1), 5, b"an item that nobody knows");
            s.raw(Kind::OFFER, s.ours(1), b"\x81\0\x01n\x0b\0\x02??");
            Ok(Next::Done)
        },
    ),
    open("reserved-bits", "A2 H9", "sets reserved bits of a message", MALFORMED, |s| {
        s.raw(Kind::MESSAGE, 0, &[0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 1]);
        Ok(Next::Done)
    }),
    open("a-byte-left-over", "A2", "sends a byte behind the end of a payload", MALFORMED, |s| {
        s.raw(Kind::OFFER, s.ours(1), b"\x81\0\x01n\0");
        Ok(Next::Done)
    }),
    open("a-byte-missing", "A2", "sends a payload without its last byte", MALFORMED, |s| {
        s.raw(Kind::ACK, 0, &[0; 23]);
        Ok(Next::Done)
    }),
    open("fields-out-of-order", "A2", "sends fields from the last to the first", MALFORMED, |s| {
        s.raw(Kind::OFFER, s.ours(1), b"\x02\0\x08\0\0\0\0\0\0\0\x01\x81\0\x01n");
        Ok(Next::Done)
    }),
    open("a-field-twice", "A2 H32", "sends a field twice", MALFORMED, |s| {
        s.raw(Kind::OFFER, s.ours(1), b"\x81\0\x01n\x81\0\x01n");
        Ok(Next::Done)
    }),
    open("another-channel", "A2", "talks on a channel that is not there", UNSUPPORTED, |s| {
        s.raw(Kind::CHAT, 1, b"\0\0is anybody here?");
        Ok(Next::Done)
    }),
    open("chat-that-is-no-text", "H10 A14", "sends a chat that is no UTF-8", MALFORMED, |s| {
        let text = s.one_of(NO_TEXT).unwrap_or_default();
        s.raw(Kind::CHAT, 0, &[b"\0\0", text].concat());
        Ok(Next::Done)
    }),
    open("name-that-is-no-text", "H10 A15", "offers a name that is no UTF-8", MALFORMED, |s| {
        let text = s.one_of(NO_TEXT).unwrap_or_default();
        let length = u8::try_from(text.len()).unwrap_or_default();
        s.raw(Kind::OFFER, s.ours(1), &[&[0x81, 0, length], text].concat());
        Ok(Next::Done)
    }),
    open("name-with-a-nul", "H10 A15", "offers a name with a NUL in it", MALFORMED, |s| {
        s.raw(Kind::OFFER, s.ours(1), b"\x81\0\x03a\0b");
        Ok(Next::Done)
    }),
    open(
        "chat-that-plays-with-the-terminal",
        "H30 A14",
        "sends escapes, NUL and marks that turn the text around",
        Expected::Tolerated,
        |s| {
            for text in ["\0nul\0", "\u{1b}[2J\u{9b}31m", "\u{202e}abc\u{2066}", "\u{fffe}"] {
                s.frame(0, &Frame::Chat(Chat::new(text).author("\u{1b}]0;you\u{7}")));
            }
            let text = many_marks();
            s.frame(0, &Frame::Chat(Chat::new(text)));
            Ok(Next::Done)
        },
    ),
    open(
        "goodbye-that-plays-with-the-terminal",
        "H30",
        "takes leave with escapes",
        Expected::Closed(CloseCode::DONE),
        |s| {
            let text = "\u{1b}[2J\u{202e}eybdoog\r\n".into();
            s.frame(0, &Frame::Goodbye(Goodbye { code: CloseCode::new(40_000), text }));
            Ok(Next::End)
        },
    ),
    open(
        "content-encoding",
        "H43",
        "offers a file in an encoding that was not agreed on",
        UNSUPPORTED,
        |s| {
            s.raw(Kind::OFFER, s.ours(1), b"\x81\0\x01n\x87\0\x01\x01");
            Ok(Next::Done)
        },
    ),
    open("handshake-again", "A3 H9", "begins the handshake anew", PROTOCOL, |s| {
        let kind = *s.one_of(&[&Kind::HELLO, &Kind::AUTH, &Kind::RESUME]).unwrap_or(&Kind::AUTH);
        s.raw(kind, 0, &[0; 100]);
        Ok(Next::Done)
    }),
    open(
        "talk-after-goodbye",
        "A3",
        "takes leave, and goes on talking",
        Expected::Closed(CloseCode::DONE),
        |s| {
            let goodbye = Goodbye { code: CloseCode::SHUTDOWN, text: "".into() };
            s.frame(0, &Frame::Goodbye(goodbye));
            for _ in 0..100 {
                s.frame(0, &Frame::Chat(Chat::new("one more thing")));
            }
            Ok(Next::End)
        },
    ),
    open(
        "times-of-no-clock",
        "H22 H31",
        "sends times at the beginning and the end of all numbers",
        Expected::Tolerated,
        |s| {
            for time in [0, MAX_INTEGER] {
                s.frame(0, &Frame::Chat(Chat::new("when?").time(time)));
                s.offer(&Offer::new("dated").size(1).modified(time));
            }
            Ok(Next::Done)
        },
    ),
    open(
        "messages-of-many-levels",
        "H32",
        "sends messages of sixteen thousand levels each, for whoever parses them",
        Expected::Tolerated,
        |s| {
            s.piece = Some((4096, Duration::ZERO));
            let body = b"[".repeat(16_000);
            for correlation in 0..8 {
                let body = (&body[..]).into();
                let message = Message { message_type: 1, is_reply: false, correlation, body };
                s.frame(0, &Frame::Message(message));
            }
            Ok(Next::Done)
        },
    ),
    open(
        "metadata-one-too-long",
        "H32",
        "offers a file with more metadata than there may be",
        MALFORMED,
        |s| {
            let field = [&b"\x81\0\x01n\x05\x10\x01"[..], &[b'{'; 4097]].concat();
            s.raw(Kind::OFFER, s.ours(1), &field);
            Ok(Next::Done)
        },
    ),
    open(
        "credit-for-nobody",
        "A4 A6 H12",
        "gives credit for a file that was never offered",
        PROTOCOL,
        |s| {
            let credit = Credit { limit: 1 << 20, received: 0, durable: 0 };
            s.frame(s.theirs(1000), &Frame::Credit(credit));
            Ok(Next::Done)
        },
    ),
];

/// A letter under ten thousand marks.
fn many_marks() -> String {
    core::iter::once('a').chain(core::iter::repeat_n('\u{301}', 8000)).collect()
}
