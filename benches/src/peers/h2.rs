//! HTTP/2, of which requests and responses without an end are used as streams.

use std::future::poll_fn;
use std::hint::black_box;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::sync::mpsc;

use super::TEXT;
use super::talk::{self, Talk};
use crate::Result;
use crate::measure::{Sample, Stopwatch};
use crate::streams::{Stream, both};

/// A stream, at one of its ends.
#[derive(Debug)]
pub struct End {
    sending: SendStream<Bytes>,
    receiving: RecvStream,
}

impl End {
    /// Waits until there is room, and sends.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn send(&mut self, data: Bytes) -> Result<()> {
        self.sending.reserve_capacity(data.len());
        while self.sending.capacity() < data.len() {
            poll_fn(|cx| self.sending.poll_capacity(cx)).await.ok_or("the stream ended")??;
        }
        Ok(self.sending.send_data(data, false)?)
    }

    /// Sends what there is room for, and waits until there is some; returns how much.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn send_some(&mut self, data: &Bytes) -> Result<usize> {
        self.sending.reserve_capacity(data.len());
        let room = match self.sending.capacity() {
            0 => poll_fn(|cx| self.sending.poll_capacity(cx)).await.ok_or("the stream ended")??,
            room => room,
        };
        let len = room.min(data.len());
        self.sending.send_data(data.slice(..len), false)?;
        Ok(len)
    }

    /// The next bytes, which make room for as many.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn receive(&mut self) -> Result<Bytes> {
        let data = self.receiving.data().await.ok_or("the stream ended early")??;
        self.receiving.flow_control().release_capacity(data.len())?;
        Ok(data)
    }
}

/// So many streams over one connection, each with both its ends. Tasks drive the connection. Tuned
/// are windows of 16 and 64 MiB, and frames of 1 MiB.
///
/// # Errors
///
/// Those of the connection.
pub async fn pairs<S: Stream>(
    near: S,
    far: S,
    is_tuned: bool,
    count: usize,
) -> Result<Vec<(End, End)>> {
    let (mut client, mut server) = (h2::client::Builder::new(), h2::server::Builder::new());
    if is_tuned {
        client.initial_window_size(16 << 20).initial_connection_window_size(64 << 20);
        client.max_frame_size(1 << 20).max_send_buffer_size(4 << 20);
        server.initial_window_size(16 << 20).initial_connection_window_size(64 << 20);
        server.max_frame_size(1 << 20).max_send_buffer_size(4 << 20);
    }
    let serving = async {
        let connection = server.handshake::<_, Bytes>(far);
        Ok::<_, crate::Error>(connection.await?)
    };
    let calling = async { Ok(client.handshake::<_, Bytes>(near).await?) };
    let (mut server, (requests, connection)) = tokio::try_join!(serving, calling)?;
    tokio::spawn(connection);
    let (sender, mut accepted) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(request)) = server.accept().await {
            // Nobody may be interested any more.
            let _ = sender.send(request);
        }
    });
    let mut requests = requests.ready().await?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        let request = Request::post("https://peer/").body(())?;
        let (response, sending) = requests.send_request(request, false)?;
        let (request, mut respond) = accepted.recv().await.ok_or("no request came")?;
        let answering = respond.send_response(Response::new(()), false)?;
        let near = End { sending, receiving: response.await?.into_body() };
        pairs.push((near, End { sending: answering, receiving: request.into_body() }));
    }
    // The connection ends with the last handle: it is to go on.
    tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(requests);
    });
    Ok(pairs)
}

async fn pair<S: Stream>(near: S, far: S, is_tuned: bool) -> Result<(End, End)> {
    Ok(pairs(near, far, is_tuned, 1).await?.pop().ok_or("no stream came")?)
}

/// DATA of so many bytes, in frames as large as they may be.
///
/// # Errors
///
/// Those of the connection.
pub async fn bulk<S: Stream>(
    near: S,
    far: S,
    total: u64,
    chunk: usize,
    is_tuned: bool,
) -> Result<Sample> {
    let (mut near, mut far) = pair(near, far, is_tuned).await?;
    let watch = Stopwatch::new();
    let sender = async move {
        let (buffer, mut left) = (Bytes::from(vec![7; chunk]), total);
        while left > 0 {
            let len = left.min(chunk as u64) as usize;
            left -= near.send_some(&buffer.slice(..len)).await? as u64;
        }
        Ok(near)
    };
    let receiver = async move {
        let mut left = total;
        while left > 0 {
            left -= black_box(far.receive().await?).len() as u64;
        }
        Ok(far)
    };
    both(sender, receiver).await?;
    Ok(watch.bytes(total))
}

/// Messages one way, each a DATA frame; tuned, as with its default windows the receiver gives a
/// sender of small frames up.
///
/// # Errors
///
/// Those of the connection.
pub async fn chat<S: Stream>(near: S, far: S, count: u64) -> Result<Sample> {
    let (mut near, mut far) = pair(near, far, true).await?;
    let watch = Stopwatch::new();
    let sender = async move {
        for _ in 0..count {
            near.send(Bytes::from_static(TEXT.as_bytes())).await?;
        }
        Ok(near)
    };
    let receiver = async move {
        let mut left = count * TEXT.len() as u64;
        while left > 0 {
            left -= black_box(far.receive().await?).len() as u64;
        }
        Ok(far)
    };
    both(sender, receiver).await?;
    Ok(watch.messages(count))
}

/// A client, and its task at the other end.
///
/// # Errors
///
/// Those of the connection.
pub async fn talk<S: Stream>(near: S, far: S) -> Result<impl Talk> {
    let (near, mut far) = pair(near, far, false).await?;
    tokio::spawn(async move {
        loop {
            let message = far.receive().await?;
            far.send(message).await?;
        }
        #[expect(unreachable_code, reason = "says the type of the errors")]
        Ok::<(), crate::Error>(())
    });
    Ok(near)
}

impl Talk for End {
    async fn there_and_back(&mut self) -> Result<()> {
        self.send(Bytes::from_static(TEXT.as_bytes())).await?;
        black_box(self.receive().await?);
        Ok(())
    }
}

/// One message there, one back.
///
/// # Errors
///
/// Those of the connection.
pub async fn ping_pong<S: Stream>(near: S, far: S, count: u64) -> Result<Sample> {
    talk::ping_pong(self::talk(near, far).await?, count).await
}
