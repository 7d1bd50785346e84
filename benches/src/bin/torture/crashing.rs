use std::process::ExitCode;

use duologue::fs::Collision;
use duologue::testing::ShadowDisk;

use crate::Result;
use crate::arguments::Arguments;
use crate::crashes::{Mischief, World, fine};
use crate::table::{Table, caught, on_all_cores};

/// What happens, and on which disk.
type Case = (&'static str, fn() -> World);

const CASES: &[Case] = &[
    ("numbered", || World::new(fine).collision(Collision::Number)),
    ("refused", || World::new(fine).collision(Collision::Refuse)),
    ("replaced", || World::new(fine).collision(Collision::Replace)),
    ("short-writes", || World::new(|| fine().longest_write(400).sector(256))),
    ("torn-journals", || World::new(|| ShadowDisk::new().sector(64))),
    ("wrong-byte", || World::new(fine).mischief(Mischief::WrongByte)),
    ("bit-rot", || World::new(fine).mischief(Mischief::BitRot)),
    ("name-taken", || World::new(fine).without_old().mischief(Mischief::NameTaken)),
    ("second-program", || World::new(fine).mischief(Mischief::SecondProgram)),
];

/// How many disks a first crash left in it, and a second one, and what did not hold.
fn enumerate((_, world): &Case) -> Result<([usize; 2], Vec<String>), String> {
    let mut world = world();
    world.enumerate();
    Ok(([world.first.len(), world.second.len()], world.violations))
}

/// That case alone.
pub(crate) fn one(name: &str) -> Result<ExitCode> {
    let case = CASES.iter().find(|(found, _)| *found == name);
    let case = case.ok_or_else(|| format!("there is no crash {name}"))?;
    let violations = match caught(|| enumerate(case)) {
        Ok(([first, second], violations)) => {
            let count = violations.len();
            println!("{first} disks after a crash, {second} after a second, {count} violations");
            violations
        }
        Err(error) => vec![error],
    };
    violations.iter().for_each(|violation| println!("{violation}"));
    Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn run(_arguments: &Arguments, table: &mut Table) -> Result<()> {
    let results = on_all_cores(CASES, enumerate);
    let (mut first, mut second, mut lost, mut wrong) = (0, 0, 0, 0);
    for ((name, _), result) in CASES.iter().zip(results) {
        let ([first_here, second_here], violations) = match result {
            Ok(found) => found,
            Err(error) => {
                table.fail(format!("crashes, {name}: {error}"), format!("--crash {name}"));
                continue;
            }
        };
        first += first_here;
        second += second_here;
        let is_loss = |what: &&String| what.contains("durable") || what.contains("gone");
        let lost_here = violations.iter().filter(is_loss).count();
        lost += lost_here;
        wrong += violations.len() - lost_here;
        if let Some(first) = violations.first() {
            let what = format!("crashes, {name}: {first} (of {})", violations.len());
            table.fail(what, format!("--crash {name}"));
        }
    }
    table.row("ways to receive", CASES.len());
    table.row("different disks after a crash", first);
    table.row("after a second one, during recovery", second);
    table.row("acknowledged and lost", lost);
    table.row("wrong, doubled or stuck files", wrong);
    Ok(())
}
