use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::boxed::Box;
use std::vec::Vec;

use futures::io::{AsyncRead, AsyncWrite};

use super::backoff::Backoff;
use super::detached::Detached;
use super::driver::Driver;
use super::outcome::{Ended, Outcome};
use crate::io::TransportError;
use crate::proto::StreamParameters;
use crate::time::{Time, Timer};

/// Makes streams to the same peer.
///
/// A closure that returns a future of a stream is one.
pub trait Connect {
    /// The stream.
    type Io: AsyncRead + AsyncWrite + Unpin;
    /// An attempt to make one. Dropping it gives it up.
    type Connecting: Future<Output = Result<Self::Io, TransportError>>;

    /// Begins an attempt.
    fn connect(&mut self) -> Self::Connecting;

    /// What binds a conversation to the secure channel of the stream, a TLS exporter say; nothing by
    /// default.
    fn channel_binding(&self, _io: &Self::Io) -> Vec<u8> {
        Vec::new()
    }
}

impl<F, Connecting, IO> Connect for F
where
    F: FnMut() -> Connecting,
    Connecting: Future<Output = Result<IO, TransportError>>,
    IO: AsyncRead + AsyncWrite + Unpin,
{
    type Io = IO;
    type Connecting = Connecting;

    fn connect(&mut self) -> Connecting {
        self()
    }
}

/// A client's driver that makes another stream when one breaks, until the conversation has ended.
///
/// Made by [`Driver::reconnecting`]. Each attempt is an [event](super::Event::Attempt). When the
/// back-off's attempts are used up the conversation is [aborted](Driver::reconnecting).
///
/// # Cancel safety
///
/// Dropping it aborts the conversation, as for a [`Driver`].
#[must_use = "nothing moves unless the driver is polled"]
pub struct Reconnecting<C: Connect, T: Timer + Unpin> {
    connector: C,
    backoff: Backoff,
    stage: Stage<C, T>,
    /// Streams that the conversation had been opened on when the present one began.
    streams: u64,
    /// When that was, but for the first.
    since: Option<Time>,
}

enum Stage<C: Connect, T: Timer + Unpin> {
    Driving(Driver<C::Io, T>),
    Waiting { detached: Detached<T>, number: u32, until: Time },
    Connecting { detached: Detached<T>, connecting: Pin<Box<C::Connecting>> },
    Done,
}

impl<C: Connect, T: Timer + Unpin> fmt::Debug for Reconnecting<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting").field("backoff", &self.backoff).finish_non_exhaustive()
    }
}

impl<IO, T: Timer + Unpin> Driver<IO, T>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    /// Makes another stream with `connector` whenever one breaks.
    ///
    /// When the attempts of `backoff` are used up the conversation is given up: it ends as
    /// `Local { code: SHUTDOWN, is_answered: false }`, and [`Ended::transport`] has what the last stream or
    /// attempt failed with. By that it can be told from a conversation that this side has closed as
    /// [`SHUTDOWN`](crate::wire::CloseCode::SHUTDOWN): close yours with another code, such as
    /// [`DONE`](crate::wire::CloseCode::DONE), to be sure.
    ///
    /// # Examples
    ///
    /// On tokio, with a closure; `net::Dialer` is one for the streams of `net`:
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use duologue::io::{TokioIo, TransportError};
    /// use duologue::proto::{Config, Connection, StreamParameters};
    /// use duologue::session::{Backoff, session};
    /// use duologue::time::{Timer, TokioTimer};
    /// use tokio::net::TcpStream;
    ///
    /// let connect = || async {
    ///     let stream = TcpStream::connect("127.0.0.1:7000").await?;
    ///     Ok::<_, TransportError>(TokioIo::new(stream))
    /// };
    /// let (mut seed, mut waits) = ([0; 32], [0; 32]);
    /// getrandom::fill(&mut seed)?;
    /// getrandom::fill(&mut waits)?;
    /// let timer = TokioTimer::new();
    /// let connection =
    ///     Connection::client(Config::default(), StreamParameters::new(seed), timer.now());
    /// let (session, events, driver) = session(connect().await?, connection, timer);
    /// tokio::spawn(driver.reconnecting(connect, Backoff::new(waits)));
    /// session.opened().await?;
    /// # drop(events);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reconnecting<C: Connect<Io = IO>>(
        self,
        connector: C,
        backoff: Backoff,
    ) -> Reconnecting<C, T> {
        Reconnecting { connector, backoff, stage: Stage::Driving(self), streams: 0, since: None }
    }
}

impl<C: Connect, T: Timer + Unpin> Unpin for Reconnecting<C, T> {}

impl<C: Connect, T: Timer + Unpin> Future for Reconnecting<C, T> {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = &mut *self;
        for _ in 0..STAGES {
            match core::mem::replace(&mut this.stage, Stage::Done) {
                Stage::Done => return Poll::Pending,
                Stage::Driving(mut driver) => match Pin::new(&mut driver).poll(cx) {
                    Poll::Pending => {
                        this.stage = Stage::Driving(driver);
                        return Poll::Pending;
                    }
                    Poll::Ready(Outcome::Ended(ended)) => return Poll::Ready(ended),
                    Poll::Ready(Outcome::Detached(detached)) => {
                        let streams = detached.streams();
                        if streams > this.streams {
                            let now = detached.now();
                            let since = this.since.unwrap_or_default();
                            this.backoff.on_stream(now.saturating_duration_since(since));
                        }
                        this.streams = streams;
                        if let Some(ended) = this.wait(detached) {
                            return Poll::Ready(ended);
                        }
                    }
                },
                Stage::Waiting { mut detached, number, until } => {
                    match detached.poll_until(cx, Some(until)) {
                        Poll::Pending => {
                            this.stage = Stage::Waiting { detached, number, until };
                            return Poll::Pending;
                        }
                        Poll::Ready(Some(ended)) => return Poll::Ready(ended),
                        Poll::Ready(None) => {
                            let connecting = Box::pin(this.connector.connect());
                            this.stage = Stage::Connecting { detached, connecting };
                        }
                    }
                }
                Stage::Connecting { mut detached, mut connecting } => {
                    match connecting.as_mut().poll(cx) {
                        Poll::Ready(Ok(io)) => {
                            let binding = this.connector.channel_binding(&io);
                            let stream = StreamParameters::new(this.backoff.stream_seed())
                                .channel_binding(&binding);
                            this.since = Some(detached.now());
                            match detached.attach(io, stream) {
                                Ok(driver) => this.stage = Stage::Driving(driver),
                                Err((mut detached, _, _)) => {
                                    // It has ended meanwhile.
                                    return Poll::Ready(detached.abort());
                                }
                            }
                        }
                        Poll::Ready(Err(error)) => {
                            detached.set_transport_error(error);
                            if let Some(ended) = this.wait(detached) {
                                return Poll::Ready(ended);
                            }
                        }
                        Poll::Pending => match detached.poll_until(cx, None) {
                            Poll::Pending => {
                                this.stage = Stage::Connecting { detached, connecting };
                                return Poll::Pending;
                            }
                            Poll::Ready(Some(ended)) => return Poll::Ready(ended),
                            Poll::Ready(None) => {
                                this.stage = Stage::Connecting { detached, connecting };
                            }
                        },
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Stages that one poll passes at most, for waits and attempts that take no time.
const STAGES: usize = 16;

impl<C: Connect, T: Timer + Unpin> Reconnecting<C, T> {
    /// Waits for the next attempt, or gives up.
    fn wait(&mut self, mut detached: Detached<T>) -> Option<Ended> {
        let Some((number, wait)) = self.backoff.next_attempt() else {
            return Some(detached.abort());
        };
        let until = detached.announce(number, wait);
        self.stage = Stage::Waiting { detached, number, until };
        None
    }
}
