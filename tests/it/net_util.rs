//! What the tests of `net` share.

use std::future::Future;
use std::time::Duration;

use duologue::net::{
    Accepted, End, Event, Failure, Listener, Refusal, ReplaceStream, Served, Server, ServerHandle,
    Target, connect,
};
use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};

pub(crate) type Outcome = Result<(), std::io::Error>;

/// Runs a test, and ends one that hangs.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    smol::block_on(smol::future::or(test, async {
        smol::Timer::after(Duration::from_secs(30)).await;
        panic!("the test hangs");
    }))
}

/// An observer and the events that it saw.
pub(crate) struct Recorder(UnboundedReceiver<Event>);

pub(crate) fn recorder() -> (impl Fn(&Event) + Clone + Send + Sync + 'static, Recorder) {
    let (sender, receiver) = unbounded();
    (move |event: &Event| drop(sender.unbounded_send(event.clone())), Recorder(receiver))
}

impl Recorder {
    /// Waits for an event of this name, and returns it with all before it.
    pub(crate) async fn until(&mut self, name: &str) -> Vec<Event> {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|event: &Event| event.name() != name) {
            seen.push(self.0.next().await.expect("the observer lives on"));
        }
        seen
    }

    /// What has been seen so far.
    pub(crate) fn rest(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// The event and what matters of it, in short.
pub(crate) fn label(event: &Event) -> String {
    let detail = match event {
        Event::Refused { reason: Refusal::TooMany { .. }, .. } => "too-many",
        Event::Refused { reason: Refusal::TooOften { .. }, .. } => "too-often",
        Event::Refused { reason: Refusal::TooManyFromNetwork { .. }, .. } => "too-many-from-one",
        Event::Refused { .. } => "policy",
        Event::Error { failure: Failure::Connect(_), .. } => "connect",
        Event::Error { failure: Failure::Handler, .. } => "handler",
        Event::Error { failure: Failure::Replace, .. } => "replace",
        Event::Error { failure: Failure::Transport(_), .. } => "transport",
        Event::Error { .. } => "other",
        Event::Disconnected { end: End::Local, .. } => "local",
        Event::Disconnected { end: End::Peer, .. } => "peer",
        Event::Disconnected { end: End::Failed, .. } => "failed",
        Event::Disconnected { end: End::Panicked, .. } => "panicked",
        Event::Disconnected { end: End::Stopped, .. } => "stopped",
        Event::Disconnected { .. } => "transport",
        other => return other.name().to_string(),
    };
    format!("{}:{detail}", event.name())
}

pub(crate) fn labels(events: &[Event]) -> Vec<String> {
    events.iter().map(label).collect()
}

/// A server on the loopback, not started.
pub(crate) async fn server() -> Server {
    Server::new(Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap())
}

/// The target that leads to where a server or listener listens.
pub(crate) fn target_of(address: &duologue::net::Address) -> Target {
    address.to_string().parse().unwrap()
}

/// A port at which nobody listens, and the socket that keeps it so.
pub(crate) fn closed_port() -> (socket2::Socket, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

pub(crate) struct Running {
    pub(crate) target: Target,
    pub(crate) handle: ServerHandle,
    pub(crate) served: smol::Task<Result<Served, duologue::io::TransportError>>,
}

impl Running {
    pub(crate) async fn stop(self) -> Served {
        self.handle.stop_now();
        self.served.await.unwrap()
    }
}

/// Starts a server on smol's threads.
pub(crate) fn start<R, H, F>(server: Server<R>, handler: H) -> Running
where
    R: ReplaceStream + Send + Sync + 'static,
    R::Stream: Send,
    R::Future: Send,
    H: Fn(Accepted<R::Stream>) -> F + Send + Sync + 'static,
    F: Future<Output = Outcome> + Send + 'static,
{
    start_at(target_of(server.local_address()), server, handler)
}

/// Starts a server, which `target` leads to, on smol's threads.
pub(crate) fn start_at<R, H, F>(target: Target, server: Server<R>, handler: H) -> Running
where
    R: ReplaceStream + Send + Sync + 'static,
    R::Stream: Send,
    R::Future: Send,
    H: Fn(Accepted<R::Stream>) -> F + Send + Sync + 'static,
    F: Future<Output = Outcome> + Send + 'static,
{
    let handle = server.handle();
    let served = smol::spawn(server.serve(|task| smol::spawn(task).detach(), handler));
    Running { target, handle, served }
}

pub(crate) async fn echo(connection: Accepted) -> Outcome {
    let (reader, mut writer) = connection.stream.split();
    futures::io::copy(reader, &mut writer).await?;
    writer.close().await
}

/// Holds the connection until it is cut off.
pub(crate) async fn hold(connection: Accepted) -> Outcome {
    let _stream = connection.stream;
    std::future::pending().await
}

/// Connects, says `text`, closes its half and returns what comes back.
pub(crate) async fn ask(target: &Target, text: &str) -> String {
    let mut stream = connect(target).await.unwrap();
    let mut back = String::new();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.close().await.unwrap();
    stream.read_to_string(&mut back).await.unwrap();
    back
}

/// Waits until the other side has ended the connection, however.
pub(crate) async fn until_closed(stream: &mut duologue::net::Stream) {
    let mut buf = [0; 64];
    while stream.read(&mut buf).await.is_ok_and(|n| n > 0) {}
}
