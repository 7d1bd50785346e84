use core::time::Duration;

/// How long to wait between attempts to connect again: twice as long each time, up to a limit, and
/// each time a random part less, so that many clients do not come back together. The waits begin anew
/// after a stream that lasted longer than the wait before it.
///
/// # Examples
///
/// ```
/// use core::time::Duration;
/// use duologue::session::Backoff;
///
/// let seed = [7; 32]; // of a real program from getrandom::fill
/// let backoff = Backoff::new(seed).first(Duration::from_millis(100)).max_attempts(5);
/// # let _ = backoff;
/// ```
#[derive(Clone)]
#[must_use]
pub struct Backoff {
    seed: [u8; 32],
    first: Duration,
    most: Duration,
    max_attempts: u32,
    /// Numbers drawn from the seed so far.
    drawn: u64,
    /// Attempts in a row without success.
    attempts: u32,
    /// How often the wait was doubled.
    doublings: u32,
    /// The longest that the last wait might have been.
    last: Duration,
}

impl core::fmt::Debug for Backoff {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Backoff")
            .field("first", &self.first)
            .field("most", &self.most)
            .field("max_attempts", &self.max_attempts)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

impl Backoff {
    /// Waits of at most 250 ms before the first attempt and of at most 30 s before any, and 10
    /// attempts in a row. The seed is 32 random bytes that are used for nothing else: what new
    /// streams need of randomness comes from it, too.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            seed,
            first: Duration::from_millis(250),
            most: Duration::from_secs(30),
            max_attempts: 10,
            drawn: 0,
            attempts: 0,
            doublings: 0,
            last: Duration::ZERO,
        }
    }

    /// The longest wait before the first attempt after a break: by default 250 ms.
    pub fn first(mut self, wait: Duration) -> Self {
        self.first = wait;
        self
    }

    /// The longest wait before any attempt: by default 30 s.
    pub fn most(mut self, wait: Duration) -> Self {
        self.most = wait;
        self
    }

    /// Attempts in a row without success, after which the conversation is given up: by default 10.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// The next attempt's number and the wait before it; `None` after the last.
    pub(super) fn next_attempt(&mut self) -> Option<(u32, Duration)> {
        if self.attempts >= self.max_attempts {
            return None;
        }
        let doubled =
            self.first.saturating_mul(1_u32.checked_shl(self.doublings).unwrap_or(u32::MAX));
        self.attempts = self.attempts.saturating_add(1);
        self.doublings = self.doublings.saturating_add(1);
        let longest = doubled.min(self.most);
        self.last = longest;
        // Between half of it and all of it.
        let [random, ..] = self.draw("duologue 1 backoff");
        let part = longest.saturating_mul(u32::from(random)).checked_div(512).unwrap_or_default();
        Some((self.attempts, longest.saturating_sub(part)))
    }

    /// The conversation was open again, over a stream that lasted so long.
    pub(super) fn on_stream(&mut self, lasted: Duration) {
        self.attempts = 0;
        // A peer that takes every stream and ends it is not asked more often for that.
        if lasted >= self.last {
            self.doublings = 0;
        }
    }

    /// A seed for the next stream.
    pub(super) fn stream_seed(&mut self) -> [u8; 32] {
        self.draw("duologue 1 stream")
    }

    fn draw(&mut self, context: &str) -> [u8; 32] {
        self.drawn = self.drawn.saturating_add(1);
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&self.seed);
        hasher.update(&self.drawn.to_be_bytes());
        *hasher.finalize().as_bytes()
    }
}
