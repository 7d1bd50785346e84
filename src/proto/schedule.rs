use super::event::Lane;
use super::plan::Source;

/// Control goes before an item, but at most this much of it.
const CONTROL_RUN: u32 = 1024;
/// Bulk gets one frame for this much of items, and for this much of chat at any pace, as does the
/// lane of control.
const SHARE: u32 = 256 * 1024;

/// What went last, which decides what goes next.
///
/// It follows the plan: each frame keeps what was before it, so that taking it back takes back all
/// that it changed here.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Control bytes since the last frame of an item.
    control_run: u32,
    /// Bytes of items since the last bulk frame.
    items_since_bulk: u32,
    /// Of these those of chat, which is not held back by what is in flight, and holds back the rest.
    chat_since_bulk: u32,
    chat_since_control: u32,
    /// The lane whose turn it is.
    is_control_lane_next: bool,
}

impl Schedule {
    /// Whether control may go before an item that waits.
    pub(super) fn has_room_for_control(self) -> bool {
        self.control_run < CONTROL_RUN
    }

    /// Whether bulk has waited for its share.
    pub(super) fn owes_bulk(self) -> bool {
        self.items_since_bulk >= SHARE
    }

    /// Whether chat alone has kept bulk waiting for its share: it goes at any pace, as chat without
    /// end would leave it none.
    pub(super) fn forces_bulk(self) -> bool {
        self.chat_since_bulk >= SHARE
    }

    /// The same for the lane of control.
    pub(super) fn forces_control_lane(self) -> bool {
        self.chat_since_control >= SHARE
    }

    /// The lanes in the order of their turns.
    pub(super) fn turn(self) -> [Lane; 2] {
        if self.is_control_lane_next {
            [Lane::Control, Lane::Chat]
        } else {
            [Lane::Chat, Lane::Control]
        }
    }

    /// A frame of `len` bytes, header included, goes next.
    pub(super) fn add(&mut self, source: Source, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        match source {
            Source::Chats { .. } => self.add_item(Lane::Chat, len),
            Source::Item { lane, .. } => self.add_item(lane, len),
            Source::Data { .. } => (self.items_since_bulk, self.chat_since_bulk) = (0, 0),
            Source::Acknowledgement
            | Source::Credit(_)
            | Source::Ping
            | Source::Pong(_)
            | Source::Signal => self.control_run = self.control_run.saturating_add(len),
            Source::Handshake | Source::Goodbye | Source::Start { .. } => {}
        }
    }

    fn add_item(&mut self, lane: Lane, len: u32) {
        self.control_run = 0;
        self.items_since_bulk = self.items_since_bulk.saturating_add(len);
        self.is_control_lane_next = lane == Lane::Chat;
        if lane == Lane::Chat {
            self.chat_since_bulk = self.chat_since_bulk.saturating_add(len);
            self.chat_since_control = self.chat_since_control.saturating_add(len);
        } else {
            self.chat_since_control = 0;
        }
    }
}
