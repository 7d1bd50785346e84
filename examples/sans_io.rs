//! A chat both ways and a file of 4 MiB with the machine alone: no runtime, a thread for each peer.
//!
//! Teaches: `run`, the loop that drives a `proto::Connection` over a blocking stream; what the
//! application does with the events is in `support/peer.rs`. Two such loops can dead-lock: when both
//! write more than the pipe between them holds, neither reads. Here only one sends much. The driver
//! of the next release reads and writes at the same time and cannot end like that.

#[path = "support/peer.rs"]
mod peer;

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use duologue::proto::{Acceptor, CloseReason, Config, Connection, StreamParameters};
use peer::{Failure, Peer, now};

fn main() -> Result<(), Failure> {
    let (mut source, target) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut content = vec![0; 4 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    source.write_all(&content)?;

    let clock = Instant::now();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut acceptor = Acceptor::new(Config::default(), random()?, now(clock));
        while acceptor.request().is_none() {
            // A byte at a time, as what follows the HELLO is for the machine.
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            acceptor.handle_input(now(clock), &byte)?;
        }
        run(Peer::new(acceptor.accept(now(clock))?, target, clock), stream)
    });
    let machine = Connection::client(Config::default(), random()?, now(clock));
    let client = run(Peer::new(machine, source, clock), TcpStream::connect(address)?);
    server.join().map_err(|_| "the server panicked")?.and(client)
}

/// Each stream needs 32 random bytes of its own.
fn random() -> Result<StreamParameters<'static>, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(StreamParameters::new(seed))
}

fn run(mut peer: Peer, mut stream: TcpStream) -> Result<(), Failure> {
    let mut buffer = vec![0; 64 << 10];
    let mut is_over = false;
    stream.set_nodelay(true)?;
    while !is_over {
        // What there is to tell and to send, until there is neither;
        peer.handle_events()?;
        let transmit = peer.machine.poll_transmit(peer.now());
        let slices: Vec<_> = transmit.into_iter().take(64).map(IoSlice::new).collect();
        if !slices.is_empty() {
            let written = stream.write_vectored(&slices)?;
            peer.machine.advance_transmit(written);
            continue;
        }
        if peer.machine.is_write_closed() {
            let _ = stream.shutdown(Shutdown::Write);
        }
        // then bytes that come, or the next deadline; after the last one, the end of the stream.
        let deadline = peer.machine.poll_timeout();
        let wait = deadline.map(|deadline| deadline.saturating_duration_since(peer.now()));
        let wait = wait.unwrap_or(Duration::from_secs(5)).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(wait))?;
        match stream.read(&mut buffer) {
            Ok(0) => is_over = true,
            Ok(len) => {
                let mut input = &buffer[..len];
                // An error is told by an event, too; after it input is thrown away.
                while let Ok((used @ 1.., event)) = peer.machine.handle_input(peer.now(), input) {
                    input = &input[used..];
                    event.map_or(Ok(()), |event| peer.handle(event))?;
                    peer.handle_events()?;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                peer.machine.handle_timeout(peer.now());
                is_over = deadline.is_none();
            }
            Err(error) => return Err(error.into()),
        }
    }
    peer.machine.handle_eof(peer.now());
    peer.handle_events()?;
    match peer.closed {
        Some(CloseReason::Local { is_answered: true, .. } | CloseReason::Peer(_)) => Ok(()),
        other => Err(format!("the conversation did not end well: {other:?}").into()),
    }
}
