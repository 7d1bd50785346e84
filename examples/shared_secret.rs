//! Who may connect: each side proves to the other that it has the same secret, or is refused.
//!
//! Teaches: `ask_for_peer` on both sides, as the proof is over the hash that `Event::PeerHello`
//! brings; `authenticate`, `accept_peer` and `refuse_peer`. A stream that is not encrypted can be
//! taken over once that is done; over TLS, give `StreamParameters` the exporter as channel binding, so
//! that nobody in the middle can pass proofs on.

use blake3::Hash;
use duologue::proto::{CloseReason, Config, Connection, StreamParameters};
use duologue::session::{Event, Events, Session, accept, session};
use duologue::testing::duplex;
use duologue::time::{AsyncIoTimer, Timer};
use duologue::wire::{CloseCode, Side};
use futures::StreamExt;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    for (client, server) in [([7; 32], [7; 32]), ([7; 32], [8; 32])] {
        let (client, server) = futures::executor::block_on(meet(&client, &server))?;
        println!("the client: {client}\nthe server: {server}");
    }
    Ok(())
}

/// What each of the two finds out.
async fn meet(client: &[u8; 32], server: &[u8; 32]) -> Result<(String, String), Failure> {
    let (near, far) = duplex(64 << 10); // or any stream
    let client = async {
        let timer = AsyncIoTimer::new();
        let connection = Connection::client(Config::default(), random()?, timer.now());
        let (session, mut events, driver) = session(near, connection, timer);
        let decision = async {
            let decided = decide(&session, &mut events, client, Side::Client).await;
            let _ = session.close(CloseCode::DONE, ""); // nothing more is done here
            decided
        };
        Ok::<_, Failure>(futures::join!(driver.ask_for_peer(), decision).1)
    };
    let server = async {
        let timer = AsyncIoTimer::new();
        let (session, mut events, driver) =
            accept(far, Config::default(), random()?, timer).await?;
        let decision = decide(&session, &mut events, server, Side::Server);
        Ok::<_, Failure>(futures::join!(driver.ask_for_peer(), decision).1)
    };
    let (client, server) = futures::try_join!(client, server)?;
    let show = |end: Result<(), CloseReason>| match end {
        Ok(()) => "open".to_owned(),
        Err(reason) => reason.to_string(),
    };
    Ok((show(client), show(server)))
}

/// Decides on the peer: the conversation is open after that, or has ended.
async fn decide(
    session: &Session,
    events: &mut Events,
    secret: &[u8; 32],
    side: Side,
) -> Result<(), CloseReason> {
    let mut hash = [0; 32];
    while let Some(event) = events.next().await {
        // What comes too late fails: the next event tells why.
        let _ = match event {
            // A conversation goes on: both have the secret that it was given when it was open, and
            // check that by themselves. A server's `HostedDriver` does not even ask.
            Event::PeerHello { handshake_hash, is_resuming: true } => {
                session.accept_peer(&handshake_hash)
            }
            Event::PeerHello { handshake_hash, .. } => {
                hash = handshake_hash;
                session.authenticate(&hash, proof(secret, &hash, side).as_bytes())
            }
            Event::Authentication(bytes) => {
                // Hashes are compared in constant time.
                let is_right = Hash::from_slice(&bytes)
                    .is_ok_and(|theirs| theirs == proof(secret, &hash, side.opposite()));
                match is_right {
                    true => session.accept_peer(&hash),
                    false => session.refuse_peer(&hash, CloseCode::REFUSED, "another secret"),
                }
            }
            Event::Open(_) => return Ok(()),
            _ => Ok(()),
        };
    }
    Err(session.closed().await)
}

/// Shows the secret for this handshake; each side another way, so that none can send back what it got.
fn proof(secret: &[u8; 32], handshake_hash: &[u8; 32], side: Side) -> Hash {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(handshake_hash).update(if side == Side::Client { b"C" } else { b"S" });
    hasher.finalize()
}

/// 32 random bytes, fresh ones for each stream.
fn random() -> Result<StreamParameters<'static>, getrandom::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(StreamParameters::new(seed))
}
