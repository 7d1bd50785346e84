//! Two machines on virtual time: a [`Pair`] with a link between them that has a rate, a latency and
//! buffers, and that can be cut; and recordings of what one of them was told, to be played again.

mod call;
mod endpoint;
mod pair;
mod pattern;
mod pipe;
mod recorder;

pub use call::{Call, Done};
pub use endpoint::{Behaviour, Endpoint, Incoming, Outgoing};
pub use pair::{NotIdle, Pair};
pub use pattern::Pattern;
pub use pipe::LinkOptions;
pub use recorder::{Divergence, Recorder, Recording};
