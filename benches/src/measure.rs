//! Samples, rounds in turn, and what follows from them.

use std::io::IsTerminal as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::Result;
use crate::arguments::Arguments;

/// What one run of one subject brought.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The figure, in the table's unit.
    pub value: f64,
    /// CPU seconds of the process, which has both ends, for each unit of work.
    pub cpu: f64,
    /// Further figures, by the names of their columns.
    pub extra: Vec<(&'static str, f64)>,
}

impl Sample {
    /// The same with one figure more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: f64) -> Self {
        self.extra.push((name, value));
        self
    }
}

/// Wall time and CPU time of this process since it was started.
#[derive(Debug)]
pub struct Stopwatch {
    wall: Instant,
    cpu: f64,
}

impl Stopwatch {
    /// Begins now.
    #[expect(clippy::new_without_default, reason = "it begins, which a default should not")]
    pub fn new() -> Self {
        Self { wall: Instant::now(), cpu: cpu_seconds() }
    }

    /// Seconds of wall time.
    pub fn seconds(&self) -> f64 {
        self.wall.elapsed().as_secs_f64()
    }

    /// CPU seconds, of all threads, user and system.
    pub fn cpu(&self) -> f64 {
        cpu_seconds() - self.cpu
    }

    /// GB/s, and CPU seconds for each GiB.
    pub fn bytes(&self, bytes: u64) -> Sample {
        let (seconds, cpu) = (self.seconds(), self.cpu());
        let bytes = bytes as f64;
        Sample { value: bytes / seconds / 1e9, cpu: cpu * GIB / bytes, extra: Vec::new() }
    }

    /// Million messages a second, and CPU nanoseconds for each.
    pub fn messages(&self, count: u64) -> Sample {
        let (seconds, cpu) = (self.seconds(), self.cpu());
        let count = count as f64;
        Sample { value: count / seconds / 1e6, cpu: cpu * 1e9 / count, extra: Vec::new() }
    }
}

const GIB: f64 = (1_u64 << 30) as f64;

/// What `getrusage` has, user and system together, in nanoseconds rather than ticks.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Microseconds, as a table has them.
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Something that is measured beside others.
pub struct Subject<'a> {
    name: String,
    run: Box<dyn FnMut() -> Result<Sample> + 'a>,
}

impl<'a> Subject<'a> {
    /// Does its work once each time that `run` is called.
    pub fn new(name: impl Into<String>, run: impl FnMut() -> Result<Sample> + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// All samples of one subject, one for each round.
#[derive(Debug, Clone)]
pub struct Case {
    /// The subject's name.
    pub name: String,
    /// In the order of the rounds.
    pub samples: Vec<Sample>,
}

impl Case {
    /// One figure of each round.
    pub fn figures(&self, figure: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().map(figure).collect())
    }

    /// This over the base, within each round.
    pub fn ratios(&self, base: &Self, figure: impl Fn(&Sample) -> f64) -> Spread {
        let pairs = self.samples.iter().zip(&base.samples);
        Spread::of(pairs.map(|(ours, theirs)| figure(ours) / figure(theirs)).collect())
    }
}

/// Runs all subjects in turn, as many times as asked for: A B C A B C.
///
/// # Errors
///
/// That of the first that fails, with its name.
pub fn rounds(arguments: &Arguments, mut subjects: Vec<Subject<'_>>) -> Result<Vec<Case>> {
    let count = arguments.rounds;
    if let Some(only) = &arguments.only {
        subjects.retain(|subject| subject.name.contains(only));
    }
    let mut cases: Vec<Case> = subjects
        .iter()
        .map(|subject| Case { name: subject.name.clone(), samples: Vec::new() })
        .collect();
    let is_terminal = std::io::stderr().is_terminal();
    for round in 0..count {
        for (subject, case) in subjects.iter_mut().zip(&mut cases) {
            if is_terminal {
                eprint!("\r\x1b[Kround {} of {count}: {}", round + 1, subject.name);
            }
            let sample = (subject.run)().map_err(|error| format!("{}: {error}", subject.name))?;
            case.samples.push(sample);
        }
    }
    if is_terminal {
        eprint!("\r\x1b[K");
    }
    Ok(cases)
}

/// The middle, the least and the most of some figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one, or between the two middle ones.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of no figures all three are 0.
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let (Some(&min), Some(&max)) = (figures.first(), figures.last()) else {
            return Self { median: 0.0, min: 0.0, max: 0.0 };
        };
        let median = if figures.len() % 2 == 1 {
            figures[middle]
        } else {
            f64::midpoint(figures[middle - 1], figures[middle])
        };
        Self { median, min, max }
    }
}

/// Lets the scheduler run this thread before all others, if it may: a clock that is late where two
/// threads leave no core would measure the scheduler's slices of 3 ms.
pub fn hurry() {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    // Without the right to do so, or the program, it is late; the column for the clock says how much.
    let _ = Command::new("chrt")
        .args(["--fifo", "--pid", "1", &thread])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_and_both_ends() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]);
        assert_eq!(spread, Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of(vec![4.0, 1.0]).median, 2.5);
    }
}
