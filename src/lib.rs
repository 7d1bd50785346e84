#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]
// The README links to files; the first definition of a link is the one that counts.
//! [`session`]: crate::session
//! [`fs`]: crate::fs
//! [`proto`]: crate::proto
//! [`wire`]: crate::wire
//! [`io`]: crate::io
//! [`net`]: crate::net
//! [`testing`]: crate::testing
//! [`legacy`]: crate::legacy
//! [`guarantees`]: crate::guarantees
//!
#![doc = include_str!("../README.md")]
// What a feature adds is linked to from what is always there.
#![cfg_attr(
    not(all(feature = "net", feature = "fs", feature = "testing")),
    allow(rustdoc::broken_intra_doc_links)
)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

extern crate alloc;

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}
pub mod io;
pub mod legacy;
pub mod proto;
pub mod time;
pub mod wire;

#[cfg(feature = "fs")]
#[cfg_attr(docsrs, doc(cfg(feature = "fs")))]
pub mod fs;
#[cfg(feature = "net")]
#[cfg_attr(docsrs, doc(cfg(feature = "net")))]
pub mod net;
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub mod session;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

#[cfg(feature = "std")]
mod sync;
