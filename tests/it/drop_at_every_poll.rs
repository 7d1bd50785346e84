//! The two routines are cancel safe: a future dropped after any number of polls loses nothing.
//!
//! This is the true cure for the chapter's lost packets (B8): a timed-out read of the original
//! stays in flight, and its bytes land where nobody looks.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use duologue::io::{
    ChunkSize, Cursor, SizePrefix, SizedCursor, SomeCursor, read_all_with, write_all_chunked_with,
};
use duologue::testing::{Fault, Faulty, Profile, Script};
use duologue::time::VirtualClock;

/// Polls a new future `polls` times and drops it, until one of them ends.
///
/// After each `Pending` the clock moves to the next deadline, so that delays pass.
pub(crate) fn run_dropping_after<T>(
    polls: usize,
    clock: &VirtualClock,
    mut attempt: impl AsyncFnMut() -> T,
) -> (T, usize) {
    for dropped in 0..100_000 {
        let mut future = pin!(attempt());
        for _ in 0..polls {
            if let Poll::Ready(output) =
                future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            {
                return (output, dropped);
            }
            if let Some(at) = clock.next_deadline() {
                clock.advance_to(at);
            }
        }
    }
    panic!("no end after 100,000 dropped futures");
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

/// Single bytes, each behind a `Pending`: a poll moves one byte at most.
pub(crate) fn byte_by_byte(len: usize) -> Script {
    let faults = || (0..len).flat_map(|_| [Fault::SpuriousWake, Fault::Split(1)]);
    Script::new().reads(faults()).writes(faults())
}

#[test]
fn read_all_dropped_after_every_number_of_polls_loses_no_byte() {
    let data = data(60);
    for polls in 1..=61 {
        let clock = VirtualClock::new();
        let mut stream = Faulty::new(&data[..], byte_by_byte(60), &clock);
        let mut cursor = Cursor::new([0; 60]);
        let (outcome, dropped) = run_dropping_after(polls, &clock, async || {
            read_all_with(&mut stream, &mut cursor, clock.timer()).await
        });
        assert_eq!(outcome, Ok(60));
        assert_eq!(cursor.filled(), data);
        assert_eq!(dropped, 60 / polls);
    }
}

#[test]
fn sized_reads_dropped_after_every_number_of_polls_lose_no_byte() {
    let mut bytes = SizePrefix::I32Le.encode(60).unwrap().to_vec();
    bytes.extend(data(60));
    for polls in 1..=65 {
        let clock = VirtualClock::new();
        let mut stream = Faulty::new(&bytes[..], byte_by_byte(64), &clock);
        let mut cursor = SizedCursor::new(SizePrefix::I32Le, 100);
        let (outcome, _) = run_dropping_after(polls, &clock, async || {
            read_all_with(&mut stream, &mut cursor, clock.timer()).await
        });
        assert_eq!(outcome, Ok(60));
        assert_eq!(cursor.body(), data(60));
    }
}

#[test]
fn reads_of_some_bytes_dropped_after_every_poll_lose_no_byte() {
    let data = data(60);
    let clock = VirtualClock::new();
    let mut stream = Faulty::new(&data[..], byte_by_byte(60), &clock);
    let mut received: Vec<u8> = Vec::new();
    while received.len() < 60 {
        let mut cursor = SomeCursor::new([0; 8]);
        let (outcome, _) = run_dropping_after(1, &clock, async || {
            read_all_with(&mut stream, &mut cursor, clock.timer()).await
        });
        assert_eq!(outcome, Ok(1));
        received.extend_from_slice(cursor.filled());
    }
    assert_eq!(received, data);
}

#[test]
fn write_all_chunked_dropped_after_every_number_of_polls_writes_every_byte_once() {
    let data = data(60);
    for polls in 1..=61 {
        let clock = VirtualClock::new();
        let mut stream = Faulty::new(Vec::new(), byte_by_byte(60), &clock);
        let mut cursor = Cursor::new(&data[..]);
        let (outcome, dropped) = run_dropping_after(polls, &clock, async || {
            write_all_chunked_with(&mut stream, &mut cursor, clock.timer())
                .chunk(ChunkSize::new(7).unwrap())
                .await
        });
        assert_eq!(outcome, Ok(60));
        assert_eq!(stream.into_inner(), data);
        assert_eq!(dropped, 60 / polls);
    }
}

#[test]
fn seeded_scripts_and_drops_lose_no_byte_either_way() {
    let data = data(100_000);
    let profile = Profile::benign().calls(2_000);
    for seed in 0..200 {
        let clock = VirtualClock::new();
        let polls = 1 + seed as usize % 7;
        let mut source = Faulty::new(&data[..], Script::seeded(seed, &profile), &clock);
        let mut cursor = Cursor::new(vec![0; data.len()]);
        loop {
            let (outcome, _) = run_dropping_after(polls, &clock, async || {
                read_all_with(&mut source, &mut cursor, clock.timer()).await
            });
            match outcome {
                Ok(n) => break assert_eq!(n, data.len()),
                // Sixteen interruptions in a row are an error; going on is legal after it.
                Err(error) => assert!(error.filled() < data.len(), "seed {seed}: {error}"),
            }
        }
        assert!(cursor.filled() == data, "seed {seed}");

        let mut sink = Faulty::new(Vec::new(), Script::seeded(seed, &profile), &clock);
        let mut cursor = Cursor::new(&data[..]);
        loop {
            let (outcome, _) = run_dropping_after(polls, &clock, async || {
                write_all_chunked_with(&mut sink, &mut cursor, clock.timer()).await
            });
            match outcome {
                Ok(n) => break assert_eq!(n, data.len()),
                Err(error) => assert!(error.written() < data.len(), "seed {seed}: {error}"),
            }
        }
        assert!(sink.into_inner() == data, "seed {seed}");
    }
}
