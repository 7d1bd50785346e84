//! A folder that was cut off goes on: what is stored of it is known again, under the same name.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use bytes::Bytes;
use duologue::fs::store::Store;
use duologue::fs::{
    Action, BatchEvent, BatchReceiver, Collision, Durability, Error, Inbox, Member, ReceiveError,
    SentTree, TreeEvent, TreeOptions, receive_batch, send_tree,
};
use duologue::session::{Event, Events, Session};
use duologue::testing::{Barrier, ShadowDisk, SplitMix64};
use duologue::wire::{Batch, CloseCode, Offer, Side, TransferId};
use futures::StreamExt;

use super::fs_transfer::{converse, random};
use super::fs_util::{PEER, content, digest, names, names_on, on, small};

const OTHER: Option<&[u8]> = Some(b"other");
const FILES: usize = 60;

/// Receives folders until the conversation ends, which it does by itself after so many files.
async fn receive_some(
    session: Session,
    inbox: Inbox,
    mut events: Events,
    identity: Option<&[u8]>,
    most: usize,
) -> Vec<Option<ReceiveError>> {
    let (mut ends, mut stored) = (Vec::new(), 0);
    while let Some(event) = events.next().await {
        let Event::Batch(offer) = event else { continue };
        let received = receive_batch(offer, &inbox, identity, |event| {
            let is_stored = matches!(event, BatchEvent::Stored(_));
            assert!(is_stored || stored >= most, "{event:?}");
            stored += usize::from(is_stored);
            if stored == most {
                let _ = session.close(CloseCode::SHUTDOWN, "");
            }
        });
        ends.push(received.await.err());
    }
    ends
}

fn send_to(
    tree: &Path,
    folder: &Path,
    identity: Option<&'static [u8]>,
    most: usize,
) -> (Result<SentTree, duologue::fs::SendError>, BTreeSet<String>, u64, Vec<Option<ReceiveError>>) {
    let (tree, inbox) = (tree.to_owned(), Inbox::open(folder).unwrap());
    let ((sent, stored, bytes), ends) = converse(
        |session, _events| async move {
            let mut stored = BTreeSet::new();
            let sent = send_tree(&session, &tree, TreeOptions::new(), |event| {
                if let TreeEvent::Stored { path, sent } = event {
                    let name = sent.verdict.name().unwrap();
                    assert!(name.trim_end_matches(" (1)").ends_with(&path), "{name}");
                    assert_eq!(sent.digest, digest(&fs::read(tree.join(&path)).unwrap()));
                    stored.insert(path);
                }
            })
            .await;
            (sent, stored, session.statistics().sent.data.bytes)
        },
        |session, events| receive_some(session, inbox, events, identity, most),
    );
    (sent, stored, bytes, ends)
}

fn make_tree(folder: &Path) -> std::path::PathBuf {
    let tree = folder.join("tree");
    for number in 0..FILES {
        let parent = tree.join(format!("d{}", number % 3));
        fs::create_dir_all(&parent).unwrap();
        fs::write(parent.join(format!("file {number}")), random(20_000 + number, number as u64))
            .unwrap();
    }
    fs::create_dir(tree.join("empty")).unwrap();
    fs::write(tree.join("nothing"), "").unwrap();
    tree
}

fn is_same(tree: &Path, copy: &Path) {
    assert_eq!(names(tree), names(copy));
    for name in names(tree) {
        if tree.join(&name).is_file() {
            assert!(fs::read(tree.join(&name)).unwrap() == fs::read(copy.join(&name)).unwrap());
        }
    }
}

#[test]
fn a_folder_that_was_cut_off_goes_on_under_its_name() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tree = make_tree(from.path());
    let (sent, stored, all, _) = send_to(&tree, to.path(), PEER, 40);
    assert!(sent.is_err() && stored.len() < FILES, "{sent:?}");
    assert!(all >= 30 * 20_000, "{all}");
    // One of them changes here, which is not touched then.
    let changed = to.path().join("tree/d0/file 0");
    fs::write(&changed, "changed").unwrap();

    let (sent, stored, more, ends) = send_to(&tree, to.path(), PEER, usize::MAX);
    assert_eq!(ends, [Some(ReceiveError::Storage(Error::KnownInPart)), None]);
    assert_eq!(sent.unwrap().verdict.unwrap().name(), Some("tree"));
    assert_eq!(stored.len(), FILES + 1);
    // Some bytes of a file leave before it is known that they need not.
    assert!(more < all + 30 * 20_000, "{more}");
    assert_eq!(fs::read(&changed).unwrap(), b"changed");
    fs::rename(to.path().join("tree/d0/file 0 (1)"), &changed).unwrap();
    is_same(&tree, &to.path().join("tree"));
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 2);

    // Once more, all of it.
    let (sent, stored, ..) = send_to(&tree, to.path(), PEER, usize::MAX);
    assert_eq!((sent.unwrap().stored as usize, stored.len()), (FILES + 5, FILES + 1));
    is_same(&tree, &to.path().join("tree"));

    // For a stranger, and one that is not the same, a folder of its own.
    let (sent, ..) = send_to(&tree, to.path(), OTHER, usize::MAX);
    assert_eq!(sent.unwrap().verdict.unwrap().name(), Some("tree (1)"));
    let (sent, ..) = send_to(&tree, to.path(), None, usize::MAX);
    assert_eq!(sent.unwrap().verdict.unwrap().name(), Some("tree (2)"));
    fs::write(tree.join("one more"), "").unwrap();
    let (sent, ..) = send_to(&tree, to.path(), PEER, usize::MAX);
    assert_eq!(sent.unwrap().verdict.unwrap().name(), Some("tree (3)"));
}

#[test]
fn another_folder_of_that_name_is_left_alone() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tree = make_tree(from.path());
    // Cut off, or whole just before.
    let _ = send_to(&tree, to.path(), PEER, 40);
    fs::rename(to.path().join("tree"), to.path().join("mine")).unwrap();
    fs::create_dir(to.path().join("tree")).unwrap();
    let (sent, ..) = send_to(&tree, to.path(), PEER, usize::MAX);
    assert_eq!(sent.unwrap().verdict.unwrap().name(), Some("tree (1)"));
    assert_eq!(names(&to.path().join("tree")), [""; 0]);
}

fn id() -> TransferId {
    TransferId::new(Side::Client, 1).unwrap()
}

const MEMBERS: [&str; 3] = ["d/one", "two", "d/three"];

fn member(name: &str) -> Bytes {
    content(name.len() as u64, 300 + name.len())
}

/// Sends a folder of three files as `send_tree` would; each that is settled is noted.
fn transfer(inbox: &Inbox, promised: &mut Vec<String>) -> Result<String, Error> {
    let bytes = MEMBERS.iter().map(|name| member(name).len() as u64).sum();
    let offered = |metadata: &'static str| Batch {
        name: "b".into(),
        count: 3,
        bytes,
        metadata: metadata.as_bytes().into(),
    };
    let (mut batch, has_digests) = match inbox.receive_batch(PEER, &offered("duologue folder 1")) {
        Ok(batch) => (batch, false),
        Err(Error::KnownInPart) => {
            (inbox.receive_batch(PEER, &offered("duologue folder 1 digests"))?, true)
        }
        Err(error) => return Err(error),
    };
    for name in MEMBERS {
        receive_one(inbox, &mut batch, name, has_digests, promised)?;
    }
    Ok(batch.finish()?.as_str().to_owned())
}

fn receive_one(
    inbox: &Inbox,
    batch: &mut BatchReceiver,
    name: &str,
    has_digests: bool,
    promised: &mut Vec<String>,
) -> Result<(), Error> {
    let content = member(name);
    let mut offer = Offer::new(name).size(content.len() as u64).batch(id());
    offer.digest = has_digests.then(|| digest(&content));
    let published = match batch.receive(&offer)? {
        Member::Known(published) | Member::Folder(published) => published,
        Member::File(mut file) => {
            file.write(std::slice::from_ref(&content))?;
            file.publish(content.len() as u64, Some(digest(&content)))?
        }
    };
    let path = published.path().as_str().to_owned();
    inbox.settle(&[published])?;
    promised.push(path);
    Ok(())
}

/// A loss of power at each call, and what becomes of the folder then.
fn enumerate(disk: fn() -> ShadowDisk, collision: Collision) -> Vec<String> {
    let mut violations = Vec::new();
    for call in 0.. {
        let disk = disk();
        let mut promised = Vec::new();
        disk.power_off_at(call);
        let _ = on(&disk, small().collision(collision)).and_then(|i| transfer(&i, &mut promised));
        let mut random = SplitMix64::new(call);
        for percent in [0, 100, 20, 50, 50, 80] {
            let after = disk.crash(|_| random.percent(percent));
            let mut again = promised.clone();
            let inbox = on(&after, small().collision(collision)).unwrap();
            match transfer(&inbox, &mut again) {
                Ok(folder) => check(&after, &promised, &folder, &mut violations),
                Err(Error::Exists) if collision == Collision::Refuse && promised.is_empty() => {}
                Err(error) => violations.push(format!("call {call}: it cannot go on: {error}")),
            }
        }
        if disk.calls() <= call {
            assert!(call > 25, "{call} calls only");
            break;
        }
    }
    violations
}

fn check(disk: &ShadowDisk, promised: &[String], folder: &str, violations: &mut Vec<String>) {
    for name in MEMBERS {
        let found = disk.read(&format!("{folder}/{name}"));
        if found.as_deref() != Some(&*member(name)) {
            violations.push(format!("{folder}/{name} is not whole"));
        }
    }
    for path in promised {
        let name = path.split_once('/').unwrap().1;
        if disk.read(path).as_deref() != Some(&*member(name)) {
            violations.push(format!("{path} was stored and is gone"));
        }
        let ends = format!("/{name}");
        if names_on(disk).iter().filter(|found| found.ends_with(&ends)).count() > 1 {
            violations.push(format!("{name} is stored twice: {:?}", disk.names()));
        }
    }
}

fn fine() -> ShadowDisk {
    ShadowDisk::new().sector(128)
}

#[test]
fn s3_crash_at_every_call_of_a_folder_stores_each_file_once() {
    for collision in [Collision::Number, Collision::Refuse, Collision::Replace] {
        assert_eq!(enumerate(fine, collision), [""; 0]);
    }
}

#[test]
fn without_synchronising_what_is_noted_a_folder_begins_anew() {
    let notices = |disk: fn() -> ShadowDisk, what: &str| {
        let violations = enumerate(disk, Collision::Number);
        assert!(violations.iter().any(|found| found.contains(what)), "{:?}", violations.first());
    };
    notices(|| fine().without(Barrier::Sync(".table")), "stored twice");
    notices(|| fine().without(Barrier::SyncFolder), "is gone");
}

#[test]
fn s1_every_call_fails_while_a_folder_goes_on() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other, ErrorKind::PermissionDenied] {
        for call in 0.. {
            let disk = ShadowDisk::new();
            let inbox = on(&disk, small()).unwrap();
            // Cut off after the second file.
            let mut promised = Vec::new();
            disk.power_off_at(38);
            let _ = transfer(&inbox, &mut promised);
            let disk = disk.crash(|_| true);
            let inbox = on(&disk, small()).unwrap();
            let from = disk.calls() + call;
            disk.fail(from, 1, kind);
            let mut again = promised.clone();
            let failed = transfer(&inbox, &mut again).is_err();
            let is_beyond = disk.calls() <= from;
            disk.heal();
            let folder = transfer(&inbox, &mut again.clone()).unwrap();
            let mut violations = Vec::new();
            // What could not be looked at was taken for missing: it is there once more, and whole.
            let kept: &[String] = if failed { &promised } else { &[] };
            check(&disk, &[], &folder, &mut violations);
            for path in kept {
                let name = path.split_once('/').unwrap().1;
                assert_eq!(disk.read(path).as_deref(), Some(&*member(name)), "call {call}");
            }
            assert_eq!(violations, [""; 0], "call {call}");
            if is_beyond {
                assert!(call > 15 && !promised.is_empty(), "{call} calls only");
                break;
            }
        }
    }
}

#[test]
fn s1_a_disk_that_fails_while_stored_members_are_looked_at_is_no_name_that_is_taken() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other, ErrorKind::PermissionDenied] {
        for call in 0.. {
            let disk = ShadowDisk::new();
            let inbox = on(&disk, small().collision(Collision::Refuse)).unwrap();
            // Its sender hears none of the verdicts.
            let folder = transfer(&inbox, &mut Vec::new()).unwrap();
            let from = disk.calls() + call;
            disk.fail(from, 1, kind);
            let failed = transfer(&inbox, &mut Vec::new());
            let is_beyond = disk.calls() <= from;
            disk.heal();
            let error = failed.err();
            // What may not be read is somebody else's.
            let may_be_anothers = kind == ErrorKind::PermissionDenied;
            assert!(may_be_anothers || error != Some(Error::Exists), "call {call}");
            if matches!(error, Some(Error::Storage { action: Action::Sync, .. })) {
                // What is read of it may not be on the disk any more.
                assert_eq!(transfer(&inbox, &mut Vec::new()), Err(Error::Exists), "call {call}");
                continue;
            }
            assert_eq!(transfer(&inbox, &mut Vec::new()), Ok(folder.clone()), "call {call}");
            let mut violations = Vec::new();
            check(&disk, &[], &folder, &mut violations);
            assert_eq!(violations, [""; 0], "call {call}");
            if is_beyond {
                assert!(call > 15, "{call} calls only");
                break;
            }
        }
    }
}

fn ask() -> Batch<'static> {
    let bytes = MEMBERS.iter().map(|name| member(name).len() as u64).sum();
    Batch { name: "b".into(), count: 3, bytes, metadata: b"duologue folder 1"[..].into() }
}

#[test]
fn a_folder_that_could_not_be_noted_is_noted_with_its_first_member() {
    for call in 0.. {
        let disk = ShadowDisk::new();
        let inbox = on(&disk, small()).unwrap();
        let from = disk.calls() + call;
        disk.fail(from, 1, ErrorKind::Other);
        let begun = inbox.receive_batch(PEER, &ask());
        let is_beyond = disk.calls() <= from;
        disk.heal();
        if let Ok(mut batch) = begun {
            receive_one(&inbox, &mut batch, "two", false, &mut Vec::new()).unwrap();
            assert_eq!(inbox.receive_batch(PEER, &ask()).err(), Some(Error::KnownInPart), "{call}");
            batch.finish().unwrap();
            drop(batch);
            // Nor is it the note alone that a loss of power would take.
            let after = on(&disk.crash(|_| false), small()).unwrap();
            assert_eq!(after.receive_batch(PEER, &ask()).err(), Some(Error::KnownInPart), "{call}");
            assert_eq!(transfer(&inbox, &mut Vec::new()).as_deref(), Ok("b"), "{call}");
        }
        if is_beyond {
            assert!(call > 5, "{call} calls only");
            break;
        }
    }
}

#[test]
fn a_folder_that_could_not_be_looked_for_is_not_forgotten_for_another() {
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small()).unwrap();
    assert_eq!(transfer(&inbox, &mut Vec::new()).as_deref(), Ok("b"));
    disk.fail(disk.calls(), 1, ErrorKind::Other);
    let mut batch = inbox.receive_batch(PEER, &ask()).unwrap();
    assert_eq!(batch.path().as_str(), "b (1)");
    receive_one(&inbox, &mut batch, "two", false, &mut Vec::new()).unwrap();
    assert_eq!(transfer(&inbox, &mut Vec::new()).as_deref(), Ok("b"));
}

#[test]
fn paths_that_are_too_long_or_that_differ_in_their_form_only_harm_no_other() {
    let to = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(to.path()).unwrap();
    let long = vec!["d".repeat(130); 31].join("/");
    let offered =
        Batch { name: "b".repeat(200).into(), count: 9, bytes: 99, metadata: [][..].into() };
    let mut batch = inbox.receive_batch(PEER, &offered).unwrap();
    let mut receive = |name: &str| {
        let one = Bytes::from_static(b"x");
        let offer = Offer::new(name.to_owned()).size(1).batch(id());
        let Member::File(mut file) = batch.receive(&offer)? else { panic!() };
        file.write(&[one])?;
        let published = file.publish(1, Some(digest(b"x")))?;
        let path = published.path().as_str().to_owned();
        inbox.settle(&[published]).map(|()| path)
    };
    assert!(matches!(receive(&long), Err(Error::FileName(_))));
    let within = long.get(..3500).unwrap().trim_end_matches('/').to_owned();
    assert!(receive(&within).is_ok());
    // The same to a reader, and two files to this disk; a disk to which they are one refuses or
    // numbers the second.
    let (composed, decomposed) = (receive("\u{e9}").unwrap(), receive("e\u{301}").unwrap());
    for path in [&composed, &decomposed] {
        assert_eq!(fs::read(to.path().join(path)).unwrap(), b"x");
    }
    assert_ne!(composed, decomposed);
    assert_eq!(receive("\u{c9}"), Err(Error::Exists));
}

#[test]
fn a_folder_that_goes_away_while_it_is_received_fails_its_members_only() {
    let to = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(to.path()).unwrap();
    let offered = Batch { name: "b".into(), count: 9, bytes: 99, metadata: [][..].into() };
    let mut batch = inbox.receive_batch(PEER, &offered).unwrap();
    let offer = |name: &'static str| Offer::new(name).size(1).batch(id());
    let Member::File(mut file) = batch.receive(&offer("d/x")).unwrap() else { panic!() };
    file.write(&["x".into()]).unwrap();
    fs::remove_dir_all(to.path().join("b")).unwrap();
    assert!(file.publish(1, Some(digest(b"x"))).is_err());
    assert!(matches!(batch.receive(&offer("d/y")), Ok(Member::File(_)) | Err(_)));
    assert!(batch.receive(&offer("e/y")).is_err());
    assert!(batch.finish().is_ok() || !to.path().join("b").exists());
    drop(batch);
    assert_eq!(names(to.path()), [""; 0]);
    assert_eq!(inbox.used(), 0);
}

/// Who stored the members may not have synchronised them.
#[test]
fn s3_members_that_are_known_are_synchronised_before_they_are_told_as_such() {
    for collision in [Collision::Number, Collision::Refuse, Collision::Replace] {
        let disk = ShadowDisk::new();
        let options = small().collision(collision);
        let careless = on(&disk, options.clone().durability(Durability::NoSync)).unwrap();
        transfer(&careless, &mut Vec::new()).unwrap();
        let mut promised = Vec::new();
        assert_eq!(transfer(&on(&disk, options).unwrap(), &mut promised).as_deref(), Ok("b"));
        let mut violations = Vec::new();
        check(&disk.crash(|_| false), &promised, "b", &mut violations);
        assert_eq!(violations, [""; 0], "{collision:?}");
    }
}

/// Another program has written it, and not synchronised it.
#[test]
fn s3_a_member_that_is_there_by_now_is_synchronised_before_it_is_stored() {
    let one = member("one");
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small()).unwrap();
    let mut batch = inbox.receive_batch(PEER, &ask()).unwrap();
    let offer = Offer::new("one").size(one.len() as u64).batch(id());
    let Member::File(mut file) = batch.receive(&offer).unwrap() else { panic!() };
    file.write(std::slice::from_ref(&one)).unwrap();
    let mut other = disk.create_new("b/one").unwrap();
    other.write_at(0, &[std::io::IoSlice::new(&one)]).unwrap();
    let stored = file.finish(one.len() as u64, Some(digest(&one))).unwrap();
    assert_eq!(stored.as_str(), "b/one");
    assert_eq!(disk.crash(|_| false).read("b/one").unwrap(), one);
}

/// A disk that failed may say yes when it is asked again, having lost the bytes.
#[test]
fn s2_a_member_that_could_not_be_synchronised_is_not_known_again() {
    for call in 0.. {
        let disk = ShadowDisk::new();
        let careless = on(&disk, small().durability(Durability::NoSync)).unwrap();
        transfer(&careless, &mut Vec::new()).unwrap();
        let inbox = on(&disk, small()).unwrap();
        let from = disk.calls() + call;
        disk.fail(from, 1, ErrorKind::Other);
        let _ = transfer(&inbox, &mut Vec::new());
        let is_beyond = disk.calls() <= from;
        disk.heal();
        let mut promised = Vec::new();
        transfer(&inbox, &mut promised).unwrap();
        assert_eq!(promised.len(), MEMBERS.len());
        let after = disk.crash(|_| false);
        for (path, name) in promised.iter().zip(MEMBERS) {
            assert_eq!(after.read(path).as_deref(), Some(&*member(name)), "call {call}: {path}");
        }
        if is_beyond {
            assert!(call > 15, "{call} calls only");
            break;
        }
    }
}
