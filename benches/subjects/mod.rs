//! What is done again and again, to count its instructions or to take its time.

mod machines;
mod sessions;

pub(crate) const CHUNK: usize = 16 << 10;
pub(crate) const LINE: &str = "It is a truth universally acknowledged, that a single man in po-";

/// Something that is done again and again.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// How often, and how many bytes of payload each has.
    pub(crate) times: u64,
    pub(crate) bytes: usize,
    pub(crate) run: fn(u64),
}

pub(crate) const SUBJECTS: &[Subject] = &[
    Subject {
        name: "data-in",
        what: "a DATA frame of 16 KiB, to a machine",
        times: 4000,
        bytes: CHUNK,
        run: |times| machines::data_in(times, usize::MAX),
    },
    Subject {
        name: "bulk-in",
        what: "the same, by handle_bulk",
        times: 8000,
        bytes: CHUNK,
        run: machines::bulk_in,
    },
    Subject {
        name: "data-by-byte",
        what: "a byte of such a frame, fed alone",
        times: 10 * CHUNK as u64,
        bytes: 1,
        run: |times| machines::data_in(times / CHUNK as u64, 1),
    },
    Subject {
        name: "data-out",
        what: "a DATA frame of 16 KiB, from a machine",
        times: 4000,
        bytes: CHUNK,
        run: machines::data_out,
    },
    Subject {
        name: "chat-in",
        what: "a line of one byte, by handle_input",
        times: 20_000,
        bytes: 1,
        run: |times| machines::chat_in(times, "x", usize::MAX),
    },
    Subject {
        name: "chats-in",
        what: "a line of one byte, by handle_chats",
        times: 50_000,
        bytes: 1,
        run: machines::chats_in,
    },
    Subject {
        name: "chat-by-byte",
        what: "a line of 64 bytes, fed byte by byte",
        times: 2000,
        bytes: 64,
        run: |times| machines::chat_in(times, LINE, 1),
    },
    Subject {
        name: "bulk",
        what: "16 KiB of a file, from session to session",
        times: 4000,
        bytes: CHUNK,
        run: |times| sessions::bulk(times, sessions::PIPE, CHUNK),
    },
    Subject {
        name: "bulk-256k",
        what: "the same in chunks of 64 KiB, through a pipe of 256 KiB",
        times: 4000,
        bytes: CHUNK,
        run: |times| sessions::bulk(times, 256 << 10, 64 << 10),
    },
    Subject {
        name: "lines",
        what: "a line of 64 bytes, 256 at a time, from session to session",
        times: 20_480,
        bytes: 64,
        run: |times| sessions::lines(times, 256),
    },
    Subject {
        name: "line",
        what: "a line of 64 bytes, one by one, from session to session",
        times: 20_000,
        bytes: 64,
        run: |times| sessions::lines(times, 1),
    },
    Subject {
        name: "ping-pong",
        what: "a line of 64 bytes there, and one back",
        times: 2000,
        bytes: 128,
        run: sessions::ping_pong,
    },
    Subject {
        name: "line-16k",
        what: "a line of 16 KiB, of two frames, from session to session",
        times: 1000,
        bytes: CHUNK,
        run: |times| sessions::long_lines(times, CHUNK),
    },
];
