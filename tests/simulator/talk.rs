//! What an application says and hears: lines, messages that are answered, and signals.

use duologue::proto::{ActionError, Receipt};
use duologue::session::SessionError;
use duologue::wire::{Chat, Message, Signal};

use super::ledger::{body, is_numbered, line};
use super::meter::Uncounted;
use super::program::Program;
use super::work::{LINE, MESSAGE};

/// Length of a line that was not planned.
pub(crate) const UNPLANNED: usize = 40;

impl Program {
    pub(crate) async fn talk(self) {
        if self.session.opened().await.is_err() {
            return;
        }
        loop {
            let number = self.world.ledger(|ledger| ledger.sent[self.side].lines.sent);
            let Some(len) = self.work().lines.get(number) else { return };
            self.world.sleep(self.world.up_to(self.work().pause)).await;
            if !self.say(*len).await {
                return;
            }
            if self.world.percent(20) {
                self.send_signal();
            }
        }
    }

    /// Says the next line: whether the conversation goes on.
    pub(crate) async fn say(&self, len: usize) -> bool {
        loop {
            let number = self.world.ledger(|ledger| ledger.sent[self.side].lines.sent);
            let text = line(number, len);
            let mut chat = Chat::new(&*text);
            if !is_numbered(len) {
                chat = chat.id((number as u128).to_be_bytes());
            }
            let sent = self.patiently(self.session.send_chat(&chat)).await;
            // Another one may have been said meanwhile.
            let is_next = self.world.ledger(|ledger| ledger.sent[self.side].lines.sent) == number;
            match sent {
                None => {}
                Some(Ok(receipt)) => {
                    debug_assert!(is_next);
                    self.world
                        .note(|| format!("side {} says line {number}, {len} bytes", self.side));
                    let conversation = self.session.conversation();
                    self.world.ledger(|ledger| ledger.sent[self.side].lines.on_sent(conversation));
                    self.wait_for(receipt, true, number);
                    return true;
                }
                Some(Err(error)) if is_over(&error) => return false,
                Some(Err(error)) => {
                    let most = self.peer_item() - LINE;
                    let may = len > most && is_too_large(&error);
                    self.refuse(may, &error);
                    self.world.ledger(|ledger| ledger.sent[self.side].lines.on_refused());
                    return true;
                }
            }
        }
    }

    pub(crate) async fn send_messages(self) {
        if self.session.opened().await.is_err() {
            return;
        }
        loop {
            let number = self.world.ledger(|ledger| ledger.sent[self.side].messages.sent);
            let Some(len) = self.work().messages.get(number) else { return };
            self.world.sleep(self.world.up_to(self.work().pause)).await;
            let body = Uncounted::new(|| body(number, *len));
            let message = Message {
                message_type: 1,
                is_reply: false,
                correlation: number as u64,
                body: (&body[..]).into(),
            };
            match self.patiently(self.session.send_message(&message)).await {
                None => {}
                Some(Ok(receipt)) => {
                    self.world
                        .note(|| format!("side {} sends message {number}, {len} bytes", self.side));
                    let conversation = self.session.conversation();
                    self.world
                        .ledger(|ledger| ledger.sent[self.side].messages.on_sent(conversation));
                    self.wait_for(receipt, false, number);
                }
                Some(Err(error)) if is_over(&error) => return,
                Some(Err(error)) => {
                    let may = *len > self.peer_item() - MESSAGE && is_too_large(&error);
                    self.refuse(may, &error);
                    self.world.ledger(|ledger| ledger.sent[self.side].messages.on_refused());
                }
            }
        }
    }

    /// Most bytes of an item that the other side takes.
    fn peer_item(&self) -> usize {
        self.world.profile.programs[1 - self.side].item as usize
    }

    fn refuse(&self, may_be: bool, error: &SessionError) {
        if !may_be {
            let side = self.side;
            self.world.violation(|| format!("side {side}: an item was refused: {error}"));
        }
    }

    fn send_signal(&self) {
        let number = self.world.ledger(|ledger| ledger.next_signal(self.side));
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(8 + number as usize * 7 % 1000, 0);
        // It may get lost.
        let _ = self.session.send_signal(&Signal { signal_type: 3, payload: payload.into() });
    }

    fn wait_for(&self, receipt: duologue::session::Receipt, is_line: bool, number: usize) {
        let since = self.since();
        let waiting = Waiting { program: Some(self.clone()), is_line, number, since };
        self.spawn(move |_| async move {
            let receipt = receipt.await;
            waiting.end(receipt);
        });
    }

    pub(crate) fn hear(&self, chat: &Chat<'_>) {
        let sender = 1 - self.side;
        let number = match chat.id {
            Some(id) => usize::try_from(u128::from_be_bytes(id)).ok(),
            None => chat.text.split(' ').next().and_then(|number| number.parse().ok()),
        };
        let lens = &self.world.profile.work[sender].lines;
        let len = number.and_then(|number| lens.get(number)).copied().unwrap_or(UNPLANNED);
        self.world.note(|| format!("side {} hears line {number:?}", self.side));
        self.world.ledger(|ledger| ledger.on_line(sender, number, &chat.text, len));
    }

    /// A message of the other side, which is answered, or an answer.
    pub(crate) fn take_message(&self, message: &Message<'_>) {
        let (sender, number) = (1 - self.side, message.correlation);
        self.world.note(|| format!("side {} takes {message:?}", self.side));
        if message.is_reply {
            self.world.count(|report| report.answers += 1);
            return self.world.ledger(|ledger| ledger.on_answer(sender, number));
        }
        let len = self.world.profile.work[sender].messages.get(number as usize).copied();
        self.world.ledger(|ledger| {
            ledger.on_message(sender, number as usize, &message.body, len.unwrap_or(0));
        });
        self.spawn(move |program| async move {
            program.dawdle().await;
            let is_first = program.world.ledger(|ledger| ledger.answers(program.side, number));
            if is_first {
                let answer = Message {
                    message_type: 2,
                    is_reply: true,
                    correlation: number,
                    body: [][..].into(),
                };
                if let Ok(receipt) = program.session.send_message(&answer).await {
                    let since = program.since();
                    let receipt = receipt.await;
                    let was_heard = program
                        .world
                        .ledger(|ledger| ledger.sent[program.side].answers.contains(&number));
                    let is_true = match receipt {
                        Receipt::Delivered => was_heard,
                        Receipt::NotSent => !was_heard && program.has_occasion(since),
                        Receipt::Unknown => program.has_occasion(since),
                    };
                    if !is_true {
                        program.world.violation(|| format!("answer {number}: {receipt:?}"));
                    }
                }
            }
        });
    }

    pub(crate) fn take_signal(&self, signal: &Signal<'_>) {
        let number = signal.payload.first_chunk().map_or(0, |number| u64::from_be_bytes(*number));
        self.world.count(|report| report.signals += 1);
        self.world.ledger(|ledger| ledger.on_signal(1 - self.side, number));
    }
}

/// Whether the next conversation has to go on with it.
fn is_over(error: &SessionError) -> bool {
    matches!(error, SessionError::Ended(_) | SessionError::Refused(ActionError::Closed))
}

fn is_too_large(error: &SessionError) -> bool {
    matches!(error, SessionError::Refused(ActionError::TooLarge { .. }))
}

/// A receipt that is waited for: a program that is killed waits no more.
struct Waiting {
    program: Option<Program>,
    is_line: bool,
    number: usize,
    /// What had been done to its conversation when it was sent.
    since: u64,
}

impl Waiting {
    fn end(mut self, receipt: Receipt) {
        let Some(program) = self.program.take() else { return };
        let has_occasion = program.has_occasion(self.since);
        let Program { world, side, .. } = program;
        world.note(|| format!("side {side}: line or message {} is {receipt:?}", self.number));
        world.ledger(|ledger| {
            ledger.on_receipt(side, self.is_line, self.number, receipt, has_occasion);
        });
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(Program { world, side, .. }) = self.program.take() else { return };
        world.ledger(|ledger| {
            let sent = &mut ledger.sent[side];
            let series = if self.is_line { &mut sent.lines } else { &mut sent.messages };
            series.open_receipts -= 1;
        });
    }
}
