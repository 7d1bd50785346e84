//! `recv_file` and `send_file` as processes, with the modern protocol.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::programs::{Program, names, run};

/// Starts `recv_file` and gives its address, too.
fn receiver(folder: &Path, more: &[&str]) -> (Program, String) {
    receiver_at("127.0.0.1:0", folder, more)
}

fn receiver_at(address: &str, folder: &Path, more: &[&str]) -> (Program, String) {
    let mut arguments = vec!["--dir", folder.to_str().unwrap()];
    arguments.extend(more);
    arguments.push(address);
    let program = Program::start("recv_file", &arguments);
    let address = program.line().strip_prefix("Listening ... ").unwrap().to_owned();
    (program, address)
}

fn source(folder: &Path, name: &str, len: usize) -> (PathBuf, Vec<u8>) {
    let mut content = vec![0; len];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut content);
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, &content).unwrap();
    (path, content)
}

fn stored(name: &str, content: &[u8]) -> String {
    format!("Stored {name} {} {}", content.len(), blake3::hash(content).to_hex())
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// Bytes of file data that `send_file` says to have sent, and over how many connections.
fn sent(status: &[String]) -> (u64, u64) {
    let line = status.iter().find_map(|line| line.strip_prefix("Sent ")).expect("what was sent");
    let mut words = line.split(' ');
    let bytes = words.next().unwrap().parse().unwrap();
    (bytes, words.nth(5).unwrap().parse().unwrap())
}

/// Waits until a journal says that some of a file would survive.
fn wait_for_journal(folder: &Path) {
    let is_written = |name: &String| {
        let len = || fs::metadata(folder.join(name)).map_or(0, |status| status.len());
        name.ends_with(".journal") && len() > 0
    };
    while !names(folder).iter().any(is_written) {
        std::thread::yield_now();
    }
}

const LARGE: usize = 200_000_000;

/// Slow enough to be caught in the middle.
const SLOWLY: [&str; 2] = ["--limit", "100000000"];

#[test]
fn files_and_a_folder_go_from_process_to_process() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (program, address) = receiver(to.path(), &["--once"]);
    let members = ["tree/one", "tree/sub/two", "tree/sub/deep/three"];
    let files: Vec<_> = [("large.bin", 3_000_017), ("small.txt", 5), ("empty", 0)]
        .into_iter()
        .chain(members.map(|name| (name, 1000)))
        .map(|(name, len)| (name, source(from.path(), name, len)))
        .collect();
    let path = |name: &str| from.path().join(name).to_str().unwrap().to_owned();
    let paths = [path("large.bin"), path("small.txt"), path("empty"), path("tree")];
    let mut arguments = vec![address.as_str()];
    arguments.extend(paths.iter().map(String::as_str));

    let (code, output, errors) = run("send_file", &arguments);
    assert_eq!(code, Some(0), "{errors}");
    let mut output = output.lines().map(str::to_owned);
    assert_eq!(output.next(), Some(format!("Connected to {address}")));
    let expected = files.iter().map(|(name, (_, content))| stored(name, content)).collect();
    assert_eq!(sorted(output.collect()), sorted(expected));

    let (status, output, errors) = program.end();
    assert!(status.success(), "{errors:?}");
    assert!(output[0].starts_with("Accept 127.0.0.1:"), "{output:?}");
    let line = |name: &&str, len| format!("Stored {} {len}", to.path().join(name).display());
    let expected = files.iter().map(|(name, (_, content))| line(name, content.len())).collect();
    assert_eq!(sorted(output[1..].to_vec()), sorted(expected));
    assert_eq!(names(to.path()), ["empty", "large.bin", "small.txt", "tree"]);
    for (name, (_, content)) in &files {
        assert!(fs::read(to.path().join(name)).unwrap() == *content, "{name}");
    }
}

#[test]
fn folders_that_are_empty_or_named_by_dots_are_stored() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (program, address) = receiver(to.path(), &[]);
    fs::create_dir(from.path().join("empty")).unwrap();
    let (_, content) = source(from.path(), "tree/sub/one", 1000);
    let path = |name: &str| from.path().join(name).to_str().unwrap().to_owned();
    let connected = format!("Connected to {address}\n");

    let (code, output, errors) = run("send_file", &[&address, &path("empty")]);
    assert_eq!((code, &output), (Some(0), &connected), "{errors}");
    let (code, output, errors) =
        run("send_file", &["--resume", &address, &path("tree/sub/../../tree/sub/..")]);
    let expected = format!("{connected}{}\n", stored("tree/sub/one", &content));
    assert_eq!((code, output), (Some(0), expected), "{errors}");
    assert_eq!(names(to.path()), ["empty", "tree"]);
    program.kill();
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_no_receiver_would_take_by_its_name_has_failed() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (program, address) = receiver(to.path(), &[]);
    let tree = from.path().join("tree");
    let (_, content) = source(from.path(), "tree/good", 1000);
    for name in [&b"a:b"[..], b"not\xFFUTF-8", b".hidden"] {
        fs::write(tree.join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let (code, output, errors) = run("send_file", &[&address, tree.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{errors}");
    let output = sorted(output.lines().map(str::to_owned).collect());
    let failed = |name, why| format!("Failed {}/{name} {why}", tree.display());
    assert_eq!(
        output,
        sorted(vec![
            format!("Connected to {address}"),
            failed("a:b", "a name with the character U+003A"),
            failed("not\u{FFFD}UTF-8", "a name that is not Unicode"),
            stored("tree/good", &content),
        ])
    );
    assert!(errors.contains("Left out ") && errors.contains(".hidden"), "{errors}");
    program.kill();
}

#[test]
fn what_is_not_stored_is_told_and_is_exit_code_1() {
    let from = tempfile::tempdir().unwrap();
    let (large, _) = source(from.path(), "large", 1001);
    let (small, content) = source(from.path(), "small", 1000);
    let (large, small) = (large.to_str().unwrap(), small.to_str().unwrap());
    let refused = "not stored (too_large): larger than 1000 bytes";
    let declined = "not stored (declined): declined";
    let stranger = "not stored (declined): another --identity is received from";
    let good = stored("small", &content);
    let failed = |path, reason| format!("Failed {path} {reason}");
    for (receiving, sending, expected) in [
        (&["--accept", "none"][..], &[][..], [failed(large, declined), failed(small, declined)]),
        (&["--max-size", "1000"], &[], [failed(large, refused), good.clone()]),
        (&["--identity", "a"], &[], [failed(large, stranger), failed(small, stranger)]),
        (
            &["--identity", "a"],
            &["--identity", "b"],
            [failed(large, stranger), failed(small, stranger)],
        ),
        (
            &["--identity", "a", "--max-size", "1000"],
            &["--identity", "a"],
            [failed(large, refused), good.clone()],
        ),
    ] {
        let to = tempfile::tempdir().unwrap();
        let (program, address) = receiver(to.path(), &[&["--once"], receiving].concat());
        let (code, output, _) = run("send_file", &[sending, &[&address, large, small]].concat());
        assert_eq!(code, Some(1), "{receiving:?}");
        let lines = output.lines().skip(1).map(str::to_owned).collect();
        assert_eq!(sorted(lines), sorted(expected.to_vec()), "{receiving:?}");

        let (status, output, _) = program.end();
        assert_eq!(status.code(), Some(1), "{receiving:?}");
        let is_stored = expected.contains(&good);
        assert_eq!(names(to.path()), if is_stored { vec!["small"] } else { vec![] });
        let count = |word| output.iter().filter(|line| line.starts_with(word)).count();
        assert_eq!(
            (count("Failed 127.0.0.1:"), count("Stored ")),
            if is_stored { (1, 1) } else { (2, 0) }
        );
    }
}

#[test]
fn the_user_is_asked_about_each_offer() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (program, address) = receiver(to.path(), &["--accept", "ask"]);
    let mut program = program;
    for (name, answer, code) in [("yes", "y\n", 0), ("no", "n\n", 1)] {
        let (path, _) = source(from.path(), name, 7);
        let sender = Program::start("send_file", &[&address, path.to_str().unwrap()]);
        let question = program.status();
        assert!(question.ends_with(&format!(" offers {name}, 7 bytes: y or n?")), "{question}");
        program.say(answer);
        assert_eq!(sender.end().0.code(), Some(code));
    }
    // The end of input is no.
    program.end_input();
    let (path, _) = source(from.path(), "maybe", 7);
    assert_eq!(run("send_file", &[&address, path.to_str().unwrap()]).0, Some(1));
    program.kill();
    assert_eq!(names(to.path()), ["yes"]);
}

#[test]
fn a_receiver_that_is_killed_goes_on_when_it_is_started_again() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, content) = source(from.path(), "large", LARGE);
    let (program, address) = receiver(to.path(), &[]);
    let sender =
        Program::start("send_file", &[&SLOWLY[..], &[&address, path.to_str().unwrap()]].concat());
    wait_for_journal(to.path());
    program.kill();
    // The sender, which runs on, finds the next one at the same address.
    let (program, _) = receiver_at(&address, to.path(), &["--once"]);
    let (status, output, errors) = sender.end();
    assert!(status.success(), "{output:?} {errors:?}");
    assert_eq!(output[1..], [stored("large", &content)]);
    let (bytes, streams) = sent(&errors);
    assert!(bytes < LARGE as u64 + (32 << 20), "{bytes}: what was there was sent again");
    assert_eq!(streams, 2);
    assert!(program.end().0.success());
    assert_eq!(names(to.path()), ["large"]);
    assert!(fs::read(to.path().join("large")).unwrap() == content);
}

#[test]
fn a_sender_that_is_killed_goes_on_when_it_is_started_again() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, content) = source(from.path(), "large", LARGE);
    let path = path.to_str().unwrap();
    // `--once`: the conversation that was cut off does not count, as the next one ends first.
    let (program, address) = receiver(to.path(), &["--once"]);
    let sender = Program::start("send_file", &[&SLOWLY[..], &[&address, path]].concat());
    wait_for_journal(to.path());
    sender.kill();
    let (status, output, errors) = Program::start("send_file", &[&address, path]).end();
    assert!(status.success(), "{output:?} {errors:?}");
    assert_eq!(output[1..], [stored("large", &content)]);
    let (bytes, _) = sent(&errors);
    assert!(bytes < LARGE as u64 - (8 << 20), "{bytes}: what was there was sent again");
    let (status, output, errors) = program.end();
    assert!(status.success(), "{output:?} {errors:?}");
    assert_eq!(names(to.path()), ["large"]);
    assert!(fs::read(to.path().join("large")).unwrap() == content);
}

#[test]
fn both_can_be_killed() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, content) = source(from.path(), "large", LARGE);
    let path = path.to_str().unwrap();
    let (program, address) = receiver(to.path(), &[]);
    let sender = Program::start("send_file", &[&SLOWLY[..], &[&address, path]].concat());
    wait_for_journal(to.path());
    program.kill();
    sender.kill();
    let (program, address) = receiver(to.path(), &["--once"]);
    let (status, _, errors) = Program::start("send_file", &[&address, path]).end();
    assert!(status.success(), "{errors:?}");
    assert!(sent(&errors).0 < LARGE as u64 - (8 << 20), "{errors:?}");
    assert!(program.end().0.success());
    assert!(fs::read(to.path().join("large")).unwrap() == content);
}

/// Carries connections to `address`, and cuts each of the first `cuts` after so many bytes.
fn proxy(address: &str, cuts: usize, after: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().to_string();
    let address = address.to_owned();
    std::thread::spawn(move || {
        for (number, near) in listener.incoming().enumerate() {
            let near = near.unwrap();
            let far = TcpStream::connect(&address).unwrap();
            for stream in [&near, &far] {
                stream.set_nodelay(true).unwrap();
            }
            let left = Arc::new(AtomicU64::new(if number < cuts { after } else { u64::MAX }));
            let (back, there) =
                ((far.try_clone().unwrap(), near.try_clone().unwrap()), (near, far));
            for (mut from, mut to) in [back, there] {
                let left = Arc::clone(&left);
                std::thread::spawn(move || {
                    let mut buffer = [0; 16 << 10];
                    while let Ok(len @ 1..) = from.read(&mut buffer) {
                        let before = left.fetch_sub(len as u64, Ordering::Relaxed);
                        if before < len as u64 || to.write_all(&buffer[..len]).is_err() {
                            left.store(0, Ordering::Relaxed);
                            break;
                        }
                    }
                    let _ = from.shutdown(std::net::Shutdown::Both);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    own
}

#[test]
fn a_connection_that_is_cut_is_made_again() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (large, content) = source(from.path(), "large", 20_000_000);
    let mut members = Vec::new();
    for number in 0..300 {
        members.push(source(from.path(), &format!("tree/{}/{number}", number % 5), 10_000));
    }
    let (program, address) = receiver(to.path(), &["--once"]);
    let address = proxy(&address, 3, 5_000_000);
    let tree = from.path().join("tree");
    let arguments = [&address, large.to_str().unwrap(), tree.to_str().unwrap()];
    let (status, output, errors) = Program::start("send_file", &arguments).end();
    assert!(status.success(), "{output:?} {errors:?}");
    assert_eq!(output.len(), 302, "{output:?}");
    assert!(output.contains(&stored("large", &content)));
    assert_eq!(sent(&errors).1, 4, "{errors:?}");
    let (status, output, errors) = program.end();
    assert!(status.success(), "{errors:?}");
    let count = |word| output.iter().filter(|line| line.starts_with(word)).count();
    assert_eq!((count("Accept "), count("Stored "), count("Failed ")), (4, 301, 0));
    assert!(fs::read(to.path().join("large")).unwrap() == content);
    for (path, content) in &members {
        let path = to.path().join(path.strip_prefix(from.path()).unwrap());
        assert!(fs::read(&path).unwrap() == *content, "{}", path.display());
    }
}

#[test]
fn clients_that_say_nothing_or_nonsense_are_in_nobodys_way() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, content) = source(from.path(), "x", 1000);
    let (program, address) = receiver(to.path(), &["--once"]);
    let silent: Vec<_> = (0..64).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let mut browser = TcpStream::connect(&address).unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let own = browser.local_addr().unwrap();
    let failed = format!("Failed {own} the peer does not speak this protocol");
    while program.line() != failed {}
    let (code, output, _) = run("send_file", &[&address, path.to_str().unwrap()]);
    assert_eq!((code, output.lines().nth(1)), (Some(0), Some(stored("x", &content).as_str())));
    assert!(program.end().0.success());
    drop(silent);
}

#[test]
fn a_receiver_that_is_not_there_is_exit_code_1() {
    let from = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (path, _) = source(from.path(), "x", 10);
    for (path, words) in [(path.as_path(), "refused"), (Path::new("/no/such/file"), "No such file")]
    {
        let (code, output, errors) = run("send_file", &[&closed, path.to_str().unwrap()]);
        assert_eq!((code, output.as_str(), errors.lines().count()), (Some(1), "", 1), "{errors}");
        assert!(errors.contains(words), "{errors}");
    }
    let (code, output, errors) = run("recv_file", &["--dir", "/no/such/folder", "127.0.0.1:0"]);
    assert_eq!((code, output.as_str(), errors.lines().count()), (Some(1), "", 1), "{errors}");
}
