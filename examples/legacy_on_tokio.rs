//! The old formats of `legacy`, from a textbook's chapter on sockets: its scenario on tokio,
//! both flavours, over TCP.
//!
//! Teaches: the two lines that tokio needs. `TokioIo` turns its streams into streams of `futures`,
//! and `TokioTimer` waits on its clock.

mod support;

use duologue::io::TokioIo;
use duologue::time::TokioTimer;
use support::programs::Failure;
use support::scenario::{connecting_side, listening_side};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

async fn scenario() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let listening = tokio::spawn(async move {
        let (chat, _) = listener.accept().await?;
        let (transfer, _) = listener.accept().await?;
        listening_side(TokioIo::new(chat), TokioIo::new(transfer), TokioTimer::new).await
    });
    let chat = TokioIo::new(TcpStream::connect(address).await?);
    let transfer = TokioIo::new(TcpStream::connect(address).await?);
    connecting_side(chat, transfer, TokioTimer::new).await?;
    listening.await?
}

fn main() -> Result<(), Failure> {
    println!("on one thread:");
    Builder::new_current_thread().enable_all().build()?.block_on(scenario())?;
    println!("on several:");
    Builder::new_multi_thread().enable_all().build()?.block_on(scenario())
}
