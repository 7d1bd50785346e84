//! yamux: streams in a stream.

use std::future::poll_fn;
use std::hint::black_box;

use duologue::io::TokioIo;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use yamux::{Config, Connection, Mode};

use super::TEXT;
use super::talk::{self, Talk};
use crate::Result;
use crate::measure::{Sample, Stopwatch};
use crate::streams::{Stream, both};

/// Bytes that a careful user gathers before he writes, as every write is a frame.
const BUFFER: usize = 64 << 10;

/// The defaults, or frames of 256 KiB.
pub fn config(is_tuned: bool) -> Config {
    let mut config = Config::default();
    if is_tuned {
        config.set_split_send_size(256 << 10);
    }
    config
}

/// So many streams over one connection, each with both its ends. Tasks drive the connection.
///
/// # Errors
///
/// Those of the streams.
pub async fn pairs<S: Stream>(
    near: S,
    far: S,
    config: Config,
    count: usize,
) -> Result<Vec<(yamux::Stream, yamux::Stream)>> {
    let mut client = Connection::new(TokioIo::new(near), config.clone(), Mode::Client);
    let mut server = Connection::new(TokioIo::new(far), config, Mode::Server);
    let mut near = Vec::new();
    for _ in 0..count {
        near.push(poll_fn(|cx| client.poll_new_outbound(cx)).await?);
    }
    tokio::spawn(
        async move { while poll_fn(|cx| client.poll_next_inbound(cx)).await.is_some() {} },
    );
    let (sender, mut far) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(stream)) = poll_fn(|cx| server.poll_next_inbound(cx)).await {
            // Nobody may be interested any more.
            let _ = sender.send(stream);
        }
    });
    let mut pairs = Vec::new();
    for mut stream in near {
        // The other end hears of it by its first byte.
        stream.write_all(&[0]).await?;
        stream.flush().await?;
        let mut other = far.recv().await.ok_or("no stream came")?;
        other.read_exact(&mut [0]).await?;
        pairs.push((stream, other));
    }
    Ok(pairs)
}

async fn pair<S: Stream>(
    near: S,
    far: S,
    config: Config,
) -> Result<(yamux::Stream, yamux::Stream)> {
    Ok(pairs(near, far, config, 1).await?.pop().ok_or("no stream came")?)
}

/// Writes and reads of so many bytes.
///
/// # Errors
///
/// Those of the streams.
pub async fn bulk<S: Stream>(
    near: S,
    far: S,
    total: u64,
    chunk: usize,
    config: Config,
) -> Result<Sample> {
    let (mut near, mut far) = pair(near, far, config).await?;
    let watch = Stopwatch::new();
    let sender = async move {
        let (buffer, mut left) = (vec![7; chunk], total);
        while left > 0 {
            let len = left.min(chunk as u64);
            near.write_all(&buffer[..len as usize]).await?;
            left -= len;
        }
        near.flush().await?;
        Ok(near)
    };
    let receiver = async move {
        let (mut buffer, mut left) = (vec![0; chunk], total);
        while left > 0 {
            let len = far.read(&mut buffer).await?;
            if len == 0 {
                return Err("the stream ended early".into());
            }
            black_box(&buffer);
            left -= len as u64;
        }
        Ok(far)
    };
    both(sender, receiver).await?;
    Ok(watch.bytes(total))
}

/// Messages one way, with their lengths before them, gathered in a buffer.
///
/// # Errors
///
/// Those of the streams.
pub async fn chat<S: Stream>(near: S, far: S, count: u64) -> Result<Sample> {
    let (mut near, mut far) = pair(near, far, config(false)).await?;
    let watch = Stopwatch::new();
    let sender = async move {
        let mut buffer = Vec::with_capacity(BUFFER);
        for _ in 0..count {
            if buffer.len() + 4 + TEXT.len() > BUFFER {
                near.write_all(&buffer).await?;
                buffer.clear();
            }
            buffer.extend_from_slice(&(TEXT.len() as u32).to_be_bytes());
            buffer.extend_from_slice(TEXT.as_bytes());
        }
        near.write_all(&buffer).await?;
        near.flush().await?;
        Ok(near)
    };
    let receiver = async move {
        let (mut buffer, mut filled, mut received) = (vec![0; BUFFER], 0, 0);
        while received < count {
            let len = far.read(&mut buffer[filled..]).await?;
            if len == 0 {
                return Err("the stream ended early".into());
            }
            filled += len;
            let mut start = 0;
            while let Some((head, rest)) = buffer[start..filled].split_first_chunk::<4>() {
                let Some(message) = rest.get(..u32::from_be_bytes(*head) as usize) else { break };
                start += 4 + black_box(message).len();
                received += 1;
            }
            buffer.copy_within(start..filled, 0);
            filled -= start;
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
/// Those of the connection.
pub async fn talk<S: Stream>(near: S, far: S) -> Result<impl Talk> {
    let (near, mut far) = pair(near, far, config(false)).await?;
    tokio::spawn(async move {
        let mut buffer = [0; TEXT.len()];
        loop {
            far.read_exact(&mut buffer).await?;
            far.write_all(&buffer).await?;
            far.flush().await?;
        }
        #[expect(unreachable_code, reason = "says the type of the errors")]
        Ok::<(), crate::Error>(())
    });
    Ok(near)
}

impl Talk for yamux::Stream {
    async fn there_and_back(&mut self) -> Result<()> {
        self.write_all(TEXT.as_bytes()).await?;
        self.flush().await?;
        self.read_exact(&mut [0; TEXT.len()]).await?;
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
