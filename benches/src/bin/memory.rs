//! What `duologue-benches` measures with an allocator that counts.

use std::alloc::System;

use duologue_benches::Result;
use duologue_benches::memory::{self, Heap};

#[global_allocator]
static HEAP: Heap = Heap::new(System, usize::MAX);

fn main() -> Result<()> {
    memory::main(&HEAP)
}
