//! The rate limit, and what a session keeps in memory.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use duologue::proto::Config;
use duologue::testing::duplex;
use duologue::wire::{Chat, Offer};
use futures::future::{Either, join, select};
use futures::io::{AsyncRead, AsyncWrite};

use super::session_util::{World, content, read_all, send_all};

/// Remembers how much room reads had.
struct Room<S>(S, Rc<RefCell<Vec<usize>>>);

impl<S: AsyncRead + Unpin> AsyncRead for Room<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.1.borrow_mut().push(buffer.len());
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Room<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

#[test]
fn the_read_buffer_follows_the_load() {
    World::run(async |world| {
        let (near, far) = duplex(1 << 20);
        let room = Rc::new(RefCell::new(Vec::new()));
        let far = Room(far, Rc::clone(&room));
        let (mut near, mut far) = world.connect_over(near, far, Default::default()).await;
        drop(near.session.send_chat(&Chat::new("x")).await.unwrap());
        assert_eq!(far.chat().await, "x");
        assert_eq!(room.borrow().iter().max(), Some(&2048), "the handshake needs no more");
        assert_eq!(room.borrow().last(), Some(&1088), "and chat less");

        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x")).await;
        let file = Bytes::from(content(4 << 20));
        let (sent, received) = join(send_all(&mut outgoing, &file, 1 << 20), async {
            let received = read_all(&mut incoming).await.unwrap();
            incoming.stored("x").unwrap();
            received
        })
        .await;
        assert!(sent.is_ok() && received == file);
        assert_eq!(room.borrow().last(), Some(&(256 << 10)));

        world.sleep(Duration::from_secs(300)).await;
        assert_eq!(room.borrow().last(), Some(&1088), "it is given back");
    });
}

/// How long a file takes at this rate, with so many turns of the driver a second for other reasons.
fn time_for(bytes: usize, chunk: usize, rate: u64, every: Option<Duration>) -> Duration {
    World::run(async |world| {
        let (mut near, mut far) = world.connect().await;
        near.session.set_rate_limit(Some(rate));
        assert_eq!(near.session.rate_limit(), Some(rate));
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x")).await;
        let started = world.clock.now();
        let file = Bytes::from(content(bytes));
        let transfer = join(send_all(&mut outgoing, &file, chunk), async {
            read_all(&mut incoming).await.unwrap();
            incoming.stored("x").unwrap();
        });
        let chatting = async {
            let Some(every) = every else { return std::future::pending().await };
            loop {
                drop(near.session.send_chat(&Chat::new("x")).await.unwrap());
                far.chat().await;
                world.sleep(every).await;
            }
        };
        match select(Box::pin(transfer), Box::pin(chatting)).await {
            Either::Left(((sent, ()), _)) => assert!(sent.is_ok()),
            Either::Right(((), _)) => unreachable!(),
        }
        world.clock.now().saturating_duration_since(started)
    })
}

#[test]
fn file_data_keeps_to_the_rate_limit() {
    // What is saved up at first, and the last chunk, go at once.
    let seconds = time_for(1_000_000, 10_000, 100_000, None).as_secs_f64();
    assert!((9.8..=10.1).contains(&seconds), "{seconds}");
    // Other traffic makes it neither faster nor slower.
    for micros in [700, 1_900, 30_000] {
        let every = Some(Duration::from_micros(micros));
        let seconds = time_for(3_000, 100, 1_000, every).as_secs_f64();
        assert!((2.8..=3.1).contains(&seconds), "{seconds} with a line each {micros} us");
    }
}

#[test]
fn a_limit_that_is_lifted_or_lowered_holds_from_then_on() {
    World::run(async |world| {
        let (mut near, mut far) = world.connect().await;
        near.session.set_rate_limit(Some(1));
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x")).await;
        outgoing.send(Bytes::from(vec![0; 10_000])).await.unwrap();
        let session = near.session.clone();
        let lifting = async {
            world.sleep(Duration::from_secs(10)).await;
            session.set_rate_limit(None);
        };
        let (sent, ()) = join(outgoing.send(Bytes::from_static(b"x")), lifting).await;
        sent.unwrap();
        let passed = world.clock.now().as_micros();
        assert!((10_000_000..10_100_000).contains(&passed), "{passed} us");
        assert_eq!(near.session.rate_limit(), None);
        let mut received = 0;
        while received < 10_001 {
            received += incoming.next().await.unwrap().unwrap().data.len();
        }
    });
}

#[test]
fn an_application_that_keeps_every_chunk_keeps_no_more_than_it_has_to() {
    // It keeps its own slices; the buffers around them are bounded by the window.
    World::run(async |world| {
        let config = Config::builder().receive_window(1 << 20).build().unwrap();
        let (near, far) = duplex(1 << 20);
        let (mut near, mut far) = world.connect_over(near, far, (Config::default(), config)).await;
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x")).await;
        let file = Bytes::from(content(8 << 20));
        let (sent, kept) = join(send_all(&mut outgoing, &file, 1 << 20), async {
            let mut kept = Vec::new();
            while let Some(chunk) = incoming.next().await.unwrap() {
                kept.push(chunk.data);
            }
            incoming.stored("x").unwrap();
            kept
        })
        .await;
        assert!(sent.is_ok());
        assert!(kept.concat() == file);
    });
}
