#![no_main]

#[path = "../entries/pakyow.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::run(data));
