//! What a driver does in one poll is bounded, and so is what waits for an application that does not
//! listen.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use duologue::proto::{Config, Opening};
use duologue::session::{Backoff, Conversations, Event, accept};
use duologue::testing::{Duplex, duplex};
use duologue::wire::{Chat, Header, Kind, Signal};
use futures::io::AsyncRead;
use futures::{FutureExt, StreamExt};

use super::session_network::{Network, listen, reconnecting};
use super::session_util::World;
use super::support::{is_pending, writes_through};

/// A stream from which frames that are to be skipped come for ever, once that is switched on.
struct Endless {
    inner: Duplex,
    step: Rc<Cell<usize>>,
    at: usize,
    reads: Rc<Cell<usize>>,
    bytes: Rc<Cell<usize>>,
}

const PAYLOAD: usize = 16_000;

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.step.get() == 0 {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let len = buffer.len().min(self.step.get());
        let header = Header { length: PAYLOAD as u32, kind: Kind::new(0x80), id: 0 }.encode();
        for byte in &mut buffer[..len] {
            *byte = header.get(self.at).copied().unwrap_or(0);
            self.at = (self.at + 1) % (header.len() + PAYLOAD);
        }
        self.reads.set(self.reads.get() + 1);
        self.bytes.set(self.bytes.get() + len);
        Poll::Ready(Ok(len))
    }
}

writes_through!(Endless);

/// Reads and bytes of one poll of a driver, of a stream from which so many come at a time.
fn work_of_one_poll(step: usize) -> (usize, usize) {
    let world = World::default();
    let (near, far) = duplex(1 << 20);
    let (switch, reads, bytes) = (Rc::new(Cell::new(0)), Rc::default(), Rc::default());
    let far = Endless {
        inner: far,
        step: Rc::clone(&switch),
        at: 0,
        reads: Rc::clone(&reads),
        bytes: Rc::clone(&bytes),
    };
    let (near, _near_events, mut client) = world.client(near, Config::default());
    let mut accepting = Box::pin(accept(far, Config::default(), world.parameters(), world.timer()));
    assert!(is_pending(&mut client));
    let accepted = accepting.as_mut().now_or_never().expect("a whole HELLO is there");
    let (session, _events, mut driver) = accepted.unwrap();
    while !(near.is_open() && session.is_open()) {
        assert!(is_pending(&mut driver) && is_pending(&mut client));
    }
    drop(near.send_chat(&Chat::new("x")).now_or_never());
    // The buffer grows as it is filled.
    switch.set(step);
    for _ in 0..5 {
        assert!(is_pending(&mut driver));
    }
    reads.set(0);
    bytes.set(0);
    assert!(is_pending(&mut driver), "it goes on at the next poll");
    (reads.get(), bytes.get())
}

#[test]
fn a_stream_that_is_never_short_of_bytes_lets_other_tasks_run() {
    let (reads, bytes) = work_of_one_poll(usize::MAX);
    assert!((1..=16).contains(&reads) && bytes >= 1 << 20, "{reads} reads, {bytes} bytes");
    assert!(bytes <= (1 << 20) + (256 << 10), "{bytes} bytes");
    let (reads, bytes) = work_of_one_poll(1);
    assert!((1..=64).contains(&reads) && bytes == reads, "{reads} reads, {bytes} bytes");
}

#[test]
fn of_signals_that_nobody_hears_the_newest_wait() {
    World::run_at_once(async |world| {
        let (near, mut far) = world.connect().await;
        for n in 0..200_u16 {
            let payload = n.to_be_bytes().to_vec().into();
            near.session.send_signal(&Signal { signal_type: 7, payload }).unwrap();
            world.sleep(Duration::from_millis(10)).await;
        }
        let mut heard = Vec::new();
        while let Some(Some(Event::Signal(signal))) = far.events.next().now_or_never() {
            heard.push(u16::from_be_bytes(signal.payload[..].try_into().unwrap()));
        }
        assert_eq!(heard, Vec::from_iter(184..200));
    });
}

#[test]
fn of_breaks_that_nobody_hears_of_the_last_ones_wait() {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default());
        let mut arrivals = listen(world, listener, &conversations);
        let backoff = Backoff::new([1; 32]).first(Duration::from_millis(10));
        let (session, mut events, _driver) =
            reconnecting(&network, Config::default(), backoff).await;
        let hosted = arrivals.next().await.unwrap().unwrap().unwrap();
        for _ in 0..50 {
            // Something is said in between, or coming back has to wait.
            drop(session.send_chat(&Chat::new("x")).await.unwrap());
            world.sleep(Duration::from_millis(100)).await;
            network.cut();
            assert!(arrivals.next().await.unwrap().unwrap().is_none());
            world.sleep(Duration::from_millis(100)).await;
        }
        let mut heard = Vec::new();
        while let Some(Some(event)) = events.next().now_or_never() {
            heard.push(event);
        }
        assert_eq!(heard.len(), 64, "three of each break, at most");
        assert!(matches!(heard.last(), Some(Event::Open(Opening::Resumed))), "{heard:?}");
        drop(hosted);
    });
}
