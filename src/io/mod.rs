//! The chapter's two routines as futures: [`read_all`] and [`write_all_chunked`].
//!
//! Both move bytes between a stream and a cursor that **belongs to the caller**. The future holds
//! no byte and no count, so it may be dropped after any poll, by a `select!` or a time-out, and a
//! new one goes on exactly where the old one stood.
//!
//! | | [`read_all`] | [`write_all_chunked`] |
//! |---|---|---|
//! | done when | the cursor is full | the cursor is written |
//! | moves at most | what is missing | [`ChunkSize`], 16384 bytes by default, a call |
//! | no byte for [`Limits::idle`], 20 s by default | [`ReadError::Idle`] | [`WriteError::Stalled`] |
//! | over [`Limits::deadline`], none by default | [`ReadError::Deadline`] | [`WriteError::Deadline`] |
//! | below [`Limits::minimum_rate`], none by default | [`ReadError::TooSlow`] | [`WriteError::TooSlow`] |
//! | the stream ends | [`ReadError::EndOfStream`] | [`TransportError::WriteZero`] |
//! | the stream fails or breaks its contract | [`ReadError::Transport`] | [`WriteError::Transport`] |
//!
//! Where bytes go is up to the cursor: [`Cursor`] fills a buffer of the caller's exactly,
//! [`SizedCursor`] reads a size first and then that many bytes, within a limit, and [`SomeCursor`]
//! is content with whatever is there.
//!
//! # When the countdown runs
//!
//! Data is looked at before the clock: bytes that are there always win. The countdown starts with the
//! first wait: when the stream has nothing (or takes nothing). Arming a timer costs a system call, so
//! a future that finds the stream so first gives way: it asks to be polled again at once, and waits
//! when that brings nothing. A deadline and a rate count from before it gives way, the idle limit from
//! after it. A timer whose deadline has moved because bytes arrived is not re-armed before the old one
//! goes off. A future polled again after a time-out, or after any other error, goes on with a fresh
//! countdown. To keep one countdown running across a `select!`, keep the future and poll
//! `&mut future`.
//!
//! # Fairness
//!
//! A stream that is never short of bytes does not starve other tasks: after 128 calls to it the
//! futures yield once.

mod size_prefix;
pub use size_prefix::{SizeError, SizePrefix};

#[cfg(feature = "std")]
mod cursor;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "std")]
mod ext;
#[cfg(feature = "std")]
mod limits;
#[cfg(feature = "std")]
mod pace;
#[cfg(feature = "std")]
mod read_all;
#[cfg(feature = "std")]
mod sized_cursor;
#[cfg(feature = "tokio")]
mod tokio;
#[cfg(feature = "std")]
mod write_all;

#[cfg(feature = "std")]
pub(crate) use self::pace::{End, Pace, Step};
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use self::tokio::TokioIo;
#[cfg(feature = "std")]
pub use self::{
    cursor::{Cursor, Fill, SomeCursor},
    error::{ReadError, TransportError, WriteError},
    ext::{ReadAllExt, WriteAllExt},
    limits::{ChunkSize, ChunkSizeError, Limits},
    read_all::{ReadAll, read_all_with},
    sized_cursor::SizedCursor,
    write_all::{WriteAllChunked, write_all_chunked_with},
};
#[cfg(feature = "async-io")]
#[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
pub use self::{read_all::read_all, write_all::write_all_chunked};
