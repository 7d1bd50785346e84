//! The ways to do the same work, each over any pair of streams.
//!
//! All functions run on a tokio runtime, both ends in this process, each in a task of its own, and
//! measure from the moment that both ends are ready to the moment that all has arrived.

pub mod by_task;
pub mod codec;
pub mod h2;
pub mod ours;
pub mod raw;
pub mod talk;
pub mod yamux;

use std::time::Instant;

use hdrhistogram::Histogram;

use crate::Result;
use crate::measure::{Sample, micros};

/// A message of 64 bytes.
pub const TEXT: &str = "It is a truth universally acknowledged, that a single man in po-";

/// Round trips that are made before any is counted.
pub const WARM_UP: u64 = 200;

/// Latencies in nanoseconds.
#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet; up to a minute each.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn new() -> Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, 60_000_000_000, 3)?))
    }

    /// Counts one that began then.
    pub fn since(&mut self, began: Instant) {
        self.0.saturating_record(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts all of another.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Microseconds that so much of all (0 to 1) are within.
    pub fn quantile(&self, part: f64) -> f64 {
        micros(std::time::Duration::from_nanos(self.0.value_at_quantile(part)))
    }

    /// The median as the figure, the 99th percentile and the maximum beside it.
    pub fn sample(&self) -> Sample {
        Sample { value: self.quantile(0.5), ..Sample::default() }
            .with("p99", self.quantile(0.99))
            .with("longest", self.quantile(1.0))
    }
}
