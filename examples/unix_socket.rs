//! A conversation over a Unix socket, where the system vouches for the peer.
//!
//! Teaches: any stream will do, an application that decides on its peer itself
//! (`Driver::ask_for_peer`), application messages with replies, and a file as an `AsyncWrite` and an
//! `AsyncRead`.

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    smol::block_on(unix::run())
}

#[cfg(not(unix))]
fn main() {
    println!("There are no Unix sockets here.");
}

#[cfg(unix)]
mod unix {
    use std::error::Error;

    use duologue::proto::{Config, Connection, StreamParameters};
    use duologue::session::{Event, accept, session};
    use duologue::time::{AsyncIoTimer, Timer};
    use duologue::wire::{CloseCode, Message, Offer};
    use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
    use smol::net::unix::{UnixListener, UnixStream};

    /// What a message is about, in this program's numbering.
    const UPPER_CASE: u16 = 1;

    pub(super) async fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
        let folder = std::env::temp_dir().join(format!("duologue-unix-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let path = folder.join("socket");
        let listener = UnixListener::bind(&path)?;
        let both =
            futures::future::try_join(serve(&listener), call(UnixStream::connect(&path).await?));
        let result = both.await;
        std::fs::remove_dir_all(&folder)?;
        let (received, ()) = result?;
        println!("{} bytes arrived as they were sent", received.len());
        Ok(())
    }

    /// Answers messages, and takes one file.
    async fn serve(listener: &UnixListener) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let (stream, _) = listener.accept().await?;
        let stream_parameters = StreamParameters::new(random()?);
        let accepted = accept(stream, Config::default(), stream_parameters, AsyncIoTimer::new());
        let (session, mut events, driver) = accepted.await?;
        let driver = smol::spawn(driver.ask_for_peer());
        let mut received = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                // Here a program would ask the system who is at the other end (SO_PEERCRED).
                Event::PeerHello { handshake_hash, .. } => session.accept_peer(&handshake_hash)?,
                Event::Message(message) => {
                    let body = String::from_utf8_lossy(&message.body).to_uppercase();
                    let reply =
                        Message { is_reply: true, body: body.into_bytes().into(), ..message };
                    drop(session.send_message(&reply).await?);
                }
                Event::Offer(offer) => {
                    let mut incoming = offer.accept()?;
                    incoming.read_to_end(&mut received).await?;
                    incoming.stored("memory")?;
                }
                _ => {}
            }
        }
        driver.await;
        Ok(received)
    }

    /// Asks something, and sends a file.
    async fn call(stream: UnixStream) -> Result<(), Box<dyn Error + Send + Sync>> {
        let timer = AsyncIoTimer::new();
        let stream_parameters = StreamParameters::new(random()?);
        let connection = Connection::client(Config::default(), stream_parameters, timer.now());
        let (session, mut events, driver) = session(stream, connection, timer);
        let driver = smol::spawn(driver);
        while !session.is_open() {
            events.next().await.ok_or("the conversation has ended")?;
        }
        let body = b"how do you do"[..].into();
        let question = Message { message_type: UPPER_CASE, is_reply: false, correlation: 7, body };
        drop(session.send_message(&question).await?);
        while let Some(event) = events.next().await {
            if let Event::Message(answer) = event {
                println!("{}", String::from_utf8_lossy(&answer.body));
                break;
            }
        }
        let mut outgoing = session.offer(&Offer::new("numbers")).await?;
        outgoing.accepted().await?;
        for number in 0..1_u32 << 18 {
            outgoing.write_all(&number.to_be_bytes()).await?;
        }
        // Closing waits until the peer has stored it.
        outgoing.close().await?;
        session.close(CloseCode::DONE, "")?;
        driver.await;
        Ok(())
    }

    fn random() -> Result<[u8; 32], getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(seed)
    }
}
