//! The bodies of the fuzz targets over the committed corpus, on stable Rust.

use std::fs;
use std::path::Path;

#[allow(
    unreachable_pub,
    missing_debug_implementations,
    clippy::too_many_lines,
    reason = "it is a library of its own, with long tables of what an input may mean"
)]
#[path = "../../fuzz/src/lib.rs"]
mod bodies;

/// Runs `body` over every input of a target.
fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let input = fs::read(&path).unwrap();
        if let Err(panic) = std::panic::catch_unwind(|| body(&input)) {
            eprintln!("input: {}", path.display());
            std::panic::resume_unwind(panic);
        }
        inputs += 1;
    }
    assert!(inputs >= 20, "{} holds {inputs} inputs only", folder.display());
    body(&[]);
}

#[test]
fn frame_decode() {
    replay("frame_decode", bodies::frame_decode::run);
}

#[test]
fn frame_roundtrip() {
    replay("frame_roundtrip", bodies::frame_roundtrip::run);
}

#[test]
fn frame_spec_diff() {
    replay("frame_spec_diff", bodies::frame_spec_diff::run);
}

#[test]
fn legacy_codec() {
    replay("legacy_codec", bodies::legacy_codec::run);
}

#[test]
fn read_all_script() {
    replay("read_all_script", bodies::read_all_script::run);
}

#[test]
fn write_all_script() {
    replay("write_all_script", bodies::write_all_script::run);
}

#[test]
fn two_peers() {
    replay("two_peers", bodies::two_peers::run);
}

#[test]
fn connection_calls() {
    replay("connection_calls", bodies::connection_calls::run);
}

#[test]
fn connection_bytes() {
    replay("connection_bytes", bodies::connection_bytes::run);
}

#[test]
fn connection_ops() {
    replay("connection_ops", bodies::connection_ops::run);
}

#[test]
fn crash_store() {
    replay("crash_store", bodies::crash_store::run);
}

#[test]
fn file_name() {
    replay("file_name", bodies::file_name::run);
}

#[test]
fn resume_journal() {
    replay("resume_journal", bodies::resume_journal::run);
}

#[test]
fn driver_script() {
    replay("driver_script", bodies::driver_script::run);
}

#[test]
fn receive_script() {
    replay("receive_script", bodies::receive_script::run);
}

#[test]
fn hostile_application() {
    replay("hostile_application", bodies::hostile_application::run);
}
