//! `tests/vectors/*.json`, which were not made with this crate, read and written.

use std::fs;
use std::path::Path;

use duologue::proto::{Acceptor, Config, StreamParameters};
use duologue::time::Time;
use duologue::wire::{
    CloseCode, Decoder, Digest, Frame, Header, Hello, Kind, Limits, PREFACE, Piece, Resume, Side,
    max_length,
};
use serde_json::{Value, json};

fn load(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn list<'a>(document: &'a Value, name: &str) -> &'a [Value] {
    let list = document[name].as_array().unwrap();
    assert!(!list.is_empty());
    list
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_else(|| panic!("{name} of {vector}"))
}

fn bytes(vector: &Value, name: &str) -> Vec<u8> {
    let digits: Vec<_> = text(vector, name).chars().map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The frames of a stream.
fn cut(mut stream: &[u8]) -> Vec<(Header, &[u8])> {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    while !stream.is_empty() {
        let (taken, piece) = decoder.decode(stream);
        stream = &stream[taken..];
        match piece {
            Some(Piece::Header(header)) => frames.push((header, &[][..])),
            Some(Piece::Payload { data, .. }) => frames.last_mut().unwrap().1 = data,
            None => {}
        }
    }
    frames
}

/// What the vectors call the meaning of a frame.
fn meaning(frame: &Frame<'_>) -> Value {
    let digest = |digest: &Option<Digest>| {
        let name = |digest: &Digest| match digest {
            Digest::Blake3(_) => "blake3",
            Digest::Sha256(_) => "sha256",
            other => panic!("an unknown digest: {other:?}"),
        };
        digest.map(|digest| json!({"algorithm": name(&digest), "digest": hex(digest.as_bytes())}))
    };
    let mut fields = match frame {
        Frame::Hello(hello) => meaning_of_hello(hello),
        Frame::Resume(resume) => meaning_of_resume(resume),
        Frame::Start(start) => json!({"offset": start.offset}),
        Frame::Credit(credit) => json!({
            "limit": credit.limit, "received": credit.received, "durable": credit.durable,
        }),
        Frame::Ack(ack) => json!({"next": ack.next, "received": ack.received}),
        Frame::Ping(ping) | Frame::Pong(ping) => json!({"token": hex(ping.token)}),
        Frame::Goodbye(goodbye) => {
            json!({"code": goodbye.code.to_u16(), "text": goodbye.text})
        }
        Frame::Signal(signal) => {
            json!({"type": signal.signal_type, "payload": hex(&signal.payload)})
        }
        Frame::Chat(chat) => json!({
            "text": chat.text, "id": chat.id.map(hex), "author": chat.author, "time": chat.time,
            "media_type": chat.media_type, "in_reply_to": chat.in_reply_to.map(hex),
        }),
        Frame::Message(message) => json!({
            "type": message.message_type, "is_reply": message.is_reply,
            "correlation": message.correlation, "body": hex(&message.body),
        }),
        Frame::Offer(offer) => json!({
            "name": offer.name, "size": offer.size, "modified": offer.modified,
            "media_type": offer.media_type, "metadata": hex(&offer.metadata),
            "seekable": offer.is_seekable, "digest": digest(&offer.digest),
            "batch": offer.batch.map(|id| id.to_wire()), "directory": offer.is_directory,
        }),
        Frame::Batch(batch) => json!({
            "name": batch.name, "count": batch.count, "bytes": batch.bytes,
            "metadata": hex(&batch.metadata),
        }),
        Frame::Accept(accept) => {
            json!({"offset": accept.offset, "prefix": digest(&accept.prefix)})
        }
        Frame::Reject(reject) => json!({"code": reject.code.to_u16(), "text": reject.text}),
        Frame::Cancel(cancel) => json!({"code": cancel.code.to_u16(), "text": cancel.text}),
        Frame::Pause(pause) => json!({"paused": pause.is_paused}),
        Frame::Finish(finish) => json!({"total": finish.total, "digest": digest(&finish.digest)}),
        Frame::Verdict(verdict) => json!({
            "code": verdict.code.to_u16(), "total": verdict.total, "text": verdict.text,
        }),
        Frame::Auth(payload)
        | Frame::Data(payload)
        | Frame::Part(payload)
        | Frame::Unknown { payload, .. } => json!({"payload": hex(payload)}),
        other => panic!("an unknown frame: {other:?}"),
    };
    fields.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    fields
}

fn meaning_of_hello(hello: &Hello) -> Value {
    let limits = &hello.limits;
    let role = if hello.side == Side::Client { "client" } else { "server" };
    json!({
        "lowest_version": hello.lowest_version, "highest_version": hello.highest_version,
        "role": role, "nonce": hex(hello.nonce),
        "conversation": hello.conversation.to_string(), "attach": hello.attach,
        "stream": hello.stream, "features": hello.features,
        "unknown_critical": hello.unknown_critical,
        "limits": {
            "frame": limits.frame, "fragment": limits.fragment, "item": limits.item,
            "items": limits.items, "item_bytes": limits.item_bytes,
            "transfers": limits.transfers, "undecided": limits.undecided,
            "member_credit": limits.member_credit,
        },
    })
}

fn meaning_of_resume(resume: &Resume<'_>) -> Value {
    let held = resume.transfers.iter();
    let transfers: Vec<_> = held
        .map(|held| json!({"transfer": held.transfer.to_wire(), "received": held.received}))
        .collect();
    json!({
        "next": resume.next, "secret": resume.secret.map(hex), "proof": resume.proof.map(hex),
        "transfers": transfers,
    })
}

fn decode((header, payload): (Header, &[u8])) -> Result<Frame<'_>, CloseCode> {
    if header.length > max_length(header.kind, &Limits::default()) {
        return Err(CloseCode::TOO_LARGE);
    }
    Frame::decode(header, payload).map_err(|error| error.code())
}

fn check(file: &str) {
    for vector in list(&load(file), "frames") {
        let (name, stream) = (text(vector, "name"), bytes(vector, "bytes"));
        let frames = cut(&stream);
        let [(header, payload)] = frames[..] else { panic!("{name} is one frame") };
        assert_eq!(header.id, vector["id"].as_u64().unwrap() as u32, "{name}");
        let kind = header.kind.is_known().then(|| header.kind.to_string());
        let kind = kind.unwrap_or_else(|| hex([header.kind.to_u8()]));
        assert_eq!(kind, vector["kind"], "{name}");
        let frame = decode((header, payload)).unwrap();
        assert_eq!(meaning(&frame), vector["fields"], "{name}");
        // And back.
        let canonical = if vector["canonical"].is_null() { "bytes" } else { "canonical" };
        let mut out = Vec::new();
        frame.encode(header.id, &mut out).unwrap();
        assert_eq!(hex(out), text(vector, canonical), "{name}");
    }
}

#[test]
fn handshake() {
    check("handshake.json");
}

#[test]
fn control() {
    check("control.json");
}

#[test]
fn messages() {
    check("messages.json");
}

#[test]
fn transfers() {
    check("transfers.json");
}

#[test]
fn items_in_parts() {
    for vector in list(&load("messages.json"), "items") {
        let (name, stream) = (text(vector, "name"), bytes(vector, "bytes"));
        let mut item = Vec::new();
        let frames = cut(&stream);
        let (end, parts) = frames.split_last().unwrap();
        assert!(!parts.is_empty());
        let lane = vector["lane"].as_u64().unwrap();
        for part in parts {
            assert_eq!((part.0.kind, u64::from(part.0.id)), (Kind::PART, lane), "{name}");
            assert_eq!(decode(*part), Ok(Frame::Part(part.1.into())), "{name}");
            item.extend_from_slice(part.1);
        }
        item.extend_from_slice(end.1);
        assert_eq!(end.0.kind.lane().map(u64::from), Some(lane), "{name}");
        assert_eq!(end.0.kind.to_string(), vector["kind"], "{name}");
        let whole = Header { length: item.len() as u32, ..end.0 };
        assert_eq!(meaning(&Frame::decode(whole, &item).unwrap()), vector["fields"], "{name}");
    }
}

#[test]
fn handshake_hash_and_proofs() {
    let document = load("handshake.json");
    assert_eq!(bytes(&document, "preface"), PREFACE);
    for vector in list(&document, "handshakes") {
        let name = text(vector, "name");
        let binding = bytes(vector, "channel_binding");
        let mut hasher = blake3::Hasher::new_derive_key("duologue 1 handshake");
        hasher.update(&(binding.len() as u64).to_be_bytes()).update(&binding);
        for (side, field) in [(Side::Client, "client"), (Side::Server, "server")] {
            let stream = bytes(vector, field);
            hasher.update(&stream);
            let frames = stream.strip_prefix(&PREFACE[..]).map(cut).unwrap();
            let Ok(Frame::Hello(hello)) = decode(frames[0]) else { panic!("{name}: no HELLO") };
            assert_eq!((hello.side, frames.len()), (side, 1), "{name}");
        }
        let hash = hasher.finalize();
        assert_eq!(hash.to_hex().as_str(), text(vector, "handshake_hash"), "{name}");
        let secret: [u8; 32] = bytes(vector, "secret").try_into().unwrap();
        for (side, resume, proof) in [
            (Side::Client, "client_resume", "client_proof"),
            (Side::Server, "server_resume", "server_proof"),
        ] {
            let stream = bytes(vector, resume);
            let Ok(Frame::Resume(resume)) = decode(cut(&stream)[0]) else { panic!("{name}") };
            let Some(given) = resume.proof else {
                let expected = (side == Side::Server).then_some(secret);
                assert_eq!(resume.secret, expected, "{name}: a new conversation");
                continue;
            };
            let mut hasher = blake3::Hasher::new_keyed(&secret);
            hasher.update(&[side.to_u8()]).update(hash.as_bytes());
            assert_eq!(hasher.finalize(), given, "{name}");
            assert_eq!(hex(given), text(vector, proof), "{name}");
        }
    }
}

#[test]
fn invalid_frames() {
    for vector in list(&load("invalid.json"), "frames") {
        let (name, stream) = (text(vector, "name"), bytes(vector, "bytes"));
        let error = decode(cut(&stream)[0]).expect_err(name);
        assert_eq!(error.to_string(), text(vector, "code"), "{name}");
    }
}

#[test]
fn refused_hellos() {
    for vector in list(&load("invalid.json"), "hellos") {
        let (name, stream) = (text(vector, "name"), bytes(vector, "bytes"));
        let Ok(Frame::Hello(_)) = decode(cut(&stream)[0]) else { panic!("{name}") };
        let now = Time::from_micros(1);
        let mut server = Acceptor::new(Config::default(), StreamParameters::new([1; 32]), now);
        let error = server.handle_input(now, &[&PREFACE[..], &stream].concat()).unwrap_err();
        let code = error.code().unwrap();
        assert_eq!(code.to_string(), text(vector, "code"), "{name}");
    }
}

#[test]
fn refused_prefaces() {
    for vector in list(&load("invalid.json"), "prefaces") {
        let (name, stream) = (text(vector, "name"), bytes(vector, "bytes"));
        let (last, before) = stream.split_last().unwrap();
        assert!(PREFACE.starts_with(before), "{name}");
        assert_ne!(*last, PREFACE[before.len()], "{name}");
    }
}
