use core::mem;
use core::time::Duration;
use std::vec::Vec;

use super::HostilePeer;
use super::misbehaviour::Act;
use super::past::{Leg, Past};
use super::peer::Stage;
use super::report::Outcome;
use super::speaker::{Next, Said, Speaker};
use crate::time::Time;
use crate::wire::{ConversationId, Frame, Hello, Side};

/// How long a conversation is open before its stream breaks.
const OPEN: Duration = Duration::from_secs(1);

impl HostilePeer {
    /// Goes on over another stream: it is to be called when it is [over](Self::is_over) with one, which
    /// is to be dropped. Returns `false` if it takes no more streams; then the report is complete.
    pub fn next_stream(&mut self) -> bool {
        let Some(leg) = self.leg() else { return false };
        let was_taken = matches!(
            self.outcome,
            Some(Outcome::NoOccasion | Outcome::Tolerated | Outcome::Refused(_))
        );
        match leg {
            Leg::Begin | Leg::Resume if was_taken => {}
            Leg::Begin | Leg::Resume => {
                self.outcome = Some(Outcome::Lost);
                self.stream = usize::MAX;
                return false;
            }
            Leg::Lie(_) | Leg::Again => {
                let outcome = self.outcome.unwrap_or(Outcome::Nothing);
                self.verdict.get_or_insert(outcome);
            }
        }
        self.stream = self.stream.saturating_add(1);
        if self.leg().is_none() {
            self.outcome = self.verdict;
            return false;
        }
        self.heard_earlier = self.heard_earlier.saturating_add(self.speaker.heard.bytes);
        let mut speaker = Speaker::new(self.speaker.side, 0);
        mem::swap(&mut speaker.random, &mut self.speaker.random);
        self.speaker = speaker;
        self.stage = Stage::Hello;
        (self.again_at, self.hears_until) = (None, None);
        (self.piece_at, self.leaves_until) = (None, None);
        (self.is_ended, self.is_over) = (false, false);
        // Unless there is a stream, nothing comes of it.
        self.outcome = None;
        self.claim = None;
        self.words = Vec::new();
        true
    }

    /// What this stream is there for, if there are several.
    pub(super) fn leg(&self) -> Option<Leg> {
        match self.misbehaviour.act {
            Act::Streams(legs) => legs.get(self.stream).copied(),
            _ => None,
        }
    }

    /// Whether another stream comes after this one.
    pub(super) fn has_next_leg(&self) -> bool {
        match self.misbehaviour.act {
            Act::Streams(legs) => self.stream.saturating_add(1) < legs.len(),
            _ => false,
        }
    }

    /// What HELLO says: a conversation, and which attach of it this is.
    pub(super) fn subject(
        &mut self,
        theirs: Option<(ConversationId, u64)>,
    ) -> (ConversationId, u64) {
        let claim = match (self.leg(), self.pasts.last()) {
            (Some(Leg::Resume | Leg::Lie(_)), Some(past)) => {
                self.speaker.heard.next = past.next;
                Some(past.claim(&mut self.speaker.random))
            }
            _ => None,
        };
        let (conversation, attach) = match (theirs, &claim) {
            (Some((conversation, attach)), _) => (conversation, attach),
            (None, Some(claim)) => (claim.conversation, claim.attach),
            (None, None) => (ConversationId::new(self.draw()), 0),
        };
        self.claim = claim.map(|claim| super::past::Claim { conversation, attach, ..claim });
        let is_possible = match (self.leg(), &mut self.claim) {
            (Some(Leg::Lie(lie)), Some(claim)) => lie(claim, &self.pasts),
            _ => true,
        };
        let (conversation, attach) =
            self.claim.map_or((conversation, attach), |claim| (claim.conversation, claim.attach));
        self.conversation = Some(conversation);
        if let (Some(past), true) = (self.pasts.last_mut(), self.claim.is_some()) {
            // The victim is to go on with that one.
            if past.conversation != conversation || attach == 0 {
                self.give_up(Outcome::Lost);
            } else {
                past.attach = past.attach.max(attach);
            }
        }
        if !is_possible {
            self.give_up(Outcome::NoOccasion);
        }
        (conversation, attach)
    }

    /// Says RESUME for the conversation that it goes on with.
    pub(super) fn claim(&mut self, now: Time) -> bool {
        let heard = &self.speaker.heard;
        let is_early = match self.speaker.side {
            Side::Client => heard.hello_bytes.is_empty(),
            Side::Server => !heard.has_resumed,
        };
        if is_early {
            self.hears_until = Some(now.saturating_add(self.patience));
            return false;
        }
        let Some(claim) = &mut self.claim else { return false };
        let answered = |hello: &Hello| hello.attach == claim.attach;
        if !heard.hello.as_ref().is_some_and(answered) {
            self.give_up(Outcome::Lost);
            return false;
        }
        let (client, server) = match self.speaker.side {
            Side::Client => (&self.words, &heard.hello_bytes),
            Side::Server => (&heard.hello_bytes, &self.words),
        };
        let resume = claim.resume(self.speaker.side, client, server);
        claim.proof = resume.proof;
        self.speaker.frame(0, &Frame::Resume(resume));
        self.stage = Stage::Opening;
        false
    }

    /// Says what was said over an earlier stream.
    pub(super) fn say_again(&mut self) -> bool {
        let words = self.pasts.last().map(|past| past.words.clone()).unwrap_or_default();
        self.speaker.raw_bytes(&words);
        self.stage = Stage::Opening;
        false
    }

    /// Breaks off in the middle of a conversation that is to go on.
    pub(super) fn break_off(&mut self) {
        let next = self.speaker.heard.next;
        match self.leg() {
            Some(Leg::Begin) => {
                let secret = self.speaker.heard.secret.unwrap_or(SECRET);
                let conversation = self.conversation.unwrap_or(ConversationId::new([0; 16]));
                let words = mem::take(&mut self.words);
                let past = Past { conversation, secret, attach: 0, next, proof: None, words };
                self.pasts.push(past);
            }
            Some(Leg::Resume) => {
                let proof = self.claim.and_then(|claim| claim.proof);
                let words = mem::take(&mut self.words);
                if let Some(past) = self.pasts.last_mut() {
                    *past = Past { next, proof, words, ..past.clone() };
                }
            }
            // It was believed.
            _ => self.give_up(Outcome::Tolerated),
        }
        // For whoever has no other stream.
        self.give_up(Outcome::NoOccasion);
    }

    /// It is over with this stream.
    fn give_up(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
        self.speaker.out.clear();
        self.is_over = true;
    }
}

/// Lets a conversation be open for a while.
pub(super) fn linger(s: &mut Speaker) -> Said {
    s.step = s.step.saturating_add(1);
    Ok(if s.step > 1 { Next::Done } else { Next::Wait(OPEN) })
}

/// What a server gives its client.
pub(super) const SECRET: [u8; 32] = [9; 32];
