//! One stream for chat and one for each transfer, within one connection.

use bytes::Bytes;
use futures::io::{AsyncReadExt, AsyncWriteExt};

use super::{Load, message, run};
use crate::Result;
use crate::measure::Sample;
use crate::peers;
use crate::streams::Stream;

const MESSAGE: usize = 64;

/// yamux with its defaults.
///
/// # Errors
///
/// Those of the connection.
pub async fn yamux<S: Stream>(near: S, far: S, load: Load) -> Result<Sample> {
    let config = peers::yamux::config(false);
    let mut pairs = peers::yamux::pairs(near, far, config, load.transfers + 1).await?;
    let (mut near, mut far) = pairs.pop().ok_or("no stream came")?;
    run(load, async |mut ticks, arrived| {
        for (mut near, mut far) in pairs {
            let arrived = arrived.clone();
            tokio::spawn(async move {
                let bulk = vec![7; 64 << 10];
                while near.write_all(&bulk).await.is_ok() {}
            });
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(len @ 1..) = far.read(&mut buffer).await {
                    arrived.bulk(len);
                }
            });
        }
        tokio::spawn(async move {
            while let Some(due) = ticks.recv().await {
                near.write_all(message(due).as_bytes()).await?;
                near.flush().await?;
            }
            std::future::pending::<()>().await;
            Ok::<_, crate::Error>(near)
        });
        tokio::spawn(async move {
            let mut buffer = [0; MESSAGE];
            loop {
                far.read_exact(&mut buffer).await?;
                arrived.chat(&buffer)?;
            }
            #[expect(unreachable_code, reason = "says the type of the errors")]
            Ok::<(), crate::Error>(())
        });
        Ok(())
    })
    .await
}

/// HTTP/2 with its defaults, or with large windows and frames.
///
/// # Errors
///
/// Those of the connection.
pub async fn h2<S: Stream>(near: S, far: S, load: Load, is_tuned: bool) -> Result<Sample> {
    let mut pairs = peers::h2::pairs(near, far, is_tuned, load.transfers + 1).await?;
    let (mut near, mut far) = pairs.pop().ok_or("no stream came")?;
    run(load, async |mut ticks, arrived| {
        for (mut near, mut far) in pairs {
            let arrived = arrived.clone();
            tokio::spawn(async move {
                let bulk = Bytes::from(vec![7; 64 << 10]);
                while near.send_some(&bulk).await.is_ok() {}
            });
            tokio::spawn(async move {
                while let Ok(data) = far.receive().await {
                    arrived.bulk(data.len());
                }
            });
        }
        tokio::spawn(async move {
            while let Some(due) = ticks.recv().await {
                near.send(message(due).into()).await?;
            }
            std::future::pending::<()>().await;
            Ok::<_, crate::Error>(near)
        });
        tokio::spawn(async move {
            let mut buffer = Vec::new();
            loop {
                buffer.extend_from_slice(&far.receive().await?);
                let whole = buffer.len() / MESSAGE * MESSAGE;
                for message in buffer[..whole].chunks(MESSAGE) {
                    arrived.chat(message)?;
                }
                buffer.drain(..whole);
            }
            #[expect(unreachable_code, reason = "says the type of the errors")]
            Ok::<(), crate::Error>(())
        });
        Ok(())
    })
    .await
}
