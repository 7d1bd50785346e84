use core::mem;
use core::pin::pin;
use std::vec::Vec;

use futures::io::{AsyncRead, AsyncWrite};

use super::paced::Paced;
use super::progress::{Counted, Progress};
use super::transfer_error::with_written;
use super::{FileEncoder, FileError, FileSendError};
use crate::io::{Cursor, Limits, ReadError, SizePrefix, TransportError, WriteError};
use crate::time::Timer;

/// Most bytes of a file that are held at a time.
const BUFFER: u64 = 64 * 1024;

/// Sends one file in the chapter's format from a source.
///
/// All progress is in the sender, which holds 64 KiB of the file. A source that does not have
/// exactly the announced size never gives the peer a file that looks whole: the end of the file is
/// withheld (the whole of one up to 64 KiB) and the stream closed, which the peer sees as a short
/// transfer.
///
/// # Examples
///
/// ```
/// use duologue::legacy::FileSender;
///
/// # futures::executor::block_on(async {
/// let mut stream = Vec::new();
/// FileSender::new(5)?.send(&mut &b"hello"[..], &mut stream).await?;
/// assert_eq!(stream, [0x05, 0, 0, 0, 0x68, 0x65, 0x6C, 0x6C, 0x6F]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct FileSender {
    encoder: FileEncoder,
    limits: Limits,
    /// Being filled from the source, and then written to the stream.
    buffer: Cursor<Vec<u8>>,
    step: Step,
    progress: Progress,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Filling the buffer from the source; the first one is to go out behind the size.
    Fill {
        first: bool,
    },
    /// Writing the buffer to the stream.
    Drain,
    /// Flushing the stream, once all is written.
    Flush,
    /// Closing our direction of the stream.
    Close,
    Done,
    /// Closing the stream early.
    Abort(FileError),
    Failed(FileError),
}

impl FileSender {
    /// A sender of a file of `size` bytes.
    ///
    /// # Errors
    ///
    /// [`FileError::TooLarge`] for 2 GiB and more, which the format cannot express.
    pub fn new(size: u64) -> Result<Self, FileError> {
        let encoder = FileEncoder::new(size)?;
        // The size goes out in one piece with the first bytes, because two small writes can cost
        // a delayed acknowledgement between them.
        let progress = Progress::new(SizePrefix::LEN.try_into().unwrap_or_default());
        progress.set_size(size);
        Ok(Self {
            encoder,
            limits: Limits::default(),
            buffer: Cursor::default(),
            step: Step::Fill { first: true },
            progress,
        })
    }

    /// Waits for the peer by `limits` instead of [`Limits::default`], which is 20 s in which it
    /// takes nothing.
    ///
    /// Deadline and rate hold for the whole file, not for each buffer. Only the time counts in
    /// which the peer is waited for; a slow source is not the peer's fault.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A view of the transfer for whoever shows it, even while a future of this sender runs.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// As [`send_with`](Self::send_with), waiting by the default timer.
    ///
    /// # Errors
    ///
    /// As `send_with`: [`FileSendError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the sender.
    #[cfg(feature = "async-io")]
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    pub async fn send<R, W>(&mut self, source: &mut R, stream: &mut W) -> Result<(), FileSendError>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        self.send_with(source, stream, crate::time::AsyncIoTimer::new()).await
    }

    /// Sends the file, flushes the stream and closes it, waiting by `timer`.
    ///
    /// The source must end where the file does: to notice one that has grown, it is read to its end
    /// before the last bytes are sent. Reading it has no time limit.
    ///
    /// Success means that the stream took every byte. The format has no reply, so whether the peer
    /// stored them stays unknown. Called again after success it does nothing.
    ///
    /// # Errors
    ///
    /// [`FileSendError`]: a source that does not have the announced size, which is final and
    /// repeated by later calls; a source that failed; a stream that is stalled, late, slow or
    /// broken.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the sender, so the future may be dropped after any poll, and
    /// another call with the same streams goes on; its limits start anew.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::legacy::{FileError, FileSendError, FileSender};
    /// use duologue::time::VirtualClock;
    ///
    /// let clock = VirtualClock::new();
    /// let (mut source, mut stream) = (&b"more than five"[..], Vec::new());
    /// let mut sender = FileSender::new(5).unwrap();
    /// let sent = clock.block_on(sender.send_with(&mut source, &mut stream, clock.timer()));
    /// let grew = FileError::SourceGrew { size: 5 };
    /// assert_eq!(sent, Ok(Err(FileSendError::Format(grew))));
    /// assert!(stream.is_empty());
    /// ```
    pub async fn send_with<R, W, T>(
        &mut self,
        source: &mut R,
        stream: &mut W,
        timer: T,
    ) -> Result<(), FileSendError>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
        T: Timer,
    {
        let timer = pin!(timer);
        let mut peer = Paced::new(self.limits, timer);
        loop {
            match self.step {
                Step::Fill { first } => self.fill(first, source, &mut peer).await?,
                Step::Drain => {
                    let mut stream = Counted { stream: &mut *stream, progress: &self.progress };
                    let written = peer.write(&mut stream, &mut self.buffer).await;
                    written.map_err(|error| self.stream_error(error))?;
                    let more = self.encoder.remaining() > 0;
                    self.step = if more { Step::Fill { first: false } } else { Step::Flush };
                }
                Step::Flush => {
                    peer.flush(stream).await.map_err(|error| self.stream_error(error))?;
                    self.step = Step::Close;
                }
                Step::Close => {
                    peer.close(stream).await.map_err(|error| self.stream_error(error))?;
                    self.step = Step::Done;
                }
                Step::Done => return Ok(()),
                Step::Abort(error) => {
                    // That it cannot be closed changes nothing: the file is short either way.
                    let _ = peer.close(stream).await;
                    self.step = Step::Failed(error);
                }
                Step::Failed(error) => return Err(FileSendError::Format(error)),
            }
        }
    }

    /// Reads the next bytes; of the last ones, one more than announced, to see that it is not there.
    async fn fill<R, T>(
        &mut self,
        first: bool,
        source: &mut R,
        peer: &mut Paced<'_, T>,
    ) -> Result<(), FileSendError>
    where
        R: AsyncRead + Unpin + ?Sized,
        T: Timer,
    {
        let rest = self.encoder.remaining();
        if self.buffer.is_complete() {
            let room = if rest <= BUFFER { rest.saturating_add(1) } else { BUFFER };
            let room = usize::try_from(room).unwrap_or_default();
            let mut buffer = mem::take(&mut self.buffer).into_buffer();
            buffer.clear();
            buffer.reserve_exact(room.saturating_add(SizePrefix::LEN));
            buffer.resize(room, 0);
            self.buffer = Cursor::new(buffer);
        }
        let ended = match peer.read_source(source, &mut self.buffer).await {
            Ok(_) => false,
            Err(ReadError::EndOfStream { .. }) => true,
            Err(error) => return Err(FileSendError::Source(transport(error))),
        };
        let mut encoded = self.encoder.encode(self.buffer.filled()).map(drop);
        if ended && encoded.is_ok() {
            encoded = self.encoder.finish();
        }
        if let Err(error) = encoded {
            self.step = Step::Abort(error);
            return Ok(());
        }
        let filled = self.buffer.position();
        let mut buffer = mem::take(&mut self.buffer).into_buffer();
        buffer.truncate(filled);
        if first {
            buffer.splice(..0, self.encoder.header());
        }
        self.buffer = Cursor::new(buffer);
        self.step = Step::Drain;
        Ok(())
    }

    fn stream_error(&self, error: WriteError) -> FileSendError {
        FileSendError::Stream(with_written(error, self.progress.count()))
    }
}

/// What failed below a read without limits, which cannot time out.
fn transport(error: ReadError) -> TransportError {
    match error {
        ReadError::Transport { error, .. } => error,
        _ => TransportError::Io { kind: std::io::ErrorKind::TimedOut, code: None },
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::time::VirtualClock;

    #[test]
    fn a_sender_of_any_size_holds_64_kib() {
        let clock = VirtualClock::new();
        for size in [1, BUFFER - 1, BUFFER, BUFFER + 1, 10 * BUFFER + 7] {
            let file = std::vec![7; usize::try_from(size).unwrap()];
            let mut sender = FileSender::new(size).unwrap();
            let (mut source, mut stream) = (&file[..], Vec::new());
            clock
                .block_on(sender.send_with(&mut source, &mut stream, clock.timer()))
                .unwrap()
                .unwrap();
            assert!(sender.buffer.buffer().capacity() as u64 <= BUFFER + 5);
            assert_eq!(stream.len() as u64, size + 4);
        }
    }
}
