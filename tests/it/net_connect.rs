use std::future::Future;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::task::{Context, Waker};
use std::time::Duration;

use duologue::net::{
    Address, ConnectError, Connector, ListenError, ListenOptions, Listener, Target, TargetError,
    connect,
};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};

use crate::net_util::{closed_port, recorder, run, target_of};

async fn exchange(listener: &mut Listener, target: &Target) {
    let connecting = connect(target);
    let (client, accepted) = futures::join!(connecting, listener.accept());
    let (mut client, mut accepted) = (client.unwrap(), accepted.unwrap());
    assert_eq!(accepted.local(), client.peer());
    client.write_all(b"to the server").await.unwrap();
    client.close().await.unwrap();
    client.close().await.unwrap();
    let mut text = String::new();
    accepted.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "to the server");
    // The other half is still open.
    let bufs = [std::io::IoSlice::new(b"to the "), std::io::IoSlice::new(b"client")];
    assert_eq!(accepted.write_vectored(&bufs).await.unwrap(), 13, "all slices in one call");
    drop(accepted);
    text.clear();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "to the client");
}

#[test]
fn tcp_over_both_families() {
    run(async {
        for at in ["127.0.0.1:0", "[::1]:0", "localhost:0"] {
            let mut listener = Listener::bind(&at.parse().unwrap()).await.unwrap();
            let target = target_of(listener.local_address());
            exchange(&mut listener, &target).await;
        }
    });
}

#[test]
fn any_takes_both_families_and_shows_ipv4_peers_as_such() {
    // B23: both families, and peers are told by address: nobody is looked up to be shown.
    run(async {
        let mut listener = Listener::any(0).await.unwrap();
        let port = listener.local_address().port().unwrap();
        for ip in [Ipv4Addr::LOCALHOST.into(), std::net::IpAddr::from(Ipv6Addr::LOCALHOST)] {
            let client = connect(&Target::new().address(ip).port(port)).await.unwrap();
            let accepted = listener.next().await.unwrap().unwrap();
            assert_eq!(accepted.peer(), client.local());
            assert_eq!(accepted.peer().ip(), Some(ip));
        }
    });
}

#[test]
fn a_name_reaches_whichever_family_listens() {
    run(async {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let mut listener = Listener::bind(&at.parse().unwrap()).await.unwrap();
            let port = listener.local_address().port().unwrap();
            let target = Target::new().host("localhost").port(port);
            if at.starts_with('[') && !resolves_to_ipv6("localhost") {
                continue;
            }
            exchange(&mut listener, &target).await;
        }
    });
}

fn resolves_to_ipv6(host: &str) -> bool {
    use std::net::ToSocketAddrs;
    (host, 1).to_socket_addrs().unwrap().any(|address| address.is_ipv6())
}

#[cfg(target_os = "linux")]
#[test]
fn no_delay_and_keep_alive_are_on_at_both_ends() {
    run(async {
        let mut listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let client = connect(&target_of(listener.local_address())).await.unwrap();
        let accepted = listener.accept().await.unwrap();
        for stream in [&client, &accepted] {
            let socket = socket2::SockRef::from(stream);
            assert!(socket.tcp_nodelay().unwrap());
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        }
    });
}

#[test]
fn a_refused_connection_names_the_address_and_the_cause() {
    run(async {
        let (_socket, port) = closed_port();
        let error = connect(&Target::new().address([127, 0, 0, 1]).port(port)).await.unwrap_err();
        let [attempt] = error.attempts() else { panic!("{error:?}") };
        assert_eq!(attempt.address, Address::Tcp(([127, 0, 0, 1], port).into()));
        assert_eq!(attempt.error.as_ref().unwrap().kind(), ErrorKind::ConnectionRefused);
        assert!(matches!(error, ConnectError::Failed { .. }));
        assert!(error.can_retry());
        let start = format!("could not connect: 127.0.0.1:{port}: ");
        assert!(error.to_string().starts_with(&start), "{error}");
    });
}

#[test]
fn what_can_never_be_connected_to_is_told_at_once() {
    run(async {
        for (target, error) in [
            (Target::new().port(1001), TargetError::NoHost),
            (Target::new().host("localhost").port(0), TargetError::NoHost),
            (Target::new().host("localhost"), TargetError::NoPort),
            (
                Target::new().host("localhost").service("no-such-service").port(1001),
                TargetError::UnknownService { name: "no-such-service".into() },
            ),
        ] {
            let can_retry = error.can_retry();
            let found = connect(&target).await.unwrap_err();
            assert_eq!(found, ConnectError::Target(error), "{target:?}");
            assert_eq!(found.can_retry(), can_retry);
        }
    });
}

#[test]
fn a_host_that_is_not_there_is_a_lookup_error() {
    run(async {
        // A label of more than 63 bytes is in no name server.
        let host = format!("{}.invalid", "a".repeat(64));
        let error = connect(&Target::new().host(host).port(7)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Lookup { .. }), "{error:?}");
        assert!(error.to_string().ends_with(".invalid` could not be looked up"), "{error}");
    });
}

#[test]
fn the_limit_covers_everything() {
    run(async {
        let limit = Duration::ZERO;
        // A host that needs a lookup, so that no answer can be there at the first look.
        let connector = Connector::new().limit(limit);
        let error = connector.connect(&"localhost:1".parse().unwrap()).await.unwrap_err();
        assert_eq!(error, ConnectError::TimedOut { limit, attempts: Vec::new() });
        assert_eq!(error.to_string(), "could not connect within 0ns");
        assert!(error.can_retry());
    });
}

#[test]
fn a_port_in_use_is_refused_and_no_family_is_left_out_unnoticed() {
    run(async {
        let first = Listener::any(0).await.unwrap();
        let port = first.local_address().port().unwrap();
        let error = Listener::any(port).await.unwrap_err();
        let ListenError::Bind { address, error: cause } = &error else { panic!("{error:?}") };
        assert_eq!(address.port(), Some(port));
        assert_eq!(cause.kind(), ErrorKind::AddrInUse);
        assert!(error.can_retry());
        assert!(error.to_string().starts_with(&format!("cannot listen at [::]:{port}: ")));

        // The port is taken for IPv6 alone: IPv4 alone would be half a service.
        let domain = socket2::Domain::IPV6;
        let half = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        half.set_only_v6(true).unwrap();
        half.bind(&std::net::SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).unwrap();
        half.listen(1).unwrap();
        let port = half.local_addr().unwrap().as_socket().unwrap().port();
        let error = Listener::any(port).await.unwrap_err();
        assert!(matches!(error, ListenError::Bind { .. }), "{error:?}");
    });
}

#[test]
fn the_hook_before_bind_may_refuse() {
    run(async {
        let options = ListenOptions::new().before_bind(|socket| {
            let v6 = (Ipv6Addr::LOCALHOST, 0).into();
            assert_eq!(socket.set_address(v6).unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(socket.address().to_string(), "127.0.0.1:0");
            Err(ErrorKind::PermissionDenied.into())
        });
        let error = options.bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, ListenError::Hook { .. }), "{error:?}");
        assert!(!error.can_retry());
    });
}

/// Drops the future that `make` returns after each of its first polls.
fn drop_at_every_poll<F: Future>(most: usize, mut make: impl FnMut() -> F) {
    for polls in 0..most {
        let mut future = Box::pin(make());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..polls {
            if future.as_mut().poll(&mut cx).is_ready() {
                break;
            }
        }
    }
}

#[test]
fn dropping_accept_loses_no_connection() {
    run(async {
        let mut listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let target = target_of(listener.local_address());
        for _ in 0..10 {
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..3 {
                assert!(Box::pin(listener.accept()).as_mut().poll(&mut cx).is_pending());
            }
            let client = connect(&target).await.unwrap();
            assert_eq!(listener.accept().await.unwrap().peer(), client.local());
        }
    });
}

#[test]
fn clients_that_hang_up_before_they_are_accepted_keep_nobody_out() {
    run(async {
        let (observer, mut events) = recorder();
        let options = ListenOptions::new().on_event(observer);
        let mut listener = options.bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let target = target_of(listener.local_address());
        let Address::Tcp(address) = *listener.local_address() else { panic!("a TCP address") };
        for _ in 0..300 {
            let client = std::net::TcpStream::connect(address).unwrap();
            let socket = socket2::SockRef::from(&client);
            socket.set_linger(Some(Duration::ZERO)).unwrap(); // a reset instead of an end
        }
        let client = connect(&target).await.unwrap();
        while listener.accept().await.unwrap().peer() != client.local() {}
        let failures = events.rest().into_iter().filter(|event| event.name() == "error").count();
        assert_eq!(failures, 0, "the listener paused although it had descriptors");
    });
}

#[test]
fn dropping_bind_at_any_poll_leaves_the_address_free() {
    run(async {
        let (_socket, port) = closed_port();
        drop(_socket);
        let target: Target = format!("127.0.0.1:{port}").parse().unwrap();
        drop_at_every_poll(6, || Listener::bind(&target));
        drop_at_every_poll(6, || ListenOptions::new().bind(&target));
        drop_at_every_poll(6, || Listener::any(port));
        drop_at_every_poll(6, || duologue::net::service_port("no-such-service"));
        Listener::bind(&target).await.unwrap();
    });
}

#[test]
fn dropping_connect_at_any_poll_leaves_the_listener_usable() {
    run(async {
        let mut listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let target = target_of(listener.local_address());
        drop_at_every_poll(8, || connect(&target));
        let connector = Connector::new();
        drop_at_every_poll(8, || connector.connect(&target));
        let client = connect(&target).await.unwrap();
        while listener.accept().await.unwrap().peer() != client.local() {}
    });
}

#[cfg(unix)]
mod unix {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixListener;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_unix_socket_works_and_its_file_goes_with_the_listener() {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("socket");
            let target = Target::unix(&path);
            let mut listener = Listener::bind(&target).await.unwrap();
            assert_eq!(listener.local_address(), &Address::Unix(Some(path.clone())));
            assert_eq!(listener.local_address().to_string(), format!("unix:{}", path.display()));
            exchange(&mut listener, &target).await;
            drop(listener);
            assert!(!path.exists());
            let error = connect(&target).await.unwrap_err();
            assert_eq!(error.attempts().len(), 1);
        });
    }

    #[test]
    fn only_a_stale_socket_is_replaced() {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("socket");
            let target = Target::unix(&path);

            let mut live = Listener::bind(&target).await.unwrap();
            let error = Listener::bind(&target).await.unwrap_err();
            assert!(error.can_retry(), "{error}");
            exchange_past_the_probe(&mut live, &target).await;
            drop(live);

            drop(UnixListener::bind(&path).unwrap()); // std leaves the file
            assert!(path.exists());
            drop(Listener::bind(&target).await.unwrap());
            assert!(!path.exists());

            std::fs::write(&path, "precious").unwrap();
            assert!(Listener::bind(&target).await.is_err());
            assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        });
    }

    /// The probe of the second listener is a connection too, which ended at once.
    async fn exchange_past_the_probe(listener: &mut Listener, target: &Target) {
        let mut client = connect(target).await.unwrap();
        client.write_all(b"x").await.unwrap();
        let mut text = String::new();
        client.close().await.unwrap();
        while text.is_empty() {
            listener.accept().await.unwrap().read_to_string(&mut text).await.unwrap();
        }
        assert_eq!(text, "x");
    }

    #[test]
    fn a_full_queue_makes_clients_wait_and_not_fail() {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let target = Target::unix(folder.path().join("socket"));
            let mut listener = ListenOptions::new().backlog(0).bind(&target).await.unwrap();
            let clients = futures::future::join_all((0..8).map(|_| connect(&target)));
            let accepted = async {
                let mut accepted = Vec::new();
                while accepted.len() < 8 {
                    accepted.push(listener.accept().await.unwrap());
                }
                accepted
            };
            let (clients, accepted) = futures::join!(clients, accepted);
            assert!(clients.iter().all(Result::is_ok), "{clients:?}");
            drop(accepted);
        });
    }

    #[test]
    fn a_file_put_in_the_sockets_place_stays() {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("socket");
            let listener = Listener::bind(&Target::unix(&path)).await.unwrap();
            std::fs::rename(&path, folder.path().join("moved")).unwrap();
            std::fs::write(&path, "precious").unwrap();
            drop(listener);
            assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        });
    }

    #[test]
    fn the_hook_before_bind_gets_the_descriptor() {
        run(async {
            let seen = Arc::new(Mutex::new(0));
            let size = Arc::clone(&seen);
            let listener = ListenOptions::new()
                .before_bind(move |socket| {
                    let descriptor = socket.as_fd();
                    let socket = socket2::SockRef::from(&descriptor);
                    socket.set_recv_buffer_size(65_536)?;
                    *size.lock().unwrap() = socket.recv_buffer_size()?;
                    Ok(())
                })
                .bind(&"127.0.0.1:0".parse().unwrap())
                .await
                .unwrap();
            let size = socket2::SockRef::from(&listener).recv_buffer_size().unwrap();
            assert_eq!(size, *seen.lock().unwrap());
        });
    }
}
