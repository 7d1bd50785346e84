#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| duologue_fuzz::file_name::run(data));
