//! Every call of the disk fails once, and from then on: the sender learns why, and nothing is lost
//! that was there.

use std::io::ErrorKind;

use duologue::fs::{Action, Collision, Error, Inbox};
use duologue::testing::ShadowDisk;
use duologue::wire::{Batch, Offer, Side, TransferCode, TransferId};

use super::fs_util::{BLOCK, PEER, content, digest, names_on, offer, on, send, small, transfer};

const NAME: &str = "x.bin";
const LEN: usize = 4 * BLOCK as usize + 300;
const KINDS: [ErrorKind; 4] = [
    ErrorKind::StorageFull,
    ErrorKind::QuotaExceeded,
    ErrorKind::Other,
    ErrorKind::PermissionDenied,
];

fn expected(kind: ErrorKind) -> TransferCode {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => TransferCode::NO_SPACE,
        _ => TransferCode::STORAGE_FAILED,
    }
}

/// The disk as it is when an inbox is opened on it.
fn prepared(collision: Collision) -> (ShadowDisk, Inbox) {
    let disk = ShadowDisk::new();
    if collision != Collision::Refuse {
        disk.write(NAME, b"old");
    }
    let inbox = on(&disk, small().collision(collision)).unwrap();
    (disk, inbox)
}

fn each_call_fails(collision: Collision, kind: ErrorKind, count: u64) {
    let content = content(1, LEN);
    let mut failures = 0;
    for call in 0.. {
        let (disk, inbox) = prepared(collision);
        let from = disk.calls() + call;
        disk.fail(from, count, kind);
        let result = transfer(&inbox, NAME, &content);
        let is_beyond = disk.calls() <= from;
        let is_settling = matches!(result, Err(Error::Storage { action: Action::SyncFolder, .. }));
        if let Err(error) = &result {
            failures += 1;
            assert_eq!(error.code(), expected(kind), "call {call}: {error}");
        }
        // Under a final name there is the old, or the whole.
        for name in disk.names().iter().filter(|name| !name.starts_with('.')) {
            let found = disk.read(name).unwrap();
            let is_old = name == NAME && collision != Collision::Refuse && found == b"old";
            let is_whole = found == content && (result.is_ok() || is_settling);
            assert!(is_old || is_whole, "call {call}: {name}");
        }
        // The lock is gone, and the folder is not spoilt: once the disk is well it works.
        disk.heal();
        let is_there = collision == Collision::Refuse && disk.read(NAME).is_some();
        match transfer(&inbox, NAME, &content) {
            Ok(path) => assert_eq!(disk.read(path.as_str()).unwrap(), content),
            Err(error) => assert!(is_there && error == Error::Exists, "call {call}: {error}"),
        }
        let after = disk.crash(|_| false);
        assert!(after.names().iter().any(|name| after.read(name).unwrap() == content));
        if is_beyond {
            assert!(result.is_ok());
            break;
        }
    }
    assert!(failures > 15, "{failures} failures only");
}

#[test]
fn s1_h35_every_call_fails_once() {
    for kind in KINDS {
        for collision in [Collision::Number, Collision::Replace, Collision::Refuse] {
            each_call_fails(collision, kind, 1);
        }
    }
}

#[test]
fn s1_h35_every_call_fails_from_then_on() {
    for kind in KINDS {
        each_call_fails(Collision::Number, kind, u64::MAX);
        each_call_fails(Collision::Replace, kind, u64::MAX);
    }
}

#[test]
fn s1_a_failed_transfer_leaves_the_others_alone() {
    let content = content(1, LEN);
    let (disk, inbox) = prepared(Collision::Refuse);
    let mut healthy = inbox.receive(PEER, &offer("healthy", &content)).unwrap();
    send(&mut healthy, &content, 100).unwrap();
    disk.fail(disk.calls(), u64::MAX, ErrorKind::Other);
    assert!(transfer(&inbox, NAME, &content).is_err());
    disk.heal();
    send(&mut healthy, &content, LEN).unwrap();
    let path = healthy.finish(LEN as u64, Some(digest(&content))).unwrap();
    assert_eq!((path.as_str(), names_on(&disk)), ("healthy", vec!["healthy".to_owned()]));
}

#[test]
fn s2_a_failed_synchronisation_is_final_and_the_part_is_not_trusted() {
    let content = content(1, LEN);
    let (disk, inbox) = prepared(Collision::Refuse);
    let mut receiver = inbox.receive(PEER, &offer(NAME, &content)).unwrap();
    send(&mut receiver, &content, BLOCK as usize + 500).unwrap();
    assert_eq!(receiver.durable(), BLOCK);
    disk.fail(disk.calls() + 1, 1, ErrorKind::Other);
    let error = send(&mut receiver, &content, 2 * BLOCK as usize).unwrap_err();
    assert!(matches!(error, Error::Storage { action: Action::Sync, .. }) && !error.can_retry());
    // A disk that failed once may say yes the second time: it is not asked.
    let calls = disk.calls();
    assert_eq!(receiver.checkpoint(), Err(error.clone()));
    assert_eq!(receiver.write(&[content.slice(..5)]), Err(error.clone()));
    assert_eq!(receiver.finish(LEN as u64, Some(digest(&content))).unwrap_err(), error);
    assert!(disk.calls() <= calls + 4);
    assert_eq!(disk.names(), [""; 0]);
}

#[test]
fn s1_a_failure_while_a_part_is_taken_up_loses_nothing() {
    let content = content(1, LEN);
    for kind in [ErrorKind::PermissionDenied, ErrorKind::StorageFull] {
        let mut failures = 0;
        for call in 0.. {
            let (disk, inbox) = prepared(Collision::Number);
            let mut receiver = inbox.receive(PEER, &offer(NAME, &content)).unwrap();
            send(&mut receiver, &content, 3 * BLOCK as usize).unwrap();
            receiver.suspend();
            let from = disk.calls() + call;
            disk.fail(from, 1, kind);
            let taken_up = inbox.receive(PEER, &offer(NAME, &content));
            failures += u32::from(taken_up.is_err());
            let is_full = kind == ErrorKind::StorageFull;
            let is_lost = match &taken_up {
                Ok(receiver) => receiver.prefix().is_none(),
                Err(Error::Storage { action: Action::Sync, .. }) => true,
                Err(Error::Storage { action: Action::Write, .. }) => !is_full,
                Err(_) => false,
            };
            drop(taken_up);
            if disk.calls() <= from {
                break;
            }
            disk.heal();
            let receiver = inbox.receive(PEER, &offer(NAME, &content)).unwrap();
            // A disk that cannot write is not trusted, and what cannot be read is as good as wrong.
            let is_kept = receiver.prefix().is_some_and(|(offset, _)| offset == 3 * BLOCK);
            assert!(is_kept || is_lost, "call {call}, {kind}");
        }
        assert!(failures > 6, "{failures} failures only");
    }
}

#[test]
fn h35_a_full_disk_is_told_and_the_part_goes_on_once_there_is_room() {
    let content = content(1, LEN);
    let (disk, inbox) = prepared(Collision::Replace);
    let mut receiver = inbox.receive(PEER, &offer(NAME, &content)).unwrap();
    send(&mut receiver, &content, 3 * BLOCK as usize).unwrap();
    disk.fail(disk.calls(), u64::MAX, ErrorKind::StorageFull);
    let error = send(&mut receiver, &content, LEN).unwrap_err();
    assert_eq!(error.code(), TransferCode::NO_SPACE);
    drop(receiver);
    assert_eq!(disk.read(NAME).unwrap(), b"old");
    disk.heal();
    let mut receiver = inbox.receive(PEER, &offer(NAME, &content)).unwrap();
    assert_eq!(receiver.prefix(), Some((3 * BLOCK, digest(&content[..3 * BLOCK as usize]))));
    send(&mut receiver, &content, LEN).unwrap();
    receiver.finish(LEN as u64, Some(digest(&content))).unwrap();
    assert_eq!(disk.read(NAME).unwrap(), content);
}

#[test]
fn h35_room_that_is_to_stay_free_stays_free() {
    let content = content(1, LEN);
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small().keep_free(1000)).unwrap();
    disk.set_free_space(1000 + LEN as u64 - 1);
    let refused = inbox.receive(PEER, &offer(NAME, &content)).unwrap_err();
    assert_eq!((refused.code(), refused), (TransferCode::NO_SPACE, Error::Reserve));
    assert_eq!(disk.names(), [""; 0]);
    disk.set_free_space(1000 + LEN as u64);
    transfer(&inbox, NAME, &content).unwrap();
}

#[test]
fn s1_every_call_fails_while_a_batch_is_received() {
    let batch = Batch { name: "b".into(), count: 3, bytes: 10, metadata: [][..].into() };
    let id = TransferId::new(Side::Client, 1).unwrap();
    let one = content(1, 10);
    let run = |inbox: &Inbox| -> Result<(), Error> {
        let mut batch = inbox.receive_batch(PEER, &batch)?;
        let mut published = Vec::new();
        let members =
            [Offer::new("d/e").batch(id).directory(), Offer::new("d/x").size(10).batch(id)];
        for member in members {
            match batch.receive(&member)? {
                duologue::fs::Member::Folder(one) | duologue::fs::Member::Known(one) => {
                    published.push(one);
                }
                duologue::fs::Member::File(mut file) => {
                    file.write(std::slice::from_ref(&one))?;
                    published.push(file.publish(10, Some(digest(&one)))?);
                }
            }
        }
        inbox.settle(&published)?;
        batch.finish().map(drop)
    };
    for call in 0.. {
        let disk = ShadowDisk::new();
        let inbox = on(&disk, small()).unwrap();
        let from = disk.calls() + call;
        disk.fail(from, 1, ErrorKind::StorageFull);
        match run(&inbox) {
            Ok(()) => {
                let after = disk.crash(|_| false);
                assert_eq!(after.names(), ["b", "b/d", "b/d/e", "b/d/x"]);
            }
            Err(error) => assert_eq!(error.code(), TransferCode::NO_SPACE, "{error}"),
        }
        let found = disk.read("b/d/x");
        assert!(found.is_none_or(|found| found == one));
        if disk.calls() <= from {
            assert!(call > 15, "{call} calls only");
            break;
        }
    }
}
