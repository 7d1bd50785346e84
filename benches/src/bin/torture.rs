//! Runs the simulator of `tests/simulator` for so many seconds on all cores, and prints what came of
//! it: `cargo run --release --manifest-path benches/Cargo.toml --bin torture -- [--seconds N] [--seed S]`.
//!
//! Seeds are taken from S, by default 0, one after the other; one in a thousand is run twice, and has to
//! be the same. With `--seeds N` it is so many, however long they take, and with `--one S` that one alone.
//! It fails if anything did not hold.

#[allow(dead_code, reason = "some of it is for the tests")]
#[path = "../../../tests/simulator/mod.rs"]
mod simulator;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use simulator::{Failure, Report, simulate};

/// Of how many seeds one is run twice.
const TWICE: u64 = 1000;
/// Failures that are printed, and end it.
const FAILURES: usize = 5;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

struct Arguments {
    seconds: u64,
    seed: u64,
    seeds: Option<u64>,
    one: Option<u64>,
}

fn arguments() -> Result<Arguments> {
    let mut arguments = Arguments { seconds: 60, seed: 0, seeds: None, one: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number: u64 = words.next().ok_or("a number is missing")?.parse()?;
        match &*word {
            "--seconds" => arguments.seconds = number,
            "--seed" => arguments.seed = number,
            "--seeds" => arguments.seeds = Some(number),
            "--one" => arguments.one = Some(number),
            other => return Err(format!("there is no option {other}").into()),
        }
    }
    Ok(arguments)
}

/// Runs a seed, now and then twice.
fn run(seed: u64) -> std::result::Result<Report, Failure> {
    let report = simulate(seed)?;
    if seed % TWICE == 0 && simulate(seed)? != report {
        let what = vec!["a second run was another one".to_owned()];
        return Err(Failure { seed, what, profile: String::new() });
    }
    Ok(report)
}

fn main() -> Result<ExitCode> {
    let arguments = arguments()?;
    if let Some(seed) = arguments.one {
        return Ok(match run(seed) {
            Ok(report) => {
                println!("{report:#?}");
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!("{}\n{}", failure.what.join("\n"), failure.profile);
                ExitCode::FAILURE
            }
        });
    }
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
                    let result = run(seed);
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
    print(&sum, failures.len(), started.elapsed());
    for failure in &failures {
        println!("\nseed {}: {}", failure.seed, failure.what.join("; "));
        println!("again, alone: --bin torture -- --one {}", failure.seed);
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(sum: &Report, failures: usize, took: Duration) {
    let rows = [
        ("seeds", sum.runs),
        ("virtual hours", sum.micros / 3_600_000_000),
        ("polls", sum.polls),
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
        ("files, folders given up", sum.cancelled),
        ("files, folders refused", sum.refused),
        ("attempts that failed", sum.failures),
        ("lines beside files held up", sum.held_up),
        ("most bytes held by a program", sum.peak_memory),
        ("most of the bound, thousandths", sum.peak_share),
    ];
    for (name, number) in rows {
        println!("{name:<36}{number:>16}");
    }
    // Each would have ended its run.
    println!("{:<36}{failures:>16}", "lost, doubled, disordered, wrong");
    println!("{:<36}{:>14.1} s", "took", took.as_secs_f64());
}
