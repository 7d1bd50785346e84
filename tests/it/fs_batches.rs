//! Directories: made beneath the inbox, and walked to be sent.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;

use duologue::fs::{
    Collision, Error, Inbox, InboxOptions, LeftOut, Member, NameError, SourceError, Tree,
    TreeOptions,
};
use duologue::testing::ShadowDisk;
use duologue::wire::{Batch, Offer, Side, TransferCode, TransferId};

use super::fs_util::{PEER, digest, names, on, small};

fn id() -> TransferId {
    TransferId::new(Side::Client, 1).unwrap()
}

fn batch(count: u32, bytes: u64) -> Batch<'static> {
    Batch { name: "b".into(), count, bytes, metadata: [][..].into() }
}

fn file(name: &str) -> Offer<'_> {
    Offer::new(name).size(1).batch(id())
}

/// Receives one member, and says what became of it.
fn member(
    inbox: &Inbox,
    batch: &mut duologue::fs::BatchReceiver,
    offer: &Offer<'_>,
) -> Result<String, Error> {
    let published = match batch.receive(offer)? {
        Member::Folder(folder) | Member::Known(folder) => folder,
        Member::File(mut file) => {
            file.write(&["x".into()])?;
            file.publish(1, Some(digest(b"x")))?
        }
    };
    let path = published.path().as_str().to_owned();
    inbox.settle(&[published])?;
    Ok(path)
}

#[test]
fn h28_members_that_are_in_each_others_way() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(folder.path()).unwrap();
    let mut batch = inbox.receive_batch(PEER, &batch(20, 100)).unwrap();
    for (offer, expected) in [
        (file("a"), Ok("b/a")),
        (file("A"), Err(Error::Exists)),
        (file("a/x"), Err(Error::Exists)),
        (file("A/x"), Err(Error::Exists)),
        (file("d/x"), Ok("b/d/x")),
        (file("D/y"), Err(Error::Exists)),
        (file("d"), Err(Error::Exists)),
        (Offer::new("a").batch(id()).directory(), Err(Error::Exists)),
        (Offer::new("d").batch(id()).directory(), Ok("b/d")),
        (Offer::new("d/empty").batch(id()).directory(), Ok("b/d/empty")),
        (file("straße"), Ok("b/straße")),
        (file("STRASSE"), Err(Error::Exists)),
        (file("STRAẞE"), Err(Error::Exists)),
        (file("../x"), Err(Error::FileName(NameError::Dots))),
        (file("/x"), Err(Error::FileName(NameError::Empty))),
        (file("d/nul"), Err(Error::FileName(NameError::Device))),
        (file(".ssh/authorized_keys"), Err(Error::FileName(NameError::Special))),
    ] {
        let found = member(&inbox, &mut batch, &offer);
        assert_eq!(found.as_deref(), expected.as_ref().copied(), "{}", offer.name);
    }
    assert_eq!(batch.finish().unwrap().as_str(), "b");
    assert_eq!(names(folder.path()), ["b", "b/a", "b/d", "b/d/empty", "b/d/x", "b/straße"]);
}

#[test]
fn a_batch_holds_what_was_announced() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(folder.path()).unwrap();
    let mut two = inbox.receive_batch(PEER, &batch(3, 2)).unwrap();
    assert!(member(&inbox, &mut two, &file("one")).is_ok());
    let error = member(&inbox, &mut two, &file("two").size(2)).unwrap_err();
    assert_eq!((error.code(), error), (TransferCode::TOO_LARGE, Error::TooLarge { max: 2 }));
    // Of unknown size, it is noticed when it comes.
    let Member::File(mut endless) = two.receive(&Offer::new("three").batch(id())).unwrap() else {
        panic!()
    };
    endless.write(&["x".into()]).unwrap();
    assert_eq!(endless.write(&["y".into()]), Err(Error::TooLarge { max: 2 }));
    drop(endless);
    assert_eq!(member(&inbox, &mut two, &file("four")), Err(Error::TooMany { max: 3 }));
    let few = InboxOptions::new().max_members(5).quota(100).open(folder.path()).unwrap();
    assert_eq!(few.receive_batch(PEER, &batch(6, 6)).unwrap_err(), Error::TooMany { max: 5 });
    assert_eq!(few.receive_batch(PEER, &batch(5, 101)).unwrap_err(), Error::Quota { max: 100 });
}

#[test]
fn the_folder_of_a_batch_collides_as_files_do() {
    for (collision, expected) in [
        (Collision::Number, Ok("b (1)")),
        (Collision::Refuse, Err(Error::Exists)),
        (Collision::Replace, Ok("b")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::write(folder.path().join("b/x"), "old").unwrap();
        let inbox = InboxOptions::new().collision(collision).open(folder.path()).unwrap();
        let received = inbox.receive_batch(PEER, &batch(1, 1));
        let found = received.as_ref().map(|batch| batch.path().as_str());
        assert_eq!(found, expected.as_ref().copied());
        let Ok(mut batch) = received else { continue };
        member(&inbox, &mut batch, &file("x")).unwrap();
        let is_replaced = collision == Collision::Replace;
        let old = if is_replaced { "x" } else { "old" };
        assert_eq!(fs::read_to_string(folder.path().join("b/x")).unwrap(), old);
    }
    // A folder in place of a file, or of a link.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b"), "file").unwrap();
    let inbox = InboxOptions::new().collision(Collision::Replace).open(folder.path()).unwrap();
    assert_eq!(inbox.receive_batch(PEER, &batch(1, 1)).unwrap_err(), Error::Exists);
}

#[test]
fn h29_a_folder_that_becomes_a_link_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let inbox = InboxOptions::new().open(folder.path()).unwrap();
    let mut batch = inbox.receive_batch(PEER, &batch(9, 9)).unwrap();
    member(&inbox, &mut batch, &file("d/one")).unwrap();
    let Member::File(mut on_its_way) = batch.receive(&file("d/two")).unwrap() else { panic!() };
    fs::rename(folder.path().join("b/d"), folder.path().join("elsewhere")).unwrap();
    symlink(outside.path(), folder.path().join("b/d")).unwrap();
    on_its_way.write(&["x".into()]).unwrap();
    assert!(on_its_way.finish(1, Some(digest(b"x"))).is_err());
    assert!(member(&inbox, &mut batch, &file("d/three")).is_err());
    assert!(member(&inbox, &mut batch, &file("d/e/four")).is_err());
    assert_eq!(names(outside.path()), [""; 0]);
}

#[test]
fn a_tree_is_sorted_and_leaves_out_what_nobody_would_take() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for directory in ["a", "a/b", "empty", ".git"] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    for name in ["z", "a/b/y", "a/x", "a.txt", ".git/config", "a/nul.txt"] {
        fs::write(root.join(name), name).unwrap();
    }
    symlink("/etc/passwd", root.join("link")).unwrap();
    symlink(root, root.join("a/loop")).unwrap();
    let tree = Tree::walk(root, TreeOptions::new()).unwrap();
    let paths = |tree: &Tree| -> Vec<String> {
        tree.entries().iter().map(|entry| entry.path().as_str().to_owned()).collect()
    };
    assert_eq!(paths(&tree), ["a", "a/b", "a/b/y", "a/x", "a.txt", "empty", "z"]);
    assert_eq!(tree.bytes(), 5 + 3 + 5 + 1);
    let left_out: Vec<_> =
        tree.left_out().iter().map(|(path, why)| (path.to_str().unwrap(), *why)).collect();
    let expected = [
        (".git", LeftOut::Name(NameError::Special)),
        ("a/loop", LeftOut::Kind),
        ("a/nul.txt", LeftOut::Name(NameError::Device)),
        ("link", LeftOut::Kind),
    ];
    assert_eq!(left_out, expected);
    let all = Tree::walk(root, TreeOptions::new().special_names(true)).unwrap();
    assert_eq!(paths(&all)[..2], [".git", ".git/config"]);
    let few = Tree::walk(root, TreeOptions::new().max_entries(5));
    assert_eq!(few.unwrap_err(), SourceError::TooMany { max: 5 });
}

#[test]
fn a_tree_arrives_as_it_was() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for directory in ["a", "a/b", "empty"] {
        fs::create_dir(from.path().join(directory)).unwrap();
    }
    for name in ["z", "a/b/y", "a/x"] {
        fs::write(from.path().join(name), name.repeat(1000)).unwrap();
    }
    let tree = Tree::walk(from.path(), TreeOptions::new()).unwrap();
    let inbox = Inbox::open(to.path()).unwrap();
    let mut batch = inbox.receive_batch(PEER, &tree.batch("sent")).unwrap();
    let mut published = Vec::new();
    for entry in tree.entries() {
        match batch.receive(&entry.offer(id())).unwrap() {
            Member::Folder(folder) | Member::Known(folder) => published.push(folder),
            Member::File(mut file) => {
                let mut source = tree.open(entry).unwrap();
                while let Some(piece) = source.read().unwrap() {
                    file.write(&[piece]).unwrap();
                }
                let (total, digest) = source.finish().unwrap();
                published.push(file.publish(total, Some(digest)).unwrap());
            }
        }
    }
    inbox.settle(&published).unwrap();
    batch.finish().unwrap();
    assert_eq!(names(&to.path().join("sent")), names(from.path()));
    for name in ["z", "a/b/y", "a/x"] {
        let found = fs::read_to_string(to.path().join("sent").join(name)).unwrap();
        assert_eq!(found, name.repeat(1000));
    }
    // A file that is another by now is not sent as if it were the same.
    let entry = tree.entries().iter().find(|entry| entry.path().as_str() == "z").unwrap();
    fs::write(from.path().join("z"), "short").unwrap();
    assert_eq!(tree.open(entry).unwrap_err(), SourceError::Changed);
    fs::remove_file(from.path().join("z")).unwrap();
    symlink("/etc/passwd", from.path().join("z")).unwrap();
    assert!(tree.open(entry).is_err());
}

/// What a disk that fails says is no answer to whether a name is taken.
#[test]
fn s1_a_disk_that_fails_while_a_folder_is_looked_at_is_not_a_name_that_is_taken() {
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small().collision(Collision::Replace)).unwrap();
    let receive = || {
        let mut batch = inbox.receive_batch(PEER, &batch(2, 1))?;
        member(&inbox, &mut batch, &Offer::new("d").batch(id()).directory())?;
        member(&inbox, &mut batch, &file("d/x"))
    };
    assert_eq!(receive().unwrap(), "b/d/x");
    let before = disk.calls();
    assert_eq!(receive().unwrap(), "b/d/x");
    let calls = disk.calls() - before;
    assert!(calls > 5, "{calls}");
    for call in 0..calls {
        disk.fail(disk.calls() + call, 1, io::ErrorKind::Other);
        match receive() {
            Ok(path) => assert_eq!(path, "b/d/x"),
            Err(error) => assert!(matches!(error, Error::Storage { .. }), "{call}: {error:?}"),
        }
        disk.heal();
    }
}

/// Who made them may have ended before they were synchronised.
#[test]
fn members_beneath_folders_that_an_earlier_inbox_made_survive_a_loss_of_power() {
    let disk = ShadowDisk::new();
    let open = || on(&disk, small().collision(Collision::Replace)).unwrap();
    let earlier = open();
    let mut begun = earlier.receive_batch(PEER, &batch(1, 1)).unwrap();
    drop(begun.receive(&file("a/x")).unwrap());
    drop((begun, earlier));

    let inbox = open();
    let mut batch = inbox.receive_batch(PEER, &batch(1, 1)).unwrap();
    assert_eq!(member(&inbox, &mut batch, &file("a/y")).unwrap(), "b/a/y");
    assert_eq!(disk.crash(|_| false).read("b/a/y"), Some(b"x".to_vec()));
}
