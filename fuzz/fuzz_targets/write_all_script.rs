#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| duologue_fuzz::write_all_script::run(data));
