#![no_main]

#[path = "../tls.rs"]
mod tls;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tls::tls_records(data));
