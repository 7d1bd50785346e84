//! Receiving into a real folder: collisions, limits, parts that are found again, and the janitor.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use bytes::Bytes;
use duologue::fs::{Collision, Durability, Error, FileName, Inbox, InboxOptions};
use duologue::testing::ShadowDisk;
use duologue::wire::{Digest, Offer, TransferCode};

use super::fs_util::{BLOCK, PEER, content, digest, names, offer, on, send, small, transfer};

const OTHER: Option<&[u8]> = Some(b"somebody else");
const LEN: usize = 4 * BLOCK as usize + 300;

#[test]
fn a_file_is_received_with_every_durability() {
    let content = content(1, LEN);
    for durability in [Durability::Full, Durability::Data, Durability::NoSync] {
        let folder = tempfile::tempdir().unwrap();
        let inbox = small().durability(durability).open(folder.path()).unwrap();
        let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
        send(&mut receiver, &content, LEN).unwrap();
        let is_synced = durability != Durability::NoSync;
        assert_eq!(receiver.durable() > 0, is_synced, "{durability:?}");
        let path = receiver.finish(LEN as u64, Some(digest(&content))).unwrap();
        assert_eq!(fs::read(folder.path().join(path.as_str())).unwrap(), content);
        assert_eq!(names(folder.path()), ["x"]);
    }
}

#[test]
fn the_empty_file_is_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(folder.path()).unwrap();
    assert_eq!(transfer(&inbox, "empty", &Bytes::new()).unwrap().as_str(), "empty");
    assert_eq!(fs::read(folder.path().join("empty")).unwrap(), b"");
}

#[test]
fn h31_a_file_is_its_owners_alone_and_of_now() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(folder.path()).unwrap();
    // The year 300 000 or so.
    let offer = Offer::new("x").size(1).modified((1 << 53) - 1);
    let mut receiver = inbox.receive(PEER, &offer).unwrap();
    receiver.write(&["x".into()]).unwrap();
    receiver.finish(1, Some(digest(b"x"))).unwrap();
    let metadata = fs::metadata(folder.path().join("x")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    assert!(metadata.modified().unwrap().elapsed().unwrap_or_default() < Duration::from_secs(600));
}

#[test]
fn h39_two_offers_of_one_name() {
    for (collision, second) in [
        (Collision::Number, Ok("x (1).bin")),
        (Collision::Refuse, Err(Error::Exists)),
        (Collision::Replace, Ok("x.bin")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let inbox = small().collision(collision).open(folder.path()).unwrap();
        let (one, two) = (content(1, LEN), content(2, LEN));
        let mut first = inbox.receive(PEER, &offer("x.bin", &one)).unwrap();
        let mut other = inbox.receive(OTHER, &offer("x.bin", &two)).unwrap();
        send(&mut first, &one, LEN).unwrap();
        send(&mut other, &two, LEN).unwrap();
        first.finish(LEN as u64, Some(digest(&one))).unwrap();
        let result = other.finish(LEN as u64, Some(digest(&two)));
        assert_eq!(result.as_ref().map(|path| path.as_str()), second.as_ref().copied());
        let expected = if collision == Collision::Replace { two } else { one };
        assert_eq!(fs::read(folder.path().join("x.bin")).unwrap(), expected);
        let count = if collision == Collision::Number { 2 } else { 1 };
        assert_eq!(names(folder.path()).len(), count);
        // And a third that comes later is told at once, if it is refused.
        let third = inbox.check(&offer("x.bin", &expected));
        assert_eq!(third.is_err(), collision == Collision::Refuse);
    }
}

#[test]
fn h28_h29_links_and_folders_are_never_replaced_or_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("target"), "old").unwrap();
    let content = content(1, 10);
    for collision in [Collision::Number, Collision::Refuse, Collision::Replace] {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        symlink(outside.path().join("target"), folder.path().join("link")).unwrap();
        let inbox = InboxOptions::new().collision(collision).open(folder.path()).unwrap();
        let into_folder = transfer(&inbox, "folder", &content);
        let into_link = transfer(&inbox, "link", &content);
        let shown = |result: Result<duologue::fs::RelativePath, Error>| {
            result.map(|path| path.as_str().to_owned())
        };
        let (folder_result, link_result) = match collision {
            Collision::Number => (Ok("folder (1)".to_owned()), Ok("link (1)".to_owned())),
            Collision::Refuse => (Err(Error::Exists), Err(Error::Exists)),
            _ => (Err(Error::Exists), Ok("link".to_owned())),
        };
        assert_eq!((shown(into_folder), shown(into_link)), (folder_result, link_result));
        assert_eq!(fs::read(outside.path().join("target")).unwrap(), b"old");
    }
}

#[test]
fn h29_the_folder_may_move_while_a_file_is_on_its_way() {
    let outer = tempfile::tempdir().unwrap();
    let (before, after) = (outer.path().join("before"), outer.path().join("after"));
    fs::create_dir(&before).unwrap();
    let content = content(1, LEN);
    let inbox = small().open(&before).unwrap();
    let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    fs::rename(&before, &after).unwrap();
    symlink("/", &before).unwrap();
    send(&mut receiver, &content, LEN).unwrap();
    receiver.finish(LEN as u64, Some(digest(&content))).unwrap();
    assert_eq!(names(&after), ["x"]);
}

#[test]
fn s5_h29_what_stands_under_the_name_of_a_part_is_not_written_to() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    fs::write(&target, "old").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let inbox = small().open(folder.path()).unwrap();
    let content = content(1, LEN);
    let receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    let part = folder.path().join(&names(folder.path())[0]);
    drop(receiver);
    symlink(&target, &part).unwrap();
    transfer(&inbox, "x", &content).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"old");
    // Another name of a file: that of a link made just before a crash, say.
    fs::hard_link(&target, &part).unwrap();
    transfer(&inbox, "x", &content).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"old");
    fs::create_dir(&part).unwrap();
    let error = inbox.receive(PEER, &offer("x", &content)).unwrap_err();
    assert_eq!(error.code(), TransferCode::STORAGE_FAILED);
    fs::remove_dir(&part).unwrap();
    // A pipe does not make anybody wait for its other end.
    rustix_fifo(&part);
    transfer(&inbox, "x", &content).unwrap();
    assert_eq!(names(folder.path()), ["x", "x (1)", "x (2)"]);
}

fn rustix_fifo(path: &std::path::Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn a12_a_part_is_found_again_by_the_same_offer_of_the_same_peer_only() {
    let folder = tempfile::tempdir().unwrap();
    let content = content(1, LEN);
    let same = offer("x", &content);
    let inbox = small().open(folder.path()).unwrap();
    let mut receiver = inbox.receive(PEER, &same).unwrap();
    send(&mut receiver, &content, 2 * BLOCK as usize + 100).unwrap();
    receiver.suspend();
    assert_eq!(names(folder.path()).len(), 2);

    // A later run of the program.
    let inbox = small().open(folder.path()).unwrap();
    let strangers = [
        (OTHER, same.clone()),
        (None, same.clone()),
        (PEER, same.clone().size(LEN as u64 + 1)),
        (PEER, same.clone().modified(2)),
        (PEER, same.clone().digest(digest(b"another"))),
        (PEER, Offer { name: "y".into(), ..same.clone() }),
    ];
    for (identity, offer) in strangers {
        let receiver = inbox.receive(identity, &offer).unwrap();
        assert_eq!((receiver.prefix(), receiver.position()), (None, 0));
        receiver.discard();
    }
    let mut receiver = inbox.receive(PEER, &same).unwrap();
    let expected = (2 * BLOCK, digest(&content[..2 * BLOCK as usize]));
    assert_eq!(receiver.prefix(), Some(expected));
    // What is there has not been looked at yet.
    assert_eq!((receiver.position(), receiver.durable()), (2 * BLOCK, 0));
    send(&mut receiver, &content, 2 * BLOCK as usize + 1).unwrap();
    assert_eq!(receiver.durable(), 2 * BLOCK);
    send(&mut receiver, &content, LEN).unwrap();
    receiver.finish(LEN as u64, Some(digest(&content))).unwrap();
    assert_eq!(names(folder.path()), ["x"]);
}

#[test]
fn a12_a_sender_that_begins_at_0_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (content(1, LEN), content(2, LEN));
    let inbox = small().open(folder.path()).unwrap();
    let mut receiver = inbox.receive(PEER, &offer("x", &old)).unwrap();
    send(&mut receiver, &old, 3 * BLOCK as usize).unwrap();
    receiver.suspend();
    let mut receiver = inbox.receive(PEER, &offer("x", &new)).unwrap();
    assert!(receiver.prefix().is_some_and(|(_, prefix)| prefix != digest(&new[..prefix_len()])));
    receiver.restart().unwrap();
    assert_eq!((receiver.position(), receiver.durable()), (0, 0));
    send(&mut receiver, &new, LEN).unwrap();
    receiver.finish(LEN as u64, Some(digest(&new))).unwrap();
    assert_eq!(fs::read(folder.path().join("x")).unwrap(), new);
}

fn prefix_len() -> usize {
    3 * BLOCK as usize
}

#[test]
fn parts_without_an_identity_are_shared_on_request_only() {
    for shared in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let content = content(1, LEN);
        let inbox = small().anonymous_parts(shared).open(folder.path()).unwrap();
        let mut receiver = inbox.receive(None, &offer("x", &content)).unwrap();
        send(&mut receiver, &content, 3 * BLOCK as usize).unwrap();
        drop(receiver);
        assert_eq!(names(folder.path()).len(), if shared { 2 } else { 0 });
        let receiver = inbox.receive(None, &offer("x", &content)).unwrap();
        assert_eq!(receiver.prefix().is_some(), shared);
    }
}

#[test]
fn h37_s4_a_journal_that_was_tampered_with_means_a_new_start() {
    let content = content(1, LEN);
    let disk = ShadowDisk::new();
    let mut receiver = on(&disk, small()).unwrap().receive(PEER, &offer("x", &content)).unwrap();
    send(&mut receiver, &content, 3 * BLOCK as usize).unwrap();
    drop(receiver);
    let [journal, part] = &disk.names()[..] else { panic!() };
    let whole = disk.read(journal).unwrap();
    let prefix = |disk: &ShadowDisk| {
        let receiver = on(disk, small()).unwrap().receive(PEER, &offer("x", &content)).unwrap();
        receiver.prefix().map(|(offset, _)| offset)
    };
    for byte in (0..whole.len()).step_by(7) {
        let copy = disk.kill();
        let mut torn = whole.clone();
        torn[byte] ^= 0x10;
        copy.write(journal, &torn);
        assert!(prefix(&copy).is_none_or(|offset| [2, 3].contains(&(offset / BLOCK))));
    }
    // Huge, cut, empty; the part cut.
    for (name, bytes) in [
        (journal, vec![0xFF; 1 << 20]),
        (journal, whole[..100].to_vec()),
        (journal, Vec::new()),
        (part, content[..BLOCK as usize].to_vec()),
    ] {
        let copy = disk.kill();
        copy.write(name, &bytes);
        assert_eq!(prefix(&copy), None);
    }
    // The part of other content: that is found out when it is read, and then it is gone.
    let copy = disk.kill();
    copy.write(part, &vec![7; LEN]);
    let inbox = on(&copy, small()).unwrap();
    let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    assert_eq!(receiver.prefix(), Some((3 * BLOCK, digest(&content[..3 * BLOCK as usize]))));
    assert_eq!(send(&mut receiver, &content, LEN), Err(Error::PartDiffers));
    assert_eq!(receiver.durable(), 0);
    drop(receiver);
    assert_eq!(copy.names(), [""; 0]);
    transfer(&inbox, "x", &content).unwrap();
    // Grown.
    let copy = disk.kill();
    copy.write(part, &content.repeat(2));
    assert_eq!(prefix(&copy), Some(3 * BLOCK));
    assert_eq!(prefix(&disk.kill()), Some(3 * BLOCK));
}

#[test]
fn a13_busy_only_while_attached() {
    let folder = tempfile::tempdir().unwrap();
    let content = content(1, LEN);
    let inbox = small().open(folder.path()).unwrap();
    let same = offer("x", &content);
    let mut first = inbox.receive(PEER, &same).unwrap();
    send(&mut first, &content, 2 * BLOCK as usize + 100).unwrap();
    assert_eq!(inbox.receive(PEER, &same).unwrap_err(), Error::Busy);
    // Another program, or another inbox of this one.
    let second_program = small().open(folder.path()).unwrap();
    assert_eq!(second_program.receive(PEER, &same).unwrap_err(), Error::Busy);
    assert_eq!(second_program.receive(PEER, &same).unwrap_err().code(), TransferCode::BUSY);

    first.detach().unwrap();
    first.reattach().unwrap();
    assert_eq!(inbox.receive(PEER, &same).unwrap_err(), Error::Busy);

    first.detach().unwrap();
    assert!(inbox.receive(OTHER, &same).is_ok_and(|other| other.prefix().is_none()));
    let mut second = inbox.receive(PEER, &same).unwrap();
    assert_eq!(second.position(), 2 * BLOCK);
    assert_eq!(first.reattach(), Err(Error::Superseded));
    assert_eq!(first.write(&[content.slice(..9)]), Err(Error::Superseded));
    drop(first);
    assert_eq!(inbox.receive(PEER, &same).unwrap_err(), Error::Busy);
    send(&mut second, &content, LEN).unwrap();
    second.finish(LEN as u64, Some(digest(&content))).unwrap();
    assert_eq!(fs::read(folder.path().join("x")).unwrap(), content);
}

#[test]
fn h36_digests_that_differ_are_missing_or_cannot_be_computed() {
    let folder = tempfile::tempdir().unwrap();
    let content = content(1, LEN);
    let inbox = small().open(folder.path()).unwrap();
    let whole = LEN as u64;
    let receive = |inbox: &Inbox, offer: &Offer<'_>, total, digest| {
        let mut receiver = inbox.receive(PEER, offer)?;
        send(&mut receiver, &content, LEN)?;
        receiver.finish(total, digest)
    };
    let plain = offer("x", &content);
    let unsized_offer = Offer::new("x");
    let right = Some(digest(&content));
    let sha256 = Some(Digest::Sha256([0; 32]));
    for (offer, total, said, expected) in [
        (plain.clone(), whole, Some(digest(b"")), Error::DigestDiffers),
        (plain.clone().digest(digest(b"")), whole, right, Error::DigestDiffers),
        (plain.clone().digest(digest(&content)), whole, Some(digest(b"")), Error::DigestDiffers),
        (plain.clone(), whole, None, Error::DigestMissing),
        (plain.clone(), whole, sha256, Error::DigestUnsupported),
        (
            unsized_offer,
            whole + 1,
            right,
            Error::SizeDiffers { expected: whole + 1, received: whole },
        ),
    ] {
        assert_eq!(receive(&inbox, &offer, total, said), Err(expected));
        assert_eq!(names(folder.path()), [""; 0]);
    }
    let sha256 = plain.clone().digest(Digest::Sha256([0; 32]));
    assert_eq!(inbox.receive(PEER, &sha256).unwrap_err(), Error::DigestUnsupported);
    assert!(receive(&inbox, &plain.clone().digest(digest(&content)), whole, None).is_ok());
    let trusting = small().require_digest(false).open(folder.path()).unwrap();
    assert!(receive(&trusting, &plain, whole, None).is_ok());
}

#[test]
fn h33_sizes_that_are_lies() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = small().max_file_size(2000).open(folder.path()).unwrap();
    let huge = Offer::new("x").size((1 << 53) - 1);
    assert_eq!(inbox.receive(PEER, &huge).unwrap_err(), Error::TooLarge { max: 2000 });
    assert_eq!(inbox.check(&huge).unwrap_err().code(), TransferCode::TOO_LARGE);
    // More than was announced.
    let mut receiver = inbox.receive(PEER, &Offer::new("x").size(3)).unwrap();
    assert_eq!(receiver.write(&["four".into()]), Err(Error::TooLarge { max: 3 }));
    drop(receiver);
    // Less.
    let mut receiver = inbox.receive(PEER, &Offer::new("x").size(3)).unwrap();
    receiver.write(&["xy".into()]).unwrap();
    let error = receiver.finish(3, Some(digest(b"xy"))).unwrap_err();
    assert_eq!(error, Error::SizeDiffers { expected: 3, received: 2 });
    // Of no end.
    let mut endless = inbox.receive(PEER, &Offer::new("x")).unwrap();
    let chunk = content(1, 500);
    let errors: Vec<_> =
        (0..5).filter_map(|_| endless.write(std::slice::from_ref(&chunk)).err()).collect();
    assert_eq!(errors, [Error::TooLarge { max: 2000 }]);
    drop(endless);
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn h33_h35_quotas_of_a_peer_and_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let options = small().quota_per_identity(10_000).quota(15_000);
    let inbox = options.clone().open(folder.path()).unwrap();
    let content = content(1, LEN);
    let len = LEN as u64;
    transfer(&inbox, "one", &content).unwrap();
    assert_eq!((inbox.used_by(PEER), inbox.used()), (len, len));
    let mut kept = inbox.receive(PEER, &offer("two", &content)).unwrap();
    assert_eq!(inbox.used_by(PEER), 2 * len);
    let refused = inbox.receive(PEER, &offer("three", &content)).unwrap_err();
    assert_eq!(refused, Error::Quota { max: 10_000 });
    assert_eq!(refused.code(), TransferCode::NO_SPACE);
    // A file without a size counts as it grows.
    let mut endless = inbox.receive(PEER, &Offer::new("endless")).unwrap();
    let error = send(&mut endless, &content, LEN).unwrap_err();
    assert_eq!(error, Error::Quota { max: 10_000 });
    assert_eq!(endless.write(&["x".into()]), Err(error));
    endless.discard();
    // Others have their own, and all together one.
    let other = inbox.receive(OTHER, &offer("three", &content)).unwrap();
    let error = inbox.receive(None, &offer("four", &content)).unwrap_err();
    assert_eq!(error, Error::Quota { max: 15_000 });
    other.discard();
    assert_eq!((inbox.used_by(OTHER), inbox.used()), (0, 2 * len));

    // What is kept counts, also in the next run of the program.
    send(&mut kept, &content, 2 * BLOCK as usize).unwrap();
    kept.suspend();
    assert_eq!(inbox.used_by(PEER), len + 2 * BLOCK);
    let inbox = options.open(folder.path()).unwrap();
    assert_eq!((inbox.used_by(PEER), inbox.used()), (2 * BLOCK, 2 * BLOCK));
}

#[test]
fn h34_an_announced_size_alone_takes_no_room() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let inbox = InboxOptions::new().keep_free(0).open(folder.path()).unwrap();
    // Four times what is reserved at once, and no more than there is room for wherever this is run.
    let _receiver = inbox.receive(PEER, &Offer::new("x").size(256 << 20)).unwrap();
    let metadata = fs::metadata(folder.path().join(&names(folder.path())[0])).unwrap();
    assert_eq!(metadata.len(), 0);
    assert!(metadata.blocks() * 512 <= (64 << 20) + (1 << 20), "{}", metadata.blocks());

    // What there is no room for is refused at once, and leaves nothing.
    let disk = ShadowDisk::new();
    let inbox = on(&disk, InboxOptions::new().keep_free(0)).unwrap();
    let huge = Offer::new("x").size(8 << 30);
    disk.set_free_space((8 << 30) - 1);
    assert_eq!(inbox.receive(PEER, &huge).unwrap_err(), Error::Reserve);
    assert_eq!(disk.names(), [""; 0]);
    disk.set_free_space(8 << 30);
    assert!(inbox.receive(PEER, &huge).is_ok());
}

#[test]
fn a_name_of_our_own_may_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(folder.path()).unwrap();
    let name = FileName::new("mine").unwrap();
    let mut receiver = inbox.receive_as(PEER, &Offer::new("C:\\x"), &name).unwrap();
    receiver.write(&["x".into()]).unwrap();
    assert_eq!(receiver.finish(1, Some(digest(b"x"))).unwrap().as_str(), "mine");
}

#[test]
fn the_longest_name_gets_a_number_too() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(folder.path()).unwrap();
    let longest = format!("{}.txt", "é".repeat(125));
    let one = content(1, 10);
    assert_eq!(transfer(&inbox, &longest, &one).unwrap().as_str(), longest);
    let path = transfer(&inbox, &longest, &content(2, 10)).unwrap();
    assert_eq!(path.as_str(), format!("{} (1).txt", "é".repeat(123)));
}

#[test]
fn old_parts_go_and_those_in_use_stay() {
    let disk = ShadowDisk::new();
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    let content = content(1, LEN);
    let inbox = on(&disk, small()).unwrap();
    let keep = |name: &str| {
        let mut receiver = inbox.receive(PEER, &offer(name, &content)).unwrap();
        send(&mut receiver, &content, 2 * BLOCK as usize).unwrap();
        receiver
    };
    keep("old").suspend();
    let mut in_use = keep("in use");
    let mut detached = keep("detached");
    detached.detach().unwrap();
    disk.write(".duologue-0-left.journal", b"without a part");
    disk.write("a file", b"of the user");
    disk.write(".duologue-new-0123456789abcdef-7.part", b"of a program that was killed");
    disk.advance(Duration::from_secs(3599));
    assert_eq!(inbox.clean().unwrap().removed, 0);
    disk.advance(Duration::from_secs(1));
    assert_eq!(inbox.clean().unwrap().removed, 1);
    disk.advance(week - Duration::from_secs(3601));
    keep("young").suspend();
    assert_eq!(inbox.clean().unwrap().removed, 0);
    disk.advance(Duration::from_secs(1));

    // Another program sees the locks.
    let other = on(&disk, small()).unwrap();
    let cleaned = other.clean().unwrap();
    assert_eq!((cleaned.removed, cleaned.bytes, cleaned.kept), (1, 2 * BLOCK, 3));
    assert_eq!(inbox.clean().unwrap().removed, 0);
    assert_eq!(disk.names().iter().filter(|name| name.ends_with(".journal")).count(), 3);
    assert!(disk.read("a file").is_some());
    assert_eq!(other.used(), 3 * 2 * BLOCK);
    for (receiver, name) in [(&mut in_use, "in use"), (&mut detached, "detached")] {
        send(receiver, &content, LEN).expect(name);
    }
    in_use.finish(LEN as u64, Some(digest(&content))).unwrap();
    detached.reattach().unwrap();
}

#[test]
fn a_short_file_has_no_journal_and_leaves_no_part() {
    let folder = tempfile::tempdir().unwrap();
    let content = content(1, 100_000);
    let inbox = Inbox::open(folder.path()).unwrap();
    let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    send(&mut receiver, &content, 90_000).unwrap();
    assert_eq!((receiver.durable(), names(folder.path()).len()), (0, 1));
    drop(receiver);
    assert_eq!(names(folder.path()), [""; 0]);
}
