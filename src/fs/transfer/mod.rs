//! Files and folders over a [`Session`](crate::session::Session): what blocks runs on other threads.

mod error;
mod reading;
mod receive;
mod receive_batch;
mod send;
mod send_tree;
mod work;

pub use error::{ReceiveError, SendError};
pub use receive::{Received, receive};
pub use receive_batch::{BatchEvent, ReceivedBatch, receive_batch};
pub use send::{Sent, send};
pub use send_tree::{SentTree, TreeEvent, send_tree};
