//! B4: messages of 64 bytes, one way.

use crate::Result;
use crate::arguments::Arguments;
use crate::measure::{Case, rounds};
use crate::peers::{codec, h2, ours, raw, yamux};
use crate::report::{Bar, Figure, Limit, Report, Table};
use crate::streams::{RENO, memory, tcp};

/// Lines that are handed over at a time.
const BATCH: usize = 256;

macro_rules! subjects {
    ($streams:expr, $count:expr) => {
        over! { $streams;
            "raw" => raw::checked_chat, $count;
            "raw, unchecked" => raw::chat, $count;
            "ours, by batch" => ours::chat_batches, $count, BATCH;
            "ours, one by one" => ours::chat, $count;
            "LengthDelimited" => codec::chat, $count;
            "asynchronous-codec" => codec::async_chat, $count;
            "yamux" => yamux::chat, $count;
            "h2 tuned" => h2::chat, $count / 8;
        }
    };
}

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let count = arguments.amount(8_000_000);
    let over_tcp = rounds(arguments, subjects!(tcp().await?, count))?;
    let tcp_table = table(format!("{count} messages of 64 bytes, {RENO}, one thread"), over_tcp);
    report.add(&Table { bars: bars(0.35, 0.6), ..tcp_table });
    let in_memory = rounds(arguments, subjects!(memory(64 << 10), count))?;
    let title = format!("{count} messages of 64 bytes, in-memory pipe of 64 KiB, one thread");
    report.add(&Table { bars: bars(0.25, 0.5), ..table(title, in_memory) });
    Ok(())
}

fn table(title: String, cases: Vec<Case>) -> Table {
    Table {
        row: "b4",
        title,
        unit: "million/s",
        cpu: "CPU ns each",
        base: "raw",
        cases,
        bars: Vec::new(),
        notes: vec![
            "ours and raw: UTF-8 is checked, and the last message acknowledged; the rest: neither"
                .into(),
            format!("by batch: {BATCH} lines in one call; rivals gather until a buffer is full"),
        ],
    }
}

fn bars(limit: f64, goal: f64) -> Vec<Bar> {
    vec![
        Bar::new("ours, by batch", Figure::Ratio("raw"), Limit::AtLeast(limit))
            .goal(Limit::AtLeast(goal)),
        Bar::new("ours, one by one", Figure::Value, Limit::AtLeast(5.0)),
    ]
}
