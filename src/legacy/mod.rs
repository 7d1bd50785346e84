//! The chapter's two wire formats, both roles of each: a file ([`FileReceiver`], [`FileSender`])
//! and a chat ([`ChatReader`], [`ChatWriter`]).
//!
//! They are for talking to programs that speak nothing else. Between two programs of your own use
//! a protocol that acknowledges and authenticates; these do neither, and cannot be made to.
//!
//! # The formats
//!
//! A file, port [`FILE_PORT`], one connection each, client to server only:
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 4 | size `n`: signed 32-bit, little-endian, 0 to 2,147,483,647 |
//! | 4 | `n` | the file |
//! | 4 + `n` | 0 | the sender closes the connection |
//!
//! The file `hello` is `05 00 00 00 68 65 6C 6C 6F`. There is no name, no digest and no reply.
//!
//! A chat, port [`CHAT_PORT`], both ways:
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | any | text; no length, no terminator, no statement of its encoding |
//!
//! # What is corrected
//!
//! The chapter's programs pad a short transfer to its full size, trust the announced size, hold the
//! whole file in memory, send no empty file, mistake an exception for success and cut Korean
//! characters in two. Here a short transfer is an error, sizes are checked against a limit before
//! anything is allocated, files of any size take 64 KiB, an empty file is a file, every failure is
//! a value, and a character that a read cuts is held back until its rest arrives.
//!
//! # What cannot be corrected
//!
//! - **No acknowledgement.** A sender learns that the stream took every byte, never that the
//!   receiver stored them.
//! - **No framing in a chat.** Two messages sent quickly may arrive as one, and a long one as two.
//! - **No authentication, no encryption, no check of the content.** Whoever can connect can send,
//!   and a flipped bit goes unnoticed. Both can run over TLS, if both ends do.
//! - **No magic bytes.** A browser's `GET ` reads as a size of 542,393,671; only a limit
//!   below that refuses it at once.
//!
//! # Layers
//!
//! [`FileDecoder`], [`FileEncoder`], [`TextDecoder`], [`TextEncoder`] and [`ChatState`] do no I/O
//! and need no `std`. The readers and writers drive them over any stream of `futures`, keep all the
//! progress, and so may be dropped and called again at any time.

mod chat_state;
mod file;
mod file_error;
mod text;
mod text_encoder;

#[cfg(feature = "std")]
mod chat_reader;
#[cfg(feature = "std")]
mod chat_writer;
#[cfg(feature = "std")]
mod file_receiver;
#[cfg(feature = "std")]
mod file_sender;
#[cfg(feature = "std")]
mod paced;
#[cfg(feature = "std")]
mod progress;
#[cfg(feature = "std")]
mod transfer_error;

#[cfg(feature = "std")]
pub use self::{
    chat_reader::ChatReader,
    chat_writer::{ChatSendError, ChatWriter},
    file_receiver::FileReceiver,
    file_sender::FileSender,
    progress::Progress,
    transfer_error::{FileReceiveError, FileSendError},
};
pub use self::{
    chat_state::{ChatInput, ChatState},
    file::{FileDecoder, FileEncoder, FileEvent},
    file_error::FileError,
    text::{TextDecoder, UnknownEncoding},
    text_encoder::{TextEncoder, Unmappable},
};

/// The port of the chapter's file example: 2001.
pub const FILE_PORT: u16 = 2001;

/// The port of the chapter's chat example: 1001, which on Unix only root may listen on.
pub const CHAT_PORT: u16 = 1001;
