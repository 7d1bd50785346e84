//! The hazards of the chapter's code, by their numbers in its review: what each would do, and that
//! it does not happen here.
//!
//! B26 (it does not compile) concerns nothing that runs. What concerns connecting is tested with it:
//! B13, B21 and B22 in `net_server`, B23 in `net_connect`, B24 in `net_server` and `programs`; the
//! other half of B12 in `part_file`.

use std::io::ErrorKind;
use std::time::Duration;

use duologue::io::{Limits, ReadError, SizeError, TransportError, WriteError};
use duologue::legacy::{
    ChatInput, ChatReader, ChatState, ChatWriter, FileDecoder, FileEncoder, FileError,
    FileReceiveError, FileReceiver, FileSendError, FileSender, TextDecoder,
};
use duologue::testing::{Fault, Faulty, Script, duplex};
use duologue::time::VirtualClock;
use futures::io::{AllowStdIo, AsyncRead};

use crate::drop_at_every_poll::{byte_by_byte, run_dropping_after};
use crate::support::{Untouchable, is_pending, seconds, write_now};

const HELLO: &[u8] = b"\x05\0\0\0hello";

/// Receives with a limit of 1 MiB; the outcome and what the sink got.
fn receive<R>(stream: &mut R, clock: &VirtualClock) -> (Result<u64, FileReceiveError>, Vec<u8>)
where
    R: AsyncRead + Unpin,
{
    receive_within(Limits::default(), stream, clock)
}

fn receive_within<R>(
    limits: Limits,
    stream: &mut R,
    clock: &VirtualClock,
) -> (Result<u64, FileReceiveError>, Vec<u8>)
where
    R: AsyncRead + Unpin,
{
    let (mut receiver, mut sink) = (FileReceiver::new(1 << 20).limits(limits), Vec::new());
    let received = receiver.receive_with(stream, &mut sink, clock.timer());
    (clock.block_on(received).unwrap(), sink)
}

#[test]
fn b01_an_error_is_never_taken_for_success_nor_its_buffer_for_data() {
    for before in [0, 2, 4, 7] {
        let clock = VirtualClock::new();
        let splits = (0..before).map(|_| Fault::Split(1));
        let faults = splits.chain([Fault::Fail(ErrorKind::ConnectionReset)]);
        let mut stream = Faulty::new(HELLO, Script::new().reads(faults), &clock);
        let (outcome, sink) = receive(&mut stream, &clock);
        let error = TransportError::Io { kind: ErrorKind::ConnectionReset, code: None };
        let filled = usize::saturating_sub(before, 4);
        let error = FileReceiveError::Stream(ReadError::Transport { filled, error });
        assert_eq!((outcome, sink), (Err(error), vec![]));
    }
}

#[test]
fn b02_a_short_transfer_is_an_error_and_never_padded() {
    for len in 4..HELLO.len() {
        let (outcome, sink) = receive(&mut &HELLO[..len], &VirtualClock::new());
        let truncated = FileError::Truncated { received: len as u64 - 4, size: Some(5) };
        assert_eq!(outcome, Err(FileReceiveError::Format(truncated)));
        assert_eq!(sink, HELLO[4..len]);
    }
}

#[test]
fn b03_a_negative_or_huge_length_is_a_typed_error_before_anything_else() {
    let cases = [
        (-1, SizeError::Negative { size: -1 }),
        (i32::MIN, SizeError::Negative { size: i32::MIN.into() }),
        (0x10_0001, SizeError::OverLimit { size: 0x10_0001, limit: 1 << 20 }),
        (i32::MAX, SizeError::OverLimit { size: 0x7FFF_FFFF, limit: 1 << 20 }),
    ];
    for (size, error) in cases {
        let clock = VirtualClock::new();
        let mut nobody = AllowStdIo::new(Untouchable);
        let mut receiver = FileReceiver::new(1 << 20);
        let bytes = i32::to_le_bytes(size);
        let mut stream = &bytes[..];
        let received = receiver.receive_with(&mut stream, &mut nobody, clock.timer());
        let error = FileReceiveError::Format(FileError::Size(error));
        assert_eq!(clock.block_on(received).unwrap(), Err(error));
    }
    let error = FileSender::new(1 << 31).unwrap_err();
    assert_eq!(error, FileError::TooLarge { size: 1 << 31, limit: (1 << 31) - 1 });
}

#[test]
fn b04_the_file_is_never_in_memory_as_a_whole() {
    // The codec owns no heap. That the receiver and sender hold 64 KiB is tested beside them.
    assert!(!std::mem::needs_drop::<FileDecoder>() && !std::mem::needs_drop::<FileEncoder>());

    // A source is never read further ahead than the peer lets it: 64 KiB and one byte.
    let clock = VirtualClock::new();
    let file = vec![7; 1 << 20];
    let (mut source, (mut near, _far)) = (&file[..], duplex(1));
    let mut sender = FileSender::new(1 << 20).unwrap();
    let mut send = Box::pin(sender.send_with(&mut source, &mut near, clock.timer()));
    assert!(is_pending(&mut send));
    drop(send);
    assert!(file.len() - source.len() <= (64 << 10) + 1);
}

#[test]
fn b05_a_byte_now_and_then_does_not_hold_a_connection_for_ever() {
    let drip = |limits| {
        let clock = VirtualClock::new();
        let wire = [&[100, 0, 0, 0][..], &[7; 100]].concat();
        let bytes = Script::new().reads((0..104).map(|_| Fault::Split(1)));
        let pauses = (0..104).map(|_| Fault::Delay(Duration::from_secs(19)));
        let bytes = Faulty::new(&wire[..], bytes, &clock);
        let mut stream = Faulty::new(bytes, Script::new().reads(pauses), &clock);
        (receive_within(limits, &mut stream, &clock).0, clock.now())
    };
    let (outcome, at) = drip(Limits::default());
    assert_eq!((outcome, at), (Ok(100), seconds(19 * 104)), "the idle limit alone never ends it");
    let minute = Duration::from_secs(60);
    let (outcome, at) = drip(Limits::default().deadline(minute));
    let late = ReadError::Deadline { filled: 0, limit: minute };
    assert_eq!((outcome, at), (Err(FileReceiveError::Stream(late)), seconds(60)));
    let (outcome, at) = drip(Limits::default().minimum_rate(10, minute));
    let slow = ReadError::TooSlow { filled: 0, minimum: 10 };
    assert_eq!((outcome, at), (Err(FileReceiveError::Stream(slow)), seconds(60)));
}

#[test]
fn b06_bytes_that_are_there_when_the_limit_passes_win() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    let (mut receiver, mut sink) = (FileReceiver::new(5), Vec::new());
    let mut receive = Box::pin(receiver.receive_with(&mut near, &mut sink, clock.timer()));
    assert!(is_pending(&mut receive));
    clock.advance(Duration::from_secs(20));
    write_now(&mut far, HELLO);
    drop(far);
    assert_eq!(clock.block_on(receive).unwrap(), Ok(5));
}

#[test]
fn b07_the_end_of_the_stream_and_silence_are_told_apart_and_the_end_is_known_at_once() {
    let clock = VirtualClock::new();
    let (outcome, _) = receive(&mut &b"\x05\0\0\0h"[..], &clock);
    let truncated = FileError::Truncated { received: 1, size: Some(5) };
    assert_eq!(outcome, Err(FileReceiveError::Format(truncated)));
    assert_eq!(clock.now(), seconds(0));

    let (mut near, mut far) = duplex(64);
    write_now(&mut far, b"\x05\0\0\0h");
    let (outcome, _) = receive(&mut near, &clock);
    let idle = ReadError::Idle { filled: 1, limit: Duration::from_secs(20) };
    assert_eq!(outcome, Err(FileReceiveError::Stream(idle)));
    assert_eq!(clock.now(), seconds(20));
}

#[test]
fn b08_a_wait_that_is_given_up_loses_no_byte_and_repeats_none() {
    // Every public operation, dropped after every number of polls: see `legacy_drops`.
    let clock = VirtualClock::new();
    let (near, far) = duplex(3);
    let mut near = Faulty::new(near, byte_by_byte(30), &clock);
    let mut far = Faulty::new(far, byte_by_byte(30), &clock);
    let mut source = &b"hello"[..];
    let (mut sender, mut receiver) = (FileSender::new(5).unwrap(), FileReceiver::new(5));
    let mut sink = Vec::new();
    let (outcome, dropped) = run_dropping_after(1, &clock, async || {
        futures::try_join!(
            async { sender.send_with(&mut source, &mut near, clock.timer()).await.map_err(drop) },
            async {
                let received = receiver.receive_with(&mut far, &mut sink, clock.timer());
                received.await.map_err(drop)
            },
        )
    });
    assert_eq!(outcome, Ok(((), 5)));
    assert_eq!(sink, b"hello");
    assert!(dropped >= 9, "a poll moves one byte at most");
}

#[test]
fn b09_a_stream_that_takes_nothing_is_an_error_and_no_endless_loop() {
    let clock = VirtualClock::new();
    let script = Script::new().writes([Fault::Split(6), Fault::Zero]);
    let mut stream = Faulty::new(Vec::new(), script, &clock);
    let (mut source, mut sender) = (&b"hello"[..], FileSender::new(5).unwrap());
    let sent = sender.send_with(&mut source, &mut stream, clock.timer());
    let error = WriteError::Transport { written: 2, error: TransportError::WriteZero };
    assert_eq!(clock.block_on(sent).unwrap(), Err(FileSendError::Stream(error)));
}

#[test]
fn b10_an_empty_file_is_sent_and_received() {
    let clock = VirtualClock::new();
    let (mut source, mut wire) = (&b""[..], Vec::new());
    let mut sender = FileSender::new(0).unwrap();
    let sent = sender.send_with(&mut source, &mut wire, clock.timer());
    assert_eq!(clock.block_on(sent).unwrap(), Ok(()));
    assert_eq!(wire, [0, 0, 0, 0]);
    assert_eq!(receive(&mut &wire[..], &clock), (Ok(0), vec![]));
}

#[test]
fn b11_no_acknowledgement_the_sender_learns_only_that_the_stream_took_all() {
    // The format cannot be cured of this; that it is so is part of the documentation.
    let clock = VirtualClock::new();
    let (mut near, far) = duplex(64);
    let (mut source, mut sender) = (&b"hello"[..], FileSender::new(5).unwrap());
    let sent = sender.send_with(&mut source, &mut near, clock.timer());
    assert_eq!(clock.block_on(sent).unwrap(), Ok(()));
    assert_eq!(far.readable(), 9, "nobody has read a byte of it");
}

#[test]
fn b12_nothing_is_written_before_there_is_something_to_write() {
    // A target made at the first write survives whatever comes before it. That it appears under
    // its name only when it is whole is the part file's business.
    for wire in [&b""[..], b"\x05\0", b"\x05\0\0", b"\xFF\xFF\xFF\xFF"] {
        let clock = VirtualClock::new();
        let mut nobody = AllowStdIo::new(Untouchable);
        let (mut stream, mut receiver) = (wire, FileReceiver::new(1 << 20));
        let received = receiver.receive_with(&mut stream, &mut nobody, clock.timer());
        assert!(clock.block_on(received).unwrap().is_err());
    }
}

#[test]
fn b13_a_receiver_whose_sink_waits_keeps_no_other_from_its_file() {
    let clock = VirtualClock::new();
    let mut stuck = Faulty::new(Vec::new(), Script::new().writes([Fault::Stall]), &clock);
    let (mut first, mut second) = (FileReceiver::new(5), FileReceiver::new(5));
    let (mut one, mut two, mut sink) = (HELLO, HELLO, Vec::new());
    let mut waits = Box::pin(first.receive_with(&mut one, &mut stuck, clock.timer()));
    assert!(is_pending(&mut waits));
    let received = second.receive_with(&mut two, &mut sink, clock.timer());
    assert_eq!(clock.block_on(received).unwrap(), Ok(5));
    assert!(is_pending(&mut waits));
}

#[test]
fn b14_a_browsers_request_is_refused_by_the_limit() {
    let request = b"GET / HTTP/1.1\r\nHost: example\r\n\r\n";
    let (outcome, sink) = receive(&mut &request[..], &VirtualClock::new());
    let size = SizeError::OverLimit { size: 0x2054_4547, limit: 1 << 20 };
    assert_eq!(outcome, Err(FileReceiveError::Format(FileError::Size(size))));
    assert!(sink.is_empty());
}

#[test]
fn b15_four_bytes_little_endian_on_every_machine() {
    let header = |size| FileEncoder::new(size).unwrap().header();
    assert_eq!(header(5), [0x05, 0x00, 0x00, 0x00]);
    assert_eq!(header(0x0102_0304), [0x04, 0x03, 0x02, 0x01]);
    let mut decoder = FileDecoder::new(u64::MAX);
    decoder.decode(&[0x04, 0x03, 0x02, 0x01]).unwrap();
    assert_eq!(decoder.size(), Some(0x0102_0304));
}

#[test]
fn b16_a_character_cut_by_a_read_is_whole_and_the_encoding_is_declared() {
    for (label, bytes) in [("utf-8", "안녕".as_bytes()), ("euc-kr", b"\xBE\xC8\xB3\xE7")] {
        let clock = VirtualClock::new();
        let mut stream = Faulty::new(bytes, byte_by_byte(10), &clock);
        let mut reader = ChatReader::with_decoder(TextDecoder::for_label(label).unwrap());
        for text in [Some("안"), Some("녕"), None] {
            let received = clock.block_on(reader.receive_with(&mut stream, clock.timer()));
            assert_eq!(received.unwrap().unwrap().as_deref(), text);
        }
    }
}

#[test]
fn b17_a_text_that_the_stream_takes_in_parts_goes_out_whole() {
    let clock = VirtualClock::new();
    let mut stream = Faulty::new(Vec::new(), byte_by_byte(10), &clock);
    let mut writer = ChatWriter::new();
    let sent = writer.send_with(&mut stream, "안녕", clock.timer());
    assert_eq!(clock.block_on(sent).unwrap(), Ok(()));
    assert_eq!(stream.into_inner(), "안녕".as_bytes());
}

#[test]
fn b18_the_text_is_an_argument_and_an_empty_one_is_nothing() {
    let clock = VirtualClock::new();
    let (mut stream, mut writer) = (Vec::new(), ChatWriter::new());
    for text in ["", "a middle line", ""] {
        let sent = writer.send_with(&mut stream, text, clock.timer());
        assert_eq!(clock.block_on(sent).unwrap(), Ok(()));
    }
    assert_eq!(stream, b"a middle line");
}

#[test]
fn b19_a_program_that_has_served_can_be_a_client_afterwards() {
    let served = ChatState::Idle
        .next(ChatInput::Listen)
        .next(ChatInput::PeerJoined("10.0.0.7".into()))
        .next(ChatInput::PeerLeft);
    let client =
        served.next(ChatInput::Connect("host".into())).next(ChatInput::Connected("host".into()));
    assert_eq!(client, ChatState::Client { peer: "host".into() });
    assert_eq!(client.peer(), Some("host"), "messages go to the new peer");
}

#[test]
fn b20_a_click_acts_once() {
    let client = || ChatState::Client { peer: "host".into() };
    let serving = || ChatState::Serving { peer: "10.0.0.7".into() };
    assert_eq!(client().next(ChatInput::Disconnect), ChatState::Idle);
    assert_eq!(ChatState::Idle.next(ChatInput::Disconnect), ChatState::Idle);
    let connecting = client().next(ChatInput::Connect("other".into()));
    assert_eq!(connecting, ChatState::Connecting { target: "other".into() });
    // The peer's going away, reported late, does not switch listening on again.
    let off = serving().next(ChatInput::Listen);
    assert_eq!(off.next(ChatInput::PeerLeft), ChatState::Idle);
}

#[test]
fn b21_a_second_peer_is_refused_and_does_not_disturb_the_first() {
    let serving = ChatState::Serving { peer: "10.0.0.7".into() };
    let after = serving.clone().next(ChatInput::PeerJoined("10.0.0.8".into()));
    assert_eq!(after, serving);
}

#[test]
fn b22_every_cause_has_its_own_error_and_says_whether_to_try_again() {
    let transport = TransportError::Io { kind: ErrorKind::ConnectionReset, code: None };
    let limit = Duration::from_secs(20);
    let errors = [
        (FileReceiveError::Format(FileError::NothingSent), false),
        (FileReceiveError::Format(FileError::TrailingData), false),
        (FileReceiveError::Stream(ReadError::Idle { filled: 1, limit }), true),
        (FileReceiveError::Stream(ReadError::Deadline { filled: 1, limit }), true),
        (FileReceiveError::Stream(ReadError::TooSlow { filled: 1, minimum: 2 }), true),
        (
            FileReceiveError::Stream(ReadError::Transport { filled: 1, error: transport.clone() }),
            false,
        ),
        (FileReceiveError::Sink(transport), false),
    ];
    let mut texts = std::collections::BTreeSet::new();
    for (error, can_retry) in errors {
        assert_eq!(error.can_retry(), can_retry, "{error}");
        assert!(std::error::Error::source(&error).is_some());
        assert!(texts.insert(error.to_string()), "{error} says nothing of its own");
    }
}

#[test]
fn b25_the_ports_are_only_defaults_and_nothing_is_accepted_without_a_limit() {
    assert_eq!((duologue::legacy::FILE_PORT, duologue::legacy::CHAT_PORT), (2001, 1001));
    // Who accepts no byte gets none, and who wants to decide sees the size first.
    let clock = VirtualClock::new();
    let mut nobody = AllowStdIo::new(Untouchable);
    let (mut stream, mut receiver) = (HELLO, FileReceiver::new(0));
    let received = receiver.receive_with(&mut stream, &mut nobody, clock.timer());
    assert!(clock.block_on(received).unwrap().is_err());
    let (mut stream, mut receiver) = (HELLO, FileReceiver::new(5));
    let size = receiver.receive_size_with(&mut stream, clock.timer());
    assert_eq!(clock.block_on(size).unwrap(), Ok(5));
    assert_eq!(stream, b"hello");
}
