//! Two sessions with the library's defaults, over an in-memory pipe, in one thread.
//!
//! The clock goes on by a microsecond each time that somebody looks at it, and to the next deadline
//! when all wait. So nothing depends on how fast a machine is, and each run is the same.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use duologue::proto::{Config, Connection, Receipt, StreamParameters};
use duologue::session::{Event, Events, Session, accept, session};
use duologue::testing::duplex;
use duologue::time::{Time, Timer};
use duologue::wire::{Chat, Offer};
use futures::StreamExt;
use futures::executor::LocalPool;
use futures::future::join;
use futures::task::LocalSpawnExt;

use super::{CHUNK, LINE};

pub(crate) const PIPE: usize = 64 << 10;

#[derive(Default)]
struct Clock {
    now: Cell<u64>,
    waiting: RefCell<Vec<(u64, Waker)>>,
}

impl Clock {
    /// Goes on to the next deadline.
    fn jump(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let next = waiting.iter().map(|&(at, _)| at).min().expect("somebody waits for a time");
        self.now.set(self.now.get().max(next));
        waiting.retain(|(at, waker)| {
            let is_due = *at <= next;
            if is_due {
                waker.wake_by_ref();
            }
            !is_due
        });
    }
}

struct Ticking {
    clock: Rc<Clock>,
    deadline: Time,
}

impl Timer for Ticking {
    fn now(&self) -> Time {
        self.clock.now.set(self.clock.now.get() + 1);
        Time::from_micros(self.clock.now.get())
    }

    fn reset(mut self: Pin<&mut Self>, deadline: Time) {
        self.deadline = deadline;
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.as_micros();
        if self.deadline == Time::MAX {
            return Poll::Pending;
        }
        if self.clock.now.get() >= deadline {
            return Poll::Ready(());
        }
        let mut waiting = self.clock.waiting.borrow_mut();
        // Its last waker counts, and wakes the same task.
        waiting.retain(|(_, waker)| !waker.will_wake(cx.waker()));
        waiting.push((deadline, cx.waker().clone()));
        Poll::Pending
    }
}

struct End {
    session: Session,
    events: Events,
}

impl End {
    async fn chat(&mut self) -> Chat<'static> {
        loop {
            if let Event::Chat(chat) = self.events.next().await.expect("an event") {
                return chat;
            }
        }
    }
}

/// Opens a conversation, and does something with both of its ends.
fn run(pipe: usize, work: impl AsyncFnOnce(End, End) + 'static) {
    let (mut pool, clock) = (LocalPool::new(), Rc::new(Clock::default()));
    let timer = || Ticking { clock: Rc::clone(&clock), deadline: Time::MAX };
    let (near, far) = duplex(pipe);
    let connection = Connection::client(
        Config::default(),
        StreamParameters::new([1; 32]),
        Time::from_micros(clock.now.get()),
    );
    let (near, near_events, driver) = session(near, connection, timer());
    let spawner = pool.spawner();
    spawner.spawn_local(async move { drop(driver.await) }).unwrap();
    let is_over = Rc::new(Cell::new(false));
    let (ended, far_timer, drivers) = (Rc::clone(&is_over), timer(), spawner.clone());
    let main = async move {
        let parameters = StreamParameters::new([2; 32]);
        let accepted = accept(far, Config::default(), parameters, far_timer).await;
        let (far, far_events, driver) = accepted.expect("a client");
        drivers.spawn_local(async move { drop(driver.await) }).unwrap();
        let (near_open, far_open) = join(near.opened(), far.opened()).await;
        near_open.and(far_open).expect("both are there");
        let near = End { session: near, events: near_events };
        work(near, End { session: far, events: far_events }).await;
        ended.set(true);
    };
    spawner.spawn_local(main).unwrap();
    loop {
        pool.run_until_stalled();
        if is_over.get() {
            return;
        }
        clock.jump();
    }
}

/// So many times 16 KiB of a file, in chunks of so many bytes.
pub(crate) fn bulk(times: u64, pipe: usize, chunk: usize) {
    run(pipe, async move |near, mut far| {
        let sending = async {
            let offer = Offer::new("bulk").size(times * CHUNK as u64).seekable();
            let mut outgoing = near.session.offer(&offer).await.unwrap();
            outgoing.accepted().await.unwrap();
            let (chunk, chunks) =
                (Bytes::from(vec![7; chunk]), times * CHUNK as u64 / chunk as u64);
            for _ in 0..chunks {
                outgoing.send(chunk.clone()).await.unwrap();
            }
            outgoing.finish(None).await.unwrap();
        };
        let receiving = async {
            let mut incoming = loop {
                if let Event::Offer(offer) = far.events.next().await.unwrap() {
                    break offer.accept().unwrap();
                }
            };
            while let Some(chunk) = incoming.next().await.unwrap() {
                black_box(chunk.data);
            }
            incoming.stored("bulk").unwrap();
        };
        join(sending, receiving).await;
    });
}

/// Lines one way, so many at a time, until the last is acknowledged.
pub(crate) fn lines(times: u64, batch: usize) {
    run(PIPE, async move |near, mut far| {
        let sending = async {
            let (chats, mut left, mut last) = (vec![Chat::new(LINE); batch], times, None);
            while left > 0 && batch > 1 {
                let mut some = &chats[..];
                left -= batch as u64;
                last = near.session.send_chats(&mut some).await.unwrap();
            }
            for _ in 0..left {
                last = Some(near.session.send_chat(&Chat::new(LINE)).await.unwrap());
            }
            assert_eq!(last.unwrap().await, Receipt::Delivered);
        };
        let receiving = async {
            let mut received = 0;
            while received < times {
                black_box(far.chat().await);
                let more = far.events.ready_chats();
                for text in &more {
                    black_box(text);
                }
                received += 1 + more.len() as u64;
            }
        };
        join(sending, receiving).await;
    });
}

/// Lines of so many bytes, one by one.
pub(crate) fn long_lines(times: u64, len: usize) {
    run(PIPE, async move |near, mut far| {
        let sending = async {
            let (text, mut last) = ("x".repeat(len), None);
            for _ in 0..times {
                last = Some(near.session.send_chat(&Chat::new(text.as_str())).await.unwrap());
            }
            assert_eq!(last.unwrap().await, Receipt::Delivered);
        };
        let receiving = async {
            for _ in 0..times {
                black_box(far.chat().await);
            }
        };
        join(sending, receiving).await;
    });
}

/// A line there, and one back.
pub(crate) fn ping_pong(times: u64) {
    run(PIPE, async move |mut near, mut far| {
        let there = async {
            for _ in 0..times {
                drop(near.session.send_chat(&Chat::new(LINE)).await.unwrap());
                black_box(near.chat().await);
            }
        };
        let back = async {
            for _ in 0..times {
                let chat = far.chat().await;
                drop(far.session.send_chat(&chat).await.unwrap());
            }
        };
        join(there, back).await;
    });
}
