//! A transfer that this side offers, as its handle sees it.

use std::string::String;

use super::error::{EndedBy, TransferError, Verdict};
use super::progress::Meter;
use super::waiters::Waiters;
use crate::proto::{ActionError, CloseReason};
use crate::wire::{Accept, TransferCode, TransferId};

pub(super) struct Outbound {
    pub(super) accept: Option<Accept>,
    /// The offset of the next byte that is wanted, when it is not the one after the last.
    pub(super) rewind: Option<u64>,
    pub(super) meter: Meter,
    pub(super) is_finished: bool,
    pub(super) is_paused_by_peer: bool,
    pub(super) is_cancel_asked: bool,
    pub(super) end: Option<End>,
    pub(super) waiters: Waiters,
    pub(super) has_handle: bool,
}

/// How it ended.
#[derive(Debug, Clone)]
pub(super) enum End {
    Verdict(Verdict),
    Abandoned(Option<CloseReason>),
    /// The verdict was waited for in vain.
    Unanswered,
}

impl Outbound {
    pub(super) fn new(size: Option<u64>, is_member: bool) -> Self {
        let accept = is_member.then_some(Accept { offset: 0, prefix: None });
        Self {
            accept,
            rewind: None,
            meter: Meter::new(size),
            is_finished: false,
            is_paused_by_peer: false,
            is_cancel_asked: false,
            end: None,
            waiters: Waiters::default(),
            has_handle: true,
        }
    }

    pub(super) fn end_with(&mut self, code: TransferCode, total: u64, text: String, by: EndedBy) {
        if code == TransferCode::STORED && self.accept.is_some() {
            self.meter.progress.received = total;
        }
        let is_ours = self.is_cancel_asked && code != TransferCode::STORED;
        let ended_by = if is_ours && by == EndedBy::Receiver { EndedBy::Sender } else { by };
        self.end = Some(End::Verdict(Verdict { code, total, text, ended_by }));
    }
}

impl End {
    /// What a call that needs the transfer to go on returns. That it was stored is no failure, but
    /// there is nothing to act on.
    pub(super) fn error(&self, transfer: TransferId) -> TransferError {
        match self {
            Self::Verdict(verdict) if verdict.is_stored() => {
                TransferError::Refused(ActionError::UnknownTransfer(transfer))
            }
            Self::Verdict(verdict) => TransferError::NotStored(verdict.clone()),
            Self::Abandoned(reason) => TransferError::Abandoned(*reason),
            Self::Unanswered => TransferError::Unanswered,
        }
    }

    pub(super) fn result(&self, transfer: TransferId) -> Result<Verdict, TransferError> {
        match self {
            Self::Verdict(verdict) if verdict.is_stored() => Ok(verdict.clone()),
            other => Err(other.error(transfer)),
        }
    }
}
