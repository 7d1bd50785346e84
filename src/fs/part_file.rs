use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::borrow::ToOwned;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::string::String;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blocking::{Unblock, unblock};
use futures::io::AsyncWrite;

use super::disk::{self, Disk};
use super::name::numbered;
use super::part_id::fresh_name;
use super::store::Store;
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
    /// Bytes that were taken; as many must be in the file before it is published.
    taken: u64,
    /// Publishing has begun: the file takes no more bytes.
    sealed: bool,
    /// A write failed. The bytes on their way to the disk were lost with it, so that nothing that
    /// is written later could make the file whole.
    failed: Option<Error>,
    /// How publishing ended, once it has.
    published: Option<Result<PathBuf, Error>>,
}

/// The temporary name, removed when dropped.
struct Temporary {
    folder: Disk,
    name: String,
    done: Mutex<Done>,
}

/// What the threads that do it have done, even if nobody waits for them any more. It is locked on
/// those threads only, as they hold it while they wait for the disk.
#[derive(Default)]
struct Done {
    /// A disk that failed once may say yes the second time, having dropped the bytes.
    synced: Option<Result<(), Error>>,
    /// The final name, once the file has it.
    name: Option<String>,
    folder_synced: Option<Result<(), Error>>,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner);
        if done.name.is_none() {
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
            let folder = Disk::open(&path).map_err(Error::storage(Action::OpenFolder))?;
            let (file, temporary) =
                create_temporary(folder).map_err(Error::storage(Action::Create))?;
            Ok(Self::new(file, temporary, path))
        })
        .await
    }

    /// Writes the file through to the disk, gives it the name `name` and returns its path.
    ///
    /// A name that is taken is never overwritten: the file becomes `name (1).ext`, then
    /// `name (2).ext`, up to [`MAX_NUMBER`](Self::MAX_NUMBER). When this returns, file and name
    /// survive a loss of power (as far as the disk keeps its word).
    ///
    /// From the first call with a good name on no more bytes are taken. Called again after success
    /// it returns the same path.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] when [`check_name`](Self::check_name) refuses the name, and
    /// [`Error::Collisions`]: another name may do. [`Error::Storage`], see
    /// [`Error::can_retry`]. After a failed [`Action::SyncFolder`] the file has its name, but may
    /// lose it with the power. A write that failed, even one behind the writer's back, is final:
    /// the file is never published, and every call repeats the error.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the file is either whole under its final name or not there, and another call
    /// goes on.
    pub async fn publish(&mut self, name: &str) -> Result<PathBuf, Error> {
        if let Some(published) = &self.published {
            return published.clone();
        }
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        Self::check_name(name)?;
        self.sealed = true;
        poll_fn(|cx| self.poll_written(cx)).await?;
        let (temporary, taken) = (Arc::clone(&self.temporary), self.taken);
        let synced = self.file.with_mut(move |file| temporary.sync(file, taken)).await;
        synced.inspect_err(|error| self.failed = Some(error.clone()))?;
        let (temporary, name) = (Arc::clone(&self.temporary), name.to_owned());
        let published = unblock(move || temporary.publish(&name)).await;
        let published = published.map(|name| self.path.join(name));
        if !matches!(&published, Err(error) if error.can_choose_again()) {
            self.published = Some(published.clone());
        }
        published
    }
}

impl PartFile {
    fn new(file: File, temporary: Temporary, path: PathBuf) -> Self {
        let file = Unblock::with_capacity(WRITE_BEHIND, file);
        let temporary = Arc::new(temporary);
        Self { file, temporary, path, taken: 0, sealed: false, failed: None, published: None }
    }

    /// Waits until the system has taken all that was written.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(error) = &self.failed {
            return Poll::Ready(Err(error.clone()));
        }
        let flushed = ready!(Pin::new(&mut self.file).poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| self.fail(error)))
    }

    fn fail(&mut self, error: io::Error) -> Error {
        let error = Error::storage(Action::Write)(error);
        self.failed = Some(error.clone());
        error
    }
}

impl Temporary {
    fn lock(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the file through to the disk, once, if it holds the bytes it is said to hold.
    fn sync(&self, file: &File, taken: u64) -> Result<(), Error> {
        let mut done = self.lock();
        done.synced.get_or_insert_with(|| sync(file, taken)).clone()
    }

    /// Gives the file the first free one of its numbered names, once, and makes it last.
    fn publish(&self, name: &str) -> Result<String, Error> {
        let mut done = self.lock();
        let name = match &done.name {
            Some(name) => name.clone(),
            None => done.name.insert(self.rename(name)?).clone(),
        };
        let sync = || self.folder.sync_folder("").map_err(Error::storage(Action::SyncFolder));
        done.folder_synced.get_or_insert_with(sync).clone()?;
        Ok(name)
    }

    fn rename(&self, name: &str) -> Result<String, Error> {
        for number in 0..=PartFile::MAX_NUMBER {
            let candidate = numbered(name, number, usize::MAX);
            match self.folder.rename_no_replace(&self.name, &candidate) {
                Ok(()) => return Ok(candidate),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::storage(Action::Publish)(error)),
            }
        }
        Err(Error::Collisions)
    }
}

fn sync(file: &File, taken: u64) -> Result<(), Error> {
    let metadata = file.metadata().map_err(Error::storage(Action::Sync))?;
    if metadata.len() != taken {
        return Err(Error::storage(Action::Write)(io::ErrorKind::WriteZero.into()));
    }
    file.sync_all().map_err(Error::storage(Action::Sync))
}

fn create_temporary(folder: Disk) -> io::Result<(File, Temporary)> {
    loop {
        let name = fresh_name();
        match folder.create_file(&name) {
            Ok(file) => {
                let temporary = Temporary { folder, name, done: Mutex::default() };
                // So that no janitor takes it for one that was left behind.
                disk::try_lock(&file)?;
                return Ok((file, temporary));
            }
            // Left behind by a process that had the same id.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

impl AsyncWrite for PartFile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = &self.failed {
            return Poll::Ready(Err(error.clone().into()));
        }
        if self.sealed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        match ready!(Pin::new(&mut self.file).poll_write(cx, buf)) {
            // The thread that writes has stopped; flushing tells why.
            Ok(0) if !buf.is_empty() => Poll::Ready(match ready!(self.poll_written(cx)) {
                Ok(()) => Err(self.fail(io::ErrorKind::WriteZero.into()).into()),
                Err(error) => Err(error.into()),
            }),
            Ok(n) => {
                self.taken = self.taken.saturating_add(n as u64);
                Poll::Ready(Ok(n))
            }
            Err(error) => Poll::Ready(Err(self.fail(error).into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(cx).map_err(Into::into)
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use futures::AsyncWriteExt;
    use futures::executor::block_on;

    use super::*;

    /// A part file whose bytes go to a device that is always full.
    fn on_a_full_disk(folder: &Path) -> PartFile {
        let (_, temporary) = create_temporary(Disk::open(folder).unwrap()).unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        PartFile::new(full, temporary, folder.to_owned())
    }

    #[test]
    fn a_full_disk_is_told_by_its_name_and_nothing_is_published() {
        let folder = tempfile::tempdir().unwrap();
        block_on(async {
            let mut part = on_a_full_disk(folder.path());
            // More than is written behind: some write learns of it.
            let error = part.write_all(&std::vec![1; 4 << 20]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            for _ in 0..2 {
                assert_eq!(part.write(b"x").await.unwrap_err().kind(), io::ErrorKind::StorageFull);
                assert_eq!(part.flush().await.unwrap_err().kind(), io::ErrorKind::StorageFull);
                let error = part.publish("x").await.unwrap_err();
                let kind = io::ErrorKind::StorageFull;
                assert_eq!(error, Error::Storage { action: Action::Write, kind, code: Some(28) });
                assert!(!error.can_retry());
            }
        });
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_failure_behind_the_writers_back_is_final() {
        let folder = tempfile::tempdir().unwrap();
        block_on(async {
            let mut part = on_a_full_disk(folder.path());
            part.write_all(b"taken, but not written").await.unwrap();
            assert_eq!(part.flush().await.unwrap_err().kind(), io::ErrorKind::StorageFull);
            assert!(part.write_all(b"more").await.is_err());
            assert!(matches!(
                part.publish("x").await,
                Err(Error::Storage { action: Action::Write, .. })
            ));
        });
    }

    #[test]
    fn a_failed_sync_is_remembered_though_nobody_waited_for_it() {
        // A disk tells of a failed write once; asked again it may say yes.
        let folder = tempfile::tempdir().unwrap();
        block_on(async {
            let mut part = PartFile::create(folder.path()).await.unwrap();
            part.write_all(b"hello").await.unwrap();
            let error = Error::storage(Action::Sync)(io::ErrorKind::Other.into());
            part.temporary.lock().synced = Some(Err(error.clone()));
            for _ in 0..2 {
                assert_eq!(part.publish("x").await, Err(error.clone()));
            }
        });
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        block_on(async {
            let mut part = PartFile::create(folder.path()).await.unwrap();
            let error = Error::storage(Action::SyncFolder)(io::ErrorKind::Other.into());
            part.temporary.lock().folder_synced = Some(Err(error.clone()));
            for _ in 0..2 {
                assert_eq!(part.publish("x").await, Err(error.clone()));
            }
        });
    }

    #[test]
    fn a_file_that_lost_bytes_is_not_published() {
        let folder = tempfile::tempdir().unwrap();
        block_on(async {
            let mut part = PartFile::create(folder.path()).await.unwrap();
            part.write_all(b"hello").await.unwrap();
            part.file.with_mut(|file| file.set_len(3)).await.unwrap();
            let error = part.publish("x").await.unwrap_err();
            assert!(matches!(error, Error::Storage { action: Action::Write, .. }));
        });
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
