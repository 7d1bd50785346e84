//! Folders and files that are offered again while earlier tries are on their way, in any order, to a disk
//! that fails and loses power: what was confirmed stays, and an older one never takes its place.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use duologue::fs::{
    BatchReceiver, Collision, Durability, Error, Inbox, InboxOptions, Member, Published, Receiver,
    RelativePath,
};
use duologue::testing::{Pattern, ShadowDisk};
use duologue::wire::{Batch, Digest, Offer, Side, TransferId};

use super::{BLOCK, digest};

const PEERS: [Option<&[u8]>; 3] = [Some(b"peer"), Some(b"other"), None];
const FILES: [&str; 4] = ["x", "x (1)", "y.txt", "b"];
const MEMBERS: [&str; 8] = ["m", "m (1)", "d/m", "d", "M", "d/e/m", ".m", "d/../m"];
const KINDS: [ErrorKind; 4] = [
    ErrorKind::Other,
    ErrorKind::PermissionDenied,
    ErrorKind::StorageFull,
    ErrorKind::AlreadyExists,
];
/// Bytes of a content, by its number.
const LENGTHS: [usize; 4] = [0, 40, 150, 400];

/// A file on its way.
struct Running {
    receiver: Receiver,
    content: Bytes,
    peer: usize,
    order: u64,
}

struct Folder {
    batch: BatchReceiver,
    has_digests: bool,
    peer: usize,
    order: u64,
}

struct World {
    disk: ShadowDisk,
    durability: Durability,
    policy: u8,
    inbox: Inbox,
    folders: Vec<Folder>,
    running: Vec<Running>,
    order: u64,
    /// What was confirmed: its content, and whose and which offer that was.
    confirmed: BTreeMap<String, (Bytes, usize, u64)>,
    /// A disk that fails makes no promise good.
    is_faulty: bool,
}

/// Each two bytes are something that happens.
pub(super) fn run(sector: u8, policy: u8, steps: &[u8]) {
    let disk = ShadowDisk::new().sector(usize::from(sector).max(8));
    let inbox = open(&disk, policy).expect("it is well");
    let mut world = World {
        disk,
        durability: durability(policy),
        policy,
        inbox,
        folders: Vec::new(),
        running: Vec::new(),
        order: 0,
        confirmed: BTreeMap::new(),
        is_faulty: false,
    };
    for step in steps.chunks_exact(2).take(100) {
        world.step(step[0], step[1]);
        world.check();
    }
}

fn collision(policy: u8) -> Collision {
    [Collision::Number, Collision::Refuse, Collision::Replace][usize::from(policy % 3)]
}

fn durability(policy: u8) -> Durability {
    [Durability::Full, Durability::Full, Durability::Data, Durability::NoSync]
        [usize::from(policy >> 2 & 3)]
}

fn open(disk: &ShadowDisk, policy: u8) -> Result<Inbox, Error> {
    let options = InboxOptions::new().alignment(BLOCK).keep_free(0).anonymous_parts(true);
    let options = options.collision(collision(policy)).durability(durability(policy));
    let options = if policy & 0x10 == 0 { options } else { options.quota(1500) };
    let options = if policy & 0x20 == 0 { options } else { options.require_digest(false) };
    options.open_on(Arc::new(disk.clone()))
}

fn content(number: u8) -> Bytes {
    let len = LENGTHS[usize::from(number & 3)];
    Pattern::new(u64::from(number >> 2 & 1) + 20).bytes(0, len)
}

/// What an error says fits on one line, and can be told.
fn show(error: &Error) {
    super::super::program::show(error);
    assert!(!error.code().to_string().is_empty());
    assert!(!std::io::Error::from(error.clone()).to_string().is_empty());
    let _ = error.can_retry();
}

impl World {
    fn step(&mut self, what: u8, with: u8) {
        match what & 15 {
            0 => self.begin_folder(with),
            1 | 2 => self.begin_member(what >> 4, with),
            3 => self.begin_file(what >> 4, with),
            4 | 5 => self.write(with),
            6 | 7 => self.publish(what >> 4, with),
            8 => self.leave(what >> 4, with),
            9 => {
                let kind = KINDS[usize::from(what >> 4 & 3)];
                let from = self.disk.calls() + u64::from(with >> 2);
                self.disk.fail(from, u64::from(with & 3) + 1, kind);
                self.is_faulty = true;
            }
            10 => self.meddle(what >> 4, with),
            11 => self.end_folder(with),
            12 => {
                self.disk.heal();
                self.disk.advance(Duration::from_secs(86_400 * u64::from(with >> 4)));
                if with & 1 != 0 {
                    let _ = self.inbox.clean();
                }
            }
            13 => self.spoil(what >> 4, with),
            14 => self.start_again(self.disk.crash(|index| with >> (index % 8) & 1 == 1)),
            _ => self.start_again(self.disk.kill()),
        }
    }

    fn batch(with: u8, metadata: &'static [u8]) -> Batch<'static> {
        let bytes = if with & 0x10 == 0 { 1000 } else { 300 };
        let count = if with & 0x40 == 0 { 5 } else { 1 << 20 };
        let name = if with & 0x80 == 0 { "b" } else { "x" };
        Batch { name: name.into(), count, bytes, metadata: metadata.into() }
    }

    fn begin_folder(&mut self, with: u8) {
        let peer = usize::from(with & 3) % PEERS.len();
        let asks: &[u8] = if with & 0x20 == 0 { b"duologue folder 1" } else { b"" };
        let mut has_digests = false;
        let mut begun = self.inbox.receive_batch(PEERS[peer], &Self::batch(with, asks));
        if begun.as_ref().err() == Some(&Error::KnownInPart) {
            has_digests = true;
            let again = Self::batch(with, b"duologue folder 1 digests");
            begun = self.inbox.receive_batch(PEERS[peer], &again);
        }
        match begun {
            Ok(batch) => {
                self.order += 1;
                assert!(!format!("{batch:?}").is_empty());
                self.folders.push(Folder { batch, has_digests, peer, order: self.order });
            }
            Err(error) => show(&error),
        }
        if self.folders.len() > 3 {
            self.folders.remove(0);
        }
    }

    fn begin_member(&mut self, how: u8, with: u8) {
        let Some(at) = usize::from(how & 3).checked_rem(self.folders.len()) else { return };
        let folder = &mut self.folders[at];
        let content = content(with >> 3);
        let id = TransferId::new(Side::Client, 1).expect("it is one");
        let mut offer = Offer::new(MEMBERS[usize::from(with & 7)]).batch(id);
        if how & 4 == 0 {
            offer = offer.size(content.len() as u64);
        }
        if folder.has_digests {
            offer.digest = Some(digest(&content));
        }
        if how & 8 != 0 && with & 0x80 != 0 {
            offer = offer.directory();
        }
        let (peer, order) = (folder.peer, folder.order);
        match folder.batch.receive(&offer) {
            Ok(Member::File(receiver)) => self.run(Running { receiver, content, peer, order }),
            Ok(Member::Folder(folder)) => drop(self.inbox.settle(&[folder])),
            Ok(Member::Known(known)) => self.confirm(known, content, peer, order),
            Err(error) => show(&error),
        }
    }

    fn begin_file(&mut self, how: u8, with: u8) {
        let peer = usize::from(how & 3) % PEERS.len();
        let content = content(with >> 2);
        let mut offer = Offer::new(FILES[usize::from(with & 3)]).modified(u64::from(with >> 4 & 1));
        if how & 4 == 0 {
            offer = offer.size(content.len() as u64);
        }
        match with >> 5 {
            1 => offer.digest = Some(digest(&content)),
            2 => offer.digest = Some(Digest::Sha256([7; 32])),
            3 => offer = offer.directory(),
            _ => {}
        }
        self.order += 1;
        let order = self.order;
        match self.inbox.receive(PEERS[peer], &offer) {
            Ok(mut receiver) => {
                assert_eq!(receiver.path().as_str(), offer.name);
                // As an honest sender does.
                let differs = |&(at, found): &(u64, Digest)| {
                    content.get(..at as usize).is_none_or(|start| digest(start) != found)
                };
                if receiver.prefix().as_ref().is_some_and(differs) {
                    if let Err(error) = receiver.restart() {
                        return show(&error);
                    }
                }
                self.run(Running { receiver, content, peer, order });
            }
            Err(error) => show(&error),
        }
    }

    fn run(&mut self, running: Running) {
        self.running.push(running);
        if self.running.len() > 4 {
            self.running.remove(0);
        }
    }

    fn chosen(&self, with: u8) -> Option<usize> {
        usize::from(with & 3).checked_rem(self.running.len())
    }

    fn write(&mut self, with: u8) {
        let Some(at) = self.chosen(with) else { return };
        let Running { receiver, content, .. } = &mut self.running[at];
        let start = content.len().min(receiver.position() as usize);
        let end = content.len().min(start + usize::from(with >> 2) * 8);
        let mut chunks = vec![content.slice(start..end)];
        if with & 0x80 != 0 {
            chunks = vec![content.slice(start..)];
        }
        if with & 0xC0 == 0x40 && with & 0x20 != 0 {
            chunks.push(Bytes::from_static(&[1; 700]));
        }
        if let Err(error) = receiver.write(&chunks) {
            show(&error);
        }
    }

    fn publish(&mut self, how: u8, with: u8) {
        let Some(at) = self.chosen(with) else { return };
        let Running { mut receiver, content, peer, order } = self.running.remove(at);
        let start = content.len().min(receiver.position() as usize);
        if how & 8 == 0 && start < content.len() {
            if let Err(error) = receiver.write(&[content.slice(start..)]) {
                show(&error);
            }
        }
        let said = match with >> 2 & 7 {
            0 => Some(Digest::Sha256([1; 32])),
            1 => None,
            2 => Some(digest(b"another")),
            _ => Some(digest(&content)),
        };
        match receiver.publish(content.len() as u64, said) {
            Ok(published) => self.confirm(published, content, peer, order),
            Err(error) => show(&error),
        }
    }

    /// Something is there; once it is settled that is what its sender is told.
    fn confirm(&mut self, published: Published, content: Bytes, peer: usize, order: u64) {
        let path = published.path().to_string();
        if self.policy & 0x20 == 0 {
            assert_eq!(self.disk.read(&path).as_deref(), Some(&*content), "{path}");
        }
        if let Err(error) = self.inbox.settle(&[published]) {
            self.confirmed.remove(&path);
            return show(&error);
        }
        let before = self.confirmed.get(&path);
        // Whoever has no identity may be anybody.
        let is_newer = |&(ref found, of, which): &(Bytes, usize, u64)| {
            of == peer && PEERS[peer].is_some() && which > order && *found != content
        };
        assert!(!before.is_some_and(is_newer), "{path} is older than what it replaced");
        self.confirmed.insert(path, (content, peer, order));
    }

    fn leave(&mut self, how: u8, with: u8) {
        let Some(at) = self.chosen(with) else { return };
        let receiver = &mut self.running[at].receiver;
        let left = match how & 7 {
            0 => receiver.detach(),
            1 => receiver.reattach(),
            2 => receiver.restart(),
            3 => receiver.checkpoint(),
            4 => {
                self.running.remove(at).receiver.suspend();
                Ok(())
            }
            _ => {
                self.running.remove(at).receiver.discard();
                Ok(())
            }
        };
        if let Err(error) = left {
            show(&error);
        }
    }

    /// Somebody else does something to a name.
    fn meddle(&mut self, how: u8, with: u8) {
        let members = MEMBERS.iter().take(4).map(|name| format!("b/{name}"));
        let names: Vec<String> = FILES.iter().map(ToString::to_string).chain(members).collect();
        let path = &names[usize::from(with & 7)];
        if RelativePath::new(path).is_err() {
            return;
        }
        self.disk.heal();
        self.confirmed.remove(path);
        match how & 3 {
            0 | 1 => self.disk.write(path, &content(with >> 3)),
            2 => drop(duologue::fs::store::Store::remove(&self.disk, path)),
            _ => drop(duologue::fs::store::Store::create_folder(&self.disk, path)),
        }
    }

    fn end_folder(&mut self, with: u8) {
        let Some(at) = usize::from(with & 3).checked_rem(self.folders.len()) else { return };
        let folder = self.folders.remove(at);
        match folder.batch.finish() {
            Ok(path) => assert_eq!(&path, folder.batch.path()),
            Err(error) => show(&error),
        }
    }

    /// Something happens to a file of ours, while nothing is on its way.
    fn spoil(&mut self, how: u8, with: u8) {
        if !self.running.is_empty() {
            return;
        }
        let ours = self.disk.names().into_iter().filter(|name| name.starts_with(".duologue-"));
        let ours: Vec<String> = ours.collect();
        let Some(at) = usize::from(with & 7).checked_rem(ours.len()) else { return };
        let mut bytes = self.disk.read(&ours[at]).unwrap_or_default();
        match how & 3 {
            0 => bytes.truncate(usize::from(with)),
            1 => bytes.iter_mut().step_by(7).for_each(|byte| *byte ^= with | 1),
            2 => bytes.resize(bytes.len() + usize::from(with), with),
            _ => {
                drop(duologue::fs::store::Store::remove(&self.disk, &ours[at]));
                if with & 0x80 != 0 {
                    let _ = duologue::fs::store::Store::create_folder(&self.disk, &ours[at]);
                }
                return;
            }
        }
        self.disk.write(&ours[at], &bytes);
    }

    /// The program ends, and is started again.
    fn start_again(&mut self, disk: ShadowDisk) {
        self.disk = disk;
        self.running.clear();
        self.folders.clear();
        if self.is_faulty || self.durability != Durability::Full {
            self.confirmed.clear();
        }
        self.is_faulty = false;
        self.check();
        self.inbox = open(&self.disk, self.policy).expect("it is well");
    }

    fn check(&self) {
        assert!(self.inbox.used() >= self.inbox.used_by(PEERS[0]));
        for (path, (content, ..)) in &self.confirmed {
            let found = self.disk.read(path);
            assert!(found.as_deref() == Some(&**content), "{path} was confirmed, and is another");
        }
    }
}
