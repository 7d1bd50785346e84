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
    /// What arrives does so at multiples of this only.
    pub(super) beat: Duration,
    pub(super) nagle: Option<Nagle>,
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

/// What is kept back by a sender with Nagle's algorithm (RFC 896) while the receiver's kernel delays
/// the acknowledgement of what is there (RFC 1122, 4.2.3.2).
#[derive(Debug, Default)]
pub(super) struct Nagle {
    held: Vec<u8>,
    /// When segments arrive that have not; one that has, but is not acknowledged; when the sender
    /// hears of so many that are.
    coming: VecDeque<Time>,
    lone: Option<Time>,
    heard: VecDeque<(Time, usize)>,
    unheard: usize,
}

impl Nagle {
    /// The receiver's kernel has what arrived by now. It acknowledges each second segment at once.
    fn arrive(&mut self, now: Time, latency: Duration) {
        while let Some(at) = self.coming.front().copied().filter(|at| *at <= now) {
            self.coming.pop_front();
            match self.lone.take() {
                Some(_) => self.heard.push_back((at.saturating_add(latency), 2)),
                None => self.lone = Some(at),
            }
        }
        if let Some(at) = self.lone.map(|at| at.saturating_add(DELAYED)).filter(|at| *at <= now) {
            self.lone = None;
            self.heard.push_back((at.saturating_add(latency), 1));
        }
    }

    fn hear(&mut self, now: Time) {
        while let Some((_, count)) = self.heard.front().copied().filter(|(at, _)| *at <= now) {
            self.heard.pop_front();
            self.unheard = self.unheard.saturating_sub(count);
        }
    }

    /// When more may go, if something is held.
    fn next(&self) -> Option<Time> {
        let heard = self.heard.front().map(|(at, _)| *at);
        let lone = self.lone.map(|at| at.saturating_add(DELAYED));
        heard.into_iter().chain(lone).min().filter(|_| !self.held.is_empty())
    }
}

/// What Linux delays an acknowledgement by.
const DELAYED: Duration = Duration::from_millis(40);

impl Pipe {
    /// Takes what fits into the buffer of `bytes`.
    pub(super) fn write(&mut self, now: Time, options: &LinkOptions, bytes: &[u8]) -> usize {
        let room = options.buffer.saturating_sub(self.buffered(now));
        let taken = bytes.get(..bytes.len().min(room)).unwrap_or_default();
        if let Some(nagle) = &mut self.nagle {
            nagle.held.extend_from_slice(taken);
            self.let_go(now, options);
        } else {
            for segment in taken.chunks(options.segment.max(1)) {
                self.push(now, options, segment.to_vec());
            }
        }
        self.written = self.written.saturating_add(taken.len() as u64);
        if let Some(tap) = self.tap.as_mut().filter(|_| !taken.is_empty()) {
            tap.push((now, taken.to_vec()));
        }
        taken.len()
    }

    /// Puts a segment on the link; when it arrives.
    fn push(&mut self, now: Time, options: &LinkOptions, bytes: Vec<u8>) -> Time {
        self.free_at = self.free_at.max(now).saturating_add(time_for(options, bytes.len()));
        let mut arrives = self.free_at.saturating_add(options.latency);
        let beat = u64::try_from(self.beat.as_micros()).unwrap_or(u64::MAX);
        if let Some(beats) = arrives
            .as_micros()
            .checked_add(beat.saturating_sub(1))
            .and_then(|at| at.checked_div(beat))
        {
            arrives = Time::from_micros(beats.saturating_mul(beat));
        }
        self.segments.push_back(Segment { bytes, left: self.free_at, arrives });
        arrives
    }

    /// Sends what Nagle's algorithm lets go: whole segments, and less when all is acknowledged.
    fn let_go(&mut self, now: Time, options: &LinkOptions) {
        let Some(mut nagle) = self.nagle.take() else { return };
        let segment = options.segment.max(1);
        nagle.arrive(now, options.latency);
        nagle.hear(now);
        while nagle.held.len() >= segment || (nagle.unheard == 0 && !nagle.held.is_empty()) {
            let rest = nagle.held.split_off(nagle.held.len().min(segment));
            let bytes = core::mem::replace(&mut nagle.held, rest);
            let arrives = self.push(now, options, bytes);
            nagle.coming.push_back(arrives);
            nagle.unheard = nagle.unheard.saturating_add(1);
        }
        self.nagle = Some(nagle);
    }

    /// The receiver has sent something, which acknowledges what it has.
    pub(super) fn acknowledge(&mut self, now: Time, options: &LinkOptions) {
        if let Some(nagle) = &mut self.nagle {
            nagle.arrive(now, options.latency);
            if nagle.lone.take().is_some() {
                nagle.heard.push_back((now.saturating_add(options.latency), 1));
            }
        }
    }

    /// Bytes that wait for the link.
    pub(super) fn buffered(&self, now: Time) -> usize {
        let held = self.nagle.as_ref().map_or(0, |nagle| nagle.held.len());
        self.segments
            .iter()
            .rev()
            .take_while(|segment| segment.left > now)
            .fold(held, |sum, segment| sum.saturating_add(segment.bytes.len()))
    }

    /// The next segment that is there.
    pub(super) fn read(&mut self, now: Time, options: &LinkOptions) -> Option<Vec<u8>> {
        self.let_go(now, options);
        if self.segments.front()?.arrives > now {
            return None;
        }
        self.segments.pop_front().map(|segment| segment.bytes)
    }

    pub(super) fn next_arrival(&self) -> Option<Time> {
        let arrives = self.segments.front().map(|segment| segment.arrives);
        arrives.into_iter().chain(self.nagle.as_ref().and_then(Nagle::next)).min()
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
