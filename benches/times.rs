//! The time of what `cargo bench --bench instructions` counts, by Criterion: for daily use, as it
//! compares with the last run and says whether a difference is more than noise.
//!
//! `cargo bench --bench times` runs all, `cargo bench --bench times -- lines` what has that name.
//! Figures beside other crates are in the package `benches`.

#[allow(dead_code, reason = "some of it is for the other benchmark")]
mod duo;
mod subjects;

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};

use self::subjects::SUBJECTS;

fn times(criterion: &mut Criterion) {
    for subject in SUBJECTS {
        let mut group = criterion.benchmark_group(subject.name);
        group.throughput(Throughput::Bytes(subject.bytes as u64));
        group.bench_function(subject.what, |bencher| {
            bencher.iter_custom(|iterations| {
                // A conversation is opened for each; it has to be little beside the work.
                let times = iterations.next_multiple_of(subject.times);
                let start = Instant::now();
                (subject.run)(times);
                part(start.elapsed(), iterations, times)
            });
        });
        group.finish();
    }
}

fn part(duration: Duration, of: u64, all: u64) -> Duration {
    duration.mul_f64(of as f64 / all as f64)
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    times(&mut criterion);
    criterion.final_summary();
}
