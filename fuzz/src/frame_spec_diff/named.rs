//! What the page says of a frame whose form is right: by where it stands, and by what the limits are.
//! The application of the [`Server`](super::server::Server) accepts and takes all at once, ends no
//! transfer, and offers none, so that little is left to the machine's discretion.

use super::super::spec::{self, Code};

/// Section 3, limits, where the HELLO of the server says the default.
const ITEM: usize = 69_632;
const TRANSFERS: u32 = 80;

/// The codes with which a frame is refused, or may be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named {
    pub must: Option<Code>,
    pub may: &'static [Code],
}

impl Named {
    fn must(code: Code) -> Self {
        Self { must: Some(code), may: &[] }
    }

    fn may(may: &'static [Code]) -> Self {
        Self { must: None, may }
    }

    pub fn has(&self, code: Code) -> bool {
        self.must == Some(code) || self.may.contains(&code)
    }
}

/// `begun` is what has come of the item of the frame's lane, `offered` counts the peer's transfers.
pub fn of(header: [u8; 8], payload: Option<&[u8]>, begun: usize, offered: u32) -> Named {
    let [l0, l1, l2, kind, i0, i1, i2, i3] = header;
    let length = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
    let id = u32::from_be_bytes([i0, i1, i2, i3]);
    if (kind == 0x0B || kind & spec::table::ITEM != 0) && begun + length > ITEM {
        return Named::must(Code::TooLarge);
    }
    match kind {
        0x01 => hello(payload),
        0x03 => resume(payload),
        // Of transfers that this side never offered.
        0x06 | 0x44 | 0x45 | 0x49 => Named::must(Code::Protocol),
        // Nobody chats with it: a line of lane 0 was not sent.
        0x07 => match payload.and_then(|payload| payload.first_chunk()) {
            Some(next) if u64::from_be_bytes(*next) > 0 => Named::must(Code::Protocol),
            _ => Named::may(&[Code::Protocol]),
        },
        0x42 | 0x43 if id != offered + 1 => Named::must(Code::Protocol),
        0x42 | 0x43 if offered >= TRANSFERS => Named::may(&[Code::Protocol, Code::Limit]),
        0x42 | 0x43 => Named::may(&[Code::Protocol]),
        0x04 | 0x05 | 0x46 | 0x47 | 0x48 if id > offered => Named::must(Code::Protocol),
        0x04 | 0x46 | 0x47 | 0x48 => Named::may(&[Code::Protocol]),
        0x05 => Named::may(&[Code::Protocol, Code::Credit]),
        _ => Named::default(),
    }
}

/// Section 9: "both are clients, or servers".
fn hello(payload: Option<&[u8]>) -> Named {
    match payload.map(|payload| spec::payload(0x01, payload)) {
        Some(Ok(Some(frame))) if frame.number("role") == Some(1) => Named::must(Code::Role),
        Some(_) => Named::default(),
        None => Named::may(&[Code::Role]),
    }
}

/// Section 3: in a new conversation only the server has a secret, and nobody a proof.
fn resume(payload: Option<&[u8]>) -> Named {
    match payload.map(|payload| spec::payload(0x03, payload)) {
        Some(Ok(Some(frame))) if frame.has("secret") => Named::must(Code::Malformed),
        Some(Ok(Some(frame))) if frame.has("proof") => Named::must(Code::Protocol),
        Some(_) => Named::default(),
        None => Named::may(&[Code::Malformed, Code::Protocol]),
    }
}
