use core::fmt;

/// Shows how long something is, and nothing of it.
pub(crate) struct Bytes(pub(crate) usize);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

/// As [`Bytes`], of something that may not be there.
pub(super) fn optional<T: AsRef<[u8]>>(value: Option<T>) -> Option<Bytes> {
    value.map(|value| Bytes(value.as_ref().len()))
}
