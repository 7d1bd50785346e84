//! The chat over any stream: text in reads, text out whole.

use std::io::ErrorKind;
use std::time::Duration;

use duologue::io::{Limits, ReadError, TransportError, WriteError};
use duologue::legacy::{ChatReader, ChatSendError, ChatWriter, TextDecoder, TextEncoder};
use duologue::testing::{Duplex, Fault, Faulty, Profile, Script, duplex};
use duologue::time::VirtualClock;
use futures::AsyncWriteExt;
use futures::io::AsyncRead;

use crate::support::{Untouchable, is_pending, seconds, write_now};

fn receive<R: AsyncRead + Unpin>(
    reader: &mut ChatReader,
    stream: &mut R,
    clock: &VirtualClock,
) -> Result<Option<String>, ReadError> {
    clock.block_on(reader.receive_with(stream, clock.timer())).unwrap()
}

fn some(text: &str) -> Result<Option<String>, ReadError> {
    Ok(Some(text.into()))
}

#[test]
fn each_read_is_a_text_until_the_end_of_the_stream() {
    let clock = VirtualClock::new();
    let script = Script::new().reads([Fault::Split(3), Fault::Split(4)]);
    let mut stream = Faulty::new(&b"onefourrest"[..], script, &clock);
    let mut reader = ChatReader::new();
    for text in ["one", "four", "rest"] {
        assert_eq!(receive(&mut reader, &mut stream, &clock), some(text));
    }
    assert_eq!(receive(&mut reader, &mut stream, &clock), Ok(None));
    let mut nobody = futures::io::AllowStdIo::new(Untouchable);
    assert_eq!(receive(&mut reader, &mut nobody, &clock), Ok(None), "the end is final");
}

#[test]
fn a_read_that_brings_only_a_part_of_a_character_reads_on() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    let mut reader = ChatReader::new();
    {
        let mut receive = Box::pin(reader.receive_with(&mut near, clock.timer()));
        for byte in [b"\xEC", b"\x95"] {
            write_now(&mut far, byte);
            assert!(is_pending(&mut receive));
        }
    }
    write_now(&mut far, b"\x88 \xEB");
    assert_eq!(receive(&mut reader, &mut near, &clock), some("안 "));
    drop(far);
    assert_eq!(receive(&mut reader, &mut near, &clock), some("\u{FFFD}"), "the cut-off rest");
    assert_eq!(receive(&mut reader, &mut near, &clock), Ok(None));
    assert_eq!(reader.decoder().replaced(), 1);
}

#[test]
fn a_text_is_bounded_whatever_the_peer_sends() {
    let clock = VirtualClock::new();
    let garbage = vec![0xFF; 100_000];
    let (mut stream, mut reader) = (&garbage[..], ChatReader::new());
    let mut marks = 0;
    while let Some(text) = receive(&mut reader, &mut stream, &clock).unwrap() {
        assert!(text.len() <= 3 * 4096);
        marks += text.chars().count() as u64;
    }
    assert_eq!((marks, reader.decoder().replaced()), (100_000, 100_000));
}

#[test]
fn a_conversation_may_be_silent_unless_told_otherwise() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    let mut reader = ChatReader::new();
    let silent = clock.block_on(reader.receive_with(&mut near, clock.timer()));
    assert!(silent.is_err(), "no timer is set: it would wait for ever");

    let limit = Duration::from_secs(300);
    let mut reader = ChatReader::new().limits(Limits::default().idle(limit));
    let idle = ReadError::Idle { filled: 0, limit };
    assert_eq!(receive(&mut reader, &mut near, &clock), Err(idle));
    assert_eq!(clock.now(), seconds(300));
    write_now(&mut far, b"still here");
    assert_eq!(receive(&mut reader, &mut near, &clock), some("still here"));
}

#[test]
fn the_deadline_holds_for_a_character_that_arrives_in_parts() {
    let clock = VirtualClock::new();
    let bytes = Script::new().reads((0..4).map(|_| Fault::Split(1)));
    let pauses = (0..4).map(|_| Fault::Delay(Duration::from_secs(19)));
    let bytes = Faulty::new("🙂".as_bytes(), bytes, &clock);
    let mut stream = Faulty::new(bytes, Script::new().reads(pauses), &clock);
    let limit = Duration::from_secs(60);
    let mut reader = ChatReader::new().limits(Limits::default().deadline(limit));
    let late = ReadError::Deadline { filled: 0, limit };
    assert_eq!(receive(&mut reader, &mut stream, &clock), Err(late));
    assert_eq!(clock.now(), seconds(60));
    assert_eq!(receive(&mut reader, &mut stream, &clock), some("🙂"));
}

#[test]
fn a_failed_read_loses_nothing_that_came_before() {
    let clock = VirtualClock::new();
    let reset = Fault::Fail(ErrorKind::ConnectionReset);
    let script = Script::new().reads([Fault::Split(1), reset]);
    let mut stream = Faulty::new("안".as_bytes(), script, &clock);
    let mut reader = ChatReader::new();
    let error = TransportError::Io { kind: ErrorKind::ConnectionReset, code: None };
    let error = ReadError::Transport { filled: 0, error };
    assert_eq!(receive(&mut reader, &mut stream, &clock), Err(error));
    assert_eq!(receive(&mut reader, &mut stream, &clock), some("안"));
}

#[test]
fn a_text_goes_out_whole_as_raw_bytes_of_its_encoding() {
    let cases: [(&str, &str, &[u8]); 3] = [
        ("utf-8", "안녕\n", b"\xEC\x95\x88\xEB\x85\x95\n"),
        ("euc-kr", "안녕", b"\xBE\xC8\xB3\xE7"),
        ("utf-8", "", b""),
    ];
    for (label, text, bytes) in cases {
        let clock = VirtualClock::new();
        let mut stream = Vec::new();
        let mut writer = ChatWriter::with_encoder(TextEncoder::for_label(label).unwrap());
        let sent = writer.send_with(&mut stream, text, clock.timer());
        assert_eq!(clock.block_on(sent).unwrap(), Ok(()));
        assert_eq!(stream, bytes);
    }
}

#[test]
fn an_empty_text_does_not_touch_the_stream() {
    let clock = VirtualClock::new();
    let mut nobody = futures::io::AllowStdIo::new(Untouchable);
    let mut writer = ChatWriter::new();
    let sent = writer.send_with(&mut nobody, "", clock.timer());
    assert_eq!(clock.block_on(sent).unwrap(), Ok(()));
}

#[test]
fn what_the_peer_does_not_take_stays_in_the_writer_and_goes_first() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(4);
    let mut writer = ChatWriter::new();
    {
        let mut send = Box::pin(writer.send_with(&mut near, "first", clock.timer()));
        assert!(is_pending(&mut send));
    }
    assert_eq!(writer.pending(), 1);
    writer.push("!").unwrap();
    assert_eq!(writer.pending(), 2);
    let mut reader = ChatReader::new();
    assert_eq!(receive(&mut reader, &mut far, &clock), some("firs"));
    let sent = writer.send_with(&mut near, "-2", clock.timer());
    assert_eq!(clock.block_on(sent).unwrap(), Ok(()));
    assert_eq!(receive(&mut reader, &mut far, &clock), some("t!-2"));
    assert_eq!(writer.pending(), 0);
}

#[test]
fn a_backlog_is_refused_and_nothing_of_the_text_is_taken() {
    let mut writer = ChatWriter::new();
    // A single text may be longer than the limit…
    let long = "x".repeat(ChatWriter::MAX_PENDING + 1);
    writer.push(&long).unwrap();
    let pending = long.len();
    // …but nothing piles up on top of it.
    let backlog = ChatSendError::Backlog { pending, limit: ChatWriter::MAX_PENDING };
    assert!(backlog.can_retry());
    assert_eq!(writer.push("y"), Err(backlog.clone()));
    assert_eq!(backlog.to_string(), "65537 of at most 65536 bytes are still to be sent");
    assert_eq!(writer.pending(), pending);

    let clock = VirtualClock::new();
    let mut stream = Vec::new();
    clock.block_on(writer.flush_with(&mut stream, clock.timer())).unwrap().unwrap();
    assert_eq!(stream.len(), pending);
    writer.push("y").unwrap();
    assert_eq!(writer.pending(), 1);
}

#[test]
fn a_backlog_is_measured_in_bytes_of_the_encoding() {
    let half = ChatWriter::MAX_PENDING / 2;
    for (label, letter, each) in [("utf-16le", "x", 2), ("utf-16be", "é", 2), ("euc-kr", "안", 2)]
    {
        let mut writer = ChatWriter::with_encoder(TextEncoder::for_label(label).unwrap());
        writer.push(letter).unwrap();
        let rest = letter.repeat(half);
        let refused = writer.push(&rest);
        let limit = ChatWriter::MAX_PENDING;
        assert_eq!(refused, Err(ChatSendError::Backlog { pending: each, limit }), "{label}");
        // As much as there is room for is taken, however long it is as UTF-8.
        writer.push(rest.strip_suffix(letter).unwrap()).unwrap();
        assert_eq!(writer.pending(), limit, "{label}");
    }
}

#[test]
fn a_text_that_cannot_be_encoded_is_refused_whole() {
    let clock = VirtualClock::new();
    let mut stream = Vec::new();
    let mut writer = ChatWriter::with_encoder(TextEncoder::for_label("euc-kr").unwrap());
    writer.push("안").unwrap();
    let sent = clock.block_on(writer.send_with(&mut stream, "녕 🙂", clock.timer())).unwrap();
    let error = sent.unwrap_err();
    assert!(matches!(&error, ChatSendError::Unmappable(lacking) if lacking.character() == '🙂'));
    assert!(!error.can_retry());
    assert!(stream.is_empty());
    clock.block_on(writer.flush_with(&mut stream, clock.timer())).unwrap().unwrap();
    assert_eq!(stream, b"\xBE\xC8", "what was pushed before goes on");
}

#[test]
fn errors_say_how_many_bytes_went_out() {
    let clock = VirtualClock::new();
    let faults = [Fault::Split(3), Fault::Zero];
    let mut stream = Faulty::new(Vec::new(), Script::new().writes(faults), &clock);
    let mut writer = ChatWriter::new();
    let sent = clock.block_on(writer.send_with(&mut stream, "hello", clock.timer())).unwrap();
    let error = WriteError::Transport { written: 3, error: TransportError::WriteZero };
    assert_eq!(sent, Err(ChatSendError::Stream(error)));
    assert_eq!(writer.pending(), 2);
    clock.block_on(writer.flush_with(&mut stream, clock.timer())).unwrap().unwrap();
    assert_eq!(stream.into_inner(), b"hello");
}

#[test]
fn a_flush_that_stalls_is_repeated_by_the_next_call() {
    let clock = VirtualClock::new();
    let limit = Duration::from_secs(5);
    let faults = [Fault::Pass, Fault::Delay(Duration::from_secs(60))];
    let mut stream = Faulty::new(Vec::new(), Script::new().writes(faults), &clock);
    let mut writer = ChatWriter::new().limits(Limits::default().idle(limit));
    let sent = clock.block_on(writer.send_with(&mut stream, "hello", clock.timer())).unwrap();
    let stalled = WriteError::Stalled { written: 5, limit };
    let error = ChatSendError::Stream(stalled);
    assert!(error.can_retry());
    assert_eq!(std::io::Error::from(error.clone()).kind(), ErrorKind::TimedOut);
    assert_eq!(sent, Err(error));
    clock.advance(Duration::from_secs(60));
    clock.block_on(writer.flush_with(&mut stream, clock.timer())).unwrap().unwrap();
    assert_eq!(stream.into_inner(), b"hello");
}

#[test]
fn closing_sends_the_rest_ends_the_text_and_takes_no_more() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    let mut writer = ChatWriter::with_encoder(TextEncoder::for_label("iso-2022-jp").unwrap());
    writer.push("日").unwrap();
    for _ in 0..2 {
        let closed = writer.close_with(&mut near, clock.timer());
        assert_eq!(clock.block_on(closed).unwrap(), Ok(()));
        assert_eq!(writer.push("more"), Err(ChatSendError::Closed));
    }
    let mut reader = ChatReader::with_decoder(TextDecoder::for_label("iso-2022-jp").unwrap());
    assert_eq!(receive(&mut reader, &mut far, &clock), some("日"));
    assert_eq!(receive(&mut reader, &mut far, &clock), Ok(None));
    assert_eq!(near.bytes_written(), 8, "two escape sequences and a character");

    // The other direction goes on.
    futures::executor::block_on(far.write_all(b"bye")).unwrap();
    assert_eq!(receive(&mut ChatReader::new(), &mut near, &clock), some("bye"));
}

#[test]
fn chat_crosses_every_benign_transport() {
    let text = "안녕하세요 🙂 hello, ".repeat(200);
    let profile = Profile::benign().calls(300);
    for seed in 0..60 {
        let clock = VirtualClock::new();
        let (near, far) = duplex(1 + seed as usize * 37);
        let mut near = Faulty::new(near, Script::seeded(seed, &profile), &clock);
        let mut far = Faulty::new(far, Script::seeded(seed + 1000, &profile), &clock);
        let (mut writer, mut reader) = (ChatWriter::new(), ChatReader::new());
        writer.push(&text).unwrap();
        let send = async {
            // Sixteen interruptions in a row are an error, and going on is legal after it.
            while writer.close_with(&mut near, clock.timer()).await.is_err() {}
        };
        let receive = async {
            let mut received = String::new();
            loop {
                match reader.receive_with(&mut far, clock.timer()).await {
                    Ok(Some(text)) => received += &text,
                    Ok(None) => break received,
                    Err(error) => assert!(error.to_string().contains("interrupted")),
                }
            }
        };
        let (_, received) = clock.block_on(async { futures::join!(send, receive) }).unwrap();
        assert!(received == text, "seed {seed}");
        assert_eq!(reader.decoder().replaced(), 0);
    }
}

#[test]
fn futures_are_send_when_their_parts_are() {
    fn assert_send<T: Send>(_: T) {}
    let clock = VirtualClock::new();
    let mut stream: Duplex = duplex(1).0;
    let mut writer = ChatWriter::new();
    assert_send(ChatReader::new().receive_with(&mut stream, clock.timer()));
    assert_send(writer.send_with(&mut stream, "x", clock.timer()));
    assert_send(writer.close(&mut stream));
    assert_send(ChatReader::new().receive(&mut stream));
}
