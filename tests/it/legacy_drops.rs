//! The four roles are cancel safe: dropped after any number of polls and called again, nothing is
//! lost and nothing goes out twice.

use duologue::legacy::{
    ChatReader, ChatWriter, FileReceiver, FileSender, TextDecoder, TextEncoder,
};
use duologue::testing::{Fault, Faulty, Script};
use duologue::time::VirtualClock;

use crate::drop_at_every_poll::{byte_by_byte, run_dropping_after};

fn wire(file: &[u8]) -> Vec<u8> {
    let size = i32::try_from(file.len()).unwrap();
    [&size.to_le_bytes(), file].concat()
}

/// Runs `case` dropping after 1, 2, 3… polls, until nothing was dropped any more.
fn for_every_number_of_polls(mut case: impl FnMut(usize) -> usize) {
    for polls in 1..10_000 {
        if case(polls) == 0 {
            assert!(polls > 1, "the case never waits");
            return;
        }
    }
    panic!("always dropped");
}

/// Pieces of 10,000 bytes, each behind a `Pending`.
fn in_pieces() -> Script {
    let faults = || (0..60).flat_map(|_| [Fault::SpuriousWake, Fault::Split(10_000)]);
    Script::new().reads(faults()).writes(faults())
}

#[test]
fn a_file_received_with_drops_is_the_same_file() {
    let large: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let cases = [(&b"hello"[..], byte_by_byte(20)), (b"", byte_by_byte(20)), (&large, in_pieces())];
    for (file, script) in cases {
        let wire = wire(file);
        for_every_number_of_polls(|polls| {
            let clock = VirtualClock::new();
            let mut stream = Faulty::new(&wire[..], script.clone(), &clock);
            let mut sink = Faulty::new(Vec::new(), script.clone(), &clock);
            let mut receiver = FileReceiver::new(1 << 20);
            let (outcome, dropped) = run_dropping_after(polls, &clock, async || {
                receiver.receive_with(&mut stream, &mut sink, clock.timer()).await
            });
            assert_eq!(outcome, Ok(file.len() as u64));
            assert!(sink.into_inner() == file, "after {polls} polls each");
            assert_eq!(receiver.progress().moved(), file.len() as u64);
            dropped
        });
    }
}

#[test]
fn a_size_received_with_drops_leaves_the_file_in_the_stream() {
    for_every_number_of_polls(|polls| {
        let clock = VirtualClock::new();
        let mut stream = Faulty::new(&b"\x05\0\0\0hello"[..], byte_by_byte(20), &clock);
        let mut receiver = FileReceiver::new(5);
        let (size, dropped) = run_dropping_after(polls, &clock, async || {
            receiver.receive_size_with(&mut stream, clock.timer()).await
        });
        assert_eq!(size, Ok(5));
        assert_eq!(*stream.get_ref(), b"hello");
        let mut file = Vec::new();
        let rest = receiver.receive_with(&mut stream, &mut file, clock.timer());
        assert_eq!(clock.block_on(rest).unwrap(), Ok(5));
        assert_eq!(file, b"hello");
        dropped
    });
}

#[test]
fn a_file_sent_with_drops_is_the_same_wire() {
    let large: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let cases = [(&b"hello"[..], byte_by_byte(20)), (b"", byte_by_byte(20)), (&large, in_pieces())];
    for (file, script) in cases {
        for_every_number_of_polls(|polls| {
            let clock = VirtualClock::new();
            let mut source = Faulty::new(file, script.clone(), &clock);
            let mut stream = Faulty::new(Vec::new(), script.clone(), &clock);
            let mut sender = FileSender::new(file.len() as u64).unwrap();
            let (outcome, dropped) = run_dropping_after(polls, &clock, async || {
                sender.send_with(&mut source, &mut stream, clock.timer()).await
            });
            assert_eq!(outcome, Ok(()));
            assert!(stream.into_inner() == wire(file), "after {polls} polls each");
            assert_eq!(sender.progress().moved(), file.len() as u64);
            dropped
        });
    }
}

#[test]
fn a_failed_send_with_drops_still_withholds_and_closes() {
    for_every_number_of_polls(|polls| {
        let clock = VirtualClock::new();
        let mut source = Faulty::new(&b"hello!"[..], byte_by_byte(20), &clock);
        let mut stream = Faulty::new(Vec::new(), byte_by_byte(20), &clock);
        let mut sender = FileSender::new(5).unwrap();
        let (outcome, dropped) = run_dropping_after(polls, &clock, async || {
            sender.send_with(&mut source, &mut stream, clock.timer()).await
        });
        assert!(outcome.is_err());
        assert!(stream.into_inner().is_empty());
        dropped
    });
}

#[test]
fn chat_received_with_drops_is_the_same_text() {
    for (label, bytes) in
        [("utf-8", "안녕 🙂".as_bytes()), ("euc-kr", b"\xBE\xC8\xB3\xE7 \xC7\xD1")]
    {
        for_every_number_of_polls(|polls| {
            let clock = VirtualClock::new();
            let mut stream = Faulty::new(bytes, byte_by_byte(20), &clock);
            let mut reader = ChatReader::with_decoder(TextDecoder::for_label(label).unwrap());
            let (mut text, mut dropped) = (String::new(), 0);
            loop {
                let (received, more) = run_dropping_after(polls, &clock, async || {
                    reader.receive_with(&mut stream, clock.timer()).await
                });
                dropped += more;
                let Some(received) = received.unwrap() else { break };
                assert_eq!(received.chars().count(), 1, "a character at a time");
                text += &received;
            }
            let expected = if label == "utf-8" { "안녕 🙂" } else { "안녕 한" };
            assert_eq!(text, expected);
            dropped
        });
    }
}

#[test]
fn chat_sent_with_drops_is_the_same_bytes() {
    for_every_number_of_polls(|polls| {
        let clock = VirtualClock::new();
        let mut stream = Faulty::new(Vec::new(), byte_by_byte(40), &clock);
        let mut writer = ChatWriter::with_encoder(TextEncoder::for_label("iso-2022-jp").unwrap());
        let mut dropped = 0;
        for text in ["one ", "日本"] {
            // The first poll takes the text; whoever drops the future goes on with a flush.
            let mut text = Some(text);
            let (outcome, more) = run_dropping_after(polls, &clock, async || match text.take() {
                Some(text) => writer.send_with(&mut stream, text, clock.timer()).await,
                None => writer.flush_with(&mut stream, clock.timer()).await,
            });
            assert_eq!(outcome, Ok(()));
            assert_eq!(writer.pending(), 0);
            dropped += more;
        }
        let (outcome, more) = run_dropping_after(polls, &clock, async || {
            writer.close_with(&mut stream, clock.timer()).await
        });
        assert_eq!(outcome, Ok(()));
        assert_eq!(stream.into_inner(), b"one \x1B$BF|K\\\x1B(B");
        dropped + more
    });
}
