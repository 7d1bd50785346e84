//! A chat beside bulk that never ends: how long a message takes.
//!
//! A message is due every 1 to 2 ms, and its delay is counted from then, so that a sender who cannot
//! keep up does not look good by sending less.

mod by_hand;
mod multiplexed;
mod ours;

pub use by_hand::{by_priority, fifo, two};
pub use multiplexed::{h2, yamux};
pub use ours::ours;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::Result;
use crate::measure::{Sample, Stopwatch};
use crate::peers::Latencies;

/// What all moments are counted from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How much, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Bulk transfers at a time.
    pub transfers: usize,
    /// How long nothing is counted yet.
    pub warm_up: Duration,
    /// How long it is counted.
    pub duration: Duration,
    /// The shortest time from one message to the next; the longest is twice that.
    pub interval: Duration,
}

/// What arrived so far.
#[derive(Debug, Clone)]
pub struct Arrived {
    latencies: Arc<Mutex<Latencies>>,
    chats: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    counts_from: Instant,
}

/// When the messages are due.
pub type Ticks = mpsc::UnboundedReceiver<Instant>;

/// The 64 bytes of a message that is due then.
pub fn message(due: Instant) -> String {
    let nanos = due.saturating_duration_since(*EPOCH).as_nanos();
    format!("{nanos:<64}")
}

impl Arrived {
    fn new(counts_from: Instant) -> Result<Self> {
        Ok(Self {
            latencies: Arc::new(Mutex::new(Latencies::new()?)),
            chats: Arc::default(),
            bytes: Arc::default(),
            counts_from,
        })
    }

    /// A message came.
    ///
    /// # Errors
    ///
    /// For one that says no time.
    pub fn chat(&self, text: &[u8]) -> Result<()> {
        let nanos = std::str::from_utf8(text)?.trim_end().parse()?;
        let due = *EPOCH + Duration::from_nanos(nanos);
        self.chats.fetch_add(1, Ordering::Relaxed);
        if due >= self.counts_from {
            self.latencies.lock().unwrap_or_else(PoisonError::into_inner).since(due);
        }
        Ok(())
    }

    /// So much bulk came.
    pub fn bulk(&self, len: usize) {
        self.bytes.fetch_add(len as u64, Ordering::Relaxed);
    }
}

/// Runs a load of which the rest is tasks of the runtime: `start` begins them. The runtime is dropped
/// afterwards, and they with it.
///
/// # Errors
///
/// Those of `start`.
pub async fn run<F>(load: Load, start: impl FnOnce(Ticks, Arrived) -> F) -> Result<Sample>
where
    F: Future<Output = Result<()>>,
{
    let began = Instant::now().max(*EPOCH);
    let counts_from = began + load.warm_up;
    let until = counts_from + load.duration;
    let arrived = Arrived::new(counts_from)?;
    let (ticks, receiver) = mpsc::unbounded_channel();
    start(receiver, arrived.clone()).await?;
    // A thread of its own: the timers of tokio have milliseconds.
    let clock = std::thread::spawn(move || clock(load.interval, until, &ticks));
    tokio::time::sleep_until(counts_from.into()).await;
    let (bytes, watch) = (arrived.bytes.load(Ordering::Relaxed), Stopwatch::new());
    tokio::time::sleep_until(until.into()).await;
    let mut sample = watch.bytes(arrived.bytes.load(Ordering::Relaxed) - bytes);
    let (sent, late) = clock.join().map_err(|_| "the clock panicked")??;
    let grace = Instant::now() + Duration::from_secs(1);
    while arrived.chats.load(Ordering::Relaxed) < sent && Instant::now() < grace {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let latencies = arrived.latencies.lock().unwrap_or_else(PoisonError::into_inner);
    let rate = sample.value;
    // Of none that came there is no figure.
    let has_some = latencies.count() > 0;
    let quantile = |part| if has_some { latencies.quantile(part) } else { f64::NAN };
    sample.value = quantile(0.99);
    let missing = sent.saturating_sub(arrived.chats.load(Ordering::Relaxed));
    Ok(sample
        .with("p50", quantile(0.5))
        .with("longest", quantile(1.0))
        .with("clock p99", late)
        .with("bulk MB/s", rate * 1e3)
        .with("missing", missing as f64))
}

/// Says when messages are due; returns how many, and how late it was itself, at p99.
fn clock(
    interval: Duration,
    until: Instant,
    ticks: &mpsc::UnboundedSender<Instant>,
) -> Result<(u64, f64)> {
    let (mut due, mut count, mut late) = (Instant::now(), 0_u64, Latencies::new()?);
    while due < until {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        late.since(due);
        if ticks.send(due).is_err() {
            break;
        }
        count += 1;
        // 1 to 2 intervals, evenly, in an order without a pattern that matters.
        due += interval + interval.mul_f64((count * 7919 % 1000) as f64 / 1000.0);
    }
    Ok((count, late.quantile(0.99)))
}
