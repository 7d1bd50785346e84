//! Files and folders on their way, and what disks have to have.

use bytes::Bytes;
use duologue::testing::ShadowDisk;
use duologue::wire::{Digest, TransferCode};

use super::super::profile::{BLOCK, Profile};
use super::super::work::{FileWork, FolderWork, MemberWork};
use super::super::world::Mark;
use super::{Kind, Ledger, content};

/// What somebody else has under the name of the first file.
const OTHERS: &[u8] = b"somebody else's";

/// What became of what was to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored,
    Cancelled,
    /// As it has to be, for this reason.
    Refused(TransferCode),
}

/// A file, on its way to the disk of the other side.
pub(crate) struct File {
    pub(crate) work: FileWork,
    pub(crate) content: Bytes,
    pub(crate) digest: Digest,
    pub(crate) outcome: Option<Outcome>,
    /// What its sender was told to be durable, as long as it has to be.
    pub(crate) durable: u64,
    /// Calls of the disk that had failed when it was.
    failed_calls: u64,
    /// How often its receiver dropped for good what it had of it.
    pub(crate) given_up: u32,
    /// It has its name, though its sender may not have heard of it.
    pub(crate) is_published: bool,
    /// How often it was declined.
    pub(crate) declined: u32,
    /// How often its receiver said that it is declined, or busy, and its sender heard it.
    said: [u32; 2],
    heard: [u32; 2],
    /// How many receivers have a part of it.
    pub(crate) receivers: u32,
    /// Its first attempt was dropped.
    pub(crate) was_dropped: bool,
    /// What was read of it when it changed while it was sent, which it does once at most; and whether this
    /// is that attempt.
    changed: Option<Bytes>,
    pub(crate) is_changed: bool,
    /// Which pauses were made.
    pub(crate) was_paused: [bool; 2],
}

/// A folder, on its way to the disk of the other side.
pub(crate) struct Folder {
    pub(crate) work: FolderWork,
    pub(crate) members: Vec<Member>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) declined: u32,
    /// What had befallen its receiver when it was offered first.
    pub(crate) since: Option<Mark>,
}

pub(crate) struct Member {
    pub(crate) work: MemberWork,
    pub(crate) content: Bytes,
    pub(crate) digest: Digest,
    /// It was told to be stored.
    pub(crate) is_stored: bool,
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::Blake3(*blake3::hash(bytes).as_bytes())
}

impl File {
    pub(super) fn new(seed: u64, work: FileWork) -> Self {
        let content = content(seed, work.len);
        Self {
            digest: digest(&content),
            content,
            outcome: None,
            durable: 0,
            failed_calls: 0,
            given_up: 0,
            is_published: false,
            declined: 0,
            said: [0; 2],
            heard: [0; 2],
            receivers: 0,
            was_dropped: false,
            changed: None,
            is_changed: false,
            was_paused: [false; 2],
            work,
        }
    }

    pub(crate) fn name(&self, index: usize) -> String {
        self.work.refused.map_or_else(|| format!("f{index}.bin"), str::to_owned)
    }

    /// Its receiver ended it for a reason that no other try could change, and kept nothing. Its
    /// sender may never hear of that, or hear first what was durable until then.
    pub(crate) fn on_given_up(&mut self) {
        self.durable = 0;
        self.given_up += 1;
    }

    /// What its sender reads has a byte changed, in this attempt: nothing of it is to be stored, and what
    /// there was is not gone on with.
    pub(crate) fn change(&mut self, at: usize) -> Bytes {
        let mut content = self.content.to_vec();
        content[at] ^= 1;
        self.is_changed = true;
        self.on_given_up();
        // Kept to the end: parts of it may go with a program, and are nobody's memory.
        self.changed.insert(content.into()).clone()
    }

    /// Whether it has changed, in an attempt before the one that begins now.
    pub(crate) fn has_changed(&mut self) -> bool {
        self.is_changed = false;
        self.changed.is_some()
    }

    /// The sender of a try, which began when the file had been given up so often, is told of bytes.
    pub(crate) fn on_durable(&mut self, durable: u64, given_up: u32, failed_calls: u64) {
        if !self.is_published && !self.is_changed && self.given_up == given_up {
            let before = if self.failed_calls == failed_calls { self.durable } else { 0 };
            (self.durable, self.failed_calls) = (before.max(durable), failed_calls);
        }
    }

    /// Its receiver says that it is declined, or busy.
    pub(crate) fn on_said(&mut self, code: TransferCode) {
        self.said[usize::from(code == TransferCode::BUSY)] += 1;
    }

    /// Its sender hears that: whether it was said so often.
    pub(crate) fn heard(&mut self, code: TransferCode) -> bool {
        let which = usize::from(code == TransferCode::BUSY);
        self.heard[which] += 1;
        self.heard[which] <= self.said[which]
    }
}

impl Folder {
    pub(super) fn new(seed: u64, work: &FolderWork) -> Self {
        let member = |(index, work): (usize, &MemberWork)| {
            let content = content(seed ^ index as u64, work.len.unwrap_or(0));
            Member { work: work.clone(), digest: digest(&content), content, is_stored: false }
        };
        let members = work.members.iter().enumerate().map(member).collect();
        Self { work: work.clone(), members, outcome: None, declined: 0, since: None }
    }

    /// Bytes of all members.
    pub(crate) fn bytes(&self) -> u64 {
        self.members.iter().map(|member| member.content.len() as u64).sum()
    }
}

impl Member {
    /// Why it has to be refused, if files have so many bytes at most.
    pub(crate) fn refusal(&self, most: Option<u64>) -> Option<TransferCode> {
        let is_larger = most.is_some_and(|most| self.content.len() as u64 > most);
        match (self.work.is_refused, is_larger) {
            (true, _) => Some(TransferCode::NAME_REFUSED),
            (false, true) => Some(TransferCode::TOO_LARGE),
            (false, false) => None,
        }
    }
}

impl Ledger {
    /// What is on the disks at first.
    pub(crate) fn prepare(&mut self, profile: &Profile, side: usize, disk: &ShadowDisk) {
        let settings = &profile.programs[side];
        if settings.has_others && settings.collision != duologue::fs::Collision::Replace {
            disk.write("f0.bin", OTHERS);
        }
    }

    /// The sender was told that a file is stored.
    pub(crate) fn on_stored(
        &mut self,
        side: usize,
        index: usize,
        name: &str,
        disk: &ShadowDisk,
        may_be_lost: bool,
    ) {
        let file = &mut self.sent[side].files[index];
        file.outcome = Some(Outcome::Stored);
        let (content, is_refused) = (file.content.clone(), file.work.refused.is_some());
        if is_refused {
            self.violation(
                Kind::Wrong,
                format!("file {index} of side {side} has a name that nobody takes"),
            );
        }
        self.put_on_shelf(1 - side, name, content, disk, may_be_lost);
    }

    /// The sender was told that a member is stored, which is a file or a folder.
    pub(crate) fn on_member(
        &mut self,
        side: usize,
        [folder, index]: [usize; 2],
        name: &str,
        disk: &ShadowDisk,
        may_be_lost: bool,
    ) {
        let member = &mut self.sent[side].folders[folder].members[index];
        member.is_stored = true;
        let (content, work) = (member.content.clone(), member.work.clone());
        if work.is_refused {
            self.violation(
                Kind::Wrong,
                format!("member {index} of side {side} has a name that nobody takes"),
            );
        }
        if work.len.is_some() {
            self.put_on_shelf(1 - side, name, content, disk, may_be_lost);
        } else if !may_be_lost && !disk.names().iter().any(|found| found == name) {
            self.violation(Kind::Lost, format!("folder {index} of side {side} is not at {name}"));
        }
    }

    /// It has to be there from now on.
    fn put_on_shelf(
        &mut self,
        side: usize,
        name: &str,
        content: Bytes,
        disk: &ShadowDisk,
        may_be_lost: bool,
    ) {
        if may_be_lost && disk.read(name).as_deref() != Some(&content[..]) {
            // It was told before the power was lost, and heard after it.
            return;
        }
        self.shelves[side].retain(|(found, _)| found != name);
        self.shelves[side].push((name.to_owned(), content));
        self.check_shelf(side, disk, self.shelves[side].len() - 1);
    }

    fn check_shelf(&mut self, side: usize, disk: &ShadowDisk, from: usize) {
        for (name, content) in &self.shelves[side][from..] {
            let found = disk.read(name);
            if found.as_deref() != Some(&content[..]) {
                let (kind, what) = match found {
                    Some(_) => (Kind::Wrong, "is not what it was"),
                    None => (Kind::Lost, "is lost"),
                };
                let what = format!("{name}, stored at side {side}, {what}");
                self.violations.push((kind, what));
            }
        }
    }

    /// The receiver took up a file at an offset.
    pub(crate) fn on_offset(&mut self, side: usize, index: usize, offset: u64, failed_calls: u64) {
        let file = &self.sent[side].files[index];
        if file.failed_calls == failed_calls && offset < file.durable / BLOCK * BLOCK {
            let durable = file.durable;
            self.violation(
                Kind::Lost,
                format!(
                    "file {index} of side {side}: {durable} bytes were durable, {offset} are there"
                ),
            );
        }
    }

    /// Nothing that was told to be durable at a side has to be so any more.
    pub(crate) fn forget_durable(&mut self, side: usize) {
        for file in &mut self.sent[1 - side].files {
            file.durable = 0;
        }
    }

    /// Nothing that is stored at a side has to be there any more.
    pub(crate) fn forget_stored(&mut self, side: usize) {
        self.shelves[side].clear();
        self.has_forgotten[side] = true;
    }

    /// What must hold of a disk at any time: nothing stored is lost, and nothing else has a name.
    pub(crate) fn check_disk(&mut self, profile: &Profile, side: usize, disk: &ShadowDisk) {
        self.check_shelf(side, disk, 0);
        let settings = &profile.programs[side];
        let replaces = settings.collision == duologue::fs::Collision::Replace;
        if settings.has_others && !replaces && disk.read("f0.bin").as_deref() != Some(OTHERS) {
            self.violation(Kind::Lost, format!("somebody else's file at side {side} is gone"));
        }
        for name in disk.names() {
            let found = disk.read(&name);
            if !name.starts_with(".duologue-")
                && !self.exempt[side].contains(&name)
                && found.as_deref() != Some(OTHERS)
                && !self.was_sent(1 - side, &name, found.as_deref())
            {
                self.violation(
                    Kind::Wrong,
                    format!("{name} at side {side} is nothing that was sent"),
                );
            }
        }
    }

    /// Whether this is what a side sends under such a name, which may have got a number.
    fn was_sent(&self, side: usize, name: &str, found: Option<&[u8]>) -> bool {
        let sent = &self.sent[side];
        let (top, rest) = name.split_once('/').unwrap_or((name, ""));
        let number = |name: &str| {
            let digits = name.get(1..).unwrap_or_default();
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            digits[..end].parse::<usize>().ok()
        };
        if top.starts_with('f') {
            let file = number(top).and_then(|index| sent.files.get(index));
            return rest.is_empty() && file.is_some_and(|file| found == Some(&file.content[..]));
        }
        let Some(folder) = number(top).and_then(|index| sent.folders.get(index)) else {
            return false;
        };
        let leaf = rest.rsplit('/').next().unwrap_or_default();
        if ["", "a", "b"].contains(&leaf) {
            return top.starts_with('d') && found.is_none();
        }
        let member = number(leaf).and_then(|index| folder.members.get(index));
        member.is_some_and(|member| match member.work.len {
            Some(_) => found == Some(&member.content[..]),
            None => found.is_none(),
        })
    }
}
