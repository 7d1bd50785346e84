//! Every future of `session` may be dropped at any poll: what is waited for goes on when it is asked
//! for again, and what is aborted tells everybody. The list is made from the source.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{CloseReason, Conclusion, Config, Receipt as Fate};
use duologue::session::{
    Accepted, Backoff, BatchOffer, Conversations, Event, Events, IncomingOffer, Outcome, Session,
    accept,
};
use duologue::testing::duplex;
use duologue::wire::{Batch, Chat, CloseCode, Message, Offer};
use futures::StreamExt;
use futures::future::join;

use super::session_network::{Network, listen, reconnecting};
use super::session_util::World;

/// What is dropped at every poll here: `file::function`, or the type of a future.
const DROPPED: &[&str] = &[
    "accept::accept",
    "conversations::accept",
    "incoming::next",
    "offer::next",
    "outgoing::accepted",
    "outgoing::changed",
    "outgoing::finish",
    "outgoing::offer",
    "outgoing::send",
    "outgoing::verdict",
    "session::closed",
    "session::offer",
    "session::offer_batch",
    "session::opened",
    "session::send_chat",
    "session::send_chats",
    "session::send_message",
    "Detached",
    "Driver",
    "HostedDriver",
    "Receipt",
    "Reconnecting",
];

#[test]
fn every_public_future_is_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/session");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines() {
            if let Some((_, rest)) = line.split_once("pub async fn ") {
                let name = rest.split(['<', '(']).next().unwrap();
                found.insert(format!("{file}::{name}"));
            } else if let Some((_, rest)) = line.split_once(" Future for ") {
                let name = rest.split(['<', ' ']).next().unwrap();
                // What the functions wait with is dropped with them.
                if name != "Wait" {
                    found.insert(name.to_owned());
                }
            }
        }
    }
    let listed: BTreeSet<String> = DROPPED.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(found, listed, "a future without a test here, or a test without its future");
}

#[test]
fn every_async_method_of_a_handle_has_a_twin_that_polls() {
    // These take a stream, and are dropped with it.
    let without = ["accept::accept", "conversations::accept"];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/session");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let names = |start: &str| -> Vec<String> {
            let rest = text.lines().filter_map(|line| line.split_once(start));
            rest.map(|(_, rest)| rest.split(['<', '(']).next().unwrap().to_owned()).collect()
        };
        let mut twins = names("    pub fn poll_");
        for name in names("    pub async fn ") {
            if without.contains(&&*format!("{file}::{name}")) {
                continue;
            }
            // Two types of a file may have methods of the same name.
            let twin = twins.iter().position(|twin| *twin == name);
            assert!(twin.is_some(), "{file}::{name} has no poll_{name}");
            twins.remove(twin.unwrap());
        }
    }
}

/// Most polls after which a future is dropped.
const POLLS: usize = 4;

/// What is dropped in a run, and after how many polls.
#[derive(Clone)]
struct Victim {
    world: World,
    name: &'static str,
    polls: usize,
}

impl Victim {
    /// Waits for a future; if it is the victim, by dropping one after the other.
    async fn wait<T>(&self, name: &str, mut attempt: impl AsyncFnMut() -> T) -> T {
        assert!(DROPPED.contains(&name), "{name}");
        let polls = if name == self.name { self.polls } else { usize::MAX };
        for _ in 0..10_000 {
            if let Some(output) = at_most(polls, attempt()).await {
                return output;
            }
            self.world.sleep(Duration::from_micros(500)).await;
        }
        panic!("{name} never ends when it is dropped after {polls} polls");
    }
}

/// Polls so many times, and drops.
async fn at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

fn message(correlation: u64) -> Message<'static> {
    Message { message_type: 0, is_reply: false, correlation, body: b""[..].into() }
}

async fn say(victim: Victim, session: Session) {
    let world = &victim.world;
    victim.wait("session::opened", async || session.opened().await).await.unwrap();
    let chatting = async {
        let mut receipts = Vec::new();
        for n in 0..10_u32 {
            let chat = Chat::new(n.to_string());
            let sent =
                victim.wait("session::send_chat", async || session.send_chat(&chat).await).await;
            receipts.push(sent.unwrap());
            let message = message(n.into());
            let sent = victim
                .wait("session::send_message", async || session.send_message(&message).await)
                .await;
            receipts.push(sent.unwrap());
        }
        let chats: Vec<Chat<'_>> = (10..20).map(|n| Chat::new(n.to_string())).collect();
        let mut rest = &chats[..];
        let sent =
            victim.wait("session::send_chats", async || session.send_chats(&mut rest).await).await;
        assert!(rest.is_empty());
        receipts.extend(sent.unwrap());
        for mut receipt in receipts {
            assert_eq!(
                victim.wait("Receipt", async || (&mut receipt).await).await,
                Fate::Delivered
            );
        }
    };
    let sending = async {
        for _ in 0..2 {
            let offer = Offer::new("x").size(300_000);
            let offered = victim.wait("session::offer", async || session.offer(&offer).await).await;
            let mut outgoing = offered.unwrap();
            victim.wait("outgoing::accepted", async || outgoing.accepted().await).await.unwrap();
            for _ in 0..30 {
                let chunk = Bytes::from(vec![1; 10_000]);
                let sent =
                    victim.wait("outgoing::send", async || outgoing.send(chunk.clone()).await);
                sent.await.unwrap();
            }
            let seen = outgoing.progress();
            victim.wait("outgoing::changed", async || outgoing.changed(seen).await).await;
            let verdict =
                victim.wait("outgoing::finish", async || outgoing.finish(None).await).await;
            assert_eq!(verdict.unwrap().total(), 300_000);
            world.settle().await;
        }
        let batch = Batch { name: "b".into(), count: 3, bytes: 0, metadata: b""[..].into() };
        let offered =
            victim.wait("session::offer_batch", async || session.offer_batch(&batch).await).await;
        let mut folder = offered.unwrap();
        victim.wait("outgoing::accepted", async || folder.accepted().await).await.unwrap();
        for n in 0..3 {
            let member = victim
                .wait("outgoing::offer", async || {
                    folder.offer(Offer::new(n.to_string()).directory()).await
                })
                .await;
            let mut member = member.unwrap();
            let verdict = victim.wait("outgoing::verdict", async || member.verdict().await).await;
            assert!(verdict.unwrap().is_stored());
        }
        let verdict = victim.wait("outgoing::verdict", async || folder.verdict().await).await;
        assert_eq!(verdict.unwrap().total(), 3);
    };
    join(chatting, sending).await;
    session.close(CloseCode::DONE, "").unwrap();
    let reason = victim.wait("session::closed", async || session.closed().await).await;
    assert_eq!(reason, CloseReason::Local { code: CloseCode::DONE, is_answered: true });
}

async fn hear(victim: Victim, mut events: Events) {
    let (mut chats, mut messages, mut transfers) = (0, 0, Vec::new());
    while let Some(event) = events.next().await {
        // A listener that takes its time, so that lanes fill.
        victim.world.sleep(Duration::from_millis(2)).await;
        match event {
            Event::Chat(chat) => {
                assert_eq!(chat.text, chats.to_string());
                chats += 1;
            }
            Event::Message(message) => {
                assert_eq!(message.correlation, messages);
                messages += 1;
            }
            Event::Offer(offer) => {
                transfers.push(victim.world.spawn(receive(victim.clone(), offer)));
            }
            Event::Batch(batch) => {
                transfers.push(victim.world.spawn(receive_all(victim.clone(), batch)));
            }
            _ => {}
        }
    }
    assert_eq!((chats, messages), (20, 10));
    for transfer in transfers {
        transfer.await.unwrap();
    }
}

async fn receive(victim: Victim, offer: IncomingOffer) {
    let mut incoming = offer.accept().unwrap();
    let mut total = 0;
    while let Some(chunk) =
        victim.wait("incoming::next", async || incoming.next().await).await.unwrap()
    {
        assert_eq!(chunk.offset, total);
        total += chunk.data.len() as u64;
    }
    assert_eq!(total, 300_000);
    incoming.stored("x").unwrap();
}

async fn receive_all(victim: Victim, batch: BatchOffer) {
    let mut folder = batch.accept().unwrap();
    let mut members = 0;
    while let Some((_, member)) =
        victim.wait("offer::next", async || folder.next().await).await.unwrap()
    {
        victim.world.sleep(Duration::from_millis(3)).await;
        member.stored("m").unwrap();
        members += 1;
    }
    assert_eq!(members, 3);
    folder.conclude(&Conclusion::Stored { name: "b" }).unwrap();
}

#[test]
fn t11_h45_whatever_waits_can_be_dropped_and_asked_again() {
    for &name in DROPPED {
        for polls in 1..=POLLS {
            World::run(async |world| {
                // Little room everywhere, so that everything has to wait.
                let config = || Config::builder().queued_items(2).outgoing_transfers(2);
                let configs =
                    (config().build().unwrap(), config().max_transfers(2).build().unwrap());
                let (near, far) = duplex(5_000);
                let (near, far) = world.connect_over(near, far, configs).await;
                let victim = Victim { world: world.clone(), name, polls };
                join(say(victim.clone(), near.session), hear(victim, far.events)).await;
            });
        }
    }
}

/// A driver is dropped after so many polls: all handles learn of it, and nothing hangs.
async fn everybody_learns(session: Session, mut events: Events) {
    let reason = session.closed().await;
    while let Some(event) = events.next().await {
        if let Event::Closed(why) = event {
            assert_eq!(why, reason);
        }
    }
    let receipt = session.send_chat(&Chat::new("late")).await;
    assert!(receipt.is_err());
}

#[test]
fn t11_a_driver_dropped_at_any_poll_aborts() {
    for polls in 1..60 {
        World::run(async |world| {
            let (near, far) = duplex(300);
            let (session, events, driver) = world.client(near, Config::default());
            let driving = world.spawn(at_most(polls, driver));
            let (parameters, timer) = (world.parameters(), world.timer());
            let accepting = world.spawn(async move {
                let accepted = accept(far, Config::default(), parameters, timer).await;
                let Ok((session, mut events, driver)) = accepted else { return };
                let hearing = async {
                    // Until it breaks; then everything is dropped.
                    while let Some(event) = events.next().await {
                        if let Event::Detached(_) = event {
                            break;
                        }
                    }
                    drop((session, events));
                };
                let (outcome, ()) = join(driver, hearing).await;
                drop(outcome);
            });
            let (talker, inner) = (session.clone(), world.clone());
            let _talking = world.spawn(async move {
                loop {
                    let _ = talker.send_chat(&Chat::new("x".repeat(100))).await;
                    if let Ok(mut outgoing) = talker.offer(&Offer::new("x")).await {
                        let _ = outgoing.accepted().await;
                    }
                    inner.sleep(Duration::from_millis(1)).await;
                    if at_most(1, talker.closed()).await.is_some() {
                        return;
                    }
                }
            });
            everybody_learns(session, events).await;
            assert!(driving.await.unwrap().is_none(), "dropped after {polls} polls");
            accepting.await.unwrap();
        });
    }
}

#[test]
fn t11_a_detached_conversation_dropped_at_any_poll_is_aborted() {
    for polls in 1..4 {
        World::run(async |world| {
            let (network, listener) = Network::new(world);
            let _arrivals = listen(world, listener, &Conversations::new(Config::default()));
            let (session, mut events, driver) =
                world.client(network.stream().unwrap(), Config::default());
            let driver = world.spawn(driver);
            assert!(matches!(events.next().await, Some(Event::Open(_))));
            network.cut();
            let Outcome::Detached(detached) = driver.await.unwrap() else { panic!() };
            // Of the three polls the last ones are those that its time-out brings.
            let dropped = world.spawn(at_most(polls, detached));
            everybody_learns(session, events).await;
            dropped.await.unwrap();
        });
    }
}

#[test]
fn t11_hosted_and_reconnecting_drivers_dropped_at_any_poll_abort() {
    for polls in 1..40 {
        for drops_host in [false, true] {
            World::run(async |world| {
                let (network, listener) = Network::new(world);
                let conversations = Conversations::new(Config::default());
                let backoff = Backoff::new([1; 32]).first(Duration::from_millis(5));
                if drops_host {
                    let (session, mut events, driver) =
                        world.client(network.stream().unwrap(), Config::default());
                    let driver = driver.reconnecting(network.connector(), backoff.max_attempts(2));
                    let _driver = world.spawn(driver);
                    let mut listener = listener;
                    let stream = listener.next().await.unwrap();
                    let (parameters, timer) = (world.parameters(), world.timer());
                    let accepted = conversations.accept(stream, parameters, timer).await.unwrap();
                    let Accepted::New(far_session, far_events, driver) = accepted else { panic!() };
                    let _hosting = world.spawn(at_most(polls, driver));
                    cut_soon(world, &network);
                    drop(listener);
                    let _ = (&session, events.next().await);
                    everybody_learns(far_session, far_events).await;
                    assert!(conversations.is_empty());
                } else {
                    let _arrivals = listen(world, listener, &conversations);
                    let (session, events, driver) =
                        world.client(network.stream().unwrap(), Config::default());
                    let driver = driver.reconnecting(network.connector(), backoff);
                    let _driving = world.spawn(at_most(polls, driver));
                    cut_soon(world, &network);
                    everybody_learns(session, events).await;
                }
            });
        }
    }
}

fn cut_soon(world: &World, network: &Network) {
    let (inner, network) = (world.clone(), network.clone());
    world.detach(async move {
        for _ in 0..20 {
            inner.sleep(Duration::from_millis(20)).await;
            network.cut();
        }
    });
}

#[test]
fn t11_accepting_dropped_at_any_poll_touches_no_conversation() {
    for polls in 1..8 {
        for resumes in [false, true] {
            World::run(async |world| {
                let (network, mut listener) = Network::new(world);
                let conversations = Conversations::new(Config::default());
                let (session, mut events, driver) =
                    world.client(network.stream().unwrap(), Config::default());
                let backoff = Backoff::new([1; 32]).first(Duration::from_millis(5));
                let driver = driver.reconnecting(network.connector(), backoff);
                let _driver = world.spawn(driver);
                let mut hosted = None;
                if resumes {
                    let stream = listener.next().await.unwrap();
                    let (parameters, timer) = (world.parameters(), world.timer());
                    let accepted = conversations.accept(stream, parameters, timer).await.unwrap();
                    let Accepted::New(session, events, driver) = accepted else { panic!() };
                    hosted = Some((session, events, world.spawn(driver)));
                    world.settle().await;
                    network.cut();
                }
                let stream = listener.next().await.unwrap();
                let (parameters, timer) = (world.parameters(), world.timer());
                let accepting = conversations.accept(stream, parameters, timer);
                let dropped = at_most(polls, accepting).await.is_none();
                if !resumes {
                    assert!(conversations.is_empty(), "a driver that is dropped is forgotten");
                }
                if dropped {
                    // The client tries again, and gets through.
                    let rest = listen(world, listener, &conversations);
                    let receipt = loop {
                        match session.send_chat(&Chat::new("x")).await {
                            Ok(receipt) => break receipt,
                            Err(error) => assert!(!resumes || error.can_retry(), "{error}"),
                        }
                        if events.next().await.is_none() {
                            return; // a conversation that was never open cannot be resumed
                        }
                    };
                    if let Some((_, far_events, _)) = &mut hosted {
                        loop {
                            match far_events.next().await.unwrap() {
                                Event::Chat(_) => break,
                                Event::Closed(reason) => panic!("{reason} after {polls} polls"),
                                _ => {}
                            }
                        }
                        assert_eq!(receipt.await, Fate::Delivered);
                    }
                    drop(rest);
                }
            });
        }
    }
}

#[test]
fn the_server_side_of_a_handshake_dropped_at_any_poll_drops_its_stream() {
    for polls in 1..6 {
        World::run(async |world| {
            let (near, far) = duplex(7);
            let (session, mut events, driver) = world.client(near, Config::default());
            let driver = world.spawn(driver);
            let (parameters, timer) = (world.parameters(), world.timer());
            let accepting = accept(far, Config::default(), parameters, timer);
            assert!(at_most(polls, accepting).await.is_none());
            while events.next().await.is_some() {}
            session.closed().await;
            assert!(matches!(driver.await.unwrap(), Outcome::Ended(_)));
        });
    }
}

#[test]
fn t11_h45_reconnecting_by_itself_survives_that_waits_are_dropped() {
    // The waits of the handles, while the streams come and go.
    for polls in 1..=POLLS {
        World::run(async |world| {
            let (network, listener) = Network::new(world);
            let conversations = Conversations::new(Config::default());
            let mut arrivals = listen(world, listener, &conversations);
            let backoff = Backoff::new([1; 32]).first(Duration::from_millis(5));
            let (session, _events, _driver) =
                reconnecting(&network, Config::default(), backoff.max_attempts(100)).await;
            let mut hosted = arrivals.next().await.unwrap().unwrap().unwrap();
            cut_soon(world, &network);
            let victim = Victim { world: world.clone(), name: "Receipt", polls };
            for n in 0..50_u32 {
                let line = n.to_string();
                let mut receipt = session.send_chat(&Chat::new(&*line)).await.unwrap();
                loop {
                    if let Event::Chat(chat) = hosted.events.next().await.unwrap() {
                        break assert_eq!(chat.text, line);
                    }
                }
                let fate = victim.wait("Receipt", async || (&mut receipt).await).await;
                assert_eq!(fate, Fate::Delivered);
            }
        });
    }
}
