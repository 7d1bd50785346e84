//! The two routines beside hand-written loops with the same buffer and chunk, over the in-memory
//! pipe, in one task.
//!
//! `cargo bench --bench routines` runs both in turn and prints medians, the ratio of each round,
//! and, where valgrind is installed, the instructions of each.

mod callgrind;

use std::future::poll_fn;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use duologue::io::{Cursor, read_all, write_all_chunked};
use duologue::testing::{Duplex, duplex};
use futures::executor::block_on;
use futures::future::join;
use futures::io::{AsyncRead, AsyncWrite};

const PIPE: usize = 64 * 1024;
const CHUNK: usize = 16 * 1024;
const ROUNDS: usize = 11;

/// One line of the table: `total` bytes, moved in buffers of `buffer` bytes.
struct Row {
    name: &'static str,
    buffer: usize,
    total: usize,
}

const ROWS: [Row; 3] = [
    Row { name: "1 MiB buffers", buffer: 1024 * 1024, total: 512 * 1024 * 1024 },
    Row { name: "64 KiB buffers", buffer: 64 * 1024, total: 512 * 1024 * 1024 },
    Row { name: "64 B buffers", buffer: 64, total: 64 * 1024 * 1024 },
];

/// What a careful user would write instead of `write_all_chunked`.
async fn write_by_hand(stream: &mut Duplex, mut rest: &[u8]) {
    poll_fn(|cx| {
        while !rest.is_empty() {
            let chunk = &rest[..rest.len().min(CHUNK)];
            let n = ready!(Pin::new(&mut *stream).poll_write(cx, chunk)).expect("an open pipe");
            assert!(n > 0);
            rest = &rest[n..];
        }
        Poll::Ready(())
    })
    .await;
}

/// What a careful user would write instead of `read_all`.
async fn read_by_hand(stream: &mut Duplex, buffer: &mut [u8]) {
    let mut filled = 0;
    poll_fn(|cx| {
        while filled < buffer.len() {
            let rest = &mut buffer[filled..];
            let n = ready!(Pin::new(&mut *stream).poll_read(cx, rest)).expect("an open pipe");
            assert!(n > 0);
            filled += n;
        }
        Poll::Ready(())
    })
    .await;
}

async fn by_hand(buffer: usize, total: usize) {
    let (mut near, mut far) = duplex(PIPE);
    let writing = async {
        let data = vec![7; buffer];
        for _ in 0..total / buffer {
            write_by_hand(&mut near, black_box(&data)).await;
        }
    };
    let reading = async {
        let mut data = vec![0; buffer];
        for _ in 0..total / buffer {
            read_by_hand(&mut far, black_box(&mut data)).await;
        }
    };
    join(writing, reading).await;
}

async fn by_routines(buffer: usize, total: usize) {
    let (mut near, mut far) = duplex(PIPE);
    let writing = async {
        let mut cursor = Cursor::new(vec![7; buffer]);
        for _ in 0..total / buffer {
            cursor.rewind();
            write_all_chunked(&mut near, black_box(&mut cursor)).await.expect("an open pipe");
        }
    };
    let reading = async {
        let mut cursor = Cursor::new(vec![0; buffer]);
        for _ in 0..total / buffer {
            cursor.rewind();
            read_all(&mut far, black_box(&mut cursor)).await.expect("an open pipe");
        }
    };
    join(writing, reading).await;
}

fn run(subject: &str, buffer: usize, total: usize) -> Duration {
    let started = Instant::now();
    match subject {
        "routines" => block_on(by_routines(buffer, total)),
        _ => block_on(by_hand(buffer, total)),
    }
    started.elapsed()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare(row: &Row) {
    let (mut ours, mut hand, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        // Who goes first alternates, so that drift of the machine's speed falls on both.
        let order = if round % 2 == 0 { ["routines", "hand"] } else { ["hand", "routines"] };
        let mut seconds = [0.0; 2];
        for subject in order {
            let elapsed = run(subject, row.buffer, row.total).as_secs_f64();
            seconds[usize::from(subject == "hand")] = elapsed;
        }
        if round > 0 {
            ours.push(row.total as f64 / seconds[0] / 1e9);
            hand.push(row.total as f64 / seconds[1] / 1e9);
            ratios.push(seconds[0] / seconds[1]);
        }
    }
    let (least, most) = ratios.iter().fold((f64::MAX, 0.0_f64), |(l, m), r| (l.min(*r), m.max(*r)));
    println!(
        "{:<15} routines {:>6.2} GB/s, by hand {:>6.2} GB/s, time ratio {:.3} ({:.3} to {:.3})",
        row.name,
        median(ours),
        median(hand),
        median(ratios),
        least,
        most
    );
}

/// Instructions for `total` bytes, counted on this program itself.
fn instructions(subject: &str, buffer: usize, total: usize) -> Option<u64> {
    let words = ["--once", subject, &buffer.to_string(), &total.to_string()];
    callgrind::instructions(&words).expect("valgrind counts")
}

fn count(row: &Row) {
    // Two sizes, so that what the program does before and after cancels out.
    let (small, large) = (2 << 20, 10 << 20);
    let slope = |subject| {
        let more = instructions(subject, row.buffer, large)?;
        Some((more - instructions(subject, row.buffer, small)?) as f64 / (large - small) as f64)
    };
    match (slope("routines"), slope("hand")) {
        (Some(ours), Some(hand)) => println!(
            "{:<15} instructions a byte: routines {ours:.4}, by hand {hand:.4}, ratio {:.3}",
            row.name,
            ours / hand
        ),
        _ => println!("{:<15} instructions not counted: valgrind is not installed", row.name),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, once, subject, buffer, total] = &arguments[..] {
        if once == "--once" {
            let size = |text: &String| text.parse().expect("a number of bytes");
            run(subject, size(buffer), size(total));
            return;
        }
    }
    println!("in-memory pipe of {PIPE} bytes, chunks of {CHUNK}, {ROUNDS} rounds in turn, medians");
    ROWS.iter().for_each(compare);
    ROWS.iter().for_each(count);
}
