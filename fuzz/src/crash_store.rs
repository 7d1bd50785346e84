//! A receiver on a disk that fails and loses power, as the input says: the target is absent, old or
//! whole, and what was promised is there.

mod folder;

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use duologue::fs::{Collision, Error, Inbox, InboxOptions, Receiver};
use duologue::testing::{Pattern, ShadowDisk};
use duologue::wire::{Digest, Offer};

const BLOCK: u64 = 64;
const LEN: usize = 7 * BLOCK as usize + 20;
const NAME: &str = "x";

/// The first bytes choose the disk and the policy, and whether it is one file or many; then each is
/// something that happens.
pub fn run(data: &[u8]) {
    let [sector, policy, steps @ ..] = data else { return };
    if policy & 0xC0 == 0xC0 {
        return folder::run(*sector, *policy, steps);
    }
    let disk = ShadowDisk::new().sector(usize::from(*sector).max(8));
    let (collision, has_old) = match policy % 3 {
        0 => (Collision::Number, true),
        1 => (Collision::Refuse, false),
        _ => (Collision::Replace, true),
    };
    let old = Pattern::new(9).bytes(0, 50);
    if has_old {
        disk.write(NAME, &old);
    }
    let content = Pattern::new(3).bytes(0, LEN);
    let mut world = World {
        disk,
        collision,
        has_old,
        content,
        old,
        durable: 0,
        is_faulty: false,
        stored: Vec::new(),
    };
    let mut steps = steps.iter();
    for _ in 0..8 {
        world.life(&mut steps);
        if steps.len() == 0 {
            break;
        }
    }
    world.end();
}

struct World {
    disk: ShadowDisk,
    collision: Collision,
    has_old: bool,
    content: Bytes,
    old: Bytes,
    durable: u64,
    /// A disk that has failed makes no promise good, until it is another.
    is_faulty: bool,
    stored: Vec<String>,
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::Blake3(*blake3::hash(bytes).as_bytes())
}

impl World {
    fn inbox(&self) -> Result<Inbox, Error> {
        let options = InboxOptions::new().alignment(BLOCK).keep_free(0);
        options.collision(self.collision).open_on(Arc::new(self.disk.clone()))
    }

    fn begin(&mut self, inbox: &Inbox) -> Result<Receiver, Error> {
        let mut receiver = inbox.receive(Some(b"peer"), &Offer::new(NAME).size(LEN as u64))?;
        if let Some((offset, proposed)) = receiver.prefix() {
            assert_eq!(proposed, digest(&self.content[..offset as usize]), "a wrong prefix");
            assert!(offset <= receiver.position());
        }
        let promised = if self.is_faulty { 0 } else { self.durable };
        if receiver.position() < promised / BLOCK * BLOCK {
            let found = self.disk.names().into_iter();
            let mut files = found.filter(|name| !name.starts_with('.'));
            let is_whole =
                files.any(|name| self.disk.read(&name).as_deref() == Some(&*self.content));
            assert!(is_whole, "{} durable bytes are lost", self.durable);
            receiver.restart()?;
        }
        self.durable = 0;
        Ok(receiver)
    }

    /// One run of the program, until it ends or the power fails.
    fn life(&mut self, steps: &mut std::slice::Iter<'_, u8>) {
        let Ok(inbox) = self.inbox() else { return };
        if core::mem::take(&mut self.is_faulty) {
            self.durable = 0;
        }
        // Who detached it remembers what was promised.
        let mut receiver = self.begin(&inbox).ok();
        while let Some(&step) = steps.next() {
            match step {
                0..=95 => {
                    let Some(active) = &mut receiver else { continue };
                    let start = active.position() as usize;
                    let end = LEN.min(start + usize::from(step));
                    if start == LEN {
                        self.finish(receiver.take());
                    } else if active.write(&[self.content.slice(start..end)]).is_ok() {
                        self.durable = self.durable.max(active.durable());
                    } else {
                        self.give_up(&mut receiver);
                    }
                }
                96..=111 => {
                    if let Some(active) = &mut receiver {
                        let _ = active.checkpoint();
                        self.durable = self.durable.max(active.durable());
                    }
                }
                112..=125 => self.finish(receiver.take()),
                126 | 127 => {
                    // It is wanted no more.
                    if let Some(active) = receiver.take() {
                        assert!(!format!("{active:?}").is_empty());
                        active.discard();
                        self.durable = 0;
                    }
                }
                140..=143 => {
                    if let Some(active) = &mut receiver {
                        let _ = active.detach();
                        self.durable = self.durable.max(active.durable());
                        if active.reattach().is_err() {
                            self.give_up(&mut receiver);
                        }
                    }
                }
                128..=139 => {
                    if let Some(active) = &mut receiver {
                        let _ = active.detach();
                        self.durable = self.durable.max(active.durable());
                        let next = self.begin(&inbox);
                        receiver = next.ok();
                    } else {
                        receiver = self.begin(&inbox).ok();
                    }
                }
                144..=159 => {
                    let kind =
                        if step & 1 == 0 { ErrorKind::StorageFull } else { ErrorKind::Other };
                    let from = self.disk.calls() + u64::from(step >> 1 & 7);
                    self.disk.fail(from, 1, kind);
                    self.is_faulty = true;
                }
                160..=175 => {
                    let busy = self.inbox().and_then(|other| {
                        other.receive(Some(b"peer"), &Offer::new(NAME).size(LEN as u64))
                    });
                    // One of a file that is stored already has no part, and harms nobody.
                    let has_part = receiver.as_ref().is_some_and(|receiver| {
                        receiver.prefix().is_none_or(|(offset, _)| offset < LEN as u64)
                    });
                    if has_part {
                        assert!(busy.is_err());
                    }
                }
                176..=191 => {
                    if !self.has_old && self.disk.read(NAME).is_none() {
                        self.disk.write(NAME, &self.old);
                        self.has_old = true;
                    }
                }
                _ => {
                    self.disk.power_off_at(self.disk.calls() + u64::from(step & 31));
                    self.work_on(receiver);
                    self.crash(steps);
                    return;
                }
            }
            self.check();
        }
    }

    /// Goes on until the power fails.
    fn work_on(&mut self, receiver: Option<Receiver>) {
        let Some(mut active) = receiver else { return };
        while (active.position() as usize) < LEN {
            let start = active.position() as usize;
            let end = LEN.min(start + 40);
            let written = active.write(&[self.content.slice(start..end)]);
            self.durable = self.durable.max(active.durable());
            if written.is_err() {
                return;
            }
        }
        self.finish(Some(active));
    }

    fn crash(&mut self, steps: &mut std::slice::Iter<'_, u8>) {
        let picks: Vec<u8> = steps.by_ref().take(4).copied().collect();
        let bit = |index: usize| {
            let byte = picks.get(index / 8 % 4).copied().unwrap_or(0x55);
            byte >> (index % 8) & 1 == 1
        };
        self.disk = self.disk.crash(bit);
        self.check();
    }

    fn finish(&mut self, receiver: Option<Receiver>) {
        let Some(receiver) = receiver else { return };
        let is_whole = receiver.position() as usize == LEN;
        match receiver.finish(LEN as u64, Some(digest(&self.content))) {
            Ok(path) => {
                assert!(is_whole);
                self.stored.push(path.as_str().to_owned());
            }
            Err(_) => self.durable = 0,
        }
        if is_whole {
            self.durable = 0;
        }
    }

    fn give_up(&mut self, receiver: &mut Option<Receiver>) {
        *receiver = None;
        self.durable = 0;
    }

    fn check(&self) {
        for name in self.disk.names().iter().filter(|name| !name.starts_with('.')) {
            let found = self.disk.read(name).unwrap();
            let is_old = name == NAME && self.has_old && found == self.old;
            assert!(is_old || found == self.content, "{name} is neither old nor whole");
        }
        if self.has_old && self.collision != Collision::Replace {
            assert_eq!(self.disk.read(NAME).as_deref(), Some(&*self.old));
        }
        for stored in &self.stored {
            assert_eq!(self.disk.read(stored).as_deref(), Some(&*self.content), "{stored} is lost");
        }
    }

    /// The disk is well again: the file arrives. A journal that was removed, and came back with a loss of
    /// power, speaks of a part that is gone; this is found out by reading, and the next try begins at 0.
    fn end(&mut self) {
        self.disk = self.disk.kill();
        self.durable = 0;
        let inbox = self.inbox().unwrap();
        let outcome = match self.arrive(&inbox) {
            Err(Error::PartDiffers) => self.arrive(&inbox),
            outcome => outcome,
        };
        let is_taken = self.disk.read(NAME).is_some();
        match outcome {
            // Somebody took the name, perhaps while the part was waiting, or a disk that failed hid that
            // the file was stored already.
            Err(Error::Exists) if is_taken && self.collision == Collision::Refuse => {
                self.check();
                return;
            }
            path => self.stored.push(path.unwrap()),
        }
        self.check();
        assert!(!self.disk.names().iter().any(|name| name.ends_with(".part")));
    }

    /// All of the file that is missing comes, and it gets its name.
    fn arrive(&mut self, inbox: &Inbox) -> Result<String, Error> {
        let mut receiver = self.begin(inbox)?;
        let start = receiver.position() as usize;
        receiver.write(&[self.content.slice(start..)])?;
        let path = receiver.finish(LEN as u64, Some(digest(&self.content)))?;
        Ok(path.as_str().to_owned())
    }
}
