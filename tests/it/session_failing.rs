//! A stream that fails in one direction, or when it is flushed or closed.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use duologue::io::TransportError;
use duologue::proto::CloseReason;
use duologue::session::{Event, Outcome};
use duologue::testing::duplex;
use duologue::wire::{Chat, CloseCode};
use futures::io::{AsyncRead, AsyncWrite};
use futures::{FutureExt, StreamExt};

use super::session_util::{Peer, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fails {
    Write,
    Flush,
    Close,
    Never,
}

struct Failing<S> {
    inner: S,
    fails: Rc<Cell<Fails>>,
}

fn broken<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
}

impl<S: AsyncRead + Unpin> AsyncRead for Failing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        b: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, b)
    }
}
impl<S: AsyncWrite + Unpin> AsyncWrite for Failing<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        b: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.fails.get() == Fails::Write {
            return broken();
        }
        Pin::new(&mut self.inner).poll_write(cx, b)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fails.get() == Fails::Flush {
            return broken();
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fails.get() == Fails::Close {
            return broken();
        }
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

async fn pair(world: &World) -> (Peer, Peer, Rc<Cell<Fails>>) {
    let (near, far) = duplex(1 << 20);
    let fails = Rc::new(Cell::new(Fails::Never));
    let near = Failing { inner: near, fails: Rc::clone(&fails) };
    let (near, far) = world.connect_over(near, far, Default::default()).await;
    (near, far, fails)
}

/// What a side hears while its driver runs, and how that ends.
async fn heard(mut peer: Peer) -> (Vec<Event>, Outcome<duologue::time::VirtualTimer>) {
    let outcome = peer.driver.await.unwrap();
    let mut heard = Vec::new();
    while let Some(Some(event)) = peer.events.next().now_or_never() {
        heard.push(event);
    }
    (heard, outcome)
}

#[test]
fn what_has_come_is_read_though_nothing_can_be_written() {
    World::run(async |world| {
        let (near, far, fails) = pair(world).await;
        // All of it is there when the first write fails.
        fails.set(Fails::Write);
        let (far_session, near_session) = (far.session.clone(), near.session.clone());
        for n in 0..400 {
            drop(far_session.send_chat(&Chat::new(format!("{n:0100}"))).await.unwrap());
        }
        drop(near_session.send_chat(&Chat::new("x")).await.unwrap());
        let (events, outcome) = heard(near).await;
        assert_eq!(events.len(), 401);
        assert!(matches!(events.last(), Some(Event::Detached(_))));
        let Outcome::Detached(detached) = outcome else { panic!() };
        let error = detached.transport_error().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        drop(far);
    });
}

#[test]
fn the_last_words_are_heard_though_nothing_can_be_answered() {
    World::run(async |world| {
        let (near, far, fails) = pair(world).await;
        fails.set(Fails::Write);
        far.session.close(CloseCode::SHUTDOWN, "later").unwrap();
        drop(near.session.send_chat(&Chat::new("x")).await.unwrap());
        let (events, outcome) = heard(near).await;
        assert!(
            matches!(&events[0], Event::Goodbye { code: CloseCode::SHUTDOWN, .. }),
            "{events:?}"
        );
        let Outcome::Ended(ended) = outcome else { panic!() };
        assert_eq!(ended.reason, CloseReason::Peer(CloseCode::SHUTDOWN));
    });
}

#[test]
fn an_error_of_flush_or_close_is_one_of_the_stream() {
    for what in [Fails::Write, Fails::Flush, Fails::Close] {
        World::run(async |world| {
            let (near, mut far, fails) = pair(world).await;
            fails.set(what);
            drop(near.session.send_chat(&Chat::new("x")).await.unwrap());
            world.settle().await;
            if what == Fails::Close {
                assert_eq!(far.chat().await, "x");
                let closing = near.session.clone();
                closing.close(CloseCode::DONE, "").unwrap();
                let (_, outcome) = heard(near).await;
                let Outcome::Ended(ended) = outcome else { panic!() };
                let reason = CloseReason::Local { code: CloseCode::DONE, is_answered: true };
                assert_eq!(ended.reason, reason);
                return;
            }
            let (events, outcome) = heard(near).await;
            assert!(matches!(events[..], [Event::Detached(_)]), "{what:?} {events:?}");
            let Outcome::Detached(detached) = outcome else { panic!() };
            let kind = detached.transport_error().map(TransportError::kind);
            assert_eq!(kind, Some(io::ErrorKind::BrokenPipe));
        });
    }
}
