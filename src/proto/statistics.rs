use core::time::Duration;

/// Counts since the conversation began, over all its streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// What left.
    pub sent: Traffic,
    /// What came.
    pub received: Traffic,
    /// Bytes of items and their headers that were sent once more after a break.
    pub retransmitted_bytes: u64,
    /// Streams that the conversation was opened on.
    pub streams: u64,
    /// Frames of transfers that had ended, and frames that were skipped.
    pub late_frames: u64,
    /// The round trip of the present stream, smoothed.
    pub round_trip: Option<Duration>,
    /// The smallest round trip of the last ten to twenty seconds.
    pub min_round_trip: Option<Duration>,
    /// Bytes a second that the peer received of the present stream at best, lately.
    pub delivery_rate: u64,
    /// Bytes of messages and data under way: handed to the transport, not reported as received.
    pub in_flight: u64,
    /// Bytes that may be under way before bulk waits.
    pub flight_allowance: u64,
    /// Bytes of file data that the peer may send us at once now.
    pub receive_window: u64,
}

/// What is counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) sent: Traffic,
    pub(super) received: Traffic,
    pub(super) retransmitted_bytes: u64,
    pub(super) streams: u64,
    pub(super) late_frames: u64,
}

impl From<Counts> for Statistics {
    fn from(counts: Counts) -> Self {
        let Counts { sent, received, retransmitted_bytes, streams, late_frames } = counts;
        Self { sent, received, retransmitted_bytes, streams, late_frames, ..Self::default() }
    }
}

/// Bytes, headers included, and frames of one direction, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// CHAT and its fragments.
    pub chat: Count,
    /// Application messages, the decisions on transfers, and their fragments.
    pub messages: Count,
    /// DATA.
    pub data: Count,
    /// Everything else.
    pub control: Count,
}

/// Bytes and frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// Bytes, headers included.
    pub bytes: u64,
    /// Frames.
    pub frames: u64,
}

impl Count {
    pub(super) fn add(&mut self, bytes: usize) {
        self.add_frames(1, bytes as u64);
    }

    pub(super) fn add_frames(&mut self, frames: u64, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.frames = self.frames.saturating_add(frames);
    }
}

impl Traffic {
    /// All classes together.
    #[must_use]
    pub fn total(&self) -> Count {
        [self.chat, self.messages, self.data, self.control].into_iter().fold(
            Count::default(),
            |sum, count| Count {
                bytes: sum.bytes.saturating_add(count.bytes),
                frames: sum.frames.saturating_add(count.frames),
            },
        )
    }
}
