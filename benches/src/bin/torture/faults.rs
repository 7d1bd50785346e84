use std::cell::Cell;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use duologue::proto::{Config, Connection, StreamParameters};
use duologue::session::{Accepted, Conversations, Driver, Events, Outcome, Session, session};
use duologue::testing::hostile::{Culprit, Misbehaviour};
use duologue::testing::{Duplex, Fault, Faulty, Script, duplex};
use duologue::time::{VirtualClock, VirtualTimer};
use duologue::wire::CloseCode;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{join, join3};
use futures::stream::FuturesUnordered;

use crate::Result;
use crate::arguments::Arguments;
use crate::attacks::talk::{Heard, Talk, hear};
use crate::attacks::{Strikes, befall};
use crate::counted::{Calls, Counted};
use crate::table::{Table, caught, on_all_cores};

/// How often each thing befalls a disk.
const DISK_SEEDS: u64 = 400;
const TALK: Talk = Talk { lines: 12, file: 60_000 };

/// What happens to a call; whether that breaks the stream, or may not.
const KINDS: [(&str, Fault, Then); 10] = [
    ("cut", Fault::Cut, Then::Breaks),
    ("reset", Fault::Fail(ErrorKind::ConnectionReset), Then::Breaks),
    // As an error it is a fault of whoever adapted the stream: one that is to wait says so otherwise.
    ("would-block", Fault::Fail(ErrorKind::WouldBlock), Then::Breaks),
    ("claims-too-much", Fault::Overrun, Then::Breaks),
    ("nothing", Fault::Zero, Then::Breaks),
    ("stalls", Fault::Stall, Then::Breaks),
    ("interrupted", Fault::Fail(ErrorKind::Interrupted), Then::GoesOn),
    ("waits", Fault::Delay(Duration::from_millis(20)), Then::GoesOn),
    ("wakes-for-nothing", Fault::SpuriousWake, Then::GoesOn),
    ("a-byte", Fault::Split(1), Then::GoesOn),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Breaks,
    GoesOn,
}

type Io = Counted<Faulty<Duplex>>;

/// Where it happens: at the client's stream or the listener's, to reads or to writes, and to which.
#[derive(Debug, Clone, Copy)]
struct Case {
    kind: usize,
    is_client: bool,
    is_read: bool,
    call: usize,
}

impl Case {
    /// What names it, and the beginning of that all like it: the kind, the side, the way, the call.
    fn name(self) -> String {
        let side = if self.is_client { "client" } else { "listener" };
        let way = if self.is_read { "read" } else { "write" };
        format!("{}:{side}:{way}:{}", KINDS[self.kind].0, self.call)
    }

    fn is_of(self, beginning: &str) -> bool {
        format!("{}:", self.name()).starts_with(&format!("{beginning}:"))
    }
}

/// All of them; an error if a conversation fails to which nothing happens.
fn cases() -> Result<Vec<Case>, String> {
    let sides = [(true, true), (true, false), (false, true), (false, false)];
    let mut cases = Vec::new();
    for (is_client, is_read) in sides {
        let most = caught(|| calls(is_client, is_read))?;
        let of_kind = |kind| (0..most).map(move |call| Case { kind, is_client, is_read, call });
        cases.extend((0..KINDS.len()).flat_map(of_kind));
    }
    Ok(cases)
}

/// Those of that name alone, or what befalls a disk with that seed.
pub(crate) fn one(name: &str, seed: u64) -> Result<ExitCode> {
    let results = match Misbehaviour::by_name(name).filter(|m| m.culprit() == Culprit::Storage) {
        Some(misbehaviour) => {
            let result = caught(|| befall(misbehaviour, seed));
            vec![(name.to_owned(), result.map(|_| "it held".to_owned()))]
        }
        None => {
            let cases = cases()?.into_iter().filter(|case| case.is_of(name));
            let survive = |case: Case| {
                let result = caught(|| survive(case));
                let checked = result
                    .and_then(|survived| Tally::default().add(case, survived).map(|()| survived));
                (case.name(), checked.map(|survived| format!("{survived:?}")))
            };
            cases.map(survive).collect()
        }
    };
    if results.is_empty() {
        return Err(format!("there is no fault {name}").into());
    }
    let mut code = ExitCode::SUCCESS;
    for (name, result) in results {
        match result {
            Ok(what) => println!("{name}: {what}"),
            Err(error) => {
                println!("{name}: FAILED: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

pub(crate) fn run(arguments: &Arguments, table: &mut Table) -> Result<()> {
    let ended = streams(arguments, table);
    disks(arguments, table);
    ended
}

/// Every call of a stream fails in every way.
fn streams(arguments: &Arguments, table: &mut Table) -> Result<()> {
    let cases = cases()?;
    let results = on_all_cores(&cases, |case| survive(*case));
    let mut tally = [Tally::default(); KINDS.len()];
    for (case, result) in cases.into_iter().zip(results) {
        if let Err(error) = result.and_then(|survived| tally[case.kind].add(case, survived)) {
            let name = case.name();
            table.fail(format!("{name}: {error}"), format!("--fault {name}"));
        }
    }
    for ((name, _, then), tally) in KINDS.iter().zip(&tally) {
        // How often is known of all of them alone.
        if let Err(error) = tally.check(*then) {
            table.fail(format!("{name}: {error}"), "--only faults");
        }
        if arguments.only.is_some() {
            let Tally { happened, broke, early } = tally;
            table.row(
                &format!("{name}: happened, broke, in the handshake"),
                format!("{happened}, {broke}, {early}"),
            );
        }
    }
    let sum = |of: fn(&Tally) -> u64| tally.iter().map(of).sum::<u64>();
    table.row("faults of a call of a stream", sum(|tally| tally.happened));
    let least = KINDS.iter().zip(&tally).min_by_key(|(_, tally)| tally.happened);
    if let Some(((name, ..), tally)) = least {
        table.row(&format!("least of a kind: {name}"), tally.happened);
    }
    table.row("streams broken by them", sum(|tally| tally.broke));
    Ok(())
}

/// Everything that befalls disks does.
fn disks(arguments: &Arguments, table: &mut Table) {
    let disks: Vec<&'static Misbehaviour> =
        Misbehaviour::all().filter(|m| m.culprit() == Culprit::Storage).collect();
    let mut struck = 0;
    for misbehaviour in &disks {
        let seeds: Vec<u64> = (arguments.seed..arguments.seed + DISK_SEEDS).collect();
        let results = on_all_cores(&seeds, |seed| befall(misbehaviour, *seed));
        let (mut strikes, mut is_wrong) = (Strikes::default(), false);
        for (seed, result) in seeds.iter().zip(results) {
            match result {
                Ok(befallen) => strikes.add(befallen),
                Err(error) => {
                    is_wrong = true;
                    let what = format!("{misbehaviour}, seed {seed}: {error}");
                    table.fail(what, format!("--fault {misbehaviour} --seed {seed}"));
                }
            }
        }
        if let (false, Err(error)) = (is_wrong, strikes.check(misbehaviour.expected())) {
            table.fail(format!("{misbehaviour}: {error}"), "--only faults");
        }
        if arguments.only.is_some() {
            let Strikes { struck, refused, .. } = strikes;
            let what = format!("{misbehaviour}: struck, refused");
            table.row(&what, format!("{struck}, {refused}"));
        }
        struck += strikes.struck;
    }
    table.row("things that befall a disk", disks.len());
    table.row("files received meanwhile", struck);
}

/// What became of a conversation.
#[derive(Debug, Clone, Copy)]
struct Survived {
    /// Streams that broke.
    breaks: u64,
    /// The call that was to fail was made.
    has_happened: bool,
    /// It ended before the listener had anything of it.
    is_early: bool,
}

/// What became of all those of one kind.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    happened: u64,
    broke: u64,
    early: u64,
}

impl Tally {
    fn add(&mut self, case: Case, survived: Survived) -> Result<(), String> {
        let Survived { breaks, has_happened, is_early } = survived;
        self.happened += u64::from(has_happened);
        self.broke += breaks;
        self.early += u64::from(is_early);
        match KINDS[case.kind].2 {
            Then::GoesOn if breaks > 0 || is_early => {
                Err("what does not matter broke it".to_owned())
            }
            _ if !has_happened && (breaks > 0 || is_early) => {
                Err("it broke, and nothing had happened".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn check(&self, then: Then) -> Result<(), String> {
        if self.happened < LEAST {
            return Err(format!("it happened {} times, and not {LEAST}", self.happened));
        }
        if then == Then::Breaks && self.broke < self.happened / 4 {
            return Err(format!("{} of {} broke a stream", self.broke, self.happened));
        }
        Ok(())
    }
}

/// How often each kind has to happen: a conversation makes some 70 calls on each side, each way.
const LEAST: u64 = 150;

/// How many calls a conversation makes to which nothing happens.
fn calls(is_client: bool, is_read: bool) -> Result<usize, String> {
    let never = Case { kind: 0, is_client, is_read, call: usize::MAX };
    let (made, _) = converse(never, Script::new())?;
    Ok(made)
}

struct World {
    clock: VirtualClock,
    streams: Cell<u8>,
}

impl World {
    fn parameters(&self) -> StreamParameters<'static> {
        self.streams.set(self.streams.get().wrapping_add(1));
        StreamParameters::new([self.streams.get(); 32])
    }

    fn clean(&self, stream: Duplex) -> Io {
        Counted::new(Faulty::new(stream, Script::new(), &self.clock), Rc::default())
    }
}

/// A conversation of which that call fails.
fn survive(case: Case) -> Result<Survived, String> {
    let faults = std::iter::repeat_n(Fault::Pass, case.call).chain([KINDS[case.kind].1.clone()]);
    let script = match case.is_read {
        true => Script::new().reads(faults),
        false => Script::new().writes(faults),
    };
    let (made, breaks) = converse(case, script)?;
    let has_happened = made > case.call;
    Ok(Survived { breaks: breaks.unwrap_or(0), has_happened, is_early: breaks.is_none() })
}

/// A conversation over a first stream to which that happens; how many calls of that kind it made of it,
/// and how many streams broke: `None` if it ended before there was anything to lose.
fn converse(case: Case, script: Script) -> Result<(usize, Option<u64>), String> {
    let world = World { clock: VirtualClock::new(), streams: Cell::new(0) };
    let (near, far) = duplex(4096);
    let (of_client, of_listener) = match case.is_client {
        true => (script, Script::new()),
        false => (Script::new(), script),
    };
    let calls = [Rc::new(Calls::default()), Rc::new(Calls::default())];
    let near = Counted::new(Faulty::new(near, of_client, &world.clock), Rc::clone(&calls[0]));
    let far = Counted::new(Faulty::new(far, of_listener, &world.clock), Rc::clone(&calls[1]));
    let connection = Connection::client(Config::default(), world.parameters(), world.clock.now());
    let (session, events, driver) = session(near, connection, world.clock.timer());
    let (dial, arrivals) = mpsc::unbounded();
    dial.unbounded_send(far).map_err(|error| error.to_string())?;
    let client = join3(speak(session), drain(events), drive(&world, driver, dial));
    let all = join(client, listen(&world, arrivals));
    let ((said, (), breaks), heard) =
        world.clock.block_on(all).map_err(|stuck| stuck.to_string())?;
    let calls = &calls[usize::from(!case.is_client)];
    let made = if case.is_read { calls.reads.get() } else { calls.writes.get() };
    match (said, heard?) {
        // It broke before the listener had anything of it: there was nothing to lose.
        (Ok(false) | Err(_), false) => Ok((made, None)),
        (Ok(true), true) => Ok((made, Some(breaks?))),
        (Ok(_), _) => Err("nobody listened, or to nobody".to_owned()),
        (Err(error), true) => Err(error),
    }
}

async fn drain(mut events: Events) {
    while events.next().await.is_some() {}
}

/// Dials again after each break.
async fn drive(
    world: &World,
    mut driver: Driver<Io, VirtualTimer>,
    dial: mpsc::UnboundedSender<Io>,
) -> Result<u64, String> {
    for breaks in 0..10 {
        match driver.await {
            Outcome::Ended(_) => return Ok(breaks),
            Outcome::Detached(detached) => {
                let (near, far) = duplex(4096);
                dial.unbounded_send(world.clean(far)).map_err(|error| error.to_string())?;
                let attached = detached.attach(world.clean(near), world.parameters());
                driver = attached.map_err(|_| "it cannot be attached".to_owned())?;
            }
        }
    }
    Err("it breaks again and again".to_owned())
}

/// Says lines and sends a file; whether it could begin to.
async fn speak(session: Session) -> Result<bool, String> {
    if session.opened().await.is_err() {
        return Ok(false);
    }
    let said = TALK.say(&session).await;
    let _ = session.close(CloseCode::DONE, "");
    said.map(|()| true)
}

/// Takes streams; whether anything was heard, and then all of it came once and in order.
async fn listen(world: &World, mut arrivals: mpsc::UnboundedReceiver<Io>) -> Result<bool, String> {
    let conversations = Conversations::new(Config::default());
    let (begun, mut serving) = (Cell::new(false), FuturesUnordered::new());
    loop {
        futures::select! {
            stream = arrivals.next() => {
                let Some(stream) = stream else { break };
                serving.push(serve(world, &conversations, stream, &begun));
            }
            served = serving.select_next_some() => served?,
        }
    }
    while let Some(served) = serving.next().await {
        served?;
    }
    Ok(begun.get())
}

async fn serve(
    world: &World,
    conversations: &Conversations<Io>,
    stream: Io,
    begun: &Cell<bool>,
) -> Result<(), String> {
    let timer = world.clock.timer();
    let accepted = conversations.accept(stream, world.parameters(), timer).await;
    let Ok(Accepted::New(session, events, driver)) = accepted else { return Ok(()) };
    let hearing = async {
        let heard = hear(events).await?;
        drop(session);
        if heard == Heard::default() {
            return Ok(());
        }
        if begun.replace(true) { Err("it was said twice".to_owned()) } else { TALK.check(heard) }
    };
    let (heard, _) = join(hearing, driver).await;
    heard
}
