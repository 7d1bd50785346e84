//! One machine, and what its peer says, written by hand: what the peer does counts for nothing.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{Connection, Event};
use duologue::time::Time;
use duologue::wire::{Ack, Chat, Credit, Frame, HEADER_LEN, Header, Kind, Start};

use super::CHUNK;
use crate::duo::{Duo, config};

/// Frames that a read brings: 64 KiB of DATA, and as many lines as fill some KiB.
const FRAMES: usize = 4;
const LINES: usize = 500;

fn frames(kind: Kind, id: u32, payload: &[u8], count: usize) -> Vec<u8> {
    let header = Header { length: payload.len() as u32, kind, id }.encode();
    [&header[..], payload].concat().repeat(count)
}

/// What a driver does after each read: says what there is to say.
fn drain(machine: &mut Connection, now: Time) {
    loop {
        let len = black_box(machine.poll_transmit(now)).len();
        if len == 0 {
            break;
        }
        machine.advance_transmit(len);
    }
    while let Some(event) = machine.poll_event() {
        black_box(event);
    }
}

/// Feeds at most so many bytes a call; data is released at once, items are taken.
fn feed(machine: &mut Connection, input: &[u8], most: usize, now: Time) {
    for mut rest in input.chunks(most.min(input.len())) {
        while !rest.is_empty() {
            let (used, event) = machine.handle_input(now, rest).unwrap();
            rest = &rest[used..];
            let Some(event) = black_box(event) else { continue };
            if let Event::Data { transfer, data, .. } = &event {
                machine.release(*transfer, data.len(), now);
            }
            if let Some(item) = event.item() {
                machine.take(now, item);
            }
        }
    }
}

/// Two machines, of which one takes a file, and the file's id.
fn receiver() -> (Duo, u32) {
    let mut duo = Duo::open(&config(1));
    duo.offer(1);
    let id = duo.writable[0].0.to_wire();
    let mut start = Vec::new();
    Frame::Start(Start { offset: 0 }).encode(id, &mut start).unwrap();
    feed(&mut duo.server, &start, usize::MAX, duo.now);
    (duo, id)
}

/// A machine that receives a file, as many frames at a time as a read of 256 KiB brings.
pub(crate) fn bulk_in(times: u64) {
    let (mut duo, id) = receiver();
    let read = frames(Kind::DATA, id, &vec![7; CHUNK], 16);
    for _ in 0..times / 16 {
        duo.now = duo.now.saturating_add(Duration::from_micros(20));
        let mut len = 0;
        let used = duo.server.handle_bulk(duo.now, &read, |transfer, offset, place| {
            len += black_box((transfer, offset, place)).2.len();
        });
        assert_eq!(used, read.len());
        duo.server.release(duo.writable[0].0, len, duo.now);
        drain(&mut duo.server, duo.now);
    }
}

/// A machine that receives a file, frame by frame or in smaller pieces.
pub(crate) fn data_in(times: u64, most: usize) {
    let (mut duo, id) = receiver();
    let mut left = usize::try_from(times).unwrap();
    let read = frames(Kind::DATA, id, &vec![7; CHUNK], FRAMES);
    while left > 0 {
        let some = left.min(FRAMES);
        left -= some;
        duo.now = duo.now.saturating_add(Duration::from_micros(20));
        feed(&mut duo.server, &read[..some * (HEADER_LEN + CHUNK)], most, duo.now);
        drain(&mut duo.server, duo.now);
    }
}

/// A machine that sends a file to a peer that has everything at once.
pub(crate) fn data_out(times: u64) {
    let mut duo = Duo::open(&config(1));
    duo.offer(1);
    let (transfer, mut offset) = duo.writable[0];
    let (chunk, end) = (Bytes::from(vec![7; CHUNK]), offset + times * CHUNK as u64);
    let statistics = duo.client.statistics();
    let mut sent = duo.sent;
    let next = [statistics.sent.chat.frames, statistics.sent.messages.frames];
    let mut said = Vec::new();
    while offset < end {
        while offset < end && duo.client.send_data(transfer, offset, chunk.clone()).is_ok() {
            offset += CHUNK as u64;
        }
        duo.now = duo.now.saturating_add(Duration::from_micros(20));
        loop {
            let len = black_box(duo.client.poll_transmit(duo.now)).len();
            if len == 0 {
                break;
            }
            duo.client.advance_transmit(len);
            sent += len as u64;
        }
        said.clear();
        let received = duo.client.statistics().sent.data.bytes / (HEADER_LEN + CHUNK) as u64;
        let received = received * CHUNK as u64;
        let credit = Credit { limit: received + (8 << 20), received, durable: 0 };
        Frame::Credit(credit).encode(transfer.to_wire(), &mut said).unwrap();
        Frame::Ack(Ack { next, received: sent }).encode(0, &mut said).unwrap();
        feed(&mut duo.client, &said, usize::MAX, duo.now);
        while let Some(event) = duo.client.poll_event() {
            black_box(event);
        }
    }
}

fn lines(text: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    Chat::new(text).encode(&mut payload).unwrap();
    frames(Kind::CHAT, 0, &payload, LINES)
}

/// A machine that takes lines of chat one at a time.
pub(crate) fn chat_in(times: u64, text: &str, most: usize) {
    let (mut duo, read) = (Duo::open(&config(1)), lines(text));
    for _ in 0..times / LINES as u64 {
        duo.now = duo.now.saturating_add(Duration::from_micros(20));
        feed(&mut duo.server, &read, most, duo.now);
        drain(&mut duo.server, duo.now);
    }
}

/// A machine that takes all lines of a read at once.
pub(crate) fn chats_in(times: u64) {
    let (mut duo, read) = (Duo::open(&config(1)), lines("x"));
    for _ in 0..times / LINES as u64 {
        duo.now = duo.now.saturating_add(Duration::from_micros(20));
        let mut last = None;
        let used = duo.server.handle_chats(duo.now, &read, |item, text| {
            last = Some(item);
            black_box(text);
        });
        assert_eq!(used, read.len());
        duo.server.take(duo.now, last.unwrap());
        drain(&mut duo.server, duo.now);
    }
}
