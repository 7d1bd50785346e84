//! The crate's decoder, what it says in the words of the other one.

use duologue::wire::{
    CloseCode, DecodeError, Digest, Frame, HEADER_LEN, Header, Hello, Kind, Limits, Offer,
    max_length,
};

use super::super::spec::interpret::Value;
use super::super::spec::{Code, Frame as Dump, Stage};

/// The checks on a header where its kind may stand.
pub fn header(bytes: [u8; HEADER_LEN], stage: &Stage) -> Result<(), Code> {
    let header = Header::decode(&bytes);
    let mut limits = Limits::default();
    if stage.open {
        limits.frame = stage.frame as u32;
        limits.fragment = stage.fragment as u32;
    }
    if header.length > max_length(header.kind, &limits) {
        return Err(Code::TooLarge);
    }
    let is_skipped = stage.open && header.kind.is_skippable();
    if !header.kind.is_known() && !is_skipped {
        return Err(Code::Unsupported);
    }
    header.check_id().map_err(code)
}

fn code(error: DecodeError) -> Code {
    match error.code() {
        CloseCode::UNSUPPORTED => Code::Unsupported,
        CloseCode::MALFORMED => Code::Malformed,
        other => panic!("no error of a decoder has the code {other}"),
    }
}

/// The payload; none: a kind that is skipped.
pub fn payload(header: [u8; HEADER_LEN], payload: &[u8]) -> Result<Option<Dump>, Code> {
    let header = Header::decode(&header);
    let frame = Frame::decode(header, payload).map_err(code)?;
    if let Frame::Hello(hello) = &frame {
        // What ends the handshake though it can be read.
        if hello.lowest_version > 1 {
            return Err(Code::Version);
        }
        if hello.unknown_critical.is_some() || hello.stream != 0 {
            return Err(Code::Unsupported);
        }
    }
    if header.kind.is_known() {
        Ok(Some(dump(header.kind, &frame)))
    } else {
        assert!(matches!(frame, Frame::Unknown { .. }));
        Ok(None)
    }
}

/// Fields in the order of the page.
struct Fields(Dump);

impl Fields {
    fn number(&mut self, name: &str, number: impl Into<u64>) -> &mut Self {
        self.0.push(name, Value::Number(number.into()));
        self
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        self.0.push(name, Value::Bytes(bytes.to_vec()));
        self
    }

    fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.0.push(name, Value::Text(text.to_owned()));
        self
    }

    fn digest(&mut self, name: &str, digest: &Digest) -> &mut Self {
        self.number(&format!("{name}.algorithm"), digest.algorithm());
        self.bytes(&format!("{name}.bytes"), digest.as_bytes())
    }
}

fn dump(kind: Kind, frame: &Frame<'_>) -> Dump {
    let name = super::super::spec::table::KINDS
        .iter()
        .find_map(|known| (known.name == kind.to_string()).then_some(known.name))
        .expect("the page knows it too");
    let mut fields = Fields(Dump::new(name));
    match frame {
        Frame::Hello(hello) => hello_fields(&mut fields, hello),
        Frame::Auth(bytes) => _ = fields.bytes("opaque", bytes),
        Frame::Resume(resume) => {
            fields.number("next.lane0", resume.next[0]).number("next.lane1", resume.next[1]);
            for (name, value) in [("secret", &resume.secret), ("proof", &resume.proof)] {
                if let Some(value) = value {
                    fields.bytes(name, value);
                }
            }
            for (at, held) in resume.transfers.iter().enumerate() {
                fields.number(&format!("transfers[{at}].id"), held.transfer.to_wire());
                fields.number(&format!("transfers[{at}].received"), held.received);
            }
        }
        Frame::Start(start) => _ = fields.number("offset", start.offset),
        Frame::Data(bytes) => _ = fields.bytes("data", bytes),
        Frame::Credit(credit) => {
            fields.number("limit", credit.limit).number("received", credit.received);
            fields.number("durable", credit.durable);
        }
        Frame::Ack(ack) => {
            fields.number("next0", ack.next[0]).number("next1", ack.next[1]);
            fields.number("received", ack.received);
        }
        Frame::Ping(ping) | Frame::Pong(ping) => _ = fields.bytes("bytes", &ping.token),
        Frame::Goodbye(goodbye) => {
            fields.number("code", goodbye.code.to_u16()).text("text", &goodbye.text);
        }
        Frame::Part(bytes) => _ = fields.bytes("bytes", bytes),
        Frame::Signal(signal) => {
            fields.number("type", signal.signal_type).bytes("bytes", &signal.payload);
        }
        Frame::Message(message) => {
            fields.number("type", message.message_type).number("flags", message.is_reply);
            fields.number("correlation", message.correlation).bytes("body", &message.body);
        }
        Frame::Chat(chat) => {
            if let Some(id) = &chat.id {
                fields.bytes("id", id);
            }
            if let Some(author) = &chat.author {
                fields.text("author", author);
            }
            if let Some(time) = chat.time {
                fields.number("time", time);
            }
            if let Some(media_type) = &chat.media_type {
                fields.text("media type", media_type);
            }
            if let Some(id) = &chat.in_reply_to {
                fields.bytes("in reply to", id);
            }
            fields.text("text", &chat.text);
        }
        other => transfer_fields(&mut fields, other),
    }
    fields.0
}

fn hello_fields(fields: &mut Fields, hello: &Hello) {
    fields.number("version.lowest", hello.lowest_version);
    fields.number("version.highest", hello.highest_version);
    fields.number("role", hello.side.to_u8());
    fields.bytes("nonce", &hello.nonce).bytes("conversation", hello.conversation.as_bytes());
    fields.number("attach", hello.attach).number("stream", hello.stream);
    if hello.features != 0 {
        fields.number("features", hello.features);
    }
    let limits = &hello.limits;
    for (name, limit) in [
        ("frame", limits.frame),
        ("fragment", limits.fragment),
        ("item", limits.item),
        ("items", limits.items),
        ("bytes", limits.item_bytes),
        ("transfers", limits.transfers),
        ("offers", limits.undecided),
        ("member", limits.member_credit),
    ] {
        fields.number(&format!("limits.{name}"), limit);
    }
}

fn transfer_fields(fields: &mut Fields, frame: &Frame<'_>) {
    match frame {
        Frame::Offer(offer) => offer_fields(fields, offer),
        Frame::Batch(batch) => {
            fields.text("name", &batch.name).number("count", batch.count);
            fields.number("bytes", batch.bytes);
            if !batch.metadata.is_empty() {
                fields.bytes("metadata", &batch.metadata);
            }
        }
        Frame::Accept(accept) => {
            fields.number("offset", accept.offset);
            if let Some(prefix) = &accept.prefix {
                fields.digest("digest", prefix);
            }
        }
        Frame::Reject(reject) => {
            fields.number("code", reject.code.to_u16()).text("text", &reject.text);
        }
        Frame::Pause(pause) => _ = fields.number("paused", pause.is_paused),
        Frame::Finish(finish) => {
            fields.number("total", finish.total);
            match &finish.digest {
                Some(digest) => fields.digest("digest", digest),
                None => fields.number("digest.algorithm", 0_u8).bytes("digest.bytes", &[]),
            };
        }
        Frame::Cancel(cancel) => {
            fields.number("code", cancel.code.to_u16()).text("text", &cancel.text);
        }
        Frame::Verdict(verdict) => {
            fields.number("code", verdict.code.to_u16()).number("total", verdict.total);
            fields.text("text", &verdict.text);
        }
        other => panic!("no frame of the page: {other:?}"),
    }
}

fn offer_fields(fields: &mut Fields, offer: &Offer<'_>) {
    fields.text("name", &offer.name);
    if let Some(size) = offer.size {
        fields.number("size", size);
    }
    if let Some(modified) = offer.modified {
        fields.number("modified", modified);
    }
    if let Some(media_type) = &offer.media_type {
        fields.text("media type", media_type);
    }
    if !offer.metadata.is_empty() {
        fields.bytes("metadata", &offer.metadata);
    }
    if offer.is_seekable {
        fields.bytes("seekable", &[]);
    }
    if let Some(digest) = &offer.digest {
        fields.digest("digest", digest);
    }
    if let Some(batch) = offer.batch {
        fields.number("batch", batch.to_wire());
    }
    if offer.is_directory {
        fields.bytes("directory", &[]);
    }
}
