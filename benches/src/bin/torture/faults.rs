use std::cell::Cell;
use std::io::ErrorKind;

use bytes::Bytes;
use duologue::proto::{Config, Connection, Receipt as Fate, StreamParameters};
use duologue::session::{
    Accepted, Conversations, Driver, Event, Events, Outcome, Session, TransferError, session,
};
use duologue::testing::hostile::{Culprit, Misbehaviour};
use duologue::testing::{Duplex, Fault, Faulty, Script, duplex};
use duologue::time::{VirtualClock, VirtualTimer};
use duologue::wire::{Chat, CloseCode, Digest, Offer};
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{join, join3};
use futures::stream::FuturesUnordered;

use crate::Result;
use crate::arguments::Arguments;
use crate::attacks::befall;
use crate::table::{Table, on_all_cores};

/// How often each thing befalls a disk.
const DISK_SEEDS: u64 = 400;
const LINES: usize = 12;
const FILE: usize = 60_000;

/// What happens to a call; it breaks the stream, or does not matter.
const KINDS: [(&str, Fault); 9] = [
    ("cut", Fault::Cut),
    ("reset", Fault::Fail(ErrorKind::ConnectionReset)),
    ("would-block", Fault::Fail(ErrorKind::WouldBlock)),
    ("claims-too-much", Fault::Overrun),
    ("nothing", Fault::Zero),
    ("stalls", Fault::Stall),
    ("interrupted", Fault::Fail(ErrorKind::Interrupted)),
    ("wakes-for-nothing", Fault::SpuriousWake),
    ("a-byte", Fault::Split(1)),
];

type Io = Faulty<Duplex>;

/// Where it happens: at the client's stream or the listener's, to reads or to writes, and to which.
#[derive(Debug, Clone, Copy)]
struct Case {
    kind: usize,
    is_client: bool,
    is_read: bool,
    call: usize,
}

pub(crate) fn run(arguments: &Arguments, table: &mut Table) -> Result<()> {
    let sides = [(true, true), (true, false), (false, true), (false, false)];
    let work: Vec<(usize, bool, bool)> = (0..KINDS.len())
        .flat_map(|kind| sides.map(|(is_client, is_read)| (kind, is_client, is_read)))
        .collect();
    let results = on_all_cores(&work, |(kind, is_client, is_read)| {
        let most = calls(*is_client, *is_read);
        let case = |call| Case { kind: *kind, is_client: *is_client, is_read: *is_read, call };
        let runs: Vec<_> = (0..most).map(|call| (case(call), survive(case(call)))).collect();
        runs
    });
    let (mut faults, mut breaks) = (0_u64, 0_u64);
    for (case, result) in results.into_iter().flatten() {
        faults += 1;
        match result {
            Ok(broken) => breaks += broken,
            Err(error) => {
                let what = format!("{} {case:?}: {error}", KINDS[case.kind].0);
                table.fail(what, "--only faults");
            }
        }
    }
    table.row("faults of a call of a stream", faults);
    table.row("streams broken by them", breaks);
    let disks: Vec<&'static Misbehaviour> =
        Misbehaviour::all().filter(|m| m.culprit() == Culprit::Storage).collect();
    let seeds = arguments.seed..arguments.seed + DISK_SEEDS;
    let work: Vec<_> =
        disks.iter().flat_map(|m| seeds.clone().map(move |seed| (*m, seed))).collect();
    let results = on_all_cores(&work, |(misbehaviour, seed)| befall(misbehaviour, *seed));
    for ((misbehaviour, seed), result) in work.iter().zip(results) {
        if let Err(error) = result {
            let what = format!("{misbehaviour}, seed {seed}: {error}");
            table.fail(what, format!("--only faults --seed {seed}"));
        }
    }
    table.row("things that befall a disk", disks.len());
    table.row("files received meanwhile", work.len() as u64);
    Ok(())
}

/// How many calls there are until a cut is none any more.
fn calls(is_client: bool, is_read: bool) -> usize {
    let breaks = |call| survive(Case { kind: 0, is_client, is_read, call }).unwrap_or(1) > 0;
    // In the handshake it ends the conversation, and nothing is broken.
    (0..).find(|call| *call > 20 && !breaks(*call)).unwrap_or(0)
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
        Faulty::new(stream, Script::new(), &self.clock)
    }
}

/// A conversation of which that call fails; returns how many streams broke.
fn survive(case: Case) -> Result<u64, String> {
    let world = World { clock: VirtualClock::new(), streams: Cell::new(0) };
    let script = |is_client: bool| {
        let faults =
            std::iter::repeat_n(Fault::Pass, case.call).chain([KINDS[case.kind].1.clone()]);
        match (is_client == case.is_client, case.is_read) {
            (false, _) => Script::new(),
            (true, true) => Script::new().reads(faults),
            (true, false) => Script::new().writes(faults),
        }
    };
    let (near, far) = duplex(4096);
    let near = Faulty::new(near, script(true), &world.clock);
    let far = Faulty::new(far, script(false), &world.clock);
    let connection = Connection::client(Config::default(), world.parameters(), world.clock.now());
    let (session, events, driver) = session(near, connection, world.clock.timer());
    let (dial, arrivals) = mpsc::unbounded();
    dial.unbounded_send(far).map_err(|error| error.to_string())?;
    let client = join3(speak(session), drain(events), drive(&world, driver, dial));
    let all = join(client, listen(&world, arrivals));
    let ((said, (), breaks), heard) =
        world.clock.block_on(all).map_err(|stuck| stuck.to_string())?;
    match (said, heard?) {
        // It broke before the listener had anything of it: there was nothing to lose.
        (Ok(false) | Err(_), false) => Ok(0),
        (Ok(true), true) => breaks,
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
    let file = Bytes::from_iter((0..FILE).map(|n| (n * 7 / 3) as u8));
    let sending = async {
        let offer = Offer::new("file").size(FILE as u64).seekable();
        let mut outgoing = session.offer(&offer).await.map_err(|error| error.to_string())?;
        loop {
            let at = usize::try_from(outgoing.position()).unwrap_or(FILE);
            let sent = match at < FILE {
                true => outgoing.send(file.slice(at..FILE.min(at + 10_000))).await,
                false => {
                    let digest = Digest::Blake3(*blake3::hash(&file).as_bytes());
                    outgoing.finish(Some(digest)).await.map(drop)
                }
            };
            match sent {
                Ok(()) if at >= FILE => return Ok(()),
                Ok(()) | Err(TransferError::Rewind { .. }) => {}
                Err(error) => return Err(format!("the file: {error}")),
            }
        }
    };
    let talking = async {
        for n in 0..LINES {
            let receipt = session.send_chat(&Chat::new(n.to_string())).await;
            let fate = receipt.map_err(|error| error.to_string())?.await;
            if fate != Fate::Delivered {
                return Err(format!("line {n} was {fate:?}"));
            }
        }
        Ok(())
    };
    let (sent, said) = join(sending, talking).await;
    let _ = session.close(CloseCode::DONE, "");
    sent.and(said).map(|()| true)
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
    let (received, _) = join(receive(session, events, begun), driver).await;
    received
}

async fn receive(session: Session, mut events: Events, begun: &Cell<bool>) -> Result<(), String> {
    let (mut lines, mut hasher, mut is_stored) = (0, blake3::Hasher::new(), false);
    let mut offers = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Event::Chat(chat) if chat.text == lines.to_string() => lines += 1,
            Event::Chat(chat) => return Err(format!("line {} after {lines}", chat.text)),
            Event::Offer(offer) => offers.push(offer),
            _ => {}
        }
        if let Some(offer) = offers.pop() {
            let mut incoming = offer.accept().map_err(|error| error.to_string())?;
            let mut at = 0;
            while let Some(chunk) = incoming.next().await.map_err(|error| error.to_string())? {
                if chunk.offset != at {
                    return Err(format!("a chunk at {} after {at}", chunk.offset));
                }
                at += chunk.data.len() as u64;
                hasher.update(&chunk.data);
            }
            let finish = incoming.finish().ok_or("it has not finished")?;
            let digest = Digest::Blake3(*hasher.finalize().as_bytes());
            if finish.digest != Some(digest) || at != FILE as u64 {
                return Err("the file is another".to_owned());
            }
            incoming.stored("file").map_err(|error| error.to_string())?;
            is_stored = true;
        }
    }
    drop(session);
    if lines == 0 && !is_stored {
        return Ok(());
    }
    if begun.replace(true) || lines != LINES || !is_stored {
        return Err(format!("{lines} lines, stored: {is_stored}"));
    }
    Ok(())
}
