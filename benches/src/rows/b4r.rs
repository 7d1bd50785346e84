//! B4r: a message of 64 bytes there, and one back.

use crate::Result;
use crate::arguments::Arguments;
use crate::measure::{Case, rounds};
use crate::peers::{by_task, codec, h2, ours, raw, yamux};
use crate::report::{Bar, Figure, Limit, Report, Table};
use crate::streams::{RENO, memory, tcp};

macro_rules! subjects {
    ($streams:expr, $count:expr) => {
        over! { $streams;
            "raw" => raw::ping_pong, $count;
            "by a task" => by_task::ping_pong, $count;
            "ours" => ours::ping_pong, $count;
            "LengthDelimited" => codec::ping_pong, $count;
            "yamux" => yamux::ping_pong, $count;
            "h2" => h2::ping_pong, $count;
        }
    };
}

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let count = arguments.amount(40_000);
    let over_tcp = rounds(arguments, subjects!(tcp().await?, count))?;
    let title = format!("{count} round trips of 64 bytes, {RENO}, one thread");
    report.add(&table(title, over_tcp, 1.05, 1.02));
    let count = count * 5;
    let in_memory = rounds(arguments, subjects!(memory(64 << 10), count))?;
    let title = format!("{count} round trips of 64 bytes, in-memory pipe of 64 KiB, one thread");
    report.add(&table(title, in_memory, 5.0, 2.0));
    Ok(())
}

fn table(title: String, cases: Vec<Case>, limit: f64, goal: f64) -> Table {
    Table {
        row: "b4r",
        title,
        unit: "us p50",
        cpu: "",
        base: "raw",
        cases,
        bars: vec![
            Bar::new("ours", Figure::Ratio("raw"), Limit::AtMost(limit)).goal(Limit::AtMost(goal)),
        ],
        notes: vec![
            "by a task: raw, each end by a task that has the stream, with channels to the application"
                .into(),
        ],
    }
}
