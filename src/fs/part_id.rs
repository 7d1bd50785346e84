use core::fmt::Write;
use core::sync::atomic::{AtomicU64, Ordering};
use std::format;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::string::String;
use std::sync::OnceLock;

use super::name::TEMPORARY;
use crate::wire::{Batch, Digest, Offer};

/// What a part is of: the same peer's same offer, and nothing else, finds it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartId {
    hash: [u8; 32],
}

/// Whose parts they are, as far as the names of files tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Scope(u64);

impl Scope {
    pub(super) fn new(identity: Option<&[u8]>) -> Self {
        let Some(identity) = identity else { return Self::default() };
        let mut hasher = blake3::Hasher::new_derive_key("duologue 2026 scope of a part");
        hasher.update(identity);
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        // 0 is that of files whose peer is not known.
        Self(u64::from_be_bytes(first).max(1))
    }

    /// That of the file with this temporary name.
    pub(super) fn of_name(name: &str) -> Self {
        let field = name.strip_prefix(TEMPORARY).and_then(|rest| rest.split_once('-'));
        let number = field.filter(|(scope, _)| scope.len() == 16);
        Self(number.and_then(|(scope, _)| u64::from_str_radix(scope, 16).ok()).unwrap_or(0))
    }
}

impl PartId {
    pub(super) fn new(identity: Option<&[u8]>, offer: &Offer<'_>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("duologue 2026 identity of a part");
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        let number = |number: Option<u64>| number.unwrap_or(u64::MAX).to_be_bytes();
        field(&[u8::from(identity.is_some())]);
        field(identity.unwrap_or_default());
        field(offer.name.as_bytes());
        field(&number(offer.size));
        field(&number(offer.modified));
        field(&[offer.digest.map_or(0, |digest| digest.algorithm())]);
        field(offer.digest.as_ref().map_or(&[], |digest: &Digest| digest.as_bytes()));
        Self { hash: *hasher.finalize().as_bytes() }
    }

    /// What a folder is known by.
    pub(super) fn of_batch(identity: Option<&[u8]>, batch: &Batch<'_>) -> Self {
        let offer = Offer::new(&*batch.name).size(batch.bytes).modified(batch.count.into());
        let mut hasher = blake3::Hasher::new_derive_key("duologue 2026 identity of a folder");
        hasher.update(Self::new(identity, &offer).as_bytes());
        Self { hash: *hasher.finalize().as_bytes() }
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The name of the part.
    pub(super) fn part_name(&self, scope: Scope) -> String {
        let mut name = format!("{TEMPORARY}{:016x}-", scope.0);
        for byte in self.hash.iter().take(16) {
            // Writing to a string does not fail.
            let _ = write!(name, "{byte:02x}");
        }
        name.push_str(".part");
        name
    }
}

/// A name that no other file has: none of this process, and in all likelihood none of another.
pub(super) fn fresh_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static PROCESS: OnceLock<u64> = OnceLock::new();
    // The standard library's only randomness: its hash maps are keyed with it.
    let process = PROCESS.get_or_init(|| RandomState::new().build_hasher().finish());
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{TEMPORARY}new-{process:016x}-{number}.part")
}

/// Whether a part has such a name: no offer finds it again.
pub(super) fn is_fresh_name(name: &str) -> bool {
    name.strip_prefix(TEMPORARY).is_some_and(|rest| rest.starts_with("new-"))
}

/// The journal of a part.
pub(super) fn journal_name(part: &str) -> String {
    format!("{}.journal", part.strip_suffix(".part").unwrap_or(part))
}

/// The part of a journal.
pub(super) fn part_of_journal(journal: &str) -> Option<String> {
    let stem = journal.strip_prefix(TEMPORARY)?.strip_suffix(".journal")?;
    Some(format!("{TEMPORARY}{stem}.part"))
}

pub(super) fn is_part(name: &str) -> bool {
    name.starts_with(TEMPORARY) && name.ends_with(".part")
}
