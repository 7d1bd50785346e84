//! H32, H42, H44: metadata without measure, handshakes that somebody alters, and work that grows with
//! what is equal.

use std::fmt::Write;

use duologue::fs::{Collision, Error, Member};
use duologue::proto::{Acceptor, Config, Connection, Event, StreamParameters};
use duologue::testing::ShadowDisk;
use duologue::time::Time;
use duologue::wire::{
    Batch, Chat, CloseCode, DecodeReason, Kind, Limits, Message, Offer, Side, TransferId,
};

use super::fs_util::{PEER, digest, on, small};
use super::proto_duo::{said, tell};
use super::raw_peer::{ROLES, RawPeer};

const KEYS: usize = 1_000_000;
const DEEP: usize = 100_000;

/// Takes the largest messages that can be allowed.
fn huge() -> Config {
    Config::builder().max_item(16 << 20).max_untaken_bytes(16 << 20).build().unwrap()
}

/// Sends an item of this kind, in as many frames as it takes.
fn send_item(
    peer: &mut RawPeer,
    kind: Kind,
    id: u32,
    payload: &[u8],
) -> Result<(), duologue::proto::Error> {
    let mut chunks = payload.chunks(16_384).peekable();
    while let Some(chunk) = chunks.next() {
        match chunks.peek() {
            Some(_) => peer.send_raw(Kind::PART, u32::from(kind != Kind::CHAT), chunk)?,
            None => peer.send_raw(kind, id, chunk)?,
        }
    }
    Ok(())
}

/// Fields that are as an offer's metadata, or unknown ones, again and again.
fn fields(count: usize, tag: impl Fn(usize) -> u8) -> Vec<u8> {
    (0..count).flat_map(|n| [tag(n), 0, 1, b'x']).collect()
}

#[test]
fn h32_a_million_keys_cost_no_memory_before_they_are_refused() {
    let same = fields(KEYS, |_| 0x05);
    let unknown = fields(KEYS, |n| if n == 0 { 0x30 } else { 0x31 });
    // Four megabytes of one field, which can say at most 64 KiB; a part of them is no metadata yet.
    for (list, reason) in [(same, "its fields have an order"), (unknown, "each comes once")] {
        let name = [&[0, 1, b'x'][..], &list].concat();
        let mut result = None;
        let counted = allocation_counter::measure(|| {
            result = Some(Offer::decode(&name).map(drop));
        });
        let error = result.unwrap().expect_err(reason);
        assert_eq!(error.reason(), DecodeReason::OutOfOrder, "{reason}");
        assert!(counted.bytes_max < 1024, "{counted:?}");
        for victim in ROLES {
            let mut peer = RawPeer::open_with(victim, huge(), Limits::default());
            let id = peer.ours(1);
            let result = send_item(&mut peer, Kind::OFFER, id, &name);
            peer.assert_refused(result, CloseCode::MALFORMED);
            // By default it is refused long before.
            let mut peer = RawPeer::open(victim);
            let id = peer.ours(1);
            let result = send_item(&mut peer, Kind::OFFER, id, &name);
            peer.assert_refused(result, CloseCode::TOO_LARGE);
            assert!(peer.victim().memory_usage() < 1 << 20);
        }
    }
}

#[test]
fn h32_a_million_keys_or_levels_in_a_message_are_handed_on_as_they_are() {
    let mut keys = String::new();
    for n in 0..KEYS {
        write!(keys, "{n}:1,").unwrap();
    }
    let same = "k:1,".repeat(KEYS);
    let levels = "{\"k\":".repeat(DEEP);
    for text in [keys, same, levels] {
        let mut peer = RawPeer::open_with(Side::Server, huge(), Limits::default());
        let (message_type, is_reply, correlation) = (1, false, 0);
        let body = text.as_bytes().into();
        let message = Message { message_type, is_reply, correlation, body };
        let mut payload = Vec::new();
        message.encode(&mut payload).unwrap();
        send_item(&mut peer, Kind::MESSAGE, 0, &payload).unwrap();
        let mut chat = Vec::new();
        Chat::new(&*text).encode(&mut chat).unwrap();
        send_item(&mut peer, Kind::CHAT, 0, &chat).unwrap();
        peer.assert_bounded();
        let came = |event: &Event<'_>| match event {
            Event::Message { message, .. } => *message.body == *text.as_bytes(),
            Event::Chat { chat, .. } => chat.text == text,
            other => panic!("{other:?}"),
        };
        assert!(peer.events.len() == 2 && peer.events.iter().all(came));
    }
}

fn client() -> Connection {
    Connection::client(Config::default(), StreamParameters::new([1; 32]), Time::ZERO)
}

/// The handshake up to where both know what the other said, perhaps with one bit of one side's
/// altered; the hashes that the two have then, if they got that far.
fn hashes(altered: Option<(bool, usize)>) -> Option<[[u8; 32]; 2]> {
    let alter = |mut bytes: Vec<u8>, of_client: bool| {
        if let Some((_, bit)) = altered.filter(|(is_client, _)| *is_client == of_client) {
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        bytes
    };
    let mut client = client();
    let hello = alter(said(&mut client, Time::ZERO), true);
    let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([2; 32]), Time::ZERO);
    let mut rest = &hello[..];
    while acceptor.request().is_none() && !rest.is_empty() {
        rest = &rest[acceptor.handle_input(Time::ZERO, rest).ok()?.0..];
    }
    let mut server = acceptor.accept(Time::ZERO).ok()?;
    let answer = alter(said(&mut server, Time::ZERO), false);
    tell(&mut client, Time::ZERO, &answer, true).ok()?;
    Some([client.handshake_hash()?, server.handshake_hash()?])
}

#[test]
fn h42_a_hello_that_is_altered_on_the_way_is_refused_or_seen_by_who_authenticates() {
    let [near, far] = hashes(None).unwrap();
    assert_eq!(near, far);
    let len = said(&mut client(), Time::ZERO).len();
    let (mut refused, mut seen) = (0, 0);
    for (is_client, bit) in
        [true, false].into_iter().flat_map(|is| (0..len * 8).map(move |b| (is, b)))
    {
        match hashes(Some((is_client, bit))) {
            None => refused += 1,
            // Features, limits, versions, nonces: whatever was taken off shows in what both sign.
            Some([near, far]) => {
                assert_ne!(near, far, "bit {bit}, of the client: {is_client}");
                seen += 1;
            }
        }
    }
    assert!(refused > 1000 && seen > 500, "{refused} refused, {seen} seen");
}

#[test]
fn h44_many_equal_members_cost_no_more_each_than_the_second() {
    const MEMBERS: u32 = 5000;
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small()).unwrap();
    let batch = Batch {
        name: "b".into(),
        count: MEMBERS,
        bytes: u64::from(MEMBERS),
        metadata: [][..].into(),
    };
    let mut receiver = inbox.receive_batch(PEER, &batch).unwrap();
    let id = TransferId::new(Side::Client, 1).unwrap();
    let mut calls = Vec::new();
    for n in 0..MEMBERS {
        let before = disk.calls();
        // Equal, or equal for a file system that folds.
        let name = if n % 2 == 0 { "deep/down/straße" } else { "deep/down/STRASSE" };
        let member = receiver.receive(&Offer::new(name).size(1).batch(id));
        match member {
            Ok(Member::File(mut file)) if n == 0 => {
                file.write(&["x".into()]).unwrap();
                file.publish(1, Some(digest(b"x"))).map(drop).unwrap();
            }
            other => assert_eq!(other.unwrap_err(), Error::Exists, "{n}"),
        }
        calls.push(disk.calls() - before);
    }
    assert!(calls[1..].iter().all(|calls| *calls <= 2), "{calls:?}");
    assert_eq!(disk.names().len(), 4);
}

#[test]
fn h44_a_member_reads_few_of_the_files_that_have_its_name() {
    const LEN: usize = 100_000;
    let disk = ShadowDisk::new();
    let inbox = on(&disk, small().collision(Collision::Number)).unwrap();
    let id = TransferId::new(Side::Client, 1).unwrap();
    let batch = Batch { name: "b".into(), count: 1, bytes: LEN as u64, metadata: [][..].into() };
    let mut receiver = inbox.receive_batch(PEER, &batch).unwrap();
    let offer = Offer::new("m").size(LEN as u64).batch(id);
    let Ok(Member::File(mut file)) = receiver.receive(&offer) else { panic!("it is a file") };
    let content = vec![1; LEN];
    file.write(&[content.clone().into()]).unwrap();
    // As long as it, and not it.
    disk.write("b/m", &[2; LEN]);
    for n in 1..=900 {
        disk.write(&format!("b/m ({n})"), &[2; LEN]);
    }
    let before = disk.calls();
    let path = file.publish(LEN as u64, Some(digest(&content))).unwrap();
    let calls = disk.calls() - before;
    assert_eq!(format!("{path:?}").matches("m (901)").count(), 1, "{path:?}");
    assert!((901..980).contains(&calls), "{calls} calls for 901 names and four files");
}

#[test]
fn h44_many_equal_offers_cost_a_bounded_number_of_tries_each() {
    let disk = ShadowDisk::new();
    // So many were there before.
    for n in 1..=960 {
        disk.write(&format!("same ({n}).txt"), b"");
    }
    let inbox = on(&disk, small().collision(Collision::Number)).unwrap();
    let (mut stored, mut most) = (0, 0);
    for n in 0..60 {
        let before = disk.calls();
        // Another part each, of one name.
        let offer = Offer::new("same.txt").size(1).modified(n);
        let mut receiver = inbox.receive(PEER, &offer).unwrap();
        receiver.write(&["x".into()]).unwrap();
        match receiver.finish(1, Some(digest(b"x"))) {
            Ok(_) => stored += 1,
            Err(error) => assert_eq!(error, Error::Collisions),
        }
        most = most.max(disk.calls() - before);
    }
    assert_eq!(stored, 40, "the name, and those up to 999 with a number");
    assert!((1000..1025).contains(&most), "{most} calls for one offer");
    let mut names = disk.names();
    names.retain(|name| name != ".duologue-stored.table");
    assert!(names.len() == 1000 && names.iter().all(|name| name.starts_with("same")));
}
