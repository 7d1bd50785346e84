//! B5: the delay of chat while bulk saturates the same connection.

use std::time::Duration;

use crate::Result;
use crate::arguments::Arguments;
use crate::load::{self, Load};
use crate::measure::{Case, Sample, Subject, rounds};
use crate::report::{Bar, Figure, Limit, Report, Table};
use crate::streams::{RENO, bare_link, link, one_thread, tcp, two_threads};

fn load(arguments: &Arguments) -> Load {
    Load {
        transfers: 1,
        warm_up: Duration::from_millis(500),
        duration: Duration::from_millis(arguments.amount(4000)),
        interval: Duration::from_millis(1),
    }
}

const KIB: usize = 1 << 10;

macro_rules! subjects {
    ($runtime:expr, $streams:expr, $load:expr; $($name:literal => $work:path $(, $argument:expr)*;)*) => {
        vec![$(Subject::new($name, move || {
            $runtime?.block_on(async move {
                let (near, far) = $streams;
                $work(near, far, $load $(, $argument)*).await
            })
        })),*]
    };
}

/// Over TCP.
pub(super) fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    macro_rules! over_tcp {
        ($runtime:expr, $load:expr) => {{
            let load = $load;
            let two = move || $runtime?.block_on(two_connections(load));
            let mut all = vec![Subject::new("two connections", two)];
            all.extend(subjects! { $runtime, tcp().await?, load;
                "ours" => load::ours;
                "by priority, by hand, 16k" => load::by_priority, 16 * KIB;
                "by priority, by hand, 64k" => load::by_priority, 64 * KIB;
                "LengthDelimited fifo, 64k" => load::fifo, 64 * KIB;
                "yamux" => load::yamux;
                "h2" => load::h2, false;
                "h2 tuned" => load::h2, true;
            });
            all
        }};
    }
    let load = load(arguments);
    let cases = rounds(arguments, over_tcp!(two_threads(), load))?;
    let bars = vec![
        Bar::new("ours", Figure::Value, Limit::AtMost(200.0)).goal(Limit::AtMost(80.0)),
        Bar::new("ours", Figure::Extra("bulk MB/s"), Limit::AtLeast(2500.0))
            .goal(Limit::AtLeast(3000.0)),
    ];
    report.add(&Table { bars, ..fast_table(load, "two threads: +-20 % or worse", cases) });
    let load = Load { duration: load.duration / 2, ..load };
    let cases = rounds(arguments, over_tcp!(one_thread(), load))?;
    report.add(&fast_table(load, "one thread, and one that says when", cases));
    Ok(())
}

fn fast_table(load: Load, threads: &str, cases: Vec<Case>) -> Table {
    let duration = load.duration.as_millis();
    Table {
        row: "b5",
        title: format!(
            "a message every 1 to 2 ms while bulk saturates the connection, {RENO}, default socket \
             buffers, {threads}, {duration} ms"
        ),
        unit: "us p99",
        cpu: "CPU s/GiB",
        base: "two connections",
        cases,
        bars: Vec::new(),
        notes: vec![
            "the clock is a thread that the scheduler prefers, where it may: chrt --fifo".into(),
        ],
    }
}

async fn two_connections(load: Load) -> Result<Sample> {
    load::two(tcp().await?, tcp().await?, load).await
}

/// Over a link that is modelled.
pub(super) fn run_slow(arguments: &Arguments, report: &mut Report) -> Result<()> {
    macro_rules! over_link {
        ($streams:expr, $load:expr) => {
            subjects! { one_thread(), $streams, $load;
                "by priority, by hand, 16k" => load::by_priority, 16 * KIB;
                "ours" => load::ours;
                "LengthDelimited fifo, 64k" => load::fifo, 64 * KIB;
                "yamux" => load::yamux;
                "h2" => load::h2, false;
                "h2 tuned" => load::h2, true;
            }
        };
    }
    let load = load(arguments);
    let bar = Bar::new("ours", Figure::Value, Limit::AtMost(1200.0)).goal(Limit::AtMost(800.0));
    let cases = rounds(arguments, over_link!(bare_link(25e6, 64 * KIB), load))?;
    let table = slow_table(load, "no buffer before it", cases);
    report.add(&Table { bars: vec![bar], ..table });
    // It would not change what keeps up with nothing.
    let load = Load { duration: load.duration / 2, ..load };
    let cases = rounds(&arguments.at_most(3), over_link!(link(25e6, 64 * KIB), load))?;
    report.add(&slow_table(load, "64 KiB of buffer before it", cases));
    Ok(())
}

fn slow_table(load: Load, buffer: &str, cases: Vec<Case>) -> Table {
    let duration = load.duration.as_millis();
    Table {
        row: "b5s",
        title: format!(
            "a message every 1 to 2 ms beside bulk on a modelled link of 25 MB/s, {buffer}, one thread, \
             {duration} ms"
        ),
        unit: "us p99",
        cpu: "",
        base: "by priority, by hand, 16k",
        cases,
        bars: Vec::new(),
        notes: vec![
            "the link moves bytes once a millisecond, which is the floor".into(),
            "missing: not there a second after the last was due".into(),
        ],
    }
}
