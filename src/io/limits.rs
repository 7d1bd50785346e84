use core::fmt;
use core::time::Duration;

/// How long the two routines wait, and for how little.
///
/// | limit | default | range |
/// |---|---|---|
/// | [`idle`](Self::idle) | 20 s | from zero (never wait) to [`Duration::MAX`] (wait for ever) |
/// | [`deadline`](Self::deadline) | none | as above |
/// | [`minimum_rate`](Self::minimum_rate) | none | any rate, judged over any window |
///
/// The idle limit is the chapter's twenty waits of 1000 ms. Alone it lets a peer that sends one
/// byte every 19 seconds hold a connection for ever (the "slow loris"); the other two end that.
///
/// # Examples
///
/// ```
/// use core::time::Duration;
/// use duologue::io::Limits;
///
/// let limits = Limits::default()
///     .idle(Duration::from_secs(5))
///     .deadline(Duration::from_secs(60))
///     .minimum_rate(1024, Duration::from_secs(10)); // 10 KiB in every ten seconds
/// # let _ = limits;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    pub(super) idle: Duration,
    pub(super) deadline: Option<Duration>,
    pub(super) rate: Option<MinimumRate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MinimumRate {
    pub(super) bytes_per_second: u64,
    pub(super) window: Duration,
}

impl MinimumRate {
    /// What a window has to bring, in bytes; at least one.
    pub(super) fn bytes_per_window(self) -> u64 {
        let bytes = self.window.as_micros().saturating_mul(u128::from(self.bytes_per_second));
        u64::try_from(bytes.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

impl Limits {
    /// The default idle limit: 20 seconds.
    pub const DEFAULT_IDLE: Duration = Duration::from_secs(20);

    /// No limit at all: for a source or sink of one's own, or a conversation that may be silent.
    pub const UNLIMITED: Self = Self { idle: Duration::MAX, deadline: None, rate: None };

    /// The longest time without a single byte; every byte starts it anew.
    pub const fn idle(mut self, limit: Duration) -> Self {
        self.idle = limit;
        self
    }

    /// The longest time from the first wait to the last byte, whatever arrives between.
    pub const fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// The least average rate, in bytes per second, over each `window` of time; the first window
    /// begins with the first wait, and the next one when the last was found to be fast enough.
    ///
    /// A rate of zero is no limit; a window of less than a microsecond is taken as one.
    pub const fn minimum_rate(mut self, bytes_per_second: u64, window: Duration) -> Self {
        let window = if window.as_micros() == 0 { Duration::from_micros(1) } else { window };
        // Zero would never be missed, and yet wake the task at the end of every window.
        self.rate = if bytes_per_second == 0 {
            None
        } else {
            Some(MinimumRate { bytes_per_second, window })
        };
        self
    }

    /// Whether neither a deadline nor a rate is set.
    pub(super) const fn is_idle_only(&self) -> bool {
        self.deadline.is_none() && self.rate.is_none()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Self::DEFAULT_IDLE, deadline: None, rate: None }
    }
}

/// The most bytes that [`write_all_chunked`](super::write_all_chunked) hands to the stream in one
/// call: 16384 by default, the chapter's "one packet".
///
/// # Examples
///
/// ```
/// use duologue::io::ChunkSize;
///
/// assert_eq!(ChunkSize::default().get(), 16384);
/// assert_eq!(ChunkSize::new(1)?.get(), 1);
/// assert!(ChunkSize::new(0).is_err());
/// assert!(ChunkSize::new(1024 * 1024 + 1).is_err());
/// # Ok::<(), duologue::io::ChunkSizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkSize(usize);

impl ChunkSize {
    /// The largest chunk: 1 MiB.
    pub const MAX: Self = Self(1024 * 1024);

    /// A chunk of `bytes`, from 1 to 1,048,576.
    ///
    /// # Errors
    ///
    /// [`ChunkSizeError`] outside that range.
    pub const fn new(bytes: usize) -> Result<Self, ChunkSizeError> {
        if bytes == 0 || bytes > Self::MAX.0 {
            return Err(ChunkSizeError { bytes });
        }
        Ok(Self(bytes))
    }

    /// The size in bytes.
    pub const fn get(self) -> usize {
        self.0
    }
}

impl Default for ChunkSize {
    fn default() -> Self {
        Self(16 * 1024)
    }
}

/// A chunk size outside 1 B to 1 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSizeError {
    bytes: usize,
}

impl fmt::Display for ChunkSizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a chunk of {} bytes is outside 1 to {}", self.bytes, ChunkSize::MAX.0)
    }
}

impl core::error::Error for ChunkSizeError {}
