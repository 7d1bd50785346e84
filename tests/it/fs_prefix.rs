//! What is there of a file is compared, at both ends, while the rest is on its way.

use std::fs;
use std::os::unix::fs::FileExt;

use duologue::fs::{Inbox, SendError, send};
use duologue::session::{Event, Events, IncomingOffer, Session};
use duologue::testing::ShadowDisk;
use duologue::wire::{CloseCode, TransferCode};
use futures::StreamExt;

use super::fs_transfer::{converse, random, receive_all};
use super::fs_util::{BLOCK, PEER, TABLE, content, digest, names, offer, on, send as put, small};

async fn next_offer(events: &mut Events) -> IncomingOffer {
    while let Some(event) = events.next().await {
        if let Event::Offer(offer) = event {
            return offer;
        }
    }
    panic!("no offer came");
}

#[test]
fn taking_up_a_part_reads_none_of_it() {
    let calls = |blocks: usize| {
        let disk = ShadowDisk::new();
        let content = content(1, blocks * BLOCK as usize + 1);
        let inbox = on(&disk, small()).unwrap();
        let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
        put(&mut receiver, &content, blocks * BLOCK as usize).unwrap();
        drop(receiver);
        let before = disk.calls();
        let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
        let calls = disk.calls() - before;
        let whole = blocks as u64 * BLOCK;
        assert_eq!(receiver.prefix(), Some((whole, digest(&content[..whole as usize]))));
        // The part is looked at beside what comes, and durable once it was.
        assert_eq!(receiver.durable(), 0);
        put(&mut receiver, &content, content.len()).unwrap();
        assert_eq!(receiver.durable(), whole);
        receiver.finish(content.len() as u64, Some(digest(&content))).unwrap();
        calls
    };
    assert_eq!(calls(2), calls(2000));
}

/// The digest that the receiver names is wrong: the sender finds that out while it sends the tail.
#[test]
fn the_tail_is_sent_while_the_sender_compares_the_prefix() {
    let from = tempfile::tempdir().unwrap();
    let path = from.path().join("large.bin");
    let offset = 256 << 20;
    let file = fs::File::create(&path).unwrap();
    file.write_all_at(&random(4 << 20, 3), offset).unwrap();
    let (sent, begun) = converse(
        |session, _events| async move { send(&session, &path, |_| ()).await },
        |_session, mut events| async move {
            let offer = next_offer(&mut events).await;
            let mut incoming = offer.accept_part(offset, digest(b"another")).unwrap();
            let mut begun = Vec::new();
            while let Ok(Some(chunk)) = incoming.next().await {
                if begun.is_empty() || chunk.offset == 0 {
                    begun.push(chunk.offset);
                }
                if chunk.offset == 0 {
                    break;
                }
            }
            incoming.failed(TransferCode::DECLINED, "").unwrap();
            while events.next().await.is_some() {}
            begun
        },
    );
    assert!(matches!(sent, Err(SendError::Transfer(_))), "{sent:?}");
    assert_eq!(begun, [offset, 0]);
}

/// Leaves a part of the first 20 MiB or so of a file in a folder.
fn leave_a_part(path: &std::path::Path, folder: &std::path::Path) {
    let (path, inbox) = (path.to_owned(), Inbox::open(folder).unwrap());
    converse(
        |session: Session, _events| async move {
            let closing = |progress: duologue::session::Progress| {
                if progress.received > 20 << 20 {
                    let _ = session.close(CloseCode::SHUTDOWN, "");
                }
            };
            send(&session, &path, closing).await.unwrap_err()
        },
        |_session, events| receive_all(inbox, events),
    );
}

#[test]
fn a_part_that_rotted_is_found_out_and_all_of_the_file_is_sent() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = random((24 << 20) + 5, 9);
    let path = from.path().join("large.bin");
    fs::write(&path, &content).unwrap();
    leave_a_part(&path, to.path());
    let part = names(to.path()).into_iter().find(|name| name.ends_with(".part")).unwrap();
    let part = fs::File::options().write(true).open(to.path().join(part)).unwrap();
    part.write_all_at(b"rot", 7 << 20).unwrap();
    drop(part);

    let inbox = Inbox::open(to.path()).unwrap();
    let (sent, ends) = converse(
        |session, _events| async move { send(&session, &path, |_| ()).await.unwrap() },
        |_session, events| receive_all(inbox, events),
    );
    assert_eq!(ends, [Some(TransferCode::STORAGE_FAILED), None]);
    assert_eq!(sent.verdict.name(), Some("large.bin"));
    assert_eq!(fs::read(to.path().join("large.bin")).unwrap(), content);
    assert_eq!(names(to.path()), ["large.bin"]);
}

#[test]
fn a_file_that_changed_since_is_sent_from_its_beginning() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut content = random((24 << 20) + 5, 9);
    let path = from.path().join("large.bin");
    fs::write(&path, &content).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    leave_a_part(&path, to.path());
    content[100] ^= 1;
    fs::write(&path, &content).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();

    let inbox = Inbox::open(to.path()).unwrap();
    let (sent, ends) = converse(
        |session, _events| async move { send(&session, &path, |_| ()).await.unwrap() },
        |_session, events| receive_all(inbox, events),
    );
    assert_eq!((ends, sent.bytes), (vec![None], content.len() as u64));
    assert_eq!(fs::read(to.path().join("large.bin")).unwrap(), content);
}

#[test]
fn a_file_whose_verdict_was_lost_is_compared_and_not_sent_again() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for len in [0, 1000, (5 << 20) + 1] {
        let content = random(len, 2);
        let path = from.path().join(format!("file {len}"));
        fs::write(&path, &content).unwrap();
        let mut sent = Vec::new();
        for _ in 0..2 {
            let (inbox, path) = (Inbox::open(to.path()).unwrap(), path.clone());
            let (one, ends) = converse(
                |session, _events| async move {
                    let one = send(&session, &path, |_| ()).await.unwrap();
                    (one, session.statistics().sent.data.bytes)
                },
                |_session, events| receive_all(inbox, events),
            );
            assert_eq!(ends, [None]);
            sent.push(one);
        }
        assert_eq!((sent[0].0.clone(), 0), sent[1]);
        assert!(sent[0].1 >= len as u64);
        assert_eq!(fs::read(to.path().join(format!("file {len}"))).unwrap(), content);
    }
    assert_eq!(names(to.path()).len(), 3);
    assert!(to.path().join(TABLE).exists());
}
