#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| duologue_fuzz::driver_script::run(data));
