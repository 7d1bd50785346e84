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

const LEN: usize = 2000;

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

/// Sends a file to a server that reads it over a stream of this shape.
fn send_over(shape: Shape, disk: &ShadowDisk) -> (Told, u64) {
    World::run(async |world| {
        let inbox = on(disk, small()).unwrap();
        let (near, far) = duplex(10_000);
        let far = Shaped::new(far, shape);
        let read = Rc::clone(&far.read);
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
        (told, read.get())
    })
}

#[test]
fn t12_no_bit_that_is_flipped_is_published() {
    let whole = content(1, LEN);
    let disk = ShadowDisk::new();
    let (told, all) = send_over(Shape::Plain, &disk);
    assert_eq!(told, Told::Stored);
    assert!(all > LEN as u64 + 300);
    let (mut found, mut lost) = (0, 0);
    for at in 0..all {
        let disk = ShadowDisk::new();
        let (told, _) = send_over(Shape::FlipAt(at, (at % 8) as u8), &disk);
        for name in disk.names().iter().filter(|name| !name.starts_with('.')) {
            assert!(disk.read(name).unwrap() == whole, "byte {at}: {name} is wrong");
        }
        match told {
            Told::NotStored(TransferCode::DIGEST_DIFFERS) => found += 1,
            Told::NotStored(_) | Told::Lost => lost += 1,
            // Of the handshake's random bytes, of the name or of what came after.
            Told::Stored => {}
        }
    }
    assert!(found >= LEN, "{found} flips found by the digest, {lost} by other means");
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
