//! B2: file to file over loopback TCP.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;

use bytes::Bytes;
use duologue::fs::{Durability, InboxOptions, receive, send};
use duologue::session::Event;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::{SinkExt, StreamExt};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::arguments::Arguments;
use crate::measure::{Sample, Stopwatch, Subject, rounds};
use crate::peers::{ours, yamux};
use crate::report::{Bar, Figure, Limit, Report, Table};
use crate::streams::{RENO, both, one_thread, tcp};
use crate::{Error, Result};

const CHUNK: usize = 256 << 10;

/// What a loop by hand does beside moving bytes.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Hashes at both ends, while it reads and while it writes.
    hashes: bool,
    /// Into a new file that gets its name at the end, rather than over the old one.
    is_fresh: bool,
    /// Synchronises the file, and the folder after it has its name.
    syncs: bool,
}

/// Where everything is.
#[derive(Debug, Clone)]
struct Place {
    source: PathBuf,
    folder: PathBuf,
    total: u64,
}

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir_in(&arguments.dir)?;
    let total = arguments.amount(1 << 30);
    let source = folder.path().join("source");
    write_source(&source, total)?;
    let place = &Place { source, folder: folder.path().to_owned(), total };
    fs::copy(&place.source, place.folder.join("existing"))?;
    let by_hand =
        |hashes, is_fresh, syncs| move || by_threads(place, Way { hashes, is_fresh, syncs });
    let subjects = vec![
        Subject::new("std", by_hand(false, false, false)),
        Subject::new("std, new file", by_hand(false, true, false)),
        Subject::new("std, BLAKE3", by_hand(true, false, false)),
        Subject::new("std, BLAKE3, new file", by_hand(true, true, false)),
        Subject::new("ours, NoSync", move || by_us(place, Durability::NoSync)),
        Subject::new("LengthDelimited/64k", move || by_codec(place)),
        Subject::new("yamux/64k", move || by_yamux(place)),
        Subject::new("std, BLAKE3, new file, syncs", by_hand(true, true, true)),
        Subject::new("ours, Full", move || by_us(place, Durability::Full)),
    ];
    report.add(&Table {
        row: "b2",
        title: format!("a file of {total} bytes to a file, {RENO}, {}", arguments.dir.display()),
        unit: "GB/s",
        cpu: "CPU s/GiB",
        base: "std",
        cases: rounds(arguments, subjects)?,
        bars: vec![
            Bar::new("ours, NoSync", Figure::Ratio("std"), Limit::AtLeast(0.66))
                .goal(Limit::AtLeast(0.95)),
            Bar::new(
                "ours, Full",
                Figure::Ratio("std, BLAKE3, new file, syncs"),
                Limit::AtLeast(1.0),
            ),
        ],
        notes: vec![
            "std: two threads, 256 KiB at a time, over a file that is there, no digest".into(),
            "ours: BLAKE3 at both ends, a part file that gets its name when it is whole".into(),
            "LengthDelimited and yamux: one thread that reads and writes files in place, no digest"
                .into(),
        ],
    });
    Ok(())
}

fn write_source(path: &Path, total: u64) -> Result<()> {
    let mut file = File::create(path)?;
    let mut left = total;
    let mut block = vec![0; CHUNK];
    for (number, bytes) in block.chunks_mut(8).enumerate() {
        bytes.copy_from_slice(&(number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    }
    while left > 0 {
        let len = left.min(CHUNK as u64);
        file.write_all(&block[..len as usize])?;
        left -= len;
    }
    Ok(file.sync_all()?)
}

impl Place {
    /// The file that is written, and its name at the end.
    fn target(&self, is_fresh: bool) -> Result<(File, PathBuf, PathBuf)> {
        let name = self.folder.join(if is_fresh { "new" } else { "existing" });
        let now = if is_fresh { self.folder.join("part") } else { name.clone() };
        let file = File::options().write(true).create(is_fresh).truncate(false).open(&now)?;
        Ok((file, now, name))
    }
}

fn blocking_pair() -> Result<(TcpStream, TcpStream)> {
    let (near, far) = one_thread()?.block_on(async {
        let (near, far) = tcp().await?;
        Ok::<_, Error>((near.into_std()?, far.into_std()?))
    })?;
    near.set_nonblocking(false)?;
    far.set_nonblocking(false)?;
    Ok((near, far))
}

fn by_threads(place: &Place, way: Way) -> Result<Sample> {
    let (mut near, mut far) = blocking_pair()?;
    let (mut file, now, name) = place.target(way.is_fresh)?;
    let watch = Stopwatch::new();
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let (mut source, mut buffer) = (File::open(&place.source)?, vec![0; CHUNK]);
            let mut hasher = blake3::Hasher::new();
            loop {
                let len = source.read(&mut buffer)?;
                if len == 0 {
                    return Ok::<_, Error>((near, hasher.finalize()));
                }
                if way.hashes {
                    hasher.update(&buffer[..len]);
                }
                near.write_all(&buffer[..len])?;
            }
        });
        let (mut buffer, mut left) = (vec![0; CHUNK], place.total);
        let mut hasher = blake3::Hasher::new();
        while left > 0 {
            let len = far.read(&mut buffer)?;
            if len == 0 {
                return Err("the stream ended early".into());
            }
            if way.hashes {
                hasher.update(&buffer[..len]);
            }
            file.write_all(&buffer[..len])?;
            left -= len as u64;
        }
        if way.syncs {
            file.sync_all()?;
        }
        fs::rename(&now, &name)?;
        if way.syncs {
            File::open(&place.folder)?.sync_all()?;
        }
        let (_near, sent) = sender.join().map_err(|_| "the sender panicked")??;
        if sent != hasher.finalize() {
            return Err("the digests differ".into());
        }
        Ok::<_, Error>(())
    })?;
    let sample = watch.bytes(place.total);
    if way.is_fresh {
        fs::remove_file(name)?;
    }
    Ok(sample)
}

fn by_us(place: &Place, durability: Durability) -> Result<Sample> {
    let folder = tempfile::tempdir_in(&place.folder)?;
    let inbox = InboxOptions::new().durability(durability).open(folder.path())?;
    let (source, total) = (place.source.clone(), place.total);
    one_thread()?.block_on(async move {
        let (near, far) = tcp().await?;
        let (near, mut far) = ours::pair(near, far).await?;
        let watch = Stopwatch::new();
        let sender = async move {
            send(&near.session, source, |_| ()).await?;
            Ok(near)
        };
        let receiver = async move {
            loop {
                if let Event::Offer(offer) = far.event().await? {
                    receive(offer, &inbox, None, |_| ()).await?;
                    return Ok(far);
                }
            }
        };
        both(sender, receiver).await?;
        Ok(watch.bytes(total))
    })
}

fn by_codec(place: &Place) -> Result<Sample> {
    const FRAME: usize = 64 << 10;
    let (mut source, mut target) = (File::open(&place.source)?, place.target(false)?.0);
    let total = place.total;
    one_thread()?.block_on(async move {
        let (near, far) = tcp().await?;
        let mut near = Framed::new(near, LengthDelimitedCodec::new());
        let mut far = Framed::new(far, LengthDelimitedCodec::new());
        let watch = Stopwatch::new();
        let sender = async move {
            let mut buffer = vec![0; FRAME];
            loop {
                let len = source.read(&mut buffer)?;
                if len == 0 {
                    SinkExt::<Bytes>::flush(&mut near).await?;
                    return Ok(near);
                }
                near.feed(Bytes::copy_from_slice(&buffer[..len])).await?;
            }
        };
        let receiver = async move {
            let mut left = total;
            while left > 0 {
                let frame = far.next().await.ok_or("the stream ended early")??;
                target.write_all(&frame)?;
                left -= frame.len() as u64;
            }
            Ok(far)
        };
        both(sender, receiver).await?;
        Ok(watch.bytes(total))
    })
}

fn by_yamux(place: &Place) -> Result<Sample> {
    const PIECE: usize = 64 << 10;
    let (mut source, mut target) = (File::open(&place.source)?, place.target(false)?.0);
    let total = place.total;
    one_thread()?.block_on(async move {
        let (near, far) = tcp().await?;
        let mut pairs = yamux::pairs(near, far, yamux::config(false), 1).await?;
        let (mut near, mut far) = pairs.pop().ok_or("no stream came")?;
        let watch = Stopwatch::new();
        let sender = async move {
            let mut buffer = vec![0; PIECE];
            loop {
                let len = source.read(&mut buffer)?;
                if len == 0 {
                    near.flush().await?;
                    return Ok(near);
                }
                near.write_all(&buffer[..len]).await?;
            }
        };
        let receiver = async move {
            let (mut buffer, mut left) = (vec![0; PIECE], total);
            while left > 0 {
                let len = far.read(&mut buffer).await?;
                if len == 0 {
                    return Err("the stream ended early".into());
                }
                target.write_all(&buffer[..len])?;
                left -= len as u64;
            }
            Ok(far)
        };
        both(sender, receiver).await?;
        Ok(watch.bytes(total))
    })
}
