//! T12, A15: what arrives wrong is not published, and hostile names come to nothing, through a whole
//! conversation.

use std::fs;
use std::rc::Rc;

use bytes::Bytes;
use duologue::fs::Inbox;
use duologue::proto::Config;
use duologue::session::{Event, Events, Incoming, TransferError, accept};
use duologue::testing::{ShadowDisk, duplex};
use duologue::wire::{CloseCode, Offer, TransferCode};
use futures::StreamExt;
use futures::future::{Either, select};

use super::fs_transfer::{converse, receive_all};
use super::fs_util::{PEER, content, digest, on, small};
use super::session_shapes::{Shape, Shaped};
use super::session_util::World;

const LEN: usize = 120;

/// What the sender was told at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Stored,
    NotStored(TransferCode),
    /// The stream broke, or the conversation ended.
    Lost,
}

async fn store(mut incoming: Incoming, mut receiver: duologue::fs::Receiver) {
    loop {
        match incoming.next().await {
            Ok(Some(chunk)) => {
                assert_eq!(chunk.offset, receiver.position());
                if let Err(error) = receiver.write(&[chunk.data]) {
                    return drop(incoming.failed(error.code(), ""));
                }
            }
            Ok(None) => {
                let finish = incoming.finish().unwrap();
                return match receiver.finish(finish.total, finish.digest) {
                    Ok(path) => drop(incoming.stored(path.as_str())),
                    Err(error) => drop(incoming.failed(error.code(), "")),
                };
            }
            Err(_) => return receiver.suspend(),
        }
    }
}

async fn serve(world: World, mut events: Events, inbox: Inbox) {
    while let Some(event) = events.next().await {
        match event {
            Event::Offer(offer) => match inbox.receive(PEER, offer.offer()) {
                Ok(receiver) => match offer.accept() {
                    Ok(incoming) => world.detach(store(incoming, receiver)),
                    Err(_) => receiver.suspend(),
                },
                Err(error) => drop(offer.reject(error.code(), "")),
            },
            Event::Detached(_) => return,
            _ => {}
        }
    }
}

/// Sends a file to a server; the ends read over streams of these shapes. Tells how it went, and how
/// many bytes each end read.
fn send_over(near_shape: Shape, far_shape: Shape, disk: &ShadowDisk) -> (Told, [u64; 2]) {
    World::run(async |world| {
        let inbox = on(disk, small()).unwrap();
        let (near, far) = duplex(10_000);
        let (near, far) = (Shaped::new(near, near_shape), Shaped::new(far, far_shape));
        let read = [&near.read, &far.read].map(Rc::clone);
        let (session, mut events, driver) = world.client(near, Config::default());
        let driver = world.spawn(driver);
        let (inner, parameters, timer) = (world.clone(), world.parameters(), world.timer());
        let serving = world.spawn(async move {
            let accepted = accept(far, Config::default(), parameters, timer).await;
            let Ok((session, events, driver)) = accepted else { return };
            let driver = inner.spawn(driver);
            serve(inner, events, inbox).await;
            drop(session);
            drop(driver.await);
        });
        let talker = session.clone();
        let talking = async move {
            let whole = content(1, LEN);
            let offer = Offer::new("file").size(LEN as u64);
            while !talker.is_open() {
                match events.next().await {
                    None | Some(Event::Closed(_)) => return Told::Lost,
                    Some(_) => {}
                }
            }
            let sent = async {
                let mut outgoing = talker.offer(&offer).await.ok()?;
                let sent = async {
                    outgoing.accepted().await?;
                    outgoing.send(Bytes::copy_from_slice(&whole)).await?;
                    outgoing.finish(Some(digest(&whole))).await
                };
                Some(sent.await)
            };
            match sent.await {
                Some(Ok(_)) => Told::Stored,
                Some(Err(TransferError::NotStored(verdict))) => Told::NotStored(verdict.code()),
                _ => Told::Lost,
            }
        };
        let told = match select(Box::pin(talking), driver).await {
            Either::Left((told, driver)) => {
                let _ = session.close(CloseCode::DONE, "");
                drop(driver.await);
                told
            }
            Either::Right(_) => Told::Lost,
        };
        drop(session);
        serving.await.unwrap();
        (told, read.map(|read| read.get()))
    })
}

/// How many bytes each end reads when all is well.
fn places() -> [u64; 2] {
    let (told, read) = send_over(Shape::Plain, Shape::Plain, &ShadowDisk::new());
    assert_eq!(told, Told::Stored);
    read
}

/// What has a name that is not hidden is the whole file; tells whether there is any.
fn is_stored(disk: &ShadowDisk, at: &str) -> bool {
    let whole = content(1, LEN);
    let names = disk.names();
    let mut shown = names.iter().filter(|name| !name.starts_with('.')).peekable();
    let is_stored = shown.peek().is_some();
    shown.for_each(|name| assert!(disk.read(name).unwrap() == whole, "{at}: {name} is wrong"));
    is_stored
}

#[test]
fn t12_no_bit_that_is_flipped_on_the_way_to_the_receiver_is_published() {
    let all = places()[1];
    assert!(all > LEN as u64 + 200, "{all}");
    let (mut found, mut lost) = (0, 0);
    for (at, bit) in (0..all).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let disk = ShadowDisk::new();
        let (told, _) = send_over(Shape::Plain, Shape::FlipAt(at, bit), &disk);
        let is_stored = is_stored(&disk, &format!("bit {bit} of byte {at}"));
        match told {
            Told::NotStored(TransferCode::DIGEST_DIFFERS) => found += 1,
            Told::NotStored(_) | Told::Lost => lost += 1,
            // Of the handshake's random bytes, of the name or of what came after.
            Told::Stored => assert!(is_stored, "bit {bit} of byte {at}"),
        }
    }
    // Each bit of the content; and of what is around it most.
    println!("{found} flips of {} found by the digest, {lost} by other means", all * 8);
    assert!(found >= LEN * 8, "{found} flips found by the digest, {lost} by other means");
    assert!(lost > 300, "{lost}");
}

#[test]
fn t12_a_bit_that_is_flipped_on_the_way_back_makes_no_file_wrong_or_up() {
    let all = places()[0];
    assert!(all > 200);
    let mut lost = 0;
    for (at, bit) in (0..all).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let disk = ShadowDisk::new();
        let (told, _) = send_over(Shape::FlipAt(at, bit), Shape::Plain, &disk);
        let is_stored = is_stored(&disk, &format!("bit {bit} of byte {at}"));
        match told {
            Told::Stored => assert!(is_stored, "bit {bit} of byte {at}"),
            Told::NotStored(_) | Told::Lost => lost += 1,
        }
    }
    assert!(lost > 300, "{lost} of {}", all * 8);
}

#[test]
fn a15_hostile_names_come_to_nothing_and_the_next_file_is_stored() {
    let around = tempfile::tempdir().unwrap();
    let to = around.path().join("inbox");
    fs::create_dir(&to).unwrap();
    let inbox = Inbox::open(&to).unwrap();
    let names = [
        "..",
        ".",
        "../x",
        "a/../../x",
        "/etc/x",
        "\\\\srv\\share",
        "C:x",
        "C:\\x",
        "a\\..\\b",
        "x.",
        "x ",
        "CON",
        "nul.txt",
        "COM1",
        "file:stream",
        "a\nb",
        "\u{202E}gpj.exe",
    ];
    let (told, ends) = converse(
        |session, events| async move {
            let mut told = Vec::new();
            for name in names {
                let offer = Offer::new(name).size(0);
                match session.offer(&offer).await {
                    Ok(mut outgoing) => match outgoing.finish(None).await {
                        Err(TransferError::NotStored(verdict)) => told.push(verdict.code()),
                        other => panic!("{name:?}: {other:?}"),
                    },
                    // Refused on our own side already.
                    Err(error) => assert!(!error.can_retry(), "{name:?}: {error}"),
                }
            }
            let mut good = session.offer(&Offer::new("good").size(0)).await.unwrap();
            assert_eq!(good.finish(Some(digest(b""))).await.unwrap().name(), Some("good"));
            drop(events);
            told
        },
        |_session, events| receive_all(inbox, events),
    );
    assert!(told.len() >= 10, "{told:?}");
    assert_eq!(ends.len(), told.len() + 1);
    assert_eq!(ends.iter().flatten().count(), told.len());
    let there: Vec<_> =
        fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let shown: Vec<_> =
        there.iter().filter(|name| !name.to_str().unwrap().starts_with('.')).collect();
    assert_eq!(shown, ["good"]);
    assert_eq!(fs::read_dir(around.path()).unwrap().count(), 1, "nothing beside it");
}
