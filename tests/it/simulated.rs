//! Some runs of the simulator: the same for the same seed, and nothing is ever lost, doubled or wrong.
//!
//! One alone: `DUOLOGUE_SEED=… cargo test --test it simulated`.

#[path = "../simulator/mod.rs"]
mod simulator;

use simulator::{Report, simulate};

/// Seeds in which something was once wrong.
const FOUND: &[u64] = &[];

fn run(seed: u64) -> Report {
    simulate(seed).unwrap_or_else(|failure| panic!("{failure:#?}"))
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
    assert!(sum.delivered > 100 && sum.files > 50, "{sum:#?}");
    assert!(sum.resumptions > 20 && sum.taken_up > 0, "{sum:#?}");
    assert!(sum.kills > 5 && sum.power_losses > 5 && sum.disk_faults > 5, "{sum:#?}");
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 0..5 {
        assert_eq!(run(seed), run(seed));
    }
}
