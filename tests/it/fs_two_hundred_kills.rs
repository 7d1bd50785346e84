//! A program that is killed two hundred times, at random moments, while it receives onto a real disk:
//! what it reported as durable is there afterwards, and no wrong file ever has the name.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use duologue::fs::InboxOptions;
use duologue::testing::SplitMix64;

use super::fs_util::{PEER, content, digest, names, offer};

const KILLS: u64 = 200;
/// Of these, so many have to hit between the first durable bytes and the verdict.
const IN_BETWEEN: usize = 150;
const LEN: usize = 4 << 20;
/// Bytes from one report to the next.
const STEP: usize = 128 << 10;
const FOLDER: &str = "DUOLOGUE_TEST_KILLED_FOLDER";

fn inbox(folder: &Path) -> duologue::fs::Inbox {
    InboxOptions::new().keep_free(0).open(folder).unwrap()
}

/// What the killed program does: it is this test, started by the other one. It goes on with what is
/// there, says what is durable, and in the end that it is stored.
#[test]
fn the_program_that_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let content = content(7, LEN);
    let mut receiver = inbox(folder.as_ref()).receive(PEER, &offer("x", &content)).unwrap();
    println!("began {}", receiver.position());
    let mut position = usize::try_from(receiver.position()).unwrap();
    while position < LEN {
        let end = (position + STEP).min(LEN);
        receiver.write(&[content[position..end].to_vec().into()]).unwrap();
        receiver.checkpoint().unwrap();
        println!("durable {}", receiver.durable());
        position = end;
    }
    receiver.finish(LEN as u64, Some(digest(&content))).unwrap();
    println!("stored");
}

/// What a killed program had said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Durable(u64),
    Stored,
}

/// Starts the program, kills it a random moment after one of its reports, and returns the last one.
fn kill_one(folder: &Path, random: &mut SplitMix64) -> Said {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fs_two_hundred_kills::the_program_that_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Which of its reports is the last that is waited for; the first is that it began. Most come
    // after the first whole MiB, which is what can be durable.
    let first = ((1 << 20) / STEP) as u64 - 1;
    let reports = first + random.below((LEN / STEP) as u64 + 2 - first);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said = Said::Nothing;
    let mut note = |line: &str| {
        if line == "stored" {
            said = Said::Stored;
        } else if let Some(durable) = line.strip_prefix("durable ") {
            said = match durable.parse().unwrap() {
                0 => Said::Nothing,
                durable => Said::Durable(durable),
            };
        }
    };
    let ours =
        |line: &String| ["began", "durable", "stored"].iter().any(|word| line.starts_with(word));
    lines.by_ref().filter(ours).take(reports as usize).for_each(|line| note(&line));
    for _ in 0..random.below(200_000) {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died counts, too.
    lines.filter(ours).for_each(|line| note(&line));
    said
}

#[test]
fn what_was_durable_survives_two_hundred_kills_and_nothing_wrong_is_published() {
    let expected = content(7, LEN);
    let seen = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (expected, seen) = (&expected, &seen);
            scope.spawn(move || {
                let mut random = SplitMix64::new(thread);
                for _ in 0..KILLS / 4 {
                    let folder = tempfile::tempdir().unwrap();
                    let said = kill_one(folder.path(), &mut random);
                    check(folder.path(), expected, said);
                    seen.lock().unwrap().push(said);
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    let mut histogram = [0; LEN / (512 << 10) + 1];
    let mut in_between = 0;
    for said in &seen {
        if let Said::Durable(durable) = said {
            histogram[*durable as usize / (512 << 10)] += 1;
            in_between += 1;
        }
    }
    let count = |what| seen.iter().filter(|said| **said == what).count();
    println!(
        "killed {} times: {} before anything was durable, {in_between} between that and the verdict \
         (by durable bytes, in steps of 512 KiB: {histogram:?}), {} after it; \
         durable bytes lost 0, wrong files published 0",
        seen.len(),
        count(Said::Nothing),
        count(Said::Stored),
    );
    assert!(in_between >= IN_BETWEEN, "{in_between}");
}

/// Looks at what a killed program left, and goes on from there.
fn check(folder: &Path, expected: &[u8], said: Said) {
    let name = folder.join("x");
    if let Ok(found) = fs::read(&name) {
        assert!(found == expected, "a wrong file has the name");
        // Its sender may not have heard of it.
        let receiver = inbox(folder).receive(PEER, &offer("x", expected)).unwrap();
        assert_eq!(receiver.prefix(), Some((LEN as u64, digest(expected))));
        let path = receiver.finish(LEN as u64, Some(digest(expected))).unwrap();
        assert_eq!((path.as_str(), names(folder)), ("x", vec!["x".to_owned()]));
        return;
    }
    assert_ne!(said, Said::Stored, "it was stored, and is gone");
    let mut receiver = inbox(folder).receive(PEER, &offer("x", expected)).unwrap();
    let there = usize::try_from(receiver.position()).unwrap();
    if let Said::Durable(durable) = said {
        let promised = usize::try_from(durable).unwrap();
        assert!(there >= promised, "{promised} bytes were durable, {there} are there");
    }
    if there > 0 {
        assert_eq!(receiver.prefix(), Some((there as u64, digest(&expected[..there]))));
    }
    receiver.write(&[expected[there..].to_vec().into()]).unwrap();
    receiver.finish(LEN as u64, Some(digest(expected))).unwrap();
    assert!(fs::read(&name).unwrap() == expected);
}
