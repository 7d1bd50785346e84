//! Sending a file: read in order or from anywhere, hashed on the way, given up when it changes.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use duologue::fs::{Source, SourceError};
use duologue::wire::TransferCode;

use super::fs_util::{content, digest};

const LEN: usize = 700_000;

fn file() -> (tempfile::TempDir, PathBuf, Bytes) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let content = content(1, LEN);
    fs::write(&path, &content).unwrap();
    (folder, path, content)
}

fn rest(source: &mut Source) -> Vec<u8> {
    let mut read = Vec::new();
    while let Some(piece) = source.read().unwrap() {
        read.extend_from_slice(&piece);
    }
    read
}

#[test]
fn a_file_is_read_and_hashed_from_anywhere() {
    let (_folder, path, content) = file();
    let whole = (LEN as u64, digest(&content));
    let mut source = Source::open(&path).unwrap();
    assert_eq!(rest(&mut source), content);
    assert_eq!(source.finish(), Ok(whole));

    // The peer has a prefix: hash that, and send the tail.
    let mut source = Source::open(&path).unwrap();
    assert_eq!(source.prefix_digest(300_000), Ok(digest(&content[..300_000])));
    source.seek(300_000).unwrap();
    assert_eq!(rest(&mut source), content[300_000..]);
    assert_eq!(source.finish(), Ok(whole));

    // The tail first, and then the prefix.
    let mut source = Source::open(&path).unwrap();
    source.seek(500_000).unwrap();
    assert_eq!(rest(&mut source), content[500_000..]);
    assert_eq!(source.prefix_digest(500_000), Ok(digest(&content[..500_000])));
    assert_eq!(source.finish(), Ok(whole));

    // Back, after a break.
    let mut source = Source::open(&path).unwrap();
    source.read().unwrap();
    source.read().unwrap();
    source.seek(1000).unwrap();
    assert_eq!(rest(&mut source), content[1000..]);
    assert_eq!(source.prefix_digest(5), Ok(digest(&content[..5])));
    assert_eq!(source.finish(), Ok(whole));
    let size = LEN as u64;
    assert_eq!(source.seek(size + 1), Err(SourceError::OutOfRange { size }));
    assert_eq!(source.prefix_digest(size + 1), Err(SourceError::OutOfRange { size }));
}

#[test]
fn the_memory_of_a_piece_is_used_again() {
    let (_folder, path, _) = file();
    let mut source = Source::open(&path).unwrap();
    let first = source.read().unwrap().unwrap();
    let (place, slice) = (first.as_ptr(), first.slice(5..10));
    drop(first);
    let second = source.read().unwrap().unwrap();
    assert_ne!(second.as_ptr(), place, "somebody has a slice of it");
    let kept = second.to_vec();
    drop(slice);
    source.seek(0).unwrap();
    assert_eq!(source.read().unwrap().unwrap().as_ptr(), place);
    assert_eq!(second, kept);
}

#[test]
fn s7_h36_a_file_that_changes_is_given_up() {
    for change in 0..4 {
        let (_folder, path, content) = file();
        let mut source = Source::open(&path).unwrap();
        source.read().unwrap();
        let open = || fs::File::options().write(true).open(&path).unwrap();
        match change {
            0 => open().set_len(LEN as u64 - 1).unwrap(),
            1 => open().set_len(LEN as u64 + 1).unwrap(),
            2 => open().set_len(10).unwrap(),
            _ => {
                let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
                fs::write(&path, &content).unwrap();
                open().set_modified(later).unwrap();
            }
        }
        let error = source.read().unwrap_err();
        assert_eq!(error, SourceError::Changed, "{change}");
        assert_eq!(error.code(), TransferCode::SOURCE_CHANGED);
        assert_eq!(source.finish(), Err(SourceError::Changed));
    }
    // Another file under the name is none of its business.
    let (_folder, path, content) = file();
    let mut source = Source::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "another").unwrap();
    assert_eq!(rest(&mut source), content);
    assert!(source.finish().is_ok());
}

#[test]
fn only_regular_files_are_sent_and_nothing_waits() {
    let (folder, path, _) = file();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.as_path(), folder.path(), "/dev/null".as_ref()] {
        assert_eq!(Source::open(path).unwrap_err(), SourceError::NotAFile);
    }
    let missing = Source::open(folder.path().join("missing")).unwrap_err();
    assert!(matches!(missing, SourceError::Storage { code: Some(2), .. }));
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(Source::open(link).unwrap().size(), LEN as u64);
    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    let mut empty = Source::open(empty).unwrap();
    assert_eq!((empty.read(), empty.finish()), (Ok(None), Ok((0, digest(b"")))));
}

#[test]
fn an_offer_says_what_the_file_is() {
    let (_folder, path, _) = file();
    let source = Source::open(&path).unwrap();
    let offer = source.offer("name");
    assert_eq!((&*offer.name, offer.size, offer.is_seekable), ("name", Some(LEN as u64), true));
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(offer.modified, Some(since.as_millis() as u64));
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_not_unicode_is_left_out_and_told() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use duologue::fs::{LeftOut, NameError, Tree, TreeOptions};

    let folder = tempfile::tempdir().unwrap();
    let name = OsStr::from_bytes(b"not\xFFUTF-8");
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join(name), "x").unwrap();
    fs::write(folder.path().join("sub").join(name), "x").unwrap();
    let tree = Tree::walk(folder.path(), TreeOptions::new()).unwrap();
    let why = LeftOut::Name(NameError::NotUnicode);
    assert_eq!(
        tree.left_out(),
        [(name.into(), why), (std::path::Path::new("sub").join(name), why)]
    );
    assert_eq!(tree.entries().len(), 1);
    assert_eq!(
        Tree::walk(folder.path(), TreeOptions::new().max_entries(1)).unwrap_err(),
        SourceError::TooMany { max: 1 }
    );
}
