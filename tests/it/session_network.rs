//! A listener and streams to it that can be cut, for the tests of breaks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use duologue::io::TransportError;
use duologue::proto::{Config, Opening};
use duologue::session::{
    AcceptError, Accepted, Backoff, Conversations, Ended, Event, Events, Session,
};
use duologue::testing::{Duplex, duplex};
use futures::StreamExt;
use futures::channel::mpsc;

use super::session_util::{Task, World};

/// A stream that ends when the network says so.
pub(crate) struct Cuttable {
    inner: Option<Duplex>,
    wakers: Rc<RefCell<Vec<std::task::Waker>>>,
    is_cut: Rc<Cell<bool>>,
    /// What was written, if somebody listens.
    tape: Option<Rc<RefCell<Vec<u8>>>>,
    /// Whether only this end hears of it when the stream is cut: the other one stays silent.
    silent: Option<Rc<RefCell<Vec<Duplex>>>>,
    /// Bytes that this end still reads before the stream is cut, and what to cut then.
    budget: Option<Budget>,
}

/// Bytes that are left, and what is set once there are none.
type Budget = (Rc<Cell<u64>>, [Rc<Cell<bool>>; 2]);

impl Cuttable {
    fn poll<T>(
        &mut self,
        cx: &mut std::task::Context<'_>,
        act: impl FnOnce(
            std::pin::Pin<&mut Duplex>,
            &mut std::task::Context<'_>,
        ) -> Poll<std::io::Result<T>>,
    ) -> Poll<std::io::Result<T>> {
        if self.is_cut.get() {
            let inner = self.inner.take();
            if let Some(silent) = &self.silent {
                silent.borrow_mut().extend(inner);
            }
        }
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
        };
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        drop(wakers);
        act(std::pin::Pin::new(inner), cx)
    }
}

impl futures::AsyncRead for Cuttable {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        let Some((left, _)) = &self.budget else {
            return self.poll(cx, |inner, cx| inner.poll_read(cx, buffer));
        };
        let left = Rc::clone(left);
        let most = buffer.len().min(usize::try_from(left.get()).unwrap_or(usize::MAX).max(1));
        let read = self.poll(cx, |inner, cx| inner.poll_read(cx, &mut buffer[..most]));
        if let Poll::Ready(Ok(len)) = read {
            left.set(left.get().saturating_sub(len as u64));
            if left.get() == 0 {
                if let Some((_, cuts)) = self.budget.take() {
                    cuts.iter().for_each(|cut| cut.set(true));
                    self.wakers.borrow_mut().drain(..).for_each(std::task::Waker::wake);
                }
            }
        }
        read
    }
}

impl futures::AsyncWrite for Cuttable {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = self.poll(cx, |inner, cx| inner.poll_write(cx, buffer));
        if let (Some(tape), Poll::Ready(Ok(len))) = (&self.tape, &written) {
            tape.borrow_mut().extend_from_slice(&buffer[..*len]);
        }
        written
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.poll(cx, |inner, cx| inner.poll_flush(cx))
    }

    fn poll_close(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.poll(cx, |inner, cx| inner.poll_close(cx))
    }
}

/// A network with one listener.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) world: World,
    arrivals: mpsc::UnboundedSender<Cuttable>,
    /// Present streams: their ends, to be woken when they are cut.
    links: Rc<RefCell<Vec<Link>>>,
    pub(crate) is_down: Rc<Cell<bool>>,
    pub(crate) attempts: Rc<Cell<u32>>,
    /// How long an attempt takes that fails.
    pub(crate) failing_takes: Rc<Cell<Duration>>,
    is_recording: Rc<Cell<bool>>,
    tape: Rc<RefCell<Vec<u8>>>,
    /// Ends of clients that are gone without a word.
    silent: Rc<RefCell<Vec<Duplex>>>,
    /// The next stream is cut once an end has read so much: `true` for the listener's.
    pub(crate) cut_next_after: Rc<Cell<Option<(bool, u64)>>>,
    /// What is left of that.
    pub(crate) left: Rc<Cell<u64>>,
}

struct Link {
    is_cut: Rc<Cell<bool>>,
    is_cut_here: Rc<Cell<bool>>,
    wakers: Rc<RefCell<Vec<std::task::Waker>>>,
}

impl Network {
    pub(crate) fn new(world: &World) -> (Self, mpsc::UnboundedReceiver<Cuttable>) {
        let (arrivals, listener) = mpsc::unbounded();
        let network = Self {
            world: world.clone(),
            arrivals,
            links: Rc::default(),
            is_down: Rc::default(),
            attempts: Rc::default(),
            failing_takes: Rc::default(),
            is_recording: Rc::default(),
            tape: Rc::default(),
            silent: Rc::default(),
            cut_next_after: Rc::default(),
            left: Rc::default(),
        };
        (network, listener)
    }

    /// Two ends of a stream that the network can cut, or of which one end never hears of it.
    pub(crate) fn stream(&self) -> Result<Cuttable, TransportError> {
        if self.is_down.get() {
            return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into());
        }
        let (near, far) = duplex(10_000);
        let wakers = Rc::new(RefCell::new(Vec::new()));
        let (is_cut, is_cut_here) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
        let end = |inner, is_cut: &Rc<Cell<bool>>| Cuttable {
            inner: Some(inner),
            wakers: Rc::clone(&wakers),
            is_cut: Rc::clone(is_cut),
            tape: None,
            silent: None,
            budget: None,
        };
        let (mut near, mut far) = (end(near, &is_cut_here), end(far, &is_cut));
        if let Some((is_far, bytes)) = self.cut_next_after.take() {
            self.left.set(bytes);
            let cuts = [Rc::clone(&is_cut), Rc::clone(&is_cut_here)];
            let side = if is_far { &mut far } else { &mut near };
            side.budget = Some((Rc::clone(&self.left), cuts));
        }
        near.tape = self.is_recording.get().then(|| Rc::clone(&self.tape));
        near.silent = Some(Rc::clone(&self.silent));
        self.links.borrow_mut().push(Link { is_cut, is_cut_here, wakers });
        match self.arrivals.unbounded_send(far) {
            Ok(()) => Ok(near),
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into()),
        }
    }

    /// What a client reconnects with.
    pub(crate) fn connector(
        &self,
    ) -> impl FnMut() -> futures::future::LocalBoxFuture<'static, Result<Cuttable, TransportError>> + use<>
    {
        let network = self.clone();
        move || {
            let network = network.clone();
            Box::pin(async move {
                network.attempts.set(network.attempts.get() + 1);
                if network.is_down.get() {
                    network.world.sleep(network.failing_takes.get()).await;
                }
                network.stream()
            })
        }
    }

    /// Cuts every stream.
    pub(crate) fn cut(&self) {
        for link in self.links.borrow_mut().drain(..) {
            link.is_cut.set(true);
            link.is_cut_here.set(true);
            link.wakers.borrow_mut().drain(..).for_each(std::task::Waker::wake);
        }
    }

    /// Cuts every stream for its client alone: the listener's end looks alive.
    pub(crate) fn cut_near(&self) {
        for link in self.links.borrow().iter() {
            link.is_cut_here.set(true);
            link.wakers.borrow_mut().drain(..).for_each(std::task::Waker::wake);
        }
    }

    /// Records what clients write to streams from now on.
    pub(crate) fn record(&self) {
        self.is_recording.set(true);
    }

    /// What was recorded; the recording ends.
    pub(crate) fn recorded(&self) -> Vec<u8> {
        self.is_recording.set(false);
        self.tape.take()
    }
}

/// A conversation that a listener has.
pub(crate) struct Hosted {
    pub(crate) session: Session,
    pub(crate) events: Events,
    pub(crate) driver: Task<Ended>,
}

/// Accepts whatever comes, and reports it.
pub(crate) fn listen(
    world: &World,
    mut listener: mpsc::UnboundedReceiver<Cuttable>,
    conversations: &Conversations<Cuttable>,
) -> mpsc::UnboundedReceiver<Result<Option<Hosted>, AcceptError>> {
    let (sender, receiver) = mpsc::unbounded();
    let (conversations, inner) = (conversations.clone(), world.clone());
    world.detach(async move {
        while let Some(stream) = listener.next().await {
            let (conversations, world, sender) =
                (conversations.clone(), inner.clone(), sender.clone());
            let (parameters, timer) = (inner.parameters(), inner.timer());
            inner.detach(async move {
                let accepted = conversations.accept(stream, parameters, timer).await;
                let _ = sender.unbounded_send(accepted.map(|accepted| match accepted {
                    Accepted::New(session, events, driver) => {
                        Some(Hosted { session, events, driver: world.spawn(driver) })
                    }
                    Accepted::Resumed(_) => None,
                }));
            });
        }
    });
    receiver
}

/// A client that comes back, as far as its conversation is open.
pub(crate) async fn reconnecting(
    network: &Network,
    config: Config,
    backoff: Backoff,
) -> (Session, Events, Task<Ended>) {
    let world = &network.world;
    let (session, mut events, driver) = world.client(network.stream().unwrap(), config);
    let driver = world.spawn(driver.reconnecting(network.connector(), backoff));
    assert!(matches!(events.next().await, Some(Event::Open(Opening::New))));
    (session, events, driver)
}
