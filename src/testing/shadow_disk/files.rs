use core::fmt;
use core::time::Duration;
use std::io;
use std::string::String;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use super::Barrier;
use super::state::State;

/// A folder in memory, with what programs see of it, and what a loss of power would leave.
///
/// What was not synchronised has reached the disk or not, each sector and each name by itself, but a
/// rename happens as a whole. Clones are of the same folder. An
/// [`Inbox`](crate::fs::Inbox) is opened on it with `InboxOptions::open_on`.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use duologue::fs::InboxOptions;
/// use duologue::testing::ShadowDisk;
/// use duologue::wire::{Digest, Offer};
///
/// let disk = ShadowDisk::new();
/// let inbox = InboxOptions::new().open_on(Arc::new(disk.clone()))?;
/// let mut receiver = inbox.receive(Some(b"peer"), &Offer::new("x").size(5))?;
/// receiver.write(&["hello".into()])?;
///
/// // The power fails; nothing had reached the disk.
/// assert_eq!(disk.crash(|_| false).names(), [""; 0]);
///
/// receiver.finish(5, Some(Digest::Blake3(*blake3::hash(b"hello").as_bytes())))?;
/// assert_eq!(disk.crash(|_| false).read("x"), Some(b"hello".to_vec()));
/// # Ok::<(), duologue::fs::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct ShadowDisk {
    state: Arc<Mutex<State>>,
    released: Arc<Condvar>,
}

impl ShadowDisk {
    /// An empty folder. A sector has 512 bytes, and there is room for everything.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how many bytes reach the disk together or not at all.
    #[must_use]
    pub fn sector(self, bytes: usize) -> Self {
        self.lock().sector = bytes;
        self
    }

    /// Sets how many bytes one call writes at most.
    #[must_use]
    pub fn longest_write(self, bytes: usize) -> Self {
        self.lock().longest_write = bytes.max(1);
        self
    }

    /// Says that it does something from now on, and does not.
    #[must_use]
    pub fn without(self, barrier: Barrier) -> Self {
        self.lock().ignored.push(barrier);
        self
    }

    /// Calls that were made of it.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Those of them that failed because they [were to](Self::fail), or because the power [had
    /// failed](Self::power_off_at).
    pub fn failed_calls(&self) -> u64 {
        self.lock().failed_calls
    }

    /// Lets `count` calls fail from the one with this number, from 0, on. A failed synchronisation
    /// loses what it was to write.
    pub fn fail(&self, from: u64, count: u64, kind: io::ErrorKind) {
        self.lock().add_fault(from, from.saturating_add(count), kind);
    }

    /// The power fails before the call with this number, from 0: it and all later ones fail.
    pub fn power_off_at(&self, call: u64) {
        self.lock().power_off_at(call);
    }

    /// No call fails any more.
    pub fn heal(&self) {
        self.lock().heal();
    }

    /// Lets whoever writes or synchronises a file wait until [`release`](Self::release), as a slow
    /// disk does.
    pub fn hold(&self) {
        self.lock().is_held = true;
    }

    /// Writes go on.
    pub fn release(&self) {
        self.lock().is_held = false;
        self.released.notify_all();
    }

    /// Calls that wait for [`release`](Self::release).
    pub fn held(&self) -> usize {
        self.lock().held
    }

    /// The state, once nothing is held.
    pub(super) fn lock_released(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.held = state.held.saturating_add(1);
        while state.is_held {
            state = self.released.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.held = state.held.saturating_sub(1);
        state
    }

    /// Sets how many bytes it says are free.
    pub fn set_free_space(&self, bytes: u64) {
        self.lock().free = bytes;
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        let mut state = self.lock();
        state.now = state.now.saturating_add(time);
    }

    /// How many things have been done that a loss of power may undo.
    pub fn pending(&self) -> usize {
        self.lock().pending()
    }

    /// What there is after a loss of power now. `pick` says of each thing that may be undone, by its
    /// number, whether it had reached the disk.
    pub fn crash(&self, pick: impl FnMut(usize) -> bool) -> Self {
        let after = self.lock().after_crash(pick);
        Self { state: Arc::new(Mutex::new(after)), released: Arc::default() }
    }

    /// What there is after the program alone was killed: all that it had handed to the system stays, as
    /// the system goes on to write it, but for what a failed synchronisation has lost. To kill it between
    /// two calls, let the power fail [there](Self::power_off_at) before.
    pub fn kill(&self) -> Self {
        self.crash(|_| true)
    }

    /// All paths, sorted.
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    /// The content of a file.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        let node = state.names.get(path).and_then(|node| state.nodes.get(node));
        node.filter(|node| !node.is_folder).map(|node| node.content.clone())
    }

    /// Somebody else makes, or changes, a file; it is on the disk.
    pub fn write(&self, path: &str, content: &[u8]) {
        let mut state = self.lock();
        let found = state.find(path).or_else(|_| state.link(path, false));
        if let Ok(node) = found {
            state.set_len(node, 0);
            state.write(node, 0, content);
            state.sync(node);
            let folder = super::state::parent(path);
            state.sync_folder(folder);
        }
    }
}

impl fmt::Debug for ShadowDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShadowDisk").field("names", &self.names()).finish_non_exhaustive()
    }
}
