//! A handle on one thread, the driver on another.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use duologue::proto::{Config, Connection, Receipt, StreamParameters};
use duologue::session::{Driver, Event, Events, Incoming, Outgoing, Session, accept, session};
use duologue::testing::{Duplex, duplex};
use duologue::time::{Time, Timer};
use duologue::wire::{Chat, CloseCode, Offer};
use futures::channel::oneshot;
use futures::future::{Either, join, select};
use futures::{FutureExt, StreamExt};
use loom::future::block_on;

use super::{check, spawn};

/// No time passes: nothing may wait for a timer where a wake-up is due.
struct Stopped;

impl Timer for Stopped {
    fn now(&self) -> Time {
        Time::from_micros(1_000_000)
    }

    fn reset(self: Pin<&mut Self>, _: Time) {}

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

struct End {
    session: Session,
    events: Events,
    driver: Driver<Duplex, Stopped>,
}

impl End {
    async fn event(&mut self) -> Event {
        let Self { events, driver, .. } = self;
        match select(events.next(), driver).await {
            Either::Left((event, _)) => event.expect("an event"),
            Either::Right(_) => panic!("the driver has ended"),
        }
    }

    async fn open(&mut self) {
        assert!(matches!(self.event().await, Event::Open(_)));
    }
}

/// Two that are open, by one thread alone.
fn open() -> (End, End) {
    let (near, far) = duplex(4096);
    let parameters = StreamParameters::new([1; 32]);
    let connection = Connection::client(Config::default(), parameters, Stopped.now());
    let (session, events, driver) = session(near, connection, Stopped);
    let mut near = End { session, events, driver };
    let parameters = StreamParameters::new([2; 32]);
    let far = async {
        let accepted = accept(far, Config::default(), parameters, Stopped).await;
        let (session, events, driver) = accepted.expect("a client");
        let mut far = End { session, events, driver };
        far.open().await;
        far
    };
    let (mut far, ()) = alone(join(far, near.open()));
    // What is left to say of the handshake.
    for _ in 0..3 {
        let mut context = Context::from_waker(Waker::noop());
        assert!(near.driver.poll_unpin(&mut context).is_pending());
        assert!(far.driver.poll_unpin(&mut context).is_pending());
    }
    (near, far)
}

/// Polls until it is ready: nobody else has to do anything for it.
fn alone<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// Moves the bytes of both until the work is done.
async fn drive<T>(
    near: &mut Driver<Duplex, Stopped>,
    far: &mut Driver<Duplex, Stopped>,
    work: impl Future<Output = T>,
) -> T {
    match select(select(near, far), pin!(work)).await {
        Either::Left(_) => panic!("a driver has ended"),
        Either::Right((done, _)) => done,
    }
}

#[test]
fn a_line_wakes_the_driver() {
    check(|| {
        let (End { session, events, mut driver }, mut far) = open();
        let other = spawn(move || {
            let heard = async { far.events.next().await };
            let heard = block_on(drive(&mut driver, &mut far.driver, heard));
            assert!(matches!(heard, Some(Event::Chat(chat)) if chat.text == "hello"));
        });
        drop(block_on(session.send_chat(&Chat::new("hello"))).unwrap());
        other.join().unwrap();
        drop((session, events));
    });
}

#[test]
fn what_comes_wakes_who_waits_for_events_and_a_close_wakes_both_drivers() {
    check(|| {
        let (End { session, mut events, driver }, far) = open();
        drop(alone(far.session.send_chat(&Chat::new("hello"))).unwrap());
        let other = spawn(move || block_on(join(driver, far.driver)));
        let event = block_on(events.next());
        assert!(matches!(event, Some(Event::Chat(chat)) if chat.text == "hello"));
        session.close(CloseCode::DONE, "").unwrap();
        let closed = async { while events.next().await.is_some() {} };
        block_on(join(closed, session.closed()));
        drop(other.join().unwrap());
    });
}

#[test]
fn a_receipt_is_told() {
    check(|| {
        let (End { session, events, driver }, mut far) = open();
        let other = spawn(move || {
            let far_session = far.session;
            let application = async {
                assert!(matches!(far.events.next().await, Some(Event::Chat(_))));
                far_session.close(CloseCode::DONE, "").unwrap();
            };
            block_on(join(join(driver, far.driver), application))
        });
        let receipt = block_on(session.send_chat(&Chat::new("hello"))).unwrap();
        assert_eq!(block_on(receipt), Receipt::Delivered);
        drop(other.join().unwrap());
        drop((session, events));
    });
}

/// A file of two bytes that is accepted, by one thread alone.
fn open_file() -> (End, End, Outgoing, Incoming) {
    let (mut near, mut far) = open();
    let offering = async {
        let mut outgoing = near.session.offer(&Offer::new("x").size(2)).await.unwrap();
        outgoing.accepted().await.unwrap();
        outgoing
    };
    let accepting = async {
        let Some(Event::Offer(offer)) = far.events.next().await else { panic!("no offer") };
        offer.accept().unwrap()
    };
    let work = join(offering, accepting);
    let (outgoing, incoming) = alone(drive(&mut near.driver, &mut far.driver, work));
    (near, far, outgoing, incoming)
}

#[test]
fn data_wakes_the_driver() {
    check(|| {
        let (near, far, mut outgoing, mut incoming) = open_file();
        let (mut near_driver, mut far_driver) = (near.driver, far.driver);
        let other = spawn(move || {
            let chunk = block_on(drive(&mut near_driver, &mut far_driver, incoming.next()));
            assert_eq!(chunk.unwrap().unwrap().data, "a");
        });
        block_on(outgoing.send(Bytes::from_static(b"a"))).unwrap();
        other.join().unwrap();
        drop((near.session, near.events, far.session, far.events, outgoing));
    });
}

#[test]
fn the_end_wakes_the_driver_and_a_verdict_who_waits_for_it() {
    check(|| {
        let (near, far, mut outgoing, mut incoming) = open_file();
        let (mut near_driver, mut far_driver) = (near.driver, far.driver);
        let (told, hears) = oneshot::channel::<()>();
        let other = spawn(move || {
            let application = async {
                let mut received = Vec::new();
                while let Some(chunk) = incoming.next().await.unwrap() {
                    received.extend_from_slice(&chunk.data);
                }
                assert_eq!(received, b"ab");
                incoming.stored("x").unwrap();
                let _ = hears.await;
            };
            block_on(drive(&mut near_driver, &mut far_driver, application));
        });
        let verdict = block_on(async {
            outgoing.send(Bytes::from_static(b"ab")).await.unwrap();
            outgoing.finish(None).await
        });
        assert_eq!(verdict.unwrap().name(), Some("x"));
        told.send(()).unwrap();
        other.join().unwrap();
        drop((near.session, near.events, far.session, far.events, outgoing));
    });
}
