//! The borders of what the wire carries, on both sides of each.

use duologue::wire::{
    Accept, Batch, Chat, ConversationId, DecodeReason, EncodeReason, Frame, Header, Held, Hello,
    Kind, Limits, Message, Offer, Resume, Side, TransferId, max_length,
};

/// Section 3: an item has at most 16 MiB.
const MAX_ITEM: usize = 16 << 20;

fn too_long(chat: &Chat<'_>) -> bool {
    let mut out = vec![7];
    match chat.encode(&mut out) {
        Ok(()) => {
            assert_eq!(Chat::decode(&out[1..]).as_ref(), Ok(chat));
            false
        }
        Err(error) => {
            assert_eq!((error.field(), out), ("text", vec![7]), "nothing is left of it");
            assert_eq!(error.reason(), EncodeReason::TooLong { max: MAX_ITEM });
            true
        }
    }
}

#[test]
fn a_chat_fills_an_item_to_the_last_byte() {
    // Two bytes say how long the attributes are.
    let text = "x".repeat(MAX_ITEM - 2);
    assert!(!too_long(&Chat::new(&*text)));
    assert!(too_long(&Chat::new(format!("{text}y"))));
    // A time has eleven bytes with its type and length.
    assert!(!too_long(&Chat::new(&text[11..]).time(5)));
    assert!(too_long(&Chat::new(&text[10..]).time(5)));
}

#[test]
fn a_message_fills_an_item_to_the_last_byte() {
    // Type, flags and correlation stand before the body.
    let max = MAX_ITEM - 11;
    let body = vec![1; max + 1];
    let message = |len: usize| Message {
        message_type: 1,
        is_reply: true,
        correlation: 2,
        body: body[..len].into(),
    };
    let mut out = Vec::new();
    let error = message(max + 1).encode(&mut out).unwrap_err();
    assert_eq!((error.field(), error.reason()), ("body", EncodeReason::TooLong { max }));
    assert!(out.is_empty());
    message(max).encode(&mut out).unwrap();
    assert_eq!((out.len(), Message::decode(&out)), (MAX_ITEM, Ok(message(max))));
}

/// What encoding it says.
fn refused(frame: &Frame<'_>, id: u32) -> (&'static str, EncodeReason) {
    let mut out = vec![7];
    let error = frame.encode(id, &mut out).unwrap_err();
    assert_eq!(out, [7], "nothing is left of it");
    assert!(!error.can_retry(), "the same values stay wrong");
    (error.field(), error.reason())
}

#[test]
fn an_accept_has_a_prefix_exactly_if_it_resumes() {
    let accept = |offset| Frame::Accept(Accept { offset, prefix: None });
    for offset in [1, 1 << 20] {
        assert_eq!(refused(&accept(offset), 1), ("prefix", EncodeReason::Missing));
    }
    assert_eq!(accept(0).encode(1, &mut Vec::new()), Ok(()));
}

#[test]
fn a_hello_offers_a_range_of_versions_that_are_there() {
    let hello = |lowest_version, highest_version| {
        Frame::Hello(Hello {
            lowest_version,
            highest_version,
            side: Side::Client,
            nonce: [1; 32],
            conversation: ConversationId::new([2; 16]),
            attach: 0,
            stream: 0,
            features: 0,
            limits: Limits::default(),
            unknown_critical: None,
        })
    };
    for (lowest, highest) in [(0, 0), (0, 1), (2, 1), (255, 254)] {
        let refused = refused(&hello(lowest, highest), 0);
        assert_eq!(refused, ("version", EncodeReason::OutOfRange), "{lowest}..={highest}");
    }
    for (lowest, highest) in [(1, 1), (1, 255), (255, 255)] {
        assert_eq!(hello(lowest, highest).encode(0, &mut Vec::new()), Ok(()));
    }
}

#[test]
fn a_resume_names_each_transfer_once() {
    let held =
        |number| Held { transfer: TransferId::new(Side::Client, number).unwrap(), received: 5 };
    let resume = |transfers: &[Held]| {
        Frame::Resume(Resume {
            proof: Some([3; 32]),
            transfers: transfers.to_vec().into(),
            ..Resume::default()
        })
    };
    for transfers in [[held(4), held(4)], [held(5), held(4)]] {
        let refused = refused(&resume(&transfers), 0);
        assert_eq!(refused, ("transfers", EncodeReason::OutOfOrder), "{transfers:?}");
    }
    assert_eq!(resume(&[held(4), held(5)]).encode(0, &mut Vec::new()), Ok(()));
}

#[test]
fn what_is_written_of_an_unknown_kind_can_be_skipped() {
    let frame = |kind| Frame::Unknown { kind: Kind::new(kind), payload: (&b"x"[..]).into() };
    // Known and skippable, known and not, unknown and not.
    for kind in [Kind::SIGNAL.to_u8(), Kind::CHAT.to_u8(), 0x0C, 0x4A] {
        assert_eq!(refused(&frame(kind), 0), ("kind", EncodeReason::OutOfRange), "{kind:#x}");
    }
    for kind in [0x8D, 0xC0] {
        assert_eq!(frame(kind).encode(0, &mut Vec::new()), Ok(()));
    }
}

#[test]
fn the_first_frames_have_limits_of_their_own() {
    for limits in [Limits::default(), Limits { frame: 1024, fragment: 1024, ..Limits::default() }] {
        let lengths = [Kind::HELLO, Kind::AUTH, Kind::RESUME].map(|kind| max_length(kind, &limits));
        assert_eq!(lengths, [1024, 16_384, 65_536], "{limits:?}");
    }
}

#[test]
fn a_length_that_no_header_holds_becomes_the_largest() {
    for (length, written) in [
        (0xFF_FFFE, [0xFF, 0xFF, 0xFE]),
        (0xFF_FFFF, [0xFF; 3]),
        (0x100_0000, [0xFF; 3]),
        (0x100_0001, [0xFF; 3]),
        (u32::MAX, [0xFF; 3]),
    ] {
        let header = Header { length, kind: Kind::PING, id: 0 };
        assert_eq!(header.encode()[..3], written, "{length:#x}");
    }
}

#[test]
fn a_payload_is_as_long_as_its_header_says() {
    let header = Header { length: 8, kind: Kind::PING, id: 0 };
    for (len, reason) in [(7, DecodeReason::Truncated), (9, DecodeReason::Trailing)] {
        let error = Frame::decode(header, &[0; 9][..len]).unwrap_err();
        assert_eq!((error.field(), error.reason()), ("payload", reason));
    }
    assert!(Frame::decode(header, &[0; 8]).is_ok());
}

#[test]
fn what_a_peer_wrote_is_printed_as_its_length() {
    let chat = Chat::new("hunter2").author("me").id([1; 16]);
    assert_eq!(
        format!("{chat:?}"),
        "Chat { id: Some(16 bytes), author: Some(2 bytes), time: None, media_type: None, \
         in_reply_to: None, text: 7 bytes }"
    );
    let batch =
        Batch { name: "hunter2".into(), count: 3, bytes: 4, metadata: (&b"abc"[..]).into() };
    assert_eq!(
        format!("{batch:?}"),
        "Batch { name: 7 bytes, count: 3, bytes: 4, metadata: 3 bytes }"
    );
    let offer = Offer::new("hunter2").media_type("x").metadata(&b"abc"[..]).modified(5).seekable();
    assert_eq!(
        format!("{offer:?}"),
        "Offer { name: 7 bytes, size: None, modified: Some(5), media_type: Some(1 bytes), \
         metadata: 3 bytes, is_seekable: true, digest: None, batch: None, is_directory: false }"
    );
    let id = TransferId::new(Side::Server, 7).unwrap();
    assert_eq!((format!("{id:?}"), format!("{id}")), ("server#7".into(), "server#7".into()));
    let id = ConversationId::new([0xAB; 16]);
    assert_eq!((format!("{id:?}"), format!("{id}")), ("ab".repeat(16), "ab".repeat(16)));
}
