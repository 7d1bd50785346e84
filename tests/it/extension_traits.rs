//! The extension traits beside those of `futures`, all in scope at once.

use duologue::io::{Cursor, ReadAllExt, ReadError, SizePrefix, SizedCursor, WriteAllExt};
use duologue::testing::duplex;
use duologue::time::VirtualClock;
use futures::executor::block_on;
#[allow(unused_imports, reason = "the point is that all of them can be imported together")]
use futures::{
    AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, FutureExt, SinkExt, StreamExt,
    TryFutureExt, TryStreamExt,
};
#[allow(unused_imports, reason = "as above")]
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[test]
fn every_name_resolves_with_all_traits_in_scope() {
    let (mut near, mut far) = duplex(64);
    block_on(async {
        // Ours and those of futures, on the same stream, without a qualified path.
        near.write_all(b"with ").await.unwrap();
        near.write_all_chunked(&mut Cursor::new(b"both")).await.unwrap();
        near.flush().await.unwrap();

        let mut exact = [0; 5];
        far.read_exact(&mut exact).await.unwrap();
        let mut cursor = Cursor::new([0; 4]);
        far.read_all(&mut cursor).await.unwrap();
        assert_eq!((&exact, cursor.filled()), (b"with ", &b"both"[..]));
    });
}

#[test]
fn the_methods_take_a_timer_as_the_functions_do() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    let mut cursor = Cursor::new(b"\x05\0\0\0hello");
    let write = near.write_all_chunked_with(&mut cursor, clock.timer());
    assert_eq!(clock.block_on(write), Ok(Ok(9)));

    let mut sized = SizedCursor::new(SizePrefix::I32Le, 10);
    assert_eq!(clock.block_on(far.read_all_with(&mut sized, clock.timer())), Ok(Ok(5)));
    drop(near);
    let mut cursor = Cursor::new([0; 1]);
    let outcome = clock.block_on(far.read_all_with(&mut cursor, clock.timer()));
    assert_eq!(outcome, Ok(Err(ReadError::EndOfStream { filled: 0 })));
}

#[test]
fn unsized_streams_and_borrowed_buffers_are_welcome() {
    let mut source = &b"hello"[..];
    let reader: &mut (dyn futures::AsyncRead + Unpin) = &mut source;
    let mut buffer = [0; 5];
    let mut cursor = Cursor::new(&mut buffer[..]);
    block_on(reader.read_all(&mut cursor)).unwrap();
    assert_eq!(&buffer, b"hello");

    let mut sink = Vec::new();
    let writer: &mut (dyn futures::AsyncWrite + Unpin) = &mut sink;
    block_on(writer.write_all_chunked(&mut Cursor::new(&buffer[..]))).unwrap();
    assert_eq!(sink, b"hello");
}

#[test]
fn the_futures_are_send_unpin_and_small() {
    fn check<F: Future + Send + Unpin>(future: F, most: usize) {
        let size = size_of_val(&future);
        assert!(size <= most, "{size} bytes");
    }
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(1);
    check(near.read_all_with(&mut Cursor::new([0; 1]), clock.timer()), 256);
    check(far.write_all_chunked_with(&mut Cursor::new([0; 1]), clock.timer()), 256);
    check(near.read_all(&mut Cursor::new([0; 1])), 320);
}
