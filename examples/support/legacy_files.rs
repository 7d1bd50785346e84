//! `recv_file --legacy` and `send_file --legacy`: the chapter's second program.
//!
//! Teaches: `net::Server` with a task for each client, `FileReceiver`, `PartFile`, which gives a file
//! its name only when it is whole, `FileSender`, and reading a file on another thread.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use duologue::fs::PartFile;
use duologue::io::Limits;
use duologue::legacy::{FileReceiver, FileSender};
use duologue::net::{Accepted, Listener, Server, Stream, Target, connect};

use super::programs::{Failure, OutputClosed, path_line, printable, say, with_bar};

/// The chapter's own name for a file without one.
pub(crate) const DEFAULT_NAME: &str = "Default.file";

/// The most that the format can announce.
const LIMIT: u64 = i32::MAX as u64;

/// The least that a client has to send, in bytes per second over 20 seconds.
const MINIMUM_RATE: u64 = 1024;

/// Bytes of a file that are read ahead.
const READ_AHEAD: usize = 1024 * 1024;

pub(crate) struct ReceiveOptions {
    pub(crate) once: bool,
    pub(crate) folder: PathBuf,
    pub(crate) name: String,
    pub(crate) target: Target,
}

pub(crate) async fn receive_files(options: ReceiveOptions) -> Result<(), Failure> {
    // A folder that cannot be written to is told before anybody connects.
    let folder = options.folder.display();
    PartFile::create(&options.folder).await.map_err(|error| format!("{folder}: {error}"))?;
    let mut listener = Listener::bind(&options.target).await?;
    say(format!("Listening ... {}", listener.local_address()))?;
    if options.once {
        let stream = listener.accept().await?;
        drop(listener);
        return receive(stream, &options).await;
    }
    serve(listener, options).await
}

/// Receives from every client until nobody reads our output any more.
async fn serve(listener: Listener, options: ReceiveOptions) -> Result<(), Failure> {
    let closed = Arc::new(Mutex::new(None));
    let server = Server::new(listener);
    let (handle, options) = (server.handle(), Arc::new(options));
    let handler = {
        let closed = Arc::clone(&closed);
        move |connection: Accepted| {
            let (options, closed, handle) =
                (Arc::clone(&options), Arc::clone(&closed), handle.clone());
            async move {
                // What goes wrong with one client has been told on its line, and ends with it.
                if let Err(error) = receive(connection.stream, &options).await {
                    if error.is::<OutputClosed>() {
                        *closed.lock().unwrap() = Some(error);
                        handle.stop_now();
                    }
                }
                Ok::<(), Failure>(())
            }
        }
    };
    server.serve(|task| smol::spawn(task).detach(), handler).await?;
    closed.lock().unwrap().take().map_or(Ok(()), Err)
}

/// Receives one file from one client and prints how it went.
async fn receive(mut stream: Stream, options: &ReceiveOptions) -> Result<(), Failure> {
    let peer = stream.peer().to_string();
    say(format!("Accept {peer}"))?;
    match store(&mut stream, options).await {
        Ok((path, size)) => say(path_line("Stored ", &path, format_args!(" {size}"))),
        Err(error) => {
            say(format!("Failed {peer} {}", printable(&error.to_string())))?;
            Err(format!("the file from {peer} was not stored: {error}").into())
        }
    }
}

async fn store(stream: &mut Stream, options: &ReceiveOptions) -> Result<(PathBuf, u64), Failure> {
    // A byte now and then is not enough to keep a place.
    let limits = Limits::default().minimum_rate(MINIMUM_RATE, Limits::DEFAULT_IDLE);
    let mut receiver = FileReceiver::new(LIMIT).limits(limits);
    // Who connects and says nothing costs no file.
    receiver.receive_size(stream).await?;
    let mut part = PartFile::create(&options.folder).await?;
    let progress = receiver.progress();
    let receiving = receiver.receive(stream, &mut part);
    // One bar is for one client; several would fight for the line.
    let size = if options.once { with_bar(progress, receiving).await? } else { receiving.await? };
    Ok((part.publish(&options.name).await?, size))
}

/// Sends each file over a connection of its own, and stops at the first that fails.
pub(crate) async fn send_files(target: &Target, paths: &[PathBuf]) -> Result<(), Failure> {
    for path in paths {
        send(target, path).await.map_err(|error| {
            // Without our output nobody can be told of a file at all.
            if error.is::<OutputClosed>() {
                return error;
            }
            format!("{}: {error}", path.display()).into()
        })?;
    }
    Ok(())
}

async fn send(target: &Target, path: &Path) -> Result<(), Failure> {
    // What cannot be sent is told before anybody is bothered.
    let (file, before) = open(path.to_owned()).await?;
    let size = before.len();
    let mut sender = FileSender::new(size)?;
    let mut source = smol::Unblock::with_capacity(READ_AHEAD, file);

    let mut stream = connect(target).await?;
    say(format!("Connected to {}", stream.peer()))?;
    with_bar(sender.progress(), sender.send(&mut source, &mut stream)).await?;
    // The format cannot say so, but the peer may have a mixture of old and new.
    let after = source.with_mut(|file| file.metadata()).await?;
    if (before.len(), before.modified()?) != (after.len(), after.modified()?) {
        return Err(
            "it was changed while it was being sent, and may have arrived as a mixture".into()
        );
    }
    say(path_line("Sent ", path, format_args!(" {size}")))?;
    drop(stream);
    say("Disconnected")
}

async fn open(path: PathBuf) -> Result<(File, Metadata), Failure> {
    smol::unblock(move || {
        // Asked by name first: to open a named pipe would wait for its other end.
        if !std::fs::metadata(&path)?.is_file() {
            return Err("it is not a regular file".into());
        }
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        Ok((file, metadata))
    })
    .await
}
