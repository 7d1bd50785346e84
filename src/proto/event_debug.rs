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

    use super::super::{ItemId, Lane};
    use super::*;
    use crate::wire::{CloseCode, Side, TransferCode, TransferId};

    #[test]
    fn nothing_that_a_peer_sent_is_printed() {
        let transfer = TransferId::new(Side::Client, 1).unwrap();
        let item = ItemId { lane: Lane::Control, number: 7 };
        let (code, text) = (TransferCode::DECLINED, "hunter2");
        for event in [
            Event::Authentication(text.as_bytes().into()),
            Event::Data { transfer, offset: 3, data: text.as_bytes().into() },
            Event::Goodbye { code: CloseCode::DONE, text: text.into() },
            Event::Rejected { item, transfer, code, text: text.into() },
            Event::CancelAsked { item, transfer, code, text: text.into() },
            Event::Verdict { item, transfer, code, total: 5, text: text.into() },
        ] {
            let shown = format!("{event:?}");
            assert!(shown.contains("7 bytes"), "{shown}");
            assert!(!shown.contains(text) && !shown.contains("104, 117"), "{shown}");
        }
    }
}
