//! Builds only if nothing below links `std`: it brings its own panic handler and allocator, and
//! two of either are an error.
#![no_std]

extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};

struct NoMemory;

// SAFETY: it hands out nothing.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Uses what works without `std`, so that it is linked.
#[unsafe(no_mangle)]
pub extern "C" fn duologue_smoke() -> usize {
    let later = duologue::time::Time::ZERO.saturating_add(core::time::Duration::from_secs(1));
    let prefix = duologue::io::SizePrefix::I32Le.encode(later.as_micros()).unwrap_or_default();
    let mut decoder = duologue::legacy::FileDecoder::new(1 << 20);
    let used = decoder.decode(&prefix).map_or(0, |(used, _)| used);
    let mut text = alloc::string::String::new();
    duologue::legacy::TextDecoder::new().decode(&prefix, &mut text);
    used + text.len() + wire(&prefix)
}

fn wire(payload: &[u8]) -> usize {
    use duologue::wire::{Chat, Decoder, Frame, Piece};

    let mut bytes = alloc::vec::Vec::new();
    let chat = Frame::Chat(Chat::new(alloc::string::String::from_utf8_lossy(payload)));
    let written = chat.encode(0, &mut bytes).is_ok();
    let mut decoder = Decoder::new();
    let (taken, piece) = decoder.decode(&bytes);
    let frame = match piece {
        Some(Piece::Header(header)) => Frame::decode(header, bytes.get(taken..).unwrap_or(&[])),
        _ => return taken,
    };
    taken + usize::from(written && frame == Ok(chat))
}
