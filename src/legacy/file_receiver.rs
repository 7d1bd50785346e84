use core::mem;
use core::pin::pin;
use std::vec::Vec;

use futures::io::{AsyncRead, AsyncWrite};

use super::paced::Paced;
use super::progress::{Counted, Progress};
use super::{FileDecoder, FileError, FileReceiveError};
use crate::io::{Cursor, Limits, ReadError, SizePrefix, SomeCursor, TransportError, WriteError};
use crate::time::Timer;

/// Most bytes of a file that are held at a time.
const BUFFER: u64 = 64 * 1024;

/// Receives one file in the chapter's format and writes it to a sink.
///
/// All progress is in the receiver. It holds at most 64 KiB of a file of any size, and nothing
/// before the size is known and accepted. The sink gets the bytes that have arrived and no others,
/// and is flushed; it is for the caller to give the file its name, after success only.
///
/// # Examples
///
/// ```
/// use duologue::legacy::{FileError, FileReceiveError, FileReceiver};
///
/// # futures::executor::block_on(async {
/// let mut file = Vec::new();
/// let mut receiver = FileReceiver::new(1024 * 1024); // no more than 1 MiB, please
/// assert_eq!(receiver.receive(&mut &b"\x05\0\0\0hello"[..], &mut file).await, Ok(5));
/// assert_eq!(file, b"hello");
///
/// let mut file = Vec::new();
/// let mut receiver = FileReceiver::new(1024 * 1024);
/// let error = receiver.receive(&mut &b"\x05\0\0\0hel"[..], &mut file).await.unwrap_err();
/// let truncated = FileError::Truncated { received: 3, size: Some(5) };
/// assert_eq!(error, FileReceiveError::Format(truncated));
/// assert_eq!(file, b"hel"); // never padded
/// # });
/// ```
#[derive(Debug)]
pub struct FileReceiver {
    decoder: FileDecoder,
    limits: Limits,
    header: Cursor<[u8; SizePrefix::LEN]>,
    /// Being filled from the stream, and then written to the sink.
    buffer: Cursor<Vec<u8>>,
    step: Step,
    /// Set when the stream has ended too early.
    truncated: Option<FileError>,
    /// Set when the sink has failed. It may have lost what it had taken, so there is no going on.
    sink_failed: Option<FileReceiveError>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Reading the size.
    Header,
    /// Filling the buffer from the stream.
    Fill {
        size: u64,
    },
    /// Writing the buffer to the sink.
    Drain {
        size: u64,
    },
    /// Flushing the sink, once the stream has given all it will.
    Flush {
        size: u64,
    },
    /// Waiting for the peer to close.
    AwaitClose {
        size: u64,
    },
    Done {
        size: u64,
    },
    Failed(FileError),
}

impl FileReceiver {
    /// A receiver that accepts a file of at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            decoder: FileDecoder::new(limit),
            limits: Limits::default(),
            header: Cursor::default(),
            buffer: Cursor::default(),
            step: Step::Header,
            truncated: None,
            sink_failed: None,
            progress: Progress::new(0),
        }
    }

    /// Waits for the peer by `limits` instead of [`Limits::default`], which is 20 s of silence.
    ///
    /// Deadline and rate hold for the whole file, not for each buffer. Only the time counts in
    /// which the peer is waited for; a slow sink is not the peer's fault.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A view of the transfer for whoever shows it, even while a future of this receiver runs.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// As [`receive_size_with`](Self::receive_size_with), waiting by the default timer.
    ///
    /// # Errors
    ///
    /// As `receive_size_with`: [`FileReceiveError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the receiver.
    #[cfg(feature = "async-io")]
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    pub async fn receive_size<R>(&mut self, stream: &mut R) -> Result<u64, FileReceiveError>
    where
        R: AsyncRead + Unpin + ?Sized,
    {
        self.receive_size_with(stream, crate::time::AsyncIoTimer::new()).await
    }

    /// Receives the size only, in bytes, so that the file can be refused (by dropping the stream)
    /// before there is a sink.
    ///
    /// `receive` goes on from there. Calling it again repeats the size.
    ///
    /// # Errors
    ///
    /// [`FileReceiveError::Format`] for a size that is refused or cut short, and
    /// [`FileReceiveError::Stream`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the receiver. The limits start anew with each call.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::legacy::FileReceiver;
    ///
    /// # futures::executor::block_on(async {
    /// let mut stream = &b"\x05\0\0\0hello"[..];
    /// let mut receiver = FileReceiver::new(1024);
    /// let mut file = Vec::with_capacity(receiver.receive_size(&mut stream).await? as usize);
    /// receiver.receive(&mut stream, &mut file).await?;
    /// # Ok::<(), duologue::legacy::FileReceiveError>(())
    /// # }).unwrap();
    /// ```
    pub async fn receive_size_with<R, T>(
        &mut self,
        stream: &mut R,
        timer: T,
    ) -> Result<u64, FileReceiveError>
    where
        R: AsyncRead + Unpin + ?Sized,
        T: Timer,
    {
        let timer = pin!(timer);
        self.read_size(stream, &mut Paced::new(self.limits, timer)).await
    }

    /// As [`receive_with`](Self::receive_with), waiting by the default timer.
    ///
    /// # Errors
    ///
    /// As `receive_with`: [`FileReceiveError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the receiver.
    #[cfg(feature = "async-io")]
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    pub async fn receive<R, W>(
        &mut self,
        stream: &mut R,
        sink: &mut W,
    ) -> Result<u64, FileReceiveError>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        self.receive_with(stream, sink, crate::time::AsyncIoTimer::new()).await
    }

    /// Receives the file, waiting by `timer`; returns its size in bytes.
    ///
    /// When every byte has arrived and the sink is flushed, it waits within the limits for the
    /// peer to close, because more bytes would mean a different file. A peer that stays silent
    /// then, or whose connection breaks, has still sent the whole file, which is a success.
    ///
    /// Called again after success it returns the size again and touches neither stream.
    ///
    /// # Errors
    ///
    /// [`FileReceiveError`]: a file that is refused, short or too long, and a sink that failed, both
    /// final and repeated by later calls; a stream that is silent, late, slow or broken. After a
    /// truncated file the sink has every byte that arrived.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the receiver, so the future may be dropped after any poll,
    /// and another call with the same streams goes on; its limits start anew.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::legacy::FileReceiver;
    /// use duologue::time::VirtualClock;
    ///
    /// let clock = VirtualClock::new();
    /// let (mut stream, mut file) = (&b"\0\0\0\0"[..], Vec::new());
    /// let mut receiver = FileReceiver::new(1024);
    /// let received = receiver.receive_with(&mut stream, &mut file, clock.timer());
    /// assert_eq!(clock.block_on(received), Ok(Ok(0))); // an empty file is a file
    /// ```
    pub async fn receive_with<R, W, T>(
        &mut self,
        stream: &mut R,
        sink: &mut W,
        timer: T,
    ) -> Result<u64, FileReceiveError>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
        T: Timer,
    {
        if let Some(error) = &self.sink_failed {
            return Err(error.clone());
        }
        let timer = pin!(timer);
        let mut peer = Paced::new(self.limits, timer);
        loop {
            match self.step {
                Step::Header => drop(self.read_size(stream, &mut peer).await?),
                Step::Fill { size } => self.fill(size, stream, &mut peer).await?,
                Step::Drain { size } => {
                    let written = peer.write_sink(sink, &mut self.buffer).await;
                    written.map_err(|error| self.fail_sink(error))?;
                    let more = self.truncated.is_none() && !self.decoder.is_complete();
                    self.step = if more { Step::Fill { size } } else { Step::Flush { size } };
                }
                Step::Flush { size } => {
                    let flushed = peer.flush_sink(sink).await;
                    flushed.map_err(|error| self.fail_sink(error))?;
                    self.step = self.truncated.map_or(Step::AwaitClose { size }, Step::Failed);
                }
                Step::AwaitClose { size } => self.await_close(size, stream, &mut peer).await?,
                Step::Done { size } => return Ok(size),
                Step::Failed(error) => return Err(FileReceiveError::Format(error)),
            }
        }
    }

    /// Reads the size, unless it is known already.
    async fn read_size<R, T>(
        &mut self,
        stream: &mut R,
        peer: &mut Paced<'_, T>,
    ) -> Result<u64, FileReceiveError>
    where
        R: AsyncRead + Unpin + ?Sized,
        T: Timer,
    {
        match self.step {
            Step::Header => {}
            Step::Failed(error) => return Err(FileReceiveError::Format(error)),
            Step::Fill { size }
            | Step::Drain { size }
            | Step::Flush { size }
            | Step::AwaitClose { size }
            | Step::Done { size } => return Ok(size),
        }
        let ended = match peer.read(stream, &mut self.header).await {
            Ok(_) => false,
            Err(ReadError::EndOfStream { .. }) => true,
            Err(error) => return Err(FileReceiveError::stream(error, 0)),
        };
        let mut decoded = self.decoder.decode(self.header.filled()).map(drop);
        if ended && decoded.is_ok() {
            decoded = self.decoder.handle_eof();
        }
        decoded.map_err(|error| self.fail(error))?;
        let size = self.decoder.size().unwrap_or_default();
        self.progress.set_size(size);
        self.step = if size == 0 { Step::Flush { size } } else { Step::Fill { size } };
        Ok(size)
    }

    async fn fill<R, T>(
        &mut self,
        size: u64,
        stream: &mut R,
        peer: &mut Paced<'_, T>,
    ) -> Result<(), FileReceiveError>
    where
        R: AsyncRead + Unpin + ?Sized,
        T: Timer,
    {
        if self.buffer.is_complete() {
            self.make_room();
        }
        let mut stream = Counted { stream, progress: &self.progress };
        let ended = match peer.read(&mut stream, &mut self.buffer).await {
            Ok(_) => false,
            Err(ReadError::EndOfStream { .. }) => true,
            Err(error) => return Err(FileReceiveError::stream(error, self.progress.count())),
        };
        let decoded = self.decoder.decode(self.buffer.filled()).map(drop);
        decoded.map_err(|error| self.fail(error))?;
        if ended {
            self.truncated = self.decoder.handle_eof().err();
            let filled = self.buffer.position();
            let mut arrived = mem::take(&mut self.buffer).into_buffer();
            arrived.truncate(filled);
            self.buffer = Cursor::new(arrived);
        }
        self.buffer.rewind();
        self.step = Step::Drain { size };
        Ok(())
    }

    /// Readies the buffer for the next bytes: never for more than the file still has.
    fn make_room(&mut self) {
        let room = self.decoder.remaining().unwrap_or_default().min(BUFFER);
        let mut buffer = mem::take(&mut self.buffer).into_buffer();
        let room = usize::try_from(room).unwrap_or_default();
        buffer.reserve_exact(room.saturating_sub(buffer.len()));
        buffer.resize(room, 0);
        self.buffer = Cursor::new(buffer);
    }

    async fn await_close<R, T>(
        &mut self,
        size: u64,
        stream: &mut R,
        peer: &mut Paced<'_, T>,
    ) -> Result<(), FileReceiveError>
    where
        R: AsyncRead + Unpin + ?Sized,
        T: Timer,
    {
        let mut more = SomeCursor::new([0; 1]);
        match peer.read(stream, &mut more).await {
            Ok(_) => {
                self.decoder.decode(more.filled()).map_err(|error| self.fail(error))?;
            }
            Err(error @ ReadError::Transport { error: TransportError::Overrun { .. }, .. }) => {
                return Err(FileReceiveError::stream(error, self.progress.count()));
            }
            Err(_) => {}
        }
        self.step = Step::Done { size };
        Ok(())
    }

    fn fail_sink(&mut self, error: WriteError) -> FileReceiveError {
        let error = FileReceiveError::sink(error);
        self.sink_failed = Some(error.clone());
        error
    }

    fn fail(&mut self, error: FileError) -> FileReceiveError {
        self.step = Step::Failed(error);
        FileReceiveError::Format(error)
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::time::VirtualClock;

    fn receive(wire: &[u8]) -> (FileReceiver, Result<u64, FileReceiveError>) {
        let clock = VirtualClock::new();
        let mut receiver = FileReceiver::new(u64::MAX);
        let (mut stream, mut sink) = (wire, Vec::new());
        let received = receiver.receive_with(&mut stream, &mut sink, clock.timer());
        let result = clock.block_on(received).unwrap();
        (receiver, result)
    }

    #[test]
    fn the_largest_size_announced_costs_64_kib() {
        let (receiver, result) = receive(b"\xFF\xFF\xFF\x7F");
        let size = Some(0x7FFF_FFFF);
        let truncated = FileError::Truncated { received: 0, size };
        assert_eq!(result, Err(FileReceiveError::Format(truncated)));
        assert!(receiver.buffer.buffer().capacity() as u64 <= BUFFER);
    }

    #[test]
    fn a_refused_size_costs_nothing() {
        let (receiver, result) = receive(b"\xFF\xFF\xFF\xFF");
        assert!(matches!(result, Err(FileReceiveError::Format(FileError::Size(_)))));
        assert_eq!(receiver.buffer.buffer().capacity(), 0);
    }

    #[test]
    fn a_small_file_costs_its_own_size() {
        let (receiver, result) = receive(b"\x05\0\0\0hello");
        assert_eq!(result, Ok(5));
        assert_eq!(receiver.buffer.buffer().capacity(), 5);
    }

    #[test]
    fn a_large_file_costs_64_kib() {
        let mut wire = std::vec![0x40, 0x0D, 0x03, 0x00]; // 200,000
        wire.resize(200_004, 7);
        let (receiver, result) = receive(&wire);
        assert_eq!(result, Ok(200_000));
        assert!(receiver.buffer.buffer().capacity() as u64 <= BUFFER);
    }
}
