//! Promise 1 on real sockets: a chat beside ten transfers, between two network namespaces.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::Result;
use crate::arguments::Arguments;
use crate::load::{self, Load};
use crate::measure::{Subject, rounds};
use crate::namespaces::Namespaces;
use crate::report::{Bar, Figure, Limit, Report, Table};
use crate::streams::one_thread;

const KIB: usize = 1 << 10;
/// What design promises once the rate is known, in microseconds.
const PROMISE: f64 = 30_000.0;

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    for megabits in [1, 10, 100] {
        let namespaces = match Namespaces::new(megabits) {
            Ok(namespaces) => namespaces,
            Err(error) => {
                let why = error.to_string();
                report.say("pace", &format!("SKIPPED, no network namespaces can be made: {why}"));
                return Ok(());
            }
        };
        report.add(&on(&namespaces, megabits, arguments)?);
    }
    Ok(())
}

macro_rules! subjects {
    ($namespaces:expr, $load:expr; $($name:literal => $work:path $(, $argument:expr)*;)*) => {
        vec![$(Subject::new($name, move || {
            let (near, far) = $namespaces.connect()?;
            one_thread()?.block_on(async move {
                let (near, far) = (TcpStream::from_std(near)?, TcpStream::from_std(far)?);
                $work(near, far, $load $(, $argument)*).await
            })
        })),*]
    };
}

fn on(namespaces: &Namespaces, megabits: u32, arguments: &Arguments) -> Result<Table> {
    let load = Load {
        transfers: 10,
        // Until the rate is known.
        warm_up: Duration::from_secs(4),
        duration: Duration::from_millis(arguments.amount(12_000)),
        interval: Duration::from_millis(20),
    };
    let subjects = subjects! { namespaces, load;
        "by priority, by hand, 16k" => load::by_priority, 16 * KIB;
        "ours" => load::ours;
        "LengthDelimited fifo, 16k" => load::fifo, 16 * KIB;
        "yamux" => load::yamux;
    };
    Ok(Table {
        row: "pace",
        title: format!(
            "a message every 20 to 40 ms beside ten transfers, two network namespaces, veth and tbf at \
             {megabits} Mbit/s with a queue of 256 KiB, reno, one thread, {} s",
            load.duration.as_secs()
        ),
        unit: "us p99",
        cpu: "",
        base: "",
        // A round takes more than a minute.
        cases: rounds(&arguments.at_most(3), subjects)?,
        bars: vec![Bar::new("ours", Figure::Extra("longest"), Limit::AtMost(PROMISE))],
        notes: vec!["by hand: strict priority, but all that the socket's buffer takes".into()],
    })
}
