use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

/// Chunks below this size are gathered, so that no frame is needlessly small.
const SMALL: usize = 4096;
/// Larger chunks are held as slices of this size, so that there is room for more when a part of one
/// has been received.
const LARGE: usize = 64 * 1024;
/// Frames shorter than this cost the sender part of its budget.
pub(super) const MIN_FRAME: usize = 1024;

/// Bytes of one transfer that are not sent yet, or may have to be sent again.
#[derive(Debug, Default)]
pub(super) struct SendBuffer {
    chunks: VecDeque<Bytes>,
    /// Small chunks, gathered behind the others.
    tail: Vec<u8>,
    /// Offset of the first byte held, of the next to be cut, and after the last.
    start: u64,
    next: u64,
    end: u64,
    /// Where `next` is: an index into the chunks, and a place in that chunk.
    chunk: usize,
    place: usize,
}

impl SendBuffer {
    pub(super) fn at(offset: u64) -> Self {
        Self { start: offset, next: offset, end: offset, ..Self::default() }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes held, sent or not.
    pub(super) fn held(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Bytes not cut into frames.
    pub(super) fn unsent(&self) -> u64 {
        self.end.saturating_sub(self.next)
    }

    pub(super) fn push(&mut self, mut data: Bytes) {
        self.end = self.end.saturating_add(data.len() as u64);
        if data.len() < SMALL {
            self.tail.extend_from_slice(&data);
            if self.tail.len() >= SMALL {
                self.seal();
            }
        } else {
            self.seal();
            while data.len() > LARGE.saturating_add(SMALL) {
                self.chunks.push_back(data.split_to(LARGE));
            }
            self.chunks.push_back(data);
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(Bytes::from(core::mem::take(&mut self.tail)));
        }
    }

    /// Cuts the next frame of at most `max` bytes.
    pub(super) fn cut(&mut self, max: usize) -> Bytes {
        if self.chunk >= self.chunks.len() {
            self.seal();
        }
        let Some(chunk) = self.chunks.get(self.chunk) else { return Bytes::new() };
        let rest = chunk.len().saturating_sub(self.place);
        let wanted = max.min(usize::try_from(self.unsent()).unwrap_or(usize::MAX));
        if rest >= wanted || rest >= MIN_FRAME {
            let len = rest.min(max);
            let frame = chunk.slice(self.place..self.place.saturating_add(len));
            self.advance(len);
            return frame;
        }
        let mut gathered = Vec::with_capacity(wanted);
        while gathered.len() < wanted {
            if self.chunk >= self.chunks.len() {
                self.seal();
            }
            let Some(chunk) = self.chunks.get(self.chunk) else { break };
            let rest = chunk.get(self.place..).unwrap_or_default();
            let len = rest.len().min(wanted.saturating_sub(gathered.len()));
            gathered.extend_from_slice(rest.get(..len).unwrap_or_default());
            self.advance(len);
        }
        Bytes::from(gathered)
    }

    /// Cuts frames of `each` bytes out of one chunk, as many as it has, at most so many; nothing if
    /// it has less than one.
    pub(super) fn cut_run(&mut self, each: usize, most: usize) -> Bytes {
        let Some(chunk) = self.chunks.get(self.chunk) else { return Bytes::new() };
        let rest = chunk.len().saturating_sub(self.place);
        let len = rest.checked_div(each).unwrap_or(0).min(most).saturating_mul(each);
        if len == 0 {
            return Bytes::new();
        }
        let frames = chunk.slice(self.place..self.place.saturating_add(len));
        self.advance(len);
        frames
    }

    fn advance(&mut self, len: usize) {
        self.next = self.next.saturating_add(len as u64);
        self.place = self.place.saturating_add(len);
        if self.chunks.get(self.chunk).is_some_and(|chunk| self.place >= chunk.len()) {
            self.chunk = self.chunk.saturating_add(1);
            self.place = 0;
        }
    }

    /// Takes back the last `len` bytes that were cut, as they have not left.
    pub(super) fn uncut(&mut self, len: usize) {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        let mut left = len.min(self.next.saturating_sub(self.start));
        self.next = self.next.saturating_sub(left);
        while left > 0 {
            let place = self.place as u64;
            if left <= place {
                self.place = usize::try_from(place.saturating_sub(left)).unwrap_or(0);
                return;
            }
            left = left.saturating_sub(place);
            let Some(before) = self.chunk.checked_sub(1) else { return };
            self.chunk = before;
            self.place = self.chunks.get(before).map_or(0, Bytes::len);
        }
    }

    /// Goes back to `offset`, which is held.
    pub(super) fn rewind(&mut self, offset: u64) {
        self.next = offset.clamp(self.start, self.end);
        let mut ahead = self.next.saturating_sub(self.start);
        self.chunk = 0;
        for chunk in &self.chunks {
            let len = chunk.len() as u64;
            if ahead < len {
                break;
            }
            ahead = ahead.saturating_sub(len);
            self.chunk = self.chunk.saturating_add(1);
        }
        self.place = usize::try_from(ahead).unwrap_or(usize::MAX);
        if self.chunk >= self.chunks.len() && self.place > 0 {
            self.seal();
        }
    }

    /// Whether `offset` can be gone back to.
    pub(super) fn holds(&self, offset: u64) -> bool {
        (self.start..=self.end).contains(&offset)
    }

    /// Drops what comes before `offset`, as far as it has been cut.
    pub(super) fn release(&mut self, offset: u64) {
        let offset = offset.min(self.next);
        while let Some(chunk) = self.chunks.front() {
            let end = self.start.saturating_add(chunk.len() as u64);
            if end > offset || self.chunk == 0 {
                break;
            }
            self.start = end;
            self.chunks.pop_front();
            self.chunk = self.chunk.saturating_sub(1);
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        let slots = self.chunks.capacity().saturating_mul(size_of::<Bytes>());
        usize::try_from(self.held())
            .unwrap_or(usize::MAX)
            .saturating_add(slots)
            .saturating_add(self.tail.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(buffer: &mut SendBuffer, max: usize) -> (Vec<u8>, Vec<usize>) {
        let (mut all, mut sizes) = (Vec::new(), Vec::new());
        loop {
            let frame = buffer.cut(max);
            if frame.is_empty() {
                return (all, sizes);
            }
            sizes.push(frame.len());
            all.extend_from_slice(&frame);
        }
    }

    fn filled() -> (SendBuffer, Vec<u8>) {
        let mut buffer = SendBuffer::at(10);
        let mut all = Vec::new();
        for len in [1, 2, 5000, 100, 9000, 4096, 3, 7] {
            let chunk: Vec<u8> = (0..len).map(|i| (i + len) as u8).collect();
            all.extend_from_slice(&chunk);
            buffer.push(Bytes::from(chunk));
        }
        (buffer, all)
    }

    #[test]
    fn chunks_of_any_size_leave_in_frames_that_are_not_small() {
        let (mut buffer, all) = filled();
        let (sent, sizes) = drain(&mut buffer, 4000);
        assert_eq!(sent, all);
        assert!(sizes.iter().rev().skip(1).all(|&len| len >= MIN_FRAME), "{sizes:?}");
    }

    #[test]
    fn it_goes_back_to_any_byte_that_is_held() {
        let (mut buffer, all) = filled();
        drain(&mut buffer, 4000);
        for back in 0..=all.len() {
            buffer.rewind(10 + back as u64);
            assert_eq!(drain(&mut buffer, 4000).0, &all[back..], "from {back}");
        }
    }

    #[test]
    fn what_was_cut_is_taken_back_byte_by_byte_and_frame_by_frame() {
        let (mut buffer, all) = filled();
        let (_, sizes) = drain(&mut buffer, 4000);
        for (back, &len) in sizes.iter().rev().enumerate() {
            buffer.uncut(len);
            let left: usize = sizes[sizes.len() - 1 - back..].iter().sum();
            assert_eq!(buffer.unsent(), left as u64);
        }
        assert_eq!(drain(&mut buffer, 4000), (all.clone(), sizes), "the frames are the same again");
        for back in 1..=all.len() {
            buffer.uncut(1);
            let mut other = filled().0;
            drain(&mut other, 4000);
            other.rewind((10 + all.len() - back) as u64);
            assert_eq!(drain(&mut other, 4000).0, &all[all.len() - back..]);
        }
        assert_eq!(drain(&mut buffer, 100).0, all);
    }

    #[test]
    fn what_is_released_is_dropped_by_whole_chunks_and_never_unsent() {
        let (mut buffer, all) = filled();
        buffer.release(10_000);
        assert!(buffer.holds(10));
        drain(&mut buffer, 4000);
        buffer.release(10 + 6000);
        assert!(!buffer.holds(12) && buffer.holds(10 + 6000));
        buffer.rewind(10 + 6000);
        assert_eq!(drain(&mut buffer, 4000).0, &all[6000..]);
        buffer.release(u64::MAX);
        assert_eq!((buffer.held(), buffer.unsent()), (0, 0));
        buffer.push(Bytes::from_static(b"more"));
        assert_eq!(&buffer.cut(100)[..], b"more");
    }
}
