//! What a careful user might write: a kind and a length before each frame, and one task that writes.

use bytes::Bytes;
use futures::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::{Arrived, Load, Ticks, message, run};
use crate::Result;
use crate::measure::Sample;
use crate::streams::Stream;

const CHAT: u8 = 0;
const BULK: u8 = 1;
/// Bytes of a message; a frame of bulk has more.
const MESSAGE: usize = 64;

fn put(frame: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    frame.push(kind);
    frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    frame.extend_from_slice(payload);
}

fn due_now(ticks: &mut Ticks, frame: &mut Vec<u8>) {
    while let Ok(due) = ticks.try_recv() {
        put(frame, CHAT, message(due).as_bytes());
    }
}

/// Chat goes first whenever a frame of bulk, of so many bytes, has been written.
///
/// # Errors
///
/// Those of the streams.
pub async fn by_priority<S: Stream>(near: S, far: S, load: Load, chunk: usize) -> Result<Sample> {
    run(load, async |mut ticks, arrived| {
        let mut near = near;
        tokio::spawn(async move {
            let (bulk, mut frame) = (vec![7; chunk], Vec::new());
            loop {
                frame.clear();
                due_now(&mut ticks, &mut frame);
                if frame.is_empty() {
                    put(&mut frame, BULK, &bulk);
                }
                if near.write_all(&frame).await.is_err() {
                    break;
                }
            }
        });
        tokio::spawn(receive(far, arrived));
        Ok(())
    })
    .await
}

/// Bulk, and chat on a connection of its own.
///
/// # Errors
///
/// Those of the streams.
pub async fn two<S: Stream>(bulk: (S, S), chat: (S, S), load: Load) -> Result<Sample> {
    run(load, async |mut ticks, arrived| {
        let ((mut near, far), (mut near_chat, far_chat)) = (bulk, chat);
        tokio::spawn(receive(far, arrived.clone()));
        tokio::spawn(receive(far_chat, arrived));
        tokio::spawn(async move {
            let mut frame = Vec::new();
            put(&mut frame, BULK, &vec![7; 64 << 10]);
            while near.write_all(&frame).await.is_ok() {}
        });
        tokio::spawn(async move {
            let mut frame = Vec::new();
            while let Some(due) = ticks.recv().await {
                frame.clear();
                put(&mut frame, CHAT, message(due).as_bytes());
                near_chat.write_all(&frame).await?;
            }
            std::future::pending::<()>().await;
            Ok::<_, crate::Error>(near_chat)
        });
        Ok(())
    })
    .await
}

async fn receive<S: Stream>(mut far: S, arrived: Arrived) -> Result<()> {
    let (mut buffer, mut filled) = (vec![0; 256 << 10], 0);
    loop {
        let len = far.read(&mut buffer[filled..]).await?;
        if len == 0 {
            return Ok(());
        }
        filled += len;
        let mut start = 0;
        while let Some((head, rest)) = buffer[start..filled].split_first_chunk::<5>() {
            let [kind, length @ ..] = *head;
            let Some(payload) = rest.get(..u32::from_be_bytes(length) as usize) else { break };
            start += 5 + payload.len();
            match kind {
                CHAT => arrived.chat(payload)?,
                _ => arrived.bulk(payload.len()),
            }
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
    }
}

/// What a queue of four before a `LengthDelimitedCodec` does: chat has its turn behind the bulk, in
/// frames of so many bytes, that was queued before it.
///
/// # Errors
///
/// Those of the streams.
pub async fn fifo<S: Stream>(near: S, far: S, load: Load, chunk: usize) -> Result<Sample> {
    let (mut near, mut far) = (
        Framed::new(near, LengthDelimitedCodec::new()),
        Framed::new(far, LengthDelimitedCodec::new()),
    );
    run(load, async |mut ticks, arrived| {
        let (queue, mut queued) = mpsc::channel::<Bytes>(4);
        for _ in 0..load.transfers {
            let (queue, bulk) = (queue.clone(), Bytes::from(vec![7; chunk]));
            tokio::spawn(async move { while queue.send(bulk.clone()).await.is_ok() {} });
        }
        tokio::spawn(async move {
            while let Some(due) = ticks.recv().await {
                queue.send(message(due).into()).await?;
            }
            Ok::<_, crate::Error>(())
        });
        tokio::spawn(async move {
            while let Some(frame) = queued.recv().await {
                near.send(frame).await?;
            }
            Ok::<_, crate::Error>(())
        });
        tokio::spawn(async move {
            while let Some(frame) = futures::StreamExt::next(&mut far).await {
                match frame? {
                    frame if frame.len() == MESSAGE => arrived.chat(&frame)?,
                    frame => arrived.bulk(frame.len()),
                }
            }
            Ok::<_, crate::Error>(())
        });
        Ok(())
    })
    .await
}
