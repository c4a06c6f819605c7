#![no_main]

#[path = "../entries/polling_payload_3.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::run(data));
