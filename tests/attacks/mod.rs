//! One misbehaviour against one victim that talks, sends a file and stores what it is sent, with an
//! honest conversation of the same listener beside it, on virtual time: what came of it, and what it
//! made the victim hold and say.

mod honest;
mod storage;
mod victim;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use duologue::proto::{Config, Connection, StreamParameters};
use duologue::session::{Conversations, session, worst_case_memory};
use duologue::testing::hostile::{Culprit, Expected, HostilePeer, Misbehaviour, Outcome, Report};
use duologue::testing::{Duplex, Faulty, duplex};
use duologue::time::{Time, Timer, VirtualClock};
use duologue::wire::Side;
use futures::future::join3;

pub(crate) use self::storage::befall;

/// Who else talks to the same listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    Nobody,
    /// An honest conversation at the same time, and one afterwards.
    Others,
}

/// What came of an attack.
#[derive(Debug, Clone)]
pub(crate) struct Attack {
    pub(crate) report: Report,
    /// Bytes that the victim's side allocated at most, and what it may.
    pub(crate) peak: u64,
    pub(crate) bound: u64,
}

/// What the victim may send besides one byte for each that it hears: its own lines and file.
const OWN_WORDS: u64 = 700_000;
/// What is allocated for the victim beside its conversation: its application's futures.
const APPLICATION: u64 = 64 << 10;
/// What it may send before it has accepted anybody: preface, HELLO, RESUME and GOODBYE.
const BEFORE_OPEN: u64 = 700;

/// The stream below a victim.
pub(crate) type Below = Faulty<Duplex>;

/// A future whose memory is not the victim's.
struct Uncounted<F>(Pin<Box<F>>);

impl<F: Future> Future for Uncounted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut polled = Poll::Pending;
        allocation_counter::opt_out(|| polled = self.0.as_mut().poll(cx));
        polled
    }
}

/// Makes something that is not the victim's.
fn uncounted<T>(make: impl FnOnce() -> T) -> T {
    let mut made = None;
    allocation_counter::opt_out(|| made = Some(make()));
    made.expect("it is made")
}

/// 32 bytes for a stream.
fn parameters(seed: u64, which: u8) -> StreamParameters<'static> {
    let mut bytes = [which; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    StreamParameters::new(bytes)
}

/// Does it, on this side of the conversation. Fails with what did not hold.
pub(crate) fn attack(
    misbehaviour: &'static Misbehaviour,
    side: Side,
    seed: u64,
    beside: Beside,
) -> Result<Attack, String> {
    assert_ne!(misbehaviour.culprit(), Culprit::Storage, "see befall");
    let config = Config::default();
    let clock = VirtualClock::new();
    let (near, far) = duplex(4096);
    let script = misbehaviour.script(seed).unwrap_or_default();
    let far = Faulty::new(far, script, &clock);
    let peer = uncounted(|| HostilePeer::new(misbehaviour, side, seed).run(near, clock.timer()));
    let peer = uncounted(|| Uncounted(Box::pin(peer)));
    let mut result = Err("it was not begun".to_owned());
    let counted = allocation_counter::measure(|| {
        result = match side {
            Side::Client => against_a_listener(&clock, &config, far, peer, (seed, beside)),
            Side::Server => against_a_client(&clock, &config, far, peer, seed),
        };
    });
    let report = result?;
    let bound = worst_case_memory(&config) as u64 + APPLICATION;
    let attack = Attack { report, peak: counted.bytes_max, bound };
    attack.check().map(|()| attack)
}

fn against_a_listener(
    clock: &VirtualClock,
    config: &Config,
    far: Below,
    peer: impl Future<Output = Report>,
    (seed, beside): (u64, Beside),
) -> Result<Report, String> {
    let conversations = Conversations::new(config.clone());
    let victim = victim::listen(&conversations, far, clock, seed);
    let honest = async {
        match beside {
            Beside::Nobody => Ok(()),
            Beside::Others => honest::beside(&conversations, clock, seed).await,
        }
    };
    let honest = uncounted(|| Uncounted(Box::pin(honest)));
    let all = join3(peer, victim, honest);
    let (report, served, honest) = clock.block_on(all).map_err(|stuck| stuck.to_string())?;
    served?;
    honest.map_err(|error| format!("beside it: {error}"))?;
    // It is still served as if nothing had been.
    if beside == Beside::Others {
        let later = uncounted(|| Uncounted(Box::pin(honest::beside(&conversations, clock, seed))));
        let later = clock.block_on(later).map_err(|stuck| stuck.to_string())?;
        later.map_err(|error| format!("after it: {error}"))?;
    }
    if conversations.is_empty() { Ok(report) } else { Err("a conversation is left".to_owned()) }
}

fn against_a_client(
    clock: &VirtualClock,
    config: &Config,
    far: Below,
    peer: impl Future<Output = Report>,
    seed: u64,
) -> Result<Report, String> {
    let timer = clock.timer();
    let connection = Connection::client(config.clone(), parameters(seed, 1), timer.now());
    let (session, events, driver) = session(far, connection, timer);
    let victim = victim::dial(session, events, driver, clock);
    let (report, served, ()) =
        clock.block_on(join3(peer, victim, async {})).map_err(|stuck| stuck.to_string())?;
    served.map(|()| report)
}

impl Attack {
    fn check(&self) -> Result<(), String> {
        let report = &self.report;
        if report.misbehaviour.culprit() == Culprit::Transport {
            let is_tolerated = matches!(report.outcome, Outcome::Tolerated | Outcome::Refused(_));
            let must_be = report.misbehaviour.expected() == Expected::Tolerated;
            if (must_be && !is_tolerated) || report.outcome == Outcome::Nothing {
                return Err(format!("{}: {:?}", report.misbehaviour, report.outcome));
            }
        } else {
            report.check().map_err(|unexpected| unexpected.to_string())?;
        }
        if self.peak > self.bound {
            return Err(format!("{} of {} bytes", self.peak, self.bound));
        }
        if report.heard > report.said + OWN_WORDS {
            return Err(format!("{} bytes said to {}", report.heard, report.said));
        }
        if report.heard_before_open > BEFORE_OPEN {
            let said = report.heard_before_open;
            return Err(format!("{said} bytes said before anybody was accepted"));
        }
        Ok(())
    }
}

/// Waits on a clock.
async fn sleep(clock: &VirtualClock, until: Time) {
    let mut timer = clock.timer();
    Pin::new(&mut timer).reset(until);
    std::future::poll_fn(|cx| Pin::new(&mut timer).poll(cx)).await;
}
