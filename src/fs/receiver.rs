use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use std::borrow::ToOwned;
use std::boxed::Box;
use std::io;
use std::string::String;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::name::{RelativePath, numbered_name};
use super::options::Collision;
use super::part::Part;
use super::part_id::{Scope, journal_name};
use super::shared::Shared;
use super::store::StatusKind;
use super::stored_files::{self, Key};
use super::turn::Turn;
use super::{Action, Error, PartFile};
use crate::wire::{Digest, Offer};

/// How many files of a member's name and size are read before it gets its own number: the one that was
/// on its way is among the first, and what a peer makes us read is to stay in proportion to what it sends.
const READS: u32 = 4;

/// One file that is being received: [`Inbox::receive`](super::Inbox::receive) makes it.
///
/// Its calls block, and are for a thread that may; the order of a transfer's life is
///
/// 1. accept with [`prefix`](Self::prefix);
/// 2. [`restart`](Self::restart) when the sender begins at 0 although there is a prefix;
/// 3. [`write`](Self::write) what comes, then release it, and tell the sender what is
///    [`durable`](Self::durable); [`checkpoint`](Self::checkpoint) when nothing came for a second;
/// 4. [`finish`](Self::finish), or [`publish`](Self::publish) and
///    [`Inbox::settle`](super::Inbox::settle) for many at once; or [`discard`](Self::discard) when
///    either side gave the transfer up.
///
/// The first error is final: every later call repeats it. What is dropped is kept as if
/// [suspended](Self::suspend).
pub struct Receiver {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    part: String,
    scope: Scope,
    target: RelativePath,
    size: Option<u64>,
    offered: Option<Digest>,
    prefix: Option<(u64, Digest)>,
    position: u64,
    durable: u64,
    budget: Option<Arc<Budget>>,
    /// What it is remembered by once it is stored.
    key: Option<Key>,
    /// Where it stands among the offers that replace one another.
    turn: Option<Box<Turn>>,
}

/// Where a part is: with its receiver, unless another one has taken it over.
#[derive(Debug, Default)]
pub(super) struct Slot {
    part: Mutex<Option<Part>>,
    is_detached: Mutex<bool>,
}

impl Slot {
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Part>> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only locked for a moment, with the table of slots.
    pub(super) fn detached(&self) -> MutexGuard<'_, bool> {
        self.is_detached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that the members of a batch may still have.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) left: AtomicU64,
    pub(super) max: u64,
}

impl Budget {
    fn take(&self, bytes: u64) -> Result<(), Error> {
        let take = |left: u64| left.checked_sub(bytes);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::TooLarge { max: self.max }),
        }
    }

    fn give_back(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What a [`Receiver`] is of.
pub(super) struct Incoming {
    pub(super) part: String,
    pub(super) scope: Scope,
    pub(super) target: RelativePath,
    pub(super) budget: Option<Arc<Budget>>,
    pub(super) key: Option<Key>,
    pub(super) turn: Option<Turn>,
}

/// How a file came to its name.
enum Placed {
    /// It is the part.
    Named(RelativePath),
    /// Another one of the same content had it before.
    Before(RelativePath),
}

/// A file, or a folder of a batch, that has its name; [`Inbox::settle`](super::Inbox::settle) makes
/// it stay.
#[derive(Debug)]
#[must_use = "it may lose its name with the power until it is settled"]
pub struct Published {
    pub(super) path: RelativePath,
    pub(super) journal: Option<String>,
    /// It was there before, and nothing came of it.
    pub(super) is_known: bool,
}

impl Published {
    pub(super) fn new(path: RelativePath) -> Self {
        Self { path, journal: None, is_known: false }
    }

    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Its path in the inbox: what the sender is told.
    pub fn path(&self) -> &RelativePath {
        &self.path
    }
}

impl Receiver {
    pub(super) fn new(
        shared: Arc<Shared>,
        slot: Arc<Slot>,
        incoming: Incoming,
        offer: &Offer<'_>,
        part: Part,
    ) -> Self {
        let receiver = Self {
            shared,
            turn: incoming.turn.map(Box::new),
            part: incoming.part,
            scope: incoming.scope,
            target: incoming.target,
            size: offer.size,
            offered: offer.digest,
            prefix: part.prefix(),
            position: part.position(),
            durable: part.durable(),
            budget: incoming.budget,
            key: incoming.key,
            slot,
        };
        *receiver.slot.lock() = Some(part);
        receiver
    }

    /// Where the file is to go, in the inbox. It may get a number.
    pub fn path(&self) -> &RelativePath {
        &self.target
    }

    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// What is there already, to accept with: its length and digest, as they were noted. That it is
    /// so still is found out while more comes: [`write`](Self::write) and [`publish`](Self::publish)
    /// fail with [`Error::PartDiffers`] if not, and the next offer begins at 0.
    ///
    /// All of a file that was stored before is there, and nothing is to be written: it keeps its
    /// name, and [`publish`](Self::publish) says which one.
    pub fn prefix(&self) -> Option<(u64, Digest)> {
        self.prefix
    }

    /// The offset of the next byte that is to be written.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes that survive a loss of power, and that the same offer of the same peer finds again, until
    /// this receiver [fails for good](Self::suspend) or [discards](Self::discard) them.
    /// Always 0 for a file that could not be found again, and with
    /// [`Durability::NoSync`](super::Durability::NoSync).
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Drops what is there: the sender begins at 0.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`], [`Error::Superseded`].
    pub fn restart(&mut self) -> Result<(), Error> {
        if let Some(budget) = &self.budget {
            budget.give_back(self.position);
        }
        let (shared, scope) = (Arc::clone(&self.shared), self.scope);
        self.with(|part| {
            if part.stored_path().is_some() {
                // It took no room so far.
                if let Err(error) = shared.charge(part.name(), scope, part.position()) {
                    return part.give_up(error);
                }
            }
            part.restart()
        })
    }

    /// Writes what comes next, and hashes it. Large pieces, or many at once, are quick.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], [`Error::Quota`], [`Error::Reserve`], [`Error::PartDiffers`],
    /// [`Error::Storage`], [`Error::Superseded`].
    pub fn write(&mut self, chunks: &[Bytes]) -> Result<(), Error> {
        let more = chunks.iter().fold(0, |sum: u64, chunk| sum.saturating_add(chunk.len() as u64));
        let allowed = self.allow(more);
        self.with(|part| match allowed {
            Ok(()) => part.write(chunks),
            Err(error) => part.give_up(error),
        })
    }

    /// Whether so many bytes more are within what a batch announced, and within the quotas.
    fn allow(&self, more: u64) -> Result<(), Error> {
        if let Some(budget) = &self.budget {
            budget.take(more)?;
        }
        if self.size.is_some() {
            return Ok(()); // it was counted at the beginning
        }
        self.shared.charge(&self.part, self.scope, self.position.saturating_add(more))
    }

    /// Makes what has come durable, up to the last whole MiB. It also happens by itself every
    /// [`sync_every`](super::InboxOptions::sync_every) bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`], [`Error::Superseded`].
    pub fn checkpoint(&mut self) -> Result<(), Error> {
        self.with(Part::checkpoint)
    }

    /// Reads some of what was there before, to see that it is what it was: false if there is more.
    /// [`write`](Self::write) does as much, and what is sealed is read to its end.
    pub(super) fn catch_up(&mut self) -> Result<bool, Error> {
        let mut is_done = true;
        self.with(|part| part.catch_up().map(|done| is_done = done))?;
        Ok(is_done)
    }

    /// The conversation has no stream for now: the same offer of the same peer may take the part
    /// over.
    ///
    /// # Errors
    ///
    /// Those of [`checkpoint`](Self::checkpoint).
    pub fn detach(&mut self) -> Result<(), Error> {
        // First of all: who takes it over waits until it is saved.
        self.let_go();
        self.checkpoint()
    }

    /// The first half of [`detach`](Self::detach), which does not block.
    pub(super) fn let_go(&self) {
        *self.slot.detached() = true;
    }

    /// The conversation goes on.
    ///
    /// # Errors
    ///
    /// [`Error::Superseded`] when another transfer has the part.
    pub fn reattach(&mut self) -> Result<(), Error> {
        self.shared.reattach(&self.part, &self.slot)
    }

    /// Checks the file, writes it through to the disk, and gives it its name for good.
    ///
    /// # Errors
    ///
    /// Those of [`publish`](Self::publish), and of [`Inbox::settle`](super::Inbox::settle).
    pub fn finish(self, total: u64, digest: Option<Digest>) -> Result<RelativePath, Error> {
        let shared = Arc::clone(&self.shared);
        let published = self.publish(total, digest)?;
        shared.settle(core::slice::from_ref(&published))?;
        Ok(published.path)
    }

    /// Checks the file, writes it through to the disk, and gives it its name.
    ///
    /// `total` and `digest` are those of FINISH. A file that fails is removed, unless another try
    /// may do ([`Error::can_retry`]). A member of a folder that finds its very content under its name is
    /// that file.
    ///
    /// Which offer the file was is noted, once more if the disk fails at first. If it fails twice, and
    /// the sender never hears of its verdict and offers the file again, that is not known to be the
    /// same: it is refused, numbered or replaced, as the [policy](super::Collision) says.
    ///
    /// # Errors
    ///
    /// [`Error::SizeDiffers`]; [`Error::DigestDiffers`], [`Error::DigestMissing`],
    /// [`Error::DigestUnsupported`]; [`Error::Exists`], [`Error::Collisions`]; [`Error::Storage`];
    /// [`Error::PartDiffers`], [`Error::Superseded`], [`Error::Outdated`]. The name that was wanted is as it
    /// was then.
    pub fn publish(self, total: u64, digest: Option<Digest>) -> Result<Published, Error> {
        let mut slot = self.slot.lock();
        let Some(mut part) = slot.take() else { return Err(Error::Superseded) };
        let placed = part.seal(total, self.offered, digest).and_then(|()| self.place(&part));
        match placed {
            Ok(Placed::Named(path)) => {
                self.shared.lock().ledger.publish(&self.part, total);
                let journal = part.has_journal().then(|| journal_name(&self.part));
                Ok(Published { path, journal, is_known: false })
            }
            Ok(Placed::Before(path)) => {
                self.shared.lock().ledger.forget(&self.part);
                part.discard();
                Ok(Published::new(path))
            }
            Err(error) => {
                if let (Some(path), Error::Storage { action: Action::Sync, .. }) =
                    (part.stored_path(), &error)
                {
                    self.shared.suspect(path.as_str());
                }
                // `drop` will see to it.
                if error.can_retry() && error != Error::PartDiffers {
                    *slot = Some(part);
                } else {
                    self.shared.lock().ledger.forget(&self.part);
                    part.discard();
                }
                Err(error)
            }
        }
    }

    /// Gives the file its name, as the collision policy says.
    fn place(&self, part: &Part) -> Result<Placed, Error> {
        if let Some(path) = part.stored_path() {
            let named = || part.check_stored(path).map(|()| Some(Placed::Named(path.clone())));
            return self.in_turn(part, named);
        }
        let (store, target) = (&self.shared.store, &self.target);
        let publish = Error::storage(Action::Publish);
        // Of what was noted that it could not be: once more when the file is there.
        let name_it = |path: &RelativePath, is_noted: bool| {
            if !is_noted {
                self.note(part, path);
            }
            self.shared.renamed(path.as_str());
            Ok(Placed::Named(path.clone()))
        };
        match self.shared.settings.collision {
            Collision::Replace => self.in_turn(part, || {
                let found = store.status(target.as_str());
                if found.is_ok_and(|status| status.kind == StatusKind::Folder) {
                    return Err(Error::Exists);
                }
                let is_noted = self.note(part, target);
                part.check_named()?;
                store.rename(part.name(), target.as_str()).map_err(publish)?;
                name_it(target, is_noted).map(Some)
            }),
            Collision::Refuse => {
                // What is noted of a file that was stored before is to stay.
                let (is_noted, unclear) = match self.is_noted(target) {
                    Ok(true) if self.is_same(part, target, &mut 1)? => {
                        return Ok(Placed::Before(target.clone()));
                    }
                    Ok(true) => return Err(Error::Exists),
                    Ok(false) => (self.note(part, target), None),
                    Err(error) => (false, Some(Error::storage(Action::Inspect)(error))),
                };
                part.check_named()?;
                match store.rename_no_replace(part.name(), target.as_str()) {
                    Ok(()) => name_it(target, is_noted),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        if self.is_there(part, target, &mut 1)? {
                            return Ok(Placed::Before(target.clone()));
                        }
                        Err(Error::Exists.or_unclear(unclear))
                    }
                    Err(error) => Err(publish(error)),
                }
            }
            Collision::Number => {
                let mut reads = READS;
                for number in 0..=PartFile::MAX_NUMBER {
                    let Some(name) = numbered_name(target.file_name(), number) else { break };
                    let path = RelativePath::beneath(target.parent(), &name);
                    let path = path.map_err(Error::FileName)?;
                    // Whoever takes the name now is noticed by the next call.
                    if self.key.is_some() && store.status(path.as_str()).is_ok() {
                        continue;
                    }
                    let is_noted = self.note(part, &path);
                    // Of a thousand names that are tried in a row, with the first.
                    if number == 0 || self.key.is_some() {
                        part.check_named()?;
                    }
                    match store.rename_no_replace(part.name(), path.as_str()) {
                        Ok(()) => return name_it(&path, is_noted),
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                            match self.is_there(part, &path, &mut reads) {
                                Ok(true) => return Ok(Placed::Before(path)),
                                // There are other names.
                                Err(error) if error.is_of_its_name() => {}
                                Ok(false) => {}
                                Err(error) => return Err(error),
                            }
                        }
                        Err(error) => return Err(publish(error)),
                    }
                }
                Err(Error::Collisions)
            }
        }
    }

    /// Gives the file its name when it is its turn. One that comes too late may be the very file that has
    /// the name by now.
    fn in_turn(
        &self,
        part: &Part,
        name_it: impl FnOnce() -> Result<Option<Placed>, Error>,
    ) -> Result<Placed, Error> {
        let placed = match &self.turn {
            Some(turn) => turn.store(name_it),
            None => name_it(),
        };
        match placed {
            Err(Error::Outdated) if self.is_same(part, &self.target, &mut 1)? => {
                Ok(Placed::Before(self.target.clone()))
            }
            placed => placed?.ok_or(Error::Outdated),
        }
    }

    /// Whether the same offer was stored under this name before, and is there.
    fn is_noted(&self, path: &RelativePath) -> io::Result<bool> {
        let (store, settings) = (&*self.shared.store, &self.shared.settings);
        let Some(key) = &self.key else { return Ok(false) };
        let Some(found) = stored_files::find(store, settings, key)? else { return Ok(false) };
        let is_untouched = store
            .status_if_there(path.as_str())?
            .is_some_and(|status| (status.len, status.modified) == (found.size, found.modified));
        Ok(is_untouched && found.path == *path)
    }

    /// Whether the same content has the name by now: a member of a folder that was given up may still
    /// have been on its way to the disk when it was offered again.
    fn is_there(&self, part: &Part, path: &RelativePath, reads: &mut u32) -> Result<bool, Error> {
        let is_member = self.budget.is_some();
        Ok(is_member && self.is_same(part, path, reads)?)
    }

    /// Whether the very content of the part has the name.
    fn is_same(&self, part: &Part, path: &RelativePath, reads: &mut u32) -> Result<bool, Error> {
        let Digest::Blake3(digest) = part.digest() else { return Ok(false) };
        self.shared.holds(path.as_str(), (part.position(), &digest), reads, &|| false)
    }

    /// Notes the name that the file is about to get, or has: if its sender never hears of it and offers
    /// the file again, that is found out. It may fail; whether it need not be done again.
    fn note(&self, part: &Part, path: &RelativePath) -> bool {
        let Some(key) = &self.key else { return true };
        let noted = part.as_stored(path.clone());
        noted.and_then(|file| stored_files::note(&self.shared, key, &file)).is_ok()
    }

    /// Closes the part and keeps it for the same offer of the same peer, if there is enough of it
    /// (1 MiB) and [the options](super::InboxOptions::keep_parts_for) allow it.
    ///
    /// It is removed if it failed for a reason that no other try can change, as
    /// [`Error::TooLarge`] is, or that leaves in doubt what the disk holds.
    pub fn suspend(self) {
        drop(self);
    }

    /// Removes the part.
    pub fn discard(self) {
        if let Some(part) = self.slot.lock().take() {
            self.shared.lock().ledger.forget(&self.part);
            part.discard();
        }
    }

    fn with(&mut self, call: impl FnOnce(&mut Part) -> Result<(), Error>) -> Result<(), Error> {
        let mut slot = self.slot.lock();
        let part = slot.as_mut().ok_or(Error::Superseded)?;
        let result = call(part);
        (self.position, self.durable) = (part.position(), part.durable());
        result
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(part) = self.slot.lock().take() {
            let kept = part.suspend();
            self.shared.lock().ledger.set(&self.part, kept);
        }
        self.shared.leave(&self.part, &self.slot);
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("part", &self.part.to_owned())
            .field("size", &self.size)
            .field("position", &self.position)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}
