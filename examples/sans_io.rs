//! A chat both ways and a file of 4 MiB with the machine alone: no runtime, a thread for each peer.
//!
//! Teaches: `run`, the loop that drives a `proto::Connection` over a blocking stream; what the
//! application does with the events is in `support/peer.rs`. Deadlines are not kept while it writes,
//! and two of them can dead-lock, until the time-out, when both write more than the pipe between them
//! holds. Here only one sends much. A driver that reads and writes at the same time cannot.

#[path = "support/peer.rs"]
mod peer;

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use duologue::proto::{Acceptor, CloseReason, Config, Connection};
use peer::{Failure, Peer, now, random};

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
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
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

fn run(mut peer: Peer, mut stream: TcpStream) -> Result<(), Failure> {
    let mut buffer = vec![0; 64 << 10];
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    loop {
        // What there is to tell and to send, until there is neither;
        peer.handle_events()?;
        let transmit = peer.machine.poll_transmit(peer.now());
        let slices: Vec<_> = transmit.into_iter().map(IoSlice::new).collect();
        if !slices.is_empty() {
            match stream.write_vectored(&slices) {
                Ok(written @ 1..) => peer.machine.advance_transmit(written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break peer.machine.handle_disconnect(peer.now()),
            }
            continue;
        }
        if peer.machine.is_write_closed() {
            let _ = stream.shutdown(Shutdown::Write);
            if peer.machine.is_detached() {
                break; // A longer program would go on over another stream.
            }
        }
        // then bytes that come, or the next deadline; after the last one, the end of the stream.
        let deadline = peer.machine.poll_timeout();
        let wait = deadline.map(|deadline| deadline.saturating_duration_since(peer.now()));
        let wait = wait.unwrap_or(Duration::from_secs(5)).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(wait))?;
        match stream.read(&mut buffer) {
            Ok(0) => break peer.machine.handle_eof(peer.now()),
            Ok(len) => {
                let mut input = &buffer[..len];
                // An error is told by an event, too; after it input is thrown away.
                while let Ok((used @ 1.., event)) = peer.machine.handle_input(peer.now(), input) {
                    input = &input[used..];
                    event.map_or(Ok(()), |event| peer.handle(event))?;
                    peer.handle_events()?;
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock | ErrorKind::TimedOut if deadline.is_some() => {
                    peer.machine.handle_timeout(peer.now());
                }
                _ => break peer.machine.handle_disconnect(peer.now()),
            },
        }
    }
    peer.handle_events()?;
    match peer.closed {
        Some(CloseReason::Local { is_answered: true, .. } | CloseReason::Peer(_)) => Ok(()),
        other => Err(format!("the conversation did not end well: {other:?}").into()),
    }
}
