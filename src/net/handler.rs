use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::boxed::Box;
use std::string::ToString;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::Shared;
use pin_project_lite::pin_project;

use super::printable::Printable;
use super::{Address, PeerId, Stream};

/// Any error of a program's own.
pub(super) type Cause = Box<dyn core::error::Error + Send + Sync>;

/// What a handler gets: one accepted connection.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted<S = Stream> {
    /// Its number.
    pub id: PeerId,
    /// The client's address.
    pub peer: Address,
    /// This end's address.
    pub local: Address,
    /// The stream, replaced if the server has a hook for that.
    pub stream: S,
    /// Ready when the server begins to stop.
    pub stopping: Stopping,
}

/// A future that is ready once the server begins to stop, for a handler to say goodbye in time.
///
/// Clones are ready at the same moment; it may be dropped and polled at will.
///
/// # Cancel safety
///
/// Cancel safe: a new poll, or one of a clone, finds the same.
///
/// # Examples
///
/// ```
/// use duologue::net::Accepted;
/// use futures::future::{Either, select};
/// use futures::{AsyncReadExt, AsyncWriteExt};
///
/// async fn handler(mut connection: Accepted) -> std::io::Result<()> {
///     let mut buf = [0; 1024];
///     while let Either::Left((read, _)) =
///         select(connection.stream.read(&mut buf), &mut connection.stopping).await
///     {
///         if read? == 0 {
///             return Ok(());
///         }
///     }
///     connection.stream.write_all(b"goodbye").await
/// }
/// # let _ = handler;
/// ```
#[derive(Clone, Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Stopping(Shared<oneshot::Receiver<()>>);

impl Stopping {
    /// A pair; dropping the sender makes all clones ready.
    pub(super) fn new() -> (oneshot::Sender<()>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver.shared()))
    }
}

impl Future for Stopping {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_unpin(cx).map(drop)
    }
}

/// Why a connection's handler did not end well, for the hook [`Server::on_error`].
///
/// Its text has the peer's address, and the cause with control characters escaped.
///
/// [`Server::on_error`]: super::Server::on_error
#[derive(Debug)]
#[non_exhaustive]
pub struct HandlerError {
    /// The connection.
    pub id: PeerId,
    /// The client's address.
    pub peer: Address,
    /// What failed.
    pub kind: HandlerErrorKind,
}

/// What failed in a connection's handler.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandlerErrorKind {
    /// The handler returned an error.
    Handler(Box<dyn core::error::Error + Send + Sync>),
    /// Replacing the stream failed.
    Replace(Box<dyn core::error::Error + Send + Sync>),
    /// Replacing the stream took longer than this.
    ReplaceTimedOut(Duration),
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} from {}: ", self.id, self.peer)?;
        let cause = match &self.kind {
            HandlerErrorKind::Handler(cause) => {
                f.write_str("the handler failed: ")?;
                cause
            }
            HandlerErrorKind::Replace(cause) => {
                f.write_str("replacing the stream failed: ")?;
                cause
            }
            HandlerErrorKind::ReplaceTimedOut(limit) => {
                return write!(f, "replacing the stream took more than {limit:?}");
            }
        };
        write!(f, "{}", Printable(&cause.to_string()))
    }
}

impl core::error::Error for HandlerError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.kind {
            HandlerErrorKind::Handler(cause) | HandlerErrorKind::Replace(cause) => {
                Some(cause.as_ref())
            }
            HandlerErrorKind::ReplaceTimedOut(_) => None,
        }
    }
}

/// What becomes of an accepted stream before the handler gets it; see
/// [`Server::replace_stream`](super::Server::replace_stream).
///
/// It is implemented by [`KeepStream`] and [`ReplaceWith`] only.
pub trait ReplaceStream: sealed::Sealed {
    /// What the handler gets.
    type Stream;
    /// The work, a TLS handshake say.
    type Future: Future<Output = Result<Self::Stream, Box<dyn core::error::Error + Send + Sync>>>;

    /// Begins the work.
    fn replace(&self, stream: Stream) -> Self::Future;
}

/// The handler gets the accepted [`Stream`] itself.
#[derive(Clone, Copy, Debug)]
pub struct KeepStream;

/// The handler gets what a function makes of the stream.
#[derive(Clone, Copy)]
pub struct ReplaceWith<F>(pub(super) F);

impl ReplaceStream for KeepStream {
    type Stream = Stream;
    type Future = core::future::Ready<Result<Stream, Cause>>;

    fn replace(&self, stream: Stream) -> Self::Future {
        core::future::ready(Ok(stream))
    }
}

impl<F, Fut, S, E> ReplaceStream for ReplaceWith<F>
where
    F: Fn(Stream) -> Fut,
    Fut: Future<Output = Result<S, E>>,
    E: Into<Cause>,
{
    type Stream = S;
    type Future = Replacing<Fut>;

    fn replace(&self, stream: Stream) -> Self::Future {
        Replacing { inner: (self.0)(stream) }
    }
}

pin_project! {
    /// The work of a [`ReplaceWith`].
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct Replacing<Fut> {
        #[pin]
        inner: Fut,
    }
}

impl<Fut, S, E> Future for Replacing<Fut>
where
    Fut: Future<Output = Result<S, E>>,
    E: Into<Cause>,
{
    type Output = Result<S, Cause>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx).map_err(E::into)
    }
}

impl<Fut> fmt::Debug for Replacing<Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replacing(..)")
    }
}

impl<F> fmt::Debug for ReplaceWith<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplaceWith(..)")
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::KeepStream {}
    impl<F> Sealed for super::ReplaceWith<F> {}
}
