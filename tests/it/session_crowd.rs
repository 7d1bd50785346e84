//! H40: a listener with ten thousand clients that say nothing, and some that are honest.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use duologue::proto::{Config, Connection, Receipt as Fate, StreamParameters};
use duologue::session::{Accepted, Conversations, Event, Events, Session, accept, session};
use duologue::testing::{Duplex, duplex};
use duologue::time::{AsyncIoTimer, Timer};
use duologue::wire::{Chat, CloseCode, PREFACE};
use futures::StreamExt;
use futures::future::join;
use smol::net::{TcpListener, TcpStream};

use super::session_util::World;
use super::support::{small_or_large, write_now};

const SILENT: usize = 10_000;
const HONEST: usize = 100;
/// What a client that says nothing may cost: the stream's two buffers, its task and its handshake.
const EACH: u64 = 8 << 10;

/// Talks as a client, and closes.
async fn talk(session: Session, mut events: Events) {
    assert!(matches!(events.next().await, Some(Event::Open(_))));
    let receipt = session.send_chat(&Chat::new("let me in")).await.unwrap();
    assert_eq!(receipt.await, Fate::Delivered);
    session.close(CloseCode::DONE, "").unwrap();
    while events.next().await.is_some() {}
}

async fn listen(mut events: Events) -> usize {
    let mut lines = 0;
    while let Some(event) = events.next().await {
        lines += usize::from(matches!(event, Event::Chat(_)));
    }
    lines
}

/// Clients that say nothing, or only the beginning of something, and how many of them were sent
/// away.
fn be_silent(
    world: &World,
    conversations: &Conversations<Duplex>,
) -> (Vec<Duplex>, Rc<Cell<usize>>) {
    let ended = Rc::new(Cell::new(0));
    let clients = (0..SILENT).map(|n| {
        let (mut near, far) = duplex(128);
        write_now(&mut near, &PREFACE[..n % (PREFACE.len() + 1)]);
        let (conversations, ended) = (conversations.clone(), Rc::clone(&ended));
        let (parameters, timer) = (world.parameters(), world.timer());
        world.detach(async move {
            let error = conversations.accept(far, parameters, timer).await.unwrap_err();
            assert!(error.can_retry(), "{error}");
            ended.set(ended.get() + 1);
        });
        near
    });
    (clients.collect(), ended)
}

#[test]
fn h40_ten_thousand_silent_clients_keep_no_honest_one_out() {
    let counted = allocation_counter::measure(|| {
        World::run(async |world| {
            let conversations = Conversations::new(Config::default());
            let (silent, ended) = be_silent(world, &conversations);
            let mut honest = Vec::new();
            for _ in 0..HONEST {
                let (near, far) = duplex(2048);
                let (session, events, driver) = world.client(near, Config::default());
                drop(world.spawn(driver));
                honest.push(world.spawn(talk(session, events)));
                let (conversations, inner) = (conversations.clone(), world.clone());
                let (parameters, timer) = (world.parameters(), world.timer());
                honest.push(world.spawn(async move {
                    let accepted = conversations.accept(far, parameters, timer).await.unwrap();
                    let Accepted::New(session, events, driver) = accepted else { panic!() };
                    drop((session, inner.spawn(driver)));
                    assert_eq!(listen(events).await, 1);
                }));
            }
            for honest in honest {
                honest.await.unwrap();
            }
            let passed = world.clock.now();
            assert!(passed.as_micros() < 1_000_000, "{passed:?}");
            assert_eq!(ended.get(), 0, "they are all still there");
            // Each has ten seconds, and one more to be told.
            world.sleep(Duration::from_secs(11)).await;
            assert_eq!(ended.get(), SILENT);
            assert!(conversations.is_empty());
            assert!(silent.iter().all(|client| client.readable() < 100));
        });
    });
    let most = SILENT as u64 * EACH + HONEST as u64 * (64 << 10);
    println!("{} bytes for {SILENT} silent clients and {HONEST} others", counted.bytes_max);
    assert!(counted.bytes_max < most, "{} bytes", counted.bytes_max);
    assert!(counted.bytes_current.unsigned_abs() < 100_000, "{counted:?}");
}

fn parameters() -> StreamParameters<'static> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    StreamParameters::new(seed)
}

#[test]
fn h40_silent_sockets_keep_no_honest_one_out() {
    let executor = Rc::new(smol::LocalExecutor::new());
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, tasks) = (Rc::new(Cell::new(0)), Rc::clone(&executor));
        let count = Rc::clone(&accepted);
        let serving = executor.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let count = Rc::clone(&count);
                let serve = async move {
                    let (config, timer) = (Config::default(), AsyncIoTimer::new());
                    let accepted = accept(stream, config, parameters(), timer).await;
                    let Ok((session, events, driver)) = accepted else { return };
                    count.set(count.get() + 1);
                    drop(session);
                    assert_eq!(join(driver, listen(events)).await.1, 1);
                };
                tasks.spawn(serve).detach();
            }
        });
        let mut silent = Vec::new();
        for _ in 0..small_or_large(200, 4000) {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        for _ in 0..10 {
            let stream = TcpStream::connect(address).await.unwrap();
            let timer = AsyncIoTimer::new();
            let connection = Connection::client(Config::default(), parameters(), timer.now());
            let (session, events, driver) = session(stream, connection, timer);
            join(driver, talk(session, events)).await;
        }
        assert_eq!(accepted.get(), 10);
        drop((serving, silent));
    }));
}
