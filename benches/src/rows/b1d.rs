//! B1d: bulk over loopback TCP, with BLAKE3 at both ends.

use crate::Result;
use crate::arguments::Arguments;
use crate::measure::{Subject, rounds};
use crate::peers::{ours, raw};
use crate::report::{Bar, Figure, Limit, Report, Table};
use crate::streams::{RENO, tcp, two_threads};

const KIB: usize = 1 << 10;

macro_rules! over_two_threads {
    ($($name:literal => $work:path $(, $argument:expr)*;)*) => {
        vec![$(Subject::new($name, move || {
            two_threads()?.block_on(async move {
                let (near, far) = tcp().await?;
                $work(near, far $(, $argument)*).await
            })
        })),*]
    };
}

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let total = arguments.amount(1 << 30);
    let mut subjects = over! { tcp().await?;
        "raw/64k" => raw::hashed_bulk, total, 64 * KIB, true;
        "ours/64k" => ours::hashed_bulk, total, 64 * KIB;
        "ours/256k" => ours::hashed_bulk, total, 256 * KIB;
    };
    subjects.extend(over_two_threads! {
        "raw/64k, two threads" => raw::hashed_bulk, total, 64 * KIB, true;
        "ours/256k, two threads" => ours::hashed_bulk, total, 256 * KIB;
    });
    report.add(&Table {
        row: "b1d",
        title: format!("{total} bytes of bulk, {RENO}, BLAKE3 at both ends by the application"),
        unit: "GB/s",
        cpu: "CPU s/GiB",
        base: "raw/64k",
        cases: rounds(arguments, subjects)?,
        bars: vec![
            Bar::new("ours/64k", Figure::Ratio("raw/64k"), Limit::AtLeast(0.95)),
            Bar::new("ours/256k, two threads", Figure::Ratio("raw/64k"), Limit::AtLeast(0.95))
                .goal(Limit::AtLeast(1.5)),
        ],
        notes: vec!["one thread, where nothing else is said".into()],
    });
    Ok(())
}
