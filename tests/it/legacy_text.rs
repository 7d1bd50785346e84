//! Chat text: any cut of the bytes gives the same text, in UTF-8 and in the encodings of the
//! Encoding Standard.

use duologue::legacy::{TextDecoder, TextEncoder};
use duologue::testing::SplitMix64;

/// Decodes input that arrives in `pieces`; the text and the number of replacements.
fn decode<'a>(label: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, u64) {
    let mut decoder = TextDecoder::for_label(label).unwrap();
    let mut text = String::new();
    for piece in pieces {
        decoder.decode(piece, &mut text);
    }
    decoder.finish(&mut text);
    (text, decoder.replaced())
}

#[test]
fn utf8_decodes_like_the_standard_library_at_every_split() {
    let cases: [&[u8]; 14] = [
        b"",
        b"plain",
        "안녕하세요 🙂 é".as_bytes(),
        b"\xFF",
        b"\x80\x80",
        b"\xE2\x82",
        b"\xE2\x82A",
        b"\xE2\x82\xE2\x82\xAC",
        b"\xF0\x9F\x99",
        b"\xF0\x9F\x99\xF0\x9F\x99\x82",
        b"\xF0\x80\x80\x80",
        b"\xED\xA0\x80 surrogate",
        b"\xC0\xAF overlong \xF4\x90\x80\x80",
        b"\xEF\xBB\xBFbyte order mark",
    ];
    for bytes in cases {
        let expected = String::from_utf8_lossy(bytes);
        let marks = |text: &str| text.matches('\u{FFFD}').count() as u64;
        let expected = (expected.to_string(), marks(&expected));
        assert_eq!(decode("utf-8", [bytes]), expected, "{bytes:X?}");
        assert_eq!(decode("utf-8", bytes.chunks(1)), expected, "{bytes:X?}");
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(decode("utf-8", [head, b"", tail]), expected, "{bytes:X?} at {at}");
        }
    }
}

#[test]
fn random_bytes_in_random_pieces_decode_like_the_standard_library() {
    // Lead bytes, continuations and ASCII, so that most sequences are nearly right.
    let alphabet = b"A\x80\xBF\xC2\xE0\xA0\xE2\x82\xAC\xED\xF0\x90\x9F\xF4\x8F\xFF";
    let mut random = SplitMix64::new(7);
    for _ in 0..2_000 {
        let bytes: Vec<u8> = (0..random.below(24))
            .map(|_| alphabet[random.below(alphabet.len() as u64) as usize])
            .collect();
        let (mut rest, mut pieces) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(1 + random.below(rest.len() as u64) as usize);
            pieces.push(piece);
            rest = behind;
        }
        let (text, replaced) = decode("utf-8", pieces);
        assert_eq!(text, String::from_utf8_lossy(&bytes), "{bytes:X?}");
        assert_eq!(replaced, text.matches('\u{FFFD}').count() as u64);
    }
}

#[test]
fn at_most_three_bytes_are_held_back() {
    for (bytes, shown) in [(&b"ab\xF0\x9F\x99"[..], "ab"), (b"\xEC\x95\x88\xEB", "안"), (b"a", "a")]
    {
        let mut decoder = TextDecoder::new();
        let mut text = String::new();
        decoder.decode(bytes, &mut text);
        assert_eq!(text, shown);
        assert!(bytes.len() - shown.len() <= 3);
    }
}

#[test]
fn a_decoder_is_as_new_after_the_end_but_for_its_count() {
    for label in ["utf-8", "euc-kr"] {
        let mut decoder = TextDecoder::for_label(label).unwrap();
        let mut text = String::new();
        decoder.decode(b"a\xC3", &mut text);
        decoder.finish(&mut text);
        decoder.finish(&mut text);
        assert_eq!(text, "a\u{FFFD}", "{label}");
        decoder.decode(b"b", &mut text);
        decoder.finish(&mut text);
        assert_eq!((text.as_str(), decoder.replaced()), ("a\u{FFFD}b", 1), "{label}");
    }
}

#[test]
fn euc_kr_has_golden_vectors() {
    let cases: [(&str, &[u8]); 3] = [
        ("안녕하세요", b"\xBE\xC8\xB3\xE7\xC7\xCF\xBC\xBC\xBF\xE4"),
        // Outside KS X 1001, in Microsoft's extension (CP949).
        ("똠방각하", b"\x8C\x63\xB9\xE6\xB0\xA2\xC7\xCF"),
        ("Connected to: 한글", b"Connected to: \xC7\xD1\xB1\xDB"),
    ];
    for (text, bytes) in cases {
        for label in ["euc-kr", "EUC-KR", " ks_c_5601-1987 ", "windows-949"] {
            assert_eq!(decode(label, [bytes]), (text.into(), 0));
            assert_eq!(decode(label, bytes.chunks(1)), (text.into(), 0));
            let (mut encoder, mut encoded) = (TextEncoder::for_label(label).unwrap(), Vec::new());
            encoder.encode(text, &mut encoded).unwrap();
            encoder.finish(&mut encoded);
            assert_eq!(encoded, bytes);
            assert_eq!(encoder.encoding(), "EUC-KR");
        }
    }
}

#[test]
fn every_encoding_is_incremental_both_ways() {
    let cases = [
        ("utf-8", "안녕 🙂 é"),
        ("utf-16le", "안녕 🙂 é"),
        ("utf-16be", "안녕 🙂 é"),
        ("euc-kr", "안녕 하세요"),
        ("shift_jis", "こんにちは abc"),
        ("euc-jp", "こんにちは abc"),
        ("iso-2022-jp", "abc こんにちは abc 日本"),
        ("gb18030", "你好 🙂 é"),
        ("big5", "你好 abc"),
        ("windows-1252", "café €"),
    ];
    for (label, text) in cases {
        let mut encoder = TextEncoder::for_label(label).unwrap();
        let mut whole = Vec::new();
        encoder.encode(text, &mut whole).unwrap();
        encoder.finish(&mut whole);

        let mut pieces = Vec::new();
        for character in text.chars() {
            encoder.encode(character.encode_utf8(&mut [0; 4]), &mut pieces).unwrap();
        }
        encoder.finish(&mut pieces);
        assert_eq!(pieces, whole, "{label}");

        assert_eq!(decode(label, [&whole[..]]), (text.into(), 0), "{label}");
        assert_eq!(decode(label, whole.chunks(1)), (text.into(), 0), "{label}");
        for at in 0..=whole.len() {
            let (head, tail) = whole.split_at(at);
            let pieces = [head, b"", tail];
            assert_eq!(decode(label, pieces), (text.into(), 0), "{label} at {at}");
        }
    }
}

#[test]
fn long_texts_take_several_turns_of_the_buffers() {
    let text = "긴 글 ".repeat(50_000);
    for label in ["utf-8", "euc-kr", "utf-16le"] {
        let (mut encoder, mut bytes) = (TextEncoder::for_label(label).unwrap(), Vec::new());
        encoder.encode(&text, &mut bytes).unwrap();
        assert!(decode(label, [&bytes[..]]) == (text.clone(), 0), "{label}");
    }
}

#[test]
fn a_character_that_the_encoding_lacks_is_named_and_nothing_is_written() {
    let cases = [
        ("euc-kr", "안녕 🙂", '🙂', "EUC-KR cannot write U+1F642"),
        ("windows-1252", "café 안", '안', "windows-1252 cannot write U+C548"),
        ("iso-2022-jp", "日本 🙂", '🙂', "ISO-2022-JP cannot write U+1F642"),
        ("iso-2022-jp", "日\u{1B}", '\u{1B}', "ISO-2022-JP cannot write U+001B"),
    ];
    for (label, text, character, message) in cases {
        let mut encoder = TextEncoder::for_label(label).unwrap();
        let mut bytes = b"before".to_vec();
        let error = encoder.encode(text, &mut bytes).unwrap_err();
        assert_eq!(error.character(), character);
        assert_eq!(error.to_string(), message);
        assert_eq!(error.encoding(), encoder.encoding());
        assert!(!error.can_retry());
        assert_eq!(bytes, b"before", "no part of it, and no character reference");

        encoder.encode("a", &mut bytes).unwrap();
        assert_eq!(bytes, b"beforea", "{label}: the encoder is as before");
    }
}

#[test]
fn unknown_and_retired_encodings_are_refused() {
    for label in ["", "klingon", "iso-2022-kr", "hz-gb-2312", "replacement", "euc\nkr"] {
        let error = TextDecoder::for_label(label).unwrap_err();
        assert_eq!(error, TextEncoder::for_label(label).unwrap_err());
        assert_eq!(error.label(), label);
        assert!(!error.can_retry());
    }
    let message = TextDecoder::for_label("euc\nkr").unwrap_err().to_string();
    assert_eq!(message, "unknown encoding \"euc\\nkr\"");
    assert_eq!(TextDecoder::for_label(&"x".repeat(1000)).unwrap_err().label().len(), 64);
}

#[test]
fn the_encoding_is_known_by_its_name() {
    for (label, name) in [("utf8", "UTF-8"), (" UTF-8 ", "UTF-8"), ("korean", "EUC-KR")] {
        assert_eq!(TextDecoder::for_label(label).unwrap().encoding(), name);
        assert_eq!(TextEncoder::for_label(label).unwrap().encoding(), name);
    }
    let debug = format!("{:?} {:?}", TextDecoder::new(), TextEncoder::new());
    assert!(debug.contains("UTF-8"));
}
