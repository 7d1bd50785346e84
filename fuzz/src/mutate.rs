//! Mutators that know how an input is put together. [`frames`] is for targets that read a stream of
//! frames: it takes the stream apart, changes whole frames or fields in them, and puts it together with
//! its lengths right. [`sized`] is for a file with its size before it, [`records`] for a list of changes
//! of the same length each. One input in ten or twenty is left broken, as what is refused at once has to
//! be tried too.
//!
//! The scripts of the other targets have no lengths in them: any byte is an operation, and what it
//! takes comes behind it. They have dictionaries instead.

/// Bytes of a header.
const HEADER: usize = 8;
const PREFACE: [u8; 8] = [0x89, 0x44, 0x55, 0x8F, 0x0D, 0x0A, 0x1A, 0x0A];

/// Kind, id and payload of the shortest frames that are right, and of some with all their fields.
const FRAMES: &[(u8, u32, &[u8])] = &[
    (0x02, 0, b"a"),
    (0x03, 0, b"\x81\x00\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    (0x04, 1, &[0; 8]),
    (0x05, 1, b"data"),
    (0x06, 1, b"\0\0\0\0\0\0\0\x30\0\0\0\0\0\0\0\x20\0\0\0\0\0\0\0\x10"),
    (0x07, 0, &[0; 24]),
    (0x08, 0, b"12345678"),
    (0x09, 0, b"12345678"),
    (0x0A, 0, b"\0\0"),
    (0x0B, 0, &[b'p'; 1024]),
    (0x0B, 1, &[b'p'; 1024]),
    (0x8C, 0, b"\0\x01signal"),
    (0x40, 0, b"\0\0chat"),
    (0x40, 0, b"\0\x0D\x02\0\x01a\x03\0\x06\0\0\0\0\0\x07text"),
    (0x41, 0, b"\0\x01\0\0\0\0\0\0\0\0\x01body"),
    (0x42, 1, b"\x81\0\x01n"),
    (0x42, 2, b"\x81\0\x01m\x02\0\x08\0\0\0\0\0\0\x10\0\x05\0\x01m\x06\0\0\x89\0\x04\0\0\0\x01"),
    (0x42, 2, b"\x81\0\x01d\x89\0\x04\0\0\0\x01\x8A\0\0"),
    (0x43, 1, b"\x81\0\x01b\x82\0\x04\0\0\0\x02\x83\0\x08\0\0\0\0\0\0\0\x09"),
    (0x44, 1, &[0; 8]),
    (0x45, 1, b"\0\x01no"),
    (0x46, 1, b"\x01"),
    (0x47, 1, b"\0\0\0\0\0\0\0\x04\0"),
    (0x48, 1, b"\0\x02no"),
    (0x49, 1, b"\0\0\0\0\0\0\0\0\0\x04name"),
    (0x8D, 7, b"later"),
    (0xC0, 7, b"later"),
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

#[derive(Clone)]
struct Part {
    kind: u8,
    id: u32,
    payload: Vec<u8>,
}

/// What a mutation of plain bytes does: the first `size` of the slice are the input, and what it
/// returns is the new size.
pub type Bytes<'a> = &'a mut dyn FnMut(&mut [u8], usize) -> usize;

/// Mutates `data[..size]`, of which the first `own` bytes are the target's own and the rest is a stream
/// of frames, perhaps with its preface. Returns the new size, at most `data.len()`.
pub fn frames(data: &mut [u8], size: usize, own: usize, seed: u32, bytes: Bytes<'_>) -> usize {
    let mut random = Random(seed.into());
    if size < own || random.one_in(20) {
        return bytes(data, size);
    }
    let (head, stream) = data[..size].split_at(own);
    let mut head = head.to_vec();
    if !head.is_empty() && random.one_in(16) {
        let at = random.below(head.len());
        head[at] = random.next() as u8;
    }
    let (preface, stream) = match stream.strip_prefix(&PREFACE) {
        Some(rest) => (&PREFACE[..], rest),
        None => (&[][..], stream),
    };
    head.extend_from_slice(preface);
    let mut parts = take_apart(stream);
    for _ in 0..=random.below(3) {
        change(&mut parts, &mut random, bytes);
    }
    let broken = random.one_in(20).then(|| random.below(parts.len()));
    let put = put_together(head, &parts, broken, data.len(), &mut random);
    data[..put.len()].copy_from_slice(&put);
    put.len()
}

/// Mutates the chapter's file after the first `own` bytes: four bytes of size, and as many of content.
pub fn sized(data: &mut [u8], size: usize, own: usize, seed: u32, bytes: Bytes<'_>) -> usize {
    let mut random = Random(seed.into());
    let start = own + 4;
    if size < start || random.one_in(20) {
        return bytes(data, size);
    }
    if random.one_in(8) {
        let at = random.below(own);
        data[at] = random.next() as u8;
    }
    let len = bytes(&mut data[start..], size - start);
    let said = match random.below(12) {
        0 => len + 1,
        1 => len.saturating_sub(1),
        2 => random.below(2 * len + 2),
        _ => len,
    };
    if let Ok(encoder) = duologue::legacy::FileEncoder::new(said as u64) {
        data[own..start].copy_from_slice(&encoder.header());
    }
    start + len
}

/// Mutates a list of records of `width` bytes after the first `own` bytes, each on its own: none of
/// them moves into another's place by less than its length.
pub fn records(
    data: &mut [u8],
    size: usize,
    own: usize,
    width: usize,
    seed: u32,
    bytes: Bytes<'_>,
) -> usize {
    let mut random = Random(seed.into());
    if size < own || random.one_in(20) {
        return bytes(data, size);
    }
    let most = data.len();
    let mut head = data[..own].to_vec();
    if !head.is_empty() && random.one_in(8) {
        let at = random.below(head.len());
        head[at] = random.next() as u8;
    }
    let mut list: Vec<Vec<u8>> = data[own..size].chunks_exact(width).map(<[u8]>::to_vec).collect();
    for _ in 0..=random.below(3) {
        let (at, other) = (random.below(list.len()), random.below(list.len()));
        match random.below(if list.is_empty() { 1 } else { 6 }) {
            0 => {
                let place = random.below(list.len() + 1);
                list.insert(place, (0..width).map(|_| random.next() as u8).collect());
            }
            1 => _ = list.remove(at),
            2 => list.swap(at, other),
            3 => list.insert(at, list[other].clone()),
            4 => {
                // A little beside another one.
                let mut record = list[other].clone();
                let place = random.below(width);
                record[place] = record[place].wrapping_add(1 << random.below(7));
                list.insert(at, record);
            }
            _ => {
                bytes(&mut list[at], width);
            }
        }
    }
    let mut out = head;
    for record in &list {
        if out.len() + width <= most {
            out.extend_from_slice(record);
        }
    }
    data[..out.len()].copy_from_slice(&out);
    out.len()
}

/// What is left over at the end becomes a frame as well.
fn take_apart(mut stream: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    while let Some((header, rest)) = stream.split_first_chunk::<HEADER>() {
        let [l0, l1, l2, kind, id @ ..] = *header;
        let length = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
        let (payload, rest) = rest.split_at(length.min(rest.len()));
        parts.push(Part { kind, id: u32::from_be_bytes(id), payload: payload.to_vec() });
        stream = rest;
    }
    parts
}

/// Frames that no longer fit are left out.
fn put_together(
    mut out: Vec<u8>,
    parts: &[Part],
    broken: Option<usize>,
    most: usize,
    random: &mut Random,
) -> Vec<u8> {
    out.truncate(most);
    for (at, part) in parts.iter().enumerate() {
        if out.len() + HEADER + part.payload.len() > most {
            break;
        }
        let mut length = part.payload.len() as u32;
        if broken == Some(at) {
            length = match random.below(4) {
                0 => length.wrapping_add(1),
                1 => length.wrapping_sub(1),
                2 => length ^ 1 << random.below(24),
                _ => random.next() as u32,
            };
        }
        out.extend_from_slice(&length.to_be_bytes()[1..]);
        out.push(part.kind);
        out.extend_from_slice(&part.id.to_be_bytes());
        out.extend_from_slice(&part.payload);
    }
    out
}

fn change(parts: &mut Vec<Part>, random: &mut Random, bytes: Bytes<'_>) {
    let at = random.below(parts.len());
    let other = random.below(parts.len());
    if parts.is_empty() || random.one_in(6) {
        let (kind, id, payload) = FRAMES[random.below(FRAMES.len())];
        let at = random.below(parts.len() + 1);
        parts.insert(at, Part { kind, id, payload: payload.to_vec() });
        return;
    }
    match random.below(10) {
        0 => {
            let part = parts[at].clone();
            parts.insert(other, part);
        }
        1 => _ = parts.remove(at),
        2 => parts.swap(at, other),
        3 => splice(parts, at, other, random),
        4 => {
            parts[at].id = match random.below(4) {
                0 => parts[other].id,
                1 => parts[at].id ^ 1 << 31,
                2 => parts[at].id.wrapping_add(1),
                _ => random.below(6) as u32,
            };
        }
        5 => {
            parts[at].kind = match random.below(3) {
                0 => parts[at].kind ^ 1 << random.below(8),
                1 => FRAMES[random.below(FRAMES.len())].0,
                _ => random.next() as u8,
            };
        }
        6 => change_plain(&mut parts[at].payload, bytes),
        _ => change_field(&mut parts[at], random, bytes),
    }
}

/// The beginning of one payload with the end of another.
fn splice(parts: &mut [Part], at: usize, other: usize, random: &mut Random) {
    let from = parts[other].payload.clone();
    let payload = &mut parts[at].payload;
    payload.truncate(random.below(payload.len() + 1));
    payload.extend_from_slice(&from[random.below(from.len() + 1)..]);
}

fn change_plain(payload: &mut Vec<u8>, bytes: Bytes<'_>) {
    let size = payload.len();
    payload.resize(size + 64, 0);
    let size = bytes(payload, size).min(payload.len());
    payload.truncate(size);
}

type Field = (u8, Vec<u8>);

/// A field of a list, or one of the values that stand one after the other.
fn change_field(part: &mut Part, random: &mut Random, bytes: Bytes<'_>) {
    match part.kind {
        0x01 | 0x03 | 0x42 | 0x43 => {
            if let Some(mut fields) = fields_of(&part.payload) {
                change_fields(&mut fields, random, bytes);
                part.payload = list_of(&fields);
                return;
            }
        }
        0x40 => {
            if let Some((mut fields, text)) = attributes_of(&part.payload) {
                change_fields(&mut fields, random, bytes);
                let list = list_of(&fields);
                let length = u16::try_from(list.len()).unwrap_or(u16::MAX);
                part.payload = [&length.to_be_bytes()[..], &list, &text].concat();
                return;
            }
        }
        _ => {}
    }
    // A number of two or eight bytes on its border.
    let width = if random.one_in(3) { 2 } else { 8 };
    let places = part.payload.len() / width;
    if places == 0 {
        change_plain(&mut part.payload, bytes);
        return;
    }
    let at = random.below(places) * width;
    let value = match random.below(6) {
        0 => 0,
        1 => 1 << 53,
        2 => (1 << 53) - 1,
        3 => u64::MAX,
        4 => 1 << random.below(53),
        _ => random.below(70_000) as u64,
    };
    part.payload[at..at + width].copy_from_slice(&value.to_be_bytes()[8 - width..]);
}

fn fields_of(mut list: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !list.is_empty() {
        let ([tag, high, low], rest) = list.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::from(*high) << 8 | usize::from(*low))?;
        fields.push((*tag, value.to_vec()));
        list = rest;
    }
    Some(fields)
}

fn attributes_of(payload: &[u8]) -> Option<(Vec<Field>, Vec<u8>)> {
    let (length, rest) = payload.split_first_chunk()?;
    let (list, text) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((fields_of(list)?, text.to_vec()))
}

fn list_of(fields: &[Field]) -> Vec<u8> {
    let mut list = Vec::new();
    for (tag, value) in fields {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        list.push(*tag);
        list.extend_from_slice(&length.to_be_bytes());
        list.extend_from_slice(&value[..length.into()]);
    }
    list
}

fn change_fields(fields: &mut Vec<Field>, random: &mut Random, bytes: Bytes<'_>) {
    let (at, other) = (random.below(fields.len()), random.below(fields.len()));
    if fields.is_empty() || random.one_in(5) {
        let number = random.below(13) as u8 | (random.next() as u8 & 0x80);
        let length = [0, 1, 1, 4, 8, 16, 32, 33][random.below(8)];
        let field = (number, vec![random.below(3) as u8; length]);
        // Mostly where it belongs.
        let place = fields.iter().position(|(tag, _)| tag & 0x7F >= number & 0x7F);
        fields.insert(place.unwrap_or(fields.len()), field);
        return;
    }
    match random.below(8) {
        0 => {
            let field = fields[at].clone();
            fields.insert(other, field);
        }
        1 => _ = fields.remove(at),
        2 => fields.swap(at, other),
        3 => fields[at].0 ^= 0x80,
        4 => fields[at].0 = random.next() as u8,
        5 => {
            let length = [0, 1, 2, 127, 128, 255, 256, 4096, 4097][random.below(9)];
            fields[at].1 = vec![b'a'; length];
        }
        _ => change_plain(&mut fields[at].1, bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(own: usize) -> Vec<u8> {
        let parts: Vec<_> = FRAMES
            .iter()
            .map(|(kind, id, payload)| Part { kind: *kind, id: *id, payload: payload.to_vec() })
            .collect();
        put_together(vec![9; own], &parts, None, usize::MAX, &mut Random(0))
    }

    fn is_framed(mut stream: &[u8]) -> bool {
        while let Some((header, rest)) = stream.split_first_chunk::<HEADER>() {
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            match rest.split_at_checked(length as usize) {
                Some((_, rest)) => stream = rest,
                None => return false,
            }
        }
        stream.is_empty()
    }

    /// Flips, cuts and lengthens.
    fn plain(data: &mut [u8], size: usize) -> usize {
        if let Some(byte) = data[..size].first_mut() {
            *byte ^= 0x55;
        }
        if size % 3 == 0 { (size + 3).min(data.len()) } else { size - 1 }
    }

    #[test]
    fn mutated_streams_are_still_framed() {
        const COUNT: u32 = 20_000;
        for own in [0, 1, 24] {
            let (mut broken, mut changed) = (0, 0);
            for seed in 0..COUNT {
                let before = stream(own);
                let mut data = before.clone();
                data.resize(before.len() + 200, 0);
                let size = frames(&mut data, before.len(), own, seed, &mut plain);
                assert!(size <= data.len());
                broken += u32::from(!is_framed(&data[own.min(size)..size]));
                changed += u32::from(data[..size] != before);
            }
            assert!((COUNT / 20..COUNT / 8).contains(&broken), "{broken} of {COUNT} are broken");
            assert!(changed > COUNT * 9 / 10, "{changed} of {COUNT} are changed");
        }
    }

    #[test]
    fn frames_lead_to_frames() {
        // From nothing on, every kind is reached, and no space is overrun.
        let mut data = vec![0; 4096];
        let (mut size, mut seen) = (1, [false; 256]);
        for seed in 0..5000 {
            size = frames(&mut data, size, 1, seed, &mut |_, size| size);
            take_apart(&data[1..size]).iter().for_each(|part| seen[usize::from(part.kind)] = true);
        }
        assert!(FRAMES.iter().all(|(kind, ..)| seen[usize::from(*kind)]));
    }

    #[test]
    fn a_field_is_changed_with_its_lengths() {
        let mut changed = 0;
        for seed in 0..500 {
            for (kind, id, payload) in FRAMES.iter().filter(|(kind, ..)| *kind == 0x42) {
                let mut part = Part { kind: *kind, id: *id, payload: payload.to_vec() };
                change_field(&mut part, &mut Random(seed), &mut plain);
                assert!(fields_of(&part.payload).is_some());
                changed += u32::from(part.payload != *payload);
            }
        }
        assert!(changed > 1000, "{changed}");
    }

    #[test]
    fn a_file_mostly_has_the_size_that_is_said() {
        let (mut right, mut size) = (0, 6);
        let mut data = vec![0; 300];
        for seed in 0..2000 {
            size = sized(&mut data, size, 2, seed, &mut |bytes, size| {
                plain(bytes, size.max(1).min(bytes.len()))
            });
            assert!(size <= data.len());
            let said = duologue::legacy::FileEncoder::new((size as u64).saturating_sub(6));
            right += u32::from(size >= 6 && data[2..6] == said.expect("it is short").header());
        }
        assert!((1000..1900).contains(&right), "{right} of 2000 are right");
    }

    #[test]
    fn records_stay_where_they_begin() {
        let before: Vec<u8> = [7].into_iter().chain((0..40).map(|n| n / 4)).collect();
        let mut kept = 0;
        for seed in 0..2000 {
            let mut data = before.clone();
            data.resize(60, 0);
            let size = records(&mut data, before.len(), 1, 4, seed, &mut plain);
            assert!(size <= data.len());
            let is_whole = size % 4 == 1;
            let same = |record: &[u8]| record.iter().all(|byte| *byte == record[0]);
            let count = data[1..size.max(1)].chunks_exact(4).filter(|record| same(record)).count();
            kept += u32::from(is_whole && count >= 5);
        }
        assert!(kept > 1800, "{kept} of 2000 kept most of theirs");
    }
}
