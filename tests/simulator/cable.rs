//! Streams between the two sides: slow, in pieces, cut at any byte.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use duologue::testing::SplitMix64;
use duologue::time::{Time, Timer, VirtualClock};
use futures::io::{AsyncRead, AsyncWrite};

use super::clock::Alarm;
use super::meter::uncounted;
use super::profile::FIRST_OF_LOOKS;

/// After so many pieces of a run each is four times as large at most: the smallest pieces show what they
/// show early, and no run has to wait for them.
const PIECES: u64 = 700;
/// The largest that they get.
const LARGEST: usize = 64 << 10;

/// What streams are like.
#[derive(Debug, Clone)]
pub(crate) struct Quality {
    /// Bytes that one call moves at most, at first.
    pub(crate) segment: usize,
    /// Bytes that are under way at most, at first.
    pub(crate) capacity: usize,
    pub(crate) latency: Duration,
    /// Bytes a second.
    pub(crate) rate: u64,
    /// Whether more than the first slice of a vectored write is looked at.
    pub(crate) writes_vectors: bool,
    /// Calls in a hundred that are interrupted, and that are pending although they need not be.
    pub(crate) interruptions: u64,
    pub(crate) hesitations: u64,
}

#[derive(Default)]
struct Pipe {
    /// What is written goes nowhere.
    is_shut: bool,
    segments: VecDeque<(Time, Vec<u8>)>,
    queued: usize,
    last: Time,
    reader: Option<Waker>,
    writer: Option<Waker>,
    is_ended: bool,
}

/// What is counted of all streams of a run.
#[derive(Default)]
pub(crate) struct Counts {
    /// Pieces that were moved.
    pieces: Cell<u64>,
    /// Calls that moved nothing count, too.
    counts_calls: bool,
    /// Who has waited for room since pieces grew last.
    blocked: RefCell<Vec<Waker>>,
    /// What was done to streams and to those who have them, so that conversations may end.
    pub(crate) harms: Cell<u64>,
}

impl Counts {
    pub(crate) fn new(seed: u64) -> Self {
        Self { counts_calls: seed < FIRST_OF_LOOKS, ..Self::default() }
    }
}

/// Both directions of a stream.
pub(crate) struct Cable {
    /// From the side of this number.
    pipes: [Pipe; 2],
    is_broken: [bool; 2],
    /// Nobody hears any more of the other side, and nobody is told.
    is_silent: bool,
    stalled_until: Time,
    /// Bytes until it breaks.
    left: Option<u64>,
    /// Something was done to it, or to a program at one of its ends.
    pub(crate) is_harmed: bool,
    /// What had been done to others before it was made.
    pub(crate) born: u64,
    pub(crate) carried: u64,
    counts: Rc<Counts>,
}

/// One end.
pub(crate) struct Stream {
    cable: Rc<RefCell<Cable>>,
    /// Which stream of the run it is.
    pub(crate) number: usize,
    side: usize,
    quality: Quality,
    clock: VirtualClock,
    timer: Alarm,
    random: SplitMix64,
}

pub(crate) fn cable(
    clock: &VirtualClock,
    quality: &Quality,
    left: Option<u64>,
    counts: &Rc<Counts>,
    (number, seed): (usize, u64),
) -> (Rc<RefCell<Cable>>, [Stream; 2]) {
    let cable = Rc::new(RefCell::new(Cable {
        pipes: Default::default(),
        is_broken: [false; 2],
        is_silent: false,
        stalled_until: Time::ZERO,
        left,
        is_harmed: false,
        born: counts.harms.get(),
        carried: 0,
        counts: Rc::clone(counts),
    }));
    let end = |side: usize| Stream {
        cable: Rc::clone(&cable),
        number,
        side,
        quality: quality.clone(),
        clock: clock.clone(),
        timer: Alarm::new(clock),
        random: SplitMix64::new(seed ^ side as u64),
    };
    let ends = [end(0), end(1)];
    (cable, ends)
}

impl Cable {
    /// Something is done to it that may end what goes over it.
    pub(crate) fn harm(&mut self) {
        self.is_harmed = true;
        self.counts.harms.set(self.counts.harms.get() + 1);
    }

    /// Both ends find it broken, and what was under way is lost.
    pub(crate) fn cut(&mut self) {
        self.harm();
        self.is_broken = [true; 2];
        self.wake();
    }

    /// Nothing arrives any more, and nobody is told.
    pub(crate) fn silence(&mut self) {
        self.harm();
        self.is_silent = true;
    }

    /// Nothing arrives until then.
    pub(crate) fn stall(&mut self, until: Time) {
        self.harm();
        self.stalled_until = until;
        if !self.counts.counts_calls {
            // It may be shorter than the one before.
            self.wake();
        }
    }

    /// One side hears the end of the stream after what is under way; what it writes arrives all the same.
    pub(crate) fn shut(&mut self, from: usize) {
        self.harm();
        let pipe = &mut self.pipes[from];
        (pipe.is_ended, pipe.is_shut) = (true, true);
        pipe.wake();
    }

    /// Whether it will carry what is written.
    pub(crate) fn is_sound(&self, now: Time) -> bool {
        let is_stalled = self.stalled_until > now;
        let is_whole = !self.is_broken[0] && !self.is_broken[1];
        is_whole && !self.is_silent && !is_stalled && !self.pipes.iter().any(|pipe| pipe.is_shut)
    }

    /// It will not break by itself any more.
    pub(crate) fn be_calm(&mut self) {
        self.left = None;
    }

    /// What one call moves at most, and what is under way at most, in bytes.
    fn limits(&self, quality: &Quality) -> (u64, usize) {
        let pieces = self.counts.pieces.get();
        self.counts.pieces.set(pieces + u64::from(self.counts.counts_calls));
        let doublings = 2 * (pieces / PIECES).min(8);
        let grown = |bytes: usize| (bytes << doublings).min(LARGEST.max(bytes));
        (grown(quality.segment) as u64, grown(quality.capacity))
    }

    /// A piece was moved. Who waits for room hears of it when pieces grow.
    fn on_moved(&mut self) {
        if self.counts.counts_calls {
            return;
        }
        let pieces = self.counts.pieces.get() + 1;
        self.counts.pieces.set(pieces);
        if pieces % PIECES == 0 {
            uncounted(|| self.counts.blocked.take().into_iter().for_each(Waker::wake));
        }
    }

    fn wake(&mut self) {
        for pipe in &mut self.pipes {
            pipe.wake();
        }
    }
}

impl Pipe {
    /// Takes so many bytes at most, and says how many.
    fn push(&mut self, slices: &[IoSlice<'_>], most: usize, now: Time, quality: &Quality) -> usize {
        let mut bytes = Vec::new();
        for slice in slices {
            bytes.extend_from_slice(&slice[..slice.len().min(most - bytes.len())]);
        }
        let len = bytes.len();
        if self.is_shut {
            return len;
        }
        let travel = Duration::from_micros(len as u64 * 1_000_000 / quality.rate);
        let from = self.last.max(now.saturating_add(quality.latency));
        self.last = from.saturating_add(travel);
        self.queued += len;
        self.segments.push_back((self.last, bytes));
        len
    }

    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }
}

impl Stream {
    /// Whether a call fails or waits for no reason.
    fn hesitate<T>(&mut self, cx: &Context<'_>) -> Option<Poll<io::Result<T>>> {
        if self.random.percent(self.quality.interruptions) {
            return Some(Poll::Ready(Err(ErrorKind::Interrupted.into())));
        }
        if self.random.percent(self.quality.hesitations) {
            cx.waker().wake_by_ref();
            return Some(Poll::Pending);
        }
        None
    }

    fn write(&mut self, cx: &Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(hesitation) = self.hesitate(cx) {
            return hesitation;
        }
        let now = self.clock.now();
        let mut cable = self.cable.borrow_mut();
        if cable.is_broken[self.side] {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let (quality, left) = (&self.quality, cable.left);
        let (segment, capacity) = cable.limits(quality);
        let pipe = &mut cable.pipes[self.side];
        let room = capacity.saturating_sub(pipe.queued);
        if room == 0 {
            pipe.writer = Some(cx.waker().clone());
            if !cable.counts.counts_calls {
                uncounted(|| cable.counts.blocked.borrow_mut().push(cx.waker().clone()));
            }
            return Poll::Pending;
        }
        let most = room.min(1 + self.random.below(segment) as usize);
        let most = most.min(left.map_or(usize::MAX, |left| left as usize));
        let len = uncounted(|| pipe.push(slices, most, now, quality));
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        cable.carried += len as u64;
        cable.on_moved();
        if let Some(left) = &mut cable.left {
            *left -= len as u64;
            if *left == 0 {
                cable.left = None;
                cable.cut();
            }
        }
        Poll::Ready(Ok(len))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Some(hesitation) = this.hesitate(cx) {
            return hesitation;
        }
        loop {
            let now = this.clock.now();
            let mut cable = this.cable.borrow_mut();
            if cable.is_broken[this.side] {
                return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
            }
            let (is_silent, stalled_until) = (cable.is_silent, cable.stalled_until);
            let (largest, _) = cable.limits(&this.quality);
            let pipe = &mut cable.pipes[1 - this.side];
            pipe.reader = Some(cx.waker().clone());
            if is_silent {
                return Poll::Pending;
            }
            let Some((arrival, segment)) = pipe.segments.front_mut() else {
                return if pipe.is_ended { Poll::Ready(Ok(0)) } else { Poll::Pending };
            };
            let due = (*arrival).max(stalled_until);
            if due > now {
                drop(cable);
                Pin::new(&mut this.timer).reset(due);
                if Pin::new(&mut this.timer).poll(cx).is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            let most = 1 + this.random.below(largest) as usize;
            let len = buffer.len().min(segment.len()).min(most);
            buffer[..len].copy_from_slice(&segment[..len]);
            segment.drain(..len);
            if segment.is_empty() {
                uncounted(|| drop(pipe.segments.pop_front()));
            }
            pipe.queued -= len;
            if let Some(writer) = pipe.writer.take() {
                writer.wake();
            }
            cable.on_moved();
            return Poll::Ready(Ok(len));
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, &[IoSlice::new(buffer)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = if self.quality.writes_vectors { slices.len() } else { 1 };
        self.write(cx, &slices[..count.min(slices.len())])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let pipe = &mut self.cable.borrow_mut().pipes[self.side];
        pipe.is_ended = true;
        pipe.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut cable = self.cable.borrow_mut();
        cable.is_broken[self.side] = true;
        cable.pipes[self.side].is_ended = true;
        // What it would still have to read can go nowhere.
        let has_unread = cable.pipes[1 - self.side].queued > 0;
        if has_unread && !cable.is_silent {
            cable.is_broken = [true; 2];
        }
        cable.wake();
    }
}
