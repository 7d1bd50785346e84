//! The loop of a careful user: buffers of a good size, one system call for many messages.

use std::hint::black_box;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::TEXT;
use super::talk::{self, Talk};
use crate::Result;
use crate::measure::{Sample, Stopwatch};
use crate::streams::{Stream, both};

const BUFFER: usize = 64 << 10;
/// A message with its length before it.
const FRAMED: usize = 4 + TEXT.len();

/// Writes one buffer again and again, and reads into one.
///
/// # Errors
///
/// Those of the streams.
pub async fn bulk<S: Stream>(near: S, far: S, total: u64, chunk: usize) -> Result<Sample> {
    hashed_bulk(near, far, total, chunk, false).await
}

/// The same, hashing what is written and what is read on the way.
///
/// # Errors
///
/// Those of the streams, and when the digests differ.
pub async fn hashed_bulk<S: Stream>(
    mut near: S,
    mut far: S,
    total: u64,
    chunk: usize,
    hashes: bool,
) -> Result<Sample> {
    let watch = Stopwatch::new();
    let sender = async move {
        let (buffer, mut left) = (vec![7; chunk], total);
        let mut hasher = blake3::Hasher::new();
        while left > 0 {
            let len = left.min(chunk as u64) as usize;
            if hashes {
                hasher.update(&buffer[..len]);
            }
            near.write_all(&buffer[..len]).await?;
            left -= len as u64;
        }
        near.flush().await?;
        Ok((near, hasher.finalize()))
    };
    let receiver = async move {
        let (mut buffer, mut left) = (vec![0; chunk], total);
        let mut hasher = blake3::Hasher::new();
        while left > 0 {
            let len = far.read(&mut buffer).await?;
            if len == 0 {
                return Err("the stream ended early".into());
            }
            if hashes {
                hasher.update(&buffer[..len]);
            }
            black_box(&buffer);
            left -= len as u64;
        }
        Ok(hasher.finalize())
    };
    let ((_near, sent), received) = both(sender, receiver).await?;
    if sent != received {
        return Err("the digests differ".into());
    }
    Ok(watch.bytes(total))
}

fn put(buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(&(TEXT.len() as u32).to_be_bytes());
    buffer.extend_from_slice(TEXT.as_bytes());
}

/// Reads messages from a buffer of its own.
struct Reader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Reader {
    fn new(buffer: usize) -> Self {
        Self { buffer: vec![0; buffer], start: 0, end: 0 }
    }

    /// The next message that is there already.
    fn message(&mut self) -> Option<&[u8]> {
        let rest = &self.buffer[self.start..self.end];
        let (head, rest) = rest.split_first_chunk::<4>()?;
        let message = rest.get(..u32::from_be_bytes(*head) as usize)?;
        self.start += 4 + message.len();
        Some(message)
    }

    async fn fill<S: Stream>(&mut self, stream: &mut S) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let len = stream.read(&mut self.buffer[self.end..]).await?;
        if len == 0 {
            return Err("the stream ended early".into());
        }
        self.end += len;
        Ok(())
    }
}

/// Messages one way, gathered in a buffer. They are not even looked at, nor acknowledged.
///
/// # Errors
///
/// Those of the streams.
pub async fn chat<S: Stream>(near: S, far: S, count: u64) -> Result<Sample> {
    one_way(near, far, count, false).await
}

/// The same with what a chat needs: texts are checked to be UTF-8, and acknowledged, once for each
/// buffer.
///
/// # Errors
///
/// Those of the streams, and of text that is not UTF-8.
pub async fn checked_chat<S: Stream>(near: S, far: S, count: u64) -> Result<Sample> {
    one_way(near, far, count, true).await
}

async fn one_way<S: Stream>(near: S, mut far: S, count: u64, checks: bool) -> Result<Sample> {
    let watch = Stopwatch::new();
    let sender = async move {
        let (mut reading, mut writing) = tokio::io::split(near);
        let acknowledged = tokio::spawn(async move {
            let mut last = 0;
            while checks && last < count {
                last = reading.read_u64().await?;
            }
            Ok::<_, crate::Error>(reading)
        });
        let mut buffer = Vec::with_capacity(BUFFER);
        for _ in 0..count {
            if buffer.len() + FRAMED > BUFFER {
                writing.write_all(&buffer).await?;
                buffer.clear();
            }
            put(&mut buffer);
        }
        writing.write_all(&buffer).await?;
        writing.flush().await?;
        Ok((acknowledged.await??, writing))
    };
    let receiver = async move {
        let (mut reader, mut received) = (Reader::new(BUFFER), 0);
        while received < count {
            while let Some(message) = reader.message() {
                if checks {
                    black_box(std::str::from_utf8(message)?);
                } else {
                    black_box(message);
                }
                received += 1;
            }
            if checks {
                far.write_u64(received).await?;
            }
            if received < count {
                reader.fill(&mut far).await?;
            }
        }
        Ok(far)
    };
    both(sender, receiver).await?;
    Ok(watch.messages(count))
}

/// A client and its task at the other end, with buffers of so many bytes.
///
/// # Errors
///
/// None.
pub async fn talk<S: Stream>(near: S, mut far: S, buffer: usize) -> Result<impl Talk> {
    tokio::spawn(async move {
        let (mut reader, mut writing) = (Reader::new(buffer), Vec::with_capacity(buffer));
        loop {
            while reader.message().is_none() {
                reader.fill(&mut far).await?;
            }
            writing.clear();
            put(&mut writing);
            far.write_all(&writing).await?;
        }
        #[expect(unreachable_code, reason = "says the type of the errors")]
        Ok::<(), crate::Error>(())
    });
    Ok(Client { stream: near, reader: Reader::new(buffer), writing: Vec::with_capacity(buffer) })
}

struct Client<S> {
    stream: S,
    reader: Reader,
    writing: Vec<u8>,
}

impl<S: Stream> Talk for Client<S> {
    async fn there_and_back(&mut self) -> Result<()> {
        self.writing.clear();
        put(&mut self.writing);
        self.stream.write_all(&self.writing).await?;
        while self.reader.message().is_none() {
            self.reader.fill(&mut self.stream).await?;
        }
        Ok(())
    }
}

/// One message there, one back.
///
/// # Errors
///
/// Those of the streams.
pub async fn ping_pong<S: Stream>(near: S, far: S, count: u64) -> Result<Sample> {
    talk::ping_pong(self::talk(near, far, BUFFER).await?, count).await
}
