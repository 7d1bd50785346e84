//! A second decoder of the wire, written from `PROTOCOL.md` alone before its author had seen the
//! first: [`table`] says what the page says, and [`interpret`] reads it, slowly and without a short
//! cut. Where the two decoders differ one of them or the page is wrong.

pub mod interpret;
pub mod table;

pub use interpret::{Frame, Stage, header, payload, preface};
pub use table::Code;
