//! Files and folders from a sender's disk into an inbox, over streams and on a disk that fail as the
//! input says, in some lives of the receiver's program one after the other: what is there under a
//! final name is whole, what was promised stays, and in the end everything arrives.

mod conversation;
mod direct;
mod judge;
mod life;
mod sources;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use duologue::fs::{Collision, Durability, Error, Inbox, InboxOptions};
use duologue::testing::{Script, ShadowDisk};

use self::judge::{Judge, Place};
use self::sources::Sources;
use super::program::{self, show};

/// What stands for 1 MiB, so that small files show what large ones do.
const BLOCK: u64 = 1024;
const LIVES: usize = 3;

/// What the sender does.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Errand {
    /// One of the files.
    File {
        which: u8,
        how: u8,
    },
    /// The folder.
    Tree {
        how: u8,
    },
    /// A file grows, or shrinks, while others are on their way; or is another, when none is.
    Grow {
        which: u8,
    },
    Wait(u8),
}

/// What happens to the receiver's disk.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Mishap {
    Fails { after: u8, calls: u8, kind: u8 },
    PowerOff { after: u8 },
    Full { room: u16 },
}

#[derive(Arbitrary, Debug)]
struct Life {
    scripts: Vec<Script>,
    mishaps: Vec<Mishap>,
    errands: Vec<Errand>,
    /// How it ends, and what the disk keeps if that is without power.
    end: u8,
    keeps: u32,
    /// How the receiver goes about it.
    habits: u8,
}

#[derive(Arbitrary, Debug)]
struct Plan {
    settings: [u8; 3],
    capacity: u16,
    lives: Vec<Life>,
}

pub fn run(data: &[u8]) {
    let Ok(mut plan) = Plan::arbitrary(&mut Unstructured::new(data)) else { return };
    plan.lives.truncate(LIVES);
    let sources = Sources::new(plan.settings[2]);
    let judge = Judge::new(&sources, plan.settings);
    if plan.settings[2] & 0x80 != 0 {
        return on_a_folder(&plan.settings, &sources, &judge);
    }
    let mut disk = ShadowDisk::new().sector(8 << (plan.settings[2] & 7));
    if plan.settings[2] & 8 != 0 {
        disk = disk.longest_write(700);
    }
    if plan.settings[2] & 0x10 != 0 {
        // Somebody else's.
        disk.write("b", b"old");
        judge.allow(b"old");
    }
    for life in &mut plan.lives {
        life.errands.truncate(8);
        disk = one(&plan.settings, plan.capacity, life, disk, &sources, &judge);
    }
    last(&plan.settings, disk, &sources, &judge);
}

/// A life of the receiver's program, and of the sender's beside it.
fn one(
    settings: &[u8; 3],
    capacity: u16,
    life: &Life,
    disk: ShadowDisk,
    sources: &Sources,
    judge: &Judge<'_>,
) -> ShadowDisk {
    let Ok(inbox) = open(settings, &disk) else { return disk.kill() };
    if life.habits & 1 != 0 {
        let _ = inbox.clean();
    }
    for mishap in life.mishaps.iter().take(3) {
        mishap.befall(&disk);
    }
    let fails = life.mishaps.iter().any(|mishap| matches!(mishap, Mishap::PowerOff { .. }));
    judge.has_lost_power.set(judge.has_lost_power.get() || fails || life.end & 3 == 0);
    life::run(capacity, life, (&inbox, Place::Shadow(&disk)), sources, judge);
    assert!(inbox.used() >= inbox.used_by(Some(b"peer")), "{inbox:?}");
    drop(inbox);
    // The promises of a disk that failed are void.
    judge.look(Place::Shadow(&disk), !life.mishaps.is_empty());
    let disk = match life.end & 3 {
        0 => disk.crash(|index| life.keeps >> (index % 32) & 1 == 1),
        1 => {
            // A day off.
            disk.advance(Duration::from_secs(86_400 * u64::from(life.end)));
            disk.kill()
        }
        _ => disk.kill(),
    };
    disk.heal();
    disk.set_free_space(u64::MAX);
    judge.look(Place::Shadow(&disk), !life.mishaps.is_empty());
    disk
}

/// Nothing fails any more: what may be stored is.
fn last(settings: &[u8; 3], disk: ShadowDisk, sources: &Sources, judge: &Judge<'_>) {
    let inbox = open(settings, &disk).expect("it is well");
    finish(&inbox, Place::Shadow(&disk), sources, judge);
}

fn finish(inbox: &Inbox, place: Place<'_>, sources: &Sources, judge: &Judge<'_>) {
    let all = (0..sources.count()).map(|which| Errand::File { which, how: 1 });
    let life = Life {
        scripts: Vec::new(),
        mishaps: Vec::new(),
        errands: all.chain([Errand::Tree { how: 1 }]).collect(),
        end: 3,
        keeps: 0,
        habits: 0,
    };
    judge.is_last.set(true);
    life::run(4096, &life, (inbox, place), sources, judge);
    judge.look(place, false);
    let cleaned = inbox.clean().expect("it is well");
    assert!(!format!("{cleaned:?}").is_empty());
}

/// Twice onto a real disk, which does not fail.
fn on_a_folder(settings: &[u8; 3], sources: &Sources, judge: &Judge<'_>) {
    let folder = tempfile::tempdir().expect("a folder of our own");
    for _ in 0..2 {
        let inbox = options(settings).open(folder.path()).expect("it is ours");
        finish(&inbox, Place::Folder(folder.path()), sources, judge);
        sources.grow(settings[1]);
    }
    direct::run(folder.path(), sources, *settings);
}

fn open(settings: &[u8; 3], disk: &ShadowDisk) -> Result<Inbox, Error> {
    options(settings).open_on(Arc::new(disk.clone()))
}

fn options(settings: &[u8; 3]) -> InboxOptions {
    let [first, second, _] = *settings;
    let options = InboxOptions::new()
        .alignment(BLOCK)
        .keep_free(0)
        .collision(collision(first))
        .durability(durability(first))
        .anonymous_parts(first & 0x20 != 0)
        .special_names(first & 0x40 != 0)
        .require_digest(first & 0x80 == 0);
    let options = if second & 1 == 0 { options } else { options.max_file_size(6000) };
    let options = if second & 2 == 0 { options } else { options.quota(400_000) };
    let options = if second & 4 == 0 { options } else { options.quota_per_identity(9000) };
    let options = if second & 8 == 0 { options } else { options.max_members(3) };
    let options = if second & 0x10 == 0 { options } else { options.sync_every(8 * BLOCK) };
    let options = if second & 0x20 == 0 { options } else { options.keep_free(1000) };
    if second & 0x40 == 0 { options } else { options.keep_parts_for(Duration::from_secs(3600)) }
}

fn collision(settings: u8) -> Collision {
    [Collision::Number, Collision::Refuse, Collision::Replace, Collision::Number]
        [usize::from(settings & 3)]
}

fn durability(settings: u8) -> Durability {
    [Durability::Full, Durability::Data, Durability::NoSync, Durability::Full]
        [usize::from(settings >> 2 & 3)]
}

impl Mishap {
    fn befall(self, disk: &ShadowDisk) {
        match self {
            Self::Fails { after, calls, kind } => {
                let kinds = [
                    ErrorKind::StorageFull,
                    ErrorKind::Interrupted,
                    ErrorKind::PermissionDenied,
                    ErrorKind::NotFound,
                    ErrorKind::AlreadyExists,
                    ErrorKind::Other,
                ];
                let kind = kinds[usize::from(kind) % kinds.len()];
                disk.fail(disk.calls() + u64::from(after), u64::from(calls % 8) + 1, kind);
            }
            Self::PowerOff { after } => disk.power_off_at(disk.calls() + u64::from(after)),
            Self::Full { room } => disk.set_free_space(u64::from(room) * 16),
        }
    }
}
