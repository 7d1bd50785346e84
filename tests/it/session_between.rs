//! What a handle does between two turns of the driver, between the driver's last turn and its end, and
//! between two streams.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use duologue::proto::{ActionError, CloseReason, Config, Opening, Receipt};
use duologue::session::{
    Accepted, Conversations, Detached, Driver, Event, Events, Outcome, Session, SessionError,
    accept,
};
use duologue::testing::{Duplex, duplex};
use duologue::time::VirtualTimer;
use duologue::wire::{Chat, CloseCode, Offer};
use futures::io::{AsyncRead, AsyncWrite};
use futures::{FutureExt, StreamExt};

use super::session_util::World;

const PIPE: usize = 64 << 10;

/// One end, polled by hand.
struct End<IO> {
    session: Session,
    events: Events,
    driver: Driver<IO, VirtualTimer>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> End<IO> {
    fn new((session, events, driver): (Session, Events, Driver<IO, VirtualTimer>)) -> Self {
        Self { session, events, driver }
    }

    fn poll(&mut self) -> Poll<Outcome<VirtualTimer>> {
        Pin::new(&mut self.driver).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// The events that wait.
    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.next().now_or_never().flatten()).collect()
    }

    /// The hash of the peer's HELLO, after which the application may decide.
    fn hello(&mut self) -> [u8; 32] {
        let hash = self.events().into_iter().rev().find_map(|event| match event {
            Event::PeerHello { handshake_hash, .. } => Some(handshake_hash),
            _ => None,
        });
        hash.expect("a HELLO has come")
    }

    /// Loses its stream.
    fn detached(&mut self) -> Detached<VirtualTimer> {
        match self.poll() {
            Poll::Ready(Outcome::Detached(detached)) => detached,
            other => panic!("{other:?}"),
        }
    }

    fn say(&self, text: &str) -> duologue::session::Receipt {
        let sent = self.session.send_chat(&Chat::new(text)).now_or_never();
        sent.expect("there is room").unwrap()
    }
}

/// Lets both do what they can at this moment.
fn settle<A, B>(one: &mut End<A>, other: &mut End<B>)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    for _ in 0..8 {
        assert!(one.poll().is_pending() && other.poll().is_pending());
    }
}

/// The same, and an acknowledgement that waits for company goes without.
fn pause(world: &World, one: &mut End<Duplex>, other: &mut End<Duplex>) {
    settle(one, other);
    world.clock.advance(Duration::from_millis(30));
    settle(one, other);
}

fn client(world: &World, asks: bool) -> (End<Duplex>, Duplex) {
    let (near, far) = duplex(PIPE);
    let (session, events, driver) = world.client(near, Config::default());
    let driver = if asks { driver.ask_for_peer() } else { driver };
    let mut end = End { session, events, driver };
    assert!(end.poll().is_pending());
    (end, far)
}

/// A server that has not heard of any conversation before.
fn server(world: &World, far: Duplex) -> End<Duplex> {
    let accepted = accept(far, Config::default(), world.parameters(), world.timer());
    End::new(pin!(accepted).now_or_never().expect("a whole HELLO is there").unwrap())
}

/// Over another stream.
fn attach(world: &World, end: &mut End<Duplex>) -> Duplex {
    let (near, far) = duplex(PIPE);
    let Ok(driver) = end.detached().attach(near, world.parameters()) else {
        panic!("it is detached")
    };
    end.driver = driver;
    assert!(end.poll().is_pending());
    far
}

fn open(world: &World) -> (End<Duplex>, End<Duplex>) {
    let (mut near, far) = client(world, false);
    let mut far = server(world, far);
    pause(world, &mut far, &mut near);
    assert!(matches!(near.events()[..], [Event::Open(Opening::New)]));
    assert!(matches!(far.events()[..], [Event::Open(Opening::New)]));
    (near, far)
}

#[test]
fn a_conversation_that_begins_anew_has_new_numbers_once_its_peer_is_accepted() {
    let world = World::default();
    let (mut near, stream) = client(&world, true);
    let mut far = server(&world, stream);
    settle(&mut far, &mut near);
    let hash = near.hello();
    near.session.accept_peer(&hash).unwrap();
    settle(&mut near, &mut far);
    let before: Vec<_> = ["one", "two", "three"].map(|text| near.say(text)).into();
    settle(&mut near, &mut far);
    assert_eq!(far.events().len(), 4);
    pause(&world, &mut far, &mut near);
    assert!(before.iter().all(|receipt| receipt.fate() == Some(Receipt::Delivered)));
    drop(far);
    let stream = attach(&world, &mut near);
    let mut far = server(&world, stream);
    settle(&mut far, &mut near);
    let hash = near.hello();
    near.session.accept_peer(&hash).unwrap();
    // Before the driver has a turn.
    let after: Vec<_> = (0..6).map(|n| near.say(&n.to_string())).collect();
    let offered = near.session.offer(&Offer::new("new").size(0)).now_or_never();
    let mut outgoing = offered.expect("it is allowed").unwrap();
    assert!(after.iter().all(|receipt| receipt.fate().is_none()), "{after:?}");
    settle(&mut near, &mut far);
    let events = far.events();
    let chats = events.iter().filter(|event| matches!(event, Event::Chat(_))).count();
    let offers = events.iter().filter(|event| matches!(event, Event::Offer(_))).count();
    assert_eq!((chats, offers), (6, 1), "{events:?}");
    drop(events);
    pause(&world, &mut far, &mut near);
    assert!(after.iter().all(|receipt| receipt.fate() == Some(Receipt::Delivered)), "{after:?}");
    let accepted = outgoing.accepted().now_or_never();
    assert!(!matches!(accepted, Some(Ok(_))), "its offer was dropped: {accepted:?}");
}

/// A client that has accepted its peer, that peer, and the hash of their handshake.
fn accepted(world: &World) -> (End<Duplex>, End<Duplex>, [u8; 32]) {
    let (mut near, stream) = client(world, true);
    let mut far = server(world, stream);
    settle(&mut far, &mut near);
    let hash = near.hello();
    near.session.accept_peer(&hash).unwrap();
    pause(world, &mut near, &mut far);
    (near, far, hash)
}

#[test]
fn a_peer_is_accepted_on_the_stream_that_was_decided_on_and_on_no_other() {
    let world = World::default();
    let (mut near, far, first) = accepted(&world);
    drop(far);
    let stream = attach(&world, &mut near);
    let mut far = server(&world, stream);
    settle(&mut far, &mut near);
    let decided = near.hello();
    assert_ne!(decided, first);
    // While the application asks its user the stream breaks, and somebody else is on the next.
    drop(far);
    let stream = attach(&world, &mut near);
    let mut far = server(&world, stream);
    settle(&mut far, &mut near);
    let refused = near.session.accept_peer(&decided);
    assert_eq!(refused, Err(SessionError::Refused(ActionError::NotOpen)));
    settle(&mut near, &mut far);
    assert!(!far.session.is_open());
    let hash = near.hello();
    assert_ne!(hash, decided);
    near.session.accept_peer(&hash).unwrap();
    settle(&mut near, &mut far);
    assert!(far.session.is_open());
}

#[test]
fn a_peer_is_refused_and_answered_on_the_stream_that_was_looked_at_and_on_no_other() {
    let world = World::default();
    let (mut near, far, first) = accepted(&world);
    drop((near.events(), far));
    // Over the next stream nobody has said anything yet: it is another peer all the same.
    let stream = attach(&world, &mut near);
    let late = Err(SessionError::Refused(ActionError::NotOpen));
    assert_eq!(near.session.authenticate(&first, b"a secret"), late);
    assert_eq!(near.session.refuse_peer(&first, CloseCode::REFUSED, "no"), late);
    let mut far = server(&world, stream);
    far.driver = far.driver.ask_for_peer();
    settle(&mut far, &mut near);
    let hash = near.hello();
    assert_ne!(hash, first);
    assert_eq!(near.session.authenticate(&first, b"a secret"), late);
    assert_eq!(near.session.refuse_peer(&first, CloseCode::REFUSED, "no"), late);
    near.session.authenticate(&hash, b"it is me").unwrap();
    settle(&mut near, &mut far);
    let heard: Vec<_> = far.events();
    let heard = heard.iter().filter_map(|event| match event {
        Event::Authentication(bytes) => Some(bytes.as_slice()),
        _ => None,
    });
    assert_eq!(heard.collect::<Vec<_>>(), [b"it is me"]);
    assert!(near.session.closed().now_or_never().is_none());
    near.session.refuse_peer(&hash, CloseCode::REFUSED, "no").unwrap();
    while near.poll().is_pending() && far.poll().is_pending() {}
    assert!(matches!(near.session.closed().now_or_never(), Some(CloseReason::Local { .. })));
}

/// A stream that has handed on all of a write when it fails, as one of TLS may that writes record by
/// record.
struct FailsLate(Duplex, Arc<AtomicBool>);

impl AsyncRead for FailsLate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for FailsLate {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(cx, bytes);
        if self.1.load(Ordering::Relaxed) {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

#[test]
fn a_line_that_left_with_a_write_that_failed_is_delivered_and_not_told_as_not_sent() {
    let world = World::default();
    let conversations = Conversations::new(Config::default());
    let fails = Arc::new(AtomicBool::new(false));
    let (near, far) = duplex(PIPE);
    let mut near = End::new(world.client(FailsLate(near, Arc::clone(&fails)), Config::default()));
    assert!(near.poll().is_pending());
    let accepted = conversations.accept(far, world.parameters(), world.timer());
    let Ok(Accepted::New(_far, mut far_events, hosted)) =
        pin!(accepted).now_or_never().expect("a whole HELLO is there")
    else {
        panic!("a new conversation")
    };
    let mut hosted = pin!(hosted);
    let cx = &mut Context::from_waker(Waker::noop());
    for _ in 0..4 {
        assert!(hosted.as_mut().poll(cx).is_pending() && near.poll().is_pending());
        world.clock.advance(Duration::from_millis(30));
    }
    fails.store(true, Ordering::Relaxed);
    let receipt = near.say("hello");
    let detached = near.detached();
    fails.store(false, Ordering::Relaxed);
    assert_eq!(receipt.fate(), None);
    assert!(hosted.as_mut().poll(cx).is_pending());
    let (stream, far) = duplex(PIPE);
    let stream = FailsLate(stream, fails);
    let Ok(driver) = detached.attach(stream, world.parameters()) else { panic!("it is detached") };
    near.driver = driver;
    let mut accepted = pin!(conversations.accept(far, world.parameters(), world.timer()));
    let mut is_resumed = false;
    for _ in 0..20 {
        assert!(near.poll().is_pending());
        if !is_resumed {
            if let Poll::Ready(again) = accepted.as_mut().poll(cx) {
                assert!(matches!(again, Ok(Accepted::Resumed(_))), "{again:?}");
                is_resumed = true;
            }
        }
        assert!(hosted.as_mut().poll(cx).is_pending());
        let events = std::iter::from_fn(|| far_events.next().now_or_never().flatten());
        events.for_each(|event| assert!(!matches!(event, Event::Closed(_)), "{event:?}"));
        world.clock.advance(Duration::from_millis(30));
    }
    assert_eq!(receipt.fate(), Some(Receipt::Delivered));
}

/// Acts in the middle of what the driver does, as another thread would.
struct Acts<F>(F);

impl<F: Fn() + Send + Sync> Wake for Acts<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

#[test]
fn a_close_behind_the_drivers_last_turn_ends_the_conversation() {
    let world = World::default();
    let (mut near, far) = open(&world);
    let session = near.session.clone();
    let waker = Waker::from(Arc::new(Acts(move || session.close(CloseCode::DONE, "").unwrap())));
    assert!(near.events.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
    drop(far);
    let ended = near.poll();
    assert!(matches!(ended, Poll::Ready(Outcome::Ended(_))), "{ended:?}");
    assert!(near.session.closed().now_or_never().is_some());
}

#[test]
fn who_refuses_a_peer_whose_stream_is_gone_ends_the_conversation_at_once() {
    let world = World::default();
    let (mut near, far) = open(&world);
    drop(far);
    let mut detached = near.detached();
    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&wakes);
    let waker = Waker::from(Arc::new(Acts(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    })));
    assert!(Pin::new(&mut detached).poll(&mut Context::from_waker(&waker)).is_pending());
    near.session.refuse_peer(&[0; 32], CloseCode::REFUSED, "no").unwrap();
    assert!(wakes.load(Ordering::Relaxed) > 0, "who waits for another stream hears of it");
    assert!(matches!(near.session.closed().now_or_never(), Some(CloseReason::Local { .. })));
    assert!(matches!(near.events().last(), Some(Event::Closed(_))));
}

#[test]
fn goodbyes_to_somebody_who_does_not_look_are_few() {
    let world = World::default();
    let (mut near, far) = open(&world);
    drop(far);
    let full = Conversations::new(Config::default()).max_conversations(0);
    for _ in 0..200 {
        let far = attach(&world, &mut near);
        let mut accepted = pin!(full.accept(far, world.parameters(), world.timer()));
        let cx = &mut Context::from_waker(Waker::noop());
        let mut refused = accepted.as_mut().poll(cx);
        for _ in 0..4 {
            if refused.is_pending() {
                world.clock.advance(Duration::from_millis(10));
                refused = accepted.as_mut().poll(cx);
            }
        }
        assert!(matches!(refused, Poll::Ready(Err(_))));
    }
    let waiting = near.events().len();
    assert!((3..=64).contains(&waiting), "{waiting} events wait");
}

#[test]
fn what_routing_takes_is_acknowledged_though_nothing_wakes_the_driver_again() {
    World::run(async |world| {
        let (client, mut server) = world.connect().await;
        let mut outgoing = client.session.offer(&Offer::new("file").size(10)).await.unwrap();
        let incoming = server.offer().await.accept().unwrap();
        outgoing.accepted().await.unwrap();
        world.sleep(Duration::from_secs(3)).await;
        let began = world.clock.now();
        outgoing.pause(true).unwrap();
        client.session.close(CloseCode::DONE, "").unwrap();
        client.session.closed().await;
        // The peer's ACK of the PAUSE is waited for, which goes by itself after 25 ms.
        let waited = world.clock.now().saturating_duration_since(began);
        assert!(waited < Duration::from_millis(100), "{waited:?}");
        drop((incoming, server));
    });
}
