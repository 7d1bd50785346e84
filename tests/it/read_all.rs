//! `io::read_all`: what it brings, when it stops, and what its clock does meanwhile.

use std::time::Duration;

use duologue::io::{
    Cursor, Limits, ReadError, SomeCursor, read_all, read_all_with, write_all_chunked_with,
};
use duologue::testing::{Duplex, Fault, Faulty, Script, duplex};
use duologue::time::{Time, VirtualClock};
use futures::executor::block_on;
use futures::io::AllowStdIo;
use futures::{AsyncReadExt, AsyncWriteExt};

use crate::support::{is_pending, seconds, write_now};

const IDLE: Duration = Duration::from_secs(20);

/// A peer that writes `bytes` one by one, each after `pause`, and then keeps quiet.
async fn drip(clock: VirtualClock, mut far: Duplex, bytes: Vec<u8>, pause: Duration) {
    for byte in bytes {
        crate::support::sleep(&clock, pause).await;
        far.write_all(&[byte]).await.unwrap();
    }
    std::future::pending().await
}

/// Reads `len` bytes from a peer that drips, and gives the outcome, the moment and what arrived.
fn read_from_drip(
    len: usize,
    pause: Duration,
    limits: Limits,
) -> (Result<usize, ReadError>, Time, Vec<u8>) {
    let clock = VirtualClock::new();
    let (mut near, far) = duplex(64);
    let mut cursor = Cursor::new(vec![0; len]);
    let peer = drip(clock.clone(), far, (0..200).collect(), pause);
    let read = read_all_with(&mut near, &mut cursor, clock.timer()).limits(limits);
    let read = futures::future::select(Box::pin(read), Box::pin(peer));
    let outcome = match clock.block_on(read).unwrap() {
        futures::future::Either::Left((outcome, _)) => outcome,
        futures::future::Either::Right(_) => unreachable!("the peer never ends"),
    };
    (outcome, clock.now(), cursor.filled().to_vec())
}

#[test]
fn fills_the_cursor_exactly_and_leaves_the_rest_in_the_stream() {
    let mut stream = &b"hello, world"[..];
    let mut cursor = Cursor::new([0; 5]);
    assert_eq!(block_on(read_all(&mut stream, &mut cursor)), Ok(5));
    assert_eq!(cursor.filled(), b"hello");
    assert_eq!(stream, b", world");
}

#[test]
fn an_empty_cursor_is_complete_without_touching_the_stream() {
    let mut stream = AllowStdIo::new(crate::support::Untouchable);
    let mut cursor = Cursor::new([0; 0]);
    assert_eq!(block_on(read_all(&mut stream, &mut cursor)), Ok(0));
}

#[test]
fn silence_ends_after_exactly_twenty_seconds_and_keeps_what_arrived() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    write_now(&mut far, b"abc");
    let mut cursor = Cursor::new([0; 5]);

    let read = read_all_with(&mut near, &mut cursor, clock.timer());
    let error = clock.block_on(read).unwrap().unwrap_err();

    assert_eq!(error, ReadError::Idle { filled: 3, limit: IDLE });
    assert!(error.can_retry());
    assert_eq!(clock.now(), seconds(20));
    assert_eq!(cursor.filled(), b"abc");
}

#[test]
fn after_a_time_out_the_read_goes_on_with_a_fresh_countdown() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    write_now(&mut far, b"abc");
    let mut cursor = Cursor::new([0; 5]);
    let mut read = read_all_with(&mut near, &mut cursor, clock.timer());

    assert!(clock.block_on(&mut read).unwrap().is_err());
    assert!(clock.block_on(&mut read).unwrap().is_err());
    assert_eq!(clock.now(), seconds(40));
    write_now(&mut far, b"de");
    assert_eq!(clock.block_on(&mut read), Ok(Ok(5)));
    assert_eq!(cursor.filled(), b"abcde");
}

#[test]
fn every_byte_starts_the_idle_limit_anew() {
    let (outcome, at, bytes) = read_from_drip(10, Duration::from_secs(19), Limits::default());
    assert_eq!(outcome, Ok(10));
    assert_eq!(at, seconds(190));
    assert_eq!(bytes, (0..10).collect::<Vec<u8>>());
}

#[test]
fn idle_is_exact_to_the_microsecond_behind_the_last_byte() {
    let limits = Limits::default().idle(Duration::from_micros(999_999));
    let (outcome, at, bytes) = read_from_drip(10, Duration::from_secs(1), limits);
    assert_eq!(outcome, Err(ReadError::Idle { filled: 0, limit: Duration::from_micros(999_999) }));
    assert_eq!((at, bytes.len()), (Time::from_micros(999_999), 0));
}

#[test]
fn a_deadline_ends_a_drip_that_idle_never_would() {
    let limits = Limits::default().deadline(Duration::from_secs(60));
    let (outcome, at, bytes) = read_from_drip(10, Duration::from_secs(19), limits);
    assert_eq!(outcome, Err(ReadError::Deadline { filled: 3, limit: Duration::from_secs(60) }));
    assert_eq!((at, bytes.len()), (seconds(60), 3));
}

#[test]
fn a_minimum_rate_ends_a_drip_at_the_end_of_its_first_slow_window() {
    // Eleven bytes in eleven seconds are asked for; a byte every two seconds brings five.
    let limits = Limits::default().minimum_rate(1, Duration::from_secs(11));
    let (outcome, at, bytes) = read_from_drip(100, Duration::from_secs(2), limits);
    assert_eq!(outcome, Err(ReadError::TooSlow { filled: 5, minimum: 1 }));
    assert_eq!((at, bytes.len()), (seconds(11), 5));
}

#[test]
fn a_minimum_rate_lets_a_drip_pass_that_is_fast_enough() {
    let limits = Limits::default().minimum_rate(1, Duration::from_secs(10));
    let (outcome, at, _) = read_from_drip(100, Duration::from_millis(900), limits);
    assert_eq!((outcome, at), (Ok(100), Time::from_micros(90_000_000)));
}

/// Polls `read` once a second, each time with one more byte there: time passes between the polls
/// and never within one.
fn read_with_a_byte_before_each_poll(limits: Limits) -> (Result<usize, ReadError>, Time) {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    let mut cursor = Cursor::new(vec![0; 1000]);
    let mut read = read_all_with(&mut near, &mut cursor, clock.timer()).limits(limits);
    loop {
        write_now(&mut far, b"x");
        if let std::task::Poll::Ready(outcome) = crate::support::poll_once(&mut read) {
            return (outcome, clock.now());
        }
        clock.advance(Duration::from_secs(1));
    }
}

#[test]
fn a_deadline_and_a_rate_hold_when_every_poll_brings_a_byte() {
    // A busy executor: each poll moves something, so the future never has to park.
    let limit = Duration::from_secs(5);
    let (outcome, at) = read_with_a_byte_before_each_poll(Limits::default().deadline(limit));
    assert_eq!((outcome, at), (Err(ReadError::Deadline { filled: 6, limit }), seconds(5)));
    let slow = Limits::default().minimum_rate(1000, limit);
    let (outcome, at) = read_with_a_byte_before_each_poll(slow);
    assert_eq!((outcome, at), (Err(ReadError::TooSlow { filled: 6, minimum: 1000 }), seconds(5)));
    let (outcome, at) = read_with_a_byte_before_each_poll(Limits::default());
    assert_eq!((outcome, at), (Ok(1000), seconds(999)));
}

#[test]
fn a_good_window_is_followed_by_another_and_a_slow_one_ends_the_read() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    let mut cursor = Cursor::new(vec![0; 1000]);
    let limits = Limits::default().minimum_rate(1, Duration::from_secs(10));
    let read = read_all_with(&mut near, &mut cursor, clock.timer()).limits(limits);
    let peer_clock = clock.clone();
    let peer = async move {
        for pause in [1, 8, 8, 8] {
            crate::support::sleep(&peer_clock, Duration::from_secs(pause)).await;
            far.write_all(&[1; 12]).await.unwrap();
        }
        std::future::pending::<()>().await
    };
    let both = futures::future::select(Box::pin(read), Box::pin(peer));
    let futures::future::Either::Left((outcome, _)) = clock.block_on(both).unwrap() else {
        unreachable!("the peer never ends")
    };
    // Windows end at 10, 20 and 30 s with 24, 12 and 12 bytes; the fourth has none.
    assert_eq!(outcome, Err(ReadError::TooSlow { filled: 48, minimum: 1 }));
    assert_eq!(clock.now(), seconds(40));
}

#[test]
fn a_window_of_nanoseconds_is_one_of_a_microsecond() {
    let clock = VirtualClock::new();
    let (mut near, _silent) = duplex(64);
    let mut cursor = Cursor::new([0; 1]);
    let limits = Limits::default().minimum_rate(1_000_000, Duration::from_nanos(1));
    let read = read_all_with(&mut near, &mut cursor, clock.timer()).limits(limits);
    let minimum = 1_000_000;
    assert_eq!(clock.block_on(read), Ok(Err(ReadError::TooSlow { filled: 0, minimum })));
    assert_eq!((clock.now(), clock.resets()), (Time::from_micros(1), 1));
}

#[test]
fn what_was_fast_enough_for_a_window_stays_so_when_nobody_looks_for_a_while() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(4096);
    let mut cursor = Cursor::new(vec![0; 10_000]);
    let limits = Limits::default().idle(Duration::MAX).minimum_rate(100, Duration::from_secs(10));
    let mut read = read_all_with(&mut near, &mut cursor, clock.timer()).limits(limits);
    assert!(is_pending(&mut read));
    write_now(&mut far, &[1; 4096]);
    clock.advance(Duration::from_secs(60)); // our own absence, and not the peer's
    assert!(is_pending(&mut read));
}

#[test]
fn a_timer_that_goes_off_early_delays_nothing_and_ends_nothing() {
    /// Ready at the first poll after each arming, whatever the deadline.
    struct Hasty(VirtualClock, Option<duologue::time::VirtualTimer>, bool);
    impl duologue::time::Timer for Hasty {
        fn now(&self) -> Time {
            self.0.now()
        }
        fn reset(mut self: std::pin::Pin<&mut Self>, deadline: Time) {
            let mut timer = self.0.timer();
            std::pin::Pin::new(&mut timer).reset(deadline);
            self.1 = Some(timer);
            self.2 = !self.2;
        }
        fn poll(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<()> {
            if self.2 {
                return std::task::Poll::Ready(());
            }
            std::pin::Pin::new(self.1.as_mut().unwrap()).poll(cx)
        }
    }
    let clock = VirtualClock::new();
    let (mut near, _silent) = duplex(64);
    let mut cursor = Cursor::new([0; 1]);
    let read = read_all_with(&mut near, &mut cursor, Hasty(clock.clone(), None, false));
    let outcome = clock.block_on(read);
    assert_eq!(outcome, Ok(Err(ReadError::Idle { filled: 0, limit: IDLE })));
    assert_eq!(clock.now(), seconds(20));
}

#[test]
fn a_minimum_rate_of_zero_is_no_limit_and_wakes_nobody() {
    // Found by fuzzing: windows of a microsecond that no silence could ever fail.
    let clock = VirtualClock::new();
    let (mut near, _far) = duplex(64);
    let mut cursor = Cursor::new([0; 1]);
    let limits = Limits::default().minimum_rate(0, Duration::ZERO);
    let read = read_all_with(&mut near, &mut cursor, clock.timer()).limits(limits);
    assert_eq!(clock.block_on(read), Ok(Err(ReadError::Idle { filled: 0, limit: IDLE })));
    assert_eq!((clock.now(), clock.resets()), (seconds(20), 1));
}

#[test]
fn data_that_is_there_when_the_time_runs_out_wins() {
    // B6: the chapter's twentieth wait answers False although the byte has come.
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    let mut cursor = Cursor::new([0; 1]);
    let mut read = read_all_with(&mut near, &mut cursor, clock.timer());
    assert!(is_pending(&mut read));

    write_now(&mut far, b"x");
    clock.advance(IDLE * 2);
    assert_eq!(clock.block_on(&mut read), Ok(Ok(1)));
}

#[test]
fn end_of_stream_is_told_apart_from_silence_and_takes_no_time() {
    // B7: the chapter spins twenty times and calls both the same.
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    write_now(&mut far, b"ab");
    drop(far);
    let mut cursor = Cursor::new([0; 5]);
    let read = read_all_with(&mut near, &mut cursor, clock.timer());
    assert_eq!(clock.block_on(read), Ok(Err(ReadError::EndOfStream { filled: 2 })));
    assert_eq!(clock.now(), Time::ZERO);
    assert_eq!(clock.resets(), 0);
}

#[test]
fn the_countdown_starts_at_the_first_wait_and_not_before() {
    let clock = VirtualClock::new();
    let (mut near, _far) = duplex(64);
    let mut cursor = Cursor::new([0; 1]);
    let read = read_all_with(&mut near, &mut cursor, clock.timer());
    clock.advance(Duration::from_secs(3600));
    assert!(clock.block_on(read).unwrap().is_err());
    assert_eq!(clock.now(), seconds(3620));
}

#[test]
fn a_read_that_never_waits_never_reads_the_clock_or_arms_the_timer() {
    let clock = VirtualClock::new();
    let mut cursor = Cursor::new(vec![0; 1 << 20]);
    let mut stream = futures::io::repeat(7);
    let read = read_all_with(&mut stream, &mut cursor, clock.timer());
    assert_eq!(clock.block_on(read), Ok(Ok(1 << 20)));
    assert_eq!(clock.resets(), 0);
}

#[test]
fn the_timer_is_armed_once_for_an_idle_limit_and_not_for_every_byte() {
    // 1000 bytes over 1000 parks within one idle limit: one arming.
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    let mut cursor = Cursor::new(vec![0; 1000]);
    let mut read = read_all_with(&mut near, &mut cursor, clock.timer());
    for _ in 0..999 {
        assert!(is_pending(&mut read)); // gives way once
        assert!(is_pending(&mut read)); // parks
        assert_eq!(clock.resets(), 1);
        write_now(&mut far, b"x");
        clock.advance(Duration::from_millis(10));
    }
    // Exact all the same: the limit counts from the last byte, and not from the arming.
    let limit = IDLE;
    let outcome = clock.block_on(read);
    assert_eq!(outcome, Ok(Err(ReadError::Idle { filled: 999, limit })));
    assert_eq!(clock.now(), Time::from_micros(9_990_000 + 20_000_000));
    assert_eq!(clock.resets(), 2);
}

#[test]
fn two_ends_in_step_never_arm_the_timer() {
    // Each end finds the pipe empty or full again and again, but never after giving way once.
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(100);
    let mut sent = Cursor::new(vec![1; 10_000]);
    let mut received = Cursor::new(vec![0; 10_000]);
    let writing = write_all_chunked_with(&mut near, &mut sent, clock.timer());
    let reading = read_all_with(&mut far, &mut received, clock.timer());
    let both = futures::future::join(writing, reading);
    assert_eq!(clock.block_on(both), Ok((Ok(10_000), Ok(10_000))));
    assert_eq!(clock.resets(), 0);
}

#[test]
fn spurious_wakes_change_nothing() {
    let clock = VirtualClock::new();
    let script = Script::new().reads((0..1000).map(|_| Fault::SpuriousWake));
    let mut stream = Faulty::new(&b"abc"[..], script, &clock);
    let mut cursor = Cursor::new([0; 3]);
    let read = read_all_with(&mut stream, &mut cursor, clock.timer());
    assert_eq!(clock.block_on(read), Ok(Ok(3)));
    assert_eq!((clock.now(), clock.resets()), (Time::ZERO, 1));
}

#[test]
fn a_stream_that_is_always_ready_lets_other_tasks_run() {
    // One byte a call: 128 calls, then a yield. A neighbour that yields, too, gets its turns.
    let script = Script::new().reads((0..10_000).map(|_| Fault::Split(1)));
    let clock = VirtualClock::new();
    let mut stream = Faulty::new(futures::io::repeat(1), script, &clock);
    let mut cursor = Cursor::new(vec![0; 1280]);
    let turns = std::cell::Cell::new(0);
    let neighbour = async {
        loop {
            turns.set(turns.get() + 1);
            crate::support::yield_now().await;
        }
    };
    let read = read_all_with(&mut stream, &mut cursor, clock.timer());
    let both = futures::future::select(Box::pin(read), Box::pin(neighbour));
    assert!(matches!(clock.block_on(both), Ok(futures::future::Either::Left((Ok(1280), _)))));
    assert!((9..=11).contains(&turns.get()), "{} turns", turns.get());
}

#[test]
fn a_deadline_also_ends_a_stream_that_never_makes_it_wait() {
    let clock = VirtualClock::new();
    let mut stream = Faulty::new(
        futures::io::repeat(1),
        Script::new().reads((0..100_000).map(|_| Fault::Split(1))),
        &clock,
    );
    let mut cursor = Cursor::new(vec![0; 100_000]);
    let mut read = read_all_with(&mut stream, &mut cursor, clock.timer())
        .limits(Limits::default().deadline(Duration::from_secs(1)));
    assert!(is_pending(&mut read));
    clock.advance(Duration::from_secs(1));
    let limit = Duration::from_secs(1);
    assert_eq!(clock.block_on(read), Ok(Err(ReadError::Deadline { filled: 256, limit })));
}

#[test]
fn some_cursor_takes_what_is_there_and_can_be_used_again() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    let mut cursor = SomeCursor::new([0; 16]);
    for text in [&b"first"[..], b"2", b"the third one!!"] {
        write_now(&mut far, text);
        let read = read_all_with(&mut near, &mut cursor, clock.timer());
        assert_eq!(clock.block_on(read), Ok(Ok(text.len())));
        assert_eq!(cursor.filled(), text);
        cursor.clear();
        assert!(cursor.filled().is_empty());
    }
}

#[test]
fn several_limits_that_have_passed_are_told_by_the_earliest() {
    let limits = Limits::default()
        .idle(Duration::from_secs(5))
        .deadline(Duration::from_secs(7))
        .minimum_rate(100, Duration::from_secs(6));
    let clock = VirtualClock::new();
    let (mut near, _far) = duplex(64);
    let mut cursor = Cursor::new([0; 1]);
    let mut read = read_all_with(&mut near, &mut cursor, clock.timer()).limits(limits);
    assert!(is_pending(&mut read));
    clock.advance(Duration::from_secs(60));
    let limit = Duration::from_secs(5);
    assert_eq!(clock.block_on(read), Ok(Err(ReadError::Idle { filled: 0, limit })));

    // At the same moment the deadline counts: more time would not have helped.
    let limits = Limits::default().idle(limit).deadline(limit);
    let read = read_all_with(&mut near, &mut cursor, clock.timer()).limits(limits);
    assert_eq!(clock.block_on(read), Ok(Err(ReadError::Deadline { filled: 0, limit })));
}

#[test]
fn limits_of_zero_and_of_for_ever_do_not_overflow() {
    for limits in [
        Limits::default().idle(Duration::MAX),
        Limits::default().idle(Duration::MAX).deadline(Duration::MAX),
        Limits::default().idle(Duration::MAX).minimum_rate(u64::MAX, Duration::MAX),
    ] {
        let clock = VirtualClock::new();
        clock.advance_to(Time::from_micros(u64::MAX - 5));
        let (mut near, _far) = duplex(64);
        let mut cursor = Cursor::new([0; 1]);
        let mut read = read_all_with(&mut near, &mut cursor, clock.timer()).limits(limits);
        assert!(is_pending(&mut read));
    }
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    let mut cursor = Cursor::new([0; 1]);
    let never_wait = Limits::default().idle(Duration::ZERO);
    let read = read_all_with(&mut near, &mut cursor, clock.timer()).limits(never_wait);
    let limit = Duration::ZERO;
    assert_eq!(clock.block_on(read), Ok(Err(ReadError::Idle { filled: 0, limit })));
    write_now(&mut far, b"x");
    let read = read_all_with(&mut near, &mut cursor, clock.timer()).limits(never_wait);
    assert_eq!(clock.block_on(read), Ok(Ok(1)));
    // Bytes that are there always win, however many calls they take.
    let script = Script::new().reads((0..1000).map(|_| Fault::Split(1)));
    let mut stream = Faulty::new(futures::io::repeat(1), script, &clock);
    let mut cursor = Cursor::new([0; 1000]);
    let read = read_all_with(&mut stream, &mut cursor, clock.timer()).limits(never_wait);
    assert_eq!(clock.block_on(read), Ok(Ok(1000)));
}

#[test]
fn the_read_error_becomes_an_io_error_of_the_right_kind() {
    use std::io::{Error, ErrorKind};
    let limit = IDLE;
    for (error, kind) in [
        (ReadError::EndOfStream { filled: 1 }, ErrorKind::UnexpectedEof),
        (ReadError::Idle { filled: 1, limit }, ErrorKind::TimedOut),
        (ReadError::Deadline { filled: 1, limit }, ErrorKind::TimedOut),
        (ReadError::TooSlow { filled: 1, minimum: 9 }, ErrorKind::TimedOut),
    ] {
        let text = error.to_string();
        assert_eq!(error.filled(), 1);
        let error = Error::from(error);
        assert_eq!(error.kind(), kind);
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_real_clock_and_a_real_thread_agree() {
    // The default timer: a peer on another thread, and a limit that passes for real.
    let (mut near, mut far) = duplex(64);
    let peer = std::thread::spawn(move || {
        block_on(far.write_all(b"abc")).unwrap();
        far
    });
    let mut cursor = Cursor::new([0; 3]);
    assert_eq!(block_on(read_all(&mut near, &mut cursor)), Ok(3));
    let _far = peer.join().unwrap();

    let mut more = Cursor::new([0; 3]);
    let limits = Limits::default().idle(Duration::from_millis(30));
    let started = std::time::Instant::now();
    let error = block_on(read_all(&mut near, &mut more).limits(limits)).unwrap_err();
    assert!(matches!(error, ReadError::Idle { filled: 0, .. }));
    assert!(started.elapsed() >= Duration::from_millis(30));
    let mut nothing = [0; 1];
    drop(_far);
    assert_eq!(block_on(near.read(&mut nothing)).unwrap(), 0);
}
