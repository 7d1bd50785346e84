//! Some runs of the simulator: the same for the same seed, and nothing is ever lost, doubled or wrong.
//!
//! One alone: `DUOLOGUE_SEED=… cargo test --test it simulated::two_programs`.

#[path = "../simulator/mod.rs"]
mod simulator;

use duologue::testing::{Barrier, ShadowDisk};
use simulator::{FIRST_OF_LOOKS, Report, simulate, simulate_on};

/// Seeds in which something was once wrong.
const FOUND: &[u64] = &[
    // A folder went on in another inbox than the one that had made it, and was not synchronised.
    2_108_558, 2_114_680,
    // A receiver had given up a file for good, and its sender was killed before it heard of that.
    2_107_391, 2_108_209, 2_200_765,
    // A stream that was given up took the place of a conversation that went on.
    3_000_313, 3_028_182, 3_064_308, 3_103_303, 3_110_997, 3_131_253,
    // A member got its name while its folder was offered again.
    3_100_715,
    // A program that could not be started went on for a moment, and declined what had come.
    4_008_804, 4_031_506, 4_058_721, 4_066_744,
    // The note of a folder gave way to that of another offer.
    4_102_126, 4_102_562,
    // A stream that was held up brought what a program had said before it was killed.
    4_043_792,
    // A server that did not know a conversation refused a stream while another one's handshake went on.
    10_124_950, 20_157_780, // A file that had waited for too long was decided on.
    20_027_749, 20_037_961, 20_059_562, 20_156_733,
    // A server was full when it sent a client away, and no longer when that heard of it.
    31_220_940,
    // A part that was let go of while there was no stream was another receiver's by its end.
    32_132_426,
    // The note of a folder gave way to one with the same hash, though there were four thousand places.
    32_173_641,
    // Who was asked whether it is still there kept what it had read a burst into.
    33_000_001,
    // Bulk could have gone when its pacer had said, but for a microsecond.
    34_086_963,
    // Whose turn it was under a rate limit was not told while nothing could be written.
    34_099_736,
];

fn run(seed: u64) -> Report {
    simulate(seed).unwrap_or_else(|failure| {
        panic!("seed {}: {}\n{}", failure.seed, failure.what.join("; "), failure.profile)
    })
}

#[test]
fn two_programs_end_all_that_they_began_whatever_happens_to_them() {
    if let Ok(seed) = std::env::var("DUOLOGUE_SEED") {
        println!("{:#?}", run(seed.parse().expect("a number")));
        return;
    }
    let mut sum = Report::default();
    let seeds = (0..40).map(|number| FIRST_OF_LOOKS + number);
    for seed in seeds.chain(FOUND.iter().copied()) {
        sum.add(&run(seed));
    }
    // What nothing happened in proves nothing.
    assert!(sum.looks > 500 && sum.driver_looks > 500, "{sum:#?}");
    assert!(sum.delivered > 500 && sum.messages > 500 && sum.answers > 500, "{sum:#?}");
    assert!(sum.files > 50 && sum.folders > 20 && sum.members > 50, "{sum:#?}");
    assert!(sum.resumptions > 10 && sum.goodbyes > 10 && sum.shuts > 10, "{sum:#?}");
    assert!(sum.kills > 20 && sum.power_losses > 20 && sum.disk_faults > 20, "{sum:#?}");
    assert!(sum.rots > 5 && sum.suspensions > 5 && sum.changed > 3, "{sum:#?}");
    assert!(sum.pauses > 10 && sum.cancelled > 5 && sum.refused > 5 && sum.held_up > 3, "{sum:#?}");
    // Nor does memory that is not counted.
    assert!(sum.peak_memory > 100_000 && sum.peak_share < 1000, "{sum:#?}");
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in FIRST_OF_LOOKS..FIRST_OF_LOOKS + 10 {
        assert_eq!(run(seed), run(seed));
    }
}

/// It would be worth nothing if it saw nothing.
#[test]
fn disks_that_do_not_do_what_they_say_are_noticed() {
    let defects: [fn() -> ShadowDisk; 2] = [
        || ShadowDisk::new().without(Barrier::SyncFolder),
        || ShadowDisk::new().without(Barrier::Sync(".part")),
    ];
    for disk in defects {
        // Some two in a hundred of them notice, so a thousand always do.
        let failures = (0..1000).filter_map(|seed| simulate_on(seed, disk).err());
        let is_lost = |what: &String| what.contains("stored at side");
        let failure = { failures }.find(|failure| failure.what.iter().any(is_lost));
        let failure = failure.expect("a file that was stored is lost in one of them");
        let again = format!("DUOLOGUE_SEED={}", failure.seed);
        assert!(failure.profile.contains("the last events"), "{}", failure.profile);
        assert!(failure.profile.contains(&again), "{}", failure.profile);
    }
}
