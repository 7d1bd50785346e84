//! Frames made up from the input: what is encoded decodes to the same, within the limit of its
//! kind, and a frame within the rules is never refused.

use std::borrow::Cow;

use arbitrary::{Arbitrary, Result, Unstructured};
use duologue::wire::{
    Accept, Ack, Batch, Cancel, Chat, CloseCode, ConversationId, Credit, Decoder, Digest, Finish,
    Frame, Goodbye, Header, Held, Hello, Kind, Limits, MAX_INTEGER, Message, Offer, Pause, Piece,
    Ping, Reject, Resume, Side, Signal, Start, TransferCode, TransferId, Verdict, max_length,
};

use super::pieces::pieces;

pub fn run(data: &[u8]) {
    let mut source = Unstructured::new(data);
    let Ok(is_wild) = source.ratio(1, 4) else { return };
    let mut maker = Maker { source, is_wild };
    let Ok((id, frame)) = maker.frame() else { return };
    let cut = maker.source.arbitrary().unwrap_or(0);
    let mut out = b"before".to_vec();
    if let Err(error) = frame.encode(id, &mut out) {
        assert!(is_wild, "{frame:?}: {error}");
        assert!(!error.to_string().is_empty());
        assert_eq!(out, b"before");
        return;
    }
    assert_eq!(frame.clone().into_owned(), frame);
    let (mut decoder, mut header, mut payload) = (Decoder::new(), None, Vec::new());
    for mut read in pieces(&out[6..], cut) {
        while !read.is_empty() {
            let (taken, piece) = decoder.decode(read);
            match piece {
                Some(Piece::Header(new)) => assert_eq!(header.replace(new), None),
                Some(Piece::Payload { data, .. }) => payload.extend_from_slice(data),
                None => {}
            }
            read = &read[taken..];
        }
    }
    assert!(decoder.is_between_frames());
    let header: Header = header.expect("it was written");
    assert_eq!((header.kind, header.id), (frame.kind(), id));
    assert_eq!(header.length as usize, payload.len());
    assert!(header.length <= max_length(header.kind, &Limits::default()));
    assert_eq!(Frame::decode(header, &payload).expect("it was encoded"), frame);
}

/// Makes values from the fuzzer's bytes: by the rules, or wild ones.
struct Maker<'a> {
    source: Unstructured<'a>,
    is_wild: bool,
}

impl<'a> Maker<'a> {
    fn frame(&mut self) -> Result<(u32, Frame<'a>)> {
        let index = self.source.choose_index(Kind::KNOWN.len() + 1)?;
        let frame = match Kind::KNOWN.get(index).copied() {
            None => self.unknown()?,
            Some(Kind::HELLO) => Frame::Hello(self.hello()?),
            Some(Kind::AUTH) => Frame::Auth(self.bytes(0, 16_384)?),
            Some(Kind::RESUME) => Frame::Resume(self.resume()?),
            Some(Kind::START) => Frame::Start(Start { offset: self.number()? }),
            Some(Kind::DATA) => Frame::Data(self.bytes(1, 16_384)?),
            Some(Kind::PART) => Frame::Part(self.bytes(1024, 16_384)?),
            Some(Kind::CREDIT) => {
                let mut numbers = [self.number()?, self.number()?, self.number()?];
                if !self.is_wild {
                    numbers.sort();
                }
                let [durable, received, limit] = numbers;
                Frame::Credit(Credit { limit, received, durable })
            }
            Some(Kind::ACK) => {
                Frame::Ack(Ack { next: [self.number()?, self.number()?], received: self.number()? })
            }
            Some(Kind::PING) => Frame::Ping(Ping { token: self.any()? }),
            Some(Kind::PONG) => Frame::Pong(Ping { token: self.any()? }),
            Some(Kind::GOODBYE) => Frame::Goodbye(Goodbye {
                code: CloseCode::new(self.any()?),
                text: self.text(0, 255)?,
            }),
            Some(Kind::SIGNAL) => {
                Frame::Signal(Signal { signal_type: self.any()?, payload: self.bytes(0, 1024)? })
            }
            Some(Kind::CHAT) => Frame::Chat(self.chat()?),
            Some(Kind::MESSAGE) => Frame::Message(Message {
                message_type: self.any()?,
                is_reply: self.any()?,
                correlation: self.number()?,
                body: self.bytes(0, 16_000)?,
            }),
            Some(Kind::OFFER) => Frame::Offer(self.offer()?),
            Some(Kind::BATCH) => Frame::Batch(Batch {
                name: self.text(1, 255)?,
                count: self.any()?,
                bytes: self.number()?,
                metadata: self.bytes(0, 4096)?,
            }),
            Some(Kind::ACCEPT) => Frame::Accept(self.accept()?),
            Some(Kind::REJECT) => {
                Frame::Reject(Reject { code: self.code(1)?, text: self.text(0, 255)? })
            }
            Some(Kind::CANCEL) => {
                Frame::Cancel(Cancel { code: self.code(1)?, text: self.text(0, 255)? })
            }
            Some(Kind::PAUSE) => Frame::Pause(Pause { is_paused: self.any()? }),
            Some(Kind::FINISH) => {
                Frame::Finish(Finish { total: self.number()?, digest: self.digest()? })
            }
            Some(Kind::VERDICT) => Frame::Verdict(Verdict {
                code: self.code(0)?,
                total: self.number()?,
                text: self.text(0, 4096)?,
            }),
            Some(other) => panic!("{other} is not made here"),
        };
        Ok((self.id(frame.kind())?, frame))
    }

    fn any<T: Arbitrary<'a>>(&mut self) -> Result<T> {
        self.source.arbitrary()
    }

    fn id(&mut self, kind: Kind) -> Result<u32> {
        let channel = matches!(kind, Kind::CHAT | Kind::MESSAGE | Kind::SIGNAL);
        if self.is_wild || !kind.is_known() {
            self.any()
        } else if kind == Kind::PART {
            self.source.int_in_range(0..=1)
        } else if channel || (Header { length: 0, kind, id: 0 }).check_id().is_ok() {
            Ok(0)
        } else {
            Ok(self.transfer()?.to_wire())
        }
    }

    fn number(&mut self) -> Result<u64> {
        let most = if self.is_wild { u64::MAX } else { MAX_INTEGER };
        self.source.int_in_range(0..=most)
    }

    /// Between the two, or anything.
    fn between(&mut self, least: u32, most: u32) -> Result<u32> {
        if self.is_wild { self.any() } else { self.source.int_in_range(least..=most) }
    }

    fn transfer(&mut self) -> Result<TransferId> {
        let side = if self.any()? { Side::Client } else { Side::Server };
        let number = self.source.int_in_range(1..=TransferId::MAX_NUMBER)?;
        Ok(TransferId::new(side, number).expect("within the range"))
    }

    fn code(&mut self, least: u16) -> Result<TransferCode> {
        let least = if self.is_wild { 0 } else { least };
        Ok(TransferCode::new(self.source.int_in_range(least..=u16::MAX)?))
    }

    fn digest(&mut self) -> Result<Option<Digest>> {
        Ok(match self.source.int_in_range(0..=2)? {
            0 => None,
            1 => Some(Digest::Blake3(self.any()?)),
            _ => Some(Digest::Sha256(self.any()?)),
        })
    }

    /// `least` to `most` bytes, or a few more or less.
    fn bytes(&mut self, least: usize, most: usize) -> Result<Cow<'a, [u8]>> {
        if self.source.ratio(1, 8)? {
            let (least, most) =
                if self.is_wild { (least.saturating_sub(1), most + 1) } else { (least, most) };
            let length = if self.any()? { least } else { most };
            return Ok(vec![self.any()?; length].into());
        }
        let bytes: &[u8] = self.any()?;
        if self.is_wild || (least..=most).contains(&bytes.len()) {
            return Ok(bytes.into());
        }
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().clamp(least, most), 0x5A);
        Ok(bytes.into())
    }

    /// Text of as many bytes, and without a NUL, or any.
    fn text(&mut self, least: usize, most: usize) -> Result<Cow<'a, str>> {
        if self.source.ratio(1, 8)? {
            return Ok("x".repeat(if self.is_wild { most + 1 } else { most }).into());
        }
        let text: &str = self.any()?;
        if self.is_wild {
            return Ok(text.into());
        }
        let mut text = text.replace('\0', "");
        while text.len() > most {
            text.pop();
        }
        while text.len() < least {
            text.push('x');
        }
        Ok(text.into())
    }

    fn some_text(&mut self, most: usize) -> Result<Option<Cow<'a, str>>> {
        if self.any()? { self.text(1, most).map(Some) } else { Ok(None) }
    }

    fn some_number(&mut self) -> Result<Option<u64>> {
        if self.any()? { self.number().map(Some) } else { Ok(None) }
    }

    fn unknown(&mut self) -> Result<Frame<'a>> {
        let mut kind = Kind::new(self.any()?);
        if !self.is_wild && (kind.is_known() || !kind.is_skippable()) {
            kind = Kind::new(0xC0);
        }
        let most = if kind.ends_item() { 16_384 } else { 65_536 };
        Ok(Frame::Unknown { kind, payload: self.bytes(0, most)? })
    }

    fn hello(&mut self) -> Result<Hello> {
        let mut versions: [u8; 2] = self.any()?;
        if !self.is_wild {
            versions = versions.map(|version| version.max(1));
            versions.sort();
        }
        let item = self.between(16_384, 1 << 24)?;
        Ok(Hello {
            lowest_version: versions[0],
            highest_version: versions[1],
            side: if self.any()? { Side::Client } else { Side::Server },
            nonce: self.any()?,
            conversation: ConversationId::new(self.any()?),
            attach: self.number()?,
            stream: self.any()?,
            features: self.number()?,
            limits: Limits {
                frame: self.between(1024, 65_536)?,
                fragment: self.between(1024, 16_384)?,
                item,
                items: self.between(1, 65_536)?,
                item_bytes: self.between(item, 1 << 31)?,
                transfers: self.between(0, 4096)?,
                undecided: self.between(0, 4096)?,
                member_credit: self.between(0, 1 << 31)?,
            },
            unknown_critical: if self.is_wild { self.any()? } else { None },
        })
    }

    fn resume(&mut self) -> Result<Resume<'a>> {
        let mut resume = Resume { secret: self.any()?, proof: self.any()?, ..Resume::default() };
        if self.is_wild || resume.proof.is_some() {
            resume.next = [self.number()?, self.number()?];
            for _ in 0..self.source.int_in_range(0..=8)? {
                let held = Held { transfer: self.transfer()?, received: self.number()? };
                resume.transfers.to_mut().push(held);
            }
        }
        if !self.is_wild {
            resume.secret = resume.secret.filter(|_| resume.proof.is_none());
            let transfers = resume.transfers.to_mut();
            transfers.sort_by_key(|held| held.transfer);
            transfers.dedup_by_key(|held| held.transfer);
        }
        Ok(resume)
    }

    fn chat(&mut self) -> Result<Chat<'a>> {
        let mut chat = Chat::new(self.any::<&str>()?);
        chat.id = self.any()?;
        chat.author = self.some_text(255)?;
        chat.time = self.some_number()?;
        chat.media_type = self.some_text(127)?;
        chat.in_reply_to = self.any()?;
        while !self.is_wild && chat.text.len() > 15_000 {
            chat.text.to_mut().pop();
        }
        Ok(chat)
    }

    fn accept(&mut self) -> Result<Accept> {
        let mut accept = Accept { offset: self.number()?, prefix: self.digest()? };
        if !self.is_wild {
            accept.offset = if accept.prefix.is_some() { accept.offset.max(1) } else { 0 };
        }
        Ok(accept)
    }

    fn offer(&mut self) -> Result<Offer<'a>> {
        let batch = if self.any()? { Some(self.transfer()?) } else { None };
        let mut offer = Offer::new(self.text(1, if batch.is_some() { 4096 } else { 255 })?);
        offer.batch = batch;
        offer.modified = self.some_number()?;
        offer.metadata = self.bytes(0, 4096)?;
        offer.is_directory = self.any()?;
        if !self.is_wild {
            offer.is_directory &= batch.is_some();
        }
        if self.is_wild || !offer.is_directory {
            offer.size = self.some_number()?;
            offer.media_type = self.some_text(127)?;
            offer.is_seekable = self.any()?;
            offer.digest = self.digest()?;
        }
        Ok(offer)
    }
}
