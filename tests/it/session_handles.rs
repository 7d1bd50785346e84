//! What dropping each handle does.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{CloseReason, Config, DetachReason, Receipt as Fate};
use duologue::session::{Event, Outcome, SessionError, TransferError};
use duologue::testing::duplex;
use duologue::wire::{Batch, Chat, CloseCode, Message, Offer, TransferCode};
use futures::StreamExt;
use futures::future::join;

use super::session_util::{World, content, read_all, send_all};
use super::support::is_pending;

fn message(correlation: u64) -> Message<'static> {
    Message { message_type: 1, is_reply: false, correlation, body: b""[..].into() }
}

#[test]
fn an_incoming_file_dropped_is_cancelled() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        let (mut outgoing, incoming) = world.transfer(&mut near, &mut far, Offer::new("x")).await;
        outgoing.send(Bytes::from(content(1 << 20))).await.unwrap();
        world.sleep(Duration::from_secs(1)).await;
        drop(incoming);
        let Err(TransferError::NotStored(verdict)) = outgoing.verdict().await else { panic!() };
        assert_eq!(verdict.code(), TransferCode::CANCELLED);
        // Its window is free again: another file of many windows goes through.
        let file = Bytes::from(content(9 << 20));
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("y")).await;
        let (sent, received) = join(send_all(&mut outgoing, &file, 1 << 20), async {
            let received = read_all(&mut incoming).await.unwrap();
            incoming.stored("y").unwrap();
            received
        })
        .await;
        assert!(sent == Ok("y".into()) && received == file);
    });
}

#[test]
fn an_outgoing_file_dropped_asks_the_receiver_to_cancel() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        let (outgoing, mut incoming) = world.transfer(&mut near, &mut far, Offer::new("x")).await;
        drop(outgoing);
        assert!(matches!(incoming.next().await, Err(TransferError::CancelAsked { .. })));
        drop(incoming);
        // An offer that is not decided on yet is taken back.
        drop(near.session.offer(&Offer::new("y")).await.unwrap());
        let offer = far.offer().await;
        world.settle().await;
        assert!(matches!(offer.accept(), Err(TransferError::Refused(_))));
    });
}

#[test]
fn a_receipt_dropped_does_nothing() {
    World::run_at_once(async |world| {
        let (near, mut far) = world.connect().await;
        drop(near.session.send_chat(&Chat::new("x")).await.unwrap());
        assert_eq!(far.chat().await, "x");
    });
}

#[test]
fn events_dropped_reject_offers_and_never_take_messages() {
    World::run(async |world| {
        let (mut near, mut far) = world.connect().await;
        // A transfer that is under way goes on.
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("under way")).await;
        let mut waiting = near.session.offer(&Offer::new("waits")).await.unwrap();
        let batch = Batch { name: "b".into(), count: 2, bytes: 2, metadata: b""[..].into() };
        let mut waiting_batch = near.session.offer_batch(&batch).await.unwrap();
        world.settle().await;
        drop(far.events);
        assert!(matches!(waiting.accepted().await, Err(TransferError::NotStored(_))));
        assert!(matches!(waiting_batch.accepted().await, Err(TransferError::NotStored(_))));
        // Those that come later as well.
        let mut later = near.session.offer(&Offer::new("later")).await.unwrap();
        assert!(matches!(later.accepted().await, Err(TransferError::NotStored(_))));
        let mut later = near.session.offer_batch(&batch).await.unwrap();
        assert!(matches!(later.accepted().await, Err(TransferError::NotStored(_))));

        let mut chat = near.session.send_chat(&Chat::new("anybody?")).await.unwrap();
        let mut control = near.session.send_message(&message(1)).await.unwrap();
        // What the transfers have to say to each other comes after the message, and is dealt with.
        let (sent, ()) = join(send_all(&mut outgoing, &Bytes::from(content(10)), 5), async {
            read_all(&mut incoming).await.unwrap();
            incoming.stored("x").unwrap();
        })
        .await;
        assert!(sent.is_ok());
        world.sleep(Duration::from_secs(5)).await;
        assert!(is_pending(&mut chat) && is_pending(&mut control), "nobody has taken them");
        near.session.close(CloseCode::DONE, "").unwrap();
        assert_eq!((chat.await, control.await), (Fate::Unknown, Fate::Unknown));
    });
}

#[test]
fn offers_rejected_by_dropped_events_do_not_use_up_the_lane() {
    World::run_at_once(async |world| {
        let config = Config::builder().max_untaken(4).build().unwrap();
        let (near, far) = world.connect_with((Default::default(), config)).await;
        let mut one = near.session.offer(&Offer::new("1")).await.unwrap();
        let mut two = near.session.offer(&Offer::new("2")).await.unwrap();
        world.settle().await;
        drop(far.events);
        assert!(one.accepted().await.is_err() && two.accepted().await.is_err());
        for _ in 0..20 {
            let mut next = near.session.offer(&Offer::new("n")).await.unwrap();
            assert!(next.accepted().await.is_err());
        }
    });
}

#[test]
fn the_last_handle_of_any_kind_closes() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        let (outgoing, _incoming) = world.transfer(&mut near, &mut far, Offer::new("x")).await;
        let clone = near.session.clone();
        let receipt = clone.send_chat(&Chat::new("last words")).await.unwrap();
        drop(near.session);
        drop(near.events);
        drop(clone);
        world.sleep(Duration::from_secs(1)).await;
        assert!(far.session.is_open(), "the transfer is a handle, too");
        assert_eq!(far.chat().await, "last words");
        drop(outgoing);
        let (events, reason, _) = far.into_the_end().await;
        assert_eq!(reason, CloseReason::Peer(CloseCode::DONE));
        assert!(matches!(events.last(), Some(Event::Goodbye { .. })));
        assert_eq!(receipt.await, Fate::Delivered);
        let Outcome::Ended(ended) = near.driver.await.unwrap() else { panic!() };
        let reason = CloseReason::Local { code: CloseCode::DONE, is_answered: true };
        assert_eq!(ended.reason, reason);
    });
}

#[test]
fn the_driver_dropped_tells_every_handle_the_same_cause() {
    World::run_at_once(async |world| {
        let (near, far) = duplex(64 << 10);
        let (session, mut events, driver) = world.client(near, Config::default());
        let (stop, stopped) = futures::channel::oneshot::channel::<()>();
        // It is dropped when it is told to.
        let driving = world.spawn(async move {
            futures::future::select(driver, stopped).await;
        });
        let (parameters, timer) = (world.parameters(), world.timer());
        let accepted = duologue::session::accept(far, Config::default(), parameters, timer).await;
        let (far_session, mut far_events, far_driver) = accepted.unwrap();
        let far_driver = world.spawn(far_driver);
        assert!(matches!(events.next().await, Some(Event::Open(_))));
        assert!(matches!(far_events.next().await, Some(Event::Open(_))));

        let mut outgoing = session.offer(&Offer::new("x")).await.unwrap();
        let Some(Event::Offer(offer)) = far_events.next().await else { panic!() };
        let _far_incoming = offer.accept().unwrap();
        let _far_outgoing = far_session.offer(&Offer::new("y")).await.unwrap();
        let Some(Event::Offer(offer)) = events.next().await else { panic!() };
        let mut incoming = offer.accept().unwrap();
        outgoing.accepted().await.unwrap();
        let receipt = session.send_chat(&Chat::new("x")).await.unwrap();
        world.sleep(Duration::from_secs(1)).await;
        let queued = session.send_chat(&Chat::new("y")).await.unwrap();
        stop.send(()).unwrap();
        driving.await.unwrap();

        assert!(matches!(events.next().await, Some(Event::Detached(_))));
        let Some(Event::Closed(reason)) = events.next().await else { panic!() };
        assert!(events.next().await.is_none());
        assert_eq!(session.closed().await, reason);
        let lost = TransferError::Abandoned(Some(reason));
        assert_eq!(incoming.next().await, Err(lost.clone()));
        assert_eq!(outgoing.send(Bytes::from_static(b"x")).await, Err(lost.clone()));
        assert_eq!(outgoing.finish(None).await, Err(lost.clone()));
        assert_eq!(outgoing.verdict().await, Err(lost.clone()));
        assert_eq!(incoming.stored("x"), Err(lost));
        assert_eq!(receipt.await, Fate::Unknown);
        assert!(matches!(queued.await, Fate::NotSent | Fate::Unknown));
        let ended = SessionError::Ended(reason);
        assert_eq!(session.send_chat(&Chat::new("z")).await.unwrap_err(), ended);
        assert_eq!(session.send_message(&message(1)).await.unwrap_err(), ended);
        assert_eq!(session.offer(&Offer::new("z")).await.unwrap_err(), ended);
        // The peer finds its stream broken, and could be resumed.
        assert!(matches!(
            far_events.next().await,
            Some(Event::Chat(_) | Event::Detached(DetachReason::StreamEnded))
        ));
        assert!(matches!(far_driver.await.unwrap(), Outcome::Detached(_)));
    });
}

#[test]
fn the_driver_dropped_before_it_was_polled_ends_it() {
    World::run_at_once(async |world| {
        let (near, _far) = duplex(64);
        let (session, mut events, driver) = world.client(near, Config::default());
        let closed = session.closed();
        drop(driver);
        let reason = closed.await;
        assert!(matches!(events.next().await, Some(Event::Closed(why)) if why == reason));
    });
}

#[test]
fn handles_may_be_dropped_by_a_waker() {
    // A task that is dropped with its last waker drops its handles inside of whatever drops that.
    struct Guard(#[expect(dead_code, reason = "it is dropped")] Option<duologue::session::Session>);
    impl std::task::Wake for Guard {
        fn wake(self: std::sync::Arc<Self>) {}
    }
    World::run_at_once(async |world| {
        let (near, far) = world.connect().await;
        let (alone, _other_end) = duplex(64);
        let (session, events, mut driver) = world.client(alone, Config::default());
        for _ in 0..3 {
            let waker = std::sync::Arc::new(Guard(Some(session.clone()))).into();
            let mut cx = std::task::Context::from_waker(&waker);
            let polled = Future::poll(std::pin::Pin::new(&mut driver), &mut cx);
            assert!(polled.is_pending());
        }
        drop((near, far, events, session, driver));
    });
}

#[test]
fn everything_goes_when_all_is_dropped() {
    // The stream is let go of, so nothing is left of the conversation.
    struct Noticed(duologue::testing::Duplex, Rc<Cell<bool>>);
    impl Drop for Noticed {
        fn drop(&mut self) {
            self.1.set(true);
        }
    }
    impl futures::AsyncRead for Noticed {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buffer: &mut [u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            std::pin::Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }
    impl futures::AsyncWrite for Noticed {
        fn poll_write(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buffer: &[u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            std::pin::Pin::new(&mut self.0).poll_write(cx, buffer)
        }
        fn poll_flush(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::pin::Pin::new(&mut self.0).poll_flush(cx)
        }
        fn poll_close(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::pin::Pin::new(&mut self.0).poll_close(cx)
        }
    }
    let gone = Rc::new(Cell::new(false));
    let noticed = Rc::clone(&gone);
    World::run_at_once(async move |world| {
        let (near, far) = duplex(1000);
        let near = Noticed(near, noticed);
        let (near, far) = world.connect_over(near, far, Default::default()).await;
        drop((near.session, near.events));
        near.driver.await.unwrap();
        drop(far);
    });
    assert!(gone.get());
}
