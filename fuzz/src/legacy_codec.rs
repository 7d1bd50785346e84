//! The chapter's codecs: any split of the input gives the same events, nothing is held but part of
//! a size or of a character, and what was encoded decodes to the same.

use duologue::legacy::{FileDecoder, FileEncoder, FileError, FileEvent, TextDecoder, TextEncoder};

use super::pieces::pieces;

/// The first byte picks the limit and the second how input is cut; the rest is the input.
pub fn run(data: &[u8]) {
    let [limit, cut, input @ ..] = data else { return };
    let limit = match limit % 4 {
        0 => u64::from(*limit),
        1 => u64::from(*limit) << 8,
        2 => i32::MAX as u64,
        _ => u64::MAX,
    };
    file_decoder(input, limit, *cut);
    file_round_trip(input, *cut);
    for label in ["utf-8", "euc-kr", "iso-2022-jp", "gb18030", "utf-16le"] {
        // Without feature `encoding` only the first is known.
        if let Ok(whole) = TextDecoder::for_label(label) {
            text_decoder(input, *cut, label, whole);
        }
        if let Ok(encoder) = TextEncoder::for_label(label) {
            text_round_trip(&String::from_utf8_lossy(input), label, encoder);
        }
    }
}

#[derive(Debug, PartialEq)]
struct Outcome {
    size: Option<u64>,
    file: Vec<u8>,
    end: Result<(), FileError>,
}

fn decode<'a>(limit: u64, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = FileDecoder::new(limit);
    let (mut size, mut file) = (None, Vec::new());
    for mut piece in pieces {
        while !piece.is_empty() {
            match decoder.decode(piece) {
                Ok((used, event)) => {
                    assert!(used > 0 && used <= piece.len());
                    match event {
                        Some(FileEvent::Size(announced)) => {
                            assert!(announced <= limit.min(i32::MAX as u64));
                            assert_eq!(size.replace(announced), None);
                        }
                        Some(FileEvent::Data(data)) => {
                            assert_eq!(data.as_ptr_range(), piece[..used].as_ptr_range());
                            file.extend_from_slice(data);
                        }
                        Some(other) => panic!("an unknown event: {other:?}"),
                        None => assert!(size.is_none() && used < 4),
                    }
                    piece = &piece[used..];
                }
                Err(error) => {
                    assert_eq!(decoder.decode(piece), Err(error));
                    assert_eq!(decoder.handle_eof(), Err(error));
                    return Outcome { size, file, end: Err(error) };
                }
            }
        }
    }
    let complete = decoder.is_complete();
    let end = decoder.handle_eof();
    assert_eq!(end.is_ok(), complete);
    assert_eq!(decoder.handle_eof(), end);
    Outcome { size, file, end }
}

fn file_decoder(input: &[u8], limit: u64, cut: u8) {
    // It owns no heap, so what it holds is what it measures.
    const { assert!(!std::mem::needs_drop::<FileDecoder>() && size_of::<FileDecoder>() <= 64) };
    let whole = decode(limit, std::iter::once(input));
    assert_eq!(decode(limit, input.chunks(1)), whole);
    assert_eq!(decode(limit, pieces(input, cut)), whole);
    let expected = whole.size.map_or(0, |size| size.min(input.len() as u64 - 4));
    assert_eq!(whole.file.len() as u64, expected, "neither padded nor cut");
}

fn file_round_trip(file: &[u8], cut: u8) {
    let mut encoder = FileEncoder::new(file.len() as u64).expect("below 2 GiB");
    let mut wire = encoder.header().to_vec();
    for piece in pieces(file, cut) {
        wire.extend_from_slice(encoder.encode(piece).expect("as announced"));
    }
    encoder.finish().expect("as announced");
    assert!(encoder.clone().encode(b"!").is_err());
    let size = Some(file.len() as u64);
    let outcome = decode(u64::MAX, pieces(&wire, cut));
    assert_eq!(outcome, Outcome { size, file: file.to_vec(), end: Ok(()) });
}

fn text_decoder(input: &[u8], cut: u8, label: &str, mut whole: TextDecoder) {
    let mut expected = String::new();
    whole.decode(input, &mut expected);
    whole.finish(&mut expected);
    assert!(expected.len() <= 3 * input.len() + 3, "{label}: bounded output");
    if label == "utf-8" {
        assert_eq!(expected, String::from_utf8_lossy(input));
    }
    let check = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut decoder = TextDecoder::for_label(label).expect("known above");
        let mut text = String::new();
        for piece in pieces {
            let before = text.len();
            decoder.decode(piece, &mut text);
            // Of the earlier pieces at most a few bytes are still to be answered for.
            assert!(text.len() - before <= 3 * piece.len() + 12, "{label}: bounded output");
        }
        decoder.finish(&mut text);
        assert_eq!(text, expected, "{label}");
        assert_eq!(decoder.replaced(), whole.replaced(), "{label}");
    };
    check(&mut input.chunks(1));
    check(&mut pieces(input, cut));
}

fn text_round_trip(text: &str, label: &str, mut encoder: TextEncoder) {
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    if let Err(error) = encoder.encode(text, &mut whole) {
        assert!(text.contains(error.character()), "{label} names {:?}", error.character());
        assert!(whole.is_empty());
        return;
    }
    encoder.finish(&mut whole);
    for character in text.chars() {
        encoder.encode(character.encode_utf8(&mut [0; 4]), &mut parts).expect("mappable above");
    }
    encoder.finish(&mut parts);
    assert_eq!(parts, whole, "{label}");

    let mut decoder = TextDecoder::for_label(label).expect("an encoder has a decoder");
    let mut decoded = String::new();
    decoder.decode(&whole, &mut decoded);
    decoder.finish(&mut decoded);
    // The Encoding Standard's few one-way mappings: in these, other characters stand for the same
    // bytes (a yen sign for a backslash, a halfwidth kana for a fullwidth one).
    if !matches!(label, "iso-2022-jp" | "gb18030") {
        assert_eq!(decoded, text, "{label}");
    }
}
