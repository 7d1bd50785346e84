//! What happens between two calls of the disk: somebody else stores a file, makes a folder, or takes a
//! right away.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::SystemTime;

use bytes::Bytes;
use duologue::fs::store::{Status, Store, StoreFile};
use duologue::fs::{Action, BatchReceiver, Collision, Error, Inbox, InboxOptions, Member};
use duologue::testing::ShadowDisk;
use duologue::wire::{Batch, Offer, Side, TransferId};

use super::fs_util::{PEER, TABLE, content, digest, names_on, offer, send, small, transfer};

const LEN: usize = 3000;

pub(crate) type Hook = Box<dyn FnMut(&str, &str) -> io::Result<()> + Send>;

/// A disk before whose calls something may happen. What that does to the disk is not told of again.
#[derive(Clone, Default)]
pub(crate) struct Between {
    pub(crate) disk: ShadowDisk,
    /// Names that differ in case only are one.
    pub(crate) folds: bool,
    /// Nothing tells a file from another one.
    pub(crate) is_unnumbered: bool,
    pub(crate) hook: Arc<Mutex<Option<Hook>>>,
}

impl Between {
    pub(crate) fn before_calls(
        &self,
        hook: impl FnMut(&str, &str) -> io::Result<()> + Send + 'static,
    ) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// Once, before the `nth` of such calls.
    fn before(
        &self,
        nth: usize,
        call: &'static str,
        of: &'static str,
        act: impl FnOnce() + Send + 'static,
    ) {
        let (mut left, mut act) = (nth, Some(act));
        self.before_calls(move |found, path| {
            if (found, path) == (call, of) {
                left = left.saturating_sub(1);
                if left == 0 {
                    act.take().into_iter().for_each(|act| act());
                }
            }
            Ok(())
        });
    }

    /// Such calls are not permitted.
    pub(crate) fn deny(&self, call: &'static str, of: &'static str) {
        self.before_calls(move |found, path| {
            if (found, path) == (call, of) {
                Err(io::ErrorKind::PermissionDenied.into())
            } else {
                Ok(())
            }
        });
    }

    pub(crate) fn calm(&self) {
        *self.hook.lock().unwrap() = None;
    }

    fn told(&self, call: &str, path: &str) -> io::Result<()> {
        let Some(mut hook) = self.hook.lock().unwrap().take() else { return Ok(()) };
        let result = hook(call, path);
        *self.hook.lock().unwrap() = Some(hook);
        result
    }

    fn opened(
        &self,
        path: &str,
        file: io::Result<Box<dyn StoreFile>>,
    ) -> io::Result<Box<dyn StoreFile>> {
        Ok(Box::new(Opened { file: file?, path: path.to_owned(), disk: self.clone() }))
    }

    fn seen(&self, status: Status) -> Status {
        if self.is_unnumbered { Status { file: None, ..status } } else { status }
    }

    fn name(&self, path: &str) -> String {
        if self.folds { path.to_lowercase() } else { path.to_owned() }
    }

    pub(crate) fn open(&self, options: InboxOptions) -> Inbox {
        options.open_on(Arc::new(self.clone())).unwrap()
    }
}

impl core::fmt::Debug for Between {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.disk.fmt(f)
    }
}

/// A file before whose calls something may happen.
#[derive(Debug)]
struct Opened {
    file: Box<dyn StoreFile>,
    path: String,
    disk: Between,
}

impl StoreFile for Opened {
    fn write_at(&mut self, offset: u64, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.file.write_at(offset, bytes)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.told("read", &self.path)?;
        self.file.read_at(offset, buffer)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.file.allocate(offset, len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    fn try_lock(&mut self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn status(&self) -> io::Result<Status> {
        self.file.status().map(|status| self.disk.seen(status))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let _ = self.disk.told("close", &self.path);
    }
}

impl Store for Between {
    fn create_new(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        self.told("create", path)?;
        self.opened(path, self.disk.create_new(&self.name(path)))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        self.told("open", path)?;
        self.opened(path, self.disk.open(&self.name(path)))
    }

    fn open_to_read(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        self.told("open to read", path)?;
        self.opened(path, self.disk.open_to_read(&self.name(path)))
    }

    fn rename_no_replace(&self, from: &str, to: &str) -> io::Result<()> {
        self.told("rename", to)?;
        self.disk.rename_no_replace(&self.name(from), &self.name(to))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.told("rename", to)?;
        self.disk.rename(&self.name(from), &self.name(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.told("remove", path)?;
        self.disk.remove(&self.name(path))
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        self.told("create folder", path)?;
        self.disk.create_folder(&self.name(path))
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.told("sync folder", path)?;
        self.disk.sync_folder(&self.name(path))
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        self.told("status", path)?;
        self.disk.status(&self.name(path)).map(|status| self.seen(status))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.disk.list(&self.name(path))
    }

    fn free_space(&self) -> io::Result<u64> {
        self.disk.free_space()
    }

    fn now(&self) -> SystemTime {
        self.disk.now()
    }
}

fn batch(content: &Bytes, metadata: &'static str) -> Batch<'static> {
    let bytes = content.len() as u64 * 2;
    Batch { name: "b".into(), count: 2, bytes, metadata: metadata.as_bytes().into() }
}

/// The folder, begun or gone on with, and whether its members have digests.
fn folder(inbox: &Inbox, content: &Bytes) -> (BatchReceiver, bool) {
    match inbox.receive_batch(PEER, &batch(content, "duologue folder 1")) {
        Ok(batch) => (batch, false),
        Err(Error::KnownInPart) => {
            let again = batch(content, "duologue folder 1 digests");
            (inbox.receive_batch(PEER, &again).unwrap(), true)
        }
        Err(error) => panic!("{error}"),
    }
}

/// A member, all of which comes if it is not there; its path once it is stored.
fn store(inbox: &Inbox, member: Result<Member, Error>, content: &Bytes) -> Result<String, Error> {
    let published = match member? {
        Member::File(mut file) => {
            file.write(std::slice::from_ref(content))?;
            file.publish(content.len() as u64, Some(digest(content)))?
        }
        Member::Known(published) | Member::Folder(published) => published,
    };
    let path = published.path().as_str().to_owned();
    inbox.settle(&[published]).map(|()| path)
}

fn receive(
    batch: &mut (BatchReceiver, bool),
    name: &str,
    content: &Bytes,
) -> Result<Member, Error> {
    let id = TransferId::new(Side::Client, 1).unwrap();
    let mut offer = Offer::new(name).size(content.len() as u64).batch(id);
    offer.digest = batch.1.then(|| digest(content));
    batch.0.receive(&offer)
}

#[test]
fn a_member_that_is_stored_while_its_name_is_looked_at_is_known() {
    let content = content(1, LEN);
    let disk = Between::default();
    let inbox = disk.open(small().collision(Collision::Refuse));
    let mut old = folder(&inbox, &content);
    let on_its_way = receive(&mut old, "m", &content);
    let mut new = folder(&inbox, &content);
    let (ends, file) = (inbox.clone(), content.clone());
    disk.before(2, "status", "b/m", move || {
        assert_eq!(store(&ends, on_its_way, &file).as_deref(), Ok("b/m"));
    });
    let member = receive(&mut new, "m", &content);
    assert!(matches!(member, Ok(Member::Known(_))), "{member:?}");
    assert_eq!(store(&inbox, member, &content).as_deref(), Ok("b/m"));
    // Another one is in the way, as ever.
    disk.disk.write("b/n", b"another");
    let other = receive(&mut new, "n", &content);
    assert_eq!(other.err(), Some(Error::Exists));
}

#[test]
fn a_file_that_is_stored_while_its_name_is_looked_at_is_known() {
    let content = content(1, LEN);
    let disk = Between::default();
    let inbox = disk.open(small().collision(Collision::Refuse));
    let (ends, file) = (inbox.clone(), content.clone());
    disk.before(1, "status", "x", move || {
        assert_eq!(transfer(&ends, "x", &file).unwrap().as_str(), "x");
    });
    let known = inbox.receive(PEER, &offer("x", &content)).unwrap();
    assert_eq!(known.prefix(), Some((LEN as u64, digest(&content))));
    let path = known.finish(LEN as u64, Some(digest(&content))).unwrap();
    assert_eq!((path.as_str(), names_on(&disk.disk)), ("x", vec!["x".to_owned()]));
}

/// The second one comes when the folder is there and not yet noted.
#[test]
fn a_folder_that_is_offered_twice_at_once_is_one_folder() {
    for collision in [Collision::Number, Collision::Refuse] {
        let content = content(1, LEN);
        let disk = ShadowDisk::new();
        let inbox = small().collision(collision).open_on(Arc::new(disk.clone())).unwrap();
        let asked = batch(&content, "duologue folder 1");
        let ended = AtomicBool::new(false);
        // What is noted is written.
        disk.hold();
        let (first, second) = thread::scope(|scope| {
            let first = scope.spawn(|| inbox.receive_batch(PEER, &asked).err());
            while disk.held() == 0 {
                thread::yield_now();
            }
            assert_eq!(names_on(&disk), ["b"]);
            let second = scope.spawn(|| {
                let found = inbox.receive_batch(PEER, &asked).err();
                ended.store(true, Ordering::Release);
                found
            });
            // It gets as far as it can.
            for _ in 0..10_000 {
                if disk.held() == 2 || ended.load(Ordering::Acquire) {
                    break;
                }
                thread::yield_now();
            }
            disk.release();
            (first.join().unwrap(), second.join().unwrap())
        });
        assert_eq!((first, second), (None, Some(Error::KnownInPart)), "{collision:?}");
        assert_eq!(names_on(&disk), ["b"]);
    }
}

#[test]
fn a_name_of_a_file_that_may_not_be_read_is_a_name_that_is_taken() {
    let content = content(1, LEN);
    for (collision, expected) in
        [(Collision::Number, Ok("b/m (1)".to_owned())), (Collision::Refuse, Err(Error::Exists))]
    {
        let disk = Between::default();
        let inbox = disk.open(small().collision(collision));
        let mut batch = folder(&inbox, &content);
        let member = receive(&mut batch, "m", &content);
        // Somebody else's, of the same size.
        disk.disk.write("b/m", &vec![7; LEN]);
        disk.deny("open to read", "b/m");
        assert_eq!(store(&inbox, member, &content), expected, "{collision:?}");
        assert_eq!(disk.disk.read("b/m").unwrap(), vec![7; LEN]);
        // And one that is offered with its digest when it is there already.
        disk.disk.write("b/n", &vec![7; LEN]);
        disk.deny("open to read", "b/n");
        let mut again = folder(&inbox, &content);
        let stored = store(&inbox, receive(&mut again, "n", &content), &content);
        assert_eq!(stored, expected.map(|_| "b/n (1)".to_owned()), "{collision:?}");
        // A file that was stored, and that may not be read any more.
        disk.calm();
        assert_eq!(transfer(&inbox, "x", &content).unwrap().as_str(), "x");
        disk.deny("open to read", "x");
        let again = transfer(&inbox, "x", &content).map(|path| path.as_str().to_owned());
        if collision == Collision::Refuse {
            assert_eq!(again, Err(Error::Exists));
        } else {
            assert_eq!(again.as_deref(), Ok("x (1)"));
        }
    }
}

/// What has the name may be the very file, which came back: whose it is cannot be told.
#[test]
fn a_name_that_is_taken_while_notes_cannot_be_read_is_not_told_as_such() {
    let content = content(1, LEN);
    let disk = Between::default();
    let inbox = disk.open(small().collision(Collision::Refuse));
    transfer(&inbox, "x", &content).unwrap();
    disk.disk.rename_no_replace("x", "elsewhere").unwrap();
    let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    assert_eq!(receiver.prefix(), None);
    send(&mut receiver, &content, LEN).unwrap();
    disk.disk.rename_no_replace("elsewhere", "x").unwrap();
    disk.deny("open to read", TABLE);
    let unclear = receiver.finish(LEN as u64, Some(digest(&content))).unwrap_err();
    let kind = io::ErrorKind::PermissionDenied;
    assert_eq!(unclear, Error::Storage { action: Action::Inspect, kind, code: None });
    assert!(unclear.can_retry());
    disk.calm();
    // It is, and is known.
    assert_eq!(transfer(&inbox, "x", &content).unwrap().as_str(), "x");
    assert_eq!(names_on(&disk.disk), ["x"]);
    assert_eq!(disk.disk.read("x").unwrap(), content);
}
