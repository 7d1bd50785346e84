//! H45: the futures that move files dropped at any poll. The conversation goes on, the same file or
//! folder arrives at the next try, and nothing that is not whole has its name.

use std::fs;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::pin;
use std::task::Poll;

use duologue::fs::{
    Durability, Inbox, InboxOptions, SendError, TreeOptions, receive, receive_batch, send,
    send_tree,
};
use duologue::session::{Event, Events, TransferError};
use duologue::wire::TransferCode;
use futures::StreamExt;

use super::fs_transfer::{compare, converse, random};

const LEN: usize = 700_000;
const PEER: Option<&[u8]> = Some(b"peer");
/// Most polls after which a future is dropped; most end before.
const POLLS: usize = 60;

/// Polls so many times, and drops.
pub(crate) async fn at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

fn inbox(folder: &Path) -> Inbox {
    InboxOptions::new().durability(Durability::NoSync).open(folder).unwrap()
}

/// Whether the sender may try again at once: what was dropped is still being let go of, or it was
/// the receiver's future that was dropped.
fn may_try_again(error: &SendError) -> bool {
    let SendError::Transfer(TransferError::NotStored(verdict)) = error else { return false };
    [TransferCode::BUSY, TransferCode::CANCELLED, TransferCode::DECLINED].contains(&verdict.code())
}

/// Receives whatever is offered; the first time only up to so many polls. Tells whether that was
/// dropped.
async fn receive_dropping(polls: usize, inbox: Inbox, mut events: Events) -> bool {
    let mut was_dropped = None;
    while let Some(event) = events.next().await {
        let polls = if was_dropped.is_none() { polls } else { usize::MAX };
        let ended = match event {
            Event::Offer(offer) => {
                at_most(polls, receive(offer, &inbox, PEER, |_| ())).await.is_some()
            }
            Event::Batch(offer) => {
                at_most(polls, receive_batch(offer, &inbox, PEER, |_| ())).await.is_some()
            }
            _ => continue,
        };
        was_dropped.get_or_insert(!ended);
    }
    was_dropped.unwrap_or_default()
}

/// Whatever has its name is whole.
fn assert_all_whole(folder: &Path, content: &[u8]) {
    let mut whole = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_str().unwrap().starts_with('.') {
            assert!(fs::read(entry.path()).unwrap() == content, "{:?}", entry.file_name());
            whole += 1;
        }
    }
    assert!(whole >= 1);
}

/// Sends a file with either future dropped; whether it was.
fn file_dropping(drops_sender: bool, polls: usize) -> bool {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = random(LEN, 5);
    let path = from.path().join("file.bin");
    fs::write(&path, &content).unwrap();
    let inbox = inbox(to.path());
    let receiver_polls = if drops_sender { usize::MAX } else { polls };
    let (sender_dropped, receiver_dropped) = converse(
        |session, events| async move {
            let mut was_dropped = false;
            if drops_sender {
                was_dropped = at_most(polls, send(&session, &path, |_| ())).await.is_none();
            }
            loop {
                match send(&session, &path, |_| ()).await {
                    Ok(sent) => break assert_eq!(sent.bytes, LEN as u64),
                    Err(error) => assert!(may_try_again(&error), "{error:?}"),
                }
            }
            drop(events);
            was_dropped
        },
        |_session, events| receive_dropping(receiver_polls, inbox, events),
    );
    assert_all_whole(to.path(), &content);
    sender_dropped || receiver_dropped
}

fn write_tree(folder: &Path) {
    fs::create_dir_all(folder.join("empty")).unwrap();
    for number in 0..12_usize {
        let sub = folder.join(format!("sub-{}", number % 3));
        fs::create_dir_all(&sub).unwrap();
        fs::write(sub.join(format!("{number}.txt")), random(number * 20_000, 3)).unwrap();
    }
}

/// What of a folder is there is as it was.
fn assert_part_of(found: &Path, folder: &Path) {
    for entry in fs::read_dir(found).unwrap() {
        let entry = entry.unwrap();
        let original = folder.join(entry.file_name());
        if entry.file_name().to_str().unwrap().starts_with('.') {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            assert_part_of(&entry.path(), &original);
        } else {
            assert!(fs::read(entry.path()).unwrap() == fs::read(&original).unwrap());
        }
    }
}

/// Sends a folder with either future dropped; whether it was.
fn tree_dropping(drops_sender: bool, polls: usize) -> bool {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = from.path().join("photos");
    write_tree(&folder);
    let inbox = inbox(to.path());
    let sending = folder.clone();
    let receiver_polls = if drops_sender { usize::MAX } else { polls };
    let ((sender_dropped, name), receiver_dropped) = converse(
        |session, events| async move {
            let mut was_dropped = false;
            if drops_sender {
                let tree = send_tree(&session, &sending, TreeOptions::new(), |_| ());
                was_dropped = at_most(polls, tree).await.is_none();
            }
            let name = loop {
                let tree = send_tree(&session, &sending, TreeOptions::new(), |_| ()).await;
                match tree.map(|tree| tree.verdict) {
                    Ok(Ok(verdict)) => break verdict.name().unwrap().to_owned(),
                    Ok(Err(error)) => assert!(may_try_again(&error.into())),
                    Err(error) => assert!(may_try_again(&error), "{error:?}"),
                }
            };
            drop(events);
            (was_dropped, name)
        },
        |_session, events| receive_dropping(receiver_polls, inbox, events),
    );
    compare(&folder, &to.path().join(name));
    for entry in fs::read_dir(to.path()).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_str().unwrap().starts_with('.') {
            assert_part_of(&entry.path(), &folder);
        }
    }
    sender_dropped || receiver_dropped
}

/// Drops after more and more polls, until the future ends before.
fn each_poll(run: impl Fn(usize) -> bool) {
    let dropped = (1..=POLLS).take_while(|&polls| run(polls)).count();
    assert!(dropped >= 4, "{dropped} polls only");
}

#[test]
fn h45_send_dropped_at_any_poll() {
    each_poll(|polls| file_dropping(true, polls));
}

#[test]
fn h45_receive_dropped_at_any_poll() {
    each_poll(|polls| file_dropping(false, polls));
}

#[test]
fn h45_send_tree_dropped_at_any_poll() {
    each_poll(|polls| tree_dropping(true, polls));
}

#[test]
fn h45_receive_batch_dropped_at_any_poll() {
    each_poll(|polls| tree_dropping(false, polls));
}
