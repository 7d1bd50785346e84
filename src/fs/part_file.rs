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
use std::sync::Arc;

use blocking::{Unblock, unblock};
use futures::io::{AsyncWrite, AsyncWriteExt};

use super::folder::Folder;
use super::{Action, Error};

/// Bytes on their way to the thread that writes them.
const WRITE_BEHIND: usize = 1024 * 1024;

/// A file that is being received, under a temporary name, until it is published.
///
/// Bytes are written through [`AsyncWrite`], at most 1 MiB ahead of the disk.
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
    temporary: Temporary,
    path: PathBuf,
}

/// The temporary name, removed when dropped.
struct Temporary {
    folder: Arc<Folder>,
    name: String,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a publication there is nothing under that name; nobody is left to tell otherwise.
        let _ = self.folder.remove(&self.name);
    }
}

impl PartFile {
    /// The largest number that [`publish`](Self::publish) appends to a taken name: 999.
    pub const MAX_NUMBER: u32 = 999;

    /// Creates an empty temporary file in `folder`, which must exist.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] when the folder cannot be opened or the file not be created.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a file whose creation is under way when the future is dropped is removed again.
    pub async fn create(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let path = folder.as_ref().to_owned();
        unblock(move || {
            let folder = Folder::open(&path).map_err(Error::storage(Action::OpenFolder))?;
            let folder = Arc::new(folder);
            let (file, temporary) =
                create_temporary(&folder).map_err(Error::storage(Action::Create))?;
            Ok(Self { file: Unblock::with_capacity(WRITE_BEHIND, file), temporary, path })
        })
        .await
    }

    /// Writes the file through to the disk, gives it the name `name` and returns its path.
    ///
    /// A name that is taken is never overwritten: the file becomes `name (1).ext`, then
    /// `name (2).ext`, up to [`MAX_NUMBER`](Self::MAX_NUMBER). When this returns, file and name
    /// survive a loss of power (as far as the disk keeps its word).
    ///
    /// # Errors
    ///
    /// [`Error::Name`] when `name` is not one plain component, [`Error::Collisions`], and
    /// [`Error::Storage`]; the temporary file is removed. After a failed [`Action::SyncFolder`] the
    /// file has its name, but may lose it with the power.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe in that the file is afterwards either whole under its final name or not there.
    pub async fn publish(mut self, name: &str) -> Result<PathBuf, Error> {
        if !is_plain(name) {
            return Err(Error::Name);
        }
        self.file.flush().await.map_err(Error::storage(Action::Write))?;
        let synced = self.file.with_mut(|file| file.sync_all()).await;
        synced.map_err(Error::storage(Action::Sync))?;
        let Self { temporary, path, .. } = self;
        let name = name.to_owned();
        unblock(move || {
            let name = rename_numbered(&temporary, &name)?;
            temporary.folder.sync().map_err(Error::storage(Action::SyncFolder))?;
            Ok(path.join(name))
        })
        .await
    }
}

fn create_temporary(folder: &Arc<Folder>) -> io::Result<(File, Temporary)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".duologue-{}-{number}.part", std::process::id());
        match folder.create_new(&name) {
            Ok(file) => return Ok((file, Temporary { folder: Arc::clone(folder), name })),
            // Left behind by a process that had the same id.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

fn rename_numbered(temporary: &Temporary, name: &str) -> Result<String, Error> {
    for number in 0..=PartFile::MAX_NUMBER {
        let candidate = numbered(name, number);
        match temporary.folder.rename_no_replace(&temporary.name, &candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::storage(Action::Publish)(error)),
        }
    }
    Err(Error::Collisions)
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

fn is_plain(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0'])
}

impl AsyncWrite for PartFile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
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
