use super::gathered::SMALL;
use crate::wire::{HEADER_LEN, Kind};

/// An item, without its payload.
#[derive(Debug)]
pub(super) struct Item {
    /// The place in this stream after its last frame, once that has begun; 0 if it arrived before.
    pub(super) stream_end: u64,
    /// Bytes of its payload.
    pub(super) len: u32,
    pub(super) id: u32,
    pub(super) kind: Kind,
    /// The peer counts it as no progress.
    pub(super) is_costly: bool,
}

impl Item {
    #[inline]
    pub(super) fn new(kind: Kind, id: u32, payload: &[u8]) -> Self {
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        Self { stream_end: 0, len, id, kind, is_costly: is_costly(kind, payload) }
    }

    pub(super) fn len(&self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }

    #[inline]
    pub(super) fn is_small(&self) -> bool {
        self.len() <= SMALL
    }

    /// Bytes on the wire if it goes as one frame.
    pub(super) fn frame_len(&self) -> usize {
        HEADER_LEN.saturating_add(self.len())
    }
}

/// Whether the peer counts an item as no progress: a transfer cancelled or paused, or a chat of
/// nothing. A message has a type at least.
fn is_costly(kind: Kind, payload: &[u8]) -> bool {
    match kind {
        Kind::CANCEL | Kind::PAUSE => true,
        Kind::CHAT => payload.len() <= EMPTY_CHAT,
        _ => false,
    }
}

/// Payload of a chat without text and attributes.
pub(super) const EMPTY_CHAT: usize = 2;
