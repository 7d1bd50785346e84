//! The chapter's scenario (chat both ways, then a file) against itself on every runtime.

use duologue::io::TokioIo;
use duologue::testing::{Faulty, Profile, Script, duplex};
use duologue::time::{AsyncIoTimer, Timer, TokioTimer, VirtualClock};
use futures::future::try_join;
use futures::io::{AsyncRead, AsyncWrite};
use tokio_util::compat::TokioAsyncReadCompatExt;

use examples::programs::Failure;
use examples::scenario::{connecting_side, listening_side};

#[path = "../../examples/support/mod.rs"]
mod examples;

async fn both<A, B, T>(
    near: (A, A),
    far: (B, B),
    timer: impl Fn() -> T + Copy,
) -> Result<(), Failure>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    let connecting = connecting_side(near.0, near.1, timer);
    try_join(connecting, listening_side(far.0, far.1, timer)).await.map(drop)
}

#[test]
fn over_the_in_memory_pipe_of_any_capacity() {
    for capacity in [64, 1000, 65_536] {
        let clock = VirtualClock::new();
        let (near_chat, far_chat) = duplex(capacity);
        let (near_file, far_file) = duplex(capacity);
        let scenario = both((near_chat, near_file), (far_chat, far_file), || clock.timer());
        clock.block_on(scenario).unwrap().unwrap();
    }
}

#[test]
fn the_file_over_pipes_that_split_delay_and_interrupt() {
    use duologue::legacy::{FileReceiver, FileSender};
    let file: Vec<u8> = (0..200_000_u32).map(|n| (n >> 4) as u8).collect();
    for seed in 0..100 {
        let clock = VirtualClock::new();
        let (near, far) = duplex(4096);
        let script = |seed| Script::seeded(seed, &Profile::benign());
        let mut near = Faulty::new(near, script(2 * seed), &clock);
        let mut far = Faulty::new(far, script(2 * seed + 1), &clock);
        let mut received = Vec::new();
        let transfer = async {
            let mut sender = FileSender::new(file.len() as u64).unwrap();
            let mut receiver = FileReceiver::new(1 << 20);
            let mut source = &file[..];
            let sending = sender.send_with(&mut source, &mut near, clock.timer());
            let receiving = receiver.receive_with(&mut far, &mut received, clock.timer());
            futures::join!(sending, receiving)
        };
        let (sent, stored) = clock.block_on(transfer).unwrap();
        assert_eq!((sent, stored), (Ok(()), Ok(200_000)), "seed {seed}");
        assert!(received == file, "seed {seed}");
    }
}

#[test]
fn over_tcp_on_smol() {
    smol::block_on(async {
        let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || smol::net::TcpStream::connect(address);
        let near = (connect().await.unwrap(), connect().await.unwrap());
        let far = (listener.accept().await.unwrap().0, listener.accept().await.unwrap().0);
        both(near, far, AsyncIoTimer::new).await.unwrap();
    });
}

async fn over_tokio_tcp() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || tokio::net::TcpStream::connect(address);
    let near = (connect().await.unwrap(), connect().await.unwrap());
    let far = (listener.accept().await.unwrap().0, listener.accept().await.unwrap().0);
    // One side through our adapter, the other through tokio-util's.
    let near = (TokioIo::new(near.0), TokioIo::new(near.1));
    let far = (far.0.compat(), far.1.compat());
    both(near, far, TokioTimer::new).await.unwrap();
}

#[test]
fn over_tcp_on_both_tokio_flavours() {
    use tokio::runtime::Builder;
    Builder::new_current_thread().enable_all().build().unwrap().block_on(over_tokio_tcp());
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(over_tokio_tcp()).await.unwrap() });
}

#[test]
fn over_tcp_between_plain_threads() {
    use futures::executor::block_on;
    let mut listener =
        block_on(duologue::net::Listener::bind(&"127.0.0.1:0".parse().unwrap())).unwrap();
    let target = listener.local_address().to_string().parse().unwrap();
    let listening = std::thread::spawn(move || {
        let chat = block_on(listener.accept()).unwrap();
        let file = block_on(listener.accept()).unwrap();
        block_on(listening_side(chat, file, AsyncIoTimer::new)).unwrap();
    });
    let chat = block_on(duologue::net::connect(&target)).unwrap();
    let file = block_on(duologue::net::connect(&target)).unwrap();
    block_on(connecting_side(chat, file, AsyncIoTimer::new)).unwrap();
    listening.join().unwrap();
}
