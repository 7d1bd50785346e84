//! A conversation that is cut at every byte of each direction, and goes on as if it had not been.

use core::time::Duration;

use duologue::proto::{CloseReason, Config, Error, Lane, Opening, Receipt};
use duologue::testing::{Call, Endpoint, LinkOptions, Pair};
use duologue::time::Time;
use duologue::wire::{Side, TransferCode, TransferId};

/// Chats, and messages, that each side says.
const ITEMS: usize = 10;
const STEPS: usize = 20_000;

/// What the two applications have done so far.
#[derive(Debug, Default)]
struct Script {
    has_begun: [bool; 2],
    paused_at: Option<Time>,
    has_gone_on: bool,
    has_cancelled: bool,
}

fn chat(side: Side, number: usize) -> String {
    format!("{}{number}", if side == Side::Client { 'c' } else { 's' })
}

fn message(side: Side, number: usize) -> Vec<u8> {
    // One of them comes in two frames.
    let len = if number == 3 { 1100 } else { number };
    vec![if side == Side::Client { b'C' } else { b'S' }; len + 1]
}

fn id(side: Side, number: u32) -> TransferId {
    TransferId::new(side, number).unwrap()
}

impl Script {
    fn act(&mut self, pair: &mut Pair) {
        let now = pair.now();
        for (index, side) in [Side::Client, Side::Server].into_iter().enumerate() {
            if self.has_begun[index] || (side == Side::Server && !pair.is_server_there()) {
                continue;
            }
            let end = pair.end(side);
            if !end.machine.is_open() {
                continue;
            }
            self.has_begun[index] = true;
            for number in 0..ITEMS {
                end.say(now, &chat(side, number)).unwrap();
                end.tell(now, &message(side, number)).unwrap();
            }
            end.offer(now, 1, 300, side == Side::Client).unwrap();
            if side == Side::Client {
                end.offer(now, 2, 250, false).unwrap();
                end.offer(now, 3, 400, true).unwrap();
            }
        }
        self.pause(pair, now);
        let third = id(Side::Client, 3);
        let is_accepted = pair.client.outgoing.get(&third).is_some_and(|t| t.is_accepted);
        if is_accepted && !self.has_cancelled && pair.client.machine.is_open() {
            let call = Call::Cancel(third, TransferCode::CANCELLED, String::new());
            self.has_cancelled = pair.client.machine.call(now, call).is_ok();
        }
    }

    /// The server pauses the first file when it is offered, and lets it go on a moment later.
    fn pause(&mut self, pair: &mut Pair, now: Time) {
        if !pair.is_server_there() {
            return;
        }
        let first = id(Side::Client, 1);
        let server = pair.server_mut();
        let later = |paused: Time| paused.saturating_add(Duration::from_millis(7));
        if self.paused_at.is_none() && server.incoming.contains_key(&first) {
            server.machine.call(now, Call::Pause(first, true)).unwrap();
            self.paused_at = Some(now);
        } else if self.paused_at.is_some_and(|paused| later(paused) <= now) && !self.has_gone_on {
            server.machine.call(now, Call::Pause(first, false)).unwrap();
            self.has_gone_on = true;
        }
    }
}

fn config() -> Config {
    Config::builder().max_fragment(1024).build().unwrap()
}

fn is_all_delivered(end: &Endpoint) -> bool {
    let delivered = |lane| {
        end.receipts
            .iter()
            .filter(|(item, r)| item.lane == lane && *r == Receipt::Delivered)
            .count()
    };
    delivered(Lane::Chat) >= ITEMS && delivered(Lane::Control) >= ITEMS
}

fn is_done(pair: &Pair) -> bool {
    pair.is_server_there()
        && [&pair.client, pair.server()].into_iter().all(|end| {
            end.chats.len() >= ITEMS
                && end.messages.len() >= ITEMS
                && is_all_delivered(end)
                && !end.outgoing.is_empty()
                && end.has_sent_all()
        })
}

fn check(pair: &Pair, at: &str) {
    for (end, peer) in [(&pair.client, Side::Server), (pair.server(), Side::Client)] {
        let chats: Vec<_> = (0..ITEMS).map(|number| chat(peer, number)).collect();
        let messages: Vec<_> = (0..ITEMS).map(|number| message(peer, number)).collect();
        assert_eq!(end.chats, chats, "{at}");
        assert_eq!(end.messages, messages, "{at}");
        assert_eq!(end.closed, None, "{at}");
        for (id, t) in &end.outgoing {
            let (code, total, name) = t.verdict.clone().unwrap();
            if code == TransferCode::STORED {
                assert_eq!((total, name), (t.size, format!("stored-{}", id.number())), "{at}");
            } else {
                let is_cancelled = code == TransferCode::CANCELLED && id.number() == 3;
                assert!(is_cancelled, "{id} {code} {at}");
            }
        }
        for (id, t) in &end.incoming {
            assert!(!t.is_wrong, "{id} {at}");
            assert!(t.concluded.is_some(), "{id} {at}");
            if t.concluded == Some(TransferCode::STORED) {
                assert_eq!(t.finish.unwrap().total, t.received, "{id} {at}");
            }
        }
        let unknown = end.receipts.iter().filter(|(_, r)| *r != Receipt::Delivered).count();
        assert_eq!(unknown, 0, "{at}");
        let mut items: Vec<_> = end.receipts.iter().map(|(item, _)| *item).collect();
        let count = items.len();
        items.sort();
        items.dedup();
        assert_eq!(items.len(), count, "a receipt twice {at}");
    }
}

/// What became of one run.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The stream broke before it was open, and both know.
    NeverOpen,
    /// The server had not heard of the client since it accepted, so both began anew.
    Fresh,
    /// It went on.
    Whole,
}

/// Runs the scenario with these cuts, each counted from the beginning of its stream.
fn run(cuts: &[(Side, u64)]) -> (Outcome, Pair) {
    let link = LinkOptions { segment: 700, ..LinkOptions::default() };
    let mut pair = Pair::new(config(), config(), link);
    let mut script = Script::default();
    let at = format!("cut at {cuts:?}");
    for &(side, bytes) in cuts {
        pair.cut_after(side, bytes);
        let cut = pair.drive(STEPS, |pair| {
            script.act(pair);
            pair.is_cut() || pair.client.closed.is_some()
        });
        assert_eq!(cut, Ok(()), "{at}");
        if let Some(reason) = pair.client.closed {
            assert_eq!(reason, CloseReason::Failed(Error::Incomplete), "{at}");
            let server = pair.is_server_there().then(|| pair.server().closed);
            assert!(server.is_none_or(|closed| closed == Some(reason)), "{at}");
            return (Outcome::NeverOpen, pair);
        }
        pair.attach().unwrap();
    }
    let done = pair.drive(STEPS, |pair| {
        script.act(pair);
        is_done(pair) || pair.client.openings.last() == Some(&Opening::Fresh)
    });
    assert_eq!(done, Ok(()), "{at}: {script:?}");
    if pair.client.openings.last() == Some(&Opening::Fresh) {
        check_fresh(&mut pair, &at);
        return (Outcome::Fresh, pair);
    }
    check(&pair, &at);
    (Outcome::Whole, pair)
}

/// After a fresh start nothing of before is delivered, and what is new is.
fn check_fresh(pair: &mut Pair, at: &str) {
    assert!(pair.client.receipts.iter().all(|(_, r)| *r != Receipt::Delivered), "{at}");
    assert!(pair.client.outgoing.values().all(|t| t.is_abandoned), "{at}");
    pair.open().unwrap();
    let now = pair.now();
    let count = pair.server().chats.len();
    pair.client.say(now, "anew").unwrap();
    pair.drive(STEPS, |pair| pair.server().chats.len() > count).unwrap();
    assert_eq!(pair.server().chats.last().unwrap(), "anew", "{at}");
}

/// Bytes of each direction when nothing is cut.
fn lengths() -> [(Side, u64); 2] {
    let (outcome, pair) = run(&[]);
    assert_eq!(outcome, Outcome::Whole);
    [Side::Client, Side::Server].map(|side| (side, pair.carried(side)))
}

fn cut_everywhere(side: Side) {
    let (_, length) = lengths().into_iter().find(|(of, _)| *of == side).unwrap();
    let mut outcomes = [0_u32; 3];
    for bytes in 0..length {
        let (outcome, _) = run(&[(side, bytes)]);
        outcomes[outcome as usize] += 1;
    }
    let [never, fresh, whole] = outcomes;
    println!("{side:?}: {length} cuts: {never} before it was open, {fresh} fresh, {whole} whole");
    assert!(whole > 2000 && fresh < 100 && never < 400);
}

#[test]
fn cut_at_every_byte_from_the_client() {
    cut_everywhere(Side::Client);
}

#[test]
fn cut_at_every_byte_from_the_server() {
    cut_everywhere(Side::Server);
}

#[test]
fn cut_again_while_it_resumes() {
    let mut cuts = 0;
    for (first, length) in lengths() {
        for bytes in (420..length).step_by(523) {
            for second in [Side::Client, Side::Server] {
                for again in (0..420).step_by(29) {
                    let (outcome, pair) = run(&[(first, bytes), (second, again)]);
                    assert_eq!(outcome, Outcome::Whole);
                    assert!(pair.client.openings.len() <= 3);
                    cuts += 2;
                }
            }
        }
    }
    println!("{cuts} cuts, every second one while resuming");
}
