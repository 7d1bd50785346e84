//! B7: the heap of idle connections, and B7p: many connections that talk at once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Result;
use crate::arguments::Arguments;
use crate::measure::{Sample, Stopwatch, Subject, rounds};
use crate::memory;
use crate::peers::talk::Crowd;
use crate::peers::{codec, h2, ours, raw, yamux};
use crate::report::{Bar, Figure, Limit, Report, Table};
use crate::streams::{RENO, Stream, connect, listener, two_threads};

/// Bytes of a buffer of the loop by hand, of which each connection has four.
const BUFFER: usize = 512;
/// What the tables have.
pub(crate) const PEERS: [&str; 5] = ["raw", "ours", "LengthDelimited", "yamux", "h2"];

/// Adds a connection to the crowd, by the name of its peer.
pub(crate) async fn join<S: Stream>(crowd: &mut Crowd, peer: &str, near: S, far: S) -> Result<()> {
    match peer {
        "raw" => crowd.add(raw::talk(near, far, BUFFER).await?).await,
        "ours" => crowd.add(ours::talk(near, far).await?).await,
        "LengthDelimited" => crowd.add(codec::talk(near, far).await?).await,
        "yamux" => crowd.add(yamux::talk(near, far).await?).await,
        "h2" => crowd.add(h2::talk(near, far).await?).await,
        _ => Err(format!("there is no peer {peer}").into()),
    }
}

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let count = arguments.amount(10_000);
    memory::build()?;
    let subjects = PEERS.map(|peer| {
        Subject::new(peer, move || {
            let figures = memory::run(&["idle", peer, &count.to_string()])?;
            let [heap, resident] = figures[..] else { return Err("two figures were due".into()) };
            Ok(Sample { value: heap, ..Sample::default() }.with("resident", resident))
        })
    });
    report.add(&Table {
        row: "b7",
        title: format!(
            "heap of one of {count} idle connections, both ends, after one exchange, in-memory pipes"
        ),
        unit: "bytes",
        cpu: "",
        base: "raw",
        // It is the same each time.
        cases: rounds(&arguments.at_most(3), subjects.into())?,
        bars: vec![
            Bar::new("ours", Figure::Value, Limit::AtMost(8192.0)).goal(Limit::AtMost(4096.0)),
        ],
        notes: vec![format!("raw: tasks with four buffers of {BUFFER} bytes; each in a process of its own")],
    });
    Ok(())
}

pub(super) fn run_crowds(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let most = descriptors(20_100)?.saturating_sub(100) / 2;
    for count in [1000, 10_000.min(most)] {
        let duration = Duration::from_millis(arguments.amount(2000));
        let subjects = PEERS.map(|peer| {
            Subject::new(peer, move || {
                two_threads()?.block_on(async move { talking(peer, count, duration).await })
            })
        });
        let limit = Limit::AtLeast(0.9);
        report.add(&Table {
            row: "b7p",
            title: format!("{count} connections doing ping-pong, {RENO}, two threads"),
            unit: "thousand/s",
            cpu: "CPU us each",
            base: "raw",
            cases: rounds(arguments, subjects.into())?,
            bars: vec![Bar::new("ours", Figure::Ratio("raw"), limit).goal(Limit::AtLeast(0.95))],
            notes: Vec::new(),
        });
    }
    Ok(())
}

async fn talking(peer: &'static str, count: u64, duration: Duration) -> Result<Sample> {
    let listener = listener()?;
    let mut crowd = Crowd::default();
    for _ in 0..count {
        let (near, far) = connect(&listener).await?;
        join(&mut crowd, peer, near, far).await?;
    }
    crowd.start().await?;
    tokio::time::sleep(duration / 4).await;
    let (before, watch) = (crowd.rounds.load(Ordering::Relaxed), Stopwatch::new());
    tokio::time::sleep(duration).await;
    let done = crowd.rounds.load(Ordering::Relaxed) - before;
    let mut sample = watch.messages(done);
    crowd.stop();
    sample.value *= 1e3;
    sample.cpu /= 1e3;
    Ok(sample)
}

/// Allows so many descriptors, if the system does; returns how many there may be.
fn descriptors(count: u64) -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        let most = limit.maximum.unwrap_or(u64::MAX);
        let raised = Rlimit { current: Some(count), maximum: Some(most.max(count)) };
        if setrlimit(Resource::Nofile, raised).is_err() {
            // Without the right to more, all that is allowed.
            let allowed = Rlimit { current: Some(most.min(count)), maximum: limit.maximum };
            setrlimit(Resource::Nofile, allowed)?;
        }
    }
    Ok(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}
