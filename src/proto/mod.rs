//! The protocol as a state machine without I/O.

mod acceptor;
mod acknowledgement;
mod actions;
mod budget;
mod close;
mod config;
mod connection;
mod detach;
mod error;
mod event;
mod handshake;
mod incoming;
mod items;
mod lanes;
mod link;
mod outgoing;
mod pacer;
mod plan;
mod receive;
mod receive_file;
mod receive_lane;
mod resuming;
mod send_buffer;
mod send_file;
mod send_lane;
mod statistics;
mod timers;
mod transmit;

pub use acceptor::{Acceptor, Request};
pub use config::{Config, ConfigBuilder, ConfigError};
pub use connection::{Connection, StreamParameters};
pub use error::{ActionError, Error, Violation};
pub use event::{
    Acceptance, CloseReason, Conclusion, DetachReason, Event, ItemId, Lane, Opening, Receipt,
};
pub use resuming::Resuming;
pub use statistics::{Count, Statistics, Traffic};
pub use transmit::{Iter, Transmit};
