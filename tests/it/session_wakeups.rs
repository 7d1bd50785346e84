//! Who waits is woken by what it waits for, and by nothing else that happens to come along: both drivers
//! are polled by hand, and whether the waker was called is asked before anybody looks.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use duologue::proto::Config;
use duologue::session::{Driver, Event, Events, Incoming, Outgoing, Session, accept};
use duologue::testing::{Duplex, duplex};
use duologue::time::VirtualTimer;
use duologue::wire::{Chat, CloseCode, Offer, TransferCode};
use futures::{FutureExt, StreamExt};

use super::session_util::World;
use super::support::{is_pending, poll_once};

#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct End {
    session: Session,
    events: Events,
    driver: Driver<Duplex, VirtualTimer>,
}

struct Conversation {
    near: End,
    far: End,
}

fn now<T>(future: impl Future<Output = T>) -> T {
    pin!(future).now_or_never().expect("it is there at once")
}

impl Conversation {
    fn open(world: &World, near: Config, far: Config) -> Self {
        let (near_io, far_io) = duplex(64 << 10);
        let (session, events, mut driver) = world.client(near_io, near);
        assert!(is_pending(&mut driver));
        let near = End { session, events, driver };
        let (session, events, driver) =
            now(accept(far_io, far, world.parameters(), world.timer())).unwrap();
        let mut conversation = Self { near, far: End { session, events, driver } };
        conversation.settle();
        for end in [&mut conversation.near, &mut conversation.far] {
            assert!(matches!(now(end.events.next()), Some(Event::Open(_))));
        }
        conversation.settle();
        conversation
    }

    /// Lets both drivers go on as far as they can.
    fn settle(&mut self) {
        for _ in 0..20 {
            let _ = (is_pending(&mut self.near.driver), is_pending(&mut self.far.driver));
        }
    }

    fn transfer(&mut self, offer: &Offer<'_>) -> (Outgoing, Incoming) {
        let mut outgoing = now(self.near.session.offer(offer)).unwrap();
        self.settle();
        let Some(Event::Offer(offered)) = now(self.far.events.next()) else { panic!() };
        let incoming = offered.accept().unwrap();
        self.settle();
        now(outgoing.accepted()).unwrap();
        (outgoing, incoming)
    }

    /// Lets time pass, too, as long as it takes for all to be acknowledged.
    fn rest(&mut self, world: &World) {
        for _ in 0..20 {
            world.clock.advance(Duration::from_millis(5));
            self.settle();
        }
    }

    /// Polls a future, which waits; does what it waits for; and demands that it was woken.
    #[track_caller]
    fn is_woken<F: Future + Unpin>(
        &mut self,
        mut waiting: F,
        act: impl FnOnce(&mut Self),
    ) -> F::Output {
        let counted = Arc::new(Counted::default());
        let waker = Waker::from(Arc::clone(&counted));
        let polled = Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "it has to wait first");
        act(self);
        assert!(counted.0.load(Ordering::Relaxed) > 0, "nobody woke it");
        now(waiting)
    }
}

/// A conversation with no more than a file at a time.
fn conversation(world: &World) -> Conversation {
    let far = Config::builder().max_transfers(1).build().unwrap();
    let near = Config::builder().queued_items(4).send_buffer(64 << 10).build().unwrap();
    Conversation::open(world, near, far)
}

#[test]
fn events_and_receipts() {
    World::run(async |world| {
        let mut both = conversation(world);
        let mut lines = Vec::new();
        for line in ["one", "two"] {
            let session = both.near.session.clone();
            let mut events = std::mem::replace(&mut both.far.events, {
                // Nobody else listens meanwhile.
                let (other, _far) = duplex(1);
                world.client(other, Config::default()).1
            });
            let receipt = now(session.send_chat(&Chat::new(line))).unwrap();
            let heard = both.is_woken(events.next(), Conversation::settle);
            lines.push(heard);
            both.far.events = events;
            both.is_woken(receipt, |both| {
                world.clock.advance(Duration::from_millis(30));
                both.settle();
            });
        }
        assert!(lines.iter().all(|event| matches!(event, Some(Event::Chat(_)))));
        // Something that is no line.
        let (other, _far) = duplex(1);
        let (_, nobody, _) = world.client(other, Config::default());
        let mut events = std::mem::replace(&mut both.far.events, nobody);
        let _outgoing = now(both.near.session.offer(&Offer::new("x"))).unwrap();
        let offered = both.is_woken(events.next(), Conversation::settle);
        assert!(matches!(offered, Some(Event::Offer(_))));
    });
}

#[test]
fn room_to_speak_and_to_offer() {
    World::run(async |world| {
        let mut both = conversation(world);
        let session = both.near.session.clone();
        for _ in 0..4 {
            drop(now(session.send_chat(&Chat::new("x"))).unwrap());
        }
        let chat = Chat::new("one too many");
        let sent = both.is_woken(Box::pin(session.send_chat(&chat)), |both| {
            both.settle();
            while let Some(Some(Event::Chat(_))) = both.far.events.next().now_or_never() {}
            world.clock.advance(Duration::from_millis(30));
            both.settle();
        });
        drop(sent.unwrap());
        both.rest(world);
        while let Some(Some(Event::Chat(_))) = both.far.events.next().now_or_never() {}
        let (outgoing, incoming) = both.transfer(&Offer::new("x"));
        let offer = Offer::new("y");
        let offered = both.is_woken(Box::pin(session.offer(&offer)), |both| {
            incoming.failed(TransferCode::NO_SPACE, "").unwrap();
            both.settle();
        });
        drop((offered.unwrap(), outgoing));
    });
}

#[test]
fn bytes_room_and_the_verdict_of_a_file() {
    World::run(async |world| {
        let mut both = conversation(world);
        let (mut outgoing, mut incoming) = both.transfer(&Offer::new("x").seekable());
        let chunk = Bytes::from(vec![7; 16 << 10]);
        let read = both.is_woken(Box::pin(incoming.next()), |both| {
            now(outgoing.send(chunk.clone())).unwrap();
            both.settle();
        });
        assert!(read.unwrap().is_some());
        both.rest(world);
        // What can be sent again takes up room only until it has left, whatever the peer says.
        while outgoing.send(chunk.clone()).now_or_never().is_some() {}
        both.is_woken(Box::pin(outgoing.send(chunk.clone())), |both| {
            assert!(is_pending(&mut both.near.driver));
        })
        .unwrap();
        both.settle();
        while incoming.next().now_or_never().is_some() {
            both.settle();
        }
        // Also that it was taken for stored.
        let verdict = both.is_woken(Box::pin(outgoing.finish(None)), |both| {
            both.settle();
            while incoming.next().now_or_never().is_some_and(|chunk| chunk.unwrap().is_some()) {
                both.settle();
            }
            incoming.stored("x").unwrap();
            both.settle();
        });
        assert_eq!(verdict.unwrap().name(), Some("x"));
    });
}

#[test]
fn a_stream_that_breaks_and_the_end() {
    World::run(async |world| {
        let mut both = conversation(world);
        let (_outgoing, mut incoming) = both.transfer(&Offer::new("x"));
        let counted = Arc::new(Counted::default());
        let waker = Waker::from(Arc::clone(&counted));
        let mut cx = Context::from_waker(&waker);
        // Whoever stores a file has to hear of it, though it still waits for bytes.
        assert!(incoming.poll_next(&mut cx).is_pending());
        let Conversation { near, mut far } = both;
        drop(near.driver);
        let _detached = poll_once(&mut far.driver);
        assert!(incoming.is_detached());
        assert!(counted.0.load(Ordering::Relaxed) > 0, "nobody woke it");

        let mut both = conversation(world);
        let session = both.near.session.clone();
        both.is_woken(Box::pin(session.closed()), |both| {
            both.far.session.close(CloseCode::DONE, "").unwrap();
            both.settle();
        });
    });
}

#[test]
fn the_driver() {
    World::run(async |world| {
        let mut both = conversation(world);
        let (mut outgoing, mut incoming) = both.transfer(&Offer::new("x"));
        both.settle();
        let woken = |driver: &mut Driver<Duplex, VirtualTimer>| {
            let counted = Arc::new(Counted::default());
            let waker = Waker::from(Arc::clone(&counted));
            for _ in 0..3 {
                let polled = Pin::new(&mut *driver).poll(&mut Context::from_waker(&waker));
                assert!(polled.is_pending());
            }
            move || counted.0.load(Ordering::Relaxed) > 0
        };
        both.rest(world);
        assert!(!woken(&mut both.near.driver)(), "by nothing");
        let is_woken = woken(&mut both.near.driver);
        drop(now(both.near.session.send_chat(&Chat::new("x"))).unwrap());
        assert!(is_woken(), "by a line");
        both.settle();
        let is_woken = woken(&mut both.near.driver);
        now(outgoing.send(vec![7; 10_000].into())).unwrap();
        assert!(is_woken(), "by bytes of a file");
        // All that it may send, and nothing of it is read.
        for _ in 0..50 {
            let _ = outgoing.send(vec![7; 16 << 10].into()).now_or_never();
            both.rest(world);
        }
        let is_woken = woken(&mut both.far.driver);
        while let Some(Ok(Some(_))) = incoming.next().now_or_never() {}
        assert!(is_woken(), "by the first bytes that are read, as the sender waits for credit");
    });
}

/// A line that somebody waits for is handed out before the driver does anything else, so that an answer
/// goes with all that is left to do; but the driver goes on by itself, and does not put it off again.
#[test]
fn the_driver_gives_way_to_who_waits_for_a_line_and_goes_on() {
    World::run(async |world| {
        let mut both = conversation(world);
        both.rest(world);
        let counted = Arc::new(Counted::default());
        let waker = Waker::from(Arc::clone(&counted));
        let woken = |driver: &mut Driver<Duplex, VirtualTimer>| {
            let before = counted.0.load(Ordering::Relaxed);
            assert!(Pin::new(driver).poll(&mut Context::from_waker(&waker)).is_pending());
            counted.0.load(Ordering::Relaxed) - before
        };
        let say = |end: &End| drop(now(end.session.send_chat(&Chat::new("x"))).unwrap());
        // Once between two whole turns, and again after one.
        for _ in 0..2 {
            for is_first in [true, false] {
                assert!(both.far.events.next().now_or_never().is_none());
                say(&both.near);
                assert!(is_pending(&mut both.near.driver));
                assert_eq!(woken(&mut both.far.driver), usize::from(is_first));
                assert!(matches!(now(both.far.events.next()), Some(Event::Chat(_))));
            }
            // Nobody waits, so nobody is given way to.
            both.settle();
            say(&both.near);
            assert!(is_pending(&mut both.near.driver));
            assert_eq!(woken(&mut both.far.driver), 0);
            assert!(matches!(now(both.far.events.next()), Some(Event::Chat(_))));
            both.rest(world);
        }
    });
}

/// What is to be sent does not wait for who hears a line.
#[test]
fn the_driver_does_not_give_way_while_it_has_something_to_send() {
    World::run(async |world| {
        let mut both = conversation(world);
        both.rest(world);
        assert!(both.far.events.next().now_or_never().is_none());
        for end in [&both.near, &both.far] {
            drop(now(end.session.send_chat(&Chat::new("x"))).unwrap());
        }
        assert!(is_pending(&mut both.near.driver));
        assert!(is_pending(&mut both.far.driver));
        assert!(is_pending(&mut both.near.driver));
        assert!(matches!(now(both.near.events.next()), Some(Event::Chat(_))), "in one turn");
        assert!(matches!(now(both.far.events.next()), Some(Event::Chat(_))));
    });
}

#[test]
fn the_next_under_a_rate_limit() {
    World::run(async |world| {
        let mut both = Conversation::open(world, Config::default(), Config::default());
        let [(mut first, _first), (mut second, _second)] =
            [(); 2].map(|()| both.transfer(&Offer::new("x")));
        // A hundred bytes each microsecond.
        both.near.session.set_rate_limit(Some(100_000_000));
        now(first.send(Bytes::from(vec![0; 10_000]))).unwrap();
        let mut sending = Box::pin(first.send(Bytes::from_static(b"one")));
        assert!(is_pending(&mut sending), "it has to wait first");
        both.is_woken(Box::pin(second.send(Bytes::from_static(b"two"))), |both| {
            both.settle();
            world.clock.advance(Duration::from_micros(101));
            assert!(is_pending(&mut both.near.driver));
            // No driver comes between: this one might be unable to write for long.
            now(sending).unwrap();
        })
        .unwrap();
    });
}
