//! Every public future has a test that drops it. The list is held against the public interface; that of
//! `session` is in `session_drops`, and `testing` is for tests.

use std::collections::BTreeSet;
use std::fs::read_to_string;
use std::path::Path;

use super::rows::tests;

/// What returns a future, or is one; the test that drops it; and what stands there. A future that has a
/// timer of its own is the one of `…_with`, and nothing else.
const DROPPED: &[(&str, &str, &str)] = &[
    ("fs::PartFile::create", PART_FILE, "PartFile::create("),
    ("fs::PartFile::publish", PART_FILE, ".publish("),
    ("fs::receive", "fs_drops::h45_receive_dropped_at_any_poll", "receive("),
    ("fs::receive_batch", "fs_drops::h45_receive_batch_dropped_at_any_poll", "receive_batch("),
    ("fs::send", "fs_drops::h45_send_dropped_at_any_poll", "send("),
    ("fs::send_tree", "fs_drops::h45_send_tree_dropped_at_any_poll", "send_tree("),
    ("io::ReadAll", READ_ALL, "read_all_with("),
    ("io::WriteAllChunked", WRITE_ALL, "write_all_chunked_with("),
    ("legacy::ChatReader::receive", CHAT_RECEIVED, ".receive_with("),
    ("legacy::ChatReader::receive_with", CHAT_RECEIVED, ".receive_with("),
    ("legacy::ChatWriter::close", CHAT_SENT, ".close_with("),
    ("legacy::ChatWriter::close_with", CHAT_SENT, ".close_with("),
    ("legacy::ChatWriter::flush", CHAT_SENT, ".flush_with("),
    ("legacy::ChatWriter::flush_with", CHAT_SENT, ".flush_with("),
    ("legacy::ChatWriter::send", CHAT_SENT, ".send_with("),
    ("legacy::ChatWriter::send_with", CHAT_SENT, ".send_with("),
    ("legacy::FileReceiver::receive", FILE_RECEIVED, ".receive_with("),
    ("legacy::FileReceiver::receive_size", SIZE_RECEIVED, ".receive_size_with("),
    ("legacy::FileReceiver::receive_size_with", SIZE_RECEIVED, ".receive_size_with("),
    ("legacy::FileReceiver::receive_with", FILE_RECEIVED, ".receive_with("),
    ("legacy::FileSender::send", FILE_SENT, ".send_with("),
    ("legacy::FileSender::send_with", FILE_SENT, ".send_with("),
    ("net::Connector::connect", CONNECT, "connector.connect("),
    ("net::ListenOptions::bind", BIND, "ListenOptions::new().bind("),
    (
        "net::Listener::accept",
        "net_connect::dropping_accept_loses_no_connection",
        "listener.accept()",
    ),
    ("net::Listener::any", BIND, "Listener::any("),
    ("net::Listener::bind", BIND, "Listener::bind("),
    ("net::Replacing", SERVER, "server.replace_stream("),
    ("net::Server::serve", SERVER, "server.serve("),
    ("net::Server::serve_local", SERVER, "server.serve_local("),
    ("net::Stopping", STOPPING, "stopping.poll_unpin("),
    ("net::connect", CONNECT, "connect("),
    ("net::serve", PLAIN_SERVER, " serve(listener, "),
    ("net::service_port", BIND, "service_port("),
];

const PART_FILE: &str = "part_file::dropped_at_every_poll_leaves_the_whole_file_or_none";
const READ_ALL: &str =
    "drop_at_every_poll::read_all_dropped_after_every_number_of_polls_loses_no_byte";
const WRITE_ALL: &str = "drop_at_every_poll::write_all_chunked_dropped_after_every_number_of_polls_writes_every_byte_once";
const CHAT_RECEIVED: &str = "legacy_drops::chat_received_with_drops_is_the_same_text";
const CHAT_SENT: &str = "legacy_drops::chat_sent_with_drops_is_the_same_bytes";
const FILE_RECEIVED: &str = "legacy_drops::a_file_received_with_drops_is_the_same_file";
const FILE_SENT: &str = "legacy_drops::a_file_sent_with_drops_is_the_same_wire";
const SIZE_RECEIVED: &str =
    "legacy_drops::a_size_received_with_drops_leaves_the_file_in_the_stream";
const CONNECT: &str = "net_connect::dropping_connect_at_any_poll_leaves_the_listener_usable";
const BIND: &str = "net_connect::dropping_bind_at_any_poll_leaves_the_address_free";
const SERVER: &str = "net_leaks::dropping_the_server_at_any_poll_ends_everything";

const PLAIN_SERVER: &str = "net_leaks::dropping_a_plain_server_at_any_poll_ends_everything";
const STOPPING: &str = "net_leaks::a_wait_for_the_stop_dropped_at_any_poll_can_be_asked_again";

const MODULES: [&str; 4] = ["fs::", "io::", "legacy::", "net::"];

/// Without what stands between angle brackets.
fn plain(path: &str) -> String {
    let mut depth = 0_usize;
    let mut found = String::new();
    for character in path.chars() {
        match character {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ if depth == 0 => found.push(character),
            _ => {}
        }
    }
    found
}

/// The path of a function that returns a future, or of a type that is one.
fn future_of(line: &str) -> Option<String> {
    if let Some((_, is_for)) = line.split_once("core::future::future::Future for duologue::") {
        return Some(plain(is_for.split(" where ").next()?));
    }
    let is_async = line.strip_prefix("pub async fn duologue::");
    let function = is_async.or_else(|| line.strip_prefix("pub fn duologue::"))?;
    let (path, rest) = function.split_once('(')?;
    let is_future = is_async.is_some() || rest.contains(") -> impl core::future::future::Future");
    is_future.then(|| plain(path))
}

#[test]
fn every_public_future_has_a_test_that_drops_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interface = read_to_string(root.join("tests/public-api.txt")).unwrap();
    let futures = interface.lines().filter_map(future_of);
    let found: BTreeSet<String> =
        futures.filter(|path| MODULES.iter().any(|module| path.starts_with(module))).collect();
    let listed: BTreeSet<String> = DROPPED.iter().map(|(path, ..)| (*path).to_owned()).collect();
    assert_eq!(found, listed, "a future without a test, or a test without its future");

    let tests = tests();
    for (path, test, call) in DROPPED {
        assert!(tests.contains(*test), "{path}: there is no {test}");
        let module = test.split("::").next().unwrap();
        let text = read_to_string(root.join("tests/it").join(module).with_extension("rs")).unwrap();
        assert!(text.contains(call), "{path}: there is no {call} in {module}");
    }
}
