//! Two honest machines, calls in any order, and a model of plain data that says what each call and
//! each event may do.
//!
//! Bytes go in queues from one machine to the other and are delivered in pieces; nothing is lost.

mod app;
mod events;
mod world;

use arbitrary::{Arbitrary, Unstructured};

use self::app::Spec;
use self::world::World;
use super::machine::{Input, Sizes};

/// Operations at most.
const OPERATIONS: usize = 500;

pub fn run(data: &[u8]) {
    let mut unstructured = Unstructured::new(data);
    let Ok(sizes) = <[Sizes; 2]>::arbitrary(&mut unstructured) else { return };
    let mut input = Input(unstructured.take_rest());
    let mut world = World::new(sizes);
    for _ in 0..OPERATIONS {
        if input.is_empty() {
            break;
        }
        operation(&mut world, &mut input);
        world.check();
    }
    world.settle();
}

fn operation(world: &mut World, input: &mut Input<'_>) {
    let choice = input.byte();
    let side = usize::from(choice >> 7);
    match choice & 0x1F {
        0 => {
            world.transmit(side, usize::MAX);
            world.deliver(1 - side, usize::MAX, usize::MAX);
        }
        1 => world.transmit(side, input.number() as usize),
        2 => world.deliver(side, input.number() as usize, usize::MAX),
        3 => world.deliver(side, usize::MAX, input.pick(255) + 1),
        4 => {
            world.exchange();
        }
        5 => world.wait(input.number()),
        6 => world.wait(input.number() << (choice >> 5 & 3).saturating_mul(2)),
        7 => world.wait_for_deadline(),
        8..=15 => send(world, side, choice, input),
        _ => act(world, side, choice, input),
    }
}

/// What the sender of a file or of a message does.
fn send(world: &mut World, side: usize, choice: u8, input: &mut Input<'_>) {
    let now = world.now;
    world.with(side, |app, machine| match choice & 0x1F {
        8 => {
            let (count, len) = (input.pick(30) + 1, input.number() as usize % 50_000);
            for _ in 0..count {
                app.chat(machine, len);
            }
        }
        9 => {
            let (count, len) = (input.pick(10) + 1, input.number() as usize % 50_000);
            for _ in 0..count {
                app.message(machine, len);
            }
        }
        10 => {
            let flags = input.byte();
            let len = input.number().min(300_000);
            for _ in 0..1 + (flags >> 5) {
                let size = (flags & 1 != 0).then_some(len);
                let is_seekable = flags & 2 != 0;
                let batch = (flags & 4 != 0).then(|| app.nth(true, input.pick(20))).flatten();
                let is_directory = batch.is_some() && flags & 8 != 0;
                let spec = if is_directory {
                    Spec { batch, is_directory, ..Spec::default() }
                } else {
                    Spec { len, size, is_seekable, batch, is_directory }
                };
                app.offer(machine, spec, now);
            }
        }
        11 => app.offer_batch(machine, input.pick(9) as u32, now),
        12 => {
            let (pick, times) = (input.pick(20), input.pick(8) + 1);
            let len = input.number() as usize % 66_000;
            for _ in 0..times {
                app.send_data(machine, pick, len, false);
            }
        }
        13 => {
            // All that fits, of all transfers.
            let len = input.number() as usize % 66_000 + 500;
            app.send_all(machine, len);
        }
        14 => app.send_data(machine, input.pick(20), input.number() as usize, true),
        _ => app.finish(machine, input.pick(20)),
    });
}

/// What the receiver does, and what both may.
fn act(world: &mut World, side: usize, choice: u8, input: &mut Input<'_>) {
    let now = world.now;
    if choice & 0x1F == 16 {
        world.take(side, input.pick(2), input.pick(40));
        return;
    }
    if choice & 0x1F == 17 {
        world.take(side, 0, usize::MAX);
        world.take(side, 1, usize::MAX);
        return;
    }
    world.with(side, |app, machine| match choice & 0x1F {
        18 => app.accept(machine, input.pick(20), input.number(), input.byte(), now),
        19 => app.accept_all(machine, now),
        20 => app.reject(machine, input.pick(20)),
        21 => app.release(machine, input.pick(20), input.number() as usize, now),
        22 => app.release_all(machine, now),
        23 => app.set_durable(machine, input.pick(20), input.number(), now),
        24 => app.conclude(machine, input.pick(20), true),
        25 => app.conclude(machine, input.pick(20), false),
        26 => app.cancel(machine, input.pick(20)),
        27 => app.pause(machine, input.flag(), input.pick(20), input.flag()),
        28 => app.confirm(machine, input.pick(20)),
        29 => app.restart(machine, input.pick(20)),
        30 => app.signal(machine, input.number() as usize % 1100, input.byte()),
        _ => app.conclude_all(machine),
    });
}
