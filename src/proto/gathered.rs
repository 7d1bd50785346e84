use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::wire::HEADER_LEN;

/// Items up to this size are gathered.
pub(super) const SMALL: usize = 1024;
/// The size of a block; the first one grows up to it.
const BLOCK: usize = 16 * 1024;

/// Small items of a lane, framed one behind the other, so that many of them are one copy.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    blocks: VecDeque<Vec<u8>>,
    /// How many blocks were dropped.
    dropped: u64,
    /// Where the first item held begins.
    start: Place,
    /// Bytes of the last block that are kept.
    end: usize,
}

/// Where a frame begins, or ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The block, counted from the first that there ever was.
    block: u64,
    offset: usize,
}

impl Place {
    pub(super) const START: Self = Self { block: 0, offset: 0 };
}

impl Gathered {
    pub(super) const fn new() -> Self {
        Self { blocks: VecDeque::new(), dropped: 0, start: Place::START, end: 0 }
    }

    /// Writes a payload where a frame will be, and returns it: it counts once it is
    /// [kept](Self::keep). A failed one leaves nothing.
    #[inline]
    pub(super) fn write<E>(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<&[u8], E> {
        self.discard();
        if self.blocks.is_empty() {
            self.blocks.push_back(Vec::new());
        } else if self.end > BLOCK.saturating_sub(HEADER_LEN).saturating_sub(SMALL) {
            self.blocks.push_back(Vec::with_capacity(BLOCK));
            self.end = 0;
        }
        let Some(block) = self.blocks.back_mut() else { return Ok(&[]) };
        block.extend_from_slice(&[0; HEADER_LEN]);
        encode(block)?;
        Ok(self.written())
    }

    /// The payload that was written last, and not kept.
    #[inline]
    pub(super) fn written(&self) -> &[u8] {
        let start = self.end.saturating_add(HEADER_LEN);
        self.blocks.back().and_then(|block| block.get(start..)).unwrap_or_default()
    }

    /// Keeps what was written, as a frame with this header: of at most [`SMALL`] bytes.
    #[inline]
    pub(super) fn keep(&mut self, header: [u8; HEADER_LEN]) {
        let Some(block) = self.blocks.back_mut() else { return };
        if let Some(place) = block.get_mut(self.end..).and_then(<[u8]>::first_chunk_mut) {
            *place = header;
        }
        self.end = block.len();
    }

    /// Forgets what was written and not kept.
    #[inline]
    pub(super) fn discard(&mut self) {
        if let Some(block) = self.blocks.back_mut().filter(|block| block.len() > self.end) {
            block.truncate(self.end);
            if block.capacity() > BLOCK.saturating_mul(2) {
                block.shrink_to(BLOCK);
            }
        }
    }

    /// Where the first item held begins.
    pub(super) fn start(&self) -> Place {
        self.start
    }

    /// The bytes from a place to the end of its block, or of the next one if it is at the end.
    pub(super) fn get(&self, place: Place) -> &[u8] {
        let place = self.settle(place);
        self.block(place).and_then(|block| block.get(place.offset..)).unwrap_or_default()
    }

    /// The place `len` bytes behind `place`, which are in one block.
    pub(super) fn after(&self, place: Place, len: usize) -> Place {
        let place = self.settle(place);
        Place { offset: place.offset.saturating_add(len), ..place }
    }

    /// The place `len` bytes before `place`, which are in one block.
    pub(super) fn before(&self, place: Place, len: usize) -> Place {
        if let Some(offset) = place.offset.checked_sub(len) {
            return Place { offset, ..place };
        }
        let place = Place { block: place.block.saturating_sub(1), offset: 0 };
        let end = self.block(place).map_or(0, Vec::len);
        Place { offset: end.saturating_sub(len), ..place }
    }

    /// Drops the first `len` bytes, which are in one block.
    pub(super) fn release(&mut self, len: usize) {
        self.start = self.after(self.start, len);
        while self.dropped < self.start.block {
            self.blocks.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// All was released: the memory of one block is kept for what comes next.
    pub(super) fn clear(&mut self) {
        self.blocks.truncate(1);
        if let Some(block) = self.blocks.front_mut() {
            block.clear();
        }
        self.end = 0;
        self.start = Place { block: self.dropped, offset: 0 };
    }

    /// Keeps no memory at all, once it is [clear](Self::clear).
    pub(super) fn drop_blocks(&mut self) {
        self.blocks = VecDeque::new();
    }

    pub(super) fn memory_usage(&self) -> usize {
        let slots = self.blocks.capacity().saturating_mul(size_of::<Vec<u8>>());
        self.blocks.iter().fold(slots, |sum, block| sum.saturating_add(block.capacity()))
    }

    /// The end of a block is the beginning of the next.
    fn settle(&self, place: Place) -> Place {
        let next = Place { block: place.block.saturating_add(1), offset: 0 };
        let is_at_end = self.block(place).is_some_and(|block| block.len() <= place.offset);
        if is_at_end && self.block(next).is_some() { next } else { place }
    }

    fn block(&self, place: Place) -> Option<&Vec<u8>> {
        self.blocks.get(usize::try_from(place.block.checked_sub(self.dropped)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = HEADER_LEN + 1000;

    fn filled(count: u8) -> Gathered {
        let mut gathered = Gathered::default();
        (0..count).for_each(|i| push(&mut gathered, i, 1000));
        gathered
    }

    fn push(gathered: &mut Gathered, byte: u8, len: usize) {
        let encode = |out: &mut Vec<u8>| {
            out.resize(out.len() + len, byte);
            Ok::<(), ()>(())
        };
        assert_eq!(gathered.write(encode).unwrap().len(), len);
        gathered.keep([byte; HEADER_LEN]);
    }

    #[test]
    fn frames_are_found_forwards_and_backwards_over_the_ends_of_blocks() {
        let gathered = filled(40);
        let mut place = gathered.start();
        for i in 0..40 {
            let bytes = gathered.get(place);
            assert!(bytes[..FRAME].iter().all(|&byte| byte == i), "frame {i}");
            assert_eq!(bytes.len() % FRAME, 0, "whole frames to the end of the block");
            place = gathered.after(place, FRAME);
        }
        assert!(gathered.get(place).is_empty());
        for i in (0..40).rev() {
            place = gathered.before(place, FRAME);
            assert_eq!(gathered.get(place)[0], i);
        }
        assert_eq!(place, gathered.start());
    }

    #[test]
    fn blocks_are_dropped_with_their_last_frame_and_one_is_kept_until_all_memory_is_given_back() {
        let mut gathered = filled(40);
        let full = gathered.memory_usage();
        for _ in 0..39 {
            gathered.release(FRAME);
        }
        assert_eq!(gathered.get(gathered.start())[0], 39);
        assert!(gathered.memory_usage() < full / 2);
        gathered.release(FRAME);
        gathered.clear();
        assert!(gathered.memory_usage() < 2 * BLOCK);
        gathered.drop_blocks();
        assert_eq!(gathered.memory_usage(), 0);
        let place = gathered.start();
        push(&mut gathered, 9, 1);
        assert_eq!(gathered.get(place), [9; HEADER_LEN + 1]);
    }

    #[test]
    fn what_was_not_kept_leaves_no_trace() {
        let mut gathered = filled(3);
        let all = gathered.get(gathered.start()).to_vec();
        gathered
            .write(|out| {
                out.resize(1 << 20, 7);
                Ok::<(), ()>(())
            })
            .unwrap();
        gathered.discard();
        assert_eq!(gathered.get(gathered.start()), all);
        assert!(gathered.memory_usage() < 3 * BLOCK);
        assert_eq!(
            gathered.write(|out| {
                out.push(7);
                Err(1)
            }),
            Err(1)
        );
        push(&mut gathered, 3, 1000);
        assert_eq!(gathered.get(gathered.start()), filled(4).get(Place::default()));
    }
}
