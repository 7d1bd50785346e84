use std::collections::BTreeMap;
use std::vec::Vec;

use crate::wire::{
    CloseCode, Decoder, Frame, Header, Hello, Kind, Limits, PREFACE, Piece, Side, TransferCode,
    TransferId,
};

/// What a victim has said, as far as it matters.
#[derive(Debug)]
pub(super) struct Hearing {
    /// Who hears.
    side: Side,
    decoder: Decoder,
    preface: usize,
    header: Option<Header>,
    payload: Vec<u8>,
    /// All bytes of the stream.
    pub(super) bytes: u64,
    pub(super) hello: Option<Hello>,
    /// The same with the preface, as it came.
    pub(super) hello_bytes: Vec<u8>,
    /// What a RESUME gave us.
    pub(super) secret: Option<[u8; 32]>,
    /// It has accepted us.
    pub(super) has_resumed: bool,
    /// Items of it that ended, in each lane.
    pub(super) next: [u64; 2],
    /// Something came that is to be acknowledged.
    pub(super) is_ack_owed: bool,
    pub(super) ping: Option<[u8; 8]>,
    pub(super) pong: Option<[u8; 8]>,
    pub(super) goodbye: Option<CloseCode>,
    /// The answers to what we offered, by id.
    pub(super) ours: BTreeMap<u32, Answer>,
    /// What it offered to us, by id.
    pub(super) theirs: BTreeMap<u32, Theirs>,
    /// The first reason for which something of ours was not taken.
    pub(super) refused: Option<TransferCode>,
}

/// What became of a transfer of ours.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answer {
    pub(super) is_accepted: bool,
    /// How far we may send.
    pub(super) limit: u64,
    pub(super) ended: Option<TransferCode>,
}

/// A transfer of the victim's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Theirs {
    pub(super) size: Option<u64>,
    /// Bytes of its DATA.
    pub(super) received: u64,
    /// What its FINISH says.
    pub(super) total: Option<u64>,
}

impl Hearing {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            decoder: Decoder::new(),
            preface: 0,
            header: None,
            payload: Vec::new(),
            bytes: 0,
            hello: None,
            hello_bytes: Vec::new(),
            secret: None,
            has_resumed: false,
            next: [0, 0],
            is_ack_owed: false,
            ping: None,
            pong: None,
            goodbye: None,
            ours: BTreeMap::new(),
            theirs: BTreeMap::new(),
            refused: None,
        }
    }

    /// What the victim accepts.
    pub(super) fn limits(&self) -> Limits {
        self.hello.as_ref().map(|hello| hello.limits).unwrap_or_default()
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let preface = bytes.len().min(PREFACE.len().saturating_sub(self.preface));
        self.preface = self.preface.saturating_add(preface);
        let mut rest = bytes.get(preface..).unwrap_or_default();
        while !rest.is_empty() {
            let (taken, piece) = self.decoder.decode(rest);
            rest = rest.get(taken..).unwrap_or_default();
            match piece {
                Some(Piece::Header(header)) if header.length == 0 => self.finish(header),
                Some(Piece::Header(header)) => self.header = Some(header),
                Some(Piece::Payload { data, last }) => {
                    if self.header.is_some_and(|header| header.kind != Kind::DATA) {
                        self.payload.extend_from_slice(data);
                    }
                    if last {
                        if let Some(header) = self.header.take() {
                            self.finish(header);
                        }
                    }
                }
                None => {}
            }
        }
    }

    fn finish(&mut self, header: Header) {
        let payload = core::mem::take(&mut self.payload);
        let lane = header.kind.lane().map(usize::from);
        if let Some(next) = lane.and_then(|lane| self.next.get_mut(lane)) {
            *next = next.saturating_add(1);
        }
        let answered = [Kind::ACK, Kind::CREDIT, Kind::PING, Kind::PONG, Kind::GOODBYE];
        self.is_ack_owed |= !answered.contains(&header.kind);
        if header.kind == Kind::DATA {
            let transfer = self.theirs.entry(header.id).or_default();
            transfer.received = transfer.received.saturating_add(header.length.into());
            return;
        }
        if header.kind == Kind::HELLO {
            self.hello_bytes = [&PREFACE[..], &header.encode(), &payload].concat();
        }
        // A victim that says what cannot be read is not our business.
        if let Ok(frame) = Frame::decode(header, &payload) {
            self.note(header.id, frame);
        }
    }

    fn note(&mut self, id: u32, frame: Frame<'_>) {
        let is_ours = TransferId::from_wire(id).is_some_and(|id| id.side() == self.side);
        match frame {
            Frame::Hello(hello) => self.hello = Some(hello),
            Frame::Resume(resume) => {
                self.has_resumed = true;
                self.secret = resume.secret;
            }
            Frame::Ping(ping) => self.ping = Some(ping.token),
            Frame::Pong(pong) => self.pong = Some(pong.token),
            Frame::Goodbye(goodbye) => self.goodbye = Some(goodbye.code),
            Frame::Accept(_) => self.ours.entry(id).or_default().is_accepted = true,
            Frame::Credit(credit) => self.ours.entry(id).or_default().limit = credit.limit,
            Frame::Reject(reject) => self.end(id, reject.code),
            Frame::Verdict(verdict) => self.end(id, verdict.code),
            Frame::Cancel(cancel) if is_ours => self.end(id, cancel.code),
            Frame::Offer(offer) => {
                self.theirs.entry(id).or_default().size = offer.size;
            }
            Frame::Finish(finish) => {
                self.theirs.entry(id).or_default().total = Some(finish.total);
            }
            _ => {}
        }
    }

    fn end(&mut self, id: u32, code: TransferCode) {
        self.ours.entry(id).or_default().ended = Some(code);
        if code != TransferCode::STORED && self.refused.is_none() {
            self.refused = Some(code);
        }
    }
}
