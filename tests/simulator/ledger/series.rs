//! Lines, or messages, of one side.

use std::collections::{BTreeMap, BTreeSet};

use duologue::proto::Receipt;
use duologue::wire::ConversationId;

use super::Kind;

#[derive(Default)]
pub(crate) struct Series {
    /// How many were handed over, and which of them the other application was given.
    pub(crate) sent: usize,
    received: BTreeSet<usize>,
    /// In which conversation each was handed over, and the last of each that was given to the other.
    conversations: BTreeMap<usize, ConversationId>,
    last: BTreeMap<ConversationId, usize>,
    /// Receipts that a program still waits for.
    pub(crate) open_receipts: usize,
    pub(crate) delivered: u64,
    pub(crate) unknown: u64,
    pub(crate) not_sent: u64,
}

impl Series {
    pub(crate) fn on_sent(&mut self, conversation: ConversationId) {
        self.conversations.insert(self.sent, conversation);
        self.sent += 1;
        self.open_receipts += 1;
    }

    /// The peer does not take it, as it is too long.
    pub(crate) fn on_refused(&mut self) {
        self.sent += 1;
    }

    pub(crate) fn on_received(&mut self, number: usize) -> Result<(), (Kind, String)> {
        // What is refused was in no conversation.
        let Some(conversation) = self.conversations.get(&number) else {
            return Err((Kind::Wrong, format!("{number} was never sent")));
        };
        if !self.received.insert(number) {
            return Err((Kind::Duplicated, format!("{number} came twice")));
        }
        // A stream that was held up for long may bring what a program said before it was killed.
        let last = self.last.insert(*conversation, number);
        if last.is_some_and(|last| number <= last) {
            return Err((Kind::Reordered, format!("{number} came after {last:?}")));
        }
        Ok(())
    }

    /// What became of one; it can only be that nobody knows if there was an occasion for that.
    pub(crate) fn on_receipt(
        &mut self,
        number: usize,
        receipt: Receipt,
        has_occasion: bool,
    ) -> Result<(), (Kind, String)> {
        self.open_receipts -= 1;
        let was_received = self.received.contains(&number);
        match receipt {
            _ if receipt != Receipt::Delivered && !has_occasion => {
                Err((Kind::Other, format!("{number} is {receipt:?} for nothing")))
            }
            Receipt::Delivered => {
                self.delivered += 1;
                if was_received { Ok(()) } else { Err((Kind::Lost, format!("{number} is lost"))) }
            }
            Receipt::NotSent => {
                self.not_sent += 1;
                if was_received {
                    Err((Kind::Other, format!("{number} was received unsent")))
                } else {
                    Ok(())
                }
            }
            Receipt::Unknown => {
                self.unknown += 1;
                Ok(())
            }
        }
    }

    pub(crate) fn is_done(&self, count: usize) -> bool {
        self.sent >= count && self.open_receipts == 0
    }
}
