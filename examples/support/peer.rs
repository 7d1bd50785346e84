//! The application of `sans_io`: what it does with the events of its machine.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Instant;

use duologue::proto::StreamParameters;
use duologue::proto::{Acceptance, ActionError, CloseReason, Conclusion, Connection, Event};
use duologue::time::Time;
use duologue::wire::{Chat, CloseCode, Digest, Finish, Offer, Side, TransferCode, TransferId};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One peer: the client sends its file, the server receives into it.
pub(crate) struct Peer {
    pub(crate) machine: Connection,
    clock: Instant,
    file: File,
    hasher: blake3::Hasher,
    offset: u64,
    finish: Option<Finish>,
    pub(crate) closed: Option<CloseReason>,
}

impl Peer {
    pub(crate) fn new(machine: Connection, file: File, clock: Instant) -> Self {
        let hasher = blake3::Hasher::new();
        Self { machine, clock, file, hasher, offset: 0, finish: None, closed: None }
    }

    pub(crate) fn now(&self) -> Time {
        now(self.clock)
    }

    /// Handles the events that wait.
    pub(crate) fn handle_events(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.machine.poll_event() {
            self.handle(event)?;
        }
        Ok(())
    }

    pub(crate) fn handle(&mut self, event: Event<'_>) -> Result<(), Failure> {
        let now = self.now();
        let machine = &mut self.machine;
        let is_client = machine.side() == Side::Client;
        let item = event.item();
        match event {
            Event::PeerHello { .. } => machine.accept_peer(now)?,
            Event::Open(_) if is_client => {
                machine.send_chat(&Chat::new("Here comes a file."))?;
                let size = self.file.metadata()?.len();
                // Not `seekable`: that would promise to answer `Event::Rewind`.
                machine.offer(&Offer::new("file").size(size), now)?;
            }
            Event::Chat { chat, .. } => {
                println!("{:?} heard: {}", machine.side(), chat.text.escape_debug());
                if !is_client {
                    machine.send_chat(&Chat::new("I am ready."))?;
                }
            }
            Event::Offered { transfer, .. } => {
                machine.accept(transfer, Acceptance::default(), now)?;
            }
            Event::Accepted { transfer, .. } | Event::Writable { transfer, .. } => {
                self.send(transfer)?;
            }
            Event::Data { transfer, data, .. } => {
                self.file.write_all(&data)?;
                self.hasher.update(&data);
                self.offset += data.len() as u64;
                machine.release(transfer, data.len(), now);
                self.conclude_if_whole(transfer)?;
            }
            Event::Finished { transfer, finish, .. } => {
                self.finish = Some(finish);
                self.conclude_if_whole(transfer)?;
            }
            Event::Verdict { code: TransferCode::STORED, total, .. } => {
                println!("{total} bytes are stored, and their digest is right");
                machine.close(CloseCode::DONE, "", now)?;
            }
            Event::Verdict { code, .. } | Event::Rejected { code, .. } => {
                return Err(format!("the file was refused: {code}").into());
            }
            Event::CancelAsked { transfer, code, .. } => {
                machine.conclude(transfer, &Conclusion::Failed { code, text: "" })?;
            }
            Event::Closed(reason) => self.closed = Some(reason),
            _ => {}
        }
        // The application is done with it: only now is it acknowledged. Every item has to be.
        if let Some(item) = item {
            self.machine.take(now, item);
        }
        Ok(())
    }

    /// Sends as much as there is room for; in the end, the digest.
    fn send(&mut self, transfer: TransferId) -> Result<(), Failure> {
        let mut chunk = vec![0; 64 << 10];
        loop {
            self.file.seek(SeekFrom::Start(self.offset))?;
            let len = self.file.read(&mut chunk)?;
            if len == 0 {
                let digest = Digest::Blake3(*self.hasher.finalize().as_bytes());
                self.machine.finish(transfer, Some(digest))?;
                return Ok(());
            }
            match self.machine.send_data(transfer, self.offset, chunk[..len].to_vec().into()) {
                Ok(()) => _ = self.hasher.update(&chunk[..len]),
                // `Event::Writable` tells when there is room; this chunk is read again then.
                Err(ActionError::Blocked) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            self.offset += len as u64;
        }
    }

    /// Data and FINISH travel side by side: either can be the last to come.
    fn conclude_if_whole(&mut self, transfer: TransferId) -> Result<(), Failure> {
        let Some(finish) = self.finish.filter(|finish| finish.total == self.offset) else {
            return Ok(());
        };
        self.file.sync_all()?;
        let is_right = finish.digest == Some(Digest::Blake3(*self.hasher.finalize().as_bytes()));
        self.machine.conclude(
            transfer,
            &match is_right {
                true => Conclusion::Stored { name: "file" },
                false => Conclusion::Failed { code: TransferCode::DIGEST_DIFFERS, text: "" },
            },
        )?;
        Ok(())
    }
}

/// The machine's time: microseconds of any clock that does not go back.
pub(crate) fn now(clock: Instant) -> Time {
    Time::from_micros(clock.elapsed().as_micros() as u64)
}

/// Each stream needs 32 random bytes of its own.
pub(crate) fn random() -> Result<StreamParameters<'static>, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(StreamParameters::new(seed))
}
