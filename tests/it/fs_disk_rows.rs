//! S8, H45: a disk that is slow or fails below one file, while everything else in the conversation
//! goes on.

use std::io::ErrorKind;

use bytes::Bytes;
use duologue::fs::{Inbox, receive};
use duologue::proto::{Config, Receipt as Fate};
use duologue::session::{Event, Events, Outgoing, Session, TransferError};
use duologue::testing::ShadowDisk;
use duologue::wire::{Chat, Offer, TransferCode};
use futures::StreamExt;
use futures::future::{Either, join, join3, select};
use futures::stream::FuturesUnordered;

use super::fs_between::Between;
use super::fs_drops::at_most;
use super::fs_transfer::{converse, random};
use super::fs_util::{BLOCK, PEER, content, digest, on, small};

async fn say(session: &Session, text: &str) {
    let receipt = session.send_chat(&Chat::new(text)).await.unwrap();
    assert_eq!(receipt.await, Fate::Delivered, "{text}");
}

/// Sends a file, and returns the name under which it is stored.
async fn send(session: &Session, name: &str, file: &Bytes) -> Result<String, TransferError> {
    let offer = Offer::new(name).size(file.len() as u64).modified(1);
    let mut outgoing = session.offer(&offer).await.unwrap();
    let accept = outgoing.accepted().await?;
    if accept.prefix.is_some() {
        outgoing.confirm_prefix()?;
    }
    for chunk in file[accept.offset as usize..].chunks(64 << 10) {
        outgoing.send(file.slice_ref(chunk)).await?;
    }
    let verdict = outgoing.finish(Some(digest(file))).await?;
    Ok(verdict.name().unwrap().to_owned())
}

/// Receives whatever is offered: what is named `bad` onto that disk, anything else onto the other.
/// The first file named `bad` only up to so many polls. Returns how many lines were heard.
async fn receive_each(bad: Inbox, good: Inbox, polls: usize, mut events: Events) -> usize {
    let (mut lines, mut first) = (0, Some(polls));
    let mut receiving = FuturesUnordered::new();
    loop {
        let next = match select(events.next(), receiving.next()).await {
            Either::Left((next, _)) => next,
            Either::Right((Some(()), _)) => continue,
            // None is under way.
            Either::Right((None, next)) => next.await,
        };
        match next {
            Some(Event::Offer(offer)) => {
                let is_bad = offer.offer().name == "bad";
                let inbox = if is_bad { &bad } else { &good };
                let polls = if is_bad { first.take() } else { None };
                let polls = polls.unwrap_or(usize::MAX);
                receiving.push(async move {
                    drop(at_most(polls, receive(offer, inbox, PEER, |_| ())).await);
                });
            }
            Some(Event::Chat(_)) => lines += 1,
            Some(_) => {}
            None => break,
        }
    }
    lines
}

/// Sends zeros for ever; ready once nothing more can be sent for as long as ten lines take.
async fn push_until_it_stands(session: &Session, outgoing: &mut Outgoing) {
    let chunk = Bytes::from(vec![0; 64 << 10]);
    let pushing = async {
        loop {
            outgoing.send(chunk.clone()).await.unwrap();
        }
    };
    let watching = async {
        let (mut same, mut before) = (0, 0);
        while same < 10 {
            say(session, "is it still going on?").await;
            let sent = session.statistics().sent.data.bytes;
            same = if sent == before && sent > 0 { same + 1 } else { 0 };
            before = sent;
        }
    };
    let _: Either<(std::convert::Infallible, _), _> =
        select(Box::pin(pushing), Box::pin(watching)).await;
}

#[test]
fn s8_a_slow_disk_holds_up_its_own_file_alone_and_bounds_hold() {
    let (slow, quick) = (ShadowDisk::new(), ShadowDisk::new());
    let bad = on(&slow, small().alignment(1 << 20)).unwrap();
    let good = on(&quick, small().alignment(1 << 20)).unwrap();
    let (disk, quick_disk) = (slow.clone(), quick.clone());
    let window = Config::default().receive_window() as u64;
    let ((), lines) = converse(
        |session, events| async move {
            let mut outgoing = session.offer(&Offer::new("bad")).await.unwrap();
            outgoing.accepted().await.unwrap();
            disk.hold();
            push_until_it_stands(&session, &mut outgoing).await;
            // Credit has stopped: beyond the window there is what is being written, and gathered.
            let before = session.statistics().sent.data;
            let sent = before.bytes;
            assert!(sent <= window + (3 << 20), "{sent} bytes to a disk that writes nothing");
            assert_eq!(disk.held(), 1);

            let file = Bytes::from(random(3 << 20, 9));
            let chatting = async {
                for n in 0..20 {
                    say(&session, &n.to_string()).await;
                }
            };
            let (stored, ()) = join(send(&session, "good", &file), chatting).await;
            assert_eq!(stored.unwrap(), "good");
            assert!(quick_disk.read("good").unwrap() == file);
            let after = session.statistics().sent.data;
            let headers = 8 * (after.frames - before.frames);
            assert_eq!(after.bytes - headers, sent + file.len() as u64, "nothing else moved");
            assert_eq!(disk.held(), 1, "all this while it was held up");

            disk.release();
            let total = outgoing.position();
            let whole = Bytes::from(vec![0; total as usize]);
            let verdict = outgoing.finish(Some(digest(&whole))).await.unwrap();
            assert_eq!(verdict.total(), total);
            assert!(disk.read("bad").unwrap() == whole);
            drop(events);
        },
        |_session, events| receive_each(bad, good, usize::MAX, events),
    );
    assert!(lines >= 20);
}

/// Which calls of a disk fail.
#[derive(Clone, Copy)]
enum Fault {
    /// So many, from this one on.
    Calls(u64, u64, ErrorKind),
    /// Those that make the file's name stay, once it has that: whichever they are by number, as that is
    /// a matter of how the file came.
    Settling,
}

impl Fault {
    fn befall(self, disk: &Between) {
        match self {
            Self::Calls(from, count, kind) => disk.disk.fail(disk.disk.calls() + from, count, kind),
            Self::Settling => {
                let mut is_named = false;
                disk.before_calls(move |call, path| {
                    is_named |= (call, path) == ("rename", "bad");
                    let fails = is_named && call == "sync folder";
                    if fails { Err(ErrorKind::Other.into()) } else { Ok(()) }
                });
            }
        }
    }
}

/// Sends a file to a disk with a fault, a good one beside it, and what no honest
/// peer sends. The receiver of the first is dropped after so many polls. Returns how many calls the
/// first file needed, and whether it was stored.
fn beside_a_failing_disk(fault: Fault, polls: usize) -> (u64, bool) {
    let (failing, healthy) = (Between::default(), ShadowDisk::new());
    let bad = failing.open(small());
    let good = on(&healthy, small()).unwrap();
    let before = failing.disk.calls();
    fault.befall(&failing);
    let file = content(3, 3 * BLOCK as usize + 100);
    let other = content(4, 3 * BLOCK as usize);
    let (disk, good_disk, sent) = (failing.clone(), healthy.clone(), file.clone());
    let ((calls, is_stored), lines) = converse(
        |session, events| async move {
            let hostile = async {
                for name in ["../x", "CON", ".hidden"] {
                    let refused = send(&session, name, &other).await;
                    assert!(matches!(refused, Err(TransferError::NotStored(_))), "{refused:?}");
                }
                // Offered, begun and taken back; and simply left.
                let offer = Offer::new("taken-back").size(other.len() as u64);
                let mut outgoing = session.offer(&offer).await.unwrap();
                outgoing.accepted().await.unwrap();
                outgoing.send(other.slice(..100)).await.unwrap();
                outgoing.cancel(TransferCode::CANCELLED, "").unwrap();
                assert!(outgoing.verdict().await.is_err());
                drop(session.offer(&offer).await.unwrap());
            };
            let chatting = async {
                for n in 0..5 {
                    say(&session, &n.to_string()).await;
                }
                send(&session, "good", &other).await
            };
            let (first, (), stored) = join3(send(&session, "bad", &sent), hostile, chatting).await;
            assert_eq!(stored.unwrap(), "good");
            assert!(good_disk.read("good").unwrap() == other);
            assert!(good_disk.names().iter().all(|name| name == "good" || name.starts_with('.')));
            let calls = disk.disk.calls() - before;
            if first.is_ok() {
                let after = disk.disk.crash(|_| false);
                assert!(after.read("bad").unwrap() == sent, "stored, and lost with the power");
            }
            // Once the disk is well the same file is stored, over the same conversation.
            disk.disk.heal();
            disk.calm();
            let mut is_stored = first.is_ok();
            while !is_stored {
                match send(&session, "bad", &sent).await {
                    // Who was dropped lets go of the part in a moment.
                    Err(TransferError::NotStored(verdict)) => {
                        assert_eq!(verdict.code(), TransferCode::BUSY);
                    }
                    // Its name may have been there when what comes after that failed.
                    stored => {
                        assert!(["bad", "bad (1)"].contains(&&*stored.unwrap()));
                        is_stored = true;
                    }
                }
            }
            say(&session, "goes on").await;
            drop(events);
            (calls, first.is_ok())
        },
        |_session, events| receive_each(bad, good, polls, events),
    );
    assert_eq!(lines, 6);
    assert!(failing.disk.read("bad").unwrap() == file);
    (calls, is_stored)
}

#[test]
fn h45_each_call_of_the_disk_fails_while_everything_else_goes_on() {
    for (count, kind) in [(1, ErrorKind::StorageFull), (u64::MAX, ErrorKind::Other)] {
        let mut failed = 0;
        for call in 0.. {
            let fault = Fault::Calls(call, count, kind);
            let (calls, is_stored) = beside_a_failing_disk(fault, usize::MAX);
            failed += usize::from(!is_stored);
            if calls <= call {
                assert!(is_stored);
                break;
            }
        }
        assert!(failed > 15, "{failed} failures only");
    }
    let (_, is_stored) = beside_a_failing_disk(Fault::Settling, usize::MAX);
    assert!(!is_stored);
}

#[test]
fn h45_a_file_is_dropped_at_any_poll_while_its_disk_fails() {
    for polls in [1, 2, 3, 4, 6, 9] {
        for call in [0, 3, 7, 12, 20] {
            beside_a_failing_disk(Fault::Calls(call, u64::MAX, ErrorKind::Other), polls);
        }
    }
}
