//! A transfer that the peer offers, as its handle sees it.

use std::collections::VecDeque;
use std::string::String;

use bytes::Bytes;

use super::alarms::Alarm;
use super::chunks::Chunks;
use super::error::TransferError;
use super::progress::Meter;
use super::shared::Key;
use super::waiters::Waiters;
use crate::proto::CloseReason;
use crate::wire::{Finish, Offer, TransferCode};

pub(super) struct Inbound {
    /// Data that came, with its offsets, not handed out yet.
    pub(super) chunks: Chunks,
    /// The offset of the byte after the last that came, and after the last that was handed out.
    pub(super) received: u64,
    pub(super) position: u64,
    pub(super) finish: Option<Finish>,
    pub(super) cancel: Option<(TransferCode, String)>,
    pub(super) meter: Meter,
    pub(super) is_paused_by_peer: bool,
    pub(super) end: Option<End>,
    pub(super) waiters: Waiters,
    /// Members of a batch that were offered, and not handed out yet.
    pub(super) members: VecDeque<Member>,
    /// Members that are still to be offered.
    pub(super) members_left: u32,
    pub(super) alarm: Alarm,
}

/// A member of a batch that the peer offers.
pub(super) struct Member {
    pub(super) item: u64,
    pub(super) key: Key,
    pub(super) offer: Offer<'static>,
}

/// Bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where they belong. It is where the last chunk ended, or 0 if the sender began anew, as its
    /// file does not begin with what is here: drop that then.
    pub offset: u64,
    /// The bytes.
    pub data: Bytes,
}

/// How it ended, if not by its receiver.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Abandoned(Option<CloseReason>),
    Expired,
}

impl Inbound {
    pub(super) fn new(offset: u64, size: Option<u64>) -> Self {
        Self {
            chunks: Chunks::default(),
            received: offset,
            position: offset,
            finish: None,
            cancel: None,
            meter: Meter::new(size),
            is_paused_by_peer: false,
            end: None,
            waiters: Waiters::default(),
            members: VecDeque::new(),
            members_left: 0,
            alarm: Alarm::None,
        }
    }

    /// Whether all bytes that there are were handed out.
    pub(super) fn is_read(&self) -> bool {
        self.finish.is_some_and(|finish| finish.total == self.position) && self.chunks.is_empty()
    }

    /// Bytes that wait to be handed out.
    pub(super) fn waiting(&self) -> usize {
        self.chunks.waiting()
    }
}

impl From<End> for TransferError {
    fn from(end: End) -> Self {
        match end {
            End::Abandoned(reason) => Self::Abandoned(reason),
            End::Expired => Self::Expired,
        }
    }
}
