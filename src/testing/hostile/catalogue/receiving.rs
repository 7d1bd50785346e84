//! What is wrong with how the peer receives the victim's files.

use core::time::Duration;

use super::{Expected, Misbehaviour, open};
use crate::testing::hostile::speaker::{Next, NotYet};
use crate::wire::{
    Accept, CloseCode, Credit, Digest, Frame, Kind, MAX_INTEGER, Offer, Reject, TransferCode,
    Verdict,
};

const PROTOCOL: Expected = Expected::Closed(CloseCode::PROTOCOL);

fn credit(limit: u64, received: u64) -> Frame<'static> {
    Frame::Credit(Credit { limit, received, durable: 0 })
}

fn verdict(code: TransferCode, total: u64) -> Frame<'static> {
    Frame::Verdict(Verdict { code, total, text: "x".into() })
}

pub(super) static LIST: &[Misbehaviour] = &[
    open("credit-that-goes-back", "H11 A6", "takes credit back", PROTOCOL, |s| {
        let id = s.taken(5000)?;
        s.frame(id, &credit(4999, 0));
        Ok(Next::Done)
    }),
    open(
        "credit-for-what-was-not-sent",
        "H11 A6",
        "has received more than was sent",
        PROTOCOL,
        |s| {
            let id = s.taken(5000)?;
            s.frame(id, &credit(1 << 40, 1 << 39));
            Ok(Next::Done)
        },
    ),
    open(
        "all-the-credit-there-is",
        "H2 H11 A8",
        "gives credit up to the largest number, and does not read for a while",
        Expected::Tolerated,
        |s| {
            s.taken(MAX_INTEGER)?;
            s.is_deaf = s.step == 0;
            s.step = s.step.saturating_add(1);
            Ok(if s.step > 1 { Next::Done } else { Next::Wait(Duration::from_secs(5)) })
        },
    ),
    open(
        "no-credit-for-ever",
        "A6 A16 H24",
        "accepts a file, gives no credit, and is alive otherwise",
        Expected::Tolerated,
        |s| {
            s.taken(0)?;
            s.step = s.step.saturating_add(1);
            s.frame(0, &Frame::Ping(crate::wire::Ping { token: [1; 8] }));
            Ok(if s.step > 20 { Next::Done } else { Next::Wait(Duration::from_secs(10)) })
        },
    ),
    open(
        "hoarder",
        "H13 H40 A6 A8 A16",
        "makes the victim hold as much as it may for a quarter of an hour, and is alive otherwise",
        Expected::Tolerated,
        |s| {
            if s.step == 0 {
                s.taken(0)?;
                let id = s.started(&Offer::new("hoard"), 1)?;
                // An item of each lane that lacks its end, and of a file all that may be sent at once.
                let (item, granted) = (s.heard.limits().item, s.granted(id).min(256 << 10));
                for lane in [0, 1] {
                    for _ in 1..item / 1024 {
                        s.raw(Kind::PART, lane, &[b'x'; 1024]);
                    }
                }
                for _ in 0..granted / 1024 {
                    s.data(id, 1024);
                }
            }
            s.step = s.step.saturating_add(1);
            s.frame(0, &Frame::Ping(crate::wire::Ping { token: [1; 8] }));
            Ok(if s.step > 50 { Next::Done } else { Next::Wait(Duration::from_secs(20)) })
        },
    ),
    open("accept-twice", "A4 A17", "accepts a file twice", PROTOCOL, |s| {
        let id = s.taken(5000)?;
        s.frame(id, &Frame::Accept(Accept { offset: 0, prefix: None }));
        Ok(Next::Done)
    }),
    open("reject-after-accept", "A4 A17", "accepts a file, and rejects it", PROTOCOL, |s| {
        let id = s.taken(5000)?;
        let reject = Reject { code: TransferCode::DECLINED, text: "".into() };
        s.frame(id, &Frame::Reject(reject));
        Ok(Next::Done)
    }),
    open(
        "accept-beyond-the-size",
        "A12 H37",
        "has more of a file than there is of it",
        PROTOCOL,
        |s| {
            let id = s.theirs(1);
            let theirs = s.heard.theirs.get(&id).ok_or(NotYet::Hear)?;
            let offset = theirs.size.ok_or(NotYet::Never)?.saturating_add(1);
            let prefix = Some(Digest::Blake3([1; 32]));
            s.frame(id, &Frame::Accept(Accept { offset, prefix }));
            Ok(Next::Done)
        },
    ),
    open(
        "part-of-another-file",
        "A12 H37",
        "has a part that is of another file",
        Expected::Tolerated,
        |s| {
            let id = s.theirs(1);
            let theirs = s.heard.theirs.get(&id).ok_or(NotYet::Hear)?;
            let offset = theirs.size.filter(|size| *size > 1).ok_or(NotYet::Never)? / 2;
            let prefix = Some(Digest::Blake3([1; 32]));
            s.frame(id, &Frame::Accept(Accept { offset, prefix }));
            s.frame(id, &credit(offset, offset));
            Ok(Next::Done)
        },
    ),
    open("stored-before-its-end", "A10 A4", "has stored what has not come", PROTOCOL, |s| {
        let id = s.taken(0)?;
        s.frame(id, &verdict(TransferCode::STORED, 1 << 50));
        Ok(Next::Done)
    }),
    open("verdict-for-nobody", "A4 H12", "judges a file that was never offered", PROTOCOL, |s| {
        s.frame(s.theirs(1000), &verdict(TransferCode::CANCELLED, 0));
        Ok(Next::Done)
    }),
    open("verdict-twice", "A4 A17", "judges a file twice", PROTOCOL, |s| {
        let id = s.taken(0)?;
        for _ in 0..2 {
            s.frame(id, &verdict(TransferCode::NO_SPACE, 0));
        }
        Ok(Next::Done)
    }),
    open(
        "given-up-at-once",
        "H38 A17",
        "accepts a file, and has no room for it",
        Expected::Tolerated,
        |s| {
            let id = s.taken(5000)?;
            s.frame(id, &verdict(TransferCode::NO_SPACE, 0));
            Ok(Next::Done)
        },
    ),
];
