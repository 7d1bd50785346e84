use alloc::format;
use alloc::string::String;

/// Where the chapter's chat program stands: one role at a time, one peer at a time.
///
/// The original kept two flags and let event handlers call button handlers, so that a role once
/// taken was never left and one click could act twice. Here the state is one value, and
/// [`next`](Self::next) one table:
///
/// | | `Idle` | `Listening` | `Serving` | `Connecting` | `Client` |
/// |---|---|---|---|---|---|
/// | `Listen` | `Listening` | `Idle` | `Idle` | `Listening` | `Listening` |
/// | `Connect` | `Connecting` | `Connecting` | `Connecting` | `Connecting` | `Connecting` |
/// | `Disconnect` | – | `Idle` | `Idle` | `Idle` | `Idle` |
/// | `PeerJoined` | – | `Serving` | – (refused) | – | – |
/// | `Connected` | – | – | – | `Client` | – |
/// | `ConnectFailed` | – | – | – | `Idle` | – |
/// | `PeerLeft` | – | – | `Listening` | – | `Listening` |
///
/// A dash leaves the state as it is: a late or repeated event does nothing. Connecting to an empty
/// target does nothing either. Whoever leaves a state closes what belongs to it: the listener of
/// `Listening` and `Serving`, the stream of `Serving` and `Client`, the attempt of `Connecting`.
///
/// # Examples
///
/// ```
/// use duologue::legacy::{ChatInput, ChatState};
///
/// let state = ChatState::Idle.next(ChatInput::Listen);
/// assert_eq!(state.status(), "Listening...");
/// let state = state.next(ChatInput::PeerJoined("10.0.0.7".into()));
/// assert_eq!(state.status(), "Connected to: 10.0.0.7");
/// assert_eq!(state.next(ChatInput::PeerLeft), ChatState::Listening);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChatState {
    /// Neither listening nor connected.
    #[default]
    Idle,
    /// Waiting for a peer to connect.
    Listening,
    /// A peer has connected to us.
    Serving {
        /// Its address.
        peer: String,
    },
    /// We are connecting to a peer.
    Connecting {
        /// Where to.
        target: String,
    },
    /// We have connected to a peer.
    Client {
        /// Its name or address.
        peer: String,
    },
}

/// What moves a [`ChatState`]: the program's three buttons, and what the connection reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChatInput {
    /// The button Listen, which also switches listening off.
    Listen,
    /// The button Connect, with the target typed in.
    Connect(String),
    /// The button Disconnect.
    Disconnect,
    /// A peer with this address has connected.
    PeerJoined(String),
    /// Our connection stands, to the peer of this name or address.
    Connected(String),
    /// Our connection could not be made.
    ConnectFailed,
    /// The peer has closed the connection, or it broke.
    PeerLeft,
}

impl ChatState {
    /// The state after `input`.
    #[must_use]
    pub fn next(self, input: ChatInput) -> Self {
        match (self, input) {
            (Self::Idle | Self::Connecting { .. } | Self::Client { .. }, ChatInput::Listen) => {
                Self::Listening
            }
            (Self::Listening | Self::Serving { .. }, ChatInput::Listen)
            | (_, ChatInput::Disconnect)
            | (Self::Connecting { .. }, ChatInput::ConnectFailed) => Self::Idle,
            (_, ChatInput::Connect(target)) if !target.is_empty() => Self::Connecting { target },
            (Self::Listening, ChatInput::PeerJoined(peer)) => Self::Serving { peer },
            (Self::Connecting { .. }, ChatInput::Connected(peer)) => Self::Client { peer },
            (Self::Serving { .. } | Self::Client { .. }, ChatInput::PeerLeft) => Self::Listening,
            (state, _) => state,
        }
    }

    /// The peer that a message would go to.
    pub fn peer(&self) -> Option<&str> {
        match self {
            Self::Serving { peer } | Self::Client { peer } => Some(peer),
            Self::Idle | Self::Listening | Self::Connecting { .. } => None,
        }
    }

    /// The chapter's words for the status bar; none while idle or connecting.
    ///
    /// Control characters in a peer's name are escaped.
    pub fn status(&self) -> String {
        match self {
            Self::Idle | Self::Connecting { .. } => String::new(),
            Self::Listening => "Listening...".into(),
            Self::Serving { peer } | Self::Client { peer } => {
                format!("Connected to: {}", peer.escape_debug())
            }
        }
    }

    /// The chapter's words for an attempt to connect that fails in this state.
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::Connecting { target } => {
                Some(format!("Error connecting to : {}", target.escape_debug()))
            }
            _ => None,
        }
    }
}
