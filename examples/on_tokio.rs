//! A server and a client on tokio, over TCP: lines of chat, and a file beside them.
//!
//! Teaches: an accept loop that survives what fails, `Conversations` for clients that come back, a
//! client that makes its next stream by itself, and files that hold up nobody's chat. tokio needs
//! `TokioIo` around its streams, and `TokioTimer` for its clock.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use duologue::fs::{Inbox, receive, send};
use duologue::io::{TokioIo, TransportError};
use duologue::proto::{Config, Connection, Receipt, StreamParameters};
use duologue::session::{Accepted, Backoff, Conversations, Event, Events, session};
use duologue::time::{Timer, TokioTimer};
use duologue::wire::{Chat, CloseCode};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Streams at a time of which it is not known yet what they want.
const UNDECIDED: usize = 64;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let (file, inbox) = (folder.path().join("notes.txt"), folder.path().join("inbox"));
    std::fs::write(&file, "all of it\n".repeat(100_000))?;
    std::fs::create_dir(&inbox)?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(serve(listener, Inbox::open(&inbox)?));
    call(address, &file).await?;
    server.abort();
    let is_same = std::fs::read(inbox.join("notes.txt"))? == std::fs::read(&file)?;
    println!("{}", if is_same { "the file arrived as it was sent" } else { "the file differs" });
    Ok(())
}

/// A task for each stream that comes.
async fn serve(listener: TcpListener, inbox: Inbox) {
    let conversations = Conversations::new(Config::default());
    let places = Arc::new(Semaphore::new(UNDECIDED));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (conversations, inbox) = (conversations.clone(), inbox.clone());
                tokio::spawn(async move {
                    let accepted = accept(&conversations, stream).await;
                    drop(place);
                    match accepted {
                        Ok(Accepted::New(_session, events, driver)) => {
                            futures::join!(driver, listen(events, &inbox));
                        }
                        Ok(Accepted::Resumed(_)) => {} // its driver goes on
                        Err(error) => eprintln!("refused: {error}"),
                    }
                });
            }
            // One client's trouble, or no descriptors left for now: it is no reason to end.
            Err(error) => {
                eprintln!("not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

type Io = TokioIo<TcpStream>;

async fn accept(
    conversations: &Conversations<Io>,
    stream: TcpStream,
) -> Result<Accepted<Io, TokioTimer>, Failure> {
    stream.set_nodelay(true)?;
    let parameters = StreamParameters::new(random()?);
    Ok(conversations.accept(TokioIo::new(stream), parameters, TokioTimer::new()).await?)
}

/// Takes what the peer says and offers, until the conversation has ended.
async fn listen(mut events: Events, inbox: &Inbox) {
    let mut files = FuturesUnordered::new();
    loop {
        futures::select! {
            event = events.select_next_some() => match event {
                Event::Chat(chat) => println!("heard {:?}", chat.text),
                // Nobody has said who this is, so nothing goes on after a restart.
                Event::Offer(offer) => files.push(receive(offer, inbox, None, |_| ())),
                _ => {}
            },
            received = files.select_next_some() => match received {
                Ok(received) => println!("stored {}, {} bytes", received.path, received.bytes),
                Err(error) => eprintln!("not stored: {error}"),
            },
            complete => return,
        }
    }
}

/// Says something and sends a file, over as many streams as that takes.
async fn call(address: std::net::SocketAddr, file: &Path) -> Result<(), Failure> {
    let connect = move || async move {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok::<_, TransportError>(TokioIo::new(stream))
    };
    let (timer, parameters) = (TokioTimer::new(), StreamParameters::new(random()?));
    let connection = Connection::client(Config::default(), parameters, timer.now());
    let (session, _events, driver) = session(connect().await?, connection, timer);
    let driver = tokio::spawn(driver.reconnecting(connect, Backoff::new(random()?)));
    session.opened().await?;
    let talk = async {
        let receipt = session.send_chat(&Chat::new("Is anybody there?")).await?;
        Ok::<_, Failure>(receipt.await)
    };
    let (told, sent) = futures::join!(talk, send(&session, file, |_| ()));
    session.close(CloseCode::DONE, "")?;
    let ended = driver.await?;
    assert_eq!(told?, Receipt::Delivered);
    println!("sent {} bytes; {}", sent?.bytes, ended.reason);
    Ok(())
}

fn random() -> Result<[u8; 32], getrandom::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(seed)
}
