//! What `recv_file` does with an offer.
//!
//! Teaches: `fs::Inbox` with `fs::receive` and `fs::receive_batch`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use duologue::fs::{BatchEvent, Error, Inbox, ReceiveError, receive, receive_batch};
use duologue::session::{BatchOffer, IncomingOffer};
use duologue::wire::TransferCode;

use super::asker::Asker;
use super::bars::Bars;
use super::programs::{Failure, path_line, printable};

/// The type of the message by which a sender says its `--identity`, ahead of its offers.
pub(crate) const IDENTITY: u16 = 1;

/// What is accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accept {
    All,
    Ask,
    None,
}

/// Where files go, and which.
pub(crate) struct Intake {
    inbox: Inbox,
    folder: PathBuf,
    accept: Accept,
    identity: Option<String>,
    asker: Asker,
    /// A folder that is offered again, as some of it is here.
    expected: Mutex<Option<(String, u32, u64)>>,
    pub(crate) bars: Bars,
}

impl Intake {
    pub(crate) fn new(
        inbox: Inbox,
        folder: PathBuf,
        accept: Accept,
        identity: Option<String>,
    ) -> Self {
        let (asker, bars) = (Asker::new(), Bars::new());
        Self { inbox, folder, accept, identity, asker, expected: Mutex::default(), bars }
    }

    /// Whether a client that says this of itself is received from.
    pub(crate) fn knows(&self, identity: Option<&[u8]>) -> bool {
        let wanted = self.identity.as_ref();
        wanted.is_none_or(|wanted| identity == Some(wanted.as_bytes()))
    }

    /// Whether an offer is wanted, or why not.
    async fn is_wanted(&self, is_known: bool, what: String) -> Result<(), &'static str> {
        if !is_known {
            return Err("another --identity is received from");
        }
        match self.accept {
            Accept::All => Ok(()),
            Accept::Ask if self.asker.ask(&self.bars, &what).await => Ok(()),
            _ => Err("declined"),
        }
    }

    pub(crate) async fn file(
        &self,
        peer: &str,
        is_known: bool,
        offer: IncomingOffer,
    ) -> Result<Tally, Failure> {
        let name = printable(&offer.offer().name);
        let size = offer.offer().size.map_or_else(String::new, |size| format!(", {size} bytes"));
        // What will be refused anyway is not asked about.
        let question = format!("{peer} offers {name}{size}");
        let wanted = match self.inbox.check(offer.offer()) {
            Err(_) if is_known => Ok(()),
            _ => self.is_wanted(is_known, question).await,
        };
        if let Err(reason) = wanted {
            let _ = offer.reject(TransferCode::DECLINED, reason);
            return self.failed(peer, &format_args!("{reason}: {name}")).map(|()| Tally::FAILED);
        }
        let bar = self.bars.file(&name);
        let received =
            receive(offer, &self.inbox, self.identity(), |progress| bar.show(progress)).await;
        drop(bar);
        match received {
            Ok(file) => self.stored(file.path.as_str(), file.bytes).map(|()| Tally::STORED),
            // Of a sender before it that was cut off, perhaps without a word: it will ask again.
            Err(ReceiveError::Storage(Error::Busy)) => {
                self.bars.tell(format_args!("{peer} has to wait: {name} is being received"));
                Ok(Tally::default())
            }
            Err(error) => {
                self.failed(peer, &format_args!("{error}: {name}")).map(|()| Tally::FAILED)
            }
        }
    }

    pub(crate) async fn folder(
        &self,
        peer: &str,
        is_known: bool,
        offer: BatchOffer,
    ) -> Result<Tally, Failure> {
        let batch = offer.batch();
        let (name, count, bytes) = (printable(&batch.name), batch.count, batch.bytes);
        let question = format!("{peer} offers the folder {name}, {count} entries, {bytes} bytes");
        // One that was wanted, and is offered again only to go on, is not asked about.
        let expected = self.expected.lock().unwrap().take();
        let is_expected = expected.is_some_and(|it| it == (name.clone(), count, bytes));
        let wanted = match is_known && is_expected {
            true => Ok(()),
            false => self.is_wanted(is_known, question).await,
        };
        if let Err(reason) = wanted {
            let _ = offer.reject(TransferCode::DECLINED, reason);
            return self.failed(peer, &format_args!("{reason}: {name}")).map(|()| Tally::FAILED);
        }
        let (mut tally, mut said) = (Tally::default(), Ok(()));
        let bar = self.bars.folder(&name);
        let received = receive_batch(offer, &self.inbox, self.identity(), |event| {
            let line = match event {
                // A folder has no digest, and no line.
                BatchEvent::Stored(file) if file.digest.is_none() => return,
                BatchEvent::Stored(file) => {
                    bar.count();
                    tally.stored += 1;
                    self.stored(file.path.as_str(), file.bytes)
                }
                BatchEvent::Failed { name: member, error } => {
                    tally.failed += 1;
                    self.failed(peer, &format_args!("{error}: {name}/{}", printable(&member)))
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
        if let Err(ReceiveError::Storage(Error::KnownInPart)) = received {
            self.bars.tell(format_args!("{peer} goes on with {name}"));
            *self.expected.lock().unwrap() = Some((name, count, bytes));
        } else if let Err(error) = received {
            tally.failed += 1;
            self.failed(peer, &format_args!("{error}: {name}"))?;
        }
        Ok(tally)
    }

    /// Whom the parts belong to.
    fn identity(&self) -> Option<&[u8]> {
        self.identity.as_deref().map(str::as_bytes)
    }

    fn stored(&self, path: &str, bytes: u64) -> Result<(), Failure> {
        let path = self.folder.join(Path::new(&printable(path)));
        self.bars.say(path_line("Stored ", &path, format_args!(" {bytes}")))
    }

    pub(crate) fn failed(&self, peer: &str, reason: &dyn std::fmt::Display) -> Result<(), Failure> {
        self.bars.say(format!("Failed {peer} {}", printable(&reason.to_string())))
    }
}

/// What came of a conversation.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) has_opened: bool,
    pub(crate) stored: u32,
    pub(crate) failed: u32,
}

impl Tally {
    const STORED: Self = Self { has_opened: true, stored: 1, failed: 0 };
    const FAILED: Self = Self { has_opened: true, stored: 0, failed: 1 };

    pub(crate) fn add(&mut self, more: &Self) {
        self.stored += more.stored;
        self.failed += more.failed;
    }

    /// How a program for one conversation ends.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        match (self.stored, self.failed) {
            (0, 0) => Err("nothing was stored".into()),
            (_, 0) => Ok(()),
            (_, failed) => Err(format!("not stored: {failed}").into()),
        }
    }
}
