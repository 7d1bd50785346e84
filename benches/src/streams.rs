//! The streams that everything runs over, and the runtimes.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
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
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_congestion(b"reno")?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
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
