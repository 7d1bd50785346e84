//! What is wrong with how a conversation goes on over another stream.

use super::{Act, Expected, Misbehaviour, new};
use crate::testing::hostile::past::Leg;
use crate::wire::{CloseCode, Side};

const PROOF: Expected = Expected::Closed(CloseCode::PROOF);
const PROTOCOL: Expected = Expected::Closed(CloseCode::PROTOCOL);

const fn streams(
    name: &'static str,
    rows: &'static str,
    about: &'static str,
    expected: Expected,
    legs: &'static [Leg],
) -> Misbehaviour {
    new(name, rows, about, expected, Act::Streams(legs))
}

pub(super) static LIST: &[Misbehaviour] = &[
    streams(
        "secret-that-is-guessed",
        "H41 A12",
        "goes on with a conversation with a secret that it guessed",
        PROOF,
        &[
            Leg::Begin,
            Leg::Lie(|claim, _| {
                claim.secret = claim.guess;
                true
            }),
            Leg::Resume,
        ],
    ),
    streams(
        "proof-played-again",
        "H41 A12",
        "goes on with the proof that it gave on another stream",
        PROOF,
        &[
            Leg::Begin,
            Leg::Resume,
            Leg::Lie(|claim, pasts| {
                claim.proof = pasts.last().and_then(|past| past.proof);
                claim.proof.is_some()
            }),
            Leg::Resume,
        ],
    ),
    streams(
        "attach-played-again",
        "H41 A12",
        "says once more, byte for byte, what went on with a conversation before",
        Expected::Closed(CloseCode::STALE),
        &[Leg::Begin, Leg::Resume, Leg::Again, Leg::Resume],
    )
    .only(Side::Client),
    streams(
        "attach-used-twice",
        "H41 A12",
        "goes on with the number of an attach that was used",
        Expected::Closed(CloseCode::STALE),
        &[
            Leg::Begin,
            Leg::Resume,
            Leg::Lie(|claim, _| {
                claim.attach = claim.attach.saturating_sub(1);
                true
            }),
            Leg::Resume,
        ],
    )
    .only(Side::Client),
    streams(
        "secret-of-another-conversation",
        "H41 A12",
        "goes on with a conversation with the secret of another one",
        PROOF,
        &[
            Leg::Begin,
            Leg::Begin,
            Leg::Lie(|claim, pasts| {
                claim.secret = pasts.first().map_or(claim.guess, |past| past.secret);
                true
            }),
            Leg::Resume,
        ],
    )
    .only(Side::Client),
    streams(
        "items-that-were-not-sent",
        "H41 A12 A6",
        "goes on, and has heard what the victim never said",
        PROTOCOL,
        &[
            Leg::Begin,
            Leg::Lie(|claim, _| {
                claim.next = claim.next.map(|next| next.saturating_add(1 << 20));
                true
            }),
        ],
    ),
    streams(
        "items-that-were-heard-and-are-not-any-more",
        "H41 A12 A6",
        "goes on, and has not heard what it had acknowledged",
        PROTOCOL,
        &[
            Leg::Begin,
            Leg::Lie(|claim, _| {
                let heard = core::mem::take(&mut claim.next);
                heard != [0, 0]
            }),
        ],
    ),
];
