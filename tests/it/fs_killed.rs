//! A program that is killed while it receives, and started again.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use duologue::fs::Inbox;

use super::fs_util::{PEER, content, digest, names, offer, on, send, small};

const LEN: usize = 5_000_000;
const FOLDER: &str = "DUOLOGUE_TEST_FOLDER";

/// What the killed program does: it is this test, started by the other one.
#[test]
fn the_program_that_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let content = content(1, LEN);
    let inbox = Inbox::open(folder).unwrap();
    let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    send(&mut receiver, &content, 3_500_000).unwrap();
    receiver.checkpoint().unwrap();
    send(&mut receiver, &content, 4_500_000).unwrap();
    println!("durable {}", receiver.durable());
    loop {
        std::thread::park();
    }
}

#[test]
fn s3_a_killed_program_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fs_killed::the_program_that_is_killed", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.map(Result::unwrap).find(|line| line.contains("durable"));
    let inbox = Inbox::open(folder.path()).unwrap();
    let content = content(1, LEN);
    let busy = inbox.receive(PEER, &offer("x", &content)).unwrap_err();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((said.unwrap().as_str(), busy), ("durable 3145728", duologue::fs::Error::Busy));

    let mut receiver = inbox.receive(PEER, &offer("x", &content)).unwrap();
    let expected = 3 << 20;
    assert_eq!(receiver.prefix(), Some((expected, digest(&content[..expected as usize]))));
    send(&mut receiver, &content, LEN).unwrap();
    receiver.finish(LEN as u64, Some(digest(&content))).unwrap();
    assert_eq!(std::fs::read(folder.path().join("x")).unwrap(), content);
    assert_eq!(names(folder.path()), ["x"]);
}

#[test]
fn what_a_kept_part_had_reserved_is_given_back() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let content = content(1, 2 << 20);
    let inbox = Inbox::open(folder.path()).unwrap();
    let offer = duologue::wire::Offer::new("x").size(100 << 20);
    let Ok(mut receiver) = inbox.receive(PEER, &offer) else { return };
    send(&mut receiver, &content, content.len()).unwrap();
    receiver.suspend();
    let part = names(folder.path()).into_iter().find(|name| name.ends_with(".part")).unwrap();
    let blocks = std::fs::metadata(folder.path().join(part)).unwrap().blocks();
    assert!(blocks * 512 <= 3 << 20, "{blocks}");
}

#[test]
fn members_that_end_together_share_the_synchronising_of_folders() {
    let disk = duologue::testing::ShadowDisk::new();
    let inbox = on(&disk, small()).unwrap();
    let batch =
        duologue::wire::Batch { name: "b".into(), count: 20, bytes: 0, metadata: [][..].into() };
    let mut batch = inbox.receive_batch(PEER, &batch).unwrap();
    let id = duologue::wire::TransferId::new(duologue::wire::Side::Client, 1).unwrap();
    let published: Vec<_> = (0..20)
        .map(|number| {
            let name = format!("d{}/x{number}", number % 2);
            let offer = duologue::wire::Offer::new(name).size(0).batch(id);
            let member = batch.receive(&offer).unwrap();
            let duologue::fs::Member::File(file) = member else { panic!() };
            file.publish(0, Some(digest(b""))).unwrap()
        })
        .collect();
    let before = disk.calls();
    inbox.settle(&published).unwrap();
    // Those of the files, of their folders, and of the batch's.
    assert_eq!(disk.calls() - before, 4);
    assert_eq!(disk.crash(|_| false).names().len(), 23);
    inbox.settle(&published[..1]).unwrap();
    assert_eq!(disk.calls() - before, 5);
}
