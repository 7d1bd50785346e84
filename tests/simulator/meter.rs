//! The memory that each of the two programs holds, counted by the allocator of this thread.
//!
//! What one program's tasks allocate and free is its own; what stands for the world (streams, disks, the
//! clock, what was promised) is not counted.

use std::cell::Cell;
use std::ops::Deref;

/// Does something whose memory is nobody's.
pub(crate) fn uncounted<R>(call: impl FnOnce() -> R) -> R {
    let mut result = None;
    allocation_counter::opt_out(|| result = Some(call()));
    result.expect("it was called")
}

/// Something that was made while nothing was counted, and goes likewise.
#[derive(Debug)]
pub(crate) struct Uncounted<T>(Option<T>);

impl<T> Uncounted<T> {
    pub(crate) fn new(make: impl FnOnce() -> T) -> Self {
        Self(Some(uncounted(make)))
    }
}

impl<T> Deref for Uncounted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("until it is dropped")
    }
}

impl<T> Drop for Uncounted<T> {
    fn drop(&mut self) {
        uncounted(|| drop(self.0.take()));
    }
}

/// What the programs of a run hold, and held at most.
#[derive(Default)]
pub(crate) struct Meter {
    held: [Cell<i64>; 2],
    peaks: [Cell<i64>; 2],
}

impl Meter {
    /// Counts a call for a program, if it is one's.
    pub(crate) fn count<R>(&self, side: Option<usize>, call: impl FnOnce() -> R) -> R {
        let Some(side) = side else { return call() };
        let mut result = None;
        let counted = allocation_counter::measure(|| result = Some(call()));
        let (held, peak) = (&self.held[side], &self.peaks[side]);
        peak.set(peak.get().max(held.get() + counted.bytes_max as i64));
        held.set(held.get() + counted.bytes_current);
        result.expect("it was called")
    }

    /// Bytes that a program holds.
    pub(crate) fn held(&self, side: usize) -> i64 {
        self.held[side].get()
    }

    /// Bytes that it held at most since this was asked last.
    pub(crate) fn take_peak(&self, side: usize) -> i64 {
        self.peaks[side].replace(self.held[side].get())
    }
}
