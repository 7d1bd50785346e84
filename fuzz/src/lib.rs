//! The bodies of the fuzz targets, as plain functions over bytes.
//!
//! cargo-fuzz calls them with what it invents; the crate's own tests call them with the committed
//! corpus, on stable Rust. A body panics when a promise is broken.
//!
//! # What the corpora reach
//!
//! Lines that run when every body is run over its corpus, as `.ci/long coverage` does: `wire` 98.9 %, `proto`
//! 96.9 %, `session` 95.4 %, `fs` 96.4 %. What is left of them, beside lines that only a log sees (`Debug`,
//! `Display`, `can_retry`):
//!
//! - `fs::transfer`: more than 1 MiB that is read while what the receiver has of a file is still compared,
//!   and a source that cannot be read any more just then: `tests/it/fs_transfer.rs` has
//!   them. (The simulator sends and receives by loops of its own.) A session that ends at one call, and not at the one before.
//! - `fs::disk`, `fs::part_file`, `fs::lock`, `fs::source`: what a real disk does only when it fails or is
//!   full, on file systems without locks or without a rename that replaces nothing, or when somebody else
//!   takes a name at the same moment; the last of a thousand numbers. `ShadowDisk` fails in its place, in
//!   `tests/it/fs_faults.rs` too, and `tests/it/fs_between.rs` and `fs_swapped.rs` have the moments.
//! - `fs::part`, `fs::receiver`: a part that is longer or shorter than what was written to it, a file that
//!   comes back under its name while it is received; `tests/it/fs_stored.rs` and `fs_between.rs`.
//! - `fs::options`, `fs::running_digest`: switches of the crash tests, which take a layer away.
//! - `session::reconnect`, `session::conversations`: a connection that is made when the conversation has
//!   ended meanwhile, a resumption that nobody waits for any more; `tests/it/session_reconnecting.rs`.
//! - `net`, and `legacy` over sockets: they need sockets. The formats of `legacy` have `legacy_codec`; what
//!   `net` reads, targets and the services file, comes from the user and the system, not from a peer, and has
//!   tests only.
//!
//! # How long they ran
//!
//! The longest runs without a finding, of November 2026, beside other work on two cores, as `.ci/long fuzz`
//! does; what earlier ones found is in the corpora. `connection_calls` has 29 minutes, not 30. The last column is
//! of two minutes each with the address sanitizer, `.ci/long fuzz-asan`, beside other builds; nothing was found.
//!
//! | target | minutes | inputs | inputs under ASan |
//! |---|---|---|---|
//! | `frame_decode` | 30 | 3,137,436 | 19,915 |
//! | `frame_spec_diff` | 30 | 3,109,193 | 3,765 |
//! | `frame_roundtrip` | 30 | 7,737,853 | 30,647 |
//! | `connection_bytes` | 30 | 44,434 | 5,113 |
//! | `connection_calls` | 29 | 1,596,932 | 4,300 |
//! | `connection_ops` | 30 | 66,590 | 4,681 |
//! | `driver_script` | 30 | 98,424 | 1,048 |
//! | `two_peers` | 10 | 102,146 | 592 |
//! | `legacy_codec` | 10 | 1,207,147 | 2,304 |
//! | `read_all_script` | 10 | 1,595,331 | 5,844 |
//! | `write_all_script` | 10 | 4,918,363 | 9,024 |
//! | `resume_journal` | 10 | 841,019 | 1,114 |
//! | `crash_store` | 10 | 669,997 | 7,790 |
//! | `file_name` | 10 | 10,392,463 | 70,242 |
//! | `hostile_application` | 10 | 171,038 | 10,011 |
//! | `receive_script` | 10 | 5,312 | 644 |

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
