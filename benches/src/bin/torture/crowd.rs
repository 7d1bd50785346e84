//! Ten thousand hostile connections at once to one listener, beside a hundred honest ones.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue::io::TokioIo;
use duologue::proto::{Config, StreamParameters};
use duologue::session::{
    Accepted, Conversations, Event, Events, IncomingOffer, Session, worst_case_memory,
};
use duologue::testing::SplitMix64;
use duologue::time::TokioTimer;
use duologue::wire::Offer;
use futures::StreamExt;
use futures::future::{Either, LocalBoxFuture, join, select};
use futures::stream::FuturesUnordered;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use crate::Result;
use crate::arguments::Arguments;
use crate::attacks::talk::take;
use crate::programs::{ATTACKERS, HOLDERS, Program, START};
use crate::table::Table;

/// Hostile connections, and honest ones, where there is room for so many.
const HOSTILE: usize = 10_000;
const HONEST: usize = 100;
/// With fewer than so many it is no crowd.
const FEWEST: usize = 100;
/// Programs that the hostile ones are in, so that no program has both ends.
const PROGRAMS: usize = 2;
/// Descriptors that a program needs beside its connections, at most: also for those that have ended at one
/// side.
const SPARE: usize = 1_000;
/// The hostile ones have to be there, and later all be gone, within this.
const GATHERING: Duration = Duration::from_secs(180);
/// How long they are left alone once they are there.
const SETTLING: Duration = Duration::from_secs(5);
/// What a stream holds beside what its limits let a peer make it hold: the conversation itself (some
/// 3 KB when it is idle), its queues and its plan, what is read at a time, the application's tasks.
const FIXED: u64 = 48 << 10;
/// The share of the sum of bounds that has to be reached: else it is no attack on memory.
const REACHED: f64 = 0.4;
/// What may be left of it when all have gone.
const LEFT: u64 = 64 << 10;

type Io = TokioIo<TcpStream>;

/// As little as there may be, so that all of it can be reached; and time-outs that do not end those
/// who are alive.
fn config() -> Result<Config> {
    let second = Duration::from_secs(1);
    let config = Config::builder()
        .max_item(16 << 10)
        .max_untaken(16)
        .max_untaken_bytes(16 << 10)
        .max_transfers(2)
        .max_undecided(2)
        .member_credit(0)
        .receive_window(64 << 10)
        .reserved_window(4 << 10)
        .outgoing_transfers(1)
        .send_buffer(32 << 10)
        .queued_items(16)
        .queued_bytes(16 << 10)
        .handshake_timeout(second * 60)
        .stall_timeout(second * 600)
        .close_timeout(second * 2)
        .detached_timeout(second * 2);
    Ok(config.build()?)
}

/// What a stream may hold, of the limits that `Config` documents, each as `worst_case_memory` counts it;
/// without what that adds for a machine of any configuration, which no peer can reach with this one.
fn bound(config: &Config) -> u64 {
    let limits = config.limits();
    let parts = 4 * u64::from(limits.item);
    let untaken = 2 * u64::from(limits.item_bytes);
    // In the machine; and as much of what it was read into.
    let files = 2 * config.receive_window() as u64
        + u64::from(limits.transfers) * u64::from(limits.member_credit.max(4 << 10));
    let queued = 2 * (16 << 10);
    let sent = 32 << 10;
    parts + untaken + files + queued + sent + FIXED
}

fn parameters(random: &mut SplitMix64) -> StreamParameters<'static> {
    let mut seed = [0; 32];
    for chunk in seed.chunks_mut(8) {
        chunk.copy_from_slice(&random.next_u64().to_be_bytes());
    }
    StreamParameters::new(seed)
}

/// As many descriptors as there may be.
pub(crate) fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    // What is not granted is not there.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit });
    getrlimit(Resource::Nofile).current.unwrap_or(most)
}

fn descriptors() -> Option<usize> {
    std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count)
}

/// How many there are of each, and what keeps it from being more.
struct Size {
    hostile: usize,
    honest: usize,
    reason: Option<String>,
}

impl Size {
    /// As many as there may be descriptors for, and memory for all that they may make the listener hold.
    fn new(config: &Config) -> Self {
        let limit = raise_limit();
        let descriptors = usize::try_from(limit).unwrap_or(usize::MAX);
        let honest = HONEST.min(descriptors / 20);
        let by_descriptors = descriptors - SPARE.min(descriptors / 4) - honest;
        let memory = available_memory();
        let by_memory = memory.map_or(u64::MAX, |bytes| bytes / bound(config));
        let by_memory = usize::try_from(by_memory).unwrap_or(usize::MAX).saturating_sub(honest);
        let hostile = HOSTILE.min(by_descriptors).min(by_memory);
        let reason = if hostile == HOSTILE {
            None
        } else if by_memory < by_descriptors {
            let mebibytes = memory.unwrap_or(0) >> 20;
            Some(format!(
                "{mebibytes} MiB of memory are available, and each may hold {} KiB",
                bound(config) >> 10
            ))
        } else {
            Some(format!("a program may have {limit} descriptors here (ulimit -Hn)"))
        };
        Self { hostile, honest, reason }
    }

    /// Those that hold what they can until the end: they are always there.
    fn holders(&self) -> usize {
        let in_programs = (0..PROGRAMS).map(|n| program_size(self.hostile, n));
        in_programs.map(|count| count - attackers(count)).sum()
    }
}

/// Of the hostile ones, how many a program has.
fn program_size(hostile: usize, program: usize) -> usize {
    hostile / PROGRAMS + usize::from(program < hostile % PROGRAMS)
}

/// Of those in a program, how many attack in the end.
pub(crate) fn attackers(count: usize) -> usize {
    count.div_ceil(ATTACKERS as usize)
}

/// Bytes that may be had without taking them from others, if the system says so.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let all = line.split_whitespace().next()?.parse::<u64>().ok()? << 10;
    Some(all.min(left_of_group().unwrap_or(u64::MAX)))
}

/// What the control group of this program, if it is seen from inside, may still have.
fn left_of_group() -> Option<u64> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    Some(read("memory.max")?.saturating_sub(read("memory.current")?))
}

/// What the listener counts.
#[derive(Default)]
struct Count {
    streams: Cell<u64>,
    now: Cell<usize>,
    most: Cell<usize>,
    /// Of those now, the ones of the holders that have begun a file, and have their stream.
    holding: Cell<usize>,
    /// Files that were begun.
    begun: Cell<usize>,
}

/// What came of it.
#[derive(Default)]
struct Outcomes {
    /// Streams when the honest ones began.
    at_once: usize,
    /// The fewest that the holders had until the honest ones had finished.
    least: usize,
    /// Why the honest ones have not all finished.
    failure: Option<String>,
    longest: String,
    attacks: u64,
    otherwise: u64,
    left: usize,
}

pub(crate) fn run(arguments: &Arguments, table: &mut Table) -> Result<()> {
    let config = config()?;
    let size = Size::new(&config);
    let Size { hostile, honest, .. } = size;
    if let Some(reason) = &size.reason {
        let what = if hostile < FEWEST {
            format!("NOT RUN: {reason}, and {FEWEST} hostile connections are the fewest")
        } else {
            format!("ONLY {hostile} OF {HOSTILE} HOSTILE CONNECTIONS: {reason}")
        };
        println!("  {what}");
        table.skip(format!("crowd: {what}"), "--only crowd");
        if hostile < FEWEST {
            return Ok(());
        }
    }
    let before = descriptors();
    let count = Rc::new(Count::default());
    let mut outcomes = Err("it was not run".into());
    let counted = allocation_counter::measure(|| {
        outcomes = listen(arguments.seed, &size, &config, &count);
    });
    let outcomes = outcomes?;
    let after = descriptors();
    let bound = (hostile + honest) as u64 * bound(&config);
    let share = counted.bytes_max as f64 / bound as f64;
    for what in failures(&outcomes, &size, &counted, bound) {
        table.fail(format!("crowd: {what}"), format!("--only crowd --seed {}", arguments.seed));
    }
    if before != after {
        let what = format!("crowd: {before:?} descriptors before, {after:?} after");
        table.fail(what, format!("--only crowd --seed {}", arguments.seed));
    }
    table.row("hostile connections at once", format!("{} of {HOSTILE}", outcomes.at_once));
    table.row("of these hold on, while the honest ones talk", outcomes.least);
    table.row("streams at a time, at most", count.most.get());
    table.row("streams accepted", count.streams.get());
    table.row("attacks that ended", outcomes.attacks);
    table.row("of these not as over a quiet stream", outcomes.otherwise);
    let finished = if outcomes.failure.is_none() { "all" } else { "NOT ALL" };
    table.row("honest clients, and how many finished", format!("{honest}, {finished}"));
    table.row("longest of these", &outcomes.longest);
    table.row("memory at most, bytes", counted.bytes_max);
    table.row("a stream", counted.bytes_max / count.most.get().max(1) as u64);
    table.row("sum of bounds, bytes", bound);
    table.row("of the sum of bounds", format!("{:.1} %", 100.0 * share));
    table.row("worst case of a conversation like these", worst_case_memory(&config));
    table.row("bytes left", counted.bytes_current);
    let shown = |count: Option<usize>| count.map_or("-".to_owned(), |count| count.to_string());
    table.row("descriptors before, and after", format!("{}, {}", shown(before), shown(after)));
    Ok(())
}

/// What did not hold.
fn failures(
    outcomes: &Outcomes,
    size: &Size,
    counted: &allocation_counter::AllocationInfo,
    bound: u64,
) -> Vec<String> {
    let mut failures = Vec::from_iter(outcomes.failure.clone());
    let Outcomes { at_once, least, attacks, left, .. } = outcomes;
    let (hostile, holders) = (size.hostile, size.holders());
    if *at_once < hostile {
        failures.push(format!("{at_once} hostile connections at once, and not {hostile}"));
    }
    if *least < holders {
        failures.push(format!("{least} held on while the honest ones talked, and not {holders}"));
    }
    let enough = (hostile - holders) as u64 / 2;
    if *attacks < enough {
        failures.push(format!("{attacks} attacks ended, and not {enough}"));
    }
    if *left > 0 {
        failures.push(format!("{left} streams are left"));
    }
    let (peak, current) = (counted.bytes_max, counted.bytes_current);
    if peak > bound {
        failures.push(format!("{peak} bytes, and {bound} are the sum of bounds"));
    }
    if (peak as f64) < REACHED * bound as f64 {
        failures.push(format!("{peak} bytes are too little of {bound} to say that a bound holds"));
    }
    if current > LEFT as i64 {
        failures.push(format!("{current} bytes are left"));
    }
    failures
}

fn listen(seed: u64, size: &Size, config: &Config, count: &Rc<Count>) -> Result<Outcomes> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let (calm, is_calm) = watch::channel(false);
    let outcomes = local.block_on(&runtime, async {
        let socket = TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse()?)?;
        let listener = socket.listen(8192)?;
        let address = listener.local_addr()?;
        let conversations = Conversations::new(config.clone()).max_conversations(4 * HOSTILE);
        let (inner, counter) = (conversations.clone(), Rc::clone(count));
        let accepting = spawn_local(async move {
            let mut random = SplitMix64::new(seed);
            loop {
                let Ok((stream, peer)) = listener.accept().await else {
                    sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let (conversations, count) = (inner.clone(), Rc::clone(&counter));
                let (parameters, is_calm) = (parameters(&mut random), is_calm.clone());
                spawn_local(async move {
                    count.streams.set(count.streams.get() + 1);
                    count.now.set(count.now.get() + 1);
                    count.most.set(count.most.get().max(count.now.get()));
                    let stream = TokioIo::new(stream);
                    let is_holder = peer.ip() == IpAddr::from(HOLDERS);
                    serve(&conversations, stream, parameters, &count, is_holder, is_calm).await;
                    count.now.set(count.now.get() - 1);
                });
            }
        });
        let outcomes = attack(address, size, seed, count, calm).await;
        accepting.abort();
        let began = Instant::now();
        while (count.now.get() > 0 || !conversations.is_empty()) && began.elapsed() < GATHERING {
            sleep(Duration::from_millis(50)).await;
        }
        outcomes.map(|outcomes| Outcomes { left: count.now.get(), ..outcomes })
    });
    drop(local);
    outcomes
}

/// All are there at first and hold what they can; then the honest ones come, and of the others some let
/// go and do everything else that can be done.
async fn attack(
    address: SocketAddr,
    size: &Size,
    seed: u64,
    count: &Count,
    calm: watch::Sender<bool>,
) -> Result<Outcomes> {
    let mut programs: Vec<Program> = Vec::new();
    for n in 0..PROGRAMS {
        let many = program_size(size.hostile, n);
        programs.push(Program::begin("hostile", address, many, seed + n as u64)?);
    }
    let mut outcomes = Outcomes::default();
    let began = Instant::now();
    let are_there = || {
        let has_begun = count.begun.get() >= size.hostile && count.holding.get() >= size.holders();
        count.now.get() >= size.hostile && has_begun
    };
    while !are_there() && began.elapsed() < GATHERING {
        sleep(Duration::from_millis(50)).await;
    }
    outcomes.at_once = count.now.get();
    sleep(SETTLING).await;
    calm.send(true)?;
    for program in &mut programs {
        program.say(START)?;
    }
    let honest = Program::begin("honest", address, size.honest, seed)?;
    let mut least = usize::MAX;
    let watching = async {
        loop {
            // Neither the honest ones nor those who attack are among them.
            least = least.min(count.holding.get());
            sleep(Duration::from_millis(50)).await;
        }
    };
    let words = match select(Box::pin(honest.words()), Box::pin(watching)).await {
        Either::Left((words, _)) => words?,
        Either::Right(((), _)) => return Err("it was watched for ever".into()),
    };
    outcomes.least = least;
    match words {
        Ok(words) => outcomes.longest = words.trim().to_owned(),
        Err(failure) => outcomes.failure = Some(failure),
    }
    for mut program in programs {
        program.let_go();
        match program.words().await? {
            Ok(words) => {
                let mut words = words.split_whitespace().map(str::parse::<u64>);
                outcomes.attacks += words.next().transpose()?.unwrap_or(0);
                outcomes.otherwise += words.next().transpose()?.unwrap_or(0);
            }
            Err(failure) => outcomes.failure = Some(failure),
        }
    }
    Ok(outcomes)
}

async fn serve(
    conversations: &Conversations<Io>,
    stream: Io,
    parameters: StreamParameters<'_>,
    count: &Count,
    is_holder: bool,
    is_calm: watch::Receiver<bool>,
) {
    let accepted = conversations.accept(stream, parameters, TokioTimer::new()).await;
    if let Ok(Accepted::New(session, events, driver)) = accepted {
        let holds = Cell::new(false);
        let let_go = || count.holding.set(count.holding.get() - usize::from(holds.take()));
        let begun = || {
            count.begun.set(count.begun.get() + 1);
            let is_first = is_holder && !holds.replace(is_holder);
            count.holding.set(count.holding.get() + usize::from(is_first));
        };
        // Without its stream it holds on to nothing, though its conversation goes on for a while.
        let on_event = |event: &Event| match event {
            Event::Offer(_) => begun(),
            Event::Detached(_) => let_go(),
            _ => {}
        };
        join(driver, application(session, events, on_event, is_calm)).await;
        let_go();
    }
}

/// Offers a file, and takes whatever comes; files only once there is time for them.
async fn application(
    session: Session,
    mut events: Events,
    on_event: impl Fn(&Event),
    is_calm: watch::Receiver<bool>,
) {
    let mut tasks: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
    tasks.push(Box::pin(give(&session)));
    loop {
        let event = match select(events.next(), tasks.next()).await {
            Either::Left((event, _)) => event,
            Either::Right((Some(()), _)) => continue,
            Either::Right((None, next)) => next.await,
        };
        event.iter().for_each(&on_event);
        match event {
            None => return,
            Some(Event::Offer(offer)) => {
                tasks.push(Box::pin(keep(offer, is_calm.clone())));
            }
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
        while outgoing.send(Bytes::from(vec![7; 4096])).await.is_ok() {}
    }
}

async fn keep(offer: IncomingOffer, mut is_calm: watch::Receiver<bool>) {
    let Ok(incoming) = offer.accept() else { return };
    // Who leaves meanwhile is not waited for.
    let _ = is_calm.wait_for(|is_calm| *is_calm).await;
    let _ = take(incoming).await;
}
