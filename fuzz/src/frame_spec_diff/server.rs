//! The machine, as a server whose application accepts all it is offered.

use duologue::proto::{Acceptance, Acceptor, Config, Connection, Error, Event, StreamParameters};
use duologue::time::Time;
use duologue::wire::{
    CloseCode, ConversationId, Frame, Hello, Limits, PREFACE, Resume, Side, TransferId,
};

use super::super::spec::{self, Code, Stage};

const NOW: Time = Time::from_micros(1);

enum Machine {
    Acceptor(Box<Acceptor>),
    Connection(Box<Connection>),
    Closed,
}

pub struct Server(Machine);

impl Server {
    pub fn new(stage: &Stage) -> Self {
        let config = Config::builder()
            .max_frame(stage.frame as u32)
            .max_fragment(stage.fragment as u32)
            .build()
            .expect("within the ranges");
        let acceptor = Acceptor::new(config, StreamParameters::new([1; 32]), NOW);
        Self(Machine::Acceptor(Box::new(acceptor)))
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.0, Machine::Closed)
    }

    /// A handshake as it should be.
    pub fn open(&mut self) {
        let hello = Hello {
            lowest_version: 1,
            highest_version: 1,
            side: Side::Client,
            nonce: [2; 32],
            conversation: ConversationId::new([3; 16]),
            attach: 0,
            stream: 0,
            features: 0,
            limits: Limits::default(),
            unknown_critical: None,
        };
        let mut bytes = PREFACE.to_vec();
        Frame::Hello(hello).encode(0, &mut bytes).expect("it is valid");
        Frame::Resume(Resume::default()).encode(0, &mut bytes).expect("it is valid");
        assert_eq!(self.feed(&bytes), Ok(()));
        assert!(matches!(&self.0, Machine::Connection(connection) if connection.is_open()));
    }

    pub fn preface(&mut self, bytes: &[u8]) {
        assert_eq!(self.feed(bytes), Ok(()));
    }

    /// Whether it is one; it is refused at its first wrong byte.
    pub fn preface_by_bytes(&mut self, bytes: &[u8]) -> bool {
        let wrong = spec::preface(bytes).err();
        for (at, byte) in bytes.iter().enumerate() {
            let is_right = match &mut self.0 {
                Machine::Acceptor(acceptor) => acceptor.handle_input(NOW, &[*byte]).is_ok(),
                _ => unreachable!("only a HELLO makes a connection"),
            };
            assert_eq!(is_right, wrong != Some(at), "byte {at} of {bytes:02x?}");
            if !is_right {
                return false;
            }
        }
        bytes.len() == PREFACE.len()
    }

    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Code> {
        while !bytes.is_empty() {
            let used = match &mut self.0 {
                Machine::Closed => break,
                Machine::Acceptor(acceptor) => match acceptor.handle_input(NOW, bytes) {
                    Ok((used, request)) => {
                        if request.is_some() {
                            self.accept();
                        }
                        used
                    }
                    Err(error) => return self.refused(error),
                },
                Machine::Connection(connection) => match connection.handle_input(NOW, bytes) {
                    Ok((used, event)) => {
                        let answer = event.as_ref().map(Answer::to);
                        self.answer(answer);
                        used
                    }
                    Err(error) => return self.refused(error),
                },
            };
            bytes = &bytes[used..];
            self.poll();
        }
        Ok(())
    }

    fn refused(&mut self, error: Error) -> Result<(), Code> {
        self.0 = Machine::Closed;
        if error == Error::Incomplete {
            // A GOODBYE before the HELLO: closed, and no violation.
            return Ok(());
        }
        Err(match error.code() {
            Some(CloseCode::VERSION) => Code::Version,
            Some(CloseCode::UNSUPPORTED) => Code::Unsupported,
            Some(CloseCode::MALFORMED) => Code::Malformed,
            Some(CloseCode::PROTOCOL) => Code::Protocol,
            Some(CloseCode::TOO_LARGE) => Code::TooLarge,
            Some(CloseCode::LIMIT) => Code::Limit,
            Some(CloseCode::ROLE) => Code::Role,
            Some(CloseCode::CREDIT) => Code::Credit,
            Some(CloseCode::STALE | CloseCode::PROOF | CloseCode::FLOOD) => Code::State,
            other => panic!("no violation has the code {other:?}"),
        })
    }

    fn accept(&mut self) {
        if let Machine::Acceptor(acceptor) = std::mem::replace(&mut self.0, Machine::Closed) {
            let connection = acceptor.accept(NOW).expect("its HELLO came");
            self.0 = Machine::Connection(Box::new(connection));
        }
    }

    fn poll(&mut self) {
        while let Machine::Connection(connection) = &mut self.0 {
            let Some(event) = connection.poll_event() else { break };
            let answer = Answer::to(&event);
            self.answer(Some(answer));
        }
    }

    fn answer(&mut self, answer: Option<Answer>) {
        let (Some(answer), Machine::Connection(connection)) = (answer, &mut self.0) else { return };
        if let Some(item) = answer.item {
            connection.take(NOW, item);
        }
        match answer.what {
            What::Nothing => {}
            What::Peer => connection.accept_peer(NOW).expect("it is asked for"),
            What::Offer(transfer) => {
                // One that the peer has cancelled meanwhile is not.
                let _ = connection.accept(transfer, Acceptance::default(), NOW);
            }
            What::Data(transfer, len) => connection.release(transfer, len, NOW),
            What::End => self.0 = Machine::Closed,
        }
    }
}

/// What the application does about an event.
struct Answer {
    item: Option<duologue::proto::ItemId>,
    what: What,
}

enum What {
    Nothing,
    Peer,
    Offer(TransferId),
    Data(TransferId, usize),
    End,
}

impl Answer {
    fn to(event: &Event<'_>) -> Self {
        let what = match event {
            Event::PeerHello { .. } => What::Peer,
            Event::Offered { transfer, .. } | Event::BatchOffered { transfer, .. } => {
                What::Offer(*transfer)
            }
            Event::Data { transfer, data, .. } => What::Data(*transfer, data.len()),
            Event::Goodbye { .. } | Event::Closed(_) => What::End,
            _ => What::Nothing,
        };
        Self { item: event.item(), what }
    }
}
