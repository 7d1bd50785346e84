//! The server's end of a new stream.

use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::boxed::Box;
use std::io::ErrorKind;

use bytes::Bytes;
use futures::io::{AsyncRead, AsyncWrite};

use super::driver::Driver;
use super::events::Events;
use super::session::{Session, start};
use crate::io::TransportError;
use crate::proto::{Acceptor, Config, Error, Request, Resuming, StreamParameters, Transmit};
use crate::time::{Time, Timer};
use crate::wire::CloseCode;

use super::shared::Shared;

/// Why a stream did not become part of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcceptError {
    /// The client, or its stream, failed in the handshake.
    Handshake(Error),
    /// The transport failed.
    Transport(TransportError),
    /// There are as many conversations as there may be: the client was told.
    Full,
}

impl AcceptError {
    /// Whether the client may do better with another stream.
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Handshake(error) => error.can_retry(),
            Self::Transport(_) | Self::Full => true,
        }
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(error) => error.fmt(f),
            Self::Transport(error) => error.fmt(f),
            Self::Full => f.write_str("there are as many conversations as there may be"),
        }
    }
}

impl core::error::Error for AcceptError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Handshake(error) => Some(error),
            Self::Transport(error) => Some(error),
            Self::Full => None,
        }
    }
}

impl From<Error> for AcceptError {
    fn from(error: Error) -> Self {
        Self::Handshake(error)
    }
}

impl From<TransportError> for AcceptError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

/// Accepts a client's conversation over a stream, as a new one: a client that wants to resume an
/// earlier one learns that it begins anew. For conversations that survive a break see
/// [`Conversations`](super::Conversations).
///
/// It waits for the client's first bytes, at most the configuration's handshake time-out; the rest
/// of the handshake is the driver's.
///
/// # Errors
///
/// [`AcceptError`]. The client was told why, if its stream took it.
///
/// # Cancel safety
///
/// Dropping the future drops the stream.
pub async fn accept<IO, T>(
    io: IO,
    config: Config,
    stream: StreamParameters<'_>,
    timer: T,
) -> Result<(Session, Events, Driver<IO, T>), AcceptError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    let mut handshake = Handshake::new(io, config, stream, timer);
    handshake.request().await?;
    handshake.accept()
}

/// The handshake of a client's stream, until it is known what the client wants.
pub(super) struct Handshake<IO, T, M = Acceptor> {
    io: IO,
    timer: T,
    machine: M,
    /// Bytes that were read and not taken.
    head: Bytes,
    armed: Option<Time>,
}

/// Bytes that one read takes at most: HELLO is far shorter.
const READ: usize = 2048;

/// What the two machines of a handshake have in common.
pub(super) trait Machine {
    fn poll_transmit(&mut self) -> Transmit<'_>;
    fn advance_transmit(&mut self, len: usize);
    fn poll_timeout(&self) -> Option<Time>;
    fn handle_timeout(&mut self, now: Time);
    fn handle_eof(&mut self);
    fn error(&self) -> Option<Error>;
    /// Takes input; whether it is all that was needed.
    fn handle_input(&mut self, now: Time, input: &[u8]) -> Result<(usize, bool), Error>;
}

macro_rules! machine {
    ($machine:ty, $handle_input:expr) => {
        impl Machine for $machine {
            fn poll_transmit(&mut self) -> Transmit<'_> {
                self.poll_transmit()
            }
            fn advance_transmit(&mut self, len: usize) {
                self.advance_transmit(len);
            }
            fn poll_timeout(&self) -> Option<Time> {
                self.poll_timeout()
            }
            fn handle_timeout(&mut self, now: Time) {
                self.handle_timeout(now);
            }
            fn handle_eof(&mut self) {
                self.handle_eof();
            }
            fn error(&self) -> Option<Error> {
                self.error().copied()
            }
            fn handle_input(&mut self, now: Time, input: &[u8]) -> Result<(usize, bool), Error> {
                let handle_input: fn(&mut Self, Time, &[u8]) -> Result<(usize, bool), Error> =
                    $handle_input;
                handle_input(self, now, input)
            }
        }
    };
}

machine!(Acceptor, |acceptor, now, input| {
    let (used, request) = acceptor.handle_input(now, input)?;
    Ok((used, request.is_some()))
});
machine!(Resuming, |resuming, now, input| {
    let used = resuming.handle_input(now, input)?.0;
    Ok((used, resuming.is_ready()))
});

impl<IO, T> Handshake<IO, T>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    pub(super) fn new(io: IO, config: Config, stream: StreamParameters<'_>, timer: T) -> Self {
        let machine = Acceptor::new(config, stream, timer.now());
        Self { io, timer, machine, head: Bytes::new(), armed: None }
    }

    /// Reads what the client asks for.
    pub(super) async fn request(&mut self) -> Result<Request, AcceptError> {
        self.run().await?;
        self.machine.request().ok_or(AcceptError::Handshake(Error::Incomplete))
    }

    /// Begins a new conversation.
    pub(super) fn accept(self) -> Result<(Session, Events, Driver<IO, T>), AcceptError> {
        let now = self.timer.now();
        let connection = self.machine.accept(now).map_err(|_| Error::Closed)?;
        Ok(start(self.io, connection, self.timer, self.head))
    }

    /// Refuses the client.
    pub(super) async fn refuse(mut self, code: CloseCode) {
        if self.machine.refuse(code, "").is_ok() {
            self.say_last_words().await;
        }
    }

    /// Has the client prove that it is the one that the conversation is with.
    pub(super) async fn resume(
        self,
        shared: &Shared,
    ) -> Result<Handshake<IO, T, Resuming>, AcceptError> {
        let Self { io, timer, machine, head, armed } = self;
        let now = timer.now();
        let resumed = shared.with(|state| machine.resume(&state.connection, now));
        let mut machine = match resumed {
            Ok(machine) => machine,
            Err(machine) => {
                let error = machine.error().copied().unwrap_or(Error::Closed);
                Self { io, timer, machine: *machine, head, armed }.say_last_words().await;
                return Err(error.into());
            }
        };
        // The secret that it proves is of the peer that was accepted at first.
        machine.accept_peer();
        let mut handshake = Handshake { io, timer, machine, head, armed };
        handshake.run().await?;
        Ok(handshake)
    }
}

impl<IO, T> Handshake<IO, T, Resuming>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    /// The stream, what was read ahead of it, and the proof.
    pub(super) fn into_parts(self) -> (Resumption<IO>, T) {
        (Resumption { io: self.io, resuming: Box::new(self.machine), head: self.head }, self.timer)
    }

    pub(super) fn from_parts(resumption: Resumption<IO>, timer: T) -> Self {
        let Resumption { io, resuming, head } = resumption;
        Self { io, timer, machine: *resuming, head, armed: None }
    }
}

/// A stream on which a client has proved that it may resume a conversation.
pub(super) struct Resumption<IO> {
    pub(super) io: IO,
    pub(super) resuming: Box<Resuming>,
    pub(super) head: Bytes,
}

impl<IO, T, M> Handshake<IO, T, M>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
    M: Machine,
{
    /// Reads and writes until the machine has all it needs. The client is told why not.
    async fn run(&mut self) -> Result<(), AcceptError> {
        let result = poll_fn(|cx| self.poll_run(cx)).await;
        if result.is_err() {
            self.say_last_words().await;
        }
        result
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AcceptError>> {
        let mut interruptions: u32 = 0;
        loop {
            if let Poll::Ready(Err(error)) = self.poll_write_all(cx) {
                return Poll::Ready(Err(error.into()));
            }
            let now = self.timer.now();
            if !self.head.is_empty() {
                let head = core::mem::take(&mut self.head);
                if self.handle_input(now, &head)? {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let mut buffer = [0; READ];
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(0)) => {
                    self.machine.handle_eof();
                    return Poll::Ready(Err(Error::Incomplete.into()));
                }
                Poll::Ready(Ok(claimed)) if claimed > READ => {
                    let error = TransportError::Overrun { claimed, offered: READ };
                    return Poll::Ready(Err(error.into()));
                }
                Poll::Ready(Ok(len)) => {
                    interruptions = 0;
                    if self.handle_input(now, buffer.get(..len).unwrap_or_default())? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(error))
                    if error.kind() == ErrorKind::Interrupted
                        && interruptions < TransportError::MAX_INTERRUPTIONS =>
                {
                    interruptions = interruptions.saturating_add(1);
                }
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(TransportError::from(error).into()));
                }
                Poll::Pending => match self.poll_deadline(cx) {
                    Poll::Ready(error) => return Poll::Ready(Err(error.into())),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    /// Whether the machine has all it needs; the rest is kept.
    fn handle_input(&mut self, now: Time, mut input: &[u8]) -> Result<bool, Error> {
        while !input.is_empty() {
            let (used, is_done) = self.machine.handle_input(now, input)?;
            input = input.get(used..).unwrap_or_default();
            if is_done {
                self.head = Bytes::copy_from_slice(input);
                return Ok(true);
            }
            if used == 0 {
                return Err(Error::Closed);
            }
        }
        Ok(false)
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(deadline) = self.machine.poll_timeout() else { return Poll::Pending };
        if self.armed != Some(deadline) {
            Pin::new(&mut self.timer).reset(deadline);
            self.armed = Some(deadline);
        }
        if deadline > self.timer.now() && Pin::new(&mut self.timer).poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.armed = None;
        self.machine.handle_timeout(self.timer.now());
        if let Some(error) = self.machine.error() {
            return Poll::Ready(error);
        }
        // It fired before its time: others may have a turn first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let mut interruptions: u32 = 0;
        loop {
            let bytes = self.machine.poll_transmit().first();
            let written = match bytes {
                Some(bytes) => Pin::new(&mut self.io).poll_write(cx, bytes),
                None => Pin::new(&mut self.io).poll_flush(cx).map_ok(|()| 0),
            };
            let bytes = bytes.unwrap_or_default();
            match written {
                Poll::Ready(Ok(0)) if bytes.is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(TransportError::WriteZero)),
                Poll::Ready(Ok(claimed)) if claimed > bytes.len() => {
                    let offered = bytes.len();
                    return Poll::Ready(Err(TransportError::Overrun { claimed, offered }));
                }
                Poll::Ready(Ok(len)) => {
                    interruptions = 0;
                    self.machine.advance_transmit(len);
                }
                Poll::Ready(Err(error))
                    if error.kind() == ErrorKind::Interrupted
                        && interruptions < TransportError::MAX_INTERRUPTIONS =>
                {
                    interruptions = interruptions.saturating_add(1);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TransportError::MAX_INTERRUPTIONS {
            match Pin::new(&mut self.io).poll_close(cx) {
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                closed => return closed.map(drop),
            }
        }
        Poll::Ready(())
    }

    /// Tells the client why not, as far as its stream takes that within [`LAST_WORDS`].
    pub(super) async fn say_last_words(&mut self) {
        let deadline = self.timer.now().saturating_add(LAST_WORDS);
        Pin::new(&mut self.timer).reset(deadline);
        poll_fn(|cx| {
            let said = match self.poll_write_all(cx) {
                Poll::Ready(Ok(())) => self.poll_close(cx),
                said => said.map(drop),
            };
            if said.is_ready() {
                return said;
            }
            let timed = Pin::new(&mut self.timer).poll(cx);
            if timed.is_ready() && self.timer.now() < deadline {
                // It fired before its time.
                Pin::new(&mut self.timer).reset(deadline);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            timed
        })
        .await;
    }
}

/// How long a client that is refused may take to read why.
const LAST_WORDS: Duration = Duration::from_secs(1);
