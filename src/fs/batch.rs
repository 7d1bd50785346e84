use core::cell::Cell;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashMap;
use std::io;
use std::string::ToString;
use std::sync::Arc;

use super::inbox::Inbox;
use super::known_folders;
use super::name::{FileName, RelativePath, numbered_name};
use super::options::Collision;
use super::part_id::{Scope, fresh_name};
use super::receiver::{Budget, Incoming, Published, Receiver};
use super::store::{Status, StatusKind};
use super::stored_files::Key;
use super::turn::{OpenBatch, Turn};
use super::{Action, Error, PartFile};
use crate::wire::{Batch, Digest, Offer};

/// A batch that is being received: [`Inbox::receive_batch`] makes it, and its folder.
///
/// A member that fails harms no other. Members begin at 0, as they are accepted before they are
/// known; those that are [there already](Member::Known) end at once.
///
/// # Examples
///
/// ```
/// use duologue::fs::{Error, Inbox, Member};
/// use duologue::wire::{Batch, Digest, Offer, Side, TransferId};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// let inbox = Inbox::open(folder)?;
/// let batch = Batch { name: "photos".into(), count: 1, bytes: 3, metadata: [][..].into() };
/// let mut batch = inbox.receive_batch(None, &batch)?;
///
/// let id = TransferId::new(Side::Client, 1).unwrap();
/// let offer = Offer::new("2026/one.jpg").size(3).batch(id);
/// let Member::File(mut file) = batch.receive(&offer)? else { unreachable!() };
/// file.write(&["jpg".into()])?;
/// let published = file.publish(3, Some(Digest::Blake3(*blake3::hash(b"jpg").as_bytes())))?;
///
/// // Members that end at about the same time share the work.
/// inbox.settle(&[published])?;
/// assert!(folder.join("photos/2026/one.jpg").exists());
/// # Ok::<(), Error>(())
/// ```
pub struct BatchReceiver {
    inbox: Inbox,
    scope: Scope,
    folder: RelativePath,
    open: OpenBatch,
    /// Something may be in it from before.
    goes_on: bool,
    /// What it is to be known by again, until that is noted.
    unnoted: Option<Key>,
    /// Another folder may be noted in its place.
    is_unclear: bool,
    count: u32,
    members: u32,
    budget: Arc<Budget>,
    /// What each path, its case aside, stands for.
    seen: HashMap<[u8; 16], Seen>,
}

/// A member of a batch.
#[derive(Debug)]
pub enum Member {
    /// A file, to be received.
    File(Receiver),
    /// A folder: it is there.
    Folder(Published),
    /// A file whose content is there already, under its name: the verdict is
    /// [`KNOWN`](crate::wire::TransferCode::KNOWN) with its path, once it is
    /// [settled](Inbox::settle).
    Known(Published),
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// How it is spelled.
    spelling: [u8; 8],
    is_folder: bool,
}

impl Seen {
    fn new(path: &RelativePath, is_folder: bool) -> ([u8; 16], Self) {
        let (mut key, mut spelling) = ([0; 16], [0; 8]);
        blake3::Hasher::new().update(path.folded().as_bytes()).finalize_xof().fill(&mut key);
        blake3::Hasher::new().update(path.as_str().as_bytes()).finalize_xof().fill(&mut spelling);
        (key, Self { spelling, is_folder })
    }
}

/// A member whose name and size are in order.
pub(super) enum Admitted {
    Folder(Published),
    File(Entry),
}

/// A file of a batch that is not begun yet.
pub(super) struct Entry {
    inbox: Inbox,
    scope: Scope,
    path: RelativePath,
    key: [u8; 16],
    /// Something may be in the folder from before.
    goes_on: bool,
    budget: Arc<Budget>,
    turn: Option<Turn>,
}

impl Entry {
    /// Whether it is stored already; if not it may be received, as far as its name goes.
    /// It is looked at for as long as somebody waits for it.
    pub(super) fn is_known(
        &self,
        offer: &Offer<'_>,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<bool, Error> {
        // What has the name, once it was seen to be another file.
        let other = Cell::new(None);
        let look = || self.is_there(offer, &other, is_given_up);
        let is_there = || if self.goes_on { look() } else { Ok(false) };
        if self.inbox.shared().settings.collision == Collision::Number {
            return Ok(is_there() == Ok(true));
        }
        let Some(turn) = &self.turn else {
            return self.inbox.check_free(&self.path, is_there);
        };
        // What is on its way still is not to replace it.
        match turn.store(|| Ok(self.inbox.check_free(&self.path, is_there)?.then_some(()))) {
            // It may be the very file.
            Err(Error::Outdated) => look().and_then(|is_there| {
                // Without a size and a digest that is seen once it is received.
                let may_come = is_there || offer.size.is_none() || offer.digest.is_none();
                if may_come { Ok(is_there) } else { Err(Error::Outdated) }
            }),
            known => Ok(known?.is_some()),
        }
    }

    /// Whether what is offered is stored already: its content is read, unless that was done.
    fn is_there(
        &self,
        offer: &Offer<'_>,
        other: &Cell<Option<Status>>,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<bool, Error> {
        let (Some(size), Some(Digest::Blake3(digest))) = (offer.size, offer.digest) else {
            return Ok(false);
        };
        let (shared, path) = (self.inbox.shared(), self.path.as_str());
        let named = shared.store.status_if_there(path).map_err(Error::storage(Action::Inspect))?;
        let was_read = other.take();
        if named.is_none() || named == was_read {
            other.set(was_read);
            return Ok(false);
        }
        let is_there = shared.holds(path, (size, &digest), &mut 1, is_given_up)?;
        other.set(named.filter(|_| !is_there));
        Ok(is_there)
    }

    /// Begins to receive it, unless that need not be done.
    pub(super) fn begin(self, offer: &Offer<'_>, is_known: bool) -> Result<Member, Error> {
        if is_known {
            return Ok(Member::Known(Published { is_known, ..Published::new(self.path) }));
        }
        let Self { inbox, scope, path: target, budget, turn, .. } = self;
        let (part, budget) = (fresh_name(), Some(budget));
        let incoming = Incoming { part, scope, target, budget, key: None, turn };
        inbox.begin(None, offer, incoming).map(Member::File)
    }
}

impl BatchReceiver {
    pub(super) fn create(
        (inbox, open): (Inbox, OpenBatch),
        identity: Option<&[u8]>,
        batch: &Batch<'_>,
        name: &FileName,
    ) -> Result<Self, Error> {
        let settings = &inbox.shared().settings;
        let max = settings.max_members;
        if batch.count > max {
            return Err(Error::TooMany { max });
        }
        let max = settings.quota.min(settings.quota_per_identity);
        if batch.bytes > max {
            return Err(Error::Quota { max });
        }
        let scope = Scope::new(identity);
        let key = known_folders::key(&inbox, identity, batch, name);
        let shared = Arc::clone(inbox.shared());
        // Who offers the same meanwhile waits until it is noted.
        let _folders = shared.lock_folders();
        let known = key.map_or(Ok(None), |key| known_folders::find(&inbox, &key));
        let is_unclear = known.is_err();
        let (folder, goes_on) = match known {
            Ok(Some(_)) if !known_folders::has_digests(batch) => return Err(Error::KnownInPart),
            Ok(Some(folder)) => {
                // Who made it may have ended before it was synchronised.
                inbox.shared().created_in(folder.parent().to_string())?;
                (folder, true)
            }
            Ok(None) => (create_folder(&inbox, name)?, false),
            Err(error) => {
                let created = create_folder(&inbox, name);
                (created.map_err(|taken| taken.or_unclear(Some(error)))?, false)
            }
        };
        let budget = Budget { left: AtomicU64::new(batch.bytes), max: batch.bytes };
        let mut receiver = Self {
            inbox,
            scope,
            folder,
            open,
            goes_on,
            unnoted: key.filter(|_| !goes_on),
            is_unclear,
            count: batch.count,
            members: 0,
            budget: Arc::new(budget),
            seen: HashMap::new(),
        };
        if !is_unclear {
            receiver.note();
        }
        Ok(receiver)
    }

    /// The folder, in the inbox: what the sender is told in the batch's verdict.
    pub fn path(&self) -> &RelativePath {
        &self.folder
    }

    /// Begins to receive a member.
    ///
    /// # Errors
    ///
    /// [`Error`], whose [`code`](Error::code) is for the member's VERDICT. Names that differ in case
    /// only are [`Error::Exists`], and so is a file beneath another.
    pub fn receive(&mut self, offer: &Offer<'_>) -> Result<Member, Error> {
        match self.admit(offer)? {
            Admitted::Folder(published) => Ok(Member::Folder(published)),
            Admitted::File(entry) => match entry.is_known(offer, &|| false) {
                Ok(is_known) => entry.begin(offer, is_known),
                Err(error) => {
                    self.retract(&entry);
                    Err(error)
                }
            },
        }
    }

    /// The first half of [`receive`](Self::receive): what concerns other members. A file is still to be
    /// looked for, which takes as long as it is, and then [begun](Entry::begin) or
    /// [retracted](Self::retract).
    pub(super) fn admit(&mut self, offer: &Offer<'_>) -> Result<Admitted, Error> {
        self.note();
        self.members = self.members.saturating_add(1);
        if self.members > self.count {
            return Err(Error::TooMany { max: self.count });
        }
        let own = RelativePath::new(&offer.name).map_err(Error::FileName)?;
        self.inbox.check_special(own.is_special())?;
        let path =
            RelativePath::beneath(self.folder.as_str(), own.as_str()).map_err(Error::FileName)?;
        let (left, max) = (self.budget.left.load(Ordering::Relaxed), self.budget.max);
        if offer.size.is_some_and(|size| size > left) {
            return Err(Error::TooLarge { max });
        }
        self.create_parents(&path)?;
        if offer.is_directory {
            self.create_one(&path)?;
            return Ok(Admitted::Folder(Published::new(path)));
        }
        self.inbox.check_offer(offer)?;
        let (key, seen) = Seen::new(&path, false);
        if self.seen.contains_key(&key) {
            return Err(Error::Exists);
        }
        self.seen.insert(key, seen);
        Ok(Admitted::File(Entry {
            inbox: self.inbox.clone(),
            scope: self.scope,
            turn: self.open.turn(&path),
            goes_on: self.goes_on,
            budget: Arc::clone(&self.budget),
            path,
            key,
        }))
    }

    /// Forgets a member that came to nothing before it was begun.
    pub(super) fn retract(&mut self, entry: &Entry) {
        self.seen.remove(&entry.key);
    }

    /// Makes the batch's folder stay, even if it got no member. Before a batch's verdict.
    ///
    /// # Errors
    ///
    /// Those of [`Inbox::settle`].
    pub fn finish(&self) -> Result<RelativePath, Error> {
        let published = Published::new(self.folder.clone());
        self.inbox.settle(core::slice::from_ref(&published))?;
        Ok(published.path)
    }

    /// Notes the folder, so that it can be gone on with. A disk that fails is asked again with the next
    /// member.
    fn note(&mut self) {
        let Some(key) = &self.unnoted else { return };
        if self.is_unclear {
            match known_folders::find(&self.inbox, key) {
                // What is noted of another one stays.
                Ok(Some(found)) if found != self.folder => self.unnoted = None,
                // What is noted of this one may not have reached the disk.
                Ok(_) => self.is_unclear = false,
                Err(_) => {}
            }
        }
        let Some(key) = self.unnoted.as_ref().filter(|_| !self.is_unclear) else { return };
        match known_folders::note(&self.inbox, key, self.budget.max, &self.folder) {
            Ok(()) => self.unnoted = None,
            Err(_) => self.is_unclear = true,
        }
    }

    fn create_parents(&mut self, path: &RelativePath) -> Result<(), Error> {
        let beneath = self.folder.as_str().len().saturating_add(1);
        let ends = path.as_str().match_indices('/').map(|(end, _)| end);
        for end in ends.filter(|&end| end > beneath) {
            let parent = path.as_str().get(..end).unwrap_or_default();
            self.create_one(&RelativePath::new(parent).map_err(Error::FileName)?)?;
        }
        Ok(())
    }

    fn create_one(&mut self, path: &RelativePath) -> Result<(), Error> {
        let (key, seen) = Seen::new(path, true);
        match self.seen.get(&key) {
            Some(found) if *found == seen => return Ok(()),
            Some(_) => return Err(Error::Exists),
            None => {}
        }
        make(&self.inbox, path, true)?;
        self.seen.insert(key, seen);
        Ok(())
    }
}

/// Creates the folder of a batch, as the collision policy says.
fn create_folder(inbox: &Inbox, name: &FileName) -> Result<RelativePath, Error> {
    let collision = inbox.shared().settings.collision;
    let numbers = if collision == Collision::Number { PartFile::MAX_NUMBER } else { 0 };
    for number in 0..=numbers {
        let Some(candidate) = numbered_name(name.as_str(), number) else { break };
        let path = RelativePath::new(&candidate).map_err(Error::FileName)?;
        match make(inbox, &path, collision == Collision::Replace) {
            Err(Error::Exists) if collision == Collision::Number => {}
            made => return made.map(|()| path),
        }
    }
    Err(Error::Collisions)
}

fn make(inbox: &Inbox, path: &RelativePath, may_be_there: bool) -> Result<(), Error> {
    let shared = inbox.shared();
    let parent = path.parent().to_string();
    match shared.store.create_folder(path.as_str()) {
        Ok(()) => shared.created_in(parent),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !may_be_there {
                return Err(Error::Exists);
            }
            // A disk that fails says nothing of the name.
            let found = shared.store.status(path.as_str());
            let found = found.map_err(Error::storage(Action::Inspect))?;
            if found.kind != StatusKind::Folder {
                return Err(Error::Exists);
            }
            // Who made it may have ended before it was synchronised.
            shared.created_in(parent)
        }
        Err(error) => Err(Error::storage(Action::CreateFolder)(error)),
    }
}

impl fmt::Debug for BatchReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchReceiver")
            .field("count", &self.count)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}
