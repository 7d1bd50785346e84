use core::fmt;

use super::SizeError;

/// A buffer and how far it has been filled or written; it outlives the future that moves it.
///
/// For reading, `B` is anything that lends `&mut [u8]` (an array, a `Vec`, a `Box<[u8]>`, a
/// borrowed slice) and the cursor is full when every byte of it has arrived. For writing, `B` is
/// anything that lends `&[u8]`.
///
/// # Examples
///
/// ```
/// use duologue::io::Cursor;
///
/// let cursor = Cursor::new(vec![0; 8]);
/// assert_eq!(cursor.position(), 0);
/// assert_eq!(cursor.remaining(), 8);
/// assert!(cursor.filled().is_empty()); // bytes that never arrived cannot be seen
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor<B> {
    buffer: B,
    position: usize,
}

impl<B: AsRef<[u8]>> Cursor<B> {
    /// A cursor at the start of `buffer`.
    pub const fn new(buffer: B) -> Self {
        Self { buffer, position: 0 }
    }

    /// Bytes read or written so far.
    pub fn position(&self) -> usize {
        self.position.min(self.len())
    }

    /// Bytes between the position and the end of the buffer.
    pub fn remaining(&self) -> usize {
        self.len().saturating_sub(self.position)
    }

    /// Length of the buffer in bytes.
    fn len(&self) -> usize {
        self.buffer.as_ref().len()
    }

    /// Whether the position has reached the end; true from the start for an empty buffer.
    pub fn is_complete(&self) -> bool {
        self.remaining() == 0
    }

    /// What lies before the position: the bytes that have arrived, or that have been written.
    pub fn filled(&self) -> &[u8] {
        self.buffer.as_ref().get(..self.position).unwrap_or_else(|| self.buffer.as_ref())
    }

    /// What lies behind the position: the bytes still to write.
    pub(super) fn unwritten(&self) -> &[u8] {
        self.buffer.as_ref().get(self.position..).unwrap_or_default()
    }

    /// Counts `n` bytes as moved.
    pub(super) fn advance(&mut self, n: usize) {
        self.position = self.position.saturating_add(n).min(self.len());
    }

    /// Goes back to the start, to use the buffer once more.
    pub fn rewind(&mut self) {
        self.position = 0;
    }
}

impl<B> Cursor<B> {
    /// The whole buffer, the part behind the position included.
    pub const fn buffer(&self) -> &B {
        &self.buffer
    }

    /// Gives the buffer back; whoever wants only what arrived asks [`filled`](Self::filled) first.
    pub fn into_buffer(self) -> B {
        self.buffer
    }
}

// Never the bytes: they are the peer's, and not meant for logs.
impl<B> fmt::Debug for Cursor<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("position", &self.position).finish_non_exhaustive()
    }
}

/// What [`read_all`](super::read_all) can fill: a [`Cursor`], a [`SizedCursor`](super::SizedCursor)
/// or a [`SomeCursor`].
///
/// Sealed: its contract with the future (an empty slice means complete) is not for other crates.
pub trait Fill: sealed::Fill {}

pub(super) mod sealed {
    use super::SizeError;

    pub trait Fill {
        /// Room for bytes to come; empty when nothing is missing.
        fn unfilled(&mut self) -> Result<&mut [u8], SizeError>;
        /// Takes the first `n` bytes of the room as arrived.
        fn advance(&mut self, n: usize);
        /// Bytes that have arrived and are still held.
        fn filled(&self) -> usize;
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Fill for Cursor<B> {}

impl<B: AsRef<[u8]> + AsMut<[u8]>> sealed::Fill for Cursor<B> {
    #[inline]
    fn unfilled(&mut self) -> Result<&mut [u8], SizeError> {
        Ok(self.buffer.as_mut().get_mut(self.position..).unwrap_or_default())
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        Self::advance(self, n);
    }

    fn filled(&self) -> usize {
        self.position()
    }
}

/// A cursor that is complete as soon as it holds anything: the next bytes, however few.
///
/// [`clear`](Self::clear) makes it ready for the next ones.
///
/// # Examples
///
/// ```
/// use duologue::io::{SomeCursor, read_all};
///
/// # futures::executor::block_on(async {
/// let mut cursor = SomeCursor::new([0; 1024]);
/// read_all(&mut &b"as much as is there"[..], &mut cursor).await?;
/// assert_eq!(cursor.filled(), b"as much as is there");
/// # Ok::<(), duologue::io::ReadError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct SomeCursor<B> {
    inner: Cursor<B>,
}

impl<B: AsRef<[u8]>> SomeCursor<B> {
    /// An empty cursor over `buffer`, whose length is the most that one read can bring.
    pub const fn new(buffer: B) -> Self {
        Self { inner: Cursor::new(buffer) }
    }

    /// The bytes that have arrived since it was cleared.
    pub fn filled(&self) -> &[u8] {
        self.inner.filled()
    }

    /// Forgets what has arrived.
    pub fn clear(&mut self) {
        self.inner.rewind();
    }
}

impl<B> fmt::Debug for SomeCursor<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SomeCursor").field(&self.inner).finish()
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Fill for SomeCursor<B> {}

impl<B: AsRef<[u8]> + AsMut<[u8]>> sealed::Fill for SomeCursor<B> {
    fn unfilled(&mut self) -> Result<&mut [u8], SizeError> {
        if self.inner.position() > 0 {
            return Ok(&mut []);
        }
        sealed::Fill::unfilled(&mut self.inner)
    }

    fn advance(&mut self, n: usize) {
        self.inner.advance(n);
    }

    fn filled(&self) -> usize {
        self.inner.position()
    }
}
