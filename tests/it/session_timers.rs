//! A timer that claims to be ready whenever it is asked: nothing ends too soon, and everybody else
//! gets a turn.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use duologue::proto::{CloseReason, Config, Connection, DetachReason, Error, StreamParameters};
use duologue::session::{
    AcceptError, Conversations, Driver, Event, Events, Outcome, Session, accept, session,
};
use duologue::testing::{Duplex, duplex};
use duologue::time::{Time, Timer, VirtualClock};
use duologue::wire::{Chat, CloseCode};
use futures::{FutureExt, StreamExt};

/// The timer, and how often it was asked.
#[derive(Clone, Debug)]
struct Hasty {
    clock: VirtualClock,
    polls: Rc<Cell<usize>>,
}

impl Hasty {
    fn new(clock: &VirtualClock) -> Self {
        Self { clock: clock.clone(), polls: Rc::default() }
    }
}

impl Timer for Hasty {
    fn now(&self) -> Time {
        self.clock.now()
    }

    fn reset(self: Pin<&mut Self>, _deadline: Time) {}

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        self.polls.set(self.polls.get() + 1);
        Poll::Ready(())
    }
}

/// Polls once, and sees that the timer was asked but once.
fn poll_once<F: Future + Unpin>(future: &mut F, polls: &Cell<usize>) -> Poll<F::Output> {
    let before = polls.get();
    let polled = Pin::new(future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polls.get() - before <= 1, "{} times", polls.get() - before);
    polled
}

/// Runs it elsewhere, as what goes wrong would never end.
fn in_time(test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(20)).expect("it ends");
    thread.join().unwrap();
}

type Driven = (Session, Events, Driver<Duplex, Hasty>);

fn pair(clock: &VirtualClock) -> (Driven, Driven, [Rc<Cell<usize>>; 2]) {
    let (near, far) = duplex(1000);
    let timers = [Hasty::new(clock), Hasty::new(clock)];
    let polls = timers.clone().map(|timer| timer.polls);
    let [timer, far_timer] = timers;
    let parameters = StreamParameters::new([1; 32]);
    let connection = Connection::client(Config::default(), parameters, clock.now());
    let mut client = session(near, connection, timer);
    let parameters = StreamParameters::new([2; 32]);
    let mut accepting = pin!(accept(far, Config::default(), parameters, far_timer));
    let server = loop {
        assert!(poll_once(&mut client.2, &polls[0]).is_pending());
        if let Poll::Ready(accepted) = poll_once(&mut accepting, &polls[1]) {
            break accepted.unwrap();
        }
    };
    (client, server, polls)
}

#[test]
fn a_driver_gives_way_and_goes_on() {
    in_time(|| {
        let clock = VirtualClock::new();
        let ((near, mut events, mut driver), (far, mut far_events, mut far_driver), polls) =
            pair(&clock);
        let mut heard = 0;
        for n in 0..1000 {
            assert!(poll_once(&mut driver, &polls[0]).is_pending());
            assert!(poll_once(&mut far_driver, &polls[1]).is_pending());
            if near.is_open() && n % 2 == 0 {
                drop(near.send_chat(&Chat::new("x")).now_or_never().unwrap().unwrap());
            }
            while let Some(Some(event)) = far_events.next().now_or_never() {
                heard += usize::from(matches!(event, Event::Chat(_)));
            }
            clock.advance(Duration::from_millis(10));
        }
        assert!(heard > 450, "{heard}");

        // The other side falls silent: that is noticed in time, and no earlier.
        let begun = clock.now();
        drop(far);
        let Outcome::Detached(mut detached) = (loop {
            clock.advance(Duration::from_millis(100));
            if let Poll::Ready(outcome) = poll_once(&mut driver, &polls[0]) {
                break outcome;
            }
        }) else {
            panic!()
        };
        let passed = clock.now().saturating_duration_since(begun);
        assert!((59..=61).contains(&passed.as_secs()), "{passed:?}");
        loop {
            let event = events.next().now_or_never().unwrap().unwrap();
            if let Event::Detached(reason) = event {
                break assert_eq!(reason, DetachReason::Idle);
            }
        }

        // Nor does waiting without a stream end too soon, or for ever.
        for _ in 0..299 {
            assert!(poll_once(&mut detached, &polls[0]).is_pending());
            clock.advance(Duration::from_secs(1));
        }
        clock.advance(Duration::from_secs(1));
        assert!(poll_once(&mut detached, &polls[0]).is_ready());
    });
}

#[test]
fn a_handshake_gives_way_and_ends_in_time() {
    in_time(|| {
        let clock = VirtualClock::new();
        let (_near, far) = duplex(1000);
        let timer = Hasty::new(&clock);
        let polls = Rc::clone(&timer.polls);
        let parameters = StreamParameters::new([2; 32]);
        let mut accepting = pin!(accept(far, Config::default(), parameters, timer));
        for _ in 0..10 {
            assert!(poll_once(&mut accepting, &polls).is_pending());
            clock.advance(Duration::from_secs(1));
        }
        let Poll::Ready(Err(error)) = poll_once(&mut accepting, &polls) else { panic!() };
        assert_eq!(error, AcceptError::Handshake(Error::HandshakeTimedOut));
    });
}

#[test]
fn last_words_get_their_time() {
    in_time(|| {
        let clock = VirtualClock::new();
        // It does not take all of them at once.
        let (near, far) = duplex(10);
        let (timer, far_timer) = (Hasty::new(&clock), Hasty::new(&clock));
        let (polls, far_polls) = (Rc::clone(&timer.polls), Rc::clone(&far_timer.polls));
        let parameters = StreamParameters::new([1; 32]);
        let connection = Connection::client(Config::default(), parameters, clock.now());
        let (_session, _events, mut driver) = session(near, connection, timer);
        let conversations = Conversations::new(Config::default()).max_conversations(0);
        let parameters = StreamParameters::new([2; 32]);
        let mut accepting = Box::pin(conversations.accept(far, parameters, far_timer)).fuse();
        let mut refused = None;
        for _ in 0..1000 {
            if let Poll::Ready(accepted) = poll_once(&mut accepting, &far_polls) {
                refused = Some(accepted.err());
            }
            if let Poll::Ready(outcome) = poll_once(&mut driver, &polls) {
                let Outcome::Ended(ended) = outcome else { panic!() };
                let reason = CloseReason::Peer(CloseCode::LIMIT);
                assert_eq!((ended.reason, refused), (reason, Some(Some(AcceptError::Full))));
                return;
            }
        }
        panic!("it never ends");
    });
}
