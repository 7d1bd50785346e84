//! The two programs as processes: what scripts see of them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::{fd::OwnedFd, unix::net::UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Far more than anything here takes; a test that hangs ends with it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An example that `cargo test` has built beside this test.
pub(crate) fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(name);
    assert!(path.exists(), "{} is missing: run the whole `cargo test`", path.display());
    Command::new(path)
}

/// A running program, its output line by line.
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<String>,
    status: Receiver<String>,
}

fn lines(source: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines() {
            if sender.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Program {
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        let mut child = example(name)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            output: lines(child.stdout.take().unwrap()),
            status: lines(child.stderr.take().unwrap()),
            child,
        }
    }

    pub(crate) fn line(&self) -> String {
        self.output.recv_timeout(PATIENCE).expect("a line on standard output")
    }

    pub(crate) fn status(&self) -> String {
        self.status.recv_timeout(PATIENCE).expect("a line on standard error")
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// Waits for its end; gives the rest of standard output and of standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<String>, Vec<String>) {
        self.end_input();
        let rest = |lines: &Receiver<String>| -> Vec<String> {
            std::iter::from_fn(|| lines.recv_timeout(PATIENCE).ok()).collect()
        };
        let (output, status) = (rest(&self.output), rest(&self.status));
        (self.child.wait().unwrap(), output, status)
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Starts `recv_file --legacy` and gives its address, too.
fn receiver(folder: &Path, more: &[&str]) -> (Program, String) {
    let folder = folder.to_str().unwrap();
    let mut arguments = vec!["--legacy", "--dir", folder];
    arguments.extend(more);
    arguments.push("127.0.0.1:0");
    let program = Program::start("recv_file", &arguments);
    let line = program.line();
    let address = line.strip_prefix("Listening ... 127.0.0.1:").expect("the chapter's words");
    assert_ne!(address, "0", "the real port");
    (program, format!("127.0.0.1:{address}"))
}

pub(crate) fn run(name: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = example(name).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != super::fs_util::TABLE);
    names.sort();
    names
}

pub(crate) fn source(folder: &Path, name: &str, len: u32) -> (PathBuf, Vec<u8>) {
    let content: Vec<u8> = (0..len).map(|n| (n.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
    let path = folder.join(name);
    fs::write(&path, &content).unwrap();
    (path, content)
}

#[test]
fn files_go_from_process_to_process() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (program, address) = receiver(to.path(), &["--name", "got.bin"]);
    let (large, large_content) = source(from.path(), "large.bin", 20_000_003);
    let (empty, _) = source(from.path(), "empty.bin", 0);
    let (large, empty) = (large.to_str().unwrap(), empty.to_str().unwrap());

    let (code, output, errors) = run("send_file", &["--legacy", &address, large, empty]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let expected = format!(
        "Connected to {address}\nSent {large} 20000003\nDisconnected\n\
         Connected to {address}\nSent {empty} 0\nDisconnected\n"
    );
    assert_eq!(output, expected);

    let mut stored = Vec::new();
    while stored.len() < 2 {
        let line = program.line();
        if let Some(rest) = line.strip_prefix("Stored ") {
            stored.push(rest.to_owned());
        } else {
            assert!(line.starts_with("Accept 127.0.0.1:"), "{line}");
        }
    }
    // Two clients at once: which is stored first is theirs to decide.
    let sizes: Vec<_> = stored.iter().map(|line| line.rsplit_once(' ').unwrap().1).collect();
    assert!(sizes.contains(&"20000003") && sizes.contains(&"0"), "{stored:?}");
    program.kill();
    assert_eq!(names(to.path()), ["got (1).bin", "got.bin"]);
    let contents: Vec<_> =
        names(to.path()).iter().map(|name| fs::read(to.path().join(name)).unwrap()).collect();
    assert!(contents.contains(&large_content) && contents.contains(&Vec::new()));
}

#[test]
fn once_ends_with_the_outcome_of_the_one_client() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, content) = source(from.path(), "x", 100_000);
    let (program, address) = receiver(to.path(), &["--once"]);
    let (code, ..) = run("send_file", &["--legacy", &address, path.to_str().unwrap()]);
    assert_eq!(code, Some(0));
    let (status, output, errors) = program.end();
    assert!(status.success(), "{errors:?}");
    let stored = to.path().join("Default.file");
    assert_eq!(output.len(), 2);
    assert!(output[0].starts_with("Accept 127.0.0.1:"));
    assert_eq!(output[1], format!("Stored {} 100000", stored.display()));
    assert!(fs::read(stored).unwrap() == content);
}

#[test]
fn peers_that_send_nothing_too_little_or_nonsense_leave_nothing() {
    // B2, B3, B12, B14: a file exists only when it is whole.
    for (bytes, reason) in [
        (&b""[..], "without a word"),
        (b"\x05\0", "half a size"),
        (b"\x05\0\0\0hel", "too little"),
        (b"\x05\0\0\0hello, and more", "too much"),
        (b"\xFF\xFF\xFF\xFF", "a negative size"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "a browser"),
    ] {
        let to = tempfile::tempdir().unwrap();
        let (program, address) = receiver(to.path(), &["--once"]);
        let mut stream = TcpStream::connect(&address).unwrap();
        let own = stream.local_addr().unwrap();
        stream.write_all(bytes).unwrap();
        drop(stream);
        let (status, output, errors) = program.end();
        assert_eq!(status.code(), Some(1), "{reason}");
        assert_eq!(output[0], format!("Accept {own}"), "the peer's address (B24)");
        assert!(output[1].starts_with(&format!("Failed {own} ")), "{reason}: {output:?}");
        assert_eq!((output.len(), errors.len()), (2, 1), "{reason}: {errors:?}");
        assert_eq!(names(to.path()), [""; 0], "{reason}");
    }
}

#[test]
fn a_failing_client_ends_neither_the_server_nor_another_client() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, _) = source(from.path(), "x", 1000);
    let (program, address) = receiver(to.path(), &[]);
    // B13: one that says nothing does not hold up the others.
    let silent = TcpStream::connect(&address).unwrap();
    assert_eq!(program.line(), format!("Accept {}", silent.local_addr().unwrap()));
    let (code, ..) = run("send_file", &["--legacy", &address, path.to_str().unwrap()]);
    assert_eq!(code, Some(0));
    assert!(program.line().starts_with("Accept "));
    assert!(program.line().starts_with("Stored "));
    let own = silent.local_addr().unwrap();
    drop(silent);
    assert!(program.line().starts_with(&format!("Failed {own} ")));
    program.kill();
}

#[test]
fn what_cannot_be_sent_is_one_clear_line_and_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (path, _) = source(folder.path(), "x", 10);
    let large = folder.path().join("large");
    fs::File::create(&large).unwrap().set_len(1 << 31).unwrap();
    for (file, words) in [
        (path.as_path(), "refused"),
        (Path::new("/no/such/file"), "No such file"),
        (folder.path(), "not a regular file"),
        (&large, "2147483648"),
    ] {
        let (code, output, errors) =
            run("send_file", &["--legacy", &closed, file.to_str().unwrap()]);
        assert_eq!((code, output.as_str()), (Some(1), ""), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains(words), "{errors}");
    }
    let (code, output, errors) =
        run("recv_file", &["--legacy", "--dir", "/no/such/folder", "127.0.0.1:0"]);
    assert_eq!((code, output.as_str(), errors.lines().count()), (Some(1), "", 1), "{errors}");
}

#[test]
fn wrong_usage_is_exit_code_2_and_help_is_0() {
    for (program, arguments) in [
        ("recv_file", &["--dir", ".", "--name", "x", "127.0.0.1:0"][..]),
        ("recv_file", &["--dir", ".", "--accept", "some", "127.0.0.1:0"]),
        ("recv_file", &["--dir", ".", "--max-size", "-1", "127.0.0.1:0"]),
        ("recv_file", &["--dir", "."]),
        ("recv_file", &["127.0.0.1:0"]),
        ("recv_file", &["--legacy", "--dir", ".", "--accept", "all", "127.0.0.1:0"]),
        ("recv_file", &["--legacy", "127.0.0.1:0"]),
        ("recv_file", &["--legacy", "--dir", "."]),
        ("recv_file", &["--legacy", "--dir", ".", "--name", "../x", "127.0.0.1:0"]),
        ("recv_file", &["--legacy", "--dir", ".", "--bogus", "127.0.0.1:0"]),
        ("recv_file", &["--legacy", "--dir", ".", "http://localhost:80/"]),
        ("send_file", &["127.0.0.1:1"]),
        ("send_file", &[]),
        ("send_file", &["--limit", "fast", "127.0.0.1:1", "x"]),
        ("send_file", &["--legacy", "--identity", "x", "127.0.0.1:1", "x"]),
        ("send_file", &["--legacy", "127.0.0.1:1"]),
        ("send_file", &["--legacy"]),
        ("chat", &["--encoding", "utf-8", "--listen", "127.0.0.1:0"]),
        ("chat", &["--legacy"]),
        ("chat", &["--legacy", "--listen", "127.0.0.1:0", "--connect", "127.0.0.1:1"]),
        ("chat", &["--legacy", "--encoding", "klingon", "--listen", "127.0.0.1:0"]),
    ] {
        let (code, output, errors) = run(program, arguments);
        assert_eq!((code, output.as_str()), (Some(2), ""), "{program} {arguments:?}: {errors}");
        assert!(errors.contains("usage: "), "{errors}");
        // Not so long that what was wrong is out of sight.
        assert!(errors.lines().count() <= 6, "{errors}");
        assert!(errors.ends_with("--help says more.\n"), "{errors}");
    }
    for program in ["recv_file", "send_file", "chat"] {
        let (code, output, errors) = run(program, &["--help"]);
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        assert!(output.starts_with("usage: "));
    }
}

/// Starts a listening chat, and gives its address, too.
fn listening_chat(more: &[&str]) -> (Program, String) {
    let mut arguments = vec!["--legacy", "--listen", "127.0.0.1:0"];
    arguments.extend(more);
    let program = Program::start("chat", &arguments);
    assert_eq!(program.status(), "Listening...");
    let address = program.status().strip_prefix("Address: ").unwrap().to_owned();
    (program, address)
}

#[test]
fn a_chat_goes_both_ways_and_the_listener_listens_again() {
    let (mut server, address) = listening_chat(&[]);
    for round in ["first", "second"] {
        let mut client = Program::start("chat", &["--legacy", "--connect", &address]);
        assert_eq!(client.status(), format!("Connected to: {address}"));
        assert!(server.status().starts_with("Connected to: 127.0.0.1:"));
        client.say(&format!("{round}: hello\n"));
        assert_eq!(server.line(), format!("{round}: hello"));
        server.say("안녕하세요\n");
        assert_eq!(client.line(), "안녕하세요");
        // The end of input sends what is left, closes and ends.
        client.say("the last line has no end");
        let (status, output, errors) = client.end();
        assert!(status.success());
        assert_eq!((output, errors), (vec![], vec![]));
        assert_eq!(server.line(), "the last line has no end");
        assert_eq!(server.status(), "Listening...");
    }
    let (status, output, _) = server.end();
    assert!(status.success());
    assert_eq!(output, [""; 0]);
}

#[test]
fn a_chat_is_between_two() {
    // B21: in the chapter a second client is shown, answered to the first, and ends both.
    let (mut server, address) = listening_chat(&[]);
    let mut first = TcpStream::connect(&address).unwrap();
    assert!(server.status().starts_with("Connected to: "));
    let mut second = TcpStream::connect(&address).unwrap();
    let second_address = second.local_addr().unwrap();
    assert_eq!(second.read(&mut [0; 1]).unwrap(), 0, "let go at once");
    assert_eq!(server.status(), format!("Refused: {second_address}"));
    server.say("only for the first\n");
    let mut received = [0; 18];
    first.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"only for the first");
    server.kill();
}

#[test]
fn a_line_that_a_peer_did_not_take_goes_to_nobody_else() {
    let (mut server, address) = listening_chat(&[]);
    let first = TcpStream::connect(&address).unwrap();
    assert!(server.status().starts_with("Connected to: "));
    // Far more than the buffers of two sockets hold: it is on its way when the peer leaves.
    let secret = "secret ".repeat(5 << 20);
    server.say(&secret);
    server.say("\n");
    let mut start = [0; 6];
    (&first).read_exact(&mut start).unwrap();
    drop(first);
    while !server.status().starts_with("Not sent: secret") {}
    assert_eq!(server.status(), "Listening...");
    let mut second = TcpStream::connect(&address).unwrap();
    server.say("for the second\n");
    let mut received = [0; 14];
    second.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"for the second");
    server.kill();
}

#[test]
fn lines_that_the_peer_did_not_wait_for_are_exit_code_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut client = Program::start("chat", &["--legacy", "--connect", &address]);
    // Far more than are sent, one in 30 ms, before the peer's end is noticed.
    client.say(&format!("one\n{}", "two\n".repeat(500)));
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut [0; 3]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.status(), format!("Connected to: {address}"));
    assert_eq!(client.status(), "The peer has left.");
    let left = client.status();
    assert_eq!(left, "Not sent: two");
    assert_eq!(client.end().0.code(), Some(1));
}

#[test]
fn a_connection_that_breaks_during_the_farewell_is_exit_code_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut client = Program::start("chat", &["--legacy", "--connect", &address]);
    client.say("hello\n");
    client.end_input();
    let (stream, _) = listener.accept().unwrap();
    // All of it has been sent: the end of the bytes is there, and unread.
    while stream.peek(&mut [0; 16]).unwrap() < 5 {}
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    assert_eq!(client.end().0.code(), Some(1));
}

#[test]
fn a_connection_that_breaks_is_exit_code_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let client = Program::start("chat", &["--legacy", "--connect", &address]);
    let (stream, _) = listener.accept().unwrap();
    assert_eq!(client.status(), format!("Connected to: {address}"));
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    let line = client.status();
    assert!(line.contains("reset"), "{line}");
    let (status, output, errors) = client.end();
    assert_eq!((status.code(), output, errors), (Some(1), vec![], vec![]));
}

/// Our end and theirs of an output that can be closed at a certain moment. Closing a pipe cannot: a
/// process that another test is starting has it open until it runs its own program.
#[cfg(unix)]
fn unread_output() -> (UnixStream, Stdio) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (ours, Stdio::from(OwnedFd::from(theirs)))
}

#[cfg(unix)]
#[test]
fn a_program_whose_output_nobody_reads_ends_with_exit_code_1() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, _) = source(from.path(), "x", 1000);
    // A receiver whose output is closed after its first line.
    let (output, theirs) = unread_output();
    let receiver = example("recv_file")
        .args(["--legacy", "--dir", to.path().to_str().unwrap(), "127.0.0.1:0"])
        .stdout(theirs)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::with_capacity(1, &output).read_line(&mut line).unwrap();
    output.shutdown(Shutdown::Both).unwrap();
    let address = line.trim().strip_prefix("Listening ... ").unwrap();
    // Whether the sender notices is up to the network; the receiver stores nothing in silence.
    run("send_file", &["--legacy", address, path.to_str().unwrap()]);
    let ended = receiver.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert!(errors.starts_with("standard output is closed") && errors.lines().count() == 1);
    assert_eq!(names(to.path()), [""; 0]);

    // A chat: at the first message that nobody would see.
    let (output, theirs) = unread_output();
    output.shutdown(Shutdown::Both).unwrap();
    let mut chat = example("chat")
        .args(["--legacy", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::piped())
        .stdout(theirs)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = lines(chat.stderr.take().unwrap());
    assert_eq!(status.recv_timeout(PATIENCE).unwrap(), "Listening...");
    let address = status.recv_timeout(PATIENCE).unwrap();
    let mut peer = TcpStream::connect(address.strip_prefix("Address: ").unwrap()).unwrap();
    peer.write_all(b"hello").unwrap();
    assert_eq!(chat.wait().unwrap().code(), Some(1));
}

#[test]
fn a_listener_at_the_end_of_its_input_sends_what_is_left_to_the_next_peer() {
    let (mut server, address) = listening_chat(&[]);
    server.say("kept for you\n");
    server.end_input();
    let mut stream = TcpStream::connect(address).unwrap();
    let mut received = String::new();
    stream.read_to_string(&mut received).unwrap();
    assert_eq!(received, "kept for you");
    drop(stream);
    assert!(server.end().0.success());
}

#[test]
fn a_peer_that_leaves_ends_the_connecting_chat() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let client = Program::start("chat", &["--legacy", "--connect", &address]);
    drop(listener.accept().unwrap());
    assert_eq!(client.status(), format!("Connected to: {address}"));
    // Its input is still open: the peer's leaving alone ends it.
    assert_eq!(client.status(), "The peer has left.");
    let (status, output, errors) = client.end();
    assert_eq!((status.code(), output, errors), (Some(0), vec![], vec![]));
}

#[test]
fn control_characters_from_a_peer_are_escaped() {
    // H30, A14: neither colours nor a line of one's own making.
    let (server, address) = listening_chat(&[]);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all("a\x1b[31mb\nStored c\u{202E}d \x07\u{9b}".as_bytes()).unwrap();
    assert_eq!(server.line(), "a\\u{1b}[31mb\\nStored c\\u{202e}d \\u{7}\\u{9b}");
    drop(stream);
    assert!(server.end().0.success());
}

#[test]
fn the_original_encoding_is_spoken() {
    let (mut server, address) = listening_chat(&["--encoding", "euc-kr"]);
    let mut stream = TcpStream::connect(address).unwrap();
    let korean = [0xC7, 0xD1, 0xB1, 0xDB]; // 한글
    stream.write_all(&korean[..3]).unwrap();
    server.say("한글\n");
    let mut received = [0; 4];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(received, korean);
    // What the encoding lacks is told, and the conversation goes on.
    server.say("☃\n글\n");
    assert!(server.status().starts_with("Connected to: "));
    assert!(server.status().contains("U+2603"));
    stream.read_exact(&mut received[..2]).unwrap();
    assert_eq!(received[..2], korean[2..]);
    assert_eq!(server.line(), "한");
    stream.write_all(&korean[3..]).unwrap();
    assert_eq!(server.line(), "글");
    drop(stream);
    assert!(server.end().0.success());
}

#[test]
fn a_connection_that_fails_has_the_chapters_words() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (code, output, errors) = run("chat", &["--legacy", "--connect", &closed]);
    assert_eq!((code, output.as_str(), errors.lines().count()), (Some(1), "", 1), "{errors}");
    assert!(errors.starts_with(&format!("Error connecting to : {closed}")), "{errors}");
}

#[test]
fn the_scenario_runs_as_a_program_on_every_runtime() {
    for name in ["legacy_on_smol", "legacy_on_tokio", "legacy_in_memory", "legacy_blocking"] {
        let (code, output, errors) = run(name, &[]);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{name}");
        assert!(output.ends_with("1048576 bytes arrived as they were sent\n"), "{name}: {output}");
    }
}

#[test]
fn a_server_on_tokio_takes_a_line_and_a_file() {
    let (code, output, errors) = run("on_tokio", &[]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    for line in ["heard \"Is anybody there?\"", "stored notes.txt, 1000000 bytes"] {
        assert!(output.lines().any(|other| other == line), "{output}");
    }
    assert!(output.ends_with("the file arrived as it was sent\n"), "{output}");
}

#[test]
fn who_has_another_secret_is_refused() {
    let (code, output, errors) = run("shared_secret", &[]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let [client, server, other_client, other_server] = output.lines().collect::<Vec<_>>()[..]
    else {
        panic!("{output}")
    };
    assert_eq!([client, server], ["the client: open", "the server: open"]);
    assert!(other_client.contains("(refused)") && other_server.contains("(refused)"), "{output}");
}
