use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::rare::Nothing;
use crate::wire::CloseCode;

/// The receiving half of a lane: an item in parts, and the items that the application has not
/// taken yet.
#[derive(Debug, Default)]
pub(super) struct ReceiveLane {
    /// The number of the next item.
    received: u64,
    /// Numbers and sizes of items handed out and not taken.
    pending: VecDeque<(u64, u32)>,
    pending_bytes: usize,
    /// The payloads of the PART frames so far.
    parts: Vec<u8>,
    in_item: bool,
}

/// What this side accepts of a lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepts {
    pub(super) item: usize,
    pub(super) items: usize,
    pub(super) bytes: usize,
}

/// Items that the application has taken at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) items: usize,
    pub(super) bytes: usize,
}

impl Nothing for ReceiveLane {
    const NOTHING: &'static Self = &Self {
        received: 0,
        pending: VecDeque::new(),
        pending_bytes: 0,
        parts: Vec::new(),
        in_item: false,
    };
}

impl ReceiveLane {
    /// The number of the next item: all below were received whole.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The number after the last item taken.
    pub(super) fn taken(&self) -> u64 {
        self.pending.front().map_or(self.received, |&(number, _)| number)
    }

    /// Whether PART frames of an item have come.
    pub(super) fn is_in_item(&self) -> bool {
        self.in_item
    }

    /// Judges the header of the next frame of the lane.
    #[inline]
    pub(super) fn check(&self, length: usize, accepts: Accepts) -> Result<(), CloseCode> {
        let item = self.parts.len().saturating_add(length);
        if item > accepts.item {
            return Err(CloseCode::TOO_LARGE);
        }
        let over = self.pending.len() >= accepts.items
            || self.pending_bytes.saturating_add(item) > accepts.bytes;
        if over && !self.pending.is_empty() { Err(CloseCode::LIMIT) } else { Ok(()) }
    }

    /// Adds payload bytes of a PART, or of an end frame that does not come in one piece.
    pub(super) fn append(&mut self, data: &[u8]) {
        self.in_item = true;
        self.parts.extend_from_slice(data);
    }

    /// The item in parts, which is forgotten here.
    pub(super) fn take_parts(&mut self) -> Vec<u8> {
        self.in_item = false;
        core::mem::take(&mut self.parts)
    }

    /// Counts an item received whole; `held` if the application has to take it.
    #[inline]
    pub(super) fn finish(&mut self, bytes: usize, held: bool) -> u64 {
        let number = self.received;
        self.received = number.saturating_add(1);
        if held {
            self.pending.push_back((number, u32::try_from(bytes).unwrap_or(u32::MAX)));
            self.pending_bytes = self.pending_bytes.saturating_add(bytes);
        }
        number
    }

    /// The application took every item up to `number`.
    pub(super) fn take(&mut self, number: u64) -> Taken {
        let mut taken = Taken::default();
        while let Some(&(first, bytes)) = self.pending.front() {
            if first > number {
                break;
            }
            self.pending.pop_front();
            taken.items = taken.items.saturating_add(1);
            taken.bytes = taken.bytes.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        self.pending_bytes = self.pending_bytes.saturating_sub(taken.bytes);
        taken
    }

    /// The stream broke: an item in parts comes again from its first byte.
    pub(super) fn detach(&mut self) {
        self.take_parts();
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.pending.shrink_to_fit();
        self.parts.shrink_to_fit();
    }

    pub(super) fn memory_usage(&self) -> usize {
        let slots = self.pending.capacity().saturating_mul(size_of::<(u64, u32)>());
        self.parts.capacity().saturating_add(slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCEPTS: Accepts = Accepts { item: 100, items: 2, bytes: 120 };

    #[test]
    fn items_are_acknowledged_when_taken_and_bounded_until_then() {
        let mut lane = ReceiveLane::default();
        assert_eq!(lane.check(101, ACCEPTS), Err(CloseCode::TOO_LARGE));
        assert_eq!(lane.check(100, ACCEPTS), Ok(()));
        assert_eq!(lane.finish(100, true), 0);
        assert_eq!((lane.received(), lane.taken()), (1, 0));
        assert_eq!(lane.check(21, ACCEPTS), Err(CloseCode::LIMIT));
        assert_eq!(lane.check(20, ACCEPTS), Ok(()));
        assert_eq!(lane.finish(20, true), 1);
        assert_eq!(lane.check(0, ACCEPTS), Err(CloseCode::LIMIT));
        assert_eq!(lane.finish(0, false), 2);
        assert_eq!(lane.take(0), Taken { items: 1, bytes: 100 });
        assert_eq!(lane.take(0), Taken::default());
        assert_eq!(lane.taken(), 1);
        assert_eq!(lane.take(7), Taken { items: 1, bytes: 20 });
        assert_eq!(lane.taken(), 3, "what nobody has to take counts as taken");
    }

    #[test]
    fn parts_are_counted_and_forgotten_at_a_break() {
        let mut lane = ReceiveLane::default();
        lane.append(&[0; 60]);
        assert_eq!(lane.check(41, ACCEPTS), Err(CloseCode::TOO_LARGE));
        assert!(lane.is_in_item());
        lane.detach();
        assert!(!lane.is_in_item());
        assert_eq!(lane.check(100, ACCEPTS), Ok(()));
    }
}
