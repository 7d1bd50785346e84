//! Lines, or messages, of one side.

use std::collections::BTreeSet;

use duologue::proto::Receipt;

#[derive(Default)]
pub(crate) struct Series {
    /// How many were handed over, and which of them the other application was given.
    pub(crate) sent: usize,
    received: BTreeSet<usize>,
    last: Option<usize>,
    /// Those that the peer does not take, as they are too long.
    refused: BTreeSet<usize>,
    /// Receipts that a program still waits for.
    pub(crate) open_receipts: usize,
    pub(crate) delivered: u64,
    pub(crate) unknown: u64,
    pub(crate) not_sent: u64,
}

impl Series {
    pub(crate) fn on_sent(&mut self) {
        self.sent += 1;
        self.open_receipts += 1;
    }

    pub(crate) fn on_refused(&mut self, number: usize) {
        self.sent += 1;
        self.refused.insert(number);
    }

    pub(crate) fn on_received(&mut self, number: usize) -> Result<(), String> {
        if number >= self.sent || self.refused.contains(&number) {
            return Err(format!("{number} was never sent"));
        }
        if self.last.is_some_and(|last| number <= last) {
            return Err(format!("{number} came after {:?}", self.last));
        }
        self.last = Some(number);
        self.received.insert(number);
        Ok(())
    }

    pub(crate) fn on_receipt(&mut self, number: usize, receipt: Receipt) -> Result<(), String> {
        self.open_receipts -= 1;
        let was_received = self.received.contains(&number);
        match receipt {
            Receipt::Delivered => {
                self.delivered += 1;
                if was_received { Ok(()) } else { Err(format!("{number} is lost")) }
            }
            Receipt::NotSent => {
                self.not_sent += 1;
                if was_received { Err(format!("{number} was received unsent")) } else { Ok(()) }
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
