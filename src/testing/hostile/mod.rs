//! A peer that keeps to the protocol but for one thing, and the list of such things.

mod catalogue;
mod hearing;
mod misbehaviour;
mod peer;
mod report;
mod run;
mod speaker;

pub use self::misbehaviour::{Culprit, Expected, Misbehaviour};
pub use self::peer::HostilePeer;
pub use self::report::{Outcome, Report, Unexpected};
