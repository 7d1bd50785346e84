//! Bytes to frames and back: the wire format of `PROTOCOL.md`, version 1.
//!
//! Nothing here does I/O, reads a clock or holds a payload, and nothing needs `std`. A stream is
//! cut into pieces by the [`Decoder`]; [`max_length`] and [`Header::check_id`] judge a header; and
//! each kind of frame has a type that reads and writes its payload. They stand in one enum,
//! [`Frame`], where any kind will do.
//!
//! # Layout
//!
//! Each direction begins with the [`PREFACE`], and goes on with frames. Numbers are big-endian, and
//! at most [`MAX_INTEGER`].
//!
//! ```text
//!  0               3       4               8
//!  +---------------+-------+---------------+----------------- -
//!  | length        | kind  | id            | payload (length)
//!  +---------------+-------+---------------+----------------- -
//!
//!  kind   bit 7  may be skipped when unknown
//!         bit 6  ends an item of a numbered sequence
//!  id     a transfer (bit 31 says who offered it), a channel or a lane; else 0
//!
//!  HELLO, RESUME, OFFER and BATCH are lists of fields, and so are the attributes of CHAT:
//!
//!  0      1           3
//!  +------+-----------+------------------- -
//!  | type | length    | value (length)       ascending by type; bit 7: must be known
//!  +------+-----------+------------------- -
//!
//!  CHAT, the text "hi" without attributes:
//!
//!  00 00 04   40   00 00 00 00   00 00        68 69
//!  length     kind id            attributes   text
//! ```
//!
//! Every value has one encoding: a payload is accepted only if `encode` would write it, fields
//! aside that are unknown and may be skipped.
//!
//! # Errors
//!
//! What a peer sent and may not is a [`DecodeError`], which knows the [`CloseCode`] to answer with;
//! what our caller wants sent and may not is an [`EncodeError`], and nothing is written then.
//!
//! Nothing prints what a peer sent: `Debug` shows lengths instead of text and bytes.
//!
//! # Examples
//!
//! A chat that arrives in two reads, cut within a character. Whoever needs a payload whole keeps its
//! pieces, once the header has been found to be within the limits.
//!
//! ```
//! use duologue::wire::{Chat, Decoder, Frame, Header, Kind, Limits, Piece, max_length};
//!
//! let mut sent = Vec::new();
//! Frame::Chat(Chat::new("안녕하세요").author("Mina")).encode(0, &mut sent)?;
//!
//! let mut decoder = Decoder::new();
//! let (mut header, mut payload) = (None, Vec::new());
//! for mut read in [&sent[..21], &sent[21..]] {
//!     while !read.is_empty() {
//!         let (taken, piece) = decoder.decode(read);
//!         read = &read[taken..];
//!         match piece {
//!             Some(Piece::Header(new)) => {
//!                 assert!(new.length <= max_length(new.kind, &Limits::default()));
//!                 assert_eq!(new.check_id(), Ok(()));
//!                 header = Some(new);
//!             }
//!             Some(Piece::Payload { data, .. }) => payload.extend_from_slice(data),
//!             None => {}
//!         }
//!     }
//! }
//! assert!(decoder.is_between_frames());
//! assert_eq!(header.unwrap().kind, Kind::CHAT);
//! let chat = Chat::decode(&payload).unwrap();
//! assert_eq!(chat.text, "안녕하세요");
//! # Ok::<(), duologue::wire::EncodeError>(())
//! ```

mod batch;
mod chat;
mod code;
mod control;
mod conversation_id;
mod decision;
mod decoder;
mod digest;
mod ending;
mod error;
mod fields;
mod flow;
mod frame;
mod header;
mod hello;
mod kind;
mod limits;
mod message;
mod offer;
mod reader;
pub(crate) mod redacted;
mod resume;
mod side;
#[cfg(test)]
mod tables;
mod transfer_id;
mod writer;

pub use self::batch::Batch;
pub use self::chat::Chat;
pub use self::code::{CloseCode, TransferCode};
pub use self::control::{Ack, Goodbye, Ping};
pub use self::conversation_id::ConversationId;
pub use self::decision::{Accept, Cancel, Reject};
pub use self::decoder::{Decoder, Piece};
pub use self::digest::Digest;
pub use self::ending::{Finish, Verdict};
pub use self::error::{DecodeError, DecodeReason, EncodeError, EncodeReason};
pub use self::flow::{Credit, Pause, Start};
pub use self::frame::Frame;
pub use self::header::Header;
pub use self::hello::Hello;
pub use self::kind::Kind;
pub use self::limits::{Limits, max_length};
pub use self::message::{Message, Signal};
pub use self::offer::Offer;
pub use self::resume::{Held, Resume};
pub use self::side::Side;
pub use self::transfer_id::TransferId;

/// What each direction of a stream begins with.
pub const PREFACE: [u8; 8] = [0x89, 0x44, 0x55, 0x8F, 0x0D, 0x0A, 0x1A, 0x0A];

/// Bytes of a frame's header.
pub const HEADER_LEN: usize = 8;

/// The largest number on the wire: 2⁵³ − 1, which a double holds as well.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Most bytes of an item under any limits.
const MAX_ITEM: usize = 16 * 1024 * 1024;
