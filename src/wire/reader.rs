use alloc::borrow::Cow;

use super::{DecodeError, DecodeReason, Digest, Kind, MAX_INTEGER, TransferId};

/// Takes values from the front of a payload, or of a field in it.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    kind: Kind,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(kind: Kind, rest: &'a [u8]) -> Self {
        Self { kind, rest }
    }

    pub(super) const fn error(&self, field: &'static str, reason: DecodeReason) -> DecodeError {
        DecodeError::new(self.kind, field, reason)
    }

    pub(super) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let Some((array, rest)) = self.rest.split_first_chunk() else {
            return Err(self.error(field, DecodeReason::Truncated));
        };
        self.rest = rest;
        Ok(*array)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        let [byte] = self.array(field)?;
        Ok(byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// At most [`MAX_INTEGER`], as all of them.
    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let value = self.array(field).map(u64::from_be_bytes)?;
        if value > MAX_INTEGER {
            return Err(self.error(field, DecodeReason::OutOfRange));
        }
        Ok(value)
    }

    pub(super) fn transfer(&mut self, field: &'static str) -> Result<TransferId, DecodeError> {
        let id = self.u32(field)?;
        TransferId::from_wire(id).ok_or_else(|| self.error(field, DecodeReason::OutOfRange))
    }

    /// A digest, or none: algorithm 0.
    pub(super) fn digest(&mut self, field: &'static str) -> Result<Option<Digest>, DecodeError> {
        match self.u8(field)? {
            0 => Ok(None),
            1 => Ok(Some(Digest::Blake3(self.array(field)?))),
            2 => Ok(Some(Digest::Sha256(self.array(field)?))),
            _ => Err(self.error(field, DecodeReason::Unsupported)),
        }
    }

    pub(super) fn take(
        &mut self,
        field: &'static str,
        length: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.error(field, DecodeReason::Truncated));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// All that is left, if it has `min` to `max` bytes.
    pub(super) fn bytes(
        self,
        field: &'static str,
        min: usize,
        max: usize,
    ) -> Result<Cow<'a, [u8]>, DecodeError> {
        if self.rest.len() < min || self.rest.len() > max {
            return Err(self.error(field, DecodeReason::OutOfRange));
        }
        Ok(Cow::Borrowed(self.rest))
    }

    /// All that is left, as text, with no bound and any character.
    #[inline]
    pub(super) fn any_text(self, field: &'static str) -> Result<Cow<'a, str>, DecodeError> {
        match core::str::from_utf8(self.rest) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(_) => Err(self.error(field, DecodeReason::NotUtf8)),
        }
    }

    /// All that is left, as text of `min` to `max` bytes without a NUL.
    pub(super) fn text(
        self,
        field: &'static str,
        min: usize,
        max: usize,
    ) -> Result<Cow<'a, str>, DecodeError> {
        self.bytes(field, min, max)?;
        let text = self.any_text(field)?;
        if self.rest.contains(&0) {
            return Err(self.error(field, DecodeReason::Nul));
        }
        Ok(text)
    }

    /// Nothing may be left.
    pub(super) const fn finish(&self, field: &'static str) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.error(field, DecodeReason::Trailing))
    }
}
