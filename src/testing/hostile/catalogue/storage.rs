//! What befalls a disk while a file is received onto it.

use std::io::ErrorKind;
use std::vec::Vec;

use super::{Act, Expected, Misbehaviour, new};
use crate::testing::{ShadowDisk, SplitMix64};

const fn disk(
    name: &'static str,
    rows: &'static str,
    about: &'static str,
    expected: Expected,
    befall: fn(&ShadowDisk, &str, u64, &mut SplitMix64),
) -> Misbehaviour {
    new(name, rows, about, expected, Act::Storage(befall))
}

/// One of so many calls that it makes next.
fn one_of_the_next(disk: &ShadowDisk, calls: u64, random: &mut SplitMix64) -> u64 {
    disk.calls().saturating_add(random.below(calls.max(1)))
}

/// Each file whose name ends so is altered, at one of its bytes.
fn alter(
    disk: &ShadowDisk,
    end: &str,
    random: &mut SplitMix64,
    change: fn(&mut Vec<u8>, at: usize),
) {
    for name in disk.names().iter().filter(|name| name.ends_with(end)) {
        let mut content = disk.read(name).unwrap_or_default();
        let at = usize::try_from(random.below(content.len() as u64)).unwrap_or_default();
        change(&mut content, at);
        disk.write(name, &content);
    }
}

/// A bit is wrong.
fn spoil(content: &mut [u8], at: usize) {
    if let Some(byte) = content.get_mut(at) {
        *byte ^= 1;
    }
}

/// It goes on behind its end.
fn grow(content: &mut Vec<u8>, at: usize) {
    content.resize(content.len().saturating_add(at).saturating_add(1), 0xA5);
}

pub(super) static LIST: &[Misbehaviour] = &[
    disk(
        "full-for-a-call",
        "S1 H35",
        "has no room at one call",
        Expected::Refused,
        |disk, _, calls, random| {
            disk.fail(one_of_the_next(disk, calls, random), 1, ErrorKind::StorageFull);
        },
    ),
    disk(
        "full",
        "S1 H35 H34",
        "has no room any more",
        Expected::Refused,
        |disk, _, calls, random| {
            disk.fail(one_of_the_next(disk, calls, random), u64::MAX, ErrorKind::StorageFull);
        },
    ),
    disk(
        "no-room-from-the-start",
        "S1 H35 H34",
        "has no room at all",
        Expected::Refused,
        |disk, _, _, _| {
            disk.set_free_space(0);
        },
    ),
    disk(
        "over-quota",
        "S1 H35",
        "is over its quota",
        Expected::Refused,
        |disk, _, calls, random| {
            disk.fail(one_of_the_next(disk, calls, random), u64::MAX, ErrorKind::QuotaExceeded);
        },
    ),
    disk(
        "fails-at-a-call",
        "S1 S2 H35",
        "fails at one call, as when it synchronises",
        Expected::Refused,
        |disk, _, calls, random| {
            disk.fail(one_of_the_next(disk, calls, random), 1, ErrorKind::Other);
        },
    ),
    disk("fails", "S1 S2 H35", "fails for ever", Expected::Refused, |disk, _, calls, random| {
        disk.fail(one_of_the_next(disk, calls, random), u64::MAX, ErrorKind::Other);
    }),
    disk(
        "not-permitted",
        "S1 H35",
        "permits nothing any more",
        Expected::Refused,
        |disk, _, calls, random| {
            disk.fail(one_of_the_next(disk, calls, random), u64::MAX, ErrorKind::PermissionDenied);
        },
    ),
    disk("loses-its-power", "S3", "loses its power", Expected::Broken, |disk, _, calls, random| {
        disk.power_off_at(one_of_the_next(disk, calls, random));
    }),
    disk(
        "spoilt-journal",
        "S4 H37",
        "has a journal that is not what was written",
        Expected::Broken,
        |disk, _, _, random| {
            alter(disk, ".journal", random, |content, at| spoil(content, at));
        },
    ),
    disk(
        "spoilt-part",
        "S5 H37",
        "has a part that is not what was written",
        Expected::Broken,
        |disk, _, _, random| {
            alter(disk, ".part", random, |content, at| spoil(content, at));
        },
    ),
    disk(
        "cut-part",
        "S5 H37",
        "has a part that was cut",
        Expected::Broken,
        |disk, _, _, random| {
            alter(disk, ".part", random, Vec::truncate);
        },
    ),
    disk(
        "grown-part",
        "S5 H37",
        "has a part that has grown",
        Expected::Broken,
        |disk, _, _, random| {
            alter(disk, ".part", random, grow);
        },
    ),
    disk(
        "name-taken",
        "S6 H28 H39",
        "has the final name taken by somebody else",
        Expected::Tolerated,
        |disk, name, _, _| {
            disk.write(name, b"somebody else's");
        },
    ),
];
