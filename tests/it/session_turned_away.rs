//! Who makes room for a newcomer where a listener's conversations are as many as there may be.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use duologue::proto::{CloseReason, Config, Connection, StreamParameters};
use duologue::session::{
    AcceptError, Accepted, Conversations, Driver, Event, Events, HostedDriver, Session, session,
};
use duologue::testing::{Duplex, duplex};
use duologue::time::{Time, Timer, VirtualTimer};
use duologue::wire::CloseCode;
use futures::{FutureExt, StreamExt};

use super::session_util::World;

const TURNED_AWAY: CloseReason = CloseReason::Local { code: CloseCode::LIMIT, is_answered: false };

/// One end, polled by hand.
struct End<D> {
    session: Session,
    events: Events,
    driver: D,
}

type Near = End<Driver<Duplex, VirtualTimer>>;
type Far<T = VirtualTimer> = End<HostedDriver<Duplex, T>>;

impl<D: Future + Unpin> End<D> {
    fn poll(&mut self) -> Poll<D::Output> {
        self.driver.poll_unpin(&mut Context::from_waker(Waker::noop()))
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.next().now_or_never().flatten()).collect()
    }

    fn has_opened(&mut self) -> bool {
        self.events().iter().any(|event| matches!(event, Event::Open(_)))
    }

    fn closed(&self) -> Option<CloseReason> {
        self.session.closed().now_or_never()
    }
}

/// A client that has said HELLO, and the listener's end of its stream.
fn client(world: &World) -> (Near, Duplex) {
    with_seed(world, world.seed())
}

/// The name of a conversation follows from the seed.
fn with_seed(world: &World, seed: [u8; 32]) -> (Near, Duplex) {
    let (near, far) = duplex(64 << 10);
    let parameters = StreamParameters::new(seed);
    let connection = Connection::client(Config::default(), parameters, world.clock.now());
    let (session, events, driver) = session(near, connection, world.timer());
    let mut end = End { session, events, driver };
    assert!(end.poll().is_pending());
    (end, far)
}

/// Accepts a client whose HELLO is there.
fn accept<T: Timer + Unpin>(
    world: &World,
    conversations: &Conversations<Duplex>,
    far: Duplex,
    timer: T,
) -> Result<Far<T>, AcceptError> {
    let accepted = pin!(conversations.accept(far, world.parameters(), timer)).now_or_never();
    match accepted.expect("a whole HELLO is there")? {
        Accepted::New(session, events, driver) => Ok(End { session, events, driver }),
        resumed @ Accepted::Resumed(_) => panic!("{resumed:?}"),
    }
}

/// A client that says HELLO and no more.
fn stranger(world: &World, conversations: &Conversations<Duplex>) -> (Near, Far) {
    let (near, stream) = client(world);
    let mut far = accept(world, conversations, stream, world.timer()).unwrap();
    assert!(far.poll().is_pending());
    (near, far)
}

/// A client that has said all, and waits for the listener's application to decide.
fn ready(world: &World, conversations: &Conversations<Duplex>) -> (Near, Far) {
    let (mut near, stream) = client(world);
    let mut far = accept(world, conversations, stream, world.timer()).unwrap();
    far.driver = far.driver.ask_for_peer();
    assert!(far.poll().is_pending() && near.poll().is_pending() && far.poll().is_pending());
    assert!(!far.session.is_open() && !near.session.is_open());
    (near, far)
}

/// A timer whose clock something happens at, the n-th time that it is looked at.
struct Happens<F>(VirtualTimer, Rc<Cell<u32>>, Rc<RefCell<F>>);

impl<F: FnMut()> Timer for Happens<F> {
    fn now(&self) -> Time {
        let left = self.1.get();
        self.1.set(left.saturating_sub(1));
        if left == 1 {
            (self.2.borrow_mut())();
        }
        self.0.now()
    }

    fn reset(mut self: Pin<&mut Self>, deadline: Time) {
        Pin::new(&mut self.0).reset(deadline);
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_opens_while_room_is_made_is_not_turned_away() {
    let mut outcomes = [0; 2];
    for moment in 1..8 {
        let world = World::default();
        let conversations = Conversations::new(Config::default()).max_conversations(1);
        let (mut near, far) = stranger(&world, &conversations);
        // It has said all; nobody has read it.
        assert!(near.poll().is_pending());
        let Far { session, mut events, mut driver } = far;
        let opens = Rc::new(RefCell::new(move || {
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(driver.poll_unpin(cx).is_pending());
        }));
        let timer = Happens(world.timer(), Rc::new(Cell::new(moment)), Rc::clone(&opens));
        let (_newcomer, stream) = client(&world);
        let accepted = accept(&world, &conversations, stream, timer);
        (opens.borrow_mut())();
        let has_opened = std::iter::from_fn(|| events.next().now_or_never().flatten())
            .any(|event| matches!(event, Event::Open(_)));
        let reason = session.closed().now_or_never();
        assert_eq!(has_opened, accepted.is_err(), "at {moment}: {reason:?}");
        assert_eq!(has_opened, reason.is_none(), "at {moment}: {reason:?}");
        outcomes[usize::from(has_opened)] += 1;
    }
    assert!(outcomes.iter().all(|&times| times > 0), "{outcomes:?}");
}

#[test]
fn who_is_turned_away_is_told_at_once() {
    let world = World::default();
    let conversations = Conversations::new(Config::default()).max_conversations(1);
    let (_near, mut far) = stranger(&world, &conversations);
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    assert!(far.driver.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    assert!(!woken.0.load(Ordering::Relaxed));
    let _newcomer = stranger(&world, &conversations);
    assert!(woken.0.load(Ordering::Relaxed));
}

#[test]
fn the_end_of_one_that_was_turned_away_takes_no_place_of_its_client() {
    let world = World::default();
    let conversations = Conversations::new(Config::default()).max_conversations(1);
    let seed = world.seed();
    let (mut near, stream) = with_seed(&world, seed);
    let mut far = accept(&world, &conversations, stream, world.timer()).unwrap();
    let _stranger = stranger(&world, &conversations);
    // The same client comes back with the same conversation, before its first end is over.
    let (mut again, stream) = with_seed(&world, seed);
    let mut present = accept(&world, &conversations, stream, world.timer()).unwrap();
    assert_eq!(again.session.conversation(), near.session.conversation());
    for _ in 0..8 {
        let _ = near.poll();
        if far.poll().is_ready() {
            break;
        }
    }
    assert_eq!(far.closed(), Some(TURNED_AWAY));
    assert_eq!(conversations.len(), 1, "that of the client as it is now");
    for _ in 0..4 {
        assert!(present.poll().is_pending() && again.poll().is_pending());
    }
    assert!(present.has_opened() && again.has_opened());
}

#[test]
fn a_client_that_waits_for_the_applications_decision_is_not_turned_away_by_strangers() {
    let world = World::default();
    let conversations = Conversations::new(Config::default()).max_conversations(2);
    let (mut honest, mut decided) = ready(&world, &conversations);
    let mut strangers = vec![stranger(&world, &conversations)];
    for _ in 0..3 {
        strangers.push(stranger(&world, &conversations));
    }
    assert_eq!(decided.closed(), None);
    for (_, far) in &mut strangers[..3] {
        let _ = far.poll();
        assert_eq!(far.closed(), Some(TURNED_AWAY));
    }
    let hello = decided.events().into_iter().find_map(|event| match event {
        Event::PeerHello { handshake_hash, .. } => Some(handshake_hash),
        _ => None,
    });
    decided.session.accept_peer(&hello.unwrap()).unwrap();
    for _ in 0..4 {
        assert!(decided.poll().is_pending() && honest.poll().is_pending());
    }
    assert!(decided.has_opened() && honest.has_opened());
}

#[test]
fn where_all_wait_for_a_decision_a_newcomer_is_refused_until_one_is_made() {
    let world = World::default();
    let conversations = Conversations::new(Config::default()).max_conversations(1);
    let (_honest, decided) = ready(&world, &conversations);
    let (_newcomer, stream) = client(&world);
    let mut refused = pin!(conversations.accept(stream, world.parameters(), world.timer()));
    let cx = &mut Context::from_waker(Waker::noop());
    let refused = loop {
        match refused.as_mut().poll(cx) {
            Poll::Ready(refused) => break refused.err(),
            Poll::Pending => world.clock.advance(Duration::from_millis(100)),
        }
    };
    assert_eq!(refused, Some(AcceptError::Full));
    assert_eq!(decided.closed(), None);
    // Who is refused holds no place, however long its stream takes.
    let hash = decided.session.handshake_hash().unwrap();
    decided.session.refuse_peer(&hash, CloseCode::REFUSED, "no").unwrap();
    let _stranger = stranger(&world, &conversations);
    assert_eq!(conversations.len(), 1);
}

#[test]
fn where_nobody_decides_who_has_said_more_than_hello_makes_room_all_the_same() {
    let world = World::default();
    let conversations = Conversations::new(Config::default()).max_conversations(1);
    let (mut near, stream) = client(&world);
    near.driver = near.driver.ask_for_peer();
    let mut far = accept(&world, &conversations, stream, world.timer()).unwrap();
    assert!(far.poll().is_pending() && near.poll().is_pending());
    let hash = near.session.handshake_hash().unwrap();
    near.session.authenticate(&hash, b"and then nothing").unwrap();
    assert!(near.poll().is_pending() && far.poll().is_pending());
    assert!(far.events().iter().any(|event| matches!(event, Event::Authentication(_))));
    let _stranger = stranger(&world, &conversations);
    let _ = far.poll();
    assert_eq!(far.closed(), Some(TURNED_AWAY));
}
