//! Receives files and folders into a folder, and goes on after a break or a kill.
//!
//! Teaches: `session::Conversations`, to which clients come back, and many transfers in one task. What
//! is done with an offer is in `support/receiving.rs`, `--legacy` in `support/legacy_files.rs`.

mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use duologue::fs::{InboxOptions, PartFile};
use duologue::net::{Accepted, Listener, Server, ServerHandle, Stream, Target};
use duologue::proto::{CloseReason, Config, StreamParameters};
use duologue::session::{self, Conversations, Event, Events, HostedDriver};
use duologue::time::AsyncIoTimer;
use duologue::wire::CloseCode;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use support::legacy_files::{self, DEFAULT_NAME};
use support::programs::{Failure, Usage, random, say, start};
use support::receiving::{Accept, IDENTITY, Intake, Tally};

const USAGE: &str = "\
usage: recv_file [--once] --dir DIR [--accept all|ask|none] [--max-size BYTES]
                 [--identity NAME] ADDR:PORT
       recv_file --legacy [--once] --dir DIR [--name NAME] ADDR:PORT

Listens on ADDR:PORT and stores the files and folders that clients send in DIR. A
name that is taken is never overwritten: the file becomes `NAME (1)`, `NAME (2)`,
before the extension, and so on.

  --once           end after one conversation, with exit code 0 if something was
                   stored and nothing failed; a client that was cut off is waited
                   for
  --dir DIR        where to store
  --accept WHAT    all offers (the default), none, or ask on the terminal: y or n
  --max-size BYTES the most that one file may have; by default 64 GiB. Of the disk
                   256 MiB stay free, whatever is sent
  --identity NAME  receive only from a send_file with the same --identity NAME.
                   What came of a file before a break is kept 7 days, hidden in
                   DIR, and goes on when the same file is sent again. Without this
                   option any client that offers a file of the same name, size and
                   time learns how much of it is here, and goes on with it; with
                   it only one that says NAME. Nothing proves the name, and it is
                   sent in the clear: it keeps senders apart, and no enemy out.
  --legacy         speak an old textbook's format (the module `legacy`): a size,
                   the bytes, the end
  --name NAME      what to call it, as that format carries no name

In DIR there are hidden files of its own, too, `.duologue-*`: what has begun to come,
and a table of what was stored lately, by which it is known again.

A client that was cut off has 5 minutes to come back. One that says nothing is let
go after 10 seconds. There are at most 64 conversations, and 128 connections.
A legacy client that is silent for 20 seconds, or sends less than 1 KiB per second
over 20 seconds, has failed.

Standard output has a line `Listening ... ADDR:PORT`, for each connection
`Accept PEER`, and for each file `Stored PATH BYTES` or `Failed PEER REASON`.";

/// Conversations at a time, whether their clients are connected or cut off.
const CONVERSATIONS: usize = 64;

/// Connections at a time, those of conversations included: what is left is for handshakes.
const CONNECTIONS: usize = 2 * CONVERSATIONS;

struct Options {
    once: bool,
    folder: PathBuf,
    accept: Accept,
    max_size: Option<u64>,
    identity: Option<String>,
    target: Target,
}

enum Call {
    Modern(Options),
    Legacy(legacy_files::ReceiveOptions),
}

fn parse() -> Result<Option<Call>, Usage> {
    use lexopt::prelude::*;
    let (mut legacy, mut once, mut folder, mut target) = (false, false, None, None);
    let (mut name, mut accept, mut max_size, mut identity) = (None, None, None, None);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("legacy") => legacy = true,
            Long("once") => once = true,
            Long("dir") => folder = Some(PathBuf::from(parser.value()?)),
            Long("name") => name = Some(parser.value()?.string()?),
            Long("accept") => {
                accept = Some(parser.value()?.parse_with(|value| match value {
                    "all" => Ok(Accept::All),
                    "ask" => Ok(Accept::Ask),
                    "none" => Ok(Accept::None),
                    _ => Err("it is all, ask or none"),
                })?)
            }
            Long("max-size") => max_size = Some(parser.value()?.parse()?),
            Long("identity") => identity = Some(parser.value()?.string()?),
            Value(value) if target.is_none() => target = Some(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let folder = folder.ok_or_else(|| Usage("--dir is missing".into()))?;
    let target = target.ok_or_else(|| Usage("ADDR:PORT is missing".into()))?;
    let target = target.parse().map_err(|error| Usage(format!("{error}")))?;
    if legacy {
        if accept.is_some() || max_size.is_some() || identity.is_some() {
            return Err(Usage("--accept, --max-size and --identity are not for --legacy".into()));
        }
        let name = name.unwrap_or_else(|| DEFAULT_NAME.to_owned());
        PartFile::check_name(&name).map_err(|error| Usage(format!("--name {name:?}: {error}")))?;
        return Ok(Some(Call::Legacy(legacy_files::ReceiveOptions { once, folder, name, target })));
    }
    if name.is_some() {
        return Err(Usage("--name is for --legacy: files bring their names along".into()));
    }
    let accept = accept.unwrap_or(Accept::All);
    Ok(Some(Call::Modern(Options { once, folder, accept, max_size, identity, target })))
}

fn main() -> ExitCode {
    start(parse(), USAGE, async |call| match call {
        Call::Modern(options) => run(options).await,
        Call::Legacy(options) => legacy_files::receive_files(options).await,
    })
}

/// What the conversations have in common.
struct Receiver {
    intake: Intake,
    conversations: Conversations<Stream>,
    once: bool,
    /// How it ends, if one of the conversations decides that.
    end: Mutex<Option<Result<(), Failure>>>,
}

async fn run(options: Options) -> Result<(), Failure> {
    let folder = options.folder.clone();
    let mut inbox = InboxOptions::new().anonymous_parts(options.identity.is_none());
    if let Some(bytes) = options.max_size {
        inbox = inbox.max_file_size(bytes);
    }
    let inbox = smol::unblock(move || {
        let inbox = inbox.open(&folder)?;
        inbox.clean()?;
        // One that cannot be written to is told before anybody connects.
        smol::block_on(PartFile::create(&folder)).map_err(|error| error.to_string())?;
        Ok::<_, Failure>(inbox)
    })
    .await
    .map_err(|error| format!("{}: {error}", options.folder.display()))?;
    let listener = Listener::bind(&options.target).await?;
    say(format!("Listening ... {}", listener.local_address()))?;

    // It offers nothing itself.
    let config = Config::builder().outgoing_transfers(0).build()?;
    let receiver = Arc::new(Receiver {
        intake: Intake::new(inbox, options.folder, options.accept, options.identity),
        conversations: Conversations::new(config).max_conversations(CONVERSATIONS),
        once: options.once,
        end: Mutex::default(),
    });
    let server = Server::new(listener).most_connections(CONNECTIONS);
    let handle = server.handle();
    let handler = {
        let receiver = Arc::clone(&receiver);
        move |connection: Accepted| {
            let (receiver, handle) = (Arc::clone(&receiver), handle.clone());
            async move { receiver.serve(connection.stream, &handle).await }
        }
    };
    server.serve(|task| smol::spawn(task).detach(), handler).await?;
    receiver.end.lock().unwrap().take().unwrap_or(Ok(()))
}

impl Receiver {
    /// One connection: it begins a conversation, or goes on with one.
    async fn serve(&self, stream: Stream, server: &ServerHandle) -> Result<(), Failure> {
        let end = match self.try_serve(stream).await {
            Ok(Some(tally)) if self.once => Some(tally.end()),
            Ok(_) => None,
            // Nobody reads our output any more.
            Err(error) => Some(Err(error)),
        };
        if let Some(end) = end {
            self.end.lock().unwrap().get_or_insert(end);
            server.stop_now();
        }
        Ok(())
    }

    /// What came of the conversation, if this was the connection that began it.
    async fn try_serve(&self, stream: Stream) -> Result<Option<Tally>, Failure> {
        let peer = stream.peer().to_string();
        self.intake.bars.say(format!("Accept {peer}"))?;
        let parameters = StreamParameters::new(random()?);
        let accepted = self.conversations.accept(stream, parameters, AsyncIoTimer::new()).await;
        match accepted {
            Ok(session::Accepted::New(session, events, driver)) => {
                // Its handle would keep the conversation open.
                drop(session);
                let tally = self.converse(&peer, events, driver).await?;
                Ok(tally.has_opened.then_some(tally))
            }
            Ok(session::Accepted::Resumed(_)) => Ok(None),
            Err(error) => self.intake.failed(&peer, &error).map(|()| None),
        }
    }

    /// A conversation from its beginning to its end, whatever number of connections that takes.
    async fn converse(
        &self,
        peer: &str,
        mut events: Events,
        mut driver: HostedDriver<Stream, AsyncIoTimer>,
    ) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        let mut identity = None;
        let mut transfers = FuturesUnordered::<BoxFuture<'_, Result<Tally, Failure>>>::new();
        let mut driver = (&mut driver).fuse();
        loop {
            futures::select_biased! {
                event = events.next() => match event {
                    Some(Event::Open(_)) => tally.has_opened = true,
                    Some(Event::Message(message)) if message.message_type == IDENTITY => {
                        identity = Some(message.body.into_owned());
                    }
                    Some(Event::Offer(offer)) => {
                        let is_known = self.intake.knows(identity.as_deref());
                        transfers.push(self.intake.file(peer, is_known, offer).boxed());
                    }
                    Some(Event::Batch(offer)) => {
                        let is_known = self.intake.knows(identity.as_deref());
                        transfers.push(self.intake.folder(peer, is_known, offer).boxed());
                    }
                    _ => {}
                },
                one = transfers.select_next_some() => tally.add(&one?),
                ended = driver => {
                    // What was cut off by the end is kept, and told.
                    while let Some(one) = transfers.next().await {
                        tally.add(&one?);
                    }
                    let is_regular = matches!(
                        ended.reason,
                        CloseReason::Peer(CloseCode::DONE) | CloseReason::Local { .. }
                    );
                    if !is_regular {
                        tally.failed += 1;
                        self.intake.failed(peer, &ended.reason)?;
                    }
                    return Ok(tally);
                }
            }
        }
    }
}
