//! duologue, through its public session API, with the library's defaults.

use std::hint::black_box;

use bytes::Bytes;
use duologue::io::TokioIo;
use duologue::proto::{Config, Connection, Receipt, StreamParameters};
use duologue::session::{Event, Events, Incoming, Session, accept, session};
use duologue::time::{Timer, TokioTimer};
use duologue::wire::{Chat, Digest, Offer};
use futures::StreamExt;

use super::TEXT;
use super::talk::{self, Talk};
use crate::Result;
use crate::measure::{Sample, Stopwatch};
use crate::streams::{Stream, both};

/// One side of a conversation; a task drives it.
#[derive(Debug)]
pub struct End {
    /// To act with.
    pub session: Session,
    /// To hear of.
    pub events: Events,
}

impl End {
    /// The next event of which there is something to be made.
    ///
    /// # Errors
    ///
    /// When there are no more.
    pub async fn event(&mut self) -> Result<Event> {
        Ok(self.events.next().await.ok_or("the conversation ended")?)
    }

    async fn open(&mut self) -> Result<()> {
        while !self.session.is_open() {
            self.event().await?;
        }
        Ok(())
    }

    /// Waits for a line of chat.
    ///
    /// # Errors
    ///
    /// When the conversation ends instead.
    pub async fn chat(&mut self) -> Result<Chat<'static>> {
        loop {
            if let Event::Chat(chat) = self.event().await? {
                return Ok(chat);
            }
        }
    }

    /// Waits for an offer, and accepts it.
    ///
    /// # Errors
    ///
    /// When the conversation ends instead.
    pub async fn incoming(&mut self) -> Result<Incoming> {
        loop {
            if let Event::Offer(offer) = self.event().await? {
                return Ok(offer.accept()?);
            }
        }
    }
}

/// An open conversation with the library's defaults.
///
/// # Errors
///
/// Those of the handshake.
pub async fn pair<S: Stream>(near: S, far: S) -> Result<(End, End)> {
    pair_with(near, far, Config::default()).await
}

/// An open conversation.
///
/// # Errors
///
/// Those of the handshake.
pub async fn pair_with<S: Stream>(near: S, far: S, config: Config) -> Result<(End, End)> {
    let timer = TokioTimer::new();
    let connection =
        Connection::client(config.clone(), StreamParameters::new([1; 32]), timer.now());
    let (near, events, driver) = session(TokioIo::new(near), connection, timer);
    tokio::spawn(driver);
    let mut near = End { session: near, events };
    let seed = StreamParameters::new([2; 32]);
    let (far, events, driver) = accept(TokioIo::new(far), config, seed, TokioTimer::new()).await?;
    tokio::spawn(driver);
    let mut far = End { session: far, events };
    tokio::try_join!(near.open(), far.open())?;
    Ok((near, far))
}

/// Chunks of so many bytes, without a digest.
///
/// # Errors
///
/// Those of the transfer.
pub async fn bulk<S: Stream>(near: S, far: S, total: u64, chunk: usize) -> Result<Sample> {
    transfer(near, far, total, chunk, false).await
}

/// The same with BLAKE3, which each application computes as the bytes go by.
///
/// # Errors
///
/// Those of the transfer, and when the digests differ.
pub async fn hashed_bulk<S: Stream>(near: S, far: S, total: u64, chunk: usize) -> Result<Sample> {
    transfer(near, far, total, chunk, true).await
}

async fn transfer<S: Stream>(
    near: S,
    far: S,
    total: u64,
    chunk: usize,
    hashes: bool,
) -> Result<Sample> {
    let (near, mut far) = pair(near, far).await?;
    let digest = move |hasher: &blake3::Hasher| {
        hashes.then(|| Digest::Blake3(*hasher.finalize().as_bytes()))
    };
    let watch = Stopwatch::new();
    let sender = async move {
        // What could be read again after a break, as a file can.
        let offer = Offer::new("bulk").size(total).seekable();
        let mut outgoing = near.session.offer(&offer).await?;
        outgoing.accepted().await?;
        let (buffer, mut left) = (Bytes::from(vec![7; chunk]), total);
        let mut hasher = blake3::Hasher::new();
        while left > 0 {
            let some = buffer.slice(..left.min(chunk as u64) as usize);
            left -= some.len() as u64;
            if hashes {
                hasher.update(&some);
            }
            outgoing.send(some).await?;
        }
        outgoing.finish(digest(&hasher)).await?;
        Ok(near)
    };
    let receiver = async move {
        let mut incoming = far.incoming().await?;
        let mut hasher = blake3::Hasher::new();
        while let Some(chunk) = incoming.next().await? {
            if hashes {
                hasher.update(&chunk.data);
            }
            black_box(&chunk.data);
        }
        if incoming.finish().and_then(|finish| finish.digest) != digest(&hasher) {
            return Err("the digests differ".into());
        }
        incoming.stored("bulk")?;
        Ok(far)
    };
    both(sender, receiver).await?;
    Ok(watch.bytes(total))
}

async fn receive_chats(mut far: End, count: u64) -> Result<End> {
    for _ in 0..count {
        black_box(far.chat().await?.text);
    }
    Ok(far)
}

/// Waits for one line, and takes all that are there with it.
async fn receive_chat_batches(mut far: End, count: u64) -> Result<End> {
    let mut received = 0;
    while received < count {
        black_box(far.chat().await?.text);
        let more = far.events.ready_chats();
        for text in &more {
            black_box(text);
        }
        received += 1 + more.len() as u64;
    }
    Ok(far)
}

async fn delivered(receipt: Option<duologue::session::Receipt>) -> Result<()> {
    match receipt.ok_or("nothing was sent")?.await {
        Receipt::Delivered => Ok(()),
        other => Err(format!("the last message: {other:?}").into()),
    }
}

/// Lines one way, so many at a time, until the last is acknowledged.
///
/// # Errors
///
/// Those of the conversation.
pub async fn chat_batches<S: Stream>(near: S, far: S, count: u64, batch: usize) -> Result<Sample> {
    let (near, far) = pair(near, far).await?;
    let watch = Stopwatch::new();
    let sender = async move {
        let (chats, mut left) = (vec![Chat::new(TEXT); batch], count);
        let mut last = None;
        while left > 0 {
            let mut some = &chats[..left.min(batch as u64) as usize];
            left -= some.len() as u64;
            last = near.session.send_chats(&mut some).await?;
        }
        delivered(last).await?;
        Ok(near)
    };
    both(sender, receive_chat_batches(far, count)).await?;
    Ok(watch.messages(count))
}

/// Lines one way, one by one, until the last is acknowledged.
///
/// # Errors
///
/// Those of the conversation.
pub async fn chat<S: Stream>(near: S, far: S, count: u64) -> Result<Sample> {
    let (near, far) = pair(near, far).await?;
    let watch = Stopwatch::new();
    let sender = async move {
        let mut last = None;
        for _ in 0..count {
            last = Some(near.session.send_chat(&Chat::new(TEXT)).await?);
        }
        delivered(last).await?;
        Ok(near)
    };
    both(sender, receive_chats(far, count)).await?;
    Ok(watch.messages(count))
}

/// A client, and its task at the other end.
///
/// # Errors
///
/// Those of the handshake.
pub async fn talk<S: Stream>(near: S, far: S) -> Result<impl Talk> {
    let (near, mut far) = pair(near, far).await?;
    tokio::spawn(async move {
        loop {
            let chat = far.chat().await?;
            let _receipt = far.session.send_chat(&chat).await?;
        }
        #[expect(unreachable_code, reason = "says the type of the errors")]
        Ok::<(), crate::Error>(())
    });
    Ok(near)
}

impl Talk for End {
    async fn there_and_back(&mut self) -> Result<()> {
        let _receipt = self.session.send_chat(&Chat::new(TEXT)).await?;
        black_box(self.chat().await?);
        Ok(())
    }
}

/// One line there, one back.
///
/// # Errors
///
/// Those of the conversation.
pub async fn ping_pong<S: Stream>(near: S, far: S, count: u64) -> Result<Sample> {
    talk::ping_pong(self::talk(near, far).await?, count).await
}
