use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use super::event::Lane;
use super::schedule::Schedule;
use crate::wire::{EncodeError, HEADER_LEN, Header, Kind, TransferId};

/// Bytes planned ahead at most; more than a transport takes at once gains nothing.
pub(super) const PLAN_BYTES: usize = 256 * 1024;
/// Of these, bytes in staging memory: more than a cache holds gains nothing.
const STAGED: usize = 64 * 1024;
/// Staging memory that is kept for the next frames at most, until all is given back: what a plan that
/// is full leaves behind, where a vector grows by doubling. Given back after each burst it would be
/// mapped anew for the next.
const KEPT: usize = 2 * (STAGED + 16 * 1024);
/// Frames for which memory is kept, likewise.
const KEPT_FRAMES: usize = 256;
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

/// A frame that is framed but may not have begun to leave; or a run of DATA frames of one transfer,
/// all of one length, that lie side by side: their headers in the staging memory, their payloads.
#[derive(Debug)]
struct Planned {
    /// Bytes in the staging memory, then a payload that is sent from where it lies.
    staged: usize,
    payload: Bytes,
    /// How many frames they are, more than one in a run.
    count: usize,
    source: Source,
    /// What decided that it goes next.
    before: Schedule,
}

impl Planned {
    /// The length of the first of its frames.
    fn len(&self) -> usize {
        match self.source {
            Source::Data { payload, .. } => HEADER_LEN.saturating_add(payload),
            _ => self.staged.saturating_add(self.payload.len()),
        }
    }
}

/// DATA frames of one transfer, all of one length, that leave: of one perhaps not all.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) frames: usize,
    /// The length of each, and that of its payload.
    pub(super) len: usize,
    pub(super) payload: usize,
    pub(super) is_costly: bool,
    /// How many of their bytes leave.
    pub(super) bytes: usize,
}

/// The frames that are next on the stream: framed late, and taken back when something more urgent
/// comes before their first byte has left.
#[derive(Debug, Default)]
pub(super) struct Plan {
    frames: VecDeque<Planned>,
    /// Headers and small payloads; those before `head` have left.
    staging: Vec<u8>,
    head: usize,
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

    /// Counts frames that have not begun, each of so many bytes, or counts them no more.
    fn count(&mut self, source: Source, len: usize, frames: usize, is_added: bool) {
        let step = |count: &mut usize| {
            *count =
                if is_added { count.saturating_add(frames) } else { count.saturating_sub(frames) };
        };
        match source {
            Source::Item { lane: Lane::Control, .. } => step(&mut self.control_items),
            Source::Data { .. } | Source::Start { .. } => step(&mut self.bulk),
            Source::Acknowledgement => step(&mut self.acknowledgements),
            Source::Pong(_) => step(&mut self.pongs),
            _ => {}
        }
        if source.is_counted() {
            let len = len.saturating_mul(frames) as u64;
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
        if let Some(place) = self.staging.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
            *place = Header { length, kind, id }.encode();
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

    /// Adds DATA frames of one transfer, which have `each` bytes of `payload`.
    pub(super) fn stage_run(&mut self, transfer: TransferId, payload: Bytes, each: usize) {
        let length = u32::try_from(each).unwrap_or(u32::MAX);
        let header = Header { length, kind: Kind::DATA, id: transfer.to_wire() }.encode();
        let count = payload.len().checked_div(each).unwrap_or(0);
        for _ in 0..count {
            self.staging.extend_from_slice(&header);
        }
        let source = Source::Data { transfer, payload: each, is_costly: false };
        self.push_run(HEADER_LEN.saturating_mul(count), payload, count, source);
    }

    /// How many frames of so many bytes fit until it is full.
    pub(super) fn room(&self, len: usize) -> usize {
        if self.is_full() { 0 } else { PLAN_BYTES.saturating_sub(self.bytes).div_ceil(len.max(1)) }
    }

    fn push(&mut self, staged: usize, payload: Bytes, source: Source) {
        self.push_run(staged, payload, 1, source);
    }

    fn push_run(&mut self, staged: usize, payload: Bytes, count: usize, source: Source) {
        let frame = Planned { staged, payload, count, source, before: self.schedule };
        let len = frame.len();
        // A second one of a run changes nothing.
        self.schedule.add(source, len);
        self.bytes = self.bytes.saturating_add(len.saturating_mul(count));
        self.count(source, len, count, true);
        self.frames.push_back(frame);
    }

    /// Takes back the last frame if none of its bytes has left.
    pub(super) fn take_back(&mut self) -> Option<(Source, usize)> {
        let last = self.frames.back();
        let is_single = self.frames.len() == 1 && last.is_some_and(|frame| frame.count == 1);
        let has_begun = is_single && self.sent > 0;
        let is_fixed = last.is_none_or(|frame| frame.source == Source::Handshake);
        if has_begun || is_fixed {
            return None;
        }
        let frame = self.frames.back_mut()?;
        let (source, len, mut staged) = (frame.source, frame.len(), frame.staged);
        if frame.count > 1 {
            // The last of a run.
            staged = HEADER_LEN;
            frame.count = frame.count.saturating_sub(1);
            frame.staged = frame.staged.saturating_sub(staged);
            let payload = len.saturating_sub(staged);
            frame.payload.truncate(frame.payload.len().saturating_sub(payload));
        } else {
            self.schedule = frame.before;
            self.frames.pop_back();
        }
        self.bytes = self.bytes.saturating_sub(len);
        self.count(source, len, 1, false);
        self.staging.truncate(self.staging.len().saturating_sub(staged));
        Some((source, len))
    }

    /// The transfer of which a DATA frame is next that has not begun.
    pub(super) fn next_data(&self) -> Option<TransferId> {
        match self.frames.front().filter(|_| self.sent == 0)?.source {
            Source::Data { transfer, .. } => Some(transfer),
            _ => None,
        }
    }

    /// `available` bytes leave, at least one: if DATA frames of this transfer are next, these begin.
    pub(super) fn leave_data(&mut self, of: TransferId, available: usize) -> Option<Left> {
        let frame = self.frames.front().filter(|_| self.sent == 0)?;
        let Source::Data { transfer, payload, is_costly } = frame.source else { return None };
        if transfer != of {
            return None;
        }
        let len = frame.len();
        let frames = available.checked_div(len).unwrap_or(0).clamp(1, frame.count.max(1));
        self.count(frame.source, len, frames, false);
        let whole = len.saturating_mul(frames);
        let bytes = available.min(whole);
        self.bytes = self.bytes.saturating_sub(bytes);
        if bytes == whole {
            self.end(frames);
        } else {
            self.sent = bytes;
        }
        Some(Left { frames, len, payload, is_costly, bytes })
    }

    /// `available` bytes leave; returns how many of them belonged to the first frame, and what that is,
    /// with its length, if it begins with them.
    #[inline]
    pub(super) fn leave(&mut self, available: usize) -> (usize, Option<(Source, usize)>) {
        let Some(frame) = self.frames.front() else { return (0, None) };
        let (source, len) = (frame.source, frame.len());
        let begun = (self.sent == 0).then_some((source, len));
        if begun.is_some() {
            self.count(source, len, 1, false);
        }
        let taken = available.min(len.saturating_sub(self.sent));
        self.sent = self.sent.saturating_add(taken);
        self.bytes = self.bytes.saturating_sub(taken);
        if self.sent == len {
            self.end(1);
        }
        (taken, begun)
    }

    /// The first so many frames of those that are planned as one have left.
    fn end(&mut self, frames: usize) {
        self.sent = 0;
        let Some(first) = self.frames.front_mut() else { return };
        if frames < first.count {
            let staged = HEADER_LEN.saturating_mul(frames);
            let payload = first.len().saturating_sub(HEADER_LEN).saturating_mul(frames);
            first.count = first.count.saturating_sub(frames);
            first.staged = first.staged.saturating_sub(staged);
            first.payload.advance(payload.min(first.payload.len()));
            self.head = self.head.saturating_add(staged);
        } else {
            self.head = self.head.saturating_add(first.staged);
            self.frames.pop_front();
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        if self.frames.is_empty() {
            self.staging.clear();
            self.head = 0;
            self.staging.shrink_to(KEPT);
            self.frames.shrink_to(KEPT_FRAMES);
        } else if self.head >= STAGED / 4 && self.head >= self.staging.len() / 2 {
            self.staging.drain(..self.head);
            self.head = 0;
        }
    }

    /// The bytes that are next, as few slices as possible.
    pub(super) fn slices(&self) -> Slices<'_> {
        Slices { plan: Some(self), staged: self.head, skip: self.sent, ..Slices::none() }
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.frames.shrink_to_fit();
        self.staging.shrink_to_fit();
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
    payload: &'a [u8],
    /// The payloads of the frames of a run that are to come, and the length of each.
    run: &'a [u8],
    each: usize,
}

impl Slices<'_> {
    /// Whether there are none: a frame is planned until all of it has left.
    pub(super) fn is_empty(&self) -> bool {
        self.plan.is_none_or(Plan::is_empty)
    }

    /// Bytes in all of them together, before any was taken.
    pub(super) fn len(&self) -> usize {
        self.plan.map_or(0, |plan| plan.bytes)
    }

    /// No bytes.
    pub(super) fn none() -> Self {
        Self { plan: None, frame: 0, staged: 0, skip: 0, payload: &[], run: &[], each: 0 }
    }
}

impl<'a> Iterator for Slices<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if !self.payload.is_empty() {
            return Some(core::mem::take(&mut self.payload));
        }
        let plan = self.plan?;
        if let Some((payload, rest)) = self.run.split_at_checked(self.each) {
            if !payload.is_empty() {
                (self.payload, self.run) = (payload, rest);
                let from = self.staged;
                self.staged = from.saturating_add(HEADER_LEN);
                return plan.staging.get(from..self.staged);
            }
        }
        self.next_frames(plan)
    }
}

impl<'a> Slices<'a> {
    /// What is staged up to the next payload.
    fn next_frames(&mut self, plan: &'a Plan) -> Option<&'a [u8]> {
        let from = self.staged.saturating_add(self.skip);
        let mut to = self.staged;
        while let Some(frame) = plan.frames.get(self.frame) {
            self.frame = self.frame.saturating_add(1);
            let (mut staged, mut payload) = (frame.staged, &*frame.payload);
            if frame.count > 1 {
                staged = HEADER_LEN;
                self.each = frame.len().saturating_sub(staged);
                (payload, self.run) = payload.split_at_checked(self.each).unwrap_or_default();
            }
            to = to.saturating_add(staged);
            // Only the first frame can have begun.
            let skipped = core::mem::take(&mut self.skip).saturating_sub(staged);
            if !payload.is_empty() {
                self.payload = payload.get(skipped..).unwrap_or_default();
                break;
            }
        }
        self.staged = to;
        match plan.staging.get(from.min(to)..to) {
            Some(staged) if !staged.is_empty() => Some(staged),
            _ => Some(core::mem::take(&mut self.payload)).filter(|payload| !payload.is_empty()),
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
                    left -= plan.leave(left.min(step)).0;
                }
                let rest: Vec<u8> = plan.slices().flatten().copied().collect();
                assert_eq!(rest, b"abcdefghij"[sent..], "after {sent} by {step}");
                assert!(plan.slices().all(|slice| !slice.is_empty()));
            }
        }
        assert_eq!(plan().slices().count(), 3, "neighbours in staging are one slice");
    }

    /// A line, a run of four frames, and a line.
    fn plan_with_run() -> (Plan, Vec<u8>) {
        let mut plan = Plan::default();
        let transfer = TransferId::new(crate::wire::Side::Client, 1).unwrap();
        let line = Source::Chats { number: 0, count: 1 };
        plan.stage_raw(b"one", line);
        let payload: Vec<u8> = (0..4 * 600_u32).map(|n| n.wrapping_mul(7) as u8).collect();
        let mut bytes = b"one".to_vec();
        for part in payload.chunks(600) {
            bytes.extend(Header { length: 600, kind: Kind::DATA, id: transfer.to_wire() }.encode());
            bytes.extend(part);
        }
        plan.stage_run(transfer, payload.into(), 600);
        plan.stage_raw(b"two", line);
        bytes.extend(b"two");
        (plan, bytes)
    }

    fn left(plan: &Plan) -> Vec<u8> {
        assert!(plan.slices().all(|slice| !slice.is_empty()));
        let left: Vec<u8> = plan.slices().flatten().copied().collect();
        assert_eq!(plan.slices().len(), left.len());
        left
    }

    #[test]
    fn a_run_leaves_and_is_taken_back_frame_by_frame() {
        for sent in 0..=plan_with_run().1.len() {
            for as_run in [false, true] {
                let (mut plan, all) = plan_with_run();
                assert_eq!(plan.counted(), all.len() as u64);
                let (mut rest, mut begun) = (sent, 0);
                while rest > 0 {
                    let run = plan.next_data().filter(|_| as_run);
                    if let Some(run) = run.and_then(|transfer| plan.leave_data(transfer, rest)) {
                        rest -= run.bytes;
                        begun += run.frames * run.len;
                        assert_eq!((run.len, run.payload), (608, 600));
                    } else {
                        let (taken, frame) = plan.leave(rest);
                        begun += frame.map_or(0, |(_, len)| len);
                        rest -= taken;
                    }
                }
                assert_eq!(left(&plan), all[sent..], "after {sent}");
                assert_eq!(plan.bytes, all.len() - sent);
                assert_eq!(plan.counted(), (all.len() - begun) as u64);
                let mut taken_back = 0;
                while let Some((_, len)) = plan.take_back() {
                    taken_back += len;
                    assert_eq!(left(&plan), all[sent..all.len() - taken_back]);
                }
                assert_eq!(taken_back, all.len() - begun, "after {sent}");
                assert_eq!((plan.counted(), plan.bulk, plan.bytes), (0, 0, begun - sent));
            }
        }
    }

    #[test]
    fn memory_of_a_burst_is_kept_for_the_next_and_given_back_when_asked() {
        let mut plan = Plan::default();
        let mut most = 0;
        for frames in [80, 1, 40, 2, 80] {
            for _ in 0..frames {
                plan.stage_raw(&[7; 1000], Source::Chats { number: 0, count: 2 });
            }
            while plan.leave(1 << 20).0 > 0 {}
            assert!(plan.is_empty());
            most = most.max(plan.memory_usage());
            assert_eq!(plan.memory_usage(), most, "after {frames} frames");
        }
        assert!((80_000..KEPT + KEPT_FRAMES * size_of::<Planned>()).contains(&most), "{most}");
        plan.stage_raw(&[7; 2 * KEPT], Source::Handshake);
        while plan.leave(1 << 20).0 > 0 {}
        assert!(plan.memory_usage() <= KEPT + KEPT_FRAMES * size_of::<Planned>());
        plan.shrink_to_fit();
        assert_eq!(plan.memory_usage(), 0);
    }

    #[test]
    fn frames_are_taken_back_until_the_one_that_has_begun() {
        let mut plan = plan();
        assert_eq!(plan.counted(), 10);
        assert_eq!(plan.leave(1).0, 1);
        let mut taken_back = 0;
        while plan.take_back().is_some() {
            taken_back += 1;
        }
        assert_eq!(taken_back, 3);
        assert_eq!(plan.slices().flatten().copied().collect::<Vec<u8>>(), b"b");
        assert_eq!(plan.counted(), 0);
    }
}
