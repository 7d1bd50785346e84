//! Attacks everything, and prints what came of it:
//! `cargo run --release --manifest-path benches/Cargo.toml --bin torture -- [--seconds N] [--seed S]`.
//!
//! - *simulator*: whole programs on virtual time, of `tests/simulator`; seeds from S (by default
//!   30,000,000, as those before it know fewer faults) on, for N seconds (60) or, with `--seeds N`, so
//!   many; `--one S` runs that one alone.
//! - *attacks*: every `testing::Misbehaviour` of a peer and of a transport against a victim with
//!   others beside it, of `tests/attacks`, with the most memory that it made the victim hold and the
//!   instructions that it cost, which have limits in `benches/torture.limits`.
//! - *crashes*: a receiver's power fails at every call, of `tests/crashes`.
//! - *faults*: every call of a stream fails in every way, and the conversation goes on over another;
//!   everything that befalls disks does.
//! - *crowd*: ten thousand hostile connections at once to a listener on loopback, beside a hundred honest
//!   ones; fewer, and it says so, where there is no room for 11,100 descriptors and 4 GB.
//!
//! `--only SECTION` runs that section alone, and prints more of it; `--attack NAME`, with `--seed`,
//! that attack; `--crash CASE` one of the crashes, `--fault CASE` one of the faults; `--write-limits` writes the limits of attacks anew. `--strict` makes
//! a failure of what cannot be tried here: no valgrind, no room for the crowd. It fails if anything did not hold, and says how to run that alone.

mod arguments;
mod attacking;
mod counted;
mod crashing;
mod crowd;
mod faults;
mod limits;
mod programs;
mod simulation;
mod table;

#[path = "../../../../tests/attacks/mod.rs"]
mod attacks;
#[path = "../../../callgrind.rs"]
mod callgrind;
#[allow(dead_code, reason = "some of it is for the tests")]
#[path = "../../../../tests/crashes/mod.rs"]
mod crashes;
#[allow(dead_code, reason = "some of it is for the tests")]
#[path = "../../../../tests/it/fs_util.rs"]
mod fs_util;
#[allow(dead_code, reason = "some of it is for the tests")]
#[path = "../../../../tests/simulator/mod.rs"]
mod simulator;

use std::process::ExitCode;
use std::time::Instant;

use self::arguments::{Arguments, Mode};
use self::table::{Table, caught};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// A section, by name.
type Section = fn(&Arguments, &mut Table) -> Result<()>;

const SECTIONS: [(&str, Section); 5] = [
    ("simulator", simulation::run),
    ("attacks", attacking::run),
    ("crashes", crashing::run),
    ("faults", faults::run),
    ("crowd", crowd::run),
];

fn main() -> Result<ExitCode> {
    let arguments = arguments::read()?;
    match &arguments.mode {
        Mode::Sections => {}
        Mode::One(seed) => return simulation::one(*seed),
        Mode::Attack(name) => return attacking::one(name, arguments.seed),
        Mode::Crash(name) => return crashing::one(name),
        Mode::Fault(name) => return faults::one(name, arguments.seed),
        Mode::Counted { name, times } => return attacking::counted(name, *times),
        Mode::Crowd { what, address, count } => {
            return programs::run(what, *address, *count, arguments.seed);
        }
    }
    if let Some(only) = &arguments.only {
        if !SECTIONS.iter().any(|(name, _)| name == only) {
            return Err(format!("there is no section {only}").into());
        }
    }
    let mut table = Table::new(arguments.is_strict);
    for (name, section) in SECTIONS {
        if arguments.only.as_deref().is_none_or(|only| only == name) {
            let began = Instant::now();
            table.begin(name);
            // What breaks off one section is a failure like any other.
            let ended = caught(|| section(&arguments, &mut table).map_err(|e| e.to_string()));
            if let Err(error) = ended {
                let again = format!("--only {name} --seed {}", arguments.seed);
                table.fail(format!("{name}: {error}"), again);
            }
            table.row("took", format!("{:.1} s", began.elapsed().as_secs_f64()));
        }
    }
    Ok(table.end())
}
