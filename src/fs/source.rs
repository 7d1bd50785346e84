use core::fmt;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
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
    file: File,
    /// What it was when it was opened.
    opened: Status,
    position: u64,
    /// The hasher has the bytes before this.
    hashed: u64,
    hasher: blake3::Hasher,
    /// Pieces that were handed out, the oldest first.
    pool: VecDeque<Bytes>,
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
            Self::NotAFile => f.write_str("not a regular file"),
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
        let opened = disk::status_of(&file)?;
        Ok(Self {
            file,
            opened,
            position: 0,
            hashed: 0,
            hasher: blake3::Hasher::new(),
            pool: VecDeque::new(),
        })
    }

    /// Its size, when it was opened.
    pub fn size(&self) -> u64 {
        self.opened.len
    }

    /// The offset of the next piece.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// An offer of it: its size, when it was modified, and that it is seekable.
    pub fn offer<'a>(&self, name: impl Into<std::borrow::Cow<'a, str>>) -> Offer<'a> {
        let mut offer = Offer::new(name).size(self.size()).seekable();
        offer.modified = self.opened.modified.and_then(milliseconds);
        offer
    }

    /// The next piece, of 256 KiB unless it is the last; `None` at the end. Its memory is used again
    /// once it was dropped, with all slices of it.
    ///
    /// # Errors
    ///
    /// [`SourceError::Changed`], [`SourceError::Storage`].
    pub fn read(&mut self) -> Result<Option<Bytes>, SourceError> {
        let left = self.size().saturating_sub(self.position);
        if left == 0 {
            self.check_unchanged()?;
            return Ok(None);
        }
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let mut buffer = self.buffer();
        self.fill(self.position, buffer.get_mut(..wanted).unwrap_or_default())?;
        self.check_unchanged()?;
        buffer.truncate(wanted);
        let piece = buffer.freeze();
        let end = self.position.saturating_add(wanted as u64);
        if (self.position..end).contains(&self.hashed) {
            let known = usize::try_from(self.hashed.saturating_sub(self.position)).unwrap_or(0);
            self.hasher.update(piece.get(known..).unwrap_or_default());
            self.hashed = end;
        }
        self.position = end;
        self.pool.push_back(piece.clone());
        Ok(Some(piece))
    }

    /// Goes to an offset, up to the size.
    ///
    /// # Errors
    ///
    /// [`SourceError::OutOfRange`].
    pub fn seek(&mut self, offset: u64) -> Result<(), SourceError> {
        let size = self.size();
        if offset > size {
            return Err(SourceError::OutOfRange { size });
        }
        self.position = offset;
        Ok(())
    }

    /// The BLAKE3 digest of what comes before an offset: what ACCEPT's is compared with. The
    /// position stays.
    ///
    /// # Errors
    ///
    /// [`SourceError::OutOfRange`], [`SourceError::Changed`], [`SourceError::Storage`].
    pub fn prefix_digest(&mut self, offset: u64) -> Result<Digest, SourceError> {
        let size = self.size();
        if offset > size {
            return Err(SourceError::OutOfRange { size });
        }
        if self.hashed > offset {
            let mut hasher = blake3::Hasher::new();
            self.hash(&mut hasher, 0, offset)?;
            return Ok(Digest::Blake3(*hasher.finalize().as_bytes()));
        }
        let mut hasher = core::mem::take(&mut self.hasher);
        let hashed = self.hash(&mut hasher, self.hashed, offset);
        self.hasher = hasher;
        if let Err(error) = hashed {
            // The hasher has too much.
            (self.hasher, self.hashed) = (blake3::Hasher::new(), 0);
            return Err(error);
        }
        self.hashed = offset;
        Ok(Digest::Blake3(*self.hasher.finalize().as_bytes()))
    }

    /// The size and the digest of all of it, for FINISH: what was not read yet is hashed first.
    ///
    /// # Errors
    ///
    /// [`SourceError::Changed`], [`SourceError::Storage`].
    pub fn finish(&mut self) -> Result<(u64, Digest), SourceError> {
        let digest = self.prefix_digest(self.size())?;
        self.check_unchanged()?;
        Ok((self.size(), digest))
    }

    fn hash(&self, hasher: &mut blake3::Hasher, mut from: u64, to: u64) -> Result<(), SourceError> {
        let mut buffer = vec![0; PIECE];
        while from < to {
            let left = to.saturating_sub(from);
            let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let room = buffer.get_mut(..wanted).unwrap_or_default();
            self.fill(from, room)?;
            hasher.update(room);
            from = from.saturating_add(wanted as u64);
        }
        self.check_unchanged()
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
        let is_same = (now.len, now.modified) == (self.opened.len, self.opened.modified);
        if is_same { Ok(()) } else { Err(SourceError::Changed) }
    }

    /// The memory of a piece that nobody has any more, or new one.
    fn buffer(&mut self) -> BytesMut {
        let free = self.pool.iter().position(Bytes::is_unique);
        let piece = free.and_then(|index| self.pool.remove(index));
        if self.pool.len() >= POOL {
            self.pool.pop_front();
        }
        let mut buffer = piece.and_then(|piece| piece.try_into_mut().ok()).unwrap_or_default();
        buffer.resize(PIECE, 0);
        buffer
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
            .field("position", &self.position)
            .field("hashed", &self.hashed)
            .finish_non_exhaustive()
    }
}
