//! Peers that are too slow, or do nothing.

use core::time::Duration;

use super::{Expected, Misbehaviour, greeted, instead, open};
use crate::testing::hostile::speaker::{Next, Said, Speaker};
use crate::wire::{Chat, Frame, Kind, PREFACE};

const LONG: Duration = Duration::from_secs(3600);

/// Is silent for longer than anybody waits.
fn silent(s: &mut Speaker) -> Said {
    s.has_manners = false;
    s.step = s.step.saturating_add(1);
    Ok(if s.step > 1 { Next::Done } else { Next::Wait(LONG) })
}

pub(super) static LIST: &[Misbehaviour] = &[
    instead("silence", "H20 H21 H40 T8", "says nothing at all", Expected::TimedOut, silent),
    instead(
        "silence-in-the-preface",
        "H21 H40",
        "says some of the preface, and no more",
        Expected::TimedOut,
        |s| {
            if s.step == 0 {
                let len = usize::try_from(s.random.below(8)).unwrap_or_default();
                s.raw_bytes(PREFACE.get(..len.saturating_add(1)).unwrap_or_default());
            }
            silent(s)
        },
    ),
    greeted(
        "silence-after-hello",
        "H21 H40 A3",
        "says HELLO, and no more",
        Expected::TimedOut,
        silent,
    ),
    open(
        "silence-once-open",
        "H21 H24 T8",
        "is accepted, and never heard again",
        Expected::TimedOut,
        silent,
    ),
    open(
        "reads-nothing",
        "H13 H40 A8",
        "talks, and reads nothing for two minutes",
        Expected::Tolerated,
        |s| {
            s.is_deaf = true;
            s.step = s.step.saturating_add(1);
            if s.step > 12 {
                return Ok(Next::Done);
            }
            s.frame(0, &Frame::Chat(Chat::new("are you listening?")));
            Ok(Next::Wait(Duration::from_secs(10)))
        },
    ),
    greeted(
        "handshake-that-drips",
        "H20 T9",
        "says its handshake at a byte each second",
        Expected::TimedOut,
        |s| {
            s.piece = Some((1, Duration::from_secs(1)));
            Ok(Next::Done)
        },
    ),
    open(
        "frame-that-drips",
        "H20 T9",
        "sends a frame at a byte each ten seconds",
        Expected::TimedOut,
        |s| {
            s.has_manners = false;
            s.piece = Some((1, Duration::from_secs(10)));
            s.raw(Kind::SIGNAL, 0, &[1; 1000]);
            Ok(Next::Done)
        },
    ),
];
