use core::future::poll_fn;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::string::{String, ToString};

use super::error::ReceiveError;
use super::work::{Target, Writing};
use crate::fs::{Inbox, RelativePath};
use crate::session::{Incoming, IncomingOffer, Progress, TransferError};
use crate::wire::{Digest, Finish, Offer, TransferCode};

/// A file that was received, and is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Where it is in the inbox.
    pub path: RelativePath,
    /// Bytes in all.
    pub bytes: u64,
    /// Their digest, as the sender said and the inbox found.
    pub digest: Option<Digest>,
}

/// Accepts an offer into an inbox, and stores it: from where an earlier try stopped, if the inbox has
/// a part of the same file of the same peer. What comes is made durable at least once a second, as far
/// as it is whole MiB.
///
/// `identity` is what the application knows the peer by, see [`Inbox::receive`]. `observe` is told of
/// the progress, at most once for each write.
///
/// Whatever goes wrong is the sender's verdict, too; the conversation and its other transfers go on.
///
/// # Errors
///
/// [`ReceiveError`].
///
/// # Cancel safety
///
/// Dropping the future cancels the transfer, and keeps what came of the file for another try.
pub async fn receive(
    offer: IncomingOffer,
    inbox: &Inbox,
    identity: Option<&[u8]>,
    mut observe: impl FnMut(Progress),
) -> Result<Received, ReceiveError> {
    let begun = {
        let (inbox, proposed) = (inbox.clone(), offer.offer().clone());
        let turn = inbox.turn(identity, &proposed);
        let identity = identity.map(ToOwned::to_owned);
        let begin = move || inbox.receive_in_turn(identity.as_deref(), &proposed, turn);
        blocking::unblock(begin).await
    };
    let receiver = match begun {
        Ok(receiver) => receiver,
        Err(error) => {
            // It may have been taken back meanwhile.
            let _ = offer.reject(error.code(), &error.to_string());
            return Err(error.into());
        }
    };
    let position = receiver.position();
    let incoming = match receiver.prefix() {
        Some((offset, digest)) => offer.accept_part(offset, digest)?,
        None => offer.accept()?,
    };
    let mut writing = Writing::new(incoming, Target::File(Box::new(receiver)), position);
    let published = poll_fn(|cx| writing.poll_publish(cx, &mut observe)).await;
    let published = match published {
        Ok(published) => published,
        Err(error) => {
            conclude_failed(writing.give_up(&error).await, &error);
            return Err(error);
        }
    };
    let incoming = writing.into_incoming();
    let finish = incoming.finish();
    let inbox = inbox.clone();
    let settle = move || inbox.settle(core::slice::from_ref(&published)).map(|()| published);
    match blocking::unblock(settle).await {
        Ok(published) => {
            let path = published.path().clone();
            conclude_stored(incoming, path, finish)
        }
        Err(error) => {
            let error = error.into();
            conclude_failed(incoming, &error);
            Err(error)
        }
    }
}

/// Tells the sender that its file is stored.
pub(super) fn conclude_stored(
    incoming: Incoming,
    path: RelativePath,
    finish: Option<Finish>,
) -> Result<Received, ReceiveError> {
    let stored = incoming.stored(path.as_str());
    let received = Received {
        path,
        bytes: finish.map_or(0, |finish| finish.total),
        digest: finish.and_then(|finish| finish.digest),
    };
    match stored {
        // The file is whole and stays; that its sender does not know yet changes nothing here.
        Ok(()) | Err(TransferError::Abandoned(_)) => Ok(received),
        Err(error) => Err(error.into()),
    }
}

/// Tells the sender that its file was stored before.
pub(super) fn conclude_known(
    incoming: Incoming,
    path: RelativePath,
    offer: &Offer<'_>,
) -> Result<Received, ReceiveError> {
    let received = Received { bytes: offer.size.unwrap_or(0), digest: offer.digest, path };
    match incoming.failed(TransferCode::KNOWN, received.path.as_str()) {
        Ok(()) | Err(TransferError::Abandoned(_)) => Ok(received),
        Err(error) => Err(error.into()),
    }
}

/// Tells the sender why not.
pub(super) fn conclude_failed(incoming: Incoming, error: &ReceiveError) {
    let text = match error {
        ReceiveError::Transfer(TransferError::CancelAsked { .. }) => String::new(),
        error => error.to_string(),
    };
    // It may have ended by itself.
    let _ = incoming.failed(error.code(), &text);
}
