use std::collections::BTreeMap;
use std::process::ExitCode;

use duologue::testing::hostile::{Culprit, Misbehaviour, Outcome};
use duologue::wire::Side;

use crate::Result;
use crate::arguments::Arguments;
use crate::attacks::{Attack, Beside, attack};
use crate::callgrind;
use crate::table::{Table, on_all_cores};

/// Seeds of each.
const SEEDS: u64 = 10;
/// Of what says less, the beginning and the end are all that is counted.
const WORTH_COUNTING: u64 = 8_000;

/// A misbehaviour on one side of a conversation.
type Attacker = (&'static Misbehaviour, Side);

fn attackers() -> Vec<Attacker> {
    let all = Misbehaviour::all().filter(|m| m.culprit() != Culprit::Storage);
    let sides = [Side::Client, Side::Server];
    all.flat_map(|m| sides.into_iter().map(move |side| (m, side)))
        .filter(|(m, side)| m.side().is_none_or(|only| only == *side))
        .collect()
}

fn run_one((misbehaviour, side): Attacker, seed: u64, beside: Beside) -> Result<Attack, String> {
    std::panic::catch_unwind(|| attack(misbehaviour, side, seed, beside))
        .unwrap_or_else(|_| Err("a panic".to_owned()))
}

/// That attack alone, from both sides.
pub(crate) fn one(name: &str, seed: u64) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    Misbehaviour::by_name(name).ok_or_else(|| format!("there is no misbehaviour {name}"))?;
    for attacker in attackers().into_iter().filter(|(m, _)| m.name() == name) {
        match run_one(attacker, seed, Beside::Others) {
            Ok(attack) => println!("{:?}: {attack:#?}", attacker.1),
            Err(error) => {
                println!("{:?}: {error}", attacker.1);
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// The same, for callgrind: against a listener, with nobody beside it.
pub(crate) fn counted(name: &str, times: u64) -> Result<ExitCode> {
    let attacker = attackers().into_iter().find(|(m, _)| m.name() == name);
    let attacker = attacker.ok_or("there is no such misbehaviour")?;
    for seed in 0..times {
        run_one(attacker, seed, Beside::Nobody)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Instructions of all that is run for a byte that the peer says, peer included; `None` without
/// valgrind.
fn instructions(name: &str, said: u64) -> Result<Option<f64>> {
    let run = |times: &str| callgrind::instructions(&["--counted", name, times]);
    let (Some(once), Some(twice)) = (run("1")?, run("2")?) else { return Ok(None) };
    Ok(Some(twice.saturating_sub(once) as f64 / said as f64))
}

/// The worst of all seeds.
#[derive(Default)]
struct Worst {
    peak: u64,
    said: u64,
    /// Bytes said and heard of those who were not accepted.
    unaccepted: Option<(u64, u64)>,
    outcome: Option<Outcome>,
    instructions: Option<f64>,
}

pub(crate) fn run(arguments: &Arguments, table: &mut Table) -> Result<()> {
    let attackers = attackers();
    let seeds = arguments.seed..arguments.seed + SEEDS;
    let work: Vec<(Attacker, u64)> = attackers
        .iter()
        .flat_map(|attacker| seeds.clone().map(move |seed| (*attacker, seed)))
        .collect();
    let results = on_all_cores(&work, |(attacker, seed)| run_one(*attacker, *seed, Beside::Others));
    let (mut worst, mut bound) = (BTreeMap::<&str, Worst>::new(), 0);
    for (((misbehaviour, side), seed), result) in work.into_iter().zip(results) {
        match result {
            Ok(attack) => {
                bound = attack.bound;
                note(worst.entry(misbehaviour.name()).or_default(), &attack, side);
            }
            Err(error) => {
                let what = format!("{misbehaviour} as {side:?}, seed {seed}: {error}");
                table.fail(what, format!("--attack {misbehaviour} --seed {seed}"));
            }
        }
    }
    count(&mut worst)?;
    if arguments.only.is_some() {
        print_each(&worst);
    }
    summarise(&worst, bound, table);
    table.row("runs", attackers.len() as u64 * SEEDS);
    Ok(())
}

fn note(worst: &mut Worst, attack: &Attack, side: Side) {
    let report = &attack.report;
    worst.peak = worst.peak.max(attack.peak);
    worst.outcome = Some(report.outcome);
    if side == Side::Client {
        worst.said = worst.said.max(report.said);
        let was_accepted = report.heard != report.heard_before_open;
        let heard = worst.unaccepted.map_or(0, |(_, heard)| heard);
        if !was_accepted && report.heard >= heard && report.said > 0 {
            worst.unaccepted = Some((report.said, report.heard));
        }
    }
}

fn count(worst: &mut BTreeMap<&str, Worst>) -> Result<()> {
    let worth: Vec<(String, u64)> = worst
        .iter()
        .filter(|(_, worst)| worst.said > WORTH_COUNTING)
        .map(|(name, worst)| ((*name).to_owned(), worst.said))
        .collect();
    let counted =
        on_all_cores(&worth, |(name, said)| instructions(name, *said).map_err(|e| e.to_string()));
    for ((name, _), counted) in worth.iter().zip(counted) {
        if let Some(worst) = worst.get_mut(&**name) {
            worst.instructions = counted?;
        }
    }
    Ok(())
}

fn print_each(worst: &BTreeMap<&str, Worst>) {
    println!("  {:<40}{:>12}{:>12}{:>12}  outcome", "", "peak", "bytes in", "instr/byte");
    for (name, worst) in worst {
        let instructions = worst.instructions.map_or("-".to_owned(), |n| format!("{n:.0}"));
        let outcome = worst.outcome.map_or(String::new(), |outcome| format!("{outcome:?}"));
        println!("  {name:<40}{:>12}{:>12}{instructions:>12}  {outcome}", worst.peak, worst.said);
    }
}

fn summarise(worst: &BTreeMap<&str, Worst>, bound: u64, table: &mut Table) {
    table.row("misbehaviours of peers and transports", worst.len());
    table.row("bound of memory, bytes", bound);
    if let Some((name, most)) = worst.iter().max_by_key(|(_, worst)| worst.peak) {
        table.row(&format!("most of it: {name}"), most.peak);
    }
    let counted = worst.iter().filter_map(|(name, worst)| Some((name, worst.instructions?)));
    match counted.max_by(|(_, one), (_, other)| one.total_cmp(other)) {
        Some((name, most)) => {
            table.row(&format!("most instructions a byte: {name}"), format!("{most:.0}"));
        }
        None => table.row("instructions a byte", "-"),
    }
    let ratio = |(said, heard): (u64, u64)| heard as f64 / said as f64;
    let unaccepted = worst.iter().filter_map(|(name, worst)| Some((name, worst.unaccepted?)));
    let most = unaccepted.max_by(|(_, one), (_, other)| ratio(*one).total_cmp(&ratio(*other)));
    if let Some((name, (said, heard))) = most {
        let what = format!("most said to who was not accepted: {name}");
        table.row(&what, format!("{heard} to {said}"));
    }
}
