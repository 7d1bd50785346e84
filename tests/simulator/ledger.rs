//! What was promised to whom, and what came of it.

use std::collections::BTreeSet;

use bytes::Bytes;
use duologue::proto::Receipt;
use duologue::testing::{Pattern, ShadowDisk};

use super::profile::{BLOCK, Profile};

/// Of both sides, by the side that sends.
pub(crate) struct Ledger {
    pub(crate) sent: [Sent; 2],
    pub(crate) violations: Vec<String>,
}

#[derive(Default)]
pub(crate) struct Sent {
    /// How many lines were handed over, and which of them the other application was given.
    pub(crate) lines: usize,
    pub(crate) received: BTreeSet<usize>,
    last: Option<usize>,
    /// Receipts that a program still waits for.
    pub(crate) open_receipts: usize,
    pub(crate) delivered: u64,
    pub(crate) unknown: u64,
    pub(crate) not_sent: u64,
    pub(crate) files: Vec<File>,
}

/// A file, on its way to the disk of the other side.
#[derive(Default)]
pub(crate) struct File {
    pub(crate) content: Bytes,
    /// The name that its sender was told.
    pub(crate) stored: Option<String>,
    /// Nothing more is to be done for it.
    pub(crate) is_settled: bool,
    /// What its sender was told to be durable, as long as it has to be.
    pub(crate) durable: u64,
}

pub(crate) fn file_name(index: usize) -> String {
    format!("f{index}.bin")
}

/// A file's content, which differs from others almost everywhere.
pub(crate) fn content(seed: u64, len: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        bytes.extend_from_slice(&Pattern::new(seed).bytes(bytes.len() as u64, len - bytes.len()));
    }
    bytes.into()
}

impl Ledger {
    pub(crate) fn new(profile: &Profile) -> Self {
        let sent = [0, 1].map(|side| {
            let work = &profile.sides[side].files;
            let file = |(index, file): (usize, &super::profile::FileWork)| File {
                content: content(profile.seed ^ (side * 1000 + index) as u64, file.len),
                ..File::default()
            };
            Sent { files: work.iter().enumerate().map(file).collect(), ..Sent::default() }
        });
        Self { sent, violations: Vec::new() }
    }

    pub(crate) fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// The application of the other side was given a line of this side's.
    pub(crate) fn on_line(&mut self, side: usize, text: &str) {
        let sent = &mut self.sent[side];
        let number = text.split(' ').next().and_then(|number| number.parse::<usize>().ok());
        let Some(number) = number else {
            return self.violation(format!("a line of nobody's: {text:.40}"));
        };
        if number >= sent.lines {
            self.violation(format!("line {number} of side {side} was never sent"));
        } else if sent.last.is_some_and(|last| number <= last) {
            let what = format!("line {number} of side {side} after {:?}", sent.last);
            self.violation(what);
        } else {
            sent.last = Some(number);
            sent.received.insert(number);
        }
    }

    pub(crate) fn on_receipt(&mut self, side: usize, number: usize, receipt: Receipt) {
        let sent = &mut self.sent[side];
        sent.open_receipts -= 1;
        let was_received = sent.received.contains(&number);
        match receipt {
            Receipt::Delivered => {
                sent.delivered += 1;
                if !was_received {
                    self.violation(format!("line {number} of side {side} is lost"));
                }
            }
            Receipt::NotSent => {
                sent.not_sent += 1;
                if was_received {
                    self.violation(format!("line {number} of side {side} was received unsent"));
                }
            }
            Receipt::Unknown => sent.unknown += 1,
        }
    }

    /// The sender was told that a file is stored.
    pub(crate) fn on_stored(&mut self, side: usize, index: usize, name: &str, disk: &ShadowDisk) {
        let file = &mut self.sent[side].files[index];
        file.stored = Some(name.to_owned());
        file.is_settled = true;
        self.check_stored(side, index, disk);
    }

    /// The receiver took up a file at an offset.
    pub(crate) fn on_offset(&mut self, side: usize, index: usize, offset: u64) {
        let file = &self.sent[side].files[index];
        if offset < file.durable / BLOCK * BLOCK {
            let durable = file.durable;
            self.violation(format!(
                "file {index} of side {side}: {durable} bytes were durable, {offset} are there"
            ));
        }
    }

    fn check_stored(&mut self, side: usize, index: usize, disk: &ShadowDisk) {
        let file = &self.sent[side].files[index];
        let Some(name) = &file.stored else { return };
        if disk.read(name).as_deref() != Some(&file.content[..]) {
            let what = format!("file {index} of side {side} is not what {name} has");
            self.violation(what);
        }
    }

    /// Whether each side has done all that it was to do.
    pub(crate) fn is_done(&self, profile: &Profile) -> bool {
        self.sent.iter().zip(&profile.sides).all(|(sent, work)| {
            sent.lines == work.lines.len()
                && sent.open_receipts == 0
                && sent.files.iter().all(|file| file.is_settled)
        })
    }

    /// What must hold at the end: nothing stored is lost, and nothing else has a name.
    pub(crate) fn check_disks(&mut self, disks: [&ShadowDisk; 2]) {
        for side in [0, 1] {
            let disk = disks[1 - side];
            for index in 0..self.sent[side].files.len() {
                self.check_stored(side, index, disk);
            }
            for name in disk.names() {
                if name.starts_with(".duologue-") {
                    continue;
                }
                let found = disk.read(&name);
                let is_one = (0..self.sent[side].files.len()).any(|index| {
                    let stem = format!("f{index}");
                    name.starts_with(&stem)
                        && found.as_deref() == Some(&self.sent[side].files[index].content[..])
                });
                if !is_one {
                    self.violation(format!("{name} is no file that side {side} sent"));
                }
            }
        }
    }

    /// What is open yet, for who looks for what hangs.
    pub(crate) fn open(&self, profile: &Profile) -> String {
        let of = |side: usize| {
            let sent = &self.sent[side];
            let open = |(index, file): (usize, &File)| (!file.is_settled).then_some(index);
            format!(
                "side {side}: {} of {} lines, {} receipts, files {:?}",
                sent.lines,
                profile.sides[side].lines.len(),
                sent.open_receipts,
                sent.files.iter().enumerate().filter_map(open).collect::<Vec<_>>()
            )
        };
        format!("{}; {}", of(0), of(1))
    }
}
