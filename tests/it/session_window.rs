//! What was handed out, or waits, of files that are over takes part in the window only until it is let
//! go of.

use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{Config, Opening};
use duologue::session::{
    Backoff, Conversations, Event, Events, Incoming, Outgoing, Session, TransferError,
};
use duologue::testing::duplex;
use duologue::wire::{Digest, Offer, TransferCode};
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt};

use super::session_network::{Network, listen, reconnecting};
use super::session_shapes::{Gate, Shape, Shaped};
use super::session_util::World;

fn small() -> Config {
    Config::builder().receive_window(128 << 10).reserved_window(4096).build().unwrap()
}

async fn next_offer(events: &mut Events) -> Incoming {
    loop {
        if let Event::Offer(offer) = events.next().await.unwrap() {
            return offer.accept().unwrap();
        }
    }
}

/// Sends all that fits into the windows of a receiver that reads nothing.
async fn push(world: &World, outgoing: &mut Outgoing) {
    let pushing = async {
        loop {
            outgoing.send(Bytes::from(vec![1; 4096])).await.unwrap();
        }
    };
    let waiting = world.sleep(Duration::from_secs(1));
    let _: Either<(std::convert::Infallible, _), _> =
        select(Box::pin(pushing), Box::pin(waiting)).await;
}

/// Fills all windows with four files that nobody reads, and tells how many bytes came of them.
async fn fill(
    world: &World,
    near: &Session,
    far: &Session,
    events: &mut Events,
) -> (u64, Vec<(Outgoing, Incoming)>) {
    let data = |session: &Session| {
        let data = session.statistics().received.data;
        data.bytes - 8 * data.frames
    };
    let before = data(far);
    let mut files = Vec::new();
    for _ in 0..4 {
        let mut outgoing = near.offer(&Offer::new("x")).await.unwrap();
        let incoming = next_offer(events).await;
        outgoing.accepted().await.unwrap();
        push(world, &mut outgoing).await;
        files.push((outgoing, incoming));
    }
    (data(far) - before, files)
}

/// The receiver gives them up, and the sender hears of it.
async fn end(files: Vec<(Outgoing, Incoming)>) {
    for (mut outgoing, incoming) in files {
        drop(incoming);
        assert!(outgoing.verdict().await.is_err());
    }
}

#[test]
fn what_a_new_beginning_makes_void_is_given_back() {
    World::run(async |world| {
        let (near, mut far) = world.connect_with((Config::default(), small())).await;
        let (fits, files) = fill(world, &near.session, &far.session, &mut far.events).await;
        assert!(fits >= 64 << 10, "{fits}");
        end(files).await;
        for _ in 0..4 {
            let mut outgoing = near.session.offer(&Offer::new("x").size(1 << 20)).await.unwrap();
            let Event::Offer(offer) = far.event().await else { panic!() };
            let mut incoming = offer.accept_part(1 << 19, Digest::Blake3([1; 32])).unwrap();
            outgoing.accepted().await.unwrap();
            outgoing.send(Bytes::from(vec![2; 30_000])).await.unwrap();
            world.sleep(Duration::from_millis(100)).await;
            outgoing.restart().unwrap();
            outgoing.send(Bytes::from_static(b"anew")).await.unwrap();
            world.sleep(Duration::from_millis(100)).await;
            let chunk = incoming.next().await.unwrap().unwrap();
            assert_eq!((chunk.offset, &*chunk.data), (0, &b"anew"[..]));
            end(vec![(outgoing, incoming)]).await;
        }
        let (fits_now, _files) = fill(world, &near.session, &far.session, &mut far.events).await;
        assert_eq!(fits_now, fits);
    });
}

#[test]
fn a_tail_and_what_makes_it_void_may_come_in_one_read() {
    // In the small buffer on the stack, and in one of which slices are handed out.
    for len in [100, 60_000] {
        World::run(async |world| {
            let (near, far) = duplex(1 << 20);
            let gate = Gate::default();
            let far = Shaped::new(far, Shape::Gate(gate.clone()));
            let (mut near, mut far) = world.connect_over(near, far, Default::default()).await;
            // So that the buffer has grown.
            let (mut warm, mut warm_in) =
                world.transfer(&mut near, &mut far, Offer::new("warm").size(2 * len)).await;
            warm.send(Bytes::from(vec![0; 2 * len as usize])).await.unwrap();
            drop(warm.finish(None).now_or_never());
            while warm_in.next().await.unwrap().is_some() {}
            warm_in.stored("warm").unwrap();
            warm.verdict().await.unwrap();

            let mut outgoing = near.session.offer(&Offer::new("x").size(1 << 20)).await.unwrap();
            let Event::Offer(offer) = far.event().await else { panic!() };
            let mut incoming = offer.accept_part(1 << 19, Digest::Blake3([1; 32])).unwrap();
            outgoing.accepted().await.unwrap();
            gate.shut();
            outgoing.send(Bytes::from(vec![2; len as usize])).await.unwrap();
            world.sleep(Duration::from_millis(100)).await;
            outgoing.restart().unwrap();
            outgoing.send(Bytes::from(vec![3; len as usize])).await.unwrap();
            world.sleep(Duration::from_millis(100)).await;
            gate.open();
            world.sleep(Duration::from_millis(100)).await;
            let mut received = 0;
            while received < len {
                let chunk = incoming.next().await.unwrap().unwrap();
                assert_eq!(chunk.offset, received);
                assert!(chunk.data.iter().all(|&byte| byte == 3));
                received += chunk.data.len() as u64;
            }
        });
    }
}

#[test]
fn what_waits_of_a_conversation_that_was_forgotten_is_given_back() {
    for is_read in [false, true] {
        World::run(async |world| {
            let (network, listener) = Network::new(world);
            let forgetful = Config::builder().detached_timeout(Duration::from_millis(10));
            let conversations = Conversations::new(forgetful.build().unwrap());
            let mut arrivals = listen(world, listener, &conversations);
            let backoff = Backoff::new([9; 32]).first(Duration::from_secs(1));
            let (session, mut events, _driver) = reconnecting(&network, small(), backoff).await;
            let hosted = arrivals.next().await.unwrap().unwrap().unwrap();
            let (fits, files) = fill(world, &hosted.session, &session, &mut events).await;
            assert!(fits >= 64 << 10, "{fits}");
            network.cut();
            drop(hosted);
            let second = arrivals.next().await.unwrap().unwrap().unwrap();
            while !matches!(events.next().await.unwrap(), Event::Open(Opening::Fresh)) {}
            for (_, mut incoming) in files {
                while is_read && matches!(incoming.next().await, Ok(Some(_))) {}
                drop(incoming);
            }
            world.sleep(Duration::from_secs(1)).await;
            let (now, _files) = fill(world, &second.session, &session, &mut events).await;
            assert_eq!(now, fits, "was it read: {is_read}");
        });
    }
}

#[test]
fn a_receiver_that_lets_a_file_stall_is_asked_for_its_verdict() {
    World::run(async |world| {
        let (mut near, mut far) = world.connect_with((Config::default(), small())).await;
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x")).await;
        push(world, &mut outgoing).await;
        let waiting = async {
            world.sleep(Duration::from_secs(130)).await;
            // Who has not read it may still say what became of it.
            loop {
                match incoming.next().await {
                    Ok(_) => {}
                    Err(TransferError::CancelAsked { code, .. }) => break code,
                    Err(other) => panic!("{other:?}"),
                }
            }
        };
        let verdict = Box::pin(outgoing.verdict());
        let Either::Right((code, verdict)) = select(verdict, Box::pin(waiting)).await else {
            panic!("it had not ended: the receiver lives")
        };
        assert_eq!(code, TransferCode::STALLED);
        incoming.failed(TransferCode::STORAGE_FAILED, "too slow").unwrap();
        let Err(TransferError::NotStored(verdict)) = verdict.await else { panic!() };
        assert_eq!(verdict.code(), TransferCode::STORAGE_FAILED);
    });
}

#[test]
fn what_was_taken_with_a_chunk_and_not_handed_out_is_given_back_with_the_file() {
    World::run(async |world| {
        let (near, mut far) = world.connect_with((Config::default(), small())).await;
        let (fits, mut files) = fill(world, &near.session, &far.session, &mut far.events).await;
        for handed_out in 1..4 {
            for (_, incoming) in &mut files {
                for _ in 0..handed_out {
                    assert!(incoming.next().await.unwrap().is_some());
                }
            }
            end(files).await;
            let (now, filled) = fill(world, &near.session, &far.session, &mut far.events).await;
            assert_eq!(now, fits, "after {handed_out} chunks of each");
            files = filled;
        }
        // An end that the application gives them is no other.
        for (_, incoming) in &mut files {
            assert!(incoming.next().await.unwrap().is_some());
        }
        for (mut outgoing, incoming) in files {
            incoming.failed(TransferCode::NO_SPACE, "").unwrap();
            assert!(outgoing.verdict().await.is_err());
        }
        let (now, _files) = fill(world, &near.session, &far.session, &mut far.events).await;
        assert_eq!(now, fits, "after verdicts");
    });
}

#[test]
fn a_slow_reader_lets_the_sender_go_on_before_all_that_waits_is_read() {
    World::run(async |world| {
        let (mut near, mut far) = world.connect_with((Config::default(), small())).await;
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x")).await;
        push(world, &mut outgoing).await;
        let waiting = far.session.statistics().received.data;
        let mut handed_out = 0;
        while handed_out < waiting.bytes / 2 {
            handed_out += incoming.next().await.unwrap().unwrap().data.len() as u64;
        }
        push(world, &mut outgoing).await;
        let more = far.session.statistics().received.data.bytes - waiting.bytes;
        assert!(more >= waiting.bytes / 4, "{more} of {}", waiting.bytes);
    });
}
