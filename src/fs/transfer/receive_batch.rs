use core::future::poll_fn;
use core::task::Poll;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::string::{String, ToString};
use std::sync::{Arc, Mutex, PoisonError};
use std::vec::Vec;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::error::ReceiveError;
use super::receive::{Received, conclude_failed, conclude_known, conclude_stored};
use super::work::{Target, Writing};
use crate::fs::{Inbox, Published, RelativePath};
use crate::proto::Conclusion;
use crate::session::{BatchOffer, Incoming};
use crate::wire::{Offer, TransferCode};

/// A batch that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedBatch {
    /// Its folder in the inbox.
    pub path: RelativePath,
    /// Members that are stored, folders among them.
    pub stored: u32,
    /// Members that are not.
    pub failed: u32,
}

/// What became of a member of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchEvent {
    /// It is stored.
    Stored(Received),
    /// It is not. The others go on.
    Failed {
        /// Its name, in the peer's words: escape it before showing it.
        name: String,
        /// Why.
        error: ReceiveError,
    },
}

/// A member that has its name, or has failed.
struct Ended {
    incoming: Incoming,
    offer: Offer<'static>,
    published: Result<Published, ReceiveError>,
}

/// Accepts a batch into an inbox, and stores its members, many at a time. `observe` is told what
/// became of each.
///
/// A folder that [`send_tree`](crate::fs::send_tree) was sending before, when its conversation was
/// lost, ends as [`Error::KnownInPart`](crate::fs::Error::KnownInPart) and is offered again at once.
/// Its files that are stored are told as such without being sent again, the others are sent whole. One
/// whose receiver was stopped just when it had made the folder is [not
/// known](crate::fs::Inbox::receive_batch), and begins anew.
///
/// # Errors
///
/// [`ReceiveError`] when the batch was rejected, given up or lost; what was stored of it stays. A
/// member that fails is no error of the batch.
///
/// # Cancel safety
///
/// Dropping the future cancels the batch; what was stored of it stays.
pub async fn receive_batch(
    offer: BatchOffer,
    inbox: &Inbox,
    identity: Option<&[u8]>,
    mut observe: impl FnMut(BatchEvent),
) -> Result<ReceivedBatch, ReceiveError> {
    let begun = {
        let (inbox, proposed) = (inbox.clone(), offer.batch().clone());
        let open = inbox.open_batch(identity);
        let identity = identity.map(ToOwned::to_owned);
        let begin = move || inbox.receive_batch_in_turn(identity.as_deref(), &proposed, open);
        blocking::unblock(begin).await
    };
    let receiver = match begun {
        Ok(receiver) => receiver,
        Err(error) => {
            let _ = offer.reject(error.code(), &error.to_string());
            return Err(error.into());
        }
    };
    let path = receiver.path().clone();
    let receiver = Arc::new(Mutex::new(receiver));
    let mut batch = offer.accept()?;
    let mut running = FuturesUnordered::new();
    let mut has_all = false;
    let (mut stored, mut failed): (u32, u32) = (0, 0);
    let mut why = None;
    while !has_all || !running.is_empty() {
        let mut ended: Vec<Ended> = Vec::new();
        poll_fn(|cx| {
            while !has_all {
                match batch.poll_next(cx) {
                    Poll::Ready(Ok(Some((offer, incoming)))) => {
                        let batch = Arc::clone(&receiver);
                        let target = Target::Member { batch, offer: Box::new(offer.clone()) };
                        running.push(publish(Writing::new(incoming, target, 0), offer));
                    }
                    Poll::Ready(Ok(None)) => has_all = true,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
            while let Poll::Ready(Some(member)) = running.poll_next_unpin(cx) {
                ended.push(member);
            }
            let is_over = has_all && running.is_empty();
            if ended.is_empty() && !is_over { Poll::Pending } else { Poll::Ready(Ok(())) }
        })
        .await?;
        for event in conclude(inbox, ended).await {
            match &event {
                BatchEvent::Stored(_) => stored = stored.saturating_add(1),
                BatchEvent::Failed { error, .. } => {
                    failed = failed.saturating_add(1);
                    why = Some(of_both(why, error.code()));
                }
            }
            observe(event);
        }
    }
    let finish = move || {
        let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.finish().map(drop)
    };
    let settled = blocking::unblock(finish).await;
    let text;
    let conclusion = match (&settled, why) {
        (Ok(()), None) => Conclusion::Stored { name: path.as_str() },
        (Ok(()), Some(code)) => {
            text = std::format!("{failed} members were not stored");
            Conclusion::Failed { code, text: &text }
        }
        (Err(error), _) => {
            text = error.to_string();
            Conclusion::Failed { code: error.code(), text: &text }
        }
    };
    batch.conclude(&conclusion)?;
    settled?;
    Ok(ReceivedBatch { path, stored, failed })
}

/// What the sender of a batch is told of its members that failed: it offers the folder once more only if
/// that can help one of them.
fn of_both(before: Option<TransferCode>, code: TransferCode) -> TransferCode {
    match before {
        _ if code.can_retry() => TransferCode::STORAGE_FAILED,
        Some(before) if before != code && !before.can_retry() => TransferCode::DECLINED,
        before => before.unwrap_or(code),
    }
}

async fn publish(mut writing: Writing, offer: Offer<'static>) -> Ended {
    let published = poll_fn(|cx| writing.poll_publish(cx, |_| ())).await;
    let incoming = match &published {
        Ok(_) => writing.into_incoming(),
        Err(error) => writing.give_up(error).await,
    };
    Ended { incoming, offer, published }
}

/// Makes the members that have their names stay, all at once, and tells the sender of each.
async fn conclude(inbox: &Inbox, ended: Vec<Ended>) -> Vec<BatchEvent> {
    let (mut published, mut members) = (Vec::new(), Vec::new());
    for Ended { incoming, offer, published: result } in ended {
        match result {
            Ok(one) => {
                members.push((incoming, offer, Ok((one.path().clone(), one.is_known()))));
                published.push(one);
            }
            Err(error) => members.push((incoming, offer, Err(error))),
        }
    }
    let settled = if published.is_empty() {
        Ok(())
    } else {
        let inbox = inbox.clone();
        blocking::unblock(move || inbox.settle(&published)).await
    };
    let conclude = |(incoming, offer, path): (Incoming, Offer<'_>, Result<_, ReceiveError>)| {
        let path = path.and_then(|path| settled.clone().map(|()| path).map_err(Into::into));
        let finish = incoming.finish();
        let stored = match path {
            Ok((path, true)) => conclude_known(incoming, path, &offer),
            Ok((path, false)) => conclude_stored(incoming, path, finish),
            Err(error) => {
                conclude_failed(incoming, &error);
                Err(error)
            }
        };
        match stored {
            Ok(received) => BatchEvent::Stored(received),
            Err(error) => BatchEvent::Failed { name: offer.name.into_owned(), error },
        }
    };
    members.into_iter().map(conclude).collect()
}
