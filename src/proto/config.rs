use core::fmt;
use core::time::Duration;

use super::connection::usize_from;
use crate::wire::Limits;

/// What one conversation accepts, keeps and waits for.
///
/// The limits that the peer has to keep travel in HELLO; the rest is this side's own. Every one is
/// finite, so [`worst_case_memory`](Self::worst_case_memory) has an answer.
///
/// # Examples
///
/// ```
/// use core::time::Duration;
/// use duologue::proto::Config;
///
/// let config = Config::builder()
///     .receive_window(1 << 20)
///     .max_transfers(4)
///     .outgoing_transfers(4)
///     .idle_timeout(Duration::from_secs(30))
///     .build()?;
/// assert!(config.worst_case_memory() < 9 << 20);
/// # Ok::<(), duologue::proto::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub(super) limits: Limits,
    pub(super) receive_window: u32,
    pub(super) reserved_window: u32,
    pub(super) send_buffer: u32,
    pub(super) outgoing_transfers: u32,
    pub(super) queued_items: u32,
    pub(super) queued_bytes: u32,
    pub(super) handshake_timeout: Micros,
    pub(super) keep_alive_interval: Micros,
    pub(super) idle_timeout: Micros,
    pub(super) stall_timeout: Micros,
    pub(super) transfer_timeout: Micros,
    pub(super) close_timeout: Micros,
    pub(super) detached_timeout: Micros,
}

/// A duration in half the memory, as each conversation has seven.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Micros(u64);

impl Micros {
    fn new(duration: Duration) -> Self {
        // What is longer is out of every range.
        Self(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    #[inline]
    pub(super) const fn get(self) -> Duration {
        Duration::from_micros(self.0)
    }
}

impl From<Duration> for Micros {
    fn from(duration: Duration) -> Self {
        Self::new(duration)
    }
}

impl fmt::Debug for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            receive_window: 4 << 20,
            reserved_window: 16 << 10,
            send_buffer: 256 << 10,
            outgoing_transfers: 80,
            queued_items: 4096,
            queued_bytes: 1 << 20,
            handshake_timeout: Micros::new(Duration::from_secs(10)),
            keep_alive_interval: Micros::new(Duration::from_secs(20)),
            idle_timeout: Micros::new(Duration::from_secs(60)),
            stall_timeout: Micros::new(Duration::from_secs(120)),
            transfer_timeout: Micros::new(Duration::from_secs(24 * 60 * 60)),
            close_timeout: Micros::new(Duration::from_secs(5)),
            detached_timeout: Micros::new(Duration::from_secs(300)),
        }
    }
}

impl Config {
    /// Begins with the defaults.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder { config: Self::default() }
    }

    /// The limits that HELLO tells the peer.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Bytes of file data that are accepted ahead of the application.
    pub fn receive_window(&self) -> usize {
        usize_from(self.receive_window)
    }

    /// How long the last messages, and then the peer's goodbye, are waited for.
    pub fn close_timeout(&self) -> Duration {
        self.close_timeout.get()
    }

    /// How long the handshake may take.
    pub fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout.get()
    }

    /// Bytes that a peer can make one conversation hold at most, attached or detached, whatever it
    /// sends: what is in parts, handed out but not taken or released, waiting for its
    /// acknowledgement, and the state of every transfer.
    ///
    /// Bytes handed out count here until they are taken or [released](super::Connection::release),
    /// as whoever drives the machine has to keep them; the table of
    /// transfers and the queues count with the memory of their slots. What the caller queues
    /// beyond a transfer's capacity, or as a message larger than its queue, comes on top.
    ///
    /// By default two thirds of it are what [80](ConfigBuilder::outgoing_transfers) files that this
    /// side sends at a time may [keep](ConfigBuilder::send_buffer). In all it is 31.7 MiB.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::proto::Config;
    ///
    /// let most = Config::default().worst_case_memory();
    /// assert_eq!(format!("{:.1} MiB", most as f64 / (1 << 20) as f64), "31.7 MiB");
    ///
    /// // What one may send takes most of it.
    /// let receiver = Config::builder().outgoing_transfers(0).build()?;
    /// assert!(receiver.worst_case_memory() < most - (20 << 20));
    /// # Ok::<(), duologue::proto::ConfigError>(())
    /// ```
    pub fn worst_case_memory(&self) -> usize {
        let limits = &self.limits;
        let sum = [
            // Both lanes: parts (a vector grows by doubling), and items not taken.
            u64::from(limits.item).saturating_mul(4),
            u64::from(limits.item_bytes.max(limits.item)).saturating_mul(2),
            u64::from(limits.items).saturating_mul(2 * 2 * 16),
            // A frame of another kind that comes in pieces: RESUME is the largest.
            128 << 10,
            u64::from(self.receive_window),
            u64::from(limits.transfers).saturating_mul(
                u64::from(self.reserved_window.max(limits.member_credit))
                    .saturating_add(TRANSFER)
                    .saturating_add(ANSWER),
            ),
            // What waits for the peer: both lanes, then data.
            u64::from(self.queued_bytes).saturating_mul(2),
            // Small items with their headers are in blocks that are not quite full.
            u64::from(self.queued_bytes / 16).saturating_mul(2).saturating_add(128 << 10),
            u64::from(self.queued_items).saturating_mul(2 * (8 + 2 * 24)),
            u64::from(self.outgoing_transfers)
                .saturating_mul(u64::from(self.send_buffer).saturating_add(TRANSFER)),
            // Transfers of which only the peer's answer is missing: as many as it can allow.
            u64::from(MOST_TRANSFERS).saturating_mul(GIVEN_UP),
            // The plan of what is sent next, what is under way, and the machine itself.
            (PLAN as u64).saturating_add(512 << 10),
        ]
        .into_iter()
        .fold(0_u64, u64::saturating_add);
        usize::try_from(sum).unwrap_or(usize::MAX)
    }
}

/// A transfer's own state, rounded up, with its slots in the tables.
const TRANSFER: u64 = 1024;
/// Transfers that a peer can allow at a time.
const MOST_TRANSFERS: u32 = 4096;
/// What is kept of one that was abandoned.
const GIVEN_UP: u64 = 64;
/// An answer that waits: the largest is a VERDICT.
const ANSWER: u64 = 4096 + 256;
/// The staging memory and slots of a full plan.
const PLAN: usize = 1 << 20;

/// Sets what differs from the defaults; see [`Config`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ConfigBuilder {
    config: Config,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $($field:ident).+;)*) => {
        $($(#[$doc])*
        pub fn $name(mut self, value: $type) -> Self {
            self.config.$($field).+ = value.into();
            self
        })*
    };
}

impl ConfigBuilder {
    setters! {
        /// Payload bytes of a frame that are accepted: 1024 to 65536, by default 65536.
        max_frame: u32 => limits.frame;
        /// Payload bytes of DATA, of a fragment and of a message's last frame that are accepted:
        /// 1024 to 16384, by default 16384.
        max_fragment: u32 => limits.fragment;
        /// Bytes of a message that are accepted: 16384 to 16777216, by default 69632 (64 KiB and
        /// its attributes).
        max_item: u32 => limits.item;
        /// Messages handed out and not taken, in each lane: 1 to 65536, by default 2048.
        max_untaken: u32 => limits.items;
        /// Their bytes, in each lane: 16384 to 2^31 and at least the longest message, by default
        /// 524288.
        max_untaken_bytes: u32 => limits.item_bytes;
        /// Transfers that the peer may have offered and not seen ended: 0 to 4096, by default 80.
        max_transfers: u32 => limits.transfers;
        /// Of these, offers that were not decided on: 0 to 4096, by default 16.
        max_undecided: u32 => limits.undecided;
        /// Bytes that a file of an accepted batch may send before it gets credit: 0 to 2^31, by
        /// default 16384.
        member_credit: u32 => limits.member_credit;
        /// Bytes of file data that are accepted ahead of the application, for all transfers
        /// together: 65536 to 2^30, by default 4 MiB. A path carries at most this in a round trip.
        receive_window: u32 => receive_window;
        /// Bytes of these that each transfer is sure of, beside the common window: 4096 to 2^20,
        /// by default 16384.
        reserved_window: u32 => reserved_window;
        /// Bytes that a transfer keeps to send, or to send again: 32768 to 2^30, by default 256 KiB.
        /// What comes from a source that was not offered as [seekable](crate::wire::Offer::seekable)
        /// is kept until the peer has received it, so there a path carries at most this in a round
        /// trip.
        send_buffer: u32 => send_buffer;
        /// Transfers that this side offers at a time: 0 to 4096, by default 80.
        outgoing_transfers: u32 => outgoing_transfers;
        /// Messages that wait to be sent or acknowledged, in each lane: 1 to 2^20, by default
        /// 4096.
        queued_items: u32 => queued_items;
        /// Their bytes, in each lane: 16384 to 2^30, by default 1 MiB.
        queued_bytes: u32 => queued_bytes;
        /// From the first byte to an open conversation: by default 10 s.
        handshake_timeout: Duration => handshake_timeout;
        /// After this silence of the peer a ping is sent: at least 1 s, by default 20 s. The peer counts
        /// it as a frame without progress, of which it allows one a second for ever.
        keep_alive_interval: Duration => keep_alive_interval;
        /// After this silence of the peer the stream counts as broken: by default 60 s. Less than
        /// a frame's header or 1 KiB in this time is silence, too.
        idle_timeout: Duration => idle_timeout;
        /// After this long without progress that is the peer's to make, a transfer is given up, and
        /// after as long once more without the peer's verdict abandoned: by default 120 s.
        stall_timeout: Duration => stall_timeout;
        /// The longest that a transfer may take in all: by default 24 h.
        transfer_timeout: Duration => transfer_timeout;
        /// For the last messages to be acknowledged, and then for the peer's goodbye: by default
        /// 5 s each.
        close_timeout: Duration => close_timeout;
        /// How long a broken conversation can be resumed: by default 300 s.
        detached_timeout: Duration => detached_timeout;
    }

    /// Checks every value against its range.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::proto::Config;
    ///
    /// assert!(Config::builder().build().is_ok());
    /// let error = Config::builder().max_frame(1000).build().unwrap_err();
    /// assert_eq!(error.setting(), "max_frame");
    /// ```
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the first setting out of range. A duration has to be between
    /// 1 ms and 10 years, the keep-alive interval at least 1 s and shorter than the idle time-out, and
    /// [`max_untaken_bytes`](Self::max_untaken_bytes) at least [`max_item`](Self::max_item).
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.config;
        let limits = &config.limits;
        let numbers = [
            ("max_frame", limits.frame, 1024, 65536),
            ("max_fragment", limits.fragment, 1024, 16384),
            ("max_item", limits.item, 16384, 16 << 20),
            ("max_untaken", limits.items, 1, 65536),
            ("max_untaken_bytes", limits.item_bytes, 16384, 1 << 31),
            ("max_transfers", limits.transfers, 0, MOST_TRANSFERS),
            ("max_undecided", limits.undecided, 0, 4096),
            ("member_credit", limits.member_credit, 0, 1 << 31),
            ("receive_window", config.receive_window, 65536, 1 << 30),
            ("reserved_window", config.reserved_window, 4096, 1 << 20),
            ("send_buffer", config.send_buffer, 32768, 1 << 30),
            ("outgoing_transfers", config.outgoing_transfers, 0, 4096),
            ("queued_items", config.queued_items, 1, 1 << 20),
            ("queued_bytes", config.queued_bytes, 16384, 1 << 30),
        ];
        for (setting, value, least, most) in numbers {
            if !(least..=most).contains(&value) {
                return Err(ConfigError { setting });
            }
        }
        if limits.item_bytes < limits.item {
            return Err(ConfigError { setting: "max_untaken_bytes" });
        }
        let durations = [
            ("handshake_timeout", config.handshake_timeout.get()),
            ("keep_alive_interval", config.keep_alive_interval.get()),
            ("idle_timeout", config.idle_timeout.get()),
            ("stall_timeout", config.stall_timeout.get()),
            ("transfer_timeout", config.transfer_timeout.get()),
            ("close_timeout", config.close_timeout.get()),
            ("detached_timeout", config.detached_timeout.get()),
        ];
        let range = Duration::from_millis(1)..=Duration::from_secs(10 * 366 * 24 * 60 * 60);
        for (setting, value) in durations {
            if !range.contains(&value) {
                return Err(ConfigError { setting });
            }
        }
        let keep_alive = Duration::from_secs(1)..config.idle_timeout.get();
        if !keep_alive.contains(&config.keep_alive_interval.get()) {
            return Err(ConfigError { setting: "keep_alive_interval" });
        }
        Ok(config)
    }
}

/// A setting of [`ConfigBuilder`] is out of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigError {
    setting: &'static str,
}

impl ConfigError {
    /// The setter's name.
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is out of its range", self.setting)?;
        match self.setting {
            "keep_alive_interval" => f.write_str(": 1 s or more, and shorter than idle_timeout"),
            "max_untaken_bytes" => f.write_str(": 16384 to 2^31, and no less than max_item"),
            _ => Ok(()),
        }
    }
}

impl core::error::Error for ConfigError {}
