//! The same exchange on every runtime, through every adapter.

use std::time::Duration;

use duologue::io::{
    Cursor, Limits, ReadAllExt, ReadError, SizePrefix, SizedCursor, TokioIo, WriteAllExt,
};
use duologue::testing::duplex;
use duologue::time::{AsyncIoTimer, Timer, TokioTimer, VirtualClock};
use futures::io::{AsyncRead, AsyncWrite};
use futures::{AsyncWriteExt, future};
use tokio_util::compat::TokioAsyncReadCompatExt;

/// A question of a mebibyte, its echo, and the end of the stream, with both ends in one task.
async fn exchange<A, B, T>(mut near: A, mut far: B, timer: impl Fn() -> T)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    let body: Vec<u8> = (0..1_u32 << 20).map(|n| (n >> 5) as u8).collect();
    let asking = async {
        let header = SizePrefix::U32Be.encode(body.len() as u64).unwrap();
        near.write_all_chunked_with(&mut Cursor::new(header), timer()).await.unwrap();
        near.write_all_chunked_with(&mut Cursor::new(&body), timer()).await.unwrap();
        near.flush().await.unwrap();
        let mut reply = Cursor::new(vec![0; body.len()]);
        near.read_all_with(&mut reply, timer()).await.unwrap();
        near.close().await.unwrap();
        reply.into_buffer()
    };
    let echoing = async {
        let mut question = SizedCursor::new(SizePrefix::U32Be, 1 << 20);
        far.read_all_with(&mut question, timer()).await.unwrap();
        let mut reply = Cursor::new(question.into_body());
        far.write_all_chunked_with(&mut reply, timer()).await.unwrap();
        far.flush().await.unwrap();
        far.read_all_with(&mut Cursor::new([0; 1]), timer()).await
    };
    let (reply, end) = future::join(asking, echoing).await;
    assert!(reply == body);
    assert_eq!(end, Err(ReadError::EndOfStream { filled: 0 }));
}

fn tokio_current() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn tokio_multi() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn in_memory_on_a_virtual_clock_and_on_the_futures_executor() {
    let clock = VirtualClock::new();
    let (near, far) = duplex(1000);
    clock.block_on(exchange(near, far, || clock.timer())).unwrap();
    let (near, far) = duplex(1000);
    futures::executor::block_on(exchange(near, far, AsyncIoTimer::new));
}

#[test]
fn tcp_on_smol() {
    smol::block_on(async {
        let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = smol::net::TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = future::join(connecting, listener.accept()).await;
        exchange(near.unwrap(), far.unwrap().0, AsyncIoTimer::new).await;
    });
}

async fn tokio_pair() -> (tokio::net::TcpStream, tokio::net::TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = future::join(connecting, listener.accept()).await;
    (near.unwrap(), far.unwrap().0)
}

#[test]
fn tcp_on_both_tokio_flavours_with_either_timer() {
    for runtime in [tokio_current(), tokio_multi()] {
        runtime.block_on(async {
            let (near, far) = tokio_pair().await;
            exchange(TokioIo::new(near), TokioIo::new(far), TokioTimer::new).await;
            let (near, far) = tokio_pair().await;
            exchange(TokioIo::new(near), TokioIo::new(far), AsyncIoTimer::new).await;
        });
    }
}

#[test]
fn tcp_on_both_tokio_flavours_through_tokio_utils_adapter() {
    for runtime in [tokio_current(), tokio_multi()] {
        runtime.block_on(async {
            let (near, far) = tokio_pair().await;
            exchange(near.compat(), far.compat(), TokioTimer::new).await;
        });
    }
}

#[test]
fn plain_threads_with_block_on() {
    let (mut near, mut far) = duplex(1000);
    let writer = std::thread::spawn(move || {
        futures::executor::block_on(async {
            near.write_all_chunked(&mut Cursor::new(vec![7; 1 << 20])).await.unwrap();
        });
    });
    let mut cursor = Cursor::new(vec![0; 1 << 20]);
    futures::executor::block_on(far.read_all(&mut cursor)).unwrap();
    writer.join().unwrap();
    assert!(cursor.filled().iter().all(|byte| *byte == 7));
}

#[test]
fn tokios_paused_clock_makes_twenty_seconds_pass_at_once() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (near, _silent) = tokio::io::duplex(64);
        let mut near = TokioIo::new(near);
        let started = tokio::time::Instant::now();
        let outcome = near.read_all_with(&mut Cursor::new([0; 1]), TokioTimer::new()).await;
        assert_eq!(outcome, Err(ReadError::Idle { filled: 0, limit: Limits::DEFAULT_IDLE }));
        let passed = started.elapsed();
        assert!(passed >= Duration::from_secs(20) && passed < Duration::from_millis(20_010));
    });
}

#[test]
fn the_adapter_forwards_vectored_writes_and_half_close() {
    tokio_current().block_on(async {
        let (near, far) = tokio_pair().await;
        let (mut near, mut far) = (TokioIo::new(near), TokioIo::new(far));
        let slices = [std::io::IoSlice::new(b"two "), std::io::IoSlice::new(b"slices")];
        assert_eq!(near.write_vectored(&slices).await.unwrap(), 10);
        near.close().await.unwrap();
        let mut cursor = Cursor::new([0; 11]);
        let end = far.read_all_with(&mut cursor, TokioTimer::new()).await;
        assert_eq!(end, Err(ReadError::EndOfStream { filled: 10 }));
        assert_eq!(cursor.filled(), b"two slices");
        far.write_all(b"reply").await.unwrap();
        let mut reply = Cursor::new([0; 5]);
        near.read_all_with(&mut reply, TokioTimer::new()).await.unwrap();
        assert_eq!(reply.filled(), b"reply");
        assert!(near.get_ref().peer_addr().is_ok() && near.get_mut().nodelay().is_ok());
        drop(far.into_inner());
    });
}
