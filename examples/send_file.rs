//! Sends files, one connection each; the chapter's second program, its client.
//!
//! Teaches: `net::connect`, `FileSender`, and reading a file on another thread.

mod support;

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use duologue::legacy::FileSender;
use duologue::net::{Target, connect};
use support::programs::{
    Failure, OutputClosed, Usage, path_line, require_legacy, say, start, with_bar,
};

const USAGE: &str = "\
usage: send_file --legacy HOST:PORT FILE...

Sends each FILE to HOST:PORT, over a connection of its own, and stops at the first
that fails.

  --legacy  speak the chapter's format: a size, the bytes, the end; a file of
            2 GiB or more does not fit into it

Standard output has, for each file, `Connected to PEER`, `Sent PATH BYTES` and
`Disconnected`. The format has no reply: sent is not stored.";

/// Bytes of the file that are read ahead.
const READ_AHEAD: usize = 1024 * 1024;

struct Options {
    target: Target,
    files: Vec<PathBuf>,
}

fn parse() -> Result<Option<Options>, Usage> {
    use lexopt::prelude::*;
    let (mut legacy, mut target, mut files) = (false, None, Vec::new());
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("legacy") => legacy = true,
            Value(value) if target.is_none() => target = Some(value.string()?),
            Value(value) => files.push(PathBuf::from(value)),
            other => return Err(other.unexpected().into()),
        }
    }
    require_legacy(legacy)?;
    let target = target.ok_or_else(|| Usage("HOST:PORT is missing".into()))?;
    let target = target.parse().map_err(|error| Usage(format!("{error}")))?;
    if files.is_empty() {
        return Err(Usage("FILE is missing".into()));
    }
    Ok(Some(Options { target, files }))
}

fn main() -> ExitCode {
    start(parse(), USAGE, run)
}

async fn run(options: Options) -> Result<(), Failure> {
    for path in &options.files {
        send(&options.target, path).await.map_err(|error| {
            // Without our output nobody can be told of a file at all.
            if error.is::<OutputClosed>() {
                return error;
            }
            format!("{}: {error}", path.display()).into()
        })?;
    }
    Ok(())
}

async fn send(target: &Target, path: &Path) -> Result<(), Failure> {
    // What cannot be sent is told before anybody is bothered.
    let (file, before) = open(path.to_owned()).await?;
    let size = before.len();
    let mut sender = FileSender::new(size)?;
    let mut source = smol::Unblock::with_capacity(READ_AHEAD, file);

    let mut stream = connect(target).await?;
    say(format!("Connected to {}", stream.peer()))?;
    with_bar(sender.progress(), sender.send(&mut source, &mut stream)).await?;
    // The format cannot say so, but the peer may have a mixture of old and new.
    let after = source.with_mut(|file| file.metadata()).await?;
    if (before.len(), before.modified()?) != (after.len(), after.modified()?) {
        return Err(
            "it was changed while it was being sent, and may have arrived as a mixture".into()
        );
    }
    say(path_line("Sent ", path, format_args!(" {size}")))?;
    drop(stream);
    say("Disconnected")
}

async fn open(path: PathBuf) -> Result<(File, Metadata), Failure> {
    smol::unblock(move || {
        // Asked by name first: to open a named pipe would wait for its other end.
        if !std::fs::metadata(&path)?.is_file() {
            return Err("it is not a regular file".into());
        }
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        Ok((file, metadata))
    })
    .await
}
