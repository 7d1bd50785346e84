//! Size-first reading: limits before memory, memory by what arrived.

use std::time::Duration;

use duologue::io::{Limits, ReadError, SizeError, SizePrefix, SizedCursor, read_all_with};
use duologue::testing::{Fault, Faulty, Script, SplitMix64, duplex};
use duologue::time::VirtualClock;
use futures::AsyncWriteExt;

use crate::support::{is_pending, write_now};

fn read(prefix: SizePrefix, limit: u64, bytes: &[u8]) -> (Result<usize, ReadError>, Vec<u8>) {
    let clock = VirtualClock::new();
    let mut stream = bytes;
    let mut cursor = SizedCursor::new(prefix, limit);
    let outcome = clock.block_on(read_all_with(&mut stream, &mut cursor, clock.timer())).unwrap();
    (outcome, cursor.into_body())
}

#[test]
fn the_chapters_hello_is_read_by_its_size() {
    let golden = [0x05, 0, 0, 0, 0x68, 0x65, 0x6C, 0x6C, 0x6F];
    assert_eq!(read(SizePrefix::I32Le, 100, &golden), (Ok(5), b"hello".to_vec()));
}

#[test]
fn sizes_are_refused_before_any_memory_is_taken() {
    // H1, A1, B3, B14: what the number says is never allocated.
    for (prefix, bytes, error) in [
        (SizePrefix::I32Le, [0xFF; 4], SizeError::Negative { size: -1 }),
        (SizePrefix::I32Le, [0, 0, 0, 0x80], SizeError::Negative { size: i64::from(i32::MIN) }),
        (
            SizePrefix::I32Le,
            [0xFF, 0xFF, 0xFF, 0x7F],
            SizeError::OverLimit { size: 0x7FFF_FFFF, limit: 1000 },
        ),
        (SizePrefix::I32Le, *b"GET ", SizeError::OverLimit { size: 0x2054_4547, limit: 1000 }),
        (SizePrefix::U32Be, [0xFF; 4], SizeError::OverLimit { size: 0xFFFF_FFFF, limit: 1000 }),
        (SizePrefix::U32Be, [0, 0, 3, 0xE9], SizeError::OverLimit { size: 1001, limit: 1000 }),
        (SizePrefix::U32Le, [0xE9, 3, 0, 0], SizeError::OverLimit { size: 1001, limit: 1000 }),
    ] {
        let (outcome, body) = read(prefix, 1000, &bytes);
        assert_eq!(outcome, Err(ReadError::Size { filled: 0, error }));
        assert_eq!(body.capacity(), 0);
    }
    assert_eq!(read(SizePrefix::U32Be, 1000, &[0, 0, 3, 0xE8]).0.unwrap_err().filled(), 0);
}

#[test]
fn memory_follows_the_bytes_that_arrived_and_not_the_announcement() {
    // H34: 1 GiB is announced and allowed; ten bytes come.
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(1 << 20);
    let mut cursor = SizedCursor::new(SizePrefix::U32Be, 1 << 30);
    write_now(&mut far, &(1_u32 << 30).to_be_bytes());
    write_now(&mut far, &[7; 10]);
    assert!(is_pending(&mut read_all_with(&mut near, &mut cursor, clock.timer())));
    assert_eq!((cursor.size(), cursor.body()), (Some(1 << 30), &[7; 10][..]));
    assert_eq!(cursor.clone().into_body().capacity(), 16 * 1024);

    // At every moment at most twice what has arrived, or the first step.
    for arrived in (10..300_000_usize).step_by(9_999).skip(1) {
        write_now(&mut far, &vec![7; arrived - cursor.body().len()]);
        assert!(is_pending(&mut read_all_with(&mut near, &mut cursor, clock.timer())));
        assert_eq!(cursor.body().len(), arrived);
        let held = cursor.clone().into_body().capacity();
        assert!(held <= (2 * arrived).max(16 * 1024), "{held} held for {arrived}");
    }
}

#[test]
fn the_buffer_ends_at_the_size_exactly() {
    for size in [0, 1, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 100_000] {
        let mut bytes = (size as u32).to_be_bytes().to_vec();
        bytes.extend((0..size).map(|n| n as u8));
        let expected = bytes[4..].to_vec();
        bytes.extend(b"the next message");
        let clock = VirtualClock::new();
        let mut stream = &bytes[..];
        let mut cursor = SizedCursor::new(SizePrefix::U32Be, 100_000);
        let read = read_all_with(&mut stream, &mut cursor, clock.timer());
        assert_eq!(clock.block_on(read), Ok(Ok(size)));
        assert_eq!(stream, b"the next message");
        assert_eq!(cursor.into_body(), expected);
    }
}

#[test]
fn a_short_body_is_an_error_and_never_padded() {
    // B2: the chapter writes the missing bytes from the heap.
    let (outcome, body) = read(SizePrefix::I32Le, 100, b"\x05\0\0\0hel");
    assert_eq!(outcome, Err(ReadError::EndOfStream { filled: 3 }));
    assert_eq!(body, b"hel");
    let (outcome, body) = read(SizePrefix::I32Le, 100, b"\x05\0");
    assert_eq!(outcome, Err(ReadError::EndOfStream { filled: 0 }));
    assert_eq!(body, b"");
}

#[test]
fn a_body_goes_on_after_a_time_out_and_over_any_splits() {
    let body: Vec<u8> = (0..50_000).map(|n| (n % 251) as u8).collect();
    let mut bytes = SizePrefix::I32Le.encode(body.len() as u64).unwrap().to_vec();
    bytes.extend(&body);
    let mut timeouts = 0;
    for seed in 0..50 {
        let mut random = SplitMix64::new(seed);
        let clock = VirtualClock::new();
        let script = Script::new().reads((0..500).map(|_| match random.below(3) {
            0 => Fault::Delay(Duration::from_secs(random.below(40))),
            1 => Fault::SpuriousWake,
            _ => Fault::Split(random.log_uniform(4096) as usize),
        }));
        let mut stream = Faulty::new(&bytes[..], script, &clock);
        let mut cursor = SizedCursor::new(SizePrefix::I32Le, 1 << 20);
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 1000);
            let read = read_all_with(&mut stream, &mut cursor, clock.timer())
                .limits(Limits::default().idle(Duration::from_secs(20)));
            match clock.block_on(read).unwrap() {
                Ok(n) => break assert_eq!(n, body.len()),
                Err(ReadError::Idle { .. }) => timeouts += 1,
                Err(other) => panic!("seed {seed}: {other}"),
            }
        }
        assert_eq!(cursor.into_body(), body);
    }
    assert!(timeouts > 50, "only {timeouts} time-outs");
}

#[test]
fn a_cleared_cursor_reads_the_next_message_and_keeps_its_memory() {
    let clock = VirtualClock::new();
    let mut bytes = Vec::new();
    for size in [20_000_u32, 3, 0] {
        bytes.extend(size.to_be_bytes());
        bytes.extend((0..size).map(|n| (n + size) as u8));
    }
    bytes.extend([0, 0]); // a size that is cut off
    let mut stream = &bytes[..];
    let mut cursor = SizedCursor::new(SizePrefix::U32Be, 20_000);
    for size in [20_000_u32, 3, 0] {
        assert!(cursor.is_empty());
        let read = read_all_with(&mut stream, &mut cursor, clock.timer());
        assert_eq!(clock.block_on(read), Ok(Ok(size as usize)));
        assert!(!cursor.is_empty());
        assert_eq!(cursor.body(), (0..size).map(|n| (n + size) as u8).collect::<Vec<_>>());
        cursor.clear();
        assert_eq!((cursor.body(), cursor.size()), (&[][..], None));
    }
    let read = read_all_with(&mut stream, &mut cursor, clock.timer());
    assert_eq!(clock.block_on(read), Ok(Err(ReadError::EndOfStream { filled: 0 })));
    assert!(!cursor.is_empty(), "it ended within a size, and not between two messages");
}

#[test]
fn refusal_is_final_for_the_cursor() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    write_now(&mut far, &[0xFF; 4]);
    let mut cursor = SizedCursor::new(SizePrefix::I32Le, 10);
    for _ in 0..3 {
        let outcome = clock.block_on(read_all_with(&mut near, &mut cursor, clock.timer()));
        let error = SizeError::Negative { size: -1 };
        assert_eq!(outcome, Ok(Err(ReadError::Size { filled: 0, error })));
        futures::executor::block_on(far.write_all(b"more")).unwrap();
    }
}

#[test]
fn prefixes_write_what_they_read_and_never_wrap() {
    for prefix in [SizePrefix::I32Le, SizePrefix::U32Be, SizePrefix::U32Le] {
        for size in [0, 1, 255, 256, 65_535, 0x7FFF_FFFF, prefix.max()] {
            let bytes = prefix.encode(size).unwrap();
            assert_eq!(prefix.decode(bytes, u64::MAX), Ok(size));
        }
        for size in [prefix.max() + 1, 1 << 33, u64::MAX] {
            let error = SizeError::OverLimit { size, limit: prefix.max() };
            assert_eq!(prefix.encode(size), Err(error));
        }
    }
}
