//! What is looked at for somebody who has gone is looked at no further.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use duologue::fs::{Inbox, Member, receive_batch};
use duologue::session::{Event, Events, Session};
use duologue::wire::{Batch, CloseCode, Offer, Side, TransferId};
use futures::StreamExt;

use super::fs_between::Between;
use super::fs_reads::yield_once;
use super::fs_transfer::{converse, random};
use super::fs_util::{PEER, digest, small};
use super::support::is_pending;

const LEN: usize = 12 << 20;
/// Reads of 1 MiB between two looks at whether anybody still waits.
const STEP: usize = 4;

fn batch(metadata: &'static str) -> Batch<'static> {
    let metadata = metadata.as_bytes().into();
    Batch { name: "b".into(), count: 1, bytes: LEN as u64, metadata }
}

/// A folder with its only file.
fn store(inbox: &Inbox, content: &Bytes) {
    let mut folder = inbox.receive_batch(PEER, &batch("duologue folder 1")).unwrap();
    let id = TransferId::new(Side::Client, 1).unwrap();
    let offer = Offer::new("m").size(LEN as u64).batch(id);
    let Member::File(mut file) = folder.receive(&offer).unwrap() else { panic!("it is new") };
    file.write(std::slice::from_ref(content)).unwrap();
    file.finish(LEN as u64, Some(digest(content))).unwrap();
    folder.finish().unwrap();
}

async fn offer_again(session: Session, digest: duologue::wire::Digest) {
    let mut folder = session.offer_batch(&batch("duologue folder 1 digests")).await.unwrap();
    folder.accepted().await.unwrap();
    let offer = Offer::new("m").size(LEN as u64).batch(folder.id()).digest(digest);
    let mut member = folder.offer(offer).await.unwrap();
    assert!(member.verdict().await.is_err());
    assert!(folder.verdict().await.is_err());
}

/// Receives until the member is being read, goes away, and lets it be read on.
async fn go_away(
    session: Session,
    mut events: Events,
    inbox: Inbox,
    is_read: Arc<AtomicBool>,
    go_on: mpsc::Sender<()>,
    is_dropped: bool,
) {
    let offer = loop {
        match events.next().await.unwrap() {
            Event::Batch(offer) => break offer,
            event => assert!(matches!(event, Event::Open(_)), "{event:?}"),
        }
    };
    let mut receiving = Box::pin(receive_batch(offer, &inbox, PEER, |_| ()));
    while !is_read.load(Ordering::Acquire) {
        assert!(is_pending(&mut receiving));
        yield_once().await;
    }
    if is_dropped {
        drop(receiving);
        go_on.send(()).unwrap();
    } else {
        session.close(CloseCode::SHUTDOWN, "").unwrap();
        while events.next().await.is_some() {}
        assert!(is_pending(&mut receiving), "it waits for who reads");
        go_on.send(()).unwrap();
        assert!(receiving.await.is_err());
    }
}

#[test]
fn a_known_member_is_read_no_further_once_nobody_waits_for_it() {
    let content = Bytes::from(random(LEN, 1));
    for is_dropped in [true, false] {
        let disk = Between::default();
        let inbox = disk.open(small());
        store(&inbox, &content);
        let (reads, is_read) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let ((go_on, may_go_on), (close, closed)) = (mpsc::channel(), mpsc::channel());
        let (counted, told) = (Arc::clone(&reads), Arc::clone(&is_read));
        disk.before_calls(move |call, path| {
            match (call, path) {
                ("read", "b/m") if counted.fetch_add(1, Ordering::AcqRel) == 0 => {
                    told.store(true, Ordering::Release);
                    may_go_on.recv().unwrap();
                }
                ("close", "b/m") => close.send(()).unwrap(),
                _ => {}
            }
            Ok(())
        });
        converse(
            |session, _events| offer_again(session, digest(&content)),
            |session, events| go_away(session, events, inbox, is_read, go_on, is_dropped),
        );
        closed.recv().unwrap();
        assert_eq!(reads.load(Ordering::Acquire), STEP, "dropped: {is_dropped}");
    }
}
