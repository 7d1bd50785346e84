//! Files that are whole or not there.
//!
//! [`PartFile`] takes the bytes of a file that is being received under a hidden temporary name, and
//! gives it the final name only when the caller says that it is whole. Until then nobody sees it;
//! what is dropped is removed; what stands under the wanted name is never overwritten.
//!
//! Calls that may block run on the threads of the `blocking` crate, so any executor will do; only the
//! removal of a dropped file is done where it is dropped. On Unix the folder is held by descriptor,
//! and every call is relative to it: renaming the folder, or putting a link in its place, changes
//! nothing for a file on its way. Other systems go by path, and are not tested.

mod error;
#[cfg(unix)]
mod folder;
#[cfg(not(unix))]
#[path = "folder_by_path.rs"]
mod folder;
mod part_file;

pub use error::{Action, Error};
pub use part_file::PartFile;
