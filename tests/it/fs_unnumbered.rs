//! Systems that do not say whether two names are of one file: nothing is taken for another there, nor refused
//! for it for good.

use core::time::Duration;

use bytes::Bytes;
use duologue::fs::store::Store;
use duologue::fs::{Collision, Error, Inbox, Receiver};
use duologue::wire::Batch;

use super::fs_between::Between;
use super::fs_util::{PEER, content, digest, names_on, offer, send, small, transfer};

const LEN: usize = 3000;

fn disk() -> Between {
    Between { is_unnumbered: true, ..Between::default() }
}

fn begin(inbox: &Inbox, name: &str, content: &Bytes) -> Receiver {
    let mut receiver = inbox.receive(PEER, &offer(name, content)).unwrap();
    send(&mut receiver, content, content.len()).unwrap();
    receiver
}

fn finish(receiver: Receiver, content: &Bytes) -> Result<String, Error> {
    let path = receiver.finish(content.len() as u64, Some(digest(content)))?;
    Ok(path.as_str().to_owned())
}

#[test]
fn spellings_that_are_two_files_are_told_from_each_other() {
    let (one, other) = (content(1, LEN), content(2, LEN));
    // By their lengths, and by their times.
    for before in [10, LEN] {
        let disk = disk();
        disk.disk.write("stra\u{df}e", &vec![7; before]);
        disk.disk.advance(Duration::from_millis(1));
        let inbox = disk.open(small().collision(Collision::Replace));
        let old = begin(&inbox, "stra\u{df}e", &one);
        let new = begin(&inbox, "strasse", &other);
        assert_eq!(finish(new, &other).as_deref(), Ok("strasse"));
        assert_eq!(finish(old, &one).as_deref(), Ok("stra\u{df}e"), "{before}");
    }
    // Where they are one file it is the newer.
    let disk = Between { folds: true, ..disk() };
    let inbox = disk.open(small().collision(Collision::Replace));
    let (old, new) = (begin(&inbox, "NAME", &one), begin(&inbox, "name", &other));
    assert_eq!(finish(new, &other).as_deref(), Ok("name"));
    assert_eq!(finish(old, &one), Err(Error::Outdated));
    assert!(disk.disk.read("name").unwrap() == other);
}

#[test]
fn another_file_is_seen_by_its_length_or_its_time() {
    let content = content(1, LEN);
    let disk = disk();
    let inbox = disk.open(small());
    // What nobody touches is stored, and known again.
    for _ in 0..2 {
        assert_eq!(transfer(&inbox, "x", &content).unwrap().as_str(), "x");
    }
    // A file that is another one by now, of the same length, is not.
    let known = inbox.receive(PEER, &offer("x", &content)).unwrap();
    assert_eq!(known.prefix(), Some((LEN as u64, digest(&content))));
    disk.disk.advance(Duration::from_millis(1));
    let mut replaced = content.to_vec();
    replaced[0] ^= 1;
    let swapped = disk.clone();
    disk.before_calls(move |call, path| {
        if (call, path) == ("status", "x") {
            // Behind the back of who has read it.
            swapped.disk.write("other", &replaced);
            swapped.disk.rename("other", "x")?;
        }
        Ok(())
    });
    assert_eq!(finish(known, &content), Err(Error::PartDiffers));
    disk.calm();

    // Nor does another one get the name of what was received.
    let receiver = begin(&inbox, "y", &content);
    let names = disk.disk.names();
    let part = names.iter().find(|name| name.ends_with(".part")).unwrap();
    disk.disk.remove(part).unwrap();
    disk.disk.write(part, b"of another program");
    assert!(finish(receiver, &content).is_err());
    assert_eq!(names_on(&disk.disk), ["x"]);
}

#[test]
fn a_folder_of_that_name_is_not_gone_on_with() {
    for is_unnumbered in [true, false] {
        let disk = Between { is_unnumbered, ..Between::default() };
        let inbox = disk.open(small());
        let metadata = b"duologue folder 1"[..].into();
        let offered = Batch { name: "b".into(), count: 1, bytes: 1, metadata };
        let begin = || {
            let begun = inbox.receive_batch(PEER, &offered);
            begun.map(|batch| batch.path().as_str().to_owned())
        };
        assert_eq!(begin().as_deref(), Ok("b"));
        let again = if is_unnumbered { Ok("b (1)".to_owned()) } else { Err(Error::KnownInPart) };
        assert_eq!(begin(), again);
    }
}
