//! All integration tests, in one binary.
#![allow(missing_docs)]

mod net_target;
mod read_all;
