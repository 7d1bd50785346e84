use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::network::Network;
use super::{Admission, Candidate, Refusal};
use crate::time::Time;

/// An [`Admission`] policy: so many connections from one address in so much time, and at once.
///
/// An address is an IPv4 address or an IPv6 /64. Each may connect `most` times at once; after that,
/// one more is allowed every `per` ÷ `most` (the generic cell rate algorithm of ITU-T I.371, which
/// keeps one moment for each address). A refused attempt costs nothing. Unix sockets are not
/// limited.
///
/// At most 4096 addresses are remembered, about 200 KiB; when there are more, the one that would
/// have been forgiven first is forgotten early.
///
/// # Examples
///
/// ```
/// use duologue::net::RateLimit;
/// use std::time::Duration;
///
/// // Twenty a minute, four of them at the same time.
/// let policy = RateLimit::new(20, Duration::from_secs(60)).most_live(4);
/// # let _ = policy;
/// ```
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// What one connection costs.
    interval: Duration,
    /// How far ahead of the clock an address may be.
    tolerance: Duration,
    most_live: usize,
    /// When each address will have paid for everything.
    paid_at: BTreeMap<Network, Time>,
    by_time: BTreeSet<(Time, Network)>,
}

impl RateLimit {
    /// Most addresses that are remembered.
    pub const MOST_ADDRESSES: usize = 4096;

    /// Allows `most` connections `per` time from one address, at least 1; any number at once.
    pub fn new(most: u32, per: Duration) -> Self {
        let interval = per.checked_div(most).unwrap_or(per);
        Self {
            interval,
            tolerance: per.saturating_sub(interval),
            most_live: usize::MAX,
            paid_at: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }

    /// Sets how many connections from one address may be live at once; any number by default.
    #[must_use]
    pub const fn most_live(mut self, most: usize) -> Self {
        self.most_live = most;
        self
    }

    fn remember(&mut self, network: Network, paid_at: Time) {
        if let Some(earlier) = self.paid_at.insert(network, paid_at) {
            self.by_time.remove(&(earlier, network));
        }
        self.by_time.insert((paid_at, network));
        while self.paid_at.len() > Self::MOST_ADDRESSES {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, network)) = self.by_time.pop_first() {
            self.paid_at.remove(&network);
        }
    }
}

impl Admission for RateLimit {
    fn admit(&mut self, candidate: &Candidate<'_>) -> Result<(), Refusal> {
        let network = Network::of(candidate.peer);
        if network == Network::Local {
            return Ok(());
        }
        if candidate.live_from_network >= self.most_live {
            return Err(Refusal::TooManyFromNetwork { limit: self.most_live });
        }
        while self.by_time.first().is_some_and(|(paid_at, _)| *paid_at <= candidate.now) {
            self.forget_first();
        }
        let paid_at = self.paid_at.get(&network).copied().unwrap_or(candidate.now);
        let ahead = paid_at.saturating_duration_since(candidate.now);
        if ahead > self.tolerance {
            return Err(Refusal::TooOften { again_in: ahead.saturating_sub(self.tolerance) });
        }
        self.remember(network, paid_at.saturating_add(self.interval));
        Ok(())
    }
}
