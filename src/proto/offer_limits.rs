//! How many transfers this side may offer at a time.

use super::connection::{Connection, usize_from};
use super::error::ActionError;
use super::event::Event;
use crate::wire::{Batch, Offer, TransferId};

/// What an offer needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// A place among the transfers that have not ended: a member of a batch.
    Place,
    /// A decision of the peer's besides.
    Decision,
    /// And a place for its members: a batch.
    Members,
}

impl Needs {
    pub(crate) fn of(offer: &Offer<'_>) -> Self {
        if offer.batch.is_none() { Self::Decision } else { Self::Place }
    }

    pub(crate) fn of_batch(batch: &Batch<'_>) -> Self {
        if batch.count == 0 { Self::Decision } else { Self::Members }
    }
}

/// Offers that the limits did not allow, and for which there was no room since.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct RefusedOffers {
    members: bool,
    /// Those that the peer has to decide.
    undecided: bool,
    batches: bool,
}

impl Connection {
    /// The id of the next offer, if one more is allowed.
    pub(super) fn next_transfer(&mut self, needs: Needs) -> Result<TransferId, ActionError> {
        let limits = self.peer_limits().copied().unwrap_or_default();
        let most = limits.transfers.min(self.config.outgoing_transfers);
        if needs == Needs::Members && most == 1 {
            return Err(ActionError::NoPlaceForMembers);
        }
        if !self.may_offer(needs) {
            let refused = &mut self.refused_offers;
            *match needs {
                Needs::Place => &mut refused.members,
                Needs::Decision => &mut refused.undecided,
                Needs::Members => &mut refused.batches,
            } = true;
            return Err(ActionError::PeerLimit);
        }
        TransferId::new(self.side, self.next_outgoing).ok_or(ActionError::Exhausted)
    }

    fn may_offer(&self, needs: Needs) -> bool {
        let limits = self.peer_limits().copied().unwrap_or_default();
        // Those that were given up go on counting at the peer.
        let counted = self.outgoing.len().saturating_add(self.given_up.len());
        let undecided = self.outgoing.undecided().saturating_add(self.given_up.undecided());
        self.outgoing.len() < usize_from(self.config.outgoing_transfers)
            && counted < usize_from(limits.transfers)
            && (needs == Needs::Place || undecided < usize_from(limits.undecided))
            && (needs != Needs::Members || self.leaves_a_place())
    }

    /// Whether beside one batch more a place is left for members. With batches alone nothing would
    /// go on, as each ends after its members only; nor is an end of what was given up sure to come.
    fn leaves_a_place(&self) -> bool {
        let limits = self.peer_limits().copied().unwrap_or_default();
        let batches = self.outgoing.batches().saturating_add(1);
        batches < usize_from(self.config.outgoing_transfers)
            && batches.saturating_add(self.given_up.len()) < usize_from(limits.transfers)
    }

    /// Whether an offer that is refused now is allowed once the transfers have ended that this side
    /// still waits for. What was given up may never end at the peer, and a batch does not end before
    /// its members: a member does not wait for those that lack some.
    #[cfg(feature = "std")]
    pub(crate) fn may_offer_later(&self, needs: Needs) -> bool {
        let limits = self.peer_limits().copied().unwrap_or_default();
        let staying = match needs {
            Needs::Place => self.outgoing.values().filter(|t| t.lacks_members()).count(),
            Needs::Decision => 0,
            // Itself.
            Needs::Members => 1,
        };
        let counted = staying.saturating_add(self.given_up.len());
        staying < usize_from(self.config.outgoing_transfers)
            && counted < usize_from(limits.transfers)
            && (needs == Needs::Place || self.given_up.undecided() < usize_from(limits.undecided))
    }

    /// Tells the application that it may offer again, if it was refused.
    pub(super) fn poll_may_offer(&mut self) -> Option<Event<'static>> {
        let refused = self.refused_offers;
        let members = refused.members && self.may_offer(Needs::Place);
        let undecided = refused.undecided && self.may_offer(Needs::Decision);
        let batches = refused.batches && self.may_offer(Needs::Members);
        if !(members || undecided || batches) || self.check_open().is_err() {
            return None;
        }
        self.refused_offers = RefusedOffers {
            members: refused.members && !members,
            undecided: refused.undecided && !undecided,
            batches: refused.batches && !batches,
        };
        Some(Event::MayOffer)
    }
}
