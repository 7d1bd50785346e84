//! A file, as its sender goes about it.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use duologue::session::{EndedBy, Outgoing, Session, TransferError, Verdict};
use duologue::wire::{Digest, Offer, TransferCode};
use futures::future::{FutureExt, join};
use futures::io::AsyncWrite;

use super::show;
use super::talk::{Talk, closed};

/// What is sent, and how both sides go about it.
#[derive(Arbitrary, Clone, Debug)]
pub(super) struct Shape {
    chunks: u8,
    len: u16,
    pub(super) sender: u8,
    pub(super) receiver: u8,
}

/// The bytes of a file, by its number.
pub(super) fn byte(number: usize, offset: u64) -> u8 {
    (offset as u8).wrapping_mul(31).wrapping_add(number as u8)
}

pub(super) fn content(number: usize, range: std::ops::Range<u64>) -> Vec<u8> {
    range.map(|offset| byte(number, offset)).collect()
}

pub(super) fn digest(number: usize, end: u64) -> Digest {
    Digest::Blake3(*blake3::hash(&content(number, 0..end)).as_bytes())
}

impl Shape {
    pub(super) fn bound(&mut self, most: u16) {
        self.len = self.len.min(most);
    }

    pub(super) fn total(&self) -> u64 {
        u64::from(self.chunks % 16) * u64::from(self.len)
    }

    /// Tells the receiver what to do.
    pub(super) fn name(&self, number: usize) -> String {
        format!("{number}-{}", self.receiver)
    }

    pub(super) fn is_directory(&self) -> bool {
        self.receiver & 0xF0 == 0xF0
    }

    fn is_seekable(&self) -> bool {
        self.sender & 0x10 != 0
    }

    pub(super) fn offer<'a>(&self, name: &'a str) -> Offer<'a> {
        let offer = Offer::new(name).media_type("text/plain").modified(3);
        match (self.is_seekable(), self.sender & 0x20 != 0) {
            (true, _) => offer.size(self.total()).seekable(),
            (false, true) => offer.size(self.total()),
            (false, false) => offer,
        }
    }

    /// Whether both do all that they can to have it stored.
    fn is_plain(&self) -> bool {
        let receives = matches!(self.receiver & 7, 0 | 1 | 6 | 7);
        receives && matches!(self.sender & 7, 0 | 3..=6)
    }
}

pub(super) async fn send(talk: &Talk, handle: &Session, number: usize, shape: Shape) {
    let name = shape.name(number);
    let offer = shape.offer(&name);
    let offered = match shape.sender & 0x40 {
        0 => handle.offer(&offer).await,
        _ => poll_fn(|cx| handle.poll_offer(cx, &offer)).await,
    };
    match offered {
        Ok(outgoing) => run(talk, outgoing, number, shape).await,
        Err(error) => show(&error),
    }
    let _ = closed(handle);
}

/// Sends it as far as it goes.
pub(super) async fn run(talk: &Talk, mut outgoing: Outgoing, number: usize, shape: Shape) {
    assert!(!format!("{outgoing:?} {:?}", outgoing.id()).is_empty());
    let is_folder = shape.is_directory() && number >= 100;
    let sent = match shape.sender & 7 {
        _ if is_folder => outgoing.verdict().await.map(Some),
        3 if !shape.is_seekable() => write(&mut outgoing, number, &shape).await,
        _ => pieces(talk, &mut outgoing, number, &shape).await,
    };
    let error = match sent {
        Ok(None) => return,
        Ok(Some(verdict)) => {
            assert!(!verdict.to_string().is_empty() && verdict.is_stored());
            assert!(shape.is_directory() || verdict.total() == shape.total());
            assert_eq!((verdict.name(), verdict.code()), (Some("memory"), TransferCode::STORED));
            return;
        }
        Err(error) => error,
    };
    show(&error);
    let _ = error.can_retry();
    let again = outgoing.verdict().now_or_never();
    assert!(again.is_none_or(|again| again.is_err()), "it was not stored: {error:?}");
    if let TransferError::NotStored(verdict) = &error {
        let said = format!("{verdict} {:?} {}", verdict.ended_by(), verdict.text());
        assert!(!said.is_empty() && verdict.name().is_none());
        let minutes = talk.world.minutes.lock().unwrap();
        let other = 1 - talk.side;
        let is_taken = !minutes.has_left[other] && !minutes.is_fresh && !shape.is_directory();
        let is_declined = verdict.ended_by() == EndedBy::Rejection;
        let is_member = number >= 100;
        let must_be = shape.is_plain() && is_taken && !is_declined && !is_member;
        assert!(!must_be, "{number}: not stored: {verdict}");
    }
}

type Sent = Result<Option<Verdict>, TransferError>;

/// In pieces, and from where the receiver wants it.
async fn pieces(talk: &Talk, outgoing: &mut Outgoing, number: usize, shape: &Shape) -> Sent {
    let mode = shape.sender & 7;
    if mode == 7 {
        // Too early, which is no harm.
        let _ = outgoing.restart();
        let _ = outgoing.confirm_prefix();
    }
    let accept = match mode {
        5 => poll_fn(|cx| outgoing.poll_accepted(cx)).await?,
        _ => outgoing.accepted().await?,
    };
    let total = shape.total();
    if let Some(prefix) = accept.prefix {
        assert!(accept.offset <= total && accept.offset > 0);
        if prefix == digest(number, accept.offset) {
            outgoing.confirm_prefix()?;
        } else {
            outgoing.restart()?;
        }
    }
    let stops = if matches!(mode, 1 | 2) { total / 2 } else { total };
    loop {
        let at = outgoing.position();
        if at >= stops {
            match end(outgoing, shape, number).await {
                Err(TransferError::Rewind { offset }) => assert_eq!(offset, outgoing.position()),
                ended => return ended,
            }
            continue;
        }
        let piece = content(number, at..stops.min(at + u64::from(shape.len.max(1))));
        match piece_by_piece(talk, outgoing, piece, mode).await {
            Ok(()) => {}
            Err(TransferError::Rewind { offset }) => {
                assert!(shape.is_seekable() && offset == outgoing.position());
            }
            Err(error) => return Err(error),
        }
        let progress = outgoing.progress();
        assert!(progress.durable <= progress.received && progress.received <= total);
        let _ = (progress.remaining(), outgoing.is_paused_by_peer());
    }
}

async fn piece_by_piece(
    talk: &Talk,
    outgoing: &mut Outgoing,
    piece: Vec<u8>,
    mode: u8,
) -> Result<(), TransferError> {
    match mode {
        4 => {
            outgoing.pause(true)?;
            let pause = Duration::from_millis(300);
            let sleeping = talk.world.sleep(pause);
            let (sent, ()) = join(outgoing.send(piece.into()), sleeping).await;
            outgoing.pause(false)?;
            sent
        }
        5 => {
            let mut piece = Some(Bytes::from(piece));
            poll_fn(|cx| outgoing.poll_send(cx, &mut piece)).await
        }
        6 => {
            outgoing.send(piece.into()).await?;
            let seen = outgoing.progress();
            if seen.received < outgoing.position() && outgoing.position() > 40_000 {
                outgoing.changed(seen).await;
            } else {
                let _ = poll_fn(|cx| std::task::Poll::Ready(outgoing.poll_changed(cx, seen))).await;
            }
            Ok(())
        }
        _ => outgoing.send(piece.into()).await,
    }
}

async fn end(outgoing: &mut Outgoing, shape: &Shape, number: usize) -> Sent {
    let total = shape.total();
    let digest = (shape.sender & 8 == 0).then(|| digest(number, total));
    match shape.sender & 7 {
        1 => return Ok(None),
        2 => {
            let code = TransferCode::new(u16::from(shape.receiver).max(1));
            outgoing.cancel(code, "no more")?;
            return match outgoing.verdict().await {
                Ok(verdict) => panic!("half of it was stored: {verdict}"),
                Err(error) => Err(error),
            };
        }
        5 => poll_fn(|cx| outgoing.poll_finish(cx, digest)).await,
        _ => outgoing.finish(digest).await,
    }
    .map(Some)
}

/// As a writer.
async fn write(outgoing: &mut Outgoing, number: usize, shape: &Shape) -> Sent {
    let bytes = content(number, 0..shape.total());
    let mut left = &bytes[..];
    let failed = |error: std::io::Error| {
        let inner = error.into_inner().and_then(|inner| inner.downcast::<TransferError>().ok());
        inner.map_or(TransferError::Expired, |inner| *inner)
    };
    assert_eq!(poll_fn(|cx| Pin::new(&mut *outgoing).poll_write(cx, &[])).await.ok(), Some(0));
    while !left.is_empty() {
        let written = poll_fn(|cx| Pin::new(&mut *outgoing).poll_write(cx, left)).await;
        left = &left[written.map_err(failed)?..];
    }
    poll_fn(|cx| Pin::new(&mut *outgoing).poll_flush(cx)).await.map_err(failed)?;
    poll_fn(|cx| Pin::new(&mut *outgoing).poll_close(cx)).await.map_err(failed)?;
    poll_fn(|cx| outgoing.poll_verdict(cx)).await.map(Some)
}
