//! All integration tests, in one binary.
#![allow(missing_docs)]

mod net_admission;
mod net_connect;
mod net_events;
mod net_leaks;
mod net_server;
mod net_target;
mod net_util;
mod read_all;
