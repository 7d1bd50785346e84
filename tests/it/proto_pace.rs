//! Promise 1: chat never waits behind a file, in bytes and in time, on a virtual link with 4 MiB of
//! buffer below the sender.

use core::time::Duration;

use duologue::proto::{Config, Statistics};
use duologue::testing::{LinkOptions, Pair};
use duologue::time::Time;
use duologue::wire::Side;

const MESSAGE: u64 = 12;
struct Link {
    rate: u64,
    latency: Duration,
}

impl Link {
    /// The promise: a bulk frame as large as 10 ms of the rate, 1 KiB of control and the message,
    /// and what the path itself takes.
    fn promise(&self) -> Duration {
        let frame = (self.rate / 100).clamp(1024, 16 * 1024);
        let bytes = frame + 8 + 1024 + MESSAGE;
        Duration::from_micros(bytes * 1_000_000 / self.rate) + self.latency
    }

    /// What may wait beside it: a sixteenth of the round trip, in one round of eight three.
    fn slack(&self) -> Duration {
        let round_trip = self.latency * 2;
        let slack = (round_trip / 16).clamp(Duration::from_micros(250), Duration::from_millis(2));
        slack + (round_trip / 8).min(Duration::from_millis(4)) + Duration::from_micros(200)
    }
}

impl Link {
    /// From the start until the rate counts as known.
    fn warm_up(&self) -> Duration {
        self.latency * 60 + Duration::from_millis(500)
    }
}

struct Outcome {
    /// Delays of chat before and after the rate is known.
    early: Vec<Duration>,
    late: Vec<Duration>,
    utilisation: f64,
    /// The worst of bulk in flight beyond what is allowed before one more frame.
    beyond: i64,
}

fn run(link: &Link, with_messages: bool, measured: Duration) -> Outcome {
    let options = LinkOptions {
        latency: link.latency,
        rate: Some(link.rate),
        segment: if link.rate > 10_000_000 { 16 * 1024 } else { 1448 },
        buffer: 4 << 20,
    };
    let config = Config::builder().receive_window(32 << 20).build().unwrap();
    let mut pair = Pair::new(config.clone(), config, options);
    pair.open().unwrap();
    let start = pair.now();
    for seed in 0..10 {
        pair.client.offer(start, seed, 1 << 40, true).unwrap();
    }
    let mut outcome = Outcome { early: vec![], late: vec![], utilisation: 0.0, beyond: i64::MIN };
    let mut known = (Time::MAX, 0);
    let mut said = 0;
    let mut told = 0;
    while pair.now() < start.saturating_add(link.warm_up() + measured) {
        if with_messages && pair.server().messages.len() + 4 > told {
            let now = pair.now();
            told += usize::from(pair.client.tell(now, &[7; 64 * 1024]).is_ok());
        }
        // Not in step with anything.
        pair.run_for(Duration::from_micros(37_000 + (said as u64 % 7) * 1300));
        let at = pair.now();
        pair.client.say(at, "hi").unwrap();
        pair.transmit();
        let Statistics { in_flight, flight_allowance, .. } = pair.client.machine.statistics();
        said += 1;
        pair.drive(100_000, |pair| pair.server().chats.len() == said).unwrap();
        let delay = pair.server().last_chat_at.saturating_duration_since(at);
        if at.saturating_duration_since(start) < link.warm_up() {
            outcome.early.push(delay);
            continue;
        }
        if known.0 == Time::MAX {
            known = (pair.now(), pair.carried(Side::Client));
        }
        outcome.late.push(delay);
        outcome.beyond = outcome.beyond.max(in_flight as i64 - flight_allowance as i64);
    }
    let carried = (pair.carried(Side::Client) - known.1) as f64;
    let took = pair.now().saturating_duration_since(known.0).as_secs_f64();
    outcome.utilisation = carried / took / link.rate as f64;
    outcome
}

fn check(rate: u64, measured: Duration) {
    for latency in [1, 10, 50].map(Duration::from_millis) {
        for with_messages in [false, true] {
            let link = Link { rate, latency };
            let outcome = run(&link, with_messages, measured);
            let early = *outcome.early.iter().max().unwrap();
            let late = *outcome.late.iter().max().unwrap();
            println!(
                "{:>4} Mbit/s, {latency:?} each way, messages {with_messages}: at first {early:?}, \
                 then {late:?} (promised {:?} and {:?} of slack), link used {:.3}",
                rate / 125_000,
                link.promise(),
                link.slack(),
                outcome.utilisation,
            );
            assert!(late <= link.promise() + link.slack(), "{late:?}");
            assert!(early <= Duration::from_millis(145) + latency, "{early:?}");
            // One frame and its header, the chat that was just said, and what a round that asked for
            // more has left under way.
            let asked = (link.latency / 4).min(Duration::from_millis(4)).as_secs_f64();
            let most = 16 * 1024 + 8 + 64 + (asked * rate as f64) as i64;
            assert!(outcome.beyond <= most, "{}", outcome.beyond);
            assert!(outcome.utilisation >= 0.93, "{}", outcome.utilisation);
        }
    }
}

#[test]
fn chat_does_not_wait_behind_ten_transfers_at_1_mbit() {
    check(125_000, Duration::from_secs(15));
}

#[test]
fn chat_does_not_wait_behind_ten_transfers_at_10_mbit() {
    check(1_250_000, Duration::from_secs(4));
}

#[test]
fn chat_does_not_wait_behind_ten_transfers_at_1_gbit() {
    check(125_000_000, Duration::from_millis(400));
}

#[test]
fn at_1_mbit_chat_takes_less_than_30_ms_once_the_rate_is_known() {
    let link = Link { rate: 125_000, latency: Duration::from_millis(5) };
    let outcome = run(&link, true, Duration::from_secs(15));
    let early = *outcome.early.iter().max().unwrap();
    let late = *outcome.late.iter().max().unwrap();
    println!("at first {early:?}, then {late:?}");
    assert!(early <= Duration::from_millis(145), "{early:?}");
    assert!(late < Duration::from_millis(30), "{late:?}");
}

#[test]
fn before_any_rate_is_known_chat_waits_for_one_frame() {
    let link = LinkOptions {
        latency: Duration::from_millis(5),
        rate: Some(125_000),
        segment: 1448,
        buffer: 4 << 20,
    };
    let mut pair = Pair::new(Config::default(), Config::default(), link);
    pair.open().unwrap();
    let now = pair.now();
    for seed in 0..10 {
        pair.client.offer(now, seed, 1 << 40, true).unwrap();
    }
    pair.drive(1000, |pair| pair.buffered(Side::Client) > 8 * 1024).unwrap();
    let at = pair.now();
    pair.client.say(at, "hi").unwrap();
    pair.drive(1000, |pair| !pair.server().chats.is_empty()).unwrap();
    let delay = pair.server().last_chat_at.saturating_duration_since(at);
    assert!(delay > Duration::from_millis(100), "the frame was not there: {delay:?}");
    assert!(delay <= Duration::from_millis(145), "{delay:?}");
}

#[test]
fn on_a_fast_path_on_which_somebody_talks_little_waits_below() {
    let rate = 4_000_000_000;
    let link = LinkOptions {
        latency: Duration::from_micros(20),
        rate: Some(rate),
        segment: 64 * 1024,
        buffer: 4 << 20,
    };
    let config = Config::builder().receive_window(32 << 20).build().unwrap();
    let mut pair = Pair::new(config.clone(), config, link);
    pair.open().unwrap();
    let start = pair.now();
    for seed in 0..4 {
        pair.client.offer(start, seed, 1 << 40, true).unwrap();
    }
    pair.run_for(Duration::from_millis(20));
    let before = pair.carried(Side::Client);
    let mut delays = Vec::new();
    for said in 1..=20 {
        pair.run_for(Duration::from_micros(1000 + (said % 7) * 13));
        let at = pair.now();
        pair.client.say(at, "hi").unwrap();
        pair.drive(100_000, |pair| pair.server().chats.len() == said as usize).unwrap();
        delays.push(pair.server().last_chat_at.saturating_duration_since(at).as_micros());
    }
    let took = pair.now().saturating_duration_since(start).as_secs_f64() - 0.02;
    let carried = (pair.carried(Side::Client) - before) as f64;
    println!("{delays:?} us, link used {:.3}", carried / took / rate as f64);
    // Until somebody talks all that is there is to be fast.
    assert!(delays[1..].iter().all(|&delay| delay <= 100), "{delays:?}");
    assert!(carried >= took * rate as f64 * 0.75, "{carried} in {took} s");
}

/// What a path carried once counts for some rounds only: if it becomes slower, less is sent ahead.
#[test]
fn a_path_that_becomes_slower_is_noticed() {
    let link = |rate| LinkOptions {
        latency: Duration::from_millis(5),
        rate: Some(rate),
        segment: 1448,
        buffer: 4 << 20,
    };
    let mut pair = Pair::new(Config::default(), Config::default(), link(5_000_000));
    pair.open().unwrap();
    let start = pair.now();
    pair.client.offer(start, 1, 1 << 30, true).unwrap();
    pair.run_for(Duration::from_secs(1));
    let before = pair.client.machine.statistics().delivery_rate;
    assert!(before > 4_000_000, "{before}");

    pair.link = link(250_000);
    pair.run_for(Duration::from_secs(5));
    let after = pair.client.machine.statistics().delivery_rate;
    assert!(after < 300_000, "{after}");
    let at = pair.now();
    pair.client.say(at, "hi").unwrap();
    pair.drive(100_000, |pair| pair.server().chats.len() == 1).unwrap();
    let delay = pair.server().last_chat_at.saturating_duration_since(at);
    let slow = Link { rate: 250_000, latency: Duration::from_millis(5) };
    assert!(delay <= slow.promise() + slow.slack(), "{delay:?}");
}
