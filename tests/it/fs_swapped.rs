//! A13: another program replaces a part between this one's opening and locking it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use duologue::fs::store::{Status, Store, StoreFile};
use duologue::fs::{Collision, Error};
use duologue::testing::ShadowDisk;

use super::fs_util::{BLOCK, PEER, content, digest, offer, send, small};

/// A disk on which parts are replaced when they are opened, so many times.
#[derive(Debug)]
struct Swapping {
    disk: ShadowDisk,
    times: AtomicUsize,
}

impl Store for Swapping {
    fn create_new(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        self.disk.create_new(path)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        let opened = self.disk.open(path)?;
        let is_one = path.ends_with(".part")
            && self
                .times
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok();
        if is_one {
            self.disk.remove(path)?;
            self.disk.write(path, b"of another program");
        }
        Ok(opened)
    }

    fn open_to_read(&self, path: &str) -> io::Result<Box<dyn StoreFile>> {
        self.disk.open_to_read(path)
    }

    fn rename_no_replace(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename_no_replace(from, to)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        self.disk.create_folder(path)
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.disk.sync_folder(path)
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        self.disk.status(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn free_space(&self) -> io::Result<u64> {
        self.disk.free_space()
    }

    fn now(&self) -> SystemTime {
        self.disk.now()
    }
}

#[test]
fn a13_a_part_that_is_replaced_before_it_is_locked_is_not_written_to() {
    let file = content(6, 4 * BLOCK as usize);
    let disk = Arc::new(Swapping { disk: ShadowDisk::new(), times: AtomicUsize::new(0) });
    let inbox = small().open_on(disk.clone()).unwrap();
    let mut receiver = inbox.receive(PEER, &offer("x", &file)).unwrap();
    send(&mut receiver, &file, 2 * BLOCK as usize).unwrap();
    receiver.suspend();
    assert!(disk.disk.names().iter().any(|name| name.ends_with(".part")), "{:?}", disk.disk);

    disk.times.store(2, Ordering::Relaxed);
    let mut receiver = inbox.receive(PEER, &offer("x", &file)).unwrap();
    assert_eq!(disk.times.load(Ordering::Relaxed), 0, "it was opened again, and once more");
    assert_eq!(receiver.position(), 0, "what is there now is another file");
    send(&mut receiver, &file, file.len()).unwrap();
    receiver.finish(file.len() as u64, Some(digest(&file))).unwrap();
    assert_eq!(disk.disk.names(), [".duologue-stored.table", "x"]);
    assert!(disk.disk.read("x").unwrap() == file);
}

/// Another program has moved a file over the part: that is not what was received.
#[test]
fn what_was_put_in_the_place_of_a_part_does_not_get_its_name() {
    let file = content(6, 4 * BLOCK as usize);
    for collision in [Collision::Number, Collision::Refuse, Collision::Replace] {
        let disk = ShadowDisk::new();
        let inbox = small().collision(collision).open_on(Arc::new(disk.clone())).unwrap();
        let mut receiver = inbox.receive(PEER, &offer("x", &file)).unwrap();
        send(&mut receiver, &file, file.len()).unwrap();
        let part = disk.names().into_iter().find(|name| name.ends_with(".part")).unwrap();
        disk.write("other", b"of another program");
        disk.rename("other", &part).unwrap();
        let error = receiver.finish(file.len() as u64, Some(digest(&file))).unwrap_err();
        assert_eq!((&error, error.can_retry()), (&Error::PartDiffers, true), "{collision:?}");
        assert_eq!(disk.read("x"), None, "{collision:?}");
        assert_eq!(inbox.used(), 0);
        // Offered again it comes whole.
        let mut receiver = inbox.receive(PEER, &offer("x", &file)).unwrap();
        assert_eq!(receiver.position(), 0);
        send(&mut receiver, &file, file.len()).unwrap();
        receiver.finish(file.len() as u64, Some(digest(&file))).unwrap();
        assert!(disk.read("x").unwrap() == file);
    }
}
