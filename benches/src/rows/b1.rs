//! B1: bulk over loopback TCP.

use crate::Result;
use crate::arguments::Arguments;
use crate::measure::rounds;
use crate::peers::{codec, h2, ours, raw, yamux};
use crate::report::{Bar, Figure, Limit, Report, Table};
use crate::streams::{RENO, tcp};

const KIB: usize = 1 << 10;

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let total = arguments.amount(1 << 30);
    let cases = rounds(
        arguments,
        over! { tcp().await?;
            "raw/64k" => raw::bulk, total, 64 * KIB;
            "raw/256k" => raw::bulk, total, 256 * KIB;
            "ours/64k" => ours::bulk, total, 64 * KIB;
            "ours/256k" => ours::bulk, total, 256 * KIB;
            "LengthDelimited/64k" => codec::bulk, total, 64 * KIB;
            "LengthDelimited/1m" => codec::bulk, total, 1024 * KIB;
            "yamux/64k" => yamux::bulk, total, 64 * KIB, yamux::config(false);
            "yamux tuned/256k" => yamux::bulk, total, 256 * KIB, yamux::config(true);
            "h2/64k" => h2::bulk, total, 64 * KIB, false;
            "h2 tuned/256k" => h2::bulk, total, 256 * KIB, true;
        },
    )?;
    report.add(&Table {
        row: "b1",
        title: format!("{total} bytes of bulk, {RENO}, no digest, tokio, one thread"),
        unit: "GB/s",
        cpu: "CPU s/GiB",
        base: "raw/64k",
        cases,
        bars: vec![
            Bar::new("ours/256k", Figure::Ratio("raw/64k"), Limit::AtLeast(1.0)),
            Bar::new("ours/256k", Figure::CpuRatio("raw/64k"), Limit::AtMost(1.1)),
            Bar::new("ours/256k", Figure::Ratio("raw/256k"), Limit::AtLeast(0.95)),
        ],
        notes: vec!["/64k and /256k: what the application hands over at a time".into()],
    });
    Ok(())
}
