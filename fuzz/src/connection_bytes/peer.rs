//! The hostile peer: valid handshakes by the page, then frames of every kind, right and wrong.

use std::borrow::Cow;

use duologue::wire::{
    Accept, Ack, Batch, Cancel, Chat, CloseCode, ConversationId, Credit, Digest, Finish, Frame,
    Goodbye, Header, Held, Hello, Kind, Limits, Message, Offer, PREFACE, Pause, Ping, Reject,
    Resume, Side, Signal, Start, TransferCode, TransferId, Verdict,
};

use super::super::machine::Input;
use super::victim::Victim;

pub struct Peer {
    side: Side,
    limits: Limits,
    /// Bytes to send, and the last frame.
    pending: Vec<u8>,
    last: Vec<u8>,
    offered: u32,
}

impl Peer {
    pub fn new(side: Side, limits: Limits) -> Self {
        Self { side, limits, pending: Vec::new(), last: Vec::new(), offered: 0 }
    }

    /// Another stream.
    pub fn begin(&mut self) {
        self.pending.clear();
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    pub fn again(&mut self) {
        self.pending.extend_from_slice(&self.last);
    }

    /// One more small file.
    pub fn offer(&mut self) {
        self.offered += 1;
        let id = TransferId::new(self.side, self.offered).map_or(0, TransferId::to_wire);
        Frame::Offer(Offer::new("n")).encode(id, &mut self.pending).expect("it is valid");
    }

    /// Hands over what is pending, whole or in pieces.
    pub fn send(&mut self, victim: &mut Victim, pieces: usize) {
        let pending = std::mem::take(&mut self.pending);
        let piece = match pieces {
            0..=3 => pending.len(),
            4 => 1,
            5 => 7,
            _ => pending.len() / 2 + 1,
        };
        for piece in pending.chunks(piece.max(1)) {
            victim.feed(piece);
        }
    }

    /// Preface and HELLO.
    pub fn hello(&mut self, victim: &mut Victim, attach: u64) {
        let conversation = victim.conversation().unwrap_or(ConversationId::new([9; 16]));
        let hello = Hello {
            lowest_version: 1,
            highest_version: 1,
            side: self.side,
            nonce: [attach as u8; 32],
            conversation,
            // The server repeats the counter of the client.
            attach: victim.attach_counter().filter(|_| attach > 0).unwrap_or(attach),
            stream: 0,
            features: 0,
            limits: self.limits,
            unknown_critical: None,
        };
        self.raw(&PREFACE);
        Frame::Hello(hello).encode(0, &mut self.pending).expect("it is valid");
        self.send(victim, 0);
    }

    /// RESUME, with the proof if the conversation goes on; what it says to have is the input's.
    pub fn resume(&mut self, victim: &mut Victim, input: &mut Input<'_>) {
        let mut resume = Resume::default();
        if let Some(proof) = victim.proof_of(self.side) {
            let [flags, chat, control] = [input.byte(), input.byte(), input.byte()];
            resume.proof = Some(if flags & 0x80 == 0 { proof } else { [0; 32] });
            let [had_chats, had_items] = victim.begun();
            // Mostly what can be true.
            let next = |had: u64, less: u8| had.saturating_sub((less & 3).into());
            resume.next = [next(had_chats, chat), next(had_items, control)];
            if flags & 0x40 != 0 {
                resume.next = [chat.into(), control.into()];
            }
            let mut transfers = Vec::new();
            for number in 1..=u32::from(flags & 7) {
                let id = TransferId::new(self.side.opposite(), number).expect("it is small");
                let received = input.number();
                if received & 3 != 3 {
                    transfers.push(Held { transfer: id, received: received >> 2 });
                }
            }
            resume.transfers = Cow::Owned(transfers);
        } else if self.side == Side::Server {
            resume.secret = Some([7; 32]);
        }
        Frame::Resume(resume).encode(0, &mut self.pending).expect("it is valid");
        self.send(victim, 0);
    }

    /// One frame: valid in itself, or with any kind, id, length and payload.
    pub fn frame(&mut self, input: &mut Input<'_>) {
        let before = self.pending.len();
        let what = input.byte();
        let id = self.id(input.byte());
        if what >= 0xE0 {
            let kind = Kind::new(input.byte());
            let len = input.pick(80);
            let payload = input.bytes(len);
            let length = if what & 1 == 0 { payload.len() as u64 } else { input.number() };
            let length = length.min(Header::MAX_LENGTH.into()) as u32;
            self.raw(&Header { length, kind, id }.encode());
            self.raw(payload);
        } else {
            let (frame, is_of_transfer) = self.valid(what, input);
            let id = if is_of_transfer { id } else { id & u32::from(what >= 0xD0) };
            let encoded = frame.encode(id, &mut self.pending);
            if encoded.is_err() {
                // Its id, or a field: send what can be sent.
                self.raw(&Header { length: 0, kind: frame.kind(), id }.encode());
            }
        }
        self.last = self.pending.get(before..).unwrap_or_default().to_vec();
    }

    /// Small numbers of either side.
    fn id(&self, byte: u8) -> u32 {
        let number = u32::from(byte & 0x1F) + u32::from(byte & 0x20 == 0);
        let ours = byte & 0x40 == 0;
        let side = if ours { self.side } else { self.side.opposite() };
        TransferId::new(side, number).map_or(0, TransferId::to_wire)
    }

    fn valid(&mut self, what: u8, input: &mut Input<'_>) -> (Frame<'static>, bool) {
        let number = |input: &mut Input<'_>| input.number();
        let code = |input: &mut Input<'_>| TransferCode::new(u16::from(input.byte() & 15).max(1));
        let digest = |input: &mut Input<'_>| match input.byte() & 3 {
            0 => Some(Digest::Blake3([1; 32])),
            1 => Some(Digest::Sha256([1; 32])),
            _ => None,
        };
        let frame = match what & 0x1F {
            0 => {
                return (
                    Frame::Chat(Chat::new("x".repeat(number(input) as usize & 0x3FFF))),
                    false,
                );
            }
            1 => {
                let body = vec![1; number(input) as usize & 0x3FFF].into();
                let message = Message { message_type: 1, is_reply: false, correlation: 2, body };
                return (Frame::Message(message), false);
            }
            2 => {
                let payload = vec![1; number(input) as usize & 1023].into();
                return (Frame::Signal(Signal { signal_type: 1, payload }), false);
            }
            3 => return (Frame::Ping(Ping { token: [input.byte(); 8] }), false),
            4 => return (Frame::Pong(Ping { token: [0, 0, 0, 0, 0, 0, 0, input.byte()] }), false),
            5 | 6 => {
                let next = [input.byte().into(), input.byte().into()];
                return (Frame::Ack(Ack { next, received: number(input) }), false);
            }
            7 => {
                let code = CloseCode::new(input.byte().into());
                return (Frame::Goodbye(Goodbye { code, text: "bye".into() }), false);
            }
            8 => {
                // Its id is the lane.
                let len = 1024 + (number(input) as usize & 0x3FFF).min(15_360);
                let payload = vec![input.byte(); len];
                let header =
                    Header { length: len as u32, kind: Kind::PART, id: u32::from(what >= 0x80) };
                self.raw(&header.encode());
                self.raw(&payload);
                return (Frame::Ping(Ping { token: [0; 8] }), false);
            }
            9 => return (Frame::Auth(vec![1; number(input) as usize & 0x3FFF].into()), false),
            10..=13 => {
                let flags = input.byte();
                let mut offer = Offer::new("a");
                offer.size = (flags & 1 != 0).then(|| number(input));
                offer.is_seekable = flags & 2 != 0;
                offer.digest = if flags & 4 != 0 { digest(input) } else { None };
                offer.batch = TransferId::from_wire(self.id(flags)).filter(|_| flags & 8 != 0);
                if flags & 16 != 0 {
                    offer = Offer { is_directory: true, batch: offer.batch, ..Offer::new("d") };
                }
                Frame::Offer(offer)
            }
            14 => Frame::Batch(Batch {
                name: "b".into(),
                count: u32::from(input.byte() & 15),
                bytes: 7,
                metadata: Cow::Borrowed(&[]),
            }),
            15 | 16 => {
                let offset = number(input) & 0xFFF;
                let prefix = (offset > 0).then_some(Digest::Blake3([2; 32]));
                Frame::Accept(Accept { offset, prefix })
            }
            17 => Frame::Reject(Reject { code: code(input), text: "".into() }),
            18 => Frame::Pause(Pause { is_paused: input.flag() }),
            19 | 20 => Frame::Finish(Finish { total: number(input), digest: digest(input) }),
            21 => Frame::Cancel(Cancel { code: code(input), text: "".into() }),
            22 => {
                let code = if input.flag() { TransferCode::STORED } else { code(input) };
                Frame::Verdict(Verdict { code, total: number(input), text: "n".into() })
            }
            23 | 24 => Frame::Start(Start { offset: number(input) & 0xFFF }),
            25..=28 => Frame::Data(vec![3; 1 + (number(input) as usize & 0x3FFF)].into()),
            _ => {
                let received = number(input);
                let durable = received.min(number(input));
                Frame::Credit(Credit { limit: received + number(input), received, durable })
            }
        };
        (frame, true)
    }
}
