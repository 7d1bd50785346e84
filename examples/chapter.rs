//! Both programs of the textbook chapter that `legacy` is about, end to end over loopback TCP, on real data.
//!
//! Teaches: `ChatReader`, `ChatWriter`, `FileReceiver` and `FileSender` side by side:
//! `cargo run --release --example chapter`.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use duologue::fs::PartFile;
use duologue::legacy::{ChatReader, ChatWriter, FileReceiver, FileSender};
use duologue::net::{Listener, Target, connect};
use support::programs::Failure;
use support::scenario::CHAT;

/// 48 MiB, in units of 8 bytes.
const WORDS: u64 = 6 * 1024 * 1024;

fn main() -> Result<(), Failure> {
    let started = Instant::now();
    smol::block_on(async {
        println!("1. A chat both ways, as the chapter's first program has it");
        let messages = chat().await?;
        println!("2. A file, as the chapter's second program has it");
        let folder = std::env::temp_dir().join(format!("duologue-chapter-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let transfer = file(&folder).await;
        println!("   removing {}", folder.display());
        std::fs::remove_dir_all(&folder)?;
        let (bytes, elapsed) = transfer?;

        println!("Summary");
        println!("   {messages} messages, each answered, in order, byte for byte");
        println!(
            "   {bytes} bytes in one file, compared after arrival: equal; {:.0} MiB/s",
            bytes as f64 / elapsed.as_secs_f64() / f64::from(1 << 20)
        );
        println!("   all done in {:.1} s", started.elapsed().as_secs_f64());
        Ok(())
    })
}

async fn listen() -> Result<(Listener, Target), Failure> {
    let listener = Listener::bind(&"127.0.0.1:0".parse()?).await?;
    let target = listener.local_address().to_string().parse()?;
    println!("   Listening ... {}", listener.local_address());
    Ok((listener, target))
}

/// The two ends say the scenario's lines; returns how many messages that were.
async fn chat() -> Result<usize, Failure> {
    let (mut listener, target) = listen().await?;
    let listening = async {
        let mut stream = listener.accept().await?;
        println!("   Accept {}", stream.peer());
        let (mut reader, mut writer) = (ChatReader::new(), ChatWriter::new());
        let mut heard = Vec::new();
        while let Some(line) = reader.receive(&mut stream).await? {
            let answer = CHAT.get(heard.len()).map_or("?", |(_, answer)| answer);
            heard.push(line);
            writer.send(&mut stream, answer).await?;
        }
        Ok::<_, Failure>(heard)
    };
    let connecting = async {
        let mut stream = connect(&target).await?;
        println!("   Connected to: {}", stream.peer());
        let (mut reader, mut writer) = (ChatReader::new(), ChatWriter::new());
        let mut answers = Vec::new();
        for (line, _) in CHAT {
            writer.send(&mut stream, line).await?;
            let answer = reader.receive(&mut stream).await?.ok_or("the peer left")?;
            println!("   > {line}\n   < {answer}");
            answers.push(answer);
        }
        writer.close(&mut stream).await?;
        Ok::<_, Failure>(answers)
    };
    let (heard, answers) = futures::try_join!(listening, connecting)?;
    if !heard.iter().eq(CHAT.iter().map(|(line, _)| line)) {
        return Err(format!("the listening side heard something else: {heard:?}").into());
    }
    if !answers.iter().eq(CHAT.iter().map(|(_, answer)| answer)) {
        return Err(format!("the connecting side heard something else: {answers:?}").into());
    }
    Ok(heard.len() + answers.len())
}

/// Sends a file from one folder into another and compares them; returns its size and the time.
async fn file(folder: &Path) -> Result<(u64, Duration), Failure> {
    let (source, inbox) = (folder.join("source.bin"), folder.join("inbox"));
    std::fs::create_dir(&inbox)?;
    let content: Vec<u8> =
        (0..WORDS).flat_map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()).collect();
    std::fs::write(&source, &content)?;
    println!("   {} holds {} bytes", source.display(), content.len());

    let (mut listener, target) = listen().await?;
    let started = Instant::now();
    let receiving = async {
        let mut stream = listener.accept().await?;
        println!("   Accept {}", stream.peer());
        let mut receiver = FileReceiver::new(1 << 30);
        let mut part = PartFile::create(&inbox).await?;
        let size = receiver.receive(&mut stream, &mut part).await?;
        let path = part.publish("received.bin").await?;
        println!("   Stored {} {size}", path.display());
        Ok::<_, Failure>((path, size))
    };
    let sending = async {
        let file = std::fs::File::open(&source)?;
        let mut sender = FileSender::new(file.metadata()?.len())?;
        let mut reader = smol::Unblock::with_capacity(1 << 20, file);
        let mut stream = connect(&target).await?;
        println!("   Connected to: {}", stream.peer());
        sender.send(&mut reader, &mut stream).await?;
        println!("   Sent {} {}", source.display(), sender.progress().moved());
        Ok::<_, Failure>(())
    };
    let ((path, size), ()) = futures::try_join!(receiving, sending)?;
    let elapsed = started.elapsed();
    if std::fs::read(&path)? != content {
        return Err("the file arrived damaged".into());
    }
    println!("   compared byte by byte: equal");
    Ok((size, elapsed))
}
