//! What duologue costs beside the raw loop of a careful user and beside other crates, on the same
//! work, the same runtime and the same stream.
//!
//! One file below `rows` has one row of the table, one file below `peers` one way to do its work.

pub mod arguments;
pub mod load;
pub mod machine;
pub mod measure;
pub mod memory;
#[cfg(target_os = "linux")]
pub mod namespaces;
pub mod peers;
pub mod report;
pub mod rows;
pub mod streams;

/// Whatever goes wrong ends the benchmark.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// See [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
