//! What the table tests of the frames share.

use alloc::vec::Vec;

/// The bytes that hexadecimal digits stand for; spaces are left out.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|digit| digit.to_digit(16).unwrap().try_into().unwrap())
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Each value is encoded as the bytes, and the bytes are decoded as the value. Of every beginning of
/// them, what is decoded at all is encoded as the same bytes.
macro_rules! accepts {
    ($frame:ident: $($value:expr => $hex:expr,)*) => {$({
        let (value, bytes) = ($value, crate::wire::tables::hex(&$hex));
        let mut out = b"before".to_vec();
        value.encode(&mut out).unwrap();
        assert_eq!(&out[6..], bytes, "{value:?}");
        assert_eq!($frame::decode(&bytes), Ok(value));
        for end in 0..bytes.len() {
            let beginning = &bytes[..end];
            if let Ok(value) = $frame::decode(beginning) {
                out.clear();
                value.encode(&mut out).unwrap();
                assert_eq!(out, beginning, "{value:?}");
            }
        }
    })*};
}

/// Each of the payloads is refused, for this field and reason.
macro_rules! refuses {
    ($frame:ident: $($hex:expr => $field:literal, $reason:ident;)*) => {$({
        let text = $hex;
        let error = $frame::decode(&crate::wire::tables::hex(&text)).unwrap_err();
        let reason = crate::wire::DecodeReason::$reason;
        assert_eq!((error.field(), error.reason()), ($field, reason), "{text}");
    })*};
}

/// None of the values can be encoded, for this field and reason, and nothing is written.
macro_rules! cannot_encode {
    ($($value:expr => $field:literal, $reason:expr;)*) => {$({
        let mut out = b"before".to_vec();
        let error = $value.encode(&mut out).unwrap_err();
        assert_eq!((error.field(), error.reason()), ($field, $reason));
        assert_eq!(out, b"before");
    })*};
}

pub(super) use {accepts, cannot_encode, refuses};
