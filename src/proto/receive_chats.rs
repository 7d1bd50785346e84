//! Input that is plain lines of chat, many at a time.

use core::str;

use super::connection::{Connection, usize_from};
use super::event::{ItemId, Lane};
use super::item::EMPTY_CHAT;
use super::link::Phase;
use crate::time::Time;
use crate::wire::{HEADER_LEN, Header, Kind, max_length};

impl Connection {
    /// Takes the plain lines of chat that the input begins with, and gives each to `tell`. Returns
    /// how many bytes that were: whole frames, or none.
    ///
    /// It does what [`handle_input`](Self::handle_input) does with them, for less. All other input,
    /// from a line with attributes to one that is more than is accepted, is left to that.
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
    ///         let lines = machine.handle_chats(now, input, |item, text| {
    ///             println!("{}: {}", item.number, text.escape_default());
    ///         });
    ///         let (taken, event) = machine.handle_input(now, &input[lines..])?;
    ///         input = &input[lines + taken..];
    ///         if let Some(Event::Chat { item, chat }) = event {
    ///             println!("{}: {}", item.number, chat.text.escape_default());
    ///         }
    ///         while let Some(_event) = machine.poll_event() { /* … */ }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn handle_chats<'a>(
        &mut self,
        now: Time,
        input: &'a [u8],
        mut tell: impl FnMut(ItemId, &'a str),
    ) -> usize {
        let max = max_length(Kind::CHAT, &self.config.limits);
        let accepts = self.accepts();
        let now = self.advance(now);
        let lane = &mut self.receive.chat;
        let Some(link) = &mut self.link else { return 0 };
        let is_ordinary = link.phase == Phase::Open
            && link.decoder.is_between_frames()
            && !lane.is_in_item()
            && self.error.is_none()
            && self.events.is_empty();
        if !is_ordinary {
            return 0;
        }
        // Bytes of all frames, frames, bytes of their payloads, and of the last.
        let (mut used, mut lines, mut bytes, mut last) = (0_usize, 0_u64, 0_usize, 0_usize);
        while let Some((payload, text)) = input.get(used..).and_then(|rest| plain(rest, max)) {
            if lane.check(payload, accepts).is_err() {
                break;
            }
            let number = lane.finish(payload, true);
            used = used.saturating_add(HEADER_LEN).saturating_add(payload);
            lines = lines.saturating_add(1);
            bytes = bytes.saturating_add(payload);
            last = payload;
            tell(ItemId { lane: Lane::Chat, number }, text);
        }
        if lines == 0 {
            return 0;
        }
        let whole = used.saturating_sub(last);
        link.received = link.received.saturating_add(whole as u64);
        link.note_frame(now);
        link.received = link.received.saturating_add(last as u64);
        link.note_bytes(now);
        link.acknowledgement.owe(now);
        self.is_confirmed = true;
        self.has_received = true;
        self.budget.earn(bytes);
        self.statistics.received.chat.add_frames(lines, used as u64);
        used
    }
}

/// The payload's length and the text of a plain line that `input` begins with.
fn plain(input: &[u8], max: u32) -> Option<(usize, &str)> {
    let (header, rest) = input.split_first_chunk()?;
    let header = Header::decode(header);
    if header.kind != Kind::CHAT || header.id != 0 || header.length > max {
        return None;
    }
    let length = usize_from(header.length);
    let ([0, 0], text) = rest.get(..length)?.split_first_chunk()? else { return None };
    if length <= EMPTY_CHAT {
        return None;
    }
    Some((length, str::from_utf8(text).ok()?))
}
