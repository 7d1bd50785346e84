use super::connection::Connection;
use super::error::Error;
use super::event::Event;
use super::outgoing::{Outgoing, Shape, State};
use super::table::Offered;
use crate::wire::{CloseCode, Held, Kind, TransferId};

/// A transfer of ours whose verdict was waited for in vain. The application was told that its
/// outcome is unknown; the peer goes on counting it, and may still answer.
#[derive(Debug)]
pub(super) struct GivenUp {
    /// ACCEPT or REJECT can still come.
    was_offered: bool,
    /// RESUME did not list it.
    is_silent: bool,
    batch: Option<TransferId>,
    /// What the peer can have received at most.
    most: u64,
}

impl GivenUp {
    fn new(t: &Outgoing) -> Self {
        Self {
            was_offered: t.is_undecided(),
            is_silent: t.is_silent,
            batch: t.batch,
            most: t.most_received(),
        }
    }

    /// Whether the peer can have received just this much.
    pub(super) fn can_resume(&self, received: u64) -> bool {
        !self.is_silent && received <= self.most
    }
}

impl Offered for GivenUp {
    fn is_undecided(&self) -> bool {
        self.was_offered
    }
}

/// Slots of the table.
pub(super) const SLOT: usize = size_of::<(TransferId, GivenUp)>() * 2;

impl Connection {
    /// The peer owes the end of a transfer of ours and does not tell it.
    pub(super) fn give_up(&mut self, transfer: TransferId) {
        self.unplan_data(transfer);
        let Some(t) = self.outgoing.remove(&transfer) else { return };
        self.given_up.insert(transfer, GivenUp::new(&t));
        self.events.push_back(Event::Abandoned { transfer });
    }

    /// Whether its verdict was waited for in vain, and did not come since.
    #[cfg(feature = "std")]
    pub(crate) fn is_given_up(&self, transfer: TransferId) -> bool {
        self.given_up.contains_key(&transfer)
    }

    /// Takes an ACCEPT, REJECT or VERDICT of one that was given up; `false` if there is none.
    pub(super) fn settle_given_up(
        &mut self,
        kind: Kind,
        transfer: TransferId,
    ) -> Result<bool, Error> {
        let Some(given_up) = self.given_up.made() else { return Ok(false) };
        let Some(t) = given_up.get_mut(&transfer) else { return Ok(false) };
        match kind {
            Kind::ACCEPT | Kind::REJECT if !t.was_offered => {
                return Err(Error::violation(CloseCode::PROTOCOL, kind, "not offered"));
            }
            Kind::ACCEPT => {
                t.was_offered = false;
                given_up.on_decided();
                return Ok(true);
            }
            _ => {}
        }
        let batch = t.batch;
        self.given_up.remove(&transfer);
        self.end_member(batch);
        Ok(true)
    }

    /// A transfer of ours has ended, perhaps a member of a batch.
    pub(super) fn end_member(&mut self, batch: Option<TransferId>) {
        if let Some(Shape::Batch { open, .. }) =
            batch.and_then(|id| self.outgoing.get_mut(&id)).map(|batch| &mut batch.shape)
        {
            *open = open.saturating_sub(1);
        }
    }

    pub(super) fn can_resume_given_up(&self, held: &Held) -> bool {
        self.given_up.get(&held.transfer).is_some_and(|t| t.can_resume(held.received))
    }

    /// Whether a transfer of ours waits for nothing but its end.
    pub(super) fn waits_for_end(&self, transfer: TransferId) -> bool {
        self.outgoing
            .get(&transfer)
            .is_some_and(|t| t.is_silent || matches!(t.state, State::CancelAsked { .. }))
    }
}
