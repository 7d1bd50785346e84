//! The chapter's chat, both of its roles: `ChatReader` and `ChatWriter` on the two halves of a stream,
//! and `ChatState`, the program's transitions without its I/O.

use std::pin::pin;
use std::time::Duration;

use duologue::legacy::{
    ChatInput, ChatReader, ChatSendError, ChatState, ChatWriter, TextDecoder, TextEncoder,
};
use duologue::net::{Listener, Stream, Target, connect};
use futures::channel::mpsc;
use futures::future::{Either, select};
use futures::{AsyncReadExt, StreamExt};

use crate::support::programs::{Failure, Mode, input_lines, printable, say, tell};

/// Between two messages, as nothing in the format keeps them apart.
const PAUSE: Duration = Duration::from_millis(30);

/// How long a peer gets to say its last words after ours.
const FAREWELL: Duration = Duration::from_secs(5);

/// Listens or calls, as the program was told to.
pub(crate) async fn run(mode: Mode, encoding: &str) -> Result<(), Failure> {
    let mut lines = Lines::new();
    match mode {
        Mode::Listen(target) => listen(&target, encoding, &mut lines).await,
        Mode::Connect(target, text) => {
            let state = ChatState::Idle.next(ChatInput::Connect(text));
            let stream = connect(&target).await.map_err(|error| {
                let failure = state.failure().unwrap_or_default();
                format!("{failure} ({error})")
            })?;
            let state = state.next(ChatInput::Connected(stream.peer().to_string()));
            tell(state.status());
            match converse(stream, encoding, &mut lines).await? {
                Over::Input => Ok(()),
                Over::Peer => {
                    tell("The peer has left.");
                    match lines.left_over().await {
                        Some(line) => Err(not_sent(&line).into()),
                        None => Ok(()),
                    }
                }
                Over::Broken(error) => Err(error),
            }
        }
    }
}

async fn listen(target: &Target, encoding: &str, lines: &mut Lines) -> Result<(), Failure> {
    let mut listener = Listener::bind(target).await?;
    let mut state = ChatState::Idle.next(ChatInput::Listen);
    let mut broken = None;
    tell(format_args!("{}\nAddress: {}", state.status(), listener.local_address()));
    loop {
        // Without a line to send and without more to come there is nobody to wait for.
        let stream = {
            match select(pin!(listener.accept()), pin!(lines.ended())).await {
                Either::Left((stream, _)) => stream?,
                // If the last conversation broke, the last words may have been lost with it.
                Either::Right(_) => return broken.map_or(Ok(()), Err),
            }
        };
        state = state.next(ChatInput::PeerJoined(stream.peer().to_string()));
        tell(state.status());
        let over = {
            let conversation = pin!(converse(stream, encoding, lines));
            match select(conversation, pin!(refuse_others(&mut listener))).await {
                Either::Left((over, _)) => over?,
                Either::Right((error, _)) => return Err(error),
            }
        };
        broken = match over {
            Over::Input => return Ok(()),
            Over::Peer => None,
            Over::Broken(error) => {
                tell(printable(&error.to_string()));
                Some(error)
            }
        };
        // Meant for the one who has left, and for nobody else.
        if let Some(line) = lines.drop_unsent() {
            tell(not_sent(&line));
        }
        state = state.next(ChatInput::PeerLeft);
        tell(state.status());
    }
}

/// A chat is between two: who connects meanwhile is let go at once.
async fn refuse_others(listener: &mut Listener) -> Failure {
    loop {
        match listener.accept().await {
            Ok(stream) => tell(format_args!("Refused: {}", stream.peer())),
            Err(error) => return error.into(),
        }
    }
}

fn not_sent(line: &str) -> String {
    format!("Not sent: {}", printable(line))
}

/// Why a conversation ended.
enum Over {
    /// Everything was sent, and there is no more.
    Input,
    /// The peer closed.
    Peer,
    /// The connection broke.
    Broken(Failure),
}

/// Sends lines and prints messages until one side has had enough.
async fn converse(stream: Stream, encoding: &str, lines: &mut Lines) -> Result<Over, Failure> {
    let (mut incoming, mut outgoing) = stream.split();
    let mut reader = ChatReader::with_decoder(TextDecoder::for_label(encoding)?);
    // A peer may be silent for ever, but not refuse to read for ever.
    let mut writer = ChatWriter::with_encoder(TextEncoder::for_label(encoding)?)
        .limits(duologue::io::Limits::default());
    let receiving = async {
        loop {
            match reader.receive(&mut incoming).await {
                Ok(Some(message)) => say(printable(&message))?,
                Ok(None) => return Ok(Over::Peer),
                Err(error) => return Ok(Over::Broken(error.into())),
            }
        }
    };
    let sending = async {
        while let Some(line) = lines.next().await {
            match writer.send(&mut outgoing, line).await {
                Ok(()) => {}
                // Only this line cannot be said in this encoding.
                Err(error @ ChatSendError::Unmappable(_)) => tell(error),
                Err(error) => return Err(error),
            }
            lines.sent();
            smol::Timer::after(PAUSE).await;
        }
        writer.close(&mut outgoing).await
    };
    let mut receiving = pin!(receiving);
    match select(pin!(sending), receiving.as_mut()).await {
        Either::Left((Ok(()), _)) => {
            // Its last words would be lost with a connection that is closed over them.
            match select(receiving, pin!(smol::Timer::after(FAREWELL))).await {
                Either::Left((Ok(Over::Peer), _)) => Ok(Over::Input),
                Either::Left((over, _)) => over,
                Either::Right(_) => Ok(Over::Input),
            }
        }
        Either::Left((Err(error), _)) => Ok(Over::Broken(error.into())),
        Either::Right((over, _)) => over,
    }
}

/// The lines of standard input, one at a time: a line leaves it only when it has been sent.
struct Lines {
    incoming: mpsc::Receiver<String>,
    /// The line to send next.
    waiting: Option<String>,
}

impl Lines {
    fn new() -> Self {
        Self { incoming: input_lines(), waiting: None }
    }

    /// The line to send next, the same one until it is [`sent`](Self::sent); `None` at the end.
    async fn next(&mut self) -> Option<&str> {
        if self.waiting.is_none() {
            self.waiting = self.incoming.next().await;
        }
        self.waiting.as_deref()
    }

    fn sent(&mut self) {
        self.waiting = None;
    }

    /// The line that was being sent, or the next one if there is one already; with it all that
    /// follows is left over.
    async fn left_over(&mut self) -> Option<String> {
        let ready = smol::Timer::after(PAUSE);
        match select(pin!(self.next()), ready).await {
            Either::Left((line, _)) => line.map(str::to_owned),
            Either::Right(_) => None,
        }
    }

    /// Gives up the line that was being sent.
    fn drop_unsent(&mut self) -> Option<String> {
        self.waiting.take()
    }

    /// Waits until there is nothing to send and never will be.
    async fn ended(&mut self) {
        if self.next().await.is_some() {
            std::future::pending().await
        }
    }
}
