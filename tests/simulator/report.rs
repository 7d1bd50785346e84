//! What came of a run, or of many.

use super::ledger::Kind;

/// What happened in a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) runs: u64,
    pub(crate) polls: u64,
    /// How often all that slept were looked at.
    pub(crate) looks: u64,
    /// How many drivers were looked at then.
    pub(crate) driver_looks: u64,
    pub(crate) micros: u64,
    pub(crate) bytes: u64,
    pub(crate) streams: u64,
    pub(crate) cuts: u64,
    pub(crate) silences: u64,
    pub(crate) stalls: u64,
    pub(crate) outages: u64,
    pub(crate) shuts: u64,
    pub(crate) kills: u64,
    pub(crate) power_losses: u64,
    pub(crate) disk_faults: u64,
    pub(crate) rots: u64,
    pub(crate) suspensions: u64,
    pub(crate) goodbyes: u64,
    pub(crate) resumptions: u64,
    /// Lines, and messages of the application.
    pub(crate) delivered: u64,
    pub(crate) unknown: u64,
    pub(crate) not_sent: u64,
    pub(crate) messages: u64,
    pub(crate) answers: u64,
    pub(crate) signals: u64,
    pub(crate) files: u64,
    pub(crate) folders: u64,
    pub(crate) members: u64,
    pub(crate) taken_up: u64,
    pub(crate) pauses: u64,
    /// Files that changed while they were sent.
    pub(crate) changed: u64,
    pub(crate) cancelled: u64,
    pub(crate) refused: u64,
    pub(crate) failures: u64,
    /// Runs in which lines had to come through beside files that were held up.
    pub(crate) held_up: u64,
    /// Most bytes that one of the programs held, and the most of its bound, in thousandths.
    pub(crate) peak_memory: u64,
    pub(crate) peak_share: u64,
    /// Most bytes that one held once all had ended.
    pub(crate) idle_memory: u64,
    /// Of all that was polled, and when.
    pub(crate) trace: u64,
}

/// A run in which something did not hold.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    /// Of each, what it is about.
    #[allow(dead_code, reason = "the torture program counts them")]
    pub(crate) kinds: Vec<Kind>,
    pub(crate) what: Vec<String>,
    /// What the seed made of the run, its last events, and how to run it again.
    pub(crate) profile: String,
}

impl Report {
    pub(crate) fn add(&mut self, other: &Self) {
        let mut other = other.clone();
        self.peak_memory = self.peak_memory.max(other.peak_memory);
        self.peak_share = self.peak_share.max(other.peak_share);
        self.idle_memory = self.idle_memory.max(other.idle_memory);
        for (sum, more) in self.sums().into_iter().zip(other.sums()) {
            *sum += *more;
        }
        self.trace ^= other.trace;
    }

    fn sums(&mut self) -> [&mut u64; 35] {
        [
            &mut self.runs,
            &mut self.polls,
            &mut self.looks,
            &mut self.driver_looks,
            &mut self.micros,
            &mut self.bytes,
            &mut self.streams,
            &mut self.cuts,
            &mut self.silences,
            &mut self.stalls,
            &mut self.outages,
            &mut self.shuts,
            &mut self.kills,
            &mut self.power_losses,
            &mut self.disk_faults,
            &mut self.rots,
            &mut self.suspensions,
            &mut self.goodbyes,
            &mut self.resumptions,
            &mut self.delivered,
            &mut self.unknown,
            &mut self.not_sent,
            &mut self.messages,
            &mut self.answers,
            &mut self.signals,
            &mut self.files,
            &mut self.folders,
            &mut self.members,
            &mut self.taken_up,
            &mut self.pauses,
            &mut self.changed,
            &mut self.cancelled,
            &mut self.refused,
            &mut self.failures,
            &mut self.held_up,
        ]
    }
}
