use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Result;
use crate::arguments::Arguments;
use crate::simulator::{Failure, Kind, Report, simulate};
use crate::table::Table;

/// Of how many seeds one is run twice.
const TWICE: u64 = 1000;
/// Failures that end it.
const FAILURES: usize = 5;

/// Runs a seed, now and then twice.
fn simulate_one(seed: u64) -> std::result::Result<Report, Failure> {
    let report = simulate(seed)?;
    if seed % TWICE == 0 && simulate(seed)? != report {
        let what = vec!["a second run was another one".to_owned()];
        return Err(Failure { seed, kinds: vec![Kind::Other], what, profile: String::new() });
    }
    Ok(report)
}

/// That seed alone.
pub(crate) fn one(seed: u64) -> Result<ExitCode> {
    Ok(match simulate_one(seed) {
        Ok(report) => {
            println!("{report:#?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{}\n{}", failure.what.join("\n"), failure.profile);
            ExitCode::FAILURE
        }
    })
}

pub(crate) fn run(arguments: &Arguments, table: &mut Table) -> Result<()> {
    let (next, started) = (AtomicU64::new(arguments.seed), Instant::now());
    let until = Duration::from_secs(arguments.seconds);
    let is_enough = |seed: u64| match arguments.seeds {
        Some(seeds) => seed - arguments.seed >= seeds,
        None => started.elapsed() >= until,
    };
    let results = Mutex::new((Report::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if is_enough(seed) {
                        return;
                    }
                    let result = simulate_one(seed);
                    let mut results = results.lock().expect("no thread panics with it");
                    let (sum, failures) = &mut *results;
                    match result {
                        Ok(report) => sum.add(&report),
                        Err(failure) => failures.push(failure),
                    }
                    if failures.len() >= FAILURES {
                        return;
                    }
                }
            });
        }
    });
    let (sum, failures) = results.into_inner()?;
    print(&sum, &failures, table);
    for failure in failures {
        let what = format!("simulator, seed {}: {}", failure.seed, failure.what.join("; "));
        table.fail(what, format!("--one {}", failure.seed));
    }
    Ok(())
}

fn print(sum: &Report, failures: &[Failure], table: &mut Table) {
    let rows = [
        ("seeds", sum.runs),
        ("virtual hours", sum.micros / 3_600_000_000),
        ("polls", sum.polls),
        ("looks at those that sleep", sum.looks),
        ("drivers looked at then", sum.driver_looks),
        ("streams", sum.streams),
        ("bytes carried", sum.bytes),
        ("cuts", sum.cuts),
        ("silences", sum.silences),
        ("stalls", sum.stalls),
        ("outages", sum.outages),
        ("streams shut on one side", sum.shuts),
        ("programs killed", sum.kills),
        ("losses of power", sum.power_losses),
        ("failing disks", sum.disk_faults),
        ("disks that rotted", sum.rots),
        ("suspensions", sum.suspensions),
        ("goodbyes in between", sum.goodbyes),
        ("conversations resumed", sum.resumptions),
        ("lines delivered", sum.delivered),
        ("messages delivered", sum.messages),
        ("answers", sum.answers),
        ("signals", sum.signals),
        ("lines, messages of unknown fate", sum.unknown),
        ("lines, messages not sent", sum.not_sent),
        ("files stored", sum.files),
        ("folders ended", sum.folders),
        ("members stored", sum.members),
        ("files, members gone on with", sum.taken_up),
        ("pauses", sum.pauses),
        ("files that changed while sent", sum.changed),
        ("files, folders given up", sum.cancelled),
        ("files, folders refused", sum.refused),
        ("attempts that failed", sum.failures),
        ("lines beside files held up", sum.held_up),
        ("most bytes held by a program", sum.peak_memory),
        ("most of the bound, thousandths", sum.peak_share),
        ("most bytes held once all had ended", sum.idle_memory),
    ];
    for (name, number) in rows {
        table.row(name, number);
    }
    let kinds = [
        ("lost", Kind::Lost),
        ("duplicated", Kind::Duplicated),
        ("reordered", Kind::Reordered),
        ("wrong", Kind::Wrong),
        ("other failures", Kind::Other),
    ];
    for (name, kind) in kinds {
        let found = failures.iter().flat_map(|failure| &failure.kinds);
        table.row(name, found.filter(|found| **found == kind).count());
    }
}
