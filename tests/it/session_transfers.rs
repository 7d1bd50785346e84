//! Files through the driver: offers, data, verdicts, pauses, cancels and progress.

use std::time::Duration;

use bytes::Bytes;
use duologue::proto::ActionError;
use duologue::session::{Chunk, EndedBy, TransferError};
use duologue::wire::{Digest, Offer, TransferCode};
use futures::future::{join, select};
use futures::{AsyncReadExt, AsyncWriteExt};

use super::session_util::{World, content, read_all, send_all};
use super::support::is_pending;

fn digest(bytes: &[u8]) -> Digest {
    Digest::Blake3(*blake3::hash(bytes).as_bytes())
}

#[test]
fn a_file_goes_whole_and_the_verdict_comes_back() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        let file = Bytes::from(content(3_000_000));
        let offer = Offer::new("notes.txt").size(file.len() as u64).media_type("text/plain");
        let (mut outgoing, mut incoming) = world.transfer(&mut near, &mut far, offer).await;
        assert_eq!(outgoing.id(), incoming.id());
        let sending = async {
            for chunk in file.chunks(100_000) {
                outgoing.send(file.slice_ref(chunk)).await.unwrap();
            }
            assert_eq!(outgoing.position(), 3_000_000);
            outgoing.finish(Some(digest(&file))).await.unwrap()
        };
        let receiving = async {
            let received = read_all(&mut incoming).await.unwrap();
            let finish = incoming.finish().unwrap();
            assert_eq!(finish.digest, Some(digest(&received)));
            incoming.stored("notes (2).txt").unwrap();
            received
        };
        let (verdict, received) = join(sending, receiving).await;
        assert!(received == file);
        assert_eq!(verdict.name(), Some("notes (2).txt"));
        assert_eq!((verdict.total(), verdict.ended_by()), (3_000_000, EndedBy::Receiver));
        assert_eq!(outgoing.finish(None).await, Ok(verdict), "it can be asked again");
    });
}

#[test]
fn an_offer_says_what_it_is_and_can_be_rejected_or_dropped() {
    World::run_at_once(async |world| {
        let (near, mut far) = world.connect().await;
        let offer = Offer::new("a").size(7).modified(123).metadata(&b"meta"[..]).seekable();
        let mut rejected = near.session.offer(&offer).await.unwrap();
        let incoming = far.offer().await;
        assert_eq!(incoming.offer(), &offer);
        assert_eq!(incoming.id(), rejected.id());
        incoming.reject(TransferCode::TOO_LARGE, "seven is too many").unwrap();
        let error = rejected.accepted().await.unwrap_err();
        let TransferError::NotStored(verdict) = &error else { panic!("{error}") };
        assert_eq!((verdict.code(), verdict.total()), (TransferCode::TOO_LARGE, 0));
        assert_eq!(verdict.text(), "seven is too many");
        assert_eq!((verdict.name(), verdict.ended_by()), (None, EndedBy::Rejection));
        assert_eq!(rejected.finish(None).await, Err(error.clone()));
        assert_eq!(rejected.send(Bytes::from_static(b"x")).await, Err(error));

        let mut dropped = near.session.offer(&offer).await.unwrap();
        drop(far.offer().await);
        let error = dropped.accepted().await.unwrap_err();
        let TransferError::NotStored(verdict) = error else { panic!("{error}") };
        assert_eq!(verdict.code(), TransferCode::DECLINED);
    });
}

#[test]
fn the_receiver_can_say_why_it_was_not_stored() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        let file = Bytes::from(content(100_000));
        let offer = Offer::new("x").digest(digest(b"of something else"));
        let (mut outgoing, mut incoming) = world.transfer(&mut near, &mut far, offer).await;
        outgoing.send(file.clone()).await.unwrap();
        let finishing = outgoing.finish(Some(digest(b"of something else")));
        let receiving = async {
            let received = read_all(&mut incoming).await.unwrap();
            assert_ne!(incoming.finish().unwrap().digest, Some(digest(&received)));
            incoming.failed(TransferCode::DIGEST_DIFFERS, "see above").unwrap();
        };
        let (finished, ()) = join(finishing, receiving).await;
        let Err(TransferError::NotStored(verdict)) = finished else { panic!("{finished:?}") };
        assert_eq!(verdict.code(), TransferCode::DIGEST_DIFFERS);
        assert!(verdict.can_retry() && !verdict.is_stored());
        assert_eq!(verdict.to_string(), "not stored (digest_differs)");
    });
}

#[test]
fn empty_files_and_files_of_unknown_size_are_files() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        for (offer, len) in [
            (Offer::new("empty"), 0),
            (Offer::new("empty, and said so").size(0), 0),
            (Offer::new("unknown"), 70_001),
        ] {
            let file = Bytes::from(content(len));
            let (mut outgoing, mut incoming) = world.transfer(&mut near, &mut far, offer).await;
            let receiving = async {
                let received = read_all(&mut incoming).await.unwrap();
                assert_eq!(incoming.progress().total, Some(len as u64));
                incoming.stored("s").unwrap();
                received
            };
            let (sent, received) = join(send_all(&mut outgoing, &file, 1000), receiving).await;
            assert_eq!((sent, received), (Ok("s".into()), file.to_vec()));
        }
    });
}

#[test]
fn stored_is_refused_while_bytes_are_missing_and_ends_it_as_cancelled() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        let offer = Offer::new("x").size(10);
        let (mut outgoing, incoming) = world.transfer(&mut near, &mut far, offer).await;
        assert!(matches!(incoming.stored("x"), Err(TransferError::Refused(_))));
        let Err(TransferError::NotStored(verdict)) = outgoing.verdict().await else { panic!() };
        assert_eq!(
            (verdict.code(), verdict.ended_by()),
            (TransferCode::CANCELLED, EndedBy::Receiver)
        );
    });
}

#[test]
fn a_part_is_confirmed_and_the_rest_comes() {
    World::run_at_once(async |world| {
        let (near, mut far) = world.connect().await;
        let file = Bytes::from(content(200_000));
        let mut outgoing = near.session.offer(&Offer::new("x").size(200_000)).await.unwrap();
        let part = digest(&file[..150_000]);
        let mut incoming = far.offer().await.accept_part(150_000, part).unwrap();
        let accept = outgoing.accepted().await.unwrap();
        assert_eq!((accept.offset, accept.prefix), (150_000, Some(part)));
        assert_eq!(outgoing.position(), 150_000);
        let sending = async {
            outgoing.send(file.slice(150_000..)).await.unwrap();
            outgoing.confirm_prefix().unwrap();
            outgoing.finish(Some(digest(&file))).await.unwrap().total()
        };
        let receiving = async {
            let mut received = file[..150_000].to_vec();
            while let Some(chunk) = incoming.next().await.unwrap() {
                assert_eq!(chunk.offset, received.len() as u64);
                received.extend_from_slice(&chunk.data);
            }
            assert!(received == file);
            incoming.stored("x").unwrap();
        };
        assert_eq!(join(sending, receiving).await.0, 200_000);
    });
}

#[test]
fn a_part_of_another_file_is_void_and_all_of_it_comes() {
    World::run_at_once(async |world| {
        let (near, mut far) = world.connect().await;
        let file = Bytes::from(content(200_000));
        let mut outgoing = near.session.offer(&Offer::new("x").size(200_000)).await.unwrap();
        let incoming = far.offer().await.accept_part(150_000, digest(b"?")).unwrap();
        outgoing.accepted().await.unwrap();
        // Some of the tail is there when the sender finds out, and some of it was handed out.
        outgoing.send(file.slice(150_000..160_000)).await.unwrap();
        world.settle().await;
        let mut incoming = incoming;
        let first = incoming.next().await.unwrap().unwrap();
        assert_eq!(first.offset, 150_000);
        outgoing.restart().unwrap();
        assert_eq!(outgoing.position(), 0);
        let receiving = async {
            let mut received = Vec::new();
            while let Some(chunk) = incoming.next().await.unwrap() {
                if chunk.offset >= 150_000 && received.is_empty() {
                    continue; // of the tail
                }
                received.truncate(chunk.offset as usize);
                received.extend_from_slice(&chunk.data);
            }
            incoming.stored("x").unwrap();
            received
        };
        let (sent, received) = join(send_all(&mut outgoing, &file, 30_000), receiving).await;
        assert!(sent == Ok("x".into()) && received == file);
    });
}

#[test]
fn h38_each_side_can_pause_and_the_other_knows() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        let offer = Offer::new("x").size(30);
        let (mut outgoing, mut incoming) = world.transfer(&mut near, &mut far, offer).await;
        outgoing.pause(true).unwrap();
        world.sleep(Duration::from_millis(100)).await;
        assert!(incoming.is_paused_by_peer() && !outgoing.is_paused_by_peer());
        outgoing.send(Bytes::from_static(b"0123456789")).await.unwrap();
        assert!(is_pending(&mut Box::pin(incoming.next())));
        world.sleep(Duration::from_secs(1)).await;
        assert!(is_pending(&mut Box::pin(incoming.next())), "it is paused");
        outgoing.pause(false).unwrap();
        assert_eq!(incoming.next().await.unwrap().unwrap().data, &b"0123456789"[..]);
        assert!(!incoming.is_paused_by_peer());

        incoming.pause(true).unwrap();
        world.sleep(Duration::from_millis(100)).await;
        assert!(outgoing.is_paused_by_peer());
        outgoing.send(Bytes::from_static(b"0123456789")).await.unwrap();
        world.sleep(Duration::from_secs(1)).await;
        assert!(is_pending(&mut Box::pin(incoming.next())), "it is paused");
        incoming.pause(false).unwrap();
        assert_eq!(incoming.next().await.unwrap().unwrap().offset, 10);
        assert!(!outgoing.is_paused_by_peer());
    });
}

#[test]
fn what_is_stored_already_is_no_longer_acted_on_and_that_is_no_failure_of_it() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        let offer = Offer::new("x").size(0);
        let (mut outgoing, incoming) = world.transfer(&mut near, &mut far, offer).await;
        assert!(is_pending(&mut Box::pin(outgoing.finish(None))));
        world.settle().await;
        incoming.stored("x").unwrap();
        world.settle().await;
        let ended = Err(TransferError::Refused(ActionError::UnknownTransfer(outgoing.id())));
        assert_eq!(outgoing.pause(true), ended);
        assert_eq!(outgoing.cancel(TransferCode::CANCELLED, ""), ended);
        assert_eq!(outgoing.send(Bytes::from_static(b"x")).await, ended);
        assert_eq!(outgoing.restart(), ended);
        assert_eq!(outgoing.verdict().await.unwrap().name(), Some("x"));
    });
}

#[test]
fn a_receiver_that_never_says_how_it_ended_is_not_a_conversation_that_began_anew() {
    World::run(async |world| {
        let (mut near, mut far) = world.connect().await;
        let (mut outgoing, _incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x").size(3)).await;
        outgoing.send(Bytes::from_static(b"abc")).await.unwrap();
        let error = outgoing.finish(None).await.unwrap_err();
        assert_eq!(error, TransferError::Unanswered);
        assert!(error.can_retry());
        let text = error.to_string();
        assert!(text.contains("did not say") && !text.contains("anew"), "{text}");
        assert!(near.session.is_open());
    });
}

#[test]
fn h38_a_cancel_is_a_request_that_the_receiver_answers() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        let offer = Offer::new("x").size(30);
        let (mut outgoing, mut incoming) = world.transfer(&mut near, &mut far, offer).await;
        outgoing.send(Bytes::from_static(b"0123456789")).await.unwrap();
        world.settle().await;
        outgoing.cancel(TransferCode::SOURCE_CHANGED, "it grew").unwrap();
        assert!(matches!(
            outgoing.cancel(TransferCode::CANCELLED, ""),
            Err(TransferError::Refused(_))
        ));
        // What came before comes first.
        assert_eq!(incoming.next().await.unwrap().unwrap().data.len(), 10);
        let asked = incoming.next().await.unwrap_err();
        let code = TransferCode::SOURCE_CHANGED;
        assert_eq!(asked, TransferError::CancelAsked { code, text: "it grew".into() });
        assert!(is_pending(&mut Box::pin(outgoing.verdict())), "the receiver decides");
        incoming.failed(TransferCode::SOURCE_CHANGED, "").unwrap();
        let Err(TransferError::NotStored(verdict)) = outgoing.verdict().await else { panic!() };
        assert_eq!((verdict.code(), verdict.total()), (TransferCode::SOURCE_CHANGED, 10));
        assert_eq!(verdict.ended_by(), EndedBy::Sender);
    });
}

#[test]
fn h38_a_file_that_was_stored_before_the_cancel_came_is_stored() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x")).await;
        assert!(is_pending(&mut Box::pin(outgoing.finish(None))));
        assert_eq!(incoming.next().await, Ok(None));
        incoming.stored("x").unwrap();
        outgoing.cancel(TransferCode::CANCELLED, "").unwrap();
        assert!(outgoing.verdict().await.unwrap().is_stored());
    });
}

#[test]
fn progress_has_a_rate_and_tells_when_it_changes() {
    World::run(async |world| {
        let (mut near, mut far) = world.connect().await;
        let offer = Offer::new("x").size(100_000);
        let (mut outgoing, mut incoming) = world.transfer(&mut near, &mut far, offer).await;
        let none = outgoing.progress();
        assert_eq!((none.received, none.rate, none.total), (0, 0, Some(100_000)));
        assert_eq!(none.remaining(), None);
        for _ in 0..50 {
            outgoing.send(Bytes::from(vec![0; 1000])).await.unwrap();
            assert_eq!(incoming.next().await.unwrap().unwrap().data.len(), 1000);
            world.sleep(Duration::from_millis(100)).await;
        }
        // 10 kB a second, over five seconds; and as much is still to come.
        let progress = incoming.progress();
        assert_eq!(progress.received, 50_000);
        assert!((9_000..=11_500).contains(&progress.rate), "{progress:?}");
        let remaining = progress.remaining().unwrap().as_millis();
        assert!((4_300..=5_600).contains(&remaining), "{remaining} ms");

        incoming.set_durable(40_000);
        let seen = outgoing.progress();
        let changed = outgoing.changed(seen).await;
        assert_ne!(changed, seen);
        let mut progress = changed;
        while progress.durable < 40_000 {
            progress = outgoing.changed(progress).await;
        }
        assert_eq!(progress.durable, 40_000);
        drop(incoming);
        loop {
            // Once it has ended it does not wait any more.
            progress = outgoing.changed(progress).await;
            if outgoing.verdict().await.is_err() {
                break;
            }
        }
        assert_eq!(outgoing.changed(progress).await, progress);
    });
}

#[test]
fn both_ends_are_streams_of_bytes() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        let file = content(1_000_000);
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x")).await;
        let sending = async {
            outgoing.write_all(&file).await.unwrap();
            outgoing.flush().await.unwrap();
            outgoing.close().await.unwrap();
        };
        let receiving = async {
            let mut received = Vec::new();
            incoming.read_to_end(&mut received).await.unwrap();
            assert_eq!(incoming.read(&mut [0; 10]).await.unwrap(), 0, "the end stays the end");
            incoming.stored("x").unwrap();
            received
        };
        assert!(join(sending, receiving).await.1 == file);
    });
}

#[test]
fn a_stream_of_bytes_fails_with_the_transfer() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x")).await;
        outgoing.cancel(TransferCode::CANCELLED, "no").unwrap();
        let error = incoming.read(&mut [0; 10]).await.unwrap_err();
        let inner = error.get_ref().unwrap().downcast_ref::<TransferError>();
        assert!(matches!(inner, Some(TransferError::CancelAsked { .. })));
        drop(incoming);
        let error = outgoing.close().await.unwrap_err();
        let inner = error.get_ref().unwrap().downcast_ref::<TransferError>();
        assert!(matches!(inner, Some(TransferError::NotStored(_))));
        assert!(outgoing.write(b"x").await.is_err());
    });
}

#[test]
fn offers_wait_until_the_peer_allows_one_more() {
    World::run_at_once(async |world| {
        let config = duologue::proto::Config::builder().max_undecided(2).build().unwrap();
        let (near, mut far) = world.connect_with((Default::default(), config)).await;
        let offer = Offer::new("x");
        let one = near.session.offer(&offer).await.unwrap();
        let two = near.session.offer(&offer).await.unwrap();
        let third = Box::pin(near.session.offer(&offer));
        let futures::future::Either::Right((_, third)) =
            select(third, Box::pin(world.sleep(Duration::from_secs(1)))).await
        else {
            panic!("the third has to wait")
        };
        drop(far.offer().await);
        third.await.unwrap();
        drop((one, two));
    });
}

#[test]
fn a_large_chunk_is_taken_as_a_whole() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        let file = Bytes::from(content(20 << 20));
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x").size(20 << 20)).await;
        outgoing.send(file.clone()).await.unwrap();
        let (sent, received) = join(outgoing.finish(None), async {
            let received = read_all(&mut incoming).await.unwrap();
            incoming.stored("x").unwrap();
            received
        })
        .await;
        assert!(sent.is_ok() && received == file);
    });
}

#[test]
fn a_wait_that_is_given_up_takes_no_chunk() {
    World::run_at_once(async |world| {
        let (mut near, mut far) = world.connect().await;
        let (mut outgoing, mut incoming) =
            world.transfer(&mut near, &mut far, Offer::new("x")).await;
        assert!(is_pending(&mut Box::pin(incoming.next())));
        outgoing.send(Bytes::from_static(b"abc")).await.unwrap();
        world.settle().await;
        drop(Box::pin(incoming.next()));
        let chunk = incoming.next().await.unwrap();
        assert_eq!(chunk, Some(Chunk { offset: 0, data: Bytes::from_static(b"abc") }));
    });
}
