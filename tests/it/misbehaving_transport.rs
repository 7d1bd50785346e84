//! H19, T3, T4: transports that break the contract of their traits, or stretch it.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use duologue::io::{
    Cursor, ReadError, SizePrefix, SizedCursor, TransportError, WriteError, read_all_with,
    write_all_chunked_with,
};
use duologue::testing::{Fault, Faulty, Script, duplex};
use duologue::time::{Time, Timer, VirtualClock};
use futures::io::AsyncRead;

use crate::support::is_pending;

fn read(faults: impl IntoIterator<Item = Fault>) -> (Result<usize, ReadError>, Vec<u8>, Time) {
    let clock = VirtualClock::new();
    let script = Script::new().reads(faults);
    let mut stream = Faulty::new(&b"hello"[..], script, &clock);
    let mut cursor = Cursor::new([0; 5]);
    let outcome = clock.block_on(read_all_with(&mut stream, &mut cursor, clock.timer())).unwrap();
    (outcome, cursor.filled().to_vec(), clock.now())
}

fn write(faults: impl IntoIterator<Item = Fault>) -> (Result<usize, WriteError>, Vec<u8>) {
    let clock = VirtualClock::new();
    let script = Script::new().writes(faults);
    let mut stream = Faulty::new(Vec::new(), script, &clock);
    let mut cursor = Cursor::new(b"hello");
    let write = write_all_chunked_with(&mut stream, &mut cursor, clock.timer());
    (clock.block_on(write).unwrap(), stream.into_inner())
}

#[test]
fn t4_h19_more_bytes_than_asked_for_are_an_error_and_not_a_panic() {
    let error = TransportError::Overrun { claimed: 5, offered: 4 };
    assert_eq!(error.to_string(), "the stream claims to have moved 5 of 4 bytes");
    let (outcome, filled, _) = read([Fault::Split(1), Fault::Overrun]);
    assert_eq!(outcome, Err(ReadError::Transport { filled: 1, error: error.clone() }));
    assert_eq!(filled, b"h");

    let (outcome, written) = write([Fault::Split(1), Fault::Overrun]);
    assert_eq!(outcome, Err(WriteError::Transport { written: 1, error }));
    assert_eq!(written, b"h");
}

#[test]
fn t3_interruptions_are_retried_but_not_for_ever() {
    let interrupted = || Fault::Fail(ErrorKind::Interrupted);
    let some = || (0..15).map(|_| interrupted());
    // Fifteen in a row, twice, with a byte between: retried.
    let faults = some().chain([Fault::Split(1)]).chain(some());
    assert_eq!(read(faults.clone()).0, Ok(5));
    assert_eq!(write(faults).0, Ok(5));
    // Sixteen in a row: an error, as a transport that does nothing else would spin.
    let faults = (0..16).map(|_| interrupted());
    let error = TransportError::Interrupted;
    assert_eq!(
        read(faults.clone()).0,
        Err(ReadError::Transport { filled: 0, error: error.clone() })
    );
    assert_eq!(write(faults).0, Err(WriteError::Transport { written: 0, error }));
}

#[test]
fn errors_keep_their_kind_and_what_has_arrived() {
    for kind in [ErrorKind::ConnectionReset, ErrorKind::WouldBlock, ErrorKind::TimedOut] {
        let error = TransportError::Io { kind, code: None };
        let (outcome, filled, _) = read([Fault::Split(3), Fault::Fail(kind)]);
        assert_eq!(outcome, Err(ReadError::Transport { filled: 3, error: error.clone() }));
        assert_eq!(filled, b"hel");
        let (outcome, written) = write([Fault::Split(3), Fault::Fail(kind)]);
        assert_eq!(outcome, Err(WriteError::Transport { written: 3, error: error.clone() }));
        assert_eq!(written, b"hel");
        assert_eq!(io::Error::from(error).kind(), kind);
    }
}

#[test]
fn an_operating_system_error_keeps_its_code() {
    let original = io::Error::from_raw_os_error(104);
    let error = TransportError::from(io::Error::from_raw_os_error(104));
    assert_eq!(error.kind(), original.kind());
    assert_eq!(error.to_string(), original.to_string());
    assert_eq!(io::Error::from(error).raw_os_error(), Some(104));
}

#[test]
fn bytes_after_the_end_of_the_stream_are_taken_only_when_asked_again() {
    let clock = VirtualClock::new();
    let script = Script::new().reads([Fault::Split(2), Fault::Zero]);
    let mut stream = Faulty::new(&b"hello"[..], script, &clock);
    let mut cursor = Cursor::new([0; 5]);
    let mut read = read_all_with(&mut stream, &mut cursor, clock.timer());
    assert_eq!(clock.block_on(&mut read), Ok(Err(ReadError::EndOfStream { filled: 2 })));
    assert_eq!(clock.block_on(&mut read), Ok(Ok(5)));
    assert_eq!(cursor.filled(), b"hello");
}

#[test]
fn a_cut_is_an_end_for_the_reader_and_a_reset_for_the_writer() {
    assert_eq!(read([Fault::Split(2), Fault::Cut]).0, Err(ReadError::EndOfStream { filled: 2 }));
    let error = TransportError::Io { kind: ErrorKind::ConnectionReset, code: None };
    assert_eq!(
        write([Fault::Split(2), Fault::Cut]).0,
        Err(WriteError::Transport { written: 2, error })
    );
}

#[test]
fn a_stalled_transport_ends_by_the_clock_alone() {
    let (outcome, _, at) = read([Fault::Split(2), Fault::Stall]);
    assert!(matches!(outcome, Err(ReadError::Idle { filled: 2, .. })));
    assert_eq!(at, crate::support::seconds(20));
}

/// A reader that reports bytes without writing any.
struct Liar;

impl AsyncRead for Liar {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }
}

#[test]
fn a_reader_that_writes_nothing_shows_only_zeroes() {
    // RUSTSEC-2020-0123 was such a reader over uninitialised memory; safe code has none.
    let clock = VirtualClock::new();
    let mut cursor = SizedCursor::new(SizePrefix::U32Be, 1 << 20);
    let mut liar = Liar;
    let read = read_all_with(&mut liar, &mut cursor, clock.timer());
    assert_eq!(clock.block_on(read), Ok(Ok(0)));
    assert_eq!(cursor.size(), Some(0));
}

/// A timer that has always fired, whatever the time.
struct Hasty(Cell<u32>);

impl Timer for Hasty {
    fn now(&self) -> Time {
        Time::ZERO
    }

    fn reset(self: Pin<&mut Self>, _deadline: Time) {}

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        self.0.set(self.0.get() + 1);
        assert!(self.0.get() < 1000, "it is asked again and again");
        Poll::Ready(())
    }
}

#[test]
fn t10_a_timer_that_has_always_fired_neither_ends_a_routine_nor_keeps_its_thread() {
    let (mut near, _far) = duplex(10);
    let mut buffer = [0; 4];
    let mut cursor = Cursor::new(&mut buffer[..]);
    let mut reading = read_all_with(&mut near, &mut cursor, Hasty(Default::default()));
    for _ in 0..100 {
        assert!(is_pending(&mut reading));
    }
}
