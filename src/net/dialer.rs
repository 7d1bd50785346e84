use std::boxed::Box;
use std::pin::Pin;

use super::connect::Connector;
use super::stream::Stream;
use super::target::Target;
use crate::io::TransportError;
use crate::session::Connect;

/// Connects to the same target again and again, for a client that
/// [reconnects](crate::session::Driver::reconnecting).
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use duologue::net::{Dialer, connect};
/// use duologue::proto::{Config, Connection, StreamParameters};
/// use duologue::session::{Backoff, session};
/// use duologue::time::{AsyncIoTimer, Timer};
///
/// # let (seed, more) = ([1; 32], [2; 32]);
/// let target = "example.org:5000".parse()?;
/// let stream = connect(&target).await?;
/// let timer = AsyncIoTimer::new();
/// let connection = Connection::client(Config::default(), StreamParameters::new(seed), timer.now());
/// let (handle, events, driver) = session(stream, connection, timer);
/// let driver = driver.reconnecting(Dialer::new(target), Backoff::new(more));
/// # drop((handle, events, driver));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Dialer {
    target: Target,
    connector: Connector,
}

impl Dialer {
    /// Connects to a target as [`connect`](super::connect) does.
    pub fn new(target: Target) -> Self {
        Self { target, connector: Connector::new() }
    }

    /// Connects with these settings.
    #[must_use]
    pub fn connector(mut self, connector: Connector) -> Self {
        self.connector = connector;
        self
    }
}

impl Connect for Dialer {
    type Io = Stream;
    type Connecting = Pin<Box<dyn Future<Output = Result<Stream, TransportError>> + Send>>;

    fn connect(&mut self) -> Self::Connecting {
        let Self { target, connector } = self.clone();
        Box::pin(async move { connector.connect(&target).await.map_err(TransportError::from) })
    }
}
