use duologue::proto::{Config, Opening};
use duologue::testing::{LinkOptions, Pair};

#[test]
fn open_chat_and_a_file() {
    let mut pair = Pair::new(Config::default(), Config::default(), LinkOptions::default());
    pair.record();
    pair.open().unwrap();
    let now = pair.now();
    pair.client.say(now, "hello").unwrap();
    pair.server_mut().say(now, "hello yourself").unwrap();
    let id = pair.client.offer(now, 5, 1_000_000, true).unwrap();
    pair.server_mut().offer(now, 6, 300_000, false).unwrap();
    pair.drive(10_000, |pair| pair.client.has_sent_all() && pair.server().has_sent_all()).unwrap();
    assert_eq!(pair.server().chats, ["hello"]);
    assert_eq!(pair.client.chats, ["hello yourself"]);
    assert!(!pair.server().incoming[&id].is_wrong);
    println!("{:?}", pair.client.outgoing);
    println!("{:?}", pair.client.receipts);
    println!("{:#?}", pair.client.machine.statistics());
    let size = pair.client.machine.memory_usage();
    println!("{size} at {:?}", pair.now());
    pair.client.machine.recording().replay().unwrap();
    pair.server().machine.recording().replay().unwrap();
}

#[test]
fn cut_and_resume() {
    let mut pair = Pair::new(Config::default(), Config::default(), LinkOptions::default());
    pair.record();
    pair.open().unwrap();
    let now = pair.now();
    let id = pair.client.offer(now, 5, 1_000_000, true).unwrap();
    pair.server_mut().offer(now, 6, 300_000, false).unwrap();
    pair.client.say(now, "hello").unwrap();
    pair.cut_after(duologue::wire::Side::Client, 200_000);
    pair.drive(10_000, |pair| pair.is_cut()).unwrap();
    pair.attach().unwrap();
    pair.drive(10_000, |pair| pair.client.has_sent_all() && pair.server().has_sent_all()).unwrap();
    assert_eq!(pair.client.openings, [Opening::New, Opening::Resumed]);
    assert_eq!(pair.server().openings, [Opening::New, Opening::Resumed]);
    assert!(!pair.server().incoming[&id].is_wrong);
    pair.client.machine.recording().replay().unwrap();
    pair.server().machine.recording().replay().unwrap();
    println!("{:#?}", pair.client.machine.statistics());
}
