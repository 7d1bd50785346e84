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
        self.handle_chats_ahead(now, input, |item, text, _| tell(item, text))
    }

    /// [`handle_chats`](Self::handle_chats) that says with each line how many bytes of text follow it
    /// at least, so that memory is made once for all of them.
    #[inline]
    pub(crate) fn handle_chats_ahead<'a>(
        &mut self,
        now: Time,
        input: &'a [u8],
        mut tell: impl FnMut(ItemId, &'a str, usize),
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
        let (checked, mut ahead) = checked_together(input, max);
        // Bytes of all frames, frames, bytes of their payloads, and of the last.
        let (mut used, mut lines, mut bytes, mut last) = (0_usize, 0_u64, 0_usize, 0_usize);
        while let Some(payload) = input
            .get(used..)
            .and_then(|rest| if used < checked.len() { length(rest) } else { plain(rest, max) })
        {
            if lane.check(payload, accepts).is_err() {
                break;
            }
            let end = used.saturating_add(HEADER_LEN).saturating_add(payload);
            let start = used.saturating_add(HEADER_LEN).saturating_add(EMPTY_CHAT);
            let alone = || str::from_utf8(input.get(start..end)?).ok();
            let Some(text) = checked.get(start..end).or_else(alone) else { break };
            let number = lane.finish(payload, true);
            used = end;
            lines = lines.saturating_add(1);
            bytes = bytes.saturating_add(payload);
            last = payload;
            ahead = ahead.saturating_sub(text.len());
            tell(ItemId { lane: Lane::Chat, number }, text, ahead);
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

/// The lines that `input` begins with, with their headers, if all of that is UTF-8: one look at many
/// lines costs less than one at each. A header without a byte above 127 is as good as text, and what
/// is between two of them is UTF-8 if the whole is. Beside them how many bytes of text there are.
fn checked_together(input: &[u8], max: u32) -> (&str, usize) {
    let (mut end, mut text) = (0_usize, 0_usize);
    while let Some(rest) = input.get(end..) {
        let is_text = rest.first_chunk::<HEADER_LEN>().is_some_and(|header| header.is_ascii());
        let Some(payload) = plain(rest, max).filter(|_| is_text) else { break };
        end = end.saturating_add(HEADER_LEN).saturating_add(payload);
        text = text.saturating_add(payload.saturating_sub(EMPTY_CHAT));
    }
    match input.get(..end).map(str::from_utf8) {
        Some(Ok(lines)) => (lines, text),
        _ => ("", 0),
    }
}

/// What the header says that `input` begins with.
fn length(input: &[u8]) -> Option<usize> {
    input.first_chunk().map(|header| usize_from(Header::decode(header).length))
}

/// The payload's length of a plain line that `input` begins with.
fn plain(input: &[u8], max: u32) -> Option<usize> {
    let (header, rest) = input.split_first_chunk()?;
    let header = Header::decode(header);
    if header.kind != Kind::CHAT || header.id != 0 || header.length > max {
        return None;
    }
    let length = usize_from(header.length);
    let is_plain = length > EMPTY_CHAT && rest.get(..length)?.starts_with(&[0; EMPTY_CHAT]);
    is_plain.then_some(length)
}
