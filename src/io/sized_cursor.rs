use core::fmt;
use std::vec::Vec;

use super::cursor::{Fill, sealed};
use super::{SizeError, SizePrefix};

/// Room for the first bytes of a body, and the smallest step by which its buffer grows.
const FIRST_STEP: usize = 16 * 1024;

/// A cursor that reads a size first and then exactly that many bytes, never more than a limit.
///
/// The announced size reserves nothing: the buffer grows with what has arrived, to at most twice
/// that or 16 KiB, whichever is more, and never beyond the size or the limit. A peer that announces
/// 2 GiB and sends ten bytes costs 16 KiB.
///
/// One cursor reads one message; [`clear`](Self::clear) readies it for the next. A stream that ends
/// while the cursor [`is_empty`](Self::is_empty) has ended between two messages; otherwise it was
/// cut off in one.
///
/// # Examples
///
/// ```
/// use duologue::io::{ReadError, SizeError, SizePrefix, SizedCursor, read_all};
///
/// # futures::executor::block_on(async {
/// let mut cursor = SizedCursor::new(SizePrefix::I32Le, 1024);
/// read_all(&mut &b"\x05\0\0\0hello"[..], &mut cursor).await?;
/// assert_eq!(cursor.body(), b"hello");
///
/// let mut cursor = SizedCursor::new(SizePrefix::I32Le, 1024);
/// let error = read_all(&mut &b"GET / HTTP/1.1"[..], &mut cursor).await.unwrap_err();
/// let size = SizeError::OverLimit { size: 0x2054_4547, limit: 1024 };
/// assert_eq!(error, ReadError::Size { filled: 0, error: size });
/// # Ok::<(), ReadError>(())
/// # }).unwrap();
/// ```
///
/// Messages until the stream ends, and the other end, which writes each size before its message:
///
/// ```
/// use duologue::io::{Cursor, ReadAllExt, ReadError, SizePrefix, SizedCursor, WriteAllExt};
///
/// # futures::executor::block_on(async {
/// let mut wire = Vec::new();
/// for message in ["one", "", "three"] {
///     let size = SizePrefix::U32Be.encode(message.len() as u64)?;
///     wire.write_all_chunked(&mut Cursor::new(size)).await?;
///     wire.write_all_chunked(&mut Cursor::new(message)).await?;
/// }
///
/// let (mut stream, mut messages) = (&wire[..], Vec::new());
/// let mut cursor = SizedCursor::new(SizePrefix::U32Be, 1024);
/// loop {
///     match stream.read_all(&mut cursor).await {
///         Ok(_) => messages.push(cursor.body().to_vec()),
///         Err(ReadError::EndOfStream { .. }) if cursor.is_empty() => break,
///         Err(error) => return Err(error.into()),
///     }
///     cursor.clear();
/// }
/// assert_eq!(messages, [&b"one"[..], b"", b"three"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct SizedCursor {
    prefix: SizePrefix,
    limit: u64,
    header: [u8; SizePrefix::LEN],
    header_filled: usize,
    /// The decoded size, or why it was refused; `None` while the header is incomplete.
    size: Option<Result<usize, SizeError>>,
    /// Initialised room; `body_filled` bytes of it have arrived.
    body: Vec<u8>,
    body_filled: usize,
}

impl SizedCursor {
    /// A cursor that accepts a body of at most `limit` bytes.
    pub const fn new(prefix: SizePrefix, limit: u64) -> Self {
        Self {
            prefix,
            limit,
            header: [0; SizePrefix::LEN],
            header_filled: 0,
            size: None,
            body: Vec::new(),
            body_filled: 0,
        }
    }

    /// The announced size in bytes, once it has arrived and been found acceptable.
    pub fn size(&self) -> Option<usize> {
        self.size.and_then(Result::ok)
    }

    /// Whether not one byte has arrived, of the size or of the body.
    pub fn is_empty(&self) -> bool {
        self.header_filled == 0
    }

    /// Forgets the message and readies the cursor for the next one; the memory is kept.
    pub fn clear(&mut self) {
        self.header_filled = 0;
        self.size = None;
        self.body.clear();
        self.body_filled = 0;
    }

    /// The bytes of the body that have arrived.
    pub fn body(&self) -> &[u8] {
        self.body.get(..self.body_filled).unwrap_or_default()
    }

    /// Gives away the bytes of the body that have arrived.
    pub fn into_body(mut self) -> Vec<u8> {
        self.body.truncate(self.body_filled);
        self.body
    }

    fn decode_size(&self) -> Result<usize, SizeError> {
        let size = self.prefix.decode(self.header, self.limit)?;
        usize::try_from(size).map_err(|_| SizeError::OverLimit { size, limit: usize::MAX as u64 })
    }

    /// Doubles the room, within `size`, when all of it is used.
    fn grow(&mut self, size: usize) -> Result<(), SizeError> {
        if self.body_filled < self.body.len() || self.body_filled == size {
            return Ok(());
        }
        let room = self.body.len().saturating_mul(2).max(FIRST_STEP).min(size);
        let additional = room.saturating_sub(self.body.len());
        self.body
            .try_reserve_exact(additional)
            .map_err(|_| SizeError::OutOfMemory { requested: room })?;
        self.body.resize(room, 0);
        Ok(())
    }
}

impl Fill for SizedCursor {}

impl sealed::Fill for SizedCursor {
    fn unfilled(&mut self) -> Result<&mut [u8], SizeError> {
        if self.header_filled < SizePrefix::LEN {
            return Ok(self.header.get_mut(self.header_filled..).unwrap_or_default());
        }
        let size = match self.size {
            Some(size) => size?,
            None => {
                let size = self.decode_size();
                self.size = Some(size);
                size?
            }
        };
        self.grow(size)?;
        Ok(self.body.get_mut(self.body_filled..).unwrap_or_default())
    }

    fn advance(&mut self, n: usize) {
        if self.header_filled < SizePrefix::LEN {
            self.header_filled = self.header_filled.saturating_add(n).min(SizePrefix::LEN);
        } else {
            self.body_filled = self.body_filled.saturating_add(n).min(self.body.len());
        }
    }

    fn filled(&self) -> usize {
        self.body_filled
    }
}

impl fmt::Debug for SizedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SizedCursor")
            .field("limit", &self.limit)
            .field("size", &self.size)
            .field("filled", &self.body_filled)
            .finish_non_exhaustive()
    }
}
