use core::fmt;
use std::io;

/// Why a file could not be received into a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The caller: [`PartFile::check_name`](super::PartFile::check_name) refuses the name.
    Name,
    /// The caller: [`PartFile::MAX_NUMBER`](super::PartFile::MAX_NUMBER) numbered names are taken
    /// already.
    Collisions,
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

    /// Whether another name, or the same one later, may do for a file that is whole.
    pub(super) fn can_choose_again(&self) -> bool {
        matches!(self, Self::Name | Self::Collisions) || self.can_retry()
    }

    /// Whether the same call can succeed later, once there is room on the disk, say.
    ///
    /// Not after a failed [`Action::Write`], [`Action::Sync`] or [`Action::SyncFolder`]: the system
    /// may have dropped what it could not write.
    pub fn can_retry(&self) -> bool {
        let Self::Storage { action, .. } = self else { return false };
        matches!(action, Action::OpenFolder | Action::Create | Action::Publish)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenFolder => "opening the folder",
            Self::Create => "creating the temporary file",
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
            Self::Storage { action, code: Some(code), .. } => {
                write!(f, "{action} failed: {}", io::Error::from_raw_os_error(*code))
            }
            Self::Storage { action, kind, code: None } => write!(f, "{action} failed: {kind}"),
        }
    }
}

impl core::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Name => io::ErrorKind::InvalidInput,
            Error::Collisions => io::ErrorKind::AlreadyExists,
            Error::Storage { kind, .. } => *kind,
        };
        Self::new(kind, error)
    }
}
