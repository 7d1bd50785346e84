use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a Unix socket that this process listens at; dropping it removes the file.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that a file that somebody put in its place stays.
    identity: Option<(u64, u64)>,
}

/// Binds `socket` to `path`, in the place of a socket that nobody listens at any more if need be.
///
/// Binding comes first, so that a live socket is never removed by mistake. Two servers that replace
/// the same stale file at the same moment can still take it from each other.
pub(super) fn bind(socket: &Socket, path: &Path) -> io::Result<SocketFile> {
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path, &address) => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    Ok(SocketFile { path: path.to_owned(), identity: identity(path) })
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path); // there is nobody left to tell
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Whether it is a socket that refuses connections. A full queue is a sign of life.
fn is_stale(path: &Path, address: &SockAddr) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    let refuses = || {
        let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        probe.set_nonblocking(true)?;
        probe.connect(address)
    };
    is_socket && refuses().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
