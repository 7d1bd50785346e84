//! Receives files into a folder; the chapter's second program, its server.
//!
//! Teaches: `net::Server` with a task for each client, `FileReceiver`, and `PartFile`, which gives
//! a file its name only when it is whole.

mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use duologue::fs::PartFile;
use duologue::io::Limits;
use duologue::legacy::FileReceiver;
use duologue::net::{Accepted, Listener, Server, Stream, Target};
use support::programs::{
    Failure, OutputClosed, Usage, path_line, printable, require_legacy, say, start, with_bar,
};

const USAGE: &str = "\
usage: recv_file --legacy [--once] --dir DIR [--name NAME] ADDR:PORT

Listens on ADDR:PORT and stores each file that a client sends in DIR, as NAME
(Default.file unless given). A name that is taken is never overwritten: the file
becomes `NAME (1)`, `NAME (2)`, before the extension, and so on.

  --legacy     speak the chapter's format: a size, the bytes, the end
  --once       end after one client, with exit code 0 if its file was stored
  --dir DIR    where to store
  --name NAME  what to call it, as the format carries no name

A client that is silent for 20 seconds, or sends less than 1 KiB per second over
20 seconds, has failed.

Standard output has a line `Listening ... ADDR:PORT`, and for each client
`Accept PEER`, then `Stored PATH BYTES` or `Failed PEER REASON`.";

/// The chapter's own name for a file without one.
const DEFAULT_NAME: &str = "Default.file";

/// The most that the format can announce.
const LIMIT: u64 = i32::MAX as u64;

/// The least that a client has to send, in bytes per second over 20 seconds.
const MINIMUM_RATE: u64 = 1024;

struct Options {
    once: bool,
    folder: PathBuf,
    name: String,
    target: Target,
}

fn parse() -> Result<Option<Options>, Usage> {
    use lexopt::prelude::*;
    let (mut legacy, mut once, mut folder, mut target) = (false, false, None, None);
    let mut name = DEFAULT_NAME.to_owned();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("legacy") => legacy = true,
            Long("once") => once = true,
            Long("dir") => folder = Some(PathBuf::from(parser.value()?)),
            Long("name") => name = parser.value()?.string()?,
            Value(value) if target.is_none() => target = Some(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    require_legacy(legacy)?;
    PartFile::check_name(&name).map_err(|error| Usage(format!("--name {name:?}: {error}")))?;
    let folder = folder.ok_or_else(|| Usage("--dir is missing".into()))?;
    let target = target.ok_or_else(|| Usage("ADDR:PORT is missing".into()))?;
    let target = target.parse().map_err(|error| Usage(format!("{error}")))?;
    Ok(Some(Options { once, folder, name, target }))
}

fn main() -> ExitCode {
    start(parse(), USAGE, run)
}

async fn run(options: Options) -> Result<(), Failure> {
    // A folder that cannot be written to is told before anybody connects.
    let folder = options.folder.display();
    PartFile::create(&options.folder).await.map_err(|error| format!("{folder}: {error}"))?;
    let mut listener = Listener::bind(&options.target).await?;
    say(format!("Listening ... {}", listener.local_address()))?;
    if options.once {
        let stream = listener.accept().await?;
        drop(listener);
        return receive(stream, &options).await;
    }
    serve(listener, options).await
}

/// Receives from every client until nobody reads our output any more.
async fn serve(listener: Listener, options: Options) -> Result<(), Failure> {
    let closed = Arc::new(Mutex::new(None));
    let server = Server::new(listener);
    let (handle, options) = (server.handle(), Arc::new(options));
    let handler = {
        let closed = Arc::clone(&closed);
        move |connection: Accepted| {
            let (options, closed, handle) =
                (Arc::clone(&options), Arc::clone(&closed), handle.clone());
            async move {
                // What goes wrong with one client has been told on its line, and ends with it.
                if let Err(error) = receive(connection.stream, &options).await {
                    if error.is::<OutputClosed>() {
                        *closed.lock().unwrap() = Some(error);
                        handle.stop_now();
                    }
                }
                Ok::<(), Failure>(())
            }
        }
    };
    server.serve(|task| smol::spawn(task).detach(), handler).await?;
    closed.lock().unwrap().take().map_or(Ok(()), Err)
}

/// Receives one file from one client and prints how it went.
async fn receive(mut stream: Stream, options: &Options) -> Result<(), Failure> {
    let peer = stream.peer().to_string();
    say(format!("Accept {peer}"))?;
    match store(&mut stream, options).await {
        Ok((path, size)) => say(path_line("Stored ", &path, format_args!(" {size}"))),
        Err(error) => {
            say(format!("Failed {peer} {}", printable(&error.to_string())))?;
            Err(format!("the file from {peer} was not stored: {error}").into())
        }
    }
}

async fn store(stream: &mut Stream, options: &Options) -> Result<(PathBuf, u64), Failure> {
    // A byte now and then is not enough to keep a place.
    let limits = Limits::default().minimum_rate(MINIMUM_RATE, Limits::DEFAULT_IDLE);
    let mut receiver = FileReceiver::new(LIMIT).limits(limits);
    // Who connects and says nothing costs no file.
    receiver.receive_size(stream).await?;
    let mut part = PartFile::create(&options.folder).await?;
    let progress = receiver.progress();
    let receiving = receiver.receive(stream, &mut part);
    // One bar is for one client; several would fight for the line.
    let size = if options.once { with_bar(progress, receiving).await? } else { receiving.await? };
    Ok((part.publish(&options.name).await?, size))
}
