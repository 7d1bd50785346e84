//! Hostile bytes: rows H1 to H10 and H43 of the project's list of hostile inputs, and A1 to A3, A7,
//! A14 and A18 of its list of attacks. Each is refused with a typed error that is sticky, or ignored
//! within a bound.

use duologue::proto::{Config, Error, Event};
use duologue::wire::{
    Ack, Chat, CloseCode, Credit, Frame, Goodbye, HEADER_LEN, Header, Hello, Kind, Limits,
    MAX_INTEGER, Offer, PREFACE, Side, max_length,
};

use crate::raw_peer::{ROLES, RawPeer};
use crate::state_conversation::frame_of;
use crate::state_transfers::{accept, data, finish, offer, start};

#[test]
fn h01_a01_a_length_beyond_the_limit_is_refused_on_the_header_alone() {
    for victim in ROLES {
        for kind in Kind::KNOWN.iter().copied().chain([0x80, 0xC0, 0x0F, 0x7F].map(Kind::new)) {
            let max = max_length(kind, &Limits::default());
            for length in [max + 1, 0x01_0001, 0x7F_FFFF, 0x80_0000, 0xFF_FFFF] {
                let mut peer = RawPeer::open(victim);
                let id = frame_id(kind, &peer);
                let before = peer.victim().memory_usage();
                let result = peer.send_bytes(&Header { length, kind, id }.encode());
                assert!(peer.victim().memory_usage() < before + 4096, "nothing was allocated");
                peer.assert_refused(result, CloseCode::TOO_LARGE);
                assert!(peer.happened().is_empty());
            }
        }
    }
}

fn frame_id(kind: Kind, peer: &RawPeer) -> u32 {
    match kind {
        Kind::HELLO | Kind::AUTH | Kind::RESUME => 0,
        kind if kind.is_known() => frame_of(kind, peer).0,
        _ => 0,
    }
}

#[test]
fn h01_before_the_conversation_is_open_lengths_are_judged_first_as_well() {
    for victim in ROLES {
        for kind in [Kind::HELLO, Kind::AUTH, Kind::RESUME, Kind::CHAT, Kind::GOODBYE]
            .into_iter()
            .chain([0x0C, 0x81, 0xFF].map(Kind::new))
        {
            let mut peer = RawPeer::unopened(victim, Config::default());
            peer.send_bytes(&PREFACE).unwrap();
            let header = Header { length: 0xFF_FFFF, kind, id: 0 };
            let error = peer.send_bytes(&header.encode()).unwrap_err();
            assert_eq!(error.code(), Some(CloseCode::TOO_LARGE), "{kind}");
            peer.drain();
            assert_eq!(peer.goodbye().unwrap().code, CloseCode::TOO_LARGE);
        }
    }
}

#[test]
fn h02_numbers_at_the_end_of_their_range_overflow_nothing() {
    for victim in ROLES {
        // As the receiver: a size, an offset, a total.
        let mut peer = RawPeer::open(victim);
        offer(&mut peer, 1, &Offer::new("vast").size(MAX_INTEGER)).unwrap();
        accept(&mut peer, 1);
        let result = start(&mut peer, 1, MAX_INTEGER);
        peer.assert_refused(result, CloseCode::PROTOCOL);
        let mut peer = RawPeer::open(victim);
        offer(&mut peer, 1, &Offer::new("vast")).unwrap();
        accept(&mut peer, 1);
        start(&mut peer, 1, 0).unwrap();
        finish(&mut peer, 1, MAX_INTEGER).unwrap();
        data(&mut peer, 1, 16_384).unwrap();
        peer.assert_bounded();
        // As the sender: all the credit there is.
        let now = peer.now;
        let id = peer.victim().offer(&Offer::new("file"), now).unwrap();
        let wire = id.to_wire();
        peer.drain();
        peer.send(wire, Frame::Accept(duologue::wire::Accept::default())).unwrap();
        let credit = Credit { limit: MAX_INTEGER, received: 0, durable: 0 };
        peer.send(wire, Frame::Credit(credit)).unwrap();
        peer.victim().send_data(id, 0, vec![1; 100_000].into()).unwrap();
        peer.drain();
        // And one more than a number can be.
        let mut payload = [0; 24];
        payload[..8].copy_from_slice(&(MAX_INTEGER + 1).to_be_bytes());
        let result = peer.send_raw(Kind::CREDIT, wire, &payload);
        peer.assert_refused(result, CloseCode::MALFORMED);
        let mut peer = RawPeer::open(victim);
        let result = peer.send(0, Frame::Ack(Ack { next: [MAX_INTEGER; 2], received: 0 }));
        peer.assert_refused(result, CloseCode::PROTOCOL);
    }
}

#[test]
fn h03_what_is_no_preface_is_refused_at_its_first_wrong_byte_and_not_answered() {
    let foreign: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"PROXY TCP4 192.0.2.1\r\n",
        b"\x00\x00\x00\x00\x00\x00\x10\x00",
        b"\x89DU\x8F\n\n\x1A\n",
        b"\x89DU\x8F\r\n\x1A\r",
    ];
    for victim in ROLES {
        for bytes in foreign {
            let wrong = bytes.iter().zip(PREFACE).position(|(byte, right)| *byte != right).unwrap();
            let mut peer = RawPeer::unopened(victim, Config::default());
            let said = peer.stream.theirs.len();
            for (index, byte) in bytes.iter().enumerate() {
                let result = peer.send_bytes(&[*byte]);
                let error = (index >= wrong).then_some(Error::NotDuologue);
                assert_eq!(result.err(), error, "byte {index} of {bytes:?}");
            }
            peer.drain();
            assert_eq!(peer.stream.theirs.len(), said, "it is not answered");
        }
    }
}

#[test]
fn h03_a_handshake_may_come_in_any_pieces() {
    for victim in ROLES {
        for split in 1..=40 {
            let mut peer = RawPeer::unopened(victim, Config::default());
            peer.split = split;
            peer.greet();
            peer.send(0, Frame::Auth(vec![1; 100].into())).unwrap();
            peer.accept_victim();
            peer.victim_accepts();
            assert!(peer.victim().is_open() && !peer.victim().is_detached());
        }
    }
}

#[test]
fn h04_a_message_that_comes_byte_by_byte_is_the_same_and_costs_no_more_memory() {
    for victim in ROLES {
        let text = "é".repeat(20_000);
        let mut payload = Vec::new();
        Chat::new(&*text).author("slow").encode(&mut payload).unwrap();
        let mut all = Vec::new();
        for split in [1, 7, 4096, usize::MAX] {
            let mut peer = RawPeer::open(victim);
            peer.split = split;
            // The pieces cut a character in two.
            let (first, rest) = payload.split_at(10_001);
            peer.send_raw(Kind::PART, 0, first).unwrap();
            let (second, rest) = rest.split_at(16_384);
            peer.send_raw(Kind::PART, 0, second).unwrap();
            assert!(peer.victim().memory_usage() < 100_000);
            peer.send_raw(Kind::CHAT, 0, rest).unwrap();
            all.push(peer.events);
        }
        assert!(matches!(&all[0][..], [Event::Chat { chat, .. }] if chat.text == text));
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn h05_empty_data_without_end() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        offer(&mut peer, 1, &Offer::new("file")).unwrap();
        accept(&mut peer, 1);
        start(&mut peer, 1, 0).unwrap();
        let result = peer.send_raw(Kind::DATA, peer.ours(1), &[]);
        peer.assert_refused(result, CloseCode::MALFORMED);
    }
}

#[test]
fn h05_empty_chats_that_nobody_takes_end_at_the_limit() {
    let mut peer = RawPeer::open(Side::Server);
    for _ in 0..Config::default().limits().items {
        peer.send(0, Frame::Chat(Chat::new("a"))).unwrap();
    }
    let result = peer.send(0, Frame::Chat(Chat::new("a")));
    peer.assert_refused(result, CloseCode::LIMIT);
}

#[test]
fn h07_violations_one_after_the_other_are_answered_once() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        peer.is_reading = false;
        let error = peer.send_raw(Kind::PAUSE, peer.ours(1), &[2]).unwrap_err();
        for _ in 0..1000 {
            assert_eq!(peer.send_raw(Kind::PAUSE, 0, &[2]), Err(error));
        }
        peer.drain();
        assert_eq!(peer.kinds().get(&Kind::GOODBYE), Some(&1));
        assert_eq!(peer.events.len(), 1, "{:?}", peer.events);
    }
}

/// HELLO as bytes, with another value in place of one of its fields, or one more field.
fn hello_with(peer: &mut RawPeer, tag: u8, value: Option<&[u8]>) -> Vec<u8> {
    let mut payload = Vec::new();
    peer.hello().encode(&mut payload).unwrap();
    let mut fields: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut rest = &payload[..];
    while let [t, high, low, value @ ..] = rest {
        let length = usize::from(*high) * 256 + usize::from(*low);
        fields.push((*t, value[..length].to_vec()));
        rest = &value[length..];
    }
    fields.retain(|(t, _)| *t != tag);
    fields.extend(value.map(|value| (tag, value.to_vec())));
    fields.sort_by_key(|(t, _)| t & 0x7F);
    let mut out = Vec::new();
    for (t, value) in fields {
        out.push(t);
        out.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&value);
    }
    out
}

#[test]
fn h09_fields_of_hello_that_are_wrong_or_unknown() {
    let limits = |index: usize, value: u32| {
        let defaults = [65_536, 16_384, 69_632, 512, 524_288, 80, 16, 16_384_u32];
        let mut values = defaults;
        values[index] = value;
        values.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<u8>>()
    };
    let cases: Vec<(u8, Option<Vec<u8>>, Option<CloseCode>)> = vec![
        (0x81, Some(vec![0, 0]), Some(CloseCode::MALFORMED)),
        (0x81, Some(vec![0, 1]), Some(CloseCode::MALFORMED)),
        (0x81, Some(vec![2, 1]), Some(CloseCode::MALFORMED)),
        (0x81, Some(vec![2, 255]), Some(CloseCode::VERSION)),
        (0x81, Some(vec![1, 255]), None),
        (0x81, None, Some(CloseCode::MALFORMED)),
        (0x82, Some(vec![2]), Some(CloseCode::MALFORMED)),
        (0x83, Some(vec![0; 31]), Some(CloseCode::MALFORMED)),
        (0x84, Some(vec![0; 17]), Some(CloseCode::MALFORMED)),
        (0x85, Some(vec![0xFF; 8]), Some(CloseCode::MALFORMED)),
        (0x86, Some(vec![1]), Some(CloseCode::UNSUPPORTED)),
        (0x07, Some(vec![0; 8]), Some(CloseCode::MALFORMED)),
        (0x07, Some(vec![0, 0, 0, 0, 0, 0, 0, 255]), None),
        (0x87, Some(vec![0, 0, 0, 0, 0, 0, 0, 1]), Some(CloseCode::MALFORMED)),
        (0x09, Some(vec![1, 2, 3]), None),
        (0x89, Some(vec![1, 2, 3]), Some(CloseCode::UNSUPPORTED)),
        (0x88, Some(vec![0; 32]), Some(CloseCode::MALFORMED)),
        (0x88, Some(vec![0xFF; 32]), Some(CloseCode::MALFORMED)),
        (0x88, Some(limits(5, 0)), None),
        (0x88, Some(limits(7, 1 << 31)), None),
        (0x88, Some(limits(4, 1 << 31)), None),
        (0x88, Some(limits(0, 0)), Some(CloseCode::MALFORMED)),
    ];
    for victim in ROLES {
        for (tag, value, code) in &cases {
            let mut peer = RawPeer::unopened(victim, Config::default());
            let payload = hello_with(&mut peer, *tag, value.as_deref());
            peer.send_bytes(&PREFACE).unwrap();
            let result = peer.send_raw(Kind::HELLO, 0, &payload);
            assert_eq!(result.err().and_then(|e| e.code()), *code, "{tag:#x} {value:?}");
            peer.drain();
            if code.is_some() {
                assert_eq!(peer.goodbye().map(|goodbye| goodbye.code), *code);
            }
        }
        // The version is judged before what nobody knows; the role, too.
        let mut peer = RawPeer::unopened(victim, Config::default());
        let hello = Hello { side: victim, ..peer.hello() };
        let error = peer.greet_with(&hello).unwrap_err();
        assert_eq!(error.code(), Some(CloseCode::ROLE));
    }
}

#[test]
fn h09_a02_every_byte_of_every_payload_is_needed_and_none_is_left_over() {
    for kind in Kind::KNOWN.iter().copied().filter(|kind| {
        let raw = [Kind::DATA, Kind::PART, Kind::SIGNAL, Kind::CHAT, Kind::MESSAGE];
        !raw.contains(kind) && !matches!(*kind, Kind::HELLO | Kind::AUTH | Kind::RESUME)
    }) {
        let peer = RawPeer::open(Side::Server);
        let (id, frame) = frame_of(kind, &peer);
        let mut whole = Vec::new();
        frame.encode(id, &mut whole).unwrap();
        let payload = &whole[HEADER_LEN..];
        let longer = [payload, &[0]].concat();
        let texts = [Kind::GOODBYE, Kind::REJECT, Kind::CANCEL, Kind::VERDICT];
        let is_text = texts.contains(&kind);
        let shorter = if is_text { 0..2 } else { 0..payload.len() };
        for wrong in shorter.map(|len| payload[..len].to_vec()).chain([longer]) {
            let mut peer = RawPeer::open(Side::Server);
            let result = peer.send_raw(kind, id, &wrong);
            let code = result.expect_err("not canonical").code();
            let is_longer = wrong.len() as u32 > max_length(kind, &Limits::default());
            let expected = if is_longer { CloseCode::TOO_LARGE } else { CloseCode::MALFORMED };
            assert_eq!(code, Some(expected), "{kind} with {} bytes", wrong.len());
            assert!(peer.happened().is_empty());
        }
    }
}

#[test]
fn h10_text_that_is_no_text() {
    let wrong: [&[u8]; 7] = [
        b"\xFF",
        b"ab\xC0\x80",
        b"\xE0\x80\xAF",
        b"\xED\xA0\x80",
        b"\xF4\x90\x80\x80",
        b"half \xE2\x82",
        b"\x80",
    ];
    for victim in ROLES {
        for text in wrong {
            let mut peer = RawPeer::open(victim);
            let result = peer.send_raw(Kind::CHAT, 0, &[b"\0\0", text].concat());
            peer.assert_refused(result, CloseCode::MALFORMED);
            assert!(peer.happened().is_empty());
            let error = *peer.victim().error().unwrap();
            let shown = format!("{error} {error:?} {:?}", peer.goodbye().unwrap());
            assert!(shown.is_ascii() && !shown.contains("ab"), "nothing of it is repeated");
            let mut peer = RawPeer::open(victim);
            let length = u8::try_from(text.len()).unwrap();
            let result =
                peer.send_raw(Kind::OFFER, peer.ours(1), &[&[0x81, 0, length], text].concat());
            peer.assert_refused(result, CloseCode::MALFORMED);
        }
        let mut peer = RawPeer::open(victim);
        let result = peer.send_raw(Kind::OFFER, peer.ours(1), b"\x81\0\x03a\0b");
        peer.assert_refused(result, CloseCode::MALFORMED);
    }
}

#[test]
fn a14_chat_is_data_whatever_a_terminal_would_make_of_it() {
    for victim in ROLES {
        let texts = ["\0nul\0", "\u{1b}[2J\u{9b}31m", "\u{202e}abc\u{2066}", "\u{fffe}\u{feff}"];
        let mut peer = RawPeer::open(victim);
        for text in texts {
            peer.send(0, Frame::Chat(Chat::new(text))).unwrap();
            let Some(Event::Chat { chat, .. }) = peer.events.last() else { panic!() };
            assert_eq!(chat.text, text);
            assert!(!format!("{:?}", peer.events).contains('\u{1b}'));
        }
        // 64 KiB of text, and then one byte too many for an item.
        for (len, code) in [(65_536, None), (69_632 - 1, Some(CloseCode::TOO_LARGE))] {
            let payload = [&b"\0\0"[..], &vec![b'x'; len][..]].concat();
            let mut chunks: Vec<&[u8]> = payload.chunks(16_384).collect();
            let last = chunks.pop().unwrap();
            let mut result = Ok(());
            for chunk in chunks {
                result = result.and_then(|()| peer.send_raw(Kind::PART, 0, chunk));
            }
            result = result.and_then(|()| peer.send_raw(Kind::CHAT, 0, last));
            assert_eq!(result.err().and_then(|error| error.code()), code);
        }
    }
}

#[test]
fn a18_a_newer_peer_is_understood_as_far_as_it_may_be_skipped() {
    for victim in ROLES {
        let mut peer = RawPeer::unopened(victim, Config::default());
        let hello = Hello { highest_version: 9, features: 0xFF, ..peer.hello() };
        peer.greet_with(&hello).unwrap();
        if peer.acceptor.is_some() {
            peer.victim_answers();
        }
        peer.accept_victim();
        peer.victim_accepts();
        peer.settle();
        peer.send_raw(Kind::new(0x8D), 0xFFFF_FFFF, &[1; 60_000]).unwrap();
        peer.send_raw(Kind::new(0xC1), 5, b"an item that nobody here knows").unwrap();
        // A field that nobody knows may be skipped as well.
        peer.send_raw(Kind::OFFER, peer.ours(1), b"\x81\0\x01n\x0b\0\x02??").unwrap();
        let Some(Event::Offered { item, .. }) = peer.events.last() else { panic!() };
        assert_eq!(item.number, 1, "what was skipped was counted");
        assert_eq!(peer.events.len(), 1);
        let result = peer.send_raw(Kind::new(0x4E), 0, b"of a later version");
        peer.assert_refused(result, CloseCode::UNSUPPORTED);
    }
}

#[test]
fn h43_a_content_encoding_that_was_not_agreed_on_is_fatal() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let result = peer.send_raw(Kind::OFFER, peer.ours(1), b"\x81\0\x01n\x87\0\x01\x01");
        peer.assert_refused(result, CloseCode::UNSUPPORTED);
        assert!(peer.happened().is_empty());
        // The same for a field that is critical and unknown.
        let mut peer = RawPeer::open(victim);
        let result = peer.send_raw(Kind::OFFER, peer.ours(1), b"\x81\0\x01n\x8b\0\0");
        peer.assert_refused(result, CloseCode::UNSUPPORTED);
    }
}

#[test]
fn a03_nothing_is_taken_after_a_goodbye_and_nothing_is_said_twice() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let goodbye = Goodbye { code: CloseCode::SHUTDOWN, text: "".into() };
        peer.send(0, Frame::Goodbye(goodbye)).unwrap();
        let events = peer.events.len();
        for _ in 0..3 {
            assert_eq!(peer.send(0, Frame::Chat(Chat::new("more"))), Err(Error::Closed));
        }
        assert_eq!(peer.events.len(), events);
        assert_eq!(peer.goodbye().unwrap().code, CloseCode::DONE);
    }
}

#[test]
fn a03_a_violation_after_our_goodbye_is_not_answered_by_another() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let now = peer.now;
        peer.victim().close(CloseCode::DONE, "", now).unwrap();
        peer.drain();
        assert!(peer.goodbye().is_some());
        peer.send_raw(Kind::ACK, 0, &[0xFF; 24]).unwrap_err();
        peer.drain();
        assert_eq!(peer.goodbye().unwrap().code, CloseCode::DONE);
        assert!(peer.victim().is_closed() && peer.victim().is_write_closed());
    }
}

#[test]
fn a03_a_second_hello_is_refused() {
    for victim in ROLES {
        let mut peer = RawPeer::unopened(victim, Config::default());
        peer.greet();
        let hello = peer.hello();
        let result = peer.send(0, Frame::Hello(hello));
        peer.assert_refused(result, CloseCode::PROTOCOL);
    }
}

#[test]
fn a02_a_frame_without_an_id_has_none() {
    let kinds = [Kind::ACK, Kind::PING, Kind::PONG, Kind::GOODBYE, Kind::PART];
    for victim in ROLES {
        for kind in kinds {
            let mut peer = RawPeer::open(victim);
            let payload = vec![0; if kind == Kind::PART { 1024 } else { 8 }];
            let result = peer.send_raw(kind, 2, &payload);
            peer.assert_refused(result, CloseCode::MALFORMED);
        }
        // Other channels are for later.
        for kind in [Kind::CHAT, Kind::MESSAGE, Kind::SIGNAL] {
            let mut peer = RawPeer::open(victim);
            let result = peer.send_raw(kind, 1, &[0; 64]);
            peer.assert_refused(result, CloseCode::UNSUPPORTED);
        }
    }
}
