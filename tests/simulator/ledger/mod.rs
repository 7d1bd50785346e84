//! What was promised to whom, and what came of it.

mod files;
mod series;

use std::collections::BTreeSet;

use bytes::Bytes;
use duologue::testing::Pattern;

pub(crate) use self::files::{File, Folder, Member, Outcome};
pub(crate) use self::series::Series;
use super::profile::Profile;

/// What a violation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Lost,
    Duplicated,
    Reordered,
    /// It is not what was sent.
    Wrong,
    Other,
}

/// What did not hold.
pub(crate) type Violations = Vec<(Kind, String)>;

/// Of both sides, by the side that sends.
pub(crate) struct Ledger {
    pub(crate) sent: [Sent; 2],
    /// What each disk has to have from now on, whatever happens to it.
    shelves: [Vec<(String, Bytes)>; 2],
    /// Its power was lost, which may have taken what was told to be stored.
    pub(crate) has_forgotten: [bool; 2],
    /// What is on it of a time after which nothing was promised.
    pub(crate) exempt: [BTreeSet<String>; 2],
    pub(crate) violations: Violations,
}

#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) lines: Series,
    pub(crate) messages: Series,
    /// The messages that it has answered, and whose answers came.
    answered: BTreeSet<u64>,
    pub(crate) answers: BTreeSet<u64>,
    signals: u64,
    pub(crate) signals_received: BTreeSet<u64>,
    pub(crate) files: Vec<File>,
    pub(crate) folders: Vec<Folder>,
}

/// Bytes that differ from others almost everywhere.
pub(crate) fn content(seed: u64, len: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        bytes.extend_from_slice(&Pattern::new(seed).bytes(bytes.len() as u64, len - bytes.len()));
    }
    bytes.into()
}

/// The line of this number and length.
pub(crate) fn line(number: usize, len: usize) -> String {
    let mut text = if is_numbered(len) { format!("{number} ") } else { String::new() };
    while text.len() + 2 <= len {
        text.push('é');
    }
    if text.len() < len {
        text.push('.');
    }
    text
}

/// Whether a line has room for its number.
pub(crate) fn is_numbered(len: usize) -> bool {
    len >= 8
}

/// The body of the message of this number and length.
pub(crate) fn body(number: usize, len: usize) -> Bytes {
    content(77 + number as u64, len)
}

impl Ledger {
    pub(crate) fn new(profile: &Profile) -> Self {
        let sent = [0, 1].map(|side| {
            let seed = profile.seed ^ (side as u64) << 40;
            let work = &profile.work[side];
            let mut files = work.files.clone();
            if profile.is_held_up {
                files.push(super::work::FileWork::held_up(&profile.programs[1 - side]));
            }
            let files = files.into_iter().enumerate();
            let folders = work.folders.iter().enumerate();
            Sent {
                files: files.map(|(index, work)| File::new(seed ^ index as u64, work)).collect(),
                folders: folders
                    .map(|(index, work)| Folder::new(seed ^ (1000 * (index as u64 + 1)), work))
                    .collect(),
                ..Sent::default()
            }
        });
        let (shelves, has_forgotten, exempt) = Default::default();
        Self { sent, shelves, has_forgotten, exempt, violations: Vec::new() }
    }

    pub(crate) fn violation(&mut self, kind: Kind, what: String) {
        self.violations.push((kind, what));
    }

    fn check(&mut self, result: Result<(), (Kind, String)>, side: usize) {
        if let Err((kind, what)) = result {
            self.violation(kind, format!("side {side}: {what}"));
        }
    }

    /// The other application was given a line of this side's.
    pub(crate) fn on_line(&mut self, side: usize, number: Option<usize>, text: &str, len: usize) {
        let Some(number) = number else {
            return self.violation(Kind::Wrong, format!("a line of nobody's: {text:.40}"));
        };
        if text != line(number, len) {
            self.violation(
                Kind::Wrong,
                format!("line {number} of side {side} is another one: {text:.40}"),
            );
        }
        let received = self.sent[side].lines.on_received(number);
        self.check(received.map_err(|(kind, what)| (kind, format!("line {what}"))), side);
    }

    /// The other application was given a message of this side's.
    pub(crate) fn on_message(&mut self, side: usize, number: usize, found: &[u8], len: usize) {
        if found != body(number, len) {
            self.violation(Kind::Wrong, format!("message {number} of side {side} is another one"));
        }
        let received = self.sent[side].messages.on_received(number);
        self.check(received.map_err(|(kind, what)| (kind, format!("message {what}"))), side);
    }

    pub(crate) fn on_receipt(
        &mut self,
        side: usize,
        is_line: bool,
        number: usize,
        receipt: duologue::proto::Receipt,
        has_occasion: bool,
    ) {
        let sent = &mut self.sent[side];
        let (series, what) =
            if is_line { (&mut sent.lines, "line") } else { (&mut sent.messages, "message") };
        let ended = series.on_receipt(number, receipt, has_occasion);
        let ended = ended.map_err(|(kind, found)| (kind, format!("{what} {found}")));
        self.check(ended, side);
    }

    /// A side answers a message of the other one: whether for the first time.
    pub(crate) fn answers(&mut self, side: usize, number: u64) -> bool {
        self.sent[side].answered.insert(number)
    }

    /// The other application was given an answer of this side's.
    pub(crate) fn on_answer(&mut self, side: usize, number: u64) {
        let sent = &mut self.sent[side];
        if !sent.answered.contains(&number) || !sent.answers.insert(number) {
            self.violation(
                Kind::Duplicated,
                format!("side {side} has not answered {number}, or once"),
            );
        }
    }

    /// The number of the next signal.
    pub(crate) fn next_signal(&mut self, side: usize) -> u64 {
        self.sent[side].signals += 1;
        self.sent[side].signals
    }

    /// The other application was given a signal of this side's.
    pub(crate) fn on_signal(&mut self, side: usize, number: u64) {
        let sent = &mut self.sent[side];
        if number > sent.signals || !sent.signals_received.insert(number) {
            self.violation(
                Kind::Duplicated,
                format!("signal {number} of side {side} came twice, or from nobody"),
            );
        }
    }

    /// Whether each side has done all that it was to do, of files so many.
    pub(crate) fn is_done(&self, profile: &Profile, with_held_up: bool) -> bool {
        self.sent.iter().zip(&profile.work).all(|(sent, work)| {
            let files = if with_held_up { sent.files.len() } else { work.files.len() };
            sent.lines.is_done(work.lines.len())
                && sent.messages.is_done(work.messages.len())
                && sent.files[..files].iter().all(|file| file.outcome.is_some())
                && sent.folders.iter().all(|folder| folder.outcome.is_some())
        })
    }

    /// What is open yet, for who looks for what hangs.
    pub(crate) fn open(&self, profile: &Profile) -> String {
        let of = |side: usize| {
            let (sent, work) = (&self.sent[side], &profile.work[side]);
            let open = |outcomes: Vec<bool>| {
                let open = outcomes.into_iter().enumerate().filter(|(_, is_open)| *is_open);
                open.map(|(index, _)| index).collect::<Vec<_>>()
            };
            format!(
                "side {side}: {} of {} lines, {} of {} messages, {} and {} receipts, files {:?}, folders {:?}",
                sent.lines.sent,
                work.lines.len(),
                sent.messages.sent,
                work.messages.len(),
                sent.lines.open_receipts,
                sent.messages.open_receipts,
                open(sent.files.iter().map(|file| file.outcome.is_none()).collect()),
                open(sent.folders.iter().map(|folder| folder.outcome.is_none()).collect()),
            )
        };
        format!("{}; {}", of(0), of(1))
    }
}
