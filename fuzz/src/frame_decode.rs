//! Bytes of a peer through the frame decoder: any split gives the same frames, nothing is left out
//! or held, and what is accepted is written again as the same bytes.

use duologue::wire::{
    Cancel, Chat, CloseCode, Decoder, EncodeReason, Frame, Goodbye, HEADER_LEN, Header, Kind,
    Limits, Offer, Piece, Reject, TransferCode, TransferId, Verdict, max_length,
};

use super::pieces::pieces;

/// The first byte says how the input is cut; the rest is the input.
pub fn run(data: &[u8]) {
    let [cut, input @ ..] = data else { return };
    let expected = by_hand(input);
    for frames in [
        decode(input, std::iter::once(input)),
        decode(input, input.chunks(1)),
        decode(input, pieces(input, *cut)),
    ] {
        assert_eq!(frames, expected);
    }
    for (header, payload) in &expected.whole {
        judge(*header, payload);
    }
}

#[derive(Debug, PartialEq)]
struct Frames {
    whole: Vec<(Header, Vec<u8>)>,
    /// What the last one has of its payload, if its header is there and it is not whole.
    partial: Option<(Header, Vec<u8>)>,
    is_between_frames: bool,
}

/// What a reader would write who has all of the input.
fn by_hand(mut input: &[u8]) -> Frames {
    let mut whole = Vec::new();
    loop {
        let is_between_frames = input.is_empty();
        let Some((bytes, rest)) = input.split_first_chunk::<HEADER_LEN>() else {
            return Frames { whole, partial: None, is_between_frames };
        };
        let length =
            usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        let id = bytes[4..].iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
        let header = Header { length: length as u32, kind: Kind::new(bytes[3]), id };
        assert_eq!(header.encode(), *bytes);
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            let partial = Some((header, rest.to_vec()));
            return Frames { whole, partial, is_between_frames: false };
        };
        whole.push((header, payload.to_vec()));
        input = rest;
    }
}

fn decode<'a>(input: &[u8], reads: impl Iterator<Item = &'a [u8]>) -> Frames {
    // It owns no heap, so what it holds is what it measures.
    const { assert!(!std::mem::needs_drop::<Decoder>() && size_of::<Decoder>() <= 16) };
    let mut decoder = Decoder::new();
    let (mut whole, mut partial) = (Vec::new(), None::<(Header, Vec<u8>)>);
    let (mut consumed, mut in_header) = (0, 0);
    for mut read in reads {
        while !read.is_empty() {
            let (taken, piece) = decoder.decode(read);
            assert!(taken > 0 && taken <= read.len());
            consumed += taken;
            match piece {
                Some(Piece::Header(header)) => {
                    assert_eq!(in_header + taken, HEADER_LEN);
                    in_header = 0;
                    assert_eq!(partial.replace((header, Vec::new())), None);
                }
                Some(Piece::Payload { data, last }) => {
                    assert_eq!(data.as_ptr_range(), read[..taken].as_ptr_range());
                    let (header, payload) = partial.as_mut().expect("after its header");
                    payload.extend_from_slice(data);
                    assert_eq!(last, payload.len() == header.length as usize);
                }
                None => {
                    assert_eq!(taken, read.len());
                    in_header += taken;
                    assert!(in_header < HEADER_LEN);
                }
            }
            whole.extend(partial.take_if(|(header, got)| got.len() == header.length as usize));
            read = &read[taken..];
        }
    }
    assert_eq!(consumed, input.len());
    assert_eq!(decoder.decode(&[]), (0, None));
    Frames { whole, partial, is_between_frames: decoder.is_between_frames() }
}

/// What is accepted is written as it was, but for the fields that are skipped.
fn judge(header: Header, payload: &[u8]) {
    let frame = match Frame::decode(header, payload) {
        Ok(frame) => frame,
        Err(error) => {
            assert_eq!(error.kind(), header.kind);
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(frame.kind(), header.kind);
    assert_eq!(frame.clone().into_owned(), frame);
    shown(&frame);
    rebuilt(&frame);
    let mut out = b"before".to_vec();
    if let Err(error) = frame.encode(header.id, &mut out) {
        assert_eq!(out, b"before");
        let too_long = header.length > max_length(header.kind, &Limits::default());
        let refused = matches!(&frame, Frame::Hello(hello) if hello.unknown_critical.is_some());
        let expected = match error.reason() {
            EncodeReason::TooLong { .. } => too_long,
            EncodeReason::Unexpected => refused,
            _ => false,
        };
        assert!(expected, "{frame:?}: {error}");
        return;
    }
    let payload = without_unknown(header.kind, payload);
    let header = Header { length: payload.len() as u32, ..header };
    assert_eq!(out[6..14], header.encode(), "{frame:?}");
    assert_eq!(out[14..], payload, "{frame:?}");
}

/// What is printed of a frame tells its shape, and is short whatever the peer sent.
fn shown(frame: &Frame<'_>) {
    let held = if let Frame::Resume(resume) = frame { resume.transfers.len() } else { 0 };
    let shown = format!("{frame:?}");
    assert!(shown.is_ascii() && shown.len() < 600 + held * 100, "{shown}");
    let (code, is_application, name) = match frame {
        Frame::Goodbye(Goodbye { code, .. }) => {
            assert_eq!(CloseCode::application(code.to_u16()).is_some(), code.is_application());
            (code.to_string(), code.is_application(), code.name())
        }
        Frame::Reject(Reject { code, .. })
        | Frame::Cancel(Cancel { code, .. })
        | Frame::Verdict(Verdict { code, .. }) => {
            assert_eq!(TransferCode::application(code.to_u16()).is_some(), code.is_application());
            (code.to_string(), code.is_application(), code.name())
        }
        _ => return,
    };
    assert_eq!(code.starts_with("application "), is_application);
    assert!(name.is_none_or(|name| name == code));
}

/// What is set one after the other is the same as what was read.
fn rebuilt(frame: &Frame<'_>) {
    match frame {
        Frame::Chat(chat) => {
            let mut again = Chat::new(&*chat.text);
            again = chat.id.into_iter().fold(again, Chat::id);
            again = chat.author.as_deref().into_iter().fold(again, Chat::author);
            again = chat.time.into_iter().fold(again, Chat::time);
            again = chat.media_type.as_deref().into_iter().fold(again, Chat::media_type);
            again = chat.in_reply_to.into_iter().fold(again, Chat::in_reply_to);
            assert_eq!(again, *chat);
        }
        Frame::Offer(offer) => {
            let mut again = Offer::new(&*offer.name).metadata(&*offer.metadata);
            again = offer.size.into_iter().fold(again, Offer::size);
            again = offer.modified.into_iter().fold(again, Offer::modified);
            again = offer.media_type.as_deref().into_iter().fold(again, Offer::media_type);
            again = offer.digest.into_iter().fold(again, Offer::digest);
            again = offer.batch.into_iter().fold(again, Offer::batch);
            again = if offer.is_seekable { again.seekable() } else { again };
            again = if offer.is_directory { again.directory() } else { again };
            assert_eq!(again, *offer);
            if let Some(batch) = offer.batch {
                assert_eq!(TransferId::new(batch.side(), batch.number()), Some(batch));
                assert!(batch.to_string().ends_with(&batch.number().to_string()));
            }
        }
        _ => {}
    }
}

/// The payload without the fields that version 1 does not know.
fn without_unknown(kind: Kind, payload: &[u8]) -> Vec<u8> {
    match kind {
        Kind::HELLO => known(payload, 8),
        Kind::RESUME | Kind::BATCH => known(payload, 4),
        Kind::OFFER => known(payload, 10),
        Kind::CHAT => {
            let length = usize::from(payload[0]) << 8 | usize::from(payload[1]);
            let (attributes, text) = payload[2..].split_at(length);
            let attributes = known(attributes, 5);
            [&(attributes.len() as u16).to_be_bytes()[..], &attributes, text].concat()
        }
        _ => payload.to_vec(),
    }
}

fn known(mut list: &[u8], most: u8) -> Vec<u8> {
    let mut kept = Vec::new();
    while let [tag, high, low, ..] = *list {
        let (field, rest) = list.split_at(3 + (usize::from(high) << 8 | usize::from(low)));
        if (1..=most).contains(&(tag & 0x7F)) {
            kept.extend_from_slice(field);
        }
        list = rest;
    }
    assert!(list.is_empty());
    kept
}
