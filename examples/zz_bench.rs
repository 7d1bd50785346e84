use bytes::Bytes;
use duologue::proto::{Config, Connection, StreamParameters};
use duologue::session::{Event, accept, session};
use duologue::time::{AsyncIoTimer, Timer};
use duologue::wire::{Chat, CloseCode, Offer};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use std::time::Instant;

async fn pair<IO: AsyncRead + AsyncWrite + Unpin>(near: IO, far: IO, total: u64) {
    let client = async {
        let timer = AsyncIoTimer::new();
        let connection = Connection::client(Config::default(), StreamParameters::new([1; 32]), timer.now());
        let (session, mut events, driver) = session(near, connection, timer);
        let talk = async {
            while !session.is_open() { events.next().await; }
            let start = Instant::now();
            let mut out = session.offer(&Offer::new("x").size(total)).await.unwrap();
            out.accepted().await.unwrap();
            let chunk = Bytes::from(vec![7u8; 1 << 18]);
            let mut left = total;
            while left > 0 {
                let n = left.min(1 << 18) as usize;
                out.send(chunk.slice(..n)).await.unwrap();
                left -= n as u64;
            }
            let v = out.finish(None).await.unwrap();
            let t = start.elapsed().as_secs_f64();
            println!("bulk {:.2} GB/s {v}", total as f64 / t / 1e9);
            let stats = session.statistics();
            println!("{:?} {:?} rate {}", stats.sent.total(), stats.received.total(), stats.delivery_rate);
            // chat one by one
            let start = Instant::now();
            let n = 200_000;
            let chat = Chat::new("x".repeat(64));
            let mut last = None;
            for _ in 0..n { last = Some(session.send_chat(&chat).await.unwrap()); }
            last.unwrap().await;
            println!("chat single {:.2} M/s", n as f64 / start.elapsed().as_secs_f64() / 1e6);
            let chats = vec![chat; n];
            let start = Instant::now();
            session.send_chats(&mut &chats[..]).await.unwrap().unwrap().await;
            println!("chat batch {:.2} M/s", n as f64 / start.elapsed().as_secs_f64() / 1e6);
            session.close(CloseCode::DONE, "").unwrap();
        };
        futures::join!(driver, talk);
    };
    let server = async {
        let (_s, mut events, driver) = accept(far, Config::default(), StreamParameters::new([2; 32]), AsyncIoTimer::new()).await.unwrap();
        let listen = async {
            while let Some(event) = events.next().await {
                if let Event::Offer(offer) = event {
                    let mut incoming = offer.accept().unwrap();
                    while let Some(chunk) = incoming.next().await.unwrap() { std::hint::black_box(chunk); }
                    incoming.stored("y").unwrap();
                }
            }
        };
        futures::join!(driver, listen);
    };
    futures::join!(client, server);
}

async fn raw<IO: AsyncRead + AsyncWrite + Unpin>(mut near: IO, mut far: IO, total: u64) {
    let start = Instant::now();
    let w = async { let b = vec![7u8; 1 << 16]; let mut left = total; while left > 0 { near.write_all(&b).await.unwrap(); left -= b.len() as u64; } };
    let r = async { let mut b = vec![0u8; 1 << 16]; let mut left = total; while left > 0 { let n = far.read(&mut b).await.unwrap(); left -= n as u64; } };
    futures::join!(w, r);
    println!("raw {:.2} GB/s", total as f64 / start.elapsed().as_secs_f64() / 1e9);
}

fn main() {
    let total = 1 << 30;
    futures::executor::block_on(async {
        let (a, b) = duologue::testing::duplex(256 << 10);
        raw(a, b, total).await;
        let (a, b) = duologue::testing::duplex(256 << 10);
        println!("-- duplex");
        pair(a, b, total).await;
    });
    smol::block_on(async {
        let l = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        for _ in 0..2 {
        let a = smol::net::TcpStream::connect(l.local_addr().unwrap()).await.unwrap();
        let (b, _) = l.accept().await.unwrap();
        set(&a); set(&b);
        raw(a, b, total).await;
        let a = smol::net::TcpStream::connect(l.local_addr().unwrap()).await.unwrap();
        let (b, _) = l.accept().await.unwrap();
        set(&a); set(&b);
        println!("-- tcp");
        pair(a, b, total).await;
        }
    });
}
fn set(s: &smol::net::TcpStream) {
    use std::os::fd::AsFd;
    s.set_nodelay(true).unwrap();
    socket2::SockRef::from(&s.as_fd()).set_tcp_congestion(b"reno").unwrap();
}
