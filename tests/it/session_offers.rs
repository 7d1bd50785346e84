//! Offers that wait for a place: each gets one, or hears that none comes.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use duologue::proto::{ActionError, Config};
use duologue::session::{Event, Incoming, Outgoing, SessionError, TransferError, accept};
use duologue::testing::duplex;
use duologue::wire::{Batch, Offer};
use futures::{FutureExt, StreamExt, poll};

use super::session_util::{Peer, World};

const LIMIT: SessionError = SessionError::Refused(ActionError::PeerLimit);

/// How long the first waits for a verdict.
const PATIENCE: Duration = Duration::from_secs(5);

/// Peers of whom the first is hasty, and the second accepts so many transfers at a time.
async fn connect(world: &World, transfers: u32) -> (Peer, Peer) {
    let hasty = Config::builder().stall_timeout(PATIENCE).build().unwrap();
    let few = Config::builder().max_transfers(transfers).build().unwrap();
    world.connect_with((hasty, few)).await
}

fn batch(count: u32) -> Batch<'static> {
    Batch { name: "folder".into(), count, bytes: 0, metadata: b""[..].into() }
}

/// An empty file whose receiver will say nothing.
async fn unanswered(world: &World, near: &mut Peer, far: &mut Peer) -> (Outgoing, Incoming) {
    world.transfer(near, far, Offer::new("file").size(0)).await
}

async fn is_given_up(outgoing: &mut Outgoing) {
    assert_eq!(outgoing.finish(None).await, Err(TransferError::Unanswered));
}

#[test]
fn an_offer_does_not_wait_for_what_was_given_up() {
    World::run(async |world| {
        let (mut near, mut far) = connect(world, 2).await;
        let (mut first, stalled) = unanswered(world, &mut near, &mut far).await;
        let (mut second, other) = unanswered(world, &mut near, &mut far).await;
        let session = near.session.clone();
        let offer = async move { session.offer(&Offer::new("late")).await.map(drop) };
        let mut waiting = world.spawn(offer);
        world.settle().await;
        assert_eq!(waiting.try_recv(), Ok(None), "two have an end in sight");
        is_given_up(&mut first).await;
        is_given_up(&mut second).await;
        assert_eq!(waiting.await, Ok(Err(LIMIT)), "who waited is told");
        let offer = Offer::new("late");
        assert_eq!(near.session.offer(&offer).await.unwrap_err(), LIMIT);
        // The receiver may answer all the same.
        drop((stalled, other));
        world.settle().await;
        near.session.offer(&offer).await.unwrap();
    });
}

#[test]
fn an_offer_waits_while_another_transfer_goes_on_beside_one_that_was_given_up() {
    World::run(async |world| {
        let (mut near, mut far) = connect(world, 2).await;
        let (mut first, _stalled) = unanswered(world, &mut near, &mut far).await;
        assert!(first.finish(None).now_or_never().is_none());
        world.sleep(PATIENCE).await;
        let (mut second, goes_on) = unanswered(world, &mut near, &mut far).await;
        let offer = Offer::new("late");
        let mut waiting = pin!(near.session.offer(&offer));
        assert!(poll!(waiting.as_mut()).is_pending());
        is_given_up(&mut first).await;
        assert!(poll!(waiting.as_mut()).is_pending(), "one place can come");
        assert!(second.finish(None).now_or_never().is_none());
        world.settle().await;
        goes_on.stored("file").unwrap();
        waiting.await.unwrap();
        second.verdict().await.unwrap();
    });
}

#[test]
fn a_member_does_not_wait_for_the_place_of_one_that_was_given_up() {
    World::run(async |world| {
        for places in [2, 3] {
            let (near, mut far) = connect(world, places).await;
            let mut folders = Vec::new();
            let mut received = Vec::new();
            // As many as leave just one place for the members of all of them.
            for _ in 1..places {
                let mut folder = near.session.offer_batch(&batch(2)).await.unwrap();
                let incoming = far.batch().await.accept().unwrap();
                folder.accepted().await.unwrap();
                folders.push(folder);
                received.push(incoming);
            }
            let member = Offer::new("member").size(0);
            let mut first = folders[0].offer(member.clone()).await.unwrap();
            let stalled = received[0].next().await.unwrap();
            let another = batch(1);
            let mut folder = pin!(near.session.offer_batch(&another));
            assert!(poll!(folder.as_mut()).is_pending());
            is_given_up(&mut first).await;
            for folder in &mut folders {
                let refused = folder.offer(member.clone()).await.unwrap_err();
                assert_eq!(refused, TransferError::Refused(ActionError::PeerLimit));
            }
            match places {
                2 => assert_eq!(folder.await.unwrap_err(), LIMIT, "no member of it has a place"),
                _ => assert!(poll!(folder.as_mut()).is_pending(), "one folder may end"),
            }
            drop(stalled);
            world.settle().await;
            folders[0].offer(member).await.unwrap();
        }
    });
}

#[test]
fn an_offer_does_not_wait_for_the_decision_on_one_that_was_given_up() {
    World::run(async |world| {
        let (near, far) = duplex(64 << 10);
        let hasty = Config::builder().transfer_timeout(PATIENCE).stall_timeout(PATIENCE);
        let (session, mut events, driver) = world.client(near, hasty.build().unwrap());
        let _driver = world.spawn(driver);
        let one = Config::builder().max_undecided(1).build().unwrap();
        let accepted = accept(far, one, world.parameters(), world.timer()).await;
        let (_far_session, _far_events, mut far_driver) = accepted.unwrap();
        let stands_still = Rc::new(Cell::new(false));
        let stands = Rc::clone(&stands_still);
        world.detach(poll_fn(move |cx| {
            if stands.get() { Poll::Pending } else { far_driver.poll_unpin(cx).map(drop) }
        }));
        assert!(matches!(events.next().await, Some(Event::Open(_))));
        let mut undecided = session.offer(&Offer::new("undecided")).await.unwrap();
        world.settle().await;
        stands_still.set(true);
        let offer = Offer::new("late");
        let mut waiting = pin!(session.offer(&offer));
        assert!(poll!(waiting.as_mut()).is_pending());
        assert_eq!(undecided.accepted().await, Err(TransferError::Unanswered));
        assert!(session.is_open());
        assert_eq!(waiting.await.unwrap_err(), LIMIT);
    });
}
