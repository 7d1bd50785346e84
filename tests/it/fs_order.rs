//! Which of two files of a name is the newer where files are replaced, and what the older is told.

use bytes::Bytes;
use duologue::fs::{
    BatchEvent, Collision, Error, Inbox, Member, ReceiveError, Receiver, receive, receive_batch,
};
use duologue::session::{Event, TransferError};
use duologue::testing::ShadowDisk;
use duologue::wire::{Batch, Offer, Side, TransferCode, TransferId};
use futures::StreamExt;

use super::fs_between::Between;
use super::fs_transfer::converse;
use super::fs_util::{PEER, content, digest, names_on, on, small};
use super::support::is_pending;

const LEN: usize = 3000;

/// A file of which all has come.
fn begin(inbox: &Inbox, name: &str, content: &Bytes, modified: u64) -> Receiver {
    let offer = Offer::new(name).size(LEN as u64).modified(modified);
    let mut receiver = inbox.receive(PEER, &offer).unwrap();
    receiver.write(std::slice::from_ref(content)).unwrap();
    receiver
}

fn finish(receiver: Receiver, content: &Bytes) -> Result<String, Error> {
    let path = receiver.finish(LEN as u64, Some(digest(content)))?;
    Ok(path.as_str().to_owned())
}

/// It was stored already, and is never to be: who is told so need not try again.
fn is_too_late(error: &Error) -> bool {
    (error.code(), error.can_retry()) == (TransferCode::EXISTS, false)
        && error.to_string() == "a newer file has the name"
}

#[test]
fn what_is_older_than_a_stored_file_is_refused_for_good() {
    let (one, other) = (content(1, LEN), content(2, LEN));
    for may_be_read in [true, false] {
        let disk = Between::default();
        let inbox = disk.open(small().collision(Collision::Replace));
        let (old, new) = (begin(&inbox, "x", &one, 1), begin(&inbox, "x", &other, 2));
        assert_eq!(finish(new, &other).as_deref(), Ok("x"));
        if !may_be_read {
            disk.deny("open to read", "x");
        }
        let error = finish(old, &one).unwrap_err();
        assert!(is_too_late(&error), "{error:?}");
        assert!(disk.disk.read("x").unwrap() == other);
        assert_eq!(names_on(&disk.disk), ["x"]);
        assert_eq!(inbox.used(), LEN as u64);
    }
}

/// A part that another transfer has taken over is free again when that has ended.
#[test]
fn what_another_transfer_has_taken_over_may_be_tried_again() {
    let inbox = on(&ShadowDisk::new(), small()).unwrap();
    let offer = Offer::new("x").size(LEN as u64);
    let mut first = inbox.receive(PEER, &offer).unwrap();
    first.detach().unwrap();
    let _second = inbox.receive(PEER, &offer).unwrap();
    let error = first.reattach().unwrap_err();
    assert_eq!((error.code(), error.can_retry()), (TransferCode::BUSY, true));
    assert_eq!(error.to_string(), "another transfer goes on with the file");
}

/// Whichever thread is the first to do its work.
#[test]
fn files_are_as_old_as_the_moment_when_they_were_taken() {
    const ROUNDS: u64 = 30;
    let (one, other) = (content(1, LEN), content(2, LEN));
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small().collision(Collision::Replace)).unwrap();
    let sent = one.clone();
    let ((), ends) = converse(
        |session, _events| async move {
            for round in 0..ROUNDS {
                let offer = Offer::new(format!("{round}")).size(LEN as u64).modified(1);
                let mut outgoing = session.offer(&offer).await.unwrap();
                outgoing.accepted().await.unwrap();
                outgoing.send(sent.clone()).await.unwrap();
                let _ = outgoing.finish(Some(digest(&sent))).await;
            }
        },
        |_session, mut events| async move {
            let mut ends = Vec::new();
            while let Some(event) = events.next().await {
                let Event::Offer(offer) = event else { continue };
                let name = offer.offer().name.clone().into_owned();
                let mut receiving = Box::pin(receive(offer, &inbox, PEER, |_| ()));
                assert!(is_pending(&mut receiving));
                let newer = begin(&inbox, &name, &other, 2);
                assert_eq!(finish(newer, &other), Ok(name));
                ends.push(receiving.await.err());
            }
            ends
        },
    );
    assert_eq!(ends.len() as u64, ROUNDS);
    for (round, end) in ends.iter().enumerate() {
        let Some(ReceiveError::Storage(error)) = end else { panic!("{round}: {end:?}") };
        assert!(is_too_late(error), "{round}: {error:?}");
    }
    for round in 0..ROUNDS {
        assert!(disk.read(&format!("{round}")).unwrap() == content(2, LEN));
    }
}

fn id() -> TransferId {
    TransferId::new(Side::Client, 1).unwrap()
}

/// A folder of one file, which is stored.
fn store_folder(inbox: &Inbox, offered: &Batch<'_>, member: &str, content: &Bytes) {
    let mut batch = inbox.receive_batch(PEER, offered).unwrap();
    let offer = Offer::new(member).size(LEN as u64).batch(id());
    let Member::File(mut file) = batch.receive(&offer).unwrap() else { panic!("it is new") };
    file.write(std::slice::from_ref(content)).unwrap();
    finish(file, content).unwrap();
}

#[test]
fn folders_are_as_old_as_the_moment_when_they_were_taken() {
    const ROUNDS: u64 = 30;
    let (one, other) = (content(1, LEN), content(2, LEN));
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small().collision(Collision::Replace)).unwrap();
    let sent = one.clone();
    let ((), ends) = converse(
        |session, _events| async move {
            for round in 0..ROUNDS {
                let name = format!("{round}").into();
                let offer = Batch { name, count: 1, bytes: LEN as u64, metadata: [][..].into() };
                let mut batch = session.offer_batch(&offer).await.unwrap();
                batch.accepted().await.unwrap();
                let member = Offer::new("m").size(LEN as u64).batch(batch.id());
                let mut outgoing = batch.offer(member).await.unwrap();
                let _ = outgoing.send(sent.clone()).await;
                let _ = outgoing.finish(Some(digest(&sent))).await;
                // Nor is the folder to be offered again, for ever.
                let Err(TransferError::NotStored(verdict)) = batch.verdict().await else {
                    panic!("{round}: a member was refused")
                };
                assert_eq!((verdict.code(), verdict.can_retry()), (TransferCode::EXISTS, false));
            }
        },
        |_session, mut events| async move {
            let mut ends = Vec::new();
            while let Some(event) = events.next().await {
                let Event::Batch(offer) = event else { continue };
                let newer = offer.batch().clone();
                let mut receiving =
                    Box::pin(receive_batch(offer, &inbox, PEER, |event| ends.push(event)));
                assert!(is_pending(&mut receiving));
                store_folder(&inbox, &newer, "m", &other);
                let received = receiving.await.unwrap();
                assert_eq!((received.stored, received.failed), (0, 1));
            }
            ends
        },
    );
    assert_eq!(ends.len() as u64, ROUNDS);
    for (round, end) in ends.iter().enumerate() {
        let BatchEvent::Failed { error: ReceiveError::Storage(error), .. } = end else {
            panic!("{round}: {end:?}")
        };
        assert!(is_too_late(error), "{round}: {error:?}");
    }
    for round in 0..ROUNDS {
        assert!(disk.read(&format!("{round}/m")).unwrap() == content(2, LEN));
    }
}

/// Whether they are one name is the disk's to say.
#[test]
fn names_that_differ_in_case_are_as_old_as_each_other_where_they_are_one() {
    let (one, other) = (content(1, LEN), content(2, LEN));
    for folds in [true, false] {
        let disk = Between { folds, ..Between::default() };
        let inbox = disk.open(small().collision(Collision::Replace));
        let (old, new) =
            (begin(&inbox, "Stra\u{df}e", &one, 1), begin(&inbox, "stra\u{df}e", &other, 2));
        assert_eq!(finish(new, &other).as_deref(), Ok("stra\u{df}e"));
        let ended = finish(old, &one);
        assert!(disk.disk.read("stra\u{df}e").unwrap() == other);
        if folds {
            assert!(ended.as_ref().is_err_and(is_too_late), "{ended:?}");
        } else {
            assert_eq!(ended.as_deref(), Ok("Stra\u{df}e"));
            assert!(disk.disk.read("Stra\u{df}e").unwrap() == one);
        }
        // Not for ever.
        assert!(finish(begin(&inbox, "STRASSE", &one, 3), &one).is_ok());
        assert!(finish(begin(&inbox, "Stra\u{df}e", &one, 4), &one).is_ok());

        // Members, too.
        let offered =
            Batch { name: "b".into(), count: 1, bytes: LEN as u64, metadata: [][..].into() };
        let mut late = inbox.receive_batch(PEER, &offered).unwrap();
        store_folder(&inbox, &offered, "m", &other);
        let offer = Offer::new("M").size(LEN as u64).batch(id());
        let Member::File(mut file) = late.receive(&offer).unwrap() else { panic!("it is new") };
        file.write(std::slice::from_ref(&one)).unwrap();
        let ended = finish(file, &one);
        assert!(disk.disk.read("b/m").unwrap() == other);
        if folds {
            assert!(ended.as_ref().is_err_and(is_too_late), "{ended:?}");
        } else {
            assert_eq!(ended.as_deref(), Ok("b/M"));
        }
    }
}

/// What was offered with its size and digest need not come first.
#[test]
fn a_member_that_is_known_to_be_outdated_is_refused_when_it_is_offered() {
    let (one, other) = (content(1, LEN), content(2, LEN));
    let offered = Batch { name: "b".into(), count: 9, bytes: 9000, metadata: [][..].into() };
    for (sent, size, with_digest, is_refused) in [
        (&one, Some(LEN as u64), true, true),
        // The very file that has the name.
        (&other, Some(LEN as u64), true, false),
        // It may be that one.
        (&one, Some(LEN as u64), false, false),
        (&one, None, true, false),
    ] {
        let inbox = on(&ShadowDisk::new(), small().collision(Collision::Replace)).unwrap();
        let mut late = inbox.receive_batch(PEER, &offered).unwrap();
        store_folder(&inbox, &offered, "m", &other);
        let mut offer = Offer::new("m").batch(id());
        offer.size = size;
        offer.digest = with_digest.then(|| digest(sent));
        let member = late.receive(&offer);
        if is_refused {
            assert!(member.is_err_and(|error| is_too_late(&error)));
            // For good.
            assert!(late.receive(&offer).is_err_and(|error| is_too_late(&error)));
        } else if sent == &other {
            assert!(matches!(member, Ok(Member::Known(_))), "{member:?}");
        } else {
            let Ok(Member::File(mut file)) = member else { panic!("{member:?}") };
            file.write(std::slice::from_ref(sent)).unwrap();
            assert!(finish(file, sent).is_err_and(|error| is_too_late(&error)));
        }
        // None of it is there any more.
        assert_eq!(inbox.used(), LEN as u64);
    }
}

/// The `number`th spelling of a name of seven letters.
fn spelling(number: u32) -> String {
    let letters = "letters".chars().enumerate();
    let spelled = letters.map(|(at, letter)| match number >> at & 1 {
        0 => letter,
        _ => letter.to_ascii_uppercase(),
    });
    spelled.collect()
}

/// More of them are not told from each other: what is older than one of them is older than all.
#[test]
fn of_a_name_sixty_four_spellings_are_told_from_each_other() {
    const SPELLINGS: u32 = 64;
    let (one, other) = (content(1, LEN), content(2, LEN));
    for more in [0, 1] {
        let disk = ShadowDisk::new();
        let inbox = on(&disk, small().collision(Collision::Replace)).unwrap();
        let oldest = begin(&inbox, &spelling(127), &one, 0);
        let next = begin(&inbox, &spelling(0), &one, 1);
        let second = begin(&inbox, &spelling(126), &one, 2);
        for number in 0..SPELLINGS + more {
            let newer = begin(&inbox, &spelling(number), &other, 3);
            assert_eq!(finish(newer, &other), Ok(spelling(number)));
        }
        assert!(finish(next, &one).is_err_and(|error| is_too_late(&error)));
        assert!(disk.read(&spelling(0)).unwrap() == other);
        for old in [oldest, second] {
            let ended = finish(old, &one);
            match more {
                0 => assert!(ended.is_ok(), "{ended:?}"),
                _ => assert!(ended.as_ref().is_err_and(is_too_late), "{ended:?}"),
            }
        }
        // What is newer than all takes its place, and no row is kept for ever.
        assert!(finish(begin(&inbox, &spelling(100), &one, 4), &one).is_ok());
        assert!(finish(begin(&inbox, &spelling(0), &one, 5), &one).is_ok());
    }
}
