use core::fmt;
use std::io;

use super::NameError;
use crate::wire::TransferCode;

/// Why a file could not be received into a folder.
///
/// No peer's text is in it, so that it may be shown and told to the peer.
///
/// # Examples
///
/// ```
/// use duologue::fs::Error;
/// use duologue::wire::TransferCode;
///
/// assert_eq!(Error::Busy.code(), TransferCode::BUSY);
/// assert!(Error::Busy.can_retry());
/// assert_eq!(Error::TooLarge { max: 7 }.to_string(), "larger than 7 bytes");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The caller: [`PartFile::check_name`](super::PartFile::check_name) refuses the name.
    Name,
    /// The caller: [`PartFile::MAX_NUMBER`](super::PartFile::MAX_NUMBER) numbered names are taken
    /// already.
    Collisions,
    /// The peer: the name is not one that is used here.
    FileName(NameError),
    /// The peer: something has the name, or an ending of it, already.
    Exists,
    /// The peer: the file is larger than is taken, or than was announced.
    TooLarge {
        /// Most bytes.
        max: u64,
    },
    /// The peer: more files than were announced, or than are taken at once.
    TooMany {
        /// Most files.
        max: u32,
    },
    /// The peer, or all of them: too many bytes in all.
    Quota {
        /// Most bytes.
        max: u64,
    },
    /// There would be less room left on the disk than is to be kept free.
    Reserve,
    /// The same file of the same peer is being received by another transfer, or another program.
    Busy,
    /// Another transfer of the same peer took the part over while this one was detached.
    Superseded,
    /// The peer: a newer offer of its is stored under this name, and is not
    /// [replaced](super::Collision::Replace) by an older one.
    Outdated,
    /// Some of the folder is here: it is to be offered again, with digests of its files.
    KnownInPart,
    /// What was kept of the file is not what it was; it is dropped, and the next offer begins at 0.
    PartDiffers,
    /// The peer: the content is not what the digest says, or two digests differ.
    DigestDiffers,
    /// The peer: there is no digest, though one is required.
    DigestMissing,
    /// The peer: the digest is of an algorithm that cannot be computed here.
    DigestUnsupported,
    /// The peer: more or fewer bytes than were announced.
    SizeDiffers {
        /// Bytes that were announced.
        expected: u64,
        /// Bytes that came.
        received: u64,
    },
    /// The peer: a directory where a file was expected, or the other way round.
    Directory,
    /// The system: a call failed.
    Storage {
        /// What was being done.
        action: Action,
        /// The kind of its error.
        kind: io::ErrorKind,
        /// The operating system's code, where there is one.
        code: Option<i32>,
    },
}

/// What was being done when the system refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Opening the folder.
    OpenFolder,
    /// Creating the temporary file.
    Create,
    /// Finding out what there is already.
    Inspect,
    /// Creating a folder.
    CreateFolder,
    /// Writing what had arrived.
    Write,
    /// Writing the file through to the disk.
    Sync,
    /// Giving the file its final name.
    Publish,
    /// Writing the folder through to the disk; the file has its final name already.
    SyncFolder,
}

impl Error {
    pub(super) fn storage(action: Action) -> impl Fn(io::Error) -> Self {
        move |error| Self::Storage { action, kind: error.kind(), code: error.raw_os_error() }
    }

    /// A name that is taken is not told as such while a disk that failed leaves it unclear by what.
    pub(super) fn or_unclear(self, unclear: Option<Self>) -> Self {
        match unclear {
            Some(unclear) if self == Self::Exists => unclear,
            _ => self,
        }
    }

    /// Whether it is about what has a name, which we may not look at or cannot make survive: another name
    /// will do.
    pub(super) fn is_of_its_name(&self) -> bool {
        matches!(
            self,
            Self::Storage { action: Action::Inspect, kind: io::ErrorKind::PermissionDenied, .. }
                | Self::Storage { action: Action::Sync, .. }
        )
    }

    /// Whether another name, or the same one later, may do for a file that is whole.
    pub(super) fn can_choose_again(&self) -> bool {
        matches!(self, Self::Name | Self::Collisions) || self.can_retry()
    }

    /// Whether the same call can succeed later, once there is room on the disk, say.
    ///
    /// So it is for what is [`Busy`](Self::Busy) or [`Superseded`](Self::Superseded), or waits for a quota or
    /// for room. Not after a failed [`Action::Write`], [`Action::Sync`] or [`Action::SyncFolder`]: the system
    /// may have dropped what it could not write.
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Storage { action, .. } => {
                !matches!(action, Action::Write | Action::Sync | Action::SyncFolder)
            }
            Self::Quota { .. }
            | Self::Reserve
            | Self::Busy
            | Self::Superseded
            | Self::KnownInPart
            | Self::PartDiffers => true,
            _ => false,
        }
    }

    /// What the peer is told: the code of a REJECT or a VERDICT.
    pub fn code(&self) -> TransferCode {
        match self {
            Self::Name | Self::FileName(_) | Self::Directory => TransferCode::NAME_REFUSED,
            Self::Collisions | Self::Exists | Self::Outdated => TransferCode::EXISTS,
            Self::TooLarge { .. } => TransferCode::TOO_LARGE,
            Self::TooMany { .. } => TransferCode::DECLINED,
            Self::Quota { .. } | Self::Reserve => TransferCode::NO_SPACE,
            Self::Busy | Self::Superseded => TransferCode::BUSY,
            Self::DigestDiffers | Self::DigestMissing | Self::DigestUnsupported => {
                TransferCode::DIGEST_DIFFERS
            }
            Self::SizeDiffers { .. } => TransferCode::SIZE_DIFFERS,
            Self::KnownInPart => TransferCode::KNOWN_IN_PART,
            Self::PartDiffers => TransferCode::STORAGE_FAILED,
            Self::Storage { kind, .. } => match kind {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => TransferCode::NO_SPACE,
                io::ErrorKind::FileTooLarge => TransferCode::TOO_LARGE,
                _ => TransferCode::STORAGE_FAILED,
            },
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenFolder => "opening the folder",
            Self::Create => "creating the temporary file",
            Self::Inspect => "looking at the folder",
            Self::CreateFolder => "creating a folder",
            Self::Write => "writing",
            Self::Sync => "writing the file through to the disk",
            Self::Publish => "giving the file its name",
            Self::SyncFolder => "writing the folder through to the disk",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("the name is not one plain file name"),
            Self::Collisions => f.write_str("every numbered name is taken"),
            Self::FileName(error) => error.fmt(f),
            Self::Exists => f.write_str("the name is taken"),
            Self::TooLarge { max } => write!(f, "larger than {max} bytes"),
            Self::TooMany { max } => write!(f, "more than {max} files"),
            Self::Quota { max } => write!(f, "more than {max} bytes in all"),
            Self::Reserve => f.write_str("not enough room on the disk"),
            Self::Busy => f.write_str("the same file is being received already"),
            Self::Superseded => f.write_str("another transfer goes on with the file"),
            Self::Outdated => f.write_str("a newer file has the name"),
            Self::KnownInPart => f.write_str("some of it is here: offer it with digests"),
            Self::PartDiffers => f.write_str("what was kept of the file is not what it was"),
            Self::DigestDiffers => f.write_str("the content is not what the digest says"),
            Self::DigestMissing => f.write_str("no digest of the content came"),
            Self::DigestUnsupported => f.write_str("a digest that cannot be computed here"),
            Self::SizeDiffers { expected, received } => {
                write!(f, "{received} bytes came instead of {expected}")
            }
            Self::Directory => f.write_str("a directory in place of a file, or a file of one"),
            Self::Storage { action, code: Some(code), .. } => {
                write!(f, "{action} failed: {}", io::Error::from_raw_os_error(*code))
            }
            Self::Storage { action, kind, code: None } => write!(f, "{action} failed: {kind}"),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::FileName(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Name | Error::FileName(_) => io::ErrorKind::InvalidInput,
            Error::Collisions | Error::Exists | Error::Outdated => io::ErrorKind::AlreadyExists,
            Error::Storage { kind, .. } => *kind,
            Error::TooLarge { .. } => io::ErrorKind::FileTooLarge,
            Error::Quota { .. } => io::ErrorKind::QuotaExceeded,
            Error::Reserve => io::ErrorKind::StorageFull,
            Error::Busy | Error::Superseded => io::ErrorKind::ResourceBusy,
            Error::SizeDiffers { .. } | Error::DigestDiffers => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
