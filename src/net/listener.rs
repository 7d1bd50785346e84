use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;
use std::net::TcpListener;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(unix)]
use std::os::unix::net::UnixListener;

use async_io::Async;

use super::backoff::Backoff;
use super::event::Observer;
#[cfg(unix)]
use super::socket_file::SocketFile;
use super::stream::Socket;
use super::{Address, Event, Failure, ListenError, ListenOptions, Stream, Target};
use crate::io::TransportError;
use crate::time::AsyncIoTimer;

/// Connections that failed before they were accepted and are passed over without a pause.
const MOST_PASSED_OVER: u32 = 64;

/// A listening TCP or Unix socket: a stream of accepted connections that never ends.
///
/// Accepting one connection never waits for another. A connection that its client gave up before it
/// was accepted is passed over. When the system has no descriptors or memory left, or does not
/// permit to accept, the listener reports [`Failure::Accept`] and tries again after 50 ms, then
/// 100 ms and so on up to 1 s, while connections wait in the system's queue; it does not spin.
///
/// Dropping the listener ends listening, and removes the file of its Unix socket.
///
/// # Examples
///
/// ```
/// use duologue::net::{Listener, connect};
/// use futures::{AsyncReadExt, AsyncWriteExt};
///
/// # futures::executor::block_on(async {
/// let mut listener = Listener::bind(&"127.0.0.1:0".parse()?).await?;
/// let target = listener.local_address().to_string().parse()?;
///
/// let mut client = connect(&target).await?;
/// client.write_all(b"hello").await?;
/// client.close().await?;
///
/// let mut text = String::new();
/// listener.accept().await?.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Listener {
    socket: Listening,
    local: Address,
    backoff: Backoff<AsyncIoTimer>,
    observer: Observer,
}

#[derive(Debug)]
pub(super) enum Listening {
    Tcp(Async<TcpListener>),
    /// The file goes first, so that nobody finds a socket that looks abandoned.
    #[cfg(unix)]
    Unix(
        #[expect(dead_code, reason = "dropping it removes the file")] SocketFile,
        Async<UnixListener>,
    ),
}

impl Listener {
    /// Listens at `port` on all addresses of this machine, IPv6 and IPv4.
    ///
    /// That is one dual-stack socket on `[::]`; where the system has no IPv6, one on `0.0.0.0`.
    /// Port 0 takes any free one, which [`local_address`](Self::local_address) tells.
    ///
    /// # Errors
    ///
    /// [`ListenError::Bind`], when the port is taken say.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future leaves nothing open.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let listener = duologue::net::Listener::any(0).await?;
    /// assert_ne!(listener.local_address().port(), Some(0));
    /// # Ok::<(), duologue::net::ListenError>(())
    /// # }).unwrap();
    /// ```
    pub async fn any(port: u16) -> Result<Self, ListenError> {
        ListenOptions::new().bind(&Target::new().port(port)).await
    }

    /// Listens at `target`, which needs no host: without one it is [`any`](Self::any).
    ///
    /// # Errors
    ///
    /// [`ListenError`], which names the address.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future leaves nothing open.
    pub async fn bind(target: &Target) -> Result<Self, ListenError> {
        ListenOptions::new().bind(target).await
    }

    /// The address that is listened at, with the real port.
    pub const fn local_address(&self) -> &Address {
        &self.local
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// [`TransportError`] when the listening socket itself is broken. What passes is not an error.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a connection that has been taken from the queue is returned by the same poll.
    pub async fn accept(&mut self) -> Result<Stream, TransportError> {
        core::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Polls for the next connection; see [`accept`](Self::accept).
    ///
    /// # Errors
    ///
    /// [`TransportError`] when the listening socket itself is broken.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, TransportError>> {
        let mut passed_over = 0_u32;
        loop {
            ready!(self.backoff.poll(cx));
            let error = match self.socket.accept() {
                Ok(stream) => {
                    self.backoff.clear();
                    return Poll::Ready(Ok(stream));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match ready!(self.socket.poll_readable(cx)) {
                        Ok(()) => continue,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            match judge(&error) {
                Verdict::PassOver if passed_over < MOST_PASSED_OVER => {
                    passed_over = passed_over.saturating_add(1);
                }
                // Not a reason to wait: behind them in the queue may be an honest client.
                Verdict::PassOver => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Verdict::TryLater => {
                    let again_in = self.backoff.failed();
                    self.observer.emit(|| Event::Error {
                        id: None,
                        peer: None,
                        failure: Failure::Accept { error: error.into(), again_in },
                    });
                }
                Verdict::GiveUp => return Poll::Ready(Err(error.into())),
            }
        }
    }

    pub(super) fn new(socket: Listening, observer: Observer) -> io::Result<Self> {
        let local = match &socket {
            Listening::Tcp(tcp) => tcp.get_ref().local_addr()?.into(),
            #[cfg(unix)]
            Listening::Unix(_, unix) => (&unix.get_ref().local_addr()?).into(),
        };
        let backoff = Backoff::new(AsyncIoTimer::new());
        Ok(Self { socket, local, backoff, observer })
    }

    pub(super) const fn observer(&self) -> &Observer {
        &self.observer
    }
}

impl futures::Stream for Listener {
    type Item = Result<Stream, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_accept(cx).map(Some)
    }
}

#[cfg(unix)]
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Listening::Tcp(tcp) => tcp.get_ref().as_fd(),
            Listening::Unix(_, unix) => unix.get_ref().as_fd(),
        }
    }
}

impl Listening {
    fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(tcp) => {
                let (stream, _) = tcp.get_ref().accept()?;
                Stream::new(Socket::Tcp(Async::new(stream)?)).map_err(gone)
            }
            #[cfg(unix)]
            Self::Unix(_, unix) => {
                let (stream, _) = unix.get_ref().accept()?;
                Stream::new(Socket::Unix(Async::new(stream)?)).map_err(gone)
            }
        }
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_readable(cx),
            #[cfg(unix)]
            Self::Unix(_, unix) => unix.poll_readable(cx),
        }
    }
}

/// The error of a connection that was reset while it was set up, for which some systems say that
/// the argument is invalid. It must not be taken for one of the listener.
fn gone(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidInput => io::ErrorKind::ConnectionAborted.into(),
        _ => error,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    PassOver,
    TryLater,
    GiveUp,
}

/// What an error of accepting is about: one connection, the system's means, or the listener.
///
/// accept(2) of Linux hands on network errors of the new connection and asks to treat them like
/// "try again"; what is not known is waited out, because a listener is meant to stay. So is a
/// permission that is denied: a policy of the system may do so before the queue is touched, and the
/// same connection is there at the next call.
fn judge(error: &io::Error) -> Verdict {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionAborted
        | Kind::ConnectionReset
        | Kind::Interrupted
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::NetworkDown
        | Kind::NotConnected
        | Kind::TimedOut => Verdict::PassOver,
        Kind::InvalidInput => Verdict::GiveUp,
        _ => Verdict::TryLater,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn only_a_broken_listener_gives_up() {
        for (code, verdict) in [
            (4, Verdict::PassOver),   // EINTR
            (103, Verdict::PassOver), // ECONNABORTED
            (113, Verdict::PassOver), // EHOSTUNREACH
            // From a firewall, or a policy that comes before the queue is touched: then the same
            // connection is there again, however often it is asked for.
            (1, Verdict::TryLater),   // EPERM
            (13, Verdict::TryLater),  // EACCES
            (107, Verdict::PassOver), // ENOTCONN: gone before its address was asked for
            (24, Verdict::TryLater),  // EMFILE
            (23, Verdict::TryLater),  // ENFILE
            (105, Verdict::TryLater), // ENOBUFS
            (12, Verdict::TryLater),  // ENOMEM
            (22, Verdict::GiveUp),    // EINVAL: it does not listen
        ] {
            assert_eq!(judge(&io::Error::from_raw_os_error(code)), verdict, "{code}");
        }
    }
}
