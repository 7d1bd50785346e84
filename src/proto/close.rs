//! The end of a conversation.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::connection::{Closing, Connection};
use super::error::ActionError;
use super::event::{CloseReason, Event, Lane, Receipt};
use super::lanes::Half;
use super::link::Phase;
use super::receive_lane::ReceiveLane;
use crate::time::Time;
use crate::wire::{CloseCode, Goodbye};

impl Connection {
    /// Closes gracefully: no more is taken from the application; what is queued goes, and when it
    /// is acknowledged, or after the close time-out, GOODBYE with this code and text. Transfers are
    /// not waited for: ask for their end first, and wait for the verdicts. A conversation that is
    /// not open, or has no stream, ends at once.
    ///
    /// When [`is_write_closed`](Self::is_write_closed) says so, close the sending half of the
    /// stream, and read the other to its end.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::proto::{CloseReason, Config, Connection, Event, StreamParameters};
    /// use duologue::time::Time;
    /// use duologue::wire::CloseCode;
    ///
    /// let now = Time::ZERO;
    /// let stream = StreamParameters::new([1; 32]);
    /// let mut client = Connection::client(Config::default(), stream, now);
    /// client.close(CloseCode::SHUTDOWN, "not today", now)?;
    /// let reason = CloseReason::Local { code: CloseCode::SHUTDOWN, is_answered: false };
    /// assert_eq!(client.poll_event(), Some(Event::Closed(reason)));
    ///
    /// // The last words are still to be written.
    /// let len = client.poll_transmit(now).len();
    /// assert!(len > 0 && !client.is_write_closed());
    /// client.advance_transmit(len);
    /// assert!(client.is_write_closed());
    /// # Ok::<(), duologue::proto::ActionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ActionError::Closed`] the second time, [`Invalid`](ActionError::Invalid) for a text over
    /// 255 bytes.
    pub fn close(&mut self, code: CloseCode, text: &str, now: Time) -> Result<(), ActionError> {
        let now = self.advance(now);
        if self.is_closed || self.closing.is_some() {
            return Err(ActionError::Closed);
        }
        Goodbye { code, text: Cow::Borrowed(text) }.encode(&mut Vec::new())?;
        if self.phase() == Some(Phase::Open) {
            let deadline = now.saturating_add(self.config.close_timeout.get());
            let text = String::from(text);
            let closing = Closing { code, text, deadline, is_sent: false };
            self.closing = Some(Box::new(closing));
            return Ok(());
        }
        if let Some(link) = &mut self.link {
            if link.phase != Phase::Closed {
                link.abort();
                link.send_goodbye(code, text)?;
            }
        }
        self.conclude_conversation(CloseReason::Local { code, is_answered: false });
        Ok(())
    }

    /// Says goodbye once everything queued is acknowledged, or the time is over.
    pub(super) fn end_closing_if_due(&mut self, now: Time) {
        let Some(closing) = &self.closing else { return };
        let is_done = self.send.chat.is_empty() && self.send.control.is_empty();
        if closing.is_sent || (!is_done && closing.deadline > now) {
            return;
        }
        self.unplan();
        self.plan_last_ack(now);
        let timeout = self.config.close_timeout.get();
        let (Some(closing), Some(link)) = (&mut self.closing, &mut self.link) else { return };
        closing.is_sent = true;
        closing.deadline = now.saturating_add(timeout);
        // The text was tried before.
        let _ = link.send_goodbye(closing.code, &closing.text);
        link.phase = Phase::Closing;
    }

    /// The peer says goodbye: answers it.
    pub(super) fn handle_goodbye(&mut self, now: Time, code: CloseCode) {
        self.unplan();
        self.plan_last_ack(now);
        if let Some(link) = &mut self.link {
            let _ = link.send_goodbye(CloseCode::DONE, "");
            link.abort();
        }
        self.conclude_conversation(CloseReason::Peer(code));
    }

    /// Our goodbye was answered, or will not be.
    pub(super) fn finish_closing(&mut self, is_answered: bool) {
        if let Some(closing) = &self.closing {
            let code = closing.code;
            self.conclude_conversation(CloseReason::Local { code, is_answered });
        }
    }

    /// Nothing more will happen: resolves what is open, and says so.
    pub(super) fn conclude_conversation(&mut self, reason: CloseReason) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        self.forget();
        self.events.push_back(Event::Closed(reason));
    }

    /// Resolves all receipts and gives up all transfers.
    pub(super) fn forget(&mut self) {
        while let Some((lane, numbers)) = self.take_delivered() {
            let receipt = Receipt::Delivered;
            self.events.push_back(Event::Receipts { lane, numbers, receipt });
        }
        for lane in Lane::ALL {
            let Some(sent) = self.send.made(lane) else { continue };
            let (begun, queued) = sent.clear();
            for (numbers, receipt) in [(begun, Receipt::Unknown), (queued, Receipt::NotSent)] {
                if !numbers.is_empty() {
                    self.events.push_back(Event::Receipts { lane, numbers, receipt });
                }
            }
            *self.is_blocked.get_mut(lane) = false;
        }
        self.receive = Half::new(ReceiveLane::default());
        let outgoing = core::mem::take(&mut self.outgoing).into_keys();
        let incoming = core::mem::take(&mut self.incoming);
        for (&transfer, t) in &incoming {
            self.owe(transfer, t.unreleased());
        }
        self.is_starved = false;
        self.given_up.clear();
        for transfer in outgoing.chain(incoming.into_keys()) {
            self.events.push_back(Event::Abandoned { transfer });
        }
        self.resumed_at = [0, 0];
        self.next_outgoing = 1;
        self.next_incoming = 1;
        self.answers.clear();
        self.late_allowance = 0;
        self.late_frames = 0;
        self.late_offers = 0;
        self.restarts.clear();
        self.ended_batches.clear();
        self.ring.clear();
        self.credits.clear();
        self.late_credits.clear();
        self.out_of_budget.clear();
        self.news.clear();
        self.signals.clear();
        self.planned_signals = 0;
        self.credit_due = None;
        self.transfers_due = Time::MAX;
    }
}
