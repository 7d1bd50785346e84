use alloc::borrow::Cow;

use super::reader::Reader;
use super::{DecodeError, DecodeReason, Digest, Kind, TransferId};

/// Bit 7 of a field's type: who does not know it refuses the frame.
const CRITICAL: u8 = 0x80;

/// Walks a type-length-value list, and sees to the order of its fields.
pub(super) struct Fields<'a> {
    kind: Kind,
    list: Reader<'a>,
    /// The number after that of the field before.
    least: u8,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(kind: Kind, list: &'a [u8]) -> Self {
        Self { kind, list: Reader::new(kind, list), least: 0 }
    }

    /// The next field, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        if self.list.is_empty() {
            return Ok(None);
        }
        let tag = self.list.u8("type of a field")?;
        let number = tag & !CRITICAL;
        if number < self.least {
            return Err(self.list.error("type of a field", DecodeReason::OutOfOrder));
        }
        self.least = number.saturating_add(1);
        let length = self.list.u16("length of a field")?;
        let value = self.list.take("value of a field", length.into())?;
        Ok(Some(Field { tag, kind: self.kind, value: Reader::new(self.kind, value) }))
    }
}

/// One field. Its value is taken whole: what is left over is an error.
pub(super) struct Field<'a> {
    /// Its type, with the critical bit.
    pub(super) tag: u8,
    kind: Kind,
    value: Reader<'a>,
}

impl<'a> Field<'a> {
    /// What a field is whose type the list does not know, when it knows the numbers from 1 to
    /// `known`: an error if it has one of these or is critical, else nothing.
    pub(super) fn skip(&self, known: u8) -> Result<(), DecodeError> {
        match self.unknown(known)? {
            Some(_) => Err(self.value.error("unknown field", DecodeReason::Unsupported)),
            None => Ok(()),
        }
    }

    /// As [`skip`](Self::skip), but a critical field is returned.
    pub(super) fn unknown(&self, known: u8) -> Result<Option<u8>, DecodeError> {
        if (1..=known).contains(&(self.tag & !CRITICAL)) {
            return Err(self.value.error("type of a field", DecodeReason::NotCanonical));
        }
        Ok((self.tag & CRITICAL != 0).then_some(self.tag))
    }

    /// Reads the value with `read`, whole.
    pub(super) fn read<T>(
        mut self,
        field: &'static str,
        read: impl FnOnce(&mut Reader<'a>, &'static str) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let value = read(&mut self.value, field)?;
        self.value.finish(field)?;
        Ok(value)
    }

    pub(super) fn array<const N: usize>(self, field: &'static str) -> Result<[u8; N], DecodeError> {
        self.read(field, Reader::array)
    }

    pub(super) fn u8(self, field: &'static str) -> Result<u8, DecodeError> {
        self.read(field, Reader::u8)
    }

    pub(super) fn u32(self, field: &'static str) -> Result<u32, DecodeError> {
        self.read(field, Reader::u32)
    }

    pub(super) fn u64(self, field: &'static str) -> Result<u64, DecodeError> {
        self.read(field, Reader::u64)
    }

    pub(super) fn transfer(self, field: &'static str) -> Result<TransferId, DecodeError> {
        self.read(field, Reader::transfer)
    }

    /// A field that says all by being there.
    pub(super) fn empty(self, field: &'static str) -> Result<bool, DecodeError> {
        self.value.finish(field)?;
        Ok(true)
    }

    /// A digest; here none is said by leaving the field out.
    pub(super) fn digest(self, field: &'static str) -> Result<Digest, DecodeError> {
        let kind = self.kind;
        let none = DecodeError::new(kind, field, DecodeReason::NotCanonical);
        self.read(field, Reader::digest)?.ok_or(none)
    }

    pub(super) fn text(
        self,
        field: &'static str,
        min: usize,
        max: usize,
    ) -> Result<Cow<'a, str>, DecodeError> {
        self.value.text(field, min, max)
    }

    pub(super) fn bytes(
        self,
        field: &'static str,
        min: usize,
        max: usize,
    ) -> Result<Cow<'a, [u8]>, DecodeError> {
        self.value.bytes(field, min, max)
    }

    /// The value as it is.
    pub(super) const fn value(self) -> Reader<'a> {
        self.value
    }
}

/// The value of a field that has to be there.
pub(super) fn required<T>(
    kind: Kind,
    field: &'static str,
    value: Option<T>,
) -> Result<T, DecodeError> {
    value.ok_or_else(|| DecodeError::new(kind, field, DecodeReason::Missing))
}
