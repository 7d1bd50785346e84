//! B6: decoding in memory, on one core.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use duologue::proto::{Acceptor, Config, Connection, Event, StreamParameters};
use duologue::time::Time;
use duologue::wire::{Chat, Decoder, HEADER_LEN, Header, Kind, Piece};
use tokio_util::codec::{Decoder as _, LengthDelimitedCodec};

use crate::Result;
use crate::arguments::Arguments;
use crate::measure::{Sample, Stopwatch, Subject, rounds};
use crate::peers::TEXT;
use crate::report::{Bar, Figure, Limit, Report, Table};

/// Frames in a buffer, as one read might bring them.
const BURST: usize = 500;
const LARGE: usize = 16 << 10;
const LARGE_BURST: usize = 4;

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let bursts = arguments.amount(8000);
    // As long as a chat of 62 bytes and the length of its attributes: the payload is 64 bytes.
    let mut payload = Vec::new();
    Chat::new(&TEXT[2..]).encode(&mut payload)?;
    let small = frames(Kind::CHAT, &payload, BURST);
    let small_lengths = with_lengths(&small, payload.len());
    let pace = |decode: fn(&[u8]) -> usize| {
        let small = &small;
        move || Ok(timed(bursts, BURST, || decode(black_box(small))))
    };
    let cases = rounds(
        arguments,
        vec![
            Subject::new("header loop", pace(bare)),
            Subject::new("header loop, UTF-8", pace(bare_text)),
            Subject::new("ours, frame and chat", pace(chat)),
            Subject::new("ours, the whole machine", move || machine(arguments.amount(60_000))),
            Subject::new("LengthDelimited, UTF-8", pace(length_delimited)),
            Subject::new("asynchronous-codec, UTF-8", || {
                Ok(timed(bursts, BURST, || asynchronous(black_box(&small_lengths))))
            }),
        ],
    )?;
    report.add(&Table {
        bars: vec![
            Bar::new("ours, frame and chat", Figure::Value, Limit::AtMost(16.0))
                .goal(Limit::AtMost(10.0)),
        ],
        notes: vec!["the whole machine: with numbering, limits, events, and what is taken".into()],
        ..table("frames of 64 bytes in memory", "header loop, UTF-8", cases)
    });
    large(arguments, report)
}

fn large(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let bursts = arguments.amount(400_000);
    let large = frames(Kind::DATA, &vec![7; LARGE], LARGE_BURST);
    let pace = |decode: fn(&[u8]) -> usize| {
        let large = &large;
        move || Ok(timed(bursts, LARGE_BURST, || decode(black_box(large))))
    };
    let cases = rounds(
        arguments,
        vec![
            Subject::new("header loop", pace(bare)),
            Subject::new("ours", pace(frame)),
            Subject::new("LengthDelimited", || {
                let mut codec = length_delimited_codec();
                cut(bursts / 100, &large, &mut |buffer| {
                    codec.decode(buffer).ok().flatten().map(|frame| frame.len())
                })
            }),
            Subject::new("asynchronous-codec", || {
                let codec = &mut asynchronous_codec::LengthCodec;
                cut(bursts / 100, &with_lengths(&large, LARGE), &mut |buffer| {
                    let frame = asynchronous_codec::Decoder::decode(codec, buffer);
                    frame.ok().flatten().map(|frame| frame.len())
                })
            }),
        ],
    )?;
    report.add(&Table {
        bars: vec![Bar::new("ours", Figure::Value, Limit::AtMost(20.0)).goal(Limit::AtMost(12.0))],
        notes: vec!["payloads are not looked at".into()],
        ..table("frames of 16 KiB in memory", "header loop", cases)
    });
    Ok(())
}

fn table(title: &str, base: &'static str, cases: Vec<crate::measure::Case>) -> Table {
    Table {
        row: "b6",
        title: format!("{title}, one core"),
        unit: "ns each",
        cpu: "",
        base,
        cases,
        bars: Vec::new(),
        notes: Vec::new(),
    }
}

/// The same frame again and again, with the header of our wire.
fn frames(kind: Kind, payload: &[u8], count: usize) -> Vec<u8> {
    let header = Header { length: payload.len() as u32, kind, id: 0 }.encode();
    [&header[..], payload].concat().repeat(count)
}

/// Nanoseconds for each of `each` frames, so many times.
fn timed(times: u64, each: usize, mut decode: impl FnMut() -> usize) -> Sample {
    let watch = Stopwatch::new();
    for _ in 0..times {
        black_box(decode());
    }
    nanos(&watch, times * each as u64)
}

/// CPU time: whoever else uses the machine does not count.
fn nanos(watch: &Stopwatch, frames: u64) -> Sample {
    Sample { value: watch.cpu() * 1e9 / frames as f64, ..Sample::default() }
}

/// What somebody would write who needs nothing but lengths.
fn payloads(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (header, rest) = input.split_first_chunk::<HEADER_LEN>()?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let payload = rest.get(..length)?;
        input = &rest[length..];
        Some(payload)
    })
}

fn bare(input: &[u8]) -> usize {
    payloads(input).map(|payload| black_box(payload).len()).sum()
}

fn bare_text(input: &[u8]) -> usize {
    payloads(input).filter_map(text).sum()
}

#[inline(always)]
fn text(payload: &[u8]) -> Option<usize> {
    black_box(std::str::from_utf8(black_box(payload))).ok().map(str::len)
}

fn frame(mut input: &[u8]) -> usize {
    let (mut decoder, mut sum) = (Decoder::new(), 0);
    while !input.is_empty() {
        let (taken, piece) = decoder.decode(input);
        input = &input[taken..];
        match piece {
            Some(Piece::Payload { data, .. }) => sum += black_box(data).len(),
            Some(Piece::Header(header)) => {
                black_box(header);
            }
            None => {}
        }
    }
    sum
}

fn chat(mut input: &[u8]) -> usize {
    let (mut decoder, mut sum) = (Decoder::new(), 0);
    while !input.is_empty() {
        let (taken, piece) = decoder.decode(input);
        input = &input[taken..];
        if let Some(Piece::Payload { data, .. }) = piece {
            sum += black_box(Chat::decode(black_box(data))).map_or(0, |chat| chat.text.len());
        }
    }
    sum
}

/// The same header for the codec: three bytes of length and five that it skips.
fn length_delimited_codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().length_field_length(3).num_skip(HEADER_LEN).new_codec()
}

/// The other codec's headers have eight bytes, too, all of them the length.
fn with_lengths(frames: &[u8], len: usize) -> Vec<u8> {
    let mut frames = frames.to_vec();
    for frame in frames.chunks_exact_mut(HEADER_LEN + len) {
        frame[..HEADER_LEN].copy_from_slice(&(len as u64).to_be_bytes());
    }
    frames
}

fn length_delimited(input: &[u8]) -> usize {
    let (mut codec, mut buffer, mut sum) = (length_delimited_codec(), BytesMut::from(input), 0);
    while let Ok(Some(frame)) = codec.decode(&mut buffer) {
        sum += text(&frame).unwrap_or_default();
    }
    sum
}

fn asynchronous(input: &[u8]) -> usize {
    let (mut buffer, mut sum) = (BytesMut::from(input), 0);
    let mut codec = asynchronous_codec::LengthCodec;
    while let Ok(Some(frame)) = asynchronous_codec::Decoder::decode(&mut codec, &mut buffer) {
        sum += text(&frame).unwrap_or_default();
    }
    sum
}

/// Cuts frames off a buffer that is there already: only that is measured.
fn cut(
    times: u64,
    frames: &[u8],
    decode: &mut dyn FnMut(&mut BytesMut) -> Option<usize>,
) -> Result<Sample> {
    const AT_A_TIME: usize = 100;
    let (mut cpu, rounds) = (0.0, times.div_ceil(AT_A_TIME as u64));
    for _ in 0..rounds {
        let mut buffers = vec![BytesMut::from(frames); AT_A_TIME];
        let watch = Stopwatch::new();
        for buffer in &mut buffers {
            let mut sum = 0;
            while let Some(len) = decode(buffer) {
                sum += black_box(len);
            }
            if sum != LARGE * LARGE_BURST {
                return Err(format!("{sum} bytes were cut").into());
            }
        }
        cpu += watch.cpu();
    }
    let value = cpu * 1e9 / (rounds as f64 * (AT_A_TIME * LARGE_BURST) as f64);
    Ok(Sample { value, ..Sample::default() })
}

/// A machine that is open, and another that has as many lines of chat for it.
fn machine(count: u64) -> Result<Sample> {
    let now = Time::from_micros(1_000_000);
    let config = Config::builder()
        .max_untaken(65_536)
        .max_untaken_bytes(64 << 20)
        .queued_items(65_536)
        .queued_bytes(64 << 20)
        .build()?;
    let mut client = Connection::client(config.clone(), StreamParameters::new([1; 32]), now);
    let mut acceptor = Acceptor::new(config, StreamParameters::new([2; 32]), now);
    acceptor.handle_input(now, &output(&mut client, now))?;
    let mut server = acceptor.accept(now)?;
    let mut is_accepted = false;
    while !(client.is_open() && server.is_open()) {
        input(&mut client, &output(&mut server, now), now)?;
        if !is_accepted {
            client.accept_peer(now)?;
            server.accept_peer(now)?;
            is_accepted = true;
        }
        input(&mut server, &output(&mut client, now), now)?;
    }
    let line = Chat::new(&TEXT[2..]);
    for _ in 0..count {
        client.send_chat(&line)?;
    }
    let mut bytes = Vec::new();
    loop {
        let some = output(&mut client, now);
        if some.is_empty() {
            break;
        }
        bytes.extend_from_slice(&some);
    }
    let watch = Stopwatch::new();
    let mut received = 0;
    for read in bytes.chunks(64 << 10) {
        received += input(&mut server, read, now)?;
    }
    if received != count {
        return Err(format!("{received} of {count} came").into());
    }
    Ok(nanos(&watch, count))
}

fn output(machine: &mut Connection, now: Time) -> Bytes {
    let bytes: Vec<u8> = machine.poll_transmit(now).into_iter().flatten().copied().collect();
    machine.advance_transmit(bytes.len());
    bytes.into()
}

/// Feeds a machine, and takes what it says; returns how many lines of chat.
fn input(machine: &mut Connection, mut bytes: &[u8], now: Time) -> Result<u64> {
    let mut chats = 0;
    while !bytes.is_empty() {
        let (used, event) = machine.handle_input(now, bytes)?;
        bytes = &bytes[used..];
        let Some(event) = event else { continue };
        chats += u64::from(matches!(&event, Event::Chat { .. }));
        if let Some(item) = black_box(event).item() {
            machine.take(now, item);
        }
    }
    while let Some(event) = machine.poll_event() {
        black_box(event);
    }
    Ok(chats)
}
