use std::collections::BTreeSet;
use std::future::pending;
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::time::Duration;

use duologue::net::{
    Accepted, End, Event, HandlerErrorKind, Listener, ReplaceWith, Server, Stream, connect,
};
use futures::task::LocalSpawnExt;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};

use crate::net_util::{
    ask, echo, hold, recorder, run, server, start, start_at, target_of, until_closed,
};

#[test]
fn the_same_server_runs_on_every_executor() {
    let clients = |target| async move {
        let (one, two) = futures::join!(ask(&target, "one"), ask(&target, "two"));
        assert_eq!((one.as_str(), two.as_str()), ("one", "two"));
    };

    // smol's global executor.
    run(async {
        let running = start(server().await, echo);
        clients(running.target.clone()).await;
        assert_eq!(running.stop().await.accepted, 2);
    });
    // tokio, both flavours.
    for mut builder in
        [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()]
    {
        builder.build().unwrap().block_on(async {
            let server = server().await;
            let (target, handle) = (target_of(server.local_address()), server.handle());
            let served = tokio::spawn(server.serve(|task| drop(tokio::spawn(task)), echo));
            clients(target).await;
            handle.stop_now();
            assert_eq!(served.await.unwrap().unwrap().accepted, 2);
        });
    }
    // One thread, and handlers that are not `Send`.
    let mut pool = futures::executor::LocalPool::new();
    let spawner = pool.spawner();
    pool.run_until(async {
        let server = server().await;
        let (target, handle) = (target_of(server.local_address()), server.handle());
        let count = std::rc::Rc::new(std::cell::Cell::new(0));
        let seen = std::rc::Rc::clone(&count);
        let handler = move |connection| {
            seen.set(seen.get() + 1);
            echo(connection)
        };
        let tasks = spawner.clone();
        let served = server.serve_local(move |task| tasks.spawn_local(task).unwrap(), handler);
        let served = spawner.spawn_local_with_handle(served).unwrap();
        clients(target).await;
        handle.stop_now();
        assert_eq!(served.await.unwrap().accepted, 2);
        assert_eq!(count.get(), 2);
    });
    // A thread for each connection, as the chapter's blocking server has.
    run(async {
        let server = server().await;
        let (target, handle) = (target_of(server.local_address()), server.handle());
        let spawn = |task| drop(std::thread::spawn(|| futures::executor::block_on(task)));
        let served =
            std::thread::spawn(move || futures::executor::block_on(server.serve(spawn, echo)));
        clients(target).await;
        handle.stop_now();
        assert_eq!(served.join().unwrap().unwrap().accepted, 2);
    });
}

#[test]
fn h40_a_client_that_never_reads_keeps_nobody_waiting() {
    // B13: in the chapter one client in a dialog keeps all others waiting.
    let executor = smol::LocalExecutor::new(); // one thread for everything
    run(executor.run(async {
        let (sender, full) = futures::channel::oneshot::channel();
        let sender = Mutex::new(Some(sender));
        let handler = move |mut connection: Accepted| {
            let first = sender.lock().unwrap().take();
            async move {
                let Some(full) = first else { return echo(connection).await };
                let write = connection.stream.write(&[0; 65_536]);
                let mut written = write.await?;
                // Until the socket takes no more.
                while let Some(n) = connection.stream.write(&[0; 65_536]).now_or_never() {
                    written += n?;
                }
                full.send(written).unwrap();
                loop {
                    connection.stream.write_all(&[0; 65_536]).await?;
                }
            }
        };
        let server = server().await;
        let (target, handle) = (target_of(server.local_address()), server.handle());
        let tasks = std::rc::Rc::new(smol::LocalExecutor::new());
        let spawner = std::rc::Rc::clone(&tasks);
        let serving = server.serve_local(move |task| spawner.spawn(task).detach(), handler);
        let _serving = executor.spawn(async move { tasks.run(serving).await });

        let _slow = connect(&target).await.unwrap();
        assert!(full.await.unwrap() > 0);
        assert_eq!(ask(&target, "quick").await, "quick");
        assert_eq!(handle.len(), 1, "the slow one is still there");
    }));
}

#[test]
fn a_handshake_that_hangs_keeps_nobody_waiting() {
    run(async {
        let server = server().await.replace_stream(async |mut stream: Stream| {
            stream.read_exact(&mut [0; 5]).await?;
            Ok::<_, io::Error>(stream)
        });
        let running = start(server, echo);
        let _slow = connect(&running.target).await.unwrap();
        assert_eq!(ask(&running.target, "hellothere").await, "there");
        running.stop().await;
    });
}

#[test]
fn a_handlers_error_reaches_the_hook_with_the_peers_address() {
    // B22: each cause is told. B24: the address is the peer's, not our own.
    run(async {
        let (sender, mut errors) = futures::channel::mpsc::unbounded();
        let server = server().await.on_error(move |error| {
            let HandlerErrorKind::Handler(cause) = &error.kind else { panic!("{error:?}") };
            sender
                .unbounded_send((error.peer.clone(), cause.to_string(), error.to_string()))
                .unwrap();
        });
        let running = start(server, |_| async { Err(io::Error::other("bad\nthing")) });
        let client = connect(&running.target).await.unwrap();
        let (peer, cause, text) = futures::StreamExt::next(&mut errors).await.unwrap();
        assert_eq!(&peer, client.local(), "the client's address, not the server's own");
        assert_eq!(cause, "bad\nthing");
        assert_eq!(text, format!("connection 1 from {peer}: the handler failed: bad\\nthing"));
        running.stop().await;
    });
}

#[test]
fn the_hook_also_hears_of_replacements_that_fail_or_hang() {
    run(async {
        let (sender, mut errors) = futures::channel::mpsc::unbounded();
        let server = server()
            .await
            .on_error(move |error| sender.unbounded_send(format!("{:?}", error.kind)).unwrap())
            .replace_limit(Duration::ZERO)
            .replace_stream(|_| pending::<Result<Stream, io::Error>>());
        let running = start(server, echo);
        let _client = connect(&running.target).await.unwrap();
        let error = futures::StreamExt::next(&mut errors).await.unwrap();
        assert_eq!(error, "ReplaceTimedOut(0ns)");
        running.stop().await;
    });
}

#[test]
fn a_handler_that_panics_frees_its_place() {
    run(async {
        let (observer, mut events) = recorder();
        let server = server().await.most_connections(1).on_event(observer);
        let running = start(server, |connection: Accepted| async move {
            if connection.id.get() == 1 {
                panic!("on purpose");
            }
            echo(connection).await
        });
        until_closed(&mut connect(&running.target).await.unwrap()).await;
        let seen = events.until("disconnected").await;
        assert!(matches!(seen.last(), Some(Event::Disconnected { end: End::Panicked, .. })));
        while !running.handle.is_empty() {
            smol::future::yield_now().await;
        }
        assert_eq!(ask(&running.target, "next").await, "next");
        running.stop().await;
    });
}

#[test]
fn a_graceful_stop_waits_for_the_handlers() {
    run(async {
        let (observer, mut events) = recorder();
        let running =
            start(server().await.on_event(observer), |mut connection: Accepted| async move {
                connection.stopping.await;
                connection.stream.write_all(b"goodbye").await
            });
        let mut client = connect(&running.target).await.unwrap();
        events.until("peer-ready").await;
        running.handle.stop_gracefully(Duration::from_secs(3600));
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "goodbye");
        let served = running.served.await.unwrap();
        assert_eq!((served.accepted, served.cut_off, served.left), (1, 0, 0));
        assert_eq!(events.until("disconnected").await.len(), 1);
    });
}

#[test]
fn a_graceful_stop_cuts_off_who_takes_too_long_and_a_shorter_limit_counts() {
    run(async {
        for first in [Duration::ZERO, Duration::from_secs(3600)] {
            let (observer, mut events) = recorder();
            let running = start(server().await.on_event(observer), hold);
            let mut client = connect(&running.target).await.unwrap();
            events.until("peer-ready").await;
            running.handle.stop_gracefully(first);
            running.handle.stop_gracefully(Duration::from_millis(1));
            running.handle.stop_gracefully(Duration::from_secs(3600));
            until_closed(&mut client).await;
            let served = running.served.await.unwrap();
            assert_eq!((served.cut_off, served.left), (1, 0));
            assert!(running.handle.is_empty());
        }
    });
}

#[test]
fn a_stop_that_becomes_urgent_later_still_gives_the_executor_its_second() {
    let executor = std::rc::Rc::new(smol::LocalExecutor::new());
    let tasks = std::rc::Rc::clone(&executor);
    run(executor.run(async move {
        let (observer, mut events) = recorder();
        let server = server().await.on_event(observer);
        let (target, handle) = (target_of(server.local_address()), server.handle());
        let handlers = std::rc::Rc::clone(&tasks);
        let serving = server.serve_local(move |task| handlers.spawn(task).detach(), hold);
        let serving = tasks.spawn(serving);
        let _client = connect(&target).await.unwrap();
        events.until("peer-ready").await;
        handle.stop_gracefully(Duration::from_secs(3600));
        // Longer than what handlers that were cut off get; how much longer does not matter.
        smol::Timer::after(Duration::from_millis(1100)).await;
        handle.stop_now();
        let served = serving.await.unwrap();
        assert_eq!((served.cut_off, served.left), (1, 0));
        assert!(handle.is_empty());
    }));
}

#[cfg(target_os = "linux")]
#[test]
fn a_listener_that_breaks_is_told_at_once_while_handlers_finish() {
    run(async {
        let (observer, mut events) = recorder();
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let socket = socket2::Socket::from(listener.as_fd().try_clone_to_owned().unwrap());
        let running = start(Server::new(listener).on_event(observer), hold);
        let _silent = connect(&running.target).await.unwrap();
        events.until("peer-ready").await;
        // A socket that does not listen any more: Linux says so with EINVAL.
        socket.shutdown(std::net::Shutdown::Both).unwrap();
        let told = events.until("error").await.pop().unwrap();
        let Event::Error { id: None, peer: None, failure: duologue::net::Failure::Listener(error) } =
            told
        else {
            panic!("{told:?}")
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(running.handle.len(), 1, "who is connected has done nothing wrong");
        running.handle.stop_now();
        assert_eq!(running.served.await, Err(error));
    });
}

#[test]
fn a_stop_does_not_wait_for_an_executor_that_has_forgotten_its_tasks() {
    run(async {
        let (observer, mut events) = recorder();
        let server = server().await.on_event(observer);
        let (target, handle) = (target_of(server.local_address()), server.handle());
        let mut forgotten = Vec::new();
        let serving = server.serve(|task| forgotten.push(task), echo);
        let (served, _client) = futures::join!(serving, async {
            let client = connect(&target).await.unwrap();
            events.until("incoming").await;
            handle.stop_now();
            client
        });
        let served = served.unwrap();
        assert_eq!((served.accepted, served.cut_off, served.left), (1, 1, 1));
        drop(forgotten);
        assert!(handle.is_empty());
        assert_eq!(events.until("disconnected").await.len(), 1);
    });
}

#[test]
fn a_task_that_the_executor_drops_frees_its_place() {
    run(async {
        let (observer, mut events) = recorder();
        let server = server().await.most_connections(1).on_event(observer);
        let target = target_of(server.local_address());
        let _serving = smol::spawn(server.serve(drop, echo));
        for _ in 0..3 {
            until_closed(&mut connect(&target).await.unwrap()).await;
            let seen = events.until("disconnected").await;
            let end = seen.last();
            assert!(matches!(end, Some(Event::Disconnected { end: End::Stopped, .. })), "{end:?}");
        }
    });
}

#[test]
fn peers_are_known_by_ids_that_never_come_again() {
    run(async {
        let (observer, mut events) = recorder();
        let running = start(server().await.on_event(observer), hold);
        let mut ids = BTreeSet::new();
        let mut previous = None;
        for _ in 0..5 {
            let mut client = connect(&running.target).await.unwrap();
            events.until("peer-ready").await;
            let [peer] = running.handle.peers().try_into().unwrap();
            assert_eq!((&peer.peer, &peer.local), (client.local(), client.peer()));
            assert_eq!(running.handle.get(peer.id), Some(peer.clone()));
            assert!(ids.insert(peer.id));
            assert!(previous.is_none_or(|previous| previous < peer.id));

            assert!(running.handle.disconnect(peer.id));
            until_closed(&mut client).await;
            events.until("disconnected").await;
            while !running.handle.is_empty() {
                smol::future::yield_now().await;
            }
            assert!(!running.handle.disconnect(peer.id));
            assert_eq!(running.handle.get(peer.id), None);
            previous = Some(peer.id);
        }
        running.stop().await;
    });
}

#[test]
fn disconnecting_one_leaves_the_others() {
    // B21: in the chapter one client that leaves takes the others with it.
    run(async {
        let (observer, mut events) = recorder();
        let running = start(server().await.on_event(observer), echo);
        let mut first = connect(&running.target).await.unwrap();
        events.until("peer-ready").await;
        let mut second = connect(&running.target).await.unwrap();
        events.until("peer-ready").await;
        assert!(running.handle.disconnect(running.handle.peers()[0].id));
        until_closed(&mut first).await;
        second.write_all(b"x").await.unwrap();
        second.read_exact(&mut [0]).await.unwrap();
        running.stop().await;
    });
}

#[cfg(unix)]
#[test]
fn a_stopping_server_no_longer_listens_while_handlers_finish() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let target = duologue::net::Target::unix(&path);
        let (observer, mut events) = recorder();
        let server = Server::new(Listener::bind(&target).await.unwrap()).on_event(observer);
        let running = start_at(target, server, echo);
        let mut client = connect(&running.target).await.unwrap();
        events.until("peer-ready").await;
        running.handle.stop_gracefully(Duration::from_secs(3600));
        while path.exists() {
            smol::future::yield_now().await;
        }
        client.write_all(b"x").await.unwrap();
        client.read_exact(&mut [0]).await.unwrap();
        drop(client);
        assert_eq!(running.served.await.unwrap().cut_off, 0);
    });
}

#[cfg(unix)]
#[test]
fn a_server_on_a_unix_socket() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let target = duologue::net::Target::unix(folder.path().join("socket"));
        let server = Server::new(Listener::bind(&target).await.unwrap());
        let (handle, target) = (server.handle(), target);
        let served = smol::spawn(server.serve(|task| smol::spawn(task).detach(), echo));
        assert_eq!(ask(&target, "local").await, "local");
        handle.stop_now();
        served.await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "its file is gone");
    });
}

#[cfg(target_os = "linux")]
#[test]
fn binding_can_be_tried_again_when_the_system_has_means_again() {
    for (code, can_retry) in
        [(24, true), (23, true), (12, true), (98, true), (13, false), (97, false)]
    {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into();
        let error = io::Error::from_raw_os_error(code).into();
        let error = duologue::net::ListenError::Bind { address, error };
        assert_eq!(error.can_retry(), can_retry, "{error}");
    }
}

#[test]
fn the_parts_are_send() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    run(async {
        let target = "127.0.0.1:0".parse().unwrap();
        let mut listener = is_send(is_send(Listener::bind(&target)).await.unwrap());
        drop(is_send(listener.accept()));
        drop(is_send(connect(&target)));
        let server: Server<ReplaceWith<_>> = is_send(Server::new(listener))
            .replace_stream(async |stream: Stream| Ok::<_, io::Error>(stream));
        is_send(server.handle());
        drop(is_send(server.serve(drop, echo)));
    });
}
