use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::time::Duration;

use duologue::net::{
    Accepted, Candidate, Connector, Event, ListenOptions, Listener, RateLimit, Refusal,
    ReplaceStream, Server, Stream, Target, connect,
};
use futures::AsyncWriteExt;

use crate::net_util::{
    Outcome, Recorder, closed_port, echo, hold, labels, recorder, run, server, start, target_of,
    until_closed,
};

type Row = (&'static str, Pin<Box<dyn Future<Output = Vec<String>>>>, &'static [&'static str]);

fn row(
    name: &'static str,
    scenario: impl Future<Output = Vec<String>> + 'static,
    order: &'static [&'static str],
) -> Row {
    (name, Box::pin(scenario), order)
}

/// The orders of the chapter (its lines 256 to 280) and what became of them, one row each.
#[test]
fn events_come_in_the_documented_order() {
    let rows = clients_and_listeners().into_iter().chain(beginnings()).chain(ends());
    for (name, scenario, order) in rows {
        assert_eq!(run(scenario), order, "{name}");
    }
}

fn clients_and_listeners() -> Vec<Row> {
    vec![
        row(
            "client",
            client_leaves(),
            &["lookup", "resolved", "connecting", "connected", "disconnected:local"],
        ),
        row(
            "client, the server leaves",
            server_leaves(),
            &["lookup", "resolved", "connecting", "connected", "disconnected:peer"],
        ),
        row(
            "client, refused",
            client_refused(),
            &["lookup", "resolved", "connecting", "error:connect"],
        ),
        row("client, lookup fails", client_lookup_fails(), &["lookup", "error:connect"]),
        row("listener", listener(), &["hook", "listening"]),
    ]
}

#[test]
fn every_event_of_a_connection_has_its_id_and_the_clients_address() {
    run(async {
        let (observer, mut events) = recorder();
        let running = start(server().await.on_event(observer), |_| async {
            Err(io::ErrorKind::InvalidData.into())
        });
        let mut client = connect(&running.target).await.unwrap();
        until_closed(&mut client).await;
        for event in events.until("disconnected").await {
            let (id, peer) = match &event {
                Event::Incoming { id, peer, .. }
                | Event::Accepted { id, peer }
                | Event::HandlerStarted { id, peer }
                | Event::PeerReady { id, peer }
                | Event::Error { id: Some(id), peer: Some(peer), .. }
                | Event::Disconnected { id: Some(id), peer, .. } => (id, peer),
                other => panic!("{other:?}"),
            };
            assert_eq!((id.get(), peer), (1, client.local()), "{event:?}");
        }
        running.stop().await;
    });
}

/// How accepted connections begin, or do not.
fn beginnings() -> Vec<Row> {
    vec![
        row(
            "accepted",
            accepted(),
            &[
                "incoming",
                "accepted",
                "handler-started",
                "in the handler",
                "peer-ready",
                "disconnected:local",
            ],
        ),
        row("not admitted", not_admitted(), &["incoming", "refused:policy"]),
        row("one too many", one_too_many(), &["incoming", "refused:too-many"]),
        row("too often", too_often(), &["incoming", "refused:too-often"]),
        row(
            "stream replaced",
            replaced(),
            &[
                "incoming",
                "replaced",
                "accepted",
                "handler-started",
                "peer-ready",
                "disconnected:local",
            ],
        ),
        row(
            "replacement fails",
            replacement_fails(),
            &["incoming", "error:replace", "disconnected:failed"],
        ),
        row(
            "replacement hangs",
            replacement_hangs(),
            &["incoming", "error:replace", "disconnected:failed"],
        ),
    ]
}

/// How accepted connections end.
fn ends() -> Vec<Row> {
    vec![
        row(
            "handler fails",
            handler_fails(),
            &[
                "incoming",
                "accepted",
                "handler-started",
                "peer-ready",
                "error:handler",
                "disconnected:failed",
            ],
        ),
        row(
            "handler panics",
            handler_panics(),
            &["incoming", "accepted", "handler-started", "peer-ready", "disconnected:panicked"],
        ),
        row(
            "stopped gracefully",
            stopped_gracefully(),
            &["incoming", "accepted", "handler-started", "peer-ready", "disconnected:local"],
        ),
        row(
            "stopped at once",
            stopped_at_once(),
            &["incoming", "accepted", "handler-started", "peer-ready", "disconnected:stopped"],
        ),
        row(
            "disconnected by id",
            disconnected_by_id(),
            &["incoming", "accepted", "handler-started", "peer-ready", "disconnected:stopped"],
        ),
    ]
}

async fn client_leaves() -> Vec<String> {
    let (observer, mut events) = recorder();
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let connector = Connector::new().on_event(observer);
    drop(connector.connect(&target_of(listener.local_address())).await.unwrap());
    labels(&events.rest())
}

async fn server_leaves() -> Vec<String> {
    let (observer, mut events) = recorder();
    let mut listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let connector = Connector::new().on_event(observer);
    let mut stream = connector.connect(&target_of(listener.local_address())).await.unwrap();
    drop(listener.accept().await.unwrap());
    until_closed(&mut stream).await;
    until_closed(&mut stream).await;
    drop(stream);
    labels(&events.rest())
}

async fn client_refused() -> Vec<String> {
    let (observer, mut events) = recorder();
    let (_socket, port) = closed_port();
    let target = Target::new().address([127, 0, 0, 1]).port(port);
    Connector::new().on_event(observer).connect(&target).await.unwrap_err();
    labels(&events.rest())
}

async fn client_lookup_fails() -> Vec<String> {
    let (observer, mut events) = recorder();
    let target = Target::new().host(format!("{}.invalid", "a".repeat(64))).port(7);
    Connector::new().on_event(observer).connect(&target).await.unwrap_err();
    labels(&events.rest())
}

async fn listener() -> Vec<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let hook = sender.clone();
    let options = ListenOptions::new()
        .before_bind(move |socket| {
            assert_eq!(socket.address().port(), Some(0), "not bound yet");
            hook.send("hook".to_string()).unwrap();
            Ok(())
        })
        .on_event(move |event| {
            let Event::Listening { address } = event else { panic!("{event:?}") };
            assert_ne!(address.port(), Some(0), "the real port");
            sender.send(event.name().to_string()).unwrap();
        });
    drop(options.bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap());
    receiver.iter().collect()
}

/// Starts `server` with `handler`, connects once, and returns the events up to one of this name.
async fn one_client<R, H, F>(
    server: Server<R>,
    mut events: Recorder,
    handler: H,
    last: &str,
) -> Vec<String>
where
    R: ReplaceStream + Send + Sync + 'static,
    R::Stream: Send,
    R::Future: Send,
    H: Fn(Accepted<R::Stream>) -> F + Send + Sync + 'static,
    F: Future<Output = Outcome> + Send + 'static,
{
    let running = start(server, handler);
    let mut client = connect(&running.target).await.unwrap();
    client.close().await.unwrap();
    until_closed(&mut client).await;
    let seen = events.until(last).await;
    running.stop().await;
    assert_eq!(events.rest(), [], "nothing after the end");
    labels(&seen)
}

async fn accepted() -> Vec<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (order, handler_order) = (sender.clone(), sender);
    let (observer, events) = recorder();
    let server = server().await.on_event(move |event| {
        order.send(crate::net_util::label(event)).unwrap();
        observer(event);
    });
    let handler = move |connection: Accepted| {
        handler_order.send("in the handler".to_string()).unwrap();
        echo(connection)
    };
    one_client(server, events, handler, "disconnected").await;
    receiver.try_iter().collect()
}

async fn not_admitted() -> Vec<String> {
    let (observer, events) = recorder();
    let refuse = |_: &Candidate<'_>| Err(Refusal::Policy("not today".into()));
    let server = server().await.on_event(observer).admission(refuse);
    one_client(server, events, echo, "refused").await
}

async fn one_too_many() -> Vec<String> {
    let (observer, events) = recorder();
    let server = server().await.on_event(observer).most_connections(0);
    one_client(server, events, echo, "refused").await
}

async fn too_often() -> Vec<String> {
    let (observer, mut events) = recorder();
    let rate = RateLimit::new(1, Duration::from_secs(3600));
    let running = start(server().await.on_event(observer).admission(rate), echo);
    drop(connect(&running.target).await.unwrap());
    events.until("disconnected").await;
    until_closed(&mut connect(&running.target).await.unwrap()).await;
    let seen = labels(&events.until("refused").await);
    running.stop().await;
    seen
}

async fn replaced() -> Vec<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let order = sender.clone();
    let (observer, events) = recorder();
    let server = server()
        .await
        .on_event(move |event| {
            order.send(crate::net_util::label(event)).unwrap();
            observer(event);
        })
        .replace_stream(move |stream: Stream| {
            let sender = sender.clone();
            async move {
                sender.send("replaced".to_string()).unwrap();
                Ok::<_, io::Error>(futures::io::BufReader::new(stream))
            }
        });
    let handler = |connection: Accepted<futures::io::BufReader<Stream>>| async move {
        drop(connection.stream);
        Ok(())
    };
    one_client(server, events, handler, "disconnected").await;
    receiver.try_iter().collect()
}

async fn replacement_fails() -> Vec<String> {
    let (observer, events) = recorder();
    let server = server()
        .await
        .on_event(observer)
        .replace_stream(|_| async { Err::<Stream, _>(io::Error::other("no certificate")) });
    one_client(server, events, echo, "disconnected").await
}

async fn replacement_hangs() -> Vec<String> {
    let (observer, events) = recorder();
    let server = server()
        .await
        .on_event(observer)
        .replace_limit(Duration::ZERO)
        .replace_stream(|_| pending::<Result<Stream, io::Error>>());
    one_client(server, events, echo, "disconnected").await
}

async fn handler_fails() -> Vec<String> {
    let (observer, events) = recorder();
    let server = server().await.on_event(observer);
    let handler = |_| async { Err(io::ErrorKind::InvalidData.into()) };
    one_client(server, events, handler, "disconnected").await
}

async fn handler_panics() -> Vec<String> {
    let (observer, events) = recorder();
    let server = server().await.on_event(observer);
    let handler = |connection: Accepted| async move {
        let _stream = connection.stream;
        panic!("on purpose")
    };
    one_client(server, events, handler, "disconnected").await
}

/// Starts a server whose handler waits, and ends it in some way once the handler runs.
async fn ended_by<F>(
    handler: impl Fn(Accepted) -> F + Send + Sync + 'static,
    end: impl FnOnce(&duologue::net::ServerHandle),
) -> Vec<String>
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let (observer, mut events) = recorder();
    let running = start(server().await.on_event(observer), handler);
    let mut client = connect(&running.target).await.unwrap();
    let mut seen = events.until("peer-ready").await;
    end(&running.handle);
    until_closed(&mut client).await;
    seen.extend(events.until("disconnected").await);
    running.stop().await;
    labels(&seen)
}

async fn stopped_gracefully() -> Vec<String> {
    let handler = |connection: Accepted| async move {
        let _stream = connection.stream;
        connection.stopping.await;
        Ok(())
    };
    ended_by(handler, |handle| handle.stop_gracefully(Duration::from_secs(3600))).await
}

async fn stopped_at_once() -> Vec<String> {
    ended_by(hold, |handle| handle.stop_now()).await
}

async fn disconnected_by_id() -> Vec<String> {
    ended_by(hold, |handle| assert!(handle.disconnect(handle.peers()[0].id))).await
}
