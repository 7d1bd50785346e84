use core::fmt;
use core::mem;
use core::pin::pin;
use std::io;
use std::vec::Vec;

use futures::io::AsyncWrite;

use super::paced::Paced;
use super::transfer_error::with_written;
use super::{TextEncoder, Unmappable};
use crate::io::{Cursor, Limits, WriteError};
use crate::time::Timer;

/// Sends the chapter's chat: text, without any framing.
///
/// A text is first [pushed](Self::push) into the writer, whole or not at all, and then goes out as
/// fast as the peer takes it. The writer holds what the stream has not taken.
///
/// # Examples
///
/// ```
/// use duologue::legacy::ChatWriter;
///
/// # futures::executor::block_on(async {
/// let mut stream = Vec::new();
/// let mut writer = ChatWriter::new();
/// writer.send(&mut stream, "안녕").await?;
/// assert_eq!(stream, "안녕".as_bytes());
/// # Ok::<(), duologue::legacy::ChatSendError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct ChatWriter {
    encoder: TextEncoder,
    limits: Limits,
    pending: Cursor<Vec<u8>>,
    /// Set from a push to the end of the flush behind it.
    unflushed: bool,
    ending: Ending,
}

/// How far our direction has been ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    Finished,
    Closed,
}

impl ChatWriter {
    /// Most bytes, as they are encoded, that may pile up in the writer from several texts: 64 KiB. A
    /// single text may be longer.
    pub const MAX_PENDING: usize = 64 * 1024;

    /// A writer of UTF-8.
    pub fn new() -> Self {
        Self::with_encoder(TextEncoder::new())
    }

    /// A writer of another encoding, made by
    /// [`TextEncoder::for_label`](super::TextEncoder::for_label).
    pub fn with_encoder(encoder: TextEncoder) -> Self {
        Self {
            encoder,
            limits: Limits::UNLIMITED,
            pending: Cursor::default(),
            unflushed: false,
            ending: Ending::Open,
        }
    }

    /// Waits for the peer by `limits` instead of without any.
    ///
    /// They hold for each call of `send`, `flush` or `close`.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Bytes that the stream has not taken yet.
    pub fn pending(&self) -> usize {
        self.pending.remaining()
    }

    /// Takes a text to be sent, without sending it; an empty one is nothing to send.
    ///
    /// # Errors
    ///
    /// [`ChatSendError::Unmappable`], [`ChatSendError::Backlog`] and [`ChatSendError::Closed`];
    /// then none of the text is taken. After the first two the writer takes other texts.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::legacy::ChatWriter;
    ///
    /// # futures::executor::block_on(async {
    /// let mut writer = ChatWriter::new();
    /// writer.push("one ")?;
    /// writer.push("two")?;
    /// assert_eq!(writer.pending(), 7);
    ///
    /// let mut stream = Vec::new();
    /// writer.flush(&mut stream).await?;
    /// assert_eq!(stream, b"one two");
    /// # Ok::<(), duologue::legacy::ChatSendError>(())
    /// # }).unwrap();
    /// ```
    pub fn push(&mut self, text: &str) -> Result<(), ChatSendError> {
        if self.ending != Ending::Open {
            return Err(ChatSendError::Closed);
        }
        if text.is_empty() {
            return Ok(());
        }
        let pending = self.pending();
        let room = Self::MAX_PENDING.saturating_sub(pending);
        if pending > 0 && self.encoder.encoded_len(text) > room {
            return Err(ChatSendError::Backlog { pending, limit: Self::MAX_PENDING });
        }
        let mut bytes = self.take_pending();
        let encoded = self.encoder.encode(text, &mut bytes);
        self.pending = Cursor::new(bytes);
        encoded.map_err(ChatSendError::Unmappable)?;
        self.unflushed = true;
        Ok(())
    }

    /// As [`send_with`](Self::send_with), waiting by the default timer.
    ///
    /// # Errors
    ///
    /// As `send_with`: [`ChatSendError`].
    ///
    /// # Cancel safety
    ///
    /// As `send_with`: nothing is lost, and [`flush`](Self::flush) goes on.
    #[cfg(feature = "async-io")]
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    pub async fn send<W>(&mut self, stream: &mut W, text: &str) -> Result<(), ChatSendError>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        self.send_with(stream, text, crate::time::AsyncIoTimer::new()).await
    }

    /// Pushes `text` and flushes, waiting by `timer`.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push), when none of the text is taken, and those of
    /// [`flush_with`](Self::flush_with), when all of it is: then flush again, do not send again.
    ///
    /// # Cancel safety
    ///
    /// The first poll takes the text, whole. A future dropped after that loses nothing: the rest is
    /// in the writer and goes out first with the next call, for which `flush` is the one that adds
    /// no other text.
    pub async fn send_with<W, T>(
        &mut self,
        stream: &mut W,
        text: &str,
        timer: T,
    ) -> Result<(), ChatSendError>
    where
        W: AsyncWrite + Unpin + ?Sized,
        T: Timer,
    {
        self.push(text)?;
        self.flush_with(stream, timer).await
    }

    /// As [`flush_with`](Self::flush_with), waiting by the default timer.
    ///
    /// # Errors
    ///
    /// As `flush_with`: [`ChatSendError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the writer.
    #[cfg(feature = "async-io")]
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    pub async fn flush<W>(&mut self, stream: &mut W) -> Result<(), ChatSendError>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        self.flush_with(stream, crate::time::AsyncIoTimer::new()).await
    }

    /// Writes all that is pending and flushes the stream, waiting by `timer`.
    ///
    /// # Errors
    ///
    /// [`ChatSendError::Stream`]; [`pending`](Self::pending) says how many bytes did not go out,
    /// and another call goes on with them.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the writer, and no byte is sent twice. The limits start anew
    /// with each call.
    pub async fn flush_with<W, T>(&mut self, stream: &mut W, timer: T) -> Result<(), ChatSendError>
    where
        W: AsyncWrite + Unpin + ?Sized,
        T: Timer,
    {
        let timer = pin!(timer);
        self.drain(stream, &mut Paced::new(self.limits, timer)).await
    }

    /// As [`close_with`](Self::close_with), waiting by the default timer.
    ///
    /// # Errors
    ///
    /// As `close_with`: [`ChatSendError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the writer.
    #[cfg(feature = "async-io")]
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    pub async fn close<W>(&mut self, stream: &mut W) -> Result<(), ChatSendError>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        self.close_with(stream, crate::time::AsyncIoTimer::new()).await
    }

    /// Writes all that is pending and closes our direction of the stream, waiting by `timer`.
    ///
    /// From the first poll on no other text is taken.
    ///
    /// # Errors
    ///
    /// [`ChatSendError::Stream`]; another call goes on.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the writer. The limits start anew with each call.
    pub async fn close_with<W, T>(&mut self, stream: &mut W, timer: T) -> Result<(), ChatSendError>
    where
        W: AsyncWrite + Unpin + ?Sized,
        T: Timer,
    {
        if self.ending == Ending::Open {
            let mut bytes = self.take_pending();
            self.encoder.finish(&mut bytes);
            self.pending = Cursor::new(bytes);
            self.unflushed = true;
            self.ending = Ending::Finished;
        }
        let timer = pin!(timer);
        let mut peer = Paced::new(self.limits, timer);
        self.drain(stream, &mut peer).await?;
        if self.ending == Ending::Finished {
            peer.close(stream).await.map_err(ChatSendError::Stream)?;
            self.ending = Ending::Closed;
        }
        Ok(())
    }

    async fn drain<W, T>(
        &mut self,
        stream: &mut W,
        peer: &mut Paced<'_, T>,
    ) -> Result<(), ChatSendError>
    where
        W: AsyncWrite + Unpin + ?Sized,
        T: Timer,
    {
        if self.unflushed {
            peer.write(stream, &mut self.pending).await.map_err(ChatSendError::Stream)?;
            let written = self.pending.position();
            let flushed = peer.flush(stream).await;
            flushed.map_err(|error| ChatSendError::Stream(with_written(error, written)))?;
            self.pending = Cursor::default();
            self.unflushed = false;
        }
        Ok(())
    }

    /// The bytes that the stream has not taken, at the front of their buffer.
    fn take_pending(&mut self) -> Vec<u8> {
        let written = self.pending.position();
        let mut bytes = mem::take(&mut self.pending).into_buffer();
        bytes.drain(..written);
        bytes
    }
}

impl Default for ChatWriter {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a [`ChatWriter`] did not send a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChatSendError {
    /// Our side: the encoding cannot write the text. None of it was taken.
    Unmappable(Unmappable),
    /// Our side: too much is pending already. None of the text was taken; flush, then try again.
    Backlog {
        /// Bytes that the stream has not taken yet.
        pending: usize,
        /// The most that may pile up, in bytes.
        limit: usize,
    },
    /// Our side: the writer was closed.
    Closed,
    /// The peer or the transport: stalled, late, slow or broken. The text is in the writer, which
    /// knows how much of it is pending; the count is of the bytes written since the last push.
    Stream(WriteError),
}

impl ChatSendError {
    /// Whether flushing again, and after a backlog sending again, can succeed.
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Backlog { .. } => true,
            Self::Unmappable(_) | Self::Closed => false,
            Self::Stream(error) => error.can_retry(),
        }
    }
}

impl fmt::Display for ChatSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmappable(error) => write!(f, "{error}"),
            Self::Backlog { pending, limit } => {
                write!(f, "{pending} of at most {limit} bytes are still to be sent")
            }
            Self::Closed => f.write_str("the chat was closed"),
            Self::Stream(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for ChatSendError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Unmappable(error) => Some(error),
            Self::Stream(error) => Some(error),
            Self::Backlog { .. } | Self::Closed => None,
        }
    }
}

impl From<ChatSendError> for io::Error {
    fn from(error: ChatSendError) -> Self {
        let kind = match &error {
            ChatSendError::Unmappable(_) => io::ErrorKind::InvalidInput,
            ChatSendError::Backlog { .. } => io::ErrorKind::WouldBlock,
            ChatSendError::Closed => io::ErrorKind::BrokenPipe,
            ChatSendError::Stream(error) => Self::from(error.clone()).kind(),
        };
        Self::new(kind, error)
    }
}
