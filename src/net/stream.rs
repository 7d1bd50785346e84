use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::boxed::Box;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
#[cfg(unix)]
use std::os::unix::net::UnixStream;

use async_io::Async;
use futures::io::{AsyncRead, AsyncWrite};
use socket2::{SockRef, TcpKeepalive};

use super::event::Observer;
use super::{Address, End, Event, Failure};
use crate::io::TransportError;

/// Silence after which the system asks whether the peer is still there.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(60);
/// Time between such questions.
#[cfg(not(target_os = "openbsd"))]
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Questions without an answer that end the connection.
#[cfg(not(target_os = "openbsd"))]
const KEEP_ALIVE_PROBES: u32 = 4;

/// A connected TCP or Unix stream.
///
/// On TCP, small writes go out at once (no-delay), and keep-alive is on: after 60 s of silence the
/// system asks the peer, every 15 s and 4 times, so that a peer that vanished is noticed after two
/// minutes. That is when nothing is under way: while what was sent is not acknowledged the system
/// asks nothing, but sends it again, on Linux for about 15 minutes (`tcp_retries2`). No shorter time
/// is set for that (`TCP_USER_TIMEOUT`), for it would also end a connection whose peer is there and
/// does not read. The limits of [`io`](crate::io) and the keep-alive of a session notice sooner.
/// (A system that refuses one of these options keeps its own default.)
///
/// Vectored reads and writes are passed on. [`close`](futures::AsyncWriteExt::close) ends this
/// side's half; the peer's can still be read. Dropping the stream closes both.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    peer: Address,
    local: Address,
    /// Who is told of the end; gone once it has been told.
    observer: Option<Box<Observer>>,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(Async<TcpStream>),
    #[cfg(unix)]
    Unix(Async<UnixStream>),
}

impl Stream {
    /// The address at the other end.
    pub const fn peer(&self) -> &Address {
        &self.peer
    }

    /// The address at this end.
    pub const fn local(&self) -> &Address {
        &self.local
    }

    pub(super) fn new(socket: Socket) -> io::Result<Self> {
        let (peer, local) = match &socket {
            Socket::Tcp(tcp) => {
                (tcp.get_ref().peer_addr()?.into(), tcp.get_ref().local_addr()?.into())
            }
            #[cfg(unix)]
            Socket::Unix(unix) => {
                let unix = unix.get_ref();
                ((&unix.peer_addr()?).into(), (&unix.local_addr()?).into())
            }
        };
        if let Socket::Tcp(tcp) = &socket {
            set_options(tcp.get_ref());
        }
        Ok(Self { socket, peer, local, observer: None })
    }

    /// Has the end of the stream reported.
    pub(super) fn observed_by(mut self, observer: &Observer) -> Self {
        self.observer = Some(Box::new(observer.clone()));
        self
    }

    /// Looks for the end of the stream in the outcome of an operation, to report it once.
    fn watch<T>(
        &mut self,
        outcome: io::Result<T>,
        is_end: impl FnOnce(&T) -> bool,
    ) -> io::Result<T> {
        match &outcome {
            Ok(value) if is_end(value) => self.ended(End::Peer),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                self.ended(End::Transport(TransportError::Io {
                    kind: error.kind(),
                    code: error.raw_os_error(),
                }));
            }
            _ => {}
        }
        outcome
    }

    fn ended(&mut self, end: End) {
        let Some(observer) = self.observer.take() else { return };
        if let End::Transport(error) = &end {
            observer.emit(|| Event::Error {
                id: None,
                peer: Some(self.peer.clone()),
                failure: Failure::Transport(error.clone()),
            });
        }
        observer.emit(|| Event::Disconnected { id: None, peer: self.peer.clone(), end });
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.ended(End::Local);
    }
}

/// Sets what is good to have; a connection without it is still a connection.
fn set_options(tcp: &TcpStream) {
    let _ = tcp.set_nodelay(true);
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_IDLE);
    #[cfg(not(target_os = "openbsd"))]
    let keep_alive = keep_alive.with_interval(KEEP_ALIVE_INTERVAL).with_retries(KEEP_ALIVE_PROBES);
    let _ = SockRef::from(tcp).set_tcp_keepalive(&keep_alive);
}

/// Calls a method of whichever socket it is.
macro_rules! poll_socket {
    ($this:expr, $($call:tt)*) => {
        match &mut $this.socket {
            Socket::Tcp(tcp) => Pin::new(tcp).$($call)*,
            #[cfg(unix)]
            Socket::Unix(unix) => Pin::new(unix).$($call)*,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let room = buf.len();
        let poll = poll_socket!(self, poll_read(cx, buf));
        poll.map(|outcome| self.watch(outcome, |n| *n == 0 && room > 0))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let has_room = bufs.iter().any(|buf| !buf.is_empty());
        let poll = poll_socket!(self, poll_read_vectored(cx, bufs));
        poll.map(|outcome| self.watch(outcome, |n| *n == 0 && has_room))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = poll_socket!(self, poll_write(cx, buf));
        poll.map(|outcome| self.watch(outcome, |_| false))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = poll_socket!(self, poll_write_vectored(cx, bufs));
        poll.map(|outcome| self.watch(outcome, |_| false))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // a socket has no buffer of ours
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = match &self.socket {
            Socket::Tcp(tcp) => tcp.get_ref().shutdown(Shutdown::Write),
            #[cfg(unix)]
            Socket::Unix(unix) => unix.get_ref().shutdown(Shutdown::Write),
        };
        Poll::Ready(match closed {
            // The peer was first: there is nothing left to close.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            closed => closed,
        })
    }
}

#[cfg(unix)]
impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(tcp) => tcp.get_ref().as_fd(),
            Socket::Unix(unix) => unix.get_ref().as_fd(),
        }
    }
}

#[cfg(unix)]
impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
