//! Receives files into a folder; the chapter's second program, its server.
//!
//! Teaches: `net::serve` with a task for each client, `FileReceiver`, and `PartFile`, which gives
//! a file its name only when it is whole.

mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use duologue::fs::PartFile;
use duologue::legacy::FileReceiver;
use duologue::net::{Accepted, Listener, Stream, Target, serve};
use support::programs::{Failure, Usage, printable, require_legacy, start, with_bar};

const USAGE: &str = "\
usage: recv_file --legacy [--once] --dir DIR [--name NAME] ADDR:PORT

Listens on ADDR:PORT and stores each file that a client sends in DIR, as NAME
(Default.file unless given). A name that is taken is never overwritten: the file
becomes `NAME (1)`, `NAME (2)`, before the extension, and so on.

  --legacy     speak the chapter's format: a size, the bytes, the end
  --once       end after one client, with exit code 0 if its file was stored
  --dir DIR    where to store
  --name NAME  what to call it, as the format carries no name

Standard output has a line `Listening ... ADDR:PORT`, and for each client
`Accept PEER`, then `Stored PATH BYTES` or `Failed PEER REASON`.";

/// The chapter's own name for a file without one.
const DEFAULT_NAME: &str = "Default.file";

/// The most that the format can announce.
const LIMIT: u64 = i32::MAX as u64;

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
    println!("Listening ... {}", listener.local_address());
    if options.once {
        let stream = listener.accept().await?;
        drop(listener);
        return receive(stream, &options.folder, &options.name).await;
    }
    let options = Arc::new(options);
    let handler = move |connection: Accepted| {
        let options = Arc::clone(&options);
        async move {
            // What goes wrong with one client has been told on its line, and ends with it.
            let _ = receive(connection.stream, &options.folder, &options.name).await;
            Ok::<(), Failure>(())
        }
    };
    serve(listener, |task| smol::spawn(task).detach(), handler).await?;
    Ok(())
}

/// Receives one file from one client and prints how it went.
async fn receive(mut stream: Stream, folder: &Path, name: &str) -> Result<(), Failure> {
    let peer = stream.peer().to_string();
    println!("Accept {peer}");
    match store(&mut stream, folder, name).await {
        Ok((path, size)) => {
            println!("Stored {} {size}", path.display());
            Ok(())
        }
        Err(error) => {
            println!("Failed {peer} {}", printable(&error.to_string()));
            Err(format!("the file from {peer} was not stored: {error}").into())
        }
    }
}

async fn store(stream: &mut Stream, folder: &Path, name: &str) -> Result<(PathBuf, u64), Failure> {
    let mut receiver = FileReceiver::new(LIMIT);
    // Who connects and says nothing costs no file.
    receiver.receive_size(stream).await?;
    let mut part = PartFile::create(folder).await?;
    let size = with_bar(receiver.progress(), receiver.receive(stream, &mut part)).await?;
    Ok((part.publish(name).await?, size))
}
