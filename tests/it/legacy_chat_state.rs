//! The chat program's transitions: every state under every input.

use duologue::legacy::{ChatInput, ChatState};

fn serving() -> ChatState {
    ChatState::Serving { peer: "10.0.0.7".into() }
}

fn connecting() -> ChatState {
    ChatState::Connecting { target: "first".into() }
}

fn client() -> ChatState {
    ChatState::Client { peer: "HOST".into() }
}

#[test]
fn every_state_under_every_input() {
    use ChatInput::{ConnectFailed, Disconnect, Listen, PeerLeft};
    use ChatState::{Idle, Listening};

    let connect = || ChatInput::Connect("second".into());
    let nowhere = || ChatInput::Connect(String::new());
    let joined = || ChatInput::PeerJoined("10.0.0.7".into());
    let connected = || ChatInput::Connected("HOST".into());
    let new_attempt = || ChatState::Connecting { target: "second".into() };

    let rows = [
        // The chapter's rows: start, listen, a peer joins and leaves.
        (Idle, Listen, Listening),
        (Listening, joined(), serving()),
        (serving(), PeerLeft, Listening),
        // Its rows for a client: connect, the server leaves.
        (Idle, connect(), new_attempt()),
        (connecting(), connected(), client()),
        (client(), PeerLeft, Listening),
        // Its rows for the way back to idle.
        (Listening, Listen, Idle),
        (client(), Disconnect, Idle),
        (connecting(), ConnectFailed, Idle),
        // The other clicks, each of which acts once.
        (Idle, Disconnect, Idle),
        (Listening, Disconnect, Idle),
        (serving(), Disconnect, Idle),
        (connecting(), Disconnect, Idle),
        (serving(), Listen, Idle),
        (connecting(), Listen, Listening),
        (client(), Listen, Listening),
        (Listening, connect(), new_attempt()),
        (serving(), connect(), new_attempt()),
        (connecting(), connect(), new_attempt()),
        (client(), connect(), new_attempt()),
        (Idle, nowhere(), Idle),
        (Listening, nowhere(), Listening),
        (serving(), nowhere(), serving()),
        (connecting(), nowhere(), connecting()),
        (client(), nowhere(), client()),
        // Late and repeated events.
        (Idle, joined(), Idle),
        (serving(), ChatInput::PeerJoined("10.0.0.8".into()), serving()),
        (connecting(), joined(), connecting()),
        (client(), joined(), client()),
        (Idle, connected(), Idle),
        (Listening, connected(), Listening),
        (serving(), connected(), serving()),
        (client(), ChatInput::Connected("OTHER".into()), client()),
        (Idle, ConnectFailed, Idle),
        (Listening, ConnectFailed, Listening),
        (serving(), ConnectFailed, serving()),
        (client(), ConnectFailed, client()),
        (Idle, PeerLeft, Idle),
        (Listening, PeerLeft, Listening),
        (connecting(), PeerLeft, connecting()),
    ];
    assert_eq!(rows.len(), 5 * 8, "five states, eight inputs");
    for (index, (state, input, expected)) in rows.iter().enumerate() {
        let earlier = rows[..index].iter().any(|(s, i, _)| {
            s == state && std::mem::discriminant(i) == std::mem::discriminant(input) && i == input
        });
        assert!(!earlier, "row {index} stands twice");
        let next = state.clone().next(input.clone());
        assert_eq!(&next, expected, "row {index}: {state:?} under {input:?}");
    }
}

#[test]
fn the_status_is_in_the_chapters_words() {
    let rows = [
        (ChatState::Idle, "", None),
        (ChatState::Listening, "Listening...", None),
        (serving(), "Connected to: 10.0.0.7", Some("10.0.0.7")),
        (connecting(), "", None),
        (client(), "Connected to: HOST", Some("HOST")),
    ];
    for (state, status, peer) in rows {
        assert_eq!(state.status(), status);
        assert_eq!(state.peer(), peer);
    }
    assert_eq!(connecting().failure().as_deref(), Some("Error connecting to : first"));
    assert_eq!(client().failure(), None);
}

#[test]
fn a_peers_name_cannot_draw_on_the_screen() {
    let state = ChatState::Client { peer: "evil\u{1B}[2J\n".into() };
    assert_eq!(state.status(), "Connected to: evil\\u{1b}[2J\\n");
    let state = ChatState::Client { peer: "서울".into() };
    assert_eq!(state.status(), "Connected to: 서울");
}

#[test]
fn a_program_starts_idle() {
    assert_eq!(ChatState::default(), ChatState::Idle);
}
