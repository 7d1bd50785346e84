//! A file, as its receiver goes about it: what to do stands in its name.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use duologue::proto::Conclusion;
use duologue::session::{BatchOffer, Incoming, IncomingOffer, TransferError};
use duologue::wire::{Digest, TransferCode};
use futures::StreamExt;
use futures::io::AsyncRead;
use futures::stream::FuturesUnordered;

use super::sending::{byte, digest};
use super::show;
use super::talk::Talk;

/// The number of a file, and what to do with it.
fn read_name(name: &str) -> (usize, u8) {
    let (number, how) = name.split_once('-').expect("it is one of ours");
    (number.parse().expect("a number"), how.parse().expect("a number"))
}

pub(super) async fn decide(talk: &Talk, offer: IncomingOffer) {
    let (number, how) = read_name(&offer.offer().name);
    assert!(!format!("{offer:?} {:?}", offer.id()).is_empty());
    let size = offer.offer().size;
    let accepted = match how & 7 {
        2 => {
            if let Err(error) = offer.reject(TransferCode::DECLINED, "not now") {
                show(&error);
            }
            return;
        }
        3 => return,
        7 if size.is_some_and(|size| size > 1) && offer.offer().is_seekable => {
            let half = size.unwrap_or_default() / 2;
            let is_right = how & 8 == 0;
            let said = if is_right { digest(number, half) } else { Digest::Blake3([9; 32]) };
            offer.accept_part(half, said).map(|incoming| (incoming, half))
        }
        _ => offer.accept().map(|incoming| (incoming, 0)),
    };
    match accepted {
        Ok((incoming, from)) => receive(talk, incoming, number, how, from).await,
        Err(error) => show(&error),
    }
}

async fn receive(talk: &Talk, mut incoming: Incoming, number: usize, how: u8, from: u64) {
    assert!(!format!("{incoming:?} {:?}", incoming.id()).is_empty());
    let at = match how & 7 {
        1 => read(&mut incoming, number).await,
        _ => chunks(talk, &mut incoming, number, how, from).await,
    };
    let at = match at {
        Ok(Some(at)) => at,
        // It is given up in the middle.
        Ok(None) => return,
        Err(error) => {
            show(&error);
            if how & 0x20 != 0 {
                let _ = incoming.failed(TransferCode::CANCELLED, "");
            }
            return;
        }
    };
    let Some(finish) = incoming.finish() else { return };
    assert_eq!(finish.total, at, "the end of a file that is not whole");
    assert!(finish.digest.is_none_or(|said| said == digest(number, at)));
    let concluded = match how & 7 {
        5 => incoming.failed(TransferCode::STORAGE_FAILED, "no room"),
        _ => incoming.stored("memory"),
    };
    if let Err(error) = concluded {
        show(&error);
    }
}

async fn chunks(
    talk: &Talk,
    incoming: &mut Incoming,
    number: usize,
    how: u8,
    from: u64,
) -> Result<Option<u64>, TransferError> {
    let (mut at, mut may_begin_anew) = (from, from > 0);
    let mut count = 0_u8;
    loop {
        let chunk = match how & 0x10 {
            0 => incoming.next().await?,
            _ => poll_fn(|cx| incoming.poll_next(cx)).await?,
        };
        let Some(chunk) = chunk else { return Ok(Some(at)) };
        if chunk.offset == 0 && may_begin_anew {
            (at, may_begin_anew) = (0, false);
        }
        assert_eq!(chunk.offset, at, "a gap, or bytes that came twice");
        for byte_here in &chunk.data {
            assert_eq!(*byte_here, byte(number, at));
            at += 1;
        }
        count = count.wrapping_add(1);
        let progress = incoming.progress();
        assert!(progress.received >= progress.durable);
        let _ = (incoming.is_detached(), incoming.is_paused_by_peer());
        if how & 0x40 != 0 {
            incoming.set_durable(at / 2);
        }
        match how & 7 {
            4 if count > how >> 5 => return Ok(None),
            6 if count == 1 => {
                if let Err(error) = incoming.pause(true) {
                    show(&error);
                }
                talk.world.sleep(Duration::from_millis(u64::from(how) * 3)).await;
                if let Err(error) = incoming.pause(false) {
                    show(&error);
                }
            }
            _ => {}
        }
    }
}

/// As a reader.
async fn read(incoming: &mut Incoming, number: usize) -> Result<Option<u64>, TransferError> {
    let (mut at, mut buffer) = (0, [0; 700]);
    assert_eq!(poll_fn(|cx| Pin::new(&mut *incoming).poll_read(cx, &mut [])).await.ok(), Some(0));
    loop {
        match poll_fn(|cx| Pin::new(&mut *incoming).poll_read(cx, &mut buffer)).await {
            Ok(0) => return Ok(Some(at)),
            Ok(len) => {
                for byte_here in &buffer[..len] {
                    assert_eq!(*byte_here, byte(number, at));
                    at += 1;
                }
            }
            Err(error) => {
                let inner = error.into_inner().and_then(|inner| inner.downcast().ok());
                return Err(*inner.expect("the transfer's own error"));
            }
        }
    }
}

pub(super) async fn batch(talk: &Talk, batch: BatchOffer) {
    let (_, how) = read_name(&batch.batch().name);
    assert!(!format!("{batch:?} {:?}", batch.id()).is_empty());
    match how >> 2 & 7 {
        6 => {
            if let Err(error) = batch.reject(TransferCode::TOO_LARGE, "") {
                show(&error);
            }
            return;
        }
        7 => return,
        _ => {}
    }
    let mut members = match batch.accept() {
        Ok(members) => members,
        Err(error) => return show(&error),
    };
    assert!(!format!("{members:?} {:?}", members.id()).is_empty());
    let mut tasks = FuturesUnordered::new();
    let ended = loop {
        let member = match how & 1 {
            0 => members.next().await,
            _ => poll_fn(|cx| members.poll_next(cx)).await,
        };
        let (offer, incoming) = match member {
            Ok(Some(member)) => member,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        let (number, how) = read_name(&offer.name);
        if offer.is_directory {
            let _ = incoming.stored("memory");
        } else {
            tasks.push(receive(talk, incoming, number, how, 0));
        }
    };
    if let Err(error) = ended {
        show(&error);
    }
    while tasks.next().await.is_some() {}
    let conclusion = match how & 0x20 {
        0 => Conclusion::Stored { name: "memory" },
        _ => Conclusion::Failed { code: TransferCode::STORAGE_FAILED, text: "some" },
    };
    if let Err(error) = members.conclude(&conclusion) {
        show(&error);
    }
}
