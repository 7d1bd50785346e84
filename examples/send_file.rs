//! Sends files and folders over one conversation, and goes on after a break.
//!
//! Teaches: `session` with a driver that connects again. What is sent in it is in
//! `support/sending.rs`, `--legacy` in `support/legacy_files.rs`.

mod support;

use std::path::PathBuf;
use std::process::ExitCode;

use duologue::net::{Dialer, Target, connect};
use duologue::proto::{Config, Connection, StreamParameters};
use duologue::session::{Backoff, session};
use duologue::time::{AsyncIoTimer, Timer};
use duologue::wire::CloseCode;
use support::legacy_files;
use support::programs::{Failure, Usage, random, say, start};
use support::sending::Sender;

const USAGE: &str = "\
usage: send_file [--identity NAME] [--limit BYTES/S] [--resume] HOST:PORT PATH...
       send_file --legacy HOST:PORT FILE...

Sends each PATH, a file or a folder, to HOST:PORT, up to 4 at a time over one
connection. One that breaks is made again, with waits of up to 30 seconds, until
10 attempts in a row have failed. What the receiver has of a file already, from a
call before this one, too, is not sent again; of a folder, the files that it has
stored. Hidden files, links and devices in a folder are left out; a file whose name
some system cannot have (`a:b`, `nul`, what is not Unicode) counts as failed.

  --identity NAME   say who sends, to a recv_file with the same --identity NAME.
                    Nothing proves the name, and it is sent in the clear
  --limit BYTES/S   send at most so many bytes a second
  --resume          go on with what the receiver has: so it does anyway
  --legacy          speak an old textbook's format (the module `legacy`): a size,
                    the bytes, the end, each file over a connection of its own; one
                    of 2 GiB or more does not fit into it

Standard output has `Connected to PEER`, and for each file, those in folders
included, `Stored REMOTE-NAME BYTES DIGEST` once the receiver has confirmed that
it is stored (the digest is BLAKE3 in hexadecimal), or `Failed PATH REASON`. The
exit code is 0 only if all were stored.

With --legacy it has, for each file, `Connected to PEER`, `Sent PATH BYTES` and
`Disconnected`. That format has no reply: sent is not stored.";

struct Options {
    legacy: bool,
    identity: Option<String>,
    limit: Option<u64>,
    target: Target,
    paths: Vec<PathBuf>,
}

fn parse() -> Result<Option<Options>, Usage> {
    use lexopt::prelude::*;
    let (mut legacy, mut target, mut paths) = (false, None, Vec::new());
    let (mut identity, mut limit) = (None, None);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("legacy") => legacy = true,
            Long("identity") => identity = Some(parser.value()?.string()?),
            // As scripts may say it: there is no other way.
            Long("resume") => {}
            Long("limit") => limit = Some(parser.value()?.parse()?),
            Value(value) if target.is_none() => target = Some(value.string()?),
            Value(value) => paths.push(PathBuf::from(value)),
            other => return Err(other.unexpected().into()),
        }
    }
    if legacy && (identity.is_some() || limit.is_some()) {
        return Err(Usage("--identity and --limit are not for --legacy".into()));
    }
    let target = target.ok_or_else(|| Usage("HOST:PORT is missing".into()))?;
    let target = target.parse().map_err(|error| Usage(format!("{error}")))?;
    if paths.is_empty() {
        return Err(Usage(if legacy { "FILE is missing" } else { "PATH is missing" }.into()));
    }
    Ok(Some(Options { legacy, identity, limit, target, paths }))
}

fn main() -> ExitCode {
    start(parse(), USAGE, async |options: Options| {
        if options.legacy {
            legacy_files::send_files(&options.target, &options.paths).await
        } else {
            run(options).await
        }
    })
}

async fn run(options: Options) -> Result<(), Failure> {
    // What is not there is told before anybody is bothered.
    for path in &options.paths {
        std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let stream = connect(&options.target).await?;
    say(format!("Connected to {}", stream.peer()))?;

    let timer = AsyncIoTimer::new();
    let seeds = (random()?, random()?);
    let parameters = StreamParameters::new(seeds.0);
    let connection = Connection::client(Config::default(), parameters, timer.now());
    let (session, events, driver) = session(stream, connection, timer);
    session.set_rate_limit(options.limit);
    let driver = driver.reconnecting(Dialer::new(options.target), Backoff::new(seeds.1));
    let sender = Sender::new(&session, options.identity.as_deref());
    // Both in one task: while the transfers of a forgotten conversation are dropped, no new one begins.
    let (ended, sent) = futures::join!(driver, async {
        let sent = sender.send_all(&options.paths, events).await;
        // It may have ended by itself.
        let _ = session.close(CloseCode::DONE, "");
        sent
    });
    let statistics = session.statistics();
    let (bytes, streams) = (statistics.sent.data.bytes, statistics.streams);
    let connections = if streams == 1 { "connection" } else { "connections" };
    sender.bars.tell(format_args!(
        "Sent {bytes} bytes of file data over {streams} {connections}. How it ended: {}.",
        ended.reason
    ));
    match sent? {
        0 => Ok(()),
        failed => Err(format!("not stored: {failed}").into()),
    }
}
