use core::time::Duration;
use std::collections::VecDeque;

use crate::time::Time;

/// What lies between two machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkOptions {
    /// From the end of a segment's transmission to its arrival.
    pub latency: Duration,
    /// Bytes a second; `None` is without limit.
    pub rate: Option<u64>,
    /// Bytes that arrive at a time at most.
    pub segment: usize,
    /// Bytes that the transport takes ahead of the link: the sender's socket buffer.
    pub buffer: usize,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self { latency: Duration::from_millis(1), rate: None, segment: 64 * 1024, buffer: 4 << 20 }
    }
}

/// One direction of a link.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    segments: VecDeque<Segment>,
    /// When the link has carried all that was written.
    free_at: Time,
    /// Bytes ever written.
    pub(super) written: u64,
    /// What was written and when, if anybody listens.
    pub(super) tap: Option<Vec<(Time, Vec<u8>)>>,
}

#[derive(Debug)]
struct Segment {
    bytes: Vec<u8>,
    /// When it has left the buffer, and when it is there.
    left: Time,
    arrives: Time,
}

impl Pipe {
    /// Takes what fits into the buffer of `bytes`.
    pub(super) fn write(&mut self, now: Time, options: &LinkOptions, bytes: &[u8]) -> usize {
        let room = options.buffer.saturating_sub(self.buffered(now));
        let taken = bytes.get(..bytes.len().min(room)).unwrap_or_default();
        for segment in taken.chunks(options.segment.max(1)) {
            self.free_at = self.free_at.max(now).saturating_add(time_for(options, segment.len()));
            self.segments.push_back(Segment {
                bytes: segment.to_vec(),
                left: self.free_at,
                arrives: self.free_at.saturating_add(options.latency),
            });
        }
        self.written = self.written.saturating_add(taken.len() as u64);
        if let Some(tap) = self.tap.as_mut().filter(|_| !taken.is_empty()) {
            tap.push((now, taken.to_vec()));
        }
        taken.len()
    }

    /// Bytes that wait for the link.
    pub(super) fn buffered(&self, now: Time) -> usize {
        self.segments
            .iter()
            .rev()
            .take_while(|segment| segment.left > now)
            .fold(0, |sum, segment| sum.saturating_add(segment.bytes.len()))
    }

    /// The next segment that is there.
    pub(super) fn read(&mut self, now: Time) -> Option<Vec<u8>> {
        if self.segments.front()?.arrives > now {
            return None;
        }
        self.segments.pop_front().map(|segment| segment.bytes)
    }

    pub(super) fn next_arrival(&self) -> Option<Time> {
        self.segments.front().map(|segment| segment.arrives)
    }

    /// When there is room again in a full buffer.
    pub(super) fn next_room(&self, now: Time) -> Option<Time> {
        self.segments.iter().map(|segment| segment.left).find(|&left| left > now)
    }
}

fn time_for(options: &LinkOptions, len: usize) -> Duration {
    match options.rate {
        None | Some(0) => Duration::ZERO,
        Some(rate) => {
            let nanos = (len as u128).saturating_mul(1_000_000_000).div_ceil(u128::from(rate));
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        }
    }
}
