//! The last moments of a stream: what is waited for, for how long, and what is not done any more.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use duologue::proto::{CloseReason, Config, Connection, Opening, Receipt as Fate};
use duologue::session::{AcceptError, Conversations, Event, Outcome, accept};
use duologue::testing::{Duplex, duplex};
use duologue::wire::{Chat, CloseCode, PREFACE};
use futures::future::{FutureExt, join};
use futures::io::{AsyncRead, AsyncWrite};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};

use super::session_network::Network;
use super::session_util::World;
use super::support::{is_pending, poll_once};

/// What a stream does not do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    /// To close its half, as long as it is held.
    Closing,
    /// To take any bytes, and to close, as long as it is held.
    Writing,
    /// To close its half at once: so many calls are interrupted.
    Interrupted(u32),
}

struct Held {
    inner: Duplex,
    holds: Rc<Cell<Holds>>,
    has_ended: bool,
    reads_after_end: Rc<Cell<u32>>,
}

impl Held {
    fn new(inner: Duplex, holds: Holds) -> (Self, Rc<Cell<Holds>>, Rc<Cell<u32>>) {
        let (holds, reads) = (Rc::new(Cell::new(holds)), Rc::default());
        let reads_after_end = Rc::clone(&reads);
        let held = Self { inner, holds: Rc::clone(&holds), has_ended: false, reads_after_end };
        (held, holds, reads)
    }
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.has_ended {
            self.reads_after_end.set(self.reads_after_end.get() + 1);
        }
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.has_ended |= matches!(read, Poll::Ready(Ok(0)));
        read
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.holds.get() == Holds::Writing {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.holds.get() {
            Holds::Nothing => Pin::new(&mut self.inner).poll_close(cx),
            Holds::Interrupted(left) => {
                let left = left.checked_sub(1).filter(|&left| left > 0);
                self.holds.set(left.map_or(Holds::Nothing, Holds::Interrupted));
                Poll::Ready(Err(io::ErrorKind::Interrupted.into()))
            }
            Holds::Closing | Holds::Writing => Poll::Pending,
        }
    }
}

#[test]
fn t7_the_end_of_the_other_half_is_waited_for() {
    World::run(async |world| {
        let (near, far) = duplex(10_000);
        let (near, _holds, _) = Held::new(near, Holds::Closing);
        let (near, mut far) = world.connect_over(near, far, Default::default()).await;
        near.session.close(CloseCode::DONE, "").unwrap();
        while !matches!(far.event().await, Event::Closed(CloseReason::Peer(CloseCode::DONE))) {}
        // All is said, but what comes after it would be answered by a reset.
        world.sleep(Duration::from_secs(1)).await;
        assert!((&mut far.driver).now_or_never().is_none(), "the client has not ended its half");
    });
}

#[test]
fn t7_a_half_that_never_ends_is_not_waited_for_for_ever() {
    World::run(async |world| {
        let (near, far) = duplex(10_000);
        let (near, _holds, _) = Held::new(near, Holds::Closing);
        let (session, _events, mut near) = world.client(near, Config::default());
        assert!(is_pending(&mut near));
        let accepted = accept(far, Config::default(), world.parameters(), world.timer()).await;
        let (_session, _far_events, mut far) = accepted.unwrap();
        let mut settle = |far: &mut _| {
            (0..10).for_each(|_| assert!(is_pending(&mut near) && is_pending(far)));
        };
        settle(&mut far);
        session.close(CloseCode::DONE, "").unwrap();
        settle(&mut far);
        world.clock.advance(Config::default().close_timeout());
        let Poll::Ready(Outcome::Ended(_)) = poll_once(&mut far) else { panic!("it waits") };
    });
}

#[test]
fn h19_what_has_ended_is_not_read_again_while_our_half_cannot_be_closed() {
    World::run(async |world| {
        let (near, far) = duplex(10_000);
        let (far, _holds, reads_after_end) = Held::new(far, Holds::Closing);
        let (near, far) = world.connect_over(near, far, Default::default()).await;
        drop(near.driver);
        near.session.close(CloseCode::DONE, "").unwrap();
        drop((near.session, near.events));
        far.driver.await.unwrap();
        assert_eq!(reads_after_end.get(), 0);
    });
}

#[test]
fn h40_who_is_turned_away_and_does_not_read_is_not_waited_for() {
    World::run(async |world| {
        let before = world.clock.now();
        let (_holds, mut near) = turned_away(world, Holds::Writing).await;
        let waited = world.clock.now().saturating_duration_since(before);
        assert!(waited <= Duration::from_secs(2), "{waited:?}");
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
    });
}

/// Turned away by a listener that is full, over a stream that does this.
async fn turned_away(world: &World, holds: Holds) -> (Rc<Cell<Holds>>, Duplex) {
    let (mut near, far) = duplex(10_000);
    let now = world.clock.now();
    let mut client = Connection::client(Config::default(), world.parameters(), now);
    let hello: Vec<u8> = client.poll_transmit(now).into_iter().flatten().copied().collect();
    near.write_all(&hello).await.unwrap();
    let (far, holds, _) = Held::new(far, holds);
    let conversations = Conversations::new(Config::default()).max_conversations(0);
    let accepted = conversations.accept(far, world.parameters(), world.timer()).await;
    assert!(matches!(accepted, Err(AcceptError::Full)));
    (holds, near)
}

#[test]
fn t3_the_close_of_who_is_turned_away_is_tried_again_when_it_is_interrupted() {
    World::run_at_once(async |world| {
        let (holds, mut near) = turned_away(world, Holds::Interrupted(3)).await;
        assert!(holds.get() == Holds::Nothing, "it was closed in the end");
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() > PREFACE.len(), "with last words");
        // A stream that does nothing else is not tried for ever.
        let (holds, _near) = turned_away(world, Holds::Interrupted(u32::MAX)).await;
        assert!(matches!(holds.get(), Holds::Interrupted(left) if left > u32::MAX - 100));
    });
}

#[test]
fn receipts_of_a_conversation_that_begins_anew_are_its_own() {
    World::run(async |world| {
        let (network, mut listener) = Network::new(world);
        let stream = network.stream().unwrap();
        let (session, mut events, driver) = world.client(stream, Config::default());
        let driver = world.spawn(driver);
        let stream = listener.next().await.unwrap();
        let accepted = accept(stream, Config::default(), world.parameters(), world.timer()).await;
        let (_old, _old_events, old_driver) = accepted.unwrap();
        let _old_driver = world.spawn(old_driver);
        assert!(matches!(events.next().await, Some(Event::Open(Opening::New))));
        let early = session.send_chat(&Chat::new("in time")).await.unwrap();
        world.sleep(Duration::from_secs(1)).await;
        network.cut();
        let Outcome::Detached(detached) = driver.await.unwrap() else { panic!() };
        let late = session.send_chat(&Chat::new("too late")).await.unwrap();
        let Ok(driver) = detached.attach(network.stream().unwrap(), world.parameters()) else {
            panic!()
        };
        let _driver = world.spawn(driver);
        // It has lost the conversation.
        let stream = listener.next().await.unwrap();
        let accepted = accept(stream, Config::default(), world.parameters(), world.timer()).await;
        let (_new, mut heard, new_driver) = accepted.unwrap();
        let _new_driver = world.spawn(new_driver);
        while !matches!(events.next().await, Some(Event::Open(Opening::Fresh))) {}
        assert_eq!((early.await, late.await), (Fate::Unknown, Fate::NotSent));
        let receipt = session.send_chat(&Chat::new("anew")).await.unwrap();
        let (fate, ()) =
            join(receipt, async { while !matches!(heard.next().await, Some(Event::Chat(_))) {} })
                .await;
        assert_eq!(fate, Fate::Delivered);
    });
}
