//! Some runs of the simulator: the same for the same seed, and nothing is ever lost, doubled or wrong.
//!
//! One alone: `DUOLOGUE_SEED=… cargo test --test it simulated`.

#[path = "../simulator/mod.rs"]
mod simulator;

use duologue::testing::{Barrier, ShadowDisk};
use simulator::{Report, simulate, simulate_on};

/// Seeds in which something was once wrong.
const FOUND: &[u64] = &[];

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
    for seed in (0..24).chain(FOUND.iter().copied()) {
        sum.add(&run(seed));
    }
    // What nothing happened in proves nothing.
    assert!(sum.delivered > 100 && sum.files > 20, "{sum:#?}");
    assert!(sum.resumptions > 5, "{sum:#?}");
    assert!(sum.kills > 5 && sum.power_losses > 5 && sum.disk_faults > 5, "{sum:#?}");
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 0..5 {
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
    for (number, disk) in defects.into_iter().enumerate() {
        let failure = simulate_on(12, disk).expect_err("a file that was stored is lost");
        let what = failure.what.join("; ");
        assert!(what.contains("is not what f0.bin has"), "{number}: {what}");
    }
}
