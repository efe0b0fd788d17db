#![no_main]

#[path = "../bodies.rs"]
#[allow(dead_code)] // the other target's body
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::context(data));
