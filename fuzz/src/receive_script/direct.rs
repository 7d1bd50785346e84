//! What a program does without `send` and `receive`: reads a source, walks a folder, writes a part.

use std::io::ErrorKind;
use std::path::Path;

use duologue::fs::{
    Action, Error, Inbox, InboxOptions, PartFile, Source, SourceError, Tree, TreeOptions,
};
use duologue::wire::{Digest, Offer};
use futures::AsyncWriteExt;
use futures::executor::block_on;

use super::show;
use super::sources::Sources;

pub(super) fn run(folder: &Path, sources: &Sources, settings: [u8; 3]) {
    for which in 0..sources.count() {
        read(&sources.file(which), settings);
    }
    for path in ["nothing", "tree"] {
        let error = Source::open(sources.path(path)).expect_err("it is no file");
        assert!(!error.code().to_string().is_empty() && !error.can_retry() || path == "nothing");
        show(&error);
    }
    #[cfg(unix)]
    show(&Source::open("/dev/null").expect_err("it is a device"));
    walk(sources, settings);
    block_on(part(folder, settings));
    receive(folder, settings);
    block_on(publish_nowhere(folder));
}

/// A file that two programs would receive, and that begins anew.
fn receive(folder: &Path, [first, second, _]: [u8; 3]) {
    let inbox = InboxOptions::default().keep_free(0).open(folder).expect("it is ours");
    let other = Inbox::open(folder).expect("it is ours");
    let content = vec![first; usize::from(second) + 1];
    let offer = Offer::new("received twice").size(content.len() as u64);
    let mut receiver = inbox.receive(Some(b"peer"), &offer).expect("there is room");
    let busy = other.receive(Some(b"peer"), &offer).expect_err("it is being received");
    assert!(busy == Error::Busy || matches!(busy, Error::Reserve), "{busy}");
    show(&busy);
    receiver.write(&[content[..1].to_vec().into()]).expect("there is room");
    receiver.restart().expect("it is ours");
    receiver.write(&[content.clone().into()]).expect("there is room");
    let said = Digest::Blake3(*blake3::hash(&content).as_bytes());
    let path = receiver.finish(content.len() as u64, Some(said)).expect("it is whole");
    assert!(std::fs::read(folder.join(path.as_str())).expect("it is there") == content);
}

/// A folder that is gone when the file is to get its name.
async fn publish_nowhere(folder: &Path) {
    let nowhere = folder.join("soon nowhere");
    std::fs::create_dir(&nowhere).expect("it is ours");
    let mut part = PartFile::create(&nowhere).await.expect("it is ours");
    part.write_all(b"x").await.expect("there is room");
    std::fs::remove_dir_all(&nowhere).expect("it is ours");
    for _ in 0..2 {
        let error = part.publish("x").await.expect_err("there is no folder");
        assert!(matches!(error, Error::Storage { action: Action::Publish, .. }), "{error}");
        show(&error);
        // It is sealed all the same.
        assert!(part.write_all(b"y").await.is_err());
    }
}

fn read(path: &Path, [first, second, _]: [u8; 3]) {
    let mut source = Source::open(path).expect("it is there");
    let whole = std::fs::read(path).expect("it is there");
    assert!(!format!("{source:?}").is_empty());
    let digest = |end: usize| Digest::Blake3(*blake3::hash(&whole[..end]).as_bytes());
    let middle = whole.len() * usize::from(first) / 256;
    assert_eq!(source.prefix_digest(middle as u64), Ok(digest(middle)));
    if second & 1 != 0 {
        source.seek(middle as u64).expect("it is within");
    }
    let start = source.position() as usize;
    let mut found = Vec::new();
    while let Some(piece) = source.read().expect("nobody changes it") {
        found.extend_from_slice(&piece);
    }
    assert!(found == whole[start..], "{source:?}");
    assert_eq!(source.prefix_digest(middle as u64), Ok(digest(middle)));
    assert_eq!(source.finish(), Ok((whole.len() as u64, digest(whole.len()))));
    let beyond = source.seek(whole.len() as u64 + 1);
    assert_eq!(beyond, Err(SourceError::OutOfRange { size: whole.len() as u64 }));
    show(&beyond.expect_err("it is beyond"));
    if second & 2 != 0 {
        std::fs::write(path, [&whole[..], b"!"].concat()).expect("it is ours");
        show(&source.finish().expect_err("it has changed"));
        std::fs::write(path, &whole).expect("it is ours");
    }
}

fn walk(sources: &Sources, [first, second, _]: [u8; 3]) {
    let options = TreeOptions::default().special_names(first & 1 != 0);
    let options = if second & 4 == 0 { options } else { options.max_entries(4) };
    let tree = match Tree::walk(sources.path("tree"), options) {
        Ok(tree) => tree,
        Err(error) => return show(&error),
    };
    assert!(!format!("{tree:?}").is_empty());
    let mut bytes = 0;
    for entry in tree.entries() {
        if entry.is_directory() {
            assert!(tree.open(entry).is_err());
        } else {
            bytes += tree.open(entry).expect("it is there").size();
        }
    }
    assert_eq!((tree.bytes(), tree.batch("x").bytes), (bytes, bytes));
    assert_eq!(tree.batch("x").count as usize, tree.entries().len());
}

/// A part that is written, and gets a name that is free, or is dropped.
async fn part(folder: &Path, [first, second, third]: [u8; 3]) {
    for name in ["a", "..", "", "part"] {
        if let Err(error) = PartFile::check_name(name) {
            show(&error);
            assert!(!error.can_retry() && !error.code().to_string().is_empty());
        }
    }
    let missing = PartFile::create(folder.join("nowhere")).await.expect_err("there is no folder");
    assert!(matches!(missing, Error::Storage { kind: ErrorKind::NotFound, .. }), "{missing}");
    for len in [first, second, third] {
        let mut part = PartFile::create(folder).await.expect("it is ours");
        assert!(!format!("{part:?}").is_empty());
        let bytes = vec![len; usize::from(len) * 50];
        part.write_all(&bytes).await.expect("there is room");
        part.flush().await.expect("there is room");
        if len & 1 != 0 {
            continue;
        }
        part.close().await.expect("there is room");
        let path = part.publish("part").await.expect("there are many names");
        assert!(std::fs::read(&path).expect("it is there") == bytes);
        assert_eq!(part.publish("part").await, Ok(path), "it has its name");
    }
    let names = std::fs::read_dir(folder).expect("it is ours").flatten();
    let parts = names.filter(|name| name.file_name().to_string_lossy().ends_with(".part"));
    assert_eq!(parts.count(), 0, "nothing is left of what was dropped");
}
