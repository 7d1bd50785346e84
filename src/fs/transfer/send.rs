use std::borrow::ToOwned;
use std::boxed::Box;
use std::path::Path;
use std::string::{String, ToString};
use std::vec::Vec;

use bytes::Bytes;

use super::error::SendError;
use crate::fs::{FileName, Source, SourceError};
use crate::session::{Outgoing, Progress, Session, TransferError, Verdict};
use crate::wire::Digest;

/// Pieces that are read at a time, of 256 KiB each.
const PIECES: usize = 4;

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
/// that the receiver has of the same content is not sent again.
///
/// The file is opened once, read ahead and hashed on other threads, and the transfer is given up when
/// the file changes meanwhile. `observe` is told of the progress.
///
/// # Errors
///
/// [`SendError`].
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
    let mut outgoing = session.offer(&offer).await?;
    let accept = outgoing.accepted().await?;
    let reading = match accept.prefix {
        Some(prefix) => {
            let source = verify(&mut outgoing, source, accept.offset, prefix).await?;
            Reading::start(move || Ok(source))
        }
        None => Reading::start(move || Ok(source)),
    };
    send_from(outgoing, reading, &mut observe).await
}

/// Compares the part that the receiver has with ours, and goes to where the file is sent from.
async fn verify(
    outgoing: &mut Outgoing,
    mut source: Source,
    offset: u64,
    prefix: Digest,
) -> Result<Source, SendError> {
    let (mut source, found) = blocking::unblock(move || {
        let found = source.prefix_digest(offset);
        (source, found)
    })
    .await;
    // Beyond our end it is of another file.
    let is_same = match found {
        Ok(found) => found == prefix,
        Err(SourceError::OutOfRange { .. }) => false,
        Err(error) => return Err(give_up(outgoing, error).await),
    };
    let from = if is_same {
        outgoing.confirm_prefix()?;
        offset
    } else {
        outgoing.restart()?;
        0
    };
    source.seek(from)?;
    Ok(source)
}

/// Tells the receiver that the file cannot be sent.
async fn give_up(outgoing: &mut Outgoing, error: SourceError) -> SendError {
    if outgoing.cancel(error.code(), &error.to_string()).is_ok() {
        let _ = outgoing.verdict().await;
    }
    error.into()
}

/// What was read at a time.
struct Read {
    source: Result<Box<Source>, SourceError>,
    pieces: Vec<Bytes>,
    /// The end was reached: bytes in all, and their digest.
    end: Option<(u64, Digest)>,
}

/// A read under way on another thread.
pub(super) struct Reading(blocking::Task<Read>);

impl Reading {
    /// Begins to read what `open` opens.
    pub(super) fn start(
        open: impl FnOnce() -> Result<Source, SourceError> + Send + 'static,
    ) -> Self {
        Self(blocking::unblock(move || match open() {
            Ok(source) => read(Box::new(source)),
            Err(error) => Read { source: Err(error), pieces: Vec::new(), end: None },
        }))
    }

    fn go_on(source: Box<Source>) -> Self {
        Self(blocking::unblock(move || read(source)))
    }
}

fn read(mut source: Box<Source>) -> Read {
    let mut pieces = Vec::with_capacity(PIECES);
    let mut try_read = || {
        while pieces.len() < PIECES {
            match source.read()? {
                Some(piece) => pieces.push(piece),
                None => return source.finish().map(Some),
            }
        }
        Ok(None)
    };
    match try_read() {
        Ok(end) => Read { source: Ok(source), pieces, end },
        Err(error) => Read { source: Err(error), pieces: Vec::new(), end: None },
    }
}

/// Sends a file that was accepted, and waits for the verdict.
pub(super) async fn send_from(
    mut outgoing: Outgoing,
    mut reading: Reading,
    observe: &mut impl FnMut(Progress),
) -> Result<Sent, SendError> {
    loop {
        let Read { source, pieces, end } = reading.0.await;
        let source = match source {
            Ok(source) => source,
            Err(error) => return Err(give_up(&mut outgoing, error).await),
        };
        let next = match end {
            None => Next::Reading(Reading::go_on(source)),
            Some((bytes, digest)) => Next::End(source, bytes, digest),
        };
        let sent = send_pieces(&mut outgoing, pieces, observe).await;
        let result = match (sent, &next) {
            (Ok(()), Next::End(_, bytes, digest)) => {
                let finished = outgoing.finish(Some(*digest)).await;
                observe(outgoing.progress());
                finished.map(|verdict| Some(Sent { verdict, bytes: *bytes, digest: *digest }))
            }
            (sent, _) => sent.map(|()| None),
        };
        match result {
            Ok(Some(sent)) => return Ok(sent),
            Ok(None) => match next {
                Next::Reading(next) => reading = next,
                Next::End(source, ..) => reading = Reading::go_on(source),
            },
            Err(TransferError::Rewind { offset }) => {
                let mut source = match next.into_source().await {
                    Ok(source) => source,
                    Err(error) => return Err(give_up(&mut outgoing, error).await),
                };
                source.seek(offset)?;
                reading = Reading::go_on(source);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

enum Next {
    Reading(Reading),
    End(Box<Source>, u64, Digest),
}

impl Next {
    async fn into_source(self) -> Result<Box<Source>, SourceError> {
        match self {
            Self::Reading(reading) => reading.0.await.source,
            Self::End(source, ..) => Ok(source),
        }
    }
}

async fn send_pieces(
    outgoing: &mut Outgoing,
    pieces: Vec<Bytes>,
    observe: &mut impl FnMut(Progress),
) -> Result<(), TransferError> {
    for piece in pieces {
        outgoing.send(piece).await?;
        observe(outgoing.progress());
    }
    Ok(())
}

/// The last part of a path as a name to propose.
pub(super) fn proposed_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.filter(|name| FileName::new(name).is_ok()).unwrap_or_else(|| "file".into())
}
