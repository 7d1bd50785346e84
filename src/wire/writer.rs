use alloc::vec::Vec;

use super::{Digest, EncodeError, EncodeReason, MAX_INTEGER};

/// Lets `write` append to `out`, and takes all of it back if that fails.
pub(super) fn whole(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let before = out.len();
    let result = write(out);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

pub(super) fn put_u64(
    out: &mut Vec<u8>,
    field: &'static str,
    value: u64,
) -> Result<(), EncodeError> {
    if value > MAX_INTEGER {
        return Err(EncodeError::new(field, EncodeReason::OutOfRange));
    }
    out.extend_from_slice(&value.to_be_bytes());
    Ok(())
}

pub(super) fn put_bytes(
    out: &mut Vec<u8>,
    field: &'static str,
    value: &[u8],
    min: usize,
    max: usize,
) -> Result<(), EncodeError> {
    if value.len() < min {
        return Err(EncodeError::new(field, EncodeReason::TooShort));
    }
    if value.len() > max {
        return Err(EncodeError::new(field, EncodeReason::TooLong { max }));
    }
    out.extend_from_slice(value);
    Ok(())
}

/// Text of `min` to `max` bytes without a NUL.
pub(super) fn put_text(
    out: &mut Vec<u8>,
    field: &'static str,
    text: &str,
    min: usize,
    max: usize,
) -> Result<(), EncodeError> {
    if text.as_bytes().contains(&0) {
        return Err(EncodeError::new(field, EncodeReason::Nul));
    }
    put_bytes(out, field, text.as_bytes(), min, max)
}

/// The algorithm and the digest; 0 if there is none.
pub(super) fn put_digest(out: &mut Vec<u8>, digest: Option<&Digest>) {
    out.push(digest.map_or(0, Digest::algorithm));
    if let Some(digest) = digest {
        out.extend_from_slice(digest.as_bytes());
    }
}

/// A field of a type-length-value list, whose value `write` appends.
pub(super) fn put_field(
    out: &mut Vec<u8>,
    field: &'static str,
    tag: u8,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    out.push(tag);
    put_sized(out, field, write)
}

/// What `write` appends, after its length in two bytes.
pub(super) fn put_sized(
    out: &mut Vec<u8>,
    field: &'static str,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let at = out.len();
    out.extend_from_slice(&[0; 2]);
    write(out)?;
    let value = out.len().saturating_sub(at).saturating_sub(2);
    let max = usize::from(u16::MAX);
    let Ok(length) = u16::try_from(value) else {
        return Err(EncodeError::new(field, EncodeReason::TooLong { max }));
    };
    if let Some(slot) = out.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *slot = length.to_be_bytes();
    }
    Ok(())
}
