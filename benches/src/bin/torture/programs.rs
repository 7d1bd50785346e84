//! Programs that connect to the listener of the crowd: hostile ones, and honest ones.

use std::cell::Cell;
use std::io::{BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use duologue::io::TokioIo;
use duologue::proto::{Config, Connection, StreamParameters};
use duologue::session::session;
use duologue::testing::SplitMix64;
use duologue::testing::hostile::{HostilePeer, Misbehaviour, Outcome};
use duologue::time::{Timer, TokioTimer};
use duologue::wire::{CloseCode, Side};
use futures::StreamExt;
use futures::future::join;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use crate::Result;
use crate::attacks::talk::Talk;
use crate::crowd::{attackers, raise_limit};

/// The honest ones have to be done within this.
const PATIENCE: Duration = Duration::from_secs(240);
/// What a program that knows this may take longer.
const SLACK: Duration = Duration::from_secs(30);
/// What each of the honest ones says.
const TALK: Talk = Talk { lines: 10, file: 100_000 };
/// One of so many lets go when it may, and attacks.
pub(crate) const ATTACKERS: u64 = 5;
/// Where those connect from who never let go, so that the listener can tell them from all others.
pub(crate) const HOLDERS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// What tells the hostile ones that they may.
pub(crate) const START: &str = "start\n";

/// One of them, seen from the listener's.
pub(crate) struct Program {
    what: &'static str,
    child: Child,
    input: Option<ChildStdin>,
}

impl Program {
    pub(crate) fn begin(
        what: &'static str,
        address: SocketAddr,
        count: usize,
        seed: u64,
    ) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--crowd", what, &address.to_string(), &count.to_string()]);
        command.args(["--seed", &seed.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        Ok(Self { what, child, input })
    }

    pub(crate) fn say(&mut self, words: &str) -> Result<()> {
        let input = self.input.as_mut().ok_or("it was let go")?;
        Ok(input.write_all(words.as_bytes())?)
    }

    /// The hostile ones end when they are let go.
    pub(crate) fn let_go(&mut self) {
        self.input = None;
    }

    /// Its last words; or why there are none, or they are not good. It does not outlive its time.
    pub(crate) async fn words(mut self) -> Result<Result<String, String>> {
        let mut output = self.child.stdout.take().ok_or("it has no output")?;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut words = String::new();
            let read = output.read_to_string(&mut words);
            let _ = sender.send(read.map(|_| words));
        });
        let Ok(words) = timeout(PATIENCE + SLACK, receiver).await else {
            self.child.kill()?;
            self.child.wait()?;
            let long = PATIENCE + SLACK;
            return Ok(Err(format!(
                "the {} program hung, and was ended after {long:?}",
                self.what
            )));
        };
        let (words, status) = (words??, self.child.wait()?);
        Ok(match status.success() {
            true => Ok(words),
            false => Err(format!("the {} program: {status}: {}", self.what, words.trim())),
        })
    }
}

/// The whole of such a program.
pub(crate) fn run(what: &str, address: SocketAddr, count: usize, seed: u64) -> Result<ExitCode> {
    raise_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    match what {
        "hostile" => local.block_on(&runtime, be_hostile(address, count, seed)),
        _ => local.block_on(&runtime, be_honest(address, count, seed)),
    }
}

/// Attacks that ended, and those of them that did so otherwise than over a quiet stream.
#[derive(Default)]
struct Counts {
    all: Cell<u64>,
    otherwise: Cell<u64>,
}

async fn be_hostile(address: SocketAddr, count: usize, seed: u64) -> Result<ExitCode> {
    let counts = Rc::new(Counts::default());
    let (start, has_started) = watch::channel(false);
    for n in 0..count as u64 {
        let mut random = SplitMix64::new(seed ^ (n << 20));
        let (counts, mut has_started) = (Rc::clone(&counts), has_started.clone());
        spawn_local(async move {
            // Not all in the same moment.
            sleep(Duration::from_millis(random.below(5_000))).await;
            let lets_go = n % ATTACKERS == 0;
            let from = if lets_go { Ipv4Addr::LOCALHOST } else { HOLDERS };
            tokio::select! {
                () = hold(from, address, &mut random) => {}
                _ = has_started.wait_for(|has_started| *has_started && lets_go) => {}
            }
            loop {
                attack(address, &mut random, &counts).await;
                sleep(Duration::from_millis(random.below(5_000))).await;
            }
        });
    }
    // Until whoever began it lets go.
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let _ = input.read_line(&mut String::new());
        let _ = start.send(true);
        let _ = input.read_line(&mut String::new());
        let _ = sender.send(());
    });
    receiver.await?;
    // Half of the attackers have ended something: else it was over too soon to be an attack.
    let began = Instant::now();
    while counts.all.get() < attackers(count).div_ceil(2) as u64 && began.elapsed() < SLACK {
        sleep(Duration::from_millis(50)).await;
    }
    writeln!(std::io::stdout(), "{} {}", counts.all.get(), counts.otherwise.get())?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the listener hold what it may, for ever: whoever is sent away comes back.
async fn hold(from: Ipv4Addr, address: SocketAddr, random: &mut SplitMix64) {
    let Some(hoarder) = Misbehaviour::by_name("hoarder") else { return };
    loop {
        if let Ok(stream) = connect(from, address).await {
            let peer = HostilePeer::new(hoarder, Side::Client, random.next_u64());
            peer.run(TokioIo::new(stream), TokioTimer::new()).await;
        }
        sleep(Duration::from_millis(100 + random.below(1_000))).await;
    }
}

async fn connect(from: Ipv4Addr, address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(address).await
}

/// Does something of what can be done.
async fn attack(address: SocketAddr, random: &mut SplitMix64, counts: &Counts) {
    let known = Misbehaviour::of_peer(Side::Client);
    let index = random.below(known.clone().count() as u64) as usize;
    let Some(misbehaviour) = known.into_iter().nth(index) else { return };
    let peer = HostilePeer::new(misbehaviour, Side::Client, random.next_u64());
    let dial = || async { TcpStream::connect(address).await.ok().map(TokioIo::new) };
    let peer = peer.patience(Duration::from_secs(30));
    let report = peer.run_over(dial, TokioTimer::new()).await;
    counts.all.set(counts.all.get() + 1);
    let is_other = report.check().is_err() && report.outcome != Outcome::Dropped;
    counts.otherwise.set(counts.otherwise.get() + u64::from(is_other));
}

async fn be_honest(address: SocketAddr, count: usize, seed: u64) -> Result<ExitCode> {
    let mut random = SplitMix64::new(!seed);
    let all: Vec<_> = (0..count)
        .map(|n| {
            let mut random = SplitMix64::new(random.next_u64());
            spawn_local(async move {
                let (began, doing) = (Instant::now(), Doing::default());
                match timeout(PATIENCE, keep_talking(address, &mut random, &doing)).await {
                    Ok(Ok(())) => Ok((began.elapsed(), doing.attempts.get())),
                    Ok(Err(error)) => Err(format!("honest client {n}: {error}")),
                    Err(_) => {
                        let (attempts, what) = (doing.attempts.get(), doing.what.get());
                        Err(format!(
                            "honest client {n} was not served within {PATIENCE:?}: {what}, attempt {attempts}"
                        ))
                    }
                }
            })
        })
        .collect();
    let (mut longest, mut again, mut errors) = (Duration::ZERO, 0, Vec::new());
    for task in all {
        match task.await? {
            Ok((took, attempts)) => {
                longest = longest.max(took);
                again += attempts - 1;
            }
            Err(error) => errors.push(error),
        }
    }
    match errors.first() {
        None => println!("{:.1} s, {again} redialled", longest.as_secs_f64()),
        Some(first) => println!("{} of {count} failed; the first: {first}", errors.len()),
    }
    Ok(if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What an honest client is doing.
#[derive(Default)]
struct Doing {
    attempts: Cell<u64>,
    what: Cell<&'static str>,
}

/// A listener that is too busy for a handshake is dialled again; what has begun has to end well.
async fn keep_talking(
    address: SocketAddr,
    random: &mut SplitMix64,
    doing: &Doing,
) -> Result<(), String> {
    loop {
        doing.attempts.set(doing.attempts.get() + 1);
        doing.what.set("connecting");
        let Ok(stream) = TcpStream::connect(address).await else {
            sleep(Duration::from_millis(random.below(1_000))).await;
            continue;
        };
        let mut seed = [0; 32];
        seed.fill_with(|| random.next_u64().to_be_bytes()[0]);
        let timer = TokioTimer::new();
        let config = Config::default();
        let connection = Connection::client(config, StreamParameters::new(seed), timer.now());
        let (session, mut events, driver) = session(TokioIo::new(stream), connection, timer);
        let hearing = async { while events.next().await.is_some() {} };
        let talking = async {
            doing.what.set("in the handshake");
            if session.opened().await.is_err() {
                return Ok(false);
            }
            doing.what.set("talking");
            TALK.say(&session).await?;
            doing.what.set("taking leave");
            session.close(CloseCode::DONE, "").map(|()| true).map_err(|error| error.to_string())
        };
        let (talked, _) = join(talking, join(driver, hearing)).await;
        if talked? {
            return Ok(());
        }
    }
}
