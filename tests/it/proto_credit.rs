//! Flow control: how much comes ahead of the application, and how it is shared.

use std::collections::BTreeMap;
use std::time::Duration;

use duologue::proto::Config;
use duologue::testing::{Call, LinkOptions, Pair};
use duologue::wire::TransferId;

use super::proto_util::{client, finish_all, millis, open, open_with, server};

/// A path of 100 ms there and back without a limit of its own.
fn far() -> LinkOptions {
    LinkOptions { latency: millis(50), buffer: 64 << 20, ..LinkOptions::default() }
}

fn window(pair: &Pair) -> u64 {
    pair.server().machine.statistics().receive_window
}

fn received(pair: &Pair, id: TransferId) -> u64 {
    pair.server().incoming.get(&id).map_or(0, |t| t.received)
}

#[test]
fn a_window_that_is_consumed_quickly_grows_to_the_common_one() {
    let mut pair = open_with(Config::default(), Config::default(), far());
    let now = pair.now();
    pair.client.offer(now, 1, 200 << 20, true).unwrap();
    pair.run_for(millis(300));
    let first = window(&pair);
    assert!((16 << 10..=512 << 10).contains(&first), "{first}");
    let mut most = 0;
    for _ in 0..400 {
        pair.run_for(millis(10));
        most = most.max(window(&pair));
    }
    let all = (4 << 20) + (16 << 10);
    assert!(most > (4 << 20) * 9 / 10 && most <= all, "{most} of {all}");
}

#[test]
fn a_window_that_is_consumed_slowly_stays_small() {
    // The link, not the window, is the limit here.
    let link = LinkOptions { rate: Some(300_000), ..far() };
    let mut pair = open_with(Config::default(), Config::default(), link);
    let now = pair.now();
    pair.client.offer(now, 1, 2_000_000, true).unwrap();
    let mut most = 0;
    for _ in 0..50 {
        pair.run_for(millis(100));
        most = most.max(window(&pair));
    }
    assert!(most <= 512 << 10, "{most}");
}

/// Bytes that the server's application may have to keep: granted and not released.
fn granted(pair: &Pair, released: &BTreeMap<TransferId, u64>) -> u64 {
    let held = |id: &TransferId| received(pair, *id) - released.get(id).copied().unwrap_or(0);
    window(pair) + pair.server().incoming.keys().map(held).sum::<u64>()
}

#[test]
fn the_windows_of_all_are_bounded_and_shared() {
    const RESERVED: u64 = 16 << 10;
    let mut pair = open_with(Config::default(), Config::default(), far());
    let now = pair.now();
    let first = pair.client.offer(now, 1, 400 << 20, true).unwrap();
    pair.run_for(millis(3000));
    assert!(window(&pair) > 3 << 20);
    // Seven more come, when the first has all there is.
    let now = pair.now();
    let others: Vec<_> =
        (2..9).map(|seed| pair.client.offer(now, seed, 400 << 20, true).unwrap()).collect();
    let bound = (4 << 20) + 8 * RESERVED;
    let at = |pair: &Pair| -> Vec<u64> { others.iter().map(|&id| received(pair, id)).collect() };
    for _ in 0..400 {
        pair.run_for(millis(10));
        let window = window(&pair);
        assert!(window <= bound, "{window} of {bound}");
    }
    let (before, first_before) = (at(&pair), received(&pair, first));
    pair.run_for(millis(2000));
    let moved: Vec<u64> = at(&pair).iter().zip(&before).map(|(a, b)| a - b).collect();
    let first_moved = received(&pair, first) - first_before;
    println!("of eight files the first moved {first_moved} bytes in 2 s, the others {moved:?}");
    // Twenty round trips; each is sure of what is reserved, and gets far more.
    let fair = (first_moved + moved.iter().sum::<u64>()) / 8;
    assert!(moved.iter().all(|&bytes| bytes >= fair / 4), "{moved:?}");
    assert!(first_moved <= fair * 4, "{first_moved}");
}

#[test]
fn what_is_reserved_is_enough_for_all_to_go_on() {
    let config =
        Config::builder().receive_window(65_536).reserved_window(4096).member_credit(0).build();
    let config = config.unwrap();
    let sender = Config::builder().send_buffer(32_768).build().unwrap();
    let mut pair = open_with(sender, config.clone(), LinkOptions::default());
    let now = pair.now();
    for seed in 0..16 {
        pair.client.offer(now, seed, 100_000, true).unwrap();
    }
    let bound = 65_536 + 16 * 4096;
    pair.drive(200_000, |pair| {
        assert!(window(pair) <= bound, "{}", window(pair));
        pair.client.has_sent_all()
    })
    .unwrap();
    finish_all(&mut pair);
}

#[test]
fn what_is_not_released_stops_the_sender_exactly_at_the_limit() {
    let mut pair = open();
    pair.server_mut().behaviour.releases = false;
    let now = pair.now();
    let id = pair.client.offer(now, 1, 2_000_000, true).unwrap();
    pair.run_for(millis(3000));
    assert_eq!(received(&pair, id), 256 << 10);
    assert_eq!(window(&pair), 0);
    // As much as is released may come, to the byte, once it is worth a frame.
    let mut released = 0;
    for (len, more) in [(100_000, 100_000), (1, 0), (5000, 5001), (162_144, 162_144)] {
        server(&mut pair, Call::Release(id, len)).unwrap();
        released += more;
        pair.run_for(millis(1000));
        assert_eq!(received(&pair, id), (256 << 10) + released);
    }
    // Releasing more than came is releasing what came.
    server(&mut pair, Call::Release(id, usize::MAX)).unwrap();
    pair.run_for(millis(1000));
    let all = received(&pair, id);
    assert!(all <= 2 * ((256 << 10) + released), "{all}");
}

#[test]
fn a_reader_that_stalls_hinders_neither_other_files_nor_chat() {
    let mut pair = open_with(Config::default(), Config::default(), far());
    pair.server_mut().behaviour.releases = false;
    let now = pair.now();
    let [stalled, other] =
        [1, 2].map(|seed| pair.client.offer(now, seed, 20_000_000, true).unwrap());
    let mut released = BTreeMap::from([(stalled, 0), (other, 0)]);
    let bound = (4 << 20) + 2 * (16 << 10);
    let mut worst_chat = Duration::ZERO;
    for round in 0..1000 {
        pair.run_for(millis(10));
        let new = received(&pair, other) - released[&other];
        server(&mut pair, Call::Release(other, new as usize)).unwrap();
        *released.get_mut(&other).unwrap() += new;
        assert!(granted(&pair, &released) <= bound);
        if round % 20 == 0 {
            let said = pair.now();
            pair.client.say(said, "quick").unwrap();
            let count = pair.server().chats.len();
            pair.run_for(millis(60));
            assert!(pair.server().chats.len() > count);
            worst_chat = worst_chat.max(pair.server().last_chat_at.saturating_duration_since(said));
        }
    }
    assert_eq!(received(&pair, stalled), 256 << 10);
    assert_eq!(received(&pair, other), 20_000_000);
    println!("beside a stalled reader chat took at most {worst_chat:?} of a 50 ms path");
    assert!(worst_chat <= millis(51), "{worst_chat:?}");
}

/// Payload bytes a second: from the offer to the end, and over the steady seconds.
fn throughput(receiver: Config, is_seekable: bool, seconds: u64) -> (u64, u64) {
    let link =
        LinkOptions { rate: Some(125_000_000), latency: millis(50), ..LinkOptions::default() };
    let sender = Config::builder().send_buffer(32 << 20).build().unwrap();
    let mut pair = open_with(sender, receiver, link);
    pair.client.behaviour.chunk = 64 << 10;
    let now = pair.now();
    let id = pair.client.offer(now, 1, 1 << 40, is_seekable).unwrap();
    pair.run_for(millis(2000));
    let start = received(&pair, id);
    pair.run_for(millis(1000 * seconds));
    let end = received(&pair, id);
    assert!(!pair.server().incoming[&id].is_wrong);
    (end / (2 + seconds), (end - start) / seconds)
}

#[test]
fn a_long_fat_path_is_filled() {
    let config = Config::builder().receive_window(16 << 20).build().unwrap();
    for is_seekable in [true, false] {
        let (overall, steady) = throughput(config.clone(), is_seekable, 1);
        println!(
            "1 Gbit/s, 100 ms, window 16 MiB, seekable {is_seekable}: \
             {overall} B/s overall, {steady} B/s steady"
        );
        assert!(steady >= 112_500_000, "{steady}");
    }
    let (overall, steady) = throughput(Config::default(), true, 1);
    println!("1 Gbit/s, 100 ms, default window: {overall} B/s overall, {steady} B/s steady");
    // A window of 4 MiB each 100 ms.
    assert!(steady >= 41_900_000 * 8 / 10, "{steady}");
}

#[test]
fn a_file_paused_by_nobody_is_not_held_by_a_pause_of_another() {
    let mut pair = open();
    let now = pair.now();
    let [paused, other] = [1, 2].map(|seed| pair.client.offer(now, seed, 500_000, true).unwrap());
    client(&mut pair, Call::Pause(paused, true)).unwrap();
    pair.run_for(millis(1000));
    assert_eq!((received(&pair, paused), received(&pair, other)), (0, 500_000));
    client(&mut pair, Call::Pause(paused, false)).unwrap();
    finish_all(&mut pair);
}
