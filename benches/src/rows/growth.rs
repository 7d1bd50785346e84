//! How cost grows with numbers, in time and memory.

use crate::Result;
use crate::arguments::Arguments;
use crate::memory;
use crate::report::Report;

/// What grows, the numbers, and what one piece of the work is.
const SERIES: [(&str, &[usize], &str); 5] = [
    ("sessions", &[1, 10, 100, 1000, 10_000], "an open conversation, both ends, a line each way"),
    ("transfers", &[1, 10, 100, 1000], "a file of 64 KiB, so many at a time"),
    ("messages", &[1, 16, 256, 4096, 16_384, 65_536], "a message of so many bytes"),
    ("frames", &[1024, 2048, 4096, 8192, 16_384], "a DATA frame of so many bytes, of 64 MiB"),
    ("files", &[1, 10, 100, 1000, 10_000, 100_000], "a file of 100 bytes in a folder of so many"),
];

/// So much more than in proportion is worse than linear; less is what caches and noise bring.
const TOLERANCE: f64 = 1.5;

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    memory::build()?;
    let folder = arguments.dir.to_str().ok_or("the folder's name is no UTF-8")?;
    for (what, numbers, work) in SERIES {
        report.say("growth", &format!("{what}: {work}"));
        println!("  {:>9}  {:>12}  {:>12}  {:>14}", "number", "us each", "heap KiB", "bytes each");
        let mut last: Option<Point> = None;
        for &number in numbers {
            if arguments.quick && number > 10_000 && what == "files" {
                continue;
            }
            let point = Point::measure(arguments, what, number, folder)?;
            let grown = last.map_or_else(String::new, |last| point.judge(last, what));
            println!(
                "  {number:>9}  {:>12.2}  {:>12.0}  {:>14.0}  {grown}",
                point.micros,
                point.heap / 1024.0,
                point.heap / number as f64,
            );
            report.keep(serde_json::json!({
                "row": "growth", "of": what, "number": number, "us_each": point.micros,
                "heap_bytes": point.heap, "worse_than_linear": !grown.is_empty(),
            }));
            last = Some(point);
        }
    }
    println!(
        "  sizes count as numbers for messages and frames; each point in a process of its own"
    );
    Ok(())
}

/// One number's cost.
#[derive(Debug, Clone, Copy)]
struct Point {
    number: usize,
    micros: f64,
    heap: f64,
}

impl Point {
    /// The least of a few rounds: what is slower is somebody else's doing.
    fn measure(arguments: &Arguments, what: &str, number: usize, folder: &str) -> Result<Self> {
        let rounds = if what == "files" && number > 1000 { 1 } else { arguments.rounds.min(3) };
        let mut best = Self { number, micros: f64::INFINITY, heap: f64::INFINITY };
        for _ in 0..rounds {
            let figures = memory::run(&["growth", what, &number.to_string(), folder])?;
            let [seconds, heap, work] = figures[..] else { return Err("three were due".into()) };
            best.micros = best.micros.min(seconds * 1e6 / work);
            best.heap = best.heap.min(heap);
        }
        Ok(best)
    }

    /// Says what is worse than in proportion to the number. A message's or frame's time may grow
    /// with its size, a file's or conversation's not with how many there are.
    fn judge(self, last: Self, what: &str) -> String {
        let step = self.number as f64 / last.number as f64;
        let is_size = matches!(what, "messages" | "frames");
        let time = if is_size { step } else { 1.0 };
        let mut worse = Vec::new();
        if self.micros > last.micros * time * TOLERANCE {
            worse.push("time");
        }
        if self.heap > last.heap * step * TOLERANCE {
            worse.push("memory");
        }
        if worse.is_empty() {
            String::new()
        } else {
            format!("WORSE THAN LINEAR: {}", worse.join(", "))
        }
    }
}
