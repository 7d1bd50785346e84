//! A disk in memory that can lose power.

mod files;
mod state;
mod store;

pub use files::ShadowDisk;
pub use state::Barrier;
