use std::cell::Cell;
use std::io::{BufRead, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue::io::TokioIo;
use duologue::proto::{Config, Connection, Receipt as Fate, StreamParameters};
use duologue::session::{
    Accepted, Conversations, Event, Events, IncomingOffer, Session, session, worst_case_memory,
};
use duologue::testing::SplitMix64;
use duologue::testing::hostile::{HostilePeer, Misbehaviour, Outcome};
use duologue::time::{Timer, TokioTimer};
use duologue::wire::{Chat, CloseCode, Digest, Offer, Side, TransferCode};
use futures::StreamExt;
use futures::future::{Either, LocalBoxFuture, join, select};
use futures::stream::FuturesUnordered;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use crate::Result;
use crate::arguments::Arguments;
use crate::table::Table;

const HOSTILE: usize = 10_000;
const HONEST: usize = 100;
/// Programs that the hostile ones are in.
const PROGRAMS: usize = 2;
/// Descriptors that a program needs beside its connections.
const SPARE: u64 = 400;
/// The honest ones have to be done within this.
const PATIENCE: Duration = Duration::from_secs(240);
const FILE: usize = 100_000;
const LINES: usize = 10;

type Io = TokioIo<TcpStream>;

/// Time-outs short enough to see all of them.
fn config() -> Result<Config> {
    let second = Duration::from_secs(1);
    let config = Config::builder()
        .handshake_timeout(second * 8)
        .keep_alive_interval(second * 3)
        .idle_timeout(second * 10)
        .stall_timeout(second * 10)
        .close_timeout(second * 2)
        .detached_timeout(second * 2);
    Ok(config.build()?)
}

fn parameters(random: &mut SplitMix64) -> StreamParameters<'static> {
    let mut seed = [0; 32];
    for chunk in seed.chunks_mut(8) {
        chunk.copy_from_slice(&random.next_u64().to_be_bytes());
    }
    StreamParameters::new(seed)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// As many descriptors as there may be.
fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    // What is not granted is not there.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit });
    getrlimit(Resource::Nofile).current.unwrap_or(most)
}

fn descriptors() -> Option<usize> {
    std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count)
}

/// What the listener counts.
#[derive(Default)]
struct Count {
    streams: Cell<u64>,
    now: Cell<usize>,
    most: Cell<usize>,
}

/// What came of it.
struct Outcomes {
    honest: bool,
    longest: String,
    attacks: u64,
    otherwise: u64,
    left: usize,
}

pub(crate) fn run(arguments: &Arguments, table: &mut Table) -> Result<()> {
    let most = usize::try_from(raise_limit().saturating_sub(SPARE))?;
    let hostile = HOSTILE.min(most - HONEST);
    let config = config()?;
    let before = descriptors();
    let count = Rc::new(Count::default());
    let mut outcomes = Err("it was not run".into());
    let counted = allocation_counter::measure(|| {
        outcomes = listen(arguments.seed, hostile, &config, &count);
    });
    let outcomes = outcomes?;
    let after = descriptors();
    let again = format!("--only crowd --seed {}", arguments.seed);
    if !outcomes.honest {
        table.fail("crowd: the honest have not all finished", again.clone());
    }
    if outcomes.left > 0 {
        table.fail(format!("crowd: {} streams are left", outcomes.left), again.clone());
    }
    if before != after {
        table.fail(format!("crowd: {before:?} descriptors before, {after:?} after"), again.clone());
    }
    let bound = count.most.get() as u64 * worst_case_memory(&config) as u64;
    if counted.bytes_max > bound {
        table.fail(format!("crowd: {} of {bound} bytes", counted.bytes_max), again.clone());
    }
    if counted.bytes_current > 8 << 20 {
        table.fail(format!("crowd: {} bytes are left", counted.bytes_current), again);
    }
    table.row("hostile clients", hostile);
    table.row("streams at a time, at most", count.most.get());
    table.row("streams accepted", count.streams.get());
    table.row("attacks that ended", outcomes.attacks);
    table.row("of these not as over a quiet stream", outcomes.otherwise);
    let finished = if outcomes.honest { "all" } else { "NOT ALL" };
    table.row("honest clients, and how many finished", format!("{HONEST}, {finished}"));
    table.row("longest of these", &outcomes.longest);
    table.row("memory at most, bytes", counted.bytes_max);
    table.row("a stream", counted.bytes_max / count.most.get().max(1) as u64);
    table.row("sum of bounds, bytes", bound);
    table.row("bytes left", counted.bytes_current);
    let shown = |count: Option<usize>| count.map_or("-".to_owned(), |count| count.to_string());
    table.row("descriptors before, and after", format!("{}, {}", shown(before), shown(after)));
    Ok(())
}

fn listen(seed: u64, hostile: usize, config: &Config, count: &Rc<Count>) -> Result<Outcomes> {
    let runtime = runtime()?;
    let local = LocalSet::new();
    let outcomes = local.block_on(&runtime, async {
        let socket = TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse()?)?;
        let listener = socket.listen(8192)?;
        let address = listener.local_addr()?;
        let conversations = Conversations::new(config.clone())
            .max_conversations(4 * HOSTILE)
            .max_memory(usize::MAX);
        let (inner, counter) = (conversations.clone(), Rc::clone(count));
        let accepting = spawn_local(async move {
            let mut random = SplitMix64::new(seed);
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let (conversations, count) = (inner.clone(), Rc::clone(&counter));
                let parameters = parameters(&mut random);
                spawn_local(async move {
                    count.streams.set(count.streams.get() + 1);
                    count.now.set(count.now.get() + 1);
                    count.most.set(count.most.get().max(count.now.get()));
                    serve(&conversations, TokioIo::new(stream), parameters).await;
                    count.now.set(count.now.get() - 1);
                });
            }
        });
        let outcomes = attack(address, hostile, seed, count).await;
        accepting.abort();
        let began = Instant::now();
        while (count.now.get() > 0 || !conversations.is_empty()) && began.elapsed() < PATIENCE / 4 {
            sleep(Duration::from_millis(50)).await;
        }
        outcomes.map(|outcomes| Outcomes { left: count.now.get(), ..outcomes })
    });
    drop(local);
    outcomes
}

fn program(what: &str, address: SocketAddr, count: usize, seed: u64) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--crowd", what, &address.to_string(), &count.to_string()]);
    command.args(["--seed", &seed.to_string()]);
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
}

/// The last words of a program, which it says when its input ends.
async fn ended(mut child: Child, lets_go: bool) -> Result<(bool, String)> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        if lets_go {
            drop(child.stdin.take());
        }
        let mut words = String::new();
        let read = child.stdout.take().map(|mut out| out.read_to_string(&mut words));
        let status = child.wait();
        let is_well = matches!(read, Some(Ok(_))) && status.is_ok_and(|status| status.success());
        let _ = sender.send((is_well, words));
    });
    Ok(receiver.await?)
}

async fn attack(address: SocketAddr, hostile: usize, seed: u64, count: &Count) -> Result<Outcomes> {
    let programs: Vec<Child> = (0..PROGRAMS)
        .map(|n| program("hostile", address, hostile / PROGRAMS, seed + n as u64))
        .collect::<Result<_>>()?;
    let began = Instant::now();
    while count.streams.get() < hostile as u64 && began.elapsed() < PATIENCE / 4 {
        sleep(Duration::from_millis(50)).await;
    }
    let (honest, longest) = ended(program("honest", address, HONEST, seed)?, false).await?;
    let (mut attacks, mut otherwise) = (0, 0);
    for program in programs {
        let (_, words) = ended(program, true).await?;
        let mut words = words.split_whitespace().map(str::parse::<u64>);
        attacks += words.next().transpose()?.unwrap_or(0);
        otherwise += words.next().transpose()?.unwrap_or(0);
    }
    let longest = longest.trim().to_owned();
    Ok(Outcomes { honest, longest, attacks, otherwise, left: 0 })
}

async fn serve(conversations: &Conversations<Io>, stream: Io, parameters: StreamParameters<'_>) {
    let accepted = conversations.accept(stream, parameters, TokioTimer::new()).await;
    if let Ok(Accepted::New(session, events, driver)) = accepted {
        join(driver, application(session, events)).await;
    }
}

/// Offers a file, and takes whatever comes.
async fn application(session: Session, mut events: Events) {
    let mut tasks: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
    tasks.push(Box::pin(give(&session)));
    loop {
        let event = match select(events.next(), tasks.next()).await {
            Either::Left((event, _)) => event,
            Either::Right((Some(()), _)) => continue,
            Either::Right((None, next)) => next.await,
        };
        match event {
            None => return,
            Some(Event::Offer(offer)) => tasks.push(Box::pin(take(offer))),
            Some(_) => {}
        }
    }
}

async fn give(session: &Session) {
    if session.opened().await.is_err() {
        return;
    }
    let Ok(mut outgoing) = session.offer(&Offer::new("gift").size(1 << 30)).await else { return };
    if outgoing.accepted().await.is_ok() {
        while outgoing.send(Bytes::from_static(&[7; 4096])).await.is_ok() {}
    }
}

async fn take(offer: IncomingOffer) {
    let Ok(mut incoming) = offer.accept() else { return };
    let mut hasher = blake3::Hasher::new();
    while let Ok(Some(chunk)) = incoming.next().await {
        hasher.update(&chunk.data);
    }
    let digest = Digest::Blake3(*hasher.finalize().as_bytes());
    let _ = match incoming.finish() {
        Some(finish) if finish.digest == Some(digest) => incoming.stored("file"),
        Some(_) => incoming.failed(TransferCode::DIGEST_DIFFERS, ""),
        None => incoming.failed(TransferCode::CANCELLED, ""),
    };
}

/// One of the programs that connect.
pub(crate) fn child(what: &str, address: SocketAddr, count: usize, seed: u64) -> Result<ExitCode> {
    raise_limit();
    let (runtime, local) = (runtime()?, LocalSet::new());
    match what {
        "hostile" => local.block_on(&runtime, be_hostile(address, count, seed)),
        _ => local.block_on(&runtime, be_honest(address, count, seed)),
    }
}

async fn be_hostile(address: SocketAddr, count: usize, seed: u64) -> Result<ExitCode> {
    let counts = Rc::new((Cell::new(0_u64), Cell::new(0_u64)));
    let known: Rc<[&'static Misbehaviour]> = Misbehaviour::of_peer(Side::Client).collect();
    for n in 0..count as u64 {
        let mut random = SplitMix64::new(seed ^ (n << 20));
        let (counts, known) = (Rc::clone(&counts), Rc::clone(&known));
        spawn_local(async move {
            // All at first, and each again when it has been sent away and some time has passed.
            let mut pause = 5_000;
            loop {
                sleep(Duration::from_millis(random.below(pause))).await;
                pause = 60_000;
                let Ok(stream) = TcpStream::connect(address).await else { continue };
                let misbehaviour = known[random.below(known.len() as u64) as usize];
                let peer = HostilePeer::new(misbehaviour, Side::Client, random.next_u64());
                let peer = peer.patience(Duration::from_secs(30));
                let report = peer.run(TokioIo::new(stream), TokioTimer::new()).await;
                let (attacks, otherwise) = &*counts;
                attacks.set(attacks.get() + 1);
                let is_other = report.check().is_err() && report.outcome != Outcome::Dropped;
                otherwise.set(otherwise.get() + u64::from(is_other));
            }
        });
    }
    // Until whoever began it lets go.
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().lock().read_line(&mut String::new());
        let _ = sender.send(());
    });
    receiver.await?;
    writeln!(std::io::stdout(), "{} {}", counts.0.get(), counts.1.get())?;
    Ok(ExitCode::SUCCESS)
}

async fn be_honest(address: SocketAddr, count: usize, seed: u64) -> Result<ExitCode> {
    let mut random = SplitMix64::new(!seed);
    let all: Vec<_> = (0..count)
        .map(|_| {
            let mut random = SplitMix64::new(random.next_u64());
            spawn_local(async move {
                let (began, mut attempts) = (Instant::now(), 0_u64);
                loop {
                    attempts += 1;
                    match talk(address, parameters(&mut random)).await {
                        Ok(()) => return Ok((began.elapsed(), attempts)),
                        // A listener that is too busy for a handshake is dialled again.
                        Err(Refusal::Handshake(_)) if began.elapsed() < PATIENCE => {}
                        Err(Refusal::Handshake(error) | Refusal::Broken(error)) => {
                            return Err(error);
                        }
                    }
                }
            })
        })
        .collect();
    let (mut longest, mut again, mut code) = (Duration::ZERO, 0, ExitCode::SUCCESS);
    for task in all {
        match task.await? {
            Ok((took, attempts)) => {
                longest = longest.max(took);
                again += attempts - 1;
            }
            Err(error) => {
                eprintln!("honest: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    println!("{:.1} s, {again} redialled", longest.as_secs_f64());
    Ok(code)
}

/// Why an honest client was not served.
enum Refusal {
    Handshake(String),
    Broken(String),
}

async fn talk(
    address: SocketAddr,
    parameters: StreamParameters<'static>,
) -> std::result::Result<(), Refusal> {
    let fail = |error: &dyn std::fmt::Display| Refusal::Broken(error.to_string());
    let early = |error: &dyn std::fmt::Display| Refusal::Handshake(error.to_string());
    let stream = TcpStream::connect(address).await.map_err(|error| early(&error))?;
    let timer = TokioTimer::new();
    let connection = Connection::client(Config::default(), parameters, timer.now());
    let (session, mut events, driver) = session(TokioIo::new(stream), connection, timer);
    let hearing = async { while events.next().await.is_some() {} };
    let talking = async {
        session.opened().await.map_err(|error| early(&error))?;
        let file = Bytes::from(vec![9; FILE]);
        let offer = Offer::new("file").size(FILE as u64);
        let mut outgoing = session.offer(&offer).await.map_err(|error| fail(&error))?;
        outgoing.accepted().await.map_err(|error| fail(&error))?;
        outgoing.send(file.clone()).await.map_err(|error| fail(&error))?;
        for n in 0..LINES {
            let receipt = session.send_chat(&Chat::new(n.to_string())).await;
            if receipt.map_err(|error| fail(&error))?.await != Fate::Delivered {
                return Err(Refusal::Broken("a line was lost".to_owned()));
            }
        }
        let digest = Digest::Blake3(*blake3::hash(&file).as_bytes());
        outgoing.finish(Some(digest)).await.map_err(|error| fail(&error))?;
        session.close(CloseCode::DONE, "").map_err(|error| fail(&error))
    };
    let (said, _) = join(talking, join(driver, hearing)).await;
    said
}
