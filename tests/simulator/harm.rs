//! What is done to the two programs, and how it all ends.

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use duologue::proto::CloseReason;
use duologue::testing::ShadowDisk;
use duologue::wire::CloseCode;

use super::executor::Owner;
use super::meter::uncounted;
use super::profile::{FIRST_OF_ALL_FAULTS, FIRST_OF_LOOKS, Fault};
use super::talk::UNPLANNED;
use super::world::World;

/// When a program is killed in the middle of what it does, and whether its machine loses its power.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fall {
    /// The call of its disk that is not made any more.
    call: u64,
    after: After,
}

/// What is left of a disk when its program begins again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The program alone was killed.
    Kill,
    PowerLoss,
    /// The power was lost, and hidden files have rotted.
    Rot,
}

/// After the last fault everything has to end within this.
const CALM: Duration = Duration::from_secs(3600);

/// What a program may hold that has nothing to do: its own, and a conversation's.
const IDLE: u64 = 32 << 10;

impl World {
    pub(crate) fn start(self: &Rc<Self>) {
        self.start_server();
        self.start_client();
        let world = Rc::clone(self);
        self.spawn(Owner::World, async move {
            world.do_harm().await;
            world.until_done(false).await;
            if world.profile.is_held_up {
                world.hold_up().await;
                world.until_done(true).await;
            }
            world.say_goodbye().await;
            world.is_finished.set(true);
        });
    }

    /// Does one thing after the other to them, and then nothing any more.
    async fn do_harm(self: &Rc<Self>) {
        let faults = &self.profile.faults;
        for _ in 0..self.profile.count {
            self.sleep(self.up_to(self.profile.pause)).await;
            let place = self.random.borrow_mut().below(faults.len() as u64) as usize;
            self.harm(faults[place]).await;
        }
        self.sleep(self.up_to(self.profile.pause)).await;
        self.is_calm.set(true);
        // From here on nothing goes on by chance.
        self.executor.polls_sleepers.set(self.profile.seed < FIRST_OF_LOOKS);
        self.note(|| "calm".to_owned());
        for (side, fall) in self.sides.iter().map(|side| side.falls.get()).enumerate() {
            fall.into_iter().for_each(|fall| self.end_life(side, fall.after));
        }
        for side in &self.sides {
            side.disk.borrow().heal();
        }
        for cable in self.cables.borrow().iter() {
            cable.borrow_mut().be_calm();
        }
        self.until.set(self.clock.now().saturating_add(CALM));
    }

    async fn harm(self: &Rc<Self>, fault: Fault) {
        let cable = self.cables.borrow().last().cloned();
        self.note(|| format!("{fault:?}"));
        match fault {
            Fault::Cut => {
                self.count(|report| report.cuts += 1);
                cable.iter().for_each(|cable| cable.borrow_mut().cut());
            }
            Fault::Silence => {
                self.count(|report| report.silences += 1);
                cable.iter().for_each(|cable| cable.borrow_mut().silence());
            }
            Fault::Shut(side) => {
                self.count(|report| report.shuts += 1);
                cable.iter().for_each(|cable| cable.borrow_mut().shut(side));
            }
            Fault::Stall => {
                self.count(|report| report.stalls += 1);
                let until = self.clock.now().saturating_add(self.up_to(Duration::from_secs(90)));
                cable.iter().for_each(|cable| cable.borrow_mut().stall(until));
            }
            Fault::Outage => {
                self.count(|report| report.outages += 1);
                self.is_down.set(true);
                cable.iter().for_each(|cable| cable.borrow_mut().cut());
                drop(cable);
                self.sleep(self.up_to(Duration::from_secs(400))).await;
                self.is_down.set(false);
            }
            Fault::Goodbye(side) => {
                let program = self.sides[side].program.borrow().clone();
                if let Some(program) = program {
                    self.count(|report| report.goodbyes += 1);
                    uncounted(|| self.goodbyes.borrow_mut().insert(program.session.conversation()));
                    // Who is slow to answer finds its stream closed.
                    cable.iter().for_each(|cable| cable.borrow_mut().harm());
                    program.close(CloseCode::SHUTDOWN);
                }
            }
            Fault::Kill(side) => {
                self.count(|report| report.kills += 1);
                self.strike(side, After::Kill);
            }
            Fault::PowerLoss(side) => {
                self.count(|report| report.power_losses += 1);
                self.strike(side, After::PowerLoss);
            }
            Fault::Rot(side) => {
                self.count(|report| report.rots += 1);
                self.strike(side, After::Rot);
            }
            Fault::Suspension => self.suspend(),
            Fault::Disk(side) => self.let_disk_fail(side),
        }
    }

    /// Kills a program: between two things that it does, or between two calls of its disk.
    fn strike(self: &Rc<Self>, side: usize, after: After) {
        if self.percent(50) {
            return self.end_life(side, after);
        }
        let disk = self.disk(side);
        let call = disk.calls() + self.random.borrow_mut().below(30);
        disk.power_off_at(call);
        self.sides[side].falls.set(Some(Fall { call, after }));
    }

    /// Ends a program whose disk has just not done a call: nothing that it did in that moment has left it.
    pub(crate) fn let_fall(self: &Rc<Self>) {
        for side in [0, 1] {
            let Some(fall) = self.sides[side].falls.get() else { continue };
            if self.disk(side).calls() > fall.call {
                self.note(|| format!("side {side} falls"));
                self.sides[side].fallen.set(self.sides[side].fallen.get() + 1);
                self.end_life(side, fall.after);
            }
        }
    }

    /// What the program had handed to the system stays; with the power goes what the disk had not
    /// written.
    fn end_life(self: &Rc<Self>, side: usize, after: After) {
        self.sides[side].falls.set(None);
        let disk = self.disk(side);
        let left = if after == After::Kill {
            disk.kill()
        } else {
            let share = self.random.borrow_mut().below(101);
            let left = disk.crash(|_| self.percent(share));
            self.sides[side].power_losses.set(self.sides[side].power_losses.get() + 1);
            self.forget_what_was_not_promised(side, &left);
            left
        };
        if after == After::Rot {
            self.let_rot(side, &left);
        }
        self.replace_disk(side, left);
        self.restart(side);
    }

    /// Changes a bit in some of the hidden files of a disk: what was durable of a file may be sent again,
    /// but nothing wrong may come of it.
    fn let_rot(&self, side: usize, disk: &ShadowDisk) {
        for name in disk.names().into_iter().filter(|name| name.contains(".duologue-")) {
            let Some(mut content) = disk.read(&name).filter(|content| !content.is_empty()) else {
                continue;
            };
            if self.percent(50) {
                let mut random = self.random.borrow_mut();
                let at = random.below(content.len() as u64) as usize;
                content[at] ^= 1 << random.below(8);
                disk.write(&name, &content);
            }
        }
        self.sides[side].rots.set(self.sides[side].rots.get() + 1);
        self.ledger(|ledger| ledger.forget_durable(side));
    }

    /// All of them sleep, and find that time has passed: whatever was due meanwhile is so at once.
    fn suspend(&self) {
        self.count(|report| report.suspensions += 1);
        let time = self.up_to(Duration::from_secs(3600));
        self.cables.borrow().iter().for_each(|cable| cable.borrow_mut().harm());
        for side in [0, 1] {
            self.disk(side).advance(time);
        }
        uncounted(|| self.clock.advance(time));
    }

    fn let_disk_fail(&self, side: usize) {
        self.count(|report| report.disk_faults += 1);
        let disk = self.disk(side);
        let (from, count) = {
            let mut random = self.random.borrow_mut();
            (disk.calls() + random.below(50), random.log_uniform(100))
        };
        let is_full = self.percent(50);
        let kind = match from % 3 {
            _ if is_full => ErrorKind::StorageFull,
            _ if self.profile.seed < FIRST_OF_ALL_FAULTS => ErrorKind::Other,
            0 => ErrorKind::PermissionDenied,
            1 => ErrorKind::ReadOnlyFilesystem,
            _ => ErrorKind::Other,
        };
        disk.fail(from, count, kind);
    }

    /// The lower levels of durability promise less of a loss of power.
    fn forget_what_was_not_promised(&self, side: usize, disk: &ShadowDisk) {
        use duologue::fs::Durability;
        let durability = self.profile.programs[side].durability;
        if durability == Durability::Full {
            return;
        }
        self.sides[side].lapses.set(self.sides[side].lapses.get() + 1);
        self.ledger(|ledger| {
            ledger.forget_durable(side);
            ledger.forget_stored(side);
            if durability == Durability::NoSync {
                ledger.exempt[side].extend(disk.names());
            }
        });
    }

    fn replace_disk(&self, side: usize, disk: ShadowDisk) {
        self.ledger(|ledger| ledger.check_disk(&self.profile, side, &disk));
        *self.sides[side].disk.borrow_mut() = disk;
    }

    async fn until_done(&self, with_held_up: bool) {
        while !self.ledger(|ledger| ledger.is_done(&self.profile, with_held_up)) {
            self.sleep(Duration::from_millis(500)).await;
        }
    }

    /// Holds up a file of each side, and sees that lines come through all the same.
    async fn hold_up(self: &Rc<Self>) {
        let slowness = self.profile.slowness;
        for side in [0, 1] {
            // There is a stream that carries.
            while !self.say(side, 1, Duration::from_secs(300)).await {}
        }
        self.note(|| "held up".to_owned());
        self.sends_held_up.set(true);
        self.is_held_up.set(true);
        for side in [0, 1] {
            let program = self.sides[side].program.borrow().clone();
            if let Some(program) = program {
                let index = self.profile.work[side].files.len();
                program.spawn_sending(move |program| program.send_file(index));
            }
        }
        self.sleep(4 * (self.profile.crossing() + slowness) + Duration::from_secs(2)).await;
        // What is on its way before them, the lines themselves, and an application that takes its time.
        let bound = 6 * self.profile.crossing() + 16 * slowness + Duration::from_secs(2);
        let lines = [0, 1].map(|side| self.say(side, 3, bound));
        let [near, far] = futures::future::join_all(lines).await[..] else { return };
        if !near || !far {
            self.violation(|| format!("lines took longer than {bound:?} beside files held up"));
        }
        self.count(|report| report.held_up += 1);
        self.is_held_up.set(false);
        self.note(|| "let go".to_owned());
    }

    /// Has a side say something: whether all of it was delivered in time.
    async fn say(&self, side: usize, lines: u64, within: Duration) -> bool {
        let delivered = || self.ledger(|ledger| ledger.sent[side].lines.delivered);
        let (before, until) = (delivered(), self.clock.now().saturating_add(within));
        let program = self.sides[side].program.borrow().clone();
        if let Some(program) = program {
            program.spawn(move |program| async move {
                // It is at once, or there is no use in it.
                let _ = program.session.opened().await;
                for _ in 0..lines {
                    program.say(UNPLANNED).await;
                }
            });
        }
        while delivered() < before + lines {
            if self.clock.now() > until {
                return false;
            }
            self.sleep(Duration::from_millis(100)).await;
        }
        true
    }

    /// One of them says goodbye, or both: they end, and know why.
    async fn say_goodbye(&self) {
        while !self.is_sound() {
            self.sleep(Duration::from_millis(500)).await;
        }
        self.check_idle_memory().await;
        self.is_closing.set(true);
        self.sides.iter().for_each(|side| side.ended.set(None));
        let code = CloseCode::application(40_000).expect("an application's");
        for side in (0..2).filter(|side| self.profile.closers[*side]) {
            let program = self.sides[side].program.borrow().clone();
            program.into_iter().for_each(|program| program.close(code));
        }
        for side in [0, 1] {
            let ended = loop {
                match self.sides[side].ended.get() {
                    Some(ended) => break ended,
                    None => self.sleep(Duration::from_millis(100)).await,
                }
            };
            let is_right = match ended {
                CloseReason::Local { code: found, is_answered } => {
                    self.profile.closers[side] && found == code && is_answered
                }
                CloseReason::Peer(found) => self.profile.closers[1 - side] && found == code,
                _ => false,
            };
            if !is_right {
                self.violation(|| format!("side {side} ended with {ended} after a goodbye"));
            }
        }
        let is_empty = || match &*self.conversations.borrow() {
            Some(conversations) => conversations.is_empty(),
            None => true,
        };
        while !is_empty() {
            self.sleep(Duration::from_secs(1)).await;
        }
        // What an application does at the end takes its time.
        self.sleep(Duration::from_secs(60)).await;
        let left = self.executor.count(|owner| matches!(owner, Owner::Conversation { .. }));
        if left > 0 {
            self.violation(|| format!("{left} tasks wait for what has ended"));
        }
    }

    /// All has ended, and nothing is held for it: what is left is what an idle program consists of.
    async fn check_idle_memory(&self) {
        self.sleep(Duration::from_secs(90)).await;
        for side in [0, 1] {
            let held = self.executor.meter.held(side).max(0) as u64;
            self.count(|report| report.idle_memory = report.idle_memory.max(held));
            if held > IDLE {
                self.violation(|| format!("side {side} holds {held} bytes, and does nothing"));
            }
        }
    }

    /// Whether both programs are in one conversation, over a stream that carries.
    fn is_sound(&self) -> bool {
        let name = |side: usize| {
            let program = self.sides[side].program.borrow();
            program.as_ref().and_then(|program| program.conversation())
        };
        let cable = self.cables.borrow().last().cloned();
        let carries = cable.is_some_and(|cable| cable.borrow().is_sound(self.clock.now()));
        carries && name(0).is_some() && name(0) == name(1)
    }
}
