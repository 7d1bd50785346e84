//! All integration tests, in one binary.
#![allow(missing_docs)]

mod corpus;
mod drop_at_every_poll;
mod duplex;
mod extension_traits;
mod faulty;
mod legacy_chat;
mod legacy_chat_state;
mod legacy_drops;
mod legacy_file;
mod legacy_hazards;
mod legacy_limits;
mod legacy_sockets;
mod legacy_text;
mod legacy_transfer;
mod misbehaving_transport;
mod net_admission;
mod net_connect;
mod net_events;
mod net_leaks;
mod net_server;
mod net_target;
mod net_util;
mod part_file;
mod programs;
mod proto_smoke;
mod proto_two_way;
mod read_all;
mod runtimes;
mod scenario;
mod sized;
mod support;
mod tidy;
mod time;
mod tracing_events;
mod write_all;
