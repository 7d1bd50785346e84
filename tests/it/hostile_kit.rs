//! Each misbehaviour of the public kit, against a victim that is in order: what came of it is what is
//! expected, within the bounds, and others notice nothing.
//!
//! One alone: `DUOLOGUE_ATTACK=name cargo test --test it hostile_kit`.

#[allow(dead_code, reason = "some of it is for torture")]
#[path = "../attacks/mod.rs"]
mod attacks;

use std::collections::BTreeSet;

use attacks::{Beside, Strikes, attack, befall};
use duologue::proto::{Config, StreamParameters};
use duologue::session::accept;
use duologue::testing::duplex;
use duologue::testing::hostile::{Culprit, Expected, HostilePeer, Misbehaviour, Outcome, Report};
use duologue::time::VirtualClock;
use duologue::wire::Side;
use futures::StreamExt;
use futures::future::join;

/// Rows that are nobody's misbehaviour, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("H23", "it is the clock's"),
    (
        "H29",
        "a disk in memory has no links: `fs_inbox`, `fs_batches` and `fs_distrust` try them on a real one",
    ),
    ("H42", "it is whoever stands between two: `hostile_rows` alters each bit of a HELLO"),
    ("H45", "it is the application's, which drops its futures"),
    ("H46", "it is what holds for each of them"),
    ("A13", "it takes two, and what they resume"),
    ("T10", "it is the timer's"),
    ("T11", "it is the application's, which drops its futures"),
    ("S7", "it is the source's, which is no disk of the receiver's"),
    ("S8", "it holds up a thread: `ShadowDisk::hold`"),
];

#[test]
fn every_peer_that_misbehaves_is_answered_as_it_should_be() {
    let one = std::env::var("DUOLOGUE_ATTACK").ok();
    let mut wrong = Vec::new();
    for side in [Side::Client, Side::Server] {
        for misbehaviour in Misbehaviour::all() {
            let is_other = misbehaviour.side().is_some_and(|only| only != side);
            let is_asked = one.as_deref().is_none_or(|one| one == misbehaviour.name());
            if misbehaviour.culprit() == Culprit::Storage || is_other || !is_asked {
                continue;
            }
            // An honest conversation beside each, and one more after it.
            match attack(misbehaviour, side, 1, Beside::Others) {
                Ok(attack) if one.is_some() => println!("{attack:#?}"),
                Ok(attack) => assert_eq!(attack.others, 2, "{misbehaviour} as {side:?}"),
                Err(error) => wrong.push(format!("{misbehaviour} as {side:?}: {error}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn h41_over_several_streams_a_peer_is_believed_only_what_it_proves() {
    let mut tried = 0;
    for side in [Side::Client, Side::Server] {
        for misbehaviour in Misbehaviour::of_peer(side).filter(|m| m.streams() > 1) {
            assert!(misbehaviour.rows().any(|row| row == "H41"), "{misbehaviour}");
            for seed in 0..8 {
                // Between two streams on which the conversation is its own peer's, mostly.
                let attack = attack(misbehaviour, side, seed, Beside::Nobody);
                let outcome = attack.unwrap_or_else(|error| panic!("{misbehaviour}: {error}"));
                let is_refused = matches!(outcome.report.outcome, Outcome::Closed(_));
                assert!(is_refused, "{misbehaviour}: {outcome:?}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 8 * (7 + 4));
}

/// What comes of it at a listener that talks to nobody, over one stream to which nothing happens.
fn over_a_quiet_stream(misbehaviour: &'static Misbehaviour) -> Report {
    let (clock, (near, far)) = (VirtualClock::new(), duplex(4096));
    let peer = HostilePeer::new(misbehaviour, Side::Client, 1).run(near, clock.timer());
    let serving = async {
        let parameters = StreamParameters::new([1; 32]);
        let accepted = accept(far, Config::default(), parameters, clock.timer()).await;
        let (session, mut events, driver) = accepted.unwrap();
        let application = async { while events.next().await.is_some() {} };
        join(async { drop(driver.await) }, application).await;
        drop(session);
    };
    clock.block_on(join(peer, serving)).unwrap().0
}

#[test]
fn a_peer_of_several_streams_that_gets_no_other_has_had_no_occasion() {
    for misbehaviour in Misbehaviour::of_peer(Side::Client).filter(|m| m.streams() > 1) {
        let report = over_a_quiet_stream(misbehaviour);
        assert_eq!(report.outcome, Outcome::NoOccasion, "{misbehaviour}");
        assert!(report.check().is_err(), "{misbehaviour}");
    }
}

#[test]
fn a_listener_that_offers_no_file_gives_no_occasion_to_who_would_take_it() {
    let report = over_a_quiet_stream(Misbehaviour::by_name("accept-twice").unwrap());
    assert_eq!(report.outcome, Outcome::NoOccasion);
    assert!(report.check().is_err());
}

#[test]
fn a_stream_that_was_to_break_and_did_not_is_found_out() {
    let streams = Misbehaviour::all().filter(|m| m.culprit() == Culprit::Transport);
    for misbehaviour in streams {
        let report = over_a_quiet_stream(misbehaviour);
        assert_eq!(report.outcome, Outcome::Tolerated, "{misbehaviour}");
        let is_to_break = misbehaviour.expected() == Expected::Broken;
        assert_eq!(report.check().is_err(), is_to_break, "{misbehaviour}");
    }
}

#[test]
fn whatever_befalls_a_disk_no_file_is_wrong_and_the_next_one_is_stored() {
    for misbehaviour in Misbehaviour::all().filter(|m| m.culprit() == Culprit::Storage) {
        let mut strikes = Strikes::default();
        for seed in 0..40 {
            match befall(misbehaviour, seed) {
                Ok(befallen) => strikes.add(befallen),
                Err(error) => panic!("{misbehaviour}, {seed}: {error}"),
            }
        }
        let checked = strikes.check(misbehaviour.expected());
        checked.unwrap_or_else(|error| panic!("{misbehaviour}: {error}"));
    }
}

#[test]
fn h46_the_same_seed_is_the_same_attack() {
    for misbehaviour in Misbehaviour::of_peer(Side::Client).step_by(7) {
        let run = || {
            let report = attack(misbehaviour, Side::Client, 5, Beside::Nobody).unwrap().report;
            (report.outcome, report.said, report.heard)
        };
        assert_eq!(run(), run(), "{misbehaviour}");
    }
}

#[test]
fn a_victim_that_does_nothing_about_it_is_found_out() {
    for side in [Side::Client, Side::Server] {
        for misbehaviour in Misbehaviour::of_peer(side) {
            let (clock, (near, _far)) = (VirtualClock::new(), duplex(4096));
            let peer = HostilePeer::new(misbehaviour, side, 1);
            let report = clock.block_on(peer.run(near, clock.timer())).unwrap();
            assert_eq!(report.outcome, Outcome::Nothing, "{misbehaviour}");
            assert!(report.check().is_err(), "{misbehaviour}");
        }
    }
}

#[test]
fn every_row_is_somebodys_misbehaviour_or_it_is_said_whose_it_is() {
    let mut rows: BTreeSet<String> = ELSEWHERE.iter().map(|(row, _)| (*row).to_owned()).collect();
    let mut names = BTreeSet::new();
    for misbehaviour in Misbehaviour::all() {
        assert!(names.insert(misbehaviour.name()), "{misbehaviour} is there twice");
        for row in misbehaviour.rows() {
            assert!(!ELSEWHERE.iter().any(|(other, _)| *other == row), "{row}: {misbehaviour}");
            rows.insert(row.to_owned());
        }
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(misbehaviour.name().chars().all(is_plain), "{misbehaviour}");
    }
    for (letter, most) in super::rows::ROWS {
        for number in 1..=most {
            let row = format!("{letter}{number}");
            assert!(rows.remove(&row), "{row} is nobody's");
        }
    }
    assert!(rows.is_empty(), "there are no such rows: {rows:?}");
}
