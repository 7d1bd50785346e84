#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| duologue_fuzz::resume_journal::run(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let most = max_size.min(data.len());
    duologue_fuzz::mutate::records(&mut data[..most], size, 1, 4, seed, &mut |bytes, size| {
        let most = bytes.len();
        fuzzer_mutate(bytes, size, most)
    })
});
