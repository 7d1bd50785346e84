//! The four roles over TCP, with the default timer.

use duologue::legacy::{
    ChatReader, ChatWriter, FileError, FileReceiveError, FileReceiver, FileSender, TextDecoder,
    TextEncoder,
};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = futures::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

#[test]
fn files_cross_a_socket() {
    smol::block_on(async {
        for len in [0, 5, 3_000_000] {
            let file: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let (mut near, mut far) = connected().await;
            let mut sender = FileSender::new(file.len() as u64).unwrap();
            let (mut receiver, mut sink) = (FileReceiver::new(1 << 22), Vec::new());
            let mut source = &file[..];
            let (sent, received) = futures::join!(
                sender.send(&mut source, &mut near),
                receiver.receive(&mut far, &mut sink),
            );
            assert_eq!((sent, received), (Ok(()), Ok(file.len() as u64)));
            assert!(sink == file);
        }
    });
}

#[test]
fn the_originals_own_bytes_are_understood_and_spoken() {
    smol::block_on(async {
        // As its client does: the length and the file in writes of their own, then the close.
        let (mut original, mut ours) = connected().await;
        original.write_all(&5_i32.to_le_bytes()).await.unwrap();
        original.write_all(b"hello").await.unwrap();
        drop(original);
        let mut file = Vec::new();
        assert_eq!(FileReceiver::new(5).receive(&mut ours, &mut file).await, Ok(5));
        assert_eq!(file, b"hello");

        // As its server does: a length, that many bytes, and no reply.
        let (mut ours, mut original) = connected().await;
        FileSender::new(5).unwrap().send(&mut &b"hello"[..], &mut ours).await.unwrap();
        let mut wire = Vec::new();
        original.read_to_end(&mut wire).await.unwrap();
        assert_eq!(wire, b"\x05\0\0\0hello");
    });
}

#[test]
fn a_sender_that_gives_up_is_noticed() {
    smol::block_on(async {
        let (mut near, mut far) = connected().await;
        let mut sender = FileSender::new(100_000).unwrap();
        let source = vec![7; 70_000];
        assert!(sender.send(&mut &source[..], &mut near).await.is_err());
        let mut sink = Vec::new();
        let received = FileReceiver::new(1 << 20).receive(&mut far, &mut sink).await;
        let truncated = FileError::Truncated { received: 65_536, size: Some(100_000) };
        assert_eq!(received, Err(FileReceiveError::Format(truncated)));
        assert_eq!(sink.len(), 65_536);
    });
}

#[test]
fn a_korean_conversation_goes_both_ways() {
    smol::block_on(async {
        let (mut near, mut far) = connected().await;
        for (from, to, text) in [(0, 1, "안녕하세요"), (1, 0, "반갑습니다")] {
            let ends = [&mut near, &mut far];
            let encoder = TextEncoder::for_label("euc-kr").unwrap();
            let decoder = TextDecoder::for_label("euc-kr").unwrap();
            let (mut writer, mut reader) =
                (ChatWriter::with_encoder(encoder), ChatReader::with_decoder(decoder));
            writer.send(ends[from], text).await.unwrap();
            writer.close(ends[from]).await.unwrap();
            let mut received = String::new();
            while let Some(text) = reader.receive(ends[to]).await.unwrap() {
                received += &text;
            }
            assert_eq!(received, text);
        }
    });
}
