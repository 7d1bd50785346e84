use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use async_io::Async;

use super::event::Observer;
use super::race::{Lost, interleave, race, within};
use super::service::service_port;
use super::stream::Socket;
use super::{
    Address, Attempt, ConnectError, Endpoint, Event, Failure, Host, Port, Stream, Target,
    TargetError,
};
use crate::io::TransportError;
use crate::time::{AsyncIoTimer, Time, Timer};

/// Connects to `target` within 20 s; see [`Connector`].
///
/// # Errors
///
/// [`ConnectError`], which names every address that was tried and what came of it.
///
/// # Cancel safety
///
/// Cancel safe: dropping the future closes what was being opened.
///
/// # Examples
///
/// ```
/// use duologue::net::{Listener, Target, connect};
///
/// # futures::executor::block_on(async {
/// let mut listener = Listener::bind(&"localhost:0".parse()?).await?;
/// let target = Target::new().host("localhost").port(listener.local_address().port().unwrap());
///
/// let stream = connect(&target).await?;
/// let accepted = listener.accept().await?;
/// assert_eq!(accepted.peer(), stream.local());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub async fn connect(target: &Target) -> Result<Stream, ConnectError> {
    Connector::new().connect(target).await
}

/// How to connect: the limits, and who is told.
///
/// The host is looked up on a helper thread (async-net's), so nothing blocks; no reverse lookup is
/// ever made. Of what the lookup gives, at most 16 addresses are tried, IPv6 and IPv4 alternating, a
/// new one every 250 ms or as soon as one fails, until the first answers
/// ([RFC 8305](https://www.rfc-editor.org/rfc/rfc8305), "Happy Eyeballs"). The system's lookup
/// returns both families at once, so a slow answer for one of them delays both.
///
/// # Examples
///
/// ```
/// use duologue::net::Connector;
/// use std::time::Duration;
///
/// # futures::executor::block_on(async {
/// let connector = Connector::new()
///     .limit(Duration::from_secs(5))
///     .on_event(|event| println!("{}", event.name()));
/// let error = connector.connect(&"127.0.0.1:0".parse().unwrap()).await.unwrap_err();
/// assert!(!error.can_retry(), "nobody listens at port 0");
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Connector {
    limit: Duration,
    stagger: Duration,
    observer: Observer,
}

impl Connector {
    /// Most addresses of a host that are tried: 16.
    pub const MOST_ADDRESSES: usize = 16;

    /// A connector with a limit of 20 s and without an observer.
    pub fn new() -> Self {
        Self {
            limit: Duration::from_secs(20),
            stagger: Duration::from_millis(250),
            observer: Observer::default(),
        }
    }

    /// Sets the limit for everything together, lookup and all attempts; 20 s by default.
    #[must_use]
    pub const fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets how long after an attempt the next begins, 10 ms to 2 s; 250 ms by default.
    ///
    /// The range and the default are those of
    /// [RFC 8305, section 8](https://www.rfc-editor.org/rfc/rfc8305#section-8); a value outside is
    /// taken as the nearest in it.
    #[must_use]
    pub fn attempt_delay(mut self, delay: Duration) -> Self {
        self.stagger = delay.clamp(Duration::from_millis(10), Duration::from_secs(2));
        self
    }

    /// Has `observer` called with each event, in the order that [`Event`] documents.
    ///
    /// It is called in the middle of connecting, so it must not block.
    #[must_use]
    pub fn on_event(mut self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(observer);
        self
    }

    /// Connects to `target`.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which names every address that was tried and what came of it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future closes what was being opened, and reports no further event.
    /// A lookup that has begun goes on in its helper thread, unheard.
    pub async fn connect(&self, target: &Target) -> Result<Stream, ConnectError> {
        let outcome = self.try_connect(target).await;
        if let Err(error) = &outcome {
            self.observer.emit(|| Event::Error {
                id: None,
                peer: None,
                failure: Failure::Connect(error.clone()),
            });
        }
        outcome
    }

    async fn try_connect(&self, target: &Target) -> Result<Stream, ConnectError> {
        self.observer.emit(|| Event::Lookup { target: target.clone() });
        let mut timer = AsyncIoTimer::new();
        let deadline = timer.now().saturating_add(self.limit);

        let lookup = within(addresses_of(target), deadline, &mut timer).await;
        let timed_out = || ConnectError::TimedOut { limit: self.limit, attempts: Vec::new() };
        let addresses = lookup.ok_or_else(timed_out)??;
        self.observer.emit(|| Event::Resolved { addresses: addresses.clone() });

        let stream = self.race(addresses, deadline, &mut timer).await?;
        let stream = stream.observed_by(&self.observer);
        self.observer.emit(|| Event::Connected {
            peer: stream.peer().clone(),
            local: stream.local().clone(),
        });
        Ok(stream)
    }

    async fn race(
        &self,
        addresses: Vec<Address>,
        deadline: Time,
        timer: &mut AsyncIoTimer,
    ) -> Result<Stream, ConnectError> {
        let start = |address: &Address| {
            self.observer.emit(|| Event::Connecting { address: address.clone() });
            let address = address.clone();
            async move { open(&address).await.map_err(TransportError::from) }
        };
        let lost = match race(&addresses, start, self.stagger, deadline, timer).await {
            Ok(stream) => return Ok(stream),
            Err(lost) => lost,
        };
        let Lost { outcomes, timed_out } = lost;
        let attempts = addresses
            .into_iter()
            .zip(outcomes)
            .map(|(address, error)| Attempt { address, error })
            .collect();
        Err(if timed_out {
            ConnectError::TimedOut { limit: self.limit, attempts }
        } else {
            ConnectError::Failed { attempts }
        })
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new()
    }
}

/// What a target comes to for somebody who connects.
async fn addresses_of(target: &Target) -> Result<Vec<Address>, ConnectError> {
    let (host, port) = match target.endpoint()? {
        Endpoint::Unix(path) => return Ok(vec![unix(path)?]),
        Endpoint::Tcp(host, port) => (host, port_number(port).await?),
    };
    if port == 0 || host == Host::Any {
        return Err(TargetError::NoHost.into());
    }
    let resolved = resolve(host, port).await.map_err(|(host, error)| match error {
        Some(error) => ConnectError::Lookup { host, error },
        None => ConnectError::NoAddress { host },
    })?;
    let addresses = interleave(resolved, Connector::MOST_ADDRESSES);
    Ok(addresses.into_iter().map(Address::Tcp).collect())
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there are none")]
pub(super) const fn unix(path: std::path::PathBuf) -> Result<Address, TargetError> {
    Ok(Address::Unix(Some(path)))
}

#[cfg(not(unix))]
pub(super) fn unix(_path: std::path::PathBuf) -> Result<Address, TargetError> {
    Err(TargetError::UnixUnsupported)
}

/// The number of a port, by the table and file of services where it is a name.
pub(super) async fn port_number(port: Port) -> Result<u16, TargetError> {
    match port {
        Port::Number(number) => Ok(number),
        Port::Service(name) => {
            service_port(&name).await.ok_or(TargetError::UnknownService { name })
        }
    }
}

/// Looks a host up; the error has the host's name and, unless it just has no address, the cause.
pub(super) async fn resolve(
    host: Host,
    port: u16,
) -> Result<Vec<SocketAddr>, (String, Option<TransportError>)> {
    let name = match host {
        Host::Any => return Ok(Vec::new()),
        Host::Address(ip) => return Ok(vec![SocketAddr::new(ip, port)]),
        Host::Name(name) => name,
    };
    match async_net::resolve((name.as_str(), port)).await {
        Ok(found) if found.is_empty() => Err((name.escape_debug().to_string(), None)),
        Ok(found) => Ok(found),
        Err(error) => Err((name.escape_debug().to_string(), Some(error.into()))),
    }
}

/// One attempt.
async fn open(address: &Address) -> io::Result<Stream> {
    match address {
        Address::Tcp(address) => {
            Stream::new(Socket::Tcp(Async::<std::net::TcpStream>::connect(*address).await?))
        }
        Address::Unix(path) => open_unix(path.as_deref()).await,
    }
}

#[cfg(unix)]
async fn open_unix(path: Option<&std::path::Path>) -> io::Result<Stream> {
    use std::os::unix::net::UnixStream;

    let path = path.ok_or(io::ErrorKind::InvalidInput)?;
    loop {
        match Async::<UnixStream>::connect(path).await {
            // The listener's queue is full, and unlike with TCP nobody tells when it has room.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                async_io::Timer::after(Duration::from_millis(20)).await;
            }
            connected => return Stream::new(Socket::Unix(connected?)),
        }
    }
}

#[cfg(not(unix))]
async fn open_unix(_path: Option<&std::path::Path>) -> io::Result<Stream> {
    Err(io::ErrorKind::Unsupported.into())
}
