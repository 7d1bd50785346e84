use std::borrow::ToOwned;
use std::collections::BTreeMap;
use std::io;
use std::string::{String, ToString};
use std::time::{Duration, SystemTime};
use std::vec::Vec;

/// Something that a [`ShadowDisk`](super::ShadowDisk) can say it has done, and not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Barrier {
    /// Synchronising a file of which the name ends so.
    Sync(&'static str),
    /// Synchronising folders.
    SyncFolder,
    /// Renaming without replacing: it replaces.
    NoReplace,
    /// Locking: everybody gets the lock.
    Lock,
}

pub(super) type Number = u64;

#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) is_folder: bool,
    /// What programs see.
    pub(super) content: Vec<u8>,
    /// What is on the disk for certain.
    durable: Vec<u8>,
    pub(super) locked_by: Option<u64>,
    pub(super) modified: Duration,
}

/// What is on its way to the disk: after a loss of power any of these has happened or not.
#[derive(Clone, Debug)]
enum Pending {
    Write { node: Number, offset: usize, bytes: Vec<u8> },
    Len { node: Number, len: usize },
    Link { path: String, node: Number },
    Unlink { path: String },
    Rename { from: String, to: String, node: Number },
}

#[derive(Clone, Debug)]
struct Fault {
    from: u64,
    until: u64,
    kind: io::ErrorKind,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) nodes: BTreeMap<Number, Node>,
    /// What programs see.
    pub(super) names: BTreeMap<String, Number>,
    /// What is on the disk for certain.
    durable_names: BTreeMap<String, Number>,
    pending: Vec<Pending>,
    next: u64,
    pub(super) calls: u64,
    pub(super) failed_calls: u64,
    faults: Vec<Fault>,
    /// The call at which the power fails.
    power_off_at: u64,
    pub(super) ignored: Vec<Barrier>,
    pub(super) sector: usize,
    pub(super) longest_write: usize,
    pub(super) free: u64,
    pub(super) now: Duration,
    /// Writes wait; how many do.
    pub(super) is_held: bool,
    pub(super) held: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            next: 0,
            calls: 0,
            failed_calls: 0,
            faults: Vec::new(),
            power_off_at: u64::MAX,
            ignored: Vec::new(),
            sector: 512,
            longest_write: usize::MAX,
            free: u64::MAX,
            now: Duration::from_secs(1_000_000_000),
            is_held: false,
            held: 0,
        }
    }
}

pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset.saturating_add(bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(place) = content.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

impl State {
    /// Counts a call, and fails it if it is to fail.
    pub(super) fn call(&mut self) -> io::Result<()> {
        let call = self.calls;
        self.calls = self.calls.saturating_add(1);
        let fault = self.faults.iter().find(|fault| (fault.from..fault.until).contains(&call));
        let kind = match fault {
            _ if self.is_off() => io::ErrorKind::Other,
            Some(fault) => fault.kind,
            None => return Ok(()),
        };
        self.failed_calls = self.failed_calls.saturating_add(1);
        Err(kind.into())
    }

    /// Whether the last call came when the power had failed.
    pub(super) fn is_off(&self) -> bool {
        self.calls > self.power_off_at
    }

    pub(super) fn power_off_at(&mut self, call: u64) {
        self.power_off_at = call;
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
    }

    pub(super) fn add_fault(&mut self, from: u64, until: u64, kind: io::ErrorKind) {
        self.faults.push(Fault { from, until, kind });
    }

    pub(super) fn fresh(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        self.next
    }

    pub(super) fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH.checked_add(self.now).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    pub(super) fn find(&self, path: &str) -> io::Result<Number> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn find_file(&self, path: &str) -> io::Result<Number> {
        let node = self.find(path)?;
        if self.nodes.get(&node).is_some_and(|node| node.is_folder) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(node)
    }

    pub(super) fn check_parent(&self, path: &str) -> io::Result<()> {
        let parent = parent(path);
        let node = if parent.is_empty() { None } else { Some(self.find(parent)?) };
        match node.and_then(|node| self.nodes.get(&node)) {
            Some(node) if !node.is_folder => Err(io::ErrorKind::NotADirectory.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn link(&mut self, path: &str, is_folder: bool) -> io::Result<Number> {
        self.check_parent(path)?;
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = self.fresh();
        let modified = self.now;
        self.nodes.insert(node, Node { is_folder, modified, ..Node::default() });
        self.names.insert(path.to_owned(), node);
        self.pending.push(Pending::Link { path: path.to_owned(), node });
        Ok(node)
    }

    pub(super) fn unlink(&mut self, path: &str) -> io::Result<()> {
        let node = self.find(path)?;
        if self.nodes.get(&node).is_some_and(|node| node.is_folder) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.names.remove(path);
        self.pending.push(Pending::Unlink { path: path.to_owned() });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, may_replace: bool) -> io::Result<()> {
        let node = self.find(from)?;
        self.check_parent(to)?;
        if let Some(found) = self.names.get(to).and_then(|found| self.nodes.get(found)) {
            if !may_replace {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if found.is_folder {
                return Err(io::ErrorKind::IsADirectory.into());
            }
        }
        self.names.remove(from);
        self.names.insert(to.to_owned(), node);
        let (from, to) = (from.to_owned(), to.to_owned());
        self.pending.push(Pending::Rename { from, to, node });
        Ok(())
    }

    pub(super) fn write(&mut self, number: Number, offset: usize, bytes: &[u8]) {
        let (now, sector) = (self.now, self.sector.max(1));
        let Some(node) = self.nodes.get_mut(&number) else { return };
        put(&mut node.content, offset, bytes);
        node.modified = now;
        // Cut where the disk's sectors end, as these are written or not.
        let (mut offset, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let room = sector.saturating_sub(offset.checked_rem(sector).unwrap_or(0));
            let (piece, behind) = rest.split_at(room.min(rest.len()));
            self.pending.push(Pending::Write { node: number, offset, bytes: piece.to_vec() });
            offset = offset.saturating_add(piece.len());
            rest = behind;
        }
    }

    pub(super) fn set_len(&mut self, number: Number, len: usize) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&number) else { return };
        if node.content.len() != len {
            node.content.resize(len, 0);
            node.modified = now;
            self.pending.push(Pending::Len { node: number, len });
        }
    }

    /// The name that a file has, if it has one.
    pub(super) fn name_of(&self, number: Number) -> String {
        let mut names = self.names.iter();
        let found = names.find(|(_, node)| **node == number);
        found.map_or_else(String::new, |(name, _)| name.to_string())
    }

    pub(super) fn sync(&mut self, number: Number) {
        let is_of = |pending: &Pending| match pending {
            Pending::Write { node, .. } | Pending::Len { node, .. } => *node == number,
            _ => false,
        };
        self.flush(is_of, true);
    }

    /// A synchronisation failed: what was to be written is lost, and nobody will try again.
    pub(super) fn lose(&mut self, number: Number) {
        let is_of = |pending: &Pending| match pending {
            Pending::Write { node, .. } | Pending::Len { node, .. } => *node == number,
            _ => false,
        };
        self.flush(is_of, false);
    }

    pub(super) fn sync_folder(&mut self, folder: &str) {
        let is_of = |pending: &Pending| match pending {
            Pending::Link { path, .. } | Pending::Unlink { path } => parent(path) == folder,
            Pending::Rename { to, .. } => parent(to) == folder,
            Pending::Write { .. } | Pending::Len { .. } => false,
        };
        // A rename takes along the making of the name that it removes.
        let moved: Vec<String> = self
            .pending
            .iter()
            .filter_map(|pending| match pending {
                Pending::Rename { from, to, .. } if parent(to) == folder => Some(from.clone()),
                _ => None,
            })
            .collect();
        self.flush(is_of, true);
        self.pending.retain(|pending| match pending {
            Pending::Link { path, .. } => !moved.contains(path),
            _ => true,
        });
    }

    fn flush(&mut self, is_of: impl Fn(&Pending) -> bool, is_kept: bool) {
        for pending in core::mem::take(&mut self.pending) {
            if !is_of(&pending) {
                self.pending.push(pending);
            } else if is_kept {
                self.apply(pending);
            }
        }
    }

    /// It has reached the disk.
    fn apply(&mut self, pending: Pending) {
        match pending {
            Pending::Write { node, offset, bytes } => {
                if let Some(node) = self.nodes.get_mut(&node) {
                    put(&mut node.durable, offset, &bytes);
                }
            }
            Pending::Len { node, len } => {
                if let Some(node) = self.nodes.get_mut(&node) {
                    node.durable.resize(len, 0);
                }
            }
            Pending::Link { path, node } => {
                self.durable_names.insert(path, node);
            }
            Pending::Unlink { path } => {
                self.durable_names.remove(&path);
            }
            Pending::Rename { from, to, node } => {
                if self.durable_names.get(&from) == Some(&node) {
                    self.durable_names.remove(&from);
                }
                self.durable_names.insert(to, node);
            }
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What is there after a loss of power, of which `pick` says what had reached the disk.
    pub(super) fn after_crash(&self, mut pick: impl FnMut(usize) -> bool) -> Self {
        let mut after = self.clone();
        for (index, pending) in core::mem::take(&mut after.pending).into_iter().enumerate() {
            if pick(index) {
                after.apply(pending);
            }
        }
        for node in after.nodes.values_mut() {
            node.content.clone_from(&node.durable);
            node.locked_by = None;
        }
        let names = core::mem::take(&mut after.durable_names);
        for (path, node) in names {
            // Sorted, so that a folder comes before what is in it.
            let folder = parent(&path);
            if folder.is_empty() || after.names_folder(folder) {
                after.durable_names.insert(path, node);
            }
        }
        after.names.clone_from(&after.durable_names);
        after.faults.clear();
        after.power_off_at = u64::MAX;
        after.calls = 0;
        after.failed_calls = 0;
        after
    }

    fn names_folder(&self, path: &str) -> bool {
        let node = self.durable_names.get(path).and_then(|node| self.nodes.get(node));
        node.is_some_and(|node| node.is_folder)
    }
}
