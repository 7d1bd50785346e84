use std::sync::OnceLock;

use bytes::Bytes;

/// Bytes of a file of any size that take no memory: every place of it is known.
///
/// Patterns of different seeds differ almost everywhere, so bytes of the wrong file or from the
/// wrong place are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    seed: u64,
}

/// A prime, so that no frame or window is a multiple of it.
const PERIOD: usize = 65521;
/// The longest piece at once.
const PIECE: usize = 64 * 1024;

fn table() -> &'static Bytes {
    static TABLE: OnceLock<Bytes> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut random = crate::testing::SplitMix64::new(1999);
        let mut bytes: Vec<u8> = Vec::with_capacity(PERIOD.saturating_add(PIECE));
        for _ in 0..PERIOD {
            let [byte, ..] = random.next_u64().to_le_bytes();
            bytes.push(byte);
        }
        bytes.extend_from_within(..PIECE.min(PERIOD));
        let missing = PERIOD.saturating_add(PIECE).saturating_sub(bytes.len());
        bytes.extend_from_within(..missing);
        Bytes::from(bytes)
    })
}

impl Pattern {
    /// The pattern of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// At most `len` bytes from `offset` on, and at most 64 KiB.
    pub fn bytes(&self, offset: u64, len: usize) -> Bytes {
        let start = self.seed.wrapping_mul(7919).wrapping_add(offset);
        let start = usize::try_from(start.checked_rem(PERIOD as u64).unwrap_or(0)).unwrap_or(0);
        table().slice(start..start.saturating_add(len.min(PIECE)))
    }

    /// Whether `data` is what stands at `offset`.
    pub fn matches(&self, offset: u64, data: &[u8]) -> bool {
        let mut at = offset;
        data.chunks(PIECE).all(|chunk| {
            let expected = self.bytes(at, chunk.len());
            at = at.saturating_add(chunk.len() as u64);
            expected == chunk
        })
    }
}
