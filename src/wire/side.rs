/// Which end of a conversation: who opened the stream, or who was waiting for it.
///
/// # Examples
///
/// ```
/// use duologue::wire::Side;
///
/// assert_eq!(Side::Client.opposite(), Side::Server);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Sends its HELLO first, and makes the conversation's id.
    Client,
    /// Answers.
    Server,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// The byte that stands for it in HELLO and in a proof: 0 or 1.
    pub const fn to_u8(self) -> u8 {
        match self {
            Self::Client => 0,
            Self::Server => 1,
        }
    }
}
