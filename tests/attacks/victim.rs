//! A program that does what it is asked to, and looks after its memory.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use duologue::fs::{Inbox, InboxOptions};
use duologue::proto::{CloseReason, Config, Connection, Error};
use duologue::session::{
    Accepted, Conversations, Event, Events, IncomingOffer, Outcome, Session, TransferError, session,
};
use duologue::testing::ShadowDisk;
use duologue::time::VirtualClock;
use duologue::wire::{Chat, Offer, TransferCode};
use futures::channel::mpsc;
use futures::future::{Either, LocalBoxFuture, join, select};
use futures::stream::{FuturesUnordered, StreamExt};

use super::talk::{keep_nothing, send, stays_ended};
use super::{Below, parameters, sleep, uncounted};

/// The streams of one attack, by number.
pub(super) type Arrivals = mpsc::UnboundedReceiver<(u8, Below)>;

/// What makes the bytes of these others than those of anybody else.
const FIRST: u8 = 100;
/// Bytes of the file that it offers to whoever comes.
const GIFT: usize = 300_000;
/// How often it says a line.
const EACH: Duration = Duration::from_secs(7);

/// Takes streams as a listener does, and serves who comes over them.
pub(super) async fn listen(
    conversations: &Conversations<Below>,
    mut arrivals: Arrivals,
    clock: &VirtualClock,
    seed: u64,
) -> Result<(), String> {
    let mut serving = FuturesUnordered::new();
    loop {
        futures::select! {
            stream = arrivals.next() => {
                let Some(stream) = stream else { break };
                serving.push(admit(conversations, stream, clock, seed));
            }
            served = serving.select_next_some() => served?,
        }
    }
    while let Some(served) = serving.next().await {
        served?;
    }
    Ok(())
}

async fn admit(
    conversations: &Conversations<Below>,
    (number, stream): (u8, Below),
    clock: &VirtualClock,
    seed: u64,
) -> Result<(), String> {
    let parameters = parameters(seed, FIRST + number);
    match conversations.accept(stream, parameters, clock.timer()).await {
        Ok(Accepted::New(session, events, driver)) => {
            let driving = async { _ = driver.await };
            serve(session, events, driving, clock, true).await
        }
        Ok(Accepted::Resumed(_)) if number > 0 => Ok(()),
        Ok(Accepted::Resumed(_)) => Err("there was nothing to go on with".to_owned()),
        // It was sent away in the handshake.
        Err(_) => Ok(()),
    }
}

/// The same as a client, who dials again as long as there is somebody.
pub(super) async fn dial(
    config: Config,
    mut arrivals: Arrivals,
    clock: &VirtualClock,
    seed: u64,
) -> Result<(), String> {
    let (_, stream) = arrivals.next().await.ok_or("there is no stream")?;
    let connection = Connection::client(config, parameters(seed, 1), clock.now());
    let (session, events, mut driver) = session(stream, connection, clock.timer());
    let driving = async {
        while let Outcome::Detached(detached) = driver.await {
            let Some((number, stream)) = arrivals.next().await else { return };
            match detached.attach(stream, parameters(seed, FIRST + number)) {
                Ok(attached) => driver = attached,
                Err(_) => return,
            }
        }
    };
    serve(session, events, driving, clock, false).await
}

async fn serve(
    session: Session,
    mut events: Events,
    driving: impl Future<Output = ()>,
    clock: &VirtualClock,
    lets_go: bool,
) -> Result<(), String> {
    let inbox = uncounted(|| InboxOptions::new().keep_free(0).open_on(Arc::new(ShadowDisk::new())));
    let inbox = inbox.map_err(|error| error.to_string())?;
    let (ended, was_open) = (Cell::new(None), Cell::new(false));
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
                Some(Event::Open(_)) => was_open.set(true),
                Some(Event::Closed(reason)) => ended.set(Some(reason)),
                Some(Event::Offer(offer)) => tasks.push(Box::pin(store(offer, &inbox, clock))),
                Some(Event::Batch(batch)) => tasks.push(Box::pin(keep_nothing(batch))),
                Some(_) => {}
            }
        }
    };
    join(serving, driving).await;
    // What ended it stays.
    let Some(reason) = ended.take() else { return Err("nobody was told of the end".to_owned()) };
    stays_ended(&session, reason).await?;
    // Once it is open nothing ends it but what the peer is told, or tells; a listener lets go of those
    // that it has heard nothing of since.
    let is_right = match reason {
        CloseReason::Failed(Error::Incomplete) => lets_go || !was_open.get(),
        CloseReason::Failed(error) => error.code().is_some() || !was_open.get(),
        _ => true,
    };
    match is_right {
        true => Ok(()),
        false => Err(format!("it was open, and failed without a code: {reason:?}")),
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
    let Ok(outgoing) = session.offer(&offer).await else { return Ok(()) };
    // It is the application's, as a file on its disk would be.
    let gift = uncounted(|| Bytes::from(vec![7; GIFT]));
    send(outgoing, &gift).await
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
