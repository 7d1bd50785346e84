//! A file that is read ahead and hashed, on other threads.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::boxed::Box;
use std::vec::Vec;

use bytes::Bytes;
use futures::FutureExt;

use crate::fs::source::{SourceDigest, SourceReader};
use crate::fs::{Source, SourceError};
use crate::wire::Digest;

/// Pieces that are read at a time, of 256 KiB each.
const PIECES: usize = 4;

/// What was read at a time.
pub(super) struct Read {
    pub(super) reader: Box<SourceReader>,
    /// Where it begins.
    pub(super) start: u64,
    pub(super) pieces: Vec<Bytes>,
    /// What has hashed them, or is to, unless it is elsewhere.
    pub(super) digest: Option<Box<SourceDigest>>,
}

/// A read under way on another thread.
pub(super) struct Reading(blocking::Task<Result<Read, SourceError>>);

impl Reading {
    /// Begins to read what `open` opens.
    pub(super) fn start(
        open: impl FnOnce() -> Result<Source, SourceError> + Send + 'static,
    ) -> Self {
        Self(blocking::unblock(move || {
            let (reader, digest) = open()?.into_halves();
            read(Box::new(reader), Some(Box::new(digest)))
        }))
    }

    /// Goes on from an offset. What is read is hashed at once if the digest comes along and is there:
    /// the bytes are in the cache, and it takes one visit to another thread.
    pub(super) fn go_on(
        mut reader: Box<SourceReader>,
        from: Option<u64>,
        digest: Option<Box<SourceDigest>>,
    ) -> Self {
        Self(blocking::unblock(move || {
            if let Some(offset) = from {
                reader.seek(offset)?;
            }
            read(reader, digest)
        }))
    }

    pub(super) async fn done(self) -> Result<Read, SourceError> {
        self.0.await
    }
}

fn read(
    mut reader: Box<SourceReader>,
    mut digest: Option<Box<SourceDigest>>,
) -> Result<Read, SourceError> {
    let start = reader.position();
    let mut pieces = Vec::with_capacity(PIECES);
    while pieces.len() < PIECES {
        let at = reader.position();
        let Some(piece) = reader.read()? else { break };
        if let Some(digest) = &mut digest {
            digest.update(at, &piece);
        }
        pieces.push(piece);
    }
    Ok(Read { reader, start, pieces, digest })
}

/// The digest of a file that is being sent, as far as it is.
///
/// Pieces are hashed as they are read, by whoever reads them. While what the receiver has is compared
/// with the file, or what was sent meanwhile is read once more, that is done beside, and nobody waits.
pub(super) struct Hashing {
    digest: Option<Box<SourceDigest>>,
    task: Option<blocking::Task<Result<Box<SourceDigest>, SourceError>>>,
    /// It reads the file by itself.
    is_behind: bool,
    /// What the receiver has, until it is compared.
    prefix: Option<(u64, Digest)>,
}

/// What became known of what the receiver has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    Same,
    Differs,
}

impl Hashing {
    pub(super) fn new(digest: Option<Box<SourceDigest>>) -> Self {
        Self { digest, task: None, is_behind: false, prefix: None }
    }

    /// Compares what the receiver says that it has.
    pub(super) fn comparing(mut digest: Box<SourceDigest>, prefix: (u64, Digest)) -> Self {
        let compare = move || match digest.at(prefix.0) {
            // Beyond our end it is of another file: the digest says so.
            Ok(_) | Err(SourceError::OutOfRange { .. }) => Ok(digest),
            Err(error) => Err(error),
        };
        let task = Some(blocking::unblock(compare));
        Self { digest: None, task, is_behind: true, prefix: Some(prefix) }
    }

    /// The digest, for whoever reads next, if nothing is done with it.
    pub(super) fn lend(&mut self) -> Option<Box<SourceDigest>> {
        self.digest.take()
    }

    /// What was lent comes back.
    pub(super) fn take_back(&mut self, digest: Option<Box<SourceDigest>>) {
        if digest.is_some() {
            self.digest = digest;
        }
    }

    /// Takes pieces: what of them is not hashed yet is hashed beside the sending.
    pub(super) async fn feed(&mut self, read: &mut Read) -> Result<(), SourceError> {
        self.take_back(read.digest.take());
        if !self.is_behind {
            self.wait().await?;
        } else if self.prefix.is_none() {
            poll_fn(|cx| match self.poll_task(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Ready(Ok(())),
            })
            .await?;
        }
        let Some(mut digest) = self.digest.take() else { return Ok(()) };
        let (start, pieces) = (read.start, read.pieces.clone());
        let end = pieces.iter().fold(start, |at, piece| at.saturating_add(piece.len() as u64));
        if digest.hashed() >= end {
            self.digest = Some(digest);
            return Ok(());
        }
        self.is_behind = digest.hashed() < start;
        let is_behind = self.is_behind;
        self.task = Some(blocking::unblock(move || {
            if is_behind {
                digest.catch_up(end)?;
            } else {
                let mut at = start;
                for piece in &pieces {
                    digest.update(at, piece);
                    at = at.saturating_add(piece.len() as u64);
                }
            }
            Ok(digest)
        }));
        Ok(())
    }

    /// Whether something became known of what the receiver has.
    pub(super) fn poll_prefix(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Prefix, SourceError>> {
        if self.prefix.is_none() {
            return Poll::Pending;
        }
        match self.poll_task(cx) {
            Poll::Ready(Ok(Some(prefix))) => Poll::Ready(Ok(prefix)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(None)) | Poll::Pending => Poll::Pending,
        }
    }

    fn poll_task(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Prefix>, SourceError>> {
        let Some(task) = &mut self.task else { return Poll::Ready(Ok(None)) };
        let Poll::Ready(done) = Pin::new(task).poll_unpin(cx) else { return Poll::Pending };
        self.task = None;
        self.is_behind = false;
        let mut digest = match done {
            Ok(digest) => digest,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let compared = self.prefix.take().map(|(offset, expected)| {
            let is_same = digest.hashed() == offset && digest.at(offset) == Ok(expected);
            if is_same { Prefix::Same } else { Prefix::Differs }
        });
        self.digest = Some(digest);
        Poll::Ready(Ok(compared))
    }

    /// Waits until what was given to it is hashed.
    pub(super) async fn wait(&mut self) -> Result<Option<Prefix>, SourceError> {
        poll_fn(|cx| self.poll_task(cx)).await
    }

    /// The size and the digest of the whole file. Only after [`wait`](Self::wait).
    pub(super) async fn finish(&mut self) -> Result<(u64, Digest), SourceError> {
        let Some(mut digest) = self.digest.take() else { return Err(SourceError::Changed) };
        let (digest, finished) = blocking::unblock(move || {
            let finished = digest.finish();
            (digest, finished)
        })
        .await;
        self.digest = Some(digest);
        finished
    }
}
