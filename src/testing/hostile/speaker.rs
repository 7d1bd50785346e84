use core::time::Duration;
use std::collections::BTreeSet;
use std::vec::Vec;

use super::hearing::Hearing;
use crate::testing::SplitMix64;
use crate::wire::{Accept, Credit, Frame, Header, Kind, Offer, Side, Start, TransferId};

/// What a misbehaviour says, and what it has heard.
#[derive(Debug)]
pub(super) struct Speaker {
    pub(super) side: Side,
    pub(super) random: SplitMix64,
    pub(super) heard: Hearing,
    /// Bytes that are to be sent.
    pub(super) out: Vec<u8>,
    /// Its own count of what it has done.
    pub(super) step: u64,
    /// Nothing is read.
    pub(super) is_deaf: bool,
    /// PINGs are answered, and what came is acknowledged.
    pub(super) has_manners: bool,
    /// So many bytes leave at a time, and so much time passes then.
    pub(super) piece: Option<(usize, Duration)>,
    offered: u32,
    started: BTreeSet<u32>,
    taken: BTreeSet<u32>,
}

/// What comes after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// More, once this has left.
    Go,
    /// More, after so much time.
    Wait(Duration),
    /// Nothing.
    Done,
    /// The end of what we say, without a GOODBYE.
    End,
}

/// Why nothing was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotYet {
    /// The victim has to say something first.
    Hear,
    /// The victim gives no occasion.
    Never,
}

pub(super) type Said = Result<Next, NotYet>;

/// Most bytes that are said at once.
const MOUTHFUL: usize = 4096;

impl Speaker {
    pub(super) fn new(side: Side, seed: u64) -> Self {
        Self {
            side,
            random: SplitMix64::new(seed),
            heard: Hearing::new(side),
            out: Vec::new(),
            step: 0,
            is_deaf: false,
            has_manners: true,
            piece: None,
            offered: 0,
            started: BTreeSet::new(),
            taken: BTreeSet::new(),
        }
    }

    pub(super) fn raw_bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A header alone.
    pub(super) fn header(&mut self, kind: Kind, id: u32, length: u32) {
        self.raw_bytes(&Header { length, kind, id }.encode());
    }

    /// Any header and payload.
    pub(super) fn raw(&mut self, kind: Kind, id: u32, payload: &[u8]) {
        self.header(kind, id, u32::try_from(payload.len()).unwrap_or(Header::MAX_LENGTH));
        self.raw_bytes(payload);
    }

    /// A frame that is as it should be, if only in itself.
    pub(super) fn frame(&mut self, id: u32, frame: &Frame<'_>) {
        let encoded = frame.encode(id, &mut self.out);
        debug_assert!(encoded.is_ok(), "{frame:?}");
    }

    /// One of these.
    pub(super) fn one_of<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> Option<&'a T> {
        let index = self.random.below(of.len() as u64);
        usize::try_from(index).ok().and_then(|index| of.get(index)).copied()
    }

    /// So many bytes of anything.
    pub(super) fn noise(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.random.next_u64().to_be_bytes()[0]).collect()
    }

    /// Says a thing again and again, up to `most` times.
    pub(super) fn again(&mut self, most: u64, mut say: impl FnMut(&mut Self, u64)) -> Said {
        while self.step < most && self.out.len() < MOUTHFUL {
            let step = self.step;
            say(self, step);
            self.step = step.saturating_add(1);
        }
        Ok(if self.step < most { Next::Go } else { Next::Done })
    }

    /// The id of our transfer with this number.
    pub(super) fn ours(&self, number: u32) -> u32 {
        TransferId::new(self.side, number).map_or(0, TransferId::to_wire)
    }

    /// The same, of the victim's.
    pub(super) fn theirs(&self, number: u32) -> u32 {
        TransferId::new(self.side.opposite(), number).map_or(0, TransferId::to_wire)
    }

    /// One more offer; returns its id.
    pub(super) fn offer(&mut self, offer: &Offer<'_>) -> u32 {
        self.offered = self.offered.saturating_add(1);
        let id = self.ours(self.offered);
        self.frame(id, &Frame::Offer(offer.clone()));
        id
    }

    /// How many there were.
    pub(super) const fn offered(&self) -> u32 {
        self.offered
    }

    /// Our first file, once it has been accepted.
    pub(super) fn accepted(&mut self, offer: &Offer<'_>) -> Result<u32, NotYet> {
        if self.offered == 0 {
            self.offer(offer);
        }
        let id = self.ours(1);
        match self.heard.ours.get(&id) {
            Some(answer) if answer.ended.is_some() => Err(NotYet::Never),
            Some(answer) if answer.is_accepted => Ok(id),
            _ => Err(NotYet::Hear),
        }
    }

    /// The same, with its START said, and so much credit at least.
    pub(super) fn started(&mut self, offer: &Offer<'_>, credit: u64) -> Result<u32, NotYet> {
        let id = self.accepted(offer)?;
        if self.granted(id) < credit {
            return Err(NotYet::Hear);
        }
        if self.started.insert(id) {
            self.frame(id, &Frame::Start(Start { offset: 0 }));
        }
        Ok(id)
    }

    /// How far a file of ours may be sent.
    pub(super) fn granted(&self, id: u32) -> u64 {
        self.heard.ours.get(&id).map_or(0, |answer| answer.limit)
    }

    /// DATA of so many bytes.
    pub(super) fn data(&mut self, id: u32, len: usize) {
        let payload = self.noise(len);
        self.raw(Kind::DATA, id, &payload);
    }

    /// The victim's first file, which we accept, with so much credit.
    pub(super) fn taken(&mut self, credit: u64) -> Result<u32, NotYet> {
        let id = self.theirs(1);
        if !self.heard.theirs.contains_key(&id) {
            return Err(NotYet::Hear);
        }
        if self.taken.insert(id) {
            self.frame(id, &Frame::Accept(Accept { offset: 0, prefix: None }));
            let credit = Credit { limit: credit, received: 0, durable: 0 };
            self.frame(id, &Frame::Credit(credit));
        }
        Ok(id)
    }
}

/// The fields of a HELLO, in order, as they will be said.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) side: Side,
    fields: Vec<(u8, Vec<u8>)>,
}

impl Fields {
    /// Takes a payload apart.
    pub(super) fn new(side: Side, payload: &[u8]) -> Self {
        let (mut fields, mut rest) = (Vec::new(), payload);
        while let [tag, high, low, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
            let (value, next) = after.split_at(length);
            fields.push((*tag, value.to_vec()));
            rest = next;
        }
        Self { side, fields }
    }

    /// Puts a value into the place of a field, or adds it.
    pub(super) fn set(&mut self, tag: u8, value: &[u8]) {
        self.remove(tag);
        self.fields.push((tag, value.to_vec()));
        self.fields.sort_by_key(|(tag, _)| tag & 0x7F);
    }

    pub(super) fn remove(&mut self, tag: u8) {
        self.fields.retain(|(found, _)| *found != tag);
    }

    pub(super) fn into_payload(self) -> Vec<u8> {
        let mut payload = Vec::new();
        for (tag, value) in self.fields {
            payload.push(tag);
            let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
            payload.extend_from_slice(&length.to_be_bytes());
            payload.extend_from_slice(&value);
        }
        payload
    }
}
