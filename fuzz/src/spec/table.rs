//! What `PROTOCOL.md` says about the frames, as tables: sections 2, 3, 5 to 7 and 9.

/// The codes of section 9 that a frame can be refused with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Version,
    Unsupported,
    Malformed,
    Protocol,
    TooLarge,
    Limit,
    /// No frame is refused with it, nor with those that follow, for its form.
    Role,
    Credit,
    /// `stale`, `proof` and `flood`: there is nothing here to attach to, and there are too few frames.
    State,
}

/// Section 1: "A `u64` is at most 2^53 − 1."
pub const U64: u64 = (1 << 53) - 1;
pub const U32: u64 = u32::MAX as u64;
pub const U16: u64 = u16::MAX as u64;

pub const PREFACE: [u8; 8] = [0x89, 0x44, 0x55, 0x8F, 0x0D, 0x0A, 0x1A, 0x0A];

/// The version of the page, which is the only one this decoder knows.
pub const VERSION: u64 = 1;

/// Section 2: bits of a kind.
pub const SKIP: u8 = 0x80;
pub const ITEM: u8 = 0x40;

/// The column *id* of section 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    Zero,
    Lane,
    Channel,
    Transfer,
    Any,
}

/// The column *length at most* of section 2.
#[derive(Debug, Clone, Copy)]
pub enum Most {
    Bytes(u64),
    Frame,
    Fragment,
}

/// How a value is written, and which are legal.
#[derive(Clone, Copy)]
pub enum Type {
    /// So many bytes, from the least to the most.
    Number { size: usize, least: u64, most: u64 },
    /// The id of a transfer: a `u32` whose lower 31 bits are not 0.
    Transfer,
    /// So many bytes of anything, at least and at most: all that is left.
    Opaque { least: usize, most: usize },
    /// Exactly so many bytes of anything.
    Fixed(usize),
    /// UTF-8, so many bytes at least and at most: all that is left.
    Text { least: usize, most: usize, nul: bool },
    /// An algorithm and as many bytes as it gives; whether algorithm 0 may stand here.
    Digest { none: bool },
    /// A digest if the number of this name before it is not 0, else nothing.
    DigestUnlessZero(&'static str),
    /// Values one after the other, and what must hold of them.
    Record(&'static [(&'static str, Self)], fn(&[u64]) -> bool),
    /// As many of them as there is room for, one at least, each one's first number above the last's.
    Ascending(&'static [(&'static str, Self)]),
    /// A TLV list: all that is left.
    List(&'static [Field]),
    /// A TLV list after its length, a `u16`.
    CountedList(&'static [Field]),
    /// A field that may not have any value.
    None(Code),
}

/// One known field of a TLV list.
#[derive(Clone, Copy)]
pub struct Field {
    /// With bit 7 as the page has it.
    pub number: u8,
    pub name: &'static str,
    pub required: bool,
    pub value: Type,
}

/// One row of the table of kinds of section 2, with the section that gives the payload.
pub struct Kind {
    pub code: u8,
    pub name: &'static str,
    pub id: Id,
    pub most: &'static [Most],
    pub fields: &'static [(&'static str, Type)],
    /// What must hold of the fields together: "what may not stand beside each other" (`malformed`).
    pub together: fn(&super::Frame) -> bool,
}

const fn number(size: usize, least: u64, most: u64) -> Type {
    Type::Number { size, least, most }
}

const fn text(least: usize, most: usize) -> Type {
    Type::Text { least, most, nul: false }
}

const fn must(number: u8, name: &'static str, value: Type) -> Field {
    Field { number, name, required: true, value }
}

const fn may(number: u8, name: &'static str, value: Type) -> Field {
    Field { number, name, required: false, value }
}

const ANY_U8: Type = number(1, 0, 255);
const ANY_U16: Type = number(2, 0, U16);
const ANY_U32: Type = number(4, 0, U32);
const ANY_U64: Type = number(8, 0, U64);
const EMPTY: Type = Type::Fixed(0);
const ALL: usize = usize::MAX;

/// Section 9: code 0 of REJECT and CANCEL is `malformed`.
const REASON: Type = number(2, 1, U16);

fn nothing(_: &super::Frame) -> bool {
    true
}

fn no_order(_: &[u64]) -> bool {
    true
}

/// Section 3, limits: "their bytes, in each lane; not below the bytes of an item".
fn limits_agree(limits: &[u64]) -> bool {
    limits[4] >= limits[2]
}

/// Section 1: "1 ≤ lowest ≤ highest".
fn range_of_versions(versions: &[u64]) -> bool {
    versions[0] <= versions[1]
}

const HELLO: &[Field] = &[
    must(
        0x81,
        "version",
        Type::Record(
            &[("lowest", number(1, 1, 255)), ("highest", number(1, 1, 255))],
            range_of_versions,
        ),
    ),
    must(0x82, "role", number(1, 0, 1)),
    must(0x83, "nonce", Type::Fixed(32)),
    must(0x84, "conversation", Type::Fixed(16)),
    must(0x85, "attach", ANY_U64),
    must(0x86, "stream", ANY_U8),
    may(0x07, "features", number(8, 1, U64)),
    must(
        0x88,
        "limits",
        Type::Record(
            &[
                ("frame", number(4, 1024, 65536)),
                ("fragment", number(4, 1024, 16384)),
                ("item", number(4, 16384, 16777216)),
                ("items", number(4, 1, 65536)),
                ("bytes", number(4, 16384, 1 << 31)),
                ("transfers", number(4, 0, 4096)),
                ("offers", number(4, 0, 4096)),
                ("member", number(4, 0, 1 << 31)),
            ],
            limits_agree,
        ),
    ),
];

const RESUME: &[Field] = &[
    must(0x81, "next", Type::Record(&[("lane0", ANY_U64), ("lane1", ANY_U64)], no_order)),
    may(0x82, "secret", Type::Fixed(32)),
    may(0x83, "proof", Type::Fixed(32)),
    may(0x84, "transfers", Type::Ascending(&[("id", Type::Transfer), ("received", ANY_U64)])),
];

/// "A RESUME with *proof* resumes, and has no *secret*; one without it has no *transfers*, and *next*
/// is 0 (`malformed`)."
fn resume(frame: &super::Frame) -> bool {
    if frame.has("proof") {
        !frame.has("secret")
    } else {
        !frame.has("transfers")
            && frame.number("next.lane0") == Some(0)
            && frame.number("next.lane1") == Some(0)
    }
}

const CHAT: &[Field] = &[
    may(0x01, "id", Type::Fixed(16)),
    may(0x02, "author", text(1, 255)),
    may(0x03, "time", ANY_U64),
    may(0x04, "media type", text(1, 127)),
    may(0x05, "in reply to", Type::Fixed(16)),
];

const OFFER: &[Field] = &[
    must(0x81, "name", text(1, 4096)),
    may(0x02, "size", ANY_U64),
    may(0x03, "modified", ANY_U64),
    may(0x04, "media type", text(1, 127)),
    may(0x05, "metadata", Type::Opaque { least: 1, most: 4096 }),
    may(0x06, "seekable", EMPTY),
    may(0x87, "content encoding", Type::None(Code::Unsupported)),
    may(0x08, "digest", Type::Digest { none: false }),
    may(0x89, "batch", Type::Transfer),
    may(0x8A, "directory", EMPTY),
];

/// "of a batch's member a path, … 1–4096", else 255; "directory: with 89, and without 02, 04, 06 and
/// 08".
fn offer(frame: &super::Frame) -> bool {
    let name = frame.length("name").unwrap_or(0);
    if !frame.has("batch") && name > 255 {
        return false;
    }
    if frame.has("directory") {
        return frame.has("batch")
            && !frame.has("size")
            && !frame.has("media type")
            && !frame.has("seekable")
            && !frame.has("digest");
    }
    true
}

const BATCH: &[Field] = &[
    must(0x81, "name", text(1, 255)),
    must(0x82, "count", ANY_U32),
    must(0x83, "bytes", ANY_U64),
    may(0x04, "metadata", Type::Opaque { least: 1, most: 4096 }),
];

/// "durable ≤ received ≤ limit (`malformed`)".
fn credit(frame: &super::Frame) -> bool {
    let (limit, received, durable) =
        (frame.number("limit"), frame.number("received"), frame.number("durable"));
    durable <= received && received <= limit
}

const fn kind(
    code: u8,
    name: &'static str,
    id: Id,
    most: &'static [Most],
    fields: &'static [(&'static str, Type)],
) -> Kind {
    Kind { code, name, id, most, fields, together: nothing }
}

const fn kind_with(kind: Kind, together: fn(&super::Frame) -> bool) -> Kind {
    Kind {
        code: kind.code,
        name: kind.name,
        id: kind.id,
        most: kind.most,
        fields: kind.fields,
        together,
    }
}

const ITEMS: &[Most] = &[Most::Frame, Most::Fragment];

/// The table of kinds.
pub const KINDS: &[Kind] = &[
    kind(0x01, "HELLO", Id::Zero, &[Most::Bytes(1024)], &[("", Type::List(HELLO))]),
    kind(
        0x02,
        "AUTH",
        Id::Zero,
        &[Most::Bytes(16384)],
        &[("opaque", Type::Opaque { least: 0, most: 16384 })],
    ),
    kind_with(
        kind(0x03, "RESUME", Id::Zero, &[Most::Bytes(65536)], &[("", Type::List(RESUME))]),
        resume,
    ),
    kind(0x04, "START", Id::Transfer, &[Most::Bytes(8)], &[("offset", ANY_U64)]),
    kind(0x05, "DATA", Id::Transfer, ITEMS, &[("data", Type::Opaque { least: 1, most: ALL })]),
    kind_with(
        kind(
            0x06,
            "CREDIT",
            Id::Transfer,
            &[Most::Bytes(24)],
            &[("limit", ANY_U64), ("received", ANY_U64), ("durable", ANY_U64)],
        ),
        credit,
    ),
    kind(
        0x07,
        "ACK",
        Id::Zero,
        &[Most::Bytes(24)],
        &[("next0", ANY_U64), ("next1", ANY_U64), ("received", ANY_U64)],
    ),
    kind(0x08, "PING", Id::Zero, &[Most::Bytes(8)], &[("bytes", Type::Fixed(8))]),
    kind(0x09, "PONG", Id::Zero, &[Most::Bytes(8)], &[("bytes", Type::Fixed(8))]),
    kind(
        0x0A,
        "GOODBYE",
        Id::Zero,
        &[Most::Bytes(257)],
        &[("code", ANY_U16), ("text", text(0, 255))],
    ),
    kind(0x0B, "PART", Id::Lane, ITEMS, &[("bytes", Type::Opaque { least: 1024, most: ALL })]),
    kind(
        0x8C,
        "SIGNAL",
        Id::Channel,
        &[Most::Frame, Most::Bytes(1026)],
        &[("type", ANY_U16), ("bytes", Type::Opaque { least: 0, most: 1024 })],
    ),
    kind(
        0x40,
        "CHAT",
        Id::Channel,
        ITEMS,
        &[("", Type::CountedList(CHAT)), ("text", Type::Text { least: 0, most: ALL, nul: true })],
    ),
    kind(
        0x41,
        "MESSAGE",
        Id::Channel,
        ITEMS,
        &[
            ("type", ANY_U16),
            ("flags", number(1, 0, 1)),
            ("correlation", ANY_U64),
            ("body", Type::Opaque { least: 0, most: ALL }),
        ],
    ),
    kind_with(kind(0x42, "OFFER", Id::Transfer, ITEMS, &[("", Type::List(OFFER))]), offer),
    kind(0x43, "BATCH", Id::Transfer, ITEMS, &[("", Type::List(BATCH))]),
    kind(
        0x44,
        "ACCEPT",
        Id::Transfer,
        &[Most::Bytes(41)],
        &[("offset", ANY_U64), ("digest", Type::DigestUnlessZero("offset"))],
    ),
    kind(
        0x45,
        "REJECT",
        Id::Transfer,
        &[Most::Bytes(257)],
        &[("code", REASON), ("text", text(0, 255))],
    ),
    kind(0x46, "PAUSE", Id::Transfer, &[Most::Bytes(1)], &[("paused", number(1, 0, 1))]),
    kind(
        0x47,
        "FINISH",
        Id::Transfer,
        &[Most::Bytes(41)],
        &[("total", ANY_U64), ("digest", Type::Digest { none: true })],
    ),
    kind(
        0x48,
        "CANCEL",
        Id::Transfer,
        &[Most::Bytes(257)],
        &[("code", REASON), ("text", text(0, 255))],
    ),
    kind(
        0x49,
        "VERDICT",
        Id::Transfer,
        &[Most::Frame, Most::Fragment, Most::Bytes(4106)],
        &[("code", ANY_U16), ("total", ANY_U64), ("text", text(0, 4096))],
    ),
];

/// "others with bit 6" and "others".
pub const OTHERS_WITH_BIT_6: &[Most] = ITEMS;
pub const OTHERS: &[Most] = &[Most::Frame];

/// Digest algorithms of section 7 and their lengths.
pub const DIGESTS: &[(u8, &str, usize)] = &[(0, "none", 0), (1, "BLAKE3", 32), (2, "SHA-256", 32)];

/// Frames that are legal before the conversation is open (section 4), and of these the ones that are
/// legal only then.
pub const BEFORE_OPEN: &[u8] = &[0x01, 0x02, 0x03, 0x0A];
pub const ONLY_BEFORE_OPEN: &[u8] = &[0x01, 0x02, 0x03];

/// Section 1: "the least length of PART and DATA", which the header tells.
pub const LEAST: &[(u8, usize)] = &[(0x05, 1), (0x0B, 1024)];
