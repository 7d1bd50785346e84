use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::borrow::ToOwned;
use std::path::{Path, PathBuf};
use std::string::String;
use std::sync::Arc;

use futures::stream::{self, FuturesUnordered};
use futures::{Stream, StreamExt};

use super::error::SendError;
use super::reading::Reading;
use super::send::{Sent, proposed_name, send_from};
use crate::fs::known_folders::{ASKS, HAS_DIGESTS};
use crate::fs::{Entry, LeftOut, SourceError, Tree, TreeOptions};
use crate::session::{Outgoing, OutgoingBatch, Session, TransferError, Verdict};
use crate::wire::{Digest, TransferCode};

/// Members that are sent at a time: enough to hide the way there and back, and few enough to keep
/// their memory small.
const AT_A_TIME: usize = 32;

/// A folder that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentTree {
    /// The receiver's verdict, with the name of the folder; an error if not all was stored.
    pub verdict: Result<Verdict, TransferError>,
    /// Files and folders that are stored.
    pub stored: u32,
    /// Those that are not.
    pub failed: u32,
}

/// What became of a part of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TreeEvent {
    /// A file is stored.
    Stored {
        /// Where it is in the folder that was sent.
        path: String,
        /// What the receiver said of it.
        sent: Sent,
    },
    /// A file or a folder is not stored. The others go on.
    Failed {
        /// Where it is in the folder that was sent.
        path: String,
        /// Why.
        error: SendError,
    },
    /// It was found in the folder, and is not sent.
    LeftOut {
        /// Where it is in the folder that is sent.
        path: PathBuf,
        /// Why.
        reason: LeftOut,
    },
}

/// Offers a folder with all that is in it as a batch, sends it, and waits for the verdict. `observe`
/// is told what became of each file.
///
/// If its conversation is lost the same folder can be sent again: the files that the receiver has stored
/// of it are compared by their digests and not sent, the others are, and it keeps its name.
///
/// It is offered under the name that the folder has, or as `file` if no receiver would take that.
///
/// Links and what is neither file nor folder are left out, as are files whose names no receiver would
/// take, and hidden files unless the options say otherwise: `observe` is told of them first.
///
/// # Errors
///
/// [`SendError`] when the folder cannot be read, offered, or was rejected. A file that fails is no
/// error of the folder.
///
/// # Cancel safety
///
/// Dropping the future asks the receiver to cancel; what it has stored stays.
pub async fn send_tree(
    session: &Session,
    folder: impl AsRef<Path>,
    options: TreeOptions,
    mut observe: impl FnMut(TreeEvent),
) -> Result<SentTree, SendError> {
    let folder = folder.as_ref().to_owned();
    let walk = move || {
        // What a path that ends with dots is called is known by the system only.
        let named = folder.file_name().is_none().then(|| folder.canonicalize().ok()).flatten();
        Tree::walk(&folder, options).map(|tree| (proposed_name(&named.unwrap_or(folder)), tree))
    };
    let (name, tree) = blocking::unblock(walk).await?;
    let tree = Arc::new(tree);
    for (path, reason) in tree.left_out() {
        observe(TreeEvent::LeftOut { path: path.clone(), reason: *reason });
    }
    let (mut batch, has_digests) = offer_tree(session, &tree, &name).await?;
    let (stored, failed) = send_members(&mut batch, &tree, has_digests, observe).await?;
    let verdict = batch.verdict().await;
    Ok(SentTree { verdict, stored, failed })
}

/// Sends all that is in a folder, and says how much of it is stored and how much is not.
async fn send_members(
    batch: &mut OutgoingBatch,
    tree: &Arc<Tree>,
    has_digests: bool,
    mut observe: impl FnMut(TreeEvent),
) -> Result<(u32, u32), SendError> {
    let mut running = FuturesUnordered::new();
    // One at a time, which is begun once: those that run go on while it waits to be allowed.
    let mut offering = pin!(offer_members(batch, tree, has_digests).fuse());
    let (mut stored, mut failed): (u32, u32) = (0, 0);
    loop {
        let turn = poll_fn(|cx| {
            if let Poll::Ready(Some(ended)) = running.poll_next_unpin(cx) {
                return Poll::Ready(Some(Turn::Ended(ended)));
            }
            if running.len() >= AT_A_TIME {
                return Poll::Pending;
            }
            match offering.as_mut().poll_next(cx) {
                Poll::Ready(None) if !running.is_empty() => Poll::Pending,
                offered => offered.map(|offered| offered.map(Turn::Offered)),
            }
        });
        let ended = match turn.await {
            Some(Turn::Ended(ended)) => ended,
            Some(Turn::Offered((entry, offered))) => {
                let (outgoing, digest) = offered?;
                running.push(send_member(outgoing, Arc::clone(tree), entry, digest));
                continue;
            }
            None => return Ok((stored, failed)),
        };
        match ended.1 {
            Ok(sent) => {
                stored = stored.saturating_add(1);
                if let Some(sent) = sent {
                    observe(TreeEvent::Stored { path: ended.0, sent });
                }
            }
            Err(error) => {
                failed = failed.saturating_add(1);
                // What the receiver never ends keeps it from ending the folder.
                let is_over = matches!(
                    error,
                    SendError::Transfer(TransferError::Abandoned(_) | TransferError::Unanswered)
                );
                observe(TreeEvent::Failed { path: ended.0, error: error.clone() });
                if is_over {
                    return Err(error);
                }
            }
        }
    }
}

/// Offers what is in a folder, one after the other.
fn offer_members<'a>(
    batch: &'a mut OutgoingBatch,
    tree: &'a Arc<Tree>,
    has_digests: bool,
) -> impl Stream<Item = (Entry, Result<Offered, TransferError>)> + 'a {
    stream::unfold((batch, tree.entries().iter()), move |(batch, mut entries)| async move {
        let entry = entries.next()?;
        let digest = if has_digests { digest_of(tree, entry).await } else { None };
        let mut offer = entry.offer(batch.id());
        offer.digest = digest;
        let offered = batch.offer(offer).await.map(|outgoing| (outgoing, digest));
        Some(((entry.clone(), offered), (batch, entries)))
    })
}

/// Offers the folder, and once more if the receiver has some of it: says whether it wants digests.
async fn offer_tree(
    session: &Session,
    tree: &Tree,
    name: &str,
) -> Result<(OutgoingBatch, bool), SendError> {
    for has_digests in [false, true] {
        let mut offer = tree.batch(name);
        offer.metadata = if has_digests { HAS_DIGESTS.into() } else { ASKS.into() };
        let mut batch = session.offer_batch(&offer).await?;
        match batch.accepted().await {
            Ok(()) => return Ok((batch, has_digests)),
            Err(TransferError::NotStored(verdict))
                if verdict.code() == TransferCode::KNOWN_IN_PART && !has_digests => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(SourceError::Changed.into())
}

/// The digest of a file, if it can be read: else that is found out when it is sent.
async fn digest_of(tree: &Arc<Tree>, entry: &Entry) -> Option<Digest> {
    if entry.is_directory() {
        return None;
    }
    let (tree, entry) = (Arc::clone(tree), entry.clone());
    blocking::unblock(move || Some(tree.open(&entry).ok()?.finish().ok()?.1)).await
}

enum Turn {
    Offered((Entry, Result<Offered, TransferError>)),
    Ended(Member),
}

/// A member that is offered, and the digest that it was offered with.
type Offered = (Outgoing, Option<Digest>);

/// Where it is in the folder, and what the receiver said; nothing but that it is there of a folder.
type Member = (String, Result<Option<Sent>, SendError>);

async fn send_member(
    mut outgoing: Outgoing,
    tree: Arc<Tree>,
    entry: Entry,
    digest: Option<Digest>,
) -> Member {
    let path = entry.path().as_str().to_owned();
    if entry.is_directory() {
        let verdict = outgoing.verdict().await;
        return (path, verdict.map(|_| None).map_err(SendError::from));
    }
    let bytes = entry.size();
    let reading = Reading::start(move || tree.open(&entry));
    let sent = match (send_from(outgoing, reading).await, digest) {
        // It has what the digest says, of before.
        (Err(SendError::Transfer(TransferError::NotStored(verdict))), Some(digest))
            if verdict.code() == TransferCode::KNOWN =>
        {
            Ok(Sent { verdict, bytes, digest })
        }
        (sent, _) => sent,
    };
    (path, sent.map(Some))
}
