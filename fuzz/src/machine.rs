//! What the targets of the machine share: small configurations, contents of files, a reader of what
//! a machine sends.

use std::sync::OnceLock;
use std::time::Duration;

use arbitrary::Arbitrary;
use duologue::proto::Config;
use duologue::time::Time;
use duologue::wire::{Decoder, Frame, Header, Kind, Limits, PREFACE, Piece, max_length};

/// A configuration of small numbers, so that every bound bites.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Sizes {
    frame: u8,
    fragment: u8,
    item: u8,
    items: u8,
    item_bytes: u8,
    transfers: u8,
    undecided: u8,
    member_credit: u8,
    windows: u8,
    queues: u8,
    times: u8,
}

impl Sizes {
    pub fn config(&self) -> Config {
        let item = 16_384 + u32::from(self.item % 4) * 9_000;
        Config::builder()
            .max_frame(1024 << (self.frame % 7))
            .max_fragment(1024 << (self.fragment % 5))
            .max_item(item)
            .max_untaken(pick(self.items, &[1, 2, 3, 8, 512]))
            .max_untaken_bytes(item + u32::from(self.item_bytes) * 128)
            .max_transfers(pick(self.transfers, &[3, 1, 8, 20, 0]))
            .max_undecided(pick(self.undecided, &[2, 1, 5, 0]))
            .member_credit(pick(self.member_credit, &[16_384, 0, 1, 1000, 70_000]))
            .receive_window(self.receive_window())
            .reserved_window(self.reserved_window())
            .send_buffer(self.send_buffer())
            .outgoing_transfers(pick(self.queues >> 2, &[20, 2, 5]))
            .queued_items(pick(self.queues >> 4, &[64, 1, 5]))
            .queued_bytes(pick(self.queues >> 6, &[16_384, 65_536, 1 << 20]))
            .handshake_timeout(Duration::from_secs(10))
            .keep_alive_interval(Duration::from_secs(pick(self.times, &[20, 2]).into()))
            .idle_timeout(Duration::from_secs(pick(self.times >> 2, &[60, 21]).into()))
            .stall_timeout(Duration::from_secs(pick(self.times >> 4, &[120, 5, 30]).into()))
            .transfer_timeout(Duration::from_secs(pick(self.times >> 6, &[86_400, 90]).into()))
            .build()
            .expect("within the ranges")
    }

    pub fn receive_window(&self) -> u32 {
        pick(self.windows, &[65_536, 100_000, 1 << 20])
    }

    pub fn reserved_window(&self) -> u32 {
        pick(self.windows >> 4, &[4096, 5001, 16_384])
    }

    pub fn send_buffer(&self) -> u32 {
        pick(self.queues, &[32_768, 100_000, 256 << 10])
    }
}

fn pick(choice: u8, of: &[u32]) -> u32 {
    of[usize::from(choice) % of.len()]
}

/// Bytes that do not repeat for a while; a prime number of them.
fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        (0_u64..65_521).map(|n| ((n ^ (n >> 5)).wrapping_mul(0x9E37_79B9) >> 13) as u8).collect()
    })
}

/// A piece of file `seed`.
pub fn content(seed: u32, offset: u64, len: usize) -> Vec<u8> {
    let pattern = pattern();
    let mut content = Vec::with_capacity(len);
    let mut place = (offset + u64::from(seed) * 251) as usize % pattern.len();
    while content.len() < len {
        let rest = &pattern[place..];
        content.extend_from_slice(&rest[..rest.len().min(len - content.len())]);
        place = 0;
    }
    content
}

/// Later by so many microseconds.
pub fn after(now: Time, micros: u64) -> Time {
    now.saturating_add(Duration::from_micros(micros))
}

/// Reads what a machine sends, and panics at anything that is no frame in its canonical form or
/// longer than the peer accepts.
#[derive(Debug, Default)]
pub struct Sent {
    preface: usize,
    decoder: Decoder,
    header: Option<Header>,
    payload: Vec<u8>,
    parts: [Vec<u8>; 2],
    /// What the machine was told that its peer accepts.
    pub limits: Limits,
    /// Bytes in all.
    pub bytes: u64,
}

impl Sent {
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Whether all that has begun is whole.
    pub fn is_between_frames(&self) -> bool {
        self.decoder.is_between_frames()
    }

    /// Calls `heard` for each frame, and for each item put together.
    pub fn read(&mut self, mut bytes: &[u8], mut heard: impl FnMut(Header, &Frame<'_>)) {
        self.bytes += bytes.len() as u64;
        while self.preface < PREFACE.len() && !bytes.is_empty() {
            assert_eq!(bytes[0], PREFACE[self.preface]);
            self.preface += 1;
            bytes = &bytes[1..];
        }
        while !bytes.is_empty() {
            let (taken, piece) = self.decoder.decode(bytes);
            bytes = &bytes[taken..];
            match piece {
                None => {}
                Some(Piece::Header(header)) => {
                    assert!(header.length <= max_length(header.kind, &self.limits), "{header:?}");
                    self.header = Some(header);
                    if header.length == 0 {
                        self.whole(header, &mut heard);
                    }
                }
                Some(Piece::Payload { data, last }) => {
                    self.payload.extend_from_slice(data);
                    if last {
                        self.whole(self.header.expect("it came before"), &mut heard);
                    }
                }
            }
        }
    }

    fn whole(&mut self, header: Header, heard: &mut impl FnMut(Header, &Frame<'_>)) {
        let payload = std::mem::take(&mut self.payload);
        if header.kind == Kind::PART {
            assert!(payload.len() >= 1024 && header.id < 2);
            self.parts[header.id as usize].extend_from_slice(&payload);
            return;
        }
        let mut item = Vec::new();
        if let Some(lane) = header.kind.lane() {
            item = std::mem::take(&mut self.parts[usize::from(lane)]);
        }
        item.extend_from_slice(&payload);
        assert!(item.len() <= self.limits.item.max(65_536) as usize);
        let header = Header { length: item.len() as u32, ..header };
        match Frame::decode(header, &item) {
            Ok(frame) => heard(header, &frame),
            Err(error) => panic!("the machine sent what is not valid: {error}"),
        }
    }
}

/// The rest of an input, byte by byte; zeros when it is used up.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// One of `count`.
    pub fn pick(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    /// 0 to about 2²⁴, small numbers as likely as large ones, and those beside a power of two.
    pub fn number(&mut self) -> u64 {
        let byte = self.byte();
        let power = 1_u64 << (byte & 31).min(24);
        match byte >> 5 {
            0 => power - 1,
            1 => power,
            2 => power + 1,
            3 => (byte & 31).into(),
            _ => power + u64::from(self.word()) % power,
        }
    }

    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}
