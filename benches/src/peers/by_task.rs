//! The loop by hand where a task of its own moves the bytes of each end, and the application talks to
//! it through channels: what that costs alone, without a protocol.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::TEXT;
use super::talk::{self, Talk};
use crate::Result;
use crate::measure::Sample;
use crate::streams::Stream;

/// Messages that wait in a channel at most.
const WAITING: usize = 64;

/// The application's end.
struct End {
    messages: mpsc::Receiver<String>,
    answers: mpsc::Sender<String>,
}

impl End {
    /// Starts the task that has the stream. Each message is as long as the others.
    fn new<S: Stream>(mut stream: S) -> Self {
        let (to_application, messages) = mpsc::channel(WAITING);
        let (answers, mut from_application) = mpsc::channel::<String>(WAITING);
        tokio::spawn(async move {
            let mut buffer = [0; TEXT.len()];
            let mut filled = 0;
            loop {
                tokio::select! {
                    read = stream.read(&mut buffer[filled..]) => {
                        filled += read?;
                        if filled == buffer.len() {
                            filled = 0;
                            to_application.send(std::str::from_utf8(&buffer)?.to_owned()).await?;
                        }
                    }
                    text = from_application.recv() => {
                        let Some(text) = text else { break };
                        stream.write_all(text.as_bytes()).await?;
                    }
                }
            }
            Ok::<(), crate::Error>(())
        });
        Self { messages, answers }
    }

    async fn hear(&mut self) -> Result<String> {
        Ok(self.messages.recv().await.ok_or("the stream ended")?)
    }
}

impl Talk for End {
    async fn there_and_back(&mut self) -> Result<()> {
        self.answers.send(TEXT.to_owned()).await?;
        std::hint::black_box(self.hear().await?);
        Ok(())
    }
}

/// One message there, one back.
///
/// # Errors
///
/// Those of the streams.
pub async fn ping_pong<S: Stream>(near: S, far: S, count: u64) -> Result<Sample> {
    let (near, mut far) = (End::new(near), End::new(far));
    tokio::spawn(async move {
        loop {
            let text = far.hear().await?;
            far.answers.send(text).await?;
        }
        #[expect(unreachable_code, reason = "says the type of the errors")]
        Ok::<(), crate::Error>(())
    });
    talk::ping_pong(near, count).await
}
