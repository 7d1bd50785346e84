use core::future::poll_fn;
use core::task::Poll;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::path::Path;
use std::string::{String, ToString};
use std::vec::Vec;

use bytes::Bytes;

use super::error::SendError;
use super::reading::{Hashing, Prefix, Read, Reading};
use crate::fs::{FileName, Source, SourceError};
use crate::session::{Outgoing, Progress, Session, TransferError, Verdict};
use crate::wire::{Digest, Offer, TransferCode};

/// A file that the receiver has stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The receiver's verdict, with the name under which it has stored the file.
    pub verdict: Verdict,
    /// Bytes in all.
    pub bytes: u64,
    /// Their digest.
    pub digest: Digest,
}

/// Offers a file under the name that it has, sends it, and waits for the receiver's verdict. A part
/// that the receiver has of the same content is not sent again, nor is a file that it has stored: its
/// verdict may have been lost. What the receiver has is compared while the rest is sent.
///
/// The file is opened once, read ahead and hashed on another thread, and the transfer is given up when
/// the file changes meanwhile. `observe` is told of the progress.
///
/// # Errors
///
/// [`SendError`]. It does not name the path, and a folder is
/// [`NotAFile`](crate::fs::SourceError::NotAFile): that goes by [`send_tree`](crate::fs::send_tree).
///
/// # Cancel safety
///
/// Dropping the future asks the receiver to cancel.
pub async fn send(
    session: &Session,
    path: impl AsRef<Path>,
    mut observe: impl FnMut(Progress),
) -> Result<Sent, SendError> {
    let path = path.as_ref().to_owned();
    let name = proposed_name(&path);
    let source = blocking::unblock(move || Source::open(path)).await?;
    let offer = source.offer(name);
    let spare = source.again();
    match send_source(session, &offer, source, &mut observe).await {
        // What the receiver had is gone by now.
        (true, Err(SendError::Transfer(TransferError::NotStored(verdict))))
            if verdict.code() == TransferCode::STORAGE_FAILED =>
        {
            send_source(session, &offer, spare, &mut observe).await.1
        }
        (_, sent) => sent,
    }
}

/// Offers a file, and sends it; says whether the receiver had some of it.
async fn send_source(
    session: &Session,
    offer: &Offer<'_>,
    source: Source,
    observe: &mut impl FnMut(Progress),
) -> (bool, Result<Sent, SendError>) {
    let accepted = async {
        let mut outgoing = session.offer(offer).await?;
        let accept = outgoing.accepted().await?;
        Ok((outgoing, accept))
    };
    let (outgoing, accept) = match accepted.await {
        Ok(accepted) => accepted,
        Err(error) => return (false, Err(error)),
    };
    let (reader, digest) = source.into_halves();
    let mut hashing = match accept.prefix {
        Some(prefix) => Hashing::comparing(Box::new(digest), (accept.offset, prefix)),
        None => Hashing::new(Some(Box::new(digest))),
    };
    let reading = Reading::go_on(Box::new(reader), Some(accept.offset), hashing.lend());
    (accept.prefix.is_some(), Sending { outgoing, hashing, observe }.run(reading).await)
}

/// Sends a file that was accepted from its beginning, and waits for the verdict.
pub(super) async fn send_from(outgoing: Outgoing, reading: Reading) -> Result<Sent, SendError> {
    Sending { outgoing, hashing: Hashing::new(None), observe: |_| () }.run(reading).await
}

/// A file on its way. What comes next is read and hashed while a piece is sent.
struct Sending<O> {
    outgoing: Outgoing,
    hashing: Hashing,
    observe: O,
}

/// Why sending stops for now.
enum Stop {
    /// What the receiver has is of another content.
    PrefixDiffers,
    Source(SourceError),
    Transfer(TransferError),
}

impl From<TransferError> for Stop {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl<O: FnMut(Progress)> Sending<O> {
    async fn run(mut self, mut reading: Reading) -> Result<Sent, SendError> {
        loop {
            let mut read = match reading.done().await {
                Ok(read) => read,
                Err(error) => return Err(self.give_up(error).await),
            };
            if let Err(error) = self.hashing.feed(&mut read).await {
                return Err(self.give_up(error).await);
            }
            let Read { reader, pieces, .. } = read;
            let mut next = if reader.is_at_end() {
                Next::End(reader)
            } else {
                Next::Reading(Reading::go_on(reader, None, self.hashing.lend()))
            };
            let from = match self.send(pieces, &next).await {
                Ok(Some(sent)) => return Ok(sent),
                Ok(None) => None,
                Err(Stop::PrefixDiffers) => {
                    self.outgoing.restart()?;
                    Some(0)
                }
                Err(Stop::Transfer(TransferError::Rewind { offset })) => Some(offset),
                Err(Stop::Transfer(error)) => return Err(error.into()),
                Err(Stop::Source(error)) => return Err(self.give_up(error).await),
            };
            if let Some(offset) = from {
                let reader = match next {
                    Next::End(reader) => reader,
                    Next::Reading(reading) => match reading.done().await {
                        Ok(read) => {
                            self.hashing.take_back(read.digest);
                            read.reader
                        }
                        Err(error) => return Err(self.give_up(error).await),
                    },
                };
                next = Next::Reading(Reading::go_on(reader, Some(offset), self.hashing.lend()));
            }
            reading = match next {
                Next::Reading(reading) => reading,
                Next::End(reader) => Reading::go_on(reader, None, self.hashing.lend()),
            };
        }
    }

    /// Sends pieces, and the end if they are the last.
    async fn send(&mut self, pieces: Vec<Bytes>, next: &Next) -> Result<Option<Sent>, Stop> {
        for piece in pieces {
            let mut piece = Some(piece);
            while piece.is_some() {
                let compared = poll_fn(|cx| {
                    if let Poll::Ready(compared) = self.hashing.poll_prefix(cx) {
                        return Poll::Ready(compared.map(Some).map_err(Stop::from));
                    }
                    let sent = self.outgoing.poll_send(cx, &mut piece);
                    sent.map(|sent| sent.map(|()| None).map_err(Stop::from))
                });
                let compared = compared.await?;
                self.on_compared(compared)?;
            }
            (self.observe)(self.outgoing.progress());
        }
        if matches!(next, Next::Reading(_)) {
            return Ok(None);
        }
        let compared = self.hashing.wait().await?;
        self.on_compared(compared)?;
        let (bytes, digest) = self.hashing.finish().await?;
        let finished = self.outgoing.finish(Some(digest)).await;
        (self.observe)(self.outgoing.progress());
        Ok(Some(Sent { verdict: finished?, bytes, digest }))
    }

    fn on_compared(&mut self, compared: Option<Prefix>) -> Result<(), Stop> {
        match compared {
            None => Ok(()),
            Some(Prefix::Same) => Ok(self.outgoing.confirm_prefix()?),
            Some(Prefix::Differs) => Err(Stop::PrefixDiffers),
        }
    }

    /// Tells the receiver that the file cannot be sent.
    async fn give_up(&mut self, error: SourceError) -> SendError {
        if self.outgoing.cancel(error.code(), &error.to_string()).is_ok() {
            let _ = self.outgoing.verdict().await;
        }
        error.into()
    }
}

enum Next {
    Reading(Reading),
    End(Box<crate::fs::source::SourceReader>),
}

/// The last part of a path as a name to propose.
pub(super) fn proposed_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.filter(|name| FileName::new(name).is_ok()).unwrap_or_else(|| "file".into())
}
