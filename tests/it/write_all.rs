//! `io::write_all_chunked`: chunks, stalls, and what the stream has taken.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use duologue::io::{
    ChunkSize, Cursor, Limits, TransportError, WriteError, write_all_chunked,
    write_all_chunked_with,
};
use duologue::testing::{Fault, Faulty, Script, duplex};
use duologue::time::{Time, VirtualClock};
use futures::executor::block_on;
use futures::io::{AllowStdIo, AsyncWrite};
use futures::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Untouchable, is_pending, seconds};

/// Takes everything and remembers how much it was handed in each call.
#[derive(Default)]
struct Ledger {
    calls: Vec<usize>,
    flushed: bool,
}

impl AsyncWrite for Ledger {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.calls.push(buf.len());
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn hands_over_at_most_16384_bytes_a_call_and_does_not_flush() {
    let mut stream = Ledger::default();
    let mut cursor = Cursor::new(vec![1; 40_000]);
    assert_eq!(block_on(write_all_chunked(&mut stream, &mut cursor)), Ok(40_000));
    assert_eq!(stream.calls, [16_384, 16_384, 7_232]);
    assert!(!stream.flushed);
}

#[test]
fn the_chunk_can_be_chosen_from_one_byte_to_one_mebibyte() {
    for (chunk, calls) in [(1, vec![1; 5]), (2, vec![2, 2, 1]), (5, vec![5]), (1 << 20, vec![5])] {
        let mut stream = Ledger::default();
        let chunk = ChunkSize::new(chunk).unwrap();
        let mut cursor = Cursor::new(b"hello");
        let write = write_all_chunked(&mut stream, &mut cursor).chunk(chunk);
        assert_eq!(block_on(write), Ok(5));
        assert_eq!(stream.calls, calls);
    }
    for refused in [0, (1 << 20) + 1, usize::MAX] {
        let error = ChunkSize::new(refused).unwrap_err().to_string();
        assert_eq!(error, format!("a chunk of {refused} bytes is outside 1 to 1048576"));
    }
}

#[test]
fn an_empty_cursor_is_written_without_touching_the_stream() {
    let mut stream = AllowStdIo::new(Untouchable);
    assert_eq!(block_on(write_all_chunked(&mut stream, &mut Cursor::new(b""))), Ok(0));
}

#[test]
fn a_peer_that_stops_reading_ends_the_write_after_exactly_the_idle_limit() {
    // B9: the chapter's WriteStream would try for ever.
    let clock = VirtualClock::new();
    let (mut near, _far) = duplex(100);
    let mut cursor = Cursor::new(vec![1; 250]);
    let write = write_all_chunked_with(&mut near, &mut cursor, clock.timer());
    let limit = Duration::from_secs(20);
    let error = clock.block_on(write).unwrap().unwrap_err();
    assert_eq!(error, WriteError::Stalled { written: 100, limit });
    assert!(error.can_retry());
    assert_eq!(clock.now(), seconds(20));
}

#[test]
fn after_a_stall_the_write_goes_on_and_no_byte_is_written_twice() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(100);
    let data: Vec<u8> = (0..250).map(|n| n as u8).collect();
    let mut cursor = Cursor::new(&data[..]);
    assert!(
        clock
            .block_on(write_all_chunked_with(&mut near, &mut cursor, clock.timer()))
            .unwrap()
            .is_err()
    );
    let rest = async {
        let mut write = write_all_chunked_with(&mut near, &mut cursor, clock.timer());
        let written = (&mut write).await;
        near.close().await.unwrap();
        written
    };
    let mut received = Vec::new();
    let both = async { futures::join!(rest, far.read_to_end(&mut received)) };
    let (written, read) = clock.block_on(both).unwrap();
    assert_eq!((written, read.unwrap()), (Ok(250), 250));
    assert_eq!(received, data);
}

#[test]
fn a_deadline_and_a_minimum_rate_end_a_peer_that_reads_drop_by_drop() {
    let drip = |limits: Limits| {
        let clock = VirtualClock::new();
        let (mut near, mut far) = duplex(1);
        let mut cursor = Cursor::new(vec![1; 100]);
        let write = write_all_chunked_with(&mut near, &mut cursor, clock.timer()).limits(limits);
        let slow_reader = async {
            loop {
                crate::support::sleep(&clock, Duration::from_secs(10)).await;
                far.read_exact(&mut [0]).await.unwrap();
            }
        };
        let both = futures::future::select(Box::pin(write), Box::pin(slow_reader));
        match clock.block_on(both).unwrap() {
            futures::future::Either::Left((outcome, _)) => (outcome, clock.now()),
            futures::future::Either::Right(_) => unreachable!("the reader never ends"),
        }
    };
    let limit = Duration::from_secs(35);
    assert_eq!(
        drip(Limits::default().deadline(limit)),
        (Err(WriteError::Deadline { written: 4, limit }), seconds(35))
    );
    assert_eq!(
        drip(Limits::default().minimum_rate(1, limit)),
        (Err(WriteError::TooSlow { written: 4, minimum: 1 }), seconds(35))
    );
}

#[test]
fn a_stream_that_takes_nothing_is_an_error_and_not_a_loop() {
    let clock = VirtualClock::new();
    let script = Script::new().writes([Fault::Split(2), Fault::Zero]);
    let mut stream = Faulty::new(Vec::new(), script, &clock);
    let mut cursor = Cursor::new(b"hello");
    let write = write_all_chunked_with(&mut stream, &mut cursor, clock.timer());
    let error = TransportError::WriteZero;
    assert_eq!(clock.block_on(write), Ok(Err(WriteError::Transport { written: 2, error })));
    // Even that loses nothing: the stream has recovered, and the write goes on.
    let write = write_all_chunked_with(&mut stream, &mut cursor, clock.timer());
    assert_eq!(clock.block_on(write), Ok(Ok(5)));
    assert_eq!(stream.into_inner(), b"hello");
}

#[test]
fn the_timer_is_not_armed_while_the_stream_takes_bytes() {
    let clock = VirtualClock::new();
    let mut cursor = Cursor::new(vec![0; 1 << 22]);
    let mut stream = futures::io::sink();
    let write = write_all_chunked_with(&mut stream, &mut cursor, clock.timer());
    assert_eq!(clock.block_on(write), Ok(Ok(1 << 22)));
    assert_eq!((clock.resets(), clock.now()), (0, Time::ZERO));
}

#[test]
fn a_write_can_be_watched_from_the_cursor() {
    let clock = VirtualClock::new();
    let (mut near, far) = duplex(3);
    let mut cursor = Cursor::new(b"hello");
    assert!(is_pending(&mut write_all_chunked_with(&mut near, &mut cursor, clock.timer())));
    assert_eq!((cursor.position(), cursor.remaining(), cursor.filled()), (3, 2, &b"hel"[..]));
    assert_eq!(far.readable(), 3);
    cursor.rewind();
    assert_eq!(cursor.position(), 0);
}

#[test]
fn the_write_error_becomes_an_io_error_of_the_right_kind() {
    use std::io::{Error, ErrorKind};
    let limit = Duration::from_secs(1);
    for (error, kind) in [
        (WriteError::Stalled { written: 1, limit }, ErrorKind::TimedOut),
        (WriteError::Deadline { written: 1, limit }, ErrorKind::TimedOut),
        (WriteError::TooSlow { written: 1, minimum: 9 }, ErrorKind::TimedOut),
        (
            WriteError::Transport { written: 1, error: TransportError::WriteZero },
            ErrorKind::WriteZero,
        ),
    ] {
        assert_eq!(error.written(), 1);
        assert_eq!(Error::from(error).kind(), kind);
    }
}
