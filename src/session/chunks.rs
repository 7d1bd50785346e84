//! Bytes of a file that wait for the application.

use core::mem;
use std::collections::VecDeque;
use std::vec::Vec;

use bytes::Bytes;

use super::inbound::Chunk;

/// Chunks that wait as they came, however short.
const FEW: usize = 4;
/// Of more than these, what is shorter is gathered into chunks of [`GATHERED`] bytes: a peer whose
/// bytes come one by one would otherwise have each cost the memory of a chunk.
const SMALL: usize = 1024;
const GATHERED: usize = 2048;

/// Chunks in the order of the file, each beginning where the one before ends.
#[derive(Default)]
pub(super) struct Chunks {
    whole: VecDeque<Chunk>,
    /// What is gathered, and where it begins.
    tail: Vec<u8>,
    tail_offset: u64,
}

impl Chunks {
    pub(super) fn push(&mut self, offset: u64, data: Bytes) {
        let is_one_of_few = self.tail.is_empty() && self.whole.len() < FEW;
        if data.len() >= SMALL || is_one_of_few {
            self.end_tail();
            self.whole.push_back(Chunk { offset, data });
            return;
        }
        let (mut offset, mut rest) = (offset, &*data);
        while !rest.is_empty() {
            if self.tail.is_empty() {
                self.tail.reserve_exact(GATHERED);
                self.tail_offset = offset;
            }
            let room = GATHERED.saturating_sub(self.tail.len());
            let (fits, behind) = rest.split_at(room.min(rest.len()));
            self.tail.extend_from_slice(fits);
            offset = offset.saturating_add(fits.len() as u64);
            rest = behind;
            if self.tail.len() >= GATHERED {
                self.end_tail();
            }
        }
    }

    /// The first chunk; those behind it go to `rest`, which is empty, but for what is still gathered.
    pub(super) fn take_all(&mut self, rest: &mut VecDeque<Chunk>) -> Option<Chunk> {
        if self.whole.is_empty() {
            self.end_tail();
        }
        mem::swap(&mut self.whole, rest);
        rest.pop_front()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.tail.is_empty()
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        let whole = self.whole.iter().map(|chunk| chunk.data.len());
        whole.fold(self.tail.len(), usize::saturating_add)
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            let mut tail = mem::take(&mut self.tail);
            tail.shrink_to_fit();
            self.whole.push_back(Chunk { offset: self.tail_offset, data: tail.into() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_length_come_out_in_order_and_short_ones_together() {
        let file: Vec<u8> = (0..40_000_u32).map(|n| n.wrapping_mul(31) as u8).collect();
        for step in [1, 7, 1023, 1024, 5000] {
            let (mut chunks, mut at) = (Chunks::default(), 0);
            while at < file.len() {
                // Now and then a long one among short ones.
                let len = if at % 11 == 3 { 3000 } else { step };
                let end = file.len().min(at + len);
                chunks.push(at as u64, Bytes::copy_from_slice(&file[at..end]));
                at = end;
                assert_eq!(chunks.waiting(), at);
            }
            assert!(chunks.whole.len() <= FEW + 1 + 2 * file.len() / SMALL, "by {step}");
            let (mut out, mut rest) = (Vec::new(), VecDeque::new());
            while let Some(first) = chunks.take_all(&mut rest) {
                for chunk in [first].into_iter().chain(rest.drain(..)) {
                    assert_eq!(chunk.offset, out.len() as u64);
                    out.extend_from_slice(&chunk.data);
                }
                assert_eq!(chunks.waiting(), file.len() - out.len());
                assert_eq!(chunks.is_empty(), out.len() == file.len());
            }
            assert!(out == file, "by {step}");
        }
    }

    #[test]
    fn a_few_are_handed_out_as_they_came() {
        let mut chunks = Chunks::default();
        let piece = Bytes::from(std::vec![7; 10]);
        for _ in 0..20 {
            chunks.push(0, piece.clone());
            let chunk = chunks.take_all(&mut VecDeque::new());
            assert_eq!(chunk.map(|chunk| chunk.data.as_ptr()), Some(piece.as_ptr()));
        }
        chunks.push(0, piece);
        chunks.clear();
        assert!(chunks.is_empty() && chunks.waiting() == 0);
    }
}
