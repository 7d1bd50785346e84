use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use super::store::Store;
use super::{Error, Inbox};

/// What is done when a name is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Collision {
    /// The offer is refused, or fails in the end if the name was taken meanwhile. A batch's folder
    /// must be new, too.
    Refuse,
    /// `name (1).ext`, then `name (2).ext`, and so on to 999; the folder of a batch likewise.
    #[default]
    Number,
    /// The file is replaced, at once and by the whole new one. The files of a batch go into the
    /// folder that is there. A folder is never replaced, nor a file by one, nor what was taken later of the
    /// same peer's offers by what was taken before ([`Error::Outdated`]): with
    /// [`receive`](super::receive) when it was polled first.
    Replace,
}

/// What survives a loss of power, as far as the disk keeps its word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Files that are reported as stored, with their names, and bytes that are reported as durable.
    #[default]
    Full,
    /// The same, but names are not synchronised: a file may come back under its temporary name, or
    /// not at all.
    Data,
    /// Nothing is synchronised. A program may be killed, but power may not fail.
    NoSync,
}

/// How an [`Inbox`] is to receive.
///
/// # Examples
///
/// ```
/// use duologue::fs::{Collision, InboxOptions};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// let inbox = InboxOptions::new()
///     .collision(Collision::Refuse)
///     .max_file_size(1 << 30)
///     .quota_per_identity(10 << 30)
///     .open(folder)?;
/// # Ok::<(), duologue::fs::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct InboxOptions {
    pub(super) settings: Settings,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) collision: Collision,
    pub(super) durability: Durability,
    pub(super) max_file_size: u64,
    pub(super) quota_per_identity: u64,
    pub(super) quota: u64,
    pub(super) keep_free: u64,
    pub(super) keep_parts_for: Duration,
    pub(super) has_anonymous_parts: bool,
    pub(super) takes_special_names: bool,
    pub(super) requires_digest: bool,
    pub(super) sync_every: u64,
    pub(super) max_members: u32,
    /// Offsets that are proposed are multiples of it.
    pub(super) alignment: u64,
    /// Offers that were stored and are remembered.
    pub(super) notes: u64,
    pub(super) layers: Layers,
}

/// What protects a file twice; tests switch one off to see that it is missed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layers {
    pub(super) final_sync: bool,
    pub(super) journal_check: bool,
    pub(super) prefix_check: bool,
    pub(super) digest_check: bool,
}

/// A layer that a test can switch off.
#[cfg(feature = "testing")]
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layer {
    /// The part is synchronised before it gets its name.
    FinalSync,
    /// A journal's record has a check.
    JournalCheck,
    /// What is there of a part is compared with what the journal says.
    PrefixCheck,
    /// The content is compared with its digest.
    DigestCheck,
}

impl Default for InboxOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl InboxOptions {
    /// The defaults, which each method names.
    pub fn new() -> Self {
        let settings = Settings {
            collision: Collision::default(),
            durability: Durability::default(),
            max_file_size: 64 << 30,
            quota_per_identity: 64 << 30,
            quota: 256 << 30,
            keep_free: 256 << 20,
            keep_parts_for: Duration::from_secs(7 * 24 * 60 * 60),
            has_anonymous_parts: false,
            takes_special_names: false,
            requires_digest: true,
            sync_every: 16 << 20,
            max_members: 65_536,
            alignment: 1 << 20,
            notes: 4096,
            layers: Layers {
                final_sync: true,
                journal_check: true,
                prefix_check: true,
                digest_check: true,
            },
        };
        Self { settings }
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self
    }

    /// What is done when a name is taken: [`Collision::Number`].
    #[must_use]
    pub fn collision(self, collision: Collision) -> Self {
        self.set(|settings| settings.collision = collision)
    }

    /// What survives a loss of power: [`Durability::Full`].
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        self.set(|settings| settings.durability = durability)
    }

    /// Most bytes of one file: 64 GiB.
    #[must_use]
    pub fn max_file_size(self, bytes: u64) -> Self {
        self.set(|settings| settings.max_file_size = bytes)
    }

    /// Most bytes from one peer: 64 GiB. What was stored counts for as long as the inbox is open,
    /// parts that are kept as well, and of a file on its way all that was announced. Peers without
    /// an identity count as one.
    #[must_use]
    pub fn quota_per_identity(self, bytes: u64) -> Self {
        self.set(|settings| settings.quota_per_identity = bytes)
    }

    /// As [`quota_per_identity`](Self::quota_per_identity), of all peers together: 256 GiB.
    #[must_use]
    pub fn quota(self, bytes: u64) -> Self {
        self.set(|settings| settings.quota = bytes)
    }

    /// Bytes that stay free on the disk: 256 MiB.
    #[must_use]
    pub fn keep_free(self, bytes: u64) -> Self {
        self.set(|settings| settings.keep_free = bytes)
    }

    /// How long an unfinished part is kept, so that its transfer can go on: 7 days. Zero keeps none.
    /// [`Inbox::clean`] removes those that are older.
    ///
    /// For as long it is known, of the last 4096 files or so, that they were stored, if their sender
    /// never heard of that and offers them again. An offer without a size is not known again: it is of
    /// one more file, on whose name the [collision policy](Collision) decides.
    #[must_use]
    pub fn keep_parts_for(self, time: Duration) -> Self {
        self.set(|settings| settings.keep_parts_for = time)
    }

    /// Whether peers without an identity share their parts: no. If they do, whoever makes the same
    /// offer learns how much of it is there, or that it was stored, and goes on with it.
    #[must_use]
    pub fn anonymous_parts(self, shared: bool) -> Self {
        self.set(|settings| settings.has_anonymous_parts = shared)
    }

    /// Whether names are taken that programs treat specially, `.bashrc` say: no. See
    /// [`NameError::Special`](super::NameError::Special).
    #[must_use]
    pub fn special_names(self, taken: bool) -> Self {
        self.set(|settings| settings.takes_special_names = taken)
    }

    /// Whether a file without a digest fails: yes.
    #[must_use]
    pub fn require_digest(self, required: bool) -> Self {
        self.set(|settings| settings.requires_digest = required)
    }

    /// Bytes of a file after which it is written through to the disk, and its journal kept: 16 MiB,
    /// at least 4 KiB. A shorter file has none, unless it takes longer than a second to
    /// come ([`receive`](super::receive)) or [somebody wants it](super::Receiver::checkpoint). Only
    /// whole MiB count.
    #[must_use]
    pub fn sync_every(self, bytes: u64) -> Self {
        self.set(|settings| settings.sync_every = bytes.max(4096))
    }

    /// Most members of a batch: 65 536. One takes about 32 bytes until the batch ends.
    #[must_use]
    pub fn max_members(self, members: u32) -> Self {
        self.set(|settings| settings.max_members = members)
    }

    /// Opens an inbox in a folder, which must exist.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub fn open(self, folder: impl AsRef<Path>) -> Result<Inbox, Error> {
        Inbox::on_disk(folder.as_ref(), self.settings)
    }

    /// Opens an inbox on another kind of disk.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    #[doc(hidden)]
    pub fn open_on(self, store: Arc<dyn Store>) -> Result<Inbox, Error> {
        Inbox::on_store(store, self.settings)
    }

    /// Proposes other offsets than multiples of 1 MiB, so that small files show what large ones do.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    #[must_use]
    pub fn alignment(self, bytes: u64) -> Self {
        self.set(|settings| {
            settings.alignment = bytes.max(1);
            settings.sync_every = bytes.max(1);
            settings.notes = 4;
        })
    }

    /// Remembers so many offers that were stored.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    #[must_use]
    pub fn notes(self, places: u64) -> Self {
        self.set(|settings| settings.notes = places)
    }

    /// Switches a layer off.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    #[must_use]
    pub fn without(self, layer: Layer) -> Self {
        self.set(|settings| match layer {
            Layer::FinalSync => settings.layers.final_sync = false,
            Layer::JournalCheck => settings.layers.journal_check = false,
            Layer::PrefixCheck => settings.layers.prefix_check = false,
            Layer::DigestCheck => settings.layers.digest_check = false,
        })
    }
}
