use futures::io::{AsyncRead, AsyncWrite};

use super::cursor::Fill;
use super::{Cursor, ReadAll, WriteAllChunked, read_all_with, write_all_chunked_with};
use crate::time::Timer;

/// [`read_all`](super::read_all) as a method of every reader.
///
/// Its names differ from those of `futures::AsyncReadExt`, so both traits can be in scope.
///
/// # Examples
///
/// ```
/// use duologue::io::{Cursor, ReadAllExt};
///
/// # futures::executor::block_on(async {
/// let mut cursor = Cursor::new([0; 5]);
/// (&b"hello"[..]).read_all(&mut cursor).await?;
/// assert_eq!(cursor.filled(), b"hello");
/// # Ok::<(), duologue::io::ReadError>(())
/// # }).unwrap();
/// ```
pub trait ReadAllExt: AsyncRead {
    /// Fills `cursor`, waiting by the default timer; see [`read_all`](super::read_all).
    ///
    /// # Errors
    ///
    /// [`ReadError`](super::ReadError), which says how many bytes have arrived.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the cursor.
    #[cfg(feature = "async-io")]
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    fn read_all<'a, C: Fill + ?Sized>(
        &'a mut self,
        cursor: &'a mut C,
    ) -> ReadAll<'a, Self, C, crate::time::AsyncIoTimer>
    where
        Self: Unpin,
    {
        super::read_all(self, cursor)
    }

    /// Fills `cursor`, waiting by `timer`; see [`read_all_with`].
    ///
    /// # Errors
    ///
    /// [`ReadError`](super::ReadError), which says how many bytes have arrived.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the cursor.
    fn read_all_with<'a, C: Fill + ?Sized, T: Timer>(
        &'a mut self,
        cursor: &'a mut C,
        timer: T,
    ) -> ReadAll<'a, Self, C, T>
    where
        Self: Unpin,
    {
        read_all_with(self, cursor, timer)
    }
}

impl<R: AsyncRead + ?Sized> ReadAllExt for R {}

/// [`write_all_chunked`](super::write_all_chunked) as a method of every writer.
///
/// Its names differ from those of `futures::AsyncWriteExt`, so both traits can be in scope.
///
/// # Examples
///
/// ```
/// use duologue::io::{Cursor, WriteAllExt};
///
/// # futures::executor::block_on(async {
/// let mut stream = Vec::new();
/// stream.write_all_chunked(&mut Cursor::new(b"hello")).await?;
/// assert_eq!(stream, b"hello");
/// # Ok::<(), duologue::io::WriteError>(())
/// # }).unwrap();
/// ```
pub trait WriteAllExt: AsyncWrite {
    /// Writes what is left of `cursor`, waiting by the default timer; see
    /// [`write_all_chunked`](super::write_all_chunked).
    ///
    /// # Errors
    ///
    /// [`WriteError`](super::WriteError), which says how many bytes were taken.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the cursor.
    #[cfg(feature = "async-io")]
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    fn write_all_chunked<'a, B: AsRef<[u8]>>(
        &'a mut self,
        cursor: &'a mut Cursor<B>,
    ) -> WriteAllChunked<'a, Self, B, crate::time::AsyncIoTimer>
    where
        Self: Unpin,
    {
        super::write_all_chunked(self, cursor)
    }

    /// Writes what is left of `cursor`, waiting by `timer`; see [`write_all_chunked_with`].
    ///
    /// # Errors
    ///
    /// [`WriteError`](super::WriteError), which says how many bytes were taken.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the progress is in the cursor.
    fn write_all_chunked_with<'a, B: AsRef<[u8]>, T: Timer>(
        &'a mut self,
        cursor: &'a mut Cursor<B>,
        timer: T,
    ) -> WriteAllChunked<'a, Self, B, T>
    where
        Self: Unpin,
    {
        write_all_chunked_with(self, cursor, timer)
    }
}

impl<W: AsyncWrite + ?Sized> WriteAllExt for W {}
