//! `fs::PartFile`: whole or not there (B2, B12), whatever stands in the way.

use std::fs;
use std::path::Path;

use duologue::fs::{Action, Error, PartFile};
use futures::AsyncWriteExt;
use futures::executor::block_on;

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn publish(folder: &Path, content: &[u8], name: &str) -> Result<std::path::PathBuf, Error> {
    block_on(async {
        let mut part = PartFile::create(folder).await?;
        part.write_all(content).await.unwrap();
        part.publish(name).await
    })
}

#[test]
fn the_final_name_appears_only_when_published() {
    let folder = tempfile::tempdir().unwrap();
    block_on(async {
        let mut part = PartFile::create(folder.path()).await.unwrap();
        part.write_all(&vec![7; 5 << 20]).await.unwrap();
        part.flush().await.unwrap();
        let hidden = names(folder.path());
        assert!(matches!(&hidden[..], [name] if name.starts_with('.') && name.ends_with(".part")));
        part.publish("whole.bin").await.unwrap();
    });
    assert_eq!(names(folder.path()), ["whole.bin"]);
    assert!(fs::read(folder.path().join("whole.bin")).unwrap() == vec![7; 5 << 20]);
}

#[test]
fn what_is_dropped_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    block_on(async {
        let mut part = PartFile::create(folder.path()).await.unwrap();
        part.write_all(b"half").await.unwrap();
    });
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn nothing_is_ever_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    for (name, expected) in [
        ("a.tar.gz", "a.tar.gz"),
        ("a.tar.gz", "a.tar (1).gz"),
        ("a.tar.gz", "a.tar (2).gz"),
        ("plain", "plain"),
        ("plain", "plain (1)"),
        (".hidden", ".hidden"),
        (".hidden", ".hidden (1)"),
    ] {
        let path = publish(folder.path(), expected.as_bytes(), name).unwrap();
        assert_eq!(path, folder.path().join(expected));
    }
    for name in names(folder.path()) {
        assert_eq!(fs::read_to_string(folder.path().join(&name)).unwrap(), name);
    }
}

#[test]
fn many_at_once_get_a_name_each() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for n in 0..8_u8 {
            let folder = folder.path();
            scope.spawn(move || publish(folder, &[n; 1000], "same.bin").unwrap());
        }
    });
    let mut contents: Vec<_> = names(folder.path())
        .into_iter()
        .map(|name| fs::read(folder.path().join(name)).unwrap())
        .collect();
    contents.sort();
    assert_eq!(contents, (0..8).map(|n| vec![n; 1000]).collect::<Vec<_>>());
}

#[test]
fn a_name_that_leads_elsewhere_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", ".", "..", "../x", "a/b", "/etc/x", "a\\b", "x\0y"] {
        assert_eq!(publish(folder.path(), b"x", name), Err(Error::Name), "{name:?}");
    }
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_refused_name_costs_no_byte_and_a_published_file_takes_none() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(256);
    block_on(async {
        let mut part = PartFile::create(folder.path()).await.unwrap();
        part.write_all(b"kept").await.unwrap();
        assert_eq!(part.publish(&long).await, Err(Error::Name));
        part.write_all(b" on").await.unwrap();
        let path = part.publish("name").await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"kept on");
        // Again: the same file, and not a second name for it.
        assert_eq!(part.publish("other").await.unwrap(), path);
        assert_eq!(part.publish("../refused").await.unwrap(), path);
        fs::write(&path, "changed by its owner").unwrap();
        assert_eq!(part.publish("other").await.unwrap(), path);
        fs::write(&path, "kept on").unwrap();
        let error = part.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    });
    assert_eq!(names(folder.path()), ["name"]);
}

#[test]
fn a_name_that_cannot_be_given_can_be_followed_by_another() {
    let folder = tempfile::tempdir().unwrap();
    block_on(async {
        let mut part = PartFile::create(folder.path()).await.unwrap();
        // The number makes the second one too long for the file system.
        let longest = "x".repeat(255);
        fs::write(folder.path().join(&longest), "").unwrap();
        let error = part.publish(&longest).await.unwrap_err();
        assert!(matches!(error, Error::Storage { action: Action::Publish, .. }), "{error}");
        assert!(error.can_retry());
        assert_eq!(part.publish("x").await.unwrap(), folder.path().join("x"));
    });
}

#[test]
fn a_taken_name_may_be_anything() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    fs::write(&target, "old").unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    std::os::unix::fs::symlink(&target, folder.path().join("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
    for name in ["folder", "link", "dangling"] {
        let path = publish(folder.path(), b"new", name).unwrap();
        assert_eq!(path, folder.path().join(format!("{name} (1)")));
    }
    assert_eq!(fs::read_to_string(target).unwrap(), "old");
    assert!(!folder.path().join("nowhere").exists());
}

#[test]
fn too_many_taken_names_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x"), "").unwrap();
    for n in 1..=PartFile::MAX_NUMBER {
        fs::write(folder.path().join(format!("x ({n})")), "").unwrap();
    }
    assert_eq!(publish(folder.path(), b"x", "x"), Err(Error::Collisions));
    assert_eq!(names(folder.path()).len(), 1000);
}

#[test]
fn a_folder_that_is_not_there_or_no_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [folder.path().join("missing"), file] {
        let error = block_on(PartFile::create(path)).unwrap_err();
        assert!(
            matches!(error, Error::Storage { action: Action::OpenFolder, code: Some(_), .. }),
            "{error}"
        );
        assert!(error.can_retry());
    }
}

#[test]
fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = publish(folder.path(), b"x", "x").unwrap();
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_folder_may_move_while_a_file_is_on_its_way() {
    let outer = tempfile::tempdir().unwrap();
    let (old, new) = (outer.path().join("old"), outer.path().join("new"));
    fs::create_dir(&old).unwrap();
    block_on(async {
        let mut part = PartFile::create(&old).await.unwrap();
        part.write_all(b"moved").await.unwrap();
        fs::rename(&old, &new).unwrap();
        std::os::unix::fs::symlink("/", &old).unwrap();
        part.publish("x").await.unwrap();
    });
    assert_eq!(fs::read_to_string(new.join("x")).unwrap(), "moved");
    assert!(!Path::new("/x").exists());
}

#[test]
fn dropped_at_every_poll_leaves_the_whole_file_or_none() {
    use std::task::{Context, Poll, Waker};
    for polls in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let mut published = false;
        {
            let mut future = std::pin::pin!(async {
                let mut part = PartFile::create(folder.path()).await?;
                part.write_all(&[1; 100_000]).await.unwrap();
                part.publish("x").await
            });
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..polls {
                if let Poll::Ready(outcome) = future.as_mut().poll(&mut cx) {
                    published = outcome.is_ok();
                    break;
                }
                std::thread::yield_now();
            }
        }
        // Work that was handed to a thread may still end; then the folder holds x, or nothing.
        let whole = |folder: &Path| match &names(folder)[..] {
            [] => !published,
            [name] if name == "x" => fs::read(folder.join("x")).unwrap() == [1; 100_000],
            _ => false,
        };
        let started = std::time::Instant::now();
        while !whole(folder.path()) {
            assert!(started.elapsed().as_secs() < 10, "{:?}", names(folder.path()));
            std::thread::yield_now();
        }
    }
}
