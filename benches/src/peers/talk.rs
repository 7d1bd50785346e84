//! A message there and one back: once, again and again, or on many connections at once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use super::{Latencies, WARM_UP};
use crate::Result;
use crate::measure::Sample;

/// One connection, by its client; a task echoes at its other end.
pub trait Talk: Send + 'static {
    /// Sends a message, and waits for the one that comes back.
    fn there_and_back(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// So many round trips, one after the other.
///
/// # Errors
///
/// Those of the connection.
pub async fn ping_pong(mut talk: impl Talk, count: u64) -> Result<Sample> {
    // As a task, like the rest.
    tokio::spawn(async move {
        let mut latencies = Latencies::new()?;
        for round in 0..count + WARM_UP {
            let began = Instant::now();
            talk.there_and_back().await?;
            if round >= WARM_UP {
                latencies.since(began);
            }
        }
        Ok(latencies.sample())
    })
    .await?
}

/// Many connections.
#[derive(Debug, Clone, Default)]
pub struct Crowd {
    /// Round trips so far.
    pub rounds: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    starts: Vec<mpsc::Sender<()>>,
}

impl Crowd {
    /// One more, after its first round trip.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn add(&mut self, mut talk: impl Talk) -> Result<()> {
        talk.there_and_back().await?;
        let (start, mut started) = mpsc::channel(1);
        let (rounds, is_over) = (Arc::clone(&self.rounds), Arc::clone(&self.is_over));
        self.starts.push(start);
        tokio::spawn(async move {
            while started.recv().await.is_some() {
                while !is_over.load(Ordering::Relaxed) {
                    talk.there_and_back().await?;
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok::<_, crate::Error>(())
        });
        Ok(())
    }

    /// Lets all of them talk.
    ///
    /// # Errors
    ///
    /// When one has ended.
    pub async fn start(&self) -> Result<()> {
        for start in &self.starts {
            start.send(()).await?;
        }
        Ok(())
    }

    /// Ends it.
    pub fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
