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

/// How a folder that is offered is known.
pub(super) enum Known {
    /// It is not, or its sender would not understand.
    No,
    /// Its sender has to offer it with digests.
    InPart,
    /// This is the folder.
    At(RelativePath),
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
pub(super) fn find(inbox: &Inbox, key: &Key, batch: &Batch<'_>) -> Result<Known, Error> {
    let inspect = Error::storage(Action::Inspect);
    let shared = inbox.shared();
    let found = stored_files::find(&*shared.store, &shared.settings, key).map_err(&inspect)?;
    let Some(found) = found else { return Ok(Known::No) };
    match shared.store.status(found.path.as_str()) {
        Ok(status) if found.digest == mark(&status) => {}
        // Another folder may have the name by now.
        Ok(_) => return Ok(Known::No),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Known::No),
        Err(error) => return Err(inspect(error)),
    }
    let has_digests = *batch.metadata == *HAS_DIGESTS;
    Ok(if has_digests { Known::At(found.path) } else { Known::InPart })
}

/// Notes that a folder was made, before anything is in it. That may fail: it is made anew then.
pub(super) fn note(inbox: &Inbox, key: &Key, batch: &Batch<'_>, path: &RelativePath) {
    let shared = inbox.shared();
    let Ok(status) = shared.store.status(path.as_str()) else { return };
    let modified = Some(shared.store.now());
    let found =
        StoredFile { path: path.clone(), size: batch.bytes, modified, digest: mark(&status) };
    let _ = stored_files::note(&*shared.store, &shared.settings, key, &found);
}

/// What tells a folder from every other one, and from files.
fn mark(status: &Status) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("duologue 2026 a folder");
    hasher.update(&[u8::from(status.kind == StatusKind::Folder)]);
    // Numbers of devices change from start to start.
    hasher.update(status.file.1.to_string().as_bytes());
    *hasher.finalize().as_bytes()
}
