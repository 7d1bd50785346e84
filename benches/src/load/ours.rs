//! duologue's own lanes.

use bytes::Bytes;
use duologue::session::{Event, Incoming};
use duologue::wire::{Chat, Offer};

use super::{Arrived, Load, message, run};
use crate::Result;
use crate::measure::Sample;
use crate::peers::ours::{End, pair};
use crate::streams::Stream;

/// Files of no known end, and lines of chat, with the library's defaults.
///
/// # Errors
///
/// Those of the conversation.
pub async fn ours<S: Stream>(near: S, far: S, load: Load) -> Result<Sample> {
    let (near, far) = pair(near, far).await?;
    run(load, async |mut ticks, arrived| {
        tokio::spawn(receive(far, arrived));
        for _ in 0..load.transfers {
            let session = near.session.clone();
            tokio::spawn(async move {
                let mut outgoing = session.offer(&Offer::new("bulk").seekable()).await?;
                outgoing.accepted().await?;
                let chunk = Bytes::from(vec![7; 64 << 10]);
                loop {
                    outgoing.send(chunk.clone()).await?;
                }
                #[expect(unreachable_code, reason = "says the type of the errors")]
                Ok::<(), crate::Error>(())
            });
        }
        tokio::spawn(async move {
            while let Some(due) = ticks.recv().await {
                let _receipt = near.session.send_chat(&Chat::new(message(due))).await?;
            }
            // The conversation goes on as long as the runtime.
            let End { session, mut events } = near;
            while futures::StreamExt::next(&mut events).await.is_some() {}
            drop(session);
            Ok::<_, crate::Error>(())
        });
        Ok(())
    })
    .await
}

async fn receive(mut far: End, arrived: Arrived) -> Result<()> {
    loop {
        match far.event().await? {
            Event::Chat(chat) => arrived.chat(chat.text.as_bytes())?,
            Event::Offer(offer) => {
                tokio::spawn(drain(offer.accept()?, arrived.clone()));
            }
            _ => {}
        }
    }
}

async fn drain(mut incoming: Incoming, arrived: Arrived) -> Result<()> {
    while let Some(chunk) = incoming.next().await? {
        arrived.bulk(chunk.data.len());
    }
    Ok(())
}
