use alloc::collections::VecDeque;
use core::ops::Range;

use alloc::vec::Vec;
use core::convert::Infallible;

use bytes::Bytes;

use super::connection::usize_from;
use super::error::ActionError;
use super::gathered::{Gathered, Place};
use super::item::Item;
use super::lanes::LaneLimits;
use super::rare::{Nothing, Rare};
use crate::wire::{EncodeError, HEADER_LEN, Header, Kind};

/// The sending half of a lane: items that are queued, under way, or not acknowledged yet.
///
/// A number belongs to an item from the moment it is queued, as the order never changes; on the
/// wire it counts from its first frame on.
#[derive(Debug)]
pub(super) struct SendLane {
    items: VecDeque<Item>,
    /// The items themselves: the small ones framed, the others' payloads.
    small: Gathered,
    large: Rare<VecDeque<Bytes>>,
    /// The number of the first item held: all below are acknowledged.
    first: u64,
    /// The item whose next frame is sent next on this stream, and how much of it is in frames.
    cursor: u64,
    offset: usize,
    /// Where the next small item from the cursor on begins, and which large one comes next.
    place: Place,
    next_large: usize,
    /// The number after the last item that was ever begun.
    begun: u64,
    /// The number after the last item that ended on this stream, or that the peer had before it.
    ended: u64,
    /// Bytes of all items held, and of those from `first` to the cursor.
    held: usize,
    unacknowledged: usize,
    /// Items below this number were begun before the last break.
    replayed: u64,
    /// The item that was queued into an empty lane.
    run: u64,
    limits: LaneLimits,
}

/// A frame of a lane, not yet committed.
#[derive(Debug)]
pub(super) struct LaneFrame<'a> {
    pub(super) header: Header,
    pub(super) payload: Payload<'a>,
    pub(super) number: u64,
}

/// What is in a frame of a lane.
#[derive(Debug)]
pub(super) enum Payload<'a> {
    Small(&'a [u8]),
    Large(Bytes),
}

/// Small items that go together, not yet committed.
#[derive(Debug)]
pub(super) struct LaneRun<'a> {
    /// Their frames.
    pub(super) frames: &'a [u8],
    /// The number of the first, and how many there are.
    pub(super) number: u64,
    pub(super) count: u32,
}

/// Frames of a run that have begun to leave.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// Of the bytes those that were sent before.
    pub(super) again: u64,
}

impl Nothing for SendLane {
    const NOTHING: &'static Self = &Self::new(LaneLimits::NONE);
}

impl Default for SendLane {
    fn default() -> Self {
        Self::new(LaneLimits::NONE)
    }
}

impl SendLane {
    pub(super) const fn new(limits: LaneLimits) -> Self {
        Self {
            items: VecDeque::new(),
            small: Gathered::new(),
            large: Rare::new(),
            first: 0,
            cursor: 0,
            offset: 0,
            place: Place::START,
            next_large: 0,
            begun: 0,
            ended: 0,
            held: 0,
            unacknowledged: 0,
            replayed: 0,
            run: 0,
            limits,
        }
    }

    pub(super) fn limits(&self) -> LaneLimits {
        self.limits
    }

    pub(super) fn set_limits(&mut self, limits: LaneLimits) {
        self.limits = limits;
    }

    /// Whether there is room to queue an item of `len` bytes now.
    #[inline]
    pub(super) fn has_room(&self, len: usize) -> bool {
        self.items.is_empty()
            || (self.items.len() < usize_from(self.limits.queued_items)
                && self.held.saturating_add(len) <= usize_from(self.limits.queued_bytes))
    }

    /// Queues an item that must go; returns its number.
    pub(super) fn push(&mut self, kind: Kind, id: u32, payload: &[u8]) -> u64 {
        let encode = |out: &mut Vec<u8>| {
            out.extend_from_slice(payload);
            Ok::<(), Infallible>(())
        };
        match self.small.write(encode) {
            Ok(payload) => {
                let item = Item::new(kind, id, payload);
                self.keep(item)
            }
            Err(never) => match never {},
        }
    }

    /// Writes an item that is queued once it is [kept](Self::keep), if there is room for it, and if
    /// it can ever be sent.
    #[inline]
    pub(super) fn write(
        &mut self,
        kind: Kind,
        id: u32,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<Item, ActionError> {
        let item = Item::new(kind, id, self.small.write(encode)?);
        if item.len > self.limits.peer_item {
            self.small.discard();
            return Err(ActionError::TooLarge { max: self.limits.peer_item.into() });
        }
        if !self.has_room(item.len()) {
            self.small.discard();
            return Err(ActionError::Blocked);
        }
        Ok(item)
    }

    /// Queues the item that was written last; returns its number.
    #[inline]
    pub(super) fn keep(&mut self, item: Item) -> u64 {
        let number = self.end();
        if self.cursor == number {
            self.run = number;
        }
        let header = Header { length: item.len, kind: item.kind, id: item.id }.encode();
        if item.is_small() {
            self.small.keep(header);
        } else {
            self.large.push_back(Bytes::copy_from_slice(self.small.written()));
            self.small.discard();
        }
        self.held = self.held.saturating_add(item.len());
        self.items.push_back(item);
        number
    }

    /// The number after the last item queued.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.items.len() as u64)
    }

    /// The number of the first item that is not acknowledged.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// The number after the last item that is wholly in frames of this stream.
    pub(super) fn framed(&self) -> u64 {
        self.cursor
    }

    /// Whether anything waits to be cut into frames.
    pub(super) fn has_unframed(&self) -> bool {
        self.cursor < self.end()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.items.shrink_to_fit();
        if self.items.is_empty() {
            self.small.clear();
            self.place = self.small.start();
            self.small.drop_blocks();
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        let slots = self.items.capacity().saturating_mul(size_of::<Item>());
        let large = self.large.memory_usage(|large| {
            let slots = large.capacity().saturating_mul(size_of::<Bytes>());
            large.iter().fold(slots, |sum, item| sum.saturating_add(item.len()))
        });
        large.saturating_add(slots).saturating_add(self.small.memory_usage())
    }

    /// Whether a frame could be sent as far as the peer's limits go.
    pub(super) fn is_ready(&self) -> bool {
        // An item counts with all its bytes from its first frame on.
        self.current().is_some_and(|item| {
            self.offset > 0 || self.permits(self.cursor, self.unacknowledged, item)
        })
    }

    /// Whether the peer takes an item as well, when so many bytes before it wait to be taken.
    fn permits(&self, number: u64, unacknowledged: usize, item: &Item) -> bool {
        number == self.first
            || (number.saturating_sub(self.first) < self.limits.peer_items.into()
                && unacknowledged.saturating_add(item.len()) <= usize_from(self.limits.peer_bytes))
    }

    /// Bytes of payload of the next frame, if it may have at most `max`.
    pub(super) fn next_len(&self, max: usize) -> usize {
        self.current().map_or(0, |item| item.len().saturating_sub(self.offset).min(max))
    }

    /// Whether the next frame is the first of an item that was queued into an empty lane.
    pub(super) fn starts_a_run(&self) -> bool {
        self.cursor == self.run && self.offset == 0
    }

    /// Whether the next frame is one that the peer counts as no progress.
    pub(super) fn is_costly(&self) -> bool {
        self.current().is_some_and(|item| item.is_costly)
    }

    /// The kind and the id of an item that is held.
    pub(super) fn item(&self, number: u64) -> Option<(Kind, u32)> {
        self.items.get(self.index(number)?).map(|item| (item.kind, item.id))
    }

    /// Cuts the next frame, with at most `max` bytes of payload.
    pub(super) fn next_frame(&mut self, part_id: u32, max: usize) -> Option<LaneFrame<'_>> {
        if !self.is_ready() {
            return None;
        }
        let (offset, place, number, next_large) =
            (self.offset, self.place, self.cursor, self.next_large);
        let item = self.current()?;
        let (whole, is_small) = (item.len(), item.is_small());
        let rest = whole.saturating_sub(offset);
        let len = rest.min(max);
        let (kind, id) = if len == rest { (item.kind, item.id) } else { (Kind::PART, part_id) };
        if offset == 0 {
            self.unacknowledged = self.unacknowledged.saturating_add(whole);
        }
        if len == rest {
            self.step(whole, is_small);
        } else {
            self.offset = offset.saturating_add(len);
        }
        let (from, to) = (offset, offset.saturating_add(len));
        let payload = if is_small {
            let payload = self.small.get(place).get(HEADER_LEN..).unwrap_or_default();
            Payload::Small(payload.get(from..to).unwrap_or_default())
        } else {
            Payload::Large(
                self.large.get(next_large).map_or_else(Bytes::new, |b| b.slice(from..to)),
            )
        };
        let length = u32::try_from(len).unwrap_or(u32::MAX);
        Some(LaneFrame { header: Header { length, kind, id }, payload, number })
    }

    /// Cuts the frames of the next small items, with at most `max` bytes together; `None` unless
    /// there are two that can go.
    pub(super) fn next_run(&mut self, max: usize) -> Option<LaneRun<'_>> {
        if self.offset > 0 {
            return None;
        }
        let (number, place) = (self.cursor, self.place);
        let max = max.min(self.small.get(place).len());
        let (mut len, mut count, mut unacknowledged) = (0_usize, 0_u32, self.unacknowledged);
        for item in self.items.range(self.index(number)?.min(self.items.len())..) {
            let with = len.saturating_add(item.frame_len());
            let next = number.saturating_add(count.into());
            let may_go = item.is_small() && !item.is_costly && with <= max;
            if !may_go || !self.permits(next, unacknowledged, item) {
                break;
            }
            len = with;
            count = count.saturating_add(1);
            unacknowledged = unacknowledged.saturating_add(item.len());
        }
        if count < 2 {
            return None;
        }
        self.unacknowledged = unacknowledged;
        self.cursor = number.saturating_add(count.into());
        self.place = self.small.after(place, len);
        let frames = self.small.get(place).get(..len).unwrap_or_default();
        Some(LaneRun { frames, number, count })
    }

    /// Goes on to the next item.
    fn step(&mut self, len: usize, is_small: bool) {
        self.cursor = self.cursor.saturating_add(1);
        self.offset = 0;
        if is_small {
            self.place = self.small.after(self.place, HEADER_LEN.saturating_add(len));
        } else {
            self.next_large = self.next_large.saturating_add(1);
        }
    }

    /// Takes back the last frame that was cut, as none of its bytes has left.
    pub(super) fn undo(&mut self, number: u64, len: usize) {
        if self.cursor > number {
            self.cursor = number;
            let Some(item) = self.current() else { return };
            let (whole, frame, is_small) = (item.len(), item.frame_len(), item.is_small());
            self.offset = whole;
            if is_small {
                self.place = self.small.before(self.place, frame);
            } else {
                self.next_large = self.next_large.saturating_sub(1);
            }
        }
        self.offset = self.offset.saturating_sub(len);
        if self.offset == 0 {
            let whole = self.current().map_or(0, Item::len);
            self.unacknowledged = self.unacknowledged.saturating_sub(whole);
        }
    }

    /// Takes back the last run that was cut, of `len` bytes, as none of them has left.
    pub(super) fn undo_run(&mut self, number: u64, count: u32, len: usize) {
        let headers = HEADER_LEN.saturating_mul(usize::try_from(count).unwrap_or(usize::MAX));
        self.cursor = number;
        self.place = self.small.before(self.place, len);
        self.unacknowledged = self.unacknowledged.saturating_sub(len.saturating_sub(headers));
    }

    /// Counts a frame whose first byte leaves, and whose last is before `end` of the stream; says
    /// whether its item had been sent before.
    pub(super) fn commit(&mut self, number: u64, ends: bool, end: u64) -> bool {
        let next = number.saturating_add(1);
        self.begun = self.begun.max(next);
        if ends {
            self.ended = self.ended.max(next);
            if let Some(item) = self.index(number).and_then(|index| self.items.get_mut(index)) {
                item.stream_end = end;
            }
        }
        number < self.replayed
    }

    /// Counts the frames of a run whose first bytes leave: of `numbers`, the first of which begins at
    /// `start` of the stream, those that begin before `sent`.
    pub(super) fn commit_run(&mut self, numbers: Range<u64>, start: u64, sent: u64) -> Left {
        let mut left = Left::default();
        let (Some(from), Some(to)) = (self.index(numbers.start), self.index(numbers.end)) else {
            return left;
        };
        // A conversation that has ended has forgotten them.
        let held = self.items.len();
        let mut place = start;
        for item in self.items.range_mut(from.min(held)..to.min(held)) {
            if place >= sent {
                break;
            }
            let len = item.frame_len() as u64;
            place = place.saturating_add(len);
            item.stream_end = place;
            if numbers.start.saturating_add(left.frames) < self.replayed {
                left.again = left.again.saturating_add(len);
            }
            left.frames = left.frames.saturating_add(1);
        }
        left.bytes = place.saturating_sub(start);
        let next = numbers.start.saturating_add(left.frames);
        self.begun = self.begun.max(next);
        self.ended = self.ended.max(next);
        left
    }

    /// Drops what the peer has taken; `None` if it cannot have, as it was not sent on this stream,
    /// or only beyond the `received` bytes that the peer has of it.
    pub(super) fn acknowledge(&mut self, next: u64, received: u64) -> Option<Range<u64>> {
        if next > self.ended || next < self.first {
            return None;
        }
        // Items end in the order of their numbers.
        let last = next.checked_sub(1).and_then(|number| self.index(number));
        if last.and_then(|last| self.items.get(last)).is_some_and(|i| i.stream_end > received) {
            return None;
        }
        let delivered = self.first..next;
        while self.first < next {
            let Some(item) = self.items.pop_front() else { break };
            self.held = self.held.saturating_sub(item.len());
            self.unacknowledged = self.unacknowledged.saturating_sub(item.len());
            self.first = self.first.saturating_add(1);
            if item.is_small() {
                self.small.release(item.frame_len());
            } else {
                self.large.made().and_then(VecDeque::pop_front);
                self.next_large = self.next_large.saturating_sub(1);
            }
        }
        if self.items.is_empty() {
            if self.items.capacity() > 16 {
                self.items.shrink_to(16);
            }
            self.large.clear();
            self.small.clear();
            self.place = self.small.start();
        }
        Some(delivered)
    }

    /// Whether the peer can have received just the items below `next`.
    pub(super) fn can_resume(&self, next: u64) -> bool {
        next >= self.first && next <= self.begun
    }

    /// Goes back to the first item that the peer has not received whole.
    pub(super) fn resume(&mut self, next: u64) {
        (self.cursor, self.place, self.next_large) = (self.first, self.small.start(), 0);
        self.unacknowledged = 0;
        self.ended = next;
        self.replayed = self.begun;
        for item in &mut self.items {
            item.stream_end = 0;
        }
        while self.cursor < next {
            let Some(item) = self.current() else { break };
            let (len, is_small) = (item.len(), item.is_small());
            self.unacknowledged = self.unacknowledged.saturating_add(len);
            self.step(len, is_small);
        }
        self.offset = 0;
    }

    /// Forgets all items: the numbers of those begun, and of those never sent.
    pub(super) fn clear(&mut self) -> (Range<u64>, Range<u64>) {
        let end = self.end();
        let begun = self.begun.clamp(self.first, end);
        let ranges = (self.first..begun, begun..end);
        *self = Self::new(self.limits);
        ranges
    }

    fn current(&self) -> Option<&Item> {
        self.items.get(self.index(self.cursor)?)
    }

    /// Where an item that is not below the first is held.
    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const LIMITS: LaneLimits = LaneLimits {
        peer_items: 3,
        peer_bytes: 8000,
        peer_item: 6000,
        queued_items: 8,
        queued_bytes: 20_000,
    };

    fn frame(lane: &mut SendLane) -> Option<(u8, usize, u64)> {
        let frame = lane.next_frame(1, 2000)?;
        let len = match frame.payload {
            Payload::Small(payload) => payload.len(),
            Payload::Large(payload) => payload.len(),
        };
        Some((frame.header.kind.to_u8(), len, frame.number))
    }

    #[test]
    fn an_item_is_cut_and_counts_whole_from_its_first_frame_on() {
        let mut lane = SendLane::new(LIMITS);
        assert_eq!(lane.push(Kind::MESSAGE, 0, &[1; 5000]), 0);
        assert_eq!(lane.push(Kind::MESSAGE, 0, &[2; 3001]), 1);
        assert_eq!(frame(&mut lane), Some((Kind::PART.to_u8(), 2000, 0)));
        assert_eq!(frame(&mut lane), Some((Kind::PART.to_u8(), 2000, 0)));
        assert_eq!(frame(&mut lane), Some((Kind::MESSAGE.to_u8(), 1000, 0)));
        assert_eq!(frame(&mut lane), None, "8001 bytes are one too many");
        assert_eq!(lane.acknowledge(1, u64::MAX), None, "nothing has left yet");
        lane.commit(0, true, 5024);
        assert_eq!(lane.acknowledge(1, 5023), None, "its last byte has not arrived");
        assert_eq!(lane.acknowledge(1, 5024), Some(0..1));
        assert_eq!(frame(&mut lane), Some((Kind::PART.to_u8(), 2000, 1)));
    }

    #[test]
    fn what_was_undone_is_cut_again_the_same_way() {
        let mut lane = SendLane::new(LIMITS);
        lane.push(Kind::MESSAGE, 0, &[1; 4500]);
        lane.push(Kind::CHAT, 0, b"");
        let cut: Vec<_> = core::iter::from_fn(|| frame(&mut lane)).collect();
        assert_eq!(cut.len(), 4);
        for &(_, len, number) in cut.iter().rev() {
            lane.undo(number, len);
        }
        assert!(lane.starts_a_run());
        let again: Vec<_> = core::iter::from_fn(|| frame(&mut lane)).collect();
        assert_eq!(cut, again);
    }

    #[test]
    fn a_run_leaves_line_by_line_and_may_be_forgotten_meanwhile() {
        let mut lane = SendLane::new(LaneLimits { peer_items: 8, ..LIMITS });
        for payload in [b"\0\0a", b"\0\0b", b"\0\0c"] {
            lane.push(Kind::CHAT, 0, payload);
        }
        let run = lane.next_run(2000).unwrap();
        assert_eq!((run.number, run.count, run.frames.len()), (0, 3, 33));
        let left = lane.commit_run(0..3, 100, 112);
        assert_eq!(left, Left { frames: 2, bytes: 22, again: 0 });
        assert_eq!(lane.acknowledge(3, 200), None, "the third has not begun");
        assert_eq!(lane.acknowledge(1, 111), Some(0..1));
        assert_eq!(lane.clear(), (1..2, 2..3));
        assert_eq!(lane.commit_run(2..3, 122, 133), Left::default());
    }

    #[test]
    fn after_a_break_it_goes_on_from_what_arrived_and_keeps_what_was_not_taken() {
        let mut lane = SendLane::new(LIMITS);
        for payload in [b"a", b"b", b"c"] {
            lane.push(Kind::CHAT, 0, payload);
        }
        while let Some((_, _, number)) = frame(&mut lane) {
            assert!(!lane.commit(number, true, 9));
        }
        assert!(!lane.can_resume(4));
        assert!(lane.can_resume(1));
        lane.resume(1);
        assert_eq!(frame(&mut lane), Some((Kind::CHAT.to_u8(), 1, 1)));
        assert!(lane.commit(1, true, 9), "it was sent before");
        assert_eq!(lane.acknowledge(3, 9), None, "the third has not ended on this stream");
        assert_eq!(lane.acknowledge(2, 9), Some(0..2));
        lane.push(Kind::CHAT, 0, b"d");
        assert_eq!(lane.clear(), (2..3, 3..4));
    }

    #[test]
    fn little_memory_of_a_burst_is_kept_once_all_was_taken() {
        let mut lane = SendLane::new(LaneLimits { peer_items: 1000, ..LIMITS });
        (0..1000).for_each(|_| _ = lane.push(Kind::CHAT, 0, b""));
        while let Some((_, _, number)) = frame(&mut lane) {
            lane.commit(number, true, 9);
        }
        assert!(!lane.has_unframed());
        assert_eq!(lane.acknowledge(1000, 9), Some(0..1000));
        let kept = lane.memory_usage();
        assert!((1000..18 << 10).contains(&kept), "{kept} bytes");
    }
}
