//! What one frame costs the machine, with one transfer open and with a thousand.
//!
//! `cargo bench --bench machine` lets two machines talk in one thread, without a stream between
//! them, and prints nanoseconds for both ends together: a DATA frame, a line of chat beside open
//! files that are idle, and a file from its offer to its verdict.

mod duo;

use std::time::Instant;

use bytes::Bytes;
use duologue::wire::{Chat, Offer};

use self::duo::{Duo, config};

const ROUNDS: usize = 5;
const FRAMES: u64 = 40_000;
const CHUNK: usize = 16 * 1024;

/// Nanoseconds a DATA frame, all files in turn.
fn data(transfers: u32) -> f64 {
    let mut duo = Duo::open(&config(transfers));
    duo.offer(transfers);
    let chunk = Bytes::from(vec![7; CHUNK]);
    let run = |duo: &mut Duo, frames: u64| {
        let until = duo.frames + frames;
        while duo.frames < until {
            duo.fill(&chunk);
            duo.exchange();
        }
    };
    run(&mut duo, FRAMES / 4);
    let (before, started) = (duo.frames, Instant::now());
    run(&mut duo, FRAMES);
    started.elapsed().as_secs_f64() * 1e9 / (duo.frames - before) as f64
}

/// Nanoseconds a line of chat beside files that are open and idle.
fn chat(transfers: u32) -> f64 {
    let mut duo = Duo::open(&config(transfers));
    duo.offer(transfers);
    let (before, started) = (duo.chats, Instant::now());
    while duo.chats < before + FRAMES {
        duo.client.send_chat(&Chat::new("A line of text.")).unwrap();
        duo.exchange();
    }
    started.elapsed().as_secs_f64() * 1e9 / (duo.chats - before) as f64
}

/// Nanoseconds from offer to verdict of an empty file, all of them at once.
fn whole(transfers: u32) -> f64 {
    let mut duo = Duo::open(&config(transfers));
    let (mut count, started) = (0, Instant::now());
    while count < 4000 {
        for _ in 0..transfers {
            duo.client.offer(&Offer::new("file"), duo.now).unwrap();
        }
        count += u64::from(transfers);
        while duo.stored < count {
            duo.exchange();
            for (transfer, _) in std::mem::take(&mut duo.writable) {
                duo.client.finish(transfer, None).unwrap();
            }
        }
    }
    started.elapsed().as_secs_f64() * 1e9 / count as f64
}

/// What is measured, in nanoseconds, with so many transfers.
type Subject = (&'static str, fn(u32) -> f64);

fn main() {
    println!("{ROUNDS} rounds in turn, ns for both ends: median (least to most)");
    let subjects: [Subject; 3] =
        [("16 KiB DATA", data), ("chat beside files", chat), ("offer to verdict", whole)];
    for (name, subject) in subjects {
        let mut figures = [1, 10, 100, 1000].map(|transfers| (transfers, Vec::new()));
        for _ in 0..ROUNDS {
            for (transfers, rounds) in &mut figures {
                rounds.push(subject(*transfers));
            }
        }
        for (transfers, rounds) in &mut figures {
            rounds.sort_by(f64::total_cmp);
            let (least, most) = (rounds[0], rounds[ROUNDS - 1]);
            let middle = rounds[ROUNDS / 2];
            println!("{name:<18} {transfers:>5} open {middle:>9.0} ns ({least:.0} to {most:.0})");
        }
    }
}
