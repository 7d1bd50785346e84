use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use duologue::net::{Accepted, Event, Listener, Server, Stream, connect, serve};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use smol::LocalExecutor;

use crate::net_util::{Recorder, hold, recorder, run, server, target_of, until_closed};

#[cfg(unix)]
type Serving = futures::future::LocalBoxFuture<'static, ()>;

#[cfg(unix)]
type Serve = fn(Server, Rc<LocalExecutor<'static>>) -> Serving;

/// All ways to serve, by name; the last one's connections are still in their handshake.
#[cfg(unix)]
fn ways_to_serve() -> [(&'static str, Serve); 3] {
    [
        ("serve", |server, tasks| {
            server.serve(move |task| tasks.spawn(task).detach(), hold).map(drop).boxed_local()
        }),
        ("serve_local", |server, tasks| {
            server.serve_local(move |task| tasks.spawn(task).detach(), hold).map(drop).boxed_local()
        }),
        ("replace_stream", |server, tasks| {
            let server = server.replace_stream(async |_stream: Stream| {
                std::future::pending::<std::io::Result<Stream>>().await
            });
            server.serve_local(move |task| tasks.spawn(task).detach(), hold).map(drop).boxed_local()
        }),
    ]
}

#[cfg(unix)]
#[test]
fn dropping_the_server_at_any_poll_ends_everything() {
    run(async {
        for ((way, serve), polls) in
            ways_to_serve().into_iter().flat_map(|way| (0..6).map(move |n| (way, n)))
        {
            let (observer, events) = recorder();
            // Not TCP, where another test may get the port as soon as it is free.
            let folder = tempfile::tempdir().unwrap();
            let target = duologue::net::Target::unix(folder.path().join("socket"));
            let server = Server::new(Listener::bind(&target).await.unwrap()).on_event(observer);
            let handle = server.handle();
            let connecting = (connect(&target), connect(&target));
            let (first, second) = futures::join!(connecting.0, connecting.1);
            let tasks = Rc::new(LocalExecutor::new());
            drop_after(serve(server, Rc::clone(&tasks)), polls, &tasks);
            while tasks.try_tick() {}
            assert!(handle.is_empty(), "{way}, {polls} polls");
            for mut client in [first.unwrap(), second.unwrap()] {
                until_closed(&mut client).await;
            }
            assert!(connect(&target).await.is_err(), "nobody listens any more");
            ends_are_reported_once(events);
        }
    });
}

#[cfg(unix)]
#[test]
fn dropping_a_plain_server_at_any_poll_ends_everything() {
    run(async {
        for polls in 0..6 {
            let folder = tempfile::tempdir().unwrap();
            let target = duologue::net::Target::unix(folder.path().join("socket"));
            let listener = Listener::bind(&target).await.unwrap();
            let mut client = connect(&target).await.unwrap();
            let tasks = Rc::new(LocalExecutor::new());
            let spawner = Rc::clone(&tasks);
            let serving = serve(listener, move |task| spawner.spawn(task).detach(), hold);
            drop_after(serving, polls, &tasks);
            while tasks.try_tick() {}
            until_closed(&mut client).await;
            assert!(connect(&target).await.is_err(), "nobody listens any more");
        }
    });
}

#[test]
fn a_wait_for_the_stop_dropped_at_any_poll_can_be_asked_again() {
    run(async {
        for polls in 0..4 {
            let server = server().await;
            let (target, handle) = (target_of(server.local_address()), server.handle());
            let handler = move |connection: Accepted| {
                let mut stopping = connection.stopping.clone();
                for _ in 0..polls {
                    let polled = stopping.poll_unpin(&mut Context::from_waker(Waker::noop()));
                    assert!(polled.is_pending());
                }
                drop(stopping);
                async move {
                    let mut stream = connection.stream;
                    stream.write_all(b"!").await?;
                    connection.stopping.await;
                    Ok::<_, std::io::Error>(())
                }
            };
            let tasks = Rc::new(LocalExecutor::new());
            let spawner = Rc::clone(&tasks);
            let serving = server.serve_local(move |task| spawner.spawn(task).detach(), handler);
            let asking = async {
                let mut client = connect(&target).await.unwrap();
                client.read_exact(&mut [0]).await.unwrap();
                handle.stop_gracefully(Duration::from_secs(10));
                until_closed(&mut client).await;
            };
            let (served, ()) = tasks.run(futures::future::join(serving, asking)).await;
            assert_eq!(served.unwrap().cut_off, 0, "after {polls} polls");
        }
    });
}

fn drop_after(serving: impl Future, polls: usize, tasks: &LocalExecutor<'_>) {
    let mut serving = Box::pin(serving);
    for _ in 0..polls {
        let polled = serving.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending));
        tasks.try_tick();
    }
}

fn ends_are_reported_once(mut events: Recorder) {
    let (mut open, mut closed) = (BTreeSet::new(), BTreeSet::new());
    for event in events.rest() {
        match event {
            Event::Incoming { id, .. } => assert!(open.insert(id)),
            Event::Disconnected { id, .. } => assert!(closed.insert(id.unwrap())),
            _ => {}
        }
    }
    assert_eq!(open, closed);
}

/// What needs a process of its own, because tests beside it open descriptors too.
#[cfg(target_os = "linux")]
mod descriptors {
    use std::fs::File;
    use std::process::Command;

    use duologue::net::{Failure, ListenOptions};

    use super::*;

    const CHILD: &str = "DUOLOGUE_TEST_CHILD";

    /// In the child true; in the parent runs the named test in a child, and false.
    fn in_a_child(test: &str, most_descriptors: u32) -> bool {
        if std::env::var_os(CHILD).is_some() {
            return true;
        }
        let limit = format!("ulimit -n {most_descriptors} && exec \"$0\" \"$@\"");
        let child = Command::new("sh")
            .args(["-c", &limit])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &format!("net_leaks::descriptors::{test}"), "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stdout);
        let errors = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success() && text.contains("1 passed"), "{text}{errors}");
        false
    }

    #[test]
    fn nothing_leaks_one() {
        if in_a_child("nothing_leaks_one", 256) {
            run(async {
                let mut counts = Vec::new();
                for _ in 0..5 {
                    churn().await;
                    counts.push(std::fs::read_dir("/proc/self/fd").unwrap().count());
                }
                assert!(counts[1..].iter().all(|count| *count == counts[1]), "{counts:?}");
            });
        }
    }

    async fn churn() {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let target = target_of(listener.local_address());
        for polls in 0..6 {
            let mut connecting = Box::pin(connect(&target));
            let mut cx = Context::from_waker(Waker::noop());
            let pending = |_: &usize| connecting.as_mut().poll(&mut cx).is_pending();
            (0..polls).take_while(pending).for_each(drop);
        }
        drop(listener);
        drop(connect(&target).await);
        for polls in 0..6 {
            let server = server().await;
            let target = target_of(server.local_address());
            let clients = futures::join!(connect(&target), connect(&target));
            let tasks = Rc::new(LocalExecutor::new());
            let spawner = Rc::clone(&tasks);
            drop_after(server.serve(move |task| spawner.spawn(task).detach(), hold), polls, &tasks);
            while tasks.try_tick() {}
            drop(clients);
        }
    }

    #[test]
    fn a_listener_without_any_left_waits_instead_of_spinning() {
        if in_a_child("a_listener_without_any_left_waits_instead_of_spinning", 64) {
            run(async {
                let (observer, mut events) = recorder();
                let options = ListenOptions::new().on_event(observer);
                let mut listener = options.bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
                let client = connect(&target_of(listener.local_address())).await.unwrap();
                events.until("listening").await;
                let mut hogs = Vec::new();
                while let Ok(hog) = File::open("/dev/null") {
                    hogs.push(hog);
                }
                let free = async {
                    let error = events.until("error").await;
                    drop(hogs);
                    error
                };
                let (accepted, errors) = futures::join!(listener.accept(), free);
                assert_eq!(accepted.unwrap().peer(), client.local());
                let [Event::Error { failure: Failure::Accept { again_in, .. }, .. }] = &errors[..]
                else {
                    panic!("{errors:?}")
                };
                assert_eq!(again_in.as_millis(), 50);
                assert_eq!(events.rest(), [], "it was tried once and then waited");
            });
        }
    }
}
