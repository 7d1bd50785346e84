//! A file that was stored, and is offered again because its sender never heard of it.

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use duologue::fs::{Action, Collision, Durability, Error, InboxOptions};
use duologue::testing::ShadowDisk;
use duologue::wire::Offer;

use super::fs_util::{
    BLOCK, PEER, TABLE, content, digest, names, names_on, offer, on, send, small, transfer,
};

const LEN: usize = 3 * BLOCK as usize + 300;
const OTHER: Option<&[u8]> = Some(b"other");

#[test]
fn a_stored_file_that_is_offered_again_is_known_and_not_received_again() {
    for collision in [Collision::Number, Collision::Refuse, Collision::Replace] {
        for len in [0, 1, LEN] {
            let folder = tempfile::tempdir().unwrap();
            let content = content(1, len);
            let whole = (len as u64, digest(&content));
            let options = small().collision(collision);
            transfer(&options.clone().open(folder.path()).unwrap(), "x", &content).unwrap();

            // A later run of the program.
            let inbox = options.open(folder.path()).unwrap();
            for _ in 0..2 {
                let receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
                assert_eq!(receiver.prefix(), Some(whole).filter(|_| len > 0));
                // It takes no room, and gets no other name.
                assert_eq!(inbox.used(), 0);
                let path = receiver.finish(whole.0, Some(whole.1)).unwrap();
                assert_eq!((path.as_str(), names(folder.path())), ("x", vec!["x".to_owned()]));
            }
            assert_eq!(fs::read(folder.path().join("x")).unwrap(), content);
        }
    }
}

#[test]
fn who_gives_up_an_offer_of_a_stored_file_does_it_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let content = content(1, LEN);
    let inbox = small().open(folder.path()).unwrap();
    transfer(&inbox, "x", &content).unwrap();
    let receive = || inbox.receive(PEER, &offer("x", &content)).unwrap();
    drop(receive());
    receive().discard();
    receive().suspend();
    let mut more = receive();
    assert!(matches!(more.write(&["more".into()]), Err(Error::TooLarge { .. })));
    drop(more);
    let mut detached = receive();
    detached.checkpoint().unwrap();
    detached.detach().unwrap();
    drop(receive());
    assert_eq!(detached.reattach(), Err(Error::Superseded));
    drop(detached);
    let wrong = receive().finish(LEN as u64, Some(digest(b"another")));
    assert_eq!(wrong, Err(Error::DigestDiffers));
    assert_eq!(fs::read(folder.path().join("x")).unwrap(), content);
    assert_eq!(names(folder.path()), ["x"]);
}

#[test]
fn s1_a_disk_that_fails_while_a_stored_file_is_looked_for_does_not_make_it_unknown() {
    let content = content(1, LEN);
    for kind in [ErrorKind::StorageFull, ErrorKind::Other, ErrorKind::PermissionDenied] {
        for call in 0.. {
            let disk = ShadowDisk::new();
            let inbox = on(&disk, small().collision(Collision::Refuse)).unwrap();
            // Its sender does not hear the verdict.
            transfer(&inbox, "x", &content).unwrap();
            let from = disk.calls() + call;
            disk.fail(from, 1, kind);
            let failed = transfer(&inbox, "x", &content);
            let is_beyond = disk.calls() <= from;
            disk.heal();
            let error = failed.err();
            assert_ne!(error, Some(Error::Exists), "call {call}");
            let known = inbox.receive(PEER, &offer("x", &content));
            if matches!(error, Some(Error::Storage { action: Action::Sync, .. })) {
                // What is read of it may not be on the disk any more.
                assert_eq!(known.err(), Some(Error::Exists), "call {call}");
                continue;
            }
            let known = known.unwrap();
            let path = known.finish(LEN as u64, Some(digest(&content))).unwrap();
            assert_eq!(
                (path.as_str(), names_on(&disk)),
                ("x", vec!["x".to_owned()]),
                "call {call}"
            );
            if is_beyond {
                assert!(call > 5, "{call} calls only");
                break;
            }
        }
    }
}

/// What was stored, as the same offer of the same peer finds it.
fn known(inbox: &duologue::fs::Inbox, name: &str, content: &bytes::Bytes) -> Result<String, Error> {
    let known = inbox.receive(PEER, &offer(name, content))?;
    assert_eq!(known.prefix(), Some((content.len() as u64, digest(content))));
    let path = known.finish(content.len() as u64, Some(digest(content)))?;
    Ok(path.as_str().to_owned())
}

#[test]
fn a_note_that_the_disk_did_not_take_is_made_once_more() {
    let content = content(1, LEN);
    for collision in [Collision::Number, Collision::Refuse, Collision::Replace] {
        for call in 0.. {
            let disk = ShadowDisk::new();
            let inbox = on(&disk, small().collision(collision)).unwrap();
            let from = disk.calls() + call;
            disk.fail(from, 1, ErrorKind::Other);
            let stored = transfer(&inbox, "x", &content);
            let is_beyond = disk.calls() <= from;
            disk.heal();
            if stored.is_ok() {
                assert_eq!(known(&inbox, "x", &content).as_deref(), Ok("x"), "call {call}");
                assert_eq!(names_on(&disk), ["x"]);
            }
            if is_beyond {
                assert!(call > 10, "{call} calls only");
                break;
            }
        }
    }
}

/// Its sender has another file of that name, size and time, which is refused: the one that was stored
/// is known all the same, though the disk did not let it be forgotten.
#[test]
fn what_is_noted_of_a_stored_file_stays_when_another_is_refused() {
    let (one, other) = (content(1, LEN), content(2, LEN));
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small().collision(Collision::Refuse)).unwrap();
    transfer(&inbox, "x", &one).unwrap();
    let mut receiver = inbox.receive(PEER, &offer("x", &other)).unwrap();
    disk.fail(disk.calls(), 1, ErrorKind::Other);
    receiver.restart().unwrap();
    send(&mut receiver, &other, LEN).unwrap();
    assert_eq!(receiver.finish(LEN as u64, Some(digest(&other))), Err(Error::Exists));
    assert_eq!(known(&inbox, "x", &one).as_deref(), Ok("x"));
}

/// The system lets nobody write to it.
#[cfg(target_os = "linux")]
#[test]
fn a_stored_file_that_runs_as_a_program_is_known() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let inbox = small().open(folder.path()).unwrap();
    let content = fs::read("/bin/cat").unwrap().into();
    transfer(&inbox, "cat", &content).unwrap();
    let path = folder.path().join("cat");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o500)).unwrap();
    let mut program = loop {
        let piped = std::process::Stdio::piped();
        match std::process::Command::new(&path).stdin(piped).spawn() {
            Ok(program) => break program,
            // Another thread was about to start a program when this one's file was open.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ExecutableFileBusy),
        }
    };
    let found = known(&inbox, "cat", &content);
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());
    assert_eq!(found.as_deref(), Ok("cat"));
    assert_eq!(names(folder.path()), ["cat"]);
}

#[test]
fn an_offer_without_a_size_is_of_one_more_file() {
    let content = content(1, LEN);
    let policies = [
        (Collision::Number, Some("x (1)"), vec!["x", "x (1)"]),
        (Collision::Replace, Some("x"), vec!["x"]),
        (Collision::Refuse, None, vec!["x"]),
    ];
    for (collision, again, left) in policies {
        let folder = tempfile::tempdir().unwrap();
        let inbox = small().collision(collision).open(folder.path()).unwrap();
        let transfer = || {
            let mut receiver = inbox.receive(PEER, &Offer::new("x").modified(1))?;
            assert_eq!(receiver.prefix(), None);
            send(&mut receiver, &content, LEN)?;
            receiver.finish(LEN as u64, Some(digest(&content)))
        };
        assert_eq!(transfer().unwrap().as_str(), "x");
        let expected = again.ok_or(Error::Exists);
        assert_eq!(transfer().as_ref().map(|path| path.as_str()), expected.as_ref().copied());
        assert_eq!(names(folder.path()), left);
    }
}

#[test]
fn what_could_never_be_stored_is_not_kept_though_some_of_it_was_durable() {
    let folder = tempfile::tempdir().unwrap();
    let content = content(1, LEN);
    let inbox = small().max_file_size(2 * BLOCK).open(folder.path()).unwrap();
    let endless = Offer::new("x").modified(1);
    let mut receiver = inbox.receive(PEER, &endless).unwrap();
    assert_eq!(send(&mut receiver, &content, LEN), Err(Error::TooLarge { max: 2 * BLOCK }));
    assert!(receiver.durable() >= BLOCK);
    receiver.suspend();
    assert_eq!((names(folder.path()), inbox.used()), (vec![], 0));
    assert_eq!(inbox.receive(PEER, &endless).unwrap().prefix(), None);
}

#[test]
fn a_stored_file_is_not_known_to_others_or_by_another_offer() {
    let folder = tempfile::tempdir().unwrap();
    let content = content(1, LEN);
    let inbox = small().open(folder.path()).unwrap();
    transfer(&inbox, "x", &content).unwrap();
    let same = offer("x", &content);
    for (identity, offer) in [
        (OTHER, same.clone()),
        (None, same.clone()),
        (PEER, same.clone().modified(2)),
        (PEER, same.clone().size(LEN as u64 + 1)),
        (PEER, same.clone().digest(digest(&content))),
    ] {
        assert_eq!(inbox.receive(identity, &offer).unwrap().prefix(), None);
    }
    // Nor under a name of ours that is not the one it was stored by.
    let name = duologue::fs::FileName::new("y").unwrap();
    assert_eq!(inbox.receive_as(PEER, &same, &name).unwrap().prefix(), None);
    assert!(inbox.receive(PEER, &same).unwrap().prefix().is_some());
    // Who keeps no parts remembers nothing.
    for options in [small().keep_parts_for(Duration::ZERO), small()] {
        let folder = tempfile::tempdir().unwrap();
        let is_kept = !format!("{options:?}").contains("keep_parts_for: 0");
        let inbox = options.open(folder.path()).unwrap();
        transfer(&inbox, "x", &content).unwrap();
        assert_eq!(folder.path().join(TABLE).exists(), is_kept);
    }
}

#[test]
fn a_stored_file_that_changed_or_is_gone_is_received_again() {
    let (one, other) = (content(1, LEN), content(2, LEN));
    type Change = fn(&std::path::Path);
    let changes: [(&str, Change); 6] = [
        ("x (1)", |x| fs::write(x, content(3, LEN)).unwrap()),
        ("x (1)", |x| fs::write(x, "shorter").unwrap()),
        ("x", |x| fs::remove_file(x).unwrap()),
        ("x", |x| fs::rename(x, x.with_file_name("moved")).unwrap()),
        ("x (1)", |x| {
            fs::remove_file(x).unwrap();
            std::os::unix::fs::symlink("elsewhere", x).unwrap();
        }),
        ("x (1)", |x| {
            fs::remove_file(x).unwrap();
            fs::create_dir(x).unwrap();
        }),
    ];
    for (expected, change) in changes {
        let folder = tempfile::tempdir().unwrap();
        let inbox = small().open(folder.path()).unwrap();
        transfer(&inbox, "x", &one).unwrap();
        change(&folder.path().join("x"));
        assert_eq!(inbox.receive(PEER, &offer("x", &one)).unwrap().prefix(), None);
        assert_eq!(transfer(&inbox, "x", &one).unwrap().as_str(), expected);
        assert_eq!(fs::read(folder.path().join(expected)).unwrap(), one);
    }

    // The sender's has changed, though not its size and time: another file, which leaves this one.
    let folder = tempfile::tempdir().unwrap();
    let inbox = small().open(folder.path()).unwrap();
    transfer(&inbox, "x", &one).unwrap();
    let mut receiver = inbox.receive(PEER, &offer("x", &other)).unwrap();
    assert!(receiver.prefix().is_some_and(|(_, found)| found != digest(&other)));
    receiver.restart().unwrap();
    assert_eq!((receiver.position(), inbox.used_by(PEER)), (0, 2 * LEN as u64));
    send(&mut receiver, &other, LEN).unwrap();
    let path = receiver.finish(LEN as u64, Some(digest(&other))).unwrap();
    assert_eq!(path.as_str(), "x (1)");
    assert_eq!(fs::read(folder.path().join("x")).unwrap(), one);
    assert_eq!(fs::read(folder.path().join("x (1)")).unwrap(), other);
}

/// What only reading it shows: the verdict says so, and the next offer begins at 0.
#[test]
fn a_stored_file_that_rotted_is_never_said_to_be_stored() {
    let disk = ShadowDisk::new();
    let content = content(1, LEN);
    let inbox = on(&disk, small()).unwrap();
    transfer(&inbox, "x", &content).unwrap();
    // Time stands still there: the file's is the same.
    let mut rotten = content.to_vec();
    rotten[7] ^= 1;
    disk.write("x", &rotten);
    let receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    assert_eq!(receiver.position(), LEN as u64);
    let refused = receiver.finish(LEN as u64, Some(digest(&content))).unwrap_err();
    assert_eq!(refused, Error::PartDiffers);
    assert!(refused.can_retry());
    assert_eq!(disk.read("x").unwrap(), rotten);
    assert_eq!(transfer(&inbox, "x", &content).unwrap().as_str(), "x (1)");
    // It changes after it was looked at.
    let receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    disk.write("x (1)", b"short");
    assert!(receiver.finish(LEN as u64, Some(digest(&content))).is_err());
    // A room that is not there is not taken when the sender begins at 0.
    let small = on(&disk.kill(), small().quota(LEN as u64 - 1)).unwrap();
    assert!(small.receive(PEER, &offer("x", &content)).unwrap_err().can_retry());
}

#[test]
fn what_is_noted_is_bounded_in_number_and_age_and_never_more_than_a_hint() {
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small()).unwrap();
    let content = content(1, 10);
    let known = |name: &str| {
        let receiver = inbox.receive(PEER, &offer(name, &content)).unwrap();
        receiver.prefix().is_some()
    };
    let files: Vec<String> = (0..20).map(|number| format!("file {number}")).collect();
    for name in &files {
        disk.advance(Duration::from_secs(1));
        transfer(&inbox, name, &content).unwrap();
        assert!(known(name));
    }
    // Of four slots here, which are one row; of 4096 else. The oldest have given way.
    assert!(disk.read(TABLE).unwrap().len() <= 4 * 512);
    assert!(files.iter().enumerate().all(|(number, name)| known(name) == (number >= 16)));
    // What is stored once more takes its own place.
    disk.write(&files[17], b"another");
    assert!(!known(&files[17]));
    transfer(&inbox, &files[17], &content).unwrap();
    assert!(files[16..].iter().all(|name| known(name)));
    // Torn, cut, of somebody else: as if it were not there.
    let newest = files.last().unwrap();
    let whole = disk.read(TABLE).unwrap();
    for bytes in [vec![], vec![0xFF; 1 << 16], whole[..whole.len() / 2].to_vec()] {
        disk.write(TABLE, &bytes);
        assert!(names_on(&disk).len() == 21);
        let _ = known(newest);
    }
    disk.write(TABLE, &whole);
    assert!(known(newest));
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    disk.advance(week);
    assert!(known(newest));
    disk.advance(Duration::from_secs(1));
    assert!(!known(newest));
    inbox.clean().unwrap();
    assert_eq!(disk.read(TABLE), None);
    assert_eq!(names_on(&disk).len(), 21);
}

#[test]
fn two_programs_note_in_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let content = content(1, 10);
    let inboxes: Vec<_> =
        (0..2).map(|_| InboxOptions::new().open(folder.path()).unwrap()).collect();
    std::thread::scope(|scope| {
        for (number, inbox) in inboxes.iter().enumerate() {
            let content = &content;
            scope.spawn(move || {
                for file in 0..20 {
                    transfer(inbox, &format!("file {number} {file}"), content).unwrap();
                }
            });
        }
    });
    for (number, inbox) in inboxes.iter().rev().enumerate() {
        for file in 0..20 {
            let name = format!("file {number} {file}");
            assert!(inbox.receive(PEER, &offer(&name, &content)).unwrap().prefix().is_some());
        }
    }
}

#[test]
fn what_stands_under_the_name_of_the_table_is_not_written_to() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    let content = content(1, LEN);
    for form in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join(TABLE);
        fs::write(&target, "old").unwrap();
        match form {
            0 => std::os::unix::fs::symlink(&target, &table).unwrap(),
            1 => fs::hard_link(&target, &table).unwrap(),
            2 => fs::create_dir(&table).unwrap(),
            _ => {
                let made = std::process::Command::new("mkfifo").arg(&table).status().unwrap();
                assert!(made.success());
            }
        }
        let inbox = small().open(folder.path()).unwrap();
        transfer(&inbox, "x", &content).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(fs::read(folder.path().join("x")).unwrap(), content);
        let again = inbox.receive(PEER, &offer("x", &content)).unwrap();
        assert_eq!(again.prefix().is_some(), form != 2);
    }
}

#[test]
fn a_part_that_somebody_removes_fails_and_the_next_try_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let content = content(1, LEN);
    let inbox = small().open(folder.path()).unwrap();
    let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    send(&mut receiver, &content, LEN).unwrap();
    for name in names(folder.path()) {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let error = receiver.finish(LEN as u64, Some(digest(&content))).unwrap_err();
    assert_eq!(names(folder.path()), [""; 0]);
    assert!(error.can_retry(), "{error}");
    assert_eq!(inbox.receive(PEER, &offer("x", &content)).unwrap().prefix(), None);
    assert_eq!(transfer(&inbox, "x", &content).unwrap().as_str(), "x");
    assert_eq!(inbox.used_by(PEER), LEN as u64);
}

/// What took its place is told as that, and not as a disk that fails.
#[test]
fn what_took_the_place_of_a_stored_file_is_in_the_way() {
    let content = content(1, LEN);
    for collision in [Collision::Refuse, Collision::Replace] {
        for form in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let inbox = small().collision(collision).open(folder.path()).unwrap();
            transfer(&inbox, "x", &content).unwrap();
            let x = folder.path().join("x");
            fs::remove_file(&x).unwrap();
            match form {
                0 => fs::create_dir(&x).unwrap(),
                1 => std::os::unix::fs::symlink("elsewhere", &x).unwrap(),
                _ => {
                    let made = std::process::Command::new("mkfifo").arg(&x).status().unwrap();
                    assert!(made.success());
                }
            }
            let offered = inbox.receive(PEER, &offer("x", &content)).err();
            let is_replaced = collision == Collision::Replace && form > 0;
            let expected = if is_replaced { None } else { Some(Error::Exists) };
            assert_eq!(offered, expected, "{collision:?} {form}");
        }
    }
}

/// A loss of power takes any one thing that was not synchronised.
#[test]
fn s3_a_folder_whose_synchronising_failed_is_synchronised_with_the_next_note() {
    let content = content(1, LEN);
    for call in 0.. {
        let disk = ShadowDisk::new();
        let inbox = on(&disk, small()).unwrap();
        let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
        send(&mut receiver, &content, LEN).unwrap();
        let from = disk.calls() + call;
        disk.fail(from, 1, ErrorKind::Other);
        let is_named = receiver.publish(LEN as u64, Some(digest(&content))).is_ok();
        let is_beyond = disk.calls() <= from;
        for lost in 0..disk.pending() {
            let after = disk.crash(|thing| thing != lost);
            if is_named && after.read("x").is_some() {
                let inbox = on(&after, small()).unwrap();
                assert_eq!(known(&inbox, "x", &content).as_deref(), Ok("x"), "{call} {lost}");
            }
        }
        if is_beyond {
            assert!(call > 5, "{call} calls only");
            break;
        }
    }
}

/// The program that made the table may have ended before it had synchronised its name.
#[test]
fn s3_a_table_that_another_run_made_is_on_the_disk_before_a_file_has_its_name() {
    // Too short for a journal, which would synchronise the folder.
    let content = content(1, 300);
    let disk = ShadowDisk::new();
    let careless = on(&disk, small().durability(Durability::NoSync)).unwrap();
    transfer(&careless, "y", &content).unwrap();
    let inbox = on(&disk, small()).unwrap();
    let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    send(&mut receiver, &content, 300).unwrap();
    let _published = receiver.publish(300, Some(digest(&content))).unwrap();
    for lost in 0..disk.pending() {
        let after = disk.crash(|thing| thing != lost);
        if after.read("x").is_some() {
            let inbox = on(&after, small()).unwrap();
            assert_eq!(known(&inbox, "x", &content).as_deref(), Ok("x"), "{lost}");
        }
    }
}

/// The old one was removed as nobody had used it for long, and the program goes on.
#[test]
fn s3_a_table_that_is_made_anew_is_on_the_disk_before_a_file_has_its_name() {
    let content = content(1, 300);
    for call in 0.. {
        let disk = ShadowDisk::new();
        let inbox = on(&disk, small()).unwrap();
        transfer(&inbox, "w", &content).unwrap();
        disk.advance(Duration::from_secs(100 * 24 * 3600));
        inbox.clean().unwrap();
        assert_eq!(disk.names(), ["w"]);
        let from = disk.calls() + call;
        disk.fail(from, 1, ErrorKind::Other);
        let published = inbox.receive(PEER, &offer("x", &content)).and_then(|mut receiver| {
            send(&mut receiver, &content, 300)?;
            receiver.publish(300, Some(digest(&content)))
        });
        let is_beyond = disk.calls() <= from;
        disk.heal();
        drop(published);
        let mut receiver = inbox.receive(PEER, &offer("y", &content)).unwrap();
        send(&mut receiver, &content, 300).unwrap();
        let _published = receiver.publish(300, Some(digest(&content))).unwrap();
        for lost in 0..disk.pending() {
            let after = disk.crash(|thing| thing != lost);
            if after.read("y").is_some() {
                let inbox = on(&after, small()).unwrap();
                assert_eq!(known(&inbox, "y", &content).as_deref(), Ok("y"), "{call} {lost}");
            }
        }
        if is_beyond {
            assert!(call > 5, "{call} calls only");
            break;
        }
    }
}

#[test]
fn s3_a_file_that_somebody_stored_without_synchronising_is_synchronised_before_it_is_known() {
    let content = content(1, LEN);
    for durability in [Durability::Full, Durability::Data] {
        let disk = ShadowDisk::new();
        let careless = on(&disk, small().durability(Durability::NoSync)).unwrap();
        transfer(&careless, "x", &content).unwrap();
        let inbox = on(&disk, small().durability(durability)).unwrap();
        assert_eq!(known(&inbox, "x", &content).as_deref(), Ok("x"));
        // With its name or without, what is there of it is whole.
        for lost in 0..disk.pending() {
            let after = disk.crash(|thing| thing != lost);
            assert!(after.read("x").is_none_or(|found| found == content), "{lost}");
        }
        if durability == Durability::Full {
            assert_eq!(disk.crash(|_| false).read("x").unwrap(), content);
        }
    }
}

/// A disk that failed may say yes when it is asked again, having lost the bytes.
#[test]
fn s2_a_file_that_could_not_be_synchronised_is_not_known_again() {
    let content = content(1, LEN);
    for call in 0.. {
        let disk = ShadowDisk::new();
        let careless = on(&disk, small().durability(Durability::NoSync)).unwrap();
        transfer(&careless, "x", &content).unwrap();
        let inbox = on(&disk, small()).unwrap();
        let from = disk.calls() + call;
        disk.fail(from, 1, ErrorKind::Other);
        let _ = transfer(&inbox, "x", &content);
        let is_beyond = disk.calls() <= from;
        disk.heal();
        let path = transfer(&inbox, "x", &content).unwrap();
        let after = disk.crash(|_| false);
        assert_eq!(after.read(path.as_str()).unwrap(), content, "call {call}: {path}");
        if is_beyond {
            assert!(call > 5, "{call} calls only");
            break;
        }
    }
}
