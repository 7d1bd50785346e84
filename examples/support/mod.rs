//! What the examples share, and the parts of the programs that are too long for one file.
#![allow(dead_code, reason = "each example uses its part of it")]

pub(crate) mod asker;
pub(crate) mod bars;
pub(crate) mod legacy_files;
pub(crate) mod programs;
pub(crate) mod receiving;
pub(crate) mod scenario;
pub(crate) mod sending;
