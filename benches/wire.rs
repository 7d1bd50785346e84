//! Frames beside a bare header loop and tokio-util's length-delimited codec, in one run.
//!
//! `cargo bench --bench wire` takes all subjects in turn, round by round, and prints nanoseconds a
//! frame (median, least, most) and GB/s of payload, each with its ratio to the bare loop.

use std::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use duologue::wire::{Chat, Decoder, Frame, HEADER_LEN, Header, Kind, Piece};
use tokio_util::codec::{Decoder as _, Encoder as _, LengthDelimitedCodec};

const ROUNDS: usize = 11;

/// Frames of one kind, and how many of them a round takes.
struct Row {
    name: &'static str,
    kind: Kind,
    payload: Vec<u8>,
    /// Frames in one buffer, as one read might bring them.
    burst: usize,
    bursts: usize,
    is_text: bool,
}

/// The payload of a chat without attributes: 64 bytes, filled up with dots.
fn chat(text: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    Chat::new(text).encode(&mut payload).unwrap();
    assert!(payload.len() <= 64);
    payload.resize(64, b'.');
    payload
}

fn rows() -> [Row; 3] {
    let row = |name, text| Row {
        name,
        kind: Kind::CHAT,
        payload: chat(text),
        burst: 500,
        bursts: 2000,
        is_text: true,
    };
    [
        row("64 B chat", "A text as people write them, and all of it in one frame."),
        row("64 B chat in Hangul", "안녕하세요 여러분, 오늘 저녁에 만나요"),
        Row {
            name: "16 KiB DATA",
            kind: Kind::DATA,
            payload: (0..16_384_u32).map(|n| n.to_le_bytes()[1]).collect(),
            burst: 4,
            bursts: 100_000,
            is_text: false,
        },
    ]
}

type Subject = (&'static str, fn(&Row, &[u8]) -> usize);

/// What somebody would write who needs nothing but lengths.
fn bare_decode(row: &Row, mut input: &[u8]) -> usize {
    let mut sum = 0;
    while let Some((header, rest)) = input.split_first_chunk::<HEADER_LEN>() {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let (payload, rest) = rest.split_at(length);
        sum += check(row, black_box(payload));
        input = rest;
    }
    sum
}

fn wire_decode(row: &Row, mut input: &[u8]) -> usize {
    let mut decoder = Decoder::new();
    let mut sum = 0;
    while !input.is_empty() {
        let (taken, piece) = decoder.decode(input);
        input = &input[taken..];
        match piece {
            Some(Piece::Payload { data, .. }) => sum += check(row, black_box(data)),
            Some(Piece::Header(header)) => {
                black_box(header);
            }
            None => {}
        }
    }
    sum
}

/// As `wire_decode`, with the chat decoded as a whole.
fn chat_decode(_: &Row, mut input: &[u8]) -> usize {
    let mut decoder = Decoder::new();
    let mut sum = 0;
    while !input.is_empty() {
        let (taken, piece) = decoder.decode(input);
        input = &input[taken..];
        if let Some(Piece::Payload { data, .. }) = piece {
            sum += black_box(Chat::decode(black_box(data))).map_or(0, |chat| chat.text.len());
        }
    }
    sum
}

fn codec() -> LengthDelimitedCodec {
    // The same header: three bytes of length and five that it skips.
    LengthDelimitedCodec::builder().length_field_length(3).length_adjustment(5).new_codec()
}

fn codec_decode(row: &Row, input: &[u8]) -> usize {
    let mut codec = codec();
    let mut buffer = BytesMut::from(input);
    let mut sum = 0;
    while let Ok(Some(frame)) = codec.decode(&mut buffer) {
        sum += check(row, black_box(&frame[5..]));
    }
    sum
}

/// The check for UTF-8 where the payload is text.
#[inline(always)]
fn check(row: &Row, payload: &[u8]) -> usize {
    if row.is_text { std::str::from_utf8(payload).map_or(0, str::len) } else { payload.len() }
}

/// A burst of frames, all with the same payload.
fn encoded(row: &Row) -> Vec<u8> {
    let header = Header { length: row.payload.len() as u32, kind: row.kind, id: id(row) };
    [&header.encode()[..], &row.payload].concat().repeat(row.burst)
}

fn id(row: &Row) -> u32 {
    u32::from(row.kind == Kind::DATA)
}

fn bare_encode(row: &Row, _: &[u8]) -> usize {
    let mut out = Vec::with_capacity(row.burst * (row.payload.len() + HEADER_LEN));
    for _ in 0..row.burst {
        let payload = black_box(&row.payload);
        let [_, l0, l1, l2] = (payload.len() as u32).to_be_bytes();
        let [i0, i1, i2, i3] = id(row).to_be_bytes();
        out.extend_from_slice(&[l0, l1, l2, row.kind.to_u8(), i0, i1, i2, i3]);
        out.extend_from_slice(payload);
    }
    black_box(&out).len()
}

fn frame_encode(row: &Row, _: &[u8]) -> usize {
    let mut out = Vec::with_capacity(row.burst * (row.payload.len() + HEADER_LEN));
    let frame = match row.kind {
        Kind::CHAT => Frame::Chat(Chat::decode(&row.payload).unwrap()),
        _ => Frame::Data((&row.payload[..]).into()),
    };
    for _ in 0..row.burst {
        black_box(&frame).encode(id(row), &mut out).unwrap();
    }
    black_box(&out).len()
}

/// What the machine does with bulk: the header only, the payload goes out from where it is.
fn header_encode(row: &Row, _: &[u8]) -> usize {
    let mut out = [0; HEADER_LEN];
    for _ in 0..row.burst {
        let payload = black_box(&row.payload);
        let header = Header { length: payload.len() as u32, kind: row.kind, id: id(row) };
        out = black_box(header.encode());
    }
    out.len()
}

fn codec_encode(row: &Row, _: &[u8]) -> usize {
    let mut codec = codec();
    let mut out = BytesMut::with_capacity(row.burst * (row.payload.len() + HEADER_LEN));
    // Nothing but the payload: five bytes less than ours.
    let payload = Bytes::from(row.payload.clone());
    for _ in 0..row.burst {
        codec.encode(black_box(&payload).clone(), &mut out).unwrap();
    }
    black_box(&out).len()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare(row: &Row, what: &str, subjects: &[Subject]) {
    let input = encoded(row);
    let mut rounds = vec![Vec::new(); subjects.len()];
    for round in 0..=ROUNDS {
        // Who goes first moves on, so that drift of the machine's speed falls on all.
        for turn in 0..subjects.len() {
            let index = (round + turn) % subjects.len();
            let started = Instant::now();
            for _ in 0..row.bursts {
                black_box(subjects[index].1(row, black_box(&input)));
            }
            let frames = (row.bursts * row.burst) as f64;
            if round > 0 {
                rounds[index].push(started.elapsed().as_secs_f64() * 1e9 / frames);
            }
        }
    }
    let bare = rounds[0].clone();
    for ((name, _), nanoseconds) in subjects.iter().zip(&mut rounds) {
        let mut ratios: Vec<f64> = nanoseconds.iter().zip(&bare).map(|(n, b)| n / b).collect();
        let middle = median(nanoseconds);
        println!(
            "{:<20} {what} {name:<22} {middle:>8.2} ns ({:.2} to {:.2}), {:>8.2} GB/s, ratio {:.2}",
            row.name,
            nanoseconds[0],
            nanoseconds[nanoseconds.len() - 1],
            row.payload.len() as f64 / middle,
            median(&mut ratios),
        );
    }
}

fn main() {
    println!(
        "{ROUNDS} rounds in turn, ns a frame: median (least to most); text with its UTF-8 check"
    );
    for row in &rows() {
        let mut decode: Vec<Subject> = vec![
            ("bare loop", bare_decode),
            ("Decoder", wire_decode),
            ("LengthDelimitedCodec", codec_decode),
        ];
        if row.is_text {
            decode.push(("Decoder, Chat::decode", chat_decode));
        }
        compare(row, "decode", &decode);
        let encode: [Subject; 4] = [
            ("bare loop", bare_encode),
            ("header alone", header_encode),
            ("Frame::encode", frame_encode),
            ("LengthDelimitedCodec", codec_encode),
        ];
        compare(row, "encode", &encode);
    }
}
