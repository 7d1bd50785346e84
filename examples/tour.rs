//! A conversation with two files under way, a cut in the middle, and what became of it all.
//!
//! Teaches: what the crate does, in one command: `cargo run --release --example tour`. A listener's
//! `Conversations`, a client that reconnects, `fs::send` and `fs::receive` both ways, chat that waits
//! for none of it, verdicts and digests.

mod support;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use duologue::fs::{Inbox, Sent, receive, send};
use duologue::io::TransportError;
use duologue::net::{Listener, Stream};
use duologue::proto::{Config, Connection, Receipt, StreamParameters};
use duologue::session::{Accepted, Backoff, Conversations, Event, Events, Session, session};
use duologue::time::{AsyncIoTimer, Timer};
use duologue::wire::{Chat, CloseCode, Digest};
use futures::{FutureExt, StreamExt};
use smol::net::TcpStream;
use support::programs::{Failure, random};

/// 64 MiB, in units of 8 bytes.
const WORDS: u64 = 8 << 20;
/// So that there is time for a conversation: each file takes two seconds, and a bit for the cut.
const RATE: u64 = 32 << 20;
/// When the cable is cut.
const CUT: Duration = Duration::from_millis(900);
/// Lines that Ada says, also while there is no cable.
const LINES: usize = 300;
/// Between two lines of the conversation.
const PAUSE: Duration = Duration::from_millis(10);

/// When each line was said and heard, by its number.
#[derive(Default)]
struct Minutes {
    said: Vec<Instant>,
    heard: Vec<(usize, Instant)>,
}

/// One of the two: its folders.
#[derive(Clone)]
struct Peer {
    name: &'static str,
    source: PathBuf,
    inbox: Inbox,
    minutes: Arc<Mutex<Minutes>>,
}

fn main() -> Result<(), Failure> {
    let started = Instant::now();
    let folder = std::env::temp_dir().join(format!("duologue-tour-{}", std::process::id()));
    let result = smol::block_on(tour(&folder));
    std::fs::remove_dir_all(&folder)?;
    result?;
    println!("All done in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

async fn tour(folder: &Path) -> Result<(), Failure> {
    let minutes = Arc::new(Mutex::new(Minutes::default()));
    let [ada, bob] =
        [("ada", 1), ("bob", 2)].map(|(name, seed)| peer(folder, name, seed, &minutes));
    let (ada, bob) = (ada?, bob?);

    println!("1. Ada calls Bob, and each sends the other 64 MiB at 32 MiB/s while they talk");
    let mut listener = Listener::bind(&"127.0.0.1:0".parse()?).await?;
    let address = listener.local_address().to_string();
    let conversations = Conversations::<Stream>::new(Config::default());
    let serving = {
        let bob = bob.clone();
        async move {
            loop {
                let stream = listener.accept().await?;
                let stream_seed = random()?;
                let accepted =
                    conversations.accept(stream, StreamParameters::new(stream_seed), timer());
                match accepted.await {
                    Ok(Accepted::New(session, events, driver)) => {
                        smol::spawn(driver).detach();
                        smol::spawn(converse(bob.clone(), session, events)).detach();
                    }
                    Ok(Accepted::Resumed(_)) => println!("   Bob's driver has the new stream"),
                    Err(error) => println!("   not accepted: {error}"),
                }
            }
            #[expect(unreachable_code, reason = "it says what the type is")]
            Ok::<(), Failure>(())
        }
    };
    let serving = smol::spawn(serving);

    // The cable, to be cut.
    let cable: Arc<Mutex<Option<TcpStream>>> = Arc::default();
    let plug = {
        let cable = Arc::clone(&cable);
        move || {
            let (cable, address) = (Arc::clone(&cable), address.clone());
            async move {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                *cable.lock().unwrap() = Some(stream.clone());
                Ok::<_, TransportError>(stream)
            }
            .boxed()
        }
    };
    let stream = plug().await?;
    let parameters = random()?;
    let timer = timer();
    let parameters = StreamParameters::new(parameters);
    let connection = Connection::client(Config::default(), parameters, timer.now());
    let (handle, events, driver) = session(stream, connection, timer);
    let driver = smol::spawn(driver.reconnecting(plug, Backoff::new(random()?)));
    let cutting = smol::spawn(async move {
        smol::Timer::after(CUT).await;
        println!("   -- the cable is cut --");
        if let Some(stream) = &*cable.lock().unwrap() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    });

    let sent = converse(ada.clone(), handle.clone(), events).await?;
    cutting.await;
    println!("2. What became of it");
    report(&minutes, &handle)?;
    compare(&ada, &bob, &sent).await?;

    println!("3. As fast as it goes");
    full_speed(&handle, &ada).await?;
    handle.close(CloseCode::DONE, "thank you")?;
    println!("   {}", driver.await.reason);
    drop(serving.cancel().await);
    Ok(())
}

fn timer() -> AsyncIoTimer {
    AsyncIoTimer::new()
}

fn peer(
    folder: &Path,
    name: &'static str,
    seed: u64,
    minutes: &Arc<Mutex<Minutes>>,
) -> Result<Peer, Failure> {
    let (source, inbox) = (folder.join(name), folder.join(format!("{name}'s inbox")));
    std::fs::create_dir_all(&source)?;
    std::fs::create_dir_all(&inbox)?;
    let source = source.join(format!("from {name}.bin"));
    let content: Vec<u8> = (0..WORDS)
        .flat_map(|word| (word + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
        .collect();
    std::fs::write(&source, content)?;
    let inbox = Inbox::open(inbox)?;
    Ok(Peer { name, source, inbox, minutes: Arc::clone(minutes) })
}

/// What each of the two does: sends its file, receives the other's, talks and listens.
async fn converse(peer: Peer, session: Session, mut events: Events) -> Result<Sent, Failure> {
    let listening = {
        let peer = peer.clone();
        async move {
            while let Some(event) = events.next().await {
                hear(&peer, event);
            }
        }
    };
    smol::spawn(listening).detach();
    while !session.is_open() {
        smol::Timer::after(Duration::from_millis(1)).await;
    }
    session.set_rate_limit(Some(RATE));
    let sending = send(&session, &peer.source, |_| ());
    if peer.name == "bob" {
        return Ok(sending.await?);
    }
    let talking = async {
        let mut receipts = Vec::new();
        loop {
            let number = {
                let mut minutes = peer.minutes.lock().unwrap();
                minutes.said.push(Instant::now());
                minutes.said.len() - 1
            };
            receipts.push(session.send_chat(&Chat::new(number.to_string())).await?);
            smol::Timer::after(PAUSE).await;
            if receipts.len() == LINES {
                break;
            }
        }
        for receipt in receipts {
            assert_eq!(receipt.await, Receipt::Delivered);
        }
        Ok::<_, Failure>(())
    };
    let (sent, talked) = futures::join!(sending, talking);
    talked?;
    Ok(sent?)
}

fn hear(peer: &Peer, event: Event) {
    match event {
        Event::Chat(chat) => {
            let number = chat.text.parse().unwrap_or(usize::MAX);
            peer.minutes.lock().unwrap().heard.push((number, Instant::now()));
        }
        Event::Offer(offer) => {
            let (name, inbox) = (peer.name, peer.inbox.clone());
            let receiving = async move {
                match receive(offer, &inbox, Some(b"the other"), |_| ()).await {
                    Ok(file) => {
                        println!("   {name} stored {:?}, {} bytes", file.path.as_str(), file.bytes)
                    }
                    Err(error) => println!("   {name} could not store it: {error}"),
                }
            };
            smol::spawn(receiving).detach();
        }
        Event::Open(opening) => println!("   {}: open ({opening:?})", peer.name),
        Event::Detached(reason) => println!("   {}: no stream ({reason:?})", peer.name),
        Event::Attempt { number, wait, .. } => {
            println!("   {}: attempt {number} in {} ms", peer.name, wait.as_millis());
        }
        _ => {}
    }
}

/// The conversation: every line once and in order, and how long each was under way.
fn report(minutes: &Mutex<Minutes>, session: &Session) -> Result<(), Failure> {
    let minutes = minutes.lock().unwrap();
    if !minutes.heard.iter().map(|(number, _)| *number).eq(0..minutes.said.len()) {
        return Err("lines were lost, came twice, or out of order".into());
    }
    let mut delays: Vec<Duration> = minutes
        .heard
        .iter()
        .map(|(number, heard)| heard.duration_since(minutes.said[*number]))
        .collect();
    delays.sort();
    let at = |part: f64| delays[((delays.len() - 1) as f64 * part) as usize];
    println!(
        "   {} lines, each heard once, in order; under way: median {:?}, 90 of 100 within {:?}",
        delays.len(),
        at(0.5),
        at(0.9),
    );
    println!("   (the slowest, {:?}, waited for another cable)", at(1.0));
    let statistics = session.statistics();
    println!(
        "   {} streams; {} bytes of messages were sent once more; round trip {:?}",
        statistics.streams,
        statistics.retransmitted_bytes,
        statistics.round_trip.unwrap_or_default(),
    );
    Ok(())
}

async fn compare(ada: &Peer, bob: &Peer, sent: &Sent) -> Result<(), Failure> {
    let Digest::Blake3(digest) = sent.digest else { return Err("another digest".into()) };
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("   Ada's file is stored as {:?}, BLAKE3 {hex}", sent.verdict.text());
    let folder = ada.source.parent().and_then(Path::parent).ok_or("no folder")?;
    for (from, to) in [(ada, bob), (bob, ada)] {
        let name = from.source.file_name().ok_or("no name")?;
        let there = folder.join(format!("{}'s inbox", to.name)).join(name);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !there.exists() && Instant::now() < deadline {
            smol::Timer::after(Duration::from_millis(10)).await;
        }
        if std::fs::read(&from.source)? != std::fs::read(there)? {
            return Err("a file arrived damaged".into());
        }
        println!("   {}'s file, compared byte by byte: equal", from.name);
    }
    Ok(())
}

async fn full_speed(session: &Session, ada: &Peer) -> Result<(), Failure> {
    session.set_rate_limit(None);
    let started = Instant::now();
    let sent = send(session, &ada.source, |_| ()).await?;
    let seconds = started.elapsed().as_secs_f64();
    let rate = sent.bytes as f64 / seconds / f64::from(1 << 20);
    println!(
        "   {} MiB from disk to disk, hashed at both ends and synchronised: {rate:.0} MiB/s",
        sent.bytes >> 20
    );
    Ok(())
}
