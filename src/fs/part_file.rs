use core::fmt;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll};
use std::borrow::ToOwned;
use std::format;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::string::String;
use std::sync::{Arc, Mutex, PoisonError};

use blocking::{Unblock, unblock};
use futures::io::{AsyncWrite, AsyncWriteExt};

use super::folder::Folder;
use super::{Action, Error};

/// Bytes on their way to the thread that writes them.
const WRITE_BEHIND: usize = 1024 * 1024;

/// A file that is being received, under a temporary name, until it is published.
///
/// Bytes are written through [`AsyncWrite`], at most 1 MiB ahead of the disk; after
/// [`publish`](Self::publish) has been called a write fails with `BrokenPipe`.
/// [`publish`](Self::publish) gives the file its name; dropping it instead removes it. The temporary
/// name begins with a dot and ends in `.part`; a process that is killed leaves it behind.
///
/// The file is its owner's alone (mode 0600 on Unix).
///
/// # Examples
///
/// ```
/// use duologue::fs::PartFile;
/// use futures::AsyncWriteExt;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// # futures::executor::block_on(async {
/// let mut part = PartFile::create(folder).await?;
/// part.write_all(b"hello").await?;
/// assert!(!folder.join("greeting.txt").exists());
///
/// let path = part.publish("greeting.txt").await?;
/// assert_eq!(path, folder.join("greeting.txt"));
/// assert_eq!(std::fs::read(path)?, b"hello");
///
/// // The name is taken now: the next one is numbered.
/// let path = PartFile::create(folder).await?.publish("greeting.txt").await?;
/// assert_eq!(path, folder.join("greeting (1).txt"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct PartFile {
    file: Unblock<File>,
    temporary: Arc<Temporary>,
    path: PathBuf,
    /// Publishing has begun: the file takes no more bytes.
    sealed: bool,
}

/// The temporary name, removed when dropped.
struct Temporary {
    folder: Folder,
    name: String,
    /// The final name, once the file has it.
    published: Mutex<Option<String>>,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let published = self.published.get_mut().unwrap_or_else(PoisonError::into_inner);
        if published.is_none() {
            // Nobody is left who could be told that it did not work.
            let _ = self.folder.remove(&self.name);
        }
    }
}

impl PartFile {
    /// The largest number that [`publish`](Self::publish) appends to a taken name: 999.
    pub const MAX_NUMBER: u32 = 999;

    /// Checks a name as [`publish`](Self::publish) does, to refuse one before a file is received.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] unless it is one plain component of 1 to 255 bytes: not `.` or `..`, without
    /// `/`, `\` and NUL, and on Windows without `:`.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::fs::{Error, PartFile};
    ///
    /// assert_eq!(PartFile::check_name("report.pdf"), Ok(()));
    /// assert_eq!(PartFile::check_name("../report.pdf"), Err(Error::Name));
    /// ```
    pub fn check_name(name: &str) -> Result<(), Error> {
        let leads_elsewhere = matches!(name, "" | "." | "..")
            || name.contains(['/', '\\', '\0'])
            || (cfg!(windows) && name.contains(':'));
        if leads_elsewhere || name.len() > 255 { Err(Error::Name) } else { Ok(()) }
    }

    /// Creates an empty temporary file in `folder`, which must exist.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] when the folder cannot be opened or the file cannot be created.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a file whose creation is under way when the future is dropped is removed again.
    pub async fn create(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let path = folder.as_ref().to_owned();
        unblock(move || {
            let folder = Folder::open(&path).map_err(Error::storage(Action::OpenFolder))?;
            let (file, temporary) =
                create_temporary(folder).map_err(Error::storage(Action::Create))?;
            let file = Unblock::with_capacity(WRITE_BEHIND, file);
            Ok(Self { file, temporary: Arc::new(temporary), path, sealed: false })
        })
        .await
    }

    /// Writes the file through to the disk, gives it the name `name` and returns its path.
    ///
    /// A name that is taken is never overwritten: the file becomes `name (1).ext`, then
    /// `name (2).ext`, up to [`MAX_NUMBER`](Self::MAX_NUMBER). When this returns, file and name
    /// survive a loss of power (as far as the disk keeps its word).
    ///
    /// From the first call on no more bytes are taken. Called again after success it returns the
    /// same path.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] when [`check_name`](Self::check_name) refuses the name, and
    /// [`Error::Collisions`]: another name may do. [`Error::Storage`], see
    /// [`Error::can_retry`]. After a failed [`Action::SyncFolder`] the file has its name, but may
    /// lose it with the power. The bytes are kept until the `PartFile` is dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the file is either whole under its final name or not there, and another call
    /// goes on.
    pub async fn publish(&mut self, name: &str) -> Result<PathBuf, Error> {
        Self::check_name(name)?;
        self.sealed = true;
        self.file.flush().await.map_err(Error::storage(Action::Write))?;
        let synced = self.file.with_mut(|file| file.sync_all()).await;
        synced.map_err(Error::storage(Action::Sync))?;
        let (temporary, path) = (Arc::clone(&self.temporary), self.path.clone());
        let name = name.to_owned();
        unblock(move || {
            let name = temporary.publish(&name)?;
            temporary.folder.sync().map_err(Error::storage(Action::SyncFolder))?;
            Ok(path.join(name))
        })
        .await
    }
}

impl Temporary {
    /// Gives the file the first free one of its numbered names, once.
    fn publish(&self, name: &str) -> Result<String, Error> {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = &*published {
            return Ok(name.clone());
        }
        for number in 0..=PartFile::MAX_NUMBER {
            let candidate = numbered(name, number);
            match self.folder.rename_no_replace(&self.name, &candidate) {
                Ok(()) => {
                    *published = Some(candidate.clone());
                    return Ok(candidate);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::storage(Action::Publish)(error)),
            }
        }
        Err(Error::Collisions)
    }
}

fn create_temporary(folder: Folder) -> io::Result<(File, Temporary)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".duologue-{}-{number}.part", std::process::id());
        match folder.create_new(&name) {
            Ok(file) => return Ok((file, Temporary { folder, name, published: Mutex::new(None) })),
            // Left behind by a process that had the same id.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// `name.ext`, `name (1).ext`, `name (2).ext` and so on.
fn numbered(name: &str, number: u32) -> String {
    match (number, name.rsplit_once('.')) {
        (0, _) => name.to_owned(),
        (_, Some((stem, extension))) if !stem.is_empty() => {
            format!("{stem} ({number}).{extension}")
        }
        _ => format!("{name} ({number})"),
    }
}

impl AsyncWrite for PartFile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.sealed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.file).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_flush(cx)
    }

    /// Flushes; [`publish`](Self::publish) closes the file.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl fmt::Debug for PartFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartFile")
            .field("folder", &self.path)
            .field("temporary", &self.temporary.name)
            .finish_non_exhaustive()
    }
}
