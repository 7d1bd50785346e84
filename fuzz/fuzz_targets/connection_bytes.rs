#![no_main]

use duologue_fuzz::connection_bytes::{OWN, is_stream};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| duologue_fuzz::connection_bytes::run(data));

// An input that is a script is mutated as bytes, and now and then made a stream.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let most = max_size.min(data.len());
    if !is_stream(&data[..size]) && (size < OWN || seed % 64 != 0) {
        return fuzzer_mutate(data, size, max_size);
    }
    data[OWN - 2] |= 0xF0;
    duologue_fuzz::mutate::frames(&mut data[..most], size, OWN, seed, &mut |bytes, size| {
        let most = bytes.len();
        fuzzer_mutate(bytes, size, most)
    })
});
