use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};

use super::{HostilePeer, Report};
use crate::time::{Time, Timer};

/// Rounds of a poll: others want to be polled, too.
const ROUNDS: usize = 64;
/// Bytes that are read at a time.
const READ: usize = 2048;

impl HostilePeer {
    /// Does it over a stream, up to the end of it or of its patience.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the stream is, and there is no report.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::proto::{Config, StreamParameters};
    /// use duologue::session::accept;
    /// use duologue::testing::{HostilePeer, Misbehaviour, duplex};
    /// use duologue::time::VirtualClock;
    /// use duologue::wire::Side;
    /// use futures::future::join;
    ///
    /// let clock = VirtualClock::new();
    /// for misbehaviour in ["another-protocol", "hello-of-the-same-role", "silence"] {
    ///     let misbehaviour = Misbehaviour::by_name(misbehaviour).unwrap();
    ///     let peer = HostilePeer::new(misbehaviour, Side::Client, 7);
    ///     let (near, far) = duplex(1024);
    ///     let parameters = StreamParameters::new([3; 32]);
    ///     let victim = accept(far, Config::default(), parameters, clock.timer());
    ///     let (report, victim) = clock.block_on(join(peer.run(near, clock.timer()), victim)).unwrap();
    ///     assert!(victim.is_err());
    ///     report.check().unwrap();
    /// }
    /// ```
    pub async fn run<IO, T>(mut self, io: IO, mut timer: T) -> Report
    where
        IO: AsyncRead + AsyncWrite + Unpin,
        T: Timer + Unpin,
    {
        self.talk(io, &mut timer).await;
        self.report()
    }

    /// The same over as many streams as it [takes](super::Misbehaviour::streams), one after the other:
    /// each is dropped before the next one is asked for. It ends early if there is none.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the stream is, and there is no report.
    ///
    /// # Examples
    ///
    /// A listener, and a client that comes back with a secret that it guessed:
    ///
    /// ```
    /// use duologue::proto::{Config, StreamParameters};
    /// use duologue::session::{Accepted, Conversations};
    /// use duologue::testing::{HostilePeer, Misbehaviour, duplex};
    /// use duologue::time::VirtualClock;
    /// use duologue::wire::Side;
    /// use futures::StreamExt;
    /// use futures::channel::mpsc;
    /// use futures::future::{join, ready};
    ///
    /// let clock = VirtualClock::new();
    /// let misbehaviour = Misbehaviour::by_name("secret-that-is-guessed").unwrap();
    /// let (sender, arrivals) = mpsc::unbounded();
    /// let dial = move || {
    ///     let (near, far) = duplex(1024);
    ///     ready(sender.unbounded_send(far).ok().map(|()| near))
    /// };
    /// let peer = HostilePeer::new(misbehaviour, Side::Client, 7).run_over(dial, clock.timer());
    /// let (clock, conversations) = (&clock, &Conversations::new(Config::default()));
    /// let listening = arrivals.enumerate().for_each_concurrent(None, |(n, stream)| async move {
    ///     let parameters = StreamParameters::new([n as u8; 32]);
    ///     let accepted = conversations.accept(stream, parameters, clock.timer()).await;
    ///     if let Ok(Accepted::New(session, mut events, driver)) = accepted {
    ///         let application = async { while events.next().await.is_some() {} };
    ///         join(driver, application).await;
    ///         drop(session);
    ///     }
    /// });
    /// let (report, ()) = clock.block_on(join(peer, listening)).unwrap();
    /// report.check().unwrap();
    /// ```
    pub async fn run_over<IO, T, D>(mut self, mut dial: impl FnMut() -> D, mut timer: T) -> Report
    where
        IO: AsyncRead + AsyncWrite + Unpin,
        T: Timer + Unpin,
        D: Future<Output = Option<IO>>,
    {
        while let Some(io) = dial().await {
            self.talk(io, &mut timer).await;
            if !self.next_stream() {
                break;
            }
        }
        self.report()
    }

    async fn talk<IO, T>(&mut self, mut io: IO, timer: &mut T)
    where
        IO: AsyncRead + AsyncWrite + Unpin,
        T: Timer + Unpin,
    {
        let (mut armed, mut is_closed) = (None, false);
        poll_fn(|cx| {
            for _ in 0..ROUNDS {
                self.handle_timeout(timer.now());
                let moved = self.read(cx, &mut io, timer.now())
                    | self.write(cx, &mut io, timer.now(), &mut is_closed);
                if self.is_over() {
                    return Poll::Ready(());
                }
                if !moved {
                    match self.wait(cx, timer, &mut armed) {
                        Poll::Ready(()) => continue,
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn read<IO>(&mut self, cx: &mut Context<'_>, io: &mut IO, now: Time) -> bool
    where
        IO: AsyncRead + Unpin,
    {
        if !self.is_reading() {
            return false;
        }
        let mut buffer = [0; READ];
        match Pin::new(io).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(0) | Err(_)) => self.handle_eof(now),
            Poll::Ready(Ok(len)) => self.handle_input(now, buffer.get(..len).unwrap_or_default()),
            Poll::Pending => return false,
        }
        true
    }

    fn write<IO>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut IO,
        now: Time,
        is_closed: &mut bool,
    ) -> bool
    where
        IO: AsyncWrite + Unpin,
    {
        let bytes = self.poll_transmit(now);
        if bytes.is_empty() {
            let flushed = Pin::new(&mut *io).poll_flush(cx);
            if self.is_write_closed() && !*is_closed && flushed.is_ready() {
                // What comes of it does not matter: nothing more is said.
                *is_closed = Pin::new(io).poll_close(cx).is_ready();
            }
            return false;
        }
        match Pin::new(io).poll_write(cx, bytes) {
            Poll::Ready(Ok(len)) if len > 0 => {
                self.advance_transmit(now, len);
            }
            Poll::Ready(_) => self.handle_write_error(now),
            Poll::Pending => return false,
        }
        true
    }

    /// Ready if a deadline has come.
    fn wait<T>(&self, cx: &mut Context<'_>, timer: &mut T, armed: &mut Option<Time>) -> Poll<()>
    where
        T: Timer + Unpin,
    {
        let Some(deadline) = self.poll_timeout() else { return Poll::Pending };
        if *armed != Some(deadline) {
            Pin::new(&mut *timer).reset(deadline);
            *armed = Some(deadline);
        }
        match Pin::new(&mut *timer).poll(cx) {
            Poll::Ready(()) if timer.now() >= deadline => Poll::Ready(()),
            // It was early.
            Poll::Ready(()) => {
                *armed = None;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
