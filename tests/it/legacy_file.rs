//! The file codec: one table of cases, each run whole, byte by byte, at every split, and with bytes
//! behind it.

use duologue::io::SizeError;
use duologue::legacy::{FileDecoder, FileEncoder, FileError, FileEvent};

const LIMIT: u64 = 300;

/// What a wire means: the size announced, the file's bytes, and how it ends.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    size: Option<u64>,
    file: Vec<u8>,
    end: Result<(), FileError>,
}

fn cases() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    let whole =
        |file: &[u8]| Outcome { size: Some(file.len() as u64), file: file.to_vec(), end: Ok(()) };
    let cut = |received, file: &[u8], size| Outcome {
        size,
        file: file.to_vec(),
        end: Err(FileError::Truncated { received, size }),
    };
    let refused = |error| Outcome { size: None, file: vec![], end: Err(FileError::Size(error)) };
    let over = |size| refused(SizeError::OverLimit { size, limit: LIMIT });
    let large = |len: u8| [&[len, 1, 0, 0][..], &vec![7; 256 + usize::from(len)]].concat();
    vec![
        ("hello", b"\x05\0\0\0hello".to_vec(), whole(b"hello")),
        ("an empty file", b"\0\0\0\0".to_vec(), whole(b"")),
        ("one byte", b"\x01\0\0\0\0".to_vec(), whole(b"\0")),
        ("two bytes of size", large(1), whole(&[7; 257])),
        ("exactly the limit", large(44), whole(&[7; 300])),
        ("one over the limit", b"\x2D\x01\0\0".to_vec(), over(301)),
        ("the largest size", b"\xFF\xFF\xFF\x7F".to_vec(), over(0x7FFF_FFFF)),
        ("minus one", b"\xFF\xFF\xFF\xFF".to_vec(), refused(SizeError::Negative { size: -1 })),
        (
            "the smallest size",
            b"\0\0\0\x80".to_vec(),
            refused(SizeError::Negative { size: -2_147_483_648 }),
        ),
        ("big-endian five", b"\0\0\0\x05".to_vec(), over(0x0500_0000)),
        ("a browser", b"GET ".to_vec(), over(0x2054_4547)),
        ("nothing", vec![], Outcome { size: None, file: vec![], end: Err(FileError::NothingSent) }),
        ("one byte of size", b"\x05".to_vec(), cut(1, b"", None)),
        ("three bytes of size", b"\x05\0\0".to_vec(), cut(3, b"", None)),
        ("a size alone", b"\x05\0\0\0".to_vec(), cut(0, b"", Some(5))),
        ("four of five bytes", b"\x05\0\0\0hell".to_vec(), cut(4, b"hell", Some(5))),
    ]
}

/// Decodes input that arrives in `pieces`, holding the decoder to its contract on the way.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = FileDecoder::new(LIMIT);
    let (mut size, mut file) = (None, Vec::new());
    for mut piece in pieces {
        while !piece.is_empty() {
            match decoder.decode(piece) {
                Ok((used, event)) => {
                    assert!(used >= 1 && used <= piece.len());
                    match event {
                        Some(FileEvent::Size(announced)) => {
                            assert_eq!(size.replace(announced), None, "a second size");
                        }
                        Some(FileEvent::Data(data)) => {
                            assert_eq!(data, &piece[..used]);
                            file.extend_from_slice(data);
                        }
                        other => assert_eq!(other, None),
                    }
                    piece = &piece[used..];
                }
                Err(error) => {
                    assert_eq!(decoder.decode(piece), Err(error), "errors are sticky");
                    assert_eq!(decoder.handle_eof(), Err(error), "errors are sticky");
                    return Outcome { size, file, end: Err(error) };
                }
            }
        }
    }
    assert_eq!(decoder.decode(b""), Ok((0, None)), "no input, no event");
    let complete = decoder.is_complete();
    let end = decoder.handle_eof();
    assert_eq!(complete, end.is_ok());
    assert_eq!(decoder.handle_eof(), end, "the end is final");
    Outcome { size, file, end }
}

#[test]
fn every_case_decodes_whole_byte_by_byte_and_at_every_split() {
    for (name, wire, expected) in cases() {
        assert_eq!(decode([&wire[..]]), expected, "{name}, whole");
        assert_eq!(decode(wire.chunks(1)), expected, "{name}, byte by byte");
        for at in 0..=wire.len() {
            let (head, tail) = wire.split_at(at);
            assert_eq!(decode([head, tail]), expected, "{name}, split at {at}");
            assert_eq!(decode([head, b"", tail]), expected, "{name}, empty input at {at}");
        }
    }
}

#[test]
fn bytes_behind_the_end_are_an_error_however_they_arrive() {
    for (name, wire, mut expected) in cases() {
        if expected.end.is_ok() {
            expected.end = Err(FileError::TrailingData);
            let longer = [&wire[..], b"!"].concat();
            assert_eq!(decode([&longer[..]]), expected, "{name}, whole");
            assert_eq!(decode(longer.chunks(1)), expected, "{name}, byte by byte");
            assert_eq!(decode([&wire[..], b"more"]), expected, "{name}, later");
        } else if matches!(expected.end, Err(FileError::Size(_))) {
            let longer = [&wire[..], b"more"].concat();
            assert_eq!(decode([&longer[..]]), expected, "{name}: nothing behind it is looked at");
        }
    }
}

#[test]
fn every_whole_file_encodes_to_the_same_wire() {
    for (name, wire, expected) in cases() {
        if expected.end.is_err() {
            continue;
        }
        for piece in [1, 2, 3, 1000] {
            let mut encoder = FileEncoder::new(expected.file.len() as u64).unwrap();
            let mut encoded = encoder.header().to_vec();
            for data in expected.file.chunks(piece) {
                encoded.extend_from_slice(encoder.encode(data).unwrap());
            }
            assert_eq!(encoder.remaining(), 0);
            encoder.finish().unwrap();
            assert_eq!(encoded, wire, "{name}");
        }
    }
}

#[test]
fn hello_is_the_golden_vector() {
    let golden = [0x05, 0x00, 0x00, 0x00, 0x68, 0x65, 0x6C, 0x6C, 0x6F];
    let mut encoder = FileEncoder::new(5).unwrap();
    let wire = [&encoder.header()[..], encoder.encode(b"hello").unwrap()].concat();
    assert_eq!(wire, golden);
    assert_eq!(decode([&golden[..]]).file, b"hello");
}

#[test]
fn the_largest_file_is_one_byte_below_2_gib() {
    let encoder = FileEncoder::new(0x7FFF_FFFF).unwrap();
    assert_eq!(encoder.header(), [0xFF, 0xFF, 0xFF, 0x7F]);
    assert_eq!(encoder.size(), FileEncoder::MAX_SIZE);
    for size in [0x8000_0000, 0xFFFF_FFFF, 0x1_0000_0000, 0x1_0000_0005, u64::MAX] {
        let error = FileEncoder::new(size).unwrap_err();
        assert_eq!(error, FileError::TooLarge { size, limit: 0x7FFF_FFFF });
    }
}

#[test]
fn an_encoder_lets_neither_fewer_nor_more_bytes_pass_and_stays_failed() {
    let mut encoder = FileEncoder::new(5).unwrap();
    assert_eq!(encoder.encode(b"hell"), Ok(&b"hell"[..]));
    assert_eq!(encoder.remaining(), 1);
    let short = FileError::SourceTooShort { available: 4, size: 5 };
    assert_eq!(encoder.finish(), Err(short));
    assert_eq!(encoder.encode(b"o"), Err(short));

    let mut encoder = FileEncoder::new(5).unwrap();
    let grew = FileError::SourceGrew { size: 5 };
    assert_eq!(encoder.encode(b"hello!"), Err(grew));
    assert_eq!(encoder.finish(), Err(grew));
    assert_eq!(encoder.encode(b""), Err(grew));
}

#[test]
fn the_decoder_owns_no_heap() {
    assert!(!std::mem::needs_drop::<FileDecoder>());
    assert!(!std::mem::needs_drop::<FileEncoder>());
    assert!(size_of::<FileDecoder>() <= 64);
}

#[test]
fn errors_say_what_happened() {
    let cases = [
        (
            FileError::Size(SizeError::Negative { size: -1 }),
            "the file is refused: the announced size -1 is negative",
        ),
        (FileError::NothingSent, "the peer closed the connection and sent nothing"),
        (FileError::Truncated { received: 3, size: Some(5) }, "the peer sent only 3 of 5 bytes"),
        (
            FileError::Truncated { received: 3, size: None },
            "the peer sent only 3 of the 4 bytes of a size",
        ),
        (FileError::TrailingData, "the peer sent more bytes than it had announced"),
        (
            FileError::TooLarge { size: 9, limit: 8 },
            "a file of 9 bytes is over the 8 bytes of the format",
        ),
        (
            FileError::SourceTooShort { available: 3, size: 5 },
            "the source ended after 3 of 5 bytes",
        ),
        (FileError::SourceGrew { size: 5 }, "the source has more than 5 bytes"),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
        assert!(!error.can_retry());
    }
}
