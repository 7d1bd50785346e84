//! What a seed makes of a run: everything that is random is drawn here, or from generators made here.

use std::time::Duration;

use duologue::proto::Config;
use duologue::testing::SplitMix64;

use super::cable::Quality;

/// What stands for 1 MiB in the inboxes, so that small files show what large ones do.
pub(crate) const BLOCK: u64 = 4096;

/// Bytes a second at least.
const SLOWEST: u64 = 20_000;

#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) seed: u64,
    pub(crate) quality: Quality,
    pub(crate) faults: Vec<Fault>,
    /// Mean bytes until a stream breaks by itself.
    pub(crate) bytes_to_a_cut: Option<u64>,
    /// How many faults, and the time between two at most.
    pub(crate) count: u64,
    pub(crate) pause: Duration,
    pub(crate) sides: [Work; 2],
    pub(crate) receive_window: u32,
    pub(crate) reserved_window: u32,
    pub(crate) send_buffer: u32,
    pub(crate) untaken: u32,
    pub(crate) queued: u32,
    pub(crate) undecided: u32,
    /// The time that an application or a disk takes for what it does, at most.
    pub(crate) slowness: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Cut,
    Silence,
    Stall,
    Outage,
    Kill(usize),
    PowerLoss(usize),
    Disk(usize),
}

/// What a side sends.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// The lengths of its lines, and the time between two at most.
    pub(crate) lines: Vec<usize>,
    pub(crate) pause: Duration,
    pub(crate) files: Vec<FileWork>,
}

#[derive(Debug, Clone)]
pub(crate) struct FileWork {
    pub(crate) len: usize,
    pub(crate) chunk: usize,
    pub(crate) has_size: bool,
    pub(crate) is_seekable: bool,
    /// It is given up once so much was sent.
    pub(crate) cancel_at: Option<usize>,
    pub(crate) begins_after: Duration,
}

impl Profile {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let r = &mut random;
        let receive_window = 65_536 << r.below(3);
        let reserved_window = 4096 << r.below(4);
        let mut faults = Vec::new();
        for fault in [
            Fault::Cut,
            Fault::Silence,
            Fault::Stall,
            Fault::Outage,
            Fault::Kill(0),
            Fault::Kill(1),
            Fault::PowerLoss(0),
            Fault::PowerLoss(1),
            Fault::Disk(0),
            Fault::Disk(1),
        ] {
            // Each kind is on in some runs only: too many at once hide each other.
            if r.percent(30) {
                faults.push(fault);
            }
        }
        let windows = [receive_window as usize, reserved_window as usize];
        let latency = Duration::from_micros(r.log_uniform(200_000));
        // No link is so slow that files take hours.
        let least = (SLOWEST * latency.as_micros() as u64 / 1_000_000).max(16);
        Self {
            seed,
            quality: Quality {
                segment: r.log_uniform(64 << 10) as usize,
                capacity: r.log_uniform(1 << 20).max(least) as usize,
                latency,
                rate: SLOWEST * r.log_uniform(5000),
                writes_vectors: r.percent(50),
                interruptions: if r.percent(30) { 5 } else { 0 },
                hesitations: if r.percent(30) { 20 } else { 0 },
            },
            count: if faults.is_empty() { 0 } else { r.log_uniform(20) },
            faults,
            bytes_to_a_cut: r.percent(40).then(|| 500 * r.log_uniform(2000)),
            pause: Duration::from_millis(r.log_uniform(40_000)),
            sides: [(); 2].map(|()| Work::new(r, windows)),
            receive_window,
            reserved_window,
            send_buffer: 32_768 << r.below(4),
            untaken: 1 << r.below(8),
            queued: 1 << r.below(8),
            undecided: 1 + r.below(4) as u32,
            slowness: Duration::from_micros(if r.percent(50) { 0 } else { r.log_uniform(300_000) }),
        }
    }

    pub(crate) fn config(&self) -> Config {
        Config::builder()
            .receive_window(self.receive_window)
            .reserved_window(self.reserved_window)
            .send_buffer(self.send_buffer)
            .max_untaken(self.untaken)
            .queued_items(self.queued)
            .max_undecided(self.undecided)
            .build()
            .expect("in range")
    }
}

impl Work {
    fn new(random: &mut SplitMix64, windows: [usize; 2]) -> Self {
        let count = random.below(4) * random.log_uniform(40);
        let lines = (0..count)
            .map(|_| match random.below(10) {
                0 => 0,
                1 => random.log_uniform(40_000) as usize,
                2 => 1024 + random.below(3) as usize,
                _ => random.log_uniform(200) as usize,
            })
            .collect();
        let files = (0..random.below(4)).map(|_| FileWork::new(random, windows)).collect();
        Self { lines, pause: Duration::from_millis(random.log_uniform(5000)), files }
    }
}

impl FileWork {
    fn new(random: &mut SplitMix64, windows: [usize; 2]) -> Self {
        let block = BLOCK as usize;
        let edges = [0, 1, block - 1, block, block + 1, 16_384, windows[0], windows[1]];
        let len = match random.below(3) {
            0 => edges[random.below(edges.len() as u64) as usize],
            1 => {
                let edge = edges[random.below(edges.len() as u64) as usize];
                (edge + random.below(3) as usize).saturating_sub(1)
            }
            _ => random.log_uniform(300_000) as usize,
        };
        let cancel_at = random.percent(15).then(|| random.below(len as u64 + 1) as usize);
        Self {
            len,
            // The smallest chunks are for the smaller files.
            chunk: (random.log_uniform(64 << 10) as usize).max(len / 200),
            has_size: random.percent(80),
            is_seekable: random.percent(70),
            cancel_at,
            begins_after: Duration::from_millis(random.log_uniform(20_000)),
        }
    }
}
