//! Lines and a file, said by one side and heard by the other: what an honest conversation consists of.

use bytes::Bytes;
use duologue::proto::{CloseReason, Receipt as Fate};
use duologue::session::{BatchOffer, Event, Events, Incoming, Outgoing, Session, TransferError};
use duologue::wire::{Chat, Digest, Offer, TransferCode};
use futures::StreamExt;
use futures::future::join;

/// Bytes of a file that are handed over at a time.
const CHUNK: usize = 10_000;

/// How many lines there are, and how long the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Talk {
    pub(crate) lines: usize,
    pub(crate) file: usize,
}

/// What was heard of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) lines: usize,
    /// Bytes of the file, once it is stored.
    pub(crate) file: Option<usize>,
}

impl Talk {
    fn content(self) -> Bytes {
        Bytes::from_iter((0..self.file).map(|n| (n * 7 / 3) as u8))
    }

    /// Whether all of it was heard.
    pub(crate) fn check(self, heard: Heard) -> Result<(), String> {
        let all = Heard { lines: self.lines, file: Some(self.file) };
        if heard == all { Ok(()) } else { Err(format!("{heard:?} instead of {all:?}")) }
    }

    /// Says all of it once the conversation is open, and is told that each part has arrived.
    pub(crate) async fn say(self, session: &Session) -> Result<(), String> {
        let sending = async {
            let content = self.content();
            let offer = Offer::new("file").size(self.file as u64).seekable();
            let outgoing = session.offer(&offer).await.map_err(|error| error.to_string())?;
            let sent = send(outgoing, &content).await;
            sent.map_err(|error| format!("the file: {error}"))
        };
        let talking = async {
            for n in 0..self.lines {
                let receipt = session.send_chat(&Chat::new(n.to_string())).await;
                let fate = receipt.map_err(|error| error.to_string())?.await;
                if fate != Fate::Delivered {
                    return Err(format!("line {n} was {fate:?}"));
                }
            }
            Ok(())
        };
        let (sent, said) = join(sending, talking).await;
        sent.and(said)
    }
}

/// Takes the members of a batch, and keeps nothing of them.
pub(crate) async fn keep_nothing(batch: BatchOffer) {
    let Ok(mut members) = batch.accept() else { return };
    while let Ok(Some((_, mut incoming))) = members.next().await {
        while let Ok(Some(_)) = incoming.next().await {}
        let _ = incoming.failed(TransferCode::DECLINED, "");
    }
}

/// What ended a conversation stays: nothing is said in it any more.
pub(crate) async fn stays_ended(session: &Session, reason: CloseReason) -> Result<(), String> {
    let stays = session.closed().await == reason;
    let refused = session.send_chat(&Chat::new("too late")).await.is_err();
    match stays && refused && !session.is_open() {
        true => Ok(()),
        false => Err(format!("it ended as {reason:?}, and did not stay so")),
    }
}

/// Sends all of a file, from wherever it goes on each time, and hears that it is stored.
pub(crate) async fn send(mut outgoing: Outgoing, content: &Bytes) -> Result<(), TransferError> {
    let digest = Digest::Blake3(*blake3::hash(content).as_bytes());
    match outgoing.accepted().await {
        // Nobody has a part of it: what is said to be one is of another file.
        Ok(accept) if accept.prefix.is_some() => outgoing.restart()?,
        Ok(_) | Err(TransferError::Rewind { .. }) => {}
        Err(error) => return Err(error),
    }
    loop {
        let at = usize::try_from(outgoing.position()).unwrap_or(content.len());
        let sent = match at < content.len() {
            true => outgoing.send(content.slice(at..content.len().min(at + CHUNK))).await,
            false => outgoing.finish(Some(digest)).await.map(drop),
        };
        match sent {
            Ok(()) if at >= content.len() => return Ok(()),
            Ok(()) | Err(TransferError::Rewind { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Hears lines, which have to be in order, and takes files, up to the end.
pub(crate) async fn hear(mut events: Events) -> Result<Heard, String> {
    let (mut heard, mut offers) = (Heard::default(), Vec::new());
    while let Some(event) = events.next().await {
        match event {
            Event::Chat(chat) if chat.text == heard.lines.to_string() => heard.lines += 1,
            Event::Chat(chat) => return Err(format!("{:?} after {}", chat.text, heard.lines)),
            Event::Offer(offer) => offers.push(offer),
            _ => {}
        }
        if let Some(offer) = offers.pop() {
            let incoming = offer.accept().map_err(|error| error.to_string())?;
            heard.file = Some(take(incoming).await?);
        }
    }
    Ok(heard)
}

/// Takes a file, and says that it is stored if it is whole; returns its length.
pub(crate) async fn take(mut incoming: Incoming) -> Result<usize, String> {
    let (mut at, mut hasher) = (0, blake3::Hasher::new());
    while let Some(chunk) = incoming.next().await.map_err(|error| error.to_string())? {
        if chunk.offset != at {
            return Err(format!("a chunk at {} after {at}", chunk.offset));
        }
        at += chunk.data.len() as u64;
        hasher.update(&chunk.data);
    }
    let digest = Digest::Blake3(*hasher.finalize().as_bytes());
    let finish = incoming.finish().ok_or("it has not finished")?;
    if finish.digest != Some(digest) {
        let _ = incoming.failed(TransferCode::DIGEST_DIFFERS, "");
        return Err("the file is another".to_owned());
    }
    incoming.stored("file").map_err(|error| error.to_string())?;
    usize::try_from(at).map_err(|error| error.to_string())
}
