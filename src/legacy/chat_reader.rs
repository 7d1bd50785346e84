use core::pin::pin;
use std::string::String;
use std::vec::Vec;

use futures::io::AsyncRead;

use super::TextDecoder;
use super::paced::Paced;
use crate::io::{Limits, ReadError, SomeCursor};
use crate::time::Timer;

/// Most bytes that one read brings.
const BUFFER: usize = 4 * 1024;

/// Receives the chapter's chat: text as it arrives, which is not the same as messages.
///
/// The format has no framing, so what one `receive` returns may be a part of a message, or several;
/// but it never cuts a character.
///
/// # Examples
///
/// ```
/// use duologue::legacy::ChatReader;
///
/// # futures::executor::block_on(async {
/// let mut stream = "안녕".as_bytes();
/// let mut reader = ChatReader::new();
/// assert_eq!(reader.receive(&mut stream).await?.as_deref(), Some("안녕"));
/// assert_eq!(reader.receive(&mut stream).await?, None);
/// # Ok::<(), duologue::io::ReadError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct ChatReader {
    decoder: TextDecoder,
    limits: Limits,
    cursor: SomeCursor<Vec<u8>>,
    ended: bool,
}

impl ChatReader {
    /// A reader of UTF-8.
    pub fn new() -> Self {
        Self::with_decoder(TextDecoder::new())
    }

    /// A reader of another encoding, made by
    /// [`TextDecoder::for_label`](super::TextDecoder::for_label).
    pub fn with_decoder(decoder: TextDecoder) -> Self {
        let cursor = SomeCursor::new(std::vec![0; BUFFER]);
        Self { decoder, limits: Limits::UNLIMITED, cursor, ended: false }
    }

    /// Waits for the peer by `limits` instead of without any: a conversation may be silent.
    ///
    /// They hold for each call of `receive`.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The decoder, which knows how much of what arrived was not text.
    pub const fn decoder(&self) -> &TextDecoder {
        &self.decoder
    }

    /// As [`receive_with`](Self::receive_with), waiting by the default timer.
    ///
    /// # Errors
    ///
    /// As `receive_with`: [`ReadError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the reader.
    #[cfg(feature = "async-io")]
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    pub async fn receive<R>(&mut self, stream: &mut R) -> Result<Option<String>, ReadError>
    where
        R: AsyncRead + Unpin + ?Sized,
    {
        self.receive_with(stream, crate::time::AsyncIoTimer::new()).await
    }

    /// Returns the next text, or `None` when the peer has ended its side; waits by `timer`.
    ///
    /// It is the text of one read of up to 4096 bytes, so 12 KiB at most, and never empty: a read
    /// that brings only a part of a character reads on. A part that the end of the stream cuts off
    /// becomes U+FFFD.
    ///
    /// # Errors
    ///
    /// [`ReadError`], but never `EndOfStream`. Nothing that arrived before is lost.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what a dropped future had read is in the reader, and the next call goes on; its
    /// limits start anew.
    pub async fn receive_with<R, T>(
        &mut self,
        stream: &mut R,
        timer: T,
    ) -> Result<Option<String>, ReadError>
    where
        R: AsyncRead + Unpin + ?Sized,
        T: Timer,
    {
        let timer = pin!(timer);
        let mut peer = Paced::new(self.limits, timer);
        while !self.ended {
            let mut text = String::new();
            match peer.read(stream, &mut self.cursor).await {
                Ok(_) => {
                    self.decoder.decode(self.cursor.filled(), &mut text);
                    self.cursor.clear();
                }
                Err(ReadError::EndOfStream { .. }) => {
                    self.ended = true;
                    self.decoder.finish(&mut text);
                }
                Err(error) => return Err(error),
            }
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }
}

impl Default for ChatReader {
    fn default() -> Self {
        Self::new()
    }
}
