//! A program that does what it is asked to, and looks after its memory.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use duologue::fs::{Inbox, InboxOptions};
use duologue::proto::CloseReason;
use duologue::session::{
    Accepted, BatchOffer, Conversations, Driver, Event, Events, IncomingOffer, Outcome, Session,
    TransferError,
};
use duologue::testing::ShadowDisk;
use duologue::time::{VirtualClock, VirtualTimer};
use duologue::wire::{Chat, Digest, Offer, TransferCode};
use futures::future::{Either, LocalBoxFuture, join, select};
use futures::stream::{FuturesUnordered, StreamExt};

use super::{Below, parameters, sleep, uncounted};

/// Bytes of the file that it offers to whoever comes.
const GIFT: usize = 300_000;
const CHUNK: usize = 32 << 10;
/// How often it says a line.
const EACH: Duration = Duration::from_secs(7);

/// Takes a stream as a listener does, and serves who comes over it.
pub(super) async fn listen(
    conversations: &Conversations<Below>,
    stream: Below,
    clock: &VirtualClock,
    seed: u64,
) -> Result<(), String> {
    let accepted = conversations.accept(stream, parameters(seed, 2), clock.timer()).await;
    match accepted {
        Ok(Accepted::New(session, events, driver)) => {
            let driving = async { _ = driver.await };
            serve(session, events, driving, clock).await
        }
        Ok(Accepted::Resumed(_)) => Err("there was nothing to go on with".to_owned()),
        // It was sent away in the handshake.
        Err(_) => Ok(()),
    }
}

/// The same as a client, who dials once.
pub(super) async fn dial(
    session: Session,
    events: Events,
    driver: Driver<Below, VirtualTimer>,
    clock: &VirtualClock,
) -> Result<(), String> {
    let driving = async {
        match driver.await {
            Outcome::Ended(_) => {}
            // It is not dialled again.
            Outcome::Detached(detached) => drop(detached),
        }
    };
    serve(session, events, driving, clock).await
}

async fn serve(
    session: Session,
    mut events: Events,
    driving: impl Future<Output = ()>,
    clock: &VirtualClock,
) -> Result<(), String> {
    let inbox = uncounted(|| InboxOptions::new().keep_free(0).open_on(Arc::new(ShadowDisk::new())));
    let inbox = inbox.map_err(|error| error.to_string())?;
    let ended = Cell::new(None);
    let serving = async {
        let mut tasks: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
        tasks.push(Box::pin(async { drop(give(&session).await) }));
        tasks.push(Box::pin(talk(&session, clock)));
        loop {
            let event = match select(events.next(), tasks.next()).await {
                Either::Left((event, _)) => event,
                Either::Right((Some(_), _)) => continue,
                Either::Right((None, next)) => next.await,
            };
            match event {
                None => return,
                Some(Event::Closed(reason)) => ended.set(Some(reason)),
                Some(Event::Offer(offer)) => tasks.push(Box::pin(store(offer, &inbox, clock))),
                Some(Event::Batch(batch)) => tasks.push(Box::pin(keep(batch))),
                Some(_) => {}
            }
        }
    };
    join(serving, driving).await;
    // What ended it stays.
    let Some(reason) = ended.take() else { return Err("nobody was told of the end".to_owned()) };
    let stays = session.closed().await == reason;
    let refused = session.send_chat(&Chat::new("too late")).await.is_err();
    let is_ours = matches!(reason, CloseReason::Failed(error) if error.code().is_none());
    match stays && refused && !session.is_open() {
        true => Ok(()),
        false => Err(format!("it ended as {reason:?} ({is_ours}), and did not stay so")),
    }
}

/// Says a line now and then.
async fn talk(session: &Session, clock: &VirtualClock) {
    if session.opened().await.is_err() {
        return;
    }
    for _ in 0..1000 {
        if session.send_chat(&Chat::new("are you still there?")).await.is_err() {
            return;
        }
        sleep(clock, clock.now().saturating_add(EACH)).await;
    }
}

/// Offers a file, and sends it to whoever wants it.
async fn give(session: &Session) -> Result<(), TransferError> {
    if session.opened().await.is_err() {
        return Ok(());
    }
    let offer = Offer::new("gift").size(GIFT as u64).modified(1).seekable();
    let Ok(mut outgoing) = session.offer(&offer).await else { return Ok(()) };
    let gift = Bytes::from(vec![7; GIFT]);
    let digest = Digest::Blake3(*blake3::hash(&gift).as_bytes());
    let accept = outgoing.accepted().await?;
    if accept.prefix.is_some() {
        // It is never the prefix of this.
        outgoing.restart()?;
    }
    loop {
        let at = usize::try_from(outgoing.position()).unwrap_or(GIFT);
        let sent = match at < GIFT {
            true => outgoing.send(gift.slice(at..GIFT.min(at + CHUNK))).await,
            false => outgoing.finish(Some(digest)).await.map(drop),
        };
        match sent {
            Ok(()) if at >= GIFT => return Ok(()),
            Ok(()) | Err(TransferError::Rewind { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Stores a file, if it may be.
async fn store(offer: IncomingOffer, inbox: &Inbox, clock: &VirtualClock) {
    let begun = uncounted(|| inbox.receive(Some(b"the peer"), offer.offer()));
    let mut receiver = match begun {
        Ok(receiver) => receiver,
        Err(error) => return drop(offer.reject(error.code(), "")),
    };
    let Ok(mut incoming) = offer.accept() else { return };
    loop {
        match incoming.next().await {
            Ok(Some(chunk)) => {
                if let Err(error) = uncounted(|| receiver.write(&[chunk.data])) {
                    return drop(incoming.failed(error.code(), ""));
                }
                // As a disk does.
                sleep(clock, clock.now().saturating_add(Duration::from_millis(1))).await;
            }
            Ok(None) => break,
            Err(_) => {
                uncounted(|| receiver.discard());
                return drop(incoming.failed(TransferCode::CANCELLED, ""));
            }
        }
    }
    let Some(finish) = incoming.finish() else { return };
    let _ = match uncounted(|| receiver.finish(finish.total, finish.digest)) {
        Ok(path) => incoming.stored(path.as_str()),
        Err(error) => incoming.failed(error.code(), ""),
    };
}

/// Takes the members of a batch, and keeps nothing of them.
async fn keep(batch: BatchOffer) {
    let Ok(mut members) = batch.accept() else { return };
    while let Ok(Some((_, mut incoming))) = members.next().await {
        while let Ok(Some(_)) = incoming.next().await {}
        let _ = incoming.failed(TransferCode::DECLINED, "");
    }
}
