//! Folders that a peer began to send before, and goes on with.

use std::io;
use std::string::ToString;

use super::inbox::Inbox;
use super::name::{FileName, RelativePath};
use super::part_id::PartId;
use super::store::{Status, StatusKind};
use super::stored_files::{self, Key, StoredFile};
use super::{Action, Error};
use crate::wire::Batch;

/// Metadata of a batch whose sender can go on with a folder.
pub(super) const ASKS: &[u8] = b"duologue folder 1";
/// Metadata of a batch whose members are offered with digests.
pub(super) const HAS_DIGESTS: &[u8] = b"duologue folder 1 digests";

/// Whether the members of a batch are offered with digests.
pub(super) fn has_digests(batch: &Batch<'_>) -> bool {
    *batch.metadata == *HAS_DIGESTS
}

/// What a folder is remembered by, if the peer's parts are kept.
pub(super) fn key(
    inbox: &Inbox,
    identity: Option<&[u8]>,
    batch: &Batch<'_>,
    name: &FileName,
) -> Option<Key> {
    let is_asked = [ASKS, HAS_DIGESTS].contains(&&*batch.metadata);
    let id = PartId::of_batch(identity, batch);
    (is_asked && inbox.keeps(identity)).then(|| Key::new(&id, &RelativePath::from(name.clone())))
}

/// Looks for the folder that an earlier batch of this key made.
pub(super) fn find(inbox: &Inbox, key: &Key) -> Result<Option<RelativePath>, Error> {
    let inspect = Error::storage(Action::Inspect);
    let shared = inbox.shared();
    let found = stored_files::find(&*shared.store, &shared.settings, key).map_err(&inspect)?;
    let Some(found) = found else { return Ok(None) };
    let named = shared.store.status_if_there(found.path.as_str()).map_err(&inspect)?;
    // Another folder may have the name by now.
    let is_it = named.and_then(|status| mark(&status)).is_some_and(|mark| found.digest == mark);
    Ok(is_it.then_some(found.path))
}

/// Notes that a folder of so many bytes was made.
pub(super) fn note(inbox: &Inbox, key: &Key, bytes: u64, path: &RelativePath) -> io::Result<()> {
    let shared = inbox.shared();
    let status = shared.store.status(path.as_str())?;
    let modified = Some(shared.store.now());
    // Where folders are not told from each other none is gone on with.
    let Some(digest) = mark(&status) else { return Ok(()) };
    let found = StoredFile { path: path.clone(), size: bytes, modified, digest };
    stored_files::note(shared, key, &found)
}

/// What tells a folder from every other one, and from files, where the system numbers them.
fn mark(status: &Status) -> Option<[u8; 32]> {
    let (_, number) = status.file?;
    let mut hasher = blake3::Hasher::new_derive_key("duologue 2026 a folder");
    hasher.update(&[u8::from(status.kind == StatusKind::Folder)]);
    // Numbers of devices change from start to start.
    hasher.update(number.to_string().as_bytes());
    Some(*hasher.finalize().as_bytes())
}
