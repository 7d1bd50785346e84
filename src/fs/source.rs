use core::fmt;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use std::vec;

use bytes::{Bytes, BytesMut};

use super::disk;
use super::store::Status;
use crate::wire::{Digest, Offer, TransferCode};

/// Bytes of a piece.
const PIECE: usize = 256 * 1024;
/// Pieces that are remembered so that their memory can be used again.
const POOL: usize = 16;

/// A file that is sent: opened once, read in order or from anywhere, and hashed on the way.
///
/// All calls block, and are for a thread that may.
///
/// # Examples
///
/// ```
/// use duologue::fs::Source;
/// use duologue::wire::Digest;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("greeting.txt");
/// std::fs::write(&path, "hello").unwrap();
/// let mut source = Source::open(&path)?;
/// assert_eq!(source.offer("greeting.txt").size, Some(5));
/// while let Some(piece) = source.read()? {
///     assert_eq!(piece, "hello");
/// }
/// assert_eq!(source.finish()?, (5, Digest::Blake3(*blake3::hash(b"hello").as_bytes())));
/// # Ok::<(), duologue::fs::SourceError>(())
/// ```
pub struct Source {
    reader: SourceReader,
    digest: SourceDigest,
}

/// A file, and what it was when it was opened.
#[derive(Clone)]
struct Opened {
    file: Arc<File>,
    status: Status,
}

/// The half of a [`Source`] that reads pieces.
pub(super) struct SourceReader {
    opened: Opened,
    position: u64,
    /// Pieces that were handed out, the oldest first.
    pool: VecDeque<Bytes>,
}

/// The other half, which hashes them, on another thread if need be.
pub(super) struct SourceDigest {
    opened: Opened,
    /// The hasher has the bytes before this.
    hashed: u64,
    hasher: blake3::Hasher,
}

/// Why a file cannot be sent, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceError {
    /// It is not a regular file.
    NotAFile,
    /// It is another, longer, shorter or later than when it was opened.
    Changed,
    /// The offset is beyond its end.
    OutOfRange {
        /// Its size.
        size: u64,
    },
    /// The folder has more entries than this.
    TooMany {
        /// Most entries.
        max: u32,
    },
    /// A call failed.
    Storage {
        /// The kind of its error.
        kind: io::ErrorKind,
        /// The operating system's code, where there is one.
        code: Option<i32>,
    },
}

impl SourceError {
    /// What the peer is told: the code of a CANCEL.
    pub fn code(&self) -> TransferCode {
        match self {
            Self::Changed => TransferCode::SOURCE_CHANGED,
            _ => TransferCode::CANCELLED,
        }
    }

    /// Whether the file can be sent when it is opened anew.
    pub fn can_retry(&self) -> bool {
        matches!(self, Self::Changed | Self::Storage { .. })
    }
}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory => Self::NotAFile,
            kind => Self::Storage { kind, code: error.raw_os_error() },
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFile => f.write_str("not a regular file; a folder goes by send_tree"),
            Self::Changed => f.write_str("the file changed while it was sent"),
            Self::OutOfRange { size } => write!(f, "beyond the file's {size} bytes"),
            Self::TooMany { max } => write!(f, "more than {max} entries"),
            Self::Storage { code: Some(code), .. } => {
                write!(f, "reading failed: {}", io::Error::from_raw_os_error(*code))
            }
            Self::Storage { kind, code: None } => write!(f, "reading failed: {kind}"),
        }
    }
}

impl core::error::Error for SourceError {}

impl Source {
    /// Opens a regular file. Links that lead to it are followed; it does not wait for anything.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotAFile`], [`SourceError::Storage`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        Self::new(disk::open_source(path.as_ref())?)
    }

    pub(super) fn new(file: File) -> Result<Self, SourceError> {
        let status = disk::status_of(&file)?;
        Ok(Self::of(Opened { file: Arc::new(file), status }))
    }

    /// Its size, when it was opened.
    pub fn size(&self) -> u64 {
        self.reader.opened.size()
    }

    /// The offset of the next piece.
    pub fn position(&self) -> u64 {
        self.reader.position
    }

    /// An offer of it: its size, when it was modified, and that it is seekable.
    pub fn offer<'a>(&self, name: impl Into<std::borrow::Cow<'a, str>>) -> Offer<'a> {
        let mut offer = Offer::new(name).size(self.size()).seekable();
        offer.modified = self.reader.opened.status.modified.and_then(milliseconds);
        offer
    }

    /// The next piece, of 256 KiB unless it is the last; `None` at the end. Its memory is used again
    /// once it was dropped, with all slices of it.
    ///
    /// # Errors
    ///
    /// [`SourceError::Changed`], [`SourceError::Storage`].
    pub fn read(&mut self) -> Result<Option<Bytes>, SourceError> {
        let at = self.position();
        let piece = self.reader.read()?;
        if let Some(piece) = &piece {
            self.digest.update(at, piece);
        }
        Ok(piece)
    }

    /// Goes to an offset, up to the size.
    ///
    /// # Errors
    ///
    /// [`SourceError::OutOfRange`].
    pub fn seek(&mut self, offset: u64) -> Result<(), SourceError> {
        self.reader.seek(offset)
    }

    /// The BLAKE3 digest of what comes before an offset: what ACCEPT's is compared with. The
    /// position stays.
    ///
    /// # Errors
    ///
    /// [`SourceError::OutOfRange`], [`SourceError::Changed`], [`SourceError::Storage`].
    pub fn prefix_digest(&mut self, offset: u64) -> Result<Digest, SourceError> {
        self.digest.opened.check_offset(offset)?;
        if self.digest.hashed > offset {
            return SourceDigest::new(self.digest.opened.clone()).at(offset);
        }
        self.digest.at(offset)
    }

    /// The size and the digest of all of it, for FINISH: what was not read yet is hashed first.
    ///
    /// # Errors
    ///
    /// [`SourceError::Changed`], [`SourceError::Storage`].
    pub fn finish(&mut self) -> Result<(u64, Digest), SourceError> {
        self.digest.finish()
    }

    /// The same open file, from its beginning.
    pub(super) fn again(&self) -> Self {
        Self::of(self.digest.opened.clone())
    }

    fn of(opened: Opened) -> Self {
        let digest = SourceDigest::new(opened.clone());
        Self { reader: SourceReader { opened, position: 0, pool: VecDeque::new() }, digest }
    }

    pub(super) fn into_halves(self) -> (SourceReader, SourceDigest) {
        (self.reader, self.digest)
    }
}

impl SourceReader {
    /// The offset of the next piece.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn read(&mut self) -> Result<Option<Bytes>, SourceError> {
        let left = self.opened.size().saturating_sub(self.position);
        if left == 0 {
            self.opened.check_unchanged()?;
            return Ok(None);
        }
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let mut buffer = self.buffer(wanted);
        self.opened.fill(self.position, &mut buffer)?;
        self.opened.check_unchanged()?;
        let piece = buffer.freeze();
        self.position = self.position.saturating_add(wanted as u64);
        self.pool.push_back(piece.clone());
        Ok(Some(piece))
    }

    pub(super) fn seek(&mut self, offset: u64) -> Result<(), SourceError> {
        self.opened.check_offset(offset)?;
        self.position = offset;
        Ok(())
    }

    /// Whether all of it was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.position == self.opened.size()
    }

    /// The memory of a piece that nobody has any more, or new one: no more than a short file needs.
    fn buffer(&mut self, len: usize) -> BytesMut {
        let free = self.pool.iter().position(Bytes::is_unique);
        let piece = free.and_then(|index| self.pool.remove(index));
        if self.pool.len() >= POOL {
            self.pool.pop_front();
        }
        let mut buffer = piece.and_then(|piece| piece.try_into_mut().ok()).unwrap_or_default();
        buffer.resize(len, 0);
        buffer
    }
}

impl SourceDigest {
    fn new(opened: Opened) -> Self {
        Self { opened, hashed: 0, hasher: blake3::Hasher::new() }
    }

    /// Bytes that it has.
    pub(super) fn hashed(&self) -> u64 {
        self.hashed
    }

    /// What is at an offset; what is known already is left out, and what comes later is not taken.
    pub(super) fn update(&mut self, offset: u64, piece: &[u8]) {
        let end = offset.saturating_add(piece.len() as u64);
        if (offset..end).contains(&self.hashed) {
            let known = usize::try_from(self.hashed.saturating_sub(offset)).unwrap_or(0);
            self.hasher.update(piece.get(known..).unwrap_or_default());
            self.hashed = end;
        }
    }

    /// Reads what it lacks before an offset.
    pub(super) fn catch_up(&mut self, to: u64) -> Result<(), SourceError> {
        if self.hashed >= to {
            return Ok(());
        }
        let piece = |left: u64| usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let mut buffer = vec![0; piece(to.saturating_sub(self.hashed))];
        while self.hashed < to {
            let wanted = piece(to.saturating_sub(self.hashed));
            let room = buffer.get_mut(..wanted).unwrap_or_default();
            self.opened.fill(self.hashed, room)?;
            self.hasher.update(room);
            self.hashed = self.hashed.saturating_add(wanted as u64);
        }
        self.opened.check_unchanged()
    }

    /// The digest of what comes before an offset, which it has not passed.
    pub(super) fn at(&mut self, offset: u64) -> Result<Digest, SourceError> {
        self.opened.check_offset(offset)?;
        self.catch_up(offset)?;
        Ok(Digest::Blake3(*self.hasher.finalize().as_bytes()))
    }

    pub(super) fn finish(&mut self) -> Result<(u64, Digest), SourceError> {
        let size = self.opened.size();
        let digest = self.at(size)?;
        self.opened.check_unchanged()?;
        Ok((size, digest))
    }
}

impl Opened {
    fn size(&self) -> u64 {
        self.status.len
    }

    fn check_offset(&self, offset: u64) -> Result<(), SourceError> {
        let size = self.size();
        if offset > size { Err(SourceError::OutOfRange { size }) } else { Ok(()) }
    }

    /// Reads exactly so much; the file was that long when it was opened.
    fn fill(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let mut filled = 0_usize;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match disk::read_at(&self.file, offset.saturating_add(filled as u64), room) {
                Ok(0) => return Err(SourceError::Changed),
                Ok(n) => filled = filled.saturating_add(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn check_unchanged(&self) -> Result<(), SourceError> {
        let now = disk::status_of(&self.file)?;
        let is_same = (now.len, now.modified) == (self.status.len, self.status.modified);
        if is_same { Ok(()) } else { Err(SourceError::Changed) }
    }
}

pub(super) fn milliseconds(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().filter(|&ms| ms <= crate::wire::MAX_INTEGER)
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("size", &self.size())
            .field("position", &self.position())
            .field("hashed", &self.digest.hashed)
            .finish_non_exhaustive()
    }
}
