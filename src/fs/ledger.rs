use std::borrow::ToOwned;
use std::collections::HashMap;
use std::string::String;

use super::Error;
use super::options::Settings;
use super::part_id::Scope;

/// Who takes how much of the disk.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Bytes of each part, and whose it is.
    parts: HashMap<String, (Scope, u64)>,
    /// Bytes of parts and files of each peer.
    scopes: HashMap<Scope, u64>,
    total: u64,
}

impl Ledger {
    /// Counts what was found, whatever the quotas say.
    pub(super) fn found(&mut self, part: &str, scope: Scope, bytes: u64) {
        self.forget(part);
        self.add(scope, bytes);
        self.parts.insert(part.to_owned(), (scope, bytes));
    }

    /// Counts a part with at least so many bytes, if the quotas allow that.
    pub(super) fn raise(
        &mut self,
        part: &str,
        scope: Scope,
        bytes: u64,
        settings: &Settings,
    ) -> Result<(), Error> {
        let before = self.parts.get(part).map_or(0, |(_, bytes)| *bytes);
        let more = bytes.saturating_sub(before);
        let of_scope = self.scopes.get(&scope).copied().unwrap_or(0);
        for (used, max) in [(of_scope, settings.quota_per_identity), (self.total, settings.quota)] {
            if more > max.saturating_sub(used) {
                return Err(Error::Quota { max });
            }
        }
        self.found(part, scope, bytes.max(before));
        Ok(())
    }

    /// The part has so many bytes after all.
    pub(super) fn set(&mut self, part: &str, bytes: u64) {
        if let Some((scope, _)) = self.parts.get(part).copied() {
            self.forget(part);
            if bytes > 0 {
                self.found(part, scope, bytes);
            }
        }
    }

    /// The part has become a file: it counts on.
    pub(super) fn publish(&mut self, part: &str, bytes: u64) {
        self.set(part, bytes);
        self.parts.remove(part);
    }

    /// The part is gone.
    pub(super) fn forget(&mut self, part: &str) {
        let Some((scope, bytes)) = self.parts.remove(part) else { return };
        self.total = self.total.saturating_sub(bytes);
        if let Some(used) = self.scopes.get_mut(&scope) {
            *used = used.saturating_sub(bytes);
            if *used == 0 {
                self.scopes.remove(&scope);
            }
        }
    }

    fn add(&mut self, scope: Scope, bytes: u64) {
        self.total = self.total.saturating_add(bytes);
        let used = self.scopes.entry(scope).or_default();
        *used = used.saturating_add(bytes);
    }

    /// Bytes of one peer.
    pub(super) fn of_scope(&self, scope: Scope) -> u64 {
        self.scopes.get(&scope).copied().unwrap_or(0)
    }

    /// Bytes of all peers.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}
