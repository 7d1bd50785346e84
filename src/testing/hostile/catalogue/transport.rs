//! What a stream does to those who talk over it.

use core::iter::repeat_n;
use core::time::Duration;
use std::io::ErrorKind;
use std::vec::Vec;

use super::{Act, Expected, Misbehaviour, new};
use crate::testing::{Fault, Script, SplitMix64};

/// Calls each way for which it goes on.
const CALLS: usize = 2000;

const fn stream(
    name: &'static str,
    rows: &'static str,
    about: &'static str,
    expected: Expected,
    draw: fn(&mut SplitMix64) -> Script,
) -> Misbehaviour {
    new(name, rows, about, expected, Act::Transport(draw))
}

/// The same each way, again and again.
fn both(faults: &[Fault]) -> Script {
    let all: Vec<Fault> = repeat_n(faults, CALLS).flatten().cloned().collect();
    Script::new().reads(all.clone()).writes(all)
}

/// Some calls that go through.
fn some(random: &mut SplitMix64) -> impl Iterator<Item = Fault> + use<> {
    repeat_n(Fault::Pass, usize::try_from(random.below(10)).unwrap_or_default())
}

/// Nothing, and then that, for ever.
fn then(random: &mut SplitMix64, fault: &Fault) -> Script {
    let reads = some(random).chain([fault.clone()]);
    let writes = some(random).chain([fault.clone()]);
    Script::new().reads(reads).writes(writes)
}

pub(super) static LIST: &[Misbehaviour] = &[
    stream("bytes-one-by-one", "T1", "moves a byte at a time", Expected::Tolerated, |_| {
        both(&[Fault::Split(1)])
    }),
    stream(
        "pieces",
        "T1 T2",
        "moves pieces, late and of any size",
        Expected::Tolerated,
        |random| Script::seeded(random.next_u64(), &crate::testing::Profile::benign()),
    ),
    stream(
        "wakes-for-nothing",
        "T2",
        "wakes for nothing before each call",
        Expected::Tolerated,
        |_| both(&[Fault::SpuriousWake, Fault::Pass]),
    ),
    stream("interruptions", "T3", "is interrupted before each call", Expected::Tolerated, |_| {
        both(&[Fault::Fail(ErrorKind::Interrupted), Fault::Pass])
    }),
    stream("would-block", "T3", "fails where it should wait", Expected::Broken, |random| {
        then(random, &Fault::Fail(ErrorKind::WouldBlock))
    }),
    stream(
        "writes-of-nothing",
        "T4 H19",
        "writes nothing, and says so",
        Expected::Broken,
        // Some calls flush, and are not concerned.
        |random| Script::new().writes(some(random).chain(repeat_n(Fault::Zero, 8))),
    ),
    stream(
        "claims-of-too-much",
        "T4 H19",
        "claims to have moved more than it was given",
        Expected::Broken,
        |random| then(random, &Fault::Overrun),
    ),
    stream("bytes-after-the-end", "H19 T6", "goes on after its end", Expected::Broken, |random| {
        Script::new().reads(some(random).chain([Fault::Zero]))
    }),
    stream("cut", "T5 T6", "is cut", Expected::Broken, |random| then(random, &Fault::Cut)),
    stream("half-closed", "T6 T7", "ends one way only", Expected::Broken, |random| {
        Script::new().reads(some(random).chain([Fault::Cut]))
    }),
    stream("reset", "T5", "fails", Expected::Broken, |random| {
        then(random, &Fault::Fail(ErrorKind::ConnectionReset))
    }),
    stream("stall", "T8", "moves nothing any more", Expected::Broken, |random| {
        then(random, &Fault::Stall)
    }),
    stream("drip", "T9 H20", "waits for eleven seconds at each call", Expected::Broken, |_| {
        both(&[Fault::Delay(Duration::from_secs(11)), Fault::Split(1)])
    }),
];
