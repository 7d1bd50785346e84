//! Input that is file data, many frames at a time.

use core::ops::Range;

use super::budget::earned_by_receiving;
use super::connection::{Connection, usize_from};
use super::incoming::{CreditNeed, Incoming};
use super::link::{Link, Phase};
use crate::time::Time;
use crate::wire::{HEADER_LEN, Header, Kind, TransferId, max_length};

/// Shorter frames may be dribble, and are looked at one by one.
const LONG: u32 = 1024;

/// What the pieces of a run add up to.
#[derive(Default)]
struct Run {
    /// Bytes of the input, and of these those behind the last header.
    used: usize,
    last: usize,
    /// Frames that began in it, the bytes of their payloads, come or not, and what they earn.
    frames: usize,
    payload: usize,
    earned: usize,
    /// Bytes of data that came.
    data: usize,
    /// Whether a frame ended in it.
    has_end: bool,
    /// What there was to tell the sender after the first piece.
    need: CreditNeed,
}

impl Connection {
    /// Takes the file data that the input begins with, as far as it is of one open transfer, and
    /// tells of each piece the transfer, the offset in the file, and where in the input it lies.
    /// Returns how many bytes of the input that were. Each piece has to be
    /// [released](Self::release), as that of an [`Event::Data`](super::Event::Data).
    ///
    /// It does what [`handle_input`](Self::handle_input) does with them, for less. All other input,
    /// from a short frame to one that is beyond a limit, is left to that.
    ///
    /// # Examples
    ///
    /// Input is offered here first, and the rest there:
    ///
    /// ```
    /// use duologue::proto::{Connection, Error, Event};
    /// use duologue::time::Time;
    ///
    /// fn input(machine: &mut Connection, now: Time, mut input: &[u8]) -> Result<(), Error> {
    ///     while !input.is_empty() {
    ///         let mut pieces = Vec::new();
    ///         let bulk = machine.handle_bulk(now, input, |transfer, offset, place| {
    ///             println!("{transfer}: {} bytes at {offset}", input[place.clone()].len());
    ///             pieces.push((transfer, place.len()));
    ///         });
    ///         for (transfer, len) in pieces {
    ///             machine.release(transfer, len, now);
    ///         }
    ///         let (taken, event) = machine.handle_input(now, &input[bulk..])?;
    ///         input = &input[bulk + taken..];
    ///         if let Some(Event::Data { transfer, data, .. }) = event {
    ///             machine.release(transfer, data.len(), now);
    ///         }
    ///         while let Some(_event) = machine.poll_event() { /* … */ }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn handle_bulk(
        &mut self,
        now: Time,
        input: &[u8],
        tell: impl FnMut(TransferId, u64, Range<usize>),
    ) -> usize {
        let Some(link) = &mut self.link else { return 0 };
        let Some(transfer) = link.next_bulk(input) else { return 0 };
        if self.error.is_some() || !self.events.is_empty() {
            return 0;
        }
        self.now = self.now.max(now);
        let now = self.now;
        let max = max_length(Kind::DATA, &self.config.limits);
        let Some(t) = self.incoming.get_mut(&transfer).filter(|t| !t.is_cancel_asked) else {
            return 0;
        };
        let run = link.take_bulk(t, transfer, input, max, now, tell);
        if run.used == 0 {
            return 0;
        }
        link.acknowledgement.owe_for_bulk(now, run.data, run.has_end);
        if run.frames > 0 {
            self.is_confirmed = true;
        }
        self.has_received = true;
        self.budget.earn(run.payload);
        self.own_budget.earn(run.earned);
        let bytes = run.frames.saturating_mul(HEADER_LEN).saturating_add(run.payload);
        self.statistics.received.data.add_frames(run.frames as u64, bytes as u64);
        // The same as after each piece: what is urgent stays so, and what was not may be.
        self.note_credit(transfer, run.need, now);
        self.queue_credit(transfer, now);
        run.used
    }
}

impl Link {
    /// The transfer of the data that the input begins with.
    fn next_bulk(&self, input: &[u8]) -> Option<TransferId> {
        let header = if self.phase != Phase::Open || input.is_empty() {
            None
        } else if self.decoder.is_in_payload() {
            self.header
        } else if self.decoder.is_between_frames() {
            input.first_chunk().map(Header::decode)
        } else {
            None
        };
        let header = header.filter(|header| header.kind == Kind::DATA)?;
        TransferId::from_wire(header.id)
    }

    /// Takes data of a transfer: the rest of a frame that has begun, and frames in order.
    fn take_bulk(
        &mut self,
        t: &mut Incoming,
        transfer: TransferId,
        input: &[u8],
        max: u32,
        now: Time,
        mut tell: impl FnMut(TransferId, u64, Range<usize>),
    ) -> Run {
        let mut run = Run::default();
        if self.decoder.is_in_payload() {
            let (taken, _) = self.decoder.decode(input);
            tell(transfer, t.on_data(taken, now), 0..taken);
            (run.used, run.data, run.last) = (taken, taken, taken);
            run.has_end = !self.decoder.is_in_payload();
            run.need = t.credit_need();
        }
        // Data that was not told to `t` yet, where it begins, and how much may come after it.
        let (mut data, mut offset, mut may_come) = (0_usize, t.received, t.may_come());
        while let Some((header, payload)) = input.get(run.used..).and_then(|rest| begun(rest, max))
        {
            let len = u64::from(header.length);
            if header.id != transfer.to_wire() || header.length < LONG || len > may_come {
                break;
            }
            let start = run.used.saturating_add(HEADER_LEN);
            run.used = start.saturating_add(payload);
            tell(transfer, offset, start..run.used);
            if run.data == 0 {
                t.on_data(payload, now);
                run.need = t.credit_need();
            } else {
                data = data.saturating_add(payload);
            }
            let length = usize_from(header.length);
            offset = offset.saturating_add(payload as u64);
            may_come = may_come.saturating_sub(len);
            run.frames = run.frames.saturating_add(1);
            run.payload = run.payload.saturating_add(length);
            run.earned = run.earned.saturating_add(earned_by_receiving(length));
            run.data = run.data.saturating_add(payload);
            run.last = payload;
            run.has_end |= payload == length;
            self.header = Some(header);
            if payload < length {
                // The rest comes later.
                let (_, _) = self.decoder.decode(&header.encode());
                let (_, _) = self.decoder.decode(input.get(start..).unwrap_or_default());
            }
        }
        if data > 0 {
            t.on_data(data, now);
        }
        let whole = run.used.saturating_sub(run.last);
        if run.frames > 0 {
            self.received = self.received.saturating_add(whole as u64);
            self.note_frame(now);
            self.received = self.received.saturating_add(run.last as u64);
        } else {
            self.received = self.received.saturating_add(run.used as u64);
        }
        self.note_bytes(now);
        run
    }
}

/// The header of a DATA frame that `input` begins with, and how much of its payload is there, if any.
fn begun(input: &[u8], max: u32) -> Option<(Header, usize)> {
    let (header, rest) = input.split_first_chunk()?;
    let header = Header::decode(header);
    let payload = rest.len().min(usize_from(header.length));
    (header.kind == Kind::DATA && header.length <= max && payload > 0).then_some((header, payload))
}
