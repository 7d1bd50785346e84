//! What the page says of a client's frames one after the other, as far as it is of their form: the
//! table of section 4, and items put together of their parts (section 5).

use super::super::spec::{self, Code, Stage};
use super::named::{self, Named};

/// Rows of section 4.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    ExpectingHello,
    Authenticating,
    Open,
}

pub struct Page {
    stage: Stage,
    state: State,
    authentications: usize,
    begun: [Vec<u8>; 2],
    /// Transfers that the peer has offered.
    offered: u32,
}

impl Page {
    pub fn new(stage: Stage) -> Self {
        let state = State::ExpectingHello;
        Self { stage, state, authentications: 0, begun: [const { Vec::new() }; 2], offered: 0 }
    }

    pub fn open(&mut self) {
        self.state = State::Open;
    }

    pub fn header(&self, header: [u8; 8]) -> Result<(), Code> {
        let stage = Stage { open: self.state == State::Open, ..self.stage };
        // The table of section 4 comes before the id, and is stricter than what it says of a kind.
        match (self.state, header[3]) {
            (State::ExpectingHello, 0x02 | 0x03) | (State::Authenticating, 0x01) => {
                let with_id_0 = [header[0], header[1], header[2], header[3], 0, 0, 0, 0];
                spec::header(with_id_0, &stage)?;
                Err(Code::Protocol)
            }
            (State::Authenticating, 0x02) if self.authentications == 3 => {
                let with_id_0 = [header[0], header[1], header[2], header[3], 0, 0, 0, 0];
                spec::header(with_id_0, &stage)?;
                Err(Code::Limit)
            }
            _ => spec::header(header, &stage).map(|_| ()),
        }
    }

    /// What is said of the frame beside its form. Before [`payload`](Self::payload).
    pub fn named(&self, header: [u8; 8], payload: Option<&[u8]>) -> Named {
        let begun = Self::lane(header).map_or(&[][..], |lane| &self.begun[lane]);
        let item = payload.map(|payload| [begun, payload].concat());
        named::of(header, item.as_deref(), begun.len(), self.offered)
    }

    fn lane(header: [u8; 8]) -> Option<usize> {
        match header[3] {
            0x0B => Some(usize::from(header[7] & 1)),
            0x40 => Some(0),
            kind if kind & spec::table::ITEM != 0 => Some(1),
            _ => None,
        }
    }

    /// Once the header has been found right.
    pub fn payload(&mut self, header: [u8; 8], payload: &[u8]) -> Result<(), Code> {
        let kind = header[3];
        match kind {
            0x01 => self.state = State::Authenticating,
            0x02 => self.authentications += 1,
            0x03 => self.state = State::Open,
            0x42 | 0x43 => self.offered += 1,
            _ => {}
        }
        let Some(lane) = Self::lane(header) else {
            return spec::payload(kind, payload).map(|_| ());
        };
        if kind == 0x0B {
            spec::payload(kind, payload)?;
            self.begun[lane].extend_from_slice(payload);
            return Ok(());
        }
        let mut item = std::mem::take(&mut self.begun[lane]);
        item.extend_from_slice(payload);
        spec::payload(kind, &item).map(|_| ())
    }
}
