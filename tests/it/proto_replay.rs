//! Recordings: what a machine was told, played to another one, gives the same events and bytes.

use core::time::Duration;

use duologue::proto::{Config, Opening};
use duologue::testing::{Call, Done, LinkOptions, Pair};
use duologue::wire::{Batch, CloseCode, Offer, Side, TransferCode, TransferId};

const STEPS: usize = 50_000;

fn pair() -> Pair {
    let link = LinkOptions { rate: Some(500_000), ..LinkOptions::default() };
    pair_with(Config::default(), link)
}

fn pair_with(config: Config, link: LinkOptions) -> Pair {
    let mut pair = Pair::new(config.clone(), config, link);
    pair.record();
    pair.open().unwrap();
    pair
}

fn drive(pair: &mut Pair) {
    pair.drive(STEPS, |pair| pair.client.has_sent_all() && pair.server().has_sent_all()).unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_alive(pair);
}

fn assert_alive(pair: &Pair) {
    assert_eq!((pair.client.closed, pair.server().closed), (None, None));
}

fn assert_plays_again(pair: &Pair, what: &str) {
    for (side, end) in [(Side::Client, &pair.client), (Side::Server, pair.server())] {
        let recording = end.machine.recording();
        assert!(recording.len() > 20, "{what}");
        if let Err(divergence) = recording.replay() {
            panic!("{what}, {side:?}: {divergence}");
        }
    }
}

fn chat(pair: &mut Pair) {
    let now = pair.now();
    for number in 0..30 {
        pair.client.say(now, &"c".repeat(number * 100)).unwrap();
        pair.server_mut().say(now, &"s".repeat(number * 100)).unwrap();
        pair.server_mut().tell(now, &vec![7; number * 1000]).unwrap();
    }
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.server().chats.len(), 30);
}

fn files(pair: &mut Pair) {
    let now = pair.now();
    for seed in 0..4 {
        let size = seed * 50_001;
        pair.client.offer(now, seed, size, seed % 2 == 0).unwrap();
        pair.server_mut().offer(now, seed, size, seed % 2 == 1).unwrap();
    }
    drive(pair);
}

fn files_and_breaks(pair: &mut Pair) {
    let now = pair.now();
    for seed in 0..3 {
        pair.client.offer(now, seed, 200_000, seed % 2 == 0).unwrap();
        pair.server_mut().offer(now, seed, 200_000, seed % 2 == 1).unwrap();
    }
    for _ in 0..6 {
        let now = pair.now();
        pair.client.say(now, "still there?").unwrap();
        pair.cut_after(Side::Client, 30_000);
        let _ = pair.drive(STEPS, |pair| pair.is_cut());
        if pair.is_cut() {
            pair.run_for(Duration::from_millis(300));
            pair.attach().unwrap();
        }
    }
    drive(pair);
    assert!(pair.client.openings.contains(&Opening::Resumed));
}

fn cancel_and_pause(pair: &mut Pair) {
    let now = pair.now();
    let one = pair.client.offer(now, 1, 300_000, true).unwrap();
    let two = pair.server_mut().offer(now, 2, 300_000, false).unwrap();
    pair.run_for(Duration::from_millis(200));
    let now = pair.now();
    pair.client.machine.call(now, Call::Pause(two, true)).unwrap();
    let cancel = Call::Cancel(one, TransferCode::CANCELLED, "enough".into());
    pair.client.machine.call(now, cancel).unwrap();
    pair.run_for(Duration::from_secs(40));
    let now = pair.now();
    pair.client.machine.call(now, Call::Pause(two, false)).unwrap();
    drive(pair);
}

fn batch(pair: &mut Pair) {
    let now = pair.now();
    let batch = Batch { name: "many".into(), count: 5, bytes: 50_000, metadata: [][..].into() };
    let done = pair.client.machine.call(now, Call::OfferBatch(batch)).unwrap();
    let Done::Transfer(id) = done else { panic!("{done:?}") };
    pair.run_for(Duration::from_millis(100));
    let now = pair.now();
    for seed in 0..5 {
        let mut offer = Offer::new(format!("in/it-{seed}"));
        offer.size = Some(10_000);
        offer.batch = Some(id);
        pair.client.offer_as(now, offer, seed, 10_000).unwrap();
    }
    pair.cut_after(Side::Client, 20_000);
    pair.drive(STEPS, |pair| pair.is_cut()).unwrap();
    pair.attach().unwrap();
    drive(pair);
    let now = pair.now();
    pair.server_mut().machine.call(now, Call::Stored(id, "many".into())).unwrap();
    pair.run_for(Duration::from_secs(1));
}

fn close(pair: &mut Pair) {
    let now = pair.now();
    pair.client.offer(now, 1, 1 << 20, true).unwrap();
    pair.run_for(Duration::from_millis(200));
    let now = pair.now();
    let call = Call::Close(CloseCode::SHUTDOWN, "later".into());
    pair.server_mut().machine.call(now, call).unwrap();
    pair.run_for(Duration::from_secs(20));
    assert!(pair.client.closed.is_some() && pair.server().closed.is_some());
}

fn fresh(pair: &mut Pair) {
    let now = pair.now();
    pair.client.say(now, "before").unwrap();
    pair.run_for(Duration::from_secs(1));
    pair.cut();
    let now = pair.now();
    pair.client.say(now, "between").unwrap();
    pair.forget_server();
    pair.attach().unwrap();
    pair.open().unwrap();
    chat(pair);
}

fn superseded(pair: &mut Pair) {
    let now = pair.now();
    pair.client.offer(now, 1, 200_000, false).unwrap();
    pair.run_for(Duration::from_millis(150));
    pair.cut_silently();
    pair.attach().unwrap();
    drive(pair);
}

fn silence(pair: &mut Pair) {
    pair.run_for(Duration::from_secs(600));
    pair.cut_silently();
    pair.run_for(Duration::from_secs(1000));
    assert!(pair.client.closed.is_some() && pair.server().closed.is_some());
}

fn all(pair: &mut Pair) {
    chat(pair);
    files(pair);
    files_and_breaks(pair);
    cancel_and_pause(pair);
    batch(pair);
    superseded(pair);
    close(pair);
}

type Scenario = fn(&mut Pair);

const SCENARIOS: [(&str, Scenario); 9] = [
    ("chat", chat),
    ("files", files),
    ("files and breaks", files_and_breaks),
    ("cancel and pause", cancel_and_pause),
    ("batch", batch),
    ("close", close),
    ("fresh", fresh),
    ("superseded", superseded),
    ("silence", silence),
];

#[test]
fn every_scenario_plays_again() {
    for (what, scenario) in SCENARIOS {
        let mut pair = pair();
        scenario(&mut pair);
        assert_plays_again(&pair, what);
    }
    let mut pair = pair();
    all(&mut pair);
    println!(
        "{} and {} steps",
        pair.client.machine.recording().len(),
        pair.server().machine.recording().len()
    );
    assert_plays_again(&pair, "all");
}

#[test]
fn the_same_scenario_makes_the_same_recording() {
    let record = || {
        let mut pair = pair();
        files_and_breaks(&mut pair);
        let server = pair.server().machine.recording().clone();
        (pair.client.machine.recording().clone(), server)
    };
    assert_eq!(record(), record());
}

#[test]
fn other_links_make_other_recordings_that_play_as_well() {
    for (rate, segment, buffer) in
        [(None, 64 << 10, 4 << 20), (Some(20_000), 100, 2000), (Some(9_000_000), 1400, 16 << 10)]
    {
        let latency = Duration::from_millis(30);
        let mut pair = pair_with(Config::default(), LinkOptions { latency, rate, segment, buffer });
        files(&mut pair);
        chat_when_slow(&mut pair);
        assert_plays_again(&pair, &format!("{rate:?} {segment} {buffer}"));
    }
}

fn chat_when_slow(pair: &mut Pair) {
    let now = pair.now();
    pair.client.say(now, "hello").unwrap();
    pair.cut();
    pair.attach().unwrap();
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.server().chats, ["hello"]);
}

#[test]
fn a_recording_that_was_tampered_with_diverges() {
    let mut pair = pair();
    files_and_breaks(&mut pair);
    for end in [&pair.client, pair.server()] {
        let recording = end.machine.recording();
        let count = recording.len();
        let mut noticed = 0;
        let mut tried = 0;
        for step in (0..count).step_by(count / 100) {
            let Some(tampered) = recording.tampered(step) else { continue };
            tried += 1;
            noticed += u32::from(tampered.replay().is_err());
        }
        println!("{noticed} of {tried} noticed");
        assert!(tried > 10 && noticed == tried);
    }
}

#[test]
fn another_machine_says_something_else() {
    // A recording of one configuration does not play on a machine with another.
    let mut pair = pair();
    files(&mut pair);
    let recording = pair.client.machine.recording();
    assert!(recording.replay().is_ok());
    let other = Config::builder().send_buffer(64 << 10).build().unwrap();
    assert!(recording.with_config(other).replay().is_err());
}

#[test]
fn ids_of_a_recording_are_those_of_its_side() {
    let mut pair = pair();
    let now = pair.now();
    let id = pair.server_mut().offer(now, 1, 10, true).unwrap();
    assert_eq!(Some(id), TransferId::new(Side::Server, 1));
    drive(&mut pair);
    assert_plays_again(&pair, "a small file");
}
