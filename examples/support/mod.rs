//! What the examples share: exit codes, a bar, and the chapter's scenario.
#![allow(dead_code, reason = "each example uses its part of it")]

pub(crate) mod programs;
pub(crate) mod scenario;
