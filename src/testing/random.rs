/// A small generator of reproducible numbers: Steele, Lea and Flood's SplitMix64 (OOPSLA 2014).
///
/// It is here, and not a dependency, so that a seed written down today gives the same test for
/// ever. It is not for secrets.
///
/// # Examples
///
/// ```
/// use duologue::testing::SplitMix64;
///
/// let mut random = SplitMix64::new(1);
/// assert_eq!(random.next_u64(), 0x910A_2DEC_8902_5CC1);
/// assert!(random.below(6) < 6);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A generator that gives the same numbers for the same seed.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or zero when `bound` is zero.
    pub const fn below(&mut self, bound: u64) -> u64 {
        // The upper half of a 128-bit product (Lemire's method, its small bias accepted).
        ((self.next_u64() as u128).wrapping_mul(bound as u128) >> 64) as u64
    }

    /// True `times` times in a hundred.
    pub const fn percent(&mut self, times: u64) -> bool {
        self.below(100) < times
    }

    /// A number from 1 to `max`, each power of two as likely as the next.
    pub fn log_uniform(&mut self, max: u64) -> u64 {
        let max = max.max(1);
        let low = 1_u64 << self.below(u64::from(max.ilog2()).saturating_add(1));
        let span = low.min(max.saturating_sub(low).saturating_add(1));
        low.saturating_add(self.below(span))
    }
}
