//! Files that are whole or not there.
//!
//! - An [`Inbox`] is a folder that a peer's offers are received into: names that mean the same on
//!   every system, limits and quotas, parts that are found again after a break, a crash or a loss of
//!   power, files and folders that are known again if their sender never heard that they were stored,
//!   digests, and no file overwritten unless [told so](Collision).
//! - A [`Source`] is a file that is sent, and a [`Tree`] a folder: opened once, hashed on the way,
//!   and given up when they change.
//! - [`PartFile`] takes the bytes of one file under a hidden temporary name, and gives it the final
//!   name when the caller says that it is whole.
//!
//! The calls of the first two block: they are for a thread that may. [`PartFile`] is for futures, and
//! brings its thread along.
//!
//! On Unix a folder is held by descriptor, every call is relative to it, and no link is followed:
//! renaming the folder, or putting a link in its place, changes nothing for a file on its way. Other
//! systems go by path, without locks, and are not tested. What they do not say is which names are of one
//! file: of a part only the length is compared before it gets its name, of spellings of a name and of
//! stored files the time, too, and no folder is gone on with.

mod batch;
#[cfg(unix)]
mod disk;
#[cfg(not(unix))]
#[path = "disk_by_path.rs"]
mod disk;
mod error;
mod inbox;
mod journal;
mod known_folders;
mod ledger;
mod lock;
mod name;
mod options;
mod part;
mod part_file;
mod part_id;
mod receiver;
mod running_digest;
mod shared;
mod source;
#[doc(hidden)]
pub mod store;
mod stored_files;
mod transfer;
mod tree;
mod turn;

pub use batch::{BatchReceiver, Member};
pub use error::{Action, Error};
pub use inbox::{Cleaned, Inbox};
pub use name::{FileName, NameError, RelativePath};
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use options::Layer;
pub use options::{Collision, Durability, InboxOptions};
pub use part_file::PartFile;
pub use receiver::{Published, Receiver};
pub use source::{Source, SourceError};
pub use transfer::{
    BatchEvent, ReceiveError, Received, ReceivedBatch, SendError, Sent, SentTree, TreeEvent,
    receive, receive_batch, send, send_tree,
};
pub use tree::{Entry, LeftOut, Tree, TreeOptions};
