//! A receiver whose power fails at any call, with any of what was not synchronised lost, and what
//! becomes of it then.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use duologue::fs::{Collision, Error, Inbox, InboxOptions, Layer, Receiver};
use duologue::testing::{ShadowDisk, SplitMix64};

use super::fs_util::{BLOCK, PEER, content, digest, offer, on, send, small};

const NAME: &str = "x.bin";
const LEN: usize = 5 * BLOCK as usize + 300;

/// What happens beside an honest transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mischief {
    #[default]
    None,
    /// One bit of what is sent is wrong.
    WrongByte,
    /// One bit of the part changes while the power is off.
    BitRot,
    /// Somebody else takes the name meanwhile.
    NameTaken,
    /// A second program receives the same file.
    SecondProgram,
}

/// A way to receive, and what must hold whatever happens.
pub(crate) struct World {
    options: InboxOptions,
    disk: fn() -> ShadowDisk,
    collision: Collision,
    has_old: bool,
    mischief: Mischief,
    content: Bytes,
    old: Bytes,
    pub(crate) violations: Vec<String>,
    /// The violation that is looked for.
    expected: Option<&'static str>,
    /// The disks that a first, and a second crash left, each counted once.
    pub(crate) first: BTreeSet<u64>,
    pub(crate) second: BTreeSet<u64>,
}

/// What tells disks apart: all names, and what they stand for.
fn fingerprint(disk: &ShadowDisk) -> u64 {
    let mut hasher = DefaultHasher::new();
    for name in disk.names() {
        disk.read(&name).hash(&mut hasher);
        name.hash(&mut hasher);
    }
    hasher.finish()
}

/// What the receiver has promised.
#[derive(Clone, Debug, Default)]
struct Promises {
    durable: u64,
    stored: Option<String>,
    is_taken_by_others: bool,
}

/// With sectors so small that a window has some.
pub(crate) fn fine() -> ShadowDisk {
    ShadowDisk::new().sector(128)
}

impl World {
    pub(crate) fn new(disk: fn() -> ShadowDisk) -> Self {
        Self {
            options: small(),
            disk,
            collision: Collision::Number,
            has_old: true,
            mischief: Mischief::None,
            content: content(1, LEN),
            old: content(2, 700),
            violations: Vec::new(),
            expected: None,
            first: BTreeSet::new(),
            second: BTreeSet::new(),
        }
    }

    pub(crate) fn collision(mut self, collision: Collision) -> Self {
        self.has_old = collision != Collision::Refuse;
        self.collision = collision;
        self
    }

    /// Nothing has the name at first.
    pub(crate) fn without_old(mut self) -> Self {
        self.has_old = false;
        self
    }

    pub(crate) fn mischief(mut self, mischief: Mischief) -> Self {
        self.mischief = mischief;
        self
    }

    pub(crate) fn without(mut self, layer: Layer) -> Self {
        self.options = self.options.without(layer);
        self
    }

    fn inbox(&self, disk: &ShadowDisk) -> Result<Inbox, Error> {
        on(disk, self.options.clone().collision(self.collision))
    }

    /// One transfer, to its end or to the first error; once more if what was kept had changed, as
    /// the sender would.
    fn transfer(&mut self, disk: &ShadowDisk, promises: &mut Promises) -> Result<(), Error> {
        match self.try_transfer(disk, promises) {
            Err(Error::PartDiffers) if self.mischief == Mischief::BitRot => {
                self.try_transfer(disk, promises)
            }
            ended => ended,
        }
    }

    fn try_transfer(&mut self, disk: &ShadowDisk, promises: &mut Promises) -> Result<(), Error> {
        let inbox = self.inbox(disk)?;
        let mut receiver = inbox.receive(PEER, &offer(NAME, &self.content))?;
        if let Some((offset, proposed)) = receiver.prefix() {
            if proposed != digest(&self.content[..offset as usize]) {
                if self.mischief != Mischief::WrongByte {
                    self.violations.push(format!("a wrong prefix of {offset} bytes is proposed"));
                }
                // As the sender would.
                receiver.restart()?;
            }
        }
        let before = receiver.position();
        if before < promises.durable / BLOCK * BLOCK && promises.stored.is_none() {
            self.lost(disk, promises, before);
        }
        self.receive(disk, &mut receiver, promises)?;
        if self.mischief == Mischief::NameTaken && !promises.is_taken_by_others {
            disk.write(NAME, &self.old);
            promises.is_taken_by_others = true;
        }
        let path = receiver.finish(LEN as u64, Some(digest(&self.content)))?;
        promises.stored = Some(path.as_str().to_owned());
        Ok(())
    }

    fn receive(
        &mut self,
        disk: &ShadowDisk,
        receiver: &mut Receiver,
        promises: &mut Promises,
    ) -> Result<(), Error> {
        let mut sent = self.content.to_vec();
        if self.mischief == Mischief::WrongByte {
            sent[LEN / 2] ^= 1;
        }
        let sent = Bytes::from(sent);
        let mut second = None;
        for end in (BLOCK as usize / 2..LEN).step_by(BLOCK as usize / 2).chain([LEN]) {
            if end as u64 <= receiver.position() {
                continue;
            }
            send(receiver, &sent, end)?;
            promises.durable = promises.durable.max(receiver.durable());
            if self.mischief == Mischief::SecondProgram && end == BLOCK as usize * 5 / 2 {
                second = self.inbox(disk)?.receive(PEER, &offer(NAME, &self.content)).ok();
            }
        }
        drop(second);
        Ok(())
    }

    /// Bytes that were promised are not there: unless the file is, under its name.
    fn lost(&mut self, disk: &ShadowDisk, promises: &Promises, found: u64) {
        if self.mischief == Mischief::WrongByte {
            return; // it was removed when that was found out
        }
        let is_whole = |name: &String| disk.read(name).as_deref() == Some(&*self.content);
        if !disk.names().iter().any(|name| !name.starts_with('.') && is_whole(name)) {
            let durable = promises.durable;
            self.violations.push(format!("of {durable} durable bytes {found} are found"));
        }
    }

    /// What is seen of the folder is old or whole.
    fn check(&mut self, disk: &ShadowDisk, promises: &Promises) {
        let mut violations = Vec::new();
        for name in disk.names().iter().filter(|name| !name.starts_with('.')) {
            let found = disk.read(name).unwrap();
            let is_old = name == NAME && found == self.old;
            if !is_old && found != self.content {
                violations.push(format!("{name} is neither old nor whole"));
            }
        }
        let has_old = self.has_old || promises.is_taken_by_others;
        if has_old && self.collision != Collision::Replace {
            let found = disk.read(NAME);
            if found.as_deref() != Some(&*self.old) {
                violations.push(format!("the old {NAME} is gone"));
            }
        }
        if let Some(stored) = &promises.stored {
            if disk.read(stored).as_deref() != Some(&*self.content) {
                violations.push("what was stored is gone".to_owned());
            }
        }
        self.violations.append(&mut violations);
    }

    /// A transfer until the power fails at this call, and what had been promised by then.
    fn until(&mut self, disk: &ShadowDisk, call: u64, promises: &mut Promises) {
        disk.power_off_at(call);
        // How it ends is not known to anybody but the receiver.
        let _ = self.transfer(disk, promises);
        self.check(disk, promises);
    }

    /// Every call, and many subsets of what had not been synchronised by then.
    pub(crate) fn enumerate(&mut self) {
        for call in 0.. {
            let disk = (self.disk)();
            if self.has_old {
                disk.write(NAME, &self.old);
            }
            let mut promises = Promises::default();
            self.until(&disk, call, &mut promises);
            for (index, subset) in subsets(disk.pending(), call).into_iter().enumerate() {
                let after = disk.crash(|pending| subset[pending]);
                self.recover(after, promises.clone(), call * 997 + index as u64);
            }
            if self.is_noticed() {
                return;
            }
            if disk.calls() <= call {
                assert!(call > 30, "{call} calls only");
                return;
            }
        }
    }

    /// The program is started again; sometimes the power fails once more.
    fn recover(&mut self, mut disk: ShadowDisk, mut promises: Promises, seed: u64) {
        self.first.insert(fingerprint(&disk));
        self.check(&disk, &promises);
        if self.mischief == Mischief::BitRot {
            let parts: Vec<_> =
                disk.names().into_iter().filter(|name| name.ends_with(".part")).collect();
            for part in parts {
                let mut rotten = disk.read(&part).unwrap();
                rotten.first_mut().into_iter().for_each(|byte| *byte ^= 1);
                disk.write(&part, &rotten);
                promises.durable = 0;
            }
        }
        let mut random = SplitMix64::new(seed);
        if seed % 4 == 0 {
            let call = random.below(60);
            self.until(&disk, call, &mut promises);
            disk = disk.crash(|_| random.percent(50));
            self.second.insert(fingerprint(&disk));
            self.check(&disk, &promises);
        }
        if promises.stored.is_some() {
            return;
        }
        let name_is_whole = disk.read(NAME).as_deref() == Some(&*self.content);
        match self.transfer(&disk, &mut promises) {
            Ok(()) => {}
            Err(Error::DigestDiffers) if self.mischief == Mischief::WrongByte => {}
            // It had got its name, though nobody was told.
            Err(Error::Exists) if name_is_whole || promises.is_taken_by_others => {}
            Err(error) => self.violations.push(format!("it cannot go on: {error}")),
        }
        self.check(&disk, &promises);
        let is_whole = |name: &&String| disk.read(name).as_deref() == Some(&*self.content);
        let whole = disk.names().iter().filter(is_whole).count();
        if promises.stored.is_some() && whole > 1 {
            self.violations.push(format!("it is stored twice: {:?}", disk.names()));
        }
        if promises.stored.is_some() && disk.names().iter().any(|name| name.ends_with(".part")) {
            self.violations.push(format!("a part is left: {:?}", disk.names()));
        }
    }

    pub(crate) fn holds(mut self) {
        self.enumerate();
        assert_eq!(self.violations.first(), None, "of {}", self.violations.len());
        let (first, second) = (self.first.len(), self.second.len());
        println!("{first} disks after a crash, {second} after a second one");
        assert!(first > 300 && second > 40, "{first} and {second} disks only");
    }

    pub(crate) fn notices(mut self, expected: &'static str) {
        self.expected = Some(expected);
        self.enumerate();
        assert!(self.is_noticed(), "{:?}", self.violations.first());
    }

    fn is_noticed(&self) -> bool {
        let is_expected = |violation: &String| self.expected.is_some_and(|e| violation.contains(e));
        self.violations.iter().any(is_expected)
    }
}

/// All subsets of a few things; of many the likely ones, and some at random.
fn subsets(pending: usize, seed: u64) -> Vec<Vec<bool>> {
    if pending <= 7 {
        let bits = |set: usize| (0..pending).map(|bit| set >> bit & 1 == 1).collect();
        return (0..1 << pending).map(bits).collect();
    }
    let mut random = SplitMix64::new(seed);
    let mut found = vec![vec![false; pending], vec![true; pending]];
    for one in 0..pending {
        found.push((0..pending).map(|index| index != one).collect());
        found.push((0..pending).map(|index| index < one).collect());
    }
    for _ in 0..60 {
        found.push((0..pending).map(|_| random.percent(50)).collect());
    }
    found.sort();
    found.dedup();
    found
}
