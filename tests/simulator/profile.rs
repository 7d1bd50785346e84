//! What a seed makes of a run: everything that is random is drawn here, or from generators made here.

use std::time::Duration;

use duologue::fs::{Collision, Durability, InboxOptions};
use duologue::proto::Config;
use duologue::testing::SplitMix64;

use super::cable::Quality;
use super::work::Work;

/// What stands for 1 MiB in the inboxes, so that small files show what large ones do.
pub(crate) const BLOCK: u64 = 4096;

/// Seeds before this one are what they were when some of them found something: they know nothing of faults
/// that were thought of later.
pub(crate) const FIRST_OF_ALL_FAULTS: u64 = 10_000_000;
/// From this one on those that sleep are looked at, and none of them goes on by chance once the faults have
/// ended.
pub(crate) const FIRST_OF_LOOKS: u64 = 30_000_000;

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
    pub(crate) programs: [Settings; 2],
    pub(crate) work: [Work; 2],
    /// Sides whose files change while they are sent for the first time.
    pub(crate) changes: [bool; 2],
    /// The time that an application or a disk takes for what it does, at most.
    pub(crate) slowness: Duration,
    /// What reaches a disk together or not at all.
    pub(crate) sector: usize,
    /// Conversations that the server keeps at most.
    pub(crate) conversations: usize,
    /// Whether files are held up in the end, to see that lines come through.
    pub(crate) is_held_up: bool,
    /// Who says goodbye in the end.
    pub(crate) closers: [bool; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Cut,
    Silence,
    Stall,
    Outage,
    /// The other side hears the end of the stream, and this one does not know.
    Shut(usize),
    /// It closes the conversation, and there is another one after it.
    Goodbye(usize),
    Kill(usize),
    PowerLoss(usize),
    Disk(usize),
    /// Its power is lost, and hidden files come back with a bit changed.
    Rot(usize),
    /// Both were suspended: all clocks have moved on when they wake.
    Suspension,
}

const FAULTS: [Fault; 14] = [
    Fault::Cut,
    Fault::Silence,
    Fault::Stall,
    Fault::Outage,
    Fault::Shut(0),
    Fault::Shut(1),
    Fault::Goodbye(0),
    Fault::Goodbye(1),
    Fault::Kill(0),
    Fault::Kill(1),
    Fault::PowerLoss(0),
    Fault::PowerLoss(1),
    Fault::Disk(0),
    Fault::Disk(1),
];

const LATER_FAULTS: [Fault; 3] = [Fault::Rot(0), Fault::Rot(1), Fault::Suspension];

impl Profile {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let (r, places) = (&mut random, &mut SplitMix64::new(seed ^ 0x0B));
        // Each kind is on in some runs only: too many at once hide each other.
        let mut faults: Vec<Fault> = FAULTS.into_iter().filter(|_| r.percent(25)).collect();
        let mut changes = [false; 2];
        if seed >= FIRST_OF_ALL_FAULTS {
            let later = &mut SplitMix64::new(seed ^ 0x0C);
            faults.extend(LATER_FAULTS.into_iter().filter(|_| later.percent(15)));
            changes = [(); 2].map(|()| later.percent(15));
        }
        let latency = Duration::from_micros(r.log_uniform(200_000));
        // No link is so slow that files take hours.
        let least = (SLOWEST * latency.as_micros() as u64 / 1_000_000).max(16);
        let quality = Quality {
            segment: r.log_uniform(64 << 10) as usize,
            capacity: r.log_uniform(256 << 10).max(least) as usize,
            latency,
            rate: SLOWEST * r.log_uniform(5000),
            writes_vectors: r.percent(50),
            interruptions: if r.percent(30) { 5 } else { 0 },
            hesitations: if r.percent(30) { 20 } else { 0 },
        };
        let mut programs = [(); 2].map(|()| Settings::new(r));
        for program in &mut programs {
            // Of a number of its own: what else a seed makes stays as it was.
            program.has_places = places.percent(50);
        }
        // The smallest pieces go with little work, and the largest with the most.
        let budget = (600 * quality.segment).clamp(4 << 10, 400 << 10);
        let work = [0, 1].map(|side| Work::new(r, &programs[1 - side], budget));
        let closers = [[true, false], [false, true], [true, true]][r.below(3) as usize];
        Self {
            seed,
            quality,
            count: if faults.is_empty() { 0 } else { r.log_uniform(20) },
            faults,
            bytes_to_a_cut: r.percent(30).then(|| 500 * r.log_uniform(2000)),
            pause: Duration::from_millis(r.log_uniform(40_000)),
            programs,
            work,
            changes,
            slowness: Duration::from_micros(if r.percent(50) { 0 } else { r.log_uniform(300_000) }),
            sector: (128 << r.below(4)).max(budget / 256),
            conversations: 2 + r.below(4) as usize,
            is_held_up: r.percent(25),
            closers,
        }
    }

    /// The longest that something takes to cross the link once it has been written.
    pub(crate) fn crossing(&self) -> Duration {
        // What is under way at most, once the pieces have grown.
        let under_way = self.quality.capacity.max(64 << 10) as u64;
        self.quality.latency + Duration::from_micros(under_way * 1_000_000 / self.quality.rate)
    }
}

/// What a program allows, and how it stores.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) frame: u32,
    pub(crate) fragment: u32,
    pub(crate) item: u32,
    pub(crate) item_bytes: u32,
    pub(crate) untaken: u32,
    pub(crate) transfers: u32,
    pub(crate) undecided: u32,
    pub(crate) member_credit: u32,
    pub(crate) receive_window: u32,
    pub(crate) reserved_window: u32,
    pub(crate) send_buffer: u32,
    pub(crate) outgoing: u32,
    pub(crate) queued_items: u32,
    pub(crate) queued_bytes: u32,
    /// In seconds.
    pub(crate) keep_alive: u64,
    pub(crate) idle: u64,
    pub(crate) stall: u64,
    pub(crate) whole: u64,
    pub(crate) close: u64,
    pub(crate) detached: u64,
    pub(crate) rate_limit: Option<u64>,
    pub(crate) collision: Collision,
    pub(crate) durability: Durability,
    pub(crate) max_file: Option<u64>,
    /// Whether its inbox remembers as many offers as others do, or only a few.
    pub(crate) has_places: bool,
    /// Somebody else's file has the name of the first one.
    pub(crate) has_others: bool,
}

fn one_of<T: Copy>(r: &mut SplitMix64, of: &[T]) -> T {
    of[r.below(of.len() as u64) as usize]
}

impl Settings {
    fn new(r: &mut SplitMix64) -> Self {
        let any_fragment = 1024 + r.below(15_361) as u32;
        let any_item = 16_384 + r.log_uniform(60_000) as u32;
        let item = one_of(r, &[16_384, 69_632, any_item]);
        let keep_alive = 1 + r.below(20);
        Self {
            frame: one_of(r, &[1024, 16_384, 65_536]),
            fragment: one_of(r, &[1024, 16_384, any_fragment]),
            item,
            item_bytes: item.max(16_384 << r.below(6)),
            untaken: 1 << r.below(8),
            transfers: 3 + r.below(6) as u32,
            undecided: 1 + r.below(4) as u32,
            member_credit: one_of(r, &[0, 1, 4096, 16_384, 65_536]),
            receive_window: 65_536 << r.below(3),
            reserved_window: 4096 << r.below(4),
            send_buffer: 32_768 << r.below(4),
            outgoing: 3 + r.below(6) as u32,
            queued_items: 1 << r.below(8),
            queued_bytes: 16_384 << r.below(5),
            keep_alive,
            idle: keep_alive + 5 + r.below(50),
            stall: 20 + r.below(100),
            whole: one_of(r, &[300, 86_400]),
            close: 2 + r.below(5),
            detached: 20 + r.below(300),
            rate_limit: r.percent(10).then(|| 50_000 * r.log_uniform(100)),
            collision: one_of(r, &[Collision::Number, Collision::Refuse, Collision::Replace]),
            durability: one_of(
                r,
                &[Durability::Full, Durability::Full, Durability::Data, Durability::NoSync],
            ),
            max_file: r.percent(10).then(|| r.log_uniform(100_000)),
            has_places: false,
            has_others: r.percent(30),
        }
    }

    pub(crate) fn config(&self) -> Config {
        let seconds = Duration::from_secs;
        Config::builder()
            .max_frame(self.frame)
            .max_fragment(self.fragment)
            .max_item(self.item)
            .max_untaken(self.untaken)
            .max_untaken_bytes(self.item_bytes)
            .max_transfers(self.transfers)
            .max_undecided(self.undecided)
            .member_credit(self.member_credit)
            .receive_window(self.receive_window)
            .reserved_window(self.reserved_window)
            .send_buffer(self.send_buffer)
            .outgoing_transfers(self.outgoing)
            .queued_items(self.queued_items)
            .queued_bytes(self.queued_bytes)
            .keep_alive_interval(seconds(self.keep_alive))
            .idle_timeout(seconds(self.idle))
            .stall_timeout(seconds(self.stall))
            .transfer_timeout(seconds(self.whole))
            .close_timeout(seconds(self.close))
            .detached_timeout(seconds(self.detached))
            .build()
            .expect("in range")
    }

    pub(crate) fn inbox(&self) -> InboxOptions {
        let options = InboxOptions::new()
            .alignment(BLOCK)
            .keep_free(0)
            .collision(self.collision)
            .durability(self.durability);
        let options = if self.has_places { options.notes(4096) } else { options };
        match self.max_file {
            Some(bytes) => options.max_file_size(bytes),
            None => options,
        }
    }
}
