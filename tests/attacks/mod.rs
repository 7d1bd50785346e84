//! One misbehaviour against one victim that talks, sends a file and stores what it is sent, with an
//! honest conversation of the same listener beside it, on virtual time: what came of it, and what it
//! made the victim hold and say.

mod honest;
mod storage;
pub(crate) mod talk;
mod victim;

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use duologue::proto::{Config, StreamParameters};
use duologue::session::{Conversations, worst_case_memory};
use duologue::testing::hostile::{Culprit, HostilePeer, Misbehaviour, Report};
use duologue::testing::{Duplex, Faulty, duplex};
use duologue::time::{Time, Timer, VirtualClock};
use duologue::wire::Side;
use futures::channel::mpsc;
use futures::future::{join3, ready};

pub(crate) use self::storage::{Strikes, befall};

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
    /// Honest conversations that went on as if nothing had been.
    pub(crate) others: u32,
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
    let (sender, arrivals) = mpsc::unbounded();
    let mut numbers = 0..u8::MAX;
    let dialling = clock.clone();
    let dial = move || {
        let (near, far) = duplex(4096);
        let number = numbers.next();
        let script = misbehaviour.script(seed).filter(|_| number == Some(0)).unwrap_or_default();
        let far = Faulty::new(far, script, &dialling);
        let sent = number.and_then(|number| sender.unbounded_send((number, far)).ok());
        ready(sent.map(|()| near))
    };
    let peer = HostilePeer::new(misbehaviour, side, seed);
    let peer = uncounted(|| Uncounted(Box::pin(peer.run_over(dial, clock.timer()))));
    let conversations = uncounted(|| Conversations::new(config.clone()));
    let honest = || uncounted(|| Uncounted(Box::pin(honest::beside(&conversations, &clock, seed))));
    let mut result = Err("it was not begun".to_owned());
    let others_served = Cell::new(0);
    let counted = allocation_counter::measure(|| {
        let others = async {
            match beside {
                Beside::Nobody => Ok(()),
                Beside::Others => honest().await.map(|()| others_served.set(1)),
            }
        };
        result = match side {
            Side::Client => {
                let victim = victim::listen(&conversations, arrivals, &clock, seed);
                together(&clock, peer, victim, others)
            }
            Side::Server => {
                let victim = victim::dial(config.clone(), arrivals, &clock, seed);
                together(&clock, peer, victim, others)
            }
        };
    });
    let report = result?;
    // Others are still served as if nothing had been.
    if beside == Beside::Others {
        let later = clock.block_on(honest()).map_err(|stuck| stuck.to_string())?;
        later.map_err(|error| format!("after it: {error}"))?;
        others_served.set(others_served.get() + 1);
    }
    if !conversations.is_empty() {
        return Err("a conversation is left".to_owned());
    }
    let bound = worst_case_memory(&config) as u64 + APPLICATION;
    let others = others_served.get();
    let attack = Attack { report, peak: counted.bytes_max, bound, others };
    attack.check().map(|()| attack)
}

/// A peer, its victim, and those who have nothing to do with it.
fn together(
    clock: &VirtualClock,
    peer: impl Future<Output = Report>,
    victim: impl Future<Output = Result<(), String>>,
    others: impl Future<Output = Result<(), String>>,
) -> Result<Report, String> {
    let all = join3(peer, victim, others);
    let (report, served, others) = clock.block_on(all).map_err(|stuck| stuck.to_string())?;
    served?;
    others.map_err(|error| format!("beside it: {error}"))?;
    Ok(report)
}

impl Attack {
    fn check(&self) -> Result<(), String> {
        let report = &self.report;
        report.check().map_err(|unexpected| unexpected.to_string())?;
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
