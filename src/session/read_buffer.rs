//! Where the driver reads into.

use std::boxed::Box;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::vec;
use std::vec::Vec;

use bytes::Bytes;

use crate::sync::{Mutex, MutexGuard};

/// Read into without a buffer of its own, so that an idle conversation has none: enough for chat. Such
/// memory is zeroed each time, so the larger one is for a stream that has filled the other, which
/// takes the smallest frame of bulk and an ACK.
pub(super) const TINY: usize = 1088;
pub(super) const SMALL: usize = 2048;
/// The first buffer that is allocated, and the largest. A read that fills one asks for the next.
const FIRST: usize = 64 << 10;
const LARGEST: usize = 256 << 10;
/// Less data than this is copied out of a buffer that it does not fill to the half.
const WORTH_A_BUFFER: usize = 8 << 10;
/// Buffers that are kept for the next read.
const SPARE: usize = 4;

/// Bytes of buffers that nobody has a slice of.
pub(super) const MOST_IDLE: usize = LARGEST * (SPARE + 1);

/// A buffer that follows the load: none at first, then one that grows with it, until it is given
/// back when nothing has come for a while.
///
/// Data is handed out as slices of the buffer it was read into, which comes back when the last of
/// them is dropped.
pub(super) struct ReadBuffer {
    len: usize,
    /// Made with the first buffer.
    pool: Option<Arc<Pool>>,
    most_pinned: usize,
}

/// The buffers of a conversation.
#[derive(Default)]
pub(super) struct Pool {
    spare: Mutex<Spare>,
    /// Bytes of buffers that slices are handed out of.
    pinned: AtomicUsize,
}

/// Buffers that are kept for the next read.
#[derive(Default)]
struct Spare {
    buffers: Vec<Box<[u8]>>,
    /// None are, until a buffer is asked for.
    is_idle: bool,
}

/// Where the next read goes.
pub(super) enum Room {
    /// The stack will do, for [`TINY`] or [`SMALL`] bytes.
    Tiny,
    Small,
    Large(Box<[u8]>),
}

/// A buffer that goes back to its pool.
struct Pinned {
    memory: Box<[u8]>,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Pinned {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.pool.pinned.fetch_sub(self.memory.len(), Ordering::Relaxed);
        self.pool.put(mem::take(&mut self.memory));
    }
}

impl Pool {
    fn put(&self, memory: Box<[u8]>) {
        let mut spare = self.spare();
        if spare.is_idle {
            return;
        }
        let buffers = &mut spare.buffers;
        // Of two sizes the larger one is kept.
        buffers.retain(|other| other.len() >= memory.len());
        if buffers.len() < SPARE && buffers.first().is_none_or(|other| other.len() == memory.len())
        {
            buffers.push(memory);
        }
    }

    fn get(&self, len: usize) -> Option<Box<[u8]>> {
        let mut spare = self.spare();
        spare.is_idle = false;
        spare.buffers.pop().filter(|memory| memory.len() == len)
    }

    fn spare(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadBuffer {
    /// A buffer whose slices keep at most `most_pinned` bytes alive, each counted with all of the
    /// memory that it is a slice of.
    ///
    /// `pool` is that of the stream before: slices of what came over it may still be held.
    pub(super) fn new(most_pinned: usize, pool: Option<Arc<Pool>>) -> Self {
        Self { len: 0, pool, most_pinned }
    }

    /// Where the next read goes.
    pub(super) fn take(&mut self) -> Room {
        match self.len {
            0 => Room::Tiny,
            SMALL => Room::Small,
            _ => Room::Large(self.memory()),
        }
    }

    fn memory(&self) -> Box<[u8]> {
        let spare = self.pool.as_ref().and_then(|pool| pool.get(self.len));
        spare.unwrap_or_else(|| vec![0; self.len].into_boxed_slice())
    }

    /// The memory is not needed any more, and no slice of it was handed out.
    pub(super) fn put(&mut self, memory: Box<[u8]>) {
        self.pool().put(memory);
    }

    pub(super) fn pool(&mut self) -> &Arc<Pool> {
        self.pool.get_or_insert_default()
    }

    /// A read filled `len` of `room` bytes.
    pub(super) fn note(&mut self, len: usize, room: usize) {
        if len >= room && self.len < LARGEST {
            self.len = match room {
                0..SMALL => SMALL,
                SMALL..FIRST => FIRST,
                _ => LARGEST,
            };
        }
    }

    /// Gives back what no read needs for a while; what slices were handed out of goes with the last of them.
    pub(super) fn shrink(&mut self) {
        self.len = 0;
        if let Some(pool) = &self.pool {
            *pool.spare() = Spare { buffers: Vec::new(), is_idle: true };
        }
    }

    /// Whether `data` bytes of a buffer are handed out as slices rather than copied: when they are
    /// at least half of it and not too many buffers are held already, or when they are enough for a
    /// copy to cost more than a buffer of which there are spare ones.
    pub(super) fn may_pin(&self, memory: &[u8], data: usize) -> bool {
        let pinned = self.pool.as_ref().map_or(0, |pool| pool.pinned.load(Ordering::Relaxed));
        let pinned = pinned.saturating_add(memory.len());
        let is_spare = pinned <= LARGEST.saturating_mul(SPARE) && data >= WORTH_A_BUFFER;
        (is_spare || data >= memory.len() / 2) && pinned <= self.most_pinned
    }

    /// The buffer, to hand out slices of.
    pub(super) fn pin(&mut self, memory: Box<[u8]>) -> Bytes {
        let pool = Arc::clone(self.pool());
        pool.pinned.fetch_add(memory.len(), Ordering::Relaxed);
        Bytes::from_owner(Pinned { memory, pool })
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        // Slices may be held for long after the stream.
        self.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(reader: &mut ReadBuffer) {
        reader.note(TINY, TINY);
        assert!(matches!(reader.take(), Room::Small));
        reader.note(SMALL, SMALL);
        reader.note(FIRST, FIRST);
    }

    #[test]
    fn slices_keep_no_more_buffers_than_they_may() {
        let mut reader = ReadBuffer::new(3 * LARGEST, None);
        full(&mut reader);
        let mut kept = Vec::new();
        loop {
            let memory = reader.memory();
            assert_eq!(memory.len(), LARGEST);
            let little = WORTH_A_BUFFER - 1;
            assert!(!reader.may_pin(&memory, little), "most of it would be kept for nothing");
            if !reader.may_pin(&memory, LARGEST) {
                break;
            }
            kept.push(reader.pin(memory).slice(5..LARGEST - 10));
        }
        assert_eq!(kept.len(), 3);
        kept.pop();
        let memory = reader.memory();
        assert!(reader.may_pin(&memory, LARGEST), "one came back");
    }

    #[test]
    fn buffers_that_are_mostly_empty_are_kept_while_there_are_spare_ones() {
        let mut reader = ReadBuffer::new(10 * LARGEST, None);
        full(&mut reader);
        let mut kept = Vec::new();
        for _ in 0..SPARE {
            let memory = reader.memory();
            assert!(reader.may_pin(&memory, WORTH_A_BUFFER));
            kept.push(reader.pin(memory));
        }
        let memory = reader.memory();
        assert!(!reader.may_pin(&memory, LARGEST / 4));
        assert!(reader.may_pin(&memory, LARGEST / 2));
    }

    #[test]
    fn buffers_that_come_back_to_an_idle_conversation_go() {
        let mut reader = ReadBuffer::new(10 * LARGEST, None);
        full(&mut reader);
        let [kept, late] = [(); 2].map(|()| {
            let memory = reader.memory();
            reader.pin(memory)
        });
        drop(kept);
        let spare = |reader: &mut ReadBuffer| reader.pool().spare().buffers.len();
        assert_eq!(spare(&mut reader), 1);
        reader.shrink();
        assert!(matches!(reader.take(), Room::Tiny));
        drop(late);
        assert_eq!(spare(&mut reader), 0);
        // A conversation that goes on keeps them again.
        full(&mut reader);
        let memory = reader.memory();
        drop(reader.pin(memory));
        assert_eq!(spare(&mut reader), 1);
    }
}
