use core::time::Duration;
use std::boxed::Box;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::batch::BatchReceiver;
use super::disk::Disk;
use super::lock::{Lock, lock};
use super::name::{FileName, NameError, RelativePath};
use super::options::{Collision, InboxOptions, Settings};
use super::part::Part;
use super::part_id::{
    PartId, Scope, fresh_name, is_fresh_name, is_part, journal_name, part_of_journal,
};
use super::receiver::{Incoming, Published, Receiver};
use super::shared::Shared;
use super::store::{Status, StatusKind, Store, StoreFile, if_readable};
use super::stored_files::{self, Key, StoredFile};
use super::turn::{OpenBatch, Turn};
use super::{Action, Error};
use crate::wire::{Batch, Offer};

/// How long a part is kept that no offer finds again: longer than any transfer stalls.
const UNCLAIMED: Duration = Duration::from_secs(60 * 60);

/// A file that was stored, and what is noted of it.
type Stored = (Box<dyn StoreFile>, StoredFile);

/// A folder that files are received into.
///
/// A file is seen under its name only once it is whole, its digest right, and all of it on the disk.
/// Until then it is a hidden part, which the same offer of the same peer finds again after a break,
/// and after the program or the machine has stopped. Nobody else's offer does.
///
/// Clones are of the same inbox. All calls block, and are for a thread that may.
///
/// # Examples
///
/// ```
/// use duologue::fs::{Error, Inbox};
/// use duologue::wire::{Digest, Offer};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// let inbox = Inbox::open(folder)?;
/// let offer = Offer::new("greeting.txt").size(5);
/// let mut receiver = inbox.receive(Some(b"the peer's key"), &offer)?;
/// assert_eq!(receiver.prefix(), None);
/// receiver.write(&["hel".into(), "lo".into()])?;
///
/// let digest = Digest::Blake3(*blake3::hash(b"hello").as_bytes());
/// let path = receiver.finish(5, Some(digest))?;
/// assert_eq!(path.as_str(), "greeting.txt");
/// assert_eq!(std::fs::read(folder.join("greeting.txt")).unwrap(), b"hello");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Inbox {
    shared: Arc<Shared>,
}

/// What [`Inbox::clean`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cleaned {
    /// Parts that were removed.
    pub removed: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Parts that are there still.
    pub kept: usize,
}

impl Inbox {
    /// Opens a folder, which must exist, with the [defaults](InboxOptions).
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        InboxOptions::new().open(folder)
    }

    pub(super) fn on_disk(folder: &Path, settings: Settings) -> Result<Self, Error> {
        let disk = Disk::open(folder).map_err(Error::storage(Action::OpenFolder))?;
        Self::on_store(Arc::new(disk), settings)
    }

    pub(super) fn on_store(store: Arc<dyn Store>, settings: Settings) -> Result<Self, Error> {
        Ok(Self { shared: Arc::new(Shared::new(store, settings)?) })
    }

    /// Whether an offer can be received as far as that is known beforehand; nothing is created. It
    /// is for a program that asks its user.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive), but for [`Error::Busy`].
    pub fn check(&self, offer: &Offer<'_>) -> Result<FileName, Error> {
        let name = self.file_name(&offer.name)?;
        self.check_offer(offer)?;
        if self.shared.settings.collision != Collision::Number {
            self.shared.check_target(name.as_str())?;
        }
        Ok(name)
    }

    /// Begins to receive a file, or goes on with it, under the name that the offer proposes.
    ///
    /// `identity` is what the application knows the peer by, a public key say: parts are found by
    /// the same one only. Without it they are not found again, unless
    /// [told so](InboxOptions::anonymous_parts).
    ///
    /// A part that is there is read and hashed while more comes, and so is the file if the same offer
    /// of the same peer was stored before: its sender may never have heard of it.
    ///
    /// # Errors
    ///
    /// [`Error`], whose [`code`](Error::code) is for the REJECT.
    pub fn receive(&self, identity: Option<&[u8]>, offer: &Offer<'_>) -> Result<Receiver, Error> {
        self.receive_in_turn(identity, offer, self.turn(identity, offer))
    }

    /// As [`receive`](Self::receive), under a name of our own.
    ///
    /// # Errors
    ///
    /// Those of [`receive`](Self::receive).
    pub fn receive_as(
        &self,
        identity: Option<&[u8]>,
        offer: &Offer<'_>,
        name: &FileName,
    ) -> Result<Receiver, Error> {
        let target = RelativePath::from(name.clone());
        let turn = Turn::new(&self.shared, Scope::new(identity), &target);
        self.receive_at(identity, offer, target, turn)
    }

    fn receive_at(
        &self,
        identity: Option<&[u8]>,
        offer: &Offer<'_>,
        target: RelativePath,
        turn: Option<Turn>,
    ) -> Result<Receiver, Error> {
        self.check_offer(offer)?;
        let scope = Scope::new(identity);
        let id = self.keeps(identity).then(|| PartId::new(identity, offer));
        let part = id.map_or_else(fresh_name, |id| id.part_name(scope));
        let key = id.map(|id| Key::new(&id, &target));
        if self.shared.settings.collision != Collision::Number {
            self.check_free(&target, || Ok(self.stored(key.as_ref(), offer)?.is_some()))?;
        }
        self.begin(id, offer, Incoming { part, scope, target, budget: None, key, turn })
    }

    /// Begins to receive a batch: a folder beneath the inbox.
    ///
    /// One that [`send_tree`](super::send_tree) was sending before, as the same peer, goes on: it is
    /// refused once as [`Error::KnownInPart`], and then offered with digests.
    ///
    /// A folder is noted as soon as it is made. If the program or the machine stops just between the two
    /// it is empty and not known: offered again it is refused, numbered or filled, as the
    /// [policy](Collision) says.
    ///
    /// # Errors
    ///
    /// [`Error`], whose [`code`](Error::code) is for the REJECT.
    pub fn receive_batch(
        &self,
        identity: Option<&[u8]>,
        batch: &Batch<'_>,
    ) -> Result<BatchReceiver, Error> {
        self.receive_batch_in_turn(identity, batch, self.open_batch(identity))
    }

    /// Makes files that were [published](Receiver::publish) stay under their names, whatever becomes
    /// of the power: each folder is synchronised once.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`]: the files are there, and may or may not be after a loss of power.
    pub fn settle(&self, published: &[Published]) -> Result<(), Error> {
        self.shared.settle(published)
    }

    /// Removes parts that are older than [they are kept](InboxOptions::keep_parts_for), and that
    /// nobody receives, here or in another program; those that nobody can go on with, as they were
    /// too short for a journal, after an hour. Call it at the start, and once a day.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] when the folder cannot be listed. What cannot be removed is kept.
    pub fn clean(&self) -> Result<Cleaned, Error> {
        let (store, mut cleaned) = (&*self.shared.store, Cleaned::default());
        let names = store.list("").map_err(Error::storage(Action::OpenFolder))?;
        for name in &names {
            if name == stored_files::NAME {
                if self.is_old(name) {
                    let _ = store.remove(name);
                }
            } else if let Some(part) = part_of_journal(name) {
                if store.status(&part).is_err() && self.is_old(name) {
                    let _ = store.remove(name);
                }
            } else if is_part(name) {
                match self.remove_old(name) {
                    Some(bytes) => {
                        cleaned.removed = cleaned.removed.saturating_add(1);
                        cleaned.bytes = cleaned.bytes.saturating_add(bytes);
                    }
                    None => cleaned.kept = cleaned.kept.saturating_add(1),
                }
            }
        }
        Ok(cleaned)
    }

    /// Bytes that count against the [quota](InboxOptions::quota_per_identity) of a peer.
    pub fn used_by(&self, identity: Option<&[u8]>) -> u64 {
        self.shared.lock().ledger.of_scope(Scope::new(identity))
    }

    /// Bytes that count against the [quota](InboxOptions::quota) of all peers.
    pub fn used(&self) -> u64 {
        self.shared.lock().ledger.total()
    }
}

impl Inbox {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Where an offer that is taken now stands among those that replace one another. It does not block.
    pub(super) fn turn(&self, identity: Option<&[u8]>, offer: &Offer<'_>) -> Option<Turn> {
        // What has no name here is refused.
        let name = self.file_name(&offer.name).ok()?;
        Turn::new(&self.shared, Scope::new(identity), &name.into())
    }

    pub(super) fn receive_in_turn(
        &self,
        identity: Option<&[u8]>,
        offer: &Offer<'_>,
        turn: Option<Turn>,
    ) -> Result<Receiver, Error> {
        let name = self.file_name(&offer.name)?;
        self.receive_at(identity, offer, name.into(), turn)
    }

    /// As [`turn`](Self::turn), of a batch.
    pub(super) fn open_batch(&self, identity: Option<&[u8]>) -> OpenBatch {
        OpenBatch::new(&self.shared, Scope::new(identity))
    }

    pub(super) fn receive_batch_in_turn(
        &self,
        identity: Option<&[u8]>,
        batch: &Batch<'_>,
        open: OpenBatch,
    ) -> Result<BatchReceiver, Error> {
        let name = self.file_name(&batch.name)?;
        BatchReceiver::create((self.clone(), open), identity, batch, &name)
    }

    /// Whether anything of this peer's is found again.
    pub(super) fn keeps(&self, identity: Option<&[u8]>) -> bool {
        let settings = &self.shared.settings;
        let is_known = identity.is_some() || settings.has_anonymous_parts;
        is_known && settings.keep_parts_for > Duration::ZERO
    }

    fn file_name(&self, name: &str) -> Result<FileName, Error> {
        let name = FileName::new(name).map_err(Error::FileName)?;
        self.check_special(name.is_special())?;
        Ok(name)
    }

    pub(super) fn check_special(&self, is_special: bool) -> Result<(), Error> {
        let is_refused = is_special && !self.shared.settings.takes_special_names;
        NameError::unless_plain(is_refused).map_err(Error::FileName)
    }

    pub(super) fn check_offer(&self, offer: &Offer<'_>) -> Result<(), Error> {
        if offer.is_directory {
            return Err(Error::Directory);
        }
        let max = self.shared.settings.max_file_size;
        if offer.size.is_some_and(|size| size > max) {
            return Err(Error::TooLarge { max });
        }
        let blake3 = crate::wire::Digest::Blake3([0; 32]).algorithm();
        if offer.digest.is_some_and(|digest| digest.algorithm() != blake3) {
            return Err(Error::DigestUnsupported);
        }
        Ok(())
    }

    /// Looks whether what is offered is stored already, and if not whether its name is free: says whether
    /// it is stored.
    pub(super) fn check_free(
        &self,
        target: &RelativePath,
        is_stored: impl Fn() -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let found = is_stored();
        if found == Ok(true) {
            return found;
        }
        let Err(taken) = self.shared.check_target(target.as_str()) else { return Ok(false) };
        // It may have been stored just now, by who received it before.
        let is_late = taken == Error::Exists && found.is_ok();
        match if is_late { is_stored() } else { found } {
            Ok(true) => Ok(true),
            found => Err(taken.or_unclear(found.err())),
        }
    }

    pub(super) fn begin(
        &self,
        id: Option<PartId>,
        offer: &Offer<'_>,
        incoming: Incoming,
    ) -> Result<Receiver, Error> {
        let shared = &self.shared;
        let (slot, before) = shared.enter(&incoming.part)?;
        let opened = (|| {
            if let Some(part) = before.and_then(|before| before.lock().take()) {
                let kept = part.suspend();
                shared.lock().ledger.set(&incoming.part, kept);
            }
            let found = shared.store.status_if_there(&incoming.part);
            let is_new = found.map_err(Error::storage(Action::Inspect))?.is_none();
            let found = match is_new.then(|| self.stored(incoming.key.as_ref(), offer)) {
                Some(Ok(found)) => found,
                None => None,
                Some(Err(error)) => {
                    if shared.settings.collision == Collision::Refuse {
                        let target = incoming.target.as_str();
                        shared
                            .check_target(target)
                            .map_err(|taken| taken.or_unclear(Some(error)))?;
                    }
                    None
                }
            };
            if let (Some(found), Some(id), Some(key)) = (found, id, &incoming.key) {
                let named = (incoming.part.clone(), id);
                return Ok(Part::of_stored(&shared.store, &shared.settings, named, *key, found));
            }
            shared.charge(&incoming.part, incoming.scope, offer.size.unwrap_or(0))?;
            // A member of a batch begins at 0: it was accepted before it was known.
            let may_resume = incoming.budget.is_none();
            let named = (incoming.part.clone(), id);
            Part::open(&shared.store, &shared.settings, named, offer.size, may_resume)
        })();
        match opened {
            Ok(part) => Ok(Receiver::new(Arc::clone(shared), slot, incoming, offer, part)),
            Err(error) => {
                let len = shared.store.status(&incoming.part).map_or(0, |status| status.len);
                shared.lock().ledger.set(&incoming.part, len);
                shared.leave(&incoming.part, &slot);
                Err(error)
            }
        }
    }

    /// The file that was stored of the same offer, if it seems to be there still.
    fn stored(&self, key: Option<&Key>, offer: &Offer<'_>) -> Result<Option<Stored>, Error> {
        let inspect = Error::storage(Action::Inspect);
        let (store, settings) = (&*self.shared.store, &self.shared.settings);
        let Some(key) = key else { return Ok(None) };
        let found = stored_files::find(store, settings, key).map_err(&inspect)?;
        let is_trusted = |path: &RelativePath| !self.shared.is_suspect(path.as_str());
        let found = found.filter(|found| offer.size == Some(found.size) && is_trusted(&found.path));
        let Some(found) = found else { return Ok(None) };
        let path = found.path.as_str();
        let is_it = |status: Status| {
            let is_untouched = (status.len, status.modified) == (found.size, found.modified);
            is_untouched && status.kind == StatusKind::File
        };
        // What cannot be opened at all may have taken its place.
        if !store.status_if_there(path).map_err(&inspect)?.is_some_and(is_it) {
            return Ok(None);
        }
        let opened = if_readable(store.open_to_read(path));
        let Some(file) = opened.map_err(&inspect)? else { return Ok(None) };
        Ok(is_it(file.status().map_err(&inspect)?).then_some((file, found)))
    }

    fn is_old(&self, name: &str) -> bool {
        let modified = self.shared.store.status(name).ok().and_then(|status| status.modified);
        let age = |modified: SystemTime| self.shared.store.now().duration_since(modified).ok();
        let kept = self.shared.settings.keep_parts_for;
        // What nobody can go on with is kept as long as it may be in use where there are no locks.
        let kept = if is_fresh_name(name) { kept.min(UNCLAIMED) } else { kept };
        modified.and_then(age).is_some_and(|age| age >= kept)
    }

    /// Removes a part that nobody has, if it is old enough, and says how large it was.
    fn remove_old(&self, name: &str) -> Option<u64> {
        let store = &*self.shared.store;
        if !self.is_old(name) {
            return None;
        }
        // Nobody here can take it up meanwhile.
        let (slot, before) = self.shared.enter(name).ok()?;
        if let Some(before) = before {
            self.shared.lock().slots.insert(name.into(), before);
            return None;
        }
        let removed = (|| {
            let status = store.status(name).ok()?;
            if status.kind == StatusKind::File && status.links <= 1 {
                let mut file = store.open(name).ok()?;
                if lock(store, name, &mut *file).ok()? != Lock::Ours {
                    return None;
                }
                store.remove(name).ok()?;
            } else {
                // No file of ours, or one that has its final name already.
                store.remove(name).ok()?;
            }
            let _ = store.remove(&journal_name(name));
            self.shared.lock().ledger.forget(name);
            Some(status.len)
        })();
        self.shared.leave(name, &slot);
        removed
    }
}
