use core::fmt;
use core::future::{Future, poll_fn};
use core::time::Duration;
use std::boxed::Box;
use std::sync::Arc;

use futures::future::{BoxFuture, LocalBoxFuture};

use super::accept_loop::{AcceptLoop, Stop};
use super::connection::{Admitted, Hooks, Serving, run};
use super::event::Observer;
use super::peers::Peers;
use super::{
    Accepted, Address, Admission, Candidate, Event, HandlerError, KeepStream, Listener,
    ReplaceStream, ReplaceWith, ServerHandle, Stopping, Stream,
};
use crate::io::TransportError;

/// Serves `listener` with the defaults of [`Server`]; see [`Server::serve`].
///
/// It runs until the future is dropped, and errors of handlers are not shown to anybody. To stop it
/// gracefully, to see errors, or to say who may connect, use [`Server`].
///
/// # Errors
///
/// [`TransportError`] when the listening socket itself is broken.
///
/// # Cancel safety
///
/// Dropping the future stops the server at once, as [`ServerHandle::stop_now`] does.
///
/// # Examples
///
/// ```
/// use duologue::net::{Accepted, Listener, connect, serve};
/// use futures::{AsyncReadExt, io::copy};
///
/// # smol::block_on(async {
/// let listener = Listener::bind(&"127.0.0.1:0".parse()?).await?;
/// let target = listener.local_address().to_string().parse()?;
/// let echo = |connection: Accepted| async move {
///     let (reader, mut writer) = connection.stream.split();
///     copy(reader, &mut writer).await.map(drop)
/// };
/// let server = serve(listener, |task| smol::spawn(task).detach(), echo);
/// let server = smol::spawn(server);
///
/// let mut client = connect(&target).await?;
/// futures::AsyncWriteExt::write_all(&mut client, b"hello").await?;
/// let mut back = [0; 5];
/// client.read_exact(&mut back).await?;
/// assert_eq!(&back, b"hello");
/// # drop(server);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub async fn serve<S, H, F, E>(
    listener: Listener,
    spawn: S,
    handler: H,
) -> Result<Served, TransportError>
where
    S: FnMut(BoxFuture<'static, ()>),
    H: Fn(Accepted) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Box<dyn core::error::Error + Send + Sync>> + 'static,
{
    Server::new(listener).serve(spawn, handler).await
}

/// A listener together with the rules for those who connect.
///
/// Each connection runs in a task of its own, so none waits for another: not for a slow one, nor
/// for one whose handshake hangs. What a connection goes through, in this order:
///
/// 1. the limit of [`most_connections`](Self::most_connections), and [`admission`](Self::admission);
/// 2. in its own task, [`replace_stream`](Self::replace_stream), with a time limit;
/// 3. the handler; its error goes to [`on_error`](Self::on_error).
///
/// However its task ends (the handler returns, fails, panics, is cut off, is dropped by the
/// executor), its place in the table of peers is freed and its end reported.
///
/// # Examples
///
/// ```
/// use duologue::net::{Accepted, Listener, RateLimit, Server, connect};
/// use futures::future::{Either, select};
/// use futures::{AsyncReadExt, AsyncWriteExt, io::copy};
/// use std::pin::pin;
/// use std::time::Duration;
///
/// # smol::block_on(async {
/// let listener = Listener::bind(&"127.0.0.1:0".parse()?).await?;
/// let server = Server::new(listener)
///     .most_connections(100)
///     .admission(RateLimit::new(20, Duration::from_secs(60)).most_live(4))
///     .on_error(|error| eprintln!("{error}"));
/// let (handle, target) = (server.handle(), server.local_address().to_string().parse()?);
///
/// // Each client gets its own bytes back, until it leaves or the server begins to stop.
/// let handler = |connection: Accepted| async move {
///     let (mut reader, mut writer) = connection.stream.split();
///     let mut echo = pin!(copy(&mut reader, &mut writer));
///     match select(echo.as_mut(), connection.stopping).await {
///         Either::Left((outcome, _)) => outcome.map(drop),
///         Either::Right(_) => Ok(()),
///     }
/// };
/// let server = smol::spawn(server.serve(|task| smol::spawn(task).detach(), handler));
///
/// let mut clients = Vec::new();
/// for _ in 0..3 {
///     let mut client = connect(&target).await?;
///     client.write_all(b"hello").await?;
///     client.read_exact(&mut [0; 5]).await?;
///     clients.push(client);
/// }
/// assert_eq!(handle.len(), 3);
///
/// handle.stop_gracefully(Duration::from_secs(5));
/// let served = server.await?;
/// assert_eq!((served.accepted, served.cut_off), (3, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[must_use = "a server does nothing unless `serve` is called and polled"]
pub struct Server<R = KeepStream> {
    listener: Listener,
    peers: Arc<Peers>,
    stopping: Stopping,
    most_connections: usize,
    admission: Box<dyn Admission + Send>,
    observer: Observer,
    on_error: Box<dyn Fn(&HandlerError) + Send + Sync>,
    replace: R,
    replace_limit: Duration,
}

/// What a server did until it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Connections that were admitted.
    pub accepted: u64,
    /// Connections that were not.
    pub refused: u64,
    /// Handlers that were cut off because they had not ended in time.
    pub cut_off: usize,
    /// Those of them that their executor has not dropped within a second; they will get no
    /// further turn.
    pub left: usize,
}

impl Server {
    /// A server with at most 1024 connections, which admits everybody, and reports its events to
    /// the observer of the listener.
    pub fn new(listener: Listener) -> Self {
        let (sender, stopping) = Stopping::new();
        Self {
            observer: listener.observer().clone(),
            listener,
            peers: Arc::new(Peers::new(sender)),
            stopping,
            most_connections: 1024,
            admission: Box::new(|_: &Candidate<'_>| Ok(())),
            on_error: Box::new(|_| {}),
            replace: KeepStream,
            replace_limit: Duration::from_secs(10),
        }
    }

    /// Has `replace` turn each accepted stream into what the handler gets: a TLS stream, say.
    ///
    /// It runs in the connection's own task and holds its place, so a slow handshake keeps nobody
    /// waiting; after the limit it is dropped. Its error goes to [`on_error`](Self::on_error).
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::net::{Accepted, Listener, Server, Stream};
    /// use futures::io::BufReader;
    ///
    /// # smol::block_on(async {
    /// let server = Server::new(Listener::bind(&"127.0.0.1:0".parse()?).await?);
    /// let server = server.replace_stream(async |stream: Stream| {
    ///     Ok::<_, std::io::Error>(BufReader::new(stream))
    /// });
    /// let handler = |_: Accepted<BufReader<Stream>>| async { Ok::<(), std::io::Error>(()) };
    /// let serving = server.serve(|task| smol::spawn(task).detach(), handler);
    /// # drop(serving);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn replace_stream<F, Fut, S, E>(self, replace: F) -> Server<ReplaceWith<F>>
    where
        F: Fn(Stream) -> Fut,
        Fut: Future<Output = Result<S, E>>,
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        Server {
            replace: ReplaceWith(replace),
            listener: self.listener,
            peers: self.peers,
            stopping: self.stopping,
            most_connections: self.most_connections,
            admission: self.admission,
            observer: self.observer,
            on_error: self.on_error,
            replace_limit: self.replace_limit,
        }
    }
}

impl<R> Server<R> {
    /// Sets how many connections there may be at once; 1024 by default.
    ///
    /// One more is accepted and closed at once, so that its client learns of it.
    pub const fn most_connections(mut self, most: usize) -> Self {
        self.most_connections = most;
        self
    }

    /// Sets who decides which connections are wanted; by default all are.
    pub fn admission(mut self, policy: impl Admission + Send + 'static) -> Self {
        self.admission = Box::new(policy);
        self
    }

    /// Has `observer` called with each event, in the order that [`Event`] documents.
    ///
    /// It replaces the listener's for what concerns connections. It must not block, and is called
    /// by the tasks of the connections, so possibly by several threads at once.
    pub fn on_event(mut self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(observer);
        self
    }

    /// Has `hook` called with each error of a handler or of the replacement of a stream; without a
    /// hook they are dropped.
    pub fn on_error(mut self, hook: impl Fn(&HandlerError) + Send + Sync + 'static) -> Self {
        self.on_error = Box::new(hook);
        self
    }

    /// Sets how long replacing a stream may take; 10 s by default.
    pub const fn replace_limit(mut self, limit: Duration) -> Self {
        self.replace_limit = limit;
        self
    }

    /// The address it listens on, with the real port.
    pub const fn local_address(&self) -> &Address {
        self.listener.local_address()
    }

    /// A handle on the live connections, and to stop the server.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(Arc::clone(&self.peers), self.local_address().clone())
    }
}

impl<R: ReplaceStream> Server<R> {
    /// Accepts connections and has `spawn` run each one's task, until a [`ServerHandle`] stops it.
    ///
    /// `spawn` is the executor's: `|task| smol::spawn(task).detach()`,
    /// `|task| drop(tokio::spawn(task))`, or a thread for each. The future itself must be polled
    /// too, by a task or `block_on`.
    ///
    /// # Errors
    ///
    /// [`TransportError`] when the listening socket itself is broken. The connections there are may
    /// end first, however long that takes: [`Failure::Listener`](super::Failure::Listener) is
    /// reported at once, and [`ServerHandle::stop_gracefully`] sets a limit.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the server at once, as [`ServerHandle::stop_now`] does: it no
    /// longer listens, and no handler is polled again.
    pub fn serve<S, H, F, E>(
        self,
        mut spawn: S,
        handler: H,
    ) -> impl Future<Output = Result<Served, TransportError>>
    where
        R: Send + Sync + 'static,
        R::Stream: Send,
        R::Future: Send,
        S: FnMut(BoxFuture<'static, ()>),
        H: Fn(Accepted<R::Stream>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn core::error::Error + Send + Sync>> + 'static,
    {
        self.run(handler, move |admitted, serving| spawn(Box::pin(run(admitted, serving))))
    }

    /// Does what [`serve`](Self::serve) does on an executor whose tasks stay on one thread, so that
    /// handlers need not be `Send`.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Cancel safety
    ///
    /// As [`serve`](Self::serve).
    pub fn serve_local<S, H, F, E>(
        self,
        mut spawn: S,
        handler: H,
    ) -> impl Future<Output = Result<Served, TransportError>>
    where
        R: 'static,
        S: FnMut(LocalBoxFuture<'static, ()>),
        H: Fn(Accepted<R::Stream>) -> F + 'static,
        F: Future<Output = Result<(), E>> + 'static,
        E: Into<Box<dyn core::error::Error + Send + Sync>> + 'static,
    {
        self.run(handler, move |admitted, serving| spawn(Box::pin(run(admitted, serving))))
    }

    async fn run<H>(
        self,
        handler: H,
        mut launch: impl FnMut(Admitted, Arc<Serving<R, H>>),
    ) -> Result<Served, TransportError> {
        let serving = Arc::new(Serving {
            handler,
            replace: self.replace,
            replace_limit: self.replace_limit,
            stopping: self.stopping,
        });
        let mut accept = AcceptLoop {
            listener: Some(self.listener),
            peers: self.peers,
            hooks: Arc::new(Hooks { observer: self.observer, on_error: self.on_error }),
            admission: self.admission,
            most_connections: self.most_connections,
            launch: move |admitted| launch(admitted, Arc::clone(&serving)),
            served: Served::default(),
            stop: Stop::new(),
        };
        poll_fn(|cx| accept.poll(cx)).await
    }
}

impl<R> fmt::Debug for Server<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listener", &self.listener)
            .field("most_connections", &self.most_connections)
            .field("replace_limit", &self.replace_limit)
            .finish_non_exhaustive()
    }
}
