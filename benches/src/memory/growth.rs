//! What grows with a number, for one value of it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue::fs::{Durability, InboxOptions, TreeOptions, receive_batch, send_tree};
use duologue::proto::{Config, Receipt};
use duologue::session::{Event, Incoming, Session};
use duologue::wire::{Chat, Offer};
use tokio::task::JoinSet;

use super::Heap;
use crate::Result;
use crate::peers::ours::{self, End};
use crate::peers::talk::Crowd;
use crate::rows::join;
use crate::streams::{both, memory, one_thread};

const PIPE: usize = 256 << 10;

/// Seconds, bytes of heap at the most, and how many pieces of work it was.
pub(super) fn run(heap: &Heap, what: &str, count: usize, folder: &str) -> Result<Vec<f64>> {
    one_thread()?.block_on(async {
        // What there is once is there.
        let (near, far) = memory(PIPE);
        drop(ours::pair(near, far).await?);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let before = heap.allocated();
        let (seconds, work) = match what {
            "sessions" => sessions(count).await?,
            "transfers" => transfers(count).await?,
            "messages" => messages(count).await?,
            "frames" => frames(count).await?,
            "files" => files(count, Path::new(folder)).await?,
            _ => return Err(format!("nothing grows by {what}").into()),
        };
        let most = heap.max_allocated().saturating_sub(before);
        Ok(vec![seconds, most as f64, work as f64])
    })
}

/// Opens so many conversations, each with a line there and one back.
async fn sessions(count: usize) -> Result<(f64, usize)> {
    let (mut crowd, began) = (Crowd::default(), Instant::now());
    for _ in 0..count {
        let (near, far) = memory(64 << 10);
        join(&mut crowd, "ours", near, far).await?;
    }
    Ok((began.elapsed().as_secs_f64(), count))
}

/// Sends so many files of 64 KiB at a time in one conversation.
async fn transfers(count: usize) -> Result<(f64, usize)> {
    let many = u32::try_from(count)?.max(80);
    let config = Config::builder()
        .max_transfers(many)
        .max_undecided(many)
        .outgoing_transfers(many)
        .max_untaken(many.max(512))
        .build()?;
    let (near, far) = memory(PIPE);
    let (near, far) = ours::pair_with(near, far, config).await?;
    // For few of them as many after each other, so that there is enough to measure.
    let times = 1000_usize.div_ceil(count);
    let began = Instant::now();
    let sender = async move {
        for _ in 0..times {
            let mut sending = JoinSet::new();
            for _ in 0..count {
                sending.spawn(send_file(near.session.clone(), 64 << 10));
            }
            while let Some(sent) = sending.join_next().await {
                sent??;
            }
        }
        Ok(near)
    };
    both(sender, receive_files(far, times * count)).await?;
    Ok((began.elapsed().as_secs_f64(), times * count))
}

async fn send_file(session: Session, size: usize) -> Result<()> {
    let offer = Offer::new("file").size(size as u64).seekable();
    let mut outgoing = session.offer(&offer).await?;
    outgoing.accepted().await?;
    let (chunk, mut left) = (Bytes::from_static(&[7; 64 << 10]), size);
    while left > 0 {
        let some = chunk.slice(..left.min(chunk.len()));
        left -= some.len();
        outgoing.send(some).await?;
    }
    outgoing.finish(None).await?;
    Ok(())
}

async fn receive_files(mut far: End, count: usize) -> Result<End> {
    let mut receiving = JoinSet::new();
    for _ in 0..count {
        receiving.spawn(drain(far.incoming().await?));
    }
    while let Some(received) = receiving.join_next().await {
        received??;
    }
    Ok(far)
}

async fn drain(mut incoming: Incoming) -> Result<()> {
    while incoming.next().await?.is_some() {}
    Ok(incoming.stored("file")?)
}

/// Sends messages of so many bytes; the time is up to when the last one has come, as its
/// acknowledgement may wait 25 ms for something to travel with.
async fn messages(size: usize) -> Result<(f64, usize)> {
    let count = ((64 << 20) / size).clamp(2000, 50_000);
    let (near, far) = memory(PIPE);
    let (near, mut far) = ours::pair(near, far).await?;
    let began = Instant::now();
    let sender = async move {
        let text = "x".repeat(size);
        let mut last = None;
        for _ in 0..count {
            last = Some(near.session.send_chat(&Chat::new(text.as_str())).await?);
        }
        match last.ok_or("nothing was sent")?.await {
            Receipt::Delivered => Ok(near),
            other => Err(format!("the last message: {other:?}").into()),
        }
    };
    let receiver = async move {
        for _ in 0..count {
            far.chat().await?;
        }
        Ok((far, began.elapsed().as_secs_f64()))
    };
    let (_near, (_far, seconds)) = both(sender, receiver).await?;
    Ok((seconds, count))
}

/// Sends a file in DATA of so many bytes at most.
async fn frames(size: usize) -> Result<(f64, usize)> {
    const TOTAL: usize = 64 << 20;
    let config = Config::builder().max_fragment(u32::try_from(size)?).build()?;
    let (near, far) = memory(PIPE);
    let (near, far) = ours::pair_with(near, far, config).await?;
    let began = Instant::now();
    let sender = async move {
        send_file(near.session.clone(), TOTAL).await?;
        Ok(near)
    };
    both(sender, receive_files(far, 1)).await?;
    Ok((began.elapsed().as_secs_f64(), TOTAL / size))
}

/// Sends a folder of so many files of 100 bytes.
async fn files(count: usize, folder: &Path) -> Result<(f64, usize)> {
    let folder = tempfile::tempdir_in(folder)?;
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::create_dir(&to)?;
    for number in 0..count {
        // No folder of more than a thousand.
        let below = from.join(format!("folder {}", number / 1000));
        fs::create_dir_all(&below)?;
        fs::write(below.join(number.to_string()), [b'x'; 100])?;
    }
    let inbox =
        InboxOptions::new().durability(Durability::NoSync).max_members(1 << 20).open(&to)?;
    let (near, far) = memory(PIPE);
    let (near, mut far) = ours::pair(near, far).await?;
    let began = Instant::now();
    let sender = async move {
        let options = TreeOptions::new().max_entries(1 << 20);
        let sent = send_tree(&near.session, &from, options, |_| ()).await?;
        if sent.failed > 0 {
            return Err(format!("{} of {} failed", sent.failed, sent.stored + sent.failed).into());
        }
        Ok((near, sent.stored))
    };
    let receiver = async move {
        loop {
            if let Event::Batch(batch) = far.event().await? {
                receive_batch(batch, &inbox, None, |_| ()).await?;
                return Ok((far, inbox));
            }
        }
    };
    let ((_near, _stored), _far) = both(sender, receiver).await?;
    Ok((began.elapsed().as_secs_f64(), count))
}
