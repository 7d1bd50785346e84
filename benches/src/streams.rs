//! The streams that everything runs over, and the runtimes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use futures::FutureExt;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::Result;

/// A byte stream on tokio.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// One thread: steady to 5-10 %, so what the bars are decided on.
pub fn one_thread() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Two threads.
pub fn two_threads() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// What says so in the tables.
pub const RENO: &str = "loopback TCP with TCP_CONGESTION reno and TCP_NODELAY";

/// A socket under reno: BBR, which is the default of some hosts, paces loopback to half its rate.
///
/// # Errors
///
/// Those of the system.
pub fn socket() -> Result<Socket> {
    let socket = blocking_socket()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The same, for threads.
///
/// # Errors
///
/// Those of the system.
pub fn blocking_socket() -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_congestion(b"reno")?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// A listener whose connections are as [`socket`] has them.
///
/// # Errors
///
/// Those of the system.
pub fn listener() -> Result<TcpListener> {
    let listener = socket()?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    listener.listen(1024)?;
    Ok(TcpListener::from_std(listener.into())?)
}

/// Connects to a listener of this process.
///
/// # Errors
///
/// Those of the system.
pub async fn connect(listener: &TcpListener) -> Result<(TcpStream, TcpStream)> {
    let connecting = async {
        let socket = tokio::net::TcpSocket::from_std_stream(socket()?.into());
        Ok::<_, crate::Error>(socket.connect(listener.local_addr()?).await?)
    };
    let accepting = async {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    tokio::try_join!(connecting, accepting)
}

/// Two ends of one TCP connection.
///
/// # Errors
///
/// Those of the system.
pub async fn tcp() -> Result<(TcpStream, TcpStream)> {
    connect(&listener()?).await
}

/// Two ends of an in-memory pipe that holds so many bytes each way.
pub fn memory(capacity: usize) -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(capacity)
}

/// A link of so many bytes a second each way with a buffer of so many before it, and one as large at
/// its end. It moves bytes once a millisecond.
pub fn link(bytes_per_second: f64, buffer: usize) -> (DuplexStream, DuplexStream) {
    let (near, near_end) = memory(buffer);
    let (far_end, far) = memory(buffer);
    let (from_near, to_near) = tokio::io::split(near_end);
    let (from_far, to_far) = tokio::io::split(far_end);
    tokio::spawn(carry(from_near, to_far, bytes_per_second));
    tokio::spawn(carry(from_far, to_near, bytes_per_second));
    (near, far)
}

/// The same without a buffer before it: whoever writes waits for the link itself.
pub fn bare_link(bytes_per_second: f64, buffer: usize) -> (Limited, Limited) {
    let (near, far) = memory(buffer);
    (Limited::new(near, bytes_per_second), Limited::new(far, bytes_per_second))
}

/// A stream that takes so many bytes a second, in portions of a millisecond.
#[derive(Debug)]
pub struct Limited {
    stream: DuplexStream,
    bytes_per_second: f64,
    allowance: f64,
    last: Instant,
    beat: Beat,
}

impl Limited {
    fn new(stream: DuplexStream, bytes_per_second: f64) -> Self {
        Self { stream, bytes_per_second, allowance: 0.0, last: Instant::now(), beat: Beat::new() }
    }
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Limited {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        while this.allowance < 1.0 {
            ready!(this.beat.poll_next(cx));
            let now = Instant::now();
            let elapsed = (now - this.last).min(2 * TICK);
            this.last = now;
            this.allowance = elapsed.as_secs_f64() * this.bytes_per_second;
        }
        let most = buffer.len().min(this.allowance as usize);
        let len = ready!(Pin::new(&mut this.stream).poll_write(cx, &buffer[..most]))?;
        this.allowance -= len as f64;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    bytes_per_second: f64,
) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut last = Instant::now();
    let mut beat = Beat::new();
    loop {
        std::future::poll_fn(|cx| beat.poll_next(cx)).await;
        // What was not used up to now is lost, as it is on a wire.
        let now = Instant::now();
        let mut allowance = (now - last).min(2 * TICK).as_secs_f64() * bytes_per_second;
        last = now;
        while allowance >= 1.0 {
            let most = buffer.len().min(allowance as usize);
            let Some(read) = from.read(&mut buffer[..most]).now_or_never() else { break };
            let len = read?;
            if len == 0 {
                return Ok(());
            }
            to.write_all(&buffer[..len]).await?;
            allowance -= len as f64;
        }
    }
}

const TICK: Duration = Duration::from_millis(1);

/// A beat each millisecond, whatever else happens: a thread of its own gives it. A timer of tokio's is
/// looked at a whole millisecond after the runtime was last woken, so that whoever wakes it for a
/// message would make that message wait for a millisecond more than who does not.
#[derive(Debug)]
struct Beat {
    shared: Arc<BeatState>,
    seen: u64,
}

#[derive(Debug, Default)]
struct BeatState {
    count: AtomicU64,
    waiting: Mutex<Option<Waker>>,
}

impl Beat {
    fn new() -> Self {
        let shared = Arc::new(BeatState::default());
        let state = Arc::downgrade(&shared);
        std::thread::spawn(move || {
            let mut next = Instant::now();
            while let Some(state) = state.upgrade() {
                state.count.fetch_add(1, Ordering::SeqCst);
                let waker = state.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
                waker.into_iter().for_each(Waker::wake);
                drop(state);
                next = (next + TICK).max(Instant::now());
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        Self { shared, seen: 0 }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = self.shared.count.load(Ordering::SeqCst);
        if count == self.seen {
            *waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.seen = count;
        Poll::Ready(())
    }
}

/// Runs both as tasks of their own, and waits for both.
///
/// # Errors
///
/// That of the first that fails.
pub async fn both<A, B>(
    near: impl Future<Output = Result<A>> + Send + 'static,
    far: impl Future<Output = Result<B>> + Send + 'static,
) -> Result<(A, B)>
where
    A: Send + 'static,
    B: Send + 'static,
{
    let (near, far) = (tokio::spawn(near), tokio::spawn(far));
    tokio::try_join!(async { near.await? }, async { far.await? })
}
