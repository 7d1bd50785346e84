//! What a receiver finds in its folder and must not believe, and what it must not leave there.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;

use duologue::fs::{Action, Collision, Durability, Error};
use duologue::testing::ShadowDisk;
use duologue::wire::Offer;

use super::fs_util::{BLOCK, PEER, TABLE, content, digest, offer, on, send, small, transfer};

const LEN: usize = 4 * BLOCK as usize + 300;

/// The names of the part and of its journal.
fn part_and_journal(names: Vec<String>) -> (String, String) {
    let find = |end: &str| names.iter().find(|name| name.ends_with(end)).unwrap().clone();
    (find(".part"), find(".journal"))
}

#[test]
fn h37_s4_the_journal_of_another_part_is_not_believed() {
    let content = content(1, LEN);
    let kept = |name: &str| {
        let disk = ShadowDisk::new();
        let mut receiver =
            on(&disk, small()).unwrap().receive(PEER, &offer(name, &content)).unwrap();
        send(&mut receiver, &content, 3 * BLOCK as usize).unwrap();
        receiver.suspend();
        let (_, journal) = part_and_journal(disk.names());
        (disk, journal)
    };
    let ((other, theirs), (disk, ours)) = (kept("other"), kept("x"));
    disk.write(&ours, &other.read(&theirs).unwrap());
    let receiver = on(&disk, small()).unwrap().receive(PEER, &offer("x", &content)).unwrap();
    assert_eq!(receiver.prefix(), None);
}

#[test]
fn s5_h29_a_journal_that_is_a_link_is_not_followed() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = content(1, LEN);
    let inbox = small().open(folder.path()).unwrap();
    let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    send(&mut receiver, &content, 3 * BLOCK as usize).unwrap();
    receiver.suspend();
    let (_, journal) = part_and_journal(super::fs_util::names(folder.path()));
    let (link, target) = (folder.path().join(journal), elsewhere.path().join("journal"));
    fs::copy(&link, &target).unwrap();
    fs::remove_file(&link).unwrap();
    symlink(&target, &link).unwrap();
    let before = fs::read(&target).unwrap();
    let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    assert_eq!(receiver.prefix(), None);
    send(&mut receiver, &content, LEN).unwrap();
    receiver.finish(LEN as u64, Some(digest(&content))).unwrap();
    assert_eq!(fs::read(&target).unwrap(), before, "it is not written to");
}

#[test]
fn s3_what_stands_behind_the_last_record_goes() {
    let content = content(1, LEN);
    let disk = ShadowDisk::new();
    let mut receiver = on(&disk, small()).unwrap().receive(PEER, &offer("x", &content)).unwrap();
    send(&mut receiver, &content, 3 * BLOCK as usize).unwrap();
    receiver.suspend();
    let (part, _) = part_and_journal(disk.names());
    disk.write(&part, &content.repeat(2));
    let receiver = on(&disk, small()).unwrap().receive(PEER, &offer("x", &content)).unwrap();
    assert_eq!(receiver.prefix().unwrap().0, 3 * BLOCK);
    assert_eq!(disk.read(&part).unwrap().len() as u64, 3 * BLOCK);
}

#[test]
fn s3_what_somebody_wrote_without_synchronising_is_not_durable_before_it_is_synchronised() {
    let content = content(1, LEN);
    let disk = ShadowDisk::new();
    let careless = on(&disk, small().durability(Durability::NoSync)).unwrap();
    let mut receiver = careless.receive(PEER, &offer("x", &content)).unwrap();
    send(&mut receiver, &content, 3 * BLOCK as usize).unwrap();
    receiver.suspend();
    let mut receiver = on(&disk, small()).unwrap().receive(PEER, &offer("x", &content)).unwrap();
    send(&mut receiver, &content, 3 * BLOCK as usize + 10).unwrap();
    assert_eq!(receiver.durable(), 3 * BLOCK);
    // The power fails, and all is lost that was not synchronised.
    let disk = disk.crash(|_| false);
    let mut receiver = on(&disk, small()).unwrap().receive(PEER, &offer("x", &content)).unwrap();
    assert_eq!(receiver.prefix(), Some((3 * BLOCK, digest(&content[..3 * BLOCK as usize]))));
    send(&mut receiver, &content, LEN).unwrap();
    receiver.finish(LEN as u64, Some(digest(&content))).unwrap();
}

#[test]
fn a_note_of_what_was_stored_that_was_tampered_with_is_not_believed() {
    let content = content(1, LEN);
    let disk = ShadowDisk::new();
    transfer(&on(&disk, small()).unwrap(), "x", &content).unwrap();
    let table = disk.read(TABLE).unwrap();
    let found = |disk: &ShadowDisk| {
        on(disk, small()).unwrap().receive(PEER, &offer("x", &content)).unwrap().prefix()
    };
    assert_eq!(found(&disk.kill()), Some((LEN as u64, digest(&content))));
    let noted = (0..table.len()).filter(|&at| table[at] != 0);
    for at in noted.step_by(3) {
        let copy = disk.kill();
        let mut changed = table.clone();
        changed[at] ^= 0x10;
        copy.write(TABLE, &changed);
        assert_eq!(found(&copy), None, "byte {at}");
    }
}

#[test]
fn s2_a_disk_that_is_full_when_it_synchronises_is_not_trusted_either() {
    let content = content(1, LEN);
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small()).unwrap();
    let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    send(&mut receiver, &content, 2 * BLOCK as usize + 500).unwrap();
    assert_eq!(receiver.durable(), 2 * BLOCK);
    // The write itself goes through.
    disk.fail(disk.calls() + 1, 1, ErrorKind::StorageFull);
    let error = send(&mut receiver, &content, 3 * BLOCK as usize).unwrap_err();
    assert!(matches!(error, Error::Storage { action: Action::Sync, .. }), "{error:?}");
    receiver.suspend();
    let receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    assert_eq!(receiver.prefix(), None, "what is said to be there may not be");
}

#[test]
fn h35_what_could_not_begin_takes_no_room() {
    let content = content(1, LEN);
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small()).unwrap();
    for call in 0..4 {
        disk.fail(disk.calls() + call, 1, ErrorKind::PermissionDenied);
        let begun = inbox.receive(PEER, &offer("x", &content)).map(drop);
        disk.heal();
        assert_eq!((inbox.used(), inbox.used_by(PEER)), (0, 0), "{call}: {begun:?}");
    }
    disk.set_free_space(0);
    let full = on(&disk, small().keep_free(1)).unwrap();
    assert_eq!(full.receive(PEER, &offer("x", &content)).unwrap_err(), Error::Reserve);
    assert_eq!(full.used(), 0);
}

#[test]
fn h39_a_file_of_nobody_replaces_none() {
    let content = content(1, LEN);
    let disk = ShadowDisk::new();
    disk.write("x", b"old");
    let inbox = on(&disk, small().collision(Collision::Number)).unwrap();
    let mut receiver = inbox.receive(None, &offer("x", &content)).unwrap();
    send(&mut receiver, &content, LEN).unwrap();
    let path = receiver.finish(LEN as u64, Some(digest(&content))).unwrap();
    assert_eq!(path.as_str(), "x (1)");
    assert_eq!(disk.read("x").unwrap(), b"old");
}

#[test]
fn h28_a_folder_that_comes_meanwhile_is_not_in_the_way_of_a_clear_word() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = small().collision(Collision::Replace).open(folder.path()).unwrap();
    let mut receiver = inbox.receive(PEER, &Offer::new("x").size(1)).unwrap();
    receiver.write(&["y".into()]).unwrap();
    fs::create_dir(folder.path().join("x")).unwrap();
    assert_eq!(receiver.finish(1, Some(digest(b"y"))).unwrap_err(), Error::Exists);
    assert!(folder.path().join("x").is_dir());
}

#[test]
fn a13_a_part_that_is_let_go_of_can_be_taken_up_at_once() {
    let content = content(1, LEN);
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small()).unwrap();
    for _ in 0..3 {
        let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
        let end = LEN.min(receiver.position() as usize + BLOCK as usize);
        send(&mut receiver, &content, end).unwrap();
    }
}
