//! The bodies of the fuzz targets, as plain functions over bytes.
//!
//! cargo-fuzz calls them with what it invents; the crate's own tests call them with the committed
//! corpus, on stable Rust. A body panics when a promise is broken.
//!
//! # What the corpora reach
//!
//! Lines that run when every body is run over its corpus, by `-C instrument-coverage` (an example that
//! calls the bodies, then `llvm-profdata merge -sparse` and `llvm-cov export -format=lcov
//! --sources src`): `wire` 98.9 %, `proto` 96.9 %, `session` 95.4 %, `fs` 96.1 %. What is left of them,
//! beside lines that only a log sees (`Debug`, `Display`, `can_retry`):
//!
//! - `fs::transfer`: more than 1 MiB that is read while what the receiver has of a file is still compared,
//!   and a source that cannot be read any more just then: `tests/it/fs_transfer.rs` and the simulator have
//!   them. A session that ends at one call, and not at the one before.
//! - `fs::disk`, `fs::part_file`, `fs::lock`, `fs::source`: what a real disk does only when it fails or is
//!   full, on file systems without locks or without a rename that replaces nothing, or when somebody else
//!   takes a name at the same moment; the last of a thousand numbers. `ShadowDisk` fails in its place, in
//!   `tests/it/fs_faults.rs` too, and `tests/it/fs_between.rs` and `fs_swapped.rs` have the moments.
//! - `fs::part`, `fs::receiver`: a part that is longer or shorter than what was written to it, a file that
//!   comes back under its name while it is received; `tests/it/fs_stored.rs` and `fs_between.rs`.
//! - `fs::options`, `fs::running_digest`: switches of the crash tests, which take a layer away.
//! - `session::reconnect`, `session::conversations`: a connection that is made when the conversation has
//!   ended meanwhile, a resumption that nobody waits for any more; `tests/it/session_reconnecting.rs`.
//! - `net`, and `legacy` over sockets: they need sockets. Their parsers have targets of their own.

pub mod connection_bytes;
pub mod connection_calls;
pub mod connection_ops;
pub mod crash_store;
pub mod driver_script;
pub mod file_name;
pub mod frame_decode;
pub mod frame_roundtrip;
pub mod frame_spec_diff;
pub mod hostile_application;
pub mod legacy_codec;
pub mod machine;
pub mod mutate;
pub mod pieces;
mod program;
pub mod read_all_script;
pub mod receive_script;
pub mod resume_journal;
pub mod script;
pub mod spec;
pub mod two_peers;
pub mod write_all_script;
