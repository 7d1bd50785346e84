//! Times that a transfer asked to be told of: so far only a file that is written to a disk does.

use core::time::Duration;
use std::collections::BTreeSet;
use std::vec::Vec;

use super::shared::Key;
use crate::proto::rare::Nothing;
use crate::time::Time;

/// What the transfers of a conversation wait for: handles have no clock, the driver has.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    /// From the driver's next turn on.
    asked: Vec<(Key, Duration)>,
    set: BTreeSet<(Time, Key)>,
}

/// The alarm of one transfer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Alarm {
    #[default]
    None,
    #[cfg(feature = "fs")]
    Waits,
    Rang,
}

impl Nothing for Alarms {
    const NOTHING: &'static Self = &Self { asked: Vec::new(), set: BTreeSet::new() };
}

impl Alarms {
    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.set.is_empty()
    }

    #[cfg(feature = "fs")]
    pub(super) fn ask(&mut self, key: Key, after: Duration) {
        self.asked.push((key, after));
    }

    /// Whose time it is.
    pub(super) fn due(&mut self, now: Time) -> Vec<Key> {
        for (key, after) in self.asked.drain(..) {
            self.set.insert((now.saturating_add(after), key));
        }
        let mut due = Vec::new();
        while let Some((time, key)) = self.set.first().copied() {
            if time > now {
                break;
            }
            self.set.pop_first();
            due.push(key);
        }
        due
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.set.first().map(|(time, _)| *time)
    }
}
