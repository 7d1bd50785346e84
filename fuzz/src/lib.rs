//! The bodies of the fuzz targets, as plain functions over bytes.
//!
//! cargo-fuzz calls them with what it invents; the crate's own tests call them with the committed
//! corpus, on stable Rust. A body panics when a promise is broken.

pub mod connection_bytes;
pub mod connection_calls;
pub mod connection_ops;
pub mod crash_store;
pub mod driver_script;
pub mod file_name;
pub mod frame_decode;
pub mod frame_roundtrip;
pub mod frame_spec_diff;
pub mod legacy_codec;
pub mod machine;
pub mod mutate;
pub mod pieces;
pub mod read_all_script;
pub mod resume_journal;
pub mod script;
pub mod spec;
pub mod two_peers;
pub mod write_all_script;
