//! A peer's stream through two decoders: the crate's, and the slow one of [`spec`](super::spec), which
//! was written from PROTOCOL.md. They accept and refuse the same, with the same code, and read the
//! same out of what they accept; and the machine, which knows more, refuses what the page refuses.

mod named;
mod ours;
mod page;
mod server;

use duologue::wire::HEADER_LEN;

use self::named::Named;
use self::page::Page;
use self::server::Server;
use super::spec::{self, Code, Stage};

/// Frames at most.
const FRAMES: usize = 300;

/// The first byte says which limits count and where the machine stands; the rest is the stream.
pub fn run(data: &[u8]) {
    let [mode, input @ ..] = data else { return };
    let stage = Stage { open: true, frame: 1024 << (mode % 7), fragment: 1024 << (mode / 7 % 5) };
    let mut input = input;
    let mut server = Some(Server::new(&stage));
    let mut page = Page::new(stage);
    match mode >> 6 {
        0 | 1 => {
            server.as_mut().expect("it is new").open();
            page.open();
        }
        2 => server.as_mut().expect("it is new").preface(&spec::table::PREFACE),
        _ => {
            let (preface, rest) = input.split_at(input.len().min(8));
            let is_right = server.as_mut().expect("it is new").preface_by_bytes(preface);
            server = server.filter(|_| is_right);
            input = rest;
        }
    }
    for _ in 0..FRAMES {
        let Some((header, rest)) = input.split_first_chunk::<HEADER_LEN>() else { break };
        let length =
            usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let payload = rest.split_at_checked(length).map(|(payload, _)| payload);
        alone(*header, payload, stage);
        server = server.filter(|server| !server.is_closed());
        if let Some(server) = &mut server {
            machine(server, &mut page, *header, payload);
        }
        input = rest.get(length..).unwrap_or_default();
    }
}

/// One frame, by the two decoders, where its kind may stand.
fn alone(header: [u8; HEADER_LEN], payload: Option<&[u8]>, stage: Stage) {
    let open = !spec::table::ONLY_BEFORE_OPEN.contains(&header[3]);
    let stage = Stage { open, ..stage };
    let theirs = spec::header(header, &stage);
    assert_eq!(
        ours::header(header, &stage),
        theirs.map(|_| ()),
        "header {header:02x?} under {stage:?}"
    );
    let (Ok(theirs), Some(payload)) = (theirs, payload) else { return };
    let theirs = spec::payload(theirs.kind, payload);
    let ours = ours::payload(header, payload);
    match (&ours, &theirs) {
        (Ok(Some(ours)), Ok(Some(theirs))) => assert_eq!(ours.dump(), theirs.dump()),
        _ => assert_eq!(ours, theirs, "{header:02x?} {payload:02x?}"),
    }
}

/// One frame for the machine, its header first.
fn machine(server: &mut Server, page: &mut Page, header: [u8; HEADER_LEN], payload: Option<&[u8]>) {
    let mut verdict = page.header(header);
    let has_payload = header[..3] != [0; 3];
    let named = page.named(header, payload);
    // What is wrong with the payload is told by the header alone if it is short; and that stands here
    // for all that the page has of a frame without payload.
    let form = match (verdict, payload) {
        (Ok(()), Some(payload)) => page.payload(header, payload),
        _ => Ok(()),
    };
    if !has_payload && verdict.is_ok() {
        verdict = form;
    }
    let said = server.feed(&header);
    judge(header, verdict, said, has_payload.then_some(form), named);
    if !has_payload {
        must_be_refused(header, named, verdict, said);
    }
    let (Ok(()), Ok(()), Some(payload), true) = (verdict, said, payload, has_payload) else {
        return;
    };
    let said = server.feed(payload);
    judge(header, form, said, None, named);
    must_be_refused(header, named, form, said);
}

/// What the machine said, beside what the page says: of right form, a frame is refused with the code
/// that the page names for it, and never with another.
fn judge(
    header: [u8; HEADER_LEN],
    page: Result<(), Code>,
    machine: Result<(), Code>,
    later: Option<Result<(), Code>>,
    named: Named,
) {
    let is_right = match (page, machine) {
        (Ok(()), Ok(())) => true,
        (Ok(()), Err(code)) => named.has(code) || later == Some(Err(code)),
        // A HELLO's role is judged before what is not supported, and is not the decoder's to judge.
        (Err(Code::Unsupported), Err(Code::Role)) if header[3] == 1 => true,
        (Err(page), Err(machine)) => page == machine,
        (Err(_), Ok(())) => false,
    };
    let said = "the page says";
    assert!(is_right, "{header:02x?}: {said} {page:?} and {named:?}, the machine {machine:?}");
}

/// A whole frame that the page forbids here is not accepted.
fn must_be_refused(
    header: [u8; HEADER_LEN],
    named: Named,
    form: Result<(), Code>,
    machine: Result<(), Code>,
) {
    let is_accepted = form.is_ok() && machine.is_ok();
    assert!(
        !(is_accepted && named.must.is_some()),
        "{header:02x?}: accepted in spite of {named:?}"
    );
}
