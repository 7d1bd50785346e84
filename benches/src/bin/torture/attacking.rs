use std::collections::BTreeMap;
use std::process::ExitCode;

use duologue::testing::hostile::{Culprit, Misbehaviour, Outcome};
use duologue::wire::Side;

use crate::Result;
use crate::arguments::Arguments;
use crate::attacks::{Attack, Beside, attack};
use crate::callgrind;
use crate::limits::{self, Cost};
use crate::table::{Table, caught, on_all_cores};

/// Seeds of each.
const SEEDS: u64 = 10;
/// Of what says less, the beginning and the end are all that is counted.
const WORTH_COUNTING: u64 = 8_000;
/// The seed of the run that is counted, whichever others are run.
const COUNTED: u64 = 1;

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
    caught(|| attack(misbehaviour, side, seed, beside))
}

/// That attack alone, from both sides.
pub(crate) fn one(name: &str, seed: u64) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let found = Misbehaviour::by_name(name);
    let found = found.ok_or_else(|| format!("there is no misbehaviour {name}"))?;
    if found.culprit() == Culprit::Storage {
        return Err(format!("{name} befalls a disk: --fault {name} --seed {seed}").into());
    }
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

/// All that say less than is worth counting alone.
const REST: &str = "the-rest";

/// Whom an attack is counted from: a client, if it can be one.
fn counted_one(name: &str) -> Result<Attacker, String> {
    let attacker = attackers().into_iter().find(|(m, _)| m.name() == name);
    attacker.ok_or_else(|| format!("there is no misbehaviour {name}"))
}

/// The same, for callgrind: with nobody beside it.
pub(crate) fn counted(names: &str, times: u64) -> Result<ExitCode> {
    for seed in 0..times {
        for name in names.split(',') {
            run_one(counted_one(name)?, seed, Beside::Nobody)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Bytes that are said in the run that is counted.
fn said(name: &str) -> Result<u64, String> {
    Ok(run_one(counted_one(name)?, COUNTED, Beside::Nobody)?.report.said)
}

/// Instructions of all that is run for a byte that the peers say, peers included; `None` without
/// valgrind.
fn instructions(names: &str) -> Result<Option<f64>> {
    let said: u64 = names.split(',').map(said).sum::<Result<u64, String>>()?;
    let run = |times: u64| callgrind::instructions(&["--counted", names, &times.to_string()]);
    // What is in the second and not in the first is the run with this seed.
    let (Some(once), Some(twice)) = (run(COUNTED)?, run(COUNTED + 1)?) else { return Ok(None) };
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

impl Worst {
    fn cost(&self) -> Cost {
        Cost { peak: self.peak, instructions: self.instructions }
    }
}

pub(crate) fn run(arguments: &Arguments, table: &mut Table) -> Result<()> {
    let attackers = attackers();
    let seeds = arguments.seed..arguments.seed + SEEDS;
    let work: Vec<(Attacker, u64)> = attackers
        .iter()
        .flat_map(|attacker| seeds.clone().map(move |seed| (*attacker, seed)))
        .collect();
    let results = on_all_cores(&work, |(attacker, seed)| run_one(*attacker, *seed, Beside::Others));
    let (mut worst, mut bound, mut others) = (BTreeMap::<&str, Worst>::new(), 0, 0);
    for (((misbehaviour, side), seed), result) in work.into_iter().zip(results) {
        match result {
            Ok(attack) => {
                bound = attack.bound;
                others += attack.others;
                note(worst.entry(misbehaviour.name()).or_default(), &attack, side);
            }
            Err(error) => {
                let what = format!("{misbehaviour} as {side:?}, seed {seed}: {error}");
                table.fail(what, format!("--attack {misbehaviour} --seed {seed}"));
            }
        }
    }
    let rest = count(&mut worst)?;
    let limits = limits::read()?;
    if arguments.only.is_some() {
        print_each(&worst, &limits);
    }
    let rest = Cost { peak: 0, instructions: rest };
    // There are always some that say little.
    let has_valgrind = rest.instructions.is_some();
    let costs = || worst.iter().map(|(name, worst)| (*name, worst.cost())).chain([(REST, rest)]);
    if arguments.writes_limits {
        if !has_valgrind {
            return Err("limits of instructions are not written without valgrind".into());
        }
        limits::write(costs())?;
    } else {
        let beyond = costs().filter_map(|(name, cost)| {
            let what = cost.beyond(limits.get(name).copied(), has_valgrind)?;
            Some(format!("{name}: {what}"))
        });
        let is_known = |name: &str| name == REST || Misbehaviour::by_name(name).is_some();
        let unknown = limits.keys().filter(|name| !is_known(name));
        let unknown = unknown.map(|name| format!("{name}: it has a limit, and is no attack"));
        beyond.chain(unknown).for_each(|what| table.fail(what, "--only attacks"));
    }
    summarise(&worst, bound, table);
    summarise_limits(&worst, &limits, rest, table);
    table.row("runs", attackers.len() as u64 * SEEDS);
    table.row("honest conversations beside and after them", others);
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

/// Counts each of those that say enough, and returns what the others cost together.
fn count(worst: &mut BTreeMap<&str, Worst>) -> Result<Option<f64>> {
    let (mut work, mut rest) = (Vec::new(), Vec::new());
    for name in worst.keys() {
        if said(name)? > WORTH_COUNTING {
            work.push((*name).to_owned());
        } else {
            rest.push(*name);
        }
    }
    work.push(rest.join(","));
    let mut counted =
        on_all_cores(&work, |names| instructions(names).map_err(|error| error.to_string()));
    let rest = counted.pop().ok_or("nothing was counted")??;
    for (name, counted) in work.iter().zip(counted) {
        if let Some(worst) = worst.get_mut(&**name) {
            worst.instructions = counted?;
        }
    }
    Ok(rest)
}

fn print_each(worst: &BTreeMap<&str, Worst>, limits: &BTreeMap<String, Cost>) {
    let head = ["peak", "its limit", "bytes in", "instr/byte", "its limit"];
    print!("  {:<44}", "");
    println!("{}  outcome", head.map(|word| format!("{word:>12}")).concat());
    for (name, worst) in worst {
        let limit = limits.get(*name);
        let shown = |count: Option<f64>| count.map_or("-".to_owned(), |n| format!("{n:.0}"));
        let cells = [
            worst.peak.to_string(),
            limit.map_or("-".to_owned(), |limit| limit.peak.to_string()),
            worst.said.to_string(),
            shown(worst.instructions),
            shown(limit.and_then(|limit| limit.instructions)),
        ];
        let outcome = worst.outcome.map_or(String::new(), |outcome| format!("{outcome:?}"));
        println!("  {name:<44}{}  {outcome}", cells.map(|cell| format!("{cell:>12}")).concat());
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
        None => {
            table.row("instructions a byte", "NOT COUNTED: no valgrind");
            table.skip("attacks: instructions are not counted without valgrind", "--only attacks");
        }
    }
    let ratio = |(said, heard): (u64, u64)| heard as f64 / said as f64;
    let unaccepted = worst.iter().filter_map(|(name, worst)| Some((name, worst.unaccepted?)));
    let most = unaccepted.max_by(|(_, one), (_, other)| ratio(*one).total_cmp(&ratio(*other)));
    if let Some((name, (said, heard))) = most {
        let what = format!("most said to who was not accepted: {name}");
        table.row(&what, format!("{heard} to {said}"));
    }
}

/// How near each kind of limit is.
fn summarise_limits(
    worst: &BTreeMap<&str, Worst>,
    limits: &BTreeMap<String, Cost>,
    rest: Cost,
    table: &mut Table,
) {
    let hundredths = |part: f64, whole: f64| (100.0 * part / whole).round() as u64;
    let of_peak = |(name, worst): (&&str, &Worst)| {
        Some((hundredths(worst.peak as f64, limits.get(*name)?.peak as f64), name.to_string()))
    };
    let of_count = |(name, worst): (&&str, &Worst)| {
        let most = limits.get(*name)?.instructions?;
        Some((hundredths(worst.instructions?, most), name.to_string()))
    };
    if let Some((share, name)) = worst.iter().filter_map(of_peak).max() {
        table.row(&format!("nearest to its bytes: {name}"), format!("{share} %"));
    }
    if let Some((share, name)) = worst.iter().filter_map(of_count).max() {
        table.row(&format!("nearest to its instructions: {name}"), format!("{share} %"));
    }
    if let Some(count) = rest.instructions {
        table.row("instructions a byte of those that say little", format!("{count:.0}"));
    }
}
