//! The bodies of the fuzz targets, as plain functions over bytes.
//!
//! cargo-fuzz calls them with what it invents; the crate's own tests call them with the committed
//! corpus, on stable Rust. A body panics when a promise is broken.
//!
//! # What the corpora reach
//!
//! Lines that run when every body is run over its corpus, by `-C instrument-coverage` (an example that
//! calls the bodies, then `llvm-profdata merge -sparse` and `llvm-cov export -format=lcov
//! --sources src`): `wire` 98.9 %, `proto` 96.9 %, `session` 95.4 %, `fs` 90.6 %. What is left of them,
//! beside lines that only a log sees (`Debug`, `Display`, `can_retry`):
//!
//! - `fs::transfer`, 98 of the 301 lines of `fs`: a file that is read while what the receiver has of it is
//!   still compared, a source that cannot be read any more, a stream that breaks while the disk of its
//!   receiver is at work: that takes things of the same moment on different threads.
//!   `tests/it/fs_transfer.rs` and the simulator have them.
//! - `fs::disk`, `fs::part_file`, `fs::lock`: what a real disk does only when it fails, or when somebody
//!   else takes a name at the same moment. `ShadowDisk` fails in its place, in `tests/it/fs_faults.rs` too.
//! - `fs::batch`, `fs::part`, `fs::inbox`: calls of the disk that fail in one place after a digest was
//!   compared; `tests/it/fs_faults.rs` lets each call fail in turn.
//! - `fs::options`: switches of the crash tests, which take a layer away.
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
