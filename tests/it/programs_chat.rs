//! The chat program with the protocol of the crate, as processes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::channel;

use super::programs::{Program, source};

/// Starts a listening chat, and gives its address, too.
fn listening(folder: &std::path::Path) -> (Program, String) {
    let program =
        Program::start("chat", &["--dir", folder.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(program.status(), "Listening...");
    let address = program.status().strip_prefix("Address: ").unwrap().to_owned();
    (program, address)
}

fn enter(program: &mut Program, line: &str) {
    program.say(&format!("{line}\n"));
}

/// Reads status until a line begins so, and returns it.
fn until(program: &Program, beginning: &str) -> String {
    loop {
        let line = program.status();
        if line.starts_with(beginning) {
            return line;
        }
    }
}

#[test]
fn lines_and_a_file_go_both_ways_and_the_listener_listens_again() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, content) = source(here.path(), "notes.bin", 3_000_000);
    let (mut server, address) = listening(there.path());
    for round in 0..2 {
        let mut client = Program::start("chat", &["--connect", &address]);
        enter(&mut client, "한글도 보입니까?");
        assert_eq!(server.line(), "한글도 보입니까?");
        enter(&mut server, "네, \u{1B}[31m잘 보입니다.");
        assert_eq!(client.line(), "네, \\u{1b}[31m잘 보입니다.");
        assert_eq!(until(&client, "Delivered"), "Delivered 1");

        enter(&mut client, &format!("/send {}", path.display()));
        let offer = until(&server, "Offer");
        assert_eq!(offer, "Offer 1: notes.bin, 3000000 bytes; /accept 1 or /reject 1");
        // The input ends, and the program waits for what is under way.
        enter(&mut client, "bye");
        client.end_input();
        assert_eq!(server.line(), "bye");
        if round == 0 {
            enter(&mut server, "/accept 1");
            assert_eq!(until(&server, "Stored"), "Stored 1: notes.bin, 3000000 bytes");
            assert_eq!(std::fs::read(there.path().join("notes.bin")).unwrap(), content);
            assert!(until(&client, "Sent").ends_with("stored there as notes.bin, 3000000 bytes"));
        } else {
            enter(&mut server, "/reject 1");
            assert!(until(&client, "Not sent").ends_with("not stored (declined)"));
        }
        let (status, ..) = client.end();
        assert!(status.success());
        assert!(until(&server, "The chat is over").ends_with("closed by the peer (done)"));
        assert_eq!(server.status(), "Listening...");
    }
    server.kill();
}

#[test]
fn a_command_that_does_not_exist_is_not_said() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = listening(folder.path());
    let mut client = Program::start("chat", &["--connect", &address]);
    for line in ["/help", "/quit now", "/", "//quit now", "half / half"] {
        enter(&mut client, line);
    }
    for command in ["/help", "/quit", "/"] {
        let line = format!("{command}: unknown command; //TEXT says /TEXT");
        assert_eq!(until(&client, "/"), line);
    }
    assert_eq!([server.line(), server.line()], ["/quit now", "half / half"]);
    client.kill();
    server.kill();
}

/// A proxy whose connections can be cut: each accepted one is sent to the channel.
fn proxy(target: String) -> (String, std::sync::mpsc::Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (near, far) = (near.unwrap(), TcpStream::connect(&target).unwrap());
            let copy = |mut from: TcpStream, mut to: TcpStream| {
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(len @ 1..) = from.read(&mut buffer) {
                        if to.write_all(&buffer[..len]).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(Shutdown::Write);
                });
            };
            copy(near.try_clone().unwrap(), far.try_clone().unwrap());
            copy(far, near.try_clone().unwrap());
            if sender.send(near).is_err() {
                return;
            }
        }
    });
    (address, receiver)
}

#[test]
fn a_chat_whose_connection_is_cut_goes_on_and_loses_nothing() {
    let there = tempfile::tempdir().unwrap();
    let (mut server, address) = listening(there.path());
    let (address, connections) = proxy(address);
    let mut client = Program::start("chat", &["--connect", &address]);
    let mut cable = connections.recv().unwrap();
    for round in 0..3 {
        enter(&mut client, &format!("before {round}"));
        assert_eq!(server.line(), format!("before {round}"));
        cable.shutdown(Shutdown::Both).unwrap();
        until(&client, "The connection broke");
        enter(&mut client, &format!("during {round}"));
        cable = connections.recv().unwrap();
        assert_eq!(server.line(), format!("during {round}"));
        enter(&mut server, &format!("heard {round}"));
        assert_eq!(client.line(), format!("heard {round}"));
    }
    client.end_input();
    let (status, output, _) = client.end();
    assert!(status.success());
    assert!(output.is_empty(), "{output:?}");
    server.kill();
}

#[test]
fn a_chat_is_between_two_and_the_third_is_refused() {
    let there = tempfile::tempdir().unwrap();
    let (server, address) = listening(there.path());
    let mut first = Program::start("chat", &["--connect", &address]);
    enter(&mut first, "here I am");
    assert_eq!(server.line(), "here I am");
    let third = Program::start("chat", &["--connect", &address]);
    let (status, output, errors) = third.end();
    assert_eq!((status.code(), output.len()), (Some(1), 0), "{errors:?}");
    assert!(until(&server, "Refused").contains("as many conversations as there may be"));
    enter(&mut first, "still here");
    assert_eq!(server.line(), "still here");
    first.kill();
    server.kill();
}
