//! tokio-util's `LengthDelimitedCodec`, and asynchronous-codec's `LengthCodec`.

use std::hint::black_box;

use asynchronous_codec::LengthCodec;
use bytes::Bytes;
use duologue::io::TokioIo;
use futures::{SinkExt, StreamExt};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::TEXT;
use super::talk::{self, Talk};
use crate::Result;
use crate::measure::{Sample, Stopwatch};
use crate::streams::{Stream, both};

const ENDED: &str = "the stream ended early";

fn framed<S: Stream>(stream: S) -> Framed<S, LengthDelimitedCodec> {
    let codec = LengthDelimitedCodec::builder().max_frame_length(16 << 20).new_codec();
    Framed::new(stream, codec)
}

/// Frames of so many bytes.
///
/// # Errors
///
/// Those of the streams.
pub async fn bulk<S: Stream>(near: S, far: S, total: u64, frame: usize) -> Result<Sample> {
    let (mut near, mut far) = (framed(near), framed(far));
    let watch = Stopwatch::new();
    let sender = async move {
        let (chunk, mut left) = (Bytes::from(vec![7; frame]), total);
        while left > 0 {
            let len = left.min(frame as u64);
            near.feed(chunk.slice(..len as usize)).await?;
            left -= len;
        }
        SinkExt::<Bytes>::flush(&mut near).await?;
        Ok(near)
    };
    let receiver = async move {
        let mut left = total;
        while left > 0 {
            let frame = far.next().await.ok_or(ENDED)??;
            left -= black_box(frame).len() as u64;
        }
        Ok(far)
    };
    both(sender, receiver).await?;
    Ok(watch.bytes(total))
}

/// Messages one way, flushed when the codec's buffer is full.
///
/// # Errors
///
/// Those of the streams.
pub async fn chat<S: Stream>(near: S, far: S, count: u64) -> Result<Sample> {
    let (mut near, mut far) = (framed(near), framed(far));
    let watch = Stopwatch::new();
    let sender = async move {
        for _ in 0..count {
            near.feed(Bytes::from_static(TEXT.as_bytes())).await?;
        }
        SinkExt::<Bytes>::flush(&mut near).await?;
        Ok(near)
    };
    let receiver = async move {
        for _ in 0..count {
            black_box(far.next().await.ok_or(ENDED)??);
        }
        Ok(far)
    };
    both(sender, receiver).await?;
    Ok(watch.messages(count))
}

/// A client, and its task at the other end.
///
/// # Errors
///
/// None.
pub async fn talk<S: Stream>(near: S, far: S) -> Result<impl Talk> {
    let mut far = framed(far);
    tokio::spawn(async move {
        while let Some(message) = far.next().await {
            far.send(message?.freeze()).await?;
        }
        Ok::<_, crate::Error>(())
    });
    Ok(framed(near))
}

impl<S: Stream> Talk for Framed<S, LengthDelimitedCodec> {
    async fn there_and_back(&mut self) -> Result<()> {
        self.send(Bytes::from_static(TEXT.as_bytes())).await?;
        black_box(self.next().await.ok_or(ENDED)??);
        Ok(())
    }
}

/// One message there, one back.
///
/// # Errors
///
/// Those of the streams.
pub async fn ping_pong<S: Stream>(near: S, far: S, count: u64) -> Result<Sample> {
    talk::ping_pong(self::talk(near, far).await?, count).await
}

/// [`chat`] with asynchronous-codec.
///
/// # Errors
///
/// Those of the streams.
pub async fn async_chat<S: Stream>(near: S, far: S, count: u64) -> Result<Sample> {
    let mut near = asynchronous_codec::Framed::new(TokioIo::new(near), LengthCodec);
    let mut far = asynchronous_codec::Framed::new(TokioIo::new(far), LengthCodec);
    let watch = Stopwatch::new();
    let sender = async move {
        for _ in 0..count {
            near.feed(Bytes::from_static(TEXT.as_bytes())).await?;
        }
        SinkExt::<Bytes>::flush(&mut near).await?;
        Ok(near)
    };
    let receiver = async move {
        for _ in 0..count {
            black_box(far.next().await.ok_or(ENDED)??);
        }
        Ok(far)
    };
    both(sender, receiver).await?;
    Ok(watch.messages(count))
}
