//! The old formats of `legacy`, from a textbook's chapter on sockets: its scenario on smol,
//! over TCP.
//!
//! Teaches: smol's streams are streams of `futures`, so they go in as they are, and the default
//! timer runs on the same reactor.

mod support;

use duologue::time::AsyncIoTimer;
use smol::net::{TcpListener, TcpStream};
use support::programs::Failure;
use support::scenario::{connecting_side, listening_side};

fn main() -> Result<(), Failure> {
    smol::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let listening = smol::spawn(async move {
            let (chat, _) = listener.accept().await?;
            let (transfer, _) = listener.accept().await?;
            listening_side(chat, transfer, AsyncIoTimer::new).await
        });
        let chat = TcpStream::connect(address).await?;
        let transfer = TcpStream::connect(address).await?;
        connecting_side(chat, transfer, AsyncIoTimer::new).await?;
        listening.await
    })
}
