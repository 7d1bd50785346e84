//! A file over any stream: what the receiver and the sender promise beside the format.

use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use duologue::io::{Limits, ReadError, SizeError, TransportError, WriteError};
use duologue::legacy::{FileError, FileReceiveError, FileReceiver, FileSendError, FileSender};
use duologue::testing::{Duplex, Fault, Faulty, Profile, Script, duplex};
use duologue::time::VirtualClock;
use futures::io::{AsyncRead, AsyncWrite};

use crate::support::{is_pending, poll_once, seconds, sleep, write_now};

fn file(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

fn wire(file: &[u8]) -> Vec<u8> {
    let size = i32::try_from(file.len()).unwrap();
    [&size.to_le_bytes(), file].concat()
}

fn truncated(received: u64, size: u64) -> FileReceiveError {
    FileReceiveError::Format(FileError::Truncated { received, size: Some(size) })
}

/// Receives with a limit of 1 MiB; the outcome and what the sink got.
fn receive<R>(stream: &mut R, clock: &VirtualClock) -> (Result<u64, FileReceiveError>, Vec<u8>)
where
    R: AsyncRead + Unpin,
{
    let (mut receiver, mut sink) = (FileReceiver::new(1 << 20), Vec::new());
    let received = receiver.receive_with(stream, &mut sink, clock.timer());
    (clock.block_on(received).unwrap(), sink)
}

/// Sends `source` announced as `size`; the outcome, and what a receiver made of it.
fn send(
    source: &[u8],
    size: u64,
) -> (Result<(), FileSendError>, Result<u64, FileReceiveError>, Vec<u8>) {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(1000);
    let mut sender = FileSender::new(size).unwrap();
    let mut source = source;
    let both = async {
        let (mut receiver, mut sink) = (FileReceiver::new(1 << 20), Vec::new());
        let (sent, received) = futures::join!(
            sender.send_with(&mut source, &mut near, clock.timer()),
            receiver.receive_with(&mut far, &mut sink, clock.timer()),
        );
        (sent, received, sink)
    };
    let outcome = clock.block_on(both).unwrap();
    assert_eq!(clock.now(), seconds(0), "nobody had to wait for a time-out");
    outcome
}

/// A sink that remembers every call.
#[derive(Clone, Default)]
struct Calls {
    writes: Arc<Mutex<Vec<usize>>>,
    flushes: Arc<Mutex<usize>>,
}

impl AsyncWrite for Calls {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.writes.lock().unwrap().push(buf.len());
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        *self.flushes.lock().unwrap() += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        panic!("the sink is the caller's to close")
    }
}

#[test]
fn files_of_every_size_around_the_buffers_arrive_whole() {
    for len in [0, 1, 4, 5, 65_531, 65_532, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073] {
        let file = file(len);
        let (sent, received, sink) = send(&file, len as u64);
        assert_eq!((sent, received), (Ok(()), Ok(len as u64)));
        assert!(sink == file, "{len} bytes");
    }
}

#[test]
fn the_sink_gets_64_kib_at_a_time_and_is_flushed_once_and_never_closed() {
    let clock = VirtualClock::new();
    let mut sink = Calls::default();
    let mut receiver = FileReceiver::new(1 << 20);
    let wire = wire(&file(200_000));
    let mut stream = &wire[..];
    let received = receiver.receive_with(&mut stream, &mut sink, clock.timer());
    assert_eq!(clock.block_on(received).unwrap(), Ok(200_000));
    assert_eq!(*sink.writes.lock().unwrap(), [65_536, 65_536, 65_536, 3_392]);
    assert_eq!(*sink.flushes.lock().unwrap(), 1);

    // Done is done: neither stream is touched again.
    let again = receiver.receive_with(&mut stream, &mut sink, clock.timer());
    assert_eq!(clock.block_on(again).unwrap(), Ok(200_000));
    assert_eq!(*sink.flushes.lock().unwrap(), 1);
}

#[test]
fn a_refused_size_is_refused_before_the_sink_is_touched_and_for_good() {
    let cases = [
        (b"\x01\0\x10\0", SizeError::OverLimit { size: 0x10_0001, limit: 1 << 20 }),
        (b"\xFF\xFF\xFF\xFF", SizeError::Negative { size: -1 }),
        (b"GET ", SizeError::OverLimit { size: 0x2054_4547, limit: 1 << 20 }),
    ];
    for (size, error) in cases {
        let clock = VirtualClock::new();
        let mut sink = Calls::default();
        let mut receiver = FileReceiver::new(1 << 20);
        let bytes = [&size[..], b"the rest"].concat();
        let mut stream = &bytes[..];
        for _ in 0..2 {
            let received = receiver.receive_with(&mut stream, &mut sink, clock.timer());
            let refused = FileReceiveError::Format(FileError::Size(error));
            assert_eq!(clock.block_on(received).unwrap(), Err(refused));
            assert_eq!(stream, b"the rest", "nothing behind the size is read");
        }
        assert!(sink.writes.lock().unwrap().is_empty());
        assert_eq!(*sink.flushes.lock().unwrap(), 0);
    }
}

#[test]
fn a_short_transfer_is_an_error_and_the_sink_gets_what_came() {
    let clock = VirtualClock::new();
    for len in [4, 5, 100, 65_540, 65_541, 99_999] {
        let wire = wire(&file(100_000));
        let (outcome, sink) = receive(&mut &wire[..len], &clock);
        assert_eq!(outcome, Err(truncated(len as u64 - 4, 100_000)));
        assert!(sink == wire[4..len]);
    }
    let (outcome, sink) = receive(&mut &b"\x05\0"[..], &clock);
    let error = FileError::Truncated { received: 2, size: None };
    assert_eq!((outcome, sink), (Err(FileReceiveError::Format(error)), vec![]));
    let (outcome, _) = receive(&mut &b""[..], &clock);
    assert_eq!(outcome, Err(FileReceiveError::Format(FileError::NothingSent)));
}

#[test]
fn bytes_behind_the_file_are_an_error() {
    let clock = VirtualClock::new();
    for wire in [&b"\x05\0\0\0hello!"[..], b"\0\0\0\0!"] {
        let (outcome, _) = receive(&mut &wire[..], &clock);
        assert_eq!(outcome, Err(FileReceiveError::Format(FileError::TrailingData)));
    }
}

#[test]
fn after_the_last_byte_silence_and_a_reset_are_a_success() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    write_now(&mut far, b"\x05\0\0\0hello");
    assert_eq!(receive(&mut near, &clock), (Ok(5), b"hello".to_vec()));
    assert_eq!(clock.now(), seconds(20), "the idle limit");

    for fault in [Fault::Fail(ErrorKind::ConnectionReset), Fault::Cut] {
        let script = Script::new().reads([Fault::Pass, Fault::Pass, fault]);
        let mut stream = Faulty::new(&b"\x05\0\0\0hello"[..], script, &clock);
        assert_eq!(receive(&mut stream, &clock), (Ok(5), b"hello".to_vec()));
    }
}

#[test]
fn a_stream_that_breaks_its_contract_after_the_last_byte_is_an_error() {
    let clock = VirtualClock::new();
    let script = Script::new().reads([Fault::Pass, Fault::Pass, Fault::Overrun]);
    let mut stream = Faulty::new(&b"\x05\0\0\0hello"[..], script, &clock);
    let error = TransportError::Overrun { claimed: 2, offered: 1 };
    let error = FileReceiveError::Stream(ReadError::Transport { filled: 5, error });
    assert_eq!(receive(&mut stream, &clock).0, Err(error));
}

#[test]
fn errors_count_bytes_of_the_file_and_receiving_can_go_on_after_a_time_out() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(200_000);
    let wire = wire(&file(100_000));
    write_now(&mut far, &wire[..80_004]);
    let (mut receiver, mut sink) = (FileReceiver::new(1 << 20), Vec::new());
    let received = receiver.receive_with(&mut near, &mut sink, clock.timer());
    let error = clock.block_on(received).unwrap().unwrap_err();
    let idle = ReadError::Idle { filled: 80_000, limit: Duration::from_secs(20) };
    assert_eq!(error, FileReceiveError::Stream(idle));
    assert!(error.can_retry());

    write_now(&mut far, &wire[80_004..]);
    drop(far);
    let received = receiver.receive_with(&mut near, &mut sink, clock.timer());
    assert_eq!(clock.block_on(received).unwrap(), Ok(100_000));
    assert!(sink == wire[4..]);
}

#[test]
fn a_sink_that_fails_is_our_side_and_final() {
    // It may have lost what it had taken: going on would make a file with a hole.
    let clock = VirtualClock::new();
    let wire = wire(&file(100_000));
    for (fault, error) in [
        (
            Fault::Fail(ErrorKind::StorageFull),
            TransportError::Io { kind: ErrorKind::StorageFull, code: None },
        ),
        (Fault::Zero, TransportError::WriteZero),
    ] {
        let mut stream = &wire[..];
        let script = Script::new().writes([Fault::Split(10), fault]);
        let mut sink = Faulty::new(Vec::new(), script, &clock);
        let mut receiver = FileReceiver::new(1 << 20);
        let error = FileReceiveError::Sink(error);
        assert!(!error.can_retry());
        for _ in 0..2 {
            let received = receiver.receive_with(&mut stream, &mut sink, clock.timer());
            assert_eq!(clock.block_on(received), Ok(Err(error.clone())));
        }
        assert_eq!(sink.into_inner(), wire[4..14]);
    }
}

#[test]
fn a_slow_sink_is_not_held_against_the_peer() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(1 << 20);
    let wire = wire(&file(200_000));
    write_now(&mut far, &wire[..100_000]);
    let minute = || Fault::Delay(Duration::from_secs(60));
    let script = Script::new().writes((0..5).map(|_| minute()));
    let mut sink = Faulty::new(Vec::new(), script, &clock);
    let limits = Limits::default()
        .deadline(Duration::from_secs(30))
        .minimum_rate(1000, Duration::from_secs(10));
    let mut receiver = FileReceiver::new(1 << 20).limits(limits);
    let peer = async {
        // The sink is busy to 60 s, the receiver waits to 70 s, the sink is busy to 130 s.
        sleep(&clock, Duration::from_secs(70)).await;
        write_now(&mut far, &wire[100_000..150_000]);
        sleep(&clock, Duration::from_secs(65)).await;
        write_now(&mut far, &wire[150_000..]);
        drop(far);
    };
    let receive = receiver.receive_with(&mut near, &mut sink, clock.timer());
    let (received, ()) = clock.block_on(async { futures::join!(receive, peer) }).unwrap();
    assert_eq!(received, Ok(200_000));
    assert!(clock.now() > seconds(240), "{:?}", clock.now());
}

#[test]
fn deadline_and_rate_hold_for_the_whole_file_and_not_for_each_buffer() {
    let drip = |limits: Limits| {
        let clock = VirtualClock::new();
        let wire = wire(&file(300_000));
        // The size and each buffer after five seconds, which no single countdown would mind.
        let faults = (0..6).map(|_| Fault::Delay(Duration::from_secs(5)));
        let mut stream = Faulty::new(&wire[..], Script::new().reads(faults), &clock);
        let (mut receiver, mut sink) = (FileReceiver::new(1 << 20).limits(limits), Vec::new());
        let received = receiver.receive_with(&mut stream, &mut sink, clock.timer());
        (clock.block_on(received).unwrap(), clock.now())
    };
    let (outcome, at) = drip(Limits::default());
    assert_eq!((outcome, at), (Ok(300_000), seconds(30)));

    let limit = Duration::from_secs(12);
    let (outcome, at) = drip(Limits::default().deadline(limit));
    let late = ReadError::Deadline { filled: 65_536, limit };
    assert_eq!((outcome, at), (Err(FileReceiveError::Stream(late)), seconds(12)));

    let rate = Limits::default().minimum_rate(1_000_000, Duration::from_secs(12));
    let (outcome, at) = drip(rate);
    let slow = ReadError::TooSlow { filled: 65_536, minimum: 1_000_000 };
    assert_eq!((outcome, at), (Err(FileReceiveError::Stream(slow)), seconds(12)));
}

#[test]
fn the_size_can_be_judged_before_there_is_a_sink() {
    let clock = VirtualClock::new();
    let mut stream = &b"\x05\0\0\0hello"[..];
    let mut receiver = FileReceiver::new(1 << 20);
    let progress = receiver.progress();
    for _ in 0..2 {
        let size = receiver.receive_size_with(&mut stream, clock.timer());
        assert_eq!(clock.block_on(size).unwrap(), Ok(5));
    }
    assert_eq!(stream, b"hello");
    assert_eq!((progress.moved(), progress.size()), (0, Some(5)));
    let mut sink = Vec::new();
    let received = receiver.receive_with(&mut stream, &mut sink, clock.timer());
    assert_eq!(clock.block_on(received).unwrap(), Ok(5));
    let size = receiver.receive_size_with(&mut stream, clock.timer());
    assert_eq!(clock.block_on(size).unwrap(), Ok(5));

    let mut receiver = FileReceiver::new(4);
    for _ in 0..2 {
        let mut stream = &b"\x05\0\0\0hello"[..];
        let size = receiver.receive_size_with(&mut stream, clock.timer());
        assert!(clock.block_on(size).unwrap().is_err());
    }
}

#[test]
fn progress_moves_with_every_byte_while_the_future_waits() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    let mut receiver = FileReceiver::new(1 << 20);
    let progress = receiver.progress();
    let mut sink = Vec::new();
    let mut receive = Box::pin(receiver.receive_with(&mut near, &mut sink, clock.timer()));
    write_now(&mut far, b"\x05\0\0\0");
    assert!(is_pending(&mut receive));
    assert_eq!((progress.moved(), progress.size()), (0, Some(5)));
    write_now(&mut far, b"hel");
    assert!(is_pending(&mut receive));
    assert_eq!(progress.moved(), 3);
    drop(receive);

    let (mut near, far) = duplex(7);
    let mut sender = FileSender::new(5).unwrap();
    let progress = sender.progress();
    let mut source = &b"hello"[..];
    let mut send = Box::pin(sender.send_with(&mut source, &mut near, clock.timer()));
    assert!(is_pending(&mut send));
    assert_eq!((progress.moved(), progress.size()), (3, Some(5)), "the size is not counted");
    drop(far);
    let error = TransportError::Io { kind: ErrorKind::BrokenPipe, code: None };
    let error = FileSendError::Stream(WriteError::Transport { written: 3, error });
    assert_eq!(poll_once(&mut send), Poll::Ready(Err(error)));
}

#[test]
fn the_size_goes_out_in_one_piece_with_the_first_bytes() {
    let clock = VirtualClock::new();
    let mut stream = FlushesAndCloses(Calls::default());
    let mut sender = FileSender::new(5).unwrap();
    let mut source = &b"hello"[..];
    let sent = sender.send_with(&mut source, &mut stream, clock.timer());
    clock.block_on(sent).unwrap().unwrap();
    assert_eq!(*stream.0.writes.lock().unwrap(), [9]);
    assert_eq!(*stream.0.flushes.lock().unwrap(), 1);
}

/// As [`Calls`], but may be closed.
struct FlushesAndCloses(Calls);

impl AsyncWrite for FlushesAndCloses {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_source_that_ended_early_never_gives_a_whole_file() {
    for (len, size) in [(0, 1), (4, 5), (65_536, 65_537), (100_000, 200_000), (131_072, 131_073)] {
        let (sent, received, sink) = send(&file(len), size);
        let short = FileError::SourceTooShort { available: len as u64, size };
        assert_eq!(sent, Err(FileSendError::Format(short)));
        assert!(received.is_err(), "{len} of {size}: {received:?}");
        assert!((sink.len() as u64) < size);
    }
}

#[test]
fn a_source_that_grew_never_gives_a_whole_file() {
    for (len, size) in [(1, 0), (6, 5), (65_537, 65_536), (65_538, 65_537), (200_000, 131_072)] {
        let (sent, received, sink) = send(&file(len), size);
        assert_eq!(sent, Err(FileSendError::Format(FileError::SourceGrew { size })));
        assert!(received.is_err(), "{len} of {size}: {received:?}");
        assert!((sink.len() as u64) < size.max(1));
    }
}

#[test]
fn a_source_that_fails_is_our_side_and_sending_goes_on() {
    let clock = VirtualClock::new();
    let script = Script::new().reads([Fault::Split(2), Fault::Fail(ErrorKind::Other)]);
    let mut source = Faulty::new(&b"hello"[..], script, &clock);
    let (mut sender, mut stream) = (FileSender::new(5).unwrap(), Vec::new());
    let sent = sender.send_with(&mut source, &mut stream, clock.timer());
    let error = TransportError::Io { kind: ErrorKind::Other, code: None };
    assert_eq!(clock.block_on(sent).unwrap(), Err(FileSendError::Source(error)));
    let sent = sender.send_with(&mut source, &mut stream, clock.timer());
    assert_eq!(clock.block_on(sent).unwrap(), Ok(()));
    assert_eq!(stream, b"\x05\0\0\0hello");
}

#[test]
fn a_peer_that_takes_nothing_stalls_the_sender_even_in_flush_and_close() {
    for passes in 0..3 {
        let clock = VirtualClock::new();
        let faults = (0..passes).map(|_| Fault::Pass).chain([Fault::Stall]);
        let mut stream = Faulty::new(Vec::new(), Script::new().writes(faults), &clock);
        let mut sender = FileSender::new(5).unwrap();
        let mut source = &b"hello"[..];
        let sent = sender.send_with(&mut source, &mut stream, clock.timer());
        let written = if passes == 0 { 0 } else { 5 };
        let error = WriteError::Stalled { written, limit: Duration::from_secs(20) };
        assert!(error.can_retry());
        assert_eq!(clock.block_on(sent).unwrap(), Err(FileSendError::Stream(error)));
        assert_eq!(clock.now(), seconds(20));
    }
}

#[test]
fn files_cross_every_benign_transport() {
    let profile = Profile::benign().calls(500);
    let file = file(150_000);
    for seed in 0..60 {
        let clock = VirtualClock::new();
        let (near, far) = duplex(1 + seed as usize * 997);
        let mut near = Faulty::new(near, Script::seeded(seed, &profile), &clock);
        let mut far = Faulty::new(far, Script::seeded(seed + 1000, &profile), &clock);
        let mut sender = FileSender::new(150_000).unwrap();
        let (mut receiver, mut sink) = (FileReceiver::new(150_000), Vec::new());
        let mut source = &file[..];
        let send = async {
            while let Err(error) = sender.send_with(&mut source, &mut near, clock.timer()).await {
                assert!(interrupted(&error), "seed {seed}: {error}");
            }
        };
        let receive = async {
            while let Err(error) = receiver.receive_with(&mut far, &mut sink, clock.timer()).await {
                assert!(interrupted(&error), "seed {seed}: {error}");
            }
        };
        clock.block_on(async { futures::join!(send, receive) }).unwrap();
        assert!(sink == file, "seed {seed}");
    }
}

/// Whether this is sixteen interruptions in a row, after which going on is legal.
fn interrupted(error: &dyn std::fmt::Display) -> bool {
    error.to_string().contains("interrupted")
}

#[test]
fn a_stream_that_is_never_short_of_bytes_lets_other_tasks_run() {
    let clock = VirtualClock::new();
    let wire = wire(&file(8 << 20));
    let mut receiver = FileReceiver::new(u64::MAX);
    let (mut stream, mut sink) = (&wire[..], Calls::default());
    let mut receive = Box::pin(receiver.receive_with(&mut stream, &mut sink, clock.timer()));
    let mut polls = 1;
    while is_pending(&mut receive) {
        polls += 1;
    }
    assert_eq!(polls, 5, "8 MiB in 64 KiB pieces, a turn for others after every 2 MiB");
}

#[test]
fn futures_are_send_when_their_parts_are() {
    fn assert_send<T: Send>(_: T) {}
    fn stream() -> Duplex {
        duplex(1).0
    }
    let clock = VirtualClock::new();
    let (mut a, mut b) = (stream(), stream());
    assert_send(FileReceiver::new(1).receive_with(&mut a, &mut b, clock.timer()));
    assert_send(FileSender::new(1).unwrap().send_with(&mut a, &mut b, clock.timer()));
    assert_send(FileReceiver::new(1).receive(&mut a, &mut b));
    assert_send(FileSender::new(1).unwrap().send(&mut a, &mut b));
}

#[test]
fn errors_turn_into_io_errors_of_a_fitting_kind() {
    let kind = |error: FileReceiveError| std::io::Error::from(error).kind();
    let idle = ReadError::Idle { filled: 1, limit: Duration::from_secs(20) };
    assert_eq!(kind(FileReceiveError::Stream(idle)), ErrorKind::TimedOut);
    assert_eq!(kind(truncated(1, 2)), ErrorKind::UnexpectedEof);
    assert_eq!(kind(FileReceiveError::Format(FileError::TrailingData)), ErrorKind::InvalidData);
    assert_eq!(kind(FileReceiveError::Sink(TransportError::WriteZero)), ErrorKind::WriteZero);

    let kind = |error: FileSendError| std::io::Error::from(error).kind();
    let large = FileError::TooLarge { size: 9, limit: 8 };
    assert_eq!(kind(FileSendError::Format(large)), ErrorKind::InvalidInput);
    let stalled = WriteError::Stalled { written: 1, limit: Duration::from_secs(20) };
    assert_eq!(kind(FileSendError::Stream(stalled)), ErrorKind::TimedOut);
    let source = FileSendError::Source(TransportError::Interrupted);
    assert_eq!(source.to_string().split(':').next(), Some("reading the file failed"));
    assert_eq!(kind(source), ErrorKind::Interrupted);
}
