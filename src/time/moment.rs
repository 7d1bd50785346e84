use core::fmt;
use core::time::Duration;

/// A moment: whole microseconds since an epoch that the clock chose.
///
/// Moments of the same clock can be compared; between clocks they mean nothing. The range is
/// about 584,000 years, and all arithmetic saturates, so no duration from anywhere can overflow it.
///
/// # Examples
///
/// ```
/// use core::time::Duration;
/// use duologue::time::Time;
///
/// let start = Time::from_micros(1_500);
/// let deadline = start.saturating_add(Duration::from_millis(20));
/// assert_eq!(deadline.as_micros(), 21_500);
/// assert_eq!(deadline.saturating_duration_since(start), Duration::from_millis(20));
/// assert_eq!(start.saturating_add(Duration::MAX), Time::MAX);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The clock's epoch.
    pub const ZERO: Self = Self(0);

    /// The end of time, which a deadline uses for "never".
    pub const MAX: Self = Self(u64::MAX);

    /// The moment `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The moment `duration` later, at most [`Time::MAX`].
    ///
    /// A part of a microsecond counts as a whole one, so that a deadline is never early.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        // In 64 bits: this is on the way of every wait.
        let whole = duration.as_secs().saturating_mul(1_000_000);
        let part = duration.subsec_nanos().div_ceil(1_000) as u64;
        Self(self.0.saturating_add(whole).saturating_add(part))
    }

    /// How long ago `earlier` was, or zero when it is still to come.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MAX => f.write_str("Time(never)"),
            Self(micros) => write!(f, "Time({micros}us)"),
        }
    }
}
