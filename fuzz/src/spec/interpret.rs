//! Reads the tables. One value after the other, in the order in which the page has them.

use std::fmt::Write as _;

use super::table::{self, Code, Field, Id, Kind, Most, Type};

/// What of the conversation a single frame is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    pub open: bool,
    /// The limits of the receiver's HELLO, which count once the conversation is open.
    pub frame: u64,
    pub fragment: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub length: usize,
    pub kind: u8,
    pub id: u32,
}

/// A value as it is compared and printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    Bytes(Vec<u8>),
    Text(String),
}

/// A frame that was accepted: its fields under their full names, in the order of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub name: &'static str,
    pub fields: Vec<(String, Value)>,
    /// Of HELLO, which is not refused for it before its version has been judged.
    pub has_unknown_critical: bool,
}

impl Frame {
    pub fn new(name: &'static str) -> Self {
        Self { name, fields: Vec::new(), has_unknown_critical: false }
    }

    pub fn push(&mut self, name: impl Into<String>, value: Value) {
        self.fields.push((name.into(), value));
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Whether the field, or a part of it, is there.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| {
            known == name
                || known
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('.') || rest.starts_with('['))
        })
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    pub fn length(&self, name: &str) -> Option<usize> {
        match self.get(name) {
            Some(Value::Bytes(bytes)) => Some(bytes.len()),
            Some(Value::Text(text)) => Some(text.len()),
            _ => None,
        }
    }

    /// One line for each field.
    pub fn dump(&self) -> String {
        let mut out = self.name.to_owned();
        for (name, value) in &self.fields {
            out.push('\n');
            out.push_str(name);
            out.push_str(" = ");
            match value {
                Value::Number(number) => write!(out, "{number}").unwrap(),
                Value::Text(text) => write!(out, "{text:?}").unwrap(),
                Value::Bytes(bytes) => {
                    for byte in bytes {
                        write!(out, "{byte:02x}").unwrap();
                    }
                }
            }
        }
        out
    }
}

/// Section 2: "They are refused at the first wrong byte." How many bytes are right, if not all are.
pub fn preface(bytes: &[u8]) -> Result<(), usize> {
    for (at, (is, should)) in bytes.iter().zip(table::PREFACE).enumerate() {
        if *is != should {
            return Err(at);
        }
    }
    Ok(())
}

fn known(kind: u8) -> Option<&'static Kind> {
    table::KINDS.iter().find(|known| known.code == kind)
}

/// The checks on the header alone: length, kind, the table of section 4, id.
pub fn header(bytes: [u8; 8], stage: &Stage) -> Result<Header, Code> {
    let length =
        usize::from(bytes[0]) * 65536 + usize::from(bytes[1]) * 256 + usize::from(bytes[2]);
    let kind = bytes[3];
    let id = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);

    let row = known(kind);
    let most = match row {
        Some(row) => row.most,
        None if kind & table::ITEM != 0 => table::OTHERS_WITH_BIT_6,
        None => table::OTHERS,
    };
    for most in most {
        let most = match most {
            Most::Bytes(bytes) => *bytes,
            Most::Frame if stage.open => stage.frame,
            Most::Fragment if stage.open => stage.fragment,
            Most::Frame => 65536,
            Most::Fragment => 16384,
        };
        if length as u64 > most {
            return Err(Code::TooLarge);
        }
    }

    if row.is_none() && (kind & table::SKIP == 0 || !stage.open) {
        return Err(Code::Unsupported);
    }

    section_4(kind, stage.open)?;

    match row.map_or(Id::Any, |row| row.id) {
        Id::Zero if id != 0 => return Err(Code::Malformed),
        Id::Lane if id > 1 => return Err(Code::Malformed),
        Id::Channel if id != 0 => return Err(Code::Unsupported),
        Id::Transfer if id % (1 << 31) == 0 => return Err(Code::Malformed),
        _ => {}
    }
    Ok(Header { length, kind, id })
}

/// The table of section 4, as far as it does not depend on what came before.
pub fn section_4(kind: u8, open: bool) -> Result<(), Code> {
    let allowed = if open {
        !table::ONLY_BEFORE_OPEN.contains(&kind)
    } else {
        table::BEFORE_OPEN.contains(&kind)
    };
    if allowed { Ok(()) } else { Err(Code::Protocol) }
}

/// The payload of a frame, or of an item that was put together, whose header has been found right.
/// None: a kind that is skipped.
pub fn payload(kind: u8, bytes: &[u8]) -> Result<Option<Frame>, Code> {
    let Some(row) = known(kind) else {
        return Ok(None);
    };
    let mut frame = Frame::new(row.name);
    let mut rest = bytes;
    for (name, value) in row.fields {
        rest = read(name, value, rest, &mut frame)?;
    }
    if !rest.is_empty() {
        return Err(Code::Malformed);
    }
    if !(row.together)(&frame) {
        return Err(Code::Malformed);
    }
    if row.name == "HELLO" {
        hello(&frame)?;
    }
    Ok(Some(frame))
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), Code> {
    if bytes.len() < at {
        return Err(Code::Malformed);
    }
    Ok(bytes.split_at(at))
}

/// One value from the beginning of the bytes; what is left of them.
fn read<'a>(name: &str, value: &Type, bytes: &'a [u8], into: &mut Frame) -> Result<&'a [u8], Code> {
    match value {
        Type::Transfer => {
            let rest =
                read(name, &Type::Number { size: 4, least: 0, most: table::U32 }, bytes, into)?;
            let number = into.number(name).map(|id| id % (1 << 31));
            if number == Some(0) { Err(Code::Malformed) } else { Ok(rest) }
        }
        Type::Number { size, least, most } => {
            let (number, rest) = split(bytes, *size)?;
            let mut sum = 0_u64;
            for byte in number {
                sum = sum << 8 | u64::from(*byte);
            }
            if sum < *least || sum > *most {
                return Err(Code::Malformed);
            }
            into.push(name, Value::Number(sum));
            Ok(rest)
        }
        Type::Opaque { least, most } => {
            if bytes.len() < *least || bytes.len() > *most {
                return Err(Code::Malformed);
            }
            into.push(name, Value::Bytes(bytes.to_vec()));
            Ok(&[])
        }
        Type::Fixed(size) => {
            let (value, rest) = split(bytes, *size)?;
            into.push(name, Value::Bytes(value.to_vec()));
            Ok(rest)
        }
        Type::Text { least, most, nul } => {
            if bytes.len() < *least || bytes.len() > *most {
                return Err(Code::Malformed);
            }
            let Ok(text) = String::from_utf8(bytes.to_vec()) else {
                return Err(Code::Malformed);
            };
            if !nul && text.contains('\0') {
                return Err(Code::Malformed);
            }
            into.push(name, Value::Text(text));
            Ok(&[])
        }
        Type::Digest { none } => {
            let (algorithm, rest) = split(bytes, 1)?;
            let Some((number, _, length)) =
                table::DIGESTS.iter().find(|(number, ..)| *number == algorithm[0])
            else {
                return Err(Code::Unsupported);
            };
            if *number == 0 && !none {
                return Err(Code::Malformed);
            }
            let (digest, rest) = split(rest, *length)?;
            into.push(format!("{name}.algorithm"), Value::Number(u64::from(*number)));
            into.push(format!("{name}.bytes"), Value::Bytes(digest.to_vec()));
            Ok(rest)
        }
        Type::DigestUnlessZero(other) => {
            if into.number(other) == Some(0) {
                return Ok(bytes);
            }
            read(name, &Type::Digest { none: false }, bytes, into)
        }
        Type::Record(values, rule) => {
            let mut rest = bytes;
            let mut numbers = Vec::new();
            for (part, value) in *values {
                let full = format!("{name}.{part}");
                rest = read(&full, value, rest, into)?;
                numbers.extend(into.number(&full));
            }
            if !rule(&numbers) {
                return Err(Code::Malformed);
            }
            Ok(rest)
        }
        Type::Ascending(values) => {
            let mut rest = bytes;
            let mut last = None;
            let mut count = 0;
            while !rest.is_empty() || count == 0 {
                for (at, (part, value)) in values.iter().enumerate() {
                    let full = format!("{name}[{count}].{part}");
                    rest = read(&full, value, rest, into)?;
                    if at == 0 {
                        let number = into.number(&full);
                        if last.is_some() && number <= last {
                            return Err(Code::Malformed);
                        }
                        last = number;
                    }
                }
                count += 1;
            }
            Ok(rest)
        }
        Type::List(fields) => {
            list(fields, bytes, into)?;
            Ok(&[])
        }
        Type::CountedList(fields) => {
            let (length, rest) = split(bytes, 2)?;
            let length = usize::from(length[0]) * 256 + usize::from(length[1]);
            let (inside, rest) = split(rest, length)?;
            list(fields, inside, into)?;
            Ok(rest)
        }
        Type::None(code) => {
            split(bytes, 1)?;
            if bytes.len() > 1 {
                return Err(Code::Malformed);
            }
            Err(*code)
        }
    }
}

/// One field of a TLV list cut off: its type, its value, and what follows.
fn field(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), Code> {
    let (head, rest) = split(bytes, 3)?;
    let length = usize::from(head[1]) * 256 + usize::from(head[2]);
    let (value, rest) = split(rest, length)?;
    Ok((head[0], value, rest))
}

/// "Fields are judged in the order in which they stand, then what is missing": what may not stand
/// beside each other is judged by the caller. An unknown critical field of HELLO is only noted.
fn list(fields: &'static [Field], bytes: &[u8], into: &mut Frame) -> Result<(), Code> {
    let mut rest = bytes;
    let mut last: Option<u8> = None;
    while !rest.is_empty() {
        let (number, value, after) = field(rest)?;
        rest = after;
        let low = number & 0x7F;
        if last.is_some_and(|last| low <= last) {
            return Err(Code::Malformed);
        }
        last = Some(low);
        let Some(known) = fields.iter().find(|known| known.number & 0x7F == low) else {
            if number & 0x80 != 0 {
                if into.name != "HELLO" {
                    return Err(Code::Unsupported);
                }
                into.has_unknown_critical = true;
            }
            continue;
        };
        if known.number != number {
            return Err(Code::Malformed);
        }
        if !read(known.name, &known.value, value, into)?.is_empty() {
            return Err(Code::Malformed);
        }
    }
    for known in fields {
        if known.required && !into.has(known.name) {
            return Err(Code::Malformed);
        }
    }
    Ok(())
}

/// Section 3: the order in which a HELLO is judged once its form has been found right. The role is
/// for who knows its own.
fn hello(frame: &Frame) -> Result<(), Code> {
    let (lowest, highest) = (frame.number("version.lowest"), frame.number("version.highest"));
    if lowest > Some(table::VERSION) || highest < Some(table::VERSION) {
        return Err(Code::Version);
    }
    if frame.number("stream") != Some(0) || frame.has_unknown_critical {
        return Err(Code::Unsupported);
    }
    Ok(())
}
