//! T5, H38: conversations that are cut at chosen bytes, and files that are given up at any moment.

use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{CloseReason, Config, Error, Opening, Receipt as Fate};
use duologue::session::{
    Backoff, Conversations, Event, Events, Incoming, Outgoing, Session, TransferError,
};
use duologue::wire::{Chat, CloseCode, Offer, TransferCode};
use futures::StreamExt;
use futures::future::{Either, join, join3, select};

use super::session_network::{Network, listen};
use super::session_util::{World, content, read_all, send_all};

/// What each side says: lines, and a file of some length in pieces.
#[derive(Clone, Copy)]
struct Talk {
    lines: u32,
    len: usize,
    chunk: usize,
    is_seekable: bool,
}

/// Says lines and sends a file, all of which arrives.
async fn say(session: &Session, talk: Talk) {
    let file = Bytes::from(content(talk.len));
    let chatting = async {
        for n in 0..talk.lines {
            let receipt = session.send_chat(&Chat::new(n.to_string())).await.unwrap();
            assert_eq!(receipt.await, Fate::Delivered);
        }
    };
    let sending = async {
        let offer = Offer::new("x").size(talk.len as u64);
        let offer = if talk.is_seekable { offer.seekable() } else { offer };
        let mut outgoing = session.offer(&offer).await.unwrap();
        assert_eq!(send_all(&mut outgoing, &file, talk.chunk).await, Ok("x".into()));
    };
    join(chatting, sending).await;
}

/// Hears the lines, once each and in order, and the whole file: unless it was cut before the listener
/// knew that the client knows of the conversation.
async fn hear(events: &mut Events, world: &World, talk: Talk) -> bool {
    let (mut lines, mut file) = (0, None);
    while lines < talk.lines || file.is_none() {
        match events.next().await.unwrap() {
            Event::Chat(chat) => {
                assert_eq!(chat.text, lines.to_string());
                lines += 1;
            }
            Event::Offer(offer) => {
                let mut incoming = offer.accept().unwrap();
                file = Some(world.spawn(async move {
                    let received = read_all(&mut incoming).await.unwrap();
                    incoming.stored("x").unwrap();
                    received
                }));
            }
            Event::Open(Opening::New | Opening::Resumed) => {}
            Event::Detached(_) | Event::Attempt { .. } => {}
            Event::Closed(CloseReason::Failed(Error::Incomplete)) => return false,
            other => panic!("{other:?}"),
        }
    }
    assert!(file.unwrap().await.unwrap() == content(talk.len));
    true
}

/// Talks both ways over a stream that is cut once this end has read so many bytes, and tells how many
/// it would have read still: none if it was cut.
fn cut_after(is_far: bool, bytes: u64, talk: Talk) -> u64 {
    World::run(async |world| {
        let (network, listener) = Network::new(world);
        let conversations = Conversations::new(Config::default());
        let mut arrivals = listen(world, listener, &conversations);
        let backoff = Backoff::new([9; 32]).first(Duration::from_millis(20)).max_attempts(20);
        network.cut_next_after.set(Some((is_far, bytes)));
        let stream = network.stream().unwrap();
        let (session, mut events, driver) = world.client(stream, Config::default());
        let driver = world.spawn(driver.reconnecting(network.connector(), backoff));
        let opened = events.next().await.unwrap();
        if !matches!(opened, Event::Open(Opening::New)) {
            // Cut before it was open: it ends, with a cause, and at once.
            while events.next().await.is_some() {}
            assert!(session.closed().await.to_string().len() > 5);
            driver.await.unwrap();
            assert!(world.clock.now().as_micros() < 1_000_000, "at {bytes}");
            assert!(bytes < 500, "at {bytes}");
            return 0;
        }
        let Some(Ok(Some(mut hosted))) = arrivals.next().await else {
            // The listener's side was never open, so this is a new conversation to it.
            assert!(bytes < 500, "at {bytes}");
            return 0;
        };
        let speaking = async {
            let far = say_once_open(world, &hosted.session, talk);
            join3(say(&session, talk), hear(&mut events, world, talk), far).await
        };
        let hearing = hear(&mut hosted.events, world, talk);
        match select(Box::pin(hearing), Box::pin(speaking)).await {
            Either::Left((false, _)) => {
                assert!(bytes < 500, "it was open since long at {bytes}");
                return 0;
            }
            Either::Left((true, speaking)) => assert!(speaking.await.1),
            Either::Right((spoken, hearing)) => assert!(spoken.1 && hearing.await),
        }
        for session in [&session, &hosted.session] {
            let again = session.statistics().retransmitted_bytes;
            // What was in the pipe, and a frame.
            assert!(again <= 10_000 + 16_392, "{again} bytes were sent again at {bytes}");
        }
        let left = network.left.get();
        assert_eq!(session.statistics().streams, if left == 0 { 2 } else { 1 }, "at {bytes}");
        session.close(CloseCode::DONE, "").unwrap();
        while events.next().await.is_some() {}
        driver.await.unwrap();
        left
    })
}

async fn say_once_open(world: &World, session: &Session, talk: Talk) {
    while !session.is_open() {
        world.sleep(Duration::from_millis(1)).await;
    }
    say(session, talk).await;
}

/// How many bytes an end reads in all.
fn places(is_far: bool, talk: Talk) -> u64 {
    let all = 1_000_000;
    all - cut_after(is_far, all, talk)
}

#[test]
fn t5_cut_behind_any_byte_that_the_listener_reads() {
    cut_everywhere(true);
}

#[test]
fn t5_cut_behind_any_byte_that_the_client_reads() {
    cut_everywhere(false);
}

fn cut_everywhere(is_far: bool) {
    // Each byte of a short conversation, whether its files can be sent again from anywhere or not.
    for is_seekable in [false, true] {
        let talk = Talk { lines: 3, len: 600, chunk: 250, is_seekable };
        let all = places(is_far, talk);
        assert!(all > talk.len as u64 + 300, "{all}");
        for bytes in 1..all {
            cut_after(is_far, bytes, talk);
        }
    }
    // Places all over a longer one.
    let talk = |is_seekable| Talk { lines: 6, len: 3000, chunk: 700, is_seekable };
    for bytes in (600..places(is_far, talk(false))).step_by(17) {
        cut_after(is_far, bytes, talk(bytes % 2 == 0));
    }
}

/// States of a transfer in which it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Stage {
    Offered,
    Accepted,
    UnderWay,
    Paused,
    Finishing,
}

/// Who gives up; both at once, one the moment before the other's word is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Sender,
    Receiver,
    Both,
}

async fn bring_to(
    stage: Stage,
    world: &World,
    near: &Session,
    far: &mut Events,
) -> (Outgoing, Option<Incoming>, Option<duologue::session::IncomingOffer>) {
    let mut outgoing = near.offer(&Offer::new("x").size(100_000)).await.unwrap();
    let offer = loop {
        if let Some(Event::Offer(offer)) = far.next().await {
            break offer;
        }
    };
    if stage == Stage::Offered {
        return (outgoing, None, Some(offer));
    }
    let incoming = offer.accept().unwrap();
    outgoing.accepted().await.unwrap();
    if stage >= Stage::UnderWay {
        outgoing.send(Bytes::from(content(50_000))).await.unwrap();
    }
    match stage {
        Stage::Paused => {
            outgoing.pause(true).unwrap();
            incoming.pause(true).unwrap();
            world.settle().await;
        }
        Stage::Finishing => {
            outgoing.send(Bytes::from(content(50_000))).await.unwrap();
            assert!(super::support::is_pending(&mut Box::pin(outgoing.finish(None))));
        }
        _ => {}
    }
    (outgoing, Some(incoming), None)
}

#[test]
fn h38_a_file_is_given_up_in_any_state_by_either_or_both() {
    use Stage::*;
    for stage in [Offered, Accepted, UnderWay, Paused, Finishing] {
        for who in [Who::Sender, Who::Receiver, Who::Both] {
            World::run(async |world| give_up(world, stage, who).await);
        }
    }
}

async fn give_up(world: &World, stage: Stage, who: Who) {
    let (near, mut far) = world.connect().await;
    let (mut outgoing, incoming, offer) =
        bring_to(stage, world, &near.session, &mut far.events).await;
    if who != Who::Receiver {
        outgoing.cancel(TransferCode::SOURCE_CHANGED, "").unwrap();
    }
    if who == Who::Sender {
        world.sleep(Duration::from_millis(50)).await;
    }
    // Who only hears of it answers the request; who gives up itself does not wait for one.
    match (incoming, offer) {
        (Some(mut incoming), _) if who == Who::Sender => {
            let asked = loop {
                match incoming.next().await {
                    Ok(Some(_)) => {}
                    // A file whose end was there before the request.
                    Ok(None) => break TransferCode::CANCELLED,
                    Err(TransferError::CancelAsked { code, .. }) => break code,
                    Err(other) => panic!("{stage:?}: {other}"),
                }
            };
            incoming.failed(asked, "").unwrap();
        }
        (Some(incoming), _) => incoming.failed(TransferCode::STORAGE_FAILED, "").unwrap(),
        (None, Some(offer)) if who != Who::Sender => {
            offer.reject(TransferCode::DECLINED, "").unwrap();
        }
        (None, offer) => drop(offer),
    }
    let Err(TransferError::NotStored(verdict)) = outgoing.verdict().await else {
        panic!("{stage:?} {who:?}")
    };
    assert!(!verdict.is_stored());
    assert_eq!(outgoing.verdict().await, Err(TransferError::NotStored(verdict)));
    // The conversation has room for as many as before, and delivers.
    for _ in 0..100 {
        let mut next = near.session.offer(&Offer::new("y").size(0)).await.unwrap();
        let incoming = loop {
            if let Event::Offer(offer) = far.event().await {
                break offer.accept();
            }
        };
        let mut incoming = incoming.unwrap();
        let receiving = async {
            assert_eq!(incoming.next().await, Ok(None));
            incoming.stored("y").unwrap();
        };
        assert!(join(next.finish(None), receiving).await.0.unwrap().is_stored());
    }
    assert!(!near.session.is_detached());
}
