//! Connections that do nothing.

use std::fs;
use std::time::Duration;

use super::Heap;
use crate::Result;
use crate::peers::talk::Crowd;
use crate::rows::join;
use crate::streams::{memory, one_thread};

/// Bytes of heap, and of resident memory, of each of so many, both ends together.
pub(super) fn run(heap: &Heap, peer: &str, count: usize) -> Result<Vec<f64>> {
    one_thread()?.block_on(async {
        let mut crowd = Crowd::default();
        // The first brings what there is once.
        let (near, far) = memory(64 << 10);
        join(&mut crowd, peer, near, far).await?;
        let before = (heap.allocated(), resident()?);
        for _ in 0..count {
            let (near, far) = memory(64 << 10);
            join(&mut crowd, peer, near, far).await?;
        }
        // What is still to be acknowledged is.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let each = |before: usize, after: usize| after.saturating_sub(before) as f64 / count as f64;
        Ok(vec![each(before.0, heap.allocated()), each(before.1, resident()?)])
    })
}

fn resident() -> Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
    Ok(kilobytes.parse::<usize>()? * 1024)
}
