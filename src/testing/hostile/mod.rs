//! What peers, streams and disks do and should not, by name, to try on a program of one's own.
//!
//! A [`Misbehaviour`] says what is done and what is [`Expected`] to come of it;
//! [`Misbehaviour::all`] lists them. A [`HostilePeer`] keeps to `PROTOCOL.md` but for one of them,
//! and [`Report`]s what came of it. They belong to the rows of `tests/rows.md`, most of which come
//! from advisories about other protocols.
//!
//! # Examples
//!
//! A listener, and everything that a client can do to it:
//!
//! ```
//! use duologue::proto::{Config, StreamParameters};
//! use duologue::session::accept;
//! use duologue::testing::hostile::{HostilePeer, Misbehaviour, Outcome};
//! use duologue::testing::duplex;
//! use duologue::time::VirtualClock;
//! use duologue::wire::Side;
//! use futures::StreamExt;
//! use futures::future::join;
//!
//! let clock = VirtualClock::new();
//! for misbehaviour in Misbehaviour::of_peer(Side::Client) {
//!     let peer = HostilePeer::new(misbehaviour, Side::Client, 1);
//!     let (near, far) = duplex(4096);
//!     let serving = async {
//!         let parameters = StreamParameters::new([1; 32]);
//!         let accepted = accept(far, Config::default(), parameters, clock.timer()).await;
//!         let Ok((session, mut events, driver)) = accepted else { return };
//!         // Here it would do something with what comes; this one declines all files.
//!         let application = async { while events.next().await.is_some() {} };
//!         // And here it would wait for the client to come back.
//!         let driving = async { drop(driver.await) };
//!         join(driving, application).await;
//!         drop(session);
//!     };
//!     let (report, ()) = clock.block_on(join(peer.run(near, clock.timer()), serving)).unwrap();
//!     println!("{misbehaviour:<40} {:?}", report.outcome);
//!     assert_ne!(report.outcome, Outcome::Nothing, "it is answered, or sent away");
//! }
//! ```

mod catalogue;
mod hearing;
mod misbehaviour;
mod past;
mod peer;
mod report;
mod run;
mod speaker;
mod streams;

pub use self::misbehaviour::{Culprit, Expected, Misbehaviour};
pub use self::peer::HostilePeer;
pub use self::report::{Outcome, Report, Unexpected};
