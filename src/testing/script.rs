use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::vec::Vec;

use super::SplitMix64;

/// What happens to one call of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: the call goes through.
    Pass,
    /// At most this many bytes are moved (at least one).
    Split(usize),
    /// The call answers `Pending` and wakes its task at once, without reason.
    SpuriousWake,
    /// The call answers `Pending` until this much time has passed.
    Delay(Duration),
    /// The call answers `Pending`, and no later call in this direction ever goes through.
    Stall,
    /// The call fails with this error; the next one goes on with the script.
    Fail(#[cfg_attr(feature = "arbitrary", arbitrary(with = arbitrary_kind))] io::ErrorKind),
    /// From now on reads find the end of the stream, and writes a `ConnectionReset`.
    Cut,
    /// A defect: the call claims to have moved one byte more than it was offered.
    Overrun,
    /// A read finds the end of the stream, once; bytes come after it. A write takes nothing.
    Zero,
}

#[cfg(feature = "arbitrary")]
fn arbitrary_kind(input: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<io::ErrorKind> {
    input
        .choose(&[
            io::ErrorKind::Interrupted,
            io::ErrorKind::WouldBlock,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::TimedOut,
            io::ErrorKind::Other,
        ])
        .copied()
}

/// What happens to the calls of a [`Faulty`](super::Faulty) stream, one [`Fault`] a call and
/// direction; when a list is used up, calls go through.
///
/// # Examples
///
/// ```
/// use duologue::testing::{Fault, Profile, Script};
///
/// let by_hand = Script::new().reads([Fault::Split(1)]).writes([Fault::Pass, Fault::Cut]);
/// let drawn = Script::seeded(42, &Profile::benign());
/// assert_eq!(drawn, Script::seeded(42, &Profile::benign()));
/// # let _ = by_hand;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Script {
    pub(super) reads: VecDeque<Fault>,
    pub(super) writes: VecDeque<Fault>,
}

impl Script {
    /// A script in which nothing happens.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends faults for reads.
    #[must_use]
    pub fn reads(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.reads.extend(faults);
        self
    }

    /// Appends faults for writes, flushes and closes.
    #[must_use]
    pub fn writes(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.writes.extend(faults);
        self
    }

    /// Draws a script from a seed: the same seed and profile give the same script for ever.
    pub fn seeded(seed: u64, profile: &Profile) -> Self {
        let mut random = SplitMix64::new(seed);
        let kinds = profile.draw_kinds(&mut random);
        let mut draw = || -> VecDeque<Fault> {
            (0..profile.calls).map(|_| profile.draw(&kinds, &mut random)).collect()
        };
        Self { reads: draw(), writes: draw() }
    }
}

/// Which faults [`Script::seeded`] draws from, and how many.
///
/// For each seed every kind that the profile allows is switched on or off as a whole ("swarm
/// testing"), so that some scripts are all splits and others all delays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    calls: usize,
    max_delay: Duration,
    ends: bool,
    defects: bool,
}

impl Profile {
    /// What every transport may do at any time: splits of 1 byte to 64 KiB, spurious wakes,
    /// interruptions, delays of up to 1 s; 256 calls each way.
    pub const fn benign() -> Self {
        Self { calls: 256, max_delay: Duration::from_secs(1), ends: false, defects: false }
    }

    /// As [`benign`](Self::benign), and the connection may stall, fail or be cut.
    pub const fn failing() -> Self {
        Self { ends: true, ..Self::benign() }
    }

    /// As [`failing`](Self::failing), and the transport may break the contract of its traits.
    pub const fn broken() -> Self {
        Self { defects: true, ..Self::failing() }
    }

    /// Draws this many faults each way.
    #[must_use]
    pub const fn calls(mut self, calls: usize) -> Self {
        self.calls = calls;
        self
    }

    /// Draws delays of up to `limit`.
    #[must_use]
    pub const fn max_delay(mut self, limit: Duration) -> Self {
        self.max_delay = limit;
        self
    }

    fn draw_kinds(&self, random: &mut SplitMix64) -> Vec<Kind> {
        let mut kinds = std::vec![Kind::Pass];
        let optional = [Kind::Split, Kind::SpuriousWake, Kind::Delay, Kind::Interrupt]
            .into_iter()
            .chain([Kind::End].into_iter().filter(|_| self.ends))
            .chain([Kind::Defect].into_iter().filter(|_| self.defects));
        kinds.extend(optional.filter(|_| random.percent(50)));
        kinds
    }

    fn draw(&self, kinds: &[Kind], random: &mut SplitMix64) -> Fault {
        let index = usize::try_from(random.below(kinds.len() as u64)).unwrap_or_default();
        match kinds.get(index).unwrap_or(&Kind::Pass) {
            Kind::Pass => Fault::Pass,
            Kind::Split => {
                Fault::Split(usize::try_from(random.log_uniform(64 * 1024)).unwrap_or(usize::MAX))
            }
            Kind::SpuriousWake => Fault::SpuriousWake,
            Kind::Delay => {
                let most = u64::try_from(self.max_delay.as_micros()).unwrap_or(u64::MAX);
                Fault::Delay(Duration::from_micros(random.log_uniform(most)))
            }
            Kind::Interrupt => Fault::Fail(io::ErrorKind::Interrupted),
            // One in twenty of those drawn: more, and few scripts would get past their beginning.
            Kind::End | Kind::Defect if !random.percent(5) => Fault::Pass,
            Kind::End => match random.below(3) {
                0 => Fault::Stall,
                1 => Fault::Cut,
                _ => Fault::Fail(io::ErrorKind::ConnectionReset),
            },
            Kind::Defect => match random.below(2) {
                0 => Fault::Overrun,
                _ => Fault::Zero,
            },
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Pass,
    Split,
    SpuriousWake,
    Delay,
    Interrupt,
    End,
    Defect,
}
