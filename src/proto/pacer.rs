//! How much may be under way, and how large a frame may be.
//!
//! The method is that of BBR (Cardwell et al., "BBR: Congestion-Based Congestion Control", 2016)
//! turned to another end: not to fill a path, but to keep every queue below us short, so that chat
//! never waits in one. The delivery rate is the largest of the last rounds, the round trip the
//! smallest of the last seconds.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::time::Time;
use crate::wire::HEADER_LEN;

/// Payload of a bulk frame until a rate is known, and at most.
pub(super) const MAX_FRAME: usize = 16 * 1024;
/// Until a rate is known: one bulk frame, and a little that does not make it wait.
const FIRST_FLIGHT: u64 = MAX_FRAME as u64 + TELLING;
/// A rate is known as soon as this much has been received within one round trip.
const TELLING: u64 = 4 * 1024;
/// Payload of a bulk frame at least.
pub(super) const MIN_FRAME: usize = 1024;
/// What a bulk frame may take of the link. Two of them may be under way beyond what the path
/// holds, so that together they take less than 10 ms.
const FRAME_TIME: Duration = Duration::from_millis(4);
/// What may wait below us beside what the path itself holds, and how much more in a round that
/// asks for it.
const SLACK_MIN: Duration = Duration::from_micros(250);
/// The least of it while somebody talks: on a fast path 250 us is a megabyte to wait behind.
const SLACK_TALKING: u64 = 64 * 1024;
const TALKING: Duration = Duration::from_secs(1);
const SLACK_MAX: Duration = Duration::from_millis(2);
const PROBE_MAX: Duration = Duration::from_millis(4);
/// Slack while the rate still grows; the queue it makes lasts for one round trip.
const SLACK_STARTUP_MAX: Duration = Duration::from_millis(100);
/// One round in this many asks whether the path carries more by now.
const PROBE_EVERY: u32 = 8;
/// Silence beyond a round trip, and what is in flight takes, that is asked about.
const SILENCE: Duration = Duration::from_millis(4);
/// Startup ends after this many rounds in a row without such growth; one that begins later, as the
/// path has become faster, after the first.
const FLAT_ROUNDS: u32 = 3;
/// Rounds for which the largest rate counts.
const RATE_ROUNDS: usize = 10;
/// For how long the smallest round trip counts, at least; twice this at most.
const ROUND_TRIP_WINDOW: Duration = Duration::from_secs(10);
/// Acknowledgements are late when nothing was heard for what three and a half frames take beyond the
/// smallest round trip, within these bounds. They belong together when they come as close as that.
const LATE: Duration = SLACK_MAX;
const LATE_MAX: Duration = Duration::from_millis(30);
const TOGETHER: Duration = Duration::from_micros(200);
/// After so many such bunches in a row the path is taken to go on carrying what it
/// does while nothing is heard of it, but no longer than this: TCP delays its own by 40 ms.
const LATE_BUNCHES: u32 = 4;
const LULL_MAX: Duration = Duration::from_millis(50);
/// How often what it has carried by now is looked at.
const LULL_STEP: Duration = Duration::from_millis(1);
/// Small frames handed to the transport at the same moment share a record up to this size. Larger
/// ones do not, as they would then be acknowledged, and followed by others, in bursts.
const RECORD: u64 = MIN_FRAME as u64;
/// Records at most; then the last one grows. Chat is not held back by what is in flight, and a peer
/// that reports much at first and nothing later leaves much in flight. Frames of 16 KiB fill as many
/// with 32 MiB.
const RECORDS: usize = 2048;

/// What was handed to the transport and is not reported as received.
#[derive(Debug)]
struct Record {
    /// The place in the stream after it, and the counted bytes before it and up to there.
    end: u64,
    counted_start: u64,
    counted_end: u64,
    sent: Time,
    /// When and how much the peer had reported when this was sent, and when the flight it belongs
    /// to began.
    delivered: u64,
    delivered_at: Time,
    first_sent: Time,
    /// Nothing more was there to send, so the rate says little.
    is_app_limited: bool,
}

/// Measures the stream, and says how much bulk it may hold.
#[derive(Debug)]
pub(super) struct Pacer {
    records: VecDeque<Record>,
    /// Counted bytes handed over, and of these reported as received.
    counted: u64,
    delivered: u64,
    delivered_at: Time,
    first_sent: Time,
    /// Largest rates of the last rounds, in bytes a second, the current round first.
    rates: [u64; RATE_ROUNDS],
    /// The largest of these, which each frame asks for.
    rate: u64,
    /// A round ends when what was sent at its beginning has arrived.
    round_end: u64,
    rounds: u32,
    /// The rate that startup has to surpass by a quarter in each round.
    plateau: u64,
    is_starting: bool,
    flat_rounds: u32,
    has_started: bool,
    is_probing: bool,
    round_trip: MinFilter,
    smoothed: Option<Duration>,
    is_app_limited: bool,
    /// Until when our application counts as talking.
    talks_until: Time,
    bunch: Bunch,
    /// Late bunches in a row, the bytes of the last one, and those that came in time since.
    late: u32,
    late_bytes: u64,
    prompt_bytes: u64,
}

/// Acknowledgements that came at one time.
#[derive(Debug)]
struct Bunch {
    last: Time,
    bytes: u64,
    /// How long nothing was heard before, and what was in flight then.
    silence: Duration,
    in_flight: u64,
    is_late: bool,
}

#[derive(Debug, Default)]
struct MinFilter {
    current: Option<Duration>,
    previous: Option<Duration>,
    since: Time,
}

impl MinFilter {
    fn add(&mut self, now: Time, sample: Duration) {
        if self.since.saturating_add(ROUND_TRIP_WINDOW) <= now {
            self.previous = self.current.take();
            self.since = now;
        }
        self.current = Some(self.current.map_or(sample, |least| least.min(sample)));
    }

    fn get(&self) -> Option<Duration> {
        match (self.current, self.previous) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

impl Pacer {
    pub(super) fn new(now: Time) -> Self {
        Self {
            records: VecDeque::new(),
            counted: 0,
            delivered: 0,
            delivered_at: now,
            first_sent: now,
            rates: [0; RATE_ROUNDS],
            rate: 0,
            round_end: 0,
            rounds: 0,
            plateau: 0,
            is_starting: true,
            flat_rounds: 0,
            has_started: false,
            is_probing: false,
            round_trip: MinFilter { since: now, ..MinFilter::default() },
            smoothed: None,
            is_app_limited: false,
            talks_until: now,
            bunch: Bunch {
                last: now,
                bytes: 0,
                silence: Duration::ZERO,
                in_flight: 0,
                is_late: false,
            },
            late: 0,
            late_bytes: 0,
            prompt_bytes: 0,
        }
    }

    /// Bytes a second that the peer received at best lately; 0 until it is known.
    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    /// The smallest round trip of the last ten to twenty seconds.
    pub(super) fn min_round_trip(&self) -> Option<Duration> {
        self.round_trip.get()
    }

    /// The round trip, smoothed as in RFC 6298.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.smoothed
    }

    /// Counted bytes handed to the transport and not reported as received.
    pub(super) fn in_flight(&self) -> u64 {
        self.counted.saturating_sub(self.delivered)
    }

    /// Since when nothing in flight was reported as received.
    pub(super) fn stuck_since(&self) -> Option<Time> {
        (self.in_flight() > 0).then_some(self.delivered_at)
    }

    /// When the silence about what is in flight is longer than the path explains.
    ///
    /// An acknowledgement may be held back below the peer until something comes from us, by Nagle's
    /// algorithm at a relay say, while we have nothing to send before it is there. As with the probe
    /// for a lost tail of RFC 8985 (7), what asks brings it out.
    pub(super) fn silent_at(&self) -> Option<Time> {
        let round_trip = self.round_trip.get().filter(|_| self.in_flight() > 0)?;
        let drained = self.in_flight().saturating_mul(1_000_000).checked_div(self.rate());
        let drained = Duration::from_micros(drained.unwrap_or(0));
        Some(
            self.delivered_at
                .saturating_add(round_trip)
                .saturating_add(drained)
                .saturating_add(SILENCE),
        )
    }

    /// Since when nothing was reported as received.
    pub(super) fn delivered_at(&self) -> Time {
        self.delivered_at
    }

    /// How much may be in flight before one more bulk frame is handed over.
    pub(super) fn allowance(&self, now: Time) -> u64 {
        let lull = now.saturating_duration_since(self.delivered_at).min(LULL_MAX);
        self.flight(now).saturating_add(self.carried_in(lull))
    }

    /// What the path is taken to have carried in a time in which nothing was heard.
    ///
    /// Where acknowledgements come late and many at once, by a timer, through TCP's own delays or a
    /// network that gathers small packets, what the path holds is not all that has to be under way:
    /// with no more the peer gets that once for each bunch, and the less it gets the slower the
    /// path seems. BBR allows for the largest bunch (`extra_acked`), and spreads it by pacing; this
    /// is both in one.
    fn carried_in(&self, lull: Duration) -> u64 {
        if self.late < LATE_BUNCHES {
            return 0;
        }
        let carried = bytes_in(self.rate(), lull);
        match (self.is_starting, self.is_probing) {
            (true, _) => carried.saturating_mul(2),
            // Else no more would ever be seen to arrive than was sent.
            (false, true) => {
                carried.saturating_add(bytes_in(self.rate(), part(lull, 8).min(PROBE_MAX)))
            }
            (false, false) => carried,
        }
    }

    /// When more bulk may go although nothing was heard; `None` if it may now, or not by itself.
    pub(super) fn allows_more_at(&self, now: Time) -> Option<Time> {
        if self.in_flight() <= self.allowance(now) {
            return None;
        }
        let whole = self.carried_in(LULL_MAX);
        let missing = self.in_flight().saturating_sub(self.flight(now));
        let carried = (missing < whole).then(|| {
            let whole_micros = u64::try_from(LULL_MAX.as_micros()).unwrap_or(u64::MAX);
            let micros = missing.saturating_mul(whole_micros).div_ceil(whole.max(1));
            let at = self.delivered_at.saturating_add(Duration::from_micros(micros));
            // Rounding makes it a little early now and then: one more step will do.
            at.max(now.saturating_add(LULL_STEP))
        });
        // Once nobody talks any more the slack is what it was.
        let quiet = self.talks_until;
        let waits_for_quiet =
            now < quiet && self.in_flight() <= self.flight(quiet).saturating_add(whole);
        let quiet = waits_for_quiet.then_some(quiet);
        carried.into_iter().chain(quiet).min()
    }

    /// What the path itself holds, and what may wait beside it.
    fn flight(&self, now: Time) -> u64 {
        let rate = self.rate();
        let Some(round_trip) = self.round_trip.get().filter(|_| rate > 0) else { return 0 };
        let path = bytes_in(rate, round_trip).saturating_add(self.slack(now, rate, round_trip));
        // The round trip is that of a small frame: while a large one is on its way, the next has
        // to be under way already.
        let frame = self.frame_len() as u64;
        let two_frames = frame.saturating_add(HEADER_LEN as u64);
        path.saturating_add(frame.saturating_sub(frame / 4)).max(two_frames)
    }

    fn slack(&self, now: Time, rate: u64, round_trip: Duration) -> u64 {
        let is_probing = self.is_probing && !self.is_starting;
        let probe = if is_probing { part(round_trip, 8).min(PROBE_MAX) } else { Duration::ZERO };
        let of_path = if self.is_starting {
            round_trip.min(SLACK_STARTUP_MAX)
        } else {
            part(round_trip, 16).min(SLACK_MAX)
        };
        let least = bytes_in(rate, SLACK_MIN);
        let least = if now < self.talks_until { least.min(SLACK_TALKING) } else { least };
        bytes_in(rate, of_path).max(least).saturating_add(bytes_in(rate, probe))
    }

    /// Payload of the next bulk frame.
    pub(super) fn frame_len(&self) -> usize {
        match self.rate() {
            0 => MAX_FRAME,
            rate => usize::try_from(bytes_in(rate, FRAME_TIME))
                .unwrap_or(usize::MAX)
                .clamp(MIN_FRAME, MAX_FRAME),
        }
    }

    /// Whether a bulk frame of `len` bytes may go, with `planned` counted bytes before it in the
    /// plan.
    pub(super) fn may_send(&self, now: Time, planned: u64, len: usize) -> bool {
        let in_flight = self.in_flight().saturating_add(planned);
        let is_unknown = self.rate() == 0;
        in_flight == 0
            || (is_unknown && in_flight.saturating_add(len as u64) <= FIRST_FLIGHT)
            || (!is_unknown && in_flight <= self.allowance(now))
    }

    /// Chat goes to the transport.
    pub(super) fn on_chat(&mut self, now: Time) {
        self.talks_until = now.saturating_add(TALKING);
    }

    /// Whether nothing is left to send that could be sent.
    pub(super) fn set_app_limited(&mut self, is_app_limited: bool) {
        self.is_app_limited = is_app_limited;
    }

    /// A counted frame of `len` bytes goes to the transport, and will end at `end`.
    pub(super) fn on_sent(&mut self, now: Time, end: u64, len: u64) {
        if self.in_flight() == 0 {
            // A new flight: the silence before it is no part of the rate.
            self.first_sent = now;
            self.delivered_at = now;
        }
        self.counted = self.counted.saturating_add(len);
        let is_full = self.records.len() >= RECORDS;
        if let Some(last) = self.records.back_mut() {
            let size = self.counted.saturating_sub(last.counted_start);
            let is_same = last.sent == now && size <= RECORD && last.delivered == self.delivered;
            if is_same || is_full {
                last.end = end;
                last.counted_end = self.counted;
                return;
            }
        }
        self.records.push_back(Record {
            end,
            counted_start: self.counted.saturating_sub(len),
            counted_end: self.counted,
            sent: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            is_app_limited: self.is_app_limited,
        });
    }

    /// The peer has received the stream up to `received`.
    pub(super) fn on_received(&mut self, now: Time, received: u64) {
        let mut newest = None;
        while self.records.front().is_some_and(|record| record.end <= received) {
            newest = self.records.pop_front();
        }
        let Some(record) = newest else { return };
        self.note_bunch(now, record.counted_end.saturating_sub(self.delivered));
        self.delivered = record.counted_end;
        self.delivered_at = now;
        self.first_sent = record.sent;
        self.add_round_trip(now, now.saturating_duration_since(record.sent));
        let acknowledging = micros_since(now, record.delivered_at);
        let sending = micros_since(record.sent, record.first_sent);
        let interval = acknowledging.max(sending);
        let bytes = self.delivered.saturating_sub(record.delivered);
        let says_little = record.is_app_limited && (bytes < TELLING || self.rate() > 0);
        self.add_rate(rate(bytes, interval), says_little);
        if self.delivered >= self.round_end {
            self.end_round(record.is_app_limited);
        }
        if self.records.is_empty() && self.records.capacity() > 16 {
            self.records.shrink_to(16);
        }
    }

    /// So much was reported as received: finds out whether that came late, and with more.
    fn note_bunch(&mut self, now: Time, bytes: u64) {
        let in_flight = self.in_flight();
        let silence = now.saturating_duration_since(self.delivered_at);
        let bunch = &mut self.bunch;
        if now <= bunch.last.saturating_add(TOGETHER) {
            bunch.bytes = bunch.bytes.saturating_add(bytes);
            bunch.last = now;
        } else {
            if !bunch.is_late {
                self.prompt_bytes = self.prompt_bytes.saturating_add(bunch.bytes);
            }
            *bunch = Bunch { last: now, bytes, silence, in_flight, is_late: false };
        }
        let bunch_silence = bunch.silence;
        if self.prompt_bytes > self.late_bytes {
            self.late = 0;
        }
        let Some(round_trip) = self.round_trip.get() else { return };
        if bunch_silence < round_trip.saturating_add(LATE) {
            return;
        }
        // On a slow path each frame takes as long, and two often come in one segment.
        let frame = self.frame_len() as u64;
        let frames = frame.saturating_mul(3_500_000).checked_div(self.rate()).unwrap_or(0);
        let late = Duration::from_micros(frames).clamp(LATE, LATE_MAX);
        let bunch = &mut self.bunch;
        let least = frame.saturating_add(frame / 2).max(bunch.in_flight / 2);
        let late = round_trip.saturating_add(late);
        if bunch.silence < late || bunch.bytes <= least {
            return;
        }
        self.late_bytes = bunch.bytes;
        if !core::mem::replace(&mut bunch.is_late, true) {
            self.late = self.late.saturating_add(1);
            self.prompt_bytes = 0;
        }
    }

    /// Another measure of the round trip, from a ping or the handshake.
    pub(super) fn add_round_trip(&mut self, now: Time, sample: Duration) {
        let sample = sample.max(Duration::from_micros(1));
        self.round_trip.add(now, sample);
        self.smoothed = Some(match self.smoothed {
            None => sample,
            Some(old) => part(old.saturating_mul(7).saturating_add(sample), 8),
        });
    }

    fn add_rate(&mut self, sample: u64, says_little: bool) {
        let rate = self.rate();
        // The path carries at least this much, but how much more is not known.
        if says_little && (rate == 0 || sample <= rate) {
            return;
        }
        if let Some(current) = self.rates.first_mut() {
            *current = sample.max(*current);
            self.rate = rate.max(*current);
        }
    }

    fn end_round(&mut self, is_app_limited: bool) {
        self.round_end = self.counted;
        if is_app_limited {
            // Nothing was learned: the rates of busier rounds go on counting.
            return;
        }
        self.rounds = self.rounds.wrapping_add(1);
        let rate = self.rate();
        let grows = rate >= self.plateau.saturating_add(self.plateau / 4);
        self.flat_rounds = if grows { 0 } else { self.flat_rounds.saturating_add(1) };
        let patience = if self.has_started { 1 } else { FLAT_ROUNDS };
        self.is_starting = self.flat_rounds < patience;
        self.has_started |= !self.is_starting;
        // A probe that found more is followed by another.
        let has_found = self.is_probing && rate >= self.plateau.saturating_add(self.plateau / 20);
        self.is_probing = has_found || self.rounds % PROBE_EVERY == 0;
        if grows || has_found {
            self.plateau = rate;
        }
        self.rates.rotate_right(1);
        if let Some(current) = self.rates.first_mut() {
            *current = 0;
        }
        self.rate = self.rates.iter().copied().max().unwrap_or(0);
        self.plateau = self.plateau.min(self.rate()).max(1);
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.records.shrink_to_fit();
    }

    pub(super) fn memory_usage(&self) -> usize {
        self.records.capacity().saturating_mul(size_of::<Record>())
    }
}

/// In whole numbers, as this is done for each line.
fn micros_since(now: Time, earlier: Time) -> u64 {
    now.as_micros().saturating_sub(earlier.as_micros())
}

fn rate(bytes: u64, micros: u64) -> u64 {
    bytes.saturating_mul(1_000_000).checked_div(micros.max(1)).unwrap_or(0)
}

fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into())
}

fn part(duration: Duration, divisor: u32) -> Duration {
    duration.checked_div(divisor).unwrap_or_default()
}

fn bytes_in(rate: u64, duration: Duration) -> u64 {
    rate.saturating_mul(micros(duration)) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_frames_of_the_size_in_use_may_always_be_under_way() {
        let mut pacer = Pacer::new(Time::ZERO);
        let mut now = Time::ZERO;
        let mut end = 0;
        // A quick path to a peer that acknowledges late, one frame each 10 ms.
        pacer.add_round_trip(now, Duration::from_micros(100));
        for _ in 0..100 {
            end += 2008;
            pacer.on_sent(now, end, 2008);
            now = now.saturating_add(Duration::from_millis(10));
            pacer.on_received(now, end);
        }
        let frame = (pacer.frame_len() + HEADER_LEN) as u64;
        assert_eq!(frame, 1032);
        pacer.on_sent(now, end + frame, frame);
        assert!(
            pacer.may_send(now, 0, 1024),
            "one frame of {frame} bytes is under way, and no second may be"
        );
        assert!(!pacer.may_send(now, frame, 1024));
    }

    /// As the simulator's seed 34,086,963 found it.
    #[test]
    fn what_the_path_is_taken_to_have_carried_may_go_when_that_was_said() {
        for (is_starting, rate) in [(true, 149_937), (false, 149_937), (false, 999_999_937)] {
            let mut pacer = Pacer::new(Time::ZERO);
            let now = Time::from_micros(1_000_000);
            pacer.add_round_trip(now, Duration::from_millis(1));
            (pacer.rate, pacer.is_starting, pacer.late) = (rate, is_starting, LATE_BUNCHES);
            pacer.delivered_at = now;
            let (flight, whole) = (pacer.flight(now), pacer.carried_in(LULL_MAX));
            for missing in (1..whole).step_by(1 + whole as usize / 5000) {
                pacer.counted = flight + missing;
                assert!(!pacer.may_send(now, 0, MIN_FRAME));
                let mut at = pacer.allows_more_at(now).expect("in the end");
                if !pacer.may_send(at, 0, MIN_FRAME) {
                    at = pacer.allows_more_at(at).expect("once more");
                }
                assert!(pacer.may_send(at, 0, MIN_FRAME), "{missing} at {rate}");
            }
            pacer.counted = flight + whole + 1;
            assert_eq!(pacer.allows_more_at(now), None);
        }
    }

    #[test]
    fn bulk_that_waits_as_somebody_talks_waits_no_longer_than_that() {
        let mut pacer = Pacer::new(Time::ZERO);
        let mut now = Time::ZERO;
        let (frame, mut end) = ((MAX_FRAME + HEADER_LEN) as u64, 0);
        // A gigabyte a second: what 250 us carry is more than may wait while somebody talks.
        pacer.add_round_trip(now, Duration::from_micros(100));
        for _ in 0..100 {
            for _ in 0..16 {
                end += frame;
                pacer.on_sent(now, end, frame);
            }
            now = now.saturating_add(Duration::from_micros(262));
            pacer.on_received(now, end);
        }
        let mut fill = |pacer: &mut Pacer, now: Time| {
            while pacer.may_send(now, 0, MAX_FRAME) {
                end += frame;
                pacer.on_sent(now, end, frame);
            }
        };
        pacer.on_chat(now);
        fill(&mut pacer, now);
        let quiet = now.saturating_add(TALKING);
        assert_eq!(pacer.allows_more_at(now), Some(quiet));
        let before = Time::from_micros(quiet.as_micros() - 1);
        assert!(!pacer.may_send(before, 0, MAX_FRAME));
        assert!(pacer.may_send(quiet, 0, MAX_FRAME));
        // What is under way then waits for the peer alone, whoever talks.
        fill(&mut pacer, quiet);
        assert_eq!(pacer.allows_more_at(quiet), None);
        pacer.on_chat(quiet);
        assert_eq!(pacer.allows_more_at(quiet), None);
    }
}
