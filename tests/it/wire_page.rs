//! The conversation that `PROTOCOL.md` has byte by byte.

use std::fs;
use std::path::Path;

use duologue::proto::{Acceptor, Config, Connection, Event, StreamParameters};
use duologue::time::Time;
use duologue::wire::{Ack, Chat, CloseCode, Decoder, Frame, Header, PREFACE, Piece, Side};

/// A frame of the page: whose it is, its name and its bytes.
type Part = (Side, String, Vec<u8>);

fn page() -> Vec<Part> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once("### A conversation, byte by byte").unwrap();
    let (_, block) = section.split_once("```text\n").unwrap();
    let mut parts: Vec<Part> = Vec::new();
    for line in block.lines().take_while(|line| *line != "```") {
        if let Some((side, name)) = line.split_once(": ").filter(|_| !line.starts_with(' ')) {
            let side = if side == "client" { Side::Client } else { Side::Server };
            parts.push((side, name.into(), Vec::new()));
        } else {
            let hex = line.trim_start().split("  ").next().unwrap().replace(' ', "");
            assert!(hex.len() >= 2 && hex.len() % 2 == 0, "{line}");
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            parts.last_mut().unwrap().2.extend((0..hex.len()).step_by(2).map(byte));
        }
    }
    parts
}

/// The frames after the preface.
fn frames(parts: &[Part], side: Side) -> Vec<(&str, &[u8])> {
    let of_side = parts.iter().filter(|part| part.0 == side);
    let mut frames: Vec<_> = of_side.map(|(_, name, bytes)| (&name[..], &bytes[..])).collect();
    assert_eq!(frames.remove(0), ("preface", &PREFACE[..]));
    frames
}

fn decode(bytes: &[u8]) -> (Header, Frame<'_>) {
    let mut decoder = Decoder::new();
    let (taken, Some(Piece::Header(header))) = decoder.decode(bytes) else { panic!("no header") };
    (header, Frame::decode(header, &bytes[taken..]).unwrap())
}

#[test]
fn its_frames_are_what_the_encoder_makes_of_what_they_mean() {
    let parts = page();
    for side in [Side::Client, Side::Server] {
        let frames = frames(&parts, side);
        for (name, bytes) in &frames {
            let (header, frame) = decode(bytes);
            assert_eq!(header.kind.to_string(), *name);
            let mut out = Vec::new();
            frame.encode(header.id, &mut out).unwrap();
            assert!(out == *bytes, "{name}: {out:02x?}");
        }
        let Frame::Hello(hello) = decode(frames[0].1).1 else { panic!("{}", frames[0].0) };
        assert_eq!(hello.side, side);
    }
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/handshake.json");
    let vectors: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(vectors).unwrap()).unwrap();
    for (side, hello, resume) in
        [(Side::Client, "client", "client_resume"), (Side::Server, "server", "server_resume")]
    {
        let frames = frames(&parts, side);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let vector = &vectors["handshakes"][0];
        assert_eq!(vector[hello], hex(&[&PREFACE[..], frames[0].1].concat()));
        assert_eq!(vector[resume], hex(frames[1].1));
    }
}

/// Gives one machine all that the other has to send now, and returns these bytes.
fn carry(from: &mut Connection, to: &mut Connection, now: Time) -> Vec<u8> {
    let bytes: Vec<u8> = from.poll_transmit(now).into_iter().flatten().copied().collect();
    from.advance_transmit(bytes.len());
    let mut input = &bytes[..];
    while let Ok((used @ 1.., event)) = to.handle_input(now, input) {
        input = &input[used..];
        let mut is_hello = matches!(event, Some(Event::PeerHello { .. }));
        while let Some(event) = to.poll_event() {
            is_hello |= matches!(event, Event::PeerHello { .. });
        }
        if is_hello {
            to.accept_peer(now).unwrap();
        }
    }
    bytes
}

#[test]
fn two_machines_say_the_same_after_their_handshake() {
    let mut now = Time::from_micros(1);
    let stream = |seed| StreamParameters::new([seed; 32]);
    let mut client = Connection::client(Config::default(), stream(1), now);
    let mut acceptor = Acceptor::new(Config::default(), stream(2), now);
    let mut sent = [Vec::new(), Vec::new()];
    sent[0] = client.poll_transmit(now).into_iter().flatten().copied().collect();
    client.advance_transmit(sent[0].len());
    acceptor.handle_input(now, &sent[0]).unwrap();
    let mut server = acceptor.accept(now).unwrap();
    server.accept_peer(now).unwrap();
    let (mut has_said, mut is_closing) = (false, false);
    for _ in 0..50 {
        let (there, back) =
            (carry(&mut client, &mut server, now), carry(&mut server, &mut client, now));
        let is_quiet = there.is_empty() && back.is_empty();
        sent[0].extend(there);
        sent[1].extend(back);
        if client.is_closed() && server.is_closed() {
            break;
        }
        if !has_said && client.is_open() {
            client.send_chat(&Chat::new("hi")).unwrap();
            has_said = true;
        } else if has_said && !is_closing {
            client.close(CloseCode::DONE, "", now).unwrap();
            is_closing = true;
        } else if is_quiet {
            // What is acknowledged late.
            let next = [client.poll_timeout(), server.poll_timeout()].into_iter().flatten().min();
            now = next.unwrap();
            client.handle_timeout(now);
            server.handle_timeout(now);
        }
    }
    assert!(client.is_closed() && server.is_closed());
    let parts = page();
    for (side, sent) in [Side::Client, Side::Server].into_iter().zip(sent) {
        let page: Vec<_> = frames(&parts, side).into_iter().map(|(_, bytes)| bytes).collect();
        let made = cut(&sent[PREFACE.len()..]);
        // They measure the round trip, too, and may acknowledge more often.
        let is_told = |frame: &&[u8]| {
            !matches!(decode(frame).1, Frame::Ping(_) | Frame::Pong(_) | Frame::Ack(_))
        };
        let told = |frames: &[&[u8]]| -> Vec<Vec<u8>> {
            frames[2..].iter().copied().filter(is_told).map(<[u8]>::to_vec).collect()
        };
        assert_eq!(told(&made), told(&page), "{side:?}");
    }
    let acks = |frames: Vec<&[u8]>| -> Vec<Ack> {
        let ack = |frame: &[u8]| match decode(frame).1 {
            Frame::Ack(ack) => Some(ack),
            _ => None,
        };
        frames.into_iter().filter_map(ack).collect()
    };
    let page: Vec<_> = frames(&parts, Side::Server).into_iter().map(|(_, bytes)| bytes).collect();
    let before: usize = parts
        .iter()
        .filter(|part| part.0 == Side::Client && part.1 != "GOODBYE")
        .map(|part| part.2.len())
        .sum();
    assert_eq!(acks(page), [Ack { next: [1, 0], received: before as u64 }]);
}

/// The frames of a stream.
fn cut(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while !stream.is_empty() {
        let length = usize::from(stream[1]) << 8 | usize::from(stream[2]);
        let (frame, rest) = stream.split_at(8 + length);
        frames.push(frame);
        stream = rest;
    }
    frames
}
