use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::event::Lane;
use super::schedule::Schedule;
use crate::wire::{EncodeError, HEADER_LEN, Header, Kind, TransferId};

/// Bytes planned ahead at most; more than a transport takes at once gains nothing.
pub(super) const PLAN_BYTES: usize = 256 * 1024;
/// Of these, bytes in staging memory: more than a cache holds gains nothing.
const STAGED: usize = 64 * 1024;
/// Staging memory that is kept for the next frames, at least.
const KEPT: usize = 4 * 1024;
/// Payloads up to this size are copied behind their header: a slice of their own costs more.
const GATHERED: usize = 512;

/// What a planned frame came from, to take it back there or to count it when it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Preface, HELLO, AUTH, RESUME: decided, never taken back.
    Handshake,
    Acknowledgement,
    Credit(TransferId),
    Ping,
    Pong([u8; 8]),
    Signal,
    Goodbye,
    Item {
        lane: Lane,
        number: u64,
        payload: usize,
        ends: bool,
        /// It was paid for from the budget of frames without progress.
        is_costly: bool,
    },
    /// Lines of chat that go together.
    Chats {
        number: u64,
        count: u32,
    },
    Start {
        transfer: TransferId,
    },
    Data {
        transfer: TransferId,
        payload: usize,
        is_costly: bool,
    },
}

impl Source {
    /// Whether its bytes count against what may be under way.
    pub(super) fn is_counted(self) -> bool {
        matches!(self, Self::Item { .. } | Self::Chats { .. } | Self::Data { .. })
    }

    pub(super) fn is_chat(self) -> bool {
        matches!(self, Self::Item { lane: Lane::Chat, .. } | Self::Chats { .. })
    }
}

/// A frame that is framed but may not have begun to leave.
#[derive(Debug)]
pub(super) struct Planned {
    /// Bytes in the staging memory, then a payload that is sent from where it lies.
    staged: usize,
    payload: Bytes,
    pub(super) source: Source,
    /// What decided that it goes next.
    before: Schedule,
}

impl Planned {
    pub(super) fn len(&self) -> usize {
        self.staged.saturating_add(self.payload.len())
    }
}

/// The frames that are next on the stream: framed late, and taken back when something more urgent
/// comes before their first byte has left.
#[derive(Debug, Default)]
pub(super) struct Plan {
    frames: VecDeque<Planned>,
    /// Headers and small payloads; those before `head` have left.
    staging: Vec<u8>,
    head: usize,
    /// The most of them at a time since there were none.
    most_staged: usize,
    /// Bytes of the first frame that have left.
    sent: usize,
    /// Bytes that have not left, and of these the counted ones of frames that have not begun.
    bytes: usize,
    counted: u64,
    /// Frames that have not begun, of the lane of control and of bulk.
    control_items: usize,
    bulk: usize,
    /// The same, of those of which one at a time says all.
    acknowledgements: usize,
    pongs: usize,
    schedule: Schedule,
}

impl Plan {
    /// What went last, with all that is planned.
    pub(super) fn schedule(&self) -> Schedule {
        self.schedule
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        let staged = self.staging.len().saturating_sub(self.head);
        self.bytes >= PLAN_BYTES || staged >= STAGED || self.frames.len() >= 4096
    }

    /// Whether an item of the lane would go before something that is planned.
    pub(super) fn has_less_urgent(&self, lane: Lane) -> bool {
        self.bulk > 0 || (lane == Lane::Chat && self.control_items > 0)
    }

    /// Whether an ACK, or a PONG, waits to begin: a second one before it would say no more.
    pub(super) fn has_acknowledgement(&self) -> bool {
        self.acknowledgements > 0
    }

    pub(super) fn has_pong(&self) -> bool {
        self.pongs > 0
    }

    /// Whether items or bulk are planned that have not begun.
    pub(super) fn has_items_or_bulk(&self) -> bool {
        self.counted > 0 || self.bulk > 0
    }

    /// Counts a frame that has not begun, or does no more count as one.
    fn count(&mut self, source: Source, len: usize, is_added: bool) {
        let step = |count: &mut usize| {
            *count = if is_added { count.saturating_add(1) } else { count.saturating_sub(1) };
        };
        match source {
            Source::Item { lane: Lane::Control, .. } => step(&mut self.control_items),
            Source::Data { .. } | Source::Start { .. } => step(&mut self.bulk),
            Source::Acknowledgement => step(&mut self.acknowledgements),
            Source::Pong(_) => step(&mut self.pongs),
            _ => {}
        }
        if source.is_counted() {
            let len = len as u64;
            self.counted = if is_added {
                self.counted.saturating_add(len)
            } else {
                self.counted.saturating_sub(len)
            };
        }
    }

    /// Counted bytes of frames that have not begun.
    pub(super) fn counted(&self) -> u64 {
        self.counted
    }

    /// Adds a frame whose payload `encode` writes behind the header.
    pub(super) fn stage(
        &mut self,
        kind: Kind,
        id: u32,
        source: Source,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let start = self.staging.len();
        self.staging.extend_from_slice(&[0; HEADER_LEN]);
        if let Err(error) = encode(&mut self.staging) {
            self.staging.truncate(start);
            return Err(error);
        }
        let staged = self.staging.len().saturating_sub(start);
        let length = u32::try_from(staged.saturating_sub(HEADER_LEN)).unwrap_or(u32::MAX);
        let header = Header { length, kind, id }.encode();
        for (place, byte) in self.staging.iter_mut().skip(start).zip(header) {
            *place = byte;
        }
        self.push(staged, Bytes::new(), source);
        Ok(())
    }

    /// Adds bytes that are no frame, or many.
    pub(super) fn stage_raw(&mut self, bytes: &[u8], source: Source) {
        self.staging.extend_from_slice(bytes);
        self.push(bytes.len(), Bytes::new(), source);
    }

    /// Adds a frame whose payload is sent from where it lies, unless it is small.
    pub(super) fn stage_payload(&mut self, header: Header, payload: Bytes, source: Source) {
        self.staging.extend_from_slice(&header.encode());
        if payload.len() <= GATHERED {
            self.staging.extend_from_slice(&payload);
            self.push(HEADER_LEN.saturating_add(payload.len()), Bytes::new(), source);
        } else {
            self.push(HEADER_LEN, payload, source);
        }
    }

    /// Adds a frame with a copy of its payload.
    pub(super) fn stage_copy(&mut self, header: Header, payload: &[u8], source: Source) {
        self.staging.extend_from_slice(&header.encode());
        self.staging.extend_from_slice(payload);
        self.push(HEADER_LEN.saturating_add(payload.len()), Bytes::new(), source);
    }

    fn push(&mut self, staged: usize, payload: Bytes, source: Source) {
        let frame = Planned { staged, payload, source, before: self.schedule };
        self.schedule.add(source, frame.len());
        self.bytes = self.bytes.saturating_add(frame.len());
        self.count(source, frame.len(), true);
        self.frames.push_back(frame);
        self.most_staged = self.most_staged.max(self.staging.len());
    }

    /// Takes back the last frame if none of its bytes has left.
    pub(super) fn take_back(&mut self) -> Option<(Source, usize)> {
        let has_begun = self.frames.len() == 1 && self.sent > 0;
        let is_fixed = self.frames.back().is_none_or(|frame| frame.source == Source::Handshake);
        if has_begun || is_fixed {
            return None;
        }
        let frame = self.frames.pop_back()?;
        self.schedule = frame.before;
        self.bytes = self.bytes.saturating_sub(frame.len());
        self.count(frame.source, frame.len(), false);
        let rest = self.staging.len().saturating_sub(frame.staged);
        self.staging.truncate(rest);
        Some((frame.source, frame.len()))
    }

    /// Calls `begin` for the first frame if it has not begun, as its first byte leaves now.
    pub(super) fn begin_next(&mut self) -> Option<(Source, usize)> {
        if self.sent > 0 {
            return None;
        }
        let frame = self.frames.front()?;
        let (source, len) = (frame.source, frame.len());
        self.count(source, len, false);
        Some((source, len))
    }

    /// `available` bytes leave; returns how many of them belonged to the first frame.
    pub(super) fn advance(&mut self, available: usize) -> usize {
        let Some(frame) = self.frames.front() else { return 0 };
        let (len, staged) = (frame.len(), frame.staged);
        let taken = available.min(len.saturating_sub(self.sent));
        self.sent = self.sent.saturating_add(taken);
        self.bytes = self.bytes.saturating_sub(taken);
        if self.sent == len {
            self.head = self.head.saturating_add(staged);
            self.sent = 0;
            self.frames.pop_front();
            self.tidy();
        }
        taken
    }

    fn tidy(&mut self) {
        if self.frames.is_empty() {
            self.staging.clear();
            // What the last burst needed is kept, until a smaller one was enough.
            self.staging.shrink_to(core::mem::take(&mut self.most_staged).max(KEPT));
            self.frames.shrink_to(64);
            self.head = 0;
        } else if self.head >= STAGED / 4 && self.head >= self.staging.len() / 2 {
            self.staging.drain(..self.head);
            self.head = 0;
        }
    }

    /// The bytes that are next, as few slices as possible.
    pub(super) fn slices(&self) -> Slices<'_> {
        Slices { plan: Some(self), frame: 0, staged: self.head, skip: self.sent, payload: None }
    }

    pub(super) fn memory_usage(&self) -> usize {
        let slots = self.frames.capacity().saturating_mul(size_of::<Planned>());
        self.staging.capacity().saturating_add(slots)
    }
}

/// Iterates over the slices of the bytes to transmit.
#[derive(Debug, Clone)]
pub(super) struct Slices<'a> {
    plan: Option<&'a Plan>,
    frame: usize,
    staged: usize,
    skip: usize,
    payload: Option<&'a [u8]>,
}

impl Slices<'_> {
    /// No bytes.
    pub(super) fn none() -> Self {
        Self { plan: None, frame: 0, staged: 0, skip: 0, payload: None }
    }
}

impl<'a> Iterator for Slices<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if let Some(payload) = self.payload.take() {
            return Some(payload);
        }
        let plan = self.plan?;
        let from = self.staged.saturating_add(self.skip);
        let mut to = self.staged;
        while let Some(frame) = plan.frames.get(self.frame) {
            self.frame = self.frame.saturating_add(1);
            to = to.saturating_add(frame.staged);
            // Only the first frame can have begun.
            let skipped = core::mem::take(&mut self.skip).saturating_sub(frame.staged);
            if !frame.payload.is_empty() {
                self.payload = frame.payload.get(skipped..).filter(|rest| !rest.is_empty());
                break;
            }
        }
        self.staged = to;
        match plan.staging.get(from.min(to)..to) {
            Some(staged) if !staged.is_empty() => Some(staged),
            _ => self.payload.take(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let mut plan = Plan::default();
        for (staged, payload) in
            [(&b"ab"[..], &b""[..]), (b"cd", b""), (b"ef", b"ghi"), (b"j", b"")]
        {
            plan.staging.extend_from_slice(staged);
            let lane = Lane::Chat;
            let source = Source::Item {
                lane,
                number: 0,
                payload: payload.len(),
                ends: true,
                is_costly: false,
            };
            plan.push(staged.len(), Bytes::copy_from_slice(payload), source);
        }
        plan
    }

    #[test]
    fn what_is_left_after_any_advance_is_the_rest_of_the_bytes() {
        for sent in 0..=10 {
            for step in 1..=10 {
                let mut plan = plan();
                let mut left = sent;
                while left > 0 {
                    plan.begin_next();
                    left -= plan.advance(left.min(step));
                }
                let rest: Vec<u8> = plan.slices().flatten().copied().collect();
                assert_eq!(rest, b"abcdefghij"[sent..], "after {sent} by {step}");
                assert!(plan.slices().all(|slice| !slice.is_empty()));
            }
        }
        assert_eq!(plan().slices().count(), 3, "neighbours in staging are one slice");
    }

    #[test]
    fn frames_are_taken_back_until_the_one_that_has_begun() {
        let mut plan = plan();
        assert_eq!(plan.counted(), 10);
        plan.begin_next();
        assert_eq!(plan.advance(1), 1);
        let mut taken_back = 0;
        while plan.take_back().is_some() {
            taken_back += 1;
        }
        assert_eq!(taken_back, 3);
        assert_eq!(plan.slices().flatten().copied().collect::<Vec<u8>>(), b"b");
        assert_eq!(plan.counted(), 0);
    }
}
