//! What the machine says, held against what it should say.

use duologue::wire::{Frame, Header, Limits, Side, TransferId};

use super::super::machine::content;
use super::model::{Expected, Model, State, lane_of};

/// A frame or a whole item of the machine's has come; `window` is what it has in common for all
/// transfers, and for each.
///
pub fn hear(
    model: &mut Model,
    window: (u64, u64),
    limits: &Limits,
    header: Header,
    frame: &Frame<'_>,
) {
    let transfer = TransferId::from_wire(header.id);
    match frame {
        Frame::Ack(ack) => {
            for (lane, next) in model.lanes.iter_mut().zip(ack.next) {
                assert!(next >= lane.machine_acknowledged && next <= lane.taken(), "{next}");
                lane.machine_acknowledged = next;
            }
        }
        Frame::Start(start) => {
            let t = model.mine.get_mut(&transfer.expect("it has one")).expect("it was offered");
            assert!(t.is_heard && !t.is_started && start.offset == 0, "{t:?}");
            t.is_started = true;
        }
        Frame::Data(data) => {
            let id = transfer.expect("it has one");
            let t = model.mine.get_mut(&id).expect("it was offered");
            assert!(t.is_started && !t.is_silent, "{id} {t:?}");
            assert_eq!(&data[..], &content(t.seed, t.heard, data.len()));
            t.heard += data.len() as u64;
            assert!(t.heard <= t.limit && t.heard <= t.pushed, "{id} {t:?}");
        }
        Frame::Credit(credit) => {
            let t = model.theirs.get_mut(&transfer.expect("it has one")).expect("it is there");
            assert!(t.is_accept_heard, "CREDIT before ACCEPT");
            assert!(credit.durable <= credit.received && credit.received <= credit.limit);
            assert!(credit.limit >= t.limit && credit.received >= t.told, "credit went back");
            assert!(credit.received <= t.sent && credit.durable >= t.durable);
            assert!(t.size.is_none_or(|size| credit.limit <= size.max(t.sent)));
            let flowing = model.flowing();
            let t = model.theirs.get_mut(&transfer.expect("it has one")).expect("it is there");
            (t.limit, t.told, t.durable) = (credit.limit, credit.received, credit.durable);
            let most = window.0 + window.1 * flowing;
            assert!(model.granted() <= most, "{} over {most}", model.granted());
        }
        Frame::Ping(_) | Frame::Pong(_) | Frame::Signal(_) | Frame::Goodbye(_) => {}
        item => hear_item(model, limits, header, item),
    }
}

fn hear_item(model: &mut Model, limits: &Limits, header: Header, frame: &Frame<'_>) {
    let lane = &mut model.lanes[lane_of(header.kind)];
    lane.heard += 1;
    lane.unacknowledged.push_back(header.length as usize);
    let bytes: usize = lane.unacknowledged.iter().sum();
    assert!(lane.unacknowledged.len() <= limits.items as usize, "too many not acknowledged");
    let is_one = lane.unacknowledged.len() == 1;
    assert!(is_one || bytes <= limits.item_bytes as usize, "{bytes} not acknowledged");
    let expected = lane.expected.pop_front().expect("nobody said so");
    let id = TransferId::from_wire(header.id);
    let transfer = || id.expect("it has one");
    let heard = match frame {
        Frame::Chat(chat) => Expected::Chat(chat.text.len()),
        Frame::Message(message) => Expected::Message(message.correlation, message.body.len()),
        Frame::Offer(_) => Expected::Offer(transfer()),
        Frame::Accept(_) => Expected::Accept(transfer()),
        Frame::Reject(_) => Expected::Reject(transfer()),
        Frame::Pause(pause) => Expected::Pause(transfer(), pause.is_paused),
        Frame::Finish(finish) => Expected::Finish(transfer(), finish.total),
        Frame::Cancel(_) => Expected::Cancel(transfer()),
        Frame::Verdict(verdict) => Expected::Verdict(transfer(), verdict.code, verdict.total),
        other => panic!("nobody said {other:?}"),
    };
    assert_eq!(heard, expected, "in the order in which they were queued");
    match heard {
        Expected::Offer(id) => {
            assert_eq!(id.number() as usize, heard_offers(model, id.side()) + 1, "no gap");
            model.mine.get_mut(&id).expect("it was offered").is_heard = true;
        }
        Expected::Finish(id, _) => {
            model.mine.get_mut(&id).expect("it was offered").is_finish_heard = true;
        }
        Expected::Accept(id) => {
            model.theirs.get_mut(&id).expect("it is there").is_accept_heard = true;
        }
        Expected::Reject(id) | Expected::Verdict(id, ..) => {
            let t = model.theirs.get_mut(&id).expect("it is there");
            assert!(t.state == State::Ended && !t.is_end_heard, "one end");
            t.is_end_heard = true;
        }
        _ => {}
    }
}

fn heard_offers(model: &Model, side: Side) -> usize {
    model.mine.iter().filter(|(id, t)| id.side() == side && t.is_heard).count()
}
