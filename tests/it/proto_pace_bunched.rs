//! Acknowledgements that come late and many at once are not taken for the rate of the path.

use core::time::Duration;

use duologue::proto::Config;
use duologue::testing::{LinkOptions, Pair};
use duologue::wire::Side;

fn pair(link: LinkOptions) -> Pair {
    let config = Config::builder().receive_window(32 << 20).build().unwrap();
    let mut pair = Pair::new(config.clone(), config, link);
    pair.open().unwrap();
    pair
}

/// Bytes a second that the client's transfers get in each of some seconds.
fn rates(pair: &mut Pair, transfers: u64, seconds: usize) -> Vec<f64> {
    let start = pair.now();
    for seed in 0..transfers {
        pair.client.offer(start, seed, 1 << 40, true).unwrap();
    }
    let mut carried = pair.carried(Side::Client);
    let mut each = Vec::new();
    for _ in 0..seconds {
        pair.run_for(Duration::from_secs(1));
        let before = core::mem::replace(&mut carried, pair.carried(Side::Client));
        each.push((carried - before) as f64);
    }
    each
}

#[test]
fn a_relay_with_nagles_algorithm_slows_a_transfer_down_by_half_at_most() {
    let (mut slow, rate) = (Vec::new(), 12_500_000);
    for latency in [50, 500] {
        let mut pair = pair(LinkOptions {
            latency: Duration::from_micros(latency),
            rate: Some(rate),
            segment: 1448,
            buffer: 4 << 20,
        });
        pair.relay();
        let rates = rates(&mut pair, 1, 4);
        println!("{latency} us each way: {rates:.0?}");
        let is_slow = rates[1..].iter().any(|&got| got < rate as f64 * 0.4);
        slow.extend(is_slow.then_some((latency, rates)));
    }
    assert!(slow.is_empty(), "{slow:?}");
}

#[test]
fn acknowledgements_that_come_each_40_ms_do_not_slow_a_transfer_down() {
    let mut slow = Vec::new();
    for rate in [125_000, 1_250_000, 12_500_000] {
        for beat in [5, 40] {
            let mut pair = pair(LinkOptions {
                latency: Duration::from_micros(100),
                rate: Some(rate),
                segment: 1448,
                buffer: 4 << 20,
            });
            pair.bunch(Side::Server, Duration::from_millis(beat));
            let rates = rates(&mut pair, 10, 4);
            println!("{rate} bytes a second, ACKs each {beat} ms: {rates:.0?}");
            // Two frames of 16 KiB each 5 ms are no more: that little is not taken for late.
            let least = if beat == 5 { 0.5 } else { 0.9 };
            slow.extend((rates[3] < rate as f64 * least).then_some((rate, beat, rates)));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}

#[test]
fn chat_does_not_wait_behind_what_is_sent_while_nothing_is_heard() {
    for (rate, beat) in [(125_000, 40), (1_250_000, 40), (12_500_000, 40), (12_500_000, 5)] {
        let mut pair = pair(LinkOptions {
            latency: Duration::from_micros(100),
            rate: Some(rate),
            segment: 1448,
            buffer: 4 << 20,
        });
        pair.bunch(Side::Server, Duration::from_millis(beat));
        rates(&mut pair, 10, 3);
        let mut longest = Duration::ZERO;
        for said in 1..=50 {
            pair.run_for(Duration::from_micros(37_000 + (said % 7) * 1300));
            let at = pair.now();
            pair.client.say(at, "hi").unwrap();
            pair.drive(100_000, |pair| pair.server().chats.len() == said as usize).unwrap();
            longest = longest.max(pair.server().last_chat_at.saturating_duration_since(at));
        }
        println!("{rate} bytes a second, ACKs each {beat} ms: chat takes {longest:?}");
        // The promise has two frames of at most 8 ms and 1 KiB of control; what is thought to be
        // carried is wrong by half a bunch at most.
        let promised = Duration::from_millis(30 + beat / 2);
        assert!(longest <= promised, "{longest:?}");
    }
}
