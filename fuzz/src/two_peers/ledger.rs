//! The truth of a run: what each side said and took, in each conversation.

use std::collections::BTreeMap;

use duologue::wire::{Side, TransferCode, TransferId};

/// What is offered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    pub seed: u32,
    pub len: u64,
    pub is_size_known: bool,
    pub is_seekable: bool,
    pub is_directory: bool,
    pub batch: Option<TransferId>,
}

/// What one side did in one conversation.
#[derive(Debug, Default)]
pub struct Record {
    /// Lengths of the chats sent, by number; lengths and numbers of the messages.
    pub chats: Vec<usize>,
    pub messages: Vec<(u64, usize)>,
    /// How many of the peer's were handed out, and taken.
    pub chats_seen: usize,
    pub chats_taken: usize,
    pub messages_seen: usize,
    pub messages_taken: usize,
    /// What it offered, and the counts of batches.
    pub files: BTreeMap<TransferId, Spec>,
    pub batches: BTreeMap<TransferId, u32>,
    /// Its decisions on what the peer offered.
    pub rejected: BTreeMap<TransferId, TransferCode>,
    pub verdicts: BTreeMap<TransferId, (TransferCode, u64)>,
}

/// All conversations of a run: a server that lost one begins another.
#[derive(Debug, Default)]
pub struct Ledger {
    conversations: Vec<[Record; 2]>,
}

impl Ledger {
    /// Begins a conversation, and returns its index.
    pub fn begin(&mut self) -> usize {
        self.conversations.push(Default::default());
        self.conversations.len() - 1
    }

    pub fn of(&mut self, conversation: usize, side: Side) -> &mut Record {
        &mut self.conversations[conversation][usize::from(side.to_u8())]
    }
}

/// The text of chat `number`.
pub fn text(number: usize, len: usize) -> String {
    let mut text = String::new();
    if len > 0 {
        text = format!("{number}:");
        text.truncate(len);
        let letter = char::from(b'a' + (number % 26) as u8).to_string();
        text.push_str(&letter.repeat(len - text.len()));
    }
    text
}

impl Spec {
    /// Of what has no content.
    pub const NONE: Self = Self {
        seed: 0,
        len: 0,
        is_size_known: false,
        is_seekable: false,
        is_directory: false,
        batch: None,
    };
}
