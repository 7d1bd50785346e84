//! What a side is to do: what it says, and the files and folders that it sends.

use std::time::Duration;

use duologue::testing::SplitMix64;

use super::profile::{BLOCK, Settings};

/// Bytes of a line, or of a message, that are not its content.
pub(crate) const LINE: usize = 2;
pub(crate) const MESSAGE: usize = 11;

/// Names that no receiver takes.
const REFUSED: [&str; 8] = ["../f", "/f", "a\\b", "nul.txt", ".f", "f.", "C:f", "fdp\u{202E}.exe"];

/// What a side sends.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// The lengths of its lines and messages, and the time between two at most.
    pub(crate) lines: Vec<usize>,
    pub(crate) messages: Vec<usize>,
    pub(crate) pause: Duration,
    pub(crate) files: Vec<FileWork>,
    pub(crate) folders: Vec<FolderWork>,
}

#[derive(Debug, Clone)]
pub(crate) struct FileWork {
    pub(crate) len: usize,
    pub(crate) chunk: usize,
    pub(crate) has_size: bool,
    pub(crate) is_seekable: bool,
    pub(crate) has_digest: bool,
    /// A name that no receiver takes.
    pub(crate) refused: Option<&'static str>,
    pub(crate) begins_after: Duration,
    /// What else happens to it, at which byte.
    pub(crate) events: Vec<(usize, FileEvent)>,
    /// How often it is declined at first.
    pub(crate) declined: u32,
    /// The first attempt is dropped, wherever it is, after this time.
    pub(crate) dropped_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileEvent {
    /// A side gives it up: its sender is number 0 here.
    Cancel(usize),
    /// A side pauses it for so long.
    Pause(usize, Duration),
}

#[derive(Debug, Clone)]
pub(crate) struct FolderWork {
    pub(crate) members: Vec<MemberWork>,
    /// Members that are sent at a time.
    pub(crate) at_a_time: usize,
    pub(crate) begins_after: Duration,
    /// It is given up once so many members have ended.
    pub(crate) cancel_after: Option<usize>,
    pub(crate) declined: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct MemberWork {
    pub(crate) path: String,
    /// None is a folder.
    pub(crate) len: Option<usize>,
    pub(crate) chunk: usize,
    pub(crate) is_refused: bool,
}

/// One of them, or one less or more than one.
fn edge(r: &mut SplitMix64, edges: &[usize]) -> usize {
    let edge = edges[r.below(edges.len() as u64) as usize];
    if r.percent(40) { edge } else { (edge + r.below(3) as usize).saturating_sub(1) }
}

/// Takes a length of what is left to be spent.
fn spend(r: &mut SplitMix64, len: usize, left: &mut usize) -> usize {
    let len = if len <= *left { len } else { r.log_uniform(1 + *left as u64) as usize - 1 };
    *left -= len;
    len
}

impl Work {
    /// For a peer that allows so much, of so many bytes about.
    pub(crate) fn new(r: &mut SplitMix64, peer: &Settings, budget: usize) -> Self {
        let mut left = budget / 2;
        let (item, fragment) = (peer.item as usize, peer.fragment as usize);
        let most = if budget > 64 << 10 { 40 } else { 12 };
        let mut lens = |overhead: usize| {
            let count = r.below(4) * r.log_uniform(most);
            let len = |_| {
                let len = match r.below(12) {
                    0 => r.below(2) as usize,
                    1 => edge(r, &[fragment, 2 * fragment, item]).saturating_sub(overhead),
                    2 => r.log_uniform(40_000) as usize,
                    _ => r.log_uniform(200) as usize,
                };
                spend(r, len, &mut left)
            };
            (0..count).map(len).collect()
        };
        let (lines, messages) = (lens(LINE), lens(MESSAGE));
        let mut left = left + budget / 2;
        let files = (0..r.below(4)).map(|_| FileWork::new(r, peer, &mut left)).collect();
        let folders = if r.percent(35) { 1 + r.below(2) } else { 0 };
        let folders = (0..folders).map(|_| FolderWork::new(r, peer, &mut left)).collect();
        let pause = Duration::from_millis(r.log_uniform(5000));
        Self { lines, messages, pause, files, folders }
    }
}

fn file_len(r: &mut SplitMix64, peer: &Settings) -> usize {
    let block = BLOCK as usize;
    let windows = [peer.receive_window, peer.reserved_window, peer.member_credit, peer.fragment];
    let [window, reserved, credit, fragment] = windows.map(|bytes| bytes as usize);
    match r.below(3) {
        0 => r.below(2) as usize,
        1 => edge(r, &[1, block, fragment, 16_384, window, reserved, credit, 3 * block]),
        _ => r.log_uniform(300_000) as usize,
    }
}

/// The smallest chunks are for the smaller files.
fn chunk(r: &mut SplitMix64, len: usize) -> usize {
    (r.log_uniform(64 << 10) as usize).max(len / 200)
}

impl FileWork {
    fn new(r: &mut SplitMix64, peer: &Settings, left: &mut usize) -> Self {
        let len = file_len(r, peer);
        let len = spend(r, len, left);
        let mut events = Vec::new();
        for side in [0, 1] {
            let at = |r: &mut SplitMix64| r.below(len as u64 + 1) as usize;
            if r.percent(8) {
                events.push((at(r), FileEvent::Cancel(side)));
            }
            if r.percent(15) {
                let time = Duration::from_millis(r.log_uniform(250_000));
                events.push((at(r), FileEvent::Pause(side, time)));
            }
        }
        Self {
            len,
            chunk: chunk(r, len),
            has_size: r.percent(80),
            is_seekable: r.percent(70),
            has_digest: r.percent(20),
            refused: r.percent(5).then(|| REFUSED[r.below(REFUSED.len() as u64) as usize]),
            begins_after: Duration::from_millis(r.log_uniform(20_000)),
            events,
            declined: if r.percent(10) { 1 + r.below(2) as u32 } else { 0 },
            dropped_after: r.percent(10).then(|| Duration::from_micros(r.log_uniform(30_000_000))),
        }
    }

    /// A file that more has to come of than is let through.
    pub(crate) fn held_up(peer: &Settings) -> Self {
        Self {
            len: (peer.receive_window + peer.reserved_window + 20_000) as usize,
            chunk: 16_384,
            has_size: true,
            is_seekable: false,
            has_digest: false,
            refused: None,
            begins_after: Duration::ZERO,
            events: Vec::new(),
            declined: 0,
            dropped_after: None,
        }
    }

    /// Where its sender, or the other side, gives it up.
    pub(crate) fn cancelled_at(&self, by: usize) -> Option<usize> {
        let is_it = |event: &&(usize, FileEvent)| event.1 == FileEvent::Cancel(by);
        self.events.iter().find(is_it).map(|(at, _)| *at)
    }

    /// Where its sender, or the other side, pauses it, and for how long.
    pub(crate) fn paused_at(&self, by: usize) -> Option<(usize, Duration)> {
        self.events.iter().find_map(|(at, event)| match event {
            FileEvent::Pause(side, time) if *side == by => Some((*at, *time)),
            _ => None,
        })
    }
}

impl FolderWork {
    fn new(r: &mut SplitMix64, peer: &Settings, left: &mut usize) -> Self {
        let count = r.below(8) as usize;
        let mut members = Vec::new();
        for index in 0..count {
            let beneath = ["", "a/", "a/b/"][r.below(3) as usize];
            let is_refused = r.percent(5);
            let name = if is_refused {
                ["../m", "a/nul", "a/./m", ".m"][r.below(4) as usize].to_owned()
            } else {
                format!("{beneath}m{index}.bin")
            };
            let len = (is_refused || r.percent(80)).then(|| {
                let len = file_len(r, peer).min(40_000);
                spend(r, len, left)
            });
            members.push(MemberWork {
                path: name,
                len,
                chunk: chunk(r, len.unwrap_or(0)),
                is_refused,
            });
        }
        Self {
            members,
            at_a_time: 1 + r.below(4) as usize,
            begins_after: Duration::from_millis(r.log_uniform(20_000)),
            cancel_after: r.percent(10).then(|| r.below(count as u64 + 1) as usize),
            declined: u32::from(r.percent(10)),
        }
    }
}
