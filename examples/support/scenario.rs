//! The chapter's two programs as one scenario, for any stream and any clock: a chat both ways over
//! one connection, then a file over another.

use duologue::legacy::{ChatReader, ChatWriter, FileReceiver, FileSender};
use duologue::time::Timer;
use futures::io::{AsyncRead, AsyncWrite};

use super::programs::Failure;

/// What the connecting side says, and what it is answered.
pub(crate) const CHAT: [(&str, &str); 3] = [
    ("Hello, is anybody there?", "Yes, and listening."),
    ("한글도 보입니까?", "네, 잘 보입니다."),
    ("Then take this file.", "I am ready."),
];

/// The file: 1 MiB that repeats nowhere within a block.
pub(crate) fn file() -> Vec<u8> {
    (0..1_u32 << 18).flat_map(|n| n.wrapping_mul(0x9E37_79B9).to_le_bytes()).collect()
}

/// Says its lines and checks each answer, then sends the file.
pub(crate) async fn connecting_side<S, T>(
    mut chat: S,
    mut transfer: S,
    timer: impl Fn() -> T,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    let (mut reader, mut writer) = (ChatReader::new(), ChatWriter::new());
    for (line, answer) in CHAT {
        writer.send_with(&mut chat, line, timer()).await?;
        let received = reader.receive_with(&mut chat, timer()).await?;
        assert_eq!(received.as_deref(), Some(answer));
        println!("> {line}\n< {answer}");
    }
    writer.close_with(&mut chat, timer()).await?;

    let file = file();
    let mut sender = FileSender::new(file.len() as u64)?;
    sender.send_with(&mut &file[..], &mut transfer, timer()).await?;
    Ok(())
}

/// Answers each line, then receives the file and compares it.
pub(crate) async fn listening_side<S, T>(
    mut chat: S,
    mut transfer: S,
    timer: impl Fn() -> T,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    let (mut reader, mut writer) = (ChatReader::new(), ChatWriter::new());
    let mut answers = CHAT.iter();
    while let Some(line) = reader.receive_with(&mut chat, timer()).await? {
        let (expected, answer) = answers.next().ok_or("one line too many")?;
        assert_eq!(line, *expected);
        writer.send_with(&mut chat, answer, timer()).await?;
    }
    assert!(answers.next().is_none(), "the chat ended early");

    let (mut receiver, mut received) = (FileReceiver::new(1 << 20), Vec::new());
    let size = receiver.receive_with(&mut transfer, &mut received, timer()).await?;
    assert!(received == file(), "the file arrived damaged");
    println!("{size} bytes arrived as they were sent");
    Ok(())
}
