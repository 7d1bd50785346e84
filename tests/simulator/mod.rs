//! Two whole programs in one thread, on a clock, a network and disks that are made up: all that happens
//! follows from one seed.
//!
//! Each side has a driver, an inbox on a disk that forgets, and an application that says lines, sends
//! messages that are answered, and sends files and folders until they are stored or that is ruled out.
//! Streams are slow, break at any byte, fall silent, stall, or end on one side; programs are killed or
//! say goodbye, disks fail, lose power and rot; clocks jump, and files
//! change while they are sent; either side pauses, declines, gives up, drops what it waits
//! for. Then the faults end, and all that was begun has to come to its end; in the end one says goodbye.
//!
//! What is held to, and where:
//!
//! - **No panic, and no loop without an end**: [`simulate`] catches the one, and the executor counts polls
//!   while time stands still.
//! - **Memory**: after each poll of a program what it holds, by the allocator, is within its
//!   `session::worst_case_memory()` for each conversation and a fixed sum for the application
//!   (`World::check_memory`). In the end it holds nothing.
//! - **A file that is stored is whole**: when its sender is told (`Ledger::on_stored`, `on_member`), after
//!   each kill and loss of power, and in the end (`Ledger::check_disk`).
//! - **What was told to be durable is there after any crash**, as far as the level of durability says:
//!   it is not asked for again (`Ledger::on_offset`), and what is stored stays (`check_disk`). Only what
//!   a receiver gave up for good is gone (`File::on_given_up`).
//! - **Nothing else has a name**, no name that nobody takes is taken, and somebody else's file is as it was
//!   (`check_disk`).
//! - **Lines and messages come once, in order, as they were said; receipts are true; what is too long is
//!   refused and nothing else is; answers belong to a message, and signals come at most once**
//!   (`Ledger::on_line`, `on_message`, `on_receipt`, `on_answer`, `on_signal`).
//! - **All ends in bounded time once the faults have** (the executor's run), with a verdict that what
//!   happened explains (`Program::outcome`).
//! - **An end is told to both, and to every handle alike, and is the last thing told**
//!   (`Program::check_end`, `World::on_end`, `World::say_goodbye`); no honest peer is accused of a violation.
//! - **Nothing fails without an occasion**: a stream that is lost, an end and a receipt that says no need
//!   something that was done to that stream, or since that conversation began (`occasion`); a verdict needs
//!   what befell its receiver's disk during that attempt (`World::mark`), or what its receiver said.
//! - **No wake-up is missing**: at times, while nobody is ready, all that wait on a handle are polled, and
//!   none of them may find something to do (`Executor::find_sleeper`); and once the faults have ended nobody
//!   goes on by chance but by these looks.
//! - **Nothing that is held up holds up the rest**: lines come through in a bounded time beside files that
//!   are paused, or not read (`World::hold_up`).

mod cable;
mod clock;
mod disk;
mod executor;
mod folders;
mod harm;
mod ledger;
mod meter;
mod occasion;
mod profile;
mod program;
mod receive;
mod report;
mod send;
mod talk;
mod work;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use duologue::testing::ShadowDisk;

pub(crate) use self::ledger::Kind;
use self::ledger::Violations;
use self::meter::uncounted;
pub(crate) use self::profile::FIRST_OF_LOOKS;
use self::profile::Profile;
pub(crate) use self::report::{Failure, Report};
use self::world::World;

/// Runs one seed to its end.
pub(crate) fn simulate(seed: u64) -> Result<Report, Failure> {
    simulate_on(seed, ShadowDisk::new)
}

/// The same on disks that may have a fault of their own.
pub(crate) fn simulate_on(seed: u64, disk: fn() -> ShadowDisk) -> Result<Report, Failure> {
    let (result, _) = run(seed, disk, false);
    result.map_err(|what| {
        // Once more, to be looked at.
        let (again, events) = run(seed, disk, true);
        let mut profile = format!("{:#?}\n\nthe last events:\n", Profile::new(seed));
        for event in events {
            profile += &format!("{event}\n");
        }
        if again.as_ref().err() != Some(&what) {
            profile += &format!("\nBut run once more it was another run: {again:?}\n");
        }
        profile += &format!(
            "\nagain, alone: DUOLOGUE_SEED={seed} cargo test --test it simulated::two_programs, or\n\
             cargo run --release --manifest-path benches/Cargo.toml --bin torture -- --one {seed}\n"
        );
        let (kinds, what) = what.into_iter().unzip();
        Failure { seed, kinds, what, profile }
    })
}

/// Runs a seed, and says what did not hold; with its last events if they are of interest.
fn run(
    seed: u64,
    disk: fn() -> ShadowDisk,
    with_events: bool,
) -> (Result<Report, Violations>, Vec<String>) {
    let world = World::new(Profile::new(seed), disk, with_events);
    let result = catch_unwind(AssertUnwindSafe(|| run_in(&world)));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(vec![(Kind::Other, format!("a panic: {}", text.unwrap_or_default()))])
    });
    let events = world.events.as_ref().map(|events| events.borrow().iter().cloned().collect());
    (result, events.unwrap_or_default())
}

fn run_in(world: &Rc<World>) -> Result<Report, Violations> {
    world.start();
    // A stream that hesitates wakes whoever polls it.
    let Profile { seed, quality, .. } = &world.profile;
    let looks = *seed >= FIRST_OF_LOOKS && quality.hesitations == 0;
    world.executor.looks_at_sleepers.set(looks);
    let stuck = world.executor.run(
        &world.clock,
        |side| {
            if let Some(side) = side {
                world.check_memory(side);
                world.let_fall();
                world.note_full();
            }
            world.is_finished.get() || world.ledger(|ledger| !ledger.violations.is_empty())
        },
        || world.until.get(),
    );
    if let Err(stuck) = stuck {
        world.violation(|| format!("{stuck:?}"));
        world.ledger(|ledger| {
            let open = ledger.open(&world.profile);
            ledger.violation(Kind::Other, open);
        });
    }
    world.let_go();
    for side in [0, 1] {
        let disk = world.disk(side);
        world.ledger(|ledger| ledger.check_disk(&world.profile, side, &disk));
        let held = world.executor.meter.held(side);
        if held != 0 {
            world.violation(|| format!("side {side} holds {held} bytes after its end"));
        }
    }
    let violations = world.ledger(|ledger| std::mem::take(&mut ledger.violations));
    if violations.is_empty() { Ok(world.report()) } else { Err(violations) }
}

impl World {
    /// Ends all programs.
    fn let_go(&self) {
        self.executor.clear();
        for side in [0, 1] {
            let program = self.sides[side].program.borrow_mut().take();
            self.executor.discard(side, program);
        }
        let conversations = self.conversations.borrow_mut().take();
        self.executor.discard(1, conversations);
    }

    fn report(&self) -> Report {
        let mut report = uncounted(|| self.report.borrow().clone());
        report.runs = 1;
        report.polls = self.executor.polls.get();
        report.looks = self.executor.looks.get();
        report.driver_looks = self.executor.driver_looks.get();
        report.trace = self.executor.trace.get();
        report.micros = self.clock.now().as_micros();
        report.bytes = self.cables.borrow().iter().map(|cable| cable.borrow().carried).sum();
        self.ledger(|ledger| {
            for sent in &ledger.sent {
                report.delivered += sent.lines.delivered;
                report.messages += sent.messages.delivered;
                report.unknown += sent.lines.unknown + sent.messages.unknown;
                report.not_sent += sent.lines.not_sent + sent.messages.not_sent;
            }
        });
        report
    }
}
