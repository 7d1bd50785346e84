//! Builds only if nothing below links `std`: it brings its own panic handler and allocator, and
//! two of either are an error.
#![no_std]

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
pub extern "C" fn duologue_smoke() -> u8 {
    let later = duologue::time::Time::ZERO.saturating_add(core::time::Duration::from_secs(1));
    let prefix = duologue::io::SizePrefix::I32Le.encode(later.as_micros());
    prefix.map_or(0, |bytes| bytes[0])
}
