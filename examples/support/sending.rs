//! What `send_file` does in its conversation.
//!
//! Teaches: `fs::send` and `fs::send_tree`, several transfers at once, and what to do when the
//! receiver has forgotten the conversation.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use duologue::fs::{LeftOut, NameError, SendError, TreeEvent, TreeOptions, send, send_tree};
use duologue::proto::{ActionError, Opening};
use duologue::session::{Event, Events, Session, SessionError, TransferError};
use duologue::wire::{CloseCode, Message, TransferCode};
use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt};

use super::bars::Bars;
use super::programs::{Failure, path_line, printable};
use super::receiving::IDENTITY;

/// Files and folders that are sent at a time.
const AT_A_TIME: usize = 4;

/// Milliseconds to wait while the receiver is busy with the same file: in all longer than the 60 s
/// after which it gives up a sender that vanished without a word.
const BUSY: [u64; 9] = [100, 250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000];

/// How often in a row a receiver may forget the conversation before it is given up.
const RESTARTS: u32 = 10;

/// Sends files and folders in one conversation.
pub(crate) struct Sender<'a> {
    session: &'a Session,
    identity: Option<&'a str>,
    pub(crate) bars: Bars,
}

/// What became of a path.
enum Sent {
    /// Everything was told; so many files were not stored.
    Told { failed: u32 },
    /// The receiver forgot it with the conversation.
    Again,
}

impl<'a> Sender<'a> {
    /// Who sends is told, if that was asked for.
    pub(crate) fn new(session: &'a Session, identity: Option<&'a str>) -> Self {
        Self { session, identity, bars: Bars::new() }
    }

    /// Sends everything, and says how many files were not stored.
    pub(crate) async fn send_all(
        &self,
        paths: &[PathBuf],
        mut events: Events,
    ) -> Result<u32, Failure> {
        let mut left: VecDeque<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let (mut failed, mut restarts) = (0, 0);
        while !left.is_empty() {
            if let Some(reason) = self.opened(&mut events).await? {
                for path in left {
                    failed += 1;
                    self.failed(path, &reason)?;
                }
                return Ok(failed);
            }
            // Dropping a round drops its transfers, before those of the next one are numbered.
            let before = left.len();
            failed += self.send_round(&mut left, &mut events).await?;
            restarts = if left.len() < before { 0 } else { restarts + 1 };
            if restarts > RESTARTS {
                let _ = self.session.close(CloseCode::SHUTDOWN, "");
            }
        }
        Ok(failed)
    }

    /// Waits until the conversation is open, or tells why it never will be.
    async fn opened(&self, events: &mut Events) -> Result<Option<String>, Failure> {
        while !self.session.is_open() {
            match events.next().await {
                Some(Event::Closed(reason)) => return Ok(Some(reason.to_string())),
                Some(event) => self.tell(&event),
                None => return Ok(Some(self.session.closed().await.to_string())),
            }
        }
        Ok(None)
    }

    /// Sends what is left until all of it has been told, or the conversation begins anew or ends.
    async fn send_round(
        &self,
        left: &mut VecDeque<&Path>,
        events: &mut Events,
    ) -> Result<u32, Failure> {
        let (mut failed, mut waiting) = (0, left.clone());
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < AT_A_TIME {
                let Some(path) = waiting.pop_front() else { break };
                running.push(async move { (path, self.send(path).await) });
            }
            if running.is_empty() {
                return Ok(failed);
            }
            match select(events.next(), running.next()).await {
                Either::Left((Some(event @ Event::Open(Opening::Fresh)), _)) => {
                    self.tell(&event);
                    return Ok(failed);
                }
                Either::Left((Some(Event::Closed(_)) | None, _)) => return Ok(failed),
                Either::Left((Some(event), _)) => self.tell(&event),
                Either::Right((Some((path, sent)), _)) => match sent? {
                    Sent::Told { failed: more } => {
                        failed += more;
                        left.retain(|other| *other != path);
                    }
                    Sent::Again => return Ok(failed),
                },
                Either::Right((None, _)) => return Ok(failed),
            }
        }
    }

    fn tell(&self, event: &Event) {
        match event {
            Event::Attempt { number, wait, failure } => {
                let why = failure.as_ref().map_or_else(String::new, |error| format!(": {error}"));
                self.bars.tell(format_args!("Connecting again in {wait:.1?} ({number}){why}"));
            }
            Event::Open(Opening::Resumed) => self.bars.tell("The conversation goes on."),
            Event::Open(Opening::Fresh) => self.bars.tell("The conversation begins anew."),
            _ => {}
        }
    }

    async fn send(&self, path: &Path) -> Result<Sent, Failure> {
        let sent = if path.is_dir() { self.folder(path).await? } else { self.file(path).await? };
        Ok(match sent {
            Ok(failed) => Sent::Told { failed },
            // The conversation began anew, or ended: everybody finds that out. Or no verdict came.
            Err(
                SendError::Transfer(TransferError::Abandoned(_) | TransferError::Unanswered)
                | SendError::Session(
                    SessionError::Ended(_) | SessionError::Refused(ActionError::NotOpen),
                ),
            ) => Sent::Again,
            Err(error) => {
                self.failed(path, &reason(&error))?;
                Sent::Told { failed: 1 }
            }
        })
    }

    /// Says who sends, if that was asked for; what is offered next comes after it.
    async fn introduce(&self) -> Result<(), SessionError> {
        let Some(name) = self.identity else { return Ok(()) };
        let body = name.as_bytes().into();
        let message = Message { message_type: IDENTITY, is_reply: false, correlation: 0, body };
        self.session.send_message(&message).await.map(drop)
    }

    async fn file(&self, path: &Path) -> Result<Result<u32, SendError>, Failure> {
        if let Err(error) = self.introduce().await {
            return Ok(Err(error.into()));
        }
        let bar = self.bars.file(&path.to_string_lossy());
        let mut waits = BUSY.iter();
        loop {
            match send(self.session, path, |progress| bar.show(progress)).await {
                Ok(sent) => return self.stored(&sent).map(|()| Ok(0)),
                Err(error) if is_busy(&error) => match waits.next() {
                    Some(wait) => {
                        smol::Timer::after(Duration::from_millis(*wait)).await;
                    }
                    None => return Ok(Err(error)),
                },
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    async fn folder(&self, path: &Path) -> Result<Result<u32, SendError>, Failure> {
        if let Err(error) = self.introduce().await {
            return Ok(Err(error.into()));
        }
        let bar = self.bars.folder(&path.to_string_lossy());
        let (mut failed, mut said) = (0, Ok(()));
        let tree = send_tree(self.session, path, TreeOptions::new(), |event| {
            let line = match event {
                TreeEvent::Stored { sent, .. } => {
                    bar.count();
                    self.stored(&sent)
                }
                // The folder is sent again.
                TreeEvent::Failed {
                    error:
                        SendError::Transfer(TransferError::Abandoned(_) | TransferError::Unanswered),
                    ..
                } => Ok(()),
                TreeEvent::Failed { path: member, error } => {
                    failed += 1;
                    self.failed(&path.join(member), &reason(&error))
                }
                TreeEvent::LeftOut { path: member, reason: why } if !is_meant(why) => {
                    failed += 1;
                    self.failed(&path.join(member), &why.to_string())
                }
                TreeEvent::LeftOut { path: member, reason } => {
                    let member = path.join(member);
                    let member = printable(&member.to_string_lossy());
                    self.bars.tell(format_args!("Left out {member}: {reason}"));
                    Ok(())
                }
                _ => Ok(()),
            };
            if said.is_ok() {
                said = line;
            }
        })
        .await;
        drop(bar);
        said?;
        match tree {
            Err(error) => Ok(Err(error)),
            // Of members that failed was told; what else there is concerns the folder itself.
            Ok(tree) => match tree.verdict {
                Err(error) if failed == 0 => Ok(Err(error.into())),
                _ => Ok(Ok(failed)),
            },
        }
    }

    fn stored(&self, sent: &duologue::fs::Sent) -> Result<(), Failure> {
        let name = printable(sent.verdict.name().unwrap_or_default());
        let digest: String =
            sent.digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        self.bars.say(format!("Stored {name} {} {digest}", sent.bytes))
    }

    fn failed(&self, path: &Path, reason: &str) -> Result<(), Failure> {
        self.bars.say(path_line("Failed ", path, format_args!(" {}", printable(reason))))
    }
}

/// Whether another transfer of the same file holds what the receiver has of it; it may be one of a
/// sender before us that was cut off.
fn is_busy(error: &SendError) -> bool {
    matches!(error, SendError::Transfer(TransferError::NotStored(verdict))
        if verdict.code() == TransferCode::BUSY)
}

/// Whether a file that is not sent is none of those that the user wants to be sent.
fn is_meant(why: LeftOut) -> bool {
    matches!(why, LeftOut::Kind | LeftOut::Name(NameError::Special | NameError::Temporary))
}

/// Why a file was not stored, with the receiver's words.
fn reason(error: &SendError) -> String {
    match error {
        SendError::Transfer(TransferError::NotStored(verdict)) if !verdict.text().is_empty() => {
            format!("{error}: {}", verdict.text())
        }
        _ => error.to_string(),
    }
}
