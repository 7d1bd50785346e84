//! How often what is there already is read and synchronised, and who waits for it.

#[cfg(target_os = "linux")]
use std::collections::BTreeMap;
use std::fs;
use std::io;
#[cfg(target_os = "linux")]
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use duologue::fs::store::Store;
use duologue::fs::{
    BatchEvent, Collision, Error, Inbox, Member, ReceivedBatch, SentTree, TreeEvent, TreeOptions,
    receive_batch, send_tree,
};
use duologue::session::{Event, Events};
use duologue::testing::ShadowDisk;
use duologue::wire::{Batch, Offer, Side, TransferId};
use futures::{StreamExt, future};
#[cfg(target_os = "linux")]
use rustix::fs::inotify;

use super::fs_between::Between;
use super::fs_transfer::{converse, random};
use super::fs_util::{PEER, content, digest, on, small};

const LEN: usize = 3000;

async fn receive_folders(inbox: Inbox, mut events: Events) -> Vec<Option<ReceivedBatch>> {
    let mut received = Vec::new();
    while let Some(event) = events.next().await {
        let Event::Batch(offer) = event else { continue };
        let batch = receive_batch(offer, &inbox, PEER, |event| {
            assert!(matches!(event, BatchEvent::Stored(_)), "{event:?}");
        });
        received.push(batch.await.ok());
    }
    received
}

/// Sends a folder, all of which is stored.
fn send_folder(folder: &std::path::Path, inbox: &Inbox) -> SentTree {
    let (sent, _) = converse(
        |session, _events| async move {
            let sent = send_tree(&session, folder, TreeOptions::new(), |event| {
                assert!(matches!(event, TreeEvent::Stored { .. }), "{event:?}");
            });
            sent.await.unwrap()
        },
        |_session, events| receive_folders(inbox.clone(), events),
    );
    sent
}

pub(crate) async fn yield_once() {
    let mut has_yielded = false;
    future::poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// How often each file of a folder was opened.
#[cfg(target_os = "linux")]
fn opened(watch: &rustix::fd::OwnedFd) -> BTreeMap<String, usize> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    let mut opened = BTreeMap::new();
    loop {
        match events.next() {
            Ok(event) => {
                let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
                if let (true, Some(name)) =
                    (event.events().contains(inotify::ReadFlags::OPEN), name)
                {
                    *opened.entry(name).or_default() += 1;
                }
            }
            Err(rustix::io::Errno::AGAIN) => return opened,
            Err(error) => panic!("{error}"),
        }
    }
}

/// However many others end while one more waits to be offered.
#[cfg(target_os = "linux")]
#[test]
fn a_file_of_a_folder_that_goes_on_is_hashed_once() {
    const FILES: usize = 60;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = from.path().join("tree");
    fs::create_dir(&folder).unwrap();
    for number in 0..FILES {
        fs::write(folder.join(format!("{number:02}")), random(30_000, number as u64)).unwrap();
    }
    let inbox = Inbox::open(to.path()).unwrap();
    assert_eq!(send_folder(&folder, &inbox).stored as usize, FILES);

    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    let flags = inotify::WatchFlags::OPEN | inotify::WatchFlags::CLOSE;
    inotify::add_watch(&watch, &folder, flags).unwrap();
    assert_eq!(send_folder(&folder, &inbox).stored as usize, FILES);
    let opened = opened(&watch);
    assert_eq!(opened.len(), FILES);
    // Once for its digest, and once to be sent.
    assert_eq!(opened.iter().find(|(_, times)| **times > 2), None);
}

/// A member that waits for the disk keeps no other waiting.
#[test]
fn known_members_are_synchronised_beside_each_other() {
    let from = tempfile::tempdir().unwrap();
    let folder = from.path().join("b");
    fs::create_dir(&folder).unwrap();
    for (number, name) in ["one", "two"].into_iter().enumerate() {
        fs::write(folder.join(name), content(number as u64, LEN)).unwrap();
    }
    for collision in [Collision::Number, Collision::Refuse, Collision::Replace] {
        let disk = ShadowDisk::new();
        let inbox = on(&disk, small().collision(collision)).unwrap();
        assert_eq!(send_folder(&folder, &inbox).stored, 2);
        disk.hold();
        let (sent, seen) = converse(
            |session, _events| async {
                let session = session;
                send_tree(&session, &folder, TreeOptions::new(), |_| ()).await.unwrap()
            },
            |_session, events| async {
                let watch = async {
                    // It gets as far as it can.
                    for _ in 0..100_000 {
                        if disk.held() == 2 {
                            break;
                        }
                        std::thread::yield_now();
                        yield_once().await;
                    }
                    let seen = disk.held();
                    disk.release();
                    seen
                };
                future::join(receive_folders(inbox, events), watch).await.1
            },
        );
        assert_eq!((sent.stored, sent.failed, seen), (2, 0, 2), "{collision:?}");
    }
}

/// What has the name is another file: that is seen once, however long it is.
#[test]
fn another_file_in_a_members_place_is_read_once() {
    let content = content(1, LEN);
    let disk = Between::default();
    let inbox = disk.open(small().collision(Collision::Refuse));
    let batch = |metadata: &'static str| Batch {
        name: "b".into(),
        count: 2,
        bytes: 2 * LEN as u64,
        metadata: metadata.as_bytes().into(),
    };
    drop(inbox.receive_batch(PEER, &batch("duologue folder 1")).unwrap());
    let mut again = inbox.receive_batch(PEER, &batch("duologue folder 1 digests")).unwrap();
    disk.disk.write("b/m", &[7; LEN]);
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    disk.before_calls(move |call, path| {
        let is_read = (call, path) == ("open to read", "b/m");
        counted.fetch_add(usize::from(is_read), Ordering::Relaxed);
        io::Result::Ok(())
    });
    let id = TransferId::new(Side::Client, 1).unwrap();
    let offer = Offer::new("m").size(LEN as u64).batch(id).digest(digest(&content));
    assert_eq!(again.receive(&offer).err(), Some(Error::Exists));
    assert_eq!(reads.load(Ordering::Relaxed), 1);
    // Once that is gone it may come.
    disk.disk.remove("b/m").unwrap();
    assert!(matches!(again.receive(&offer), Ok(Member::File(_))));
}
