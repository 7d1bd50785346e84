//! A chat between two, with files on the side.
//!
//! Teaches: a `Session` in a program: lines and events side by side, receipts, offers that wait for a
//! decision, files while chatting, and a client that reconnects. `--legacy` is the first program of the
//! chapter that `legacy` names instead.

#[path = "support/legacy_chat.rs"]
mod legacy_chat;
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use duologue::fs::{Inbox, Received, Sent, receive, send};
use duologue::legacy::TextDecoder;
use duologue::net::{Dialer, Listener, Stream, Target, connect};
use duologue::proto::{CloseReason, Config, Connection, Receipt as Fate, StreamParameters};
use duologue::session::{
    Accepted, Backoff, Conversations, Event, Events, IncomingOffer, Session, session,
};
use duologue::time::{AsyncIoTimer, Timer};
use duologue::wire::{Chat, CloseCode, TransferCode};
use futures::channel::mpsc;
use futures::future::{BoxFuture, Either, select};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use support::programs::{Failure, Mode, Usage, input_lines, printable, random, say, start, tell};

const USAGE: &str = "\
usage: chat [--dir DIR] --listen ADDR:PORT
       chat [--dir DIR] --connect HOST:PORT
       chat --legacy [--encoding LABEL] --listen ADDR:PORT | --connect HOST:PORT

Each line of standard input is a message; each message received is a line on
standard output, control characters escaped. Status goes to standard error.
A caller whose connection breaks calls again by itself, and nothing is lost. When
the peer leaves, --listen listens again; who connects during a chat is refused.
At the end of standard input what is under way is waited for, and the program ends.

  --dir DIR    where files go that you accept: the current folder unless given

Lines that begin with a slash are commands:
  /send PATH   offer a file; the chat goes on meanwhile
  /accept N    accept the offer with this number into DIR
  /reject N    refuse it
  /stats       round trip, windows and bytes
  //TEXT       say /TEXT

  --legacy     speak an old textbook's format (the module `legacy`): bare text, no
               frames. Messages that meet on the way become one; a pause of 30 ms between two of ours keeps
               them apart on most networks. A message of more than 4096 bytes
               arrives as several; an empty one does not exist. No commands
  --encoding LABEL
               of that format, as the Encoding Standard names it: utf-8
               (the default), euc-kr (what the original spoke), windows-1252 ...";

struct Options {
    mode: Mode,
    /// The encoding of the legacy format, if that is to be spoken.
    legacy: Option<String>,
    folder: PathBuf,
}

fn parse() -> Result<Option<Options>, Usage> {
    use lexopt::prelude::*;
    let (mut legacy, mut encoding, mut mode, mut folder) = (false, None, None, None);
    let target = |text: &str| text.parse().map_err(|error| Usage(format!("{error}")));
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("legacy") => legacy = true,
            Long("encoding") => encoding = Some(parser.value()?.string()?),
            Long("dir") => folder = Some(PathBuf::from(parser.value()?)),
            Long("listen") if mode.is_none() => {
                mode = Some(Mode::Listen(target(&parser.value()?.string()?)?));
            }
            Long("connect") if mode.is_none() => {
                let text = parser.value()?.string()?;
                mode = Some(Mode::Connect(target(&text)?, text));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if !legacy && encoding.is_some() {
        return Err(Usage("--encoding is of the legacy format: give --legacy, too".into()));
    }
    let encoding = encoding.unwrap_or_else(|| "utf-8".into());
    TextDecoder::for_label(&encoding).map_err(|error| Usage(error.to_string()))?;
    let mode = mode.ok_or_else(|| Usage("--listen or --connect is missing".into()))?;
    let folder = folder.unwrap_or_else(|| ".".into());
    Ok(Some(Options { mode, legacy: legacy.then_some(encoding), folder }))
}

fn main() -> ExitCode {
    start(parse(), USAGE, run)
}

async fn run(options: Options) -> Result<(), Failure> {
    if let Some(encoding) = &options.legacy {
        return legacy_chat::run(options.mode, encoding).await;
    }
    let inbox = Inbox::open(&options.folder)
        .map_err(|error| format!("{}: {error}", options.folder.display()))?;
    let mut lines = Lines::new();
    match options.mode {
        Mode::Connect(target, _) => call(target, &inbox, &mut lines).await,
        Mode::Listen(target) => listen(&target, &inbox, &mut lines).await,
    }
}

/// The lines of standard input.
struct Lines {
    incoming: mpsc::Receiver<String>,
    /// The next line, when somebody has looked whether there is one.
    next: Option<String>,
}

impl Lines {
    fn new() -> Self {
        Self { incoming: input_lines(), next: None }
    }

    /// The next line, once anybody can hear it; `None` at the end.
    async fn next(&mut self, may_talk: bool) -> Option<String> {
        if !may_talk {
            return std::future::pending().await;
        }
        match self.next.take() {
            Some(line) => Some(line),
            None => self.incoming.next().await,
        }
    }

    /// Waits until there is no line, and never will be.
    async fn ended(&mut self) {
        if self.next.is_none() {
            self.next = self.incoming.next().await;
        }
        if self.next.is_some() {
            std::future::pending().await
        }
    }
}

async fn call(target: Target, inbox: &Inbox, lines: &mut Lines) -> Result<(), Failure> {
    let stream = connect(&target).await?;
    tell(format_args!("Connected to: {}", stream.peer()));
    let timer = AsyncIoTimer::new();
    let parameters = StreamParameters::new(random()?);
    let connection = Connection::client(Config::default(), parameters, timer.now());
    let (session, events, driver) = session(stream, connection, timer);
    let backoff = Backoff::new(random()?);
    let driver = smol::spawn(driver.reconnecting(Dialer::new(target), backoff));
    converse(session, events, inbox, lines).await?;
    match driver.await.reason {
        CloseReason::Local { .. } | CloseReason::Peer(CloseCode::DONE) => Ok(()),
        reason => Err(reason.to_string().into()),
    }
}

async fn listen(target: &Target, inbox: &Inbox, lines: &mut Lines) -> Result<(), Failure> {
    let mut listener = Listener::bind(target).await?;
    tell(format_args!("Listening...\nAddress: {}", listener.local_address()));
    let conversations = Conversations::<Stream>::new(Config::default()).max_conversations(1);
    let (sender, mut begun) = mpsc::unbounded();
    let accepting = smol::spawn(async move {
        loop {
            let Ok(stream) = listener.accept().await else { return };
            let (conversations, sender) = (conversations.clone(), sender.clone());
            let peer = stream.peer().to_string();
            let accept = async move {
                let parameters = StreamParameters::new(random()?);
                match conversations.accept(stream, parameters, AsyncIoTimer::new()).await? {
                    Accepted::New(session, events, driver) => {
                        let driver = smol::spawn(driver);
                        sender.unbounded_send((peer, session, events, driver))?;
                    }
                    Accepted::Resumed(_) => {}
                }
                Ok::<(), Failure>(())
            };
            smol::spawn(accept.map(|accepted| {
                if let Err(error) = accepted {
                    tell(format_args!("Refused: {}", printable(&error.to_string())));
                }
            }))
            .detach();
        }
    });
    loop {
        let next = {
            match select(begun.next(), std::pin::pin!(lines.ended())).await {
                Either::Left((next, _)) => next,
                // Nothing to say, and nobody who listens.
                Either::Right(_) => None,
            }
        };
        let Some((peer, session, events, driver)) = next else { break };
        tell(format_args!("Connected to: {peer}"));
        let over = converse(session, events, inbox, lines).await?;
        driver.await;
        if over == Over::Input {
            break;
        }
        tell("Listening...");
    }
    accepting.cancel().await;
    Ok(())
}

/// Who had enough.
#[derive(PartialEq, Eq)]
enum Over {
    Input,
    Peer,
}

/// What goes on beside the lines.
enum Done {
    Delivered(u64, Fate),
    Sent(PathBuf, Result<Sent, duologue::fs::SendError>),
    Received(u32, Result<Received, duologue::fs::ReceiveError>),
}

/// One conversation of this program.
struct Talk {
    session: Session,
    inbox: Inbox,
    offers: BTreeMap<u32, IncomingOffer>,
    offered: u32,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    said: u64,
}

/// Says lines and shows events until one side has had enough.
async fn converse(
    session: Session,
    mut events: Events,
    inbox: &Inbox,
    lines: &mut Lines,
) -> Result<Over, Failure> {
    let (inbox, offers, running) = (inbox.clone(), BTreeMap::new(), FuturesUnordered::new());
    let mut talk = Talk { session, inbox, offers, offered: 0, running, said: 0 };
    let mut has_ended = false;
    loop {
        if has_ended && talk.running.is_empty() {
            let _ = talk.session.close(CloseCode::DONE, "");
        }
        let may_talk = talk.session.is_open() && !has_ended;
        futures::select! {
            event = events.next() => match event {
                Some(Event::Closed(reason)) => {
                    tell(format_args!("The chat is over: {reason}"));
                    return Ok(if has_ended { Over::Input } else { Over::Peer });
                }
                Some(event) => talk.show(event)?,
                None => return Ok(Over::Peer),
            },
            done = talk.running.select_next_some() => tell(done),
            line = lines.next(may_talk).fuse() => match line {
                Some(line) => talk.obey(&line).await,
                None => has_ended = true,
            },
        }
    }
}

impl Talk {
    fn show(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Chat(chat) => say(printable(&chat.text))?,
            Event::Offer(offer) => {
                self.offered += 1;
                let (name, size) = (printable(&offer.offer().name), offer.offer().size);
                let size =
                    size.map_or_else(|| "of unknown size".into(), |size| format!("{size} bytes"));
                let number = self.offered;
                tell(format_args!(
                    "Offer {number}: {name}, {size}; /accept {number} or /reject {number}"
                ));
                self.offers.insert(number, offer);
            }
            Event::Batch(batch) => {
                tell("A folder was offered, which this program does not take");
                let _ = batch.reject(TransferCode::DECLINED, "no folders");
            }
            Event::Detached(reason) => tell(format_args!("The connection broke ({reason:?})")),
            Event::Attempt { number, wait, .. } => {
                tell(format_args!("Attempt {number} in {} ms", wait.as_millis()));
            }
            Event::Open(opening) => tell(format_args!("Open ({opening:?})")),
            _ => {}
        }
        Ok(())
    }

    /// Does what a line says.
    async fn obey(&mut self, line: &str) {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "/send" => self.send(rest.into()),
            "/accept" | "/reject" => self.decide(rest, command == "/accept"),
            "/stats" => self.show_statistics(),
            _ if line.starts_with('/') && !line.starts_with("//") => {
                tell(format_args!("{}: unknown command; //TEXT says /TEXT", printable(command)));
            }
            _ => self.say(line.strip_prefix('/').unwrap_or(line).into()).await,
        }
    }

    async fn say(&mut self, text: String) {
        self.said += 1;
        let number = self.said;
        match self.session.send_chat(&Chat::new(text)).await {
            Ok(receipt) => {
                let delivered = async move { Done::Delivered(number, receipt.await) };
                self.running.push(delivered.boxed());
            }
            Err(error) => tell(format_args!("Not sent: {error}")),
        }
    }

    fn send(&mut self, path: PathBuf) {
        let session = self.session.clone();
        let sending = async move {
            let mut shown = 0;
            let sent = send(&session, &path, |progress| {
                let part = progress.received * 10 / progress.total.unwrap_or(u64::MAX).max(1);
                if part > shown {
                    shown = part;
                    tell(format_args!("Sending {}: {} of 10", path.display(), part));
                }
            })
            .await;
            Done::Sent(path, sent)
        };
        self.running.push(sending.boxed());
    }

    fn decide(&mut self, number: &str, is_accepted: bool) {
        let Some(number) = number.trim().parse().ok().filter(|n| self.offers.contains_key(n))
        else {
            return tell("There is no such offer");
        };
        let Some(offer) = self.offers.remove(&number) else { return };
        if !is_accepted {
            let _ = offer.reject(TransferCode::DECLINED, "");
            return tell(format_args!("Rejected {number}"));
        }
        let inbox = self.inbox.clone();
        let receiving =
            async move { Done::Received(number, receive(offer, &inbox, None, |_| ()).await) };
        self.running.push(receiving.boxed());
    }

    fn show_statistics(&self) {
        let statistics = self.session.statistics();
        tell(format_args!(
            "Round trip {:?}, {} bytes sent, {} received, {} of {} bytes under way, window {}",
            statistics.round_trip.unwrap_or_default(),
            statistics.sent.total().bytes,
            statistics.received.total().bytes,
            statistics.in_flight,
            statistics.flight_allowance,
            statistics.receive_window,
        ));
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Delivered(number, Fate::Delivered) => write!(f, "Delivered {number}"),
            Self::Delivered(number, fate) => write!(f, "Message {number}: {fate:?}"),
            Self::Sent(path, Ok(sent)) => {
                let name = printable(sent.verdict.text());
                write!(f, "Sent {}: stored there as {name}, {} bytes", path.display(), sent.bytes)
            }
            Self::Sent(path, Err(error)) => write!(f, "Not sent: {}: {error}", path.display()),
            Self::Received(number, Ok(file)) => {
                write!(f, "Stored {number}: {}, {} bytes", file.path, file.bytes)
            }
            Self::Received(number, Err(error)) => write!(f, "Not stored {number}: {error}"),
        }
    }
}
