use core::fmt;

/// The digest of a file's content, or of a prefix of it.
///
/// `Debug` prints the algorithm only.
///
/// # Examples
///
/// ```
/// use duologue::wire::Digest;
///
/// let digest = Digest::Sha256([7; 32]);
/// assert_eq!((digest.algorithm(), digest.as_bytes()), (2, &[7; 32]));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Digest {
    /// BLAKE3, 32 bytes.
    Blake3([u8; 32]),
    /// SHA-256.
    Sha256([u8; 32]),
}

impl Digest {
    /// The number of its algorithm on the wire: 1 BLAKE3, 2 SHA-256.
    pub const fn algorithm(&self) -> u8 {
        match self {
            Self::Blake3(_) => 1,
            Self::Sha256(_) => 2,
        }
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        match self {
            Self::Blake3(bytes) | Self::Sha256(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blake3(_) => "Blake3",
            Self::Sha256(_) => "Sha256",
        })
    }
}
