//! What is offered again while an earlier try is still on its way to the disk.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use duologue::fs::{Collision, Error, Inbox, Member, Receiver, receive};
use duologue::session::Event;
use duologue::testing::ShadowDisk;
use duologue::wire::{Batch, Offer, Side, TransferId};
use futures::StreamExt;
use futures::future::{Either, select};

use super::fs_transfer::converse;
use super::fs_util::{PEER, content, digest, names_on, offer, on, small, transfer};

const LEN: usize = 3000;

/// The only member of a folder.
fn member(inbox: &Inbox, content: &Bytes) -> Member {
    let offered = |metadata: &'static str| {
        let bytes = content.len() as u64;
        Batch { name: "b".into(), count: 1, bytes, metadata: metadata.as_bytes().into() }
    };
    let (mut batch, has_digest) = match inbox.receive_batch(PEER, &offered("duologue folder 1")) {
        Ok(batch) => (batch, false),
        Err(Error::KnownInPart) => {
            (inbox.receive_batch(PEER, &offered("duologue folder 1 digests")).unwrap(), true)
        }
        Err(error) => panic!("{error}"),
    };
    let id = TransferId::new(Side::Client, 1).unwrap();
    let mut offer = Offer::new("m").size(content.len() as u64).batch(id);
    offer.digest = has_digest.then(|| digest(content));
    batch.receive(&offer).unwrap()
}

/// The only member of a folder, of which all has come.
fn begin(inbox: &Inbox, content: &Bytes) -> Receiver {
    let Member::File(mut file) = member(inbox, content) else { panic!("it is there") };
    file.write(std::slice::from_ref(content)).unwrap();
    file
}

fn finish(receiver: Receiver, content: &Bytes) -> Result<String, Error> {
    let path = receiver.finish(content.len() as u64, Some(digest(content)))?;
    Ok(path.as_str().to_owned())
}

#[test]
fn a_member_that_was_on_its_way_when_its_folder_was_offered_again_is_stored_once() {
    let content = content(1, LEN);
    for collision in [Collision::Number, Collision::Refuse, Collision::Replace] {
        for is_late in [false, true] {
            let disk = ShadowDisk::new();
            let inbox = on(&disk, small().collision(collision)).unwrap();
            let (old, new) = (begin(&inbox, &content), begin(&inbox, &content));
            for receiver in if is_late { [new, old] } else { [old, new] } {
                let path = finish(receiver, &content);
                assert_eq!(path.as_deref(), Ok("b/m"), "{collision:?} {is_late}");
            }
            assert_eq!(names_on(&disk), ["b", "b/m"]);
            assert_eq!(disk.read("b/m").unwrap(), content);
            if collision != Collision::Replace {
                assert_eq!(inbox.used(), LEN as u64);
            }
        }
    }
}

#[test]
fn a_member_is_not_taken_for_another_that_has_its_name() {
    let (one, other) = (content(1, LEN), content(2, LEN));
    let expected = [
        (Collision::Number, Ok("b/m (1)".to_owned()), &one),
        (Collision::Refuse, Err(Error::Exists), &one),
        (Collision::Replace, Ok("b/m".to_owned()), &other),
    ];
    for (collision, path, content) in expected {
        let disk = ShadowDisk::new();
        let inbox = on(&disk, small().collision(collision)).unwrap();
        let (old, new) = (begin(&inbox, &one), begin(&inbox, &other));
        finish(old, &one).unwrap();
        assert_eq!(finish(new, &other), path);
        assert_eq!(&disk.read("b/m").unwrap(), content);
    }
}

/// Who says which of two contents of a name is the newer.
#[test]
fn what_is_on_its_way_does_not_replace_what_was_offered_later_and_is_stored() {
    let (one, other) = (content(1, LEN), content(2, LEN));
    for is_known in [false, true] {
        let disk = ShadowDisk::new();
        let inbox = on(&disk, small().collision(Collision::Replace)).unwrap();
        if is_known {
            finish(begin(&inbox, &other), &other).unwrap();
        }
        let old = begin(&inbox, &one);
        if is_known {
            assert!(matches!(member(&inbox, &other), Member::Known(_)));
        } else {
            finish(begin(&inbox, &other), &other).unwrap();
        }
        assert_eq!(finish(old, &one), Err(Error::Outdated), "{is_known}");
        assert_eq!(disk.read("b/m").unwrap(), other);
        assert_eq!(inbox.used(), LEN as u64);

        // Files that are no members, too.
        let receive = |content: &Bytes, modified: u64| {
            let offer = Offer::new("x").size(LEN as u64).modified(modified);
            let mut receiver = inbox.receive(PEER, &offer).unwrap();
            if receiver.position() == 0 {
                receiver.write(std::slice::from_ref(content)).unwrap();
            }
            receiver
        };
        if is_known {
            finish(receive(&other, 2), &other).unwrap();
        }
        let (old, new) = (receive(&one, 1), receive(&other, 2));
        assert_eq!(new.prefix().is_some(), is_known);
        assert_eq!(finish(new, &other).as_deref(), Ok("x"));
        assert_eq!(finish(old, &one), Err(Error::Outdated), "{is_known}");
        assert_eq!(disk.read("x").unwrap(), other);
        // Not for ever.
        assert_eq!(finish(receive(&one, 1), &one).as_deref(), Ok("x"));
        assert_eq!(disk.read("x").unwrap(), one);
        assert_eq!(names_on(&disk), ["b", "b/m", "x"]);
    }
}

/// Its stream was broken, and came back when the same folder had been sent once more.
#[test]
fn a_folder_that_goes_on_later_does_not_replace_what_a_newer_one_has_stored() {
    let (one, other) = (content(1, LEN), content(2, LEN));
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small().collision(Collision::Replace)).unwrap();
    let offered = Batch { name: "b".into(), count: 1, bytes: LEN as u64, metadata: [][..].into() };
    let id = TransferId::new(Side::Client, 1).unwrap();
    let offer = Offer::new("m").size(LEN as u64).batch(id);
    let mut old = inbox.receive_batch(PEER, &offered).unwrap();
    finish(begin(&inbox, &other), &other).unwrap();
    // Without a digest that is seen once it is there, and with one before.
    let Member::File(mut late) = old.receive(&offer).unwrap() else { panic!("it may be the same") };
    late.write(std::slice::from_ref(&one)).unwrap();
    assert_eq!(finish(late, &one), Err(Error::Outdated));
    drop(old);
    let mut old = inbox.receive_batch(PEER, &offered).unwrap();
    finish(begin(&inbox, &one), &one).unwrap();
    finish(begin(&inbox, &other), &other).unwrap();
    let same = offer.clone().digest(digest(&other));
    assert!(matches!(old.receive(&same), Ok(Member::Known(_))));
    drop(old);
    assert_eq!(disk.read("b/m").unwrap(), other);
    finish(begin(&inbox, &one), &one).unwrap();
    assert_eq!(disk.read("b/m").unwrap(), one);
}

/// What could not be synchronised is not what was received, and other names are free.
#[test]
fn a_member_whose_like_cannot_be_synchronised_gets_another_name() {
    let content = content(1, LEN);
    let mut named = Vec::new();
    for call in 0..40 {
        let disk = ShadowDisk::new();
        let inbox = on(&disk, small()).unwrap();
        let receiver = begin(&inbox, &content);
        disk.write("b/m", &content);
        disk.fail(disk.calls() + call, 1, std::io::ErrorKind::Other);
        named.extend(finish(receiver, &content));
    }
    assert!(named.iter().any(|path| path == "b/m"), "{named:?}");
    assert!(named.iter().any(|path| path == "b/m (1)"), "{named:?}");
}

/// Nor is what another peer sends older, or newer.
#[test]
fn what_replaces_a_file_is_what_is_whole_last_unless_it_is_older() {
    let (one, other) = (content(1, LEN), content(2, LEN));
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small().collision(Collision::Replace)).unwrap();
    let receive_from = |identity: Option<&[u8]>, content: &Bytes, modified: u64| {
        let offer = Offer::new("x").size(LEN as u64).modified(modified);
        let mut receiver = inbox.receive(identity, &offer).unwrap();
        receiver.write(std::slice::from_ref(content)).unwrap();
        receiver
    };
    let receive = |identity: &[u8], content: &Bytes, modified: u64| {
        receive_from(Some(identity), content, modified)
    };
    let (first, second) = (receive(b"a", &one, 1), receive(b"b", &other, 1));
    finish(second, &other).unwrap();
    assert_eq!(finish(first, &one).as_deref(), Ok("x"));
    assert_eq!(disk.read("x").unwrap(), one);
    // Who has no identity may be anybody.
    let (first, second) = (receive_from(None, &one, 1), receive_from(None, &other, 1));
    finish(second, &other).unwrap();
    assert_eq!(finish(first, &one).as_deref(), Ok("x"));
    // A newer one that came to nothing is in nobody's way.
    let (old, new) = (receive(b"a", &one, 2), receive(b"a", &other, 3));
    assert_eq!(new.finish(LEN as u64, Some(digest(&one))), Err(Error::DigestDiffers));
    assert_eq!(finish(old, &one).as_deref(), Ok("x"));
    let (old, new) = (receive(b"a", &one, 4), receive(b"a", &other, 5));
    assert_eq!(finish(old, &one).as_deref(), Ok("x"));
    assert_eq!(finish(new, &other).as_deref(), Ok("x"));
    assert_eq!(disk.read("x").unwrap(), other);
}

async fn until(is_so: impl Fn() -> bool) {
    poll_fn(|cx| {
        if is_so() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits for the disk, and for the other side, while a file is received, which comes to no end.
async fn beside<R>(receiving: impl Future<Output = R> + Unpin, is_so: impl Fn() -> bool) {
    let so = Box::pin(until(is_so));
    assert!(matches!(select(receiving, so).await, Either::Right(_)), "it has ended");
}

/// Its last bytes are with the disk when nobody waits for it any more: the next try need not wonder
/// whether it gets its name after all.
#[test]
fn a_file_that_is_dropped_while_its_end_is_written_gets_no_name() {
    let content = content(1, LEN);
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small()).unwrap();
    let (sent, on_disk) = (content.clone(), disk.clone());
    converse(
        |session, _events| async move {
            let mut outgoing = session.offer(&offer("x", &sent)).await.unwrap();
            outgoing.accepted().await.unwrap();
            outgoing.send(sent.slice(..1000)).await.unwrap();
            until(|| on_disk.held() == 1).await;
            outgoing.send(sent.slice(1000..)).await.unwrap();
            assert!(outgoing.finish(Some(digest(&sent))).await.is_err());
        },
        |session, mut events| async move {
            let proposed = loop {
                match events.next().await {
                    Some(Event::Offer(proposed)) => break proposed,
                    other => assert!(other.is_some(), "no offer came"),
                }
            };
            let items = || session.statistics().received.messages.frames;
            let before = items();
            disk.hold();
            let mut receiving = Box::pin(receive(proposed, &inbox, PEER, |_| ()));
            // The first bytes are held up, and meanwhile the rest comes with the end.
            beside(&mut receiving, || disk.held() == 1 && items() > before).await;
            disk.release();
            while disk.held() > 0 {
                std::thread::yield_now();
            }
            disk.hold();
            beside(&mut receiving, || disk.held() == 1).await;
            drop(receiving);
            disk.release();
            while inbox.receive(PEER, &offer("x", &content)).err() == Some(Error::Busy) {
                std::thread::yield_now();
            }
            assert!(disk.read("x").is_none(), "{:?}", disk.names());
            assert_eq!(transfer(&inbox, "x", &content).unwrap().as_str(), "x");
            assert_eq!(disk.read("x").unwrap(), content);
        },
    );
}
