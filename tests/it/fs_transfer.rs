//! Files and folders from one disk to another over a conversation.

use std::fs;
use std::path::Path;

use duologue::fs::{
    BatchEvent, Error, Inbox, InboxOptions, ReceiveError, Received, ReceivedBatch, SendError,
    Source, TreeEvent, TreeOptions, receive, receive_batch, send, send_tree,
};
use duologue::proto::{Config, Connection, StreamParameters};
use duologue::session::{Event, Events, Session, TransferError, accept, session};
use duologue::testing::{SplitMix64, duplex};
use duologue::time::{AsyncIoTimer, Timer};
use duologue::wire::{CloseCode, Offer, TransferCode};
use futures::executor::block_on;
use futures::{Future, FutureExt, StreamExt, future};

/// Runs two applications on the ends of an in-memory pipe until both are done.
pub(crate) fn converse<A, B>(
    client: impl FnOnce(Session, Events) -> A,
    server: impl FnOnce(Session, Events) -> B,
) -> (A::Output, B::Output)
where
    A: Future,
    B: Future,
{
    block_on(converse_async(client, server))
}

async fn converse_async<A, B>(
    client: impl FnOnce(Session, Events) -> A,
    server: impl FnOnce(Session, Events) -> B,
) -> (A::Output, B::Output)
where
    A: Future,
    B: Future,
{
    let (near, far) = duplex(64 << 10);
    {
        let client = async {
            let timer = AsyncIoTimer::new();
            let stream = StreamParameters::new([1; 32]);
            let connection = Connection::client(Config::default(), stream, timer.now());
            let (handle, mut events, driver) = session(near, connection, timer);
            let application = async {
                while !handle.is_open() {
                    events.next().await;
                }
                let output = client(handle.clone(), events).await;
                let _ = handle.close(CloseCode::DONE, "");
                output
            };
            future::join(driver, application).await.1
        };
        let server = async {
            let stream = StreamParameters::new([2; 32]);
            let accepted = accept(far, Config::default(), stream, AsyncIoTimer::new()).await;
            let (handle, events, driver) = accepted.unwrap();
            future::join(driver, server(handle, events)).await.1
        };
        future::join(client, server).await
    }
}

fn is_busy(error: &SendError) -> bool {
    let SendError::Transfer(TransferError::NotStored(verdict)) = error else { return false };
    verdict.code() == TransferCode::BUSY
}

pub(crate) fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut random = SplitMix64::new(seed);
    (0..len.div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes()).take(len).collect()
}

/// Receives whatever is offered, until the conversation ends.
pub(crate) async fn receive_all(inbox: Inbox, mut events: Events) -> Vec<Option<TransferCode>> {
    let mut ends = Vec::new();
    while let Some(event) = events.next().await {
        if let Event::Offer(offer) = event {
            let received = receive(offer, &inbox, Some(b"peer"), |_| ()).await;
            ends.push(match received {
                Ok(_) => None,
                Err(ReceiveError::Storage(error)) => Some(error.code()),
                Err(_) => Some(TransferCode::CANCELLED),
            });
        }
    }
    ends
}

#[test]
fn a_file_is_stored_with_its_content_and_its_digest() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for len in [0, 1, 256 << 10, (3 << 20) + 17] {
        let content = random(len, 7);
        let path = from.path().join(format!("file-{len}.bin"));
        fs::write(&path, &content).unwrap();
        let inbox = Inbox::open(to.path()).unwrap();
        let mut seen = 0;
        let (sent, ends) = converse(
            |session, _events| async move {
                let sent = send(&session, &path, |progress| seen = progress.received).await;
                (sent.unwrap(), seen)
            },
            |_session, events| receive_all(inbox, events),
        );
        let (sent, seen) = sent;
        assert_eq!(ends, [None]);
        assert_eq!(sent.verdict.name(), Some(format!("file-{len}.bin").as_str()));
        assert_eq!((sent.bytes, sent.verdict.total(), seen), (len as u64, len as u64, len as u64));
        assert_eq!(fs::read(to.path().join(format!("file-{len}.bin"))).unwrap(), content);
    }
}

/// The receiver's program ends in the middle: the next one goes on from the part.
#[test]
fn a_file_goes_on_where_an_earlier_conversation_was_lost() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = random(24 << 20, 9);
    let path = from.path().join("large.bin");
    fs::write(&path, &content).unwrap();

    let inbox = Inbox::open(to.path()).unwrap();
    let first = path.clone();
    let (sent, ()) = converse(
        |session, _events| async move { send(&session, &first, |_| ()).await },
        |session, mut events| async move {
            while let Some(event) = events.next().await {
                let Event::Offer(offer) = event else { continue };
                let closing = |progress: duologue::session::Progress| {
                    if progress.received > 20 << 20 {
                        let _ = session.close(CloseCode::SHUTDOWN, "");
                    }
                };
                receive(offer, &inbox, Some(b"peer"), closing).await.unwrap_err();
            }
        },
    );
    assert!(matches!(sent, Err(SendError::Transfer(TransferError::Abandoned(_)))), "{sent:?}");
    assert!(!to.path().join("large.bin").exists());

    let inbox = Inbox::open(to.path()).unwrap();
    let ((sent, bytes), ends) = converse(
        |session, _events| async move {
            let sent = send(&session, &path, |_| ()).await.unwrap();
            (sent, session.statistics().sent.data.bytes)
        },
        |_session, events| receive_all(inbox, events),
    );
    assert_eq!(ends, [None]);
    assert_eq!(sent.bytes, 24 << 20);
    assert!(bytes < 10 << 20, "{bytes} bytes were sent, though most of it was there");
    assert_eq!(fs::read(to.path().join("large.bin")).unwrap(), content);
}

/// Waits for a second receiver of a file; the first may hear already, while it saves what it has, that
/// its part is the other's.
async fn outlast<T>(
    first: impl Future<Output = Result<Received, ReceiveError>> + Unpin,
    second: impl Future<Output = T>,
) -> T {
    match future::select(first, Box::pin(second)).await {
        future::Either::Left((first, second)) => {
            let is_superseded = matches!(first, Err(ReceiveError::Storage(Error::Superseded)));
            assert!(is_superseded, "{first:?}");
            second.await
        }
        future::Either::Right((second, _)) => second,
    }
}

/// The sender's program ends in the middle, which the receiver's does not wait out: a new one goes on
/// from the part at once.
#[test]
fn a_file_goes_on_though_its_first_conversation_may_come_back() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = random(24 << 20, 11);
    let path = from.path().join("large.bin");
    fs::write(&path, &content).unwrap();
    let inbox = Inbox::open(to.path()).unwrap();

    let (near, far) = duplex(64 << 10);
    let begun = block_on(async {
        let timer = AsyncIoTimer::new();
        let connection =
            Connection::client(Config::default(), StreamParameters::new([1; 32]), timer.now());
        let (handle, mut events, driver) = session(near, connection, timer);
        let sender = async {
            while !handle.is_open() {
                events.next().await;
            }
            let enough = futures::channel::oneshot::channel();
            let mut told = Some(enough.0);
            let sending = send(&handle, &path, |progress| {
                if progress.received > 20 << 20 {
                    told.take().map(|told| told.send(()));
                }
            });
            future::select(Box::pin(sending), enough.1).await;
        };
        let accepted =
            accept(far, Config::default(), StreamParameters::new([2; 32]), AsyncIoTimer::new());
        // The sender's side ends with all it has: its stream breaks.
        let client = future::select(driver, Box::pin(sender)).map(drop);
        let server = async {
            let (_, mut events, driver) = accepted.await.unwrap();
            let mut receiving = None;
            let mut driver = Some(driver);
            let detached = future::poll_fn(|cx| {
                while let std::task::Poll::Ready(Some(event)) = events.poll_next_unpin(cx) {
                    if let Event::Offer(offer) = event {
                        receiving = Some(Box::pin(receive(offer, &inbox, Some(b"peer"), |_| ())));
                    }
                }
                if let Some(receiving) = &mut receiving {
                    assert!(receiving.as_mut().poll(cx).is_pending());
                }
                driver.as_mut().unwrap().poll_unpin(cx)
            });
            let detached = detached.await;
            let receiving = receiving.unwrap();
            (events, detached, receiving)
        };
        let ((), (events, detached, receiving)) = future::join(client, server).await;
        assert!(matches!(detached, duologue::session::Outcome::Detached(_)), "{detached:?}");
        (events, detached, receiving)
    });
    let (_events, _detached, mut receiving) = begun;

    // Its part is let go of once it is saved.
    let ((sent, bytes), ends) = block_on(async {
        let second = async {
            let ((sent, bytes), ends) = converse_async(
                |session, _events| {
                    let path = path.clone();
                    async move {
                        // It is busy until what came of it is saved: the answer says to try again.
                        let sent = loop {
                            match send(&session, &path, |_| ()).await {
                                Err(error) if is_busy(&error) => assert!(error.can_retry()),
                                sent => break sent.unwrap(),
                            }
                        };
                        (sent, session.statistics().sent.data.bytes)
                    }
                },
                |_session, events| receive_all(inbox.clone(), events),
            )
            .await;
            ((sent, bytes), ends)
        };
        outlast(&mut receiving, second).await
    });
    assert_eq!((sent.bytes, ends.last()), (24 << 20, Some(&None)));
    assert!(ends.iter().flatten().all(|&code| code == TransferCode::BUSY), "{ends:?}");
    assert!(bytes < 10 << 20, "{bytes} bytes were sent, though most of it was there");
    assert_eq!(fs::read(to.path().join("large.bin")).unwrap(), content);
}

/// What is there is of another file: all of it is sent.
#[test]
fn a_part_of_another_content_is_not_used() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = from.path().join("large.bin");
    fs::write(&path, random(24 << 20, 1)).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let offer = Source::open(&path).unwrap().offer("large.bin");
    let inbox = Inbox::open(to.path()).unwrap();
    // The same size and time, and the beginning of another content.
    let mut receiver = inbox.receive(Some(b"peer"), &offer).unwrap();
    receiver.write(&[random(20 << 20, 2).into()]).unwrap();
    receiver.checkpoint().unwrap();
    receiver.suspend();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), modified);

    let sending = path.clone();
    let (sent, ends) = converse(
        |session, _events| async move { send(&session, &sending, |_| ()).await },
        |_session, events| receive_all(inbox, events),
    );
    assert_eq!(ends, [None]);
    sent.unwrap();
    assert_eq!(fs::read(to.path().join("large.bin")).unwrap(), fs::read(&path).unwrap());
}

fn write_tree(folder: &Path) -> usize {
    let mut random = SplitMix64::new(3);
    fs::create_dir_all(folder.join("empty")).unwrap();
    for number in 0..200 {
        let sub = folder.join(format!("sub-{}", number % 7));
        fs::create_dir_all(&sub).unwrap();
        let len = usize::try_from(random.below(40_000)).unwrap();
        fs::write(sub.join(format!("{number}.txt")), self::random(len, number)).unwrap();
    }
    200 + 8
}

pub(crate) fn compare(left: &Path, right: &Path) {
    let mut entries: Vec<_> = fs::read_dir(left).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    assert_eq!(entries.len(), fs::read_dir(right).unwrap().count());
    for entry in entries {
        let other = right.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            compare(&entry.path(), &other);
        } else {
            assert_eq!(fs::read(entry.path()).unwrap(), fs::read(other).unwrap());
        }
    }
}

#[test]
fn a_folder_arrives_with_all_that_is_in_it() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = from.path().join("photos");
    let members = write_tree(&folder);
    let inbox = Inbox::open(to.path()).unwrap();
    let sending = folder.clone();
    let ((tree, told), received) = converse(
        |session, _events| async move {
            let mut told = 0;
            let tree = send_tree(&session, &sending, TreeOptions::new(), |event| {
                assert!(matches!(event, TreeEvent::Stored { .. }), "{event:?}");
                told += 1;
            });
            (tree.await.unwrap(), told)
        },
        |_session, mut events| async move {
            let mut received: Option<ReceivedBatch> = None;
            while let Some(event) = events.next().await {
                let Event::Batch(offer) = event else { continue };
                let batch = receive_batch(offer, &inbox, Some(b"peer"), |event| {
                    assert!(matches!(event, BatchEvent::Stored(_)), "{event:?}");
                });
                received = Some(batch.await.unwrap());
            }
            received.unwrap()
        },
    );
    assert_eq!((tree.stored as usize, tree.failed, told), (members, 0, 200));
    assert_eq!(tree.verdict.unwrap().name(), Some("photos"));
    assert_eq!((received.stored as usize, received.failed), (members, 0));
    compare(&folder, &to.path().join("photos"));
}

#[test]
fn two_folders_that_are_sent_at_once_arrive_both() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folders = ["photos", "papers"].map(|name| from.path().join(name));
    let members = folders.each_ref().map(|folder| write_tree(folder));
    fs::write(folders[1].join("sub-0/0.txt"), "another file of the same name").unwrap();
    let inbox = Inbox::open(to.path()).unwrap();
    let sending = folders.clone();
    let (sent, received) = converse(
        |session, _events| async move {
            let send = |folder| {
                send_tree(&session, folder, TreeOptions::new(), |event| {
                    assert!(matches!(event, TreeEvent::Stored { .. }), "{event:?}");
                })
            };
            let [one, other] = &sending;
            let (one, other) = future::join(send(one), send(other)).await;
            [one.unwrap(), other.unwrap()]
        },
        |_session, events| async move {
            let mut received: Vec<ReceivedBatch> = events
                .filter_map(async |event| match event {
                    Event::Batch(offer) => Some(offer),
                    _ => None,
                })
                .map(|offer| {
                    receive_batch(offer, &inbox, Some(b"peer"), |event| {
                        assert!(matches!(event, BatchEvent::Stored(_)), "{event:?}");
                    })
                })
                .buffer_unordered(2)
                .map(Result::unwrap)
                .collect()
                .await;
            received.sort_by(|one, other| other.path.cmp(&one.path));
            received
        },
    );
    assert_eq!(received.len(), 2);
    for (at, folder) in folders.iter().enumerate() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        assert_eq!((sent[at].stored as usize, sent[at].failed), (members[at], 0));
        assert_eq!(sent[at].verdict.as_ref().unwrap().name(), Some(name));
        assert_eq!((received[at].stored as usize, received[at].failed), (members[at], 0));
        assert_eq!(received[at].path.as_str(), name);
        compare(folder, &to.path().join(name));
    }
}

/// One file that cannot be stored is the sender's to know, and harms no other.
#[test]
fn a_file_that_is_refused_harms_no_other() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let inbox = InboxOptions::new().max_file_size(1000).open(to.path()).unwrap();
    let (large, small) = (from.path().join("large"), from.path().join("small"));
    fs::write(&large, random(1001, 1)).unwrap();
    fs::write(&small, random(1000, 1)).unwrap();
    let ((first, second), ends) = converse(
        |session, _events| async move {
            let first = send(&session, &large, |_| ()).await;
            (first, send(&session, &small, |_| ()).await)
        },
        |_session, events| receive_all(inbox, events),
    );
    let Err(SendError::Transfer(TransferError::NotStored(verdict))) = first else {
        panic!("{first:?}")
    };
    assert_eq!(verdict.code(), TransferCode::TOO_LARGE);
    assert_eq!(verdict.text(), "larger than 1000 bytes");
    assert!(second.is_ok());
    assert_eq!(ends, [Some(TransferCode::TOO_LARGE), None]);
}

/// What its sender gave up is of use to nobody: nothing of it stays. What was lost with a stream does.
#[test]
fn nothing_stays_of_a_file_that_is_cancelled() {
    for is_cancelled in [true, false] {
        let to = tempfile::tempdir().unwrap();
        let inbox = Inbox::open(to.path()).unwrap();
        let content = random(3 << 20, 5);
        let (verdict, _ends) = converse(
            |session, _events| async move {
                let offer = Offer::new("half").size(content.len() as u64);
                let mut outgoing = session.offer(&offer).await.unwrap();
                outgoing.accepted().await.unwrap();
                outgoing.send(content[..2 << 20].to_vec().into()).await.unwrap();
                let mut progress = outgoing.progress();
                while progress.received < 2 << 20 {
                    progress = outgoing.changed(progress).await;
                }
                if is_cancelled {
                    outgoing.cancel(TransferCode::CANCELLED, "").unwrap();
                    return Some(outgoing.verdict().await);
                }
                // The conversation goes, and the file with it.
                std::mem::forget(outgoing);
                None
            },
            |_session, events| receive_all(inbox, events),
        );
        assert!(verdict.is_none_or(|verdict| verdict.is_err()));
        let parts = fs::read_dir(to.path()).unwrap();
        let parts = parts.filter(|entry| {
            entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part")
        });
        assert_eq!(parts.count(), usize::from(!is_cancelled), "cancelled: {is_cancelled}");
    }
}

/// A machine gives a transfer up by itself when it stalls: that is no reason to begin anew.
#[test]
fn a_file_that_stalled_goes_on_where_it_was_and_one_that_was_cancelled_does_not() {
    let to = tempfile::tempdir().unwrap();
    let inbox = InboxOptions::new().alignment(4096).keep_free(0).open(to.path()).unwrap();
    let content = bytes::Bytes::from(random(100_000, 3));
    for (code, is_kept) in [(TransferCode::STALLED, true), (TransferCode::CANCELLED, false)] {
        let name = format!("{code}.bin");
        let offer = Offer::new(&*name).size(content.len() as u64).seekable();
        let (content, offered) = (&content, &offer);
        let (ended, _) = converse(
            |session, _events| async move {
                let mut outgoing = session.offer(offered).await.unwrap();
                outgoing.accepted().await.unwrap();
                outgoing.send(content.slice(..50_000)).await.unwrap();
                let mut seen = outgoing.progress();
                while seen.received < 50_000 {
                    seen = outgoing.changed(seen).await;
                }
                outgoing.cancel(code, "no progress in time").unwrap();
                outgoing.verdict().await.unwrap_err()
            },
            |_session, events| receive_all(inbox.clone(), events),
        );
        let TransferError::NotStored(verdict) = ended else { panic!("{ended:?}") };
        assert_eq!(verdict.code(), code);
        let again = inbox.receive(Some(b"peer"), &offer).unwrap();
        assert_eq!(again.prefix().map(|(offset, _)| offset), is_kept.then_some(49_152), "{code}");
    }
}
