//! Plain lines of chat that are taken many at a time do all that lines one by one do: the same input
//! goes to two machines, and everything that can be seen of them is the same.

use core::time::Duration;

use duologue::proto::{Config, Connection, Error, Event};
use duologue::testing::SplitMix64;
use duologue::time::Time;
use duologue::wire::{Ack, Chat, CloseCode, Frame, Kind, Message, Ping};

use crate::proto_duo::{Duo, frame, read_with, said};

/// Takes input, with or without the short cut.
fn read(
    machine: &mut Connection,
    now: Time,
    input: &[u8],
    many: bool,
) -> Result<Vec<Event<'static>>, Error> {
    read_with(machine, now, input, |machine, input, events| {
        if !many {
            return 0;
        }
        machine.handle_chats(now, input, |item, text| {
            events.push(Event::Chat { item, chat: Chat::new(text.to_owned()) });
        })
    })
}

/// A stream of frames, most of them plain lines; some are not allowed.
fn frames(random: &mut SplitMix64, is_hostile: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut ping = 0_u64;
    for _ in 0..random.below(120) {
        let len = [1, 2, 63, 64, 1000, 1024, 5000][random.below(7) as usize];
        let text = ["x", "é", "語"][random.below(3) as usize].repeat(len);
        let chat = Chat::new(&*text);
        match random.below(if is_hostile { 24 } else { 20 }) {
            0 => bytes.extend(frame(0, &Frame::Chat(Chat::new("")))),
            1 => bytes.extend(frame(0, &Frame::Chat(chat.author("Ada")))),
            2 => bytes.extend(frame(0, &Frame::Message(message(text.as_bytes())))),
            3 => {
                // In two parts.
                let mut payload = Vec::new();
                chat.encode(&mut payload).unwrap();
                if payload.len() > 1024 {
                    bytes.extend([0, 4, 0, Kind::PART.to_u8(), 0, 0, 0, 0]);
                    bytes.extend(&payload[..1024]);
                    payload.drain(..1024);
                }
                bytes.extend((payload.len() as u32).to_be_bytes().into_iter().skip(1));
                bytes.extend([Kind::CHAT.to_u8(), 0, 0, 0, 0]);
                bytes.extend(&payload);
            }
            4 => {
                ping += 1;
                bytes.extend(frame(0, &Frame::Ping(Ping { token: ping.to_be_bytes() })));
            }
            20 => bytes.extend([0, 0, 3, Kind::CHAT.to_u8(), 0, 0, 0, 0, 0, 0, 0xFF]),
            21 => bytes.extend([0, 0, 3, Kind::CHAT.to_u8(), 0, 0, 0, 1, 0, 0, b'a']),
            22 => bytes.extend([0, 0x50, 0, Kind::CHAT.to_u8(), 0, 0, 0, 0]),
            23 => bytes.extend(frame(0, &Frame::Ack(Ack { next: [9, 9], received: 9 }))),
            _ => bytes.extend(frame(0, &Frame::Chat(chat))),
        }
    }
    bytes
}

fn message(body: &[u8]) -> Message<'_> {
    Message { message_type: 7, correlation: 9, is_reply: false, body: body.into() }
}

/// All that can be seen of a machine from outside.
fn look(machine: &mut Connection, now: Time) -> String {
    let bytes = said(machine, now);
    let (timeout, statistics) = (machine.poll_timeout(), machine.statistics());
    format!("{bytes:?} {timeout:?} {statistics:?} {:?} {machine:?}", machine.error())
}

#[test]
fn many_lines_at_once_are_the_same_as_one_by_one() {
    let mut lines = 0;
    for seed in 0..400 {
        let mut random = SplitMix64::new(seed);
        let config =
            || Config::builder().max_untaken(16 << (seed % 5)).max_item(16 << 10).build().unwrap();
        let (mut one, mut many) = (Duo::open(config(), config()), Duo::open(config(), config()));
        let bytes = frames(&mut random, seed % 3 == 0);
        let mut rest = &bytes[..];
        let mut now = one.now;
        while !rest.is_empty() {
            let len = 1 + random.below([20, 200, 20_000][(seed % 3) as usize]) as usize;
            let (input, after) = rest.split_at(len.min(rest.len()));
            rest = after;
            let once = read(&mut one.server, now, input, false);
            let all = read(&mut many.server, now, input, true);
            assert_eq!(once, all, "seed {seed}");
            let Ok(events) = once else { break };
            lines += events.iter().filter(|event| matches!(event, Event::Chat { .. })).count();
            if random.below(2) == 0 {
                if let Some(item) = events.iter().rev().find_map(Event::item) {
                    one.server.take(now, item);
                    many.server.take(now, item);
                }
            }
            assert_eq!(look(&mut one.server, now), look(&mut many.server, now), "seed {seed}");
            now = now.saturating_add(Duration::from_millis(random.below(30)));
            one.server.handle_timeout(now);
            many.server.handle_timeout(now);
        }
    }
    assert!(lines > 5000, "{lines} lines");
}

#[test]
fn without_an_open_stream_or_in_the_middle_of_a_frame_nothing_is_taken() {
    let mut duo = Duo::new(Config::default(), Config::default());
    let line = frame(0, &Frame::Chat(Chat::new("hi")));
    assert_eq!(duo.server.handle_chats(duo.now, &line, |_, _| unreachable!("not open")), 0);
    let mut duo = Duo::open(Config::default(), Config::default());
    duo.server.handle_input(duo.now, &line[..3]).unwrap();
    assert_eq!(duo.server.handle_chats(duo.now, &line, |_, _| unreachable!("inside")), 0);
    duo.server.handle_input(duo.now, &line[3..]).unwrap();
    let both = [&line[..], &line].concat();
    let mut texts = 0;
    assert_eq!(duo.server.handle_chats(duo.now, &both[..both.len() - 1], |_, _| texts += 1), 12);
    assert_eq!(texts, 1, "the second line is not whole");
    duo.server.handle_eof(duo.now);
    assert_eq!(duo.server.handle_chats(duo.now, &line, |_, _| unreachable!("no stream")), 0);
}

#[test]
fn lines_that_were_leaving_when_the_conversation_ended_are_finished_and_count_no_more() {
    let mut duo = Duo::open(Config::default(), Config::default());
    for text in ["one", "two", "three", "four"] {
        duo.client.send_chat(&Chat::new(text)).unwrap();
    }
    let first = said_partly(&mut duo.client, duo.now, 13 + 5);
    let now = duo.now;
    duo.client.close(CloseCode::DONE, "", now).unwrap();
    duo.client.handle_timeout(now.saturating_add(duo.client.config().close_timeout()));
    let rest = said(&mut duo.client, now);
    let frames = [first, rest].concat();
    assert!(frames.windows(5).any(|bytes| bytes == b"three"), "what had begun is finished");
    assert_eq!(duo.client.poll_timeout().is_some(), !duo.client.is_closed());
}

/// Takes so many bytes of what a machine has to say.
fn said_partly(machine: &mut Connection, now: Time, len: usize) -> Vec<u8> {
    let bytes: Vec<u8> = machine.poll_transmit(now).into_iter().flatten().copied().collect();
    machine.advance_transmit(len);
    bytes[..len].to_vec()
}
