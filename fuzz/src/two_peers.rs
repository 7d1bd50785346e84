//! Two honest machines and whatever a network does to them: nothing is lost, doubled or made up,
//! nobody accuses anybody, and when the faults stop everything comes to its end.

mod app;
mod ledger;
mod world;

use arbitrary::{Arbitrary, Unstructured};
use duologue::wire::{CloseCode, Side, Signal};

use self::app::Policy;
use self::ledger::Spec;
use self::world::World;
use super::machine::{Input, Sizes};

/// Steps of the network and of the applications at most.
const STEPS: usize = 600;
/// Rounds in which everything has to end once the faults have stopped.
const ROUNDS: usize = 4000;

pub fn run(data: &[u8]) {
    let mut unstructured = Unstructured::new(data);
    let Ok((sizes, policies)) = <([Sizes; 2], [Policy; 2])>::arbitrary(&mut unstructured) else {
        return;
    };
    let mut input = Input(unstructured.take_rest());
    let mut world = World::new([sizes[0].config(), sizes[1].config()], policies);
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        step(&mut world, &mut input);
        world.act();
        world.check();
    }
    settle(&mut world);
    end(&mut world, policies[0].syncs);
}

fn step(world: &mut World, input: &mut Input<'_>) {
    let choice = input.byte();
    let side = if choice & 0x80 == 0 { Side::Client } else { Side::Server };
    match choice & 0x1F {
        0..=3 => {
            world.exchange();
        }
        4 => {
            world.transmit(side, input.number() as usize);
        }
        5 => {
            let (age, most) = (input.pick(4).saturating_sub(1), input.number() as usize);
            world.deliver(side, age, most);
        }
        6 => world.set_piece(input.number() as usize),
        7 => world.wait(input.number() >> 8),
        8 => {
            let micros = input.number() << (choice >> 5 & 3).saturating_mul(2);
            world.has_waited |= micros > 1_000_000;
            world.wait(micros);
        }
        9 => {
            world.wait_for_deadline();
        }
        10 => world.cut(input.flag()),
        11 => world.cut_client(input.flag(), input.flag()),
        12 => world.cut_server(input.flag(), input.flag()),
        13 | 14 => world.attach(),
        15 if choice & 0x60 == 0x60 => world.restart_server(),
        16 => {
            let again = input.byte();
            let exchanges = again >> 2;
            for _ in 0..exchanges {
                world.exchange();
                world.wait(1 << (again & 3));
            }
        }
        17 => {
            let code = if input.flag() { CloseCode::DONE } else { CloseCode::SHUTDOWN };
            world.with(side, |_, machine, _, now| machine.close(code, "bye", now).is_ok());
        }
        other => act(world, side, other, input),
    }
}

/// Something that an application does.
fn act(world: &mut World, side: Side, choice: u8, input: &mut Input<'_>) {
    world.with(side, |app, machine, ledger, now| match choice {
        18 => {
            let (count, len) = (input.pick(40) + 1, input.number() as usize % 70_000);
            for _ in 0..count {
                app.chat(machine, ledger, len);
            }
        }
        19 => {
            let (count, len) = (input.pick(10) + 1, input.number() as usize % 50_000);
            for _ in 0..count {
                app.message(machine, ledger, len);
            }
        }
        20 | 21 => {
            let flags = input.byte();
            let len = input.number().min(200_000);
            for _ in 0..1 + (flags >> 5) {
                let seed = input.byte().into();
                let spec = Spec {
                    seed,
                    len,
                    is_size_known: flags & 1 != 0,
                    is_seekable: flags & 2 != 0,
                    is_directory: false,
                    batch: None,
                };
                app.offer(machine, ledger, spec, now);
            }
        }
        22 => app.offer_batch(machine, ledger, input.pick(9) as u32, now),
        23 => {
            let (flags, len) = (input.byte(), input.number().min(40_000));
            let is_directory = flags & 4 != 0;
            let spec = Spec {
                seed: flags.into(),
                len: if is_directory { 0 } else { len },
                is_size_known: flags & 1 != 0 && !is_directory,
                is_seekable: flags & 2 != 0 && !is_directory,
                is_directory,
                batch: app.nth_batch(usize::from(flags >> 4)),
            };
            if spec.batch.is_some() {
                app.offer(machine, ledger, spec, now);
            }
        }
        24 => app.cancel(machine, input.pick(8)),
        25 => {
            let (ours, pick, flag) = (input.flag(), input.pick(8), input.flag());
            app.pause(machine, ours, pick, flag);
        }
        26 => app.fail(machine, ledger, input.pick(8)),
        27 => app.take(machine, ledger, now, input.pick(5) + 1),
        28 => app.release(machine, now, input.number() as usize),
        29 => {
            let signal = Signal { signal_type: 1, payload: b"typing"[..].into() };
            for _ in 0..input.byte() {
                let _ = machine.send_signal(&signal);
            }
        }
        30 => app.act(machine, ledger, now, true),
        _ => {}
    });
}

/// The faults stop: everything that was begun comes to its end.
fn settle(world: &mut World) {
    world.is_last = true;
    world.set_piece(usize::MAX);
    world.tell();
    let mut began = world.now;
    let mut expired = None;
    for _ in 0..ROUNDS {
        world.check();
        if is_settled(world) {
            return;
        }
        let moved = world.exchange();
        if !world.is_connected() {
            // After many futile attaches the server wants a pause.
            world.wait(1_000_000);
            world.attach();
            (began, expired) = (world.now, None);
        } else if !moved {
            world.wait_for_deadline();
        } else {
            world.wait(50);
        }
        let soon = began.saturating_add(std::time::Duration::from_secs(3));
        let count = world.apps[0].expired + world.apps[1].expired;
        if world.now > soon {
            assert_eq!(*expired.get_or_insert(count), count, "a transfer stalled: {world}");
        }
    }
    panic!("it does not come to its end: {world}");
}

fn is_settled(world: &mut World) -> bool {
    if world.apps[0].closed.is_some() {
        return true;
    }
    let World { apps, ledger, client, .. } = world;
    client.is_open()
        && !client.is_detached()
        && apps[0].conversation == apps[1].conversation
        && apps[1].is_open
        && apps.iter().all(|app| app.is_done(ledger))
}

/// Both sides close, and learn how it ended.
fn end(world: &mut World, is_server_first: bool) {
    let first = if is_server_first { Side::Server } else { Side::Client };
    world.with(first, |_, machine, _, now| {
        // It may be closing already.
        let _ = machine.close(CloseCode::DONE, "", now);
    });
    for _ in 0..200 {
        let moved = world.exchange();
        if !moved && world.apps.iter().all(|app| app.closed.is_some()) {
            return;
        }
        if !moved && !world.wait_for_deadline() {
            break;
        }
        world.check();
    }
    let is_over = world.apps[0].closed.is_some()
        && (world.server.is_none() || world.apps[1].closed.is_some() || !world.apps[1].is_open);
    assert!(is_over, "it does not close: {world}");
}
