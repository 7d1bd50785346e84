//! One scenario, generic over the stream and the executor: two files each way at once with chat
//! between them, one of them cancelled, verdicts, and a close.

use bytes::Bytes;
use duologue::io::TokioIo;
use duologue::proto::{CloseReason, Config, Connection, Receipt as Fate, StreamParameters};
use duologue::session::{Driver, Event, Events, Outcome, Session, TransferError, accept, session};
use duologue::testing::duplex;
use duologue::time::{AsyncIoTimer, Timer, TokioTimer};
use duologue::wire::{Chat, CloseCode, Message, Offer, TransferCode};
use futures::StreamExt;
use futures::channel::oneshot;
use futures::future::{join, join3};
use futures::io::{AsyncRead, AsyncWrite};
use futures::stream::FuturesUnordered;

use super::session_util::{content, read_all, send_all};

const LEN: usize = 700_000;
const LINES: usize = 40;

/// Receives whatever comes: chat, the file, and the one that is given up.
async fn hear(mut events: Events, done: oneshot::Sender<()>) -> CloseReason {
    let (mut lines, mut endings, mut done) = (0, 0, Some(done));
    let mut files = FuturesUnordered::new();
    loop {
        let event = futures::select_biased! {
            event = events.next() => event,
            ending = files.select_next_some() => {
                let () = ending;
                endings += 1;
                continue;
            }
        };
        match event {
            Some(Event::Chat(chat)) => {
                assert_eq!(chat.text, format!("line {lines}"));
                lines += 1;
            }
            Some(Event::Offer(offer)) => files.push(async move {
                let is_whole = offer.offer().name == "whole";
                let mut incoming = offer.accept().unwrap();
                match read_all(&mut incoming).await {
                    Ok(received) => {
                        assert!(is_whole && received == content(LEN));
                        incoming.stored("whole").unwrap();
                    }
                    Err(TransferError::CancelAsked { code, .. }) => {
                        assert!(!is_whole);
                        incoming.failed(code, "").unwrap();
                    }
                    Err(error) => panic!("{error}"),
                }
            }),
            Some(Event::Closed(reason)) => {
                assert_eq!((lines, endings), (LINES, 2));
                return reason;
            }
            Some(Event::Message(_)) => done.take().unwrap().send(()).unwrap(),
            Some(Event::Open(_) | Event::Goodbye { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Sends chat and two files, one of which it gives up.
async fn say(session: &Session) {
    let chatting = async {
        let mut receipts = Vec::new();
        for n in 0..LINES {
            let line = Chat::new(format!("line {n}"));
            receipts.push(session.send_chat(&line).await.unwrap());
        }
        for receipt in receipts {
            assert_eq!(receipt.await, Fate::Delivered);
        }
    };
    let sending = async {
        let offer = Offer::new("whole").size(LEN as u64);
        let mut outgoing = session.offer(&offer).await.unwrap();
        let sent = send_all(&mut outgoing, &Bytes::from(content(LEN)), 50_000).await;
        assert_eq!(sent, Ok("whole".into()));
    };
    let cancelling = async {
        let mut outgoing = session.offer(&Offer::new("given up")).await.unwrap();
        outgoing.accepted().await.unwrap();
        outgoing.send(Bytes::from(content(100_000))).await.unwrap();
        outgoing.cancel(TransferCode::SOURCE_CHANGED, "").unwrap();
        let Err(TransferError::NotStored(verdict)) = outgoing.verdict().await else { panic!() };
        assert_eq!(verdict.code(), TransferCode::SOURCE_CHANGED);
    };
    join3(chatting, sending, cancelling).await;
}

/// Both sides say what they have to say; the client closes once the server has, too.
async fn talk(session: Session, mut events: Events, is_client: bool) -> CloseReason {
    while !session.is_open() {
        assert!(matches!(events.next().await, Some(Event::Open(_))));
    }
    let (sender, both_done) = oneshot::channel();
    let talking = async {
        say(&session).await;
        let done =
            Message { message_type: 1, is_reply: false, correlation: 0, body: b""[..].into() };
        assert_eq!(session.send_message(&done).await.unwrap().await, Fate::Delivered);
        both_done.await.unwrap();
        if is_client {
            session.close(CloseCode::DONE, "").unwrap();
        }
    };
    join(hear(events, sender), talking).await.0
}

async fn drive_and_talk<IO, T>(parts: (Session, Events, Driver<IO, T>), is_client: bool)
where
    IO: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    let (session, events, driver) = parts;
    let (outcome, heard) = join(driver, talk(session, events, is_client)).await;
    let Outcome::Ended(ended) = outcome else { panic!("{outcome:?}") };
    assert_eq!(ended.reason, heard);
    let code = CloseCode::DONE;
    let local = CloseReason::Local { code, is_answered: true };
    assert_eq!(heard, if is_client { local } else { CloseReason::Peer(code) });
}

async fn connecting_side<IO, T>(io: IO, timer: T)
where
    IO: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    let stream = StreamParameters::new([1; 32]);
    let connection = Connection::client(Config::default(), stream, timer.now());
    drive_and_talk(session(io, connection, timer), true).await;
}

async fn accepting_side<IO, T>(io: IO, timer: T)
where
    IO: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    let stream = StreamParameters::new([2; 32]);
    let accepted = accept(io, Config::default(), stream, timer).await;
    drive_and_talk(accepted.unwrap(), false).await;
}

async fn both<A, B, T>(near: A, far: B, timer: fn() -> T)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    join(connecting_side(near, timer()), accepting_side(far, timer())).await;
}

#[test]
fn in_memory_under_the_futures_executor() {
    let (near, far) = duplex(10_000);
    futures::executor::block_on(both(near, far, AsyncIoTimer::new));
}

#[test]
fn over_tcp_v4_and_v6_on_smol() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        smol::block_on(async {
            let listener = smol::net::TcpListener::bind(address).await.unwrap();
            let near = smol::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            both(near, listener.accept().await.unwrap().0, AsyncIoTimer::new).await;
        });
    }
}

#[cfg(unix)]
#[test]
fn over_a_unix_socket_on_smol() {
    smol::block_on(async {
        let (near, far) = smol::net::unix::UnixStream::pair().unwrap();
        both(near, far, AsyncIoTimer::new).await;
    });
}

async fn tokio_pair() -> (TokioIo<tokio::net::TcpStream>, TokioIo<tokio::net::TcpStream>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (TokioIo::new(near), TokioIo::new(listener.accept().await.unwrap().0))
}

#[test]
fn over_tcp_on_tokio_in_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (near, far) = tokio_pair().await;
        both(near, far, TokioTimer::new).await;
    });
}

#[test]
fn over_tcp_on_tokio_with_each_driver_a_task() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (near, far) = tokio_pair().await;
        let far = tokio::spawn(accepting_side(far, TokioTimer::new()));
        let timer = TokioTimer::new();
        let stream = StreamParameters::new([1; 32]);
        let connection = Connection::client(Config::default(), stream, timer.now());
        let (session, events, driver) = session(near, connection, timer);
        // The driver is a task of its own, and so is the application.
        let driver = tokio::spawn(driver);
        let talking = tokio::spawn(talk(session, events, true));
        talking.await.unwrap();
        assert!(matches!(driver.await.unwrap(), Outcome::Ended(_)));
        far.await.unwrap();
    });
}

#[test]
fn over_tcp_on_plain_threads_one_for_each_driver() {
    use futures::executor::block_on;
    block_on(async {
        let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = smol::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let far = listener.accept().await.unwrap().0;
        let far = std::thread::spawn(|| block_on(accepting_side(far, AsyncIoTimer::new())));
        let timer = AsyncIoTimer::new();
        let stream = StreamParameters::new([1; 32]);
        let connection = Connection::client(Config::default(), stream, timer.now());
        let (session, events, driver) = session(near, connection, timer);
        let driver = std::thread::spawn(|| block_on(driver));
        // A third thread for the application.
        talk(session, events, true).await;
        assert!(matches!(driver.join().unwrap(), Outcome::Ended(_)));
        far.join().unwrap();
    });
}
