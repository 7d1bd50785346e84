//! The digest of a part as it grows, and of what was there before.

use std::io;
use std::vec;
use std::vec::Vec;

use super::store::{StoreFile, read_full_at};
use crate::wire::Digest;

/// Bytes that are read at once.
const READ: u64 = 1 << 20;

/// What comes is hashed from a multiple of so many bytes to another. BLAKE3 takes four times as long
/// for 16 KiB that begin elsewhere: a frame that came in two reads costs less when it is copied.
const BLOCK: usize = 16 << 10;

/// A BLAKE3 digest of a file's first bytes.
///
/// Of a part that was taken up it begins at 0 and lags behind what is written, so that nobody waits
/// until what is there has been read: [`catch_up`](Self::catch_up) reads some of it at a time.
#[derive(Debug)]
pub(super) struct RunningDigest {
    hasher: blake3::Hasher,
    /// What the hasher is still to get, of the block that it is in.
    gathered: Vec<u8>,
    /// Bytes that it has, with these.
    hashed: u64,
    /// The last offset to go on from, and the digest of what is before it.
    aligned: (u64, [u8; 32]),
    alignment: u64,
    /// What the bytes before an offset are said to have, until the hasher has come there.
    claim: Option<(u64, [u8; 32])>,
}

/// Why what is there is of no use: it is not what it should be, or it could not be read.
#[derive(Debug)]
pub(super) struct Differs(pub(super) Option<io::Error>);

impl RunningDigest {
    pub(super) fn new(alignment: u64) -> Self {
        let hasher = blake3::Hasher::new();
        let aligned = (0, *hasher.finalize().as_bytes());
        Self { hasher, gathered: Vec::new(), hashed: 0, aligned, alignment, claim: None }
    }

    /// Of a file whose first bytes are said to have a digest, which is to be seen.
    pub(super) fn claimed(alignment: u64, claim: (u64, [u8; 32])) -> Self {
        Self { claim: Some(claim).filter(|(offset, _)| *offset > 0), ..Self::new(alignment) }
    }

    /// That nothing is known to be wrong with what was there.
    pub(super) fn is_proved(&self) -> bool {
        self.claim.is_none()
    }

    /// For tests: what is there is believed.
    pub(super) fn believe(&mut self) {
        self.claim = None;
    }

    /// The last offset to go on from, as far as the digest is, and the digest of what is before it.
    pub(super) fn aligned(&self) -> (u64, [u8; 32]) {
        self.aligned
    }

    /// What comes at an offset of the file. Unless the digest is there, it is read again later.
    pub(super) fn update(&mut self, offset: u64, bytes: &[u8]) {
        if offset == self.hashed {
            self.absorb(bytes);
        }
    }

    fn absorb(&mut self, bytes: &[u8]) {
        let end = self.hashed.saturating_add(bytes.len() as u64);
        let boundary = end.saturating_sub(end.checked_rem(self.alignment).unwrap_or(0));
        let before = usize::try_from(boundary.saturating_sub(self.hashed)).unwrap_or(0);
        match bytes.split_at_checked(before) {
            Some((head, tail)) if boundary > self.hashed => {
                self.push(head);
                self.aligned = (boundary, self.value());
                self.push(tail);
            }
            _ => self.push(bytes),
        }
    }

    /// Hashes whole blocks, and gathers what is less.
    fn push(&mut self, bytes: &[u8]) {
        self.hashed = self.hashed.saturating_add(bytes.len() as u64);
        let mut rest = bytes;
        if !self.gathered.is_empty() {
            let room = BLOCK.saturating_sub(self.gathered.len());
            let (fits, behind) = rest.split_at(room.min(rest.len()));
            self.gathered.extend_from_slice(fits);
            rest = behind;
            if self.gathered.len() < BLOCK {
                return;
            }
            self.hasher.update(&self.gathered);
            self.gathered.clear();
        }
        let (blocks, tail) = rest.split_at(rest.len() & !(BLOCK - 1));
        self.hasher.update(blocks);
        self.gathered.extend_from_slice(tail);
    }

    /// The digest of all that it has.
    fn value(&self) -> [u8; 32] {
        if self.gathered.is_empty() {
            return *self.hasher.finalize().as_bytes();
        }
        *self.hasher.clone().update(&self.gathered).finalize().as_bytes()
    }

    /// Whether there is nothing before an offset that is still to be read.
    pub(super) fn is_at(&self, position: u64) -> bool {
        self.hashed >= position && self.claim.is_none()
    }

    /// Reads of a file what the digest lacks up to `position`, at most so many bytes.
    pub(super) fn catch_up(
        &mut self,
        file: &mut dyn StoreFile,
        position: u64,
        most: u64,
    ) -> Result<(), Differs> {
        if self.is_at(position) {
            return Ok(());
        }
        let until = self.hashed.saturating_add(most).min(position);
        let mut buffer =
            vec![0; usize::try_from(READ.min(until.saturating_sub(self.hashed))).unwrap_or(0)];
        while self.hashed < until {
            let to = self.claim.map_or(until, |(offset, _)| offset.min(until));
            let wanted = usize::try_from(to.saturating_sub(self.hashed)).unwrap_or(usize::MAX);
            let wanted = wanted.min(buffer.len());
            let room = buffer.get_mut(..wanted).unwrap_or_default();
            // What cannot be read is as good as wrong; so is what is shorter than it was.
            let filled: io::Result<usize> = read_full_at(file, self.hashed, room);
            if filled.map_err(|error| Differs(Some(error)))? < wanted || wanted == 0 {
                return Err(Differs(None));
            }
            self.absorb(buffer.get(..wanted).unwrap_or_default());
            if let Some((offset, digest)) = self.claim {
                if offset == self.hashed {
                    if self.value() != digest {
                        return Err(Differs(None));
                    }
                    self.claim = None;
                }
            }
        }
        Ok(())
    }

    /// The digest of all that it has.
    pub(super) fn digest(&self) -> Digest {
        Digest::Blake3(self.value())
    }
}
