//! Wakers: nobody keeps those of tasks that have given up, and they may do anything when they are
//! woken or dropped.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{ActionError, CloseReason, Config, Receipt as Fate};
use duologue::session::{Events, Incoming, Outcome, Outgoing, Session, SessionError, accept};
use duologue::wire::{Batch, Chat, CloseCode, Message, Offer};
use futures::StreamExt;

use super::session_util::{Peer, World};

/// How many of its wakers are kept by anybody.
#[derive(Default)]
struct Kept(Vec<Arc<Counted>>);

#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Kept {
    fn waker(&mut self) -> Waker {
        self.0.push(Arc::default());
        Waker::from(Arc::clone(self.0.last().unwrap()))
    }

    fn count(&self) -> usize {
        self.0.iter().filter(|counted| Arc::strong_count(counted) > 1).count()
    }
}

/// Polls such a future a hundred times, each time another one of another task, and returns how many
/// of the tasks are kept.
fn given_up<T>(mut make: impl AsyncFnMut() -> T) -> usize {
    let mut kept = Kept::default();
    for _ in 0..100 {
        let waker = kept.waker();
        let polled = pin!(make()).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    kept.count()
}

/// Waits for the same in a hundred tasks in turn, without a future.
fn polled<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> usize {
    let mut kept = Kept::default();
    for _ in 0..100 {
        let waker = kept.waker();
        assert!(poll(&mut Context::from_waker(&waker)).is_pending());
    }
    kept.count()
}

fn batch() -> Batch<'static> {
    Batch { name: "b".into(), count: 0, bytes: 0, metadata: b""[..].into() }
}

fn message() -> Message<'static> {
    Message { message_type: 1, is_reply: false, correlation: 1, body: b""[..].into() }
}

/// A client whose lanes are full, and who may not offer any more than the two that it has.
async fn full(world: &World) -> (Peer, Peer, Outgoing, Incoming) {
    let near = Config::builder().queued_items(1000).build().unwrap();
    let far = Config::builder().max_transfers(1).max_untaken(100).build().unwrap();
    let (mut near, mut far) = world.connect_with((near, far)).await;
    let (outgoing, incoming) = world.transfer(&mut near, &mut far, Offer::new("x")).await;
    (near, far, outgoing, incoming)
}

fn fill(session: &Session) {
    let mut cx = Context::from_waker(Waker::noop());
    while session.poll_send_chat(&mut cx, &Chat::new("x")).is_ready() {}
    while session.poll_send_message(&mut cx, &message()).is_ready() {}
}

#[test]
fn futures_that_were_given_up_leave_no_waker_behind() {
    World::run(async |world| {
        let (near, _far, mut outgoing, mut incoming) = full(world).await;
        let session = &near.session;
        assert_eq!(given_up(async || session.offer(&Offer::new("y")).await), 0, "offer");
        assert_eq!(given_up(async || session.offer_batch(&batch()).await), 0, "offer_batch");
        fill(session);
        assert_eq!(given_up(async || session.send_chat(&Chat::new("x")).await), 0, "send_chat");
        let chats = [Chat::new("x"), Chat::new("y")];
        assert_eq!(given_up(async || session.send_chats(&mut &chats[..]).await), 0, "send_chats");
        assert_eq!(given_up(async || session.send_message(&message()).await), 0, "send_message");
        assert_eq!(given_up(async || session.offer(&Offer::new("y")).await), 0, "blocked offer");
        assert_eq!(given_up(async || session.closed().await), 0, "closed");
        let seen = outgoing.progress();
        assert_eq!(given_up(async || outgoing.changed(seen).await), 0, "changed");

        // The handle of a transfer has one place, which its next wait takes over.
        assert!(given_up(async || incoming.next().await) <= 1, "next");
        assert!(given_up(async || outgoing.verdict().await) <= 1, "verdict");
        assert!(polled(|cx| outgoing.poll_verdict(cx)) <= 1, "poll_verdict");
        session.set_rate_limit(Some(1));
        outgoing.send(Bytes::from(vec![0; 10_000])).await.unwrap();
        assert!(given_up(async || outgoing.send(Bytes::from_static(b"x")).await) <= 1, "limited");
        session.set_rate_limit(None);
        while polled_once(outgoing.send(Bytes::from(vec![0; 100_000]))) {}
        assert!(given_up(async || outgoing.send(Bytes::from_static(b"x")).await) <= 1, "send");
        assert!(given_up(async || outgoing.finish(None).await) <= 1, "finish");
        drop(outgoing);
    });
}

#[test]
fn a_close_wakes_whoever_waits_for_room_or_to_offer() {
    World::run_at_once(async |world| {
        let (near, _far, _outgoing, _incoming) = full(world).await;
        let (session, mut kept) = (&near.session, Kept::default());
        fill(session);
        let [chat, message, offer] = [(); 3].map(|()| kept.waker());
        let poll = |wakers: [&Waker; 3]| {
            let [chat, message, offer] = &mut wakers.map(Context::from_waker);
            [
                refused(session.poll_send_chat(chat, &Chat::new("x"))),
                refused(session.poll_send_message(message, &self::message())),
                refused(session.poll_offer(offer, &Offer::new("y"))),
            ]
        };
        assert_eq!(poll([&chat, &message, &offer]), [const { None }; 3]);
        session.close(CloseCode::DONE, "").unwrap();
        for woken in &kept.0 {
            assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        }
        const CLOSED: Option<SessionError> = Some(SessionError::Refused(ActionError::Closed));
        assert_eq!(poll([Waker::noop(); 3]), [const { CLOSED }; 3]);
    });
}

/// Why something was not taken; nothing while it waits.
fn refused<T>(polled: Poll<Result<T, SessionError>>) -> Option<SessionError> {
    match polled {
        Poll::Pending => None,
        Poll::Ready(Ok(_)) => panic!("there is no room"),
        Poll::Ready(Err(error)) => Some(error),
    }
}

/// Whether a future is ready at once.
fn polled_once<F: Future>(future: F) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn waiting_for_a_conversation_to_open_or_to_come_back_leaves_no_waker_behind() {
    World::run(async |world| {
        let (near, far) = duologue::testing::duplex(1000);
        let (session, _events, mut driver) = world.client(near, Config::default());
        assert_eq!(given_up(async || session.opened().await), 0);
        assert!(polled(|cx| Pin::new(&mut driver).poll(cx)) <= 2, "the driver's");
        drop(far);
        let (near, far) = duologue::testing::duplex(1000);
        let (session, events, driver) = world.client(near, Config::default());
        let mut near = Peer { session, events, driver: world.spawn(driver) };
        let accepted = accept(far, Config::default(), world.parameters(), world.timer()).await;
        let (far_session, far_events, far_driver) = accepted.unwrap();
        let (stop, stopped) = futures::channel::oneshot::channel::<()>();
        let driving = world.spawn(async move {
            futures::future::select(far_driver, stopped).await;
        });
        near.session.opened().await.unwrap();
        let receipt = RefCell::new(near.session.send_chat(&Chat::new("x")).await.unwrap());
        assert!(polled(|cx| Pin::new(&mut *receipt.borrow_mut()).poll(cx)) <= 1, "receipt");
        let mut kept = Kept::default();
        let waker = kept.waker();
        let polled = Pin::new(&mut *receipt.borrow_mut()).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        drop((receipt, waker));
        assert_eq!(kept.count(), 0, "a receipt that was dropped");
        drop(stop);
        driving.await.unwrap();
        drop((far_session, far_events));
        let Outcome::Detached(mut detached) = near.driver.await.unwrap() else { panic!() };
        let waiting = given_up(async || (&mut detached).await);
        // In the list, and in the timer.
        assert!(waiting <= 2, "{waiting}");
        near.events.next().await;
        drop(detached);
        assert!(matches!(near.session.closed().await, CloseReason::Local { .. }));
    });
}

#[test]
fn both_ends_of_a_conversation_can_be_waited_for() {
    World::run(async |world| {
        let (near, far) = duologue::testing::duplex(1000);
        let (session, _events, driver) = world.client(near, Config::default());
        let driver = world.spawn(driver);
        let also = session.clone();
        let opened = world.spawn(async move { also.opened().await });
        world.settle().await;
        assert!(!session.is_open());
        let accepted = accept(far, Config::default(), world.parameters(), world.timer());
        let (far, _far_events, far_driver) = accepted.await.unwrap();
        let far_driver = world.spawn(far_driver);
        // Without a look at the events.
        opened.await.unwrap().unwrap();
        session.opened().await.unwrap();
        far.opened().await.unwrap();
        session.close(CloseCode::DONE, "").unwrap();
        let reason = session.closed().await;
        let ended = SessionError::Ended(reason);
        assert_eq!(session.opened().await, Err(ended));
        drop((driver.await.unwrap(), far_driver.await.unwrap()));

        // It never opens.
        let (near, far) = duologue::testing::duplex(1000);
        let (session, _events, driver) = world.client(near, Config::default());
        let driver = world.spawn(driver);
        drop(far);
        assert!(session.opened().await.is_err());
        driver.await.unwrap();
    });
}

/// A task that keeps something alive until its last waker goes.
struct Owner<T> {
    _owned: Mutex<T>,
}

impl<T: Send + 'static> Wake for Owner<T> {
    fn wake(self: Arc<Self>) {}
}

fn owner<T: Send + 'static>(owned: T) -> Waker {
    Waker::from(Arc::new(Owner { _owned: Mutex::new(owned) }))
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

/// Polls with a waker that owns this, and with another one.
fn replace<T: Send + 'static, R>(owned: T, mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) {
    let waker = owner(owned);
    assert!(poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    assert!(poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[test]
fn a_waker_may_own_handles_that_go_with_it() {
    in_time(|| {
        World::run(async |world| {
            let (mut near, mut far) = world.connect().await;
            let mut handles = Vec::new();
            for _ in 0..8 {
                let (mut outgoing, incoming) =
                    world.transfer(&mut near, &mut far, Offer::new("x")).await;
                outgoing.send(Bytes::from_static(b"x")).await.unwrap();
                handles.push((outgoing, incoming));
            }
            let mut owned = handles.split_off(2).into_iter();
            let mut next = || owned.next().unwrap();
            let (mut outgoing, mut incoming) = handles.pop().unwrap();
            drop(incoming.next().await);
            replace(next().0, |cx| near.events.poll_next_unpin(cx));
            replace(next().1, |cx| far.events.poll_next_unpin(cx));
            replace(next().0, |cx| outgoing.poll_verdict(cx));
            replace(next().1, |cx| incoming.poll_next(cx));

            // What is dropped with the transfer's own list.
            let waker = owner(next().0);
            let cx = &mut Context::from_waker(&waker);
            assert!(outgoing.poll_verdict(cx).is_pending());
            drop(waker);
            outgoing.cancel(duologue::wire::TransferCode::CANCELLED, "").unwrap();
            drop(outgoing);
            let waker = owner(next().1);
            let (_outgoing, mut incoming) = handles.pop().unwrap();
            drop(incoming.next().await);
            let cx = &mut Context::from_waker(&waker);
            assert!(incoming.poll_next(cx).is_pending());
            drop(waker);
            incoming.failed(duologue::wire::TransferCode::CANCELLED, "").unwrap();
        });
    });
}

/// Does something with a session whenever it is woken.
struct Busy {
    session: Session,
    woken: AtomicUsize,
}

impl Wake for Busy {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self));
        let mut cx = Context::from_waker(&waker);
        // It may all fail by then.
        let _ = self.session.poll_send_chat(&mut cx, &Chat::new("x"));
        let _ = self.session.poll_closed(&mut cx);
        self.session.set_rate_limit(None);
        drop((self.session.statistics(), self.session.is_open(), self.session.clone()));
        let _ = self.session.poll_offer(&mut cx, &Offer::new("z"));
    }
}

#[test]
fn a_waker_may_call_back_into_the_handles() {
    in_time(|| {
        World::run(async |world| {
            let (mut near, mut far, mut outgoing, mut incoming) = full(world).await;
            let busy = Arc::new(Busy { session: near.session.clone(), woken: AtomicUsize::new(0) });
            let waker = Waker::from(Arc::clone(&busy));
            let mut cx = Context::from_waker(&waker);
            fill(&near.session);
            let session = near.session.clone();
            assert!(session.poll_send_chat(&mut cx, &Chat::new("y")).is_pending());
            assert!(session.poll_closed(&mut cx).is_pending());
            assert!(outgoing.poll_verdict(&mut cx).is_pending());
            assert!(near.events.poll_next_unpin(&mut cx).is_pending());
            let mut receipts: Vec<_> = Vec::new();
            for _ in 0..200 {
                far.event().await;
            }
            if let Poll::Ready(Ok(mut receipt)) = session.poll_send_chat(&mut cx, &Chat::new("y")) {
                assert!(Pin::new(&mut receipt).poll(&mut cx).is_pending());
                receipts.push(receipt);
            }
            outgoing.send(Bytes::from_static(b"x")).await.unwrap();
            drop(incoming.next().await);
            assert!(incoming.poll_next(&mut cx).is_pending());
            world.settle().await;
            assert!(busy.woken.load(Ordering::Relaxed) > 0);
            drop((incoming, outgoing));
            let peer: (Events, _) = (far.events, far.driver);
            session.close(CloseCode::DONE, "").unwrap();
            session.closed().await;
            drop(peer);
            for receipt in receipts {
                let fate = poll_fn(|_| Poll::Ready(receipt.fate())).await;
                assert!(matches!(fate, Some(Fate::Delivered | Fate::Unknown | Fate::NotSent)));
            }
        });
    });
}
