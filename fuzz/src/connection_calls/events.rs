//! What the machine tells, held against what the other side did.

use std::collections::VecDeque;
use std::ops::Range;

use duologue::proto::{Event, ItemId, Lane, Receipt};
use duologue::testing::Pattern;
use duologue::wire::{TransferCode, TransferId};

use super::app::{App, In, Peer, RIGHT, Spec, content, text};

fn index(lane: Lane) -> usize {
    usize::from(lane == Lane::Control)
}

impl App {
    pub fn on_event(&mut self, peer: Peer<'_>, event: Event<'_>) {
        if let Some(item) = event.item() {
            self.hand_out(item, &event);
        }
        match event {
            Event::PeerHello { is_resuming, .. } => assert!(!is_resuming),
            Event::Open(_) | Event::LaneWritable(_) | Event::MayOffer => {}
            Event::Chat { item, chat } => {
                let number = self.chats_seen;
                assert_eq!(item, ItemId { lane: Lane::Chat, number: number as u64 });
                assert!(chat.text == text(number, peer.truth.chats[number]), "chat {number}");
                self.chats_seen += 1;
            }
            Event::Message { item, message } => {
                let seen = self.messages_seen;
                let (number, len) = peer.truth.messages[seen];
                assert_eq!((message.correlation, item.number), (seen as u64, number));
                let is_right = message.body[..] == Pattern::new(seen as u64).bytes(0, len)[..];
                assert!(is_right, "message {seen}");
                self.messages_seen += 1;
            }
            Event::Signal(signal) => assert!(Pattern::new(0).matches(0, &signal.payload)),
            Event::Receipts { lane, numbers, receipt } => {
                assert_eq!(receipt, Receipt::Delivered);
                self.on_receipts(&peer, index(lane), numbers);
            }
            Event::Expired { transfer } => self.on_expired(transfer),
            Event::Abandoned { transfer } => {
                let out = self.outgoing.remove(&transfer).expect("it is open");
                assert!(out.is_cancelled, "{out:?} was not asked to end");
            }
            event => self.on_transfer_event(peer, event),
        }
    }

    fn hand_out(&mut self, item: ItemId, event: &Event<'_>) {
        let size = match event {
            Event::Chat { chat, .. } => chat.text.len(),
            Event::Message { message, .. } => message.body.len(),
            _ => 0,
        };
        let lane: &mut VecDeque<_> = &mut self.untaken[index(item.lane)];
        assert!(lane.back().is_none_or(|(last, _)| *last < item), "{item:?} came before");
        lane.push_back((item, size));
    }

    fn on_receipts(&mut self, peer: &Peer<'_>, lane: usize, numbers: Range<u64>) {
        assert_eq!(numbers.start, self.resolved[lane], "each number once");
        assert!(numbers.start < numbers.end && numbers.end <= peer.sent[lane]);
        if let Some((first, _)) = peer.untaken[lane].front() {
            assert!(numbers.end <= first.number, "{numbers:?} before {first:?} was taken");
        }
        self.resolved[lane] = numbers.end;
    }

    fn on_expired(&mut self, transfer: TransferId) {
        if let Some(out) = self.outgoing.get_mut(&transfer) {
            assert!(!std::mem::replace(&mut out.is_cancelled, true));
            return;
        }
        let t = &self.incoming[&transfer];
        if t.is_accepted || t.is_cancel_asked {
            self.end(transfer, TransferCode::STALLED);
        } else {
            self.incoming.remove(&transfer);
            self.answer(transfer, TransferCode::STALLED, None);
        }
    }

    fn on_transfer_event(&mut self, peer: Peer<'_>, event: Event<'_>) {
        match event {
            Event::Offered { transfer, offer, .. } => {
                let spec = peer.truth.files[&transfer];
                assert_eq!(offer.name, format!("f{}", transfer.number()));
                let said = (offer.size, offer.is_seekable, offer.batch, offer.is_directory);
                assert_eq!(said, (spec.size, spec.is_seekable, spec.batch, spec.is_directory));
                self.on_offered(transfer, spec);
            }
            Event::Refused { offer, .. } => {
                let batch = offer.batch.and_then(|id| self.incoming.get_mut(&id));
                batch.expect("it is a member").members += 1;
            }
            Event::BatchOffered { transfer, batch, .. } => {
                assert_eq!(batch.count, peer.truth.batches[&transfer]);
                let new = In { count: Some(batch.count), ..In::default() };
                assert!(self.incoming.insert(transfer, new).is_none());
            }
            Event::Accepted { transfer, accept, .. } => {
                let out = self.outgoing.get_mut(&transfer).expect("it is open");
                assert!(!std::mem::replace(&mut out.is_accepted, true));
                (out.offset, out.position) = (accept.offset, accept.offset);
                out.prefix = accept.prefix.map(|digest| digest == RIGHT);
            }
            Event::Rejected { transfer, code, .. } => {
                let out = self.outgoing.remove(&transfer).expect("it is open");
                assert!(!out.is_accepted);
                assert_eq!(peer.truth.answers.get(&transfer), Some(&(code, None)));
            }
            Event::Verdict { transfer, code, total, text, .. } => {
                self.on_verdict(&peer, transfer, code, total, &text);
            }
            Event::Writable { transfer, offset } => {
                assert_eq!(self.outgoing[&transfer].position, offset);
            }
            Event::Progress { transfer, received, durable } => {
                let out = self.outgoing.get_mut(&transfer).expect("it is open");
                assert!(durable <= received && received <= out.position, "{received} {out:?}");
                out.reported = received;
            }
            Event::Paused { transfer, is_paused, .. } => {
                let before = match self.outgoing.get_mut(&transfer) {
                    Some(out) => &mut out.is_paused_by_peer,
                    None => {
                        let t = self.incoming.get_mut(&transfer).expect("it is open");
                        &mut t.is_paused_by_peer
                    }
                };
                assert_ne!(std::mem::replace(before, is_paused), is_paused);
            }
            event => self.on_file_event(&peer, event),
        }
    }

    fn on_file_event(&mut self, peer: &Peer<'_>, event: Event<'_>) {
        let is_known = |t: TransferId| self.incoming.contains_key(&t);
        match event {
            Event::Started { transfer, offset } if is_known(transfer) => {
                let t = self.incoming.get_mut(&transfer).expect("it is open");
                if offset == 0 && t.received > 0 {
                    (t.received, t.limit, t.has_restarted) = (0, 0, true);
                }
                assert_eq!(t.received, offset);
            }
            Event::Data { transfer, offset, data } if is_known(transfer) => {
                let t = self.incoming.get_mut(&transfer).expect("it is open");
                assert!(!t.is_cancel_asked);
                assert_eq!(t.received, offset, "{transfer}");
                assert!(content(transfer).matches(offset, &data), "{transfer} at {offset}");
                t.received += data.len() as u64;
                *self.kept.entry(transfer).or_default() += data.len() as u64;
                assert!(t.received <= t.limit && t.received <= t.spec.len, "{t:?}");
            }
            Event::Finished { transfer, finish, .. } if is_known(transfer) => {
                let t = self.incoming.get_mut(&transfer).expect("it is open");
                assert_eq!(Some(&finish.total), peer.truth.totals.get(&transfer));
                assert_eq!(finish.digest, Some(RIGHT));
                assert!(t.total.replace(finish.total).is_none());
            }
            Event::CancelAsked { transfer, .. } if is_known(transfer) => {
                let t = self.incoming.get_mut(&transfer).expect("it is open");
                assert!(!std::mem::replace(&mut t.is_cancel_asked, true));
            }
            other => panic!("an event that the model does not know: {other:?}"),
        }
    }

    fn on_offered(&mut self, transfer: TransferId, spec: Spec) {
        let mut new = In { spec, is_accepted: spec.batch.is_some(), ..In::default() };
        if let Some(batch) = spec.batch.and_then(|id| self.incoming.get_mut(&id)) {
            assert!(batch.is_accepted && !batch.is_cancel_asked);
            batch.members += 1;
            new.limit = self.member_credit();
        }
        assert!(self.incoming.insert(transfer, new).is_none(), "{transfer} came before");
    }

    fn on_verdict(
        &mut self,
        peer: &Peer<'_>,
        transfer: TransferId,
        code: TransferCode,
        total: u64,
        text: &str,
    ) {
        let out = self.outgoing.remove(&transfer).expect("it is open");
        let Some(&(said, sum)) = peer.truth.answers.get(&transfer) else {
            // The machine answers alone to what named a batch that had ended.
            assert!(out.spec.batch.is_some() && code != TransferCode::STORED);
            return;
        };
        assert_eq!(said, code);
        assert!(sum.is_none_or(|sum| sum == total), "{sum:?} {total} {out:?}");
        assert!(code == TransferCode::STALLED || text == "name");
        if code == TransferCode::STORED && out.is_file() {
            assert!(out.is_finished && total == out.position, "{total} {out:?}");
        }
    }

    /// A DATA frame is whole on the wire.
    pub fn on_data_sent(&mut self, transfer: TransferId, data: &[u8]) {
        let Some(out) = self.outgoing.get_mut(&transfer) else { return };
        let at = out.wire.as_mut().expect("START comes before");
        assert!(content(transfer).matches(*at, data), "{transfer} at {at}");
        *at += data.len() as u64;
        assert!(*at <= out.position || out.has_restarted, "more than was queued: {out:?}");
    }

    pub fn on_start_sent(&mut self, transfer: TransferId, offset: u64) {
        let Some(out) = self.outgoing.get_mut(&transfer) else { return };
        assert!(offset == out.offset || (offset == 0 && out.has_restarted), "{out:?}");
        out.wire = Some(offset);
    }
}
