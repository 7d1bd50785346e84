//! Instructions for a byte, a frame or a line, counted by callgrind: they repeat, times do not.
//!
//! `cargo bench --bench instructions` prints a table. With `-- --check` it fails for what is beyond
//! its limit in `benches/instructions.limits`, and `-- --write-limits` writes that file anew: what was
//! counted, and 5 % more. A name runs that subject alone. Each is run with so much work and with
//! twice as much, and the difference counts, so that what happens once does not.
//!
//! Without valgrind it says so, and succeeds.

mod callgrind;
#[allow(dead_code, reason = "some of it is for the other benchmark")]
mod duo;
#[path = "instructions/machines.rs"]
mod machines;
#[path = "instructions/sessions.rs"]
mod sessions;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const LIMITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.limits");
const CHUNK: usize = 16 << 10;
const LINE: &str = "It is a truth universally acknowledged, that a single man in po-";

/// Something that is done again and again.
struct Subject {
    name: &'static str,
    what: &'static str,
    /// How often, and how many bytes of payload each has.
    times: u64,
    bytes: usize,
    run: fn(u64),
}

const SUBJECTS: &[Subject] = &[
    Subject {
        name: "data-in",
        what: "a DATA frame of 16 KiB, to a machine",
        times: 4000,
        bytes: CHUNK,
        run: |times| machines::data_in(times, usize::MAX),
    },
    Subject {
        name: "bulk-in",
        what: "the same, by handle_bulk",
        times: 8000,
        bytes: CHUNK,
        run: machines::bulk_in,
    },
    Subject {
        name: "data-by-byte",
        what: "a byte of such a frame, fed alone",
        times: 10 * CHUNK as u64,
        bytes: 1,
        run: |times| machines::data_in(times / CHUNK as u64, 1),
    },
    Subject {
        name: "data-out",
        what: "a DATA frame of 16 KiB, from a machine",
        times: 4000,
        bytes: CHUNK,
        run: machines::data_out,
    },
    Subject {
        name: "chat-in",
        what: "a line of one byte, by handle_input",
        times: 20_000,
        bytes: 1,
        run: |times| machines::chat_in(times, "x", usize::MAX),
    },
    Subject {
        name: "chats-in",
        what: "a line of one byte, by handle_chats",
        times: 50_000,
        bytes: 1,
        run: machines::chats_in,
    },
    Subject {
        name: "chat-by-byte",
        what: "a line of 64 bytes, fed byte by byte",
        times: 2000,
        bytes: 64,
        run: |times| machines::chat_in(times, LINE, 1),
    },
    Subject {
        name: "bulk",
        what: "16 KiB of a file, from session to session",
        times: 4000,
        bytes: CHUNK,
        run: |times| sessions::bulk(times, sessions::PIPE, CHUNK),
    },
    Subject {
        name: "bulk-256k",
        what: "the same in chunks of 64 KiB, through a pipe of 256 KiB",
        times: 4000,
        bytes: CHUNK,
        run: |times| sessions::bulk(times, 256 << 10, 64 << 10),
    },
    Subject {
        name: "lines",
        what: "a line of 64 bytes, 256 at a time, from session to session",
        times: 20_480,
        bytes: 64,
        run: |times| sessions::lines(times, 256),
    },
    Subject {
        name: "line",
        what: "a line of 64 bytes, one by one, from session to session",
        times: 20_000,
        bytes: 64,
        run: |times| sessions::lines(times, 1),
    },
    Subject {
        name: "ping-pong",
        what: "a line of 64 bytes there, and one back",
        times: 2000,
        bytes: 128,
        run: sessions::ping_pong,
    },
    Subject {
        name: "line-16k",
        what: "a line of 16 KiB, of two frames, from session to session",
        times: 1000,
        bytes: CHUNK,
        run: |times| sessions::long_lines(times, CHUNK),
    },
];

impl Subject {
    /// Instructions each; `None` without valgrind.
    fn count(&self) -> Result<Option<f64>> {
        let times =
            |times: u64| callgrind::instructions(&["--once", self.name, &times.to_string()]);
        let (Some(once), Some(twice)) = (times(self.times)?, times(self.times * 2)?) else {
            return Ok(None);
        };
        Ok(Some((twice - once) as f64 / self.times as f64))
    }
}

/// What the file has; without the file nothing.
fn limits() -> Result<BTreeMap<String, f64>> {
    let Ok(text) = fs::read_to_string(LIMITS) else { return Ok(BTreeMap::new()) };
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (name, limit) = line.split_once('=').ok_or_else(|| format!("no limit: {line}"))?;
            Ok((name.trim().to_owned(), limit.trim().parse()?))
        })
        .collect()
}

fn write(counts: &[(&Subject, f64)]) -> Result<()> {
    let mut text = String::from(
        "# Most instructions each, of `cargo bench --bench instructions -- --check`: what was counted when\n\
         # this was written, and 5 %, as another compiler or C library counts a little differently.\n\
         # Write it anew when a count has changed for a reason that is wanted, and say which:\n\
         # cargo bench --bench instructions -- --write-limits\n",
    );
    for (subject, count) in counts {
        writeln!(text, "{} = {:.1}", subject.name, count * 1.05)?;
    }
    fs::write(LIMITS, text)?;
    println!("written: {LIMITS}");
    Ok(())
}

fn main() -> Result<ExitCode> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    // Cargo's.
    words.retain(|word| word != "--bench");
    if let [once, name, times] = &words[..] {
        if once == "--once" {
            let subject = SUBJECTS.iter().find(|subject| subject.name == name);
            (subject.ok_or("there is no such subject")?.run)(times.parse()?);
            return Ok(ExitCode::SUCCESS);
        }
    }
    let (checks, writes) = (has(&mut words, "--check"), has(&mut words, "--write-limits"));
    let is_asked = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    if let Some(word) = words.iter().find(|word| SUBJECTS.iter().all(|s| s.name != *word)) {
        return Err(format!("there is no subject {word}").into());
    }
    let (limits, mut counts, mut is_over) = (limits()?, Vec::new(), false);
    println!("{:<13} {:>12} {:>9} {:>12}", "", "instructions", "a byte", "limit");
    for subject in SUBJECTS.iter().filter(|subject| is_asked(subject.name)) {
        let Some(count) = subject.count()? else {
            println!("SKIPPED: instructions are counted with valgrind, which is not installed");
            return Ok(ExitCode::SUCCESS);
        };
        let limit = limits.get(subject.name).copied();
        let verdict = match limit {
            None if checks => "NO LIMIT",
            Some(limit) if count > limit => "EXCEEDED",
            Some(limit) if count < limit * 0.9 => "could be lower",
            _ => "",
        };
        is_over |= checks && matches!(verdict, "NO LIMIT" | "EXCEEDED");
        println!(
            "{:<13} {count:>12.1} {:>9.3} {:>12} {}; {verdict}",
            subject.name,
            count / subject.bytes as f64,
            limit.map_or_else(|| "-".into(), |limit| limit.to_string()),
            subject.what,
        );
        counts.push((subject, count));
    }
    if writes {
        if !words.is_empty() {
            return Err("limits are written all at once".into());
        }
        write(&counts)?;
    }
    if is_over {
        println!("more than is allowed; if it has to be: see {LIMITS}");
    }
    Ok(if is_over { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn has(words: &mut Vec<String>, option: &str) -> bool {
    let before = words.len();
    words.retain(|word| word != option);
    words.len() < before
}
