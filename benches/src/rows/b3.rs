//! B3: bulk through an in-memory pipe.

use crate::Result;
use crate::arguments::Arguments;
use crate::measure::rounds;
use crate::peers::{codec, h2, ours, raw, yamux};
use crate::report::{Bar, Figure, Limit, Report, Table};
use crate::streams::memory;

const KIB: usize = 1 << 10;

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let total = arguments.amount(4 << 30);
    let cases = rounds(
        arguments,
        over! { memory(256 * KIB);
            "raw/64k" => raw::bulk, total, 64 * KIB;
            "raw/256k" => raw::bulk, total, 256 * KIB;
            "ours/64k" => ours::bulk, total, 64 * KIB;
            "ours/256k" => ours::bulk, total, 256 * KIB;
            "LengthDelimited/64k" => codec::bulk, total, 64 * KIB;
            "yamux/64k" => yamux::bulk, total, 64 * KIB, yamux::config(false);
            "h2/64k" => h2::bulk, total, 64 * KIB, false;
            "h2 tuned/256k" => h2::bulk, total, 256 * KIB, true;
        },
    )?;
    report.add(&Table {
        row: "b3",
        title: format!("{total} bytes of bulk, in-memory pipe of 256 KiB, no digest, one thread"),
        unit: "GB/s",
        cpu: "CPU s/GiB",
        base: "raw/64k",
        cases,
        bars: vec![
            Bar::new("ours/64k", Figure::Ratio("raw/64k"), Limit::AtLeast(0.75))
                .goal(Limit::AtLeast(0.9)),
        ],
        notes: Vec::new(),
    });
    Ok(())
}
