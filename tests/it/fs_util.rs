//! What the tests of receiving and sending files have in common.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use duologue::fs::{Error, Inbox, InboxOptions, Receiver, RelativePath};
use duologue::testing::{Pattern, ShadowDisk};
use duologue::wire::{Digest, Offer};

pub(crate) const PEER: Option<&[u8]> = Some(b"peer");
/// What stands for 1 MiB, so that small files show what large ones do.
pub(crate) const BLOCK: u64 = 1024;

/// The first bytes of a file that differs from others almost everywhere.
pub(crate) fn content(seed: u64, len: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        bytes.extend_from_slice(&Pattern::new(seed).bytes(bytes.len() as u64, len - bytes.len()));
    }
    bytes.into()
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::Blake3(*blake3::hash(bytes).as_bytes())
}

/// The offer of a whole content.
pub(crate) fn offer<'a>(name: &'a str, content: &[u8]) -> Offer<'a> {
    Offer::new(name).size(content.len() as u64).modified(1).seekable()
}

pub(crate) fn small() -> InboxOptions {
    InboxOptions::new().alignment(BLOCK).keep_free(0)
}

pub(crate) fn on(disk: &ShadowDisk, options: InboxOptions) -> Result<Inbox, Error> {
    options.open_on(Arc::new(disk.clone()))
}

/// Writes a content from where the receiver is, up to an offset.
pub(crate) fn send(receiver: &mut Receiver, content: &Bytes, end: usize) -> Result<(), Error> {
    let start = receiver.position() as usize;
    let chunks: Vec<Bytes> =
        (start..end).step_by(300).map(|at| content.slice(at..end.min(at + 300))).collect();
    chunks.chunks(2).try_for_each(|chunks| receiver.write(chunks))
}

/// Sends a file from its beginning, or from where it is to go on.
pub(crate) fn transfer(inbox: &Inbox, name: &str, content: &Bytes) -> Result<RelativePath, Error> {
    let mut receiver = inbox.receive(PEER, &offer(name, content))?;
    if receiver.prefix().is_some_and(|(at, found)| found != digest(&content[..at as usize])) {
        receiver.restart()?;
    }
    send(&mut receiver, content, content.len())?;
    receiver.finish(content.len() as u64, Some(digest(content)))
}

/// Where is noted what was stored.
pub(crate) const TABLE: &str = ".duologue-stored.table";

/// The names on a disk, but for [`TABLE`].
pub(crate) fn names_on(disk: &ShadowDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name != TABLE).collect()
}

/// The names in a folder and beneath, sorted, but for [`TABLE`].
pub(crate) fn names(folder: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            if entry.file_type().unwrap().is_dir() {
                walk(root, &path, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.retain(|name| name != TABLE);
    found.sort();
    found
}
