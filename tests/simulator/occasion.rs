//! Whether anything happened that a conversation may end by, or lose its stream.

use std::cell::Cell;

use duologue::proto::{DetachReason, Error, Opening};
use duologue::wire::CloseCode;

use super::program::Program;

/// Streams in a row that bring nothing on, after which the next is refused: see PROTOCOL.md.
const FRUITLESS: usize = 8;

/// The streams of a conversation, as far as its application hears of them.
pub(crate) struct Streams {
    /// The number of the first.
    first: usize,
    /// How often it was open, and lost a stream.
    openings: Cell<usize>,
    detachments: Cell<usize>,
    /// It began, and was not gone on with since.
    has_begun: Cell<bool>,
}

impl Streams {
    pub(crate) fn new(first: usize) -> Self {
        let (openings, detachments, has_begun) = Default::default();
        Self { first, openings, detachments, has_begun }
    }

    pub(crate) fn on_open(&self, opening: Opening) {
        self.openings.set(self.openings.get() + 1);
        self.has_begun.set(opening != Opening::Resumed);
    }
}

impl Program {
    /// The number of the stream that its conversation began over.
    pub(crate) fn first_stream(&self) -> usize {
        self.streams.first
    }

    /// What had been done when the last stream that it is known to be open over was made, or earlier.
    pub(crate) fn since(&self) -> u64 {
        // Each opening takes a stream of its own at least.
        let number = self.streams.openings.get().saturating_sub(1);
        self.world.harms_before(self.streams.first + number)
    }

    /// Whether anything has happened since that may end a conversation.
    pub(crate) fn has_occasion(&self, since: u64) -> bool {
        self.world.harms() > since || self.world.is_closing.get() || self.was_closed()
    }

    /// Whether one of them said goodbye in between.
    fn was_closed(&self) -> bool {
        self.world.goodbyes.borrow().contains(&self.session.conversation())
    }

    /// It has lost a stream: something was done to each of these.
    pub(crate) fn on_detached(&self, reason: DetachReason) {
        let streams = &*self.streams;
        let harmed = self.world.harmed_streams(streams.first);
        let is_expected = match reason {
            // It is sent away for a while, as too many conversations are kept, or too many streams of
            // its own brought nothing on.
            DetachReason::Goodbye(CloseCode::LIMIT) => self.world.is_full() || harmed >= FRUITLESS,
            // What its server is closing cannot be gone on with, nor what it does not know to be open, as
            // one that was killed meanwhile, or waited for too long, does not.
            DetachReason::AttachFailed(Error::Incomplete) => {
                let server = self.world.sides[1].program.borrow();
                let mut open = server.iter().filter(|server| server.session.is_open());
                let name = self.session.conversation();
                let is_open_there = open.any(|server| server.session.conversation() == name);
                self.was_closed() || streams.has_begun.get() || !is_open_there
            }
            _ => false,
        };
        if is_expected && harmed > 0 {
            return;
        }
        let lost = streams.detachments.get() + 1;
        streams.detachments.set(lost);
        if lost > harmed {
            let side = self.side;
            self.world.violation(|| format!("side {side} is detached for nothing: {reason:?}"));
        }
    }
}
