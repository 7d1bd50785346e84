use core::fmt;

use super::Event;
use crate::wire::redacted::Bytes;

type Fields<'a> = &'a [(&'static str, &'a dyn fmt::Debug)];

fn show(f: &mut fmt::Formatter<'_>, name: &str, fields: Fields<'_>) -> fmt::Result {
    let mut shown = f.debug_struct(name);
    for (name, value) in fields {
        shown.field(name, value);
    }
    shown.finish()
}

/// Shows lengths instead of what the peer wrote, credentials above all.
impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerHello { is_resuming, .. } => {
                show(f, "PeerHello", &[("is_resuming", is_resuming)])
            }
            Self::Authentication(bytes) => {
                f.debug_tuple("Authentication").field(&Bytes(bytes.len())).finish()
            }
            Self::Open(opening) => f.debug_tuple("Open").field(opening).finish(),
            Self::Chat { item, chat } => show(f, "Chat", &[("item", item), ("chat", chat)]),
            Self::Message { item, message } => {
                show(f, "Message", &[("item", item), ("message", message)])
            }
            Self::Signal(signal) => signal.fmt(f),
            Self::Receipts { lane, numbers, receipt } => {
                show(f, "Receipts", &[("lane", lane), ("numbers", numbers), ("receipt", receipt)])
            }
            Self::LaneWritable(lane) => f.debug_tuple("LaneWritable").field(lane).finish(),
            Self::MayOffer => f.write_str("MayOffer"),
            Self::Detached(reason) => f.debug_tuple("Detached").field(reason).finish(),
            Self::Goodbye { code, text } => {
                show(f, "Goodbye", &[("code", code), ("text", &Bytes(text.len()))])
            }
            Self::Closed(reason) => f.debug_tuple("Closed").field(reason).finish(),
            _ => fmt_transfer(self, f),
        }
    }
}

/// What is of a transfer.
fn fmt_transfer(event: &Event<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (name, transfer, fields): (_, _, Fields<'_>) = match event {
        Event::Offered { transfer, item, offer } => {
            ("Offered", transfer, &[("item", item), ("offer", offer)])
        }
        Event::Refused { transfer, item, offer } => {
            ("Refused", transfer, &[("item", item), ("offer", offer)])
        }
        Event::BatchOffered { transfer, item, batch } => {
            ("BatchOffered", transfer, &[("item", item), ("batch", batch)])
        }
        Event::Accepted { transfer, item, accept } => {
            ("Accepted", transfer, &[("item", item), ("accept", accept)])
        }
        Event::Rejected { transfer, item, code, text } => {
            ("Rejected", transfer, &[("item", item), ("code", code), ("text", &Bytes(text.len()))])
        }
        Event::Writable { transfer, offset } => ("Writable", transfer, &[("offset", offset)]),
        Event::Rewind { transfer, offset } => ("Rewind", transfer, &[("offset", offset)]),
        Event::Progress { transfer, received, durable } => {
            ("Progress", transfer, &[("received", received), ("durable", durable)])
        }
        Event::Started { transfer, offset } => ("Started", transfer, &[("offset", offset)]),
        Event::Data { transfer, offset, data } => {
            ("Data", transfer, &[("offset", offset), ("data", &Bytes(data.len()))])
        }
        Event::Paused { transfer, item, is_paused } => {
            ("Paused", transfer, &[("item", item), ("is_paused", is_paused)])
        }
        Event::Finished { transfer, item, finish } => {
            ("Finished", transfer, &[("item", item), ("finish", finish)])
        }
        Event::CancelAsked { transfer, item, code, text } => (
            "CancelAsked",
            transfer,
            &[("item", item), ("code", code), ("text", &Bytes(text.len()))],
        ),
        Event::Verdict { transfer, item, code, total, text } => (
            "Verdict",
            transfer,
            &[("item", item), ("code", code), ("total", total), ("text", &Bytes(text.len()))],
        ),
        Event::Expired { transfer } => ("Expired", transfer, &[]),
        Event::Abandoned { transfer } => ("Abandoned", transfer, &[]),
        _ => return f.write_str("Event"),
    };
    let mut shown = f.debug_struct(name);
    shown.field("transfer", transfer);
    for (name, value) in fields {
        shown.field(name, value);
    }
    shown.finish()
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec::Vec;

    use super::super::{CloseReason, DetachReason, ItemId, Lane, Opening, Receipt};
    use super::*;
    use crate::wire::{
        Accept, Batch, Chat, CloseCode, Digest, Finish, Message, Offer, Side, Signal, TransferCode,
        TransferId,
    };

    const SECRET: &str = "hunter2";

    /// One of each variant, with words of the peer's wherever there is room for them. In the order of
    /// [`position`], which does not compile without a variant that is new.
    fn all() -> Vec<Event<'static>> {
        let transfer = TransferId::new(Side::Client, 1).unwrap();
        let item = ItemId { lane: Lane::Control, number: 7 };
        let (code, text) = (TransferCode::DECLINED, SECRET);
        let bytes = SECRET.as_bytes();
        let offer = Offer::new(text).media_type(text).metadata(bytes);
        let batch = Batch { name: text.into(), count: 1, bytes: 2, metadata: bytes.into() };
        let chat = Chat::new(text).author(text).media_type(text);
        let message =
            Message { message_type: 1, is_reply: false, correlation: 2, body: bytes.into() };
        Vec::from([
            Event::PeerHello { handshake_hash: [0; 32], is_resuming: true },
            Event::Authentication(bytes.into()),
            Event::Open(Opening::New),
            Event::Chat { item, chat },
            Event::Message { item, message },
            Event::Signal(Signal { signal_type: 1, payload: bytes.into() }),
            Event::Receipts { lane: Lane::Chat, numbers: 3..5, receipt: Receipt::Delivered },
            Event::LaneWritable(Lane::Control),
            Event::MayOffer,
            Event::Offered { transfer, item, offer: offer.clone() },
            Event::Refused { transfer, item, offer },
            Event::BatchOffered { transfer, item, batch },
            Event::Accepted { transfer, item, accept: Accept { offset: 3, prefix: None } },
            Event::Rejected { transfer, item, code, text: text.into() },
            Event::Writable { transfer, offset: 3 },
            Event::Rewind { transfer, offset: 3 },
            Event::Progress { transfer, received: 3, durable: 2 },
            Event::Started { transfer, offset: 3 },
            Event::Data { transfer, offset: 3, data: bytes.into() },
            Event::Paused { transfer, item, is_paused: true },
            Event::Finished {
                transfer,
                item,
                finish: Finish { total: 3, digest: Some(Digest::Blake3([9; 32])) },
            },
            Event::CancelAsked { transfer, item, code, text: text.into() },
            Event::Verdict { transfer, item, code, total: 5, text: text.into() },
            Event::Expired { transfer },
            Event::Abandoned { transfer },
            Event::Detached(DetachReason::Idle),
            Event::Goodbye { code: CloseCode::DONE, text: text.into() },
            Event::Closed(CloseReason::DetachedTimedOut),
        ])
    }

    /// Where a variant stands in [`all`], and its name.
    fn position(event: &Event<'_>) -> (usize, &'static str) {
        match event {
            Event::PeerHello { .. } => (0, "PeerHello"),
            Event::Authentication(_) => (1, "Authentication"),
            Event::Open(_) => (2, "Open"),
            Event::Chat { .. } => (3, "Chat"),
            Event::Message { .. } => (4, "Message"),
            Event::Signal(_) => (5, "Signal"),
            Event::Receipts { .. } => (6, "Receipts"),
            Event::LaneWritable(_) => (7, "LaneWritable"),
            Event::MayOffer => (8, "MayOffer"),
            Event::Offered { .. } => (9, "Offered"),
            Event::Refused { .. } => (10, "Refused"),
            Event::BatchOffered { .. } => (11, "BatchOffered"),
            Event::Accepted { .. } => (12, "Accepted"),
            Event::Rejected { .. } => (13, "Rejected"),
            Event::Writable { .. } => (14, "Writable"),
            Event::Rewind { .. } => (15, "Rewind"),
            Event::Progress { .. } => (16, "Progress"),
            Event::Started { .. } => (17, "Started"),
            Event::Data { .. } => (18, "Data"),
            Event::Paused { .. } => (19, "Paused"),
            Event::Finished { .. } => (20, "Finished"),
            Event::CancelAsked { .. } => (21, "CancelAsked"),
            Event::Verdict { .. } => (22, "Verdict"),
            Event::Expired { .. } => (23, "Expired"),
            Event::Abandoned { .. } => (24, "Abandoned"),
            Event::Detached(_) => (25, "Detached"),
            Event::Goodbye { .. } => (26, "Goodbye"),
            Event::Closed(_) => (27, "Closed"),
        }
    }

    #[test]
    fn nothing_that_a_peer_sent_is_printed() {
        for (at, event) in all().iter().enumerate() {
            let (place, name) = position(event);
            assert_eq!(place, at);
            let shown = format!("{event:?}");
            assert!(shown.starts_with(name), "{shown}");
            assert!(!shown.contains(SECRET) && !shown.contains("104, 117"), "{shown}");
        }
    }

    #[test]
    fn what_is_not_printed_is_counted() {
        for event in all() {
            let has_words = matches!(
                event,
                Event::Authentication(_)
                    | Event::Chat { .. }
                    | Event::Message { .. }
                    | Event::Signal(_)
                    | Event::Offered { .. }
                    | Event::Refused { .. }
                    | Event::BatchOffered { .. }
                    | Event::Rejected { .. }
                    | Event::Data { .. }
                    | Event::CancelAsked { .. }
                    | Event::Verdict { .. }
                    | Event::Goodbye { .. }
            );
            let shown = format!("{event:?}");
            assert_eq!(shown.contains("7 bytes"), has_words, "{shown}");
        }
    }

    #[test]
    fn what_this_side_decides_by_is_printed() {
        let shown: Vec<_> = all().iter().map(|event| format!("{event:?}")).collect();
        for (at, part) in [
            (0, "is_resuming: true"),
            (6, "numbers: 3..5"),
            (7, "Control"),
            (13, "number: 7"),
            (14, "offset: 3"),
            (16, "durable: 2"),
            (19, "is_paused: true"),
            (20, "total: 3"),
            (22, "total: 5"),
            (25, "Idle"),
            (27, "DetachedTimedOut"),
        ] {
            assert!(shown[at].contains(part), "{}", shown[at]);
        }
        assert!(shown[9..25].iter().filter(|shown| !shown.contains("transfer: ")).count() == 0);
    }
}
