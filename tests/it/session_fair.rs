//! Whoever waits for the rate limit, for room or for one more offer gets it: in time, and in turn.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use duologue::proto::Config;
use duologue::session::{Incoming, Outgoing, Session};
use duologue::wire::{Chat, Offer};
use futures::future::{Either, select};

use super::session_util::{Peer, World, read_all};

/// Reads all of a file and stores it, unless it is given up.
async fn store(mut incoming: Incoming) {
    if read_all(&mut incoming).await.is_ok() {
        incoming.stored("x").unwrap();
    }
}

#[test]
fn a_sender_that_comes_late_waits_for_the_rate_limit_and_no_longer() {
    World::run(async |world| {
        let (mut near, mut far) = world.connect().await;
        near.session.set_rate_limit(Some(100_000));
        let (mut outgoing, incoming) = world.transfer(&mut near, &mut far, Offer::new("x")).await;
        world.detach(store(incoming));
        let begun = world.clock.now();
        for _ in 0..10 {
            // Everything is quiet by the time of the next chunk.
            outgoing.send(Bytes::from(vec![0; 10_000])).await.unwrap();
            world.sleep(Duration::from_millis(80)).await;
        }
        let passed = world.clock.now().saturating_duration_since(begun);
        assert!(passed < Duration::from_millis(1100), "{passed:?}");
    });
}

#[test]
fn a_debt_does_not_outlive_its_limit() {
    World::run(async |world| {
        let (mut near, mut far) = world.connect().await;
        near.session.set_rate_limit(Some(0));
        let (mut outgoing, incoming) = world.transfer(&mut near, &mut far, Offer::new("x")).await;
        world.detach(store(incoming));
        outgoing.send(Bytes::from(vec![0; 10_000])).await.unwrap();
        near.session.set_rate_limit(None);
        outgoing.send(Bytes::from(vec![0; 10_000])).await.unwrap();
        world.sleep(Duration::from_secs(1)).await;
        near.session.set_rate_limit(Some(1000));
        let begun = world.clock.now();
        outgoing.send(Bytes::from(vec![0; 10])).await.unwrap();
        assert_eq!(world.clock.now(), begun);
    });
}

/// Sends for as long as it is let.
async fn flood(mut outgoing: Outgoing, sent: Rc<Cell<u64>>) {
    loop {
        outgoing.send(Bytes::from(vec![0; 1000])).await.unwrap();
        sent.set(sent.get() + 1000);
    }
}

async fn transfers(world: &World, near: &mut Peer, far: &mut Peer, many: usize) -> Vec<Outgoing> {
    let mut all = Vec::new();
    for _ in 0..many {
        let (outgoing, incoming) = world.transfer(near, far, Offer::new("x")).await;
        world.detach(store(incoming));
        all.push(outgoing);
    }
    all
}

#[test]
fn transfers_share_the_rate_limit_in_one_task_or_in_many() {
    for in_one_task in [false, true] {
        World::run(async |world| {
            let (mut near, mut far) = world.connect().await;
            near.session.set_rate_limit(Some(100_000));
            let sent: [Rc<Cell<u64>>; 3] = Default::default();
            let mut floods = Vec::new();
            for (outgoing, sent) in
                transfers(world, &mut near, &mut far, 3).await.into_iter().zip(&sent)
            {
                floods.push(Box::pin(flood(outgoing, Rc::clone(sent))));
            }
            if in_one_task {
                let mut floods = floods.into_iter();
                let (a, b, c) =
                    (floods.next().unwrap(), floods.next().unwrap(), floods.next().unwrap());
                world.detach(async {
                    futures::join!(a, b, c);
                });
            } else {
                floods.into_iter().for_each(|flood| world.detach(flood));
            }
            world.sleep(Duration::from_secs(10)).await;
            let sent = sent.map(|sent| sent.get());
            let all: u64 = sent.iter().sum();
            assert!((990_000..1_010_000).contains(&all), "{sent:?}");
            assert!(sent.iter().all(|&sent| sent > 300_000), "{sent:?}");
        });
    }
}

#[test]
fn a_transfer_that_waited_and_comes_no_more_holds_up_no_other() {
    World::run(async |world| {
        let (mut near, mut far) = world.connect().await;
        near.session.set_rate_limit(Some(100_000));
        let mut all = transfers(world, &mut near, &mut far, 3).await;
        let sent = Rc::new(Cell::new(0));
        let flooding = flood(all.pop().unwrap(), Rc::clone(&sent));
        for (place, mut idle) in all.into_iter().enumerate() {
            idle.send(Bytes::from(vec![0; 10_000])).await.unwrap();
            let waiting = Box::pin(idle.send(Bytes::from(vec![0; 1000])));
            let waited = select(waiting, Box::pin(world.settle())).await;
            assert!(matches!(waited, Either::Right(_)), "it waits");
            drop(waited);
            if place == 0 {
                // It is still open, of the other even the handle goes.
                std::mem::forget(idle);
            }
        }
        world.detach(flooding);
        world.sleep(Duration::from_secs(10)).await;
        assert!(sent.get() > 950_000, "{sent:?}");
    });
}

/// Says lines without end.
async fn chatter(session: Session, said: Rc<Cell<u64>>) {
    loop {
        drop(session.send_chat(&Chat::new("x")).await.unwrap());
        said.set(said.get() + 1);
    }
}

#[test]
fn whoever_waits_for_room_in_a_lane_gets_a_turn() {
    World::run(async |world| {
        let config = Config::builder().queued_items(16).build().unwrap();
        let (near, mut far) = world.connect_with((config, Config::default())).await;
        let said: [Rc<Cell<u64>>; 4] = Default::default();
        for said in &said {
            world.detach(chatter(near.session.clone(), Rc::clone(said)));
        }
        for _ in 0..4000 {
            far.chat().await;
        }
        let said = said.map(|said| said.get());
        assert!(said.iter().all(|&said| said > 500), "{said:?}");
    });
}

/// Offers files without end, and leaves it to other tasks to see them through.
async fn offers(world: World, session: Session, offered: Rc<Cell<u64>>) {
    loop {
        let mut outgoing = session.offer(&Offer::new("x").size(0)).await.unwrap();
        offered.set(offered.get() + 1);
        world.detach(async move {
            outgoing.accepted().await.unwrap();
            outgoing.finish(None).await.unwrap();
        });
    }
}

#[test]
fn whoever_waits_to_offer_gets_a_turn() {
    World::run(async |world| {
        let config = Config::builder().max_transfers(1).build().unwrap();
        let (near, mut far) = world.connect_with((Config::default(), config)).await;
        let offered: [Rc<Cell<u64>>; 4] = Default::default();
        for offered in &offered {
            let offers = offers(world.clone(), near.session.clone(), Rc::clone(offered));
            world.detach(offers);
        }
        for _ in 0..100 {
            store(far.offer().await.accept().unwrap()).await;
        }
        let offered = offered.map(|offered| offered.get());
        assert!(offered.iter().all(|&offered| offered > 15), "{offered:?}");
    });
}
