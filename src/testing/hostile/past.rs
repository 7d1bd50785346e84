use std::vec::Vec;

use crate::testing::SplitMix64;
use crate::wire::{ConversationId, Resume, Side};

/// What a stream of a misbehaviour that takes several is there for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leg {
    /// Begins a conversation, sees that it is answered, and breaks off.
    Begin,
    /// Goes on with the last one, as it should, and sees that it is answered.
    Resume,
    /// Goes on with the last one, with something that is not true; returns whether it could be made so.
    Lie(fn(&mut Claim, &[Past]) -> bool),
    /// Says once more, byte for byte, what went on with it before.
    Again,
}

/// What is claimed of a conversation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) conversation: ConversationId,
    pub(super) attach: u64,
    pub(super) secret: [u8; 32],
    pub(super) next: [u64; 2],
    /// Instead of the one that the secret gives.
    pub(super) proof: Option<[u8; 32]>,
    /// Of whoever wants to guess.
    pub(super) guess: [u8; 32],
}

/// A conversation that was begun.
#[derive(Clone, Debug)]
pub(super) struct Past {
    pub(super) conversation: ConversationId,
    pub(super) secret: [u8; 32],
    /// The last attach that was said.
    pub(super) attach: u64,
    /// Items of the victim's that were heard, in each lane.
    pub(super) next: [u64; 2],
    /// The last proof that was given and was right.
    pub(super) proof: Option<[u8; 32]>,
    /// All that was said with it.
    pub(super) words: Vec<u8>,
}

impl Past {
    /// What is true.
    pub(super) fn claim(&self, random: &mut SplitMix64) -> Claim {
        Claim {
            conversation: self.conversation,
            attach: self.attach.saturating_add(1),
            secret: self.secret,
            next: self.next,
            proof: None,
            guess: core::array::from_fn(|_| random.next_u64().to_be_bytes()[0]),
        }
    }
}

impl Claim {
    /// The RESUME that says so, on a stream whose HELLOs were these.
    pub(super) fn resume(&self, side: Side, client: &[u8], server: &[u8]) -> Resume<'static> {
        let proof = self.proof.unwrap_or_else(|| {
            let mut hasher = blake3::Hasher::new_derive_key("duologue 1 handshake");
            hasher.update(&0_u64.to_be_bytes()).update(client).update(server);
            let handshake = hasher.finalize();
            let mut hasher = blake3::Hasher::new_keyed(&self.secret);
            hasher.update(&[side.to_u8()]).update(handshake.as_bytes());
            *hasher.finalize().as_bytes()
        });
        Resume { next: self.next, proof: Some(proof), ..Resume::default() }
    }
}
